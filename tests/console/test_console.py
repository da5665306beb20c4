"""The console in a real browser, against a server in a process of its own.

What is checked is in the scripts beside this file. One that fails leaves a screenshot, whose place the failure tells.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.console.conftest import set_password
from tests.console.scenario import HERE, PASSWORD, play, setup_link
from tests.end_to_end.hook_back_end import HookBackEnd, hooked_server
from tests.server_process import ServerProcess

pytestmark = pytest.mark.slow

BUNDLE_BYTES_MAX = 150_000
INTERACTIVE_MILLIS_MAX = 1_000
CPU_SHARE_MAX = 0.02
READERS = 400
RATE = 200
"""Messages a second: half of what one of the cores can do."""


def test_the_entrance_lets_in_who_may(node: str, new_server: ServerProcess, pictures: Path) -> None:
    def forget() -> str:
        (new_server.data / "console.json").unlink()
        new_server.restart()
        return setup_link(new_server)

    answers: dict[str, Callable[[], object]] = {"restart": new_server.restart, "forget": forget}
    play(node, new_server, "entrance", pictures, setupLink=setup_link(new_server), answers=answers)


@pytest.mark.parametrize("script", ["applications", "conversations", "cross_site", "pages"])
def test_on_a_server_that_others_use(node: str, shared_server: ServerProcess, pictures: Path, script: str) -> None:
    play(node, shared_server, script, pictures)


def test_each_setting_counts_at_once_and_after_a_restart(node: str, tmp_path: Path, pictures: Path) -> None:
    def answer() -> None:
        back_end.answer("_messageReceived", content='{"_lctype":-1,"_lctext":"changed by the hook"}')

    def pushed() -> list[Any]:
        return [call.said for call in back_end.calls("push")]

    with HookBackEnd() as back_end, hooked_server(tmp_path / "data", back_end, "http") as server:
        set_password(server)
        answers: dict[str, Callable[[], object]] = {"answer": answer, "pushed": pushed}
        answers |= {"silence": back_end.reset, "restart": server.restart}
        play(node, server, "settings", pictures, backEnd=back_end.url, answers=answers)


def test_the_console_is_small_and_quick(node: str, shared_server: ServerProcess, pictures: Path) -> None:
    found = play(node, shared_server, "speed", pictures)
    print(f"{found['bytes']} bytes, interactive after {found['signIn']} ms, signed in after {found['live']} ms")
    assert 10_000 < found["bytes"] <= BUNDLE_BYTES_MAX, found
    assert found["signIn"] < INTERACTIVE_MILLIS_MAX, found
    assert found["live"] < INTERACTIVE_MILLIS_MAX, found


def test_watching_a_busy_server_takes_little_of_it(node: str, new_server: ServerProcess, pictures: Path) -> None:
    set_password(new_server)
    with busy(new_server) as begin:
        found = play(node, new_server, "live", pictures, answers={"load": begin})
    print(f"the console takes {found['share']:.2%} of the server's processor time")
    assert 0 < found["share"] <= CPU_SHARE_MAX, found


def test_pictures_of_the_pages_can_be_made(node: str, shared_server: ServerProcess, tmp_path: Path) -> None:
    command = [node, "shots.mjs", shared_server.http_url, PASSWORD, str(tmp_path), "phone", "dark", "zh"]
    environment = {**os.environ, "FASTIM_SHOTS_WATCH": "0"}
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    names = done.stdout.split()
    assert {"entrance-phone-dark-zh.png", "live-phone-dark-zh.png", "settings-phone-dark-zh.png"} <= set(names)
    assert all((tmp_path / name).stat().st_size > 1_000 for name in names)


def test_the_page_to_try_it_works(node: str, new_server: ServerProcess, pictures: Path) -> None:
    command = [node, "try.mjs", new_server.http_url, str(pictures)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=240)
    checks = [json.loads(line) for line in done.stdout.splitlines()]
    failed = [check for check in checks if not check["ok"]]
    assert not failed, f"{json.dumps(failed, indent=1)}\nscreenshots: {pictures}\n{done.stderr}"
    assert checks, done.stderr
    assert done.returncode == 0, done.stderr


@contextmanager
def busy(server: ServerProcess) -> Iterator[Callable[[], None]]:
    """What is given begins a chat room's load, which ends with the context."""
    running: list[subprocess.Popen[bytes]] = []

    def begin() -> None:
        load = ["bench", "room", "--readers", str(READERS), "--rate", str(RATE), "--seconds", "60"]
        where = ["--server", str(server.tcp), "--app-id", server.app_id, "--no-plot", "--no-pin"]
        command = [sys.executable, "-m", "fastim", *load, *where]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    try:
        yield begin
    finally:
        for process in running:
            process.kill()
            process.wait()
