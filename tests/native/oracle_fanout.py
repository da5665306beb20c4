"""What ``fastim._fanout`` must do, in plain Python: lists of messages, and what of them each reader has been given.

A reader's stream is cut into commands here by code of its own. What the oracle cannot know (when exactly a window
moves, which normal messages are in the sample) it bounds: nothing may be left out that no reading of the rules lets go.
"""

from __future__ import annotations

import base64
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

TCP, WEBSOCKET, WEBSOCKET_BASE64 = 0, 1, 2
BODIES = 3  # the ring of readers that have a suffix of their own
HIGH, NORMAL, LOW = 1, 2, 3

SHED_BY = {"shed_age": {2, 3}, "shed_distance": {3}, "shed_sample": {2}, "shed_overrun": {2, 3}}
REASONS = tuple(SHED_BY)
FATES = ("written", *REASONS, "closed", "torn", "pending")

Counts = list[int]


class Mistake(AssertionError):
    """What arrived cannot be right."""


def frame(framing: int, body: bytes) -> bytes:
    """A command as it is on the wire, from RFC 6455 or with four bytes of length."""
    if framing == TCP:
        return len(body).to_bytes(4, "big") + body
    payload = base64.b64encode(body) if framing == WEBSOCKET_BASE64 else body
    opcode = 0x81 if framing == WEBSOCKET_BASE64 else 0x82
    if len(payload) < 126:
        return bytes([opcode, len(payload)]) + payload
    if len(payload) < 65_536:
        return bytes([opcode, 126]) + len(payload).to_bytes(2, "big") + payload
    return bytes([opcode, 127]) + len(payload).to_bytes(8, "big") + payload


def frame_bytes(kind: int, body: bytes) -> int:
    return len(body) if kind == BODIES else len(frame(kind, body))


def first_command(framing: int, stream: bytes | bytearray, at: int) -> tuple[bytes, int] | None:
    """The command that starts at ``at``, and where it ends; ``None`` while a part of it is missing."""
    if framing == TCP:
        start, size = at + 4, int.from_bytes(stream[at : at + 4], "big")
        if size > 1 << 24:
            raise Mistake(f"a length of {size}: this is no header")
    else:
        if len(stream) - at < 2:
            return None
        opcode, short = stream[at], stream[at + 1]
        if opcode != (0x81 if framing == WEBSOCKET_BASE64 else 0x82) or short > 127:
            raise Mistake(f"{bytes(stream[at : at + 2])!r} starts no message")
        width, smallest = {126: (2, 126), 127: (8, 65_536)}.get(short, (0, 0))
        start = at + 2 + width
        if len(stream) < start:
            return None
        size = int.from_bytes(stream[at + 2 : start], "big") if width else short
        if size < smallest:
            raise Mistake(f"a length of {size} in {width} bytes")
    if len(stream) < start + size or len(stream) < start:
        return None
    body = bytes(stream[start : start + size])
    return base64.b64decode(body, validate=True) if framing == WEBSOCKET_BASE64 else body, start + size


def commands(framing: int, stream: bytes | bytearray) -> list[bytes]:
    """All commands of a stream that ends with the end of one."""
    found, at = [], 0
    while (command := first_command(framing, stream, at)) is not None:
        found.append(command[0])
        at = command[1]
    if at != len(stream):
        raise Mistake(f"the stream ends with {len(stream) - at} bytes of a command")
    return found


@dataclass(frozen=True)
class Rules:
    """The numbers that decide what is shed, as ``Fanout`` has them."""

    window_bytes: int = 262_144
    window_messages: int = 8_192
    low_milliseconds: int = 2_000
    normal_milliseconds: int = 10_000
    high_bytes: int = 1_048_576
    high_messages: int = 4_096


@dataclass(frozen=True)
class Message:
    number: int
    body: bytes
    priority: int
    sender: int
    timestamp: int
    admitted_at: int


