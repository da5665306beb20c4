"""Conversations: start, find, change their attributes, mute, count."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

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
from fastim.core.permission import permitted, sees_messages
from fastim.core.policy import (
    IDS_PER_COMMAND_MAX,
    QUERY_LIMIT_DEFAULT,
    QUERY_LIMIT_MAX,
    QUERY_RESULTS_BYTES_MAX,
    QUERY_SKIP_MAX,
)
from fastim.core.record import record, with_last_message
from fastim.core.replies import Counted, Found, Memberships, Muted, Started, Updated
from fastim.core.session import Session
from fastim.core.where import Best, Budget, Where, compile_where
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
    if command.skip > QUERY_SKIP_MAX:
        raise QueryFailed(f"skip is more than {QUERY_SKIP_MAX}: narrow the query instead")
    where = compile_where(command.where)
    best: Best[str] = Best(command.sort, command.skip, min(limit, QUERY_LIMIT_MAX))
    if limit:
        await _choose(io, session, command, where, best)
    return Found(await _page(io, session, command, best))


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
        await io.pace.breathe()
        conversation = await io.store.find_conversation(one)
        results[one] = conversation is not None and conversation.has_member(session.client_id)
    return Memberships(msgspec.json.encode(results))


async def _choose(io: Io, session: Session, command: QueryConversations, where: Where, best: Best[str]) -> None:
    """Find the ids of the conversations that are on the page."""
    budget = Budget()
    seen = 0
    async with aclosing(_candidates(io, session, command, where)) as candidates:
        async for conversation in candidates:
            await io.pace.breathe()
            seen += 1
            if seen > io.policy.query_scan:
                raise QueryFailed("the query looks at too much: narrow it by objectId or by m")
            budget.begin(len(msgspec.json.encode(conversation.columns)))
            head = await io.store.find_head(conversation.id)
            candidate = record(conversation, head, session.client_id)
            if where.matches(candidate, budget):
                best.offer(candidate, conversation.id, budget)


async def _candidates(
    io: Io, session: Session, command: QueryConversations, where: Where
) -> AsyncGenerator[Conversation, None]:
    """What the condition could fit, by the narrowest way there is; the condition itself is still to be checked."""
    ids = command.temporary_ids or where.ids()
    if ids is None and (where.is_empty or where.members()):
        ids = tuple(await io.store.conversation_ids_of(session.client_id if where.is_empty else where.members()[0]))
    if ids is not None:
        for one in dict.fromkeys(ids):
            await io.pace.breathe()
            conversation = await io.store.find_conversation(one)
            if conversation is not None:
                yield conversation
        return
    async with aclosing(io.store.scan_conversations()) as scan:
        async for conversation in scan:
            yield conversation


async def _page(io: Io, session: Session, command: QueryConversations, best: Best[str]) -> bytes:
    """The answer. Its conversations are read again: holding all that could be on it would take too much memory."""
    page: list[bytes] = []
    size_bytes = 0
    for one in best.take_last():
        await io.pace.breathe()
        encoded = await _encoded(io, session, command, one)
        page.append(encoded)
        size_bytes += len(encoded) + 1
        if size_bytes > QUERY_RESULTS_BYTES_MAX:
            raise QueryFailed(f"the answer has more than {QUERY_RESULTS_BYTES_MAX} bytes: ask for fewer")
    return b"[%b]" % b",".join(reversed(page))


async def _encoded(io: Io, session: Session, command: QueryConversations, conversation_id: str) -> bytes:
    conversation = await io.store.find_conversation(conversation_id)
    assert conversation is not None  # they are not deleted
    head = await io.store.find_head(conversation_id)
    columns = record(conversation, head, session.client_id)
    if command.with_last_message and head.sequence and sees_messages(conversation, session.client_id):
        message = await io.store.find_message(conversation_id, head.position)
        if message is not None:
            columns = with_last_message(columns, message)
    if command.compact:
        columns["m"] = []
    return msgspec.json.encode(columns)
