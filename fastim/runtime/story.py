"""Stories: what became of the last messages, for an operator who asks about one.

Nothing here is stored, and what a message says is not kept. A message is remembered when it is delivered, for the price
of a few values; what happens to it afterwards is added as long as it is remembered. The story is put together when
somebody asks for it.
"""

from collections import deque
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from fastim.core.conversation import Kind
from fastim.core.events import Event, MessagePatched, MessagePosted, MessagesReceipted
from fastim.core.hooked import content_of, verdict
from fastim.core.hooks import UNANSWERED, MessageAnswer, MessageReceived, MessageUpdate
from fastim.core.ids import personal_log
from fastim.core.ledger import Ledger
from fastim.core.message import Draft, Message
from fastim.core.units import Millis
from fastim.ports.clock import Clock
from fastim.ports.rooms import Rooms
from fastim.runtime.delivery import Delivery

STEPS_MAX: Final = 16
"""Of one message, besides those that every message has; the others are only counted."""

What = Literal[
    "received",
    "hook",
    "filtered",
    "stored",
    "delivered",
    "shed",
    "receipt",
    "pushed",
    "push_failed",
    "read",
    "recalled",
    "modified",
]
_RANKS: Final[dict[str, int]] = {
    what: rank for rank, what in enumerate(("received", "hook", "filtered", "stored", "delivered"))
}
"""What comes before what within a millisecond."""
Verdict = Literal["passed", "replaced", "ignored", "failed"]

_ROOM: Final = Kind.CHAT_ROOM
_SERVICE: Final = Kind.SYSTEM
_MASK: Final = b"***"
_SENT: Final = "sent"


