import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastim.core.commands import Acknowledge, AddMembers, MarkRead, OpenSession, QueryReceipts, ReadHistory, ReadMark
from fastim.core.errors import ConversationNotFound, MembershipRequired, NormalConversationRequired
from fastim.core.events import MessagesReceipted, UnreadChanged
from fastim.core.ids import MESSAGE_ENTROPY_BYTES, message_id
from fastim.core.message import Position
from fastim.core.notice import Notice
from fastim.core.policy import RECEIPTS_AT_ONCE_MAX
from fastim.core.replies import Acked, MemberReceipt, MemberReceipts, Receipts
from fastim.core.session import Config, Session
from fastim.core.units import Millis
from fastim.service.members import add_members
from fastim.service.messages import read_history
from fastim.service.receipts import acknowledge, query_receipts
from fastim.service.unread import mark_read
from tests.fakes.clock import NOON
from tests.fakes.running import explored, on_trio, schedules
from tests.fakes.world import EVERYTHING, World, new_world

NOWHERE = "0" * 24
NEVER = Millis(0)


async def ask(world: World, sender: Session, conversation_id: str, text: str = "hi") -> Acked:
    """The ack of a message whose sender wants receipts; a moment passes first."""
    world.clock.step(100)
    return await world.send(sender, conversation_id, text, receipt=True)


async def got(world: World, session: Session, conversation_id: str, acked: Acked) -> None:
    """Acknowledge one message by its id."""
    await acknowledge(world.io, session, Acknowledge(conversation_id, acked.message_id))


async def got_range(world: World, session: Session, conversation_id: str, first: Acked | None, last: Acked) -> None:
    """Acknowledge all messages between two, both included, or up to one."""
    since = None if first is None else first.timestamp
    await acknowledge(world.io, session, Acknowledge(conversation_id, since=since, until=last.timestamp))


async def read(world: World, session: Session, conversation_id: str, acked: Acked | None = None) -> None:
    upto = None if acked is None else Position(acked.timestamp, acked.message_id)
    await mark_read(world.io, session, MarkRead((ReadMark(conversation_id, upto),)))


def receipts(world: World, *, read: bool = False) -> list[str]:
    """The ids of the messages that senders were told of, delivered or read."""
    return [one for event in world.bus.of(MessagesReceipted) if event.read is read for one in event.message_ids]


async def reached(world: World, session: Session, conversation_id: str) -> tuple[Millis, Millis]:
    """How far the other one has received, and read."""
    answer = await query_receipts(world.io, session, QueryReceipts(conversation_id))
    assert isinstance(answer, Receipts)
    assert answer.conversation_id == conversation_id
    return answer.delivered_at, answer.read_at


async def a_couple() -> tuple[World, Session, Session, str]:
    world = await new_world()
    tom, jerry = await world.login("tom"), await world.login("jerry")
    return world, tom, jerry, await world.start(tom, "jerry")


