import json
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastim.core.commands import PatchMessage, ReadHistory
from fastim.core.events import MessagePatched, MessagePosted, MessagesQueued
from fastim.core.ids import personal_log
from fastim.core.message import Position, Span
from fastim.core.patch import RECALLED_BODY
from fastim.core.policy import Policy
from fastim.core.replies import Acked
from fastim.core.session import Config, Session, office
from fastim.core.words import MASKED_CODE, MASKED_REASON
from fastim.service.broadcasts import (
    deliver_broadcasts,
    patch_broadcast,
    send_to_clients,
    send_to_everybody,
    send_to_subscribers,
)
from fastim.service.messages import read_history, send_message
from fastim.service.patches import patch_message
from fastim.service.wills import fire_will
from tests.fakes.running import explored, on_trio, schedules
from tests.fakes.words import PlainWords
from tests.fakes.world import World, new_world, written

Place = Callable[[World, Session], Awaitable[str]]


async def strict_world(policy: Policy | None = None) -> World:
    """A world in which ``bad`` is listed."""
    world = await new_world(policy)
    world.words.listed = ("bad",)
    return world


async def group(world: World, tom: Session) -> str:
    return await world.start(tom, "jerry", "spike")


@on_trio
async def test_without_a_list_in_force_nothing_is_looked_at() -> None:
    world = await new_world()
    tom = await world.login("tom")
    tea = await group(world, tom)
    await world.send(tom, tea, "bad")
    assert world.words.looked_at == 0
    world.words.listed = ("bad",)
    await world.send(tom, tea, "bad")
    assert world.words.looked_at == 1


async def pair(world: World, tom: Session) -> str:
    return await world.start(tom, "jerry")


async def room(world: World, tom: Session) -> str:
    return await world.start_room(tom)


async def service(world: World, tom: Session) -> str:
    return await world.start_service(tom)


async def temporary_group(world: World, tom: Session) -> str:
    return await world.start_temporary(tom, "jerry", "spike")


async def temporary_pair(world: World, tom: Session) -> str:
    return await world.start_temporary(tom, "jerry")


FILTERED = [group, room, service, temporary_group]
LEFT_ALONE = [pair, temporary_pair]


async def history(world: World, session: Session, conversation_id: str) -> list[bytes]:
    return [one.body for one in (await read_history(world.io, session, ReadHistory(conversation_id))).messages]


def posted(world: World) -> list[bytes]:
    return [event.message.body for event in world.bus.of(MessagePosted)]


def position(acked: Acked) -> Position:
    return Position(acked.timestamp, acked.message_id)


def modifying(conversation_id: str, acked: Acked, text: str) -> PatchMessage:
    return PatchMessage(conversation_id, position(acked), body=text.encode(), size_bytes=len(text))


