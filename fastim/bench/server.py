"""A server for the run: started in a process of its own with an empty data directory, and gone afterwards."""

import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import IO, Self

from fastim.bench.failures import BenchError
from fastim.bench.machine import pin

READY = b"fastim ready "
START_SECONDS = 30.0
STOP_SECONDS = 15.0
APP_ID, APP_KEY, MASTER_KEY = "fastim-bench", "fastim-bench-key", "fastim-bench-master-key"
LIMITS_OFF = (
    "limits.sends_per_minute=0",
    "limits.history_per_minute=0",
    "limits.operations_per_minute=0",
    "log.level=warning",
)
"""A few clients stand for many here, and what is to be measured is the server, not what one client may ask of it."""


class Server:
    """A server on free ports of this machine; use it as a context manager.

    Args:
        settings: More of ``--set``, stronger than those above.
        cores: Where it may run; empty: anywhere.
        look: Called often; raises ``Interrupted`` when it is to end.

    Attributes:
        settings: All that it was given.
        tcp: Where it listens: host and port.
        http: The same.
    """

    def __init__(self, settings: Sequence[str], cores: frozenset[int], look: Callable[[], None]) -> None:
        self.settings = (*LIMITS_OFF, *settings)
        self.tcp = self.http = ("", 0)
        self._cores = cores
        self._look = look

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="fastim-bench-")
        self._log: IO[bytes] = tempfile.TemporaryFile()
        try:
            self._process = self._started()
        except BaseException:
            self._log.close()
            self._directory.cleanup()
            raise
        try:
            addresses = self._ready()
        except BaseException:
            self._stop(at_once=True)
            raise
        self.tcp, self.http = addresses["tcp"], addresses["http"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop(at_once=kind is not None)

    @property
    def process_id(self) -> int:
        """Of the server."""
        return self._process.pid

    def failed(self) -> str:
        """How it ended although nobody asked it to, and the end of its log; empty while it runs."""
        status = self._process.poll()
        return "" if status is None else f"the server ended with status {status}: {self._last_line()}"

    def _started(self) -> "subprocess.Popen[bytes]":
        settings = [word for setting in self.settings for word in ("--set", setting)]
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "fastim.bench.serve", self._directory.name),
                *("serve", "--data", str(Path(self._directory.name) / "data")),
                *("--tcp", "127.0.0.1:0", "--http", "127.0.0.1:0"),
                *("--app-id", APP_ID, "--app-key", APP_KEY, "--master-key", MASTER_KEY, *settings),
            ],
            # Closed when we are gone, by whatever that was.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            # Ctrl-C is for us: the server goes when we have heard the last of it.
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if not _is_setting(name)},
        )
        with suppress(ProcessLookupError):
            pin(process.pid, self._cores)
        return process

    def _ready(self) -> dict[str, tuple[str, int]]:
        """Where it listens, once it does."""
        assert self._process.stdout is not None
        deadline, said = monotonic() + START_SECONDS, b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while monotonic() < deadline:
                self._look()
                if not selector.select(0.05):
                    continue
                piece = os.read(self._process.stdout.fileno(), 4096)
                if not piece:
                    status = self._process.wait(STOP_SECONDS)
                    raise BenchError(f"the server did not start, status {status}: {self._last_line()}")
                said += piece
                for line in said.splitlines(keepends=True):
                    if line.startswith(READY) and line.endswith(b"\n"):
                        words = (word.split("=", 1) for word in line.decode().split()[2:])
                        return {door: _address(where) for door, where in words}
        raise BenchError(f"the server was not ready within {START_SECONDS:g} s: {self._last_line()}")

    def _stop(self, *, at_once: bool) -> None:
        """End it, politely if there is time; in the end there is no process and no file of it."""
        process = self._process
        try:
            process.send_signal(signal.SIGKILL if at_once else signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            self._log.close()
            self._directory.cleanup()

    def _last_line(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _is_setting(name: str) -> bool:
    """Whether a variable of the environment is a setting of a server, which is not meant for this one."""
    return name.startswith("FASTIM_")


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
