"""History: which stretch of a conversation a request means, and what two logs are together."""

from collections.abc import Sequence
from heapq import merge

from fastim.core.commands import ReadHistory
from fastim.core.errors import HistoryFailed
from fastim.core.message import Message, Position, Span
from fastim.core.policy import HISTORY_LIMIT_DEFAULT, HISTORY_LIMIT_MAX

_AFTER_ALL_IDS = "\x7f"
"""Sorts after every message id."""


def span(command: ReadHistory) -> Span:
    """The stretch that ``command`` asks for.

    Bounds are left out unless they are said to be included; one without a message id means its whole millisecond.
    Source: wire protocol, history.

    Raises:
        HistoryFailed: The limit is negative.
    """
    limit = HISTORY_LIMIT_DEFAULT if command.limit is None else min(command.limit, HISTORY_LIMIT_MAX)
    if limit < 0:
        raise HistoryFailed("limit is negative")
    older, newer = (command.end, command.start) if command.newest_first else (command.start, command.end)
    older_included, newer_included = command.end_included, command.start_included
    if not command.newest_first:
        older_included, newer_included = newer_included, older_included
    return Span(
        after=_bound(older, newest_of_millisecond=not older_included),
        before=_bound(newer, newest_of_millisecond=newer_included),
        after_included=older_included,
        before_included=newer_included,
        newest_first=command.newest_first,
        limit=limit,
    )


def merged(one: Sequence[Message], other: Sequence[Message], asked: Span) -> list[Message]:
    """Two logs as one, as far as ``asked`` goes.

    Args:
        one: What the first log has of ``asked``, its limit included, ascending.
        other: The same of the second.
    """
    both = list(merge(one, other, key=lambda message: message.position))
    if asked.newest_first:
        return both[max(len(both) - asked.limit, 0) :]
    return both[: asked.limit]


def _bound(position: Position | None, *, newest_of_millisecond: bool) -> Position | None:
    if position is None or position.message_id:
        return position
    return Position(position.timestamp, _AFTER_ALL_IDS if newest_of_millisecond else "")
