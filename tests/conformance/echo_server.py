"""A server that sends every message back, made of the product's own front, handshake, codec and connection.

The product refuses text where commands are binary, and one that carries commands has no use for messages of megabytes;
here both are let through, and nothing else differs.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from fastim._frames import encode_websocket
from fastim.core.session import OfflineMode
from fastim.doors.http.front import Front, HttpDoor
from fastim.doors.http.handshake import Handshake, Request
from fastim.doors.websocket import WebSocketProtocol
from fastim.runtime.connection import Connection
from fastim.runtime.deadlines import Deadlines
from fastim.runtime.gateway import Gateway
from fastim.runtime.outbound import fanout_of
from fastim.settings import Delivery, Http, Limits
from fastim.wire.framing import BINARY, TEXT, WebSocketFraming

MESSAGE_BYTES = 16_777_216
"""The longest message of any case."""


class Echo:
    """Fulfils ``Receiver``."""

    def start(self, connection: Connection, body: bytes) -> None:
        connection.write(connection.framing.frame(body))

    def drained(self, connection: Connection) -> None:
        raise AssertionError("no deliveries are offered here")

    def lost(self, connection: Connection) -> None:
        pass


class EitherFraming(WebSocketFraming):
    """Frames in the opcode of the message that is being answered."""

    def __init__(self) -> None:
        super().__init__(base64=False)
        self.opcode = BINARY

    def frame(self, body: bytes) -> bytes:
        return encode_websocket(self.opcode, body)


class EchoProtocol(WebSocketProtocol):
    """Takes text like any other message."""

    __slots__ = ("_either",)

    def __init__(self, transport: asyncio.Transport, gateway: Gateway, offline_mode: OfflineMode) -> None:
        self._either = EitherFraming()
        super().__init__(transport, gateway, self._either, offline_mode, "")

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode != TEXT:
            super()._take(opcode, payload)
            return
        self._either.opcode = TEXT
        self._connection.received(payload)
        self._either.opcode = BINARY


class EchoDoor(HttpDoor):
    """The HTTP door, with ``EchoProtocol`` behind a handshake."""

    def upgrade(self, transport: asyncio.Transport, request: Request, handshake: Handshake, rest: bytes) -> None:
        transport.write(handshake.answer)
        protocol = EchoProtocol(transport, self.gateway, handshake.offline_mode)
        if rest:
            protocol.data_received(rest)


@asynccontextmanager
async def echo_server(limit_bytes: int = MESSAGE_BYTES) -> AsyncIterator[str]:
    """The server's ``HOST:PORT``, while it runs."""
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(loop)
    limits, delivery = Limits(frame_bytes=limit_bytes), Delivery(outbox_bytes=4 * MESSAGE_BYTES)
    gateway = Gateway(Echo(), deadlines, limits, delivery, fanout_of(delivery))
    door = EchoDoor(gateway, web.Application(), Http())
    await door.open()
    listening = socket.create_server(("127.0.0.1", 0))
    server = await loop.create_server(lambda: Front(door), sock=listening)
    host, port = listening.getsockname()
    try:
        yield f"{host}:{port}"
    finally:
        server.close()
        await door.close()
        for connection in list(gateway.connections):
            connection.abort()
        await gateway.emptied()
        deadlines.stop()
