import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastim.core.commands import OpenSession, PatchMessage, ReadHistory, RemoveMembers
from fastim.core.conversation import Kind
from fastim.core.errors import (
    ConversationNotFound,
    MembershipRequired,
    MessageNotFound,
    MessageNotOwned,
    ModifyDisabled,
    RecallDisabled,
    Unavailable,
)
from fastim.core.events import MessagePatched, MessagePosted, MissedPatch, PatchesMissed, UnreadChanged
from fastim.core.message import Message, Position, Span
from fastim.core.patch import RECALLED_BODY
from fastim.core.policy import PATCHES_REPLAYED_MAX, PATCHES_REPLAYED_MILLIS, Policy
from fastim.core.replies import Acked, Patched
from fastim.core.session import Config, Session, office
from fastim.core.units import Millis
from fastim.service.members import remove_members
from fastim.service.messages import read_history
from fastim.service.patches import patch_message, replay_patches
from fastim.service.unread import tell_unread
from tests.fakes.running import explored, on_trio, schedules
from tests.fakes.world import EVERYTHING, World, new_world

NOWHERE = "0" * 24
NEVER = Millis(0)


def patching(conversation_id: str, acked: Acked, text: str | None = None) -> PatchMessage:
    """The command that gives a message another text; without one, that recalls it."""
    position = Position(acked.timestamp, acked.message_id)
    if text is None:
        return PatchMessage(conversation_id, position, recall=True)
    return PatchMessage(conversation_id, position, body=text.encode(), size_bytes=len(text))


async def modify(world: World, session: Session, conversation_id: str, acked: Acked, text: str) -> Patched:
    return await patch_message(world.io, session, patching(conversation_id, acked, text))


async def recall(world: World, session: Session, conversation_id: str, acked: Acked) -> Patched:
    return await patch_message(world.io, session, patching(conversation_id, acked))


async def history(world: World, session: Session, conversation_id: str) -> list[Message]:
    return list((await read_history(world.io, session, ReadHistory(conversation_id))).messages)


async def missed(world: World, session: Session, since: Millis = NEVER) -> list[MissedPatch]:
    """What a session is told of patches as it opens."""
    world.bus.events.clear()
    await replay_patches(world.io, session, since)
    for event in world.bus.of(PatchesMissed):
        assert (event.client_id, event.session) == (session.client_id, session.number)
    return [one for event in world.bus.of(PatchesMissed) for one in event.patches]


