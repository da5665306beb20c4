"""What came of a run: everything that is written as JSON, and the tables made of it."""

from collections.abc import Iterator
from datetime import datetime

import msgspec
from msgspec import Struct
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastim._load import Histogram
from fastim.bench.machine import Machine
from fastim.bench.profile import Profile

FORMAT = 1
"""Of the JSON; it grows when a field goes or means something else."""


class Latency(Struct, frozen=True):
    """Milliseconds, each known to 1.6 %, the longest exactly; zeros when nothing came."""

    mean: float
    p50: float
    p90: float
    p99: float
    p999: float
    max: float

    @classmethod
    def of(cls, histogram: Histogram) -> "Latency":
        """What a histogram says."""
        p50, p90, p99, p999 = (histogram.at(share) / 1e6 for share in (0.5, 0.9, 0.99, 0.999))
        return cls(histogram.mean_ns / 1e6, p50, p90, p99, p999, histogram.max_ns / 1e6)


class Measured(Struct, frozen=True):
    """One thing that one part measured.

    Attributes:
        of: What is counted: deliveries, messages or requests.
        about: From when to when its time goes.
        due: How many there should have been.
        came: Of these, how many came, until the end of draining.
        refused: Of these, how many the server refused, and deliveries of messages that it refused.
        missing: Of these, all others. They are in no latency.
        repeated: Came beyond what was due.
        per_second: That came while it was measured.
        histogram: Nanoseconds, the middle of a bucket, and how many took that long.
    """

    part: str
    name: str
    of: str
    about: str
    due: int
    came: int
    refused: int
    missing: int
    repeated: int
    per_second: float
    latency_ms: Latency
    histogram: list[tuple[int, int]]


class Beheld(Struct, frozen=True):
    """One thing that one part measured, between two looks.

    Attributes:
        per_second: That came meanwhile.
        p50_ms: Of these; 0 when nothing came.
    """

    part: str
    name: str
    per_second: float
    p50_ms: float
    p99_ms: float
    max_ms: float


class Moment(Struct, frozen=True):
    """What was seen at one look.

    Attributes:
        seconds: Since measuring began.
        server_cpu_percent: Of one core, since the look before; ``None`` when nobody says.
        server_memory_bytes: Resident; ``None`` when nobody says.
        driver_cpu_percent: Of one core.
        measured: What came since the look before.
    """

    seconds: float
    server_cpu_percent: float | None
    server_memory_bytes: int | None
    driver_cpu_percent: float
    measured: list[Beheld]


class Failure(Struct, frozen=True):
    """Something that the server refused or complained of."""

    code: int
    reason: str
    count: int


class LoadedServer(Struct, frozen=True):
    """The server that was loaded.

    Attributes:
        started: Whether it was started for the run.
        settings: That it was given then.
        process_id: ``None`` when it is not known.
        cpu_percent: Of one core, while it was measured; ``None`` when nobody says.
        memory_bytes: Resident, ``before`` anybody connected, ``connected`` when all were ready, its ``peak`` while it
            was measured, and ``after``.
        counters: By how much its own metrics have grown, if they could be read.
    """

    address: str
    started: bool
    settings: list[str]
    process_id: int | None
    cores: list[int]
    cpu_percent: float | None
    memory_bytes: dict[str, int]
    counters: dict[str, float]


class Load(Struct, frozen=True):
    """How the load itself fared.

    Attributes:
        cpu_percent: Of one core, while it was measured.
        late_ms: How long after it was due each frame was sent. It is within all latencies.
        reads: System calls that brought something.
        frames: That these brought.
        bottleneck: Why the figures tell of the load rather than of the server; empty when they do not.
    """

    connections: int
    cores: list[int]
    cpu_percent: float
    late_ms: Latency
    reads: int
    frames: int
    bottleneck: list[str]


