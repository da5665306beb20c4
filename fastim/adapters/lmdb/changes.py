"""What each write does inside a transaction.

A change is called with the batch, and called again in a later attempt when the one before was given up. It raises
``FastimError`` only before it has written anything; whatever else it raises costs the whole attempt.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final

import lmdb
from msgspec.structs import replace

from fastim.adapters.lmdb.batch import Batch
from fastim.adapters.lmdb.keys import (
    HOUR_MILLIS,
    TOKEN_KEY_BYTES,
    application_key,
    client_key,
    moment_key,
    unique_table_key,
)
from fastim.adapters.lmdb.places import count_before, count_until, records
from fastim.adapters.lmdb.records import (
    decode_application,
    decode_conversation,
    decode_grant,
    decode_moment,
    decode_number,
    decode_origin,
    encode_json,
    encode_packed,
)
from fastim.core.application import Application
from fastim.core.conversation import Conversation
from fastim.core.errors import ConversationNotFound, Unavailable
from fastim.core.ids import AppNumber, message_id
from fastim.core.message import Draft, Position, next_timestamp, place
from fastim.core.session import Grant
from fastim.core.units import Millis
from fastim.core.unread import Head, Membership, advance
from fastim.ports.store import Appended

_NEXT_APPLICATION = b"next_application"
_APPLICATION_BYTES = 4
_SCAN_STEP = 1_000
_SWEEP_STEP = 500


class Unfinished(Enum):
    """What a change returns that has more to do than fits one transaction; it is called again in the next one."""

    UNFINISHED = 0


UNFINISHED: Final = Unfinished.UNFINISHED


def append(
    scope: bytes, token: bytes | None, sender: bytes | None, draft: Draft, now: Millis, batch: Batch
) -> Appended:
    """Give ``draft`` the next place in the conversation with the key ``scope``.

    Args:
        token: The key of its token, or ``None`` when it has none.
        sender: The key that the sender's membership has if there is one; ``None`` when no client can be named so.
    """
    head = batch.heads.get(scope)
    if head is None:
        raise ConversationNotFound
    timestamp = next_timestamp(head.timestamp, now)
    sequence = head.sequence + 1
    if token is not None:
        first = batch.transaction.get(token, db=batch.tables.tokens)
        if first is not None:
            earlier = batch.find_message(scope, first)
            if earlier is None:
                raise LookupError(f"token {token.hex()} leads to no message: run fastim verify")
            return Appended(earlier, fresh=False)
        batch.put_token(token, timestamp, sequence)
    message = place(draft, message_id(timestamp, batch.entropy()), timestamp, sequence)
    batch.put_message(scope, message)
    batch.heads.set(scope, advance(head, message))
    memberships = batch.memberships
    if sender is not None:
        membership = memberships.get(sender)
        if membership is not None:
            memberships.set(sender, replace(membership, sent=membership.sent + 1))
    for client_id in draft.mentions:
        mentioned = client_key(client_id)
        if mentioned is not None and client_id != draft.sender:
            key = scope[:_APPLICATION_BYTES] + mentioned + scope[_APPLICATION_BYTES:]
            membership = memberships.get(key)
            if membership is not None:
                memberships.set(key, replace(membership, mentioned=sequence))
    return Appended(message, fresh=True)


def create_conversation(
    number: AppNumber, scope: bytes, conversation: Conversation, record: bytes, members: Iterable[bytes], batch: Batch
) -> Conversation:
    """Store ``conversation``, whose record is ``record``, unless its unique key is taken: then the one that has it."""
    transaction, tables = batch.transaction, batch.tables
    application, key = scope[:_APPLICATION_BYTES], scope[_APPLICATION_BYTES:]
    unique = None
    if conversation.unique_key is not None:
        unique = application + unique_table_key(conversation.kind, conversation.unique_key)
        holder = transaction.get(unique, db=tables.uniques)
        stored = None if holder is None else transaction.get(application + holder, db=tables.conversations)
        if stored is not None:
            return decode_conversation(stored)
    if transaction.get(scope, db=tables.conversations) is not None:
        raise Unavailable(f"the id {conversation.id} is taken")
    if unique is not None:
        transaction.put(unique, key, db=tables.uniques)
    transaction.put(scope, record, db=tables.conversations)
    batch.heads.set(scope, Head())
    fresh = Membership(joined_at=conversation.created_at)
    for member in members:
        batch.memberships.set(application + member + key, fresh)
    batch.conversations[number, conversation.id] = conversation
    return conversation


def change_conversation(
    number: AppNumber,
    scope: bytes,
    conversation: Conversation,
    record: bytes,
    joined: Iterable[bytes],
    left: Iterable[bytes],
    batch: Batch,
) -> None:
    """Replace the stored conversation; those in ``left`` lose their memberships, then ``joined`` are given theirs."""
    transaction, tables = batch.transaction, batch.tables
    stored = transaction.get(scope, db=tables.conversations)
    head = batch.heads.get(scope)
    if stored is None or head is None:
        raise ConversationNotFound
    before = decode_conversation(stored)
    if (before.kind, before.unique_key) != (conversation.kind, conversation.unique_key):
        raise ValueError(f"kind and unique key of conversation {conversation.id} cannot change")
    application, key = scope[:_APPLICATION_BYTES], scope[_APPLICATION_BYTES:]
    transaction.put(scope, record, db=tables.conversations)
    for member in left:
        batch.memberships.set(application + member + key, None)
    fresh = Membership(joined_at=conversation.updated_at, read=head.sequence)
    for member in joined:
        if batch.memberships.get(application + member + key) is None:
            batch.memberships.set(application + member + key, fresh)
    batch.conversations[number, conversation.id] = conversation


class MarkRead:
    """Move a member's read position.

    What it has sent until the new position is counted from the nearer of the two ends, the old position or the head, a
    step in each transaction: positions only move forward, so no message is looked at often.
    """

    def __init__(self, scope: bytes, client: bytes, client_id: str, upto: Position | None, now: Millis) -> None:
        self._scope: Final = scope
        self._membership_key: Final = scope[:_APPLICATION_BYTES] + client + scope[_APPLICATION_BYTES:]
        self._client_id: Final = client_id
        self._upto: Final = upto
        self._now: Final = now
        self._started = False
        self._target = 0
        self._sent_at_target = 0
        self._sign = 1
        self._next = 0
        self._last = 0

    def __call__(self, batch: Batch) -> Membership | Unfinished | None:
        membership = batch.memberships.get(self._membership_key)
        if membership is None:
            return None
        if not self._started:
            self._start(batch, membership)
            self._started = True
        # What was counted stays right whatever comes between: messages do not change, a later membership is past them.
        if self._target <= membership.read:
            return membership
        self._count(batch)
        if self._next <= self._last:
            return UNFINISHED
        moved = replace(membership, read=self._target, sent_at_read=self._sent_at_target, read_at=self._now)
        batch.memberships.set(self._membership_key, moved)
        return moved

    def _start(self, batch: Batch, membership: Membership) -> None:
        head = batch.heads.get(self._scope) or Head()
        self._target = head.sequence if self._upto is None else self._covered(batch, head.sequence, self._upto)
        from_read, from_head = self._target - membership.read, head.sequence - self._target
        if membership.sent == membership.sent_at_read or from_head < from_read:
            self._sent_at_target, self._sign = membership.sent, -1
            self._next, self._last = self._target + 1, head.sequence
        else:
            self._sent_at_target, self._sign = membership.sent_at_read, 1
            self._next, self._last = membership.read + 1, self._target
        if membership.sent == membership.sent_at_read:
            self._next = self._last + 1

    def _covered(self, batch: Batch, last: int, upto: Position) -> int:
        transaction, messages = batch.transaction, batch.tables.messages
        if upto.message_id:
            return count_until(transaction, messages, self._scope, last, upto)
        return count_before(transaction, messages, self._scope, last, Position(Millis(upto.timestamp + 1)))

    def _count(self, batch: Batch) -> None:
        count = min(_SCAN_STEP, self._last + 1 - self._next)
        for record in records(batch.transaction, batch.tables.messages, self._scope, self._next, count):
            if decode_origin(record).sender == self._client_id:
                self._sent_at_target += self._sign
        self._next += max(count, 0)


def save_grant(application: bytes, holder: bytes, grant: Grant, batch: Batch) -> None:
    """Store ``grant`` for ``holder``: a client's key and the hash of a token."""
    transaction, tables = batch.transaction, batch.tables
    stored = transaction.get(application + holder, db=tables.grants)
    if stored is not None:
        transaction.delete(_expiry(application, holder, decode_grant(stored)), db=tables.grant_expiries)
    transaction.put(application + holder, encode_packed(grant), db=tables.grants)
    transaction.put(_expiry(application, holder, grant), b"", db=tables.grant_expiries)


