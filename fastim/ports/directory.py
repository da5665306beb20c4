"""The directory: who is connected."""

from collections.abc import Iterable
from typing import Protocol

from fastim.core.session import Session


class Directory(Protocol):
    def online(self, client_ids: Iterable[str]) -> list[str]:
        """Those of ``client_ids`` that have an open session, in the order given."""
        ...

    def sessions(self, client_id: str) -> list[Session]:
        """The open sessions of a client, oldest first."""
        ...

    async def ready(self, session: Session) -> bool:
        """Wait until ``session`` can take more than it was sent, or has ended; whether it is open.

        For who tells one session so much that it would not all fit at once.
        """
        ...

    def clients(self) -> list[str]:
        """Every client that has an open session."""
        ...

    def watch(self, session: Session, client_ids: Iterable[str]) -> None:
        """Tell ``session`` from now on when these clients come and go.

        Raises:
            QueryFailed: Together with those it watches already they are more than it may watch; nothing changed.
        """
        ...

    def unwatch(self, session: Session, client_ids: Iterable[str]) -> None:
        """Tell it no longer."""
        ...

    def enter(self, session: Session) -> None:
        """``session`` is open from now on: events reach it."""
        ...

    def leave(self, session: Session) -> None:
        """``session`` has ended; again is harmless."""
        ...
