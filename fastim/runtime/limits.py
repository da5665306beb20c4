"""Limits that bite are counted, under one name each.

What the names stand for is explained in ``docs/metrics.md``. A new limit gets a name here and a line there.
"""

from typing import Literal, get_args

Limit = Literal[
    "connections",
    "handshake",
    "login",
    "read_timeout",
    "write_timeout",
    "frame",
    "head",
    "commands_in_flight",
    "outbox",
    "outbox_cut",
    "overrun",
    "memory",
    "memory_cut",
    "sends",
    "history",
    "operations",
    "room_sends",
    "governor",
]


class LimitCounters:
    """How often each limit bit.

    Attributes:
        bites: By name; 0 for one that never did.
    """

    def __init__(self) -> None:
        self.bites: dict[Limit, int] = dict.fromkeys(get_args(Limit), 0)

    def bit(self, limit: Limit) -> None:
        """Count one bite."""
        self.bites[limit] += 1
