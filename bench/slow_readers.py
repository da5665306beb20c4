"""A room in which some readers have stopped reading: python -m bench.slow_readers.

Runs in pairs, one with slow readers and one without, each on a new server. Messages of mixed priorities go to the room
by the clock, from more senders than any limit would stop; a tenth of the readers stops reading before the first one.
After the last one, and what it left behind in memory, they read again. Whoever finds its connection closed by the
server comes back on its device, as the SDKs do, and is in its room again. In the end every reader has to have every
high-priority message, the server must owe nobody anything, and its ledger must say of each delivery what became of it.

``--then rejoin``: the slow ones do not read on but are gone, and come back over a new connection. What the kernel
had taken for them on either side is lost with the old one. No server knows of that, so here ``HIGH lost`` is what a
phone loses that is switched off in the middle of a download, and not a figure to be 0.

Memory is what the process has in RAM that it wrote (``Private_Dirty``), after the load, less what it had before it; the
kernel's socket buffers are not in it. The growth of the run without slow readers, with the room's window in it, is
taken off before it is shared out among the slow ones.
"""

import argparse
import gc
from time import monotonic_ns

from bench.load.audience import HEALTHY, Audience
from bench.load.clients import opening
from bench.load.figures import Spread, interleave, table
from bench.load.machine import DRIVER_CORE, describe, pin, require_linux
from bench.load.rooms import (
    PENDING,
    SDK_CONFIG,
    WRITTEN,
    Ledger,
    checkout_option,
    open_audience,
    room_server,
    text_of,
)
from bench.load.server import Server
from bench.load.transports import Tcp

PRIORITIES = (1, 2, 3, 3, 2, 3, 3, 2, 3, 3)
"""10 % high, 30 % normal, 60 % low."""
WARM_UP_SECONDS = 3.0
COMEBACKS = 10


class Part:
    """Runs with or without slow readers; every figure has one entry for each."""

    def __init__(self, options: argparse.Namespace, *, slow: bool) -> None:
        self._options = options
        self._slow = range(0, options.readers, round(1 / options.share)) if slow else range(0)
        self.figures: dict[str, list[float]] = {}
        self.ledgers: list[Ledger] = []

    def run(self) -> None:
        options = self._options
        messages = int(options.rate * (WARM_UP_SECONDS + options.seconds)) + 10
        with room_server(options.server, *options.set) as server:
            audience = open_audience(
                server,
                options.readers,
                options.senders,
                text_of(options.body_bytes),
                messages=messages,
                priorities=PRIORITIES,
            )
            gc.freeze()
            self._measure(server, audience)
            audience.close()

    def figure(self, name: str) -> Spread:
        return Spread(self.figures[name])

    def _measure(self, server: Server, audience: Audience) -> None:
        options, slow = self._options, self._slow
        audience.send_by_clock(options.rate, WARM_UP_SECONDS)
        before, counts = server.memory().private, audience.counts()
        each, late = audience.latencies("each", HEALTHY), audience.latencies("late")
        audience.stop_reading(slow)
        audience.send_by_clock(options.rate, options.seconds)
        grown = server.memory().private - before
        sending = audience.counts().since(counts)
        came = audience.latencies("each", HEALTHY) - each
        self._note("grown KB", grown / 1024)
        self._note("sent", sending.sent)
        self._note("acked", sending.acks)
        self._note("driver %", sending.busy_percent)
        self._note("late p99", (audience.latencies("late") - late).millis(0.99))
        for share in (0.5, 0.99):
            self._note(f"p{100 * share:.0f}", came.millis(share))
        self._bring_back(server, audience)
        self._account(server, audience)

    def _bring_back(self, server: Server, audience: Audience) -> None:
        slow = self._slow
        self._note("closed", 0)
        if not slow:
            audience.wait_until_quiet(1, 30)
            return
        if self._options.then == "rejoin":
            self._rejoin(server, audience, list(slow))
        else:
            audience.read_again(slow)
        for _ in range(COMEBACKS):
            if not audience.wait_until_quiet(1, 60):
                raise SystemExit("the slow readers did not catch up within 60 s")
            ended = audience.ended(slow)
            if not ended:
                return
            self.figures["closed"][-1] += len(ended)
            self._rejoin(server, audience, ended)
        raise SystemExit(f"readers were closed {COMEBACKS} times over, and never caught up")

    def _rejoin(self, server: Server, audience: Audience, readers: list[int]) -> None:
        app_id, wrap, now = server.process.app_id, Tcp().wrap, monotonic_ns()
        requests = [
            (number, now, wrap(opening(f"reader-{number}", app_id, SDK_CONFIG).SerializeToString()))
            for number in readers
        ]
        if missing := audience.ask(requests, dial=True, timeout_seconds=20):
            raise SystemExit(f"{missing} readers could not come back within 20 s")

    def _account(self, server: Server, audience: Audience) -> None:
        counts = audience.counts()
        missing = [audience.high_missing(number) for number in range(audience.readers)]
        healthy = [one for number, one in enumerate(missing) if number not in self._slow]
        got = [audience.messages_of(number) for number in range(audience.readers)]
        self._note("high", audience.high_sent)
        self._note("lost, healthy", sum(healthy))
        self._note("lost, slow", sum(missing) - sum(healthy))
        self._note("repeated", counts.repeated)
        self._note("ended", len(audience.ended(range(audience.readers))))
        self._note("errors", counts.errors)
        slow_got = [got[number] for number in self._slow]
        self._note("got of all %", 100 * sum(slow_got) / max(len(slow_got) * counts.sent, 1))
        self._note("refused", server.refusals())
        ledger = Ledger.of(server.metrics())
        self.ledgers.append(ledger)
        if ledger.sums:
            self._note("imbalance", ledger.imbalance)
            self._note("pending", ledger.total(PENDING))
            self._note("written, not come", ledger.total(WRITTEN) - sum(got))

    def _note(self, name: str, value: float) -> None:
        self.figures.setdefault(name, []).append(value)


