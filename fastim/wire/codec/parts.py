"""Pieces that replies and pushes share."""

from typing import TypeVar

from fastim.core.errors import CodedError, RejectedByHook
from fastim.core.standing import Role
from fastim.wire import messages2_pb2 as pb

Answer = TypeVar("Answer", pb.AckCommand, pb.ErrorCommand)

INSTANT_MESSAGING = 2
"""``service`` of everything that is about messages; Swift and ObjC drop a push without it."""

RELIABLE = 1
"""``notificationType`` of events that JS moves its cursor for."""


def failure(error: CodedError, client_ids: tuple[str, ...] = ()) -> pb.ErrorCommand:
    """``error`` as clients are told it, with the clients it concerns when it is a part of a request that failed."""
    entry = pb.ErrorCommand(code=error.code, reason=error.reason, pids=client_ids)
    if error.detail:
        entry.detail = error.detail
    return told(error, entry)


def told(error: CodedError, entry: Answer) -> Answer:
    """``entry`` with what a hook of the application's has to say, if it was one that refused."""
    if isinstance(error, RejectedByHook):
        if error.app_code:
            entry.appCode = error.app_code
        if error.app_message:
            entry.appMsg = error.app_message
    return entry


def json_object(text: bytes) -> pb.JsonObjectMessage:
    """JSON text as a message."""
    return pb.JsonObjectMessage(data=text.decode())


def member_info(client_id: str, role: Role, record_id: str | None = None) -> pb.ConvMemberInfo:
    """A member's role, with the id of its record where that is known."""
    return pb.ConvMemberInfo(pid=client_id, role=role.wire_name, infoId=record_id)
