"""What calls say to the server and what they make of its answers, against a scripted server."""

import json
from base64 import b64encode
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from fastim.client import (
    Conversation,
    ConversationUpdated,
    Joined,
    Left,
    MembersJoined,
    MembersLeft,
    Message,
    MessageReceived,
    Millis,
    Position,
    Priority,
    Receipt,
    Refused,
    UnexpectedReply,
)
from fastim.wire import messages2_pb2 as pb
from tests.client.fake_server import (
    SERVER_TIME,
    Peer,
    acked,
    answered,
    delivery,
    echoed,
    refused,
    reply,
)
from tests.client.scripts import talking

pytestmark = pytest.mark.anyio


def place_of(logs: pb.LogsCommand) -> tuple[Position | None, Position | None]:
    start = Position(Millis(logs.t), logs.mid) if logs.HasField("t") else None
    end = Position(Millis(logs.tt), logs.tmid) if logs.HasField("tt") else None
    return start, end


# -- sending -----------------------------------------------------------------------------------------------------------


async def test_text_bytes_and_objects_are_sent_as_what_they_are() -> None:
    async def script(peer: Peer) -> None:
        text = await peer.expect(pb.direct)
        assert (text.directMessage.cid, text.directMessage.msg) == ("c1", "héllo".encode())
        assert not text.directMessage.HasField("binaryMsg")
        await peer.send(acked(text, "m1"))
        binary = await peer.expect(pb.direct)
        assert binary.directMessage.binaryMsg == b"\xff\x00"
        assert not binary.directMessage.HasField("msg")
        await peer.send(acked(binary, "m2"))
        typed = await peer.expect(pb.direct)
        assert json.loads(typed.directMessage.msg) == {"_lctype": -1, "_lctext": "hi"}
        await peer.send(acked(typed, "m3"))

    async with talking(script) as tom:
        room = tom.conversation("c1")
        text = await room.send("héllo")
        assert (text.id, text.body, text.binary, text.conversation_id) == ("m1", "héllo", False, "c1")
        binary = await room.send(b"\xff\x00")
        assert (binary.body, binary.binary) == (b"\xff\x00", True)
        typed = await room.send({"_lctype": -1, "_lctext": "hi"})
        assert typed.json() == {"_lctype": -1, "_lctext": "hi"}


async def test_what_is_not_asked_for_is_not_on_the_wire() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.direct)
        for name in ("mentionAll", "r", "transient", "will", "pushData", "fromPeerId"):
            assert not request.directMessage.HasField(name)
        assert not request.HasField("peerId")
        await peer.send(acked(request))

    async with talking(script) as tom:
        await tom.conversation("c1").send("plain")


async def test_options_of_a_message_are_on_the_wire() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.direct)
        direct = request.directMessage
        assert (list(direct.mentionPids), direct.mentionAll, direct.r) == (["jerry", "spike"], True, True)
        assert (direct.transient, direct.dt, request.priority) == (True, "mine", 1)
        await peer.send(acked(request))

    async with talking(script) as tom:
        sent = await tom.conversation("c1").send(
            "hey",
            mentions=(name for name in ("jerry", "spike")),
            mention_all=True,
            receipt=True,
            transient=True,
            priority=Priority.HIGH,
            token="mine",
        )
    assert sent == Message(
        id="m1",
        conversation_id="c1",
        sender="tom",
        timestamp=Millis(SERVER_TIME),
        raw=b"hey",
        mentions=("jerry", "spike"),
        mention_all=True,
        transient=True,
        receipt=True,
    )


async def test_each_message_has_a_token_of_its_own() -> None:
    tokens: list[str] = []

    async def script(peer: Peer) -> None:
        for _ in range(2):
            request = await peer.expect(pb.direct)
            tokens.append(request.directMessage.dt)
            await peer.send(acked(request))

    async with talking(script) as tom:
        await tom.conversation("c1").send("once")
        await tom.conversation("c1").send("once")
    assert all(tokens)
    assert tokens[0] != tokens[1]


