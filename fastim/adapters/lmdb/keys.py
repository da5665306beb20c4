"""The store's keys: big-endian, the application's number first, so that an application is one stretch of every table.

A conversation is 13 bytes: the 12 that its digits stand for, then which form its id has. Digits first, so that a table
keyed by it runs from the oldest to the newest whatever the form. A client id is its UTF-8 with the length before it, so
that no id is the beginning of another; a *name* is the bare UTF-8, at the end of keys that are to be in its order.

A *log* is its conversation; a client's own in a service conversation is a third form of the same digits, and then the
client id. A *scope* is an application and a log. In ``memberships`` and ``tokens``, whose keys have one length or hold
the client id already, the log's first 13 bytes do.

The tables::

    table                  key                                            value
    meta                   a name                                         format version, next application number
    applications           application                                    Application, JSON
    conversations          application, conversation                      Conversation, JSON
    conversation_expiries  application, expiry, conversation              nothing
    heads                  application, log                               Head
    messages               application, log, sequence                     Message
    patches                application, log, moment                       sequence
    last_patches           application                                    the moment of the last one
    urgent_messages        application, log, timestamp                    sequence
    memberships            application, client, log's 13 bytes            Membership
    uniques                application, kind, hash of the unique key      conversation
    tokens                 application, log's 13 bytes, hash              sequence, hour, client of a personal log
    token_hours            application, hour, number                      keys in tokens
    standings              application, conversation, name                Standing
    subscribers            application, conversation, name                since when
    subscriber_counts      application, conversation                      how many they are
    refusals               application, client, conversation              the moment
    notices                application, owner, moment, number             Notice, JSON
    notice_times           application, moment, number, owner             nothing
    wills                  application, client                            Will
    stays                  application, client, hash of the device        Staying
    broadcasts             application, moment, message id                Broadcast
    clients                application, client                            Visitor
    users                  application                                    Users
    grants                 application, client, hash of the token         Grant
    grant_expiries         application, expiry, client, hash              nothing
    kicks                  application, client                            the moment of the last one
    uses                   application, hash of the name                  until when it is remembered
    use_expiries           application, that moment, hash                 nothing
    purges                 application, conversation                      Conversation as it was, JSON
    documents              application, name                              the document's bytes
    push_jobs              application, message id                        Job
    push_targets           application, hash of the target                Target
    push_queues            application, queue, number                     Notification
    push_messages          application, queue, hash of the message id     number
    push_dues              application, due, hash of the target           nothing
    push_drops             application, queue                             nothing
    push_counts            application                                    PushCounts
    installations          application, installation                      Installation, JSON
    installation_channels  application, hash of the channel, installation nothing
    installation_names     application, hash of the kind and the name     installation

The number in ``token_hours`` is the next one in that hour, counted from the records that are there: LMDB's own numbers
of its transactions begin again in a compacted copy. A key in it may lead to no token any more, or to one of a later
hour. The owner of a notice is a client, or the conversation whose members it is for; the number keeps apart those of
one moment. A conversation is in ``purges`` from when it was deleted until nothing of it is left.

A target is in ``push_targets``, and in ``push_dues``, while something waits for it. What waits is in a queue, whose
number is never given again in the application, numbered in the order of coming. When all of it is dropped only the
target goes at once; the queue is in ``push_drops`` until nothing of it is left. An installation's id is its bare UTF-8,
always at the end.

Messages are keyed by sequence only. Timestamps, ids and sequences grow together in a conversation, so a place in time
is found by bisection (20 probes in a million), and an append is spared the second index. All sequences from the head's
first to its last are there.
"""

import hashlib
from functools import cache, lru_cache

from fastim.core.conversation import Kind
from fastim.core.ids import (
    CLIENT_ID_MAX_CHARACTERS,
    TEMPORARY_PREFIX,
    AppNumber,
    is_conversation_id,
    log_owner,
    personal_log,
)
from fastim.core.units import Millis

APPLICATION_BYTES = 4
CONVERSATION_BYTES = 13
SCOPE_BYTES = APPLICATION_BYTES + CONVERSATION_BYTES
"""Of a conversation's scope, and of the part of a personal log's that its ``memberships`` and ``tokens`` have."""
SEQUENCE_BYTES = 8
QUEUE_BYTES = 8
HASH_BYTES = 16
MOMENT_BYTES = 8
NUMBER_BYTES = 4
TOKEN_KEY_BYTES = SCOPE_BYTES + 16
HOUR_MILLIS = 3_600_000

_INSTALLATION_ID_MAX_BYTES = 64
_CLIENT_ID_MAX_BYTES = 4 * CLIENT_ID_MAX_CHARACTERS
_NORMAL, _TEMPORARY, _PERSONAL = b"\x00", b"\x01", b"\x02"
_OF_CLIENT, _OF_CONVERSATION = b"\x00", b"\x01"
_LAST_MOMENT = (1 << 63) - 1


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


def log_key(log_id: str) -> bytes | None:
    """The log as it stands in a scope: 13 bytes and, in a personal one, the client; ``None`` when there is no such."""
    if "/" not in log_id:
        return conversation_key(log_id)
    conversation_id, client_id = log_owner(log_id)
    conversation, client = conversation_key(conversation_id), client_key(client_id)
    if conversation is None or client is None or not conversation.endswith(_NORMAL):
        return None
    return conversation[:-1] + _PERSONAL + client


