"""What clients saw, held against what the server has: every way in which the two must agree, whatever crashed between.

A pure function of a record, so that a planted fault shows what it catches (``tests/checker``). What clients do, and
when the server is killed, is decided in ``load`` and ``plan``.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from itertools import pairwise
from typing import Any, NamedTuple

from msgspec import Struct


class Kind(Enum):
    """What can be wrong."""

    LOST = "acked, but not in history"
    DOUBLED = "there more than once"
    UNKNOWN = "in history, but nobody sent it"
    CHANGED = "not what was sent, acked or delivered"
    UNACKED = "never acked"
    GAP = "sequence not dense"
    REORDERED = "out of order"
    VANISHED = "delivered, but not in history"
    MISSED = "left out of what a session was sent"
    DIFFERING = "read back differently"
    FORGOTTEN = "answered, and gone"
    REFUSED = "refused without a reason"
    UNSOUND = "a record in the store breaks its rules"


class Fault(NamedTuple):
    """One thing that is wrong."""

    kind: Kind
    what: str


class Seen(NamedTuple):
    """A message as a client or the store has it."""

    message_id: str
    timestamp: int
    sender: str
    body: bytes


class Stored(NamedTuple):
    """A message in its place."""

    sequence: int
    message: Seen


class Attempt(NamedTuple):
    """A message that a client sent, once, however often it sent it again. No two have the same body."""

    conversation: str
    sender: str
    body: bytes


class Ack(NamedTuple):
    """An answer to an attempt; one that was sent again may have several."""

    body: bytes
    message_id: str
    timestamp: int


class Watch(Struct):
    """What one session was sent while its connection lasted, or one page of history while there is more to come.

    Attributes:
        sends: Whether the session's client sends as well: then its own messages may be missing.
        deliveries: With their conversations, in the order in which they came.
    """

    client_id: str
    sends: bool
    deliveries: list[tuple[str, Seen]] = []


class Asked(NamedTuple):
    """A client asked for a register to have this value."""

    value: Any


class Answered(NamedTuple):
    """It was told that the register has this value."""

    value: Any


class Found(NamedTuple):
    """It asked what value the register has, and this is what it was told."""

    value: Any


class Marked(NamedTuple):
    """A client asked for everything up to this message to count as read."""

    message_id: str


class Told(NamedTuple):
    """It was told that so many of the messages up to this one, its conversation's last, are unread."""

    message_id: str
    unread: int


class Record(Struct):
    """Everything that was seen.

    Attributes:
        attempts: A sender's in the order in which it sent them first.
        acks: In the order in which they came.
        registers: Things with one value at a time and one writer at a time, by name: what happened to each, in order.
        readings: The same for the read positions of clients that send nothing, by client and conversation.
        repeats: Messages that were stored when they were sent again, their first ack being lost.
        refusals: What a client was refused, or how it lost a connection to a server that was running.
        problems: What ``verify`` found after the crashes.
        history: Every conversation as the store has it, by sequence.
        forward: The conversations' histories as a client reads them, page after page, from the oldest message on.
        backward: The same read from the newest message back; ascending here too.
    """

    attempts: list[Attempt] = []
    acks: list[Ack] = []
    watches: list[Watch] = []
    registers: dict[str, list[Asked | Answered | Found]] = {}
    readings: dict[tuple[str, str], list[Marked | Told]] = {}
    repeats: int = 0
    refusals: list[str] = []
    problems: list[str] = []
    history: dict[str, list[Stored]] = {}
    forward: dict[str, list[Seen]] = {}
    backward: dict[str, list[Seen]] = {}


def check(record: Record) -> list[Fault]:
    """Everything that is wrong; nothing when the server kept its promises."""
    return [
        *_check_messages(record),
        *_check_acks(record),
        *_check_places(record),
        *_check_sending_order(record),
        *_check_pages(record),
        *_check_deliveries(record),
        *_check_registers(record),
        *_check_readings(record),
        *(Fault(Kind.REFUSED, refusal) for refusal in record.refusals),
        *(Fault(Kind.UNSOUND, problem) for problem in record.problems),
    ]


