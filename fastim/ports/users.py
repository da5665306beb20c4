"""Users: the application's own, whoever keeps them."""

from typing import Any, Protocol

from msgspec import Struct


class UserIdentity(Struct, frozen=True):
    """A user who is logged in.

    Attributes:
        id: The user's ``objectId``, which is its client id.
        fields: Everything that is known of it, as JSON values.
    """

    id: str
    fields: dict[str, Any]


class Users(Protocol):
    async def verify(self, session_token: str) -> UserIdentity | None:
        """Whose session token it is; ``None`` when it is nobody's.

        Raises:
            Unavailable: There was no telling.
        """
        ...

    async def close(self) -> None:
        """Ask nobody any more."""
        ...
