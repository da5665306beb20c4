"""The servers that are attacked."""

from collections.abc import Iterator

import pytest

from tests.hostile.table import Server
from tests.neighbours import shared_server
from tests.server_process import ServerProcess

REQUIRES = {Server.STRICT: "true", Server.LENIENT: "false"}


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Server, ServerProcess]]:
    """One of each kind, shared by all rows."""
    running: dict[Server, ServerProcess] = {}
    try:
        for kind, value in REQUIRES.items():
            arguments = ("--set", f"security.require_signature={value}")
            running[kind] = shared_server(tmp_path_factory.mktemp(kind.name.lower()) / "data", *arguments).start()
        yield running
        for process in running.values():
            assert '"level": "error"' not in process.log, process.log
            assert "Traceback" not in process.log, process.log
    finally:
        for process in running.values():
            process.close()
