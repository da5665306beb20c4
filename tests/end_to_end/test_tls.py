"""TLS on a real server: what clients see, what a renewed certificate changes, and what stops a start."""

import json
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio
import pytest
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from fastim.client import ConnectionLost, MessageReceived
from fastim.client import connect as connect_client
from fastim.wire import messages2_pb2 as pb
from tests.authority import Authority, Pair
from tests.end_to_end.clients import QUICK, someone
from tests.end_to_end.raw import Wire, wire
from tests.server_process import ServerProcess

PATIENCE_SECONDS = 20.0
DOORS = ("--tcps", "127.0.0.1:0", "--https", "127.0.0.1:0")

pytestmark = pytest.mark.slow


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.issue("first")


@pytest.fixture
def server(tmp_path: Path, pair: Pair) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "data", *DOORS, *pair.settings) as process:
        yield process
        assert "Traceback" not in process.log, process.log


@asynccontextmanager
async def tls_wire(server: ServerProcess, context: ssl.SSLContext) -> AsyncIterator[Wire]:
    """A connection to the TCP door over TLS."""
    host, port = server.addresses["tcps"]
    async with await anyio.connect_tcp(
        host, port, tls=True, ssl_context=context, tls_standard_compatible=False
    ) as stream:
        yield Wire(stream, server.app_id)


def websocket(server: ServerProcess, context: ssl.SSLContext) -> ClientConnection:
    url = f"wss://localhost:{server.addresses['https'].port}/"
    return connect(url, ssl=context, subprotocols=[Subprotocol("lc.protobuf2.3")], compression=None)


def open_session(client: ClientConnection, server: ServerProcess, name: str) -> pb.GenericCommand:
    session = pb.SessionCommand(configBitmap=187)
    opening = pb.GenericCommand(
        cmd=pb.session, op=pb.open, appId=server.app_id, peerId=name, i=1, sessionMessage=session
    )
    return ask(client, opening)


def ask(client: ClientConnection, command: pb.GenericCommand) -> pb.GenericCommand:
    client.send(command.SerializeToString())
    answer = client.recv(PATIENCE_SECONDS)
    assert isinstance(answer, bytes)
    return pb.GenericCommand.FromString(answer)


