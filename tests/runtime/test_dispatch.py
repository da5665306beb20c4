import asyncio
from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from fastim.adapters.memory import MemoryStore
from fastim.adapters.memory.store import MemoryApplicationStore
from fastim.core.application import Application
from fastim.core.conversation import Conversation
from fastim.core.ids import AppNumber
from fastim.core.message import Draft, Message, Position
from fastim.core.policy import QUEUED_BATCH
from fastim.core.session import OfflineMode
from fastim.runtime.dispatch import LARGE_ANSWERS_MAX, SEARCHES_MAX
from fastim.settings import Delivery, Limits
from fastim.wire import messages2_pb2 as pb
from tests.fakes.running import idle, on_asyncio
from tests.runtime.node import Line, Node, message, opening, running_node, starting

Generic = pb.GenericCommand
Conv = pb.ConvCommand


def kinds(commands: list[pb.GenericCommand]) -> list[str]:
    """What they are, in short."""
    return [pb.OpType.Name(one.op) if one.HasField("op") else pb.CommandType.Name(one.cmd) for one in commands]


async def receive(line: Line, number: int) -> list[pb.GenericCommand]:
    return [await line.receive() for _ in range(number)]


async def started(line: Line, *members: str, **fields: Any) -> str:
    """The id of a new conversation; what the starting line is told of it has been read."""
    reply = await line.call(starting(*members, **fields))
    while (await line.receive()).op != pb.members_joined:
        pass
    return reply.convMessage.cid


def with_serial(command: pb.GenericCommand, serial: int | None) -> pb.GenericCommand:
    """The same command, but for its serial."""
    other = Generic()
    other.CopyFrom(command)
    other.ClearField("i")
    other.MergeFrom(Generic(i=serial))
    return other


def error_of(generic: pb.GenericCommand) -> tuple[int, str]:
    assert generic.cmd == pb.error
    return generic.errorMessage.code, generic.errorMessage.reason


