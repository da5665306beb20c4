"""The contract of a bus, for the one within a process under asyncio and for the fake under trio."""

from collections.abc import Callable

import anyio
import pytest
from structlog.testing import capture_logs

from fastim.adapters.inprocess import InProcessBus
from fastim.core.events import Event, SessionEvicted
from fastim.ports.bus import Bus
from tests.fakes.bus import RecordingBus
from tests.fakes.running import idle, on_asyncio


def event(number: int) -> SessionEvicted:
    return SessionEvicted(number, "tom", silently=True)


def in_process() -> tuple[Bus, list[Event]]:
    delivered: list[Event] = []
    return InProcessBus(delivered.append), delivered


def recording() -> tuple[Bus, list[Event]]:
    bus = RecordingBus()
    return bus, bus.events


@pytest.mark.parametrize(("make", "backend"), [(in_process, "asyncio"), (recording, "trio")])
def test_events_arrive_in_the_order_of_publishing(make: Callable[[], tuple[Bus, list[Event]]], backend: str) -> None:
    async def scene() -> None:
        bus, delivered = make()

        async def publish(first: int) -> None:
            for number in range(first, first + 3):
                published.append(event(number))
                await bus.publish(published[-1])
                await anyio.lowlevel.checkpoint()

        published: list[Event] = []
        async with anyio.create_task_group() as group:
            group.start_soon(publish, 10)
            group.start_soon(publish, 20)
        await anyio.wait_all_tasks_blocked()
        assert delivered == published
        assert len(delivered) == 6

    anyio.run(scene, backend=backend)


@on_asyncio
async def test_within_a_process_they_wait_for_the_turn_to_end() -> None:
    """What the publisher does without waiting, such as replying, comes first."""
    bus, delivered = in_process()
    await bus.publish(event(1))
    await bus.publish(event(2))
    assert delivered == []
    await idle()
    assert delivered == [event(1), event(2)]


@on_asyncio
async def test_what_delivery_publishes_itself_is_delivered_after() -> None:
    delivered = []

    def deliver(event: Event) -> None:
        delivered.append(event)
        if len(delivered) == 1:
            with pytest.raises(StopIteration):
                bus.publish(follow_up).send(None)

    follow_up = event(3)
    bus = InProcessBus(deliver)
    await bus.publish(event(1))
    await bus.publish(event(2))
    await idle()
    assert delivered == [event(1), event(2), follow_up]


@on_asyncio
async def test_one_that_cannot_be_delivered_does_not_hold_up_the_next() -> None:
    delivered: list[Event] = []

    def deliver(event: Event) -> None:
        if event == bad:
            raise RuntimeError("a bug")
        delivered.append(event)

    bad = event(1)
    bus = InProcessBus(deliver)
    with capture_logs() as logs:
        await bus.publish(bad)
        await bus.publish(event(2))
        await idle()
    assert delivered == [event(2)]
    (logged,) = logs
    assert (logged["event"], logged["event_kind"]) == ("an event could not be delivered", "SessionEvicted")
