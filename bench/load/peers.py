"""Connected TCP sockets whose other ends are drained by a process on the other core."""

import ctypes
import mmap
import multiprocessing
import socket
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from bench.load.machine import DRIVER_CORE, pin
from bench.load.native import library
from bench.load.transports import Tcp

PATIENCE_SECONDS = 20.0
_TCP_NOTSENT_LOWAT = 25
_SLICE = 256
"""Connections made before they are accepted: fewer than any backlog."""


class Peers:
    """So many of our sockets, as the server's TCP door sets them up; use it as a context manager.

    The process that takes what is sent is forked before there is any socket here, so that it holds none of ours.

    Attributes:
        fds: Descriptors of our ends.
    """

    def __init__(self, count: int, notsent_lowat_bytes: int) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=_SLICE)
        self._listening.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, notsent_lowat_bytes)
        self._shared = mmap.mmap(-1, 16)
        self._counters = (ctypes.c_uint64 * 2).from_buffer(self._shared)
        port = self._listening.getsockname()[1]
        self._process = multiprocessing.get_context("fork").Process(
            target=_drain, args=(port, count, self._shared), daemon=True
        )
        self._process.start()
        self._sockets = []
        self._listening.settimeout(PATIENCE_SECONDS)
        for _ in range(count):
            accepted, _ = self._listening.accept()
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as asyncio and uvloop do
            self._sockets.append(accepted)
        self.fds = [one.fileno() for one in self._sockets]
        self._sent_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._counters[1] = 1
        self._process.join(PATIENCE_SECONDS)
        for one in self._sockets:
            one.close()
        self._listening.close()

    def wait_until_taken(self, sent_bytes: int) -> None:
        """Wait until the peers have taken that much more.

        Raises:
            SystemExit: They have not: something else was sent.
        """
        self._sent_bytes += sent_bytes
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (taken := self._counters[0]) < self._sent_bytes and time.monotonic() < deadline:
            time.sleep(0.0002)
        if taken != self._sent_bytes:
            raise SystemExit(f"the peers took {taken} bytes where {self._sent_bytes} were to be sent")


def _drain(port: int, count: int, shared: mmap.mmap) -> None:
    pin(DRIVER_CORE)
    sockets = [Tcp().connect("127.0.0.1", port, number) for number in range(count)]
    fds = (ctypes.c_int * count)(*(one.fileno() for one in sockets))
    counters = ctypes.addressof(ctypes.c_uint64.from_buffer(shared))
    drain: Callable[..., int] = library("sends").drain
    result = drain(fds, ctypes.c_uint32(count), ctypes.c_void_p(counters), ctypes.c_void_p(counters + 8))
    sys.exit(-result)
