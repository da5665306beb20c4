"""Hooks in Python, each test with processes of its own."""

import asyncio
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
import structlog
from msgspec import Struct

from fastim.adapters.hooks_python import LINE_BYTES_MAX, LINES_PER_SECOND, WAITING_BYTES_MAX, PythonEngine, Timing
from fastim.core.errors import HookError, SettingsError
from fastim.core.hooks import (
    CALLS,
    QUESTIONS,
    Answer,
    Call,
    ClientOnline,
    ClientSign,
    ConversationAdd,
    ConversationAnswer,
    ConversationStart,
    ConversationUpdate,
    MessageAnswer,
    MessageReceived,
    MessageSent,
    MessageUpdate,
    OfflineAnswer,
    Question,
    ReceiversOffline,
    UpdateAnswer,
)
from fastim.core.units import Millis
from fastim.hooks import definitions
from fastim.hooks.definitions import Decorator, Function
from fastim.hooks.frames import ANSWER_BYTES_MAX
from fastim.settings import Hooks

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PAGE = Path(__file__).parents[2] / "docs" / "hooks.md"
MODULE = Path(__file__).with_name("hooks_module.py")
PATIENCE_SECONDS = 20.0
QUICK = Timing(restart=0.01, restart_max=0.05, close=5.0)
T = TypeVar("T")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}  # as in the server


class Log:
    """What is logged, and who waits for it."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self._heard = asyncio.Event()

    def __call__(self, _: Any, method: str, entry: Any) -> Any:
        self.entries.append({**entry, "level": method})
        self._heard.set()
        raise structlog.DropEvent

    async def found(self, find: Callable[["Log"], T]) -> T:
        """What ``find`` returns, once that is something."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (found := find(self)):
                self._heard.clear()
                await self._heard.wait()
        return found

    async def event(self, event: str) -> dict[str, Any]:
        return await self.found(lambda log: next((one for one in log.entries if one["event"] == event), {}))

    async def line(self, pattern: str) -> str:
        """A line that a hook wrote."""
        return await self.found(lambda log: next((one for one in log.lines if re.search(pattern, one)), ""))

    @property
    def lines(self) -> list[str]:
        return [entry["line"] for entry in self.entries if entry["event"] == "a hook wrote"]


@pytest.fixture
def log() -> Iterator[Log]:
    log = Log()
    structlog.configure(processors=[log])
    yield log
    structlog.reset_defaults()


@asynccontextmanager
async def running(target: Path | str = MODULE, timing: Timing = QUICK, **settings: Any) -> AsyncIterator[PythonEngine]:
    engine = PythonEngine(Hooks(python=str(target), **settings), timing)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


def received(content: str) -> MessageReceived:
    return MessageReceived(
        from_peer="tom", conversation_id="c1", to_peers=("jerry",), transient=False, bin=False, content=content,
        receipt=False, timestamp=Millis(1), system=False, source_ip="127.0.0.1",
    )  # fmt: skip


def updated(content: str) -> MessageUpdate:
    return MessageUpdate(
        from_peer="tom", conversation_id="c1", to_peers=("jerry",), bin=False, content=content, timestamp=Millis(1),
        message_id="m1", source_ip="", recall=False, system=False,
    )  # fmt: skip


EMPTY = MessageAnswer()
ASKS: list[Callable[[str], Any]] = [received, updated]


async def says(engine: PythonEngine, content: str) -> str:
    answer = await engine.call(received(content))
    assert isinstance(answer, MessageAnswer)
    assert answer.content is not None
    return answer.content


async def process_of(engine: PythonEngine) -> int:
    return int((await says(engine, "pid")).split()[0])


def exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


async def gone(process: int) -> None:
    """Wait for the end of a process that may be anybody's child."""
    with suppress(ProcessLookupError):
        descriptor = os.pidfd_open(process)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, ended.set)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await ended.wait()
        finally:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)


async def in_time(waiting: Awaitable[T]) -> T:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await waiting


