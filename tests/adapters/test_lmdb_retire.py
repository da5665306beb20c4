import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from msgspec.structs import replace

from fastim.adapters.lmdb import LmdbStore
from fastim.adapters.lmdb.batch import Batch
from fastim.adapters.lmdb.changes.notices import PreparedNotice, put_notices
from fastim.adapters.lmdb.environment import Environment
from fastim.adapters.lmdb.keys import application_key, client_owner, conversation_owner, moment_key
from fastim.adapters.lmdb.page import NoticePage
from fastim.adapters.lmdb.records import encode_json
from fastim.adapters.lmdb.turns import SLICE_SECONDS
from fastim.adapters.lmdb.verify import verify
from fastim.core.conversation import Kind
from fastim.core.errors import MessageNotFound
from fastim.core.ids import AppNumber, personal_log
from fastim.core.message import Message, Position, Span
from fastim.core.retention import Retention
from fastim.core.session import Grant
from fastim.core.standing import Standing
from fastim.core.units import Millis
from fastim.core.unread import Unread, unread
from fastim.ports.store import ApplicationStore, DuePush, Stay, Waiting
from tests.adapters.engines import (
    CONVERSATION,
    DAY,
    OTHER,
    T0,
    broadcast,
    conversation,
    draft,
    fill,
    install,
    installation,
    job,
    notice,
    notification,
    opened,
    retire,
    service,
    settle,
    will,
)

pytestmark = pytest.mark.anyio

HOUR = 3_600_000
LATER = Millis(T0 + DAY)
ALL = Retention(history=Millis(1), idle=Millis(1), notices=Millis(1))
STEP_MAX = 1_000


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data"


async def fill_service(part: ApplicationStore, clients: list[str]) -> None:
    """A service conversation with something of everything that hangs on one."""
    made = await part.create_conversation(service())
    given = {client: Standing(silenced=True) for client in clients}
    await part.change_conversation(made, joined=clients, standings=given, notices=[notice(None, T0)] * 3)
    for log_id in (CONVERSATION, *(personal_log(CONVERSATION, client) for client in clients)):
        sent = [part.append(log_id, draft("office", token=str(number)), T0, urgent=True) for number in range(4)]
        message = (await settle(*sent))[0].message
        await part.patch_message(log_id, message, T0)


def interrupted(store: LmdbStore, seen: list[int], write: Callable[[], Awaitable[Any]]) -> Callable[[Message], bool]:
    """A condition that takes longer than a slice and notes what it sees; with the first message, ``write`` is done."""
    writes: list[Awaitable[Any]] = []

    def wanted(message: Message) -> bool:
        if not writes:
            commits = store.statistics.commits
            writes.append(write())
            store._writer.hand_over()  # the loop does not come round before this is over
            while store.statistics.commits == commits:
                sleep(0.0001)  # the writer has a thread of its own
        sleep(SLICE_SECONDS)
        seen.append(message.sequence)
        return True

    return wanted


