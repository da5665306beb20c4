"""What the server makes of what no client should send. Source: wire protocol, 3 and 11."""

import random
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastim.wire import messages2_pb2 as pb
from tests.end_to_end.clients import someone
from tests.end_to_end.raw import refusal_of, wire
from tests.server_process import ServerProcess

BEFORE_OPENING = [
    {"cmd": pb.conv, "op": pb.query, "convMessage": pb.ConvCommand()},
    {"cmd": pb.conv, "op": pb.start, "convMessage": pb.ConvCommand(m=["jerry"])},
    {"cmd": pb.session, "op": pb.close},
    {"cmd": pb.session, "op": pb.refresh},
    {"cmd": pb.session, "op": pb.query, "sessionMessage": pb.SessionCommand(sessionPeerIds=["tom"])},
    {"cmd": pb.logs, "logsMessage": pb.LogsCommand(cid="c")},
    {"cmd": pb.read, "readMessage": pb.ReadCommand(cid="c")},
    {"cmd": pb.report, "op": pb.upload, "reportMessage": pb.ReportCommand(data="x")},
]


@pytest.mark.anyio
@pytest.mark.parametrize("fields", BEFORE_OPENING)
async def test_before_a_session_is_open_commands_are_refused(server: ServerProcess, fields: dict[str, object]) -> None:
    async with wire(server) as line:
        assert refusal_of(await line.ask(i=5, **fields)) == (4105, "SESSION_REQUIRED")
        await line.send(**fields)
        assert await line.is_quiet()
        assert (await line.open(someone("tom"))).op == pb.opened


@pytest.mark.anyio
async def test_before_a_session_is_open_a_message_is_refused_by_an_ack(server: ServerProcess) -> None:
    async with wire(server) as line:
        reply = await line.ask(cmd=pb.direct, i=5, directMessage=pb.DirectCommand(cid="c", msg=b"x"))
        assert (reply.cmd, reply.ackMessage.code, reply.ackMessage.reason) == (pb.ack, 4105, "SESSION_REQUIRED")


@pytest.mark.anyio
async def test_before_a_session_is_open_echo_and_login_are_answered(server: ServerProcess) -> None:
    async with wire(server) as line:
        assert (await line.ask(cmd=pb.echo, i=5, peerId="nobody", appId="none")).cmd == pb.echo
        await line.send(cmd=pb.login, appId=server.app_id, installationId="installation")
        reply = await line.receive()
        assert (reply.cmd, reply.service, reply.HasField("i")) == (pb.loggedin, 0, False)
        assert reply.loggedinMessage.HasField("pushDisabled")
        assert not reply.loggedinMessage.pushDisabled
        reply = await line.ask(cmd=pb.login, i=6, service=1, appId=server.app_id, installationId="installation")
        assert (reply.cmd, reply.service, reply.installationId) == (pb.loggedin, 1, "installation")


UNKNOWN = {
    "a command of the future": b"\x08\x63\x28\x05",
    "an operation of the future": b"\x08\x01\x10\xff\x7f\x28\x05",
    "no command at all": b"\x28\x05",
    "a command that only servers send": b"\x08\x05\x28\x05",
}


@pytest.mark.anyio
@pytest.mark.parametrize("body", UNKNOWN.values(), ids=UNKNOWN)
async def test_what_is_not_known_is_refused_and_the_session_goes_on(server: ServerProcess, body: bytes) -> None:
    async with wire(server) as line:
        await line.open(someone("tom"))
        await line.send_frame(body)
        reply = await line.receive()
        assert refusal_of(reply)[0] in (4114, 4200)
        assert reply.i == 5
        await line.send_frame(body.removesuffix(b"\x28\x05"))
        assert await line.is_quiet()


@pytest.mark.anyio
async def test_fields_of_the_future_are_skipped(server: ServerProcess) -> None:
    async with wire(server) as line:
        await line.open(someone("tom"))
        body = pb.GenericCommand(cmd=pb.conv, op=pb.query, i=5, convMessage=pb.ConvCommand(limit=0)).SerializeToString()
        await line.send_frame(body + b"\x82\x7d\x03new" + b"\x88\x7d\x01")
        assert (await line.receive()).op == pb.results


