import pytest
import trio
from hypothesis import given

from fastim.core.commands import (
    AddMembers,
    ChangeBlocks,
    ChangeSilence,
    CheckBlocked,
    CheckRefused,
    CheckSilenced,
    ListBlocked,
    ListRefused,
    ListRoles,
    ListSilenced,
    Page,
    RefuseConversations,
    RemoveMembers,
    SetRole,
)
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import (
    BlacklistDisabled,
    BlacklistFull,
    Blocked,
    ConversationNotFound,
    MembershipRequired,
    QueryFailed,
    RankTooLow,
    RolesDisabled,
    Silenced,
    SilencedForATime,
    Unavailable,
    UnknownRole,
)
from fastim.core.events import BlocksChanged, MembersRemoved, RoleChanged, SilenceChanged
from fastim.core.policy import IDS_PER_COMMAND_MAX, LISTED_MAX, Policy
from fastim.core.replies import RoleRecord
from fastim.core.session import office
from fastim.core.standing import UNREMARKABLE, Role, Standing
from fastim.core.units import Millis
from fastim.service.governance import (
    change_blocks,
    change_role_record,
    change_silence,
    check_blocked,
    check_refused,
    check_silenced,
    delete_role_record,
    give_role,
    list_blocked,
    list_refused,
    list_roles,
    list_silenced,
    refuse_conversations,
    set_role,
    silence_for_a_time,
)
from fastim.service.members import add_members, remove_members
from tests.fakes.running import explored, on_trio, schedules
from tests.fakes.world import World, new_world

NOWHERE = "0" * 24
ALL = ("tom", "jerry", "spike", "tyke")


async def conversation(world: World, conversation_id: str) -> Conversation:
    found = await world.store.find_conversation(conversation_id)
    assert found is not None
    return found


async def kept_for(world: World, client_id: str) -> list[str]:
    """What the client is told of when it comes back, but for how the conversation began."""
    notices, _ = await world.store.notices_for(client_id, Millis(0), 100)
    return [notice.op for notice in notices if notice.op not in ("joined", "members_joined")]


