"""Readers of chat rooms at every door of a real server, which can stop reading; those who write there; the ledger.

They read no sooner than they are asked to, and their sockets take little that they have not read: the server knows soon
that they lag.
"""

import signal
import socket
import ssl
import struct
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, NamedTuple, cast

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketStream, TaskGroup
from anyio.streams.tls import TLSStream
from msgspec import convert
from msgspec.structs import asdict
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from fastim._frames import TcpFrames, encode_tcp
from fastim.core.ledger import Counts, Ledger
from fastim.core.session import Config
from fastim.wire import messages2_pb2 as pb
from tests.end_to_end.clients import someone
from tests.end_to_end.raw import Wire
from tests.end_to_end.rest import Rest
from tests.end_to_end.scrape import get
from tests.server_process import ServerProcess

HIGH, NORMAL, LOW = 1, 2, 3
PRIORITIES = {HIGH: "high", NORMAL: "normal", LOW: "low"}
SHED = ("shed_age", "shed_distance", "shed_sample", "shed_overrun")
SETTLED = ("written", *SHED, "closed", "torn", "pending")
DOORS = ("tcp", "websocket", "websocket_base64", "tcps", "https")
LIKE_AN_SDK = 187
OF_OUR_OWN = LIKE_AN_SDK | Config.GAP_NOTICES
PATIENCE_SECONDS = 20.0
RECEIVE_BYTES = 4_096
"""Asked for each reader's socket; the system takes some more."""
AT_ONCE = 25
"""Messages under way of one who writes: together far less than a quarter of any window in these tests."""
PADDING = "x" * 400


class Heard(NamedTuple):
    """A message as it arrived."""

    number: int
    priority: int
    session: str
    id: str


