"""Room logs: where a chat room's messages are written once, and each session in it has a place.

Who is in a room is decided elsewhere; here a session that is in one gets a place in its log: at the end or, when it
comes back, where it left off. What the log no longer has of what it missed, the store has to say.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from fastim._fanout import Fanout, Place, RoomLog
from fastim.core.admit import HIGH_PRIORITY
from fastim.core.events import MessagePosted
from fastim.core.ledger import Counts, Ledger
from fastim.core.policy import URGENT_KEPT_MILLIS
from fastim.core.session import Config, Session
from fastim.core.units import Millis
from fastim.ports.clock import Clock
from fastim.ports.rooms import Missed
from fastim.runtime.presence import Attached, Presence
from fastim.wire import codec

NOT_KEPT = -1
"""The time of what nobody who comes back is sent: it is transient, or is asked for by other means."""


class Seat:
    """A session in a room.

    Attributes:
        conversation_id: The room.
        place: In the room's log; ``None`` when its connection was lost before it got one.
        missed_from: What the place would say if there were one.
    """

    __slots__ = ("conversation_id", "missed_from", "place")

    def __init__(self, conversation_id: str, place: Place | None, missed_from: Millis = Millis(0)) -> None:
        self.conversation_id = conversation_id
        self.place = place
        self.missed_from = missed_from


class Room:
    """A log, and who has a place in it.

    Attributes:
        seats: By the session's number.
        old: Numbers of the sessions that know nothing of changed messages.
        gathered_bytes: What was posted since the room was last served because of that.
    """

    __slots__ = ("gathered_bytes", "log", "old", "seats")

    def __init__(self, log: RoomLog) -> None:
        self.log = log
        self.gathered_bytes = 0
        self.seats: dict[int, Seat] = {}
        self.old: set[int] = set()


class RoomLogs:
    """The logs of one application's chat rooms on this node, as long as somebody is there; fulfils ``Logs``.

    Args:
        window_bytes: What ``fanout`` keeps of one room.
    """

    def __init__(self, fanout: Fanout, presence: Presence, clock: Clock, window_bytes: int) -> None:
        self._fanout = fanout
        self._most_gathered_bytes = window_bytes // 4
        self._presence = presence
        self._clock = clock
        self._rooms: dict[str, Room] = {}
        self._seats: dict[int, Seat] = {}
        self._newest = Newest(clock.now())

    def __len__(self) -> int:
        """How many rooms there are."""
        return len(self._rooms)

    def ids(self) -> list[str]:
        """The rooms there are."""
        return list(self._rooms)

    def readers(self, conversation_id: str) -> int:
        """How many sessions are in that room."""
        room = self._rooms.get(conversation_id)
        return 0 if room is None else room.log.readers

    def join(self, conversation_id: str, session: Session, missed_from: Millis | None) -> Missed | None:
        attached = self._presence.find(session.client_id, session.number)
        if attached is None or attached.connection.lost:
            # It is gone already, and its end is under way: until then it keeps what it came with.
            left = self._clock.now() if missed_from is None else missed_from
            self._seats[session.number] = Seat(conversation_id, None, left)
            return None
        room = self._rooms.get(conversation_id)
        if room is None:
            room = self._rooms[conversation_id] = Room(RoomLog(self._fanout, self._newest.of(conversation_id)))
        missed = None
        if missed_from is not None and not room.log.reaches(missed_from):
            missed = Missed(conversation_id, missed_from, Millis(room.log.high_timestamp))
        since = -1 if missed_from is None or missed is not None else missed_from
        place = room.log.join(
            attached.connection.wire,
            _suffix(attached),
            since=since,
            own=hash(session.client_id),
            told=_teller(attached, conversation_id),
        )
        if missed is not None:
            place.hold()
        self._seats[session.number] = room.seats[session.number] = Seat(conversation_id, place)
        if Config.PATCHES not in session.config:
            room.old.add(session.number)
        return missed

    def leave(self, session: Session) -> Millis:
        seat = self._seats.pop(session.number)
        if seat.place is None:
            return seat.missed_from
        seat.place.leave()
        room = self._rooms.get(seat.conversation_id)
        if room is not None:
            room.seats.pop(session.number, None)
            room.old.discard(session.number)
            if not room.seats:
                del self._rooms[seat.conversation_id]
        return Millis(seat.place.missed_since)

    def release(self, session: Session) -> None:
        seat = self._seats.get(session.number)
        if seat is not None and seat.place is not None:
            seat.place.release()

    def close(self, conversation_id: str) -> None:
        room = self._rooms.pop(conversation_id, None)
        if room is not None:
            for number, seat in room.seats.items():
                del self._seats[number]
                if seat.place is not None:
                    seat.place.leave()

    def ledger(self, conversation_id: str) -> Ledger:
        room = self._rooms.get(conversation_id)
        return Ledger() if room is None else Ledger(readers=room.log.readers, **_counted(room.log.ledger()))

    # -- what delivery calls --

    def post(self, event: MessagePosted, encode: Callable[[], bytes], without: Iterable[int]) -> None:
        """Write a message into its room's log.

        Args:
            encode: The message as it is sent; not called when nobody is there.
            without: Numbers of the sessions that do not get it.
        """
        message = event.message
        lasting = event.priority == HIGH_PRIORITY and message.sequence > 0
        if lasting:
            self._newest.note(event.conversation_id, message.timestamp)
        room = self._rooms.get(event.conversation_id)
        if room is not None:
            body = encode()
            room.log.admit(
                body,
                event.priority,
                hash(message.sender),
                message.timestamp if lasting else NOT_KEPT,
                self._places(event.conversation_id, without),
            )
            # One commit of the store may bring more than the window: those who do not lag must not lose any of it.
            room.gathered_bytes += len(body)
            if room.gathered_bytes >= self._most_gathered_bytes:
                room.gathered_bytes = 0
                self._fanout.turn()

    def announce(self, conversation_id: str, body: bytes, origin: int, *, patch: bool) -> None:
        """Tell everybody in a room of what is no message; it comes behind all messages before it, and is never shed.

        Args:
            origin: Number of the session that is not told; 0 for none.
            patch: Whether it is a changed message, of which old clients know nothing.
        """
        room = self._rooms.get(conversation_id)
        if room is not None:
            without = self._places(conversation_id, {origin, *room.old} if patch else (origin,))
            room.log.admit(body, HIGH_PRIORITY, 0, NOT_KEPT, without)

    def silence(self, session: Session) -> None:
        """The session has ended: nothing of its room reaches it any more, although it has not left yet."""
        seat = self._seats.get(session.number)
        if seat is not None and seat.place is not None:
            seat.place.leave()

    def _places(self, conversation_id: str, numbers: Iterable[int]) -> list[Place]:
        """The places that sessions with these numbers have in that room."""
        seats = (self._seats.get(number) for number in numbers)
        return [
            seat.place
            for seat in seats
            if seat is not None and seat.place is not None and seat.conversation_id == conversation_id
        ]

    def name(self, session: Session) -> None:
        """The session shares its connection from now on: what it is sent has to say that it is for it."""
        seat = self._seats.get(session.number)
        attached = self._presence.find(session.client_id, session.number)
        if seat is not None and seat.place is not None and attached is not None:
            seat.place.name(attached.suffix)


class Newest:
    """When the newest lasting message of high priority was, of each room that had one lately.

    A log that is made anew begins there: what is older the store has, what is newer comes into the log.

    Args:
        started: Before anything came.
    """

    def __init__(self, started: Millis) -> None:
        self._started = started
        self._timestamps: dict[str, Millis] = {}

    def of(self, conversation_id: str) -> Millis:
        return self._timestamps.get(conversation_id, self._started)

    def note(self, conversation_id: str, timestamp: Millis) -> None:
        """That is the newest one now. Rooms whose newest the store forgets are forgotten."""
        self._timestamps.pop(conversation_id, None)
        self._timestamps[conversation_id] = timestamp
        while self._timestamps[oldest := next(iter(self._timestamps))] < timestamp - URGENT_KEPT_MILLIS:
            del self._timestamps[oldest]


def _counted(numbers: Mapping[str, tuple[int, int, int]]) -> dict[str, Counts]:
    """What a native ledger says, in the terms of ``Ledger``."""
    return {"messages" if name == "admitted" else name: Counts(*three) for name, three in numbers.items()}


def _suffix(attached: Attached) -> bytes | None:
    """What completes a command for the session: nothing for a client of our own that is alone on its connection.

    SDKs that could do without now and then gain nothing by it: naming them costs the server next to nothing.
    """
    if Config.GAP_NOTICES in attached.session.config and len(attached.connection.link.sessions) == 1:
        return None
    return attached.suffix


def _teller(attached: Attached, conversation_id: str) -> partial[None] | None:
    """Who tells the session of what was shed, if it understands that."""
    return partial(_tell_gap, attached, conversation_id) if Config.GAP_NOTICES in attached.session.config else None


def _tell_gap(attached: Attached, conversation_id: str, shed: tuple[int, int, int]) -> None:
    attached.connection.send(codec.encode_gap(conversation_id, shed), attached.suffix)
