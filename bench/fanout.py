"""Processor time from publish to the last send, beside a C program that does the same sends: python -m bench.fanout.

One process holds one end of thousands of TCP connections, set up as the server does it; a process on the other core
drains the other ends. A burst of messages is put into a room's log and served until nothing waits, and what the thread
has spent by the kernel's count, the sends themselves included, is shared out among the deliveries. Then the C program
sends the very same bytes to the same sockets, one ``send`` for each reader, and again as the control. The next burst
waits until the peers have taken everything, outside of what is measured, so that no socket is ever full.

- ``shared``: readers that take frames as they are; C sends them all from one buffer.
- ``peer id``: each frame ends in the reader's own client id; C sends each reader bytes that were prepared before. There
  are megabytes of them, which no cache holds, so beside it the same is sent by C that puts them together as it goes, as
  the server has to. What counts is whichever was faster in a round.
- ``WebSocket``: ``shared`` in the other framing.

In each round they all take their bursts in shuffled order. A ratio is C over fastim within a round, so 0.9 says that C
needs nine tenths of the time; figures are medians over the rounds. A control outside of 0.9 to 1.1 voids its cell.
"""

import argparse
import asyncio
import ctypes
import gc
import random
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from math import exp, log

import uvloop

from bench.load.figures import Spread, table
from bench.load.machine import SERVER_CORE, describe, pin, pinned, require_linux
from bench.load.native import library
from bench.load.peers import Peers
from bench.load.stages import WHOLE, Stages
from bench.load.transports import needed_descriptors
from fastim._fanout import TCP, WEBSOCKET, Fanout, RoomLog, Wire
from fastim.doors.listen import NOTSENT_LOWAT_BYTES
from fastim.wire.codec.pushes import recipient

CONTROL = (0.9, 1.1)
GOALS = {"shared": (0.90, 0.8), "peer id": (0.90, 0.7), "WebSocket": (0.90, 0.8)}
"""The geometric mean that is wanted, and the least in a cell."""
HEADER_BYTES = 4
PRIORITIES = (3, 3, 3, 3, 3, 3, 2, 2, 2, 1)
SENDERS = 50
NAMES = ("user-7", "user-12345", "u", "alice", "a-client-id-of-thirty-characters")

HEAD = ("readers", "number", "frames", "fastim", "C", "C, spliced", "C over fastim", "C over C", "admit, a message")

_sends = library("sends")
for _call in (_sends.send_shared, _sends.send_own, _sends.send_spliced):
    _call.restype = ctypes.c_int64