async def test_a_message_that_is_refused_raises_with_what_a_hook_had_to_say() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.direct)
        ack = pb.AckCommand(code=4402, reason="MESSAGE_REJECTED_BY_APP", appCode=77, appMsg="be nice")
        await peer.send(reply(request, cmd=pb.ack, ackMessage=ack))

    async with talking(script) as tom:
        with pytest.raises(Refused, match="4402 MESSAGE_REJECTED_BY_APP: be nice") as caught:
            await tom.conversation("c1").send("rude")
    assert (caught.value.code, caught.value.app_code, caught.value.app_message) == (4402, 77, "be nice")


# -- reading -----------------------------------------------------------------------------------------------------------


async def test_a_read_mark_is_followed_by_an_echo_that_proves_its_arrival() -> None:
    async def script(peer: Peer) -> None:
        everything = await peer.expect(pb.read)
        (mark,) = everything.readMessage.convs
        assert mark.cid == "c1"
        assert not mark.HasField("timestamp")
        assert not everything.HasField("i")
        await peer.send(echoed(await peer.expect(pb.echo)))
        (mark,) = (await peer.expect(pb.read)).readMessage.convs
        assert (mark.timestamp, mark.mid) == (55, "m5")
        await peer.send(echoed(await peer.expect(pb.echo)))
        (mark,) = (await peer.expect(pb.read)).readMessage.convs
        assert mark.timestamp == 66
        assert not mark.HasField("mid")
        await peer.send(echoed(await peer.expect(pb.echo)))

    async with talking(script) as tom:
        room = tom.conversation("c1")
        await room.mark_read()
        await room.mark_read(Position(Millis(55), "m5"))
        await room.mark_read(66)


async def test_a_page_of_history_asks_for_what_it_was_told_to() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.logs)
        logs = request.logsMessage
        assert (logs.cid, logs.limit, logs.direction) == ("c1", 20, pb.LogsCommand.OLD)
        assert place_of(logs) == (None, None)
        assert not logs.HasField("lctype")
        items = [
            pb.LogItem(msgId="m1", timestamp=1, sender="jerry", data=b"text", mentionPids=["tom"], mentionAll=True),
            pb.LogItem(msgId="m2", timestamp=2, sender="jerry", data=b64encode(b"\x00\xff"), bin=True),
        ]
        await peer.send(reply(request, cmd=pb.logs, logsMessage=pb.LogsCommand(cid="c1", logs=items)))

        request = await peer.expect(pb.logs)
        logs = request.logsMessage
        assert place_of(logs) == (Position(Millis(30), "m3"), Position(Millis(10), ""))
        assert (logs.direction, logs.tIncluded, logs.ttIncluded) == (pb.LogsCommand.OLD, False, True)
        assert (logs.limit, logs.lctype) == (5, -1)
        await peer.send(reply(request, cmd=pb.logs, logsMessage=pb.LogsCommand(cid="c1")))

        request = await peer.expect(pb.logs)
        logs = request.logsMessage
        assert place_of(logs) == (Position(Millis(10), ""), Position(Millis(30), "m3"))
        assert (logs.direction, logs.tIncluded, logs.ttIncluded) == (pb.LogsCommand.NEW, True, False)
        await peer.send(reply(request, cmd=pb.logs, logsMessage=pb.LogsCommand(cid="c1")))

    async with talking(script) as tom:
        room = tom.conversation("c1")
        first, second = await room.history_page()
        assert first == Message(
            id="m1",
            conversation_id="c1",
            sender="jerry",
            timestamp=Millis(1),
            raw=b"text",
            mentions=("tom",),
            mention_all=True,
        )
        assert second.body == b"\x00\xff"
        end = Position(Millis(30), "m3")
        assert not await room.history_page(
            after=10, after_included=True, before=end, newest_first=True, limit=5, message_type=-1
        )
        assert not await room.history_page(after=10, after_included=True, before=end)


STORED = [Message(f"m{n:02}", "c1", "jerry", Millis(1000 + n), f"text {n}".encode()) for n in range(23)]


