"""Conversations: what they are, who belongs to them, and how they change."""

from enum import IntEnum
from typing import Any

from msgspec import Struct

from fastim.core.units import Millis


class Kind(IntEnum):
    """The four types of conversation, numbered as on the wire."""

    NORMAL = 1
    CHAT_ROOM = 2
    SYSTEM = 3
    TEMPORARY = 4


class Conversation(Struct, frozen=True):
    """A conversation as stored; its messages and its members' read positions are kept apart from it.

    Attributes:
        creator: Client id, or empty when no client made it.
        columns: Top-level JSON columns that clients may write: ``name``, ``attr`` and any of their own.
        members: In the order they joined; always empty for a chat room, whose occupants come and go, and for a service
            conversation, whose subscribers may be millions.
        muted: Members who want no offline push from it.
        unique_key: Names the member set of a unique conversation, or ``None``.
        ttl_seconds: How long a temporary conversation was to live; 0 for all others, which live on.
        regulated: Whether anybody was ever given a standing in it: only then is one looked for.
        roles_given: Whether anybody was ever given a role in it: only then do ranks count among its members.
    """

    id: str
    kind: Kind
    creator: str
    created_at: Millis
    updated_at: Millis
    members: tuple[str, ...] = ()
    muted: tuple[str, ...] = ()
    columns: dict[str, Any] = {}
    unique_key: str | None = None
    ttl_seconds: int = 0
    regulated: bool = False
    roles_given: bool = False

    @property
    def expires_at(self) -> Millis | None:
        """When a temporary conversation ends; ``None`` for what does not."""
        return Millis(self.created_at + 1000 * self.ttl_seconds) if self.ttl_seconds else None

    def expired(self, now: Millis) -> bool:
        """Whether it has ended: for everyone it is one that does not exist."""
        return self.ttl_seconds > 0 and self.created_at + 1000 * self.ttl_seconds <= now

    def has_member(self, client_id: str) -> bool:
        return client_id in self.members


def changed_at(conversation: Conversation, now: Millis) -> Millis:
    """When a change made ``now`` counts as made: never before the last one.

    SDKs throw events away whose time is older than what they hold. Source: wire protocol, pushes.
    """
    return now if now > conversation.updated_at else Millis(conversation.updated_at + 1)
