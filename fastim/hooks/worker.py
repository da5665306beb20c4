"""The process with the hooks: ``python -m fastim.hooks.worker MODULE_OR_FILE THREADS STUCK_SECONDS``.

Started by the server, it imports the module and calls its functions, ordinary ones in threads and async ones on its
loop. It ends when the server has closed its end of the pipe, which it also has by dying.

The module's code must not be able to disturb what is said to the server: it finds ``/dev/null`` as its stdin, and what
it prints goes to stderr, which the server logs. Signals that are meant for the server are left to it. Where an
exception came from is printed, and its text is not: that may quote a message, and would be in the server's log.

Code that keeps the interpreter's lock, such as a regular expression that never ends, stops all threads. A watchdog that
needs no lock ends the process after ``STUCK_SECONDS`` of that, and prints where it was.
"""

import asyncio
import contextlib
import faulthandler
import importlib
import importlib.util
import inspect
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import msgspec

from fastim.core.hooks import CALLS, Call
from fastim.hooks.definitions import Function, checked, defined, name_of
from fastim.hooks.frames import (
    ANSWER_BYTES_MAX,
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

LEAVE_SECONDS = 1.0
"""For functions that are still under way when the server has gone, and for what the module does at exit."""
PROBLEM_CHARACTERS_MAX = 500


def main(arguments: Sequence[str]) -> int:
    """Run the worker until the server goes.

    Returns:
        The exit status.
    """
    target, threads, stuck_seconds = arguments
    incoming, outgoing = _take_pipes()
    _leave_signals_to_the_server()
    try:
        _import(target)
        if not defined:
            raise LookupError("it defines no hook: put a decorator of fastim.hooks on a function")
    except BaseException as error:
        outgoing.send(Unusable(_import_problem(error)))
        return 1
    asyncio.run(_serve(incoming, outgoing, int(threads), float(stuck_seconds)))
    return 0


async def _serve(incoming: BinaryIO, outgoing: "_Outgoing", threads: int, stuck_seconds: float) -> None:
    left = asyncio.Event()
    calls = _Calls(outgoing, threads, asyncio.get_running_loop())
    threading.Thread(target=_watch, args=(stuck_seconds,), name="watchdog", daemon=True).start()
    outgoing.send(Ready(tuple(kind.hook for kind in defined)))
    threading.Thread(target=_read, args=(incoming, calls, left), name="reader", daemon=True).start()
    await left.wait()


def _watch(stuck_seconds: float) -> None:
    while True:
        faulthandler.dump_traceback_later(stuck_seconds, exit=True)
        time.sleep(stuck_seconds / 4)


def _read(incoming: BinaryIO, calls: "_Calls", left: asyncio.Event) -> None:
    """Do as the server says until it has gone, then see to it that this process goes, too."""
    decoder = msgspec.json.Decoder(ToHooks)
    try:
        while len(head := incoming.read(LENGTH.size)) == LENGTH.size:
            match decoder.decode(incoming.read(*LENGTH.unpack(head))):
                case Asked() as asked:
                    calls.begin(asked)
                case GivenUp(number):
                    calls.give_up(number)
                case Doubted():
                    calls.show_life()
        calls.leave(left)
        time.sleep(LEAVE_SECONDS)
    finally:
        os._exit(1)


class _Outgoing:
    """What is said to the server, by any thread.

    Args:
        descriptor: A pipe or a socket that blocks; the server reads all the time.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def send(self, message: FromHooks) -> None:
        frame = memoryview(framed(message))
        with self._lock, contextlib.suppress(OSError):  # the server is gone: the reader sees that, too
            while frame:
                frame = frame[os.write(self._descriptor, frame) :]


class _Calls:
    """The calls under way. ``begin``, ``give_up``, ``show_life`` and ``leave`` are the reader's thread's.

    Args:
        threads: How many ordinary functions may run at once.
    """

    def __init__(self, outgoing: _Outgoing, threads: int, loop: asyncio.AbstractEventLoop) -> None:
        self._outgoing = outgoing
        self._loop = loop
        self._pool = ThreadPoolExecutor(threads, "hook")
        self._under_way: dict[int, Future[FromHooks]] = {}

    def begin(self, asked: Asked) -> None:
        number, kind = asked.number, CALLS[asked.hook]
        function = defined[kind]
        call = msgspec.json.decode(asked.call, type=kind)
        future = (
            asyncio.run_coroutine_threadsafe(_outcome_of_async(number, function, call), self._loop)
            if inspect.iscoroutinefunction(function)
            else self._pool.submit(_outcome, number, function, call)
        )
        self._under_way[number] = future
        future.add_done_callback(lambda _: self._finish(number, future))

    def give_up(self, number: int) -> None:
        """End a call that has not begun yet, or that can be ended."""
        future = self._under_way.get(number)
        if future is not None:
            future.cancel()

    def show_life(self) -> None:
        self._pool.submit(self._loop.call_soon_threadsafe, self._outgoing.send, Alive())

    def leave(self, left: asyncio.Event) -> None:
        for future in list(self._under_way.values()):
            future.cancel()
        self._loop.call_soon_threadsafe(left.set)

    def _finish(self, number: int, future: Future[FromHooks]) -> None:
        del self._under_way[number]
        with contextlib.suppress(CancelledError):
            self._outgoing.send(future.result())


def _outcome(number: int, function: Function, call: Call) -> FromHooks:
    try:
        answer = function(call)
    except BaseException as error:
        return _failure(number, function, call, error)
    return _answer(number, function, call, answer)


async def _outcome_of_async(number: int, function: Function, call: Call) -> FromHooks:
    try:
        answer = await function(call)
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return _failure(number, function, call, error)
    return _answer(number, function, call, answer)


def _answer(number: int, function: Function, call: Call, answer: object) -> FromHooks:
    try:
        right = checked(type(call), function, answer)
    except TypeError as error:
        return Failed(number, str(error))
    try:
        body = msgspec.json.encode(right)
    except Exception as error:
        return Failed(number, f"what {name_of(function)} returned cannot be written as JSON: {type(error).__name__}")
    if len(body) > ANSWER_BYTES_MAX:
        return Failed(number, f"what {name_of(function)} returned is longer than {ANSWER_BYTES_MAX} bytes")
    return Answered(number, msgspec.Raw(body))


def _failure(number: int, function: Function, call: Call, error: BaseException) -> Failed:
    kind = type(error).__name__
    frames = traceback.StackSummary.extract(traceback.walk_tb(_without_ours(error.__traceback__)))
    sys.stderr.write(f"{call.hook}: {name_of(function)} raised {kind}\n{''.join(frames.format())}")
    where = _line_of(error, inspect.unwrap(function))
    return Failed(number, f"{name_of(function)} raised {kind}{where}")


def _without_ours(trace: TracebackType | None) -> TracebackType | None:
    return trace and trace.tb_next


def _line_of(error: BaseException, function: Function | None = None) -> str:
    """Where it was raised, in the file of ``function`` if it came by there, as the end of a sentence."""
    frames = traceback.extract_tb(error.__traceback__)
    file = function.__code__.co_filename if inspect.isfunction(function) else None
    theirs = [frame for frame in frames if frame.filename == file] or frames[-1:]
    return f", {theirs[-1].filename} line {theirs[-1].lineno}" if theirs else ""


def _import(target: str) -> None:
    """Import a module by its name, or a file by its path, which may import its neighbours."""
    if not target.endswith(".py") and "/" not in target:
        importlib.import_module(target)
        return
    path = Path(target).resolve()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError("its name has to end with .py")
    if path.stem in sys.modules:
        raise ImportError(f"there is a module {path.stem} already: give the file another name")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)


def _import_problem(error: BaseException) -> str:
    """What is wrong and where, in one line."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    said = f"{type(error).__name__}: {' '.join(text.split())}" if text else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        where = f", {error.filename} line {error.lineno}"
    else:
        ours = (Path(__file__).parent, Path(importlib.__file__).parent)
        frames = traceback.extract_tb(error.__traceback__)
        theirs = [one for one in frames if not one.filename.startswith("<") and Path(one.filename).parent not in ours]
        where = f", {theirs[-1].filename} line {theirs[-1].lineno}" if theirs else ""
    return said[:PROBLEM_CHARACTERS_MAX] + where


def _take_pipes() -> tuple[BinaryIO, _Outgoing]:
    """Keep stdin and stdout for the server alone."""
    incoming, outgoing = os.dup(0), os.dup(1)  # children do not inherit these
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    for descriptor in (incoming, outgoing, 2):  # they may be sockets that the server's loop made
        os.set_blocking(descriptor, True)
    sys.stdout = sys.stderr
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)
    return os.fdopen(incoming, "rb"), _Outgoing(outgoing)


def _leave_signals_to_the_server() -> None:
    """Stay until the server goes; a handler that does nothing is, unlike ignoring, not inherited by children."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
