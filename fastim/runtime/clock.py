"""The clock of this machine."""

import time

from fastim.core.units import Millis


class SystemClock:
    """Wall-clock time, as the operating system has it."""

    def now(self) -> Millis:
        return Millis(time.time_ns() // 1_000_000)
