"""Messages: send, and read back."""

from fastim.core.admit import admit
from fastim.core.commands import ReadHistory, Send
from fastim.core.events import MessagePosted
from fastim.core.history import span
from fastim.core.ids import MESSAGE_ENTROPY_BYTES, message_id
from fastim.core.message import place, type_of
from fastim.core.permission import permitted
from fastim.core.replies import Acked, History
from fastim.core.session import Config, Session
from fastim.service.io import Io


async def send_message(io: Io, session: Session, command: Send) -> Acked | None:
    """Store the message, then deliver it. ``None``: a transient one from a client that expects no ack."""
    if command.transient:
        return await _send_transient(io, session, command)
    async with io.lanes.hold(command.conversation_id):
        found = await io.store.find_conversation(command.conversation_id)
        conversation, draft = admit(found, session.client_id, command, io.policy)
        committed = io.store.append(conversation.id, draft, io.clock.now())  # queued in order: the lane is free
    appended = await committed  # on disk
    message = appended.message
    if appended.fresh:
        event = MessagePosted(conversation.id, conversation.kind, message, conversation.members, origin=session.number)
        await io.bus.publish(event)
    return Acked(message.id, message.timestamp)


async def read_history(io: Io, session: Session, command: ReadHistory) -> History:
    """A stretch of a conversation's messages, ascending."""
    found = await io.store.find_conversation(command.conversation_id)
    conversation = permitted(found, session.client_id, command)
    wanted_type = command.message_type
    wanted = None if wanted_type is None else lambda message: type_of(message) == wanted_type
    messages = await io.store.history(conversation.id, span(command), wanted)
    return History(conversation.id, conversation.kind, tuple(messages))


async def _send_transient(io: Io, session: Session, command: Send) -> Acked | None:
    """To those online now, and nowhere else. Source: semantics, transient messages."""
    found = await io.store.find_conversation(command.conversation_id)
    conversation, draft = admit(found, session.client_id, command, io.policy)
    now = io.clock.now()
    message = place(draft, message_id(now, io.entropy(MESSAGE_ENTROPY_BYTES)), now, sequence=0)
    event = MessagePosted(
        conversation.id, conversation.kind, message, conversation.members, origin=session.number, transient=True
    )
    await io.bus.publish(event)
    return Acked(message.id, now) if Config.TRANSIENT_ACKS in session.config else None
