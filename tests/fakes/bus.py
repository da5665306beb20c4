"""A bus that keeps what is published."""

from collections.abc import Callable
from typing import TypeVar

import trio

from fastim.core.events import Event

E = TypeVar("E", bound=Event)


class RecordingBus:
    """Fulfils the ``Bus`` port.

    Args:
        hear: Told of every event at once.

    Attributes:
        events: Everything that was published, in order.
    """

    def __init__(self, hear: Callable[[Event], object] | None = None) -> None:
        self._hear = hear
        self.events: list[Event] = []

    async def publish(self, event: Event) -> None:
        self.events.append(event)
        if self._hear is not None:
            self._hear(event)
        await trio.lowlevel.checkpoint()

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def the(self, kind: type[E]) -> E:
        """The only event of that kind."""
        (event,) = self.of(kind)
        return event
