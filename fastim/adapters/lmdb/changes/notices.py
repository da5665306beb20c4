"""Notices: of one client, or of the members of one conversation."""

from __future__ import annotations

from collections.abc import Sequence

import lmdb
from msgspec import Struct

from fastim.adapters.lmdb.batch import Batch
from fastim.adapters.lmdb.keys import APPLICATION_BYTES, MOMENT_BYTES, NUMBER_BYTES, number_key

_PAST_NUMBERS = b"\xff" * NUMBER_BYTES


class PreparedNotice(Struct, frozen=True):
    """A notice as it is stored.

    Attributes:
        owner: As ``keys`` has it, the application before it.
        moment: As in keys.
    """

    owner: bytes
    moment: bytes
    record: bytes


def put_notices(notices: Sequence[PreparedNotice], batch: Batch) -> None:
    """Store ``notices``."""
    if not notices:
        return
    transaction, tables = batch.transaction, batch.tables
    cursor = transaction.cursor(tables.notices)
    for notice in notices:
        application, owner = notice.owner[:APPLICATION_BYTES], notice.owner[APPLICATION_BYTES:]
        number = _next_number(cursor, notice.owner + notice.moment)
        cursor.put(notice.owner + notice.moment + number, notice.record)
        transaction.put(application + notice.moment + number + owner, b"", db=tables.notice_times)


def drop_notice(key: bytes, batch: Batch) -> None:
    """Forget the notice with that key in ``notices``."""
    batch.transaction.delete(key, db=batch.tables.notices)
    batch.transaction.delete(time_of(key), db=batch.tables.notice_times)


def time_of(key: bytes) -> bytes:
    """The key in ``notice_times`` of the notice that has ``key`` in ``notices``."""
    tail = MOMENT_BYTES + NUMBER_BYTES
    return key[:APPLICATION_BYTES] + key[-tail:] + key[APPLICATION_BYTES:-tail]


def notice_of(time: bytes) -> bytes:
    """The key in ``notices`` of the notice that has the key ``time`` in ``notice_times``."""
    owner = APPLICATION_BYTES + MOMENT_BYTES + NUMBER_BYTES
    return time[:APPLICATION_BYTES] + time[owner:] + time[APPLICATION_BYTES:owner]


def _next_number(cursor: lmdb.Cursor[bytes], moment: bytes) -> bytes:
    """The number past all that the table has of ``moment``, an owner's."""
    found = cursor.prev() if cursor.set_range(moment + _PAST_NUMBERS) else cursor.last()
    last = cursor.key() if found else b""
    return number_key(int.from_bytes(last[len(moment) :]) + 1 if last.startswith(moment) else 0)
