"""Hooks about messages. Source: semantics, section 14 and rule 5.3."""

from base64 import b64encode
from collections.abc import Awaitable, Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from fastim.core.commands import ReadHistory, RemoveMembers, Send
from fastim.core.errors import HookFailed, InvalidTarget, MessageRejected, MessageTooLong, SendQuotaExceeded
from fastim.core.events import MessagePatched, MessagePosted
from fastim.core.hooks import MessageAnswer, MessageReceived, MessageSent
from fastim.core.ids import personal_log
from fastim.core.policy import Policy
from fastim.core.replies import Acked
from fastim.core.session import Session, office
from fastim.core.unread import Head
from fastim.core.words import MASKED_CODE, MASKED_REASON
from fastim.service.broadcasts import send_to_clients, send_to_everybody, send_to_subscribers
from fastim.service.members import remove_members
from fastim.service.messages import read_history, send_message
from tests.fakes.running import explored, on_trio, schedules
from tests.fakes.slow_hooks import SlowHooks
from tests.fakes.world import World, new_world, written

Place = Callable[[World, Session], Awaitable[str]]


async def world_with(answer: MessageAnswer | HookFailed, policy: Policy | None = None) -> World:
    """A world whose hook answers that."""
    world = await new_world(policy)
    world.hooks.answers[MessageReceived] = answer
    return world


async def slow_world() -> tuple[World, SlowHooks]:
    world = await new_world()
    hooks = SlowHooks()
    hooks.answers[MessageReceived] = MessageAnswer()
    world.io = replace(world.io, hooks=hooks)
    return world, hooks


async def pair(world: World, tom: Session) -> str:
    return await world.start(tom, "jerry")


async def temporary(world: World, tom: Session) -> str:
    return await world.start_temporary(tom, "jerry")


async def room(world: World, tom: Session) -> str:
    return await world.start_room(tom)


async def service(world: World, tom: Session) -> str:
    return await world.start_service(tom)


def said(world: World) -> list[bytes]:
    return [event.message.body for event in world.bus.of(MessagePosted)]


async def history(world: World, session: Session, conversation_id: str) -> list[bytes]:
    return [one.body for one in (await read_history(world.io, session, ReadHistory(conversation_id))).messages]


