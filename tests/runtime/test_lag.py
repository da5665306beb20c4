import asyncio

import pytest

from fastim.runtime.lag import PERIOD_SECONDS, WINDOW_PERIODS, LoopLag
from tests.fakes.running import JumpingLoop, on_asyncio


async def pass_time(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    later = loop.create_future()
    loop.call_later(seconds, later.set_result, None)
    await later


def block(seconds: float) -> None:
    """Keep the loop busy for so long."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, JumpingLoop)
    loop.now += seconds


@on_asyncio
async def test_a_loop_with_time_to_spare_does_not_lag() -> None:
    lag = LoopLag()
    assert (lag.last_seconds, lag.worst_seconds) == (0.0, 0.0)
    await pass_time(5 * PERIOD_SECONDS)
    assert lag.worst_seconds == pytest.approx(0, abs=0.001)
    lag.stop()


@on_asyncio
async def test_a_blocked_loop_does_and_the_worst_is_remembered_for_a_while() -> None:
    lag = LoopLag()
    await pass_time(0.9)
    block(0.4)
    await pass_time(0.1)
    assert lag.last_seconds == pytest.approx(0.3, abs=0.001)
    await pass_time(2 * PERIOD_SECONDS)
    assert lag.last_seconds == pytest.approx(0, abs=0.001)
    assert lag.worst_seconds == pytest.approx(0.3, abs=0.001)
    await pass_time((WINDOW_PERIODS + 1) * PERIOD_SECONDS)
    assert lag.worst_seconds == pytest.approx(0, abs=0.001)
    lag.stop()


@on_asyncio
async def test_stopped_it_measures_no_more() -> None:
    lag = LoopLag()
    await pass_time(0.9)
    lag.stop()
    block(5)
    await pass_time(5)
    assert lag.worst_seconds == 0.0
