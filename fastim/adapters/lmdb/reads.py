"""How an application's records are looked at: in read transactions, and in slices where they may be many.

A read that may be long goes in slices, each with a transaction of its own, and lets the loop run between them. How
long a slice is and whose the next one is, is decided in ``turns``. A slice is a plain method: a suspended coroutine
with a transaction among its variables, even one that is over, takes up one of LMDB's few places for readers. Between
two slices messages may be retired and conversations deleted, so each begins with what is there.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Final

import lmdb

from fastim.adapters.lmdb.environment import Environment
from fastim.adapters.lmdb.keys import (
    SCOPE_BYTES,
    application_key,
    client_key,
    conversation_key,
    conversation_scope,
    log_key,
)
from fastim.adapters.lmdb.places import count_before, count_until, records
from fastim.adapters.lmdb.records import decode_head, decode_installation, decode_message
from fastim.adapters.lmdb.turns import Turns
from fastim.core.ids import AppNumber
from fastim.core.installation import Installation
from fastim.core.message import Message, Span
from fastim.core.unread import Head

_SCAN_RECORDS = 64
_SCAN_BYTES = 1 << 16

Visit = Callable[["lmdb.Transaction[bytes]", bytes, bytes], bool]
"""What is done with a record, its transaction, key and value; whether that was enough."""


class Reads:
    """What the reads of one application share."""

    def __init__(self, environment: Environment, turns: Turns, number: AppNumber) -> None:
        self._environment: Final = environment
        self._turns: Final = turns
        self._number: Final = number
        self._key: Final = application_key(number)

    def _conversation_scope(self, conversation_id: str) -> bytes | None:
        key = conversation_key(conversation_id)
        return None if key is None else self._key + key

    def _scope(self, log_id: str) -> bytes | None:
        key = log_key(log_id)
        return None if key is None else self._key + key

    def _is_there(self, transaction: lmdb.Transaction[bytes], scope: bytes) -> bool:
        """Whether the conversation with that scope is: its head goes when it is deleted, much else later."""
        return transaction.get(scope, db=self._environment.tables.heads) is not None

    def _head(self, transaction: lmdb.Transaction[bytes], scope: bytes) -> Head:
        if len(scope) > SCOPE_BYTES and not self._is_there(transaction, conversation_scope(scope)):
            return Head()
        return self._stored_head(transaction, scope)

    def _stored_head(self, transaction: lmdb.Transaction[bytes], scope: bytes) -> Head:
        stored = transaction.get(scope, db=self._environment.tables.heads)
        return Head() if stored is None else decode_head(stored)

    def _stretch(self, scope: bytes, span: Span) -> tuple[int, int]:
        """The first and the last sequence within the span; the last is the smaller one when there is none."""
        table = self._environment.tables.messages
        with self._environment.reading() as transaction:
            head = self._head(transaction, scope)
            first, last = head.first, head.sequence
            if span.after is not None:
                count = count_before if span.after_included else count_until
                first = count(transaction, table, scope, head, span.after) + 1
            if span.before is not None:
                count = count_until if span.before_included else count_before
                last = count(transaction, table, scope, head, span.before)
        return first, last

    def _history_slice(
        self,
        scope: bytes,
        first: int,
        last: int,
        span: Span,
        wanted: Callable[[Message], bool] | None,
        found: list[Message],
        deadline: float,
    ) -> tuple[int, int]:
        """Add messages to ``found`` until there are enough or the deadline is past; the stretch that is left."""
        looked_at = 0
        with self._environment.reading() as transaction:
            head = self._head(transaction, scope)
            first, last = max(first, head.first), min(last, head.sequence)
            start = last if span.newest_first else first
            table = self._environment.tables.messages
            for record in records(transaction, table, scope, start, last + 1 - first, backward=span.newest_first):
                message = decode_message(record)
                looked_at += 1
                if not message.deleted and (wanted is None or wanted(message)):
                    found.append(message)
                if len(found) == span.limit or perf_counter() > deadline:
                    break
        return (first, last - looked_at) if span.newest_first else (first + looked_at, last)

    def _conversations_before(self, end: bytes) -> tuple[list[bytes], bytes]:
        """Some records, backward from the key ``end``, and the key to go on from, empty when these are the last."""
        stored: list[bytes] = []
        size = 0
        with self._environment.reading() as transaction:
            cursor = transaction.cursor(self._environment.tables.conversations)
            more = cursor.prev() if cursor.set_range(end) else cursor.last()
            while more and cursor.key().startswith(self._key):
                if len(stored) == _SCAN_RECORDS or size > _SCAN_BYTES:
                    return stored, end
                stored.append(cursor.value())
                size += len(stored[-1])
                end = cursor.key()
                more = cursor.prev()
        return stored, b""

    def _installations_from(self, start: bytes) -> tuple[list[bytes], bytes]:
        """Some records, from the key ``start`` on, and the key to go on from, empty when these are the last."""
        stored: list[bytes] = []
        size = 0
        with self._environment.reading() as transaction:
            cursor = transaction.cursor(self._environment.tables.installations)
            more = cursor.set_range(start)
            while more and cursor.key().startswith(self._key):
                if len(stored) == _SCAN_RECORDS or size > _SCAN_BYTES:
                    return stored, cursor.key()
                stored.append(cursor.value())
                size += len(stored[-1])
                more = cursor.next()
        return stored, b""

    def _subscribed_before(
        self, prefix: bytes, end: bytes, most: int, deadline: float, found: list[Installation]
    ) -> bytes:
        """Find installations by a channel, backward from the key ``end``, until there are ``most`` of them.

        Args:
            prefix: Of the channel's keys.
            deadline: So long at a stretch.

        Returns:
            The key to go on from, empty when that was all.
        """
        tables = self._environment.tables
        with self._environment.reading() as transaction:
            cursor = transaction.cursor(tables.installation_channels)
            more = cursor.prev() if cursor.set_range(end) else cursor.last()
            while more and cursor.key().startswith(prefix):
                record = transaction.get(self._key + cursor.key()[len(prefix) :], db=tables.installations)
                if record is not None:
                    found.append(decode_installation(record))
                if len(found) == most:
                    break
                if perf_counter() > deadline:
                    return cursor.key()
                more = cursor.prev()
        return b""

    async def _visit_memberships(self, client_id: str, visit: Visit) -> None:
        """Visit each membership of the client."""
        client = client_key(client_id)
        if client is not None:
            prefix = self._key + client
            await self._visit(self._environment.tables.memberships, prefix, prefix, visit)

    async def _visit(self, table: lmdb._Database, prefix: bytes, start: bytes, visit: Visit) -> None:
        """Visit the table's records from the key ``start`` on whose keys begin with ``prefix``, until one is enough."""
        deadline = self._turns.begin()
        start = self._visit_slice(table, prefix, start, visit, deadline)
        while start:
            deadline = await self._turns.next()
            start = self._visit_slice(table, prefix, start, visit, deadline)

    def _visit_slice(self, table: lmdb._Database, prefix: bytes, start: bytes, visit: Visit, deadline: float) -> bytes:
        """Visit until the deadline is past; the key to go on from, empty when there are no more."""
        with self._environment.reading() as transaction:
            cursor = transaction.cursor(table)
            more = cursor.set_range(start)
            while more and cursor.key().startswith(prefix):
                if visit(transaction, cursor.key(), cursor.value()):
                    break
                if perf_counter() > deadline:
                    return cursor.key() + b"\0"
                more = cursor.next()
        return b""
