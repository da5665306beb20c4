import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from fastim.adapters.lmdb import LmdbStore
from fastim.adapters.lmdb.verify import verify
from fastim.adapters.memory import MemoryStore
from fastim.core.application import Application
from fastim.core.conversation import Conversation, Kind
from fastim.core.ids import personal_log
from fastim.core.installation import Installation
from fastim.core.message import Message, Position, Span
from fastim.core.message import place as placed
from fastim.core.push import Job, Notification
from fastim.core.retention import Retention
from fastim.core.session import Grant
from fastim.core.standing import Role, Standing
from fastim.core.units import Millis
from fastim.core.unread import Head
from fastim.ports.store import Appended, ApplicationStore, DuePush, Joined, Stay
from tests.adapters.engines import (
    DAY,
    T0,
    WEEK,
    broadcast,
    conversation,
    draft,
    installation,
    job,
    notice,
    notification,
    retire,
    settle,
    will,
)

IDS = [f"{number:024x}" for number in range(3)] + ["_tmp:" + "00" * 12, f"{3:024x}", "no id"]
SERVICE = IDS[4]
CLIENTS = ["ann", "ben", "c" * 64, "ß"]
LOGS = [*IDS, *(personal_log(SERVICE, client) for client in CLIENTS), personal_log(IDS[0], "ann")]
KINDS = {SERVICE: Kind.SYSTEM, "_tmp:" + "00" * 12: Kind.TEMPORARY}