class TestPatching:
    @pytest.mark.rule("8.4")
    @on_trio
    async def test_everybody_is_told_and_finds_it_in_the_history(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        first = await world.send(tom, tea, "hi", mentions=("jerry",), receipt=True)
        await world.send(tom, tea, "later")
        before = (await history(world, tom, tea))[0]
        world.bus.events.clear()
        world.clock.step(500)
        patched = await modify(world, tom, tea, first, "hello")
        now = replace(before, body=b"hello", mentions=(), patched_at=patched.at)
        assert patched.at == world.clock.now()
        assert world.bus.events == [
            MessagePatched(tea, Kind.NORMAL, now, ("tom", "jerry"), origin=tom.number),
        ]
        assert [message.body for message in await history(world, tom, tea)] == [b"hello", b"later"]

    @pytest.mark.rule("8.4")
    @on_trio
    async def test_a_recalled_message_has_the_body_that_sdks_know(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        acked = await world.send(tom, tea)
        patched = await recall(world, tom, tea, acked)
        assert patched.at > acked.timestamp
        event = world.bus.the(MessagePatched)
        assert (event.message.body, event.message.recalled) == (RECALLED_BODY, True)
        assert await history(world, jerry, tea) == [event.message]
        world.bus.events.clear()
        await tell_unread(world.io, jerry, NEVER)
        (notice,) = world.bus.the(UnreadChanged).notices
        assert (notice.count, notice.last) == (1, event.message)

    @on_trio
    async def test_recalling_twice_is_recalling_once(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        acked = await world.send(tom, tea)
        first = await recall(world, tom, tea, acked)
        world.bus.events.clear()
        world.clock.step(60_000)
        assert await recall(world, tom, tea, acked) == first
        with pytest.raises(MessageNotFound):
            await modify(world, tom, tea, acked, "no, wait")
        assert not world.bus.events

    @pytest.mark.rule("8.1", "8.2")
    @on_trio
    async def test_who_may_not_and_what_is_not_there(self) -> None:
        world = await new_world()
        tom, jerry, spike = [await world.login(one) for one in ("tom", "jerry", "spike")]
        tea, milk = await world.start(tom, "jerry"), await world.start(tom, "jerry")
        acked = await world.send(tom, tea)
        typing = await world.send(tom, tea, transient=True)
        will = await world.send(tom, tea, will=True)
        world.bus.events.clear()
        for session, conversation_id, message, refusal in (
            (jerry, tea, acked, MessageNotOwned),
            (spike, tea, acked, MembershipRequired),
            (tom, NOWHERE, acked, ConversationNotFound),
            (tom, milk, acked, MessageNotFound),
            (tom, tea, typing, MessageNotFound),
            (tom, tea, will, MessageNotFound),
            (tom, tea, replace(acked, timestamp=Millis(acked.timestamp - 1)), MessageNotFound),
            (tom, tea, replace(acked, message_id="x"), MessageNotFound),
        ):
            for text in (None, "new"):
                with pytest.raises(refusal):
                    await patch_message(world.io, session, patching(conversation_id, message, text))
        await remove_members(world.io, tom, RemoveMembers(tea, ("tom",)))
        with pytest.raises(MembershipRequired):
            await recall(world, tom, tea, acked)
        assert not world.bus.of(MessagePatched)

    @pytest.mark.rule("8.1", "8.7")
    @on_trio
    async def test_the_application_may_in_the_sender_s_name_what_clients_may_not(self) -> None:
        world = await new_world(Policy(modify_enabled=False, recall_enabled=False))
        tom = await world.login("tom")
        tea = await world.start(tom)
        acked = await world.send(tom, tea)
        with pytest.raises(ModifyDisabled):
            await modify(world, tom, tea, acked, "new")
        with pytest.raises(RecallDisabled):
            await recall(world, tom, tea, acked)
        with pytest.raises(MessageNotOwned):
            await modify(world, office("jerry"), tea, acked, "new")
        await modify(world, office("tom"), tea, acked, "new")
        await recall(world, office("tom"), tea, acked)
        assert [event.origin for event in world.bus.of(MessagePatched)] == [0, 0]

    @on_trio
    async def test_nobody_is_told_before_it_is_on_disk_nor_when_the_store_refuses(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        acked = await world.send(tom, tea)
        world.bus.events.clear()
        world.store.refusing = True
        with pytest.raises(Unavailable):
            await recall(world, tom, tea, acked)
        world.store.refusing = False
        assert [message.recalled for message in await history(world, tom, tea)] == [False]
        world.store.hold_back()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(recall, world, tom, tea, acked)
            await trio.testing.wait_all_tasks_blocked()
            assert not world.bus.events
            world.store.go_on()
        assert world.bus.the(MessagePatched).message.recalled

    @pytest.mark.rule("8.4")
    @explored
    @given(schedules, st.lists(st.sampled_from(["one", "two", None]), min_size=2, max_size=6))
    @on_trio
    async def test_told_last_is_what_stays_whatever_happens_at_once(
        self, schedule: object, texts: list[str | None]
    ) -> None:
        """Patch times strictly increase in the order of telling, and nothing follows a recall."""
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        acked = await world.send(tom, tea)
        replies: list[Patched] = []

        async def patch(text: str | None) -> None:
            try:
                replies.append(await patch_message(world.io, tom, patching(tea, acked, text)))
            except MessageNotFound:
                assert None in texts

        async with trio.open_nursery() as nursery:
            for text in texts:
                nursery.start_soon(patch, text)
        told = [event.message for event in world.bus.of(MessagePatched)]
        times = [message.patched_at for message in told]
        assert times == sorted(set(times))
        assert [message.recalled for message in told] == sorted(message.recalled for message in told)
        assert [message.recalled for message in told].count(True) == (None in texts)
        assert (await history(world, tom, tea))[-1] == told[-1]
        assert {reply.at for reply in replies} == set(times)

    @on_trio
    async def test_a_message_that_is_patched_while_others_are_sent_keeps_its_place(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        acked = await world.send(tom, tea)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.send, tom, tea, "second")
            nursery.start_soon(modify, world, tom, tea, acked, "first")
            nursery.start_soon(world.send, tom, tea, "third")
        first, *others = [message.body for message in await history(world, tom, tea)]
        assert (first, sorted(others)) == (b"first", [b"second", b"third"])


class TestElsewhere:
    @on_trio
    async def test_in_a_chat_room_its_occupants_are_told(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        room = await world.start_room(tom)
        acked = await world.send(jerry, room)
        world.bus.events.clear()
        await recall(world, jerry, room, acked)
        event = world.bus.the(MessagePatched)
        assert (event.kind, event.recipients, event.origin) == (Kind.CHAT_ROOM, (), jerry.number)
        assert (await history(world, tom, room))[-1].recalled

    @explored
    @given(schedules)
    @on_trio
    async def test_subscribers_are_told_of_a_message_before_they_are_told_that_it_was_recalled(
        self, schedule: object
    ) -> None:
        world = await new_world()
        readers = [await world.login(f"reader{number}") for number in range(20)]
        news = await world.start_service(*readers)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.send, office("news"), news)
            while not (said := await world.store.history(news, Span())):
                await trio.lowlevel.checkpoint()
            for _ in range(10):
                await trio.lowlevel.checkpoint()
            for reader in readers:  # so that it is sooner known whom to tell of what follows
                world.directory.leave(reader)
            await patch_message(world.io, office("news"), PatchMessage(news, said[0].position, recall=True))
        told = [type(one) for one in world.bus.events if isinstance(one, MessagePosted | MessagePatched)]
        assert told == [MessagePosted, MessagePatched]

    @pytest.mark.rule("1.21")
    @on_trio
    async def test_in_a_temporary_conversation_until_it_ends(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start_temporary(tom, "jerry", ttl_seconds=60)
        acked = await world.send(tom, tea)
        await modify(world, tom, tea, acked, "new")
        assert world.bus.the(MessagePatched).kind is Kind.TEMPORARY
        world.clock.step(60_000)
        with pytest.raises(ConversationNotFound):
            await recall(world, tom, tea, acked)

    @pytest.mark.rule("1.14")
    @on_trio
    async def test_what_was_said_to_a_service_concerns_its_sender_alone(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        news = await world.start_service(tom, jerry)
        acked = await world.send(tom, news)
        world.bus.events.clear()
        await modify(world, tom, news, acked, "new")
        event = world.bus.the(MessagePatched)
        assert (event.conversation_id, event.kind, event.recipients) == (news, Kind.SYSTEM, ("tom",))
        assert [message.body for message in await history(world, tom, news)] == [b"new"]
        with pytest.raises(MessageNotFound):
            await recall(world, jerry, news, acked)

    @on_trio
    async def test_what_a_service_said_to_its_subscribers_it_may_change(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        news = await world.start_service(tom)
        acked = await world.send(office("paper"), news)
        world.bus.events.clear()
        await modify(world, office("paper"), news, acked, "corrected")
        assert world.bus.the(MessagePatched).recipients == ("tom",)
        with pytest.raises(MessageNotOwned):
            await recall(world, tom, news, acked)

    @on_trio
    async def test_the_application_names_whose_log_it_means(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        news = await world.start_service(tom)
        acked = await world.send(tom, news)
        world.bus.events.clear()
        await patch_message(world.io, office("tom"), patching(news, acked), owner="tom")
        assert world.bus.the(MessagePatched).recipients == ("tom",)


class TestOnOpening:
    @pytest.mark.rule("8.5")
    @on_trio
    async def test_who_was_away_for_long_is_told_of_the_last_thirty_days(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        first, second = await world.send(tom, tea), await world.send(tom, tea)
        await modify(world, tom, tea, first, "long ago")
        world.clock.step(PATCHES_REPLAYED_MILLIS + 1_000)
        await modify(world, tom, tea, second, "today")
        assert [one.message.body for one in await missed(world, jerry, Millis(1))] == [b"today"]

    @pytest.mark.rule("8.5")
    @on_trio
    async def test_what_was_patched_meanwhile_is_told_oldest_first(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea, milk, alone = [await world.start(tom, *others) for others in (["jerry"], ["jerry"], [])]
        news = await world.start_service(jerry)
        first, second = await world.send(tom, tea), await world.send(tom, milk)
        secret, asked = await world.send(tom, alone), await world.send(jerry, news)
        seen = (await modify(world, tom, tea, first, "seen")).at
        world.clock.step(1_000)
        await modify(world, tom, milk, second, "milk")
        await modify(world, jerry, news, asked, "news")
        await modify(world, tom, alone, secret, "secret")
        await recall(world, tom, tea, first)
        told = await missed(world, jerry, seen)
        assert [(one.conversation_id, one.message.body) for one in told] == [
            (milk, b"milk"),
            (news, b"news"),
            (tea, RECALLED_BODY),
        ]
        assert await missed(world, jerry, told[-1].message.patched_at) == []
        assert [one.conversation_id for one in await missed(world, tom, seen)] == [milk, alone, tea]

    @on_trio
    async def test_of_a_message_patched_twice_only_the_last_is_left_to_tell(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        acked = await world.send(tom, tea)
        await modify(world, tom, tea, acked, "once")
        await modify(world, tom, tea, acked, "twice")
        assert [one.message.body for one in await missed(world, tom)] == [b"twice"]

    @on_trio
    async def test_who_cannot_take_patches_is_told_nothing(self) -> None:
        world = await new_world()
        tom, _ = await world.open("tom", OpenSession(config=EVERYTHING & ~Config.PATCHES))
        tea = await world.start(tom)
        await recall(world, tom, tea, await world.send(tom, tea))
        assert await missed(world, tom) == []

    @pytest.mark.rule("1.19")
    @on_trio
    async def test_of_what_has_ended_nothing_is_told(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start_temporary(tom, "jerry", ttl_seconds=60)
        await recall(world, tom, tea, await world.send(tom, tea))
        assert len(await missed(world, tom)) == 1
        world.clock.step(60_000)
        assert await missed(world, tom) == []

    @on_trio
    async def test_of_too_many_the_newest_are_told(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        places: list[tuple[str, list[Acked]]] = [(await world.start(tom), []) for _ in range(2)]
        for number in range(PATCHES_REPLAYED_MAX + 50):
            conversation_id, acks = places[number % 2]
            acks.append(await world.send(tom, conversation_id, str(number)))
        patched = [
            (await recall(world, tom, conversation_id, acked)).at for conversation_id, acks in places for acked in acks
        ]
        told = await missed(world, tom)
        assert [one.message.patched_at for one in told] == patched[50:]