def shown(server: ServerProcess, door: str, context: ssl.SSLContext) -> str:
    """The common name in the certificate that a new connection is shown."""
    with (
        socket.create_connection(server.addresses[door], PATIENCE_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        certificate = secured.getpeercert()
    assert certificate is not None
    names = {name: value for ((name, value),) in certificate["subject"]}  # type: ignore[misc,str-unpack]
    return str(names["commonName"])


@pytest.mark.anyio
async def test_people_on_every_door_are_in_one_conversation(server: ServerProcess, authority: Authority) -> None:
    assert server.addresses.keys() == {"tcp", "http", "tcps", "https"}
    tom, jerry, harry = someone("tom"), someone("jerry"), someone("harry")
    with websocket(server, authority.trusting("http/1.1")) as browser:
        assert open_session(browser, server, harry).op == pb.opened
        async with wire(server) as plain, tls_wire(server, authority.trusting()) as secured:
            await plain.open(tom)
            await secured.open(jerry)
            conversation_id = await plain.start(tom, jerry, harry)
            text = b"x" * 5_000
            await plain.send(cmd=pb.direct, i=3, directMessage=pb.DirectCommand(cid=conversation_id, msg=text))
            while (heard := await secured.receive()).cmd != pb.direct:
                pass
            assert heard.directMessage.msg == text
        while (heard := pb.GenericCommand.FromString(browser.recv(PATIENCE_SECONDS, decode=False))).cmd != pb.direct:
            pass
        assert heard.directMessage.msg == text


@pytest.mark.anyio
async def test_the_client_library_comes_over_tls_and_comes_back(server: ServerProcess, authority: Authority) -> None:
    device = partial(
        connect_client, f"localhost:{server.addresses['tcps'].port}", app_id=server.app_id, timing=QUICK, events_max=0
    )
    tom, jerry = someone("tom"), someone("jerry")
    # The same port at the next start, or nobody could come back.
    server.arguments = (*server.arguments, "--tcps", str(server.addresses["tcps"]))
    async with device(client_id=tom, tls=authority.trusting()) as sender:
        async with connect_client(str(server.tcp), app_id=server.app_id, client_id=jerry, timing=QUICK) as reader:
            room = await sender.create_conversation([jerry])
            sent = await room.send("x" * 4_000)
            async for event in reader.events():
                if isinstance(event, MessageReceived):
                    assert event.message.id == sent.id
                    break
        await anyio.to_thread.run_sync(server.restart)
        await room.send("again")
    assert server.terminate() == 0


@pytest.mark.anyio
async def test_the_client_library_does_not_talk_to_a_stranger(
    server: ServerProcess, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    strangers = Authority(tmp_path / "other").trusting()
    for door, context in (("tcps", strangers), ("tcp", authority.trusting())):
        address = f"localhost:{server.addresses[door].port}"
        with pytest.raises(ConnectionLost, match="cannot connect to localhost"):
            async with connect_client(address, app_id=server.app_id, client_id="tom", tls=context, timing=QUICK):
                pass


@pytest.mark.anyio
async def test_the_route_says_wss_and_leads_to_a_websocket(server: ServerProcess, authority: Authority) -> None:
    host, port = server.addresses["https"]
    async with await anyio.connect_tcp(host, port, tls=True, ssl_context=authority.trusting()) as stream:
        head = f"GET /v1/route?appId={server.app_id} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"
        await stream.send(head.encode())
        response = b"".join([piece async for piece in stream])
    url = json.loads(response.partition(b"\r\n\r\n")[2])["server"]
    assert url == f"wss://localhost:{port}/"
    with connect(url, ssl=authority.trusting(), subprotocols=[Subprotocol("lc.protobuf2.3")]) as client:
        assert open_session(client, server, someone("tom")).op == pb.opened


@pytest.mark.anyio
async def test_a_renewed_certificate_is_shown_after_sighup_and_nobody_is_dropped(
    server: ServerProcess, authority: Authority, pair: Pair
) -> None:
    context = authority.trusting()
    with websocket(server, context) as browser:
        open_session(browser, server, someone("harry"))
        async with tls_wire(server, context) as old, wire(server) as plain:
            await old.open(someone("tom"))
            await plain.open(someone("jerry"))
            pair.become(authority.issue("second"))
            assert shown(server, "tcps", context) == "first"
            server.process.send_signal(signal.SIGHUP)
            with anyio.fail_after(PATIENCE_SECONDS):
                while shown(server, "tcps", context) != "second":
                    await anyio.lowlevel.checkpoint()
            assert shown(server, "https", context) == "second"
            for line in (old, plain):
                assert await line.is_quiet()
        assert ask(browser, pb.GenericCommand(cmd=pb.echo, i=7)).cmd == pb.echo


SPOIL = {
    "no key": lambda pair, other: pair.key.unlink(),
    "another key": lambda pair, other: pair.key.write_bytes(other.key.read_bytes()),
    "no certificate": lambda pair, other: pair.certificate.write_text("", encoding="ascii"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("fault", SPOIL)
async def test_files_that_cannot_be_used_are_told_in_the_log_and_change_nothing(
    server: ServerProcess, authority: Authority, pair: Pair, fault: str
) -> None:
    context, good = authority.trusting(), Pair(pair.certificate.with_name("c"), pair.key.with_name("k"))
    good.become(pair)
    async with tls_wire(server, context) as old:
        await old.open(someone("tom"))
        SPOIL[fault](pair, authority.issue("other"))
        server.process.send_signal(signal.SIGHUP)
        with anyio.fail_after(PATIENCE_SECONDS):
            while "the certificate was not reloaded" not in server.log:
                assert shown(server, "tcps", context) == "first"
                await anyio.lowlevel.checkpoint()
        (said,) = [line for line in server.log.splitlines() if '"level": "error"' in line]
        assert json.loads(said)["reason"].startswith(("tls.key: ", "tls.certificate: "))
        assert shown(server, "https", context) == "first"
        assert await old.is_quiet()
        # The next attempt is as good as the first.
        pair.become(authority.issue("third"))
        server.process.send_signal(signal.SIGHUP)
        with anyio.fail_after(PATIENCE_SECONDS):
            while shown(server, "tcps", context) != "third":
                await anyio.lowlevel.checkpoint()
        assert await old.is_quiet()


@pytest.mark.parametrize("fault", SPOIL)
def test_files_that_cannot_be_used_stop_the_start_with_one_line(
    tmp_path: Path, authority: Authority, pair: Pair, fault: str
) -> None:
    SPOIL[fault](pair, authority.issue("other"))
    command = ServerProcess(tmp_path / "data", *DOORS, *pair.settings).command()
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(("fastim: tls.key: ", "fastim: tls.certificate: "))
    assert ended.stderr.count("\n") == 1


def test_an_expired_certificate_is_used_with_a_warning(tmp_path: Path, authority: Authority) -> None:
    expired = authority.issue("expired", not_after=datetime(2001, 1, 1, tzinfo=UTC))
    with ServerProcess(tmp_path / "data", *DOORS, *expired.settings) as server:
        (warned,) = [line for line in server.log.splitlines() if '"level": "warning"' in line]
        assert "the certificate has expired" in warned
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            shown(server, "tcps", authority.trusting())


@pytest.mark.anyio
async def test_a_stopping_server_says_goodbye_over_tls_too(server: ServerProcess, authority: Authority) -> None:
    async with tls_wire(server, authority.trusting()) as line:
        await line.open(someone("tom"))
        server.process.send_signal(signal.SIGTERM)
        assert (await line.parting())[0] == 1001
    assert server.process.wait(PATIENCE_SECONDS) == 0


@pytest.mark.parametrize("signals", [1, 3])
def test_sighup_without_tls_ends_nothing(tmp_path: Path, signals: int) -> None:
    with ServerProcess(tmp_path) as server:
        for _ in range(signals):
            server.process.send_signal(signal.SIGHUP)
        assert server.terminate() == 0
        assert "nothing to reload" in server.log


def test_the_doors_may_be_tls_only(tmp_path: Path, authority: Authority, pair: Pair) -> None:
    words = ["--data", str(tmp_path / "data"), "--tcp", "", "--http", "", *DOORS, *pair.settings]
    command = [sys.executable, "-m", "fastim", "serve", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            ready = process.stdout.readline().split()
            assert [word.partition("=")[0] for word in ready] == ["fastim", "ready", "tcps", "https"]
        finally:
            process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0
