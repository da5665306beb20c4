from __future__ import annotations

import errno
import gc
import os
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fastim._fanout import TCP, WEBSOCKET, WEBSOCKET_BASE64, Fanout, Place, RoomLog, Wire
from tests.native import oracle_fanout as oracle
from tests.native.fanout_world import FRAMINGS, PLENTY, Line, Room, Seat, World
from tests.native.oracle_fanout import HIGH, LOW, NORMAL, Rules, commands, frame

SEED = os.environ.get("FASTIM_FANOUT_SEED") or "1"
STEPS = int(os.environ.get("FASTIM_FANOUT_STEPS") or 0)

every_framing = pytest.mark.parametrize("framing", FRAMINGS, ids=["tcp", "websocket", "base64"])
bare_or_named = pytest.mark.parametrize("bare", [True, False], ids=["shared frames", "own suffix"])
SMALL = Rules(window_bytes=16_384, window_messages=512, high_bytes=4_096, high_messages=64)


def got(line: Line) -> list[bytes]:
    """All that the peer has."""
    stream = line.model.stream
    return commands(line.model.framing, stream[: len(stream) - len(line.waits)])


def numbers(seat: Seat) -> list[int]:
    return seat.model.received


def is_blocked(line: Line) -> bool:
    return line.wire.blocked


def is_idle(world: World) -> bool:
    return world.fanout.idle


def settle(world: World) -> None:
    world.loop.settle()
    world.check_rest()


# --- Wires ------------------------------------------------------------------------------------------------------------


