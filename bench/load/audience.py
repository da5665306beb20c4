"""A chat room's audience and its senders, driven in C by ``bench/native/room.c``.

One thread reads thousands of connections, knows every message again by the ordinal in it, and sends by the clock or by
what has arrived. What is read here are its counts and histograms; what a field means is said in the C source.
"""

import ctypes
import os
from collections.abc import Sequence
from time import monotonic_ns
from typing import Any

from msgspec import Struct

from bench.load.clients import Client, Refused
from bench.load.native import library
from fastim.wire import messages2_pb2 as pb

DIGITS = 10
MARKER = b"@"
HOLE = MARKER + b"0" * DIGITS
"""Where a message says which one it is; the word filter finds nothing in digits."""
HEALTHY = 0
STALLED = 1
_BUCKETS = 3840
_GOALS = {"time": 0, "arrived": 1, "answered": 2, "quiet": 3, "settled": 4}
_SETTLED_SECONDS = 3.0
_TOKEN_HOLE = b"~" * DIGITS
_SERIAL_HOLE = b"\xaa\xaa\xaa\x2a"

_Buckets = ctypes.c_uint64 * _BUCKETS


class _Room(ctypes.Structure):
    """``struct room``."""

    _fields_ = (
        *((name, ctypes.c_uint64) for name in ("period_ns", "next_ns", "quiet_ns")),
        *((name, ctypes.c_uint32) for name in ("burst", "in_flight", "limit", "expected")),
        *((name, ctypes.c_uint32) for name in ("sent", "arrived", "asked", "answered")),
        *((name, ctypes.c_uint64) for name in ("frames", "bytes", "reads", "unmarked", "errors", "ended", "acks")),
        *((name, ctypes.c_uint64) for name in ("repeated", "cpu_ns", "wall_ns")),
        ("each", _Buckets * 2),
        *((name, _Buckets) for name in ("last", "ack", "late", "answer")),
    )


class Histogram:
    """Latencies, each known to 1.6 %.

    Args:
        buckets: A count for each bucket, as ``note`` in the C source fills them.
    """

    def __init__(self, buckets: Sequence[int]) -> None:
        self._counts = list(buckets)
        self.count = sum(self._counts)

    def __sub__(self, earlier: "Histogram") -> "Histogram":
        """What has come since ``earlier``."""
        return Histogram([now - then for now, then in zip(self._counts, earlier._counts, strict=True)])

    def millis(self, share: float) -> float:
        """The percentile ``share`` (0 to 1), in milliseconds; NaN when nothing was counted."""
        if not self.count:
            return float("nan")
        left = min(int(share * self.count), self.count - 1)
        for bucket, count in enumerate(self._counts):
            if left < count:
                return _middle_ns(bucket) / 1e6
            left -= count
        raise AssertionError("unreachable: the counts add up to more")


def _middle_ns(bucket: int) -> float:
    power, step = divmod(bucket, 64)
    return float(step) if not power else (64 + step + 0.5) * 2.0 ** (power - 1)


class Counts(Struct, frozen=True):
    """What was counted so far, or between two looks.

    Attributes:
        sent: Messages.
        arrived: Messages that all healthy readers have.
        frames: That came to readers, of any kind.
        reads: System calls that brought some.
        unmarked: Deliveries of messages that were not sent here.
        errors: Error commands.
        ended: Connections of readers that the server closed.
        repeated: High-priority messages that a reader got twice.
    """

    sent: int
    arrived: int
    asked: int
    answered: int
    frames: int
    bytes: int
    reads: int
    unmarked: int
    errors: int
    ended: int
    acks: int
    repeated: int
    cpu_ns: int
    wall_ns: int

    def since(self, before: "Counts") -> "Counts":
        return Counts(*(getattr(self, name) - getattr(before, name) for name in self.__struct_fields__))

    @property
    def seconds(self) -> float:
        return self.wall_ns / 1e9

    @property
    def busy_percent(self) -> float:
        """How busy the load itself was: near 100 it is what was measured."""
        return 100 * self.cpu_ns / max(self.wall_ns, 1)


