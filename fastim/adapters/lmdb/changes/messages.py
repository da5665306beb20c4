"""Messages, and how far members have got with them.

A log is named by its scope, and a client by its key in ``keys``.
"""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from fastim.adapters.lmdb.batch import Batch
from fastim.adapters.lmdb.changes import UNFINISHED, Unfinished
from fastim.adapters.lmdb.changes.notices import PreparedNotice, put_notices
from fastim.adapters.lmdb.keys import (
    APPLICATION_BYTES,
    SCOPE_BYTES,
    client_key,
    conversation_scope,
    membership_key,
    moment_key,
    personal_membership_key,
    sequence_key,
    split_token,
)
from fastim.adapters.lmdb.places import count_before, covered, records
from fastim.adapters.lmdb.records import decode_conversation, decode_moment, decode_origin, encode_packed
from fastim.core.conversation import Kind
from fastim.core.errors import ConversationNotFound, MessageNotFound
from fastim.core.ids import message_id
from fastim.core.message import Draft, Message, Position, next_timestamp, place
from fastim.core.units import Millis
from fastim.core.unread import Head, Membership, advance
from fastim.ports.store import Acknowledged, Appended

_SCAN_STEP = 1_000


Place = tuple[bytes, bytes | None, bytes | None]
"""A log's key, the key of a message's token there, and that of its sender's membership; see ``append``."""


def append(
    scope: bytes, token: bytes | None, sender: bytes | None, draft: Draft, now: Millis, urgent: bool, batch: Batch
) -> Appended:
    """Give ``draft`` the log's next place.

    Args:
        token: The key of its token, or ``None`` when it has none.
        sender: The key that the sender's membership has if there is one; ``None`` when it can have none.
    """
    head = batch.heads.get(scope) if len(scope) == SCOPE_BYTES else log_head(scope, batch)
    if head is None:
        head = _opened_head(scope, batch)
    timestamp = next_timestamp(head.timestamp, now)
    sequence = head.sequence + 1
    if token is not None:
        first = batch.put_token(token, scope, timestamp, sequence)
        if first is not None:
            earlier = _message_of(token, first, scope, head, batch)
            if earlier is not None:
                return Appended(earlier, fresh=False)
            batch.put_token(token, scope, timestamp, sequence, anew=True)
    message = place(draft, message_id(timestamp, batch.entropy()), timestamp, sequence)
    batch.put_message(scope, message)
    if urgent:
        moment = scope + moment_key(timestamp)
        batch.transaction.put(moment, sequence_key(sequence), db=batch.tables.urgent_messages)
    batch.heads.set(scope, advance(head, message))
    memberships = batch.memberships
    if sequence == 1 and len(scope) > SCOPE_BYTES:
        memberships.set(personal_membership_key(scope), Membership(joined_at=timestamp))
    if sender is not None:
        membership = memberships.get(sender)
        if membership is not None:
            memberships.set(sender, replace(membership, sent=membership.sent + 1))
    for client_id in draft.mentions:
        mentioned = client_key(client_id)
        if mentioned is not None and client_id != draft.sender:
            key = membership_key(scope, mentioned)
            membership = None if key is None else memberships.get(key)
            if key is not None and membership is not None:
                memberships.set(key, replace(membership, mentioned=sequence))
    return Appended(message, fresh=True)


def append_each(places: Sequence[Place], draft: Draft, now: Millis, batch: Batch) -> list[Appended]:
    """Give ``draft`` the next place in each of these logs: one id, one time, later than all that is there."""
    heads = [log_head(scope, batch) or _opened_head(scope, batch) for scope, _, _ in places]
    latest = max((next_timestamp(head.timestamp, now) for head in heads), default=now)
    draft = replace(draft, id=message_id(latest, batch.entropy()))
    return [append(*place, draft, latest, False, batch) for place in places]


def patch_message(scope: bytes, message: Message, now: Millis, batch: Batch) -> Message:
    """Put ``message`` in its place, the latest patch of the application.

    Raises:
        MessageNotFound: The one that it is to replace is not there, or has been deleted.
    """
    if log_head(scope, batch) is None:
        raise ConversationNotFound
    stored = batch.find_message(scope, sequence_key(message.sequence))
    if stored is None or stored.deleted or stored.id != message.id:
        raise MessageNotFound
    transaction, tables, application = batch.transaction, batch.tables, scope[:APPLICATION_BYTES]
    last = transaction.get(application, db=tables.last_patches)
    moment = max(now, message.timestamp + 1, 0 if last is None else decode_moment(last) + 1)
    patched = replace(message, patched_at=Millis(moment))
    forget_patch(scope, stored, batch)
    transaction.put(application, encode_packed(moment), db=tables.last_patches)
    transaction.put(scope + moment_key(moment), sequence_key(message.sequence), db=tables.patches)
    batch.put_message(scope, patched)
    return patched


def delete_message(scope: bytes, position: Position, batch: Batch) -> bool:
    """Leave of a message what the order and the counts need; its token still leads there."""
    head = log_head(scope, batch)
    if head is None:
        return False
    before = count_before(batch.transaction, batch.tables.messages, scope, head, position)
    stored = batch.find_message(scope, sequence_key(before + 1)) if before < head.sequence else None
    if stored is None or stored.deleted or stored.position != position:
        return False
    forget_patch(scope, stored, batch)
    batch.put_message(scope, Message(stored.id, stored.timestamp, stored.sequence, stored.sender, b"", deleted=True))
    return True


