"""The machine that a run is made on: its cores, and what the server's process takes of it."""

import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from time import monotonic

from msgspec import Struct

from fastim.descriptors import raise_limit

OWN_DESCRIPTORS = 64
"""For all that is no connection."""
PACKAGES = ("fastim", "uvloop", "lmdb", "protobuf")


class Machine(Struct, frozen=True):
    """Where a run was made; both processes are on it when the server was started for the run.

    Attributes:
        load_average: Over a minute, before the run; ``None`` where the system does not say.
    """

    processor: str
    cores: int
    system: str
    python: str
    packages: dict[str, str]
    load_average: float | None


class Taken(Struct, frozen=True):
    """What a process has taken so far.

    Attributes:
        at: Seconds of the monotonic clock.
        cpu_seconds: Of all of its threads.
        memory_bytes: Resident now.
    """

    at: float
    cpu_seconds: float
    memory_bytes: int


class Cores(Struct, frozen=True):
    """Who runs where; empty: anywhere.

    Attributes:
        shared: Whether the load and a server on this machine have to share one core.
    """

    server: frozenset[int]
    driver: frozenset[int]
    shared: bool


def describe() -> Machine:
    """This machine."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return Machine(
        _processor(),
        os.cpu_count() or 1,
        f"{platform.system()} {platform.release()}",
        f"{platform.python_implementation()} {platform.python_version()}",
        versions,
        os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def share_cores() -> Cores:
    """The last core for the load, all others for the server, where the system can do that and there are two."""
    if sys.platform != "linux":
        return Cores(frozenset(), frozenset(), shared=(os.cpu_count() or 1) < 2)
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        return Cores(frozenset(), frozenset(), shared=True)
    return Cores(frozenset(allowed[:-1]), frozenset(allowed[-1:]), shared=False)


def pin(process_id: int, cores: frozenset[int]) -> None:
    """Keep a process on these cores; 0 is this thread. Nothing when there are none."""
    if cores and sys.platform == "linux":
        os.sched_setaffinity(process_id, cores)


def missing_descriptors(connections: int) -> tuple[int, int] | None:
    """Make room for so many connections.

    Returns:
        How many descriptors are needed and how many there are, when those are too few.
    """
    needed, limit = connections + OWN_DESCRIPTORS, raise_limit()
    # -1 stands for no limit.
    return (needed, limit) if 0 <= limit < needed else None


def taken(process_id: int) -> Taken | None:
    """What a process has taken so far; ``None`` when it is gone, or the system does not say."""
    try:
        return _from_proc(process_id) if sys.platform == "linux" else _from_ps(process_id)
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return None


class Watch:
    """Looks at a process every now and then, in a thread of its own, since asking may take a while.

    Args:
        look: Says what was taken.

    Attributes:
        latest: The last answer.
    """

    def __init__(self, look: Callable[[], Taken | None], every_seconds: float) -> None:
        self.latest = look()
        self._look = look
        self._every_seconds = every_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no longer."""
        self._over.set()
        self._thread.join()

    def _go_on(self) -> None:
        while not self._over.wait(self._every_seconds):
            self.latest = self._look() or self.latest


def _from_proc(process_id: int) -> Taken:
    # The name, which is in brackets, may hold anything.
    fields = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    pages = int(fields[21])
    ticks = int(fields[11]) + int(fields[12])
    return Taken(monotonic(), ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE"))


def _from_ps(process_id: int) -> Taken:
    command = ["ps", "-o", "rss=,time=", "-p", str(process_id)]
    kilobytes, spent = subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.split()
    return Taken(monotonic(), _seconds_of(spent), int(kilobytes) * 1024)


def _seconds_of(spent: str) -> float:
    """``[DAYS-][HOURS:]MINUTES:SECONDS``, the last with or without a fraction."""
    days, _, clock = spent.rpartition("-")
    seconds = 0.0
    for part in clock.split(":"):
        seconds = 60 * seconds + float(part)
    return seconds + 86_400 * int(days or 0)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, model = line.partition(":")
            if name.strip() == "model name":
                return model.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
