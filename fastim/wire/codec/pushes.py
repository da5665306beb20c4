"""From events to bytes: what a session gets without having asked."""

from collections.abc import Iterable

from fastim import _wire
from fastim.core import events
from fastim.core.conversation import Kind
from fastim.core.errors import CodedError
from fastim.core.message import Message
from fastim.core.units import Millis, iso
from fastim.wire import messages2_pb2 as pb
from fastim.wire.codec.parts import INSTANT_MESSAGING, RELIABLE, failure, json_object, member_info


def recipient(client_id: str) -> bytes:
    """The ``peerId`` field for ``client_id``: appended to an encoded body, it completes it.

    Protobuf fields may come in any order, so a push is encoded once and this is added for each session.
    """
    encoded = client_id.encode()
    size = len(encoded)
    return bytes((0x22, size)) + encoded if size < 128 else bytes((0x22, size & 127 | 128, size >> 7)) + encoded


def encode_delivery(event: events.MessagePosted) -> bytes:
    """A message as its recipients get it, but for ``recipient``."""
    return _delivery(event.conversation_id, event.kind, event.message, transient=event.transient)


def encode_queued(event: events.MessagesQueued) -> list[bytes]:
    """Messages that waited for the client, each as it gets it; the last one says when there are more."""
    last = len(event.messages)
    return [
        _delivery(event.conversation_id, event.kind, message, offline=True, more=event.more and number == last)
        for number, message in enumerate(event.messages, 1)
    ]


def encode_missed(event: events.MessagesMissed) -> list[bytes]:
    """What was posted in a chat room while the client was away, each as it would have got it then."""
    return [_delivery(event.conversation_id, event.kind, message) for message in event.messages]


def encode_patched(event: events.MessagePatched) -> bytes:
    """To everybody who may have the message: how it is now."""
    item = _patch_item(event.conversation_id, event.message)
    if event.code:
        item.patchCode = event.code
        if event.detail:
            item.patchReason = event.detail
    return _patch(item)


def encode_missed_patches(event: events.PatchesMissed) -> list[bytes]:
    """What was patched while the client was away, one for each: ObjC keeps only the last of a conversation's in one."""
    return [_patch(_patch_item(missed.conversation_id, missed.message)) for missed in event.patches]


def encode_receipts(event: events.MessagesReceipted) -> list[bytes]:
    """To the sender of the messages, one for each of them: JS finds a message by its id."""
    # A receipt of delivery must not say `read` at all: Java takes one that says false for one that says true.
    return [
        _wire.encode_receipt(event.conversation_id, message_id, event.by, event.upto, event.read, event.at)
        for message_id in event.message_ids
    ]


def encode_joined(event: events.ConversationStarted | events.MembersAdded) -> bytes:
    """To a client who is a member now."""
    return _notification(pb.joined, _joining(event), event.at)


def encode_members_joined(event: events.ConversationStarted | events.MembersAdded) -> bytes:
    """To all members: these are new."""
    conv = _joining(event)
    conv.m.extend(event.members if isinstance(event, events.ConversationStarted) else event.added)
    return _notification(pb.members_joined, conv, event.at)


def encode_left(event: events.MembersRemoved) -> bytes:
    """To a client who is a member no longer."""
    return _notification(pb.left, _change(event, udate=True), event.at)


def encode_members_left(event: events.MembersRemoved) -> bytes:
    """To the members that remain: these have gone."""
    conv = _change(event, udate=True)
    conv.m.extend(event.removed)
    return _notification(pb.members_left, conv, event.at)


def encode_updated(event: events.ConversationUpdated) -> bytes:
    """To the members: attributes have changed."""
    conv = _change(event, udate=True)
    conv.attr.CopyFrom(json_object(event.asked))
    conv.attrModified.CopyFrom(json_object(event.modified))
    return _notification(pb.updated, conv, event.at)