async def works_again(engine: PythonEngine) -> int:
    """Ask until there is an answer, which the process that has ended cannot give; the number of the new one."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                return await process_of(engine)
            except HookError:
                await asyncio.sleep(0)


# -- what hooks answer -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ASKS)
@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ("nothing", EMPTY),
        ("drop no, \N{CAT FACE}", MessageAnswer(drop=True, code=3, detail="no, \N{CAT FACE}")),
        ("say new words", MessageAnswer(content="new words")),
        ("peers 2", MessageAnswer(to_peers=("client 0", "client 1"))),
    ],
)
async def test_an_answer_is_what_the_function_returned(
    asked: Callable[[str], Any], content: str, answer: MessageAnswer
) -> None:
    async with running() as engine:
        assert await engine.call(asked(content)) == answer


async def test_each_kind_of_call_reaches_its_function_as_it_was_made(log: Log) -> None:
    offline = ReceiversOffline(
        from_peer="tom", conversation_id="c1", offline_peers=("jerry", "spike"), content="hey", timestamp=Millis(5),
        mention_all=False, mention_offline_peers=(),
    )  # fmt: skip
    attributes = {"name": "Tea", "attr": {"size": 2**70, "deep": [None, 1.5, {"": ""}]}}
    async with running() as engine:
        assert await engine.call(offline) == OfflineAnswer(
            offline_peers=("jerry",), push_message='{"alert": "hey"}', force=True
        )
        added = ConversationAdd(init_by="tom", conversation_id="c1", members=("tyke",))
        assert await engine.call(added) == ConversationAnswer(reject=True, code=7, detail="closed")
        added = ConversationAdd(init_by="tom", conversation_id="c1", members=("jerry",))
        assert await engine.call(added) == ConversationAnswer()
        changed = ConversationUpdate(init_by="tom", conversation_id="c1", attr=attributes)
        assert await engine.call(changed) == UpdateAnswer(attr={"was": attributes, "mute": None})
        online = ClientOnline(peer_id="tom", source_ip="127.0.0.1", tag="", reconnect=0)
        assert await engine.call(online) == Answer()
        assert await log.line("hello") == "hello, tom"


async def test_it_is_known_which_hooks_are_defined() -> None:
    async with running() as engine:
        assert {kind.hook for kind in CALLS.values() if engine.defines(kind)} == {
            "_messageReceived", "_messageUpdate", "_receiversOffline", "_conversationAdd", "_conversationUpdate",
            "_clientOnline",
        }  # fmt: skip
        with pytest.raises(HookError, match="not defined"):
            await engine.call(ClientSign(user={}))


@pytest.mark.parametrize("asked", ASKS)
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("number", r"behave\w* has to return a MessageAnswer or None, not an int$"),
        ("other", r"behave\w* has to return a MessageAnswer or None, not an OfflineAnswer$"),
        ("misfilled", r"not as it should be: Expected `str \| null`, got `int`"),
        ("fall", rf"behave\w* raised ValueError, {MODULE} line \d+$"),
        ("exit", r"behave\w* raised SystemExit"),
        ("unheard-of", r"behave\w* raised KeyError"),
        (f"peers {ANSWER_BYTES_MAX // 10}", r"is longer than 1048576 bytes"),
    ],
)
async def test_a_wrong_answer_and_an_exception_fail_that_call_alone(
    asked: Callable[[str], Any], content: str, problem: str
) -> None:
    async with running() as engine:
        process = await process_of(engine)
        with pytest.raises(HookError, match=problem):
            await in_time(engine.call(asked(content)))
        assert await process_of(engine) == process


async def test_what_cannot_be_written_as_json_fails(tmp_path: Path) -> None:
    module = tmp_path / "odd.py"
    module.write_text(
        "from fastim.hooks import *\n@conversation_update\ndef odd(_):\n    return UpdateAnswer(attr={'a': object()})\n"
    )
    async with running(module) as engine:
        with pytest.raises(HookError, match="what odd returned cannot be written as JSON: TypeError"):
            await engine.call(ConversationUpdate(init_by="tom", conversation_id="c1", mute=True))


async def test_where_an_exception_came_from_is_logged_and_its_text_is_not(log: Log) -> None:
    async with running() as engine:
        with pytest.raises(HookError) as caught:
            await engine.call(received("fall top-secret"))
        assert await log.line("_messageReceived") == "_messageReceived: behave raised ValueError"
        assert await log.line(r"hooks_module\.py.*_fall")
    assert "top-secret" not in f"{log.entries} {caught.value}"


async def test_answers_and_calls_may_be_long() -> None:
    async with running() as engine:
        text = "x" * (ANSWER_BYTES_MAX - 100)
        assert await in_time(says(engine, f"say {text}")) == text
        answer = await in_time(engine.call(received(f"nothing {'x' * 5_000_000}")))
        assert answer == EMPTY


# -- one call and others -----------------------------------------------------------------------------------------------


async def test_a_function_that_blocks_does_not_hold_others_up() -> None:
    async with running() as engine:
        blocked = [asyncio.create_task(engine.call(received("gate"))) for _ in range(20)]
        waiting = asyncio.create_task(engine.call(updated("wait")))
        assert await says(engine, "say hello") == "hello"
        assert await engine.call(updated("say hello")) == MessageAnswer(content="hello")
        assert not any(task.done() for task in (*blocked, waiting))
        await engine.call(received("open"))
        assert await in_time(asyncio.gather(*blocked)) == [MessageAnswer(content="through")] * 20
        waiting.cancel()


async def test_many_calls_at_once_each_get_their_own_answer() -> None:
    async with running() as engine:
        texts = [f"text {number}" for number in range(500)]
        answers = await asyncio.gather(*(engine.call(received(f"say {text}")) for text in texts))
    assert answers == [MessageAnswer(content=text) for text in texts]


async def test_a_call_that_is_cancelled_lets_go_at_once_and_its_late_answer_is_ignored() -> None:
    async with running() as engine:
        late = asyncio.create_task(engine.call(received("gate")))
        await engine.call(received("nothing"))
        late.cancel()
        with pytest.raises(asyncio.CancelledError):
            await late
        await engine.call(received("open"))
        process = await process_of(engine)
        assert await says(engine, "say hello") == "hello"
        assert await process_of(engine) == process


async def test_an_async_function_is_cancelled_with_its_call(tmp_path: Path, log: Log) -> None:
    module = tmp_path / "patient.py"
    module.write_text(
        "import asyncio\n"
        "from fastim.hooks import client_sign\n"
        "@client_sign\n"
        "async def wait(_):\n"
        "    try:\n"
        "        print('begun')\n"
        "        await asyncio.Event().wait()\n"
        "    finally:\n"
        "        print('let go')\n"
    )
    async with running(module) as engine:
        task = asyncio.create_task(engine.call(ClientSign(user={})))
        await log.line("begun")
        task.cancel()
        await log.line("let go")


async def test_calls_that_are_not_taken_are_refused_before_they_take_memory() -> None:
    async with running() as engine:
        process = await process_of(engine)
        os.kill(process, signal.SIGSTOP)
        try:
            text = "x" * 1_000_000
            tasks = [asyncio.create_task(engine.call(received(f"say {text}"))) for _ in range(20)]
            with pytest.raises(HookError, match="too many calls wait"):
                await in_time(tasks[-1])
            assert sum(not task.done() for task in tasks) <= 2 + WAITING_BYTES_MAX // len(text)
        finally:
            os.kill(process, signal.SIGCONT)
        answered = await in_time(asyncio.gather(*tasks, return_exceptions=True))
        assert answered[0] == MessageAnswer(content=text)


# -- what the module prints and reads ----------------------------------------------------------------------------------


async def test_what_a_hook_prints_in_any_way_is_logged_and_disturbs_nothing(log: Log) -> None:
    async with running() as engine:
        assert await engine.call(received("print hey")) == EMPTY
        await log.line("from a child")
        assert log.lines == ["hey", "hey again", "hey below", "hey from a child"]
        assert await says(engine, "input") == "''"
        assert {entry["level"] for entry in log.entries} == {"info"}


async def test_lines_are_cut_and_a_flood_of_them_is_left_out(log: Log) -> None:
    async with running() as engine:
        await engine.call(received(f"print {'long' * LINE_BYTES_MAX}"))
        assert max(map(len, log.lines)) <= LINE_BYTES_MAX
        await in_time(engine.call(received(f"flood {50 * LINES_PER_SECOND}")))
    left_out = sum(entry["lines"] for entry in log.entries if entry["event"] == "hooks wrote more than is logged")
    flooded = [line for line in log.lines if line.endswith("xxx")]
    assert len(flooded) + left_out >= 50 * LINES_PER_SECOND
    assert left_out >= 40 * LINES_PER_SECOND


async def test_a_hook_that_prints_without_end_leaves_the_loop_its_time(log: Log) -> None:
    async with running(timing=Timing(close=0.1)) as engine:
        printing = asyncio.create_task(engine.call(received("flood 100000000")))
        await log.line(f"{LINES_PER_SECOND - 1} x")  # the last one that is let through in the first second
        before = sum(map(len, log.lines))
        assert await in_time(says(engine, "say hello")) == "hello"
        assert sum(map(len, log.lines)) - before < 3 * LINES_PER_SECOND * 150
        assert not printing.done()
        printing.cancel()


async def test_a_hook_has_the_environment_without_the_servers_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE", "theirs")
    monkeypatch.setenv("FASTIM_HOOKS__KEY", "ours")
    async with running() as engine:
        assert await says(engine, "environment DATABASE") == "theirs"
        assert await says(engine, "environment FASTIM_HOOKS__KEY") == "-"


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc says what descriptors are")
async def test_the_process_has_none_of_the_servers_files(tmp_path: Path) -> None:
    module = tmp_path / "files.py"
    module.write_text(
        "import os\nfrom contextlib import suppress\nfrom fastim.hooks import *\n@message_received\ndef files(_):\n"
        "    found = []\n"
        "    for one in os.listdir('/proc/self/fd'):\n"
        "        with suppress(OSError):\n"
        "            found.append(os.readlink(f'/proc/self/fd/{one}'))\n"
        "    return MessageAnswer(content='\\n'.join(found))\n"
    )
    ours = os.open(tmp_path / "secret", os.O_CREAT)
    try:
        async with running(module) as engine:
            found = await says(engine, "")
    finally:
        os.close(ours)
    assert "secret" not in found
    assert {re.split(r"[:\[]", name)[0] for name in found.split("\n")} <= {"/dev/null", "socket", "pipe", "anon_inode"}


# -- the module cannot be used -----------------------------------------------------------------------------------------

HOOK = "from fastim.hooks import *\n@message_received\ndef first(_): ...\n"


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("1 +", r"SyntaxError: invalid syntax, \S+odd\.py line 1$"),
        ("import nothing_like_this", r"ModuleNotFoundError: No module named 'nothing_like_this', \S+odd\.py line 1$"),
        ("\n\nraise ValueError('two\\nlines')", r"ValueError: two lines, \S+odd\.py line 3$"),
        ("import sys\nsys.exit(4)", r"SystemExit: 4, \S+odd\.py line 2$"),
        ("x = 1", r"LookupError: it defines no hook: put a decorator of fastim.hooks on a function$"),
        ("import os\nos._exit(4)", r"its process ended with status 4 while it was imported$"),
        (
            HOOK + "@message_received\ndef second(_): ...",
            r"TypeError: second cannot be the hook _messageReceived: first is it already, \S+odd\.py line \d+$",
        ),
        (
            HOOK + "@message_sent\ndef two(a, b): ...",
            r"two\(a, b\) cannot be the hook _messageSent: it has to take one argument, a MessageSent, \S+ line \d+$",
        ),
    ],
)
async def test_a_module_that_cannot_be_used_is_a_settings_error_in_one_line(
    tmp_path: Path, code: str, problem: str
) -> None:
    module = tmp_path / "odd.py"
    module.write_text(code)
    engine = PythonEngine(Hooks(python=str(module)), QUICK)
    with pytest.raises(SettingsError, match=rf"^hooks\.python: {module}: .*{problem}") as caught:
        await in_time(engine.start())
    assert "\n" not in str(caught.value)
    await engine.close()


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("nothing_like_this", r"hooks\.python: nothing_like_this: .*No module named 'nothing_like_this'$"),
        ("/nowhere/hooks.py", r"FileNotFoundError: .*/nowhere/hooks\.py"),
        ("some/where", r"ImportError: its name has to end with \.py$"),
        (signal.__file__, r"ImportError: there is a module signal already: give the file another name$"),
    ],
)
async def test_a_module_that_is_not_there_is_a_settings_error(target: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        await in_time(PythonEngine(Hooks(python=target), QUICK).start())


async def test_an_import_without_end_is_a_settings_error_and_leaves_no_process(tmp_path: Path, log: Log) -> None:
    module = tmp_path / "endless.py"
    module.write_text("import os, time\nprint('process', os.getpid())\ntime.sleep(3600)")
    starting = asyncio.create_task(PythonEngine(Hooks(python=str(module)), Timing(start=1.0)).start())
    process = int((await log.line("process")).split()[1])
    with pytest.raises(SettingsError, match=r"endless\.py was not imported within 1 s$"):
        await in_time(starting)
    assert not exists(process)


async def test_a_start_that_is_cancelled_leaves_no_process(tmp_path: Path, log: Log) -> None:
    module = tmp_path / "endless.py"
    module.write_text("import os, time\nprint('process', os.getpid())\ntime.sleep(3600)")
    starting = asyncio.create_task(PythonEngine(Hooks(python=str(module))).start())
    process = int((await log.line("process")).split()[1])
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await in_time(starting)
    assert not exists(process)


async def test_a_module_is_found_by_name_and_a_file_finds_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "words.py").write_text("WORD = 'found'")
    code = (
        "from fastim.hooks import *\nfrom {} import WORD\n"
        "@message_received\ndef say(_): return MessageAnswer(content=WORD)"
    )
    (tmp_path / "ours" / "by_name.py").write_text(code.format(".words"))
    (tmp_path / "ours" / "by_path.py").write_text(code.format("words"))
    monkeypatch.chdir(tmp_path)
    for target in ("ours.by_name", "ours/by_path.py", str(tmp_path / "ours" / "by_path.py")):
        async with running(target) as engine:
            assert await says(engine, "") == "found"


# -- the process ends, or does nothing any more ------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["die", "leave"])
async def test_when_the_process_dies_its_calls_fail_at_once_and_another_takes_its_place(way: str, log: Log) -> None:
    async with running() as engine:
        process = await process_of(engine)
        others = [asyncio.create_task(engine.call(asked)) for asked in (received("gate"), updated("wait"))]
        with pytest.raises(HookError, match="has ended"):
            await in_time(engine.call(received(way)))
        for other in others:
            with pytest.raises(HookError, match="has ended"):
                await in_time(other)
        assert engine.defines(MessageReceived)
        assert await works_again(engine) != process
        assert (await log.event("the process with the hooks ended"))["status"] == -signal.SIGKILL
    for line in log.lines:
        if line.startswith("child "):
            os.kill(int(line.split()[1]), signal.SIGKILL)


async def test_a_process_that_cannot_be_started_again_is_tried_until_it_can(tmp_path: Path, log: Log) -> None:
    module = tmp_path / "changing.py"
    module.write_text(HOOK)
    call = received("")
    async with running(module) as engine:
        module.write_text("import os\nfrom fastim.hooks import *\n@message_received\ndef die(_): os._exit(1)\n")
        await engine.reload()
        module.write_text("1 +")
        with pytest.raises(HookError):
            await engine.call(call)
        failed = await log.event("the process with the hooks could not be started again")
        assert "SyntaxError" in failed["reason"]
        assert engine.defines(MessageReceived)
        with pytest.raises(HookError, match="has ended and is started again"):
            await engine.call(call)
        module.write_text(HOOK)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                with suppress(HookError):
                    assert await engine.call(call) == EMPTY
                    break
                await asyncio.sleep(0)


async def test_the_pause_before_it_is_started_again_doubles() -> None:
    """Seen by the times of the loop at which processes are started."""
    loop = asyncio.get_running_loop()
    async with running(timing=Timing(restart=0.05, restart_max=0.2)) as engine:
        pauses = []
        for _ in range(4):
            process = await process_of(engine)
            os.kill(process, signal.SIGKILL)
            began = loop.time()
            await works_again(engine)
            pauses.append(loop.time() - began)
    for pause, least in zip(pauses, (0.05, 0.1, 0.2, 0.2), strict=True):
        assert pause >= least


@pytest.mark.parametrize("asked", [received, updated])
async def test_a_process_that_has_nothing_left_to_answer_with_says_where_it_is_and_is_replaced(
    asked: Callable[[str], Any], log: Log
) -> None:
    async with running(timing=Timing(stuck=0.5, restart=0.01), at_once=1) as engine:
        process = await process_of(engine)
        count = 100 if asked is received else 1  # all threads, or the one loop
        tasks = [asyncio.create_task(engine.call(asked("sleep"))) for _ in range(count)]
        other = received if asked is updated else updated
        assert await in_time(engine.call(other("say others go on"))) == MessageAnswer(content="others go on")
        await log.line("^asleep$")
        tasks[0].cancel()
        await log.event("the process with the hooks is stuck and is killed")
        for task in tasks[1:]:
            with pytest.raises(HookError, match="has ended"):
                await in_time(task)
        await log.event("the process with the hooks ended")
        assert await works_again(engine) != process
        assert await log.line(r"hooks_module\.py.*_sleep")


async def test_a_function_that_never_returns_costs_a_thread_and_nothing_else() -> None:
    async with running(timing=Timing(stuck=0.2)) as engine:
        process = await process_of(engine)
        for way in ("sleep", "spin"):
            endless = asyncio.create_task(engine.call(received(way)))
            await engine.call(received("nothing"))
            endless.cancel()
            await asyncio.wait((endless,))
        loop = asyncio.get_running_loop()
        until = loop.time() + 1.0
        while loop.time() < until:
            assert await process_of(engine) == process


async def test_a_function_that_keeps_the_interpreters_lock_ends_the_process_which_says_where(log: Log) -> None:
    async with running(timing=Timing(stuck=0.5, restart=0.01)) as engine:
        process = await process_of(engine)
        with pytest.raises(HookError, match="has ended"):
            await in_time(engine.call(received("hog")))
        assert await log.line(r"hooks_module\.py.*<lambda>")
        assert await works_again(engine) != process


# -- signals, and the end ----------------------------------------------------------------------------------------------


async def test_the_process_leaves_signals_to_the_server() -> None:
    async with running() as engine:
        process, session = map(int, (await says(engine, "pid")).split())
        assert session == process != os.getsid(0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(process, number)
            assert await process_of(engine) == process
        assert await engine.call(received("interrupt")) == EMPTY
        assert await process_of(engine) == process


@pytest.mark.parametrize("under_way", ["sleep", "spin"])
async def test_close_fails_what_is_under_way_and_leaves_no_process(under_way: str, log: Log) -> None:
    async with running() as engine:
        process = await process_of(engine)
        tasks = [asyncio.create_task(engine.call(asked(under_way))) for asked in ASKS]
        await engine.call(received("nothing"))
        await in_time(engine.close())
        assert not exists(process)
        for task in tasks:
            with pytest.raises(HookError, match="is ended"):
                await task
        with pytest.raises(HookError):
            await engine.call(received("nothing"))
    assert "the process with the hooks ended" not in [entry["event"] for entry in log.entries]


async def test_what_the_module_does_at_exit_is_done(tmp_path: Path, log: Log) -> None:
    module = tmp_path / "parting.py"
    module.write_text(f"import atexit\natexit.register(print, 'goodbye')\n{HOOK}")
    async with running(module):
        pass
    assert log.lines == ["goodbye"]


SERVER = """
import asyncio, sys, structlog
from fastim.adapters.hooks_python import PythonEngine, Timing
from fastim.settings import Hooks
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
sys.path.insert(0, {root!r})
from tests.adapters.test_hooks_python import received, updated

