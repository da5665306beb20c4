"""A client that hides nothing: one TCP connection, one session, and every command as it came.

The client library reconnects and sends again by itself; here it has to be known exactly what was answered and when.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from fastim._frames import TcpFrames, encode_tcp
from fastim.wire import messages2_pb2 as pb
from tests.server_process import Address

READ_BYTES = 262_144
FRAME_BYTES_MAX = 1 << 26


class Gone(Exception):
    """The connection is lost, or there was none to be had."""


class Refused(Exception):
    """The server said no; the text is what it said."""


class Wire:
    """One connection and the session on it."""

    def __init__(self, stream: trio.SocketStream, app_id: str, client_id: str) -> None:
        self._stream = stream
        self._app_id = app_id
        self._client_id = client_id
        self._frames = TcpFrames(FRAME_BYTES_MAX)
        self._serial = 0

    async def send(self, *commands: pb.GenericCommand) -> None:
        """Write commands, all of them at once.

        Raises:
            Gone: The connection is lost.
        """
        try:
            await self._stream.send_all(b"".join(encode_tcp(command.SerializeToString()) for command in commands))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Gone from error

    async def receive(self) -> pb.GenericCommand:
        """The next command.

        Raises:
            Gone: The connection is lost.
        """
        while (body := self._frames.next_frame()) is None:
            try:
                piece = await self._stream.receive_some(READ_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise Gone from error
            if not piece:
                raise Gone
            self._frames.push(piece)
        return pb.GenericCommand.FromString(body)

    def numbered(self, command: pb.GenericCommand) -> pb.GenericCommand:
        """``command`` with the next serial, which its answer will have, and with whose it is."""
        self._serial += 1
        command.i, command.appId, command.peerId = self._serial, self._app_id, self._client_id
        return command

    async def ask(
        self, command: pb.GenericCommand, otherwise: Callable[[pb.GenericCommand], None]
    ) -> pb.GenericCommand:
        """Send ``command`` and return its answer; what comes in between goes to ``otherwise``.

        Raises:
            Gone: The connection was lost before the answer came.
            Refused: The answer is an error.
        """
        await self.send(self.numbered(command))
        while True:
            reply = await self.receive()
            if not (reply.HasField("i") and reply.i == command.i):
                otherwise(reply)
            elif refusal := refusal_of(reply):
                raise Refused(f"{_describe(command)}: {refusal}")
            else:
                return reply


@asynccontextmanager
async def connected(address: Address, app_id: str, client_id: str) -> AsyncIterator[Wire]:
    """A connection without a session yet; dropped without a goodbye at the end.

    Raises:
        Gone: Nobody listens there.
    """
    try:
        stream = await trio.open_tcp_stream(address.host, address.port)
    except OSError as error:
        raise Gone from error
    try:
        yield Wire(stream, app_id, client_id)
    finally:
        await trio.aclose_forcefully(stream)


def refusal_of(command: pb.GenericCommand) -> str:
    """What a command says about something that went wrong; empty when nothing did."""
    if command.cmd == pb.error:
        return f"{command.errorMessage.code} {command.errorMessage.reason} {command.errorMessage.detail}"
    if command.cmd == pb.ack and command.ackMessage.HasField("code"):
        return f"{command.ackMessage.code} {command.ackMessage.reason}"
    if command.cmd == pb.session and command.sessionMessage.HasField("code"):
        return f"{command.sessionMessage.code} {command.sessionMessage.reason}"
    if command.cmd == pb.conv and command.convMessage.failedPids:
        return str(command.convMessage.failedPids)
    return ""


def json_object(value: Any) -> pb.JsonObjectMessage:
    return pb.JsonObjectMessage(data=json.dumps(value))


async def metrics(address: Address) -> dict[str, float]:
    """The server's metrics that have no labels, by name.

    Raises:
        Gone: Nobody answers there.
    """
    head = f"GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    answer = b""
    try:
        async with await trio.open_tcp_stream(address.host, address.port) as stream:
            await stream.send_all(head.encode())
            while piece := await stream.receive_some(READ_BYTES):
                answer += piece
    except (OSError, trio.BrokenResourceError) as error:
        raise Gone from error
    _, _, body = answer.decode().partition("\r\n\r\n")
    samples = (line.rsplit(" ", 1) for line in body.splitlines() if not line.startswith("#") and "{" not in line)
    return {name: float(value) for name, value in samples}


def _describe(command: pb.GenericCommand) -> str:
    words = [pb.CommandType.Name(command.cmd)]
    if command.HasField("op"):
        words.append(pb.OpType.Name(command.op))
    return " ".join(words)
