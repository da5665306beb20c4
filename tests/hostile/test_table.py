"""Nothing in the table is accepted; all of it is answered as documented, and nobody else is touched by it."""

from inspect import isawaitable
from itertools import count

import pytest

from fastim.core.errors import CodedError
from fastim.wire import messages2_pb2 as pb
from tests.end_to_end.raw import Wire
from tests.hostile.stage import SECRET, Stage, staged
from tests.hostile.table import ROWS, Closed, Mallory, Row, Server
from tests.server_process import ServerProcess

pytestmark = pytest.mark.anyio

_numbers = count(1)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "_"))
async def test_is_not_accepted(servers: dict[Server, ServerProcess], row: Row) -> None:
    async with staged(servers[row.server]) as stage:
        me = stage.tom if row.as_tom else f"mallory{next(_numbers)}"
        line = await _line(stage, row, me)
        request = row.build(Mallory(stage, me, line))
        if isawaitable(request):
            request = await request
        if isinstance(row.answer, Closed):
            assert isinstance(request, bytes)
            await (line.send_frame if row.framed else line.send_bytes)(request)
            assert await line.parting() == (row.answer.code, CodedError.reasons[row.answer.code])
        else:
            assert isinstance(request, dict)
            assert request.get("i") is None
            await line.send(**request, i=5)
            reply = await _answer(line)
            assert refusal(reply) == (row.answer, CodedError.reasons[row.answer])
            assert SECRET.encode() not in reply.SerializeToString()
            assert await line.is_quiet()
        assert await stage.is_untouched()
        if not row.session:
            assert not await stage.is_online(me)


def test_there_are_many_and_each_is_named_once() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) >= 100


def refusal(reply: pb.GenericCommand) -> tuple[int, str]:
    if reply.cmd == pb.ack:
        return reply.ackMessage.code, reply.ackMessage.reason
    assert reply.cmd == pb.error, reply
    return reply.errorMessage.code, reply.errorMessage.reason


async def _line(stage: Stage, row: Row, me: str) -> Wire:
    if row.session:
        line, _ = await stage.client(me)
        return line
    return await stage.line()


async def _answer(line: Wire) -> pb.GenericCommand:
    """The answer; what a client is told of its own when it comes in, goes before it."""
    while (reply := await line.receive()).i != 5:
        assert reply.cmd == pb.unread, reply
    return reply
