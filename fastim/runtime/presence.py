"""Presence: which sessions are open on this node, and on which connections."""

import asyncio
from collections.abc import Iterable, Iterator
from itertools import count

from fastim.core.errors import QueryFailed
from fastim.core.policy import WATCHED_MAX
from fastim.core.session import Session
from fastim.runtime.connection import Connection
from fastim.wire.codec import encode_presence, recipient


class Attached:
    """A session on its connection.

    Attributes:
        suffix: What completes an encoded push for this session.
    """

    __slots__ = ("connection", "session", "suffix")

    def __init__(self, session: Session, connection: Connection) -> None:
        self.session = session
        self.connection = connection
        self.suffix = recipient(session.client_id)


class Presence:
    """One application's open sessions on this node; fulfils the ``Directory`` port."""

    _numbers = count(1)

    def __init__(self) -> None:
        self._clients: dict[str, list[Attached]] = {}
        self._open = 0
        self._opening: dict[int, Connection] = {}
        self._watchers: dict[str, dict[int, Session]] = {}
        self._watched: dict[int, set[str]] = {}

    def __len__(self) -> int:
        """How many sessions are open."""
        return self._open

    def reserve(self, connection: Connection) -> int:
        """A number for a session that is about to be opened on ``connection``."""
        number = next(self._numbers)
        self._opening[number] = connection
        return number

    def release(self, number: int) -> None:
        """The opening with that number has ended, one way or the other."""
        self._opening.pop(number, None)

    def enter(self, session: Session) -> None:
        """Attach a session whose number was reserved, or renew one that is attached."""
        attached = self.find(session.client_id, session.number)
        if attached is not None:
            attached.session = session
            attached.connection.link.opened(session)
            return
        connection = self._opening[session.number]
        if connection.lost:
            return
        before = connection.link.sessions.get(session.client_id)
        connection.link.opened(session)
        connection.heard()
        if session.client_id not in self._clients:
            self._clients[session.client_id] = []
            self._announce(session.client_id, online=True)
        self._clients[session.client_id].append(Attached(session, connection))
        self._open += 1
        if before is not None:  # only now, or the client would seem to have gone
            self._detach(before)

    def leave(self, session: Session) -> None:
        attached = self.find(session.client_id, session.number)
        if attached is not None:
            attached.connection.link.closed(session)
            self._detach(session)

    def online(self, client_ids: Iterable[str]) -> list[str]:
        return [client_id for client_id in client_ids if client_id in self._clients]

    def clients(self) -> list[str]:
        return list(self._clients)

    def watch(self, session: Session, client_ids: Iterable[str]) -> None:
        watched = self._watched.get(session.number, set()) | set(client_ids)
        if len(watched) > WATCHED_MAX:
            raise QueryFailed(f"a session watches at most {WATCHED_MAX} clients")
        if self.find(session.client_id, session.number) is None:
            return
        self._watched[session.number] = watched
        for client_id in watched:
            self._watchers.setdefault(client_id, {})[session.number] = session

    def unwatch(self, session: Session, client_ids: Iterable[str]) -> None:
        watched = self._watched.get(session.number, set())
        for client_id in watched.intersection(client_ids):
            watched.discard(client_id)
            watchers = self._watchers[client_id]
            del watchers[session.number]
            if not watchers:
                del self._watchers[client_id]
        if not watched:
            self._watched.pop(session.number, None)

    async def ready(self, session: Session) -> bool:
        await asyncio.sleep(0)  # what was published before is on the socket first
        attached = self.find(session.client_id, session.number)
        if attached is not None:
            await attached.connection.ready()
        return self.find(session.client_id, session.number) is not None

    def sessions(self, client_id: str) -> list[Session]:
        return [attached.session for attached in self._clients.get(client_id, ())]

    def of(self, client_id: str) -> Iterable[Attached]:
        """The client's sessions with their connections; what is returned may change while it is walked over."""
        return self._clients.get(client_id, ())

    def find(self, client_id: str, number: int) -> Attached | None:
        """The open session with that number, or ``None``."""
        return next((one for one in self._clients.get(client_id, ()) if one.session.number == number), None)

    def on(self, connection: Connection) -> Iterator[Attached]:
        """The sessions on ``connection``."""
        for session in list(connection.link.sessions.values()):
            attached = self.find(session.client_id, session.number)
            if attached is not None:
                yield attached

    def _detach(self, session: Session) -> None:
        self.unwatch(session, list(self._watched.get(session.number, ())))
        before = self._clients.get(session.client_id, ())
        remaining = [one for one in before if one.session.number != session.number]
        self._open -= len(before) - len(remaining)
        if remaining:
            self._clients[session.client_id] = remaining
        elif before:
            del self._clients[session.client_id]
            self._announce(session.client_id, online=False)

    def _announce(self, client_id: str, *, online: bool) -> None:
        """Tell those who watch the client that it came or went."""
        watchers = self._watchers.get(client_id)
        if not watchers:
            return
        body = encode_presence((client_id,), online=online)
        for watcher in watchers.values():
            attached = self.find(watcher.client_id, watcher.number)
            if attached is not None:
                attached.connection.send(body, attached.suffix)
