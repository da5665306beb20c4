import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastim.core.commands import Acknowledge, OpenSession, RemoveMembers
from fastim.core.conversation import Kind
from fastim.core.events import MessagePosted, MessagesQueued, MessagesReceipted
from fastim.core.message import Message, Position
from fastim.core.policy import PIECE_BYTES, QUEUED_BATCH, QUEUED_MAX, Policy
from fastim.core.replies import Acked
from fastim.core.session import OfflineMode, Session, office
from fastim.service.members import remove_members
from fastim.service.offline import forget_missed, push_missed
from fastim.service.receipts import acknowledge
from tests.fakes.running import explored, on_trio, schedules
from tests.fakes.world import EVERYTHING, World, new_world


async def come(world: World, client_id: str = "jerry", device: str = "phone") -> Session:
    """A session that wants what its client missed."""
    opening = OpenSession(config=EVERYTHING, device=device)
    session, _ = await world.open(client_id, opening, offline_mode=OfflineMode.PUSH)
    return session


async def push(world: World, session: Session) -> list[list[str]]:
    """What it is pushed as it opens."""
    world.bus.events.clear()
    await push_missed(world.io, session)
    return batches(world, session)


def batches(world: World, session: Session) -> list[list[str]]:
    """The texts of every batch that a session was pushed."""
    for event in world.bus.of(MessagesQueued):
        assert event.session != session.number or event.client_id == session.client_id
    return [
        [message.body.decode() for message in event.messages]
        for event in world.bus.of(MessagesQueued)
        if event.session == session.number
    ]


async def say(world: World, sender: Session, conversation_id: str, count: int, start: int = 0) -> list[Acked]:
    """Messages "0", "1", ... one after the other."""
    acks = []
    for number in range(start, start + count):
        world.clock.step(10)
        acks.append(await world.send(sender, conversation_id, str(number)))
    return acks


def numbers(start: int, stop: int) -> list[str]:
    return [str(number) for number in range(start, stop)]


async def got(world: World, session: Session, conversation_id: str, acked: Acked) -> None:
    await acknowledge(world.io, session, Acknowledge(conversation_id, acked.message_id))


async def got_range(world: World, session: Session, conversation_id: str, first: Acked, last: Acked) -> None:
    await acknowledge(world.io, session, Acknowledge(conversation_id, since=first.timestamp, until=last.timestamp))


async def a_talk(count: int) -> tuple[World, Session, str, list[Acked]]:
    """Tom has said so many things to jerry, who was away."""
    world = await new_world()
    tom = await world.login("tom")
    tea = await world.start(tom, "jerry")
    return world, tom, tea, await say(world, tom, tea, count)