class TestOpening:
    @on_asyncio
    async def test_the_reply_has_all_that_sdks_need(self) -> None:
        async with running_node() as node:
            line = await node.line()
            opened = await line.open("tom")
            assert (opened.cmd, opened.op, opened.i, opened.peerId) == (pb.session, pb.opened, 1, "tom")
            assert opened.serverTs == node.tenant.io.clock.now()
            assert opened.sessionMessage.st
            assert opened.sessionMessage.stTtl > 0
            assert await line.is_silent()

    @on_asyncio
    async def test_a_client_without_an_id_learns_the_one_it_was_given(self) -> None:
        async with running_node() as node:
            line = await node.line()
            opened = await line.open(None)
            assert opened.op == pb.opened
            assert node.tenant.presence.online([opened.peerId]) == [opened.peerId]

    @pytest.mark.parametrize("client_id", ["", "x" * 65])
    @on_asyncio
    async def test_an_id_that_cannot_be_is_refused(self, client_id: str) -> None:
        """Source: wire protocol, open, failures."""
        async with running_node() as node:
            line = await node.line()
            assert error_of(await line.open(client_id)) == (4103, "INVALID_LOGIN")
            assert len(node.tenant.presence) == 0

    @pytest.mark.parametrize("application_id", ["other", "", None])
    @on_asyncio
    async def test_an_application_that_is_not_here_is_refused(self, application_id: str | None) -> None:
        async with running_node() as node:
            line = await node.line()
            command = Generic(cmd=pb.session, op=pb.open, appId=application_id, peerId="tom", i=1)
            assert error_of(await line.call(command)) == (4100, "APP_NOT_AVAILABLE")

    @on_asyncio
    async def test_a_connection_stays_with_its_application(self) -> None:
        async with running_node() as node:
            other = Application(AppNumber(2), "other", "key", "master", "hook")
            node.dispatcher.tenants["other"] = replace(node.tenant, application=other)
            line = await node.line()
            await line.open()
            second = Generic(cmd=pb.session, op=pb.open, appId="other", peerId="jerry", i=2)
            assert error_of(await line.call(second))[0] == 4100
            query = Generic(cmd=pb.conv, op=pb.query, appId="other", i=3)
            assert error_of(await line.call(query))[0] == 4100
            assert (await line.call(Generic(cmd=pb.conv, op=pb.query, appId="app", i=4))).op == pb.results

    @on_asyncio
    async def test_what_is_unread_follows_the_reply(self) -> None:
        async with running_node() as node:
            tom = await node.line()
            await tom.open("tom")
            tea = await started(tom, "jerry")
            await tom.call(message(tea))
            jerry = await node.line()
            await jerry.send(opening("jerry"))
            opened, unread = await receive(jerry, 2)
            assert (opened.op, unread.cmd, unread.peerId) == (pb.opened, pb.unread, "jerry")
            assert not unread.HasField("i")
            assert [(one.cid, one.unread) for one in unread.unreadMessage.convs] == [(tea, 1)]

    @on_asyncio
    async def test_an_expired_token_is_said_with_and_without_a_serial(self) -> None:
        """Java reopens without one, and clears its token on hearing this. Source: wire protocol, open, failures."""
        async with running_node() as node:
            line = await node.line()
            refused = await line.open("tom", st="made up", r=True)
            assert (refused.i, error_of(refused)) == (1, (4112, "SESSION_TOKEN_EXPIRED"))
            refused = await line.call(with_serial(opening("tom", st="made up", r=True), None))
            assert error_of(refused) == (4112, "SESSION_TOKEN_EXPIRED")
            assert not refused.HasField("i")
            assert refused.peerId == "tom"

    @on_asyncio
    async def test_a_conflict_is_an_error_to_who_asked_with_a_serial_and_an_ending_to_who_did_not(self) -> None:
        """Source: wire protocol, tag, device identity and 4111."""
        async with running_node() as node:
            await (await node.line()).open("tom", tag="mobile", deviceId="phone")
            line = await node.line()
            refused = await line.open("tom", tag="mobile", deviceId="tablet", r=True)
            assert (refused.i, error_of(refused)) == (1, (4111, "SESSION_CONFLICT"))
            ending = await line.call(with_serial(opening("tom", tag="mobile", deviceId="tablet", r=True), None))
            assert (ending.cmd, ending.op, ending.peerId) == (pb.session, pb.closed, "tom")
            assert ending.sessionMessage.code == 4111
            assert not ending.HasField("i")

    @on_asyncio
    async def test_who_is_pushed_out_is_told_and_the_rest_of_its_connection_lives(self) -> None:
        async with running_node() as node:
            phone, tablet = await node.line(), await node.line()
            await phone.open("tom", tag="mobile", deviceId="phone")
            await phone.open("jerry")
            await tablet.open("tom", tag="mobile", deviceId="tablet")
            ending = await phone.receive()
            assert (ending.op, ending.peerId, ending.sessionMessage.code) == (pb.closed, "tom", 4111)
            assert error_of(await phone.call(Generic(cmd=pb.conv, op=pb.query, peerId="tom", i=5)))[0] == 4105
            assert (await phone.call(Generic(cmd=pb.conv, op=pb.query, i=6))).peerId == "jerry"

    @on_asyncio
    async def test_a_device_that_comes_back_ends_its_older_connection_without_a_word(self) -> None:
        async with running_node() as node:
            old, new = await node.line(), await node.line()
            await old.open("tom", deviceId="phone")
            await new.open("tom", deviceId="phone")
            assert await old.receive_all() == []
            assert await new.is_silent()


class TestBeforeASessionIsOpen:
    @pytest.mark.parametrize(
        "command",
        [
            Generic(cmd=pb.conv, op=pb.query, i=5),
            Generic(cmd=pb.session, op=pb.close, i=5),
            Generic(cmd=pb.session, op=pb.refresh, i=5),
            Generic(cmd=pb.logs, i=5),
            Generic(cmd=pb.read, i=5),
            Generic(cmd=pb.report, op=pb.upload, i=5),
        ],
    )
    @on_asyncio
    async def test_nothing_is_done(self, command: pb.GenericCommand) -> None:
        async with running_node() as node:
            line = await node.line()
            refused = await line.call(command)
            assert (refused.i, error_of(refused)) == (5, (4105, "SESSION_REQUIRED"))
            await line.send(with_serial(command, None))
            assert await line.is_silent()

    @on_asyncio
    async def test_a_message_is_refused_by_an_ack(self) -> None:
        async with running_node() as node:
            refused = await (await node.line()).call(message("c", serial=7))
            assert (refused.cmd, refused.i, refused.ackMessage.code) == (pb.ack, 7, 4105)

    @on_asyncio
    async def test_an_echo_is_answered_as_it_came(self) -> None:
        """C# sends it without a serial and with an id of its own. Source: wire protocol, heartbeat and timeouts."""
        async with running_node() as node:
            line = await node.line()
            assert await line.call(Generic(cmd=pb.echo, i=-3)) == Generic(cmd=pb.echo, i=-3, service=2)
            assert await line.call(Generic(cmd=pb.echo, peerId="who", appId="x")) == Generic(cmd=pb.echo, service=2)

    @on_asyncio
    async def test_a_device_may_say_hello(self) -> None:
        async with running_node() as node:
            line = await node.line()
            hello = await line.call(Generic(cmd=pb.login, appId="app", installationId="phone"))
            assert (hello.cmd, hello.service, hello.installationId) == (pb.loggedin, 0, "phone")
            assert not hello.HasField("i")
            hello = await line.call(Generic(cmd=pb.login, installationId="live", service=1, i=4))
            assert (hello.cmd, hello.service, hello.i) == (pb.loggedin, 1, 4)

    @on_asyncio
    async def test_nobody_waits_for_the_answer_to_an_ack(self) -> None:
        async with running_node() as node:
            line = await node.line()
            await line.send(Generic(cmd=pb.ack, ackMessage=pb.AckCommand(cid="c", mid="m")))
            assert await line.is_silent()
            await line.open()
            await line.send(Generic(cmd=pb.ack, ackMessage=pb.AckCommand(cid="c", fromts=1, tots=2)))
            assert await line.is_silent()


