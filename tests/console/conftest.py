"""The server that the browser talks to, and what has to be installed before it can."""

import json
import os
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.scenario import PASSWORD, setup_link
from tests.server_process import ServerProcess

HERE = Path(__file__).parent
CHROMIUM = "/usr/bin/chromium"


@pytest.fixture(scope="session")
def node() -> str:
    """Path of the node binary; a run without it, its packages or the browser fails here and says so."""
    found = shutil.which("node")
    if found is None:
        pytest.fail("the console's tests need node 20 or newer on the PATH", pytrace=False)
    if not (HERE / "node_modules" / "playwright-core").is_dir():
        pytest.fail("what drives the browser is not installed: run 'make console-e2e'", pytrace=False)
    if not Path(os.environ.get("CHROMIUM", CHROMIUM)).exists():
        pytest.fail(f"there is no {CHROMIUM}: install chromium, or name another in CHROMIUM", pytrace=False)
    return found


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots of what failed go; pytest keeps the last three runs' directories."""
    return tmp_path_factory.mktemp("pictures")


def set_password(server: ServerProcess) -> None:
    """Use the link that the server has printed."""
    token = setup_link(server).rpartition("/")[2]
    request = urllib.request.Request(
        f"{server.http_url}/console/api/setup",
        json.dumps({"token": token, "password": PASSWORD}).encode(),
        {"Content-Type": "application/json", "X-Fastim-Console": "1"},
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server with a password for every script that leaves it alone."""
    with ServerProcess(tmp_path_factory.mktemp("shared") / "data") as server:
        set_password(server)
        yield server
        assert "Traceback" not in server.log, server.log


@pytest.fixture
def new_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that nobody has seen."""
    with ServerProcess(tmp_path / "data") as server:
        yield server
        assert "Traceback" not in server.log, server.log
