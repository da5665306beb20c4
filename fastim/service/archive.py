"""The archive: messages of all conversations together, for the application's own servers.

There is no index by time or by sender: every message would pay for it, and these questions are rare. So each is
answered from the conversations one after the other, one question at a time, while everything else goes on.
"""

from collections.abc import Collection
from contextlib import aclosing

from msgspec import Struct
from msgspec.structs import replace

from fastim.core.conversation import Conversation, Kind
from fastim.core.message import Message, Span
from fastim.service.io import Io

_LANE = ("archive",)


class Kept(Struct, frozen=True):
    """A message and where it was said."""

    conversation: Conversation
    message: Message


async def search_archive(
    io: Io, span: Span, sender: str | None = None, kinds: Collection[Kind] = frozenset(Kind)
) -> list[Kept]:
    """At most ``span.limit`` messages, ascending; of a service conversation what it said to all its subscribers.

    Args:
        sender: Only messages by this client; ``None``: by anybody.
        kinds: Only messages of conversations of these types.
    """
    wanted = None if sender is None else lambda message: message.sender == sender
    best: list[Kept] = []
    async with io.lanes.hold(_LANE), aclosing(io.store.scan_conversations()) as conversations:
        async for conversation in conversations:
            await io.pace.breathe()
            if conversation.kind not in kinds or conversation.expired(io.clock.now()):
                continue
            head = await io.store.find_head(conversation.id)
            narrowed = _narrowed(span, best)
            if not head.sequence or (narrowed.after is not None and head.position < narrowed.after):
                continue
            found = await io.store.history(conversation.id, narrowed, wanted)
            best = _best(best + [Kept(conversation, message) for message in found], span)
    return best


def _narrowed(span: Span, best: list[Kept]) -> Span:
    """``span`` without what could not be among the best any more."""
    if len(best) < span.limit or not best:
        return span
    if span.newest_first:
        return replace(span, after=best[0].message.position, after_included=False)
    return replace(span, before=best[-1].message.position, before_included=False)


def _best(found: list[Kept], span: Span) -> list[Kept]:
    found.sort(key=lambda kept: kept.message.position)
    if len(found) <= span.limit:
        return found
    return found[-span.limit :] if span.newest_first else found[: span.limit]