class Audience:
    """Readers and senders of one room.

    Args:
        readers: Clients that are inside; their sockets are read from here from now on, and closed by ``close``.
        senders: Clients that send; none of them a reader.
        messages: That can be sent in all.
        priorities: Of the messages, gone through again and again.
        port: Of the server, where readers dial.
    """

    def __init__(
        self,
        readers: Sequence[Client],
        senders: Sequence[Client],
        conversation_id: str,
        text: bytes,
        port: int,
        *,
        messages: int,
        priorities: Sequence[int] = (2,),
    ) -> None:
        self._c = _library()
        self.readers = len(readers)
        handle = self._c.room_new(len(readers), len(senders), messages, bytes(priorities), len(priorities), port)
        if not handle:
            raise MemoryError("no memory for so many readers and messages")
        self._handle = ctypes.c_void_p(handle)
        self._room = _Room.from_address(handle)
        self._room.expected = len(readers)
        self._room.burst = 1
        for number, client in enumerate(readers):
            _check(self._c.room_reader(self._handle, number, client.socket.detach(), HEALTHY))
        self._senders = senders  # their sockets stay open as long as they are here
        for number, client in enumerate(senders):
            self._add_sender(number, client, conversation_id, text)

    def _add_sender(self, number: int, client: Client, conversation_id: str, text: bytes) -> None:
        client.socket.setblocking(False)
        frames = [_template(client, conversation_id, text, priority) for priority in (1, 3)]
        [priority_at] = [n for n, (one, other) in enumerate(zip(*frames, strict=True)) if one != other]
        frame = frames[0]
        holes = [_only(frame, hole) for hole in (_SERIAL_HOLE, _TOKEN_HOLE, HOLE)]
        _check(
            self._c.room_sender(self._handle, number, client.socket.fileno(), frame, len(frame), *holes, priority_at)
        )

    # --- What is done -------------------------------------------------------------------------------------------------

    def send_by_clock(self, per_second: float, seconds: float) -> bool:
        """Send at that rate for so long, whatever becomes of it; then wait until all is there, or nothing more comes.

        A message's latency counts from when it was due, so a load or a server that falls behind cannot hide it.

        Returns:
            Whether every message has arrived at all healthy readers.
        """
        room = self._room
        room.period_ns = int(1e9 / per_second)
        room.next_ns = monotonic_ns() + 10_000_000
        room.limit = room.sent + int(per_second * seconds)
        room.burst = 1
        room.in_flight = 0
        room.quiet_ns = int(1e9 * _SETTLED_SECONDS)
        self._run(seconds, "time")
        self._run(20, "settled")
        room.period_ns = 0
        return bool(room.arrived == room.sent)

    def send_by_arrival(self, burst: int, in_flight: int, seconds: float) -> None:
        """Keep so many bursts on their way for so long: the next one is sent when one has arrived everywhere.

        Raises:
            Refused: What was sent has not arrived after 20 s more.
        """
        room = self._room
        room.burst, room.in_flight = burst, in_flight
        room.limit = 2**32 - 1
        self._run(seconds, "time")
        room.limit = room.sent
        room.in_flight = 0
        if not self._run(20, "arrived"):
            raise Refused(f"{room.sent - room.arrived} messages have not arrived everywhere")

    def stop_reading(self, readers: Sequence[int]) -> None:
        """They count as stalled from now on, for good, and no message waits for them."""
        for number in readers:
            self._c.room_group(self._handle, number, STALLED)
            _check(self._c.room_read(self._handle, number, 0))
        self._room.expected -= len(readers)

    def read_again(self, readers: Sequence[int]) -> None:
        for number in readers:
            _check(self._c.room_read(self._handle, number, 1))

    def ask(self, requests: Sequence[tuple[int, int, bytes]], *, dial: bool, timeout_seconds: float) -> int:
        """Have readers send requests.

        Args:
            requests: Reader, when it is due (nanoseconds of the monotonic clock, ascending), and the frame.
            dial: Each over a new connection; the reader's old one is closed at that instant.

        Returns:
            How many had no answer ``timeout_seconds`` after the last of them was due.
        """
        for number, due_ns, frame in requests:
            _check(self._c.room_ask(self._handle, number, due_ns, frame, len(frame), dial))
        self._run((requests[-1][1] - monotonic_ns()) / 1e9 + timeout_seconds, "answered")
        return int(self._room.asked - self._room.answered)

    def wait_until_quiet(self, quiet_seconds: float, seconds: float) -> bool:
        """Read until nothing has come for ``quiet_seconds``; whether that was within ``seconds``."""
        self._room.quiet_ns = int(1e9 * quiet_seconds)
        return self._run(seconds, "quiet")

    def close(self) -> None:
        """Close all connections."""
        self._c.room_free(self._handle)
        for client in self._senders:
            client.close()

    # --- What came of it ----------------------------------------------------------------------------------------------

    def counts(self) -> Counts:
        return Counts(*(getattr(self._room, name) for name in Counts.__struct_fields__))

    def latencies(self, name: str, group: int = HEALTHY) -> Histogram:
        """``each`` (of one group), ``last``, ``ack``, ``late`` or ``answer``, of all messages so far."""
        found = getattr(self._room, name)
        return Histogram(found[group] if name == "each" else found)

    @property
    def high_sent(self) -> int:
        return int(self._c.room_highs(self._handle))

    def high_missing(self, reader: int) -> int:
        """High-priority messages that were sent and never came to this reader."""
        return int(self._c.room_missing(self._handle, reader))

    def messages_of(self, reader: int) -> int:
        """Messages that came to this reader, over all of its connections."""
        return int(self._c.room_frames(self._handle, reader))

    def ended(self, readers: Sequence[int]) -> list[int]:
        """Those of them whose connection the server has closed."""
        return [number for number in readers if self._c.room_ended(self._handle, number)]

    def _run(self, seconds: float, goal: str) -> bool:
        until_ns = monotonic_ns() + int(1e9 * max(seconds, 0))
        return bool(_check(self._c.room_run(self._handle, until_ns, _GOALS[goal])))


