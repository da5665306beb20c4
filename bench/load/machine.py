"""The machine a number comes from: how it is named beside the number, and how work is kept apart on its cores."""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

SERVER_CORE = 0
DRIVER_CORE = 1
PACKAGES = ("uvloop", "lmdb", "protobuf")


def describe() -> str:
    """Processor, cores, kernel, Python and the packages that matter, on two lines."""
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    load = f"; load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}{load}\n"
        f"Python {platform.python_version()}, {versions}"
    )


def require_linux() -> None:
    """For what reads ``/proc``.

    Raises:
        SystemExit: It is another system.
    """
    if sys.platform != "linux":
        raise SystemExit("this benchmark reads /proc: it runs on Linux only")


def pin(core: int) -> None:
    """Keep this thread, and the processes it starts from now on, on ``core``; nothing where that cannot be done."""
    if sys.platform == "linux" and core in range(os.cpu_count() or 1):
        os.sched_setaffinity(0, {core})


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """``pin`` for a while."""
    if sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    pin(core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def all_cores() -> Iterator[None]:
    """Let this thread, and the processes it starts meanwhile, run everywhere."""
    if sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, model = line.partition(":")
            if name.strip() == "model name":
                return model.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