class TestAsking:
    @on_trio
    async def test_the_hook_is_told_all_about_the_message(self) -> None:
        world = await world_with(MessageAnswer())
        tom = replace(await world.login("tom"), address="10.0.0.7")
        tea = await world.start(tom, "jerry", "spike")
        await world.send(tom, tea, "hi", receipt=True)
        await world.send(tom, tea, "\x00", binary=True, transient=True)
        expected = MessageReceived(
            from_peer="tom",
            conversation_id=tea,
            to_peers=("jerry", "spike"),
            transient=False,
            bin=False,
            content="hi",
            receipt=False,
            timestamp=world.clock.now(),
            system=False,
            source_ip="10.0.0.7",
        )
        assert world.hooks.asked == [expected, replace(expected, transient=True, bin=True, content="AA==")]

    @on_trio
    async def test_a_receipt_is_asked_for_where_there_can_be_one(self) -> None:
        world = await world_with(MessageAnswer())
        tom = await world.login("tom")
        await world.send(tom, await world.start(tom, "jerry"), receipt=True)
        (asked,) = world.hooks.asked
        assert isinstance(asked, MessageReceived)
        assert asked.receipt

    @pytest.mark.parametrize("place", [room, service])
    @on_trio
    async def test_where_nobody_is_a_member_nobody_is_named(self, place: Place) -> None:
        world = await world_with(MessageAnswer(to_peers=()))
        tom = await world.login("tom")
        await world.send(tom, await place(world, tom))
        (asked,) = world.hooks.asked
        assert isinstance(asked, MessageReceived)
        assert (asked.to_peers, asked.system) == ((), place is service)
        assert said(world) == [b"hi"]

    @pytest.mark.parametrize("place", [pair, temporary, room, service])
    @on_trio
    async def test_an_empty_answer_changes_nothing(self, place: Place) -> None:
        world, plain = await world_with(MessageAnswer()), await new_world()
        for one in (world, plain):
            tom = await one.login("tom")
            tea = await place(one, tom)
            await one.send(tom, tea, "a", token="t")
            await one.send(tom, tea, "b", transient=True)
            await one.send(tom, tea, "a", token="t")
        assert [event.message.body for event in world.bus.of(MessagePosted)] == said(plain)
        assert world.bus.of(MessagePatched) == []

    @pytest.mark.rule("14.4")
    @on_trio
    async def test_the_application_is_not_asked_about_what_it_says_itself(self) -> None:
        world = await world_with(MessageAnswer(drop=True))
        tom = await world.login("tom")
        tea, news = await world.start(tom, "jerry"), await world.start_service(tom)
        await send_message(world.io, office("tom"), written(tea))
        await send_to_clients(world.io, office("news"), written(news), ["tom"])
        await send_to_subscribers(world.io, office("news"), written(news))
        await send_to_everybody(world.io, office("news"), written(news))
        assert len(said(world)) == 4
        assert world.hooks.asked == []

    @on_trio
    async def test_what_is_refused_anyway_is_not_asked_about(self) -> None:
        world = await world_with(MessageAnswer())
        tom, spike = await world.login("tom"), await world.login("spike")
        tea = await world.start(tom, "jerry")
        with pytest.raises(InvalidTarget):
            await world.send(spike, tea)
        with pytest.raises(MessageTooLong):
            await send_message(world.io, tom, Send(tea, b"", 5_121))
        assert world.hooks.asked == []

    @on_trio
    async def test_a_room_lets_a_message_in_once_and_before_it_is_asked_about(self) -> None:
        world = await world_with(MessageAnswer())
        tom = await world.login("tom")
        tea = await world.start_room(tom)
        world.ingress.most = 2
        await world.send(tom, tea)
        await world.send(tom, tea, transient=True)
        with pytest.raises(SendQuotaExceeded):
            await world.send(tom, tea)
        assert len(world.hooks.asked) == 2
        assert world.ingress.let_in == [(tea, 2), (tea, 2)]


class TestDropping:
    @pytest.mark.rule("5.13")
    @pytest.mark.parametrize("transient", [False, True])
    @on_trio
    async def test_the_sender_is_told_and_nobody_else(self, transient: bool) -> None:
        world = await world_with(MessageAnswer(drop=True, code=77, detail="be nice", content="other"))
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        with pytest.raises(MessageRejected) as caught:
            await world.send(tom, tea, transient=transient)
        assert (caught.value.code, caught.value.app_code, caught.value.app_message) == (4402, 77, "be nice")
        assert world.bus.events == []
        assert await world.io.store.find_head(tea) == Head()

    @pytest.mark.parametrize("transient", [False, True])
    @on_trio
    async def test_a_hook_that_must_answer_and_does_not_has_nothing_done(self, transient: bool) -> None:
        world = await world_with(HookFailed())
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        with pytest.raises(HookFailed):
            await world.send(tom, tea, transient=transient)
        assert world.bus.events == []
        assert await world.io.store.find_head(tea) == Head()
        world.hooks.answers[MessageReceived] = MessageAnswer()
        await world.send(tom, tea)
        assert said(world) == [b"hi"]


