"""Parse and route of inbound sends, per core: python -m bench.inbound.

First from outside: transient sends into conversations whose other member is offline, so that nothing is stored and
nobody is told; many on their way, each acked. The figure is the server's processor time for each, which says what one
core can take; TCP beside WebSocket. Then from inside, stage by stage: the same parts in this process, without a socket.
"""

import argparse
import asyncio
import gc
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import uvloop

from bench.load.clients import Client, open_clients, start_conversations
from bench.load.figures import Spread, interleave, table
from bench.load.machine import DRIVER_CORE, SERVER_CORE, describe, pin, pinned, require_linux
from bench.load.sending import Sender, send_for
from bench.load.server import Server, running_server
from bench.load.stages import Stages
from bench.load.transports import Tcp, Transport, WebSocket

CLIENTS = 16
WINDOW = 16
WARM_UP_SECONDS = 0.3


class Door:
    """One door's load, and what came of it in each round."""

    def __init__(self, server: Server, transport: Transport, body: bytes) -> None:
        self._server = server
        self._senders = [
            Sender(client, conversation_id, body, transient=True)
            for client, conversation_id in _conversations(server, transport)
        ]
        self.rates: list[float] = []
        self.micros: list[float] = []
        send_for(WARM_UP_SECONDS, self._senders, WINDOW)

    def run(self, seconds: float) -> None:
        before = sum(self._server.cpu_seconds().values())
        run = send_for(seconds, self._senders, WINDOW)
        spent = sum(self._server.cpu_seconds().values()) - before
        self.rates.append(run.per_second)
        self.micros.append(1e6 * spent / run.acked)
        if refused := self._server.refusals():
            raise SystemExit(f"{refused:.0f} commands were refused: the figures mean nothing")

    @property
    def per_core(self) -> Spread:
        return Spread([1e6 / micros for micros in self.micros])


def main() -> None:
    options = _options()
    require_linux()
    pin(DRIVER_CORE)
    print(describe())
    print(
        f"{CLIENTS} clients with {WINDOW} messages of {options.body_bytes} bytes on their way, "
        f"{options.rounds} rounds of {options.seconds} s"
    )
    body = b"x" * options.body_bytes
    gc.freeze()
    transports = (Tcp(), WebSocket())
    with ExitStack() as stack:
        server = stack.enter_context(running_server())
        doors = {transport.name: Door(server, transport, body) for transport in transports}
        pairs = [("WebSocket", "TCP")]
        if options.against is not None:
            server = stack.enter_context(running_server(options.against))
            for transport in transports:
                name = f"{transport.name}, {options.against.name}"
                doors[name] = Door(server, transport, body)
                pairs.append((transport.name, name))
        interleave(options.rounds, {name: partial(door.run, options.seconds) for name, door in doors.items()})
    rows = [
        [name, Spread(door.rates).show(), Spread(door.micros).show(".1f"), door.per_core.show()]
        for name, door in doors.items()
    ]
    print(table(["door", "sends/s", "server CPU us each", "sends per core and second"], rows))
    for one, other in pairs:
        print(f"{one} over {other}: sends per core {doors[one].per_core.over(doors[other].per_core).show('.2f')}")
    print()
    with pinned(SERVER_CORE), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stages = runner.run(_stages(options.rounds, body))
    whole = list(stages.values())[-1]
    rows = [[name, spread.show(".2f"), f"{100 * spread.over(whole).median:.0f}"] for name, spread in stages.items()]
    print(table(["stage", "us", "% of the whole"], rows))


async def _stages(rounds: int, body: bytes) -> dict[str, Spread]:
    stages = await Stages.ready(body)
    await stages.measure()
    measured = [await stages.measure() for _ in range(rounds)]
    return {name: Spread([one[name] for one in measured]) for name in measured[0]}


def _conversations(server: Server, transport: Transport) -> list[tuple[Client, str]]:
    address = server.process.tcp if isinstance(transport, Tcp) else server.process.http
    names = [f"{transport.name}-{number}" for number in range(CLIENTS)]
    clients = open_clients(names, transport, address.host, address.port, server.process.app_id)
    return list(
        zip(clients, start_conversations(clients, [(name, f"friend of {name}") for name in names]), strict=True)
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--body-bytes", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--against", type=Path, help="another built checkout, measured in the same rounds")
    return parser.parse_args()


if __name__ == "__main__":
    main()