async def main():
    engine = PythonEngine(Hooks(python={module!r}), Timing(stuck=2.0))
    await engine.start()
    print((await engine.call(received("pid"))).content.split()[0], flush=True)
    calls = [asyncio.create_task(engine.call(kind({under_way!r}))) for kind in (received, updated)]
    await asyncio.wait(calls[:1])
    await asyncio.Event().wait()

asyncio.run(main())
"""


@contextmanager
def server(under_way: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process with an engine, and the process with the hooks."""
    code = SERVER.format(root=str(Path(__file__).parents[2]), module=str(MODULE), under_way=under_way)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], PATIENCE_SECONDS)[0]
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the end of another's child is seen on Linux only")
@pytest.mark.parametrize("under_way", ["nothing", "sleep", "spin", "hog"])
async def test_when_the_server_is_killed_the_process_ends_whatever_it_does(under_way: str) -> None:
    with server(under_way) as (process, hooks):
        process.kill()
        process.wait()
        await gone(hooks)


# -- reload ------------------------------------------------------------------------------------------------------------


async def test_a_reload_takes_the_new_code_and_finishes_the_calls_of_the_old(tmp_path: Path, log: Log) -> None:
    module = tmp_path / "ours.py"
    code = MODULE.read_text()
    module.write_text(code)
    async with running(module) as engine:
        process = await process_of(engine)
        old = [asyncio.create_task(engine.call(received(way))) for way in ("gate", "flood 1")]
        await old[1]
        module.write_text(f"{HOOK.replace('...', 'return MessageAnswer(content=chr(110))')}")
        await engine.reload()
        assert await says(engine, "say old") == "n"
        assert not engine.defines(ConversationAdd)
        assert not old[0].done()
        assert exists(process)
        old[0].cancel()
        await gone(process)