class TestDelivered:
    @pytest.mark.rule("6.1", "6.2")
    @on_trio
    async def test_the_sender_is_told_of_the_message_and_the_time(self) -> None:
        world, tom, jerry, tea = await a_couple()
        acked = await ask(world, tom, tea)
        world.bus.events.clear()
        now = world.clock.step(40)
        await got(world, jerry, tea, acked)
        assert world.bus.events == [
            MessagesReceipted(tea, "tom", (acked.message_id,), by="jerry", at=now, upto=now, read=False),
        ]

    @pytest.mark.rule("6.1")
    @on_trio
    async def test_nobody_is_told_who_did_not_ask(self) -> None:
        world, tom, jerry, tea = await a_couple()
        acked = await world.send(tom, tea)
        await got(world, jerry, tea, acked)
        assert receipts(world) == []
        assert await reached(world, tom, tea) == (NEVER, NEVER)

    @on_trio
    async def test_what_nobody_wants_to_know_is_not_stored(self) -> None:
        """An acknowledgement comes with every message: most must cost nothing."""
        world, tom, jerry, tea = await a_couple()
        acked = await world.send(tom, tea)
        asked = await ask(world, tom, tea)
        await got(world, jerry, tea, asked)
        world.store.refusing = True  # anything that were to be written would raise
        await got(world, jerry, tea, asked)
        await got(world, jerry, tea, acked)
        await got(world, tom, tea, acked)
        await acknowledge(world.io, jerry, Acknowledge(NOWHERE, acked.message_id))
        await acknowledge(world.io, jerry, Acknowledge("", acked.message_id))

    @pytest.mark.rule("6.2", "6.7")
    @on_trio
    async def test_once_for_each_message_whichever_device_was_first(self) -> None:
        world, tom, jerry, tea = await a_couple()
        other = await world.login("jerry")
        first, second = await ask(world, tom, tea), await ask(world, tom, tea)
        for session in (jerry, other):
            for acked in (first, second):
                await got(world, session, tea, acked)
        assert receipts(world) == [first.message_id, second.message_id]

    @pytest.mark.rule("6.3a")
    @on_trio
    async def test_a_range_holds_both_its_ends_and_nothing_before_it(self) -> None:
        world, tom, jerry, tea = await a_couple()
        acks = [await ask(world, tom, tea) for _ in range(5)]
        await world.send(tom, tea)
        await got_range(world, jerry, tea, acks[1], acks[3])
        (event,) = world.bus.of(MessagesReceipted)
        assert event.message_ids == tuple(acked.message_id for acked in acks[1:4])
        assert (event.upto, event.at) == (acks[3].timestamp, world.clock.now())
        await got_range(world, jerry, tea, None, acks[4])
        assert receipts(world) == [acked.message_id for acked in acks[1:]]

    @pytest.mark.rule("6.3")
    @on_trio
    async def test_what_was_acknowledged_out_of_order_is_told_too(self) -> None:
        world, tom, jerry, tea = await a_couple()
        acks = [await ask(world, tom, tea) for _ in range(3)]
        await got(world, jerry, tea, acks[2])
        await got(world, jerry, tea, acks[0])
        assert receipts(world) == [acked.message_id for acked in acks]

    @on_trio
    async def test_an_acknowledgement_of_nothing_is_ignored(self) -> None:
        world, tom, jerry, tea = await a_couple()
        acked = await ask(world, tom, tea)
        later = message_id(Millis(NOON + 10_000_000), bytes(MESSAGE_ENTROPY_BYTES))
        for one in ("", "x", "?" * 22, later):
            await acknowledge(world.io, jerry, Acknowledge(tea, one))
        await acknowledge(world.io, jerry, Acknowledge(tea, since=NEVER))
        await acknowledge(world.io, jerry, Acknowledge(tea, until=Millis(acked.timestamp - 1)))
        await acknowledge(world.io, await world.login("spike"), Acknowledge(tea, acked.message_id))
        assert receipts(world) == []
        assert await reached(world, tom, tea) == (NEVER, NEVER)

    @pytest.mark.rule("6.1")
    @on_trio
    async def test_nobody_gets_receipts_of_their_own(self) -> None:
        """Some SDKs acknowledge what their own client sent on another device."""
        world, tom, _, tea = await a_couple()
        await got(world, await world.login("tom"), tea, await ask(world, tom, tea))
        assert receipts(world) == []

    @pytest.mark.rule("6.1", "1.25")
    @on_trio
    async def test_more_than_two_have_none_unless_the_sender_can_take_them(self) -> None:
        world, tom, jerry, _ = await a_couple()
        all_three = await world.start(tom, "jerry", "spike")
        await got(world, jerry, all_three, await ask(world, tom, all_three))
        assert receipts(world) == []
        able, _ = await world.open("tom", OpenSession(config=EVERYTHING | Config.GROUP_RECEIPTS))
        acked = await ask(world, able, all_three)
        for client_id in ("jerry", "spike"):
            await got(world, await world.login(client_id), all_three, acked)
        assert [event.by for event in world.bus.of(MessagesReceipted)] == ["jerry", "spike"]

    @pytest.mark.rule("1.11", "6.1")
    @on_trio
    async def test_chat_rooms_services_and_transient_messages_have_none(self) -> None:
        world, tom, jerry, tea = await a_couple()
        room, news = await world.start_room(tom), await world.start_service(tom, jerry)
        for conversation_id in (room, news):
            await got(world, jerry, conversation_id, await ask(world, tom, conversation_id))
            await read(world, jerry, conversation_id)
        await got(world, jerry, tea, await world.send(tom, tea, receipt=True, transient=True))
        assert receipts(world) == receipts(world, read=True) == []

    @pytest.mark.rule("1.21")
    @on_trio
    async def test_temporary_conversations_have_them(self) -> None:
        world, tom, jerry, _ = await a_couple()
        tea = await world.start_temporary(tom, "jerry")
        acked = await ask(world, tom, tea)
        await got(world, jerry, tea, acked)
        await read(world, jerry, tea)
        assert receipts(world) == receipts(world, read=True) == [acked.message_id]

    @pytest.mark.rule("6.5")
    @on_trio
    async def test_who_is_away_is_told_later(self) -> None:
        world, tom, jerry, tea = await a_couple()
        first = await ask(world, tom, tea)
        second = await ask(world, tom, tea)
        began = Millis(world.clock.now() - 1)
        await got_range(world, jerry, tea, first, second)
        await read(world, jerry, tea)
        notices, more = await world.io.store.notices_for("tom", began, 10)
        now = world.clock.now()
        fields = [
            {"id": first.message_id, "t": now, "from": "jerry"},
            {"id": second.message_id, "t": now, "from": "jerry"},
            {"id": second.message_id, "t": now, "from": "jerry", "read": True},
        ]
        assert notices == [Notice("rcp", tea, now, "jerry", fields=one, permanent=False) for one in fields]
        assert not more
        assert await world.io.store.notices_for("jerry", began, 10) == ([], False)

    @on_trio
    async def test_of_very_many_the_newest_are_told_and_all_count(self) -> None:
        world, tom, jerry, tea = await a_couple()
        acks = [await ask(world, tom, tea) for _ in range(RECEIPTS_AT_ONCE_MAX + 5)]
        await got(world, jerry, tea, acks[-1])
        assert receipts(world) == [acked.message_id for acked in acks[5:]]
        assert (await reached(world, tom, tea))[0] == world.clock.now()

    @on_trio
    async def test_nobody_is_told_before_it_is_on_disk(self) -> None:
        world, tom, jerry, tea = await a_couple()
        acked = await ask(world, tom, tea)
        world.bus.events.clear()
        world.store.hold_back()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(got, world, jerry, tea, acked)
            await trio.testing.wait_all_tasks_blocked()
            assert not world.bus.events
            world.store.go_on()
        assert receipts(world) == [acked.message_id]