def _check_messages(record: Record) -> Iterator[Fault]:
    """Every message once, where its sender put it; nothing else."""
    acked = {ack.body for ack in record.acks}
    places: defaultdict[bytes, list[tuple[str, Seen]]] = defaultdict(list)
    for conversation, stored in record.history.items():
        for _, message in stored:
            places[message.body].append((conversation, message))
    for attempt in record.attempts:
        found = places.pop(attempt.body, [])
        if attempt.body not in acked:
            yield Fault(Kind.UNACKED, f"{_name(attempt.body)} of {attempt.sender}")
        elif not found:
            yield Fault(Kind.LOST, f"{_name(attempt.body)} of {attempt.sender} in {attempt.conversation}")
        if len(found) > 1:
            yield Fault(Kind.DOUBLED, f"{_name(attempt.body)} is in history {len(found)} times")
        for conversation, message in found:
            if (conversation, message.sender) != attempt[:2]:
                yield Fault(
                    Kind.CHANGED,
                    f"{_name(attempt.body)} of {attempt.sender} in {attempt.conversation} became one of "
                    f"{message.sender} in {conversation}",
                )
    for body, found in places.items():
        for conversation, message in found:
            yield Fault(Kind.UNKNOWN, f"{_name(body)} of {message.sender} in {conversation}")


def _check_acks(record: Record) -> Iterator[Fault]:
    """An ack says where its message is, and the next ack of the same message says the same."""
    messages = {message.body: message for stored in record.history.values() for _, message in stored}
    for ack in record.acks:
        message = messages.get(ack.body)
        if message is not None and ack[1:] != message[:2]:
            yield Fault(
                Kind.CHANGED,
                f"{_name(ack.body)} was acked as {ack.message_id} of {ack.timestamp} and is {message.message_id} of "
                f"{message.timestamp}",
            )


def _check_places(record: Record) -> Iterator[Fault]:
    """Sequences are dense; timestamps and ids ascend with them."""
    for conversation, stored in record.history.items():
        for expected, (sequence, _) in enumerate(stored, 1):
            if sequence != expected:
                yield Fault(Kind.GAP, f"{conversation} has {sequence} where {expected} should be")
                break
        for (_, before), (sequence, message) in pairwise(stored):
            if message.timestamp <= before.timestamp or message.message_id <= before.message_id:
                yield Fault(
                    Kind.REORDERED,
                    f"message {sequence} of {conversation} is {message.message_id} of {message.timestamp}, the one "
                    f"before it {before.message_id} of {before.timestamp}",
                )


def _check_sending_order(record: Record) -> Iterator[Fault]:
    """A sender's messages stand in a conversation in the order in which it sent them."""
    turn = {attempt.body: number for number, attempt in enumerate(record.attempts)}
    for conversation, stored in record.history.items():
        last: dict[str, tuple[int, bytes]] = {}
        for _, message in stored:
            number = turn.get(message.body)
            if number is None:
                continue
            before, body = last.get(message.sender, (-1, b""))
            if number < before:
                yield Fault(Kind.REORDERED, f"{_name(message.body)} comes after {_name(body)} in {conversation}")
            last[message.sender] = number, message.body


def _check_pages(record: Record) -> Iterator[Fault]:
    """Whichever way history is read, it is the same."""
    for way, pages in (("from the oldest on", record.forward), ("from the newest back", record.backward)):
        for conversation in record.history.keys() | pages.keys():
            kept = [message for _, message in record.history.get(conversation, [])]
            read = pages.get(conversation, [])
            if kept != read:
                yield Fault(
                    Kind.DIFFERING,
                    f"{conversation} has {len(kept)} messages, read {way} it has {len(read)}; they differ from message "
                    f"{_first_difference(kept, read)} on",
                )


