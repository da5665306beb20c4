"""Messages, unread counts and conversations as they are on the wire. Source: wire protocol, 7 and 8."""

import json
import re
from base64 import b64encode
from typing import Any

import pytest

from fastim.wire import messages2_pb2 as pb
from tests.end_to_end.clients import someone
from tests.end_to_end.raw import Wire, wire
from tests.server_process import ServerProcess

pytestmark = pytest.mark.anyio


async def pair(one: Wire, two: Wire) -> tuple[str, str, str]:
    """Two clients in a new conversation, and nothing left to be received."""
    tom, jerry = someone("tom"), someone("jerry")
    await one.open(tom)
    await two.open(jerry)
    cid = await one.start(tom, jerry)
    for line in (one, two):
        for op in (pb.joined, pb.members_joined):
            assert (await line.receive()).op == op
    return tom, jerry, cid


async def test_an_ack_says_nothing_but_where_the_message_stands(server: ServerProcess) -> None:
    async with wire(server) as one, wire(server) as two:
        _, _, cid = await pair(one, two)
        for direct in (
            pb.DirectCommand(cid=cid, msg=b"x", dt="t", r=True, pushData="{}", mentionAll=False),
            pb.DirectCommand(cid=cid, msg=b"x", transient=True),
        ):
            ack = (await one.ask(cmd=pb.direct, i=2, directMessage=direct)).ackMessage
            assert [field.name for field, _ in ack.ListFields()] == ["t", "uid"]
            assert re.fullmatch(r"[A-Za-z0-9_-]{22}", ack.uid)
            assert ack.t > 1_700_000_000_000


async def test_a_delivery_has_what_receivers_need_and_nothing_meant_for_the_server(server: ServerProcess) -> None:
    async with wire(server) as one, wire(server) as two:
        tom, jerry, cid = await pair(one, two)
        direct = pb.DirectCommand(
            cid=cid, msg=b"text", dt="token", r=True, pushData="{}", mentionPids=[jerry], fromPeerId="liar"
        )
        ack = (await one.ask(cmd=pb.direct, i=2, directMessage=direct)).ackMessage
        got = (await two.receive()).directMessage
        assert got == pb.DirectCommand(
            cid=cid, id=ack.uid, timestamp=ack.t, fromPeerId=tom, msg=b"text", mentionPids=[jerry], convType=1
        )


@pytest.mark.parametrize(
    ("sent", "msg", "binary"),
    [
        ({"msg": b""}, b"", None),
        ({"binaryMsg": b""}, None, b""),
        ({"binaryMsg": b"\x00\xff"}, None, b"\x00\xff"),
        ({"msg": b"", "binaryMsg": b"java"}, None, b"java"),
        ({"msg": b"caf\xe9"}, b"caf\xe9", None),
        ({"msg": "汤姆".encode()}, "汤姆".encode(), None),
    ],
)
async def test_bodies_arrive_byte_for_byte_live_and_from_history(
    server: ServerProcess, sent: dict[str, Any], msg: bytes | None, binary: bytes | None
) -> None:
    async with wire(server) as one, wire(server) as two:
        _, _, cid = await pair(one, two)
        reply = await one.ask(cmd=pb.direct, i=2, directMessage=pb.DirectCommand(cid=cid, **sent))
        assert not reply.ackMessage.HasField("code")
        got = (await two.receive()).directMessage
        assert (got.msg if got.HasField("msg") else None) == msg
        assert (got.binaryMsg if got.HasField("binaryMsg") else None) == binary
        (item,) = (await two.ask(cmd=pb.logs, i=3, logsMessage=pb.LogsCommand(cid=cid))).logsMessage.logs
        assert item.data == (msg if msg is not None else b64encode(binary or b""))
        assert item.HasField("bin") == (binary is not None)


async def test_the_limit_of_history_comes_in_either_of_two_fields(server: ServerProcess) -> None:
    async with wire(server) as one, wire(server) as two:
        _, _, cid = await pair(one, two)
        for number in range(25):
            await one.ask(cmd=pb.direct, i=2, directMessage=pb.DirectCommand(cid=cid, msg=b"%d" % number))

        async def texts(**fields: Any) -> list[int]:
            logs = pb.LogsCommand(cid=cid, **fields)
            reply = await one.ask(cmd=pb.logs, i=3, logsMessage=logs)
            return [int(item.data) for item in reply.logsMessage.logs]

        assert await texts() == list(range(5, 25))
        assert await texts(l=2) == await texts(limit=2) == [23, 24]
        assert await texts(l=0) == await texts(limit=0) == []
        assert await texts(limit=2, direction=pb.LogsCommand.NEW) == [0, 1]
        assert await texts(limit=1_000) == list(range(25))


async def test_an_unread_count_says_whether_it_holds_a_mention_even_when_it_does_not(server: ServerProcess) -> None:
    async with wire(server) as one, wire(server) as two:
        tom, jerry, cid = await pair(one, two)
        await two.close()
        ack = (await one.ask(cmd=pb.direct, i=2, directMessage=pb.DirectCommand(cid=cid, msg=b"hi"))).ackMessage
        async with wire(server) as again:
            await again.open(jerry)
            push = await again.receive()
            assert (push.cmd, push.service, push.peerId) == (pb.unread, 2, jerry)
            assert push.unreadMessage.notifTime > 0
            (notice,) = push.unreadMessage.convs
            assert notice == pb.UnreadTuple(
                cid=cid,
                unread=1,
                mid=ack.uid,
                timestamp=ack.t,
                sender=tom,
                data=b"hi",
                mentioned=False,
                convType=1,
            )
            # C# may name neither time nor message: everything is read.
            await again.send(cmd=pb.read, readMessage=pb.ReadCommand(convs=[pb.ReadTuple(cid=cid)]))
            (notice,) = (await again.receive()).unreadMessage.convs
            assert notice.HasField("unread")
            assert (notice.unread, notice.mentioned) == (0, False)


