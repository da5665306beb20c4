"""One write transaction's working set: the records that many writes touch are read once and written once."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar

import lmdb

from fastim.adapters.lmdb.environment import Environment, Tables
from fastim.adapters.lmdb.keys import APPLICATION_BYTES, sequence_key, token_hour_key, token_value
from fastim.adapters.lmdb.records import (
    Place,
    PushCounts,
    decode_head,
    decode_membership,
    decode_message,
    decode_push_counts,
    encode_packed,
)
from fastim.core.conversation import Conversation
from fastim.core.ids import MESSAGE_ENTROPY_BYTES, AppNumber
from fastim.core.message import Message
from fastim.core.units import Millis
from fastim.core.unread import Head, Membership

_REMEMBERED = 20_000
_PAGE_BYTES = 4_096
_ENTROPY_BYTES = 512 * MESSAGE_ENTROPY_BYTES
_PAST_NUMBERS = b"\xff" * 8

R = TypeVar("R")


class Batch:
    """What the writes of one transaction share. One per writer, reused for every transaction, used by its thread only.

    Attributes:
        conversations: Those stored in this transaction, ``None`` for those deleted, for the cache of whoever reads.
        written_bytes: What messages, heads, memberships and notifications took since somebody set it to 0, rather too
            much: each of them a page besides its content.
    """

    transaction: lmdb.Transaction[bytes]
    tables: Tables

    def __init__(self) -> None:
        self.heads: _WrittenOnce[Head] = _WrittenOnce(decode_head)
        self.memberships: _WrittenOnce[Membership] = _WrittenOnce(decode_membership)
        self.push_counts: _WrittenOnce[PushCounts] = _WrittenOnce(decode_push_counts)
        self.conversations: dict[tuple[AppNumber, str], Conversation | None] = {}
        self.written_bytes = 0
        self._token_hours: dict[bytes, list[bytes]] = {}
        self._places: dict[AppNumber, Place] = {}
        self._moved: dict[AppNumber, Place | None] = {}
        self._entropy = b""
        self._entropy_used = 0

    def begin(self, environment: Environment) -> None:
        self.transaction = environment.lmdb.begin(write=True)
        self.tables = environment.tables
        self.heads.begin(self.transaction, self.tables.heads)
        self.memberships.begin(self.transaction, self.tables.memberships)
        self.push_counts.begin(self.transaction, self.tables.push_counts)

    def commit(self) -> None:
        """Write what is still held back, and commit: it is on disk when this returns."""
        self.settle()
        self.push_counts.flush()
        self._flush_token_hours()
        self.transaction.commit()
        for number, place in self._moved.items():
            if place is None:
                self._places.pop(number, None)
            else:
                self._places[number] = place
        self._moved.clear()

    def settle(self) -> None:
        """Write what is held back of heads and memberships: before a cursor goes over their tables."""
        self.written_bytes += _PAGE_BYTES * (self.heads.flush() + self.memberships.flush())

    def give_up(self) -> None:
        """Forget the transaction, begun or not, and everything that was learnt in it."""
        self.heads.forget()
        self.memberships.forget()
        self.push_counts.forget()
        self.conversations = {}
        self._token_hours.clear()
        self._moved.clear()
        if hasattr(self, "transaction"):
            self.transaction.abort()

    def find_message(self, scope: bytes, sequence: bytes) -> Message | None:
        """The message of the conversation with the key ``scope`` that has that sequence."""
        stored = self.transaction.get(scope + sequence, db=self.tables.messages)
        return None if stored is None else decode_message(stored)

    def put_message(self, scope: bytes, message: Message) -> None:
        record = encode_packed(message)
        self.transaction.put(scope + sequence_key(message.sequence), record, db=self.tables.messages)
        self.written_bytes += len(record) + _PAGE_BYTES

    def put_counted(self, key: bytes, record: bytes, table: lmdb._Database) -> bool:
        """Store something large; whether it was not there before."""
        self.written_bytes += len(record) + _PAGE_BYTES
        fresh = self.transaction.put(key, record, overwrite=False, db=table)
        if not fresh:
            self.transaction.put(key, record, db=table)
        return fresh

    def put_token(
        self, key: bytes, scope: bytes, timestamp: Millis, sequence: int, *, anew: bool = False
    ) -> bytes | None:
        """Remember the token with that key: which message has it, and in which hour.

        Looking first would cost one more way down the tree for every message; nearly all tokens are new.

        Args:
            anew: Whatever was remembered of it.

        Returns:
            ``None``, or what is remembered of it already, which stays: a value of ``tokens``.
        """
        hour = token_hour_key(timestamp)
        value = token_value(scope, sequence, hour)
        if not self.transaction.put(key, value, overwrite=anew, db=self.tables.tokens):
            return self.transaction.get(key, db=self.tables.tokens)
        self._token_hours.setdefault(key[:APPLICATION_BYTES] + hour, []).append(key)
        return None

    def place(self, number: AppNumber) -> Place | None:
        """How far the application's round of retiring has got; ``None`` between two."""
        return self._moved.get(number, self._places.get(number))

    def move(self, number: AppNumber, place: Place | None) -> None:
        """Remember how far it has got once this is committed; not beyond the process, a round may begin again."""
        self._moved[number] = place

    def _flush_token_hours(self) -> None:
        if self._token_hours:
            cursor = self.transaction.cursor(self.tables.token_hours)
            for hour, tokens in self._token_hours.items():
                cursor.put(_next_in_hour(cursor, hour), b"".join(tokens))
            self._token_hours.clear()

    def entropy(self) -> bytes:
        """Random bytes for one message id; a large block costs the system call of a small one."""
        start = self._entropy_used
        if start == len(self._entropy):
            self._entropy, start = os.urandom(_ENTROPY_BYTES), 0
        self._entropy_used = start + MESSAGE_ENTROPY_BYTES
        return self._entropy[start : self._entropy_used]