def encode_role_changed(event: events.RoleChanged) -> bytes:
    """To the members: one of them has another role."""
    conv = _change(event)
    conv.info.CopyFrom(member_info(event.client_id, event.role))
    return _notification(pb.member_info_changed, conv, event.at)


def encode_silenced(event: events.SilenceChanged) -> bytes:
    """To a client who was silenced, or may speak again."""
    return _notification(pb.shutuped if event.silenced else pb.unshutuped, _change(event), event.at)


def encode_members_silenced(event: events.SilenceChanged) -> bytes:
    """To all members: these were silenced, or may speak again."""
    conv = _change(event)
    conv.m.extend(event.clients)
    return _notification(pb.members_shutuped if event.silenced else pb.members_unshutuped, conv, event.at)


def encode_blocked(event: events.BlocksChanged) -> bytes:
    """To a client who was blocked, or may come back: a ``conv`` command, although it was asked of ``blacklist``."""
    return _notification(pb.blocked if event.blocked else pb.unblocked, _change(event), event.at)


def encode_members_blocked(event: events.BlocksChanged) -> bytes:
    """To the members: these were blocked, or may come back."""
    conv = _change(event)
    conv.m.extend(event.clients)
    return _notification(pb.members_blocked if event.blocked else pb.members_unblocked, conv, event.at)


def encode_presence(client_ids: Iterable[str], *, online: bool) -> bytes:
    """To a session that watches these clients: they have come, or gone."""
    presence = pb.PresenceCommand(status=pb.on if online else pb.off, sessionPeerIds=client_ids)
    return _push(pb.GenericCommand(cmd=pb.presence, op=pb.status, presenceMessage=presence))


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


def _reliable(generic: pb.GenericCommand, at: Millis) -> bytes:
    generic.serverTs, generic.notificationType = at, RELIABLE
    return _push(generic)


def _notification(op: pb.OpType, conv: pb.ConvCommand, at: Millis) -> bytes:
    return _reliable(pb.GenericCommand(cmd=pb.conv, op=op, convMessage=conv), at)


_Change = (
    events.ConversationStarted
    | events.MembersAdded
    | events.MembersRemoved
    | events.ConversationUpdated
    | events.RoleChanged
    | events.SilenceChanged
    | events.BlocksChanged
)


def _change(event: _Change, *, udate: bool = False) -> pb.ConvCommand:
    """Where it happened and who did it; nobody is named when the application itself did.

    Args:
        udate: Whether the conversation itself changed, so that ``updatedAt`` did.
    """
    conv = pb.ConvCommand(cid=event.conversation_id)
    if event.by:
        conv.initBy = event.by
    if udate:
        conv.udate = iso(event.at)
    return conv


def _joining(event: events.ConversationStarted | events.MembersAdded) -> pb.ConvCommand:
    conv = _change(event, udate=True)
    if event.kind is Kind.TEMPORARY:
        conv.tempConv = True
        if isinstance(event, events.ConversationStarted) and event.ttl_seconds:
            conv.tempConvTTL = event.ttl_seconds
    return conv


def _delivery(
    conversation_id: str,
    kind: Kind,
    message: Message,
    *,
    transient: bool = False,
    offline: bool = False,
    more: bool = False,
) -> bytes:
    return _wire.encode_delivery(
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


def _patch(item: pb.PatchItem) -> bytes:
    return _push(pb.GenericCommand(cmd=pb.patch, op=pb.modify, patchMessage=pb.PatchCommand(patches=[item])))


def _patch_item(conversation_id: str, message: Message) -> pb.PatchItem:
    item = pb.PatchItem(
        cid=conversation_id,
        mid=message.id,
        timestamp=message.timestamp,
        sender=message.sender,
        patchTimestamp=message.patched_at,
        mentionPids=message.mentions,
    )
    if message.binary:
        item.binaryMsg = message.body
    else:
        item.data = message.body
    if message.recalled:
        item.recall = True
    if message.mention_all:
        item.mentionAll = True
    return item


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
        if last.patched_at:
            entry.patchTimestamp = last.patched_at
    return entry
