import base64
import os

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close, Frame, Opcode
from websockets.typing import Subprotocol

from fastim.core.errors import ReadTimeout
from fastim.core.session import OfflineMode
from fastim.settings import Limits
from tests.doors.building import Socket, building

pytestmark = pytest.mark.anyio

HANDSHAKE = (
    b"GET /any/path?a=b HTTP/1.1\r\nHost: im.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: lc.protobuf2.3\r\n\r\n"
)
ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: lc.protobuf2.3\r\n\r\n"
)


def dial(address: str, *subprotocols: str) -> connect:
    return connect(f"ws://{address}", subprotocols=[Subprotocol(name) for name in subprotocols] or None)


async def closing(client: ClientConnection) -> tuple[int, str]:
    """Code and reason of the close frame that ends the connection."""
    with pytest.raises(ConnectionClosed) as closed:
        await client.recv()
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


def frame(opcode: Opcode, data: bytes = b"", *, fin: bool = True, mask: bool = True) -> bytes:
    return Frame(opcode, data, fin=fin).serialize(mask=mask)


@pytest.mark.parametrize(
    ("subprotocol", "mode", "text"),
    [
        ("lc.protobuf2.3", OfflineMode.UNREAD, False),
        ("lc.protobuf2.1", OfflineMode.PUSH, False),
        ("lc.proto2base64.3", OfflineMode.UNREAD, True),
        ("lc.proto2base64.1", OfflineMode.PUSH, True),
    ],
)
async def test_a_subprotocol_says_how_commands_travel_and_what_the_client_missed(
    subprotocol: str, mode: OfflineMode, text: bool
) -> None:
    body = bytes(range(256))
    async with building() as house, dial(await house.http(), subprotocol) as client:
        assert client.subprotocol == subprotocol
        assert client.protocol.extensions == []
        await client.send(base64.b64encode(body).decode() if text else body)
        connection, received = await house.recorder.received.get()
        assert received == body
        assert connection.link.offline_mode is mode
        assert connection.door == "websocket"
        connection.send(body)
        assert await client.recv() == (base64.b64encode(body).decode() if text else body)


async def test_the_client_s_order_decides_between_subprotocols() -> None:
    async with building() as house:
        address = await house.http()
        async with dial(address, "json", "lc.protobuf2.1", "lc.protobuf2.3") as client:
            assert client.subprotocol == "lc.protobuf2.1"
        async with dial(address, "lc.protobuf2.3", "lc.protobuf2.1") as client:
            assert client.subprotocol == "lc.protobuf2.3"


async def test_without_an_offer_commands_are_binary() -> None:
    async with building() as house, dial(await house.http()) as client:
        assert client.subprotocol is None
        await client.send(b"hello")
        connection, body = await house.recorder.received.get()
        assert (connection.link.offline_mode, body) == (OfflineMode.UNREAD, b"hello")


async def test_an_offer_of_unknown_subprotocols_only_is_refused() -> None:
    async with building() as house:
        with pytest.raises(InvalidStatus) as refused:
            async with dial(await house.http(), "lc.json.1"):
                pass
        assert refused.value.response.status_code == 400
        assert b"lc.protobuf2.3" in refused.value.response.body


async def test_a_message_may_come_in_fragments_with_pings_between_them() -> None:
    async with building() as house, await Socket.to(await house.http()) as client:
        await client.write(HANDSHAKE)
        assert await client.read_head() == ANSWER
        for part in (
            frame(Opcode.BINARY, b"he", fin=False),
            frame(Opcode.PING, b"1"),
            frame(Opcode.CONT, b"ll", fin=False),
            frame(Opcode.PONG, b"nobody asked"),
            frame(Opcode.CONT, b"o"),
        ):
            for byte in part:
                await client.write(bytes([byte]))
        assert await client.read(3) == b"\x8a\x011"
        assert await house.recorder.body() == b"hello"


async def test_what_comes_right_behind_the_handshake_is_read() -> None:
    async with building() as house, await Socket.to(await house.http()) as client:
        await client.write(HANDSHAKE + frame(Opcode.BINARY, b"early") + frame(Opcode.BINARY, b"bird"))
        assert await house.recorder.body() == b"early"
        assert await house.recorder.body() == b"bird"


async def test_every_ping_has_its_pong() -> None:
    async with building() as house, dial(await house.http(), "lc.protobuf2.3") as client:
        for data in (b"", b"x" * 125):
            await (await client.ping(data))


async def test_a_binary_message_is_taken_raw_where_base64_was_agreed() -> None:
    async with building() as house, dial(await house.http(), "lc.proto2base64.3") as client:
        await client.send(b"\xff\0raw")
        assert await house.recorder.body() == b"\xff\0raw"


@pytest.mark.parametrize("text", ["?", "aGk", "aGk=\n", "aGk=aGk=", "a-_b", "=", "é"])
async def test_what_is_not_base64_ends_the_connection(text: str) -> None:
    async with building() as house, dial(await house.http(), "lc.proto2base64.3") as client:
        await client.send(text)
        assert await closing(client) == (4114, "UNPARSEABLE_RAW_MESSAGE")
        await house.recorder.gone.get()
        assert house.recorder.received.empty()


async def test_text_ends_a_connection_that_agreed_on_binary_messages() -> None:
    async with building() as house, dial(await house.http(), "lc.protobuf2.3") as client:
        await client.send("aGk=")
        assert (await closing(client))[0] == 1003


