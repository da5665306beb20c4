"""Guests of chat rooms who come, go, stall and vanish at random, and what each of them must have heard by then.

Everything that is written has a number. Who writes has its answer before anything else happens, so the numbers are in
the order in which the rooms took them.
"""

import asyncio
import socket
import ssl
import struct
from collections import Counter
from itertools import count
from random import Random
from typing import NamedTuple, cast

from fastim.core.session import Config
from fastim.runtime.dispatch import Tenant
from fastim.runtime.rooms import LocalRooms
from fastim.service.conversations import delete_conversation
from fastim.service.sessions import kick_client
from fastim.wire import messages2_pb2 as pb
from tests.authority import Authority
from tests.fuzz.house import APPLICATION, House
from tests.fuzz.wires import PATIENCE_SECONDS, TcpWire, WebSocketWire, Wire

HIGH, NORMAL, LOW = 1, 2, 3
PLAIN = 187
FELL_BEHIND = 1013
DOORS = ("tcp", "websocket", "websocket_base64", "tcps")
RECEIVE_BYTES = 4_096
BURST = 20
SETTINGS = (
    "server.tcps=127.0.0.1:0",
    "delivery.room_window_bytes=65536",
    "delivery.room_window_messages=256",
    "delivery.room_low_milliseconds=0",
    "delivery.room_sampled_senders=2",
    "delivery.room_high_bytes=16384",
    "delivery.room_high_messages=64",
    "delivery.room_gather_milliseconds=0",
    "delivery.turn_microseconds=100",
    "limits.governor_lag_milliseconds=0",
)


class Post(NamedTuple):
    """A message that a room took."""

    number: int
    priority: int
    room: str
    sender: str
    id: str


def body_of(number: int, priority: int) -> bytes:
    """A text that shows whether it arrived whole, of any length up to 1 KB."""
    return b"%d %d %s" % (number, priority, bytes([97 + number % 26]) * (number * 37 % 1_000))


class Guest:
    """A client on one device.

    Attributes:
        room: Where it is, or will be when it comes back; empty: nowhere.
        floor: It is there since this number; of high priority it must hear all that follows.
        heard: How often it heard each number that it may still have to hear.
        cuts: How often it was cut off since; each may have torn a message, which it is sent again.
        whole: What it was owed and got, or was told of, since it entered; ``None`` when it was cut off since, or its
            client is told nothing.
        ours: Whether its client is told what was shed.
    """

    def __init__(self, name: str, *, ours: bool) -> None:
        self.name = name
        self.ours = ours
        self.wire: RoomWire | None = None
        self.room = ""
        self.floor = 0
        self.heard = Counter[int]()
        self.cuts = 0
        self.whole: Counter[int] | None = None

    def enters(self, room: str, number: int) -> None:
        self.room, self.floor, self.cuts = room, number, 0
        self.heard.clear()
        self.whole = Counter() if self.ours else None

    def is_cut(self) -> None:
        self.wire = None
        self.cuts += 1
        self.whole = None


