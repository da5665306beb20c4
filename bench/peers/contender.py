"""A server on one core and its load on the other, in a process of their own that waits until it is their turn."""

import multiprocessing
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from msgspec import Struct

from bench.load.clients import enter_room, open_clients, start_room
from bench.load.machine import DRIVER_CORE, SERVER_CORE, pin, pinned
from bench.load.rooms import SDK_CONFIG, Ledger, room_server, text_of
from bench.load.transports import Tcp, needed_descriptors
from bench.peers.driver import Driver, Publication, Stalled
from bench.peers.places import CHECKOUT
from bench.peers.servers import PEERS, Peer, environment
from fastim._frames import encode_tcp
from fastim.wire import messages2_pb2 as pb

ROWS = FASTIM, STORED = "fastim", "fastim, stored"
PAYLOAD_BYTES = 128
WARM_SECONDS = 0.3
_AT_ONCE = 64
"""Connections that wait for one another while they are made: fewer than any backlog."""
_START_SECONDS = 20.0
_STOP_SECONDS = 20.0
_FASTIM_BYTES = 128
"""Fewer than these come with a payload: ids, the time, the reader's own id."""
_TOKEN = b"~" * 10


class Figures(Struct, frozen=True):
    """What came of one round of one cell.

    Attributes:
        rate: Deliveries a second.
        server: Microseconds of processor time that the server has spent on a delivery.
        server_percent: How busy the server was.
        core_percent: How busy its core was, with what the kernel and others have done there.
        driver_percent: How busy the load was: near 100 it is what was measured.
        read: Deliveries that one read of the load brought.
    """

    rate: float
    server: float
    server_percent: float
    core_percent: float
    driver_percent: float
    read: float


class Failed(Exception):
    """A contender cannot go on; the message says why."""


class Contender:
    """Use it as a context manager: leaving it ends the server.

    Attributes:
        name: Of the server.
        rows: What can be measured of it.
    """

    def __init__(self, name: str, readers: int) -> None:
        self.name = name
        self.rows: tuple[str, ...] = ROWS if name == FASTIM else (name,)
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_contend, args=(name, readers, theirs))
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()
        if kind is not None and self._process.is_alive() and self._process.pid is not None:
            os.kill(self._process.pid, signal.SIGINT)
        self._process.join(2 * _STOP_SECONDS)
        self._process.kill()
        self._process.join()

    def wait(self) -> None:
        """Until its readers are there.

        Raises:
            Failed: They cannot be.
        """
        self._answer()

    def measure(self, row: str, burst: int, depth: int, seconds: float) -> Figures:
        """One round.

        Raises:
            Failed: It has not done what it had to.
        """
        self._pipe.send((row, burst, depth, seconds))
        figures = self._answer()
        assert isinstance(figures, Figures)
        return figures

    def finish(self) -> None:
        """End the server.

        Raises:
            Failed: It has lost or refused something meanwhile, so its figures mean nothing.
        """
        self._pipe.send(None)
        self._answer()

    def _answer(self) -> object:
        try:
            answer = self._pipe.recv()
        except EOFError:
            raise Failed(f"{self.name}: its process has ended") from None
        if isinstance(answer, str):
            raise Failed(f"{self.name}: {answer}")
        return answer


class _Row(Struct, frozen=True):
    """What is published, and how long it is for a reader."""

    publication: Publication
    delivery_bytes: int


class _Stand:
    """A server with its readers.

    Args:
        publications: By row, with what a reader is sent for it.
        extra_bytes: There are so many more of them besides, at most.
    """

    def __init__(
        self,
        process_id: int,
        readers: Sequence[socket.socket],
        publisher: socket.socket,
        publications: dict[str, tuple[Publication, bytes]],
        extra_bytes: int = 0,
    ) -> None:
        for one in (*readers, publisher):
            one.setblocking(False)
        self._threads = Path(f"/proc/{process_id}/task")
        self._readers = len(readers)
        self._driver = Driver([one.fileno() for one in readers], publisher.fileno())
        self._driver.settle()
        self._rows = {}
        for row, (publication, content) in publications.items():
            seen = self._driver.probe(publication)
            if content not in seen or len(seen) > len(content) + extra_bytes:
                raise Stalled(f"{seen!r} was delivered, and not {content!r}")
            self._rows[row] = _Row(publication, len(seen))

    def measure(self, row: str, burst: int, depth: int, seconds: float) -> Figures:
        driver, what = self._driver, self._rows[row]
        driver.begin(what.publication, what.delivery_bytes, burst, depth)
        # From an instant at which a burst is complete to another one, so that no part of a burst counts too much.
        driver.run(WARM_SECONDS)
        before, spent, busy = driver.counts.copy(), self._spent_seconds(), _busy_seconds()
        driver.run(seconds)
        after = driver.counts.copy()
        spent, busy = self._spent_seconds() - spent, _busy_seconds() - busy
        driver.finish()
        wall = (after.complete_ns - before.complete_ns) / 1e9
        deliveries = (after.bytes - before.bytes) / what.delivery_bytes
        return Figures(
            rate=deliveries / wall,
            server=1e6 * spent / deliveries,
            server_percent=100 * spent / wall,
            core_percent=100 * busy / wall,
            driver_percent=100 - 100 * (after.idle_ns - before.idle_ns) / 1e9 / wall,
            read=deliveries / (after.reads - before.reads),
        )

    def _spent_seconds(self) -> float:
        threads = self._threads.glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def _busy_seconds() -> float:
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{SERVER_CORE}":
            idle, waiting = int(ticks[3]), int(ticks[4])
            return (sum(map(int, ticks[:8])) - idle - waiting) / os.sysconf("SC_CLK_TCK")
    return float("nan")


