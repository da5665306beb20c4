"""Governance: roles, silence and blocks of a conversation, and the conversations that a client refuses."""

from collections.abc import Sequence

from fastim.core import governance
from fastim.core.commands import (
    ChangeBlocks,
    ChangeSilence,
    CheckBlocked,
    CheckRefused,
    CheckSilenced,
    ListBlocked,
    ListRefused,
    ListRoles,
    ListSilenced,
    RefuseConversations,
    SetRole,
)
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import BlacklistDisabled, BlacklistFull, ConversationNotFound, QueryFailed, RankTooLow
from fastim.core.events import BlocksChanged, Event, MembersRemoved, RoleChanged, SilenceChanged
from fastim.core.governance import Verdict, cut, records
from fastim.core.hooks import ConversationRemoved
from fastim.core.notice import notices_of
from fastim.core.policy import IDS_PER_COMMAND_MAX, LISTED_MAX
from fastim.core.replies import (
    BlockedAmong,
    BlockedPage,
    RefusalsChanged,
    RefusedAmong,
    RefusedPage,
    RoleRecord,
    Roles,
    RoleSet,
    SilencedAmong,
    SilencedPage,
)
from fastim.core.replies import BlocksChanged as BlocksChangedReply
from fastim.core.replies import SilenceChanged as SilenceChangedReply
from fastim.core.session import Session
from fastim.core.standing import Role, Standing
from fastim.service.asking import tell_members
from fastim.service.finding import find, find_living, find_with_asker, standings_of
from fastim.service.io import Io
from fastim.service.rooms import put_out
from fastim.service.signatures import required_signature, use


async def set_role(io: Io, session: Session, command: SetRole) -> RoleSet:
    """Give a member a role, then tell the members."""
    await give_role(io, session, command)
    return RoleSet(command.conversation_id)


async def give_role(io: Io, session: Session, command: SetRole) -> RoleRecord:
    """The same; its record."""
    async with io.lanes.hold(command.conversation_id):
        conversation, asker = await find_with_asker(io, session, command)
        standing = await io.store.find_standing(conversation.id, command.client_id)
        verdict = governance.give_role(conversation, asker, command, standing, io.policy)
        events = await _change_role(io, session, verdict)
    await _publish(io, events)
    role = Role.named(command.role)
    assert role is not None  # it was given
    return RoleRecord(governance.record_id(conversation.id, command.client_id), command.client_id, role)


async def change_role_record(
    io: Io, session: Session, conversation_id: str, record_id: str, role: str
) -> RoleRecord | None:
    """Give the member whose record it is another role; ``None`` when there is no such record."""
    record = await _find_record(io, session, conversation_id, record_id)
    return None if record is None else await give_role(io, session, SetRole(conversation_id, record.client_id, role))


async def delete_role_record(io: Io, session: Session, conversation_id: str, record_id: str) -> bool:
    """Make the member whose record it is an ordinary one, then tell the members; whether there was such a record."""
    record = await _find_record(io, session, conversation_id, record_id)
    if record is None:
        return False
    async with io.lanes.hold(conversation_id):
        command = SetRole(conversation_id, record.client_id, Role.MEMBER.wire_name)
        conversation, asker = await find_with_asker(io, session, command)
        standing = await io.store.find_standing(conversation.id, record.client_id)
        verdict = governance.take_role(conversation, asker, record.client_id, standing)
        events = await _change_role(io, session, verdict)
    await _publish(io, events)
    return True


async def list_roles(io: Io, session: Session, command: ListRoles) -> Roles:
    """Every role that was given."""
    conversation = await find(io, session, command)
    return Roles(conversation.id, records(conversation.id, await _standings(io, conversation)))


