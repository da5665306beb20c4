"""Finding places in a conversation: from a position to the sequences around it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import islice

import lmdb

from fastim.adapters.lmdb.keys import sequence_key
from fastim.adapters.lmdb.records import decode_stamp
from fastim.core.message import Position
from fastim.core.units import Millis


def count_before(
    transaction: lmdb.Transaction[bytes], messages: lmdb._Database, scope: bytes, last: int, position: Position
) -> int:
    """How many of the conversation's messages stand before ``position``: the sequence of the last of them.

    Args:
        scope: The conversation's key.
        last: The sequence of its last message.
    """
    bound = (position.timestamp, position.message_id)
    return bisect_left(range(1, last + 1), bound, key=lambda sequence: _stamp(transaction, messages, scope, sequence))


def count_until(
    transaction: lmdb.Transaction[bytes], messages: lmdb._Database, scope: bytes, last: int, position: Position
) -> int:
    """How many stand before ``position`` or at it."""
    bound = (position.timestamp, position.message_id)
    return bisect_right(range(1, last + 1), bound, key=lambda sequence: _stamp(transaction, messages, scope, sequence))


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
        super().__init__(f"conversation {scope.hex()} has no message {sequence}: run fastim verify")
