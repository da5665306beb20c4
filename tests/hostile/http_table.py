"""The hostile requests at the HTTP port: calls without the right, handshakes and frames that cannot be.

Source of the answers: REST reference, authentication and format; RFC 6455; wire protocol, WebSocket handshake.
"""

import base64
import hashlib
from collections.abc import Callable
from typing import NamedTuple

from tests.hostile.stage import Stage
from tests.neighbours import NEIGHBOUR, NEIGHBOUR_KEY, NEIGHBOUR_MASTER_KEY

CUT = 0
"""The status of an end without a word."""


class Call(NamedTuple):
    """A request to kick tom.

    Attributes:
        head: Header fields for the stage.
        status: What it is answered; ``CUT``: nothing.
        code: What the answer's body says.
        target: ``{tom}`` is filled in.
        body: Sent with its right length unless ``head`` says another.
    """

    name: str
    head: Callable[[Stage], list[str]]
    status: int = 401
    code: int = 401
    target: str = "/1.2/rtm/clients/{tom}/kick"
    body: bytes = b""
    method: str = "POST"


def sign(key: str, timestamp: str = "1453014943466") -> str:
    return f"{hashlib.md5((timestamp + key).encode()).hexdigest()},{timestamp}"


def identity(stage: Stage) -> str:
    return f"X-LC-Id: {stage.server.app_id}"


def key(name: str, value: Callable[[Stage], str], field: str = "X-LC-Key") -> Call:
    return Call(f"kick with {name}", lambda stage: [identity(stage), f"{field}: {value(stage)}"])


def mastered(*more: str) -> Callable[[Stage], list[str]]:
    """The header of one who may, and ``more``."""
    return lambda stage: [identity(stage), f"X-LC-Key: {stage.server.master_key},master", *more]


def malformed(name: str, body: bytes, status: int = 400, code: int = 400) -> Call:
    return Call(f"kick, saying {name}", mastered(), status, code, body=body)


def elsewhere(name: str, target: str, status: int, code: int) -> Call:
    return Call(f"kick {name}", mastered(), status, code, target)


