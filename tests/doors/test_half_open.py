"""Peers that begin something and do not go on: each has its time, is cut after it, and is counted."""

import asyncio
import socket

import pytest
from aiohttp import web
from websockets.frames import Frame, Opcode

from fastim._frames import encode_tcp
from fastim.settings import Address, Limits
from tests.doors.building import Building, Socket, building, parting

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SHORT = Limits(handshake_seconds=1, login_seconds=60, write_timeout_seconds=1)
DRIP_SECONDS = 0.05


PATIENCE_SECONDS = 20
"""Far more than any limit here, for machines that are busy."""


async def cut_while_dripping(client: Socket, drip: bytes) -> bool:
    """Send ``drip`` again and again until the connection ends; whether that comes before patience does."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    ending = asyncio.ensure_future(client.is_cut())
    while not (await asyncio.wait([ending], timeout=DRIP_SECONDS))[0]:
        if loop.time() - began > PATIENCE_SECONDS:
            ending.cancel()
            return False
        try:
            await client.write(drip)
        except ConnectionError:
            break
    await ending
    return loop.time() - began < PATIENCE_SECONDS


@pytest.mark.parametrize("head", [b"GET / HT", HANDSHAKE[:-2]], ids=["HTTP", "WebSocket"])
async def test_a_head_that_comes_drop_by_drop_is_cut(head: bytes) -> None:
    async with building(SHORT) as house, await Socket.to(await house.http()) as client:
        await client.write(head)
        assert await cut_while_dripping(client, b"x")
        assert house.bites == {"handshake": 1}


@pytest.mark.parametrize("before", [GET, GET * 3], ids=["one", "three"])
async def test_so_is_that_of_a_later_request(before: bytes) -> None:
    async with building(SHORT) as house, await Socket.to(await house.http()) as client:
        await client.write(before)
        for _ in range(before.count(b"GET")):
            await client.read_response()
        await client.write(b"GET / HTTP/1.1\r\nHost: ")
        assert await cut_while_dripping(client, b"x")
        assert house.bites == {"handshake": 1}


async def test_between_two_requests_there_is_more_time() -> None:
    async with building(SHORT) as house, await Socket.to(await house.http()) as client:
        for _ in range(2):
            await client.write(GET[:5])
            await client.write(GET[5:])
            assert (await client.read_response())[0] == 200
            looked = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(2.5, looked.set_result, None)
            await looked
        assert house.bites == {}


async def test_a_body_that_does_not_come_is_not_waited_for_long() -> None:
    async def take(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async with building(SHORT) as house:
        house.application.router.add_post("/take", take)
        async with await Socket.to(await house.http()) as client:
            await client.write(b"POST /take HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
            assert await cut_while_dripping(client, b"x")
            assert house.bites == {"read_timeout": 1}


@pytest.mark.parametrize("begun", [b"", b"\0\0", b"\0\0\1\0half a command"])
async def test_a_first_frame_that_does_not_come_is_not_waited_for(begun: bytes) -> None:
    async with building(SHORT) as house, await house.tcp() as client:
        await client.write(begun)
        assert parting(await client.read_all()) == (4108, "LOGIN_TIMEOUT")
        await house.recorder.gone.get()
        assert house.bites == {"handshake": 1}


async def test_a_first_frame_that_comes_drop_by_drop_is_not_waited_for() -> None:
    async with building(SHORT) as house, await house.tcp() as client:
        await client.write(b"\0\0\1\0")
        loop = asyncio.get_running_loop()
        began = loop.time()
        gone = asyncio.ensure_future(house.recorder.gone.get())
        while not (await asyncio.wait([gone], timeout=DRIP_SECONDS))[0]:
            try:
                await client.write(b"x")
            except ConnectionError:
                break
        await gone
        assert loop.time() - began < PATIENCE_SECONDS
        assert house.bites == {"handshake": 1}


async def test_who_has_said_something_has_longer_until_a_session_is_open() -> None:
    limits = Limits(handshake_seconds=1, login_seconds=3)
    async with building(limits) as house, await house.tcp() as client:
        await client.write(encode_tcp(b"hello"))
        began = asyncio.get_running_loop().time()
        assert parting(await client.read_all()) == (4108, "LOGIN_TIMEOUT")
        assert 3 <= asyncio.get_running_loop().time() - began < PATIENCE_SECONDS
        assert house.bites == {"login": 1}


async def test_a_websocket_has_that_from_its_handshake_on() -> None:
    limits = Limits(handshake_seconds=1, login_seconds=3)
    async with building(limits) as house, await Socket.to(await house.http()) as client:
        await client.write(HANDSHAKE)
        await client.read_head()
        began = asyncio.get_running_loop().time()
        assert (await client.read_all())[2:4] == (4108).to_bytes(2)
        assert 3 <= asyncio.get_running_loop().time() - began < PATIENCE_SECONDS
        assert house.bites == {"login": 1}


# --- Readers that do not read -----------------------------------------------------------------------------------------


def with_page(house: Building, size: int) -> Building:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=bytes(size))

    house.application.router.add_get("/page", answer)
    return house


async def deaf(address: str) -> socket.socket:
    """A client whose socket takes as little as the kernel lets it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
    client.setblocking(False)
    at = Address.parse(address)
    await asyncio.get_running_loop().sock_connect(client, (at.host, at.port))
    return client


async def test_an_answer_that_is_not_taken_is_not_kept_for_long() -> None:
    async with building(SHORT) as house:
        with await deaf(await with_page(house, 16_000_000).http()) as client:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(client, GET.replace(b"/healthz", b"/page"))
            assert await house.counters.bitten.get() == "write_timeout"
            taken = 0
            while data := await loop.sock_recv(client, 65_536):
                taken += len(data)
            assert taken < 8_000_000


async def test_nor_is_one_to_a_client_that_wants_no_more_after_it() -> None:
    """Its end fits the buffers, so aiohttp has done with it and only waits for the socket to close."""
    async with building(SHORT) as house:
        address = await with_page(house, 60_000).http()
        with await deaf(address) as client:
            request = GET.replace(b"/healthz", b"/page")
            closing = request.replace(b"Host: a", b"Host: a\r\nConnection: close")
            await asyncio.get_running_loop().sock_sendall(client, request * 8 + closing)
            assert await house.counters.bitten.get() == "write_timeout"


async def test_a_websocket_that_pings_and_does_not_read_is_cut() -> None:
    async with building(SHORT) as house:
        with await deaf(await house.http()) as client:
            loop = asyncio.get_running_loop()
            ping = Frame(Opcode.PING, bytes(125)).serialize(mask=True)
            sending = asyncio.ensure_future(loop.sock_sendall(client, HANDSHAKE + ping * 200_000))
            connection = await house.recorder.gone.get()
            assert connection.waiting_bytes < 1_000_000
            assert house.bites == {"write_timeout": 1}
            with pytest.raises(ConnectionError):
                await sending
