"""Lanes under trio."""

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

import trio


class TrioLanes:
    """Fulfils the ``Lanes`` port; trio's locks are first come, first served."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, trio.Lock] = {}

    @asynccontextmanager
    async def hold(self, name: Hashable) -> AsyncIterator[None]:
        async with self._locks.setdefault(name, trio.Lock()):
            yield
