"""The contract of lanes, for the real ones under asyncio and for the fake under trio."""

from collections.abc import Callable

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastim.ports.lanes import Lanes
from fastim.runtime.lanes import LocalLanes
from tests.fakes.lanes import TrioLanes
from tests.fakes.running import explored

pytestmark = pytest.mark.parametrize(("make", "backend"), [(LocalLanes, "asyncio"), (TrioLanes, "trio")])

Make = Callable[[], Lanes]


def test_who_comes_first_goes_first(make: Make, backend: str) -> None:
    async def scene() -> None:
        lanes, log = make(), list[int]()

        async def take(number: int) -> None:
            async with lanes.hold("c"):
                log.append(number)
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as group, lanes.hold("c"):
            for number in range(5):
                group.start_soon(take, number)
                await anyio.wait_all_tasks_blocked()
            assert log == []
        assert log == [0, 1, 2, 3, 4]

    anyio.run(scene, backend=backend)


def test_lanes_of_other_conversations_are_free(make: Make, backend: str) -> None:
    async def scene() -> None:
        lanes = make()
        with anyio.fail_after(5):
            async with lanes.hold("a"), lanes.hold("b"):
                pass

    anyio.run(scene, backend=backend)


def test_an_error_gives_the_turn_back(make: Make, backend: str) -> None:
    async def scene() -> None:
        lanes = make()
        with pytest.raises(ZeroDivisionError):
            async with lanes.hold("c"):
                raise ZeroDivisionError
        with anyio.fail_after(5):
            async with lanes.hold("c"):
                pass

    anyio.run(scene, backend=backend)


def test_who_gives_up_waiting_is_passed_over(make: Make, backend: str) -> None:
    async def scene() -> None:
        lanes, log = make(), list[str]()

        async def take(name: str) -> None:
            async with lanes.hold("c"):
                log.append(name)

        async with anyio.create_task_group() as group, anyio.create_task_group() as impatient, lanes.hold("c"):
            impatient.start_soon(take, "impatient")
            await anyio.wait_all_tasks_blocked()
            group.start_soon(take, "patient")
            await anyio.wait_all_tasks_blocked()
            impatient.cancel_scope.cancel()
        assert log == ["patient"]

    anyio.run(scene, backend=backend)


@explored
@given(
    visits=st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.integers(0, 3), st.none() | st.integers(0, 8)),
        max_size=8,
    ),
    schedule=st.random_module(),
)
def test_nobody_shares_a_lane_and_nobody_waits_for_ever(
    make: Make,
    backend: str,
    visits: list[tuple[str, int, int, int | None]],
    schedule: object,
) -> None:
    """Each visit goes to a lane, arrives late, stays a while, and may be called off."""

    async def scene() -> None:
        lanes, inside = make(), dict[str, int]()
        arrived: list[tuple[str, int]] = []
        served: list[tuple[str, int]] = []

        async def visit(number: int, name: str, late: int, stay: int, scope: anyio.CancelScope) -> None:
            with scope:
                for _ in range(late):
                    await anyio.lowlevel.checkpoint()
                arrived.append((name, number))
                async with lanes.hold(name):
                    assert name not in inside
                    inside[name] = number
                    served.append((name, number))
                    try:
                        for _ in range(stay):
                            await anyio.lowlevel.checkpoint()
                    finally:
                        del inside[name]

        async def call_off(scope: anyio.CancelScope, after: int) -> None:
            for _ in range(after):
                await anyio.lowlevel.checkpoint()
            scope.cancel()

        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                for number, (name, late, stay, called_off) in enumerate(visits):
                    scope = anyio.CancelScope()
                    group.start_soon(visit, number, name, late, stay, scope)
                    if called_off is not None:
                        group.start_soon(call_off, scope, called_off)
            for name in "ab":
                async with lanes.hold(name):
                    pass
        assert [one for one in arrived if one in served and one[0] == "a"] == [one for one in served if one[0] == "a"]
        assert all(one in served for one in arrived if visits[one[1]][3] is None)

    anyio.run(scene, backend=backend)
