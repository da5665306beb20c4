"""Queries that would take the server away from everybody else."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from fastim.wire import messages2_pb2 as pb
from tests.end_to_end.raw import Wire, refusal_of, wire
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

CONVERSATIONS = 60
START_SERIAL = 100
UPDATE_SERIAL = 200
QUERY_SERIAL = 300
SEND_SERIAL = 1_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(
        tmp_path, "--set", "limits.operations_per_minute=0", "--set", "limits.sends_per_minute=0"
    ) as server:
        yield server
        assert "Traceback" not in server.log, server.log


async def filled(client: Wire) -> list[str]:
    """Conversations that hold as much as attributes may."""
    ids = [await start(client) for _ in range(CONVERSATIONS)]
    for conversation_id in ids:
        await fill(client, conversation_id)
    return ids


async def start(client: Wire) -> str:
    await client.send(cmd=pb.conv, op=pb.start, i=START_SERIAL, convMessage=pb.ConvCommand())
    return (await reply_to(client, START_SERIAL)).convMessage.cid


async def fill(client: Wire, conversation_id: str) -> None:
    for part in range(2):
        objects = [1] * 14_500
        attributes = json.dumps({"attr.a": {"__op": "Add", "objects": objects}}, separators=(",", ":"))
        message = pb.ConvCommand(cid=conversation_id, attr=pb.JsonObjectMessage(data=attributes))
        await client.send(cmd=pb.conv, op=pb.update, i=UPDATE_SERIAL + part, convMessage=message)
        reply = await reply_to(client, UPDATE_SERIAL + part)
        assert reply.op == pb.updated, reply


async def ask(client: Wire, where: dict[str, Any]) -> None:
    message = pb.ConvCommand(where=pb.JsonObjectMessage(data=json.dumps(where)), limit=1)
    await client.send(cmd=pb.conv, op=pb.query, i=QUERY_SERIAL, convMessage=message)


async def reply_to(client: Wire, serial: int) -> pb.GenericCommand:
    while (reply := await client.receive()).i != serial:
        pass  # news of the client's own conversations
    return reply


async def test_a_query_that_costs_too_much_is_refused(server: ServerProcess) -> None:
    async with wire(server) as asker:
        await asker.open("asker")
        ids = await filled(asker)
        clauses: list[dict[str, Any]] = [{"attr.a": {"$ne": {"x": number}}} for number in range(4)]
        clauses += [{"attr.a": {"$nin": [number + 2]}} for number in range(24)]
        with anyio.fail_after(5):  # it took 17 seconds
            await ask(asker, {"objectId": {"$in": ids}, "$and": clauses})
            assert refusal_of(await reply_to(asker, QUERY_SERIAL)) == (4310, "CONVERSATION_QUERY_FAILED")


@pytest.mark.parametrize("way", ["ids", "members", "all"])
async def test_others_are_served_while_a_query_looks_at_a_lot(server: ServerProcess, way: str) -> None:
    """Several of the dearest queries that are answered at all, at once."""
    async with wire(server) as asker, wire(server) as other:
        await asker.open("asker")
        await other.open("other")
        ids = await filled(asker)
        room = await start(other)
        ways: dict[str, dict[str, Any]] = {"ids": {"objectId": {"$in": ids}}, "members": {"m": "asker"}, "all": {}}
        for _ in range(4):
            await ask(asker, {**ways[way], "attr.a": {"$nin": [2]}})
        served, answered = 0, list[pb.GenericCommand]()

        async def listen() -> None:
            answered.extend([await reply_to(asker, QUERY_SERIAL) for _ in range(4)])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            while len(answered) < 4:
                direct = pb.DirectCommand(cid=room, msg=b"hi")
                await other.send(cmd=pb.direct, i=SEND_SERIAL + served, directMessage=direct)
                ack = await reply_to(other, SEND_SERIAL + served)
                assert (ack.cmd, ack.ackMessage.code) == (pb.ack, 0), ack
                served += 1
        assert all(reply.op == pb.results for reply in answered), answered
        assert served > 2  # it was one, after all of them
