"""Ingress: how much a chat room takes."""

from collections.abc import Mapping
from typing import Literal, Protocol

Reason = Literal["rate", "governor"]
"""Why a message is refused: the room takes so much and no more, or the server is too busy for it."""


class Ingress(Protocol):
    def admit(self, conversation_id: str, priority: int) -> None:
        """Let a message into a chat room.

        One that came before counts like any other: whether it did is only known once it is stored.

        Args:
            priority: 1 high, 2 normal, 3 low.

        Raises:
            SendQuotaExceeded: It takes no more of that priority now; the message is not to be stored or delivered.
        """
        ...

    def refused(self, conversation_id: str) -> Mapping[Reason, tuple[int, int, int]]:
        """How many messages of high, normal and low priority the room has refused, by why."""
        ...
