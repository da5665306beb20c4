"""Messages that could not be sent: kept, sent again with the same token, dropped, and found again by the next run."""

import json
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from fastim.client import (
    Client,
    ConnectionLost,
    FailedMessage,
    FailedMessagesDamaged,
    Priority,
    Refused,
    SessionEnded,
    connect,
)
from fastim.client.kept import KEPT_MAX
from fastim.wire import messages2_pb2 as pb
from tests.client.fake_server import FakeServer, Peer, acked, evicted, refused
from tests.client.scripts import connected, scripted, take, talking

pytestmark = pytest.mark.anyio


async def give_up(client: Client, text: str, **options: Any) -> None:
    """Send what nobody answers, and stop waiting for it."""
    with anyio.move_on_after(0.02):
        await client.conversation("c1").send(text, **options)


def unconnected(path: Path) -> AbstractAsyncContextManager[Client]:
    """A client that does not get as far as to look for a server."""
    return connect("127.0.0.1:1", app_id="app-under-test", client_id="tom", failed_messages=path)


async def ignore(peer: Peer, count: int = 1) -> list[pb.GenericCommand]:
    return [await peer.expect(pb.direct) for _ in range(count)]


async def test_a_message_that_was_given_up_is_kept_and_sent_again_as_the_same_message() -> None:
    async def script(peer: Peer) -> None:
        (first,) = await ignore(peer)
        again = await peer.expect(pb.direct)
        assert (again.directMessage, again.priority) == (first.directMessage, first.priority)
        assert (again.directMessage.dt, again.priority) == ("mine", Priority.HIGH)
        await peer.send(acked(again, "m7"))

    async with talking(script) as tom:
        await give_up(
            tom,
            "hello",
            mentions=["jerry"],
            mention_all=True,
            receipt=True,
            priority=Priority.HIGH,
            push_data={"alert": "!"},
            token="mine",
        )
        (failed,) = tom.failed
        assert (len(tom.failed), failed in tom.failed) == (1, True)
        assert (failed.conversation_id, failed.token, failed.raw) == ("c1", "mine", b"hello")
        assert failed.why == "it was given up"
        assert failed.failed_at > 1_700_000_000_000
        sent = await tom.failed.resend(failed)
        assert (sent.id, sent.text, sent.mentions, sent.receipt) == ("m7", "hello", ("jerry",), True)
        assert (len(tom.failed), failed in tom.failed) == (0, False)


async def test_a_message_lost_with_every_connection_is_kept_with_the_reason() -> None:
    async def script(server: FakeServer) -> None:
        for _ in range(5):
            peer = await server.accept_session()
            await peer.expect(pb.direct)
            await peer.cut()
        await (await server.accept_session()).say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        with pytest.raises(ConnectionLost) as caught:
            await tom.conversation("c1").send(b"\xff")
        (failed,) = tom.failed
        assert (failed.raw, failed.binary, failed.why) == (b"\xff", True, str(caught.value))
        await take(tom, 10)


async def test_a_message_that_the_end_of_the_session_caught_is_kept() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await peer.expect(pb.direct)
        await peer.send(evicted(4111, "SESSION_CONFLICT"))
        await peer.see_it_go()

    async with scripted(script) as server, connected(server) as tom:
        with pytest.raises(SessionEnded):
            await tom.conversation("c1").send("hello")
        (failed,) = tom.failed
        assert failed.why == "4111 SESSION_CONFLICT"
        with pytest.raises(SessionEnded):
            await tom.failed.resend(failed)
        assert len(tom.failed) == 1


async def test_what_is_refused_or_of_the_moment_is_not_kept() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(refused(await peer.expect(pb.direct), 4401, "INVALID_MESSAGING_TARGET"))
        await ignore(peer, 2)

    async with talking(script) as tom:
        with pytest.raises(Refused):
            await tom.conversation("c1").send("hello")
        await give_up(tom, "typing", transient=True)
        await give_up(tom, "gone", will=True)
        assert list(tom.failed) == []


async def test_sending_with_the_token_of_a_failed_message_settles_it() -> None:
    async def script(peer: Peer) -> None:
        await ignore(peer)
        await peer.send(acked(await peer.expect(pb.direct)))

    async with talking(script) as tom:
        await give_up(tom, "hello", token="mine")
        assert len(tom.failed) == 1
        await tom.conversation("c1").send("hello", token="mine")
        assert len(tom.failed) == 0


async def test_all_are_sent_again_in_order_and_what_is_refused_stays_until_it_is_dropped() -> None:
    async def script(peer: Peer) -> None:
        await ignore(peer, 3)
        for number in range(3):
            request = await peer.expect(pb.direct)
            assert request.directMessage.msg == f"text {number}".encode()
            if number == 1:
                await peer.send(refused(request, 4401, "INVALID_MESSAGING_TARGET"))
            else:
                await peer.send(acked(request, f"m{number}"))

    async with talking(script) as tom:
        for number in range(3):
            await give_up(tom, f"text {number}")
        outcome = await tom.failed.resend_all()
        assert [message.id for message in outcome.sent] == ["m0", "m2"]
        ((poor, refusal),) = outcome.refused
        assert (poor.raw, refusal.code) == (b"text 1", 4401)
        assert list(tom.failed) == [poor]
        await tom.failed.drop(poor)
        await tom.failed.drop(poor)
        assert list(tom.failed) == []


