"""Lanes: whoever comes first in a conversation goes first, and an empty lane costs a dictionary entry."""

import asyncio
from collections import deque
from collections.abc import Hashable
from types import TracebackType

Waiting = dict[Hashable, deque[asyncio.Future[None]] | None]
"""Who waits in each lane that is held; ``None``: nobody has yet. A queue of its own would be half of a lane's cost."""


class LocalLanes:
    """Turn-taking within this process, one queue for each name in use."""

    def __init__(self) -> None:
        self._waiting: Waiting = {}

    def hold(self, name: Hashable) -> "_Turn":
        return _Turn(self._waiting, name)


class _Turn:
    """One caller's turn in one lane."""

    __slots__ = ("_name", "_waiting")

    def __init__(self, waiting: Waiting, name: Hashable) -> None:
        self._waiting = waiting
        self._name = name

    async def __aenter__(self) -> None:
        if self._name not in self._waiting:
            self._waiting[self._name] = None
            return
        queue = self._waiting[self._name]
        if queue is None:
            queue = self._waiting[self._name] = deque()
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()
            else:
                turn.cancel()  # it stays in the queue, if it is still there, and is passed over
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        queue = self._waiting[self._name]
        while queue:
            turn = queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiting[self._name]