class LogOracle:
    """One room's messages, all of them for ever, and what its ledger has to say."""

    def __init__(self, number: int, rules: Rules, timestamp: int) -> None:
        self.number = number
        self.rules = rules
        self.high_timestamp = self.timestamp = timestamp
        self.messages: list[Message] = []
        self.until: list[Counts] = [[0] * 4]  # bytes before each message, by ring
        self.before: list[Counts] = [[0] * 3]  # messages before each, by priority
        self.high: list[int] = []
        self.places: list[PlaceOracle] = []
        self.admitted = [0, 0, 0]
        self.owed = [0, 0, 0]
        self.rejoined = [0, 0, 0]
        self.unsure = [0, 0, 0]  # left while torn: written or closed, both are true
        self.fog = [0, 0, 0]  # left while coming back: shed or closed, both are true

    @property
    def head(self) -> int:
        return len(self.messages)

    def admit(
        self, body: bytes, priority: int, sender: int, timestamp: int, now: int, without: set[PlaceOracle]
    ) -> None:
        message = Message(self.head, body, priority, sender, timestamp, now)
        for place in without:
            place.spared.add(message.number)
        self.messages.append(message)
        self.until.append([before + frame_bytes(kind, body) for kind, before in enumerate(self.until[-1])])
        self.admitted[priority - 1] += 1
        self.before.append(self.admitted.copy())
        self.owed[priority - 1] += sum(place.present and place not in without for place in self.places)
        if priority == HIGH:
            self.high.append(message.number)
            self.high_timestamp = max(timestamp, self.high_timestamp)

    def high_since(self, since: int) -> list[int]:
        """The numbers of high-priority messages of that time or later."""
        return [number for number in self.high if self.messages[number].timestamp >= max(0, since)]

    def high_bytes(self, numbers: list[int]) -> int:
        """What they take in the ring where they take most."""
        sizes = [[frame_bytes(kind, self.messages[number].body) for number in numbers] for kind in range(4)]
        return max(sum(of_kind) for of_kind in sizes)

    def surely_reaches(self, since: int) -> bool:
        """Whether that many high-priority messages have to be kept."""
        first = next(iter(self.high_since(since)), self.head)
        numbers = self.high[bisect_left(self.high, first) :]
        fits = len(numbers) <= self.rules.high_messages and self.high_bytes(numbers) <= self.rules.high_bytes
        return since > self.timestamp and fits


