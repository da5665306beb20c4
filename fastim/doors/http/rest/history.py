"""Histories as REST tells them. Source: REST reference, history query parameters."""

from collections.abc import Sequence

from fastim.core import history
from fastim.core.commands import ReadHistory
from fastim.core.conversation import Conversation, Kind
from fastim.core.message import Message, Span
from fastim.core.session import office
from fastim.core.units import Millis
from fastim.doors.http.rest.values import HistoryQuery, Logged, logged
from fastim.service.archive import Kept
from fastim.service.io import Io
from fastim.service.messages import read_history
from fastim.service.receipts import member_receipt


async def tell_history(io: Io, conversation: Conversation, query: HistoryQuery) -> list[Logged]:
    """What was said in a conversation."""
    found = await read_history(io, office(), _command(conversation.id, query))
    return await tell(io, conversation, found.messages, query)


async def tell(io: Io, conversation: Conversation, messages: Sequence[Message], query: HistoryQuery) -> list[Logged]:
    """Ascending ``messages`` of one conversation in the order that was asked for."""
    reached = await _reached(io, conversation)
    items = [logged(conversation, message, _acked_at(message, reached)) for message in messages]
    return items if query.reversed else items[::-1]


def tell_kept(kept: Sequence[Kept], query: HistoryQuery) -> list[Logged]:
    """Ascending messages of many conversations in the order that was asked for."""
    items = [logged(one.conversation, one.message) for one in kept]
    return items if query.reversed else items[::-1]


def span_of(query: HistoryQuery) -> Span:
    """The stretch that is asked for."""
    return history.span(_command("", query))


def _command(conversation_id: str, query: HistoryQuery) -> ReadHistory:
    return ReadHistory(
        conversation_id,
        start=query.start,
        end=query.stop,
        start_included=query.include_start,
        end_included=query.include_stop,
        newest_first=not query.reversed,
        limit=query.limit,
    )


async def _reached(io: Io, conversation: Conversation) -> dict[str, Millis]:
    """Of two members, up to when each has received what the other sent; empty in other conversations."""
    if conversation.kind not in (Kind.NORMAL, Kind.TEMPORARY) or len(conversation.members) != 2:
        return {}
    return {member: (await member_receipt(io, conversation.id, member)).delivered_at for member in conversation.members}


def _acked_at(message: Message, reached: dict[str, Millis]) -> Millis:
    """When the other one had received ``message``; 0 as long as that is not known."""
    others = [at for member, at in reached.items() if member != message.sender]
    acked_at = max(others, default=Millis(0))
    return acked_at if message.timestamp <= acked_at else Millis(0)
