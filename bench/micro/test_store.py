"""The store in LMDB, commits to disk included: that is the disk's speed as much as ours.

``python bench/durable.py`` has the same under load, beside LMDB alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import uvloop
from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.timing import timed
from fastim.adapters.lmdb import LmdbStore
from fastim.core.conversation import Conversation, Kind
from fastim.core.message import Draft, Message, Position, Span
from fastim.core.units import Millis
from fastim.ports.store import Appended, ApplicationStore

AT = Millis(1_767_268_800_000)
BODY = b"x" * 128
CONVERSATION = "64a0b1c2d3e4f5a6b7c8d9e0"
STORED = 5_000
MAP_BYTES = 1 << 30
ROUNDS = 30


class Log:
    """One conversation in a store of its own, and a loop to use it in."""

    def __init__(self, runner: asyncio.Runner, part: ApplicationStore) -> None:
        self.run = runner.run
        self._part = part
        self._numbers = count()

    async def append(self, messages: int) -> list[Appended]:
        """So many at once, which share a commit."""
        drafts = [Draft("tom", BODY, token=f"token-{next(self._numbers)}") for _ in range(messages)]
        return await asyncio.gather(*[self._part.append(CONVERSATION, draft, AT) for draft in drafts])

    async def page(self, before: Position, limit: int) -> list[Message]:
        return await self._part.history(CONVERSATION, Span(before=before, limit=limit))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    async def opened() -> tuple[LmdbStore, ApplicationStore]:
        store = LmdbStore.open(tmp_path / "store", map_bytes=MAP_BYTES)
        part = store.of(await store.save_application("bench", "key", "master", "hook"))
        await part.create_conversation(Conversation(CONVERSATION, Kind.NORMAL, "tom", AT, AT, members=("tom", "jerry")))
        return store, part

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        store, part = runner.run(opened())
        yield Log(runner, part)
        runner.run(store.close())


@pytest.mark.parametrize("messages", [1, 100, 1_000])
def test_append(benchmark: BenchmarkFixture, log: Log, messages: int) -> None:
    appended = timed(benchmark, lambda: log.run(log.append(messages)), rounds=ROUNDS, warm_up=2)
    assert len(appended) == messages
    assert all(one.fresh for one in appended)


@pytest.mark.parametrize("limit", [20, 100])
def test_a_page_of_history(benchmark: BenchmarkFixture, log: Log, limit: int) -> None:
    stored = log.run(log.append(STORED))
    before = stored[STORED // 2].message.position
    page = benchmark(lambda: log.run(log.page(before, limit)))
    assert [message.sequence for message in page] == list(range(STORED // 2 + 1 - limit, STORED // 2 + 1))