SHOWN = {
    "messages sent": ("sent", ",.0f"),
    "acked": ("acked", ",.0f"),
    "healthy p50 ms": ("p50", ",.1f"),
    "healthy p99 ms": ("p99", ",.1f"),
    "memory grown KB": ("grown KB", ",.0f"),
    "HIGH sent": ("high", ",.0f"),
    "lost by healthy": ("lost, healthy", ",.0f"),
    "lost by slow": ("lost, slow", ",.0f"),
    "HIGH twice": ("repeated", ",.0f"),
    "slow got %": ("got of all %", ".0f"),
    "closed": ("closed", ",.0f"),
    "refused": ("refused", ",.0f"),
    "error commands": ("errors", ",.0f"),
    "ledger off by": ("imbalance", ",.0f"),
    "pending": ("pending", ",.0f"),
    "written, not come": ("written, not come", ",.0f"),
    "late p99 ms": ("late p99", ".1f"),
    "driver %": ("driver %", ".0f"),
}
"""``refused``: low messages at the door, by the governor. ``closed``: connections of slow readers that the server had
closed when they read again; ``error commands``: it says one when it closes for what was missed. ``written, not come``:
deliveries that the kernel took and no reader has seen; below 0 when the store told what was missed, which the ledger of
rooms does not count. It has to be 0 as long as nobody's connection ended."""


def main() -> None:
    options = _options()
    require_linux()
    pin(DRIVER_CORE)
    print(describe())
    print(
        f"{options.readers:,} readers, {100 * options.share:g} % of them slow, {options.rate:g} messages a second of "
        f"{options.senders} senders, 10 % high, 30 % normal, 60 % low; {options.pairs} pairs of {options.seconds} s"
    )
    parts = {"without slow ones": Part(options, slow=False), "with slow ones": Part(options, slow=True)}
    interleave(options.pairs, {name: part.run for name, part in parts.items()})
    without, slow = parts.values()
    rows = [
        [head, *(part.figure(name).show(form) if name in part.figures else "" for part in parts.values())]
        for head, (name, form) in SHOWN.items()
    ]
    print(table(["", *parts], rows))
    print(f"p99 of the healthy, with over without: {slow.figure('p99').over(without.figure('p99')).show('.2f')}")
    readers = len(range(0, options.readers, round(1 / options.share)))
    grown = Spread(
        [
            1024 * (one - other) / readers
            for one, other in zip(slow.figures["grown KB"], without.figures["grown KB"], strict=True)
        ]
    )
    print(f"bytes for each slow reader: {grown.show()}")
    for ledger in slow.ledgers:
        print(f"with slow ones: {ledger}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=10_000)
    parser.add_argument("--share", type=float, default=0.1, help="of the readers that stop reading")
    parser.add_argument("--senders", type=int, default=100)
    parser.add_argument("--rate", type=float, default=500, help="messages a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--body-bytes", type=int, default=64)
    parser.add_argument("--then", choices=("read", "rejoin"), default="read", help="what the slow readers do at last")
    parser.add_argument(
        "--set", nargs=2, action=_Set, default=[], metavar=("TABLE.KEY", "VALUE"), help="a setting of the server"
    )
    checkout_option(parser)
    return parser.parse_args()


class _Set(argparse.Action):
    """``--set limits.write_timeout_seconds 10``, as often as wanted, in the form that the server takes."""

    def __call__(self, parser: object, options: argparse.Namespace, values: object, flag: object = None) -> None:
        assert isinstance(values, list)
        setattr(options, self.dest, [*getattr(options, self.dest), "--set", "=".join(values)])


if __name__ == "__main__":
    main()