@pytest.mark.parametrize("subprotocol", ["lc.protobuf2.3", "lc.proto2base64.3"])
async def test_the_limit_is_on_commands_in_either_form(subprotocol: str) -> None:
    async with building(Limits(frame_bytes=1_024)) as house, dial(await house.http(), subprotocol) as client:
        fits = os.urandom(1_024)
        await client.send(base64.b64encode(fits).decode() if "base64" in subprotocol else fits)
        assert await house.recorder.body() == fits
        longer = os.urandom(1_027)
        await client.send(base64.b64encode(longer).decode() if "base64" in subprotocol else longer)
        assert await closing(client) == (4109, "FRAME_TOO_LONG")


async def test_a_client_that_goes_on_sending_still_learns_why_it_is_closed() -> None:
    async with building() as house, await Socket.to(await house.http()) as client:
        await client.write(HANDSHAKE + b"\x82\xff" + (2**40).to_bytes(8) + b"mask")
        for _ in range(64):
            await client.write(bytes(65_536))
        assert await client.read_all() == ANSWER + frame(
            Opcode.CLOSE, Close(4109, "FRAME_TOO_LONG").serialize(), mask=False
        )


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(frame(Opcode.BINARY, b"x", mask=False), 1002, id="not masked"),
        pytest.param(frame(Opcode.CONT, b"x"), 1002, id="continuation of nothing"),
        pytest.param(b"\xc2\x80mask", 1002, id="reserved bit"),
        pytest.param(b"\x83\x80mask", 1002, id="reserved opcode"),
        pytest.param(b"\x09\x80mask", 1002, id="fragmented control frame"),
        pytest.param(frame(Opcode.CLOSE, b"\x03"), 1002, id="half a close code"),
        pytest.param(frame(Opcode.CLOSE, (1006).to_bytes(2)), 1002, id="close code that must not be sent"),
        pytest.param(frame(Opcode.TEXT, b"\xff"), 1007, id="not UTF-8"),
    ],
)
async def test_broken_framing_is_answered_with_the_code_that_says_so(data: bytes, code: int) -> None:
    async with building() as house, await Socket.to(await house.http()) as client:
        await client.write(HANDSHAKE + frame(Opcode.BINARY, b"fine") + data + frame(Opcode.BINARY, b"late"))
        answer = (await client.read_all()).removeprefix(ANSWER)
        assert answer[0] == 0x88
        assert answer[1] == len(answer) - 2
        assert int.from_bytes(answer[2:4]) == code
        client.finish()
        await house.recorder.gone.get()
        assert await house.recorder.body() == b"fine"
        assert house.recorder.received.empty()


@pytest.mark.parametrize(
    ("payload", "echoed"), [(b"", b""), ((1000).to_bytes(2), (1000).to_bytes(2)), (b"\x0b\xb8bye", b"\x0b\xb8")]
)
async def test_a_close_is_answered_with_its_code_and_the_socket_closed(payload: bytes, echoed: bytes) -> None:
    async with building() as house, await Socket.to(await house.http()) as client:
        await client.write(HANDSHAKE + frame(Opcode.CLOSE, payload) + frame(Opcode.BINARY, b"late"))
        # It does not wait for the client's half.
        await house.recorder.gone.get()
        assert await client.read_all() == ANSWER + bytes([0x88, len(echoed)]) + echoed
        assert house.recorder.received.empty()


async def test_the_server_s_close_says_why_and_is_the_last_frame() -> None:
    async with building() as house, dial(await house.http(), "lc.protobuf2.3") as client:
        await client.send(b"hello")
        connection, _ = await house.recorder.received.get()
        connection.send(b"before")
        connection.close(ReadTimeout())
        connection.send(b"after")
        assert await client.recv() == b"before"
        assert await closing(client) == (4107, "READ_TIMEOUT")
        assert await house.recorder.gone.get() is connection


async def test_a_client_that_vanishes_is_gone() -> None:
    async with building() as house:
        async with await Socket.to(await house.http()) as client:
            await client.write(HANDSHAKE + frame(Opcode.BINARY, b"hello"))
            await house.recorder.body()
        await house.recorder.gone.get()
        assert not house.gateway.connections


@pytest.mark.slow
async def test_one_that_does_not_answer_a_close_is_cut() -> None:
    async with building(Limits(handshake_seconds=0.1)) as house, await Socket.to(await house.http()) as client:
        await client.write(HANDSHAKE + frame(Opcode.TEXT, b"text"))
        await house.recorder.gone.get()


async def test_no_more_commands_start_than_may_be_under_way() -> None:
    bodies = [b"%d" % number for number in range(50)]
    async with building(Limits(commands_in_flight=3)) as house, await Socket.to(await house.http()) as client:
        house.recorder.hold = True
        await client.write(HANDSHAKE + b"".join(frame(Opcode.BINARY, body) for body in bodies))
        seen = []
        for _ in bodies:
            connection, body = await house.recorder.received.get()
            seen.append(body)
            assert house.recorder.received.qsize() <= 2
            connection.finished()
        assert seen == bodies


async def test_a_full_or_stopping_server_says_so_instead_of_shaking_hands() -> None:
    async with building(Limits(connections=1)) as house:
        address = await house.http()
        async with dial(address, "lc.protobuf2.3"):
            with pytest.raises(InvalidStatus) as refused:
                async with dial(address, "lc.protobuf2.3"):
                    pass
            assert refused.value.response.status_code == 503
        await house.recorder.gone.get()
        async with dial(address, "lc.protobuf2.3"):
            pass
        house.gateway.accepting = False
        with pytest.raises(InvalidStatus) as refused:
            async with dial(address, "lc.protobuf2.3"):
                pass
        assert refused.value.response.status_code == 503
