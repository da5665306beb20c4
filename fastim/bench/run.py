"""A run from its begin to its end: the server, the clients, the load, and what came of it."""

import gc
import secrets
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from time import monotonic, monotonic_ns, thread_time_ns
from types import FrameType

from msgspec import Struct

from fastim._load import Histogram, Meter
from fastim.bench import machine, profile
from fastim.bench.conversations import Conversations
from fastim.bench.driver import Driver, Target
from fastim.bench.failures import BenchError, Interrupted
from fastim.bench.history import History
from fastim.bench.idle import Idle
from fastim.bench.machine import Cores, Taken, Watch
from fastim.bench.parts import NEVER, SECOND, Kept, Part, Window
from fastim.bench.profile import Profile
from fastim.bench.report import (
    Beheld,
    Failure,
    Latency,
    Load,
    LoadedServer,
    Measured,
    Moment,
    Report,
)
from fastim.bench.rooms import Rooms
from fastim.bench.server import APP_ID, Server

MOMENTS = 60
"""In the time that is measured, as long as they are not too short."""
MOMENT_SECONDS = 0.25
QUIET_SECONDS = 0.1
QUIET_LONG_SECONDS = 0.5
"""Nothing came for so long: nothing more will. The longer one where nobody knows how much should."""
LEAD_SECONDS = 0.05
BUSY_PERCENT = 90.0
LATE_MILLIS = 5.0
LATE_SHARE = 0.25
"""Above both, of a p99 that holds it: then a good part of that latency is the load's own."""
HTTP_SECONDS = 5.0

Progress = Callable[[str, float], None]
"""Told what goes on, and the share of it that is done, 0 to 1."""


class Given(Struct, frozen=True):
    """What is to be run, and on whom.

    Attributes:
        scenario: What the profile is called.
        command: The words of the command line.
        target: A server that runs; ``None``: one is started for the run. Its transport is the profile's.
        http: Host and port of that server's HTTP, by which its metrics are read; ``None``: they are not.
        app_key: Is checked over HTTP; ``None``: it is not.
        process_id: Of a server on this machine, to look at what it takes.
        settings: Of a server that is started.
        pinned: Whether the load, and a server that is started, keep to cores of their own.
    """

    scenario: str
    profile: Profile
    command: list[str]
    target: Target | None
    http: tuple[str, int] | None
    app_key: str | None
    process_id: int | None
    settings: Sequence[str]
    pinned: bool


def run(given: Given, progress: Progress) -> Report:
    """Make a run. When it is interrupted while it measures, the report is of what there is by then.

    Raises:
        BenchError: It cannot be made.
        Interrupted: It was interrupted before it measured anything.
    """
    with _signals() as look, ExitStack() as stack:
        cores = machine.share_cores() if given.pinned else Cores(frozenset(), frozenset(), shared=False)
        about = machine.describe()
        parts = {name: _part(one) for name, one in given.profile.parts.items()}
        _check_descriptors(sum(part.connections for part in parts.values()))
        server: Server | None = None
        target, http, process_id = given.target, given.http, given.process_id
        if target is None:
            progress("starting a server", 0)
            server = stack.enter_context(Server(given.settings, cores.server, look))
            door = server.http if given.profile.transport == "websocket" else server.tcp
            target, http, process_id = Target(*door, APP_ID), server.http, server.process_id
        target = Target(target.host, target.port, target.app_id, given.profile.transport == "websocket")
        machine.pin(0, cores.driver)
        if given.app_key is not None and http is not None:
            _check_key(http, target.app_id, given.app_key)
        going = _Run(given, parts, target, http, process_id, server, look, progress)
        stack.callback(going.close)
        return going.make(about, cores)