def _template(client: Client, conversation_id: str, text: bytes, priority: int) -> bytes:
    hole = sum((byte & 127) << 7 * n for n, byte in enumerate(_SERIAL_HOLE))
    direct = pb.DirectCommand(cid=conversation_id, msg=HOLE + text, dt=_TOKEN_HOLE.decode())
    send = pb.GenericCommand(cmd=pb.direct, peerId=client.name, i=hole, priority=priority, directMessage=direct)
    return client.transport.wrap(send.SerializeToString())


def _only(frame: bytes, hole: bytes) -> int:
    if frame.count(hole) != 1:
        raise ValueError(f"{hole!r} has to stand in the frame once; something else of it looks the same")
    return frame.index(hole)


def _check(result: int) -> int:
    """``result`` of a C function.

    Raises:
        Refused: It is a negative error number.
    """
    if result < 0:
        raise Refused(f"the load cannot go on: {os.strerror(-result)}")
    return result


def _library() -> Any:
    found = library("room")
    found.room_new.restype = ctypes.c_void_p
    found.room_new.argtypes = [
        *(ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32),
        *(ctypes.c_char_p, ctypes.c_uint32, ctypes.c_uint16),
    ]
    found.room_size.restype = found.room_frames.restype = ctypes.c_uint64
    if found.room_size() != ctypes.sizeof(_Room):
        raise TypeError("_Room is not what struct room is")
    found.room_highs.restype = found.room_missing.restype = ctypes.c_uint32
    found.room_sender.argtypes = [
        *(ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_char_p),
        *(ctypes.c_uint32 for _ in range(5)),
    ]
    found.room_ask.argtypes = [
        *(ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_char_p, ctypes.c_uint32, ctypes.c_int)
    ]
    found.room_run.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int]
    return found
