"""Messages to everybody: few, kept in the order of their times and looked through to find one by its id."""

from __future__ import annotations

import lmdb

from fastim.adapters.lmdb.batch import Batch
from fastim.adapters.lmdb.keys import APPLICATION_BYTES, MOMENT_BYTES, moment_key
from fastim.adapters.lmdb.records import encode_packed
from fastim.core.broadcast import Broadcast


def save_broadcast(application: bytes, broadcast: Broadcast, batch: Batch) -> None:
    """Store it in the place of the one with its id."""
    message_id = broadcast.message.id.encode()
    delete_broadcast(application, message_id, batch)
    key = application + moment_key(broadcast.message.timestamp) + message_id
    batch.transaction.put(key, encode_packed(broadcast), db=batch.tables.broadcasts)


def delete_broadcast(application: bytes, message_id: bytes, batch: Batch) -> bool:
    """Take the one with that id away; whether there was one."""
    cursor = batch.transaction.cursor(batch.tables.broadcasts)
    return _find(cursor, application, message_id) and cursor.delete()


def _find(cursor: lmdb.Cursor[bytes], application: bytes, message_id: bytes) -> bool:
    more = cursor.set_range(application)
    while more and cursor.key().startswith(application):
        if cursor.key()[APPLICATION_BYTES + MOMENT_BYTES :] == message_id:
            return True
        more = cursor.next()
    return False