async def test_a_reload_that_fails_changes_nothing(tmp_path: Path) -> None:
    module = tmp_path / "ours.py"
    module.write_text(MODULE.read_text())
    async with running(module) as engine:
        process = await process_of(engine)
        module.write_text("1 +")
        with pytest.raises(SettingsError, match="SyntaxError"):
            await engine.reload()
        assert await process_of(engine) == process
        assert engine.defines(ConversationAdd)


async def test_a_reload_mends_what_could_not_be_started_again(tmp_path: Path) -> None:
    module = tmp_path / "ours.py"
    module.write_text(MODULE.read_text())
    async with running(module, Timing(restart=3600.0, restart_max=3600.0)) as engine:
        with pytest.raises(HookError):
            await engine.call(received("die"))
        await engine.reload()
        assert await says(engine, "say hello") == "hello"


# -- decorators --------------------------------------------------------------------------------------------------------


def test_there_is_a_decorator_for_every_hook() -> None:
    decorators = [one for one in vars(definitions).values() if isinstance(one, Decorator)]
    assert {one._kind for one in decorators} == set(CALLS.values())
    for kind in CALLS.values():
        name = re.sub("([A-Z])", r"_\1", kind.__name__).lower().lstrip("_")
        assert getattr(definitions, name)._kind is kind


