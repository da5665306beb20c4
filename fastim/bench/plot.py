"""A run as a picture, in SVG: latencies by percentile and over time, what came each second, and what it cost."""

import math
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from msgspec import Struct

from fastim.bench.report import Measured, Report

WIDTH, HEIGHT = 1040, 760
PANEL_WIDTH, PANEL_HEIGHT = 410, 230
LEFTS, TOPS = (70, 570), (92, 402)
COLOURS = (
    *("#1f6fb4", "#d9570d", "#2a8a3a", "#8a4fb0", "#b3282d", "#6b5344", "#c2449a", "#4f7f80"),
    *("#8d8d00", "#333333", "#5bb0e8", "#f5a35c", "#7cc98a", "#bf97dd", "#ec7f83", "#b8a08f"),
)
SHARES = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999)
_FONT = "font-family='system-ui, sans-serif'"

Points = Sequence[tuple[float, float]]


class Axis(Struct, frozen=True):
    """How values lie along one side of a panel.

    Attributes:
        ticks: Where there are lines, and what stands there.
    """

    low: float
    high: float
    logarithmic: bool
    ticks: list[tuple[float, str]]

    def place(self, value: float) -> float:
        """From 0 to 1."""
        if self.logarithmic:
            return (math.log10(max(value, self.low)) - math.log10(self.low)) / math.log10(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def draw(report: Report) -> str:
    """The picture, as the text of an SVG file."""
    names = [(one.part, one.name) for one in report.measured]
    colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}
    times = _times(max((one.seconds for one in report.series), default=1.0))
    shown = [
        _percentiles(report, colours, LEFTS[0], TOPS[0]),
        _over_time(report, colours, times, LEFTS[1], TOPS[0]),
        _throughput(report, colours, times, LEFTS[0], TOPS[1]),
        _cost(report, times, LEFTS[1], TOPS[1]),
    ]
    size = f"viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}'"
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' {size}>",
            "<rect width='100%' height='100%' fill='white'/>",
            *_head(report),
            *(line for panel in shown for line in panel),
            *_legend(report.measured, colours),
            "</svg>",
            "",
        ]
    )


def _head(report: Report) -> Iterable[str]:
    machine, server = report.machine, report.server
    yield _text(LEFTS[0], 28, f"fastim bench {report.scenario}: {report.profile.about}", size=17, weight="bold")
    yield _text(
        LEFTS[0],
        48,
        f"{report.started_at:%Y-%m-%d %H:%M} UTC, {report.seconds:.0f} s, {report.load.connections:,} connections over "
        f"{report.profile.transport} to {'a server of its own' if server.started else server.address}; "
        f"{machine.processor}, {machine.cores} cores, {machine.system}, fastim {machine.packages['fastim']}",
        colour="#555",
    )
    marks = [f"the load was the bottleneck: {reason}" for reason in report.load.bottleneck]
    marks += [f"interrupted ({report.interrupted})"] if report.interrupted else []
    if marks:
        yield _text(LEFTS[0], 66, "; ".join(marks), colour="#b3282d", weight="bold")


def _percentiles(report: Report, colours: dict[tuple[str, str], str], left: int, top: int) -> Iterable[str]:
    curves: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for one in report.measured:
        points, seen = [], 0
        for nanoseconds, count in one.histogram:
            points.append((_nines(seen / one.came), nanoseconds / 1e6))
            seen += count
            # A hundred of them say nothing about one in a thousand.
            points.append((_nines(min(seen, one.came - 1) / one.came), nanoseconds / 1e6))
        curves[one.part, one.name] = points
    # Each nine of the percentile takes as much room as the one before.
    across = Axis(0, _nines(SHARES[-1]), False, [(_nines(share), f"{100 * share:g} %") for share in SHARES])
    up = _logarithmic([value for points in curves.values() for _, value in points])
    yield from _panel(left, top, "latency by percentile, ms", across, up)
    for name, points in curves.items():
        yield _line(left, top, across, up, points, colours[name])


def _over_time(report: Report, colours: dict[tuple[str, str], str], times: Axis, left: int, top: int) -> Iterable[str]:
    middles: dict[tuple[str, str], list[tuple[float, float]]] = {name: [] for name in colours}
    tails: dict[tuple[str, str], list[tuple[float, float]]] = {name: [] for name in colours}
    for moment in report.series:
        for one in moment.measured:
            if one.per_second:
                middles[one.part, one.name].append((moment.seconds, one.p50_ms))
                tails[one.part, one.name].append((moment.seconds, one.p99_ms))
    up = _logarithmic([value for points in (*middles.values(), *tails.values()) for _, value in points])
    yield from _panel(left, top, "p99 over time, dashed p50, ms", times, up)
    for name, colour in colours.items():
        yield _line(left, top, times, up, middles[name], colour, dashed=True)
        yield _line(left, top, times, up, tails[name], colour)


