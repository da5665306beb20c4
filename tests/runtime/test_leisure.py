import asyncio

import pytest

from fastim.runtime.leisure import BUSY_MOST, MEASURE_SECONDS, REST_SECONDS, SLICE_SECONDS, Leisure
from tests.fakes.running import on_asyncio


class Machine:
    """A processor whose time a test passes.

    Attributes:
        now: Seconds.
        spent: Of the processor's time, by the whole process.
        worked: Of it, by the loop.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.spent = 0.0
        self.worked = 0.0
        self.leisure = Leisure(lambda: self.now, lambda: self.spent, lambda: self.worked)

    def work(self, seconds: float) -> None:
        self.now += seconds
        self.spent += seconds
        self.worked += seconds

    def others(self, seconds: float, busy: float) -> None:
        """Time passes without the work, and the rest of the process is busy for that share of it."""
        self.now += seconds
        self.spent += seconds * busy

    async def rest(self) -> float:
        """How long the work is held up, in the loop's time."""
        before = asyncio.get_running_loop().time()
        await self.leisure.breathe()
        return asyncio.get_running_loop().time() - before


A_SLICE = 1.01 * SLICE_SECONDS


@on_asyncio
async def test_within_a_slice_nothing_holds_the_work_up() -> None:
    machine = Machine()
    for _ in range(9):
        assert await machine.rest() == 0
        machine.work(SLICE_SECONDS / 10)
    assert await machine.rest() == 0


@on_asyncio
async def test_after_a_slice_it_rests_for_a_moment_even_if_nobody_else_is_there() -> None:
    machine = Machine()
    assert await machine.rest() == 0
    machine.work(A_SLICE)
    assert await machine.rest() == pytest.approx(REST_SECONDS)
    assert await machine.rest() == 0, "then comes the next slice"


@on_asyncio
async def test_time_in_which_the_work_waited_for_something_is_not_of_its_slice() -> None:
    machine = Machine()
    assert await machine.rest() == 0
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    machine.others(1, 0)
    assert await machine.rest() == 0


@pytest.mark.parametrize("busy", [0.0, 0.5, 0.8])
@on_asyncio
async def test_it_takes_the_share_of_the_time_that_others_leave(busy: float) -> None:
    machine = Machine()
    took = 10 * SLICE_SECONDS
    for _ in range(100):
        await machine.rest()
        machine.work(took)
        rested = await machine.rest()
        machine.others(rested, busy)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert machine.leisure.busy == pytest.approx(busy * rested / (took + rested), abs=0.02)
    assert rested == pytest.approx(max(took * machine.leisure.busy / (1 - machine.leisure.busy), REST_SECONDS))


@on_asyncio
async def test_however_busy_the_process_is_the_work_gets_on() -> None:
    machine = Machine()
    for _ in range(50):
        await machine.rest()
        machine.work(A_SLICE)
        rested = await machine.rest()
        machine.others(rested + MEASURE_SECONDS, 3.0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert machine.leisure.busy == BUSY_MOST
    assert rested == pytest.approx(A_SLICE * BUSY_MOST / (1 - BUSY_MOST))


@on_asyncio
async def test_what_other_processes_took_of_its_core_makes_no_rest_longer() -> None:
    machine = Machine()
    for _ in range(50):
        await machine.rest()
        machine.work(A_SLICE)
        machine.others(1, 0)
        machine.spent += 1
        rested = await machine.rest()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert machine.leisure.busy == BUSY_MOST
    assert rested == pytest.approx(A_SLICE * BUSY_MOST / (1 - BUSY_MOST))
