import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastim.adapters.memory import MemoryStore
from fastim.core.errors import SettingsError, Unavailable, WordListError
from fastim.runtime.back_office import BackOffice
from fastim.runtime.words import Hit, LocalWords, WordHits
from fastim.runtime.words import Tested as Trial
from fastim.settings import Rest, Words
from fastim.wire import messages2_pb2 as pb
from tests.fakes.clock import NOON, SettableClock
from tests.fakes.running import on_asyncio
from tests.runtime.node import message, running_node, starting

BROKEN = b"good\n" + b"x" * 65 + b"\n\xff\n"


class Desk:
    """What a list of words is made in and lives on."""

    def __init__(self, memory: MemoryStore, listed: Callable[..., LocalWords]) -> None:
        self.memory = memory
        self.listed = listed

    async def started(self, file: Path | str = "", *, pinned: bool = False) -> LocalWords:
        words = self.listed(Words(enabled=True, file=str(file)), pinned=pinned)
        await words.start()
        return words


@asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    memory = MemoryStore()
    application = await memory.save_application("app", "key", "master", "hook")
    clock = SettableClock()

    def listed(settings: Words, *, pinned: bool = False) -> LocalWords:
        return LocalWords(application, settings, memory.of(application), clock, pinned=pinned)

    yield Desk(memory, listed)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "words.txt"
    path.write_bytes(b"# from the file\nfile\n")
    return path


def rewrite(path: Path, content: bytes | None) -> None:
    """Give the file another content; ``None``: take it away."""
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)


def hits(words: LocalWords) -> list[str]:
    """Which of these are listed."""
    return [one for one in ("file", "stored", "other") if words.mask(one.encode()) == b"***"]


class TestWhereItComesFrom:
    @on_asyncio
    async def test_without_any_nothing_is_masked(self) -> None:
        async with desk() as room:
            words = await room.started()
            assert (hits(words), len(words)) == ([], 0)
            assert words.statistics().source is None
            assert words.test("file") == Trial("file", ())

    @pytest.mark.rule("9.4")
    @on_asyncio
    async def test_a_stored_list_goes_before_a_file_unless_the_file_is_pinned(self, file: Path) -> None:
        async with desk() as room:
            words = await room.started(file)
            assert (hits(words), words.statistics().source) == (["file"], "file")
            await words.save(b"stored")
            assert (hits(words), words.statistics().source) == (["stored"], "stored")
            assert hits(await room.started(file)) == ["stored"]
            assert hits(await room.started(file, pinned=True)) == ["file"]
            assert hits(await room.started("", pinned=True)) == ["stored"]

    @on_asyncio
    async def test_forgetting_the_stored_one_brings_the_files_back(self, file: Path) -> None:
        async with desk() as room:
            words = await room.started(file)
            await words.save(b"stored")
            assert await words.stored() == b"stored"
            await words.save(None)
            assert (hits(words), await words.stored()) == (["file"], None)
            without = await room.started()
            await without.save(b"stored")
            await without.save(None)
            assert (hits(without), len(without)) == ([], 0)

    @on_asyncio
    async def test_a_stored_list_outlives_the_run_to_the_byte(self) -> None:
        async with desk() as room:
            text = b"\xef\xbb\xbf# mine\r\n stored \r\n\n"
            await (await room.started()).save(text)
            again = await room.started()
            assert (hits(again), await again.stored()) == (["stored"], text)


