"""Commands of the server to the client's values, events and errors. Source: wire protocol, sections 3, 7 and 8."""

from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from google.protobuf.json_format import ParseDict, ParseError

from fastim.client import events
from fastim.client.bodies import Recalled, type_of
from fastim.client.errors import Refused, UnexpectedReply
from fastim.client.values import ConversationInfo, MemberChanges, Message, ReceiptTimes
from fastim.core.attributes import iso_millis
from fastim.core.conversation import Kind
from fastim.core.standing import Role
from fastim.core.units import Millis
from fastim.wire import messages2_pb2 as pb


def refusal(reply: pb.GenericCommand) -> Refused | None:
    """What the server has against the request that this answers, or ``None``."""
    if reply.HasField("errorMessage"):
        return failure(reply.errorMessage)
    if reply.HasField("ackMessage") and (reply.ackMessage.HasField("code") or reply.ackMessage.HasField("appCode")):
        ack = reply.ackMessage
        return Refused(ack.code, ack.reason, "", ack.appCode, ack.appMsg)
    if reply.HasField("sessionMessage") and reply.sessionMessage.HasField("code"):
        return Refused(reply.sessionMessage.code, reply.sessionMessage.reason, reply.sessionMessage.detail)
    return None


def failure(error: pb.ErrorCommand) -> Refused:
    """An error command, or one of the parts of a partial failure."""
    return Refused(error.code, error.reason, error.detail, error.appCode, error.appMsg)


def told(push: pb.GenericCommand) -> Iterator[events.Event]:
    """The events in a push; none in one that is not known here.

    Raises:
        ValueError: It is malformed.
    """
    if push.cmd == pb.direct:
        yield events.MessageReceived(_delivered(push.directMessage))
    elif push.cmd == pb.unread:
        for notice in push.unreadMessage.convs:
            yield events.UnreadChanged(notice.cid, notice.unread, notice.mentioned, _last_unread(notice))
    elif push.cmd == pb.rcp:
        receipt = push.rcpMessage
        yield events.Receipt(receipt.cid, receipt.id, receipt.sender, Millis(receipt.t), receipt.read)
    elif push.cmd == pb.patch:
        for item in push.patchMessage.patches:
            yield _patched(item)
    elif push.cmd == pb.pubsub and push.op == pb.gap:
        gap = push.nativeMessage.gap
        yield events.MessagesShed(gap.cid, gap.high, gap.normal, gap.low)
    elif push.cmd == pb.conv:
        yield from _concerning_conversation(push)


def notices(found: bytes) -> list[pb.GenericCommand]:
    """What happened while a client was away, as the pushes that it would have been, but for what is not known here.

    Raises:
        ValueError: It is malformed.
    """
    return [
        notice for one in msgspec.json.decode(found or b"[]", type=list[dict[str, Any]]) if (notice := _notice(one))
    ]


def history_message(item: pb.LogItem, conversation_id: str) -> Message:
    """A message in a page of history."""
    raw = b64decode(item.data) if item.bin else item.data
    return Message(
        id=item.msgId,
        conversation_id=conversation_id,
        sender=item.sender,
        timestamp=Millis(item.timestamp),
        raw=raw,
        binary=item.bin,
        mentions=tuple(item.mentionPids),
        mention_all=item.mentionAll,
        patched_at=_time(item.patchTimestamp),
        recalled=_recalled(raw, item.patchTimestamp),
        delivered_at=_time(item.ackAt),
        read_at=_time(item.readAt),
    )


def member_changes(reply: pb.ConvCommand | pb.BlacklistCommand) -> MemberChanges:
    """For whom something was done, and for whom it was not."""
    failed = {client_id: failure(part) for part in reply.failedPids for client_id in part.pids}
    return MemberChanges(tuple(reply.allowedPids), failed)


def receipt_times(times: pb.ConvCommand | pb.MaxReadTuple) -> ReceiptTimes:
    """How far a member has got."""
    return ReceiptTimes(_time(times.maxAckTimestamp), _time(times.maxReadTimestamp))


