"""Silence, blacklists and roles. Source: REST reference, sections 2 and 3."""

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from fastim.core.commands import ChangeBlocks, ChangeSilence, ListBlocked, ListRoles, ListSilenced, Page, SetRole
from fastim.core.session import office
from fastim.core.units import iso
from fastim.doors.http.rest.authentication import Access
from fastim.doors.http.rest.calls import NOTHING, Asked, Call, Nothing, NotThere
from fastim.doors.http.rest.families import CHAT_ROOMS, CONVERSATIONS, FAMILIES, Family, conversation_of
from fastim.doors.http.rest.values import (
    ClientId,
    ClientIds,
    ClientPage,
    Done,
    OneClient,
    PageQuery,
    Saved,
    Silence,
    failures,
)
from fastim.service.governance import (
    change_blocks,
    change_role_record,
    change_silence,
    delete_role_record,
    give_role,
    list_blocked,
    list_roles,
    list_silenced,
    silence_for_a_time,
)

RoleName = Literal["Member", "Manager", "Owner"]


class MemberInfo(Struct, frozen=True):
    """A client and its role."""

    clientId: ClientId
    role: RoleName


class NewRole(Struct, frozen=True):
    """A role."""

    role: RoleName


class MemberInfoQuery(Struct, frozen=True):
    """Which of the roles that were given."""

    skip: Annotated[int, Meta(ge=0, le=10_000)] = 0
    limit: Annotated[int, Meta(ge=0, le=1000)] = 100
    role: RoleName | None = None


class MemberInfoItem(Struct, frozen=True):
    """A role that was given."""

    clientId: str
    objectId: str
    role: str


class MemberInfos(Struct, frozen=True):
    """Roles that were given."""

    results: list[MemberInfoItem]


async def _silence_for_a_time(family: Family, asked: Asked[Nothing, Silence]) -> Nothing:
    conversation = await conversation_of(family, asked)
    await silence_for_a_time(asked.io, office(), conversation.id, asked.body.client_id, asked.body.ttl)
    return NOTHING


async def _end_silence(family: Family, asked: Asked[OneClient, Nothing]) -> Nothing:
    conversation = await conversation_of(family, asked)
    await silence_for_a_time(asked.io, office(), conversation.id, asked.query.client_id, 0)
    return NOTHING


async def _silence(family: Family, silenced: bool, asked: Asked[Nothing, ClientIds]) -> Done:
    conversation = await conversation_of(family, asked)
    command = ChangeSilence(conversation.id, tuple(asked.body.client_ids), silenced)
    changed = await change_silence(asked.io, office(), command)
    return Done(failures(changed.allowed, changed.failed))


async def _list_silenced(family: Family, asked: Asked[PageQuery, Nothing]) -> ClientPage:
    conversation = await conversation_of(family, asked)
    found = await list_silenced(asked.io, office(), ListSilenced(conversation.id, _page(asked.query)))
    return ClientPage(list(found.client_ids), found.cursor or None)


async def _block(family: Family, blocked: bool, asked: Asked[Nothing, ClientIds]) -> Done:
    conversation = await conversation_of(family, asked)
    command = ChangeBlocks(conversation.id, tuple(asked.body.client_ids), blocked)
    changed = await change_blocks(asked.io, office(), command)
    return Done(failures(changed.allowed, changed.failed))


async def _list_blocked(family: Family, asked: Asked[PageQuery, Nothing]) -> ClientPage:
    conversation = await conversation_of(family, asked)
    found = await list_blocked(asked.io, office(), ListBlocked(conversation.id, _page(asked.query)))
    return ClientPage(list(found.client_ids), found.cursor or None)


async def _give_role(family: Family, asked: Asked[Nothing, MemberInfo]) -> Saved:
    conversation = await conversation_of(family, asked)
    record = await give_role(asked.io, office(), SetRole(conversation.id, asked.body.clientId, asked.body.role))
    return Saved(iso(asked.io.clock.now()), record.id)


async def _change_role(family: Family, asked: Asked[Nothing, NewRole]) -> Saved:
    conversation = await conversation_of(family, asked)
    info_id = asked.path["info_id"]
    if await change_role_record(asked.io, office(), conversation.id, info_id, asked.body.role) is None:
        raise NotThere("no such member info")
    return Saved(iso(asked.io.clock.now()), info_id)


