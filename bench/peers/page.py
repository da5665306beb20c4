"""What a run says: tables, the goals, and the page in ``docs/`` whose middle part is made of them."""

import os
import platform
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from msgspec import Struct

from bench.load.figures import Spread, table
from bench.peers.contender import FASTIM, STORED, Figures
from bench.peers.places import CHECKOUT
from bench.peers.servers import CONTROL, NATS, OLD_NATS, REDIS, C

PAGE = CHECKOUT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- from here on written by make bench-peers -->", "<!-- up to here -->"
CONTROL_LIMITS = (0.9, 1.1)
BUSY_PERCENT = 90.0
SHARED_PERCENT = 15.0
"""Of a core, beside the server: the kernel does some work that is nobody's."""
HEAD = (
    "server",
    "1000 deliveries/s",
    "fastim is",
    "stored is",
    "us/delivery",
    "server %",
    "core %",
    "load %",
    "per read",
)


class Cell(Struct, frozen=True, order=True):
    """So many readers, so many messages in a burst, so many bursts on their way."""

    readers: int
    burst: int
    depth: int

    @classmethod
    def parse(cls, text: str) -> Self:
        readers, _, shape = text.partition(":")
        burst, _, depth = shape.partition("x")
        cell = cls(int(readers), int(burst), int(depth))
        if min(cell.readers, cell.burst, cell.depth) < 1:
            raise ValueError("there has to be one of each")
        return cell

    def __str__(self) -> str:
        return f"{self.readers:,} readers, bursts of {self.burst}, {self.depth} on their way"


GOALS = tuple(
    (cell, peer, goal)
    for cell, nats, redis in (
        (Cell(10_000, 1, 4), 4.0, 1.5),
        (Cell(10_000, 8, 4), 15.0, 2.5),
        (Cell(1_000, 8, 4), 1.0, 1.0),
    )
    for peer, goal in ((NATS, nats), (OLD_NATS, nats), (REDIS, redis))
)


class Result(Struct, frozen=True):
    """One cell: the figures of each round for each row."""

    cell: Cell
    rows: dict[str, tuple[Figures, ...]]

    def rates(self, row: str) -> Spread:
        return Spread([figures.rate for figures in self.rows[row]])

    def ratio(self, row: str, other: str) -> Spread:
        """How many times as fast as ``other``."""
        return self.rates(row).over(self.rates(other))

    def _median(self, row: str, name: str) -> float:
        return Spread([getattr(one, name) for one in self.rows[row]]).median

    @property
    def void(self) -> bool:
        return not CONTROL_LIMITS[0] <= self.ratio(C, CONTROL).median <= CONTROL_LIMITS[1]

    def cells(self) -> Iterator[list[str]]:
        for row in self.rows:
            medians = {name: self._median(row, name) for name in Figures.__struct_fields__}
            yield [
                row,
                Spread([rate / 1000 for rate in self.rates(row).values]).show_quartiles(",.0f"),
                *("" if row == own else _times(self.ratio(own, row)) for own in (FASTIM, STORED)),
                f"{medians['server']:.2f}",
                *(f"{medians[f'{what}_percent']:.0f}" for what in ("server", "core", "driver")),
                f"{medians['read']:.1f}",
            ]

    @property
    def control(self) -> str:
        said = f"C over C: {self.ratio(C, CONTROL).show_quartiles('.2f')}"
        busy = [row for row in self.rows if self._median(row, "driver_percent") > BUSY_PERCENT]
        if busy:
            said += f"; the load was too busy to say how fast these are: {', '.join(busy)}"
        shared = [
            row
            for row in self.rows
            if self._median(row, "core_percent") - self._median(row, "server_percent") > SHARED_PERCENT
        ]
        if shared:
            said += f"; something else was busy on the core of these: {', '.join(shared)}"
        return said

    def by_processor_time(self, row: str, other: str) -> float:
        """How many times as much ``other`` has spent on a delivery; this holds where a core was shared, too."""
        return Spread(
            [two.server / one.server for one, two in zip(self.rows[row], self.rows[other], strict=True)]
        ).median

    def show(self) -> str:
        return f"{self.cell}\n{table(HEAD, list(self.cells()))}\n{self.control}{' VOID' if self.void else ''}"


class Run(Struct, frozen=True):
    """All that is told of a run."""

    machine: str
    versions: dict[str, str]
    rounds: int
    seconds: float
    arguments: tuple[str, ...]
    results: tuple[Result, ...]


def verdicts(results: Sequence[Result]) -> list[str]:
    """What has become of the goals, and how far C comes: no server that makes these sends gets past it."""
    lines = []
    for cell, peer, goal in GOALS:
        for result in results:
            if result.cell == cell and peer in result.rows:
                ratio = result.ratio(FASTIM, peer)
                reached = "reached" if ratio.median >= goal else "NOT reached"
                spent = result.by_processor_time(FASTIM, peer)
                limit = f"; C: {_times(result.ratio(C, peer))}" if C in result.rows else ""
                lines.append(
                    f"{cell}: {_times(ratio)} {peer}, wanted {goal:g}: {reached}"
                    f" (by processor time {spent:.2f} x){limit}"
                )
    return lines


def check(page: Path) -> None:
    """Say before the run, not half an hour later, that its results cannot be written there.

    Raises:
        SystemExit: The page has no markers, or cannot be written.
    """
    _around(page)
    if not os.access(page.parent, os.W_OK):
        raise SystemExit(f"{page} cannot be written")


def update(page: Path, run: Run) -> None:
    """Write the results into the page, between the markers; at once, so that an interrupt leaves it whole.

    Raises:
        SystemExit: The page has no markers.
    """
    head, tail = _around(page)
    fresh = page.with_name(f".{page.name}.new")
    fresh.write_text(f"{head}{BEGIN}\n\n{_written(run)}\n{END}{tail}", encoding="utf-8")
    fresh.replace(page)


def _around(page: Path) -> tuple[str, str]:
    """What stands before the results and after them."""
    try:
        text = page.read_text(encoding="utf-8")
    except FileNotFoundError:
        text = f"{BEGIN}\n{END}\n"
    except OSError as error:
        raise SystemExit(f"{page}: {error.strerror}") from error
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has no markers: {BEGIN} ... {END}")
    return head, tail


def _written(run: Run) -> str:
    parts = [
        f"Measured on {datetime.now(UTC):%Y-%m-%d} by `{' '.join(('python -m bench.peers', *run.arguments))}`: "
        f"{run.rounds} rounds of {run.seconds:g} s and more.",
        "    " + f"{run.machine}\n{platform.platform()}".replace("\n", "\n    "),
        _markdown(
            ("server", "version"), [[name, version] for name, version in run.versions.items() if name != CONTROL]
        ),
    ]
    for result in run.results:
        parts += [f"### {result.cell}", _markdown(HEAD, list(result.cells())), result.control + "."]
    parts += ["### Goals", "\n".join(f"- {line}" for line in verdicts(run.results))]
    return "\n\n".join(parts) + "\n"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rows))


def _times(ratio: Spread) -> str:
    return f"{ratio.show_quartiles('.2f')} x"
