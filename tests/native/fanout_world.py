"""Native wires and logs on sockets, transports and a loop that do what they are told, with the oracle beside them.

Whatever is done is done to both, and ``check`` compares everything that can be seen.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from traceback import format_exc

from fastim._fanout import TCP, WEBSOCKET, WEBSOCKET_BASE64, Fanout, Place, RoomLog, Wire
from tests.native import oracle_fanout as oracle
from tests.native.oracle_fanout import LogOracle, Mistake, PlaceOracle, Rules, WireOracle, check_ledger

FRAMINGS = {oracle.TCP: TCP, oracle.WEBSOCKET: WEBSOCKET, oracle.WEBSOCKET_BASE64: WEBSOCKET_BASE64}
PLENTY = 1 << 40
SHIPPED = re.compile(rb"m(\d+)\.(\d+)\.~*(#(\d+)\.\d+;)?", re.DOTALL)


def nobody(*_: object) -> None:
    """An owner, or a listener, that does nothing."""


class Loop:
    """Turns and timers, one after the other, on a clock that stands still in between."""

    def __init__(self) -> None:
        self.now = 1_000_000
        self.soon: deque[Callable[[], None]] = deque()
        self.later: list[tuple[float, int, Callable[[], None]]] = []
        self.timers = 0

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self.timers += 1
        self.later.append((self.now + seconds * 1_000, self.timers, callback))

    def clock(self) -> int:
        return self.now

    def pass_once(self) -> None:
        for _ in range(len(self.soon)):
            self.soon.popleft()()

    def settle(self, passes: int = 100_000) -> None:
        """Pass until nothing is to be called any more; timers are not waited for."""
        for _ in range(passes):
            if not self.soon:
                return
            self.pass_once()
        raise AssertionError("the turns never end")

    def advance(self, milliseconds: int) -> None:
        """Let time go by, from timer to timer."""
        end = self.now + milliseconds
        while due := sorted(timer for timer in self.later if timer[0] <= end):
            self.now = max(self.now, round(due[0][0]))
            self.later.remove(due[0])
            due[0][2]()
        self.now = end


@dataclass(eq=False)
class Line:
    """One connection: socket, transport, owner, and what the oracle knows of it.

    Attributes:
        room: Bytes that the socket would take now.
        between: It is full only between two commands.
        surprise: Room that there is once the transport tries, and was not when the wire did.
        error: What the socket says to whoever sends.
    """

    kernel: Kernel
    fd: int
    model: WireOracle
    room: int = PLENTY
    between: bool = False
    surprise: int = 0
    error: OSError | None = None
    error_said: bool = False
    waits: bytearray = field(default_factory=bytearray)
    paused: bool = False
    ended: bool = False
    failed_times: int = 0
    overrun_times: int = 0
    relieved_times: int = 0
    on_failed: Callable[[], object] = nobody
    on_overrun: Callable[[], object] = nobody
    on_relieved: Callable[[], object] = nobody
    wire: Wire = field(init=False)

    def take(self, data: bytes) -> int:
        """What a socket does with ``data``."""
        if self.error is not None:
            self.error_said = True
            raise self.error
        if self.room == 0:
            raise BlockingIOError
        taken = min(self.room, len(data))
        if self.between and taken < len(data):
            model = self.model
            start = model.read
            together = bytes(model.stream[start:]) + data
            sent, at = len(model.stream) - start, 0
            while (command := oracle.first_command(model.framing, together, at)) and command[1] - sent <= taken:
                at = command[1]
            taken = max(0, at - sent)
            self.room = taken
            if taken == 0:
                raise BlockingIOError
        self.room -= taken
        return taken

    # What the transport has for the wire.

    def write(self, data: bytes) -> None:
        with self.kernel.called():
            self.check_write(data)
            self.hand_over(data)

    def check_write(self, data: bytes) -> None:
        assert type(data) is bytes
        assert data, "nothing is handed over"
        assert not self.ended or self.model.tls, "what is written to the transport of a wire that has ended"
        if self.waits:
            oracle_commands = oracle.commands(self.model.framing, data)
            assert all(command.startswith(b"c") for command in oracle_commands), "rooms wait while the socket is full"

    def hand_over(self, data: bytes) -> None:
        """As uvloop does: try at once, keep the rest, and with a limit of 0 say so."""
        self.model.hand_over(data)
        self.room += self.surprise
        self.surprise = 0
        self.waits += data
        if len(self.waits) == len(data):
            self.try_again()
        if self.waits and not self.paused:
            self.paused = True
            self.wire.pause()

    def try_again(self) -> None:
        if self.error is not None:
            self.waits.clear()
            return
        taken = min(self.room, len(self.waits))
        self.room -= taken
        del self.waits[:taken]
        if not self.waits and not self.ended:
            self.model.drained()

    def get_write_buffer_size(self) -> int:
        return len(self.waits)

    def drain(self, more: int) -> None:
        """The peer has read: so many bytes more."""
        self.room += more
        self.try_again()
        if self.paused and not self.waits:
            self.paused = False
            if self.error is None and not self.ended:
                self.wire.resume()

    # What the owner does.

    def relieved(self) -> None:
        with self.kernel.called():
            assert self.wire.watched
            assert self.wire.waiting_bytes == len(self.waits), "commands wait"
            self.relieved_times += 1
            self.on_relieved()

    def failed(self) -> None:
        with self.kernel.called():
            assert self.error is not None
            self.failed_times += 1
            assert self.failed_times == 1
            self.on_failed()

    def overrun(self) -> None:
        with self.kernel.called():
            assert not self.ended
            self.overrun_times += 1
            self.on_overrun()


def settled(ledger: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """A ledger that does not tell what is torn from what is written: a room may be gone before that is known."""
    rows = {key: list(counts) for key, counts in ledger.items()}
    rows["written"] = [a + b for a, b in zip(rows["written"], rows.pop("torn"), strict=True)]
    return rows


class Kernel:
    """Descriptors, the lowest free one first, as the kernel gives them."""

    def __init__(self) -> None:
        self.lines: dict[int, Line] = {}
        self.sends = 0
        self.sends_now = 0
        self.most_bytes = 0
        self.sending = False
        self.broken: list[str] = []

    def lowest_free(self) -> int:
        return next(fd for fd in range(3, PLENTY) if fd not in self.lines)

    def send(self, fd: int, data: bytes) -> int:
        self.sends += 1
        self.sends_now += 1
        line = self.lines.get(fd)
        if line is None or line.waits or not data or line.error_said:
            what = "nobody's" if line is None else f"with {len(line.waits)} waiting and {line.error}"
            self.broken.append(f"sent {len(data)} bytes on descriptor {fd}, {what}")
            raise BrokenPipeError
        self.most_bytes = max(self.most_bytes, len(data))
        self.sending = True
        try:
            taken = line.take(data)
        finally:
            self.sending = False
        line.model.send(data[:taken])
        return taken

    @contextmanager
    def called(self) -> Iterator[None]:
        """In a call from the fan-out, which has to keep to itself whatever goes wrong there."""
        if self.sending:
            self.broken.append("called back while sending")
        try:
            yield
        except Exception:
            self.broken.append(format_exc())


@dataclass(eq=False)
class Room:
    native: RoomLog
    model: LogOracle


@dataclass(eq=False)
class Seat:
    native: Place
    model: PlaceOracle
    line: Line
    tag: int
    listens: bool = True
    held: bool = False
    told_at: int = 0


class World:
    """A fan-out and its oracle.

    Args:
        turn_sends: Sends of one turn at most, so that passes are cut; 0: any number.
    """

    def __init__(self, rules: Rules | None = None, *, turn_sends: int = 0, **more: int) -> None:
        self.rules = rules or Rules()
        self.turn_sends = turn_sends
        self.loop = Loop()
        self.kernel = Kernel()
        numbers = {name: getattr(self.rules, name) for name in self.rules.__dataclass_fields__}
        self.fanout = Fanout(
            self.loop.call_soon,
            self.loop.call_later,
            **{"turn_microseconds": 10_000_000, **numbers, **more},
            turn_sends=turn_sends,
            send=self.kernel.send,
            clock=self.loop.clock,
        )
        self.lines: list[Line] = []
        self.rooms: list[Room] = []
        self.seats: dict[int, Seat] = {}
        self.all_seats: list[Seat] = []
        self.gone: dict[str, list[int]] = {}
        self.bare: dict[tuple[int, int], Seat] = {}  # who has no suffix, by wire and log
        self.tags = 0
        self.commands = 0
        self.timestamp = 5_000
        self.rooms_made = 0

    # --- Doing --------------------------------------------------------------------------------------------------------

    def connect(
        self, framing: int = oracle.TCP, *, tls: bool = False, room: int = PLENTY, between: bool = False
    ) -> Line:
        fd = -1 if tls else self.kernel.lowest_free()
        line = Line(self.kernel, fd, WireOracle(framing, tls), room=room, between=between)
        line.wire = Wire(self.fanout, line, line, fd, FRAMINGS[framing])
        line.on_failed = lambda: self.end(line)
        line.on_overrun = lambda: self.overrun(line)
        if not tls:
            self.kernel.lines[fd] = line
        self.lines.append(line)
        return line

    def make_room(self, timestamp: int = -1) -> Room:
        self.rooms_made += 1
        timestamp = self.timestamp if timestamp < 0 else timestamp
        room = Room(RoomLog(self.fanout, timestamp), LogOracle(self.rooms_made, self.rules, timestamp))
        self.rooms.append(room)
        return room

    def forget_room(self, room: Room) -> None:
        """Nobody is in it; its ledger stays in the sum."""
        assert room.native.readers == 0
        for key, counts in room.native.ledger().items():
            self.gone[key] = [a + b for a, b in zip(self.gone.get(key, [0, 0, 0]), counts, strict=True)]
        self.rooms.remove(room)
        for seat in self.all_seats:
            if seat.model.log is room.model:
                del seat.native
        self.all_seats = [seat for seat in self.all_seats if seat.model.log is not room.model]
        del room.native

    def join(self, line: Line, room: Room, *, bare: bool = False, since: int = -1, listen: bool = True) -> Seat:
        self.tags += 1
        tag = self.tags
        suffix = None if bare else b"#%d.0;" % tag
        before = room.native.ledger()
        reached = since >= 0 and room.native.reaches(since)
        place = room.native.join(
            line.wire, suffix, since=since, told=(lambda shed: self._told(tag, shed)) if listen else None
        )
        back: list[int] = []
        if since >= 0:
            back = room.model.high_since(since)
            owed = room.native.ledger()["rejoined"][0] - before["rejoined"][0]
            assert owed == len(back) if reached else owed <= len(back)
            back = back[len(back) - owed :]
        seat = Seat(place, PlaceOracle(room.model, line.model.framing, suffix, back), line, tag, listen)
        line.model.places.append(seat.model)
        self.seats[tag] = seat
        self.all_seats.append(seat)
        if bare:
            assert (id(line), room.model.number) not in self.bare, "two that cannot be told apart"
            self.bare[id(line), room.model.number] = seat
        return seat

    def _told(self, tag: int, shed: tuple[int, int, int]) -> None:
        with self.kernel.called():
            self._check_told(self.seats[tag], shed)

    def _check_told(self, seat: Seat, shed: tuple[int, int, int]) -> None:
        assert type(shed) is tuple
        assert sum(shed) > 0, "told of nothing"
        if seat.native.present and seat.native.behind > 0 and seat.told_at:
            assert self.loop.now - seat.told_at >= 1_000, "told twice in a second while it lags"
        seat.told_at = self.loop.now
        seat.model.told = [a + b for a, b in zip(seat.model.told, shed, strict=True)]

    def admit(
        self,
        room: Room,
        priority: int = oracle.NORMAL,
        *,
        filler: int = 40,
        sender: int = 1,
        without: Sequence[Seat] = (),
        step: int = 1,
        timeless: bool = False,
    ) -> int:
        """A message of ``filler`` bytes and some more; ``timeless``: nobody comes back for it."""
        self.timestamp += step
        timestamp = -1 if timeless else self.timestamp
        number = room.model.head
        body = b"m%d.%d." % (room.model.number, number) + b"~" * filler
        room.native.admit(body, priority, sender, timestamp, [seat.native for seat in without])
        spared = {seat.model for seat in without if seat.model.present}
        room.model.admit(body, priority, sender, timestamp, self.loop.now, spared)
        return number

    def put(self, line: Line, filler: int = 10, *, framed: bool = False, suffix: bytes | None = None) -> None:
        self.commands += 1
        body = b"c%d." % self.commands + b"~" * filler
        if framed:
            line.wire.put_frame(oracle.frame(line.model.framing, body + (suffix or b"")))
        else:
            line.wire.put(body, suffix)
        if not line.ended:
            line.model.queue(body + (suffix or b""))

    def leave(self, seat: Seat) -> None:
        self.look(seat.line)
        settled = seat.model.log.head - seat.native.behind if seat.native.present else 0
        seat.native.leave()
        if seat.model.present and not seat.line.model.unfinished:
            self._look_at_missed(seat)
        seat.model.leave(torn_is_closed=False, settled=settled)

    def name(self, seat: Seat, version: int) -> None:
        self.look(seat.line)
        suffix = b"#%d.%d;" % (seat.tag, version)
        seat.native.name(suffix)
        if seat.model.present:
            seat.model.name(suffix, seat.line.model.unfinished)

    def hold(self, seat: Seat) -> None:
        seat.native.hold()
        seat.held = True

    def release(self, seat: Seat) -> None:
        seat.native.release()
        seat.held = False

    def end(self, line: Line, *, goodbye: bool = True) -> bytes:
        """End the wire and free its descriptor at once; with ``goodbye`` the peer gets what was queued."""
        if line.ended:
            return line.wire.end()
        self.look(line)
        seats = [seat for seat in self.all_seats if seat.line is line and seat.model.present]
        settled = [seat.model.log.head - seat.native.behind for seat in seats]
        rest = line.wire.end()
        line.ended = True
        for seat, end in zip(seats, settled, strict=True):
            assert not seat.native.present
            if not line.model.unfinished:
                self._look_at_missed(seat)
            seat.model.leave(torn_is_closed=not line.model.tls, settled=end)
        if not line.model.tls:
            del self.kernel.lines[line.fd]
        self.lines.remove(line)
        if line.error is None:
            line.model.hand_over(rest)
            line.model.look(self.loop.now, lambda body: self._find(line, body))
            assert not line.model.unfinished, "what was sent and what is left make no whole commands"
            assert line.model.came == len(line.model.put), "commands are missing"
            if goodbye:
                line.waits += rest
                line.drain(PLENTY)
        return rest

    def overrun(self, line: Line) -> None:
        """The owner was told: there has to be a place for which that is true, and it will come back."""
        self.look(line)
        seats = [seat.model for seat in self.all_seats if seat.line is line and seat.model.present]
        if not any(map(self._is_overrun, seats)):
            raise Mistake(f"nothing was lost: {[(seat.next, seat.missed_high(), seat.log.rules) for seat in seats]}")
        self.end(line)

    def _is_overrun(self, model: PlaceOracle) -> bool:
        rules, log = self.rules, model.log
        first = next(iter(model.missed_high()), log.head)
        missed = [number for number in log.high if number >= first]
        lags = [until - since for until, since in zip(log.until[-1], log.until[model.next], strict=True)]
        gone = log.head - model.next >= rules.window_messages or max(lags) > rules.window_bytes
        too_many = len(missed) > rules.high_messages or log.high_bytes(missed) > rules.high_bytes
        return (gone or model.coming_back) and too_many

    def turn(self) -> None:
        self.kernel.sends_now = 0
        self.fanout.turn()

    def pass_once(self) -> None:
        self.kernel.sends_now = 0
        self.loop.pass_once()

    def check_turn(self) -> None:
        if self.turn_sends:
            assert self.kernel.sends_now <= self.turn_sends, "the turn went on"

    # --- Checking -----------------------------------------------------------------------------------------------------

    def _find(self, line: Line, body: bytes) -> tuple[PlaceOracle, int, bytes | None] | None:
        if body.startswith(b"c"):
            return None
        shipped = SHIPPED.fullmatch(body)
        if shipped is None:
            raise Mistake(f"{body[:60]!r} was never sent")
        log, number, suffix, tag = shipped.groups()
        if tag is not None:
            seat = self.seats[int(tag)]
        else:
            seat = self.bare[id(line), int(log)]
        if seat.line is not line or seat.model.log.number != int(log):
            raise Mistake(f"{body[:60]!r} is for somebody else")
        if seat.model.log.messages[int(number)].body + (suffix or b"") != body:
            raise Mistake(f"{body[:60]!r} is not what was admitted")
        return seat.model, int(number), suffix

    def look(self, line: Line) -> None:
        """Read what the peer got, and hold what can be seen of the wire and its places against it."""
        model = line.model
        model.look(self.loop.now, lambda body: self._find(line, body))
        if line.ended:
            return
        wire, waits = line.wire, len(line.waits)
        if not model.unfinished and line.error is None:
            assert wire.waiting_bytes == waits + model.put_bytes - model.came_bytes
            assert wire.blocked == (waits > 0)
        for seat in self.all_seats:
            if seat.line is line and seat.model.present:
                self._look_at_place(seat)
        model.unsettled = model.unfinished

    def _look_at_place(self, seat: Seat) -> None:
        place, model = seat.native, seat.model
        assert place.present
        behind = place.behind
        assert behind >= 0
        assert model.coming_back or behind <= model.log.head - model.next
        model.most_behind_bytes = max(model.most_behind_bytes, model.lag_bytes())
        settled = model.log.head - behind
        if seat.line.model.unfinished:
            return
        model.coming_back = model.coming_back and behind > 0
        if not model.coming_back:
            model.settle(settled, self.loop.now)
        self._look_at_missed(seat)

    def _look_at_missed(self, seat: Seat) -> None:
        model, messages = seat.model, seat.model.log.messages
        missed_since = seat.native.missed_since
        torn = [] if seat.line.model.tls else model.torn_high()
        first = next((number for number in torn + model.missed_high() if messages[number].timestamp >= 0), None)
        assert missed_since <= (model.log.high_timestamp + 1 if first is None else messages[first].timestamp)
        sent = (messages[number] for number in reversed(model.received) if number not in torn)
        last = next((message for message in sent if message.priority == oracle.HIGH and message.timestamp >= 0), None)
        if last is not None and not seat.line.model.tls:
            assert missed_since > last.timestamp

    def check(self) -> None:
        """After every step."""
        assert not self.kernel.broken, "\n".join(self.kernel.broken)
        for line in list(self.lines):
            self.look(line)
        total = {key: list(counts) for key, counts in self.gone.items()}
        for room in self.rooms:
            model = room.model
            ledger = room.native.ledger()
            seats = [seat for seat in self.all_seats if seat.model.log is model]
            sure = not any(
                seat.model.present and (seat.model.coming_back or seat.line.model.unfinished) for seat in seats
            )
            loose = [0, 0, 0]
            for seat in seats:
                if seat.line.model.tls:
                    loose = [a + b for a, b in zip(loose, seat.model.by_priority(seat.model.torn), strict=True)]
            check_ledger(model, ledger, sure, loose)
            assert room.native.readers == sum(seat.model.present for seat in seats)
            assert room.native.high_timestamp == model.high_timestamp
            for since in {model.timestamp, model.timestamp + 1, model.high_timestamp, model.high_timestamp + 1}:
                if model.surely_reaches(since):
                    assert room.native.reaches(since)
            assert not room.native.reaches(model.timestamp)
            for key, counts in ledger.items():
                total[key] = [a + b for a, b in zip(total.get(key, [0, 0, 0]), counts, strict=True)]
        assert self.fanout.sends == self.kernel.sends
        if total:
            assert settled(self.fanout.ledger()) == settled(total)
        for seat in self.all_seats:
            if seat.model.present and not seat.model.coming_back and not seat.line.model.unfinished:
                assert all(told <= out for told, out in zip(seat.model.told, seat.model.shed, strict=True))
            assert seat.native.present == seat.model.present

    def check_rest(self) -> None:
        """When nothing is left to call: whoever can be sent something has been sent everything."""
        assert not self.loop.soon
        self.check()
        assert self.fanout.idle
        for line in self.lines:
            if line.waits or line.error is not None:
                continue
            assert not line.model.unfinished, "half a command, and nobody to send the rest"
            assert line.model.came == len(line.model.put), "commands were forgotten"
            assert line.wire.waiting_bytes == 0
            assert line.wire.taken_bytes >= line.model.came_bytes
            for seat in self.all_seats:
                if seat.line is line and seat.native.present and not seat.held:
                    assert seat.native.behind == 0, "a reader was forgotten"
                    assert not seat.model.missed_high()

    def finish(self) -> None:
        """Let everybody catch up, and look whether nothing was lost that should not be."""
        for seat in list(self.all_seats):
            if seat.held:
                self.release(seat)
        for _ in range(10_000):
            self.loop.settle()
            self.check()
            waiting = [line for line in self.lines if line.waits or line.room < PLENTY]
            if not waiting:
                break
            for line in waiting:
                if line.error is None:
                    line.between = False
                    line.drain(PLENTY)
                else:
                    self.end(line)
        self.loop.advance(2_000)
        self.loop.settle()
        self.check_rest()
        for seat in self.all_seats:
            if not seat.native.present or seat.line.error is not None:
                continue
            model = seat.model
            assert sorted(model.received + model.left_out) == model.owed_before + model.owed_between(
                model.joined_at, model.log.head
            )
            if seat.listens:
                assert model.told == model.shed
