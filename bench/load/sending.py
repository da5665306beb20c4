"""Sending: each client keeps so many messages on their way and sends another one for each ack, or goes by the clock.

One thread and one selector for all clients, and messages cut from a template, so that one core of driver is worth more
than one core of server.
"""

import selectors
from collections import deque
from collections.abc import Sequence
from time import perf_counter

from msgspec import Struct

from bench.load.clients import Client, Refused
from bench.load.figures import percentile
from bench.load.transports import READ_BYTES
from fastim.wire import messages2_pb2 as pb

DRAIN_SECONDS = 20.0
_WAIT_SECONDS = 1.0
_TIMER_SECONDS = 0.001
"""The selector's timer may be so much late: the last bit is spent looking at the clock."""
_ACK = bytes((0x08, pb.ack))
_FIRST_SERIAL = 1 << 21
"""From here to 2**28 a serial takes four bytes, so that all messages of a sender have the same length."""
_SERIAL_HOLE = b"\xaa\xaa\xaa\x2a"
_TOKEN_HOLE = b"@@@@@@@@"


class Sender:
    """What one client sends into one conversation. A second sender there would use tokens a second time.

    Args:
        body: The message, the same every time.

    Attributes:
        received: Messages of others that were delivered to the client.
    """

    __slots__ = ("_head", "_middle", "_serial", "_tail", "client", "received", "sent_at")

    def __init__(self, client: Client, conversation_id: str, body: bytes, *, transient: bool = False) -> None:
        self.client = client
        self.received = 0
        self.sent_at: deque[float] = deque()
        self._serial = _FIRST_SERIAL
        direct = pb.DirectCommand(cid=conversation_id, msg=body, dt=_TOKEN_HOLE.decode())
        if transient:
            direct.transient = True
        hole = sum((byte & 127) << 7 * n for n, byte in enumerate(_SERIAL_HOLE))
        sample = pb.GenericCommand(cmd=pb.direct, peerId=client.name, i=hole, directMessage=direct)
        frame = client.transport.wrap(sample.SerializeToString())
        self._head, rest = frame.split(_SERIAL_HOLE)
        self._middle, self._tail = rest.split(_TOKEN_HOLE)
        client.socket.setblocking(False)

    def send(self, messages: int, since: float | None = None) -> None:
        """Send so many.

        Args:
            since: When they were due, which is when their latency begins; ``None``: now.
        """
        frames = []
        for _ in range(messages):
            serial = self._serial = self._serial + 1
            varint = bytes((serial & 127 | 128, serial >> 7 & 127 | 128, serial >> 14 & 127 | 128, serial >> 21))
            frames.append(self._head + varint + self._middle + b"%08x" % serial + self._tail)
        self.sent_at.extend([perf_counter() if since is None else since] * messages)
        # The kernel has room: what is on its way is bounded by the window, and every message is short.
        self.client.socket.send(b"".join(frames))

    def take_acks(self) -> int:
        """Read what has come and return how many acks were in it.

        Raises:
            Refused: The server has closed the connection.
        """
        reader = self.client.reader
        data = self.client.socket.recv(READ_BYTES)
        if not data:
            raise Refused(f"{self.client.name} was disconnected")
        reader.push(data)
        frames = acks = 0
        while (body := reader.next_frame()) is not None:
            frames += 1
            acks += body.startswith(_ACK)
        self.received += frames - acks
        return acks


class Run(Struct, frozen=True):
    """What came of sending for a while.

    Attributes:
        latencies: Of each ack, seconds.
        seconds: From the first message to the last ack.
    """

    latencies: list[float]
    seconds: float

    @property
    def acked(self) -> int:
        return len(self.latencies)

    @property
    def per_second(self) -> float:
        return self.acked / self.seconds

    def millis(self, share: float) -> float:
        """A percentile of the latencies, in milliseconds."""
        return 1000 * percentile(self.latencies, share)


def send_for(seconds: float, senders: Sequence[Sender], window: int = 1) -> Run:
    """Send for that long, each sender with ``window`` messages on their way; then wait until everything is acked.

    Raises:
        Refused: An ack is missing after ``DRAIN_SECONDS``, or the server has closed a connection.
    """
    latencies: list[float] = []
    with selectors.DefaultSelector() as selector:
        for sender in senders:
            selector.register(sender.client.socket, selectors.EVENT_READ, sender)
        started = perf_counter()
        deadline = started + seconds
        for sender in senders:
            sender.send(window)
        waiting = window * len(senders)
        while waiting:
            ready = selector.select(DRAIN_SECONDS)
            if not ready:
                raise Refused(f"{waiting} messages were not acked within {DRAIN_SECONDS} s")
            for key, _ in ready:
                sender = key.data
                acks = sender.take_acks()
                if not acks:
                    continue
                now = perf_counter()
                latencies += [now - sender.sent_at.popleft() for _ in range(acks)]
                if now < deadline:
                    sender.send(acks)
                else:
                    waiting -= acks
        return Run(latencies, perf_counter() - started)


def send_by_clock(per_second: float, seconds: float, senders: Sequence[Sender]) -> Run:
    """Send at that rate, the senders in turn, whatever has become of the messages before; then wait for all acks.

    A message's latency counts from when it was due: nothing that falls behind, here or there, can hide it.

    Raises:
        Refused: An ack is missing after ``DRAIN_SECONDS``, or the server has closed a connection.
    """
    latencies: list[float] = []
    count = max(int(per_second * seconds), 1)
    with selectors.DefaultSelector() as selector:
        for sender in senders:
            selector.register(sender.client.socket, selectors.EVENT_READ, sender)
        started = perf_counter()
        sent = 0
        last_due = started + (count - 1) / per_second
        while len(latencies) < count:
            now = perf_counter()
            while sent < count and started + sent / per_second <= now:
                senders[sent % len(senders)].send(1, started + sent / per_second)
                sent += 1
            if now > last_due + DRAIN_SECONDS:
                raise Refused(f"{count - len(latencies)} messages were not acked within {DRAIN_SECONDS} s")
            until = started + sent / per_second - now if sent < count else _WAIT_SECONDS
            for key, _ in selector.select(until - _TIMER_SECONDS if until > 2 * _TIMER_SECONDS else 0):
                acks = key.data.take_acks()
                now = perf_counter()
                latencies += [now - key.data.sent_at.popleft() for _ in range(acks)]
        return Run(latencies, perf_counter() - started)
