"""The server's clock is set an hour or a day forward or back while clients are there."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from fastim.wire import messages2_pb2 as pb
from tests.end_to_end import stepping_server
from tests.end_to_end.clients import someone
from tests.end_to_end.raw import Wire, refusal_of, wire
from tests.hostile.stage import Signer, now_millis
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

HOUR = 3_600_000
DAY = 24 * HOUR
STEPS = [HOUR, -HOUR, DAY, -DAY]


class SteppingProcess(ServerProcess):
    """A server whose clock can be set."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self._step = data.with_suffix(".step")
        self.set_clock(0)
        super().__init__(data, *arguments, environment={stepping_server.STEP_FILE: str(self._step)})

    def command(self) -> list[str]:
        words = super().command()
        return [sys.executable, stepping_server.__file__, *words[words.index("serve") :]]

    def set_clock(self, step: int) -> None:
        """So far from the machine's, in milliseconds."""
        unfinished = self._step.with_suffix(".new")
        unfinished.write_text(str(step))
        unfinished.replace(self._step)


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SteppingProcess]:
    with SteppingProcess(tmp_path / "data", "--set", "security.require_signature=true") as process:
        yield process
        assert '"level": "error"' not in process.log, process.log
        assert "Traceback" not in process.log, process.log


@pytest.fixture
def signer(server: SteppingProcess) -> Signer:
    """The application's own server, whose clock nobody sets."""
    return Signer(server.app_id, server.master_key, now_millis)


async def start(line: Wire, me: str, other: str, signer: Signer) -> str:
    signature = signer.sign("{app}:{me}:{who}:{t}:{n}", me=me, who=":".join(sorted([me, other])))
    conv = pb.ConvCommand(m=[other], **signature)
    started = await line.ask(cmd=pb.conv, op=pb.start, i=1, convMessage=conv)
    assert started.op == pb.started
    for _ in range(2):
        await line.receive()
    return started.convMessage.cid


async def send(line: Wire, cid: str, text: str) -> pb.AckCommand:
    direct = pb.DirectCommand(cid=cid, msg=text.encode(), dt=text)
    reply = await line.ask(cmd=pb.direct, i=2, directMessage=direct)
    assert reply.ackMessage.uid, reply
    return reply.ackMessage


async def history(line: Wire, cid: str, **fields: Any) -> list[pb.LogItem]:
    reply = await line.ask(cmd=pb.logs, i=3, logsMessage=pb.LogsCommand(cid=cid, limit=100, **fields))
    return list(reply.logsMessage.logs)


@pytest.mark.parametrize("step", STEPS)
async def test_messages_stay_in_order_and_nothing_is_lost_or_doubled(
    server: SteppingProcess, signer: Signer, step: int
) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with wire(server) as line, wire(server) as other:
        opened = await line.open(tom, **signer.login(tom))
        token = opened.sessionMessage.st
        await other.open(jerry, **signer.login(jerry))
        cid = await start(line, tom, jerry, signer)
        for _ in range(2):
            await other.receive()
        acks = []
        for number, moment in enumerate((0, step, step, 0, step)):
            server.set_clock(moment)
            acks.append(await send(line, cid, f"message {number}"))
            pushed = (await other.receive()).directMessage
            assert (pushed.msg, pushed.timestamp) == (f"message {number}".encode(), acks[-1].t)
        assert (await send(line, cid, "message 1")).uid == acks[1].uid
        stored = await history(line, cid)
        assert [item.msgId for item in stored] == [ack.uid for ack in acks]
        assert [item.timestamp for item in stored] == sorted({ack.t for ack in acks})
        assert sorted(ack.uid for ack in acks) == [ack.uid for ack in acks]
        newer = await history(line, cid, t=acks[2].t, mid=acks[2].uid, direction=pb.LogsCommand.NEW)
        assert [item.msgId for item in newer] == [ack.uid for ack in acks[3:]]
        assert await line.is_quiet()
        assert await other.is_quiet()
    async with wire(server) as line:
        assert (await line.open(tom, st=token, r=True)).op == pb.opened
        assert [item.msgId for item in await history(line, cid)] == [ack.uid for ack in acks]


@pytest.mark.parametrize("step", STEPS)
async def test_what_is_unread_is_told_whole(server: SteppingProcess, signer: Signer, step: int) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with wire(server) as line:
        await line.open(tom, **signer.login(tom))
        tea, cake = [await start(line, tom, jerry, signer) for _ in range(2)]
        async with wire(server) as other:
            token = (await other.open(jerry, **signer.login(jerry))).sessionMessage.st
        await send(line, tea, "before")
        async with wire(server) as other:
            assert (await other.open(jerry, st=token, r=True)).op == pb.opened
            told = (await other.receive()).unreadMessage
            assert [(one.cid, one.unread) for one in told.convs] == [(tea, 1)]
        server.set_clock(step)
        await send(line, cake, "after")
        async with wire(server) as other:
            assert (await other.open(jerry, st=token, r=True, lastUnreadNotifTime=told.notifTime)).op == pb.opened
            told = (await other.receive()).unreadMessage
            assert {one.cid: one.unread for one in told.convs} == {tea: 1, cake: 1}


@pytest.mark.parametrize("step", STEPS)
async def test_a_used_signature_stays_used_when_what_is_old_was_forgotten(
    server: SteppingProcess, signer: Signer, step: int
) -> None:
    """What is past its time is forgotten at every start, among other moments."""
    tom = someone("tom")
    used = signer.login(tom)
    async with wire(server) as line:
        assert (await line.open(tom, **used)).op == pb.opened
    for moment in (step, 0):
        server.set_clock(moment)
        server.restart()
        async with wire(server) as line:
            assert refusal_of(await line.open(tom, **used)) == (4102, "SIGNATURE_FAILED")


@pytest.mark.parametrize("step", STEPS)
async def test_a_kick_counts(server: SteppingProcess, signer: Signer, step: int) -> None:
    tom = someone("tom")
    held = signer.login(tom)
    async with wire(server) as line:
        token = (await line.open(tom, **signer.login(tom))).sessionMessage.st
        server.set_clock(step)
        kick(server, tom)
        ending = await line.receive()
        assert (ending.op, ending.sessionMessage.code) == (pb.closed, 4115)
        assert refusal_of(await line.ask(cmd=pb.session, op=pb.refresh, i=4)) == (4105, "SESSION_REQUIRED")
        assert refusal_of(await line.open(tom, st=token, r=True)) == (4112, "SESSION_TOKEN_EXPIRED")
        server.set_clock(0)
        assert refusal_of(await line.open(tom, **held)) == (4102, "SIGNATURE_FAILED")


def kick(server: ServerProcess, client_id: str) -> None:
    """As the application's own server does it."""
    headers = {"X-LC-Id": server.app_id, "X-LC-Key": f"{server.master_key},master"}
    call = Request(f"{server.http_url}/1.2/rtm/clients/{client_id}/kick", b"{}", headers, method="POST")
    with urlopen(call, timeout=10) as answer:
        assert answer.read() == b"{}"
