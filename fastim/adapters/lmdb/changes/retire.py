"""A round of retiring: everything of an application that is past its time goes, a little in each step.

The kinds of work follow each other so that what one finds to be deleted a later one takes away. How far a round has got
is kept in memory: what is done is done, and one that begins again finds less to do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import lmdb
from msgspec import Struct
from msgspec.structs import replace

from fastim.adapters.lmdb.batch import Batch
from fastim.adapters.lmdb.changes.conversations import delete_conversation
from fastim.adapters.lmdb.changes.messages import forget_patch
from fastim.adapters.lmdb.changes.notices import notice_of
from fastim.adapters.lmdb.changes.purge import purge
from fastim.adapters.lmdb.keys import (
    APPLICATION_BYTES,
    MOMENT_BYTES,
    SEQUENCE_BYTES,
    application_key,
    client_key,
    membership_key,
    moment_key,
    sequence_key,
)
from fastim.adapters.lmdb.records import (
    Place,
    decode_broadcast,
    decode_conversation,
    decode_head,
    decode_message,
    decode_stamp,
    decode_staying,
)
from fastim.core.conversation import Kind
from fastim.core.ids import AppNumber
from fastim.core.message import Message
from fastim.core.policy import REJOIN_MILLIS, URGENT_KEPT_MILLIS
from fastim.core.retention import Retention
from fastim.core.units import Millis
from fastim.core.unread import Head

_STEP = 500
_PAST_MOMENTS = b"\xff" * MOMENT_BYTES
_DELETION = 10
"""What deleting a conversation weighs against looking at one."""


class _Step(Struct, frozen=True, eq=False):
    """What one step is about; the rules' lengths of time as moments, 0 for what is kept for ever."""

    number: AppNumber
    application: bytes
    now: Millis
    messages_before: int
    idle_before: int
    notices_before: int
    batch: Batch


Work = Callable[[_Step, bytes, int], tuple[int, bytes | None]]
"""What a kind of work does in a step: from the key after the given one on, at most so many records.

It returns how many records went or were looked at, and the key that it has got to, ``None`` when it is done.
"""


def retire(number: AppNumber, rules: Retention, now: Millis, batch: Batch) -> int:
    """One step of a round; 0 when the round is over."""
    batch.settle()
    place = batch.place(number) or Place(0)
    if place.stage == len(_ROUND):
        batch.move(number, None)
        return 0
    step = _Step(
        number,
        application_key(number),
        now,
        now - rules.history if rules.history else 0,
        now - rules.idle if rules.idle else 0,
        now - rules.notices if rules.notices else 0,
        batch,
    )
    done, stage, after = 0, place.stage, place.after
    while stage < len(_ROUND) and done < _STEP:
        more, reached = _ROUND[stage](step, after, _STEP - done)
        done += more
        stage, after = (stage + 1, b"") if reached is None else (stage, reached)
    over = stage == len(_ROUND) and done == 0
    batch.move(number, None if over else Place(stage, after))
    return 0 if over else max(done, 1)


def _delete_expired(step: _Step, after: bytes, room: int) -> tuple[int, bytes | None]:
    """Temporary conversations that have ended."""
    done = 0
    transaction, expiries = step.batch.transaction, step.batch.tables.conversation_expiries
    past = step.application + moment_key(step.now + 1)
    cursor = transaction.cursor(expiries)
    while done < room:
        if not cursor.set_range(step.application) or cursor.key() >= past:
            return done, None
        key = cursor.key()
        scope = step.application + key[APPLICATION_BYTES + MOMENT_BYTES :]
        delete_conversation(step.number, scope, step.batch)
        transaction.delete(key, db=expiries)
        done += _DELETION
    return done, step.application


def _delete_idle(step: _Step, after: bytes, room: int) -> tuple[int, bytes | None]:
    """Conversations without a message or a change."""
    done = 0
    cursor = step.batch.transaction.cursor(step.batch.tables.conversations)
    while step.idle_before > 0 and done < room:
        if not _seek(cursor, after or step.application) or not cursor.key().startswith(step.application):
            return done, None
        after = cursor.key()
        done += 1
        if _idle(step, after, cursor.value()):
            delete_conversation(step.number, after, step.batch)
            done += _DELETION
    return done, None if step.idle_before <= 0 else after


def _idle(step: _Step, scope: bytes, record: bytes) -> bool:
    head = step.batch.transaction.get(scope, db=step.batch.tables.heads)
    if head is None or decode_head(head).timestamp > step.idle_before:
        return False
    conversation = decode_conversation(record)
    return conversation.kind is not Kind.SYSTEM and conversation.updated_at <= step.idle_before


def _retire_messages(step: _Step, after: bytes, room: int) -> tuple[int, bytes | None]:
    """Messages that are too old, log by log."""
    step.batch.settle()
    done = 0
    cursor = step.batch.transaction.cursor(step.batch.tables.heads)
    while step.messages_before > 0 and done < room:
        if not _seek(cursor, after or step.application) or not cursor.key().startswith(step.application):
            return done, None
        scope = cursor.key()
        gone = _retire_oldest(step, scope, decode_head(cursor.value()), room - done)
        if gone < room - done:
            after = scope
        done += 1 + gone
    return done, None if step.messages_before <= 0 else after or step.application


