"""What a run's parts have in common: what they measure, and the clock that they send by.

A part sends by the clock alone. How many of its messages have come, and whether any have, changes nothing in that.
"""

from collections.abc import Iterator
from typing import Protocol

from msgspec import Struct

from fastim.bench.driver import Driver

SECOND = 1_000_000_000
NEVER = 1 << 63
"""When nothing is due any more."""
BURST = 64
"""Sent at most before the sockets are looked at again."""
UNMEASURED = 0
"""The meter of what comes before or after measuring."""


class Kept(Struct, frozen=True):
    """One thing that a part measures.

    Attributes:
        name: ``delivery``, ``last reader``, ``ack``, ``enter``, ``come back``, ``echo`` or ``page``.
        of: What is counted: ``deliveries``, ``messages`` or ``requests``.
        about: From when to when its time goes.
    """

    name: str
    of: str
    about: str


DELIVERY = Kept("delivery", "deliveries", "from when a message was due to when a reader had it")
LAST = Kept("last reader", "messages", "from when a message was due to when all of its readers had it")
ACK = Kept("ack", "requests", "from when a message was due to its ack")
ENTER = Kept("enter", "requests", "from when an entry was due to its answer")
COME_BACK = Kept("come back", "requests", "from when a connection was lost to when its session was open again")
ECHO = Kept("echo", "requests", "from when an echo was due to its answer")
PAGE = Kept("page", "requests", "from when a page was due to be asked for to its answer")


class Window(Struct, frozen=True):
    """When a run begins, is measured from, and ends; nanoseconds of the monotonic clock."""

    begin_ns: int
    measured_ns: int
    end_ns: int

    def measures(self, due_ns: int) -> bool:
        """Whether what is due then is measured."""
        return self.measured_ns <= due_ns < self.end_ns


class Part(Protocol):
    """One part of a run."""

    @property
    def keeps(self) -> tuple[Kept, ...]:
        """What it measures, in the order of its meters."""
        ...

    @property
    def connections(self) -> int:
        """How many it needs."""
        ...

    @property
    def restless(self) -> bool:
        """Whether nobody can say how many deliveries there should be."""
        ...

    def prepare(self, driver: Driver, name: str, first: int, meter: int) -> None:
        """Connect clients and make what they talk in.

        Args:
            name: A beginning of its client ids that no other part of any run has.
            first: The first of its connections.
            meter: The first of its meters.
        """
        ...

    def begin(self, window: Window) -> None:
        """Everything is ready; the run goes like that."""
        ...

    def act(self, now_ns: int) -> int:
        """Send what is due, some of it if it is much; returns when the next is due, ``NEVER`` when all was sent."""
        ...

    def finish(self) -> None:
        """No more is sent: whatever was held up may come now."""
        ...

    def figures(self, ended: set[int]) -> dict[str, int]:
        """What there is to say besides the meters. ``ended`` connections that were expected to end are taken out."""
        ...


class Beat:
    """Due times at an even rate.

    Args:
        rate: A second; 0: never.
    """

    def __init__(self, rate: float, begin_ns: int, end_ns: int) -> None:
        self._gap_ns = SECOND / rate if rate else 0.0
        self._begin_ns = begin_ns
        self._end_ns = end_ns
        self._count = 0
        self.next_ns = begin_ns if rate else NEVER

    def take(self, now_ns: int) -> Iterator[int]:
        """The times that have come, a burst of them at most."""
        for _ in range(BURST):
            due_ns = self.next_ns
            if due_ns > now_ns:
                return
            self._count += 1
            self.next_ns = self._begin_ns + int(self._count * self._gap_ns)
            if self.next_ns >= self._end_ns:
                self.next_ns = NEVER
            yield due_ns
