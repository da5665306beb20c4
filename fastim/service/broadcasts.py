"""Broadcasts: what a service conversation says to some clients, to its subscribers, or to everybody.

Only the application speaks for a service conversation. What it says to some goes to the log that each of them has
there, what it says to all subscribers to the conversation's own log. What it says to everybody is in no log: it is kept
for those who log in before it expires. Source: semantics, rules 1.14 to 1.16.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from fastim.core.admit import admit
from fastim.core.broadcast import Broadcast
from fastim.core.commands import PatchMessage, Send
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import (
    ConversationNotFound,
    InvalidLogin,
    MessageNotFound,
    SendingNotAllowed,
    SystemConversationRequired,
)
from fastim.core.events import MessagePosted, MessagesQueued
from fastim.core.ids import MESSAGE_ENTROPY_BYTES, is_client_id, message_id, personal_log
from fastim.core.message import Draft, Message, Position, next_timestamp, place
from fastim.core.patch import patch
from fastim.core.permission import Asker
from fastim.core.policy import ADDRESSEES_MAX, BROADCAST_MILLIS
from fastim.core.replies import Acked, Patched
from fastim.core.session import Session
from fastim.core.units import Millis
from fastim.ports.store import Arrival
from fastim.service.asking import tell_sent
from fastim.service.filtering import cleaned
from fastim.service.finding import find_living, look_up
from fastim.service.io import Io
from fastim.service.messages import send_message
from fastim.service.offline import push
from fastim.service.pushing import push_job

_TO_EVERYBODY = ("broadcasts",)
"""The lane in which messages to everybody are given their times: who has seen one has seen all before it."""


async def send_to_clients(io: Io, session: Session, command: Send, client_ids: Sequence[str]) -> Acked:
    """Write to each of ``client_ids``, subscribers or not, without the others knowing.

    Each gets a message of its own, all with the same id and the same time.

    Raises:
        Refusal: There is no such service conversation, nobody to write to, or too many; or as for any message.
    """
    addressees = _addressees(client_ids)
    logs = [personal_log(command.conversation_id, client_id) for client_id in addressees]
    async with io.lanes.hold(command.conversation_id):
        conversation, admitted = await _admitted(io, session, command)
        draft = cleaned(io, admitted)
        now = io.clock.now()
        committed = job = None
        if not command.transient:
            job = push_job(io, conversation, logs[0], draft, command, addressees)
            committed = io.store.append_each(logs, draft, now, push=job)
    if committed is None:
        messages = [_passing(io, draft, now)] * len(logs)
    else:
        messages = [appended.message for appended in await committed]
        if job is not None:
            io.pusher.wake()
    copied = (session.client_id,) if command.sync and session.client_id else ()
    for client_id, message in zip(addressees, messages, strict=True):
        await _post(io, conversation, command, message, tuple(dict.fromkeys((client_id, *copied))))
        copied = ()
    tell_sent(io, conversation, messages[0], addressees, transient=command.transient)
    return Acked(messages[0].id, messages[0].timestamp)


async def send_to_subscribers(io: Io, session: Session, command: Send) -> Acked:
    """Write to every subscriber: in the history of all, delivered to those online.

    Raises:
        Refusal: As for ``send_to_clients``.
    """
    await _admitted(io, session, command)
    acked = await send_message(io, session, command)
    assert acked is not None  # the application is always told
    return acked


async def send_to_everybody(io: Io, session: Session, command: Send, valid_till: Millis | None = None) -> Acked:
    """Write to every client of the application: those online now, and the others when they log in.

    Nobody is pushed anything: it would be all clients that ever were.

    Args:
        valid_till: Who logs in later does not get it any more; ``None`` for the longest that there is, to which it is
            cut.

    Raises:
        Refusal: There is no such service conversation, or it would have expired already; or as for any message.
    """
    async with io.lanes.hold(_TO_EVERYBODY):
        conversation, admitted = await _admitted(io, session, command)
        draft = cleaned(io, admitted)
        now = io.clock.now()
        if valid_till is not None and valid_till <= now:
            raise SendingNotAllowed("valid_till has passed")
        ahead = await io.store.broadcasts(Millis(now - 1))
        message = _passing(io, draft, next_timestamp(ahead[-1].message.timestamp, now) if ahead else now)
        if not command.transient:
            latest = Millis(now + BROADCAST_MILLIS)
            await io.store.save_broadcast(Broadcast(conversation.id, message, min(valid_till or latest, latest)))
        online = tuple(io.directory.clients())
        await _post(io, conversation, command, message, online)
        if not command.transient:
            await _note_seen(io, online, message)
        tell_sent(io, conversation, message, online, transient=command.transient)
    return Acked(message.id, message.timestamp)


async def deliver_broadcasts(io: Io, session: Session, arrival: Arrival) -> None:
    """Send a session that has just opened what was said to everybody and its client has not had.

    A client that is new gets the newest alone. Source: semantics, rule 7.10.
    """
    now = io.clock.now()
    missed = await io.store.broadcasts(arrival.broadcasts_seen)
    if not missed:
        return
    current = [one for one in missed if one.valid_till > now and await find_living(io, one.conversation_id) is not None]
    queued: dict[str, list[Message]] = {}
    for one in current[-1:] if arrival.first else current:
        queued.setdefault(one.conversation_id, []).append(one.message)
    for conversation_id, messages in queued.items():
        event = MessagesQueued(
            session.client_id, session.number, conversation_id, Kind.SYSTEM, tuple(messages), more=False
        )
        if not await push(io, session, event):
            return
    await io.store.saw_broadcasts(session.client_id, missed[-1].message.timestamp)


async def list_broadcasts(io: Io, conversation_id: str, skip: int, limit: int) -> list[Broadcast]:
    """What the service conversation says to everybody and has not expired, newest first.

    Raises:
        ConversationNotFound: There is no such conversation.
    """
    if await find_living(io, conversation_id) is None:
        raise ConversationNotFound
    now = io.clock.now()
    current = [
        one for one in await io.store.broadcasts() if one.conversation_id == conversation_id and one.valid_till > now
    ]
    return current[::-1][max(skip, 0) :][: max(limit, 0)]


async def delete_broadcast(io: Io, message_id: str) -> None:
    """Nobody else gets that message to everybody.

    Raises:
        MessageNotFound: There is no such one.
    """
    if not await io.store.delete_broadcast(message_id):
        raise MessageNotFound


async def patch_broadcast(io: Io, session: Session, command: PatchMessage) -> Patched:
    """Modify or recall a message to everybody, for those who have not had it yet; the others keep what they have.

    Raises:
        MessageNotFound: It is none of that conversation's messages to everybody.
        Refusal: As for any message.
    """
    async with io.lanes.hold(_TO_EVERYBODY):
        broadcast = await _find_broadcast(io, command.conversation_id, command.position)
        if broadcast is None:
            raise MessageNotFound
        now = io.clock.now()
        asker = Asker(session.client_id, member=False, privileged=session.privileged)
        patched_at = next_timestamp(max(broadcast.message.timestamp, broadcast.message.patched_at), now)
        patched = cleaned(io, patch(broadcast.message, asker, command, io.policy, now))
        patched = replace(patched, patched_at=patched_at)
        await io.store.save_broadcast(replace(broadcast, message=patched))
    return Patched(patched_at)


async def _find_broadcast(io: Io, conversation_id: str, position: Position) -> Broadcast | None:
    since = Millis(max(position.timestamp - 1, 0))
    return next(
        (
            one
            for one in await io.store.broadcasts(since)
            if one.conversation_id == conversation_id and one.message.position == position
        ),
        None,
    )


def _addressees(client_ids: Sequence[str]) -> tuple[str, ...]:
    addressees = tuple(dict.fromkeys(client_ids))
    if not 0 < len(addressees) <= ADDRESSEES_MAX:
        raise SendingNotAllowed(f"1 to {ADDRESSEES_MAX} clients at a time")
    if not all(map(is_client_id, addressees)):
        raise InvalidLogin("a client's id is empty, too long or not printable")
    return addressees


async def _admitted(io: Io, session: Session, command: Send) -> tuple[Conversation, Draft]:
    """The service conversation that is to speak, and what it says."""
    if not session.privileged:
        raise SendingNotAllowed("only the application speaks for a service conversation")
    found, asker = await look_up(io, session, command.conversation_id)
    conversation, draft = admit(found, asker, command, io.policy, io.clock.now(), session.address)
    if conversation.kind is not Kind.SYSTEM:
        raise SystemConversationRequired
    return conversation, draft


def _passing(io: Io, draft: Draft, now: Millis) -> Message:
    """A message that is in no log."""
    return place(draft, message_id(now, io.entropy(MESSAGE_ENTROPY_BYTES)), now, sequence=0)


async def _post(
    io: Io, conversation: Conversation, command: Send, message: Message, recipients: tuple[str, ...]
) -> None:
    event = MessagePosted(
        conversation.id,
        conversation.kind,
        message,
        recipients,
        origin=0,
        transient=command.transient,
        sync=command.sync,
    )
    await io.bus.publish(event)


async def _note_seen(io: Io, client_ids: Sequence[str], message: Message) -> None:
    """Remember that all these have had it: one commit takes as many as have gathered."""
    written = []
    for client_id in client_ids:
        await io.pace.breathe()
        written.append(io.store.saw_broadcasts(client_id, message.timestamp))
    for one in written:
        await one
