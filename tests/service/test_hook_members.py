"""Hooks about who comes and goes. Source: semantics, section 14."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from fastim.core.commands import AddMembers, ChangeBlocks, RemoveMembers, StartConversation
from fastim.core.errors import ConversationRejected, HookFailed, MembershipRequired, RankTooLow
from fastim.core.events import MembersAdded, MembersRemoved
from fastim.core.hooks import (
    ConversationAdd,
    ConversationAdded,
    ConversationAnswer,
    ConversationRemove,
    ConversationRemoved,
)
from fastim.core.session import Session, office
from fastim.service.conversations import start_conversation
from fastim.service.governance import change_blocks
from fastim.service.members import add_members, remove_members
from tests.fakes.running import on_trio
from tests.fakes.slow_hooks import SlowHooks
from tests.fakes.world import World, new_world

REJECTED = ConversationAnswer(reject=True, code=7, detail="members only")
Place = Callable[[World, Session], Awaitable[str]]


async def scene(answer: ConversationAnswer | HookFailed | None = None) -> tuple[World, Session, str]:
    """Tom's conversation with jerry, and hooks that answer that; ``None``: none is asked."""
    world = await new_world()
    tom = await world.login("tom")
    tea = await world.start(tom, "jerry")
    world.hooks.noticed = {ConversationAdded, ConversationRemoved}
    if answer is not None:
        world.hooks.answers[ConversationAdd] = world.hooks.answers[ConversationRemove] = answer
    return world, tom, tea


async def members(world: World, conversation_id: str) -> tuple[str, ...]:
    conversation = await world.io.store.find_conversation(conversation_id)
    assert conversation is not None
    return conversation.members


async def group(world: World, tom: Session) -> str:
    return await world.start(tom)


async def room(world: World, tom: Session) -> str:
    return await world.start_room(tom)


async def service(world: World, tom: Session) -> str:
    return await world.start_service()


