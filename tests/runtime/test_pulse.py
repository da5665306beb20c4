"""The pulse: what it says, and that looking at it is cheap."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fastim._fanout import RoomLog
from fastim.runtime.lag import LoopLag
from fastim.runtime.memory import MemoryBudget
from fastim.runtime.pulse import (
    CANDIDATES,
    NAMED_SECONDS,
    ROOMS_LOOKED_AT,
    SHARE_SECONDS,
    TOP_ROOMS,
    Commits,
    Meter,
    Pulse,
    RecentCommits,
    Shares,
)
from fastim.runtime.room_logs import Room
from fastim.wire import messages2_pb2 as pb
from tests.runtime.node import Line, Node, message, running_node

pytestmark = pytest.mark.anyio

BOUNDS = (0.001, 0.01, 0.1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Clocks:
    """Time, and processor time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.process = 50.0
        self.counts = [0, 0, 0, 0]

    def seconds(self) -> float:
        return self.now

    def processor_seconds(self) -> float:
        return self.process

    def commits(self) -> Commits:
        return Commits(BOUNDS, list(self.counts))


@asynccontextmanager
async def pulsing() -> AsyncIterator[tuple[Node, Pulse, Clocks]]:
    async with running_node() as node:
        clocks = Clocks()
        lag = LoopLag()
        pulse = Pulse(
            node.gateway,
            node.dispatcher,
            lag,
            node.fanout,
            MemoryBudget(node.gateway, 1 << 40, lambda: 7),
            clocks.commits,
            clock=node.clock.now,
            seconds=clocks.seconds,
            processor_seconds=clocks.processor_seconds,
        )
        try:
            yield node, pulse, clocks
        finally:
            lag.stop()


async def room(node: Node, name: str = "") -> str:
    """The id of a new chat room."""
    line = await node.line()
    await line.open("maker")
    attr = pb.JsonObjectMessage(data=f'{{"name":"{name}"}}')
    start = pb.GenericCommand(cmd=pb.conv, op=pb.start, i=5, convMessage=pb.ConvCommand(transient=True, attr=attr))
    cid = (await line.call(start)).convMessage.cid
    line.hang_up()
    return cid


async def enter(node: Node, cid: str, client_id: str) -> Line:
    line = await node.line()
    await line.open(client_id)
    join = pb.ConvCommand(cid=cid, m=[client_id])
    assert (await line.call(pb.GenericCommand(cmd=pb.conv, op=pb.add, i=2, convMessage=join))).op == pb.added
    return line


async def answered(line: Line, command: pb.GenericCommand) -> None:
    """Send it and wait for the reply, whatever comes before that."""
    await line.send(command)
    while (await line.receive()).i != command.i:
        pass


def fill(node: Node, number: int) -> None:
    """So many rooms with nobody in them that anybody could name."""
    rooms = node.tenant.logs._rooms
    for one in range(number):
        rooms[f"empty-{one}"] = Room(RoomLog(node.fanout, 0))


async def test_a_snapshot_serves_all_who_ask_within_a_second() -> None:
    async with pulsing() as (_, pulse, clocks):
        first, at_once = await asyncio.gather(pulse.snapshot(), pulse.snapshot())
        assert at_once is first
        clocks.now += 0.8
        assert await pulse.snapshot() is first
        clocks.now += 0.1001
        assert await pulse.snapshot() is not first


async def test_a_room_is_shown_with_what_became_of_its_messages() -> None:
    async with pulsing() as (node, pulse, _):
        cid = await room(node, "Cheese")
        tom, _ = await enter(node, cid, "tom"), await enter(node, cid, "jerry")
        await answered(tom, message(cid))
        snapshot = await pulse.snapshot()
        (top,) = snapshot.top_rooms
        assert (top.app, top.id, top.name, top.readers, top.messages, top.owed) == ("app", cid, "Cheese", 2, 1, 1)
        assert top.shed["low"] == {"age": 0, "distance": 0, "sample": 0, "overrun": 0}
        assert top.refused == {"rate": 0, "governor": 0}
        assert snapshot.totals.sends == 1
        assert snapshot.rooms == 1


async def test_the_busiest_room_comes_first_and_then_the_fullest() -> None:
    async with pulsing() as (node, pulse, clocks):
        busy, full = await room(node), await room(node)
        tom = await enter(node, busy, "tom")
        await enter(node, busy, "jerry")
        for client_id in ("a", "b", "c"):
            await enter(node, full, client_id)
        assert [top.id for top in (await pulse.snapshot()).top_rooms] == [full, busy]
        await answered(tom, message(busy))
        clocks.now += 1
        assert [top.id for top in (await pulse.snapshot()).top_rooms] == [busy, full]
        clocks.now += 1
        assert [top.id for top in (await pulse.snapshot()).top_rooms] == [full, busy]


async def test_a_room_that_is_empty_again_is_not_shown() -> None:
    async with pulsing() as (node, pulse, clocks):
        cid = await room(node)
        tom = await enter(node, cid, "tom")
        assert len((await pulse.snapshot()).top_rooms) == 1
        leave = pb.ConvCommand(cid=cid, m=["tom"])
        await answered(tom, pb.GenericCommand(cmd=pb.conv, op=pb.remove, i=9, convMessage=leave))
        clocks.now += 1
        assert (await pulse.snapshot()).top_rooms == []


