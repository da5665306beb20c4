"""Fan-out over socket pairs: a burst is put into a room's log and served to all readers; and one connection's commands.

Each round begins with empty sockets: they are drained outside of what is measured. ``python -m bench.fanout`` has the
same over TCP, beside C.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.timing import timed
from fastim._fanout import TCP, Fanout, RoomLog, Wire

BODY = bytes(124)
FRAME_BYTES = 4 + len(BODY)
SUFFIX = b"\x22\x0creader-12345"
READERS = 200
COMMANDS = 100
ROUNDS = 200


class Nobody:
    """The owner of a wire to which nothing happens, and the transport that nothing is left to."""

    def relieved(self) -> None:
        raise AssertionError("nobody waits")

    def failed(self) -> None:
        raise AssertionError("a peer has gone")

    def overrun(self) -> None:
        raise AssertionError("nobody lags")

    def write(self, data: bytes) -> None:
        raise AssertionError("a socket was full")

    def get_write_buffer_size(self) -> int:
        return 0


class Readers:
    """Connections whose other ends are drained here."""

    def __init__(self, closing: ExitStack, count: int) -> None:
        self.fanout = Fanout(lambda turn: None, lambda seconds, turn: None)
        pairs = [socket.socketpair() for _ in range(count)]
        for one in (end for pair in pairs for end in pair):
            closing.callback(one.close)
            one.setblocking(False)
        self._theirs = [theirs for _, theirs in pairs]
        self.wires = [Wire(self.fanout, Nobody(), Nobody(), ours.fileno(), TCP) for ours, _ in pairs]

    def serve(self) -> None:
        while not self.fanout.idle:
            self.fanout.turn()

    def drain(self) -> set[int]:
        """Bytes that came to each."""
        came = set()
        for one in self._theirs:
            try:
                came.add(len(one.recv(1 << 20)))
            except BlockingIOError:
                came.add(0)
        return came


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("burst", [1, 8, 64])
@pytest.mark.parametrize("suffix", [None, SUFFIX], ids=["shared", "peer id"])
def test_a_burst_to_a_room(benchmark: BenchmarkFixture, closing: ExitStack, suffix: bytes | None, burst: int) -> None:
    readers = Readers(closing, READERS)
    log = RoomLog(readers.fanout, 0)
    places = [log.join(wire, suffix) for wire in readers.wires]

    def send() -> None:
        for number in range(burst):
            log.admit(BODY, 2, number, number)
        readers.serve()

    timed(benchmark, send, before=readers.drain, rounds=ROUNDS)
    assert readers.drain() == {burst * (FRAME_BYTES + len(suffix or b""))}
    assert all(place.present for place in places)


@pytest.mark.parametrize("readers", [0, READERS])
def test_admit(benchmark: BenchmarkFixture, closing: ExitStack, readers: int) -> None:
    fanout = Fanout(lambda turn: None, lambda seconds, turn: None)
    log = RoomLog(fanout, 0)
    if readers:
        # Without a descriptor nothing is sent: what is measured is the log alone, its readers ever further behind.
        places = [log.join(Wire(fanout, Nobody(), Nobody(), -1, TCP), None) for _ in range(readers)]
        assert len(places) == log.readers
    benchmark(log.admit, BODY, 2, 7, 0)


def test_commands_of_one_connection(benchmark: BenchmarkFixture, closing: ExitStack) -> None:
    readers = Readers(closing, 1)
    [wire] = readers.wires

    def send() -> None:
        for _ in range(COMMANDS):
            wire.put(BODY, SUFFIX)
        wire.flush()

    timed(benchmark, send, before=readers.drain, rounds=ROUNDS)
    assert readers.drain() == {COMMANDS * (FRAME_BYTES + len(SUFFIX))}
