"""Receipts: what senders are told of how far their messages have come, and what they can ask.

What was delivered is kept only as far as somebody wants to know, or is owed what it missed: most messages cost nothing
here. Whether receipts are to be had is decided when a message is sent, see ``fastim.core.admit``.
"""

from collections.abc import Iterable

from fastim.core.commands import Acknowledge, QueryReceipts
from fastim.core.conversation import Conversation
from fastim.core.events import MessagesReceipted
from fastim.core.ids import made_at, personal_log
from fastim.core.message import Position, Span
from fastim.core.notice import Addressed, notices_of
from fastim.core.receipt import WINDOW, asked, begin_of_window, looked_at, nothing_missing_until
from fastim.core.replies import MemberReceipt, MemberReceipts, Receipts
from fastim.core.session import OfflineMode, Session
from fastim.core.units import Millis
from fastim.core.unread import Head, Membership
from fastim.service.finding import find
from fastim.service.io import Io
from fastim.service.offline import end_of_batch, go_on


async def acknowledge(io: Io, session: Session, command: Acknowledge) -> None:
    """A device has received messages: tell those who want to know, and go on with what it missed."""
    log_ids = [command.conversation_id]
    if session.offline_mode is OfflineMode.PUSH:
        log_ids.append(personal_log(command.conversation_id, session.client_id))
    for log_id in log_ids:
        if await _progress(io, session, log_id) is None:  # seldom does it matter: no turn has to be waited for
            continue
        async with io.lanes.hold(progress_lane(log_id, session.client_id)):
            await _acknowledge(io, session, log_id, command)


async def query_receipts(io: Io, session: Session, command: QueryReceipts) -> Receipts | MemberReceipts:
    """How far the others have got; without ``all_members`` the one other, or the slowest of several."""
    conversation = await find(io, session, command)
    others = []
    for member in conversation.members:
        if member != session.client_id:
            await io.pace.breathe()
            others.append(await member_receipt(io, conversation.id, member))
    if command.all_members:
        return MemberReceipts(conversation.id, tuple(others))
    return Receipts(
        conversation.id,
        delivered_at=min((one.delivered_at for one in others), default=Millis(0)),
        read_at=min((one.read_at for one in others), default=Millis(0)),
    )


async def peer_receipt(io: Io, session: Session, conversation: Conversation) -> MemberReceipt | None:
    """How far the other one of two members has got; ``None`` in other conversations, and for who is not one of them."""
    if len(conversation.members) != 2 or session.client_id not in conversation.members:
        return None
    (peer,) = (member for member in conversation.members if member != session.client_id)
    return await member_receipt(io, conversation.id, peer)


async def member_receipt(io: Io, log_id: str, client_id: str) -> MemberReceipt:
    """How far a member has got. Who has read has received. Source: semantics, rule 6.3a."""
    membership = await io.store.find_membership(log_id, client_id)
    if membership is None:
        return MemberReceipt(client_id, delivered_at=Millis(0), read_at=Millis(0))
    head = await io.store.find_head(log_id)
    delivered_at = await _told(io, client_id, log_id, membership.delivered, membership.delivered_at, head)
    read_at = await _told(io, client_id, log_id, membership.read, membership.read_at, head)
    return MemberReceipt(client_id, max(delivered_at, read_at), read_at)


async def reachable(io: Io, log_id: str, upto: Position | None) -> Position:
    """``upto``, but not past the last message that is there now: of what comes meanwhile no receipt was made out."""
    head = await io.store.find_head(log_id)
    return head.position if upto is None or _reaches_end(upto, head) else upto


async def receipts_of_reading(
    io: Io, client_id: str, log_id: str, before: Membership, upto: Position, now: Millis
) -> list[MessagesReceipted]:
    """What senders are to be told once ``client_id`` has read up to ``upto``: of all, the last message that asked.

    First what was not told as delivered before. Source: semantics, rules 6.3a and 6.4.
    """
    head = await io.store.find_head(log_id)
    after = await _sequence_at(io, log_id, upto, head)
    if head.receipt <= before.read or after <= before.read:
        return []
    delivered = await _receipts(io, client_id, log_id, before.delivered, after, now, Millis(0))
    begin, limit = looked_at(before.read, after)
    ids = asked(await io.store.messages_from(log_id, begin, limit), client_id)
    last = {sender: of_sender[-1:] for sender, of_sender in ids.items()}
    until = await _told(io, client_id, log_id, after, now, head)
    return [*delivered, *_events(client_id, log_id, last, now, until, read=True)]


def kept_of(events: Iterable[MessagesReceipted]) -> list[Addressed]:
    """What is kept of the receipts for senders who are away."""
    return [notice for event in events for notice in notices_of(event)]


