"""What a send waits for a list of words that is being put in force: python -m bench.words_reload.

Clients send into groups without a pause; in every other part the server is told to read its list again, over and
over. The list has other words each time, and every message has one of them. What counts is the longest wait for an ack:
a list that was made on the loop, or one that is half there, would show in it.
"""

import argparse
import gc
import signal
import threading
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.load.clients import open_clients, start_conversations
from bench.load.figures import Spread, interleave, table
from bench.load.machine import DRIVER_CORE, describe, pin, require_linux
from bench.load.sending import Sender, send_for
from bench.load.server import Server, running_server
from bench.load.transports import Tcp
from tests.server_process import ServerProcess

CLIENTS = 4
RELOADED = "the list of words was reloaded"


class Part:
    """Sending with or without lists being read, and what came of it in each round."""

    def __init__(self, server: Server, senders: list[Sender], seconds: float, lists: "Lists | None") -> None:
        self._server = server
        self._senders = senders
        self._seconds = seconds
        self._lists = lists
        self.p50: list[float] = []
        self.p99: list[float] = []
        self.worst: list[float] = []
        self.rates: list[float] = []
        self.reloads = 0

    def run(self) -> None:
        before = self._server.process.log.count(RELOADED)
        if self._lists is not None:
            self._lists.begin()
        run = send_for(self._seconds, self._senders)
        if self._lists is not None:
            self._lists.end()
        self.reloads += self._server.process.log.count(RELOADED) - before
        for figures, share in ((self.p50, 0.5), (self.p99, 0.99), (self.worst, 1.0)):
            figures.append(run.millis(share))
        self.rates.append(run.per_second)


class Lists:
    """A thread that brings one list after the other."""

    def __init__(self, process: ServerProcess, file: Path, words: int, pause_seconds: float) -> None:
        self._process = process
        self._file = file
        self._contents = [b"".join(b"w%dx%d\n" % (which, one) for one in range(words)) for which in range(2)]
        self._pause_seconds = pause_seconds
        self._over = threading.Event()
        self._thread = threading.Thread()

    def begin(self) -> None:
        self._over.clear()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        turn = 0
        while not self._over.wait(self._pause_seconds):
            turn += 1
            self._file.write_bytes(self._contents[turn % 2])
            self._process.process.send_signal(signal.SIGHUP)


def main() -> None:
    options = _options()
    require_linux()
    pin(DRIVER_CORE)
    print(describe())
    print(
        f"{CLIENTS} clients with one message on its way each, a list of {options.words:,} words every "
        f"{options.pause_seconds} s, {options.rounds} rounds of {options.seconds} s"
    )
    gc.freeze()
    with TemporaryDirectory(prefix="fastim-bench-") as directory:
        file = Path(directory) / "words.txt"
        file.write_bytes(b"nothing\n")
        settings = ("--set", "words.enabled=true", "--set", f"words.file={file}", "--set", "log.level=info")
        with running_server(arguments=settings, pinned_to_core=not options.all_cores) as server:
            _measure(options, server, file)


def _measure(options: argparse.Namespace, server: Server, file: Path) -> None:
    process = server.process
    names = [f"sender-{number}" for number in range(CLIENTS)]
    clients = open_clients(names, Tcp(), process.tcp.host, process.tcp.port, process.app_id)
    groups = start_conversations(clients, [(name, f"{name}'s friend", f"{name}'s other friend") for name in names])
    senders = [
        Sender(client, group, b"what w0x7 or w1x7 has to say", transient=True)
        for client, group in zip(clients, groups, strict=True)
    ]
    send_for(0.3, senders)
    lists = Lists(process, file, options.words, options.pause_seconds)
    parts = {
        "no list": Part(server, senders, options.seconds, None),
        "lists": Part(server, senders, options.seconds, lists),
    }
    interleave(options.rounds, {name: partial(part.run) for name, part in parts.items()})
    rows = [
        [
            name,
            str(part.reloads),
            Spread(part.rates).show(),
            *(Spread(figures).show(".2f") for figures in (part.p50, part.p99, part.worst)),
        ]
        for name, part in parts.items()
    ]
    print(table(["while the server reads", "lists", "acks/s", "p50 ms", "p99 ms", "longest ms"], rows))
    if refused := server.refusals():
        raise SystemExit(f"{refused:.0f} commands were refused: the figures mean nothing")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=100_000)
    parser.add_argument("--pause-seconds", type=float, default=0.4)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--all-cores", action="store_true", help="let the server have them all, as a service has")
    return parser.parse_args()


if __name__ == "__main__":
    main()