async def change_silence(io: Io, session: Session, command: ChangeSilence) -> SilenceChangedReply:
    """Silence clients for good, or let them speak again, then tell everybody concerned."""
    _limit(command.client_ids)
    events: list[Event] = []
    async with io.lanes.hold(command.conversation_id):
        conversation, asker = await find_with_asker(io, session, command)
        now = io.clock.now()
        verdict = governance.change_silence(conversation, asker, command, await _standings(io, conversation), now)
        if verdict.clients:
            after = verdict.conversation
            events.append(
                SilenceChanged(after.id, verdict.clients, command.silenced, after.members, by=session.client_id, at=now)
            )
            await _store(io, verdict, events)
    await _publish(io, events)
    return SilenceChangedReply(command.silenced, verdict.allowed, verdict.failed)


async def list_silenced(io: Io, session: Session, command: ListSilenced) -> SilencedPage:
    """A part of those who are silenced for good."""
    conversation = await find(io, session, command)
    standings = await _standings(io, conversation)
    return SilencedPage(*cut([one for one, standing in standings.items() if standing.silenced], command.page))


async def check_silenced(io: Io, session: Session, command: CheckSilenced) -> SilencedAmong:
    """Those of the clients asked about that are silenced for good."""
    conversation = await find(io, session, command)
    _limit(command.client_ids)
    found = await standings_of(io, conversation, tuple(dict.fromkeys(command.client_ids)))
    return SilencedAmong(tuple(one for one, standing in found.items() if standing.silenced))


async def silence_for_a_time(io: Io, session: Session, conversation_id: str, client_id: str, ttl_seconds: int) -> None:
    """Silence a client until so many seconds have passed; 0: it may speak again. Only the application does that.

    Nobody is told: the client finds out when it sends.

    Raises:
        RankTooLow: A client asks.
        ConversationNotFound: There is no such conversation.
    """
    if not session.privileged:
        raise RankTooLow("only the application silences for a time")
    async with io.lanes.hold(conversation_id):
        conversation = await find_living(io, conversation_id)
        if conversation is None:
            raise ConversationNotFound
        if conversation.kind is Kind.SYSTEM:  # its subscribers may be millions
            standings = await standings_of(io, conversation, (client_id,))
        else:
            standings = await _standings(io, conversation)
        verdict = governance.silence_for_a_time(conversation, client_id, standings, ttl_seconds, io.clock.now())
        if verdict.standings:
            await _store(io, verdict, ())


async def change_blocks(io: Io, session: Session, command: ChangeBlocks) -> BlocksChangedReply:
    """Block clients, which removes them, or let them come back, then tell everybody concerned."""
    _limit(command.client_ids)
    signature = await required_signature(io, session, command)
    events: list[Event] = []
    removed: tuple[str, ...] = ()
    async with io.lanes.hold(command.conversation_id):
        conversation, asker = await find_with_asker(io, session, command)
        standings = await _standings(io, conversation)
        verdict = governance.change_blocks(conversation, asker, command, standings, io.policy, io.clock.now())
        await use(io, signature, command)
        if verdict.clients:
            events = _blocking(io, session, command, verdict)
            await _store(io, verdict, events)
            removed = verdict.removed
            if command.blocked and conversation.kind is Kind.CHAT_ROOM:
                removed = await put_out(io, conversation.id, verdict.clients)
    await _publish(io, events)
    tell_members(io, session, ConversationRemoved, conversation.id, removed)
    return BlocksChangedReply(conversation.id, command.blocked, verdict.allowed, verdict.failed)


async def list_blocked(io: Io, session: Session, command: ListBlocked) -> BlockedPage:
    """A part of those who are blocked."""
    conversation = await find(io, session, command)
    standings = await _standings(io, conversation)
    blocked = [one for one, standing in standings.items() if standing.blocked]
    return BlockedPage(conversation.id, *cut(blocked, command.page))


async def check_blocked(io: Io, session: Session, command: CheckBlocked) -> BlockedAmong:
    """Those of the clients asked about that are blocked."""
    conversation = await find(io, session, command)
    _limit(command.client_ids)
    found = await standings_of(io, conversation, tuple(dict.fromkeys(command.client_ids)))
    return BlockedAmong(conversation.id, tuple(one for one, standing in found.items() if standing.blocked))


