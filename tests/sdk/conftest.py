"""The server that the SDKs talk to, and what has to be installed before they can."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server_process import ServerProcess

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def node() -> str:
    """Path of the node binary; a run without it, or without the SDKs, fails here and says so."""
    found = shutil.which("node")
    if found is None:
        pytest.fail("the SDK tests need node 18 or newer on the PATH", pytrace=False)
    if not (HERE / "node_modules" / "leancloud-realtime-5").is_dir():
        pytest.fail("the SDKs are not installed: run 'make sdk', or 'npm ci' in tests/sdk", pytrace=False)
    return found


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for every scenario that leaves it alone; their client ids differ from run to run."""
    with ServerProcess(tmp_path_factory.mktemp("shared") / "data", "--set", "messages.unread_cap=100") as server:
        yield server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that the scenario may stop, may send to as fast as it can, and that counts without end."""
    settings = ("--set", "limits.sends_per_minute=0", "--set", "messages.unread_cap=0")
    with ServerProcess(tmp_path / "data", *settings) as server:
        yield server
