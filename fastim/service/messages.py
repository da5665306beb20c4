"""Messages: send, and read back."""

from collections.abc import Awaitable, Callable

from fastim.core.admit import HIGH_PRIORITY, admit, home, priority
from fastim.core.commands import ReadHistory, Send
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import MessageRejected
from fastim.core.events import MessagePosted
from fastim.core.history import merged, span
from fastim.core.hooked import content_of, narrowed, peers, reason, rewritten, verdict
from fastim.core.hooks import MessageAnswer, MessageReceived, MessageSent
from fastim.core.ids import MESSAGE_ENTROPY_BYTES, message_id, personal_log
from fastim.core.message import Draft, Message, Span, place, type_of
from fastim.core.push import Job
from fastim.core.replies import Acked, History
from fastim.core.session import Config, Session
from fastim.core.units import Millis
from fastim.ports.store import Appended
from fastim.service.asking import answered, asks, tell_sent
from fastim.service.audience import audience, telling_lane
from fastim.service.filtering import filtered, tell_sender
from fastim.service.finding import find_with_asker, look_up
from fastim.service.io import Io
from fastim.service.pushing import push_job
from fastim.service.receipts import peer_receipt
from fastim.service.wills import leave_will

_Queued = tuple[Conversation, str, Draft, Draft, tuple[int, str] | None, Job | None, Awaitable[Appended]]
"""A message in the store's queue, behind those that came before it.

Its conversation and its log; what went into the word filter and what came out; why it reads otherwise than it was sent,
or ``None`` when it does not; what is kept to push it; and its commit. A plain tuple, since every message makes one.
"""


async def send_message(io: Io, session: Session, command: Send) -> Acked | None:
    """Store the message, then deliver it. ``None``: a transient one from a client that expects no ack.

    A hook that is defined for it is asked first, about one that is sent again as well: what its answer makes of the
    message then counts only if it was not stored the first time. Receivers whom the hook leaves out are neither
    delivered it nor pushed anything; in the history, and among what is unread, they have it. Source: rule 5.3.
    """
    if command.will:
        return await leave_will(io, session, command)
    if asks(io, session, MessageReceived):
        return await _send_asked(io, session, command)
    if command.transient:
        return await _send_transient(io, session, command)
    return await _deliver(io, session, command, await _queue(io, session, command))


async def read_history(io: Io, session: Session, command: ReadHistory) -> History:
    """A stretch of a conversation's messages, ascending."""
    conversation, asker = await find_with_asker(io, session, command)
    asked = span(command)
    wanted_type = command.message_type
    wanted = None if wanted_type is None else lambda message: type_of(message) == wanted_type
    if conversation.kind is Kind.SYSTEM and not session.privileged:
        messages = await _own_history(io, conversation, session.client_id, asker.member, asked, wanted)
    else:
        messages = await io.store.history(conversation.id, asked, wanted)
    receipt = await peer_receipt(io, session, conversation)
    return History(conversation.id, conversation.kind, tuple(messages), receipt)


async def _send_asked(io: Io, session: Session, command: Send) -> Acked | None:
    """Ask the hook before; the conversation's lane is free meanwhile."""
    async with io.lanes.hold(command.conversation_id):
        found, asker = await look_up(io, session, command.conversation_id)
        now = io.clock.now()
        conversation, draft = admit(found, asker, command, io.policy, now, session.address, session.config)
        _let_in(io, conversation, command)
        asked = io.hooks.ask(_question(conversation, command, draft, now))
    async with answered(io, session, command.conversation_id, asked) as answer:
        if answer.drop:
            raise MessageRejected(*verdict(answer))
        if command.transient:
            return await _send_transient(io, session, command, answer)
        queued = await _queue(io, session, command, answer)
    return await _deliver(io, session, command, queued, answer)


async def _queue(io: Io, session: Session, command: Send, answer: MessageAnswer | None = None) -> _Queued:
    """Have the message stored next.

    Args:
        answer: The hook's; ``None``: it was not asked.
    """
    async with io.lanes.hold(command.conversation_id):
        found, asker = await look_up(io, session, command.conversation_id)
        now = io.clock.now()
        conversation, admitted = admit(found, asker, command, io.policy, now, session.address, session.config)
        if answer is None:
            _let_in(io, conversation, command)
        given = admitted if answer is None else _given(io, command, admitted, answer)
        draft = filtered(io, conversation, given)
        why = None if draft is admitted else reason(answer, changed=given is not admitted, masked=draft is not given)
        log_id = home(conversation, asker)
        receivers = None if answer is None else _chosen(conversation, draft, answer)
        job = push_job(io, conversation, log_id, draft, command, receivers)
        urgent = priority(conversation, command) == HIGH_PRIORITY
        committed = io.store.append(log_id, draft, now, urgent=urgent, push=job)  # queued in order: the lane is free
    return conversation, log_id, given, draft, why, job, committed


