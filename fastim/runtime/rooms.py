"""Rooms on this node: which session is in which chat room."""

import random
from collections.abc import Iterable

from fastim.core.session import Session


class LocalRooms:
    """One application's chat rooms on this node; fulfils the ``Rooms`` port."""

    def __init__(self) -> None:
        self._sessions: dict[str, dict[int, Session]] = {}
        self._clients: dict[str, dict[str, int]] = {}
        self._room_of: dict[int, str] = {}

    def enter(self, conversation_id: str, session: Session) -> None:
        if self._room_of.get(session.number) == conversation_id:
            self._sessions[conversation_id][session.number] = session
            return
        self.leave(session)
        self._room_of[session.number] = conversation_id
        self._sessions.setdefault(conversation_id, {})[session.number] = session
        clients = self._clients.setdefault(conversation_id, {})
        clients[session.client_id] = clients.get(session.client_id, 0) + 1

    def leave(self, session: Session) -> str | None:
        room = self._room_of.pop(session.number, None)
        if room is None:
            return None
        del self._sessions[room][session.number]
        clients = self._clients[room]
        clients[session.client_id] -= 1
        if not clients[session.client_id]:
            del clients[session.client_id]
        if not clients:
            del self._sessions[room], self._clients[room]
        return room

    def room_of(self, session: Session) -> str | None:
        return self._room_of.get(session.number)

    def holds(self, conversation_id: str, client_id: str) -> bool:
        return client_id in self._clients.get(conversation_id, ())

    def count(self, conversation_id: str) -> int:
        return len(self._clients.get(conversation_id, ()))

    def sample(self, conversation_id: str, limit: int) -> list[str]:
        clients = list(self._clients.get(conversation_id, ()))
        return random.sample(clients, min(max(limit, 0), len(clients)))

    def close(self, conversation_id: str) -> None:
        for number in self._sessions.pop(conversation_id, ()):
            del self._room_of[number]
        self._clients.pop(conversation_id, None)

    def occupants(self, conversation_id: str) -> Iterable[Session]:
        """The sessions in that room, in the order in which they came; it may change while it is walked over."""
        return self._sessions.get(conversation_id, {}).values()