async def keep_history(peer: Peer, requests: list[pb.LogsCommand]) -> None:
    """Answer history requests from ``STORED`` until one is for nothing more."""
    while True:
        request = await peer.expect(pb.logs)
        logs = request.logsMessage
        requests.append(logs)
        newest_first = logs.direction == pb.LogsCommand.OLD
        start, end = place_of(logs)
        after, before = (end, start) if newest_first else (start, end)
        found = [
            message
            for message in STORED
            if (after is None or message.position > after) and (before is None or message.position < before)
        ]
        page = found[-logs.limit :] if newest_first else found[: logs.limit]
        items = [pb.LogItem(msgId=one.id, timestamp=one.timestamp, sender=one.sender, data=one.raw) for one in page]
        await peer.send(reply(request, cmd=pb.logs, logsMessage=pb.LogsCommand(cid="c1", logs=items)))
        if len(page) < logs.limit:
            return


@pytest.mark.parametrize("page_size", [1, 5, 23, 24, 100])
async def test_history_goes_back_page_by_page_and_misses_and_repeats_nothing(page_size: int) -> None:
    requests: list[pb.LogsCommand] = []
    async with talking(lambda peer: keep_history(peer, requests)) as tom:
        got = [message async for message in tom.conversation("c1").history(page_size=page_size)]
    assert got == STORED[::-1]
    assert len(requests) == 23 // page_size + 1


@pytest.mark.parametrize("page_size", [1, 5, 22, 100])
async def test_history_after_a_message_goes_forward_to_the_end(page_size: int) -> None:
    requests: list[pb.LogsCommand] = []
    async with talking(lambda peer: keep_history(peer, requests)) as tom:
        history = tom.conversation("c1").history(after=STORED[3], page_size=page_size)
        got = [message async for message in history]
    assert got == STORED[4:]


async def test_history_between_two_messages_can_be_read_from_either_end() -> None:
    requests: list[pb.LogsCommand] = []

    async def script(peer: Peer) -> None:
        await keep_history(peer, requests)
        await keep_history(peer, requests)

    async with talking(script) as tom:
        room = tom.conversation("c1")
        forward = [one async for one in room.history(after=STORED[2], before=STORED[9], page_size=4)]
        backward = [
            one async for one in room.history(after=STORED[2], before=STORED[9], newest_first=True, page_size=4)
        ]
    assert forward == STORED[3:9]
    assert backward == forward[::-1]


async def test_history_that_is_not_wanted_any_more_is_not_fetched() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.logs)
        items = [pb.LogItem(msgId=one.id, timestamp=one.timestamp, sender="jerry", data=one.raw) for one in STORED[:5]]
        await peer.send(reply(request, cmd=pb.logs, logsMessage=pb.LogsCommand(cid="c1", logs=items)))

    async with talking(script) as tom:
        async for message in tom.conversation("c1").history(page_size=5):
            assert message == STORED[4]
            break


@pytest.mark.parametrize("page_size", [0, -1, 1001])
async def test_a_page_size_that_cannot_be_is_a_value_error(page_size: int) -> None:
    async def script(peer: Peer) -> None:
        pass

    async with talking(script) as tom:
        with pytest.raises(ValueError, match="page_size"):
            tom.conversation("c1").history(page_size=page_size)


# -- conversations -----------------------------------------------------------------------------------------------------


async def test_creating_names_the_creator_among_the_members() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.conv, pb.start)
        conv = request.convMessage
        assert (list(conv.m), conv.unique) == (["jerry", "tom"], True)
        assert json.loads(conv.attr.data) == {"name": "Tom & Jerry", "attr": {"pinned": True}, "level": 3}
        created = pb.ConvCommand(cid="c1", cdate="2026-01-02T03:04:05.678Z", uniqueId="u1")
        await peer.send(answered(request, pb.started, created))
        request = await peer.expect(pb.conv, pb.start)
        assert not request.convMessage.HasField("attr")
        assert not request.convMessage.unique
        await peer.send(answered(request, pb.started, pb.ConvCommand(cid="c2")))

    async with talking(script) as tom:
        room = await tom.create_conversation(
            ["jerry", "jerry"], name="Tom & Jerry", attributes={"pinned": True}, columns={"level": 3}, unique=True
        )
        assert room == tom.conversation("c1")
        assert repr(room) == "Conversation('c1')"
        assert len({room, tom.conversation("c1"), await tom.create_conversation([])}) == 2


