"""The fan-out on real sockets and uvloop's transports: people come, go and stop reading while turns are cut."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, cast

import pytest
import trustme
import uvloop

from fastim._fanout import Fanout, Place, RoomLog, Wire
from tests.native import oracle_fanout as oracle
from tests.native.fanout_world import FRAMINGS
from tests.native.oracle_fanout import FATES, HIGH, LOW, NORMAL, commands, first_command

SEED = os.environ.get("FASTIM_FANOUT_SEED") or "1"
STEPS = int(os.environ.get("FASTIM_FANOUT_STEPS") or 0) or 2_000
READERS = 60
WINDOW = 1 << 18
MESSAGE = re.compile(rb"m(\d+)\.(\d+)\.~*(#(\d+);)?")
RESET = struct.pack("ii", 1, 0)


class Connection(asyncio.Protocol):
    """A door's part: pausing is passed on, and whoever is lost leaves."""

    transport: asyncio.Transport
    wire: Wire

    def __init__(self, fanout: Fanout, framing: int, *, tls: bool = False) -> None:
        self.fanout = fanout
        self.framing = framing
        self.tls = tls
        self.fd = -1
        self.paused_times = 0
        self.failed_times = 0
        self.overrun_times = 0
        self.relieved_times = 0
        loop = asyncio.get_running_loop()
        self.made: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if not self.tls:
            self.fd = transport.get_extra_info("socket").fileno()
        self.wire = Wire(self.fanout, self, self.transport, self.fd, FRAMINGS[self.framing])
        # A TLS transport has something to send already, and says so at once.
        self.transport.set_write_buffer_limits(high=1 if self.tls else 0)
        self.made.set_result(None)

    def pause_writing(self) -> None:
        self.paused_times += 1
        self.wire.pause()

    def resume_writing(self) -> None:
        self.wire.resume()

    def connection_lost(self, error: Exception | None) -> None:
        self.wire.end()
        self.lost.set_result(None)

    def close(self) -> None:
        """Say what is queued, and no more."""
        if rest := self.wire.end():
            self.transport.write(rest)
        self.transport.close()

    def relieved(self) -> None:
        self.relieved_times += 1

    def failed(self) -> None:
        self.failed_times += 1
        self.wire.end()
        self.transport.abort()

    def overrun(self) -> None:
        self.overrun_times += 1
        self.close()


class House:
    """A listening socket, and connections with both ends at hand."""

    def __init__(self, **numbers: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.fanout = Fanout(
            self.loop.call_soon,
            lambda seconds, callback: self.loop.call_later(seconds, callback),
            **numbers,  # type: ignore[arg-type]
        )
        self.ends: list[tuple[Connection, socket.socket]] = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            self.listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 16_384)

    async def connect(self, framing: int, receive_bytes: int = 0) -> tuple[Connection, socket.socket]:
        client = socket.socket()
        if receive_bytes:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.connect(self.listener.getsockname())
        client.setblocking(False)
        accepted, _ = self.listener.accept()
        accepted.setblocking(False)
        _, connection = await self.loop.connect_accepted_socket(lambda: Connection(self.fanout, framing), accepted)
        await connection.made
        self.ends.append((connection, client))
        return connection, client

    async def close(self) -> None:
        """Cut off whoever is still there."""
        self.listener.close()
        for connection, client in self.ends:
            client.close()
            connection.transport.abort()
            await connection.lost

    async def settle(self) -> None:
        for _ in range(100_000):
            await asyncio.sleep(0)
            if self.fanout.idle:
                return
        raise AssertionError("the turns never end")


def run(main: Callable[[House], Awaitable[None]], **numbers: int) -> None:
    async def checked() -> None:
        wrong: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
        house = House(**numbers)
        try:
            await main(house)
            await asyncio.sleep(0)
            assert not wrong
        finally:
            await house.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(checked())
    gc.collect()


def is_open(connection: Connection) -> bool:
    return not connection.wire.blocked


def receive(client: socket.socket, limit: int = 1 << 20) -> bytes | None:
    """What there is, ``b""`` for nothing; ``None`` when the other side has closed."""
    try:
        return client.recv(limit) or None
    except BlockingIOError:
        return b""
    except ConnectionResetError:
        return None


