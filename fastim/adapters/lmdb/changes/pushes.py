"""The outbox: what is to be pushed, and when.

Whatever is asked of it about a notification costs the same however many wait behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import lmdb
from msgspec import Struct
from msgspec.structs import replace

from fastim.adapters.lmdb.batch import Batch
from fastim.adapters.lmdb.changes.installations import set_badge
from fastim.adapters.lmdb.changes.messages import Place, append, append_each
from fastim.adapters.lmdb.keys import (
    APPLICATION_BYTES,
    moment_key,
    queue_key,
    sequence_key,
    text_hash,
)
from fastim.adapters.lmdb.records import (
    PushCounts,
    Target,
    decode_notification,
    decode_number,
    decode_target,
    encode_packed,
)
from fastim.core.message import Draft, Message
from fastim.core.push import Job
from fastim.core.units import Millis
from fastim.ports.store import Appended, DuePush


class PreparedPush(Struct, frozen=True, eq=False):
    """A notification with all that can be worked out before it is the writer's turn.

    Attributes:
        target: Hash of its target.
        message: Hash of its message's id.
        record: Itself.
    """

    target: bytes
    message: bytes
    record: bytes


def append_with_job(place: Place, draft: Draft, now: Millis, urgent: bool, push: Job, batch: Batch) -> Appended:
    """``append``, and keep the job if it stored anything."""
    appended = append(*place, draft, now, urgent, batch)
    if appended.fresh:
        sequence = appended.message.sequence
        _keep_job(place[0][:APPLICATION_BYTES], push, appended.message, sequence, batch)
    return appended


def append_each_with_job(
    application: bytes, places: Sequence[Place], draft: Draft, now: Millis, push: Job, batch: Batch
) -> list[Appended]:
    """``append_each``, and the same."""
    appended = append_each(places, draft, now, batch)
    fresh = next((one.message for one in appended if one.fresh), None)
    if fresh is not None:
        _keep_job(application, push, fresh, 0, batch)
    return appended


def queue_pushes(
    application: bytes,
    job: Job,
    notifications: Sequence[PreparedPush],
    badges: Mapping[bytes, int],
    now: Millis,
    done: bool,
    batch: Batch,
) -> None:
    """Put each behind what waits for its target, and keep the job as it is now, or forget it.

    Args:
        badges: By the keys of the installations.
    """
    counts = _counts(application, batch)
    for notification in notifications:
        counts = _queue(application, notification, now, counts, batch)
    for installation, badge in badges.items():
        set_badge(installation, badge, batch)
    key = application + job.message_id.encode()
    if not done:
        if batch.transaction.get(key, db=batch.tables.push_jobs) is not None:
            batch.put_counted(key, encode_packed(job), batch.tables.push_jobs)
    elif batch.transaction.delete(key, db=batch.tables.push_jobs):
        counts = replace(counts, jobs=counts.jobs - 1)
    batch.push_counts.set(application, counts)


def settle_push(application: bytes, push: DuePush, now: Millis, batch: Batch) -> None:
    """Take it away; if it was the first of its target, the next one is due."""
    transaction, tables = batch.transaction, batch.tables
    key = application + text_hash(push.notification.target)
    target = _target(key, batch)
    if target is None:
        return
    queue = application + queue_key(target.queue)
    message = queue + text_hash(push.notification.message_id)
    number = transaction.get(message, db=tables.push_messages)
    if number is None:
        return
    cursor = transaction.cursor(tables.push_queues)
    first = _is_first(cursor, queue + sequence_key(decode_number(number)), queue)
    cursor.delete()
    transaction.delete(message, db=tables.push_messages)
    left = replace(target, waiting=target.waiting - 1)
    counts = _counts(application, batch)
    counts = replace(counts, notifications=counts.notifications - 1)
    if not left.waiting:
        _forget_target(key, target, batch)
        counts = replace(counts, targets=counts.targets - 1)
    else:
        _put_target(key, target, replace(left, due=now, attempts=0) if first else left, batch)
    batch.push_counts.set(application, counts)


def postpone_push(application: bytes, push: DuePush, due: Millis, tried: bool, batch: Batch) -> None:
    """Make it due then, if it is what its target waits for, and nobody has done so before."""
    key = application + text_hash(push.notification.target)
    target = _target(key, batch)
    if target is None or (target.due, target.attempts) != (push.due, push.attempts):
        return
    queue = application + queue_key(target.queue)
    cursor = batch.transaction.cursor(batch.tables.push_queues)
    if first_of(cursor, queue) and decode_notification(cursor.value()) == push.notification:
        _put_target(key, target, replace(target, due=due, attempts=push.attempts + tried), batch)


def drop_pushes(key: bytes, batch: Batch) -> int:
    """Forget the target with that key; its queue is taken away when there is time for it."""
    target = _target(key, batch)
    if target is None:
        return 0
    application = key[:APPLICATION_BYTES]
    batch.transaction.put(application + queue_key(target.queue), b"", db=batch.tables.push_drops)
    _forget_target(key, target, batch)
    counts = _counts(application, batch)
    left = replace(counts, targets=counts.targets - 1, notifications=counts.notifications - target.waiting)
    batch.push_counts.set(application, left)
    return target.waiting


def first_of(cursor: lmdb.Cursor[bytes], queue: bytes) -> bool:
    """Go to the first notification of the queue with that key in ``push_queues``; whether there is one."""
    return cursor.set_range(queue) and cursor.key().startswith(queue)


def _keep_job(application: bytes, push: Job, fresh: Message, sequence: int, batch: Batch) -> None:
    job = replace(push, message_id=fresh.id, timestamp=fresh.timestamp, sequence=sequence)
    if batch.put_counted(application + fresh.id.encode(), encode_packed(job), batch.tables.push_jobs):
        counts = _counts(application, batch)
        batch.push_counts.set(application, replace(counts, jobs=counts.jobs + 1))


def _queue(application: bytes, notification: PreparedPush, now: Millis, counts: PushCounts, batch: Batch) -> PushCounts:
    key = application + notification.target
    before = target = _target(key, batch)
    if target is None:
        counts = replace(counts, targets=counts.targets + 1, last_queue=counts.last_queue + 1)
        target = Target(counts.last_queue, now)
    queue, number = application + queue_key(target.queue), target.next_number
    message = queue + notification.message
    if not batch.transaction.put(message, encode_packed(number), overwrite=False, db=batch.tables.push_messages):
        return counts
    batch.put_counted(queue + sequence_key(number), notification.record, batch.tables.push_queues)
    _put_target(key, before, replace(target, next_number=number + 1, waiting=target.waiting + 1), batch)
    return replace(counts, notifications=counts.notifications + 1)


def _is_first(cursor: lmdb.Cursor[bytes], key: bytes, queue: bytes) -> bool:
    """Go to the notification with that key; whether none of its queue is before it.

    Raises:
        LookupError: It is not there.
    """
    if not cursor.set_key(key):
        raise LookupError(f"notification {key.hex()} is not there: run fastim verify")
    first = not cursor.prev() or not cursor.key().startswith(queue)
    cursor.set_key(key)
    return first


def _target(key: bytes, batch: Batch) -> Target | None:
    stored = batch.transaction.get(key, db=batch.tables.push_targets)
    return None if stored is None else decode_target(stored)


def _put_target(key: bytes, before: Target | None, target: Target, batch: Batch) -> None:
    transaction, tables = batch.transaction, batch.tables
    transaction.put(key, encode_packed(target), db=tables.push_targets)
    if before is None or before.due != target.due:
        if before is not None:
            transaction.delete(due_key(key, before), db=tables.push_dues)
        transaction.put(due_key(key, target), b"", db=tables.push_dues)


def _forget_target(key: bytes, target: Target, batch: Batch) -> None:
    batch.transaction.delete(key, db=batch.tables.push_targets)
    batch.transaction.delete(due_key(key, target), db=batch.tables.push_dues)


def due_key(key: bytes, target: Target) -> bytes:
    """The key in ``push_dues`` of the target that has ``key`` in ``push_targets``."""
    return key[:APPLICATION_BYTES] + moment_key(target.due) + key[APPLICATION_BYTES:]


def _counts(application: bytes, batch: Batch) -> PushCounts:
    return batch.push_counts.get(application) or PushCounts()