class TestRead:
    @pytest.mark.rule("6.4", "6.3a")
    @on_trio
    async def test_one_receipt_for_the_newest_that_asked_and_delivered_first(self) -> None:
        world, tom, jerry, tea = await a_couple()
        acks = [await ask(world, tom, tea) for _ in range(3)]
        await world.send(tom, tea)
        world.bus.events.clear()
        now = world.clock.step(60)
        await read(world, jerry, tea)
        ids = tuple(acked.message_id for acked in acks)
        delivered = MessagesReceipted(tea, "tom", ids, by="jerry", at=now, upto=now, read=False)
        told, counted = world.bus.events[:2], world.bus.the(UnreadChanged)
        assert told == [delivered, replace(delivered, message_ids=ids[2:], read=True)]
        assert counted.notices[0].count == 0

    @pytest.mark.rule("6.4")
    @on_trio
    async def test_what_was_delivered_before_is_not_delivered_again(self) -> None:
        world, tom, jerry, tea = await a_couple()
        acked = await ask(world, tom, tea)
        await got(world, jerry, tea, acked)
        await read(world, jerry, tea)
        await read(world, jerry, tea)
        await got(world, jerry, tea, acked)
        assert receipts(world) == receipts(world, read=True) == [acked.message_id]

    @pytest.mark.rule("6.4")
    @on_trio
    async def test_what_comes_after_the_mark_is_not_read(self) -> None:
        world, tom, jerry, tea = await a_couple()
        first, second = await ask(world, tom, tea), await ask(world, tom, tea)
        await read(world, jerry, tea, first)
        assert receipts(world) == receipts(world, read=True) == [first.message_id]
        assert await reached(world, tom, tea) == (first.timestamp, first.timestamp)
        await read(world, jerry, tea, second)
        assert receipts(world, read=True) == [first.message_id, second.message_id]

    @on_trio
    async def test_who_did_not_ask_is_told_nothing(self) -> None:
        world, tom, jerry, tea = await a_couple()
        await world.send(tom, tea)
        await read(world, jerry, tea)
        await world.send(tom, tea)
        await ask(world, jerry, tea)
        await read(world, jerry, tea)
        assert world.bus.of(MessagesReceipted) == []


