"""``bench/micro`` here and at an earlier commit, in turns: python -m bench.compare REV.

REV is unpacked by ``git archive`` into a temporary directory, which is gone at the end, and built there. In each round
both run the benchmarks of this checkout, and this checkout runs them twice, in shuffled order: ``again`` is what this
machine makes of no difference at all, and where it is not near 1.00 the ratio beside it says nothing either. A ratio is
time at REV over time here, within a round, so 1.10 says that it is a tenth faster now; figures are medians over the
rounds, with the quartiles in brackets. What cannot run at REV, because it was not there, is named.

Build this checkout before (``make build``), as it is measured as it stands.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from math import exp, log
from pathlib import Path

from bench.load.figures import Spread, table
from bench.load.machine import SERVER_CORE, describe, pinned

CHECKOUT = Path(__file__).resolve().parents[1]
CONTROL = (0.95, 1.05)
HERE, AGAIN, THERE = "here", "again", "there"
BENCHMARKS = "bench/micro"
HEAD = ("benchmark", "us at REV", "us here", "faster now", "again")

Times = dict[str, float]
"""Microseconds by benchmark."""


def main() -> None:
    options = _options()
    commit = _git("rev-parse", "--verify", f"{options.rev}^{{commit}}").decode().strip()
    print(describe())
    print(f"{options.rev} is {commit[:12]}; {options.rounds} rounds")
    with tempfile.TemporaryDirectory(prefix="fastim-bench-") as directory:
        there = Path(directory)
        _unpack(commit, there)
        places = {HERE: CHECKOUT, AGAIN: CHECKOUT, THERE: there}
        rounds: list[dict[str, Times]] = []
        order = random.Random(1)
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            names = order.sample(list(places), len(places))
            rounds.append({name: _run(places[name], options, strict=name != THERE) for name in names})
    _report(rounds)


def _report(rounds: list[dict[str, Times]]) -> None:
    rows, ratios = [], []
    known = [name for name in rounds[0][HERE] if all(name in times for one in rounds for times in one.values())]
    for name in known:
        here, again, there = (Spread([one[place][name] for one in rounds]) for place in (HERE, AGAIN, THERE))
        ratio, control = there.over(here), again.over(here)
        steady = CONTROL[0] <= control.median <= CONTROL[1]
        if steady:
            ratios.append(ratio.median)
        rows.append(
            [
                name,
                f"{there.median:,.2f}",
                f"{here.median:,.2f}",
                ratio.show_quartiles(".2f"),
                control.show_quartiles(".2f") + ("" if steady else " ?"),
            ]
        )
    if not rows:
        raise SystemExit("nothing runs in both")
    print(table(HEAD, rows))
    if ratios:
        mean = exp(sum(map(log, ratios)) / len(ratios))
        print(f"geometric mean of {len(ratios)}, those without a question mark: {mean:.2f} times as fast now")
    if missing := [name for name in rounds[0][HERE] if name not in known]:
        print(f"not there: {', '.join(missing)}")


def _unpack(commit: str, there: Path) -> None:
    """The commit, built, with the benchmarks of this checkout."""
    archive = _git("archive", "--format=tar", commit)
    subprocess.run(["tar", "-x", "-C", str(there)], input=archive, check=True)
    print("building it", file=sys.stderr)
    build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    release = {**os.environ, "FASTIM_BUILD": "release"}
    done = subprocess.run(build, cwd=there, capture_output=True, text=True, env=release)
    if done.returncode:
        raise SystemExit(f"it cannot be built:\n{done.stderr}")
    shutil.rmtree(there / "bench", ignore_errors=True)
    shutil.copytree(CHECKOUT / "bench", there / "bench", ignore=shutil.ignore_patterns("__pycache__"))
    ask = "import fastim, fastim._frames as native; print(fastim.__file__); print(native.__file__)"
    words = [sys.executable, "-c", ask]
    found = subprocess.run(words, cwd=there, capture_output=True, text=True, check=True, env=_environment(there)).stdout
    if not all(Path(line).is_relative_to(there) for line in found.split()):
        raise SystemExit(f"another fastim would be measured instead:\n{found}")


def _run(place: Path, options: argparse.Namespace, *, strict: bool) -> Times:
    """The median of each benchmark.

    Args:
        strict: Whether all of them have to run.
    """
    with tempfile.TemporaryDirectory(prefix="fastim-bench-") as directory, pinned(SERVER_CORE):
        file = Path(directory) / "times.json"
        words = [
            *(sys.executable, "-m", "pytest", BENCHMARKS, "-q", "-p", "no:cacheprovider", f"--benchmark-json={file}"),
            *(
                f"--benchmark-max-time={options.seconds}",
                "--benchmark-disable-gc",
                "--timeout=600",
                "--continue-on-collection-errors",
            ),
            *(f"--basetemp={Path(directory) / 'stores'}", *(("-k", options.only) if options.only else ())),
        ]
        done = subprocess.run(words, cwd=place, capture_output=True, text=True, env=_environment(place))
        if (done.returncode and strict) or not file.exists() or not file.stat().st_size:
            raise SystemExit(f"the benchmarks failed in {place}:\n{done.stdout[-4_000:]}{done.stderr[-1_000:]}")
        results = json.loads(file.read_bytes())["benchmarks"]
    return {result["fullname"].removeprefix(f"{BENCHMARKS}/"): 1e6 * result["stats"]["median"] for result in results}


def _environment(place: Path) -> Mapping[str, str]:
    return {**os.environ, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}


def _git(*words: str) -> bytes:
    done = subprocess.run(["git", *words], cwd=CHECKOUT, capture_output=True)
    if done.returncode:
        raise SystemExit(done.stderr.decode().strip())
    return done.stdout


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rev", metavar="REV", help="what git understands: a commit, a branch, a tag")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.2, help="for each benchmark in a round, at most")
    parser.add_argument("--only", metavar="EXPRESSION", help="benchmarks to run, as pytest's -k has it")
    return parser.parse_args()


if __name__ == "__main__":
    main()
