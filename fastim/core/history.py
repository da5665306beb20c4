"""History: which stretch of a conversation a request means."""

from fastim.core.commands import ReadHistory
from fastim.core.errors import HistoryFailed
from fastim.core.message import Position, Span
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


def _bound(position: Position | None, *, newest_of_millisecond: bool) -> Position | None:
    if position is None or position.message_id:
        return position
    return Position(position.timestamp, _AFTER_ALL_IDS if newest_of_millisecond else "")