class Step(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that happened to a message.

    Attributes:
        at: When, in milliseconds since the epoch.
        hook: Of a hook: LeanCloud's name of it.
        verdict: Of a hook: it let the message ``passed`` or had it ``replaced``; what it wanted was ``ignored``, since
            it could not be; or it ``failed`` and was gone on without.
        receivers: Of a hook: how many it chose to get the message.
        hits: Of the word filter: places that were masked.
        sessions: Of a delivery: those that it was handed to at once.
        withheld: Of a delivery: sessions that were too far behind to be handed anything.
        readers: Of a delivery in a chat room: clients who were there.
        priority: The same: 1 high, 2 normal, 3 low.
        client_id: Whose device received or read it, or who was pushed something.
        provider: Of a push: its way.
        outcome: Of a push that has failed: ``later``, when it is tried again, ``dead``, ``refused``, ``expired`` or
            ``gone``.
        times: How often the same has happened; ``at`` is when it last did.
        code: What a hook gave as its own code, where it did.
        shed: Of a chat room: what was shed there by the time that the story is told, of all messages and for all
            readers, by priority and reason.
    """

    at: Millis
    what: What
    hook: str | None = None
    verdict: Verdict | None = None
    receivers: int | None = None
    hits: int | None = None
    sessions: int | None = None
    withheld: int | None = None
    readers: int | None = None
    priority: int | None = None
    client_id: str | None = None
    provider: str | None = None
    outcome: str | None = None
    times: int | None = None
    code: int | None = None
    shed: dict[str, dict[str, int]] | None = None


class Told(Struct, frozen=True):
    """A message's story.

    Attributes:
        log_id: Where it is, if it is stored.
        kind: Of its conversation; ``None``: not known.
        steps: In the order in which they happened.
        left_out: Steps that there were too many of.
    """

    conversation_id: str
    log_id: str
    kind: Kind | None
    steps: tuple[Step, ...]
    left_out: int


class Stories:
    """The stories of one application's last messages; fulfils the ``Story`` port.

    Args:
        delivery: Hears every event before ``hear`` does.
        rooms: Those that ``delivery`` delivers to.
        messages: So many are remembered.
    """

    def __init__(self, clock: Clock, delivery: Delivery, rooms: Rooms, messages: int) -> None:
        self._clock: Final = clock
        self._delivery: Final = delivery
        self._rooms: Final = rooms
        self._messages: Final = messages
        self._kept: Final[dict[str, _Kept]] = {}
        self._order: Final[deque[str]] = deque()
        self._delivered = delivery.delivered
        self._withheld = delivery.withheld

    def __len__(self) -> int:
        """How many messages are remembered."""
        return len(self._kept)

    def hear(self, event: Event) -> None:
        """Take note of what happened."""
        if type(event) is MessagePosted:
            self._posted(event)
        elif type(event) is MessagePatched:
            self._patched(event)
        elif type(event) is MessagesReceipted:
            self._receipted(event)

    def judged(
        self, conversation_id: str, message: Message, answer: MessageAnswer | None, given: Draft | Message
    ) -> None:
        kept = self._remember(message.id, conversation_id)
        changed = message.patched_at > 0
        at = message.patched_at if changed else message.timestamp
        if answer is not None:
            kept.add(_asked(at, answer, given, changed=changed))
        hits = message.body.count(_MASK) - given.body.count(_MASK) if message.body != given.body else 0
        if hits > 0:
            kept.add(Step(at=at, what="filtered", hits=hits))

    def hear_word(self, message_id: str, client_id: str, provider: str, word: str) -> None:
        """Take note of what has become of a notification."""
        kept = self._kept.get(message_id)
        if kept is None:
            return
        now = self._clock.now()
        if word == _SENT:
            kept.add(Step(at=now, what="pushed", client_id=client_id, provider=provider))
        else:
            kept.add(Step(at=now, what="push_failed", client_id=client_id, provider=provider, outcome=word))

    def tell(self, message_id: str) -> Told | None:
        """The story of a message; ``None`` when it is not remembered."""
        kept = self._kept.get(message_id)
        if kept is None:
            return None
        log_id = personal_log(kept.conversation_id, kept.owner) if kept.owner else kept.conversation_id
        steps = [*_first_steps(kept), *(kept.steps or ())]
        if kept.kind is Kind.CHAT_ROOM and kept.posted_at:
            ledger = self._rooms.ledger(kept.conversation_id)
            steps.append(Step(at=self._clock.now(), what="shed", shed=_shed(ledger)))
        steps.sort(key=lambda step: (step.at, _RANKS.get(step.what, len(_RANKS))))
        return Told(kept.conversation_id, log_id, kept.kind, tuple(steps), kept.left_out)

    def _posted(self, event: MessagePosted) -> None:
        # Of every message: it may take a microsecond, and nothing for each recipient.
        message, kind, delivery = event.message, event.kind, self._delivery
        sessions, self._delivered = delivery.delivered - self._delivered, delivery.delivered
        withheld, self._withheld = delivery.withheld - self._withheld, delivery.withheld
        if message.id in self._kept:
            self._post_again(event, sessions, withheld)
            return
        self._keep(
            message.id,
            _Kept(
                event.conversation_id,
                kind,
                self._clock.now(),
                message.timestamp,
                message.sequence > 0,
                event.priority,
                self._rooms.count(event.conversation_id) if kind is _ROOM else 0,
                sessions,
                withheld,
                _owner(event) if kind is _SERVICE else "",
            ),
        )

    def _post_again(self, event: MessagePosted, sessions: int, withheld: int) -> None:
        """A hook was asked about it before; or it is written to many, each of whom has it in a log of its own."""
        kept = self._kept[event.message.id]
        kept.kind = event.kind
        kept.posted_at = self._clock.now()
        kept.timestamp = event.message.timestamp
        kept.stored = event.message.sequence > 0
        kept.priority = event.priority
        kept.readers = self._rooms.count(event.conversation_id)
        kept.sessions += sessions
        kept.withheld += withheld
        kept.owner = _owner(event)

    def _patched(self, event: MessagePatched) -> None:
        if event.only:  # its sender alone is told how it reads
            return
        kept = self._remember(event.message.id, event.conversation_id)
        kept.kind = event.kind
        kept.add(Step(at=event.message.patched_at, what="recalled" if event.message.recalled else "modified"))

    def _receipted(self, event: MessagesReceipted) -> None:
        for message_id in event.message_ids:
            kept = self._kept.get(message_id)
            if kept is not None:
                kept.add(Step(at=event.at, what="read" if event.read else "receipt", client_id=event.by))

    def _remember(self, message_id: str, conversation_id: str) -> "_Kept":
        kept = self._kept.get(message_id)
        if kept is None:
            kept = _Kept(conversation_id)
            self._keep(message_id, kept)
        return kept

    def _keep(self, message_id: str, kept: "_Kept") -> None:
        self._kept[message_id] = kept
        order = self._order
        order.append(message_id)
        if len(order) > self._messages:
            del self._kept[order.popleft()]


class _Kept(Struct, gc=False):  # nothing in it could be part of a cycle
    """What is remembered of a message.

    Attributes:
        posted_at: When it was delivered; 0: it was not, as far as is known.
        owner: Whose log of its own in a service conversation it may be in; empty: nobody's.
    """

    conversation_id: str
    kind: Kind | None = None
    posted_at: Millis = Millis(0)
    timestamp: Millis = Millis(0)
    stored: bool = False
    priority: int = 0
    readers: int = 0
    sessions: int = 0
    withheld: int = 0
    owner: str = ""
    steps: list[Step] | None = None
    left_out: int = 0

    def add(self, step: Step) -> None:
        """Add a step; one that is the same but for its time takes the place of the one before."""
        if step.at < self.timestamp:  # which may run ahead of the clock
            step = replace(step, at=self.timestamp)
        steps = self.steps = self.steps if self.steps is not None else []
        for index, other in enumerate(steps):
            if replace(step, at=other.at, times=other.times) == other:
                steps[index] = replace(step, times=(other.times or 1) + 1)
                return
        if len(steps) < STEPS_MAX:
            steps.append(step)
        else:
            self.left_out += 1


def _asked(at: Millis, answer: MessageAnswer, given: Draft | Message, *, changed: bool) -> Step:
    kind = MessageUpdate if changed else MessageReceived
    word: Verdict = "passed"
    if answer is UNANSWERED[kind]:
        word = "failed"
    elif answer.content is not None:
        word = "replaced" if content_of(given) == answer.content else "ignored"
    receivers = None if answer.to_peers is None else len(answer.to_peers)
    code = verdict(answer)[0] or None
    return Step(at=at, what="hook", hook=kind.hook, verdict=word, receivers=receivers, code=code)


def _owner(event: MessagePosted) -> str:
    """Whose log of its own a service conversation's message may be in; empty: nobody's."""
    return event.recipients[0] if event.kind is Kind.SYSTEM and len(event.recipients) == 1 else ""


def _first_steps(kept: _Kept) -> list[Step]:
    """What every message goes through."""
    if not kept.posted_at:
        return []
    at = max(kept.posted_at, kept.timestamp)
    steps = [Step(at=kept.timestamp, what="received")]
    if kept.stored:
        steps.append(Step(at=at, what="stored"))
    if kept.kind is Kind.CHAT_ROOM:
        steps.append(Step(at=at, what="delivered", readers=kept.readers, priority=kept.priority))
    else:
        steps.append(Step(at=at, what="delivered", sessions=kept.sessions, withheld=kept.withheld or None))
    return steps


def _shed(ledger: Ledger) -> dict[str, dict[str, int]]:
    """What was shed, by priority and reason."""
    reasons = {
        "age": ledger.shed_age,
        "distance": ledger.shed_distance,
        "sample": ledger.shed_sample,
        "overrun": ledger.shed_overrun,
    }
    return {
        priority: {reason: getattr(counts, priority) for reason, counts in reasons.items()}
        for priority in ("high", "normal", "low")
    }
