"""Commands of every kind as bytes: with any field set to anything, and with bytes that no SDK would write.

The kinds are those that have a meaning, with the fields that they cannot do without; whatever else is set comes from
the schema, so a new field or message is made without a change here.
"""

from collections.abc import Callable, Iterable
from random import Random
from typing import Any, NamedTuple, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from msgspec import Struct

from fastim.wire import messages2_pb2 as pb
from tests.fuzz.streams import EDGES, NOT_UTF8, garbled

INT32, INT64 = 2**31, 2**63


class Names(Struct):
    """What commands may name; an attack adds what it learns.

    Attributes:
        applications: The first is the one to be in.
    """

    applications: list[str]
    clients: list[str]
    conversations: list[str]
    messages: list[str]
    tokens: list[str]

    def copy(self) -> "Names":
        """The same names, to be changed apart."""
        return Names(*(list(getattr(self, field)) for field in self.__struct_fields__))


class Kind(NamedTuple):
    """A command and operation, its field in the envelope, and what of that has to be there for it to mean something."""

    cmd: pb.CommandType
    op: pb.OpType | None
    field: str
    needs: tuple[str, ...] = ()


KINDS = [
    Kind(pb.session, pb.open, "sessionMessage", ("configBitmap",)),
    Kind(pb.session, pb.refresh, "sessionMessage", ("st",)),
    Kind(pb.session, pb.close, "sessionMessage"),
    Kind(pb.session, pb.query, "sessionMessage", ("sessionPeerIds",)),
    Kind(pb.session, pb.notifications, "nativeMessage", ("since",)),
    Kind(pb.conv, pb.start, "convMessage", ("m",)),
    Kind(pb.conv, pb.start, "convMessage", ("m", "unique", "attr")),
    Kind(pb.conv, pb.start, "convMessage", ("m", "tempConv")),
    Kind(pb.conv, pb.start, "convMessage", ("m", "tempConv", "tempConvTTL")),
    Kind(pb.conv, pb.start, "convMessage", ("transient",)),
    Kind(pb.conv, pb.add, "convMessage", ("cid", "m")),
    Kind(pb.conv, pb.remove, "convMessage", ("cid", "m")),
    Kind(pb.conv, pb.query, "convMessage", ("where", "flag")),
    Kind(pb.conv, pb.query, "convMessage", ("where", "sort", "limit", "skip")),
    Kind(pb.conv, pb.query, "convMessage", ("tempConvIds",)),
    Kind(pb.conv, pb.update, "convMessage", ("cid", "attr")),
    Kind(pb.conv, pb.mute, "convMessage", ("cid",)),
    Kind(pb.conv, pb.unmute, "convMessage", ("cid",)),
    Kind(pb.conv, pb.count, "convMessage", ("cid",)),
    Kind(pb.conv, pb.is_member, "convMessage", ("cids",)),
    Kind(pb.conv, pb.max_read, "convMessage", ("cid",)),
    Kind(pb.conv, pb.max_read, "convMessage", ("cid", "queryAllMembers")),
    Kind(pb.conv, pb.members, "convMessage", ("cid",)),
    Kind(pb.conv, pb.members, "convMessage", ("cid", "limit")),
    Kind(pb.conv, pb.member_infos, "convMessage", ("cid",)),
    Kind(pb.conv, pb.member_info_update, "convMessage", ("cid", "info", "targetClientId")),
    Kind(pb.conv, pb.add_shutup, "convMessage", ("cid", "m")),
    Kind(pb.conv, pb.remove_shutup, "convMessage", ("cid", "m")),
    Kind(pb.conv, pb.query_shutup, "convMessage", ("cid", "limit", "next")),
    Kind(pb.conv, pb.check_shutup, "convMessage", ("cid", "m")),
    Kind(pb.blacklist, pb.block, "blacklistMessage", ("srcCid", "toPids")),
    Kind(pb.blacklist, pb.unblock, "blacklistMessage", ("srcCid", "toPids")),
    Kind(pb.blacklist, pb.query, "blacklistMessage", ("srcCid", "limit", "next")),
    Kind(pb.blacklist, pb.check_block, "blacklistMessage", ("srcCid", "toPids")),
    Kind(pb.blacklist, pb.block, "blacklistMessage", ("srcPid", "toCids")),
    Kind(pb.blacklist, pb.unblock, "blacklistMessage", ("srcPid", "toCids")),
    Kind(pb.blacklist, pb.query, "blacklistMessage", ("srcPid", "limit", "next")),
    Kind(pb.blacklist, pb.check_block, "blacklistMessage", ("srcPid", "toCids")),
    Kind(pb.direct, None, "directMessage", ("cid", "msg")),
    Kind(pb.direct, None, "directMessage", ("cid", "msg", "dt", "r")),
    Kind(pb.direct, None, "directMessage", ("cid", "binaryMsg", "mentionPids")),
    Kind(pb.direct, None, "directMessage", ("cid", "msg", "transient")),
    Kind(pb.direct, None, "directMessage", ("cid", "msg", "will")),
    Kind(pb.ack, None, "ackMessage", ("cid", "mid")),
    Kind(pb.ack, None, "ackMessage", ("cid", "fromts", "tots")),
    Kind(pb.read, None, "readMessage", ("convs",)),
    Kind(pb.read, None, "readMessage", ("cid", "cids")),
    Kind(pb.logs, None, "logsMessage", ("cid", "l")),
    Kind(pb.logs, None, "logsMessage", ("cid", "t", "mid", "tt", "tmid", "direction")),
    Kind(pb.patch, pb.modify, "patchMessage", ("patches",)),
    Kind(pb.patch, pb.modified, "patchMessage", ("patches", "lastPatchTime")),
    Kind(pb.presence, pb.subscribe, "presenceMessage", ("sessionPeerIds",)),
    Kind(pb.presence, pb.unsubscribe, "presenceMessage", ("sessionPeerIds",)),
    Kind(pb.rcp, pb.query, "rcpMessage", ("cid", "id")),
    Kind(pb.echo, None, "dataMessage"),
    Kind(pb.login, None, "loginMessage"),
    Kind(pb.report, pb.upload, "reportMessage", ("data",)),
]

