"""The bus of a node that is alone: what is published is delivered here, in order, on the next turn of the loop.

Waiting for the next turn puts a reply on its socket before the events it causes, as SDKs expect: several clients may
share one socket. Source: wire protocol, envelope rules.
"""

import asyncio
from collections.abc import Callable

import structlog

from fastim.core.events import Event

_log = structlog.get_logger(__name__)


class InProcessBus:
    """Fulfils the ``Bus`` port for one application.

    Args:
        hearers: Called with each event on the loop's thread, one after the other; must not block.
    """

    def __init__(self, *hearers: Callable[[Event], None]) -> None:
        self._hearers = hearers
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Event] = []

    async def publish(self, event: Event) -> None:
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(event)

    def _flush(self) -> None:
        events, self._waiting = self._waiting, []
        for event in events:
            for hear in self._hearers:
                try:
                    hear(event)
                except Exception:
                    _log.exception("an event could not be delivered", event_kind=type(event).__name__)
