"""Quotas: what each client has used of its own, within bounded memory."""

from collections.abc import Callable, Hashable, Sequence

from fastim.core.quota import MINUTE_NANOSECONDS, Quota, spent
from fastim.runtime.limits import Limit, LimitCounters
from fastim.settings import Limits

GENERATION_MAX = 100_000
"""Of so many who spent something, those who have spent nothing for longest are let off."""

_NAMES: dict[Quota, Limit] = {Quota.SENDS: "sends", Quota.HISTORY: "history", Quota.OPERATIONS: "operations"}


class Buckets:
    """A row of buckets for everybody who takes something out of one.

    Who takes nothing for a period has everything again, so two generations are enough to remember: those who took
    something since the last turn, and those who did in the period before it. Whoever goes on taking is never
    forgotten, however many others come and go.

    Args:
        most: What each of a row's buckets holds, and what flows into it in a period; 0: no end of it.
        period: In nanoseconds.
    """

    def __init__(self, most: Sequence[int], period: int) -> None:
        self._most = most
        self._period = period
        self._young: dict[Hashable, list[int]] = {}
        self._old: dict[Hashable, list[int]] = {}
        self._turned_at = 0

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._young.keys() | self._old.keys())

    def take(self, who: Hashable, bucket: int, now: int) -> bool:
        """Take one out of a bucket. False: there was none left.

        Args:
            bucket: Its place in the row.
            now: In nanoseconds, of a clock that nobody sets.
        """
        most = self._most[bucket]
        if most == 0:
            return True
        full_at = self._row(who, now)
        after = spent(full_at[bucket], most, now, self._period)
        if after is None:
            return False
        full_at[bucket] = after
        return True

    def has(self, who: Hashable, bucket: int, now: int) -> bool:
        """Whether there is one left."""
        most = self._most[bucket]
        row = self._young.get(who) or self._old.get(who)
        return most == 0 or row is None or spent(row[bucket], most, now, self._period) is not None

    def forget(self, who: Hashable) -> None:
        """Nobody of that name comes again."""
        self._young.pop(who, None)
        self._old.pop(who, None)

    def _row(self, who: Hashable, now: int) -> list[int]:
        if now - self._turned_at > self._period or len(self._young) >= GENERATION_MAX:
            self._old, self._young = self._young, {}
            self._turned_at = now
        row = self._young.get(who)
        if row is None:
            row = self._young[who] = self._old.pop(who, [0] * len(self._most))
        return row


class Quotas:
    """The quotas of everybody on this node.

    Args:
        seconds: A clock that nobody sets.
    """

    def __init__(self, limits: Limits, counters: LimitCounters, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._counters = counters
        per_minute = {
            Quota.SENDS: limits.sends_per_minute,
            Quota.HISTORY: limits.history_per_minute,
            Quota.OPERATIONS: limits.operations_per_minute,
        }
        self._buckets = Buckets([per_minute[quota] for quota in Quota], MINUTE_NANOSECONDS)

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._buckets)

    def spend(self, who: Hashable, quota: Quota) -> bool:
        """Take one out of a quota. False: there was none left, which is counted."""
        if self._buckets.take(who, quota, nanoseconds(self._seconds)):
            return True
        self._counters.bit(_NAMES[quota])
        return False

    def allows(self, who: Hashable, quota: Quota) -> bool:
        """Whether there is one left. False is counted."""
        if self._buckets.has(who, quota, nanoseconds(self._seconds)):
            return True
        self._counters.bit(_NAMES[quota])
        return False

    def forget(self, who: Hashable) -> None:
        """Nobody of that name comes again."""
        self._buckets.forget(who)


def nanoseconds(seconds: Callable[[], float]) -> int:
    """What a clock of seconds says, in nanoseconds."""
    return int(seconds() * 1e9)