def log_id_of(key: bytes, client_id: str) -> str:
    """The id of the log whose first 13 bytes are ``key``; where it is a personal one, that of ``client_id``.

    Raises:
        ValueError: There is none.
    """
    if key[-1:] != _PERSONAL:
        return conversation_id_of(key)
    return personal_log(conversation_id_of(key[:-1] + _NORMAL), client_id)


def is_personal(key: bytes) -> bool:
    """Whether a log's first 13 bytes, or a scope's 17, are those of a personal one."""
    return key.endswith(_PERSONAL)


def conversation_scope(scope: bytes) -> bytes:
    """The scope of the conversation that a log belongs to; of a conversation's own log the same."""
    return scope[: SCOPE_BYTES - 1] + _NORMAL if is_personal(scope[:SCOPE_BYTES]) else scope


def log_beginnings(scope: bytes) -> tuple[bytes, ...]:
    """What the scopes of the logs begin with that a conversation has: its own, and those of clients in it."""
    return (scope, scope[:-1] + _PERSONAL) if scope.endswith(_NORMAL) else (scope,)


def personal_scope(scope: bytes, client: bytes) -> bytes:
    """The scope of the client's own log in a conversation, from the conversation's."""
    return scope[:-1] + _PERSONAL + client


def log_scope(membership: bytes, client: bytes) -> bytes:
    """The scope of the log that a membership of the client is in, from its key."""
    application, log = membership[:APPLICATION_BYTES], membership[-CONVERSATION_BYTES:]
    return application + log + client if is_personal(log) else application + log


def membership_key(scope: bytes, client: bytes) -> bytes | None:
    """Where the client's membership in a log is if it has one; ``None`` when the log is another client's own."""
    if len(scope) > SCOPE_BYTES and scope[SCOPE_BYTES:] != client:
        return None
    return scope[:APPLICATION_BYTES] + client + scope[APPLICATION_BYTES:SCOPE_BYTES]


def personal_membership_key(scope: bytes) -> bytes:
    """Where the client's membership in its own log is."""
    return scope[:APPLICATION_BYTES] + scope[SCOPE_BYTES:] + scope[APPLICATION_BYTES:SCOPE_BYTES]


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


def name_key(client_id: str) -> bytes:
    """The client id as it ends keys that are in the order of ids; of one that is none, something as good to go on from.

    One byte more than any client id has is enough for that.
    """
    return client_id.encode(errors="surrogatepass")[: _CLIENT_ID_MAX_BYTES + 1]


def sequence_key(sequence: int) -> bytes:
    """8 bytes, the end of a message's key."""
    return sequence.to_bytes(8)


def token_key(scope: bytes, sender: str, token: str) -> bytes:
    """Where a client's ``dt`` is remembered: different for different senders and logs, always of one length."""
    name = sender.encode(errors="surrogatepass")
    content = len(name).to_bytes(4) + name + token.encode(errors="surrogatepass")
    if len(scope) > SCOPE_BYTES:
        scope, content = scope[:SCOPE_BYTES], scope[SCOPE_BYTES:] + content
    return scope + hashlib.blake2b(content, digest_size=16).digest()


def token_value(scope: bytes, sequence: int, hour: bytes) -> bytes:
    """What is remembered of a token: which message of the log has it, and in which hour that was."""
    return sequence.to_bytes(8) + hour + scope[SCOPE_BYTES:]


def split_token(key: bytes, value: bytes) -> tuple[bytes, bytes, bytes]:
    """Where a token leads to: the scope, the sequence and the hour of its message, the latter two as in keys."""
    return key[:SCOPE_BYTES] + value[12:], value[:8], value[8:12]


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


def device_hash(device: str) -> bytes:
    """16 bytes for a device's identity."""
    return hashlib.blake2b(device.encode(errors="surrogatepass"), digest_size=16).digest()


def text_hash(text: str) -> bytes:
    """16 bytes for a text of any length: a target of push, a channel, a message's id."""
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=HASH_BYTES).digest()


def installation_key(installation_id: str) -> bytes | None:
    """The installation as it stands in keys, or ``None`` when none can be named so."""
    try:
        encoded = installation_id.encode()
    except UnicodeEncodeError:
        return None
    return encoded if 0 < len(encoded) <= _INSTALLATION_ID_MAX_BYTES else None


def queue_key(queue: int) -> bytes:
    """8 bytes for a queue of notifications."""
    return queue.to_bytes(QUEUE_BYTES)


def moment_key(moment: int) -> bytes:
    """A moment as 8 bytes that sort by time; one before 1970 counts as 1970, one past all time as its end."""
    return min(max(moment, 0), _LAST_MOMENT).to_bytes(MOMENT_BYTES)


def number_key(number: int) -> bytes:
    """4 bytes for what is counted."""
    return number.to_bytes(NUMBER_BYTES)


def client_owner(client: bytes) -> bytes:
    """The client as the owner of notices."""
    return _OF_CLIENT + client


def conversation_owner(conversation: bytes) -> bytes:
    """The members of the conversation, 13 bytes, as the owner of notices."""
    return _OF_CONVERSATION + conversation
