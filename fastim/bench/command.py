"""``fastim bench`` as people meet it: what it takes, what it shows meanwhile, and the files that it leaves."""

import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from fastim.bench import profile
from fastim.bench.driver import Target
from fastim.bench.failures import BenchError, Interrupted
from fastim.bench.plot import draw
from fastim.bench.profile import SUFFIX
from fastim.bench.report import Report, show
from fastim.bench.run import Given, run

PLOT_SUFFIX = ".svg"
PIPE_WIDTH = 160


class Wish(Struct, frozen=True, kw_only=True):
    """What a command line asks for; ``None`` where it says nothing.

    Attributes:
        flags: Keys of profiles, and values, that were given as flags of their own.
        settings: Of the profile, and stronger than the profile.
        server_settings: Of a server that is started.
    """

    scenario: str | None
    profile: Path | None
    flags: Mapping[str, str]
    settings: Sequence[str]
    server: str | None
    http: str | None
    app_id: str | None
    app_key: str | None
    process_id: int | None
    server_settings: Sequence[str]
    pinned: bool
    json: Path | None
    plot: Path | None
    plots: bool
    command: Sequence[str]


def bench(wish: Wish) -> int:
    """Make a run, show what came of it and write it down.

    Returns:
        The exit code: 0, or 1 when something was refused, missing or cut off, or 128 and the signal's number when it
        was interrupted.

    Raises:
        SettingsError: The profile cannot be used.
        BenchError: The run cannot be made.
    """
    given = _given(wish)
    plot = _plot_file(wish, given.scenario)
    files = [file for file in (wish.json, plot) if file is not None]
    for file in files:
        _check_writable(file)
    if wish.json is not None and plot is not None and _real(wish.json) == _real(plot):
        raise BenchError(f"{plot}: --json and --plot want a file each")
    console = Console(stderr=True)
    console.print(f"fastim bench {given.scenario}: {given.profile.about}", highlight=False, soft_wrap=True)
    try:
        with _progress(console) as tell:
            report = run(given, tell)
    except Interrupted as error:
        console.print("interrupted before anything was measured", highlight=False)
        return 128 + error.signal_number
    out = Console()
    try:
        _write(report, wish.json, plot)
    finally:
        # Whatever has become of the disk since the run began, people see what they waited for.
        show(report, out if out.is_terminal else Console(width=PIPE_WIDTH))
    for file in files:
        out.print(f"{file} written", highlight=False, soft_wrap=True)
    if report.interrupted is not None:
        return 128 + signal.Signals[report.interrupted]
    return 0 if report.sound else 1


def list_scenarios() -> list[tuple[str, str]]:
    """Name and purpose of each profile that comes with fastim."""
    return [(name, profile.parse(text, name).about) for name, text in profile.built_in().items()]


def _given(wish: Wish) -> Given:
    if wish.profile is not None and wish.scenario is not None:
        raise BenchError("a SCENARIO and --profile exclude each other")
    if wish.profile is not None:
        name, text, source = wish.profile.stem, profile.read(wish.profile), str(wish.profile)
    else:
        name = wish.scenario or profile.DEFAULT
        text, source = profile.text_of(name), f"{name}{SUFFIX}"
    made = profile.parse(text, source, wish.settings, wish.flags)
    target, http = None, None
    if wish.server is not None:
        if wish.app_id is None:
            raise BenchError("--server wants --app-id, an application of that server")
        target = Target(*_address("--server", wish.server), wish.app_id)
        http = None if wish.http is None else _address("--http", wish.http)
        if wish.app_key is not None and http is None:
            raise BenchError("--app-key is checked over HTTP: give --http HOST:PORT, too; without it no key is needed")
        if wish.server_settings:
            raise BenchError("--server-set is for a server that is started, and excludes --server")
        if made.transport == "websocket" and http is not None and http != (target.host, target.port):
            raise BenchError("over WebSocket --server is the HTTP address: leave --http out, or give the same")
    elif given := [
        flag
        for flag, value in (
            ("--http", wish.http),
            ("--app-id", wish.app_id),
            ("--app-key", wish.app_key),
            ("--pid", wish.process_id),
        )
        if value is not None
    ]:
        raise BenchError(f"{given[0]} says something about a server that runs: give --server HOST:PORT, too")
    return Given(
        name,
        made,
        _without_key(wish.command),
        target,
        http,
        wish.app_key,
        wish.process_id,
        wish.server_settings,
        wish.pinned,
    )


def _without_key(command: Sequence[str]) -> list[str]:
    """The words of a command line, fit to be shown to others."""
    flag, hidden = "--app-key", "..."
    return [
        hidden if before == flag else f"{flag}={hidden}" if word.startswith(f"{flag}=") else word
        for before, word in zip(["", *command], command, strict=False)
    ]


def _address(flag: str, text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise BenchError(f"{flag}: {text!r} does not fit; give HOST:PORT")
    return host.strip("[]"), int(port)


def _plot_file(wish: Wish, scenario: str) -> Path | None:
    if not wish.plots:
        return None
    file = wish.plot or Path(f"fastim-bench-{scenario}{PLOT_SUFFIX}")
    if file.suffix.lower() != PLOT_SUFFIX:
        raise BenchError(f"--plot: {file}: plots are SVG, so give FILE.svg; fastim needs nothing that draws PNG")
    return file


def _check_writable(file: Path) -> None:
    """Say before the run, not after it, that its file cannot be written."""
    directory = file.parent
    # Unlike those of ``Path`` these raise nothing where one may not look.
    if os.path.isdir(file):
        raise BenchError(f"{file}: is a directory")
    if os.path.exists(file) and not os.path.isfile(file):
        # What is written takes its place, which would be the end of /dev/null.
        raise BenchError(f"{file}: is a device or a pipe; give the name of a file")
    if os.path.islink(file):
        if os.path.islink(_real(file)):
            raise BenchError(f"{file}: is a link that leads to itself")
        return _check_writable(_real(file))
    if not os.path.isdir(directory):
        raise BenchError(f"{file}: there is no directory {directory}")
    if not os.access(directory, os.W_OK):
        raise BenchError(f"{file}: the directory {directory} cannot be written to")
    return None


def _real(file: Path) -> Path:
    """Where links lead to; ``Path.resolve`` gives up on those that go round in circles."""
    return Path(os.path.realpath(file))


def _write(report: Report, json: Path | None, plot: Path | None) -> None:
    if json is not None:
        _write_whole(json, report.json())
    if plot is not None:
        _write_whole(plot, draw(report).encode())


def _write_whole(file: Path, content: bytes) -> None:
    """Write a file under another name and rename it, so that nobody ever finds half of it."""
    # A link stays, and what it names is replaced.
    real = _real(file)
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
        try:
            with os.fdopen(descriptor, "wb") as new:
                new.write(content)
                # Nobody else could read what mkstemp makes.
                mask = os.umask(0)
                os.umask(mask)
                os.fchmod(new.fileno(), 0o666 & ~mask)
            Path(name).replace(real)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise BenchError(f"{file}: cannot be written: {error.strerror or error}") from error


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[str, float], None]]:
    """A bar, where there is somebody to see it, and else a line for whatever goes on."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    # Refreshed by whoever tells: a thread of its own would take time from the load when it least expects it.
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as bar:
        yield _Bar(bar)


class _Bar:
    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=1.0)

    def __call__(self, what: str, share: float) -> None:
        self._bar.update(self._task, description=what, completed=share, refresh=True)


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = ""

    def __call__(self, what: str, share: float) -> None:
        if what != self._last:
            self._console.print(what, highlight=False, soft_wrap=True)
            self._last = what
