"""From events to bytes: what a session gets without having asked."""

from fastim.core import events
from fastim.core.conversation import Kind
from fastim.core.errors import CodedError
from fastim.core.units import Millis, iso
from fastim.wire import messages2_pb2 as pb
from fastim.wire.codec.parts import INSTANT_MESSAGING, failure, json_object

RELIABLE = 1
"""``notificationType`` of events that JS moves its cursor for."""


def recipient(client_id: str) -> bytes:
    """The ``peerId`` field for ``client_id``: appended to an encoded body, it completes it.

    Protobuf fields may come in any order, so a push is encoded once and this is added for each session.
    """
    encoded = client_id.encode()
    size = len(encoded)
    return bytes((0x22, size)) + encoded if size < 128 else bytes((0x22, size & 127 | 128, size >> 7)) + encoded


def encode_delivery(event: events.MessagePosted) -> bytes:
    """A message as its recipients get it, but for ``recipient``."""
    message = event.message
    direct = pb.DirectCommand(
        cid=event.conversation_id,
        id=message.id,
        fromPeerId=message.sender,
        timestamp=message.timestamp,
        mentionPids=message.mentions,
        convType=event.kind,
    )
    if message.binary:
        direct.binaryMsg = message.body
    else:
        direct.msg = message.body
    if message.mention_all:
        direct.mentionAll = True
    if event.transient:
        direct.transient = True
    return _push(pb.GenericCommand(cmd=pb.direct, directMessage=direct))


def encode_joined(event: events.ConversationStarted | events.MembersAdded) -> bytes:
    """To a client who is a member now."""
    conv = pb.ConvCommand(cid=event.conversation_id, initBy=event.by, udate=iso(event.at))
    if event.kind is Kind.TEMPORARY:
        conv.tempConv = True
    return _notification(pb.joined, conv, event.at)


def encode_members_joined(event: events.ConversationStarted | events.MembersAdded) -> bytes:
    """To all members: these are new."""
    added = event.members if isinstance(event, events.ConversationStarted) else event.added
    conv = pb.ConvCommand(cid=event.conversation_id, initBy=event.by, m=added, udate=iso(event.at))
    if event.kind is Kind.TEMPORARY:
        conv.tempConv = True
    return _notification(pb.members_joined, conv, event.at)


def encode_left(event: events.MembersRemoved) -> bytes:
    """To a client who is a member no longer."""
    conv = pb.ConvCommand(cid=event.conversation_id, initBy=event.by, udate=iso(event.at))
    return _notification(pb.left, conv, event.at)


def encode_members_left(event: events.MembersRemoved) -> bytes:
    """To the members that remain: these have gone."""
    conv = pb.ConvCommand(cid=event.conversation_id, initBy=event.by, m=event.removed, udate=iso(event.at))
    return _notification(pb.members_left, conv, event.at)


def encode_updated(event: events.ConversationUpdated) -> bytes:
    """To the members: attributes have changed."""
    conv = pb.ConvCommand(
        cid=event.conversation_id,
        initBy=event.by,
        udate=iso(event.at),
        attr=json_object(event.asked),
        attrModified=json_object(event.modified),
    )
    return _notification(pb.updated, conv, event.at)


def encode_unread(event: events.UnreadChanged) -> bytes:
    """A client's unread counts. ``mentioned`` is written even when false: Swift tells it from absent."""
    notices = [_unread_tuple(notice) for notice in event.notices]
    return _push(pb.GenericCommand(cmd=pb.unread, unreadMessage=pb.UnreadCommand(convs=notices, notifTime=event.at)))


def encode_eviction(error: CodedError, reason: str = "") -> bytes:
    """To a session that ends although its client did not ask for it.

    Args:
        reason: Takes the place of the error's name unless it is empty.
    """
    ending = pb.SessionCommand(code=error.code, reason=reason or error.reason)
    return _push(pb.GenericCommand(cmd=pb.session, op=pb.closed, sessionMessage=ending))


def encode_parting(error: CodedError) -> bytes:
    """The last command on a connection whose transport cannot say why it closes."""
    return bytes(
        pb.GenericCommand(cmd=pb.error, service=INSTANT_MESSAGING, errorMessage=failure(error)).SerializeToString()
    )


def _push(generic: pb.GenericCommand) -> bytes:
    generic.service = INSTANT_MESSAGING
    return bytes(generic.SerializeToString())


def _notification(op: pb.OpType, conv: pb.ConvCommand, at: Millis) -> bytes:
    return _push(pb.GenericCommand(cmd=pb.conv, op=op, convMessage=conv, serverTs=at, notificationType=RELIABLE))


def _unread_tuple(notice: events.UnreadNotice) -> pb.UnreadTuple:
    entry = pb.UnreadTuple(
        cid=notice.conversation_id, unread=notice.count, mentioned=notice.mentioned, convType=notice.kind
    )
    last = notice.last
    if last is not None:
        entry.mid, entry.timestamp, entry.sender = last.id, last.timestamp, last.sender
        if last.binary:
            entry.binaryMsg = last.body
        else:
            entry.data = last.body
    return entry
