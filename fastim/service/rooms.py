"""Chat rooms: who comes, who goes, and who comes back after a lost connection and is told what it missed.

Nothing of who is in a room is stored with it, and nobody is told. What is stored is one record for each device, so that
a device that was cut off is in its room again when it comes back in time. Source: semantics, rules 1.7 to 1.12.
"""

from collections.abc import Awaitable, Iterable, Sequence

from msgspec.structs import replace

from fastim.core.commands import AddMembers, ListOccupants, RemoveMembers
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import Blocked, SendingNotAllowed, SessionRequired
from fastim.core.events import MessagesMissed
from fastim.core.hooks import ConversationAdded, ConversationRemoved
from fastim.core.members import failures, irremovable
from fastim.core.message import pieces
from fastim.core.policy import OCCUPANTS_LISTED_MAX, PIECE_BYTES, REJOIN_MILLIS, URGENT_PAGE, URGENT_REPLAYED_MAX
from fastim.core.replies import MembersChanged, Occupants
from fastim.core.session import Session
from fastim.core.units import Millis
from fastim.ports.rooms import Missed
from fastim.ports.store import Stay
from fastim.service.asking import tell_members
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
        added: list[str] = []
        for client_id in wanted:
            if client_id in kept_out:
                continue
            moving = _movable(io, session, conversation.id, client_id)
            if not moving:
                elsewhere.append(client_id)
            elif not io.rooms.holds(conversation.id, client_id):
                added.append(client_id)
            stays += [_take_place(io, one, conversation.id) for one in moving]
    for stay in stays:
        await stay
    failed = (
        *failures(Blocked(), [client_id for client_id in wanted if client_id in kept_out]),
        *failures(SendingNotAllowed("not online, or in another chat room"), elsewhere),
    )
    allowed = tuple(client_id for client_id in wanted if client_id not in kept_out and client_id not in elsewhere)
    tell_members(io, session, ConversationAdded, conversation.id, tuple(added))
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
        inside = [client_id for client_id in wanted if io.rooms.holds(conversation.id, client_id)]
        left: list[Awaitable[None]] = []
        for client_id in wanted:
            if client_id == session.client_id and not session.privileged:
                left += _put_out(io, conversation.id, [session])
            else:
                left += _put_out(io, conversation.id, io.directory.sessions(client_id))
        gone = tuple(client_id for client_id in inside if not io.rooms.holds(conversation.id, client_id))
    for one in left:
        await one
    tell_members(io, session, ConversationRemoved, conversation.id, gone)
    return MembersChanged(added=False, allowed=wanted, updated_at=conversation.updated_at)


async def put_out(io: Io, conversation_id: str, client_ids: Sequence[str]) -> tuple[str, ...]:
    """Have the sessions of these clients leave the room, not to come back by themselves; those who were in it."""
    inside = tuple(client_id for client_id in client_ids if io.rooms.holds(conversation_id, client_id))
    left: list[Awaitable[None]] = []
    for client_id in client_ids:
        left += _put_out(io, conversation_id, io.directory.sessions(client_id))
    for one in left:
        await one
    return inside


async def list_occupants(io: Io, session: Session, command: ListOccupants) -> Occupants:
    """Some of those in the room, picked at random."""
    conversation = await find(io, session, command)
    limit = OCCUPANTS_LISTED_MAX if command.limit is None else min(command.limit, OCCUPANTS_LISTED_MAX)
    return Occupants(tuple(io.rooms.sample(conversation.id, limit)))


async def lose_place(io: Io, session: Session, *, stopping: bool = False) -> None:
    """The session was lost: its device may come back to its room for a while. Source: semantics, rule 1.10.

    Args:
        stopping: With the server, whose next start is what that while begins at.
    """
    left = io.rooms.leave(session)
    if left is None or any(
        other.device == session.device and io.rooms.room_of(other) == left.conversation_id
        for other in io.directory.sessions(session.client_id)
    ):
        return
    at = Millis(0) if stopping else io.clock.now()
    await io.store.save_stay(Stay(session.client_id, session.device, left.conversation_id, at, left.missed_from))


