"""Room logs without connections."""

from dataclasses import dataclass, field

from fastim.core.conversation import Kind
from fastim.core.events import Event, MessagePosted, MessagesMissed
from fastim.core.ledger import Counts, Ledger
from fastim.core.message import Message
from fastim.core.session import Session
from fastim.core.units import Millis
from fastim.ports.rooms import Missed


@dataclass
class _Place:
    """Where a session has got to.

    Attributes:
        upto: The time of the last message that reached it.
        held: What waits until it is released; ``None`` when nothing has to.
    """

    conversation_id: str
    session: Session
    upto: int
    held: list[Message] | None = None


@dataclass
class PlainLogs:
    """Fulfils the ``Logs`` protocol for messages of high priority. All others it does not hear.

    Attributes:
        begun: When its logs begin: what is older was published by somebody before it.
        kept: How many messages of a room it has at hand for those who come back.
        heard: What each session was sent, by its number.
    """

    begun: Millis
    kept: int = 0
    heard: dict[int, list[Message]] = field(default_factory=dict)
    _published: dict[str, list[Message]] = field(default_factory=dict)
    _places: dict[int, _Place] = field(default_factory=dict)

    def join(self, conversation_id: str, session: Session, missed_from: Millis | None) -> Missed | None:
        assert session.number not in self._places
        newest = self._newest(conversation_id)
        place = _Place(conversation_id, session, newest)
        self._places[session.number] = place
        if missed_from is None or missed_from > newest:
            return None
        published = self._published.get(conversation_id, [])
        owed = [message for message in published if message.timestamp >= missed_from]
        if self.begun < missed_from and len(owed) <= self.kept:
            for message in owed:
                self._send(place, message, origin=0)
            return None
        place.upto, place.held = missed_from - 1, []
        return Missed(conversation_id, missed_from, Millis(newest))

    def leave(self, session: Session) -> Millis:
        return Millis(self._places.pop(session.number).upto + 1)

    def hold(self, session: Session) -> None:
        """Let nothing reach ``session`` any more, as if its socket were full."""
        place = self._places[session.number]
        if place.held is None:
            place.held = []

    def release(self, session: Session) -> None:
        place = self._places[session.number]
        held, place.held = place.held or [], None
        place.upto = max(place.upto, self._newest(place.conversation_id))
        self.heard.setdefault(session.number, []).extend(held)

    def close(self, conversation_id: str) -> None:
        self._published.pop(conversation_id, None)
        for number in [one for one, place in self._places.items() if place.conversation_id == conversation_id]:
            del self._places[number]

    def ledger(self, conversation_id: str) -> Ledger:
        readers = sum(place.conversation_id == conversation_id for place in self._places.values())
        published = len(self._published.get(conversation_id, ()))
        return Ledger(readers=readers, messages=Counts(high=published)) if readers else Ledger()

    def holds(self, session: Session) -> bool:
        """Whether ``session`` has a place that waits to be released."""
        place = self._places.get(session.number)
        return place is not None and place.held is not None

    def place_of(self, session: Session) -> str | None:
        """The room in which ``session`` has a place, whatever its device is called; or ``None``."""
        place = self._places.get(session.number)
        return None if place is None else place.conversation_id

    def hear(self, event: Event) -> None:
        """Deliver ``event`` if it is one of those that count here."""
        if isinstance(event, MessagesMissed):
            self.heard.setdefault(event.session, []).extend(event.messages)
        elif isinstance(event, MessagePosted) and event.kind is Kind.CHAT_ROOM and event.priority == 1:
            if event.message.sequence:  # one that is not stored is nothing that anybody could be told later
                self._published.setdefault(event.conversation_id, []).append(event.message)
            for place in self._places.values():
                if place.conversation_id == event.conversation_id:
                    self._send(place, event.message, event.origin)

    def _send(self, place: _Place, message: Message, origin: int) -> None:
        if place.held is not None:
            place.held += [message] if place.session.number != origin else []
            return
        if message.sequence:
            place.upto = message.timestamp
        if place.session.number != origin:
            self.heard.setdefault(place.session.number, []).append(message)

    def _newest(self, conversation_id: str) -> int:
        published = self._published.get(conversation_id)
        return published[-1].timestamp if published else self.begun
