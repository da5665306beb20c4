import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from fastim.core.commands import AddMembers, MarkRead, ReadMark, RemoveMembers
from fastim.core.conversation import Kind
from fastim.core.errors import QueryFailed, Unavailable
from fastim.core.events import UnreadChanged, UnreadNotice
from fastim.core.ids import personal_log
from fastim.core.message import Draft, Position
from fastim.core.policy import Policy
from fastim.core.replies import Acked
from fastim.core.session import OfflineMode, Session, office
from fastim.core.units import Millis
from fastim.core.unread import OVERLAP
from fastim.service.members import add_members, remove_members
from fastim.service.unread import mark_read, tell_all_unread, tell_unread
from tests.fakes.running import explored, on_trio, schedules
from tests.fakes.world import World, new_world

NEVER = Millis(0)
NOWHERE = "0" * 24


async def told(world: World, session: Session, since: Millis = NEVER) -> dict[str, tuple[int, bool]]:
    """Count and mention of each conversation that a session is told of as it opens."""
    world.bus.events.clear()
    await tell_unread(world.io, session, since)
    return {
        notice.conversation_id: (notice.count, notice.mentioned)
        for event in world.bus.of(UnreadChanged)
        for notice in event.notices
    }


def after(acked: Acked) -> Position:
    return Position(acked.timestamp, acked.message_id)


async def read(world: World, session: Session, conversation_id: str, upto: Position | None = None) -> UnreadNotice:
    """Mark as read; what the client is told of it."""
    world.bus.events.clear()
    await mark_read(world.io, session, MarkRead((ReadMark(conversation_id, upto),)))
    (notice,) = world.bus.the(UnreadChanged).notices
    return notice