CMDS = cast(list[pb.CommandType], list(pb.CommandType.values()))
OPS = cast(list[pb.OpType], list(pb.OpType.values()))
PARTS = [field.name for field in pb.GenericCommand.DESCRIPTOR.fields if field.message_type is not None]


def sound(dice: Random, names: Names, serial: int | None, kind: Kind | None = None) -> pb.GenericCommand:
    """A command that decodes, of ``kind`` or any; its values may be anything."""
    kind = kind or dice.choice(KINDS)
    generic = pb.GenericCommand(cmd=kind.cmd, op=kind.op)
    part = getattr(generic, kind.field)
    part.SetInParent()
    if kind.needs or dice.random() < 0.5:
        fill(dice, names, part, kind.needs, chance=dice.choice((0.0, 0.0, 0.1, 0.5)))
    if dice.random() < 0.08:
        generic.cmd = dice.choice(CMDS)
    if dice.random() < 0.08:
        generic.op = dice.choice(OPS)
    if dice.random() < 0.05:
        fill(dice, names, getattr(generic, dice.choice(PARTS)), (), chance=0.3)
    if dice.random() < 0.05:
        generic.peerId = dice.choice((dice.choice(names.clients), "", text(dice)))
    if dice.random() < 0.05:
        generic.appId = dice.choice((*names.applications, text(dice)))
    if dice.random() < 0.2:
        generic.priority = dice.choice((1, 2, 3, number(dice, INT32)))
    if serial is not None:
        generic.i = serial
    return generic


def opening(dice: Random, names: Names, client_id: str, serial: int) -> pb.GenericCommand:
    """An opening that in most cases succeeds; for that others may have to give way."""
    session = pb.SessionCommand(ua="fuzz/1", configBitmap=dice.choice((0, 1, 59, 187, 255)))
    if dice.random() < 0.3:
        session.deviceId, session.tag, session.r = dice.choice("abc"), dice.choice(("", "web")), dice.random() < 0.3
    if dice.random() < 0.1:
        session.st = dice.choice(names.tokens)
    return pb.GenericCommand(
        cmd=pb.session, op=pb.open, appId=names.applications[0], peerId=client_id, i=serial, sessionMessage=session
    )


