"""Unread counts: what a client is told when it opens a session, and when it has read."""

from collections.abc import Iterable

from fastim.core.commands import MarkRead
from fastim.core.conversation import Kind
from fastim.core.errors import QueryFailed
from fastim.core.events import UnreadChanged, UnreadNotice
from fastim.core.policy import IDS_PER_COMMAND_MAX
from fastim.core.session import OfflineMode, Session
from fastim.core.units import Millis
from fastim.core.unread import changed_since, furthest, unread, unread_since
from fastim.ports.store import Joined
from fastim.service.io import Io


async def mark_read(io: Io, session: Session, command: MarkRead) -> None:
    """Move the client's read positions, then tell all its sessions, this one too: Swift counts down only when told."""
    if len(command.marks) > IDS_PER_COMMAND_MAX:
        raise QueryFailed(f"at most {IDS_PER_COMMAND_MAX} conversations at a time")
    now = io.clock.now()
    read = []
    for mark in furthest(command.marks):
        await io.pace.breathe()
        if await io.store.find_membership(mark.conversation_id, session.client_id) is None:
            continue
        membership = await io.store.mark_read(mark.conversation_id, session.client_id, mark.upto, now)
        if membership is not None:
            read.append(Joined(mark.conversation_id, membership, await io.store.find_head(mark.conversation_id)))
    if read:
        notices = await _notices(io, session.client_id, read)
        await io.bus.publish(UnreadChanged(session.client_id, notices, at=now))


async def tell_unread(io: Io, session: Session, told: Millis) -> None:
    """Tell a session what its client has not read, as far as that changed since ``told``.

    Conversations whose count fell to 0 since then are named too. Source: semantics, rules 7.6 and 7.7.
    """
    if session.offline_mode is not OfflineMode.UNREAD:
        return
    since = unread_since(told, io.clock.now())
    changed = [
        one
        for one in await io.store.joined_conversations(session.client_id)
        if changed_since(one.head, one.membership, since)
        and (since > 0 or unread(one.head, one.membership, session.client_id).count)
    ]
    changed.sort(key=lambda one: one.head.timestamp, reverse=True)
    await _tell(io, session, changed[: io.policy.unread_conversations])


async def tell_all_unread(io: Io, session: Session) -> None:
    """Tell a session of every conversation in which something is unread: it missed deliveries, and of any of them."""
    joined = await io.store.joined_conversations(session.client_id)
    left = [one for one in joined if unread(one.head, one.membership, session.client_id).count]
    for begin in range(0, len(left), io.policy.unread_conversations):
        await _tell(io, session, left[begin : begin + io.policy.unread_conversations])


async def _tell(io: Io, session: Session, joined: list[Joined]) -> None:
    if joined:
        notices = await _notices(io, session.client_id, joined)
        now = io.clock.now()
        await io.bus.publish(UnreadChanged(session.client_id, notices, at=now, session=session.number))


async def _notices(io: Io, client_id: str, joined: Iterable[Joined]) -> tuple[UnreadNotice, ...]:
    notices = []
    for one in joined:
        left = unread(one.head, one.membership, client_id)
        cap = io.policy.unread_cap or left.count
        last = await io.store.find_message(one.conversation_id, one.head.position) if one.head.sequence else None
        conversation = await io.store.find_conversation(one.conversation_id)
        kind = Kind.NORMAL if conversation is None else conversation.kind
        notices.append(UnreadNotice(one.conversation_id, kind, min(left.count, cap), left.mentioned, last))
    return tuple(notices)
