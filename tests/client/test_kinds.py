"""Chat rooms, service conversations and temporary ones, against a scripted server."""

import json
from typing import Any

import pytest

from fastim.client import (
    ChatRoom,
    ConnectionLost,
    Conversation,
    Joined,
    Kind,
    MessageReceived,
    MessagesShed,
    Millis,
    ServiceConversation,
    TemporaryConversation,
)
from fastim.wire import codec
from fastim.wire import messages2_pb2 as pb
from tests.client.fake_server import SERVER_TIME, FakeServer, Peer, answered, delivery, reply
from tests.client.scripts import connected, scripted, take, talking

pytestmark = pytest.mark.anyio


def found(request: pb.GenericCommand, *rows: dict[str, Any]) -> pb.GenericCommand:
    return answered(request, pb.results, pb.ConvCommand(results=pb.JsonObjectMessage(data=json.dumps(rows))))


def history(request: pb.GenericCommand, *ids: str) -> pb.GenericCommand:
    items = [pb.LogItem(msgId=one, timestamp=at, sender="jerry", data=b"text") for at, one in enumerate(ids, 1)]
    return reply(request, cmd=pb.logs, logsMessage=pb.LogsCommand(cid="r1", logs=items))


async def test_a_room_is_created_without_others_and_said_to_be_one() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.conv, pb.start)
        conv = request.convMessage
        assert (list(conv.m), conv.transient) == (["tom"], True)
        assert json.loads(conv.attr.data) == {"name": "Lobby", "attr": {"topic": "cheese"}, "level": 3}
        for name in ("unique", "tempConv"):
            assert not conv.HasField(name)
        await peer.send(answered(request, pb.started, pb.ConvCommand(cid="r1", cdate="2026-01-01T00:00:00.000Z")))

    async with talking(script) as tom:
        room = await tom.create_room(name="Lobby", attributes={"topic": "cheese"}, columns={"level": 3})
        assert (room.id, type(room)) == ("r1", ChatRoom)
        assert room == tom.room("r1") == tom.conversation("r1")


async def test_creating_a_room_is_not_repeated() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await peer.expect(pb.conv, pb.start)
        await peer.cut()
        await (await server.accept_session()).say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        with pytest.raises(ConnectionLost):
            await tom.create_room()
        await take(tom, 2)


async def test_entering_a_room_is_repeated_and_brings_what_was_said_last() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await peer.expect(pb.conv, pb.add)
        await peer.cut()
        peer = await server.accept_session()
        request = await peer.expect(pb.conv, pb.add)
        await peer.send(answered(request, pb.added, pb.ConvCommand(allowedPids=["tom"])))
        request = await peer.expect(pb.logs)
        assert (request.logsMessage.cid, request.logsMessage.limit) == ("r1", 2)
        assert request.logsMessage.direction == pb.LogsCommand.OLD
        await peer.send(history(request, "m1", "m2"))
        request = await peer.expect(pb.conv, pb.count)
        await peer.send(answered(request, pb.result, pb.ConvCommand(count=7)))
        request = await peer.expect(pb.conv, pb.members)
        assert request.convMessage.limit == 3
        await peer.send(answered(request, pb.result, pb.ConvCommand(m=["tom", "jerry"])))
        request = await peer.expect(pb.conv, pb.remove)
        await peer.send(answered(request, pb.removed, pb.ConvCommand(allowedPids=["tom"])))
        await peer.say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        room = tom.room("r1")
        assert [message.id for message in await room.join(recent=2)] == ["m1", "m2"]
        assert await room.count_online() == 7
        assert await room.some_online(3) == ["tom", "jerry"]
        await room.leave()


async def test_a_service_is_subscribed_to_and_left() -> None:
    async def script(peer: Peer) -> None:
        for op, done in ((pb.add, pb.added), (pb.remove, pb.removed)):
            request = await peer.expect(pb.conv, op)
            assert (request.convMessage.cid, list(request.convMessage.m)) == ("s1", ["tom"])
            await peer.send(answered(request, done, pb.ConvCommand(allowedPids=["tom"])))
        request = await peer.expect(pb.conv, pb.is_member)
        results = pb.JsonObjectMessage(data='{"s1": false}')
        await peer.send(answered(request, pb.result, pb.ConvCommand(results=results)))

    async with talking(script) as tom:
        news = tom.service("s1")
        await news.subscribe()
        await news.unsubscribe()
        assert not await news.is_subscribed()


