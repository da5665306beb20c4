"""How late the event loop runs: the first thing to look at when a server feels slow."""

import asyncio

PERIOD_SECONDS = 1.0
WINDOW_PERIODS = 60


class LoopLag:
    """Measures how much later than asked a timer is called, once a second.

    Attributes:
        last_seconds: At the last measurement.
        worst_seconds: The worst of about the last minute.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + PERIOD_SECONDS
        self._recent: list[float] = []
        self._timer = self._loop.call_at(self._due, self._measure)
        self.last_seconds = 0.0

    @property
    def worst_seconds(self) -> float:
        return max(self._recent, default=0.0)

    def stop(self) -> None:
        self._timer.cancel()

    def _measure(self) -> None:
        now = self._loop.time()
        self.last_seconds = max(now - self._due, 0.0)
        self._recent = [*self._recent[1 - WINDOW_PERIODS :], self.last_seconds]
        self._due = now + PERIOD_SECONDS
        self._timer = self._loop.call_at(self._due, self._measure)
