"""The pulse: how the server fares now, for somebody who looks once a second.

Whoever looks must not be felt: what was found out serves all who ask within a second, and of tens of thousands of chat
rooms only some are looked at each time.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Sequence
from heapq import nlargest
from typing import Any, Generic, TypeVar

from msgspec import Struct

from fastim._fanout import Fanout
from fastim.core.ledger import Counts, Ledger
from fastim.core.units import Millis
from fastim.ports.ingress import Reason
from fastim.runtime.dispatch import Dispatcher, Tenant
from fastim.runtime.gateway import Gateway
from fastim.runtime.lag import LoopLag
from fastim.runtime.latencies import Percentiles
from fastim.runtime.memory import MemoryBudget
from fastim.service.finding import find_living
from fastim.service.ledger import read_ledger

FRESH_SECONDS = 0.9
TOP_ROOMS = 20
CANDIDATES = 60
"""Rooms that are looked at each time: those with most readers that were found so far."""
ROOMS_LOOKED_AT = 1_000
"""Others that are looked at each time, in turn."""
NAMED_SECONDS = 30.0
"""After this a room's name is read again."""
SHARE_SECONDS = 30.0
"""Of so long the console's share of the processor time is told."""
PRIORITIES = ("high", "normal", "low")
SHED_REASONS = ("age", "distance", "sample", "overrun")

Result = TypeVar("Result")


class Meter:
    """Processor time that the console takes.

    Attributes:
        seconds: Since the start.
    """

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self.seconds = 0.0

    def run(self, work: Coroutine[Any, Any, Result]) -> "Metered[Result]":
        """``work``, whose steps are measured: what others do while it waits is not its own."""
        return Metered(work, self, self._clock)

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        """What ``work`` returns, done in a thread of its own, and measured."""
        took = 0.0

        def timed() -> Result:
            nonlocal took
            started = self._clock()
            try:
                return work()
            finally:
                took = self._clock() - started

        try:
            return await asyncio.to_thread(timed)
        finally:
            self.seconds += took


class Metered(Generic[Result]):
    """See ``Meter.run``."""

    def __init__(self, work: Coroutine[Any, Any, Result], meter: Meter, clock: Callable[[], float]) -> None:
        self._work = work
        self._meter = meter
        self._clock = clock

    def __await__(self) -> Generator[Any, Any, Result]:
        thrown: BaseException | None = None
        while True:
            started = self._clock()
            try:
                waits_for = self._work.send(None) if thrown is None else self._work.throw(thrown)
            except StopIteration as done:
                result: Result = done.value
                return result
            finally:
                self._meter.seconds += self._clock() - started
            thrown = None
            try:
                yield waits_for
            except BaseException as error:
                thrown = error


class Totals(Struct, frozen=True):
    """Since the start.

    Attributes:
        sends: Messages that clients sent.
        deliveries: Handed to a session, those of chat rooms aside.
        room_deliveries: Of chat rooms, as far as the system has taken them.
        shed: Of chat rooms, left out for sessions that lagged.
        refusals: Commands refused.
    """

    sends: int
    deliveries: int
    room_deliveries: int
    shed: int
    pushes: int
    hook_calls: int
    refusals: int


class TopRoom(Struct, frozen=True):
    """One of the rooms with most to do.

    Attributes:
        shed: By priority and reason.
        refused: At the door, by reason.
    """

    app: str
    id: str
    name: str
    readers: int
    messages: int
    owed: int
    written: int
    shed: dict[str, dict[str, int]]
    refused: dict[Reason, int]


class Lag(Struct, frozen=True):
    """How late the event loop is, in milliseconds; ``p99`` of about the last minute."""

    last: float
    p99: float


class Snapshot(Struct, frozen=True):
    """How the server fares.

    Attributes:
        at: Milliseconds since the epoch.
        since: When it started.
        console_cpu_share: Of the processor time that the process took lately, how much was for the console.
    """

    at: Millis
    since: Millis
    connections: dict[str, int]
    sessions: int
    rooms: int
    totals: Totals
    ack_ms: Percentiles
    commit_ms: Percentiles
    lag_ms: Lag
    memory_bytes: int
    console_cpu_share: float
    top_rooms: list[TopRoom]


class Commits(Struct, frozen=True):
    """What a store has counted of its commits since the start.

    Attributes:
        bounds: In seconds, ascending.
        counts: How many took at most each of them and more than the one before; and, last, longer.
    """

    bounds: Sequence[float]
    counts: Sequence[int]