@dataclass(eq=False)
class PlaceOracle:
    """What one reader is owed, and what has become of it."""

    log: LogOracle
    framing: int
    suffix: bytes | None
    owed_before: list[int] = field(default_factory=list)  # on coming back: messages of before it joined
    joined_at: int = 0
    next: int = 0  # everything before it is settled
    planned_at: int = 0  # where it was when it was decided what to send; in the end of that nothing more is looked at
    planned_by: int = -1
    kinds: set[int] = field(default_factory=set)
    suffixes: set[bytes | None] = field(default_factory=set)
    spared: set[int] = field(default_factory=set)
    present: bool = True
    coming_back: bool = False  # among high-priority messages of before it joined, where no cursor says what is left out
    received: list[int] = field(default_factory=list)
    left_out: list[int] = field(default_factory=list)
    torn: list[int] = field(default_factory=list)
    shed: Counts = field(default_factory=lambda: [0, 0, 0])
    written: Counts = field(default_factory=lambda: [0, 0, 0])
    closed: Counts = field(default_factory=lambda: [0, 0, 0])
    told: Counts = field(default_factory=lambda: [0, 0, 0])
    most_behind_bytes: int = 0

    def __post_init__(self) -> None:
        self.joined_at = self.log.head
        self.next = self.owed_before[0] if self.owed_before else self.joined_at
        self.kinds.add(self.kind)
        self.suffixes.add(self.suffix)
        self.coming_back = bool(self.owed_before)
        self.log.places.append(self)
        for _ in self.owed_before:
            self.log.owed[0] += 1
            self.log.rejoined[0] += 1

    @property
    def kind(self) -> int:
        return self.framing if self.suffix is None else BODIES

    def name(self, suffix: bytes, unfinished: bool) -> None:
        if not unfinished:
            self.suffixes.clear()
        self.suffix = suffix
        self.suffixes.add(suffix)
        self.kinds.add(self.kind)

    def is_owed(self, number: int) -> bool:
        if number < self.joined_at:
            return number in self.owed_before
        return number not in self.spared

    def owed_between(self, first: int, end: int) -> list[int]:
        return [number for number in range(max(first, 0), end) if self.is_owed(number)]

    def lag_bytes(self) -> int:
        """At most so far was it behind, in its own ring, when it was decided what to send."""
        until = self.log.until
        return max(until[-1][kind] - until[self.planned_at][kind] for kind in self.kinds)

    def may_be_shed(self, message: Message, now: int) -> bool:
        rules, lag = self.log.rules, self.lag_bytes()
        if message.priority == HIGH:
            return False
        if self.log.head - self.planned_at >= rules.window_messages or lag > rules.window_bytes // 2:
            return True
        old = now - message.admitted_at >= rules.low_milliseconds
        return message.priority == LOW and lag > rules.window_bytes // 4 and old

    def look(self, send: int) -> None:
        """What it was sent until now is settled."""
        self.planned_by, self.planned_at = send, self.next

    def give(self, number: int, suffix: bytes | None, now: int, send: int) -> None:
        """One message has been sent to it, in whole or in part.

        Args:
            send: Counts the sends. What is left out between two of them may have been decided before the first.
        """
        if suffix not in self.suffixes:
            raise Mistake(f"message {number} has {suffix!r} at its end and not one of {self.suffixes}")
        if number < self.next:
            raise Mistake(f"message {number} again, or too late: {self.next} is next")
        if not self.is_owed(number):
            raise Mistake(f"message {number} is not for this reader")
        planned_at = self.next
        self.settle(number, now)
        if self.planned_by != send:
            self.planned_by, self.planned_at = send, planned_at
        self.next = number + 1
        self.received.append(number)

    def settle(self, end: int, now: int) -> None:
        """Everything before ``end`` that was not sent has been left out."""
        for number in self.owed_between(self.next, end):
            if not self.may_be_shed(message := self.log.messages[number], now):
                lag = f"{self.lag_bytes()} bytes and {self.log.head - self.planned_at} messages"
                raise Mistake(f"left out with {lag} behind, at {now}: {message}")
            self.left_out.append(number)
            self._count(self.shed, [number])
        self.next = max(self.next, end)

    def drained(self) -> None:
        """The transport is rid of what it had."""
        self._count(self.written, self.torn)
        self.torn.clear()

    def leave(self, torn_is_closed: bool, settled: int) -> None:
        if not self.present:
            return
        self.present = False
        if self.coming_back:
            self._count(self.log.fog, self.owed_between(self.next, settled))
            self.next = max(self.next, settled)
        self.closed = self.pending()
        self._count(self.closed if torn_is_closed else self.log.unsure, self.torn)
        self.torn.clear()

    def took(self, number: int, torn: bool) -> None:
        if torn:
            self.torn.append(number)
        else:
            self._count(self.written, [number])

    def _count(self, counts: Counts, numbers: list[int]) -> None:
        for number in numbers:
            counts[self.log.messages[number].priority - 1] += 1

    def pending(self) -> Counts:
        """What it is owed and has neither been sent nor been left out."""
        first = max(self.next, self.joined_at)
        ahead = [number for number in self.spared if number >= first]
        counts = [
            a - b - c
            for a, b, c in zip(self.log.before[-1], self.log.before[first], self.by_priority(ahead), strict=True)
        ]
        counts[0] += len(self.owed_before) - bisect_left(self.owed_before, self.next)
        return counts

    def by_priority(self, numbers: list[int]) -> Counts:
        counts = [0, 0, 0]
        self._count(counts, numbers)
        return counts

    def missed_high(self) -> list[int]:
        """The high-priority messages that it is owed and that it has not been sent."""
        first = bisect_left(self.log.high, self.next)
        return [number for number in self.log.high[first:] if self.is_owed(number)]

    def torn_high(self) -> list[int]:
        return [number for number in self.torn if self.log.messages[number].priority == HIGH]


