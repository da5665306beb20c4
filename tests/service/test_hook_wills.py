"""Wills are asked about when they are delivered. Source: semantics, section 14 and rules 5.20 to 5.22."""

import pytest
import trio
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from fastim.core.errors import HookFailed
from fastim.core.events import MessagePatched, MessagePosted
from fastim.core.hooks import MessageAnswer, MessageReceived, MessageSent
from fastim.core.session import Session
from fastim.service.wills import fire_orphans, fire_will
from tests.fakes.running import on_trio
from tests.fakes.slow_hooks import SlowHooks
from tests.fakes.world import World, new_world


async def scene(answer: MessageAnswer | HookFailed) -> tuple[World, Session, str]:
    """A will of tom's in a conversation with jerry and spike."""
    world = await new_world()
    world.hooks.answers[MessageReceived] = answer
    world.hooks.noticed = {MessageSent}
    tom = replace(await world.login("tom"), address="10.0.0.7")
    await world.login("jerry")
    tea = await world.start(tom, "jerry", "spike")
    await world.send(tom, tea, "bye", will=True)
    return world, tom, tea


async def lose(world: World, session: Session) -> None:
    world.directory.leave(session)
    await fire_will(world.io, session)


@on_trio
async def test_the_hook_hears_of_it_when_it_is_a_message() -> None:
    world, tom, tea = await scene(MessageAnswer())
    assert world.hooks.asked == []
    await lose(world, tom)
    (asked,) = world.hooks.asked
    assert asked == MessageReceived(
        from_peer="tom",
        conversation_id=tea,
        to_peers=("jerry", "spike"),
        transient=False,
        bin=False,
        content="bye",
        receipt=False,
        timestamp=world.clock.now(),
        system=False,
        source_ip="10.0.0.7",
    )
    message = world.bus.the(MessagePosted).message
    (told,) = world.hooks.told
    assert isinstance(told, MessageSent)
    assert (told.message_id, told.content, told.source_ip) == (message.id, "bye", "10.0.0.7")
    assert (told.online_peers, told.offline_peers) == (("jerry",), ("spike",))


@pytest.mark.parametrize("answer", [MessageAnswer(drop=True, code=7), HookFailed()])
@on_trio
async def test_what_the_hook_drops_or_must_answer_and_does_not_is_forgotten(
    answer: MessageAnswer | HookFailed,
) -> None:
    world, tom, _ = await scene(answer)
    await lose(world, tom)
    await lose(world, tom)
    await fire_orphans(world.io)
    assert (world.bus.events, world.hooks.told) == ([], [])
    assert await world.io.store.find_will("tom") is None


@on_trio
async def test_it_may_read_otherwise_and_reach_others_and_nobody_is_left_to_be_told() -> None:
    world, tom, _ = await scene(MessageAnswer(content="bad bye", code=7, to_peers=("spike",)))
    world.words.listed = ("bad",)
    await lose(world, tom)
    event = world.bus.the(MessagePosted)
    assert (event.message.body, event.recipients) == (b"*** bye", ("tom", "spike"))
    assert world.bus.of(MessagePatched) == []


@on_trio
async def test_its_client_does_not_wait_for_the_hook() -> None:
    world, tom, tea = await scene(MessageAnswer())
    hooks = SlowHooks()
    hooks.answers[MessageReceived] = MessageAnswer()
    world.io = replace(world.io, hooks=hooks)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lose, world, tom)
        await wait_all_tasks_blocked()
        again = await world.login("tom")
        await world.send(again, tea, "later", will=True)
        assert world.bus.of(MessagePosted) == []
        hooks.answer(0, MessageAnswer())
    assert world.bus.the(MessagePosted).message.body == b"bye"


@on_trio
async def test_who_was_lost_with_an_earlier_run_is_asked_about_too() -> None:
    world, tom, _ = await scene(MessageAnswer(drop=True))
    world.directory.leave(tom)
    await fire_orphans(world.io)
    assert len(world.hooks.asked) == 1
    assert world.bus.events == []
