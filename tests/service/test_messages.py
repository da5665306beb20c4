import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastim.core.commands import AddMembers, OpenSession, ReadHistory, RemoveMembers
from fastim.core.conversation import Kind
from fastim.core.errors import (
    ConversationNotFound,
    HistoryFailed,
    HistoryRejected,
    InvalidTarget,
    MessageTooLong,
    Unavailable,
)
from fastim.core.events import MembersRemoved, MessagePosted
from fastim.core.message import Message, Position
from fastim.core.policy import Policy
from fastim.core.replies import Acked
from fastim.core.session import Config, Session, office
from fastim.core.units import Millis
from fastim.core.unread import Head
from fastim.service.members import add_members, remove_members
from fastim.service.messages import read_history, send_message
from tests.fakes.running import explored, on_trio, schedules
from tests.fakes.world import World, new_world, written

NOWHERE = "0" * 24


async def history(world: World, session: Session, conversation_id: str, **options: object) -> list[Message]:
    command = ReadHistory(conversation_id, **options)  # type: ignore[arg-type]
    return list((await read_history(world.io, session, command)).messages)


async def texts(world: World, session: Session, conversation_id: str, **options: object) -> list[str]:
    return [message.body.decode() for message in await history(world, session, conversation_id, **options)]


class TestSending:
    @pytest.mark.rule("5.2", "5.7", "12.4")
    @on_trio
    async def test_the_event_holds_the_message_and_all_members(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        command = replace(
            written(tea), binary=True, receipt=True, mention_all=True, mentions=("jerry",), push_data="{}", priority=1
        )
        acked = await send_message(world.io, tom, command)
        event = world.bus.the(MessagePosted)
        message = event.message
        assert acked == Acked(message.id, message.timestamp)
        assert event == MessagePosted(tea, Kind.NORMAL, message, ("tom", "jerry"), origin=tom.number)
        assert message == Message(
            message.id,
            world.clock.now(),
            1,
            "tom",
            b"hi",
            binary=True,
            receipt=True,
            mention_all=True,
            mentions=("jerry",),
        )
        assert await history(world, tom, tea) == [message]

    @pytest.mark.rule("5.2")
    @on_trio
    async def test_neither_ack_nor_event_comes_before_it_is_on_disk(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        acks = []
        world.store.hold_back()

        async def send() -> None:
            acks.append(await world.send(tom, tea))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked()
            assert not acks
            assert not world.bus.events
            assert await history(world, tom, tea) == []
            world.store.go_on()
        assert len(acks) == len(world.bus.of(MessagePosted)) == 2

    @on_trio
    async def test_the_lane_is_free_while_the_disk_is_busy(self) -> None:
        """Else a busy conversation would get one message for each sync of the disk."""
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        world.store.hold_back()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.send, tom, tea)
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(1):
                async with world.io.lanes.hold(tea):
                    pass
            world.store.go_on()

    @on_trio
    async def test_what_the_store_refuses_nobody_sees(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        world.store.refusing = True
        with pytest.raises(Unavailable):
            await world.send(tom, tea, token="t")
        assert not world.bus.events
        world.store.refusing = False
        await world.send(tom, tea, "again", token="t")
        assert await texts(world, tom, tea) == ["again"]
        assert world.bus.the(MessagePosted).message.sequence == 1

    @pytest.mark.rule("1.3")
    @on_trio
    async def test_only_members_may_send_and_only_where_something_is(self) -> None:
        world = await new_world()
        tom, spike = await world.login("tom"), await world.login("spike")
        tea = await world.start(tom)
        for sender, conversation_id in ((spike, tea), (tom, NOWHERE), (tom, ""), (tom, "client tom")):
            for transient in (False, True):
                with pytest.raises(InvalidTarget) as caught:
                    await world.send(sender, conversation_id, transient=transient)
                assert caught.value.code == 4401
        assert not world.bus.events

    @pytest.mark.rule("2.2")
    @on_trio
    async def test_what_is_too_long_or_not_to_be_had_is_refused(self) -> None:
        world = await new_world(Policy(message_bytes=100))
        tom = await world.login("tom")
        tea = await world.start(tom)
        await world.send(tom, tea, "x" * 100)
        with pytest.raises(MessageTooLong):
            await world.send(tom, tea, "x" * 101)
        with pytest.raises(MessageTooLong):
            await world.send(tom, tea, "x" * 101, transient=True)
        with pytest.raises(MessageTooLong):
            await world.send(tom, tea, "x" * 101, will=True)
        assert len(await history(world, tom, tea)) == 1

    @pytest.mark.rule("1.3")
    @on_trio
    async def test_members_are_those_of_the_moment(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        await remove_members(world.io, tom, RemoveMembers(tea, ("jerry",)))
        with pytest.raises(InvalidTarget):
            await world.send(jerry, tea)
        await add_members(world.io, jerry, AddMembers(tea, ("jerry",)))
        await world.send(jerry, tea)
        assert world.bus.the(MessagePosted).recipients == ("tom", "jerry")


class TestSendingAgain:
    @pytest.mark.rule("5.4")
    @on_trio
    async def test_the_same_token_is_the_same_message(self) -> None:
        """Source: semantics, rule 5.4."""
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        first = await world.send(tom, tea, token="t")
        world.clock.step(60_000)
        again = await world.send(await world.login("tom"), tea, "another text", token="t")
        assert again == first
        assert await texts(world, tom, tea) == ["hi"]
        assert len(world.bus.of(MessagePosted)) == 1

    @pytest.mark.rule("5.4")
    @on_trio
    async def test_of_another_sender_or_elsewhere_or_without_one_it_is_another(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea, milk = await world.start(tom, "jerry"), await world.start(tom)
        acks = [
            await world.send(tom, tea, token="t"),
            await world.send(jerry, tea, token="t"),
            await world.send(tom, milk, token="t"),
            await world.send(tom, tea, token="u"),
            await world.send(tom, tea),
            await world.send(tom, tea),
        ]
        assert len({acked.message_id for acked in acks}) == len(acks)

    @pytest.mark.rule("5.4")
    @explored
    @given(schedules, st.integers(2, 4))
    @on_trio
    async def test_sent_twice_at_once_it_is_stored_told_and_acked_as_one(self, schedule: object, times: int) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        acks = []

        async def send() -> None:
            acks.append(await world.send(tom, tea, token="t"))

        async with trio.open_nursery() as nursery:
            for _ in range(times):
                nursery.start_soon(send)
        assert len(acks) == times
        assert len(set(acks)) == 1
        assert len(world.bus.of(MessagePosted)) == len(await history(world, tom, tea)) == 1


class TestOrder:
    @pytest.mark.rule("5.1")
    @explored
    @given(schedules, st.lists(st.integers(-2_000, 2_000), min_size=1, max_size=8))
    @on_trio
    async def test_all_see_one_order_whatever_the_clock_does(self, schedule: object, steps: list[int]) -> None:
        """Events, history, timestamps, ids and sequences agree, and so do a sender's own messages."""
        world = await new_world()
        senders = [await world.login(client_id) for client_id in ("tom", "jerry")]
        tea = await world.start(senders[0], "jerry")
        acks: list[Acked] = []

        async def send_all(sender: Session) -> None:
            for number, step in enumerate(steps):
                world.clock.step(step)
                acks.append(await world.send(sender, tea, f"{sender.client_id} {number}"))

        async with trio.open_nursery() as nursery:
            for sender in senders:
                nursery.start_soon(send_all, sender)

        stored = await history(world, senders[0], tea, limit=1_000)
        assert [event.message for event in world.bus.of(MessagePosted)] == stored
        assert [message.sequence for message in stored] == list(range(1, 2 * len(steps) + 1))
        assert [message.timestamp for message in stored] == sorted({message.timestamp for message in stored})
        assert [message.id for message in stored] == sorted({message.id for message in stored})
        for sender in senders:
            own = [message.body.decode() for message in stored if message.sender == sender.client_id]
            assert own == [f"{sender.client_id} {number}" for number in range(len(steps))]
        assert {(acked.message_id, acked.timestamp) for acked in acks} == {
            (message.id, message.timestamp) for message in stored
        }

    @explored
    @given(schedules)
    @on_trio
    async def test_messages_sent_at_once_keep_the_order_in_which_they_came(self, schedule: object) -> None:
        """Commands are started one after the other; what is held up at the disk does not overtake."""
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        world.store.hold_back()
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(world.send, tom, tea, str(number))
                await trio.testing.wait_all_tasks_blocked()
            world.store.go_on()
        assert [event.message.body for event in world.bus.of(MessagePosted)] == [b"0", b"1", b"2", b"3", b"4"]

    @on_trio
    async def test_who_is_being_removed_sends_no_more(self) -> None:
        """Nothing is admitted by what was so before a change that is on its way to the disk."""
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        world.store.hold_back()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(remove_members, world.io, tom, RemoveMembers(tea, ("jerry",)))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(self.refused, world, jerry, tea)
            await trio.testing.wait_all_tasks_blocked()
            world.store.go_on()
        assert not world.bus.of(MessagePosted)

    async def refused(self, world: World, sender: Session, conversation_id: str) -> None:
        with pytest.raises(InvalidTarget):
            await world.send(sender, conversation_id)

    @explored
    @given(schedules)
    @on_trio
    async def test_who_is_removed_meanwhile_gets_what_came_before_and_sends_no_more(self, schedule: object) -> None:
        """An event's recipients are the members at its place in the order of events."""
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        refused = 0

        async def send() -> None:
            nonlocal refused
            try:
                await world.send(jerry, tea)
            except InvalidTarget:
                refused += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            nursery.start_soon(remove_members, world.io, tom, RemoveMembers(tea, ("jerry",)))
            nursery.start_soon(send)
        place = world.bus.events.index(world.bus.the(MembersRemoved))
        assert place + refused == 2
        for event in world.bus.of(MessagePosted):
            assert event.recipients == ("tom", "jerry")


class TestTransient:
    @pytest.mark.rule("5.5", "5.10", "5.11", "5.12")
    @on_trio
    async def test_it_is_told_and_acked_and_leaves_no_trace(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        acked = await world.send(tom, tea, transient=True, receipt=True, token="t")
        event = world.bus.the(MessagePosted)
        assert event.transient
        assert (event.message.sequence, event.message.receipt) == (0, False)
        assert (event.recipients, event.origin) == (("tom", "jerry"), tom.number)
        assert acked == Acked(event.message.id, event.message.timestamp)
        assert await history(world, tom, tea) == []
        assert await world.io.store.find_head(tea) == Head()

    @on_trio
    async def test_it_does_not_wait_for_the_disk(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        world.store.refusing = True
        await world.send(tom, tea, transient=True)
        assert world.bus.of(MessagePosted)

    @on_trio
    async def test_only_who_asked_for_it_gets_an_ack(self) -> None:
        """Source: wire protocol, configBitmap, bit 3."""
        world = await new_world()
        silent, _ = await world.open("tom", OpenSession(config=187 & ~Config.TRANSIENT_ACKS))
        tea = await world.start(silent)
        assert await send_message(world.io, silent, written(tea, transient=True)) is None
        assert await send_message(world.io, silent, written(tea)) is not None
        assert len(world.bus.of(MessagePosted)) == 2

    @pytest.mark.rule("5.10", "5.11", "6.1")
    @on_trio
    async def test_it_wins_over_receipt_and_push_data(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        assert await send_message(world.io, tom, written(tea, transient=True, receipt=True, push_data="{}"))
        assert not world.bus.the(MessagePosted).message.receipt

    @on_trio
    async def test_the_application_learns_its_id_in_any_case(self) -> None:
        world = await new_world()
        tea = await world.start(await world.login("tom"))
        acked = await send_message(world.io, office("tom"), written(tea, transient=True))
        assert acked == Acked(world.bus.the(MessagePosted).message.id, world.clock.now())


class TestOptions:
    @pytest.mark.rule("5.10", "5.22", "5.31", "6.1")
    @explored
    @given(
        st.sampled_from(["normal", "group", "room", "temporary", "service"]),
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.sampled_from([1, 2, 3]),
        st.booleans(),
    )
    @on_trio
    async def test_every_combination_is_taken_for_what_it_can_be(
        self, place: str, transient: bool, will: bool, receipt: bool, priority: int, push_data: bool
    ) -> None:
        """A will is kept back, transient or not; of the others the transient ones are not kept at all."""
        world = await new_world()
        tom = await world.login("tom")
        if place == "room":
            conversation_id = await world.start_room(tom)
        elif place == "temporary":
            conversation_id = await world.start_temporary(tom, "jerry")
        elif place == "service":
            conversation_id = await world.start_service(tom)
        else:
            conversation_id = await world.start(tom, "jerry", *(["spike"] if place == "group" else []))
        world.bus.events.clear()
        acked = await world.send(
            tom,
            conversation_id,
            transient=transient,
            will=will,
            receipt=receipt,
            priority=priority,
            push_data='{"alert":"hi"}' if push_data else "",
        )
        kept = [one.id for one in await history(world, tom, conversation_id)]
        assert kept == ([] if transient or will else [acked.message_id])
        if will:
            assert not world.bus.events
            assert [one.message_id for one in await world.io.store.wills()] == [acked.message_id]
            return
        event = world.bus.the(MessagePosted)
        assert event.transient == transient
        assert event.priority == (priority if place == "room" else 2)
        assert event.message.receipt == (receipt and not transient and place in ("normal", "temporary"))
        assert event.message.sequence == (not transient)


class TestChatRooms:
    @pytest.mark.rule("1.12", "5.30")
    @on_trio
    async def test_anybody_may_speak_and_read_and_all_of_it_is_kept(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        room = await world.start_room(tom)
        acks = [await world.send(jerry, room, priority=priority) for priority in (1, 2, 3)]
        events = world.bus.of(MessagePosted)
        assert [event.priority for event in events] == [1, 2, 3]
        assert {(event.kind, event.recipients, event.sync) for event in events} == {(Kind.CHAT_ROOM, (), True)}
        for reader in (tom, jerry, await world.login("spike")):
            assert [one.id for one in await history(world, reader, room)] == [acked.message_id for acked in acks]

    @pytest.mark.rule("5.6")
    @on_trio
    async def test_what_is_said_in_a_client_s_name_is_no_news_to_it(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        room, tea = await world.start_room(tom), await world.start(tom)
        for conversation_id, sync in ((room, True), (tea, True), (tea, False)):
            await world.send(office("tom"), conversation_id, sync=sync)
        assert [event.sync for event in world.bus.of(MessagePosted)] == [False, True, False]


class TestTemporary:
    @pytest.mark.rule("1.19", "1.21")
    @on_trio
    async def test_it_works_as_any_until_it_ends_and_then_not_at_all(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start_temporary(tom, "jerry", ttl_seconds=60)
        await world.send(tom, tea)
        event = world.bus.the(MessagePosted)
        assert (event.kind, event.recipients) == (Kind.TEMPORARY, ("tom", "jerry"))
        assert await texts(world, jerry, tea) == ["hi"]
        world.clock.step(60_000)
        for transient, will in ((False, False), (True, False), (False, True)):
            with pytest.raises(ConversationNotFound) as caught:
                await world.send(tom, tea, transient=transient, will=will)
            assert caught.value.code == 4303
        with pytest.raises(ConversationNotFound):
            await history(world, tom, tea)


class TestServices:
    @pytest.mark.rule("1.14")
    @pytest.mark.parametrize("transient", [False, True])
    @on_trio
    async def test_what_a_client_says_goes_to_its_own_devices_and_no_other_client(self, transient: bool) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        news = await world.start_service(tom, jerry)
        await world.send(tom, news, transient=transient)
        event = world.bus.the(MessagePosted)
        assert (event.conversation_id, event.kind, event.recipients) == (news, Kind.SYSTEM, ("tom",))
        assert event.origin == tom.number
        assert await texts(world, tom, news) == ([] if transient else ["hi"])
        assert await texts(world, jerry, news) == []

    @pytest.mark.rule("1.14")
    @on_trio
    async def test_who_has_not_subscribed_may_ask_too(self) -> None:
        world = await new_world()
        tom, spike = await world.login("tom"), await world.login("spike")
        news = await world.start_service(tom)
        await world.send(spike, news, "hello?")
        await world.send(office("paper"), news, "to subscribers")
        assert await texts(world, spike, news) == ["hello?"]
        assert await texts(world, tom, news) == ["to subscribers"]

    @pytest.mark.rule("1.15", "1.16")
    @on_trio
    async def test_a_subscriber_sees_what_it_said_and_what_all_were_told_in_order(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        news = await world.start_service(tom, jerry)
        for number in range(8):
            world.clock.step(10)
            await world.send(office("paper") if number % 3 == 0 else tom, news, str(number))
            await world.send(jerry, news, "other")
        assert await texts(world, tom, news) == [str(number) for number in range(8)]
        seen: list[str] = []
        start: Position | None = None
        while page := await history(world, tom, news, start=start, limit=3):
            seen = [message.body.decode() for message in page] + seen
            start = page[0].position
        assert seen == [str(number) for number in range(8)]
        assert await texts(world, office(), news) == ["0", "3", "6"]

    @pytest.mark.rule("5.4")
    @on_trio
    async def test_the_same_token_is_the_same_message_there_too(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        news = await world.start_service(tom)
        first = await world.send(tom, news, token="t")
        assert await world.send(tom, news, token="t") == first
        assert await world.send(jerry, news, token="t") != first
        assert len(world.bus.of(MessagePosted)) == 2

    @explored
    @given(schedules)
    @on_trio
    async def test_all_subscribers_hear_it_in_the_order_of_the_history(self, schedule: object) -> None:
        """Finding out who is online takes longer for some than for others."""
        world = await new_world()
        tom = await world.login("tom")
        news = await world.start_service(tom, await world.login("jerry"))
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(world.send, office("paper"), news, str(number))
        told = [event.message for event in world.bus.of(MessagePosted)]
        assert told == await history(world, tom, news)
        assert {event.recipients for event in world.bus.of(MessagePosted)} == {("tom", "jerry")}


class TestReadingBack:
    @pytest.mark.rule("2.4a")
    @on_trio
    async def test_the_newest_come_first_to_mind_but_all_ascend(self) -> None:
        world, tom, tea = await self.talk(25)
        assert await texts(world, tom, tea) == [str(number) for number in range(5, 25)]
        assert await texts(world, tom, tea, limit=3) == ["22", "23", "24"]
        assert await texts(world, tom, tea, limit=3, newest_first=False) == ["0", "1", "2"]
        assert await texts(world, tom, tea, limit=0) == []
        assert len(await texts(world, tom, tea, limit=5_000)) == 25

    @pytest.mark.rule("2.4a")
    @on_trio
    async def test_bounds_from_both_sides(self) -> None:
        world, tom, tea = await self.talk(6)
        places = [message.position for message in await history(world, tom, tea)]
        assert await texts(world, tom, tea, start=places[4], end=places[1]) == ["2", "3"]
        assert await texts(world, tom, tea, start=places[4], start_included=True) == ["0", "1", "2", "3", "4"]
        assert await texts(world, tom, tea, start=places[4], limit=2) == ["2", "3"]
        assert await texts(world, tom, tea, start=places[1], newest_first=False, limit=2) == ["2", "3"]
        assert await texts(
            world, tom, tea, start=places[1], end=places[4], newest_first=False, start_included=True, end_included=True
        ) == ["1", "2", "3", "4"]
        assert await texts(world, tom, tea, start=Position(places[2].timestamp)) == ["0", "1"]
        assert await texts(world, tom, tea, start=Position(places[2].timestamp), start_included=True) == ["0", "1", "2"]

    @on_trio
    async def test_page_by_page_everything_is_seen_once(self) -> None:
        world, tom, tea = await self.talk(10)
        for newest_first in (True, False):
            seen: list[str] = []
            start: Position | None = None
            while page := await history(world, tom, tea, start=start, limit=3, newest_first=newest_first):
                bodies = [message.body.decode() for message in page]
                seen = bodies + seen if newest_first else seen + bodies
                start = page[0 if newest_first else -1].position
            assert seen == [str(number) for number in range(10)]

    @on_trio
    async def test_after_the_newest_there_is_nothing(self) -> None:
        world, tom, tea = await self.talk(2)
        assert await texts(world, tom, tea, end=Position(Millis(world.clock.now() + 60_000))) == []

    @on_trio
    async def test_by_type_the_limit_counts_what_fits(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        for number in range(6):
            await world.send(tom, tea, f'{{"_lctype":{-1 - number % 2},"n":{number}}}')
        await world.send(tom, tea, "plain")
        found = await texts(world, tom, tea, message_type=-2, limit=2)
        assert found == ['{"_lctype":-2,"n":3}', '{"_lctype":-2,"n":5}']
        assert await texts(world, tom, tea, message_type=7) == []

    @pytest.mark.rule("1.24")
    @on_trio
    async def test_only_members_may_and_of_what_was_before_them_too(self) -> None:
        """Source: semantics, rule 1.24."""
        world, tom, tea = await self.talk(2)
        spike = await world.login("spike")
        with pytest.raises(HistoryRejected) as caught:
            await history(world, spike, tea)
        assert caught.value.code == 4312
        await add_members(world.io, tom, AddMembers(tea, ("spike",)))
        assert await texts(world, spike, tea) == ["0", "1"]
        with pytest.raises(ConversationNotFound):
            await history(world, tom, NOWHERE)
        with pytest.raises(HistoryFailed):
            await history(world, tom, tea, limit=-1)

    @on_trio
    async def test_the_answer_names_the_conversation(self) -> None:
        world, tom, tea = await self.talk(1)
        answer = await read_history(world.io, tom, ReadHistory(tea))
        assert (answer.conversation_id, answer.kind) == (tea, Kind.NORMAL)

    async def talk(self, messages: int) -> tuple[World, Session, str]:
        """A conversation of one, in which "0", "1", ... were said."""
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        for number in range(messages):
            world.clock.step(10)
            await world.send(tom, tea, str(number))
        return world, tom, tea