class RoomWire(Wire):
    """A connection that can stall, and looks at whatever arrives.

    Attributes:
        guests: Those with a session here, by name.
        stalled: Whether it reads nothing.
    """

    village: "Village"

    def become(self, village: "Village") -> None:
        self.village = village
        self.guests: dict[str, Guest] = {}
        self.stalled = False
        self.total = 0
        self._opened: set[str] = set()
        self._last: dict[tuple[str, str], int] = {}
        self._patched: set[str] = set()

    def heard(self, body: bytes) -> pb.GenericCommand:
        generic = pb.GenericCommand.FromString(body)
        if generic.HasField("i"):
            if generic.op == pb.opened:
                self._opened.add(generic.peerId)
            elif generic.op == pb.closed:
                self._opened.discard(generic.peerId)
            self.received.put_nowait(generic)
        elif generic.cmd == pb.direct:
            self._listen(generic)
        elif generic.cmd == pb.patch:
            self._patched.update(item.mid for item in generic.patchMessage.patches)
        elif generic.HasField("nativeMessage"):
            gap = generic.nativeMessage.gap
            guest = self._guest(generic.peerId)
            assert guest.ours
            assert gap.high == 0
            if guest.whole is not None and gap.cid == guest.room:
                guest.whole.update({NORMAL: gap.normal, LOW: gap.low})
        return generic

    def forget(self, guest: Guest) -> None:
        """It opens its session anew: what it missed comes first."""
        for key in [key for key in self._last if key[0] == guest.name]:
            del self._last[key]
        self._patched.clear()

    def _listen(self, generic: pb.GenericCommand) -> None:
        direct = generic.directMessage
        number, priority = map(int, direct.msg.split()[:2])
        guest = self._guest(generic.peerId)
        post = self.village.posts[number]
        assert direct.msg == body_of(number, priority), "torn"
        assert (post.priority, post.room) == (priority, direct.cid), "foreign"
        assert post.id in ("", direct.id), "foreign"
        assert post.sender != guest.name, "its own"
        key = (guest.name, direct.cid)
        assert number > self._last.get(key, 0), "out of order, or repeated"
        assert direct.id not in self._patched, "behind what changed it"
        self._last[key] = number
        self.total += 1
        if direct.cid == guest.room and number > guest.floor:
            guest.heard[number] += 1
            if guest.whole is not None:
                guest.whole[priority] += 1

    def _guest(self, name: str) -> Guest:
        if not name:
            (name,) = self._opened
        return self.guests[name]

    def stall(self) -> None:
        if not self.transport.is_closing() and not self.stalled:
            self.stalled = True
            self.transport.pause_reading()

    def go_on(self) -> None:
        if self.stalled and not self.transport.is_closing():
            self.transport.resume_reading()
        self.stalled = False

    def reset(self) -> None:
        """Have the peer find the connection reset."""
        raw = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class RoomTcpWire(RoomWire, TcpWire):
    """At the TCP door."""


class RoomWebSocketWire(RoomWire, WebSocketWire):
    """At the WebSocket's door."""