# --- One reader -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("suffix", [None, b"#own;"])
def test_who_stops_reading_blocks_and_goes_on_where_it_was(framing: int, suffix: bytes | None) -> None:
    async def main(house: House) -> None:
        connection, client = await house.connect(framing, receive_bytes=4_096)
        room = RoomLog(house.fanout, 0)
        place = room.join(connection.wire, suffix)
        count = 0
        while not connection.wire.blocked:
            room.admit(b"%d:" % count + bytes(900), HIGH, 1, count)
            count += 1
            await house.settle()
        connection.wire.put(b"a command")
        connection.wire.watched = True
        for _ in range(20):
            room.admit(b"%d:" % count + bytes(900), LOW, 1, count)
            count += 1
        await house.settle()
        assert connection.paused_times == 1
        assert connection.wire.waiting_bytes > 0
        assert place.behind >= 20
        got = bytearray()
        while place.behind or connection.wire.waiting_bytes or len(got) < connection.wire.taken_bytes:
            got += receive(client) or b""
            await asyncio.sleep(0)
        found = commands(framing, got)
        found.remove(b"a command")
        assert found == [b"%d:" % at + bytes(900) + (suffix or b"") for at in range(count)]
        assert is_open(connection)
        assert connection.relieved_times >= 1
        assert connection.wire.taken_bytes == len(got)
        assert room.ledger()["written"] == (count - 20, 0, 20)
        connection.close()
        await connection.lost

    run(main, window_bytes=1 << 20)


def test_a_peer_that_resets_is_noticed_when_something_is_sent() -> None:
    async def main(house: House) -> None:
        connection, client = await house.connect(oracle.TCP)
        connection.transport.pause_reading()
        room = RoomLog(house.fanout, 0)
        place = room.join(connection.wire, None)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()
        while not connection.failed_times:
            room.admit(b"anyone?", HIGH, 1, 1)
            await house.settle()
        await connection.lost
        assert connection.failed_times == 1
        assert not place.present
        ledger = room.ledger()
        assert ledger["owed"][0] == ledger["written"][0] + ledger["closed"][0]

    run(main)


@pytest.mark.parametrize("blocked", [False, True])
def test_a_close_lets_out_what_was_started_and_what_was_put(blocked: bool) -> None:
    async def main(house: House) -> None:
        connection, client = await house.connect(oracle.WEBSOCKET, receive_bytes=4_096)
        room = RoomLog(house.fanout, 0)
        room.join(connection.wire, b"#own;")
        if blocked:
            while not connection.wire.blocked:
                room.admit(bytes(900), HIGH, 1, 1)
                await house.settle()
        connection.wire.put(b"goodbye")
        connection.close()
        got = bytearray()
        while (some := receive(client)) is not None:
            got += some
            await asyncio.sleep(0)
        assert commands(oracle.WEBSOCKET, got)[-1] == b"goodbye"
        await connection.lost

    run(main)


def test_over_tls_the_transport_holds_one_flush_and_rooms_wait() -> None:
    authority = trustme.CA()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(serving)
    asking = ssl.create_default_context()
    authority.configure_trust(asking)

    async def main(house: House) -> None:
        made: list[Connection] = []

        def accept() -> Connection:
            made.append(Connection(house.fanout, oracle.TCP, tls=True))
            return made[0]

        server = await house.loop.create_server(accept, "127.0.0.1", 0, ssl=serving)
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=asking, server_hostname="localhost", limit=4_096
        )
        [connection] = made
        await connection.made
        room = RoomLog(house.fanout, 0)
        place = room.join(connection.wire, b"#own;")
        count = 0
        while not (connection.wire.blocked and place.behind):
            for _ in range(10):
                room.admit(b"%d:" % count + bytes(900), HIGH, 1, count)
                count += 1
            await house.settle()
        for _ in range(20):
            room.admit(b"%d:" % count + bytes(900), HIGH, 1, count)
            count += 1
        await house.settle()
        assert place.behind >= 20
        assert connection.transport.get_write_buffer_size() <= 1 << 17
        assert house.fanout.sends == 0
        for at in range(count):
            size = int.from_bytes(await reader.readexactly(4), "big")
            assert await reader.readexactly(size) == b"%d:" % at + bytes(900) + b"#own;"
        assert room.ledger()["written"] == (count, 0, 0)
        connection.close()
        await connection.lost
        writer.close()
        server.close()

    run(main)