def broken(dice: Random, body: bytes) -> bytes:
    """``body`` with something done to its bytes; it may or may not decode."""
    for _ in range(dice.choice((1, 1, 2))):
        body = dice.choice(BODY_MUTATIONS)(dice, body)
    return body


def decodes(body: bytes) -> bool:
    try:
        pb.GenericCommand.FromString(body)
    except DecodeError:
        return False
    return True


def fill(dice: Random, names: Names, part: Message, needs: tuple[str, ...], chance: float, depth: int = 0) -> None:
    """Set the fields that are needed, required ones, and any other by ``chance``."""
    for field in cast(Iterable[FieldDescriptor], part.DESCRIPTOR.fields):
        if not (field.name in needs or field.is_required or dice.random() < chance):
            continue
        if field.is_repeated:
            repeated = getattr(part, field.name)
            for _ in range(dice.choice((0, 1, 1, 2, 3, 30))):
                if field.message_type is None:
                    repeated.append(value(dice, names, field))
                elif depth < 3:
                    fill(dice, names, repeated.add(), ("cid", "mid", "timestamp"), 0.3, depth + 1)
        elif field.message_type is None:
            setattr(part, field.name, value(dice, names, field))
        elif depth < 3:
            inner = getattr(part, field.name)
            inner.SetInParent()
            if field.message_type is pb.JsonObjectMessage.DESCRIPTOR:
                inner.data = json_text(dice, names, field.name)
            else:
                fill(dice, names, inner, (), 0.5, depth + 1)


def value(dice: Random, names: Names, field: FieldDescriptor) -> Any:
    """Something for ``field``, mostly of the sort that belongs there."""
    if field.enum_type is not None:
        return dice.choice(list(field.enum_type.values_by_number))
    match field.type:
        case FieldDescriptor.TYPE_BOOL:
            return dice.random() < 0.8
        case FieldDescriptor.TYPE_INT32:
            return dice.choice((dice.randrange(1, 20), number(dice, INT32)))
        case FieldDescriptor.TYPE_INT64:
            return dice.choice((1_763_800_000_000 + dice.randrange(10**9), dice.randrange(256), number(dice, INT64)))
        case FieldDescriptor.TYPE_BYTES:
            return dice.choice((text(dice).encode(), dice.choice(NOT_UTF8), typed_message(dice, names)))
        case _ if dice.random() < 0.85:
            return named(dice, names, field.name)
        case _:
            return text(dice)


def named(dice: Random, names: Names, name: str) -> str:
    """What stands in a field of that name."""
    match name:
        case "cid" | "cids" | "tempConvIds" | "srcCid" | "toCids" | "roomId":
            return dice.choice(names.conversations)
        case "m" | "mentionPids" | "sessionPeerIds" | "toPids" | "targetClientId" | "pid" | "fromPeerId" | "toPeerIds":
            return dice.choice(names.clients)
        case "srcPid" | "initBy" | "sender":
            return dice.choice(names.clients)
        case "role":
            return dice.choice(("Owner", "Manager", "Member", "manager", ""))
        case "next":
            return dice.choice(("0", "1", "10", "-1", "\u0661", dice.choice(names.tokens), dice.choice(names.clients)))
        case "mid" | "tmid" | "id" | "ids":
            return dice.choice(names.messages)
        case "st":
            return dice.choice(names.tokens)
        case "dt" | "tag" | "deviceId" | "deviceToken":
            return dice.choice(("", "one", "two", "default"))
        case "sort":
            return dice.choice(("", "-lm", "createdAt,-updatedAt", "attr.a", ",", "-", "a,b,c,d,e", "m.0"))
        case "pushData":
            return json_text(dice, names, "attr")
        case _:
            return text(dice)


def number(dice: Random, bound: int) -> int:
    """An integer of which ``bound`` is the first that is too large."""
    return dice.choice((0, 1, -1, 100, 1_000, 1_001, bound - 1, -bound, dice.randrange(-bound, bound)))


def text(dice: Random) -> str:
    """Text of any length up to a few kB."""
    match dice.randrange(8):
        case 0:
            return ""
        case 1:
            return dice.choice((".", "$", "_tmp:", "\0", " ", "\u202e", "../..", "'\"", "%s%n", "null", "64", "-0"))
        case 2:
            return dice.choice(("x", "\u597d")) * dice.choice((63, 64, 65, 255, 511, 512, 2_000, 6_000))
        case 3:
            return "".join(dice.choices(EDGES, k=dice.randint(1, 80)))
        case _:
            return "".join(dice.choices("abc012._-:$ {}", k=dice.randint(1, 24)))


