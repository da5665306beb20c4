"""The comparison with other servers: what its figures are made of, and that only a whole run touches its page."""

import sys
from pathlib import Path
from subprocess import run

import pytest

from bench.peers.contender import FASTIM, STORED, Figures
from bench.peers.page import BEGIN, END, Cell, Result, Run, update, verdicts
from bench.peers.servers import CONTROL, NATS, REDIS, C

CELL = Cell(10_000, 1, 4)


def rounds(
    *rates: float, server: float = 2.0, core_percent: float = 95, driver_percent: float = 50
) -> tuple[Figures, ...]:
    return tuple(Figures(rate, server, 90, core_percent, driver_percent, 4) for rate in rates)


def result(**others: tuple[Figures, ...]) -> Result:
    rows = {FASTIM: rounds(300, 100, 330), STORED: rounds(200, 90, 210), NATS: rounds(100, 50, 100, server=6.0)}
    return Result(CELL, rows | {C: rounds(300, 110, 300), CONTROL: rounds(300, 100, 310)} | others)


def a_run(*results: Result) -> Run:
    return Run("A machine", {"fastim": "1", NATS: "v2", CONTROL: "cc"}, 3, 2.0, ("--rounds", "3"), results)


def test_a_ratio_is_taken_within_its_round() -> None:
    # A round that was slow for everybody changes nothing: 3.0, 2.0 and 3.3, not 300 over 100.
    assert result().ratio(FASTIM, NATS).values == (3.0, 2.0, 3.3)


@pytest.mark.parametrize(
    ("again", "void"), [((300, 110, 300), False), ((270, 120, 330), False), ((250, 90, 260), True)]
)
def test_a_run_in_which_c_is_not_as_fast_as_c_is_void(again: tuple[float, ...], void: bool) -> None:
    assert result(**{CONTROL: rounds(*again)}).void is void


def test_a_goal_that_is_missed_is_said_beside_how_far_c_comes() -> None:
    (line,) = verdicts([result()])
    assert line.startswith(
        "10,000 readers, bursts of 1, 4 on their way: 3.00 [2.50 .. 3.15] x nats-server, wanted 4: NOT"
    )
    assert "by processor time 3.00 x" in line
    assert line.endswith("; C: 3.00 [2.60 .. 3.00] x")


def test_a_goal_that_is_reached_is_said_to_be() -> None:
    (line,) = verdicts([Result(CELL, {FASTIM: rounds(150), REDIS: rounds(100)})])
    assert "wanted 1.5: reached" in line


def test_what_was_measured_under_a_busy_load_or_on_a_shared_core_is_named() -> None:
    said = result(**{NATS: rounds(1, 1, 1, driver_percent=97), STORED: rounds(1, 1, 1, core_percent=109)}).control
    assert "the load was too busy to say how fast these are: nats-server" in said
    assert "something else was busy on the core of these: fastim, stored" in said


def test_a_page_keeps_what_stands_around_the_results(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    update(page, a_run(result()))
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert "| fastim |" in text
    assert "`python -m bench.peers --rounds 3`" in text
    assert list(tmp_path.iterdir()) == [page]


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("mine\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="has no markers"):
        update(page, a_run(result()))
    assert page.read_text(encoding="utf-8") == "mine\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--rounds", "0"], "there has to be a round"),
        (["--cells", "0:1x1"], "invalid parse value: '0:1x1'"),
        (["--page", "none/page.md"], "none/page.md cannot be written"),
        (["--page", "."], ".: Is a directory"),
    ],
)
@pytest.mark.slow
def test_what_cannot_be_measured_or_written_is_said_before_anything_is_measured(words: list[str], says: str) -> None:
    command = [sys.executable, "-m", "bench.peers", "--peers", "--seconds", "0.1", *words]
    done = run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the comparison reads Linux's counts of processor time")
def test_a_short_run_says_how_fast_fastim_and_c_are_and_writes_no_page() -> None:
    before = Path("docs/benchmarks.md").read_bytes()
    command = [
        sys.executable,
        "-m",
        "bench.peers",
        "--peers",
        "--cells",
        "20:2x2",
        "--rounds",
        "1",
        "--seconds",
        "0.05",
    ]
    done = run(command, capture_output=True, text=True, timeout=50, check=False)
    # One round on a machine that runs other tests may be void; then it has to say so, and nothing else.
    assert done.returncode in (0, 1), done.stderr
    assert "20 readers, bursts of 2, 2 on their way" in done.stdout
    assert "C over C:" in done.stdout
    if done.returncode:
        assert "VOID" in done.stderr
    else:
        assert "no page was written" in done.stdout
    assert Path("docs/benchmarks.md").read_bytes() == before