class Report(Struct, frozen=True, kw_only=True):
    """A run.

    Attributes:
        profile: All of it, defaults included.
        command: The words of the command line.
        seconds: Measured; less than asked for when it was interrupted.
        interrupted: The signal's name, or ``None``.
        ended: Connections that the server ended and nobody asked it to.
        figures: By part, what there is to say besides.
    """

    format: int = FORMAT
    scenario: str
    profile: Profile
    command: list[str]
    started_at: datetime
    seconds: float
    interrupted: str | None
    machine: Machine
    server: LoadedServer
    load: Load
    measured: list[Measured]
    failures: list[Failure]
    ended: int
    figures: dict[str, dict[str, int]]
    series: list[Moment]

    @property
    def sound(self) -> bool:
        """Whether all went as it should: nothing refused, missing or ended."""
        return not (self.failures or self.ended or any(one.missing or one.refused for one in self.measured))

    def json(self) -> bytes:
        """All of it, for programs."""
        return msgspec.json.format(msgspec.json.encode(self)) + b"\n"


def show(report: Report, console: Console) -> None:
    """Print what people want to know."""
    console.print(Group(*_shown(report)))


def _shown(report: Report) -> Iterator[RenderableType]:
    machine = report.machine
    load = "" if machine.load_average is None else f", load average {machine.load_average:.1f} before"
    yield Text(f"{machine.processor}, {machine.cores} cores, {machine.system}, {machine.python}{load}", "dim")
    yield _latencies(report)
    yield _costs(report)
    for part, figures in report.figures.items():
        for name, number in figures.items():
            yield Text(f"{part}: {name}: {number:,}")
    for name, grown in _ledger(report.server.counters):
        yield Text(f"server: {name}: {grown:,.0f}")
    for failure in report.failures:
        yield Text(f"refused {failure.count:,} times: {failure.code} {failure.reason}", "bold red")
    if report.ended:
        yield Text(f"connections that the server ended: {report.ended:,}", "bold red")
    for reason in report.load.bottleneck:
        yield Text(
            f"THE LOAD WAS THE BOTTLENECK: {reason}. The server may be better than these figures.", "bold yellow"
        )
    if report.interrupted:
        yield Text(f"interrupted ({report.interrupted}) after {report.seconds:.1f} s", "bold yellow")


def _latencies(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("latency, ms", no_wrap=True)
    for head in ("due", "missing", "per s", "p50", "p90", "p99", "p99.9", "max"):
        table.add_column(head, justify="right")
    for one in report.measured:
        ms = one.latency_ms
        lost = one.missing + one.refused
        table.add_row(
            f"{one.part}: {one.name}",
            f"{one.due:,}",
            Text(f"{lost:,}", "bold red" if lost else ""),
            f"{one.per_second:,.0f}",
            *(_millis(value) for value in (ms.p50, ms.p90, ms.p99, ms.p999, ms.max)),
        )
    return table


def _costs(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("", "CPU", "memory before", "connected", "peak", "late p99 ms"):
        table.add_column(head, justify="right" if head else "left")
    server, load = report.server, report.load
    memory = [_mebibytes(server.memory_bytes.get(when)) for when in ("before", "connected", "peak")]
    table.add_row("server", "?" if server.cpu_percent is None else f"{server.cpu_percent:.0f} %", *memory, "")
    table.add_row("load", f"{load.cpu_percent:.0f} %", "", "", "", _millis(load.late_ms.p99))
    return table


def _ledger(counters: dict[str, float]) -> Iterator[tuple[str, float]]:
    """What the server counted of messages that some did not get."""
    for name, grown in counters.items():
        if grown and name.startswith(("fastim_room_shed_total", "fastim_deliveries_withheld_total", "fastim_limits_")):
            yield name, grown


def _millis(value: float) -> str:
    return f"{value:,.2f}" if value < 10 else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def _mebibytes(size: int | None) -> str:
    return "?" if size is None else f"{size / 2**20:,.1f} MiB"
