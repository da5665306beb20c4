"""What surrounds every command: serials, recipients, the order of replies and pushes.

Source: wire protocol, 0.1, 3, 5 and 6.
"""

import re

import pytest

from fastim.wire import messages2_pb2 as pb
from tests.end_to_end.clients import someone
from tests.end_to_end.raw import Wire, refusal_of, wire
from tests.server_process import ServerProcess

pytestmark = pytest.mark.anyio

SERIALS = [1, 0, -1, -65_535, 2**31 - 1, -(2**31)]


@pytest.mark.parametrize("serial", SERIALS)
async def test_a_serial_comes_back_as_it_was_sent(server: ServerProcess, serial: int) -> None:
    async with wire(server) as line:
        assert (await line.ask(cmd=pb.echo, i=serial)).cmd == pb.echo
        assert (await line.open(someone("tom"), i=serial)).op == pb.opened
        cid = await line.start(i=serial)
        for _ in range(2):
            assert not (await line.receive()).HasField("i")
        direct = pb.DirectCommand(cid=cid, msg=b"hello")
        assert (await line.ask(cmd=pb.direct, i=serial, directMessage=direct)).cmd == pb.ack
        nowhere = pb.DirectCommand(cid="nowhere", msg=b"hello")
        assert (await line.ask(cmd=pb.direct, i=serial, directMessage=nowhere)).ackMessage.code == 4401
        assert refusal_of(await line.ask(cmd=pb.conv, op=pb.expire, i=serial))[0] in (4114, 4200)


async def test_an_answer_to_a_request_without_a_serial_has_none(server: ServerProcess) -> None:
    tom = someone("tom")
    async with wire(server) as line:
        assert (await line.ask(cmd=pb.echo)).cmd == pb.echo
        opened = await line.open(tom, i=None)
        assert (opened.cmd, opened.op, opened.peerId) == (pb.session, pb.opened, tom)


async def test_the_answer_to_an_opening_has_all_that_sdks_need(server: ServerProcess) -> None:
    tom = someone("tom")
    async with wire(server) as line:
        opened = await line.open(tom, ua="js/5.0.0-rc.8", deviceId="d", tag="default", lastPatchTime=1)
        assert (opened.cmd, opened.op, opened.peerId, opened.service) == (pb.session, pb.opened, tom, 2)
        assert opened.serverTs > 1_700_000_000_000
        assert opened.sessionMessage.st
        assert opened.sessionMessage.stTtl > 0
        for name in ("code", "reason", "detail"):
            assert not opened.sessionMessage.HasField(name)


async def test_every_reply_names_its_client(server: ServerProcess) -> None:
    tom = someone("tom")
    async with wire(server) as line:
        await line.open(tom)
        cid = await line.start()
        for _ in range(2):
            await line.receive()
        conv = pb.ConvCommand(cid=cid)
        for fields in (
            {"cmd": pb.direct, "directMessage": pb.DirectCommand(cid=cid, msg=b"x")},
            {"cmd": pb.direct, "directMessage": pb.DirectCommand(cid="nowhere", msg=b"x")},
            {"cmd": pb.logs, "logsMessage": pb.LogsCommand(cid=cid)},
            {"cmd": pb.logs, "op": pb.open, "logsMessage": pb.LogsCommand(cid=cid)},  # C# sends an op
            {"cmd": pb.conv, "op": pb.count, "convMessage": conv},
            {"cmd": pb.conv, "op": pb.query, "convMessage": pb.ConvCommand()},
            {"cmd": pb.conv, "op": pb.update, "convMessage": conv},
            {"cmd": pb.conv, "op": pb.mute, "convMessage": conv},
            {"cmd": pb.conv, "op": pb.is_member, "convMessage": pb.ConvCommand(cids=[cid])},
            {"cmd": pb.session, "op": pb.query, "sessionMessage": pb.SessionCommand(sessionPeerIds=[tom])},
            {"cmd": pb.session, "op": pb.refresh, "sessionMessage": pb.SessionCommand(st="long expired")},
            {"cmd": pb.conv, "op": pb.count, "convMessage": pb.ConvCommand(cid="nowhere")},
            {"cmd": pb.session, "op": pb.close},
        ):
            reply = await line.ask(i=7, **fields)
            assert reply.peerId == tom, reply