GARBAGE = {
    "not protobuf": b"\xff" * 16,
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "cut short": pb.GenericCommand(cmd=pb.echo, i=5, peerId="someone").SerializeToString()[:-3],
    "a client id that is not UTF-8": b"\x08\x0e\x22\x02\xff\xfe",
    "a length beyond the end": b"\xb2\x06\xff\xff\xff\xff\x0f",
}


@pytest.mark.anyio
@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE)
async def test_what_is_no_command_ends_the_connection_and_no_other(server: ServerProcess, body: bytes) -> None:
    async with wire(server) as good, wire(server) as bad:
        await good.open(someone("tom"))
        await bad.open(someone("jerry"))
        await bad.send_frame(body)
        assert await bad.parting() == (4114, "UNPARSEABLE_RAW_MESSAGE")
        assert await good.is_quiet()


@pytest.mark.anyio
async def test_a_required_field_that_is_left_out_is_taken_for_empty(server: ServerProcess) -> None:
    async with wire(server) as line:
        await line.open(someone("tom"))
        nothing = pb.GenericCommand(cmd=pb.read, readMessage=pb.ReadCommand(convs=[pb.ReadTuple()]))
        await line.send_frame(nothing.SerializePartialToString())
        assert await line.is_quiet()


@pytest.mark.anyio
async def test_an_empty_frame_is_a_command_that_says_nothing(server: ServerProcess) -> None:
    async with wire(server) as line:
        await line.send_frame(b"")
        assert await line.is_quiet()
        await line.open(someone("tom"))
        await line.send_frame(b"")
        assert await line.is_quiet()


@pytest.mark.anyio
@pytest.mark.parametrize("size", [65_537, 2**31, 2**32 - 1])
async def test_a_frame_that_is_too_long_ends_the_connection_at_its_first_four_bytes(
    server: ServerProcess, size: int
) -> None:
    async with wire(server) as line:
        await line.open(someone("tom"))
        await line.send_bytes(size.to_bytes(4))
        assert await line.parting() == (4109, "FRAME_TOO_LONG")


@pytest.mark.anyio
async def test_a_frame_of_the_longest_is_read_and_a_message_in_it_refused_by_name(server: ServerProcess) -> None:
    async with wire(server) as line:
        await line.open(someone("tom"))
        cid = await line.start()
        for _ in range(2):
            await line.receive()
        direct = pb.DirectCommand(cid=cid, msg=b"x" * 65_000)
        command = pb.GenericCommand(cmd=pb.direct, i=5, directMessage=direct)
        direct.msg += b"x" * (65_536 - command.ByteSize())
        command.directMessage.CopyFrom(direct)
        assert command.ByteSize() == 65_536
        await line.send_frame(command.SerializeToString())
        reply = await line.receive()
        assert (reply.cmd, reply.ackMessage.code, reply.ackMessage.reason) == (pb.ack, 4109, "FRAME_TOO_LONG")
        assert await line.is_quiet()


