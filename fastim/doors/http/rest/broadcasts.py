"""Broadcasts: what a service conversation says to everybody. Source: REST reference, clients and global."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from fastim.core.broadcast import Broadcast
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import ConversationNotFound, SystemConversationRequired
from fastim.core.units import Millis
from fastim.doors.http.rest.authentication import Access
from fastim.doors.http.rest.calls import NOTHING, Asked, Call, Nothing
from fastim.doors.http.rest.sending import NewMessage, PushData, compose, sent, speaker
from fastim.doors.http.rest.values import ClientId, Moment, Sent
from fastim.runtime.spending import Spending
from fastim.service.broadcasts import delete_broadcast, list_broadcasts, send_to_everybody
from fastim.service.finding import find_living
from fastim.service.io import Io

_TAG = "Broadcasts"
_PATH = "/1.2/rtm/broadcasts"


class NewBroadcast(Struct, frozen=True):
    """A message to everybody.

    Attributes:
        conv_id: The service conversation that says it.
        valid_till: Who logs in later does not get it; at most 30 days from now, which is the default.
        push: Taken and not used: what is said to everybody is pushed to nobody.
        transient: Only those who are online now get it.
    """

    from_client: ClientId
    conv_id: str
    message: str
    valid_till: Moment | None = None
    push: PushData | None = None
    transient: bool = False


class BroadcastQuery(Struct, frozen=True):
    """Which broadcasts, newest first."""

    conv_id: str
    skip: Annotated[int, Meta(ge=0, le=10_000)] = 0
    limit: Annotated[int, Meta(ge=0, le=1000)] = 100


class Broadcasted(
    Struct,
    frozen=True,
    rename={
        "conversation_id": "conv-id",
        "sender": "from",
        "message_id": "msg-id",
        "address": "from-ip",
        "valid_till": "valid-till",
    },
):
    """A message to everybody that has not expired."""

    timestamp: int
    conversation_id: str
    data: str
    sender: str
    message_id: str
    address: str
    valid_till: int


async def send(io: Io, new: NewBroadcast, address: str) -> Sent:
    """Write to everybody."""
    conversation = await _service(io, new.conv_id)
    message = NewMessage(new.from_client, new.message, transient=new.transient, push_data=new.push)
    valid_till = None if new.valid_till is None else Millis(new.valid_till)
    session = speaker(new.from_client, address)
    return sent(await send_to_everybody(io, session, compose(conversation.id, message), valid_till))


async def current(io: Io, query: BroadcastQuery) -> list[Broadcasted]:
    """What a service conversation says to everybody."""
    conversation = await _service(io, query.conv_id)
    return [_told(one) for one in await list_broadcasts(io, conversation.id, query.skip, query.limit)]


async def _service(io: Io, conversation_id: str) -> Conversation:
    conversation = await find_living(io, conversation_id)
    if conversation is None:
        raise ConversationNotFound
    if conversation.kind is not Kind.SYSTEM:
        raise SystemConversationRequired
    return conversation


def _told(one: Broadcast) -> Broadcasted:
    return Broadcasted(
        timestamp=one.message.timestamp,
        conversation_id=one.conversation_id,
        data=one.message.body.decode(errors="replace"),
        sender=one.message.sender,
        message_id=one.message.id,
        address=one.message.address,
        valid_till=one.valid_till,
    )


async def _send(asked: Asked[Nothing, NewBroadcast]) -> Sent:
    return await send(asked.io, asked.body, asked.address)


async def _list(asked: Asked[BroadcastQuery, Nothing]) -> list[Broadcasted]:
    return await current(asked.io, asked.query)


async def _delete(asked: Asked[Nothing, Nothing]) -> Nothing:
    await delete_broadcast(asked.io, asked.path["message_id"])
    return NOTHING


CALLS: tuple[Call[Any, Any, Any], ...] = (
    Call(
        "POST",
        _PATH,
        Access.MASTER,
        "Write to everybody: to who is online now, and to who logs in before it expires.",
        _TAG,
        _send,
        body=NewBroadcast,
        reply=Sent,
        spending=Spending.BROADCASTS,
    ),
    Call(
        "GET",
        _PATH,
        Access.MASTER,
        "What a service conversation says to everybody and has not expired.",
        _TAG,
        _list,
        query=BroadcastQuery,
        reply=list[Broadcasted],
    ),
    Call(
        "DELETE",
        f"{_PATH}/{{message_id}}",
        Access.MASTER,
        "Who has not got a message to everybody does not get it any more.",
        _TAG,
        _delete,
    ),
)