class _Run:
    """A run whose server is there."""

    def __init__(
        self,
        given: Given,
        parts: dict[str, Part],
        target: Target,
        http: tuple[str, int] | None,
        process_id: int | None,
        server: Server | None,
        look: Callable[[], None],
        progress: Progress,
    ) -> None:
        self._given, self._parts, self._target, self._http = given, parts, target, http
        self._process_id, self._server, self._progress = process_id, server, progress
        self._look = look
        meters = 1 + sum(len(part.keeps) for part in parts.values())
        self._connections = sum(part.connections for part in parts.values())
        self._watch = Watch(self._taken, MOMENT_SECONDS / 2)
        try:
            self._driver = Driver(target, self._connections, meters, self._alive)
        except BaseException:
            self._watch.close()
            raise
        self._kept = [(name, kept) for name, part in parts.items() for kept in part.keeps]
        self._series: list[Moment] = []
        self._interrupted: Interrupted | None = None
        self._sent_all = True

    def close(self) -> None:
        self._driver.close()
        self._watch.close()

    def make(self, about: machine.Machine, cores: Cores) -> Report:
        given, driver = self._given, self._driver
        started_at = datetime.now(UTC)
        memory = self._memory("before")
        counters = self._counters()
        self._prepare()
        memory |= self._memory("connected")
        gc.collect()
        gc.freeze()
        try:
            spent = self._go()
        finally:
            gc.unfreeze()
        self._progress("waiting for what is on its way", 1)
        self._drain()
        memory |= self._memory("after")
        peak = [one.server_memory_bytes for one in self._series if one.server_memory_bytes is not None]
        memory |= {"peak": max(peak)} if peak else {}
        ended = set(driver.ended)
        figures = {name: part.figures(ended) for name, part in self._parts.items()}
        return Report(
            scenario=given.scenario,
            profile=given.profile,
            command=given.command,
            started_at=started_at,
            seconds=spent.seconds,
            interrupted=None if self._interrupted is None else signal.Signals(self._interrupted.signal_number).name,
            machine=about,
            server=self._loaded(spent, memory, counters, cores),
            load=self._load(spent, cores),
            measured=list(self._measured(spent)),
            failures=[Failure(code, reason, count) for (code, reason), count in driver.failures.most_common()],
            ended=len(ended),
            figures={name: some for name, some in figures.items() if some},
            series=self._series,
        )

    # --- What is done -------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        first, meter = 0, 1
        run_name = f"bench-{secrets.token_hex(4)}"
        for index, (name, part) in enumerate(self._parts.items()):
            self._progress(f"connecting {name}", index / len(self._parts))
            part.prepare(self._driver, f"{run_name}-{index}-", first, meter)
            first += part.connections
            meter += len(part.keeps)

    def _go(self) -> "_Spent":
        """Send what is due until it is over, or somebody interrupts."""
        given, driver = self._given.profile, self._driver
        begin_ns = monotonic_ns() + int(LEAD_SECONDS * SECOND)
        measured_ns = begin_ns + int(given.warm_up_seconds * SECOND)
        window = Window(begin_ns, measured_ns, measured_ns + int(given.seconds * SECOND))
        for part in self._parts.values():
            part.begin(window)
        self._progress("warming up", 0)
        self._send_until(window.measured_ns)
        moments = _Moments(driver, self._kept, self._watch)
        gap_ns = int(max(given.seconds / MOMENTS, MOMENT_SECONDS) * SECOND)
        next_ns = window.measured_ns
        while self._interrupted is None and next_ns < window.end_ns:
            next_ns = next_ns + gap_ns if next_ns + 2 * gap_ns <= window.end_ns else window.end_ns
            self._send_until(next_ns)
            self._series.append(moments.look())
            self._progress("measuring", min((monotonic_ns() - measured_ns) / (window.end_ns - measured_ns), 1))
        for part in self._parts.values():
            part.finish()
        if not self._series:
            assert self._interrupted is not None
            raise self._interrupted
        return moments.spent()

    def _send_until(self, until_ns: int) -> None:
        """Have the parts send what is due before then, and read what comes."""
        driver, parts = self._driver, list(self._parts.values())
        try:
            while (now_ns := monotonic_ns()) < until_ns and self._interrupted is None:
                due_ns = min([until_ns, *(part.act(now_ns) for part in parts)])
                driver.turn(max(due_ns - monotonic_ns(), 0) / SECOND)
        except Interrupted as error:
            self._interrupted = error

    def _drain(self) -> None:
        """Wait for what is on its way, as long as it may take; a moment if somebody wants an end."""
        driver, parts, hurried = self._driver, list(self._parts.values()), self._interrupted is not None
        quiet_seconds = QUIET_LONG_SECONDS if any(part.restless for part in parts) else QUIET_SECONDS
        deadline = monotonic() + (QUIET_LONG_SECONDS if hurried else self._given.profile.drain_seconds)
        quiet_since = monotonic()
        if hurried:
            driver.look = _nothing
        try:
            while monotonic() < deadline:
                if not hurried:
                    # A load that has fallen behind has not sent all yet.
                    now_ns = monotonic_ns()
                    self._sent_all = min(part.act(now_ns) for part in parts) >= NEVER
                if driver.turn(0.02 if self._sent_all else 0):
                    quiet_since = monotonic()
                elif self._sent_all and monotonic() - quiet_since > quiet_seconds and not self._missing():
                    return
        except Interrupted as error:
            self._interrupted = error

    def _missing(self) -> bool:
        return any(self._driver.fleet.meter(index + 1).missing for index in range(len(self._kept)))

    # --- What is told -------------------------------------------------------------------------------------------------

    def _measured(self, spent: "_Spent") -> Iterator[Measured]:
        for index, (part, kept) in enumerate(self._kept):
            meter = self._driver.fleet.meter(index + 1)
            yield Measured(
                part,
                kept.name,
                kept.of,
                kept.about,
                meter.due,
                meter.came,
                meter.refused,
                meter.missing,
                meter.repeated,
                spent.came[index] / spent.seconds,
                Latency.of(meter.histogram),
                meter.histogram.buckets(),
            )

    def _loaded(self, spent: "_Spent", memory: dict[str, int], before: dict[str, float], cores: Cores) -> LoadedServer:
        after = self._counters()
        grown = {name: value - before.get(name, 0) for name, value in after.items() if before}
        return LoadedServer(
            f"{self._target.host}:{self._target.port}",
            self._server is not None,
            [] if self._server is None else list(self._server.settings),
            self._process_id,
            sorted(cores.server) if self._server is not None else [],
            spent.server_percent,
            memory,
            {name: value for name, value in grown.items() if value},
        )

    def _load(self, spent: "_Spent", cores: Cores) -> Load:
        fleet = self._driver.fleet
        late, reasons = Histogram(), []
        if spent.driver_percent > BUSY_PERCENT:
            reasons.append(f"it was busy for {spent.driver_percent:.0f} % of the time")
        for index, (part, kept) in enumerate(self._kept):
            meter = fleet.meter(index + 1)
            late.add(meter.late)
            own, whole = meter.late.at(0.99) / 1e6, meter.histogram.at(0.99) / 1e6
            if own > max(LATE_MILLIS, whole * LATE_SHARE):
                reasons.append(f"of {part}, {kept.name}, it sent one in a hundred {own:.1f} ms late, or later")
        if not self._sent_all:
            reasons.append("it did not get to send all that was due")
        if cores.shared:
            reasons.append("it had to share the only core")
        return Load(
            self._connections,
            sorted(cores.driver),
            spent.driver_percent,
            Latency.of(late),
            fleet.reads,
            fleet.frames,
            reasons,
        )

    def _alive(self) -> None:
        self._look()
        if self._server is not None and (why := self._server.failed()):
            raise BenchError(why)

    def _taken(self) -> Taken | None:
        return None if self._process_id is None else machine.taken(self._process_id)

    def _memory(self, when: str) -> dict[str, int]:
        taken = self._taken()
        return {} if taken is None else {when: taken.memory_bytes}

    def _counters(self) -> dict[str, float]:
        """The server's own counters by name, labels included; empty when they cannot be read."""
        if self._http is None:
            return {}
        try:
            with urllib.request.urlopen(f"{_url(self._http)}/metrics", timeout=HTTP_SECONDS) as answer:
                lines = answer.read().decode(errors="replace").splitlines()
        except (OSError, ValueError):
            return {}
        counters = {}
        for line in lines:
            name, _, value = line.rpartition(" ")
            if name.startswith("fastim_") and name.partition("{")[0].endswith("_total"):
                counters[name] = float(value)
        return counters