class Cell:
    """One kind of readers, one number of them, one length of burst.

    Attributes:
        fastim, c, control, spliced, ingress: For each round, microseconds: of a delivery, but ``ingress`` of a message,
            which is the part of ``fastim`` that is spent before the first send.
    """

    def __init__(self, peers: Peers, kind: str, readers: int, burst: int, frame_bytes: int) -> None:
        self.kind, self.readers, self.burst = kind, readers, burst
        self._peers = peers
        self._body = bytes(97 + n % 26 for n in range(frame_bytes - HEADER_BYTES))
        self._suffixes = [recipient(_name(n)) for n in range(readers)] if kind == "peer id" else None
        self._fds = peers.fds[:readers]
        self._messages = 0
        self._room()
        self._program()
        self.fastim: list[float] = []
        self.c: list[float] = []
        self.control: list[float] = []
        self.spliced: list[float] = []
        self.ingress: list[float] = []

    def round(self, bursts: int, order: random.Random) -> None:
        """``bursts`` of each, all in shuffled order."""
        parts: dict[str, Callable[[], int]] = {"fastim": self._serve, "c": self._send, "control": self._send}
        if self._suffixes is not None:
            parts["spliced"] = self._splice
        spent = dict.fromkeys(parts, 0)
        self._admitting_ns = 0
        names = [name for name in parts for _ in range(bursts)]
        order.shuffle(names)
        self._send()
        self._peers.wait_until_taken(self._burst_bytes)
        for name in names:
            nanoseconds = parts[name]()
            if nanoseconds < 0:
                raise SystemExit("a socket was full when C wanted to send: the peers do not keep up")
            spent[name] += nanoseconds
            self._peers.wait_until_taken(self._burst_bytes)
        deliveries = self.readers * self.burst * bursts
        for name, nanoseconds in spent.items():
            getattr(self, name).append(nanoseconds / 1000 / deliveries)
        self.ingress.append(self._admitting_ns / 1000 / self.burst / bursts)

    @property
    def ratio(self) -> Spread:
        """C, the faster one, over fastim."""
        faster = [min(pair) for pair in zip(self.c, self.spliced, strict=True)] if self.spliced else self.c
        return Spread(faster).over(Spread(self.fastim))

    @property
    def control_ratio(self) -> Spread:
        return Spread(self.c).over(Spread(self.control))

    @property
    def void(self) -> bool:
        return not CONTROL[0] <= self.control_ratio.median <= CONTROL[1]

    def row(self) -> list[str]:
        return [
            self.kind,
            f"{self.readers:,}",
            str(self.burst),
            Spread(self.fastim).show(".3f"),
            Spread(self.c).show(".3f"),
            Spread(self.spliced).show(".3f") if self.spliced else "",
            self.ratio.show(".3f"),
            self.control_ratio.show(".3f") + (" VOID" if self.void else ""),
            Spread(self.ingress).show(".2f"),
        ]

    def _room(self) -> None:
        self._fanout = _fanout()
        self._log = RoomLog(self._fanout, 0)
        self._framing = WEBSOCKET if self.kind == "WebSocket" else TCP
        # They leave their rooms when they are gone.
        self._wires = [Wire(self._fanout, _Nobody(), _Nowhere(), fd, self._framing) for fd in self._fds]
        self._places = [
            self._log.join(wire, None if self._suffixes is None else self._suffixes[n])
            for n, wire in enumerate(self._wires)
        ]
        while not self._fanout.idle:
            self._fanout.turn()

    def _program(self) -> None:
        """Prepare what the C program sends: what fastim has been seen to send."""
        c_fds = (ctypes.c_int * self.readers)(*self._fds)
        count = ctypes.c_uint32(self.readers)
        if self._suffixes is None:
            burst = self._seen(None)
            self._burst_bytes = len(burst) * self.readers
            self._send = partial(_sends.send_shared, c_fds, count, burst, ctypes.c_uint64(len(burst)))
            return
        own = [self._framed(suffix) * self.burst for suffix in self._suffixes]
        for n in range(len(NAMES)):
            if own[n] != self._seen(self._suffixes[n]):
                raise SystemExit("the C program would not send what fastim sends")
        self._burst_bytes = sum(map(len, own))
        self._send = partial(_sends.send_own, c_fds, count, b"".join(own), _starts(own))
        self._splice = partial(
            _sends.send_spliced,
            *(c_fds, count, self._body, ctypes.c_uint32(len(self._body)), ctypes.c_uint32(self.burst)),
            *(b"".join(self._suffixes), _starts(self._suffixes)),
        )

    def _framed(self, suffix: bytes) -> bytes:
        return (len(self._body) + len(suffix)).to_bytes(HEADER_BYTES) + self._body + suffix

    def _seen(self, suffix: bytes | None) -> bytes:
        """A burst as one reader gets it."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            fanout = _fanout()
            log = RoomLog(fanout, 0)
            wire = Wire(fanout, _Nobody(), _Nowhere(), ours.fileno(), self._framing)
            log.join(wire, suffix)
            for n in range(self.burst):
                log.admit(self._body, 3, n, n)
            while not fanout.idle:
                fanout.turn()
            wire.end()
            return theirs.recv(1 << 20)

    def _serve(self) -> int:
        """A burst by fastim; nanoseconds."""
        fanout, log, body = self._fanout, self._log, self._body
        sends, handed_over = fanout.sends, fanout.handed_over
        messages = [
            (PRIORITIES[n % len(PRIORITIES)], n % SENDERS, n)
            for n in range(self._messages, self._messages + self.burst)
        ]
        self._messages += self.burst
        begun = time.thread_time_ns()
        for priority, sender, timestamp in messages:
            log.admit(body, priority, sender, timestamp)
        admitted = time.thread_time_ns()
        while not fanout.idle:
            fanout.turn()
        spent = time.thread_time_ns() - begun
        self._admitting_ns += admitted - begun
        if fanout.sends - sends != self.readers or fanout.handed_over != handed_over:
            raise SystemExit(
                f"{fanout.sends - sends} sends and {fanout.handed_over - handed_over} full sockets for "
                f"{self.readers} readers: this is not what C does"
            )
        return spent


class _Nobody:
    """The owner of a wire to which nothing happens."""

    def relieved(self) -> None:
        raise AssertionError("nobody waits")

    def failed(self) -> None:
        raise AssertionError("a peer has gone")

    def overrun(self) -> None:
        raise AssertionError("nobody lags")


class _Nowhere:
    """The transport of a wire whose socket is never full."""

    def write(self, data: bytes) -> None:
        raise AssertionError("a socket was full")

    def get_write_buffer_size(self) -> int:
        return 0


def main() -> None:
    options = _options()
    require_linux()
    needed_descriptors(max(options.readers))
    print(describe())
    print(f"{options.frame_bytes} bytes a frame, {options.rounds} rounds of {options.bursts} bursts or more; in us")
    with Peers(max(options.readers), NOTSENT_LOWAT_BYTES) as peers:
        pin(SERVER_CORE)
        cells = [
            Cell(peers, kind, readers, burst, options.frame_bytes)
            for kind in options.kinds
            for readers in options.readers
            for burst in options.frames
        ]
        gc.collect()
        gc.freeze()
        gc.disable()
        order = random.Random(1)
        for number in range(options.rounds + 1):
            for cell in order.sample(cells, len(cells)):
                cell.round(options.bursts * max(1, 4_000 // cell.readers), order)
            if number == 0:  # warm up
                for cell in cells:
                    for figures in (cell.fastim, cell.c, cell.control, cell.spliced, cell.ingress):
                        figures.clear()
        gc.enable()
    print(table(HEAD, [cell.row() for cell in cells]))
    for kind in options.kinds:
        print(_verdict(kind, [cell for cell in cells if cell.kind == kind]))
    with pinned(SERVER_CORE), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(f"ingress, the whole of it: {runner.run(_ingress(options.rounds)).show('.1f')} us for each message,")
        print("a transient one to nobody, from the read to the written ack; python -m bench.inbound has the parts")


def _verdict(kind: str, cells: Sequence[Cell]) -> str:
    ratios = [cell.ratio.median for cell in cells]
    mean = exp(sum(map(log, ratios)) / len(ratios))
    wanted, least = GOALS[kind]
    void = sum(cell.void for cell in cells)
    held = mean >= wanted and min(ratios) >= least
    return (
        f"{kind}: geometric mean {mean:.3f} (goal {wanted}), least {min(ratios):.3f} (goal {least}): "
        f"{f'{void} of {len(cells)} cells are void' if void else 'reached' if held else 'NOT reached'}"
    )


async def _ingress(rounds: int) -> Spread:
    stages = await Stages.ready(b"x" * 128)
    await stages.measure()
    return Spread([(await stages.measure())[WHOLE] for _ in range(rounds)])


def _fanout() -> Fanout:
    return Fanout(lambda turn: None, lambda seconds, turn: None)


def _name(number: int) -> str:
    """Client ids of mixed lengths."""
    return NAMES[number] if number < len(NAMES) else f"user-{number}"


def _starts(pieces: Sequence[bytes]) -> "ctypes.Array[ctypes.c_uint64]":
    starts = [0]
    for piece in pieces:
        starts.append(starts[-1] + len(piece))
    return (ctypes.c_uint64 * len(starts))(*starts)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--frames", type=int, nargs="+", default=[1, 8, 64], help="of a burst")
    parser.add_argument("--frame-bytes", type=int, default=128, help="header included, what a reader's own id adds not")
    parser.add_argument("--kinds", nargs="+", choices=list(GOALS), default=list(GOALS))
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--bursts", type=int, default=3, help="of each, in a round; more with fewer readers")
    return parser.parse_args()


if __name__ == "__main__":
    main()
