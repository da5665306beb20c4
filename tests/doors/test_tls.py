"""TLS in front of the doors: what a client sees of it, and what one can do wrong."""

import asyncio
import json
import os
import resource
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from fastim._frames import encode_tcp
from fastim.core.errors import ReadTimeout, SettingsError
from fastim.doors import tls
from fastim.doors.tls import Certificate
from fastim.runtime.connection import GATHERED_BYTES
from fastim.settings import Limits, Tls
from tests.authority import Authority, Pair
from tests.doors.building import Socket, building, parting

pytestmark = pytest.mark.anyio

GET = b"GET /v1/route?appId=app HTTP/1.1\r\nHost: im.example\r\n\r\n"
HELLO = b"\x16\x03\x01\x02\x00\x01\x00"
"""How a client's first record begins."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.issue("server")


def of(pair: Pair) -> Certificate:
    return Certificate(Tls(str(pair.certificate), str(pair.key)))


def subject(client: Socket) -> str:
    """The common name in the certificate that the server showed."""
    names = {name: value for ((name, value),) in client.info("peercert")["subject"]}
    return str(names["commonName"])


# --- What a client sees -----------------------------------------------------------------------------------------------


async def test_commands_travel_both_ways(authority: Authority, pair: Pair) -> None:
    body = os.urandom(60_000)
    async with building() as house, await Socket.to(await house.tcps(of(pair)), authority.trusting()) as client:
        # In one piece with the end of the handshake.
        await client.write(encode_tcp(b"hello") + encode_tcp(body))
        connection, first = await house.recorder.received.get()
        assert (first, await house.recorder.body()) == (b"hello", body)
        connection.send(body)
        assert await client.read(60_004) == encode_tcp(body)
        accepted = connection._transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        assert connection.address == "127.0.0.1"


async def test_a_client_learns_why_it_is_closed(authority: Authority, pair: Pair) -> None:
    async with building() as house, await Socket.to(await house.tcps(of(pair)), authority.trusting()) as client:
        await client.write(encode_tcp(b"first"))
        connection, _ = await house.recorder.received.get()
        connection.send(bytes(300_000))
        connection.close(ReadTimeout())
        connection.send(b"late")
        await client.read(300_004)
        assert parting(await client.read_all()) == (4107, "READ_TIMEOUT")
        assert await house.recorder.gone.get() is connection


async def test_a_client_that_goes_on_sending_still_learns_why_it_is_closed(authority: Authority, pair: Pair) -> None:
    async with building() as house, await Socket.to(await house.tcps(of(pair)), authority.trusting()) as client:
        with suppress(ConnectionError):
            await client.write((2**31).to_bytes(4) + bytes(4_000_000))
        assert parting(await client.read_all()) == (4109, "FRAME_TOO_LONG")
        assert house.bites == {"frame": 1}


async def test_a_client_that_leaves_is_gone(authority: Authority, pair: Pair) -> None:
    async with building() as house:
        async with await Socket.to(await house.tcps(of(pair)), authority.trusting()) as client:
            await client.write(encode_tcp(b"in"))
            connection, _ = await house.recorder.received.get()
        assert await house.recorder.gone.get() is connection
        assert not house.gateway.connections


async def test_the_route_is_wss(authority: Authority, pair: Pair) -> None:
    async with building() as house, await Socket.to(await house.https(of(pair)), authority.trusting()) as client:
        for _ in range(2):
            await client.write(GET)
            status, _, body = await client.read_response()
            assert status == 200
            assert json.loads(body)["server"] == json.loads(body)["secondary"] == "wss://im.example/"


async def test_an_sdk_finds_its_websocket(authority: Authority, pair: Pair) -> None:
    context = authority.trusting()
    async with building() as house:
        address = await house.https(of(pair))
        url = f"wss://localhost:{address.rpartition(':')[2]}"
        async with connect(url, ssl=context, subprotocols=[Subprotocol("lc.protobuf2.3")]) as client:
            await client.send(bytes(60_000))
            connection, body = await house.recorder.received.get()
            assert body == bytes(60_000)
            connection.send(b"welcome")
            assert await client.recv() == b"welcome"
            connection.close(ReadTimeout())
            await client.wait_closed()
            assert client.close_code == 4107
        assert await house.recorder.gone.get() is connection


async def test_http_is_named_where_clients_ask_and_only_there(authority: Authority, pair: Pair) -> None:
    context = authority.trusting("h2", "http/1.1")
    async with building() as house:
        async with await Socket.to(await house.https(of(pair)), context) as client:
            assert client.info("ssl_object").selected_alpn_protocol() == "http/1.1"
        async with await Socket.to(await house.tcps(of(pair)), context) as client:
            assert client.info("ssl_object").selected_alpn_protocol() is None


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")
async def test_nothing_older_than_tls_1_2_is_spoken(authority: Authority, pair: Pair) -> None:
    async with building() as house:
        address = await house.tcps(of(pair))
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = authority.trusting()
            context.minimum_version = context.maximum_version = version
            async with await Socket.to(address, context) as client:
                assert client.info("ssl_object").version() == version.name.replace("_", ".")
        old = authority.trusting()
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await Socket.to(address, old)


async def test_one_that_takes_nothing_counts_as_full_as_soon_as_on_a_plain_connection(
    authority: Authority, pair: Pair
) -> None:
    async with building() as house, await Socket.to(await house.tcps(of(pair)), authority.trusting()) as client:
        await client.write(encode_tcp(b"first"))
        connection, _ = await house.recorder.received.get()
        owed = 0
        while not connection.clogged:
            assert connection.offer(bytes(8_192), "Tom")
            owed += 8_196
            await asyncio.sleep(0)
        assert GATHERED_BYTES <= connection.waiting_bytes < 2 * GATHERED_BYTES
        await client.write(encode_tcp(b"second"))
        await client.read(owed)
        assert await house.recorder.body() == b"second"
        assert not connection.paused
        assert connection.waiting_bytes == 0


# --- Handshakes that come to nothing ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("said", [b"", HELLO])
async def test_a_half_open_handshake_is_cut(authority: Authority, pair: Pair, said: bytes) -> None:
    async with building(Limits(handshake_seconds=0.5)) as house:
        address = await house.tcps(of(pair))
        async with await Socket.to(address) as half, await Socket.to(address, authority.trusting()) as whole:
            await whole.write(encode_tcp(b"in"))
            await house.recorder.body()
            await half.write(said)
            async with asyncio.timeout(20):
                assert await half.is_cut()
            assert house.bites == {"handshake": 1}
            await whole.write(encode_tcp(b"still"))
            assert await house.recorder.body() == b"still"


@pytest.mark.parametrize("said", [GET, b"\0" * 100, HELLO + bytes(510)], ids=["plain HTTP", "zeros", "no hello"])
async def test_what_is_no_handshake_is_cut_and_not_logged(pair: Pair, said: bytes) -> None:
    async with building() as house, await Socket.to(await house.https(of(pair))) as client:
        with capture_logs() as logs:
            await client.write(said)
            with suppress(ConnectionError):
                await client.read_all()
        assert logs == []
        assert house.bites == {}


async def test_a_client_that_does_not_trust_the_certificate_goes(tmp_path: Path, pair: Pair) -> None:
    stranger = Authority(tmp_path).trusting()
    async with building() as house:
        address = await house.tcps(of(pair))
        with capture_logs() as logs, pytest.raises(ssl.SSLCertVerificationError):
            await Socket.to(address, stranger)
        assert logs == []
        assert not house.gateway.connections


async def test_a_handshake_under_way_takes_a_place(authority: Authority, pair: Pair) -> None:
    async with building(Limits(connections=2)) as house:
        address = await house.tcps(of(pair))
        async with await Socket.to(address) as half, await Socket.to(address, authority.trusting()) as whole:
            await half.write(HELLO)
            await whole.write(encode_tcp(b"in"))
            await house.recorder.body()
            async with await Socket.to(address) as third:
                assert await third.is_cut()
            assert house.bites == {"connections": 1}
        await house.recorder.gone.get()
        async with await Socket.to(address, authority.trusting()) as fourth:
            await fourth.write(encode_tcp(b"in"))
            await house.recorder.body()


async def test_closing_the_door_ends_handshakes_and_leaves_clients(authority: Authority, pair: Pair) -> None:
    async with building() as house:
        address = await house.tcps(of(pair))
        async with (
            await Socket.to(address) as silent,
            await Socket.to(address) as half,
            await Socket.to(address, authority.trusting()) as whole,
        ):
            await half.write(HELLO)
            await whole.write(encode_tcp(b"in"))
            await house.recorder.body()
            await house.listeners[0].close()
            assert [await silent.is_cut(), await half.is_cut()] == [True, True]
            assert house.bites == {}
            with pytest.raises(ConnectionRefusedError):
                await Socket.to(address)
            await whole.write(encode_tcp(b"still"))
            assert await house.recorder.body() == b"still"


async def test_while_there_is_no_descriptor_left_a_client_waits(
    authority: Authority, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "PAUSE_SECONDS", 0.01)
    async with building() as house:
        host, _, port = (await house.tcps(of(pair))).rpartition(":")
        with socket.socket() as client:
            client.setblocking(False)
            failed = asyncio.Event()

            def tell(logger: object, level: str, event: EventDict) -> EventDict:
                failed.set()
                return event

            with capture_logs(processors=[tell]) as logs, no_descriptors():
                # Not the loop's, which would look the address up, and may have to open files for that.
                client.connect_ex((host, int(port)))
                await failed.wait()
            assert logs[0]["event"] == "a connection could not be accepted"
            client_end = await asyncio.open_connection(sock=client, ssl=authority.trusting(), server_hostname=host)
            async with Socket(*client_end) as connected:
                await connected.write(encode_tcp(b"in"))
                assert await house.recorder.body() == b"in"


@contextmanager
def no_descriptors() -> Iterator[None]:
    """This process cannot open anything within the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, soft), hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)