def typed_message(dice: Random, names: Names) -> bytes:
    return b'{"_lctype":%d,"_lctext":"hello","_lcattrs":%s}' % (
        dice.randint(-7, 3),
        json_text(dice, names, "attr").encode(errors="replace"),
    )


def json_text(dice: Random, names: Names, name: str) -> str:
    """JSON for a condition or for attributes; in some cases not quite."""
    written = condition(dice, names, 0) if name == "where" else attributes(dice, names, 0)
    if dice.random() < 0.1:
        written = dice.choice(ODD_JSON)
    if dice.random() < 0.1:
        written = garbled(dice, written.encode()).decode(errors="ignore")
    return written


ODD_JSON = [
    "[" * 5_000,
    '{"a":' * 2_000 + "1" + "}" * 2_000,
    '{"a":' * 33 + "1" + "}" * 33,
    '{"$or":[' * 12 + "{}" + "]}" * 12,
    '{"a":1,"a":2,"a":{"$gt":1}}',
    '{"a":1e999,"b":-0.0,"c":123456789012345678901234567890}',
    '{"a":"\\ud800","\\udfff":1}',
    '{"__proto__":{"a":1},"constructor.prototype.a":1}',
    "",
    "null",
    "[]",
    '"text"',
    '\ufeff{"a":1}',
    '{"objectId":{"$in":["0"' + ',"1"' * 1_100 + "]}}",
]


def condition(dice: Random, names: Names, depth: int) -> str:
    clauses = []
    for _ in range(dice.choice((0, 1, 1, 2, 5))):
        key = dice.choice((*ASKED, text(dice)[:80]))
        operator = dice.choice(OPERATORS)
        if depth < 4 and dice.random() < 0.2:
            branches = ",".join(condition(dice, names, depth + 1) for _ in range(dice.randint(0, 3)))
            clauses.append(f'"{dice.choice(("$or", "$and", "$nor"))}":[{branches}]')
        elif operator is None:
            clauses.append(f"{quoted(key)}:{json_value(dice, names, depth)}")
        else:
            clauses.append(f'{quoted(key)}:{{"{operator}":{operand(dice, names, operator, depth)}}}')
    return "{" + ",".join(clauses) + "}"


ASKED = ["m", "c", "objectId", "name", "attr.a", "attr.a.0.b", "createdAt", "lm", "sys"]
WRITTEN = ["name", "attr", "attr.a", "attr.b.c", "list", "count", "m", "objectId", "__type"]
OPERATORS = [
    *(None, None, None, "$ne", "$lt", "$lte", "$gt", "$gte", "$in", "$nin", "$all", "$exists", "$size", "$regex"),
    *("$not", "$where", "$elemMatch", "$options"),
]
PATTERNS = [
    *("^a", "(a+)+$", "(a|a)*b", "[", "\\", "(?=a)", "a{1000}{1000}", ".*" * 50, "\\p{Han}", "(?i)A", "\\C"),
    "x{0,1000}",
]


def operand(dice: Random, names: Names, operator: str, depth: int) -> str:
    if dice.random() < 0.1:
        return json_value(dice, names, depth)
    match operator:
        case "$in" | "$nin" | "$all":
            return "[" + ",".join(json_value(dice, names, depth + 1) for _ in range(dice.choice((0, 1, 3, 20)))) + "]"
        case "$exists":
            return dice.choice(("true", "false"))
        case "$size":
            return dice.choice(("0", "2", "-1", "1.5", "1e300"))
        case "$regex":
            return quoted(dice.choice(PATTERNS))
        case "$not" if depth < 4:
            inner = dice.choice(OPERATORS[3:])
            return f'{{"{inner}":{operand(dice, names, str(inner), depth + 1)}}}'
        case _:
            return json_value(dice, names, depth)


