"""What a deleted conversation leaves behind, taken away in steps."""

from __future__ import annotations

from collections.abc import Callable

import lmdb
from msgspec.structs import replace

from fastim.adapters.lmdb.batch import Batch
from fastim.adapters.lmdb.changes.notices import drop_notice
from fastim.adapters.lmdb.keys import (
    APPLICATION_BYTES,
    SCOPE_BYTES,
    client_key,
    conversation_owner,
    log_beginnings,
    personal_membership_key,
)
from fastim.adapters.lmdb.records import decode_conversation, encode_json


def purge(scope: bytes, room: int, batch: Batch) -> int:
    """Take away at most ``room`` records that the deleted conversation left, and when none is left its place in line.

    Returns:
        How many went.
    """
    batch.settle()
    tables = batch.tables
    gone = _drop_memberships(scope, room, batch)
    beginnings = log_beginnings(scope)
    for begin in beginnings:
        for table in (tables.messages, tables.tokens, tables.patches, tables.urgent_messages):
            gone += _drop(table, begin, room - gone, batch)
    gone += _drop(tables.standings, scope, room - gone, batch)
    gone += _drop(tables.subscribers, scope, room - gone, batch, _drop_subscriber)
    for begin in beginnings[1:]:
        gone += _drop(tables.heads, begin, room - gone, batch, _drop_personal_head)
    owner = scope[:APPLICATION_BYTES] + conversation_owner(scope[APPLICATION_BYTES:])
    gone += _drop(tables.notices, owner, room - gone, batch, drop_notice)
    if gone < room:
        batch.transaction.delete(scope, db=tables.subscriber_counts)
        batch.transaction.delete(scope, db=tables.purges)
        gone += 1
    return gone


def _drop_memberships(scope: bytes, room: int, batch: Batch) -> int:
    """Those of the members that its record names; the record keeps the names of those who are still to be done."""
    stored = batch.transaction.get(scope, b"", db=batch.tables.purges)
    conversation = decode_conversation(stored)
    gone = conversation.members[:room]
    for member in gone:
        client = client_key(member)
        if client is not None:
            batch.memberships.remove(scope[:APPLICATION_BYTES] + client + scope[APPLICATION_BYTES:])
    if gone:
        left = replace(conversation, members=conversation.members[room:])
        batch.transaction.put(scope, encode_json(left), db=batch.tables.purges)
    return len(gone)


def _drop(
    table: lmdb._Database,
    begin: bytes,
    room: int,
    batch: Batch,
    drop: Callable[[bytes, Batch], None] | None = None,
) -> int:
    """Take away at most ``room`` of the table's records whose keys begin so."""
    gone = 0
    cursor = batch.transaction.cursor(table)
    while gone < room and cursor.set_range(begin) and cursor.key().startswith(begin):
        if drop is None:
            cursor.delete()
        else:
            drop(cursor.key(), batch)
        gone += 1
    return gone


def _drop_subscriber(key: bytes, batch: Batch) -> None:
    name = key[SCOPE_BYTES:]
    client = len(name).to_bytes(2) + name
    batch.memberships.remove(key[:APPLICATION_BYTES] + client + key[APPLICATION_BYTES:SCOPE_BYTES])
    batch.transaction.delete(key, db=batch.tables.subscribers)


def _drop_personal_head(scope: bytes, batch: Batch) -> None:
    batch.memberships.remove(personal_membership_key(scope))
    batch.heads.remove(scope)
