"""The values that calls take and return."""

from enum import IntEnum
from typing import Any

import msgspec
from msgspec import Struct

from fastim.client.bodies import type_of
from fastim.client.errors import Refused
from fastim.core.conversation import Kind
from fastim.core.message import Position
from fastim.core.units import Millis


class Priority(IntEnum):
    """What a chat room drops last and first for readers that lag; elsewhere nothing is ever dropped."""

    HIGH = 1
    NORMAL = 2
    LOW = 3


class Message(Struct, frozen=True):
    """A message as the server keeps it.

    Attributes:
        raw: The body's bytes: of UTF-8 text, unless ``binary``.
        transient: It was not stored: it is in no history, and counts for nothing.
        receipt: Whether a receipt was asked for; known to the sender only.
        patched_at: When it was last modified or recalled; ``None`` if it is as it was sent.
        recalled: Its sender took it back; the body only says so.
        delivered_at: When the one other member of the conversation got it, as far as the history that it comes from
            knows; else ``None``.
        read_at: When the one other member had read it, likewise.
    """

    id: str
    conversation_id: str
    sender: str
    timestamp: Millis
    raw: bytes
    binary: bool = False
    mentions: tuple[str, ...] = ()
    mention_all: bool = False
    transient: bool = False
    receipt: bool = False
    patched_at: Millis | None = None
    recalled: bool = False
    delivered_at: Millis | None = None
    read_at: Millis | None = None

    @property
    def body(self) -> str | bytes:
        """``raw`` when binary, ``text`` otherwise."""
        return self.raw if self.binary else self.text

    @property
    def text(self) -> str:
        """The body as text; what is not UTF-8 is replaced."""
        return self.raw.decode(errors="replace")

    @property
    def type(self) -> int | None:
        """The ``_lctype`` of a JSON body, ``None`` for any other; see ``MessageTypes``."""
        return None if self.binary else type_of(self.raw)

    @property
    def position(self) -> Position:
        """Where it stands in its conversation, for history and read marks."""
        return Position(self.timestamp, self.id)

    def json(self) -> Any:
        """The body parsed as JSON.

        Raises:
            ValueError: It is not JSON.
        """
        return msgspec.json.decode(self.raw)


Place = Message | Position | int
"""A place in a conversation: a message, a position, or a time in milliseconds since the epoch."""


class ConversationInfo(Struct, frozen=True):
    """A conversation as a query found it.

    Attributes:
        name: Empty when it has none.
        attributes: The column ``attr``.
        creator: Client id, empty when no client made it.
        members: Empty after a compact query, and in chat rooms and service conversations.
        muted_by: Members who want no offline push from it.
        last_message_at: ``None`` before the first message.
        last_message: ``None`` unless the query asked for it and there is one.
        unique_id: Names the member set of a unique conversation, else empty.
        columns: Everything that the server sent, as it came: custom columns are found here.
        ttl_seconds: How long a temporary conversation lives in all; ``None`` for others.
        subscribed: Whether this client belongs to a service conversation; ``None`` for others.
    """

    id: str
    name: str
    attributes: dict[str, Any]
    creator: str
    members: tuple[str, ...]
    muted_by: tuple[str, ...]
    created_at: Millis
    updated_at: Millis
    last_message_at: Millis | None
    last_message: Message | None
    unique_id: str
    columns: dict[str, Any]
    kind: Kind = Kind.NORMAL
    ttl_seconds: int | None = None
    subscribed: bool | None = None

    @property
    def expires_at(self) -> Millis | None:
        """When a temporary conversation ends; ``None`` for others."""
        return None if self.ttl_seconds is None else Millis(self.created_at + 1000 * self.ttl_seconds)


class MemberChanges(Struct, frozen=True):
    """What came of adding, removing, silencing or blocking clients.

    Attributes:
        allowed: Those for whom it is so now, changed or not.
        failed: Why not, for each of the others.
    """

    allowed: tuple[str, ...]
    failed: dict[str, Refused]


class ReceiptTimes(Struct, frozen=True):
    """How far a member has got.

    Attributes:
        delivered_at: Every message until then has been delivered to it; ``None``: none has.
        read_at: It has read every message until then; ``None``: none.
    """

    delivered_at: Millis | None
    read_at: Millis | None


class Timing(Struct, frozen=True):
    """How long a client waits for what, in seconds.

    Attributes:
        heartbeat_seconds: Between two signs of life; the server gives a silent client up after some six minutes.
        reply_seconds: For a reply, and for a connection to be made. After that the connection counts as dead.
        retry_seconds: Upper bound of the random pause before the first attempt to reconnect; it doubles with each
            attempt that fails, and with each connection that lasts less than ``retry_seconds_max``.
        retry_seconds_max: Upper bound of that pause.
        close_seconds: For the server's answer when the client says goodbye.
    """

    heartbeat_seconds: float = 180.0
    reply_seconds: float = 20.0
    retry_seconds: float = 0.5
    retry_seconds_max: float = 30.0
    close_seconds: float = 5.0


def position(place: Place) -> Position:
    """``place`` as a position."""
    if isinstance(place, Message):
        return place.position
    if isinstance(place, Position):
        return place
    return Position(Millis(place))