def attributes(dice: Random, names: Names, depth: int) -> str:
    pairs = []
    for _ in range(dice.choice((0, 1, 1, 2, 5))):
        key = dice.choice((*WRITTEN, text(dice)[:80]))
        pairs.append(f"{quoted(key)}:{json_value(dice, names, depth)}")
    return "{" + ",".join(pairs) + "}"


def json_value(dice: Random, names: Names, depth: int) -> str:
    match dice.randrange(10):
        case 0 | 1 if depth < 3:
            inner = [json_value(dice, names, depth + 1) for _ in range(dice.choice((0, 1, 2, 12)))]
            return f"[{','.join(inner)}]" if dice.random() < 0.5 else attributes(dice, names, depth + 1)
        case 2:
            return quoted(dice.choice(names.clients))
        case 3:
            return quoted(dice.choice(names.conversations))
        case 4:
            return str(number(dice, INT64))
        case 5 | 6:
            return dice.choice(JSON_VALUES)
        case _:
            return quoted(text(dice))


JSON_VALUES = [
    *("true", "false", "null", "0.1", "1e15", "9223372036854775808", "-1e-320", "[]", "{}"),
    '{"__type":"Date","iso":"2025-11-22T10:00:00.000Z"}',
    '{"__type":"Date","iso":"9999-12-31T23:59:59Z"}',
    '{"__type":"Date","iso":"never"}',
    '{"__op":"Increment","amount":1}',
    '{"__op":"Increment","amount":1e308}',
    '{"__op":"Increment","amount":9223372036854775807}',
    '{"__op":"Increment","amount":null}',
    '{"__op":"Add","objects":[1,"a",{"b":[]}]}',
    '{"__op":"AddUnique","objects":[1,1.0,true,{"b":[]}]}',
    '{"__op":"Remove","objects":[1,"a"]}',
    '{"__op":"Nothing","objects":[]}',
    '{"__op":"Delete"}',
]


def quoted(written: str) -> str:
    return '"' + written.replace("\\", "\\\\").replace('"', '\\"').replace("\0", "\\u0000") + '"'


def varint(size: int) -> bytes:
    encoded = b""
    while size > 127:
        encoded += bytes((size & 127 | 128,))
        size >>= 7
    return encoded + bytes((size,))


BodyMutation = Callable[[Random, bytes], bytes]

BODY_MUTATIONS: list[BodyMutation] = [
    garbled,
    garbled,
    lambda dice, body: body[: dice.randrange(len(body) + 1)],
    lambda dice, body: body + body,
    lambda dice, body: body + dice.randbytes(dice.randint(1, 20)),
    # A field that nobody knows, in each wire type; groups open and closed.
    lambda dice, body: body + varint(dice.choice((999, 1_001, 2**28)) << 3 | 0) + b"\x01",
    lambda dice, body: body + varint(500 << 3 | 1) + bytes(dice.choice((7, 8))),
    lambda dice, body: body + varint(500 << 3 | 2) + varint(dice.choice((0, 5, 2**31 - 1, 2**32, 2**62))) + b"five!",
    lambda dice, body: body + varint(500 << 3 | 3) + dice.choice((varint(500 << 3 | 4), varint(501 << 3 | 4), b"")),
    lambda dice, body: body + varint(500 << 3 | 5) + bytes(dice.choice((3, 4))),
    lambda dice, body: body + varint(500 << 3 | dice.choice((6, 7))),
    lambda dice, body: body + varint(500 << 3 | 3) * dice.choice((90, 120, 3_000)),
    # A known field: with another wire type, with a number that is too long, and with field number 0.
    lambda dice, body: body + bytes((dice.randint(1, 11) << 3 | dice.choice((0, 1, 2, 5)),)) + dice.randbytes(9),
    lambda dice, body: body + b"\x28" + b"\xff" * dice.choice((4, 9, 10, 11)) + b"\x01",
    lambda dice, body: body + b"\x00\x00",
    # An enumeration's value that is not one, and text that is not UTF-8.
    lambda dice, body: body + b"\x08" + varint(dice.choice((22, 99, 2**31, 2**63))),
    lambda dice, body: body + b"\x10" + varint(dice.choice((0, 14, 300, 2**32 + 1, 2**64 - 1))),
    lambda dice, body: body + b"\x22" + (lambda bad: varint(len(bad)) + bad)(dice.choice(NOT_UTF8)),
]
