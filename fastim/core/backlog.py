"""Backlogs: what a session that wants missed messages themselves is pushed, batch by batch.

It belongs to a session and not to its client: one device may acknowledge what another has yet to be sent. And what
comes in meanwhile is delivered at once, so acknowledging that must not pass for having received what came before it.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from fastim.core.message import Message, Position
from fastim.core.policy import QUEUED_BATCH
from fastim.core.units import Millis


class Backlog(Struct, frozen=True):
    """Of one log, for one session: a batch that was sent, and what follows it.

    Attributes:
        batch_end: The last message of the batch that was sent.
        sequence: Its sequence.
        until: Sequence of the log's last message when the session opened: what is later is delivered by itself.
        acknowledged: The furthest of those later ones that the session has acknowledged, or ``None``.
    """

    batch_end: Position
    sequence: int
    until: int
    acknowledged: Position | None = None


class Step(Struct, frozen=True):
    """What an acknowledgement means to a backlog.

    Attributes:
        backlog: As it is now.
        counted: Up to where everything was received, or ``None`` for no further than before.
        batch_done: The batch that was sent is acknowledged.
    """

    backlog: Backlog
    counted: Position | None
    batch_done: bool


def acknowledged(backlog: Backlog, upto: Position, since: Millis | None, *, alone: bool) -> Step:
    """The session has acknowledged the message at ``upto``.

    Timestamps are enough to compare by: they strictly increase in a log.

    Args:
        since: Where a range of messages begins that were acknowledged together, or ``None``.
        alone: That one message and no other: else everything before it, too, as far as ``since`` does not say.
    """
    end = backlog.batch_end
    if upto.timestamp < end.timestamp:
        return Step(backlog, upto, batch_done=False)
    if upto.timestamp == end.timestamp:
        return Step(backlog, end, batch_done=True)
    before = backlog.acknowledged
    later = upto if before is None or upto > before else before
    batch_done = not alone and (since is None or since <= end.timestamp)
    return Step(replace(backlog, acknowledged=later), end if batch_done else None, batch_done)


def batch(messages: Sequence[Message], client_id: str) -> tuple[Sequence[Message], bool]:
    """The next batch for ``client_id`` of what was missed, and whether more follows; nobody misses their own messages.

    Args:
        messages: What is left, ascending.
    """
    missed = [message for message in messages if message.sender != client_id]
    return missed[:QUEUED_BATCH], len(missed) > QUEUED_BATCH