async def test_a_query_says_what_it_was_told_to_and_reads_what_was_found() -> None:
    found = {
        "objectId": "c1",
        "name": "Tom & Jerry",
        "attr": {"pinned": True},
        "level": 3,
        "c": "tom",
        "m": ["tom", "jerry"],
        "mu": ["jerry"],
        "createdAt": "2026-01-02T03:04:05.678Z",
        "updatedAt": "2026-01-02T03:04:06.000Z",
        "lm": {"__type": "Date", "iso": "2026-01-02T03:04:07.001Z"},
        "uniqueId": "u1",
        "msg": b64encode(b"\x01").decode(),
        "bin": True,
        "msg_mid": "m1",
        "msg_from": "jerry",
        "msg_timestamp": 1_767_323_047_001,
        "mention_pids": ["tom"],
        "mention_all": False,
    }

    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.conv, pb.query)
        conv = request.convMessage
        assert json.loads(conv.where.data) == {"attr.pinned": True}
        assert (conv.sort, conv.skip, conv.limit, conv.flag) == ("-lm,name", 2, 7, 3)
        rows = json.dumps([found, {"objectId": "c2"}])
        await peer.send(answered(request, pb.results, pb.ConvCommand(results=pb.JsonObjectMessage(data=rows))))

    async with talking(script) as tom:
        one, two = await tom.query(
            {"attr.pinned": True}, sort=["-lm", "name"], skip=2, limit=7, compact=True, with_last_message=True
        )
    assert one.info is not None
    assert one.info.columns == found
    assert (one.id, one.info.name, one.info.attributes, one.info.creator) == (
        "c1",
        "Tom & Jerry",
        {"pinned": True},
        "tom",
    )
    assert (one.info.members, one.info.muted_by, one.info.unique_id) == (("tom", "jerry"), ("jerry",), "u1")
    assert (one.info.created_at, one.info.last_message_at) == (1_767_323_045_678, 1_767_323_047_001)
    assert one.info.last_message == Message(
        id="m1",
        conversation_id="c1",
        sender="jerry",
        timestamp=Millis(1_767_323_047_001),
        raw=b"\x01",
        binary=True,
        mentions=("tom",),
    )
    assert two.info is not None
    assert (two.info.name, two.info.members, two.info.last_message, two.info.last_message_at) == ("", (), None, None)


async def test_an_empty_query_leaves_the_defaults_to_the_server() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.conv, pb.query)
        for name in ("where", "sort", "skip", "limit"):
            assert not request.convMessage.HasField(name)
        await peer.send(answered(request, pb.results, pb.ConvCommand(results=pb.JsonObjectMessage(data="[]"))))

    async with talking(script) as tom:
        assert await tom.query() == []


async def test_getting_a_conversation_that_is_not_there_is_a_lookup_error() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.conv, pb.query)
        assert json.loads(request.convMessage.where.data) == {"objectId": "c404"}
        await peer.send(answered(request, pb.results, pb.ConvCommand(results=pb.JsonObjectMessage(data="[]"))))

    async with talking(script) as tom:
        with pytest.raises(LookupError, match="c404"):
            await tom.get_conversation("c404")


@pytest.mark.parametrize("results", ["", "{}", "[1]", '[{"name": "no id"}]', '[{"objectId": "c1", "lm": 5}]'])
async def test_results_that_make_no_sense_are_an_unexpected_reply(results: str) -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.conv, pb.query)
        await peer.send(answered(request, pb.results, pb.ConvCommand(results=pb.JsonObjectMessage(data=results))))

    async with talking(script) as tom:
        with pytest.raises(UnexpectedReply):
            await tom.query()