def _check_deliveries(record: Record) -> Iterator[Fault]:
    """What anybody was sent is in history, as it was sent; each session saw a stretch of it, whole and in order."""
    places = {
        conversation: {message.message_id: (sequence, message) for sequence, message in stored}
        for conversation, stored in record.history.items()
    }
    for watch in record.watches:
        last: dict[str, int] = {}
        for conversation, seen in watch.deliveries:
            known = places.get(conversation, {})
            sequence, message = known.get(seen.message_id, (0, None))
            what = f"{_name(seen.body)} of {seen.sender} in {conversation}, sent to {watch.client_id}"
            if message is None:
                yield Fault(Kind.VANISHED, what)
                continue
            if message != seen:
                yield Fault(Kind.CHANGED, what)
            before = last.get(conversation)
            last[conversation] = sequence
            if before is None:
                continue
            if sequence <= before:
                kind = Kind.DOUBLED if sequence == before else Kind.REORDERED
                yield Fault(kind, f"{what}: message {sequence} after message {before}")
            else:
                yield from _check_between(watch, conversation, record.history[conversation][before : sequence - 1])


def _check_between(watch: Watch, conversation: str, passed_over: Sequence[Stored]) -> Iterator[Fault]:
    for sequence, message in passed_over:
        if not (watch.sends and message.sender == watch.client_id):
            yield Fault(Kind.MISSED, f"message {sequence} of {conversation} was not sent to {watch.client_id}")


def _check_registers(record: Record) -> Iterator[Fault]:
    """A register has the value that was answered last, or one that was asked for since."""
    for name, steps in record.registers.items():
        possible: list[Any] = []
        for step in steps:
            match step:
                case Asked(value):
                    possible.append(value)
                case Answered(value):
                    possible = [value]
                case Found(value):
                    if value not in possible:
                        yield Fault(Kind.FORGOTTEN, f"{name} is {value!r}; it can only be one of {possible!r}")
                    possible = [value]


def _check_readings(record: Record) -> Iterator[Fault]:
    """A read position that was told does not move back, nor further than was asked."""
    for (client_id, conversation), steps in record.readings.items():
        places = {message.message_id: sequence for sequence, message in record.history.get(conversation, [])}
        asked = told = 0
        for step in steps:
            sequence = places.get(step.message_id)
            if sequence is None:
                yield Fault(Kind.VANISHED, f"{step.message_id} in {conversation}, which {client_id} heard of")
                continue
            if isinstance(step, Marked):
                asked = max(asked, sequence)
                continue
            read = sequence - step.unread
            if not told <= read <= asked:
                yield Fault(
                    Kind.FORGOTTEN,
                    f"{client_id} has read {conversation} up to {read}; it asked for {asked} and was told {told}",
                )
            told = max(told, read)


def summary(faults: Sequence[Fault], shown: int = 20) -> str:
    """The faults for whoever reads the test's output: how many of each kind, and the first few in full."""
    counts: defaultdict[Kind, int] = defaultdict(int)
    for fault in faults:
        counts[fault.kind] += 1
    totals = [f"{count} x {kind.name}: {kind.value}" for kind, count in counts.items()]
    return "\n".join((*totals, *(f"  {fault.kind.name} {fault.what}" for fault in faults[:shown])))


def count(record: Record) -> Mapping[str, int]:
    """How much there was to check."""
    return {
        "sent": len(record.attempts),
        "acked": len({ack.body for ack in record.acks}),
        "stored": sum(map(len, record.history.values())),
        "stored when sent again": record.repeats,
        "delivered": sum(len(watch.deliveries) for watch in record.watches),
        "answered": sum(isinstance(step, Answered) for steps in record.registers.values() for step in steps),
        "read marks": sum(isinstance(step, Marked) for steps in record.readings.values() for step in steps),
    }


def _name(body: bytes) -> str:
    return repr(body[:40])


def _first_difference(left: Sequence[Seen], right: Sequence[Seen]) -> int:
    differing = (number for number, (one, other) in enumerate(zip(left, right, strict=False), 1) if one != other)
    return next(differing, min(len(left), len(right)) + 1)
