"""Fan-out beside other servers, one core each: python -m bench.peers.

A publisher keeps so many bursts of messages on their way to all readers and publishes the next one when the last reader
has the whole of an earlier one: a cell is READERS:BURSTxBURSTS_ON_THEIR_WAY. What counts is deliveries a second, while
the server has one core and the load the other. Every message has 128 bytes; what a protocol adds is its own affair.

All servers of a cell are there at once, each with readers of its own, and take turns: in each round every one of them
is measured in every cell, in another order. A ratio is taken within a round; figures are medians, with the quartiles in
brackets. ``C`` is a program that only sends, and ``C again`` is the same once more: where they differ by more than a
tenth the cell says nothing, and the run is void.

fastim runs with everything switched on: a word filter of 10,000 words, limits that are counted, the ledger, readers as
the official SDKs are, whose own id is in every frame. Each message is acked. ``fastim`` are transient messages,
which is what the others do; with ``fastim, stored`` each message is on disk before it is acked.
``python -m bench.peers.install`` gets the others.
"""

import argparse
import gc
import random
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from types import FrameType

import msgspec

from bench.load.machine import describe, require_linux
from bench.peers.contender import FASTIM, ROWS, Contender, Failed, Figures
from bench.peers.page import PAGE, Cell, Result, Run, check, update, verdicts
from bench.peers.places import CHECKOUT
from bench.peers.servers import CONTROL, PEERS, Absent, C, version_of_fastim

CELLS = (Cell(1_000, 8, 4), Cell(1_000, 64, 4), Cell(10_000, 1, 4), Cell(10_000, 8, 4))
LEAST_ROUNDS = 7
RAW = CHECKOUT / "build" / "bench" / "peers.json"
"""The figures of every round of the last run."""


def main() -> None:
    options = _options()
    require_linux()
    signal.signal(signal.SIGTERM, _interrupted)
    machine = describe()
    print(machine)
    versions = _versions(options.peers)
    print("\n".join(f"{name}: {version}" for name, version in versions.items()))
    gc.disable()
    results: list[Result] = []
    for readers, cells in groupby(sorted(options.cells), key=lambda cell: cell.readers):
        results += _measure(readers, list(cells), list(versions), options.rounds, options.seconds)
    run = Run(machine, versions, options.rounds, options.seconds, tuple(sys.argv[1:]), tuple(results))
    RAW.parent.mkdir(parents=True, exist_ok=True)
    RAW.write_bytes(msgspec.json.encode(run))
    for result in run.results:
        print(f"\n{result.show()}")
    print("\n" + "\n".join(verdicts(run.results)))
    void = [result.cell for result in run.results if result.void]
    if void:
        raise SystemExit(f"\nVOID: C is not as fast as C in {', '.join(map(str, void))}: this run says nothing")
    everybody = all(len(result.rows) == len(ROWS) + len(PEERS) for result in results)
    whole = everybody and options.rounds >= LEAST_ROUNDS and set(CELLS) <= set(options.cells)
    page = options.page or (PAGE if whole else None)
    if page is None:
        print(f"\nno page was written: that takes all cells, all servers and {LEAST_ROUNDS} rounds, or --page")
    else:
        update(page, run)
        print(f"\n{page} has the results")


def _measure(readers: int, cells: Sequence[Cell], names: Sequence[str], rounds: int, seconds: float) -> list[Result]:
    """Every server in every cell, so many times."""
    figures: dict[tuple[Cell, str], list[Figures]] = {}
    order = random.Random(1)
    with ExitStack() as closing:
        contenders = []
        for name in names:
            print(f"{name}: {readers:,} readers ...", file=sys.stderr)
            contender = closing.enter_context(Contender(name, readers))
            try:
                contender.wait()
            except Failed as failed:
                if name in (FASTIM, C, CONTROL):
                    raise SystemExit(str(failed)) from None
                print(f"LEFT OUT with {readers:,} readers: {failed}")
                continue
            contenders.append(contender)
        turns = [(one, row, cell) for one in contenders for row in one.rows for cell in cells]
        try:
            for number in range(rounds):
                print(f"round {number + 1} of {rounds}", file=sys.stderr)
                for contender, row, cell in order.sample(turns, len(turns)):
                    came = contender.measure(row, cell.burst, cell.depth, seconds)
                    figures.setdefault((cell, row), []).append(came)
            for contender in contenders:
                contender.finish()
        except Failed as failed:
            raise SystemExit(f"VOID: {failed}") from None
    rows = [row for contender in contenders for row in contender.rows]
    return [Result(cell, {row: tuple(figures[cell, row]) for row in rows}) for cell in cells]


def _versions(wanted: Sequence[str]) -> dict[str, str]:
    """Those servers that are there, with fastim and C, whatever is wanted."""
    versions = {FASTIM: version_of_fastim()}
    for peer in PEERS:
        if peer.name not in (*wanted, C, CONTROL):
            continue
        try:
            versions[peer.name] = peer.version()
        except Absent as reason:
            print(f"LEFT OUT: {peer.name}: {reason}; `python -m bench.peers.install` gets it")
    return versions


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    others = [peer.name for peer in PEERS if peer.name not in (C, CONTROL)]
    parser.add_argument("--cells", type=Cell.parse, nargs="+", default=list(CELLS), help="READERS:BURSTxON_THEIR_WAY")
    parser.add_argument("--peers", nargs="*", choices=others, default=others, metavar="NAME", help=", ".join(others))
    parser.add_argument("--rounds", type=int, default=LEAST_ROUNDS)
    parser.add_argument("--seconds", type=float, default=2.0, help="that a server is measured in a round, at least")
    parser.add_argument("--page", type=Path, help=f"where the results go; {PAGE.name} when the run is whole")
    options = parser.parse_args()
    if options.rounds < 1 or not options.seconds > 0:
        parser.error("there has to be a round, and some time in it")
    if options.page is not None:
        check(options.page)
    return options


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("interrupted: the servers have been ended, no page was written") from None
