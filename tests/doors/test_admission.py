"""Who is let in while the server is full or short of memory, and what it says of that."""

import pytest

from fastim._frames import encode_tcp
from fastim.doors.http import front
from fastim.settings import Limits
from tests.doors.building import Socket, building

pytestmark = pytest.mark.anyio

GET = b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n"
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def test_short_of_memory_nobody_new_is_let_in_and_who_is_in_goes_on() -> None:
    async with building() as house, await house.tcp() as client, await Socket.to(await house.http()) as websocket:
        await websocket.write(HANDSHAKE)
        await websocket.read_head()
        await client.write(encode_tcp(b"in"))
        await house.recorder.body()

        house.gateway.short_of_memory = True
        async with await Socket.to(house.listeners[0].address) as late:
            assert await late.is_cut()
        async with await Socket.to(house.listeners[1].address) as late:
            await late.write(HANDSHAKE)
            assert (await late.read_response())[0] == 503
        assert house.bites == {"memory": 2}
        await client.write(encode_tcp(b"still"))
        assert await house.recorder.body() == b"still"

        house.gateway.short_of_memory = False
        async with await Socket.to(house.listeners[0].address) as again:
            await again.write(encode_tcp(b"again"))
            assert await house.recorder.body() == b"again"


async def test_readiness_says_why_nobody_is_let_in() -> None:
    async with building() as house, await Socket.to(await house.http()) as client:
        said = []
        for short, accepting in ((False, True), (True, True), (True, False)):
            house.gateway.short_of_memory, house.gateway.accepting = short, accepting
            await client.write(GET % b"/readyz")
            said.append((await client.read_response())[::2])
        assert said == [(200, b"ready"), (503, b"short of memory"), (503, b"stopping")]


async def test_short_of_memory_a_few_may_still_ask_for_the_server_s_health(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "SPARE_CONNECTIONS", 2)
    async with building() as house:
        address = await house.http()
        house.gateway.short_of_memory = True
        async with await Socket.to(address) as first, await Socket.to(address) as second:
            for client in (first, second):
                await client.write(GET % b"/healthz")
                assert (await client.read_response())[::2] == (200, b"ok")
            async with await Socket.to(address) as third:
                assert await third.is_cut()
        assert house.bites == {"memory": 1}


async def test_who_is_turned_away_from_a_full_server_is_counted() -> None:
    async with building(Limits(connections=1)) as house, await house.tcp() as client:
        await client.write(encode_tcp(b"in"))
        await house.recorder.body()
        async with await Socket.to(house.listeners[0].address) as second:
            assert await second.is_cut()
        async with await Socket.to(await house.http()) as half:
            await half.write(b"GET /")
            async with await Socket.to(house.listeners[1].address) as third:
                assert await third.is_cut()
        assert house.bites == {"connections": 2}


async def test_a_head_that_is_too_long_is_counted_whichever_it_is() -> None:
    long = b"GET / HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n" % (b"x" * 20_000)
    async with building() as house:
        address = await house.http()
        async with await Socket.to(address) as client:
            await client.write(long)
            assert (await client.read_response())[0] == 431
        async with await Socket.to(address) as client:
            await client.write(GET % b"/healthz")
            await client.read_response()
            await client.write(long)
            assert (await client.read_response())[0] == 400
        assert house.bites == {"head": 2}