def _contend(name: str, readers: int, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, _interrupted)
    try:
        needed_descriptors(readers)
        with _fastim(readers) if name == FASTIM else _peer(name, readers) as stand:
            pipe.send(None)
            while (round_ := pipe.recv()) is not None:
                pipe.send(stand.measure(*round_))
        pipe.send(None)
    except (EOFError, KeyboardInterrupt, BrokenPipeError):
        pass
    except (Exception, SystemExit) as error:
        pipe.send(f"{type(error).__name__}: {error}")


def _interrupted(number: int, frame: FrameType | None) -> None:
    """Ctrl-C comes from the terminal and once more from whoever started us: it must not break into the cleaning up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _payload() -> bytes:
    text = text_of(PAYLOAD_BYTES)
    return text + b"." * (PAYLOAD_BYTES - len(text))


@contextmanager
def _fastim(readers: int) -> Iterator[_Stand]:
    """The server as ``bench.room`` has it: the filter has 10,000 words, limits are counted, the ledger is kept."""
    with room_server(None) as server, ExitStack() as closing:
        pin(DRIVER_CORE)
        tcp, app_id = server.process.tcp, server.process.app_id
        names = [f"reader-{n:05}" for n in range(readers)]  # all of one length, since bytes are counted
        inside = open_clients(names, Tcp(), tcp.host, tcp.port, app_id, SDK_CONFIG)
        [publisher] = open_clients(["publisher"], Tcp(), tcp.host, tcp.port, app_id, SDK_CONFIG)
        for client in (*inside, publisher):
            closing.callback(client.close)
        room = start_room(inside[0])
        enter_room(inside[1:], room)
        payload = _payload()
        yield _Stand(
            server.process.process.pid,
            [client.socket for client in inside],
            publisher.socket,
            {
                FASTIM: (_send(room, payload, transient=True), payload),
                STORED: (_send(room, payload, transient=False), payload),
            },
            extra_bytes=_FASTIM_BYTES,
        )
        if refused := server.refusals():
            raise Failed(f"{refused:.0f} commands were refused: the figures mean nothing")
        ledger = Ledger.of(server.metrics())
        if ledger.imbalance or ledger.shed:
            raise Failed(f"not everything was delivered: {ledger}")


def _send(room: str, payload: bytes, *, transient: bool) -> Publication:
    """A send; each has a token of its own, or it would be one that comes again."""
    direct = pb.DirectCommand(cid=room, msg=payload, dt=_TOKEN.decode(), transient=transient)
    send = pb.GenericCommand(cmd=pb.direct, peerId="publisher", i=7, directMessage=direct)
    message = encode_tcp(send.SerializeToString())
    if message.count(_TOKEN) != 1:
        raise ValueError("the payload holds what marks the token")
    return Publication(message, message.index(_TOKEN))


@contextmanager
def _peer(name: str, readers: int) -> Iterator[_Stand]:
    [peer] = [one for one in PEERS if one.name == name]
    payload = _payload()
    with tempfile.TemporaryDirectory(prefix="fastim-bench-") as directory, ExitStack() as closing:
        port = _free_port()
        process = closing.enter_context(_running(peer, port, Path(directory)))
        pin(DRIVER_CORE)
        sockets = []
        for start in range(0, readers, _AT_ONCE):
            sockets += [_greet(peer, port, number, closing) for number in range(start, min(start + _AT_ONCE, readers))]
            for number, one in enumerate(sockets[start:], start):
                _await_welcome(peer, number, one)
        publisher = _greet(peer, port, None, closing)
        _await_welcome(peer, None, publisher)
        publication = Publication(peer.publication(payload))
        yield _Stand(process.pid, sockets, publisher, {name: (publication, peer.delivery(payload))})
        if process.poll() is not None:
            raise Failed(f"it has ended with status {process.returncode}")


@contextmanager
def _running(peer: Peer, port: int, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    with pinned(SERVER_CORE), tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            peer.command(port, directory),
            cwd=CHECKOUT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _await_listening(process, port)
        except Failed as failed:
            process.kill()
            process.wait()
            log.seek(0)
            raise Failed(f"{failed}\n{log.read().decode(errors='replace')}") from None
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _await_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failed(f"it has ended with status {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise Failed(f"it does not listen after {_START_SECONDS} s")


def _greet(peer: Peer, port: int, number: int | None, closing: ExitStack) -> socket.socket:
    one = closing.enter_context(Tcp().connect("127.0.0.1", port, number or 0))
    one.sendall(peer.hello(number))
    return one


def _await_welcome(peer: Peer, number: int | None, one: socket.socket) -> None:
    answer = b""
    while not peer.welcomed(number, answer):
        piece = one.recv(65_536)
        if not piece:
            raise Failed(f"a client was disconnected after {answer!r}")
        answer += piece


def _free_port() -> int:
    """One that nobody listens on, outside of those that the system gives to connections where that can be."""
    while True:
        port = random.randrange(20_000, 32_000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