async def refuse_conversations(io: Io, session: Session, command: RefuseConversations) -> RefusalsChanged:
    """Let nobody add the client to these conversations, or allow it again; where it is a member it stays one."""
    if not io.policy.blacklist_enabled:
        raise BlacklistDisabled
    _limit(command.conversation_ids)
    wanted = tuple(dict.fromkeys(command.conversation_ids))
    signature = await required_signature(io, session, command)
    async with io.lanes.hold(("refusals", session.client_id)):
        if command.refused:
            held = await io.store.refused_conversations(session.client_id)
            if len({*held, *wanted}) > LISTED_MAX:
                raise BlacklistFull(f"at most {LISTED_MAX} conversations can be refused")
            for one in wanted:
                await io.pace.breathe()
                if await find_living(io, one) is None:
                    raise ConversationNotFound
        await use(io, signature, command)
        if wanted:
            await io.store.refuse_conversations(session.client_id, wanted, command.refused, io.clock.now())
    return RefusalsChanged(command.refused, wanted)


async def list_refused(io: Io, session: Session, command: ListRefused) -> RefusedPage:
    """A part of the conversations that the client refuses."""
    return RefusedPage(*cut(await io.store.refused_conversations(session.client_id), command.page))


async def check_refused(io: Io, session: Session, command: CheckRefused) -> RefusedAmong:
    """Those of the conversations asked about that the client refuses."""
    refused = frozenset(await io.store.refused_conversations(session.client_id))
    return RefusedAmong(tuple(one for one in dict.fromkeys(command.conversation_ids) if one in refused))


async def _standings(io: Io, conversation: Conversation) -> dict[str, Standing]:
    return await io.store.standings(conversation.id) if conversation.regulated else {}


async def _find_record(io: Io, session: Session, conversation_id: str, record_id: str) -> RoleRecord | None:
    given = await list_roles(io, session, ListRoles(conversation_id))
    return next((record for record in given.records if record.id == record_id), None)


async def _change_role(io: Io, session: Session, verdict: Verdict) -> list[Event]:
    """Store a change of one client's role, and what is to be told of it."""
    after, at = verdict.conversation, io.clock.now()
    events: list[Event] = [
        RoleChanged(after.id, client_id, standing.role or Role.MEMBER, after.members, by=session.client_id, at=at)
        for client_id, standing in verdict.standings.items()
    ]
    if events:
        await _store(io, verdict, events)
    return events


def _blocking(io: Io, session: Session, command: ChangeBlocks, verdict: Verdict) -> list[Event]:
    """What is to be told of blocked clients: that they are, and that those who were members are gone."""
    after, by = verdict.conversation, session.client_id
    at = after.updated_at if verdict.removed else io.clock.now()
    events: list[Event] = [BlocksChanged(after.id, verdict.clients, command.blocked, after.members, by=by, at=at)]
    if verdict.removed:
        events.append(MembersRemoved(after.id, after.kind, verdict.removed, after.members, by=by, at=at))
    return events


async def _store(io: Io, verdict: Verdict, events: Sequence[Event]) -> None:
    """All of a change in one commit. In a chat room nobody is away, so nothing is kept for anybody."""
    conversation = verdict.conversation
    told = () if conversation.kind is Kind.CHAT_ROOM else events
    await io.store.change_conversation(
        conversation,
        left=verdict.removed,
        standings=verdict.standings,
        notices=[addressed for event in told for addressed in notices_of(event)],
    )


async def _publish(io: Io, events: Sequence[Event]) -> None:
    for event in events:
        await io.bus.publish(event)


def _limit(ids: Sequence[str]) -> None:
    if len(ids) > IDS_PER_COMMAND_MAX:
        raise QueryFailed(f"at most {IDS_PER_COMMAND_MAX} at a time")
