"""Hooks in Python: the operator's module, run by ``fastim.hooks.worker`` in a process of its own.

Whatever that code does, the loop goes on: it is talked to over pipes that are never waited for, and of what it prints
no more is read and logged than the server can bear. A process that ends is started again. So is one that has nothing
left to answer with, which is asked about as soon as a call is given up: its loop has to turn, and a thread to be free.
What is defined is asked once; while there is no process, the last list stays in force, and calls fail.

The process has the server's environment but for the settings of the server, among which there are secrets.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import sys
from collections.abc import Iterator
from typing import Final, cast

import msgspec
import structlog
from msgspec import Raw, Struct

from fastim.core.errors import HookError, SettingsError
from fastim.core.hooks import QUESTIONS, Answer, Call, Question
from fastim.hooks.frames import (
    FRAME_BYTES_MAX,
    LENGTH,
    Alive,
    Answered,
    Asked,
    Doubted,
    Failed,
    FromHooks,
    GivenUp,
    Ready,
    ToHooks,
    Unusable,
    framed,
)
from fastim.settings import Hooks

WAITING_BYTES_MAX = 4_194_304
"""Of calls that the process has not taken; above it calls fail."""
SPARE_THREADS = 32
"""Beyond those for all calls that may be under way: for functions that go on although they were given up."""
LINE_BYTES_MAX = 1_000
LINES_PER_SECOND = 100
PRINTED_BYTES_PER_SECOND = 1_048_576
"""Read of what the process prints; above it its printing waits."""
TRACE_SECONDS = 0.2
"""For a stuck process to print where it is, before it is killed."""
LAST_WORDS_SECONDS = 1.0
"""For what a process has said before it ended, where its pipes stay open: a child of its own may hold them."""

_log = structlog.get_logger(__name__)


class Timing(Struct, frozen=True):
    """How long is waited for what, in seconds.

    Attributes:
        start: For the module to be imported.
        stuck: For any sign of life from a process in which a call was given up.
        restart: Before a process that has ended is started again; it doubles up to ``restart_max``.
        close: For a process to end by itself.
    """

    start: float = 10.0
    stuck: float = 10.0
    restart: float = 0.1
    restart_max: float = 30.0
    close: float = 2.0


class PythonEngine:
    """Fulfils the ``HookEngine`` port for one application."""

    name = "python"

    def __init__(self, settings: Hooks, timing: Timing = Timing()) -> None:
        self._target: Final = settings.python
        self._threads: Final = 2 * settings.at_once + SPARE_THREADS
        self._timing: Final = timing
        self._changing: Final = asyncio.Lock()
        self._worker: _Worker | None = None
        self._hooks: frozenset[str] = frozenset()
        self._keeping: asyncio.Task[None] | None = None
        self._retiring: Final[set[asyncio.Task[None]]] = set()

    def defines(self, kind: type[Call]) -> bool:
        return kind.hook in self._hooks

    async def start(self) -> None:
        self._use(await self._begin())
        self._keeping = asyncio.create_task(self._keep())

    async def call(self, call: Call) -> Answer:
        worker = self._worker
        if worker is None or not worker.is_ready:
            raise HookError("the process with the hooks has ended and is started again")
        if call.hook not in worker.hooks:
            raise HookError("it is not defined any more")
        body = await worker.call(call)
        wanted = QUESTIONS[type(call)] if isinstance(call, Question) else Answer
        try:
            return msgspec.json.decode(body, type=wanted)
        except msgspec.DecodeError as error:
            raise HookError(f"its answer is not as it should be: {error}") from error

    async def reload(self) -> None:
        """Import the module anew, in a new process; it takes over when it is ready, and calls under way are finished.

        Raises:
            SettingsError: The module cannot be used; the process that there is goes on.
        """
        async with self._changing:
            worker = await self._begin()
            old = self._worker
            self._use(worker)
        if old is not None:
            task = asyncio.create_task(old.retire())
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def close(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait((self._keeping,))
        async with self._changing:
            for task in self._retiring:
                task.cancel()
            if self._worker is not None:
                await self._worker.end()
            await asyncio.gather(*self._retiring, return_exceptions=True)
            self._worker = None

    async def _begin(self) -> "_Worker":
        return await _Worker.start(self._target, self._threads, self._timing)

    def _use(self, worker: "_Worker") -> None:
        self._worker = worker
        self._hooks = worker.hooks
        _log.info("hooks are ready", file=self._target, hooks=sorted(worker.hooks))

    async def _keep(self) -> None:
        """Start the process again whenever it ends."""
        loop = asyncio.get_running_loop()
        pause = self._timing.restart
        while (worker := self._worker) is not None:
            since = loop.time()
            await worker.ended.wait()
            if loop.time() - since > self._timing.restart_max:
                pause = self._timing.restart
            if worker is self._worker:
                _log.warning("the process with the hooks ended", status=worker.status)
                pause = await self._replace(worker, pause)

    async def _replace(self, worker: "_Worker", pause: float) -> float:
        """Start a process in the place of one that has ended, unless a reload has done so.

        Returns:
            The pause for the next time.
        """
        while worker is self._worker:
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._timing.restart_max)
            async with self._changing:
                if worker is not self._worker:
                    break
                try:
                    self._use(await self._begin())
                except SettingsError as error:
                    _log.warning("the process with the hooks could not be started again", reason=str(error))
        return pause


class _Worker(asyncio.SubprocessProtocol):
    """One process, from its start to its end.

    Attributes:
        hooks: What it defines.
        ended: It is gone, and so is all that it has said.
    """

    @classmethod
    async def start(cls, target: str, threads: int, timing: Timing) -> "_Worker":
        """A process that is ready.

        Raises:
            SettingsError: The module cannot be used.
        """
        worker = cls(timing)
        command = (sys.executable, "-m", "fastim.hooks.worker", target, str(threads), str(timing.stuck))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FASTIM_")}
        try:
            await asyncio.get_running_loop().subprocess_exec(
                lambda: worker, *command, env=environment, start_new_session=True
            )
            async with asyncio.timeout(timing.start):
                await worker._ready
        except TimeoutError:
            raise SettingsError(f"hooks.python: {target} was not imported within {timing.start:g} s") from None
        except (HookError, OSError) as error:
            raise SettingsError(f"hooks.python: {target}: {error}") from error
        finally:
            if not worker.is_ready:
                await worker.end(at_once=True)
        return worker

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.SubprocessTransport | None = None
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._calls: dict[int, asyncio.Future[Raw]] = {}
        self._numbers = itertools.count(1)
        self._incoming = bytearray()
        self._decoder = msgspec.json.Decoder(FromHooks)
        self._printed = _Printed(self._loop)
        self._doubt: asyncio.TimerHandle | None = None
        self._last_words: asyncio.TimerHandle | None = None
        self.hooks: frozenset[str] = frozenset()
        self.ended = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        """It has said what it defines, and can be asked."""
        return bool(self.hooks) and self._is_there and not self._pipe.is_closing()

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; ``None`` while it runs."""
        return None if self._transport is None else self._transport.get_returncode()

    async def call(self, call: Call) -> Raw:
        """What the hook answers, JSON.

        Raises:
            HookError: It does not, or the process cannot be asked.
        """
        number = next(self._numbers)
        frame = framed(Asked(number, call.hook, Raw(msgspec.json.encode(call))))
        if 0 < self._pipe.get_write_buffer_size() > WAITING_BYTES_MAX - len(frame):
            raise HookError("too many calls wait for the process with the hooks")
        self._pipe.write(frame)
        answer: asyncio.Future[Raw] = self._loop.create_future()
        self._calls[number] = answer
        try:
            return await answer
        except asyncio.CancelledError:
            self._give_up(number)
            raise
        finally:
            del self._calls[number]

    async def retire(self) -> None:
        """End it when the calls under way have been answered; all of them have deadlines."""
        try:
            if self._calls:
                await asyncio.wait(list(self._calls.values()))
        finally:
            await self.end()

    async def end(self, *, at_once: bool = False) -> None:
        """Let it end by itself, and kill it if it does not; calls under way fail."""
        self._fail("the process with the hooks is ended")
        if self._transport is None:
            return
        try:
            if not at_once:
                self._pipe.close()
                async with asyncio.timeout(self._timing.close):
                    await self.ended.wait()
        except TimeoutError:
            _log.warning("the process with the hooks does not end and is killed")
        finally:
            self._kill()
        await self.ended.wait()

    # -- what the loop calls -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 1:
            self._incoming += data
            try:
                for message in self._messages():
                    self._hear(message)
            except (msgspec.DecodeError, _Garbled):
                _log.warning("the process with the hooks says what cannot be understood, and is killed")
                self._kill()
        else:
            self._printed.feed(data)
            if self._printed.is_too_much:
                self._stop_printing()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            self._fail("the process with the hooks has ended")
            self._kill()

    def process_exited(self) -> None:
        self._last_words = self._loop.call_later(LAST_WORDS_SECONDS, self._over)

    def connection_lost(self, exc: Exception | None) -> None:
        self._over()

    # -- the rest ------------------------------------------------------------------------------------------------------

    def _messages(self) -> Iterator[FromHooks]:
        while len(self._incoming) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._incoming)
            if length > FRAME_BYTES_MAX:
                raise _Garbled
            end = LENGTH.size + length
            if len(self._incoming) < end:
                return
            body = bytes(self._incoming[LENGTH.size : end])
            del self._incoming[:end]
            yield self._decoder.decode(body)

    def _hear(self, message: FromHooks) -> None:
        match message:
            case Ready(hooks):
                self.hooks = frozenset(hooks)
                if not self._ready.done():
                    self._ready.set_result(None)
            case Unusable(problem) if not self._ready.done():
                self._ready.set_exception(HookError(problem))
            case Answered(number, answer):
                if (call := self._calls.get(number)) is not None and not call.done():
                    call.set_result(answer)
            case Failed(number, problem):
                if (call := self._calls.get(number)) is not None and not call.done():
                    call.set_exception(HookError(problem))
            case Alive():
                self._trust()

    def _give_up(self, number: int) -> None:
        """Say so, and find out whether the process could answer at all."""
        if not self._is_there:
            return
        self._write(GivenUp(number))
        if self._doubt is None:
            self._write(Doubted())
            self._doubt = self._loop.call_later(self._timing.stuck, self._put_down)

    def _trust(self) -> None:
        if self._doubt is not None:
            self._doubt.cancel()
            self._doubt = None

    def _put_down(self) -> None:
        _log.warning("the process with the hooks is stuck and is killed", seconds=self._timing.stuck)
        if self._transport is not None and self._is_there:
            with contextlib.suppress(ProcessLookupError):
                self._transport.send_signal(signal.SIGUSR1)
        self._loop.call_later(TRACE_SECONDS, self._kill)

    def _stop_printing(self) -> None:
        assert self._transport is not None
        pipe = cast(asyncio.ReadTransport, self._transport.get_pipe_transport(2))
        if pipe.is_reading():
            pipe.pause_reading()
            self._loop.call_later(self._printed.rest_seconds, self._go_on_printing, pipe)

    @staticmethod
    def _go_on_printing(pipe: asyncio.ReadTransport) -> None:
        if not pipe.is_closing():
            pipe.resume_reading()

    @property
    def _is_there(self) -> bool:
        return self._transport is not None and self.status is None and not self.ended.is_set()

    @property
    def _pipe(self) -> asyncio.WriteTransport:
        assert self._transport is not None
        return cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))

    def _write(self, message: ToHooks) -> None:
        if not self._pipe.is_closing():
            self._pipe.write(framed(message))

    def _fail(self, problem: str) -> None:
        """No call will be answered any more."""
        for call in self._calls.values():
            if not call.done():
                call.set_exception(HookError(problem))

    def _kill(self) -> None:
        if self._transport is not None and self._transport.get_returncode() is None:
            with contextlib.suppress(ProcessLookupError):
                self._transport.kill()

    def _over(self) -> None:
        if self.ended.is_set():
            return
        self._fail("the process with the hooks has ended")
        if not self._ready.done():
            self._ready.set_exception(HookError(f"its process ended with status {self.status} while it was imported"))
            self._ready.exception()  # where nobody waits for it any more, that is no fault
        self._trust()
        if self._last_words is not None:
            self._last_words.cancel()
        if self._transport is not None:
            self._transport.close()
        self._printed.finish()
        self.ended.set()