async def test_a_transient_message_is_acked_only_to_clients_that_expect_it(server: ServerProcess) -> None:
    async with wire(server) as one, wire(server) as two:
        tom, jerry = someone("tom"), someone("jerry")
        await one.open(tom, configBitmap=1)
        await two.open(jerry)
        cid = await one.start(tom, jerry)
        for line in (one, two):
            for _ in range(2):
                await line.receive()
        await one.send(cmd=pb.direct, i=2, directMessage=pb.DirectCommand(cid=cid, msg=b"typing", transient=True))
        got = (await two.receive()).directMessage
        assert (got.msg, got.transient) == (b"typing", True)
        assert await one.is_quiet()


async def test_a_started_conversation_says_whether_it_existed(server: ServerProcess) -> None:
    async with wire(server) as line:
        tom = someone("tom")
        await line.open(tom)
        conv = pb.ConvCommand(m=[tom], unique=True)
        fresh = (await line.ask(cmd=pb.conv, op=pb.start, i=2, convMessage=conv)).convMessage
        assert re.fullmatch(r"[0-9a-f]{24}", fresh.cid)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fresh.cdate)
        assert fresh.uniqueId
        assert not fresh.existing
        for op in (pb.joined, pb.members_joined):
            assert (await line.receive()).op == op
        again = (await line.ask(cmd=pb.conv, op=pb.start, i=3, convMessage=conv)).convMessage
        assert (again.cid, again.cdate, again.uniqueId) == (fresh.cid, fresh.cdate, fresh.uniqueId)
        assert again.existing
        assert await line.is_quiet()


async def test_replies_about_conversations_have_the_fields_that_sdks_need(server: ServerProcess) -> None:
    async with wire(server) as one, wire(server) as two:
        tom, jerry, cid = await pair(one, two)
        asked = '{"attr.a": 1, "name": "x"}'
        update = pb.ConvCommand(cid=cid, attr=pb.JsonObjectMessage(data=asked))
        updated = (await one.ask(cmd=pb.conv, op=pb.update, i=2, convMessage=update)).convMessage
        assert json.loads(updated.attr.data) == json.loads(asked)
        assert json.loads(updated.attrModified.data) == {"attr": {"a": 1}, "name": "x"}
        push = (await two.receive()).convMessage
        assert (push.attr, push.attrModified, push.udate, push.initBy) == (
            updated.attr,
            updated.attrModified,
            updated.udate,
            tom,
        )
        muted = await one.ask(cmd=pb.conv, op=pb.mute, i=3, convMessage=pb.ConvCommand(cid=cid))
        assert muted.op == pb.updated
        assert muted.convMessage.udate
        counted = (await one.ask(cmd=pb.conv, op=pb.count, i=4, convMessage=pb.ConvCommand(cid=cid))).convMessage
        assert counted.count == 2
        added = (await one.ask(cmd=pb.conv, op=pb.add, i=5, convMessage=pb.ConvCommand(cid=cid, m=[jerry]))).convMessage
        assert (list(added.allowedPids), list(added.failedPids)) == ([jerry], [])
        assert added.udate
        where = pb.JsonObjectMessage(data=json.dumps({"objectId": cid}))
        found = await one.ask(cmd=pb.conv, op=pb.query, i=6, convMessage=pb.ConvCommand(where=where, flag=2))
        (row,) = json.loads(found.convMessage.results.data)
        assert (row["objectId"], row["c"], row["m"], row["mu"], row["conv_type"]) == (cid, tom, [tom, jerry], [tom], 1)
        assert "msg" not in row
        empty = await one.ask(cmd=pb.conv, op=pb.query, i=7, convMessage=pb.ConvCommand(limit=0))
        assert json.loads(empty.convMessage.results.data) == []


async def test_counting_nobody_says_zero(server: ServerProcess) -> None:
    async with wire(server) as line:
        tom = someone("tom")
        await line.open(tom)
        cid = await line.start()
        for _ in range(2):
            await line.receive()
        await line.ask(cmd=pb.conv, op=pb.remove, i=2, convMessage=pb.ConvCommand(cid=cid, m=[tom]))
        assert (await line.receive()).op == pb.left
        counted = (await line.ask(cmd=pb.conv, op=pb.count, i=3, convMessage=pb.ConvCommand(cid=cid))).convMessage
        assert counted.HasField("count")
        assert counted.count == 0


async def test_the_time_of_a_conversation_never_goes_back(server: ServerProcess) -> None:
    async with wire(server) as one, wire(server) as two:
        _, _, cid = await pair(one, two)
        times = []
        for number in range(20):
            update = pb.ConvCommand(cid=cid, attr=pb.JsonObjectMessage(data=json.dumps({"n": number})))
            times.append((await one.ask(cmd=pb.conv, op=pb.update, i=2, convMessage=update)).convMessage.udate)
            assert (await two.receive()).convMessage.udate == times[-1]
        assert times == sorted(set(times))
