"""The path of an inbound message, stage by stage: the server's own parts, wired as in a server, without a socket."""

import asyncio
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any, Self

from bench.load.clients import opening, start_of
from fastim._frames import TcpFrames, encode_tcp
from fastim.adapters.memory import MemoryStore
from fastim.core.commands import Send
from fastim.core.replies import Reply
from fastim.doors.tcp import TcpProtocol
from fastim.runtime.deadlines import Deadlines
from fastim.runtime.dispatch import Dispatcher, Tenant
from fastim.runtime.gateway import Gateway
from fastim.runtime.ingress import Governor
from fastim.runtime.limits import LimitCounters
from fastim.runtime.outbound import fanout_of
from fastim.service.messages import send_message
from fastim.settings import load
from fastim.tenants import Shared, Tenants
from fastim.wire import codec
from fastim.wire import messages2_pb2 as pb

READ_MESSAGES = 32
"""Messages that one read of the socket brings."""
TIMES = 500
"""Reads in one timing."""
CLIENT = "client"
REST = "dispatch, task, delivery"
WHOLE = "from read to write"


class Stages:
    """One connection without a socket, its session open and a conversation started.

    Args:
        text: Of the message that is sent over and over, a transient one.
    """

    def __init__(
        self, tenant: Tenant, protocol: TcpProtocol, transport: "_Nowhere", conversation_id: str, text: bytes
    ) -> None:
        self._io = tenant.io
        self._session = tenant.presence.sessions(CLIENT)[0]
        self._protocol = protocol
        self._transport = transport
        direct = pb.DirectCommand(cid=conversation_id, msg=text, dt="token", transient=True)
        send = pb.GenericCommand(cmd=pb.direct, peerId=CLIENT, i=1 << 21, directMessage=direct)
        self._body = send.SerializeToString()
        self._read = encode_tcp(self._body) * READ_MESSAGES

    @classmethod
    async def ready(cls, text: bytes) -> Self:
        """Everything set up; within a running loop."""
        loaded = load(None, {}, [])
        store = MemoryStore()
        application = await store.save_application("application", "key", "master key", "hook key")
        dispatcher = Dispatcher()
        fanout = fanout_of(loaded.settings.delivery)
        own = Tenants(Shared(loaded, store, fanout, LimitCounters(), Governor(0)), dispatcher).add(application)
        deadlines = Deadlines(asyncio.get_running_loop())
        transport = _Nowhere()
        settings = loaded.settings
        protocol = TcpProtocol(Gateway(dispatcher, deadlines, settings.limits, settings.delivery, fanout))
        protocol.connection_made(transport)
        for command in (opening(CLIENT, application.id), start_of(CLIENT, (CLIENT, "friend"))):
            protocol.data_received(encode_tcp(command.SerializeToString()))
            await dispatcher.finish()
        deadlines.stop()
        [conversation_id] = await store.of(application).conversation_ids_of(CLIENT)
        return cls(own, protocol, transport, conversation_id, text)

    async def measure(self) -> dict[str, float]:
        """Microseconds of each stage for one message; ``REST`` is what the others leave of ``WHOLE``."""
        request = codec.decode(self._body)
        command = request.command
        assert isinstance(command, Send)
        reply = _result(send_message(self._io, self._session, command))
        assert reply is not None
        ack = encode_tcp(codec.encode_reply(reply, request.serial, CLIENT))
        whole = await self._whole(READ_MESSAGES * len(ack))
        parts = {
            "frames": _micros(self._cut),
            "decode": _micros(_repeat(lambda: codec.decode(self._body))),
            "use case": _micros(_repeat(lambda: _result(send_message(self._io, self._session, command)))),
            "encode the ack": _micros(_repeat(lambda: encode_tcp(codec.encode_reply(reply, request.serial, CLIENT)))),
        }
        await asyncio.sleep(0)  # what was published just now is delivered
        return parts | {REST: whole - sum(parts.values()), WHOLE: whole}

    def _cut(self) -> None:
        frames = TcpFrames(65_536)
        frames.push(self._read)
        while frames.next_frame() is not None:
            pass

    async def _whole(self, acks_bytes: int) -> float:
        started = perf_counter()
        for _ in range(TIMES):
            acked = self._transport.expect(acks_bytes)
            self._protocol.data_received(self._read)
            await acked
        return 1e6 * (perf_counter() - started) / TIMES / READ_MESSAGES


class _Nowhere(asyncio.Transport):
    """Counts what is written, and drops it. It passes for TLS, so that no descriptor is asked of it."""

    def __init__(self) -> None:
        super().__init__({"sslcontext": "none"})
        self._missing = 0

    def expect(self, size: int) -> asyncio.Future[None]:
        """Done when so many bytes were written; they may come in any number of pieces."""
        self._missing = size
        self._written = asyncio.get_running_loop().create_future()
        return self._written

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._missing -= len(data)
        if self._missing == 0:
            self._written.set_result(None)

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def _repeat(call: Callable[[], object]) -> Callable[[], None]:
    def repeated() -> None:
        for _ in range(READ_MESSAGES):
            call()

    return repeated


def _micros(call: Callable[[], None]) -> float:
    """Microseconds that one message takes of ``call``, which handles ``READ_MESSAGES``."""
    started = perf_counter()
    for _ in range(TIMES):
        call()
    return 1e6 * (perf_counter() - started) / TIMES / READ_MESSAGES


def _result(coroutine: Coroutine[Any, Any, Reply | None]) -> Reply | None:
    """What a coroutine that never waits returns."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: Reply | None = stop.value
        return result
    raise AssertionError("it waited")
