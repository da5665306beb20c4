"""What ``fastim._frames`` must do, in plain Python from RFC 6455: all looked at anew each time."""

from __future__ import annotations

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
PROTOCOL_ERROR, INVALID_TEXT, TOO_BIG = 1002, 1007, 1009


class OracleError(Exception):
    def __init__(self, close_code: int) -> None:
        super().__init__(close_code)
        self.close_code = close_code


class TcpOracle:
    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.received = b""
        self.failed = False

    @property
    def pending_bytes(self) -> int:
        return len(self.received)

    def push(self, data: bytes) -> None:
        if not self.failed:
            self.received += data

    def next_frame(self) -> bytes | None:
        length = int.from_bytes(self.received[:4], "big")
        if self.failed or (len(self.received) >= 4 and length > self.limit_bytes):
            self.failed, self.received = True, b""
            raise OracleError(TOO_BIG)
        if len(self.received) < 4 + length or len(self.received) < 4:
            return None
        frame, self.received = self.received[4 : 4 + length], self.received[4 + length :]
        return frame


class WebSocketOracle:
    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.received = b""
        self.message_opcode: int | None = None
        self.fragments = b""
        self.closed = False
        self.close_code: int | None = None

    def push(self, data: bytes) -> None:
        self.received += data

    def next_event(self) -> tuple[int, bytes] | None:
        if self.close_code is not None:
            raise OracleError(self.close_code)
        if self.closed:
            return None
        try:
            return self._next_event()
        except OracleError as error:
            self.close_code = error.close_code
            raise

    def _next_event(self) -> tuple[int, bytes] | None:
        while (header := self._header()) is not None:
            final, opcode, length, key, start = header
            masked = self.received[start : start + length]
            payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(masked))
            whole = len(payload) == length
            if opcode >= CLOSE:
                if not whole:
                    return None
                if opcode == CLOSE:
                    self._check_close(payload)
                    self.closed = True
                self.received = self.received[start + length :]
                return opcode, payload

            message_opcode = opcode or self.message_opcode
            assert message_opcode is not None
            if message_opcode == TEXT:
                self._check_text(self.fragments + payload, final and whole)
            if not whole:
                return None
            self.received = self.received[start + length :]
            self.fragments += payload
            self.message_opcode = message_opcode
            if final:
                message, self.fragments, self.message_opcode = self.fragments, b"", None
                return message_opcode, message
        return None

    def _header(self) -> tuple[bool, int, int, bytes, int] | None:
        """Final, opcode, length, masking key, and where the payload starts. Section 5.2; None while incomplete."""
        received = self.received
        if len(received) < 2:
            return None
        final, reserved, opcode = received[0] >= 128, received[0] & 0b0111_0000, received[0] % 16
        masked, length = received[1] >= 128, received[1] % 128
        if reserved or opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG) or not masked:
            raise OracleError(PROTOCOL_ERROR)
        if opcode >= CLOSE and (not final or length > 125):
            raise OracleError(PROTOCOL_ERROR)
        if opcode == CONTINUATION and self.message_opcode is None:
            raise OracleError(PROTOCOL_ERROR)
        if opcode in (TEXT, BINARY) and self.message_opcode is not None:
            raise OracleError(PROTOCOL_ERROR)

        width, smallest = {126: (2, 126), 127: (8, 65_536)}.get(length, (0, 0))
        if len(received) < 2 + width:
            return None
        if width:
            length = int.from_bytes(received[2 : 2 + width], "big")
        if length < smallest or length >= 2**63:
            raise OracleError(PROTOCOL_ERROR)
        if opcode < CLOSE and len(self.fragments) + length > self.limit_bytes:
            raise OracleError(TOO_BIG)

        start = 2 + width + 4
        if len(received) < start:
            return None
        return final, opcode, length, received[start - 4 : start], start

    def _check_close(self, payload: bytes) -> None:
        """Sections 5.5.1 and 7.4; 1012 to 1014 are of the IANA registry."""
        if not payload:
            return
        code = int.from_bytes(payload[:2], "big")
        defined = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}
        if len(payload) == 1 or not (code in defined or 3000 <= code < 5000):
            raise OracleError(PROTOCOL_ERROR)
        self._check_text(payload[2:], True)

    def _check_text(self, text: bytes, complete: bool) -> None:
        """Section 8.1. What is not complete must be the beginning of something that is UTF-8."""
        if not is_utf8(text) and (complete or not any(is_utf8(text + ending) for ending in ENDINGS)):
            raise OracleError(INVALID_TEXT)


# What may follow a character that was cut: its second byte has bounds of its own after E0, ED, F0 and F4 (RFC 3629).
ENDINGS = [bytes([byte]) + b"\x80" * more for byte in (0x80, 0x90, 0xA0) for more in range(3)]


def is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
