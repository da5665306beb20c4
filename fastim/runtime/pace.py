"""Pace: all long work together takes a slice, then rests."""

import asyncio
from collections import deque
from time import perf_counter
from typing import Final

SLICE_SECONDS = 0.002
REST_SECONDS = 0.001
"""For the loop to wait in: a loop that is always busy hardly lets the store's thread have the interpreter, and a commit
takes as long as the work does."""


class SharedPace:
    """The ``Pace`` port. Made within a running event loop; one is shared by all that runs there.

    Were each piece of work to count for itself, a hundred of them would hold everybody else up for a hundred slices.
    So they queue, and those who wait get the next slices, one each, in the order in which they came.
    """

    def __init__(self) -> None:
        self._loop: Final = asyncio.get_running_loop()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._until: float | None = None

    async def breathe(self) -> None:
        if self._until is None:
            self._begin()
        elif perf_counter() >= self._until:
            turn = self._loop.create_future()
            self._waiting.append(turn)
            await turn
            self._until = perf_counter() + SLICE_SECONDS

    def _begin(self) -> None:
        self._until = perf_counter() + SLICE_SECONDS
        self._loop.call_soon(self._end)

    def _end(self) -> None:
        """The loop has come round."""
        if self._waiting:
            self._until = 0.0
            self._loop.call_later(REST_SECONDS, self._go_on)
        else:
            self._until = None

    def _go_on(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)  # whoever waits for it runs before the loop comes round again
                self._begin()
                return
        self._until = None
