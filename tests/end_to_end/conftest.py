"""Real server processes: one that all tests of a run share, and one for a test that stops or kills it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server_process import ServerProcess

# There is no LeanCloud SDK in Python for newer ones.
collect_ignore = [] if sys.version_info < (3, 12) else ["test_leancloud_sdk.py", "test_leanengine.py"]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server for tests that leave it running; whoever uses it brings client ids of its own."""
    yield from _running(tmp_path_factory.mktemp("server"))


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server for this test alone."""
    yield from _running(tmp_path)


def _running(data: Path) -> Iterator[ServerProcess]:
    # In a room nothing waits for more, or what is sent to it could come behind what is sent elsewhere later.
    with ServerProcess(data, "--set", "delivery.room_gather_milliseconds=0") as process:
        yield process
        # Whatever clients do, and however often it was killed: nothing of that is a fault of the server's.
        assert '"level": "error"' not in process.log, process.log
        assert "Traceback" not in process.log, process.log