@pytest.mark.anyio
async def test_half_a_frame_and_a_sudden_end_do_no_harm(server: ServerProcess) -> None:
    tom = someone("tom")
    async with wire(server) as watcher:
        await watcher.open(someone("watcher"))
        for data in (b"", b"\0", b"\0\0\0", b"\0\0\x10\0half of it"):
            async with wire(server) as line:
                await line.open(tom)
                await line.send_bytes(data)
        assert await watcher.is_quiet()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("op", "conv", "code"),
    [
        (pb.query, pb.ConvCommand(where=pb.JsonObjectMessage(data="{not json")), 4310),
        (pb.query, pb.ConvCommand(where=pb.JsonObjectMessage(data="[]")), 4310),
        (pb.query, pb.ConvCommand(where=pb.JsonObjectMessage(data='{"a":' * 1_000 + "1" + "}" * 1_000)), 4310),
        (pb.query, pb.ConvCommand(where=pb.JsonObjectMessage(data='{"name": {"$regex": "("}}')), 4310),
        (pb.query, pb.ConvCommand(limit=-1), 4310),
        (pb.query, pb.ConvCommand(skip=-1), 4310),
        (pb.start, pb.ConvCommand(m=["jerry"], attr=pb.JsonObjectMessage(data="nonsense")), 4306),
        (pb.start, pb.ConvCommand(m=["x" * 65]), 4103),
        (pb.start, pb.ConvCommand(m=[""]), 4103),
        (pb.update, pb.ConvCommand(), 4303),
        (pb.add, pb.ConvCommand(m=["jerry"]), 4303),
        (pb.count, pb.ConvCommand(cid="\0"), 4303),
        (pb.mute, pb.ConvCommand(cid="x" * 10_000), 4303),
    ],
)
async def test_a_request_that_cannot_be_is_refused_by_name(
    server: ServerProcess, op: pb.OpType, conv: pb.ConvCommand, code: int
) -> None:
    async with wire(server) as line:
        await line.open(someone("tom"))
        assert refusal_of(await line.ask(cmd=pb.conv, op=op, i=5, convMessage=conv))[0] == code
        assert await line.is_quiet()


@pytest.mark.anyio
async def test_a_history_request_that_cannot_be_is_refused_and_a_strange_one_answered(server: ServerProcess) -> None:
    async with wire(server) as line:
        await line.open(someone("tom"))
        cid = await line.start()
        for _ in range(2):
            await line.receive()
        refused = await line.ask(cmd=pb.logs, i=5, logsMessage=pb.LogsCommand(cid=cid, limit=-1))
        assert refusal_of(refused)[0] == 4311
        for logs in (
            pb.LogsCommand(cid=cid, l=2**31 - 1),
            pb.LogsCommand(cid=cid, t=-(2**63), mid="\0"),
            pb.LogsCommand(cid=cid, t=2**63 - 1, tt=2**63 - 1, mid="x" * 5_000),
            pb.LogsCommand(cid=cid, t=1, tt=5, direction=pb.LogsCommand.OLD),
        ):
            reply = await line.ask(cmd=pb.logs, i=6, logsMessage=logs)
            assert reply.cmd == pb.logs, reply
            assert not reply.logsMessage.logs


frames = st.one_of(
    st.binary(max_size=64),
    st.builds(
        lambda cmd, op, i, tail: (
            pb.GenericCommand(cmd=cmd, op=op, i=i).SerializeToString() + tail  # well-formed up to its tail
        ),
        st.sampled_from(pb.CommandType.values()),
        st.sampled_from(pb.OpType.values()),
        st.integers(-(2**31), 2**31 - 1),
        st.one_of(st.just(b""), st.binary(max_size=32)),
    ),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(body=frames, is_open=st.booleans(), seed=st.integers(0, 2**32))
def test_whatever_comes_is_answered_or_ends_the_connection(
    server: ServerProcess, body: bytes, is_open: bool, seed: int
) -> None:
    opening = pb.GenericCommand(cmd=pb.session, op=pb.open, appId=server.app_id, peerId=f"fuzz{seed % 3}", i=1)
    echo = pb.GenericCommand(cmd=pb.echo, i=2)
    bodies = ([opening.SerializeToString()] if is_open else []) + [body, echo.SerializeToString()]
    data = b"".join(len(one).to_bytes(4) + one for one in bodies)
    cut = random.Random(seed).randrange(len(data))
    with socket.create_connection(server.tcp, timeout=10) as line, line.makefile("rb") as reader:
        line.sendall(data[:cut])
        line.sendall(data[cut:])
        while True:
            size = reader.read(4)
            if not size:
                return
            reply = pb.GenericCommand.FromString(reader.read(int.from_bytes(size)))
            if reply.cmd == pb.echo and reply.i == 2:
                return
