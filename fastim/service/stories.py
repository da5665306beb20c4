"""Stories: what the store knows of one message, for an operator who asks about it."""

from contextlib import aclosing

from msgspec import Struct

from fastim.core.conversation import Conversation, Kind
from fastim.core.ids import is_client_id, log_owner, made_at
from fastim.core.message import Message, Position
from fastim.core.units import Millis
from fastim.service.console import SCAN_MAX
from fastim.service.io import Io

MEMBERS_MAX = 500
"""Members of whom it is looked up how far they have got."""
PUSHES_MAX = 1_000
"""Of all that waits to be pushed, so much is looked through."""

_LANE = ("console",)


class Found(Struct, frozen=True):
    """A message and where it is."""

    conversation: Conversation
    log_id: str
    message: Message


class Reached(Struct, frozen=True):
    """Whether a message has reached a member: its device has acknowledged it, the member has read it."""

    client_id: str
    delivered: bool
    read: bool


class WaitingPush(Struct, frozen=True):
    """A notification of it that waits, as the next one of its target.

    Attributes:
        due: When it is tried.
        attempts: How often it was tried in vain.
    """

    client_id: str
    installation_id: str
    due: Millis
    attempts: int


class Waiting(Struct, frozen=True):
    """What waits to be pushed of a message.

    Attributes:
        job: It is not yet worked out who is pushed what.
        pushes: Those of the longest waiting ones that are of it.
    """

    job: bool
    pushes: tuple[WaitingPush, ...]


async def find_message(io: Io, message_id: str, log_id: str) -> Found | None:
    """The message of that id in that log; ``None`` when there is none."""
    at = made_at(message_id)
    conversation_id, owner = log_owner(log_id)
    if at is None or (owner and not is_client_id(owner)):
        return None
    conversation = await io.store.find_conversation(conversation_id)
    if conversation is None:
        return None
    message = await io.store.find_message(log_id, Position(at, message_id))
    return None if message is None else Found(conversation, log_id, message)


async def search_message(io: Io, message_id: str) -> Found | None:
    """The same when nobody knows where it is: one conversation after the other is asked, the newest first.

    It is not found in one of very many older ones, nor where a service conversation has it in the log of one client.
    """
    at = made_at(message_id)
    if at is None:
        return None
    position = Position(at, message_id)
    looked_at = 0
    async with io.lanes.hold(_LANE), aclosing(io.store.scan_conversations()) as conversations:
        async for conversation in conversations:
            await io.pace.breathe()
            looked_at += 1
            if looked_at > SCAN_MAX:
                break
            message = await io.store.find_message(conversation.id, position)
            if message is not None:
                return Found(conversation, conversation.id, message)
    return None


async def reached(io: Io, found: Found) -> list[Reached]:
    """How far the message has got among the members, its sender aside; of many members the first.

    Nobody knows of a chat room, and of all subscribers of a service conversation it would take too long.
    """
    owner = log_owner(found.log_id)[1]
    kind = found.conversation.kind
    members = (owner,) if owner else found.conversation.members if kind in (Kind.NORMAL, Kind.TEMPORARY) else ()
    told = []
    for client_id in members[:MEMBERS_MAX]:
        if client_id == found.message.sender:
            continue
        await io.pace.breathe()
        membership = await io.store.find_membership(found.log_id, client_id)
        if membership is not None:
            sequence = found.message.sequence
            read = membership.read >= sequence
            told.append(Reached(client_id, read or membership.delivered >= sequence, read))
    return told


async def waiting_pushes(io: Io, message_id: str) -> Waiting:
    """What waits to be pushed of the message."""
    jobs = await io.store.push_jobs(PUSHES_MAX)
    await io.pace.breathe()
    due = await io.store.due_pushes(_NEVER, PUSHES_MAX)
    pushes = tuple(
        WaitingPush(push.notification.client_id, push.notification.installation_id, push.due, push.attempts)
        for push in due
        if push.notification.message_id == message_id
    )
    return Waiting(any(job.message_id == message_id for job in jobs), pushes)


_NEVER = Millis(2**47)
"""Later than whatever is due."""