class TestReplacing:
    @pytest.mark.rule("8.6")
    @pytest.mark.parametrize("place", [pair, temporary, room, service])
    @pytest.mark.parametrize("transient", [False, True])
    @on_trio
    async def test_the_others_have_it_and_the_sender_is_told(self, place: Place, transient: bool) -> None:
        world = await world_with(MessageAnswer(content="hello", code=77, detail="be nice"))
        tom = await world.login("tom")
        tea = await place(world, tom)
        acked = await world.send(tom, tea, transient=transient)
        assert said(world) == [b"hello"]
        told = world.bus.the(MessagePatched)
        assert (told.only, told.code, told.detail) == (tom.number, 77, "be nice")
        assert (told.message.id, told.message.body) == (acked.message_id, b"hello")
        assert told.message.patched_at > acked.timestamp
        assert world.bus.events.index(told) > world.bus.events.index(world.bus.the(MessagePosted))
        assert await history(world, tom, tea) == ([] if transient else [b"hello"])

    @on_trio
    async def test_a_text_may_become_binary(self) -> None:
        world = await world_with(MessageAnswer(content=b64encode(b"\x00\x01").decode(), bin=True))
        tom = await world.login("tom")
        await world.send(tom, await world.start(tom, "jerry"))
        message = world.bus.the(MessagePosted).message
        assert (message.body, message.binary) == (b"\x00\x01", True)
        assert world.bus.the(MessagePatched).code == 0

    @pytest.mark.parametrize("content", ["x" * 5_119, "no Base64"])
    @on_trio
    async def test_content_that_cannot_be_is_ignored(self, content: str) -> None:
        world = await world_with(MessageAnswer(content=content, bin=content == "no Base64"))
        tom = await world.login("tom")
        # The push data counts into the message's size, whatever the hook makes of the body.
        await send_message(world.io, tom, Send(await world.start(tom, "jerry"), b"hi", 4, push_data="{}"))
        assert said(world) == [b"hi"]
        assert world.bus.of(MessagePatched) == []

    @pytest.mark.rule("5.3")
    @on_trio
    async def test_what_the_hook_says_is_filtered(self) -> None:
        world = await world_with(MessageAnswer(content="bad dog"))
        world.words.listed = ("bad", "hi")
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry", "spike")
        await world.send(tom, tea)
        assert said(world) == [b"*** dog"]
        told = world.bus.the(MessagePatched)
        assert (told.message.body, told.code, told.detail) == (b"*** dog", MASKED_CODE, MASKED_REASON)

    @on_trio
    async def test_a_message_sent_again_is_asked_about_again_and_stays_as_it_was(self) -> None:
        world = await world_with(MessageAnswer(content="first"))
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        first = await world.send(tom, tea, token="t")
        world.hooks.answers[MessageReceived] = MessageAnswer(content="second")
        assert await world.send(tom, tea, token="t") == first
        world.hooks.answers[MessageReceived] = MessageAnswer(content="first")
        assert await world.send(tom, tea, token="t") == first
        assert said(world) == [b"first"]
        assert [event.message.body for event in world.bus.of(MessagePatched)] == [b"first", b"first"]


class TestChoosing:
    @pytest.mark.rule("14.5")
    @pytest.mark.parametrize("transient", [False, True])
    @on_trio
    async def test_only_those_chosen_are_delivered_it_and_the_senders_own_devices(self, transient: bool) -> None:
        world = await world_with(MessageAnswer(to_peers=("spike", "stranger")))
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry", "spike")
        await world.send(tom, tea, transient=transient)
        assert world.bus.the(MessagePosted).recipients == ("tom", "spike")
        assert await history(world, jerry, tea) == ([] if transient else [b"hi"])

    @on_trio
    async def test_the_others_are_not_pushed_anything(self) -> None:
        world = await world_with(MessageAnswer(to_peers=("spike",)))
        world.pusher.wanted = True
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry", "spike")
        await world.send(tom, tea)
        (job,) = await world.io.store.push_jobs(10)
        assert job.offline == ("spike",)


