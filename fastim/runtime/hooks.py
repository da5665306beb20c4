"""Hooks on this node: which engine is called, for how long it is waited for, and what becomes of failures.

A hook that fails is gone on without, unless it is required: then what it was asked about is refused. One that fails
several times in a row is left alone for a while, so that not every command waits for its deadline; then a single call
finds out whether it is back.

Logs say that a hook fails once, until it works again. They and what is remembered of calls hold no parameter and no
answer.
"""

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final, Literal, cast, get_args

import structlog
from msgspec import Struct

from fastim.core.errors import HookError, HookFailed, SettingsError
from fastim.core.hooks import CALLS, QUESTIONS, UNANSWERED, A, Answer, Call, Notice, Question
from fastim.core.units import Millis
from fastim.ports.clock import Clock
from fastim.ports.hooks import HookEngine
from fastim.runtime.clock import SystemClock
from fastim.settings import Hooks as Settings

Outcome = Literal["ok", "failed", "timeout", "no_slot", "refused_by_breaker", "dropped", "abandoned"]
"""What becomes of a call, explained in ``docs/metrics.md``."""

NOTICES_WAITING_MAX = 10_000
CLOSE_SECONDS_MAX = 5.0
"""For what is under way when the server stops."""
LET_GO_SECONDS = 1.0
"""For what was cancelled then."""
SLOW_LOG_SECONDS = 10.0
"""Between two lines in the log that say that a hook is slow."""
CALLS_REMEMBERED = 200
SECONDS_BOUNDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram of calls; there is one more bucket without."""

_CODE_MAX: Final = 2**31 - 1  # what clients are told it in

_log = structlog.get_logger(__name__)


class PastCall(Struct, frozen=True):
    """A call that is over.

    Attributes:
        at: When it was over.
        milliseconds: How long it took, a question's wait for its turn included.
        problem: Why it failed, or empty.
    """

    at: Millis
    hook: str
    engine: str
    milliseconds: float
    outcome: Outcome
    problem: str


class LocalHooks:
    """One application's hooks; fulfils the ``Hooks`` port.

    Args:
        engines: Where hooks run, the first that defines one gets its calls.

    Attributes:
        lines: Every hook by its name.
        recent: The last calls that were made, the latest one last.
    """

    def __init__(self, engines: Sequence[HookEngine], settings: Settings, clock: Clock | None = None) -> None:
        self._engines: Final = engines
        self._settings: Final = settings
        self._clock: Final = clock or SystemClock()
        required = frozenset(CALLS if "all" in settings.required else settings.required)
        self.lines: Final[Mapping[str, HookLine]] = {hook: HookLine(hook, hook in required, settings) for hook in CALLS}
        self._not_missed_yet: Final = set(required) if "all" not in settings.required else set[str]()
        self.recent: Final[deque[PastCall]] = deque(maxlen=CALLS_REMEMBERED)
        self._question_slots: Final = asyncio.Semaphore(settings.at_once)
        self._notice_slots: Final = asyncio.Semaphore(settings.at_once)
        self._waiting: Final[deque[tuple[Notice, HookEngine]]] = deque()
        self._tellers: Final[set[asyncio.Task[None]]] = set()
        self._calling: Final[set[asyncio.Task[Answer]]] = set()
        self._dropping = False
        self._closed = False

    @property
    def engines(self) -> Sequence[HookEngine]:
        """Where hooks run; the first that defines one gets its calls."""
        return self._engines

    @property
    def notices_waiting(self) -> int:
        """Notices whose turn has not come."""
        return len(self._waiting)

    async def start(self) -> None:
        """Start the engines.

        Raises:
            SettingsError: One of them can never work as it is set up.
        """
        for engine in self._engines:
            await engine.start()

    @property
    def is_anywhere(self) -> bool:
        """Whether there is anything that hooks could run in."""
        return bool(self._engines)

    async def reload(self) -> None:
        """Take up what the hooks are now. Those that cannot be used are left, and what there was goes on."""
        for engine in self._engines:
            try:
                await engine.reload()
            except SettingsError as error:
                _log.error("hooks were not reloaded, the old ones stay in force", engine=engine.name, reason=str(error))
            else:
                _log.info("hooks were reloaded", engine=engine.name)

    async def finish(self) -> None:
        """Wait until what was asked and told is over, or its deadline has passed; others have taken over."""
        if self._calling or self._tellers:
            most_milliseconds = max(self._settings.deadline_milliseconds, self._settings.notice_deadline_milliseconds)
            await asyncio.wait((*self._calling, *self._tellers), timeout=most_milliseconds / 1_000)

    async def close(self) -> None:
        """Finish what is under way, for as long as its deadline lets it, and let go of the engines.

        What has no answer by then is refused, whatever the hook: nobody hears of it any more, clients say it again to
        the server that comes next, and it is asked there.
        """
        self._closed = True
        if self._tellers:
            most_seconds = min(self._settings.notice_deadline_milliseconds / 1_000, CLOSE_SECONDS_MAX)
            await asyncio.wait(self._tellers, timeout=most_seconds)
        if self._waiting:
            _log.warning("hooks were not told everything before the end", notices=len(self._waiting))
        for notice, _ in self._waiting:
            self.lines[notice.hook].count("dropped")
        self._waiting.clear()
        under_way = (*self._tellers, *self._calling)
        for task in under_way:
            task.cancel()
        if under_way:
            await asyncio.wait(under_way, timeout=LET_GO_SECONDS)
        for engine in self._engines:
            await engine.close()

    def defines(self, kind: type[Call]) -> bool:
        if self._engine_of(kind) is not None:
            return True
        if kind.hook in self._not_missed_yet:
            self._not_missed_yet.discard(kind.hook)
            _log.warning("a required hook is not defined, so nothing waits for its word", hook=kind.hook)
        return False

    def ask(self, question: Question[A]) -> Awaitable[A]:
        engine = self._engine_of(type(question))
        loop = asyncio.get_running_loop()
        if engine is None:
            return _done(loop, cast(A, QUESTIONS[type(question)]()))
        line = self.lines[question.hook]
        if line.breaker.leaves_alone(loop.time()):
            self._over(line, engine, loop.time(), "refused_by_breaker")
            return _done(loop, HookFailed() if line.required else cast(A, UNANSWERED[type(question)]))
        task = loop.create_task(self._ask(question, engine, line, loop.time()))
        task.add_done_callback(_take_note)
        return cast(asyncio.Task[A], task)

    def tell(self, notice: Notice) -> None:
        engine = self._engine_of(type(notice))
        if engine is None:
            return
        if len(self._waiting) >= NOTICES_WAITING_MAX or self._closed:
            self.lines[notice.hook].count("dropped")
            if not self._dropping:
                self._dropping = True
                _log.warning("hooks are not told everything", waiting=len(self._waiting))
            return
        self._waiting.append((notice, engine))
        if len(self._tellers) < self._settings.at_once:
            teller = asyncio.get_running_loop().create_task(self._tell_those_waiting())
            self._tellers.add(teller)
            teller.add_done_callback(self._tellers.discard)

    async def try_out(self, call: Call) -> tuple[PastCall, Answer | None] | None:
        """Make a call for the sake of how it goes; it counts as any other. ``None``: nothing is defined for it.

        Returns:
            How it went, and the answer unless it has failed.
        """
        engine = self._engine_of(type(call))
        if engine is None:
            return None
        line, begun = self.lines[call.hook], asyncio.get_running_loop().time()
        if line.breaker.leaves_alone(begun):
            self._over(line, engine, begun, "refused_by_breaker")
            problem = "it has failed too often and is left alone for a while"
            return PastCall(self._clock.now(), call.hook, engine.name, 0.0, "refused_by_breaker", problem), None
        settings, asks = self._settings, isinstance(call, Question)
        most = settings.deadline_milliseconds if asks else settings.notice_deadline_milliseconds
        slots = self._question_slots if asks else self._notice_slots
        answer = await self._call(call, engine, line, begun, begun + most / 1_000, slots)
        return self.recent[-1], answer  # nobody else has run since it was over

    def _engine_of(self, kind: type[Call]) -> HookEngine | None:
        for engine in self._engines:
            if engine.defines(kind):
                return engine
        return None

    async def _ask(self, question: Question[Any], engine: HookEngine, line: "HookLine", begun: float) -> Answer:
        deadline = begun + self._settings.deadline_milliseconds / 1_000
        answer = await self._call(question, engine, line, begun, deadline, self._question_slots)
        if answer is not None:
            return answer
        if line.required or self._closed:
            raise HookFailed
        return UNANSWERED[type(question)]

    async def _tell_those_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            notice, engine = self._waiting.popleft()
            begun = loop.time()
            deadline = begun + self._settings.notice_deadline_milliseconds / 1_000
            await self._call(notice, engine, self.lines[notice.hook], begun, deadline, self._notice_slots)
        self._dropping = False

    async def _call(
        self, call: Call, engine: HookEngine, line: "HookLine", begun: float, deadline: float, slots: asyncio.Semaphore
    ) -> Answer | None:
        """What the engine answers by ``deadline``, ``None`` when it does not.

        The engine is called in a task of its own: one that is slow to let go delays nobody but who waits for its slot.
        """
        loop = asyncio.get_running_loop()
        ticket = line.breaker.enter(begun)
        if ticket is None:
            self._over(line, engine, begun, "refused_by_breaker")
            return None
        turn = _Turn()
        calling = loop.create_task(_in_turn(engine, call, slots, turn))
        self._calling.add(calling)
        calling.add_done_callback(self._calling.discard)
        calling.add_done_callback(_take_note)
        try:
            done, _ = await asyncio.wait((calling,), timeout=deadline - loop.time())
        except asyncio.CancelledError:
            line.breaker.leave(ticket)
            self._over(line, engine, begun, "abandoned")
            raise
        finally:
            calling.cancel()
        if not done and not turn.came:
            line.breaker.leave(ticket)
            self._over(line, engine, begun, "no_slot", "too many calls were under way")
            return None
        if not done:
            line.breaker.failed(ticket, loop.time())
            self._over(line, engine, begun, "timeout", "no answer by the deadline")
            return None
        if self._closed and calling.cancelled():
            line.breaker.leave(ticket)
            self._over(line, engine, begun, "abandoned")
            return None
        problem, answer = _outcome(call, calling)
        if problem is None:
            line.breaker.worked(ticket)
            self._over(line, engine, begun, "ok")
        else:
            line.breaker.failed(ticket, loop.time())
            self._over(line, engine, begun, "failed", problem)
        return answer

    def _over(self, line: "HookLine", engine: HookEngine, begun: float, outcome: Outcome, problem: str = "") -> None:
        now = asyncio.get_running_loop().time()
        seconds = now - begun
        line.count(outcome)
        if outcome == "refused_by_breaker":
            return
        self.recent.append(
            PastCall(self._clock.now(), line.hook, engine.name, round(seconds * 1_000, 3), outcome, problem)
        )
        line.measure(seconds)
        line.say_how_it_does(engine.name, outcome, problem)
        if seconds * 1_000 > self._settings.slow_milliseconds and outcome != "abandoned":
            line.say_that_it_is_slow(engine.name, seconds, now)


class HookLine:
    """One hook: whether it may be called, and how its calls went.

    Attributes:
        hook: LeanCloud's name of it.
        required: What it is asked about is refused when it fails.
        outcomes: How many calls ended in which way.
        seconds: What all calls took together that were made.
        seconds_counts: How many took up to each of ``SECONDS_BOUNDS``, and longer; each is counted once.
    """

    def __init__(self, hook: str, required: bool, settings: Settings) -> None:
        self.hook: Final = hook
        self.required: Final = required
        self.breaker: Final = Breaker(settings.breaker_failures, settings.breaker_seconds)
        self.outcomes: Final[dict[Outcome, int]] = dict.fromkeys(get_args(Outcome), 0)
        self.seconds = 0.0
        self.seconds_counts: Final = [0] * (len(SECONDS_BOUNDS) + 1)
        self._works = True
        self._said_alone = False
        self._slow = 0
        self._said_slow_at = float("-inf")

    def count(self, outcome: Outcome) -> None:
        self.outcomes[outcome] += 1

    def measure(self, seconds: float) -> None:
        self.seconds += seconds
        self.seconds_counts[bisect_left(SECONDS_BOUNDS, seconds)] += 1

    def say_how_it_does(self, engine: str, outcome: Outcome, problem: str) -> None:
        """Log that it fails, once, that it is left alone, once, and that it works again."""
        if outcome == "ok" and not self._works:
            self._works, self._said_alone = True, False
            _log.info("a hook works again", hook=self.hook, engine=engine)
        elif problem and self._works:
            self._works = False
            _log.warning("a hook fails", hook=self.hook, engine=engine, problem=problem, required=self.required)
        if self.breaker.open and not self._said_alone:
            self._said_alone = True
            _log.warning("a hook is left alone", hook=self.hook, engine=engine, seconds=self.breaker.seconds)

    def say_that_it_is_slow(self, engine: str, seconds: float, now: float) -> None:
        """Log it, now and then; ``calls`` says how many there were since the last time."""
        self._slow += 1
        if now - self._said_slow_at < SLOW_LOG_SECONDS:
            return
        _log.warning(
            "a hook is slow", hook=self.hook, engine=engine, milliseconds=round(seconds * 1_000), calls=self._slow
        )
        self._slow, self._said_slow_at = 0, now


class Breaker:
    """Whether a hook is called at all.

    It opens after ``failures`` in a row. When it has been open for ``seconds``, one call goes through, and what becomes
    of that closes it or keeps it open for as long again. Calls from before it opened have no say in that.

    A call takes a ticket with ``enter`` and gives it back, once, to ``worked``, ``failed`` or ``leave``.
    """

    def __init__(self, failures: int, seconds: float) -> None:
        self.seconds: Final = seconds
        self._failures: Final = failures
        self._in_a_row = 0
        self._ticket = 0  # of all calls since it last opened or closed
        self._open_until: float | None = None
        self._trying = False

    @property
    def open(self) -> bool:
        """Whether calls are refused, but for the one that finds out."""
        return self._open_until is not None

    def leaves_alone(self, now: float) -> bool:
        """Whether ``enter`` would have no ticket."""
        return self._open_until is not None and (self._trying or now < self._open_until)

    def enter(self, now: float) -> int | None:
        """A ticket; ``None``: the hook is left alone."""
        if self.leaves_alone(now):
            return None
        self._trying = self.open
        return self._ticket

    def worked(self, ticket: int) -> None:
        if ticket != self._ticket:
            return
        self._in_a_row = 0
        if self._trying:
            self._trying, self._open_until = False, None
            self._ticket += 1

    def failed(self, ticket: int, now: float) -> None:
        if ticket != self._ticket:
            return
        self._in_a_row += 1
        if self._trying or self._in_a_row >= self._failures:
            self._trying, self._open_until = False, now + self.seconds
            self._ticket += 1

    def leave(self, ticket: int) -> None:
        """The call says nothing about the hook."""
        if ticket == self._ticket:
            self._trying = False


class _Turn:
    """Whether a call has left the queue."""

    came = False


async def _in_turn(engine: HookEngine, call: Call, slots: asyncio.Semaphore, turn: _Turn) -> Answer:
    async with slots:
        turn.came = True
        return await engine.call(call)


def _outcome(call: Call, calling: asyncio.Task[Answer]) -> tuple[str | None, Answer | None]:
    """What is wrong, and the answer where nothing is."""
    if calling.cancelled():
        return "it was stopped", None
    error = calling.exception()
    if isinstance(error, HookError):
        return str(error), None
    if error is not None:
        _log.error("calling a hook went wrong", hook=call.hook, exc_info=error)
        return type(error).__name__, None
    answer = calling.result()
    if isinstance(call, Question):
        if not isinstance(answer, QUESTIONS[type(call)]):
            return "it answers something else", None
        if not -_CODE_MAX <= getattr(answer, "code", 0) <= _CODE_MAX:
            return "its code is too large", None
    return None, answer


def _done(loop: asyncio.AbstractEventLoop, outcome: A | HookFailed) -> asyncio.Future[A]:
    future: asyncio.Future[A] = loop.create_future()
    if isinstance(outcome, HookFailed):
        future.set_exception(outcome)
        _take_note(future)
    else:
        future.set_result(outcome)
    return future


def _take_note(done: asyncio.Future[Any]) -> None:
    """Who asked may have gone, and then nobody else looks at the error, which asyncio would log."""
    if not done.cancelled():
        done.exception()
