"""Opening, losing and getting back a session, against a scripted server."""

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from fastim.client import (
    Client,
    ClientClosed,
    ConnectionLost,
    Disconnected,
    Ended,
    MessageReceived,
    Reconnected,
    Refused,
    SessionEnded,
    UnexpectedReply,
    UnreadChanged,
    connect,
)
from fastim.wire import messages2_pb2 as pb
from tests.client.fake_server import (
    QUICK,
    SERVER_TIME,
    FakeServer,
    Peer,
    acked,
    answered,
    delivery,
    echoed,
    evicted,
    fake_server,
    opened,
    parting,
    refused,
    reply,
    unread,
)
from tests.client.scripts import connected, rest, scripted, take

pytestmark = pytest.mark.anyio

# -- opening -----------------------------------------------------------------------------------------------------------


async def test_the_first_opening_says_who_and_on_what_device() -> None:
    requests: list[pb.GenericCommand] = []

    async def script(server: FakeServer) -> None:
        peer = await server.accept()
        requests.append(await peer.open())
        await peer.say_goodbye()

    async with (
        scripted(script) as server,
        connect(
            server.address, app_id="app-under-test", client_id="tom", tag="Mobile", device="phone", unread_since=77
        ) as tom,
    ):
        assert (tom.id, tom.token) == ("tom", "token-1")

    (request,) = requests
    assert (request.appId, request.peerId) == ("app-under-test", "tom")
    session = request.sessionMessage
    assert (session.tag, session.deviceId, session.r, session.lastUnreadNotifTime) == ("Mobile", "phone", False, 77)
    assert session.configBitmap == 1 + 2 + 8 + 16 + 32 + 128 + (1 << 32)
    assert not session.HasField("st")
    assert not session.HasField("lastPatchTime")


async def test_an_opening_without_a_device_is_a_device_of_its_own() -> None:
    devices: list[str] = []

    async def script(server: FakeServer) -> None:
        for _ in range(2):
            peer = await server.accept()
            devices.append((await peer.open()).sessionMessage.deviceId)
            await peer.say_goodbye()

    async with scripted(script) as server:
        for _ in range(2):
            async with connect(server.address, app_id="app-under-test", client_id="tom"):
                pass

    assert all(devices)
    assert devices[0] != devices[1]


async def test_a_kept_token_opens_the_session_and_does_not_push_another_out_when_told_so() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept()
        request = await peer.open()
        assert (request.sessionMessage.st, request.sessionMessage.r) == ("kept", True)
        await peer.say_goodbye()

    async with (
        scripted(script) as server,
        connect(server.address, app_id="app-under-test", client_id="tom", token="kept", reconnect=True),
    ):
        pass


async def test_a_token_that_is_too_old_gives_way_to_an_opening_without() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept()
        request = await peer.expect(pb.session, pb.open)
        await peer.send(refused(request, 4112, "SESSION_TOKEN_EXPIRED"))
        request = await peer.open("fresh")
        assert not request.sessionMessage.HasField("st")
        await peer.say_goodbye()

    async with (
        scripted(script) as server,
        connect(server.address, app_id="app-under-test", client_id="tom", token="stale") as tom,
    ):
        assert tom.token == "fresh"


async def test_an_opening_that_is_refused_raises() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept()
        request = await peer.expect(pb.session, pb.open)
        await peer.send(refused(request, 4103, "INVALID_LOGIN", "too long"))
        await peer.see_it_go()

    async with scripted(script) as server:
        with pytest.raises(Refused) as caught:
            async with connected(server):
                pass
    assert (caught.value.code, caught.value.reason, caught.value.detail) == (4103, "INVALID_LOGIN", "too long")
    assert str(caught.value) == "4103 INVALID_LOGIN: too long"


async def test_an_expired_token_is_not_answered_twice() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept()
        for _ in range(2):
            request = await peer.expect(pb.session, pb.open)
            await peer.send(refused(request, 4112, "SESSION_TOKEN_EXPIRED"))
        await peer.see_it_go()

    async with scripted(script) as server:
        with pytest.raises(Refused, match="4112"):
            async with connect(server.address, app_id="app-under-test", client_id="tom", token="stale"):
                pass


