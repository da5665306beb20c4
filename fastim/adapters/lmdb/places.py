"""Finding places in a log: from a position to the sequences around it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import islice

import lmdb

from fastim.adapters.lmdb.keys import sequence_key
from fastim.adapters.lmdb.records import decode_stamp
from fastim.core.message import Position
from fastim.core.units import Millis
from fastim.core.unread import Head


def count_before(
    transaction: lmdb.Transaction[bytes], messages: lmdb._Database, scope: bytes, head: Head, position: Position
) -> int:
    """The sequence of the last message before ``position``; where there is none, the one before the oldest kept.

    Args:
        scope: The log's.
    """
    bound = (position.timestamp, position.message_id)
    kept = range(head.first, head.sequence + 1)
    return (
        head.first - 1 + bisect_left(kept, bound, key=lambda sequence: _stamp(transaction, messages, scope, sequence))
    )


def count_until(
    transaction: lmdb.Transaction[bytes], messages: lmdb._Database, scope: bytes, head: Head, position: Position
) -> int:
    """The sequence of the last message before ``position`` or at it, in the same way."""
    bound = (position.timestamp, position.message_id)
    kept = range(head.first, head.sequence + 1)
    return (
        head.first - 1 + bisect_right(kept, bound, key=lambda sequence: _stamp(transaction, messages, scope, sequence))
    )


def covered(
    transaction: lmdb.Transaction[bytes], messages: lmdb._Database, scope: bytes, head: Head, upto: Position
) -> int:
    """The sequence of the last message that ``upto`` covers, in the same way; without an id, its whole millisecond."""
    if upto.message_id:
        return count_until(transaction, messages, scope, head, upto)
    return count_before(transaction, messages, scope, head, Position(Millis(upto.timestamp + 1)))


def records(
    transaction: lmdb.Transaction[bytes],
    messages: lmdb._Database,
    scope: bytes,
    first: int,
    count: int,
    *,
    backward: bool = False,
) -> Iterator[bytes]:
    """``count`` message records from the one with the sequence ``first``, which is there."""
    if count <= 0:
        return iter(())
    cursor = transaction.cursor(messages)
    if not cursor.set_key(scope + sequence_key(first)):
        raise _Hole(scope, first)
    return islice(cursor.iterprev(keys=False) if backward else cursor.iternext(keys=False), count)


def _stamp(
    transaction: lmdb.Transaction[bytes], messages: lmdb._Database, scope: bytes, sequence: int
) -> tuple[Millis, str]:
    stored = transaction.get(scope + sequence_key(sequence), db=messages)
    if stored is None:
        raise _Hole(scope, sequence)
    stamp = decode_stamp(stored)
    return stamp.timestamp, stamp.id


class _Hole(LookupError):
    """The store is damaged: a message that has to be there is not."""

    def __init__(self, scope: bytes, sequence: int) -> None:
        super().__init__(f"log {scope.hex()} has no message {sequence}: run fastim verify")
