"""The store that takes its time does what the store under it does, in the order of the calls."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastim.adapters.memory.store import MemoryApplicationStore, MemoryStore
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import ConversationNotFound, Unavailable
from fastim.core.message import Draft, Span
from fastim.core.session import Grant
from fastim.core.units import Millis
from fastim.ports.store import Appended, ApplicationStore
from tests.fakes.running import explored, on_trio, schedules
from tests.fakes.store import PacedStore

TEA = Conversation("0" * 24, Kind.NORMAL, "tom", Millis(1), Millis(1), members=("tom", "jerry"), unique_key="u")
Step = Callable[[ApplicationStore], Awaitable[Any]]

STEPS: list[Step] = [
    lambda store: store.create_conversation(TEA),
    lambda store: store.create_conversation(replace(TEA, id="1" * 24)),
    lambda store: store.change_conversation(replace(TEA, members=("tom", "spike")), joined=["spike"], left=["jerry"]),
    lambda store: store.append(TEA.id, Draft("tom", b"hi", token="t", mentions=("jerry",)), Millis(5)),
    lambda store: store.append(TEA.id, Draft("jerry", b"ho"), Millis(3)),
    lambda store: store.mark_read(TEA.id, "jerry", None, Millis(9)),
    lambda store: store.save_grant("tom", "token", Grant("tag", "device", 1, Millis(9))),
    lambda store: store.kick("tom", Millis(7)),
    lambda store: store.use_once("signature", Millis(9)),
]


async def outcome(step: Step, store: ApplicationStore) -> object:
    """What a write comes to, but for the random part of a message's id."""
    try:
        result = await step(store)
    except (ConversationNotFound, Unavailable) as error:
        return type(error)
    return replace(result, message=replace(result.message, id="")) if isinstance(result, Appended) else result


async def sight(store: ApplicationStore) -> list[object]:
    """Everything that can be read of it, but for the ids of messages."""
    joined = {client_id: await store.joined_conversations(client_id) for client_id in ("tom", "jerry", "spike")}
    return [
        [one async for one in store.scan_conversations()],
        await store.find_conversation(TEA.id),
        {client_id: await store.conversation_ids_of(client_id) for client_id in joined},
        {client_id: await store.find_membership(TEA.id, client_id) for client_id in joined},
        {client_id: [one.membership for one in found] for client_id, found in joined.items()},
        replace(await store.find_head(TEA.id), last_id=""),
        [replace(one, id="") for one in await store.history(TEA.id, Span())],
        await store.find_grant("tom", "token"),
        await store.find_kick("tom"),
    ]


@explored
@given(schedules, st.lists(st.sampled_from(STEPS), max_size=10))
@on_trio
async def test_writes_come_to_the_same_whether_waited_for_or_not(schedule: object, steps: list[Step]) -> None:
    quick = MemoryApplicationStore(MemoryStore())
    paced = PacedStore(MemoryApplicationStore(MemoryStore()))
    trio.lowlevel.spawn_system_task(paced.run)
    expected = [await outcome(step, quick) for step in steps]
    outcomes: dict[int, object] = {}

    async def wait(number: int, write: Awaitable[Any]) -> None:
        outcomes[number] = await outcome(lambda _: write, paced)

    async with trio.open_nursery() as nursery:
        for number, step in enumerate(steps):
            nursery.start_soon(wait, number, step(paced))
    assert [outcomes[number] for number in range(len(steps))] == expected
    assert list(outcomes) == sorted(outcomes)
    assert await sight(paced) == await sight(quick)
    head = await paced.find_head(TEA.id)
    assert (await paced.find_message(TEA.id, head.position) is not None) == (head.sequence > 0)


@on_trio
async def test_nothing_is_read_before_it_is_committed() -> None:
    paced = PacedStore(MemoryApplicationStore(MemoryStore()))
    trio.lowlevel.spawn_system_task(paced.run)
    paced.hold_back()
    write = paced.create_conversation(TEA)
    await trio.testing.wait_all_tasks_blocked()
    assert await paced.find_conversation(TEA.id) is None
    paced.go_on()
    assert await write == await paced.find_conversation(TEA.id) == TEA


@on_trio
async def test_what_is_refused_changes_nothing() -> None:
    paced = PacedStore(MemoryApplicationStore(MemoryStore()))
    trio.lowlevel.spawn_system_task(paced.run)
    paced.refusing = True
    with pytest.raises(Unavailable):
        await paced.create_conversation(TEA)
    assert await paced.find_conversation(TEA.id) is None
