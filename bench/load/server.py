"""The server under load: started on its own core, and looked at from outside."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from msgspec import Struct

from bench.load.machine import SERVER_CORE, all_cores, pinned
from tests.server_process import ServerProcess

LIMITS_OFF = (
    *("--set", "limits.sends_per_minute=0"),
    *("--set", "limits.operations_per_minute=0"),
    *("--set", "limits.read_timeout_seconds=86400"),
    *("--set", "log.level=warning"),
)
"""What would end a long run: rates, and the silence of readers that say nothing, as SDKs would every three minutes."""


@contextmanager
def running_server(
    checkout: Path | None = None, *, arguments: Sequence[str] = (), pinned_to_core: bool = True
) -> Iterator["Server"]:
    """A server on its own core, with a fresh data directory and no rate limits.

    Args:
        checkout: Built sources to run instead of these.
        arguments: More of ``fastim serve``; they go before what is given here.
        pinned_to_core: ``False``: it may run on all of them.
    """
    # Python would look for fastim in the working directory first.
    other = {} if checkout is None else {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(checkout.resolve())}
    with tempfile.TemporaryDirectory(prefix="fastim-bench-") as data:
        process = ServerProcess(Path(data) / "data", *LIMITS_OFF, *arguments, environment=other)
        with pinned(SERVER_CORE) if pinned_to_core else all_cores():
            process.start()
        try:
            yield Server(process)
        finally:
            process.close()


class Memory(Struct, frozen=True):
    """A process's memory, in bytes.

    Attributes:
        resident: In RAM, the pages of shared libraries and of the store's file included.
        private: In RAM, written by the process and its alone: what it would not need without its sessions.
    """

    resident: int
    private: int


class Commits(Struct, frozen=True):
    """What the store's writer has done so far."""

    commits: int
    writes: int
    seconds: float

    def since(self, before: "Commits") -> "Commits":
        return Commits(self.commits - before.commits, self.writes - before.writes, self.seconds - before.seconds)


class Server:
    """A running server.

    Attributes:
        process: It, as the tests know it.
    """

    def __init__(self, process: ServerProcess) -> None:
        self.process = process
        self._proc = Path(f"/proc/{process.process.pid}")

    def cpu_seconds(self) -> dict[str, float]:
        """Processor time so far of the event loop's thread and of all others together; empty where nobody tells."""
        spent = {"loop": 0.0, "others": 0.0}
        try:
            for task in (self._proc / "task").iterdir():
                nanoseconds = int((task / "schedstat").read_text().split()[0])
                spent["loop" if task.name == self._proc.name else "others"] += nanoseconds / 1e9
        except OSError:
            return {}
        return spent

    def memory(self) -> Memory:
        """What it holds now; on Linux only."""
        fields = {}
        for line in (self._proc / "smaps_rollup").read_text().splitlines()[1:]:
            name, _, size = line.partition(":")
            fields[name] = 1024 * int(size.split()[0])
        return Memory(fields["Rss"], fields["Private_Dirty"])

    def metrics(self) -> dict[str, float]:
        """Every metric, labels included in its name."""
        with urlopen(f"{self.process.http_url}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return {
            name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        }

    def commits(self) -> Commits:
        metrics = self.metrics()
        return Commits(
            int(metrics["fastim_store_commit_seconds_count"]),
            int(metrics["fastim_store_writes_total"]),
            metrics["fastim_store_commit_seconds_sum"],
        )

    def refusals(self) -> float:
        """Commands refused so far; a benchmark expects none."""
        return sum(value for name, value in self.metrics().items() if name.startswith("fastim_refusals_total"))