async def test_a_partial_failure_says_for_whom_and_why() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.conv, pb.add)
        assert (request.convMessage.cid, list(request.convMessage.m)) == ("c1", ["jerry", "spike", "butch"])
        full = pb.ErrorCommand(code=4304, reason="CONVERSATION_FULL", pids=["spike", "butch"])
        await peer.send(answered(request, pb.added, pb.ConvCommand(allowedPids=["jerry"], failedPids=[full])))

    async with talking(script) as tom:
        changes = await tom.conversation("c1").add(["jerry", "spike", "butch"])
    assert changes.allowed == ("jerry",)
    assert {name: refusal.code for name, refusal in changes.failed.items()} == {"spike": 4304, "butch": 4304}


async def test_joining_that_fails_for_oneself_raises() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.conv, pb.add)
        assert list(request.convMessage.m) == ["tom"]
        full = pb.ErrorCommand(code=4304, reason="CONVERSATION_FULL", pids=["tom"])
        await peer.send(answered(request, pb.added, pb.ConvCommand(failedPids=[full])))
        request = await peer.expect(pb.conv, pb.remove)
        assert list(request.convMessage.m) == ["tom"]
        await peer.send(answered(request, pb.removed, pb.ConvCommand(allowedPids=["tom"])))

    async with talking(script) as tom:
        with pytest.raises(Refused, match="CONVERSATION_FULL"):
            await tom.conversation("c1").join()
        await tom.conversation("c1").leave()


async def test_the_small_requests_say_and_return_what_they_should() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.conv, pb.count)
        await peer.send(answered(request, pb.result, pb.ConvCommand(count=0)))
        request = await peer.expect(pb.conv, pb.is_member)
        assert list(request.convMessage.cids) == ["c1"]
        answer = pb.ConvCommand(results=pb.JsonObjectMessage(data='{"c1": true}'))
        await peer.send(answered(request, pb.result, answer))
        request = await peer.expect(pb.conv, pb.is_member)
        assert list(request.convMessage.cids) == ["c1", "c2"]
        answer = pb.ConvCommand(results=pb.JsonObjectMessage(data='{"c1": true, "c2": false}'))
        await peer.send(answered(request, pb.result, answer))
        for op in (pb.mute, pb.unmute):
            await peer.send(answered(await peer.expect(pb.conv, op), pb.updated, pb.ConvCommand(cid="c1")))
        request = await peer.expect(pb.conv, pb.update)
        assert json.loads(request.convMessage.attr.data) == {"attr.a": 1, "b": {"__op": "Delete"}}
        answer = pb.ConvCommand(cid="c1", attrModified=pb.JsonObjectMessage(data='{"attr": {"a": 1}}'))
        await peer.send(answered(request, pb.updated, answer))
        request = await peer.expect(pb.session, pb.refresh)
        assert request.sessionMessage.st == "token-1"
        fresh = pb.SessionCommand(st="token-2", stTtl=60)
        await peer.send(reply(request, cmd=pb.session, op=pb.refreshed, sessionMessage=fresh))

    async with talking(script) as tom:
        room = tom.conversation("c1")
        assert await room.count_members() == 0
        assert await room.is_member()
        assert await tom.memberships(["c1", "c2"]) == {"c1": True, "c2": False}
        await room.mute()
        await room.unmute()
        assert await room.update({"attr.a": 1, "b": {"__op": "Delete"}}) == {"attr": {"a": 1}}
        assert await tom.refresh_token() == "token-2"
        assert tom.token == "token-2"


async def test_who_is_online_is_asked_twenty_at_a_time() -> None:
    asked: list[list[str]] = []

    async def script(peer: Peer) -> None:
        for _ in range(3):
            request = await peer.expect(pb.session, pb.query)
            ids = list(request.sessionMessage.sessionPeerIds)
            asked.append(ids)
            online = pb.SessionCommand(onlineSessionPeerIds=ids[:1])
            await peer.send(reply(request, cmd=pb.session, op=pb.query_result, sessionMessage=online))

    async with talking(script) as tom:
        names = [f"client {number}" for number in range(45)]
        assert await tom.online([*names, *names]) == {"client 0", "client 20", "client 40"}
        assert await tom.online([]) == set()
    assert [len(ids) for ids in asked] == [20, 20, 5]


