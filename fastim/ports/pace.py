"""Pace: long work goes in steps, and others run between them."""

from typing import Protocol


class Pace(Protocol):
    async def breathe(self) -> None:
        """Let others run if such work has held them up for long enough. Cheap, so called at every step."""
        ...
