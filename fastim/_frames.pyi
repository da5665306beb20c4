"""Framing of both doors: bytes as the network cut them in, whole frames out, and frames to send.

Mechanism only: what a frame means, and what a connection is told when its framing is broken, is decided by the doors. A
reader belongs to the thread of its connection. It judges a header before it takes memory for what the header announces,
takes memory as bytes come and not as they are promised, and holds no buffer once it was read to the end.
"""

from typing import Self, final

class FrameError(ValueError):
    """The bytes cannot be framed; the reader that raised this raises it again on every further read.

    Attributes:
        close_code: The WebSocket close code that says why: 1002 protocol error, 1007 not UTF-8, 1009 too big. Over TCP
            it is always 1009.
    """

    close_code: int
    def __init__(self, close_code: int, message: str) -> None: ...

@final
class TcpFrames:
    """The frames one TCP connection receives: a 4-byte big-endian length, then as many bytes.

    Args:
        limit_bytes: Longest body accepted.

    Raises:
        ValueError: ``limit_bytes`` is negative.
    """

    def __new__(cls, limit_bytes: int) -> Self: ...
    @property
    def pending_bytes(self) -> int:
        """Bytes received that no frame handed out has accounted for."""

    def push(self, data: bytes | bytearray | memoryview) -> None:
        """Hand over what one read of the socket gave.

        ``bytes`` are kept, not copied, until they are used up; anything that may change is copied. Push again only when
        the reader has nothing more to give: what is pushed earlier waits, and only the caller bounds it.

        Raises:
            TypeError: ``data`` is not bytes-like.
        """

    def next_frame(self) -> bytes | None:
        """Return the body of the next whole frame, without its length; None when more bytes are needed.

        Raises:
            FrameError: A frame claims more than ``limit_bytes``. Known from its four bytes of length alone.
        """

@final
class WebSocketFrames:
    """The messages and control frames one WebSocket connection receives, server side, without extensions (RFC 6455).

    Args:
        limit_bytes: Longest message accepted, the sum of its fragments.

    Raises:
        ValueError: ``limit_bytes`` is negative.
    """

    def __new__(cls, limit_bytes: int) -> Self: ...
    @property
    def pending_bytes(self) -> int:
        """Bytes held: not yet read, of a header being read, and payload that waits for the rest of its message."""

    def push(self, data: bytes | bytearray | memoryview) -> None:
        """Hand over what one read of the socket gave; see ``TcpFrames.push``.

        Raises:
            TypeError: ``data`` is not bytes-like.
        """

    def next_event(self) -> tuple[int, bytes] | None:
        """Return the next message or control frame as ``(opcode, payload)``; None when more bytes are needed.

        Messages (1 text, 2 binary) come whole, their fragments joined and a text proved to be UTF-8. Control frames
        (8 close, 9 ping, 10 pong) come as they stand, also between the fragments of a message. The payload of a close
        is empty, or two bytes of a code that may be sent and a UTF-8 reason. After a close nothing more is read.

        Raises:
            FrameError: The client broke the protocol, sent text that is not UTF-8 (as soon as the first wrong byte is
                there), or a message longer than ``limit_bytes`` (as soon as a header tells).
        """

def encode_tcp(body: bytes) -> bytes:
    """Return ``body`` as a TCP frame: its length in four bytes, then itself.

    Raises:
        ValueError: The length does not fit into four bytes.
    """

def encode_websocket(opcode: int, payload: bytes) -> bytes:
    """Return ``payload`` as one WebSocket frame from the server: final, not masked, its length in the shortest form.

    Args:
        opcode: 1 text, 2 binary, 8 close, 9 ping or 10 pong.
        payload: What the frame carries; it is not looked into, so text and close payloads are as good as the caller's.

    Raises:
        ValueError: Another opcode, or a control frame of more than 125 bytes.
    """
