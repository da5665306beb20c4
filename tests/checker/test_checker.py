"""The crash tests' checker finds what it is there to find: nothing in a sound record, and every planted fault."""

from collections.abc import Callable, Iterable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.crash.checker import (
    Ack,
    Answered,
    Asked,
    Attempt,
    Found,
    Kind,
    Marked,
    Record,
    Seen,
    Stored,
    Told,
    Watch,
    check,
    count,
    summary,
)

SENDERS = ("ann", "bob", "cat")
ROOMS = ("hall", "yard")
T0 = 1_700_000_000_000


def sound(sends: Iterable[tuple[str, str]], chance: Random) -> Record:
    """What is seen of a server that keeps its promises.

    Args:
        sends: Sender and conversation of each message.
    """
    record = Record(history={room: [] for room in ROOMS})
    for number, (sender, room) in enumerate(sends):
        body = b"%d" % number
        message = Seen(f"{T0 + number}-{chance.randrange(1 << 32)}", T0 + number, sender, body)
        record.attempts.append(Attempt(room, sender, body))
        record.history[room].append(Stored(len(record.history[room]) + 1, message))
        record.acks += [Ack(body, message.message_id, message.timestamp)] * chance.choice((1, 1, 1, 2))
    everything = [(attempt.conversation, seen(record, attempt.body)) for attempt in record.attempts]
    for client_id in ("dan", *SENDERS):
        stretch = everything[chance.randint(0, 3) : len(everything) - chance.randint(0, 3)]
        heard = [one for one in stretch if one[1].sender != client_id or chance.random() < 0.5]
        record.watches.append(Watch(client_id, sends=client_id in SENDERS, deliveries=heard))
    read_back(record)
    return record


def read_back(record: Record) -> None:
    """Fill in what clients read of the history as it is now."""
    for pages in (record.forward, record.backward):
        pages.clear()
        pages.update({room: [message for _, message in stored] for room, stored in record.history.items()})


def seen(record: Record, body: bytes) -> Seen:
    (found,) = (message for stored in record.history.values() for _, message in stored if message.body == body)
    return found


def kinds(record: Record) -> set[Kind]:
    return {fault.kind for fault in check(record)}


records = st.builds(
    sound,
    st.lists(st.tuples(st.sampled_from(SENDERS), st.sampled_from(ROOMS)), max_size=30),
    st.integers().map(Random),
)
busy_records = st.builds(
    sound,
    st.lists(st.tuples(st.sampled_from(SENDERS), st.sampled_from(ROOMS)), min_size=20, max_size=30),
    st.integers().map(Random),
)


@given(records)
@settings(max_examples=25)
def test_a_sound_record_has_no_faults(record: Record) -> None:
    assert check(record) == []


def lose_a_message(record: Record, chance: Random) -> None:
    room, place = pick(record, chance)
    messages = [message for _, message in record.history[room]]
    del messages[place]
    record.history[room] = [Stored(sequence, message) for sequence, message in enumerate(messages, 1)]
    read_back(record)


def lose_a_record(record: Record, chance: Random) -> None:
    room, place = pick(record, chance, but_last=True)
    del record.history[room][place]
    read_back(record)


def store_twice(record: Record, chance: Random) -> None:
    room, place = pick(record, chance)
    again = record.history[room][place].message
    add(record, room, again.sender, again.body)


def store_elsewhere(record: Record, chance: Random) -> None:
    room, place = pick(record, chance)
    moved = record.history[room].pop(place).message
    record.history[room] = [Stored(sequence, one[1]) for sequence, one in enumerate(record.history[room], 1)]
    add(record, next(other for other in ROOMS if other != room), moved.sender, moved.body)


def make_one_up(record: Record, chance: Random) -> None:
    add(record, chance.choice(ROOMS), chance.choice(SENDERS), b"nobody's")


def swap_neighbours(record: Record, chance: Random) -> None:
    """Two messages of one sender, each in the other's place."""
    room = chance.choice([room for room in ROOMS if len(record.history[room]) > len(SENDERS)])
    stored = record.history[room]
    sender = next(one.message.sender for one in stored if senders(stored).count(one.message.sender) > 1)
    first, second, *_ = (place for place, one in enumerate(stored) if one.message.sender == sender)
    bodies = stored[first].message.body, stored[second].message.body
    for place, body in zip((first, second), reversed(bodies), strict=True):
        stored[place] = Stored(place + 1, stored[place].message._replace(body=body))
    read_back(record)