def forget_patch(scope: bytes, message: Message, batch: Batch) -> None:
    """Forget when ``message`` was patched, if it was."""
    if message.patched_at:
        batch.transaction.delete(scope + moment_key(message.patched_at), db=batch.tables.patches)


def acknowledge(
    scope: bytes, client: bytes, upto: Position, now: Millis, notices: Sequence[PreparedNotice], batch: Batch
) -> Acknowledged | None:
    """Move what was delivered to a member."""
    key = membership_key(scope, client)
    membership = None if key is None else batch.memberships.get(key)
    head = log_head(scope, batch)
    if key is None or membership is None or head is None:
        return None
    before = membership.delivered
    after = covered(batch.transaction, batch.tables.messages, scope, head, upto)
    if after <= before:
        return Acknowledged(before, before)
    batch.memberships.set(key, replace(membership, delivered=after, delivered_at=now))
    put_notices(notices, batch)
    return Acknowledged(before, after)


class MarkRead:
    """Move a member's read position.

    Its own messages up to there have to be counted. They are counted from whichever end is nearer, and where there are
    many, over several transactions.

    Args:
        upto: Where to, ``None`` for the head; an empty id stands for the end of the millisecond.
        notices: Stored with it if it moves.
    """

    def __init__(
        self,
        scope: bytes,
        client: bytes,
        client_id: str,
        upto: Position | None,
        now: Millis,
        notices: Sequence[PreparedNotice],
    ) -> None:
        self._scope: Final = scope
        self._membership_key: Final = membership_key(scope, client)
        self._client_id: Final = client_id
        self._upto: Final = upto
        self._now: Final = now
        self._notices: Final = notices
        self._started = False
        self._first = 0
        self._target = 0
        self._sent_at_target = 0
        self._sign = 1
        self._next = 0
        self._last = 0

    def __call__(self, batch: Batch) -> Membership | Unfinished | None:
        key = self._membership_key
        membership = None if key is None else batch.memberships.get(key)
        head = log_head(self._scope, batch)
        if key is None or membership is None or head is None:
            return None
        # What was counted stays right whatever comes between, unless messages were retired: a message does not change
        # its sender, and a later membership is past them.
        if not self._started or self._first != head.first:
            self._start(batch, head, membership)
            self._started = True
        if self._target <= membership.read:
            return membership
        self._count(batch)
        if self._next <= self._last:
            return UNFINISHED
        moved = replace(membership, read=self._target, sent_at_read=self._sent_at_target, read_at=self._now)
        if moved.delivered < self._target:
            moved = replace(moved, delivered=self._target, delivered_at=self._now)
        batch.memberships.set(key, moved)
        put_notices(self._notices, batch)
        return moved

    def _start(self, batch: Batch, head: Head, membership: Membership) -> None:
        self._first = head.first
        self._target = (
            head.sequence
            if self._upto is None
            else covered(batch.transaction, batch.tables.messages, self._scope, head, self._upto)
        )
        read = max(membership.read, head.first - 1)
        from_read, from_head = self._target - read, head.sequence - self._target
        if membership.sent == membership.sent_at_read or from_head < from_read:
            self._sent_at_target, self._sign = membership.sent, -1
            self._next, self._last = self._target + 1, head.sequence
        else:
            self._sent_at_target, self._sign = membership.sent_at_read, 1
            self._next, self._last = read + 1, self._target
        if membership.sent == membership.sent_at_read:
            self._next = self._last + 1

    def _count(self, batch: Batch) -> None:
        count = min(_SCAN_STEP, self._last + 1 - self._next)
        for record in records(batch.transaction, batch.tables.messages, self._scope, self._next, count):
            if decode_origin(record).sender == self._client_id:
                self._sent_at_target += self._sign
        self._next += max(count, 0)


def log_head(scope: bytes, batch: Batch) -> Head | None:
    """The head of the log with that scope; ``None`` when its conversation is not there, or it has no message yet."""
    if len(scope) > SCOPE_BYTES and batch.heads.get(conversation_scope(scope)) is None:
        return None
    return batch.heads.get(scope)


def _opened_head(scope: bytes, batch: Batch) -> Head:
    """The head of a log that has none yet: of a personal one, in a service conversation.

    Raises:
        ConversationNotFound: There is no such log.
    """
    if len(scope) > SCOPE_BYTES:
        stored = batch.transaction.get(conversation_scope(scope), db=batch.tables.conversations)
        if stored is not None and decode_conversation(stored).kind is Kind.SYSTEM:
            return Head()
    raise ConversationNotFound


def _message_of(token: bytes, stored: bytes, scope: bytes, head: Head, batch: Batch) -> Message | None:
    """The message that has the token, which is ``stored`` so; ``None`` when it was retired: that forgets its token."""
    _, sequence, _ = split_token(token, stored)
    earlier = batch.find_message(scope, sequence)
    if earlier is None and int.from_bytes(sequence) >= head.first:
        raise LookupError(f"token {token.hex()} leads to no message: run fastim verify")
    return earlier
