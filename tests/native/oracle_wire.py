"""What ``fastim._wire`` must do, by protobuf itself: every field looked up by name, and one message made of another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from google.protobuf.message import DecodeError

from fastim.wire import messages2_pb2 as pb

INSTANT_MESSAGING, RELIABLE, NORMAL_PRIORITY = 2, 1, 2


class Sent(NamedTuple):
    conversation_id: str
    body: bytes
    size_bytes: int
    binary: bool
    token: str
    receipt: bool
    transient: bool
    will: bool
    push_data: str
    mentions: tuple[str, ...]
    mention_all: bool
    priority: int


class Acknowledged(NamedTuple):
    conversation_id: str
    message_id: str
    since: int | None
    until: int | None


class Requested(NamedTuple):
    command: object
    serial: int | None
    client_id: str | None
    application_id: str | None


ECHO = "echo"


def decode(body: bytes) -> Requested | None:
    """What is in ``body``; ``None`` when it is another command or no ``GenericCommand`` at all."""
    try:
        generic = pb.GenericCommand.FromString(body)
    except DecodeError:
        return None
    if not generic.HasField("cmd") or generic.cmd not in (pb.direct, pb.ack, pb.echo):
        return None
    return Requested(
        _sent(generic) if generic.cmd == pb.direct else _acknowledged(generic) if generic.cmd == pb.ack else ECHO,
        generic.i if generic.HasField("i") else None,
        generic.peerId if generic.HasField("peerId") else None,
        generic.appId if generic.HasField("appId") else None,
    )


def _sent(generic: pb.GenericCommand) -> Sent:
    direct = generic.directMessage
    binary = direct.HasField("binaryMsg") and not direct.msg
    return Sent(
        direct.cid,
        direct.binaryMsg if binary else direct.msg,
        direct.ByteSize(),
        binary,
        direct.dt,
        direct.r,
        direct.transient,
        direct.will,
        direct.pushData,
        tuple(direct.mentionPids),
        direct.mentionAll,
        generic.priority if generic.HasField("priority") else NORMAL_PRIORITY,
    )


def _acknowledged(generic: pb.GenericCommand) -> Acknowledged:
    ack = generic.ackMessage
    return Acknowledged(
        ack.cid,
        ack.mid,
        ack.fromts if ack.HasField("fromts") else None,
        ack.tots if ack.HasField("tots") else None,
    )


def encode_ack(message_id: str, timestamp: int, serial: int | None, client_id: str | None) -> bytes:
    ack = pb.AckCommand(uid=message_id, t=timestamp)
    return _serialized(pb.GenericCommand(cmd=pb.ack, i=serial, peerId=client_id or None, ackMessage=ack))


def encode_echo(serial: int | None, client_id: str | None) -> bytes:
    return _serialized(pb.GenericCommand(cmd=pb.echo, i=serial, peerId=client_id or None))


def encode_delivery(
    conversation_id: str,
    kind: int,
    message_id: str,
    sender: str,
    timestamp: int,
    body: bytes,
    binary: bool,
    mentions: tuple[str, ...],
    mention_all: bool,
    patched_at: int,
    transient: bool = False,
    offline: bool = False,
    more: bool = False,
) -> bytes:
    direct = pb.DirectCommand(
        cid=conversation_id,
        convType=kind,
        id=message_id,
        fromPeerId=sender,
        timestamp=timestamp,
        msg=None if binary else body,
        binaryMsg=body if binary else None,
        mentionPids=mentions,
        mentionAll=mention_all or None,
        patchTimestamp=patched_at or None,
        transient=transient or None,
        offline=offline or None,
        hasMore=more or None,
    )
    return _serialized(pb.GenericCommand(cmd=pb.direct, directMessage=direct))


def encode_receipt(conversation_id: str, message_id: str, by: str, upto: int, read: bool, at: int) -> bytes:
    receipt = pb.RcpCommand(cid=conversation_id, id=message_id, sender=by, t=upto, read=read or None)
    return _serialized(pb.GenericCommand(cmd=pb.rcp, serverTs=at, notificationType=RELIABLE, rcpMessage=receipt))


def _serialized(generic: pb.GenericCommand) -> bytes:
    generic.service = INSTANT_MESSAGING
    return bytes(generic.SerializeToString())


def number(value: int, *, longer: int = 0) -> bytes:
    """``value`` as protobuf writes numbers, in so many bytes more than it needs."""
    value %= 2**64
    digits = [value >> shift & 127 for shift in range(0, max(value.bit_length(), 1), 7)] + [0] * longer
    return bytes(digit | 128 for digit in digits[:-1]) + bytes(digits[-1:])


def number_field(field: int, value: int) -> bytes:
    return number(field << 3) + number(value)


def piece_field(field: int, piece: bytes) -> bytes:
    return number(field << 3 | 2) + number(len(piece)) + piece


def fields_of(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The number and the bytes of every field, which are numbers and pieces only, of what protobuf has written."""
    at = 0
    while at < len(message):
        start = at
        tag, at = _number_at(message, at)
        value, at = _number_at(message, at)
        at += value if tag & 7 == 2 else 0
        yield tag >> 3, message[start:at]


def _number_at(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (message[at] & 127) << shift
        shift += 7
        at += 1
        if message[at - 1] < 128:
            return value, at
