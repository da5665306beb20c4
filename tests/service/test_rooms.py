from dataclasses import dataclass, field

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastim.core.commands import (
    AddMembers,
    ChangeBlocks,
    CheckMembership,
    CloseSession,
    CountMembers,
    ListOccupants,
    OpenSession,
    RemoveMembers,
    ReportDevice,
)
from fastim.core.errors import (
    ChatRoomRequired,
    ConversationNotFound,
    MembershipRequired,
    RankTooLow,
    SessionRequired,
    Unavailable,
)
from fastim.core.policy import OCCUPANTS_LISTED_MAX, REJOIN_MILLIS
from fastim.core.session import Session, office
from fastim.core.standing import Role, Standing
from fastim.core.units import Millis
from fastim.ports.store import Stay
from fastim.service.conversations import check_membership, count_members, delete_conversation
from fastim.service.governance import change_blocks
from fastim.service.members import add_members, remove_members
from fastim.service.rooms import list_occupants, mark_stays, put_out
from fastim.service.sessions import close_session, end_session, report_device
from tests.fakes.running import explored, on_trio, schedules
from tests.fakes.world import World, new_world


async def occupants(world: World, room: str) -> set[str]:
    return set((await list_occupants(world.io, office(), ListOccupants(room))).client_ids)


async def count(world: World, room: str) -> int:
    return (await count_members(world.io, office(), CountMembers(room))).count


async def leave(world: World, session: Session, room: str) -> None:
    await remove_members(world.io, session, RemoveMembers(room, (session.client_id,)))


async def stand(world: World, room: str, client_id: str, standing: Standing) -> None:
    """Give a client a standing, as governance would."""
    conversation = await world.store.find_conversation(room)
    assert conversation is not None
    regulated = replace(conversation, regulated=True)
    await world.store.change_conversation(regulated, standings={client_id: standing})


