from hypothesis import given
from hypothesis import strategies as st

from fastim.core.conversation import Kind
from fastim.core.events import MessagePosted
from fastim.core.message import Message
from fastim.core.session import Config, OfflineMode, Session
from fastim.core.units import Millis
from fastim.ports.rooms import Left, Missed
from fastim.runtime.rooms import LocalRooms
from tests.fakes.logs import PlainLogs

TEA, COFFEE = "69216a40" + "c0" * 8, "69216a41" + "c0" * 8


def session(number: int, client_id: str = "tom") -> Session:
    return Session(number, client_id, "", f"device {number}", Config(0), OfflineMode.UNREAD, Millis(0))


def post(logs: PlainLogs, at: int, conversation_id: str = TEA) -> Message:
    """A message of high priority that was posted at that time."""
    message = Message(f"m{at}", Millis(at), at, "host", b"fire")
    logs.hear(MessagePosted(conversation_id, Kind.CHAT_ROOM, message, (), 0, priority=1))
    return message


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
    assert rooms.leave(phone) == Left(TEA, Millis(0))
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
            left = rooms.leave(one)
            assert (None if left is None else left.conversation_id) == inside.pop(number, None)
    for room in (TEA, COFFEE):
        numbers = {number for number, place in inside.items() if place == room}
        assert {one.number for one in rooms.occupants(room)} == numbers
        assert rooms.count(room) == len({number % 3 for number in numbers})


def test_who_enters_has_a_place_in_the_log_and_who_leaves_has_none() -> None:
    logs = PlainLogs(Millis(100))
    rooms = LocalRooms(logs)
    tom = session(1)
    rooms.enter(TEA, tom)
    assert logs.place_of(tom) == TEA
    rooms.enter(COFFEE, tom)
    assert logs.place_of(tom) == COFFEE
    assert rooms.missed(tom) is None
    post(logs, 200, COFFEE)
    assert rooms.leave(tom) == Left(COFFEE, Millis(201))
    assert logs.place_of(tom) is None
    rooms.enter(TEA, tom)
    rooms.close(TEA)
    assert logs.place_of(tom) is None
    assert rooms.leave(tom) is None


def test_a_session_that_is_renamed_keeps_its_place_in_the_log() -> None:
    logs = PlainLogs(Millis(100))
    rooms = LocalRooms(logs)
    tom = session(1)
    rooms.enter(TEA, tom)
    logs.hold(tom)
    posted = post(logs, 200)
    renamed = tom.on_device("tablet")
    rooms.enter(TEA, renamed, Millis(300))
    assert logs.place_of(renamed) == TEA
    rooms.release(renamed)
    assert logs.heard == {1: [posted]}


def test_what_the_store_has_to_say_is_owed_until_it_was_said() -> None:
    logs = PlainLogs(Millis(100))
    rooms = LocalRooms(logs)
    tom = session(1)
    for at in (200, 210, 220):
        post(logs, at)
    rooms.enter(TEA, tom, Millis(150))
    assert rooms.missed(tom) == Missed(TEA, Millis(150), Millis(220))
    for upto, since in ((140, 150), (149, 150), (200, 201), (180, 201), (219, 220)):
        rooms.told(tom, Millis(upto))
        assert rooms.missed(tom) == Missed(TEA, Millis(since), Millis(220))
    posted = post(logs, 230)
    assert logs.heard == {}
    rooms.told(tom, Millis(220))
    rooms.release(tom)
    rooms.release(tom)
    assert rooms.missed(tom) is None
    assert logs.heard == {1: [posted]}
    assert rooms.leave(tom) == Left(TEA, Millis(231))


def test_who_leaves_before_has_still_missed_it() -> None:
    logs = PlainLogs(Millis(100))
    rooms = LocalRooms(logs)
    tom, jerry = session(1), session(2, "jerry")
    post(logs, 200)
    for one in (tom, jerry):
        rooms.enter(TEA, one, Millis(150))
        rooms.told(one, Millis(160))
    rooms.release(jerry)  # it could not be told: the store failed
    post(logs, 210)
    assert [rooms.leave(one) for one in (tom, jerry)] == [Left(TEA, Millis(161))] * 2
    assert rooms.missed(tom) is None
    rooms.told(tom, Millis(300))
    rooms.release(tom)
    rooms.enter(TEA, tom)
    rooms.close(TEA)
    assert rooms.missed(tom) is None


def test_without_logs_nobody_knows_what_was_missed() -> None:
    rooms = LocalRooms()
    tom = session(1)
    rooms.enter(TEA, tom, Millis(150))
    assert rooms.missed(tom) is None
    rooms.release(tom)
    assert rooms.leave(tom) == Left(TEA, Millis(0))
