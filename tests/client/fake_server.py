"""A TCP server that speaks the protocol and does what a test tells it: real sockets, scripted answers."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream

from fastim.client import Timing
from fastim.wire import messages2_pb2 as pb

SERVER_TIME = 1_700_000_000_000
QUICK = Timing(heartbeat_seconds=60.0, reply_seconds=5.0, retry_seconds=0.01, retry_seconds_max=0.05, close_seconds=2.0)


class Peer:
    """The server's end of one connection.

    Attributes:
        eventless: Nothing ever happens while the client is away, and it is told so without the script's doing.
    """

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.eventless = True
        self._reader = BufferedByteReceiveStream(stream)

    async def receive(self) -> pb.GenericCommand:
        """The next command of the client."""
        while True:
            size = int.from_bytes(await self._reader.receive_exactly(4))
            command = pb.GenericCommand.FromString(await self._reader.receive_exactly(size))
            if not self.eventless or (command.cmd, command.op) != (pb.session, pb.notifications):
                return command
            await self.send(noticed(command))

    async def expect(self, cmd: pb.CommandType, op: pb.OpType | None = None) -> pb.GenericCommand:
        """The next command, which has to be this one."""
        command = await self.receive()
        assert (command.cmd, command.op if command.HasField("op") else None) == (cmd, op), command
        return command

    async def send(self, *commands: pb.GenericCommand) -> None:
        """Commands in one write."""
        bodies = [command.SerializeToString() for command in commands]
        await self.stream.send(b"".join(len(body).to_bytes(4) + body for body in bodies))

    async def open(self, token: str = "token-1") -> pb.GenericCommand:
        """Let the client open its session and return its request."""
        request = await self.expect(pb.session, pb.open)
        await self.send(opened(request, token))
        return request

    async def say_goodbye(self) -> None:
        """Answer the client's goodbye and wait until it has gone."""
        request = await self.expect(pb.session, pb.close)
        await self.send(reply(request, cmd=pb.session, op=pb.closed, sessionMessage=pb.SessionCommand()))
        await self.see_it_go()

    async def see_it_go(self) -> None:
        """Wait until the client has closed the connection; what it still says is dropped."""
        with suppress(anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                await self.receive()

    async def cut(self) -> None:
        """Close the connection."""
        await self.stream.aclose()


class FakeServer:
    """Connections in the order in which clients make them."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._arriving, self._arrived = anyio.create_memory_object_stream[Peer](16)

    async def accept(self) -> Peer:
        return await self._arrived.receive()

    async def accept_session(self, token: str = "token-1") -> Peer:
        """The next connection, with its session opened."""
        peer = await self.accept()
        await peer.open(token)
        return peer

    async def _take(self, stream: ByteStream) -> None:
        async with stream:
            with suppress(anyio.BrokenResourceError):
                await self._arriving.send(Peer(stream))
                await anyio.sleep_forever()


@asynccontextmanager
async def fake_server() -> AsyncIterator[FakeServer]:
    """A server that listens on a free port."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    server = FakeServer(f"127.0.0.1:{listener.extra(SocketAttribute.local_port)}")
    async with listener, anyio.create_task_group() as tasks, server._arriving, server._arrived:
        tasks.start_soon(listener.serve, server._take)
        yield server
        tasks.cancel_scope.cancel()


def reply(request: pb.GenericCommand, **fields: object) -> pb.GenericCommand:
    """A command that answers ``request``."""
    build: Callable[..., pb.GenericCommand] = pb.GenericCommand
    return build(i=request.i, service=2, peerId="tom", **fields)


def refused(request: pb.GenericCommand, code: int, reason: str, detail: str = "") -> pb.GenericCommand:
    error = pb.ErrorCommand(code=code, reason=reason)
    if detail:
        error.detail = detail
    return reply(request, cmd=pb.error, errorMessage=error)


def opened(request: pb.GenericCommand, token: str = "token-1") -> pb.GenericCommand:
    granted = pb.SessionCommand(st=token, stTtl=3600)
    return reply(request, cmd=pb.session, op=pb.opened, serverTs=SERVER_TIME, sessionMessage=granted)


def noticed(request: pb.GenericCommand, *notices: dict[str, Any], more: bool = False) -> pb.GenericCommand:
    """What happened while the client was away."""
    told = pb.NativeCommand(notifications=json.dumps(notices).encode(), hasMore=more)
    return reply(request, cmd=pb.session, op=pb.notifications_result, nativeMessage=told)


def acked(request: pb.GenericCommand, message_id: str = "m1", timestamp: int = SERVER_TIME) -> pb.GenericCommand:
    return reply(request, cmd=pb.ack, ackMessage=pb.AckCommand(uid=message_id, t=timestamp))


def echoed(request: pb.GenericCommand) -> pb.GenericCommand:
    return reply(request, cmd=pb.echo)


def answered(request: pb.GenericCommand, op: pb.OpType, conv: pb.ConvCommand) -> pb.GenericCommand:
    return reply(request, cmd=pb.conv, op=op, convMessage=conv)


def delivery(message_id: str, timestamp: int = SERVER_TIME, **fields: object) -> pb.GenericCommand:
    """A push of a message by jerry in the conversation ``c1``."""
    direct = pb.DirectCommand(cid="c1", id=message_id, fromPeerId="jerry", timestamp=timestamp, convType=1)
    for name, value in (fields or {"msg": b"hello"}).items():
        setattr(direct, name, value)
    return pb.GenericCommand(cmd=pb.direct, service=2, peerId="tom", directMessage=direct)


def evicted(code: int, reason: str) -> pb.GenericCommand:
    """A push that ends the session."""
    ending = pb.SessionCommand(code=code, reason=reason)
    return pb.GenericCommand(cmd=pb.session, op=pb.closed, service=2, peerId="tom", sessionMessage=ending)


def parting(code: int, reason: str) -> pb.GenericCommand:
    """The last command before the server closes the connection."""
    return pb.GenericCommand(cmd=pb.error, service=2, errorMessage=pb.ErrorCommand(code=code, reason=reason))


def unread(count: int, at: int, *, mentioned: bool = False) -> pb.GenericCommand:
    """A push of the unread count of the conversation ``c1``."""
    notice = pb.UnreadTuple(
        cid="c1", unread=count, mid="m9", timestamp=at, sender="jerry", data=b"last", mentioned=mentioned
    )
    return pb.GenericCommand(
        cmd=pb.unread, service=2, peerId="tom", unreadMessage=pb.UnreadCommand(convs=[notice], notifTime=at)
    )
