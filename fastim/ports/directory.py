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

    def enter(self, session: Session) -> None:
        """``session`` is open from now on: events reach it."""
        ...

    def leave(self, session: Session) -> None:
        """``session`` has ended; again is harmless."""
        ...
