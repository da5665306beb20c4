"""A directory without connections."""

from collections.abc import Iterable

from fastim.core.errors import QueryFailed
from fastim.core.policy import WATCHED_MAX
from fastim.core.session import Session


class PlainDirectory:
    """Fulfils the ``Directory`` port.

    Attributes:
        cut_off: Numbers of sessions whose connections are lost before they enter.
        shared: Whether a client has one connection for all its sessions, on which a new one takes the last one's place.
    """

    def __init__(self) -> None:
        self.cut_off: set[int] = set()
        self.shared = False
        self._sessions: dict[int, Session] = {}
        self._watched: dict[int, set[str]] = {}

    def online(self, client_ids: Iterable[str]) -> list[str]:
        present = {session.client_id for session in self._sessions.values()}
        return [client_id for client_id in client_ids if client_id in present]

    async def ready(self, session: Session) -> bool:
        return session.number in self._sessions

    def sessions(self, client_id: str) -> list[Session]:
        return [session for session in self._sessions.values() if session.client_id == client_id]

    def clients(self) -> list[str]:
        return list(dict.fromkeys(session.client_id for session in self._sessions.values()))

    def watch(self, session: Session, client_ids: Iterable[str]) -> None:
        watched = self._watched.get(session.number, set()) | set(client_ids)
        if len(watched) > WATCHED_MAX:
            raise QueryFailed
        if session.number in self._sessions:
            self._watched[session.number] = watched

    def unwatch(self, session: Session, client_ids: Iterable[str]) -> None:
        self._watched.get(session.number, set()).difference_update(client_ids)

    def watched(self, session: Session) -> set[str]:
        """The clients that ``session`` watches."""
        return self._watched.get(session.number, set())

    def enter(self, session: Session) -> None:
        for other in self.sessions(session.client_id) if self.shared else ():
            if other.number != session.number:
                self.leave(other)
        if session.number not in self.cut_off:
            self._sessions[session.number] = session

    def leave(self, session: Session) -> None:
        self._sessions.pop(session.number, None)
        self._watched.pop(session.number, None)
