"""Memory of an idle session, over TCP and over WebSocket: python -m bench.idle_memory.

A fresh server for each measurement. Some sessions are opened and closed first, so that what the first of their kind
cost once is not counted; then all are opened, two by two in a conversation of their own, and left alone. What the
kernel keeps for their sockets is not the process's and is not in the figures.
"""

import argparse
from functools import partial

from bench.load.clients import Client, open_clients, start_conversations
from bench.load.figures import Spread, interleave, table
from bench.load.machine import DRIVER_CORE, describe, pin, require_linux
from bench.load.server import Server, running_server
from bench.load.transports import Tcp, Transport, WebSocket, needed_descriptors

WARM_UP_SESSIONS = 200


class Door:
    """One door's figures, bytes for each session, one entry for each round."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.resident: list[float] = []
        self.private: list[float] = []

    def measure(self, sessions: int) -> None:
        with running_server() as server:
            _close(server, _open(server, self.transport, "warm", WARM_UP_SESSIONS))
            before = server.memory()
            clients = _open(server, self.transport, "client", sessions)
            opened = server.metrics()["fastim_sessions"]
            if opened != sessions:
                raise SystemExit(f"{opened:.0f} sessions are open, not {sessions}")
            during = server.memory()
            for client in clients:
                client.close()
        self.resident.append((during.resident - before.resident) / sessions)
        self.private.append((during.private - before.private) / sessions)


def main() -> None:
    options = _options()
    require_linux()
    needed_descriptors(options.sessions)
    pin(DRIVER_CORE)
    print(describe())
    print(f"{options.sessions} sessions, {options.rounds} rounds; bytes for each session")
    doors = [Door(Tcp()), Door(WebSocket())]
    interleave(options.rounds, {door.transport.name: partial(door.measure, options.sessions) for door in doors})
    rows = [[door.transport.name, Spread(door.resident).show(), Spread(door.private).show()] for door in doors]
    print(table(["door", "resident", "private and dirty"], rows))
    tcp, websocket = doors
    print(f"WebSocket over TCP, private and dirty: {Spread(websocket.private).over(Spread(tcp.private)).show('.2f')}")


def _open(server: Server, transport: Transport, prefix: str, sessions: int) -> list[Client]:
    address = server.process.tcp if isinstance(transport, Tcp) else server.process.http
    names = [f"{prefix}-{number:05}" for number in range(sessions)]
    clients = open_clients(names, transport, address.host, address.port, server.process.app_id)
    pairs = list(zip(names[::2], names[1::2], strict=True))
    start_conversations(clients[::2], pairs)
    return clients


def _close(server: Server, clients: list[Client]) -> None:
    for client in clients:
        client.close()
    while server.metrics()["fastim_sessions"]:
        pass


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=10_000, help="an even number")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
