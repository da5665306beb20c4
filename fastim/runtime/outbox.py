"""The outbox of pushes: works out who is sent what, sends it beside the chat, and tries again until it expires.

All that matters is in the store: jobs, what waits for each target, when that is due. A job goes in the commit that
queues its last notifications, a notification once the provider's answer is known. So a crash loses nothing, and what
was under way then is sent once more: at most one notification for each target.

Order. A target has one notification under way at a time, the oldest. Jobs of one conversation are worked out side by
side and queued in their order; one that fails holds those behind it up for ``HELD_FAILURES`` failures, and nobody else.
Where no job can be worked out at all, the order is kept for longer.

Chat goes first. All this takes of the loop's time what chat leaves (``Leisure``), and jobs wait in the store meanwhile.
Those for which no hook is asked are worked out one after the other and queued together: one commit for all of them.

Trouble. What fails is due again after a back-off of its own. A provider that fails ``FAILURES_MOST`` times in a row, or
says when to come back, is left alone as a whole; then one notification finds out whether it works again, another one
each time. What comes up meanwhile is put off until the pause is over, one every ``SLOT_SECONDS``: so a million of them
neither stand in the way of other providers nor come back at once. The same goes for more than a provider can take.
"""

import asyncio
import random
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from itertools import product
from math import inf, isfinite
from typing import Any, Final, Literal, get_args

import structlog
from msgspec import Struct
from msgspec.structs import replace

from fastim.core.errors import HookFailed, Unavailable
from fastim.core.hooks import A, Call, Notice, Question, ReceiversOffline
from fastim.core.ids import made_at
from fastim.core.installation import Installation
from fastim.core.push import EXPIRY_MILLIS, Job, Notification
from fastim.core.retry import back_off
from fastim.core.units import Millis
from fastim.ports.hooks import Hooks
from fastim.ports.push import Dead, Later, Outcome, PushProvider, Refused, Sent
from fastim.ports.store import DuePush, Waiting
from fastim.runtime.leisure import Leisure
from fastim.service import installations, pushing
from fastim.service.io import Io
from fastim.settings import Push

WEBHOOK: Final = "webhook"
"""The provider that gets what is for a client and not for a device."""
NOBODY: Final = "none"
"""Stands for a provider where there is none for a device, and where the device is gone."""

JOBS_AT_ONCE: Final = 16
"""Each may wait for a hook."""
JOBS_AHEAD: Final = 256
"""Jobs read at once, besides those that are known."""
PLAIN_MOST: Final = 64
"""A job for at most so many clients, for which no hook is asked, is queued together with others."""
PLAIN_AT_ONCE: Final = 64
"""So many are in one commit, which others may wait for: it takes less than a millisecond more."""
FAILED_MOST: Final = 256
"""Jobs that are passed over because they failed. Above it only these are tried."""
HELD_FAILURES: Final = 2
"""So often a job's conversation waits for it; then those behind it go first."""
HELD_FAILURES_MOST: Final = 12
"""The same where nothing works: over an hour, with the settings' own waits."""

PAGE: Final = 64
"""Notifications read at once."""
READY: Final = 256
"""Of one provider, read and waiting for their turn."""
FAILURES_MOST: Final = 3
"""In a row, of one provider or of different jobs: one alone may be the notification's fault, or the job's."""
SEND_SECONDS_MAX: Final = 60.0
"""Providers have deadlines of their own, which are shorter."""
RETRY_AFTER_SECONDS_MAX: Final = 86_400.0
"""No provider is believed that wants to be left alone for longer."""
SLOT_SECONDS: Final = 0.002
"""Between two notifications that were put off, or longer where the provider takes longer."""
PUT_OFF_SECONDS: Final = 1.0
"""How long one is put off at least, or the first wait of the settings where that is shorter."""