def role(name: str) -> Role:
    """A role by its name.

    Raises:
        ValueError: There is none of that name.
    """
    found = _ROLES.get(name)
    if found is None:
        raise ValueError(f"{name!r} is no role")
    return found


def conversation_infos(results: str) -> list[ConversationInfo]:
    """What a query found.

    Raises:
        UnexpectedReply: It is malformed.
    """
    try:
        return [_conversation_info(found) for found in msgspec.json.decode(results, type=list[dict[str, Any]])]
    except (ValueError, KeyError, TypeError) as error:
        raise UnexpectedReply(f"malformed conversations: {error}") from error


def memberships(results: str) -> dict[str, bool]:
    """Whether the asker belongs to each of some conversations.

    Raises:
        UnexpectedReply: It is malformed.
    """
    try:
        return msgspec.json.decode(results, type=dict[str, bool])
    except ValueError as error:
        raise UnexpectedReply(f"malformed memberships: {error}") from error


def columns(text: str) -> dict[str, Any]:
    """A JSON object of attributes; no text is an empty one.

    Raises:
        ValueError: It is malformed.
    """
    return msgspec.json.decode(text, type=dict[str, Any]) if text else {}


def moment(text: str) -> Millis:
    """An ISO date of the server's as milliseconds; 0 for none."""
    return Millis(iso_millis(text) or 0)


def _concerning_conversation(push: pb.GenericCommand) -> Iterator[events.Event]:
    conv = push.convMessage
    at = Millis(push.serverTs) if push.HasField("serverTs") else moment(conv.udate)
    if push.op == pb.updated:
        asked, modified = columns(conv.attr.data), columns(conv.attrModified.data)
        yield events.ConversationUpdated(conv.cid, asked, modified, conv.initBy, at)
    elif push.op == pb.member_info_changed:
        yield events.RoleChanged(conv.cid, conv.info.pid, role(conv.info.role), conv.initBy, at)
    elif push.op in _OF_THIS_CLIENT:
        yield _OF_THIS_CLIENT[push.op](conv.cid, conv.initBy, at)
    elif push.op in _OF_MEMBERS:
        yield _OF_MEMBERS[push.op](conv.cid, tuple(conv.m), conv.initBy, at)


_ROLES = {one.wire_name: one for one in Role}
_OF_THIS_CLIENT: dict[pb.OpType, Callable[[str, str, Millis], events.Event]] = {
    pb.joined: events.Joined,
    pb.left: events.Left,
    pb.shutuped: events.Silenced,
    pb.unshutuped: events.Unsilenced,
    pb.blocked: events.Blocked,
    pb.unblocked: events.Unblocked,
}
_OF_MEMBERS: dict[pb.OpType, Callable[[str, tuple[str, ...], str, Millis], events.Event]] = {
    pb.members_joined: events.MembersJoined,
    pb.members_left: events.MembersLeft,
    pb.members_shutuped: events.MembersSilenced,
    pb.members_unshutuped: events.MembersUnsilenced,
    pb.members_blocked: events.MembersBlocked,
    pb.members_unblocked: events.MembersUnblocked,
}
_ABOUT_A_NOTICE = frozenset(("cmd", "op", "serverTs", "notificationType"))


def _notice(found: dict[str, Any]) -> pb.GenericCommand | None:
    kind = found.get("cmd")
    if kind not in ("conv", "rcp"):
        return None
    fields = {key: value for key, value in found.items() if key not in _ABOUT_A_NOTICE}
    if "from" in fields:
        fields["sender"] = fields.pop("from")
    command = {key: value for key, value in found.items() if key in _ABOUT_A_NOTICE}
    try:
        return ParseDict({**command, f"{kind}Message": fields}, pb.GenericCommand(), ignore_unknown_fields=True)
    except ParseError as error:
        raise ValueError(str(error)) from error


