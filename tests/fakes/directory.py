"""A directory without connections."""

from collections.abc import Iterable

from fastim.core.session import Session


class PlainDirectory:
    """Fulfils the ``Directory`` port."""

    def __init__(self) -> None:
        self._sessions: dict[int, Session] = {}

    def online(self, client_ids: Iterable[str]) -> list[str]:
        present = {session.client_id for session in self._sessions.values()}
        return [client_id for client_id in client_ids if client_id in present]

    def sessions(self, client_id: str) -> list[Session]:
        return [session for session in self._sessions.values() if session.client_id == client_id]

    def enter(self, session: Session) -> None:
        self._sessions[session.number] = session

    def leave(self, session: Session) -> None:
        self._sessions.pop(session.number, None)
