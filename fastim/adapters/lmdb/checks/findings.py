"""What a check of a store has found so far, and how it looks at the records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import lmdb
import msgspec

from fastim.adapters.lmdb.environment import Tables
from fastim.adapters.lmdb.keys import (
    APPLICATION_BYTES,
    SCOPE_BYTES,
    conversation_scope,
    log_id_of,
    split_client,
)

PROBLEMS_MAX = 1_000
"""How many problems are told in full; further ones are only counted."""

R = TypeVar("R")


class Findings:
    """The problems of a store, as one read transaction sees it.

    Attributes:
        tables: Handles of its tables.
        problems: One line each, at most ``PROBLEMS_MAX``.
        problem_count: All of them.
    """

    def __init__(self, transaction: lmdb.Transaction[bytes], tables: Tables) -> None:
        self._transaction: Final = transaction
        self.tables: Final = tables
        self.problems: list[str] = []
        self.problem_count = 0

    def tell(self, problem: str) -> None:
        """Note a problem."""
        self.problem_count += 1
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(problem)

    def all(self, table: lmdb._Database) -> Iterator[tuple[bytes, bytes]]:
        """Every key and record of the table."""
        return iter(self._transaction.cursor(table))

    def get(self, table: lmdb._Database, key: bytes) -> bytes | None:
        return self._transaction.get(key, db=table)

    def has(self, table: lmdb._Database, beginning: bytes) -> bool:
        """Whether one of the table's keys begins so."""
        cursor = self._transaction.cursor(table)
        return cursor.set_range(beginning) and cursor.key().startswith(beginning)

    def count(self, table: lmdb._Database) -> int:
        """How many records the table has."""
        return self._transaction.stat(table)["entries"]

    def decoded(self, name: str, key: bytes, record: bytes, decode: Callable[[bytes], R]) -> R | None:
        """The record's value; ``None`` when it cannot be read, which is a problem."""
        try:
            return decode(record)
        except (msgspec.MsgspecError, ValueError) as error:
            self.tell(f"{name}, key {key.hex()}, cannot be read: {error}")
            return None

    def client_of(self, table: str, key: bytes) -> tuple[str, bytes] | None:
        """The client id that follows the application in ``key``, and what comes after; a problem when there is none."""
        try:
            return split_client(key, APPLICATION_BYTES)
        except ValueError as error:
            self.tell(f"{table}: {error}")
            return None

    def is_left_behind(self, scope: bytes) -> bool:
        """Whether the log with that scope, or a key that begins with it, is of a conversation that was deleted.

        Nothing is wrong with what is left of one.
        """
        return self.get(self.tables.purges, conversation_scope(scope)[:SCOPE_BYTES]) is not None


def name_of(scope: bytes) -> str | None:
    """The id of the log with that scope; ``None`` when there is none."""
    try:
        client_id, _ = split_client(scope, SCOPE_BYTES) if len(scope) > SCOPE_BYTES else ("", b"")
        return log_id_of(scope[APPLICATION_BYTES:SCOPE_BYTES], client_id)
    except ValueError:
        return None
