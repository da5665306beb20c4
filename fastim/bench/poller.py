"""Waiting for thousands of sockets, with what the system has for it."""

import select
import selectors
from typing import Protocol

READ, WRITE = 1, 4
"""As ``poll`` names them."""
AT_ONCE = 256
"""Sockets served before the next look at what is due."""


class Poller(Protocol):
    """Which sockets can be read or written. Those that are closed are forgotten first."""

    def watch(self, descriptor: int, events: int) -> None:
        """Watch a socket for these events, also when it was watched for others."""
        ...

    def forget(self, descriptor: int) -> None:
        """Watch it no longer; nothing when it was not watched."""
        ...

    def wait(self, seconds: float) -> list[tuple[int, int]]:
        """Descriptor and events of some that are ready; waits so long for the first one."""
        ...

    def close(self) -> None: ...


def poller() -> Poller:
    """The best that there is here."""
    return _Epoll() if hasattr(select, "epoll") else Selected()


class _Epoll:
    """Linux's own. Its time-out is in whole milliseconds, which is too long to be late; ``select`` has better ones."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: set[int] = set()

    def watch(self, descriptor: int, events: int) -> None:
        if descriptor in self._watched:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
            self._watched.add(descriptor)

    def forget(self, descriptor: int) -> None:
        if descriptor in self._watched:
            self._watched.discard(descriptor)
            self._epoll.unregister(descriptor)

    def wait(self, seconds: float) -> list[tuple[int, int]]:
        if ready := self._epoll.poll(0, AT_ONCE):
            return ready
        if seconds > 0 and not select.select([self._epoll], [], [], seconds)[0]:
            return []
        return self._epoll.poll(0, AT_ONCE)

    def close(self) -> None:
        self._epoll.close()


class Selected:
    """Where there is no epoll."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def watch(self, descriptor: int, events: int) -> None:
        wanted = selectors.EVENT_READ * bool(events & READ) | selectors.EVENT_WRITE * bool(events & WRITE)
        if descriptor in self._selector.get_map():
            self._selector.modify(descriptor, wanted)
        else:
            self._selector.register(descriptor, wanted)

    def forget(self, descriptor: int) -> None:
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)

    def wait(self, seconds: float) -> list[tuple[int, int]]:
        found = self._selector.select(max(seconds, 0))
        return [
            (key.fd, READ * bool(events & selectors.EVENT_READ) | WRITE * bool(events & selectors.EVENT_WRITE))
            for key, events in found
        ]

    def close(self) -> None:
        self._selector.close()
