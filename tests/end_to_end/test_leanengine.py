"""A LeanEngine app as it is and the same hooks in Python: the examples of the migration page, run as printed there.

The app runs on the ``leancloud`` package from PyPI, in a process of its own, and knows nothing of fastim.
"""

import json
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from fastim.client import MessageModified, MessageReceived, Refused
from tests.end_to_end.clients import PATIENCE_SECONDS, bell_for, device
from tests.server_process import APP_ID, ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PAGE = Path(__file__).parents[2] / "docs" / "leanengine.md"
APP = Path(__file__).with_name("leanengine_app.py")
HOOK_KEY = "test-hook-key"


class Printed:
    """What a process prints, read as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._lines: queue.Queue[str] = queue.Queue()
        self._process = process
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def line(self, pattern: str) -> re.Match[str]:
        """The next line that has it."""
        while True:
            found = re.search(pattern, self._lines.get(timeout=PATIENCE_SECONDS))
            if found:
                return found

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line)


class PhoneCompany:
    """Takes what ``push.webhook`` posts."""

    def __init__(self) -> None:
        pushed: queue.Queue[dict[str, Any]] = queue.Queue()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                pushed.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.pushed = pushed
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    async def next(self) -> dict[str, Any]:
        return await anyio.to_thread.run_sync(lambda: self.pushed.get(timeout=PATIENCE_SECONDS))


def examples() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@contextmanager
def lean_engine() -> Iterator[tuple[str, Printed]]:
    """The app of the page; its URL, and what it prints."""
    keys = {
        "LEANCLOUD_APP_ID": APP_ID,
        "LEANCLOUD_APP_KEY": "test-app-key",
        "LEANCLOUD_APP_MASTER_KEY": "test-master-key",
        "LEANCLOUD_APP_HOOK_KEY": HOOK_KEY,
        "LEANCLOUD_APP_PORT": "0",
    }
    command = [sys.executable, str(APP)]
    process = subprocess.Popen(
        command, env={**os.environ, **keys}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    printed = Printed(process)
    try:
        port = printed.line(r"listening on port (\d+)")[1]
        yield f"http://127.0.0.1:{port}", printed
    finally:
        printed.close()


@pytest.fixture
def phones() -> Iterator[PhoneCompany]:
    company = PhoneCompany()
    serving = threading.Thread(target=company.server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    yield company
    company.server.shutdown()
    serving.join()
    company.server.server_close()


def fastim(data: Path, phones: PhoneCompany, *settings: str) -> ServerProcess:
    everything = (
        f"push.webhook=http://127.0.0.1:{phones.server.server_port}/push",
        'hooks.required=["all"]',
        *settings,
    )
    return ServerProcess(data, *(word for setting in everything for word in ("--set", setting)))


def test_the_page_has_the_app_that_is_run_here() -> None:
    first, app = APP.read_text().split("\n", 1)
    assert first == "# mypy: ignore-errors"
    assert examples()[0] == app
    assert len(examples()) == 2


async def test_an_unchanged_app_is_asked_and_told(tmp_path: Path, phones: PhoneCompany) -> None:
    with lean_engine() as (url, printed):
        with fastim(tmp_path / "data", phones, f"hooks.url={url}", f"hooks.key={HOOK_KEY}") as server:
            await use(server, phones)
        await anyio.to_thread.run_sync(printed.line, "^tom is online")


async def test_the_same_hooks_in_python_do_the_same(tmp_path: Path, phones: PhoneCompany) -> None:
    module = tmp_path / "hooks.py"
    module.write_text(examples()[1])
    with fastim(tmp_path / "data", phones, f"hooks.python={module}") as server:
        await use(server, phones)


async def use(server: ServerProcess, phones: PhoneCompany) -> None:
    """Do everything that the hooks have an opinion of."""
    async with (
        device(server, "tom") as tom,
        device(server, "jerry") as jerry,
        device(server, "spike") as spike,
        device(server, "robot 7") as robot,
        bell_for(server, "tom", "jerry", "spike") as bell,
    ):
        room = await tom.create_conversation(["jerry", "spike", "tyke", "robot 7"])
        await bell.told(tom, jerry, spike)

        with pytest.raises(Refused) as refused:
            await room.send("come to my casino")
        assert (refused.value.code, refused.value.app_code, refused.value.app_message) == (4402, 1001, "no advertising")

        sent = await room.send("damn good")
        by_tom, by_jerry, _ = await bell.told(tom, jerry, spike)
        assert [event.message.text for event in by_jerry if isinstance(event, MessageReceived)] == ["d*** good"]
        (modified,) = (event for event in by_tom if isinstance(event, MessageModified))
        assert (modified.message.id, modified.message.text) == (sent.id, "d*** good")
        pushed = await phones.next()
        assert (pushed["client_id"], pushed["conv_id"], pushed["msg_id"]) == ("tyke", room.id, sent.id)
        assert pushed["data"] == {"alert": "A message from tom"}

        whispered = await room.send("@jerry psst")
        _, by_jerry, by_spike = await bell.told(tom, jerry, spike)
        assert [event.message for event in by_jerry if isinstance(event, MessageReceived)] == [whispered]
        assert not [event for event in by_spike if isinstance(event, MessageReceived)]

        await robot.conversation(room.id).send("beep")
        last = await room.send("good night")
        assert (await phones.next())["msg_id"] == last.id  # and nothing of what the robot said

        other = await tom.create_conversation([])
        with pytest.raises(Refused) as refused:
            await jerry.conversation(other.id).join()
        assert (refused.value.code, refused.value.app_code) == (4305, 1002)
        assert refused.value.app_message == "ask somebody to add you"
        await other.add(["jerry"])
        assert set((await other.fetch()).members) == {"tom", "jerry"}