class Reader:
    """A connection with a session in a room; it reads unless it is told to stop.

    Attributes:
        heard: The messages.
        gaps: What it was told that it was not sent, by priority.
        told: All else that it was told and did not ask for.
        farewell: The code with which the server ended the connection.
        ended: Whether it is over.
        body_bytes: Of the last message, without its framing.
    """

    def __init__(self, stream: ByteStream, door: str, app_id: str, client_id: str, *, ours: bool = False) -> None:
        self._stream = stream
        self._door = door
        self._app_id = app_id
        self.client_id = client_id
        self.ours = ours
        self.heard: list[Heard] = []
        self.gaps = Counter[int]()
        self.told: list[pb.GenericCommand] = []
        self.farewell: int | None = None
        self.ended = False
        self.body_bytes = 0
        self._serials = count(1)
        self._answers: dict[int, pb.GenericCommand] = {}
        self._changed = anyio.Event()
        self._gate = anyio.Event()
        self._gate.set()
        self._frames = TcpFrames(2**24)
        self._protocol = ClientProtocol(parse_uri("ws://localhost"), state=State.OPEN, max_size=None)

    # -- reading --

    def stop(self) -> None:
        """Read no more; what is being read now is the last."""
        if self._gate.is_set():
            self._gate = anyio.Event()

    def go_on(self) -> None:
        self._gate.set()

    async def run(self) -> None:
        """Read until the end of the connection."""
        while not self.ended:
            await self._gate.wait()
            try:
                self._take(await self._stream.receive())
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                self.ended = True
            self._changed.set()
            self._changed = anyio.Event()
        await anyio.aclose_forcefully(self._stream)

    async def until(self, said: Callable[[], object]) -> None:
        """Wait until that has become true by what was read."""
        with anyio.fail_after(PATIENCE_SECONDS):
            while not said():
                assert not self.ended, (self.farewell, len(self.heard), said)
                await self._changed.wait()

    async def until_heard(self, number: int) -> None:
        await self.until(lambda: self.heard and self.heard[-1].number >= number)

    async def until_ended(self) -> None:
        await self.until(lambda: self.ended)

    def numbers(self, *priorities: int) -> list[int]:
        """The numbers of the messages heard, of these priorities or of all."""
        return [one.number for one in self.heard if one.priority in (priorities or PRIORITIES)]

    # -- speaking --

    async def send(self, **fields: Any) -> int:
        """Send a command of the session's; returns its serial."""
        serial = next(self._serials)
        body = pb.GenericCommand(**{"i": serial, "peerId": self.client_id, **fields}).SerializeToString()
        await self._stream.send(self._framed(body))
        return serial

    async def ask(self, **fields: Any) -> pb.GenericCommand:
        """Send a command and wait for its answer."""
        serial = await self.send(**fields)
        await self.until(lambda: serial in self._answers)
        return self._answers[serial]

    async def open(self, client_id: str = "", **session: Any) -> pb.GenericCommand:
        """Open a session, the first of this connection or another one."""
        config = OF_OUR_OWN if self.ours else LIKE_AN_SDK
        message = pb.SessionCommand(**{"configBitmap": config, **session})
        fields = {"peerId": client_id or self.client_id, "appId": self._app_id}
        opened = await self.ask(cmd=pb.session, op=pb.open, sessionMessage=message, **fields)
        assert opened.op == pb.opened, opened
        return opened

    async def join(self, room: str, client_id: str = "") -> None:
        me = client_id or self.client_id
        joined = await self.ask(cmd=pb.conv, op=pb.add, peerId=me, convMessage=pb.ConvCommand(cid=room, m=[me]))
        assert list(joined.convMessage.allowedPids) == [me], joined

    async def echo(self) -> None:
        """Wait until the server has answered what was asked before and this."""
        assert (await self.ask(cmd=pb.echo)).cmd == pb.echo

    # -- going --

    async def vanish(self) -> None:
        """Reset the connection; what the server sends from now on is refused."""
        raw = self._stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self.hang_up()

    async def finish(self) -> None:
        """Close this end's half, and read what is on its way; without TLS."""
        await self._stream.send_eof()
        self.go_on()
        await self.until_ended()

    async def hang_up(self) -> None:
        """Close the connection; harmless when it is over."""
        self.ended = True
        self.go_on()
        await anyio.aclose_forcefully(self._stream)

    # -- framing --

    @property
    def _is_websocket(self) -> bool:
        return self._door not in ("tcp", "tcps")

    async def shake_hands(self) -> None:
        """Make a WebSocket of the connection, where that is what it is."""
        if not self._is_websocket:
            return
        subprotocol = "lc.proto2base64.3" if self._door == "websocket_base64" else "lc.protobuf2.3"
        await self._stream.send(
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n".encode()
        )
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += await self._stream.receive()
        assert answer.startswith(b"HTTP/1.1 101 "), answer

    def _framed(self, body: bytes) -> bytes:
        if not self._is_websocket:
            return encode_tcp(body)
        if self._door == "websocket_base64":
            self._protocol.send_text(b64encode(body))
        else:
            self._protocol.send_binary(body)
        return b"".join(self._protocol.data_to_send())

    def _take(self, data: bytes) -> None:
        if not self._is_websocket:
            self._frames.push(data)
            while (body := self._frames.next_frame()) is not None:
                self._hear(body)
            return
        self._protocol.receive_data(data)
        assert self._protocol.parser_exc is None, self._protocol.parser_exc
        for frame in cast(list[Frame], self._protocol.events_received()):
            match frame.opcode:
                case Opcode.TEXT:
                    self._hear(b64decode(frame.data, validate=True))
                case Opcode.BINARY:
                    self._hear(bytes(frame.data))
                case Opcode.CLOSE:
                    self.farewell = int(Close.parse(frame.data).code)

    def _hear(self, body: bytes) -> None:
        command = pb.GenericCommand.FromString(body)
        if command.HasField("i"):
            self._answers[command.i] = command
        elif command.cmd == pb.direct:
            priority, number, _ = command.directMessage.msg.split()
            self.heard.append(Heard(int(number), int(priority), command.peerId, command.directMessage.id))
            self.body_bytes = len(body)
        elif command.HasField("nativeMessage"):
            gap = command.nativeMessage.gap
            self.gaps.update({HIGH: gap.high, NORMAL: gap.normal, LOW: gap.low})
        elif command.cmd == pb.error:
            self.farewell = command.errorMessage.code
        else:
            self.told.append(command)


