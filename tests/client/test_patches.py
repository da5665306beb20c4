"""Modifying and recalling, what others do of it, and the options of a message, against a scripted server."""

import json
from base64 import b64encode

import pytest
from msgspec.structs import replace

from fastim.client import (
    Disconnected,
    Event,
    Message,
    MessageModified,
    MessageRecalled,
    MessageReceived,
    Millis,
    Reconnected,
    Refused,
    connect,
)
from fastim.wire import messages2_pb2 as pb
from tests.client.fake_server import SERVER_TIME, FakeServer, Peer, acked, answered, delivery, refused, reply
from tests.client.scripts import connected, scripted, take, talking

pytestmark = pytest.mark.anyio

SENT = Message("m1", "c1", "tom", Millis(SERVER_TIME - 500), b"helo")
PATCHED_AT = Millis(SERVER_TIME + 1)


def patched(request: pb.GenericCommand, at: int = PATCHED_AT) -> pb.GenericCommand:
    return reply(request, cmd=pb.patch, op=pb.modified, patchMessage=pb.PatchCommand(lastPatchTime=at))


def patches(*items: pb.PatchItem) -> pb.GenericCommand:
    return pb.GenericCommand(
        cmd=pb.patch, op=pb.modify, service=2, peerId="tom", patchMessage=pb.PatchCommand(patches=items)
    )


def patch(message_id: str, at: int, body: bytes = b"hello", **fields: object) -> pb.PatchItem:
    item = pb.PatchItem(cid="c1", mid=message_id, timestamp=SERVER_TIME, sender="jerry", data=body, patchTimestamp=at)
    for name, value in fields.items():
        setattr(item, name, value)
    return item


async def test_modifying_names_the_message_and_returns_it_as_it_is_now() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.patch, pb.modify)
        (item,) = request.patchMessage.patches
        assert (item.cid, item.mid, item.timestamp) == ("c1", "m1", SENT.timestamp)
        assert (item.data, list(item.mentionPids), item.mentionAll) == (b"hello", ["jerry"], True)
        for name in ("recall", "binaryMsg", "sender", "patchTimestamp"):
            assert not item.HasField(name)
        await peer.send(patched(request))
        request = await peer.expect(pb.patch, pb.modify)
        (item,) = request.patchMessage.patches
        assert item.binaryMsg == b"\xff"
        assert not item.HasField("data")
        assert not item.HasField("mentionAll")
        await peer.send(patched(request, PATCHED_AT + 1))

    async with talking(script) as tom:
        room = tom.conversation("c1")
        modified = await room.modify(SENT, "hello", mentions=["jerry"], mention_all=True)
        assert modified == replace(SENT, raw=b"hello", mentions=("jerry",), mention_all=True, patched_at=PATCHED_AT)
        again = await room.modify(modified, b"\xff")
        assert (again.body, again.binary, again.mentions, again.patched_at) == (b"\xff", True, (), PATCHED_AT + 1)
        assert not again.recalled
        assert tom.patches_since == PATCHED_AT + 1


async def test_recalling_leaves_the_body_to_the_server() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.patch, pb.modify)
        (item,) = request.patchMessage.patches
        assert (item.cid, item.mid, item.timestamp, item.recall) == ("c1", "m1", SENT.timestamp, True)
        assert not item.HasField("data")
        await peer.send(patched(request))

    async with talking(script) as tom:
        recalled = await tom.conversation("c1").recall(replace(SENT, mentions=("jerry",), mention_all=True))
    assert (recalled.recalled, recalled.type, recalled.patched_at) == (True, -127, PATCHED_AT)
    assert (recalled.id, recalled.sender, recalled.mentions, recalled.mention_all) == ("m1", "tom", (), False)


async def test_a_patch_that_is_refused_raises() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(refused(await peer.expect(pb.patch, pb.modify), 4403, "MESSAGE_OWNERSHIP_REQUIRED"))

    async with talking(script) as tom:
        with pytest.raises(Refused, match="4403"):
            await tom.conversation("c1").recall(SENT)


async def test_a_patch_is_asked_for_again_when_the_connection_breaks() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await peer.expect(pb.patch, pb.modify)
        await peer.cut()
        peer = await server.accept_session()
        request = await peer.expect(pb.patch, pb.modify)
        assert request.patchMessage.patches[0].data == b"hello"
        await peer.send(patched(request))
        await peer.say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        assert (await tom.conversation("c1").modify(SENT, "hello")).patched_at == PATCHED_AT


async def test_what_others_patch_is_told_with_its_reason() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(
            patches(patch("m1", 11, mentionAll=True)),
            patches(patch("m2", 12, patchCode=-4408, patchReason="word filter"), patch("m3", 13, recall=True)),
            patches(patch("m4", 14, b'{"_lctype":-127}')),
            patches(
                pb.PatchItem(cid="c1", mid="m5", timestamp=5, sender="jerry", patchTimestamp=15, binaryMsg=b"\xff")
            ),
        )

    async with talking(script) as tom:
        one, two, three, four, five = await take(tom, 5)
    at = Millis(SERVER_TIME)
    assert one == MessageModified(
        Message("m1", "c1", "jerry", at, b"hello", mention_all=True, patched_at=Millis(11)), None, ""
    )
    assert isinstance(two, MessageModified)
    assert (two.code, two.reason) == (-4408, "word filter")
    for event, message_id in ((three, "m3"), (four, "m4")):
        assert isinstance(event, MessageRecalled)
        assert (event.message.id, event.message.recalled) == (message_id, True)
    assert isinstance(five, MessageModified)
    assert (five.message.body, five.message.binary) == (b"\xff", True)


