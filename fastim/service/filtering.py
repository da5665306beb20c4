"""Filtering: the application's listed words are masked in what is said, before anybody sees or keeps it.

Whoever said it has it as it was, and is told how it reads now. Source: semantics, rules 8.6 and 9.1 to 9.5.
"""

from typing import TypeVar

from msgspec.structs import replace

from fastim.core.conversation import Conversation
from fastim.core.events import MessagePatched
from fastim.core.message import Draft, Message
from fastim.core.session import Session
from fastim.core.words import MASKED_CODE, MASKED_REASON, corrected, is_filtered, masked
from fastim.service.io import Io

Said = TypeVar("Said", Draft, Message)


def filtered(io: Io, conversation: Conversation, said: Said) -> Said:
    """``said`` with its words masked; itself when there are none, or nobody looks for them there."""
    return cleaned(io, said) if is_filtered(conversation, io.policy) else said


def cleaned(io: Io, said: Said) -> Said:
    """The same, wherever it is said."""
    if said.binary or not io.words.active:
        return said
    body = masked(said.body, io.words.mask)
    return said if body is said.body else replace(said, body=body)


async def tell_sender(
    io: Io,
    session: Session,
    conversation: Conversation,
    message: Message,
    code: int = MASKED_CODE,
    detail: str = MASKED_REASON,
) -> None:
    """Tell the session that said it how ``message`` reads now, and why, after the answer to what it asked."""
    if session.number:
        event = MessagePatched(
            conversation.id,
            conversation.kind,
            corrected(message),
            (session.client_id,),
            origin=0,
            only=session.number,
            code=code,
            detail=detail,
        )
        await io.bus.publish(event)
