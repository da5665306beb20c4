"""Open doors on real sockets, with a receiver behind them that keeps what comes in."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastim._frames import TcpFrames
from fastim.doors.http.routes import web_application
from fastim.doors.listen import Listener, listen_http, listen_tcp
from fastim.doors.tls import Certificate
from fastim.runtime.connection import NOBODY, Connection
from fastim.runtime.deadlines import Deadlines
from fastim.runtime.gateway import Gateway
from fastim.runtime.limits import Limit, LimitCounters
from fastim.runtime.outbound import fanout_of
from fastim.settings import Address, Delivery, Http, Limits
from fastim.wire import messages2_pb2 as pb

ANYWHERE = Address("127.0.0.1", 0)
SETTINGS = Http()
PATIENCE_SECONDS = 20.0
"""After this a test has failed; pytest's own timeout cannot interrupt uvloop."""


class Recorder:
    """Fulfils ``Receiver``."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[tuple[Connection, bytes]] = asyncio.Queue()
        self.gone: asyncio.Queue[Connection] = asyncio.Queue()
        self.hold = False

    def start(self, connection: Connection, body: bytes) -> None:
        if self.hold:
            connection.began()
        self.received.put_nowait((connection, body))

    def drained(self, connection: Connection) -> None:
        connection.behind = NOBODY

    def lost(self, connection: Connection) -> None:
        self.gone.put_nowait(connection)

    async def body(self) -> bytes:
        """The next command that came in."""
        return (await self.received.get())[1]


class Bites(LimitCounters):
    """Counters that one can wait for.

    Attributes:
        bitten: The limits that bit, as they do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bitten: asyncio.Queue[Limit] = asyncio.Queue()

    def bit(self, limit: Limit) -> None:
        super().bit(limit)
        self.bitten.put_nowait(limit)


class Building:
    """What a test has to do with."""

    def __init__(self, limits: Limits, trusted_proxies: tuple[str, ...]) -> None:
        self.recorder = Recorder()
        self.deadlines = Deadlines(asyncio.get_running_loop())
        self.counters = Bites()
        self.gateway = Gateway(self.recorder, self.deadlines, limits, Delivery(), fanout_of(Delivery()), self.counters)
        self.listeners: list[Listener] = []
        self.application = web_application(
            knows={"app": True}.__contains__,
            obstacle=lambda: self.gateway.obstacle,
            metrics=lambda: (b"fastim_sessions 0\n", "text/plain; version=1; charset=utf-8"),
            settings=Http(trusted_proxies=trusted_proxies),
        )

    async def tcp(self) -> "Socket":
        """A socket at the TCP door."""
        listener = await listen_tcp(ANYWHERE, self.gateway)
        self.listeners.append(listener)
        return await Socket.to(listener.address)

    async def tcps(self, certificate: Certificate) -> str:
        """Where the TCP door over TLS is."""
        listener = await listen_tcp(ANYWHERE, self.gateway, certificate)
        self.listeners.append(listener)
        return listener.address

    async def https(self, certificate: Certificate) -> str:
        """Where the HTTP door over TLS is."""
        listener = await listen_http(ANYWHERE, self.gateway, self.application, SETTINGS, certificate)
        self.listeners.append(listener)
        return listener.address

    @property
    def bites(self) -> dict[str, int]:
        """The limits that bit."""
        return {limit: number for limit, number in self.counters.bites.items() if number}

    async def http(self, settings: Http = SETTINGS, host: str = "127.0.0.1") -> str:
        """Where the HTTP door is."""
        listener = await listen_http(Address(host, 0), self.gateway, self.application, settings)
        self.listeners.append(listener)
        return listener.address


@asynccontextmanager
async def building(
    limits: Limits | None = None, trusted_proxies: tuple[str, ...] = ("127.0.0.1/32",)
) -> AsyncIterator[Building]:
    opened = Building(limits or Limits(), trusted_proxies)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield opened
    finally:
        for listener in opened.listeners:
            await listener.close()
        for connection in list(opened.gateway.connections):
            connection.abort()
        await opened.gateway.emptied()
        opened.deadlines.stop()


class Socket:
    """A client's end, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, address: str, tls: ssl.SSLContext | None = None) -> "Socket":
        host, _, port = address.rpartition(":")
        return cls(*await asyncio.open_connection(host.strip("[]"), int(port), ssl=tls))

    async def __aenter__(self) -> "Socket":
        return self

    async def __aexit__(self, *error: object) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def info(self, name: str) -> Any:
        """What the transport knows by that name."""
        return self._writer.get_extra_info(name)

    def finish(self) -> None:
        """Close this end's half."""
        self._writer.write_eof()

    async def read(self, size: int) -> bytes:
        return await self._reader.readexactly(size)

    async def read_all(self) -> bytes:
        """Everything until the other end closes."""
        return await self._reader.read()

    async def is_cut(self) -> bool:
        """Wait for the end; whether it came without a word."""
        try:
            return await self._reader.read() == b""
        except ConnectionError:
            return True

    async def is_deaf(self) -> None:
        """Go on writing until the other end takes no more."""
        with suppress(ConnectionError):
            while True:
                await self.write(b"still here")

    async def read_head(self) -> bytes:
        return await self._reader.readuntil(b"\r\n\r\n")

    async def read_response(self) -> tuple[int, dict[str, str], bytes]:
        """Status, header and body of a response that says its length; 1xx, 204 and answers to HEAD are not for this."""
        first, *lines = (await self.read_head()).decode().rstrip().split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self.read(int(fields["content-length"]))
        return int(first.split()[1]), fields, body


def parting(data: bytes) -> tuple[int, str]:
    """Code and reason of the one TCP frame in ``data``, an error command."""
    frames = TcpFrames(1_000)
    frames.push(data)
    body = frames.next_frame()
    assert body is not None
    assert frames.pending_bytes == 0
    generic = pb.GenericCommand.FromString(body)
    assert generic.cmd == pb.error
    return generic.errorMessage.code, generic.errorMessage.reason
