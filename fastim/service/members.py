"""Members: add and remove, which is also how one joins and leaves, and subscribes.

Who is in a chat room is the business of ``fastim.service.rooms``.
"""

from msgspec.structs import replace

from fastim.core.commands import AddMembers, RemoveMembers, Signature
from fastim.core.conversation import Conversation, Kind, changed_at
from fastim.core.errors import Blocked, InvalidLogin, SendingNotAllowed
from fastim.core.events import MembersAdded, MembersRemoved
from fastim.core.hooks import ConversationAdd, ConversationAdded, ConversationRemove, ConversationRemoved
from fastim.core.ids import is_client_id
from fastim.core.members import Change, add, failures, irremovable, remove
from fastim.core.notice import notices_of
from fastim.core.permission import Asker
from fastim.core.replies import MembersChanged
from fastim.core.session import Session
from fastim.core.standing import Standing
from fastim.service.asking import answered, asks, require, tell_members
from fastim.service.finding import barred, find, find_with_asker, standings_of
from fastim.service.io import Io
from fastim.service.rooms import add_occupants, remove_occupants
from fastim.service.signatures import required_signature, use


async def add_members(io: Io, session: Session, command: AddMembers) -> MembersChanged:
    """Add those who may be added, then tell everybody concerned. A hook that is defined for it is asked first."""
    signature = await required_signature(io, session, command)
    if not asks(io, session, ConversationAdd):
        return await _add(io, session, command, signature)
    async with io.lanes.hold(command.conversation_id):
        await find(io, session, command)
        asked = io.hooks.ask(
            ConversationAdd(
                init_by=session.client_id,
                members=tuple(dict.fromkeys(command.members)),
                conversation_id=command.conversation_id,
            )
        )
    async with answered(io, session, command.conversation_id, asked) as answer:
        require(answer)
        return await _add(io, session, command, signature)


async def remove_members(io: Io, session: Session, command: RemoveMembers) -> MembersChanged:
    """Remove members, then tell everybody concerned.

    A hook that is defined for it is asked first, unless one only leaves.
    """
    signature = await required_signature(io, session, command)
    others = tuple(one for one in dict.fromkeys(command.members) if one != session.client_id)
    if not others or not asks(io, session, ConversationRemove):
        return await _remove(io, session, command, signature)
    async with io.lanes.hold(command.conversation_id):
        conversation, asker = await find_with_asker(io, session, command)
        irremovable(conversation, asker, others, await standings_of(io, conversation, others))
        asked = io.hooks.ask(
            ConversationRemove(init_by=session.client_id, members=others, conversation_id=command.conversation_id)
        )
    async with answered(io, session, command.conversation_id, asked) as answer:
        require(answer)
        return await _remove(io, session, command, signature)


async def _add(io: Io, session: Session, command: AddMembers, signature: Signature | None) -> MembersChanged:
    kind = (await find(io, session, command)).kind
    if kind is Kind.CHAT_ROOM:
        await use(io, signature, command)
        return await add_occupants(io, session, command)
    async with io.lanes.hold(command.conversation_id):
        conversation, asker = await find_with_asker(io, session, command)
        kept_out = await barred(io, conversation, asker, await _strangers(io, conversation, command))
        now = io.clock.now()
        if kind is Kind.SYSTEM:
            change = await _subscribed(io, conversation, asker, command, kept_out)
        else:
            change = add(conversation, command.members, io.policy, now, kept_out)
        await use(io, signature, command)
        after = change.conversation
        event = MembersAdded(
            after.id, after.kind, change.clients, after.members, by=session.client_id, at=after.updated_at
        )
        if change.clients:
            await io.store.change_conversation(after, joined=change.clients, notices=notices_of(event))
    if change.clients and kind is Kind.NORMAL:
        await io.bus.publish(event)
    tell_members(io, session, ConversationAdded, after.id, change.clients)
    return MembersChanged(added=True, allowed=change.allowed, updated_at=after.updated_at, failed=change.failed)