CALLS = [
    Call("kick as nobody", lambda stage: []),
    Call("kick with an application's id alone", lambda stage: [identity(stage)]),
    Call("kick with a key alone", lambda stage: [f"X-LC-Key: {stage.server.master_key},master"]),
    Call(
        "kick in the name of another application",
        lambda stage: [f"X-LC-Id: {NEIGHBOUR}", f"X-LC-Key: {stage.server.master_key},master"],
    ),
    Call(
        "kick with two applications",
        lambda stage: [f"X-LC-Id: {NEIGHBOUR}", identity(stage), f"X-LC-Key: {NEIGHBOUR_MASTER_KEY},master"],
    ),
    key("nothing for a key", lambda stage: ""),
    key("the app key", lambda stage: stage.server.app_key),
    key("the app key as a master key", lambda stage: f"{stage.server.app_key},master"),
    key("the master key as an app key", lambda stage: stage.server.master_key),
    key("another application's app key", lambda stage: NEIGHBOUR_KEY),
    key("another application's master key", lambda stage: f"{NEIGHBOUR_MASTER_KEY},master"),
    key("the master key in capitals", lambda stage: f"{stage.server.master_key.upper()},master"),
    key("the master key cut short", lambda stage: f"{stage.server.master_key[:-1]},master"),
    key("nothing for a master key", lambda stage: ",master"),
    key("the master key and another role", lambda stage: f"{stage.server.master_key},hook"),
    key("the master key and two roles", lambda stage: f"{stage.server.master_key},master,master"),
    key("a key of 10,000 characters", lambda stage: "x" * 10_000),
    key("a key that is not ASCII", lambda stage: "\xff\xfe,master"),
    key("the app key under an old name", lambda stage: stage.server.app_key, "X-AVOSCloud-Master-Key"),
    key("the app key's sign", lambda stage: sign(stage.server.app_key), "X-LC-Sign"),
    key("the app key's sign as the master key's", lambda stage: f"{sign(stage.server.app_key)},master", "X-LC-Sign"),
    key("the master key's sign as the app key's", lambda stage: sign(stage.server.master_key), "X-LC-Sign"),
    key("a sign for another time", lambda stage: f"{sign(stage.server.master_key)}1,master", "X-LC-Sign"),
    key("a sign without a time", lambda stage: f"{sign(stage.server.master_key, '')},master", "X-LC-Sign"),
    key("a sign of another application", lambda stage: f"{sign(NEIGHBOUR_MASTER_KEY)},master", "X-LC-Sign"),
    key("a sign that is made up", lambda stage: f"{'0' * 32},1453014943466,master", "X-LC-Sign"),
    Call(
        "kick with a right key and a wrong sign",
        lambda stage: mastered(f"X-LC-Sign: {sign('wrong')},master")(stage),
    ),
    Call("kick with a right key and a wrong key", lambda stage: mastered("X-LC-Key: wrong,master")(stage)),
    Call(
        "kick with a session token of tom's",
        lambda stage: [identity(stage), f"X-LC-IM-Session-Token: {stage.toms}"],
    ),
    malformed("a list", b"[]"),
    malformed("nothing whole", b'{"reason": "'),
    malformed("what is not UTF-8", b'{"reason": "\xff"}'),
    malformed("half of a character", b'{"reason": "\\ud800"}'),
    malformed("a number for a reason", b'{"reason": 7}'),
    malformed("21 characters", b'{"reason": "' + b"x" * 21 + b'"}'),
    malformed("lists without end", b'{"x": ' + b"[" * 100_000),
    malformed("two million characters", b'{"reason": "' + b"x" * 2_000_000 + b'"}', 413, 413),
    elsewhere("nobody", "/1.2/rtm/clients//kick", 404, 404),
    elsewhere("two lines", "/1.2/rtm/clients/a%0Ab/kick", 400, 4103),
    elsewhere("a NUL", "/1.2/rtm/clients/%00/kick", 400, 4103),
    elsewhere("what is not UTF-8", "/1.2/rtm/clients/%FF%FE%00/kick", 400, 4103),
    elsewhere("one of 65 characters", f"/1.2/rtm/clients/{'x' * 65}/kick", 400, 4103),
    elsewhere("by a longer way", "/1.2/rtm/clients/x/../../../../{tom}/kick", 404, 404),
    Call("kick by looking", mastered(), 405, 405, method="GET"),
    Call("kick by another method", mastered(), 405, 405, method="DELETE"),
    Call("kick with a length that is no number", mastered("Content-Length: x"), 400, 400),
    Call("kick with a length below nothing", mastered("Content-Length: -1"), 400, 400),
    Call("kick with two lengths", mastered("Content-Length: 0", "Content-Length: 5"), 400, 400),
    Call("kick with a length and in chunks", mastered("Content-Length: 5", "Transfer-Encoding: chunked"), 400, 400),
    Call("kick in chunks that are none", mastered("Transfer-Encoding: chunked"), 400, 400, body=b"zz\r\n\r\n"),
    Call("kick with a head without end", mastered("X: " + "x" * 20_000), 431, 431),
    Call("kick with a NUL in the head", mastered("X: a\0b"), 400, 400),
    Call("kick by a method that is none", mastered(), CUT, method="p\xf6st"),
]


KEY = base64.b64encode(bytes(16)).decode()
UPGRADE = {
    "Host": "a",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "lc.protobuf2.3",
}


class Shake(NamedTuple):
    """A handshake that cannot be: what is different in its head, and the status that it is answered with."""

    name: str
    changed: dict[str, str]
    status: int = 400
    first: str = "GET / HTTP/1.1"
    more: str = ""


