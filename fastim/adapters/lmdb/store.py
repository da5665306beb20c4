"""``LmdbStore``: reads straight from the map in the loop's thread, writes through the writer's.

A read that may be long goes in slices, each with a transaction of its own, and lets the loop run between them. How
long a slice is and whose the next one is, is decided in ``turns``. A slice is a plain method: a suspended coroutine
with a transaction among its variables, even one that is over, takes up one of LMDB's few places for readers.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Final, TypeVar

import lmdb

from fastim.adapters.lmdb import changes
from fastim.adapters.lmdb.batch import Batch
from fastim.adapters.lmdb.environment import DirectoryLock, Environment
from fastim.adapters.lmdb.keys import (
    after_application,
    application_key,
    client_key,
    conversation_id_of,
    conversation_key,
    grant_hash,
    sequence_key,
    token_hash,
    use_hash,
)
from fastim.adapters.lmdb.places import count_before, count_until, records
from fastim.adapters.lmdb.records import (
    decode_application,
    decode_conversation,
    decode_grant,
    decode_head,
    decode_membership,
    decode_message,
    decode_moment,
    encode_json,
)
from fastim.adapters.lmdb.statistics import Statistics
from fastim.adapters.lmdb.turns import Turns
from fastim.adapters.lmdb.writer import Changed, Writer
from fastim.core.application import Application
from fastim.core.conversation import Conversation
from fastim.core.errors import ConversationNotFound, Unavailable
from fastim.core.ids import AppNumber
from fastim.core.message import Draft, Message, Position, Span
from fastim.core.session import Grant
from fastim.core.units import Millis
from fastim.core.unread import Head, Membership
from fastim.ports.store import Appended, Joined

MAP_BYTES = 1 << 30
TOKENS_KEPT = Millis(7 * 24 * 3_600_000)

_SCAN_RECORDS = 64
_SCAN_BYTES = 1 << 16
_CACHE_WEIGHT_MAX = 500_000
_CONVERSATION_WEIGHT = 10

R = TypeVar("R")


class LmdbStore:
    """The ``Store`` port on LMDB. Made by ``open``; belongs to the event loop that was running then.

    Attributes:
        path: The data directory.
    """

    @classmethod
    def open(cls, path: Path | str, *, map_bytes: int = MAP_BYTES, tokens_kept: Millis = TOKENS_KEPT) -> LmdbStore:
        """Open the store in a data directory, made when it is missing. Within a running event loop.

        Args:
            map_bytes: Address space to begin with; it grows as the data does.
            tokens_kept: For how long at least a message's token makes a second one the same message, in milliseconds.

        Raises:
            SettingsError: The directory cannot be used; the text says what to do, in one line.
        """
        return cls(Path(path), map_bytes, tokens_kept)

    def __init__(self, path: Path, map_bytes: int, tokens_kept: Millis) -> None:
        loop = asyncio.get_running_loop()
        self.path: Final = path
        self._tokens_kept: Final = tokens_kept
        self._lock: Final = DirectoryLock(path)
        try:
            self._environment: Final = Environment(path, map_bytes)
        except BaseException:
            self._lock.release()
            raise
        self._statistics: Final = Statistics()
        self._cache: Final = _ConversationCache()
        self._turns: Final = Turns()
        self._applications: dict[AppNumber, LmdbApplicationStore] = {}
        self._closing = False
        self._closed: asyncio.Future[None] = loop.create_future()
        self._loop: Final = loop
        self._writer: Final = Writer(self._environment, loop, self._statistics, self._cache.update, self._finish)

    @property
    def statistics(self) -> Statistics:
        self._statistics.queued = self._writer.queued
        return self._statistics

    async def applications(self) -> list[Application]:
        with self._environment.reading() as transaction:
            cursor = transaction.cursor(self._environment.tables.applications)
            return [decode_application(record) for record in cursor.iternext(keys=False)]

    def save_application(
        self, application_id: str, key: str, master_key: str, hook_key: str, settings: Mapping[str, Any] | None = None
    ) -> Awaitable[Application]:
        return self.submit(partial(changes.save_application, application_id, key, master_key, hook_key, settings))

    def of(self, application: Application) -> LmdbApplicationStore:
        part = self._applications.get(application.number)
        if part is None:
            part = LmdbApplicationStore(self, self._environment, self._cache, self._turns, application.number)
            self._applications[application.number] = part
        return part

    def sweep(self, now: Millis) -> Awaitable[int]:
        if not self._closing:
            with suppress(lmdb.Error):  # nothing hangs on it, and the next sweep tries again
                self._environment.forget_dead_readers()
        return self.submit(partial(changes.sweep, now, self._tokens_kept))

    async def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._writer.stop()
        await asyncio.shield(self._closed)

    def submit(self, change: Callable[[Batch], R | changes.Unfinished]) -> asyncio.Future[R]:
        """Queue a change; its future fails with ``Unavailable`` when the store is closed."""
        if self._closing:
            refused: asyncio.Future[R] = self._loop.create_future()
            refused.set_exception(Unavailable("the store is closed"))
            return refused
        return self._writer.submit(change)

    def _finish(self) -> None:
        self._writer.join()
        self._environment.close()
        self._lock.release()
        self._closed.set_result(None)


class LmdbApplicationStore:
    """The ``ApplicationStore`` port on LMDB."""

    def __init__(
        self, store: LmdbStore, environment: Environment, cache: _ConversationCache, turns: Turns, number: AppNumber
    ) -> None:
        self._store: Final = store
        self._environment: Final = environment
        self._cache: Final = cache
        self._turns: Final = turns
        self._number: Final = number
        self._key: Final = application_key(number)

    async def find_conversation(self, conversation_id: str) -> Conversation | None:
        cached = self._cache.get((self._number, conversation_id))
        if cached is not None:
            return cached
        scope = self._scope(conversation_id)
        if scope is None:
            return None
        with self._environment.reading() as transaction:
            stored = transaction.get(scope, db=self._environment.tables.conversations)
        if stored is None:
            return None
        conversation = decode_conversation(stored)
        self._cache.put((self._number, conversation_id), conversation)
        return conversation

    async def scan_conversations(self) -> AsyncGenerator[Conversation, None]:
        deadline = self._turns.begin()
        end = after_application(self._number)
        while end:
            stored, end = self._conversations_before(end)
            for record in stored:
                yield decode_conversation(record)
                if perf_counter() > deadline:  # what the reader did with it counts, too: the loop has waited for both
                    deadline = await self._turns.next()

    async def conversation_ids_of(self, client_id: str) -> list[str]:
        ids: list[str] = []

        def note(transaction: lmdb.Transaction[bytes], conversation: bytes, stored: bytes) -> None:
            ids.append(conversation_id_of(conversation))

        await self._visit_memberships(client_id, note)
        return ids

    def create_conversation(self, conversation: Conversation) -> Awaitable[Conversation]:
        scope = self._scope(conversation.id)
        if scope is None:
            raise ValueError(f"{conversation.id!r} is not a conversation id")
        members = [_member_key(member) for member in conversation.members]
        record = encode_json(conversation)
        return self._store.submit(
            partial(changes.create_conversation, self._number, scope, conversation, record, members)
        )

    def change_conversation(
        self, conversation: Conversation, *, joined: Iterable[str] = (), left: Iterable[str] = ()
    ) -> Awaitable[None]:
        scope = self._scope(conversation.id)
        if scope is None:
            return self._store.submit(_unfound)
        come = [_member_key(member) for member in joined]
        gone = [_member_key(member) for member in left]
        record = encode_json(conversation)
        return self._store.submit(
            partial(changes.change_conversation, self._number, scope, conversation, record, come, gone)
        )

    def append(self, conversation_id: str, draft: Draft, now: Millis) -> Awaitable[Appended]:
        scope = self._scope(conversation_id)
        if scope is None:
            return self._store.submit(_unfound)
        # What can be worked out here is: this thread has time while the writer's waits for the disk.
        token = scope + token_hash(draft.sender, draft.token) if draft.token else None
        client = client_key(draft.sender)
        sender = None if client is None else self._key + client + scope[len(self._key) :]
        return self._store.submit(partial(changes.append, scope, token, sender, draft, now))

    async def find_message(self, conversation_id: str, position: Position) -> Message | None:
        scope = self._scope(conversation_id)
        if scope is None:
            return None
        with self._environment.reading() as transaction:
            messages = self._environment.tables.messages
            last = self._head(transaction, scope).sequence
            sequence = count_before(transaction, messages, scope, last, position) + 1
            stored = transaction.get(scope + sequence_key(sequence), db=messages)
        message = None if stored is None else decode_message(stored)
        return message if message is not None and message.position == position else None

    async def history(
        self, conversation_id: str, span: Span, wanted: Callable[[Message], bool] | None = None
    ) -> list[Message]:
        scope = self._scope(conversation_id)
        if scope is None:
            return []
        deadline = self._turns.begin()
        first, last = self._stretch(scope, span)
        found: list[Message] = []
        while first <= last and len(found) < span.limit:
            looked_at = self._history_slice(scope, first, last, span, wanted, found, deadline)
            if span.newest_first:
                last -= looked_at
            else:
                first += looked_at
            if first <= last and len(found) < span.limit:
                deadline = await self._turns.next()
        return found[::-1] if span.newest_first else found

    async def find_head(self, conversation_id: str) -> Head:
        scope = self._scope(conversation_id)
        if scope is None:
            return Head()
        with self._environment.reading() as transaction:
            return self._head(transaction, scope)

    async def find_membership(self, conversation_id: str, client_id: str) -> Membership | None:
        scope, client = self._scope(conversation_id), client_key(client_id)
        if scope is None or client is None:
            return None
        key = self._key + client + scope[len(self._key) :]
        with self._environment.reading() as transaction:
            stored = transaction.get(key, db=self._environment.tables.memberships)
        return None if stored is None else decode_membership(stored)

    async def joined_conversations(self, client_id: str) -> list[Joined]:
        found: list[Joined] = []

        def note(transaction: lmdb.Transaction[bytes], conversation: bytes, stored: bytes) -> None:
            head = self._head(transaction, self._key + conversation)
            found.append(Joined(conversation_id_of(conversation), decode_membership(stored), head))

        await self._visit_memberships(client_id, note)
        return found

    def mark_read(
        self, conversation_id: str, client_id: str, upto: Position | None, now: Millis
    ) -> Awaitable[Membership | None]:
        scope, client = self._scope(conversation_id), client_key(client_id)
        if scope is None or client is None:
            return self._store.submit(_nothing)
        return self._store.submit(changes.MarkRead(scope, client, client_id, upto, now))

    def save_grant(self, client_id: str, token: str, grant: Grant) -> Awaitable[None]:
        holder = _member_key(client_id) + grant_hash(token)
        return self._store.submit(partial(changes.save_grant, self._key, holder, grant))

    async def find_grant(self, client_id: str, token: str) -> Grant | None:
        client = client_key(client_id)
        if client is None:
            return None
        with self._environment.reading() as transaction:
            stored = transaction.get(self._key + client + grant_hash(token), db=self._environment.tables.grants)
        return None if stored is None else decode_grant(stored)

    def kick(self, client_id: str, at: Millis) -> Awaitable[None]:
        return self._store.submit(partial(changes.kick, self._key, _member_key(client_id), at))

    async def find_kick(self, client_id: str) -> Millis:
        client = client_key(client_id)
        if client is None:
            return Millis(0)
        with self._environment.reading() as transaction:
            stored = transaction.get(self._key + client, db=self._environment.tables.kicks)
        return Millis(0) if stored is None else decode_moment(stored)

    def use_once(self, name: str, until: Millis) -> Awaitable[bool]:
        return self._store.submit(partial(changes.use_once, self._key, use_hash(name), until))

    def _scope(self, conversation_id: str) -> bytes | None:
        key = conversation_key(conversation_id)
        return None if key is None else self._key + key

    def _head(self, transaction: lmdb.Transaction[bytes], scope: bytes) -> Head:
        stored = transaction.get(scope, db=self._environment.tables.heads)
        return Head() if stored is None else decode_head(stored)

    def _stretch(self, scope: bytes, span: Span) -> tuple[int, int]:
        """The first and the last sequence within the span; the last is the smaller one when there is none."""
        messages = self._environment.tables.messages
        with self._environment.reading() as transaction:
            first, last = 1, self._head(transaction, scope).sequence
            if span.after is not None:
                count = count_before if span.after_included else count_until
                first = count(transaction, messages, scope, last, span.after) + 1
            if span.before is not None:
                count = count_until if span.before_included else count_before
                last = count(transaction, messages, scope, last, span.before)
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
    ) -> int:
        """Add messages to ``found`` until there are enough or the deadline is past; how many were looked at."""
        start, looked_at = last if span.newest_first else first, 0
        with self._environment.reading() as transaction:
            messages = self._environment.tables.messages
            for record in records(transaction, messages, scope, start, last + 1 - first, backward=span.newest_first):
                message = decode_message(record)
                looked_at += 1
                if wanted is None or wanted(message):
                    found.append(message)
                if len(found) == span.limit or perf_counter() > deadline:
                    break
        return looked_at

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

    async def _visit_memberships(
        self, client_id: str, visit: Callable[[lmdb.Transaction[bytes], bytes, bytes], None]
    ) -> None:
        """Call ``visit`` with the conversation's key and the record of each membership of the client."""
        client = client_key(client_id)
        if client is None:
            return
        deadline = self._turns.begin()
        prefix = self._key + client
        start = self._visit_slice(prefix, prefix, visit, deadline)
        while start:
            deadline = await self._turns.next()
            start = self._visit_slice(prefix, start, visit, deadline)

    def _visit_slice(
        self,
        prefix: bytes,
        start: bytes,
        visit: Callable[[lmdb.Transaction[bytes], bytes, bytes], None],
        deadline: float,
    ) -> bytes:
        """Visit until the deadline is past; the key to go on from, empty when there are no more."""
        with self._environment.reading() as transaction:
            cursor = transaction.cursor(self._environment.tables.memberships)
            more = cursor.set_range(start)
            while more and cursor.key().startswith(prefix):
                visit(transaction, cursor.key()[len(prefix) :], cursor.value())
                if perf_counter() > deadline:
                    return cursor.key() + b"\0"
                more = cursor.next()
        return b""


