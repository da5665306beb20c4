"""Hooks in the way of commands, and what they hear of connections. Source: semantics, section 14."""

import asyncio

import pytest
from msgspec.structs import replace

from fastim.core.hooks import (
    Answer,
    Call,
    ClientOffline,
    ClientOnline,
    ConversationAnswer,
    ConversationStart,
    MessageAnswer,
    MessageReceived,
)
from fastim.runtime.hooks import LocalHooks
from fastim.service.sessions import kick_client
from fastim.settings import Hooks, Limits
from fastim.wire import messages2_pb2 as pb
from tests.fakes.engine import Act, ScriptedEngine
from tests.fakes.running import idle, on_asyncio
from tests.runtime.node import Line, Node, message, running_node, starting

Generic = pb.GenericCommand


def hook(node: Node, act: Act | None, *defined: type[Call], required: bool = False) -> ScriptedEngine:
    """Have the node ask and tell that, from now on."""
    engine = ScriptedEngine(act, defined)
    settings = Hooks(required=("all",) if required else ())
    hooks = LocalHooks([engine], settings)
    tenant = replace(node.tenant, io=replace(node.tenant.io, hooks=hooks), hooks=hooks)
    node.dispatcher.add(tenant)
    return engine


async def tea_of(line: Line) -> str:
    await line.open("tom")
    tea = (await line.call(starting("jerry"))).convMessage.cid
    while (await line.receive()).op != pb.members_joined:
        pass
    return tea


def heard(engine: ScriptedEngine) -> list[tuple[int, int | None, str | None]]:
    """Of each session that ended: how, and why the server closed its connection."""
    return [
        (one.close_code, one.error_code, one.error_message) for one in engine.called if isinstance(one, ClientOffline)
    ]


async def never(_: Call) -> Answer:
    await asyncio.get_running_loop().create_future()
    raise AssertionError


class TestAsking:
    @on_asyncio
    async def test_who_sends_is_told_in_the_ack_what_the_hook_says(self) -> None:
        async def drop(_: Call) -> Answer:
            return MessageAnswer(drop=True, code=77, detail="be nice")

        async with running_node() as node:
            line = await node.line()
            tea = await tea_of(line)
            hook(node, drop, MessageReceived)
            ack = (await line.call(message(tea))).ackMessage
            assert (ack.code, ack.appCode, ack.appMsg) == (4402, 77, "be nice")
            assert await line.is_silent()

    @on_asyncio
    async def test_who_starts_a_conversation_in_the_error(self) -> None:
        async def reject(_: Call) -> Answer:
            return ConversationAnswer(reject=True, code=7, detail="not now")

        async with running_node() as node:
            line = await node.line()
            await line.open("tom")
            hook(node, reject, ConversationStart)
            error = (await line.call(starting("jerry"))).errorMessage
            assert (error.code, error.appCode, error.appMsg) == (4305, 7, "not now")

    @on_asyncio
    async def test_messages_leave_in_their_order_however_long_the_hook_takes_over_each(self) -> None:
        async def take_time(call: Call) -> Answer:
            assert isinstance(call, MessageReceived)
            await asyncio.sleep(1 - int(call.content) / 10)
            return MessageAnswer(content=f"{call.content}!")

        async with running_node() as node:
            tom, jerry = await node.line(), await node.line()
            await jerry.open("jerry")
            tea = await tea_of(tom)
            for _ in range(2):
                await jerry.receive()
            hook(node, take_time, MessageReceived)
            began = asyncio.get_running_loop().time()
            await tom.send(*(message(tea, str(number).encode(), serial=number) for number in range(10)))
            received = [await jerry.receive() for _ in range(10)]
            assert [one.directMessage.msg for one in received] == [f"{number}!".encode() for number in range(10)]
            assert asyncio.get_running_loop().time() - began < 1.1

    @pytest.mark.parametrize("required", [False, True])
    @on_asyncio
    async def test_nobody_waits_longer_than_the_deadline_however_much_is_sent(self, required: bool) -> None:
        async with running_node() as node:
            line = await node.line()
            tea = await tea_of(line)
            engine = hook(node, never, MessageReceived, required=required)
            began = asyncio.get_running_loop().time()
            await line.send(*(message(tea, serial=number) for number in range(20)))
            acks = [await line.receive() for _ in range(20)]
            assert [one.i for one in acks] == list(range(20))
            assert {one.ackMessage.code for one in acks} == {4200 if required else 0}
            assert 2.9 < asyncio.get_running_loop().time() - began < 3.1
            assert engine.under_way == 0

    @on_asyncio
    async def test_all_else_goes_on_meanwhile(self) -> None:
        async with running_node() as node:
            line, jerry = await node.line(), await node.line()
            await jerry.open("jerry")
            tea = await tea_of(line)
            for _ in range(2):
                await jerry.receive()
            hook(node, never, MessageReceived)
            await line.send(message(tea, serial=50))
            await idle()
            began = asyncio.get_running_loop().time()
            counted = await jerry.call(Generic(cmd=pb.conv, op=pb.count, i=5, convMessage=pb.ConvCommand(cid=tea)))
            assert counted.convMessage.count == 2
            assert await line.is_silent()
            assert asyncio.get_running_loop().time() - began < 0.1