SHAKES = [
    Shake("no key", {"Sec-WebSocket-Key": ""}),
    Shake("a key that is too short", {"Sec-WebSocket-Key": base64.b64encode(bytes(15)).decode()}),
    Shake("a key that is no Base64", {"Sec-WebSocket-Key": "!" * 24}),
    Shake("two keys", {}, more=f"Sec-WebSocket-Key: {KEY}\r\n"),
    Shake("another version", {"Sec-WebSocket-Version": "8"}, 426),
    Shake("no version", {"Sec-WebSocket-Version": ""}, 426),
    Shake("no upgrade of the connection", {"Connection": "keep-alive"}),
    Shake("a subprotocol that is not there", {"Sec-WebSocket-Protocol": "graphql-ws"}),
    Shake("no host", {"Host": ""}),
    Shake("two hosts", {}, more="Host: b\r\n"),
    Shake("a body", {}, more="Content-Length: 5\r\n"),
    Shake("a body in chunks", {}, more="Transfer-Encoding: chunked\r\n"),
    Shake("another method", {}, first="POST / HTTP/1.1"),
    Shake("an older HTTP", {}, first="GET / HTTP/1.0"),
    Shake("a space in a field's name", {}, more="X Y: z\r\n"),
    Shake("a field on two lines", {}, more="X: a\r\n b\r\n"),
    Shake("a NUL in a field", {}, more="X: a\0b\r\n"),
    Shake("a head without end", {}, 431, more="X: " + "x" * 20_000 + "\r\n"),
]


class Frame(NamedTuple):
    """What is sent on a WebSocket, and the code that it closes with."""

    name: str
    data: bytes
    code: int
    subprotocol: str = "lc.protobuf2.3"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, masked: bool = True) -> bytes:
    """A frame with a mask of zeros, and the right length."""
    size = len(payload)
    first = bytes(((0x80 if fin else 0) | reserved | opcode,))
    mask = 0x80 if masked else 0
    if size < 126:
        second = bytes((mask | size,))
    elif size < 65_536:
        second = bytes((mask | 126,)) + size.to_bytes(2)
    else:
        second = bytes((mask | 127,)) + size.to_bytes(8)
    return first + second + (bytes(4) if masked else b"") + payload


BASE64 = "lc.proto2base64.3"
BINARY, TEXT, CLOSE, PING = 2, 1, 8, 9

FRAMES = [
    Frame("a frame without a mask", frame(BINARY, b"x", masked=False), 1002),
    Frame("a reserved bit", frame(BINARY, b"x", reserved=0x40), 1002),
    Frame("all reserved bits", frame(BINARY, b"x", reserved=0x70), 1002),
    Frame("an opcode for later", frame(3, b"x"), 1002),
    Frame("a control opcode for later", frame(11, b"x"), 1002),
    Frame("a ping in pieces", frame(PING, b"x", fin=False), 1002),
    Frame("a ping of 126 bytes", frame(PING, bytes(126)), 1002),
    Frame("going on with nothing", frame(0, b"x"), 1002),
    Frame("a message within a message", frame(BINARY, b"x", fin=False) + frame(BINARY, b"y"), 1002),
    Frame("a length with its highest bit set", b"\x82\xff" + b"\xff" * 8 + bytes(4), 1002),
    Frame("a length of 2 GB", b"\x82\xff" + (2**31).to_bytes(8) + bytes(4), 4109),
    Frame("a length of 8 EB", b"\x82\xff" + (2**63 - 1).to_bytes(8) + bytes(4), 4109),
    Frame("a message of one byte too many", frame(BINARY, bytes(65_537)), 4109),
    Frame("a message that grows too long", frame(BINARY, bytes(40_000), fin=False) + frame(0, bytes(40_000)), 4109),
    Frame("text where there is none", frame(TEXT, b"hello"), 1003),
    Frame("a close of one byte", frame(CLOSE, b"\x03"), 1002),
    Frame("a close with a code that is none", frame(CLOSE, (999).to_bytes(2)), 1002),
    Frame("a close that says what is not UTF-8", frame(CLOSE, (1000).to_bytes(2) + b"\xff"), 1007),
    Frame("what is no command", frame(BINARY, b"\xff" * 16), 4114),
    Frame("what is no Base64", frame(TEXT, b"!!!!"), 4114, BASE64),
    Frame("Base64 with a space in it", frame(TEXT, b"CA ="), 4114, BASE64),
    Frame("text that is not UTF-8", frame(TEXT, b"\xff\xff\xff\xff"), 1007, BASE64),
    Frame("Base64 of what is no command", frame(TEXT, base64.b64encode(b"\xff" * 16)), 4114, BASE64),
    Frame("Base64 of too much", frame(TEXT, base64.b64encode(bytes(65_540))), 4109, BASE64),
]
