"""The contract of a directory, for presence and for the fake."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastim.core.errors import QueryFailed
from fastim.core.policy import WATCHED_MAX
from fastim.core.session import Config, OfflineMode, Session
from fastim.core.units import Millis
from fastim.ports.directory import Directory
from tests.fakes.directory import PlainDirectory
from tests.fakes.running import explored, on_asyncio
from tests.runtime.node import running_node

Place = tuple[Directory, Callable[[], int]]
"""A directory, and what gives the numbers of sessions that may enter it, each on a connection of its own."""

CONNECTIONS = 3


@asynccontextmanager
async def plain() -> AsyncIterator[Place]:
    yield PlainDirectory(), count(1).__next__


@asynccontextmanager
async def presence() -> AsyncIterator[Place]:
    async with running_node() as node:
        connections = iter([(await node.line()).connection for _ in range(CONNECTIONS)])
        yield node.tenant.presence, lambda: node.tenant.presence.reserve(next(connections))


pytestmark = pytest.mark.parametrize("place", [plain, presence])

Open = Callable[[], AbstractAsyncContextManager[Place]]


def session(number: int, client_id: str = "tom", device: str = "") -> Session:
    return Session(number, client_id, "", device, Config(0), OfflineMode.UNREAD, Millis(0))


@on_asyncio
async def test_sessions_are_there_from_entering_to_leaving_oldest_first(place: Open) -> None:
    async with place() as (directory, number):
        first, second, other = session(number()), session(number()), session(number(), "jerry")
        for one in (first, second, other):
            directory.enter(one)
        assert directory.sessions("tom") == [first, second]
        assert directory.sessions("jerry") == [other]
        assert directory.sessions("spike") == []
        directory.leave(first)
        assert directory.sessions("tom") == [second]
        directory.leave(first)
        directory.leave(second)
        assert directory.sessions("tom") == []


@on_asyncio
async def test_a_session_can_be_told_more_while_it_is_open(place: Open) -> None:
    async with place() as (directory, number):
        opened, other = session(number()), session(number(), "jerry")
        directory.enter(opened)
        assert await directory.ready(opened)
        assert not await directory.ready(other)
        directory.leave(opened)
        assert not await directory.ready(opened)


@on_asyncio
async def test_who_is_online_in_the_order_of_the_question(place: Open) -> None:
    async with place() as (directory, number):
        for client_id in ("jerry", "tom", "tom"):
            directory.enter(session(number(), client_id))
        assert directory.online(["tom", "spike", "jerry"]) == ["tom", "jerry"]
        assert directory.online(iter(["jerry"])) == ["jerry"]
        directory.leave(directory.sessions("tom")[0])
        assert directory.online(["tom"]) == ["tom"]
        directory.leave(directory.sessions("tom")[0])
        assert directory.online(["tom"]) == []


@on_asyncio
async def test_entering_again_renews_a_session_in_its_place(place: Open) -> None:
    async with place() as (directory, number):
        first, second = session(number()), session(number())
        directory.enter(first)
        directory.enter(second)
        renamed = replace(first, device="apns")
        directory.enter(renamed)
        assert directory.sessions("tom") == [renamed, second]
        directory.leave(first)
        assert directory.sessions("tom") == [second]


@on_asyncio
async def test_every_client_is_named_once(place: Open) -> None:
    async with place() as (directory, number):
        sessions = [session(number(), client_id) for client_id in ("tom", "jerry", "tom")]
        for one in sessions:
            directory.enter(one)
        assert sorted(directory.clients()) == ["jerry", "tom"]
        directory.leave(sessions[0])
        assert sorted(directory.clients()) == ["jerry", "tom"]
        directory.leave(sessions[2])
        assert directory.clients() == ["jerry"]


@on_asyncio
async def test_a_session_watches_so_many_clients_and_no_more(place: Open) -> None:
    async with place() as (directory, number):
        first, second = session(number()), session(number())
        directory.enter(first)
        directory.enter(second)
        crowd = [f"c{index}" for index in range(WATCHED_MAX)]
        directory.watch(first, crowd)
        directory.watch(first, crowd[:10])  # again is harmless
        with pytest.raises(QueryFailed):
            directory.watch(first, ["one more"])
        directory.watch(second, ["one more"])  # each for itself
        directory.unwatch(first, [crowd[0], "nobody"])
        with pytest.raises(QueryFailed):
            directory.watch(first, ["two", "more"])
        directory.watch(first, ["one more"])
        directory.unwatch(first, [*crowd, "one more"])
        directory.watch(first, crowd)


@on_asyncio
async def test_who_has_left_watches_nobody(place: Open) -> None:
    async with place() as (directory, number):
        one = session(number())
        directory.watch(one, ["jerry"])  # not open yet
        directory.enter(one)
        directory.watch(one, ["jerry"])
        directory.leave(one)
        directory.unwatch(one, ["jerry"])
        directory.watch(one, ["jerry"])
        assert directory.clients() == []


@explored
@given(steps=st.lists(st.tuples(st.sampled_from(["enter", "renew", "leave"]), st.integers(0, CONNECTIONS - 1))))
@on_asyncio
async def test_it_is_a_list_of_sessions_whatever_happens(place: Open, steps: list[tuple[str, int]]) -> None:
    async with place() as (directory, number):
        clients = ("tom", "jerry", "tom")
        sessions = [session(number(), client_id) for client_id in clients]
        listed: list[Session] = []
        left: set[int] = set()
        for verb, which in steps:
            one = sessions[which]
            numbers = [other.number for other in listed]
            if verb == "leave":
                directory.leave(one)
                listed = [other for other in listed if other.number != one.number]
                left.add(which)
            elif one.number in numbers:
                sessions[which] = listed[numbers.index(one.number)] = replace(one, device=one.device + "x")
                directory.enter(sessions[which])
            elif which not in left:
                directory.enter(one)
                listed.append(one)
            for client_id in ("tom", "jerry"):
                assert directory.sessions(client_id) == [other for other in listed if other.client_id == client_id]
            assert directory.online(["tom", "jerry"]) == list(
                filter({other.client_id for other in listed}.__contains__, ["tom", "jerry"])
            )
