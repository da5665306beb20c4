"""The clock."""

from typing import Protocol

from fastim.core.units import Millis


class Clock(Protocol):
    def now(self) -> Millis:
        """Server time. It may step back: whoever needs order compares with what went before."""
        ...
