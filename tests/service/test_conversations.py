from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastim.core.commands import (
    AddMembers,
    CheckMembership,
    CloseSession,
    Command,
    CountMembers,
    MuteConversation,
    QueryConversations,
    ReadHistory,
    RemoveMembers,
    StartConversation,
    UpdateConversation,
)
from fastim.core.conversation import Kind
from fastim.core.errors import (
    ConversationFull,
    ConversationNotFound,
    MembershipRequired,
    NormalConversationRequired,
    QueryFailed,
    SendingNotAllowed,
    Unavailable,
    UpdateFailed,
    UpdateRejected,
)
from fastim.core.events import ConversationStarted, ConversationUpdated
from fastim.core.ids import is_conversation_id
from fastim.core.policy import Policy
from fastim.core.session import Session, office
from fastim.core.units import Millis, iso
from fastim.service.broadcasts import send_to_clients, send_to_subscribers
from fastim.service.conversations import (
    check_membership,
    count_members,
    delete_conversation,
    mute_conversation,
    query_conversations,
    start_conversation,
    update_conversation,
)
from fastim.service.members import add_members, remove_members
from fastim.service.messages import read_history, send_message
from fastim.service.sessions import close_session
from tests.fakes.running import explored, on_trio, schedules
from tests.fakes.world import World, new_world, written

NOWHERE = "0" * 24


async def query(world: World, session: Session, where: object = None, **options: Any) -> list[dict[str, Any]]:
    text = None if where is None else msgspec.json.encode(where).decode()
    found = await query_conversations(world.io, session, QueryConversations(text, **options))
    return msgspec.json.decode(found.results, type=list[dict[str, Any]])


class CountingPace:
    """Fulfils the ``Pace`` port and counts."""

    def __init__(self) -> None:
        self.breaths = 0

    async def breathe(self) -> None:
        self.breaths += 1


async def names(world: World, session: Session, where: object = None, **options: Any) -> list[str]:
    return [found["name"] for found in await query(world, session, where, **options)]