class TestJoining:
    @pytest.mark.rule("1.7", "1.8", "1.11")
    @on_trio
    async def test_who_joins_is_counted_at_once_and_nobody_is_told(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        room = await world.start_room(tom)
        joined = await world.join(jerry, room)
        assert (joined.added, joined.allowed, joined.failed) == (True, ("jerry",), ())
        assert await count(world, room) == 2
        assert await occupants(world, room) == {"tom", "jerry"}
        conversation = await world.store.find_conversation(room)
        assert conversation is not None
        assert conversation.members == ()
        assert joined.updated_at == conversation.updated_at
        assert not world.bus.events

    @pytest.mark.rule("1.9")
    @on_trio
    async def test_a_session_is_in_one_room(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        hall = await world.start_room(tom)
        bar = await world.start_room(tom)
        assert (await count(world, hall), await count(world, bar)) == (0, 1)
        await world.join(tom, hall)
        assert (await count(world, hall), await count(world, bar)) == (1, 0)

    @pytest.mark.rule("1.9")
    @on_trio
    async def test_each_device_is_in_one_of_its_own(self) -> None:
        world = await new_world()
        phone, desk = await world.login("tom", "phone"), await world.login("tom", "desk")
        hall, bar = await world.start_room(phone), await world.start_room(desk)
        assert (await occupants(world, hall), await occupants(world, bar)) == ({"tom"}, {"tom"})
        await world.join(desk, hall)
        assert await count(world, hall) == 1  # one client, twice
        await leave(world, phone, hall)
        assert await occupants(world, hall) == {"tom"}

    @pytest.mark.rule("1.11")
    @on_trio
    async def test_others_are_let_in_when_they_are_online_and_in_no_other_room(self) -> None:
        world = await new_world()
        tom, _ = await world.login("tom"), await world.login("jerry")
        spike = await world.login("spike")
        room = await world.start_room(tom)
        await world.start_room(spike)
        changed = await add_members(world.io, tom, AddMembers(room, ("jerry", "spike", "away")))
        assert changed.allowed == ("jerry",)
        assert [(one.client_ids, one.refusal.code) for one in changed.failed] == [(("spike", "away"), 4308)]
        assert await occupants(world, room) == {"tom", "jerry"}

    @on_trio
    async def test_who_is_not_inside_brings_nobody(self) -> None:
        world = await new_world()
        tom, jerry, _ = await world.login("tom"), await world.login("jerry"), await world.login("spike")
        room = await world.start_room(tom)
        with pytest.raises(MembershipRequired):
            await add_members(world.io, jerry, AddMembers(room, ("spike",)))
        assert await occupants(world, room) == {"tom"}

    @pytest.mark.rule("4.10", "4.11")
    @on_trio
    async def test_neither_the_blocked_nor_who_refuses_get_in(self) -> None:
        world = await new_world()
        tom, jerry, spike = await world.login("tom"), await world.login("jerry"), await world.login("spike")
        room = await world.start_room(tom)
        await stand(world, room, "jerry", Standing(blocked=True))
        await world.store.refuse_conversations("spike", [room], True, world.clock.now())
        refused = await world.join(jerry, room)
        assert [(one.client_ids, one.refusal.code) for one in refused.failed] == [(("jerry",), 4548)]
        refused = await add_members(world.io, tom, AddMembers(room, ("jerry", "spike")))
        assert [(one.client_ids, one.refusal.code) for one in refused.failed] == [(("jerry", "spike"), 4548)]
        assert await occupants(world, room) == {"tom"}
        assert (await world.join(spike, room)).allowed == ("spike",)  # on its own it may

    @on_trio
    async def test_whose_session_has_ended_is_not_left_inside(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        room = await world.start_room(tom)
        await end_session(world.io, jerry)
        with pytest.raises(SessionRequired):
            await world.join(jerry, room)
        await end_session(world.io, tom)
        await world.start_room(tom)
        assert world.rooms.room_of(tom) is None
        assert await count(world, room) == 0

    @on_trio
    async def test_joining_one_that_is_not_there_is_refused(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        with pytest.raises(ConversationNotFound):
            await world.join(tom, "0" * 24)


class TestLeaving:
    @pytest.mark.rule("1.10", "1.11")
    @on_trio
    async def test_who_leaves_is_gone_for_good(self) -> None:
        world = await new_world()
        tom = await world.login("tom", "phone")
        room = await world.start_room(tom)
        await leave(world, tom, room)
        await leave(world, tom, room)
        assert await count(world, room) == 0
        assert not world.bus.events
        await end_session(world.io, tom)
        await world.login("tom", "phone")
        assert await count(world, room) == 0

    @pytest.mark.rule("1.11", "4.2", "4.3")
    @on_trio
    async def test_only_who_outranks_others_puts_them_out(self) -> None:
        world = await new_world()
        own, man, mem, other = [await world.login(one, one) for one in ("own", "man", "mem", "other")]
        room = await world.start_room(own)
        for one in (man, mem, other):
            await world.join(one, room)
        await stand(world, room, "man", Standing(Role.MANAGER))
        for asker, target in ((mem, "other"), (mem, "own"), (man, "own")):
            with pytest.raises(RankTooLow) as caught:
                await remove_members(world.io, asker, RemoveMembers(room, (target,)))
            assert caught.value.code == 4320
        await remove_members(world.io, man, RemoveMembers(room, ("other",)))
        await remove_members(world.io, own, RemoveMembers(room, ("man", "nobody")))
        assert await occupants(world, room) == {"own", "mem"}
        assert await world.store.find_stay("other", "other") is None
        await leave(world, own, room)
        assert await occupants(world, room) == {"mem"}

    @on_trio
    async def test_the_application_puts_anybody_out_on_every_device(self) -> None:
        world = await new_world()
        phone, desk = await world.login("tom", "phone"), await world.login("tom", "desk")
        room = await world.start_room(phone)
        await world.join(desk, room)
        await remove_members(world.io, office(), RemoveMembers(room, ("tom",)))
        assert await count(world, room) == 0
        await world.join(desk, room)
        bar = await world.start_room(phone)
        await put_out(world.io, room, ["tom", "nobody"])
        assert (await count(world, room), await count(world, bar)) == (0, 1)
        assert await world.store.find_stay("tom", "desk") is None


class TestComingBack:
    @pytest.mark.rule("1.10")
    @pytest.mark.parametrize(("away", "back"), [(0, True), (REJOIN_MILLIS, True), (REJOIN_MILLIS + 1, False)])
    @on_trio
    async def test_a_device_that_was_cut_off_is_inside_again_when_it_is_back_in_time(
        self, away: int, back: bool
    ) -> None:
        world = await new_world()
        tom = await world.login("tom", "phone")
        room = await world.start_room(tom)
        await end_session(world.io, tom)
        assert await count(world, room) == 0
        world.clock.step(away)
        await world.login("tom", "desk")
        assert await count(world, room) == 0
        session = await world.login("tom", "phone")
        assert world.rooms.room_of(session) == (room if back else None)
        assert (await world.store.find_stay("tom", "phone") is not None) == back

    @pytest.mark.rule("1.10")
    @on_trio
    async def test_time_spent_inside_does_not_count(self) -> None:
        world = await new_world()
        tom = await world.login("tom", "phone")
        room = await world.start_room(tom)
        for _ in range(3):
            world.clock.step(2 * REJOIN_MILLIS)
            await end_session(world.io, tom)
            world.clock.step(REJOIN_MILLIS)
            tom = await world.login("tom", "phone")
            assert world.rooms.room_of(tom) == room

    @pytest.mark.rule("1.10")
    @on_trio
    async def test_who_closes_its_session_does_not_come_back(self) -> None:
        world = await new_world()
        tom = await world.login("tom", "phone")
        room = await world.start_room(tom)
        await close_session(world.io, tom, CloseSession())
        assert await count(world, room) == 0
        await world.login("tom", "phone")
        assert await count(world, room) == 0

    @on_trio
    async def test_a_device_without_a_name_comes_back_with_its_token(self) -> None:
        world = await new_world()
        tom, opened = await world.open("tom")
        room = await world.start_room(tom)
        await end_session(world.io, tom)
        await world.open("tom", OpenSession(reconnect=True, token=opened.token))
        assert await count(world, room) == 1

    @on_trio
    async def test_a_device_takes_the_place_of_its_older_session(self) -> None:
        """The older connection may be lost without the server having noticed."""
        world = await new_world()
        old = await world.login("tom", "phone")
        room = await world.start_room(old)
        new = await world.login("tom", "phone")
        assert world.rooms.room_of(new) == room
        assert world.rooms.room_of(old) is None
        await end_session(world.io, old)
        assert await world.store.find_stay("tom", "phone") == Stay("tom", "phone", room)
        await leave(world, new, room)
        await world.login("tom", "phone")
        assert await count(world, room) == 0

    @on_trio
    async def test_there_is_no_way_back_into_a_room_that_is_gone_or_blocked(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom", "phone"), await world.login("jerry", "pad")
        hall, bar = await world.start_room(tom), await world.start_room(jerry)
        await end_session(world.io, tom)
        await end_session(world.io, jerry)
        await delete_conversation(world.io, hall)
        await stand(world, bar, "jerry", Standing(blocked=True))
        for client_id, device in (("tom", "phone"), ("jerry", "pad")):
            session = await world.login(client_id, device)
            assert world.rooms.room_of(session) is None
            assert await world.store.find_stay(client_id, device) is None

    @pytest.mark.parametrize("gone", [True, False])
    @pytest.mark.parametrize("pause", range(0, 16, 3))
    @explored
    @given(schedules)
    @on_trio
    async def test_there_is_none_either_when_that_happens_on_the_way(
        self, pause: int, gone: bool, schedule: object
    ) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry", "phone")
        room = await world.start_room(tom)
        await world.join(jerry, room)
        world.directory.leave(jerry)
        await end_session(world.io, jerry)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.login, "jerry", "phone")
            for _ in range(pause):
                await trio.lowlevel.checkpoint()
            if gone:
                nursery.start_soon(delete_conversation, world.io, room)
            else:
                nursery.start_soon(change_blocks, world.io, tom, ChangeBlocks(room, ("jerry",), blocked=True))
        assert not world.rooms.holds(room, "jerry")
        (session,) = world.directory.sessions("jerry")
        assert world.rooms.room_of(session) is None

    @on_trio
    async def test_a_connection_lost_while_it_opens_leaves_nobody_inside(self) -> None:
        world = await new_world()
        tom = await world.login("tom", "phone")
        room = await world.start_room(tom)
        await end_session(world.io, tom)
        world.clock.step(5)
        world.directory.cut_off.add(tom.number + 1)
        await world.login("tom", "phone")
        assert await count(world, room) == 0
        stay = await world.store.find_stay("tom", "phone")
        missed_from = Millis(world.logs.begun + 1)  # nothing was posted at all
        assert stay == Stay("tom", "phone", room, left_at=world.clock.now(), missed_from=missed_from)

    @pytest.mark.rule("1.10")
    @on_trio
    async def test_when_the_server_was_gone_the_time_counts_from_its_start(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom", "phone"), await world.login("jerry", "pad")
        room = await world.start_room(tom)
        await world.join(jerry, room)
        await end_session(world.io, jerry)
        lost_at = world.clock.now()
        for session in (tom, jerry):  # as a new process would find it
            world.rooms.leave(session)
            world.directory.leave(session)
        world.clock.step(2 * REJOIN_MILLIS)
        await mark_stays(world.io)
        stays = {stay.client_id: stay.left_at for stay in await world.store.stays()}
        assert stays == {"tom": world.clock.now(), "jerry": lost_at}
        world.clock.step(REJOIN_MILLIS)
        await world.login("tom", "phone")
        await world.login("jerry", "pad")
        assert await occupants(world, room) == {"tom"}

    @on_trio
    async def test_also_for_who_had_been_away_before(self) -> None:
        world = await new_world()
        tom = await world.login("tom", "phone")
        room = await world.start_room(tom)
        await end_session(world.io, tom)
        await world.login("tom", "phone")
        assert await world.store.find_stay("tom", "phone") == Stay("tom", "phone", room)

    @on_trio
    async def test_a_device_that_is_renamed_comes_back_by_its_new_name(self) -> None:
        world = await new_world()
        tom = await world.login("tom", "phone")
        room = await world.start_room(tom)
        await report_device(world.io, tom, ReportDevice("apns"))
        (renamed,) = world.directory.sessions("tom")
        assert list(world.rooms.occupants(room)) == [renamed]
        await end_session(world.io, renamed)
        await world.login("tom", "phone")
        assert await count(world, room) == 0
        await world.login("tom", "apns")
        assert await count(world, room) == 1


class TestListing:
    @pytest.mark.rule("1.11")
    @pytest.mark.parametrize(
        ("limit", "listed"), [(None, OCCUPANTS_LISTED_MAX), (1000, OCCUPANTS_LISTED_MAX), (7, 7), (0, 0), (-1, 0)]
    )
    @on_trio
    async def test_so_many_are_listed_and_none_twice(self, limit: int | None, listed: int) -> None:
        world = await new_world()
        crowd = [await world.login(f"c{number}") for number in range(OCCUPANTS_LISTED_MAX + 5)]
        room = await world.start_room(crowd[0])
        for one in crowd[1:]:
            await world.join(one, room)
        found = (await list_occupants(world.io, crowd[0], ListOccupants(room, limit))).client_ids
        assert len(found) == len(set(found)) == listed
        assert set(found) <= {one.client_id for one in crowd}
        assert await count(world, room) == len(crowd)

    @on_trio
    async def test_only_of_rooms(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        with pytest.raises(ChatRoomRequired) as caught:
            await list_occupants(world.io, tom, ListOccupants(await world.start(tom)))
        assert caught.value.code == 4316


class TestTheStore:
    @on_trio
    async def test_while_a_place_is_being_kept_others_may_join(self) -> None:
        """One commit for each who joins would make a crowd wait."""
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        room = await world.start_room(await world.login("spike"))
        world.store.hold_back()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.join, tom, room)
            nursery.start_soon(world.join, jerry, room)
            await trio.testing.wait_all_tasks_blocked()
            assert world.rooms.count(room) == 3
            world.store.go_on()

    @on_trio
    async def test_who_closes_while_it_refuses_is_out_all_the_same(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        room = await world.start_room(tom)
        world.store.refusing = True
        with pytest.raises(Unavailable):
            await close_session(world.io, tom, CloseSession())
        assert (world.rooms.count(room), world.directory.sessions("tom")) == (0, [])


@dataclass
class Model:
    """Which device is in which room, and which room it would come back to."""

    inside: dict[str, int] = field(default_factory=dict)
    away: dict[str, tuple[int, int]] = field(default_factory=dict)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join", "leave", "lose", "close", "open", "wait"]),
        st.sampled_from(["phone", "desk"]),
        st.integers(0, 1),
    ),
    max_size=12,
)


class TestAlways:
    @pytest.mark.rule("1.9", "1.10")
    @explored
    @given(schedules, STEPS)
    @on_trio
    async def test_a_device_is_where_its_story_says(self, schedule: object, steps: list[tuple[str, str, int]]) -> None:
        world = await new_world()
        host = await world.login("host")
        rooms = [await world.start_room(host), await world.start_room(host)]
        world.rooms.leave(host)
        open_sessions: dict[str, Session] = {}
        model = Model()
        for verb, device, number in steps:
            session = open_sessions.get(device)
            if verb == "wait":
                world.clock.step(REJOIN_MILLIS * 2 // 3)
            elif verb == "open":
                open_sessions[device] = await world.login("tom", device)
                room, left_at = model.away.pop(device, (-1, 0))
                if room >= 0 and world.clock.now() - left_at <= REJOIN_MILLIS:
                    model.inside[device] = room
            elif session is None:
                continue
            elif verb == "join":
                await world.join(session, rooms[number])
                model.inside[device] = number
            elif verb == "leave":
                await leave(world, session, rooms[number])
                if model.inside.get(device) == number:
                    del model.inside[device]
            else:
                del open_sessions[device]
                room = model.inside.pop(device, -1)
                if verb == "close":
                    await close_session(world.io, session, CloseSession())
                else:
                    await end_session(world.io, session)
                    if room >= 0:
                        model.away[device] = (room, world.clock.now())
            for index, room_id in enumerate(rooms):
                inside = index in model.inside.values()
                assert await count(world, room_id) == int(inside)
                assert {one.device for one in world.rooms.occupants(room_id)} == {
                    one for one, place in model.inside.items() if place == index
                }

    @on_trio
    async def test_membership_follows_the_client(self) -> None:
        world = await new_world()
        phone, desk = await world.login("tom", "phone"), await world.login("tom", "desk")
        room = await world.start_room(phone)
        checked = await check_membership(world.io, desk, CheckMembership((room,)))
        assert msgspec.json.decode(checked.results) == {room: True}