async def publish_receipts(io: Io, events: Iterable[MessagesReceipted]) -> None:
    """Tell senders who are there; what is kept for others is stored with what moved."""
    for event in events:
        await io.bus.publish(event)


def progress_lane(log_id: str, client_id: str) -> tuple[str, str, str]:
    """The lane in which a client's progress in a log takes turns, so that each message is receipted once."""
    return "progress", log_id, client_id


async def _acknowledge(io: Io, session: Session, log_id: str, command: Acknowledge) -> None:
    progress = await _progress(io, session, log_id)
    upto = await _upto(io, session, log_id, command)
    if progress is None or upto is None:
        return
    membership, head = progress
    counted: Position | None = upto
    if session.offline_mode is OfflineMode.PUSH:
        counted = await go_on(io, session, log_id, upto, command.since, alone=bool(command.message_id))
    if counted is not None and membership.delivered < head.sequence:
        await _deliver(io, session.client_id, log_id, membership.delivered, counted, command.since or Millis(0))


async def _progress(io: Io, session: Session, log_id: str) -> tuple[Membership, Head] | None:
    """How far the client is, and how far it could be; ``None`` when nobody wants to know.

    An acknowledgement comes with every message: this is all that most of them cost.
    """
    membership = await io.store.find_membership(log_id, session.client_id)
    if membership is None:
        return None
    head = await io.store.find_head(log_id)
    wanted = session.offline_mode is OfflineMode.PUSH or head.receipt > max(membership.delivered, membership.read)
    return (membership, head) if wanted else None


async def _upto(io: Io, session: Session, log_id: str, command: Acknowledge) -> Position | None:
    """Up to where it reaches; ``None`` when it names nothing that is there, or a message of the client's own.

    Some SDKs acknowledge what their client has sent from another device. Source: wire protocol, client acks.
    """
    if not command.message_id:
        return None if command.until is None else Position(command.until)
    end = end_of_batch(io, session, log_id)
    if end is not None and end.message_id == command.message_id:
        return end  # it was there when it was pushed
    made = made_at(command.message_id)
    if made is None:
        return None
    message = await io.store.find_message(log_id, Position(made, command.message_id))
    return None if message is None or message.sender == session.client_id else message.position


async def _deliver(io: Io, client_id: str, log_id: str, before: int, upto: Position, since: Millis) -> None:
    """Move what was delivered to the client, from sequence ``before`` on, and tell senders who wait for that."""
    now = io.clock.now()
    upto = await reachable(io, log_id, upto)
    after = await _sequence_at(io, log_id, upto, await io.store.find_head(log_id))
    events = await _receipts(io, client_id, log_id, before, after, now, since)
    moved = await io.store.acknowledge(log_id, client_id, upto, now, kept_of(events))
    if moved is not None and moved.after > moved.before:
        await publish_receipts(io, events)


async def _receipts(
    io: Io, client_id: str, log_id: str, before: int, after: int, now: Millis, since: Millis
) -> list[MessagesReceipted]:
    """What senders are to be told once what came after sequence ``before``, up to ``after``, is delivered."""
    head = await io.store.find_head(log_id)
    if head.receipt <= before or after <= before:
        return []
    begin, limit = looked_at(before, after)
    ids = asked(await io.store.messages_from(log_id, begin, limit), client_id, since)
    if not ids:
        return []
    until = await _told(io, client_id, log_id, after, now, head)
    return _events(client_id, log_id, ids, now, until, read=False)


def _events(
    client_id: str, log_id: str, ids: dict[str, list[str]], now: Millis, until: Millis, *, read: bool
) -> list[MessagesReceipted]:
    return [
        MessagesReceipted(log_id, sender, tuple(of_sender), by=client_id, at=now, upto=until, read=read)
        for sender, of_sender in ids.items()
    ]


async def _sequence_at(io: Io, log_id: str, upto: Position, head: Head) -> int:
    """The sequence of the newest message at or before ``upto``; 0 when there is none, or none that is kept."""
    if _reaches_end(upto, head):
        return head.sequence
    bound = upto if upto.message_id else Position(Millis(upto.timestamp + 1))
    found = await io.store.history(log_id, Span(before=bound, before_included=bool(upto.message_id), limit=1))
    return found[0].sequence if found else 0


def _reaches_end(upto: Position, head: Head) -> bool:
    """An ``upto`` without an id covers its whole millisecond."""
    return upto >= head.position or (not upto.message_id and upto.timestamp >= head.timestamp)


async def _told(io: Io, client_id: str, log_id: str, reached: int, at: Millis, head: Head) -> Millis:
    if not at or reached >= head.sequence:
        return nothing_missing_until(client_id, reached, at, head, ())
    window = await io.store.messages_from(log_id, begin_of_window(reached, head), WINDOW)
    return nothing_missing_until(client_id, reached, at, head, window)
