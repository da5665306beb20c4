import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastim.core.commands import PatchMessage, ReadHistory, RemoveMembers
from fastim.core.errors import (
    ConversationNotFound,
    InvalidLogin,
    InvalidTarget,
    MessageNotFound,
    MessageTooLong,
    SendingNotAllowed,
    SystemConversationRequired,
    Unavailable,
)
from fastim.core.events import MessagePosted, MessagesQueued
from fastim.core.ids import personal_log
from fastim.core.message import Position, Span
from fastim.core.policy import BROADCAST_MILLIS
from fastim.core.replies import Acked
from fastim.core.session import office
from fastim.core.units import Millis
from fastim.service.audience import audience
from fastim.service.broadcasts import (
    delete_broadcast,
    deliver_broadcasts,
    list_broadcasts,
    patch_broadcast,
    send_to_clients,
    send_to_everybody,
    send_to_subscribers,
)
from fastim.service.conversations import delete_conversation
from fastim.service.members import remove_members
from fastim.service.messages import read_history
from fastim.service.sessions import end_session
from tests.fakes.running import explored, on_trio, schedules
from tests.fakes.world import World, new_world, written

NEWS = office("news")


async def arrive(world: World, client_id: str) -> list[str]:
    """What a client is sent of the messages to everybody when it logs in."""
    world.bus.events.clear()
    session, arrival = await world.arrive(client_id)
    await deliver_broadcasts(world.io, session, arrival)
    queued = world.bus.of(MessagesQueued)
    assert all((one.client_id, one.session, one.more) == (client_id, session.number, False) for one in queued)
    await end_session(world.io, session)
    return [message.body.decode() for one in queued for message in one.messages]


def position(acked: Acked) -> Position:
    return Position(acked.timestamp, acked.message_id)


class TestToSome:
    @pytest.mark.rule("1.15", "1.16")
    @on_trio
    async def test_each_has_it_in_its_own_log_with_one_id_and_one_time(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        news = await world.start_service(tom)
        await world.send(tom, news, "a question")
        acked = await send_to_clients(world.io, NEWS, written(news, "hello"), ["tom", "jerry", "tom"])
        for client_id in ("tom", "jerry"):
            message = await world.store.find_message(personal_log(news, client_id), position(acked))
            assert message is not None
            assert (message.sender, message.body) == ("news", b"hello")
        assert await world.store.history(news, Span()) == []
        posted = world.bus.of(MessagePosted)[-2:]
        assert [one.recipients for one in posted] == [("tom", "news"), ("jerry",)]
        assert {(one.conversation_id, one.origin, one.message.id) for one in posted} == {(news, 0, acked.message_id)}

    @pytest.mark.rule("5.6")
    @on_trio
    async def test_the_senders_own_devices_can_be_left_out(self) -> None:
        world = await new_world()
        news = await world.start_service()
        await send_to_clients(world.io, NEWS, written(news, sync=False), ["tom"])
        event = world.bus.the(MessagePosted)
        assert (event.recipients, event.sync) == (("tom",), False)

    @pytest.mark.rule("5.10")
    @on_trio
    async def test_what_is_transient_is_delivered_and_no_more(self) -> None:
        world = await new_world()
        news = await world.start_service()
        await send_to_clients(world.io, NEWS, written(news, transient=True), ["tom"])
        event = world.bus.the(MessagePosted)
        assert (event.transient, event.message.sequence) == (True, 0)
        assert await world.store.history(personal_log(news, "tom"), Span()) == []

    @pytest.mark.parametrize(
        ("client_ids", "refusal"),
        [
            ([], SendingNotAllowed),
            ([f"c{number}" for number in range(21)], SendingNotAllowed),
            (["tom", ""], InvalidLogin),
        ],
    )
    @on_trio
    async def test_to_one_at_least_and_twenty_at_most(self, client_ids: list[str], refusal: type[Exception]) -> None:
        world = await new_world()
        news = await world.start_service()
        with pytest.raises(refusal):
            await send_to_clients(world.io, NEWS, written(news), client_ids)
        assert not world.bus.events

    @explored
    @given(schedules, st.lists(st.integers(-3, 3), min_size=1, max_size=5))
    @on_trio
    async def test_the_time_is_the_same_for_all_whatever_the_clock_does(
        self, schedule: object, steps: list[int]
    ) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        news = await world.start_service(tom, jerry)
        for step in steps:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.send, tom, news)
                nursery.start_soon(send_to_clients, world.io, NEWS, written(news), ["tom", "jerry"])
            world.clock.step(step)
        logs = [await world.store.history(personal_log(news, one), Span()) for one in ("tom", "jerry")]
        told = [[message.position for message in log if message.sender == "news"] for log in logs]
        assert told[0] == told[1]
        assert len(told[0]) == len(steps)


