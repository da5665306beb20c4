import logging
import re

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from fastim.doors.http.handshake import HandshakeError, parse, shake
from fastim.settings import Http, Limits
from tests.doors.building import Building, Socket, building

pytestmark = pytest.mark.anyio

GOOD = {
    "Host": "im.example",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
GET = b"GET /healthz HTTP/1.1\r\nHost: im.example\r\n\r\n"


def handshake(line: str = "GET / HTTP/1.1", **changes: str | None) -> bytes:
    """A handshake with fields replaced, or left out where ``None``; underscores stand for hyphens."""
    fields = GOOD | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [line, *(f"{name}: {value}" for name, value in fields.items() if value is not None), "\r\n"]
    return "\r\n".join(lines).encode("latin-1")


@pytest.mark.parametrize(
    "request_head",
    [
        handshake(),
        handshake("GET /a/b?c=d HTTP/1.1"),
        handshake(Upgrade="WebSocket", Connection="keep-alive, uPGRADE"),
        handshake(Upgrade="h2c, websocket"),
        handshake(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"),
        handshake(Origin="https://example.com", Content_Length="0"),
        b"\r\n\r\n" + handshake(),
        handshake().replace(b": ", b":\t  "),
    ],
)
async def test_a_handshake_succeeds(request_head: bytes) -> None:
    async with building() as house, await Socket.to(await house.http()) as client:
        await client.write(request_head)
        head = await client.read_head()
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
        assert b"Extensions" not in head


BAD = [
    pytest.param(handshake("POST / HTTP/1.1"), 400, id="not a GET"),
    pytest.param(handshake("GET / HTTP/1.0"), 400, id="HTTP/1.0"),
    pytest.param(handshake(Host=None), 400, id="no Host"),
    pytest.param(handshake(Host=""), 400, id="empty Host"),
    pytest.param(handshake(host="other"), 400, id="two Hosts"),
    pytest.param(handshake(Connection="keep-alive"), 400, id="no Connection: Upgrade"),
    pytest.param(handshake(Connection=None), 400, id="no Connection"),
    pytest.param(handshake(Sec_WebSocket_Version=None), 426, id="no version"),
    pytest.param(handshake(Sec_WebSocket_Version="8"), 426, id="old version"),
    pytest.param(handshake(Sec_WebSocket_Version="13, 8"), 426, id="two versions"),
    pytest.param(handshake(Sec_WebSocket_Key=None), 400, id="no key"),
    pytest.param(handshake(Sec_WebSocket_Key="c2hvcnQ="), 400, id="short key"),
    pytest.param(handshake(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ=!"), 400, id="key not Base64"),
    pytest.param(handshake(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25j\xe9"), 400, id="key not ASCII"),
    pytest.param(handshake(sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ=="), 400, id="two keys"),
    pytest.param(handshake(Sec_WebSocket_Protocol="lc.json.1"), 400, id="unknown subprotocol"),
    pytest.param(handshake(Content_Length="3"), 400, id="body"),
    pytest.param(handshake(Transfer_Encoding="chunked"), 400, id="chunked body"),
]


@pytest.mark.parametrize(("request_head", "status"), BAD)
@pytest.mark.parametrize("later", [False, True], ids=["at once", "on a kept-alive connection"])
async def test_a_wrong_handshake_is_refused_in_clear_words(request_head: bytes, status: int, later: bool) -> None:
    async with building() as house, await Socket.to(await house.http()) as client:
        if later:
            await client.write(GET)
            await client.read_response()
        await client.write(request_head)
        answered, fields, body = await client.read_response()
        assert answered == status
        assert fields["server"] == "fastim"
        assert b'"error":"' in body
        if status == 426:
            assert fields["sec-websocket-version"] == "13"
        client.finish()
        assert await client.is_cut()
        assert not house.gateway.connections


@pytest.mark.parametrize(
    "request_head",
    [
        handshake(Spaced="no").replace(b"Spaced:", b"Spaced :"),
        handshake(Folded="a\r\n b"),
        handshake(Control="a\x00b"),
        handshake(Bare="a\nb: c"),
        handshake("GET  / HTTP/1.1"),
        handshake("GET / HTTP/1.1 "),
        handshake("GET / HTTP/2.0"),
        handshake("GET /\xe9 HTTP/1.1"),
        handshake().replace(b"\r\n", b"\n"),
    ],
)
async def test_a_malformed_head_that_asks_for_an_upgrade_is_refused(request_head: bytes) -> None:
    async with building() as house, await Socket.to(await house.http()) as client:
        await client.write(request_head)
        assert (await client.read_response())[0] == 400


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nBad Field: x\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    ],
)
async def test_aiohttp_s_errors_look_like_ours(request_head: bytes) -> None:
    async with building() as house, await Socket.to(await house.http()) as client:
        await client.write(request_head)
        status, fields, body = await client.read_response()
        assert (status, fields["server"], body) == (400, "fastim", b'{"code":400,"error":"Bad Request."}')
        assert await client.is_cut()


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00\x01", b"\0\0\0\x05hello", b"get / HTTP/1.1\r\n\r\n", b"A" * 21, b"\xff", b"{}"]
)
async def test_what_cannot_be_http_is_cut_without_waiting_for_more(data: bytes) -> None:
    async with building() as house, await Socket.to(await house.http()) as client:
        await client.write(data)
        assert await client.is_cut()


@pytest.mark.parametrize("ended", [False, True])
async def test_a_head_above_the_limit_is_refused(ended: bool) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 2_000 + b"\r\n\r\n" * ended
    async with building() as house, await Socket.to(await house.http(settings=Http(head_bytes=1_024))) as client:
        await client.write(head)
        status, _, body = await client.read_response()
        assert (status, b"1024 bytes" in body) == (431, True)


async def test_a_head_of_just_the_limit_is_read() -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: "
    async with building() as house, await Socket.to(await house.http(settings=Http(head_bytes=1_024))) as client:
        await client.write(head + b"x" * (1_024 - len(head) - 4) + b"\r\n\r\n")
        assert (await client.read_response())[0] == 200


@pytest.mark.slow
@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n", handshake()[:-2]])
async def test_a_head_that_does_not_come_to_an_end_is_cut(data: bytes) -> None:
    async with building(Limits(handshake_seconds=0.1)) as house, await Socket.to(await house.http()) as client:
        await client.write(data)
        assert await client.is_cut()


@pytest.mark.slow
async def test_a_refused_one_that_stays_is_cut() -> None:
    async with building(Limits(handshake_seconds=0.1)) as house, await Socket.to(await house.http()) as client:
        await client.write(handshake(Host=None))
        await client.read_response()
        assert await client.is_cut()
        await client.is_deaf()


@pytest.mark.parametrize("head", [GET, handshake()])
async def test_a_head_may_come_byte_by_byte(head: bytes) -> None:
    async with building() as house, await Socket.to(await house.http()) as client:
        for byte in head:
            await client.write(bytes([byte]))
        assert (await client.read_head()).startswith((b"HTTP/1.1 200", b"HTTP/1.1 101"))


async def test_requests_follow_each_other_on_one_connection() -> None:
    async with building() as house, await Socket.to(await house.http()) as client:
        for _ in range(3):
            await client.write(GET)
            assert (await client.read_response())[::2] == (200, b"ok")


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    async with building() as house, await Socket.to(await house.http()) as client:
        await client.write((GET + GET.replace(b"/healthz", b"/nowhere")) * 40)
        for _ in range(40):
            assert [(await client.read_response())[0] for _ in range(2)] == [200, 404]


async def test_an_old_client_is_answered_and_its_connection_closed() -> None:
    async with building() as house, await Socket.to(await house.http()) as client:
        await client.write(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert (await client.read_response())[0] == 200
        assert await client.is_cut()


def with_echo(house: Building) -> Building:
    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    house.application.router.add_post("/echo", echo)
    return house


async def test_bodies_come_through_whatever_their_form() -> None:
    async with building() as house, await Socket.to(await with_echo(house).http()) as client:
        head = b"POST /echo HTTP/1.1\r\nHost: a\r\n"
        await client.write(head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel")
        await client.write(b"lo\r\n6\r\n world\r\n0\r\n\r\n")
        assert (await client.read_response())[::2] == (200, b"hello world")
        await client.write(head + b"Content-Length: 5\r\n\r\n")
        await client.write(b"howdy" + GET)
        assert (await client.read_response())[::2] == (200, b"howdy")
        assert (await client.read_response())[::2] == (200, b"ok")
        await client.write(head + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await client.read_head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.write(b"hi")
        assert (await client.read_response())[::2] == (200, b"hi")


async def test_a_broken_chunk_is_the_client_s_fault() -> None:
    async with building() as house, await Socket.to(await with_echo(house).http()) as client:
        await client.write(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        assert (await client.read_response())[0] == 400


@pytest.mark.parametrize("path", [b"/echo", b"/healthz", b"/nowhere"])
async def test_a_body_that_is_not_packed_as_it_says_is_no_fault_of_ours(
    path: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with building() as house, await Socket.to(await with_echo(house).http()) as client:
        await client.write(
            b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello" % path
        )
        assert (await client.read_response())[0] in (400, 404, 405)
        assert await client.is_cut()
        assert not caplog.records


async def test_an_ordinary_http_client_is_at_home() -> None:
    async with building() as house, aiohttp.ClientSession(f"http://{await with_echo(house).http()}") as client:
        body = bytes(300_000)
        for _ in range(2):
            async with client.post("/echo", data=body) as response:
                assert await response.read() == body
            async with client.head("/healthz") as response:
                assert (response.status, response.headers["Content-Length"]) == (200, "2")


async def test_a_handshake_may_come_on_a_kept_alive_connection() -> None:
    async with building() as house, await Socket.to(await house.http()) as client:
        await client.write(GET)
        await client.read_response()
        early = Frame(Opcode.BINARY, b"early").serialize(mask=True)
        await client.write(handshake(Sec_WebSocket_Protocol="lc.proto2base64.1") + early)
        head = await client.read_head()
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Protocol: lc.proto2base64.1\r\n" in head
        connection, body = await house.recorder.received.get()
        assert body == b"early"
        await client.write(Frame(Opcode.TEXT, b"bGF0ZXI=").serialize(mask=True))
        assert await house.recorder.body() == b"later"
        connection.send(b"hi")
        assert await client.read(6) == b"\x81\x04aGk="
        client.finish()
        assert await house.recorder.gone.get() is connection
        assert await client.is_cut()


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    ("trusted", "forwarded", "address"),
    [
        (("127.0.0.0/8",), "198.51.100.1, 203.0.113.7", "203.0.113.7"),
        (("127.0.0.0/8",), None, "127.0.0.1"),
        ((), "203.0.113.7", "127.0.0.1"),
    ],
)
async def test_behind_a_proxy_a_websocket_has_the_address_of_its_client(
    trusted: tuple[str, ...], forwarded: str | None, address: str, later: bool
) -> None:
    settings = Http(trusted_proxies=trusted)
    async with building(trusted_proxies=trusted) as house, await Socket.to(await house.http(settings)) as client:
        if later:
            await client.write(GET)
            await client.read_response()
        first = Frame(Opcode.BINARY, b"first").serialize(mask=True)
        await client.write(handshake(X_Forwarded_For=forwarded) + first)
        connection, _ = await house.recorder.received.get()
        assert connection.address == address


async def test_closing_the_door_ends_http_and_leaves_websockets() -> None:
    async with building() as house:
        address = await house.http()
        late = handshake() + Frame(Opcode.BINARY, b"in").serialize(mask=True)
        async with (
            await Socket.to(address) as fresh,
            await Socket.to(address) as half,
            await Socket.to(address) as idle,
            await Socket.to(address) as websocket,
            await Socket.to(address) as upgraded,
        ):
            await half.write(GET[:10])
            for client in (idle, upgraded):
                await client.write(GET)
                await client.read_response()
            for client in (websocket, upgraded):
                await client.write(late)
                await client.read_head()
                await house.recorder.body()
            await house.listeners[0].close()
            assert [await client.is_cut() for client in (fresh, half, idle)] == [True] * 3
            for client in (websocket, upgraded):
                await client.write(Frame(Opcode.BINARY, b"still").serialize(mask=True))
                assert await house.recorder.body() == b"still"
            with pytest.raises(ConnectionRefusedError):
                await Socket.to(address)


async def test_http_connections_have_the_same_limit_apart_from_clients() -> None:
    async with building(Limits(connections=2)) as house:
        address = await house.http()
        async with await Socket.to(address) as websocket, await Socket.to(address) as kept:
            await websocket.write(handshake())
            await websocket.read_head()
            await kept.write(GET)
            await kept.read_response()
            async with await Socket.to(address) as half:
                await half.write(GET[:10])
                async with await Socket.to(address) as one_too_many:
                    assert await one_too_many.is_cut()
                await half.write(GET[10:])
                assert (await half.read_response())[0] == 200


async def test_a_fault_of_ours_is_logged_and_tells_the_client_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    async def fail(request: web.Request) -> web.Response:
        raise LookupError("a secret of the server's")

    async with building() as house:
        house.application.router.add_get("/fail", fail)
        async with await Socket.to(await house.http()) as client:
            await client.write(GET.replace(b"/healthz", b"/fail") + GET)
            status, _, body = await client.read_response()
            assert (status, body) == (500, b'{"code":500,"error":"Internal Server Error."}')
            assert (await client.read_response())[0] == 200
    assert "a secret of the server's" in "".join(capsys.readouterr())


async def test_nothing_is_logged_for_what_clients_do(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with building() as house:
        address = await house.http()
        for data in (GET, handshake(), handshake(Host=None), b"GET / HTTP/1.1\r\nBad Field: x\r\n\r\n", b"\x16"):
            async with await Socket.to(address) as client:
                await client.write(data)
                client.finish()
                await client.is_cut()
    assert "".join(capsys.readouterr()) == ""
    assert [record for record in caplog.records if not record.name.startswith("asyncio")] == []


PIECES = [
    b"GET / HTTP/1.1",
    b"\r\n",
    b"\n",
    b"\r",
    b"Host",
    b"Upgrade: websocket",
    b":",
    b" ",
    b"\t",
    b"a",
    b"\xff",
    b"\0",
]


@given(st.lists(st.sampled_from(PIECES)).map(b"".join))
def test_whatever_the_head_it_is_understood_or_refused(head: bytes) -> None:
    try:
        request = parse(head + b"\r\n\r\n")
    except HandshakeError:
        return
    assert re.fullmatch(r"[!-~]+", request.method)
    assert all(name == name.lower() for name in request.fields)
    with pytest.raises(HandshakeError):
        shake(request)
