from collections.abc import Awaitable, Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastim.core.commands import AddMembers, ChangeBlocks, CloseSession, PatchMessage, RemoveMembers, ReportDevice
from fastim.core.errors import Unavailable
from fastim.core.events import MessagesMissed
from fastim.core.message import Draft, Message, Span
from fastim.core.policy import PIECE_BYTES, REJOIN_MILLIS, URGENT_PAGE, URGENT_REPLAYED_MAX, Policy
from fastim.core.session import Session, office
from fastim.core.units import Millis
from fastim.ports.store import Stay
from fastim.service.conversations import delete_conversation
from fastim.service.governance import change_blocks
from fastim.service.members import add_members, remove_members
from fastim.service.patches import patch_message
from fastim.service.rooms import lose_place, mark_stays, replay_missed
from fastim.service.sessions import close_session, end_session, report_device
from tests.fakes.running import explored, on_trio, schedules
from tests.fakes.store import PacedStore
from tests.fakes.world import World, new_world

HIGH = 1
BIG = "x" * (PIECE_BYTES // 4)
LARGE = Policy(message_bytes=PIECE_BYTES)


async def shout(world: World, sender: Session, room: str, text: str = "fire") -> None:
    """Post a message of high priority, a while after the last."""
    world.clock.step(10)
    await world.send(sender, room, text, priority=HIGH)


async def come(world: World, client_id: str = "tom", device: str = "phone") -> Session:
    """Log in and be told what was missed."""
    session = await world.login(client_id, device)
    await replay_missed(world.io, session)
    return session


def heard(world: World, *sessions: Session) -> list[str]:
    """What was said to these sessions, one after the other."""
    return [message.body.decode() for one in sessions for message in world.logs.heard.get(one.number, [])]


async def start(world: World) -> tuple[Session, Session, str]:
    """A host, a guest's phone, and the room that both are in."""
    host, phone = await world.login("host"), await world.login("tom", "phone")
    room = await world.start_room(host)
    await world.join(phone, room)
    return host, phone, room


async def missing(world: World, *texts: str) -> tuple[Session, str]:
    """A host and its room, which a guest was cut off in before these were shouted."""
    host, phone, room = await start(world)
    await end_session(world.io, phone)
    for text in texts:
        await shout(world, host, room, text)
    return host, room


class TestComingBack:
    @on_trio
    async def test_what_is_of_high_priority_was_not_missed(self) -> None:
        world = await new_world()
        host, phone, room = await start(world)
        await shout(world, host, room, "before")
        await end_session(world.io, phone)
        for number in range(3):
            await shout(world, host, room, f"high {number}")
            await world.send(host, room, "normal")
            await world.send(host, room, "low", priority=3)
            await world.send(host, room, "passing", priority=HIGH, transient=True)
        back = await come(world)
        told = world.bus.the(MessagesMissed)
        assert (told.client_id, told.session, told.conversation_id) == ("tom", back.number, room)
        assert heard(world, phone) == ["before"]
        assert heard(world, back) == ["high 0", "high 1", "high 2"]
        assert not world.logs.holds(back)
        await shout(world, host, room, "after")
        assert heard(world, back)[3:] == ["after"]

    @on_trio
    async def test_elsewhere_nothing_is_of_high_priority(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        for conversation_id in (await world.start(tom, "jerry"), await world.start_service(tom)):
            await world.send(office(), conversation_id, priority=HIGH)
            assert await world.store.urgent_since(conversation_id, Millis(0), world.clock.step(1), 9) == []

    @on_trio
    async def test_nor_is_what_it_lagged_behind_with(self) -> None:
        world = await new_world()
        host, phone, room = await start(world)
        await shout(world, host, room, "heard")
        world.logs.hold(phone)
        await shout(world, host, room, "stuck")
        world.clock.step(60_000)
        await end_session(world.io, phone)
        world.clock.step(REJOIN_MILLIS)
        assert heard(world, phone, await come(world)) == ["heard", "stuck"]

    @on_trio
    async def test_who_missed_nothing_is_told_nothing(self) -> None:
        world = await new_world()
        host, room = await missing(world)
        await world.send(host, room)
        back = await come(world)
        assert world.rooms.room_of(back) == room
        assert not world.bus.of(MessagesMissed)
        assert not world.logs.holds(back)

    @on_trio
    async def test_what_is_at_hand_is_not_told_from_the_store(self) -> None:
        world = await new_world()
        world.logs.kept = 2
        await missing(world, "one", "two")
        assert heard(world, await come(world)) == ["one", "two"]
        assert not world.bus.of(MessagesMissed)

    @on_trio
    async def test_time_and_again(self) -> None:
        world = await new_world()
        host, _ = await missing(world, "one")
        (stay,) = [one for one in await world.store.stays() if one.client_id == "tom"]
        first = await come(world)
        assert await world.store.find_stay("tom", "phone") == Stay("tom", "phone", stay.conversation_id)
        await end_session(world.io, first)
        await shout(world, host, stay.conversation_id, "two")
        second = await come(world)
        await end_session(world.io, second)
        third = await come(world)
        assert [heard(world, one) for one in (first, second, third)] == [["one"], ["two"], []]

    @on_trio
    async def test_its_client_s_own_words_are_left_out(self) -> None:
        world = await new_world()
        _, room = await missing(world, "one")
        desk = await world.login("tom", "desk")
        await shout(world, desk, room, "mine")
        await shout(world, office(), room, "the application's")
        assert heard(world, await come(world)) == ["one", "the application's"]

    @on_trio
    async def test_messages_are_as_they_are_now(self) -> None:
        world = await new_world()
        host, room = await missing(world, "wrong", "gone", "taken back", "right")
        wrong, gone, recalled, _ = await world.store.history(room, Span())
        await patch_message(world.io, host, PatchMessage(room, wrong.position, body=b"mended"))
        await patch_message(world.io, host, PatchMessage(room, recalled.position, recall=True))
        await world.store.delete_message(room, gone.position)
        back = await come(world)
        (told,) = [one.messages for one in world.bus.of(MessagesMissed)]
        assert (heard(world, back)[0], heard(world, back)[2]) == ("mended", "right")
        assert [one.recalled for one in told] == [False, True, False]

    @on_trio
    async def test_a_device_that_stayed_away_too_long_or_left_is_told_nothing(self) -> None:
        world = await new_world()
        host, phone, room = await start(world)
        desk = await world.login("tom", "desk")
        await world.join(desk, room)
        await close_session(world.io, desk, CloseSession())
        await end_session(world.io, phone)
        await shout(world, host, room)
        world.clock.step(REJOIN_MILLIS + 1)
        for device in ("phone", "desk"):
            back = await come(world, "tom", device)
            await world.join(back, room)
            assert heard(world, back) == []

    @on_trio
    async def test_who_enters_another_room_or_enters_anew_is_told_nothing(self) -> None:
        world = await new_world()
        host, room = await missing(world, "one")
        other = await world.start_room(host)
        back = await world.login("tom", "phone")
        await world.join(back, other)
        await world.join(back, room)
        await replay_missed(world.io, back)
        assert heard(world, back) == []
        assert not world.logs.holds(back)

    @on_trio
    async def test_each_device_missed_what_it_missed(self) -> None:
        world = await new_world()
        host, phone, room = await start(world)
        desk = await world.login("tom", "desk")
        await world.join(desk, room)
        await end_session(world.io, phone)
        await shout(world, host, room, "one")
        await end_session(world.io, desk)
        await shout(world, host, room, "two")
        backs = [await come(world, "tom", device) for device in ("phone", "desk")]
        assert heard(world, desk) == ["one"]
        assert [heard(world, one) for one in backs] == [["one", "two"], ["two"]]

    @on_trio
    async def test_a_device_goes_on_where_its_older_session_was(self) -> None:
        """The older connection may be lost without the server having noticed."""
        world = await new_world()
        host, old, room = await start(world)
        await shout(world, host, room, "heard")
        world.logs.hold(old)
        await shout(world, host, room, "stuck")
        new = await come(world)
        await end_session(world.io, old)
        await shout(world, host, room, "new")
        assert (heard(world, old), heard(world, new)) == (["heard"], ["stuck", "new"])

    @on_trio
    async def test_also_where_that_was_in_another_room(self) -> None:
        world = await new_world()
        host, old, room = await start(world)
        other = await world.start_room(host)
        await world.join(old, other)
        world.logs.hold(old)
        await shout(world, host, room, "elsewhere")
        await shout(world, host, other, "here")
        assert heard(world, await come(world)) == ["here"]

    @on_trio
    async def test_a_device_that_is_renamed_missed_what_it_missed(self) -> None:
        world = await new_world()
        host, phone, room = await start(world)
        world.logs.hold(phone)
        await shout(world, host, room, "one")
        await report_device(world.io, phone, ReportDevice("apns"))
        (renamed,) = world.directory.sessions("tom")
        await end_session(world.io, renamed)
        await shout(world, host, room, "two")
        assert heard(world, await come(world, "tom", "apns")) == ["one", "two"]

    @on_trio
    async def test_a_connection_lost_while_it_opens_has_missed_the_same(self) -> None:
        world = await new_world()
        host, room = await missing(world, "one")
        world.directory.cut_off.add(host.number + 2)
        lost = await come(world)
        await shout(world, host, room, "two")
        assert heard(world, lost) == []
        assert heard(world, await come(world)) == ["one", "two"]


class TestMuch:
    @on_trio
    async def test_it_is_told_in_pieces(self) -> None:
        world = await new_world(LARGE)
        texts = [f"{number} {BIG}" for number in range(9)]
        await missing(world, *texts, "y" * PIECE_BYTES)
        back = await come(world)
        told = world.bus.of(MessagesMissed)
        assert [len(one.messages) for one in told] == [3, 3, 3, 1]
        assert heard(world, back) == [*texts, "y" * PIECE_BYTES]

    @pytest.mark.slow
    @on_trio
    async def test_of_very_much_the_newest(self) -> None:
        world = await new_world()
        _, room = await missing(world)
        numbers = range(URGENT_REPLAYED_MAX + URGENT_PAGE + 1)
        writes = [
            world.store.append(room, Draft("host", b"%d" % number), world.clock.step(1), urgent=True)
            for number in numbers
        ]
        world.logs.begun = (await writes[-1]).message.timestamp  # they were published before the logs began
        back = await come(world)
        assert [int(text) for text in heard(world, back)] == list(numbers[-URGENT_REPLAYED_MAX:])


class TestAfterARestart:
    async def restart(self, world: World, *lost: Session) -> None:
        """A new process finds what the old one stored."""
        for session in lost:
            world.rooms.leave(session)
            world.directory.leave(session)
        world.clock.step(1)
        await mark_stays(world.io)

    @on_trio
    async def test_what_was_posted_since_was_not_missed(self) -> None:
        world = await new_world()
        host, phone, room = await start(world)
        await shout(world, host, room, "before")
        world.clock.step(REJOIN_MILLIS)
        await self.restart(world, host, phone)
        stay = await world.store.find_stay("tom", "phone")
        assert stay == Stay("tom", "phone", room, left_at=world.clock.now(), missed_from=world.clock.now())
        await shout(world, await world.login("host"), room, "since")
        assert heard(world, await come(world)) == ["since"]

    @on_trio
    async def test_who_had_been_cut_off_before_missed_more(self) -> None:
        world = await new_world()
        host, room = await missing(world, "before")
        before = await world.store.find_stay("tom", "phone")
        await self.restart(world, host)
        assert await world.store.find_stay("tom", "phone") == before
        await shout(world, await world.login("host"), room, "since")
        assert heard(world, await come(world)) == ["before", "since"]

    @on_trio
    async def test_what_it_lagged_behind_with_was_missed_when_the_server_stopped(self) -> None:
        world = await new_world()
        host, phone, room = await start(world)
        await shout(world, host, room, "heard")
        world.logs.hold(phone)
        await shout(world, host, room, "stuck")
        for session in (host, phone):
            await lose_place(world.io, session, stopping=True)
        world.clock.step(60_000)
        await self.restart(world, host, phone)
        world.clock.step(REJOIN_MILLIS)
        assert heard(world, phone, await come(world)) == ["heard", "stuck"]

    @on_trio
    async def test_where_nothing_was_known_of_it_it_counts_from_then(self) -> None:
        """As in what an older version stored."""
        world = await new_world()
        host, room = await missing(world, "before")
        stay = await world.store.find_stay("tom", "phone")
        assert stay is not None
        await world.store.save_stay(replace(stay, missed_from=Millis(0)))
        await self.restart(world, host)
        marked = await world.store.find_stay("tom", "phone")
        assert marked == replace(stay, missed_from=world.clock.now())
        await shout(world, await world.login("host"), room, "since")
        assert heard(world, await come(world)) == ["since"]

    @on_trio
    async def test_without_that_it_is_as_if_it_entered_anew(self) -> None:
        world = await new_world()
        host, room = await missing(world, "before")
        stay = await world.store.find_stay("tom", "phone")
        assert stay is not None
        await world.store.save_stay(replace(stay, missed_from=Millis(0)))
        back = await come(world)
        await shout(world, host, room, "after")
        assert heard(world, back) == ["after"]


Act = Callable[[World, Session, str], Awaitable[object]]


async def kick(world: World, host: Session, room: str) -> None:
    await remove_members(world.io, host, RemoveMembers(room, ("tom",)))


async def block(world: World, host: Session, room: str) -> None:
    await change_blocks(world.io, host, ChangeBlocks(room, ("tom",), blocked=True))


async def close_room(world: World, host: Session, room: str) -> None:
    await delete_conversation(world.io, room)


async def leave(world: World, host: Session, room: str) -> None:
    (tom,) = world.directory.sessions("tom")
    await remove_members(world.io, tom, RemoveMembers(room, ("tom",)))


class TestMeanwhile:
    """What happens while a session that came back is being told."""

    @explored
    @given(schedules, st.integers(0, 25))
    @on_trio
    async def test_what_is_posted_is_heard_once_and_in_its_place(self, schedule: object, pause: int) -> None:
        world = await new_world(LARGE)
        texts = [f"{number} {BIG}" for number in range(8)]
        host, room = await missing(world, *texts)
        later = [f"later {number}" for number in range(4)]

        async def go_on() -> None:
            for _ in range(pause):
                await trio.lowlevel.checkpoint()
            for text in later:
                await shout(world, host, room, text)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(go_on)
            nursery.start_soon(come, world)
        (back,) = world.directory.sessions("tom")
        assert heard(world, back) == [*texts, *later]

    @pytest.mark.parametrize("act", [kick, block, close_room, leave])
    @explored
    @given(schedules, st.integers(0, 40))
    @on_trio
    async def test_who_is_put_out_or_leaves_is_told_no_more(self, act: Act, schedule: object, pause: int) -> None:
        world = await new_world(LARGE)
        host, room = await missing(world, *[f"{number} {BIG}" for number in range(12)])
        back = await world.login("tom", "phone")
        told: list[int] = []

        async def out() -> None:
            for _ in range(pause):
                await trio.lowlevel.checkpoint()
            await act(world, host, room)
            told.append(len(heard(world, back)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(out)
            nursery.start_soon(replay_missed, world.io, back)
        assert heard(world, back) == [f"{number} {BIG}" for number in range(told[0])]
        assert (world.rooms.room_of(back), world.rooms.missed(back)) == (None, None)
        assert world.logs.place_of(back) is None
        await end_session(world.io, back)
        assert world.rooms.room_of(await come(world)) is None

    @explored
    @given(schedules, st.integers(0, 40))
    @on_trio
    async def test_who_is_cut_off_again_is_told_the_rest_when_it_is_back(self, schedule: object, pause: int) -> None:
        world = await new_world(LARGE)
        texts = [f"{number} {BIG}" for number in range(12)]
        host, room = await missing(world, *texts)
        first = await world.login("tom", "phone")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(replay_missed, world.io, first)
            for _ in range(pause):
                await trio.lowlevel.checkpoint()
            await end_session(world.io, first)
        await shout(world, host, room, "later")
        second = await come(world)
        had, rest = heard(world, first), heard(world, second)
        assert had == texts[: len(had)]
        assert rest == [*texts, "later"][-len(rest) :]
        # Of what was sent last it is not known whether it arrived: that piece comes again.
        assert len(had) + len(rest) - len(texts) - 1 == (0 if not had or rest == ["later"] else 3)

    @explored
    @given(schedules, st.integers(0, 40))
    @on_trio
    async def test_a_device_that_comes_twice_is_told_everything(self, schedule: object, pause: int) -> None:
        world = await new_world(LARGE)
        texts = [f"{number} {BIG}" for number in range(12)]
        host, room = await missing(world, *texts)
        first = await world.login("tom", "phone")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(replay_missed, world.io, first)
            for _ in range(pause):
                await trio.lowlevel.checkpoint()
            second = await come(world)
        await end_session(world.io, first)
        await shout(world, host, room, "later")
        had, rest = heard(world, first), heard(world, second)
        assert had == texts[: len(had)]
        assert rest == [*texts, "later"][-len(rest) :]
        assert len(had) + len(rest) > len(texts)

    @on_trio
    async def test_who_is_renamed_is_told_on(self) -> None:
        world = await new_world(LARGE)
        texts = [f"{number} {BIG}" for number in range(12)]
        await missing(world, *texts)
        back = await world.login("tom", "phone")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(replay_missed, world.io, back)
            nursery.start_soon(report_device, world.io, back, ReportDevice("apns"))
        assert heard(world, back) == texts
        assert not world.logs.holds(back)

    @on_trio
    async def test_who_is_let_in_again_by_another_keeps_its_place(self) -> None:
        world = await new_world()
        host, room = await missing(world, "one")
        back = await world.login("tom", "phone")
        await add_members(world.io, host, AddMembers(room, ("tom",)))
        await shout(world, host, room, "two")
        await replay_missed(world.io, back)
        assert heard(world, back) == ["one", "two"]


class Forgetful(PacedStore):
    """A store that cannot say what was urgent."""

    async def urgent_since(self, log_id: str, since: Millis, until: Millis, limit: int) -> list[Message]:
        raise Unavailable


class TestAStoreThatFails:
    @on_trio
    async def test_who_could_not_be_told_hears_what_follows_and_is_told_later(self) -> None:
        world = await new_world()
        host, room = await missing(world, "one")
        back = await world.login("tom", "phone")
        with pytest.raises(Unavailable):
            await replay_missed(replace(world.io, store=Forgetful(world.store)), back)
        await shout(world, host, room, "two")
        assert heard(world, back) == ["two"]
        await end_session(world.io, back)
        assert heard(world, await come(world)) == ["one", "two"]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["shout", "whisper", "cut", "come", "lag", "enter", "leave", "wait"]),
        st.sampled_from(["phone", "desk"]),
    ),
    max_size=20,
)


class TestAlways:
    @explored
    @given(schedules, STEPS, st.integers(0, 2))
    @on_trio
    async def test_nothing_is_missed_from_entering_to_leaving(
        self, schedule: object, steps: list[tuple[str, str]], kept: int
    ) -> None:
        world = await new_world()
        world.logs.kept = kept
        host = await world.login("host")
        room = await world.start_room(host)
        sessions: dict[str, Session] = {}
        owed: dict[str, list[str]] = {"phone": [], "desk": []}
        got: dict[str, list[str]] = {"phone": [], "desk": []}
        since: dict[str, int] = {}
        """The devices that are in the room or may come back, and when they were cut off; 0: they were not."""
        for number, (verb, device) in enumerate(steps):
            session = sessions.get(device)
            if verb == "shout":
                await shout(world, host, room, str(number))
                for one in since:
                    owed[one].append(str(number))
            elif verb == "whisper":
                await world.send(host, room, "psst")
            elif verb == "wait":
                world.clock.step(REJOIN_MILLIS * 2 // 3)
            elif verb == "come":
                sessions[device] = await come(world, "tom", device)
                if session is not None:
                    got[device] += heard(world, session)
                    await end_session(world.io, session)
                if since.get(device) and world.clock.now() - since[device] > REJOIN_MILLIS:
                    owed[device] = owed[device][: len(got[device])]
                    del since[device]
                elif device in since:
                    since[device] = 0
            elif session is None:
                continue
            elif verb == "cut":
                got[device] += heard(world, session)
                del sessions[device]
                await end_session(world.io, session)
                if device in since:
                    since[device] = world.clock.now()
            elif verb == "lag" and device in since:
                world.logs.hold(session)
            elif verb == "enter" and device not in since:
                await world.join(session, room)
                since[device] = 0
            elif verb == "leave" and device in since:
                await remove_members(world.io, session, RemoveMembers(room, ("tom",)))
                # What it lagged behind with it did not hear any more.
                owed[device] = owed[device][: len(got[device]) + len(heard(world, session))]
                del since[device]
        for device, session in sessions.items():
            if device in since and world.logs.holds(session):
                world.rooms.release(session)
            got[device] += heard(world, session)
        for device in owed:
            cut_off = device in since and since[device]
            assert got[device] == (owed[device][: len(got[device])] if cut_off else owed[device])
