"""The memory budget: the server stops taking connections before it stops working.

Each queue has a bound of its own, but thousands of slow readers at their bounds may be more than the machine has. So
the process is measured as a whole, twice a second. Above its budget no connection is let in, and those for which most
is waiting are cut, the largest first: their clients come back and ask what they missed. All others go on. Well below
the budget everybody is welcome again.
"""

import asyncio
from collections.abc import Callable

import structlog

from fastim.core.errors import SettingsError
from fastim.machine import give_back, private_bytes
from fastim.runtime.gateway import Gateway

_log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.5
WELCOME_SHARE = 0.9
"""Below this share of the budget connections are let in again; without a gap one would come and go with each look."""
HEAVY_BYTES = 65_536
"""One for which less is waiting is not worth cutting."""
CONNECTION_BYTES = 16_384
"""What a connection is reckoned at, beside what waits for it, where the system does not say what the process uses."""


class MemoryBudget:
    """Keeps the process within its memory.

    Args:
        limit_bytes: The budget.
        measure: What the process uses, in bytes; ``None`` where that cannot be told.

    Attributes:
        used_bytes: At the last look.
    """

    def __init__(self, gateway: Gateway, limit_bytes: int, measure: Callable[[], int | None] | None = None) -> None:
        self._gateway = gateway
        self._measure = measure or private_bytes
        self._timer: asyncio.TimerHandle | None = None
        self.limit_bytes = limit_bytes
        self.used_bytes = 0

    def start(self) -> None:
        """Begin to look.

        Raises:
            SettingsError: The budget is used up already.
        """
        self.used_bytes = self._used()
        if self.used_bytes > self.limit_bytes:
            raise SettingsError(
                f"limits.memory_bytes ({self.limit_bytes}) is less than the server needs before the first connection: "
                f"{self.used_bytes} bytes"
            )
        self._wait()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self) -> None:
        """Measure, and do what has to be done."""
        self.used_bytes = self._used()
        if self.used_bytes > self.limit_bytes:
            self._tighten()
        elif self._gateway.short_of_memory and self.used_bytes < self._welcome_bytes:
            self._gateway.short_of_memory = False
            _log.info("enough memory again", used_bytes=self.used_bytes)
        if self._gateway.short_of_memory:
            give_back()

    @property
    def _welcome_bytes(self) -> float:
        return WELCOME_SHARE * self.limit_bytes

    def _tighten(self) -> None:
        if not self._gateway.short_of_memory:
            self._gateway.short_of_memory = True
            _log.warning("short of memory", used_bytes=self.used_bytes, limit_bytes=self.limit_bytes)
        excess = self.used_bytes - self._welcome_bytes
        waiting = [(connection.waiting_bytes, connection) for connection in self._gateway.connections]
        heavy = sorted((pair for pair in waiting if pair[0] >= HEAVY_BYTES), key=lambda pair: pair[0], reverse=True)
        for waiting_bytes, connection in heavy:
            if excess <= 0:
                return
            # It takes nothing, so there is no telling it; every SDK comes back after a broken connection.
            connection.abort()
            self._gateway.counters.bit("memory_cut")
            excess -= waiting_bytes

    def _used(self) -> int:
        measured = self._measure()
        if measured is not None:
            return measured
        return sum(CONNECTION_BYTES + connection.waiting_bytes for connection in self._gateway.connections)

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self.look()
        self._wait()
