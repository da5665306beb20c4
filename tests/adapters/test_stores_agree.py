import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from fastim.adapters.lmdb import LmdbStore
from fastim.adapters.lmdb.verify import verify
from fastim.adapters.memory import MemoryStore
from fastim.core.application import Application
from fastim.core.conversation import Kind
from fastim.core.message import Message, Position, Span
from fastim.core.session import Grant
from fastim.core.units import Millis
from fastim.core.unread import Head
from fastim.ports.store import Appended, ApplicationStore, Joined
from tests.adapters.engines import DAY, T0, WEEK, conversation, draft, settle

IDS = [f"{number:024x}" for number in range(3)] + ["_tmp:" + "00" * 12, "no id"]
CLIENTS = ["ann", "ben", "c" * 64, "ß"]

ids = st.sampled_from(IDS)
clients = st.sampled_from(CLIENTS)
groups = st.lists(clients, unique=True, max_size=4)
moments = st.sampled_from([T0 - DAY, T0, T0 + 1, T0 + DAY, T0 + WEEK]).map(Millis)
sequences = st.none() | st.integers(0, 12)
drafts = st.builds(
    draft,
    clients,
    st.binary(max_size=5),
    token=st.sampled_from(["", "t", "u"]),
    mention_all=st.booleans(),
    mentions=st.lists(clients, max_size=2).map(tuple),
)

Write = Callable[[ApplicationStore], Awaitable[Any]]


def alike(value: object) -> object:
    """``value`` without what chance decides: message ids, and orders that mean nothing."""
    match value:
        case Message():
            return replace(value, id="")
        case Head():
            return replace(value, last_id="")
        case Appended(message=message):
            return replace(value, message=replace(message, id=""))
        case Joined(head=head):
            return replace(value, head=replace(head, last_id=""))
        case list():
            return [alike(one) for one in value]
        case Exception():
            return type(value)
        case _:
            return value