class _Spent(Struct, frozen=True):
    """What the time that was measured took.

    Attributes:
        came: By meter, what came meanwhile.
    """

    seconds: float
    driver_percent: float
    server_percent: float | None
    came: list[int]


class _Moments:
    """Looks at the meters every now and then."""

    def __init__(self, driver: Driver, kept: Sequence[tuple[str, Kept]], watch: Watch) -> None:
        self._meters: list[Meter] = [driver.fleet.meter(index + 1) for index in range(len(kept))]
        self._kept = kept
        self._watch = watch
        self._begin_ns = self._last_ns = monotonic_ns()
        self._cpu_begin_ns = self._cpu_ns = thread_time_ns()
        self._begun = self._seen = watch.latest
        self._before: list[Histogram] = [meter.histogram.copy() for meter in self._meters]
        self._first = [meter.histogram.count for meter in self._meters]

    def look(self) -> Moment:
        """What has come since the last look."""
        now_ns, cpu_ns, seen = monotonic_ns(), thread_time_ns(), self._watch.latest
        seconds = max(now_ns - self._last_ns, 1) / SECOND
        measured = []
        for index, (meter, (part, kept)) in enumerate(zip(self._meters, self._kept, strict=True)):
            came = meter.histogram.since(self._before[index])
            self._before[index] = meter.histogram.copy()
            figures = (came.at(share) / 1e6 for share in (0.5, 0.99, 1))
            measured.append(Beheld(part, kept.name, came.count / seconds, *figures))
        moment = Moment(
            (now_ns - self._begin_ns) / SECOND,
            _percent(self._seen, seen),
            None if seen is None else seen.memory_bytes,
            100 * (cpu_ns - self._cpu_ns) / SECOND / seconds,
            measured,
        )
        self._last_ns, self._cpu_ns, self._seen = now_ns, cpu_ns, seen
        return moment

    def spent(self) -> _Spent:
        """What it took up to the last look."""
        seconds = (self._last_ns - self._begin_ns) / SECOND
        return _Spent(
            seconds,
            100 * (self._cpu_ns - self._cpu_begin_ns) / SECOND / seconds,
            _percent(self._begun, self._seen),
            [now.count - before for now, before in zip(self._before, self._first, strict=True)],
        )


