"""The WebSocket door, from behind the handshake: one message is one command, as the subprotocol has it.

What comes in is accepted in the form that the subprotocol names, and raw also where it names Base64. Broken framing is
answered with the close code of RFC 6455; what is too long or not Base64 with LeanCloud's, which SDKs know by name.
Source: wire protocol, WebSocket handshake and framing.
"""

import asyncio
import binascii

from fastim._frames import FrameError, WebSocketFrames, encode_websocket
from fastim.core.errors import FrameTooLong, WireError
from fastim.core.session import OfflineMode
from fastim.runtime.gateway import Gateway
from fastim.wire.framing import BINARY, CLOSE, PING, PONG, TEXT, WEBSOCKET_BASE64, Framing

UNSUPPORTED_DATA = 1003
TOO_BIG = 1009


class WebSocketProtocol(asyncio.Protocol):
    """One WebSocket connection. It takes ``transport`` over in the constructor; the handshake has been answered.

    Args:
        framing: How commands travel.
        offline_mode: What the subprotocol asks for.
        address: The IP address of the client, or empty.
    """

    __slots__ = ("_base64", "_connection", "_frames", "_gateway", "_transport")

    def __init__(
        self,
        transport: asyncio.Transport,
        gateway: Gateway,
        framing: Framing,
        offline_mode: OfflineMode,
        address: str,
    ) -> None:
        self._base64 = framing is WEBSOCKET_BASE64
        limit = gateway.limits.frame_bytes
        # The limit is on commands: Base64 makes four bytes of three.
        self._frames = WebSocketFrames((limit + 2) // 3 * 4 if self._base64 else limit)
        self._gateway = gateway
        self._transport = transport
        self._connection = gateway.connect(transport, framing, offline_mode, door="websocket", address=address)
        transport.set_protocol(self)
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
                event = frames.next_event()
                if event is None:
                    return
                opcode, payload = event
                if opcode == BINARY:
                    connection.received(payload)
                else:
                    self._take(opcode, payload)
        except FrameError as error:
            if error.close_code == TOO_BIG:
                self._gateway.counters.bit("frame")
                connection.close(FrameTooLong())
            else:
                self._close(error.close_code, str(error))

    def _take(self, opcode: int, payload: bytes) -> None:
        """Deal with everything but the common case."""
        connection = self._connection
        if opcode == TEXT and self._base64:
            try:
                connection.received(binascii.a2b_base64(payload, strict_mode=True))
            except binascii.Error:
                connection.close(WireError("not Base64"))
        elif opcode == TEXT:
            self._close(UNSUPPORTED_DATA, "commands are binary messages in this subprotocol")
        elif opcode == PING:
            if not self._frames.pending_bytes:  # a message that is never finished is kept alive by nothing else
                connection.heard()
            connection.write(encode_websocket(PONG, payload))
        elif opcode == PONG:
            connection.heard()
        elif opcode == CLOSE:
            # Its code goes back; then the closing handshake is complete, and there is nothing to wait for.
            connection.part(encode_websocket(CLOSE, payload[:2]))
            self._transport.close()

    def _close(self, code: int, reason: str) -> None:
        self._connection.part(encode_websocket(CLOSE, code.to_bytes(2) + reason.encode()))
