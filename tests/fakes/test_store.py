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
from fastim.core.broadcast import Broadcast
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import ConversationNotFound, MessageNotFound, Unavailable
from fastim.core.ids import personal_log
from fastim.core.installation import Installation
from fastim.core.message import Draft, Message, Position, Span, place
from fastim.core.notice import Addressed, Notice
from fastim.core.push import Job, Notification
from fastim.core.retention import Retention
from fastim.core.session import Grant
from fastim.core.standing import Role, Standing
from fastim.core.units import Millis
from fastim.core.will import Holder, Will
from fastim.ports.store import Appended, ApplicationStore, DuePush, Stay
from tests.fakes.running import explored, on_trio, schedules
from tests.fakes.store import PacedStore

TEA = Conversation("0" * 24, Kind.NORMAL, "tom", Millis(1), Millis(1), members=("tom", "jerry"), unique_key="u")
NEWS = Conversation("2" * 24, Kind.SYSTEM, "", Millis(1), Millis(1))
NOTICE = Notice("joined", TEA.id, Millis(5), by="tom")
FIRST = Message("id", Millis(5), 1, "tom", b"new")
WILL = Will("tom", TEA.id, "id", Draft("tom", b"bye"), 1, Holder(1, Millis(1), "phone"))
BROADCAST = Broadcast(NEWS.id, place(Draft("", b"news"), "id", Millis(5), 0), Millis(9))
JOB = Job("", TEA.id, TEA.id, Millis(5), ("jerry",))
PUSH = Notification("phone", "id", TEA.id, "jerry", "3" * 24, "{}", Millis(9))
PHONE = Installation("3" * 24, "ios", Millis(1), Millis(1), token="t", channels=("jerry",))
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
    lambda store: store.change_conversation(
        replace(TEA, regulated=True), standings={"tom": Standing(Role.MANAGER)}, notices=[Addressed(None, NOTICE)]
    ),
    lambda store: store.delete_conversation(TEA.id),
    lambda store: store.create_conversation(NEWS, [Addressed("tom", NOTICE)]),
    lambda store: store.change_conversation(NEWS, joined=["tom", "spike"]),
    lambda store: store.append(personal_log(NEWS.id, "tom"), Draft("tom", b"hi"), Millis(5)),
    lambda store: store.patch_message(TEA.id, FIRST, Millis(8)),
    lambda store: store.delete_message(TEA.id, FIRST.position),
    lambda store: store.acknowledge(TEA.id, "jerry", Position(Millis(9)), Millis(9)),
    lambda store: store.add_notices([Addressed("spike", NOTICE)]),
    lambda store: store.refuse_conversations("spike", [TEA.id], True, Millis(9)),
    lambda store: store.save_will(WILL),
    lambda store: store.take_will("tom", None),
    lambda store: store.save_stay(Stay("tom", "phone", TEA.id)),
    lambda store: store.forget_stay("tom", "phone"),
    lambda store: store.save_broadcast(BROADCAST),
    lambda store: store.delete_broadcast("id"),
    lambda store: store.saw_broadcasts("tom", Millis(5)),
    lambda store: store.log_in("tom", "token", Grant("tag", "device", 1, Millis(9)), Millis(5)),
    lambda store: store.append(TEA.id, Draft("tom", b"hi"), Millis(6), push=JOB),
    lambda store: store.append_each([TEA.id, TEA.id], Draft("tom", b"hi"), Millis(6), push=JOB),
    lambda store: store.queue_pushes(
        JOB, [PUSH, replace(PUSH, message_id="next")], {PHONE.id: 2}, Millis(6), done=True
    ),
    lambda store: store.settle_push(DuePush(Millis(6), 0, PUSH), Millis(7)),
    lambda store: store.postpone_push(DuePush(Millis(6), 0, PUSH), Millis(8)),
    lambda store: store.drop_pushes("phone"),
    lambda store: store.change_installation(PHONE.id, lambda before: PHONE if before is None else None),
    lambda store: store.retire(Retention(history=Millis(1), notices=Millis(1)), Millis(7)),
]


async def outcome(step: Step, store: ApplicationStore) -> object:
    """What a write comes to, but for the random part of a message's id."""
    try:
        result = await step(store)
    except (ConversationNotFound, MessageNotFound, Unavailable) as error:
        return type(error)
    if isinstance(result, list):
        return [without_id(one) for one in result]
    return without_id(result)


def without_id(result: object) -> object:
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
        [await store.find_standing(TEA.id, "tom"), await store.standings(TEA.id)],
        [await store.subscriptions(NEWS.id, "", 9), await store.count_subscriptions(NEWS.id)],
        [replace(one, id="") for one in await store.history(personal_log(NEWS.id, "tom"), Span())],
        [replace(one, id="") for one in await store.patches_since(TEA.id, Millis(0), 9)],
        [replace(one, id="") for one in await store.messages_from(TEA.id, 1, 9)],
        {client_id: await store.notices_for(client_id, Millis(0), 9) for client_id in joined},
        await store.refused_conversations("spike"),
        [await store.find_will("tom"), await store.wills()],
        [await store.find_stay("tom", "phone"), await store.stays()],
        [await store.broadcasts(), await store.broadcasts(Millis(5))],
        await store.count_users(0),
        [[replace(one, message_id="") for one in await store.push_jobs(9)], await store.count_pushes()],
        [await store.due_pushes(Millis(9), 9), await store.due_pushes(Millis(9), 9, ["phone"])],
        await store.next_push_due(),
        [await store.find_installation(PHONE.id), await store.find_device("t")],
        [await store.installations_of("jerry"), [one async for one in store.scan_installations()]],
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
    for message in await paced.history(TEA.id, Span()):
        assert await paced.find_message(TEA.id, message.position) == message


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
