"""Rooms: who is in which chat room now."""

from typing import Protocol

from msgspec import Struct

from fastim.core.ledger import Ledger
from fastim.core.session import Session
from fastim.core.units import Millis


class Left(Struct, frozen=True):
    """What a session leaves behind in a room.

    Attributes:
        missed_from: Messages of high priority from this time on did not reach it; 0: that is not known.
    """

    conversation_id: str
    missed_from: Millis


class Missed(Struct, frozen=True):
    """A stretch of a room's messages of high priority that a session missed, both ends included."""

    conversation_id: str
    since: Millis
    until: Millis


class Rooms(Protocol):
    """One application's chat rooms. A session is in one at most; a client is in it as long as a session of its is."""

    def enter(self, conversation_id: str, session: Session, missed_from: Millis | None = None) -> None:
        """``session`` is in that room from now on, and in no other.

        Args:
            missed_from: It comes back, and missed messages of high priority from this time on: it is told them first.
        """
        ...

    def leave(self, session: Session) -> Left | None:
        """``session`` is in no room any more; the one that it was in, or ``None``."""
        ...

    def missed(self, session: Session) -> Missed | None:
        """What the store has to say to a session that came back, and has not said yet; ``None``: nothing.

        Nothing, because it missed nothing, or because what it missed is still at hand. Else it hears nothing of its
        room until it is released.
        """
        ...

    def told(self, session: Session, upto: Millis) -> None:
        """``session`` has been told what it missed up to that time; should it be cut off now, it missed the rest."""
        ...

    def release(self, session: Session) -> None:
        """``session`` hears what is said in its room; again, or when it is in none, is harmless."""
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

    def ledger(self, conversation_id: str) -> Ledger:
        """What became of the room's messages; nothing while nobody is there."""
        ...