class TestAnswers:
    @pytest.mark.parametrize("serial", [-65_535, 0, 2**31 - 1])
    @on_asyncio
    async def test_carry_the_serial_and_the_client(self, serial: int) -> None:
        async with running_node() as node:
            line = await node.line()
            await line.open("tom")
            reply = await line.call(Generic(cmd=pb.conv, op=pb.query, i=serial))
            assert reply.HasField("i")
            assert (reply.i, reply.peerId) == (serial, "tom")
            missing = Generic(cmd=pb.conv, op=pb.count, i=serial, convMessage=Conv(cid="x"))
            refused = await line.call(missing)
            assert (refused.i, refused.peerId) == (serial, "tom")
            assert error_of(refused) == (4303, "CONVERSATION_NOT_FOUND")

    @on_asyncio
    async def test_a_request_without_a_serial_gets_a_reply_without_one_and_no_error(self) -> None:
        async with running_node() as node:
            line = await node.line()
            await line.open()
            reply = await line.call(Generic(cmd=pb.conv, op=pb.query))
            assert reply.op == pb.results
            assert not reply.HasField("i")
            await line.send(Generic(cmd=pb.conv, op=pb.count, convMessage=Conv(cid="x")))
            await line.send(message("x", serial=None))
            assert await line.is_silent()

    @on_asyncio
    async def test_reading_is_never_answered_but_told(self) -> None:
        async with running_node() as node:
            line = await node.line()
            await line.open()
            tea = await started(line)
            read = pb.ReadCommand(convs=[pb.ReadTuple(cid=tea)])
            for serial in (None, 9):
                told = await line.call(Generic(cmd=pb.read, i=serial, readMessage=read))
                assert told.cmd == pb.unread
                assert not told.HasField("i")
            assert await line.is_silent()

    @on_asyncio
    async def test_a_message_that_is_refused_gets_an_ack_with_a_code(self) -> None:
        async with running_node() as node:
            line = await node.line()
            await line.open()
            refused = await line.call(message("0" * 24, serial=8))
            assert (refused.cmd, refused.i, refused.peerId) == (pb.ack, 8, "tom")
            assert (refused.ackMessage.code, refused.ackMessage.reason) == (4401, "INVALID_MESSAGING_TARGET")

    @pytest.mark.parametrize(
        "command",
        [
            Generic(cmd=pb.goaway),
            Generic(cmd=pb.patch, op=pb.modify),
            Generic(cmd=pb.conv, op=pb.status),
            Generic(cmd=pb.session, op=pb.opened),
            Generic(cmd=pb.session),
            Generic(),
        ],
    )
    @on_asyncio
    async def test_what_is_unknown_is_refused_if_it_has_a_serial_and_harms_nobody(
        self, command: pb.GenericCommand
    ) -> None:
        async with running_node() as node:
            line = await node.line()
            await line.open()
            await line.send(command)
            refused = await line.call(with_serial(command, 5))
            assert (refused.i, error_of(refused)) == (5, (4200, "INTERNAL_ERROR"))
            assert await line.is_silent()

    @on_asyncio
    async def test_what_is_no_command_ends_the_connection(self) -> None:
        async with running_node() as node:
            line, other = await node.line(), await node.line()
            await line.open()
            await other.open("jerry")
            await line.write(b"\x00\x00\x00\x03\xff\xff\xff" + b"\x00\x00\x00\x02\x08\x0e")
            (farewell,) = await line.receive_all()
            assert error_of(farewell) == (4114, "UNPARSEABLE_RAW_MESSAGE")
            assert await other.is_silent()


