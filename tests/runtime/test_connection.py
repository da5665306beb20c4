import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from fastim._frames import encode_tcp
from fastim.core.errors import CodedError, FrameTooLong, ServerStopping
from fastim.core.session import Config, OfflineMode, Session
from fastim.core.units import Millis
from fastim.doors.tcp import TcpProtocol
from fastim.runtime.connection import COMMANDS_OVERDRAFT, NOBODY, Connection
from fastim.settings import Delivery, Limits
from fastim.wire import messages2_pb2 as pb
from tests.fakes.running import idle, on_asyncio
from tests.runtime.node import Line, Switchboard

OUTBOX_BYTES = 65_536
PUSH = pb.GenericCommand(cmd=pb.direct, directMessage=pb.DirectCommand(msg=b"x" * 8_000)).SerializeToString()
LIMITS = Limits(
    login_seconds=20,
    read_timeout_seconds=40,
    write_timeout_seconds=15,
    handshake_seconds=5,
    commands_in_flight=2,
)


class Recorder:
    """Fulfils ``Receiver``: keeps what comes in.

    Attributes:
        holding: Whether commands stay under way until they are told to finish.
    """

    def __init__(self) -> None:
        self.serials: list[int] = []
        self.drains: list[set[str]] = []
        self.gone = asyncio.Event()
        self.holding = False

    def start(self, connection: Connection, body: bytes) -> None:
        self.serials.append(pb.GenericCommand.FromString(body).i)
        if self.holding:
            connection.began()

    def drained(self, connection: Connection) -> None:
        self.drains.append(set(connection.behind))
        connection.behind = NOBODY

    def lost(self, connection: Connection) -> None:
        self.gone.set()


@asynccontextmanager
async def connected(*, session: bool = True) -> AsyncIterator[tuple[Line, Recorder]]:
    """A connection, with a session on it or none."""
    recorder = Recorder()
    switchboard = Switchboard(recorder, LIMITS, Delivery(outbox_bytes=OUTBOX_BYTES))
    line = await switchboard.line()
    if session:
        opened = Session(1, "tom", "", "", Config(0), OfflineMode.UNREAD, Millis(0))
        line.connection.link.opened(opened)
        line.connection.heard()
    try:
        yield line, recorder
    finally:
        await switchboard.close()


@on_asyncio
async def test_what_a_door_has_written_and_the_socket_has_not_taken_goes_first() -> None:
    """As when a WebSocket begins behind the answer to a request, which is long and has not been read."""
    loop = asyncio.get_running_loop()
    server, client = socket.socketpair()
    for end in (server, client):
        end.setblocking(False)
    switchboard = Switchboard(Recorder(), LIMITS, Delivery())
    transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, server)
    answer = b"a" * 1_000_000
    transport.write(answer)
    door = TcpProtocol(switchboard.gateway)
    transport.set_protocol(door)
    door.connection_made(transport)
    (connection,) = switchboard.gateway.connections
    came = b""
    connection.send(b"hello")
    while len(came) < len(answer) + 9:
        data = await loop.sock_recv(client, 262_144)
        assert data
        came += data
    assert came == answer + encode_tcp(b"hello")
    assert not connection.wire.blocked
    client.close()
    await switchboard.close()


def echo(serial: int) -> pb.GenericCommand:
    return pb.GenericCommand(cmd=pb.echo, i=serial)


def now() -> float:
    return asyncio.get_running_loop().time()


async def later(seconds: float) -> None:
    passed = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(seconds, passed.set_result, None)
    await passed


async def clog(line: Line) -> int:
    """Offer deliveries to a client that reads none, until one is left out; how many were not."""
    taken = 0
    while line.connection.offer(PUSH, "tom"):
        taken += 1
        await idle()
    assert line.connection.clogged
    return taken


def is_clogged(line: Line) -> bool:
    return line.connection.clogged


def bites(line: Line) -> dict[str, int]:
    """The limits that bit."""
    return {limit: number for limit, number in line.connection._counters.bites.items() if number}


def codes(commands: list[pb.GenericCommand]) -> list[int]:
    return [one.errorMessage.code for one in commands]