@every_framing
@pytest.mark.parametrize("size", [0, 1, 92, 93, 94, 95, 96, 125, 126, 127, 49_148, 49_152, 65_535, 65_536, 70_001])
def test_a_command_is_framed_as_the_door_has_it(framing: int, size: int) -> None:
    world = World()
    line = world.connect(framing)
    body = bytes(at % 251 for at in range(size))
    line.wire.put(body)
    line.wire.put(body[: size // 2], body[size // 2 :])
    line.wire.put_frame(frame(framing, body))
    line.wire.flush()
    assert bytes(line.model.stream) == frame(framing, body) * 3
    assert commands(framing, line.model.stream) == [body] * 3


def test_what_is_put_in_one_turn_goes_out_with_one_call() -> None:
    world = World()
    line = world.connect()
    for at in range(50):
        world.put(line, at, framed=at % 3 == 0, suffix=b"s" if at % 2 else None)
    assert world.kernel.sends == 0
    settle(world)
    assert world.kernel.sends == 1
    assert line.wire.taken_bytes == line.model.put_bytes


def test_a_flush_does_not_wait_for_the_turn() -> None:
    world = World()
    line = world.connect()
    world.put(line)
    line.wire.flush()
    assert got(line) == line.model.put
    line.wire.flush()
    settle(world)
    assert world.kernel.sends == 1


@every_framing
@pytest.mark.parametrize("room", [0, 1, 5, 14, 30, 200])
@pytest.mark.parametrize("between", [False, True])
def test_what_the_socket_would_not_take_follows_in_order(framing: int, room: int, between: bool) -> None:
    world = World()
    line = world.connect(framing, room=room, between=between)
    for at in range(20):
        world.put(line, at)
    settle(world)
    assert is_blocked(line)
    for at in range(20):
        world.put(line, at)
        settle(world)
    sends = world.kernel.sends
    while line.waits:
        line.drain(7)
        line.between = False
        settle(world)
    assert sends <= 2
    line.room = PLENTY
    world.finish()
    assert got(line) == line.model.put
    assert not is_blocked(line)
    assert line.wire.taken_bytes == line.model.put_bytes


def test_a_socket_that_has_room_again_when_the_transport_tries_stays_open() -> None:
    world = World()
    line = world.connect(room=10)
    line.surprise = 1_000
    world.put(line, 50)
    settle(world)
    assert not is_blocked(line)
    assert line.wire.waiting_bytes == 0
    world.put(line, 3)
    settle(world)
    assert got(line) == line.model.put


def test_waiting_bytes_are_those_of_the_wire_and_of_the_transport() -> None:
    world = World()
    line = world.connect(room=100)
    world.put(line, 500)
    size = line.model.put_bytes
    assert (line.wire.waiting_bytes, line.wire.taken_bytes) == (size, 0)
    settle(world)
    assert (line.wire.waiting_bytes, line.wire.taken_bytes) == (size - 100, 100)
    line.drain(50)
    assert line.wire.waiting_bytes == size - 150
    line.drain(PLENTY)
    assert (line.wire.waiting_bytes, line.wire.taken_bytes) == (0, size)


def test_an_ended_wire_gives_back_what_it_has_not_sent_and_takes_nothing_more() -> None:
    world = World()
    line = world.connect()
    world.put(line, 3)
    world.put(line, 4, framed=True)
    assert commands(oracle.TCP, line.wire.end()) == line.model.put
    assert line.wire.end() == b""
    line.wire.put(b"late")
    line.wire.put_frame(frame(oracle.TCP, b"late"))
    line.wire.flush()
    world.loop.settle()
    assert line.wire.waiting_bytes == 0
    assert line.wire.end() == b""
    assert world.kernel.sends == 0
    line.wire.pause()
    line.wire.resume()
    line.wire.resume()
    world.loop.settle()
    assert world.kernel.sends == 0


@pytest.mark.parametrize("room", [0, 9, 35])
def test_an_ended_wire_leaves_the_transport_what_it_has(room: int) -> None:
    world = World()
    line = world.connect(room=room)
    world.put(line, 20)
    settle(world)
    world.put(line, 30)
    world.put(line, 40)
    world.end(line)
    assert got(line) == line.model.put


@pytest.mark.parametrize("number", [errno.ECONNRESET, errno.EPIPE, errno.EBADF, errno.ENOBUFS])
def test_a_dead_socket_is_told_once_and_left_alone(number: int) -> None:
    world = World()
    room = world.make_room()
    line, other = world.connect(), world.connect()
    for who in (line, other):
        world.join(who, room)
    line.error = OSError(number, os.strerror(number))
    line.on_failed = lambda: None
    world.admit(room)
    world.put(line)
    settle(world)
    world.admit(room)
    world.put(line)
    settle(world)
    assert line.failed_times == 1
    world.end(line)
    world.check()
    assert room.native.readers == 1
    assert len(got(other)) == 2


def test_the_owner_may_end_a_wire_that_failed_at_once_and_its_descriptor_is_anothers() -> None:
    world = World()
    room = world.make_room()
    for _ in range(4):
        world.join(world.connect(), room)
    dying = world.lines[1]
    next_one: list[Line] = []

    def replace() -> None:
        world.end(dying)
        next_one.append(world.connect())
        world.join(next_one[0], room)

    dying.error = ConnectionResetError()
    dying.on_failed = replace
    first = world.admit(room)
    settle(world)
    second = world.admit(room)
    settle(world)
    assert next_one[0].fd == dying.fd
    assert [numbers(seat) for seat in world.all_seats] == [
        [first, second],
        [],
        [first, second],
        [first, second],
        [second],
    ]


def test_only_a_watched_wire_tells_when_all_has_been_taken() -> None:
    world = World()
    watched, other = world.connect(room=5), world.connect(room=5)
    assert watched.wire.watched is False
    watched.wire.watched = True
    for line in (watched, other):
        world.put(line, 100)
    settle(world)
    for line in (watched, other):
        line.drain(50)
        world.put(line, 10)
    settle(world)
    assert (watched.relieved_times, other.relieved_times) == (0, 0)
    for line in (watched, other):
        line.drain(PLENTY)
    settle(world)
    assert (watched.relieved_times, other.relieved_times) == (1, 0)


@every_framing
@pytest.mark.parametrize("tls", [False, True])
def test_an_owner_is_relieved_although_its_room_fills_the_socket_again_each_time(framing: int, tls: bool) -> None:
    world = World(SMALL)
    room = world.make_room()
    line = world.connect(framing, tls=tls, room=10)
    world.join(line, room)
    world.put(line, 500)
    line.wire.watched = True
    settle(world)
    assert line.relieved_times == 0
    world.admit(room)
    world.admit(room)
    line.drain(len(line.waits) + 1)
    settle(world)
    assert is_blocked(line)
    assert line.relieved_times == 1


def test_the_owner_may_put_more_when_it_is_relieved() -> None:
    world = World()
    line = world.connect(room=0)
    line.wire.watched = True
    line.on_relieved = lambda: world.put(line, 5) if line.relieved_times < 4 else None
    world.put(line, 100)
    settle(world)
    line.drain(PLENTY)
    world.finish()
    assert line.model.put == got(line)
    assert line.relieved_times >= 1


@every_framing
def test_without_a_descriptor_the_transport_takes_everything(framing: int) -> None:
    world = World()
    room = world.make_room()
    line = world.connect(framing, tls=True, room=150)
    seat = world.join(line, room)
    for at in range(6):
        world.put(line, 10)
        world.admit(room, at % 3 + 1)
        settle(world)
    assert is_blocked(line)
    assert len(numbers(seat)) < 6
    line.drain(PLENTY)
    world.finish()
    assert numbers(seat) == list(range(6))
    assert world.fanout.sends == world.kernel.sends == 0


def test_one_turn_hands_over_so_many_and_no_more() -> None:
    world = World(handovers=2)
    room = world.make_room()
    for _ in range(9):
        world.join(world.connect(room=17), room)
    world.admit(room)
    while world.loop.soon:
        blocked = sum(line.wire.blocked for line in world.lines)
        world.pass_once()
        assert sum(line.wire.blocked for line in world.lines) - blocked <= 2
    settle(world)
    assert all(line.wire.blocked for line in world.lines)
    assert world.fanout.handed_over == 9
    world.finish()
    assert all(numbers(seat) == [0] for seat in world.all_seats)


@pytest.mark.parametrize("handovers", [2, 3, 64])
def test_those_who_block_again_and_again_leave_a_room_its_share(handovers: int) -> None:
    world = World(handovers=handovers)
    room, other = world.make_room(), world.make_room()
    slow = [world.connect(room=0) for _ in range(200)]
    for line in slow:
        world.join(line, room)
    for _ in range(100):
        world.admit(room)
    world.loop.settle()
    seat = world.join(world.connect(), other)
    world.admit(other)
    for _ in range(3):
        for line in slow:
            line.drain(len(line.waits) + 1)
        world.pass_once()
    assert seat.native.behind == 0


# --- Rooms ------------------------------------------------------------------------------------------------------------


def test_a_reader_gets_all_that_has_gathered_with_one_call() -> None:
    world = World()
    room = world.make_room()
    seats = [world.join(world.connect(framing), room, bare=bare) for framing in FRAMINGS for bare in (True, False)]
    for at in range(64):
        world.admit(room, at % 3 + 1, filler=at)
    settle(world)
    assert world.kernel.sends == len(seats)
    assert all(numbers(seat) == list(range(64)) for seat in seats)
    assert room.native.ledger()["written"] == (22 * 6, 21 * 6, 21 * 6)


@every_framing
@bare_or_named
@pytest.mark.parametrize("size", [0, 89, 90, 91, 92, 93, 94, 95, 123, 124, 125, 126, 130, 49_140, 65_530, 65_536])
def test_a_message_is_framed_as_the_door_has_it(framing: int, bare: bool, size: int) -> None:
    world = World()
    room = RoomLog(world.fanout, 0)
    line = world.connect(framing)
    suffix = None if bare else b"\0su"
    room.join(line.wire, suffix)
    body = bytes(at % 251 for at in range(size))
    for _ in range(3):
        room.admit(body, HIGH, 1, 1)
    world.loop.settle()
    assert bytes(line.model.stream) == frame(framing, body + (suffix or b"")) * 3


def test_commands_go_before_messages_of_the_same_turn() -> None:
    world = World()
    room = world.make_room()
    line = world.connect()
    world.join(line, room)
    world.admit(room)
    world.put(line)
    settle(world)
    assert [body[:1] for body in got(line)] == [b"c", b"m"]


def test_places_of_one_wire_each_get_their_own() -> None:
    world = World()
    first, second = world.make_room(), world.make_room()
    line, other = world.connect(), world.connect(oracle.WEBSOCKET)
    seats = [world.join(line, room, bare=bare) for room in (first, second) for bare in (True, False, False)[:2]]
    seats += [world.join(line, first), world.join(other, second, bare=True)]
    for _ in range(5):
        world.admit(first)
        world.admit(second, LOW)
        settle(world)
    assert all(numbers(seat) == list(range(5)) for seat in seats)
    world.leave(seats[1])
    world.leave(seats[1])
    world.admit(first)
    world.admit(second)
    world.finish()
    assert [len(numbers(seat)) for seat in seats] == [6, 5, 6, 6, 6, 6]


def test_two_places_without_a_suffix_each_get_a_copy() -> None:
    world = World()
    room = RoomLog(world.fanout, 0)
    line = world.connect()
    places = [room.join(line.wire, None), room.join(line.wire, None)]
    for body in (b"one", b"two"):
        room.admit(body, NORMAL, 1, 1)
    world.loop.settle()
    assert sorted(got(line)) == [b"one", b"one", b"two", b"two"]
    places[0].leave()
    room.admit(b"three", NORMAL, 1, 1)
    world.loop.settle()
    assert got(line)[4:] == [b"three"]


def test_who_joins_hears_what_is_admitted_from_then_on() -> None:
    world = World(turn_sends=1)
    room = world.make_room()
    for at in range(8):
        world.join(world.connect(), room)
        assert world.admit(room) == at
        world.pass_once()
    world.finish()
    assert [numbers(seat) for seat in world.all_seats] == [list(range(at, 8)) for at in range(8)]


@pytest.mark.parametrize("served", range(7))
@pytest.mark.parametrize("leaving", range(6))
@pytest.mark.parametrize("how", ["leave", "end"])
def test_leaving_in_the_middle_of_a_pass_skips_nobody_and_serves_nobody_twice(
    served: int, leaving: int, how: str
) -> None:
    world = World(turn_sends=1)
    room = world.make_room()
    seats = [world.join(world.connect(), room) for _ in range(6)]
    world.admit(room)
    for _ in range(served):
        world.pass_once()
    world.admit(room)
    world.leave(seats[leaving]) if how == "leave" else world.end(seats[leaving].line)
    late = world.join(world.connect(), room)
    world.admit(room)
    world.finish()
    assert numbers(late) == [2]
    assert numbers(seats[leaving]) == [0, 1][: len(numbers(seats[leaving]))]
    assert all(numbers(seat) == [0, 1, 2] for at, seat in enumerate(seats) if at != leaving)


def test_everybody_may_leave_in_the_middle_of_a_pass() -> None:
    world = World(turn_sends=2)
    room = world.make_room()
    seats = [world.join(world.connect(), room) for _ in range(7)]
    world.admit(room)
    world.pass_once()
    for seat in seats:
        world.leave(seat)
        world.check()
    world.finish()
    ledger = room.native.ledger()
    assert room.native.readers == 0
    assert ledger["written"][1] + ledger["closed"][1] == ledger["owed"][1] == 7
    assert ledger["written"][1] == 2


def test_some_may_be_left_out_of_a_message() -> None:
    world = World()
    room = world.make_room()
    seats = [world.join(world.connect(framing), room, bare=framing == 1) for framing in (0, 1, 0, 2)]
    world.admit(room)
    world.admit(room, HIGH, without=[seats[1]])
    world.admit(room, without=seats)
    settle(world)
    world.hold(seats[2])
    world.admit(room, LOW, without=[seats[2], seats[0]])
    world.admit(room)
    world.admit(room, HIGH, without=[seats[2]])
    settle(world)
    world.finish()
    assert [numbers(seat) for seat in seats] == [[0, 1, 4, 5], [0, 3, 4, 5], [0, 1, 4], [0, 1, 3, 4, 5]]
    assert room.native.ledger()["owed"] == (3 + 3, 4 + 4, 2)


def test_a_place_named_twice_is_left_out_once_and_one_that_left_is_no_matter() -> None:
    world = World()
    room = world.make_room()
    seats = [world.join(world.connect(), room) for _ in range(3)]
    world.leave(seats[2])
    world.admit(room, without=[seats[0], seats[2], seats[0]])
    settle(world)
    assert [numbers(seat) for seat in seats] == [[], [0], []]
    assert room.native.ledger()["owed"] == (0, 1, 0)


def test_a_blocked_reader_is_not_sent_what_it_was_left_out_of() -> None:
    world = World()
    room = world.make_room()
    seat = world.join(world.connect(room=20), room)
    for at in range(10):
        world.admit(room, at % 3 + 1, without=[seat] if at % 2 else [])
        settle(world)
    world.finish()
    assert numbers(seat) == [0, 2, 4, 6, 8]


def test_a_held_place_gets_nothing_until_it_is_released() -> None:
    world = World()
    room, other = world.make_room(), world.make_room()
    line = world.connect()
    seat, beside, elsewhere = world.join(line, room), world.join(line, room), world.join(line, other)
    world.hold(seat)
    world.hold(seat)
    for _ in range(3):
        world.admit(room)
        world.admit(other)
        settle(world)
    assert (numbers(seat), len(numbers(beside)), len(numbers(elsewhere))) == ([], 3, 3)
    assert (seat.native.behind, beside.native.behind) == (3, 0)
    assert is_idle(world)
    world.release(seat)
    world.release(seat)
    settle(world)
    assert numbers(seat) == [0, 1, 2]


@every_framing
@bare_or_named
def test_a_new_name_is_in_all_that_is_sent_from_then_on(framing: int, bare: bool) -> None:
    world = World()
    room = world.make_room()
    line = world.connect(framing, room=70)
    seat = world.join(line, room, bare=bare)
    world.admit(room)
    world.admit(room)
    settle(world)
    world.admit(room)
    world.name(seat, 1)
    world.check()
    world.finish()
    assert numbers(seat) == [0, 1, 2]
    assert got(line)[-1].endswith(b"#1.1;")
    world.admit(room)
    world.name(seat, 2)
    world.admit(room)
    world.finish()
    assert [body.endswith(b"#1.2;") for body in got(line)[-3:]] == [False, True, True]


def test_a_suffix_may_be_empty_and_may_be_long() -> None:
    world = World()
    room = RoomLog(world.fanout, 0)
    line = world.connect(oracle.WEBSOCKET)
    place = room.join(line.wire, b"")
    room.admit(b"body", NORMAL, 1, 1)
    world.loop.settle()
    place.name(b"x" * 70_000)
    room.admit(b"body", NORMAL, 1, 1)
    world.loop.settle()
    assert got(line) == [b"body", b"body" + b"x" * 70_000]


@bare_or_named
@every_framing
@pytest.mark.parametrize("priority", [HIGH, NORMAL, LOW])
@pytest.mark.parametrize("filler", [5_000, 16_384, 16_385, 40_000, 200_000])
def test_a_message_larger_than_the_window_is_sent_whole(framing: int, bare: bool, priority: int, filler: int) -> None:
    world = World(SMALL)
    room = world.make_room()
    line = world.connect(framing)
    seat = world.join(line, room, bare=bare)
    world.admit(room)
    settle(world)
    world.admit(room, priority, filler=filler)
    settle(world)
    world.admit(room)
    settle(world)
    assert numbers(seat) == [0, 1, 2] if priority == HIGH else {0, 2} <= set(numbers(seat))
    line.room = 100
    world.admit(room, HIGH, filler=filler)
    settle(world)
    world.admit(room, HIGH)
    settle(world)
    world.finish()
    if seat.native.present:
        assert numbers(seat)[-3:] == [2, 3, 4]


def test_turns_are_cut_where_they_are_told_to() -> None:
    world = World(turn_sends=3)
    room, other = world.make_room(), world.make_room()
    for _ in range(20):
        line = world.connect()
        world.join(line, room)
        world.join(line, other)
    for _ in range(4):
        world.admit(room)
        world.admit(other)
        world.pass_once()
        world.check_turn()
    while world.loop.soon:
        world.pass_once()
        world.check_turn()
        world.check()
    world.finish()
    assert all(numbers(seat) == [0, 1, 2, 3] for seat in world.all_seats)


def test_turning_by_hand_is_harmless() -> None:
    world = World()
    world.turn()
    room = world.make_room()
    world.join(world.connect(), room)
    assert is_idle(world)
    world.admit(room)
    assert not is_idle(world)
    world.turn()
    world.turn()
    settle(world)
    assert world.kernel.sends == 1


def test_passes_of_one_room_begin_so_far_apart() -> None:
    world = World(gather_milliseconds=5)
    room = world.make_room()
    seats = [world.join(world.connect(), room) for _ in range(3)]
    world.admit(room)
    world.loop.advance(5)
    world.loop.settle()
    sends = world.kernel.sends
    assert [numbers(seat) for seat in seats] == [[]] * 3 or sends == 3
    for _ in range(20):
        world.admit(room)
        world.loop.settle()
        world.loop.advance(1)
        world.loop.settle()
    world.loop.advance(10)
    settle(world)
    assert all(numbers(seat) == list(range(21)) for seat in seats)
    assert world.kernel.sends <= 3 * (20 // 5 + 2)


def test_a_quarter_of_the_window_is_not_left_waiting_for_more() -> None:
    world = World(Rules(window_bytes=16_384), gather_milliseconds=1_000)
    room = world.make_room()
    seat = world.join(world.connect(), room)
    world.admit(room)
    settle(world)
    for _ in range(30):
        world.admit(room, filler=100)
    world.loop.settle()
    assert world.kernel.sends == 1
    for _ in range(30):
        world.admit(room, filler=100)
    world.loop.settle()
    assert world.kernel.sends == 2
    world.loop.advance(1_000)
    settle(world)
    assert numbers(seat) == list(range(61))


@bare_or_named
def test_whose_socket_has_room_is_sent_all_of_a_burst(bare: bool) -> None:
    world = World(Rules(window_bytes=65_536, window_messages=1_024), gather_milliseconds=5)
    room = world.make_room()
    seat = world.join(world.connect(), room, bare=bare)
    for priority in [LOW, NORMAL] * 25:  # nearly all of the window, by one sender
        world.admit(room, priority, filler=1_200)
    world.loop.advance(10)
    settle(world)
    assert numbers(seat) == list(range(50))


# --- What a reader that lags gets -------------------------------------------------------------------------------------


WINDOW = 65_536
SIZE = 128  # of a frame, or of a body where a reader has its own suffix


def lagging(
    rules: Rules | None = None, *, framing: int = oracle.TCP, bare: bool = True
) -> tuple[World, Room, Seat, Callable[..., int]]:
    """A reader that is held, and how to admit a message that takes ``SIZE`` bytes of its ring."""
    world = World(rules or Rules(window_bytes=WINDOW))
    room = world.make_room()
    seat = world.join(world.connect(framing), room, bare=bare)
    world.hold(seat)

    def admit(priority: int, size: int = SIZE, sender: int = 1, timeless: bool = False) -> int:
        name = b"m%d.%d." % (room.model.number, room.model.head)
        filler = size - len(name)
        while oracle.frame_bytes(seat.model.kind, name + bytes(filler)) > size:
            filler -= 1
        return world.admit(room, priority, filler=filler, sender=sender, timeless=timeless)

    return world, room, seat, admit


@bare_or_named
@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("age", [1_999, 2_001])
def test_beyond_a_quarter_of_the_window_old_low_ones_go(bare: bool, over: bool, age: int) -> None:
    world, room, seat, admit = lagging(bare=bare)
    for at in range(WINDOW // 4 // SIZE):
        admit(at % 3 + 1)
    if over:
        admit(NORMAL, 30)
    world.loop.advance(age)
    young = [] if not over else [admit(LOW), admit(LOW)]
    world.release(seat)
    settle(world)
    world.finish()
    priorities = [message.priority for message in room.model.messages]
    if over and age > 2_000:
        assert numbers(seat) == [n for n, priority in enumerate(priorities) if priority != LOW or n in young]
        assert room.native.ledger()["shed_age"] == (0, 0, len(seat.model.left_out))
        assert seat.model.told == [0, 0, len(seat.model.left_out)]
    else:
        assert numbers(seat) == list(range(room.model.head))
        assert seat.model.told == [0, 0, 0]


@bare_or_named
@pytest.mark.parametrize("over", [False, True])
def test_beyond_half_of_the_window_all_low_ones_go(bare: bool, over: bool) -> None:
    world, room, seat, admit = lagging(bare=bare)
    for at in range(WINDOW // 2 // SIZE):
        admit(HIGH if at % 2 else LOW)
    if over:
        admit(HIGH, 30)
    world.release(seat)
    world.pass_once()
    world.check()
    first = numbers(seat)[:50]
    world.finish()
    if over:
        assert first == list(range(1, 101, 2))
        ledger = room.native.ledger()
        assert ledger["shed_distance"][2] > 0
        assert ledger["shed_age"] == ledger["shed_sample"] == ledger["shed_overrun"] == (0, 0, 0)
    else:
        assert numbers(seat) == list(range(room.model.head))


@bare_or_named
@pytest.mark.parametrize("age", [9_999, 10_001])
def test_far_behind_old_normal_ones_go_although_they_are_in_the_sample(bare: bool, age: int) -> None:
    world, room, seat, admit = lagging(bare=bare)
    sampled = [admit(NORMAL, sender=sender) for sender in range(20)]
    world.loop.advance(age)
    for _ in range(WINDOW * 5 // 8 // SIZE):
        admit(LOW)
    world.release(seat)
    world.finish()
    if age > 10_000:
        assert not set(sampled) & set(numbers(seat))
        assert room.native.ledger()["shed_age"][1] == 20
    else:
        assert set(sampled) <= set(numbers(seat))


@every_framing
@bare_or_named
def test_a_laggard_is_sent_so_much_at_a_time(framing: int, bare: bool) -> None:
    world, room, seat, admit = lagging(Rules(window_bytes=1 << 20), framing=framing, bare=bare)
    for _ in range((1 << 19) // SIZE + 1):
        admit(HIGH)
    world.release(seat)
    world.finish()
    assert numbers(seat) == list(range(room.model.head))
    assert world.kernel.most_bytes <= 32_768 + 2 * SIZE or seat.model.lag_bytes() <= (1 << 18)


def test_a_laggard_that_catches_up_gets_everything_again() -> None:
    world, _, seat, admit = lagging()
    for _ in range(WINDOW * 5 // 8 // SIZE):
        admit(LOW)
    world.release(seat)
    world.finish()
    assert len(seat.model.left_out) > 0
    after = [admit(LOW) for _ in range(100)]
    world.finish()
    assert numbers(seat)[-100:] == after


@every_framing
@bare_or_named
def test_beyond_the_window_only_high_ones_are_left_and_all_of_them(framing: int, bare: bool) -> None:
    rules = Rules(window_bytes=16_384, high_bytes=65_536, high_messages=1_000)
    world, room, seat, admit = lagging(rules, framing=framing, bare=bare)
    for at in range(2_000):
        admit(HIGH if at % 10 == 3 else NORMAL if at % 2 else LOW)
        if at % 100 == 0:
            settle(world)
    world.release(seat)
    world.finish()
    high = [message.number for message in room.model.messages if message.priority == HIGH]
    assert set(high) <= set(numbers(seat))
    ledger = room.native.ledger()
    assert ledger["shed_overrun"][1] > 500
    assert ledger["shed_overrun"][2] > 500
    assert ledger["written"][0] == 200


@bare_or_named
@pytest.mark.parametrize("more", range(-3, 4))
def test_a_window_that_is_full_to_the_byte_overwrites_nothing(bare: bool, more: int) -> None:
    world, _, seat, admit = lagging(Rules(window_bytes=16_384), bare=bare)
    first = admit(HIGH, SIZE + more)
    for _ in range(16_384 // SIZE - 1):
        admit(HIGH)
    world.release(seat)
    world.finish()
    assert numbers(seat) == [first, *range(1, 16_384 // SIZE)]


def test_the_window_is_so_many_messages_whatever_their_size() -> None:
    world, room, seat, admit = lagging(Rules(window_messages=100))
    for at in range(500):
        admit(HIGH if at % 10 == 3 else LOW, 30)
    world.release(seat)
    world.finish()
    assert numbers(seat)[:39] == list(range(3, 393, 10))
    assert room.native.ledger()["shed_overrun"][2] >= 300


@every_framing
@bare_or_named
@pytest.mark.parametrize("by", ["bytes", "messages"])
def test_more_high_ones_than_are_kept_are_an_overrun(framing: int, bare: bool, by: str) -> None:
    rules = Rules(
        window_bytes=16_384,
        high_bytes=8_192 if by == "bytes" else 1 << 20,
        high_messages=50 if by == "messages" else 4_000,
    )
    world, room, seat, admit = lagging(rules, framing=framing, bare=bare)
    first = admit(HIGH)
    for at in range(3_000):
        admit(HIGH if at % 5 == 0 else NORMAL)
    since: list[int] = []
    line = seat.line
    line.on_overrun = lambda: (since.append(seat.native.missed_since), world.overrun(line))  # type: ignore[func-returns-value]
    world.release(seat)
    world.finish()
    assert line.overrun_times == 1
    assert numbers(seat) == []
    assert since == [room.model.messages[first].timestamp]
    assert not room.native.reaches(since[0])
    ledger = room.native.ledger()
    assert ledger["closed"][0] == 601


@bare_or_named
@pytest.mark.parametrize("later", [2, 3, 4, 5])
@pytest.mark.parametrize("by", ["bytes", "messages"])
def test_one_high_one_more_than_is_kept_is_an_overrun(bare: bool, later: int, by: str) -> None:
    body = SIZE - 4 if bare else SIZE
    kept = {"high_messages": 4} if by == "messages" else {"high_bytes": 4 * body}
    world, _, seat, admit = lagging(Rules(window_bytes=16_384, **kept), bare=bare)
    first = admit(HIGH)
    for _ in range(16_384 // SIZE):
        admit(LOW)
    high = [first, *(admit(HIGH) for _ in range(later))]
    world.release(seat)
    world.finish()
    if later < 4:
        assert (seat.line.overrun_times, [n for n in numbers(seat) if n in high]) == (0, high)
    else:
        assert (seat.line.overrun_times, numbers(seat)) == (1, [])


def test_an_overrun_place_may_be_left_and_its_wire_goes_on() -> None:
    rules = Rules(window_bytes=16_384, high_bytes=4_096)
    world, _, seat, admit = lagging(rules)
    other = world.make_room()
    beside = world.join(seat.line, other)
    seat.line.on_overrun = lambda: world.leave(seat)
    for _ in range(1_000):
        admit(HIGH)
    world.release(seat)
    world.admit(other)
    world.finish()
    assert seat.line.overrun_times == 1
    assert numbers(beside) == [0]


def test_an_owner_hears_of_no_overrun_of_a_place_that_was_left_meanwhile() -> None:
    world = World(Rules(window_bytes=16_384, high_bytes=4_096))
    room = world.make_room()
    seats = [world.join(world.connect(), room) for _ in range(2)]

    def leave_both() -> None:
        for seat in seats:
            world.leave(seat)

    for seat in seats:
        seat.line.on_overrun = leave_both
        world.hold(seat)
    for _ in range(1_000):
        world.admit(room, HIGH)
    for seat in seats:
        world.release(seat)
    world.finish()
    assert sum(seat.line.overrun_times for seat in seats) == 1


def test_a_reader_whose_owner_does_nothing_about_an_overrun_is_not_sent_what_follows() -> None:
    world, _, seat, admit = lagging(Rules(window_bytes=16_384, high_bytes=4_096))
    seat.line.on_overrun = lambda: None
    for _ in range(1_000):
        admit(HIGH)
    world.release(seat)
    for _ in range(3):
        world.loop.settle(1_000)
        world.check()
        admit(HIGH)
    assert numbers(seat) == []
    assert seat.line.overrun_times == 1
    world.end(seat.line)
    world.check()


# --- The fair sample --------------------------------------------------------------------------------------------------


def sampled(
    senders_by_second: Sequence[Sequence[int]], kept: int, readers: int = 1
) -> tuple[list[list[tuple[int, int, int]]], World]:
    """Who was in the sample: second, sender, and which of its messages, for each of some readers that lag far."""
    per_second = sum(map(len, senders_by_second)) * 3 * 150
    window = 1 << max(17, (per_second * 3).bit_length())
    rules = Rules(window_bytes=window, window_messages=1 << 17, normal_milliseconds=10_000_000)
    world = World(rules, sampled_senders=kept)
    room = world.make_room()
    seats = [world.join(world.connect(at % 3), room, bare=at % 2 == 0) for at in range(readers)]
    for seat in seats:
        world.hold(seat)
    world.loop.now = 2_000_000
    of: dict[int, tuple[int, int, int]] = {}
    for second, senders in enumerate(senders_by_second):
        said: dict[int, int] = {}
        for at, sender in enumerate(senders):
            world.loop.now = 2_000_000 + second * 1_000 + at * 999 // len(senders)
            said[sender] = said.get(sender, 0) + 1
            of[world.admit(room, NORMAL, sender=sender, filler=1)] = (second, sender, said[sender])
    while (
        max(seat.model.lag_bytes() for seat in seats) <= window * 5 // 8 or min(room.model.until[-1]) <= window * 5 // 8
    ):
        world.admit(room, LOW, filler=2_000)
    for seat in seats:
        world.release(seat)
    world.loop.settle()
    world.check()
    return [[of[number] for number in numbers(seat) if number in of] for seat in seats], world


def test_few_senders_are_all_in_the_sample_once_a_second_each() -> None:
    [chosen], _ = sampled([[1, 2, 1, 3, 1, 1, 4, 2] * 3, [5, 1], [2, 2, 2]], kept=8)
    assert chosen == [(0, 1, 1), (0, 2, 1), (0, 3, 1), (0, 4, 1), (1, 5, 1), (1, 1, 1), (2, 2, 1)]


def test_the_loudest_sender_has_no_more_than_the_quietest() -> None:
    seconds = [[1] * 90 + [2] + [1] * 90 + [3] for _ in range(5)]
    [chosen], _ = sampled(seconds, kept=4)
    assert chosen == [(second, sender, 1) for second in range(5) for sender in (1, 2, 3)]


def test_a_burst_of_many_senders_is_bounded() -> None:
    [chosen], _ = sampled([list(range(1_000))], kept=16)
    assert 16 <= len(chosen) <= 32
    assert all(which == 1 for _, _, which in chosen)


@pytest.mark.slow
def test_many_senders_take_turns() -> None:
    kept, senders, seconds = 16, 160, 40
    [chosen], _ = sampled([list(range(senders)) for _ in range(seconds)], kept=kept)
    by_second = [[who for second, who, _ in chosen if second == at] for at in range(seconds)]
    assert all(len(who) == len(set(who)) <= 2 * kept for who in by_second)
    steady = by_second[2:]
    mean = sum(map(len, steady)) / len(steady)
    assert kept * 0.6 <= mean <= kept * 1.4, "so many on average; 0.6 and 1.4 are six standard deviations away"
    assert len({tuple(who) for who in steady}) > seconds // 2, "others every second"
    assert len({who for group in steady for who in group}) > senders * 0.9, "everybody's turn comes"


def test_all_laggards_get_the_same_sample() -> None:
    chosen, _ = sampled([list(range(100)), list(range(50, 150)), [7, 8, 9]], kept=8, readers=6)
    assert len(chosen[0]) > 8
    assert all(who == chosen[0] for who in chosen)


def test_the_sample_counts_as_such_in_the_ledger() -> None:
    [chosen], world = sampled([[1] * 30 + [2] * 10], kept=8)
    ledger = world.rooms[0].native.ledger()
    assert len(chosen) == 2
    assert ledger["shed_sample"] == (0, 38, 0)


def test_senders_are_told_apart_in_all_64_bits() -> None:
    senders = [0, 1, 1 << 32, 1 << 63, (1 << 64) - 1, (1 << 63) + 1]
    [chosen], _ = sampled([senders * 2], kept=8)
    assert [sender for _, sender, _ in chosen] == senders


# --- Coming back ------------------------------------------------------------------------------------------------------


@every_framing
@bare_or_named
def test_who_comes_back_is_given_the_high_ones_since(framing: int, bare: bool) -> None:
    world = World()
    room = world.make_room()
    for at in range(30):
        world.admit(room, at % 3 + 1)
    messages = room.model.messages
    since = messages[9].timestamp
    assert room.native.reaches(since)
    seat = world.join(world.connect(framing), room, bare=bare, since=since)
    world.admit(room, LOW)
    settle(world)
    assert numbers(seat) == [9, 12, 15, 18, 21, 24, 27, 30]
    assert room.native.ledger()["rejoined"] == (7, 0, 0)
    assert room.native.ledger()["written"] == (7, 0, 1)


def test_only_what_is_kept_is_reached() -> None:
    world = World(Rules(window_bytes=16_384, high_bytes=4_096, high_messages=16))
    room = world.make_room(1_000_000)
    world.timestamp = 1_000_000
    assert not room.native.reaches(1_000_000)
    assert room.native.reaches(1_000_001)
    assert room.native.high_timestamp == 1_000_000
    keeper = world.join(world.connect(), room)
    for _ in range(400):
        world.admit(room, HIGH, filler=100, step=3)
        world.admit(room, LOW, filler=100, step=3)
        settle(world)
    messages = [message for message in room.model.messages if message.priority == HIGH]
    reached = [room.native.reaches(message.timestamp) for message in messages]
    assert reached == sorted(reached)
    assert reached[-16:] == [True] * 16
    assert not reached[0]
    first = reached.index(True)
    assert room.native.reaches(messages[first - 1].timestamp + 1)
    back = [world.join(world.connect(), room, since=message.timestamp) for message in messages[first:]]
    world.finish()
    for at, seat in enumerate(back):
        assert numbers(seat) == [message.number for message in messages[first + at :]]
    old = world.join(world.connect(), room, since=messages[0].timestamp)
    world.finish()
    assert numbers(old) == [message.number for message in messages[first:]]
    assert len(numbers(keeper)) == 800


def test_where_a_place_ends_says_from_when_on_it_has_to_come_back() -> None:
    world = World()
    room = world.make_room()
    line = world.connect(room=130)
    seat = world.join(line, room)
    assert seat.native.missed_since == room.native.high_timestamp + 1
    for at in range(12):
        world.admit(room, HIGH if at % 2 == 0 else LOW)
    settle(world)
    missed = [number for number in range(0, 12, 2) if number in seat.model.torn or number not in numbers(seat)]
    since = seat.native.missed_since
    assert since == room.model.messages[missed[0]].timestamp
    world.end(line)
    assert seat.native.missed_since == since
    again = world.join(world.connect(), room, since=since)
    world.finish()
    assert numbers(again) == missed
    assert again.native.missed_since > room.model.high_timestamp


def test_who_missed_nothing_comes_back_to_nothing() -> None:
    world = World()
    room = world.make_room()
    seat = world.join(world.connect(), room)
    for at in range(6):
        world.admit(room, at % 3 + 1)
    settle(world)
    world.leave(seat)
    world.admit(room, LOW)
    world.admit(room, NORMAL)
    again = world.join(world.connect(), room, since=seat.native.missed_since)
    settle(world)
    assert numbers(again) == []
    assert room.native.ledger()["rejoined"] == (0, 0, 0)


def test_nobody_comes_back_for_a_message_without_a_time() -> None:
    world = World()
    room = world.make_room()
    seat = world.join(world.connect(), room)
    since = seat.native.missed_since
    first = world.admit(room, HIGH)
    assert room.native.high_timestamp == room.model.messages[first].timestamp
    world.hold(seat)
    timeless = world.admit(room, HIGH, timeless=True)
    last = world.admit(room, HIGH)
    world.admit(room, HIGH, timeless=True)
    assert room.native.high_timestamp == room.model.messages[last].timestamp
    world.check()
    again = world.join(world.connect(), room, since=since)
    world.release(seat)
    world.finish()
    assert numbers(seat) == [first, timeless, last, last + 1]
    assert numbers(again) == [first, last]
    assert seat.native.missed_since > room.native.high_timestamp


@bare_or_named
def test_nobody_comes_back_for_what_it_said_itself(bare: bool) -> None:
    world = World()
    room = world.make_room()
    keeper = world.join(world.connect(), room)
    for at in range(6):
        world.admit(room, HIGH, sender=-5 if at % 2 else 5)
    settle(world)
    since = room.model.messages[0].timestamp
    line = world.connect()
    line.wire.flush()
    place = room.native.join(line.wire, None if bare else b"#9.0;", since=since, own=-5)
    assert room.native.ledger()["rejoined"] == (3, 0, 0)
    world.loop.settle()
    bodies = commands(line.model.framing, line.model.stream)
    assert len(bodies) == 3
    assert [one.split(b".")[1] for one in bodies] == [b"0", b"2", b"4"]
    assert place.behind == 0
    assert numbers(keeper) == list(range(6))


def test_messages_without_a_time_are_kept_like_all_high_ones() -> None:
    world, room, seat, admit = lagging(Rules(window_bytes=16_384, high_bytes=1 << 20))
    for at in range(1_500):
        admit(HIGH if at % 5 == 0 else LOW, timeless=at % 2 == 0)
    world.release(seat)
    world.finish()
    assert [n for n in numbers(seat) if room.model.messages[n].priority == HIGH] == list(range(0, 1_500, 5))


def test_who_comes_back_and_is_held_keeps_its_place_among_the_high_ones() -> None:
    world = World()
    room = world.make_room()
    for at in range(10):
        world.admit(room, HIGH if at % 2 else LOW)
    seat = world.join(world.connect(room=70), room, since=0)
    world.hold(seat)
    settle(world)
    world.admit(room, HIGH)
    assert numbers(seat) == []
    world.release(seat)
    settle(world)
    world.hold(seat)
    world.admit(room, LOW)
    world.finish()
    assert numbers(seat) == [1, 3, 5, 7, 9, 10, 11]


# --- Being told -------------------------------------------------------------------------------------------------------


def test_who_lags_is_told_once_a_second_and_when_it_has_caught_up() -> None:
    world = World(SMALL)
    room = world.make_room()
    line = world.connect(room=3_000)
    seat = world.join(line, room)
    told: list[list[int]] = []
    for _ in range(60):
        for at in range(40):
            world.admit(room, LOW if at % 20 else HIGH, filler=80)
        line.drain(300)
        settle(world)
        world.loop.advance(100)
        settle(world)
        if not told or told[-1] != seat.model.told:
            told.append(list(seat.model.told))
    assert 4 <= len(told) <= 8
    line.drain(PLENTY)
    world.finish()
    assert seat.model.told == seat.model.shed
    assert seat.model.told[2] > 1_000


def test_the_listener_may_do_anything() -> None:
    world, room, _, admit = lagging(SMALL)
    place: list[Place] = []
    said: list[tuple[int, int, int]] = []

    def told(shed: tuple[int, int, int]) -> None:
        said.append(shed)
        place[0].leave()
        world.admit(room)

    place.append(room.native.join(world.connect().wire, b"own", told=told))
    place[0].hold()
    for _ in range(100):
        admit(LOW)
    place[0].release()
    world.loop.settle()
    assert len(said) == 1
    assert not place[0].present


# --- Ledgers and memory -----------------------------------------------------------------------------------------------


def test_the_sum_of_the_ledgers_has_the_rooms_that_are_gone() -> None:
    world = World()
    for _ in range(3):
        room = world.make_room()
        seats = [world.join(world.connect(), room) for _ in range(4)]
        for at in range(9):
            world.admit(room, at % 3 + 1)
        settle(world)
        for seat in seats:
            world.leave(seat)
        before = world.fanout.ledger()
        world.forget_room(room)
        del room, seats, seat
        gc.collect()
        assert world.fanout.ledger() == before
    assert world.fanout.ledger()["written"] == (36, 36, 36)


def test_a_new_ledger_is_all_zeros() -> None:
    world = World()
    room = world.make_room()
    assert set(room.native.ledger()) == {"admitted", "owed", "rejoined", *oracle.FATES}
    assert set(room.native.ledger().values()) == {(0, 0, 0)}
    world.admit(room, HIGH)
    assert room.native.ledger()["admitted"] == (1, 0, 0)
    assert room.native.ledger()["owed"] == (0, 0, 0)


def test_what_a_log_keeps_does_not_grow_with_what_its_readers_have_missed() -> None:
    world = World(Rules(window_bytes=16_384, window_messages=512, high_bytes=16_384, high_messages=128))
    room = world.make_room()
    wires = [world.connect(framing, room=0) for framing in FRAMINGS for _ in range(10)]
    places = [room.native.join(line.wire, b"x" if at % 2 else None) for at, line in enumerate(wires)]
    for line in wires:
        line.on_overrun = lambda: None
    kept = []
    for _ in range(6):
        for at in range(1_000):
            room.native.admit(bytes(100), at % 3 + 1, at, 1_000 + at)
            if at % 50 == 0:
                world.loop.settle()
        kept.append(room.native.kept_bytes)
    assert kept[1:] == kept[1:2] * 5
    assert kept[-1] < 4 * 2 * 32_768 + 512 * 64 + 30 * 200
    assert len(places) == room.native.readers


def test_a_reader_takes_little() -> None:
    world = World()
    room = world.make_room()
    line = world.connect()
    first = room.native.join(line.wire, None)
    before = room.native.kept_bytes
    places = [room.native.join(line.wire, None) for _ in range(1_000)]
    assert room.native.kept_bytes - before <= 1_000 * 256
    assert len([first, *places]) == room.native.readers == 1_001


def test_a_place_that_nobody_holds_stays_in_its_room() -> None:
    world = World()
    room = RoomLog(world.fanout, 0)
    line = world.connect()
    room.join(line.wire, None)
    gc.collect()
    room.admit(b"body", NORMAL, 1, 1)
    world.loop.settle()
    assert got(line) == [b"body"]
    assert room.readers == 1


@pytest.mark.slow
@pytest.mark.parametrize("dropped", ["wires", "rooms", "places", "fanout"])
def test_objects_may_be_dropped_in_any_order(dropped: str) -> None:
    world = World(turn_sends=1)
    fanout = world.fanout
    rooms = [RoomLog(fanout, 0) for _ in range(2)]
    wires = [Wire(fanout, _Dummy(), _Dummy(), -1, TCP) for _ in range(4)]
    places = [room.join(wire, None) for room in rooms for wire in wires]
    for room in rooms:
        room.admit(b"body", HIGH, 1, 1)
    world.pass_once()
    everything: dict[str, list[Any]] = {"wires": wires, "rooms": rooms, "places": places, "fanout": [fanout]}
    everything[dropped].clear()
    room = None  # type: ignore[assignment]
    gc.collect()
    for kind in everything.values():
        kind.clear()
        gc.collect()
    world.loop.settle()
    del wires, rooms, places, fanout
    gc.collect()


class _Dummy:
    """Owner and transport of a wire that nobody looks at."""

    def write(self, data: bytes) -> None:
        """Take it."""

    def get_write_buffer_size(self) -> int:
        return 0

    def relieved(self) -> None:
        """Nothing to do."""

    failed = overrun = relieved


# --- Misuse -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "numbers",
    [
        {"window_bytes": 0},
        {"window_bytes": -1},
        {"window_messages": 0},
        {"low_milliseconds": -1},
        {"normal_milliseconds": -1},
        {"sampled_senders": -1},
        {"high_bytes": -1},
        {"high_messages": -1},
        {"gather_milliseconds": -1},
        {"turn_microseconds": 0},
        {"handovers": 0},
        {"turn_sends": -1},
    ],
    ids=str,
)
def test_numbers_that_make_no_sense_are_refused(numbers: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(numbers))):
        Fanout(print, print, **numbers)  # type: ignore[arg-type]


def test_what_is_no_priority_is_refused_and_nothing_is_admitted() -> None:
    world = World()
    room, other = world.make_room(), world.make_room()
    line = world.connect()
    seat, elsewhere = world.join(line, room), world.join(line, other)
    for priority in (0, 4, -1, 2**31):
        with pytest.raises((ValueError, OverflowError)):
            room.native.admit(b"body", priority, 1, 1)
    with pytest.raises(ValueError, match="log"):
        room.native.admit(b"body", 1, 1, 1, [seat.native, elsewhere.native])
    world.finish()
    assert got(line) == []
    world.admit(room)
    world.finish()
    assert numbers(seat) == [0]


def test_an_ended_wire_gets_no_place() -> None:
    world = World()
    room = world.make_room()
    line = world.connect()
    world.end(line)
    with pytest.raises(ValueError, match="ended"):
        room.native.join(line.wire, None)
    assert room.native.readers == 0
    world.check()


@pytest.mark.parametrize("framing", [-1, 3, 99])
def test_an_unknown_framing_is_refused(framing: int) -> None:
    world = World()
    with pytest.raises(ValueError, match="framing"):
        Wire(world.fanout, _Dummy(), _Dummy(), -1, framing)


def test_only_the_right_types_are_taken() -> None:
    world = World()
    room = world.make_room()
    line = world.connect()
    place = room.native.join(line.wire, None)
    wrong: Any = "text"
    nothing: Any = None
    mutable: Any = bytearray(b"x")
    calls: list[Callable[[], object]] = [
        partial(line.wire.put, wrong),
        partial(line.wire.put, mutable),
        partial(line.wire.put, nothing),
        partial(line.wire.put, b"x", wrong),
        partial(line.wire.put_frame, wrong),
        partial(line.wire.put_frame, nothing),
        partial(room.native.admit, wrong, 1, 1, 1),
        partial(room.native.admit, nothing, 1, 1, 1),
        partial(room.native.admit, b"x", wrong, 1, 1),
        partial(room.native.admit, b"x", 1, wrong, 1),
        partial(room.native.admit, b"x", 1, 1, wrong),
        partial(room.native.admit, b"x", 1, 1, 1, [wrong]),
        partial(room.native.admit, b"x", 1, 1, 1, [nothing]),
        partial(room.native.admit, b"x", 1, 1, 1, nothing),
        partial(room.native.join, wrong, None),
        partial(room.native.join, nothing, None),
        partial(room.native.join, line.wire, wrong),
        partial(place.name, wrong),
        partial(place.name, nothing),
        partial(Wire, wrong, line, line, -1, TCP),
        partial(Wire, nothing, line, line, -1, TCP),
        partial(RoomLog, wrong, 0),
        partial(RoomLog, nothing, 0),
        partial(RoomLog, world.fanout, wrong),
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()
    world.loop.settle()
    assert got(line) == []
    assert room.native.readers == 1
    assert set(room.native.ledger().values()) == {(0, 0, 0)}


def test_places_are_made_by_joining() -> None:
    with pytest.raises(TypeError):
        Place()


def test_the_framings_are_three() -> None:
    assert len({TCP, WEBSOCKET, WEBSOCKET_BASE64}) == 3


# --- Anything at all --------------------------------------------------------------------------------------------------


def pick(things: Sequence[Any], at: int) -> Any:
    return things[at % len(things)]


which = st.integers(0, 30)


class FanoutMatchesOracle(RuleBasedStateMachine):
    """Wires that block, rooms that shed, and everybody coming and going in between."""

    world: World

    @initialize(turn_sends=st.sampled_from([0, 1, 2, 5]), handovers=st.sampled_from([1, 3, 64]))
    def make(self, turn_sends: int, handovers: int) -> None:
        self.world = World(SMALL, turn_sends=turn_sends, handovers=handovers)
        self.world.make_room()
        self.world.make_room()

    @rule(
        framing=st.integers(0, 2),
        tls=st.booleans(),
        between=st.booleans(),
        room=st.sampled_from([0, 40, 100, 1_000, 8_000, PLENTY]),
        watched=st.booleans(),
    )
    def connect(self, framing: int, tls: bool, between: bool, room: int, watched: bool) -> None:
        line = self.world.connect(framing, tls=tls, room=room, between=between)
        line.wire.watched = watched

    def line(self, at: int) -> Line:
        return self.world.lines[at % len(self.world.lines)]

    def seat(self, at: int) -> Seat:
        return self.world.all_seats[at % len(self.world.all_seats)]

    def room(self, at: int) -> Room:
        return self.world.rooms[at % len(self.world.rooms)]

    def some_lines(self) -> bool:
        return bool(self.world.lines)

    def some_seats(self) -> bool:
        return bool(self.world.all_seats)

    @precondition(some_lines)
    @rule(line=which, room=which, bare=st.booleans(), back=st.none() | st.integers(0, 60))
    def join(self, line: int, room: int, bare: bool, back: int | None) -> None:
        who, where = self.line(line), self.room(room)
        free = (id(who), where.model.number) not in self.world.bare
        since = -1 if back is None else max(0, where.model.high_timestamp - back)
        self.world.join(who, where, bare=bare and free, since=since)

    @precondition(some_lines)
    @rule(line=which, goodbye=st.booleans())
    def end(self, line: int, goodbye: bool) -> None:
        self.world.end(self.line(line), goodbye=goodbye)

    @precondition(some_lines)
    @rule(line=which, error=st.sampled_from([ConnectionResetError, BrokenPipeError, TimeoutError]))
    def reset(self, line: int, error: type[OSError]) -> None:
        if not self.line(line).waits:
            self.line(line).error = None if self.line(line).model.tls else error()

    @precondition(some_seats)
    @rule(seat=which)
    def leave(self, seat: int) -> None:
        self.world.leave(self.seat(seat))

    @precondition(some_seats)
    @rule(seat=which)
    def hold(self, seat: int) -> None:
        self.world.hold(self.seat(seat))

    @precondition(some_seats)
    @rule(seat=which)
    def release(self, seat: int) -> None:
        self.world.release(self.seat(seat))

    @precondition(some_seats)
    @rule(seat=which, version=st.integers(1, 5))
    def name(self, seat: int, version: int) -> None:
        self.world.name(self.seat(seat), version)

    @rule(
        room=which,
        priorities=st.lists(st.integers(1, 3), min_size=1, max_size=12),
        filler=st.sampled_from([10, 60, 100, 120, 600, 3_000, 20_000]),
        sender=st.integers(0, 5),
        without=st.none() | which,
    )
    def admit(self, room: int, priorities: list[int], filler: int, sender: int, without: int | None) -> None:
        where = self.room(room)
        seats = [seat for seat in self.world.all_seats if seat.model.log is where.model]
        spared = [pick(seats, without)] if without is not None and seats else []
        for priority in priorities:
            self.world.admit(where, priority, filler=filler, sender=sender, without=spared)

    @precondition(some_lines)
    @rule(line=which, filler=st.integers(0, 200), framed=st.booleans(), suffix=st.none() | st.binary(max_size=5))
    def put(self, line: int, filler: int, framed: bool, suffix: bytes | None) -> None:
        self.world.put(self.line(line), filler, framed=framed, suffix=suffix)

    @precondition(some_lines)
    @rule(line=which)
    def flush(self, line: int) -> None:
        self.line(line).wire.flush()

    @precondition(some_lines)
    @rule(line=which, room=st.sampled_from([0, 1, 50, 500, 5_000]), between=st.booleans())
    def fill(self, line: int, room: int, between: bool) -> None:
        self.line(line).room, self.line(line).between = room, between

    @precondition(some_lines)
    @rule(line=which, more=st.sampled_from([1, 60, 500, 5_000, PLENTY]), surprise=st.sampled_from([0, 0, 100]))
    def drain(self, line: int, more: int, surprise: int) -> None:
        self.line(line).drain(more)
        self.line(line).surprise = surprise

    @rule(milliseconds=st.sampled_from([1, 300, 1_000, 2_500, 11_000]))
    def wait(self, milliseconds: int) -> None:
        self.world.loop.advance(milliseconds)

    @rule()
    def turn(self) -> None:
        self.world.turn()
        self.world.check_turn()

    @rule(passes=st.integers(1, 4))
    def go_on(self, passes: int) -> None:
        for _ in range(passes):
            self.world.pass_once()

    @rule()
    def settle(self) -> None:
        self.world.loop.settle()
        self.world.check_rest()

    @invariant()
    def everything_is_right(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.finish()


TestFanoutMatchesOracle = pytest.mark.slow(FanoutMatchesOracle.TestCase)
TestFanoutMatchesOracle.settings = settings(max_examples=60, stateful_step_count=50)


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 400)), min_size=1, max_size=30),
    st.integers(0, 2),
    st.booleans(),
    st.booleans(),
)
def test_however_little_the_socket_takes_the_same_stream_comes_out(
    steps: list[tuple[int, int]], framing: int, bare: bool, between: bool
) -> None:
    world = World()
    room = world.make_room()
    line = world.connect(framing, room=0, between=between)
    seat = world.join(line, room, bare=bare)
    for filler, more in steps:
        world.admit(room, filler % 3 + 1, filler=filler)
        world.loop.settle()
        world.check()
        line.drain(more)
    world.finish()
    assert numbers(seat) == list(range(len(steps)))


class Storm:
    """A long run of anything, drawn from a seed.

    Args:
        calm: Nobody is ever slow: then everybody gets everything.
        mischief: Owners do something in each call.
    """

    def __init__(self, seed: str, *, calm: bool = False, mischief: bool = False) -> None:
        self.dice = Random(seed)
        self.calm = calm
        self.rough = 0.0 if calm else self.dice.choice([0.1, 0.4, 0.8])
        rules = Rules(
            window_bytes=self.dice.choice([8_192, 16_384, 65_536]),
            window_messages=self.dice.choice([64, 512, 8_192]),
            high_bytes=self.dice.choice([4_096, 16_384, 65_536]),
            high_messages=self.dice.choice([16, 128, 4_096]),
        )
        if calm:
            rules = Rules()
        self.world = World(
            rules,
            turn_sends=self.dice.choice([0, 1, 1, 2, 7]),
            handovers=self.dice.choice([1, 2, 64]),
            sampled_senders=self.dice.choice([1, 4, 32]),
        )
        self.mischief = mischief
        self.left: list[tuple[Room, int]] = []
        self.depth = 0
        for _ in range(3):
            self.make_room()
        for _ in range(6):
            self.connect()

    STEPS: ClassVar[dict[str, int]] = {
        "connect": 3, "end": 1, "reset": 1, "make_room": 1, "forget_room": 1, "join": 8, "come_back": 3, "leave": 2,
        "admit": 20, "burst": 2, "put": 8, "flush": 2, "fill": 5, "drain": 14, "wait": 4, "hold": 1, "release": 3,
        "name": 1, "turn": 6, "go_on": 14, "settle": 4,
    }  # fmt: skip

    def run(self, steps: int) -> World:
        names, weights = list(self.STEPS), list(self.STEPS.values())
        for name in self.dice.choices(names, weights, k=steps):
            getattr(self, name)()
            self.world.check()
        self.mischief = False
        self.world.finish()
        return self.world

    def line(self) -> Line | None:
        return self.dice.choice(self.world.lines) if self.world.lines else None

    def seat(self) -> Seat | None:
        return self.dice.choice(self.world.all_seats) if self.world.all_seats else None

    def make_room(self) -> None:
        if len(self.world.rooms) < 4:
            self.world.make_room()

    def forget_room(self) -> None:
        empty = [room for room in self.world.rooms if room.native.readers == 0]
        if empty and len(self.world.rooms) > 2 and not self.depth:
            gone = self.dice.choice(empty)
            self.left = [(room, since) for room, since in self.left if room is not gone]
            self.world.forget_room(gone)

    def connect(self) -> None:
        if len(self.world.lines) >= 14:
            return
        line = self.world.connect(
            self.dice.randrange(3), tls=self.dice.random() < 0.2, between=self.dice.random() < 0.4
        )
        line.wire.watched = self.dice.random() < 0.5
        if self.dice.random() < self.rough:
            line.room = self.dice.randrange(5_000)
        if self.mischief:
            overrun = line.on_overrun
            line.on_relieved = self.misbehave
            line.on_failed = lambda: (self.misbehave(), self.world.end(line))  # type: ignore[func-returns-value]
            line.on_overrun = lambda: (overrun(), self.misbehave())  # type: ignore[func-returns-value]

    def misbehave(self) -> None:
        if not self.mischief or self.depth:
            return
        self.depth += 1
        quiet = {"settle", "go_on", "turn", "wait", "forget_room"}
        for name in self.dice.choices([name for name in self.STEPS if name not in quiet], k=3):
            getattr(self, name)()
        self.depth -= 1

    def end(self) -> None:
        if line := self.line():
            seats = [seat for seat in self.world.all_seats if seat.line is line and seat.model.present]
            self.world.end(line, goodbye=self.dice.random() < 0.5)
            self.remember(seats)

    def remember(self, seats: list[Seat]) -> None:
        for seat in seats:
            room = next(room for room in self.world.rooms if room.model is seat.model.log)
            self.left.append((room, seat.native.missed_since))

    def reset(self) -> None:
        line = self.line()
        if line and not line.waits and not line.model.tls and not self.calm:
            line.error = self.dice.choice([ConnectionResetError, BrokenPipeError])()

    def join(self) -> None:
        line, room = self.line(), self.dice.choice(self.world.rooms)
        if line is None or len(self.world.all_seats) > 400:
            return
        bare = self.dice.random() < 0.5 and (id(line), room.model.number) not in self.world.bare
        since = room.model.high_timestamp - self.dice.randrange(50) if self.dice.random() < 0.2 else -1
        self.world.join(line, room, bare=bare, since=max(-1, since))

    def come_back(self) -> None:
        line = self.line()
        if line and self.left:
            room, since = self.left.pop(self.dice.randrange(len(self.left)))
            self.world.join(line, room, since=since)

    def leave(self) -> None:
        if seat := self.seat():
            present = seat.model.present
            self.world.leave(seat)
            if present:
                self.remember([seat])

    def admit(self) -> None:
        room = self.dice.choice(self.world.rooms)
        seats = [seat for seat in self.world.all_seats if seat.model.log is room.model]
        without = self.dice.sample(seats, min(len(seats), self.dice.choice([0, 0, 0, 1, 2])))
        self.world.admit(
            room,
            self.dice.choices([HIGH, NORMAL, LOW], [1, 3, 6])[0],
            filler=self.dice.choice([20, 60, 100, 130, 700, 3_000]) if self.dice.random() < 0.9 else 9_000,
            sender=self.dice.randrange(12),
            without=without,
            step=self.dice.randrange(1, 4),
            timeless=self.dice.random() < 0.1,
        )

    def burst(self) -> None:
        room = self.dice.choice(self.world.rooms)
        high = self.dice.choice([0.02, 0.1, 0.6])
        for _ in range(20 if self.calm else self.dice.choice([10, 80, 300])):
            priority = HIGH if self.dice.random() < high else self.dice.choice([NORMAL, LOW, LOW])
            filler, sender = self.dice.randrange(20, 140), self.dice.randrange(40)
            self.world.admit(room, priority, filler=filler, sender=sender, timeless=self.dice.random() < 0.05)

    def put(self) -> None:
        if line := self.line():
            self.world.put(
                line,
                self.dice.randrange(300),
                framed=self.dice.random() < 0.3,
                suffix=self.dice.choice([None, b"", b"suffix"]),
            )

    def flush(self) -> None:
        if line := self.line():
            line.wire.flush()

    def fill(self) -> None:
        line = self.line()
        if line and self.dice.random() < self.rough:
            line.room = self.dice.choice([0, 1, 100, 2_000])
            line.between = self.dice.random() < 0.5

    def drain(self) -> None:
        if line := self.line():
            line.drain(self.dice.choice([10, 100, 1_000, 10_000, PLENTY]))
            line.surprise = self.dice.choice([0, 0, 0, 200])

    def wait(self) -> None:
        self.world.loop.advance(self.dice.choice([1, 10, 100, 900] if self.calm else [1, 100, 1_000, 3_000, 12_000]))

    def hold(self) -> None:
        seat = self.seat()
        if seat and not self.calm:
            self.world.hold(seat)

    def release(self) -> None:
        for seat in self.world.all_seats:
            if seat.held:
                self.world.release(seat)
                return

    def name(self) -> None:
        if seat := self.seat():
            self.world.name(seat, self.dice.randrange(1, 9))

    def turn(self) -> None:
        self.world.turn()
        if not self.mischief:
            self.world.check_turn()

    def go_on(self) -> None:
        self.world.pass_once()

    def settle(self) -> None:
        self.world.loop.settle()
        self.world.check_rest()


def storms(kind: str, quick: int) -> list[str]:
    """The seeds to run: a few, or with ``FASTIM_FANOUT_STEPS`` as many as make so many steps."""
    return [f"{SEED} {kind} {number}" for number in range(STEPS // STORM_STEPS or quick)]


STORM_STEPS = 500


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(("kind", "quick"), [("calm", 3), ("rough", 10), ("mischief", 7)])
def test_a_long_run_of_anything_is_what_the_oracle_says(kind: str, quick: int) -> None:
    for seed in storms(kind, quick):
        try:
            world = Storm(seed, calm=kind == "calm", mischief=kind == "mischief").run(STORM_STEPS)
        except BaseException as error:
            error.add_note(f"FASTIM_FANOUT_SEED={SEED}: {seed}")
            raise
        if kind == "calm":
            assert not any(seat.model.left_out for seat in world.all_seats)
