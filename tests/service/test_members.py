import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastim.core.commands import AddMembers, CountMembers, RemoveMembers, StartConversation
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import ConversationFull, ConversationNotFound, MembershipRequired, RankTooLow, Unavailable
from fastim.core.events import MembersAdded, MembersRemoved
from fastim.core.policy import Policy
from fastim.core.replies import MembersChanged
from fastim.core.session import office
from fastim.core.standing import Role, Standing
from fastim.core.unread import unread
from fastim.service.broadcasts import send_to_clients, send_to_subscribers
from fastim.service.conversations import count_members, start_conversation
from fastim.service.members import add_members, remove_members
from tests.fakes.running import explored, on_trio, schedules
from tests.fakes.world import World, new_world, written

NOWHERE = "0" * 24


async def conversation(world: World, conversation_id: str) -> Conversation:
    found = await world.io.store.find_conversation(conversation_id)
    assert found is not None
    return found


class TestAdding:
    @pytest.mark.rule("3.6")
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


async def stand(world: World, conversation_id: str, **standings: Standing) -> None:
    """Give clients standings, as governance would."""
    before = await conversation(world, conversation_id)
    given = any(standing.role for standing in standings.values())
    after = replace(before, regulated=True, roles_given=given)
    await world.store.change_conversation(after, standings=standings)


def failed(changed: MembersChanged) -> list[tuple[tuple[str, ...], int]]:
    return [(one.client_ids, one.refusal.code) for one in changed.failed]


