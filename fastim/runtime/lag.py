"""How late the event loop runs: the first thing to look at when a server feels slow."""

import asyncio
import math
from array import array
from collections.abc import Callable

PERIOD_SECONDS = 0.05
WINDOW_PERIODS = 1_200
SMOOTHING_SECONDS = 0.5
"""How long it takes until a lag that stays is most of the smoothed one, or has gone out of it."""


class LoopLag:
    """Measures how much later than asked a timer is called, every 50 ms.

    A loop that is held up misses timers that would have been due meanwhile: they count for as late as they would have
    been, or the longest stalls would count least.

    Args:
        heard: Called with the smoothed lag, in seconds, after each measurement.

    Attributes:
        last_seconds: At the last measurement.
        smoothed_seconds: Of about the last half second, later measurements counting for more.
    """

    def __init__(self, *heard: Callable[[float], object]) -> None:
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + PERIOD_SECONDS
        self._recent = array("d", bytes(8 * WINDOW_PERIODS))
        self._measured = 0
        self._timer = self._loop.call_at(self._due, self._measure)
        self.last_seconds = 0.0
        self.smoothed_seconds = 0.0

    @property
    def worst_seconds(self) -> float:
        """The worst of about the last minute."""
        return max(self._recent)

    @property
    def p99_seconds(self) -> float:
        """What one in a hundred of the last minute's timers was later than."""
        measured = sorted(self._recent[: min(self._measured, WINDOW_PERIODS)])
        return measured[math.ceil(0.99 * len(measured)) - 1] if measured else 0.0

    def stop(self) -> None:
        self._timer.cancel()

    def _measure(self) -> None:
        now = self._loop.time()
        lag = self.last_seconds = max(now - self._due, 0.0)
        missed = min(int(lag / PERIOD_SECONDS), WINDOW_PERIODS - 1)
        for number in range(missed + 1):
            self._recent[self._measured % WINDOW_PERIODS] = lag - number * PERIOD_SECONDS
            self._measured += 1
        fading = math.exp(-(PERIOD_SECONDS + lag) / SMOOTHING_SECONDS)
        self.smoothed_seconds = fading * self.smoothed_seconds + (1 - fading) * lag
        for hear in self._heard:
            hear(self.smoothed_seconds)
        self._due = now + PERIOD_SECONDS
        self._timer = self._loop.call_at(self._due, self._measure)
