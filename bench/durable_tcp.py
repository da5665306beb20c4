"""Durable sends over TCP beside bare LMDB group commit of the same records: python -m bench.durable_tcp.

Every client sends its next message when the last one is acked, so each message waits for a commit. Three loads, each in
every round: 64 clients with a conversation of their own (two members, the other one offline), the same clients all in
one group (each message is delivered to all the others), and one client alone. Each starts with a new server and an
empty store. Then what the server has stored is written through py-lmdb alone, in the server's own batches, on the
server's core. With ``--all-cores`` server and bare LMDB may use every core, as they would outside of a benchmark: then
the store's thread and the loop's need not take turns on one, but share the cores with the load.
"""

import argparse
import gc
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import process_time

from bench.durable import Put, run_bare, stored_batches
from bench.load.clients import Client, open_clients, start_conversations
from bench.load.figures import Spread, interleave, table
from bench.load.machine import DRIVER_CORE, SERVER_CORE, all_cores, describe, pin, pinned
from bench.load.sending import Sender, send_for
from bench.load.server import Server, running_server
from bench.load.transports import Tcp
from fastim.adapters.lmdb.environment import Tables

WARM_UP_SECONDS = 0.3
MESSAGES_TABLE = Tables._fields.index("messages")

Rooms = Callable[[Sequence[Client]], list[str]]
"""Makes the conversations: which one each client sends into."""


def own_rooms(clients: Sequence[Client]) -> list[str]:
    return start_conversations(clients, [(client.name, f"friend of {client.name}") for client in clients])


def one_room(clients: Sequence[Client]) -> list[str]:
    return start_conversations(clients[:1], [[client.name for client in clients]]) * len(clients)


class Load:
    """One way of sending, and what came of it: every figure has one entry for each round.

    Args:
        checkout: Whose server; ``None``: this one's. Another one may keep its records in another form, so that only
            this one's are written once more by bare LMDB.
        one_core: Whether the server has one core of its own.
    """

    def __init__(self, clients: int, rooms: Rooms, body: bytes, checkout: Path | None, one_core: bool) -> None:
        self._clients = [f"client{number}" for number in range(clients)]
        self._rooms = rooms
        self._body = body
        self._checkout = checkout
        self._one_core = one_core
        self._figures: dict[str, list[float]] = {}

    def run(self, seconds: float) -> None:
        with running_server(self._checkout, pinned_to_core=self._one_core) as server:
            tcp = server.process.tcp
            clients = open_clients(self._clients, Tcp(), tcp.host, tcp.port, server.process.app_id)
            senders = [
                Sender(client, room, self._body) for client, room in zip(clients, self._rooms(clients), strict=True)
            ]
            warm_up = send_for(WARM_UP_SECONDS, senders).acked
            self._measure(server, senders, seconds)
            if refused := server.refusals():
                raise SystemExit(f"{refused:.0f} commands were refused: the figures mean nothing")
            for client in clients:
                client.close()
            if self._checkout is None:
                self._replay(stored_batches(server.process.data), warm_up)

    def figure(self, name: str) -> Spread:
        return Spread(self._figures[name])

    def row(self, name: str) -> list[str]:
        rate = self.figure("rate")
        bare = self.figure("bare") if self._checkout is None else None
        return [
            name,
            rate.show(),
            bare.show() if bare else "",
            rate.over(bare).show(".2f") if bare else "",
            *(
                f"{self.figure(figure).median:{form}}" if figure in self._figures else ""
                for figure, form in MEDIANS.values()
            ),
        ]

    def compare(self, other: "Load") -> str:
        """What this load's figures are of the other's, round by round."""
        return ", ".join(
            f"{name} {self.figure(name).over(other.figure(name)).show('.2f')}"
            for name in COMPARED
            if name in self._figures
        )

    def _measure(self, server: Server, senders: Sequence[Sender], seconds: float) -> None:
        commits, spent, driver = server.commits(), server.cpu_seconds(), process_time()
        gc.collect()
        gc.disable()  # a collection here would look like a late ack
        run = send_for(seconds, senders)
        gc.enable()
        self._note("driver", 100 * (process_time() - driver) / run.seconds)
        for thread, after in server.cpu_seconds().items():
            self._note(thread, 1e6 * (after - spent[thread]) / run.acked)
        commits = server.commits().since(commits)
        self._note("rate", run.per_second)
        self._note("p50", run.millis(0.5))
        self._note("p99", run.millis(0.99))
        self._note("each", run.acked / commits.commits)
        self._note("commit", 1000 * commits.seconds / commits.commits)

    def _replay(self, batches: Sequence[list[Put]], warm_up: int) -> None:
        """Write what the server has stored; what it stored while it warmed up is not timed."""
        first = 0
        while warm_up > 0:
            warm_up -= _messages(batches[first])
            first += 1
        where = pinned(SERVER_CORE) if self._one_core else all_cores()
        with tempfile.TemporaryDirectory(prefix="fastim-bench-") as scratch, where:
            run_bare(Path(scratch), list(batches[:first]))
            seconds = run_bare(Path(scratch), list(batches[first:]))
        self._note("bare", sum(map(_messages, batches[first:])) / seconds)

    def _note(self, name: str, value: float) -> None:
        self._figures.setdefault(name, []).append(value)


MEDIANS = {
    "p50 ms": ("p50", ".2f"),
    "p99 ms": ("p99", ".2f"),
    "per commit": ("each", ".1f"),
    "commit ms": ("commit", ".2f"),
    "loop us": ("loop", ".1f"),
    "writer us": ("others", ".1f"),
    "driver %": ("driver", ".0f"),
}
"""Columns with a median only; processor time of the server's two threads is for each message."""
COMPARED = ("rate", "p50", "p99", "loop", "others")


def main() -> None:
    options = _options()
    pin(DRIVER_CORE)
    body = b"x" * options.body_bytes
    print(describe())
    print(f"{options.clients} clients, {len(body)} bytes each, {options.rounds} rounds of {options.seconds} s")
    one_core = not options.all_cores
    loads = _loads(options.clients, body, None, one_core)
    others = {} if options.against is None else _loads(options.clients, body, options.against, one_core)
    shown = loads | {f"{name}, {options.against.name}": load for name, load in others.items()}
    interleave(options.rounds, {name: partial(load.run, options.seconds) for name, load in shown.items()})
    head = ["load", "messages/s", "bare LMDB/s", "of bare", *MEDIANS]
    print(table(head, [load.row(name) for name, load in shown.items()]))
    for name, other in others.items():
        load = loads[name]
        print(f"{name}, this over {options.against.name}: {load.compare(other)}")


def _loads(clients: int, body: bytes, checkout: Path | None, one_core: bool) -> dict[str, Load]:
    return {
        "own conversations": Load(clients, own_rooms, body, checkout, one_core),
        "one group": Load(clients, one_room, body, checkout, one_core),
        "one client": Load(1, own_rooms, body, checkout, one_core),
    }


def _messages(batch: Sequence[Put]) -> int:
    return sum(table == MESSAGES_TABLE for table, _, _ in batch)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--body-bytes", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.2)
    parser.add_argument("--all-cores", action="store_true", help="the server is not kept on a core of its own")
    parser.add_argument("--against", type=Path, help="another built checkout, measured in the same rounds")
    return parser.parse_args()


if __name__ == "__main__":
    main()