class TestToSubscribers:
    @pytest.mark.rule("1.14", "1.15")
    @on_trio
    async def test_all_have_it_and_those_online_are_sent_it(self) -> None:
        world = await new_world()
        tom, jerry, _ = await world.login("tom"), await world.login("jerry"), await world.login("stranger")
        news = await world.start_service(tom, jerry)
        await end_session(world.io, jerry)
        acked = await send_to_subscribers(world.io, NEWS, written(news, "hello"))
        event = world.bus.the(MessagePosted)
        assert (event.recipients, event.message.id) == (("tom",), acked.message_id)
        (message,) = (await read_history(world.io, jerry, ReadHistory(news))).messages
        assert message.body == b"hello"

    @pytest.mark.parametrize("subscribers", [1, 3, 6])
    @on_trio
    async def test_whichever_way_they_are_found(self, subscribers: int) -> None:
        """From those online or from those subscribed, whichever are fewer."""
        world = await new_world()
        crowd = [await world.login(f"c{number}") for number in range(6)]
        news = await world.start_service(*crowd[:subscribers])
        for one in crowd[:2]:
            await end_session(world.io, one)
        conversation = await world.store.find_conversation(news)
        assert conversation is not None
        found = await audience(world.io, conversation)
        assert sorted(found) == [one.client_id for one in crowd[2:subscribers]]

    @on_trio
    async def test_all_of_many(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        crowd = tuple(f"c{number}" for number in range(1001))
        for number, client_id in enumerate(crowd):
            world.directory.enter(replace(tom, number=100 + number, client_id=client_id))
        conversation = await world.store.find_conversation(await world.start_service())
        assert conversation is not None
        await world.store.change_conversation(conversation, joined=crowd)
        assert sorted(await audience(world.io, conversation)) == sorted(crowd)

    @on_trio
    async def test_who_has_left_is_sent_nothing(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        news = await world.start_service(tom)
        await remove_members(world.io, tom, RemoveMembers(news, ("tom",)))
        await send_to_subscribers(world.io, NEWS, written(news))
        assert world.bus.the(MessagePosted).recipients == ()


class TestToEverybody:
    @pytest.mark.rule("1.15")
    @on_trio
    async def test_those_online_are_sent_it_now_and_never_again(self) -> None:
        world = await new_world()
        await world.login("tom")
        await world.login("jerry")
        news = await world.start_service()
        acked = await send_to_everybody(world.io, NEWS, written(news, "hello"))
        event = world.bus.the(MessagePosted)
        assert (event.recipients, event.message.id, event.origin) == (("tom", "jerry"), acked.message_id, 0)
        assert await world.store.history(news, Span()) == []
        assert await arrive(world, "tom") == []

    @on_trio
    async def test_who_was_here_before_gets_all_that_it_missed_once(self) -> None:
        world = await new_world()
        news, sport = await world.start_service(), await world.start_service()
        await arrive(world, "tom")
        for conversation_id, text in ((news, "1"), (sport, "2"), (news, "3")):
            await send_to_everybody(world.io, NEWS, written(conversation_id, text))
        assert sorted(await arrive(world, "tom")) == ["1", "2", "3"]
        assert await arrive(world, "tom") == []
        await send_to_everybody(world.io, NEWS, written(news, "4"))
        assert await arrive(world, "tom") == ["4"]

    @pytest.mark.rule("7.10")
    @on_trio
    async def test_a_new_client_gets_the_newest_that_has_not_expired(self) -> None:
        world = await new_world()
        news = await world.start_service()
        for text, life in (("1", 100), ("2", 90), ("3", 10)):
            await send_to_everybody(world.io, NEWS, written(news, text), Millis(world.clock.now() + life))
            world.clock.step(1)
        world.clock.step(20)
        assert await arrive(world, "tom") == ["2"]
        assert await arrive(world, "tom") == []

    @pytest.mark.rule("2.17")
    @pytest.mark.parametrize(
        ("asked", "given"), [(None, BROADCAST_MILLIS), (BROADCAST_MILLIS + 1, BROADCAST_MILLIS), (5, 5)]
    )
    @on_trio
    async def test_it_lives_a_month_at_most(self, asked: int | None, given: int) -> None:
        world = await new_world()
        news = await world.start_service()
        now = world.clock.now()
        await send_to_everybody(world.io, NEWS, written(news), None if asked is None else Millis(now + asked))
        (kept,) = await list_broadcasts(world.io, news, 0, 10)
        assert kept.valid_till == now + given

    @on_trio
    async def test_what_has_expired_before_it_is_sent_is_refused(self) -> None:
        world = await new_world()
        news = await world.start_service()
        with pytest.raises(SendingNotAllowed):
            await send_to_everybody(world.io, NEWS, written(news), world.clock.now())
        assert not world.bus.events

    @on_trio
    async def test_a_transient_one_is_for_those_online(self) -> None:
        world = await new_world()
        news = await world.start_service()
        await arrive(world, "jerry")
        await world.login("tom")
        await send_to_everybody(world.io, NEWS, written(news, transient=True))
        assert world.bus.the(MessagePosted).recipients == ("tom",)
        assert await list_broadcasts(world.io, news, 0, 10) == []
        assert await arrive(world, "jerry") == []

    @on_trio
    async def test_of_a_conversation_that_is_gone_nothing_more_is_sent(self) -> None:
        world = await new_world()
        news = await world.start_service()
        await arrive(world, "tom")
        await send_to_everybody(world.io, NEWS, written(news))
        await delete_conversation(world.io, news)
        assert await arrive(world, "tom") == []

    @on_trio
    async def test_nobody_is_sent_what_is_not_on_disk(self) -> None:
        world = await new_world()
        await world.login("tom")
        news = await world.start_service()
        world.store.refusing = True
        for send in (send_to_everybody, send_to_subscribers):
            with pytest.raises(Unavailable):
                await send(world.io, NEWS, written(news))
        with pytest.raises(Unavailable):
            await send_to_clients(world.io, NEWS, written(news), ["tom"])
        assert not world.bus.events

    @explored
    @given(schedules, st.lists(st.integers(-3, 3), max_size=6))
    @on_trio
    async def test_nobody_misses_one_however_the_clock_steps(self, schedule: object, steps: list[int]) -> None:
        world = await new_world()
        news = await world.start_service()
        await arrive(world, "tom")
        got = []
        for number, step in enumerate(steps):
            async with trio.open_nursery() as nursery:
                for half in "ab":
                    nursery.start_soon(send_to_everybody, world.io, NEWS, written(news, f"{number}{half}"))
            world.clock.step(step)
            if step > 0:
                got += await arrive(world, "tom")
        got += await arrive(world, "tom")
        assert sorted(got) == sorted(f"{number}{half}" for number in range(len(steps)) for half in "ab")


class TestManaging:
    @on_trio
    async def test_the_list_has_what_is_current_newest_first(self) -> None:
        world = await new_world()
        news, sport = await world.start_service(), await world.start_service()
        for text in "1234":
            await send_to_everybody(world.io, NEWS, written(news, text))
        await send_to_everybody(world.io, NEWS, written(sport, "other"))
        await send_to_everybody(world.io, NEWS, written(news, "short"), Millis(world.clock.now() + 1))
        world.clock.step(1)
        listed = await list_broadcasts(world.io, news, skip=1, limit=2)
        assert [one.message.body for one in listed] == [b"3", b"2"]
        with pytest.raises(ConversationNotFound):
            await list_broadcasts(world.io, "0" * 24, 0, 10)

    @on_trio
    async def test_nobody_else_gets_what_was_deleted(self) -> None:
        world = await new_world()
        news = await world.start_service()
        acked = await send_to_everybody(world.io, NEWS, written(news))
        await delete_broadcast(world.io, acked.message_id)
        assert await arrive(world, "tom") == []
        with pytest.raises(MessageNotFound):
            await delete_broadcast(world.io, acked.message_id)

    @on_trio
    async def test_who_had_it_keeps_it_and_others_get_what_it_is_now(self) -> None:
        world = await new_world()
        news = await world.start_service()
        await world.login("tom")
        await arrive(world, "jerry")
        acked = await send_to_everybody(world.io, NEWS, written(news, "one"))
        patched = await patch_broadcast(world.io, NEWS, PatchMessage(news, position(acked), body=b"two"))
        assert patched.at > acked.timestamp
        assert [type(event) for event in world.bus.events] == [MessagePosted]
        assert await arrive(world, "jerry") == ["two"]
        (kept,) = await list_broadcasts(world.io, news, 0, 10)
        assert (kept.message.patched_at, kept.message.position) == (patched.at, position(acked))

    @on_trio
    async def test_what_is_recalled_arrives_as_recalled(self) -> None:
        world = await new_world()
        news = await world.start_service()
        acked = await send_to_everybody(world.io, NEWS, written(news, "one"))
        await patch_broadcast(world.io, NEWS, PatchMessage(news, position(acked), recall=True))
        assert await arrive(world, "tom") == ['{"_lctype":-127}']

    @on_trio
    async def test_one_that_is_not_there_cannot_be_patched(self) -> None:
        world = await new_world()
        news, sport = await world.start_service(), await world.start_service()
        acked = await send_to_everybody(world.io, NEWS, written(news))
        for command in (
            PatchMessage(sport, position(acked), body=b"two"),
            PatchMessage(news, Position(acked.timestamp, "x" * 22), body=b"two"),
            PatchMessage(news, Position(Millis(acked.timestamp - 1), acked.message_id), body=b"two"),
        ):
            with pytest.raises(MessageNotFound):
                await patch_broadcast(world.io, NEWS, command)


class TestWhoMay:
    @on_trio
    async def test_only_the_application_and_only_for_a_service_conversation(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        news, tea = await world.start_service(tom), await world.start(tom)
        for session, conversation_id, refusal in (
            (tom, news, SendingNotAllowed),
            (NEWS, tea, SystemConversationRequired),
            (NEWS, "0" * 24, InvalidTarget),
        ):
            for send in (send_to_subscribers, send_to_everybody):
                with pytest.raises(refusal):
                    await send(world.io, session, written(conversation_id))
            with pytest.raises(refusal):
                await send_to_clients(world.io, session, written(conversation_id), ["tom"])
        with pytest.raises(MessageTooLong):
            await send_to_everybody(world.io, NEWS, written(news, "x" * 6000))
        assert not world.bus.events
