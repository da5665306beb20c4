"""Clients come, send and go, in every way of going: nothing of them stays behind."""

import asyncio
import gc
import sys
from collections import Counter
from pathlib import Path

import pytest

from fastim import tenants
from fastim.core.session import Session
from fastim.doors.tcp import TcpProtocol
from fastim.doors.websocket import WebSocketProtocol
from fastim.runtime.connection import Connection
from fastim.runtime.presence import Attached
from fastim.wire import messages2_pb2 as pb
from fastim.wire.framing import SUBPROTOCOLS
from tests.fuzz import effort, streams
from tests.fuzz.house import House, house, login
from tests.fuzz.memory import Memory
from tests.fuzz.wires import TcpWire, WebSocketWire, Wire

WARM_UP = 25
VISITS = max(60, effort.FRAMES // 20)
OURS = (Connection, Attached, Session, TcpProtocol, WebSocketProtocol)
POLITE = 2
BLOCKS_PER_VISIT = 0.5
"""Objects without a place in the collector's lists, such as bytes and strings, are only known by their number."""

pytestmark = pytest.mark.anyio


@pytest.mark.usefixtures("_apart")
@pytest.mark.parametrize("door", ["tcp", "websocket"])
async def test_clients_that_have_gone_leave_nothing_behind(
    door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenants, "MESSAGES_REMEMBERED", WARM_UP // 2)  # or the last messages would seem to pile up
    memory = Memory()
    async with house(tmp_path) as opened:
        names = await opened.names()
        tasks = asyncio.all_tasks()
        before, blocks = Counter[str](), 0
        for visit in range(WARM_UP + VISITS):
            if visit == WARM_UP:
                await quiet(opened, door, names.conversations[0])
                objects()  # looking leaves its traces, once
                before, blocks = objects(), sys.getallocatedblocks()
            if visit % (VISITS // 8) == 0:
                memory.look()
            await come_and_go(opened, door, names.conversations[0], visit)
        await quiet(opened, door, names.conversations[0])
        grown = objects() - before
        grown_blocks = sys.getallocatedblocks() - blocks
        assert not [one for one in gc.get_objects() if isinstance(one, OURS)]
        assert asyncio.all_tasks() <= tasks
        assert grown.total() < VISITS / 10, grown
        assert grown_blocks < VISITS * BLOCKS_PER_VISIT
        memory.was_flat()


async def quiet(opened: House, door: str, conversation: str) -> None:
    """Nobody is there, and the store's last transaction, which it holds on to until the next, was a small one."""
    await come_and_go(opened, door, conversation, POLITE)
    await opened.is_empty()


async def come_and_go(opened: House, door: str, conversation: str, visit: int) -> None:
    """Open two sessions, send a message from one to the other, and go."""
    ways = list(SUBPROTOCOLS)
    wire: Wire = TcpWire() if door == "tcp" else WebSocketWire(ways[visit // 6 % len(ways)])
    await wire.dial(opened.address(door))
    await wire.ask(login("trudy", 1))
    await wire.ask(login("mallory", 2))
    message = pb.GenericCommand(cmd=pb.direct, i=3, peerId="mallory")
    message.directMessage.cid, message.directMessage.msg = conversation, b"%d" % visit
    assert (await wire.ask(message)).ackMessage.uid
    match visit % 6:
        case 0:
            wire.transport.abort()
        case 1:
            wire.transport.write_eof()
        case 2:
            await wire.ask(pb.GenericCommand(cmd=pb.session, op=pb.close, i=4, peerId="mallory"))
            wire.transport.close()
        case 3:
            wire.write(wire.frame(b"no command"))
        case 4:
            # Half a frame, and commands under way that nobody waits for.
            wire.write(wire.frame(message.SerializeToString()) * 20 + wire.frame(bytes(100))[:50])
            wire.transport.abort()
        case _ if door == "websocket":
            wire.write(streams.Frame(streams.CLOSE, b"\x03\xe8", bytes(4), 2).encode())
        case _:
            wire.write(b"\xff\xff\xff\xff")
    await wire.is_gone()


def objects() -> Counter[str]:
    """How many objects of each type there are."""
    gc.collect()
    return Counter(type(one).__qualname__ for one in gc.get_objects())
