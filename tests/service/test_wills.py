import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from fastim.core.commands import ReadHistory, RemoveMembers
from fastim.core.conversation import Kind
from fastim.core.errors import InvalidTarget, MessageTooLong, SendingNotAllowed, Unavailable
from fastim.core.events import MessagePosted
from fastim.core.message import Message
from fastim.core.policy import Policy
from fastim.core.replies import Acked
from fastim.core.session import OfflineMode, Session, office
from fastim.core.unread import Head
from fastim.service.members import remove_members
from fastim.service.messages import read_history, send_message
from fastim.service.wills import adopt_will, drop_will, fire_orphans, fire_will
from tests.fakes.running import explored, on_trio, schedules
from tests.fakes.world import World, new_world, written

NOWHERE = "0" * 24


async def leave(world: World, session: Session, conversation_id: str, text: str = "bye", **fields: object) -> Acked:
    return await world.send(session, conversation_id, text, will=True, **fields)


async def lose(world: World, session: Session) -> None:
    """The connection of ``session`` is gone."""
    world.directory.leave(session)
    await fire_will(world.io, session)


def said(world: World) -> list[bytes]:
    return [event.message.body for event in world.bus.of(MessagePosted)]


class TestLeaving:
    @pytest.mark.rule("5.20", "5.22")
    @on_trio
    async def test_it_is_acked_and_nothing_of_it_is_seen_until_the_session_is_lost(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        acked = await leave(world, tom, tea, mention_all=True, receipt=True, push_data="{}")
        assert acked.timestamp == world.clock.now()
        assert not world.bus.events
        world.clock.step(5_000)
        await lose(world, tom)
        event = world.bus.the(MessagePosted)
        message = Message(acked.message_id, world.clock.now(), 0, "tom", b"bye", mention_all=True)
        assert event == MessagePosted(tea, Kind.NORMAL, message, ("tom", "jerry"), origin=0)
        assert (await read_history(world.io, jerry, ReadHistory(tea))).messages == ()
        assert await world.io.store.find_head(tea) == Head()

    @on_trio
    async def test_it_is_acked_only_once_it_is_on_disk(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        world.store.refusing = True
        with pytest.raises(Unavailable):
            await leave(world, tom, tea)
        world.store.refusing = False
        await lose(world, tom)
        assert not world.bus.events

    @on_trio
    async def test_it_is_admitted_as_any_message_is(self) -> None:
        world = await new_world(Policy(message_bytes=100))
        tom, spike = await world.login("tom"), await world.login("spike")
        tea = await world.start(tom)
        with pytest.raises(MessageTooLong):
            await leave(world, tom, tea, "x" * 101)
        with pytest.raises(InvalidTarget):
            await leave(world, spike, tea)
        with pytest.raises(InvalidTarget):
            await leave(world, tom, NOWHERE)
        with pytest.raises(SendingNotAllowed):
            await leave(world, office("tom"), tea)
        await lose(world, tom)
        await lose(world, spike)
        assert not world.bus.events

    @on_trio
    async def test_one_that_is_transient_too_is_kept_back_all_the_same(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        assert await send_message(world.io, tom, written(tea, will=True, transient=True)) is not None
        assert not world.bus.events
        await lose(world, tom)
        assert not world.bus.the(MessagePosted).transient

    @pytest.mark.rule("5.21")
    @on_trio
    async def test_the_newest_wins_wherever_it_was_left(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea, milk = await world.start(tom), await world.start(tom)
        await leave(world, tom, tea, "first")
        newest = await leave(world, tom, milk, "second")
        await lose(world, tom)
        event = world.bus.the(MessagePosted)
        assert (event.conversation_id, event.message.id) == (milk, newest.message_id)

    @pytest.mark.rule("5.21")
    @on_trio
    async def test_a_client_has_one_whichever_of_its_devices_left_it(self) -> None:
        world = await new_world()
        phone, tablet = await world.login("tom", "phone"), await world.login("tom", "tablet")
        tea = await world.start(phone)
        await leave(world, phone, tea, "phone")
        await leave(world, tablet, tea, "tablet")
        await lose(world, phone)
        assert said(world) == []
        await lose(world, tablet)
        assert said(world) == [b"tablet"]


class TestFiring:
    @pytest.mark.rule("5.20")
    @on_trio
    async def test_a_clean_close_drops_the_will(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        await leave(world, tom, tea)
        await drop_will(world.io, tom)
        await lose(world, tom)
        assert said(world) == []
        assert await world.io.store.wills() == []

    @on_trio
    async def test_closing_one_session_leaves_the_will_of_another(self) -> None:
        world = await new_world()
        phone, tablet = await world.login("tom", "phone"), await world.login("tom", "tablet")
        tea = await world.start(phone)
        await leave(world, phone, tea)
        await drop_will(world.io, tablet)
        await lose(world, phone)
        assert said(world) == [b"bye"]

    @on_trio
    async def test_without_a_will_nothing_is_sent(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        await lose(world, tom)
        await drop_will(world.io, tom)
        await adopt_will(world.io, tom)
        await fire_orphans(world.io)
        assert not world.bus.events

    @on_trio
    async def test_who_may_not_speak_there_any_more_says_nothing(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        await leave(world, jerry, tea)
        await remove_members(world.io, tom, RemoveMembers(tea, ("jerry",)))
        await lose(world, jerry)
        assert said(world) == []
        assert await world.io.store.wills() == []

    @pytest.mark.rule("1.19", "1.21")
    @on_trio
    async def test_in_a_temporary_conversation_until_it_ends(self) -> None:
        world = await new_world()
        for late in (False, True):
            tom = await world.login("tom")
            tea = await world.start_temporary(tom, "jerry", ttl_seconds=60)
            await leave(world, tom, tea)
            world.clock.step(60_000 if late else 59_999)
            await lose(world, tom)
            assert len(said(world)) == (not late)
            world.bus.events.clear()

    @pytest.mark.rule("5.30")
    @on_trio
    async def test_in_a_chat_room_it_keeps_its_priority(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        room = await world.start_room(tom)
        await leave(world, tom, room, priority=1)
        await lose(world, tom)
        event = world.bus.the(MessagePosted)
        assert (event.kind, event.priority, event.recipients) == (Kind.CHAT_ROOM, 1, ())

    @explored
    @given(schedules, st.integers(1, 3), st.booleans())
    @on_trio
    async def test_it_is_sent_once_or_dropped_whatever_happens_at_once(
        self, schedule: object, losses: int, closed: bool
    ) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave, world, tom, tea)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(losses):
                nursery.start_soon(lose, world, tom)
            nursery.start_soon(fire_orphans, world.io)
            if closed:
                nursery.start_soon(drop_will, world.io, tom)
        assert len(said(world)) <= 1
        assert closed or said(world) == [b"bye"]
        assert await world.io.store.wills() == []


class TestComingBack:
    @on_trio
    async def test_a_device_that_comes_back_has_its_will_again(self) -> None:
        """Its older session is not lost any more: the same device is there."""
        world = await new_world()
        old = await world.login("tom", "phone")
        tea = await world.start(old)
        await leave(world, old, tea)
        again = await world.login("tom", "phone")
        await adopt_will(world.io, again)
        await lose(world, old)
        assert said(world) == []
        await lose(world, again)
        assert said(world) == [b"bye"]

    @on_trio
    async def test_another_device_does_not_take_it(self) -> None:
        world = await new_world()
        phone, tablet = await world.login("tom", "phone"), await world.login("tom", "tablet")
        tea = await world.start(phone)
        await leave(world, phone, tea)
        await adopt_will(world.io, tablet)
        await lose(world, tablet)
        assert said(world) == []
        await lose(world, phone)
        assert said(world) == [b"bye"]

    @on_trio
    async def test_a_device_by_another_name_has_it_still(self) -> None:
        world = await new_world()
        tom = await world.login("tom", "phone")
        tea = await world.start(tom)
        await leave(world, tom, tea)
        renamed = tom.on_device("token")
        await adopt_will(world.io, renamed)
        again = await world.login("tom", "token")
        await adopt_will(world.io, again)
        await lose(world, again)
        assert said(world) == [b"bye"]

    @on_trio
    async def test_after_a_restart_the_wills_of_those_who_stay_away_are_sent_once(self) -> None:
        world = await new_world()
        back, away = await world.login("tom", "phone"), await world.login("jerry", "tablet")
        tea = await world.start(back, "jerry")
        await leave(world, back, tea, "tom")
        await leave(world, away, tea, "jerry")
        for session in (back, away):  # the server was gone: nobody was lost in an orderly way
            world.directory.leave(session)
        again = await world.login("tom", "phone")
        await adopt_will(world.io, again)
        for _ in range(2):
            await fire_orphans(world.io)
        assert said(world) == [b"jerry"]
        await lose(world, again)
        assert said(world) == [b"jerry", b"tom"]

    @on_trio
    async def test_those_of_open_sessions_are_no_orphans(self) -> None:
        world = await new_world()
        tom, _ = await world.open("tom", offline_mode=OfflineMode.PUSH)
        tea = await world.start(tom)
        await leave(world, tom, tea)
        await fire_orphans(world.io)
        assert said(world) == []
        assert len(await world.io.store.wills()) == 1
