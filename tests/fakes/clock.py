"""A clock that shows what it was set to."""

from fastim.core.units import Millis

NOON = Millis(1_767_268_800_000)
"""2026-01-01 at 12:00 UTC."""


class SettableClock:
    """Fulfils the ``Clock`` port."""

    def __init__(self, now: Millis = NOON) -> None:
        self._now = now

    def now(self) -> Millis:
        return self._now

    def set(self, now: int) -> None:
        self._now = Millis(now)

    def step(self, millis: int) -> Millis:
        """Move on, or back; the new time."""
        self._now = Millis(self._now + millis)
        return self._now
