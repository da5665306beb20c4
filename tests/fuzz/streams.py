"""What a WebSocket client may send and what it must not: frames that are right, and the same with something wrong."""

from collections.abc import Callable, Iterator
from random import Random

from msgspec import Struct
from msgspec.structs import replace

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
EDGES = "\0\x7f\x80\u07ff\u0800\ud7ff\ue000\ufeff\ufffd\uffff\U00010000\U0010ffff"
"""Characters at which UTF-8 changes its form, or that software trips over."""
NOT_UTF8 = [
    b"\x80",
    b"\xbf",
    b"\xff",
    b"\xc0\x80",
    b"\xc1\xbf",
    b"\xe0\x80\x80",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xf0\x80\x80\x80",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xe2\x82",
    b"\xf0\x9f\x98",
    b"\xc3(",
]
CLOSE_CODES = [0, 999, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1011, 1014, 1015, 1016, 2999, 3000, 4999, 5000]
LENGTHS = [0, 1, 2, 3, 7, 8, 9, 124, 125, 126, 127, 128, 300, 65_535, 65_536]


class Frame(Struct, frozen=True):
    """One frame, right or wrong.

    Attributes:
        length: What its header claims.
        form: Which of the three forms the length has, 7, 16 or 64 bits; the shortest that is enough if ``None``.
    """

    opcode: int
    payload: bytes
    key: bytes
    length: int
    final: bool = True
    masked: bool = True
    reserved: int = 0
    form: int | None = None

    def encode(self) -> bytes:
        form = self.form or (7 if self.length < 126 else 16 if self.length < 65_536 else 64)
        short = {7: self.length & 127, 16: 126, 64: 127}[form]
        head = bytes((self.final << 7 | self.reserved << 4 | self.opcode, self.masked << 7 | short))
        head += b"" if form == 7 else (self.length % 2**form).to_bytes(form // 8)
        if not self.masked:
            return head + self.payload
        repeated = (self.key * (len(self.payload) // 4 + 1))[: len(self.payload)]
        masked = int.from_bytes(self.payload) ^ int.from_bytes(repeated)
        return head + self.key + masked.to_bytes(len(self.payload))


def frame(dice: Random, opcode: int, payload: bytes, *, final: bool = True) -> Frame:
    """A frame that is right."""
    key = dice.choice((bytes(4), dice.randbytes(4)))
    return Frame(opcode, payload, key, len(payload), final)


def message(dice: Random, opcode: int, payload: bytes) -> Iterator[Frame]:
    """A message in as many frames as it pleases, with control frames between them."""
    cuts = sorted(dice.randrange(len(payload) + 1) for _ in range(dice.choice((0, 0, 0, 1, 2, 5))))
    for place, start in enumerate([0, *cuts]):
        if place and dice.random() < 0.3:
            yield control(dice)
        end = cuts[place] if place < len(cuts) else len(payload)
        yield frame(dice, CONTINUATION if place else opcode, payload[start:end], final=place == len(cuts))


def control(dice: Random) -> Frame:
    return frame(dice, dice.choice((PING, PONG)), dice.randbytes(dice.choice((0, 1, 4, 124, 125))))


def closing(dice: Random) -> Frame:
    """A close frame; not every code may be sent, and not every reason is UTF-8."""
    code = dice.choice(CLOSE_CODES).to_bytes(2)
    reason = dice.choice((b"", b"bye", "\u2603".encode(), text(dice, 60)[:60], dice.choice(NOT_UTF8)))
    return frame(dice, CLOSE, dice.choice((b"", code, code + reason, code + reason, b"\x03")))


def text(dice: Random, size: int) -> bytes:
    """UTF-8 of ``size`` bytes at least, or one character more."""
    alphabet = dice.choice((EDGES, EDGES + "plain text", "plain text"))
    encoded = b""
    while len(encoded) < size:
        encoded += "".join(dice.choices(alphabet, k=dice.randint(1, 40))).encode()
    return encoded


def frames(dice: Random, limit_bytes: int) -> list[Frame]:
    """A few messages and control frames, nearly all of them right."""
    made: list[Frame] = []
    lengths = [*LENGTHS, limit_bytes - 1, limit_bytes, limit_bytes + 1]
    for _ in range(dice.randint(1, 5)):
        choice = dice.random()
        if choice < 0.25:
            made.append(control(dice))
            continue
        size = min(dice.choice(lengths), limit_bytes + (dice.random() < 0.05))
        if choice < 0.6:
            made += message(dice, BINARY, dice.randbytes(max(size, 0)))
        else:
            # Cut to size: then its last character may be half.
            written = text(dice, size)
            made += message(dice, TEXT, written[:size] if dice.random() < 0.2 else written)
    if dice.random() < 0.25:
        made.append(closing(dice))
    return made


def stream(dice: Random, limit_bytes: int) -> bytes:
    """Frames, and in most cases something wrong with them."""
    made = frames(dice, limit_bytes)
    for _ in range(dice.choice((0, 1, 1, 1, 2))):
        place = dice.randrange(len(made) or 1)
        for one in made[place : place + 1]:
            made[place : place + 1] = dice.choice(FRAME_MUTATIONS)(dice, one)
    encoded = b"".join(one.encode() for one in made)
    if dice.random() < 0.25:
        encoded = garbled(dice, encoded)
    return encoded


FrameMutation = Callable[[Random, Frame], list[Frame]]

FRAME_MUTATIONS: list[FrameMutation] = [
    lambda dice, one: [replace(one, reserved=dice.randint(1, 7))],
    lambda dice, one: [replace(one, opcode=dice.randrange(16))],
    lambda dice, one: [replace(one, opcode=dice.choice((CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG)))],
    lambda dice, one: [replace(one, masked=False)],
    lambda dice, one: [replace(one, final=not one.final)],
    lambda dice, one: [replace(one, form=dice.choice((16, 64)))],
    lambda dice, one: [replace(one, length=max(0, one.length + dice.choice((-9, -1, 1, 9))))],
    lambda dice, one: [replace(one, form=64, length=dice.choice((2**63, 2**64 - 1, 2**63 - 1, 2**32, 2**31)))],
    lambda dice, one: [replace(one, opcode=TEXT)],
    lambda dice, one: [replaced(one, spliced(dice, one.payload, dice.choice(NOT_UTF8)))],
    lambda dice, one: [replaced(one, one.payload + dice.randbytes(126))],
    lambda dice, one: [one, one],
    lambda dice, one: [],
    lambda dice, one: [one, closing(dice)],
    lambda dice, one: [closing(dice), one],
    lambda dice, one: [control(dice), one, control(dice)],
    lambda dice, one: [replace(one, final=False), frame(dice, CONTINUATION, b""), one],
]


def replaced(one: Frame, payload: bytes) -> Frame:
    return replace(one, payload=payload, length=len(payload))


def spliced(dice: Random, data: bytes, piece: bytes) -> bytes:
    """``piece`` somewhere in ``data``, over what is there or between."""
    at = dice.randrange(len(data) + 1)
    return data[:at] + piece + data[at + dice.choice((0, len(piece))) :]


def garbled(dice: Random, data: bytes) -> bytes:
    """``data`` with some of its bytes changed, lost, doubled or made up."""
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(data) + 1)
        few = dice.choice((1, 1, 2, 4, 16))
        match dice.randrange(6):
            case 0 if at < len(data):
                data = data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]
            case 1:
                data = data[:at] + dice.choice((b"\0", b"\xff", b"\x7f", b"\x80", dice.randbytes(1))) + data[at + 1 :]
            case 2:
                data = data[:at] + data[at + few :]
            case 3:
                data = data[:at] + dice.randbytes(few) + data[at:]
            case 4:
                data = data[: at + few] + data[at:]
            case _ if dice.random() < 0.2:
                data = data[:at]
    return data


def cut(dice: Random, data: bytes) -> Iterator[bytes]:
    """``data`` as a network might cut it."""
    step = dice.choice((1, 3, 100, len(data) + 1)) if len(data) < 2_000 else dice.choice((1_000, len(data) + 1))
    at = 0
    while at < len(data):
        size = dice.randint(1, step)
        yield data[at : at + size]
        at += size
