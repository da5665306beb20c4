"""Whether memory stays where it is: what the process holds, looked at time and again."""

import ctypes
import gc
import resource
from collections.abc import Callable
from pathlib import Path

WARM_UP = 3
"""Looks before the first that counts: caches fill, and the allocator finds its size."""
GROWTH_BYTES = 8_388_608


def _held() -> Callable[[], int]:
    """How to know what the process holds, in bytes: to the byte in a build with AddressSanitizer."""
    try:
        exact = ctypes.CDLL(None).__sanitizer_get_current_allocated_bytes
    except (AttributeError, OSError):
        return _resident
    exact.restype = ctypes.c_size_t
    return lambda: int(exact())


def _resident() -> int:
    status = Path("/proc/self/status")
    if not status.exists():  # macOS; there it is the most that was ever held
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024


class Memory:
    """What the process held each time that somebody looked."""

    def __init__(self) -> None:
        self._held = _held()
        self.looks: list[int] = []

    def look(self) -> None:
        """Take note of how much it is now."""
        gc.collect()
        self.looks.append(self._held())

    def was_flat(self) -> None:
        """Hold the last look against the first ones, if there were enough."""
        if len(self.looks) > 2 * WARM_UP:
            assert min(self.looks[-WARM_UP:]) < max(self.looks[: 2 * WARM_UP]) + GROWTH_BYTES, self.looks