async def test_no_server_at_the_address_raises() -> None:
    async with fake_server() as server:
        address = server.address
    with pytest.raises(ConnectionLost, match="cannot connect to"):
        async with connect(address, app_id="app-under-test", client_id="tom"):
            pass


async def test_a_server_that_hangs_up_before_the_session_is_open_raises() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept()
        await peer.expect(pb.session, pb.open)
        await peer.cut()

    async with scripted(script) as server:
        with pytest.raises(ConnectionLost):
            async with connected(server):
                pass


async def test_a_server_that_answers_something_else_raises() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept()
        await peer.send(echoed(await peer.expect(pb.session, pb.open)))
        await peer.see_it_go()

    async with scripted(script) as server:
        with pytest.raises(UnexpectedReply):
            async with connected(server):
                pass


async def test_a_server_that_never_answers_raises() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept()
        await peer.see_it_go()

    async with scripted(script) as server:
        with pytest.raises(ConnectionLost, match="no reply within"):
            async with connected(server, replace(QUICK, reply_seconds=0.05)):
                pass


@pytest.mark.parametrize(
    "address", ["", "localhost", "localhost:", ":4567", "localhost:0", "localhost:70000", "::1:4567"]
)
async def test_an_address_that_cannot_be_is_a_value_error(address: str) -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        async with connect(address, app_id="app-under-test", client_id="tom"):
            pass


