"""Messages that an application sends in a client's name: what all calls for that have in common."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from fastim.core.commands import PatchMessage, Send
from fastim.core.errors import InvalidLogin
from fastim.core.ids import is_client_id
from fastim.core.message import Message, Position
from fastim.core.replies import Acked
from fastim.core.session import Session, office
from fastim.core.units import Millis
from fastim.doors.http.rest.values import ClientId, Mentions, Moment, Sent

PRIORITIES = {"high": 1, "normal": 2, "low": 3}
Priority = Annotated[
    str,
    Meta(
        pattern="^([Hh][Ii][Gg][Hh]|[Nn][Oo][Rr][Mm][Aa][Ll]|[Ll][Oo][Ww])$",
        description="`high`, `normal` or `low`; counts in chat rooms.",
    ),
]
PushData = Annotated[dict[str, Any] | str, Meta(description="What is pushed to who is offline; not what is delivered.")]


class NewMessage(Struct, frozen=True):
    """A message.

    Attributes:
        from_client: In whose name it is sent; whether that client may send it is not asked.
        transient: Only for those who are online now; it is not stored.
        no_sync: The devices of ``from_client`` do not get it.
    """

    from_client: ClientId
    message: str
    transient: bool = False
    no_sync: bool = False
    push_data: PushData | None = None
    priority: Priority = "normal"
    mention_all: bool = False
    mention_client_ids: Mentions = []


class NewBody(Struct, frozen=True):
    """What a message is to say from now on.

    Attributes:
        from_client: Who sent it.
        timestamp: When; it has to be right.
    """

    from_client: ClientId
    message: str
    timestamp: Moment
    mention_all: bool | None = None
    mention_client_ids: Mentions | None = None


class Sender(Struct, frozen=True):
    """Who sent a message, and when; both have to be right."""

    from_client: ClientId
    timestamp: Moment


def speaker(client_id: str, address: str) -> Session:
    """The application, in the name of a client.

    Raises:
        InvalidLogin: No client can be called that.
    """
    if not is_client_id(client_id):
        raise InvalidLogin
    return office(client_id, address)


def compose(conversation_id: str, message: NewMessage) -> Send:
    """The command that sends ``message``."""
    body = message.message.encode()
    push_data = _as_text(message.push_data)
    return Send(
        conversation_id=conversation_id,
        body=body,
        size_bytes=_size_bytes(body, push_data, message.mention_client_ids),
        transient=message.transient,
        push_data=push_data,
        mentions=tuple(message.mention_client_ids),
        mention_all=message.mention_all,
        priority=PRIORITIES[message.priority.lower()],
        sync=not message.no_sync,
    )


def modification(conversation_id: str, message_id: str, new: NewBody, before: Message | None) -> PatchMessage:
    """The command that changes a message.

    Args:
        before: The message as it is; whom it mentions stays as it was unless ``new`` says otherwise.
    """
    body = new.message.encode()
    mentions = tuple(before.mentions if before and new.mention_client_ids is None else new.mention_client_ids or ())
    mention_all = before.mention_all if before and new.mention_all is None else bool(new.mention_all)
    return PatchMessage(
        conversation_id,
        Position(Millis(new.timestamp), message_id),
        body=body,
        mentions=mentions,
        mention_all=mention_all,
        size_bytes=_size_bytes(body, "", mentions),
    )


def recall(conversation_id: str, message_id: str, timestamp: int) -> PatchMessage:
    """The command that takes a message back."""
    return PatchMessage(conversation_id, Position(Millis(timestamp), message_id), recall=True)


def sent(acked: Acked | None) -> Sent:
    """What was sent, as REST answers it."""
    assert acked is not None  # the application is always told
    return Sent(acked.message_id, acked.timestamp)


def _as_text(push_data: dict[str, Any] | str | None) -> str:
    if push_data is None or isinstance(push_data, str):
        return push_data or ""
    return msgspec.json.encode(push_data).decode()


def _size_bytes(body: bytes, push_data: str, mentions: Sequence[str]) -> int:
    """All that travels with a message counts. Source: REST reference, conversations."""
    return len(body) + len(push_data.encode()) + sum(len(one.encode()) for one in mentions)
