"""What a client takes up again after a lost connection: missed events, its chat room, whom it watches."""

from typing import Any

import pytest

from fastim.client import (
    ConversationUpdated,
    Disconnected,
    Joined,
    Left,
    MembersJoined,
    Millis,
    PresenceChanged,
    Receipt,
    Reconnected,
    Refused,
    Role,
    RoleChanged,
    RoomLost,
    connect,
)
from fastim.wire import messages2_pb2 as pb
from tests.client.fake_server import (
    SERVER_TIME,
    FakeServer,
    Peer,
    acked,
    answered,
    noticed,
    refused,
    reply,
)
from tests.client.scripts import connected, scripted, take, talking

pytestmark = pytest.mark.anyio


def joined(conversation_id: str, at: int) -> pb.GenericCommand:
    conv = pb.ConvCommand(cid=conversation_id, initBy="jerry")
    return pb.GenericCommand(
        cmd=pb.conv, op=pb.joined, service=2, peerId="tom", serverTs=at, notificationType=1, convMessage=conv
    )


def notice(op: str, at: int, **fields: object) -> dict[str, Any]:
    return {"cmd": "conv", "op": op, "serverTs": at, "notificationType": 1, "cid": "c1", "initBy": "jerry", **fields}


async def asked_notices(peer: Peer) -> pb.GenericCommand:
    return await peer.expect(pb.session, pb.notifications)


async def reopened(server: FakeServer) -> Peer:
    """The next connection, which is asked for notices by hand."""
    peer = await server.accept()
    peer.eventless = False
    await peer.open()
    return peer


# -- what was missed ---------------------------------------------------------------------------------------------------


async def test_missed_events_are_asked_for_and_told_as_if_live() -> None:
    async def script(server: FakeServer) -> None:
        await (await server.accept_session()).cut()
        peer = await reopened(server)
        request = await asked_notices(peer)
        assert request.nativeMessage.since == SERVER_TIME
        await peer.send(
            noticed(
                request,
                notice("joined", 1, udate="2026-01-01T00:00:00.000Z"),
                notice("members_joined", 2, m=["tom", "spike"]),
                notice("updated", 3, attr={"data": '{"attr.a": 1}'}, attrModified={"data": '{"attr": {"a": 1}}'}),
                notice("member_info_changed", 4, info={"pid": "spike", "role": "Manager"}),
                {
                    "cmd": "rcp",
                    "serverTs": 5,
                    "notificationType": 1,
                    "id": "m1",
                    "cid": "c1",
                    "t": 55,
                    "read": True,
                    "from": "jerry",
                },
                notice("left", 6),
                {"cmd": "conv", "op": "members_left", "serverTs": 7, "cid": "c1", "initBy": "x", "m": [], "new": {}},
                {"cmd": "something new", "serverTs": 8},
            )
        )
        await peer.say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        lost, again, *events, _ = await take(tom, 9)
        assert (type(lost), again) == (Disconnected, Reconnected())
        assert events == [
            Joined("c1", "jerry", Millis(1)),
            MembersJoined("c1", ("tom", "spike"), "jerry", Millis(2)),
            ConversationUpdated("c1", {"attr.a": 1}, {"attr": {"a": 1}}, "jerry", Millis(3)),
            RoleChanged("c1", "spike", Role.MANAGER, "jerry", Millis(4)),
            Receipt("c1", "m1", "jerry", Millis(55), read=True),
            Left("c1", "jerry", Millis(6)),
        ]


async def test_an_event_that_was_told_live_is_not_told_again() -> None:
    at = SERVER_TIME + 60_000

    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await peer.send(joined("c1", at))
        await peer.cut()
        peer = await reopened(server)
        await peer.send(joined("c3", at + 100_000))  # live, before what was missed is told
        request = await asked_notices(peer)
        assert request.nativeMessage.since == at - 10_000
        overtaken = notice("joined", at - 1, cid="c2")
        await peer.send(
            noticed(request, overtaken, notice("joined", at), notice("joined", at + 100_000, cid="c3"), overtaken)
        )
        await peer.say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        events = [event for event in await take(tom, 5) if isinstance(event, Joined)]
        assert [event.conversation_id for event in events] == ["c1", "c3", "c2"]
        assert tom.notices_since == at + 100_000


