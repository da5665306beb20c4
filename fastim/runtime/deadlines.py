"""Deadlines: whoever is not heard of in time is told to go.

One sweep over everything that has a deadline, once a second, is cheaper by far than a timer for each: a deadline is a
float that its owner moves forward whenever something arrives.
"""

import asyncio
from typing import Protocol

SWEEP_SECONDS = 1.0


class Mortal(Protocol):
    """Something that ends when its deadline passes."""

    deadline: float
    """In the loop's time."""

    def expire(self) -> None:
        """The deadline has passed. What is still registered after this is asked again at the next sweep."""
        ...


class Deadlines:
    """Everything that has a deadline, on one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._mortals: set[Mortal] = set()
        self._timer: asyncio.TimerHandle | None = None

    def within(self, seconds: float) -> float:
        """A deadline that is noticed in less than ``seconds``, or at the next sweep: one may be late by its period."""
        return self._loop.time() + max(seconds - SWEEP_SECONDS, seconds / 2)

    def watch(self, mortal: Mortal) -> None:
        self._mortals.add(mortal)
        if self._timer is None:
            self._timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def forget(self, mortal: Mortal) -> None:
        self._mortals.discard(mortal)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        now = self._loop.time()
        for mortal in [mortal for mortal in self._mortals if mortal.deadline <= now]:
            mortal.expire()
        self._timer = self._loop.call_later(SWEEP_SECONDS, self._sweep) if self._mortals else None
