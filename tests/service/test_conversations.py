from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from fastim.core.commands import (
    AddMembers,
    CheckMembership,
    CountMembers,
    MuteConversation,
    QueryConversations,
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
    Unavailable,
    UpdateFailed,
    UpdateRejected,
)
from fastim.core.events import ConversationStarted, ConversationUpdated
from fastim.core.ids import is_conversation_id
from fastim.core.policy import Policy
from fastim.core.session import Session
from fastim.core.units import iso
from fastim.service.conversations import (
    check_membership,
    count_members,
    mute_conversation,
    query_conversations,
    start_conversation,
    update_conversation,
)
from fastim.service.members import add_members, remove_members
from tests.fakes.running import explored, on_trio, schedules
from tests.fakes.world import World, new_world

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
            (StartConversation(chat_room=True), NormalConversationRequired),
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
