"""One hostile client: what it sends, in which order and pieces, and what the server owes it."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from fastim.core import commands
from fastim.core.errors import FrameTooLong, WireError
from fastim.wire import messages2_pb2 as pb
from fastim.wire.codec import decode
from fastim.wire.framing import SUBPROTOCOLS
from tests.fuzz import effort, streams
from tests.fuzz.bodies import KINDS, Kind, Names, broken, decodes, opening, sound
from tests.fuzz.wires import TcpWire, WebSocketWire, Wire, handshake

FRAMES = 25
"""What one client sends on the average, if it is not cut off before."""
SILENT = (commands.Acknowledge, commands.MarkRead)
"""Commands that get an answer only when they are refused. A transient message is a third kind."""
PROTOCOL_ERROR, UNSUPPORTED_DATA, NOT_UTF8 = 1002, 1003, 1007
FAREWELLS = {PROTOCOL_ERROR, UNSUPPORTED_DATA, NOT_UTF8, FrameTooLong.code, WireError.code}
MASK = b"\x00\xff\x55\xaa"


class Step(Struct):
    """Something to send.

    Attributes:
        frames: How many frames it counts for.
        serial: What the answer has to bear, if one has to come.
        perhaps: What the answer bears if one comes.
        deadly: The code with which the connection has to end.
        wild: Nothing is known of what the server makes of it.
    """

    data: bytes
    frames: int = 1
    serial: int | None = None
    perhaps: int | None = None
    deadly: int | None = None
    wild: bool = False


class Attack:
    """Connection ``number`` of a campaign against one door.

    Attributes:
        made: Frames sent while the connection was there to take them.
        cut: Whether the server ended the connection without a word: the same device opened its session elsewhere.
    """

    def __init__(self, door: str, number: int, names: Names, limit_bytes: int) -> None:
        self._dice = effort.dice(door, number)
        self._door = door
        self._number = number
        self._names = names
        self._limit_bytes = limit_bytes
        self._client_id = names.clients[number % len(names.clients)]
        self._wire: Wire
        self._base64 = False
        self._serials = 0
        self._owed: Counter[int] = Counter()
        self._perhaps: Counter[int] = Counter()
        self.made = 0
        self.cut = False

    async def run(self, address: str) -> None:
        """Do all of it.

        Raises:
            TimeoutError: Something hangs.
            AssertionError: An answer is one too many, or the end was not what it had to be.
        """
        try:
            await self._run(address)
        except (TimeoutError, AssertionError) as error:
            error.add_note(f"{self._door} door, {effort.rerun(self._number)}")
            raise

    async def _run(self, address: str) -> None:
        dice = self._dice
        if self._door == "websocket" and dice.random() < 0.05:
            await self._knock(address)
            return
        subprotocol = dice.choice(("", *SUBPROTOCOLS))
        self._base64 = "base64" in subprotocol
        wire = self._wire = TcpWire() if self._door == "tcp" else WebSocketWire(subprotocol)
        await wire.dial(address)
        if dice.random() < 0.03:
            wire.transport.pause_reading()
            await self._send_all(reading=False)
            wire.transport.abort()
            await wire.is_gone()
            return
        last = await self._send_all(reading=True)
        if last is not None and last.wild:
            wire.finish()
            await wire.is_gone()
            return
        if last is None and not wire.ended.done():
            await self._end()
            await wire.is_gone()
        else:
            await wire.is_gone()
            self.cut = last is None or wire.farewell != last.deadly
            assert not (self.cut and wire.farewell in FAREWELLS), (wire.farewell, last)
        assert wire.answered <= self._owed + self._perhaps

    async def _send_all(self, *, reading: bool) -> Step | None:
        """Send until it is deadly or wild, and then a little; returns that step."""
        dice, wire = self._dice, self._wire
        for step in self._steps():
            if wire.ended.done():
                return None
            self.made += step.frames
            if step.serial is not None:
                self._owed[step.serial] += 1
            if step.perhaps is not None:
                self._perhaps[step.perhaps] += 1
            for piece in streams.cut(dice, step.data) if dice.random() < 0.1 else (step.data,):
                wire.write(piece)
                if dice.random() < 0.5:
                    await asyncio.sleep(0)
            if step.deadly is not None or step.wild:
                wire.write(wire.frame(b"too late"))
                return step
            if reading and dice.random() < 0.2:
                await wire.has_answered(self._owed)
                self._learn()
        return None

    async def _end(self) -> None:
        dice, wire = self._dice, self._wire
        match dice.randrange(4):
            case 0:
                wire.transport.abort()
            case 1:
                torn = wire.frame(self._body(dice.choice(KINDS)))
                wire.write(torn[: dice.randrange(len(torn))])
                wire.finish()
            case 2:
                wire.finish()
            case _:
                await wire.has_answered(self._owed)
                wire.finish()

    async def _knock(self, address: str) -> None:
        """A request that may be a handshake, and what would follow it."""
        dice = self._dice
        head = handshake(dice.choice((*SUBPROTOCOLS, "lc.json", ",", "x" * 9_000)))
        wire = self._wire = WebSocketWire(head=dice.choice((streams.garbled(dice, head), head[:-2], head + head)))
        await wire.dial(address)
        for _ in range(3):
            wire.write(wire.frame(self._body(dice.choice(KINDS))))
            self.made += 1
            await asyncio.sleep(0)
        wire.transport.abort()
        await wire.is_gone()

    # -- what is sent --

    def _steps(self) -> Iterator[Step]:
        dice = self._dice
        if dice.random() < 0.85:
            yield self._command(self._opening())
        bodies: list[bytes] = []
        for place in range(dice.randint(1, 2 * FRAMES)):
            choice = dice.random()
            if choice < 0.05:
                yield self._command(self._opening())
            elif choice < 0.15:
                yield self._mutated(self._body(dice.choice(KINDS)))
            elif choice < 0.18 and bodies:
                yield self._command(dice.choice(bodies))
            elif choice < 0.2:
                yield self._unframeable()
            elif choice < 0.25 and self._door == "websocket":
                yield self._in_fragments(self._body(dice.choice(KINDS)))
            elif choice < 0.28 and self._door == "websocket":
                yield Step(streams.control(dice).encode())
            else:
                # Each kind has its turn, whatever the dice like.
                kind = KINDS[(self._number + place) % len(KINDS)]
                bodies.append(self._body(kind))
                yield self._command(bodies[-1])
                if kind.op == pb.close and dice.random() < 0.7:
                    yield self._command(self._opening())
        if dice.random() < 0.1:
            yield self._noise()

    def _body(self, kind: Kind) -> bytes:
        serial = None
        if self._dice.random() < 0.9:
            self._serials += 1
            serial = self._serials
        return sound(self._dice, self._names, serial, kind).SerializeToString()

    def _opening(self) -> bytes:
        self._serials += 1
        client_id = self._client_id if self._dice.random() < 0.8 else self._dice.choice(self._names.clients)
        return opening(self._dice, self._names, client_id, self._serials).SerializeToString()

    def _command(self, body: bytes, data: bytes | None = None) -> Step:
        """A step for ``body``, which decodes, framed as ``data``."""
        if len(body) > self._limit_bytes:
            return Step(self._wire.frame(body), deadly=FrameTooLong.code)
        request = decode(body)
        command, serial = request.command, request.serial
        silent = isinstance(command, SILENT) or (isinstance(command, commands.Send) and command.transient)
        step = Step(self._wire.frame(body) if data is None else data)
        if silent:
            step.perhaps = serial
        else:
            step.serial = serial
        return step

    def _mutated(self, body: bytes) -> Step:
        for _ in range(4):
            mutated = broken(self._dice, body)
            if decodes(mutated):
                return self._command(mutated)
        if len(mutated) > self._limit_bytes:
            return Step(self._wire.frame(mutated), deadly=FrameTooLong.code)
        return Step(self._wire.frame(mutated), deadly=WireError.code)

    def _in_fragments(self, body: bytes) -> Step:
        frames = list(streams.message(self._dice, streams.BINARY, body))
        step = self._command(body, b"".join(frame.encode() for frame in frames))
        step.frames = len(frames)
        return step

    def _unframeable(self) -> Step:
        """A frame that cannot be one."""
        dice = self._dice
        if self._door == "tcp":
            claimed = dice.choice((self._limit_bytes + 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 0x47455420))
            return Step(claimed.to_bytes(4) + dice.randbytes(dice.choice((0, 1, 100))), deadly=FrameTooLong.code)
        body = self._body(dice.choice(KINDS))
        right = streams.Frame(streams.BINARY, body, MASK, len(body))
        frame, code = dice.choice(list(_wrong(dice, right, base64=self._base64)))
        return Step(frame.encode(), deadly=code)

    def _noise(self) -> Step:
        """Bytes of which nothing is known; what the server makes of them is not asked."""
        dice = self._dice
        if self._door == "tcp":
            return Step(streams.garbled(dice, self._wire.frame(self._body(dice.choice(KINDS)))), wild=True)
        return Step(streams.stream(dice, 2_000), frames=3, wild=True)

    def _learn(self) -> None:
        """Take note of ids in answers; they take the place of others, so that the dice fall alike each time."""
        names = self._names
        while not self._wire.received.empty():
            generic = self._wire.received.get_nowait()
            for known, learnt in (
                (names.conversations, generic.convMessage.cid if generic.op == pb.started else ""),
                (names.messages, generic.ackMessage.uid),
                (names.tokens, generic.sessionMessage.st),
            ):
                if learnt:
                    known.append(learnt)
                    del known[0]


def _wrong(dice: Random, right: streams.Frame, *, base64: bool) -> Iterator[tuple[streams.Frame, int]]:
    """Frames that end the connection, each with the code that it ends with."""
    size = len(right.payload)
    for frame in (
        replace(right, reserved=dice.randint(1, 7)),
        replace(right, opcode=dice.choice((3, 7, 11, 15))),
        replace(right, opcode=streams.CONTINUATION),
        replace(right, opcode=streams.PING, final=False, payload=b"", length=0),
        replace(right, opcode=streams.PONG, payload=bytes(126), length=126),
        replace(right, opcode=streams.CLOSE, payload=b"\x03", length=1),
        replace(right, opcode=streams.CLOSE, payload=b"\x03\xed", length=2),
        replace(right, masked=False),
        replace(right, form=64, length=2**63 + size),
        replace(right, form=16, payload=right.payload[:125], length=min(size, 125)),
    ):
        yield frame, PROTOCOL_ERROR
    yield replace(right, form=64, length=dice.choice((2**21, 2**31, 2**32, 2**63 - 1))), FrameTooLong.code
    yield replace(right, opcode=streams.TEXT, payload=b"a\xff", length=2), NOT_UTF8
    yield replace(right, opcode=streams.TEXT, payload=b"a-_b", length=4), WireError.code if base64 else UNSUPPORTED_DATA
