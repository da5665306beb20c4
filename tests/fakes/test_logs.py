from fastim.core.conversation import Kind
from fastim.core.events import MessagePosted, MessagesMissed
from fastim.core.ledger import Counts, Ledger
from fastim.core.message import Message
from fastim.core.session import Config, OfflineMode, Session
from fastim.core.units import Millis
from fastim.ports.rooms import Missed
from tests.fakes.logs import PlainLogs

TEA, COFFEE = "69216a40" + "c0" * 8, "69216a41" + "c0" * 8
BEGUN = Millis(100)


def session(number: int) -> Session:
    return Session(number, "tom", "", f"device {number}", Config(0), OfflineMode.UNREAD, Millis(0))


def post(
    logs: PlainLogs, at: int, conversation_id: str = TEA, origin: int = 0, priority: int = 1, sequence: int = 1
) -> Message:
    message = Message(f"m{at}", Millis(at), sequence, "host", b"fire")
    logs.hear(MessagePosted(conversation_id, Kind.CHAT_ROOM, message, (), origin, priority=priority))
    return message


def test_who_enters_hears_what_is_posted_from_then_on() -> None:
    logs, tom = PlainLogs(BEGUN), session(1)
    post(logs, 200)
    assert logs.join(TEA, tom, None) is None
    posted = post(logs, 201)
    post(logs, 202, COFFEE)
    post(logs, 203, origin=1)
    post(logs, 204, priority=2)
    assert logs.heard == {1: [posted]}
    assert logs.leave(tom) == 204
    post(logs, 205)
    assert logs.heard == {1: [posted]}


def test_who_left_before_anything_was_posted_missed_it_all() -> None:
    logs, tom = PlainLogs(BEGUN), session(1)
    logs.join(TEA, tom, None)
    assert logs.leave(tom) == BEGUN + 1


def test_what_is_not_stored_is_no_place_to_go_on_from() -> None:
    logs, tom = PlainLogs(BEGUN), session(1)
    logs.join(TEA, tom, None)
    heard = post(logs, 200, sequence=0)
    assert logs.heard == {1: [heard]}
    assert logs.leave(tom) == BEGUN + 1


def test_who_comes_back_is_held_until_the_store_has_told_it_the_rest() -> None:
    logs, tom = PlainLogs(BEGUN, kept=1), session(1)
    messages = [post(logs, at) for at in (200, 210, 220)]
    assert logs.join(TEA, tom, Millis(205)) == Missed(TEA, Millis(205), Millis(220))
    assert logs.holds(tom)
    later = post(logs, 230)
    assert logs.heard == {}
    logs.hear(MessagesMissed("tom", 1, TEA, Kind.CHAT_ROOM, tuple(messages[1:])))
    logs.release(tom)
    assert logs.heard == {1: [*messages[1:], later]}
    assert not logs.holds(tom)
    assert logs.leave(tom) == 231


def test_who_leaves_while_it_is_held_has_missed_the_same() -> None:
    logs, tom = PlainLogs(BEGUN), session(1)
    post(logs, 200)
    logs.join(TEA, tom, Millis(150))
    post(logs, 201)
    assert logs.leave(tom) == 150


def test_what_is_at_hand_is_told_at_once() -> None:
    logs, tom, jerry = PlainLogs(BEGUN, kept=2), session(1), session(2)
    messages = [post(logs, at) for at in (200, 210, 220)]
    assert logs.join(TEA, tom, Millis(205)) is None
    assert logs.heard == {1: messages[1:]}
    assert logs.join(TEA, jerry, Millis(221)) is None
    assert logs.leave(tom) == logs.leave(jerry) == 221


def test_what_was_before_its_time_is_the_store_s_to_tell() -> None:
    logs, tom = PlainLogs(BEGUN, kept=9), session(1)
    assert logs.join(TEA, tom, Millis(90)) == Missed(TEA, Millis(90), BEGUN)


def test_whom_nothing_reaches_has_missed_it() -> None:
    logs, tom = PlainLogs(BEGUN), session(1)
    logs.join(TEA, tom, None)
    heard = post(logs, 200)
    logs.hold(tom)
    post(logs, 201)
    assert logs.heard == {1: [heard]}
    assert logs.leave(tom) == 201


def test_a_place_is_a_sessions_whatever_its_device_is_called_until_it_is_closed() -> None:
    logs, tom = PlainLogs(BEGUN), session(1)
    logs.join(TEA, tom, None)
    renamed = tom.on_device("tablet")
    assert (logs.place_of(tom), logs.place_of(renamed)) == (TEA, TEA)
    logs.close(TEA)
    assert logs.place_of(renamed) is None


def test_the_ledger_is_of_a_room_with_somebody_in_it() -> None:
    logs, tom = PlainLogs(BEGUN), session(1)
    assert logs.ledger(TEA) == Ledger()
    logs.join(TEA, tom, None)
    post(logs, 200)
    assert logs.ledger(TEA) == Ledger(readers=1, messages=Counts(high=1))
    logs.leave(tom)
    assert logs.ledger(TEA) == Ledger()