class TestOnOpening:
    @pytest.mark.rule("7.2", "7.3")
    @on_trio
    async def test_what_others_said_is_unread_until_it_is_marked_read(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        for _ in range(3):
            await world.send(tom, tea)
        await world.send(jerry, tea)
        assert await told(world, jerry) == {tea: (3, False)}
        assert await told(world, tom) == {tea: (1, False)}
        await read(world, jerry, tea)
        assert await told(world, jerry) == {}

    @pytest.mark.rule("7.6")
    @on_trio
    async def test_only_the_session_that_opens_is_told_and_with_the_last_message(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        await world.login("jerry")
        tea = await world.start(tom, "jerry")
        await world.send(tom, tea, "first")
        acked = await world.send(tom, tea, "last")
        last = await world.io.store.find_message(tea, after(acked))
        assert last is not None
        world.bus.events.clear()
        await tell_unread(world.io, jerry, NEVER)
        notice = UnreadNotice(tea, Kind.NORMAL, count=2, mentioned=False, last=last)
        assert world.bus.events == [
            UnreadChanged("jerry", (notice,), at=world.clock.now(), session=jerry.number),
        ]

    @on_trio
    async def test_nobody_is_told_of_nothing(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        await world.start(tom, "jerry")
        await tell_unread(world.io, tom, NEVER)
        assert not world.bus.events

    @pytest.mark.rule("7.1")
    @on_trio
    async def test_who_wants_the_messages_themselves_gets_no_counts(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        jerry, _ = await world.open("jerry", offline_mode=OfflineMode.PUSH)
        await world.send(tom, await world.start(tom, "jerry"))
        assert await told(world, jerry) == {}

    @pytest.mark.rule("7.4", "5.7")
    @on_trio
    async def test_mentions_by_name_and_of_everybody(self) -> None:
        world = await new_world()
        tom, jerry, spike = [await world.login(client_id) for client_id in ("tom", "jerry", "spike")]
        tea = await world.start(tom, "jerry", "spike")
        await world.send(tom, tea, mentions=("jerry", "tom"))
        assert await told(world, jerry) == {tea: (1, True)}
        assert await told(world, spike) == {tea: (1, False)}
        assert await told(world, tom) == {}
        await world.send(jerry, tea, mention_all=True)
        assert await told(world, spike) == {tea: (2, True)}
        assert await told(world, tom) == {tea: (1, True)}
        await read(world, spike, tea)
        await world.send(jerry, tea)
        assert await told(world, spike) == {tea: (1, False)}

    @pytest.mark.rule("5.10", "7.2")
    @on_trio
    async def test_transient_messages_do_not_count(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        await world.send(tom, await world.start(tom, "jerry"), transient=True, mention_all=True)
        assert await told(world, jerry) == {}

    @on_trio
    async def test_who_joins_late_or_again_has_read_what_was_before(self) -> None:
        world = await new_world()
        tom, spike = await world.login("tom"), await world.login("spike")
        tea = await world.start(tom)
        await world.send(tom, tea, mention_all=True)
        for _ in range(2):
            await add_members(world.io, tom, AddMembers(tea, ("spike",)))
            assert await told(world, spike) == {}
            await world.send(tom, tea)
            assert await told(world, spike) == {tea: (1, False)}
            await remove_members(world.io, tom, RemoveMembers(tea, ("spike",)))
            assert await told(world, spike) == {}

    @pytest.mark.rule("2.7", "2.8", "7.6")
    @on_trio
    async def test_caps(self) -> None:
        world = await new_world(Policy(unread_cap=2, unread_conversations=3))
        tom, jerry = await world.login("tom"), await world.login("jerry")
        ids = [await world.start(tom, "jerry") for _ in range(5)]
        for number, one in enumerate(ids):
            world.clock.step(10)
            for _ in range(number + 1):
                await world.send(tom, one)
        assert await told(world, jerry) == {ids[2]: (2, False), ids[3]: (2, False), ids[4]: (2, False)}

    @on_trio
    async def test_what_is_no_more_takes_no_place_of_what_is(self) -> None:
        world = await new_world(Policy(unread_conversations=1))
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        await world.send(tom, tea)
        world.clock.step(10)
        await world.send(tom, await world.start_temporary(tom, "jerry", ttl_seconds=60))
        world.clock.step(60_000)
        assert await told(world, jerry) == {tea: (1, False)}

    @explored
    @given(schedules)
    @on_trio
    async def test_of_two_devices_that_read_the_last_one_is_told_last(self, schedule: object) -> None:
        world = await new_world()
        tom, phone, tablet = await world.login("tom"), await world.login("jerry"), await world.login("jerry")
        tea, other = await world.start(tom, "jerry"), await world.start(tom, "jerry")
        first = after(await world.send(tom, tea))
        for one in (tea, other):
            world.clock.step(10)
            await world.send(tom, one)
        async with trio.open_nursery() as nursery:
            marks = (ReadMark(tea, first), ReadMark(other))
            nursery.start_soon(mark_read, world.io, phone, MarkRead(marks))
            nursery.start_soon(mark_read, world.io, tablet, MarkRead((ReadMark(tea),)))
        counts = [
            notice.count
            for event in world.bus.of(UnreadChanged)
            for notice in event.notices
            if notice.conversation_id == tea
        ]
        assert counts[-1] == 0

    @on_trio
    async def test_who_was_behind_is_told_of_every_conversation(self) -> None:
        world = await new_world(Policy(unread_conversations=3))
        tom, jerry = await world.login("tom"), await world.login("jerry")
        ids = [await world.start(tom, "jerry") for _ in range(7)]
        for one in ids:
            await world.send(tom, one)
        world.bus.events.clear()
        await tell_all_unread(world.io, jerry)
        events = [event for event in world.bus.events if isinstance(event, UnreadChanged)]
        assert [len(event.notices) for event in events] == [3, 3, 1]
        assert {notice.conversation_id for event in events for notice in event.notices} == set(ids)
        assert {event.session for event in events} == {jerry.number}

    @pytest.mark.rule("7.2")
    @on_trio
    async def test_without_a_cap_counts_are_exact(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        for _ in range(150):
            await world.send(tom, tea)
        assert await told(world, jerry) == {tea: (150, False)}


class TestSinceTheLastTime:
    @pytest.mark.rule("7.6")
    @on_trio
    async def test_only_what_changed_since_is_told(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        old, new = await world.start(tom, "jerry"), await world.start(tom, "jerry")
        await world.send(tom, old)
        last_told = world.clock.step(1)
        world.clock.step(2 * OVERLAP)
        await world.send(tom, new)
        assert set(await told(world, jerry, Millis(last_told + OVERLAP))) == {new}
        assert set(await told(world, jerry)) == {old, new}

    @pytest.mark.rule("7.7")
    @on_trio
    async def test_what_was_read_elsewhere_since_is_told_too(self) -> None:
        """Source: semantics, rule 7.7."""
        world = await new_world()
        tom, phone = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        await world.send(tom, tea)
        last_told = world.clock.step(2 * OVERLAP)
        await read(world, phone, tea)
        assert await told(world, await world.login("jerry"), last_told) == {tea: (0, False)}

    @on_trio
    async def test_when_the_clock_has_stepped_back_since_everything_is_told(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        last_told = world.clock.now()
        world.clock.step(-3_600_000)
        await world.send(tom, tea)
        assert await told(world, jerry, last_told) == {tea: (1, False)}
        await read(world, jerry, tea)
        assert await told(world, jerry, last_told) == {tea: (0, False)}

    @on_trio
    async def test_a_message_that_was_being_committed_then_is_not_forgotten(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        world.store.hold_back()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.send, tom, tea)
            await trio.testing.wait_all_tasks_blocked()
            last_told = world.clock.step(50)
            assert await told(world, jerry, last_told) == {}
            world.store.go_on()
        assert await told(world, jerry, last_told) == {tea: (1, False)}


class TestReading:
    @pytest.mark.rule("7.5")
    @on_trio
    async def test_all_of_the_clients_sessions_are_told(self) -> None:
        """The one that read, too: Swift counts down only when told. Source: wire protocol, read and unread."""
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        acked = await world.send(tom, tea)
        notice = await read(world, jerry, tea)
        assert (notice.count, notice.mentioned) == (0, False)
        assert notice.last is not None
        assert notice.last.id == acked.message_id
        event = world.bus.the(UnreadChanged)
        assert (event.client_id, event.session, event.at) == ("jerry", 0, world.clock.now())

    @pytest.mark.rule("7.2")
    @on_trio
    async def test_what_came_after_the_mark_stays_unread(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        acks = []
        for _ in range(4):
            world.clock.step(10)
            acks.append(await world.send(tom, tea))
        assert (await read(world, jerry, tea, after(acks[1]))).count == 2
        assert (await read(world, jerry, tea, Position(acks[2].timestamp))).count == 1
        assert (await read(world, jerry, tea, Position(Millis(world.clock.now() + 60_000)))).count == 0

    @on_trio
    async def test_a_mark_never_moves_back(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        acks = [await world.send(tom, tea) for _ in range(3)]
        await read(world, jerry, tea, after(acks[2]))
        assert (await read(world, jerry, tea, after(acks[0]))).count == 0
        assert await told(world, jerry) == {}

    @pytest.mark.rule("7.4")
    @on_trio
    async def test_a_mention_that_was_read_is_gone_a_later_one_is_not(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        first = await world.send(tom, tea, mentions=("jerry",))
        second = await world.send(tom, tea, mention_all=True)
        await world.send(tom, tea)
        assert (await read(world, jerry, tea, after(first))).mentioned
        assert not (await read(world, jerry, tea, after(second))).mentioned

    @on_trio
    async def test_several_conversations_are_told_at_once(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        ids = [await world.start(tom, "jerry") for _ in range(3)]
        for one in ids:
            await world.send(tom, one)
        world.bus.events.clear()
        await mark_read(world.io, jerry, MarkRead(tuple(map(ReadMark, ids[:2]))))
        notices = world.bus.the(UnreadChanged).notices
        assert [(notice.conversation_id, notice.count) for notice in notices] == [(ids[0], 0), (ids[1], 0)]
        assert await told(world, jerry) == {ids[2]: (1, False)}

    @on_trio
    async def test_what_one_does_not_belong_to_is_passed_over(self) -> None:
        world = await new_world()
        tom, spike = await world.login("tom"), await world.login("spike")
        tea = await world.start(tom)
        await mark_read(world.io, spike, MarkRead((ReadMark(tea), ReadMark(NOWHERE), ReadMark(""))))
        await mark_read(world.io, spike, MarkRead(()))
        assert not world.bus.events

    @on_trio
    async def test_a_thousand_at_a_time(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        with pytest.raises(QueryFailed):
            await mark_read(world.io, tom, MarkRead((ReadMark(NOWHERE),) * 1_001))

    @on_trio
    async def test_nobody_is_told_before_it_is_on_disk_nor_when_the_store_refuses(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        await world.send(tom, tea)
        world.bus.events.clear()
        command = MarkRead((ReadMark(tea),))
        world.store.refusing = True
        with pytest.raises(Unavailable):
            await mark_read(world.io, jerry, command)
        world.store.refusing = False
        world.store.hold_back()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mark_read, world.io, jerry, command)
            await trio.testing.wait_all_tasks_blocked()
            assert not world.bus.events
            world.store.go_on()
        assert world.bus.the(UnreadChanged).notices[0].count == 0

    @explored
    @given(schedules, st.lists(st.booleans(), max_size=6))
    @on_trio
    async def test_count_and_history_agree_whatever_happens_at_once(self, schedule: object, sends: list[bool]) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        async with trio.open_nursery() as nursery:
            for send in sends:
                if send:
                    nursery.start_soon(world.send, tom, tea)
                else:
                    nursery.start_soon(mark_read, world.io, jerry, MarkRead((ReadMark(tea),)))
        membership = await world.io.store.find_membership(tea, "jerry")
        assert membership is not None
        expected = sum(sends) - membership.read
        assert await told(world, jerry) == ({tea: (expected, False)} if expected else {})


class TestServices:
    @pytest.mark.rule("7.2", "7.8")
    @on_trio
    async def test_what_was_said_to_all_and_to_one_is_counted_together(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        news = await world.start_service(tom, jerry)
        for text in ("one", "two"):
            await world.send(office("paper"), news, text)
        await world.send(tom, news, "own")
        await world.io.store.append(personal_log(news, "tom"), Draft("paper", b"to tom"), world.clock.step(10))
        assert await told(world, tom) == {news: (3, False)}
        assert await told(world, jerry) == {news: (2, False)}
        await tell_unread(world.io, tom, NEVER)
        (notice,) = world.bus.of(UnreadChanged)[-1].notices
        assert notice.kind is Kind.SYSTEM
        assert notice.last is not None
        assert notice.last.body == b"to tom"

    @pytest.mark.rule("7.2", "7.8")
    @on_trio
    async def test_reading_it_reads_both(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        news = await world.start_service(tom)
        acked = await world.send(office("paper"), news, mention_all=True)
        world.clock.step(10)
        await world.io.store.append(personal_log(news, "tom"), Draft("paper", b"to tom"), world.clock.now())
        assert await told(world, tom) == {news: (2, True)}
        notice = await read(world, tom, news, after(acked))
        assert (notice.conversation_id, notice.count, notice.mentioned) == (news, 1, False)
        assert (await read(world, tom, news)).count == 0
        assert await told(world, tom) == {}
        assert await told(world, tom, world.clock.now()) == {news: (0, False)}

    @on_trio
    async def test_who_only_asked_something_hears_of_the_answer(self) -> None:
        world = await new_world()
        tom, spike = await world.login("tom"), await world.login("spike")
        news = await world.start_service(tom)
        await world.send(spike, news, "hello?")
        await world.send(office("paper"), news, "to subscribers")
        assert await told(world, spike) == {}
        await world.io.store.append(personal_log(news, "spike"), Draft("paper", b"yes?"), world.clock.now())
        assert await told(world, spike) == {news: (1, False)}
        assert (await read(world, spike, news)).count == 0


class TestElsewhere:
    @pytest.mark.rule("1.19", "1.21")
    @on_trio
    async def test_it_counts_until_it_ends(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start_temporary(tom, "jerry", ttl_seconds=60)
        await world.send(tom, tea)
        assert await told(world, jerry) == {tea: (1, False)}
        world.clock.step(60_000)
        assert await told(world, jerry) == {}
        await tell_all_unread(world.io, jerry)
        await mark_read(world.io, jerry, MarkRead((ReadMark(tea),)))
        assert not world.bus.events

    @pytest.mark.rule("1.11")
    @on_trio
    async def test_chat_rooms_are_not_counted(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        room = await world.start_room(tom)
        await world.send(jerry, room)
        assert await told(world, tom) == {}
