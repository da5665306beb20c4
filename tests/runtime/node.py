"""A node without a process: the runtime on a store in memory, and clients at the other ends of its sockets."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastim._fanout import Fanout
from fastim._frames import TcpFrames, encode_tcp
from fastim.adapters.inprocess import InProcessBus
from fastim.adapters.memory import MemoryStore
from fastim.core.policy import Policy
from fastim.doors.tcp import TcpProtocol
from fastim.ports.store import ApplicationStore
from fastim.runtime.connection import Connection, Receiver
from fastim.runtime.deadlines import Deadlines
from fastim.runtime.delivery import Delivery
from fastim.runtime.dispatch import Dispatcher, Tenant
from fastim.runtime.gateway import Gateway
from fastim.runtime.hooks import LocalHooks
from fastim.runtime.ingress import Governor, LocalIngress
from fastim.runtime.lanes import LocalLanes
from fastim.runtime.limits import LimitCounters
from fastim.runtime.outbound import fanout_of
from fastim.runtime.outbox import Outbox
from fastim.runtime.pace import SharedPace
from fastim.runtime.presence import Presence
from fastim.runtime.quotas import Quotas
from fastim.runtime.room_logs import RoomLogs
from fastim.runtime.rooms import LocalRooms
from fastim.runtime.service_hook import ServiceHook
from fastim.runtime.story import Stories
from fastim.runtime.words import LocalWords
from fastim.service.io import Io
from fastim.settings import Delivery as DeliverySettings
from fastim.settings import Hooks, Limits, Push, Words
from fastim.wire import messages2_pb2 as pb
from tests.fakes.clock import SettableClock

APPLICATION = "app"
EVERYTHING = 187
"""The ``configBitmap`` of JS 5."""
SMALL_SOCKET_BYTES = 4_096
AT_ONCE = DeliverySettings(room_gather_milliseconds=0)
"""Rooms wait for nothing: the fan-out's clock is not the jumping loop's."""


class Switchboard:
    """Connections over socket pairs, behind the TCP door."""

    def __init__(
        self, receiver: Receiver, limits: Limits, delivery: DeliverySettings, fanout: Fanout | None = None
    ) -> None:
        self.deadlines = Deadlines(asyncio.get_running_loop())
        self.gateway = Gateway(receiver, self.deadlines, limits, delivery, fanout or fanout_of(delivery))
        self._lines: list[Line] = []

    async def line(self, socket_bytes: int = SMALL_SOCKET_BYTES) -> "Line":
        """A new connection, whose sockets take about so much."""
        before = set(self.gateway.connections)
        client = await self._dial(socket_bytes)
        (connection,) = self.gateway.connections - before
        line = Line(client, connection)
        self._lines.append(line)
        return line

    async def turns_away(self) -> bool:
        """Whether a new connection ends without a word."""
        client = await self._dial()
        data = await asyncio.get_running_loop().sock_recv(client, 1)
        client.close()
        return data == b""

    async def _dial(self, socket_bytes: int = SMALL_SOCKET_BYTES) -> socket.socket:
        server, client = socket.socketpair()
        for end in (server, client):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, socket_bytes)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: TcpProtocol(self.gateway), server)
        return client

    async def close(self) -> None:
        for line in self._lines:
            line.hang_up()
        for connection in list(self.gateway.connections):
            connection.abort()
        await self.gateway.emptied()
        self.deadlines.stop()


class Line:
    """A client's end of a connection, and the server's."""

    def __init__(self, client: socket.socket, connection: Connection) -> None:
        self.connection = connection
        self._client = client
        self._frames = TcpFrames(16_777_216)

    async def send(self, *commands: pb.GenericCommand) -> None:
        """Send them, all at once."""
        await self.write(b"".join(encode_tcp(command.SerializeToString()) for command in commands))

    async def write(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._client, data)

    async def receive(self) -> pb.GenericCommand:
        """The next command that comes.

        Raises:
            EOFError: There will be none.
        """
        while (body := self._frames.next_frame()) is None:
            data = await asyncio.get_running_loop().sock_recv(self._client, 65_536)
            if not data:
                raise EOFError
            self._frames.push(data)
        return pb.GenericCommand.FromString(body)

    async def take(self, most_bytes: int) -> None:
        """Read as much as there is, at most so much, without looking at it."""
        await asyncio.get_running_loop().sock_recv(self._client, most_bytes)

    async def receive_all(self) -> list[pb.GenericCommand]:
        """Everything that comes until the connection ends."""
        received = []
        while True:
            try:
                received.append(await self.receive())
            except (EOFError, ConnectionError):
                return received

    async def call(self, command: pb.GenericCommand) -> pb.GenericCommand:
        """Send one; what comes next."""
        await self.send(command)
        return await self.receive()

    async def open(self, client_id: str | None = "tom", **session: object) -> pb.GenericCommand:
        """Open a session; the reply."""
        return await self.call(opening(client_id, **session))

    async def is_silent(self) -> bool:
        """Whether nothing comes although the server has nothing left to do."""
        command = pb.GenericCommand(cmd=pb.echo, i=-999)
        await self.send(command)
        echo = await self.receive()
        return echo.cmd == pb.echo and echo.i == -999

    def hang_up(self) -> None:
        self._client.close()


class Node(Switchboard):
    """A dispatcher with one application."""

    def __init__(
        self,
        limits: Limits,
        delivery: DeliverySettings,
        tenant: Tenant,
        clock: SettableClock,
        memory: MemoryStore,
        fanout: Fanout,
        counters: LimitCounters,
    ) -> None:
        self.fanout = fanout
        self.memory = memory
        self.counters = counters
        self.dispatcher = Dispatcher(Quotas(limits, self.counters, asyncio.get_running_loop().time))
        self.dispatcher.add(tenant)
        self.tenant = tenant
        self.store = tenant.io.store
        self.clock = clock
        super().__init__(self.dispatcher, limits, delivery, fanout)


@asynccontextmanager
async def running_node(
    limits: Limits | None = None,
    delivery: DeliverySettings | None = None,
    store: ApplicationStore | None = None,
    words: Words | None = None,
) -> AsyncIterator[Node]:
    """A node for the length of the block.

    Args:
        store: Instead of an empty one in memory.
        words: How words are looked for once there is a list; by default they are.
    """
    memory = MemoryStore()
    application = await memory.save_application(APPLICATION, "key", "master", "hook")
    clock = SettableClock()
    part = store or memory.of(application)
    listed = LocalWords(application, words or Words(enabled=True), part, clock)
    presence = Presence()
    delivery = delivery or AT_ONCE
    fanout = fanout_of(delivery)
    logs = RoomLogs(fanout, presence, clock, delivery.room_window_bytes)
    deliveries = Delivery(presence, logs)
    counters = LimitCounters()
    ingress = LocalIngress(limits or Limits(), counters, Governor(0), asyncio.get_running_loop().time)
    hooks = LocalHooks([], Hooks())
    outbox = Outbox([], Push(), hooks)
    rooms = LocalRooms(logs)
    stories = Stories(clock, deliveries, rooms, messages=2_000)
    outbox.on_word = stories.hear_word
    io = Io(
        application=application,
        policy=Policy(),
        store=part,
        lanes=LocalLanes(),
        bus=InProcessBus(deliveries.deliver, stories.hear),
        directory=presence,
        rooms=rooms,
        clock=clock,
        pace=SharedPace(),
        words=listed,
        ingress=ingress,
        hooks=hooks,
        pusher=outbox,
        entropy=random.Random(7).randbytes,
        story=stories,
    )
    services = ServiceHook(None)
    tenant = Tenant(
        application, io, presence, deliveries, logs, ingress, listed, hooks, services, outbox, stories=stories
    )
    node = Node(limits or Limits(), delivery, tenant, clock, memory, fanout, counters)
    try:
        yield node
    finally:
        await node.dispatcher.finish()
        await node.close()


def opening(client_id: str | None = "tom", **session: object) -> pb.GenericCommand:
    """A command that opens a session."""
    fields = {"configBitmap": EVERYTHING, **session}
    return pb.GenericCommand(
        cmd=pb.session,
        op=pb.open,
        appId=APPLICATION,
        peerId=client_id,
        i=1,
        sessionMessage=pb.SessionCommand(**fields),  # type: ignore[arg-type]
    )


def starting(*members: str, serial: int = 2, **fields: object) -> pb.GenericCommand:
    """A command that starts a conversation."""
    conv = pb.ConvCommand(m=members)
    return pb.GenericCommand(cmd=pb.conv, op=pb.start, i=serial, convMessage=conv, **fields)  # type: ignore[arg-type]


def message(conversation_id: str, text: bytes = b"hi", serial: int | None = 3, **fields: object) -> pb.GenericCommand:
    """A command that sends a message."""
    direct = pb.DirectCommand(cid=conversation_id, msg=text)
    return pb.GenericCommand(cmd=pb.direct, i=serial, directMessage=direct, **fields)  # type: ignore[arg-type]
