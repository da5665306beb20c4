"""Asking: hooks are asked before something is done, and told when it is.

What the application does itself it is not asked about: its code has decided already, and a hook that sends by REST
would be asked about what it sends, and so on. It is told of it, though.

What hooks are asked about one conversation on behalf of one session is done in the order in which it was asked for.
Each question is on its way as soon as it can be put, so nothing waits for an answer longer than its own takes, and a
hook that is slow to answer one session keeps nobody else waiting. While the answer is awaited the conversation may
change: whatever was decided before is decided again after.
"""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import ConversationRejected
from fastim.core.hooked import content_of, verdict
from fastim.core.hooks import A, ConversationAdded, ConversationAnswer, ConversationRemoved, MessageSent, Question
from fastim.core.message import Message
from fastim.core.session import Session
from fastim.service.io import Io


def asks(io: Io, session: Session, kind: type[Question[Any]]) -> bool:
    """Whether there is a hook that is to be asked before ``session`` does that."""
    return not session.privileged and io.hooks.defines(kind)


@asynccontextmanager
async def answered(io: Io, session: Session, conversation_id: str, asked: Awaitable[A]) -> AsyncIterator[A]:
    """The answer to what was asked, once what the session had asked before about that conversation is done.

    To be entered without waiting for anything after the question was put in the conversation's lane, and outside it:
    so the turns are taken in the order of the questions.

    Raises:
        HookFailed: The hook fails, and nothing is to be done without it.
    """
    async with io.lanes.hold(("hooked", session.number, conversation_id)):
        yield await asked


def require(answer: ConversationAnswer) -> None:
    """Raise ``ConversationRejected`` when the hook does not want it."""
    if answer.reject:
        raise ConversationRejected(*verdict(answer))


def tell_sent(
    io: Io, conversation: Conversation, message: Message, recipients: tuple[str, ...], *, transient: bool = False
) -> None:
    """Tell the hook that a message was sent.

    Args:
        recipients: Who is to get it, as its event has it.
    """
    if not io.hooks.defines(MessageSent):
        return
    named = conversation.kind in (Kind.NORMAL, Kind.TEMPORARY)
    others = [one for one in recipients if one != message.sender] if named else []
    online = io.directory.online(others)
    here = frozenset(online)
    io.hooks.tell(
        MessageSent(
            from_peer=message.sender,
            conversation_id=conversation.id,
            message_id=message.id,
            online_peers=tuple(online),
            offline_peers=tuple(one for one in others if one not in here),
            transient=transient,
            system=conversation.kind is Kind.SYSTEM,
            bin=message.binary,
            content=content_of(message),
            receipt=message.receipt,
            timestamp=message.timestamp,
            source_ip=message.address,
        )
    )


def tell_members(
    io: Io,
    session: Session,
    kind: type[ConversationAdded] | type[ConversationRemoved],
    conversation_id: str,
    client_ids: tuple[str, ...],
) -> None:
    """Tell the hook who has come, or gone, if anybody has."""
    if client_ids and io.hooks.defines(kind):
        io.hooks.tell(kind(init_by=session.client_id, conversation_id=conversation_id, members=client_ids))
