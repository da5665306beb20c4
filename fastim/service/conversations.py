"""Conversations: start, find, change their attributes, mute, count."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

from fastim.core.attributes import apply_update
from fastim.core.commands import (
    CheckMembership,
    CountMembers,
    MuteConversation,
    QueryConversations,
    StartConversation,
    UpdateConversation,
)
from fastim.core.conversation import Conversation, changed_at
from fastim.core.errors import QueryFailed
from fastim.core.events import ConversationStarted, ConversationUpdated
from fastim.core.ids import CONVERSATION_ENTROPY_BYTES, conversation_id
from fastim.core.members import mute, start
from fastim.core.permission import permitted
from fastim.core.policy import IDS_PER_COMMAND_MAX, QUERY_LIMIT_DEFAULT, QUERY_LIMIT_MAX
from fastim.core.record import record, with_last_message
from fastim.core.replies import Counted, Found, Memberships, Muted, Started, Updated
from fastim.core.session import Session
from fastim.core.where import Where, compile_where, sort_records
from fastim.service.io import Io
from fastim.service.signatures import required_signature, use


async def start_conversation(io: Io, session: Session, command: StartConversation) -> Started:
    """Create a conversation, unless it is to be unique and there is one already."""
    signature = await required_signature(io, session.client_id, command)
    now = io.clock.now()
    new_id = conversation_id(now, io.entropy(CONVERSATION_ENTROPY_BYTES))
    wanted = start(command, session.client_id, new_id, io.policy, now)
    await use(io, signature, command)
    conversation = await io.store.create_conversation(wanted)
    fresh = conversation.id == wanted.id
    if fresh:
        event = ConversationStarted(wanted.id, wanted.kind, wanted.members, by=session.client_id, at=now)
        await io.bus.publish(event)
    return Started(conversation.id, conversation.created_at, not fresh, conversation.unique_key)


async def query_conversations(io: Io, session: Session, command: QueryConversations) -> Found:
    """Conversations that fit a condition; without one, those that the asker belongs to."""
    limit = QUERY_LIMIT_DEFAULT if command.limit is None else command.limit
    if limit < 0 or command.skip < 0:
        raise QueryFailed("skip or limit is negative")
    where = compile_where(command.where)
    matching: list[dict[str, Any]] = []
    if limit:
        async with aclosing(_candidates(io, session, command, where)) as candidates:
            async for conversation in candidates:
                head = await io.store.find_head(conversation.id)
                candidate = record(conversation, head, session.client_id)
                if where.matches(candidate):
                    matching.append(candidate)
    page = sort_records(matching, command.sort)[command.skip : command.skip + min(limit, QUERY_LIMIT_MAX)]
    if command.with_last_message:
        page = [await _refreshed(io, found) for found in page]
    if command.compact:
        page = [{**found, "m": []} for found in page]
    return Found(msgspec.json.encode(page))


async def update_conversation(io: Io, session: Session, command: UpdateConversation) -> Updated:
    """Change attributes, then tell the members."""
    async with io.lanes.hold(command.conversation_id):
        found = await io.store.find_conversation(command.conversation_id)
        conversation = permitted(found, session.client_id, command)
        asked = command.attributes or "{}"
        change = apply_update(conversation.columns, asked)
        at = changed_at(conversation, io.clock.now())
        await io.store.change_conversation(msgspec.structs.replace(conversation, columns=change.columns, updated_at=at))
    modified = msgspec.json.encode(change.modified)
    event = ConversationUpdated(
        conversation.id,
        conversation.members,
        by=session.client_id,
        origin=session.number,
        at=at,
        asked=asked.encode(),
        modified=modified,
    )
    await io.bus.publish(event)
    return Updated(conversation.id, at, asked.encode(), modified)


async def mute_conversation(io: Io, session: Session, command: MuteConversation) -> Muted:
    """Switch one's own offline push from it off or on."""
    async with io.lanes.hold(command.conversation_id):
        found = await io.store.find_conversation(command.conversation_id)
        conversation = permitted(found, session.client_id, command)
        muted = mute(conversation, session.client_id, command.muted, io.clock.now())
        if muted is not conversation:
            await io.store.change_conversation(muted)
    return Muted(muted.id, muted.updated_at)


async def count_members(io: Io, session: Session, command: CountMembers) -> Counted:
    """How many members it has."""
    found = await io.store.find_conversation(command.conversation_id)
    return Counted(len(permitted(found, session.client_id, command).members))


async def check_membership(io: Io, session: Session, command: CheckMembership) -> Memberships:
    """Whether the asker belongs to each; what does not exist counts as no."""
    if len(command.conversation_ids) > IDS_PER_COMMAND_MAX:
        raise QueryFailed(f"at most {IDS_PER_COMMAND_MAX} conversations at a time")
    results = {}
    for one in command.conversation_ids:
        conversation = await io.store.find_conversation(one)
        results[one] = conversation is not None and conversation.has_member(session.client_id)
    return Memberships(msgspec.json.encode(results))


async def _candidates(
    io: Io, session: Session, command: QueryConversations, where: Where
) -> AsyncGenerator[Conversation, None]:
    """What the condition could fit, by the narrowest way there is; the condition itself is still to be checked."""
    ids = command.temporary_ids or where.ids()
    if ids is None and (where.is_empty or where.members()):
        ids = tuple(await io.store.conversation_ids_of(session.client_id if where.is_empty else where.members()[0]))
    if ids is not None:
        for one in dict.fromkeys(ids):
            conversation = await io.store.find_conversation(one)
            if conversation is not None:
                yield conversation
        return
    seen = 0
    async with aclosing(io.store.scan_conversations()) as scan:
        async for conversation in scan:
            seen += 1
            if seen > io.policy.query_scan:
                raise QueryFailed("the query looks at too much: narrow it by objectId or by m")
            yield conversation


async def _refreshed(io: Io, found: dict[str, Any]) -> dict[str, Any]:
    head = await io.store.find_head(found["objectId"])
    message = await io.store.find_message(found["objectId"], head.position) if head.sequence else None
    return found if message is None else with_last_message(found, message)