class TestPushing:
    @on_trio
    async def test_the_outbox_is_woken_once_the_message_is_on_disk(self) -> None:
        world = await new_world()
        world.pusher.wanted = True
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        world.store.hold_back()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.send, tom, tea)
            await wait_all_tasks_blocked()
            assert world.pusher.woken == 0
            world.store.go_on()
        assert world.pusher.woken == 1
        (job,) = await world.io.store.push_jobs(10)
        assert (job.message_id, job.offline) == (world.bus.the(MessagePosted).message.id, ("jerry",))

    @on_trio
    async def test_a_message_that_comes_again_is_pushed_once(self) -> None:
        world = await new_world()
        world.pusher.wanted = True
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        await world.send(tom, tea, token="t")
        await world.send(tom, tea, token="t")
        assert len(await world.io.store.push_jobs(10)) == world.pusher.woken == 1

    @pytest.mark.rule("10.1")
    @on_trio
    async def test_nothing_is_pushed_of_what_is_transient_or_in_a_room_or_of_no_interest(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea, chat = await world.start(tom, "jerry"), await world.start_room(tom)
        await world.send(tom, tea)
        world.pusher.wanted = True
        await world.send(tom, tea, transient=True)
        await world.send(tom, chat)
        assert await world.io.store.push_jobs(10) == []
        assert world.pusher.woken == 0

    @on_trio
    async def test_what_a_service_says_to_some_or_to_all_subscribers_is_pushed(self) -> None:
        world = await new_world()
        world.pusher.wanted = True
        tom = await world.login("tom")
        news = await world.start_service(tom)
        acked = await send_to_clients(world.io, office("news"), written(news, push_data="{}"), ["jerry", "spike"])
        world.clock.step(1)
        await send_to_subscribers(world.io, office("news"), written(news))
        some, subscribers = await world.io.store.push_jobs(10)
        assert (some.message_id, some.offline, some.content) == (acked.message_id, ("jerry", "spike"), "{}")
        assert some.log_id == personal_log(news, "jerry")
        assert (subscribers.to_subscribers, subscribers.log_id) == (True, news)
        assert world.pusher.woken == 2

    @on_trio
    async def test_what_is_said_to_everybody_is_not(self) -> None:
        world = await new_world()
        world.pusher.wanted = True
        news = await world.start_service()
        await send_to_everybody(world.io, office("news"), written(news))
        assert await world.io.store.push_jobs(10) == []


class TestWaiting:
    @on_trio
    async def test_each_question_is_asked_at_once_and_the_messages_stay_in_order(self) -> None:
        world, hooks = await slow_world()
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        async with trio.open_nursery() as nursery:
            for text in ("a", "b", "c"):
                nursery.start_soon(world.send, tom, tea, text)
                await wait_all_tasks_blocked()
            assert len(hooks.asked) == 3
            hooks.answer(2, MessageAnswer())
            hooks.answer(1, MessageAnswer(content="B"))
            await wait_all_tasks_blocked()
            assert said(world) == []
            hooks.answer(0, MessageAnswer())
        assert said(world) == [b"a", b"B", b"c"]

    @on_trio
    async def test_nobody_else_waits_in_the_same_conversation(self) -> None:
        world, hooks = await slow_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        other = await world.start(tom, "spike")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.send, tom, tea, "slow")
            await wait_all_tasks_blocked()
            nursery.start_soon(world.send, jerry, tea, "quick")
            nursery.start_soon(world.send, tom, other, "elsewhere")
            await wait_all_tasks_blocked()
            for number in (1, 2):
                hooks.answer(number, MessageAnswer())
            await wait_all_tasks_blocked()
            assert set(said(world)) == {b"quick", b"elsewhere"}
            hooks.answer(0, MessageAnswer())
        assert said(world)[-1] == b"slow"

    @on_trio
    async def test_one_that_is_dropped_or_fails_lets_the_next_go_on(self) -> None:
        world, hooks = await slow_world()
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        refused: list[type[Exception]] = []

        async def try_to_send(text: str) -> None:
            try:
                await world.send(tom, tea, text)
            except (MessageRejected, HookFailed) as error:
                refused.append(type(error))

        async with trio.open_nursery() as nursery:
            for text in ("a", "b", "c"):
                nursery.start_soon(try_to_send, text)
                await wait_all_tasks_blocked()
            hooks.answer(0, MessageAnswer(drop=True))
            hooks.answer(1, HookFailed())
            hooks.answer(2, MessageAnswer())
        assert refused == [MessageRejected, HookFailed]
        assert said(world) == [b"c"]

    @on_trio
    async def test_who_is_removed_meanwhile_does_not_speak(self) -> None:
        world, hooks = await slow_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                with pytest.raises(InvalidTarget):
                    await world.send(jerry, tea)

            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            await remove_members(world.io, tom, RemoveMembers(tea, ("jerry",)))
            hooks.answer(0, MessageAnswer())
        assert said(world) == []

    @on_trio
    async def test_a_commit_that_takes_long_does_not_keep_the_next_message_out_of_it(self) -> None:
        world, hooks = await slow_world()
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        acks: list[Acked] = []

        async def send(text: str) -> None:
            acks.append(await world.send(tom, tea, text))

        async with trio.open_nursery() as nursery:
            world.store.hold_back()
            for number, text in enumerate("ab"):
                nursery.start_soon(send, text)
                await wait_all_tasks_blocked()
                hooks.answer(number, MessageAnswer())
            await wait_all_tasks_blocked()
            assert world.store.waiting == 2
            world.store.go_on()
        assert said(world) == [b"a", b"b"]

    @explored
    @given(schedules, st.permutations(range(4)))
    @on_trio
    async def test_messages_keep_their_order_whatever_the_hook_does(
        self, schedule: object, answered: list[int]
    ) -> None:
        world, hooks = await slow_world()
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(world.send, tom, tea, str(number))
                await wait_all_tasks_blocked()
            for number in answered:
                hooks.answer(number, MessageAnswer())
                await trio.lowlevel.checkpoint()
        assert said(world) == [b"0", b"1", b"2", b"3"]
        assert await history(world, tom, tea) == said(world)