class TestStandings:
    @pytest.mark.rule("4.10")
    @on_trio
    async def test_the_blocked_neither_join_nor_are_added(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom)
        await stand(world, tea, jerry=Standing(blocked=True))
        assert failed(await world.join(jerry, tea)) == [(("jerry",), 4548)]
        for asker in (tom, office()):
            changed = await add_members(world.io, asker, AddMembers(tea, ("jerry", "spike")))
            assert failed(changed) == [(("jerry",), 4548)]
        assert (await conversation(world, tea)).members == ("tom", "spike")

    @pytest.mark.rule("4.11")
    @on_trio
    async def test_nobody_adds_who_refuses_but_it_may_join(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea, cake = await world.start(tom), await world.start(tom)
        await world.store.refuse_conversations("jerry", [tea], True, world.clock.now())
        for asker in (tom, office()):
            assert failed(await add_members(world.io, asker, AddMembers(tea, ("jerry",)))) == [(("jerry",), 4548)]
        assert failed(await add_members(world.io, tom, AddMembers(cake, ("jerry",)))) == []
        assert (await world.join(jerry, tea)).allowed == ("jerry",)
        assert failed(await add_members(world.io, tom, AddMembers(tea, ("jerry",)))) == []

    @pytest.mark.rule("4.6")
    @on_trio
    async def test_once_there_are_roles_the_owner_stays(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry", "spike")
        await stand(world, tea, jerry=Standing(Role.MANAGER))
        changed = await remove_members(world.io, tom, RemoveMembers(tea, ("tom", "spike")))
        assert (changed.allowed, failed(changed)) == (("spike",), [(("tom",), 4324)])
        assert world.bus.the(MembersRemoved).removed == ("spike",)
        await remove_members(world.io, office(), RemoveMembers(tea, ("tom",)))
        assert (await conversation(world, tea)).members == ("jerry",)

    @pytest.mark.rule("3.8", "4.2", "4.3")
    @on_trio
    async def test_and_one_removes_only_whom_one_outranks(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(await world.login("own"), "tom", "jerry", "spike")
        await remove_members(world.io, jerry, RemoveMembers(tea, ("spike",)))
        await add_members(world.io, jerry, AddMembers(tea, ("spike",)))
        await stand(world, tea, tom=Standing(Role.MANAGER))
        world.bus.events.clear()
        for target in ("spike", "tom", "own"):
            with pytest.raises(RankTooLow) as caught:
                await remove_members(world.io, jerry, RemoveMembers(tea, ("jerry", target)))
            assert caught.value.code == 4320
        assert not world.bus.events
        await add_members(world.io, jerry, AddMembers(tea, ("tyke",)))
        await remove_members(world.io, tom, RemoveMembers(tea, ("spike", "tyke")))
        await remove_members(world.io, jerry, RemoveMembers(tea, ("jerry",)))
        assert (await conversation(world, tea)).members == ("own", "tom")

    @on_trio
    async def test_a_role_goes_with_its_member_and_silence_stays(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        await stand(world, tea, jerry=Standing(Role.MANAGER, silenced=True))
        await remove_members(world.io, jerry, RemoveMembers(tea, ("jerry",)))
        await world.join(jerry, tea)
        assert await world.store.find_standing(tea, "jerry") == Standing(silenced=True)


class TestTheApplication:
    @on_trio
    async def test_it_changes_members_in_nobodys_name(self) -> None:
        world = await new_world(Policy(signature_required=True))
        started = await start_conversation(world.io, office("boss"), StartConversation(("tom",)))
        world.bus.events.clear()
        await add_members(world.io, office(), AddMembers(started.conversation_id, ("jerry",)))
        await remove_members(world.io, office(), RemoveMembers(started.conversation_id, ("tom",)))
        added, removed = world.bus.the(MembersAdded), world.bus.the(MembersRemoved)
        assert (added.by, added.added, added.members) == ("", ("jerry",), ("tom", "jerry"))
        assert (removed.by, removed.removed, removed.members) == ("", ("tom",), ("jerry",))


class TestSubscribing:
    @pytest.mark.rule("1.13", "3.9")
    @on_trio
    async def test_it_changes_its_time_and_nobody_is_told(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        news = await world.start_service()
        before = await conversation(world, news)
        world.clock.step(7)
        changed = await world.join(tom, news)
        assert (changed.allowed, changed.failed, changed.updated_at) == (("tom",), (), world.clock.now())
        assert changed.updated_at > before.updated_at
        after = await conversation(world, news)
        assert (after.members, after.updated_at) == ((), changed.updated_at)
        assert (await count_members(world.io, tom, CountMembers(news))).count == 1
        world.clock.step(7)
        assert (await world.join(tom, news)).updated_at == changed.updated_at
        world.clock.step(7)
        left = await remove_members(world.io, tom, RemoveMembers(news, ("tom",)))
        assert (left.allowed, left.updated_at) == (("tom",), world.clock.now())
        assert (await count_members(world.io, tom, CountMembers(news))).count == 0
        assert not world.bus.events

    @on_trio
    async def test_nobody_does_it_for_another(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        news = await world.start_service(tom)
        with pytest.raises(MembershipRequired):
            await add_members(world.io, jerry, AddMembers(news, ("spike",)))
        changed = await add_members(world.io, tom, AddMembers(news, ("jerry", "tom", "")))
        assert changed.allowed == ("tom",)
        assert failed(changed) == [(("",), 4103), (("jerry",), 4308)]
        await world.join(jerry, news)
        changed = await remove_members(world.io, tom, RemoveMembers(news, ("jerry",)))
        assert (changed.allowed, failed(changed)) == ((), [(("jerry",), 4308)])
        assert (await count_members(world.io, tom, CountMembers(news))).count == 2

    @on_trio
    async def test_but_the_application_does_unless_the_client_refuses(self) -> None:
        world = await new_world()
        news = await world.start_service()
        await world.store.refuse_conversations("spike", [news], True, world.clock.now())
        changed = await add_members(world.io, office(), AddMembers(news, ("tom", "jerry", "spike")))
        assert (changed.allowed, failed(changed)) == (("tom", "jerry"), [(("spike",), 4548)])
        await remove_members(world.io, office(), RemoveMembers(news, ("tom", "nobody")))
        subscribed = await world.store.subscriptions(news, "", 10)
        assert [one.client_id for one in subscribed] == ["jerry"]

    @pytest.mark.rule("3.10")
    @on_trio
    async def test_who_leaves_has_nothing_unread_there(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        news = await world.start_service(tom)
        await send_to_clients(world.io, office("news"), written(news), ["tom"])
        await send_to_subscribers(world.io, office("news"), written(news))
        joined = await world.store.joined_conversations("tom")
        assert sum(unread(one.head, one.membership, "tom").count for one in joined) == 2
        await remove_members(world.io, tom, RemoveMembers(news, ("tom",)))
        joined = await world.store.joined_conversations("tom")
        assert sum(unread(one.head, one.membership, "tom").count for one in joined) == 0

    @explored
    @given(schedules, st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), max_size=8))
    @on_trio
    async def test_the_count_is_the_number_of_subscribers(
        self, schedule: object, wishes: list[tuple[bool, str]]
    ) -> None:
        world = await new_world()
        news = await world.start_service()
        crowd = {one: await world.login(one) for one in "abc"}
        async with trio.open_nursery() as nursery:
            for joins, one in wishes:
                if joins:
                    nursery.start_soon(add_members, world.io, crowd[one], AddMembers(news, (one,)))
                else:
                    nursery.start_soon(remove_members, world.io, crowd[one], RemoveMembers(news, (one,)))
        subscribed = [one.client_id for one in await world.store.subscriptions(news, "", 10)]
        assert (await count_members(world.io, crowd["a"], CountMembers(news))).count == len(subscribed)
        memberships = [await world.store.find_membership(news, one) is not None for one in "abc"]
        assert [one in subscribed for one in "abc"] == memberships