def step_the_clock_back(record: Record, chance: Random) -> None:
    room, place = pick(record, chance, but_last=True)
    stored = record.history[room]
    late = stored[place + 1].message
    stored[place + 1] = Stored(place + 2, late._replace(timestamp=stored[place].message.timestamp))
    read_back(record)


def lower_an_id(record: Record, chance: Random) -> None:
    room, place = pick(record, chance, but_last=True)
    stored = record.history[room]
    stored[place + 1] = Stored(place + 2, stored[place + 1].message._replace(message_id="0"))
    read_back(record)


def ack_another_id(record: Record, chance: Random) -> None:
    place = chance.randrange(len(record.acks))
    record.acks[place] = record.acks[place]._replace(message_id="another")


def ack_another_time(record: Record, chance: Random) -> None:
    place = chance.randrange(len(record.acks))
    record.acks[place] = record.acks[place]._replace(timestamp=T0 - 1)


def never_ack(record: Record, chance: Random) -> None:
    body = chance.choice(record.attempts).body
    record.acks = [ack for ack in record.acks if ack.body != body]


def change_a_body(record: Record, chance: Random) -> None:
    watch = chance.choice([watch for watch in record.watches if watch.deliveries])
    place = chance.randrange(len(watch.deliveries))
    room, message = watch.deliveries[place]
    watch.deliveries[place] = room, message._replace(body=b"changed")


def deliver_what_is_not_kept(record: Record, chance: Random) -> None:
    ghost = Seen("ghost", T0, "ann", b"ghost")
    deliveries = chance.choice(record.watches).deliveries
    deliveries.insert(chance.randint(0, len(deliveries)), (chance.choice(ROOMS), ghost))


def deliver_twice(record: Record, chance: Random) -> None:
    deliveries = chance.choice([watch for watch in record.watches if watch.deliveries]).deliveries
    place = chance.randrange(len(deliveries))
    deliveries.insert(place, deliveries[place])


def deliver_out_of_order(record: Record, chance: Random) -> None:
    deliveries = record.watches[0].deliveries
    room = chance.choice([room for room in ROOMS if sum(one[0] == room for one in deliveries) > 1])
    places = [place for place, one in enumerate(deliveries) if one[0] == room]
    place = chance.randrange(len(places) - 1)
    first, second = places[place], places[place + 1]
    deliveries[first], deliveries[second] = deliveries[second], deliveries[first]


def leave_one_out(record: Record, chance: Random) -> None:
    deliveries = record.watches[0].deliveries
    room = chance.choice([room for room in ROOMS if sum(one[0] == room for one in deliveries) > 2])
    places = [place for place, one in enumerate(deliveries) if one[0] == room]
    del deliveries[chance.choice(places[1:-1])]


def read_one_way_only(record: Record, chance: Random) -> None:
    room, place = pick(record, chance)
    del chance.choice((record.forward, record.backward))[room][place]


def refuse(record: Record, chance: Random) -> None:
    record.refusals.append("ann: 4112 SESSION_TOKEN_EXPIRED")


def break_the_store(record: Record, chance: Random) -> None:
    record.problems.append("conversation hall has no head")


def pick(record: Record, chance: Random, *, but_last: bool = False) -> tuple[str, int]:
    """A conversation and a place in it that has a message, and one after it if ``but_last``."""
    room = chance.choice([room for room in ROOMS if len(record.history[room]) > but_last])
    return room, chance.randrange(len(record.history[room]) - but_last)


def add(record: Record, room: str, sender: str, body: bytes) -> None:
    stored = record.history[room]
    timestamp = T0 + 1_000
    stored.append(Stored(len(stored) + 1, Seen(f"{timestamp}-", timestamp, sender, body)))
    read_back(record)


def senders(stored: list[Stored]) -> list[str]:
    return [one.message.sender for one in stored]