class TestDeletedConversations:
    @pytest.mark.slow
    async def test_the_server_may_end_after_any_step(self, path: Path) -> None:
        async with opened(path) as (_, part):
            await fill_service(part, [f"client {number}" for number in range(150)])
            await part.create_conversation(conversation(OTHER, *[f"client {number}" for number in range(700)]))
            await fill(part, "ab" * 300, OTHER)
            kept = conversation(f"{1:024x}", "client 1", unique_key="k")
            await part.create_conversation(kept)
            assert await part.delete_conversation(CONVERSATION)
            assert await part.delete_conversation(OTHER)
        steps: list[int] = []
        while steps[-1:] != [0]:
            assert verify(path).problems == ()
            async with opened(path) as (_, part):
                steps.append(await part.retire(Retention(), T0))
                assert await part.conversation_ids_of("client 1") == [kept.id]
                assert await part.find_conversation(kept.id) == kept
        assert len(steps) > 4
        assert max(steps) < STEP_MAX
        assert left(path) == {"conversations": 1, "heads": 1, "memberships": 1, "uniques": 1}

    async def test_nothing_of_one_is_left(self, path: Path) -> None:
        async with opened(path) as (_, part):
            await fill_service(part, ["ann", "ben"])
            await part.delete_conversation(CONVERSATION)
            await retire(part, T0)
        assert verify(path).problems == ()
        assert left(path) == {}

    async def test_one_with_the_same_digits_keeps_what_is_its_own(self, path: Path) -> None:
        async with opened(path) as (_, part):
            await fill_service(part, ["ann"])
            await part.create_conversation(conversation("_tmp:" + CONVERSATION, "ann", kind=Kind.TEMPORARY))
            await fill(part, "aaa", "_tmp:" + CONVERSATION)
            await part.delete_conversation("_tmp:" + CONVERSATION)
            await retire(part, T0)
            assert len(await part.history(personal_log(CONVERSATION, "ann"), Span())) == 4
            assert len(await part.joined_conversations("ann")) == 2
        assert verify(path).problems == ()

    async def test_who_brings_the_id_back_begins_anew(self, path: Path) -> None:
        async with opened(path) as (_, part):
            await fill_service(part, ["ann", "ben"])
            await part.delete_conversation(CONVERSATION)
            made = replace(conversation(CONVERSATION, "ann"), created_at=LATER)
            assert await part.create_conversation(made) == made
            assert await part.find_conversation(CONVERSATION) == made
            assert await part.history(CONVERSATION, Span()) == []
            assert await part.standings(CONVERSATION) == {}
            assert (await part.append(CONVERSATION, draft("office", token="1"), LATER)).fresh
            await retire(part, T0)
            assert len(await part.history(CONVERSATION, Span())) == 1
        assert verify(path).problems == ()

    async def test_what_was_written_in_the_same_commit_goes_too(self, path: Path) -> None:
        async with opened(path) as (store, part):
            await part.create_conversation(service())
            commits = store.statistics.commits
            ends = await settle(
                part.create_conversation(conversation(OTHER)),
                *[part.append(personal_log(CONVERSATION, f"client {number}"), draft(), T0) for number in range(5)],
                part.delete_conversation(CONVERSATION),
                part.retire(Retention(), T0),
            )
            assert store.statistics.commits <= commits + 2
            assert [type(end) for end in ends[6:]] == [bool, int]
            await retire(part, T0)
        assert verify(path).problems == ()
        assert left(path) == {"conversations": 1, "heads": 1}

    async def test_none_is_remembered_by_readers(self, path: Path) -> None:
        async with opened(path) as (_, part):
            ids = [CONVERSATION, OTHER, "_tmp:" + OTHER]
            await part.create_conversation(conversation(ids[0]))
            await part.create_conversation(conversation(ids[1]))
            await part.create_conversation(conversation(ids[2], kind=Kind.TEMPORARY, ttl_seconds=60))
            assert None not in [await part.find_conversation(one) for one in ids]
            await part.delete_conversation(ids[0])
            await retire(part, T0 + 60_000)
            assert [await part.find_conversation(one) is None for one in ids] == [True, False, True]
            await retire(part, LATER, ALL)
            assert await part.find_conversation(ids[1]) is None


def left(path: Path) -> dict[str, int]:
    """What the store holds of conversations, but for what is swept by the hour."""
    aside = {"meta", "applications", "token_hours", "last_patches"}
    return {name: count for name, count in verify(path).counts.items() if count and name not in aside}


class TestDroppedPushes:
    async def test_many_are_dropped_at_once_and_taken_away_in_steps(self, path: Path) -> None:
        async with opened(path) as (store, part):
            made = [notification("phone", str(number)) for number in range(1_200)]
            await part.queue_pushes(job(), [*made, notification("tablet", "1")], {}, T0, done=False)
            commits = store.statistics.commits
            assert await part.drop_pushes("phone") == 1_200
            assert store.statistics.commits == commits + 1
            await part.queue_pushes(job(), made[:2], {}, T0, done=False)
        steps: list[int] = []
        while steps[-1:] != [0]:
            assert verify(path).problems == ()
            async with opened(path) as (_, part):
                steps.append(await part.retire(Retention(), T0))
                assert await part.count_pushes() == Waiting(0, 2, 3)
                assert len(await part.due_pushes(T0, 9)) == 2
        assert len(steps) > 4
        assert max(steps) < STEP_MAX
        assert left(path) == {
            "push_targets": 2, "push_queues": 3, "push_messages": 3, "push_dues": 2, "push_counts": 1
        }  # fmt: skip


