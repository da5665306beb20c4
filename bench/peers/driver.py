"""One publisher and its readers, driven in C by ``bench/native/broadcast.c``."""

import ctypes
import os
from collections.abc import Sequence
from time import monotonic_ns
from typing import Any

from msgspec import Struct

from bench.load.native import library

QUIET_MILLISECONDS = 1_000
SETTLED_MILLISECONDS = 2_500
"""Longer, since some servers ask their clients something of their own once they have been there for two seconds."""
PATIENCE_SECONDS = 120.0
_SEEN_BYTES = 1 << 16
_SLICE_NS = 250_000_000


class Stalled(Exception):
    """Messages have not come, a connection was closed, or what came is not what was to come."""


class Publication(Struct, frozen=True):
    """What is published.

    Attributes:
        message: As it is sent.
        hole: Where ten digits in it say which message it is; -1: nowhere.
    """

    message: bytes
    hole: int = -1


class Counts(ctypes.Structure):
    """``struct counts``."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in ("bytes", "reads", "answered", "published", "complete", "complete_ns", "idle_ns")
    )
    bytes: int
    reads: int
    answered: int
    published: int
    complete: int
    complete_ns: int
    idle_ns: int

    def copy(self) -> "Counts":
        return Counts.from_buffer_copy(self)


class Driver:
    """Reads from these descriptors, which stay the caller's.

    Attributes:
        counts: So far; ``copy`` it to keep it.
    """

    def __init__(self, fds: Sequence[int], publisher: int) -> None:
        self._c = _library()
        self._readers = len(fds)
        handle = self._c.driver_new((ctypes.c_int * len(fds))(*fds), len(fds), publisher)
        if not handle:
            raise MemoryError("no memory for so many readers")
        self._handle = ctypes.c_void_p(handle)
        self.counts = Counts.from_address(handle)

    def settle(self) -> None:
        """Take and forget what comes until nothing does."""
        self._probe(Publication(b""), SETTLED_MILLISECONDS)

    def probe(self, publication: Publication) -> bytes:
        """What a reader is sent for one message; all of them are sent as much.

        Raises:
            Stalled: They are not.
        """
        seen = self._probe(publication, QUIET_MILLISECONDS)
        if not seen:
            raise Stalled("nothing was delivered")
        for number in range(self._readers):
            if (came := self._c.driver_bytes(self._handle, number)) != len(seen):
                raise Stalled(f"reader {number} was sent {came} bytes, and the first one {len(seen)}")
        return seen

    def begin(self, publication: Publication, delivery_bytes: int, burst: int, depth: int) -> None:
        """Publish this from now on: ``depth`` bursts of ``burst`` messages are kept on their way."""
        message = publication.message
        self._check(
            self._c.driver_begin(self._handle, message, len(message), publication.hole, delivery_bytes, burst, depth)
        )

    def run(self, seconds: float) -> None:
        """Publish for so long, and on until a burst is complete.

        Raises:
            Stalled: None is complete for ``PATIENCE_SECONDS`` more.
        """
        from_ns = monotonic_ns() + int(1e9 * seconds)
        self._go(from_ns, publishing=True)

    def finish(self) -> None:
        """Publish no more, and wait until what was published is everywhere.

        Raises:
            Stalled: It is not after ``PATIENCE_SECONDS``, or more than that came.
        """
        self._go(monotonic_ns(), publishing=False)

    def _go(self, from_ns: int, *, publishing: bool) -> None:
        deadline_ns = from_ns + int(1e9 * PATIENCE_SECONDS)
        # In slices, so that an interrupt is heard.
        while not self._check(self._c.driver_run(self._handle, from_ns, monotonic_ns() + _SLICE_NS, publishing)):
            if monotonic_ns() > deadline_ns:
                lost = self.counts.published - self.counts.complete
                raise Stalled(f"{lost} of {self.counts.published} bursts have not come to everybody")

    def _probe(self, publication: Publication, quiet_milliseconds: int) -> bytes:
        seen = ctypes.create_string_buffer(_SEEN_BYTES)
        size = self._check(
            self._c.driver_probe(
                *(self._handle, publication.message, len(publication.message), publication.hole),
                *(quiet_milliseconds, monotonic_ns() + int(1e9 * PATIENCE_SECONDS), seen, _SEEN_BYTES),
            )
        )
        return seen.raw[:size]

    @staticmethod
    def _check(result: int) -> int:
        if result < 0:
            raise Stalled(f"the load cannot go on: {os.strerror(-result)}")
        return result


def _library() -> Any:
    found = library("broadcast")
    found.driver_counts_size.restype = found.driver_bytes.restype = ctypes.c_uint64
    if found.driver_counts_size() != ctypes.sizeof(Counts):
        raise TypeError("Counts is not what struct counts is")
    found.driver_new.restype = ctypes.c_void_p
    found.driver_new.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int]
    found.driver_bytes.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    found.driver_begin.argtypes = [
        *(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32, ctypes.c_int32),
        *(ctypes.c_uint64, ctypes.c_uint32, ctypes.c_uint32),
    ]
    found.driver_run.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int]
    found.driver_probe.restype = ctypes.c_int64
    found.driver_probe.argtypes = [
        *(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32, ctypes.c_int32, ctypes.c_int),
        *(ctypes.c_uint64, ctypes.c_char_p, ctypes.c_uint64),
    ]
    return found
