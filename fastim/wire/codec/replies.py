"""From replies to bytes, with the request's serial exactly as it came."""

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import msgspec

from fastim._wire import encode_ack, encode_echo
from fastim.core import commands, replies
from fastim.core.errors import CodedError
from fastim.core.message import Message
from fastim.core.replies import MemberReceipt, PartialFailure
from fastim.core.units import iso
from fastim.wire import messages2_pb2 as pb
from fastim.wire.codec.notices import notices_of_js
from fastim.wire.codec.parts import INSTANT_MESSAGING, failure, json_object, member_info, told
from fastim.wire.codec.requests import Request


def encode_reply(reply: replies.Reply, serial: int | None, client_id: str | None) -> bytes:
    """``reply`` as a body, with the request's serial exactly as it came."""
    if isinstance(reply, replies.Acked):
        return encode_ack(reply.message_id, reply.timestamp, serial, client_id)
    if isinstance(reply, replies.Echoed):
        return encode_echo(serial, client_id)
    generic = _WRITERS[type(reply)](reply)
    return _addressed(generic, serial, client_id)


def encode_error(request: Request, error: CodedError, client_id: str | None) -> bytes:
    """The answer to a request that was refused: an ``ack`` with a code for a message, an ``error`` for all else."""
    if isinstance(request.command, commands.Send):
        ack = told(error, pb.AckCommand(code=error.code, reason=error.reason))
        generic = pb.GenericCommand(cmd=pb.ack, ackMessage=ack)
    else:
        generic = pb.GenericCommand(cmd=pb.error, errorMessage=failure(error))
    return _addressed(generic, request.serial, client_id)


def _opened(reply: replies.Opened) -> pb.GenericCommand:
    granted = pb.SessionCommand(st=reply.token, stTtl=reply.token_ttl_seconds)
    return pb.GenericCommand(cmd=pb.session, op=pb.opened, serverTs=reply.server_time, sessionMessage=granted)


def _refreshed(reply: replies.Refreshed) -> pb.GenericCommand:
    granted = pb.SessionCommand(st=reply.token, stTtl=reply.token_ttl_seconds)
    return pb.GenericCommand(cmd=pb.session, op=pb.refreshed, sessionMessage=granted)


def _closed(reply: replies.Closed) -> pb.GenericCommand:
    # Java reads any code as "closed by the server" and never calls back, so there is none.
    return pb.GenericCommand(cmd=pb.session, op=pb.closed, sessionMessage=pb.SessionCommand())


def _online_clients(reply: replies.OnlineClients) -> pb.GenericCommand:
    online = pb.SessionCommand(onlineSessionPeerIds=reply.client_ids)
    return pb.GenericCommand(cmd=pb.session, op=pb.query_result, sessionMessage=online)


def _started(reply: replies.Started) -> pb.GenericCommand:
    conv = pb.ConvCommand(cid=reply.conversation_id, cdate=iso(reply.created_at))
    if reply.unique_key is not None:
        conv.uniqueId = reply.unique_key
    if reply.existing:
        conv.existing = True
    if reply.ttl_seconds:
        conv.tempConvTTL = reply.ttl_seconds
    return pb.GenericCommand(cmd=pb.conv, op=pb.started, convMessage=conv)


def _members_changed(reply: replies.MembersChanged) -> pb.GenericCommand:
    conv = pb.ConvCommand(allowedPids=reply.allowed, failedPids=_failures(reply.failed), udate=iso(reply.updated_at))
    return pb.GenericCommand(cmd=pb.conv, op=pb.added if reply.added else pb.removed, convMessage=conv)


def _found(reply: replies.Found) -> pb.GenericCommand:
    return pb.GenericCommand(cmd=pb.conv, op=pb.results, convMessage=pb.ConvCommand(results=json_object(reply.results)))


def _updated(reply: replies.Updated) -> pb.GenericCommand:
    conv = pb.ConvCommand(
        cid=reply.conversation_id,
        udate=iso(reply.updated_at),
        attr=json_object(reply.asked),
        attrModified=json_object(reply.modified),
    )
    return pb.GenericCommand(cmd=pb.conv, op=pb.updated, convMessage=conv)


def _muted(reply: replies.Muted) -> pb.GenericCommand:
    conv = pb.ConvCommand(cid=reply.conversation_id, udate=iso(reply.updated_at))
    return pb.GenericCommand(cmd=pb.conv, op=pb.updated, convMessage=conv)


def _counted(reply: replies.Counted) -> pb.GenericCommand:
    return pb.GenericCommand(cmd=pb.conv, op=pb.result, convMessage=pb.ConvCommand(count=reply.count))


