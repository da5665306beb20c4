"""Missed messages, for sessions that want them themselves instead of unread counts.

They are pushed in batches; the next one follows when the last one is acknowledged. What an acknowledgement means is
decided in ``fastim.core.backlog``. Source: semantics, rule 7.9.
"""

from msgspec.structs import replace

from fastim.core.backlog import Backlog, acknowledged, batch
from fastim.core.events import MessagesQueued
from fastim.core.ids import log_owner
from fastim.core.message import Position, pieces
from fastim.core.policy import PIECE_BYTES, QUEUED_MAX
from fastim.core.session import OfflineMode, Session
from fastim.core.units import Millis
from fastim.ports.store import Joined
from fastim.service.finding import find_living
from fastim.service.io import Io


async def push_missed(io: Io, session: Session) -> None:
    """Push a session that has just opened what its client missed: of each conversation a first batch.

    Until this is through, what the session acknowledges does not count: it came in meanwhile.
    """
    if session.offline_mode is not OfflineMode.PUSH:
        return
    backlogs: dict[str, Backlog] = {}
    begins: dict[str, int] = {}
    for joined in await io.store.joined_conversations(session.client_id):
        await io.pace.breathe()
        begin = _oldest(joined)
        begun = await _batch_after(io, session, joined.conversation_id, begin, joined.head.sequence)
        if begun is not None:
            backlogs[joined.conversation_id], _ = begun
            begins[joined.conversation_id] = begin
    if not any(one.number == session.number for one in io.directory.sessions(session.client_id)):
        return  # it has ended meanwhile
    io.backlogs[session.number] = backlogs
    for log_id, begin in begins.items():
        await _push_first(io, session, log_id, begin, backlogs[log_id])


async def go_on(
    io: Io, session: Session, log_id: str, upto: Position, since: Millis | None, *, alone: bool
) -> Position | None:
    """Push the next batch of a log when ``session`` has acknowledged the last one.

    Args:
        since: As in ``fastim.core.backlog.acknowledged``, like ``alone``.

    Returns:
        Up to where everything in the log was received by now; ``None``: no further than before.
    """
    backlogs = io.backlogs.get(session.number)
    if backlogs is None:
        return None
    backlog = backlogs.get(log_id)
    if backlog is None:
        return upto
    step = acknowledged(backlog, upto, since, alone=alone)
    backlogs[log_id] = step.backlog
    if not step.batch_done:
        return step.counted
    begun = await _batch_after(io, session, log_id, backlog.sequence, backlog.until)
    if begun is None:
        backlogs.pop(log_id, None)
        return step.backlog.acknowledged or step.counted
    if session.number in io.backlogs:  # it may have ended meanwhile
        following, event = begun
        backlogs[log_id] = replace(following, acknowledged=step.backlog.acknowledged)
        await push(io, session, event)
    return step.counted


async def push(io: Io, session: Session, event: MessagesQueued) -> bool:
    """Publish ``event``, for ``session`` alone, in pieces that there is room for; whether the session is still open."""
    for piece in pieces(event.messages, PIECE_BYTES):
        if not await io.directory.ready(session):
            return False
        await io.bus.publish(replace(event, messages=piece, more=event.more and piece[-1] is event.messages[-1]))
    return True


def end_of_batch(io: Io, session: Session, log_id: str) -> Position | None:
    """The last message of the batch that waits to be acknowledged, or ``None`` when none does."""
    backlog = io.backlogs.get(session.number, {}).get(log_id)
    return None if backlog is None else backlog.batch_end


def forget_missed(io: Io, session: Session) -> None:
    """The session has ended: nothing more is pushed to it. Again is harmless."""
    io.backlogs.pop(session.number, None)


async def _push_first(io: Io, session: Session, log_id: str, begin: int, backlog: Backlog) -> None:
    """Push the first batch of a log when there is room for it.

    It is read again: the first batches of a client with many conversations are too much to be held all at once.
    """
    if not await io.directory.ready(session):
        return
    current = io.backlogs.get(session.number, {}).get(log_id)
    if current is None or current.sequence != backlog.sequence:
        return  # it was acknowledged all the same, and others followed
    begun = await _batch_after(io, session, log_id, begin, backlog.until)
    if begun is not None:
        await push(io, session, begun[1])


def _oldest(joined: Joined) -> int:
    """The sequence after which messages are pushed: older ones have arrived, or are too many."""
    received = max(joined.membership.delivered, joined.membership.read)
    return max(received, joined.head.sequence - QUEUED_MAX)


async def _batch_after(
    io: Io, session: Session, log_id: str, sequence: int, until: int
) -> tuple[Backlog, MessagesQueued] | None:
    """The batch after that sequence and what is to be remembered of it; ``None`` when nothing is left."""
    if sequence >= until:
        return None
    conversation = await find_living(io, log_owner(log_id)[0])
    left = await io.store.messages_from(log_id, sequence + 1, until - sequence)
    messages, more = batch(left, session.client_id)
    if conversation is None or not messages:
        return None
    last = messages[-1]
    return Backlog(last.position, last.sequence, until), MessagesQueued(
        session.client_id, session.number, conversation.id, conversation.kind, tuple(messages), more
    )
