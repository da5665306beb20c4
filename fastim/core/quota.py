"""Quotas: how much of what a client may ask for in a minute, and how much a chat room takes in a second.

A quota is a bucket that holds a minute's or a second's worth and fills steadily. All that is kept of it is one moment:
when it will be full again. Source: semantics, rules 2.3 to 2.5.
"""

from enum import IntEnum

from fastim.core import commands
from fastim.core.commands import Command
from fastim.core.errors import OperationQuotaExceeded, Refusal, SendQuotaExceeded

SECOND_NANOSECONDS = 1_000_000_000
MINUTE_NANOSECONDS = 60 * SECOND_NANOSECONDS


class Quota(IntEnum):
    """What is counted together."""

    SENDS = 0
    HISTORY = 1
    OPERATIONS = 2

    @property
    def refusal(self) -> Refusal:
        """What a command is refused with when it is used up."""
        return SendQuotaExceeded() if self is Quota.SENDS else OperationQuotaExceeded()


_QUOTAS: dict[type[Command], Quota | None] = {
    commands.Send: Quota.SENDS,
    commands.ReadHistory: Quota.HISTORY,
    commands.Echo: None,
    commands.Login: None,
    commands.Acknowledge: None,
    commands.CloseSession: None,
}


def quota_of(command: Command) -> Quota | None:
    """The quota that ``command`` comes out of; ``None`` for what is never refused for being too much."""
    return _QUOTAS.get(type(command), Quota.OPERATIONS)


def spent(full_at: int, most: int, now: int, period: int = MINUTE_NANOSECONDS) -> int | None:
    """When the bucket will be full again once one more is taken out; ``None``: it is empty.

    Args:
        full_at: When it would be full; anything up to ``now`` means that it is. In nanoseconds, like ``now``, of a
            clock that nobody sets.
        most: What it holds and what flows in within ``period``, at least 1.
        period: In nanoseconds.
    """
    after = max(full_at, now) + period // most
    return None if after > now + period else after


def governs(governing: bool, lag_seconds: float, limit_milliseconds: int) -> bool:
    """Whether a server that is so late is too busy for messages of low priority.

    Args:
        governing: Whether it was until now: then it is until the lag is half of the limit.
        limit_milliseconds: The lag at which it is; 0: it never is.
    """
    lag_milliseconds = 1000 * lag_seconds
    return 0 < limit_milliseconds <= (2 * lag_milliseconds if governing else lag_milliseconds)