class House:
    """A room on a server, those in it, and somebody outside who writes there.

    Attributes:
        room: Its id.
        posted: Number and priority of each message that was written.
        ids: The messages' ids, by number.
    """

    def __init__(self, server: ServerProcess, group: TaskGroup, trusted: ssl.SSLContext | None) -> None:
        self.server = server
        self.rest = Rest(server)
        self.room = ""
        self.posted: list[tuple[int, int]] = []
        self.ids: dict[int, str] = {}
        self._group = group
        self._trusted = trusted
        self._writer: Wire | None = None
        self._readers: list[Reader] = []
        self._serials = count(1)
        self._writers: set[str] = set()

    async def build(self) -> None:
        """Make the room; whoever does is not in it afterwards."""
        made = await self.rest.post("/1.2/rtm/chatrooms", name=someone("room"))
        self.room = made["objectId"]

    async def put_down_the_pen(self) -> None:
        """Close the connection by which is written, as long as nothing is."""
        if self._writer is not None:
            await self._writer.close()
        self._writer = None
        self._writers.clear()

    async def move_out(self) -> None:
        """Close every connection."""
        await self.put_down_the_pen()
        for reader in self._readers:
            await reader.hang_up()

    async def dial(self, door: str = "tcp", client_id: str = "", *, ours: bool = False, small: bool = True) -> Reader:
        """A connection without a session.

        Args:
            small: Whether its socket takes little; who is to hear everything has one as large as usual.
        """
        host, port = self.server.addresses["http" if door.startswith("websocket") else door]
        raw = socket.socket()
        if small:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        raw.connect((host, port))
        stream: ByteStream = await SocketStream.from_socket(raw)
        if door in ("tcps", "https"):
            stream = await TLSStream.wrap(
                stream, hostname="localhost", ssl_context=self._trusted, standard_compatible=False
            )
        reader = Reader(stream, door, self.server.app_id, client_id or someone("reader"), ours=ours)
        await reader.shake_hands()
        self._readers.append(reader)
        self._group.start_soon(reader.run)
        return reader

    async def reader(
        self, door: str = "tcp", client_id: str = "", *, ours: bool = False, small: bool = True, **session: Any
    ) -> Reader:
        """A session in the room."""
        reader = await self.dial(door, client_id, ours=ours, small=small)
        await reader.open(**session)
        await reader.join(self.room)
        return reader

    async def write(self, priorities: Iterable[int], *writers: str, padding: str = PADDING) -> int:
        """Write a message of each priority, by these clients in turn; returns the number of the last one."""
        writers = writers or ("writer",)
        if self._writer is None:
            self._writer = Wire(await anyio.connect_tcp(*self.server.tcp), self.server.app_id)
        for writer in writers:
            if writer not in self._writers:
                self._writers.add(writer)
                opened = await self._writer.open(f"{writer}-{self.room}")
                assert opened.op == pb.opened, opened
        waiting = list(priorities)
        while waiting:
            some, waiting = waiting[:AT_ONCE], waiting[AT_ONCE:]
            for priority in some:
                number = len(self.posted)
                self.posted.append((number, priority))
                body = f"{priority} {number} {padding}".encode()
                direct = pb.DirectCommand(cid=self.room, msg=body)
                await self._writer.send(
                    cmd=pb.direct,
                    i=number + 1,
                    peerId=f"{writers[number % len(writers)]}-{self.room}",
                    directMessage=direct,
                    priority=priority,
                )
            for _ in some:
                ack = await self._writer.receive()
                assert ack.ackMessage.uid, ack
                self.ids[ack.i - 1] = ack.ackMessage.uid
        return len(self.posted) - 1

    async def lag(self, *readers: Reader, priorities: Iterable[int], frames: int) -> None:
        """Have readers stop, and write until so many messages wait for each of them."""
        for reader in readers:
            reader.stop()
        wanted = len(readers) * frames
        with anyio.fail_after(PATIENCE_SECONDS):
            while sum(asdict((await self.ledger()).pending).values()) < wanted:
                await self.write(priorities)

    async def hold_up(self, seconds: float) -> None:
        """Have the server's loop stand still for so long."""
        self.server.process.send_signal(signal.SIGSTOP)
        try:
            await anyio.sleep(seconds)
        finally:
            self.server.process.send_signal(signal.SIGCONT)

    def numbers(self, *priorities: int) -> list[int]:
        """The numbers of the messages written, of these priorities or of all."""
        return [number for number, priority in self.posted if priority in (priorities or PRIORITIES)]

    async def ledger(self) -> Ledger:
        """The room's, of which the sums are right."""
        ledger = convert(await self.rest.get(f"/1.2/rtm/chatrooms/{self.room}/ledger"), Ledger)
        assert sums(ledger, *SETTLED) == asdict(ledger.owed), ledger
        return ledger

    async def settled(self, *, readers: int | None = None) -> Ledger:
        """The ledger when nothing is under way any more, and as many sessions are in the room as are said to be."""
        with anyio.fail_after(PATIENCE_SECONDS):
            while True:
                ledger = await self.ledger()
                under_way = sum(sums(ledger, "pending", "torn").values())
                if under_way == 0 and readers in (None, ledger.readers):
                    return ledger

    async def until_readers(self, number: int) -> Ledger:
        """The ledger when so many sessions are in the room."""
        with anyio.fail_after(PATIENCE_SECONDS):
            while (ledger := await self.ledger()).readers != number:
                pass
        return ledger


