"""Commands of the server to the client's values, events and errors. Source: wire protocol, sections 3, 7 and 8."""

from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import msgspec

from fastim.client import events
from fastim.client.errors import Refused, UnexpectedReply
from fastim.client.values import ConversationInfo, Message
from fastim.core.attributes import iso_millis
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
    elif push.cmd == pb.conv:
        yield from _concerning_conversation(push)


def history_message(item: pb.LogItem, conversation_id: str) -> Message:
    """A message in a page of history."""
    return Message(
        id=item.msgId,
        conversation_id=conversation_id,
        sender=item.sender,
        timestamp=Millis(item.timestamp),
        raw=b64decode(item.data) if item.bin else item.data,
        binary=item.bin,
        mentions=tuple(item.mentionPids),
        mention_all=item.mentionAll,
    )


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
    if push.op == pb.joined:
        yield events.Joined(conv.cid, conv.initBy, at)
    elif push.op == pb.left:
        yield events.Left(conv.cid, conv.initBy, at)
    elif push.op == pb.members_joined:
        yield events.MembersJoined(conv.cid, tuple(conv.m), conv.initBy, at)
    elif push.op == pb.members_left:
        yield events.MembersLeft(conv.cid, tuple(conv.m), conv.initBy, at)
    elif push.op == pb.updated:
        asked, modified = columns(conv.attr.data), columns(conv.attrModified.data)
        yield events.ConversationUpdated(conv.cid, asked, modified, conv.initBy, at)


def _delivered(direct: pb.DirectCommand) -> Message:
    binary = direct.HasField("binaryMsg")
    return Message(
        id=direct.id,
        conversation_id=direct.cid,
        sender=direct.fromPeerId,
        timestamp=Millis(direct.timestamp),
        raw=direct.binaryMsg if binary else direct.msg,
        binary=binary,
        mentions=tuple(direct.mentionPids),
        mention_all=direct.mentionAll,
        transient=direct.transient,
    )


def _last_unread(notice: pb.UnreadTuple) -> Message | None:
    if not notice.mid:
        return None
    binary = notice.HasField("binaryMsg")
    return Message(
        id=notice.mid,
        conversation_id=notice.cid,
        sender=notice.sender,
        timestamp=Millis(notice.timestamp),
        raw=notice.binaryMsg if binary else notice.data,
        binary=binary,
    )


def _conversation_info(found: dict[str, Any]) -> ConversationInfo:
    name, attributes, last_message_at = found.get("name"), found.get("attr"), found.get("lm")
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
    )


def _last_message(found: dict[str, Any]) -> Message:
    binary, body = bool(found.get("bin")), found.get("msg") or ""
    return Message(
        id=found["msg_mid"],
        conversation_id=found["objectId"],
        sender=found.get("msg_from") or "",
        timestamp=Millis(found["msg_timestamp"]),
        raw=b64decode(body) if binary else body.encode(),
        binary=binary,
        mentions=tuple(found.get("mention_pids") or ()),
        mention_all=bool(found.get("mention_all")),
    )