class Village:
    """Everybody, and the rooms there are.

    Attributes:
        home: A room that stays; in it are those who always listen.
        posts: Whatever was written, by number.
        did: How often each thing was done.
    """

    def __init__(self, opened: House, dice: Random) -> None:
        self.opened = opened
        self.dice = dice
        self.home = ""
        self.rooms: list[str] = []
        self.posts: dict[int, Post] = {}
        self.did = Counter[str]()
        self.steady: list[Guest] = []
        self.guests: list[Guest] = []
        self._leaving: list[RoomWire] = []
        self._numbers = count(1)
        self._serials = count(1)
        self._trusted: ssl.SSLContext | None = None

    @property
    def number(self) -> int:
        """Of the newest message."""
        return max(self.posts, default=0)

    @property
    def tenant(self) -> Tenant:
        return self.opened.node._dispatcher.tenants[APPLICATION]

    # -- before and after --

    async def build(self, authority: Authority, guests: int) -> None:
        self._trusted = authority.trusting()
        self.crier = Guest("crier", ours=False)
        self.other_crier = Guest("other-crier", ours=False)
        for crier in (self.crier, self.other_crier):
            await self.open(crier, await self.dial("tcp", small=False))
        self.home = await self.make_room()
        self.rooms = [await self.make_room() for _ in range(2)]
        for number, door in enumerate(DOORS):
            guest = Guest(f"steady-{number}", ours=number % 2 == 0)
            await self.open(guest, await self.dial(door, small=False))
            await self.join(guest, self.home)
            self.steady.append(guest)
        self.guests = [Guest(f"guest-{number}", ours=number % 3 == 0) for number in range(guests)]

    async def leave(self) -> None:
        """Everybody goes, some of them in the middle of everything."""
        await self.post(self.home, [HIGH, LOW] * 20)
        wires = {guest.wire for guest in (*self.guests, *self.steady, self.crier, self.other_crier)}
        for wire in (*wires, *self._leaving):
            if wire is not None and not wire.ended.done():
                self.dice.choice((wire.transport.abort, wire.reset, wire.transport.close))()
                await wire.is_gone()

    # -- connections and sessions --

    async def dial(self, door: str, *, small: bool = True) -> RoomWire:
        wire: RoomWire
        if door.startswith("websocket"):
            wire = RoomWebSocketWire("lc.proto2base64.3" if door == "websocket_base64" else "lc.protobuf2.3")
        else:
            wire = RoomTcpWire()
        wire.become(self)
        raw = socket.socket()
        raw.setblocking(False)
        if small:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        host, _, port = self.opened.node.addresses["http" if door.startswith("websocket") else door].rpartition(":")
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, (host, int(port)))
        if door == "tcps":
            await loop.create_connection(lambda: wire, sock=raw, ssl=self._trusted, server_hostname="localhost")
        else:
            await loop.create_connection(lambda: wire, sock=raw)
        return wire

    async def open(self, guest: Guest, wire: RoomWire) -> bool:
        """Open a session; where the guest had one, it comes back. False: the connection ended meanwhile."""
        config = PLAIN | Config.GAP_NOTICES if guest.ours else PLAIN
        session = pb.SessionCommand(configBitmap=config, deviceId=f"device-{guest.name}")
        wire.forget(guest)
        wire.guests[guest.name] = guest
        guest.wire = wire
        opened = await self.ask(guest, cmd=pb.session, op=pb.open, appId=APPLICATION, sessionMessage=session)
        if opened is None:
            assert wire.farewell == FELL_BEHIND, self.opened.faults
            guest.is_cut()
            return False
        assert opened.op == pb.opened, opened
        return True

    async def ask(self, guest: Guest, **fields: object) -> pb.GenericCommand | None:
        """The answer to a command; ``None`` when the connection ends before it comes."""
        wire = guest.wire
        assert wire is not None
        serial = next(self._serials)
        command = pb.GenericCommand(**{"i": serial, "peerId": guest.name, **fields})  # type: ignore[arg-type]
        wire.write(wire.frame(command.SerializeToString()))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                answer = asyncio.ensure_future(wire.received.get())
                await asyncio.wait((answer, wire.ended), return_when=asyncio.FIRST_COMPLETED)
                if not answer.done():
                    answer.cancel()
                    return None
                if answer.result().i == serial:
                    return answer.result()

    async def make_room(self) -> str:
        made = await self.ask(self.crier, cmd=pb.conv, op=pb.start, convMessage=pb.ConvCommand(transient=True))
        assert made is not None
        room = made.convMessage.cid
        left = await self.ask(
            self.crier, cmd=pb.conv, op=pb.remove, convMessage=pb.ConvCommand(cid=room, m=[self.crier.name])
        )
        assert left is not None
        return room

    async def join(self, guest: Guest, room: str) -> None:
        # What was on its way of the room before is of no concern any more.
        guest.room = ""
        conv = pb.ConvCommand(cid=room, m=[guest.name])
        joined = await self.ask(guest, cmd=pb.conv, op=pb.add, convMessage=conv)
        if joined is not None:
            assert list(joined.convMessage.allowedPids) == [guest.name], joined
            guest.enters(room, self.number)

    async def post(self, room: str, priorities: list[int], writer: Guest | None = None) -> None:
        """Write messages, and wait until the room has taken them."""
        crier = writer or self.dice.choice((self.crier, self.other_crier))
        wire = crier.wire
        assert wire is not None
        drafts = {}
        for priority in priorities:
            number, serial = next(self._numbers), next(self._serials)
            direct = pb.DirectCommand(cid=room, msg=body_of(number, priority))
            command = pb.GenericCommand(
                cmd=pb.direct, i=serial, peerId=crier.name, directMessage=direct, priority=priority
            )
            # Its id is known once it is taken; it may be heard before that.
            self.posts[number] = Post(number, priority, room, crier.name, "")
            drafts[serial] = number
            wire.write(wire.frame(command.SerializeToString()))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while drafts:
                answer = await wire.received.get()
                number = drafts.pop(answer.i, 0)
                if number:
                    assert answer.ackMessage.uid, answer
                    self.posts[number] = self.posts[number]._replace(id=answer.ackMessage.uid)

    # -- looking --

    def ledger_is_balanced(self) -> bool:
        """Check all sums; whether nothing is under way."""
        logs = self.tenant.logs
        fanout = self.opened.node.gateway._fanout
        under_way = 0
        for counts in (fanout.ledger(), *(room.log.ledger() for room in logs._rooms.values())):
            for at in range(3):
                parts = sum(three[at] for name, three in counts.items() if name not in ("admitted", "owed", "rejoined"))
                assert counts["owed"][at] == parts, counts
                under_way += counts["pending"][at] + counts["torn"][at]
        return under_way == 0

    async def settle(self) -> None:
        """Have everybody listen until nothing is under way, and come back; then see that nothing is missing."""
        for guest in self.guests:
            if guest.wire is not None:
                guest.wire.go_on()
        for wire in self._leaving:
            wire.go_on()
            await wire.is_gone()
        self._leaving.clear()
        await self._all_is_said()
        for guest in self.guests:
            if guest.wire is not None and guest.wire.ended.done():
                assert guest.wire.farewell == FELL_BEHIND
                self.did["overrun"] += 1
                guest.is_cut()
        for guest in self.guests:
            if guest.wire is None and guest.room:
                await self.open(guest, await self.dial(self.dice.choice(DOORS)))
        await self._all_is_said()
        for guest in (*self.steady, *self.guests):
            self._has_heard(guest)
        for number in [number for number in self.posts if number < self.number - 10 * BURST]:
            if all(guest.floor >= number for guest in (*self.steady, *self.guests) if guest.room):
                del self.posts[number]

    async def _all_is_said(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                quiet = self._is_quiet()
                for guest in (*self.steady, *self.guests):
                    if guest.wire is not None and not guest.wire.ended.done():
                        await self.ask(guest, cmd=pb.echo)
                if quiet and self._is_quiet():
                    return

    def _is_quiet(self) -> bool:
        """Whether nothing is under way, from memory or from the store."""
        rooms = cast(LocalRooms, self.tenant.io.rooms)
        return self.ledger_is_balanced() and not rooms._missed

    def _has_heard(self, guest: Guest) -> None:
        if not guest.room or guest.wire is None or guest.wire.ended.done():
            return
        owed = [
            post
            for post in self.posts.values()
            if post.number > guest.floor and post.room == guest.room and post.sender != guest.name
        ]
        high = [post.number for post in owed if post.priority == HIGH]
        missing = [number for number in high if not guest.heard[number]]
        assert not missing, (guest.name, guest.cuts, missing, guest.heard)
        assert sum(times - 1 for times in guest.heard.values()) <= guest.cuts
        if guest in self.steady:
            assert len(guest.heard) == len(owed)
        if guest.whole is not None:
            assert guest.whole == Counter(post.priority for post in owed), (guest.name, guest.whole)
        if guest in self.steady or self.dice.random() < 0.3:
            # Looked at; from here on anew.
            guest.floor, guest.cuts = self.number, 0
            guest.heard.clear()
            if guest.whole is not None:
                guest.whole.clear()

    # -- what happens --

    async def step(self) -> None:
        """Something."""
        ways = {
            self._burst: 14, self._stall: 8, self._go_on: 1, self._move: 3, self._leave: 1, self._close: 1,
            self._vanish: 1, self._finish: 1, self._come_twice: 1, self._come_along: 2, self._be_kicked: 1,
            self._room_ends: 0.3, self._patch: 1, self._write: 2, self._flood: 0.5,
        }  # fmt: skip
        (way,) = self.dice.choices(list(ways), list(ways.values()))
        self.did[way.__name__] += 1
        await way()
        self.ledger_is_balanced()

    def _somebody(self) -> Guest:
        return self.dice.choice(self.guests)

    def _somewhere(self) -> str:
        return self.dice.choice((self.home, *self.rooms))

    async def _there(self, *, listening: bool = True) -> Guest | None:
        """Somebody with a session; ``None`` when it was just cut off."""
        guest = self._somebody()
        if guest.wire is None:
            await self.open(guest, await self.dial(self.dice.choice(DOORS)))
        wire = guest.wire
        assert wire is not None
        if listening:
            wire.go_on()
            if await self.ask(guest, cmd=pb.echo) is None:
                return None
        return None if wire.ended.done() else guest

    async def _burst(self) -> None:
        room = self.home if self.dice.random() < 0.6 else self._somewhere()
        weights = self.dice.choice(((1, 3, 6), (1, 1, 1), (9, 1, 1), (0, 1, 1)))
        for _ in range(self.dice.randrange(1, 4)):
            priorities = self.dice.choices((HIGH, NORMAL, LOW), weights, k=self.dice.randrange(1, BURST))
            await self.post(room, priorities)
            for guest in self.steady:
                await self.ask(guest, cmd=pb.echo)

    async def _flood(self) -> None:
        """More of high priority than is kept for somebody who stalls."""
        guest = await self._there()
        if guest is None or guest.wire is None or not guest.room:
            return
        guest.wire.stall()
        for _ in range(14):
            await self.post(guest.room, [HIGH] * (BURST - 1))
            for steady in self.steady:
                await self.ask(steady, cmd=pb.echo)

    async def _write(self) -> None:
        guest = await self._there()
        if guest is not None and not any(one.stalled for one in (guest.wire,) if one is not None):
            await self.post(guest.room or self.home, self.dice.choices((HIGH, NORMAL, LOW), k=5), guest)

    async def _stall(self) -> None:
        guest = self._somebody()
        if guest.wire is not None:
            guest.wire.stall()

    async def _go_on(self) -> None:
        guest = self._somebody()
        if guest.wire is not None:
            guest.wire.go_on()

    async def _move(self) -> None:
        guest = await self._there()
        if guest is not None:
            await self.join(guest, self._somewhere())

    async def _leave(self) -> None:
        guest = await self._there()
        if guest is not None and guest.room:
            conv = pb.ConvCommand(cid=guest.room, m=[guest.name])
            guest.room = ""
            await self.ask(guest, cmd=pb.conv, op=pb.remove, convMessage=conv)

    async def _close(self) -> None:
        guest = await self._there()
        if guest is not None:
            guest.room = ""
            wire = guest.wire
            assert wire is not None
            if await self.ask(guest, cmd=pb.session, op=pb.close) is None:
                return
            if len(wire.guests) == 1:
                await self.open(guest, wire)
            else:
                guest.wire = None
                del wire.guests[guest.name]

    async def _vanish(self) -> None:
        """What the system took for it and it never read is lost, and more if the system has not noticed yet."""
        guest = self._somebody()
        wire = guest.wire
        if wire is None or wire.ended.done():
            return
        self.dice.choice((wire.transport.abort, wire.reset))()
        await wire.is_gone()
        for one in wire.guests.values():
            if one.wire is wire:
                await self._until_offline(one)
                one.is_cut()
                one.floor = self.number
                one.heard.clear()

    async def _until_offline(self, guest: Guest) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.tenant.presence.online([guest.name]):
                await self.ask(self.crier, cmd=pb.echo)

    async def _finish(self) -> None:
        """It closes its half, and reads the rest."""
        guest = self._somebody()
        wire = guest.wire
        if wire is None or wire.ended.done() or not wire.transport.can_write_eof():
            return
        wire.finish()
        wire.go_on()
        await wire.is_gone()
        for one in wire.guests.values():
            if one.wire is wire:
                await self._until_offline(one)
                one.is_cut()

    async def _come_twice(self) -> None:
        """The device comes back while its old connection is still there, stalled or not."""
        guest = self._somebody()
        old = guest.wire
        if old is None or old.ended.done() or len(old.guests) > 1:
            return
        self._leaving.append(old)
        guest.is_cut()
        await self.open(guest, await self.dial(self.dice.choice(DOORS)))

    async def _come_along(self) -> None:
        """Somebody who is not there opens a session on somebody else's connection."""
        host = await self._there()
        away = [guest for guest in self.guests if guest.wire is None]
        if host is None or host.wire is None or not away or len(host.wire.guests) > 1:
            return
        guest = self.dice.choice(away)
        if await self.open(guest, host.wire):
            await self.join(guest, self._somewhere())

    async def _be_kicked(self) -> None:
        guest = self._somebody()
        wire = guest.wire
        if wire is None or wire.ended.done() or len(wire.guests) > 1:
            return
        await kick_client(self.tenant.io, guest.name, "")
        self._leaving.append(wire)
        guest.is_cut()
        if wire.transport.can_write_eof():
            wire.finish()
        else:
            wire.transport.abort()
            guest.floor = self.number
            guest.heard.clear()

    async def _room_ends(self) -> None:
        at = self.dice.randrange(len(self.rooms))
        ended = self.rooms[at]
        self.rooms[at] = await self.make_room()
        for guest in self.guests:
            if guest.room == ended:
                guest.room = ""
        await delete_conversation(self.tenant.io, ended)

    async def _patch(self) -> None:
        mine = [post for post in list(self.posts.values())[-30:] if post.sender == "crier" and post.room == self.home]
        if not mine:
            return
        post = self.dice.choice(mine)
        recall = self.dice.random() < 0.5
        item = pb.PatchItem(cid=post.room, mid=post.id, timestamp=0, recall=recall)
        patch = pb.PatchCommand(patches=[item])
        await self.ask(self.crier, cmd=pb.patch, op=pb.modify, patchMessage=patch)