class Pulse:
    """Live figures.

    Args:
        commits: What the store counts.
        clock: Milliseconds since the epoch.
        seconds: A clock that nobody sets.
        processor_seconds: What the whole process has taken.

    Attributes:
        meter: Where whatever is done for the console is measured.
    """

    def __init__(
        self,
        gateway: Gateway,
        dispatcher: Dispatcher,
        lag: LoopLag,
        fanout: Fanout,
        memory: MemoryBudget,
        commits: Callable[[], Commits],
        *,
        clock: Callable[[], Millis],
        seconds: Callable[[], float] = time.monotonic,
        processor_seconds: Callable[[], float] = time.process_time,
    ) -> None:
        self._gateway = gateway
        self._dispatcher = dispatcher
        self._lag = lag
        self._fanout = fanout
        self._memory = memory
        self._clock = clock
        self._seconds = seconds
        self._since = clock()
        self._shares = Shares(processor_seconds, seconds)
        self._recent = RecentCommits(commits, seconds)
        self._top = TopRooms(dispatcher, seconds)
        self._turn = asyncio.Lock()
        self._snapshot: Snapshot | None = None
        self._found_at = 0.0
        self.meter = Meter()

    async def snapshot(self) -> Snapshot:
        """How the server fares, or did ``FRESH_SECONDS`` ago."""
        async with self._turn:
            found = self._snapshot
            if found is None or self._seconds() - self._found_at >= FRESH_SECONDS:
                self._found_at = self._seconds()
                found = self._snapshot = await self._look()
            return found

    async def _look(self) -> Snapshot:
        tenants = list(self._dispatcher.tenants.values())
        return Snapshot(
            at=self._clock(),
            since=self._since,
            connections={"tcp": 0, "websocket": 0, **self._gateway.by_door},
            sessions=sum(len(one.presence) for one in tenants),
            rooms=sum(len(one.logs) for one in tenants),
            totals=self._totals(tenants),
            ack_ms=self._dispatcher.acks.percentiles(),
            commit_ms=self._recent.percentiles(),
            lag_ms=Lag(round(1000 * self._lag.last_seconds, 3), round(1000 * self._lag.p99_seconds, 3)),
            memory_bytes=self._memory.used_bytes,
            console_cpu_share=self._shares.share(self.meter.seconds),
            top_rooms=await self._top.find(),
        )

    def _totals(self, tenants: Sequence[Tenant]) -> Totals:
        ledger = self._fanout.ledger()
        return Totals(
            sends=self._dispatcher.commands.get("Send", 0),
            deliveries=sum(one.delivery.delivered for one in tenants),
            room_deliveries=sum(ledger["written"]),
            shed=sum(sum(ledger[f"shed_{reason}"]) for reason in SHED_REASONS),
            pushes=sum(
                number for one in tenants for (_, word), number in one.outbox.outcomes.items() if word == "sent"
            ),
            hook_calls=sum(
                number for one in tenants for line in one.hooks.lines.values() for number in line.outcomes.values()
            ),
            refusals=sum(self._dispatcher.refusals.values()),
        )


class Shares:
    """How much of the process's time lately was the console's."""

    def __init__(self, processor_seconds: Callable[[], float], seconds: Callable[[], float]) -> None:
        self._processor_seconds = processor_seconds
        self._seconds = seconds
        self._past = deque([(seconds(), processor_seconds(), 0.0)])

    def share(self, console_seconds: float) -> float:
        """0 to 1.

        Args:
            console_seconds: What the console has taken since the start.
        """
        now = (self._seconds(), self._processor_seconds(), console_seconds)
        while len(self._past) > 1 and self._past[1][0] <= now[0] - SHARE_SECONDS:
            self._past.popleft()
        before = self._past[0]
        self._past.append(now)
        whole = now[1] - before[1]
        return round(min((now[2] - before[2]) / whole, 1.0), 6) if whole > 0 else 0.0


class RecentCommits:
    """How long the commits of about the last ten seconds took."""

    WINDOW_SECONDS = 10.0

    def __init__(self, commits: Callable[[], Commits], seconds: Callable[[], float]) -> None:
        self._commits = commits
        self._seconds = seconds
        self._past = deque([(seconds(), tuple(commits().counts))])

    def percentiles(self) -> Percentiles:
        """What was counted since the last look that was so long ago."""
        found = self._commits()
        now = self._seconds()
        while len(self._past) > 1 and self._past[1][0] <= now - self.WINDOW_SECONDS:
            self._past.popleft()
        counts = [after - before for after, before in zip(found.counts, self._past[0][1], strict=True)]
        self._past.append((now, tuple(found.counts)))
        return Percentiles(_within(counts, found.bounds, 0.5), _within(counts, found.bounds, 0.99), sum(counts))


