"""Memory: how much there is for this process, and how much it has."""

import ctypes
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path


def private_bytes() -> int | None:
    """The memory that this process has to itself; ``None`` where the system does not say.

    What it shares with files is left out: the store's map is the kernel's to keep or to drop.
    """
    try:
        _, resident, shared, *_ = Path("/proc/self/statm").read_bytes().split()
    except (OSError, ValueError):
        return None
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def machine_bytes(system: Path = Path("/")) -> int:
    """The memory that there is for this process: the machine's, or its container's if that has less.

    Args:
        system: Where the system's own files are.
    """
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([installed, *_allowed(system)])


def give_back() -> None:
    """Return what was freed to the system, as far as it can be: the allocator keeps it otherwise."""
    if _malloc_trim is not None:
        _malloc_trim(0)


def _allowed(system: Path) -> Iterable[int]:
    """What the control groups of this process allow, theirs and those around them."""
    with suppress(OSError):
        for line in (system / "proc/self/cgroup").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            _, _, group = line.partition(":")
            controllers, _, path = group.partition(":")
            if controllers and "memory" not in controllers.split(","):
                continue
            mount, name = ("memory", "memory.limit_in_bytes") if controllers else ("", "memory.max")
            root = system / "sys/fs/cgroup" / mount
            own = root / path.lstrip("/")
            # A container sees its own group as the root, whatever it is called outside.
            for place in (root, own, *own.parents):
                with suppress(OSError, ValueError):
                    if place.is_relative_to(root):
                        yield int((place / name).read_text(encoding="ascii"))


def _find_malloc_trim() -> Callable[[int], int] | None:
    """glibc's; other allocators have no such thing."""
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    return found


_malloc_trim = _find_malloc_trim()
