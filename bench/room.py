"""The whole command in a chat room, from a client's ``direct`` to its readers' bytes: python -m bench.room.

A real server, all readers in one room over TCP, senders outside of it; messages are stored, filtered, counted against
every limit and entered in the ledger, and each is acked. First the top rate: bursts of some messages, so many on their
way; the next one is sent when the last reader has one. Then single messages by the clock, at shares of the best of
these rates: a message's time counts from when it was due, so nothing that falls behind can hide it.

``not everywhere`` counts messages that were shed for some reader; they are not in ``last``, which is the time
until the last reader has the message. ``each`` is that of all readers. ``late`` is the load's own delay, which is in
both.
"""

import argparse
import gc
from collections.abc import Callable
from functools import partial

from bench.load.audience import Audience, Counts, Histogram
from bench.load.figures import Spread, interleave, table
from bench.load.machine import DRIVER_CORE, describe, pin, require_linux
from bench.load.rooms import Ledger, checkout_option, open_audience, room_server, text_of
from bench.load.server import Server

MESSAGES = 1 << 22
HISTOGRAMS = ("last", "each", "ack", "late")
SHARES = (0.1, 0.5, 0.9)


class Part:
    """One way of sending, and what came of it in each round."""

    def __init__(self, server: Server, audience: Audience, send: Callable[[], object]) -> None:
        self._server = server
        self._audience = audience
        self._send = send
        self._figures: dict[str, list[float]] = {}

    def run(self) -> None:
        audience = self._audience
        counts, latencies = audience.counts(), self._latencies()
        spent = sum(self._server.cpu_seconds().values())
        self._send()
        spent = sum(self._server.cpu_seconds().values()) - spent
        self._take(audience.counts().since(counts), spent)
        for name, after in self._latencies().items():
            of_this = after - latencies[name]
            for share in (0.5, 0.99):
                self._note(f"{name} p{share * 100:.0f}", of_this.millis(share))

    def _take(self, counts: Counts, spent: float) -> None:
        if counts.errors or counts.ended or counts.unmarked:
            raise SystemExit(f"errors came, or connections were closed; the figures mean nothing: {counts}")
        self._note("missing", counts.sent - counts.arrived)
        self._note("rate", counts.arrived / counts.seconds)
        self._note("deliveries", counts.frames / counts.seconds / 1000)
        self._note("server", 1e6 * spent / counts.frames)
        self._note("core", 100 * spent / counts.seconds)
        self._note("driver", counts.busy_percent)
        self._note("frames", counts.frames / max(counts.reads, 1))

    def figure(self, name: str) -> Spread:
        return Spread(self._figures[name])

    def _latencies(self) -> dict[str, Histogram]:
        return {name: self._audience.latencies(name) for name in HISTOGRAMS}

    def _note(self, name: str, value: float) -> None:
        self._figures.setdefault(name, []).append(value)


TOP = {
    "messages/s": ("rate", ",.0f"),
    "1000 deliveries/s": ("deliveries", ",.0f"),
    "CPU us/delivery": ("server", ".3f"),
    "last p50 ms": ("last p50", ",.1f"),
    "last p99 ms": ("last p99", ",.1f"),
}
BY_CLOCK = {
    "messages/s": ("rate", ",.0f"),
    **{f"{name} {share} ms": (f"{name} {share}", ",.1f") for name in ("last", "each") for share in ("p50", "p99")},
    "ack p99 ms": ("ack p99", ",.1f"),
    "not everywhere": ("missing", ",.0f"),
}
MEDIANS = {
    "late p99 ms": ("late p99", ".2f"),
    "frames/read": ("frames", ".1f"),
    "server %": ("core", ".0f"),
    "driver %": ("driver", ".0f"),
}


def main() -> None:
    options = _options()
    require_linux()
    pin(DRIVER_CORE)
    print(describe())
    text = text_of(options.body_bytes)
    kind = ", which need no peerId" if options.own else ", each with its peerId in each frame"
    print(
        f"{options.readers:,} readers{kind}, {options.senders} senders, texts of {options.body_bytes} bytes, "
        f"{options.rounds} rounds of {options.seconds} s"
    )
    with room_server(options.server) as server:
        audience = open_audience(server, options.readers, options.senders, text, messages=MESSAGES, own=options.own)
        gc.freeze()
        _measure(options, server, audience)
        audience.close()
        if refused := server.refusals():
            raise SystemExit(f"{refused:.0f} commands were refused: the figures mean nothing")


def _measure(options: argparse.Namespace, server: Server, audience: Audience) -> None:
    audience.send_by_arrival(1, 4, options.seconds / 2)
    shapes = {
        f"{burst} x {in_flight}": Part(
            server, audience, partial(audience.send_by_arrival, burst, in_flight, options.seconds)
        )
        for burst, in_flight in options.shapes
    }
    interleave(options.rounds, {name: part.run for name, part in shapes.items()})
    print(_rows("burst x on their way", shapes, TOP))
    top = max(part.figure("rate").median for part in shapes.values())
    by_clock = {
        f"{100 * share:.0f} %": Part(
            server, audience, partial(audience.send_by_clock, max(top * share, 1), options.seconds)
        )
        for share in SHARES
    }
    interleave(options.rounds, {name: part.run for name, part in by_clock.items()})
    print(_rows(f"of {top:,.0f} messages/s", by_clock, BY_CLOCK))
    print(Ledger.of(server.metrics()))
    if any(part.figure("driver").median > 90 for part in (*shapes.values(), *by_clock.values())):
        print("the load was busier than 90 %: where it was, it is the load that was measured")


def _rows(head: str, parts: dict[str, Part], columns: dict[str, tuple[str, str]]) -> str:
    rows = [
        [
            name,
            *(part.figure(figure).show(form) for figure, form in columns.values()),
            *(f"{part.figure(figure).median:{form}}" for figure, form in MEDIANS.values()),
        ]
        for name, part in parts.items()
    ]
    return table([head, *columns, *MEDIANS], rows)


def _shape(text: str) -> tuple[int, int]:
    burst, _, in_flight = text.partition("x")
    return int(burst), int(in_flight)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=10_000)
    parser.add_argument("--senders", type=int, default=16)
    parser.add_argument("--body-bytes", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--own", action="store_true", help="readers of our own client, which need no peerId")
    parser.add_argument(
        "--shapes", type=_shape, nargs="+", default=[(1, 4), (8, 4), (64, 4)], help="BURSTxIN_FLIGHT of the top rate"
    )
    checkout_option(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