class TestStarting:
    @on_trio
    async def test_everybody_in_it_is_told(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        started = await start_conversation(world.io, tom, StartConversation(("jerry",), '{"name":"tea"}'))
        assert is_conversation_id(started.conversation_id)
        assert (started.created_at, started.existing, started.unique_key) == (world.clock.now(), False, None)
        assert world.bus.events == [
            ConversationStarted(started.conversation_id, Kind.NORMAL, ("tom", "jerry"), by="tom", at=started.created_at)
        ]
        (found,) = await query(world, tom)
        assert (found["name"], found["c"], found["m"]) == ("tea", "tom", ["tom", "jerry"])

    @on_trio
    async def test_nobody_is_told_before_it_is_on_disk(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        world.store.hold_back()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(start_conversation, world.io, tom, StartConversation(("jerry",)))
            await trio.testing.wait_all_tasks_blocked()
            assert not world.bus.events
            world.store.go_on()
        assert world.bus.of(ConversationStarted)

    @on_trio
    async def test_nor_when_the_store_refuses(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        world.store.refusing = True
        with pytest.raises(Unavailable):
            await start_conversation(world.io, tom, StartConversation(("jerry",)))
        assert not world.bus.events
        assert await query(world, tom) == []

    @on_trio
    async def test_what_may_not_be_started_leaves_nothing(self) -> None:
        world = await new_world(Policy(members=2))
        tom = await world.login("tom")
        for command, refusal in (
            (StartConversation(("jerry", "spike")), ConversationFull),
            (StartConversation(attributes="["), UpdateFailed),
            (StartConversation(chat_room=True, temporary=True), SendingNotAllowed),
            (StartConversation(service=True), SendingNotAllowed),
        ):
            with pytest.raises(refusal):
                await start_conversation(world.io, tom, command)
        assert await query(world, tom) == []
        assert not world.bus.events


class TestUnique:
    @on_trio
    async def test_the_same_members_find_the_same_conversation(self) -> None:
        """Whoever asks, in whichever order; what they say of it is for a new one. Source: semantics, rule 1.4."""
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        first = await start_conversation(
            world.io, tom, StartConversation(("jerry", "spike"), '{"name":"tea"}', unique=True)
        )
        world.clock.step(5_000)
        again = await start_conversation(
            world.io, jerry, StartConversation(("spike", "tom", "spike", "jerry"), '{"name":"milk"}', unique=True)
        )
        assert (again.conversation_id, again.created_at) == (first.conversation_id, first.created_at)
        assert (first.existing, again.existing) == (False, True)
        assert first.unique_key == again.unique_key is not None
        assert len(world.bus.of(ConversationStarted)) == 1
        assert await names(world, tom) == ["tea"]

    @on_trio
    async def test_other_members_or_no_wish_for_it_make_another(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        commands = [
            StartConversation(("jerry",), unique=True),
            StartConversation(("jerry", "spike"), unique=True),
            StartConversation(("spike",), unique=True),
            StartConversation(("jerry",)),
            StartConversation(("jerry",)),
        ]
        started = [await start_conversation(world.io, tom, command) for command in commands]
        assert len({one.conversation_id for one in started}) == len(commands)
        assert [one.unique_key is not None for one in started] == [True, True, True, False, False]

    @explored
    @given(schedules, st.permutations(["tom", "jerry", "spike"]))
    @on_trio
    async def test_when_all_start_it_at_once_there_is_one(self, schedule: object, clients: list[str]) -> None:
        world = await new_world()
        started = []

        async def attempt(session: Session) -> None:
            command = StartConversation(tuple(clients), unique=True)
            started.append(await start_conversation(world.io, session, command))

        sessions = [await world.login(client_id) for client_id in clients]
        async with trio.open_nursery() as nursery:
            for session in sessions:
                nursery.start_soon(attempt, session)

        assert len({one.conversation_id for one in started}) == 1
        assert [one.existing for one in started].count(False) == 1
        assert len(await query(world, sessions[0])) == 1
        event = world.bus.the(ConversationStarted)
        assert event.conversation_id == started[0].conversation_id
        assert set(event.members) == set(clients)

    @on_trio
    async def test_it_stays_the_answer_for_those_who_started_it(self) -> None:
        """Source: semantics, rule 1.6."""
        world = await new_world()
        tom = await world.login("tom")
        first = await world.start(tom, "jerry", unique=True)
        await add_members(world.io, tom, AddMembers(first, ("spike",)))
        assert await world.start(tom, "jerry", unique=True) == first
        assert await world.start(tom, "jerry", "spike", unique=True) != first


class TestQuerying:
    @on_trio
    async def test_without_a_condition_one_finds_ones_own(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        both = await world.start(tom, "jerry")
        await world.start(tom)
        nothing: dict[str, object] = {}
        for where in (None, nothing):
            assert [found["objectId"] for found in await query(world, jerry, where)] == [both]
            assert len(await query(world, tom, where)) == 2
        assert await query(world, await world.login("spike")) == []

    @on_trio
    async def test_by_its_id_anybody_finds_it(self) -> None:
        """SDKs look up what they are told they have left. Source: wire protocol, result objects of conv/query."""
        world = await new_world()
        tom, spike = await world.login("tom"), await world.login("spike")
        one, two = await world.start(tom), await world.start(tom)
        assert [found["objectId"] for found in await query(world, spike, {"objectId": one})] == [one]
        several = {"objectId": {"$in": [two, NOWHERE, one, two]}}
        assert {found["objectId"] for found in await query(world, spike, several)} == {one, two}
        assert len(await query(world, spike, several)) == 2
        assert await query(world, spike, {"objectId": NOWHERE}) == []
        assert await query(world, spike, {"objectId": "no such thing"}) == []

    @on_trio
    async def test_by_members_and_attributes_too(self) -> None:
        world = await new_world()
        tom, spike = await world.login("tom"), await world.login("spike")
        await world.start(tom, "jerry", attributes='{"name":"tea","attr":{"hot":true}}')
        await world.start(tom, attributes='{"name":"milk"}')
        assert await names(world, spike, {"m": "jerry"}) == ["tea"]
        assert await names(world, spike, {"m": {"$all": ["tom", "jerry"]}}) == ["tea"]
        assert await names(world, spike, {"attr.hot": True}) == ["tea"]
        assert await names(world, spike, {"name": "milk", "m": "tom"}) == ["milk"]
        assert await names(world, spike, {"name": "milk", "m": "jerry"}) == []
        assert set(await names(world, spike, {"c": "tom"})) == {"tea", "milk"}

    @on_trio
    async def test_temporary_ids_are_looked_up_one_by_one(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        await world.start(tom)
        assert await query(world, tom, temporary_ids=("_tmp:" + NOWHERE,)) == []

    @on_trio
    async def test_sort_skip_and_limit(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        for number in range(12):
            world.clock.step(1_000)
            await world.start(tom, attributes=f'{{"name":"{number:02}"}}')
        everything = [f"{number:02}" for number in range(12)]
        assert await names(world, tom) == everything[:1:-1]
        assert await names(world, tom, sort="name", limit=100) == everything
        assert await names(world, tom, sort="-name", limit=3) == everything[:-4:-1]
        assert await names(world, tom, sort="name", skip=10) == ["10", "11"]
        assert await names(world, tom, sort="name", skip=12) == []
        assert await names(world, tom, limit=0) == []
        assert await names(world, tom, {"c": "tom"}, limit=5_000, sort="name") == everything

    @pytest.mark.parametrize("options", [{"limit": -1}, {"skip": -1}, {"skip": 10_001}, {"sort": ","}])
    @on_trio
    async def test_a_page_that_cannot_be_is_refused(self, options: dict[str, Any]) -> None:
        world = await new_world()
        with pytest.raises(QueryFailed) as caught:
            await query(world, await world.login("tom"), **options)
        assert caught.value.code == 4310

    @pytest.mark.parametrize("where", ["[", "[]", '{"a":{"$where":1}}', '"x"'])
    @on_trio
    async def test_so_is_what_is_not_a_condition(self, where: str) -> None:
        world = await new_world()
        with pytest.raises(QueryFailed):
            await query_conversations(world.io, await world.login("tom"), QueryConversations(where))

    @on_trio
    async def test_members_are_left_out_when_asked(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        await world.start(tom, "jerry")
        (compact,) = await query(world, tom, {"m": "jerry"}, compact=True)
        assert compact["m"] == []

    @on_trio
    async def test_the_last_message_is_there_when_asked(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        spoken, silent = await world.start(tom), await world.start(tom)
        await world.send(tom, spoken, "first")
        acked = await world.send(tom, spoken, "last")
        plain = {found["objectId"]: found for found in await query(world, tom)}
        full = {found["objectId"]: found for found in await query(world, tom, with_last_message=True)}
        last = {"msg": "last", "bin": False, "msg_mid": acked.message_id, "msg_from": "tom"}
        assert last.items() <= full[spoken].items()
        assert full[spoken]["msg_timestamp"] == acked.timestamp
        assert plain[spoken]["lm"] == {"__type": "Date", "iso": iso(acked.timestamp)}
        assert "msg" not in plain[spoken]
        assert full[silent] == plain[silent]

    @on_trio
    async def test_the_last_message_is_for_members_alone(self) -> None:
        world = await new_world()
        tom, jerry, spike = [await world.login(client_id) for client_id in ("tom", "jerry", "spike")]
        tea = await world.start(tom, "jerry")
        await world.send(tom, tea, "secret")
        await remove_members(world.io, tom, RemoveMembers(tea, ("jerry",)))
        for outsider in (jerry, spike):
            (found,) = await query(world, outsider, {"objectId": tea}, with_last_message=True)
            assert not {"msg", "msg_mid", "msg_from", "msg_timestamp"} & found.keys()

    @on_trio
    async def test_where_something_was_said_last_comes_first(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        ids = [await world.start(tom, attributes=f'{{"name":"{number}"}}') for number in range(3)]
        for number in (1, 0, 2, 1):
            world.clock.step(1_000)
            await world.send(tom, ids[number])
        assert await names(world, tom) == ["1", "2", "0"]

    @on_trio
    async def test_a_query_looks_at_so_many_conversations(self) -> None:
        world = await new_world(Policy(query_scan=3))
        tom = await world.login("tom")
        for _ in range(3):
            await world.start(tom)
        assert len(await query(world, tom, {"c": "tom"})) == 3
        one = await world.start(tom)
        with pytest.raises(QueryFailed):
            await query(world, tom, {"c": "tom"})
        for where in ({"m": "tom"}, {"m": "tom", "c": "tom"}, None):
            with pytest.raises(QueryFailed):
                await query(world, tom, where)
        assert await query(world, tom, {"c": "tom"}, limit=0) == []
        assert len(await query(world, tom, {"objectId": one})) == 1
        await world.start(jerry := await world.login("jerry"))
        assert len(await query(world, jerry)) == len(await query(world, tom, {"m": "jerry"})) == 1

    @pytest.mark.parametrize("where", [{"c": "tom"}, {"m": "tom"}, {}, "ids"])
    @on_trio
    async def test_a_query_that_costs_too_much_is_refused_whichever_way_it_goes(self, where: Any) -> None:
        world = await new_world()
        tom = await world.login("tom")
        attributes = msgspec.json.encode({"attr": {"a": [1] * 30_000}}).decode()
        ids = [await world.start(tom, attributes=attributes) for _ in range(5)]
        found = {"objectId": {"$in": ids}} if where == "ids" else where
        assert len(await query(world, tom, {**found, "c": "tom"}, compact=True)) == 5
        if not where:
            return
        clauses = [{"attr.a": {"$nin": [number]}} for number in range(2, 26)]
        with pytest.raises(QueryFailed, match="too expensive"):
            await query(world, tom, {**found, "$and": clauses})

    @on_trio
    async def test_an_answer_that_is_too_long_is_refused(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        attributes = msgspec.json.encode({"attr": {"a": "x" * 65_000}}).decode()
        for _ in range(34):
            await world.start(tom, attributes=attributes)
        assert len(await query(world, tom, limit=30)) == 30
        with pytest.raises(QueryFailed, match="ask for fewer"):
            await query(world, tom, limit=34)
        assert len(await query(world, tom, limit=30, skip=4)) == 30

    @on_trio
    async def test_others_run_between_any_two_conversations(self) -> None:
        """Whichever way the query goes, and again while the answer is written."""
        world = await new_world()
        tom = await world.login("tom")
        ids = [await world.start(tom) for _ in range(20)]
        pace = CountingPace()
        io = msgspec.structs.replace(world.io, pace=pace)
        for where in ({"objectId": {"$in": ids}}, {"m": "tom"}, {"c": "tom"}):
            pace.breaths = 0
            command = QueryConversations(msgspec.json.encode(where).decode(), limit=20)
            await query_conversations(io, tom, command)
            assert pace.breaths >= 40
        pace.breaths = 0
        await check_membership(io, tom, CheckMembership(tuple(ids)))
        assert pace.breaths >= 20


class TestUpdating:
    @on_trio
    async def test_the_others_are_told_what_was_asked_and_what_came_of_it(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry", attributes='{"name":"tea","attr":{"sugar":1,"hot":true}}')
        world.clock.step(7)
        asked = '{"attr.sugar":{"__op":"Increment","amount":2},"attr.hot":{"__op":"Delete"},"name":"milk"}'
        updated = await update_conversation(world.io, tom, UpdateConversation(tea, asked))
        assert (updated.conversation_id, updated.updated_at) == (tea, world.clock.now())
        assert updated.asked == asked.encode()
        assert msgspec.json.decode(updated.modified) == {"name": "milk", "attr": {"sugar": 3}}
        assert world.bus.events == [
            ConversationUpdated(
                tea,
                ("tom", "jerry"),
                by="tom",
                origin=tom.number,
                at=updated.updated_at,
                asked=updated.asked,
                modified=updated.modified,
            )
        ]
        (found,) = await query(world, tom)
        assert (found["name"], found["attr"]) == ("milk", {"sugar": 3})
        assert found["updatedAt"] == iso(updated.updated_at)

    @on_trio
    async def test_only_members_may(self) -> None:
        world = await new_world()
        tea = await world.start(await world.login("tom"))
        spike = await world.login("spike")
        with pytest.raises(UpdateRejected) as caught:
            await update_conversation(world.io, spike, UpdateConversation(tea, '{"name":"bone"}'))
        assert caught.value.code == 4309

    @pytest.mark.parametrize("attributes", [None, "{}", "["])
    @on_trio
    async def test_whether_it_exists_is_asked_first(self, attributes: str | None) -> None:
        """Source: wire protocol, requests and replies."""
        world = await new_world()
        with pytest.raises(ConversationNotFound) as caught:
            await update_conversation(world.io, await world.login("tom"), UpdateConversation(NOWHERE, attributes))
        assert caught.value.code == 4303

    @on_trio
    async def test_what_cannot_be_done_changes_nothing(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom, attributes='{"name":"tea"}')
        with pytest.raises(UpdateFailed):
            await update_conversation(world.io, tom, UpdateConversation(tea, '{"name":"milk","m":["spike"]}'))
        assert not world.bus.events
        assert await names(world, tom) == ["tea"]

    @on_trio
    async def test_its_time_moves_on_when_the_clock_steps_back(self) -> None:
        """Swift throws away what is older than what it holds. Source: wire protocol, pushes."""
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        for _ in range(3):
            world.clock.step(-1_000)
            await update_conversation(world.io, tom, UpdateConversation(tea, '{"name":"x"}'))
        times = [event.at for event in world.bus.of(ConversationUpdated)]
        assert times == sorted(set(times))

    @explored
    @given(schedules)
    @on_trio
    async def test_nothing_is_lost_when_all_write_at_once(self, schedule: object) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        async with trio.open_nursery() as nursery:
            for number in range(4):
                asked = f'{{"attr.sum":{{"__op":"Increment","amount":{number}}},"attr.k{number}":{number}}}'
                nursery.start_soon(update_conversation, world.io, tom, UpdateConversation(tea, asked))
        (found,) = await query(world, tom)
        assert found["attr"] == {"sum": 6, "k0": 0, "k1": 1, "k2": 2, "k3": 3}
        events = world.bus.of(ConversationUpdated)
        assert [event.at for event in events] == sorted({event.at for event in events})
        assert found["updatedAt"] == iso(events[-1].at)

    @on_trio
    async def test_nobody_is_told_before_it_is_on_disk(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        world.store.hold_back()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(update_conversation, world.io, tom, UpdateConversation(tea, '{"name":"x"}'))
            await trio.testing.wait_all_tasks_blocked()
            assert not world.bus.events
            world.store.go_on()
        assert world.bus.of(ConversationUpdated)


class TestMuting:
    @on_trio
    async def test_muting_is_ones_own_business(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        tea = await world.start(tom, "jerry")
        world.clock.step(7)
        muted = await mute_conversation(world.io, jerry, MuteConversation(tea, muted=True))
        assert (muted.conversation_id, muted.updated_at) == (tea, world.clock.now())
        assert (await query(world, jerry))[0]["mu"] == ["jerry"]
        assert not world.bus.events
        await mute_conversation(world.io, jerry, MuteConversation(tea, muted=False))
        assert (await query(world, jerry))[0]["mu"] == []

    @on_trio
    async def test_doing_it_twice_is_doing_it_once(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom)
        first = await mute_conversation(world.io, tom, MuteConversation(tea, muted=True))
        world.clock.step(7)
        assert await mute_conversation(world.io, tom, MuteConversation(tea, muted=True)) == first

    @on_trio
    async def test_only_members_can(self) -> None:
        world = await new_world()
        tea = await world.start(await world.login("tom"))
        spike = await world.login("spike")
        with pytest.raises(MembershipRequired):
            await mute_conversation(world.io, spike, MuteConversation(tea, muted=True))
        with pytest.raises(ConversationNotFound):
            await mute_conversation(world.io, spike, MuteConversation(NOWHERE, muted=True))


class TestCounting:
    @on_trio
    async def test_members_are_counted(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        assert (await count_members(world.io, tom, CountMembers(tea))).count == 2
        await remove_members(world.io, tom, RemoveMembers(tea, ("tom", "jerry")))
        assert (await count_members(world.io, tom, CountMembers(tea))).count == 0
        with pytest.raises(ConversationNotFound):
            await count_members(world.io, tom, CountMembers(NOWHERE))

    @on_trio
    async def test_one_may_ask_where_one_belongs(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        both, toms = await world.start(tom, "jerry"), await world.start(tom)
        answer = await check_membership(world.io, jerry, CheckMembership((both, toms, NOWHERE)))
        assert msgspec.json.decode(answer.results) == {both: True, toms: False, NOWHERE: False}
        with pytest.raises(QueryFailed):
            await check_membership(world.io, jerry, CheckMembership((NOWHERE,) * 1_001))


class TestTemporary:
    @pytest.mark.rule("1.18", "1.19", "1.20", "3.1")
    @on_trio
    async def test_it_is_the_first_one_while_that_lives_whoever_asks(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        first = await start_conversation(world.io, tom, StartConversation(("jerry",), temporary=True, ttl_seconds=60))
        assert first.conversation_id.startswith("_tmp:")
        assert is_conversation_id(first.conversation_id)
        assert (first.existing, first.unique_key, first.ttl_seconds) == (False, None, 60)
        event = world.bus.the(ConversationStarted)
        assert (event.kind, event.members, event.ttl_seconds) == (Kind.TEMPORARY, ("tom", "jerry"), 60)
        world.clock.step(59_999)
        again = await start_conversation(world.io, jerry, StartConversation(("tom",), unique=True, temporary=True))
        assert again == replace(first, existing=True)
        world.clock.step(1)
        new = await start_conversation(world.io, jerry, StartConversation(("tom",), temporary=True))
        assert not new.existing
        assert new.conversation_id != first.conversation_id
        assert new.ttl_seconds == 86_400

    @pytest.mark.rule("1.4", "1.20")
    @on_trio
    async def test_normal_ones_of_the_same_members_are_kept_apart(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        temporary = await world.start_temporary(tom, "jerry")
        normal = await world.start(tom, "jerry", unique=True)
        assert normal != temporary
        assert await world.start_temporary(tom, "jerry") == temporary
        assert await world.start(tom, "jerry", unique=True) == normal

    @pytest.mark.rule("1.18", "1.25")
    @on_trio
    async def test_nothing_about_it_changes(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        brief = await world.start_temporary(tom, "jerry")
        attempts: list[tuple[Any, Command]] = [
            (add_members, AddMembers(brief, ("spike",))),
            (remove_members, RemoveMembers(brief, ("tom",))),
            (update_conversation, UpdateConversation(brief, '{"name":"tea"}')),
            (mute_conversation, MuteConversation(brief, True)),
        ]
        for use_case, command in attempts:
            with pytest.raises(NormalConversationRequired) as caught:
                await use_case(world.io, tom, command)
            assert caught.value.code == 4314
        assert not world.bus.events

    @pytest.mark.rule("1.19")
    @on_trio
    async def test_once_expired_it_is_one_that_does_not_exist(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        brief = await world.start_temporary(tom, "jerry", ttl_seconds=60)
        assert [one["objectId"] for one in await query(world, tom, temporary_ids=(brief,))] == [brief]
        world.clock.step(60_000)
        attempts: list[tuple[Any, Command]] = [
            (add_members, AddMembers(brief, ("tom",))),
            (update_conversation, UpdateConversation(brief, "{}")),
            (mute_conversation, MuteConversation(brief, True)),
            (count_members, CountMembers(brief)),
            (read_history, ReadHistory(brief)),
            (send_message, written(brief)),
            (send_message, written(brief, transient=True)),
        ]
        for use_case, command in attempts:
            with pytest.raises(ConversationNotFound) as caught:
                await use_case(world.io, tom, command)
            assert caught.value.code == 4303
        with pytest.raises(ConversationNotFound):
            await delete_conversation(world.io, brief)
        assert await query(world, tom, temporary_ids=(brief,)) == []
        assert await query(world, tom, {"objectId": brief}) == []
        checked = await check_membership(world.io, tom, CheckMembership((brief,)))
        assert msgspec.json.decode(checked.results) == {brief: False}

    @pytest.mark.rule("1.21")
    @on_trio
    async def test_until_then_everything_else_is_as_in_others(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        brief = await world.start_temporary(tom, "jerry")
        await world.send(tom, brief, "soon gone")
        (message,) = (await read_history(world.io, jerry, ReadHistory(brief))).messages
        assert message.body == b"soon gone"
        assert (await count_members(world.io, jerry, CountMembers(brief))).count == 2
        checked = await check_membership(world.io, jerry, CheckMembership((brief,)))
        assert msgspec.json.decode(checked.results) == {brief: True}

    @on_trio
    async def test_it_is_found_by_its_id_alone(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        brief = await world.start_temporary(tom, "jerry")
        tea = await world.start(tom, "jerry")
        for where in (None, {"m": "tom"}, {"objectId": {"$exists": True}}, {"temp": True}):
            assert [one["objectId"] for one in await query(world, tom, where)] == (
                [tea] if where != {"temp": True} else []
            )
        crowd = [await world.start_temporary(tom, f"c{number}") for number in range(11)]
        found = await query(world, tom, temporary_ids=(brief, *crowd))
        assert {one["objectId"] for one in found} == {brief, *crowd}


class TestChatRooms:
    @pytest.mark.rule("1.1", "1.8", "1.11")
    @on_trio
    async def test_who_starts_one_is_in_it_and_nobody_is_told(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        room = await world.start_room(tom, '{"name":"hall"}')
        assert not world.bus.events
        assert (await count_members(world.io, tom, CountMembers(room))).count == 1
        (found,) = await query(world, await world.login("jerry"), {"tr": True})
        assert [found[key] for key in ("objectId", "name", "tr", "conv_type", "m", "mu", "c")] == [
            room,
            "hall",
            True,
            2,
            [],
            [],
            "tom",
        ]

    @pytest.mark.rule("1.11", "11.3")
    @on_trio
    async def test_muting_one_is_accepted_and_comes_to_nothing(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        room = await world.start_room(tom)
        world.clock.step(5)
        before = await world.store.find_conversation(room)
        muted = await mute_conversation(world.io, await world.login("jerry"), MuteConversation(room, True))
        assert before is not None
        assert muted.updated_at == before.updated_at
        assert await world.store.find_conversation(room) == before

    @on_trio
    async def test_a_change_is_told_to_those_inside(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        room = await world.start_room(tom)
        with pytest.raises(UpdateRejected):
            await update_conversation(world.io, jerry, UpdateConversation(room, '{"name":"hall"}'))
        await update_conversation(world.io, tom, UpdateConversation(room, '{"name":"hall"}'))
        event = world.bus.the(ConversationUpdated)
        assert (event.kind, event.members, event.origin) == (Kind.CHAT_ROOM, (), tom.number)

    @on_trio
    async def test_membership_is_being_inside(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        room = await world.start_room(tom)
        for one, inside in ((tom, True), (jerry, False)):
            checked = await check_membership(world.io, one, CheckMembership((room,)))
            assert msgspec.json.decode(checked.results) == {room: inside}

    @pytest.mark.rule("1.12")
    @on_trio
    async def test_anybody_sees_its_last_message(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        room = await world.start_room(tom)
        await world.send(jerry, room, "hello")
        (found,) = await query(world, jerry, {"objectId": room}, with_last_message=True)
        assert found["msg"] == "hello"


class TestService:
    @pytest.mark.rule("1.13", "1.22")
    @on_trio
    async def test_the_application_starts_it_and_everybody_finds_it(self) -> None:
        world = await new_world()
        news = await world.start_service(attributes='{"name":"news"}')
        assert not world.bus.events
        (found,) = await query(world, await world.login("tom"), {"sys": True})
        assert [found[key] for key in ("objectId", "name", "sys", "conv_type", "m", "c", "joined")] == [
            news,
            "news",
            True,
            3,
            [],
            "",
            False,
        ]

    @pytest.mark.rule("1.17", "11.3")
    @on_trio
    async def test_a_subscriber_sees_that_it_is_one_and_that_it_muted_it(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        world.clock.step(5)
        news = await world.start_service(tom, jerry)
        joined_at = (await query(world, tom))[0]["joinedAt"]
        await mute_conversation(world.io, tom, MuteConversation(news, True))
        (of_tom,), (of_jerry,) = await query(world, tom), await query(world, jerry)
        assert [of_tom[key] for key in ("objectId", "joined", "joinedAt", "muted", "mu")] == [
            news,
            True,
            joined_at,
            True,
            [],
        ]
        assert (of_jerry["joined"], of_jerry["muted"]) == (True, False)
        await mute_conversation(world.io, tom, MuteConversation(news, False))
        assert (await query(world, tom))[0]["muted"] is False

    @on_trio
    async def test_who_leaves_and_comes_back_has_not_muted_it(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        news = await world.start_service(tom)
        await mute_conversation(world.io, tom, MuteConversation(news, True))
        await remove_members(world.io, tom, RemoveMembers(news, ("tom",)))
        with pytest.raises(MembershipRequired):
            await mute_conversation(world.io, tom, MuteConversation(news, True))
        await world.join(tom, news)
        assert (await query(world, tom))[0]["muted"] is False

    @on_trio
    async def test_only_the_application_changes_it_and_subscribers_online_are_told(self) -> None:
        world = await new_world()
        tom, jerry, _ = await world.login("tom"), await world.login("jerry"), await world.login("spike")
        news = await world.start_service(tom, jerry)
        await close_session(world.io, jerry, CloseSession())
        with pytest.raises(UpdateRejected) as caught:
            await update_conversation(world.io, tom, UpdateConversation(news, '{"name":"tea"}'))
        assert caught.value.code == 4309
        await update_conversation(world.io, office(), UpdateConversation(news, '{"name":"tea"}'))
        event = world.bus.the(ConversationUpdated)
        assert (event.kind, event.members, event.by) == (Kind.SYSTEM, ("tom",), "")
        assert (await query(world, tom))[0]["name"] == "tea"

    @on_trio
    async def test_its_last_message_is_what_the_asker_may_read(self) -> None:
        world = await new_world()
        tom, jerry, spike = await world.login("tom"), await world.login("jerry"), await world.login("spike")
        news = await world.start_service(tom, jerry)
        await send_to_subscribers(world.io, office("news"), written(news, "to all"))
        world.clock.step(5)
        await send_to_clients(world.io, office("news"), written(news, "to tom"), ["tom"])
        last = {
            one.client_id: (await query(world, one, {"objectId": news}, with_last_message=True))[0].get("msg")
            for one in (tom, jerry, spike)
        }
        assert last == {"tom": "to tom", "jerry": "to all", "spike": None}


class TestTheApplication:
    @pytest.mark.rule("1.2")
    @on_trio
    async def test_it_starts_conversations_without_being_in_them(self) -> None:
        world = await new_world(Policy(members=2))
        started = await start_conversation(world.io, office("boss"), StartConversation(("tom", "jerry", "spike")))
        found = await world.store.find_conversation(started.conversation_id)
        assert found is not None
        assert (found.creator, found.members) == ("boss", ("tom", "jerry"))
        event = world.bus.the(ConversationStarted)
        assert (event.by, event.members) == ("boss", ("tom", "jerry"))

    @on_trio
    async def test_a_room_that_it_starts_is_empty(self) -> None:
        world = await new_world()
        room = await world.start_room(office())
        assert (await count_members(world.io, office(), CountMembers(room))).count == 0

    @on_trio
    async def test_what_it_deletes_is_gone_and_nobody_is_told(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        room, tea = await world.start_room(tom), await world.start(tom)
        for one in (room, tea):
            await delete_conversation(world.io, one)
            with pytest.raises(ConversationNotFound):
                await count_members(world.io, tom, CountMembers(one))
            with pytest.raises(ConversationNotFound):
                await delete_conversation(world.io, one)
        assert world.rooms.room_of(tom) is None
        assert await query(world, tom) == []
        assert not world.bus.events


class TestNotices:
    @pytest.mark.rule("3.7")
    @on_trio
    async def test_who_is_away_finds_everything_later(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        tea = await world.start(tom, "jerry")
        world.clock.step(5)
        await update_conversation(world.io, tom, UpdateConversation(tea, '{"name":"tea"}'))
        notices, more = await world.store.notices_for("jerry", Millis(0), 100)
        assert [one.op for one in notices] == ["joined", "members_joined", "updated"]
        assert not more
        world.clock.step(5)
        await remove_members(world.io, tom, RemoveMembers(tea, ("jerry",)))
        notices, _ = await world.store.notices_for("jerry", notices[-1].at, 100)
        assert [(one.op, one.by) for one in notices] == [("left", "tom")]

    @on_trio
    async def test_of_rooms_and_service_conversations_nothing_is_kept(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        await world.start_room(tom)
        news = await world.start_service(tom)
        await update_conversation(world.io, office(), UpdateConversation(news, '{"name":"tea"}'))
        await remove_members(world.io, tom, RemoveMembers(news, ("tom",)))
        assert await world.store.notices_for("tom", Millis(0), 100) == ([], False)