class TestRoles:
    @pytest.mark.rule("4.2", "4.4", "4.5")
    @on_trio
    async def test_the_members_are_told_and_the_list_shows_it(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry", "spike")
        assert (await list_roles(world.io, jerry, ListRoles(tea))).records == ()
        world.clock.step(7)
        reply = await set_role(world.io, tom, SetRole(tea, "jerry", "Manager"))
        assert reply.conversation_id == tea
        assert world.bus.events == [
            RoleChanged(tea, "jerry", Role.MANAGER, ("tom", "jerry", "spike"), by="tom", at=world.clock.now())
        ]
        (record,) = (await list_roles(world.io, jerry, ListRoles(tea))).records
        assert (record.client_id, record.role) == ("jerry", Role.MANAGER)
        assert await kept_for(world, "jerry") == ["member_info_changed", "member_info_changed"]
        assert await kept_for(world, "spike") == ["member_info_changed"]
        # The new manager has the rights of one.
        await set_role(world.io, jerry, SetRole(tea, "spike", "Manager"))
        with pytest.raises(RankTooLow):
            await set_role(world.io, jerry, SetRole(tea, "spike", "Member"))

    @pytest.mark.rule("4.3")
    @on_trio
    async def test_a_member_does_not_promote_itself(self) -> None:
        world = await new_world()
        tom, jerry, spike = [await world.login(name) for name in ("tom", "jerry", "spike")]
        tea = await world.start(tom, "jerry")
        for session in (jerry, spike):
            with pytest.raises(RankTooLow):
                await set_role(world.io, session, SetRole(tea, session.client_id, "Manager"))
        assert not world.bus.events
        assert await world.store.standings(tea) == {}

    @on_trio
    async def test_nothing_is_said_of_what_was_so_already(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        await set_role(world.io, tom, SetRole(tea, "jerry", "Member"))
        assert len((await list_roles(world.io, tom, ListRoles(tea))).records) == 1
        world.bus.events.clear()
        await set_role(world.io, tom, SetRole(tea, "jerry", "Member"))
        assert not world.bus.events

    @pytest.mark.rule("4.7")
    @on_trio
    async def test_roles_can_be_switched_off(self) -> None:
        world = await new_world(Policy(roles_enabled=False))
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        with pytest.raises(RolesDisabled):
            await set_role(world.io, tom, SetRole(tea, "jerry", "Manager"))

    @pytest.mark.rule("4.6")
    @on_trio
    async def test_once_there_are_roles_members_do_not_throw_others_out(self) -> None:
        world = await new_world()
        tom, jerry, spike = [await world.login(name) for name in ("tom", "jerry", "spike")]
        tea = await world.start(tom, *ALL[1:])
        await set_role(world.io, tom, SetRole(tea, "jerry", "Manager"))
        with pytest.raises(RankTooLow):
            await remove_members(world.io, spike, RemoveMembers(tea, ("tyke",)))
        changed = await remove_members(world.io, jerry, RemoveMembers(tea, ("tyke",)))
        assert changed.allowed == ("tyke",)
        assert (await conversation(world, tea)).members == ("tom", "jerry", "spike")

    @on_trio
    async def test_who_leaves_and_comes_back_is_an_ordinary_member(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry", "spike")
        await set_role(world.io, tom, SetRole(tea, "jerry", "Manager"))
        await remove_members(world.io, jerry, RemoveMembers(tea, ("jerry",)))
        await add_members(world.io, jerry, AddMembers(tea, ("jerry",)))
        assert await world.store.find_standing(tea, "jerry") == UNREMARKABLE
        with pytest.raises(RankTooLow):
            await set_role(world.io, jerry, SetRole(tea, "spike", "Manager"))

    @pytest.mark.rule("4.4")
    @on_trio
    async def test_the_application_works_with_records(self) -> None:
        world = await new_world()
        tea = await world.start(await world.login("tom"), "jerry")
        boss = office()
        record = await give_role(world.io, boss, SetRole(tea, "jerry", "Member"))
        assert (await list_roles(world.io, boss, ListRoles(tea))).records == (record,)
        changed = await change_role_record(world.io, boss, tea, record.id, "Manager")
        assert changed == RoleRecord(record.id, "jerry", Role.MANAGER)
        assert await delete_role_record(world.io, boss, tea, record.id)
        assert (await list_roles(world.io, boss, ListRoles(tea))).records == ()
        assert [(event.role, event.by) for event in world.bus.of(RoleChanged)] == [
            (Role.MEMBER, ""),
            (Role.MANAGER, ""),
            (Role.MEMBER, ""),
        ]
        assert not await delete_role_record(world.io, boss, tea, record.id)
        assert await change_role_record(world.io, boss, tea, record.id, "Manager") is None
        with pytest.raises(ConversationNotFound):
            await delete_role_record(world.io, boss, NOWHERE, record.id)

    @pytest.mark.rule("4.1")
    @on_trio
    async def test_the_application_names_an_owner_where_nobody_created_it(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(office(), "tom", "jerry")
        with pytest.raises(RankTooLow):
            await set_role(world.io, tom, SetRole(tea, "jerry", "Manager"))
        await give_role(world.io, office(), SetRole(tea, "tom", "Owner"))
        await set_role(world.io, tom, SetRole(tea, "jerry", "Manager"))
        for role in ("Owner", "King"):
            with pytest.raises(UnknownRole):
                await set_role(world.io, tom, SetRole(tea, "jerry", role))
        with pytest.raises(RankTooLow):
            await set_role(world.io, jerry, SetRole(tea, "tom", "Member"))


class TestSilence:
    @pytest.mark.rule("4.8")
    @on_trio
    async def test_who_is_silenced_cannot_send_until_it_is_lifted(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        world.clock.step(7)
        reply = await change_silence(world.io, tom, ChangeSilence(tea, ("jerry",), silenced=True))
        assert (reply.silenced, reply.allowed, reply.failed) == (True, ("jerry",), ())
        assert world.bus.events == [
            SilenceChanged(tea, ("jerry",), True, ("tom", "jerry"), by="tom", at=world.clock.now())
        ]
        for transient in (False, True):
            with pytest.raises(Silenced) as caught:
                await world.send(jerry, tea, transient=transient)
            assert caught.value.code == 4563
        await world.send(tom, tea)
        assert await kept_for(world, "jerry") == ["shutuped", "members_shutuped"]
        assert await kept_for(world, "tom") == ["members_shutuped"]
        await change_silence(world.io, tom, ChangeSilence(tea, ("jerry",), silenced=False))
        await world.send(jerry, tea)
        assert await kept_for(world, "tom") == ["members_shutuped", "members_unshutuped"]

    @on_trio
    async def test_leaving_and_joining_does_not_lift_it(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        await change_silence(world.io, tom, ChangeSilence(tea, ("jerry",), silenced=True))
        await remove_members(world.io, jerry, RemoveMembers(tea, ("jerry",)))
        await add_members(world.io, jerry, AddMembers(tea, ("jerry",)))
        with pytest.raises(Silenced):
            await world.send(jerry, tea)

    @pytest.mark.rule("4.3")
    @on_trio
    async def test_a_silenced_manager_does_not_lift_its_own(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        await set_role(world.io, tom, SetRole(tea, "jerry", "Manager"))
        await change_silence(world.io, tom, ChangeSilence(tea, ("jerry",), silenced=True))
        with pytest.raises(RankTooLow) as caught:
            await change_silence(world.io, jerry, ChangeSilence(tea, ("jerry",), silenced=False))
        assert caught.value.code == 4320
        assert (await world.store.find_standing(tea, "jerry")).silenced

    @pytest.mark.rule("4.3", "4.14")
    @on_trio
    async def test_every_member_reads_the_list_page_by_page(self) -> None:
        world = await new_world()
        tom, jerry, spike = [await world.login(name) for name in ("tom", "jerry", "spike")]
        names = tuple(f"client-{number:02}" for number in range(23))
        tea = await world.start(tom, "jerry", *names)
        await change_silence(world.io, tom, ChangeSilence(tea, names, silenced=True))
        pages = [await list_silenced(world.io, jerry, ListSilenced(tea))]
        while pages[-1].cursor:
            pages.append(await list_silenced(world.io, jerry, ListSilenced(tea, Page(pages[-1].cursor))))
        assert [len(page.client_ids) for page in pages] == [10, 10, 3]
        assert [page.cursor for page in pages] == ["10", "20", ""]
        assert sorted(one for page in pages for one in page.client_ids) == list(names)
        among = await check_silenced(world.io, jerry, CheckSilenced(tea, ("tom", names[3], "nobody", names[3])))
        assert among.client_ids == (names[3],)
        with pytest.raises(MembershipRequired):
            await list_silenced(world.io, spike, ListSilenced(tea))
        with pytest.raises(MembershipRequired):
            await check_silenced(world.io, spike, CheckSilenced(tea, names))

    @on_trio
    async def test_where_nobody_was_there_is_nothing_to_list(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        assert (await list_silenced(world.io, tom, ListSilenced(tea))).client_ids == ()
        assert (await check_silenced(world.io, tom, CheckSilenced(tea, ("tom",)))).client_ids == ()

    @on_trio
    async def test_in_a_chat_room_it_holds_too_and_nothing_is_kept(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        room = await world.start_room(tom)
        await world.join(jerry, room)
        world.bus.events.clear()
        await change_silence(world.io, tom, ChangeSilence(room, ("jerry",), silenced=True))
        assert world.bus.the(SilenceChanged).clients == ("jerry",)
        assert await kept_for(world, "jerry") == []
        with pytest.raises(Silenced):
            await world.send(jerry, room)

    @on_trio
    async def test_too_many_at_once_are_refused(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        crowd = ("x",) * (IDS_PER_COMMAND_MAX + 1)
        with pytest.raises(QueryFailed):
            await change_silence(world.io, tom, ChangeSilence(tea, crowd, silenced=True))
        with pytest.raises(QueryFailed):
            await check_silenced(world.io, tom, CheckSilenced(tea, crowd))
        with pytest.raises(QueryFailed):
            await change_blocks(world.io, tom, ChangeBlocks(tea, crowd, blocked=True))


class TestSilenceForATime:
    @pytest.mark.rule("2.14", "4.9")
    @on_trio
    async def test_it_ends_by_itself_or_is_lifted(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        for lift in (False, True):
            await silence_for_a_time(world.io, office(), tea, "jerry", 60)
            world.clock.step(59_999)
            with pytest.raises(SilencedForATime) as caught:
                await world.send(jerry, tea)
            assert caught.value.code == 4315
            if lift:
                await silence_for_a_time(world.io, office(), tea, "jerry", 0)
            else:
                world.clock.step(1)
            await world.send(jerry, tea)
        assert (await list_silenced(world.io, tom, ListSilenced(tea))).client_ids == ()

    @pytest.mark.rule("4.9")
    @on_trio
    async def test_it_holds_in_chat_rooms_and_service_conversations(self) -> None:
        world = await new_world()
        jerry = await world.login("jerry")
        room = await world.start_room(await world.login("tom"))
        for one in (room, await world.start_service(jerry)):
            await silence_for_a_time(world.io, office(), one, "jerry", 60)
            with pytest.raises(SilencedForATime):
                await world.send(jerry, one)

    @on_trio
    async def test_only_the_application_does_that_where_there_is_something(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        with pytest.raises(RankTooLow):
            await silence_for_a_time(world.io, tom, tea, "jerry", 60)
        with pytest.raises(ConversationNotFound):
            await silence_for_a_time(world.io, office(), NOWHERE, "jerry", 60)


class TestBlocks:
    @pytest.mark.rule("4.10", "4.12")
    @on_trio
    async def test_who_is_blocked_is_out_and_stays_out_until_that_is_lifted(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry", "spike")
        world.clock.step(7)
        now = world.clock.now()
        reply = await change_blocks(world.io, tom, ChangeBlocks(tea, ("jerry",), blocked=True))
        assert (reply.conversation_id, reply.blocked, reply.allowed, reply.failed) == (tea, True, ("jerry",), ())
        rest = ("tom", "spike")
        assert world.bus.events == [
            BlocksChanged(tea, ("jerry",), True, rest, by="tom", at=now),
            MembersRemoved(tea, Kind.NORMAL, ("jerry",), rest, by="tom", at=now),
        ]
        after = await conversation(world, tea)
        assert (after.members, after.updated_at) == (rest, now)
        assert await world.store.find_membership(tea, "jerry") is None
        assert await kept_for(world, "jerry") == ["blocked", "left"]
        assert await kept_for(world, "spike") == ["members_blocked", "members_left"]
        with pytest.raises(Blocked):
            await world.send(jerry, tea)
        for session in (tom, jerry):
            changed = await add_members(world.io, session, AddMembers(tea, ("jerry",)))
            assert [type(one.refusal) for one in changed.failed] == [Blocked]
            assert changed.failed[0].refusal.code == 4548
        world.bus.events.clear()
        await change_blocks(world.io, tom, ChangeBlocks(tea, ("jerry",), blocked=False))
        assert world.bus.events == [BlocksChanged(tea, ("jerry",), False, rest, by="tom", at=now)]
        assert await kept_for(world, "jerry") == ["blocked", "left", "unblocked"]
        await add_members(world.io, jerry, AddMembers(tea, ("jerry",)))
        await world.send(jerry, tea)

    @pytest.mark.rule("4.3")
    @on_trio
    async def test_a_blocked_manager_does_not_let_itself_in_again(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        await set_role(world.io, tom, SetRole(tea, "jerry", "Manager"))
        await change_blocks(world.io, tom, ChangeBlocks(tea, ("jerry",), blocked=True))
        with pytest.raises(RankTooLow) as caught:
            await change_blocks(world.io, jerry, ChangeBlocks(tea, ("jerry",), blocked=False))
        assert caught.value.code == 4320

    @pytest.mark.rule("4.10")
    @on_trio
    async def test_in_a_chat_room_its_sessions_have_to_go(self) -> None:
        world = await new_world()
        tom, phone, pc = await world.login("tom"), await world.login("jerry", "a"), await world.login("jerry", "b")
        room, other = await world.start_room(tom), await world.start_room(await world.login("spike"))
        await world.join(phone, room)
        await world.join(pc, other)
        world.bus.events.clear()
        await change_blocks(world.io, tom, ChangeBlocks(room, ("jerry",), blocked=True))
        assert not world.rooms.holds(room, "jerry")
        assert world.rooms.holds(other, "jerry")
        assert await world.store.find_stay("jerry", "a") is None
        assert world.bus.events == [BlocksChanged(room, ("jerry",), True, (), by="tom", at=world.clock.now())]
        assert await kept_for(world, "jerry") == []
        with pytest.raises(Blocked):
            await world.send(phone, room)
        assert (await world.join(phone, room)).failed[0].refusal.code == 4548

    @pytest.mark.rule("4.14")
    @on_trio
    async def test_every_member_reads_the_list(self) -> None:
        world = await new_world()
        tom, jerry, spike = [await world.login(name) for name in ("tom", "jerry", "spike")]
        tea = await world.start(tom, "jerry")
        names = tuple(f"client-{number:02}" for number in range(12))
        await change_blocks(world.io, tom, ChangeBlocks(tea, names, blocked=True))
        first = await list_blocked(world.io, jerry, ListBlocked(tea))
        rest = await list_blocked(world.io, jerry, ListBlocked(tea, Page(first.cursor)))
        assert (first.conversation_id, first.cursor, rest.cursor) == (tea, "10", "")
        assert sorted(first.client_ids + rest.client_ids) == list(names)
        among = await check_blocked(world.io, jerry, CheckBlocked(tea, ("tom", names[1])))
        assert (among.conversation_id, among.client_ids) == (tea, (names[1],))
        with pytest.raises(MembershipRequired):
            await list_blocked(world.io, spike, ListBlocked(tea))
        with pytest.raises(MembershipRequired):
            await check_blocked(world.io, spike, CheckBlocked(tea, names))

    @on_trio
    async def test_what_cannot_be_stored_is_not_told(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        world.store.refusing = True
        with pytest.raises(Unavailable):
            await change_blocks(world.io, tom, ChangeBlocks(tea, ("jerry",), blocked=True))
        with pytest.raises(Unavailable):
            await change_silence(world.io, tom, ChangeSilence(tea, ("jerry",), silenced=True))
        with pytest.raises(Unavailable):
            await set_role(world.io, tom, SetRole(tea, "jerry", "Manager"))
        world.store.refusing = False
        assert not world.bus.events
        assert (await conversation(world, tea)).members == ("tom", "jerry")
        assert await world.store.standings(tea) == {}

    @explored
    @given(schedules)
    @on_trio
    async def test_whoever_joins_meanwhile_is_not_a_member_and_blocked(self, schedule: object) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(add_members, world.io, jerry, AddMembers(tea, ("jerry",)))
            nursery.start_soon(change_blocks, world.io, tom, ChangeBlocks(tea, ("jerry",), True))
            nursery.start_soon(change_silence, world.io, tom, ChangeSilence(tea, ("jerry",), False))
        assert (await conversation(world, tea)).members == ("tom",)
        assert await world.store.find_standing(tea, "jerry") == Standing(blocked=True)


class TestRefusing:
    @pytest.mark.rule("4.11")
    @on_trio
    async def test_nobody_adds_a_client_where_it_refuses_to_be(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom)
        reply = await refuse_conversations(world.io, jerry, RefuseConversations((tea, tea), refused=True))
        assert (reply.refused, reply.conversation_ids) == (True, (tea,))
        changed = await add_members(world.io, tom, AddMembers(tea, ("jerry",)))
        assert changed.failed[0].refusal.code == 4548
        assert (await list_refused(world.io, jerry, ListRefused())).conversation_ids == (tea,)
        assert (await list_refused(world.io, tom, ListRefused())).conversation_ids == ()
        assert (await check_refused(world.io, jerry, CheckRefused((NOWHERE, tea)))).conversation_ids == (tea,)
        await refuse_conversations(world.io, jerry, RefuseConversations((tea,), refused=False))
        assert (await add_members(world.io, tom, AddMembers(tea, ("jerry",)))).allowed == ("jerry",)

    @on_trio
    async def test_only_what_there_is_can_be_refused_and_so_much_of_it(self) -> None:
        world = await new_world()
        jerry = await world.login("jerry")
        tea = await world.start(await world.login("tom"))
        with pytest.raises(ConversationNotFound):
            await refuse_conversations(world.io, jerry, RefuseConversations((tea, NOWHERE), refused=True))
        assert (await list_refused(world.io, jerry, ListRefused())).conversation_ids == ()
        await refuse_conversations(world.io, jerry, RefuseConversations((NOWHERE,), refused=False))
        many = tuple(f"{number:024x}" for number in range(LISTED_MAX + 1))
        with pytest.raises(BlacklistFull) as caught:
            await refuse_conversations(world.io, jerry, RefuseConversations(many, refused=True))
        assert caught.value.code == 4543
        with pytest.raises(QueryFailed):
            await refuse_conversations(world.io, jerry, RefuseConversations((tea,) * 1001, refused=True))

    @pytest.mark.rule("4.7")
    @on_trio
    async def test_it_can_be_switched_off(self) -> None:
        world = await new_world(Policy(blacklist_enabled=False))
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        with pytest.raises(BlacklistDisabled):
            await refuse_conversations(world.io, tom, RefuseConversations((tea,), refused=True))
        with pytest.raises(BlacklistDisabled):
            await change_blocks(world.io, tom, ChangeBlocks(tea, ("jerry",), blocked=True))