@asynccontextmanager
async def house(server: ServerProcess, trusted: ssl.SSLContext | None = None) -> AsyncIterator[House]:
    """A house on ``server``; at the end everybody leaves."""
    async with anyio.create_task_group() as group:
        opened = House(server, group, trusted)
        await opened.build()
        try:
            yield opened
        finally:
            with anyio.CancelScope(shield=True):
                await opened.move_out()
            group.cancel_scope.cancel()


def sums(ledger: Ledger, *names: str) -> dict[str, int]:
    """Of these rows, by priority."""
    rows: list[Counts] = [getattr(ledger, name) for name in names]
    return {priority: sum(getattr(row, priority) for row in rows) for priority in Counts.__struct_fields__}


def counted(numbers: Iterable[int]) -> dict[str, int]:
    """How many there are of each priority."""
    by_priority = Counter(numbers)
    return {name: by_priority[priority] for priority, name in PRIORITIES.items()}


async def room_metrics(server: ServerProcess) -> Counter[str]:
    """The metrics of all rooms, by the name of the ledger's row and the priority, with a dot between."""
    names = {
        "messages_total": "messages",
        "rejoined_total": "rejoined",
        "deliveries_total": "outcome",
        "deliveries_waiting": "state",
        "shed_total": "reason",
    }
    found = Counter[str]()
    for line in (await get(server, "/metrics"))[1].splitlines():
        name, _, rest = line.partition("{")
        what = names.get(name.removeprefix("fastim_room_"))
        if not name.startswith("fastim_room_") or what is None:
            continue
        words, _, value = rest.partition("} ")
        labels = dict(word.replace('"', "").split("=") for word in words.split(","))
        row = labels.get(what, what)
        if what == "reason":
            row = f"{'refused' if labels['stage'] == 'door' else 'shed'}_{row}"
        found[f"{row}.{labels['priority']}"] = int(float(value))
    return found
