"""Runs one node script that drives a browser against a server, and does what it asks for."""

import json
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from tests.server_process import ServerProcess

HERE = Path(__file__).parent
PASSWORD = "correct horse battery staple"
DEADLINE_SECONDS = 120.0
LOG_CHARACTERS = 4_000


class ScenarioFailed(AssertionError):
    """A script failed; the message has its step, its error, where the screenshot is and what both sides logged."""


def setup_link(server: ServerProcess) -> str:
    """Where the password can be set, as the server has printed it last; without the site."""
    lines = [line for line in server.log.splitlines() if "/console#/setup/" in line]
    return "" if not lines else lines[-1].split()[1].removeprefix(server.http_url)


def play(
    node: str,
    server: ServerProcess,
    script: str,
    pictures: Path,
    *,
    answers: Mapping[str, Callable[[], Any]] | None = None,
    **more: object,
) -> Any:
    """Run a script and return what it reports.

    Args:
        pictures: Where screenshots go.
        answers: What to do, and to answer, when the script asks for one of these.
        more: Told to the script besides.

    Raises:
        ScenarioFailed: It reported a failure, ended without a word or ran into the deadline.
    """
    __tracebackhide__ = True
    config = {
        "url": server.http_url,
        "address": str(server.http),
        "appId": server.app_id,
        "appKey": server.app_key,
        "masterKey": server.master_key,
        "password": PASSWORD,
        "pictures": str(pictures),
        "script": script,
        **more,
    }
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            [node, f"{script}.mjs"],
            cwd=HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "FASTIM_CONSOLE_TEST": json.dumps(config)},
        ) as process,
    ):
        try:
            for record in _records(process):
                if "ask" in record:
                    _answer(process, (answers or {})[record["ask"]]())
                elif "failed" in record:
                    seen = f"screenshot: {record['screenshot']}\n" if record.get("screenshot") else ""
                    raise ScenarioFailed(f"at: {record['step']}\n{record['failed']}\n{seen}{_logs(server, log)}")
                else:
                    return record["result"]
            raise ScenarioFailed(f"node ended or hung without a result\n{_logs(server, log)}")
        finally:
            # Its browser is told to go by SIGTERM, and is left behind by SIGKILL.
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def _records(process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    """What the script says, until it ends or the deadline has passed; lines of an SDK's own are left out."""
    for line in _lines(process):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and {"ask", "failed", "result"} & record.keys():
            yield record


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
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


def _answer(process: subprocess.Popen[bytes], value: Any) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps({"answer": value}).encode() + b"\n")
    process.stdin.flush()


def _logs(server: ServerProcess, log: IO[bytes]) -> str:
    size = os.fstat(log.fileno()).st_size
    said = os.pread(log.fileno(), LOG_CHARACTERS, max(0, size - LOG_CHARACTERS)).decode(errors="replace")
    return f"--- node\n{said}\n--- server\n{server.log[-LOG_CHARACTERS:]}"
