"""``LmdbStore``: the data directory, its writer, and the applications in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import lmdb

from fastim.adapters.lmdb.batch import Batch
from fastim.adapters.lmdb.cache import ConversationCache
from fastim.adapters.lmdb.changes import Unfinished, applications
from fastim.adapters.lmdb.environment import DirectoryLock, Environment
from fastim.adapters.lmdb.part import LmdbApplicationStore
from fastim.adapters.lmdb.records import decode_application
from fastim.adapters.lmdb.statistics import Statistics
from fastim.adapters.lmdb.turns import Turns
from fastim.adapters.lmdb.writer import Writer
from fastim.core.application import Application
from fastim.core.errors import Unavailable
from fastim.core.ids import AppNumber
from fastim.core.units import Millis

MAP_BYTES = 1 << 30
TOKENS_KEPT = Millis(7 * 24 * 3_600_000)

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
        self._cache: Final = ConversationCache()
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
        return self.submit(partial(applications.save_application, application_id, key, master_key, hook_key, settings))

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
        return self.submit(partial(applications.sweep, now, self._tokens_kept))

    async def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._writer.stop()
        await asyncio.shield(self._closed)

    def submit(self, change: Callable[[Batch], R | Unfinished]) -> asyncio.Future[R]:
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
