"""From replies to bytes, with the request's serial exactly as it came."""

from base64 import b64encode
from collections.abc import Callable
from typing import Any

from fastim.core import commands, replies
from fastim.core.errors import CodedError
from fastim.core.message import Message
from fastim.core.units import iso
from fastim.wire import messages2_pb2 as pb
from fastim.wire.codec.parts import INSTANT_MESSAGING, failure, json_object
from fastim.wire.codec.requests import Request


def encode_reply(reply: replies.Reply, serial: int | None, client_id: str | None) -> bytes:
    """``reply`` as a body, with the request's serial exactly as it came."""
    generic = _WRITERS[type(reply)](reply)
    return _addressed(generic, serial, client_id)


def encode_error(request: Request, error: CodedError, client_id: str | None) -> bytes:
    """The answer to a request that was refused: an ``ack`` with a code for a message, an ``error`` for all else."""
    if isinstance(request.command, commands.Send):
        ack = pb.AckCommand(code=error.code, reason=error.reason)
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
    return pb.GenericCommand(cmd=pb.conv, op=pb.started, convMessage=conv)


def _members_changed(reply: replies.MembersChanged) -> pb.GenericCommand:
    conv = pb.ConvCommand(allowedPids=reply.allowed, udate=iso(reply.updated_at))
    for one in reply.failed:
        conv.failedPids.append(failure(one.refusal, one.client_ids))
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


def _acked(reply: replies.Acked) -> pb.GenericCommand:
    return pb.GenericCommand(cmd=pb.ack, ackMessage=pb.AckCommand(uid=reply.message_id, t=reply.timestamp))


def _history(reply: replies.History) -> pb.GenericCommand:
    logs = pb.LogsCommand(cid=reply.conversation_id, logs=[_log_item(one, reply.kind) for one in reply.messages])
    return pb.GenericCommand(cmd=pb.logs, logsMessage=logs)


def _echoed(reply: replies.Echoed) -> pb.GenericCommand:
    return pb.GenericCommand(cmd=pb.echo)


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
    replies.Acked: _acked,
    replies.History: _history,
    replies.Echoed: _echoed,
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


def _log_item(message: Message, kind: int) -> pb.LogItem:
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
    return item
