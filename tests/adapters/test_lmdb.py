# ruff: noqa: ASYNC240 - nobody else runs on a test's loop

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import lmdb
import pytest

from fastim.adapters.lmdb import LmdbStore
from fastim.adapters.lmdb.records import FORMAT, encode_packed
from fastim.adapters.lmdb.tables import Tables
from fastim.adapters.lmdb.turns import CROWD, CROWDED_SLICE_SECONDS, SLICE_SECONDS
from fastim.adapters.lmdb.verify import verify
from fastim.core.errors import ConversationNotFound, SettingsError
from fastim.core.message import Message, Span
from fastim.core.session import Grant
from fastim.core.units import Millis
from fastim.ports.store import ApplicationStore
from tests.adapters.engines import (
    CONVERSATION,
    OTHER,
    T0,
    application,
    conversation,
    draft,
    fill,
    install,
    installation,
    job,
    notification,
    opened,
    settle,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data"


def edit(path: Path, table: str, change: Callable[[lmdb.Transaction, lmdb._Database], object]) -> None:
    """Change a closed store behind its back."""
    with lmdb.open(str(path), max_dbs=20) as environment:
        handle = environment.open_db(table.encode())
        with environment.begin(write=True) as transaction:
            change(transaction, handle)


@contextmanager
def unprivileged() -> Iterator[None]:
    """As somebody whom permissions bind, also when the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


async def refused(path: Path) -> str:
    """What the start says of the directory: one line that names it."""
    with pytest.raises(SettingsError) as raised:
        LmdbStore.open(path)
    text = str(raised.value)
    assert str(path) in text
    assert "\n" not in text
    return text


class TestReopening:
    async def test_everything_acked_is_there_again(self, path: Path) -> None:
        async with opened(path) as (store, part):
            made = await part.create_conversation(conversation(CONVERSATION, "a", "b", unique_key="k"))
            await fill(part, "aab")
            await part.append(CONVERSATION, draft("a", mentions=("b",), mention_all=True), T0)
            await part.mark_read(CONVERSATION, "a", None, T0)
            await part.save_grant("a", "t", Grant("tag", "device", 3, T0))
            await part.kick("b", T0)
            await part.use_once("signature", T0)
            applications = await store.applications()
            before = await everything(part)
        async with opened(path) as (store, part):
            assert await store.applications() == applications
            assert await part.find_conversation(CONVERSATION) == made
            assert await everything(part) == before

    async def test_a_resend_after_a_restart_is_the_same_message(self, path: Path) -> None:
        async with opened(path) as (_, part):
            await part.create_conversation(conversation())
            first = await part.append(CONVERSATION, draft(token="t"), T0)
        async with opened(path) as (_, part):
            again = await part.append(CONVERSATION, draft(token="t"), Millis(T0 + 100))
            assert (again.message, again.fresh) == (first.message, False)
            other = await part.append(CONVERSATION, draft(token="u"), Millis(0))
            assert (other.message.sequence, other.message.timestamp) == (2, T0 + 1)

    async def test_what_was_queued_at_the_close_is_there(self, path: Path) -> None:
        store = LmdbStore.open(path)
        part = await application(store)
        await part.create_conversation(conversation())
        writes = [part.append(CONVERSATION, draft(), T0) for _ in range(2_500)]
        await store.close()
        assert all(write.done() for write in writes if isinstance(write, asyncio.Future))
        async with opened(path) as (_, part):
            assert (await part.find_head(CONVERSATION)).sequence == 2_500
            await settle(*writes)

    async def test_another_time_to_keep_tokens_forgets_none_early(self, path: Path) -> None:
        hour = 3_600_000
        async with opened(path, tokens_kept=Millis(hour)) as (store, part):
            await part.create_conversation(conversation())
            await part.append(CONVERSATION, draft(token="t"), T0)
        async with opened(path, tokens_kept=Millis(50 * hour)) as (store, part):
            assert await store.sweep(Millis(T0 + 49 * hour)) == 0
            assert not (await part.append(CONVERSATION, draft(token="t"), T0)).fresh
        async with opened(path, tokens_kept=Millis(hour)) as (store, part):
            assert await store.sweep(Millis(T0 + 3 * hour)) == 1
            assert (await part.append(CONVERSATION, draft(token="t"), T0)).fresh

    async def test_a_number_of_an_application_is_not_given_twice(self, path: Path) -> None:
        async with opened(path) as (store, _):
            first = await store.save_application("first", "k", "m", "h")
        async with opened(path) as (store, _):
            second = await store.save_application("second", "k", "m", "h")
        assert second.number > first.number


async def everything(part: ApplicationStore) -> list[object]:
    return [
        await part.history(CONVERSATION, Span(limit=1_000)),
        await part.find_head(CONVERSATION),
        await part.find_membership(CONVERSATION, "a"),
        await part.joined_conversations("b"),
        await part.find_grant("a", "t"),
        await part.find_kick("b"),
        await part.use_once("signature", T0),
        await part.create_conversation(conversation(OTHER, unique_key="k")),
    ]


class TestWriting:
    async def test_what_queues_together_is_committed_together(self, path: Path) -> None:
        async with opened(path) as (store, part):
            await part.create_conversation(conversation())
            commits, records = store.statistics.commits, store.statistics.records
            writes = [part.append(CONVERSATION, draft(), T0) for _ in range(3_000)]
            assert store.statistics.queued > 0
            await settle(*writes)
            assert store.statistics.records == records + 3_000
            assert store.statistics.commits - commits <= 10
            assert sum(store.statistics.commit_seconds_counts) == store.statistics.commits
            assert 0 < store.statistics.last_commit_seconds < store.statistics.commit_seconds
            assert store.statistics.queued == store.statistics.failures == 0

    async def test_what_one_turn_of_the_loop_brings_is_one_commit(self, path: Path) -> None:
        async with opened(path) as (store, part):
            await part.create_conversation(conversation())
            for _ in range(20):
                commits = store.statistics.commits
                await settle(*[part.append(CONVERSATION, draft(), T0) for _ in range(50)])
                assert store.statistics.commits == commits + 1

    async def test_so_many_that_they_take_several_commits_keep_their_order(self, path: Path) -> None:
        async with opened(path) as (store, part):
            await part.create_conversation(conversation())
            commits = store.statistics.commits
            writes = [part.append(CONVERSATION, draft(), T0) for _ in range(2_500)]
            assert [(await one).message.sequence for one in writes] == list(range(1, 2_501))
            assert store.statistics.commits > commits + 1

    async def test_awaiters_go_on_in_the_order_of_the_calls(self, path: Path) -> None:
        async with opened(path) as (_, part):
            await part.create_conversation(conversation())
            ended: list[int] = []

            async def send(number: int) -> None:
                targets = [CONVERSATION, OTHER, "no id", CONVERSATION]
                with suppress(ConversationNotFound):
                    await part.append(targets[number % 4], draft(token=str(number % 8)), T0)
                ended.append(number)

            await asyncio.gather(*map(send, range(2_500)))
            assert ended == list(range(2_500))

    async def test_a_write_nobody_waits_for_any_more_is_still_done(self, path: Path) -> None:
        async with opened(path) as (_, part):
            await part.create_conversation(conversation())

            async def send(text: bytes) -> None:
                await part.append(CONVERSATION, draft(body=text), T0)

            tasks = [asyncio.create_task(send(b"%d" % number)) for number in range(10)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert [isinstance(end, asyncio.CancelledError) for end in ends] == [True, False] * 5
            bodies = [message.body for message in await part.history(CONVERSATION, Span())]
            assert bodies == [b"%d" % number for number in range(10)]

    async def test_a_write_that_breaks_half_way_is_undone_alone(self, path: Path) -> None:
        async with opened(path) as (_, part):
            await part.create_conversation(conversation(CONVERSATION, "ann"))
            sound = [part.append(CONVERSATION, draft(body=b"1", token="s"), T0)]
            broken = part.append(CONVERSATION, draft(body=b"no", token="t"), Millis(1 << 60))
            sound += [part.append(CONVERSATION, draft(body=text, token="t"), T0) for text in (b"2", b"3")]
            appended = [await write for write in sound]
            with pytest.raises(OverflowError):
                await broken
            assert [one.fresh for one in appended] == [True, True, False]
            found = await part.history(CONVERSATION, Span())
            assert [(message.sequence, message.body) for message in found] == [(1, b"1"), (2, b"2")]
        assert verify(path).problems == ()

    async def test_what_is_acked_is_on_disk(self, path: Path) -> None:
        """Another view of the same file sees it before the awaiter goes on."""
        async with opened(path) as (_, part):
            await part.create_conversation(conversation())
            for number in range(5):
                await part.append(CONVERSATION, draft(body=b"acked %d" % number), T0)
                assert b"acked %d" % number in (path / "data.mdb").read_bytes()

    async def test_only_a_hash_of_a_session_token_is_at_rest(self, path: Path) -> None:
        token = "c0ffee-session-token"
        async with opened(path) as (_, part):
            await part.save_grant("ann", token, Grant("the tag", "", 0, T0))
        raw = (path / "data.mdb").read_bytes()
        assert b"the tag" in raw
        assert hashlib.sha256(token.encode()).digest() in raw
        assert token.encode() not in raw

    async def test_no_key_holds_a_device_token_or_what_a_channel_or_a_target_is_called(self, path: Path) -> None:
        async with opened(path) as (_, part):
            await install(part, installation("a", token="said token", channels=("said channel",)))
            await part.queue_pushes(job(), [notification("said target", "said id")], {}, T0, done=False)
        keys: list[bytes] = []
        for table in Tables._fields:
            edit(
                path,
                table,
                lambda transaction, handle: keys.extend(map(bytes, transaction.cursor(handle).iternext(values=False))),
            )
        assert len(keys) > 8
        assert not [key for key in keys if b"said" in key]

    async def test_nobody_else_may_read_the_files(self, path: Path) -> None:
        async with opened(path):
            assert path.stat().st_mode & 0o077 == 0
            assert [one.stat().st_mode & 0o077 for one in path.iterdir()] == [0, 0, 0]


class TestLongReads:
    """A slice ends when its time is over: what outlasts it is a slice of its own, whatever the machine."""

    async def test_others_run_between_the_slices_of_a_history(self, path: Path) -> None:
        async with opened(path) as (_, part):
            await part.create_conversation(conversation())
            await fill(part, "a" * 10)
            found, turns = await turns_during(part.history(CONVERSATION, Span(), tedious()))
            assert found == []
            assert turns >= 9

    @pytest.mark.parametrize("newest_first", [True, False])
    async def test_a_history_in_slices_is_whole(self, path: Path, newest_first: bool) -> None:
        async with opened(path) as (_, part):
            await part.create_conversation(conversation())
            await fill(part, "abcab")
            seen: list[int] = []
            found = await part.history(CONVERSATION, Span(limit=3, newest_first=newest_first), tedious(seen, "ab"))
            assert seen == ([5, 4, 3, 2] if newest_first else [1, 2, 3, 4])
            assert [message.sequence for message in found] == ([2, 4, 5] if newest_first else [1, 2, 4])

    async def test_of_many_long_reads_one_reads_on_in_each_turn_of_the_loop(self, path: Path) -> None:
        async with opened(path) as (_, part):
            await part.create_conversation(conversation())
            await fill(part, "a" * 5)
            counting, turn = counted_turns()
            looks: list[tuple[int, int]] = []

            def look(reader: int) -> Callable[[Message], bool]:
                def note(message: Message) -> bool:
                    looks.append((turn(), reader))
                    spend(SLICE_SECONDS)
                    return False

                return note

            await asyncio.gather(*[part.history(CONVERSATION, Span(), look(reader)) for reader in range(12)])
            counting.cancel()
            begun = looks[:12]
            assert sorted(reader for _, reader in begun) == list(range(12))
            assert len({turn for turn, _ in looks[12:]}) == len(looks[12:]) == 48
            assert [reader for _, reader in looks[12:]] == [reader for _, reader in begun] * 4

    async def test_where_many_wait_a_long_read_begins_with_less(self, path: Path) -> None:
        async with opened(path) as (_, part):
            await part.create_conversation(conversation())
            await fill(part, "a" * 15)
            looks = [0] * 12

            def look(reader: int) -> Callable[[Message], bool]:
                def count(message: Message) -> bool:
                    looks[reader] += 1
                    spend(CROWDED_SLICE_SECONDS if reader >= CROWD else SLICE_SECONDS)
                    return False

                return count

            reads = [asyncio.create_task(part.history(CONVERSATION, Span(), look(reader))) for reader in range(12)]
            await asyncio.sleep(0)
            assert looks == [1] * 12
            await asyncio.gather(*reads)
            assert looks == [15] * 12

    async def test_a_short_read_does_not_wait_for_long_ones(self, path: Path) -> None:
        async with opened(path) as (_, part):
            await part.create_conversation(conversation())
            await fill(part, "a" * 5)
            reads = [asyncio.create_task(part.history(CONVERSATION, Span(), tedious())) for _ in range(12)]
            await asyncio.sleep(0)
            assert await turns_during(part.find_head(CONVERSATION)) == (await part.find_head(CONVERSATION), 0)
            _, turns = await turns_during(part.history(CONVERSATION, Span(limit=1)))
            assert turns == 0
            await asyncio.gather(*reads)

    @pytest.mark.slow
    async def test_more_reads_may_wait_than_lmdb_has_places_for_readers(self, path: Path) -> None:
        async with opened(path) as (_, part):
            ids = [f"{number:024x}" for number in range(300)]
            await settle(*[part.create_conversation(conversation(one, "ann")) for one in ids])
            await settle(*[part.append(ids[0], draft(), T0) for _ in range(2)])
            scans = [part.scan_conversations() for _ in range(150)]
            for scan in scans:
                await anext(scan)
            histories = asyncio.gather(*[part.history(ids[0], Span(), tedious()) for _ in range(150)])
            joined = asyncio.gather(*[part.joined_conversations("ann") for _ in range(150)])
            assert await histories == [[]] * 150
            assert [len(found) for found in await joined] == [300] * 150
            for scan in scans:
                await scan.aclose()

    async def test_a_cancelled_read_leaves_its_turn_to_the_others(self, path: Path) -> None:
        async with opened(path) as (_, part):
            await part.create_conversation(conversation())
            await fill(part, "a" * 5)
            for turns_before in range(6):
                reads = [asyncio.create_task(part.history(CONVERSATION, Span(), tedious())) for _ in range(4)]
                for _ in range(1 + turns_before):
                    await asyncio.sleep(0)
                reads[0].cancel()
                reads[2].cancel()
                ends = await asyncio.gather(*reads, return_exceptions=True)
                assert [type(end) for end in ends] == [asyncio.CancelledError, list] * 2

    async def test_others_run_between_the_slices_of_a_client_s_conversations(self, path: Path) -> None:
        async with opened(path) as (_, part):
            ids = [f"{number:024x}" for number in range(3_000)]
            await settle(*[part.create_conversation(conversation(one, "ann")) for one in ids])
            found, turns = await turns_during(part.conversation_ids_of("ann"))
            assert found == ids
            assert turns >= 1
            joined, turns = await turns_during(part.joined_conversations("ann"))
            assert [one.conversation_id for one in joined] == ids
            assert turns >= 2

    async def test_others_run_during_a_scan_whose_reader_is_slow(self, path: Path) -> None:
        async with opened(path) as (_, part):
            ids = [f"{number:024x}" for number in range(20)]
            await settle(*[part.create_conversation(conversation(one)) for one in ids])

            async def scan() -> list[str]:
                found = []
                async for one in part.scan_conversations():
                    found.append(one.id)
                    spend(SLICE_SECONDS)
                return found

            found, turns = await turns_during(scan())
            assert found == ids[::-1]
            assert turns >= 19

    async def test_a_scan_may_be_left_and_its_reader_may_read(self, path: Path) -> None:
        async with opened(path) as (_, part):
            ids = [f"{number:024x}" for number in range(200)]
            await settle(*[part.create_conversation(conversation(one, "ann")) for one in ids])
            await part.append(ids[0], draft(), T0)
            async with aclosing(part.scan_conversations()) as scan:
                found = []
                async for one in scan:
                    found.append(one.id)
                    await part.history(ids[0], Span(), tedious())
                    if len(found) == 10:
                        break
            assert found == ids[:-11:-1]
            assert [one.id async for one in part.scan_conversations()] == ids[::-1]


def spend(seconds: float) -> None:
    """Keep the loop for longer than that."""
    end = perf_counter() + seconds
    while perf_counter() <= end:
        pass


def tedious(seen: list[int] | None = None, senders: str = "") -> Callable[[Message], bool]:
    """A condition that takes longer than a slice: only the messages of ``senders`` are wanted, it notes what it saw."""

    def wanted(message: Message) -> bool:
        spend(SLICE_SECONDS)
        if seen is not None:
            seen.append(message.sequence)
        return message.sender in senders

    return wanted


def counted_turns() -> tuple[asyncio.Task[None], Callable[[], int]]:
    """A task that runs in each turn of the loop, and how often it has."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    return asyncio.create_task(count()), lambda: turns


async def turns_during(reading: Any) -> tuple[Any, int]:
    """What the coroutine returns, and how often it let others run."""
    task = asyncio.ensure_future(reading)
    await asyncio.sleep(0)
    turns = 0
    while not task.done():
        turns += 1
        await asyncio.sleep(0)
    return await task, turns


class TestMap:
    @pytest.mark.slow
    async def test_it_grows_under_load(self, path: Path) -> None:
        async with opened(path, map_bytes=1 << 17) as (store, part):
            await part.create_conversation(conversation(CONVERSATION, "ann"))
            found: list[int] = []
            loaded = asyncio.Event()

            async def read() -> None:
                while not loaded.is_set():
                    found.append(len(await part.history(CONVERSATION, Span(limit=50))))
                    await asyncio.sleep(0)

            reader = asyncio.create_task(read())
            for _ in range(10):
                writes = [part.append(CONVERSATION, draft(body=b"x" * 2_000), T0) for _ in range(300)]
                assert all(one.fresh for one in await settle(*writes))
            loaded.set()
            await reader
            statistics = store.statistics
            assert statistics.growths >= 5
            assert statistics.failures == 0
            assert statistics.used_bytes <= statistics.map_bytes * 3 // 4
            assert found[-1] == 50
        assert verify(path).problems == ()
        assert verify(path).counts["messages"] == 3_000

    async def test_a_large_one_is_measured_now_and_then(self, path: Path) -> None:
        async with opened(path) as (store, part):
            await part.create_conversation(conversation())
            measured = []
            for _ in range(200):
                await part.append(CONVERSATION, draft(body=bytes(10_000)), T0)
                measured.append(store.statistics.used_bytes)
            assert 3 <= len(set(measured)) <= 5
            assert measured[-1] > 1_200_000

    async def test_it_grows_before_it_is_full_however_it_fills(self, path: Path) -> None:
        async with opened(path, map_bytes=1 << 20) as (store, part):
            await part.create_conversation(conversation(CONVERSATION, "ann"))
            for number, size in enumerate((100, 30_000, 100, 150_000) * 20):
                await part.append(CONVERSATION, draft("ann", body=bytes(size), token=str(number)), T0)
                assert (path / "data.mdb").stat().st_size < store.statistics.map_bytes

    async def test_one_batch_may_be_larger_than_the_map(self, path: Path) -> None:
        async with opened(path, map_bytes=1 << 17) as (store, part):
            await part.create_conversation(conversation())
            body = bytes(300_000)
            ends = await settle(*[part.append(CONVERSATION, draft(body=body), T0) for _ in range(5)])
            assert [one.message.sequence for one in ends] == [1, 2, 3, 4, 5]
            assert store.statistics.growths >= 4

    async def test_a_small_map_is_made_to_fit_what_is_there(self, path: Path) -> None:
        async with opened(path) as (_, part):
            await part.create_conversation(conversation())
            await part.append(CONVERSATION, draft(body=bytes(3_000_000)), T0)
        async with opened(path, map_bytes=1 << 17) as (_, part):
            assert len((await part.history(CONVERSATION, Span()))[0].body) == 3_000_000
            assert (await part.append(CONVERSATION, draft(), T0)).fresh


class TestDirectory:
    async def test_it_is_made_with_its_parents(self, tmp_path: Path) -> None:
        async with opened(tmp_path / "a" / "b" / "c"):
            pass
        assert (tmp_path / "a" / "b" / "c" / "data.mdb").exists()

    async def test_a_second_server_is_refused(self, path: Path) -> None:
        async with opened(path) as (_, part):
            assert f"process {os.getpid()}" in await refused(path)
            await part.create_conversation(conversation())
        async with opened(path) as (_, part):
            assert await part.find_conversation(CONVERSATION) is not None

    async def test_a_newer_format_is_refused_and_left_alone(self, path: Path) -> None:
        async with opened(path):
            pass
        edit(path, "meta", lambda txn, meta: txn.put(b"format", encode_packed(FORMAT + 1), db=meta))
        before = (path / "data.mdb").read_bytes()
        text = await refused(path)
        assert f"format {FORMAT + 1}" in text
        assert "newer" in text
        assert (path / "data.mdb").read_bytes() == before
        with pytest.raises(SettingsError, match="newer"):
            verify(path)

    @pytest.mark.parametrize("stored", [b"", b"one", b"\xc0"])
    async def test_a_format_that_says_nothing_is_refused(self, path: Path, stored: bytes) -> None:
        async with opened(path):
            pass
        edit(path, "meta", lambda txn, meta: txn.put(b"format", stored, db=meta))
        assert "not written by fastim" in await refused(path)

    @pytest.mark.parametrize("content", [b"not LMDB" * 2_000, b"short"])
    async def test_a_file_that_is_not_a_store_is_refused(self, path: Path, content: bytes) -> None:
        path.mkdir()
        (path / "data.mdb").write_bytes(content)
        await refused(path)
        assert (path / "data.mdb").read_bytes() == content

    async def test_another_program_s_store_is_refused(self, path: Path) -> None:
        path.mkdir()
        edit(path, "somebody's", lambda txn, table: txn.put(b"key", b"value", db=table))
        assert "not written by fastim" in await refused(path)

    async def test_a_directory_with_other_things_is_refused_and_left_alone(self, path: Path) -> None:
        path.mkdir()
        (path / "thesis.txt").write_text("precious")
        assert "thesis.txt" in await refused(path)
        assert [one.name for one in path.iterdir()] == ["thesis.txt"]

    async def test_an_interrupted_first_start_is_no_obstacle(self, path: Path) -> None:
        path.mkdir()
        for name in ("fastim.lock", "lock.mdb", "data.mdb", "fastim.toml", ".hidden"):
            (path / name).touch()
        (path / "lost+found").mkdir()
        async with opened(path) as (_, part):
            await part.create_conversation(conversation())

    async def test_a_file_in_its_place_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        await refused(tmp_path / "file")
        await refused(tmp_path / "file" / "below")

    async def test_one_that_cannot_be_written_is_refused(self, tmp_path: Path) -> None:
        async with opened(tmp_path / "data"):
            pass
        (tmp_path / "empty").mkdir()
        for name in ("data", "empty"):
            for one in (tmp_path / name).iterdir():
                one.chmod(0o444)
            (tmp_path / name).chmod(0o555)
        with unprivileged():
            await refused(tmp_path / "data")
            await refused(tmp_path / "empty")
            await refused(tmp_path / "empty" / "new")

    async def test_a_refused_start_holds_nothing(self, path: Path) -> None:
        path.mkdir()
        (path / "data.mdb").write_bytes(b"not LMDB" * 2_000)
        await refused(path)
        (path / "data.mdb").unlink()
        async with opened(path):
            pass