GATHER_SECONDS: Final = 0.02
"""Between two looks into the store: what comes in between is looked at together."""
NEXT_SECONDS: Final = 0.001
"""The same where one was sent and its provider has nothing else to do."""
LOOK_SECONDS: Final = 60.0
"""The longest time without a look: the clock may have been set."""
CLOSE_SECONDS: Final = 5.0
"""How long what is under way may take when the server stops."""
COUNT_SECONDS: Final = 1.0
"""Between two counts of what waits."""
TROUBLE_FIRST_SECONDS: Final = 0.5
TROUBLE_MOST_SECONDS: Final = 30.0
"""How long is waited when the store cannot be used."""
LOG_SECONDS: Final = 60.0
"""Between two lines in the log about what one provider refuses."""

SENT_SECONDS_BOUNDS: Final = (0.1, 0.5, 1, 5, 30, 60, 300, 1_800, 3_600, 21_600, 86_400)

Word = Literal["sent", "later", "dead", "refused", "expired", "gone"]
"""What has become of a notification, or of a try: ``later``."""
WORDS: Final[tuple[Word, ...]] = get_args(Word)
JobWord = Literal["done", "failed", "expired"]
JOB_WORDS: Final[tuple[JobWord, ...]] = get_args(JobWord)

_log = structlog.get_logger(__name__)


