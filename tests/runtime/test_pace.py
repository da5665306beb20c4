import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from time import perf_counter
from typing import Any

from fastim.runtime.pace import SLICE_SECONDS, SharedPace

Test = Callable[[], Coroutine[Any, Any, None]]


def in_real_time(test: Test) -> Callable[[], None]:
    """Run the test on a loop whose clock does not jump: slices are measured with the machine's."""

    @wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


async def work(pace: SharedPace, log: list[str], name: str, steps: int) -> None:
    """Steps that take a slice each."""
    for _ in range(steps):
        await pace.breathe()
        log.append(name)
        until = perf_counter() + SLICE_SECONDS
        while perf_counter() < until:
            pass


async def count_turns(log: list[str]) -> None:
    while True:
        log.append("turn")
        await asyncio.sleep(0)


@in_real_time
async def test_however_many_work_the_loop_comes_round_after_every_slice() -> None:
    pace, log = SharedPace(), list[str]()
    other = asyncio.create_task(count_turns(log))
    await asyncio.gather(*(work(pace, log, f"work {number}", 5) for number in range(8)))
    other.cancel()
    stretches = " ".join(log).replace("work ", "").split("turn")
    assert sum(len(stretch.split()) for stretch in stretches) == 40
    assert max(len(stretch.split()) for stretch in stretches) <= 2


@in_real_time
async def test_those_who_wait_go_on_in_turn() -> None:
    pace, log = SharedPace(), list[str]()
    await asyncio.gather(*(work(pace, log, name, 4) for name in "abc"))
    assert log == list("a" + "abc" * 3 + "bc")


@in_real_time
async def test_short_work_is_not_interrupted() -> None:
    pace, log = SharedPace(), list[str]()
    other = asyncio.create_task(count_turns(log))
    await asyncio.sleep(0)
    turns = log.count("turn")
    for _ in range(10):
        await pace.breathe()
    assert log.count("turn") == turns
    other.cancel()


@in_real_time
async def test_who_is_called_off_while_waiting_is_passed_over() -> None:
    pace, log = SharedPace(), list[str]()
    tasks = [asyncio.create_task(work(pace, log, name, 2)) for name in "abc"]
    await asyncio.sleep(0)  # each of them has begun, and only the first has a slice
    assert log == ["a"]
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(log) == ["a", "a", "c", "c"]
