"""The event loop's lag, seen from outside: an echo every 10 ms on a connection of its own.

A process of its own, ``python -m bench.load.probe HOST PORT APP_ID``, which goes on until its standard input ends and
then prints what each echo took. An echo is sent when it is due, whatever became of the ones before it, so a stall shows
in all that were due meanwhile. The kernel says when an answer came, so that a load that keeps this process from its
core is not taken for lag of the server.
"""

import json
import select
import socket
import struct
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

from msgspec import Struct

from bench.load.clients import Client, opening
from bench.load.figures import percentile
from bench.load.server import Server
from bench.load.transports import READ_BYTES, Tcp
from fastim.wire import messages2_pb2 as pb

PERIOD_SECONDS = 0.01
LAST_SECONDS = 10.0
_TIMESTAMPNS = 35
"""``SO_TIMESTAMPNS`` and ``SCM_TIMESTAMPNS``; Python has no name for them."""
_TIMESPEC = struct.Struct("@ll")


class Lag(Struct, frozen=True):
    """What the echoes of a while took.

    Attributes:
        millis: Of each, in the order in which they were sent.
        missing: Echoes without an answer ``LAST_SECONDS`` after the end.
    """

    millis: list[float]
    missing: int

    def at(self, share: float) -> float:
        """A percentile, in milliseconds."""
        return percentile(self.millis, share)


class Probe:
    """Echoes from when it is entered until ``stop``; use it as a context manager."""

    def __init__(self, server: Server) -> None:
        tcp = server.process.tcp
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.load.probe", tcp.host, str(tcp.port), server.process.app_id],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            raise RuntimeError("the probe did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def stop(self) -> Lag:
        """What came of it."""
        answer, _ = self._process.communicate()
        return Lag(**json.loads(answer))


def main() -> None:
    host, port, app_id = sys.argv[1:]
    client = Client("probe", 0, Tcp(), host, int(port))
    client.say(opening("probe", app_id))
    client.hear(pb.opened)
    connection = client.socket
    connection.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)
    connection.setblocking(False)
    echo = client.transport.wrap(pb.GenericCommand(cmd=pb.echo, peerId="probe", i=1).SerializeToString())
    print("ready", flush=True)
    sent: list[int] = []
    took: list[float] = []
    due = time.monotonic()
    last = 0.0
    while not last or (len(took) < len(sent) and time.monotonic() < last):
        now = time.monotonic()
        while due <= now and not last:
            sent.append(time.time_ns())
            connection.send(echo)
            due += PERIOD_SECONDS
        ready, _, _ = select.select([connection, *([] if last else [sys.stdin])], [], [], max(due - now, 0.001))
        if sys.stdin in ready:
            last = now + LAST_SECONDS
        if connection in ready:
            data, ancillary, _, _ = connection.recvmsg(READ_BYTES, 128)
            if not data:
                break
            came = _came_at(ancillary)
            client.reader.push(data)
            while (body := client.reader.next_frame()) is not None:
                if pb.GenericCommand.FromString(body).cmd == pb.echo:
                    took.append((came - sent[len(took)]) / 1e6)
    print(json.dumps({"millis": took, "missing": len(sent) - len(took)}))


def _came_at(ancillary: list[tuple[int, int, bytes]]) -> int:
    """When the last of the bytes came, nanoseconds since the epoch: now, if the kernel does not say."""
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == _TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack(value)
            return int(seconds * 1_000_000_000 + nanoseconds)
    return time.time_ns()


if __name__ == "__main__":
    main()