@settings(max_examples=40, stateful_step_count=40)
class StoresAgree(RuleBasedStateMachine):
    """The store in LMDB and the one in memory give the same answers to the same calls, across reopening too."""

    @initialize()
    def open_both(self) -> None:
        self.path = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.memory = MemoryStore()
        self.lmdb = self.run(self.opened())
        self.applications: list[Application] = []
        for name in ("one", "two"):
            made = [self.run(waited(store.save_application(name, "k", "m", "h"))) for store in (self.memory, self.lmdb)]
            assert made[0] == made[1]
            self.applications.append(made[0])

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(coroutine)

    async def opened(self) -> LmdbStore:
        return LmdbStore.open(self.path, map_bytes=1 << 20)

    def compare(self, *writes: Write) -> None:
        """Queue all writes before any is awaited."""

        async def ends(part: ApplicationStore) -> list[Any]:
            return await settle(*[write(part) for write in writes])

        memory, lmdb = (self.run(ends(store.of(self.applications[0]))) for store in (self.memory, self.lmdb))
        assert alike(lmdb) == alike(memory)

    def place(self, part: ApplicationStore, conversation_id: str, sequence: int | None) -> Position | None:
        """Where the message with that sequence stands; one that is not there stands a while before all others."""
        if sequence is None:
            return None
        for message in self.run(part.history(conversation_id, Span(limit=1_000))):
            if message.sequence == sequence:
                return Position(message.timestamp, message.id)
        return Position(Millis(T0 - 2 * DAY))

    @rule(conversation_id=ids, members=groups, unique_key=st.none() | st.sampled_from("kl"))
    def create(self, conversation_id: str, members: list[str], unique_key: str | None) -> None:
        if conversation_id == "no id":
            return
        kind = Kind.TEMPORARY if conversation_id.startswith("_") else Kind.NORMAL
        made = conversation(conversation_id, *members, kind=kind, unique_key=unique_key)
        self.compare(lambda part: part.create_conversation(made))

    @rule(conversation_id=ids, come=groups, go=groups, now=moments)
    def change(self, conversation_id: str, come: list[str], go: list[str], now: Millis) -> None:
        before = self.run(self.memory.of(self.applications[0]).find_conversation(conversation_id))
        if before is None:
            before = conversation(conversation_id)
        members = tuple(dict.fromkeys([one for one in before.members if one not in go] + come))
        changed = replace(before, members=members, updated_at=now, columns={"n": len(members)})
        self.compare(lambda part: part.change_conversation(changed, joined=come, left=go))

    @rule(conversation_id=ids, batch=st.lists(st.tuples(drafts, moments), min_size=1, max_size=6))
    def append(self, conversation_id: str, batch: list[tuple[Any, Millis]]) -> None:
        def write(one: tuple[Any, Millis]) -> Write:
            return lambda part: part.append(conversation_id, *one)

        self.compare(*map(write, batch))

    @rule(conversation_id=ids, client_id=clients, upto=sequences, vague=st.booleans(), now=moments)
    def mark_read(self, conversation_id: str, client_id: str, upto: int | None, vague: bool, now: Millis) -> None:
        for store in (self.memory, self.lmdb):
            place = self.place(store.of(self.applications[0]), conversation_id, upto)
            if place is not None and vague:
                place = Position(place.timestamp)
            end = self.run(waited(store.of(self.applications[0]).mark_read(conversation_id, client_id, place, now)))
            if store is self.memory:
                expected = end
            assert end == expected

    @rule(
        conversation_id=ids, after=sequences, before=sequences, included=st.tuples(st.booleans(), st.booleans()),
        newest_first=st.booleans(), limit=st.integers(1, 5),
    )  # fmt: skip
    def history(
        self,
        conversation_id: str,
        after: int | None,
        before: int | None,
        included: tuple[bool, bool],
        newest_first: bool,
        limit: int,
    ) -> None:
        found = []
        for store in (self.memory, self.lmdb):
            part = store.of(self.applications[0])
            older, newer = (self.place(part, conversation_id, end) for end in (after, before))
            span = Span(older, newer, *included, newest_first, limit)
            found.append(alike(self.run(part.history(conversation_id, span))))
        assert found[0] == found[1]

    @rule(client_id=clients, token=st.sampled_from("xy"), expires_at=moments)
    def save_grant(self, client_id: str, token: str, expires_at: Millis) -> None:
        self.compare(lambda part: part.save_grant(client_id, token, Grant("", "", 0, expires_at)))

    @rule(client_id=clients, at=moments)
    def kick(self, client_id: str, at: Millis) -> None:
        self.compare(lambda part: part.kick(client_id, at))

    @rule(names=st.lists(st.sampled_from("uvw"), min_size=1, max_size=3), until=moments)
    def use(self, names: list[str], until: Millis) -> None:
        def write(name: str) -> Write:
            return lambda part: part.use_once(name, until)

        self.compare(*map(write, names))

    @rule(now=moments, later=st.integers(0, 10))
    def sweep(self, now: Millis, later: int) -> None:
        moment = Millis(now + later * DAY)
        swept = [self.run(waited(store.sweep(moment))) for store in (self.memory, self.lmdb)]
        assert swept[0] == swept[1]

    @rule()
    def reopen(self) -> None:
        self.run(self.lmdb.close())
        self.lmdb = self.run(self.opened())

    @invariant()
    def agree(self) -> None:
        memory, lmdb = (self.run(self.seen(store.of(self.applications[0]))) for store in (self.memory, self.lmdb))
        assert lmdb == memory

    async def seen(self, part: ApplicationStore) -> object:
        """Everything that reads can tell."""
        return {
            "scan": [one async for one in part.scan_conversations()],
            "conversations": [await part.find_conversation(one) for one in IDS],
            "heads": [alike(await part.find_head(one)) for one in IDS],
            "messages": [alike(await part.history(one, Span(limit=1_000))) for one in IDS],
            "members": [[await part.find_membership(one, client) for client in CLIENTS] for one in IDS],
            "joined": [
                alike(sorted(await part.joined_conversations(client), key=lambda joined: joined.conversation_id))
                for client in CLIENTS
            ],
            "ids": [sorted(await part.conversation_ids_of(client)) for client in CLIENTS],
            "grants": [await part.find_grant(client, token) for client in CLIENTS for token in "xy"],
            "kicks": [await part.find_kick(client) for client in CLIENTS],
        }

    def teardown(self) -> None:
        other = self.lmdb.of(self.applications[1])
        assert self.run(self.first(other)) is None
        self.run(self.lmdb.close())
        self.runner.close()
        assert verify(self.path).problems == ()
        shutil.rmtree(self.path)

    async def first(self, part: ApplicationStore) -> object:
        async for one in part.scan_conversations():
            return one
        return None


async def waited(write: Awaitable[Any]) -> Any:
    return await write


TestStoresAgree = pytest.mark.slow(StoresAgree.TestCase)
