"""Quotas: how much of what a client may ask for in a minute.

A quota is a bucket that holds a minute's worth and fills steadily. All that is kept of it is one moment: when it will
be full again. Source: semantics, rules 2.3 to 2.5.
"""

from enum import IntEnum

from fastim.core import commands
from fastim.core.commands import Command
from fastim.core.errors import OperationQuotaExceeded, Refusal, SendQuotaExceeded

MINUTE_NANOSECONDS = 60_000_000_000


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


def spent(full_at: int, per_minute: int, now: int) -> int | None:
    """When the bucket will be full again once one more is taken out; ``None``: it is empty.

    Args:
        full_at: When it would be full; anything up to ``now`` means that it is. In nanoseconds, like ``now``, of a
            clock that nobody sets.
        per_minute: What it holds and what flows in, at least 1.
    """
    after = max(full_at, now) + MINUTE_NANOSECONDS // per_minute
    return None if after > now + MINUTE_NANOSECONDS else after
