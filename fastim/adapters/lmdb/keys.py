"""The store's keys: big-endian, the application's number first, so that an application is one stretch of every table.

A conversation is 13 bytes: the 12 that its digits stand for, then which form its id has. Digits first, so that a table
keyed by it runs from the oldest to the newest whatever the form. A client id is its UTF-8 with the length before it, so
that no id is the beginning of another.

The tables::

    table           key                                                  value
    meta            a name                                               format version, next application number
    applications    application                                          Application, JSON
    conversations   application, conversation                            Conversation, JSON
    heads           application, conversation                            Head
    messages        application, conversation, sequence                  Message
    memberships     application, client, conversation                    Membership
    uniques         application, kind, hash of the unique key            conversation
    tokens          application, conversation, hash of sender and token  sequence
    token_hours     application, hour, number                            keys in tokens
    grants          application, client, hash of the session token       Grant
    grant_expiries  application, expiry, client, hash                    nothing
    kicks           application, client                                  the moment of the last one
    uses            application, hash of the name                        until when it is remembered
    use_expiries    application, that moment, hash                       nothing

The number in ``token_hours`` is the next one in that hour, counted from the records that are there: LMDB's own numbers
of its transactions begin again in a compacted copy.

Messages are keyed by sequence only. Timestamps, ids and sequences grow together in a conversation, so a place in time
is found by bisection (20 probes in a million), and an append is spared the second index.
"""

import hashlib
from functools import cache, lru_cache

from fastim.core.conversation import Kind
from fastim.core.ids import CLIENT_ID_MAX_CHARACTERS, TEMPORARY_PREFIX, AppNumber, is_conversation_id
from fastim.core.units import Millis

CONVERSATION_BYTES = 13
TOKEN_KEY_BYTES = 4 + CONVERSATION_BYTES + 16
HOUR_MILLIS = 3_600_000

_CLIENT_ID_MAX_BYTES = 4 * CLIENT_ID_MAX_CHARACTERS
_NORMAL, _TEMPORARY = b"\x00", b"\x01"


@cache
def application_key(number: AppNumber) -> bytes:
    """4 bytes, the beginning of every key of the application."""
    return number.to_bytes(4)


def after_application(number: AppNumber) -> bytes:
    """The first key past everything of the application."""
    return (number + 1).to_bytes(4)


def conversation_key(conversation_id: str) -> bytes | None:
    """The conversation's 13 bytes, or ``None`` when the id has not the shape of one."""
    try:
        return _pack(conversation_id)
    except ValueError:
        return None


@lru_cache(1 << 14)
def _pack(conversation_id: str) -> bytes:
    # Raises instead of returning None so that only real ids, which are short, are remembered.
    if not is_conversation_id(conversation_id):
        raise ValueError
    if conversation_id.startswith(TEMPORARY_PREFIX):
        return bytes.fromhex(conversation_id.removeprefix(TEMPORARY_PREFIX)) + _TEMPORARY
    return bytes.fromhex(conversation_id) + _NORMAL


def conversation_id_of(key: bytes) -> str:
    """The id that ``key``, a conversation's 13 bytes, stands for.

    Raises:
        ValueError: It stands for none.
    """
    digits, form = key[:-1].hex(), key[-1:]
    if len(key) != CONVERSATION_BYTES or form not in (_NORMAL, _TEMPORARY):
        raise ValueError(f"{key.hex()} is not a conversation's key")
    return TEMPORARY_PREFIX + digits if form == _TEMPORARY else digits


def client_key(client_id: str) -> bytes | None:
    """The client id as it stands in keys, or ``None`` when no client can be named so."""
    try:
        encoded = client_id.encode()
    except UnicodeEncodeError:
        return None
    if not 0 < len(encoded) <= _CLIENT_ID_MAX_BYTES:
        return None
    return len(encoded).to_bytes(2) + encoded


def split_client(key: bytes, start: int) -> tuple[str, bytes]:
    """The client id that begins at ``start`` of ``key``, and what follows it.

    Raises:
        ValueError: There is no client id.
    """
    end = start + 2 + int.from_bytes(key[start : start + 2])
    if not start + 2 < end <= len(key):
        raise ValueError(f"{key.hex()} holds no client id")
    return key[start + 2 : end].decode(), key[end:]


def sequence_key(sequence: int) -> bytes:
    """8 bytes, the end of a message's key."""
    return sequence.to_bytes(8)


def token_hash(sender: str, token: str) -> bytes:
    """16 bytes for a client's ``dt``, different for different senders."""
    name = sender.encode(errors="surrogatepass")
    return hashlib.blake2b(len(name).to_bytes(4) + name + token.encode(errors="surrogatepass"), digest_size=16).digest()


def token_hour_key(timestamp: Millis) -> bytes:
    """4 bytes: the hour that ``timestamp`` is in."""
    return (timestamp // HOUR_MILLIS).to_bytes(4)


def unique_table_key(kind: Kind, unique_key: str) -> bytes:
    """What follows the application in ``uniques``."""
    return kind.to_bytes(1) + hashlib.blake2b(unique_key.encode(errors="surrogatepass"), digest_size=16).digest()


def grant_hash(token: str) -> bytes:
    """All that is kept of a session token."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


def use_hash(name: str) -> bytes:
    """16 bytes for something that can be used once."""
    return hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=16).digest()


def moment_key(moment: Millis) -> bytes:
    """A moment as 8 bytes that sort by time; one before 1970 counts as 1970."""
    return max(moment, 0).to_bytes(8)