class Outbox:
    """One application's pushes; fulfils the ``Pusher`` port.

    Args:
        providers: The ways to devices; the first that carries one is taken.
        hooks: Who may be told of receivers that are offline.
        luck: From 0 to 1, a new one at each call: keeps what failed together apart.

    Attributes:
        outcomes: How many notifications came to what, by provider; tries in vain, too.
        jobs: How many messages came to what.
        waiting: What is in the store, as of a second ago.
        sent_seconds_counts: Notifications by how long after their message they were sent: up to each of
            ``SENT_SECONDS_BOUNDS``, and longer.
        sent_seconds: All those times together.
        on_word: Called with a notification's message, its client, who carried it and what has become of it, each time.
    """

    def __init__(
        self,
        providers: Sequence[PushProvider],
        settings: Push,
        hooks: Hooks,
        luck: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._hooks = hooks
        self._luck = luck
        self._ways = [_Way(provider, settings, luck) for provider in providers]
        names = [*(way.name for way in self._ways), NOBODY]
        self.outcomes: Counter[tuple[str, Word]] = Counter(dict.fromkeys(product(names, WORDS), 0))
        self.jobs: Counter[JobWord] = Counter(dict.fromkeys(JOB_WORDS, 0))
        self.waiting = Waiting(0, 0, 0)
        self.sent_seconds_counts = [0] * (len(SENT_SECONDS_BOUNDS) + 1)
        self.sent_seconds = 0.0
        self.on_word: Callable[[str, str, str, Word], None] = _nothing
        self._loops: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._changed = asyncio.Event()
        # Jobs, by their message's id.
        self._job_there = asyncio.Event()
        self._slot_free = asyncio.Event()
        self._turns = asyncio.Lock()
        self._active: set[str] = set()
        self._ended: set[str] = set()
        self._failed: dict[str, _Failed] = {}
        self._failed_since_done: set[str] = set()
        self._tails: dict[str, asyncio.Future[bool]] = {}
        # Targets of what is under way, ready, or being written.
        self._push_there = asyncio.Event()
        self._provider_free = asyncio.Event()
        self._busy: set[str] = set()

    @property
    def paused(self) -> dict[str, bool]:
        """Whether each provider is left alone as a whole, or being tried after that."""
        return {way.name: way.is_paused for way in self._ways}

    def start(self, io: Io) -> None:
        """Begin with what an earlier run left behind."""
        io = replace(io, pace=Leisure())
        self._loops = [
            asyncio.create_task(self._keep(io, step))
            for step in (self._look_at_jobs, self._look_at_pushes, self._count)
        ]

    async def close(self) -> None:
        """Stop; what was not sent stays in the store. What is under way has ``CLOSE_SECONDS`` to end."""
        self._closing = True
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for way in self._ways:
            await way.provider.close()

    def wants(self, content: str) -> bool:
        if self._hooks.defines(ReceiversOffline):
            return True
        return bool(self._ways) and bool(content or self._settings.static)

    def wake(self) -> None:
        self._job_there.set()
        self._changed.set()

    async def try_out(self, notification: Notification, devices: Sequence[Installation]) -> tuple[str, Outcome] | None:
        """Send one at once, beside all that waits; nothing of it is counted, stored or tried again.

        Args:
            devices: The one that it is for; where it is for a client and not for a device, all that the client has.

        Returns:
            Who carried it, and what came of it; ``None``: there is nobody to carry it.
        """
        if notification.installation_id:
            way = next((way for way in self._ways if way.provider.carries(devices[0])), None)
        else:
            way = next((way for way in self._ways if way.name == WEBHOOK), None)
        return None if way is None else (way.name, await _ask(way.provider, notification, devices))

    # --- Who is sent what ---------------------------------------------------------------------------------------------

    async def _look_at_jobs(self, io: Io) -> None:
        self._job_there.clear()
        self._ended.clear()
        now = _now()
        limit = JOBS_AHEAD + len(self._active) + len(self._failed)
        jobs = await io.store.push_jobs(limit)
        held = self._held()
        begun = 0
        plain: list[Job] = []
        for job in jobs:
            # What was read before a job ended may still have it.
            if job.message_id in self._active or job.message_id in self._ended or self._waits(job, now, held):
                continue
            begun += 1
            if self._is_plain(io, job):
                plain.append(job)
                continue
            await self._work_out_plain(io, plain)
            plain.clear()
            while len(self._active) >= JOBS_AT_ONCE:
                self._slot_free.clear()
                await self._slot_free.wait()
            if not self._waits(job, now, self._held()):
                self._begin_job(io, job)
        await self._work_out_plain(io, plain)
        if not begun or len(jobs) < limit:
            await _wait(self._job_there, self._until_next_job(now))
        await asyncio.sleep(GATHER_SECONDS)

    def _waits(self, job: Job, now: float, held: Mapping[str, str]) -> bool:
        """Whether a job's turn has not come, since it failed or one before it did."""
        if not self._failed:
            return False
        failed = self._failed.get(job.message_id)
        if failed is not None and failed.due > now:
            return True
        if failed is None and len(self._failed) >= FAILED_MOST:
            return True
        return held.get(job.conversation_id, job.message_id) < job.message_id

    def _held(self) -> dict[str, str]:
        """The conversations whose jobs wait for one that failed, and which is the first that they wait for."""
        held: dict[str, str] = {}
        most = HELD_FAILURES_MOST if len(self._failed_since_done) >= FAILURES_MOST else HELD_FAILURES
        for name, failed in self._failed.items():
            if failed.failures <= most:
                conversation = failed.job.conversation_id
                held[conversation] = min(held.get(conversation, name), name)
        return held

    def _until_next_job(self, seen_at: float) -> float:
        """Seconds until a job's turn comes that had not come at ``seen_at``."""
        dues = (failed.due for failed in self._failed.values() if failed.due > seen_at)
        return min(max(min(dues, default=inf) - _now(), 0.0), LOOK_SECONDS)

    def _is_plain(self, io: Io, job: Job) -> bool:
        """Whether a job is soon worked out, and nothing has to be waited for."""
        is_small = not job.to_subscribers and len(job.offline) <= PLAIN_MOST
        return is_small and job.conversation_id not in self._tails and not io.hooks.defines(ReceiversOffline)

    async def _work_out_plain(self, io: Io, jobs: Sequence[Job]) -> None:
        """Queue the notifications of jobs that wait for nothing, those of some together."""
        for some in range(0, len(jobs), PLAIN_AT_ONCE):
            async with self._turns:
                await self._queue_plain(io, jobs[some : some + PLAIN_AT_ONCE])

    async def _queue_plain(self, io: Io, jobs: Sequence[Job]) -> None:
        stopped: set[str] = set()
        made: list[tuple[pushing.Part, JobWord]] = []
        badges: dict[str, int] = {}
        now = io.clock.now()
        for job in jobs:
            if job.conversation_id in stopped:
                continue
            try:
                if job.timestamp + EXPIRY_MILLIS <= now:
                    made.append((pushing.Part(job), "expired"))
                else:
                    made.append((await self._plain_part(io, job, badges), "done"))
                    badges |= made[-1][0].badges
            except Exception as error:
                stopped.add(job.conversation_id)
                self._fail(job, error)
        due = self._first_due(io)
        begun = [
            (part.job, word, io.store.queue_pushes(part.job, part.notifications, part.badges, due, done=True))
            for part, word in made
        ]
        for job, word, written in begun:
            try:
                await written
            except Exception as error:
                self._fail(job, error)
            else:
                self.jobs[word] += 1
                self._note_done(job)
        self._push_there.set()
        self._changed.set()

    async def _plain_part(self, io: Io, job: Job, badges: Mapping[str, int]) -> pushing.Part:
        """The last of a job's parts; those before it, if there are any, are queued.

        Args:
            badges: What is on its way to the store.
        """
        async with aclosing(pushing.expand(io, job, badges)) as parts:
            async for part in parts:
                if part.last:
                    return part
                await io.store.queue_pushes(part.job, part.notifications, part.badges, self._first_due(io), done=False)
        raise AssertionError("the last part says so")

    def _first_due(self, io: Io) -> Millis:
        """When what is queued now is due: while nothing can be sent, not before that is over."""
        now, seconds = _now(), 0.0
        if self._ways:
            seconds = min(way.left(now) for way in self._ways)
        return Millis(io.clock.now() + round(seconds * 1000))

    def _begin_job(self, io: Io, job: Job) -> None:
        queued: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        before = self._tails.get(job.conversation_id)
        self._tails[job.conversation_id] = queued
        self._active.add(job.message_id)
        self._begin(self._work_out(io, job, before, queued))

    async def _work_out(
        self, io: Io, job: Job, before: asyncio.Future[bool] | None, queued: asyncio.Future[bool]
    ) -> None:
        """Queue a job's notifications.

        Args:
            before: Tells when those of the conversation's job before this one are queued; ``False``: they are not,
                and this one has to wait until they are.
            queued: Tells the same of this one.
        """
        word: JobWord | None = None
        try:
            if job.timestamp + EXPIRY_MILLIS <= io.clock.now():
                await io.store.queue_pushes(job, (), {}, io.clock.now(), done=True)
                word = "expired"
            elif await self._queue(io, job, before, queued):
                word = "done"
        except Exception as error:
            word = "failed"
            _tell(queued, self._fail(job, error) > HELD_FAILURES)
        finally:
            _tell(queued, word is not None)
            self._end_job(job, word, queued)

    async def _queue(self, io: Io, job: Job, before: asyncio.Future[bool] | None, queued: asyncio.Future[bool]) -> bool:
        """Work out and queue it all; ``False``: the one before it was put back, so nothing was done.

        Jobs take turns, but for the time in which they wait for a hook: a badge that counts up is read and written, and
        no other job's may come between.
        """
        turn = _Turn(self._turns, before)
        await turn.take()
        try:
            if not io.hooks.defines(ReceiversOffline) and not await turn.came_before():
                return False
            async with aclosing(pushing.expand(replace(io, hooks=_Asking(io.hooks, turn)), job)) as parts:
                async for part in parts:
                    if not await turn.came_before():
                        return False
                    written = io.store.queue_pushes(
                        part.job, part.notifications, part.badges, self._first_due(io), done=part.last
                    )
                    if part.last:
                        _tell(queued, True)
                    if part.badges:
                        await written
                    turn.give_up()
                    await written
                    self._push_there.set()
                    if not part.last:
                        await turn.take()
        finally:
            turn.give_up()
        return True

    def _fail(self, job: Job, error: Exception) -> int:
        """Put a job off; returns how often it has failed."""
        before = self._failed.get(job.message_id)
        failures = 1 if before is None else before.failures + 1
        if failures == 1 and not isinstance(error, HookFailed | Unavailable):
            _log.error("a message's pushes could not be worked out", message=job.message_id, exc_info=error)
        self._failed[job.message_id] = _Failed(job, failures, _now() + self._back_off(failures))
        self._failed_since_done.add(job.message_id)
        return failures

    def _note_done(self, job: Job) -> None:
        """A job was done; where nothing had worked for a while, all that failed is tried again at once, in order."""
        if self._failed.pop(job.message_id, None) is not None:
            self._job_there.set()  # others may wait for it
        if len(self._failed_since_done) >= FAILURES_MOST:
            self._failed = {
                name: replace(failed, failures=min(failed.failures, HELD_FAILURES), due=_now())
                for name, failed in self._failed.items()
            }
            self._job_there.set()
        self._failed_since_done.clear()

    def _end_job(self, job: Job, word: JobWord | None, queued: asyncio.Future[bool]) -> None:
        if self._tails.get(job.conversation_id) is queued:
            del self._tails[job.conversation_id]
        self._active.discard(job.message_id)
        self._ended.add(job.message_id)
        self._slot_free.set()
        self._changed.set()
        if word is not None:
            self.jobs[word] += 1
        if word in ("done", "expired"):
            self._note_done(job)
        else:
            self._job_there.set()  # others may wait for what has become of it

    # --- Sending ------------------------------------------------------------------------------------------------------

    async def _look_at_pushes(self, io: Io) -> None:
        self._push_there.clear()
        self._provider_free.clear()
        pushes = await io.store.due_pushes(io.clock.now(), PAGE, frozenset(self._busy))
        for push in pushes:
            await io.pace.breathe()
            await self._take(io, push)
        if len(pushes) < PAGE:
            ahead = Millis(io.clock.now() + int(LOOK_SECONDS * 1000))
            coming = await io.store.due_pushes(ahead, 1, frozenset(self._busy))
            seconds = (coming[0].due - io.clock.now()) / 1000 if coming else LOOK_SECONDS
            await _wait(self._push_there, min(max(seconds, 0.0), LOOK_SECONDS))
        await asyncio.sleep(NEXT_SECONDS)
        await io.pace.breathe()
        await _wait(self._provider_free, GATHER_SECONDS)

    async def _take(self, io: Io, push: DuePush) -> None:
        """Have a notification sent, put off or given up; until that is done its target is busy."""
        notification = push.notification
        try:
            way, devices, is_gone = await self._find_way(io, notification)
        except Unavailable:
            raise
        except Exception as error:
            _log.error("a push provider has failed", exc_info=error)
            self._busy.add(notification.target)
            self._begin(self._postpone(io, push, self._back_off(push.attempts + 1), tried=True))
            return
        self._busy.add(notification.target)
        if is_gone:
            self._begin(self._drop(io, push))
        elif notification.expires_at <= io.clock.now():
            self._begin(self._settle(io, push, NOBODY if way is None else way.name, "expired"))
        elif way is None:
            self._begin(self._settle(io, push, NOBODY, "gone"))
        elif way.has_room(_now()):
            way.ready.append((push, devices))
            self._send_ready(io, way)
        else:
            self._begin(self._put_off(io, way, push))

    async def _find_way(
        self, io: Io, notification: Notification
    ) -> tuple["_Way | None", tuple[Installation, ...], bool]:
        """Who carries it, the devices that it is for, and whether its target is gone for good.

        Nobody does if the client is not linked to the device any more: it has closed its session there.
        """
        if not notification.installation_id:
            way = next((way for way in self._ways if way.name == WEBHOOK), None)
            found = await io.store.installations_of(notification.client_id) if way is not None else []
            return way, tuple(one for one in found if one.valid), False
        device = await io.store.find_installation(notification.installation_id)
        if device is None or not device.valid:
            return None, (), True
        if notification.client_id not in device.channels:
            return None, (), False
        return next((way for way in self._ways if way.provider.carries(device)), None), (device,), False

    def _send_ready(self, io: Io, way: "_Way") -> None:
        while way.ready and not self._closing and way.may_begin(_now()):
            push, devices = way.ready.popleft()
            way.under_way += 1
            self._begin(self._send(io, way, push, devices, way.pauses_in_all))

    async def _send(self, io: Io, way: "_Way", push: DuePush, devices: tuple[Installation, ...], pauses: int) -> None:
        begun = _now()
        outcome = await _ask(way.provider, push.notification, devices)
        way.under_way -= 1
        way.hear(outcome, pauses, _now() - begun, _now())
        while way.ready and way.is_paused:
            self._begin(self._put_off(io, way, way.ready.popleft()[0]))
        self._send_ready(io, way)
        await self._conclude(io, way, push, devices, outcome)

    async def _conclude(
        self, io: Io, way: "_Way", push: DuePush, devices: tuple[Installation, ...], outcome: Outcome
    ) -> None:
        match outcome:
            case Sent():
                self._note_sent(push.notification, io.clock.now())
                await self._settle(io, push, way.name, "sent")
                if not way.ready:
                    self._provider_free.set()
            case Later():
                seconds = max(believed(outcome.after_seconds), self._back_off(push.attempts + 1), way.left(_now()))
                await self._postpone(io, push, seconds, tried=True)
                self._note(push.notification, way.name, "later")
            case Dead() if push.notification.installation_id:
                await self._retire(io, push, devices[0])
                self._note(push.notification, way.name, "dead")
            case Dead() | Refused():
                way.log_refusal(outcome, push.notification, _now())
                await self._settle(io, push, way.name, "refused")

    async def _drop(self, io: Io, push: DuePush) -> None:
        dropped: list[int] = []

        async def drop() -> None:
            dropped.append(await io.store.drop_pushes(push.notification.target))

        await self._write(push, drop)
        self._note(push.notification, NOBODY, "gone", dropped[0])

    async def _settle(self, io: Io, push: DuePush, provider: str, word: Word) -> None:
        await self._write(push, lambda: io.store.settle_push(push, io.clock.now()))
        self._note(push.notification, provider, word)

    async def _put_off(self, io: Io, way: "_Way", push: DuePush) -> None:
        now = _now()
        await self._postpone(io, push, way.slot(now) - now, tried=False)

    async def _postpone(self, io: Io, push: DuePush, seconds: float, *, tried: bool) -> None:
        due = Millis(io.clock.now() + max(1, round(seconds * 1000)))
        await self._write(push, lambda: io.store.postpone_push(push, due, tried=tried))

    async def _retire(self, io: Io, push: DuePush, device: Installation) -> None:
        """A device's token is dead: nothing more is sent to it, unless it has come with another one meanwhile."""

        async def retire() -> None:
            await installations.retire_token(io, device.id, device)
            now = await io.store.find_installation(device.id)
            if now is not None and now.valid:
                await io.store.postpone_push(push, Millis(io.clock.now() + 1))
            else:
                await io.store.drop_pushes(push.notification.target)

        await self._write(push, retire)

    async def _write(self, push: DuePush, begin: Callable[[], Awaitable[object]]) -> None:
        """Have something written of a notification, however long that takes: its target is busy until then."""
        failures = 0
        while True:
            try:
                await begin()
                break
            except Exception as error:
                failures += 1
                if failures == 1 and not isinstance(error, Unavailable):
                    _log.error("what became of a push could not be stored", exc_info=error)
            await asyncio.sleep(back_off(failures, TROUBLE_FIRST_SECONDS, TROUBLE_MOST_SECONDS, self._luck()))
        self._busy.discard(push.notification.target)
        self._push_there.set()
        self._changed.set()

    def _note(self, notification: Notification, provider: str, word: Word, count: int = 1) -> None:
        self.outcomes[provider, word] += count
        self.on_word(notification.message_id, notification.client_id, provider, word)

    def _note_sent(self, notification: Notification, now: Millis) -> None:
        made = made_at(notification.message_id)
        seconds = max(now - made, 0) / 1000 if made is not None else 0.0
        self.sent_seconds += seconds
        self.sent_seconds_counts[bisect_left(SENT_SECONDS_BOUNDS, seconds)] += 1

    # --- Both ---------------------------------------------------------------------------------------------------------

    async def _count(self, io: Io) -> None:
        self._changed.clear()
        self.waiting = await io.store.count_pushes()
        await self._changed.wait()
        await asyncio.sleep(COUNT_SECONDS)

    async def _keep(self, io: Io, step: Callable[[Io], Awaitable[None]]) -> None:
        """Do it again and again, whatever happens to it."""
        failures = 0
        while True:
            try:
                await step(io)
                failures = 0
                continue
            except Unavailable:
                failures += 1
            except Exception as error:
                failures += 1
                if failures == 1:
                    _log.error("the outbox of pushes has failed, and goes on", exc_info=error)
            await asyncio.sleep(back_off(failures, TROUBLE_FIRST_SECONDS, TROUBLE_MOST_SECONDS, self._luck()))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _back_off(self, failures: int) -> float:
        settings = self._settings
        return back_off(failures, settings.retry_first_seconds, settings.retry_most_seconds, self._luck())


class _Failed(Struct, frozen=True):
    """A job that failed.

    Attributes:
        due: When it is tried again, in the loop's time.
    """

    job: Job
    failures: int
    due: float


class _Turn:
    """One job's turn to work out who is sent what; it may be given up and taken again.

    Args:
        before: Tells whether the notifications of the conversation's job before this one are queued.
    """

    def __init__(self, turns: asyncio.Lock, before: asyncio.Future[bool] | None) -> None:
        self._turns = turns
        self._before = before
        self._is_held = False

    async def take(self) -> None:
        await self._turns.acquire()
        self._is_held = True

    def give_up(self) -> None:
        if self._is_held:
            self._is_held = False
            self._turns.release()

    async def came_before(self) -> bool:
        """Wait for the job before this one, without a turn; ``False``: it was put back."""
        if self._before is None:
            return True
        if not self._before.done():
            self.give_up()
            await asyncio.wait((self._before,))
            await self.take()
        return not self._before.cancelled() and self._before.result()


class _Asking:
    """Hooks of which a job asks something without keeping its turn meanwhile, nor ahead of the job before it."""

    def __init__(self, hooks: Hooks, turn: _Turn) -> None:
        self._hooks = hooks
        self._turn = turn

    def defines(self, kind: type[Call]) -> bool:
        return self._hooks.defines(kind)

    async def ask(self, question: Question[A]) -> A:
        self._turn.give_up()
        try:
            return await self._hooks.ask(question)
        finally:
            await self._turn.take()
            await self._turn.came_before()

    def tell(self, notice: Notice) -> None:
        self._hooks.tell(notice)


class _Way:
    """One provider, and how it is doing.

    Attributes:
        ready: What is sent next, with the devices that it is for.
        under_way: How many are being sent.
        pauses_in_all: How often it was left alone as a whole.
    """

    def __init__(self, provider: PushProvider, settings: Push, luck: Callable[[], float]) -> None:
        self.provider = provider
        self.name = provider.name
        self.ready: deque[tuple[DuePush, tuple[Installation, ...]]] = deque()
        self.under_way = 0
        self.pauses_in_all = 0
        self._settings = settings
        self._luck = luck
        self._failures = 0  # in a row
        self._pauses = 0  # in a row
        self._until = 0.0
        self._seconds = 0.0  # that a notification takes, of late
        self._last_slot = 0.0
        self._log_again_at = 0.0

    @property
    def is_paused(self) -> bool:
        """Whether nothing goes its way, or only what finds out whether it works again."""
        return self._pauses > 0

    def may_begin(self, now: float) -> bool:
        """Whether one more may be sent now."""
        if self.is_paused:
            return now >= self._until and not self.under_way
        return self.under_way < self._settings.at_once

    def has_room(self, now: float) -> bool:
        """Whether one more may be sent now or soon."""
        if self.is_paused:
            return self.may_begin(now) and not self.ready
        return self.under_way + len(self.ready) < self._settings.at_once + READY

    def left(self, now: float) -> float:
        """Seconds until what has just failed may be tried again at the earliest: behind what has waited longer."""
        return max(self._until - now, 0.0) + SLOT_SECONDS if self.is_paused else 0.0

    def slot(self, now: float) -> float:
        """When one that has to wait comes up again: each a bit later than the one before, as fast as can be sent."""
        settings = self._settings
        first = max(self._until, now + min(PUT_OFF_SECONDS, settings.retry_first_seconds))
        step = max(SLOT_SECONDS, self._seconds / settings.at_once)
        slot = max(self._last_slot + step, first)
        self._last_slot = slot if slot <= first + settings.retry_most_seconds else first
        return self._last_slot

    def hear(self, outcome: Outcome, pauses: int, seconds: float, now: float) -> None:
        """What became of one that was sent.

        Args:
            pauses: How often the provider had been left alone when it was begun: what was under way when a pause began
                neither ends it nor makes it longer, unless the provider says so.
            seconds: How long it took.
        """
        self._seconds += (seconds - self._seconds) / 8
        is_stale = pauses != self.pauses_in_all
        if not isinstance(outcome, Later) or not outcome.whole:
            if not is_stale:
                self._go_on()
            return
        after = believed(outcome.after_seconds)
        if is_stale:
            self._until = max(self._until, now + after) if self.is_paused else self._until
            return
        self._failures += 1
        if self.is_paused or after or self._failures >= FAILURES_MOST:
            self._pause(outcome, after, now)

    def log_refusal(self, outcome: Dead | Refused, notification: Notification, now: float) -> None:
        if now >= self._log_again_at:
            self._log_again_at = now + LOG_SECONDS
            _log.warning(
                "a push was refused, and more may be",
                provider=self.name,
                says=outcome.says,
                message=notification.message_id,
            )

    def _pause(self, outcome: Later, after: float, now: float) -> None:
        if not self.is_paused:
            _log.warning("a push provider is left alone for a while", provider=self.name, says=outcome.says)
        self._pauses += 1
        self.pauses_in_all += 1
        settings = self._settings
        wait = back_off(self._pauses, settings.retry_first_seconds, settings.retry_most_seconds, self._luck())
        self._until = now + max(after, wait)

    def _go_on(self) -> None:
        if self.is_paused:
            _log.info("a push provider works again", provider=self.name)
            self._last_slot = 0.0
        self._failures = self._pauses = 0


def believed(after_seconds: float | None) -> float:
    """How long a provider is left alone that says so; 0 where it says nothing, or nonsense."""
    if after_seconds is None or not isfinite(after_seconds):
        return 0.0
    return min(max(after_seconds, 0.0), RETRY_AFTER_SECONDS_MAX)


async def _ask(provider: PushProvider, notification: Notification, devices: Sequence[Installation]) -> Outcome:
    try:
        async with asyncio.timeout(SEND_SECONDS_MAX):
            return await provider.send(notification, devices)
    except TimeoutError:
        return Later("no answer in time")
    except Exception as error:
        _log.error("a push provider has failed", provider=provider.name, exc_info=error)
        return Later("a fault of this server's", whole=False)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


def _tell(queued: asyncio.Future[bool], word: bool) -> None:
    if not queued.done():
        queued.set_result(word)


def _nothing(message_id: str, client_id: str, provider: str, word: Word) -> None:
    """What is called before anybody wants to know."""


def _now() -> float:
    return asyncio.get_running_loop().time()