def _throughput(report: Report, colours: dict[tuple[str, str], str], times: Axis, left: int, top: int) -> Iterable[str]:
    rates = {
        name: [
            (moment.seconds, one.per_second)
            for moment in report.series
            for one in moment.measured
            if (one.part, one.name) == name
        ]
        for name in colours
    }
    up = _logarithmic([value for points in rates.values() for _, value in points if value])
    yield from _panel(left, top, "came per second", times, up)
    for name, points in rates.items():
        yield _line(left, top, times, up, points, colours[name])


def _cost(report: Report, times: Axis, left: int, top: int) -> Iterable[str]:
    server = [(one.seconds, one.server_cpu_percent) for one in report.series if one.server_cpu_percent is not None]
    load = [(one.seconds, one.driver_cpu_percent) for one in report.series]
    memory = [
        (one.seconds, one.server_memory_bytes / 2**20) for one in report.series if one.server_memory_bytes is not None
    ]
    up = _linear(max([100.0, *(value for _, value in (*server, *load))]), " %")
    yield from _panel(left, top, "CPU of one core: server (blue), load (grey); server's memory (green, MiB)", times, up)
    yield _line(left, top, times, up, load, "#999")
    yield _line(left, top, times, up, server, COLOURS[0])
    if memory:
        beside = _linear(max(value for _, value in memory) * 1.2, "")
        yield _line(left, top, times, beside, memory, COLOURS[2])
        for value, label in beside.ticks:
            y = top + PANEL_HEIGHT * (1 - beside.place(value))
            yield _text(left + PANEL_WIDTH + 6, y + 4, label, colour=COLOURS[2])


def _legend(measured: Sequence[Measured], colours: dict[tuple[str, str], str]) -> Iterable[str]:
    for index, one in enumerate(measured):
        x, y = LEFTS[0] + index % 5 * 190, TOPS[1] + PANEL_HEIGHT + 52 + index // 5 * 20
        yield f"<rect x='{x}' y='{y - 9}' width='14' height='9' fill='{colours[one.part, one.name]}'/>"
        yield _text(x + 20, y, f"{one.part}: {one.name}")


# --- Panels -----------------------------------------------------------------------------------------------------------


def _panel(left: int, top: int, title: str, across: Axis, up: Axis) -> Iterable[str]:
    yield _text(left, top - 8, title, weight="bold")
    for value, label in up.ticks:
        y = top + PANEL_HEIGHT * (1 - up.place(value))
        yield f"<line x1='{left}' x2='{left + PANEL_WIDTH}' y1='{y:.1f}' y2='{y:.1f}' stroke='#e3e3e3'/>"
        yield _text(left - 6, y + 4, label, anchor="end")
    for value, label in across.ticks:
        x = left + PANEL_WIDTH * across.place(value)
        yield f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{top}' y2='{top + PANEL_HEIGHT}' stroke='#f0f0f0'/>"
        yield _text(x, top + PANEL_HEIGHT + 16, label, anchor="middle")
    yield f"<rect x='{left}' y='{top}' width='{PANEL_WIDTH}' height='{PANEL_HEIGHT}' fill='none' stroke='#888'/>"


def _line(left: int, top: int, across: Axis, up: Axis, points: Points, colour: str, *, dashed: bool = False) -> str:
    if len(points) < 2:
        # A line of one point would not be seen.
        points = [(x + offset, y) for x, y in points for offset in (0, (across.high - across.low) / 100)]
    places = " ".join(
        f"{left + PANEL_WIDTH * min(max(across.place(x), 0), 1):.1f},{top + PANEL_HEIGHT * (1 - up.place(y)):.1f}"
        for x, y in points
    )
    dash = " stroke-dasharray='4 3' stroke-width='1'" if dashed else " stroke-width='1.8'"
    return f"<polyline points='{places}' fill='none' stroke='{colour}'{dash}/>"


def _times(last: float) -> Axis:
    """From 0 to the last moment."""
    return Axis(0, last, False, [tick for tick in _linear(last, " s").ticks if tick[0] <= last])


def _linear(most: float, unit: str) -> Axis:
    """From 0 to at least ``most``, with four to ten steps of 1, 2 or 5."""
    most = most if most > 0 else 1.0
    step = 10.0 ** math.floor(math.log10(most / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if most / (step * factor) <= 6)
    steps = math.ceil(most / step)
    return Axis(0, steps * step, False, [(n * step, f"{n * step:g}{unit}") for n in range(steps + 1)])


def _logarithmic(values: Sequence[float]) -> Axis:
    """Whole powers of ten around all values."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    high = max(high, low + 1)
    ticks = [(10.0**power, f"{10.0**power:,.10g}") for power in range(low, high + 1)]
    return Axis(10.0**low, 10.0**high, True, ticks)


def _nines(share: float) -> float:
    return -math.log10(1 - min(share, SHARES[-1]))


def _text(
    x: float,
    y: float,
    says: str,
    *,
    size: int = 11,
    anchor: str = "start",
    colour: str = "#222",
    weight: str = "normal",
) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' font-weight='{weight}' text-anchor='{anchor}' "
        f"fill='{colour}' {_FONT}>{escape(says)}</text>"
    )