class TestDeadlines:
    @on_asyncio
    async def test_who_opens_no_session_in_time_has_to_go_heartbeats_or_not(self) -> None:
        async with connected(session=False) as (line, recorder):
            began = now()
            await line.send(echo(0))
            for serial in range(1, 4):
                await later(5)
                await line.send(echo(serial))
            assert codes(await line.receive_all()) == [4108]
            line.hang_up()
            await recorder.gone.wait()
            assert 20 <= now() - began < 23
            assert recorder.serials == [0, 1, 2, 3]
            assert bites(line) == {"login": 1}

    @pytest.mark.parametrize("data", [b"", b"\0", encode_tcp(echo(1).SerializeToString())[:-1]])
    @on_asyncio
    async def test_who_sends_no_whole_frame_has_to_go_sooner_and_is_not_waited_for(self, data: bytes) -> None:
        async with connected(session=False) as (line, recorder):
            began = now()
            await line.write(data)
            assert codes(await line.receive_all()) == [4108]
            assert 3 <= now() - began <= 5
            await recorder.gone.wait()
            assert now() - began <= 6
            assert recorder.serials == []
            assert bites(line) == {"handshake": 1}

    @on_asyncio
    async def test_who_is_not_heard_of_has_to_go(self) -> None:
        async with connected() as (line, recorder):
            for serial in range(3):
                await later(35)
                await line.send(echo(serial))
            heard = now()
            assert codes(await line.receive_all()) == [4107]
            assert 40 <= now() - heard < 43
            assert bites(line) == {"read_timeout": 1}
            line.hang_up()
            await recorder.gone.wait()

    @on_asyncio
    async def test_who_takes_nothing_is_cut_off(self) -> None:
        async with connected() as (line, recorder):
            taken = await clog(line)
            began = now()
            await later(10)
            line.connection.heard()
            await recorder.gone.wait()
            assert 15 <= now() - began < 18
            assert bites(line) == {"write_timeout": 1, "outbox": 1}
            assert len(await line.receive_all()) < taken

    @on_asyncio
    async def test_who_takes_slowly_what_waits_for_it_is_not(self) -> None:
        async with connected() as (line, recorder):
            line.connection.send(b"x" * 5_000_000)
            await idle()
            for _ in range(5):
                await later(10)
                await line.take(300_000)
            assert is_clogged(line)
            assert not line.connection.lost
            await recorder.gone.wait()
            assert bites(line) == {"write_timeout": 1}

    @on_asyncio
    async def test_who_does_not_close_its_half_is_not_waited_for_long(self) -> None:
        async with connected() as (line, recorder):
            line.connection.close(ServerStopping())
            began = now()
            await recorder.gone.wait()
            assert 5 <= now() - began < 8


class TestClosing:
    @pytest.mark.parametrize("closure", [ServerStopping(), FrameTooLong()])
    @on_asyncio
    async def test_all_that_was_sent_arrives_and_last_the_reason(self, closure: CodedError) -> None:
        async with connected() as (line, recorder):
            for _ in range(5):
                line.connection.send(PUSH)
            line.connection.close(closure)  # type: ignore[arg-type]
            line.connection.send(PUSH)
            line.connection.close(closure)  # type: ignore[arg-type]
            assert codes(await line.receive_all()) == [0, 0, 0, 0, 0, closure.code]
            line.hang_up()
            await recorder.gone.wait()

    @on_asyncio
    async def test_what_comes_in_meanwhile_is_not_looked_at_and_resets_nothing(self) -> None:
        async with connected() as (line, recorder):
            await line.send(*map(echo, range(100)))
            line.connection.close(ServerStopping())
            await line.send(*map(echo, range(100)))
            assert codes(await line.receive_all()) == [1001]
            await line.send(echo(7))
            line.hang_up()
            await recorder.gone.wait()
            assert recorder.serials == []

    @on_asyncio
    async def test_a_client_that_was_not_read_is_seen_to_leave(self) -> None:
        async with connected() as (line, recorder):
            recorder.holding = True
            await line.send(*map(echo, range(10)))
            await idle()
            began = now()
            line.connection.close(ServerStopping())
            assert codes(await line.receive_all()) == [1001]
            line.hang_up()
            await recorder.gone.wait()
            assert now() - began < 1
            assert recorder.serials == [0, 1]

    @on_asyncio
    async def test_it_may_end_without_a_word(self) -> None:
        async with connected() as (line, _):
            line.connection.send(PUSH)
            line.connection.shut()
            assert codes(await line.receive_all()) == [0]

    @on_asyncio
    async def test_a_client_that_ends_its_half_is_let_go(self) -> None:
        async with connected() as (line, recorder):
            line.hang_up()
            await recorder.gone.wait()
            assert line.connection.lost
            line.connection.send(PUSH)
            assert not line.connection.offer(PUSH, "tom")
            line.connection.close(ServerStopping())


class TestReading:
    @on_asyncio
    async def test_pauses_while_as_many_commands_are_under_way_as_may(self) -> None:
        async with connected() as (line, recorder):
            recorder.holding = True
            await line.send(*map(echo, range(6)))
            await idle()
            assert recorder.serials == [0, 1]
            assert bites(line) == {"commands_in_flight": 1}
            line.connection.finished()
            await idle()
            assert recorder.serials == [0, 1, 2]
            line.connection.finished()
            line.connection.finished()
            await idle()
            assert recorder.serials == [0, 1, 2, 3, 4]
            recorder.holding = False
            line.connection.finished()
            await idle()
            assert recorder.serials == [0, 1, 2, 3, 4, 5]
            await line.send(echo(6))
            await idle()
            assert recorder.serials == [0, 1, 2, 3, 4, 5, 6]

    @on_asyncio
    async def test_pauses_while_the_socket_is_full(self) -> None:
        async with connected() as (line, recorder):
            taken = await clog(line)
            await line.send(*map(echo, range(3)))
            await idle()
            assert recorder.serials == []
            for _ in range(taken):
                await line.receive()
            await idle()
            assert recorder.serials == [0, 1, 2]