async def test_failed_messages_survive_the_program(tmp_path: Path) -> None:
    path = tmp_path / "failed.json"

    async def fail(peer: Peer) -> None:
        await ignore(peer, 2)

    async with talking(fail, failed_messages=path) as tom:
        assert not path.exists()
        await give_up(tom, "one", push_data={"alert": "!"})
        await give_up(tom, "two")
        kept = list(tom.failed)
    assert path.stat().st_mode & 0o777 == 0o600

    async def serve(peer: Peer) -> None:
        request = await peer.expect(pb.direct)
        assert (request.directMessage.dt, request.directMessage.msg) == (kept[0].token, b"one")
        assert request.directMessage.pushData == '{"alert":"!"}'
        await peer.send(acked(request))

    async with talking(serve, failed_messages=str(path)) as tom:
        assert list(tom.failed) == kept
        await tom.failed.resend(kept[0])

    async def be_there(peer: Peer) -> None:
        pass

    async with talking(be_there, failed_messages=path) as tom:
        assert list(tom.failed) == kept[1:]
        await tom.failed.drop(kept[1])
    async with talking(be_there, failed_messages=path) as tom:
        assert list(tom.failed) == []
    assert [entry.name async for entry in anyio.Path(tmp_path).iterdir()] == ["failed.json"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "truncated"),
        ('{"version": 1, "app_id": "app-under-test", "client_id": "tom", "messages": [', "truncated"),
        ("[]", "Expected `object`, got `array`"),
        ('{"version": 1, "app_id": "app-under-test", "client_id": "tom", "messages": [{}]}', "missing"),
        ('{"version": 2, "app_id": "app-under-test", "client_id": "tom", "messages": []}', "version 2"),
    ],
)
async def test_a_damaged_file_is_a_clear_error_and_stays_as_it_is(tmp_path: Path, content: str, what: str) -> None:
    path = tmp_path / "failed.json"
    path.write_text(content)
    with pytest.raises(FailedMessagesDamaged, match=what) as caught:
        async with unconnected(path):
            pass
    assert str(path) in str(caught.value)
    assert "move it away" in str(caught.value)
    assert path.read_text() == content


async def test_a_file_that_cannot_be_read_or_is_another_client_s_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(FailedMessagesDamaged, match="cannot be read"):
        async with unconnected(tmp_path):
            pass
    path = tmp_path / "failed.json"
    path.write_text(json.dumps({"version": 1, "app_id": "app-under-test", "client_id": "jerry", "messages": []}))
    with pytest.raises(ValueError, match="keeps the messages of jerry"):
        async with unconnected(path):
            pass


async def test_a_message_that_cannot_be_written_is_kept_in_memory_and_the_error_says_so(tmp_path: Path) -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await peer.expect(pb.direct)
        await peer.send(evicted(4111, "SESSION_CONFLICT"))
        await peer.see_it_go()

    path = tmp_path / "no such directory" / "failed.json"
    async with scripted(script) as server, connected(server, failed_messages=path) as tom:
        with pytest.raises(SessionEnded) as caught:
            await tom.conversation("c1").send("hello")
        (note,) = caught.value.__notes__
        assert note.startswith("the message is kept in memory only: ")
        (failed,) = tom.failed
        with pytest.raises(OSError):
            await tom.failed.drop(failed)


async def test_many_that_fail_at_once_are_all_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "failed.json"
    count = 50

    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await ignore(peer, count)
        await peer.send(evicted(4115, "KICKED_BY_APP"))
        await peer.see_it_go()

    async def send(client: Client, number: int) -> None:
        with pytest.raises(SessionEnded):
            await client.conversation("c1").send(f"{number}")

    async with scripted(script) as server, connected(server, failed_messages=path) as tom:
        async with anyio.create_task_group() as tasks:
            for number in range(count):
                tasks.start_soon(send, tom, number)
        assert len(tom.failed) == count
    found = json.loads(path.read_text())["messages"]
    assert len(found) == count


async def test_when_there_are_too_many_the_oldest_go(tmp_path: Path) -> None:
    path = tmp_path / "failed.json"

    async def fail(peer: Peer) -> None:
        await ignore(peer)

    async with talking(fail, failed_messages=path) as tom:
        await give_up(tom, "first")
        (first,) = tom.failed
    stored = json.loads(path.read_text())
    stored["messages"] *= KEPT_MAX
    for number, message in enumerate(stored["messages"]):
        stored["messages"][number] = message | {"token": f"{number}"}
    path.write_text(json.dumps(stored))
    async with talking(fail, failed_messages=path) as tom:
        assert len(tom.failed) == KEPT_MAX
        await give_up(tom, "one more")
        kept: list[FailedMessage] = list(tom.failed)
        assert (len(kept), kept[0].token, kept[-1].raw) == (KEPT_MAX, "1", b"one more")
    assert replace(first, token="1") == kept[0]