async def test_a_receipt_is_told_once_whatever_time_is_given_for_it() -> None:
    at = SERVER_TIME + 60_000

    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        receipt = pb.RcpCommand(cid="c1", id="m1", t=at - 7, sender="jerry")
        await peer.send(pb.GenericCommand(cmd=pb.rcp, serverTs=at, notificationType=1, rcpMessage=receipt))
        await peer.cut()
        peer = await reopened(server)
        missed = {
            "cmd": "rcp",
            "serverTs": at,
            "notificationType": 1,
            "cid": "c1",
            "id": "m1",
            "t": at,
            "from": "jerry",
        }
        await peer.send(noticed(await asked_notices(peer), missed, missed | {"read": True}))
        await peer.say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        events = [event for event in await take(tom, 4) if isinstance(event, Receipt)]
        assert [(event.read, event.at) for event in events] == [(False, at - 7), (True, at)]


async def test_pages_are_asked_for_while_there_are_more_and_they_get_on() -> None:
    async def script(server: FakeServer) -> None:
        await (await server.accept_session()).cut()
        peer = await reopened(server)
        first = SERVER_TIME + 5
        for since, notices in (
            (SERVER_TIME, [notice("joined", first), notice("left", first + 1)]),
            (first + 1, [notice("joined", first + 2)]),
            (first + 2, [notice("joined", first + 2)]),  # no step further: not asked again
        ):
            request = await asked_notices(peer)
            assert request.nativeMessage.since == since
            await peer.send(noticed(request, *notices, more=True))
        await peer.say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        assert [type(event) for event in await take(tom, 5)] == [Disconnected, Reconnected, Joined, Left, Joined]


async def test_what_was_not_told_when_the_connection_breaks_again_is_asked_for_again() -> None:
    first = SERVER_TIME + 50_000

    async def script(server: FakeServer) -> None:
        await (await server.accept_session()).cut()
        peer = await reopened(server)
        await peer.send(joined("live", SERVER_TIME + 900_000))
        await peer.send(noticed(await asked_notices(peer), notice("joined", first), more=True))
        await asked_notices(peer)
        await peer.cut()
        peer = await reopened(server)
        request = await asked_notices(peer)
        assert request.nativeMessage.since == first
        await peer.send(
            noticed(request, notice("joined", first + 1, cid="c2"), notice("joined", SERVER_TIME + 900_000, cid="live"))
        )
        await peer.say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        events = await take(tom, 7)
        assert [event.conversation_id for event in events if isinstance(event, Joined)] == ["live", "c1", "c2"]


async def test_an_earlier_run_s_mark_is_asked_from_at_once() -> None:
    async def script(server: FakeServer) -> None:
        peer = await reopened(server)
        request = await asked_notices(peer)
        assert request.nativeMessage.since == 77
        await peer.send(noticed(request, notice("joined", 78)))
        await peer.say_goodbye()

    async with (
        scripted(script) as server,
        connect(server.address, app_id="app-under-test", client_id="tom", notices_since=77) as tom,
    ):
        assert await take(tom, 1) == [Joined("c1", "jerry", Millis(78))]
        assert tom.notices_since == 78


async def test_a_server_that_keeps_nothing_is_asked_and_left_in_peace() -> None:
    async def script(server: FakeServer) -> None:
        await (await server.accept_session()).cut()
        peer = await reopened(server)
        await peer.send(refused(await asked_notices(peer), 4200, "INTERNAL_ERROR"))
        await peer.send(joined("c1", SERVER_TIME + 1))
        await peer.say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        assert [type(event) for event in await take(tom, 3)] == [Disconnected, Reconnected, Joined]


