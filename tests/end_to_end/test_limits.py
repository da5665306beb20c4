"""Peers that would take all there is: memory stays bounded, everybody else is served, and what bit is counted."""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import pytest
from websockets.frames import Frame, Opcode

from fastim.wire import messages2_pb2 as pb
from tests.end_to_end.raw import Wire, wire
from tests.end_to_end.scrape import bites, get, memory_of, metric, until_bitten, until_ready
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

MIB = 2**20
MESSAGE_BYTES = 60_000
ROOMY = {"limits.sends_per_minute": 0, "limits.message_bytes": 65_536, "limits.frame_bytes": 131_072}
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@contextmanager
def serving(data: Path, **settings: object) -> Iterator[ServerProcess]:
    """A server with these settings; underscores stand for the dot."""
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    with ServerProcess(data, *words) as server:
        yield server
        assert "Traceback" not in server.log, server.log


class Crowd:
    """A conversation with somebody who sends, somebody who reads, and others who do not."""

    def __init__(self, sender: Wire, reader: Wire, conversation_id: str) -> None:
        self._sender = sender
        self._reader = reader
        self._conversation_id = conversation_id
        self._serial = 1_000

    async def say(self) -> None:
        """Send a message; it has to be acknowledged and to reach the reader."""
        self._serial += 1
        body = b"%d " % self._serial + os.urandom(MESSAGE_BYTES // 2).hex().encode()
        direct = pb.DirectCommand(cid=self._conversation_id, msg=body)
        await self._sender.send(cmd=pb.direct, i=self._serial, directMessage=direct)
        while (ack := await self._sender.receive()).i != self._serial:
            pass  # who joined at the beginning
        assert (ack.cmd, ack.ackMessage.code) == (pb.ack, 0), ack
        while (heard := await self._reader.receive()).cmd != pb.direct:
            pass
        assert heard.directMessage.msg == body


@asynccontextmanager
async def crowd(server: ServerProcess, deaf: int) -> AsyncIterator[Crowd]:
    """A conversation in which as many members as ``deaf`` says never read."""
    names = [f"deaf-{number}" for number in range(deaf)]
    async with AsyncExitStack() as stack:
        for name in names:
            line = await stack.enter_async_context(wire(server))
            await line.open(name)
        sender, reader = await stack.enter_async_context(wire(server)), await stack.enter_async_context(wire(server))
        await sender.open("sender")
        await reader.open("reader")
        yield Crowd(sender, reader, await sender.start("sender", "reader", *names))


async def test_readers_that_never_read_take_no_more_than_their_outboxes(tmp_path: Path) -> None:
    outbox_bytes, deaf, messages = 262_144, 24, 120
    settings = {**ROOMY, "delivery.outbox_bytes": outbox_bytes, "limits.write_timeout_seconds": 3_600}
    with serving(tmp_path, **settings) as server:
        async with crowd(server, deaf) as room:
            before = memory_of(server)
            for _ in range(messages):
                await room.say()
            grown = memory_of(server) - before
        # Unbounded it would be 120 times 60 KB for each of them.
        assert grown < deaf * (2 * outbox_bytes) + 16 * MIB < deaf * messages * MESSAGE_BYTES / 5
        counted = await bites(server)
        assert counted.keys() == {"outbox"}
        assert counted["outbox"] == await metric(server, "fastim_deliveries_withheld_total")


async def test_readers_that_never_read_are_cut_in_time(tmp_path: Path) -> None:
    settings = {**ROOMY, "limits.write_timeout_seconds": 1}
    with serving(tmp_path, **settings) as server:
        async with crowd(server, 2) as room:
            with anyio.fail_after(20):
                while (await bites(server)).get("write_timeout", 0) < 2:
                    await room.say()
            await room.say()
            assert await metric(server, "fastim_connections", door="tcp") == 2


async def test_above_the_memory_budget_the_worst_readers_are_cut_and_the_others_go_on(tmp_path: Path) -> None:
    budget, deaf = 128 * MIB, 6
    settings = {**ROOMY, "delivery.outbox_bytes": 2**30, "limits.memory_bytes": budget}
    most = 0
    with serving(tmp_path, **settings, **{"limits.write_timeout_seconds": 3_600}) as server:
        async with crowd(server, deaf) as room:
            while "memory_cut" not in await bites(server):
                for _ in range(5):
                    await room.say()
                most = max(most, memory_of(server))
                assert most < 4 * budget
            assert (await until_ready(server)) == "ready"
            for _ in range(5):
                await room.say()
            assert await metric(server, "fastim_connections", door="tcp") < 2 + deaf
            assert await metric(server, "fastim_memory_bytes") < budget
            assert await metric(server, "fastim_memory_limit_bytes") == budget
        assert "short of memory" in server.log
        assert "enough memory again" in server.log


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only what waits for readers is counted")
async def test_above_the_memory_budget_nobody_is_let_in_until_there_is_memory_again(tmp_path: Path) -> None:
    settings = {"limits.frame_bytes": 64 * MIB, "limits.memory_bytes": 96 * MIB}
    with serving(tmp_path, **settings) as server:
        async with wire(server) as tom, wire(server) as hog:
            await tom.open("tom")
            await hog.open("hog")
            await hog.send_bytes((64 * MIB).to_bytes(4) + bytes(64 * MIB - 1))

            assert await until_ready(server, 503) == "short of memory"
            assert await metric(server, "fastim_accepting") == 0
            async with wire(server) as late:
                assert await late.is_closed()
            assert (await until_refused(server)) == 503
            assert await bites(server) == {"memory": 2}
            assert (await tom.ask(cmd=pb.echo, i=7)).cmd == pb.echo
            assert await tom.is_quiet()
        assert await until_ready(server) == "ready"
        async with wire(server) as again:
            assert (await again.open("again")).op == pb.opened


async def until_refused(server: ServerProcess) -> int:
    """The status that a WebSocket handshake gets."""
    async with await anyio.connect_tcp(server.http.host, server.http.port) as stream:
        await stream.send(HANDSHAKE)
        return int((await stream.receive()).split()[1])


async def test_a_header_that_claims_two_gigabytes_is_refused_at_once_and_reserves_nothing(tmp_path: Path) -> None:
    claim = 2**31
    websocket = Frame(Opcode.BINARY, b"").serialize(mask=True)[:1] + b"\xff" + claim.to_bytes(8) + b"mask"
    with serving(tmp_path) as server:
        before = memory_of(server)
        for _ in range(20):
            async with wire(server) as line:
                await line.send_bytes(claim.to_bytes(4) + b"x")
                assert await line.parting() == (4109, "FRAME_TOO_LONG")
            async with await anyio.connect_tcp(server.http.host, server.http.port) as stream:
                await stream.send(HANDSHAKE + websocket)
                received = b"".join([piece async for piece in stream])
                assert received.partition(b"\r\n\r\n")[2][2:4] == (4109).to_bytes(2)
            async with await anyio.connect_tcp(server.http.host, server.http.port) as stream:
                await stream.send(b"POST /v1/route HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\nx" % claim)
                assert (await stream.receive()).startswith(b"HTTP/1.1 405 ")
        assert await bites(server) == {"frame": 40}
        assert memory_of(server) - before < 8 * MIB


async def test_a_header_that_claims_what_is_allowed_reserves_nothing_either(tmp_path: Path) -> None:
    claim = 64 * MIB
    websocket = Frame(Opcode.BINARY, b"").serialize(mask=True)[:1] + b"\xff" + claim.to_bytes(8) + b"mask"
    async with AsyncExitStack() as stack:
        server = stack.enter_context(serving(tmp_path, **{"limits.frame_bytes": claim}))
        before = memory_of(server)
        for _ in range(20):
            line = await stack.enter_async_context(wire(server))
            await line.send_bytes(claim.to_bytes(4) + b"x")
            stream = await stack.enter_async_context(await anyio.connect_tcp(server.http.host, server.http.port))
            await stream.send(HANDSHAKE + websocket)
            assert (await stream.receive()).startswith(b"HTTP/1.1 101 ")
        assert await metric(server, "fastim_connections", door="tcp") == 20
        assert memory_of(server) - before < 8 * MIB


async def test_a_peer_that_has_vanished_without_a_word_is_let_go(tmp_path: Path) -> None:
    settings = {"limits.read_timeout_seconds": 1, "limits.handshake_seconds": 1}
    with serving(tmp_path, **settings) as server:
        # Neither this end nor the network says anything any more: to the server that is a peer without power.
        async with wire(server) as vanished:
            await vanished.open("tom")
            await until_bitten(server, "read_timeout")
            with anyio.fail_after(20):
                while await metric(server, "fastim_connections", door="tcp"):
                    pass
            assert await metric(server, "fastim_sessions") == 0
        assert (await get(server, "/healthz")) == (200, "ok")