class TestSeveralClientsOnOneConnection:
    @on_asyncio
    async def test_whose_command_it_is(self) -> None:
        """Source: wire protocol, several clients on one connection."""
        async with running_node() as node:
            line = await node.line()
            await line.open("tom")
            await line.open("jerry")
            query = Generic(cmd=pb.conv, op=pb.query, i=5)
            assert (await line.call(query)).peerId == "tom"
            query.peerId = "jerry"
            assert (await line.call(query)).peerId == "jerry"
            query.peerId = "spike"
            refused = await line.call(query)
            assert (refused.peerId, error_of(refused)) == ("spike", (4105, "SESSION_REQUIRED"))

    @on_asyncio
    async def test_one_may_close_and_the_other_stays(self) -> None:
        async with running_node() as node:
            line = await node.line()
            await line.open("tom")
            await line.open("jerry")
            closed = await line.call(Generic(cmd=pb.session, op=pb.close, peerId="tom", i=5))
            assert (closed.op, closed.i, closed.peerId) == (pb.closed, 5, "tom")
            assert not closed.sessionMessage.HasField("code")
            assert (await line.call(Generic(cmd=pb.conv, op=pb.query, i=6))).peerId == "jerry"
            assert node.tenant.presence.online(["tom", "jerry"]) == ["jerry"]

    @on_asyncio
    async def test_opening_again_takes_the_place_of_the_session_before(self) -> None:
        async with running_node() as node:
            line = await node.line()
            for device in ("a", "a", "b", ""):
                assert (await line.open("tom", deviceId=device)).op == pb.opened
            assert len(node.tenant.presence) == 1
            assert await line.is_silent()


class TestOrder:
    @on_asyncio
    async def test_a_reply_comes_before_what_it_causes(self) -> None:
        """Two clients share the socket. Source: wire protocol, envelope rules."""
        async with running_node() as node:
            line = await node.line()
            await line.open("tom")
            await line.open("jerry")
            await line.send(starting("jerry", peerId="tom"))
            commands = await receive(line, 5)
            assert kinds(commands) == ["started", "joined", "joined", "members_joined", "members_joined"]
            tea = commands[0].convMessage.cid
            await line.send(message(tea, peerId="tom"))
            commands = await receive(line, 2)
            assert kinds(commands) == ["ack", "direct"]
            assert commands[1].peerId == "jerry"
            update = Conv(cid=tea, attr=pb.JsonObjectMessage(data='{"name":"tea"}'))
            await line.send(Generic(cmd=pb.conv, op=pb.update, peerId="tom", i=6, convMessage=update))
            commands = await receive(line, 2)
            assert [(one.HasField("i"), one.peerId) for one in commands] == [(True, "tom"), (False, "jerry")]
            await line.send(
                Generic(cmd=pb.conv, op=pb.remove, peerId="tom", i=7, convMessage=Conv(cid=tea, m=["jerry"]))
            )
            assert kinds(await receive(line, 3)) == ["removed", "left", "members_left"]

    @on_asyncio
    async def test_commands_are_begun_in_the_order_in_which_they_came(self) -> None:
        async with running_node() as node:
            line = await node.line()
            await line.open("tom")
            tea = await started(line)
            await line.send(*(message(tea, str(number).encode(), serial=number) for number in range(20)))
            assert [one.i for one in await receive(line, 20)] == list(range(20))
            logs = await line.call(Generic(cmd=pb.logs, i=99, logsMessage=pb.LogsCommand(cid=tea, limit=20)))
            assert [item.data for item in logs.logsMessage.logs] == [str(number).encode() for number in range(20)]

    @on_asyncio
    async def test_a_member_gets_them_in_the_order_of_the_history(self) -> None:
        async with running_node() as node:
            tom, jerry = await node.line(), await node.line()
            await jerry.open("jerry")
            await tom.open("tom")
            tea = await started(tom, "jerry")
            for line in (tom, jerry):
                await line.send(*(message(tea, serial=number) for number in range(10)))
            await idle()
            logs = await tom.call(Generic(cmd=pb.logs, i=99, logsMessage=pb.LogsCommand(cid=tea, limit=100)))
            received = []
            while logs.cmd != pb.logs:
                received.append(logs)
                logs = await tom.receive()
            assert [one.directMessage.id for one in received if one.cmd == pb.direct] == [
                item.msgId for item in logs.logsMessage.logs if item.sender == "jerry"
            ]