def _memberships(reply: replies.Memberships) -> pb.GenericCommand:
    return pb.GenericCommand(cmd=pb.conv, op=pb.result, convMessage=pb.ConvCommand(results=json_object(reply.results)))


def _history(reply: replies.History) -> pb.GenericCommand:
    items = [_log_item(one, reply.kind, reply.receipt) for one in reply.messages]
    return pb.GenericCommand(cmd=pb.logs, logsMessage=pb.LogsCommand(cid=reply.conversation_id, logs=items))


def _patched(reply: replies.Patched) -> pb.GenericCommand:
    return pb.GenericCommand(cmd=pb.patch, op=pb.modified, patchMessage=pb.PatchCommand(lastPatchTime=reply.at))


def _receipts(reply: replies.Receipts) -> pb.GenericCommand:
    # JS takes any time for one, 1970 too: what never happened is left out.
    conv = pb.ConvCommand(
        cid=reply.conversation_id,
        maxAckTimestamp=reply.delivered_at or None,
        maxReadTimestamp=reply.read_at or None,
    )
    return pb.GenericCommand(cmd=pb.conv, op=pb.max_read, convMessage=conv)


def _member_receipts(reply: replies.MemberReceipts) -> pb.GenericCommand:
    tuples = [
        pb.MaxReadTuple(
            pid=one.client_id, maxAckTimestamp=one.delivered_at or None, maxReadTimestamp=one.read_at or None
        )
        for one in reply.members
    ]
    conv = pb.ConvCommand(cid=reply.conversation_id, maxReadTuples=tuples)
    return pb.GenericCommand(cmd=pb.conv, op=pb.max_read, convMessage=conv)


def _occupants(reply: replies.Occupants) -> pb.GenericCommand:
    return pb.GenericCommand(cmd=pb.conv, op=pb.result, convMessage=pb.ConvCommand(m=reply.client_ids))


def _role_set(reply: replies.RoleSet) -> pb.GenericCommand:
    conv = pb.ConvCommand(cid=reply.conversation_id)
    return pb.GenericCommand(cmd=pb.conv, op=pb.member_info_updated, convMessage=conv)


def _roles(reply: replies.Roles) -> pb.GenericCommand:
    given = pb.NativeCommand(memberInfos=[member_info(one.client_id, one.role, one.id) for one in reply.records])
    conv = pb.ConvCommand(cid=reply.conversation_id)
    return pb.GenericCommand(cmd=pb.conv, op=pb.member_infos_result, convMessage=conv, nativeMessage=given)


def _silence_changed(reply: replies.SilenceChanged) -> pb.GenericCommand:
    conv = pb.ConvCommand(allowedPids=reply.allowed, failedPids=_failures(reply.failed))
    op = pb.shutup_added if reply.silenced else pb.shutup_removed
    return pb.GenericCommand(cmd=pb.conv, op=op, convMessage=conv)


def _silenced_page(reply: replies.SilencedPage) -> pb.GenericCommand:
    conv = pb.ConvCommand(m=reply.client_ids, next=reply.cursor or None)
    return pb.GenericCommand(cmd=pb.conv, op=pb.shutup_result, convMessage=conv)


def _silenced_among(reply: replies.SilencedAmong) -> pb.GenericCommand:
    return pb.GenericCommand(cmd=pb.conv, op=pb.check_result, convMessage=pb.ConvCommand(m=reply.client_ids))


def _blocks_changed(reply: replies.BlocksChanged) -> pb.GenericCommand:
    blacklist = pb.BlacklistCommand(
        srcCid=reply.conversation_id, allowedPids=reply.allowed, failedPids=_failures(reply.failed)
    )
    return _blacklist(pb.blocked if reply.blocked else pb.unblocked, blacklist)


def _blocked_page(reply: replies.BlockedPage) -> pb.GenericCommand:
    blacklist = pb.BlacklistCommand(
        srcCid=reply.conversation_id, blockedPids=reply.client_ids, next=reply.cursor or None
    )
    return _blacklist(pb.query_result, blacklist)


def _blocked_among(reply: replies.BlockedAmong) -> pb.GenericCommand:
    blacklist = pb.BlacklistCommand(srcCid=reply.conversation_id, blockedPids=reply.client_ids)
    return _blacklist(pb.check_result, blacklist)


def _refusals_changed(reply: replies.RefusalsChanged) -> pb.GenericCommand:
    # What was done is in `allowedPids` here, too: there is no field of its own for conversations.
    blacklist = pb.BlacklistCommand(toCids=reply.conversation_ids, allowedPids=reply.conversation_ids)
    return _blacklist(pb.blocked if reply.refused else pb.unblocked, blacklist)


