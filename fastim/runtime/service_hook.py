"""The service conversations' web hook: what clients write there is told the service's back end, in batches.

It has its own tries and then is given up, as LeanCloud does it: the messages themselves are stored, and can be read
over REST whatever became of the telling. Source: semantics, section 14, the last paragraph.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from fastim.core.conversation import Kind
from fastim.core.errors import HookError
from fastim.core.events import Event, MessagePosted
from fastim.core.hooked import content_of
from fastim.core.hooks import ServiceMessage
from fastim.core.message import Message
from fastim.core.units import iso
from fastim.ports.service_back_end import ServiceBackEnd

BATCH_MAX = 100
"""Messages told at once."""
WAITING_MAX = 10_000
"""Beyond so many the oldest are not told at all."""
TRIES = 4
"""The first one, and three more."""
FIRST_PAUSE_SECONDS = 1.0
"""After the first failure; twice as long after each further one."""

_log = structlog.get_logger(__name__)


class ServiceHook:
    """Tells one application's back end; a batch waits for the one before it, so the order stays.

    Args:
        back_end: Who is told; ``None``: nobody.
        pause: Waits for so many seconds.

    Attributes:
        told: Messages that were taken.
        lost: Messages that were not, however often it was tried, or that there were too many of.
    """

    def __init__(
        self, back_end: ServiceBackEnd | None, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._back_end: Final = back_end
        self._pause: Final = pause
        self._waiting: deque[ServiceMessage] = deque()
        self._telling: asyncio.Task[None] | None = None
        self.told = 0
        self.lost = 0

    def hear(self, event: Event) -> None:
        """Take note of what happened; anything but a message that a client has written to a service is nothing."""
        if (
            self._back_end is None
            or not isinstance(event, MessagePosted)
            or event.kind is not Kind.SYSTEM
            or event.transient
            or not event.origin
        ):
            return
        if len(self._waiting) >= WAITING_MAX:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append(_told(event.conversation_id, event.message))
        if self._telling is None:
            self._telling = asyncio.get_running_loop().create_task(self._tell(self._back_end))

    async def close(self, seconds: float) -> None:
        """Tell what waits, for so long at most."""
        if self._telling is not None:
            await asyncio.wait((self._telling,), timeout=seconds)
        if self._telling is not None:
            self._telling.cancel()
            _log.warning("messages to services were not told their back end", messages=len(self._waiting))
        if self._back_end is not None:
            await self._back_end.close()

    async def _tell(self, back_end: ServiceBackEnd) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(BATCH_MAX, len(self._waiting)))]
                if await self._told_in_the_end(back_end, batch):
                    self.told += len(batch)
                else:
                    self.lost += len(batch)
        finally:
            self._telling = None

    async def _told_in_the_end(self, back_end: ServiceBackEnd, batch: list[ServiceMessage]) -> bool:
        for number in range(TRIES):
            try:
                await back_end.take(batch)
            except HookError as error:
                if number == TRIES - 1:
                    _log.warning(
                        "the back end of services has not taken messages", messages=len(batch), reason=str(error)
                    )
                else:
                    await self._pause(FIRST_PAUSE_SECONDS * 2**number)
            else:
                return True
        return False


def _told(conversation_id: str, message: Message) -> ServiceMessage:
    sent_at = iso(message.timestamp)
    return ServiceMessage(
        message_id=message.id,
        conversation={"__type": "Pointer", "className": "_Conversation", "objectId": conversation_id},
        sender=message.sender,
        bin=message.binary,
        data=content_of(message),
        source_ip=message.address,
        created_at=sent_at,
        updated_at=sent_at,
    )
