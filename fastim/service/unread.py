"""Unread counts: what a client is told when it opens a session, and when it has read.

A service conversation has two logs for each client, its own and the one for all subscribers: they are counted together.
"""

from collections.abc import Iterable

from fastim.core.commands import MarkRead, ReadMark
from fastim.core.errors import QueryFailed
from fastim.core.events import UnreadChanged, UnreadNotice
from fastim.core.ids import log_owner, personal_log
from fastim.core.message import Message
from fastim.core.policy import IDS_PER_COMMAND_MAX
from fastim.core.session import OfflineMode, Session
from fastim.core.units import Millis
from fastim.core.unread import Unread, changed_since, furthest, total, unread, unread_since
from fastim.ports.store import Joined
from fastim.service.finding import find_living
from fastim.service.io import Io
from fastim.service.receipts import kept_of, progress_lane, publish_receipts, reachable, receipts_of_reading

Talk = list[Joined]
"""The logs of one conversation that a client belongs to: one, or two in a service conversation."""


async def mark_read(io: Io, session: Session, command: MarkRead) -> None:
    """Move the client's read positions, then tell all its sessions, this one too: Swift counts down only when told."""
    if len(command.marks) > IDS_PER_COMMAND_MAX:
        raise QueryFailed(f"at most {IDS_PER_COMMAND_MAX} conversations at a time")
    now = io.clock.now()
    read = []
    for mark in furthest(command.marks):
        await io.pace.breathe()
        for log_id in _logs(mark.conversation_id, session.client_id):
            await _mark(io, session.client_id, log_id, mark, now)
        read.append(mark.conversation_id)
    async with io.lanes.hold(("unread", session.client_id)):  # or what was true earlier could be told later
        talks = [await talk_in(io, session.client_id, conversation_id) for conversation_id in read]
        if notices := await _notices(io, session.client_id, filter(None, talks)):
            await io.bus.publish(UnreadChanged(session.client_id, notices, at=now))


async def tell_unread(io: Io, session: Session, told: Millis) -> None:
    """Tell a session what its client has not read, as far as that changed since ``told``.

    Conversations whose count fell to 0 since then are named too. Source: semantics, rules 7.6 and 7.7.
    """
    if session.offline_mode is not OfflineMode.UNREAD:
        return
    since = unread_since(told, io.clock.now())
    changed = [
        talk
        for talk in await _talks(io, session.client_id)
        if any(changed_since(one.head, one.membership, since) for one in talk)
        and (told > 0 or _unread(talk, session.client_id).count)
    ]
    changed.sort(key=lambda talk: max(one.head.timestamp for one in talk), reverse=True)
    await _tell(io, session, changed, io.policy.unread_conversations)


async def tell_all_unread(io: Io, session: Session) -> None:
    """Tell a session of every conversation in which something is unread: it missed deliveries, and of any of them."""
    left = [talk for talk in await _talks(io, session.client_id) if _unread(talk, session.client_id).count]
    for begin in range(0, len(left), io.policy.unread_conversations):
        if not await io.directory.ready(session):
            return
        await _tell(io, session, left[begin : begin + io.policy.unread_conversations], io.policy.unread_conversations)


async def talk_in(io: Io, client_id: str, conversation_id: str) -> Talk:
    """The logs of a conversation that the client belongs to, as they are now; empty when it belongs to none."""
    talk = []
    for log_id in _logs(conversation_id, client_id):
        membership = await io.store.find_membership(log_id, client_id)
        if membership is not None:
            talk.append(Joined(log_id, membership, await io.store.find_head(log_id)))
    return talk


def _logs(conversation_id: str, client_id: str) -> tuple[str, str]:
    return conversation_id, personal_log(conversation_id, client_id)


async def _mark(io: Io, client_id: str, log_id: str, mark: ReadMark, now: Millis) -> None:
    """Move the client's position in one log, if it has one there, and tell senders who wait for that."""
    async with io.lanes.hold(progress_lane(log_id, client_id)):
        before = await io.store.find_membership(log_id, client_id)
        if before is None:
            return
        upto = await reachable(io, log_id, mark.upto)
        receipts = await receipts_of_reading(io, client_id, log_id, before, upto, now)
        after = await io.store.mark_read(log_id, client_id, upto, now, kept_of(receipts))
        if after is not None and after.read > before.read:
            await publish_receipts(io, receipts)


async def _tell(io: Io, session: Session, talks: list[Talk], most: int) -> None:
    if notices := await _notices(io, session.client_id, talks, most):
        now = io.clock.now()
        await io.bus.publish(UnreadChanged(session.client_id, notices, at=now, session=session.number))


async def _notices(
    io: Io, client_id: str, talks: Iterable[Talk], most: int = IDS_PER_COMMAND_MAX
) -> tuple[UnreadNotice, ...]:
    """One for each conversation that is still there, at most so many."""
    notices: list[UnreadNotice] = []
    for talk in talks:
        if len(notices) == most:
            break
        conversation = await find_living(io, log_owner(talk[0].conversation_id)[0])
        if conversation is not None:
            left = _unread(talk, client_id)
            count = min(left.count, io.policy.unread_cap or left.count)
            last = await _last_message(io, talk)
            notices.append(UnreadNotice(conversation.id, conversation.kind, count, left.mentioned, last))
    return tuple(notices)


async def _talks(io: Io, client_id: str) -> list[Talk]:
    talks: dict[str, Talk] = {}
    for joined in await io.store.joined_conversations(client_id):
        talks.setdefault(log_owner(joined.conversation_id)[0], []).append(joined)
    return list(talks.values())


async def _last_message(io: Io, talk: Talk) -> Message | None:
    newest = max(talk, key=lambda one: one.head.position)
    if not newest.head.sequence:
        return None
    return await io.store.find_message(newest.conversation_id, newest.head.position)


def _unread(talk: Talk, client_id: str) -> Unread:
    return total(unread(one.head, one.membership, client_id) for one in talk)