ids = st.sampled_from(IDS)
logs = st.sampled_from(LOGS)
clients = st.sampled_from(CLIENTS)
groups = st.lists(clients, unique=True, max_size=4)
addressees = st.none() | clients
moments = st.sampled_from([T0 - DAY, T0, T0 + 1, T0 + DAY, T0 + WEEK]).map(Millis)
sequences = st.none() | st.integers(0, 12)
limits = st.integers(1, 5)
notices = st.lists(st.builds(notice, addressees, moments, st.sampled_from(IDS[:5])), max_size=3)
standings = st.dictionaries(
    clients,
    st.builds(Standing, st.none() | st.sampled_from(Role), st.booleans(), moments | st.just(0), st.booleans())
    | st.just(Standing()),
    max_size=2,
)
spans_of_time = st.sampled_from([0, DAY - 500, WEEK - 500]).map(Millis)
"""None of them ends at a moment at which something is written."""
drafts = st.builds(
    draft,
    clients,
    st.binary(max_size=5),
    token=st.sampled_from(["", "t", "u"]),
    mention_all=st.booleans(),
    mentions=st.lists(clients, max_size=2).map(tuple),
    receipt=st.booleans(),
)
targets = st.sampled_from("xyz")
message_ids = st.sampled_from("123")
notifications = st.builds(notification, targets, message_ids)
names = st.sampled_from(["", "m", "n"])
channels = st.lists(st.sampled_from("cd"), max_size=3).map(tuple)
installations = st.none() | st.builds(
    installation,
    st.just("?"),
    token=names,
    installation_id=names,
    registration_id=names,
    channels=channels,
    badge=st.integers(0, 2),
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
        case Job():
            return replace(value, message_id="")
        case (list() as noted, bool(more)):
            return sorted(map(repr, noted)), more  # those of one millisecond may come in any order
        case list():
            return [alike(one) for one in value]
        case Exception():
            return type(value)
        case _:
            return value


@settings(max_examples=40, stateful_step_count=50)
class StoresAgree(RuleBasedStateMachine):
    """The store in LMDB and the one in memory give the same answers to the same calls, across reopening too."""

    @initialize()
    def open_both(self) -> None:
        self.path = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.memory = MemoryStore()
        self.lmdb = self.run(self.opened())
        self.deleted: set[str] = set()
        self.applications: list[Application] = []
        for name in ("one", "two"):
            made = [self.run(waited(store.save_application(name, "k", "m", "h"))) for store in (self.memory, self.lmdb)]
            assert made[0] == made[1]
            self.applications.append(made[0])
        first, subscribed = conversation(IDS[0], "ann", "ben"), conversation(SERVICE, kind=Kind.SYSTEM)
        self.compare(lambda part: part.create_conversation(first), lambda part: part.create_conversation(subscribed))
        self.compare(lambda part: part.change_conversation(subscribed, joined=CLIENTS[:2]))

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

    def compare_at(
        self, log_id: str, sequence: int | None, vague: bool, act: Callable[[ApplicationStore, Position | None], Any]
    ) -> None:
        """Do in each store what takes the place of one of its own messages."""
        ends = []
        for store in (self.memory, self.lmdb):
            part = store.of(self.applications[0])
            ends.append(alike(self.run(ended(act(part, self.place(part, log_id, sequence, vague))))))
        assert ends[1] == ends[0]

    def place(self, part: ApplicationStore, log_id: str, sequence: int | None, vague: bool = False) -> Position | None:
        """Where the message with that sequence stands; one that is not there stands a while before all others.

        Args:
            vague: Whether its millisecond will do.
        """
        if sequence is None:
            return None
        for message in self.run(part.history(log_id, Span(limit=1_000))):
            if message.sequence == sequence:
                return Position(message.timestamp, "" if vague else message.id)
        return Position(Millis(T0 - 2 * DAY))

    @rule(conversation_id=ids, members=groups, unique_key=st.none() | st.sampled_from("kl"), told=notices, now=moments)
    def create(
        self, conversation_id: str, members: list[str], unique_key: str | None, told: list[Any], now: Millis
    ) -> None:
        if conversation_id == "no id" or conversation_id in self.deleted:  # ids are not given twice
            return
        kind = KINDS.get(conversation_id, Kind.NORMAL)
        made = conversation(
            conversation_id,
            *(members if kind is not Kind.SYSTEM else ()),
            kind=kind,
            unique_key=unique_key,
            ttl_seconds=DAY // 1_000 if kind is Kind.TEMPORARY else 0,
        )
        made = replace(made, created_at=now, updated_at=now)
        self.compare(lambda part: part.create_conversation(made, told))

    @rule(conversation_id=ids, come=groups, go=groups, given=standings, told=notices, now=moments)
    def change(
        self,
        conversation_id: str,
        come: list[str],
        go: list[str],
        given: dict[str, Standing],
        told: list[Any],
        now: Millis,
    ) -> None:
        before = self.run(self.memory.of(self.applications[0]).find_conversation(conversation_id))
        if before is None:
            before = conversation(conversation_id)
        members = tuple(dict.fromkeys([one for one in before.members if one not in go] + come))
        if before.kind is Kind.SYSTEM:
            members = ()
        changed = replace(before, members=members, updated_at=now, columns={"n": len(members)})
        self.compare(
            lambda part: part.change_conversation(changed, joined=come, left=go, standings=given, notices=told)
        )

    @precondition(lambda self: len(self.deleted) < 3)
    @rule(conversation_id=ids, message=drafts, now=moments)
    def delete_conversation(self, conversation_id: str, message: Any, now: Millis) -> None:
        found = self.run(self.memory.of(self.applications[0]).find_conversation(conversation_id))
        if found is not None:
            self.deleted.add(conversation_id)
        self.compare(
            lambda part: part.append(conversation_id, message, now),
            lambda part: part.delete_conversation(conversation_id),
            lambda part: part.append(conversation_id, message, now),
        )

    @rule(log_id=logs, batch=st.lists(st.tuples(drafts, moments, st.booleans()), min_size=1, max_size=6))
    def append(self, log_id: str, batch: list[tuple[Any, Millis, bool]]) -> None:
        def write(one: tuple[Any, Millis, bool]) -> Write:
            message, now, urgent = one
            return lambda part: part.append(log_id, message, now, urgent=urgent)

        self.compare(*map(write, batch))

    @rule(log_id=logs, client_id=clients, upto=sequences, vague=st.booleans(), now=moments, told=notices)
    def mark_read(
        self, log_id: str, client_id: str, upto: int | None, vague: bool, now: Millis, told: list[Any]
    ) -> None:
        self.compare_at(log_id, upto, vague, lambda part, place: part.mark_read(log_id, client_id, place, now, told))

    @rule(log_id=logs, client_id=clients, upto=st.integers(0, 12), vague=st.booleans(), now=moments, told=notices)
    def acknowledge(self, log_id: str, client_id: str, upto: int, vague: bool, now: Millis, told: list[Any]) -> None:
        def act(part: ApplicationStore, place: Position | None) -> Awaitable[Any]:
            assert place is not None
            return part.acknowledge(log_id, client_id, place, now, told)

        self.compare_at(log_id, upto, vague, act)

    @rule(log_id=logs, sequence=st.integers(0, 12), body=st.binary(max_size=9), recalled=st.booleans(), now=moments)
    def patch_message(self, log_id: str, sequence: int, body: bytes, recalled: bool, now: Millis) -> None:
        def act(part: ApplicationStore, place: Position | None) -> Awaitable[Any]:
            assert place is not None
            before = self.run(part.find_message(log_id, place))
            if before is None:
                before = placed(draft(), place.message_id, place.timestamp, sequence)
            return part.patch_message(log_id, replace(before, body=body, recalled=recalled), now)

        self.compare_at(log_id, sequence, False, act)

    @rule(log_id=logs, sequence=st.integers(0, 12), vague=st.booleans())
    def delete_message(self, log_id: str, sequence: int, vague: bool) -> None:
        def act(part: ApplicationStore, place: Position | None) -> Awaitable[Any]:
            assert place is not None
            return part.delete_message(log_id, place)

        self.compare_at(log_id, sequence, vague, act)

    @rule(
        log_id=logs, after=sequences, before=sequences, included=st.tuples(st.booleans(), st.booleans()),
        newest_first=st.booleans(), limit=limits,
    )  # fmt: skip
    def history(
        self,
        log_id: str,
        after: int | None,
        before: int | None,
        included: tuple[bool, bool],
        newest_first: bool,
        limit: int,
    ) -> None:
        found = []
        for store in (self.memory, self.lmdb):
            part = store.of(self.applications[0])
            older, newer = (self.place(part, log_id, end) for end in (after, before))
            span = Span(older, newer, *included, newest_first, limit)
            found.append(alike(self.run(part.history(log_id, span))))
        assert found[0] == found[1]

    @rule(log_id=logs, sequence=st.integers(0, 12), limit=limits, since=moments)
    def messages_from(self, log_id: str, sequence: int, limit: int, since: Millis) -> None:
        self.compare(
            lambda part: part.messages_from(log_id, sequence, limit),
            lambda part: part.patches_since(log_id, since, limit),
        )

    @rule(log_id=logs, since=moments, lasting=st.sampled_from([0, 3, DAY]), limit=limits)
    def urgent_since(self, log_id: str, since: Millis, lasting: int, limit: int) -> None:
        until = Millis(since + lasting)
        self.compare(
            lambda part: part.urgent_since(log_id, since, until, limit),
            lambda part: part.urgent_start(log_id, since, until, limit),
        )

    @rule(told=notices, client_id=clients, since=moments, limit=limits)
    def add_notices(self, told: list[Any], client_id: str, since: Millis, limit: int) -> None:
        self.compare(lambda part: part.add_notices(told))
        self.compare(lambda part: part.notices_for(client_id, since, limit))

    @rule(client_id=clients, conversation_ids=st.lists(ids, max_size=3), refused=st.booleans(), now=moments)
    def refuse(self, client_id: str, conversation_ids: list[str], refused: bool, now: Millis) -> None:
        self.compare(lambda part: part.refuse_conversations(client_id, conversation_ids, refused, now))

    @rule(client_id=clients, number=st.integers(1, 3))
    def save_will(self, client_id: str, number: int) -> None:
        self.compare(lambda part: part.save_will(will(client_id, number)))

    @rule(client_id=clients, number=st.none() | st.integers(1, 3))
    def take_will(self, client_id: str, number: int | None) -> None:
        holder = None if number is None else will(client_id, number).holder
        take: Write = lambda part: part.take_will(client_id, holder)  # noqa: E731
        self.compare(take, take)

    @rule(
        client_id=clients, device=st.sampled_from(["", "d"]), conversation_id=ids,
        left_at=st.just(0) | moments, missed_from=st.just(0) | moments,
    )  # fmt: skip
    def save_stay(
        self, client_id: str, device: str, conversation_id: str, left_at: Millis, missed_from: Millis
    ) -> None:
        if conversation_id != "no id":
            stay = Stay(client_id, device, conversation_id, left_at, missed_from)
            self.compare(lambda part: part.save_stay(stay))

    @rule(client_id=clients, device=st.sampled_from(["", "d"]))
    def forget_stay(self, client_id: str, device: str) -> None:
        self.compare(lambda part: part.forget_stay(client_id, device))

    @rule(at=moments, valid_for=st.sampled_from([500, DAY + 500]), body=st.binary(max_size=3))
    def save_broadcast(self, at: Millis, valid_for: int, body: bytes) -> None:
        self.compare(lambda part: part.save_broadcast(broadcast(at, at + valid_for, body)))

    @rule(at=moments)
    def delete_broadcast(self, at: Millis) -> None:
        self.compare(lambda part: part.delete_broadcast(broadcast(at).message.id))

    @rule(name=st.sampled_from(["d", "de"]), content=st.none() | st.binary(max_size=3))
    def save_document(self, name: str, content: bytes | None) -> None:
        self.compare(lambda part: part.save_document(name, content))

    @rule(name=st.sampled_from(["d", "de"]))
    def find_document(self, name: str) -> None:
        self.compare(lambda part: part.find_document(name))

    @rule(client_id=clients, upto=moments)
    def saw_broadcasts(self, client_id: str, upto: Millis) -> None:
        self.compare(lambda part: part.saw_broadcasts(client_id, upto))

    @rule(client_id=clients, token=st.sampled_from("xy"), expires_at=moments, now=moments)
    def log_in(self, client_id: str, token: str, expires_at: Millis, now: Millis) -> None:
        self.compare(lambda part: part.log_in(client_id, token, Grant("", "", 0, expires_at), now))
        day = now // DAY
        users = [self.run(store.of(self.applications[0]).count_users(day)) for store in (self.memory, self.lmdb)]
        assert users[0] == users[1]

    @rule(
        log_ids=st.lists(logs, unique=True, max_size=3),
        message=drafts,
        now=moments,
        offline=groups,
        together=st.booleans(),
    )
    def append_with_job(
        self, log_ids: list[str], message: Any, now: Millis, offline: list[str], together: bool
    ) -> None:
        given = job("", *offline)
        if together:
            self.compare(lambda part: part.append_each(log_ids, message, now, push=given))
        else:
            self.compare(*[appending(log_id, message, now, given) for log_id in log_ids])

    @rule(
        wanted=st.lists(notifications, max_size=6), badges=st.dictionaries(st.sampled_from("ab"), st.integers(0, 3)),
        now=moments, reached=clients, done=st.booleans(),
    )  # fmt: skip
    def queue_pushes(
        self, wanted: list[Notification], badges: dict[str, int], now: Millis, reached: str, done: bool
    ) -> None:
        given = {letter * 24: badge for letter, badge in badges.items()}
        for store in (self.memory, self.lmdb):
            part = store.of(self.applications[0])
            jobs = self.run(part.push_jobs(1_000)) or [job("none")]
            first = min(jobs, key=lambda one: repr(alike(one)))  # chance orders those of one moment
            first = replace(first, reached=reached)
            self.run(waited(part.queue_pushes(first, wanted, given, now, done=done)))

    @rule(device=targets, message_id=message_ids, now=moments)
    def settle_any_push(self, device: str, message_id: str, now: Millis) -> None:
        push = DuePush(T0, 0, notification(device, message_id))
        self.compare(lambda part: part.settle_push(push, now))

    @rule(
        now=moments,
        limit=limits,
        besides=st.lists(targets, max_size=2),
        later=st.lists(st.tuples(moments, st.booleans()), max_size=2),
    )
    def push(self, now: Millis, limit: int, besides: list[str], later: list[tuple[Millis, bool]]) -> None:
        """What is due is tried in vain some times, or settled, each step twice."""
        memory, lmdb = (
            self.run(store.of(self.applications[0]).due_pushes(now, limit, besides))
            for store in (self.memory, self.lmdb)
        )
        assert [push.due for push in lmdb] == [push.due for push in memory]  # those of one moment come in any order
        for push in memory:
            steps = [postponing(push, *one) for one in later] or [settling(push, now)]
            self.compare(*steps, *steps)

    @rule(device=targets)
    def drop_pushes(self, device: str) -> None:
        drop: Write = lambda part: part.drop_pushes(device)  # noqa: E731
        self.compare(drop, drop)

    @rule(letter=st.sampled_from("ab"), wanted=installations)
    def change_installation(self, letter: str, wanted: Installation | None) -> None:
        becomes = None if wanted is None else replace(wanted, id=letter * 24)
        self.compare(lambda part: part.change_installation(letter * 24, lambda before: becomes))

    @rule(now=moments, later=st.integers(0, 10), history=spans_of_time, idle=spans_of_time, kept=spans_of_time)
    def retire(self, now: Millis, later: int, history: Millis, idle: Millis, kept: Millis) -> None:
        rules, moment = Retention(history, idle, kept), now + later * DAY
        part = self.memory.of(self.applications[0])
        before = {one.id for one in self.run(listed(part))}
        for store in (self.memory, self.lmdb):
            self.run(retire(store.of(self.applications[0]), moment, rules))
        self.deleted |= before - {one.id for one in self.run(listed(part))}

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
        for store in (self.memory, self.lmdb):  # how many records go differs: tokens may be left of what was retired
            while self.run(waited(store.sweep(Millis(now + later * DAY)))):
                pass

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
            "scan": await listed(part),
            "conversations": [await part.find_conversation(one) for one in IDS],
            "heads": [alike(await part.find_head(one)) for one in LOGS],
            "messages": [alike(await part.history(one, Span(limit=1_000))) for one in LOGS],
            "places": [alike(await part.messages_from(one, 0, 1_000)) for one in LOGS],
            "patches": [alike(await part.patches_since(one, Millis(0), 1_000)) for one in LOGS],
            "members": [[await part.find_membership(one, client) for client in CLIENTS] for one in LOGS],
            "joined": [
                alike(sorted(await part.joined_conversations(client), key=lambda joined: joined.conversation_id))
                for client in CLIENTS
            ],
            "standings": [list((await part.standings(one)).items()) for one in IDS],
            "standing": [await part.find_standing(one, client) for one in IDS for client in CLIENTS],
            "subscriptions": [await part.subscriptions(one, "", 100) for one in IDS],
            "subscribed": [await part.count_subscriptions(one) for one in IDS],
            "refused": [await part.refused_conversations(client) for client in CLIENTS],
            "notices": [alike(await part.notices_for(client, Millis(0), 1_000)) for client in CLIENTS],
            "wills": sorted(map(repr, await part.wills())),
            "will": [await part.find_will(client) for client in CLIENTS],
            "stays": sorted(map(repr, await part.stays())),
            "stay": [await part.find_stay(client, device) for client in CLIENTS for device in ("", "d")],
            "broadcasts": [await part.broadcasts(), await part.broadcasts(T0)],
            "ids": [sorted(await part.conversation_ids_of(client)) for client in CLIENTS],
            "grants": [await part.find_grant(client, token) for client in CLIENTS for token in "xy"],
            "jobs": sorted(repr(alike(one)) for one in await part.push_jobs(1_000)),
            "pushes": sorted(map(repr, await part.due_pushes(Millis(T0 + WEEK), 1_000))),
            "next push": await part.next_push_due(),
            "waiting": await part.count_pushes(),
            "installations": [one async for one in part.scan_installations()],
            "installation": [await part.find_installation(letter * 24) for letter in "ab"],
            "devices": [await part.find_device(name) for name in ("", "m", "n")],
            "channels": [await part.installations_of(channel) for channel in "cd"],
            "kicks": [await part.find_kick(client) for client in CLIENTS],
        }

    def teardown(self) -> None:
        assert self.run(listed(self.lmdb.of(self.applications[1]))) == []
        self.run(self.lmdb.close())
        self.runner.close()
        assert verify(self.path).problems == ()
        shutil.rmtree(self.path)


async def listed(part: ApplicationStore) -> list[Conversation]:
    return [one async for one in part.scan_conversations()]


def appending(log_id: str, message: Any, now: Millis, push: Job) -> Write:
    return lambda part: part.append(log_id, message, now, push=push)


def settling(push: DuePush, now: Millis) -> Write:
    return lambda part: part.settle_push(push, now)


def postponing(push: DuePush, due: Millis, tried: bool) -> Write:
    return lambda part: part.postpone_push(push, due, tried=tried)


async def ended(write: Awaitable[Any]) -> Any:
    """What ``write`` ended with: a result or an error."""
    (end,) = await settle(write)
    return end


async def waited(write: Awaitable[Any]) -> Any:
    return await write


# Making a failure small takes longer than a test may.
TestStoresAgree = pytest.mark.slow(pytest.mark.timeout(600)(StoresAgree.TestCase))