class TestRounds:
    @pytest.mark.slow
    async def test_one_looks_at_everything_once(self, path: Path) -> None:
        async with opened(path) as (_, part):
            ids = [f"{number:024x}" for number in range(1_200)]
            await settle(*[part.create_conversation(conversation(one)) for one in ids])
            week = Millis(7 * DAY)
            steps = await retire(part, T0 + 1, Retention(week, week, week))
            assert sum(steps) == 2 * 1_200  # for being idle, and for old messages
            assert max(steps) < STEP_MAX
            assert await retire(part, T0 + 1) == [0]

    async def test_looking_writes_nothing(self, path: Path) -> None:
        async with opened(path) as (_, part):
            await fill_service(part, ["ann"])
            await part.save_broadcast(broadcast(T0))
            await part.save_stay(Stay("ann", "phone", CONVERSATION))
            before = (path / "data.mdb").read_bytes()
            assert len(await retire(part, T0, Retention(Millis(DAY), Millis(DAY), Millis(DAY)))) > 1
            assert (path / "data.mdb").read_bytes() == before

    async def test_applications_have_their_own(self, path: Path) -> None:
        async with opened(path) as (store, part):
            other = store.of(await store.save_application("other", "k", "m", "h"))
            for one in (part, other):
                await one.create_conversation(conversation(CONVERSATION, "ann"))
                await fill(one, "aaa")
                await one.add_notices([notice("ann", T0), notice(None, T0)])
            await retire(part, LATER, Retention(history=Millis(1), notices=Millis(1)))
            assert await part.history(CONVERSATION, Span()) == []
            assert len(await other.history(CONVERSATION, Span())) == 3
            assert len((await other.notices_for("ann", Millis(0), 9))[0]) == 2
            await retire(part, LATER, ALL)
            assert await part.find_conversation(CONVERSATION) is None
            assert await other.find_conversation(CONVERSATION) is not None
        assert verify(path).problems == ()

    @pytest.mark.slow
    async def test_the_server_may_end_after_any_step(self, path: Path) -> None:
        async with opened(path) as (_, part):
            await part.create_conversation(conversation(CONVERSATION, "a", "b"))
            await fill(part, "abb" * 400)
            await part.add_notices([notice("a", T0 + number) for number in range(1_200)])
        rules = Retention(history=Millis(DAY), notices=Millis(DAY))
        steps: list[int] = []
        while not steps or steps[-1] > 1:  # each begins a round anew, and looks at the one conversation
            assert len(steps) < 20
            async with opened(path) as (_, part):
                steps.append(await part.retire(rules, Millis(LATER + 1_000)))
            assert verify(path).problems == ()
            async with opened(path) as (_, part):
                head = await part.find_head(CONVERSATION)
                kept = await part.history(CONVERSATION, Span(limit=5_000))
                assert [one.sequence for one in kept] == list(range(head.first, 1_201))
                membership = await part.find_membership(CONVERSATION, "a")
                assert membership is not None
                assert unread(head, membership, "a") == Unread(sum(one.sender == "b" for one in kept), False)
        assert len(steps) > 4
        assert max(steps) < STEP_MAX


