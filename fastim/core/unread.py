"""Unread counts, derived from positions: a message costs the same however many members have not read it."""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from fastim.core.commands import ReadMark
from fastim.core.message import Message, Position
from fastim.core.units import Millis


class MentionAll(Struct, frozen=True, array_like=True):
    """A message that mentioned everybody."""

    sequence: int
    sender: str


class Head(Struct, frozen=True, array_like=True):
    """Where a conversation's messages have got to.

    Attributes:
        sequence: Of its last message, 0 when it has none.
        timestamp: Of its last message, 0 when it has none.
        last_id: Its last message's id, or empty.
        mention_all: The last message that mentioned everybody, and the last such one by another sender: nobody is
            mentioned by their own message, and two senders are enough to know.
        first: Sequence of the oldest message that is kept; older ones were retired.
        receipt: Sequence of the last message whose sender asked for receipts, or 0.
    """

    sequence: int = 0
    timestamp: Millis = Millis(0)
    last_id: str = ""
    mention_all: tuple[MentionAll, ...] = ()
    first: int = 1
    receipt: int = 0

    @property
    def position(self) -> Position:
        return Position(self.timestamp, self.last_id)


class Membership(Struct, frozen=True, array_like=True):
    """What is kept of one member in one conversation.

    Attributes:
        joined_at: When the client became a member.
        sent: Messages it has sent since.
        read: Sequence up to which it has read everything.
        sent_at_read: ``sent`` as it was at ``read``.
        read_at: When it last moved ``read``; 0 if it never did.
        mentioned: Sequence of the last message by another that mentions it by name, or 0.
        delivered: Sequence up to which its devices have acknowledged everything; told from ``read`` because one may
            be behind the other.
        delivered_at: When ``delivered`` last moved; 0 if it never did.
    """

    joined_at: Millis
    sent: int = 0
    read: int = 0
    sent_at_read: int = 0
    read_at: Millis = Millis(0)
    mentioned: int = 0
    delivered: int = 0
    delivered_at: Millis = Millis(0)


class Unread(Struct, frozen=True):
    """What a member has not read.

    Attributes:
        count: Messages by others, uncapped.
        mentioned: Whether one of them mentions the member.
    """

    count: int
    mentioned: bool


def unread(head: Head, membership: Membership, client_id: str) -> Unread:
    """What ``client_id`` has not read: messages after its position by others. Source: semantics, rules 7.2 to 7.4."""
    read = max(membership.read, head.first - 1)  # what was retired is not there to be read
    count = (head.sequence - read) - (membership.sent - membership.sent_at_read)
    mentioned = membership.mentioned > read or any(
        entry.sequence > read for entry in head.mention_all if entry.sender != client_id
    )
    return Unread(max(count, 0), count > 0 and mentioned)


def all_read(membership: Membership, head: Head, now: Millis) -> Membership:
    """The membership once its client has read all that there is; one that has stays as it is."""
    if membership.read >= head.sequence:
        return membership
    read = replace(membership, read=head.sequence, sent_at_read=membership.sent, read_at=now)
    return read if read.delivered >= read.read else replace(read, delivered=read.read, delivered_at=now)


def total(parts: Iterable[Unread]) -> Unread:
    """What is unread in several logs together."""
    every = list(parts)
    return Unread(sum(one.count for one in every), any(one.mentioned for one in every))


def advance(head: Head, message: Message) -> Head:
    """The head once ``message`` is its last."""
    mention_all = head.mention_all
    if message.mention_all:
        others = tuple(entry for entry in mention_all if entry.sender != message.sender)
        mention_all = (MentionAll(message.sequence, message.sender), *others[:1])
    receipt = message.sequence if message.receipt else head.receipt
    return Head(message.sequence, message.timestamp, message.id, mention_all, head.first, receipt)


def changed_since(head: Head, membership: Membership, moment: Millis) -> bool:
    """Whether the member's count may differ from what it was at ``moment``."""
    return head.timestamp > moment or membership.read_at > moment


OVERLAP = Millis(60_000)
"""How far before ``lastUnreadNotifTime`` to look: a message may be committed a moment after its timestamp."""


def unread_since(told: Millis, now: Millis) -> Millis:
    """From when on changes count for a client that was last told at ``told``.

    A moment in the future means that the clock has stepped back since, so that nothing can be left out.
    """
    return Millis(0) if told > now else Millis(max(told - OVERLAP, 0))


def furthest(marks: Iterable[ReadMark]) -> list[ReadMark]:
    """``marks`` with one for each conversation: the one that reaches furthest."""
    kept: dict[str, ReadMark] = {}
    for mark in marks:
        other = kept.get(mark.conversation_id)
        if other is None or mark.upto is None or (other.upto is not None and mark.upto > other.upto):
            kept[mark.conversation_id] = mark
    return list(kept.values())