async def test_an_ipv6_address_is_given_in_brackets() -> None:
    listener = await anyio.create_tcp_listener(local_host="::1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)

    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            peer = Peer(stream)
            await peer.open()
            await peer.say_goodbye()

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        async with connect(f"[::1]:{port}", app_id="app-under-test", client_id="tom") as tom:
            assert tom.token == "token-1"
        tasks.cancel_scope.cancel()


# -- closing -----------------------------------------------------------------------------------------------------------


async def test_an_error_in_the_block_comes_out_as_it_is_after_a_goodbye() -> None:
    async def script(server: FakeServer) -> None:
        await (await server.accept_session()).say_goodbye()

    async with scripted(script) as server:
        with pytest.raises(ZeroDivisionError):
            async with connected(server):
                raise ZeroDivisionError


async def test_a_cancelled_block_still_says_goodbye() -> None:
    async def script(server: FakeServer) -> None:
        await (await server.accept_session()).say_goodbye()

    async with scripted(script) as server:
        with anyio.CancelScope() as scope:
            async with connected(server):
                scope.cancel()
                await anyio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_server_that_does_not_answer_the_goodbye_is_not_waited_for_long() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await peer.see_it_go()

    async with scripted(script) as server:
        with anyio.fail_after(2):
            async with connected(server, replace(QUICK, close_seconds=0.05)):
                pass


async def test_after_close_the_events_that_came_can_still_be_read_and_calls_raise() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        request = await peer.expect(pb.session, pb.close)
        done = reply(request, cmd=pb.session, op=pb.closed, sessionMessage=pb.SessionCommand())
        await peer.send(delivery("m1"), done)
        await peer.see_it_go()

    async with scripted(script) as server, connected(server) as tom:
        await tom.close()
        assert [type(event) for event in await rest(tom)] == [MessageReceived]
        with pytest.raises(ClientClosed):
            await tom.conversation("c1").send("too late")
        await tom.close()


async def test_nobody_is_said_goodbye_to_while_there_is_no_connection() -> None:
    async with fake_server() as server, anyio.create_task_group() as tasks:

        async def script() -> None:
            await (await server.accept_session()).cut()

        tasks.start_soon(script)
        with anyio.fail_after(2):
            async with connected(server, replace(QUICK, retry_seconds=60, retry_seconds_max=60)) as tom:
                (lost,) = await take(tom, 1)
                assert isinstance(lost, Disconnected)


# -- coming back -------------------------------------------------------------------------------------------------------


async def test_a_lost_connection_is_followed_by_a_reopening_with_the_token() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session("token-1")
        await peer.send(unread(3, at=555))
        await peer.cut()
        peer = await server.accept()
        request = await peer.expect(pb.session, pb.open)
        session = request.sessionMessage
        assert (session.st, session.r, session.deviceId) == ("token-1", True, "phone")
        assert session.lastUnreadNotifTime == 555
        await peer.send(opened(request, "token-2"), unread(4, at=556, mentioned=True))
        await peer.say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        before, lost, again, after = await take(tom, 4)
        assert isinstance(before, UnreadChanged)
        assert before.count == 3
        assert lost == Disconnected("the server closed the connection")
        assert again == Reconnected()
        assert isinstance(after, UnreadChanged)
        assert (after.count, after.mentioned) == (4, True)
        assert after.last_message is not None
        assert after.last_message.text == "last"
        assert (tom.token, tom.unread_since) == ("token-2", 556)


async def test_attempts_go_on_until_a_server_is_there() -> None:
    async def script(server: FakeServer) -> None:
        await (await server.accept_session()).cut()
        for _ in range(3):
            await (await server.accept()).cut()
        peer = await server.accept()
        request = await peer.expect(pb.session, pb.open)
        await peer.send(refused(request, 4200, "INTERNAL_ERROR"))
        await (await server.accept_session()).say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        assert [type(event) for event in await take(tom, 2)] == [Disconnected, Reconnected]


async def test_a_token_refused_at_the_reopening_gives_way_to_an_opening_without() -> None:
    async def script(server: FakeServer) -> None:
        await (await server.accept_session("old")).cut()
        peer = await server.accept()
        request = await peer.expect(pb.session, pb.open)
        assert request.sessionMessage.st == "old"
        await peer.send(refused(request, 4112, "SESSION_TOKEN_EXPIRED"))
        request = await peer.open("new")
        assert not request.sessionMessage.HasField("st")
        assert request.sessionMessage.r
        await peer.say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        await take(tom, 2)
        assert tom.token == "new"


async def test_a_message_without_an_ack_is_sent_again_with_the_same_token() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        first = await peer.expect(pb.direct)
        await peer.cut()
        peer = await server.accept_session()
        second = await peer.expect(pb.direct)
        assert second.directMessage.dt == first.directMessage.dt != ""
        assert second.directMessage.msg == first.directMessage.msg
        await peer.send(acked(second, "m7", SERVER_TIME + 7))
        await peer.say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        sent = await tom.conversation("c1").send("hello")
    assert (sent.id, sent.timestamp, sent.sender, sent.body) == ("m7", SERVER_TIME + 7, "tom", "hello")


async def test_what_does_no_harm_twice_is_asked_again() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await peer.expect(pb.conv, pb.start)
        await peer.cut()
        peer = await server.accept_session()
        request = await peer.expect(pb.conv, pb.start)
        await peer.send(answered(request, pb.started, pb.ConvCommand(cid="c1", cdate="2026-01-01T00:00:00.000Z")))
        await peer.expect(pb.read)
        await peer.expect(pb.echo)
        await peer.cut()
        peer = await server.accept_session()
        mark = await peer.expect(pb.read)
        assert [one.cid for one in mark.readMessage.convs] == ["c1"]
        await peer.send(echoed(await peer.expect(pb.echo)))
        await peer.say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        room = await tom.create_conversation(["jerry"], unique=True)
        assert room.id == "c1"
        await room.mark_read()


Call = Callable[[Client], Coroutine[Any, Any, object]]


@pytest.mark.parametrize(
    "call",
    [
        lambda tom: tom.create_conversation(["jerry"]),
        lambda tom: tom.conversation("c1").add(["jerry"]),
        lambda tom: tom.conversation("c1").remove(["jerry"]),
        lambda tom: tom.conversation("c1").join(),
        lambda tom: tom.conversation("c1").leave(),
        lambda tom: tom.conversation("c1").update({"name": "x"}),
        lambda tom: tom.conversation("c1").send("typing", transient=True),
    ],
    ids=["create", "add", "remove", "join", "leave", "update", "transient"],
)
async def test_what_might_do_harm_twice_is_not_asked_again(call: Call) -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await peer.receive()
        await peer.cut()
        await (await server.accept_session()).say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        with pytest.raises(ConnectionLost, match="the server closed the connection"):
            await call(tom)
        assert [type(event) for event in await take(tom, 2)] == [Disconnected, Reconnected]


async def test_what_is_asked_while_there_is_no_connection_waits_for_one() -> None:
    async def script(server: FakeServer) -> None:
        await (await server.accept_session()).cut()
        peer = await server.accept_session()
        request = await peer.expect(pb.conv, pb.add)
        await peer.send(answered(request, pb.added, pb.ConvCommand(allowedPids=["jerry"])))
        await peer.say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        await take(tom, 1)
        assert (await tom.conversation("c1").add(["jerry"])).allowed == ("jerry",)


async def test_a_message_that_breaks_every_connection_is_given_up() -> None:
    async def script(server: FakeServer) -> None:
        for _ in range(5):
            peer = await server.accept_session()
            await peer.expect(pb.direct)
            await peer.cut()
        await (await server.accept_session()).say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        with pytest.raises(ConnectionLost):
            await tom.conversation("c1").send("poison")
        await take(tom, 10)


async def test_a_message_for_which_the_server_hangs_up_is_refused() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await peer.expect(pb.direct)
        await peer.send(parting(4109, "FRAME_TOO_LONG"))
        await peer.cut()
        await (await server.accept_session()).say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        with pytest.raises(Refused, match=r"^4109 FRAME_TOO_LONG$") as caught:
            await tom.conversation("c1").send("x" * 100_000)
        assert caught.value.code == 4109
        await take(tom, 2)


@pytest.mark.parametrize(
    "noise",
    [b"\x00\x00\x00\x03\xff\xff\xff", b"\xff\xff\xff\xff"],
    ids=["not protobuf", "a frame of 4 GiB"],
)
async def test_a_server_that_talks_nonsense_is_left_and_tried_again(noise: bytes) -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await peer.stream.send(noise)
        await peer.see_it_go()
        await (await server.accept_session()).say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        assert await take(tom, 2) == [Disconnected("what the server sent is not a command"), Reconnected()]


async def test_a_push_that_is_malformed_is_as_good_as_nonsense() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        conv = pb.ConvCommand(cid="c1", attr=pb.JsonObjectMessage(data="{not json"))
        await peer.send(pb.GenericCommand(cmd=pb.conv, op=pb.updated, service=2, convMessage=conv))
        await peer.see_it_go()
        await (await server.accept_session()).say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        assert await take(tom, 2) == [Disconnected("what the server sent is malformed"), Reconnected()]


async def test_a_server_that_parts_during_the_first_opening_is_heard() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept()
        await peer.send(parting(4100, "APP_NOT_AVAILABLE"))
        await peer.see_it_go()

    async with scripted(script) as server:
        with pytest.raises(Refused, match="4100"):
            async with connected(server):
                pass


async def test_a_command_is_understood_however_its_bytes_are_cut() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        body = delivery("m1").SerializeToString()
        for byte in len(body).to_bytes(4) + body:
            await peer.stream.send(bytes([byte]))
        await peer.send(*(delivery(f"m{number}") for number in range(2, 5)))
        await peer.see_it_go()

    async with scripted(script) as server, connected(server, replace(QUICK, close_seconds=0.05)) as tom:
        ids = [event.message.id for event in await take(tom, 4) if isinstance(event, MessageReceived)]
    assert ids == ["m1", "m2", "m3", "m4"]


# -- the end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "reason"), [(4111, "SESSION_CONFLICT"), (4115, "KICKED_BY_APP")])
async def test_a_session_ended_by_the_server_does_not_come_back(code: int, reason: str) -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await peer.expect(pb.direct)
        await peer.send(evicted(code, reason))
        await peer.see_it_go()

    async with scripted(script) as server, connected(server) as tom:
        with pytest.raises(SessionEnded) as caught:
            await tom.conversation("c1").send("hello")
        assert (caught.value.code, caught.value.reason) == (code, reason)
        assert await rest(tom) == [Ended(code, reason, "")]
        with pytest.raises(SessionEnded):
            await tom.query()


async def test_a_reopening_that_is_in_conflict_ends_the_session() -> None:
    async def script(server: FakeServer) -> None:
        await (await server.accept_session()).cut()
        peer = await server.accept()
        request = await peer.expect(pb.session, pb.open)
        await peer.send(refused(request, 4111, "SESSION_CONFLICT"))
        await peer.see_it_go()

    async with scripted(script) as server, connected(server) as tom:
        assert [type(event) for event in await rest(tom)] == [Disconnected, Ended]
        with pytest.raises(SessionEnded, match="4111"):
            await tom.query()


async def test_a_parting_word_for_good_ends_the_session_and_one_for_now_does_not() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await peer.send(parting(4107, "READ_TIMEOUT"))
        await peer.see_it_go()
        peer = await server.accept_session()
        await peer.send(parting(4106, "BLACKLISTED"))
        await peer.see_it_go()

    async with scripted(script) as server, connected(server) as tom:
        assert await rest(tom) == [
            Disconnected("4107 READ_TIMEOUT"),
            Reconnected(),
            Ended(4106, "BLACKLISTED", ""),
        ]


# -- going away, heartbeats --------------------------------------------------------------------------------------------


async def test_a_server_that_goes_away_first_answers_what_is_under_way() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        request = await peer.expect(pb.conv, pb.add)
        await peer.send(pb.GenericCommand(cmd=pb.goaway, service=2))
        await peer.send(answered(request, pb.added, pb.ConvCommand(allowedPids=["jerry"])))
        await peer.see_it_go()
        await (await server.accept_session()).say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        assert (await tom.conversation("c1").add(["jerry"])).allowed == ("jerry",)
        assert await take(tom, 2) == [Disconnected("the server is going away"), Reconnected()]


async def test_what_is_asked_of_a_server_that_goes_away_is_asked_of_the_next() -> None:
    goes_away = anyio.Event()

    async def script(server: FakeServer) -> None:
        old = await server.accept_session()
        slow = await old.expect(pb.conv, pb.add)
        await old.send(pb.GenericCommand(cmd=pb.goaway, service=2), delivery("m1"))
        await goes_away.wait()
        await old.send(answered(slow, pb.added, pb.ConvCommand(allowedPids=["jerry"])))
        await old.see_it_go()
        new = await server.accept_session()
        await new.send(acked(await new.expect(pb.direct)))
        await new.say_goodbye()

    async with scripted(script) as server, connected(server) as tom, anyio.create_task_group() as tasks:
        tasks.start_soon(tom.conversation("c1").add, ["jerry"])
        await take(tom, 1)
        tasks.start_soon(tom.conversation("c1").send, "hello")
        await anyio.wait_all_tasks_blocked()
        goes_away.set()


async def test_heartbeats_are_echoes() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        for _ in range(3):
            request = await peer.expect(pb.echo)
            assert request.HasField("i")
            await peer.send(echoed(request))
        await peer.send(delivery("m1"))
        await peer.see_it_go()

    async with (
        scripted(script) as server,
        connected(server, replace(QUICK, heartbeat_seconds=0.01, close_seconds=0.05)) as tom,
    ):
        assert [type(event) for event in await take(tom, 1)] == [MessageReceived]


async def test_a_heartbeat_without_an_answer_means_that_the_connection_is_dead() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await peer.expect(pb.echo)
        await peer.see_it_go()
        await (await server.accept()).open()

    timing = replace(QUICK, heartbeat_seconds=0.05, reply_seconds=0.05, close_seconds=0.05)
    async with scripted(script) as server, connected(server, timing) as tom:
        assert await take(tom, 2) == [Disconnected("no reply within 0.05 s"), Reconnected()]


async def test_a_call_that_was_cancelled_disturbs_no_other() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        first = await peer.expect(pb.direct)
        second = await peer.expect(pb.direct)
        await peer.send(acked(first, "m1"), acked(second, "m2"))
        await peer.say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        with anyio.move_on_after(0.02):
            await tom.conversation("c1").send("first")
        assert (await tom.conversation("c1").send("second")).id == "m2"


async def test_replies_find_their_requests_in_whatever_order_they_come() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        requests = [await peer.expect(pb.direct) for _ in range(10)]
        await peer.send(*(acked(request, request.directMessage.msg.decode()) for request in reversed(requests)))
        await peer.say_goodbye()

    got: dict[str, str] = {}

    async with scripted(script) as server, connected(server) as tom:

        async def send(text: str) -> None:
            got[text] = (await tom.conversation("c1").send(text)).id

        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(send, f"text {number}")
    assert got == {f"text {number}": f"text {number}" for number in range(10)}


# -- events, acks and a slow reader ------------------------------------------------------------------------------------


async def test_messages_that_arrive_together_are_acknowledged_together() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await peer.send(delivery("m1", 100), delivery("m2", 101), delivery("m3", 105))
        ack = (await peer.expect(pb.ack)).ackMessage
        assert (ack.cid, ack.fromts, ack.tots) == ("c1", 100, 105)
        await peer.say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        await take(tom, 3)


async def test_transient_messages_own_messages_and_those_of_chat_rooms_are_not_acknowledged() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await peer.send(
            delivery("m1", msg=b"typing", transient=True),
            delivery("m2", msg=b"mine", fromPeerId="tom"),
            delivery("m3", msg=b"noise", convType=2),
        )
        await peer.say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        await take(tom, 3)


async def test_a_slow_reader_stops_the_reading_of_its_socket_and_gets_everything_in_the_end() -> None:
    count, body = 40, b"x" * 500_000
    sent: list[int] = []

    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        for number in range(count):
            await peer.send(delivery(f"m{number}", SERVER_TIME + number, msg=body))
            sent.append(number)
        await peer.see_it_go()

    async with (
        scripted(script) as server,
        connected(server, replace(QUICK, close_seconds=0.05), events_max=3) as tom,
    ):
        await anyio.wait_all_tasks_blocked()
        assert len(sent) < count
        ids = [event.message.id for event in await take(tom, count) if isinstance(event, MessageReceived)]
    assert ids == [f"m{number}" for number in range(count)]


async def test_a_request_is_answered_though_nobody_reads_the_events_before_the_reply() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await peer.send(*(delivery(f"m{number}", SERVER_TIME + number) for number in range(10)))
        while (command := await peer.receive()).cmd == pb.ack:
            pass
        await peer.send(*(delivery(f"m{number}", SERVER_TIME + number) for number in range(10, 20)), acked(command))
        await peer.see_it_go()

    async with (
        scripted(script) as server,
        connected(server, replace(QUICK, close_seconds=0.05), events_max=2) as tom,
    ):
        await tom.conversation("c1").send("hello")
        ids = [event.message.id for event in await take(tom, 20) if isinstance(event, MessageReceived)]
    assert ids == [f"m{number}" for number in range(20)]


async def test_a_client_that_wants_no_events_keeps_none_and_acknowledges_nothing() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept()
        request = await peer.open()
        assert request.sessionMessage.configBitmap == 2 + 8 + 32 + 128 + (1 << 32)
        await peer.send(delivery("m1"), delivery("m2"))
        await peer.send(acked(await peer.expect(pb.direct)))
        await peer.say_goodbye()

    async with scripted(script) as server, connected(server, events_max=0) as tom:
        await tom.conversation("c1").send("hello")
        await tom.close()
        assert await rest(tom) == []
