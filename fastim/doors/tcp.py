"""The TCP door: a 4-byte big-endian length, then a command in protobuf; its clients are told unread counts.

What a command means is the receiver's business. Here ends only what cannot be framed: a frame that is longer than
``limits.frame_bytes``, known from its length alone, closes the connection with ``FrameTooLong``.
"""

import asyncio
from typing import cast

from fastim._frames import FrameError, TcpFrames
from fastim.core.errors import FrameTooLong
from fastim.core.session import OfflineMode
from fastim.doors.admission import admits, turn_away
from fastim.runtime.connection import Connection
from fastim.runtime.gateway import Gateway
from fastim.wire.framing import TCP


class TcpProtocol(asyncio.Protocol):
    """One accepted TCP connection."""

    __slots__ = ("_connection", "_frames", "_gateway")

    _connection: Connection
    _frames: TcpFrames

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)
        if not admits(self._gateway):
            turn_away(transport)
            return
        self._frames = TcpFrames(self._gateway.limits.frame_bytes)
        self._connection = self._gateway.connect(transport, TCP, OfflineMode.UNREAD, door="tcp", shaken=False)
        self._connection.begin(self._feed)

    def data_received(self, data: bytes) -> None:
        if self._connection.lost:
            return
        self._frames.push(data)
        self._feed()

    def eof_received(self) -> None:
        self._connection.shut()

    def connection_lost(self, error: Exception | None) -> None:
        self._gateway.disconnect(self._connection)

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()

    def _feed(self) -> None:
        connection, frames = self._connection, self._frames
        try:
            while not (connection.paused or connection.lost):
                body = frames.next_frame()
                if body is None:
                    return
                connection.received(body)
        except FrameError:
            self._gateway.counters.bit("frame")
            connection.close(FrameTooLong())