async def test_a_push_has_no_serial_but_service_recipient_and_time(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with wire(server) as one, wire(server) as two:
        await one.open(tom)
        await two.open(jerry)
        cid = await one.start(tom, jerry)
        for op in (pb.joined, pb.members_joined):
            push = await two.receive()
            assert (push.cmd, push.op, push.service, push.peerId, push.notificationType) == (pb.conv, op, 2, jerry, 1)
            assert push.serverTs > 0
            assert not push.HasField("i")
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", push.convMessage.udate)
        await one.send(cmd=pb.direct, i=2, directMessage=pb.DirectCommand(cid=cid, msg=b"x", r=True, dt="t"))
        push = await two.receive()
        assert (push.cmd, push.service, push.peerId) == (pb.direct, 2, jerry)
        assert not push.HasField("i")


async def test_replies_come_before_the_pushes_they_cause(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with wire(server) as line:
        await line.open(tom)
        await line.open(jerry, i=2)
        cid = await line.start(jerry, peerId=tom)  # `start` holds that the reply is what comes first
        pushes = [await line.receive() for _ in range(4)]
        assert {(push.op, push.peerId) for push in pushes} == {
            (op, client) for op in (pb.joined, pb.members_joined) for client in (tom, jerry)
        }

        direct = pb.DirectCommand(cid=cid, msg=b"hello")
        assert (await line.ask(cmd=pb.direct, i=3, peerId=tom, directMessage=direct)).cmd == pb.ack
        push = await line.receive()
        assert (push.cmd, push.peerId) == (pb.direct, jerry)

        update = pb.ConvCommand(cid=cid, attr=pb.JsonObjectMessage(data='{"name": "x"}'))
        assert (await line.ask(cmd=pb.conv, op=pb.update, i=4, peerId=tom, convMessage=update)).op == pb.updated
        push = await line.receive()
        assert (push.op, push.peerId) == (pb.updated, jerry)

        removal = pb.ConvCommand(cid=cid, m=[jerry])
        assert (await line.ask(cmd=pb.conv, op=pb.remove, i=5, peerId=tom, convMessage=removal)).op == pb.removed
        assert {((push := await line.receive()).op, push.peerId) for _ in range(2)} == {
            (pb.left, jerry),
            (pb.members_left, tom),
        }
        assert await line.is_quiet()


async def test_commands_that_want_no_reply_get_none(server: ServerProcess) -> None:
    async with wire(server) as line:
        await line.open(someone("tom"))
        cid = await line.start()
        for _ in range(2):
            await line.receive()
        await line.send(cmd=pb.ack, ackMessage=pb.AckCommand(cid=cid, mid="no such message"))
        await line.send(cmd=pb.ack, ackMessage=pb.AckCommand(cid=cid, fromts=1, tots=2))
        await line.send(cmd=pb.ack, ackMessage=pb.AckCommand(ids=["of push, not ours"]))
        await line.send(cmd=pb.read, readMessage=pb.ReadCommand(convs=[pb.ReadTuple(cid="no such conversation")]))
        await line.send(cmd=pb.direct, directMessage=pb.DirectCommand(cid="nowhere", msg=b"x"))
        await line.send(cmd=pb.conv, op=pb.expire)
        assert await line.is_quiet()


# -- several clients on one connection ---------------------------------------------------------------------------------


async def whose(line: Wire, **fields: str) -> str:
    reply = await line.ask(cmd=pb.conv, op=pb.query, i=9, convMessage=pb.ConvCommand(limit=0), **fields)
    assert (reply.cmd, reply.op) == (pb.conv, pb.results), reply
    return reply.peerId


async def test_a_command_without_a_client_is_for_the_first_session_that_is_still_open(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with wire(server) as line:
        await line.open(tom)
        await line.open(jerry, i=2)
        assert await whose(line) == tom
        assert await whose(line, peerId=jerry) == jerry
        assert await whose(line, peerId="") == tom

        closed = await line.ask(cmd=pb.session, op=pb.close, i=3, peerId=tom)
        assert (closed.op, closed.peerId) == (pb.closed, tom)
        assert not closed.sessionMessage.HasField("code")
        assert await whose(line) == jerry
        refused = await line.ask(cmd=pb.conv, op=pb.query, i=4, peerId=tom, convMessage=pb.ConvCommand())
        assert refusal_of(refused) == (4105, "SESSION_REQUIRED")

        await line.ask(cmd=pb.session, op=pb.close, i=5)
        refused = await line.ask(cmd=pb.conv, op=pb.query, i=6, convMessage=pb.ConvCommand())
        assert refusal_of(refused) == (4105, "SESSION_REQUIRED")
        assert (await line.open(tom, i=7)).peerId == tom


async def test_a_client_that_nobody_opened_is_asked_to_open(server: ServerProcess) -> None:
    async with wire(server) as line:
        await line.open(someone("tom"))
        refused = await line.ask(cmd=pb.conv, op=pb.query, i=2, peerId=someone("ghost"), convMessage=pb.ConvCommand())
        assert refusal_of(refused) == (4105, "SESSION_REQUIRED")


async def test_sessions_of_one_connection_are_online_one_by_one(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")

    async def online(line: Wire) -> set[str]:
        asked = pb.SessionCommand(sessionPeerIds=[tom, jerry])
        reply = await line.ask(cmd=pb.session, op=pb.query, i=1, sessionMessage=asked)
        return set(reply.sessionMessage.onlineSessionPeerIds)

    async with wire(server) as watcher:
        await watcher.open(someone("watcher"))
        async with wire(server) as line:
            await line.open(tom)
            await line.open(jerry, i=2)
            assert await online(watcher) == {tom, jerry}
            await line.ask(cmd=pb.session, op=pb.close, i=3, peerId=jerry)
            assert await online(watcher) == {tom}
        while await online(watcher):  # the server has yet to notice that the connection is gone
            pass


async def test_one_connection_belongs_to_one_application(server: ServerProcess) -> None:
    async with wire(server) as line:
        await line.open(someone("tom"))
        message = pb.SessionCommand(configBitmap=187)
        refused = await line.ask(
            cmd=pb.session, op=pb.open, i=2, appId="another-application", peerId="jerry", sessionMessage=message
        )
        assert refusal_of(refused) == (4100, "APP_NOT_AVAILABLE")
        # C# names the application in every command.
        counted = await line.ask(
            cmd=pb.conv, op=pb.query, i=3, appId=server.app_id, convMessage=pb.ConvCommand(limit=0)
        )
        assert counted.op == pb.results


async def test_a_client_without_an_id_is_given_one(server: ServerProcess) -> None:
    async with wire(server) as line:
        opened = await line.open(None)
        assert opened.op == pb.opened
        assert 1 <= len(opened.peerId) <= 64


# -- openings that fail ------------------------------------------------------------------------------------------------


async def test_an_expired_token_is_refused_with_the_serial_it_came_with_or_without(server: ServerProcess) -> None:
    tom = someone("tom")
    async with wire(server) as line:
        refused = await line.open(tom, st="unknown", r=True)
        assert refusal_of(refused) == (4112, "SESSION_TOKEN_EXPIRED")
        refused = await line.open(tom, i=None, st="unknown", r=True)
        assert (refusal_of(refused)[0], refused.peerId) == (4112, tom)
        assert (await line.open(tom, i=3, r=True)).op == pb.opened


async def test_a_token_is_of_use_to_its_own_client_only(server: ServerProcess) -> None:
    async with wire(server) as line:
        token = (await line.open(someone("tom"))).sessionMessage.st
        assert refusal_of(await line.open(someone("jerry"), i=2, st=token, r=True))[0] == 4112


async def test_who_comes_back_without_a_serial_learns_of_a_conflict_by_a_push(server: ServerProcess) -> None:
    tom = someone("tom")
    async with wire(server) as one, wire(server) as two:
        await one.open(tom, tag="Mobile", deviceId="a")
        refused = await two.open(tom, tag="Mobile", deviceId="b", r=True)
        assert refusal_of(refused) == (4111, "SESSION_CONFLICT")
        pushed = await two.open(tom, i=None, tag="Mobile", deviceId="b", r=True)
        assert (pushed.cmd, pushed.op, pushed.peerId) == (pb.session, pb.closed, tom)
        assert (pushed.sessionMessage.code, pushed.sessionMessage.reason) == (4111, "SESSION_CONFLICT")
        assert await one.is_quiet()


async def test_the_session_that_is_pushed_out_is_told_and_its_connection_stays(server: ServerProcess) -> None:
    tom = someone("tom")
    async with wire(server) as one, wire(server) as two:
        await one.open(tom, tag="Mobile", deviceToken="a")
        await two.open(tom, tag="Mobile", deviceToken="b")
        told = await one.receive()
        assert (told.cmd, told.op, told.peerId, told.service) == (pb.session, pb.closed, tom, 2)
        assert told.sessionMessage.code == 4111
        assert not told.HasField("i")
        assert await one.is_quiet()
        refused = await one.ask(cmd=pb.conv, op=pb.query, i=4, convMessage=pb.ConvCommand())
        assert refusal_of(refused)[0] == 4105