async def _delete_role(family: Family, asked: Asked[Nothing, Nothing]) -> Nothing:
    conversation = await conversation_of(family, asked)
    if not await delete_role_record(asked.io, office(), conversation.id, asked.path["info_id"]):
        raise NotThere("no such member info")
    return NOTHING


async def _list_roles(family: Family, asked: Asked[MemberInfoQuery, Nothing]) -> MemberInfos:
    conversation = await conversation_of(family, asked)
    found = await list_roles(asked.io, office(), ListRoles(conversation.id))
    wanted = asked.query.role
    items = [
        MemberInfoItem(one.client_id, one.id, one.role.wire_name)
        for one in found.records
        if wanted in (None, one.role.wire_name)
    ]
    return MemberInfos(items[asked.query.skip :][: asked.query.limit])


def _page(query: PageQuery) -> Page:
    return Page(query.next, query.limit)


def _temporary(family: Family) -> Iterator[Call[Any, Any, Any]]:
    path = f"{family.one}/temporary-silenceds"
    yield Call(
        "POST",
        path,
        Access.MASTER,
        "Keep a client from sending for some seconds.",
        family.tag,
        partial(_silence_for_a_time, family),
        body=Silence,
    )
    yield Call(
        "DELETE",
        path,
        Access.MASTER,
        "Let it send again before they have passed.",
        family.tag,
        partial(_end_silence, family),
        query=OneClient,
    )


def _lasting(family: Family) -> Iterator[Call[Any, Any, Any]]:
    silenceds, blacklists = f"{family.one}/permanent-silenceds", f"{family.one}/blacklists"
    yield Call(
        "POST",
        silenceds,
        Access.MASTER,
        "Keep clients from sending.",
        family.tag,
        partial(_silence, family, True),
        body=ClientIds,
        reply=Done,
    )
    yield Call(
        "DELETE",
        silenceds,
        Access.MASTER,
        "Let clients send again.",
        family.tag,
        partial(_silence, family, False),
        body=ClientIds,
        reply=Done,
    )
    yield Call(
        "GET",
        silenceds,
        Access.MASTER,
        "Who may not send.",
        family.tag,
        partial(_list_silenced, family),
        query=PageQuery,
        reply=ClientPage,
    )
    yield Call(
        "POST",
        blacklists,
        Access.MASTER,
        "Block clients: they are members no longer, and cannot come back.",
        family.tag,
        partial(_block, family, True),
        body=ClientIds,
        reply=Done,
    )
    yield Call(
        "DELETE",
        blacklists,
        Access.MASTER,
        "Let clients come back.",
        family.tag,
        partial(_block, family, False),
        body=ClientIds,
        reply=Done,
    )
    yield Call(
        "GET",
        blacklists,
        Access.MASTER,
        "Who is blocked.",
        family.tag,
        partial(_list_blocked, family),
        query=PageQuery,
        reply=ClientPage,
    )


def _roles(family: Family) -> Iterator[Call[Any, Any, Any]]:
    infos = f"{family.one}/member-infos"
    one = f"{infos}/{{info_id}}"
    yield Call(
        "POST",
        infos,
        Access.MASTER,
        "Give a client a role.",
        family.tag,
        partial(_give_role, family),
        body=MemberInfo,
        reply=Saved,
    )
    yield Call(
        "PUT",
        one,
        Access.MASTER,
        "Give the client whose member info it is another role.",
        family.tag,
        partial(_change_role, family),
        body=NewRole,
        reply=Saved,
    )
    yield Call(
        "DELETE",
        one,
        Access.MASTER,
        "Make the client whose member info it is an ordinary member.",
        family.tag,
        partial(_delete_role, family),
    )
    yield Call(
        "GET",
        infos,
        Access.MASTER,
        "The roles that were given; who created a conversation is its owner without one.",
        family.tag,
        partial(_list_roles, family),
        query=MemberInfoQuery,
        reply=MemberInfos,
    )


CALLS: tuple[Call[Any, Any, Any], ...] = (
    *(call for family in FAMILIES for call in _temporary(family)),
    *(call for family in (CONVERSATIONS, CHAT_ROOMS) for call in (*_lasting(family), *_roles(family))),
)
