"""Replies: what a use case answers; the wire turns each into its command."""

from msgspec import Struct

from fastim.core.errors import Refusal
from fastim.core.message import Message
from fastim.core.notice import Notice
from fastim.core.standing import Role
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
    ttl_seconds: int = 0


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
    """Messages in ascending order.

    Attributes:
        receipt: How far the other one of two members has got; ``None`` in other conversations.
    """

    conversation_id: str
    kind: int
    messages: tuple[Message, ...]
    receipt: "MemberReceipt | None" = None


class Patched(Reply, frozen=True):
    """The message was modified or recalled at that moment."""

    at: Millis


class MemberReceipt(Struct, frozen=True):
    """How far a member has received and read: every message up to these moments; 0 for none."""

    client_id: str
    delivered_at: Millis
    read_at: Millis


class Receipts(Reply, frozen=True):
    """How far the other member has got."""

    conversation_id: str
    delivered_at: Millis
    read_at: Millis


class MemberReceipts(Reply, frozen=True):
    """How far each other member has got."""

    conversation_id: str
    members: tuple[MemberReceipt, ...]


class Occupants(Reply, frozen=True):
    """Some of those in a chat room."""

    client_ids: tuple[str, ...]


class RoleSet(Reply, frozen=True):
    conversation_id: str


class RoleRecord(Struct, frozen=True):
    """A role that was given.

    Attributes:
        id: The record's own id, 24 hex digits.
    """

    id: str
    client_id: str
    role: Role


class Roles(Reply, frozen=True):
    """Every role that was given in a conversation."""

    conversation_id: str
    records: tuple[RoleRecord, ...]


class SilenceChanged(Reply, frozen=True):
    """Clients were silenced, or may speak again.

    Attributes:
        allowed: Those for whom it was done, or was so already.
    """

    silenced: bool
    allowed: tuple[str, ...]
    failed: tuple[PartialFailure, ...] = ()


class BlocksChanged(Reply, frozen=True):
    """Clients were blocked, or may come back; ``allowed`` as in ``SilenceChanged``."""

    conversation_id: str
    blocked: bool
    allowed: tuple[str, ...]
    failed: tuple[PartialFailure, ...] = ()


class SilencedPage(Reply, frozen=True):
    """A part of those silenced; ``cursor`` is where the next part begins, empty after the last one."""

    client_ids: tuple[str, ...]
    cursor: str = ""


class BlockedPage(Reply, frozen=True):
    """A part of those blocked; ``cursor`` as in ``SilencedPage``."""

    conversation_id: str
    client_ids: tuple[str, ...]
    cursor: str = ""


class SilencedAmong(Reply, frozen=True):
    """Those of the clients asked about that are silenced."""

    client_ids: tuple[str, ...]


class BlockedAmong(Reply, frozen=True):
    """Those of the clients asked about that are blocked."""

    conversation_id: str
    client_ids: tuple[str, ...]


class RefusalsChanged(Reply, frozen=True):
    """The asker refuses these conversations, or does so no longer."""

    refused: bool
    conversation_ids: tuple[str, ...]


class RefusedPage(Reply, frozen=True):
    """A part of the conversations refused; ``cursor`` as in ``SilencedPage``."""

    conversation_ids: tuple[str, ...]
    cursor: str = ""


class RefusedAmong(Reply, frozen=True):
    """Those of the conversations asked about that the asker refuses."""

    conversation_ids: tuple[str, ...]


class Notices(Reply, frozen=True):
    """What happened, oldest first.

    Attributes:
        more: There is more after the last of these.
    """

    notices: tuple[Notice, ...]
    more: bool


class Watching(Reply, frozen=True):
    """The session is told from now on when these clients come and go; ``online`` are those that are there now."""

    online: tuple[str, ...]


class Unwatched(Reply, frozen=True):
    pass


class Echoed(Reply, frozen=True):
    pass


class LoggedIn(Reply, frozen=True):
    installation_id: str
    service: int | None


class DeviceReported(Reply, frozen=True):
    pass
