"""Hooks about conversations being started, and changed. Source: semantics, section 14 and rule 11.2."""

from typing import Any

import msgspec
import pytest
import trio
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from fastim.core.commands import MuteConversation, Signature, StartConversation, UpdateConversation
from fastim.core.errors import (
    ConversationRejected,
    ConversationSignatureFailed,
    HookFailed,
    SendingNotAllowed,
    UpdateFailed,
    UpdateRejected,
)
from fastim.core.events import ConversationStarted as StartedEvent
from fastim.core.events import ConversationUpdated
from fastim.core.hooks import (
    ConversationAnswer,
    ConversationStart,
    ConversationStarted,
    ConversationUpdate,
    UpdateAnswer,
)
from fastim.core.policy import Policy
from fastim.core.session import Session, office
from fastim.service.conversations import mute_conversation, start_conversation, update_conversation
from tests.fakes.running import on_trio
from tests.fakes.slow_hooks import SlowHooks
from tests.fakes.world import World, new_world

REJECTED = ConversationAnswer(reject=True, code=7, detail="not now")


async def starting(answer: ConversationAnswer | HookFailed) -> tuple[World, Session]:
    world = await new_world()
    world.hooks.answers[ConversationStart] = answer
    world.hooks.noticed = {ConversationStarted}
    return world, await world.login("tom")


async def updating(answer: UpdateAnswer | HookFailed) -> tuple[World, Session, str]:
    world = await new_world()
    world.hooks.answers[ConversationUpdate] = answer
    tom = await world.login("tom")
    return world, tom, await world.start(tom, "jerry", attributes='{"name": "tea"}')


async def columns(world: World, conversation_id: str) -> dict[str, Any]:
    conversation = await world.io.store.find_conversation(conversation_id)
    assert conversation is not None
    return conversation.columns


async def muted(world: World, conversation_id: str) -> tuple[str, ...]:
    conversation = await world.io.store.find_conversation(conversation_id)
    assert conversation is not None
    return conversation.muted


class TestStarting:
    @on_trio
    async def test_the_hook_is_told_what_it_is_to_be(self) -> None:
        world, tom = await starting(ConversationAnswer())
        command = StartConversation(("jerry",), '{"name": "tea", "attr": {"a": 1}}')
        started = await start_conversation(world.io, tom, command)
        attr = {"name": "tea", "attr": {"a": 1}}
        assert world.hooks.asked == [ConversationStart(init_by="tom", members=("tom", "jerry"), attr=attr)]
        assert world.hooks.told == [ConversationStarted(conversation_id=started.conversation_id)]

    @pytest.mark.parametrize(
        "command",
        [StartConversation(("jerry",)), StartConversation(chat_room=True), StartConversation(("a",), temporary=True)],
    )
    @on_trio
    async def test_what_it_rejects_is_not_started(self, command: StartConversation) -> None:
        world, tom = await starting(REJECTED)
        with pytest.raises(ConversationRejected) as caught:
            await start_conversation(world.io, tom, command)
        assert (caught.value.code, caught.value.app_code, caught.value.app_message) == (4305, 7, "not now")
        assert await world.io.store.conversation_ids_of("tom") == []
        assert (world.bus.events, world.hooks.told) == ([], [])
        assert world.rooms.room_of(tom) is None

    @on_trio
    async def test_a_hook_that_must_answer_and_does_not_has_nothing_done(self) -> None:
        world, tom = await starting(HookFailed())
        with pytest.raises(HookFailed):
            await start_conversation(world.io, tom, StartConversation(("jerry",)))
        assert await world.io.store.conversation_ids_of("tom") == []

    @on_trio
    async def test_one_that_is_there_already_is_asked_about_and_not_told_of(self) -> None:
        world, tom = await starting(ConversationAnswer())
        command = StartConversation(("jerry",), unique=True)
        first = await start_conversation(world.io, tom, command)
        assert await start_conversation(world.io, tom, command) == replace(first, existing=True)
        assert (len(world.hooks.asked), len(world.hooks.told)) == (2, 1)

    @on_trio
    async def test_the_application_is_not_asked_about_what_it_starts_and_it_is_told_of(self) -> None:
        world, _ = await starting(REJECTED)
        await start_conversation(world.io, office(), StartConversation(("jerry",)))
        await start_conversation(world.io, office(), StartConversation(service=True))
        assert world.hooks.asked == []
        assert len(world.hooks.told) == 2

    @on_trio
    async def test_what_cannot_be_started_or_lacks_a_signature_is_not_asked_about(self) -> None:
        world, tom = await starting(ConversationAnswer())
        with pytest.raises(SendingNotAllowed):
            await start_conversation(world.io, tom, StartConversation(service=True))
        world.io = replace(world.io, policy=Policy(signature_required=True))
        unsigned = StartConversation(("jerry",), signature=Signature(1, "n", "wrong"))
        with pytest.raises(ConversationSignatureFailed):
            await start_conversation(world.io, tom, unsigned)
        assert world.hooks.asked == []

    @on_trio
    async def test_it_is_as_old_as_its_creation_and_not_as_the_question(self) -> None:
        world, tom = await starting(ConversationAnswer())
        hooks = SlowHooks()
        hooks.answers[ConversationStart] = ConversationAnswer()
        world.io = replace(world.io, hooks=hooks)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(start_conversation, world.io, tom, StartConversation(("jerry",)))
            await wait_all_tasks_blocked()
            world.clock.step(3_000)
            hooks.answer(0, ConversationAnswer())
        assert world.bus.the(StartedEvent).at == world.clock.now()