def _refused_page(reply: replies.RefusedPage) -> pb.GenericCommand:
    blacklist = pb.BlacklistCommand(blockedCids=reply.conversation_ids, next=reply.cursor or None)
    return _blacklist(pb.query_result, blacklist)


def _refused_among(reply: replies.RefusedAmong) -> pb.GenericCommand:
    return _blacklist(pb.check_result, pb.BlacklistCommand(blockedCids=reply.conversation_ids))


def _notices(reply: replies.Notices) -> pb.GenericCommand:
    page = notices_of_js(reply)
    native = pb.NativeCommand(notifications=msgspec.json.encode(page["notifications"]), hasMore=page["hasMore"])
    return pb.GenericCommand(cmd=pb.session, op=pb.notifications_result, nativeMessage=native)


def _watching(reply: replies.Watching) -> pb.GenericCommand:
    presence = pb.PresenceCommand(status=pb.on, sessionPeerIds=reply.online)
    return pb.GenericCommand(cmd=pb.presence, op=pb.subscribed, presenceMessage=presence)


def _unwatched(reply: replies.Unwatched) -> pb.GenericCommand:
    return pb.GenericCommand(cmd=pb.presence, op=pb.unsubscribed)


def _logged_in(reply: replies.LoggedIn) -> pb.GenericCommand:
    generic = pb.GenericCommand(cmd=pb.loggedin, service=reply.service or 0)
    generic.loggedinMessage.pushDisabled = False
    if reply.installation_id:
        generic.installationId = reply.installation_id
    return generic


def _device_reported(reply: replies.DeviceReported) -> pb.GenericCommand:
    return pb.GenericCommand(cmd=pb.report, op=pb.uploaded)


_WRITERS: dict[type[replies.Reply], Callable[[Any], pb.GenericCommand]] = {
    replies.Opened: _opened,
    replies.Refreshed: _refreshed,
    replies.Closed: _closed,
    replies.OnlineClients: _online_clients,
    replies.Started: _started,
    replies.MembersChanged: _members_changed,
    replies.Found: _found,
    replies.Updated: _updated,
    replies.Muted: _muted,
    replies.Counted: _counted,
    replies.Memberships: _memberships,
    replies.History: _history,
    replies.Patched: _patched,
    replies.Receipts: _receipts,
    replies.MemberReceipts: _member_receipts,
    replies.Occupants: _occupants,
    replies.RoleSet: _role_set,
    replies.Roles: _roles,
    replies.SilenceChanged: _silence_changed,
    replies.SilencedPage: _silenced_page,
    replies.SilencedAmong: _silenced_among,
    replies.BlocksChanged: _blocks_changed,
    replies.BlockedPage: _blocked_page,
    replies.BlockedAmong: _blocked_among,
    replies.RefusalsChanged: _refusals_changed,
    replies.RefusedPage: _refused_page,
    replies.RefusedAmong: _refused_among,
    replies.Notices: _notices,
    replies.Watching: _watching,
    replies.Unwatched: _unwatched,
    replies.LoggedIn: _logged_in,
    replies.DeviceReported: _device_reported,
}


def _addressed(generic: pb.GenericCommand, serial: int | None, client_id: str | None) -> bytes:
    if serial is not None:
        generic.i = serial
    if client_id:
        generic.peerId = client_id
    if not generic.HasField("service"):
        generic.service = INSTANT_MESSAGING
    return bytes(generic.SerializeToString())


def _blacklist(op: pb.OpType, blacklist: pb.BlacklistCommand) -> pb.GenericCommand:
    return pb.GenericCommand(cmd=pb.blacklist, op=op, blacklistMessage=blacklist)


def _failures(failed: tuple[PartialFailure, ...]) -> list[pb.ErrorCommand]:
    return [failure(one.refusal, one.client_ids) for one in failed]


def _log_item(message: Message, kind: int, receipt: MemberReceipt | None) -> pb.LogItem:
    item = pb.LogItem(
        sender=message.sender,
        data=b64encode(message.body) if message.binary else message.body,
        timestamp=message.timestamp,
        msgId=message.id,
        mentionPids=message.mentions,
        convType=kind,
    )
    if message.binary:
        item.bin = True
    if message.mention_all:
        item.mentionAll = True
    if message.patched_at:
        item.patchTimestamp = message.patched_at
    if receipt is not None and message.sender != receipt.client_id:
        if message.timestamp <= receipt.delivered_at:
            item.ackAt = receipt.delivered_at
        if message.timestamp <= receipt.read_at:
            item.readAt = receipt.read_at
    return item
