"""Rooms on this node: which session is in which chat room."""

import random
from collections.abc import Iterable
from typing import Protocol

from msgspec.structs import replace

from fastim.core.ledger import Ledger
from fastim.core.session import Session
from fastim.core.units import Millis
from fastim.ports.rooms import Left, Missed


class Logs(Protocol):
    """The logs of one application's rooms: what is sent to those inside, and how far each has got.

    Sessions go by their number. A session has one place at most; it gives up the one before it is given another.
    """

    def join(self, conversation_id: str, session: Session, missed_from: Millis | None) -> Missed | None:
        """Give ``session`` a place in the room: what is posted from now on reaches it.

        Args:
            missed_from: It comes back, and is owed the messages of high priority of this time or later as well;
                ``None``: it enters anew, and is owed nothing.

        Returns:
            ``None`` when what it is owed is all here. Otherwise the place is held, nothing is sent to it, until it is
            released: a stretch of the past has to come from the store first. The stretch ends where the log begins:
            a message that is published after this call is later than it, one that was published before is in it.
        """
        ...

    def leave(self, session: Session) -> Millis:
        """Take away the place of ``session``, which it has.

        Returns:
            Messages of high priority from this time on did not reach it; 0: that is not known.
        """
        ...

    def release(self, session: Session) -> None:
        """Send to the place of ``session``, which it has. Harmless where it is not held."""
        ...

    def close(self, conversation_id: str) -> None:
        """Take away the room's log, if there is one, and every place in it."""
        ...

    def ledger(self, conversation_id: str) -> Ledger:
        """What became of the room's messages; nothing where there is no log."""
        ...


class LocalRooms:
    """One application's chat rooms on this node; fulfils the ``Rooms`` port.

    Args:
        logs: Their logs; without them nobody is sent anything, and nothing is known of what anybody missed.
    """

    def __init__(self, logs: Logs | None = None) -> None:
        self._logs = logs
        self._sessions: dict[str, dict[int, Session]] = {}
        self._clients: dict[str, dict[str, int]] = {}
        self._room_of: dict[int, str] = {}
        self._missed: dict[int, Missed] = {}

    def enter(self, conversation_id: str, session: Session, missed_from: Millis | None = None) -> None:
        if self._room_of.get(session.number) == conversation_id:
            self._sessions[conversation_id][session.number] = session
            return
        self.leave(session)
        missed = None if self._logs is None else self._logs.join(conversation_id, session, missed_from)
        self._room_of[session.number] = conversation_id
        self._sessions.setdefault(conversation_id, {})[session.number] = session
        clients = self._clients.setdefault(conversation_id, {})
        clients[session.client_id] = clients.get(session.client_id, 0) + 1
        if missed is not None:
            self._missed[session.number] = missed

    def leave(self, session: Session) -> Left | None:
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
        missed_from = Millis(0) if self._logs is None else self._logs.leave(session)
        missed = self._missed.pop(session.number, None)
        return Left(room, missed_from if missed is None else missed.since)

    def missed(self, session: Session) -> Missed | None:
        return self._missed.get(session.number)

    def told(self, session: Session, upto: Millis) -> None:
        missed = self._missed.get(session.number)
        if missed is None or upto < missed.since:
            return
        if upto < missed.until:
            self._missed[session.number] = replace(missed, since=Millis(upto + 1))
        else:
            del self._missed[session.number]

    def release(self, session: Session) -> None:
        if self._logs is not None and session.number in self._room_of:
            self._logs.release(session)

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
            self._missed.pop(number, None)
        self._clients.pop(conversation_id, None)
        if self._logs is not None:
            self._logs.close(conversation_id)

    def ledger(self, conversation_id: str) -> Ledger:
        return Ledger() if self._logs is None else self._logs.ledger(conversation_id)

    def occupants(self, conversation_id: str) -> Iterable[Session]:
        """The sessions in that room, in the order in which they came; it may change while it is walked over."""
        return self._sessions.get(conversation_id, {}).values()
