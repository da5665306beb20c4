"""Service conversations: who subscribes, and what they are told. Source: REST reference, service conversations."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from fastim.core.commands import AddMembers, PatchMessage, RemoveMembers
from fastim.core.history import merged
from fastim.core.ids import personal_log
from fastim.core.message import Message, Position
from fastim.core.policy import ADDRESSEES_MAX
from fastim.core.session import Session, office
from fastim.core.units import Millis
from fastim.doors.http.rest.authentication import Access
from fastim.doors.http.rest.calls import NOTHING, Asked, Call, Nothing
from fastim.doors.http.rest.families import SERVICE_CONVERSATIONS, conversation_of
from fastim.doors.http.rest.history import span_of, tell
from fastim.doors.http.rest.sending import (
    NewBody,
    NewMessage,
    PushData,
    Sender,
    compose,
    modification,
    recall,
    sent,
    speaker,
)
from fastim.doors.http.rest.values import ClientId, Count, HistoryQuery, Logged, OneClient, Sent, Subscriber, failures
from fastim.runtime.spending import Spending
from fastim.service.broadcasts import patch_broadcast, send_to_clients, send_to_subscribers
from fastim.service.deletion import delete_message
from fastim.service.io import Io
from fastim.service.members import add_members, remove_members
from fastim.service.patches import patch_message

SUBSCRIBERS_MAX = 50

_FAMILY = SERVICE_CONVERSATIONS
_SUBSCRIBERS = f"{_FAMILY.one}/subscribers"
_MESSAGES = f"{_FAMILY.one}/messages"
_OF_SUBSCRIBER = f"{_SUBSCRIBERS}/{{client_id}}/messages"

Addressees = Annotated[list[ClientId], Meta(min_length=1, max_length=ADDRESSEES_MAX)]


class SubscriberQuery(Struct, frozen=True):
    """Which subscribers, in the order of their ids.

    Attributes:
        client_id: Those after this one.
    """

    limit: Annotated[int, Meta(ge=1, le=SUBSCRIBERS_MAX)] = SUBSCRIBERS_MAX
    client_id: str = ""


class Announcement(Struct, frozen=True):
    """A message to all subscribers; ``push`` is what those get as offline push who are not online."""

    from_client: ClientId
    message: str
    push: PushData | None = None

    @property
    def as_message(self) -> NewMessage:
        return NewMessage(self.from_client, self.message, push_data=self.push)


class Letter(NewMessage, frozen=True, kw_only=True):
    """A message to some clients, subscribers or not."""

    to_clients: Addressees


class NewLetterBody(NewBody, frozen=True, kw_only=True):
    """What a message is to say from now on; with ``to_clients`` one that only they got."""

    to_clients: Addressees | None = None


class LetterSender(Sender, frozen=True, kw_only=True):
    """Who sent a message, and when; with ``to_clients`` one that only they got."""

    to_clients: Addressees | None = None


async def find_patchable(
    io: Io, conversation_id: str, position: Position, to_clients: list[str] | None
) -> Message | None:
    """A message to some clients, or else to all subscribers; ``None`` when there is none."""
    logs = [personal_log(conversation_id, client_id) for client_id in to_clients or ()] or [conversation_id]
    for log_id in logs:
        message = await io.store.find_message(log_id, position)
        if message is not None:
            return message
    return None


async def patch_announcement(io: Io, session: Session, command: PatchMessage, to_clients: list[str] | None) -> None:
    """Modify or recall what a service conversation said to some clients, to all subscribers, or to everybody.

    Raises:
        MessageNotFound: It said no such thing, or not to each of them: the first who did not get it ends it.
    """
    for client_id in to_clients or ():
        await patch_message(io, session, command, owner=client_id)
    if to_clients:
        return
    if await io.store.find_message(command.conversation_id, command.position) is not None:
        await patch_message(io, session, command)
    else:
        await patch_broadcast(io, session, command)


async def subscribe(io: Io, conversation_id: str, client_id: str) -> None:
    """Make a client a subscriber; one who is stays one."""
    changed = await add_members(io, office(), AddMembers(conversation_id, (client_id,)))
    failures(changed.allowed, changed.failed)


async def unsubscribe(io: Io, conversation_id: str, client_id: str) -> None:
    """Make a client a subscriber no longer; whoever is none stays none."""
    changed = await remove_members(io, office(), RemoveMembers(conversation_id, (client_id,)))
    failures(changed.allowed, changed.failed)


async def _subscribe(asked: Asked[Nothing, OneClient]) -> Nothing:
    await subscribe(asked.io, (await conversation_of(_FAMILY, asked)).id, asked.body.client_id)
    return NOTHING


async def _unsubscribe(asked: Asked[Nothing, Nothing]) -> Nothing:
    await unsubscribe(asked.io, (await conversation_of(_FAMILY, asked)).id, asked.path["client_id"])
    return NOTHING


async def _list_subscribers(asked: Asked[SubscriberQuery, Nothing]) -> list[Subscriber]:
    conversation = await conversation_of(_FAMILY, asked)
    found = await asked.io.store.subscriptions(conversation.id, asked.query.client_id, asked.query.limit)
    return [Subscriber(one.since, one.client_id, one.conversation_id) for one in found]


async def _count_subscribers(asked: Asked[Nothing, Nothing]) -> Count:
    return Count(await asked.io.store.count_subscriptions((await conversation_of(_FAMILY, asked)).id))


async def _announce(asked: Asked[Nothing, Announcement]) -> Sent:
    conversation = await conversation_of(_FAMILY, asked)
    session = speaker(asked.body.from_client, asked.address)
    return sent(await send_to_subscribers(asked.io, session, compose(conversation.id, asked.body.as_message)))


async def _write(asked: Asked[Nothing, Letter]) -> Sent:
    conversation = await conversation_of(_FAMILY, asked)
    session = speaker(asked.body.from_client, asked.address)
    command = compose(conversation.id, asked.body)
    return sent(await send_to_clients(asked.io, session, command, asked.body.to_clients))


async def _modify(asked: Asked[Nothing, NewLetterBody]) -> Nothing:
    conversation = await conversation_of(_FAMILY, asked)
    position = Position(Millis(asked.body.timestamp), asked.path["message_id"])
    before = await find_patchable(asked.io, conversation.id, position, asked.body.to_clients)
    command = modification(conversation.id, position.message_id, asked.body, before)
    session = speaker(asked.body.from_client, asked.address)
    await patch_announcement(asked.io, session, command, asked.body.to_clients)
    return NOTHING


async def _recall(asked: Asked[Nothing, LetterSender]) -> Nothing:
    conversation = await conversation_of(_FAMILY, asked)
    command = recall(conversation.id, asked.path["message_id"], asked.body.timestamp)
    session = speaker(asked.body.from_client, asked.address)
    await patch_announcement(asked.io, session, command, asked.body.to_clients)
    return NOTHING


async def _delete(asked: Asked[Sender, Nothing]) -> Nothing:
    conversation = await conversation_of(_FAMILY, asked)
    position = Position(Millis(asked.query.timestamp), asked.path["message_id"])
    log_id = personal_log(conversation.id, asked.path["client_id"])
    await delete_message(asked.io, speaker(asked.query.from_client, asked.address), log_id, position)
    return NOTHING


async def _read(asked: Asked[HistoryQuery, Nothing]) -> list[Logged]:
    conversation = await conversation_of(_FAMILY, asked)
    span = span_of(asked.query)
    own = await asked.io.store.history(personal_log(conversation.id, asked.path["client_id"]), span)
    shared = await asked.io.store.history(conversation.id, span)
    return await tell(asked.io, conversation, merged(own, shared, span), asked.query)


CALLS: tuple[Call[Any, Any, Any], ...] = (
    Call(
        "POST",
        _SUBSCRIBERS,
        Access.APPLICATION,
        "Make a client a subscriber.",
        _FAMILY.tag,
        _subscribe,
        body=OneClient,
    ),
    Call(
        "DELETE",
        f"{_SUBSCRIBERS}/{{client_id}}",
        Access.APPLICATION,
        "Make a client a subscriber no longer.",
        _FAMILY.tag,
        _unsubscribe,
    ),
    Call(
        "GET",
        _SUBSCRIBERS,
        Access.MASTER,
        "Subscribers, in the order of their ids.",
        _FAMILY.tag,
        _list_subscribers,
        query=SubscriberQuery,
        reply=list[Subscriber],
    ),
    Call(
        "GET",
        f"{_SUBSCRIBERS}/count",
        Access.MASTER,
        "How many subscribers there are.",
        _FAMILY.tag,
        _count_subscribers,
        reply=Count,
    ),
    Call(
        "POST",
        f"{_FAMILY.one}/broadcasts",
        Access.MASTER,
        "Write to all subscribers.",
        _FAMILY.tag,
        _announce,
        body=Announcement,
        reply=Sent,
        spending=Spending.SUBSCRIBER_BROADCASTS,
    ),
    Call(
        "POST",
        _MESSAGES,
        Access.MASTER,
        "Write to some clients, subscribers or not; each gets it alone.",
        _FAMILY.tag,
        _write,
        body=Letter,
        reply=Sent,
        spending=Spending.SENDS,
    ),
    Call(
        "PUT",
        f"{_MESSAGES}/{{message_id}}",
        Access.MASTER,
        "Change what a message says. Whoever has got it as a broadcast to everybody keeps what they have.",
        _FAMILY.tag,
        _modify,
        body=NewLetterBody,
        spending=Spending.SENDS,
    ),
    Call(
        "PUT",
        f"{_MESSAGES}/{{message_id}}/recall",
        Access.MASTER,
        "Take a message back. Whoever has got it as a broadcast to everybody keeps what they have.",
        _FAMILY.tag,
        _recall,
        body=LetterSender,
        spending=Spending.SENDS,
    ),
    Call(
        "DELETE",
        f"{_OF_SUBSCRIBER}/{{message_id}}",
        Access.MASTER,
        "Delete here what was written to one client alone; its devices keep what they have.",
        _FAMILY.tag,
        _delete,
        query=Sender,
    ),
    Call(
        "GET",
        _OF_SUBSCRIBER,
        Access.MASTER,
        "What the service conversation and one client have written to each other, and what was written to all "
        "subscribers, newest first.",
        _FAMILY.tag,
        _read,
        query=HistoryQuery,
        reply=list[Logged],
    ),
)