def kick(application: bytes, client: bytes, at: Millis, batch: Batch) -> None:
    """Forget every grant of the client and remember the moment."""
    transaction, tables = batch.transaction, batch.tables
    prefix = application + client
    cursor = transaction.cursor(tables.grants)
    while cursor.set_range(prefix) and cursor.key().startswith(prefix):
        holder, grant = cursor.key()[_APPLICATION_BYTES:], decode_grant(cursor.value())
        transaction.delete(_expiry(application, holder, grant), db=tables.grant_expiries)
        cursor.delete()
    stored = transaction.get(prefix, db=tables.kicks)
    if stored is None or decode_moment(stored) < at:
        transaction.put(prefix, encode_packed(at), db=tables.kicks)


def use_once(application: bytes, use: bytes, until: Millis, batch: Batch) -> bool:
    """Whether ``use``, a hash, was not there before; it is now."""
    transaction, tables = batch.transaction, batch.tables
    if not transaction.put(application + use, encode_packed(until), overwrite=False, db=tables.uses):
        return False
    transaction.put(application + moment_key(until) + use, b"", db=tables.use_expiries)
    return True


def save_application(
    application_id: str, key: str, master_key: str, hook_key: str, settings: Mapping[str, Any] | None, batch: Batch
) -> Application:
    """Create the application under the next number, or replace what is stored of it."""
    transaction, tables = batch.transaction, batch.tables
    known = _applications(batch).get(application_id)
    if known is None:
        stored = transaction.get(_NEXT_APPLICATION, db=tables.meta)
        number = AppNumber(1 if stored is None else decode_number(stored))
        transaction.put(_NEXT_APPLICATION, encode_packed(number + 1), db=tables.meta)
    else:
        number = known.number
    if settings is None:
        settings = {} if known is None else known.settings
    application = Application(number, application_id, key, master_key, hook_key, dict(settings))
    transaction.put(application_key(number), encode_json(application), db=tables.applications)
    return application


