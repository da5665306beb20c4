"""What a push provider that is down costs the chat: python -m bench.push.

Clients send to a server whose outbox is full and whose webhook is down, and to one that pushes nothing, in the same
rounds. Twice each: to friends who are online, so that only the full outbox is beside the chat, and to friends who are
offline, so that every message is pushed something, too, in vain. Each run starts with a new server and the same
conversations, members and messages. ``jobs`` are messages of which the outbox has not yet worked out who is pushed
something: it gives way to the chat.

First they send as fast as they can, each its next message when the last one is acked: what a server that has no time
left loses. Then by the clock, at shares of what it took without push: what operators feel. There a message's time
counts from when it was due, so nothing that falls behind can hide it.
"""

import argparse
import gc
import socket
import time
from collections.abc import Sequence
from functools import partial

from bench.load.clients import Client, open_clients, start_conversations
from bench.load.figures import Spread, interleave, table
from bench.load.machine import DRIVER_CORE, describe, pin
from bench.load.sending import Sender, send_by_clock, send_for
from bench.load.server import Server, running_server
from bench.load.transports import Tcp

WARM_UP_SECONDS = 0.5
FILL_SECONDS = 120.0
MEMBERS = 400
BODY = b"x" * 128
FIGURES = ("p50", "p99", "rate", "loop", "others")


class Load:
    """One way of sending to one kind of server, and what came of it.

    Args:
        away: Whether those who are sent to are offline.
        push: Whether there is a webhook, which is down.
        full: Clients for whom something waits in the outbox before anything is measured.
        per_second: Messages by the clock, of all clients together; 0: as many as they can.
    """

    def __init__(self, clients: int, full: int, *, away: bool, push: bool, per_second: float = 0) -> None:
        self._names = [f"client{number}" for number in range(clients)]
        self._full = full
        self._away = away
        self._push = push
        self._per_second = per_second
        self._figures: dict[str, list[float]] = {}

    def run(self, seconds: float) -> None:
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            url = f"http://127.0.0.1:{nobody.getsockname()[1]}/"  # free from now on: connections are refused
        push = ("--set", 'push.static={"alert":"hello"}', "--set", f"push.webhook={url}") if self._push else ()
        with running_server(arguments=push) as server:
            tcp = server.process.tcp
            clients = open_clients(self._names, Tcp(), tcp.host, tcp.port, server.process.app_id)
            self._fill(server, clients[0])
            rooms = start_conversations(clients, [(client.name, self._friend(client.name)) for client in clients])
            senders = [Sender(client, room, BODY) for client, room in zip(clients, rooms, strict=True)]
            send_for(WARM_UP_SECONDS, senders)
            self._measure(server, senders, seconds)
            if self._push and not server.metrics()['fastim_push_paused{provider="webhook"}']:
                raise SystemExit("the webhook counts as working: the figures mean nothing")
            if refused := server.refusals():
                raise SystemExit(f"{refused:.0f} commands were refused: the figures mean nothing")
            for client in clients:
                client.close()

    def figure(self, name: str) -> Spread:
        return Spread(self._figures[name])

    def row(self, name: str) -> list[str]:
        return [
            name,
            self.figure("rate").show(),
            self.figure("p50").show(".2f"),
            self.figure("p99").show(".2f"),
            f"{self.figure('loop').median:.0f}",
            f"{self.figure('others').median:.0f}",
            f"{self.figure('waiting').median:,.0f}",
            f"{self.figure('jobs').median:,.0f}",
        ]

    def _friend(self, name: str) -> str:
        if self._away:
            return f"friend of {name}"
        return self._names[(self._names.index(name) + 1) % len(self._names)]

    def _fill(self, server: Server, client: Client) -> None:
        """Write to so many who are offline, and wait until the outbox has it all."""
        away = [f"away{number}" for number in range(self._full)]
        groups = [(client.name, *away[first : first + MEMBERS]) for first in range(0, len(away), MEMBERS)]
        for room in start_conversations([client] * len(groups), groups):
            send_for(0, [Sender(client, room, BODY)])
            client.socket.setblocking(True)
        until = time.monotonic() + FILL_SECONDS
        while self._push and _waiting(server) < self._full:
            if time.monotonic() > until:
                raise SystemExit("the outbox does not fill up")
            time.sleep(0.2)

    def _measure(self, server: Server, senders: Sequence[Sender], seconds: float) -> None:
        spent = server.cpu_seconds()
        gc.collect()
        gc.disable()  # a collection here would look like a late ack
        run = send_by_clock(self._per_second, seconds, senders) if self._per_second else send_for(seconds, senders)
        gc.enable()
        for thread, after in server.cpu_seconds().items():
            self._note(thread, 1e6 * (after - spent[thread]) / run.acked)
        self._note("rate", run.per_second)
        self._note("p50", run.millis(0.5))
        self._note("p99", run.millis(0.99))
        self._note("waiting", _waiting(server))
        self._note("jobs", _waiting(server, "jobs"))

    def _note(self, name: str, value: float) -> None:
        self._figures.setdefault(name, []).append(value)


def _waiting(server: Server, kind: str = "targets") -> float:
    return server.metrics()[f'fastim_push_waiting{{kind="{kind}"}}']


Loads = dict[str, tuple[Load, Load]]
"""Without push and with a webhook that is down, by what they have in common."""


def main() -> None:
    options = _options()
    pin(DRIVER_CORE)
    print(describe())
    print(
        f"{options.clients} clients, {options.full:,} wait for a push, {options.rounds} rounds of {options.seconds} s"
    )
    friends = {"online": False, "offline": True}

    def pair(away: bool, per_second: float = 0) -> tuple[Load, Load]:
        without, down = (
            Load(options.clients, options.full, away=away, push=push, per_second=per_second) for push in (False, True)
        )
        return without, down

    top = {f"friends {name}": pair(away) for name, away in friends.items()}
    _compare(options, top)
    by_clock = {
        f"friends {name}, {100 * share:.0f} %": pair(away, share * top[f"friends {name}"][0].figure("rate").median)
        for share in options.shares
        for name, away in friends.items()
    }
    if by_clock:
        print()
        _compare(options, by_clock)


def _compare(options: argparse.Namespace, pairs: Loads) -> None:
    """Run them in turns and print what came of it."""
    loads = {
        f"{name}, {what}": one
        for name, pair in pairs.items()
        for what, one in zip(("no push", "down"), pair, strict=True)
    }
    interleave(options.rounds, {name: partial(one.run, options.seconds) for name, one in loads.items()})
    head = ["load", "messages/s", "p50 ms", "p99 ms", "loop us", "writer us", "waiting", "jobs"]
    print(table(head, [one.row(name) for name, one in loads.items()]))
    for name, (without, down) in pairs.items():
        ratios = ", ".join(
            f"{figure} {down.figure(figure).over(without.figure(figure)).show('.2f')}" for figure in FIGURES
        )
        print(f"{name}, down over no push: {ratios}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--full", type=int, default=10_000, help="clients for whom something waits in the outbox")
    parser.add_argument("--shares", type=float, nargs="*", default=[1 / 3, 2 / 3], help="of the top rate, by the clock")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