class TestBugs:
    @on_asyncio
    async def test_a_bug_is_answered_logged_and_survived(self) -> None:
        async with running_node(store=Broken()) as node:
            line = await node.line()
            await line.open()
            with capture_logs() as logs:
                refused = await line.call(Generic(cmd=pb.conv, op=pb.count, i=5, convMessage=Conv(cid="0" * 24)))
                answered = await line.call(message("0" * 24, serial=6))
            assert error_of(refused) == (4200, "INTERNAL_ERROR")
            assert refused.errorMessage.detail == ""
            assert (answered.cmd, answered.ackMessage.code) == (pb.ack, 4200)
            assert [(one["event"], one["command"]) for one in logs] == [
                ("a command failed", "CountMembers"),
                ("a command failed", "Send"),
            ]
            assert await line.is_silent()

    @on_asyncio
    async def test_a_bug_in_what_nobody_waits_for_is_survived_too(self) -> None:
        async with running_node(store=Broken()) as node:
            line = await node.line()
            await line.open()
            with capture_logs() as logs:
                await line.send(Generic(cmd=pb.conv, op=pb.count, convMessage=Conv(cid="0" * 24)))
                assert await line.is_silent()
                await idle()
            assert [one["event"] for one in logs] == ["a command failed"]


class Slow(MemoryApplicationStore):
    """Takes a second over each stretch of history, and counts.

    Attributes:
        begun: Stretches asked for.
        at_once: Most of them under way at one time.
    """

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.begun = self.at_once = self._under_way = 0

    async def history(self, *arguments: Any) -> list[Message]:
        self.begun += 1
        self._under_way += 1
        self.at_once = max(self.at_once, self._under_way)
        await asyncio.sleep(1)  # on a loop whose clock jumps
        self._under_way -= 1
        return await super().history(*arguments)


