"""Members: who is in a conversation, and who wants no offline push from it. Source: REST reference."""

from functools import partial
from typing import Any

from fastim.core.commands import AddMembers, CountMembers, ListOccupants, RemoveMembers
from fastim.core.session import office
from fastim.core.units import iso
from fastim.doors.http.rest.authentication import Access
from fastim.doors.http.rest.calls import Asked, Call, Nothing
from fastim.doors.http.rest.families import CHAT_ROOMS, CONVERSATIONS, conversation_of
from fastim.doors.http.rest.values import ClientIds, ClientList, Number, Saved, failures
from fastim.service.conversations import count_members
from fastim.service.members import add_members, remove_members
from fastim.service.mutes import mute_members
from fastim.service.rooms import list_occupants

_MEMBERS = f"{CONVERSATIONS.one}/members"
_MUTES = f"{CONVERSATIONS.one}/mutes"
_OCCUPANTS = f"{CHAT_ROOMS.one}/members"


async def _add(asked: Asked[Nothing, ClientIds]) -> Saved:
    conversation = await conversation_of(CONVERSATIONS, asked)
    command = AddMembers(conversation.id, tuple(asked.body.client_ids))
    changed = await add_members(asked.io, office(), command)
    return Saved(iso(changed.updated_at), conversation.id, failures(changed.allowed, changed.failed))


async def _remove(asked: Asked[Nothing, ClientIds]) -> Saved:
    conversation = await conversation_of(CONVERSATIONS, asked)
    command = RemoveMembers(conversation.id, tuple(asked.body.client_ids))
    changed = await remove_members(asked.io, office(), command)
    return Saved(iso(changed.updated_at), conversation.id, failures(changed.allowed, changed.failed))


async def _list(asked: Asked[Nothing, Nothing]) -> ClientList:
    return ClientList(list((await conversation_of(CONVERSATIONS, asked)).members))


async def _mute(muted: bool, asked: Asked[Nothing, ClientIds]) -> Saved:
    conversation = await conversation_of(CONVERSATIONS, asked)
    done = await mute_members(asked.io, office(), conversation.id, asked.body.client_ids, muted=muted)
    return Saved(iso(done.updated_at), conversation.id)


async def _list_muted(asked: Asked[Nothing, Nothing]) -> ClientList:
    return ClientList(list((await conversation_of(CONVERSATIONS, asked)).muted))


async def _list_occupants(asked: Asked[Nothing, Nothing]) -> ClientList:
    conversation = await conversation_of(CHAT_ROOMS, asked)
    return ClientList(list((await list_occupants(asked.io, office(), ListOccupants(conversation.id))).client_ids))


async def _count_occupants(asked: Asked[Nothing, Nothing]) -> Number:
    conversation = await conversation_of(CHAT_ROOMS, asked)
    return Number((await count_members(asked.io, office(), CountMembers(conversation.id))).count)


CALLS: tuple[Call[Any, Any, Any], ...] = (
    Call(
        "POST",
        _MEMBERS,
        Access.MASTER,
        "Add members; everybody concerned is told.",
        CONVERSATIONS.tag,
        _add,
        body=ClientIds,
        reply=Saved,
    ),
    Call(
        "DELETE",
        _MEMBERS,
        Access.MASTER,
        "Remove members; everybody concerned is told.",
        CONVERSATIONS.tag,
        _remove,
        body=ClientIds,
        reply=Saved,
    ),
    Call("GET", _MEMBERS, Access.MASTER, "All members.", CONVERSATIONS.tag, _list, reply=ClientList),
    Call(
        "POST",
        _MUTES,
        Access.MASTER,
        "Members get no offline push from the conversation any more.",
        CONVERSATIONS.tag,
        partial(_mute, True),
        body=ClientIds,
        reply=Saved,
    ),
    Call(
        "DELETE",
        _MUTES,
        Access.MASTER,
        "Members get offline push again.",
        CONVERSATIONS.tag,
        partial(_mute, False),
        body=ClientIds,
        reply=Saved,
    ),
    Call(
        "GET",
        _MUTES,
        Access.MASTER,
        "Members who get no offline push.",
        CONVERSATIONS.tag,
        _list_muted,
        reply=ClientList,
    ),
    Call(
        "GET",
        _OCCUPANTS,
        Access.MASTER,
        "At most 50 of those who are in the chat room now, picked at random.",
        CHAT_ROOMS.tag,
        _list_occupants,
        reply=ClientList,
    ),
    Call(
        "GET",
        f"{_OCCUPANTS}/online-count",
        Access.MASTER,
        "How many are in the chat room now.",
        CHAT_ROOMS.tag,
        _count_occupants,
        reply=Number,
    ),
)