@pytest.mark.parametrize(
    "notices",
    ["{", '{"cmd": "conv"}', '[{"cmd": "conv", "op": "joined", "serverTs": "soon"}]', '[{"cmd": "conv", "cid": [1]}]'],
)
async def test_missed_events_that_make_no_sense_cost_the_connection(notices: str) -> None:
    async def script(server: FakeServer) -> None:
        await (await server.accept_session()).cut()
        peer = await reopened(server)
        request = await asked_notices(peer)
        nonsense = pb.NativeCommand(notifications=notices.encode())
        await peer.send(reply(request, cmd=pb.session, op=pb.notifications_result, nativeMessage=nonsense))
        await peer.see_it_go()
        await (await server.accept_session()).say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        _, _, malformed, again = await take(tom, 4)
        assert (malformed, again) == (Disconnected("what the server sent is malformed"), Reconnected())


async def test_who_reads_no_events_asks_for_none() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await peer.expect(pb.direct)
        await peer.cut()
        peer = await reopened(server)
        await peer.send(acked(await peer.expect(pb.direct)))
        await peer.say_goodbye()

    async with scripted(script) as server, connected(server, events_max=0) as tom:
        await tom.conversation("c1").send("hello")


# -- a chat room -------------------------------------------------------------------------------------------------------


async def enter(peer: Peer, room_id: str) -> None:
    request = await peer.expect(pb.conv, pb.add)
    assert (request.convMessage.cid, list(request.convMessage.m)) == (room_id, ["tom"])
    await peer.send(answered(request, pb.added, pb.ConvCommand(allowedPids=["tom"])))


async def test_a_client_enters_its_room_again_each_time() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await enter(peer, "r1")
        await peer.cut()
        peer = await server.accept_session()
        await enter(peer, "r1")
        await peer.cut()
        peer = await server.accept_session()
        await enter(peer, "r1")
        await peer.send(joined("c1", SERVER_TIME))
        await peer.say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        await tom.room("r1").join()
        assert [type(event) for event in await take(tom, 5)] == [Disconnected, Reconnected] * 2 + [Joined]


@pytest.mark.parametrize("partly", [False, True])
async def test_a_room_that_does_not_take_the_client_back_is_lost(partly: bool) -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await enter(peer, "r1")
        await peer.cut()
        peer = await server.accept_session()
        request = await peer.expect(pb.conv, pb.add)
        if partly:
            blocked = pb.ErrorCommand(code=4548, reason="BLOCKED_BY_CONV", pids=["tom"])
            await peer.send(answered(request, pb.added, pb.ConvCommand(failedPids=[blocked])))
        else:
            await peer.send(refused(request, 4548, "BLOCKED_BY_CONV"))
        await peer.cut()
        await (await server.accept_session()).say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        await tom.room("r1").join()
        _, _, lost, *_ = await take(tom, 5)
        assert lost == RoomLost("r1", 4548, "BLOCKED_BY_CONV", "")


async def test_a_room_that_was_left_is_not_entered_again_and_the_last_one_entered_counts() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        request = await peer.expect(pb.conv, pb.start)
        assert request.convMessage.transient
        await peer.send(answered(request, pb.started, pb.ConvCommand(cid="r1", cdate="2026-01-01T00:00:00.000Z")))
        await enter(peer, "r2")
        await peer.cut()
        peer = await server.accept_session()
        await enter(peer, "r2")
        await peer.send(joined("c1", SERVER_TIME))
        request = await peer.expect(pb.conv, pb.remove)
        await peer.send(answered(request, pb.removed, pb.ConvCommand(allowedPids=["tom"])))
        await peer.cut()
        await (await server.accept_session()).say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        await tom.create_room(name="first")
        room = tom.room("r2")
        await room.join()
        await take(tom, 3)
        await room.leave()
        await take(tom, 2)


# -- who is watched ----------------------------------------------------------------------------------------------------


def subscribed(request: pb.GenericCommand, *online: str) -> pb.GenericCommand:
    presence = pb.PresenceCommand(status=pb.on, sessionPeerIds=online)
    return reply(request, cmd=pb.presence, op=pb.subscribed, presenceMessage=presence)