class TestSending:
    @pytest.mark.rule("9.1", "9.2", "9.4")
    @pytest.mark.parametrize("place", FILTERED)
    @on_trio
    async def test_nobody_is_told_a_listed_word_and_no_history_has_it(self, place: Place) -> None:
        world = await strict_world()
        tom = await world.login("tom")
        there = await place(world, tom)
        await world.send(tom, there, "a bad day")
        assert posted(world) == await history(world, tom, there) == [b"a *** day"]

    @pytest.mark.rule("9.1")
    @pytest.mark.parametrize("place", LEFT_ALONE)
    @on_trio
    async def test_what_two_say_to_each_other_is_left_alone_unless_that_is_asked_for(self, place: Place) -> None:
        for policy, left in ((Policy(), b"bad"), (Policy(filters_two=True), b"***")):
            world = await strict_world(policy)
            tom = await world.login("tom")
            there = await place(world, tom)
            await world.send(tom, there, "bad")
            assert posted(world) == await history(world, tom, there) == [left]
            assert len(world.bus.of(MessagePatched)) == (left != b"bad")

    @pytest.mark.rule("8.6")
    @pytest.mark.parametrize("place", FILTERED)
    @on_trio
    async def test_the_session_that_sent_it_alone_is_told_how_it_reads(self, place: Place) -> None:
        world = await strict_world()
        tom = await world.login("tom")
        there = await place(world, tom)
        world.bus.events.clear()
        acked = await world.send(tom, there, "bad")
        delivered, told = world.bus.events
        assert isinstance(delivered, MessagePosted)
        message = replace(delivered.message, patched_at=acked.timestamp + 1)
        assert told == MessagePatched(
            there, delivered.kind, message, ("tom",), 0, tom.number, MASKED_CODE, MASKED_REASON
        )
        assert (message.id, message.body) == (acked.message_id, b"***")

    @pytest.mark.rule("8.6")
    @on_trio
    async def test_the_stored_message_was_not_patched(self) -> None:
        world = await strict_world()
        tom = await world.login("tom")
        tea = await group(world, tom)
        acked = await world.send(tom, tea, "bad")
        message = await world.store.find_message(tea, position(acked))
        assert message is not None
        assert (message.body, message.patched_at) == (b"***", 0)

    @on_trio
    async def test_what_has_no_listed_word_is_nobodys_business(self) -> None:
        world = await strict_world()
        tom = await world.login("tom")
        tea = await group(world, tom)
        await world.send(tom, tea, "a good day")
        assert posted(world) == [b"a good day"]
        assert not world.bus.of(MessagePatched)

    @pytest.mark.rule("9.5")
    @on_trio
    async def test_a_binary_body_is_left_alone(self) -> None:
        world = await strict_world()
        tom = await world.login("tom")
        tea = await group(world, tom)
        await world.send(tom, tea, "bad", binary=True)
        assert posted(world) == await history(world, tom, tea) == [b"bad"]
        assert not world.bus.of(MessagePatched)

    @pytest.mark.rule("9.3")
    @on_trio
    async def test_of_a_typed_message_only_the_text_is_masked(self) -> None:
        world = await strict_world()
        tom = await world.login("tom")
        tea = await group(world, tom)
        await world.send(tom, tea, json.dumps({"_lctype": -1, "_lctext": "bad", "_lcattrs": {"a": "bad"}}))
        await world.send(tom, tea, json.dumps({"text": "bad"}))
        typed, untyped = map(json.loads, posted(world))
        assert typed == {"_lctype": -1, "_lctext": "***", "_lcattrs": {"a": "bad"}}
        assert untyped == {"text": "***"}

    @pytest.mark.rule("8.6")
    @on_trio
    async def test_who_sends_it_again_is_told_again_and_nobody_else_is(self) -> None:
        """The answer to the first one, and what followed, may have been lost."""
        world = await strict_world()
        tom = await world.login("tom")
        tea = await group(world, tom)
        first = await world.send(tom, tea, "bad", token="t")
        world.bus.events.clear()
        world.clock.step(1_000)
        back = await world.login("tom")
        assert await world.send(back, tea, "bad", token="t") == first
        told = world.bus.the(MessagePatched)
        assert (told.only, told.message.id, told.message.body) == (back.number, first.message_id, b"***")
        assert not world.bus.of(MessagePosted)

    @on_trio
    async def test_who_sends_again_what_was_not_masked_is_told_nothing(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await group(world, tom)
        await world.send(tom, tea, "bad", token="t")
        world.words.listed = ("bad",)
        world.bus.events.clear()
        await world.send(tom, tea, "bad", token="t")
        assert not world.bus.events

    @pytest.mark.rule("8.6", "9.1")
    @pytest.mark.parametrize("place", FILTERED)
    @on_trio
    async def test_a_transient_message_is_masked_acked_or_not(self, place: Place) -> None:
        world = await strict_world()
        tom = await world.login("tom")
        there = await place(world, tom)
        world.bus.events.clear()
        quiet = replace(tom, config=tom.config & ~Config.TRANSIENT_ACKS)
        assert await send_message(world.io, quiet, written(there, "bad", transient=True)) is None
        await world.send(tom, there, "bad", transient=True)
        assert posted(world) == [b"***", b"***"]
        assert [one.only for one in world.bus.of(MessagePatched)] == [tom.number, tom.number]
        assert [type(event) for event in world.bus.events] == [MessagePosted, MessagePatched] * 2

    @on_trio
    async def test_the_application_is_filtered_too_and_has_no_session_to_be_told(self) -> None:
        world = await strict_world()
        tom = await world.login("tom")
        tea = await group(world, tom)
        await world.send(office("tom"), tea, "bad")
        assert posted(world) == await history(world, tom, tea) == [b"***"]
        assert not world.bus.of(MessagePatched)

    @explored
    @given(schedule=schedules, texts=st.lists(st.sampled_from(["bad", "good", "a bad day"]), max_size=8))
    @on_trio
    async def test_whatever_list_is_in_force_as_it_goes_by_what_is_told_is_what_is_kept(
        self, schedule: object, texts: list[str]
    ) -> None:
        world = await strict_world()
        tom = await world.login("tom")
        tea = await group(world, tom)
        for number, text in enumerate(texts):
            world.words.listed = ("bad",) if number % 3 else ("day",)
            await world.send(tom, tea, text)
        kept = await history(world, tom, tea)
        assert posted(world) == kept
        told = {event.message.id: event.message.body for event in world.bus.of(MessagePatched)}
        sent = [event.message for event in world.bus.of(MessagePosted)]
        assert told == {one.id: one.body for one, text in zip(sent, texts, strict=True) if one.body != text.encode()}


class TestModifying:
    @pytest.mark.rule("8.6")
    @pytest.mark.parametrize("place", FILTERED)
    @on_trio
    async def test_a_new_text_is_masked_and_the_session_that_gave_it_is_told_why(self, place: Place) -> None:
        world = await strict_world()
        tom = await world.login("tom")
        there = await place(world, tom)
        acked = await world.send(tom, there, "good")
        world.bus.events.clear()
        world.clock.step(1_000)
        patched = await patch_message(world.io, tom, modifying(there, acked, "bad"))
        others, own = world.bus.events
        assert isinstance(others, MessagePatched)
        assert isinstance(own, MessagePatched)
        assert (others.message.body, others.message.patched_at) == (b"***", patched.at)
        assert (others.origin, others.only, others.code, others.detail) == (tom.number, 0, 0, "")
        assert own == replace(
            others,
            message=replace(others.message, patched_at=patched.at + 1),
            recipients=("tom",),
            origin=0,
            only=tom.number,
            code=MASKED_CODE,
            detail=MASKED_REASON,
        )
        assert await history(world, tom, there) == [b"***"]

    @on_trio
    async def test_what_needs_no_mask_is_told_as_ever(self) -> None:
        world = await strict_world()
        tom = await world.login("tom")
        tea = await group(world, tom)
        acked = await world.send(tom, tea, "good")
        await patch_message(world.io, tom, modifying(tea, acked, "better"))
        assert world.bus.the(MessagePatched).code == 0
        recall = PatchMessage(tea, position(acked), recall=True)
        await patch_message(world.io, tom, recall)
        assert await history(world, tom, tea) == [RECALLED_BODY]

    @on_trio
    async def test_among_two_and_in_binary_it_is_left_alone(self) -> None:
        world = await strict_world()
        tom = await world.login("tom")
        for there, binary in ((await pair(world, tom), False), (await group(world, tom), True)):
            acked = await world.send(tom, there, "good")
            await patch_message(world.io, tom, replace(modifying(there, acked, "bad"), binary=binary))
            assert await history(world, tom, there) == [b"bad"]

    @on_trio
    async def test_the_application_has_no_session_to_be_told(self) -> None:
        world = await strict_world()
        tom = await world.login("tom")
        tea = await group(world, tom)
        acked = await world.send(tom, tea, "good")
        await patch_message(world.io, office("tom"), modifying(tea, acked, "bad"))
        told = world.bus.the(MessagePatched)
        assert (told.message.body, told.code) == (b"***", 0)


class TestWills:
    @pytest.mark.rule("8.6")
    @on_trio
    async def test_one_is_masked_when_it_is_left_and_whoever_leaves_it_is_told(self) -> None:
        world = await strict_world()
        tom = await world.login("tom")
        tea = await group(world, tom)
        acked = await world.send(tom, tea, "bad", will=True)
        will = await world.store.find_will("tom")
        assert will is not None
        assert will.draft.body == b"***"
        told = world.bus.the(MessagePatched)
        assert (told.only, told.message.id, told.message.body) == (tom.number, acked.message_id, b"***")
        assert told.message.patched_at > told.message.timestamp == acked.timestamp

    @on_trio
    async def test_the_list_of_the_moment_at_which_it_is_sent_counts_too(self) -> None:
        world = await strict_world()
        tom = await world.login("tom")
        tea = await group(world, tom)
        await world.send(tom, tea, "a bad day", will=True)
        world.words.listed = ("day",)
        world.directory.leave(tom)
        await fire_will(world.io, tom)
        assert posted(world) == [b"a *** ***"]


class TestBroadcasts:
    NEWS = office("news")

    @pytest.mark.rule("9.1")
    @pytest.mark.parametrize("transient", [False, True])
    @on_trio
    async def test_what_a_service_says_is_masked_whomever_it_speaks_to(self, transient: bool) -> None:
        world = await strict_world()
        tom = await world.login("tom")
        news = await world.start_service(tom)
        command = written(news, "bad", transient=transient)
        await send_to_clients(world.io, self.NEWS, command, ["tom"])
        await send_to_subscribers(world.io, self.NEWS, command)
        await send_to_everybody(world.io, self.NEWS, command)
        assert posted(world) == [b"***"] * 3
        assert not world.bus.of(MessagePatched)
        kept = [*await world.store.history(news, Span()), *await world.store.history(personal_log(news, "tom"), Span())]
        kept += [one.message for one in await world.store.broadcasts()]
        assert [one.body for one in kept] == ([] if transient else [b"***"] * 3)

    @on_trio
    async def test_so_is_what_takes_its_place(self) -> None:
        world = await strict_world()
        news = await world.start_service()
        acked = await send_to_everybody(world.io, self.NEWS, written(news, "good"))
        patched = await patch_broadcast(world.io, self.NEWS, modifying(news, acked, "bad"))
        session, arrival = await world.arrive("jerry")
        await deliver_broadcasts(world.io, session, arrival)
        (message,) = world.bus.the(MessagesQueued).messages
        assert (message.body, message.patched_at) == (b"***", patched.at)


@on_trio
async def test_each_text_is_looked_at_once() -> None:
    """What was met is counted, and counts are told."""
    world = await new_world()
    words = PlainWords("bad")
    io = replace(world.io, words=words)
    tom = await world.login("tom")
    tea, news = await group(world, tom), await world.start_service(tom)
    steps: list[Callable[[], Awaitable[object]]] = [
        lambda: send_message(io, tom, written(tea, "bad")),
        lambda: send_message(io, tom, written(tea, "bad", transient=True)),
        lambda: send_message(io, tom, written(tea, "bad", will=True)),
        lambda: send_message(io, tom, written(tea, '{"_lctype":-1,"_lctext":"bad"}')),
        lambda: send_to_clients(io, office(), written(news, "bad"), ["tom", "jerry"]),
        lambda: send_to_subscribers(io, office(), written(news, "bad")),
        lambda: send_to_everybody(io, office(), written(news, "bad")),
    ]
    for number, step in enumerate(steps, 1):
        await step()
        assert words.looked_at == number
    acked = await world.send(tom, tea, "good")
    await patch_message(io, tom, modifying(tea, acked, "bad"))
    assert words.looked_at == len(steps) + 1
