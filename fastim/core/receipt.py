"""Receipts: which messages a member of their conversation has received or read, and until when nothing is missing."""

from collections.abc import Iterable, Sequence

from fastim.core.message import Message
from fastim.core.policy import RECEIPTS_AT_ONCE_MAX
from fastim.core.units import Millis
from fastim.core.unread import Head

WINDOW = 20
"""How many messages after a position are looked at to tell until when nothing is missing."""


def looked_at(before: int, after: int) -> tuple[int, int]:
    """Of the messages after sequence ``before`` up to ``after``: where to begin to look, and at how many."""
    begin = max(before, after - RECEIPTS_AT_ONCE_MAX) + 1
    return begin, after - begin + 1


def asked(messages: Iterable[Message], client_id: str, since: Millis = Millis(0)) -> dict[str, list[str]]:
    """The ids of those of ``messages`` whose senders want to know that ``client_id`` has them, by sender.

    Nobody is told of having received their own. Source: semantics, rules 6.1 and 6.3a.

    Args:
        since: Earlier ones are left out.
    """
    ids: dict[str, list[str]] = {}
    for message in messages:
        if message.receipt and message.sender not in ("", client_id) and message.timestamp >= since:
            ids.setdefault(message.sender, []).append(message.id)
    return ids


def begin_of_window(reached: int, head: Head) -> int:
    """The sequence from which on ``WINDOW`` messages show until when nothing is missing."""
    return max(reached, head.first)


def nothing_missing_until(client_id: str, reached: int, at: Millis, head: Head, window: Sequence[Message]) -> Millis:
    """The moment up to which ``client_id`` has everything that was said.

    That is the moment when it said so, unless others had said something by then that it did not have yet: then it is
    the last message that it had, so that nothing later looks as if it had arrived. SDKs take everything before that
    moment for delivered, or read. Source: semantics, rule 6.3.

    Args:
        reached: Sequence up to which it has everything; its own messages are never missing.
        at: When it last said so; 0 if it never did, then so is the answer.
        window: The ``WINDOW`` messages from ``begin_of_window`` on, as far as they are there; not needed when it has
            everything.
    """
    if not at:
        return Millis(0)
    if reached >= head.sequence:
        return max(at, head.timestamp)
    last = Millis(0)
    for message in window:
        if message.sequence > reached:
            if message.timestamp > at:
                return max(at, last)
            if message.sender != client_id:
                return last or Millis(message.timestamp - 1)
        last = message.timestamp
    complete = begin_of_window(reached, head) + WINDOW > head.sequence
    return max(at, last) if complete else last
