"""Replies: what a use case answers; the wire turns each into its command."""

from msgspec import Struct

from fastim.core.errors import Refusal
from fastim.core.message import Message
from fastim.core.units import Millis


class Reply(Struct, frozen=True):
    """What all replies have in common: nothing but being one."""


class Opened(Reply, frozen=True):
    """The session is open."""

    client_id: str
    token: str
    token_ttl_seconds: int
    server_time: Millis


class Refreshed(Reply, frozen=True):
    token: str
    token_ttl_seconds: int


class Closed(Reply, frozen=True):
    """The session has ended as the client asked."""


class OnlineClients(Reply, frozen=True):
    client_ids: tuple[str, ...]


class Started(Reply, frozen=True):
    """A conversation was created, or the one that exists was found."""

    conversation_id: str
    created_at: Millis
    existing: bool = False
    unique_key: str | None = None


class PartialFailure(Struct, frozen=True):
    """Clients for whom a member operation was refused, and why."""

    client_ids: tuple[str, ...]
    refusal: Refusal


class MembersChanged(Reply, frozen=True):
    """Members were added or removed.

    Attributes:
        added: ``False``: removed.
        allowed: Those for whom it was done, or was so already.
    """

    added: bool
    allowed: tuple[str, ...]
    updated_at: Millis
    failed: tuple[PartialFailure, ...] = ()


class Found(Reply, frozen=True):
    """Conversations, as JSON array text."""

    results: bytes


class Updated(Reply, frozen=True):
    """Attributes were changed; both are JSON object text."""

    conversation_id: str
    updated_at: Millis
    asked: bytes
    modified: bytes


class Muted(Reply, frozen=True):
    conversation_id: str
    updated_at: Millis


class Counted(Reply, frozen=True):
    count: int


class Memberships(Reply, frozen=True):
    """Whether the asker belongs to each conversation, as JSON object text."""

    results: bytes


class Acked(Reply, frozen=True):
    """The message is stored, or was before with the same token."""

    message_id: str
    timestamp: Millis


class History(Reply, frozen=True):
    """Messages in ascending order."""

    conversation_id: str
    kind: int
    messages: tuple[Message, ...]


class Echoed(Reply, frozen=True):
    pass


class LoggedIn(Reply, frozen=True):
    installation_id: str
    service: int | None


class DeviceReported(Reply, frozen=True):
    pass
