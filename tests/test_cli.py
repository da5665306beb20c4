"""The command line as people and scripts meet it: what it prints, where, and how it exits."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import lmdb
import pytest

from fastim.__main__ import main
from fastim.adapters.lmdb import LmdbStore
from fastim.core.conversation import Conversation, Kind
from fastim.core.units import Millis
from fastim.settings import describe, template

MOMENT = Millis(1_790_000_000_000)


class Result(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty directory, no setting in the environment, and help that is not folded."""
    for name in [name for name in os.environ if name.startswith("FASTIM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process."""

    def run(*words: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["fastim", *words])
        with pytest.raises(SystemExit) as exited:
            main()
        assert isinstance(exited.value.code, int)
        return Result(exited.value.code, *capsys.readouterr())

    return run


def spawn(*words: str) -> subprocess.Popen[str]:
    """Starts a command in a process of its own."""
    # The checkout is found even when fastim is not installed and the directory is another.
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen(
        [sys.executable, "-m", "fastim", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def one_line(result: Result) -> str:
    """What a refused command said: one line on stderr, nothing on stdout, exit code 2."""
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("fastim: ")
    assert result.err.count("\n") == 1
    return result.err.removeprefix("fastim: ").rstrip("\n")


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["serve", "doctor"])
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["--set", "limits.mesage_bytes=1"],
            "--set limits.mesage_bytes: no such setting; the nearest is limits.message_bytes",
        ),
        (
            ["--set", "limits.message_bytes=x"],
            "--set limits.message_bytes: 'x' does not fit; give a whole number of bytes",
        ),
        (["--tcp", "4567"], "--tcp: '4567' does not fit; give HOST:PORT"),
        (["--http", "localhost"], "--http: 'localhost' does not fit; give HOST:PORT"),
        (["--data", ""], "--data: '' does not fit; give a path"),
        (["--tcps", "127.0.0.1:0"], "--tcps: there is no TLS without tls.certificate and tls.key"),
        (["--https", "127.0.0.1:0"], "--https: there is no TLS without tls.certificate and tls.key"),
        (
            ["--set", "server.tcps=127.0.0.1:0"],
            "--set server.tcps: there is no TLS without tls.certificate and tls.key",
        ),
        (["--config", "none.toml"], "none.toml: cannot be read: No such file or directory"),
        (["--tcp", "a:1", "--http", "a:1"], "server.tcp and server.http are both a:1"),
    ],
)
def test_settings_that_cannot_be_used_stop_the_start_with_one_line(
    run: Run, command: str, words: list[str], says: str
) -> None:
    assert one_line(run(command, *words)).startswith(says)


@pytest.mark.parametrize(
    "words",
    [
        ["--app-id", "application"],
        ["--app-id", "application", "--app-key", "key"],
        ["--app-key", "key", "--master-key", "master"],
        ["--master-key", ""],
    ],
)
def test_an_application_without_all_its_keys_is_refused(run: Run, words: list[str]) -> None:
    assert one_line(run("serve", *words)) == "--app-id, --app-key and --master-key go together: give all three or none"


def test_an_application_that_no_client_could_use_is_refused(run: Run) -> None:
    said = one_line(run("serve", "--app-id", "application", "--app-key", "same", "--master-key", "same"))
    assert said.startswith("--master-key: ")


@pytest.mark.parametrize(
    "words", [["serve", "--prot", "1"], ["frob"], ["serve", "extra"], ["serve", "--tcp"], ["init", "a", "b"]]
)
def test_what_is_no_command_or_flag_is_a_usage_error(run: Run, words: list[str]) -> None:
    result = run(*words)
    assert (result.code, result.out) == (2, "")
    assert "Error" in result.err
    assert "Traceback" not in result.err


def test_the_environment_and_the_file_it_names_are_read(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "im.toml").write_text("[limits]\nframe_bytes = 1\n", encoding="utf-8")
    monkeypatch.setenv("FASTIM_CONFIG", "im.toml")
    assert one_line(run("serve")).startswith("im.toml: limits.frame_bytes: 1 does not fit")
    monkeypatch.setenv("FASTIM_CONFIG", "")
    monkeypatch.setenv("FASTIM_LIMITS__FRAME_BYTES", "2")
    assert one_line(run("serve")).startswith("FASTIM_LIMITS__FRAME_BYTES: '2' does not fit")


