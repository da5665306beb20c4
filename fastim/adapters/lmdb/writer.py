"""The writer: one thread that owns the write transactions and commits in groups.

It takes what has queued, runs it in one transaction, commits once, and then lets the event loop resolve everything at
once, in order. The loop hands over what it has gathered in one turn, at once as well: it wakes the thread once, and has
no more to do for a write than to note it. What a change does is decided in ``changes``.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import Any, Final, TypeVar

import lmdb
import structlog
from msgspec import Struct

from fastim.adapters.lmdb.batch import Batch
from fastim.adapters.lmdb.changes import UNFINISHED, Unfinished
from fastim.adapters.lmdb.environment import Environment
from fastim.adapters.lmdb.statistics import Statistics
from fastim.core.conversation import Conversation
from fastim.core.errors import FastimError, Unavailable
from fastim.core.ids import AppNumber

_BATCH_MAX = 1_000
"""Writes that the loop hands over in one piece; who has so many takes no further piece into the transaction."""
_ORPHAN_CHECK_SECONDS = 1.0
_UNMEASURED_COMMITS_MAX = 64

log = structlog.get_logger()

R = TypeVar("R")
Changed = dict[tuple[AppNumber, str], Conversation | None]


class Write(Struct, frozen=True, eq=False):
    """A change and who waits for it."""

    future: asyncio.Future[Any]
    change: Callable[[Batch], Any]


class Outcome(Struct, frozen=True, eq=False):
    """What became of a write: its result, or the error that it ends with."""

    write: Write
    result: Any
    error: Exception | None = None


class Writer:
    """The writer of one environment, and its thread.

    Args:
        publish: Called in the loop with the conversations that a commit stored, ``None`` for those that it deleted,
            before its writes are resolved.
        finished: Called in the loop once everything queued before ``stop`` is settled and the thread is about to end.
    """

    def __init__(
        self,
        environment: Environment,
        loop: asyncio.AbstractEventLoop,
        statistics: Statistics,
        publish: Callable[[Changed], None],
        finished: Callable[[], None],
    ) -> None:
        self._environment: Final = environment
        self._loop: Final = loop
        self._statistics: Final = statistics
        self._publish: Final = publish
        self._finished: Final = finished
        self._gathered: list[Write] = []
        self._queue: SimpleQueue[Sequence[Write] | None] = SimpleQueue()
        self._submitted = 0
        self._taken = 0
        self._batch = Batch()
        self._failing = False
        self._cramped = False
        self._stopping = False
        self._unmeasured_commits = 0
        self._make_room()
        self._thread: Final = threading.Thread(target=self._run, name="fastim-store")
        self._thread.start()

    @property
    def queued(self) -> int:
        return self._submitted - self._taken

    def submit(self, change: Callable[[Batch], R | Unfinished]) -> asyncio.Future[R]:
        """Queue ``change``; the future has its result once it is on disk. Only in the loop."""
        future: asyncio.Future[R] = self._loop.create_future()
        if not self._gathered:
            self._loop.call_soon(self.hand_over)
        self._gathered.append(Write(future, change))
        self._submitted += 1
        return future

    def stop(self) -> None:
        """Settle what is queued, then end. Nothing may be submitted afterwards."""
        self.hand_over()
        self._queue.put(None)

    def join(self) -> None:
        self._thread.join()

    def hand_over(self) -> None:
        """Let the thread have what was gathered, now rather than when the loop comes round."""
        writes, self._gathered = self._gathered, []
        for start in range(0, len(writes), _BATCH_MAX):
            self._queue.put(writes[start : start + _BATCH_MAX])

    def _run(self) -> None:
        unfinished: list[Write] = []
        while not self._stopping or unfinished:
            writes = self._take(unfinished)
            unfinished = []
            try:
                if writes:
                    unfinished = self._settle(writes)
            except Exception as error:  # a bug: whoever waits has to hear of it, and the thread has to live
                log.exception("the store's writer failed")
                self._abandon()
                self._call_in_loop(self._resolve, [Outcome(write, None, error) for write in writes], {})
        self._call_in_loop(self._finished)

    def _take(self, unfinished: list[Write]) -> list[Write]:
        """What the next transaction holds; waits until there is something."""
        writes = unfinished
        while len(writes) < _BATCH_MAX:
            wait = not (writes or self._stopping)
            try:
                handed_over = self._queue.get(wait, _ORPHAN_CHECK_SECONDS)
            except Empty:  # nobody closes a store whose process is ending: end with it instead of keeping it alive
                if not threading.main_thread().is_alive():
                    self._stopping = True
                break
            if handed_over is None:
                self._stopping = True
                break
            self._taken += len(handed_over)
            writes.extend(handed_over)
        return writes

    def _settle(self, writes: list[Write]) -> list[Write]:
        """Bring the writes to an end, all but those that it returns: they go on in the next transaction."""
        started = perf_counter()
        try:
            outcomes = self._commit(writes)
        except lmdb.Error as error:
            self._fail(writes, error)
            return []
        self._statistics.count_commit(len(outcomes), perf_counter() - started)
        changed, self._batch.conversations = self._batch.conversations, {}
        unfinished = [one.write for one in outcomes if one.result is UNFINISHED]
        if unfinished:
            outcomes = [one for one in outcomes if one.result is not UNFINISHED]
        self._call_in_loop(self._resolve, outcomes, changed)
        if self._failing:
            self._failing = False
            log.info("the store can write again")
        self._unmeasured_commits += 1
        if self._may_be_cramped():
            self._make_room()
        return unfinished

    def _commit(self, writes: Sequence[Write]) -> list[Outcome]:
        """Run the writes in one transaction and commit it.

        A write that fails on its own costs an attempt, and the others are tried again without it.

        Raises:
            lmdb.Error: The transaction cannot be committed, now.
        """
        broken: dict[Write, Exception] = {}
        while True:
            try:
                self._batch.begin(self._environment)
                outcomes = [self._run_write(write, broken) for write in writes]
                self._batch.commit()
                return outcomes
            except lmdb.MapFullError:
                self._batch.give_up()
                self._grow()
            except _WriteFailed as failed:
                self._batch.give_up()
                broken[failed.write] = failed.error

    def _run_write(self, write: Write, broken: dict[Write, Exception]) -> Outcome:
        if write in broken:
            return Outcome(write, None, broken[write])
        try:
            return Outcome(write, write.change(self._batch))
        except FastimError as refusal:
            return Outcome(write, None, refusal)
        except lmdb.BadValsizeError as error:
            raise _WriteFailed(write, error) from error
        except lmdb.Error:
            raise
        except Exception as error:
            raise _WriteFailed(write, error) from error

    def _fail(self, writes: Sequence[Write], error: lmdb.Error) -> None:
        """Tell all that nothing was done, and be ready for the next transaction."""
        self._statistics.failures += len(writes)
        if not self._failing:
            self._failing = True
            log.error("the store cannot write", reason=str(error))
        self._abandon()
        self._call_in_loop(
            self._resolve,
            [Outcome(write, None, Unavailable("the store cannot write")) for write in writes],
            {},
        )

    def _abandon(self) -> None:
        try:
            self._batch.give_up()
            self._environment.mend()
        except lmdb.Error as error:
            log.error("the store cannot be opened again", reason=str(error))

    def _may_be_cramped(self) -> bool:
        """Whether the map is to be measured: that costs what a small transaction does while other threads are busy."""
        left = self._statistics.map_bytes // 4 * 3 - self._statistics.used_bytes
        return self._unmeasured_commits >= _UNMEASURED_COMMITS_MAX or 2 * self._batch.written_bytes >= left

    def _make_room(self) -> None:
        """Grow the map before it is full: after the last commit, so that nobody waits for a second attempt."""
        try:
            self._measure_map()
            if self._statistics.used_bytes > self._statistics.map_bytes // 4 * 3:
                self._grow()
            self._cramped = False
        except lmdb.Error as error:
            if not self._cramped:
                self._cramped = True
                log.warning("the store's map cannot grow", reason=str(error))

    def _grow(self) -> None:
        self._environment.grow()
        self._statistics.growths += 1
        self._measure_map()

    def _measure_map(self) -> None:
        self._statistics.map_bytes, self._statistics.used_bytes = self._environment.map_use()
        self._unmeasured_commits = self._batch.written_bytes = 0

    def _resolve(self, outcomes: Sequence[Outcome], changed: Changed) -> None:
        self._publish(changed)
        for outcome in outcomes:
            future = outcome.write.future
            if future.done():  # whoever waited for it was cancelled
                continue
            if outcome.error is None:
                future.set_result(outcome.result)
            else:
                future.set_exception(outcome.error)

    def _call_in_loop(self, callback: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(callback, *arguments)


class _WriteFailed(Exception):
    """One write spoils the transaction."""

    def __init__(self, write: Write, error: Exception) -> None:
        super().__init__(str(error))
        self.write = write
        self.error = error