def _within(counts: Sequence[int], bounds: Sequence[float], share: float) -> float | None:
    """Milliseconds, taken to be spread evenly within a bucket; beyond the last bound: that bound."""
    left = share * sum(counts)
    if not left:
        return None
    low = 0.0
    for count, high in zip(counts, bounds, strict=False):
        if count >= left:
            return round(1000 * (low + (high - low) * left / count), 3)
        left -= count
        low = high
    return round(1000 * low, 3)


class TopRooms:
    """The chat rooms with most to do, found without looking at all of them each time.

    Those with most readers are candidates; the busiest of these are shown. A room that fills up is found when its turn
    comes, which for tens of thousands of rooms takes as many seconds as there are thousands.
    """

    def __init__(self, dispatcher: Dispatcher, seconds: Callable[[], float]) -> None:
        self._dispatcher = dispatcher
        self._seconds = seconds
        self._unseen: list[tuple[str, list[str]]] = []
        self._candidates: set[tuple[str, str]] = set()
        self._owed: dict[tuple[str, str], int] = {}
        self._names: dict[tuple[str, str], tuple[float, str]] = {}

    async def find(self) -> list[TopRoom]:
        """The busiest first."""
        self._look_around()
        ledgers = [(one, self._ledger(one)) for one in self._candidates]
        owed = {one: _sum(ledger.owed) for one, ledger in ledgers}
        before, self._owed = self._owed, owed
        top = nlargest(
            TOP_ROOMS, ledgers, key=lambda pair: (owed[pair[0]] - before.get(pair[0], owed[pair[0]]), pair[1].readers)
        )
        rooms = [_shown(one, await self._name(one), ledger) for one, ledger in top]
        self._names = {one: self._names[one] for one, _ in top}
        return rooms

    def _look_around(self) -> None:
        """See which rooms have most readers, among those known for that and the next ones."""
        if not self._unseen:
            self._unseen = [(one.application.id, one.logs.ids()) for one in self._dispatcher.tenants.values()]
        next_ones: list[tuple[str, str]] = []
        while self._unseen and len(next_ones) < ROOMS_LOOKED_AT:
            application_id, rooms = self._unseen[-1]
            begin = max(0, len(rooms) - ROOMS_LOOKED_AT + len(next_ones))
            next_ones += [(application_id, room) for room in rooms[begin:]]
            del rooms[begin:]
            if not rooms:
                self._unseen.pop()
        readers = {one: self._readers(one) for one in self._candidates.union(next_ones)}
        there = (one for one, number in readers.items() if number)
        self._candidates = set(nlargest(CANDIDATES, there, key=readers.__getitem__))

    def _readers(self, one: tuple[str, str]) -> int:
        tenant = self._dispatcher.tenants.get(one[0])
        return 0 if tenant is None else tenant.logs.readers(one[1])

    def _ledger(self, one: tuple[str, str]) -> Ledger:
        return read_ledger(self._dispatcher.tenants[one[0]].io, one[1])

    async def _name(self, one: tuple[str, str]) -> str:
        read_at, name = self._names.get(one, (0.0, ""))
        if one not in self._names or self._seconds() - read_at >= NAMED_SECONDS:
            conversation = await find_living(self._dispatcher.tenants[one[0]].io, one[1])
            found = "" if conversation is None else conversation.columns.get("name")
            name = found if isinstance(found, str) else ""
            self._names[one] = (self._seconds(), name)
        return name


def _shown(one: tuple[str, str], name: str, ledger: Ledger) -> TopRoom:
    return TopRoom(
        app=one[0],
        id=one[1],
        name=name,
        readers=ledger.readers,
        messages=_sum(ledger.messages),
        owed=_sum(ledger.owed),
        written=_sum(ledger.written),
        shed={
            priority: {reason: getattr(getattr(ledger, f"shed_{reason}"), priority) for reason in SHED_REASONS}
            for priority in PRIORITIES
        },
        refused={"rate": _sum(ledger.refused_rate), "governor": _sum(ledger.refused_governor)},
    )


def _sum(counts: Counts) -> int:
    return counts.high + counts.normal + counts.low