class TestAsking:
    @pytest.mark.rule("6.6")
    @on_trio
    async def test_the_other_one_s_progress(self) -> None:
        world, tom, jerry, tea = await a_couple()
        assert await reached(world, tom, tea) == (NEVER, NEVER)
        first = await ask(world, tom, tea)
        delivered = world.clock.step(20)
        await got(world, jerry, tea, first)
        assert await reached(world, tom, tea) == (delivered, NEVER)
        second = await ask(world, tom, tea)
        assert await reached(world, tom, tea) == (delivered, NEVER)
        seen = world.clock.step(20)
        await read(world, jerry, tea, second)
        assert await reached(world, tom, tea) == (seen, seen)
        assert await reached(world, jerry, tea) == (NEVER, NEVER)

    @pytest.mark.rule("6.6")
    @on_trio
    async def test_everybody_s_progress_however_many_they_are(self) -> None:
        world, tom, jerry, _ = await a_couple()
        spike = await world.login("spike")
        tea = await world.start(tom, "jerry", "spike")
        await world.send(tom, tea)
        at = world.clock.step(10)
        await read(world, jerry, tea)
        answer = await query_receipts(world.io, tom, QueryReceipts(tea, all_members=True))
        assert answer == MemberReceipts(tea, (MemberReceipt("jerry", at, at), MemberReceipt("spike", NEVER, NEVER)))
        assert await reached(world, tom, tea) == (NEVER, NEVER)  # one has nothing yet
        await read(world, spike, tea)
        assert await reached(world, tom, tea) == (at, at)

    @on_trio
    async def test_alone_there_is_nobody_to_wait_for(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        await world.send(tom, tea)
        assert await reached(world, tom, tea) == (NEVER, NEVER)
        answer = await query_receipts(world.io, tom, QueryReceipts(tea, all_members=True))
        assert answer == MemberReceipts(tea, ())

    @on_trio
    async def test_only_members_may_and_only_where_members_are_kept(self) -> None:
        world, tom, _, tea = await a_couple()
        with pytest.raises(MembershipRequired):
            await query_receipts(world.io, await world.login("spike"), QueryReceipts(tea))
        with pytest.raises(ConversationNotFound):
            await query_receipts(world.io, tom, QueryReceipts(NOWHERE))
        with pytest.raises(NormalConversationRequired):
            await query_receipts(world.io, tom, QueryReceipts(await world.start_room(tom)))

    @pytest.mark.rule("6.6")
    @on_trio
    async def test_the_history_of_two_says_how_far_the_other_is(self) -> None:
        world, tom, jerry, tea = await a_couple()
        await ask(world, tom, tea)
        await read(world, jerry, tea)
        at = world.clock.now()
        assert (await read_history(world.io, tom, ReadHistory(tea))).receipt == MemberReceipt("jerry", at, at)
        assert (await read_history(world.io, jerry, ReadHistory(tea))).receipt == MemberReceipt("tom", NEVER, NEVER)
        await add_members(world.io, tom, AddMembers(tea, ("spike",)))
        assert (await read_history(world.io, tom, ReadHistory(tea))).receipt is None

    @on_trio
    async def test_who_joins_late_has_received_nothing_yet(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        await ask(world, tom, tea)
        await add_members(world.io, tom, AddMembers(tea, ("jerry",)))
        assert await reached(world, tom, tea) == (NEVER, NEVER)


class TestAnything:
    @pytest.mark.rule("6.2", "6.3", "6.7")
    @explored
    @given(
        schedules,
        st.lists(st.tuples(st.sampled_from(["send", "own", "got", "range", "read"]), st.integers(0, 20)), max_size=14),
    )
    @on_trio
    async def test_each_message_is_receipted_once_and_nothing_unreceived_looks_received(
        self, schedule: object, steps: list[tuple[str, int]]
    ) -> None:
        world, tom, jerry, tea = await a_couple()
        other = await world.login("jerry")
        sent: list[Acked] = []
        furthest = -1
        async with trio.open_nursery() as nursery:
            for what, number in steps:
                which = number % len(sent) if sent else -1
                if what == "send":
                    sent.append(await ask(world, tom, tea))
                elif what == "own":
                    await ask(world, jerry, tea)
                elif sent:
                    session = (jerry, other)[number % 2]
                    furthest = max(furthest, which)
                    if what == "got":
                        nursery.start_soon(got, world, session, tea, sent[which])
                    elif what == "range":
                        nursery.start_soon(got_range, world, session, tea, None, sent[which])
                    else:
                        nursery.start_soon(read, world, session, tea, sent[which])
        ids = [acked.message_id for acked in sent]
        assert sorted(receipts(world)) == ids[: furthest + 1]
        assert set(receipts(world, read=True)) <= set(receipts(world))
        assert len(receipts(world, read=True)) == len(set(receipts(world, read=True)))
        delivered_at, read_at = await reached(world, tom, tea)
        assert read_at <= delivered_at
        assert [acked.timestamp <= delivered_at for acked in sent] == [place <= furthest for place in range(len(sent))]
