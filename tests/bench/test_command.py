"""``fastim bench`` as people meet it: a server of its own, files, signals, and what it refuses."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from fastim.bench.machine import _seconds_of
from fastim.bench.poller import READ, WRITE, Poller, Selected, poller
from fastim.bench.report import Report
from tests.bench.stub_server import APP_ID, stub_server
from tests.bench.svg import texts_of
from tests.server_process import ServerProcess

CHECKOUT = Path(__file__).parents[2]
SMALL = ("--readers", "20", "--seconds", "0.4", "--set", "warm_up_seconds=0")


def spawn(directory: Path, *words: str, descriptors: int = 0) -> "subprocess.Popen[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FASTIM_")}
    limited = ("sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh") if descriptors else ()
    return subprocess.Popen(
        [*limited, sys.executable, "-m", "fastim", "bench", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=directory,
        # Temporary files where they can be counted.
        env=environment | {"PYTHONPATH": str(CHECKOUT), "COLUMNS": "200", "TMPDIR": str(directory / "tmp")},
    )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "tmp").mkdir()
    return tmp_path


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def bench(directory: Path) -> Run:
    def run(*words: str, descriptors: int = 0) -> tuple[int, str, str]:
        with spawn(directory, *words, descriptors=descriptors) as process:
            out, err = process.communicate(timeout=50)
        return process.returncode, out, err

    return run


def files_in(directory: Path) -> set[str]:
    """All files, and none of them temporary."""
    assert list((directory / "tmp").iterdir()) == []
    return {file.name for file in directory.iterdir()} - {"tmp"}


def refused(result: tuple[int, str, str]) -> str:
    """What was said instead of a run: one line, whatever went before, and exit code 2."""
    code, out, err = result
    assert (code, out) == (2, ""), err
    lines = [line for line in err.splitlines() if line.startswith("fastim: ")]
    assert len(lines) == 1
    assert "Traceback" not in err
    return lines[0].removeprefix("fastim: ")


# --- What it leaves ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_bare_run_starts_a_server_and_leaves_a_plot_and_nothing_else(bench: Run, directory: Path) -> None:
    code, out, err = bench(*SMALL, "--json", "all.json")
    assert code == 0, err
    assert files_in(directory) == {"fastim-bench-room.svg", "all.json"}
    assert "room: delivery" in out
    assert "fastim-bench-room.svg written" in out
    assert any("fastim bench room" in text for text in texts_of((directory / "fastim-bench-room.svg").read_text()))
    report = msgspec.json.decode((directory / "all.json").read_bytes(), type=Report)
    assert report.server.started
    assert report.server.process_id is not None
    with pytest.raises(ProcessLookupError):
        os.kill(report.server.process_id, 0)
    assert report.command == ["bench", *SMALL, "--json", "all.json"]
    assert report.machine.packages["protobuf"]
    assert set(report.server.memory_bytes) == {"before", "connected", "peak", "after"}
    assert report.server.cpu_percent is not None
    if sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1:
        assert not set(report.server.cores) & set(report.load.cores)
        assert report.load.cores


@pytest.mark.slow
def test_a_profile_of_your_own_a_server_of_your_own_and_no_plot(bench: Run, directory: Path) -> None:
    (directory / "mine.toml").write_text("seconds = 0.3\n[parts.here]\nkind = 'idle'\nclients = 5\necho_seconds = 0.1")
    with ServerProcess(directory / "data") as server:
        given = ("--server", str(server.tcp), "--app-id", server.app_id, "--http", str(server.http))
        key = ("--app-key", server.app_key, "--pid", str(server.process.pid))
        code, out, err = bench("--profile", "mine.toml", *given, *key, "--no-plot", "--json", "all.json")
        wrong = refused(bench("--profile", "mine.toml", *given, "--app-key", "wrong"))
    assert code == 0, err
    assert "here: echo" in out
    written = json.loads((directory / "all.json").read_bytes())
    assert (written["scenario"], written["server"]["started"]) == ("mine", False)
    assert server.app_key not in json.dumps(written)
    assert written["server"]["memory_bytes"]["before"] > 1_000_000
    assert wrong == f"http://{server.http} does not take --app-key for --app-id {server.app_id}: status 401"
    assert files_in(directory) == {"mine.toml", "all.json", "data"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "after", "code"),
    [
        (signal.SIGINT, "measuring", 130),
        (signal.SIGTERM, "measuring", 143),
        (signal.SIGINT, "connecting room", 130),
        (signal.SIGTERM, "starting a server", 143),
    ],
)
def test_an_interrupted_run_leaves_no_process_and_no_half_written_file(
    directory: Path, said: signal.Signals, after: str, code: int
) -> None:
    with spawn(directory, "room", "--readers", "20", "--seconds", "50", "--set", "warm_up_seconds=0") as process:
        assert process.stderr is not None
        while (line := process.stderr.readline().strip()) != after:
            assert line
        process.send_signal(said)
        out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in err
    if after == "measuring":
        # What was on its way when it was interrupted still came.
        [delivery] = [line.split() for line in out.splitlines() if "room: delivery" in line]
        assert delivery[3] == "0"
        assert f"interrupted ({said.name}) after" in out
        assert files_in(directory) == {"fastim-bench-room.svg"}
        assert any(f"interrupted ({said.name})" in one for one in texts_of(next(directory.glob("*.svg")).read_text()))
    else:
        assert "interrupted before anything was measured" in err
        assert files_in(directory) == set()
    # The server had its data there, and so it would still be named on its command line.
    assert str(directory / "tmp") not in command_lines()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the end of another's child is seen on Linux only")
@pytest.mark.parametrize("after", ["starting a server", "measuring"])
def test_a_run_that_is_killed_takes_its_server_and_the_server_s_data_with_it(directory: Path, after: str) -> None:
    with spawn(directory, "room", "--readers", "20", "--seconds", "50", "--set", "warm_up_seconds=0") as process:
        assert process.stderr is not None
        while (line := process.stderr.readline().strip()) != after:
            assert line
        # It says that it starts a server, and then it does.
        while not (servers := children_of(process.pid)):
            assert process.poll() is None
        descriptors = [os.pidfd_open(server) for server in servers]
        process.kill()
        process.communicate(timeout=30)
    try:
        for descriptor in descriptors:
            assert select.select([descriptor], [], [], 20)[0], "the server goes on"
    finally:
        for descriptor in descriptors:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)
    assert files_in(directory) == set()


def children_of(process_id: int) -> list[int]:
    """Its children that have begun to be what they are to be."""
    children = [int(word) for word in Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()]
    return [child for child in children if b"fastim-bench-" in Path(f"/proc/{child}/cmdline").read_bytes()]


def command_lines() -> str:
    """Of all processes."""
    if Path("/proc/self/cmdline").exists():
        lines = []
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                lines.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        return "\n".join(lines)
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_a_run_in_which_something_was_refused_exits_with_1(bench: Run, directory: Path) -> None:
    with stub_server("--refuse-every", "2") as stub:
        code, out, _ = bench(*SMALL, "--server", f"127.0.0.1:{stub.port}", "--app-id", APP_ID, "--plot", "my.svg")
    assert code == 1
    assert "times: 4116 MESSAGE_SENT_QUOTA_EXCEEDED" in out
    assert files_in(directory) == {"my.svg"}


@pytest.mark.slow
def test_results_that_cannot_be_written_after_all_are_shown_first(bench: Run, directory: Path) -> None:
    lasting = ("--readers", "5", "--seconds", "50", "--set", "warm_up_seconds=0")
    (directory / "gone").mkdir()
    with stub_server() as stub:
        server = ("--server", f"127.0.0.1:{stub.port}", "--app-id", APP_ID)
        with spawn(directory, *lasting, *server, "--no-plot", "--json", "gone/all.json") as process:
            assert process.stderr is not None
            while (line := process.stderr.readline().strip()) != "measuring":
                assert line
            (directory / "gone").rmdir()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "room: delivery" in out
    assert "written" not in out
    assert "fastim: gone/all.json: cannot be written: No such file or directory" in err


@pytest.mark.slow
def test_a_link_is_followed_and_stays(bench: Run, directory: Path) -> None:
    (directory / "there").mkdir()
    (directory / "all.json").symlink_to("there/all.json")
    (directory / "round.json").symlink_to("round.json")
    with stub_server() as stub:
        server = ("--server", f"127.0.0.1:{stub.port}", "--app-id", APP_ID, "--no-plot")
        code, _, err = bench(*SMALL, *server, "--json", "all.json")
        said = refused(bench(*SMALL, *server, "--json", "round.json"))
    assert code == 0, err
    assert (directory / "all.json").is_symlink()
    assert msgspec.json.decode((directory / "there" / "all.json").read_bytes(), type=Report).sound
    assert said == "round.json: is a link that leads to itself"


# --- What it refuses --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_server_that_is_not_there_is_one_line(bench: Run, directory: Path) -> None:
    # Nobody listens on a port that was free a moment ago.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    said = refused(bench(*SMALL, "--server", f"127.0.0.1:{port}", "--app-id", "x"))
    assert said == f"127.0.0.1:{port}: Connection refused"
    assert refused(bench("--server", f"[::1]:{port}", "--app-id", "x")).startswith(f"[::1]:{port}: ")
    assert refused(bench("--server", "no-such-host.invalid:1", "--app-id", "x")).startswith("no-such-host.invalid:1: ")
    assert files_in(directory) == set()


@pytest.mark.slow
def test_an_application_that_is_not_there_is_one_line(bench: Run) -> None:
    with stub_server() as stub:
        said = refused(bench(*SMALL, "--server", f"127.0.0.1:{stub.port}", "--app-id", "x"))
    assert said == (
        "opening sessions: the server says 4100 APP_NOT_AVAILABLE; is --app-id that of an application there?"
    )


@pytest.mark.slow
def test_too_few_descriptors_are_told_with_how_many_it_takes(bench: Run) -> None:
    said = refused(bench("--readers", "500", descriptors=200))
    assert said.startswith("516 connections need 580 descriptors, and the hard limit is 200: raise it")


@pytest.mark.slow
def test_a_server_that_cannot_start_says_why(bench: Run, directory: Path) -> None:
    said = refused(bench(*SMALL, "--server-set", "limits.mesage_bytes=1"))
    assert said.startswith("the server did not start, status 2: fastim: --set limits.mesage_bytes: no such setting")
    assert files_in(directory) == set()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["romo"], "romo: no such scenario; the nearest is room"),
        (["room", "--profile", "x.toml"], "a SCENARIO and --profile exclude each other"),
        (["--profile", "x.toml"], "x.toml: cannot be read: No such file or directory"),
        (["--set", "readrs=3"], "--set readrs: no such key; the nearest is room.readers"),
        (["idle", "--readers", "3"], "--readers: no part of this scenario has that; one of kind rooms has"),
        (["--rate", "-1"], "room.toml: parts.room.rate: does not fit; expected `float` >= 0"),
        (["--plot", "x.png"], "--plot: x.png: plots are SVG, so give FILE.svg; fastim needs nothing that draws PNG"),
        (["--json", "none/x.json"], "none/x.json: there is no directory none"),
        (["--plot", "tmp.svg/x.svg"], "tmp.svg/x.svg: there is no directory tmp.svg"),
        (["--json", "."], ".: is a directory"),
        (["--json", "x.svg", "--plot", "./x.svg"], "x.svg: --json and --plot want a file each"),
        (["--server", "4567", "--app-id", "x"], "--server: '4567' does not fit; give HOST:PORT"),
        (["--server", "a:1"], "--server wants --app-id, an application of that server"),
        (["--server", "a:1", "--app-id", "x", "--app-key", "y"], "--app-key is checked over HTTP: give --http"),
        (["--server", "a:1", "--app-id", "x", "--server-set", "y=1"], "--server-set is for a server that is started"),
        (["--app-id", "x"], "--app-id says something about a server that runs: give --server HOST:PORT, too"),
        (["--pid", "1"], "--pid says something about a server that runs: give --server HOST:PORT, too"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_happens(
    words: list[str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    directory: Path,
) -> None:
    from fastim.__main__ import main

    monkeypatch.chdir(directory)
    monkeypatch.setattr(sys, "argv", ["fastim", "bench", *words])
    with pytest.raises(SystemExit) as exited:
        main()
    assert isinstance(exited.value.code, int)
    assert refused((exited.value.code, *capsys.readouterr())).startswith(says)
    assert files_in(directory) == set()


@pytest.mark.slow
def test_what_is_no_file_is_not_replaced_by_one(bench: Run, directory: Path) -> None:
    # Stands for /dev/null, which this would be the end of if it failed.
    os.mkfifo(directory / "pipe")
    assert refused(bench("--no-plot", "--seconds", "0.1", "--json", "pipe")) == (
        "pipe: is a device or a pipe; give the name of a file"
    )
    assert (directory / "pipe").is_fifo()


def test_help_list_and_show_answer_without_a_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fastim.__main__ import main

    def said(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["fastim", "bench", *words])
        with pytest.raises(SystemExit) as exited:
            main()
        assert exited.value.code == 0
        return capsys.readouterr().out

    monkeypatch.setenv("COLUMNS", "200")
    assert "--profile" in said("--help")
    listed = said("--list").splitlines()
    assert len(listed) == 10
    assert any(line.startswith("slow-readers") and "stopped reading" in line for line in listed)
    assert 'kind = "idle"' in said("idle", "--show")
    assert 'kind = "rooms"' in said("--show")


# --- What differs between systems -------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [poller, Selected])
def test_sockets_are_watched_for_what_was_asked(made: Callable[[], Poller]) -> None:
    one, other = socket.socketpair()
    waiting = made()
    try:
        waiting.watch(one.fileno(), READ)
        assert waiting.wait(0) == []
        waiting.watch(one.fileno(), READ | WRITE)
        assert waiting.wait(5) == [(one.fileno(), WRITE)]
        other.send(b"x")
        assert waiting.wait(5) == [(one.fileno(), READ | WRITE)]
        waiting.watch(one.fileno(), READ)
        assert waiting.wait(5) == [(one.fileno(), READ)]
        waiting.forget(one.fileno())
        waiting.forget(one.fileno())
        assert waiting.wait(0.001) == []
    finally:
        waiting.close()
        one.close()
        other.close()


@pytest.mark.parametrize(
    ("spent", "seconds"), [("0:01.25", 1.25), ("01:02:03", 3723), ("2-01:00:00", 176_400), ("12:34", 754)]
)
def test_ps_tells_processor_time_in_several_ways(spent: str, seconds: float) -> None:
    assert _seconds_of(spent) == seconds
