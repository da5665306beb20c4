"""The WebSocket handshake: whether a request asks for one, and what it is answered.

Any path will do, extensions are declined, and of the subprotocols that a client offers it gets the first that we know.
One that offers none is served as ``lc.protobuf2.3``: no SDK does that, but people who try the port out do.
Source: RFC 6455, section 4.2; wire protocol, WebSocket handshake and framing.
"""

import binascii
import hashlib
import re
from collections.abc import Iterable

from msgspec import Struct

from fastim.core.session import OfflineMode
from fastim.wire.framing import SUBPROTOCOLS, Framing

WITHOUT_OFFER = "lc.protobuf2.3"
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(%s) [\x21-\x7e]+ (HTTP/1\.[01])" % _TOKEN)
_FIELD = re.compile(rb"(%s):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*" % _TOKEN)


class Request(Struct, frozen=True):
    """What matters of a request's head.

    Attributes:
        fields: The header, names in lower case, each with its values in their order.
    """

    method: str
    version: str
    fields: dict[str, list[str]]

    def tokens(self, name: str) -> list[str]:
        """The members of a comma-separated list, which may be spread over several fields."""
        members = (member.strip() for value in self.fields.get(name, ()) for member in value.split(","))
        return [member for member in members if member]

    @property
    def wants_websocket(self) -> bool:
        """Whether it asks for a WebSocket, rightly or wrongly."""
        return "websocket" in (token.lower() for token in self.tokens("upgrade"))


class Handshake(Struct, frozen=True):
    """A handshake that succeeds.

    Attributes:
        answer: The head of the response.
    """

    framing: Framing
    offline_mode: OfflineMode
    answer: bytes


class HandshakeError(Exception):
    """The request is malformed or asks for what there is not.

    Attributes:
        status: Of the response.
        fields: Of the response's header.
    """

    def __init__(self, status: int, text: str, fields: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.fields = fields or {}


def gather(fields: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """``fields`` by name."""
    gathered: dict[str, list[str]] = {}
    for name, value in fields:
        gathered.setdefault(name.lower(), []).append(value)
    return gathered


def parse(head: bytes) -> Request:
    """The request whose head, with the empty line that ends it, is ``head``.

    Raises:
        HandshakeError: It is not HTTP/1.
    """
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    request_line = _REQUEST_LINE.fullmatch(first)
    if request_line is None:
        raise HandshakeError(400, "the request line is malformed")
    fields = []
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise HandshakeError(400, "a header field is malformed")
        fields.append((field[1].decode("latin-1"), field[2].decode("latin-1")))
    return Request(request_line[1].decode(), request_line[2].decode(), gather(fields))


def shake(request: Request) -> Handshake:
    """The answer to ``request``, which wants a WebSocket.

    Raises:
        HandshakeError: It cannot have one like this.
    """
    if request.method != "GET" or request.version != "HTTP/1.1":
        raise HandshakeError(400, "a WebSocket handshake is a GET request of HTTP/1.1")
    if len(request.fields.get("host", ())) != 1 or not request.fields["host"][0]:
        raise HandshakeError(400, "a request has one Host")
    if "upgrade" not in (token.lower() for token in request.tokens("connection")):
        raise HandshakeError(400, "a WebSocket handshake has Connection: Upgrade; a proxy may have taken it away")
    if "transfer-encoding" in request.fields or any(size != "0" for size in request.fields.get("content-length", ())):
        raise HandshakeError(400, "a WebSocket handshake has no body")
    if request.fields.get("sec-websocket-version") != ["13"]:
        raise HandshakeError(426, "WebSocket version 13 is spoken here", {"Sec-WebSocket-Version": "13"})
    accepted = _accept(request.fields.get("sec-websocket-key", []))
    offered = request.tokens("sec-websocket-protocol")
    chosen = next((name for name in offered if name in SUBPROTOCOLS), None)
    if offered and chosen is None:
        raise HandshakeError(400, f"none of the offered subprotocols is known; these are: {', '.join(SUBPROTOCOLS)}")
    framing, offline_mode = SUBPROTOCOLS[chosen or WITHOUT_OFFER]
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accepted}",
        *([f"Sec-WebSocket-Protocol: {chosen}"] if chosen else []),
        "\r\n",
    ]
    return Handshake(framing, offline_mode, "\r\n".join(lines).encode())


def _accept(keys: list[str]) -> str:
    try:
        (key,) = keys
        if len(binascii.a2b_base64(key, strict_mode=True)) != 16:
            raise ValueError
    except ValueError:
        raise HandshakeError(400, "Sec-WebSocket-Key has to be 16 bytes in Base64") from None
    return binascii.b2a_base64(hashlib.sha1(key.encode() + _MAGIC).digest(), newline=False).decode()
