"""A whole server in this process, two clients that chat on through everything, and an ear for whatever goes wrong."""

import asyncio
import gc
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from structlog.processors import format_exc_info
from structlog.testing import capture_logs

from fastim.adapters.lmdb import LmdbStore
from fastim.app import Node
from fastim.core.application import Application
from fastim.settings import load
from fastim.wire import messages2_pb2 as pb
from tests.fuzz.bodies import Names
from tests.fuzz.wires import PATIENCE_SECONDS, TcpWire, WebSocketWire, Wire

SETTINGS = [
    "server.tcp=127.0.0.1:0",
    "server.http=127.0.0.1:0",
    "limits.sends_per_minute=0",
    "limits.history_per_minute=0",
    "limits.operations_per_minute=0",
]
APPLICATION, OTHER = "fuzzed-application", "another-application"
HOSTILE = ["mallory", "trudy", "eve", "oscar", "\u6c64\u59c6", "\U0001f608", "m.0", "x" * 64]
WORST_SECONDS, USUAL_SECONDS = 5.0, 0.5
"""How long the two may wait for each other: at any time, and half of the time. The attackers share their core."""
BETWEEN_SECONDS = 0.01


class House:
    """The server with its surroundings.

    Attributes:
        node: The server.
        faults: What was logged or reported that must not be.
        waits: How long each of the messages of the two took to be acked and delivered, in seconds.
    """

    def __init__(self, node: Node, applications: list[Application]) -> None:
        self.node = node
        self.applications = applications
        self.faults: list[Any] = []
        self.waits: list[float] = []

    def address(self, door: str) -> str:
        """Where the door is, ``tcp`` or ``websocket``."""
        return self.node.addresses["tcp" if door == "tcp" else "http"]

    @property
    def counts(self) -> Counter[str]:
        """How many commands of each kind have come, and how many were refused, by code."""
        dispatcher = self.node._dispatcher
        return Counter(dispatcher.commands) + Counter({str(code): n for code, n in dispatcher.refusals.items()})

    async def names(self) -> Names:
        """What attackers know: each other, conversations of theirs, an application of others."""
        wire = TcpWire()
        await wire.dial(self.address("tcp"))
        await wire.ask(login("mallory", 1))
        conversations = []
        for serial in range(2, 8):
            asked = pb.GenericCommand(cmd=pb.conv, op=pb.start, i=serial)
            asked.convMessage.m.extend(HOSTILE)
            conversations.append((await wire.ask(asked)).convMessage.cid)
        wire.transport.close()
        await wire.is_gone()
        return Names(
            [APPLICATION, OTHER, "no-application"], HOSTILE, [*conversations, "6" * 24], ["A" * 22] * 4, ["t" * 32] * 4
        )

    async def chat(self, stop: asyncio.Event) -> None:
        """Ann at one door and Ben at the other write to each other until it is enough."""
        ann, ben = TcpWire(), WebSocketWire("lc.protobuf2.3")
        await ann.dial(self.address("tcp"))
        await ben.dial(self.address("websocket"))
        await ann.ask(login("ann", 1))
        await ben.ask(login("ben", 1))
        asked = pb.GenericCommand(cmd=pb.conv, op=pb.start, i=2)
        asked.convMessage.m.append("ben")
        conversation = (await ann.ask(asked)).convMessage.cid
        loop = asyncio.get_running_loop()
        for serial in count(3):
            began = loop.time()
            sender, recipient = (ann, ben) if serial % 2 else (ben, ann)
            body = b"%d" % serial
            message = pb.GenericCommand(cmd=pb.direct, i=serial)
            message.directMessage.cid, message.directMessage.msg = conversation, body
            ack = (await sender.ask(message)).ackMessage
            assert ack.uid
            assert not ack.HasField("code")
            await delivered(recipient, body)
            self.waits.append(loop.time() - began)
            if stop.is_set():
                break
            await asyncio.wait([asyncio.ensure_future(stop.wait())], timeout=BETWEEN_SECONDS)
        for wire in (ann, ben):
            wire.transport.close()
            await wire.is_gone()

    async def is_empty(self) -> None:
        """Wait until every client has gone, and with it all that belonged to it.

        Raises:
            AssertionError: Something is left.
        """
        node, dispatcher = self.node, self.node._dispatcher
        async with asyncio.timeout(PATIENCE_SECONDS):
            await node.gateway.emptied()
            await dispatcher.finish()
        for tenant in dispatcher.tenants.values():
            assert len(tenant.presence) == 0
            assert not tenant.presence._opening
            assert not tenant.io.lanes._waiting  # type: ignore[attr-defined]

    def was_prompt(self) -> None:
        """Whether the two were served well all the time."""
        assert max(self.waits) < WORST_SECONDS
        assert median(self.waits) < USUAL_SECONDS


@asynccontextmanager
async def house(path: Path, *settings: str) -> AsyncIterator[House]:
    """A running server with its data at ``path``; at the end nothing may be left of it, and nothing have gone wrong.

    Args:
        settings: More of them.
    """
    loop = asyncio.get_running_loop()
    handler, root = _Faults(logging.WARNING), logging.getLogger()
    before = asyncio.all_tasks()
    with capture_logs([format_exc_info]) as logs:
        store = LmdbStore.open(path)
        applications = [await store.save_application(one, "key", "master", "hook") for one in (APPLICATION, OTHER)]
        node = Node(load(None, {}, [*SETTINGS, *settings]), store, applications)
        await node.listen()
        opened = House(node, applications)
        handler.faults = opened.faults
        root.addHandler(handler)
        loop.set_exception_handler(lambda loop, context: opened.faults.append(context))
        try:
            yield opened
            await opened.is_empty()
        finally:
            await node.stop()
            await store.close()
            gc.collect()  # futures and tasks whose errors nobody took speak up when they go
            loop.set_exception_handler(None)
            root.removeHandler(handler)
    opened.faults += [entry for entry in logs if entry["log_level"] in ("warning", "error", "critical")]
    assert not opened.faults, opened.faults[:3]
    assert asyncio.all_tasks() == before


def login(client_id: str, serial: int) -> pb.GenericCommand:
    """An opening as an SDK sends it."""
    session = pb.SessionCommand(ua="healthy", configBitmap=187)
    return pb.GenericCommand(
        cmd=pb.session, op=pb.open, appId=APPLICATION, peerId=client_id, i=serial, sessionMessage=session
    )


async def delivered(wire: Wire, body: bytes) -> None:
    """Wait for the message with this body."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await wire.received.get()).directMessage.msg != body:
            pass


class _Faults(logging.Handler):
    """Keeps what is said on the standard library's way."""

    faults: list[Any]

    def emit(self, record: logging.LogRecord) -> None:
        self.faults.append(record.getMessage())
