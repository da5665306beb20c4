"""Both doors from a client's side, as thin as can be: no checks, no reconnects, so that the driver costs little."""

import resource
import socket
import struct
import sys
from typing import Protocol

from fastim._frames import TcpFrames, encode_tcp

READ_BYTES = 262_144
FRAME_BYTES = 1 << 24
SOURCES = 8


class Reader(Protocol):
    """Takes what was read, gives what it holds; ``fastim._frames.TcpFrames`` is one."""

    def push(self, data: bytes) -> None: ...
    def next_frame(self) -> bytes | None: ...


class Transport(Protocol):
    """How commands travel."""

    name: str

    def connect(self, host: str, port: int, number: int) -> socket.socket:
        """A connection that is ready for commands, from the source address of client ``number``."""
        ...

    def wrap(self, body: bytes) -> bytes: ...
    def reader(self) -> Reader: ...


class Tcp:
    name = "TCP"

    def connect(self, host: str, port: int, number: int) -> socket.socket:
        return _dial(host, port, number)

    def wrap(self, body: bytes) -> bytes:
        return encode_tcp(body)

    def reader(self) -> Reader:
        return TcpFrames(FRAME_BYTES)


class WebSocket:
    name = "WebSocket"

    def connect(self, host: str, port: int, number: int) -> socket.socket:
        dialled = _dial(host, port, number)
        dialled.sendall(
            b"GET / HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            b"Sec-WebSocket-Protocol: lc.protobuf2.3\r\n\r\n"
        )
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            piece = dialled.recv(READ_BYTES)
            answer += piece
            if not piece or not answer.startswith(b"HTTP/1.1 101"[: len(answer)]):
                raise ConnectionError(f"no WebSocket: {answer!r}")
        return dialled

    def wrap(self, body: bytes) -> bytes:
        size = len(body)
        # A mask of zeros: the server undoes it like any other, and here it costs nothing.
        if size < 126:
            return bytes((0x82, 0x80 | size)) + bytes(4) + body
        return struct.pack(">BBH", 0x82, 0x80 | 126, size) + bytes(4) + body

    def reader(self) -> Reader:
        return _ServerMessages()


class _ServerMessages:
    """Unmasked messages that come whole, as fastim sends them."""

    __slots__ = ("_read",)

    def __init__(self) -> None:
        self._read = b""

    def push(self, data: bytes) -> None:
        self._read += data

    def next_frame(self) -> bytes | None:
        read = self._read
        if len(read) < 2:
            return None
        start, size = 2, read[1]
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(read[2:start])
        end = start + size
        if len(read) < end:
            return None
        self._read = read[end:]
        return read[start:end]


def _dial(host: str, port: int, number: int) -> socket.socket:
    # One address has some 28,000 ports, and those of the round before are not free at once.
    source = (f"127.0.0.{2 + number % SOURCES}", 0) if sys.platform == "linux" and host == "127.0.0.1" else None
    dialled = socket.create_connection((host, port), timeout=20, source_address=source)
    dialled.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return dialled


def needed_descriptors(connections: int) -> None:
    """Make room for so many sockets.

    Raises:
        SystemExit: The machine does not allow it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + 200
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise SystemExit(f"{connections} connections need {wanted} descriptors; ulimit -Hn is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
