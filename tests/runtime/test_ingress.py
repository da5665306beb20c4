import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastim.core.errors import SendQuotaExceeded
from fastim.runtime import ingress, quotas
from fastim.runtime.ingress import Governor, LocalIngress
from fastim.runtime.lag import PERIOD_SECONDS, SMOOTHING_SECONDS, LoopLag
from fastim.runtime.limits import LimitCounters
from fastim.settings import Limits
from fastim.wire import messages2_pb2 as pb
from tests.fakes.running import JumpingLoop, on_asyncio
from tests.runtime.node import message, running_node

HIGH, NORMAL, LOW = 1, 2, 3
NOTHING = {"rate": (0, 0, 0), "governor": (0, 0, 0)}


class Door:
    """A door, its counters, its governor, and the clock that it goes by."""

    def __init__(self, per_second: int = 0) -> None:
        self.seconds = 1_000.0
        self.counters = LimitCounters()
        self.governor = Governor(250)
        limits = Limits(room_sends_per_second=per_second)
        self.ingress = LocalIngress(limits, self.counters, self.governor, lambda: self.seconds)

    def lets_in(self, room: str = "room", priority: int = NORMAL) -> bool:
        try:
            self.ingress.admit(room, priority)
        except SendQuotaExceeded:
            return False
        return True

    @property
    def bites(self) -> tuple[int, int]:
        return self.counters.bites["room_sends"], self.counters.bites["governor"]


class TestRooms:
    def test_each_room_and_each_priority_has_its_own_second(self) -> None:
        door = Door(per_second=2)
        for room in ("lobby", "kitchen"):
            for priority in (HIGH, NORMAL, LOW):
                assert [door.lets_in(room, priority) for _ in range(4)] == [True, True, False, False]

    def test_it_fills_steadily(self) -> None:
        door = Door(per_second=4)
        assert [door.lets_in() for _ in range(5)] == [True] * 4 + [False]
        door.seconds += 0.24
        assert not door.lets_in()
        door.seconds += 0.02
        assert [door.lets_in() for _ in range(2)] == [True, False]
        door.seconds += 1.01
        assert [door.lets_in() for _ in range(5)] == [True] * 4 + [False]

    @given(st.integers(1, 20), st.lists(st.floats(0, 0.6, allow_nan=False), max_size=100))
    def test_no_second_takes_more_than_what_was_in_and_what_flowed_in(
        self, per_second: int, pauses: list[float]
    ) -> None:
        door, taken = Door(per_second), []
        for pause in pauses:
            door.seconds += pause
            door.lets_in("another")  # nobody is let off because others come and go
            if door.lets_in():
                taken.append(door.seconds)
        for start in taken:
            assert sum(start <= one < start + 1 for one in taken) <= 2 * per_second

    def test_who_is_over_is_told_how_much_is_taken(self) -> None:
        door = Door(per_second=1)
        door.lets_in()
        with pytest.raises(SendQuotaExceeded, match=r"^this chat room takes 1 messages of this priority a second$"):
            door.ingress.admit("room", NORMAL)

    def test_zero_is_no_limit(self) -> None:
        door = Door(per_second=0)
        assert all(door.lets_in() for _ in range(5_000))
        assert door.ingress.refused("room") == NOTHING

    def test_what_is_refused_is_counted_by_room_reason_and_priority(self) -> None:
        door = Door(per_second=1)
        for room, priority, times in (("lobby", HIGH, 2), ("lobby", LOW, 4), ("kitchen", NORMAL, 3)):
            for _ in range(times):
                door.lets_in(room, priority)
        door.governor.hear(1.0)
        for _ in range(5):
            door.lets_in("kitchen", LOW)
        assert door.ingress.refused("lobby") == {"rate": (1, 0, 3), "governor": (0, 0, 0)}
        assert door.ingress.refused("kitchen") == {"rate": (0, 2, 0), "governor": (0, 0, 5)}
        assert door.ingress.refused("cellar") == NOTHING
        assert door.ingress.refused_in_all == {"rate": (1, 2, 3), "governor": (0, 0, 5)}
        assert door.bites == (6, 5)

    def test_rooms_that_come_and_go_are_remembered_within_bounds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ingress, "ROOMS_MAX", 10)
        monkeypatch.setattr(quotas, "GENERATION_MAX", 10)
        door = Door(per_second=1)
        for number in range(1_000):
            room = f"room {number}"
            assert [door.lets_in(room), door.lets_in(room), door.lets_in("busy")] == [True, False, number == 0]
            assert len(door.ingress._buckets) <= 20
            assert len(door.ingress._refused) <= 10
        assert door.ingress.refused("busy") == {"rate": (0, 999, 0), "governor": (0, 0, 0)}
        assert door.ingress.refused("room 0") == NOTHING
        assert door.ingress.refused_in_all == {"rate": (0, 1_999, 0), "governor": (0, 0, 0)}


