"""What only the real lanes can get wrong; the rest is in ``tests/fakes/test_lanes.py``."""

import asyncio
from contextlib import suppress

import pytest

from fastim.runtime.lanes import LocalLanes
from tests.fakes.running import idle, on_asyncio


async def take(lanes: LocalLanes, log: list[str], name: str) -> None:
    async with lanes.hold("c"):
        log.append(name)


@pytest.mark.parametrize("waiting", [("a",), ("a", "b"), ("a", "b", "c")])
@on_asyncio
async def test_a_turn_that_comes_as_its_owner_gives_up_goes_to_the_next(waiting: tuple[str, ...]) -> None:
    """The first in the queue is called off in the very turn of the loop in which the lane becomes free."""
    lanes, log = LocalLanes(), list[str]()
    async with lanes.hold("c"):
        tasks = [asyncio.create_task(take(lanes, log, name)) for name in waiting]
        await idle()
    tasks[0].cancel()
    with suppress(asyncio.CancelledError):
        await tasks[0]
    await asyncio.gather(*tasks[1:])
    assert log == list(waiting[1:])


@pytest.mark.parametrize("waiting", [("a",), ("a", "b"), ("a", "b", "c")])
@on_asyncio
async def test_who_gives_up_as_the_lane_becomes_free_ends_as_cancelled(waiting: tuple[str, ...]) -> None:
    lanes, log = LocalLanes(), list[str]()
    async with lanes.hold("c"):
        tasks = [asyncio.create_task(take(lanes, log, name)) for name in waiting]
        await idle()
        tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    await asyncio.gather(*tasks[1:])
    assert log == list(waiting[1:])


@on_asyncio
async def test_whoever_comes_between_a_handing_over_and_its_taking_waits_behind() -> None:
    lanes, log = LocalLanes(), list[str]()
    async with lanes.hold("c"):
        first = asyncio.create_task(take(lanes, log, "first"))
        await idle()
    async with asyncio.timeout(1), lanes.hold("c"):
        log.append("late")
    await first
    assert log == ["first", "late"]