class TestAdding:
    @on_trio
    async def test_the_hook_is_told_who_wants_to_add_whom(self) -> None:
        world, tom, tea = await scene(ConversationAnswer())
        await add_members(world.io, tom, AddMembers(tea, ("spike", "tyke", "spike")))
        assert world.hooks.asked == [
            ConversationAdd(init_by="tom", members=("spike", "tyke"), conversation_id=tea),
        ]
        assert world.hooks.told == [ConversationAdded(init_by="tom", conversation_id=tea, members=("spike", "tyke"))]

    @pytest.mark.parametrize("place", [group, room, service])
    @on_trio
    async def test_who_joins_is_asked_about_and_told_of(self, place: Place) -> None:
        world, tom, _ = await scene(ConversationAnswer())
        tea = await place(world, tom)
        world.hooks.asked.clear()
        spike = await world.login("spike")
        for _ in range(2):
            await world.join(spike, tea)
        assert world.hooks.asked == [ConversationAdd(init_by="spike", members=("spike",), conversation_id=tea)] * 2
        assert world.hooks.told == [ConversationAdded(init_by="spike", conversation_id=tea, members=("spike",))]

    @pytest.mark.parametrize("place", [group, room, service])
    @on_trio
    async def test_whom_it_rejects_stays_out(self, place: Place) -> None:
        world, tom, _ = await scene(REJECTED)
        tea = await place(world, tom)
        spike = await world.login("spike")
        with pytest.raises(ConversationRejected) as caught:
            await world.join(spike, tea)
        assert (caught.value.code, caught.value.app_code, caught.value.app_message) == (4305, 7, "members only")
        assert "spike" not in await members(world, tea)
        assert await world.io.store.find_membership(tea, "spike") is None
        assert world.rooms.room_of(spike) is None
        assert (world.hooks.told, world.bus.of(MembersAdded)) == ([], [])

    @on_trio
    async def test_a_hook_that_must_answer_and_does_not_has_nothing_done(self) -> None:
        world, tom, tea = await scene(HookFailed())
        with pytest.raises(HookFailed):
            await add_members(world.io, tom, AddMembers(tea, ("spike",)))
        assert await members(world, tea) == ("tom", "jerry")

    @on_trio
    async def test_the_members_that_a_conversation_starts_with_are_nobodys_business(self) -> None:
        world, tom, _ = await scene(REJECTED)
        await start_conversation(world.io, tom, StartConversation(("jerry", "spike")))
        await start_conversation(world.io, tom, StartConversation(chat_room=True))
        assert (world.hooks.asked, world.hooks.told) == ([], [])

    @on_trio
    async def test_whoever_may_not_add_is_not_asked_about(self) -> None:
        world, _, tea = await scene(ConversationAnswer())
        with pytest.raises(MembershipRequired):
            await add_members(world.io, await world.login("spike"), AddMembers(tea, ("tyke",)))
        assert world.hooks.asked == []

    @on_trio
    async def test_the_application_is_not_asked_about_whom_it_adds_and_it_is_told_of(self) -> None:
        world, _, tea = await scene(REJECTED)
        await add_members(world.io, office(), AddMembers(tea, ("spike",)))
        assert world.hooks.asked == []
        assert world.hooks.told == [ConversationAdded(init_by="", conversation_id=tea, members=("spike",))]

    @on_trio
    async def test_who_has_come_already_or_cannot_is_not_told_of(self) -> None:
        world, tom, tea = await scene()
        await add_members(world.io, tom, AddMembers(tea, ("jerry", "x" * 65)))
        chat = await world.start_room(tom)
        await add_members(world.io, tom, AddMembers(chat, ("nobody",)))
        assert world.hooks.told == []

    @on_trio
    async def test_who_was_removed_meanwhile_adds_nobody(self) -> None:
        world, tom, tea = await scene()
        jerry = await world.login("jerry")
        hooks = SlowHooks()
        hooks.answers[ConversationAdd] = ConversationAnswer()
        world.io = replace(world.io, hooks=hooks)
        async with trio.open_nursery() as nursery:

            async def try_to_add() -> None:
                with pytest.raises(MembershipRequired):
                    await add_members(world.io, jerry, AddMembers(tea, ("spike",)))

            nursery.start_soon(try_to_add)
            await wait_all_tasks_blocked()
            await remove_members(world.io, tom, RemoveMembers(tea, ("jerry",)))
            hooks.answer(0, ConversationAnswer())
        assert await members(world, tea) == ("tom",)

    @on_trio
    async def test_what_one_session_does_keeps_its_order(self) -> None:
        world, tom, tea = await scene()
        hooks = SlowHooks()
        hooks.answers[ConversationAdd] = hooks.answers[ConversationRemove] = ConversationAnswer()
        world.io = replace(world.io, hooks=hooks)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(add_members, world.io, tom, AddMembers(tea, ("spike",)))
            await wait_all_tasks_blocked()
            nursery.start_soon(remove_members, world.io, tom, RemoveMembers(tea, ("spike",)))
            await wait_all_tasks_blocked()
            hooks.answer(1, ConversationAnswer())
            await wait_all_tasks_blocked()
            hooks.answer(0, ConversationAnswer())
        assert await members(world, tea) == ("tom", "jerry")
        assert world.bus.the(MembersRemoved).removed == ("spike",)


