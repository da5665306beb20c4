"""What REST calls take and answer, in the spelling of LeanCloud's. Source: REST reference."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct

from fastim.core.conversation import Conversation, Kind
from fastim.core.ids import CLIENT_ID_MAX_CHARACTERS
from fastim.core.message import Message, Position
from fastim.core.policy import HISTORY_LIMIT_MAX, ONLINE_QUERY_MAX, SILENCE_TTL_MAX_SECONDS
from fastim.core.replies import PartialFailure
from fastim.core.units import Millis

ClientId = Annotated[str, Meta(min_length=1, max_length=CLIENT_ID_MAX_CHARACTERS)]
Moment = Annotated[int, Meta(ge=0, le=9_007_199_254_740_991, description="Milliseconds since the epoch.")]
Mentions = Annotated[list[ClientId], Meta(max_length=20)]
LIMIT_DEFAULT = 100


class ClientIds(Struct, frozen=True):
    """Clients that something is done to."""

    client_ids: Annotated[list[ClientId], Meta(min_length=1, max_length=500)]


class FewClientIds(Struct, frozen=True):
    """Clients that are asked about."""

    client_ids: Annotated[list[ClientId], Meta(max_length=ONLINE_QUERY_MAX)]


class OneClient(Struct, frozen=True):
    """The client that something is done to."""

    client_id: ClientId


class Created(Struct, frozen=True):
    """What was created."""

    objectId: str
    createdAt: str


class Failure(Struct, frozen=True):
    """Clients for whom a part of it could not be done, and why."""

    client_ids: list[str]
    code: int
    reason: str


class Saved(Struct, frozen=True, omit_defaults=True):
    """What was changed; ``failed`` is there when it was not done for everybody."""

    updatedAt: str
    objectId: str
    failed: list[Failure] = []


class Done(Struct, frozen=True, omit_defaults=True):
    """It was done; ``failed`` is there when it was not done for everybody."""

    failed: list[Failure] = []


def failures(allowed: Sequence[str], failed: Sequence[PartialFailure]) -> list[Failure]:
    """What of a request was refused.

    Raises:
        Refusal: All of it.
    """
    if failed and not allowed:
        raise failed[0].refusal
    return [Failure(list(one.client_ids), one.refusal.code, one.refusal.reason) for one in failed]


class Sent(Struct, frozen=True, rename={"message_id": "msg-id"}):
    """The message as it was stored."""

    message_id: str
    timestamp: int


class ClientList(Struct, frozen=True):
    """Client ids."""

    result: list[str]


class Number(Struct, frozen=True):
    """A number of clients."""

    result: int


class Count(Struct, frozen=True):
    """How many."""

    count: int


class Subscriber(Struct, frozen=True):
    """Who subscribes to which service conversation, and since when."""

    timestamp: int
    subscriber: str
    conv_id: str


class ClientPage(Struct, frozen=True, omit_defaults=True):
    """A part of a list; ``next`` is where the next part begins, absent after the last one."""

    client_ids: list[str]
    next: str | None = None


class PageQuery(Struct, frozen=True):
    """Which part of a list."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 10
    next: str = ""


class ConversationQuery(Struct, frozen=True):
    """Which conversations.

    Attributes:
        where: A condition as JSON, in the same language as the SDKs'.
        order: Keys with commas between them, ``-`` before one for descending; else the last spoken in comes first.
    """

    where: str | None = None
    order: str | None = None
    skip: Annotated[int, Meta(ge=0, le=10_000)] = 0
    limit: Annotated[int, Meta(ge=0, le=1000)] = LIMIT_DEFAULT


class Results(Struct, frozen=True):
    """Conversations, each with its columns."""

    results: list[dict[str, Any]]


class Silence(Struct, frozen=True):
    """Whom to silence, and for how many seconds."""

    client_id: ClientId
    ttl: Annotated[int, Meta(ge=1, le=SILENCE_TTL_MAX_SECONDS)]


class HistoryQuery(Struct, frozen=True):
    """Which stretch of a history. Source: REST reference, history query parameters.

    Attributes:
        timestamp: Where to begin; else now, or with ``reversed`` at the oldest message.
        msgid: With ``timestamp``: the message there.
        till_timestamp: Where to stop; else at the other end.
        till_msgid: With ``till_timestamp``: the message there.
        include_start: The message at the beginning, too.
        include_stop: The message at the end, too.
        reversed: Oldest first.
        signature: Of a client that may read it, with ``client_id``, ``nonce`` and ``signature_ts``; it is not looked
            at where the master key is wanted anyway.
    """

    timestamp: Moment | None = None
    msgid: str = ""
    till_timestamp: Moment | None = None
    till_msgid: str = ""
    include_start: bool = False
    include_stop: bool = False
    reversed: bool = False
    limit: Annotated[int, Meta(ge=0, le=HISTORY_LIMIT_MAX)] = LIMIT_DEFAULT
    client_id: str = ""
    nonce: str = ""
    signature_ts: int | None = None
    signature: str = ""

    @property
    def start(self) -> Position | None:
        """Where to begin; ``None`` for the end that is begun from."""
        return None if self.timestamp is None else Position(Millis(self.timestamp), self.msgid)

    @property
    def stop(self) -> Position | None:
        """Where to stop; ``None`` for the other end."""
        return None if not self.till_timestamp else Position(Millis(self.till_timestamp), self.till_msgid)


_HYPHENATED = {
    "conversation_id": "conv-id",
    "sender": "from",
    "message_id": "msg-id",
    "is_conversation": "is-conv",
    "is_room": "is-room",
    "address": "from-ip",
    "ack_at": "ack-at",
    "patched_at": "patch-timestamp",
}


class Logged(Struct, frozen=True, rename=_HYPHENATED, omit_defaults=True):
    """A message of a history."""

    timestamp: int
    conversation_id: str
    data: str
    sender: str
    message_id: str
    is_conversation: bool
    is_room: bool
    to: str
    bin: bool
    address: str
    ack_at: int | None = None
    patched_at: int | None = None


def logged(conversation: Conversation, message: Message, ack_at: Millis = Millis(0)) -> Logged:
    """``message`` as REST shows it."""
    body = b64encode(message.body) if message.binary else message.body
    return Logged(
        timestamp=message.timestamp,
        conversation_id=conversation.id,
        data=body.decode(errors="replace"),
        sender=message.sender,
        message_id=message.id,
        is_conversation=True,
        is_room=conversation.kind is Kind.CHAT_ROOM,
        to=conversation.id,
        bin=message.binary,
        address=message.address,
        ack_at=ack_at or None,
        patched_at=message.patched_at or None,
    )
