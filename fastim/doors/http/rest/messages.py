"""Messages of conversations and chat rooms: send, read, change, recall, delete. Source: REST reference."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from fastim.core.message import Position
from fastim.core.units import Millis
from fastim.doors.http.rest.authentication import Access
from fastim.doors.http.rest.calls import NOTHING, Asked, Call, Nothing
from fastim.doors.http.rest.families import CHAT_ROOMS, CONVERSATIONS, Family, conversation_of
from fastim.doors.http.rest.history import span_of, tell_history, tell_kept
from fastim.doors.http.rest.sending import NewBody, NewMessage, Sender, compose, modification, recall, sent, speaker
from fastim.doors.http.rest.values import HistoryQuery, Logged, Sent
from fastim.runtime.spending import Spending
from fastim.service.archive import search_archive
from fastim.service.deletion import delete_message
from fastim.service.messages import send_message
from fastim.service.patches import patch_message


async def _send(family: Family, asked: Asked[Nothing, NewMessage]) -> Sent:
    conversation = await conversation_of(family, asked)
    session = speaker(asked.body.from_client, asked.address)
    return sent(await send_message(asked.io, session, compose(conversation.id, asked.body)))


async def _read(family: Family, asked: Asked[HistoryQuery, Nothing]) -> list[Logged]:
    return await tell_history(asked.io, await conversation_of(family, asked), asked.query)


async def _modify(family: Family, asked: Asked[Nothing, NewBody]) -> Nothing:
    conversation = await conversation_of(family, asked)
    message_id = asked.path["message_id"]
    before = await asked.io.store.find_message(conversation.id, Position(Millis(asked.body.timestamp), message_id))
    command = modification(conversation.id, message_id, asked.body, before)
    await patch_message(asked.io, speaker(asked.body.from_client, asked.address), command)
    return NOTHING


async def _recall(family: Family, asked: Asked[Nothing, Sender]) -> Nothing:
    conversation = await conversation_of(family, asked)
    command = recall(conversation.id, asked.path["message_id"], asked.body.timestamp)
    await patch_message(asked.io, speaker(asked.body.from_client, asked.address), command)
    return NOTHING


async def _delete(family: Family, asked: Asked[Sender, Nothing]) -> Nothing:
    conversation = await conversation_of(family, asked)
    position = Position(Millis(asked.query.timestamp), asked.path["message_id"])
    await delete_message(asked.io, speaker(asked.query.from_client, asked.address), conversation.id, position)
    return NOTHING


async def _read_all(asked: Asked[HistoryQuery, Nothing]) -> list[Logged]:
    return tell_kept(await search_archive(asked.io, span_of(asked.query)), asked.query)


def _calls_of(family: Family) -> Iterator[Call[Any, Any, Any]]:
    messages = f"{family.one}/messages"
    one = f"{messages}/{{message_id}}"
    yield Call(
        "POST",
        messages,
        Access.MASTER,
        f"Send a message to a {family.noun} in a client's name.",
        family.tag,
        partial(_send, family),
        body=NewMessage,
        reply=Sent,
        spending=Spending.SENDS,
    )
    yield Call(
        "GET",
        messages,
        Access.MASTER,
        f"The messages of a {family.noun}, newest first.",
        family.tag,
        partial(_read, family),
        query=HistoryQuery,
        reply=list[Logged],
    )
    yield Call(
        "PUT",
        one,
        Access.MASTER,
        "Change what a message says; all devices are told.",
        family.tag,
        partial(_modify, family),
        body=NewBody,
        spending=Spending.SENDS,
    )
    yield Call(
        "PUT",
        f"{one}/recall",
        Access.MASTER,
        "Take a message back; all devices are told.",
        family.tag,
        partial(_recall, family),
        body=Sender,
        spending=Spending.SENDS,
    )
    yield Call(
        "DELETE",
        one,
        Access.MASTER,
        "Delete a message here; devices keep what they have.",
        family.tag,
        partial(_delete, family),
        query=Sender,
    )


CALLS: tuple[Call[Any, Any, Any], ...] = (
    *_calls_of(CONVERSATIONS),
    *_calls_of(CHAT_ROOMS),
    Call(
        "GET",
        "/1.2/rtm/messages",
        Access.MASTER,
        "The messages of all conversations, newest first.",
        "Application",
        _read_all,
        query=HistoryQuery,
        reply=list[Logged],
    ),
)