def test_a_file_in_the_working_directory_is_not_read_unasked(run: Run, tmp_path: Path) -> None:
    (tmp_path / "fastim.toml").write_text("nonsense", encoding="utf-8")
    assert "nonsense" not in run("doctor", "--tcp", "127.0.0.1:0", "--http", "127.0.0.1:0").err


# --- init -------------------------------------------------------------------------------------------------------------


def test_init_writes_every_setting_and_says_what_to_do_next(run: Run, tmp_path: Path) -> None:
    result = run("init")
    assert (result.code, result.err) == (0, "")
    assert "fastim doctor --config fastim.toml" in result.out
    assert "fastim serve --config fastim.toml" in result.out
    written = (tmp_path / "fastim.toml").read_text(encoding="utf-8")
    assert all(f"#{field.name.partition('.')[2]} = " in written for field in describe())


def test_init_takes_another_name_and_doctor_takes_what_it_wrote(run: Run) -> None:
    assert run("init", "im.toml").code == 0
    result = run("doctor", "--config", "im.toml", "--tcp", "127.0.0.1:0", "--http", "127.0.0.1:0")
    assert result.err == ""


def test_init_never_overwrites_unless_forced(run: Run, tmp_path: Path) -> None:
    (tmp_path / "fastim.toml").write_text("mine", encoding="utf-8")
    assert one_line(run("init")) == "fastim.toml exists: give another name, or --force to write over it"
    assert (tmp_path / "fastim.toml").read_text(encoding="utf-8") == "mine"
    assert run("init", "--force").code == 0
    assert (tmp_path / "fastim.toml").read_text(encoding="utf-8") == template()


def test_init_where_nothing_can_be_written_is_refused(run: Run) -> None:
    assert (
        one_line(run("init", "no/such/fastim.toml"))
        == "no/such/fastim.toml cannot be written: No such file or directory"
    )


# --- doctor -----------------------------------------------------------------------------------------------------------


def test_doctor_prints_a_line_for_each_finding(run: Run) -> None:
    result = run("doctor", "--data", "data", "--tcp", "127.0.0.1:0", "--http", "127.0.0.1:0")
    assert result.err == ""
    for about in ("descriptors", "data directory", "cost of a commit", "map size", "port tcp", "port http", "clock"):
        assert re.search(rf"^{about} +(ok|warning|failure|unknown) +\S", result.out, re.MULTILINE)
    assert result.out.endswith("a start would succeed\n" if result.code == 0 else "a start would fail\n")


