"""How long something takes that happens all the time: what of it is worth knowing, at next to no cost."""

from array import array
from collections.abc import Callable
from math import frexp

from msgspec import Struct

WINDOW_SECONDS = 10
SAMPLED = 8
"""One in so many is measured."""
_STEPS = 8
"""Buckets for each doubling: a percentile is off by 6 % at most."""
_DOUBLINGS = 27
"""From a microsecond to a good minute."""
_BUCKETS = _STEPS * _DOUBLINGS


class Percentiles(Struct, frozen=True):
    """Of what was measured in a window, in milliseconds.

    Attributes:
        p50: Half took no longer; ``None`` when nothing was measured.
        p99: The same of ninety-nine in a hundred.
        count: How many there were, as far as that is known from those that were measured.
    """

    p50: float | None
    p99: float | None
    count: int


class Latencies:
    """Latencies of about the last ten seconds.

    Args:
        seconds: A clock that nobody sets.
        sampled: One in so many is measured.
    """

    __slots__ = ("_counts", "_sampled", "_second", "_seconds", "_slots", "_turn")

    def __init__(self, seconds: Callable[[], float], sampled: int = SAMPLED) -> None:
        self._seconds = seconds
        self._sampled = sampled
        self._turn = 0
        self._second = int(seconds())
        self._slots = [array("L", bytes(array("L").itemsize * _BUCKETS)) for _ in range(WINDOW_SECONDS)]
        self._counts = self._slots[self._second % WINDOW_SECONDS]

    def begin(self) -> float:
        """When something begins that is measured; 0 for what is not."""
        self._turn += 1
        if self._turn < self._sampled:
            return 0.0
        self._turn = 0
        return self._seconds()

    def end(self, begun: float) -> None:
        """That which began then has ended; nothing happens for 0."""
        if not begun:
            return
        now = self._seconds()
        if int(now) != self._second:
            self._go_on(int(now))
        fraction, doubling = frexp((now - begun) * 1e6)  # fraction is 0.5 to 1
        bucket = (doubling - 1) * _STEPS + int((fraction - 0.5) * 2 * _STEPS)
        self._counts[min(max(bucket, 0), _BUCKETS - 1)] += 1

    def percentiles(self) -> Percentiles:
        """What was measured in the window."""
        if int(self._seconds()) != self._second:
            self._go_on(int(self._seconds()))
        counts = [sum(ones) for ones in zip(*self._slots, strict=True)]
        return Percentiles(_percentile(counts, 0.5), _percentile(counts, 0.99), sum(counts) * self._sampled)

    def _go_on(self, second: int) -> None:
        """Forget what is past the window."""
        for past in range(max(self._second + 1, second - WINDOW_SECONDS + 1), second + 1):
            slot = self._slots[past % WINDOW_SECONDS]
            slot[:] = array("L", bytes(slot.itemsize * _BUCKETS))
        self._second = second
        self._counts = self._slots[second % WINDOW_SECONDS]


def _percentile(counts: list[int], share: float) -> float | None:
    """Milliseconds: the upper end of the bucket in which it is."""
    left = sum(counts) * share
    if not left:
        return None
    for bucket, count in enumerate(counts):
        left -= count
        if left <= 0:
            doubling, step = divmod(bucket, _STEPS)
            return round(2.0**doubling * (1 + (step + 1) / _STEPS) / 1000, 4)
    raise AssertionError("the counts have changed")