@pytest.mark.parametrize(
    "call",
    [
        lambda room: room.count_members(),
        lambda room: room.history_page(),
        lambda room: room.update({"name": "x"}),
        lambda room: room.join(),
        lambda room: room.mute(),
    ],
    ids=["count", "history", "update", "join", "mute"],
)
async def test_a_refusal_is_raised_and_the_session_goes_on(
    call: Callable[[Conversation], Coroutine[Any, Any, object]],
) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(refused(await peer.receive(), 4303, "CONVERSATION_NOT_FOUND"))
        await peer.send(acked(await peer.expect(pb.direct)))

    async with talking(script) as tom:
        room = tom.conversation("c1")
        with pytest.raises(Refused, match="4303 CONVERSATION_NOT_FOUND"):
            await call(room)
        await room.send("still here")


# -- events ------------------------------------------------------------------------------------------------------------


def notification(op: pb.OpType, conv: pb.ConvCommand) -> pb.GenericCommand:
    return pb.GenericCommand(cmd=pb.conv, op=op, service=2, serverTs=SERVER_TIME, notificationType=1, convMessage=conv)


async def test_pushes_become_events_and_unknown_ones_nothing() -> None:
    at = Millis(SERVER_TIME)
    attr = pb.JsonObjectMessage(data='{"attr.a": 1}')
    modified = pb.JsonObjectMessage(data='{"attr": {"a": 1}}')

    async def script(peer: Peer) -> None:
        await peer.send(
            notification(pb.joined, pb.ConvCommand(cid="c1", initBy="jerry")),
            notification(pb.members_joined, pb.ConvCommand(cid="c1", initBy="jerry", m=["tom", "spike"])),
            notification(pb.members_left, pb.ConvCommand(cid="c1", initBy="jerry", m=["spike"])),
            notification(pb.updated, pb.ConvCommand(cid="c1", initBy="jerry", attr=attr, attrModified=modified)),
            notification(pb.left, pb.ConvCommand(cid="c1", initBy="tom")),
            pb.GenericCommand(cmd=pb.rcp, rcpMessage=pb.RcpCommand(cid="c1", id="m1", t=5, sender="jerry")),
            pb.GenericCommand(cmd=pb.rcp, rcpMessage=pb.RcpCommand(cid="c1", id="m1", t=6, sender="jerry", read=True)),
            pb.GenericCommand(cmd=pb.pubsub, pubsubMessage=pb.PubsubCommand(cid="c1")),
            notification(pb.expire, pb.ConvCommand(cid="c1")),
            delivery("m2", binaryMsg=b"\xff", mentionAll=True),
        )
        assert (await peer.expect(pb.ack)).ackMessage.cid == "c1"

    async with talking(script) as tom:
        events = tom.events()
        with anyio.fail_after(5):
            assert [await anext(events) for _ in range(8)] == [
                Joined("c1", "jerry", at),
                MembersJoined("c1", ("tom", "spike"), "jerry", at),
                MembersLeft("c1", ("spike",), "jerry", at),
                ConversationUpdated("c1", {"attr.a": 1}, {"attr": {"a": 1}}, "jerry", at),
                Left("c1", "tom", at),
                Receipt("c1", "m1", "jerry", Millis(5), read=False),
                Receipt("c1", "m1", "jerry", Millis(6), read=True),
                MessageReceived(Message("m2", "c1", "jerry", at, b"\xff", binary=True, mention_all=True)),
            ]


async def test_text_that_is_not_utf_8_arrives_as_it_is_and_can_be_looked_at() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(delivery("m1", msg=b"caf\xe9"))
        await peer.expect(pb.ack)

    async with talking(script) as tom:
        event = await anext(tom.events())
    assert isinstance(event, MessageReceived)
    assert event.message.raw == b"caf\xe9"
    assert event.message.body == "caf\N{REPLACEMENT CHARACTER}"
    with pytest.raises(ValueError):
        event.message.json()