async def give_up_place(io: Io, session: Session) -> None:
    """The session has ended on purpose: it is in no room, and comes back to none."""
    if io.rooms.leave(session) is not None:
        await io.store.forget_stay(session.client_id, session.device)


async def keep_place(io: Io, session: Session) -> Stay | None:
    """The place that the device of a session about to open is to have, or ``None``; remembered as if it were there.

    Nothing when it stayed away too long, the room is gone, or the client was blocked there meanwhile.
    """
    stay = await io.store.find_stay(session.client_id, session.device)
    if stay is None:
        return None
    late = stay.left_at > 0 and io.clock.now() - stay.left_at > REJOIN_MILLIS
    if late or not await _is_welcome(io, session, stay.conversation_id):
        await io.store.forget_stay(session.client_id, session.device)
        return None
    await io.store.save_stay(replace(stay, left_at=Millis(0), missed_from=Millis(0)))
    return stay


async def come_back(io: Io, session: Session, others: Iterable[Session], stay: Stay) -> None:
    """A session that has just opened has the place that ``keep_place`` found, unless it was put out meanwhile.

    Args:
        others: The client's sessions before: one on the same device gives its place up.
    """
    room = stay.conversation_id
    missed_from = [stay.missed_from]
    for other in others:
        if other.device == session.device:
            left = io.rooms.leave(other)
            if left is not None and left.conversation_id == room:
                missed_from.append(left.missed_from)
    io.rooms.enter(room, session, min(filter(None, missed_from), default=None))
    if not await _is_welcome(io, session, room) and io.rooms.room_of(session) == room:
        await give_up_place(io, session)


async def replay_missed(io: Io, session: Session) -> None:
    """Tell a session that came back what the store has of the messages of high priority that it missed.

    It hears nothing of its room until then, so all come in their order. What its client sent itself is left out.
    """
    missed = io.rooms.missed(session)
    if missed is None:
        return
    try:
        await _tell_missed(io, session, missed)
    finally:
        io.rooms.release(session)


async def rename_place(io: Io, session: Session, renamed: Session) -> None:
    """The session's device goes by another name, under which it is to be found again."""
    room = io.rooms.room_of(session)
    if room is not None:
        written = io.store.forget_stay(session.client_id, session.device)
        await _take_place(io, renamed, room)
        await written


async def mark_stays(io: Io) -> None:
    """At start: whoever was in a room when the server went down has left it now, and may come back.

    What was posted before is in the history; what is posted from now on is not to be missed.
    """
    now = io.clock.now()
    written: list[Awaitable[None]] = []
    for stay in await io.store.stays():
        await io.pace.breathe()
        if not stay.left_at or not stay.missed_from:
            marked = replace(stay, left_at=stay.left_at or now, missed_from=stay.missed_from or now)
            written.append(io.store.save_stay(marked))
    for one in written:
        await one


async def _tell_missed(io: Io, session: Session, missed: Missed) -> None:
    room, until = missed.conversation_id, missed.until
    since = await io.store.urgent_start(room, missed.since, until, URGENT_REPLAYED_MAX)
    while page := await io.store.urgent_since(room, since, until, URGENT_PAGE):
        for piece in pieces([one for one in page if one.sender != session.client_id], PIECE_BYTES):
            if not await _listens(io, session, room):
                return
            io.rooms.told(session, Millis(piece[0].timestamp - 1))
            await io.bus.publish(MessagesMissed(session.client_id, session.number, room, Kind.CHAT_ROOM, piece))
        since = Millis(page[-1].timestamp + 1)
    if await _listens(io, session, room):
        io.rooms.told(session, until)


async def _listens(io: Io, session: Session, conversation_id: str) -> bool:
    """Wait until ``session`` can take more; whether it is still waiting for what it missed in that room.

    By then what it was told before is on its way.
    """
    if not await io.directory.ready(session):
        return False
    missed = io.rooms.missed(session)
    return missed is not None and missed.conversation_id == conversation_id


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
