"""The loop's time that long reads get: who may read on, and until when.

What a read does in its slice is decided in ``reads``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter
from typing import Final

SLICE_SECONDS = 0.001
CROWDED_SLICE_SECONDS = 0.0001
CROWD = 8


class Turns:
    """The turns of all long reads of a store; belongs to the event loop that was running when it was made.

    A read begins at once, since most are over within their first slice. One that is not takes a turn for every further
    slice, and a loop turn has one of these, for the read that has waited longest: however many there are, the loop is
    kept from everybody else for one slice at a time, and a read of a few slices does not wait for one of many.

    A deadline is of ``perf_counter``. Who is granted a slice does at least one step of its work, so that it gets on.
    Nothing is held between slices: a read can be cancelled, or left by its reader, at any point.
    """

    def __init__(self) -> None:
        self._loop: Final = asyncio.get_running_loop()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._granting = False

    def begin(self) -> float:
        """The deadline of a read's first slice, which begins now.

        While a crowd waits to read on, the slice is only long enough for a short read: many long ones that begin in
        one loop turn would add up.
        """
        seconds = SLICE_SECONDS if len(self._waiting) < CROWD else CROWDED_SLICE_SECONDS
        return perf_counter() + seconds

    async def next(self) -> float:
        """Let the loop run until it is this read's turn; the deadline of the slice that begins then."""
        turn: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(turn)
        if not self._granting:
            self._granting = True
            self._loop.call_soon(self._grant)
        await turn
        return perf_counter() + SLICE_SECONDS

    def _grant(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # done: cancelled
                turn.set_result(None)
                break
        self._granting = bool(self._waiting)
        if self._granting:
            self._loop.call_soon(self._grant)