class TestMessagesThatGo:
    @pytest.mark.parametrize(("newest_first", "expected"), [(True, [8, 7, 6]), (False, [1, 6, 7, 8])])
    async def test_whoever_is_reading_them_gets_what_is_left(
        self, path: Path, newest_first: bool, expected: list[int]
    ) -> None:
        async with opened(path) as (store, part):
            await part.create_conversation(conversation(CONVERSATION))
            await fill(part, "aaaaaaaa")
            rules = Retention(history=Millis(DAY))
            seen: list[int] = []
            wanted = interrupted(store, seen, lambda: part.retire(rules, Millis(LATER + 5)))
            found = await part.history(CONVERSATION, Span(newest_first=newest_first), wanted)
            assert seen == expected
            assert [message.sequence for message in found] == sorted(seen)

    @pytest.mark.parametrize(("newest_first", "expected"), [(True, [8]), (False, [1])])
    async def test_whoever_reads_a_conversation_that_goes_comes_to_an_end(
        self, path: Path, newest_first: bool, expected: list[int]
    ) -> None:
        async with opened(path) as (store, part):
            await part.create_conversation(conversation(CONVERSATION, "ann"))
            await fill(part, "aaaaaaaa")
            seen: list[int] = []
            wanted = interrupted(store, seen, lambda: part.delete_conversation(CONVERSATION))
            found = await part.history(CONVERSATION, Span(newest_first=newest_first), wanted)
            assert [message.sequence for message in found] == seen == expected

    @pytest.mark.slow
    @pytest.mark.parametrize("upto", [100, 4_500, 5_999])
    async def test_a_long_way_to_read_is_counted_right_all_the_same(self, path: Path, upto: int) -> None:
        async with opened(path) as (_, part):
            await part.create_conversation(conversation(CONVERSATION, "a", "b"))
            senders = "abb" * 2_000
            await fill(part, senders)
            reading = part.mark_read(CONVERSATION, "b", Position(Millis(T0 + upto - 1)), T0)
            steps = [part.retire(Retention(history=Millis(DAY)), Millis(LATER + 3_000)) for _ in range(9)]
            await settle(reading, *steps)
            head = await part.find_head(CONVERSATION)
            assert head.first == 3_001
            for client in "ab":
                membership = await part.find_membership(CONVERSATION, client)
                assert membership is not None
                read = max(membership.read, 3_000)
                others = sum(one != client for one in senders[read:])
                assert unread(head, membership, client) == Unread(others, False)
        assert verify(path).problems == ()

    async def test_a_token_goes_with_its_message_and_is_good_again(self, path: Path) -> None:
        async with opened(path, tokens_kept=Millis(DAY)) as (store, part):
            await part.create_conversation(conversation(CONVERSATION))
            await part.append(CONVERSATION, draft(token="t"), T0)
            await retire(part, T0 + 2 * HOUR, Retention(history=Millis(HOUR)))
            again = await part.append(CONVERSATION, draft(token="t"), Millis(T0 + 2 * HOUR))
            assert (again.fresh, again.message.sequence) == (True, 2)
            assert await store.sweep(Millis(T0 + DAY + 2 * HOUR - 1)) == 0  # of the first one's hour nothing is left
            assert not (await part.append(CONVERSATION, draft(token="t"), Millis(T0 + 3 * HOUR))).fresh
            await store.close()
            assert verify(path).problems == ()

    async def test_none_that_went_can_be_changed(self, path: Path) -> None:
        async with opened(path) as (_, part):
            await part.create_conversation(conversation(CONVERSATION))
            await fill(part, "aa")
            old, young = await part.history(CONVERSATION, Span())
            await part.patch_message(CONVERSATION, old, T0)
            await retire(part, LATER + 1, Retention(history=Millis(DAY)))
            assert await part.patches_since(CONVERSATION, Millis(0), 9) == []
            assert not await part.delete_message(CONVERSATION, old.position)
            with pytest.raises(MessageNotFound):
                await part.patch_message(CONVERSATION, old, T0)
            assert await part.history(CONVERSATION, Span()) == [young]
        assert verify(path).problems == ()


class TestNotices:
    @pytest.mark.slow
    async def test_others_run_while_those_of_many_conversations_are_gathered(self, path: Path) -> None:
        async with opened(path) as (_, part):
            ids = [f"{number:024x}" for number in range(3_000)]
            await settle(*[part.create_conversation(conversation(one, "ann")) for one in ids])
            given = [notice(None, T0 + (7 * number) % 3_000, one) for number, one in enumerate(ids)]
            await part.add_notices(given)
            reading = asyncio.create_task(part.notices_for("ann", Millis(T0 - 1), 500))
            turns = 0
            while not reading.done():
                turns += 1
                await asyncio.sleep(0)
            found, more = await reading
            assert turns > 2
            assert more
            assert [one.at - T0 for one in found] == list(range(500))

    def test_what_comes_meanwhile_is_left_to_the_next_page(self, path: Path) -> None:
        """Else a page could reach past a notice that was not there yet when its conversation was looked at."""
        path.mkdir()
        environment, batch, number = Environment(path, 1 << 20), Batch(), AppNumber(1)
        ann, first, second = client_owner(b"\0\3ann"), conversation_owner(b"1" * 13), conversation_owner(b"2" * 13)

        def add(owner: bytes, at: int) -> None:
            record = encode_json(notice("ann", at).notice)
            batch.begin(environment)
            put_notices([PreparedNotice(application_key(number) + owner, moment_key(at), record)], batch)
            batch.commit()

        def page(since: int, *meanwhile: tuple[bytes, int]) -> tuple[list[int], bool]:
            gathered = NoticePage(number, Millis(since), 500)
            with environment.reading() as transaction:
                gathered.begin(transaction, environment.tables, ann)
                gathered.gather(transaction, environment.tables, first, Millis(0))
            for owner, at in meanwhile:
                add(owner, at)
            with environment.reading() as transaction:
                gathered.gather(transaction, environment.tables, second, Millis(0))
            found, more = gathered.finish()
            return [one.at for one in found], more

        add(second, 5)
        assert page(0, (first, 6), (second, 7)) == ([5], True)
        assert page(5) == ([6, 7], False)
        environment.close()


