"""Wills: kept when they are left, delivered when their session is lost.

A hook for messages is asked when a will is to be delivered: only then is it a message. What it drops is forgotten, and
nobody is left to be told so.

Of a will that is both, kept back and transient, the first counts: a will is told only to those online anyway, so being
transient adds nothing to it. That is our choice; the sources do not say.

One client's wills take turns, so that a will is sent, taken over, replaced or dropped, and never two of these. What
decides in the end is ``take_will``: of many who would send it, one gets it.
"""

from msgspec.structs import replace

from fastim.core.admit import admit, home, priority, require_voice
from fastim.core.commands import Send
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import Refusal
from fastim.core.events import MessagePosted
from fastim.core.hooked import content_of, narrowed, peers, rewritten
from fastim.core.hooks import MessageReceived
from fastim.core.ids import MESSAGE_ENTROPY_BYTES, message_id
from fastim.core.message import place
from fastim.core.permission import Asker, permitted
from fastim.core.replies import Acked
from fastim.core.session import Config, OfflineMode, Session
from fastim.core.will import Holder, Will
from fastim.service.asking import tell_sent
from fastim.service.audience import audience
from fastim.service.filtering import filtered, tell_sender
from fastim.service.finding import look_up
from fastim.service.io import Io


async def leave_will(io: Io, session: Session, command: Send) -> Acked:
    """Keep a message until its session is lost; the client's older will is forgotten. Source: semantics, rule 5.21."""
    async with io.lanes.hold(_lane(session.client_id)):
        found, asker = await look_up(io, session, command.conversation_id)
        now = io.clock.now()
        conversation, admitted = admit(found, asker, command, io.policy, now, session.address, session.config)
        draft = filtered(io, conversation, admitted)
        will = Will(
            session.client_id,
            conversation.id,
            message_id(now, io.entropy(MESSAGE_ENTROPY_BYTES)),
            draft,
            priority(conversation, command),
            _holder(session),
        )
        await io.store.save_will(will)
    if draft is not admitted:
        await tell_sender(io, session, conversation, place(draft, will.message_id, now, sequence=0))
    return Acked(will.message_id, now)


async def fire_will(io: Io, session: Session) -> None:
    """The session was lost: its will is sent, to those online, if its client may still speak there."""
    async with io.lanes.hold(_lane(session.client_id)):
        will = await io.store.find_will(session.client_id)
        if will is None or not _belongs_to(will, session) or not await _take(io, will):
            return
    await _send(io, will)


async def drop_will(io: Io, session: Session) -> None:
    """The session was closed by its client: its will is not sent. Source: semantics, rule 5.20."""
    async with io.lanes.hold(_lane(session.client_id)):
        will = await io.store.find_will(session.client_id)
        if will is not None and _belongs_to(will, session):
            await io.store.take_will(will.client_id, will.holder)


async def adopt_will(io: Io, session: Session) -> None:
    """A device that has come back, or goes by another name now, has the will again that it had left.

    Its older session is over then, whether the server has noticed or was itself away meanwhile.
    """
    async with io.lanes.hold(_lane(session.client_id)):
        will = await io.store.find_will(session.client_id)
        if will is None or will.holder == _holder(session):
            return
        if will.holder.device == session.device or _belongs_to(will, session):
            await io.store.save_will(replace(will, holder=_holder(session)))


async def fire_orphans(io: Io) -> None:
    """Send the wills of sessions that are no more, and whose devices did not come back.

    To be called a while after the server has started: the sessions of an earlier run were lost.
    """
    for will in await io.store.wills():
        await io.pace.breathe()
        async with io.lanes.hold(opening_lane(will.client_id)), io.lanes.hold(_lane(will.client_id)):
            heirless = not any(_belongs_to(will, one) for one in io.directory.sessions(will.client_id))
            taken = heirless and await _take(io, will)
        if taken:
            await _send(io, will)


def opening_lane(client_id: str) -> tuple[str, str]:
    """The lane in which a client's openings take turns: a session that is about to open may have the will already.

    No conversation's name can be it.
    """
    return "client", client_id


async def _take(io: Io, will: Will) -> bool:
    """Whoever takes the will sends it, once."""
    return await io.store.take_will(will.client_id, will.holder) is not None


async def _send(io: Io, will: Will) -> None:
    """Send it, unless it cannot be said any more; the client can do what it likes meanwhile."""
    sender = _sender(will)
    answer = None
    try:
        conversation, asker = await _place_of(io, will, sender)
        if io.hooks.defines(MessageReceived):
            answer = await io.hooks.ask(_question(io, will, conversation))
            if answer.drop:
                return
            conversation, asker = await _place_of(io, will, sender)
    except Refusal:
        return
    draft = will.draft if answer is None else rewritten(will.draft, answer, io.policy.message_bytes)
    # Once more: the list may be another one by now, and the conversation a larger one.
    message = place(filtered(io, conversation, draft), will.message_id, io.clock.now(), sequence=0)
    recipients = narrowed(
        conversation, await audience(io, conversation, home(conversation, asker)), message.sender, answer
    )
    event = MessagePosted(
        conversation.id,
        conversation.kind,
        message,
        recipients,
        origin=0,  # the session is gone, and another may have its number since
        priority=will.priority,
    )
    await io.bus.publish(event)
    tell_sent(io, conversation, message, recipients)


async def _place_of(io: Io, will: Will, sender: Session) -> tuple[Conversation, Asker]:
    """Where the will is to be sent; raises when it cannot be said there."""
    found, asker = await look_up(io, sender, will.conversation_id)
    conversation = permitted(found, asker, Send(will.conversation_id, will.draft.body, len(will.draft.body)))
    require_voice(asker, io.clock.now())
    return conversation, asker


def _question(io: Io, will: Will, conversation: Conversation) -> MessageReceived:
    return MessageReceived(
        from_peer=will.client_id,
        conversation_id=conversation.id,
        to_peers=peers(conversation, will.client_id),
        transient=False,
        bin=will.draft.binary,
        content=content_of(will.draft),
        receipt=False,
        timestamp=io.clock.now(),
        system=conversation.kind is Kind.SYSTEM,
        source_ip=will.draft.address,
    )


def _holder(session: Session) -> Holder:
    return Holder(session.number, session.opened_at, session.device)


def _belongs_to(will: Will, session: Session) -> bool:
    """Whether ``session`` left the will, or took it over; its device may be known by another name by now."""
    return (will.holder.number, will.holder.opened_at) == (session.number, session.opened_at)


def _sender(will: Will) -> Session:
    """The session that is no more, as far as it matters to who may speak."""
    holder = will.holder
    return Session(holder.number, will.client_id, "", holder.device, Config(0), OfflineMode.UNREAD, holder.opened_at)


def _lane(client_id: str) -> tuple[str, str]:
    return "will", client_id
