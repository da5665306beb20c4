# ruff: noqa: ASYNC220 - nobody else runs on a test's loop

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fastim.adapters.lmdb.verify import verify
from fastim.core.errors import Unavailable
from fastim.core.ids import personal_log
from fastim.core.message import Span
from fastim.core.retention import Retention
from fastim.core.session import Grant
from fastim.core.standing import Standing
from fastim.core.units import Millis
from fastim.core.unread import Membership
from fastim.ports.store import Joined, Waiting
from tests.adapters.engines import (
    CONVERSATION,
    DAY,
    OTHER,
    T0,
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


def process(module: str, path: Path) -> dict[str, Any]:
    """What the module of this package prints."""
    ended = subprocess.run(
        [sys.executable, "-m", f"tests.adapters.{module}", path],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


@contextmanager
def unwritable(path: Path, *, synchronous: bool) -> Iterator[None]:
    """Every write fails through one of the two descriptors that LMDB has of its file: of the pages, or of the root."""
    inode = (path / "data.mdb").stat().st_ino
    (descriptor,) = [
        one
        for one in range(3, 256)
        if inode_of(one) == inode and bool(fcntl.fcntl(one, fcntl.F_GETFL) & (os.O_DSYNC | os.O_SYNC)) is synchronous
    ]
    original = os.dup(descriptor)
    readable = os.open(path / "data.mdb", os.O_RDONLY)
    os.dup2(readable, descriptor, inheritable=False)
    os.close(readable)
    try:
        yield
    finally:
        if not synchronous:  # the other one is closed by now: the store was opened anew
            os.dup2(original, descriptor, inheritable=False)
        os.close(original)


HOLD_A_SNAPSHOT = """if True:
    import pathlib, sys, time
    from fastim.adapters.lmdb.environment import open_beside
    with open_beside(pathlib.Path(sys.argv[1])).begin():
        print("reading", flush=True)
        time.sleep(60)
"""


QUEUE_PUSHES = """if True:
    import asyncio, sys
    from pathlib import Path
    from tests.adapters.engines import *

    async def main():
        store = LmdbStore.open(Path(sys.argv[1]))
        part = await application(store)
        await part.create_conversation(conversation(CONVERSATION))
        for number in range(1, 1_000_000):
            await part.append(CONVERSATION, draft(), T0, push=job("", "ben"))
            (kept,) = await part.push_jobs(2)
            made = [notification(target, kept.message_id) for target in "vwxyz"]
            await part.queue_pushes(kept, made, {}, T0, done=True)
            print(number, flush=True)

    asyncio.run(main())
"""


def readers(path: Path) -> list[str]:
    """The processes that LMDB believes to be reading."""
    script = "import lmdb, sys; print(lmdb.open(sys.argv[1], readonly=True).readers())"
    ended = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    return ended.stdout.split()


def inode_of(descriptor: int) -> int | None:
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return None


@pytest.mark.slow
class TestWholeProcesses:
    def test_a_server_that_falls_over_ends(self, tmp_path: Path) -> None:
        """The writer's thread does not keep a process alive whose main thread is gone; what was queued is stored."""
        script = """if True:
            import asyncio, sys
            from pathlib import Path
            from tests.adapters.engines import *

            async def main():
                store = LmdbStore.open(Path(sys.argv[1]))
                part = await application(store)
                await part.create_conversation(conversation(CONVERSATION))
                writes = [part.append(CONVERSATION, draft(), T0) for _ in range(100)]
                raise RuntimeError("fell over")

            asyncio.run(main())
        """
        ended = subprocess.run(
            [sys.executable, "-c", script, tmp_path / "data"], capture_output=True, text=True, check=False, timeout=30
        )
        assert ended.returncode == 1
        assert "fell over" in ended.stderr
        assert verify(tmp_path / "data").counts["messages"] == 100

    def test_killed_while_pushes_are_queued_it_has_all_of_each_commit_or_nothing(self, tmp_path: Path) -> None:
        with subprocess.Popen(
            [sys.executable, "-c", QUEUE_PUSHES, tmp_path / "data"], stdout=subprocess.PIPE, text=True
        ) as queueing:
            assert queueing.stdout is not None
            acked = [queueing.stdout.readline() for _ in range(100)][-1]
            queueing.kill()
            acked = (queueing.stdout.read().splitlines(keepends=True) or [acked])[-1]
        report = verify(tmp_path / "data")
        assert report.problems == ()
        messages = report.counts["messages"]
        done = messages - report.counts["push_jobs"]
        assert report.counts["push_targets"] == 5
        assert report.counts["push_queues"] == 5 * done
        assert int(acked) <= done <= messages <= int(acked) + 1

    def test_a_full_disk_refuses_writes_and_loses_nothing(self, tmp_path: Path) -> None:
        seen = process("full_disk", tmp_path / "data")
        assert "Unavailable" in seen["full"]
        assert seen["full"][-10:] == ["Unavailable"] * 10
        assert seen["failures"] >= 30
        assert seen["pushes full"] == ["Unavailable"] * 20
        assert (seen["waiting while full"], seen["waiting after"]) == (20, 40)
        assert seen["seen while full"]
        assert seen["found while full"]
        assert seen["acked after"] == 20
        assert seen["resent"]
        assert seen["whole"]
        assert verify(tmp_path / "data").problems == ()

    def test_a_map_that_cannot_grow_refuses_writes_and_loses_nothing(self, tmp_path: Path) -> None:
        seen = process("cramped_map", tmp_path / "data")
        assert seen["acked"] > 30
        assert seen["refused"] > 5
        assert seen["seen"] == [seen["acked"], 2]
        assert seen["sequences"]
        assert seen["growths"] >= 1
        assert verify(tmp_path / "data").problems == ()


@pytest.mark.anyio
class TestWritesThatFail:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return "asyncio", {"use_uvloop": True}

    async def test_nothing_is_half_done_and_all_is_well_again_afterwards(self, tmp_path: Path) -> None:
        async with opened(tmp_path / "data") as (_, part):
            made = await part.create_conversation(conversation(CONVERSATION, "ann", "ben"))
            await fill(part, "xxx")
            with unwritable(tmp_path / "data", synchronous=False):
                ends = await settle(
                    part.append(CONVERSATION, draft("ann", token="t", mentions=("ben",)), T0),
                    part.create_conversation(conversation(OTHER, "ann", unique_key="k")),
                    part.change_conversation(conversation(CONVERSATION, "ann"), left=["ben"]),
                    part.mark_read(CONVERSATION, "ben", None, T0),
                )
                assert [type(end) for end in ends] == [Unavailable] * 4
                assert len({id(end) for end in ends}) == 4
                assert {end.detail for end in ends} == {"the store cannot write"}  # clients are told no more than that
                assert [message.sequence for message in await part.history(CONVERSATION, Span())] == [1, 2, 3]
            again = await part.append(CONVERSATION, draft("ben"), T0)
            assert again.message.sequence == 4
            assert await part.find_membership(CONVERSATION, "ben") == Membership(T0, sent=1)
            assert await part.find_conversation(CONVERSATION) == made
            assert await part.find_conversation(OTHER) is None
            assert await part.conversation_ids_of("ann") == [CONVERSATION]
            assert (await part.append(CONVERSATION, draft("ann", token="t"), T0)).fresh
        assert verify(tmp_path / "data").problems == ()

    async def test_of_all_else_nothing_is_half_done_either(self, tmp_path: Path) -> None:
        async with opened(tmp_path / "data") as (_, part):
            made = await part.create_conversation(conversation(CONVERSATION, "ann", "ben"))
            await part.create_conversation(service(OTHER))
            await fill(part, "xxx")
            whole = await part.history(CONVERSATION, Span())
            await part.save_will(will("ann"))
            with unwritable(tmp_path / "data", synchronous=False):
                ends = await settle(
                    part.delete_conversation(OTHER),
                    part.change_conversation(
                        made, standings={"ben": Standing(blocked=True)}, notices=[notice("b", T0)]
                    ),
                    part.patch_message(CONVERSATION, replace(whole[0], body=b"new"), T0),
                    part.delete_message(CONVERSATION, whole[1].position),
                    part.acknowledge(CONVERSATION, "ben", whole[2].position, T0),
                    part.append(personal_log(OTHER, "ann"), draft(), T0),
                    part.take_will("ann", None),
                    part.log_in("ann", "t", Grant("", "", 0, T0), T0),
                    part.retire(Retention(history=Millis(1)), Millis(T0 + 1_000)),
                )
                assert [type(end) for end in ends] == [Unavailable] * 9
                assert await part.history(CONVERSATION, Span()) == whole
                assert await part.find_conversation(OTHER) is not None
            assert await part.standings(CONVERSATION) == {}
            assert await part.notices_for("b", Millis(0), 9) == ([], False)
            assert await part.patches_since(CONVERSATION, Millis(0), 9) == []
            assert await part.find_membership(CONVERSATION, "ben") == Membership(T0)
            assert await part.joined_conversations("ann") == [
                Joined(CONVERSATION, Membership(T0), await part.find_head(CONVERSATION))
            ]
            assert await part.find_grant("ann", "t") is None
            assert await part.count_users(T0 // DAY) == 0
            assert await part.take_will("ann", None) == will("ann")
            assert await retire(part, T0 + 1_000, Retention(history=Millis(1))) != [0]
            assert await part.history(CONVERSATION, Span()) == []
        assert verify(tmp_path / "data").problems == ()

    async def test_of_push_nothing_is_half_done_either(self, tmp_path: Path) -> None:
        phone = installation("a", token="t", channels=("ben",), badge=1)
        made = [notification("x", str(number)) for number in range(3)]
        async with opened(tmp_path / "data") as (_, part):
            await part.create_conversation(conversation(CONVERSATION))
            await part.append(CONVERSATION, draft(), T0, push=job("", "ben"))
            (kept,) = await part.push_jobs(9)
            await install(part, phone)
            await part.queue_pushes(kept, made[:2], {}, T0, done=False)
            before = await part.due_pushes(T0, 9)
            with unwritable(tmp_path / "data", synchronous=False):
                ends = await settle(
                    part.append(CONVERSATION, draft(), T0, push=job("", "ben")),
                    part.queue_pushes(kept, [*made, notification("y", "1")], {phone.id: 7}, T0, done=True),
                    part.settle_push(before[0], T0),
                    part.drop_pushes("x"),
                    part.change_installation(phone.id, lambda found: None),
                )
                assert [type(end) for end in ends] == [Unavailable] * 5
            assert await part.push_jobs(9) == [kept]
            assert await part.due_pushes(T0, 9) == before
            assert await part.count_pushes() == Waiting(1, 1, 2)
            assert await part.find_device("t") == phone
            await part.queue_pushes(kept, made, {phone.id: 7}, T0, done=True)
            assert await part.count_pushes() == Waiting(0, 1, 3)
            assert await part.find_installation(phone.id) == replace(phone, badge=7)
        assert verify(tmp_path / "data").problems == ()

    @pytest.mark.slow
    async def test_a_killed_reader_is_forgotten_by_the_next_sweep(self, tmp_path: Path) -> None:
        async with opened(tmp_path / "data") as (store, part):
            reader = subprocess.Popen(
                [sys.executable, "-c", HOLD_A_SNAPSHOT, tmp_path / "data"], stdout=subprocess.PIPE, text=True
            )
            with reader:
                assert reader.stdout is not None
                assert reader.stdout.readline() == "reading\n"
                reader.kill()
            await part.create_conversation(conversation(CONVERSATION))
            assert str(reader.pid) in readers(tmp_path / "data")
            await store.sweep(T0)
            assert str(reader.pid) not in readers(tmp_path / "data")

    async def test_the_store_goes_on_after_being_opened_anew(self, tmp_path: Path) -> None:
        async with opened(tmp_path / "data", map_bytes=1 << 18) as (store, part):
            await part.create_conversation(conversation(CONVERSATION))
            for sequence in range(1, 11, 2):
                with unwritable(tmp_path / "data", synchronous=True):
                    (end,) = await settle(part.append(CONVERSATION, draft(body=bytes(100_000)), T0))
                    assert isinstance(end, Unavailable)
                writes = [part.append(CONVERSATION, draft(body=bytes(100_000)), T0) for _ in range(2)]
                assert [end.message.sequence for end in await settle(*writes)] == [sequence, sequence + 1]
            assert len(await part.history(CONVERSATION, Span())) == 10
            assert store.statistics.failures == 5
        assert verify(tmp_path / "data").problems == ()
