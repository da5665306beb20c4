import pytest

from fastim.core.commands import Send
from fastim.core.errors import InvalidTarget, MessageTooLong, SendQuotaExceeded, SilencedForATime
from fastim.core.events import MessagePosted
from fastim.core.policy import Policy
from fastim.core.session import Session, office
from fastim.core.unread import Head
from fastim.service.governance import silence_for_a_time
from fastim.service.messages import send_message
from fastim.service.wills import fire_will
from tests.fakes.running import on_trio
from tests.fakes.world import World, new_world, written


def said(world: World) -> list[bytes]:
    return [event.message.body for event in world.bus.of(MessagePosted)]


async def refused(world: World, sender: Session, command: Send) -> SendQuotaExceeded:
    with pytest.raises(SendQuotaExceeded) as caught:
        await send_message(world.io, sender, command)
    return caught.value


@on_trio
async def test_what_a_room_does_not_take_is_neither_stored_nor_delivered() -> None:
    world = await new_world()
    tom = await world.login("tom")
    room = await world.start_room(tom)
    world.ingress.most = 1
    await world.send(tom, room, "first")
    error = await refused(world, tom, written(room, "second"))
    assert (error.code, error.detail) == (4116, "the room is full of messages")
    assert said(world) == [b"first"]
    assert (await world.io.store.find_head(room)).sequence == 1


@on_trio
async def test_a_transient_message_goes_through_the_same_door() -> None:
    world = await new_world()
    tom = await world.login("tom")
    room = await world.start_room(tom)
    world.ingress.most = 1
    await world.send(tom, room, "stored")
    await refused(world, tom, written(room, "typing", transient=True))
    assert said(world) == [b"stored"]


@on_trio
async def test_so_does_what_the_application_says_in_a_clients_name() -> None:
    world = await new_world()
    tom = await world.login("tom")
    room = await world.start_room(tom)
    world.ingress.most = 0
    for transient in (False, True):
        await refused(world, office("tom"), written(room, transient=transient))
    assert said(world) == []
    assert await world.io.store.find_head(room) == Head()


@on_trio
async def test_each_message_is_counted_under_its_priority_and_without_one_as_normal() -> None:
    world = await new_world()
    tom = await world.login("tom")
    room = await world.start_room(tom)
    for asked in (1, 3, 2, 0, 9):
        await world.send(tom, room, priority=asked)
    assert world.ingress.let_in == [(room, 1), (room, 3), (room, 2), (room, 2), (room, 2)]


@on_trio
async def test_other_conversations_have_no_such_door() -> None:
    world = await new_world()
    tom = await world.login("tom")
    world.ingress.most = 0
    for conversation in (
        await world.start(tom, "jerry"),
        await world.start_temporary(tom, "jerry"),
        await world.start_service(tom),
    ):
        await world.send(tom, conversation, priority=3)
        await world.send(tom, conversation, priority=3, transient=True)
    assert world.ingress.turned_away == []
    assert len(said(world)) == 6


@on_trio
async def test_a_will_is_left_and_sent_however_full_the_room_is() -> None:
    world = await new_world()
    tom = await world.login("tom")
    room = await world.start_room(tom)
    world.ingress.most = 0
    await world.send(tom, room, "bye", will=True, priority=3)
    world.directory.leave(tom)
    await fire_will(world.io, tom)
    assert said(world) == [b"bye"]
    assert world.ingress.let_in == world.ingress.turned_away == []


@on_trio
async def test_what_is_not_let_in_anyway_takes_up_no_place() -> None:
    world = await new_world(Policy(message_bytes=100))
    tom, jerry = await world.login("tom"), await world.login("jerry")
    room = await world.start_room(tom)
    await silence_for_a_time(world.io, office(), room, "jerry", 60)
    for sender, command, error in (
        (tom, written(room, "x" * 101), MessageTooLong),
        (tom, written("0" * 24), InvalidTarget),
        (jerry, written(room), SilencedForATime),
    ):
        with pytest.raises(error):
            await send_message(world.io, sender, command)
    assert world.ingress.let_in == []