def presence(status: pb.StatusType, *client_ids: str) -> pb.GenericCommand:
    told = pb.PresenceCommand(status=status, sessionPeerIds=client_ids)
    return pb.GenericCommand(cmd=pb.presence, op=pb.status, service=2, peerId="tom", presenceMessage=told)


async def test_watching_says_who_is_online_and_then_who_comes_and_goes() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.presence, pb.subscribe)
        assert list(request.presenceMessage.sessionPeerIds) == ["jerry", "spike"]
        await peer.send(
            subscribed(request, "jerry"),
            presence(pb.on, "spike", "jerry"),  # jerry is no news
            presence(pb.off, "jerry", "spike"),
            presence(pb.off, "spike"),
            presence(pb.on, "nobody asked for"),
        )
        request = await peer.expect(pb.presence, pb.unsubscribe)
        assert list(request.presenceMessage.sessionPeerIds) == ["jerry"]
        await peer.send(
            reply(request, cmd=pb.presence, op=pb.unsubscribed, presenceMessage=pb.PresenceCommand()),
            presence(pb.on, "jerry"),
            presence(pb.on, "spike"),
        )

    async with talking(script) as tom:
        assert await tom.watch(["jerry", "spike", "jerry"]) == {"jerry"}
        assert await take(tom, 2) == [PresenceChanged(("spike",), True), PresenceChanged(("jerry", "spike"), False)]
        await tom.unwatch(["jerry"])
        assert await take(tom, 1) == [PresenceChanged(("spike",), True)]


async def test_after_a_reconnection_those_who_came_or_went_meanwhile_are_told() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await peer.send(subscribed(await peer.expect(pb.presence, pb.subscribe), "jerry", "butch"))
        await peer.cut()
        peer = await server.accept_session()
        request = await peer.expect(pb.presence, pb.subscribe)
        assert list(request.presenceMessage.sessionPeerIds) == ["jerry", "spike", "butch"]
        await peer.send(subscribed(request, "spike", "butch"))
        await peer.say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        await tom.watch(["jerry", "spike", "butch"])
        assert (await take(tom, 4))[2:] == [PresenceChanged(("spike",), True), PresenceChanged(("jerry",), False)]


async def test_a_server_that_will_not_yet_watch_again_is_asked_until_it_does() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await peer.send(subscribed(await peer.expect(pb.presence, pb.subscribe)))
        await peer.cut()
        peer = await server.accept_session()
        for _ in range(2):
            await peer.send(refused(await peer.expect(pb.presence, pb.subscribe), 4200, "INTERNAL_ERROR"))
        await peer.send(subscribed(await peer.expect(pb.presence, pb.subscribe), "jerry"))
        await peer.say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        assert await tom.watch(["jerry"]) == set()
        assert (await take(tom, 3))[2] == PresenceChanged(("jerry",), True)


async def test_many_are_watched_in_requests_that_a_server_takes() -> None:
    names = [f"{number:03}-{'x' * 60}" for number in range(500)]
    asked: list[str] = []

    async def script(peer: Peer) -> None:
        while len(asked) < len(names):
            request = await peer.expect(pb.presence, pb.subscribe)
            assert request.ByteSize() < 4_096
            asked.extend(request.presenceMessage.sessionPeerIds)
            await peer.send(subscribed(request, request.presenceMessage.sessionPeerIds[0]))

    async with talking(script) as tom:
        online = await tom.watch(names)
        assert len(online) == 10
        assert asked == names
        assert await tom.watch([]) == set()
        with pytest.raises(ValueError, match="500"):
            await tom.watch(["one more"])


async def test_watching_that_is_refused_watches_nobody() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await peer.send(refused(await peer.expect(pb.presence, pb.subscribe), 4310, "CONVERSATION_QUERY_FAILED"))
        await peer.cut()
        await (await server.accept_session()).say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        with pytest.raises(Refused, match="4310"):
            await tom.watch(["jerry"])
        await take(tom, 2)
