"""Messages: send, and read back."""

from collections.abc import Callable

from fastim.core.admit import HIGH_PRIORITY, admit, home, priority
from fastim.core.commands import ReadHistory, Send
from fastim.core.conversation import Conversation, Kind
from fastim.core.events import MessagePosted
from fastim.core.history import merged, span
from fastim.core.ids import MESSAGE_ENTROPY_BYTES, message_id, personal_log
from fastim.core.message import Message, Span, place, type_of
from fastim.core.replies import Acked, History
from fastim.core.session import Config, Session
from fastim.service.audience import audience, telling_lane
from fastim.service.filtering import filtered, tell_sender
from fastim.service.finding import find_with_asker, look_up
from fastim.service.io import Io
from fastim.service.receipts import peer_receipt
from fastim.service.wills import leave_will


async def send_message(io: Io, session: Session, command: Send) -> Acked | None:
    """Store the message, then deliver it. ``None``: a transient one from a client that expects no ack."""
    if command.will:
        return await leave_will(io, session, command)
    if command.transient:
        return await _send_transient(io, session, command)
    async with io.lanes.hold(command.conversation_id):
        found, asker = await look_up(io, session, command.conversation_id)
        now = io.clock.now()
        conversation, admitted = admit(found, asker, command, io.policy, now, session.address, session.config)
        _let_in(io, conversation, command)
        draft = filtered(io, conversation, admitted)
        log_id = home(conversation, asker)
        urgent = priority(conversation, command) == HIGH_PRIORITY
        committed = io.store.append(log_id, draft, now, urgent=urgent)  # queued in order: the lane is free
    appended = await committed  # on disk
    if appended.fresh:
        await _post(io, session, conversation, log_id, command, appended.message)
    # Also when it came again: the first time, the sender may not have heard.
    if draft is not admitted and appended.message.body == draft.body:
        await tell_sender(io, session, conversation, appended.message)
    return Acked(appended.message.id, appended.message.timestamp)


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


async def _send_transient(io: Io, session: Session, command: Send) -> Acked | None:
    """To those online now, and nowhere else. Source: semantics, transient messages."""
    found, asker = await look_up(io, session, command.conversation_id)
    now = io.clock.now()
    conversation, admitted = admit(found, asker, command, io.policy, now, session.address, session.config)
    _let_in(io, conversation, command)
    draft = filtered(io, conversation, admitted)
    message = place(draft, message_id(now, io.entropy(MESSAGE_ENTROPY_BYTES)), now, sequence=0)
    await _post(io, session, conversation, home(conversation, asker), command, message)
    if draft is not admitted:
        await tell_sender(io, session, conversation, message)
    return Acked(message.id, now) if Config.TRANSIENT_ACKS in session.config or session.privileged else None


def _let_in(io: Io, conversation: Conversation, command: Send) -> None:
    """A chat room takes so much and no more; nobody is there to hear that of a will, so wills do not come this way."""
    if conversation.kind is Kind.CHAT_ROOM:
        io.ingress.admit(conversation.id, priority(conversation, command))


async def _post(
    io: Io, session: Session, conversation: Conversation, log_id: str, command: Send, message: Message
) -> None:
    """Deliver ``message``. Who of a service's subscribers is online takes a while to find out: that goes in turns."""
    if conversation.kind is not Kind.SYSTEM:
        await _publish(io, session, conversation, log_id, command, message)
        return
    async with io.lanes.hold(telling_lane(log_id)):
        await _publish(io, session, conversation, log_id, command, message)


async def _publish(
    io: Io, session: Session, conversation: Conversation, log_id: str, command: Send, message: Message
) -> None:
    event = MessagePosted(
        conversation.id,
        conversation.kind,
        message,
        await audience(io, conversation, log_id),
        origin=session.number,
        transient=command.transient,
        priority=priority(conversation, command),
        # What the application says in a client's name in a chat room is no news to that client. Source: rule 5.6.
        sync=command.sync and not (session.privileged and conversation.kind is Kind.CHAT_ROOM),
    )
    await io.bus.publish(event)


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
