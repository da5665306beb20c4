"""The door of the chat rooms: what a room takes in a second, and what none takes while the node is busy."""

from collections.abc import Callable

from fastim.core.admit import LOW_PRIORITY
from fastim.core.errors import SendQuotaExceeded
from fastim.core.quota import SECOND_NANOSECONDS, governs
from fastim.ports.ingress import Reason
from fastim.runtime.limits import LimitCounters
from fastim.runtime.quotas import Buckets, nanoseconds
from fastim.settings import Limits

ROOMS_MAX = 10_000
"""Rooms of which is known what each refused; beyond so many the one that has refused nothing for longest goes."""

Counts = tuple[int, int, int]
"""Of high, normal and low priority."""


class Governor:
    """Says when the node is too busy for messages of low priority.

    Args:
        lag_milliseconds: The loop's lag at which it is, until the lag is half of that; 0: it never is.

    Attributes:
        active: Whether it is now.
    """

    def __init__(self, lag_milliseconds: int) -> None:
        self._limit_milliseconds = lag_milliseconds
        self.active = False

    def hear(self, lag_seconds: float) -> None:
        """How late the loop runs, whenever that was measured."""
        self.active = governs(self.active, lag_seconds, self._limit_milliseconds)


class LocalIngress:
    """The door of one application's chat rooms on this node; fulfils the ``Ingress`` port.

    What each room refused is known of the last ``ROOMS_MAX`` that refused something.

    Args:
        seconds: A clock that nobody sets.
    """

    def __init__(
        self, limits: Limits, counters: LimitCounters, governor: Governor, seconds: Callable[[], float]
    ) -> None:
        self._per_second = limits.room_sends_per_second
        self._counters = counters
        self._governor = governor
        self._seconds = seconds
        self._buckets = Buckets([self._per_second] * 3, SECOND_NANOSECONDS)
        self._refused: dict[str, _Refused] = {}
        self._total = _Refused()

    @property
    def refused_in_all(self) -> dict[Reason, Counts]:
        """How many messages were refused and why, since the start."""
        return self._total.counts()

    def refused(self, conversation_id: str) -> dict[Reason, Counts]:
        return self._refused.get(conversation_id, _Refused()).counts()

    def admit(self, conversation_id: str, priority: int) -> None:
        if priority == LOW_PRIORITY and self._governor.active:
            self._refuse(conversation_id, priority, "governor")
            raise SendQuotaExceeded("the server is busy; messages of low priority are not taken")
        if self._per_second == 0:
            return
        if not self._buckets.take(conversation_id, priority - 1, nanoseconds(self._seconds)):
            self._refuse(conversation_id, priority, "rate")
            raise SendQuotaExceeded(f"this chat room takes {self._per_second} messages of this priority a second")

    def _refuse(self, conversation_id: str, priority: int, reason: Reason) -> None:
        self._counters.bit("room_sends" if reason == "rate" else "governor")
        refused = self._refused.pop(conversation_id, None) or _Refused()
        self._refused[conversation_id] = refused  # as the last one
        if len(self._refused) > ROOMS_MAX:
            del self._refused[next(iter(self._refused))]
        for one in (refused, self._total):
            one.count(priority, reason)


class _Refused:
    """What was refused, by reason and priority."""

    __slots__ = ("_numbers",)

    def __init__(self) -> None:
        self._numbers: dict[Reason, list[int]] = {"rate": [0, 0, 0], "governor": [0, 0, 0]}

    def count(self, priority: int, reason: Reason) -> None:
        self._numbers[reason][priority - 1] += 1

    def counts(self) -> dict[Reason, Counts]:
        return {reason: (high, normal, low) for reason, (high, normal, low) in self._numbers.items()}