async def _remove(io: Io, session: Session, command: RemoveMembers, signature: Signature | None) -> MembersChanged:
    kind = (await find(io, session, command)).kind
    if kind is Kind.CHAT_ROOM:
        await use(io, signature, command)
        return await remove_occupants(io, session, command)
    async with io.lanes.hold(command.conversation_id):
        conversation, asker = await find_with_asker(io, session, command)
        standings = await standings_of(io, conversation, tuple(dict.fromkeys(command.members)))
        if kind is Kind.SYSTEM:
            change = await _unsubscribed(io, conversation, asker, command)
        else:
            kept = irremovable(conversation, asker, command.members, standings)
            change = remove(conversation, command.members, io.clock.now(), kept)
        await use(io, signature, command)
        after = change.conversation
        event = MembersRemoved(
            after.id, after.kind, change.clients, after.members, by=session.client_id, at=after.updated_at
        )
        if change.clients:
            await io.store.change_conversation(
                after, left=change.clients, standings=_without(change, standings), notices=notices_of(event)
            )
    if change.clients and kind is Kind.NORMAL:
        await io.bus.publish(event)
    tell_members(io, session, ConversationRemoved, after.id, change.clients)
    return MembersChanged(added=False, allowed=change.allowed, updated_at=after.updated_at, failed=change.failed)


async def _subscribed(
    io: Io, conversation: Conversation, asker: Asker, command: AddMembers, kept_out: frozenset[str]
) -> Change:
    """Clients subscribe to a service conversation for themselves; the application does it for anybody."""
    wanted = tuple(dict.fromkeys(command.members))
    valid, others = _for_oneself(asker, wanted)
    welcome = tuple(client for client in valid if client not in kept_out)
    new = [client for client in welcome if await io.store.find_membership(conversation.id, client) is None]
    failed = (
        *failures(InvalidLogin(), [client for client in wanted if not is_client_id(client)]),
        *failures(SendingNotAllowed("nobody subscribes for another"), others),
        *failures(Blocked(), [client for client in valid if client in kept_out]),
    )
    return Change(_touched(io, conversation) if new else conversation, tuple(new), welcome, failed)


async def _unsubscribed(io: Io, conversation: Conversation, asker: Asker, command: RemoveMembers) -> Change:
    allowed, others = _for_oneself(asker, tuple(dict.fromkeys(command.members)))
    gone = [client for client in allowed if await io.store.find_membership(conversation.id, client) is not None]
    failed = failures(SendingNotAllowed("nobody unsubscribes for another"), others)
    return Change(_touched(io, conversation) if gone else conversation, tuple(gone), allowed, failed)


def _for_oneself(asker: Asker, wanted: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those for whom ``asker`` may subscribe, and the others."""
    valid = tuple(filter(is_client_id, wanted))
    if asker.privileged:
        return valid, ()
    return tuple(one for one in valid if one == asker.client_id), tuple(one for one in valid if one != asker.client_id)


def _touched(io: Io, conversation: Conversation) -> Conversation:
    return replace(conversation, updated_at=changed_at(conversation, io.clock.now()))


async def _strangers(io: Io, conversation: Conversation, command: AddMembers) -> list[str]:
    """Those named who are not yet members; whoever is one has been let in before."""
    named = filter(is_client_id, dict.fromkeys(command.members))
    if conversation.kind is Kind.NORMAL:
        return [client for client in named if not conversation.has_member(client)]
    return [client for client in named if await io.store.find_membership(conversation.id, client) is None]


def _without(change: Change, standings: dict[str, Standing]) -> dict[str, Standing]:
    """What goes with a membership goes when it ends: the role, and not wanting push. Silence and blocks stay."""
    return {
        client: replace(standing, role=None, muted=False)
        for client, standing in standings.items()
        if client in change.clients and (standing.role or standing.muted)
    }
