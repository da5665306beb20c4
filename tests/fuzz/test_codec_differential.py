"""The same bytes to ``fastim._wire`` and to protobuf: the same commands; the same values to both: the same bytes."""

from collections import Counter
from collections.abc import Callable
from random import Random

from google.protobuf.message import Message as Protobuf

from fastim._wire import Decoder
from fastim.core import commands
from fastim.core.conversation import Kind as ConversationKind
from fastim.core.errors import WireError
from fastim.core.events import MessagePosted, MessagesQueued, MessagesReceipted
from fastim.core.message import Message
from fastim.core.replies import Acked, Echoed
from fastim.core.units import Millis
from fastim.wire import messages2_pb2 as pb
from fastim.wire.codec import Request, decode, encode_delivery, encode_queued, encode_receipts, encode_reply
from fastim.wire.codec.requests import decode_any
from tests.fuzz import effort
from tests.fuzz.bodies import INT32, INT64, KINDS, Kind, Names, broken, fill, sound, text
from tests.fuzz.bodies import number as any_number
from tests.fuzz.streams import NOT_UTF8
from tests.native import oracle_wire as oracle
from tests.native.oracle_wire import fields_of, number, number_field, piece_field

NAMES = Names(["app"], ["tom", "\u6c64\u59c6"], ["64a0b1c2d3e4f5a6b7c8d9e0", "_tmp:1"], ["msg-1"], ["token"])
FREQUENT = [kind for kind in KINDS if kind.cmd in (pb.direct, pb.ack, pb.echo)]
NATIVE = Decoder(Request, commands.Send, commands.Acknowledge, commands.Echo())
PARTS = {104: pb.DirectCommand, 105: pb.AckCommand}


def test_whatever_is_read_is_what_protobuf_reads() -> None:
    seen: Counter[str] = Counter()
    for place in effort.numbers(4):
        dice = effort.dice("codec", place)
        generic = plain(dice, dice.choice(FREQUENT)) if dice.random() < 0.8 else sound(dice, NAMES, place % 2**31)
        body = generic.SerializeToString()
        for written in (body, rearranged(dice, body), twisted(dice, body), broken(dice, body)):
            seen[compare(written, place)] += 1
    if effort.ONLY is None:
        assert seen["read"] > 0.3 * seen.total()
        assert seen["left"] > 0.05 * seen.total()
        assert seen["wrong"] > 0.02 * seen.total()


def test_whatever_is_written_is_what_protobuf_writes() -> None:
    for place in effort.numbers(4):
        dice = effort.dice("encoding", place)
        again = effort.rerun(place)
        message = any_message(dice)
        conversation_id, kind, at = text(dice), dice.choice(list(ConversationKind)), moment(dice)
        transient, more, read = (dice.random() < 0.5 for _ in range(3))
        posted = MessagePosted(conversation_id, kind, message, (), 1, transient=transient)
        assert encode_delivery(posted) == delivery(conversation_id, kind, message, transient=transient), again
        queued = MessagesQueued("tom", 1, conversation_id, kind, (message, message), more)
        assert encode_queued(queued) == [
            delivery(conversation_id, kind, message, offline=True),
            delivery(conversation_id, kind, message, offline=True, more=more),
        ], again
        receipts = MessagesReceipted(conversation_id, "tom", (message.id,), text(dice), at, moment(dice), read)
        assert encode_receipts(receipts) == [
            oracle.encode_receipt(conversation_id, message.id, receipts.by, receipts.upto, read, at)
        ], again
        serial = dice.choice((None, any_number(dice, INT32)))
        client_id = dice.choice((None, "", "tom", text(dice)))
        acked = encode_reply(Acked(message.id, at), serial, client_id)
        assert acked == oracle.encode_ack(message.id, at, serial, client_id), again
        assert encode_reply(Echoed(), serial, client_id) == oracle.encode_echo(serial, client_id), again


def compare(body: bytes, place: int) -> str:
    """Whether ``body`` was read, left to protobuf, or is wrong; all of which have to agree with protobuf."""
    try:
        expected = decode_any(body)
    except WireError:
        expected = None
    found = NATIVE.decode(body)
    if found is not None:
        assert found == expected, effort.rerun(place)
        assert repr(found) == repr(expected), effort.rerun(place)
    if expected is None:
        return "wrong"
    assert decode(body) == expected, effort.rerun(place)
    return "left" if found is None else "read"


def plain(dice: Random, kind: Kind) -> pb.GenericCommand:
    """A command that is sent often, with any of the fields that belong to it."""
    generic = pb.GenericCommand(cmd=kind.cmd)
    if kind.cmd == pb.direct:
        fill(dice, NAMES, generic.directMessage, kind.needs, chance=dice.choice((0.0, 0.1, 0.5, 1.0)))
        generic.directMessage.SetInParent()
    elif kind.cmd == pb.ack:
        for field in dice.sample(("cid", "mid"), k=dice.randint(0, 2)):
            setattr(generic.ackMessage, field, text(dice))
        for field in dice.sample(("fromts", "tots"), k=dice.randint(0, 2)):
            setattr(generic.ackMessage, field, any_number(dice, INT64))
        generic.ackMessage.SetInParent()
    envelope: Protobuf = generic
    for field in dice.sample(("i", "priority", "service", "notificationType"), k=dice.randint(0, 4)):
        setattr(envelope, field, any_number(dice, INT32))
    for field in dice.sample(("appId", "peerId", "installationId"), k=dice.randint(0, 3)):
        setattr(envelope, field, text(dice))
    return generic


