"""A server that two applications share."""

from pathlib import Path

from tests.server_process import ServerProcess

NEIGHBOUR = "fastim-test-neighbour"
NEIGHBOUR_KEY = "neighbour-app-key"
NEIGHBOUR_MASTER_KEY = "neighbour-master-key"


def shared_server(data: Path, *arguments: str) -> ServerProcess:
    """A server, not started yet, whose store holds the application of every test server and ``NEIGHBOUR``."""
    neighbour = ServerProcess(data, app_id=NEIGHBOUR, app_key=NEIGHBOUR_KEY, master_key=NEIGHBOUR_MASTER_KEY)
    with neighbour:
        neighbour.terminate()
    return ServerProcess(data, *arguments)