class Broken(MemoryApplicationStore):
    """A store with a bug."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())

    async def find_conversation(self, conversation_id: str) -> Conversation | None:
        raise RuntimeError("a bug")


class TestCounting:
    @on_asyncio
    async def test_commands_by_kind_and_refusals_by_code(self) -> None:
        async with running_node() as node:
            line = await node.line()
            await line.open()
            await line.call(message("c"))
            await line.call(message("c"))
            await line.call(Generic(cmd=pb.goaway, i=5))
            assert node.dispatcher.commands == {"OpenSession": 1, "Send": 2, "Unknown": 1}
            assert node.dispatcher.refusals == {4401: 2, 4200: 1}

    @on_asyncio
    async def test_the_end_waits_for_what_is_under_way(self) -> None:
        async with running_node() as node:
            line = await node.line()
            await line.open()
            tea = await started(line)
            await line.send(*(message(tea, serial=number) for number in range(5)))
            await idle()
            await node.dispatcher.finish()
            head = await node.store.find_head(tea)
            assert await node.store.find_message(tea, Position(head.timestamp, head.last_id)) is not None
            assert head.sequence == 5


class TestBeginning:
    """Commands begin in the order in which they come, though some do without a task."""

    @on_asyncio
    async def test_a_send_does_not_overtake_what_came_before_it(self) -> None:
        async with running_node() as node:
            tom, jerry = await node.line(), await node.line()
            await tom.open("tom")
            await jerry.open("jerry")
            tea = await started(tom)
            joining = Generic(cmd=pb.conv, op=pb.add, i=7, convMessage=Conv(cid=tea, m=["jerry"]))
            await jerry.send(joining, message(tea, serial=8), joining, message(tea, serial=9))
            replies = [one for one in await receive(jerry, 6) if one.HasField("i")]
            assert [one.i for one in replies] == [7, 8, 7, 9]
            assert not any(one.HasField("errorMessage") or one.ackMessage.HasField("code") for one in replies)

    @on_asyncio
    async def test_sends_are_acked_in_the_order_in_which_they_came(self) -> None:
        async with running_node() as node:
            line = await node.line()
            await line.open()
            tea = await started(line)
            sends = [message(tea, serial=serial) for serial in range(10, 20)]
            for one in sends[::3]:
                one.directMessage.transient = True
            await line.send(*sends)
            acks = await receive(line, 10)
            stored = [one.i for one in acks if (one.i - 10) % 3]
            assert stored == sorted(stored)
            passing = [one.i for one in acks if not (one.i - 10) % 3]
            assert passing == sorted(passing)
            assert {one.i for one in acks} == set(range(10, 20))

    @on_asyncio
    async def test_one_turn_does_no_more_of_a_connections_commands_than_may_be_under_way(self) -> None:
        """They are done as they are read, and one read may bring thousands."""
        async with running_node(Limits(commands_in_flight=4)) as node:
            line = await node.line()
            await line.open()
            tea = await started(line)
            done: list[int] = []
            loop = asyncio.get_running_loop()

            def look() -> None:
                done.append(node.dispatcher.commands.get("Send", 0))
                if done[-1] < 20:
                    loop.call_soon(look)

            passing = message(tea, serial=None)
            passing.directMessage.transient = True
            await line.send(*[passing] * 20)
            look()
            await idle()
            assert done[-1] == 20
            assert max(after - earlier for earlier, after in pairwise(done)) == 4


class TestTooMuch:
    """Source: semantics, rules 2.3 to 2.5; but nothing that wants an answer goes without one."""

    @on_asyncio
    async def test_a_send_is_refused_by_an_ack_and_all_else_by_an_error(self) -> None:
        limits = Limits(sends_per_minute=1, history_per_minute=1, operations_per_minute=3)
        async with running_node(limits) as node:
            line = await node.line()
            await line.open()
            tea = await started(line)
            history = Generic(cmd=pb.logs, i=4, logsMessage=pb.LogsCommand(cid=tea))
            count = Generic(cmd=pb.conv, op=pb.count, i=5, convMessage=Conv(cid=tea))
            for command in (message(tea), history, count):
                assert (await line.call(command)).cmd in (pb.ack, pb.logs, pb.conv)
            refused = await line.call(message(tea))
            assert (refused.cmd, refused.i, refused.peerId) == (pb.ack, 3, "tom")
            assert (refused.ackMessage.code, refused.ackMessage.reason) == (4116, "MESSAGE_SENT_QUOTA_EXCEEDED")
            for command in (history, count, with_serial(opening("tom"), 6), Generic(cmd=pb.goaway, i=7)):
                refused = await line.call(command)
                assert error_of(refused) == (4318, "CONVERSATION_API_QUOTA_EXCEEDED")
                assert refused.i == command.i
            assert node.counters.bites["sends"] == node.counters.bites["history"] == 1
            assert node.counters.bites["operations"] == 3
            assert node.dispatcher.refusals == {4116: 1, 4318: 4}
            await line.send(with_serial(message(tea), None), with_serial(count, None))
            assert await line.is_silent()
            assert (await node.store.find_head(tea)).sequence == 1

    @on_asyncio
    async def test_echo_ack_and_goodbye_are_never_too_much(self) -> None:
        async with running_node(Limits(operations_per_minute=1)) as node:
            line = await node.line()
            await line.open()
            ack = Generic(cmd=pb.ack, i=3, ackMessage=pb.AckCommand(cid="c", mid="m"))
            for _ in range(20):
                await line.send(ack, with_serial(ack, None))
                assert (await line.call(Generic(cmd=pb.echo, i=9))).cmd == pb.echo
            assert (await line.call(Generic(cmd=pb.session, op=pb.close, i=4))).op == pb.closed

    @on_asyncio
    async def test_who_asks_on_and_on_without_a_session_is_sent_away(self) -> None:
        async with running_node(Limits(operations_per_minute=5)) as node:
            line = await node.line()
            await line.send(*(message("c", serial=number) for number in range(50)))
            answers = await line.receive_all()
            assert [ack.ackMessage.code for ack in answers[:-1]] == [4105] * 6
            assert answers[-1].errorMessage.code == 4108

    @on_asyncio
    async def test_opening_under_ever_new_names_uses_up_the_connection_s_quota(self) -> None:
        async with running_node(Limits(operations_per_minute=3)) as node:
            line = await node.line()
            for number in range(3):
                await line.open(f"client{number}")
            assert error_of(await line.call(opening("client3")))[0] == 4318

    @on_asyncio
    async def test_large_answers_are_made_one_at_a_time_and_not_for_who_has_gone(self) -> None:
        store = Slow()
        async with running_node(store=store) as node:
            line = await node.line()
            await line.open()
            tea = await started(line)
            history = Generic(cmd=pb.logs, i=4, logsMessage=pb.LogsCommand(cid=tea))
            asked = [with_serial(history, number) for number in range(5)]
            await line.send(*asked)
            assert [reply.i for reply in await receive(line, 5)] == list(range(5))
            assert (store.begun, store.at_once) == (5, 1)
            await line.send(*asked)
            await idle()
            line.hang_up()
            await node.dispatcher.finish()
            assert store.begun == 6

    @on_asyncio
    async def test_searches_leave_room_for_other_large_answers(self) -> None:
        store = Slow()
        async with running_node(store=store) as node:
            first = await node.line()
            await first.open()
            tea = await started(first)
            lines = [await node.line() for _ in range(LARGE_ANSWERS_MAX)]
            for line in lines:
                await line.open()
                await line.send(Generic(cmd=pb.logs, i=4, logsMessage=pb.LogsCommand(cid=tea, lctype=7)))
            await idle()
            assert store.begun == SEARCHES_MAX
            reader = await node.line()
            await reader.open()
            await reader.send(Generic(cmd=pb.logs, i=5, logsMessage=pb.LogsCommand(cid=tea)))
            await idle()
            assert store.begun == SEARCHES_MAX + 1
            assert [(await line.receive()).i for line in (reader, *lines)] == [5] + [4] * len(lines)

    @on_asyncio
    async def test_a_client_has_one_quota_on_all_its_devices_and_another_client_another(self) -> None:
        async with running_node(Limits(sends_per_minute=2)) as node:
            phone, pc, jerry = await node.line(), await node.line(), await node.line()
            await phone.open("tom")
            await pc.open("tom")
            await jerry.open("jerry")
            codes = [(await line.call(message("c"))).ackMessage.code for line in (phone, pc, phone, pc, jerry)]
            assert codes == [4401, 4401, 4116, 4116, 4401]

    @on_asyncio
    async def test_after_a_while_there_is_room_again(self) -> None:
        async with running_node(Limits(sends_per_minute=60)) as node:
            line = await node.line()
            await line.open()
            tea = await started(line)
            await line.send(*(message(tea) for _ in range(61)))
            codes = [ack.ackMessage.code for ack in await receive(line, 61)]
            assert codes == [0] * 60 + [4116]
            await asyncio.sleep(1.1)
            assert (await line.call(message(tea))).ackMessage.uid
            assert (await line.call(message(tea))).ackMessage.code == 4116

    @on_asyncio
    async def test_who_cannot_come_in_uses_up_nobody_s_quota_but_the_connection_s(self) -> None:
        async with running_node(Limits(operations_per_minute=3)) as node:
            stranger = await node.line()
            wrong = opening("tom", st="made up")
            codes = [(await stranger.call(wrong)).errorMessage.code for _ in range(5)]
            assert codes == [4112, 4112, 4112, 4318, 4318]
            assert (await stranger.open("jerry")).errorMessage.code == 4318
            line = await node.line()
            assert (await line.open("tom")).op == pb.opened
            stranger.hang_up()
            assert (await (await node.line()).call(wrong)).errorMessage.code == 4112

    @on_asyncio
    async def test_a_client_that_opens_too_often_is_told_so_on_every_connection(self) -> None:
        async with running_node(Limits(operations_per_minute=2)) as node:
            replies = [await (await node.line()).open("tom") for _ in range(4)]
            assert [reply.op == pb.opened for reply in replies] == [True, True, False, False]
            assert error_of(replies[-1]) == (4318, "CONVERSATION_API_QUOTA_EXCEEDED")


class TestMuchToTell:
    """More than a connection may let pile up, for a client that takes all of it in the end."""

    MESSAGES = 100
    TALKS = 8
    DELIVERY = Delivery(outbox_bytes=65_536)

    async def _said(self, node: Node, *, text: bytes = b"x" * 4_000) -> tuple[str, list[Message]]:
        """Messages of tom's to jerry, who is away."""
        tom = await node.line()
        await tom.open("tom")
        tea = await started(tom, "jerry")
        tom.hang_up()
        draft = Draft("tom", text)
        return tea, [(await node.store.append(tea, draft, node.clock.now())).message for _ in range(self.MESSAGES)]

    @on_asyncio
    async def test_patches_that_were_missed_wait_for_room(self) -> None:
        async with running_node(delivery=self.DELIVERY) as node:
            tea, messages = await self._said(node)
            for one in messages:
                await node.store.patch_message(tea, one, node.clock.now())
            jerry = await node.line()
            await jerry.send(opening("jerry", lastPatchTime=1))
            assert kinds(await receive(jerry, 2)) == ["opened", "unread"]
            patched = [(await jerry.receive()).patchMessage.patches[0].mid for _ in messages]
            assert patched == [one.id for one in messages]
            assert not node.counters.bites.get("outbox_cut")

    @on_asyncio
    async def test_a_patch_that_waits_does_not_take_the_place_of_a_later_one(self) -> None:
        async with running_node(delivery=self.DELIVERY) as node:
            tea, messages = await self._said(node)
            for one in messages:
                await node.store.patch_message(tea, one, node.clock.now())
            jerry, tom = await node.line(), await node.line()
            await tom.open("tom")
            await jerry.send(opening("jerry", lastPatchTime=1))
            while not jerry.connection.clogged:
                await idle()
            last = messages[-1]
            item = pb.PatchItem(cid=tea, mid=last.id, timestamp=last.timestamp, data=b"newest")
            patch = Generic(cmd=pb.patch, op=pb.modify, i=5, patchMessage=pb.PatchCommand(patches=[item]))
            assert (await tom.call(patch)).op == pb.modified
            await receive(jerry, 2)
            told = [(await jerry.receive()).patchMessage.patches[0] for _ in messages]
            assert [one.data for one in told if one.mid == last.id] == [b"newest"]
            assert await jerry.is_silent()

    @on_asyncio
    async def test_missed_messages_wait_for_room(self) -> None:
        async with running_node(delivery=self.DELIVERY) as node:
            talks = dict([await self._said(node) for _ in range(self.TALKS)])
            jerry = await node.line()
            jerry.connection.link.offline_mode = OfflineMode.PUSH
            await jerry.open("jerry")
            pushed: dict[str, list[str]] = {}
            for _ in range(self.TALKS * QUEUED_BATCH):
                direct = (await jerry.receive()).directMessage
                pushed.setdefault(direct.cid, []).append(direct.id)
            assert pushed == {tea: [one.id for one in messages[:QUEUED_BATCH]] for tea, messages in talks.items()}

    @on_asyncio
    async def test_large_answers_asked_for_in_one_go_wait_for_room(self) -> None:
        async with running_node(delivery=self.DELIVERY) as node:
            tea, messages = await self._said(node)
            tom = await node.line()
            await tom.open("tom")
            logs = pb.LogsCommand(cid=tea, limit=self.MESSAGES)
            await tom.send(*(Generic(cmd=pb.logs, i=serial, logsMessage=logs) for serial in range(4)))
            answers = await receive(tom, 4)
            assert [(one.i, len(one.logsMessage.logs)) for one in answers] == [(n, len(messages)) for n in range(4)]

    @on_asyncio
    async def test_who_goes_meanwhile_is_not_waited_for(self) -> None:
        async with running_node(delivery=self.DELIVERY) as node:
            tea, messages = await self._said(node)
            for one in messages:
                await node.store.patch_message(tea, one, node.clock.now())
            jerry = await node.line()
            await jerry.send(opening("jerry", lastPatchTime=1))
            await jerry.receive()
            while not jerry.connection.clogged:
                await idle()
            jerry.hang_up()
            await node.dispatcher.finish()
            assert node.tenant.presence.online(["jerry"]) == []


class TestGone:
    @on_asyncio
    async def test_who_has_opened_a_session_may_be_silent_for_longer(self) -> None:
        async with running_node(Limits(login_seconds=20, read_timeout_seconds=100)) as node:
            line = await node.line()
            await line.open()
            began = asyncio.get_running_loop().time()
            (farewell,) = await line.receive_all()
            assert error_of(farewell) == (4107, "READ_TIMEOUT")
            assert 100 <= asyncio.get_running_loop().time() - began < 103

    @on_asyncio
    async def test_sessions_go_with_their_connection(self) -> None:
        async with running_node() as node:
            line, other = await node.line(), await node.line()
            await line.open("tom")
            await line.open("jerry")
            await other.open("tom")
            line.hang_up()
            await idle()
            assert node.tenant.presence.online(["tom", "jerry"]) == ["tom"]
            assert len(node.tenant.presence) == 1

    @on_asyncio
    async def test_a_session_is_not_opened_on_a_connection_that_has_gone(self) -> None:
        async with running_node() as node:
            line = await node.line()
            await line.send(opening("tom"))
            line.hang_up()
            await idle()
            assert len(node.tenant.presence) == 0
