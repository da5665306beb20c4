"""The bus: events on their way to everyone concerned, on this node and others."""

from typing import Protocol

from fastim.core.events import Event


class Bus(Protocol):
    async def publish(self, event: Event) -> None:
        """Hand ``event`` over. It is delivered after the caller's reply, and in the order of publishing."""
        ...