@dataclass
class WireOracle:
    """What a connection's stream has to be: its commands in order, and between them what its places are owed."""

    framing: int
    tls: bool
    stream: bytearray = field(default_factory=bytearray)  # all that was sent, the transport's buffer at its end
    read: int = 0
    put: list[bytes] = field(default_factory=list)
    put_bytes: int = 0
    came: int = 0
    came_bytes: int = 0
    held_from: int | None = None  # from here on it waits in the transport, or did when it was last looked at
    places: list[PlaceOracle] = field(default_factory=list)
    sends: deque[int] = field(default_factory=deque)  # where in the stream each began that has not been read yet
    sent: int = 0
    unsettled: bool = False

    @property
    def unfinished(self) -> bool:
        return self.read < len(self.stream)

    def queue(self, body: bytes) -> None:
        self.put.append(body)
        self.put_bytes += len(frame(self.framing, body))

    def send(self, data: bytes) -> None:
        self.sends.append(len(self.stream))
        self.stream += data

    def hand_over(self, data: bytes) -> None:
        if self.tls:
            self.sends.append(len(self.stream))
        if self.held_from is None:
            self.held_from = len(self.stream)
        self.stream += data

    def drained(self) -> None:
        self.held_from = None
        for place in self.places:
            if place.present:
                place.drained()

    def look(self, now: int, find: Callable[[bytes], tuple[PlaceOracle, int, bytes | None] | None]) -> None:
        """Read on, as far as there are whole commands; ``find`` says whose it is, or ``None`` for a command."""
        if not self.unsettled:
            self.sent += 1
            for place in self.places:
                place.look(self.sent)
        self.unsettled = True
        while (command := first_command(self.framing, self.stream, self.read)) is not None:
            body, end = command
            while self.sends and self.sends[0] <= self.read:
                self.sends.popleft()
                self.sent += 1
            if (found := find(body)) is None:
                if self.came == len(self.put) or self.put[self.came] != body:
                    raise Mistake(f"command {self.came} is {body[:60]!r}")
                self.came += 1
                self.came_bytes += end - self.read
            else:
                place, number, suffix = found
                place.give(number, suffix, now, self.sent)
                if place.present:
                    place.took(number, self.held_from is not None and end > self.held_from)
            self.read = end
        self.read, self.held_from = self._forget()

    def _forget(self) -> tuple[int, int | None]:
        """Drop what has been read, to keep long runs quick."""
        if self.read < 65_536:
            return self.read, self.held_from
        del self.stream[: self.read]
        self.sends = deque(at - self.read for at in self.sends)
        return 0, None if self.held_from is None else max(0, self.held_from - self.read)


def check_ledger(log: LogOracle, ledger: dict[str, tuple[int, int, int]], exact: bool, loose: Counts) -> None:
    """Hold a room's ledger against the oracle's.

    Args:
        exact: Whether the oracle knows of each message what became of it; if not, only sums are compared.
        loose: Deliveries of which it knows only that they are torn or written.
    """
    if set(ledger) != {"admitted", "owed", "rejoined", *FATES}:
        raise Mistake(f"the ledger has {sorted(ledger)}")
    for at in range(3):
        row = {key: counts[at] for key, counts in ledger.items()}
        if min(row.values()) < 0 or row["owed"] != sum(row[fate] for fate in FATES):
            raise Mistake(f"priority {at + 1} does not balance: {row}")
        expected = (log.admitted[at], log.owed[at], log.rejoined[at])
        if (row["admitted"], row["owed"], row["rejoined"]) != expected:
            raise Mistake(f"priority {at + 1} has not {expected} admitted, owed and rejoined: {row}")
        if not exact:
            continue
        fog, slack = log.fog[at], log.unsure[at] + loose[at] + log.fog[at]
        known = {
            "written": sum(place.written[at] for place in log.places),
            "closed": sum(place.closed[at] for place in log.places),
            "torn": sum(place.by_priority(place.torn)[at] for place in log.places),
        }
        for fate, least in known.items():
            if not least - loose[at] <= row[fate] <= least + slack:
                raise Mistake(f"priority {at + 1} has not {least} to {least + slack} {fate}: {row}")
        if not 0 <= sum(row[fate] - least for fate, least in known.items()) - log.unsure[at] <= fog:
            raise Mistake(f"priority {at + 1} has not {known} and {log.unsure[at]} more: {row}")
        shed = sum(place.shed[at] for place in log.places)
        if not 0 <= sum(row[reason] for reason in REASONS) - shed <= fog:
            raise Mistake(f"priority {at + 1} has not shed {shed}: {row}")
        pending = sum(place.pending()[at] for place in log.places if place.present)
        if row["pending"] != pending:
            raise Mistake(f"priority {at + 1} has not {pending} pending: {row}")
    for reason, priorities in {
        "shed_age": {2, 3},
        "shed_distance": {3},
        "shed_sample": {2},
        "shed_overrun": {2, 3},
    }.items():
        if any(count for at, count in enumerate(ledger[reason]) if at + 1 not in priorities):
            raise Mistake(f"{reason} is {ledger[reason]}")
