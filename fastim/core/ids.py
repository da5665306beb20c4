"""Identifiers: their shapes, and how new ones are made from a moment and some entropy.

Pure functions: the caller brings the time and the random bytes.
"""

import hashlib
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable
from typing import NewType

from fastim.core.units import Millis

AppNumber = NewType("AppNumber", int)
"""An application's number in the store: it opens every key, so nothing crosses from one application to another."""

MESSAGE_ID_LENGTH = 22
MESSAGE_ENTROPY_BYTES = 10
CONVERSATION_ENTROPY_BYTES = 7
CLIENT_ID_MAX_CHARACTERS = 64
TEMPORARY_PREFIX = "_tmp:"

# URL-safe Base64's characters in ASCII order, so that ids sort as the bytes they stand for do.
_IN_ORDER = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    b"-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz",
)
_OUT_OF_ORDER = bytes.maketrans(
    b"-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
)
_ID_CHARACTERS = frozenset("-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")
_TIMESTAMP_CHARACTERS = 8
_HEX_DIGITS = frozenset("0123456789abcdef")


def message_id(timestamp: Millis, entropy: bytes) -> str:
    """A message id: 22 URL-safe characters that sort by ``timestamp`` as plain ASCII.

    Args:
        entropy: ``MESSAGE_ENTROPY_BYTES`` random bytes; they keep ids of one millisecond apart and hard to guess.
    """
    return b2a_base64(timestamp.to_bytes(6) + entropy).translate(_IN_ORDER)[:MESSAGE_ID_LENGTH].decode()


def made_at(message_id: str) -> Millis | None:
    """The timestamp that ``message_id`` was made with; ``None`` when it has not the shape of one."""
    if len(message_id) != MESSAGE_ID_LENGTH or not _ID_CHARACTERS.issuperset(message_id):
        return None
    digits = message_id[:_TIMESTAMP_CHARACTERS].encode().translate(_OUT_OF_ORDER)
    return Millis(int.from_bytes(a2b_base64(digits)))


def conversation_id(now: Millis, entropy: bytes, *, temporary: bool = False) -> str:
    """A conversation id: 24 hex digits, with ``_tmp:`` before them for a temporary one.

    Args:
        entropy: ``CONVERSATION_ENTROPY_BYTES`` random bytes.
    """
    digits = (now // 1000).to_bytes(5).hex() + entropy.hex()
    return TEMPORARY_PREFIX + digits if temporary else digits


def is_conversation_id(text: str) -> bool:
    """Whether ``text`` has the shape of a conversation id, normal or temporary."""
    digits = text.removeprefix(TEMPORARY_PREFIX)
    return len(digits) == 24 and _HEX_DIGITS.issuperset(digits)


def personal_log(conversation_id: str, client_id: str) -> str:
    """The id of the log that ``client_id`` has to itself in a service conversation."""
    return f"{conversation_id}/{client_id}"


def log_owner(log_id: str) -> tuple[str, str]:
    """The conversation that a log belongs to, and its client; empty for a conversation's own log."""
    conversation_id, _, client_id = log_id.partition("/")
    return conversation_id, client_id


def is_client_id(text: str) -> bool:
    """Whether ``text`` may name a client: 1 to 64 characters, none of them a control character.

    The documented alphabet is narrower, but SDKs and their tests use others. Source: semantics, rule 2.1.
    """
    return 0 < len(text) <= CLIENT_ID_MAX_CHARACTERS and text.isprintable()


def unique_id(members: Iterable[str]) -> str:
    """The id of a set of members: equal for equal sets, whatever the order or repetition (32 hex digits)."""
    digest = hashlib.blake2b(digest_size=16)
    for member in sorted(set(members)):
        encoded = member.encode()
        digest.update(len(encoded).to_bytes(2))
        digest.update(encoded)
    return digest.hexdigest()