Write = Callable[[ApplicationStore, list[Message]], Awaitable[Any]]

WRITES: dict[str, Write] = {
    "create": lambda part, _: part.create_conversation(conversation(OTHER, "ann", unique_key="k"), [notice("ann", T0)]),
    "change": lambda part, _: part.change_conversation(
        service(), joined=["ann", "ben"], standings={"ann": Standing(silenced=True)}, notices=[notice("ann", T0)]
    ),
    "delete": lambda part, _: part.delete_conversation(CONVERSATION),
    "append": lambda part, _: part.append(CONVERSATION, draft(token="t", mentions=("ann",)), T0),
    "append to a personal log": lambda part, _: part.append(personal_log(CONVERSATION, "ann"), draft(token="t"), T0),
    "append with a job": lambda part, _: part.append(CONVERSATION, draft(), T0, push=job("", "ann")),
    "append each with a job": lambda part, _: part.append_each(
        [CONVERSATION, personal_log(CONVERSATION, "ann")], draft(), T0, push=job("", "ann")
    ),
    "queue pushes": lambda part, _: part.queue_pushes(
        job(), [notification(one, "2") for one in ("phone", "tablet")], {"a" * 24: 7}, T0, done=True
    ),
    "settle a push": lambda part, _: part.settle_push(DuePush(T0, 0, notification("phone", "1")), T0),
    "postpone a push": lambda part, _: part.postpone_push(DuePush(T0, 0, notification("phone", "1")), LATER),
    "drop pushes": lambda part, _: part.drop_pushes("phone"),
    "change an installation": lambda part, _: part.change_installation("a" * 24, lambda before: None),
    "patch": lambda part, messages: part.patch_message(CONVERSATION, replace(messages[0], body=b"new"), T0),
    "delete a message": lambda part, messages: part.delete_message(CONVERSATION, messages[0].position),
    "acknowledge": lambda part, messages: part.acknowledge(CONVERSATION, "zoe", messages[0].position, T0),
    "read": lambda part, _: part.mark_read(CONVERSATION, "zoe", None, T0),
    "refuse": lambda part, _: part.refuse_conversations("ann", [CONVERSATION, OTHER], True, T0),
    "add notices": lambda part, _: part.add_notices([notice("ann", T0), notice(None, T0)]),
    "save a will": lambda part, _: part.save_will(will("ann")),
    "take a will": lambda part, _: part.take_will("zoe", None),
    "save a stay": lambda part, _: part.save_stay(Stay("ann", "phone", CONVERSATION)),
    "forget a stay": lambda part, _: part.forget_stay("zoe", "phone"),
    "save a broadcast": lambda part, _: part.save_broadcast(broadcast(T0, body=b"new")),
    "delete a broadcast": lambda part, _: part.delete_broadcast(broadcast(T0).message.id),
    "see broadcasts": lambda part, _: part.saw_broadcasts("ann", T0),
    "log in": lambda part, _: part.log_in("ann", "t", Grant("", "", 0, T0), T0),
    "retire": lambda part, _: part.retire(ALL, Millis(LATER + DAY)),
}


@pytest.mark.parametrize("name", WRITES)
async def test_every_write_is_one_transaction(path: Path, name: str) -> None:
    async with opened(path) as (store, part):
        await part.create_conversation(service())
        await part.change_conversation(service(), joined=["zoe"])
        await fill(part, "aaa")
        await part.save_will(will("zoe"))
        await part.save_stay(Stay("zoe", "phone", CONVERSATION, left_at=T0))
        await part.save_broadcast(broadcast(T0))
        await part.queue_pushes(job(), [notification("phone", "1")], {}, T0, done=False)
        await install(part, installation("a", token="t", channels=("zoe",)))
        messages = await part.history(CONVERSATION, Span())
        commits, records = store.statistics.commits, store.statistics.records
        before = (path / "data.mdb").read_bytes()
        await WRITES[name](part, messages)
        assert (store.statistics.commits, store.statistics.records) == (commits + 1, records + 1)
        assert (path / "data.mdb").read_bytes() != before
    assert verify(path).problems == ()
