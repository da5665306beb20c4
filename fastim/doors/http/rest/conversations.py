"""Conversations of every type: create, find, change, delete. Source: REST reference, sections 2 to 5."""

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from fastim.core.commands import QueryConversations, StartConversation, UpdateConversation
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import ConversationNotFound, QueryFailed
from fastim.core.session import office
from fastim.core.units import iso
from fastim.doors.http.rest.authentication import Access
from fastim.doors.http.rest.calls import NOTHING, Asked, BadRequest, Call, Nothing, read_body
from fastim.doors.http.rest.families import CHAT_ROOMS, CONVERSATIONS, FAMILIES, Family, conversation_of
from fastim.doors.http.rest.values import ClientId, ConversationQuery, Created, Results, Saved
from fastim.service.conversations import (
    count_conversations,
    delete_conversation,
    query_conversations,
    start_conversation,
    update_conversation,
)
from fastim.service.finding import find_living
from fastim.service.io import Io

LASTING = frozenset((Kind.NORMAL, Kind.CHAT_ROOM, Kind.SYSTEM))
"""The types of conversation that queries find."""


class NewConversation(Struct, frozen=True):
    """What a conversation begins with; any other key is a column of its own.

    Attributes:
        m: Its members, at most as many as it may have: what is beyond is left out.
        unique: Find the conversation with exactly these members, if there is one.
        c: Who created it and is its owner; without it nobody is.
    """

    name: str | None = None
    m: list[ClientId] = []
    unique: bool = False
    c: ClientId | None = None


class NewRoom(Struct, frozen=True):
    """What a chat room or a service conversation begins with; any other key is a column of its own."""

    name: str | None = None


class Columns(Struct, frozen=True):
    """Columns and their new values, which may be operations: ``{"__op": "Increment", "amount": 1}``."""

    name: Annotated[Any, Meta(description="A string, or an operation that deletes it.")] = None


class Started(Struct, frozen=True, omit_defaults=True):
    """The conversation that was created, or was there."""

    objectId: str
    createdAt: str
    updatedAt: str
    name: str | None
    m: list[str]
    unique: bool
    uniqueId: str | None = None


class _Found(Struct, frozen=True):
    """``Results``, whose text is there already."""

    results: Raw


async def create(io: Io, text: str, *, chat_room: bool = False, service: bool = False) -> Conversation:
    """The conversation that a body asks for, created or found.

    Args:
        text: A JSON object that is a ``NewConversation``.

    Raises:
        BadRequest: It is none.
        Refusal: There cannot be such a conversation.
    """
    known = read_body(text, NewConversation)
    command = StartConversation(
        members=tuple(known.m), attributes=text, unique=known.unique, chat_room=chat_room, service=service
    )
    started = await start_conversation(io, office(known.c or ""), command)
    conversation = await find_living(io, started.conversation_id)
    if conversation is None:
        raise ConversationNotFound("it was deleted again")
    return conversation


async def query(io: Io, asked: ConversationQuery, kinds: frozenset[Kind], *, default_order: str | None = None) -> Raw:
    """What a query finds among conversations of these types, as the JSON text of an array."""
    command = QueryConversations(
        where=_condition(asked.where, kinds),
        sort=asked.order or default_order,
        skip=asked.skip,
        limit=asked.limit,
    )
    return Raw((await query_conversations(io, office(), command)).results)


async def count(io: Io, where: str | None, kinds: frozenset[Kind]) -> int:
    """How many conversations of these types fit a condition."""
    return await count_conversations(io, office(), QueryConversations(where=_condition(where, kinds)))


def _condition(where: str | None, kinds: frozenset[Kind]) -> str:
    of_kinds = {"conv_type": {"$in": sorted(kinds)}}
    return narrowed(where, of_kinds) if where else msgspec.json.encode(of_kinds).decode()


def narrowed(where: str, condition: dict[str, Any]) -> str:
    """The condition that what stands in a query string and ``condition`` state together.

    Raises:
        BadRequest: It is not JSON.
        QueryFailed: It is not a JSON object.
    """
    try:
        found = msgspec.json.decode(where)
    except RecursionError as error:
        raise BadRequest("where: too many levels of objects and arrays") from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadRequest(f"where: {error}") from error
    if not isinstance(found, dict):
        raise QueryFailed("where is not a JSON object")
    # As it was written: what could just be read may be too deep to be written again from here.
    return f'{{"$and":[{where},{msgspec.json.encode(condition).decode()}]}}'


async def _create_conversation(asked: Asked[Nothing, NewConversation]) -> Started:
    conversation = await create(asked.io, asked.text)
    return Started(
        objectId=conversation.id,
        createdAt=iso(conversation.created_at),
        updatedAt=iso(conversation.updated_at),
        name=conversation.columns.get("name"),
        m=list(conversation.members),
        unique=conversation.unique_key is not None,
        uniqueId=conversation.unique_key,
    )


async def _create(family: Family, asked: Asked[Nothing, NewRoom]) -> Created:
    chat_room = family is CHAT_ROOMS
    conversation = await create(asked.io, asked.text, chat_room=chat_room, service=not chat_room)
    return Created(conversation.id, iso(conversation.created_at))


async def _query(kinds: frozenset[Kind], asked: Asked[ConversationQuery, Nothing]) -> _Found:
    return _Found(await query(asked.io, asked.query, kinds))


async def _update(family: Family, asked: Asked[Nothing, Columns]) -> Saved:
    conversation = await conversation_of(family, asked)
    updated = await update_conversation(asked.io, office(), UpdateConversation(conversation.id, asked.text))
    return Saved(iso(updated.updated_at), conversation.id)


async def _delete(family: Family, asked: Asked[Nothing, Nothing]) -> Nothing:
    await delete_conversation(asked.io, (await conversation_of(family, asked)).id)
    return NOTHING


def _calls_of(family: Family) -> Iterator[Call[Any, Any, Any]]:
    if family is CONVERSATIONS:
        yield Call(
            "POST",
            family.path,
            Access.MASTER,
            "Create a conversation, or find the unique one with these members.",
            family.tag,
            _create_conversation,
            body=NewConversation,
            reply=Started,
        )
    else:
        yield Call(
            "POST",
            family.path,
            Access.MASTER,
            f"Create a {family.noun}.",
            family.tag,
            partial(_create, family),
            body=NewRoom,
            reply=Created,
        )
    kinds = family.kinds - {Kind.TEMPORARY}
    yield Call(
        "GET",
        family.path,
        Access.MASTER,
        f"Find each {family.noun} that fits a condition.",
        family.tag,
        partial(_query, kinds),
        query=ConversationQuery,
        reply=Results,
    )
    yield Call(
        "PUT",
        family.one,
        Access.MASTER,
        f"Change columns of a {family.noun}; its members are told.",
        family.tag,
        partial(_update, family),
        body=Columns,
        reply=Saved,
    )
    yield Call(
        "DELETE",
        family.one,
        Access.MASTER,
        f"Delete a {family.noun} and its messages; nobody is told.",
        family.tag,
        partial(_delete, family),
    )


CALLS: tuple[Call[Any, Any, Any], ...] = (
    *(call for family in FAMILIES for call in _calls_of(family)),
    Call(
        "GET",
        "/1.2/rtm/all-conversations",
        Access.MASTER,
        "Find conversations of all types that fit a condition.",
        "Conversations",
        partial(_query, LASTING),
        query=ConversationQuery,
        reply=Results,
    ),
)
