"""A client's end of a connection at either door, for clients that do what no SDK does."""

import asyncio
import base64
from abc import ABC, abstractmethod
from collections import Counter
from typing import cast

from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from fastim._frames import TcpFrames, encode_tcp
from fastim.wire import messages2_pb2 as pb
from tests.fuzz import streams

PATIENCE_SECONDS = 30.0
"""After this something hangs: far above what a busy machine takes."""


class Wire(asyncio.Protocol, ABC):
    """One connection, and what the server said on it.

    Attributes:
        received: Every command, in order, unless somebody takes them out.
        answered: How often each serial came back.
        farewell: The code that the server gave before it closed.
        ended: Done when the connection is gone.
    """

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.received: asyncio.Queue[pb.GenericCommand] = asyncio.Queue()
        self.answered: Counter[int] = Counter()
        self.farewell: int | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed = asyncio.Event()

    async def dial(self, address: str) -> None:
        """Connect to ``HOST:PORT``; for a WebSocket the handshake goes out at once."""
        host, _, port = address.rpartition(":")
        await asyncio.get_running_loop().create_connection(lambda: self, host, int(port))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.ended.set_result(None)
        self._changed.set()

    @abstractmethod
    def frame(self, body: bytes) -> bytes:
        """``body`` as a client sends it through this door."""

    def write(self, data: bytes) -> None:
        """Send; what the server no longer wants to hear is lost."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def finish(self) -> None:
        """Close this end's half."""
        if not self.transport.is_closing():
            self.transport.write_eof()

    def heard(self, body: bytes) -> pb.GenericCommand:
        """A command came; one that does not decode is a fault that the loop reports."""
        generic = pb.GenericCommand.FromString(body)
        if generic.HasField("i"):
            self.answered[generic.i] += 1
        self.received.put_nowait(generic)
        self._changed.set()
        return generic

    async def has_answered(self, owed: Counter[int]) -> None:
        """Wait until each serial came back as often as it is owed, or the connection is gone.

        Raises:
            TimeoutError: Neither came to pass.
        """
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (self.ended.done() or owed <= self.answered):
                self._changed.clear()
                await self._changed.wait()

    async def is_gone(self) -> None:
        """Wait for the end of the connection.

        Raises:
            TimeoutError: It does not come.
        """
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.shield(self.ended)

    async def ask(self, generic: pb.GenericCommand) -> pb.GenericCommand:
        """Send a command with a serial; returns its answer, and drops what comes before that."""
        self.write(self.frame(generic.SerializeToString()))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (answer := await self.received.get()).i != generic.i:
                pass
        return answer


class TcpWire(Wire):
    """At the TCP door."""

    def __init__(self) -> None:
        super().__init__()
        self._frames = TcpFrames(2**24)

    def frame(self, body: bytes) -> bytes:
        return encode_tcp(body)

    def data_received(self, data: bytes) -> None:
        self._frames.push(data)
        while (body := self._frames.next_frame()) is not None:
            generic = self.heard(body)
            # The last command before the end counts.
            bare = generic.cmd == pb.error and not generic.HasField("i")
            self.farewell = generic.errorMessage.code if bare else None


class WebSocketWire(Wire):
    """At the WebSocket's door.

    Args:
        subprotocol: What to offer, or nothing.
        head: The handshake, instead of one that is right.
    """

    def __init__(self, subprotocol: str = "", head: bytes = b"") -> None:
        super().__init__()
        self._base64 = "base64" in subprotocol
        self._head = head or handshake(subprotocol)
        self._answer: bytes | None = b""
        self._protocol = ClientProtocol(parse_uri("ws://localhost"), state=State.OPEN, max_size=None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.write(self._head)

    def frame(self, body: bytes) -> bytes:
        opcode, payload = (streams.TEXT, base64.b64encode(body)) if self._base64 else (streams.BINARY, body)
        return streams.Frame(opcode, payload, b"\x01\x80\xff\x3c", len(payload)).encode()

    def data_received(self, data: bytes) -> None:
        if self._answer is not None:
            self._answer += data
            head, end, data = self._answer.partition(b"\r\n\r\n")
            if not end:
                return
            if head[9:12] != b"101":
                return
            self._answer = None
        self._protocol.receive_data(data)
        assert self._protocol.parser_exc is None, self._protocol.parser_exc
        for frame in cast(list[Frame], self._protocol.events_received()):
            match frame.opcode:
                case Opcode.TEXT:
                    self.heard(base64.b64decode(frame.data, validate=True))
                case Opcode.BINARY:
                    self.heard(bytes(frame.data))
                case Opcode.CLOSE:
                    self.farewell = int(Close.parse(frame.data).code)


def handshake(subprotocol: str = "") -> bytes:
    """The head of a request for a WebSocket."""
    offer = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
    return (
        "GET / HTTP/1.1\r\nHost: im.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
    ).encode()
