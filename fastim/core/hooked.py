"""Hooked: how hooks see a message, and what their answer makes of it. Source: semantics, section 14."""

from base64 import b64decode, b64encode
from typing import TypeVar

from msgspec.structs import replace

from fastim.core.conversation import Conversation, Kind
from fastim.core.hooks import ConversationAnswer, MessageAnswer
from fastim.core.message import Draft, Message
from fastim.core.words import MASKED_CODE, MASKED_REASON

CODE_MAX = 2**31 - 1
"""Clients read a hook's code into 32 bits. Source: wire protocol, ``appCode``."""

DETAIL_CHARACTERS_MAX = 1_000
"""Of a hook's words, which go along with each refusal: an answer may have a megabyte of them."""

Said = TypeVar("Said", Draft, Message)


def content_of(said: Draft | Message) -> str:
    """The body, Base64 where it is binary."""
    return b64encode(said.body).decode() if said.binary else said.body.decode(errors="replace")


def peers(conversation: Conversation, sender: str) -> tuple[str, ...]:
    """Who is to get what ``sender`` says: nobody by name in a chat room and a service conversation."""
    return tuple(one for one in conversation.members if one != sender)


def rewritten(said: Said, answer: MessageAnswer, size_bytes: int) -> Said:
    """``said`` with the body that the hook gave it; itself when it gave none, the same, or one that cannot be.

    That is one that is not the Base64 it should be, or too long: the hook is wrong then, and its sender is not to
    suffer from it.

    Args:
        size_bytes: What the body may have.
    """
    if answer.content is None:
        return said
    binary = said.binary if answer.bin is None else answer.bin
    try:
        body = b64decode(answer.content, validate=True) if binary else answer.content.encode()
    except ValueError:
        return said
    if len(body) > size_bytes or (body, binary) == (said.body, said.binary):
        return said
    return replace(said, body=body, binary=binary)


def narrowed(
    conversation: Conversation, recipients: tuple[str, ...], sender: str, answer: MessageAnswer | None
) -> tuple[str, ...]:
    """Those of ``recipients`` whom the hook lets have it; the sender's own devices have it anyway.

    In a chat room and a service conversation nobody was named to the hook, and so it can leave out nobody.
    """
    if answer is None or answer.to_peers is None or conversation.kind not in (Kind.NORMAL, Kind.TEMPORARY):
        return recipients
    chosen = frozenset((sender, *answer.to_peers))
    return tuple(one for one in recipients if one in chosen)


def verdict(answer: MessageAnswer | ConversationAnswer) -> tuple[int, str]:
    """A hook's code and detail as clients can be told them: a code that they could not read is none, words are cut."""
    code = answer.code if -CODE_MAX <= answer.code <= CODE_MAX else 0
    return code, answer.detail[:DETAIL_CHARACTERS_MAX].encode(errors="replace").decode()


def reason(answer: MessageAnswer | None, *, changed: bool, masked: bool) -> tuple[int, str]:
    """Why a message reads otherwise than it was said: the hook's own words go before those for listed words.

    A negative code would pass for one that is built in, so of a hook's only positive ones are told. Source: rule 8.6.

    Args:
        changed: Whether the hook did that.
        masked: Whether listed words were masked, perhaps in what the hook made of it.
    """
    if changed and answer is not None and verdict(answer)[0] > 0:
        return verdict(answer)
    return (MASKED_CODE, MASKED_REASON) if masked else (0, "")