def rearranged(dice: Random, body: bytes) -> bytes:
    """The same fields in another order, those of its part as well."""
    written = []
    for field, encoded in fields_of(body):
        if field in PARTS:
            parts = [part for _, part in fields_of(content(encoded))]
            dice.shuffle(parts)
            written.append(piece_field(field, b"".join(parts)))
        else:
            written.append(encoded)
    dice.shuffle(written)
    return b"".join(written)


def twisted(dice: Random, body: bytes) -> bytes:
    """``body`` with one field of the envelope or of its part twice, gone, or another; every length is right again."""
    fields = list(fields_of(body))
    parts = [at for at, (field, _) in enumerate(fields) if field in PARTS]
    if parts and dice.random() < 0.7:
        field, encoded = fields[parts[0]]
        inner = [part for _, part in fields_of(content(encoded))]
        dice.choice(TWISTS)(dice, inner)
        longer = dice.choice((0, 0, 0, 0, 1))
        joined = b"".join(inner)
        fields[parts[0]] = field, number(field << 3 | 2) + number(len(joined), longer=longer) + joined
        return b"".join(encoded for _, encoded in fields)
    outer = [encoded for _, encoded in fields]
    dice.choice(TWISTS)(dice, outer)
    return b"".join(outer)


def content(encoded: bytes) -> bytes:
    """What a field with a tag of two bytes contains."""
    return next(encoded[at:] for at in range(3, len(encoded) + 1) if encoded[at - 1] < 128)


def repeat(dice: Random, fields: list[bytes]) -> None:
    if fields:
        fields.insert(dice.randint(0, len(fields)), dice.choice(fields))


def drop(dice: Random, fields: list[bytes]) -> None:
    if fields:
        del fields[dice.randrange(len(fields))]


def add_number(dice: Random, fields: list[bytes]) -> None:
    """A number of any size in any field, in its shortest form or not, or of more than 64 bits."""
    value = dice.choice((0, 1, 2, 127, 128, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 2**31, 2**64 - 1))
    field = number(dice.randint(0, 24) << 3, longer=dice.choice((0, 0, 0, 1)))
    written = dice.choice(
        (number(value, longer=dice.choice((0, 0, 0, 1))), b"\xff" * 9 + bytes((dice.randrange(256),)))
    )
    fields.insert(dice.randint(0, len(fields)), field + written)


def add_piece(dice: Random, fields: list[bytes]) -> None:
    piece = dice.choice((b"", b"piece", text(dice).encode(), dice.choice(NOT_UTF8)))
    fields.insert(dice.randint(0, len(fields)), piece_field(dice.randint(0, 24), piece))


def add_part(dice: Random, fields: list[bytes]) -> None:
    inner = number_field(dice.randint(1, 22), 1) + piece_field(dice.randint(1, 22), b"x")
    fields.insert(dice.randint(0, len(fields)), piece_field(dice.randint(99, 119), dice.choice((b"", inner))))


def add_odd_one(dice: Random, fields: list[bytes]) -> None:
    """A field of fixed size, or a group, or half of one."""
    field = dice.choice((dice.randint(1, 22), 104, 500)) << 3
    group = number(field | 3) + number_field(1, 1) + number(field | 4)
    odd = dice.choice((number(field | 1) + bytes(8), number(field | 5) + bytes(4), group, group[:-1], group[-2:]))
    fields.insert(dice.randint(0, len(fields)), odd)


def longer_number(dice: Random, fields: list[bytes]) -> None:
    """The last number of a field in more bytes than it takes, or in more than there may be."""
    places = [at for at, field in enumerate(fields) if field[0] & 7 == 0]
    if places:
        at = dice.choice(places)
        padding = b"\x80" * dice.randint(0, 9) + b"\0"
        fields[at] = fields[at][:-1] + bytes((fields[at][-1] | 128,)) + padding


Twist = Callable[[Random, list[bytes]], None]
TWISTS: list[Twist] = [repeat, drop, add_number, add_number, add_piece, add_piece, add_part, add_odd_one, longer_number]


def any_message(dice: Random) -> Message:
    return Message(
        id=text(dice),
        timestamp=moment(dice),
        sequence=1,
        sender=text(dice),
        body=dice.choice((text(dice).encode(), dice.choice(NOT_UTF8))),
        binary=dice.random() < 0.3,
        mention_all=dice.random() < 0.3,
        mentions=tuple(text(dice) for _ in range(dice.choice((0, 0, 1, 3)))),
        patched_at=moment(dice) if dice.random() < 0.3 else Millis(0),
    )


def moment(dice: Random) -> Millis:
    return Millis(dice.choice((1_763_800_000_000 + dice.randrange(10**9), any_number(dice, INT64))))


def delivery(
    conversation_id: str,
    kind: ConversationKind,
    message: Message,
    *,
    transient: bool = False,
    offline: bool = False,
    more: bool = False,
) -> bytes:
    return oracle.encode_delivery(
        conversation_id,
        kind,
        message.id,
        message.sender,
        message.timestamp,
        message.body,
        message.binary,
        message.mentions,
        message.mention_all,
        message.patched_at,
        transient,
        offline,
        more,
    )