async def test_of_very_many_rooms_some_are_looked_at_each_time_and_all_in_turn() -> None:
    async with pulsing() as (node, pulse, clocks):
        cid = await room(node)
        await enter(node, cid, "tom")
        fill(node, 5 * ROOMS_LOOKED_AT - 1)
        seen = []
        for _ in range(5):
            seen.append([top.id for top in (await pulse.snapshot()).top_rooms])
            assert len(pulse._top._candidates) <= CANDIDATES
            clocks.now += 1
        assert seen[-1] == [cid]
        node.tenant.logs._rooms.clear()


async def test_no_more_rooms_are_shown_than_fit() -> None:
    async with pulsing() as (node, pulse, _):
        for number in range(TOP_ROOMS + 3):
            await enter(node, await room(node), f"tom-{number}")
        assert len((await pulse.snapshot()).top_rooms) == TOP_ROOMS


async def test_a_new_name_is_seen_after_a_while() -> None:
    async with pulsing() as (node, pulse, clocks):
        cid = await room(node, "old")
        tom = await enter(node, cid, "tom")
        assert [top.name for top in (await pulse.snapshot()).top_rooms] == ["old"]
        attr = pb.JsonObjectMessage(data='{"name":"new"}')
        update = pb.GenericCommand(cmd=pb.conv, op=pb.update, i=7, convMessage=pb.ConvCommand(cid=cid, attr=attr))
        await answered(tom, update)
        clocks.now += 1
        assert [top.name for top in (await pulse.snapshot()).top_rooms] == ["old"]
        clocks.now += NAMED_SECONDS
        assert [top.name for top in (await pulse.snapshot()).top_rooms] == ["new"]


async def test_commits_are_those_of_the_last_seconds() -> None:
    clocks = Clocks()
    clocks.counts = [100, 0, 0, 5]
    recent = RecentCommits(clocks.commits, clocks.seconds)
    assert recent.percentiles().count == 0
    clocks.counts = [100, 99, 1, 5]
    clocks.now += 1
    found = recent.percentiles()
    assert found.count == 100
    assert found.p50 == pytest.approx(1 + 9 * 50 / 99, abs=0.001)
    assert found.p99 == pytest.approx(10)
    clocks.counts[3] += 300
    assert recent.percentiles().p99 == 100  # longer than the last bound: nobody knows by how much
    clocks.now += 10
    recent.percentiles()
    clocks.now += 10
    assert recent.percentiles().count == 0


async def test_the_share_is_that_of_the_last_seconds() -> None:
    clocks = Clocks()
    shares = Shares(clocks.processor_seconds, clocks.seconds)
    assert shares.share(0.0) == 0.0
    clocks.now += 1
    clocks.process += 2
    assert shares.share(0.5) == 0.25
    clocks.now += SHARE_SECONDS
    shares.share(0.5)
    clocks.now += SHARE_SECONDS
    clocks.process += 1
    assert shares.share(0.5) == 0.0


async def test_only_what_work_does_itself_is_measured() -> None:
    clocks = Clocks()
    meter = Meter(clocks.seconds)
    waits_for: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def work() -> int:
        clocks.now += 1
        got = await waits_for
        clocks.now += 2
        return got

    async def metered() -> int:
        return await meter.run(work())

    task = asyncio.create_task(metered())
    await asyncio.sleep(0)
    clocks.now += 1_000
    waits_for.set_result(7)
    assert await task == 7
    assert meter.seconds == 3


async def test_measured_work_fails_and_is_cancelled_like_any_other() -> None:
    clocks = Clocks()
    meter = Meter(clocks.seconds)
    cleaned = []

    async def work(waits_for: asyncio.Future[None]) -> str:
        try:
            await waits_for
        except ValueError:
            return "caught"
        finally:
            clocks.now += 1
            cleaned.append(waits_for)
        return "done"

    async def metered(waits_for: asyncio.Future[None]) -> str:
        return await meter.run(work(waits_for))

    loop = asyncio.get_running_loop()
    fails: asyncio.Future[None] = loop.create_future()
    fails.set_exception(ValueError())
    assert await metered(fails) == "caught"
    never: asyncio.Future[None] = loop.create_future()
    task = asyncio.create_task(metered(never))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    broken: asyncio.Future[None] = loop.create_future()
    broken.set_exception(KeyError())
    with pytest.raises(KeyError):
        await metered(broken)
    assert len(cleaned) == 3
    assert meter.seconds == 3


async def test_what_is_done_in_a_thread_is_measured_and_its_error_comes_out() -> None:
    clocks = Clocks()
    meter = Meter(clocks.seconds)

    def work() -> None:
        clocks.now += 1
        raise ValueError

    with pytest.raises(ValueError):
        await meter.in_thread(work)
    assert meter.seconds == 1


async def test_connections_and_sessions_are_counted_as_they_come_and_go() -> None:
    async with pulsing() as (node, pulse, clocks):
        lines = [await node.line() for _ in range(3)]
        for line in lines[:2]:
            await line.open("tom")
        await lines[1].open("jerry")
        assert len(node.tenant.presence) == 3
        lines[1].connection.abort()
        await lines[1].receive_all()  # the socket is closed last
        await node.dispatcher.finish()
        clocks.now += 1
        snapshot = await pulse.snapshot()
        assert snapshot.connections == {"tcp": 2, "websocket": 0}
        assert snapshot.sessions == len(node.tenant.presence) == 1