class _ConversationCache:
    """Decoded conversations, the least recently used dropped first; weighed by their members.

    Right because one process writes: what a commit stored is put here before anybody is told of it.
    """

    def __init__(self) -> None:
        self._conversations: OrderedDict[tuple[AppNumber, str], Conversation] = OrderedDict()
        self._weight = 0

    def get(self, key: tuple[AppNumber, str]) -> Conversation | None:
        conversation = self._conversations.get(key)
        if conversation is not None:
            self._conversations.move_to_end(key)
        return conversation

    def put(self, key: tuple[AppNumber, str], conversation: Conversation) -> None:
        replaced = self._conversations.pop(key, None)
        if replaced is not None:
            self._weight -= _weight(replaced)
        self._conversations[key] = conversation
        self._weight += _weight(conversation)
        while self._weight > _CACHE_WEIGHT_MAX:
            _, dropped = self._conversations.popitem(last=False)
            self._weight -= _weight(dropped)

    def update(self, changed: Changed) -> None:
        for key, conversation in changed.items():
            self.put(key, conversation)


def _weight(conversation: Conversation) -> int:
    return _CONVERSATION_WEIGHT + len(conversation.members) + len(conversation.muted)


def _member_key(client_id: str) -> bytes:
    client = client_key(client_id)
    if client is None:
        raise ValueError(f"{client_id!r} is not a client id")
    return client


def _unfound(batch: Batch) -> Any:
    """A change to a conversation that cannot be, refused in its place in the queue."""
    raise ConversationNotFound


def _nothing(batch: Batch) -> None:
    """A change that finds nothing to do, in its place in the queue."""