def _patched(item: pb.PatchItem) -> events.Event:
    binary = item.HasField("binaryMsg")
    raw = item.binaryMsg if binary else item.data
    recalled = item.recall or _recalled(raw, item.patchTimestamp)
    message = Message(
        id=item.mid,
        conversation_id=item.cid,
        sender=item.sender,
        timestamp=Millis(item.timestamp),
        raw=raw,
        binary=binary,
        mentions=tuple(item.mentionPids),
        mention_all=item.mentionAll,
        patched_at=_time(item.patchTimestamp),
        recalled=recalled,
    )
    code = item.patchCode if item.HasField("patchCode") else None
    told = events.MessageRecalled if recalled else events.MessageModified
    return told(message, code, item.patchReason)


def _recalled(raw: bytes, patched_at: int) -> bool:
    """Whether a body says that it was taken back; anybody can send one that looks so, but not patch one."""
    return patched_at > 0 and type_of(raw) == Recalled.number()


def _time(at: int) -> Millis | None:
    return Millis(at) if at else None


def _delivered(direct: pb.DirectCommand) -> Message:
    binary = direct.HasField("binaryMsg")
    raw = direct.binaryMsg if binary else direct.msg
    return Message(
        id=direct.id,
        conversation_id=direct.cid,
        sender=direct.fromPeerId,
        timestamp=Millis(direct.timestamp),
        raw=raw,
        binary=binary,
        mentions=tuple(direct.mentionPids),
        mention_all=direct.mentionAll,
        transient=direct.transient,
        patched_at=_time(direct.patchTimestamp),
        recalled=_recalled(raw, direct.patchTimestamp),
    )


def _last_unread(notice: pb.UnreadTuple) -> Message | None:
    if not notice.mid:
        return None
    binary = notice.HasField("binaryMsg")
    raw = notice.binaryMsg if binary else notice.data
    return Message(
        id=notice.mid,
        conversation_id=notice.cid,
        sender=notice.sender,
        timestamp=Millis(notice.timestamp),
        raw=raw,
        binary=binary,
        patched_at=_time(notice.patchTimestamp),
        recalled=_recalled(raw, notice.patchTimestamp),
    )


def _conversation_info(found: dict[str, Any]) -> ConversationInfo:
    name, attributes, last_message_at = found.get("name"), found.get("attr"), found.get("lm")
    kind = _kind(found)
    return ConversationInfo(
        id=found["objectId"],
        name=name if isinstance(name, str) else "",
        attributes=attributes if isinstance(attributes, dict) else {},
        creator=found.get("c") or "",
        members=tuple(found.get("m") or ()),
        muted_by=tuple(found.get("mu") or ()),
        created_at=moment(found.get("createdAt") or ""),
        updated_at=moment(found.get("updatedAt") or ""),
        last_message_at=moment(last_message_at["iso"]) if last_message_at else None,
        last_message=_last_message(found) if "msg_mid" in found else None,
        unique_id=found.get("uniqueId") or "",
        columns=found,
        kind=kind,
        ttl_seconds=int(found["ttl"]) if kind == Kind.TEMPORARY and "ttl" in found else None,
        subscribed=bool(found.get("joined")) if kind == Kind.SYSTEM else None,
    )


def _kind(found: dict[str, Any]) -> Kind:
    if "conv_type" in found:
        return Kind(found["conv_type"])
    flags = {"tr": Kind.CHAT_ROOM, "sys": Kind.SYSTEM, "temp": Kind.TEMPORARY}
    return next((kind for flag, kind in flags.items() if found.get(flag)), Kind.NORMAL)


def _last_message(found: dict[str, Any]) -> Message:
    binary, body, patched_at = bool(found.get("bin")), found.get("msg") or "", found.get("patch_timestamp") or 0
    raw = b64decode(body) if binary else body.encode()
    return Message(
        id=found["msg_mid"],
        conversation_id=found["objectId"],
        sender=found.get("msg_from") or "",
        timestamp=Millis(found["msg_timestamp"]),
        raw=raw,
        binary=binary,
        mentions=tuple(found.get("mention_pids") or ()),
        mention_all=bool(found.get("mention_all")),
        patched_at=_time(patched_at),
        recalled=_recalled(raw, patched_at),
    )