class TestWriting:
    @on_asyncio
    async def test_commands_and_deliveries_leave_in_the_order_they_came(self) -> None:
        async with connected() as (line, _):
            for serial in range(50):
                body = echo(serial).SerializeToString()
                if serial % 2:
                    line.connection.send(body)
                else:
                    line.connection.offer(body, "tom")
                if serial % 7 == 0:
                    await idle()
            assert [(await line.receive()).i for _ in range(50)] == list(range(50))

    @on_asyncio
    async def test_who_can_wait_goes_on_when_there_is_room_again(self) -> None:
        async with connected() as (line, _):
            await line.connection.ready()
            taken = await clog(line)
            waiting = [asyncio.create_task(line.connection.ready()) for _ in range(2)]
            await idle()
            assert not any(one.done() for one in waiting)
            for _ in range(taken):
                await line.receive()
            await asyncio.gather(*waiting)
            assert not line.connection.clogged

    @pytest.mark.parametrize("end", [Connection.abort, Connection.hurry])
    @on_asyncio
    async def test_nobody_waits_for_room_where_there_will_be_none(self, end: Callable[[Connection], None]) -> None:
        async with connected() as (line, _):
            await clog(line)
            waiting = asyncio.create_task(line.connection.ready())
            await idle()
            end(line.connection)
            await waiting
            await line.connection.ready()

    @on_asyncio
    async def test_a_delivery_that_does_not_fit_is_left_out_and_remembered(self) -> None:
        async with connected() as (line, recorder):
            taken = await clog(line)
            assert OUTBOX_BYTES < taken * len(PUSH) < 4 * OUTBOX_BYTES
            assert not line.connection.offer(PUSH, "jerry")
            assert line.connection.behind == {"tom", "jerry"}
            assert bites(line) == {"outbox": 2}
            assert recorder.drains == []
            for _ in range(taken):
                await line.receive()
            await idle()
            assert recorder.drains == [{"tom", "jerry"}]
            assert line.connection.offer(PUSH, "tom")
            await line.receive()
            assert await line_is_alive(line, recorder)

    @on_asyncio
    async def test_who_was_not_behind_is_not_told_of_a_drain(self) -> None:
        async with connected() as (line, recorder):
            sent = 0
            while not is_clogged(line):
                line.connection.send(PUSH)
                sent += 1
                await idle()
            for _ in range(sent):
                await line.receive()
            await idle()
            assert not is_clogged(line)
            assert recorder.drains == []

    @on_asyncio
    async def test_commands_still_go_out_when_deliveries_do_not(self) -> None:
        async with connected() as (line, _):
            taken = await clog(line)
            line.connection.send(echo(7).SerializeToString())
            assert [(await line.receive()).i for _ in range(taken + 1)] == [0] * taken + [7]

    @on_asyncio
    async def test_who_lets_commands_pile_up_is_cut_off(self) -> None:
        async with connected() as (line, recorder):
            sent_bytes = 0
            while not line.connection.lost:
                line.connection.send(PUSH)
                sent_bytes += len(PUSH)
                await idle()
            assert COMMANDS_OVERDRAFT * OUTBOX_BYTES < sent_bytes < 4 * COMMANDS_OVERDRAFT * OUTBOX_BYTES
            assert bites(line) == {"outbox_cut": 1}
            await recorder.gone.wait()

    @on_asyncio
    async def test_so_is_who_does_it_within_one_turn(self) -> None:
        async with connected() as (line, recorder):
            for _ in range(200):
                line.connection.send(PUSH)
            assert line.connection.lost
            await recorder.gone.wait()

    @on_asyncio
    async def test_a_single_reply_may_be_longer_than_all_that_may_pile_up(self) -> None:
        """A page of history may be: 1,000 messages of 5 KB."""
        async with connected() as (line, recorder):
            logs = [pb.LogItem(data=b"x" * 5_000) for _ in range(1_000)]
            reply = pb.GenericCommand(cmd=pb.logs, logsMessage=pb.LogsCommand(logs=logs))
            line.connection.send(reply.SerializeToString())
            assert await line.receive() == reply
            assert await line_is_alive(line, recorder)


async def line_is_alive(line: Line, recorder: Recorder) -> bool:
    await line.send(echo(-1))
    await idle()
    return recorder.serials[-1] == -1 and not line.connection.lost
