import asyncio

from fastim.runtime.deadlines import SWEEP_SECONDS, Deadlines
from tests.fakes.running import idle, on_asyncio


class Candle:
    """Burns down to its deadline."""

    def __init__(self, deadlines: Deadlines, seconds: float, *, once: bool = True) -> None:
        self._loop = asyncio.get_running_loop()
        self._deadlines = deadlines
        self._once = once
        self.deadline = self._loop.time() + seconds
        self.ends: list[float] = []
        self.out = asyncio.Event()

    def expire(self) -> None:
        self.ends.append(self._loop.time())
        self.out.set()
        if self._once:
            self._deadlines.forget(self)


@on_asyncio
async def test_a_deadline_is_noticed_within_a_sweep() -> None:
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(loop)
    began = loop.time()
    candles = [Candle(deadlines, seconds) for seconds in (0.5, 1.0, 7.3, 60)]
    for candle in candles:
        deadlines.watch(candle)
    for candle, seconds in zip(candles, (0.5, 1.0, 7.3, 60), strict=True):
        await candle.out.wait()
        assert seconds <= candle.ends[0] - began <= seconds + 1.01 * SWEEP_SECONDS
        assert len(candle.ends) == 1


@on_asyncio
async def test_a_deadline_that_moves_on_in_time_never_comes() -> None:
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(loop)
    kept, clock = Candle(deadlines, 5), Candle(deadlines, 100)
    deadlines.watch(kept)
    deadlines.watch(clock)

    def snuff() -> None:
        kept.deadline = loop.time() + 5
        if not clock.ends:
            loop.call_later(3, snuff)

    snuff()
    await clock.out.wait()
    assert not kept.ends
    await kept.out.wait()


@on_asyncio
async def test_who_stays_is_asked_again() -> None:
    deadlines = Deadlines(asyncio.get_running_loop())
    stubborn, clock = Candle(deadlines, 1, once=False), Candle(deadlines, 5.5)
    deadlines.watch(stubborn)
    deadlines.watch(clock)
    await clock.out.wait()
    assert len(stubborn.ends) >= 4
    deadlines.stop()


@on_asyncio
async def test_who_was_forgotten_does_not_end_and_later_ones_still_do() -> None:
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(loop)
    forgotten = Candle(deadlines, 1)
    deadlines.watch(forgotten)
    deadlines.forget(forgotten)
    deadlines.forget(forgotten)
    late = loop.create_future()
    loop.call_later(10, late.set_result, None)
    await late
    watched = Candle(deadlines, 1)
    deadlines.watch(watched)
    await watched.out.wait()
    assert not forgotten.ends


@on_asyncio
async def test_stopped_nothing_ends_any_more() -> None:
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(loop)
    candle = Candle(deadlines, 1)
    deadlines.watch(candle)
    deadlines.stop()
    late = loop.create_future()
    loop.call_later(10, late.set_result, None)
    await late
    await idle()
    assert not candle.ends
