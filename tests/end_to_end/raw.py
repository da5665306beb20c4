"""The protocol without a client library: frames with commands in them, as any SDK might send them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream

from fastim.wire import messages2_pb2 as pb
from tests.server_process import ServerProcess

PATIENCE_SECONDS = 20.0


class Wire:
    """One connection."""

    def __init__(self, stream: ByteStream, app_id: str) -> None:
        self._stream = stream
        self._reader = BufferedByteReceiveStream(stream)
        self._app_id = app_id

    async def send_bytes(self, data: bytes) -> None:
        await self._stream.send(data)

    async def send_frame(self, body: bytes) -> None:
        await self.send_bytes(len(body).to_bytes(4) + body)

    async def send(self, **fields: Any) -> None:
        """A command with these fields."""
        await self.send_frame(pb.GenericCommand(**fields).SerializeToString())

    async def receive(self) -> pb.GenericCommand:
        """The next command of the server."""
        with anyio.fail_after(PATIENCE_SECONDS):
            size = int.from_bytes(await self._reader.receive_exactly(4))
            return pb.GenericCommand.FromString(await self._reader.receive_exactly(size))

    async def ask(self, **fields: Any) -> pb.GenericCommand:
        """Send a command and return what comes next, which has to be the answer to it."""
        await self.send(**fields)
        reply = await self.receive()
        assert reply.HasField("i") == ("i" in fields), reply
        assert reply.i == fields.get("i", 0)
        return reply

    async def open(self, client_id: str | None, *, i: int | None = 1, **session: Any) -> pb.GenericCommand:
        """Ask for a session."""
        fields: dict[str, Any] = {} if i is None else {"i": i}
        if client_id is not None:
            fields["peerId"] = client_id
        message = pb.SessionCommand(**{"configBitmap": 187, **session})
        return await self.ask(cmd=pb.session, op=pb.open, appId=self._app_id, sessionMessage=message, **fields)

    async def start(self, *members: str, i: int = 1000, **fields: Any) -> str:
        """A new conversation; returns its id and leaves the events to be received."""
        reply = await self.ask(cmd=pb.conv, op=pb.start, i=i, convMessage=pb.ConvCommand(m=members), **fields)
        assert (reply.cmd, reply.op) == (pb.conv, pb.started), reply
        return reply.convMessage.cid

    async def is_quiet(self) -> bool:
        """Whether the server has nothing more to say: the next thing it says answers a question asked now."""
        return (await self.ask(cmd=pb.echo, i=424_242)).cmd == pb.echo

    async def is_closed(self) -> bool:
        """Whether the server has closed the connection."""
        with anyio.fail_after(PATIENCE_SECONDS):
            try:
                return await self._reader.receive(1) == b""
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return True

    async def parting(self) -> tuple[int, str]:
        """The code and the name with which the server closes the connection."""
        last = await self.receive()
        assert last.cmd == pb.error, last
        assert not last.HasField("i")
        assert await self.is_closed()
        return last.errorMessage.code, last.errorMessage.reason

    async def close(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def wire(server: ServerProcess) -> AsyncIterator[Wire]:
    """A connection to ``server``."""
    async with await anyio.connect_tcp(server.tcp.host, server.tcp.port) as stream:
        yield Wire(stream, server.app_id)


def refusal_of(reply: pb.GenericCommand) -> tuple[int, str]:
    """The code and the name in an error command."""
    assert reply.cmd == pb.error, reply
    return reply.errorMessage.code, reply.errorMessage.reason
