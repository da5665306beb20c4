"""Conversations: their records, who belongs to them, and what sets some of these apart."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from fastim.adapters.lmdb.batch import Batch
from fastim.adapters.lmdb.changes.notices import PreparedNotice, put_notices
from fastim.adapters.lmdb.changes.purge import purge
from fastim.adapters.lmdb.keys import (
    APPLICATION_BYTES,
    conversation_id_of,
    moment_key,
    personal_membership_key,
    personal_scope,
    unique_table_key,
)
from fastim.adapters.lmdb.records import decode_conversation, decode_number, encode_packed
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import ConversationNotFound, Unavailable
from fastim.core.ids import AppNumber
from fastim.core.standing import UNREMARKABLE, Standing
from fastim.core.units import Millis
from fastim.core.unread import Head, Membership, all_read

_PURGE_STEP = 500


class Member(Struct, frozen=True):
    """A client as the keys of its memberships and subscriptions have it."""

    client: bytes
    name: bytes


def create_conversation(
    number: AppNumber,
    scope: bytes,
    conversation: Conversation,
    record: bytes,
    members: Iterable[Member],
    notices: Sequence[PreparedNotice],
    batch: Batch,
) -> Conversation:
    """Store ``conversation``, whose record is ``record``, unless its unique key is taken: then the one that has it."""
    transaction, tables = batch.transaction, batch.tables
    unique = _unique_key(scope, conversation)
    if unique is not None:
        holder = _holder(scope, unique, batch)
        if holder is not None and not holder.expired(conversation.created_at):
            return holder
    if transaction.get(scope, db=tables.conversations) is not None:
        raise Unavailable(f"the id {conversation.id} is taken")
    while transaction.get(scope, db=tables.purges) is not None:  # its id comes from outside, ours are never given twice
        purge(scope, _PURGE_STEP, batch)
    if unique is not None:
        transaction.put(unique, scope[APPLICATION_BYTES:], db=tables.uniques)
    transaction.put(scope, record, db=tables.conversations)
    _put_expiry(scope, conversation, batch)
    batch.heads.set(scope, Head())
    _join(scope, conversation.kind, members, Membership(joined_at=conversation.created_at), batch)
    put_notices(notices, batch)
    batch.conversations[number, conversation.id] = conversation
    return conversation


def change_conversation(
    number: AppNumber,
    scope: bytes,
    conversation: Conversation,
    record: bytes,
    joined: Iterable[Member],
    left: Iterable[Member],
    standings: Iterable[tuple[bytes, Standing]],
    notices: Sequence[PreparedNotice],
    batch: Batch,
) -> None:
    """Replace the stored conversation; those in ``left`` lose their memberships, then ``joined`` are given theirs.

    Args:
        standings: By name.
    """
    transaction, tables = batch.transaction, batch.tables
    stored = transaction.get(scope, db=tables.conversations)
    head = batch.heads.get(scope)
    if stored is None or head is None:
        raise ConversationNotFound
    before = decode_conversation(stored)
    if (before.kind, before.unique_key) != (conversation.kind, conversation.unique_key):
        raise ValueError(f"kind and unique key of conversation {conversation.id} cannot change")
    if before.expires_at != conversation.expires_at:
        _forget_expiry(scope, before, batch)
        _put_expiry(scope, conversation, batch)
    transaction.put(scope, record, db=tables.conversations)
    _leave(scope, conversation.kind, left, conversation.updated_at, batch)
    fresh = Membership(joined_at=conversation.updated_at, read=head.sequence, delivered=head.sequence)
    _join(scope, conversation.kind, joined, fresh, batch)
    for name, standing in standings:
        if standing == UNREMARKABLE:
            transaction.delete(scope + name, db=tables.standings)
        else:
            transaction.put(scope + name, encode_packed(standing), db=tables.standings)
    put_notices(notices, batch)
    batch.conversations[number, conversation.id] = conversation


def delete_conversation(number: AppNumber, scope: bytes, batch: Batch) -> bool:
    """Take away what a conversation is found by; the rest is left to ``purge``."""
    transaction, tables = batch.transaction, batch.tables
    stored = transaction.get(scope, db=tables.conversations)
    if stored is None:
        return False
    conversation = decode_conversation(stored)
    transaction.delete(scope, db=tables.conversations)
    batch.heads.set(scope, None)
    unique = _unique_key(scope, conversation)
    if unique is not None and transaction.get(unique, db=tables.uniques) == scope[APPLICATION_BYTES:]:
        transaction.delete(unique, db=tables.uniques)
    _forget_expiry(scope, conversation, batch)
    transaction.put(scope, stored, db=tables.purges)
    batch.conversations[number, conversation_id_of(scope[APPLICATION_BYTES:])] = None
    return True


def refuse_conversations(
    application: bytes, client: bytes, conversations: Iterable[bytes], refused: bool, now: Millis, batch: Batch
) -> None:
    """Remember, or forget, what the client refuses to be added to."""
    for conversation in conversations:
        key = application + client + conversation
        if refused:
            batch.transaction.put(key, encode_packed(now), db=batch.tables.refusals)
        else:
            batch.transaction.delete(key, db=batch.tables.refusals)


def _unique_key(scope: bytes, conversation: Conversation) -> bytes | None:
    if conversation.unique_key is None:
        return None
    return scope[:APPLICATION_BYTES] + unique_table_key(conversation.kind, conversation.unique_key)


def _holder(scope: bytes, unique: bytes, batch: Batch) -> Conversation | None:
    """The conversation that the unique key leads to."""
    transaction, tables = batch.transaction, batch.tables
    holder = transaction.get(unique, db=tables.uniques)
    stored = None if holder is None else transaction.get(scope[:APPLICATION_BYTES] + holder, db=tables.conversations)
    return None if stored is None else decode_conversation(stored)


def _put_expiry(scope: bytes, conversation: Conversation, batch: Batch) -> None:
    if conversation.expires_at is not None:
        batch.transaction.put(_expiry(scope, conversation.expires_at), b"", db=batch.tables.conversation_expiries)


def _forget_expiry(scope: bytes, conversation: Conversation, batch: Batch) -> None:
    if conversation.expires_at is not None:
        batch.transaction.delete(_expiry(scope, conversation.expires_at), db=batch.tables.conversation_expiries)


def _expiry(scope: bytes, moment: Millis) -> bytes:
    return scope[:APPLICATION_BYTES] + moment_key(moment) + scope[APPLICATION_BYTES:]


def _join(scope: bytes, kind: Kind, members: Iterable[Member], fresh: Membership, batch: Batch) -> None:
    """Give ``members`` the membership ``fresh``, but for those who have one."""
    application, conversation = scope[:APPLICATION_BYTES], scope[APPLICATION_BYTES:]
    come = 0
    for member in members:
        key = application + member.client + conversation
        if batch.memberships.get(key) is None:
            batch.memberships.set(key, fresh)
            if kind is Kind.SYSTEM:
                since = encode_packed(fresh.joined_at)
                batch.transaction.put(scope + member.name, since, db=batch.tables.subscribers)
                come += 1
    _count_subscribers(scope, come, batch)


def _leave(scope: bytes, kind: Kind, members: Iterable[Member], now: Millis, batch: Batch) -> None:
    application, conversation = scope[:APPLICATION_BYTES], scope[APPLICATION_BYTES:]
    gone = 0
    for member in members:
        batch.memberships.set(application + member.client + conversation, None)
        if kind is Kind.SYSTEM:
            gone += batch.transaction.delete(scope + member.name, db=batch.tables.subscribers)
            _read_all(personal_scope(scope, member.client), now, batch)
    _count_subscribers(scope, -gone, batch)


def _read_all(log: bytes, now: Millis, batch: Batch) -> None:
    """Nothing is unread any more in a client's own log, if it has one."""
    key = personal_membership_key(log)
    head, membership = batch.heads.get(log), batch.memberships.get(key)
    if head is not None and membership is not None:
        batch.memberships.set(key, all_read(membership, head, now))


def _count_subscribers(scope: bytes, more: int, batch: Batch) -> None:
    if more:
        stored = batch.transaction.get(scope, db=batch.tables.subscriber_counts)
        count = more + (0 if stored is None else decode_number(stored))
        if count:
            batch.transaction.put(scope, encode_packed(count), db=batch.tables.subscriber_counts)
        else:
            batch.transaction.delete(scope, db=batch.tables.subscriber_counts)
