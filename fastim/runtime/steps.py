"""Steps: work that begins at once and does without a task, for what comes tens of thousands of times a second.

A task costs 2 us, as much as all that is decided about a message: it is registered, begun in the loop's next turn, and
what follows its end has a turn of its own. Here the first step is taken on the spot, which is the last one for work
that never waits.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Owner = TypeVar("Owner")


class Stepped(Generic[Owner]):
    """A piece of work that goes from one future to the next, as a task would: in the turn after each is done.

    It is nobody's current task. So it cannot be cancelled, and nothing in it may lean on one, as ``asyncio.timeout``
    does. What it waits for keeps it alive.

    Args:
        owner: Whose work it is.
        ended: Called with the owner when the work is done, and with the error when it failed. A future that was
            cancelled ends it without one.
    """

    __slots__ = ("_ended", "_owner", "_work")

    def __init__(
        self, work: Coroutine[Any, Any, None], owner: Owner, ended: Callable[[Owner, Exception | None], None]
    ) -> None:
        self._work = work
        self._owner = owner
        self._ended = ended

    def go_on(self, done: asyncio.Future[Any] | None = None) -> None:
        """Take the next step. The future that was waited for, ``done``, tells the work itself what came of it."""
        try:
            waits_for: asyncio.Future[Any] | None = self._work.send(None)
        except (StopIteration, asyncio.CancelledError):
            self._ended(self._owner, None)
        except Exception as error:
            self._ended(self._owner, error)
        else:
            if waits_for is None:  # it only lets others go first
                asyncio.get_running_loop().call_soon(self.go_on)
            else:
                waits_for._asyncio_future_blocking = False  # the other half of how a future is awaited
                waits_for.add_done_callback(self.go_on)
