"""How a coroutine test is run: under trio or asyncio, on a clock that jumps where there is only time to wait for."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from typing import Any, ParamSpec

import trio
from hypothesis import settings
from hypothesis import strategies as st
from trio.testing import MockClock

P = ParamSpec("P")
Test = Callable[P, Coroutine[Any, Any, None]]

schedules = st.random_module()
"""A test that draws one is run with other turns of trio's scheduler in each example: hypothesis seeds it."""

explored = settings(max_examples=30)
"""For tests whose every example is a run of its own."""


def on_trio(test: Test[P]) -> Callable[P, None]:
    """Run ``test`` under trio."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        trio.run(partial(test, *args, **kwargs), clock=MockClock(autojump_threshold=0))

    return run


def on_asyncio(test: Test[P]) -> Callable[P, None]:
    """Run ``test`` under asyncio, on a ``JumpingLoop``."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still, and jumps to the next timer once nothing else is left to do.

    Bytes between the sockets of one process are there as soon as they are written, so they always come first.
    """

    def __init__(self) -> None:
        self.now = 1_000.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self.now


async def idle() -> None:
    """Wait until all others wait: only then does a ``JumpingLoop`` let time pass."""
    await asyncio.sleep(0.001)


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0 if timeout else timeout)
        if not ready and timeout:
            self._loop.now += timeout
        return ready
