"""Conversations: start, find, change their attributes, mute, count, and make an end of them."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
from msgspec.structs import replace

from fastim.core.attributes import AttributeChange, apply_update
from fastim.core.commands import (
    CheckMembership,
    CountMembers,
    MuteConversation,
    QueryConversations,
    StartConversation,
    UpdateConversation,
)
from fastim.core.conversation import Conversation, Kind, changed_at
from fastim.core.errors import ConversationNotFound, QueryFailed, UpdateFailed
from fastim.core.events import ConversationStarted, ConversationUpdated
from fastim.core.hooks import ConversationStart, ConversationUpdate, UpdateAnswer
from fastim.core.hooks import ConversationStarted as ConversationStartedNotice
from fastim.core.ids import CONVERSATION_ENTROPY_BYTES, conversation_id, personal_log
from fastim.core.members import mute, start
from fastim.core.message import Message
from fastim.core.notice import notices_of
from fastim.core.permission import sees_messages
from fastim.core.policy import (
    IDS_PER_COMMAND_MAX,
    QUERY_LIMIT_DEFAULT,
    QUERY_LIMIT_MAX,
    QUERY_RESULTS_BYTES_MAX,
    QUERY_SKIP_MAX,
)
from fastim.core.record import SubscriptionState, record, with_last_message
from fastim.core.replies import Counted, Found, Memberships, Muted, Started, Updated
from fastim.core.session import Session
from fastim.core.where import Best, Budget, Where, compile_where
from fastim.service.asking import answered, asks, require
from fastim.service.audience import audience, telling_lane
from fastim.service.finding import asker_in, belongs, find, find_living
from fastim.service.io import Io
from fastim.service.rooms import enter_room
from fastim.service.signatures import required_signature, use


async def start_conversation(io: Io, session: Session, command: StartConversation) -> Started:
    """Create a conversation, unless it is to be unique, or is temporary, and there is one already.

    Who starts a chat room is in it. There, and in a service conversation, nobody is told.

    A hook that is defined for it is asked first, also about a conversation that turns out to be there already.
    """
    signature = await required_signature(io, session, command)
    if asks(io, session, ConversationStart):
        await _ask_to_start(io, session, command)
    now = io.clock.now()
    new_id = conversation_id(now, io.entropy(CONVERSATION_ENTROPY_BYTES), temporary=command.temporary)
    wanted = start(command, session.client_id, new_id, io.policy, now, privileged=session.privileged)
    await use(io, signature, command)
    event = ConversationStarted(
        wanted.id, wanted.kind, wanted.members, by=session.client_id, at=now, ttl_seconds=wanted.ttl_seconds
    )
    conversation = await io.store.create_conversation(wanted, notices_of(event))
    fresh = conversation.id == wanted.id
    if fresh and wanted.members:
        await io.bus.publish(event)
    if wanted.kind is Kind.CHAT_ROOM:
        await enter_room(io, session, wanted)
    if fresh and io.hooks.defines(ConversationStartedNotice):
        io.hooks.tell(ConversationStartedNotice(conversation_id=wanted.id))
    return Started(
        conversation.id,
        conversation.created_at,
        not fresh,
        conversation.unique_key if wanted.kind is Kind.NORMAL else None,
        conversation.ttl_seconds,
    )


async def delete_conversation(io: Io, conversation_id: str) -> None:
    """Make an end of a conversation and all that was said in it; nobody is told. Only the application does that.

    Raises:
        ConversationNotFound: There is no such conversation.
    """
    async with io.lanes.hold(conversation_id):
        if await find_living(io, conversation_id) is None or not await io.store.delete_conversation(conversation_id):
            raise ConversationNotFound
        io.rooms.close(conversation_id)


async def query_conversations(io: Io, session: Session, command: QueryConversations) -> Found:
    """Conversations that fit a condition; without one, those that the asker belongs to."""
    limit = command.limit
    if limit is None:
        limit = len(command.temporary_ids) or QUERY_LIMIT_DEFAULT
    if limit < 0 or command.skip < 0:
        raise QueryFailed("skip or limit is negative")
    if command.skip > QUERY_SKIP_MAX:
        raise QueryFailed(f"skip is more than {QUERY_SKIP_MAX}: narrow the query instead")
    where = compile_where(command.where)
    best: Best[str] = Best(command.sort, command.skip, min(limit, QUERY_LIMIT_MAX))
    if limit:
        await _choose(io, session, command, where, best)
    return Found(await _page(io, session, command, best))


async def count_conversations(io: Io, session: Session, command: QueryConversations) -> int:
    """How many conversations fit a condition, whatever the page and its order."""
    where = compile_where(command.where)
    number = 0
    async with aclosing(_fitting(io, session, command, where, Budget())) as fitting:
        async for _ in fitting:
            number += 1
    return number


async def update_conversation(io: Io, session: Session, command: UpdateConversation) -> Updated:
    """Change attributes, then tell the members. A hook that is defined for it is asked first."""
    if not asks(io, session, ConversationUpdate):
        return await _update(io, session, command)
    async with io.lanes.hold(command.conversation_id):
        conversation = await find(io, session, command)
        text = command.attributes or "{}"
        apply_update(conversation.columns, text)  # what cannot be done is not asked about
        asked = io.hooks.ask(
            ConversationUpdate(
                init_by=session.client_id, conversation_id=conversation.id, attr=msgspec.json.decode(text)
            )
        )
    async with answered(io, session, command.conversation_id, asked) as answer:
        require(answer)
        return await _update(io, session, command, answer)


async def mute_conversation(io: Io, session: Session, command: MuteConversation) -> Muted:
    """Switch one's own offline push from it off or on; of a chat room there is none. Source: semantics, rule 11.3.

    A hook that is defined for it is asked first. Source: rule 11.2.
    """
    if not asks(io, session, ConversationUpdate):
        return await _mute(io, session, command)
    async with io.lanes.hold(command.conversation_id):
        conversation = await find(io, session, command)
        if conversation.kind is Kind.CHAT_ROOM:
            return Muted(conversation.id, conversation.updated_at)
        asked = io.hooks.ask(
            ConversationUpdate(init_by=session.client_id, conversation_id=conversation.id, mute=command.muted)
        )
    async with answered(io, session, command.conversation_id, asked) as answer:
        require(answer)
        return await _mute(io, session, command if answer.mute is None else replace(command, muted=answer.mute))


async def count_members(io: Io, session: Session, command: CountMembers) -> Counted:
    """How many members it has, or subscribers, or how many are in the chat room now."""
    conversation = await find(io, session, command)
    match conversation.kind:
        case Kind.CHAT_ROOM:
            return Counted(io.rooms.count(conversation.id))
        case Kind.SYSTEM:
            return Counted(await io.store.count_subscriptions(conversation.id))
        case _:
            return Counted(len(conversation.members))


async def check_membership(io: Io, session: Session, command: CheckMembership) -> Memberships:
    """Whether the asker belongs to each; what does not exist counts as no."""
    if len(command.conversation_ids) > IDS_PER_COMMAND_MAX:
        raise QueryFailed(f"at most {IDS_PER_COMMAND_MAX} conversations at a time")
    results = {}
    for one in command.conversation_ids:
        await io.pace.breathe()
        conversation = await find_living(io, one)
        results[one] = conversation is not None and await belongs(io, conversation, session.client_id)
    return Memberships(msgspec.json.encode(results))


async def _ask_to_start(io: Io, session: Session, command: StartConversation) -> None:
    """Raise ``ConversationRejected`` when the hook does not want it, and as ``start`` for what cannot be started."""
    now = io.clock.now()
    new_id = conversation_id(now, io.entropy(CONVERSATION_ENTROPY_BYTES), temporary=command.temporary)
    wanted = start(command, session.client_id, new_id, io.policy, now)
    require(
        await io.hooks.ask(ConversationStart(init_by=session.client_id, members=wanted.members, attr=wanted.columns))
    )


async def _update(io: Io, session: Session, command: UpdateConversation, answer: UpdateAnswer | None = None) -> Updated:
    async with io.lanes.hold(command.conversation_id):
        conversation = await find(io, session, command)
        asked, change = _updated(conversation, command.attributes or "{}", answer)
        after = replace(conversation, columns=change.columns, updated_at=changed_at(conversation, io.clock.now()))
        event = ConversationUpdated(
            after.id,
            after.members,
            by=session.client_id,
            origin=session.number,
            at=after.updated_at,
            asked=asked.encode(),
            modified=msgspec.json.encode(change.modified),
            kind=after.kind,
        )
        await io.store.change_conversation(after, notices=notices_of(event))
    if after.kind is Kind.SYSTEM:
        async with io.lanes.hold(telling_lane(after.id)):
            await io.bus.publish(replace(event, members=await audience(io, after)))
    else:
        await io.bus.publish(event)
    return Updated(after.id, event.at, event.asked, event.modified)


def _updated(conversation: Conversation, asked: str, answer: UpdateAnswer | None) -> tuple[str, AttributeChange]:
    """What is asked for, and what it comes to; what the hook wants instead counts if it can be done."""
    if answer is not None and answer.attr is not None:
        try:
            instead = msgspec.json.encode(answer.attr).decode()
            return instead, apply_update(conversation.columns, instead)
        except (UpdateFailed, TypeError, ValueError, RecursionError):
            pass
    return asked, apply_update(conversation.columns, asked)


async def _mute(io: Io, session: Session, command: MuteConversation) -> Muted:
    async with io.lanes.hold(command.conversation_id):
        conversation = await find(io, session, command)
        match conversation.kind:
            case Kind.CHAT_ROOM:
                return Muted(conversation.id, conversation.updated_at)
            case Kind.SYSTEM:
                muted = await _mute_subscription(io, session, conversation, command.muted)
            case _:
                muted = mute(conversation, session.client_id, command.muted, io.clock.now())
                if muted is not conversation:
                    await io.store.change_conversation(muted)
    return Muted(muted.id, muted.updated_at)


async def _mute_subscription(io: Io, session: Session, conversation: Conversation, muted: bool) -> Conversation:
    """A service conversation has too many subscribers for a list of those who mute it: each has it in its standing."""
    standing = await io.store.find_standing(conversation.id, session.client_id)
    if standing.muted == muted or not await belongs(io, conversation, session.client_id):
        return conversation
    after = replace(conversation, regulated=True, updated_at=changed_at(conversation, io.clock.now()))
    await io.store.change_conversation(after, standings={session.client_id: replace(standing, muted=muted)})
    return after


async def _choose(io: Io, session: Session, command: QueryConversations, where: Where, best: Best[str]) -> None:
    """Find the ids of the conversations that are on the page."""
    budget = Budget()
    async with aclosing(_fitting(io, session, command, where, budget)) as fitting:
        async for one, columns in fitting:
            best.offer(columns, one, budget)


async def _fitting(
    io: Io, session: Session, command: QueryConversations, where: Where, budget: Budget
) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
    """The ids of the conversations for which the condition holds, each with its columns."""
    seen = 0
    async with aclosing(_candidates(io, session, command, where)) as candidates:
        async for conversation in candidates:
            await io.pace.breathe()
            seen += 1
            if seen > io.policy.query_scan:
                raise QueryFailed("the query looks at too much: narrow it by objectId or by m")
            budget.begin(len(msgspec.json.encode(conversation.columns)))
            candidate = await _record(io, session, conversation)
            if where.matches(candidate, budget):
                yield conversation.id, candidate


async def _candidates(
    io: Io, session: Session, command: QueryConversations, where: Where
) -> AsyncGenerator[Conversation, None]:
    """What the condition could fit, by the narrowest way there is; the condition itself is still to be checked.

    Temporary conversations are found by their ids alone, as they are where they come from.
    """
    ids = command.temporary_ids or where.ids()
    by_id = ids is not None
    if ids is None and (where.is_empty or where.members()):
        ids = tuple(await io.store.conversation_ids_of(session.client_id if where.is_empty else where.members()[0]))
    if ids is not None:
        for one in dict.fromkeys(ids):
            await io.pace.breathe()
            conversation = await find_living(io, one)
            if conversation is not None and (by_id or conversation.kind is not Kind.TEMPORARY):
                yield conversation
        return
    async with aclosing(io.store.scan_conversations()) as scan:
        async for conversation in scan:
            if conversation.kind is not Kind.TEMPORARY:
                yield conversation


async def _page(io: Io, session: Session, command: QueryConversations, best: Best[str]) -> bytes:
    """The answer. Its conversations are read again: holding all that could be on it would take too much memory."""
    page: list[bytes] = []
    size_bytes = 0
    for one in best.take_last():
        await io.pace.breathe()
        encoded = await _encoded(io, session, command, one)
        if encoded is None:  # it has ended meanwhile
            continue
        page.append(encoded)
        size_bytes += len(encoded) + 1
        if size_bytes > QUERY_RESULTS_BYTES_MAX:
            raise QueryFailed(f"the answer has more than {QUERY_RESULTS_BYTES_MAX} bytes: ask for fewer")
    return b"[%b]" % b",".join(reversed(page))


async def _encoded(io: Io, session: Session, command: QueryConversations, conversation_id: str) -> bytes | None:
    conversation = await find_living(io, conversation_id)
    if conversation is None:
        return None
    columns = await _record(io, session, conversation)
    if command.with_last_message:
        message = await _last_message(io, session, conversation)
        if message is not None:
            columns = with_last_message(columns, message)
    if command.compact:
        columns["m"] = []
    return msgspec.json.encode(columns)


async def _record(io: Io, session: Session, conversation: Conversation) -> dict[str, Any]:
    """Its columns as the asker sees them; the last message of a service conversation may be one to it alone."""
    head = await io.store.find_head(conversation.id)
    if conversation.kind is not Kind.SYSTEM or not session.client_id:
        return record(conversation, head, session.client_id)
    membership = await io.store.find_membership(conversation.id, session.client_id)
    own = await io.store.find_head(personal_log(conversation.id, session.client_id))
    muted = conversation.regulated and (await io.store.find_standing(conversation.id, session.client_id)).muted
    state = SubscriptionState(None if membership is None else membership.joined_at, muted)
    return record(conversation, max(head, own, key=lambda one: one.position), session.client_id, state)


async def _last_message(io: Io, session: Session, conversation: Conversation) -> Message | None:
    """The newest message that the asker may read."""
    logs = [conversation.id] if sees_messages(conversation, await asker_in(io, session, conversation)) else []
    if conversation.kind is Kind.SYSTEM and session.client_id:
        logs.append(personal_log(conversation.id, session.client_id))
    newest = None
    for log_id in logs:
        head = await io.store.find_head(log_id)
        message = await io.store.find_message(log_id, head.position) if head.sequence else None
        if message is not None and (newest is None or message.position > newest.position):
            newest = message
    return newest