async def _deliver(
    io: Io, session: Session, command: Send, queued: _Queued, answer: MessageAnswer | None = None
) -> Acked:
    conversation, log_id, given, draft, why, job, committed = queued
    appended = await committed  # on disk
    if appended.fresh:
        if job is not None:
            io.pusher.wake()
        if io.story is not None and (answer is not None or draft is not given):
            io.story.judged(conversation.id, appended.message, answer, given)
        await _post(io, session, conversation, log_id, command, appended.message, answer)
    # Also when it came again: the first time, the sender may not have heard.
    if why is not None and appended.message.body == draft.body:
        await tell_sender(io, session, conversation, appended.message, *why)
    return Acked(appended.message.id, appended.message.timestamp)


async def _send_transient(io: Io, session: Session, command: Send, answer: MessageAnswer | None = None) -> Acked | None:
    """To those online now, and nowhere else. Source: semantics, transient messages."""
    found, asker = await look_up(io, session, command.conversation_id)
    now = io.clock.now()
    conversation, admitted = admit(found, asker, command, io.policy, now, session.address, session.config)
    if answer is None:
        _let_in(io, conversation, command)
    given = admitted if answer is None else _given(io, command, admitted, answer)
    draft = filtered(io, conversation, given)
    why = None if draft is admitted else reason(answer, changed=given is not admitted, masked=draft is not given)
    message = place(draft, message_id(now, io.entropy(MESSAGE_ENTROPY_BYTES)), now, sequence=0)
    if io.story is not None and (answer is not None or draft is not given):
        io.story.judged(conversation.id, message, answer, given)
    await _post(io, session, conversation, home(conversation, asker), command, message, answer)
    if why is not None:
        await tell_sender(io, session, conversation, message, *why)
    return Acked(message.id, now) if Config.TRANSIENT_ACKS in session.config or session.privileged else None


def _let_in(io: Io, conversation: Conversation, command: Send) -> None:
    """A chat room takes so much and no more; nobody is there to hear that of a will, so wills do not come this way."""
    if conversation.kind is Kind.CHAT_ROOM:
        io.ingress.admit(conversation.id, priority(conversation, command))


def _question(conversation: Conversation, command: Send, draft: Draft, now: Millis) -> MessageReceived:
    return MessageReceived(
        from_peer=draft.sender,
        conversation_id=conversation.id,
        to_peers=peers(conversation, draft.sender),
        transient=command.transient,
        bin=draft.binary,
        content=content_of(draft),
        receipt=draft.receipt,
        timestamp=now,
        system=conversation.kind is Kind.SYSTEM,
        source_ip=draft.address,
    )


def _given(io: Io, command: Send, admitted: Draft, answer: MessageAnswer) -> Draft:
    """What was admitted as the hook wants it; whatever travels beside the body takes up its part of the limit."""
    return rewritten(admitted, answer, io.policy.message_bytes - command.size_bytes + len(command.body))


def _chosen(conversation: Conversation, draft: Draft, answer: MessageAnswer) -> tuple[str, ...] | None:
    """The receivers when the hook chose some; ``None``: all that there are."""
    if answer.to_peers is None or not conversation.members:
        return None
    return narrowed(conversation, peers(conversation, draft.sender), draft.sender, answer)


async def _post(
    io: Io,
    session: Session,
    conversation: Conversation,
    log_id: str,
    command: Send,
    message: Message,
    answer: MessageAnswer | None,
) -> None:
    """Deliver ``message``. Who of a service's subscribers is online takes a while to find out: that goes in turns."""
    if conversation.kind is not Kind.SYSTEM:
        await _publish(io, session, conversation, log_id, command, message, answer)
        return
    async with io.lanes.hold(telling_lane(log_id)):
        await _publish(io, session, conversation, log_id, command, message, answer)


async def _publish(
    io: Io,
    session: Session,
    conversation: Conversation,
    log_id: str,
    command: Send,
    message: Message,
    answer: MessageAnswer | None,
) -> None:
    recipients = await audience(io, conversation, log_id)
    if answer is not None:
        recipients = narrowed(conversation, recipients, message.sender, answer)
    event = MessagePosted(
        conversation.id,
        conversation.kind,
        message,
        recipients,
        origin=session.number,
        transient=command.transient,
        priority=priority(conversation, command),
        # What the application says in a client's name in a chat room is no news to that client. Source: rule 5.6.
        sync=command.sync and not (session.privileged and conversation.kind is Kind.CHAT_ROOM),
    )
    await io.bus.publish(event)
    if io.hooks.defines(MessageSent):
        tell_sent(io, conversation, message, recipients, transient=command.transient)


async def _own_history(
    io: Io,
    conversation: Conversation,
    client_id: str,
    subscribed: bool,
    asked: Span,
    wanted: Callable[[Message], bool] | None,
) -> list[Message]:
    """What a client sees of a service conversation: its own log, and when subscribed what all subscribers were told."""
    own = await io.store.history(personal_log(conversation.id, client_id), asked, wanted)
    if not subscribed:
        return own
    return merged(own, await io.store.history(conversation.id, asked, wanted), asked)
