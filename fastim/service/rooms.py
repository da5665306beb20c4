"""Chat rooms: who comes, who goes, and who comes back after a lost connection.

Nothing of who is in a room is stored with it, and nobody is told. What is stored is one record for each device, so that
a device that was cut off is in its room again when it comes back in time. Source: semantics, rules 1.7 to 1.12.
"""

from collections.abc import Awaitable, Iterable

from msgspec.structs import replace

from fastim.core.commands import AddMembers, ListOccupants, RemoveMembers
from fastim.core.conversation import Conversation
from fastim.core.errors import Blocked, SendingNotAllowed, SessionRequired
from fastim.core.members import failures, irremovable
from fastim.core.policy import OCCUPANTS_LISTED_MAX, REJOIN_MILLIS
from fastim.core.replies import MembersChanged, Occupants
from fastim.core.session import Session
from fastim.core.units import Millis
from fastim.ports.store import Stay
from fastim.service.finding import barred, find, find_living, find_with_asker, is_blocked, standings_of
from fastim.service.io import Io


async def enter_room(io: Io, session: Session, conversation: Conversation) -> None:
    """``session`` is in the room that it started; nobody can have been blocked there before."""
    if _is_open(io, session):
        await _take_place(io, session, conversation.id)


async def add_occupants(io: Io, session: Session, command: AddMembers) -> MembersChanged:
    """Let the asker in, and others as far as they are online and in no other room.

    Raises:
        SessionRequired: The asker's session ended meanwhile.
    """
    async with io.lanes.hold(command.conversation_id):
        conversation, asker = await find_with_asker(io, session, command)
        wanted = tuple(dict.fromkeys(command.members))
        kept_out = await barred(io, conversation, asker, wanted)
        stays: list[Awaitable[None]] = []
        elsewhere: list[str] = []
        for client_id in wanted:
            if client_id in kept_out:
                continue
            moving = _movable(io, session, conversation.id, client_id)
            if not moving:
                elsewhere.append(client_id)
            stays += [_take_place(io, one, conversation.id) for one in moving]
    for stay in stays:
        await stay
    failed = (
        *failures(Blocked(), [client_id for client_id in wanted if client_id in kept_out]),
        *failures(SendingNotAllowed("not online, or in another chat room"), elsewhere),
    )
    allowed = tuple(client_id for client_id in wanted if client_id not in kept_out and client_id not in elsewhere)
    return MembersChanged(added=True, allowed=allowed, updated_at=conversation.updated_at, failed=failed)


async def remove_occupants(io: Io, session: Session, command: RemoveMembers) -> MembersChanged:
    """Let the asker go, or have others leave whom it outranks.

    Raises:
        RankTooLow: It wants somebody removed whom it does not outrank.
    """
    async with io.lanes.hold(command.conversation_id):
        conversation, asker = await find_with_asker(io, session, command)
        wanted = tuple(dict.fromkeys(command.members))
        irremovable(conversation, asker, wanted, await standings_of(io, conversation, wanted))
        left: list[Awaitable[None]] = []
        for client_id in wanted:
            if client_id == session.client_id and not session.privileged:
                left += _put_out(io, conversation.id, [session])
            else:
                left += _put_out(io, conversation.id, io.directory.sessions(client_id))
    for one in left:
        await one
    return MembersChanged(added=False, allowed=wanted, updated_at=conversation.updated_at)


async def put_out(io: Io, conversation_id: str, client_ids: Iterable[str]) -> None:
    """Have the sessions of these clients leave the room, not to come back by themselves."""
    left: list[Awaitable[None]] = []
    for client_id in client_ids:
        left += _put_out(io, conversation_id, io.directory.sessions(client_id))
    for one in left:
        await one


async def list_occupants(io: Io, session: Session, command: ListOccupants) -> Occupants:
    """Some of those in the room, picked at random."""
    conversation = await find(io, session, command)
    limit = OCCUPANTS_LISTED_MAX if command.limit is None else min(command.limit, OCCUPANTS_LISTED_MAX)
    return Occupants(tuple(io.rooms.sample(conversation.id, limit)))