class TestOnOpening:
    @pytest.mark.rule("7.9")
    @on_trio
    async def test_what_others_said_meanwhile_is_pushed(self) -> None:
        world, _, tea, _ = await a_talk(3)
        jerry = await come(world)
        await world.send(await world.login("jerry"), tea, "own")
        assert await push(world, jerry) == [numbers(0, 3)]
        event = world.bus.the(MessagesQueued)
        assert (event.conversation_id, event.kind, event.more) == (tea, Kind.NORMAL, False)
        assert (event.client_id, event.session) == ("jerry", jerry.number)
        assert [message.sequence for message in event.messages] == [1, 2, 3]

    @pytest.mark.rule("7.1")
    @on_trio
    async def test_who_wants_counts_is_pushed_nothing(self) -> None:
        world, _, _, _ = await a_talk(1)
        assert await push(world, await world.login("jerry")) == []

    @on_trio
    async def test_without_anything_missed_nothing_is_pushed(self) -> None:
        world, tom, tea, _ = await a_talk(0)
        assert await push(world, await come(world)) == []
        await say(world, tom, tea, 1)
        assert await push(world, await come(world, "tom")) == []

    @on_trio
    async def test_what_was_acknowledged_or_read_is_not_pushed_again(self) -> None:
        world, _, tea, acks = await a_talk(3)
        jerry = await come(world)
        await push(world, jerry)
        await got(world, jerry, tea, acks[1])
        assert await push(world, await come(world)) == [["2"]]
        await world.io.store.mark_read(tea, "jerry", None, world.clock.now())
        assert await push(world, await come(world)) == []

    @pytest.mark.rule("2.7", "7.9")
    @on_trio
    async def test_of_very_many_the_newest_are_pushed(self) -> None:
        world, _, tea, acks = await a_talk(QUEUED_MAX + 30)
        jerry = await come(world)
        seen = await push(world, jerry)
        for _ in range(QUEUED_MAX // QUEUED_BATCH):
            last = int(seen[-1][-1])
            await got(world, jerry, tea, acks[last])
            seen = batches(world, jerry)
        assert [text for one in seen for text in one] == numbers(30, QUEUED_MAX + 30)
        assert [event.more for event in world.bus.of(MessagesQueued)] == [True] * 4 + [False]

    @on_trio
    async def test_a_batch_of_large_messages_goes_in_pieces_of_which_the_last_says_that_there_is_more(self) -> None:
        world = await new_world(Policy(message_bytes=PIECE_BYTES))
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        for number in range(QUEUED_BATCH + 1):
            await world.send(tom, tea, f"{number:06}" * (PIECE_BYTES // 12 - 6))  # two of them fit
        pushed = await push(world, await come(world))
        assert [text[:6] for piece in pushed for text in piece] == [f"{number:06}" for number in range(QUEUED_BATCH)]
        assert [len(piece) for piece in pushed] == [2] * (QUEUED_BATCH // 2)
        assert [event.more for event in world.bus.of(MessagesQueued)] == [False] * (QUEUED_BATCH // 2 - 1) + [True]

    @on_trio
    async def test_each_conversation_has_batches_of_its_own(self) -> None:
        world, tom, tea, acks = await a_talk(QUEUED_BATCH + 1)
        milk = await world.start(tom, "jerry")
        await say(world, tom, milk, 2)
        jerry = await come(world)
        assert sorted(map(len, await push(world, jerry))) == [2, QUEUED_BATCH]
        world.bus.events.clear()
        await got(world, jerry, tea, acks[QUEUED_BATCH - 1])
        assert batches(world, jerry) == [[str(QUEUED_BATCH)]]

    @pytest.mark.rule("1.19", "3.10")
    @on_trio
    async def test_nothing_of_what_has_ended_or_was_left(self) -> None:
        world, tom, tea, _ = await a_talk(1)
        brief = await world.start_temporary(tom, "jerry", ttl_seconds=60)
        await say(world, tom, brief, 1)
        assert len(await push(world, await come(world))) == 2
        world.clock.step(60_000)
        assert len(await push(world, await come(world))) == 1
        await remove_members(world.io, tom, RemoveMembers(tea, ("jerry",)))
        assert await push(world, await come(world)) == []

    @pytest.mark.rule("1.14", "7.8")
    @on_trio
    async def test_of_a_service_what_it_said_to_all_and_what_it_said_to_one(self) -> None:
        world = await new_world()
        jerry = await world.login("jerry")
        news = await world.start_service(jerry)
        first = await world.send(office("paper"), news, "to all")
        await world.send(jerry, news, "own")
        session = await come(world)
        assert await push(world, session) == [["to all"]]
        assert world.bus.the(MessagesQueued).kind is Kind.SYSTEM
        await got(world, session, news, first)
        assert await push(world, await come(world)) == []


class TestGoingOn:
    @pytest.mark.rule("7.9")
    @on_trio
    async def test_the_next_batch_follows_when_the_last_one_is_acknowledged(self) -> None:
        world, _, tea, acks = await a_talk(2 * QUEUED_BATCH)
        jerry = await come(world)
        assert await push(world, jerry) == [numbers(0, QUEUED_BATCH)]
        for acked in acks[: QUEUED_BATCH - 1]:
            await got(world, jerry, tea, acked)
        assert len(batches(world, jerry)) == 1
        await got(world, jerry, tea, acks[QUEUED_BATCH - 1])
        assert batches(world, jerry)[1:] == [numbers(QUEUED_BATCH, 2 * QUEUED_BATCH)]
        await got_range(world, jerry, tea, acks[QUEUED_BATCH], acks[-1])
        assert len(batches(world, jerry)) == 2

    @on_trio
    async def test_what_comes_in_meanwhile_skips_nothing(self) -> None:
        """It is delivered at once; acknowledging it is not acknowledging what waits."""
        world, tom, tea, acks = await a_talk(QUEUED_BATCH + 5)
        jerry = await come(world)
        await push(world, jerry)
        live = await say(world, tom, tea, 1, start=1000)
        await got(world, jerry, tea, live[0])
        assert len(batches(world, jerry)) == 1
        assert [len(one) for one in await push(world, await come(world, device="tablet"))] == [QUEUED_BATCH]
        world.bus.events.clear()
        await got_range(world, jerry, tea, acks[0], live[0])
        assert batches(world, jerry) == [numbers(QUEUED_BATCH, QUEUED_BATCH + 5)]
        await got(world, jerry, tea, acks[-1])
        assert await push(world, await come(world)) == []  # the one that came in meanwhile counts now, too

    @on_trio
    async def test_each_device_gets_all_of_it(self) -> None:
        world, _, tea, acks = await a_talk(QUEUED_BATCH + 5)
        phone, tablet = await come(world), await come(world, device="tablet")
        await push(world, phone)
        await push_missed(world.io, tablet)
        for session in (phone, tablet):
            await got(world, session, tea, acks[QUEUED_BATCH - 1])
            assert [text for one in batches(world, session) for text in one] == numbers(0, QUEUED_BATCH + 5)

    @on_trio
    async def test_until_the_push_is_through_acknowledgements_do_not_count(self) -> None:
        world, tom, tea, _ = await a_talk(2)
        jerry = await come(world)
        live = await say(world, tom, tea, 1, start=2)
        await got(world, jerry, tea, live[0])
        assert await push(world, jerry) == [numbers(0, 3)]

    @on_trio
    async def test_a_batch_whose_last_message_was_deleted_goes_on_all_the_same(self) -> None:
        world, _, tea, acks = await a_talk(QUEUED_BATCH + 1)
        jerry = await come(world)
        await push(world, jerry)
        last = acks[QUEUED_BATCH - 1]
        await world.io.store.delete_message(tea, Position(last.timestamp, last.message_id))
        await got(world, jerry, tea, last)
        assert batches(world, jerry)[1:] == [[str(QUEUED_BATCH)]]

    @on_trio
    async def test_a_session_that_has_ended_is_pushed_no_more(self) -> None:
        world, _, tea, acks = await a_talk(QUEUED_BATCH + 1)
        jerry = await come(world)
        await push(world, jerry)
        for _ in range(2):
            forget_missed(world.io, jerry)
        await got(world, jerry, tea, acks[QUEUED_BATCH - 1])
        assert len(batches(world, jerry)) == 1
        assert not world.io.backlogs

    @on_trio
    async def test_one_that_ended_while_it_was_to_be_pushed_leaves_nothing_behind(self) -> None:
        world, _, _, _ = await a_talk(1)
        jerry = await come(world)
        world.directory.leave(jerry)
        assert await push(world, jerry) == []
        assert not world.io.backlogs

    @pytest.mark.rule("6.2")
    @on_trio
    async def test_senders_get_their_receipts(self) -> None:
        world, tom, tea, _ = await a_talk(0)
        acks = [await world.send(tom, tea, receipt=True) for _ in range(2)]
        jerry = await come(world)
        await push(world, jerry)
        await got(world, jerry, tea, acks[1])
        assert world.bus.the(MessagesReceipted).message_ids == tuple(acked.message_id for acked in acks)

    @on_trio
    async def test_live_messages_that_were_acknowledged_are_not_pushed_later(self) -> None:
        world, tom, tea, _ = await a_talk(0)
        jerry = await come(world)
        await push(world, jerry)
        acks = await say(world, tom, tea, 3)
        await got(world, jerry, tea, acks[1])
        assert await push(world, await come(world)) == [["2"]]


class TestAnything:
    @pytest.mark.rule("5.1", "7.9")
    @explored
    @given(
        schedules,
        st.integers(0, 70),
        st.lists(st.sampled_from(["live", "one", "range", "all", "again"]), max_size=16),
    )
    @on_trio
    async def test_no_message_is_skipped_whatever_comes_in_meanwhile(
        self, schedule: object, missed: int, steps: list[str]
    ) -> None:
        """A device that acknowledges what it received, in any of the ways that SDKs have, has everything at last."""
        world, tom, tea, _ = await a_talk(missed)
        seen: list[Message] = []
        waiting: list[Message] = []
        session = await come(world)
        number = missed
        told = 0

        def receive() -> None:
            nonlocal told
            for event in world.bus.events[told:]:
                if isinstance(event, MessagesQueued) and event.session == session.number:
                    waiting.extend(event.messages)
                elif isinstance(event, MessagePosted):
                    waiting.append(event.message)
            told = len(world.bus.events)

        async def take(count: int, *, together: bool) -> None:
            taken, waiting[:] = waiting[:count], waiting[count:]
            seen.extend(taken)
            if together and taken:
                times = [message.timestamp for message in taken]
                await acknowledge(world.io, session, Acknowledge(tea, since=min(times), until=max(times)))
            elif not together:
                for message in taken:
                    await acknowledge(world.io, session, Acknowledge(tea, message.id))
            receive()

        await push_missed(world.io, session)
        told = len(world.bus.events) - len(world.bus.of(MessagesQueued))
        receive()
        for step in steps:
            if step == "live":
                await say(world, tom, tea, 1, start=number)
                number += 1
                receive()
            elif step == "again":  # what was received and not acknowledged is lost with the connection
                forget_missed(world.io, session)
                waiting.clear()
                session = await come(world)
                await push_missed(world.io, session)
                receive()
            else:
                await take({"one": 1, "range": 3, "all": len(waiting)}[step], together=step != "one")
        while waiting:
            await take(len(waiting), together=True)
        assert sorted({int(message.body) for message in seen}) == list(range(number))
        assert await push(world, await come(world)) == []
