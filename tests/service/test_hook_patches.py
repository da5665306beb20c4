"""Hooks about messages that are modified or recalled. Source: semantics, section 14 and rule 8.3."""

from typing import Any

import pytest
import trio
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from fastim.core.commands import PatchMessage, ReadHistory
from fastim.core.errors import HookFailed, MessageNotFound, MessageNotOwned, PatchRejected
from fastim.core.events import MessagePatched
from fastim.core.hooks import MessageAnswer, MessageUpdate
from fastim.core.message import Position
from fastim.core.patch import RECALLED_BODY
from fastim.core.replies import Acked
from fastim.core.session import Session, office
from fastim.core.words import MASKED_CODE
from fastim.service.messages import read_history
from fastim.service.patches import patch_message
from tests.fakes.running import on_trio
from tests.fakes.slow_hooks import SlowHooks
from tests.fakes.world import World, new_world


def modify(conversation_id: str, acked: Acked, text: str = "hello", **fields: Any) -> PatchMessage:
    position = Position(acked.timestamp, acked.message_id)
    return PatchMessage(conversation_id, position, body=text.encode(), size_bytes=len(text), **fields)


async def scene(answer: MessageAnswer | HookFailed, *others: str) -> tuple[World, Session, str, Acked]:
    """A message of tom's in a conversation with jerry, and others."""
    world = await new_world()
    world.hooks.answers[MessageUpdate] = answer
    tom = replace(await world.login("tom"), address="10.0.0.7")
    tea = await world.start(tom, "jerry", *others)
    acked = await world.send(tom, tea, "hi")
    world.bus.events.clear()
    return world, tom, tea, acked


async def body(world: World, session: Session, conversation_id: str) -> bytes:
    (message,) = (await read_history(world.io, session, ReadHistory(conversation_id))).messages
    return message.body


@on_trio
async def test_the_hook_is_told_how_it_is_to_read() -> None:
    world, tom, tea, acked = await scene(MessageAnswer())
    await patch_message(world.io, tom, modify(tea, acked))
    await patch_message(world.io, tom, modify(tea, acked, recall=True))
    expected = MessageUpdate(
        from_peer="tom",
        conversation_id=tea,
        to_peers=("jerry",),
        bin=False,
        content="hello",
        timestamp=acked.timestamp,
        message_id=acked.message_id,
        source_ip="10.0.0.7",
        recall=False,
        system=False,
    )
    assert world.hooks.asked == [expected, replace(expected, content=RECALLED_BODY.decode(), recall=True)]


@on_trio
async def test_what_is_done_already_or_refused_anyway_is_not_asked_about() -> None:
    world, tom, tea, acked = await scene(MessageAnswer())
    jerry = await world.login("jerry")
    with pytest.raises(MessageNotOwned):
        await patch_message(world.io, jerry, modify(tea, acked))
    await patch_message(world.io, tom, modify(tea, acked, recall=True))
    await patch_message(world.io, tom, modify(tea, acked, recall=True))
    assert len(world.hooks.asked) == 1


@on_trio
async def test_the_application_is_not_asked_about_what_it_does_itself() -> None:
    world, tom, tea, acked = await scene(MessageAnswer(drop=True))
    await patch_message(world.io, office("tom"), modify(tea, acked))
    assert await body(world, tom, tea) == b"hello"
    assert world.hooks.asked == []


@pytest.mark.rule("8.3")
@pytest.mark.parametrize("recall", [False, True])
@on_trio
async def test_a_hook_may_have_it_stay_as_it_is(recall: bool) -> None:
    world, tom, tea, acked = await scene(MessageAnswer(drop=True, code=7, detail="too late"))
    with pytest.raises(PatchRejected) as caught:
        await patch_message(world.io, tom, modify(tea, acked, recall=recall))
    assert (caught.value.code, caught.value.app_code, caught.value.app_message) == (4405, 7, "too late")
    assert world.bus.events == []
    assert await body(world, tom, tea) == b"hi"