# --- Everybody at once ------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Guest:
    """A connection with a place in a room or two, and what its peer has received."""

    number: int
    connection: Connection
    client: socket.socket
    slow: bool
    bare: bool
    room_of: dict[int, tuple[int, Place]] = field(default_factory=dict)  # by the room's number: where it joined
    all_rooms: dict[int, tuple[int, int]] = field(default_factory=dict)  # where it joined, and where it left or -1
    next: dict[int, int] = field(default_factory=dict)
    got: bytearray = field(default_factory=bytearray)
    got_bytes: int = 0
    came: int = 0
    put: int = 0
    closing: bool = False
    missing: int = 0


class Party:
    """A run of steps, all drawn from one seed; the kernel decides who blocks when."""

    def __init__(self, house: House, dice: Random) -> None:
        self.house = house
        self.dice = dice
        self.rooms = [RoomLog(house.fanout, 0) for _ in range(3)]
        self.owed = [[0, 0, 0] for _ in self.rooms]
        self.priorities: list[list[int]] = [[] for _ in self.rooms]
        self.guests: list[Guest] = []
        self.numbers = 0
        self.descriptors: set[int] = set()
        self.reused = 0
        self.received = 0
        self.left_out = 0
        self.cut_off = 0
        self.overruns = 0
        self.timestamp = 0

    async def arrive(self) -> None:
        slow = self.dice.random() < 0.2
        framing = self.dice.randrange(3)
        connection, client = await self.house.connect(framing, receive_bytes=4_096 if slow else 0)
        self.reused += connection.fd in self.descriptors
        self.descriptors.add(connection.fd)
        self.numbers += 1
        guest = Guest(self.numbers, connection, client, slow, self.dice.random() < 0.5)
        self.guests.append(guest)
        for at in self.dice.sample(range(3), self.dice.choice([1, 1, 2])):
            self.join(guest, at)

    def join(self, guest: Guest, at: int) -> None:
        suffix = None if guest.bare else b"#%d;" % guest.number
        place = self.rooms[at].join(guest.connection.wire, suffix)
        head = len(self.priorities[at])
        guest.room_of[at] = (head, place)
        guest.all_rooms[at] = (head, -1)
        guest.next[at] = head

    def leave(self, guest: Guest, at: int) -> None:
        start, place = guest.room_of.pop(at)
        guest.all_rooms[at] = (start, len(self.priorities[at]))
        place.leave()

    def admit(self, most: int) -> None:
        for _ in range(self.dice.randrange(1, most)):
            at = self.dice.randrange(3)
            priority = self.dice.choices([HIGH, NORMAL, LOW], [1, 3, 6])[0]
            self.timestamp += 1
            body = b"m%d.%d." % (at, len(self.priorities[at])) + b"~" * self.dice.choice([40, 100, 130, 700])
            self.rooms[at].admit(body, priority, self.dice.randrange(100), self.timestamp)
            self.priorities[at].append(priority)
            present = sum(place.present for guest in self.guests if (place := guest.room_of.get(at, (0, None))[1]))
            self.owed[at][priority - 1] += present

    def put(self) -> None:
        guest = self.dice.choice(self.guests)
        if not guest.closing:
            guest.connection.wire.put(b"c%d" % guest.put)
            guest.put += 1

    def go(self, how: str) -> None:
        guest = self.dice.choice(self.guests)
        if guest.closing:
            return
        if how == "leave":
            if guest.room_of:
                self.leave(guest, self.dice.choice(list(guest.room_of)))
            return
        guest.closing = True
        if how == "close":
            self.note_end(guest)
            guest.connection.close()
        elif how == "abort":
            self.cut_off += 1
            guest.connection.wire.end()
            guest.connection.transport.abort()
            self.forget(guest)
        else:
            self.cut_off += 1
            guest.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            guest.client.close()
            self.guests.remove(guest)

    def note_end(self, guest: Guest) -> None:
        for at in list(guest.room_of):
            self.leave(guest, at)

    def forget(self, guest: Guest) -> None:
        guest.client.close()
        self.guests.remove(guest)

    def read(self, guest: Guest, limit: int) -> None:
        if guest.connection.overrun_times and not guest.closing:
            guest.closing = True
            guest.room_of.clear()
            self.overruns += 1
        data = receive(guest.client, limit)
        if data:
            guest.got += data
            guest.got_bytes += len(data)
            self.check(guest)
        elif data is None:
            assert guest.closing, "the server hung up on a reader"
            assert not guest.got, "the stream ends with a part of a command"
            self.forget(guest)

    def check(self, guest: Guest) -> None:
        """Nothing torn, foreign, repeated or out of order, and for whoever keeps up nothing missing."""
        read = 0
        while (command := first_command(guest.connection.framing, guest.got, read)) is not None:
            body, read = command
            if body.startswith(b"c"):
                assert body == b"c%d" % guest.came
                guest.came += 1
                continue
            message = MESSAGE.fullmatch(body)
            assert message is not None, body[:80]
            at, number = int(message[1]), int(message[2])
            assert message[4] == (None if guest.bare else b"%d" % guest.number), "somebody else's"
            _, end = guest.all_rooms[at]
            assert number >= guest.next[at], "repeated, or from before it joined"
            assert end < 0 or number < end, "from after it left"
            skipped = self.priorities[at][guest.next[at] : number]
            assert HIGH not in skipped
            assert guest.slow or not skipped, "missing at a reader that keeps up"
            self.left_out += len(skipped)
            guest.next[at] = number + 1
            self.received += 1
        del guest.got[:read]

    def check_ledgers(self) -> None:
        for at, room in enumerate(self.rooms):
            ledger = room.ledger()
            for priority in range(3):
                owed = ledger["owed"][priority]
                assert owed == sum(ledger[fate][priority] for fate in FATES)
            assert all(ledger[reason][0] == 0 for reason in oracle.REASONS)
            assert sum(ledger["admitted"]) == len(self.priorities[at])
            assert list(ledger["owed"]) == self.owed[at]

    async def run(self, steps: int) -> None:
        for step in range(steps):
            while len(self.guests) < READERS:
                await self.arrive()
            self.admit(8)
            if step % 5 == 0:
                self.put()
            if step % 6 == 0:
                self.go(self.dice.choices(["leave", "close", "abort", "reset"], [2, 1, 1, 1])[0])
            for guest in list(self.guests):
                if not guest.slow:
                    self.read(guest, 1 << 20)
                elif self.dice.random() < 0.1:
                    self.read(guest, self.dice.choice([100, 3_000, 30_000]))
            if step % 10 == 0:
                self.check_ledgers()
            await asyncio.sleep(0)
        await self.finish()

    async def finish(self) -> None:
        """Everybody reads until there is nothing more."""
        while any(
            guest.closing
            or guest.connection.wire.waiting_bytes
            or any(place.behind for _, place in guest.room_of.values())
            or guest.got_bytes < guest.connection.wire.taken_bytes
            for guest in self.guests
        ):
            for guest in list(self.guests):
                self.read(guest, 1 << 20)
            await asyncio.sleep(0)
        await self.house.settle()
        for guest in self.guests:
            assert not guest.got
            assert guest.got_bytes == guest.connection.wire.taken_bytes
            assert guest.came == guest.put
            for at in guest.room_of:
                skipped = self.priorities[at][guest.next[at] :]
                assert HIGH not in skipped
                assert guest.slow or not skipped
        self.check_ledgers()
        for room in self.rooms:
            ledger = room.ledger()
            assert ledger["torn"] == ledger["pending"] == (0, 0, 0)
        for guest in list(self.guests):
            guest.connection.close()
            self.forget(guest)
            await guest.connection.lost
        assert all(room.readers == 0 for room in self.rooms)
        self.check_ledgers()
        total = self.house.fanout.ledger()
        for key in ("owed", "written", "closed", *oracle.REASONS):
            assert total[key] == tuple(map(sum, zip(*(room.ledger()[key] for room in self.rooms), strict=True)))


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_nothing_is_torn_foreign_repeated_or_missing_when_everybody_comes_and_goes() -> None:
    async def main(house: House) -> None:
        party = Party(house, Random(SEED))
        await party.run(STEPS)
        assert party.reused > STEPS // 50
        assert party.received > STEPS * 20
        assert party.cut_off > STEPS // 50
        assert house.fanout.handed_over > STEPS // 50
        assert party.left_out > 0

    try:
        run(
            main,
            window_bytes=WINDOW,
            turn_microseconds=5,
            handovers=4,
            low_milliseconds=5,
            normal_milliseconds=20,
            high_bytes=1 << 22,
        )
    except BaseException as error:
        error.add_note(f"FASTIM_FANOUT_SEED={SEED} FASTIM_FANOUT_STEPS={STEPS}")
        raise
