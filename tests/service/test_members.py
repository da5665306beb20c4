import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from fastim.core.commands import AddMembers, RemoveMembers
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import ConversationFull, ConversationNotFound, MembershipRequired, Unavailable
from fastim.core.events import MembersAdded, MembersRemoved
from fastim.core.policy import Policy
from fastim.service.members import add_members, remove_members
from tests.fakes.running import explored, on_trio, schedules
from tests.fakes.world import World, new_world

NOWHERE = "0" * 24


async def conversation(world: World, conversation_id: str) -> Conversation:
    found = await world.io.store.find_conversation(conversation_id)
    assert found is not None
    return found


class TestAdding:
    @on_trio
    async def test_the_event_names_the_new_and_all(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        world.clock.step(7)
        changed = await add_members(world.io, tom, AddMembers(tea, ("spike", "jerry")))
        now = world.clock.now()
        assert (changed.added, changed.allowed, changed.failed) == (True, ("spike", "jerry"), ())
        assert changed.updated_at == now
        assert world.bus.events == [
            MembersAdded(tea, Kind.NORMAL, ("spike",), ("tom", "jerry", "spike"), by="tom", at=now)
        ]
        after = await conversation(world, tea)
        assert (after.members, after.updated_at) == (("tom", "jerry", "spike"), now)

    @on_trio
    async def test_anybody_may_join(self) -> None:
        world = await new_world()
        tea = await world.start(await world.login("tom"))
        spike = await world.login("spike")
        await add_members(world.io, spike, AddMembers(tea, ("spike",)))
        event = world.bus.the(MembersAdded)
        assert (event.by, event.added, event.members) == ("spike", ("spike",), ("tom", "spike"))

    @on_trio
    async def test_a_stranger_brings_nobody(self) -> None:
        world = await new_world()
        tea = await world.start(await world.login("tom"))
        spike = await world.login("spike")
        with pytest.raises(MembershipRequired):
            await add_members(world.io, spike, AddMembers(tea, ("tyke",)))
        assert (await conversation(world, tea)).members == ("tom",)

    @on_trio
    async def test_nothing_is_said_of_what_was_so_already(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        before = await conversation(world, tea)
        world.clock.step(7)
        changed = await add_members(world.io, tom, AddMembers(tea, ("jerry",)))
        assert changed.allowed == ("jerry",)
        assert changed.updated_at == before.updated_at
        assert not world.bus.events

    @on_trio
    async def test_those_who_do_not_fit_fail_alone(self) -> None:
        world = await new_world(Policy(members=2))
        tom = await world.login("tom")
        tea = await world.start(tom)
        changed = await add_members(world.io, tom, AddMembers(tea, ("jerry", "spike")))
        assert changed.allowed == ("jerry",)
        assert [(one.client_ids, type(one.refusal)) for one in changed.failed] == [(("spike",), ConversationFull)]
        assert world.bus.the(MembersAdded).added == ("jerry",)

    @on_trio
    async def test_where_nothing_is_nobody_is_added_or_removed(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        with pytest.raises(ConversationNotFound):
            await add_members(world.io, tom, AddMembers(NOWHERE, ("tom",)))
        with pytest.raises(ConversationNotFound):
            await remove_members(world.io, tom, RemoveMembers(NOWHERE, ("tom",)))


class TestRemoving:
    @on_trio
    async def test_the_event_names_the_gone_and_those_who_stay(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry", "spike")
        world.clock.step(7)
        changed = await remove_members(world.io, tom, RemoveMembers(tea, ("spike", "nobody")))
        now = world.clock.now()
        assert (changed.added, changed.allowed, changed.updated_at) == (False, ("spike", "nobody"), now)
        assert world.bus.events == [MembersRemoved(tea, Kind.NORMAL, ("spike",), ("tom", "jerry"), by="tom", at=now)]
        assert (await conversation(world, tea)).members == ("tom", "jerry")

    @on_trio
    async def test_everybody_may_leave_the_creator_too(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        await remove_members(world.io, tom, RemoveMembers(tea, ("tom",)))
        event = world.bus.the(MembersRemoved)
        assert (event.by, event.removed, event.members) == ("tom", ("tom",), ("jerry",))

    @on_trio
    async def test_who_comes_back_starts_with_nothing_unread(self) -> None:
        """Source: semantics, rule 3.10."""
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        await world.send(tom, tea)
        await remove_members(world.io, tom, RemoveMembers(tea, ("jerry",)))
        assert await world.io.store.find_membership(tea, "jerry") is None
        await world.send(tom, tea)
        await add_members(world.io, jerry, AddMembers(tea, ("jerry",)))
        joined = await world.io.store.find_membership(tea, "jerry")
        assert joined is not None
        assert joined.read == (await world.io.store.find_head(tea)).sequence == 2


class TestTogether:
    @explored
    @given(schedules, st.lists(st.tuples(st.booleans(), st.sampled_from("abcd")), max_size=6))
    @on_trio
    async def test_events_tell_one_story(self, schedule: object, wishes: list[tuple[bool, str]]) -> None:
        """Told one after the other, they lead from the first members to the last, and their times only rise."""
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom, "a", "b")
        members, last = {"tom", "a", "b"}, (await conversation(world, tea)).updated_at
        async with trio.open_nursery() as nursery:
            for added, client in wishes:
                if added:
                    nursery.start_soon(add_members, world.io, tom, AddMembers(tea, (client,)))
                else:
                    nursery.start_soon(remove_members, world.io, tom, RemoveMembers(tea, (client,)))
        for event in world.bus.events:
            if isinstance(event, MembersAdded):
                assert not members & set(event.added)
                members |= set(event.added)
            else:
                assert isinstance(event, MembersRemoved)
                assert members >= set(event.removed)
                members -= set(event.removed)
            assert set(event.members) == members
            assert event.at > last
            last = event.at
        after = await conversation(world, tea)
        assert (set(after.members), after.updated_at) == (members, last)

    @explored
    @given(schedules)
    @on_trio
    async def test_no_more_get_in_than_may(self, schedule: object) -> None:
        world = await new_world(Policy(members=4))
        tea = await world.start(await world.login("tom"))
        crowd = [await world.login(f"c{number}") for number in range(6)]
        outcomes = []

        async def join(client: int) -> None:
            command = AddMembers(tea, (crowd[client].client_id,))
            outcomes.append(await add_members(world.io, crowd[client], command))

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(join, number)
        assert sum(bool(one.failed) for one in outcomes) == 3
        assert len((await conversation(world, tea)).members) == 4


class TestTheStore:
    @on_trio
    async def test_nobody_is_told_before_it_is_on_disk(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        world.store.hold_back()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(add_members, world.io, tom, AddMembers(tea, ("spike",)))
            nursery.start_soon(remove_members, world.io, tom, RemoveMembers(tea, ("jerry",)))
            await trio.testing.wait_all_tasks_blocked()
            assert not world.bus.events
            world.store.go_on()
        assert len(world.bus.events) == 2

    @on_trio
    async def test_when_it_refuses_nobody_is_told_and_nobody_has_to_wait(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        world.store.refusing = True
        with pytest.raises(Unavailable):
            await add_members(world.io, tom, AddMembers(tea, ("spike",)))
        with pytest.raises(Unavailable):
            await remove_members(world.io, tom, RemoveMembers(tea, ("jerry",)))
        assert not world.bus.events
        world.store.refusing = False
        await add_members(world.io, tom, AddMembers(tea, ("spike",)))
        assert (await conversation(world, tea)).members == ("tom", "jerry", "spike")
