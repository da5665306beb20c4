"""Everybody at once: python -m bench.storms.

First the joins: clients with open sessions enter one room within a few seconds, evenly spread. Then a reconnect storm:
some of them lose their connections in the same instant and are back at once, each on its device and with its session
token, which puts it in its room again. Both count from when a request was due, for the second that is before it has
even connected. A request without an answer after the SDKs' time-out would be a *timeout*; at the end one message
has to reach everybody.

``lag`` is what an echo of another client takes meanwhile, one every 10 ms: see ``bench/load/probe.py``. All connections
come from this one process on one core, and connecting costs it about what accepting costs the server.
"""

import argparse
import gc
from time import monotonic_ns

from bench.load.audience import Audience
from bench.load.clients import Client, entering, open_clients, opening, start_room
from bench.load.figures import Spread, table
from bench.load.machine import DRIVER_CORE, describe, pin, require_linux
from bench.load.probe import Lag, Probe
from bench.load.rooms import SDK_CONFIG, checkout_option, room_server, text_of
from bench.load.server import Server
from bench.load.transports import Tcp, needed_descriptors
from fastim.wire import messages2_pb2 as pb

SENDERS = 4
LAST_MESSAGES = 8
HIGH = 1


class Storm:
    """One kind of storm, and what came of it in each round."""

    def __init__(self) -> None:
        self.figures: dict[str, list[float]] = {}

    def run(self, server: Server, audience: Audience, requests: list[tuple[int, int, bytes]], *, dial: bool) -> None:
        """Have these requests sent: reader, nanoseconds after the begin, frame."""
        counts, answers, spent = audience.counts(), audience.latencies("answer"), sum(server.cpu_seconds().values())
        with Probe(server) as probe:
            begun = monotonic_ns() + LEAD_NS
            due = [(reader, begun + later, frame) for reader, later, frame in requests]
            missing = audience.ask(due, dial=dial, timeout_seconds=TIMEOUT_SECONDS)
            seconds = (monotonic_ns() - begun) / 1e9
            lag = probe.stop()
        counts = audience.counts().since(counts)
        if counts.errors:
            log = server.process.log[-2000:]
            raise SystemExit(f"{counts.errors} errors came back: the figures mean nothing\n{log}")
        spent = sum(server.cpu_seconds().values()) - spent
        answered = audience.latencies("answer") - answers
        self._note(lag, timeouts=missing, seconds=seconds, each=1e6 * spent / len(requests), driver=counts.busy_percent)
        for name, share in (("p50", 0.5), ("p99", 0.99), ("longest", 1.0)):
            self._put(name, answered.millis(share))

    def row(self, name: str) -> list[str]:
        return [name, *(Spread(self.figures[figure]).show(form) for figure, form in COLUMNS.values())]

    def _note(self, lag: Lag, **figures: float) -> None:
        for name, value in figures.items():
            self._put(name, value)
        for name, share in (("lag p50", 0.5), ("lag p99", 0.99), ("lag longest", 1.0)):
            self._put(name, lag.at(share))
        self._put("echoes missing", lag.missing)

    def _put(self, name: str, value: float) -> None:
        self.figures.setdefault(name, []).append(value)


LEAD_NS = 60_000_000
"""Enough to hand all requests over before the first one is due, and little beside the storm."""
TIMEOUT_SECONDS = 10.0
"""The shortest of the SDKs' time-outs of a command. Source: wire protocol, timers."""
COLUMNS = {
    "timeouts": ("timeouts", ",.0f"),
    "seconds": ("seconds", ".2f"),
    "answer p50 ms": ("p50", ",.1f"),
    "p99 ms": ("p99", ",.1f"),
    "longest": ("longest", ",.1f"),
    "lag p50 ms": ("lag p50", ".1f"),
    "lag p99 ms": ("lag p99", ".1f"),
    "longest lag": ("lag longest", ".0f"),
    "echoes missing": ("echoes missing", ".0f"),
    "CPU us each": ("each", ",.0f"),
    "driver %": ("driver", ".0f"),
}


def main() -> None:
    options = _options()
    require_linux()
    needed_descriptors(options.readers)
    pin(DRIVER_CORE)
    print(describe())
    print(
        f"{options.readers:,} enter a room within {options.seconds} s, {options.reconnecting:,} of them reconnect at "
        f"once; {options.rounds} rounds"
    )
    joins, reconnects = Storm(), Storm()
    for _ in range(options.rounds):
        with room_server(options.server) as server:
            _round(options, server, joins, reconnects)
    print(table(["storm", *COLUMNS], [joins.row("entering"), reconnects.row("reconnecting")]))


def _round(options: argparse.Namespace, server: Server, joins: Storm, reconnects: Storm) -> None:
    tcp, app_id = server.process.tcp, server.process.app_id
    names = [f"reader-{number}" for number in range(options.readers)]
    clients = open_clients(names, Tcp(), tcp.host, tcp.port, app_id, SDK_CONFIG)
    senders = open_clients([f"sender-{n}" for n in range(SENDERS)], Tcp(), tcp.host, tcp.port, app_id, SDK_CONFIG)
    starter = open_clients(["starter"], Tcp(), tcp.host, tcp.port, app_id)
    room = start_room(starter[0])
    again = [_frame(client, opening(client.name, app_id, SDK_CONFIG, client.token)) for client in clients]
    entry = [_frame(client, entering(client.name, room)) for client in clients]
    audience = Audience(clients, senders, room, text_of(64), tcp.port, messages=100, priorities=(HIGH,))
    gc.collect()
    gc.freeze()
    gap_ns = int(1e9 * options.seconds / options.readers)
    joins.run(server, audience, [(n, n * gap_ns, frame) for n, frame in enumerate(entry)], dial=False)
    reconnects.run(server, audience, [(n, 0, again[n]) for n in range(options.reconnecting)], dial=True)
    audience.send_by_clock(LAST_MESSAGES, 1)
    counts = audience.counts()
    if counts.arrived != LAST_MESSAGES:
        raise SystemExit(f"a message in the room did not reach everybody: {counts}")
    audience.close()
    starter[0].close()


def _frame(client: Client, command: pb.GenericCommand) -> bytes:
    return client.transport.wrap(command.SerializeToString())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=10_000)
    parser.add_argument("--reconnecting", type=int, default=5_000, help="of the readers")
    parser.add_argument("--seconds", type=float, default=5.0, help="within which all enter")
    parser.add_argument("--rounds", type=int, default=3)
    checkout_option(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
