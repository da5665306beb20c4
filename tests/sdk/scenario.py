"""Runs one node script against a server and carries out what it asks for."""

import json
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tests.server_process import ServerProcess

HERE = Path(__file__).parent
DEADLINE_SECONDS = 45.0
LOG_CHARACTERS = 4_000


class ScenarioFailed(AssertionError):
    """A script failed; the message has its step, its error and what both sides logged."""


def play(
    node: str,
    server: ServerProcess,
    script: Path,
    version: str,
    mode: str,
    how: str = "",
    *,
    trusted: Path | None = None,
    answers: Mapping[str, Callable[[], None]] | None = None,
) -> Any:
    """Run a scenario and return what it reports.

    Args:
        version: Of the SDK, as npm has it.
        mode: ``binary`` or ``base64``.
        how: What the scenario asks for when the server is to go down: ``restart`` or ``crash``.
        trusted: Certificate of the authority that node is to trust; with it all goes over TLS.
        answers: What to do when the scenario asks for one of these; anything else restarts the server.

    Raises:
        ScenarioFailed: It reported a failure, ended without a word or ran into the deadline.
    """
    __tracebackhide__ = True
    config = {
        "address": str(server.addresses["https" if trusted else "http"]),
        "plainAddress": str(server.http),
        "secure": trusted is not None,
        "appId": server.app_id,
        "appKey": server.app_key,
        "masterKey": server.master_key,
        "version": version,
        "major": int(version.split(".")[0]),
        "mode": mode,
        "how": how,
    }
    environment = {"FASTIM_SDK_TEST": json.dumps(config)}
    if trusted:
        environment["NODE_EXTRA_CA_CERTS"] = str(trusted)
    with _node_process(node, script, environment) as (process, log):
        for line in _lines(process):
            record = _record(line)
            if record is None:
                continue
            if "ask" in record:
                if answers and record["ask"] in answers:
                    answers[record["ask"]]()
                else:
                    server.restart(crash=record["ask"] == "crash")
                _answer(process, record["ask"])
            elif "failed" in record:
                raise ScenarioFailed(f"at: {record['step']}\n{record['failed']}\n{_logs(server, log)}")
            else:
                return record["result"]
        raise ScenarioFailed(f"node ended or hung without a result\n{_logs(server, log)}")


@contextmanager
def _node_process(
    node: str, script: Path, environment: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            [node, str(script)],
            cwd=HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, **environment},
        ) as process,
    ):
        try:
            yield process, log
        finally:
            process.kill()


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Yield lines of stdout until it ends or the deadline has passed."""
    assert process.stdout is not None
    deadline = time.monotonic() + DEADLINE_SECONDS
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            piece = os.read(process.stdout.fileno(), 65_536)
            if not piece:
                return
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line.decode(errors="replace")


def _record(line: str) -> dict[str, Any] | None:
    """Return what the harness reported, or ``None`` for a line that an SDK printed."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and {"ask", "failed", "result"} & record.keys() else None


def _answer(process: subprocess.Popen[bytes], what: str) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps({"done": what}).encode() + b"\n")
    process.stdin.flush()


def _logs(server: ServerProcess, log: IO[bytes]) -> str:
    size = os.fstat(log.fileno()).st_size
    said = os.pread(log.fileno(), LOG_CHARACTERS, max(0, size - LOG_CHARACTERS)).decode(errors="replace")
    return f"--- node\n{said}\n--- server\n{server.log[-LOG_CHARACTERS:]}"
