"""Messages: what a client sends, what is stored, and where in a conversation it stands."""

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from fastim.core.units import Millis


class Position(Struct, frozen=True, array_like=True, order=True):
    """A place in a conversation: messages are ordered by timestamp, then id.

    ``message_id`` may be empty: then it stands before every message of that millisecond.
    """

    timestamp: Millis
    message_id: str = ""


class Draft(Struct, frozen=True):
    """A message that was admitted and waits to be given its place.

    Attributes:
        body: UTF-8 text when not ``binary``; the server takes it as bytes and does not check.
        token: The client's ``dt``: the same token from the same sender in the same conversation is the same message.
        mentions: Client ids mentioned by name.
        address: The IP address that it came from, or empty.
        id: The id that it is to have, or empty: then one is made.
    """

    sender: str
    body: bytes
    binary: bool = False
    token: str = ""
    receipt: bool = False
    mention_all: bool = False
    mentions: tuple[str, ...] = ()
    address: str = ""
    id: str = ""


class Message(Struct, frozen=True, array_like=True):
    """A message as stored and delivered.

    Attributes:
        sequence: 1 for the conversation's first message, one more for each that follows; 0 for one that is not stored.
        receipt: Whether the sender asked for receipts.
        address: The IP address that it came from, or empty.
        patched_at: When it was last modified or recalled; 0 if it never was.
        recalled: Its sender took it back; the body says so.
        deleted: Only its place is left; it is in no answer.
    """

    id: str
    timestamp: Millis
    sequence: int
    sender: str
    body: bytes
    binary: bool = False
    receipt: bool = False
    mention_all: bool = False
    mentions: tuple[str, ...] = ()
    address: str = ""
    patched_at: Millis = Millis(0)
    recalled: bool = False
    deleted: bool = False

    @property
    def position(self) -> Position:
        return Position(self.timestamp, self.id)


class Span(Struct, frozen=True):
    """A stretch of a conversation's history, open at both ends where ``None``.

    Attributes:
        after: Its older end.
        before: Its newer end.
        newest_first: Which end ``limit`` counts from; what is returned always ascends.
    """

    after: Position | None = None
    before: Position | None = None
    after_included: bool = False
    before_included: bool = False
    newest_first: bool = True
    limit: int = 20


def place(draft: Draft, message_id: str, timestamp: Millis, sequence: int) -> Message:
    """``draft`` as the message that stands at that place; ``message_id`` is for one that does not say its own."""
    return Message(
        id=draft.id or message_id,
        timestamp=timestamp,
        sequence=sequence,
        sender=draft.sender,
        body=draft.body,
        binary=draft.binary,
        receipt=draft.receipt,
        mention_all=draft.mention_all,
        mentions=draft.mentions,
        address=draft.address,
    )


def next_timestamp(last: Millis, now: Millis) -> Millis:
    """The timestamp of a conversation's next message: later than ``last`` even when the clock has stepped back."""
    return now if now > last else Millis(last + 1)


def pieces(messages: Sequence[Message], size_bytes: int) -> Iterator[tuple[Message, ...]]:
    """``messages`` in stretches whose bodies together are smaller than that, or of a single one that is not."""
    begin = end = taken_bytes = 0
    while end < len(messages):
        taken_bytes += len(messages[end].body)
        if taken_bytes >= size_bytes and end > begin:
            yield tuple(messages[begin:end])
            begin, taken_bytes = end, len(messages[end].body)
        end += 1
    if begin < end:
        yield tuple(messages[begin:])


def type_of(message: Message) -> int | None:
    """The body's ``_lctype``, or ``None`` when it is binary, not a JSON object, nested without end, or has none."""
    if message.binary:
        return None
    try:
        return _typed.decode(message.body).type
    except (msgspec.DecodeError, RecursionError):
        return None


class _Typed(Struct):
    type: int | None = msgspec.field(default=None, name="_lctype")


_typed: msgspec.json.Decoder[_Typed] = msgspec.json.Decoder(_Typed)