@on_trio
async def test_a_hook_that_must_answer_and_does_not_has_nothing_done() -> None:
    world, tom, tea, acked = await scene(HookFailed())
    with pytest.raises(HookFailed):
        await patch_message(world.io, tom, modify(tea, acked))
    assert world.bus.events == []
    assert await body(world, tom, tea) == b"hi"


@pytest.mark.rule("8.3", "8.6")
@on_trio
async def test_what_the_hook_says_instead_is_kept_and_the_sender_is_told() -> None:
    world, tom, tea, acked = await scene(MessageAnswer(content="HELLO", code=7, detail="louder"))
    await patch_message(world.io, tom, modify(tea, acked))
    everybody, sender = world.bus.of(MessagePatched)
    assert (everybody.message.body, everybody.code) == (b"HELLO", 0)
    assert everybody.recipients == ("tom", "jerry")
    assert (sender.only, sender.message.body, sender.code, sender.detail) == (tom.number, b"HELLO", 7, "louder")
    assert await body(world, tom, tea) == b"HELLO"


@on_trio
async def test_what_the_hook_says_is_filtered() -> None:
    world, tom, tea, acked = await scene(MessageAnswer(content="bad dog"), "spike")
    world.words.listed = ("bad",)
    await patch_message(world.io, tom, modify(tea, acked))
    assert [event.message.body for event in world.bus.of(MessagePatched)] == [b"*** dog", b"*** dog"]
    assert world.bus.of(MessagePatched)[1].code == MASKED_CODE


@pytest.mark.parametrize("content", ["x" * 5_121, "no Base64"])
@on_trio
async def test_content_that_cannot_be_is_ignored(content: str) -> None:
    world, tom, tea, acked = await scene(MessageAnswer(content=content, bin=content == "no Base64"))
    await patch_message(world.io, tom, modify(tea, acked))
    assert world.bus.the(MessagePatched).message.body == b"hello"


@on_trio
async def test_what_is_left_of_a_recalled_message_is_always_the_same() -> None:
    world, tom, tea, acked = await scene(MessageAnswer(content="it was nothing"))
    await patch_message(world.io, tom, modify(tea, acked, recall=True))
    assert world.bus.the(MessagePatched).message.body == RECALLED_BODY


@on_trio
async def test_only_those_chosen_are_told_and_the_senders_own_devices() -> None:
    world, tom, tea, acked = await scene(MessageAnswer(to_peers=("spike",)), "spike")
    await patch_message(world.io, tom, modify(tea, acked))
    assert world.bus.the(MessagePatched).recipients == ("tom", "spike")


@on_trio
async def test_patches_of_one_session_keep_their_order_and_nobody_else_waits() -> None:
    world, tom, tea, acked = await scene(MessageAnswer())
    hooks = SlowHooks()
    hooks.answers[MessageUpdate] = MessageAnswer()
    world.io = replace(world.io, hooks=hooks)
    async with trio.open_nursery() as nursery:
        for text in ("a", "b"):
            nursery.start_soon(patch_message, world.io, tom, modify(tea, acked, text))
            await wait_all_tasks_blocked()
        await world.send(await world.login("jerry"), tea)
        assert len(hooks.asked) == 2
        hooks.answer(1, MessageAnswer())
        await wait_all_tasks_blocked()
        assert world.bus.of(MessagePatched) == []
        hooks.answer(0, MessageAnswer())
    assert [event.message.body for event in world.bus.of(MessagePatched)] == [b"a", b"b"]


@on_trio
async def test_what_was_recalled_meanwhile_is_not_modified() -> None:
    world, tom, tea, acked = await scene(MessageAnswer())
    hooks = SlowHooks()
    hooks.answers[MessageUpdate] = MessageAnswer()
    world.io = replace(world.io, hooks=hooks)
    async with trio.open_nursery() as nursery:

        async def try_to_modify() -> None:
            with pytest.raises(MessageNotFound):
                await patch_message(world.io, tom, modify(tea, acked))

        nursery.start_soon(try_to_modify)
        await wait_all_tasks_blocked()
        await patch_message(world.io, office("tom"), modify(tea, acked, recall=True))
        hooks.answer(0, MessageAnswer())
    assert await body(world, tom, tea) == RECALLED_BODY