# --- Another certificate ----------------------------------------------------------------------------------------------


async def test_new_handshakes_use_the_new_certificate_and_open_connections_go_on(
    authority: Authority, tmp_path: Path
) -> None:
    first, second = authority.issue("first"), authority.issue("second")
    certificate = of(first)
    async with building() as house:
        addresses = [await house.tcps(certificate), await house.https(certificate)]
        for address in addresses:
            async with await Socket.to(address, authority.trusting()) as client:
                assert subject(client) == "first"
        async with await Socket.to(addresses[0], authority.trusting()) as old:
            await old.write(encode_tcp(b"in"))
            await house.recorder.body()
            first.become(second)
            certificate.load()
            for address in addresses:
                async with await Socket.to(address, authority.trusting()) as client:
                    assert subject(client) == "second"
            await old.write(encode_tcp(b"still"))
            assert await house.recorder.body() == b"still"


async def test_files_that_cannot_be_used_leave_the_old_certificate_in_force(authority: Authority) -> None:
    pair, other = authority.issue("old"), authority.issue("other")
    certificate = of(pair)
    async with building() as house:
        address = await house.tcps(certificate)
        pair.certificate.write_bytes(other.certificate.read_bytes())
        with pytest.raises(SettingsError, match="does not belong to the certificate"):
            certificate.load()
        pair.key.unlink()
        with pytest.raises(SettingsError, match="cannot be read"):
            certificate.load()
        async with await Socket.to(address, authority.trusting()) as client:
            assert subject(client) == "old"