class TestTelling:
    @on_asyncio
    async def test_that_a_client_came_and_closed_its_session(self) -> None:
        async with running_node() as node:
            engine = hook(node, None, ClientOnline, ClientOffline)
            line = await node.line()
            await line.open("tom", tag="phone")
            await line.call(Generic(cmd=pb.session, op=pb.close, i=5, peerId="tom"))
            line.hang_up()
            await idle()
            came, gone = engine.called
            assert isinstance(came, ClientOnline)
            assert isinstance(gone, ClientOffline)
            assert (came.peer_id, came.tag, gone.tag, gone.close_code) == ("tom", "phone", "phone", 1)

    @on_asyncio
    async def test_that_its_connection_was_lost(self) -> None:
        async with running_node() as node:
            engine = hook(node, None, ClientOffline)
            line = await node.line()
            for client_id in ("tom", "jerry"):
                await line.open(client_id)
            line.hang_up()
            await idle()
            assert heard(engine) == [(2, None, None)] * 2

    @on_asyncio
    async def test_that_nothing_was_heard_of_it_for_too_long(self) -> None:
        async with running_node(Limits(read_timeout_seconds=100)) as node:
            engine = hook(node, None, ClientOffline)
            line = await node.line()
            await line.open("tom")
            await line.receive_all()
            line.hang_up()
            await idle()
            assert heard(engine) == [(2, 4107, "READ_TIMEOUT")]

    @pytest.mark.parametrize(
        ("data", "code", "reason"),
        [
            (b"\x00\x00\x00\x02\xff\xff", 4114, "UNPARSEABLE_RAW_MESSAGE"),
            (b"\x7f\xff\xff\xff", 4109, "FRAME_TOO_LONG"),
        ],
    )
    @on_asyncio
    async def test_that_what_it_sent_cannot_be_read(self, data: bytes, code: int, reason: str) -> None:
        async with running_node() as node:
            engine = hook(node, None, ClientOffline)
            line = await node.line()
            await line.open("tom")
            await line.write(data)
            await line.receive_all()
            line.hang_up()
            await idle()
            assert heard(engine) == [(2, code, reason)]

    @on_asyncio
    async def test_that_another_device_took_its_tag(self) -> None:
        async with running_node() as node:
            engine = hook(node, None, ClientOffline)
            old, new = await node.line(), await node.line()
            await old.open("tom", tag="phone", deviceId="old")
            await new.open("tom", tag="phone", deviceId="new")
            await idle()
            old.hang_up()
            await idle()
            assert heard(engine) == [(3, None, None)]

    @on_asyncio
    async def test_that_its_device_came_back_before_the_loss_was_noticed(self) -> None:
        async with running_node() as node:
            engine = hook(node, None, ClientOnline, ClientOffline)
            old, new = await node.line(), await node.line()
            for line in (old, new):
                await line.open("tom", tag="phone", deviceId="phone")
            await idle()
            assert heard(engine) == [(2, None, None)]
            assert [type(one) for one in engine.called].count(ClientOnline) == 2

    @on_asyncio
    async def test_that_it_opened_another_session_on_the_same_connection(self) -> None:
        async with running_node() as node:
            engine = hook(node, None, ClientOnline, ClientOffline)
            line = await node.line()
            for _ in range(2):
                await line.open("tom")
            await idle()
            assert heard(engine) == [(2, None, None)]

    @on_asyncio
    async def test_that_the_application_ended_its_session(self) -> None:
        async with running_node() as node:
            engine = hook(node, None, ClientOffline)
            line = await node.line()
            await line.open("tom")
            await kick_client(node.tenant.io, "tom", "go")
            await idle()
            line.hang_up()
            await idle()
            assert heard(engine) == [(4, None, None)]

    @on_asyncio
    async def test_nothing_of_those_who_will_be_back_when_the_server_has_started_again(self) -> None:
        async with running_node() as node:
            engine = hook(node, None, ClientOffline)
            line = await node.line()
            await line.open("tom")
            node.dispatcher.stopping = True
            line.hang_up()
            await idle()
            assert engine.called == []
