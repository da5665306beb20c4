import socket
import sys

import pytest

from fastim._frames import encode_tcp
from fastim.core.errors import ReadTimeout
from fastim.settings import Limits
from tests.doors.building import Socket, building, parting

pytestmark = pytest.mark.anyio


async def test_frames_come_out_whole_however_they_were_cut() -> None:
    bodies = [b"a", b"", b"x" * 3_000, b"\0\0\0\1", b"end"]
    data = b"".join(map(encode_tcp, bodies))
    async with building() as house, await house.tcp() as client:
        for byte in data:
            await client.write(bytes([byte]))
        await client.write(data * 2)
        assert [await house.recorder.body() for _ in range(15)] == bodies * 3


async def test_what_is_sent_is_framed() -> None:
    async with building() as house, await house.tcp() as client:
        await client.write(encode_tcp(b"hello"))
        connection, _ = await house.recorder.received.get()
        connection.send(b"welcome")
        assert await client.read(11) == b"\0\0\0\7welcome"


@pytest.mark.parametrize("size", [65_537, 2**31, 2**32 - 1])
async def test_a_length_above_the_limit_ends_the_connection_at_once(size: int) -> None:
    async with building(Limits(frame_bytes=65_536)) as house, await house.tcp() as client:
        await client.write(encode_tcp(b"fine") + size.to_bytes(4) + b"x")
        assert parting(await client.read_all()) == (4109, "FRAME_TOO_LONG")
        assert await house.recorder.body() == b"fine"
        client.finish()
        await house.recorder.gone.get()
        assert house.recorder.received.empty()
        assert not house.gateway.connections


async def test_a_client_that_goes_on_sending_still_learns_why_it_is_closed() -> None:
    async with building() as house, await house.tcp() as client:
        await client.write((2**31).to_bytes(4))
        for _ in range(64):
            await client.write(bytes(65_536))
        assert parting(await client.read_all()) == (4109, "FRAME_TOO_LONG")


async def test_nothing_that_comes_after_the_closing_is_looked_at() -> None:
    async with building() as house, await house.tcp() as client:
        await client.write(encode_tcp(b"first"))
        connection, _ = await house.recorder.received.get()
        connection.close(ReadTimeout())
        connection.send(b"late")
        assert not connection.offer(b"late", "Tom")
        assert parting(await client.read_all()) == (4107, "READ_TIMEOUT")
        await client.write(encode_tcp(b"second"))
        client.finish()
        await house.recorder.gone.get()
        assert house.recorder.received.empty()


@pytest.mark.slow
async def test_one_that_stays_after_it_was_closed_is_cut() -> None:
    async with building(Limits(handshake_seconds=0.1)) as house, await house.tcp() as client:
        await client.write(encode_tcp(b"first"))
        connection, _ = await house.recorder.received.get()
        connection.close(ReadTimeout())
        await house.recorder.gone.get()


@pytest.mark.slow
async def test_one_that_opens_no_session_is_told_so() -> None:
    async with building(Limits(login_seconds=0.1)) as house, await house.tcp() as client:
        assert parting(await client.read_all()) == (4108, "LOGIN_TIMEOUT")


async def test_the_end_of_the_stream_ends_the_connection() -> None:
    async with building() as house, await house.tcp() as client:
        await client.write(encode_tcp(b"bye") + b"\0\0\0\x09half")
        client.finish()
        assert await client.is_cut()
        assert await house.recorder.body() == b"bye"
        assert await house.recorder.gone.get() not in house.gateway.connections


async def test_no_more_commands_start_than_may_be_under_way() -> None:
    bodies = [b"%d" % number for number in range(50)]
    async with building(Limits(commands_in_flight=3)) as house, await house.tcp() as client:
        house.recorder.hold = True
        await client.write(b"".join(map(encode_tcp, bodies)))
        seen = []
        for _ in bodies:
            connection, body = await house.recorder.received.get()
            seen.append(body)
            assert house.recorder.received.qsize() <= 2
            connection.finished()
        assert seen == bodies
        await client.write(encode_tcp(b"more"))
        assert await house.recorder.body() == b"more"


async def test_one_that_takes_nothing_is_not_read_until_it_does() -> None:
    async with building() as house, await house.tcp() as client:
        await client.write(encode_tcp(b"first"))
        connection, _ = await house.recorder.received.get()
        owed = 0
        while not connection.clogged:
            assert connection.offer(bytes(65_536), "Tom")
            owed += 65_540
        await client.write(encode_tcp(b"second"))
        await client.read(owed)
        assert await house.recorder.body() == b"second"
        assert not connection.paused


async def test_nobody_is_let_in_while_the_server_stops_or_is_full() -> None:
    async with building(Limits(connections=1)) as house, await house.tcp() as first:
        await first.write(encode_tcp(b"in"))
        await house.recorder.body()
        async with await Socket.to(house.listeners[0].address) as second:
            assert await second.is_cut()
        first.finish()
        await house.recorder.gone.get()
        async with await Socket.to(house.listeners[0].address) as third:
            await third.write(encode_tcp(b"in"))
            await house.recorder.body()
        house.gateway.accepting = False
        async with await Socket.to(house.listeners[0].address) as fourth:
            assert await fourth.is_cut()


async def test_an_accepted_socket_takes_little_that_is_not_sent_and_sends_it_at_once() -> None:
    async with building() as house, await house.tcp() as client:
        await client.write(encode_tcp(b"in"))
        connection, _ = await house.recorder.received.get()
        accepted = connection._transport.get_extra_info("socket")
        if sys.platform == "linux":
            assert accepted.getsockopt(socket.IPPROTO_TCP, 25) == 16_384
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


async def test_closing_the_door_leaves_the_clients() -> None:
    async with building() as house, await house.tcp() as client:
        await client.write(encode_tcp(b"in"))
        await house.recorder.body()
        await house.listeners[0].close()
        with pytest.raises(ConnectionRefusedError):
            await Socket.to(house.listeners[0].address)
        await client.write(encode_tcp(b"still"))
        assert await house.recorder.body() == b"still"