def test_doctor_exits_1_when_a_start_would_fail(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("doctor", "--tcp", f"127.0.0.1:{taken.getsockname()[1]}", "--http", "127.0.0.1:0")
    assert result.code == 1
    assert re.search(r"^port tcp +failure .* in use ", result.out, re.MULTILINE)
    assert result.out.endswith("a start would fail\n")


def test_doctor_speaks_json(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("doctor", "--json", "--data", "file", "--tcp", "127.0.0.1:0", "--http", "127.0.0.1:0")
    told = json.loads(result.out)
    assert (result.code, told["ok"]) == (1, False)
    states = {finding["about"]: finding["state"] for finding in told["findings"]}
    assert (states["data directory"], states["port tcp"]) == ("failure", "ok")
    assert all(finding.keys() == {"about", "state", "says"} for finding in told["findings"])


# --- words ------------------------------------------------------------------------------------------------------------

SAMPLE = str(Path(__file__).parents[1] / "examples" / "words.txt")


@pytest.fixture
def uneven(tmp_path: Path) -> str:
    """A list with lines that cannot be used, and lines that say the same."""
    lines = ("# drinks", "茶叶", b"\xff", " 茶葉 ", "", "Tea", "x" * 65, "Tea", "...", "TEA")
    content = b"\r\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    (tmp_path / "uneven.txt").write_bytes(content)
    return "uneven.txt"


def test_a_sound_list_has_nothing_to_say_about_but_its_size(run: Run) -> None:
    result = run("words", "check", SAMPLE)
    assert (result.code, result.err) == (0, "")
    size_bytes = Path(SAMPLE).stat().st_size
    assert re.fullmatch(
        rf"{re.escape(SAMPLE)}: 31 words, no problems; {size_bytes} bytes, \d+ in memory, made in \d+\.\d ms\n",
        result.out,
    )


def test_lines_that_cannot_be_used_are_named_with_the_reason(run: Run, uneven: str) -> None:
    result = run("words", "check", uneven)
    assert (result.code, result.err) == (1, "")
    told = re.findall(r"^problem +line (\d+) +(.*?) *$", result.out, re.MULTILINE)
    assert told == [
        ("3", "is not UTF-8"),
        ("7", "is longer than 64 characters"),
        ("9", "has only characters that are read over"),
    ]
    assert "uneven.txt: 5 words, 3 problems; " in result.out


def test_lines_that_say_the_same_are_hints(run: Run, uneven: str) -> None:
    told = re.findall(r"^hint +line (\d+) +(.*?) *$", run("words", "check", uneven).out, re.MULTILINE)
    assert told == [
        ("4", "茶葉 is taken for the same as 茶叶, line 2"),
        ("8", "Tea again, line 6"),
        ("10", "TEA is taken for the same as Tea, line 6"),
    ]


def test_hints_alone_are_no_failure(run: Run, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("tea\ntea\n", encoding="utf-8")
    assert run("words", "check", "list.txt").code == 0


def test_of_very_many_bad_lines_the_first_are_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xff\n" * 1_000)
    result = run("words", "check", "list.txt")
    assert result.code == 1
    assert result.out.count("is not UTF-8") == 100
    assert "and 900 more lines like these\n" in result.out


@pytest.mark.parametrize("words", [["check"], ["test", "x", "--file"]])
def test_a_list_that_cannot_be_read_is_refused(run: Run, words: list[str]) -> None:
    assert one_line(run("words", *words, "none.txt")) == "none.txt: cannot be read: No such file or directory"


def hits_in(result: Result) -> list[list[str]]:
    """What stands there, the word, its line, and why it is a hit."""
    rows = [re.split(r" {2,}", line.strip()) for line in result.out.splitlines() if line.startswith("hit ")]
    return [row[1:] for row in rows]


def test_a_text_is_shown_with_what_would_be_hit_and_what_is_left(run: Run) -> None:
    result = run("words", "test", "I like D U R I A N and 榴蓮, not turnips", "--file", SAMPLE)
    assert (result.code, result.err) == (0, "")
    assert hits_in(result) == [
        ["D U R I A N", "durian", "line 5", "case, separators"],
        ["榴蓮", "榴莲", "line 19", "traditional"],
        ["turnip", "turnip", "line 16", "as written"],
    ]
    assert result.out.endswith("hits: 3\nI like *** and ***, not ***s\n")


@pytest.mark.parametrize(
    ("text", "switch", "off"),
    [
        ("ｔｕｒｎｉｐ", "width", "false"),
        ("Turnip", "case", "false"),
        ("榴蓮", "traditional", "false"),
        ("tur\u200bnip", "zero_width", "false"),
        ("tuuurnip", "repeats", "false"),
        ("t-u-r-n-i-p", "separators", "none"),
    ],
)
def test_a_hit_is_told_with_the_switch_that_it_takes(run: Run, text: str, switch: str, off: str) -> None:
    ((_, _, _, why),) = hits_in(run("words", "test", text, "--file", SAMPLE))
    assert why == switch
    assert hits_in(run("words", "test", text, "--file", SAMPLE, "--set", f"words.{switch}={off}")) == []


def test_a_text_without_a_listed_word_stays_as_it_is(run: Run) -> None:
    result = run("words", "test", "bread and butter", "--file", SAMPLE)
    assert (result.code, result.out) == (0, "hits: 0\nbread and butter\n")


def test_the_list_of_the_settings_is_taken_when_none_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("tea\n", encoding="utf-8")
    (tmp_path / "im.toml").write_text('[words]\nfile = "list.txt"\n', encoding="utf-8")
    result = run("words", "test", "tea?", "--config", "im.toml")
    assert result.out.endswith("***?\n")
    assert result.err == "words.enabled is off: a server with these settings masks nothing\n"
    assert run("words", "test", "tea?", "--config", "im.toml", "--set", "words.enabled=true").err == ""
    assert one_line(run("words", "test", "tea?")) == "there is no list: give --file, or words.file in the settings"


def test_a_text_is_tried_with_what_can_be_used_of_a_list(run: Run, uneven: str) -> None:
    result = run("words", "test", "tea", "--file", uneven)
    assert result.out.endswith("***\n")
    assert result.err == "lines that cannot be used: 3; 'fastim words check' names them\n"


# --- backup and verify ------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A data directory with an application and a conversation of two in it."""

    async def fill(path: Path) -> None:
        opened = LmdbStore.open(path)
        application = await opened.save_application("application", "key", "master", "hook")
        await opened.of(application).create_conversation(
            Conversation("6512a3f0c3b1a20001f4e9d7", Kind.NORMAL, "ann", MOMENT, MOMENT, members=("ann", "bob"))
        )
        await opened.close()

    asyncio.run(fill(tmp_path / "data"))
    return tmp_path / "data"


def test_verify_counts_what_is_stored(run: Run, store: Path) -> None:
    result = run("verify", "--data", str(store))
    assert (result.code, result.err) == (0, "")
    assert re.search(r"^conversations +1 *$", result.out, re.MULTILINE)
    assert re.search(r"^memberships +2 *$", result.out, re.MULTILINE)
    assert result.out.endswith(f"{store}: no problems\n")


def test_verify_says_each_problem_and_exits_1(run: Run, store: Path) -> None:
    environment = lmdb.open(str(store), max_dbs=20, lib_version=0)
    heads = environment.open_db(b"heads", create=False)
    with environment.begin(write=True, db=heads) as transaction:
        transaction.drop(heads, delete=False)
    environment.close()
    result = run("verify", "--data", str(store))
    assert result.code == 1
    assert re.search(r"^problem +conversation 6512a3f0c3b1a20001f4e9d7 has no head *$", result.out, re.MULTILINE)
    assert result.out.endswith("problems\n")


def test_a_backup_is_a_store_of_its_own(run: Run, store: Path, tmp_path: Path) -> None:
    result = run("backup", "--data", str(store), str(tmp_path / "copy"))
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"{store} copied to {tmp_path / 'copy'}, ")
    counts = [run("verify", "--data", str(path)).out.splitlines()[:-1] for path in (store, tmp_path / "copy")]
    assert counts[0] == counts[1]


def test_a_backup_never_overwrites(run: Run, store: Path) -> None:
    assert one_line(run("backup", "--data", str(store), str(store))).startswith(f"{store} is not empty")


@pytest.mark.parametrize("words", [["verify"], ["backup", "copy"]])
def test_where_there_is_no_store_there_is_nothing_to_verify_or_copy(
    run: Run, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTIM_SERVER__DATA", "elsewhere")
    assert one_line(run(*words)).startswith("elsewhere holds no fastim data")
    assert list(tmp_path.iterdir()) == []


# --- The process ------------------------------------------------------------------------------------------------------


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """A configuration file that nobody has finished writing: who reads it waits."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def test_help_names_every_command(run: Run) -> None:
    result = run("--help")
    assert result.code == 0
    for command in ("serve", "init", "doctor", "words", "backup", "verify", "version"):
        assert re.search(rf"\b{command} ", result.out)


@pytest.mark.slow
def test_version_is_one_line_and_needs_none_of_the_server() -> None:
    with spawn("version") as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert re.fullmatch(rf"fastim \S.*, \w+ {re.escape(sys.version.split()[0])}, \S.*\n", out)
    check = "import sys, fastim.__main__; print({'uvloop', 'lmdb', 'aiohttp', 'rich'} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    loaded = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, env=environment, check=True)
    assert loaded.stdout == "set()\n"


@pytest.mark.slow
def test_a_reader_that_went_away_is_no_traceback() -> None:
    for words in (["doctor"], ["doctor", "--json"], ["version"], ["init", "x.toml"], ["--help"]):
        with spawn(*words) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            assert process.stderr.read() == ""
        assert process.returncode in (0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["serve", "doctor"])
def test_ctrl_c_is_no_traceback(fifo: Path, command: str) -> None:
    with spawn(command, "--config", str(fifo)) as process, fifo.open("wb"):  # opens when the command reads it
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert (process.returncode, err) == (130, "")
