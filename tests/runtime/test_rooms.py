from hypothesis import given
from hypothesis import strategies as st

from fastim.core.session import Config, OfflineMode, Session
from fastim.core.units import Millis
from fastim.runtime.rooms import LocalRooms

TEA, COFFEE = "69216a40" + "c0" * 8, "69216a41" + "c0" * 8


def session(number: int, client_id: str = "tom") -> Session:
    return Session(number, client_id, "", f"device {number}", Config(0), OfflineMode.UNREAD, Millis(0))


def test_a_session_is_in_one_room_at_most() -> None:
    rooms = LocalRooms()
    tom = session(1)
    rooms.enter(TEA, tom)
    rooms.enter(COFFEE, tom)
    assert rooms.room_of(tom) == COFFEE
    assert (rooms.count(TEA), rooms.count(COFFEE)) == (0, 1)
    assert not rooms.holds(TEA, "tom")


def test_a_client_counts_once_for_all_its_devices() -> None:
    rooms = LocalRooms()
    phone, tablet = session(1), session(2)
    rooms.enter(TEA, phone)
    rooms.enter(TEA, tablet)
    assert rooms.count(TEA) == 1
    assert rooms.leave(phone) == TEA
    assert rooms.holds(TEA, "tom")
    rooms.leave(tablet)
    assert not rooms.holds(TEA, "tom")
    assert rooms.leave(tablet) is None


def test_entering_again_keeps_the_place_and_renews_the_session() -> None:
    rooms = LocalRooms()
    tom, jerry = session(1), session(2, "jerry")
    rooms.enter(TEA, tom)
    rooms.enter(TEA, jerry)
    renewed = tom.on_device("tablet")
    rooms.enter(TEA, renewed)
    assert list(rooms.occupants(TEA)) == [renewed, jerry]
    assert rooms.count(TEA) == 2


def test_a_sample_has_nobody_twice_and_no_more_than_there_are() -> None:
    rooms = LocalRooms()
    for number in range(30):
        rooms.enter(TEA, session(number, f"client {number % 10}"))
    assert sorted(rooms.sample(TEA, 50)) == sorted(f"client {number}" for number in range(10))
    assert len(set(rooms.sample(TEA, 4))) == 4
    assert rooms.sample(TEA, 0) == rooms.sample(TEA, -1) == rooms.sample(COFFEE, 5) == []


def test_nobody_is_in_a_room_that_was_closed() -> None:
    rooms = LocalRooms()
    tom = session(1)
    rooms.enter(TEA, tom)
    rooms.close(TEA)
    assert rooms.room_of(tom) is None
    assert rooms.count(TEA) == 0
    assert list(rooms.occupants(TEA)) == []
    rooms.close(TEA)


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([TEA, COFFEE, ""])), max_size=60))
def test_the_counts_are_those_of_the_sessions_inside(moves: list[tuple[int, str]]) -> None:
    rooms = LocalRooms()
    inside: dict[int, str] = {}
    for number, room in moves:
        one = session(number, f"client {number % 3}")
        if room:
            rooms.enter(room, one)
            inside[number] = room
        else:
            assert rooms.leave(one) == inside.pop(number, None)
    for room in (TEA, COFFEE):
        numbers = {number for number, place in inside.items() if place == room}
        assert {one.number for one in rooms.occupants(room)} == numbers
        assert rooms.count(room) == len({number % 3 for number in numbers})