async def test_a_temporary_conversation_knows_its_end_and_is_fetched_in_its_own_way() -> None:
    row = {"objectId": "_tmp:1", "temp": True, "ttl": 60, "createdAt": "2026-01-01T00:00:00.000Z", "m": ["tom"]}

    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.conv, pb.start)
        conv = request.convMessage
        assert (list(conv.m), conv.tempConv, conv.tempConvTTL) == (["jerry", "tom"], True, 60)
        answer = pb.ConvCommand(cid="_tmp:1", cdate="2026-01-01T00:00:00.000Z", tempConvTTL=60)
        await peer.send(answered(request, pb.started, answer))
        request = await peer.expect(pb.conv, pb.start)
        assert not request.convMessage.HasField("tempConvTTL")
        await peer.send(answered(request, pb.started, answer))
        for rows in ([row], [row], []):
            request = await peer.expect(pb.conv, pb.query)
            assert list(request.convMessage.tempConvIds) == ["_tmp:1"]
            assert not request.convMessage.HasField("where")
            await peer.send(found(request, *rows))

    ends_at = 1_767_225_600_000 + 60_000
    async with talking(script) as tom:
        created = await tom.create_temporary(["jerry"], ttl_seconds=60)
        assert (created.id, created.expires_at) == ("_tmp:1", ends_at)
        await tom.create_temporary(["jerry"])
        known = tom.conversation("_tmp:1")
        assert isinstance(known, TemporaryConversation)
        before = known.expires_at
        await known.fetch()
        assert (before, known.expires_at) == (None, ends_at)
        got = await tom.get_conversation("_tmp:1")
        assert isinstance(got, TemporaryConversation)
        assert got.info is not None
        assert (got.info.kind, got.info.ttl_seconds, got.info.expires_at, got.expires_at) == (
            Kind.TEMPORARY,
            60,
            ends_at,
            ends_at,
        )
        with pytest.raises(LookupError, match="_tmp:1"):
            await known.fetch()


async def test_what_a_query_finds_has_the_calls_of_its_kind() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.conv, pb.query)
        assert json.loads(request.convMessage.where.data) == {"tr": True}
        rows: list[dict[str, Any]] = [
            {"objectId": "c1"},
            {"objectId": "r1", "tr": True},
            {"objectId": "s1", "sys": True, "joined": True},
            {"objectId": "s2", "conv_type": 3},
        ]
        await peer.send(found(request, *rows))

    async with talking(script) as tom:
        results = await tom.query({"tr": True})
    assert [type(one) for one in results] == [Conversation, ChatRoom, ServiceConversation, ServiceConversation]
    assert [one.info and (one.info.kind, one.info.subscribed, one.info.expires_at) for one in results] == [
        (Kind.NORMAL, None, None),
        (Kind.CHAT_ROOM, None, None),
        (Kind.SYSTEM, True, None),
        (Kind.SYSTEM, False, None),
    ]


async def test_who_is_too_slow_for_a_room_is_told_what_was_left_out() -> None:
    async def script(peer: Peer) -> None:
        gaps = [codec.encode_gap("r1", shed) for shed in ((0, 7, 1_000), (2, 0, 0))]
        addressed, alone = gaps[0] + codec.recipient("tom"), gaps[1]
        await peer.send(*map(pb.GenericCommand.FromString, (addressed, alone)))

    async with talking(script) as tom:
        assert await take(tom, 2) == [MessagesShed("r1", 0, 7, 1_000), MessagesShed("r1", 2, 0, 0)]


async def test_a_push_that_names_nobody_is_for_the_one_who_is_there() -> None:
    message = delivery("m1")
    conv = pb.ConvCommand(cid="c1", initBy="jerry", udate="2026-01-01T00:00:00.000Z")
    joined = pb.GenericCommand(cmd=pb.conv, op=pb.joined, service=2, serverTs=SERVER_TIME, convMessage=conv)
    message.ClearField("peerId")

    async def script(peer: Peer) -> None:
        await peer.send(message, joined)
        ack = await peer.expect(pb.ack)
        assert (ack.ackMessage.cid, ack.ackMessage.tots) == ("c1", SERVER_TIME)

    async with talking(script) as tom:
        first, second = await take(tom, 2)
    assert isinstance(first, MessageReceived)
    assert (first.message.id, first.message.text) == ("m1", "hello")
    assert second == Joined("c1", "jerry", Millis(SERVER_TIME))
