"""Leisure: work that can wait takes of the loop's time what others leave."""

import asyncio
from collections.abc import Callable
from time import perf_counter, process_time, thread_time
from typing import Final

SLICE_SECONDS = 0.0005
"""So much later an answer may come because of it."""
REST_SECONDS = 0.001
BUSY_MOST = 0.95
"""However busy the process is, the work gets on: by a twentieth of the time."""
MEASURE_SECONDS = 0.02


class Leisure:
    """The ``Pace`` port, for what may wait for a while. Made within a running event loop, for few who use it at once.

    After each slice it rests for as long as leaves it no more than the part of a core that the process does not need
    for anything else: the interpreter runs in one thread at a time, so one core is all there is.

    Args:
        clock: Seconds.
        spent: Processor time of the whole process so far, in seconds.
        worked: The same of the loop's thread: what the work has taken, however long others kept it from its core.
    """

    def __init__(
        self,
        clock: Callable[[], float] = perf_counter,
        spent: Callable[[], float] = process_time,
        worked: Callable[[], float] = thread_time,
    ) -> None:
        self._loop: Final = asyncio.get_running_loop()
        self._clock: Final = clock
        self._spent: Final = spent
        self._worked: Final = worked
        self._worked_before = 0.0
        self._began: float | None = None
        self._measured_at = clock()
        self._measured_spent = spent()
        self._own = 0.0  # since then
        self.busy = 0.0

    async def breathe(self) -> None:
        now = self._clock()
        if self._began is None:
            self._begin(now)
        elif now - self._began >= SLICE_SECONDS:
            took = self._worked() - self._worked_before
            self._own += took
            self._measure(now)
            await asyncio.sleep(max(took * self.busy / (1 - self.busy), REST_SECONDS))
            self._begin(self._clock())

    def _begin(self, now: float) -> None:
        if self._began is None:
            self._began = now
            self._worked_before = self._worked()
            self._loop.call_soon(self._end)

    def _end(self) -> None:
        """The loop has come round."""
        self._began = None

    def _measure(self, now: float) -> None:
        wall = now - self._measured_at
        if wall < MEASURE_SECONDS:
            return
        spent = self._spent()
        share = (spent - self._measured_spent - self._own) / wall
        self.busy = min(max((self.busy + share) / 2, 0.0), BUSY_MOST)
        self._measured_at, self._measured_spent, self._own = now, spent, 0.0