def decorate(function: Any) -> dict[Any, Function]:
    functions: dict[Any, Function] = {}
    assert Decorator(MessageReceived, functions)(function) is function
    return functions


def test_anything_that_takes_the_call_can_be_a_hook() -> None:
    class Hook:
        def __call__(self, message: MessageReceived, more: int = 1) -> None: ...

    def hinted(message: "MessageReceived") -> None: ...
    async def vague(message: Any, *more: Any) -> None: ...

    for function in (Hook(), hinted, vague, lambda message: None, print):
        assert decorate(function) == {MessageReceived: function}


def test_what_cannot_be_a_hook_is_refused_with_what_is_wanted() -> None:
    def mistaken(message: MessageUpdate) -> None: ...
    def none() -> None: ...
    def keyword(*, message: MessageReceived) -> None: ...

    with pytest.raises(TypeError, match=r"mistaken cannot be .*: it takes a MessageUpdate, not a MessageReceived$"):
        decorate(mistaken)
    for function in (none, keyword):
        with pytest.raises(TypeError, match=r"\(.*\) cannot be .*: it has to take one argument, a MessageReceived$"):
            decorate(function)
    with pytest.raises(TypeError, match="has to be a function, not 'text'"):
        decorate("text")


def test_type_checkers_know_what_a_hook_takes_and_answers() -> None:
    """Each ``type: ignore`` is an error where it is not needed."""
    decorator = Decorator[MessageReceived, MessageAnswer | None](MessageReceived, {})

    def answers(message: MessageReceived) -> MessageAnswer:
        return MessageAnswer(content=message.content)

    def says(message: MessageReceived) -> str:
        return message.content

    def tells(message: ClientOnline) -> None: ...

    answer: MessageAnswer | None = decorator(answers)(received("hey"))
    assert answer == MessageAnswer(content="hey")
    with pytest.raises(TypeError, match="is it already"):
        decorator(says)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="is it already"):
        decorator(tells)  # type: ignore[arg-type]


