"""How a command's bytes are wrapped for a connection: the one thing in which the doors' outbound sides differ."""

from base64 import b64encode
from typing import Protocol

from fastim import _fanout
from fastim._frames import encode_tcp, encode_websocket
from fastim.core.errors import Closure
from fastim.core.session import OfflineMode
from fastim.wire.codec import encode_parting

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
"""WebSocket opcodes."""


class Framing(Protocol):
    """One way of wrapping."""

    @property
    def name(self) -> str:
        """For metrics and logs."""
        ...

    @property
    def native(self) -> int:
        """What wires call it."""
        ...

    def frame(self, body: bytes) -> bytes:
        """One command, ready for the socket."""
        ...

    def farewell(self, closure: Closure) -> bytes:
        """What is written before the connection closes, so that the client learns why."""
        ...


class TcpFraming:
    """A 4-byte big-endian length before each command. The last command says why the connection closes."""

    name = "tcp"
    native = _fanout.TCP

    def frame(self, body: bytes) -> bytes:
        return encode_tcp(body)

    def farewell(self, closure: Closure) -> bytes:
        return encode_tcp(encode_parting(closure))


class WebSocketFraming:
    """One WebSocket message for each command.

    Args:
        base64: Text messages that hold the command in Base64, for clients without binary frames.
    """

    def __init__(self, *, base64: bool) -> None:
        self._base64 = base64
        self.name = "websocket_base64" if base64 else "websocket"
        self.native = _fanout.WEBSOCKET_BASE64 if base64 else _fanout.WEBSOCKET

    def frame(self, body: bytes) -> bytes:
        if self._base64:
            return encode_websocket(TEXT, b64encode(body))
        return encode_websocket(BINARY, body)

    def farewell(self, closure: Closure) -> bytes:
        return encode_websocket(CLOSE, closure.code.to_bytes(2) + closure.reason.encode())


TCP = TcpFraming()
WEBSOCKET = WebSocketFraming(base64=False)
WEBSOCKET_BASE64 = WebSocketFraming(base64=True)

SUBPROTOCOLS: dict[str, tuple[Framing, OfflineMode]] = {
    "lc.protobuf2.3": (WEBSOCKET, OfflineMode.UNREAD),
    "lc.protobuf2.1": (WEBSOCKET, OfflineMode.PUSH),
    "lc.proto2base64.3": (WEBSOCKET_BASE64, OfflineMode.UNREAD),
    "lc.proto2base64.1": (WEBSOCKET_BASE64, OfflineMode.PUSH),
}
"""What each WebSocket subprotocol stands for. Source: wire protocol, WebSocket handshake and framing."""
