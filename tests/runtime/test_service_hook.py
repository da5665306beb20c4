"""What clients write to services is told their back end: in order, in batches, with some tries, and then no more."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence

import pytest

from fastim.core.conversation import Kind
from fastim.core.errors import HookError
from fastim.core.events import MessagePosted
from fastim.core.hooks import ServiceMessage
from fastim.core.message import Message
from fastim.core.units import Millis
from fastim.runtime.service_hook import BATCH_MAX, TRIES, WAITING_MAX, ServiceHook

SERVICE = "5f1b3c0e7a9d4b2c8e6f1a30"


class BackEnd:
    """Takes what it is told, or fails as often as it is to.

    Attributes:
        gate: It takes nothing until that is set.
    """

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.batches: list[list[str]] = []
        self.tries = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.closed = False

    async def take(self, messages: Sequence[ServiceMessage]) -> None:
        await self.gate.wait()
        self.tries += 1
        if self.failures:
            self.failures -= 1
            raise HookError("status 500")
        self.batches.append([one.data for one in messages])

    async def close(self) -> None:
        self.closed = True


def posted(number: int, kind: Kind = Kind.SYSTEM, *, origin: int = 1, transient: bool = False) -> MessagePosted:
    message = Message(f"{number:022}", Millis(1_000 + number), number, "tom", str(number).encode())
    return MessagePosted(SERVICE, kind, message, ("tom",), origin=origin, transient=transient)


async def _no_pause(seconds: float) -> None:
    await asyncio.sleep(0)


def run(check: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(check())


def test_all_that_clients_write_is_told_in_order() -> None:
    async def check() -> None:
        back_end = BackEnd()
        hook = ServiceHook(back_end, _no_pause)
        for number in range(2 * BATCH_MAX + 50):
            hook.hear(posted(number))
        await hook.close(10)
        assert [one for batch in back_end.batches for one in batch] == [str(n) for n in range(2 * BATCH_MAX + 50)]
        assert [len(batch) for batch in back_end.batches] == [BATCH_MAX, BATCH_MAX, 50]
        assert back_end.closed
        assert (hook.told, hook.lost) == (2 * BATCH_MAX + 50, 0)

    run(check)


@pytest.mark.parametrize(
    "event",
    [
        posted(1, Kind.NORMAL),
        posted(1, Kind.CHAT_ROOM),
        posted(1, origin=0),  # the application's own words
        posted(1, transient=True),
    ],
)
def test_nothing_else_is(event: MessagePosted) -> None:
    async def check() -> None:
        back_end = BackEnd()
        hook = ServiceHook(back_end, _no_pause)
        hook.hear(event)
        await hook.close(10)
        assert back_end.tries == 0

    run(check)


@pytest.mark.rule("14.6")
def test_a_back_end_that_fails_is_tried_three_times_more() -> None:
    async def check() -> None:
        back_end = BackEnd(failures=TRIES - 1)
        pauses: list[float] = []

        async def pause(seconds: float) -> None:
            pauses.append(seconds)

        hook = ServiceHook(back_end, pause)
        hook.hear(posted(1))
        await hook.close(10)
        assert back_end.batches == [["1"]]
        assert pauses == [1.0, 2.0, 4.0]

    run(check)


def test_what_is_not_taken_in_the_end_is_given_up_and_the_rest_goes_on() -> None:
    async def check() -> None:
        back_end = BackEnd(failures=TRIES)
        hook = ServiceHook(back_end, _no_pause)
        for number in range(BATCH_MAX + 1):
            hook.hear(posted(number))
        await hook.close(10)
        assert back_end.batches == [[str(BATCH_MAX)]]
        assert (hook.told, hook.lost) == (1, BATCH_MAX)

    run(check)


def test_no_more_than_so_many_wait() -> None:
    async def check() -> None:
        back_end = BackEnd()
        back_end.gate.clear()
        hook = ServiceHook(back_end, _no_pause)
        for number in range(WAITING_MAX + 7):
            hook.hear(posted(number))
        assert hook.lost == 7
        back_end.gate.set()
        await hook.close(10)
        assert back_end.batches[0][0] == "7"

    run(check)


def test_a_stop_waits_for_so_long_and_no_longer() -> None:
    async def check() -> None:
        back_end = BackEnd()
        back_end.gate.clear()
        hook = ServiceHook(back_end, _no_pause)
        hook.hear(posted(1))
        await hook.close(0)
        assert back_end.closed
        assert back_end.batches == []

    run(check)


def test_without_a_back_end_nothing_is_kept() -> None:
    async def check() -> None:
        hook = ServiceHook(None)
        hook.hear(posted(1))
        await hook.close(0)
        assert (hook.told, hook.lost) == (0, 0)

    run(check)