class _Garbled(Exception):
    """What the process says is no frame."""


class _Printed:
    """What the process prints, line by line in the log, and no more of it than the log can bear."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._rest = b""
        self._second = loop.time()
        self._lines = 0
        self._bytes = 0
        self._left_out = 0

    @property
    def is_too_much(self) -> bool:
        """Nothing more is to be read in this second."""
        return self._bytes > PRINTED_BYTES_PER_SECOND

    @property
    def rest_seconds(self) -> float:
        """How much of this second is left."""
        return max(0.0, self._second + 1.0 - self._loop.time())

    def feed(self, piece: bytes) -> None:
        """Log the lines that are complete."""
        if self._loop.time() >= self._second + 1.0:
            self._begin_second()
        self._bytes += len(piece)
        *lines, rest = (self._rest + piece).split(b"\n")
        self._rest = rest[:LINE_BYTES_MAX]
        for line in lines:
            self._say(line)

    def finish(self) -> None:
        """Log what is left."""
        if self._rest:
            self._say(self._rest)
        self._begin_second()

    def _begin_second(self) -> None:
        if self._left_out:
            _log.warning("hooks wrote more than is logged", lines=self._left_out)
        self._second = self._loop.time()
        self._lines = self._bytes = self._left_out = 0

    def _say(self, line: bytes) -> None:
        if self._lines >= LINES_PER_SECOND:
            self._left_out += 1
            return
        self._lines += 1
        _log.info("a hook wrote", line=line[:LINE_BYTES_MAX].decode(errors="replace").rstrip())