PLANTS: list[tuple[Callable[[Record, Random], None], Kind]] = [
    (lose_a_message, Kind.LOST),
    (lose_a_record, Kind.LOST),
    (lose_a_record, Kind.GAP),
    (store_twice, Kind.DOUBLED),
    (store_elsewhere, Kind.CHANGED),
    (make_one_up, Kind.UNKNOWN),
    (swap_neighbours, Kind.REORDERED),
    (step_the_clock_back, Kind.REORDERED),
    (lower_an_id, Kind.REORDERED),
    (ack_another_id, Kind.CHANGED),
    (ack_another_time, Kind.CHANGED),
    (never_ack, Kind.UNACKED),
    (change_a_body, Kind.CHANGED),
    (deliver_what_is_not_kept, Kind.VANISHED),
    (deliver_twice, Kind.DOUBLED),
    (deliver_out_of_order, Kind.REORDERED),
    (leave_one_out, Kind.MISSED),
    (read_one_way_only, Kind.DIFFERING),
    (refuse, Kind.REFUSED),
    (break_the_store, Kind.UNSOUND),
]


@pytest.mark.parametrize(("plant", "kind"), PLANTS, ids=lambda value: getattr(value, "__name__", value))
@given(record=busy_records, chance=st.integers().map(Random))
@settings(max_examples=10)
def test_a_planted_fault_is_found(
    plant: Callable[[Record, Random], None], kind: Kind, record: Record, chance: Random
) -> None:
    plant(record, chance)
    assert kind in kinds(record), summary(check(record))


@pytest.mark.parametrize(
    "steps",
    [
        [Answered(1), Found(1)],
        [Answered(1), Asked(2), Found(1)],
        [Answered(1), Asked(2), Found(2)],
        [Answered(1), Asked(2), Asked(3), Found(2)],
        [Answered(None), Asked(1), Answered(1), Found(1), Asked(2), Found(1), Asked(3), Found(3)],
    ],
)
def test_what_was_asked_for_and_not_answered_may_have_happened(steps: list[Asked | Answered | Found]) -> None:
    assert check(Record(registers={"turns": steps})) == []


@pytest.mark.parametrize(
    "steps",
    [
        [Answered(None), Asked(1), Answered(1), Found(None)],
        [Answered(1), Found(2)],
        [Answered(1), Asked(2), Answered(2), Found(1)],
        [Answered(1), Asked(2), Found(2), Found(1)],
    ],
)
def test_what_was_answered_has_to_be_there(steps: list[Asked | Answered | Found]) -> None:
    assert kinds(Record(registers={"turns": steps})) == {Kind.FORGOTTEN}


def reading(*steps: tuple[int] | tuple[int, int]) -> Record:
    """A conversation of nine messages and its reader: what it marked, and what it was told was unread up to where."""
    record = sound([("ann", "hall")] * 9, Random(0))
    ids = ["", *(message.message_id for _, message in record.history["hall"])]
    record.readings["dan", "hall"] = [
        Marked(ids[step[0]]) if len(step) == 1 else Told(ids[step[0]], step[1]) for step in steps
    ]
    return record


@pytest.mark.parametrize(
    "record",
    [
        reading((4, 4)),
        reading((3,), (4, 4), (4, 1)),
        reading((3,), (5, 2), (5,), (6, 1), (9, 4)),
        reading((5,), (2,), (5, 0)),
    ],
)
def test_a_read_position_moves_on_as_it_is_asked_to(record: Record) -> None:
    assert check(record) == []


@pytest.mark.parametrize(
    "record",
    [
        reading((3,), (5, 2), (5, 3)),
        reading((3,), (5, 1)),
        reading((4, 3)),
    ],
)
def test_a_read_position_that_moves_otherwise_is_found(record: Record) -> None:
    assert kinds(record) == {Kind.FORGOTTEN}


def test_a_notice_of_a_message_that_is_not_kept_is_found() -> None:
    record = reading((3,))
    record.readings["dan", "hall"].append(Told("ghost", 0))
    assert kinds(record) == {Kind.VANISHED}


def test_the_summary_counts_each_kind_and_shows_the_first_few() -> None:
    record = Record(refusals=["one", "two", "three"], problems=["four"])
    lines = summary(check(record), shown=2).splitlines()
    assert lines == [
        "3 x REFUSED: refused without a reason",
        "1 x UNSOUND: a record in the store breaks its rules",
        "  REFUSED one",
        "  REFUSED two",
    ]


def test_what_there_was_to_check_is_counted() -> None:
    record = sound([("ann", "hall"), ("bob", "hall")], Random(1))
    counts = count(record)
    assert (counts["sent"], counts["acked"], counts["stored"]) == (2, 2, 2)
    assert counts["delivered"] == sum(len(watch.deliveries) for watch in record.watches)
