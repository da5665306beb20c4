"""Patches: messages that are modified or recalled after they were sent."""

from collections.abc import Iterable

from msgspec import Struct

from fastim.core.commands import PatchMessage
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import PatchRejected
from fastim.core.events import MessagePatched, MissedPatch, PatchesMissed
from fastim.core.hooked import content_of, narrowed, peers, reason, rewritten, verdict
from fastim.core.hooks import MessageAnswer, MessageUpdate
from fastim.core.ids import log_owner, personal_log
from fastim.core.message import Message, Position
from fastim.core.patch import patch
from fastim.core.policy import PATCHES_REPLAYED_MAX, PATCHES_REPLAYED_MILLIS, PIECE_BYTES
from fastim.core.replies import Patched
from fastim.core.session import Config, Session
from fastim.core.units import Millis
from fastim.service.asking import answered, asks
from fastim.service.audience import audience, telling_lane
from fastim.service.filtering import filtered, tell_sender
from fastim.service.finding import find_living, find_with_asker
from fastim.service.io import Io


class _Missed(Struct, frozen=True):
    """A patch and where its message is: a thousand messages are too much to be held for each session that opens."""

    patched_at: Millis
    log_id: str
    position: Position


async def patch_message(io: Io, session: Session, command: PatchMessage, owner: str = "") -> Patched:
    """Rewrite the stored message, then tell everybody concerned, the sender's other devices too.

    A hook that is defined for it is asked first. It may have a modified message read otherwise, and choose who is told
    of the patch; what is left of one that is recalled is always the same.

    Args:
        owner: The client whose log of its own in a service conversation has it; empty: the asker, or nobody.
    """
    owner = owner or session.client_id
    if not asks(io, session, MessageUpdate):
        return await _patch(io, session, command, owner)
    async with io.lanes.hold(command.conversation_id):
        conversation, asker = await find_with_asker(io, session, command)
        _, message = await _find_message(io, conversation, command, owner)
        patched = patch(message, asker, command, io.policy, io.clock.now())
        if patched is message:
            return Patched(patched.patched_at)
        asked = io.hooks.ask(_question(session, conversation, patched, command))
    async with answered(io, session, command.conversation_id, asked) as answer:
        if answer.drop:
            raise PatchRejected(*verdict(answer))
        return await _patch(io, session, command, owner, answer)


async def replay_patches(io: Io, session: Session, since: Millis) -> None:
    """Tell a session that has just opened what was patched after ``since``, oldest first; of too much the newest.

    Source: semantics, rule 8.5.
    """
    if Config.PATCHES not in session.config:
        return
    missed: list[_Missed] = []
    since = Millis(max(since, io.clock.now() - PATCHES_REPLAYED_MILLIS))
    for joined in await io.store.joined_conversations(session.client_id):
        moment = since
        while page := await io.store.patches_since(joined.conversation_id, moment, PATCHES_REPLAYED_MAX):
            await io.pace.breathe()
            if not await _is_living(io, joined.conversation_id):
                break
            missed += [_Missed(one.patched_at, joined.conversation_id, one.position) for one in page]
            missed = _newest(missed)
            moment = page[-1].patched_at
    await _tell_missed(io, session, missed)


async def _patch(
    io: Io, session: Session, command: PatchMessage, owner: str, answer: MessageAnswer | None = None
) -> Patched:
    async with io.lanes.hold(command.conversation_id):
        conversation, asker = await find_with_asker(io, session, command)
        log_id, message = await _find_message(io, conversation, command, owner)
        patched = patch(message, asker, command, io.policy, io.clock.now())
        if patched is message:
            return Patched(patched.patched_at)
        given = patched
        if answer is not None and not patched.recalled:
            given = rewritten(patched, answer, io.policy.message_bytes - command.size_bytes + len(command.body))
        kept = filtered(io, conversation, given)
        stored = await io.store.patch_message(log_id, kept, io.clock.now())
        if io.story is not None and (answer is not None or kept is not given):
            io.story.judged(conversation.id, stored, answer, given)
        if conversation.kind is not Kind.SYSTEM:
            await _publish(io, session, conversation, log_id, stored, answer)
    if conversation.kind is Kind.SYSTEM:
        async with io.lanes.hold(telling_lane(log_id)):
            await _publish(io, session, conversation, log_id, stored, answer)
    if kept is not patched:
        why = reason(answer, changed=given is not patched, masked=kept is not given)
        await tell_sender(io, session, conversation, stored, *why)
    return Patched(stored.patched_at)


def _question(session: Session, conversation: Conversation, patched: Message, command: PatchMessage) -> MessageUpdate:
    return MessageUpdate(
        from_peer=session.client_id,
        conversation_id=conversation.id,
        to_peers=peers(conversation, session.client_id),
        bin=patched.binary,
        content=content_of(patched),
        timestamp=patched.timestamp,
        message_id=patched.id,
        source_ip=session.address,
        recall=command.recall,
        system=conversation.kind is Kind.SYSTEM,
    )


async def _publish(
    io: Io,
    session: Session,
    conversation: Conversation,
    log_id: str,
    message: Message,
    answer: MessageAnswer | None,
) -> None:
    recipients = narrowed(conversation, await audience(io, conversation, log_id), message.sender, answer)
    await io.bus.publish(MessagePatched(conversation.id, conversation.kind, message, recipients, origin=session.number))


async def _find_message(
    io: Io, conversation: Conversation, command: PatchMessage, client_id: str
) -> tuple[str, Message | None]:
    """The message and the log that has it; in a service conversation that may be a client's own."""
    message = await io.store.find_message(conversation.id, command.position)
    if message is None and conversation.kind is Kind.SYSTEM:
        log_id = personal_log(conversation.id, client_id)
        return log_id, await io.store.find_message(log_id, command.position)
    return conversation.id, message


async def _tell_missed(io: Io, session: Session, missed: Iterable[_Missed]) -> None:
    """Tell ``session`` of those that are the last ones of their messages: later ones were told as they were made."""
    told: list[MissedPatch] = []
    size_bytes = 0
    for one in missed:
        message = await io.store.find_message(one.log_id, one.position)
        if message is None or message.patched_at != one.patched_at:
            continue
        told.append(MissedPatch(log_owner(one.log_id)[0], message))
        size_bytes += len(message.body)
        if size_bytes >= PIECE_BYTES:
            await io.bus.publish(PatchesMissed(session.client_id, session.number, tuple(told)))
            told, size_bytes = [], 0
            if not await io.directory.ready(session):
                return
    if told:
        await io.bus.publish(PatchesMissed(session.client_id, session.number, tuple(told)))


async def _is_living(io: Io, log_id: str) -> bool:
    return await find_living(io, log_owner(log_id)[0]) is not None


def _newest(missed: list[_Missed]) -> list[_Missed]:
    missed.sort(key=lambda one: one.patched_at)
    return missed[-PATCHES_REPLAYED_MAX:]