# -- the page ----------------------------------------------------------------------------------------------------------


async def test_the_example_of_the_page_does_as_it_says(tmp_path: Path, log: Log) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    module = tmp_path / "hooks.py"
    module.write_text(example)
    async with running(module) as engine:
        answer = await engine.call(received("my casino"))
        assert answer == MessageAnswer(drop=True, code=1001, detail="no advertising")
        assert await says(engine, "damn good") == "d*** good"
        assert await engine.call(received("hey")) == EMPTY
        members = ("tom", "jerry", "spike", "tyke")
        crowd = ConversationStart(init_by="tom", members=members, attr={})
        assert await engine.call(crowd) == ConversationAnswer(reject=True, code=1002, detail="too many")
        few = ConversationStart(init_by="tom", members=members[:3], attr={})
        assert await engine.call(few) == ConversationAnswer()
        offline = ReceiversOffline(
            from_peer="tom", conversation_id="c1", offline_peers=("jerry",), content="hey", timestamp=Millis(5),
            mention_all=False, mention_offline_peers=(),
        )  # fmt: skip
        answer = await engine.call(offline)
        assert isinstance(answer, OfflineAnswer)
        assert msgspec.json.decode(answer.push_message or "") == {"alert": "A message from tom", "badge": "Increment"}
        sent = MessageSent(
            from_peer="tom", conversation_id="c1", message_id="m1", online_peers=("jerry",), offline_peers=(),
            transient=False, system=False, bin=False, content="", receipt=False, timestamp=Millis(1), source_ip="",
        )  # fmt: skip
        await engine.call(sent)
        assert await log.line("sent") == "sent to 1 and later to 0"


def fields(kind: type[Struct]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(kind)}


@pytest.mark.parametrize("kind", CALLS.values(), ids=CALLS)
def test_the_page_has_every_hook_with_its_parameters_and_its_decorator(kind: type[Call]) -> None:
    text = PAGE.read_text()
    (row,) = [line for line in text.splitlines() if line.startswith(f"| `{kind.hook}` ")]
    decorator = re.sub("([A-Z])", r"_\1", kind.__name__).lower().lstrip("_")
    assert f"`{decorator}`" in text
    assert kind is ClientSign or set(re.findall(r"`(\w+)`", row)[1:]) >= fields(kind)
    if issubclass(kind, Question) and "the same" not in row:
        assert set(re.findall(r"`(\w+)`", row.rsplit(" | ", 1)[1])) == fields(QUESTIONS[kind])