class TestWhatCannotBeUsed:
    @on_asyncio
    async def test_a_broken_list_is_refused_with_its_lines_and_the_old_one_stays(self) -> None:
        async with desk() as room:
            words = await room.started()
            await words.save(b"stored")
            for attempt in (words.save(BROKEN), words.load(BROKEN, "stored")):
                with pytest.raises(WordListError, match=r"^line 2 \S.*; line 3 \S.*$") as refused:
                    await attempt
                assert [number for number, _ in refused.value.problems] == [2, 3]
            assert (hits(words), await words.stored()) == (["stored"], b"stored")

    @on_asyncio
    async def test_of_many_bad_lines_the_first_are_told_and_the_rest_counted(self) -> None:
        async with desk() as room:
            words = await room.started()
            with pytest.raises(WordListError, match=r"line 20 [^;]*; and 5 more lines$") as refused:
                await words.save(b"\xff\n" * 25)
            assert len(refused.value.problems) == 20

    @pytest.mark.parametrize("content", [BROKEN, None])
    @on_asyncio
    async def test_a_file_that_cannot_be_used_stops_the_start_with_one_line(
        self, tmp_path: Path, content: bytes | None
    ) -> None:
        async with desk() as room:
            path = tmp_path / "bad.txt"
            rewrite(path, content)
            with pytest.raises(SettingsError) as refused:
                await room.started(path)
            line = str(refused.value)
            assert line.startswith(f"words.file: {path}")
            assert "\n" not in line
            assert ("line 2" in line) is (content is not None)

    @on_asyncio
    async def test_a_pipe_is_refused_and_keeps_nobody_waiting(self, file: Path) -> None:
        async with desk() as room:
            words = await room.started(file)
            rewrite(file, None)
            os.mkfifo(file)
            await words.reload()
            assert hits(words) == ["file"]
            await words.save(b"stored")
            assert hits(words) == ["stored"]

    @on_asyncio
    async def test_a_broken_stored_list_is_left_out(self, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        async with desk() as room:
            (application,) = await room.memory.applications()
            await room.memory.of(application).save_document("words", BROKEN)
            assert hits(await room.started(file)) == ["file"]
            assert hits(await room.started()) == []
            assert "line 2" in capsys.readouterr().out

    @on_asyncio
    async def test_nothing_is_stored_where_a_file_is_pinned(self, file: Path) -> None:
        async with desk() as room:
            words = await room.started(file, pinned=True)
            for text in (b"stored", None):
                with pytest.raises(WordListError, match=r"words\.file is pinned"):
                    await words.save(text)
            assert (hits(words), await words.stored()) == (["file"], None)

    @on_asyncio
    async def test_what_cannot_be_stored_is_not_put_in_force(self) -> None:
        async with desk() as room:
            words = await room.started()
            await room.memory.close()
            with pytest.raises(Unavailable):
                await words.save(b"stored")
            assert hits(words) == []

    @on_asyncio
    async def test_the_stored_one_stays_where_the_file_is_broken_that_would_follow_it(self, file: Path) -> None:
        async with desk() as room:
            words = await room.started(file)
            await words.save(b"stored")
            rewrite(file, BROKEN)
            with pytest.raises(WordListError, match="line 2"):
                await words.save(None)
            assert (hits(words), await words.stored()) == (["stored"], b"stored")


class TestReloading:
    @on_asyncio
    async def test_the_file_is_read_again(self, file: Path) -> None:
        async with desk() as room:
            words = await room.started(file)
            assert words.is_of_a_file
            rewrite(file, b"other\n")
            await words.reload()
            assert hits(words) == ["other"]

    @pytest.mark.parametrize("content", [BROKEN, None])
    @on_asyncio
    async def test_of_a_broken_one_the_lines_are_logged_and_the_old_one_stays(
        self, file: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        async with desk() as room:
            words = await room.started(file)
            rewrite(file, content)
            await words.reload()
            assert hits(words) == ["file"]
            said = capsys.readouterr().out
            assert "not reloaded" in said
            assert ("line 2" in said and "line 3" in said) is (content is not None)

    @on_asyncio
    async def test_a_stored_list_stays(self, file: Path) -> None:
        async with desk() as room:
            words = await room.started(file)
            await words.save(b"stored")
            assert not words.is_of_a_file
            await words.reload()
            assert hits(words) == ["stored"]

    @on_asyncio
    async def test_many_at_once_take_turns_and_the_last_one_holds(self, file: Path) -> None:
        async with desk() as room:
            words = await room.started(file)
            await asyncio.gather(*(words.save(text) for text in (b"stored", None, b"other")), words.reload())
            assert hits(words) == ["other"]
            assert await words.stored() == b"other"

    @on_asyncio
    async def test_the_loop_runs_on_and_the_old_list_holds_until_the_new_one_is_made(self) -> None:
        async with desk() as room:
            words = await room.started()
            await words.save(b"stored")
            saving = asyncio.create_task(words.save(b"other\n" + b"".join(b"w%d\n" % one for one in range(50_000))))
            turns = 0
            while not saving.done():
                assert hits(words) in (["stored"], ["other"])
                turns += 1
                await asyncio.sleep(0)
            await saving
            assert turns > 10
            assert hits(words) == ["other"]


class TestMasking:
    @pytest.mark.rule("9.2", "9.6")
    @on_asyncio
    async def test_every_hit_is_three_asterisks_whatever_its_width_and_case(self) -> None:
        async with desk() as room:
            words = await room.started()
            await words.load("casino\n赌博".encode(), "stored")
            text = "Casino, ｃａｓｉｎｏ, a casinos 賭博"
            assert words.mask(text.encode()).decode() == "***, ***, a ***s ***"

    @on_asyncio
    async def test_what_is_taken_for_the_same_is_as_it_is_set(self) -> None:
        async with desk() as room:
            folding = {"case": "BAD", "width": "ｂａｄ", "zero_width": "b\u200bad", "repeats": "baaad"}
            for switch, text in folding.items():
                for on in (True, False):
                    words = room.listed(Words(enabled=True, **{switch: on}))  # type: ignore[arg-type]
                    await words.load(b"bad", "stored")
                    assert (words.mask(text.encode()) == b"***") is on, switch
            for separators, masked in (("none", False), ("careful", True), ("any", True)):
                words = room.listed(Words(enabled=True, separators=separators))  # type: ignore[arg-type]
                await words.load(b"bad", "stored")
                assert (words.mask(b"b.a.d") == b"***") is masked

    @on_asyncio
    async def test_switched_off_it_masks_and_counts_nothing_but_can_be_tried(self) -> None:
        async with desk() as room:
            words = room.listed(Words())
            await words.load(b"bad", "stored")
            text = b"bad"
            assert words.mask(text) is text
            assert (words.texts, words.masked, words.statistics().enabled) == (0, 0, False)
            assert words.test("bad").masked == "***"

    @pytest.mark.slow
    @given(
        listed=st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=5),
        text=st.text("abc 赌\u200b", max_size=30),
    )
    @on_asyncio
    async def test_a_trial_says_what_would_happen(self, listed: list[str], text: str) -> None:
        async with desk() as room:
            words = await room.started()
            await words.load("\n".join(listed).encode(), "stored")
            tested = words.test(text)
            assert words.statistics().texts == 0
            assert tested.masked == words.mask(text.encode()).decode()
            assert bool(tested.hits) == (tested.masked != text)
            for hit in tested.hits:
                assert listed[hit.line - 1] == hit.word
                assert 0 <= hit.start < hit.end <= len(text)

    @on_asyncio
    async def test_a_trial_names_word_and_line(self) -> None:
        async with desk() as room:
            words = await room.started()
            await words.load("# mine\n\nbad\nadd\n赌博".encode(), "stored")
            assert words.test("a badd, 赌博") == Trial(
                "a ***, ***", (Hit(2, 5, "bad", 3), Hit(3, 6, "add", 4), Hit(8, 10, "赌博", 5))
            )


class TestCounting:
    @on_asyncio
    async def test_the_words_met_most_often_come_first(self) -> None:
        async with desk() as room:
            words = await room.started()
            await words.load(b"one\ntwo\nthree\nnever", "stored")
            for text in (b"two two", b"one", b"two", b"three", b"none of these", b"one"):
                words.mask(text)
            told = words.statistics(top=2)
            assert (told.enabled, told.words, told.source, told.loaded_at) == (True, 4, "stored", NOON)
            assert (told.texts, told.masked) == (6, 6)
            assert told.hits == (WordHits("one", 1, 3), WordHits("two", 2, 3))
            assert words.statistics(top=0).hits == ()
            assert len(words.statistics().hits) == 3

    @on_asyncio
    async def test_a_new_list_begins_anew_and_the_totals_go_on(self) -> None:
        async with desk() as room:
            words = await room.started()
            await words.load(b"one", "stored")
            words.mask(b"one")
            words.mask(b"two")
            await words.load(b"two", "stored")
            words.mask(b"two")
            told = words.statistics()
            assert (told.texts, told.masked, told.hits) == (1, 1, (WordHits("two", 1, 1),))
            assert (words.texts, words.masked) == (3, 2)


@on_asyncio
async def test_the_back_office_brings_and_shows_the_list() -> None:
    async with running_node() as node:
        office = BackOffice(node.dispatcher, lambda application: Rest(), lambda: 0.0)
        application = node.tenant.application
        assert await office.stored_words(application) is None
        await office.save_words(application, b"stored")
        assert await office.stored_words(application) == b"stored"
        assert hits(office.words(application)) == ["stored"]
        assert node.tenant.io.words.mask(b"stored") == b"***"
        with pytest.raises(WordListError):
            await office.save_words(application, BROKEN)
        await office.save_words(application, None)
        assert await office.stored_words(application) is None
        assert hits(office.words(application)) == []


@pytest.mark.rule("8.6")
@on_asyncio
async def test_the_answer_comes_before_the_correction() -> None:
    """A client knows its message by the id that the ack brings."""
    async with running_node() as node:
        await node.tenant.words.load(b"bad", "stored")
        line = await node.line()
        await line.open("tom")
        group = (await line.call(starting("jerry", "spike"))).convMessage.cid
        while (await line.receive()).op != pb.members_joined:
            pass
        sent = await line.call(message(group, b"a bad day"))
        assert (sent.cmd, sent.i) == (pb.ack, 3)
        (told,) = (await line.receive()).patchMessage.patches
        assert (told.mid, told.cid, told.data) == (sent.ackMessage.uid, group, b"a *** day")
        assert (told.patchCode, told.patchReason) == (-4408, "MESSAGE_MODIFIED_BY_CENSORSHIP")
        assert told.sender == "tom"
        assert told.timestamp == sent.ackMessage.t < told.patchTimestamp

        item = pb.PatchItem(cid=group, mid=told.mid, timestamp=told.timestamp, data=b"bad again")
        modify = pb.GenericCommand(cmd=pb.patch, op=pb.modify, i=4, patchMessage=pb.PatchCommand(patches=[item]))
        answer = await line.call(modify)
        assert (answer.op, answer.i) == (pb.modified, 4)
        (told,) = (await line.receive()).patchMessage.patches
        assert (told.data, told.patchCode) == (b"*** again", -4408)
        assert told.patchTimestamp > answer.patchMessage.lastPatchTime
        assert await line.is_silent()