async def test_a_reopening_says_how_far_patches_are_known_and_each_is_told_once() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        await peer.send(patches(patch("m1", SERVER_TIME + 20_000)))
        request = await peer.expect(pb.patch, pb.modify)
        await peer.send(patched(request, SERVER_TIME + 21_000))
        await peer.cut()
        peer = await server.accept()
        request = await peer.open()
        # A little of what is known is asked for again: patches of different conversations may overtake each other.
        assert request.sessionMessage.lastPatchTime == SERVER_TIME + 11_000
        own = patch("m9", SERVER_TIME + 21_000, sender="tom")
        await peer.send(
            patches(patch("m2", SERVER_TIME + 19_999)),
            patches(patch("m1", SERVER_TIME + 20_000)),
            patches(own),
            patches(patch("m1", SERVER_TIME + 30_000, b"once more")),
        )
        await peer.say_goodbye()

    def told(event: Event) -> object:
        return (event.message.id, event.message.text) if isinstance(event, MessageModified) else type(event)

    async with scripted(script) as server, connected(server) as tom:
        assert [told(event) for event in await take(tom, 1)] == [("m1", "hello")]
        await tom.conversation("c1").modify(replace(SENT, id="m9"), "hello")
        assert [told(event) for event in await take(tom, 4)] == [
            Disconnected,
            Reconnected,
            ("m2", "hello"),
            ("m1", "once more"),
        ]
        assert tom.patches_since == SERVER_TIME + 30_000


async def test_an_earlier_run_s_mark_is_in_the_first_opening() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept()
        assert (await peer.open()).sessionMessage.lastPatchTime == 77
        await peer.send(patches(patch("m1", 78)))
        await peer.say_goodbye()

    async with (
        scripted(script) as server,
        connect(server.address, app_id="app-under-test", client_id="tom", patches_since=77) as tom,
    ):
        (event,) = await take(tom, 1)
        assert isinstance(event, MessageModified)
        assert tom.patches_since == 78


async def test_a_message_says_that_it_was_patched_wherever_it_comes_from() -> None:
    recalled = b'{"_lctype":-127}'
    row = {
        "objectId": "c1",
        "msg": recalled.decode(),
        "bin": False,
        "msg_mid": "m1",
        "msg_from": "jerry",
        "msg_timestamp": 1,
        "patch_timestamp": 9,
    }

    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.logs)
        items = [
            pb.LogItem(msgId="m1", timestamp=1, sender="jerry", data=recalled, patchTimestamp=9),
            pb.LogItem(msgId="m2", timestamp=2, sender="jerry", data=recalled),
            pb.LogItem(msgId="m3", timestamp=3, data=b64encode(b"\xff"), bin=True, patchTimestamp=8, ackAt=4, readAt=5),
        ]
        await peer.send(reply(request, cmd=pb.logs, logsMessage=pb.LogsCommand(cid="c1", logs=items)))
        request = await peer.expect(pb.conv, pb.query)
        results = pb.JsonObjectMessage(data=json.dumps([row]))
        await peer.send(answered(request, pb.results, pb.ConvCommand(results=results)))
        await peer.send(delivery("m4", msg=recalled, patchTimestamp=9))
        await peer.expect(pb.ack)

    async with talking(script) as tom:
        one, two, three = await tom.conversation("c1").history_page()
        assert (one.patched_at, one.recalled) == (9, True)
        assert (two.patched_at, two.recalled) == (None, False)
        assert (three.patched_at, three.recalled, three.delivered_at, three.read_at) == (8, False, 4, 5)
        assert (one.delivered_at, one.read_at) == (None, None)
        (found,) = await tom.query(with_last_message=True)
        assert found.info is not None
        assert found.info.last_message is not None
        assert (found.info.last_message.patched_at, found.info.last_message.recalled) == (9, True)
        (event,) = await take(tom, 1)
        assert isinstance(event, MessageReceived)
        assert event.message.recalled


async def test_a_will_and_push_data_are_on_the_wire() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.direct)
        assert request.directMessage.will
        assert json.loads(request.directMessage.pushData) == {"alert": "Tom has gone"}
        await peer.send(acked(request, "w1"))

    async with talking(script) as tom:
        assert (await tom.conversation("c1").send("gone", will=True, push_data={"alert": "Tom has gone"})).id == "w1"


async def test_how_far_others_have_got_is_asked_for_one_and_for_all() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.conv, pb.max_read)
        assert request.convMessage.cid == "c1"
        assert not request.convMessage.HasField("queryAllMembers")
        await peer.send(answered(request, pb.max_read, pb.ConvCommand(cid="c1", maxAckTimestamp=5)))
        request = await peer.expect(pb.conv, pb.max_read)
        assert request.convMessage.queryAllMembers
        tuples = [
            pb.MaxReadTuple(pid="jerry", maxAckTimestamp=5, maxReadTimestamp=4),
            pb.MaxReadTuple(pid="spike"),
        ]
        await peer.send(answered(request, pb.max_read, pb.ConvCommand(cid="c1", maxReadTuples=tuples)))

    async with talking(script) as tom:
        room = tom.conversation("c1")
        times = await room.receipt_times()
        assert (times.delivered_at, times.read_at) == (5, None)
        everybody = await room.receipt_times_of_members()
        assert {name: (one.delivered_at, one.read_at) for name, one in everybody.items()} == {
            "jerry": (5, 4),
            "spike": (None, None),
        }