class TestUpdating:
    @on_trio
    async def test_the_hook_is_told_what_is_to_change_and_nothing_of_mutes(self) -> None:
        world, tom, tea = await updating(UpdateAnswer())
        await update_conversation(world.io, tom, UpdateConversation(tea, '{"attr.a": {"__op": "Delete"}}'))
        expected = ConversationUpdate(init_by="tom", conversation_id=tea, attr={"attr.a": {"__op": "Delete"}})
        assert world.hooks.asked == [expected]
        assert b"mute" not in msgspec.json.encode(expected)

    @on_trio
    async def test_what_it_rejects_stays_as_it_is(self) -> None:
        world, tom, tea = await updating(UpdateAnswer(reject=True, code=7, detail="no", attr={"name": "x"}))
        with pytest.raises(ConversationRejected) as caught:
            await update_conversation(world.io, tom, UpdateConversation(tea, '{"name": "coffee"}'))
        assert (caught.value.app_code, caught.value.app_message) == (7, "no")
        assert await columns(world, tea) == {"name": "tea"}
        assert world.bus.events == []

    @on_trio
    async def test_a_hook_that_must_answer_and_does_not_has_nothing_done(self) -> None:
        world, tom, tea = await updating(HookFailed())
        with pytest.raises(HookFailed):
            await update_conversation(world.io, tom, UpdateConversation(tea, '{"name": "coffee"}'))
        assert await columns(world, tea) == {"name": "tea"}

    @on_trio
    async def test_what_it_wants_instead_is_done_and_told(self) -> None:
        world, tom, tea = await updating(UpdateAnswer(attr={"name": "cocoa"}, mute=True))
        updated = await update_conversation(world.io, tom, UpdateConversation(tea, '{"name": "coffee"}'))
        assert await columns(world, tea) == {"name": "cocoa"}
        event = world.bus.the(ConversationUpdated)
        assert updated.asked == event.asked == updated.modified == event.modified == b'{"name":"cocoa"}'
        assert await muted(world, tea) == ()

    @pytest.mark.parametrize("attr", [{"objectId": "x"}, {"name": {"__op": "Increment", "amount": 1}}])
    @on_trio
    async def test_what_it_wants_and_cannot_be_is_ignored(self, attr: dict[str, Any]) -> None:
        world, tom, tea = await updating(UpdateAnswer(attr=attr))
        await update_conversation(world.io, tom, UpdateConversation(tea, '{"name": "coffee"}'))
        assert await columns(world, tea) == {"name": "coffee"}

    @on_trio
    async def test_what_is_refused_anyway_is_not_asked_about(self) -> None:
        world, tom, tea = await updating(UpdateAnswer())
        with pytest.raises(UpdateFailed):
            await update_conversation(world.io, tom, UpdateConversation(tea, '{"objectId": "x"}'))
        with pytest.raises(UpdateRejected):
            await update_conversation(world.io, await world.login("spike"), UpdateConversation(tea, "{}"))
        assert world.hooks.asked == []

    @on_trio
    async def test_the_application_is_not_asked_about_what_it_changes(self) -> None:
        world, _, tea = await updating(UpdateAnswer(reject=True))
        await update_conversation(world.io, office(), UpdateConversation(tea, '{"name": "coffee"}'))
        assert await columns(world, tea) == {"name": "coffee"}

    @on_trio
    async def test_changes_of_one_session_keep_their_order(self) -> None:
        world, tom, tea = await updating(UpdateAnswer())
        hooks = SlowHooks()
        hooks.answers[ConversationUpdate] = UpdateAnswer()
        world.io = replace(world.io, hooks=hooks)
        async with trio.open_nursery() as nursery:
            for name in ("a", "b"):
                command = UpdateConversation(tea, f'{{"name": "{name}"}}')
                nursery.start_soon(update_conversation, world.io, tom, command)
                await wait_all_tasks_blocked()
            hooks.answer(1, UpdateAnswer())
            await wait_all_tasks_blocked()
            hooks.answer(0, UpdateAnswer())
        assert await columns(world, tea) == {"name": "b"}


@pytest.mark.rule("11.2")
class TestMuting:
    @pytest.mark.parametrize("wanted", [True, False])
    @on_trio
    async def test_the_hook_is_told_which_and_nothing_of_attributes(self, wanted: bool) -> None:
        world, tom, tea = await updating(UpdateAnswer(attr={"name": "x"}))
        await mute_conversation(world.io, tom, MuteConversation(tea, wanted))
        expected = ConversationUpdate(init_by="tom", conversation_id=tea, mute=wanted)
        assert world.hooks.asked == [expected]
        assert b"attr" not in msgspec.json.encode(expected)
        assert await muted(world, tea) == (("tom",) if wanted else ())
        assert await columns(world, tea) == {"name": "tea"}

    @on_trio
    async def test_what_it_rejects_stays_as_it_is(self) -> None:
        world, tom, tea = await updating(UpdateAnswer(reject=True))
        with pytest.raises(ConversationRejected):
            await mute_conversation(world.io, tom, MuteConversation(tea, muted=True))
        assert await muted(world, tea) == ()

    @on_trio
    async def test_what_it_wants_instead_is_done(self) -> None:
        world, tom, tea = await updating(UpdateAnswer(mute=False))
        await mute_conversation(world.io, tom, MuteConversation(tea, muted=True))
        assert await muted(world, tea) == ()

    @pytest.mark.rule("11.3")
    @on_trio
    async def test_of_a_chat_room_where_there_is_nothing_to_mute_nobody_is_asked(self) -> None:
        world, tom, _ = await updating(UpdateAnswer(reject=True))
        await mute_conversation(world.io, tom, MuteConversation(await world.start_room(tom), muted=True))
        assert world.hooks.asked == []
