import asyncio
import math

import pytest

from fastim.runtime.lag import PERIOD_SECONDS, SMOOTHING_SECONDS, WINDOW_PERIODS, LoopLag
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
    assert lag.p99_seconds == lag.smoothed_seconds == 0.0
    await pass_time(5 * PERIOD_SECONDS)
    assert lag.worst_seconds == pytest.approx(0, abs=0.001)
    lag.stop()


@on_asyncio
async def test_a_blocked_loop_does_and_the_worst_is_remembered_for_a_while() -> None:
    lag = LoopLag()
    await pass_time(0.92)
    block(0.33)
    await pass_time(0.001)
    assert lag.last_seconds == pytest.approx(0.3, abs=0.001)
    await pass_time(2 * PERIOD_SECONDS)
    assert lag.last_seconds == pytest.approx(0, abs=0.001)
    assert lag.worst_seconds == pytest.approx(0.3, abs=0.001)
    await pass_time((WINDOW_PERIODS + 1) * PERIOD_SECONDS)
    assert lag.worst_seconds == pytest.approx(0, abs=0.001)
    lag.stop()


@on_asyncio
async def test_a_long_stall_counts_for_every_timer_that_it_held_up() -> None:
    lag = LoopLag()
    await pass_time(30)
    assert lag.p99_seconds == pytest.approx(0, abs=0.001)
    await pass_time(PERIOD_SECONDS / 2)
    block(1.2)
    await pass_time(40 * PERIOD_SECONDS)
    # Of some 660 timers 24 were late, by 1.175 s, 1.125 s and so on: the seventh of them is what six were later than.
    assert lag.worst_seconds == pytest.approx(1.175, abs=0.001)
    assert lag.p99_seconds == pytest.approx(1.175 - 6 * PERIOD_SECONDS, abs=0.001)
    lag.stop()


@on_asyncio
async def test_a_stall_of_hours_is_remembered_within_bounds() -> None:
    lag = LoopLag()
    block(10_000)
    await pass_time(0.001)
    assert lag.worst_seconds == pytest.approx(10_000, abs=0.1)
    assert lag.p99_seconds == pytest.approx(10_000, abs=1)
    assert len(lag._recent) == WINDOW_PERIODS
    lag.stop()


@on_asyncio
async def test_the_smoothed_lag_follows_one_that_stays_and_fades_with_time() -> None:
    heard: list[float] = []
    lag = LoopLag(heard.append)
    await pass_time(PERIOD_SECONDS / 2)
    block(PERIOD_SECONDS)
    await pass_time(0.001)
    assert 0 < lag.smoothed_seconds < lag.last_seconds / 4
    for _ in range(20):
        block(0.2)
        await pass_time(0.001)
    assert lag.smoothed_seconds == pytest.approx(lag.last_seconds, rel=0.05)
    before = lag.smoothed_seconds
    await pass_time(SMOOTHING_SECONDS)
    assert lag.smoothed_seconds == pytest.approx(before / math.e, rel=0.2)
    assert heard[-1] == lag.smoothed_seconds
    lag.stop()


@on_asyncio
async def test_stopped_it_measures_no_more() -> None:
    lag = LoopLag()
    await pass_time(0.9)
    lag.stop()
    block(5)
    await pass_time(5)
    assert lag.worst_seconds == 0.0