def _retire_oldest(step: _Step, scope: bytes, head: Head, room: int) -> int:
    """Take away at most ``room`` of the log's messages, oldest first; its head says from where on they are there."""
    batch = step.batch
    gone = 0
    cursor = batch.transaction.cursor(batch.tables.messages)
    more = head.first <= head.sequence and cursor.set_key(scope + sequence_key(head.first))
    while more and gone < room and cursor.key()[:-SEQUENCE_BYTES] == scope:
        record = cursor.value()
        if decode_stamp(record).timestamp >= step.messages_before:
            break
        message = decode_message(record)
        forget_patch(scope, message, batch)
        _count_as_read(scope, message, batch)
        more = cursor.delete() and bool(cursor.key())
        gone += 1
    if gone:
        batch.heads.set(scope, replace(head, first=head.first + gone))
    return gone


def _count_as_read(scope: bytes, message: Message, batch: Batch) -> None:
    """Where counting unread messages starts behind a retired one, ``sent_at_read`` has to, too."""
    client = client_key(message.sender)
    key = None if client is None else membership_key(scope, client)
    membership = None if key is None else batch.memberships.get(key)
    if key is not None and membership is not None and membership.read < message.sequence:
        batch.memberships.set(key, replace(membership, sent_at_read=membership.sent_at_read + 1))


def _delete_notices(step: _Step, after: bytes, room: int) -> tuple[int, bytes | None]:
    """Notices that are too old."""
    done = 0
    past = step.application + moment_key(step.notices_before)
    cursor = step.batch.transaction.cursor(step.batch.tables.notice_times)
    while done < room:
        if not cursor.set_range(step.application) or cursor.key() >= past:
            return done, None
        step.batch.transaction.delete(notice_of(cursor.key()), db=step.batch.tables.notices)
        cursor.delete()
        done += 1
    return done, step.application


def _delete_broadcasts(step: _Step, after: bytes, room: int) -> tuple[int, bytes | None]:
    """Messages to everybody that have expired."""
    done = 0
    cursor = step.batch.transaction.cursor(step.batch.tables.broadcasts)
    while done < room:
        if not _seek(cursor, after or step.application) or not cursor.key().startswith(step.application):
            return done, None
        after = cursor.key()
        if decode_broadcast(cursor.value()).valid_till <= step.now:
            cursor.delete()
        done += 1
    return done, after


def _forget_stays(step: _Step, after: bytes, room: int) -> tuple[int, bytes | None]:
    """Places in chat rooms that their devices have stayed away from for too long."""
    done = 0
    cursor = step.batch.transaction.cursor(step.batch.tables.stays)
    while done < room:
        if not _seek(cursor, after or step.application) or not cursor.key().startswith(step.application):
            return done, None
        after = cursor.key()
        left_at = decode_staying(cursor.value()).left_at
        if left_at and left_at + REJOIN_MILLIS <= step.now:
            cursor.delete()
        done += 1
    return done, after


def _forget_urgent(step: _Step, after: bytes, room: int) -> tuple[int, bytes | None]:
    """That messages were urgent, where nobody is left who may have missed them; log by log."""
    done = 0
    oldest = moment_key(step.now - URGENT_KEPT_MILLIS)
    cursor = step.batch.transaction.cursor(step.batch.tables.urgent_messages)
    while done < room:
        if not _seek(cursor, after or step.application) or not cursor.key().startswith(step.application):
            return done, None
        scope, moment = cursor.key()[:-MOMENT_BYTES], cursor.key()[-MOMENT_BYTES:]
        if moment < oldest:
            cursor.delete()
        else:
            after = scope + _PAST_MOMENTS
        done += 1
    return done, after or step.application


def _purge(step: _Step, after: bytes, room: int) -> tuple[int, bytes | None]:
    """What deleted conversations left."""
    done = 0
    cursor = step.batch.transaction.cursor(step.batch.tables.purges)
    while done < room:
        if not cursor.set_range(step.application) or not cursor.key().startswith(step.application):
            return done, None
        done += purge(cursor.key(), room - done, step.batch)
    return done, step.application


def _empty_queues(step: _Step, after: bytes, room: int) -> tuple[int, bytes | None]:
    """Notifications that nobody is to be sent any more."""
    done = 0
    tables = step.batch.tables
    drops = step.batch.transaction.cursor(tables.push_drops)
    while done < room:
        if not drops.set_range(step.application) or not drops.key().startswith(step.application):
            return done, None
        queue = drops.key()
        for table in (tables.push_queues, tables.push_messages):
            cursor = step.batch.transaction.cursor(table)
            while done < room and cursor.set_range(queue) and cursor.key().startswith(queue):
                cursor.delete()
                done += 1
        if done < room:
            drops.delete()
            done += 1
    return done, step.application


def _seek(cursor: lmdb.Cursor[bytes], after: bytes) -> bool:
    """Go to the first key after ``after``."""
    return cursor.set_range(after + b"\0")


_ROUND: Final[tuple[Work, ...]] = (
    _delete_expired,
    _delete_idle,
    _retire_messages,
    _delete_notices,
    _delete_broadcasts,
    _forget_stays,
    _forget_urgent,
    _empty_queues,
    _purge,
)
