"""Quotas: what each client has used of its own, within bounded memory."""

from collections.abc import Callable, Hashable

from fastim.core.quota import MINUTE_NANOSECONDS, Quota, spent
from fastim.runtime.limits import Limit, LimitCounters
from fastim.settings import Limits

GENERATION_MAX = 100_000
"""Of so many who spent something, those who have spent nothing for longest are let off."""

_NAMES: dict[Quota, Limit] = {Quota.SENDS: "sends", Quota.HISTORY: "history", Quota.OPERATIONS: "operations"}


class Quotas:
    """The quotas of everybody on this node.

    Who spends nothing for a minute has everything again, so two generations are enough to remember: those who spent
    something since the last turn, and those who did in the minute before it. Whoever goes on spending is never
    forgotten, however many others come and go.

    Args:
        seconds: A clock that nobody sets.
    """

    def __init__(self, limits: Limits, counters: LimitCounters, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._counters = counters
        self._young: dict[Hashable, list[int]] = {}
        self._old: dict[Hashable, list[int]] = {}
        self._turned_at = 0
        self._per_minute = {
            Quota.SENDS: limits.sends_per_minute,
            Quota.HISTORY: limits.history_per_minute,
            Quota.OPERATIONS: limits.operations_per_minute,
        }

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._young.keys() | self._old.keys())

    def spend(self, who: Hashable, quota: Quota) -> bool:
        """Take one out of a quota. False: there was none left, which is counted."""
        per_minute = self._per_minute[quota]
        if per_minute == 0:
            return True
        now = self._now()
        full_at = self._moments(who, now)
        after = spent(full_at[quota], per_minute, now)
        if after is None:
            self._counters.bit(_NAMES[quota])
            return False
        full_at[quota] = after
        return True

    def allows(self, who: Hashable, quota: Quota) -> bool:
        """Whether there is one left. False is counted."""
        per_minute = self._per_minute[quota]
        known = self._young.get(who) or self._old.get(who)
        if per_minute == 0 or known is None or spent(known[quota], per_minute, self._now()) is not None:
            return True
        self._counters.bit(_NAMES[quota])
        return False

    def forget(self, who: Hashable) -> None:
        """Nobody of that name comes again."""
        self._young.pop(who, None)
        self._old.pop(who, None)

    def _moments(self, who: Hashable, now: int) -> list[int]:
        if now - self._turned_at > MINUTE_NANOSECONDS or len(self._young) >= GENERATION_MAX:
            self._old, self._young = self._young, {}
            self._turned_at = now
        moments = self._young.get(who)
        if moments is None:
            moments = self._young[who] = self._old.pop(who, [0] * len(Quota))
        return moments

    def _now(self) -> int:
        return int(self._seconds() * 1e9)