class TestRemoving:
    @on_trio
    async def test_the_hook_is_told_who_wants_to_remove_whom(self) -> None:
        world, tom, tea = await scene(ConversationAnswer())
        await remove_members(world.io, tom, RemoveMembers(tea, ("jerry", "tom")))
        assert world.hooks.asked == [ConversationRemove(init_by="tom", members=("jerry",), conversation_id=tea)]
        assert world.hooks.told == [ConversationRemoved(init_by="tom", conversation_id=tea, members=("jerry", "tom"))]

    @pytest.mark.parametrize("place", [group, room, service])
    @on_trio
    async def test_who_leaves_is_not_asked_about_and_told_of(self, place: Place) -> None:
        world, tom, _ = await scene(REJECTED)
        tea = await place(world, tom)
        spike = await world.login("spike")
        await add_members(world.io, replace(spike, privileged=True), AddMembers(tea, ("spike",)))
        world.hooks.told.clear()
        for _ in range(2):
            await remove_members(world.io, spike, RemoveMembers(tea, ("spike",)))
        assert world.hooks.asked == []
        assert world.hooks.told == [ConversationRemoved(init_by="spike", conversation_id=tea, members=("spike",))]

    @on_trio
    async def test_who_leaves_a_room_on_one_device_is_there_until_the_last_one(self) -> None:
        world, tom, _ = await scene()
        tea = await world.start_room(tom)
        phone, desk = await world.login("spike", "phone"), await world.login("spike", "desk")
        for one in (phone, desk):
            await world.join(one, tea)
        assert world.hooks.told == [ConversationAdded(init_by="spike", conversation_id=tea, members=("spike",))]
        await remove_members(world.io, phone, RemoveMembers(tea, ("spike",)))
        assert len(world.hooks.told) == 1
        await remove_members(world.io, desk, RemoveMembers(tea, ("spike",)))
        assert world.hooks.told[1:] == [ConversationRemoved(init_by="spike", conversation_id=tea, members=("spike",))]

    @on_trio
    async def test_whom_it_rejects_to_have_removed_stays(self) -> None:
        world, tom, tea = await scene(REJECTED)
        with pytest.raises(ConversationRejected) as caught:
            await remove_members(world.io, tom, RemoveMembers(tea, ("jerry",)))
        assert (caught.value.code, caught.value.app_code) == (4305, 7)
        assert await members(world, tea) == ("tom", "jerry")
        assert world.hooks.told == []

    @on_trio
    async def test_a_hook_that_must_answer_and_does_not_has_nothing_done(self) -> None:
        world, tom, tea = await scene(HookFailed())
        with pytest.raises(HookFailed):
            await remove_members(world.io, tom, RemoveMembers(tea, ("jerry",)))
        assert await members(world, tea) == ("tom", "jerry")

    @on_trio
    async def test_in_a_room_too(self) -> None:
        world, tom, _ = await scene(ConversationAnswer())
        tea = await world.start_room(tom)
        spike = await world.login("spike")
        await world.join(spike, tea)
        world.hooks.asked.clear()
        world.hooks.told.clear()
        await remove_members(world.io, tom, RemoveMembers(tea, ("spike",)))
        assert world.hooks.asked == [ConversationRemove(init_by="tom", members=("spike",), conversation_id=tea)]
        assert world.hooks.told == [ConversationRemoved(init_by="tom", conversation_id=tea, members=("spike",))]

    @on_trio
    async def test_whoever_may_not_remove_is_not_asked_about(self) -> None:
        world, tom, tea = await scene(ConversationAnswer())
        spike = await world.login("spike")
        with pytest.raises(MembershipRequired):
            await remove_members(world.io, spike, RemoveMembers(tea, ("jerry",)))
        chat = await world.start_room(tom)
        await world.join(spike, chat)
        world.hooks.asked.clear()
        with pytest.raises(RankTooLow):
            await remove_members(world.io, spike, RemoveMembers(chat, ("tom",)))
        assert world.hooks.asked == []

    @on_trio
    async def test_the_application_is_not_asked_about_whom_it_removes(self) -> None:
        world, _, tea = await scene(REJECTED)
        await remove_members(world.io, office(), RemoveMembers(tea, ("jerry",)))
        assert world.hooks.told == [ConversationRemoved(init_by="", conversation_id=tea, members=("jerry",))]

    @on_trio
    async def test_who_is_blocked_is_told_of_as_removed_and_not_asked_about(self) -> None:
        world, tom, tea = await scene(REJECTED)
        chat = await world.start_room(tom)
        spike = await world.login("spike")
        world.rooms.enter(chat, spike)
        await change_blocks(world.io, tom, ChangeBlocks(tea, ("jerry", "stranger"), blocked=True))
        await change_blocks(world.io, tom, ChangeBlocks(chat, ("spike", "stranger"), blocked=True))
        await change_blocks(world.io, tom, ChangeBlocks(chat, ("spike",), blocked=False))
        assert world.hooks.asked == []
        assert world.hooks.told == [
            ConversationRemoved(init_by="tom", conversation_id=tea, members=("jerry",)),
            ConversationRemoved(init_by="tom", conversation_id=chat, members=("spike",)),
        ]
