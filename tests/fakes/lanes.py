"""Lanes under trio."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class TrioLanes:
    """Fulfils the ``Lanes`` port; trio's locks are first come, first served."""

    def __init__(self) -> None:
        self._locks: dict[str, trio.Lock] = {}

    @asynccontextmanager
    async def hold(self, conversation_id: str) -> AsyncIterator[None]:
        async with self._locks.setdefault(conversation_id, trio.Lock()):
            yield
