"""The use case of sending, with the server's own parts around it: the store in memory, nobody online, no socket.

Each call sends ``MESSAGES`` one after the other and gives the loop a turn, in which they are delivered to nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest
import uvloop
from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.timing import timed
from fastim.adapters.memory import MemoryStore
from fastim.core.commands import ReadHistory, Send, StartConversation
from fastim.core.message import Message
from fastim.core.session import Config, OfflineMode, Session
from fastim.runtime.dispatch import Dispatcher
from fastim.runtime.ingress import Governor
from fastim.runtime.limits import LimitCounters
from fastim.runtime.outbound import fanout_of
from fastim.service.conversations import start_conversation
from fastim.service.io import Io
from fastim.service.messages import read_history, send_message
from fastim.settings import load
from fastim.tenants import Shared, Tenants

BODY = b'{"_lctype":-1,"_lctext":"good morning, all of you"}'
EVERYTHING = Config(187)
MEMBERS = 100
MESSAGES = 100
STORED = 1_000
ROUNDS = 50


class World:
    """An application with a sender, who has started a group and a chat room."""

    def __init__(self, io: Io, session: Session, group: str, room: str) -> None:
        self.io = io
        self.session = session
        self.group = group
        self.room = room
        self._numbers = count()

    async def send(self, conversation_id: str, messages: int, *, transient: bool) -> int:
        """How many were acked."""
        acked = 0
        for _ in range(messages):
            token = f"token-{next(self._numbers)}"
            command = Send(conversation_id, BODY, len(BODY), token=token, transient=transient)
            acked += await send_message(self.io, self.session, command) is not None
        await asyncio.sleep(0)
        return acked

    async def read(self, limit: int) -> tuple[Message, ...]:
        return (await read_history(self.io, self.session, ReadHistory(self.group, limit=limit))).messages


async def new_world() -> World:
    loaded = load(None, {}, [])
    store = MemoryStore()
    application = await store.save_application("bench", "key", "master", "hook")
    shared = Shared(loaded, store, fanout_of(loaded.settings.delivery), LimitCounters(), Governor(0))
    io = Tenants(shared, Dispatcher()).add(application).io
    session = Session(1, "tom", "", "phone", EVERYTHING, OfflineMode.UNREAD, io.clock.now())
    members = ("tom", *(f"member-{n}" for n in range(1, MEMBERS)))
    group = await start_conversation(io, session, StartConversation(members=members))
    room = await start_conversation(io, session, StartConversation(members=("tom",), chat_room=True))
    return World(io, session, group.conversation_id, room.conversation_id)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as running:
        yield running


@pytest.mark.parametrize("transient", [False, True], ids=["stored", "transient"])
@pytest.mark.parametrize("kind", ["group", "room"])
def test_send(benchmark: BenchmarkFixture, runner: asyncio.Runner, kind: str, transient: bool) -> None:
    world = runner.run(new_world())
    conversation_id = world.group if kind == "group" else world.room

    def send() -> int:
        return runner.run(world.send(conversation_id, MESSAGES, transient=transient))

    assert timed(benchmark, send, rounds=ROUNDS) == MESSAGES


def test_read_history(benchmark: BenchmarkFixture, runner: asyncio.Runner) -> None:
    world = runner.run(new_world())
    runner.run(world.send(world.group, STORED, transient=False))
    assert len(benchmark(lambda: runner.run(world.read(20)))) == 20
