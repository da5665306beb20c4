"""The server that the SDKs talk to, and what has to be installed before they can."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.authority import Authority
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
    words = HERE.parent.parent / "examples" / "words.txt"
    settings = (
        *("--set", "messages.unread_cap=100", "--set", "rest.subscriber_broadcasts_per_minute=0"),
        *("--set", "words.enabled=true", "--set", f"words.file={words}", "--set", "delivery.room_high_bytes=262144"),
    )
    with ServerProcess(tmp_path_factory.mktemp("shared") / "data", *settings) as server:
        yield server


class TlsServer(NamedTuple):
    """A server, and the certificate of the authority that its clients are to trust."""

    server: ServerProcess
    root: Path


@pytest.fixture(scope="session")
def shared_tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    """As ``shared_server``, with TLS."""
    directory = tmp_path_factory.mktemp("shared_tls")
    authority = Authority(directory)
    settings = ("--https", "127.0.0.1:0", *authority.issue("server").settings)
    with ServerProcess(directory / "data", *settings) as server:
        yield TlsServer(server, authority.root)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that the scenario may stop, may send to as fast as it can, and that counts without end."""
    settings = ("--set", "limits.sends_per_minute=0", "--set", "messages.unread_cap=0")
    with ServerProcess(tmp_path / "data", *settings) as server:
        yield server
