"""Rooms: who is in which chat room now."""

from typing import Protocol

from fastim.core.session import Session


class Rooms(Protocol):
    """One application's chat rooms. A session is in one at most; a client is in it as long as a session of its is."""

    def enter(self, conversation_id: str, session: Session) -> None:
        """``session`` is in that room from now on, and in no other."""
        ...

    def leave(self, session: Session) -> str | None:
        """``session`` is in no room any more; the one that it was in, or ``None``."""
        ...

    def room_of(self, session: Session) -> str | None:
        """The room that ``session`` is in, or ``None``."""
        ...

    def holds(self, conversation_id: str, client_id: str) -> bool:
        """Whether the client is in that room."""
        ...

    def count(self, conversation_id: str) -> int:
        """How many clients are in that room: exact, at once."""
        ...

    def sample(self, conversation_id: str, limit: int) -> list[str]:
        """At most ``limit`` of the clients in that room, picked at random, none twice."""
        ...

    def close(self, conversation_id: str) -> None:
        """The room is no more: nobody is in it."""
        ...
