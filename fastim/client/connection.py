"""One TCP connection: commands out, commands in, and replies matched with requests by their serial.

It knows frames and serials and nothing of sessions; what a push means, and whether to connect again, is decided in
``fastim.client.session``. Source: wire protocol, envelope rules; architecture, TCP frames.
"""

import ssl
from collections.abc import Callable

import anyio
from anyio.abc import ByteStream
from google.protobuf.message import DecodeError

from fastim._frames import FrameError, TcpFrames, encode_tcp
from fastim.client.errors import ConnectionLost, Refused
from fastim.client.inbox import Inbox
from fastim.core.units import Millis
from fastim.wire import messages2_pb2 as pb

FRAME_BYTES_MAX = 64 * 1024 * 1024
"""Longest command taken from a server: a page of a thousand messages, or of large conversations, is one command."""
READ_BYTES = 65_536
SERIAL_MAX = 2**31 - 1


class Connection:
    """A connected stream, carrying commands as long as ``run`` runs.

    Requests are queued, so a call that is cancelled never tears a frame, and all that gathers while the socket is busy
    leaves in one write.

    Args:
        push: Called with every command that is not a reply to a request.
        inbox: Where ``push`` puts events; when it is full, reading stops.
        reply_seconds: Without a reply for so long the connection counts as dead.
    """

    def __init__(
        self,
        stream: ByteStream,
        push: Callable[["Connection", pb.GenericCommand], None],
        inbox: Inbox,
        reply_seconds: float,
    ) -> None:
        self._stream = stream
        self._push = push
        self._inbox = inbox
        self._reply_seconds = reply_seconds
        self._serial = 0
        self._waiting: dict[int, _Waiting] = {}
        self._outgoing: list[bytes] = []
        self._received: dict[str, tuple[Millis, Millis]] = {}
        self._wake = anyio.Event()
        self._scope = anyio.CancelScope()
        self._retiring = False
        self.loss: str | None = None
        """Why the connection was lost, or ``None`` while it holds."""
        self.parting: Refused | None = None
        """What the server said about it, if it did."""

    @property
    def usable(self) -> bool:
        """Whether new requests may be made on it."""
        return self.loss is None and not self._retiring

    async def run(self) -> None:
        """Carry commands until the connection is lost, and close the stream."""
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._write)
                    tasks.start_soon(self._read)
        finally:
            self.drop("the client gave it up")
            await anyio.aclose_forcefully(self._stream)

    def post(self, command: pb.GenericCommand) -> None:
        """Send a command that has no reply."""
        self._outgoing.append(encode_tcp(command.SerializeToString()))
        self._wake.set()

    async def request(
        self, command: pb.GenericCommand, on_reply: Callable[[pb.GenericCommand], None] | None = None
    ) -> pb.GenericCommand:
        """Send a command and return the reply to it, be it an error.

        Args:
            on_reply: Called with the reply before anything that came after it is looked at.

        Raises:
            ConnectionLost: The connection broke first, or there was no reply in time, which breaks it.
        """
        self._serial = serial = self._serial % SERIAL_MAX + 1
        self._waiting[serial] = waiting = _Waiting(on_reply)
        command.i = serial
        if self.loss is None:
            self.post(command)
        else:
            waiting.over.set()
        try:
            with self._inbox.urgent(), anyio.move_on_after(self._reply_seconds):
                await waiting.over.wait()
        finally:
            del self._waiting[serial]
            self._retire_when_idle()
        if waiting.reply is None:
            self.drop(f"no reply within {self._reply_seconds:g} s")
            raise ConnectionLost(self.loss)
        return waiting.reply

    def acknowledge(self, conversation_id: str, timestamp: Millis) -> None:
        """Tell the server that a message has arrived, together with others of its conversation that come now."""
        first, last = self._received.get(conversation_id, (timestamp, timestamp))
        self._received[conversation_id] = min(first, timestamp), max(last, timestamp)
        self._wake.set()

    def retire(self) -> None:
        """Take no new requests, and end once those under way are answered."""
        self._retiring = True
        self._retire_when_idle()

    def drop(self, why: str, parting: Refused | None = None) -> None:
        """End the connection now; whoever waits for a reply is told ``why``. Only the first reason counts."""
        if self.loss is not None:
            return
        self.loss, self.parting = why, parting
        for waiting in self._waiting.values():
            waiting.over.set()
        self._scope.cancel()

    async def _read(self) -> None:
        frames = TcpFrames(FRAME_BYTES_MAX)
        try:
            while True:
                while (body := frames.next_frame()) is not None:
                    self._take(pb.GenericCommand.FromString(body))
                    await self._inbox.room()
                frames.push(await self._stream.receive(READ_BYTES))
        except anyio.EndOfStream:
            self.drop("the server closed the connection")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError):
            self.drop("the connection broke")
        except (FrameError, DecodeError):
            self.drop("what the server sent is not a command")

    def _take(self, command: pb.GenericCommand) -> None:
        if not command.HasField("i"):
            self._push(self, command)
            return
        waiting = self._waiting.get(command.i)
        # Nobody waits any more for the reply to a request that was cancelled.
        if waiting is not None:
            waiting.reply = command
            if waiting.on_reply is not None:
                waiting.on_reply(command)
            waiting.over.set()

    async def _write(self) -> None:
        try:
            while True:
                if not self._outgoing and not self._received:
                    self._wake = anyio.Event()
                    await self._wake.wait()
                # Acks go first: a goodbye among the others would make them void.
                acks = [_ack(conversation_id, span) for conversation_id, span in self._received.items()]
                frames = acks + self._outgoing
                self._received.clear()
                self._outgoing.clear()
                await self._stream.send(b"".join(frames))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, ssl.SSLError):
            # The reader finds the end too, and before it perhaps the reason, which must not be missed.
            return

    def _retire_when_idle(self) -> None:
        if self._retiring and not self._waiting:
            self.drop("the server is going away")


def _ack(conversation_id: str, span: tuple[Millis, Millis]) -> bytes:
    ack = pb.AckCommand(cid=conversation_id, fromts=span[0], tots=span[1])
    return encode_tcp(pb.GenericCommand(cmd=pb.ack, ackMessage=ack).SerializeToString())


class _Waiting:
    """A request whose reply is awaited."""

    __slots__ = ("on_reply", "over", "reply")

    def __init__(self, on_reply: Callable[[pb.GenericCommand], None] | None) -> None:
        self.over = anyio.Event()
        self.on_reply = on_reply
        self.reply: pb.GenericCommand | None = None