def sweep(now: Millis, kept: Millis, batch: Batch) -> int:
    """Forget some tokens older than ``kept``, and grants and uses past their time; 0 when there are none left."""
    room = _SWEEP_STEP
    for application in _applications(batch).values():
        prefix = application_key(application.number)
        room -= _sweep_tokens(prefix, Millis(now - kept), room, batch)
        room -= _sweep_expired(prefix, now, room, batch, batch.tables.grant_expiries, batch.tables.grants)
        room -= _sweep_expired(prefix, now, room, batch, batch.tables.use_expiries, batch.tables.uses)
    return _SWEEP_STEP - room


def _sweep_tokens(application: bytes, before: Millis, room: int, batch: Batch) -> int:
    swept = 0
    cursor = batch.transaction.cursor(batch.tables.token_hours)
    while swept < room and cursor.set_range(application) and cursor.key().startswith(application):
        hour = int.from_bytes(cursor.key()[_APPLICATION_BYTES : _APPLICATION_BYTES + 4])
        if (hour + 1) * HOUR_MILLIS > before:
            break
        tokens = cursor.value()
        for start in range(0, len(tokens), TOKEN_KEY_BYTES):
            batch.transaction.delete(tokens[start : start + TOKEN_KEY_BYTES], db=batch.tables.tokens)
            swept += 1
        cursor.delete()
    return swept


def _sweep_expired(
    application: bytes, now: Millis, room: int, batch: Batch, expiries: lmdb._Database, records: lmdb._Database
) -> int:
    swept = 0
    past = application + moment_key(Millis(now + 1))
    cursor = batch.transaction.cursor(expiries)
    while swept < room and cursor.set_range(application) and cursor.key() < past:
        batch.transaction.delete(application + cursor.key()[_APPLICATION_BYTES + 8 :], db=records)
        cursor.delete()
        swept += 1
    return swept


def _applications(batch: Batch) -> dict[str, Application]:
    cursor = batch.transaction.cursor(batch.tables.applications)
    return {one.id: one for one in map(decode_application, cursor.iternext(keys=False))}


def _expiry(application: bytes, holder: bytes, grant: Grant) -> bytes:
    return application + moment_key(grant.expires_at) + holder