class TestTheGovernor:
    def test_a_busy_server_takes_no_messages_of_low_priority_and_all_others(self) -> None:
        door = Door()
        door.governor.hear(0.25)
        assert [door.lets_in(priority=priority) for priority in (HIGH, NORMAL, LOW)] == [True, True, False]
        with pytest.raises(SendQuotaExceeded, match=r"^the server is busy; messages of low priority are not taken$"):
            door.ingress.admit("room", LOW)
        door.governor.hear(0.1)
        assert door.lets_in(priority=LOW)

    def test_what_it_refuses_is_not_taken_out_of_the_rooms_second(self) -> None:
        door = Door(per_second=1)
        door.governor.hear(1.0)
        assert not door.lets_in(priority=LOW)
        door.governor.hear(0.0)
        assert door.lets_in(priority=LOW)

    def test_it_lets_go_at_half_of_the_lag_that_made_it_act(self) -> None:
        governor, states = Governor(250), []
        for lag_seconds in (0.0, 0.249, 0.25, 0.2, 0.126, 0.124, 0.2, 0.3, 0.0):
            governor.hear(lag_seconds)
            states.append(governor.active)
        assert states == [False, False, True, True, True, False, False, True, False]

    def test_zero_is_never(self) -> None:
        governor = Governor(0)
        governor.hear(3_600)
        assert not governor.active

    @on_asyncio
    async def test_it_acts_on_a_lag_that_stays_and_not_on_a_hiccup(self) -> None:
        governor, states = Governor(250), []
        lag = LoopLag(governor.hear)
        await pass_time(1)
        await stall(0.3)
        states.append(governor.active)
        await pass_time(2)
        for _ in range(4):
            await stall(0.4)
        states.append(governor.active)
        await pass_time(PERIOD_SECONDS)
        states.append(governor.active)
        await pass_time(2 * SMOOTHING_SECONDS)
        states.append(governor.active)
        lag.stop()
        assert states == [False, True, True, False]


@on_asyncio
async def test_a_client_over_the_limit_gets_an_ack_with_the_code() -> None:
    async with running_node(Limits(room_sends_per_second=2)) as node:
        line = await node.line()
        await line.open()
        start = pb.GenericCommand(cmd=pb.conv, op=pb.start, i=2, convMessage=pb.ConvCommand(transient=True))
        room = (await line.call(start)).convMessage.cid
        for serial in (3, 4):
            acked = await line.call(message(room, serial=serial))
            assert not acked.ackMessage.HasField("code")
        typing = message(room, b"typing", serial=5)
        typing.directMessage.transient = True
        for command in (message(room, serial=5), typing):
            refused = await line.call(command)
            assert (refused.cmd, refused.i, refused.peerId) == (pb.ack, 5, "tom")
            assert (refused.ackMessage.code, refused.ackMessage.reason) == (4116, "MESSAGE_SENT_QUOTA_EXCEEDED")
        assert node.dispatcher.refusals == {4116: 2}
        assert (await node.store.find_head(room)).sequence == 2


async def pass_time(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def stall(seconds: float) -> None:
    """Keep the loop busy for so long, and let it get round to its timers once."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, JumpingLoop)
    loop.now += seconds
    await asyncio.sleep(0.001)