def _percent(before: Taken | None, now: Taken | None) -> float | None:
    if before is None or now is None or now.at <= before.at:
        return None
    return max(100 * (now.cpu_seconds - before.cpu_seconds) / (now.at - before.at), 0)


def _part(given: profile.Part) -> Part:
    match given:
        case profile.Rooms():
            return Rooms(given)
        case profile.Conversations():
            return Conversations(given)
        case profile.Idle():
            return Idle(given)
        case profile.History():
            return History(given)


def _nothing() -> None:
    """The interruption is known."""


def _check_descriptors(connections: int) -> None:
    if missing := machine.missing_descriptors(connections):
        needed, limit = missing
        raise BenchError(
            f"{connections:,} connections need {needed:,} descriptors, and the hard limit is {limit:,}: "
            "raise it (ulimit -Hn, LimitNOFILE=), or have fewer clients"
        )


def _check_key(http: tuple[str, int], app_id: str, app_key: str) -> None:
    """Ask something that wants the key."""
    request = urllib.request.Request(
        f"{_url(http)}/1.2/rtm/clients/bench/unread-count", headers={"X-LC-Id": app_id, "X-LC-Key": app_key}
    )
    try:
        with urllib.request.urlopen(request, timeout=HTTP_SECONDS):
            pass
    except urllib.error.HTTPError as error:
        with error:
            if error.code in (401, 403):
                raise BenchError(
                    f"{_url(http)} does not take --app-key for --app-id {app_id}: status {error.code}"
                ) from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise BenchError(f"{_url(http)}: {getattr(reason, 'strerror', None) or reason}") from error


def _url(http: tuple[str, int]) -> str:
    host, port = http
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def _signals() -> Iterator[Callable[[], None]]:
    """Take note of signals that want an end, and raise ``Interrupted`` at the next look; the second raises at once.

    What is being cleaned up when the first one comes is cleaned up all the same.
    """
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        if len(seen) == 2:
            raise KeyboardInterrupt

    def look() -> None:
        if seen:
            raise Interrupted(seen[0])

    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # What is ignored from outside, as by nohup, stays so.
    before = {number: signal.signal(number, note) for number in wanted if signal.getsignal(number) != signal.SIG_IGN}
    try:
        yield look
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
