"""The queue between a connection and whoever reads the events."""

from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import anyio

from fastim.client.events import Event


class Inbox(AsyncIterator[Event]):
    """Events in the order in which they came; each is handed out once, however many tasks iterate.

    When it is full, the connection stops reading its socket until there is room: a slow reader slows its own
    connection, not its memory, and the server treats it like any client behind a slow line. Replies come by the same
    socket, so while a request waits for one, reading goes on and the queue may grow past its limit.

    Args:
        limit: Events held before reading stops; 0 throws all events away.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._events: deque[Event] = deque()
        self._ended = False
        self._urgent = 0
        self._arrived = anyio.Event()
        self._eased = anyio.Event()

    @property
    def keeps(self) -> bool:
        """Whether what is put in comes out."""
        return self._limit > 0 and not self._ended

    @property
    def full(self) -> bool:
        """Whether the connection should wait for ``room``."""
        return len(self._events) >= self._limit > 0 and not self._urgent and not self._ended

    def put(self, event: Event) -> None:
        """Add an event; what comes after the end is dropped."""
        if self.keeps:
            self._events.append(event)
            self._announce()

    def end(self) -> None:
        """No more events: iteration ends with those that are there."""
        self._ended = True
        self._announce()
        self._eased.set()

    async def room(self) -> None:
        """Wait until the inbox is not full."""
        while self.full:
            self._eased = anyio.Event()
            await self._eased.wait()

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """While this lasts the inbox is never full: somebody waits for what comes behind the events."""
        self._urgent += 1
        self._eased.set()
        try:
            yield
        finally:
            self._urgent -= 1

    async def __anext__(self) -> Event:
        while not self._events:
            if self._ended:
                raise StopAsyncIteration
            await self._arrived.wait()
        event = self._events.popleft()
        self._eased.set()
        return event

    def _announce(self) -> None:
        self._arrived.set()
        self._arrived = anyio.Event()
