import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fastim.core.errors import SettingsError
from fastim.machine import private_bytes
from fastim.runtime.memory import CONNECTION_BYTES, HEAVY_BYTES, LOOK_SECONDS, MemoryBudget
from fastim.settings import Delivery, Limits
from tests.fakes.running import idle, on_asyncio
from tests.runtime.node import Line, Node, running_node

LIMIT_BYTES = 10_000_000
LIMITS = Limits(write_timeout_seconds=3600, read_timeout_seconds=3600, login_seconds=3600, handshake_seconds=3600)


class Machine:
    """Uses what its connections have waiting, and what a test says."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.other_bytes = 0

    def measure(self) -> int:
        return self.other_bytes + sum(connection.waiting_bytes for connection in self._node.gateway.connections)


@asynccontextmanager
async def machine() -> AsyncIterator[tuple[Node, Machine, MemoryBudget]]:
    async with running_node(LIMITS, Delivery(outbox_bytes=1_073_741_824)) as node:
        running = Machine(node)
        yield node, running, MemoryBudget(node.gateway, LIMIT_BYTES, running.measure)


async def reader(node: Node, waiting_bytes: int) -> Line:
    """A client that reads nothing of what waits for it."""
    line = await node.line()
    await idle()
    while line.connection.waiting_bytes < waiting_bytes:
        line.connection.send(bytes(50_000))
        await idle()
    return line


def bites(node: Node) -> dict[str, int]:
    return {limit: number for limit, number in node.gateway.counters.bites.items() if number}


@on_asyncio
async def test_within_the_budget_nothing_happens() -> None:
    async with machine() as (node, running, budget):
        await reader(node, 1_000_000)
        running.other_bytes = LIMIT_BYTES - running.measure()
        budget.look()
        assert budget.used_bytes == LIMIT_BYTES
        assert node.gateway.obstacle == ""
        assert len(node.gateway.connections) == 1


@on_asyncio
async def test_above_it_nobody_is_let_in_until_it_is_well_below() -> None:
    async with machine() as (node, running, budget):
        states = []
        for used_bytes in (LIMIT_BYTES + 1, LIMIT_BYTES, LIMIT_BYTES * 9 // 10, LIMIT_BYTES * 9 // 10 - 1, LIMIT_BYTES):
            running.other_bytes = used_bytes
            budget.look()
            states.append(node.gateway.obstacle)
        assert states == ["short of memory"] * 3 + [""] * 2
        running.other_bytes = LIMIT_BYTES + 1
        budget.look()
        assert await node.turns_away()
        assert bites(node) == {"memory": 1}


@on_asyncio
async def test_those_for_which_most_waits_are_cut_and_no_more_than_needed() -> None:
    async with machine() as (node, _, budget):
        lines = [await reader(node, waiting) for waiting in (1_000_000, 3_000_000, 2_000_000, 5_000_000, 0)]
        budget.look()
        await idle()
        assert [line.connection.lost for line in lines] == [False, False, False, True, False]
        assert bites(node) == {"memory_cut": 1}
        budget.look()
        assert node.gateway.obstacle == ""
        assert len(node.gateway.connections) == 4


@on_asyncio
async def test_who_reads_is_not_cut_whatever_the_others_use() -> None:
    async with machine() as (node, running, budget):
        light, heavy = await reader(node, 0), await reader(node, 2 * HEAVY_BYTES)
        running.other_bytes = 3 * LIMIT_BYTES
        for _ in range(3):
            budget.look()
            await idle()
        assert node.gateway.connections == {light.connection}
        assert heavy.connection.lost
        assert await light.is_silent()


@on_asyncio
async def test_it_is_looked_at_again_and_again() -> None:
    async with machine() as (node, running, budget):
        budget.start()
        states = []
        for used_bytes in (LIMIT_BYTES + 1, 0, LIMIT_BYTES + 1, 0):
            running.other_bytes = used_bytes
            await later(LOOK_SECONDS * 1.1)
            states.append(node.gateway.short_of_memory)
        assert states == [True, False] * 2
        budget.stop()
        running.other_bytes = LIMIT_BYTES + 1
        await later(LOOK_SECONDS * 3)
        assert not node.gateway.short_of_memory


@on_asyncio
async def test_a_budget_that_is_used_up_before_the_start_is_refused() -> None:
    async with machine() as (_, running, budget):
        running.other_bytes = LIMIT_BYTES + 1
        with pytest.raises(SettingsError, match=r"limits.memory_bytes \(10000000\) is less .*: 10000001 bytes$"):
            budget.start()


@on_asyncio
async def test_where_the_system_does_not_tell_connections_and_what_waits_for_them_are_counted() -> None:
    async with running_node(LIMITS, Delivery(outbox_bytes=1_073_741_824)) as node:
        budget = MemoryBudget(node.gateway, LIMIT_BYTES, lambda: None)
        line = await reader(node, 1_000_000)
        await node.line()
        budget.look()
        assert budget.used_bytes == 2 * CONNECTION_BYTES + line.connection.waiting_bytes


@on_asyncio
async def test_the_process_itself_is_measured_unless_something_else_is_said() -> None:
    async with running_node() as node:
        budget = MemoryBudget(node.gateway, 2**50)
        budget.look()
        assert budget.used_bytes == pytest.approx(private_bytes() or 0, rel=0.1)


async def later(seconds: float) -> None:
    passed = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(seconds, passed.set_result, None)
    await passed