async def lose_place(io: Io, session: Session) -> None:
    """The session was lost: its device may come back to its room for a while. Source: semantics, rule 1.10."""
    room = io.rooms.leave(session)
    if room is None or any(
        other.device == session.device and io.rooms.room_of(other) == room
        for other in io.directory.sessions(session.client_id)
    ):
        return
    await io.store.save_stay(Stay(session.client_id, session.device, room, left_at=io.clock.now()))


async def give_up_place(io: Io, session: Session) -> None:
    """The session has ended on purpose: it is in no room, and comes back to none."""
    if io.rooms.leave(session) is not None:
        await io.store.forget_stay(session.client_id, session.device)


async def keep_place(io: Io, session: Session) -> str | None:
    """The room that the device of a session about to open is to be in, or ``None``; remembered as if it were there.

    Nothing when it stayed away too long, the room is gone, or the client was blocked there meanwhile.
    """
    stay = await io.store.find_stay(session.client_id, session.device)
    if stay is None:
        return None
    late = stay.left_at > 0 and io.clock.now() - stay.left_at > REJOIN_MILLIS
    if late or not await _is_welcome(io, session, stay.conversation_id):
        await io.store.forget_stay(session.client_id, session.device)
        return None
    await io.store.save_stay(replace(stay, left_at=Millis(0)))
    return stay.conversation_id


async def come_back(io: Io, session: Session, others: Iterable[Session], conversation_id: str) -> None:
    """A session that has just opened is in the room that ``keep_place`` found, unless it was put out meanwhile.

    Args:
        others: The client's sessions before: one on the same device gives its place up.
    """
    for other in others:
        if other.device == session.device:
            io.rooms.leave(other)
    io.rooms.enter(conversation_id, session)
    if not await _is_welcome(io, session, conversation_id) and io.rooms.room_of(session) == conversation_id:
        await give_up_place(io, session)


async def rename_place(io: Io, session: Session, renamed: Session) -> None:
    """The session's device goes by another name, under which it is to be found again."""
    room = io.rooms.room_of(session)
    if room is not None:
        written = io.store.forget_stay(session.client_id, session.device)
        await _take_place(io, renamed, room)
        await written


async def mark_stays(io: Io) -> None:
    """At start: whoever was in a room when the server went down has left it now, and may come back."""
    now = io.clock.now()
    written: list[Awaitable[None]] = []
    for stay in await io.store.stays():
        await io.pace.breathe()
        if not stay.left_at:
            written.append(io.store.save_stay(replace(stay, left_at=now)))
    for one in written:
        await one


async def _is_welcome(io: Io, session: Session, conversation_id: str) -> bool:
    conversation = await find_living(io, conversation_id)
    return conversation is not None and not await is_blocked(io, conversation, session.client_id)


def _movable(io: Io, asker: Session, conversation_id: str, client_id: str) -> list[Session]:
    """The sessions that can be let in for ``client_id``; empty when it is not online or in another room.

    Raises:
        SessionRequired: It is the asker itself, whose session ended meanwhile.
    """
    if client_id == asker.client_id and not asker.privileged:
        if not _is_open(io, asker):
            raise SessionRequired
        return [asker]
    sessions = io.directory.sessions(client_id)
    free = all(io.rooms.room_of(one) in (None, conversation_id) for one in sessions)
    return sessions if free else []


def _take_place(io: Io, session: Session, conversation_id: str) -> Awaitable[None]:
    io.rooms.enter(conversation_id, session)
    return io.store.save_stay(Stay(session.client_id, session.device, conversation_id))


def _put_out(io: Io, conversation_id: str, sessions: Iterable[Session]) -> list[Awaitable[None]]:
    left = []
    for session in sessions:
        if io.rooms.room_of(session) == conversation_id:
            io.rooms.leave(session)
            left.append(io.store.forget_stay(session.client_id, session.device))
    return left


def _is_open(io: Io, session: Session) -> bool:
    """Whether the session has not ended: who is gone would stay in a room for ever."""
    return any(one.number == session.number for one in io.directory.sessions(session.client_id))
