"""A real fastim server in a process of its own, for tests that need sockets, signals and restarts.

Blocking and plain standard library, so that it serves a synchronous test and, through a worker thread, one under trio.
"""

import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self

START_SECONDS = 20.0
STOP_SECONDS = 20.0
READY = "fastim ready "
APP_ID = "fastim-test-application"  # clients take the first 8 characters, so never shorter than 9


class ServerFailed(Exception):
    """The server did not start or stop as it should; the message holds its log."""


class Address(NamedTuple):
    """Where one listener of the server is reached."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Self:
        host, _, port = text.rpartition(":")
        return cls(host.strip("[]"), int(port))


class ServerProcess:
    """One server, its data directory and one application; use it as a context manager.

    Args:
        data: Data directory; it outlives the process, so a restart finds what was stored.
        arguments: More of ``fastim serve``, after those given here: ``"--set", "limits.sends_per_minute=0"``.
        app_id: Application made or updated at start, with the two keys that follow.
        tcp: What to listen on for framed TCP; port 0 takes a free one at the first start and keeps it at the next.
        http: The same for WebSocket and everything else that starts as HTTP.
        environment: Added to this process's own.

    Attributes:
        addresses: Where the server listens, by door: ``tcp`` and ``http``; ``tcps`` and ``https`` if asked for.
    """

    def __init__(
        self,
        data: Path,
        *arguments: str,
        app_id: str = APP_ID,
        app_key: str = "test-app-key",
        master_key: str = "test-master-key",
        tcp: str = "127.0.0.1:0",
        http: str = "127.0.0.1:0",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.data = data
        self.arguments = arguments
        self.app_id = app_id
        self.app_key = app_key
        self.master_key = master_key
        self._tcp = Address.parse(tcp)
        self._http = Address.parse(http)
        self._environment = environment or {}
        self.addresses: dict[str, Address] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def tcp(self) -> Address:
        """The TCP listener's address, with the port that was really taken."""
        return self._tcp

    @property
    def http(self) -> Address:
        """The address of HTTP and WebSocket, with the port that was really taken."""
        return self._http

    @property
    def http_url(self) -> str:
        return f"http://{self._http}"

    @property
    def websocket_url(self) -> str:
        return f"ws://{self._http}"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process.

        Raises:
            ServerFailed: It was never started, or was stopped.
        """
        if self._process is None:
            raise ServerFailed("the server is not running")
        return self._process

    @property
    def log(self) -> str:
        """What all runs so far wrote to stderr."""
        if self._log is None:
            return ""
        # The process shares the file's offset, so reading must not move it.
        descriptor = self._log.fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")

    def command(self) -> list[str]:
        """The words of the command line."""
        return [
            *(sys.executable, "-m", "fastim", "serve"),
            *("--data", str(self.data)),
            *("--tcp", str(self._tcp), "--http", str(self._http)),
            *("--app-id", self.app_id, "--app-key", self.app_key, "--master-key", self.master_key),
            *self.arguments,
        ]

    def start(self, timeout_seconds: float = START_SECONDS) -> Self:
        """Start the server and return when it accepts connections.

        Raises:
            ServerFailed: It ended, or printed no ready line in time; nothing is left running.
        """
        if self._process is not None:
            raise ServerFailed("the server is running already")
        if self._log is None:
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 - one log for all runs, closed by close
        self._process = subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **self._environment},
        )
        try:
            ready = self._read_ready_line(self._process, timeout_seconds)
        except BaseException:
            self.kill()
            raise
        listeners = (word.split("=", 1) for word in ready.removeprefix(READY).split())
        self.addresses = {door: Address.parse(text) for door, text in listeners}
        self._tcp = self.addresses["tcp"]
        self._http = self.addresses["http"]
        return self

    def terminate(self, timeout_seconds: float = STOP_SECONDS) -> int:
        """Ask the server to drain (SIGTERM) and return its exit status.

        Raises:
            ServerFailed: It was still there at the deadline, and was killed.
        """
        process = self.process
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailed(f"still running {timeout_seconds} s after SIGTERM\n{self.log}") from None
        self._forget()
        return status

    def kill(self) -> None:
        """End the server at once, as a crash would (SIGKILL); harmless when it is not running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._forget()

    def restart(self, *, crash: bool = False) -> None:
        """Stop the server, by SIGTERM or as a crash would, and start it on the same data and the same ports."""
        if crash:
            self.kill()
        elif status := self.terminate():
            raise ServerFailed(f"exit status {status} after SIGTERM\n{self.log}")
        self.start()

    def close(self) -> None:
        """Kill the server if it still runs and drop its log."""
        self.kill()
        if self._log is not None:
            self._log.close()
            self._log = None

    def _forget(self) -> None:
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None

    def _read_ready_line(self, process: subprocess.Popen[bytes], timeout_seconds: float) -> str:
        assert process.stdout is not None
        deadline = time.monotonic() + timeout_seconds
        output = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while selector.select(max(0.0, deadline - time.monotonic())):
                piece = os.read(process.stdout.fileno(), 4096)
                if not piece:
                    status = process.wait(STOP_SECONDS)
                    raise ServerFailed(f"the server ended with status {status} before it was ready\n{self.log}")
                output += piece
                for line in output.decode(errors="replace").splitlines(keepends=True):
                    if line.startswith(READY) and line.endswith("\n"):
                        return line
        raise ServerFailed(f"no ready line within {timeout_seconds} s\n{self.log}")
