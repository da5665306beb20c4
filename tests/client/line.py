"""A line between clients and a server that can be cut, and mended."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.abc import ByteStream, SocketAttribute


class Line:
    """Carries bytes both ways while it is whole.

    Attributes:
        address: Where clients find the server at its other end.
    """

    def __init__(self, address: str, server: tuple[str, int]) -> None:
        self.address = address
        self._server = server
        self._whole = True
        self._connections: set[anyio.CancelScope] = set()

    def cut(self) -> None:
        """Every connection breaks, and no other can be made."""
        self._whole = False
        for scope in self._connections:
            scope.cancel()

    def mend(self) -> None:
        """Connections can be made again."""
        self._whole = True

    async def carry(self, client: ByteStream) -> None:
        """One connection."""
        async with client:
            if not self._whole:
                return
            with anyio.CancelScope() as scope:
                self._connections.add(scope)
                try:
                    async with await anyio.connect_tcp(*self._server) as server, anyio.create_task_group() as ways:
                        ways.start_soon(_pump, client, server, ways.cancel_scope)
                        ways.start_soon(_pump, server, client, ways.cancel_scope)
                finally:
                    self._connections.discard(scope)


@asynccontextmanager
async def line_to(host: str, port: int) -> AsyncIterator[Line]:
    """A whole line to a server."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    line = Line(f"127.0.0.1:{listener.extra(SocketAttribute.local_port)}", (host, port))
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, line.carry)
        yield line
        tasks.cancel_scope.cancel()


async def _pump(source: ByteStream, sink: ByteStream, over: anyio.CancelScope) -> None:
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        while True:
            await sink.send(await source.receive())
    over.cancel()