def _next_in_hour(cursor: lmdb.Cursor[bytes], hour: bytes) -> bytes:
    """The key past all that ``token_hours`` has of ``hour``, an application's."""
    found = cursor.prev() if cursor.set_range(hour + _PAST_NUMBERS) else cursor.last()
    last = cursor.key() if found else b""
    number = int.from_bytes(last[len(hour) :]) + 1 if last.startswith(hour) else 0
    return hour + number.to_bytes(8)


class _WrittenOnce(Generic[R]):
    """A table whose records change often: read through what is remembered, changes written once, before the commit."""

    def __init__(self, decode: Callable[[bytes], R]) -> None:
        self._decode = decode
        self._known: dict[bytes, R | None] = {}
        self._changed: set[bytes] = set()

    def begin(self, transaction: lmdb.Transaction[bytes], table: lmdb._Database) -> None:
        self._transaction = transaction
        self._table = table
        if len(self._known) > _REMEMBERED:
            self._known.clear()

    def get(self, key: bytes) -> R | None:
        try:
            return self._known[key]
        except KeyError:
            stored = self._transaction.get(key, db=self._table)
            record = self._known[key] = None if stored is None else self._decode(stored)
            return record

    def set(self, key: bytes, record: R | None) -> None:
        """``None`` removes the record."""
        self._known[key] = record
        self._changed.add(key)

    def remove(self, key: bytes) -> None:
        """Remove the record at once, for whoever goes over the table."""
        self._known[key] = None
        self._changed.discard(key)
        self._transaction.delete(key, db=self._table)

    def flush(self) -> int:
        """Write the changed records; how many they were."""
        flushed = len(self._changed)
        for key in sorted(self._changed):
            record = self._known[key]
            if record is None:
                self._transaction.delete(key, db=self._table)
            else:
                self._transaction.put(key, encode_packed(record), db=self._table)
        self._changed.clear()
        return flushed

    def forget(self) -> None:
        self._known.clear()
        self._changed.clear()