class TestTelling:
    @on_trio
    async def test_who_was_online_and_who_was_not(self) -> None:
        world = await new_world()
        world.hooks.noticed = {MessageSent}
        tom = replace(await world.login("tom"), address="10.0.0.7")
        await world.login("jerry")
        tea = await world.start(tom, "jerry", "spike")
        acked = await world.send(tom, tea, "hi")
        assert world.hooks.told == [
            MessageSent(
                from_peer="tom",
                conversation_id=tea,
                message_id=acked.message_id,
                online_peers=("jerry",),
                offline_peers=("spike",),
                transient=False,
                system=False,
                bin=False,
                content="hi",
                receipt=False,
                timestamp=acked.timestamp,
                source_ip="10.0.0.7",
            )
        ]

    @on_trio
    async def test_what_the_hook_left_of_it(self) -> None:
        world = await world_with(MessageAnswer(content="AA==", bin=True, to_peers=("spike",)))
        world.hooks.noticed = {MessageSent}
        tom = await world.login("tom")
        await world.send(tom, await world.start(tom, "jerry", "spike"), transient=True)
        (told,) = world.hooks.told
        assert isinstance(told, MessageSent)
        assert (told.content, told.bin, told.transient) == ("AA==", True, True)
        assert (told.online_peers, told.offline_peers) == ((), ("spike",))

    @on_trio
    async def test_a_message_that_comes_again_is_told_of_once_and_one_that_is_refused_never(self) -> None:
        world = await new_world()
        world.hooks.noticed = {MessageSent}
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        await world.send(tom, tea, token="t")
        await world.send(tom, tea, token="t")
        with pytest.raises(InvalidTarget):
            await world.send(await world.login("spike"), tea)
        assert len(world.hooks.told) == 1

    @pytest.mark.parametrize("place", [room, service])
    @on_trio
    async def test_where_nobody_is_a_member_nobody_is_named(self, place: Place) -> None:
        world = await new_world()
        world.hooks.noticed = {MessageSent}
        tom = await world.login("tom")
        await world.send(tom, await place(world, tom))
        (told,) = world.hooks.told
        assert isinstance(told, MessageSent)
        assert (told.online_peers, told.offline_peers, told.system) == ((), (), place is service)

    @on_trio
    async def test_of_what_the_application_says(self) -> None:
        world = await new_world()
        world.hooks.noticed = {MessageSent}
        tom = await world.login("tom")
        tea, news = await world.start(tom, "jerry"), await world.start_service(tom)
        await send_message(world.io, office("tom"), written(tea, "one"))
        await send_to_clients(world.io, office("news"), written(news, "some"), ["tom", "jerry"])
        await send_to_subscribers(world.io, office("news"), written(news, "subscribers"))
        await send_to_everybody(world.io, office("news"), written(news, "all"))
        told = [(one.content, one.system) for one in world.hooks.told if isinstance(one, MessageSent)]
        assert told == [("one", False), ("some", True), ("subscribers", True), ("all", True)]
