"""Everything that clients do with conversations, against a model in which it is plain what has to come out.

The model knows who belongs where, what was said, what each member has read and received, and what each device has seen.
A device keeps what events and answers tell it, as SDKs do; online, and again when it comes back, that has to be true.
"""

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar, cast

import anyio
import msgspec
import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from fastim.adapters.lmdb import LmdbStore
from fastim.adapters.lmdb.verify import verify
from fastim.adapters.memory import MemoryStore
from fastim.core.commands import (
    Acknowledge,
    AddMembers,
    CloseSession,
    MarkRead,
    OpenSession,
    PatchMessage,
    QueryConversations,
    QueryReceipts,
    ReadHistory,
    ReadMark,
    RemoveMembers,
    Send,
    StartConversation,
)
from fastim.core.errors import (
    ConversationNotFound,
    HistoryRejected,
    InvalidTarget,
    MembershipRequired,
    MessageNotFound,
    MessageNotOwned,
    NormalConversationRequired,
    Refusal,
)
from fastim.core.events import (
    Event,
    MessagePatched,
    MessagePosted,
    MessagesReceipted,
    PatchesMissed,
    UnreadChanged,
)
from fastim.core.message import Message, Position
from fastim.core.patch import RECALLED_BODY
from fastim.core.policy import Policy
from fastim.core.replies import Acked, Patched, Receipts
from fastim.core.retention import Retention
from fastim.core.session import Session
from fastim.core.units import Millis
from fastim.runtime.lanes import LocalLanes
from fastim.runtime.pace import SharedPace
from fastim.service.conversations import query_conversations, start_conversation
from fastim.service.io import Io
from fastim.service.members import add_members, remove_members
from fastim.service.messages import read_history, send_message
from fastim.service.patches import patch_message, replay_patches
from fastim.service.receipts import acknowledge, query_receipts
from fastim.service.sessions import close_session, end_session
from fastim.service.unread import mark_read, tell_unread
from tests.fakes.bus import RecordingBus
from tests.fakes.lanes import TrioLanes
from tests.fakes.running import schedules
from tests.fakes.store import PacedStore
from tests.fakes.world import EVERYTHING, World, written

R = TypeVar("R")
CLIENTS = ("ann", "ben", "cat")
DEVICES = ("phone", "tablet")
DAY = 24 * 3_600_000
TALKS_MAX = 5
STEP_BACK_MAX = 60_000
"""How far the clock may go back, in milliseconds, and nothing is missed all the same."""
EXAMPLES = settings().max_examples
"""As the profile has it: a longer one makes these tests longer."""

numbers = st.integers(0, 1_000_000)
"""Picks one of several, whatever their number."""
lines = st.tuples(
    numbers, st.booleans(), st.sets(st.sampled_from(CLIENTS), max_size=1), st.sampled_from([False, False, False, True])
)
"""What is said: where, whether a receipt is asked for, and who is mentioned."""


@dataclass
class Said:
    """A message."""

    sequence: int
    id: str
    timestamp: int
    sender: str
    body: bytes
    token: str
    receipt: bool
    mentions: frozenset[str]
    patched_at: int = 0
    recalled: bool = False
    received: set[str] = field(default_factory=set)

    @property
    def position(self) -> Position:
        return Position(Millis(self.timestamp), self.id)


@dataclass
class Belonging:
    """What a member of a conversation has read; what was said before it came was read and received."""

    read: int
    since: int


@dataclass
class Talk:
    """A conversation."""

    id: str
    temporary: bool
    ends_at: int | None
    members: dict[str, Belonging]
    said: list[Said] = field(default_factory=list)

    def unread(self, client_id: str) -> tuple[int, bool]:
        left = [one for one in self.said[self.members[client_id].read :] if one.sender != client_id]
        return len(left), any(client_id in one.mentions for one in left)


@dataclass
class Device:
    """What a device knows, and what it tells the server that it knows.

    Attributes:
        session: ``None`` while it is away.
        told: When it was last told unread counts.
        lowest: The lowest that the clock showed since then.
        patched: The last patch that it has seen.
        unread: Counts and mentions, by conversation.
        bodies: When each message was last patched and what it says then, by conversation and message.
    """

    client_id: str
    name: str
    session: Session | None = None
    told: int = 0
    lowest: int = 0
    patched: int = 0
    unread: dict[str, tuple[int, bool]] = field(default_factory=dict)
    bodies: dict[str, dict[str, tuple[int, bytes]]] = field(default_factory=dict)

    def learn(self, conversation_id: str, message: Message) -> None:
        known = self.bodies.setdefault(conversation_id, {})
        if message.patched_at >= known.get(message.id, (0, b""))[0]:
            known[message.id] = (message.patched_at, message.body)

    def forget(self, conversation_id: str) -> None:
        self.unread.pop(conversation_id, None)
        self.bodies.pop(conversation_id, None)

    def hear(self, event: Event) -> None:
        """What an SDK makes of an event that reaches its session."""
        assert self.session is not None
        match event:
            case MessagePosted() if self.client_id in event.recipients and event.origin != self.session.number:
                self.learn(event.conversation_id, event.message)
                if event.message.sender != self.client_id:
                    before, mentioned = self.unread.get(event.conversation_id, (0, False))
                    addressed = event.message.mention_all or self.client_id in event.message.mentions
                    self.unread[event.conversation_id] = (before + 1, mentioned or addressed)
            case MessagePatched() if self.client_id in event.recipients and event.origin != self.session.number:
                self.patched = max(self.patched, event.message.patched_at)
                if event.message.id in self.bodies.get(event.conversation_id, {}):
                    self.learn(event.conversation_id, event.message)
            case PatchesMissed() if event.session == self.session.number:
                for missed in event.patches:
                    self.patched = max(self.patched, missed.message.patched_at)
                    if missed.message.id in self.bodies.get(missed.conversation_id, {}):
                        self.learn(missed.conversation_id, missed.message)
            case UnreadChanged() if self.client_id == event.client_id and event.session in (0, self.session.number):
                self.told = self.lowest = event.at
                for notice in event.notices:
                    self.unread[notice.conversation_id] = (notice.count, notice.mentioned)


class MemoryStage:
    """The use cases on the fakes: under trio, on a store that takes its time. Each run is a trio of its own."""

    def __init__(self) -> None:
        self._whole = MemoryStore()
        self._application = trio.run(_waited, lambda: self._whole.save_application("app", "key", "master", "hook"))
        self._part = self._whole.of(self._application)
        self.world = World(self._application, Policy(), PacedStore(self._part), self._whole)

    def run(self, act: Callable[[], Awaitable[R]]) -> R:
        return trio.run(self._staged, act)

    def restart(self) -> None:
        """A store in memory has nothing to come back from."""

    def close(self) -> None:
        pass

    async def _staged(self, act: Callable[[], Awaitable[R]]) -> R:
        store = PacedStore(self._part)
        trio.lowlevel.spawn_system_task(store.run)
        self.world.io = replace(self.world.io, store=store, lanes=TrioLanes())
        return await act()


class LmdbStage:
    """The use cases as the server runs them: under asyncio, on a store on disk."""

    def __init__(self) -> None:
        self._path = Path(tempfile.mkdtemp())
        self._runner = asyncio.Runner()
        self.world = self._runner.run(self._open())

    def run(self, act: Callable[[], Awaitable[R]]) -> R:
        return self._runner.run(_waited(act))

    def restart(self) -> None:
        before = self.world
        self._runner.run(self._whole.close())
        self.world = self._runner.run(self._open())
        self.world.clock.set(before.clock.now())
        self.world.io = replace(self.world.io, entropy=before.io.entropy)

    def close(self) -> None:
        self._runner.run(self._whole.close())
        self._runner.close()
        assert verify(self._path).problems == ()
        shutil.rmtree(self._path)

    async def _open(self) -> World:
        self._whole = LmdbStore.open(self._path, map_bytes=1 << 20)
        application = await self._whole.save_application("app", "key", "master", "hook")
        part = self._whole.of(application)
        world = World(application, Policy(), cast(Any, part), cast(Any, self._whole))
        world.bus = _PromptBus()
        world.io = replace(world.io, bus=world.bus, lanes=LocalLanes(), pace=SharedPace())
        return world


class _PromptBus(RecordingBus):
    async def publish(self, event: Event) -> None:
        self.events.append(event)


async def _waited(act: Callable[[], Awaitable[R]]) -> R:
    return await act()


Receipt = tuple[str, str, tuple[str, ...], bool]
"""The sender who is told, whose receipt it is, of which messages, and whether they were read."""


class Conversing(RuleBasedStateMachine):
    """Members come and go, talk, take things back, read, go away and come back, while the clock does as it likes."""

    stage: MemoryStage | LmdbStage

    @initialize()
    def begin(self) -> None:
        self.talks: list[Talk] = []
        self.uniques: dict[tuple[bool, frozenset[str]], str] = {}
        self.devices = [Device(client_id, name) for client_id in CLIENTS for name in DEVICES]
        self.sent = count(1)
        self.last_patch = 0
        self.owed: Counter[Receipt] = Counter()
        self.posted: list[MessagePosted] = []
        for device in self.devices[:-1]:
            self.connect(device)
        self.start(0, {"ben"}, "")
        self.start(2, {"ann", "cat"}, "unique")

    # What everything below is made of.

    @property
    def io(self) -> Io:
        return self.stage.world.io

    @property
    def now(self) -> int:
        return self.stage.world.clock.now()

    def do(self, use_case: Callable[..., Awaitable[R]], *args: Any) -> R:
        return self.stage.run(lambda: use_case(self.io, *args))

    def refused(self, refusal: type[Refusal], use_case: Callable[..., Awaitable[Any]], *args: Any) -> None:
        with pytest.raises(refusal) as raised:
            self.do(use_case, *args)
        assert type(raised.value) is refusal

    def online(self) -> list[Device]:
        return [device for device in self.devices if device.session is not None]

    def pick(self, number: int, options: Sequence[R]) -> R:
        return options[number % len(options)]

    def places(self) -> list[tuple[Device, Talk]]:
        """Every device that is online, with every conversation that its client belongs to."""
        return [(device, talk) for device in self.online() for talk in self.talks if device.client_id in talk.members]

    def strangers(self) -> list[tuple[Device, Talk]]:
        return [
            (device, talk) for device in self.online() for talk in self.talks if device.client_id not in talk.members
        ]

    def spoken(self) -> list[tuple[Device, Talk]]:
        return [(device, talk) for device, talk in self.places() if talk.said]

    def hear(self) -> list[Event]:
        """Hand out what was published since the last time."""
        events = list(self.stage.world.bus.events)
        self.stage.world.bus.events.clear()
        for event in events:
            for device in self.online():
                device.hear(event)
            if isinstance(event, UnreadChanged):
                self.check_notices(event)
            if isinstance(event, MessagesReceipted):
                self.owed[event.client_id, event.by, event.message_ids, event.read] -= 1
            if isinstance(event, MessagePosted):
                self.posted.append(event)
        return events

    def check_notices(self, event: UnreadChanged) -> None:
        """What is told of a conversation is true: its count, and its last message as it reads now."""
        for notice in event.notices:
            (talk,) = (one for one in self.talks if one.id == notice.conversation_id)
            assert (notice.count, notice.mentioned) == talk.unread(event.client_id)
            last = None if notice.last is None else (notice.last.id, notice.last.body)
            assert last == ((talk.said[-1].id, talk.said[-1].body) if talk.said else None)

    def connect(self, device: Device) -> None:
        opening = OpenSession(config=EVERYTHING, device=device.name)
        device.session, _ = self.stage.run(lambda: self.stage.world.open(device.client_id, opening))
        self.hear()

    def note(self, talk: Talk, device: Device, command: Send, acked: Acked) -> None:
        """A message is there: the model has it, and the device that sent it."""
        last = talk.said[-1].timestamp if talk.said else 0
        assert acked.timestamp == max(self.now, last + 1)
        mentioned = CLIENTS if command.mention_all else command.mentions
        said = Said(
            sequence=len(talk.said) + 1,
            id=acked.message_id,
            timestamp=acked.timestamp,
            sender=device.client_id,
            body=command.body,
            token=command.token,
            receipt=command.receipt and len(talk.members) <= 2,
            mentions=frozenset(mentioned) - {device.client_id},
        )
        talk.said.append(said)
        device.bodies.setdefault(talk.id, {})[said.id] = (0, said.body)

    def note_patch(self, device: Device, talk: Talk, said: Said, command: PatchMessage, at: int) -> None:
        """A message has another body: the model has it, and the device that changed it."""
        assert at == max(self.now, said.timestamp + 1, self.last_patch + 1)
        self.last_patch = said.patched_at = at
        said.recalled = command.recall
        said.body = RECALLED_BODY if command.recall else command.body
        if said.id in device.bodies.get(talk.id, {}):
            device.bodies[talk.id][said.id] = (at, said.body)

    def received(self, talk: Talk, client_id: str, upto: int) -> None:
        """The member has messages up to a sequence: whoever wants to know is owed a receipt for each."""
        news: dict[str, list[str]] = {}
        for said in talk.said[talk.members[client_id].since : upto]:
            if said.receipt and said.sender != client_id and client_id not in said.received:
                news.setdefault(said.sender, []).append(said.id)
                said.received.add(client_id)
        for sender, ids in news.items():
            self.owed[sender, client_id, tuple(ids), False] += 1

    # What clients do.

    @precondition(lambda self: self.online() and len(self.talks) < TALKS_MAX)
    @rule(
        who=numbers, others=st.sets(st.sampled_from(CLIENTS), max_size=2), how=st.sampled_from(["", "unique", "temp"])
    )
    def start(self, who: int, others: set[str], how: str) -> None:
        device = self.pick(who, self.online())
        temporary = how == "temp"
        command = StartConversation(
            tuple(sorted(others)), unique=how == "unique", temporary=temporary, ttl_seconds=3_600 if temporary else None
        )
        started = self.do(start_conversation, device.session, command)
        members = (device.client_id, *sorted(others - {device.client_id}))
        known = self.uniques.get((temporary, frozenset(members))) if how else None
        assert started.existing == (known is not None)
        if known is not None:
            assert started.conversation_id == known
            return
        ends_at = started.created_at + DAY // 24 if temporary else None
        memberships = {client_id: Belonging(0, 0) for client_id in members}
        self.talks.append(Talk(started.conversation_id, temporary, ends_at, memberships))
        if how:
            self.uniques[temporary, frozenset(members)] = started.conversation_id

    @precondition(lambda self: self.places())
    @rule(where=numbers, clients=st.lists(st.sampled_from(CLIENTS), min_size=1, max_size=2, unique=True))
    def add(self, where: int, clients: list[str]) -> None:
        device, talk = self.pick(where, self.places())
        command = AddMembers(talk.id, tuple(clients))
        if talk.temporary:
            self.refused(NormalConversationRequired, add_members, device.session, command)
            return
        changed = self.do(add_members, device.session, command)
        assert changed.allowed == tuple(clients)
        for client_id in clients:
            talk.members.setdefault(client_id, Belonging(len(talk.said), len(talk.said)))

    @precondition(lambda self: self.strangers())
    @rule(where=numbers)
    def join(self, where: int) -> None:
        device, talk = self.pick(where, self.strangers())
        command = AddMembers(talk.id, (device.client_id,))
        if talk.temporary:
            self.refused(NormalConversationRequired, add_members, device.session, command)
            return
        self.do(add_members, device.session, command)
        talk.members[device.client_id] = Belonging(len(talk.said), len(talk.said))

    @precondition(lambda self: self.places())
    @rule(where=numbers, client_id=st.sampled_from(CLIENTS))
    def remove(self, where: int, client_id: str) -> None:
        device, talk = self.pick(where, self.places())
        command = RemoveMembers(talk.id, (client_id,))
        if talk.temporary:
            self.refused(NormalConversationRequired, remove_members, device.session, command)
            return
        self.do(remove_members, device.session, command)
        if talk.members.pop(client_id, None) is not None:
            for said in talk.said:
                said.received.discard(client_id)
            for other in self.devices:
                if other.client_id == client_id:
                    other.forget(talk.id)

    @precondition(lambda self: self.strangers())
    @rule(where=numbers)
    def intrude(self, where: int) -> None:
        """Who does not belong there sees nothing and says nothing."""
        device, talk = self.pick(where, self.strangers())
        session = device.session
        self.refused(InvalidTarget, send_message, session, written(talk.id))
        self.refused(HistoryRejected, read_history, session, ReadHistory(talk.id))
        self.refused(MembershipRequired, query_receipts, session, QueryReceipts(talk.id))
        if talk.said:
            command = PatchMessage(talk.id, talk.said[0].position, recall=True)
            self.refused(MembershipRequired, patch_message, session, command)
        self.do(mark_read, session, MarkRead((ReadMark(talk.id),)))
        self.do(acknowledge, session, Acknowledge(talk.id, until=Millis(self.now + DAY)))
        assert self.hear() == []

    def message(self, talk: Talk, receipt: bool, mentions: set[str], everybody: bool) -> Send:
        number = next(self.sent)
        return written(
            talk.id,
            f"message {number}",
            token=f"token {number}",
            receipt=receipt,
            mentions=tuple(sorted(mentions)),
            mention_all=everybody,
        )

    @precondition(lambda self: self.places())
    @rule(lines=st.lists(lines, min_size=1, max_size=6))
    def talk(self, lines: list[tuple[int, bool, set[str], bool]]) -> None:
        for where, receipt, mentions, everybody in lines:
            device, talk = self.pick(where, self.places())
            self.say(device, talk, self.message(talk, receipt, mentions, everybody))

    def all_say_something(self, talk: Talk) -> None:
        for device, there in self.places():
            if there is talk:
                self.say(device, talk, self.message(talk, False, set(), False))

    def say(self, device: Device, talk: Talk, command: Send) -> None:
        acked = self.do(send_message, device.session, command)
        assert acked is not None
        self.note(talk, device, command, acked)
        self.hear()

    @precondition(lambda self: self.spoken())
    @rule(where=numbers, which=numbers)
    def resend(self, where: int, which: int) -> None:
        """A message whose ack was lost is sent again, and is the same message."""
        device, talk = self.pick(where, self.spoken())
        token = self.pick(which, talk.said).token
        command = written(talk.id, "once more", token=token)
        acked = self.do(send_message, device.session, command)
        assert acked is not None
        known = [one for one in talk.said if (one.sender, one.token) == (device.client_id, token)]
        if known:
            assert (acked.message_id, acked.timestamp) == (known[0].id, known[0].timestamp)
            assert self.hear() == []
        else:  # tokens are each sender's own
            self.note(talk, device, command, acked)

    @precondition(lambda self: self.spoken())
    @rule(where=numbers, which=numbers, recall=st.booleans())
    def patch(self, where: int, which: int, recall: bool) -> None:
        device, talk = self.pick(where, self.spoken())
        said = self.pick(which, talk.said)
        body = f"modified {next(self.sent)}".encode()
        command = PatchMessage(talk.id, said.position, recall=recall, body=body)
        if said.sender != device.client_id:
            self.refused(MessageNotOwned, patch_message, device.session, command)
        elif said.recalled and not recall:
            self.refused(MessageNotFound, patch_message, device.session, command)
        elif said.recalled:
            assert self.do(patch_message, device.session, command) == Patched(Millis(said.patched_at))
            assert self.hear() == []
        else:
            patched = self.do(patch_message, device.session, command)
            self.note_patch(device, talk, said, command, patched.at)
            assert device.session is not None
            (event,) = self.hear()
            assert isinstance(event, MessagePatched)
            assert (event.origin, set(event.recipients)) == (device.session.number, set(talk.members))

    @precondition(lambda self: self.places())
    @rule(
        acts=st.lists(st.tuples(numbers, numbers, st.sampled_from(["send", "send", "modify", "recall"])), min_size=2),
        schedule=schedules,
    )
    def rush(self, acts: list[tuple[int, int, str]], schedule: object) -> None:
        """Several do something at once: in whichever order, what comes out is what one order would have led to."""
        steps: list[tuple[Device, Talk, Said | None, Send | PatchMessage]] = []
        for where, which, how in acts:
            device, talk = self.pick(where, self.places())
            own = [said for said in talk.said if said.sender == device.client_id]
            if how == "send" or not own:
                steps.append((device, talk, None, self.message(talk, False, set(), False)))
            else:
                said = self.pick(which, own)
                body = f"modified {next(self.sent)}".encode()
                steps.append((device, talk, said, PatchMessage(talk.id, said.position, how == "recall", body)))
        ends: list[Any] = [None] * len(steps)
        self.stage.run(partial(self.together, steps, ends))
        done = sorted(
            (end.timestamp if isinstance(end, Acked) else end.at, number)
            for number, end in enumerate(ends)
            if not isinstance(end, MessageNotFound)
        )
        for at, number in done:
            device, talk, patched, command = steps[number]
            if isinstance(command, Send):
                self.note(talk, device, command, ends[number])
            elif patched is not None and not patched.recalled:
                self.note_patch(device, talk, patched, command, at)
            else:
                assert isinstance(command, PatchMessage)
                assert patched is not None
                assert (command.recall, at) == (True, patched.patched_at)
                if patched.id in device.bodies.get(talk.id, {}):
                    device.bodies[talk.id][patched.id] = (at, patched.body)
        for number, end in enumerate(ends):
            if isinstance(end, MessageNotFound):
                patched = steps[number][2]
                assert patched is not None
                assert patched.recalled

    async def together(
        self, steps: list[tuple[Device, Talk, Said | None, Send | PatchMessage]], ends: list[Any]
    ) -> None:
        async def act(number: int, session: Session, command: Send | PatchMessage) -> None:
            try:
                if isinstance(command, Send):
                    ends[number] = await send_message(self.io, session, command)
                else:
                    ends[number] = await patch_message(self.io, session, command)
            except MessageNotFound as error:
                ends[number] = error

        async with anyio.create_task_group() as group:
            for number, (device, _, _, command) in enumerate(steps):
                assert device.session is not None
                group.start_soon(act, number, device.session, command)

    @precondition(lambda self: self.places())
    @rule(where=numbers, upto=st.none() | numbers, vague=st.booleans())
    def read(self, where: int, upto: int | None, vague: bool) -> None:
        device, talk = self.pick(where, self.places())
        said = self.pick(upto, talk.said) if upto is not None and talk.said else None
        self.mark(device, talk, said, vague)

    def mark(self, device: Device, talk: Talk, said: Said | None = None, vague: bool = False) -> None:
        """Read up to a message, or all there is."""
        position = None if said is None else Position(Millis(said.timestamp), "" if vague else said.id)
        self.do(mark_read, device.session, MarkRead((ReadMark(talk.id, position),)))
        belonging = talk.members[device.client_id]
        before = belonging.read
        belonging.read = max(before, len(talk.said) if said is None else said.sequence)
        self.received(talk, device.client_id, belonging.read)
        newest: dict[str, str] = {}
        for one in talk.said[before : belonging.read]:
            if one.receipt and one.sender != device.client_id:
                newest[one.sender] = one.id
        for sender, message_id in newest.items():
            self.owed[sender, device.client_id, (message_id,), True] += 1
        self.hear()

    @precondition(lambda self: self.spoken())
    @rule(where=numbers, upto=numbers, by_range=st.booleans())
    def receive(self, where: int, upto: int, by_range: bool) -> None:
        """A device acknowledges what it was sent."""
        device, talk = self.pick(where, self.spoken())
        said = self.pick(upto, talk.said)
        command = Acknowledge(talk.id, said.id)
        if by_range:
            command = Acknowledge(talk.id, until=Millis(said.timestamp))
        self.do(acknowledge, device.session, command)
        if by_range or said.sender != device.client_id:  # nobody receives what they sent themselves
            self.received(talk, device.client_id, said.sequence)

    # What happens to them.

    @precondition(lambda self: self.online())
    @rule(who=numbers, cleanly=st.booleans())
    def go_away(self, who: int, cleanly: bool) -> None:
        self.leave(self.pick(who, self.online()), cleanly)

    def leave(self, device: Device, cleanly: bool) -> None:
        if cleanly:
            self.do(close_session, device.session, CloseSession())
        else:
            self.do(end_session, device.session)
        device.session = None

    @precondition(lambda self: len(self.online()) < len(self.devices))
    @rule(who=numbers)
    def come_back(self, who: int) -> None:
        self.return_to(self.pick(who, [device for device in self.devices if device.session is None]))

    @precondition(lambda self: self.places())
    @rule(
        where=numbers,
        steps=st.tuples(
            st.sampled_from([61_000, 61_000, 0]), st.sampled_from([0, -30_000, -90_000]), st.sampled_from([0, 61_000])
        ),
        what=st.sampled_from([("read",), ("say",), ("say", "read")]),
    )
    def be_away_for_a_while(self, where: int, steps: tuple[int, int, int], what: tuple[str, ...]) -> None:
        """What others say, and what is read on another device, is news to a device that knew everything before."""
        device, talk = self.pick(where, self.places())
        self.all_say_something(talk)
        self.set_clock(self.now + steps[0])
        self.leave(device, cleanly=False)
        device.told = 0
        self.return_to(device)
        self.leave(device, cleanly=False)
        self.set_clock(self.now + steps[1])
        if "say" in what:
            self.all_say_something(talk)
        if "read" in what:
            for other, there in self.places():
                if there is talk and other.client_id == device.client_id:
                    self.mark(other, talk)
        self.set_clock(self.now + steps[2])
        self.return_to(device)

    def return_to(self, device: Device) -> None:
        """What the device is told makes what it knows true again."""
        self.connect(device)
        told = device.told
        if told in range(1, self.now + 1):
            trusted = device.lowest > told - STEP_BACK_MAX
        else:
            device.unread.clear()  # it is told of everything that is unread
            trusted = True
        self.do(tell_unread, device.session, Millis(told))
        self.hear()
        if not trusted:  # the clock went back so far that what came then looks as old as what the device knew
            device.unread = {
                talk.id: talk.unread(device.client_id) for talk in self.talks if device.client_id in talk.members
            }
        since = device.patched
        expected = sorted(
            (said.patched_at, said.id)
            for talk in self.talks
            for said in talk.said
            if device.client_id in talk.members and said.patched_at > since
        )
        self.do(replay_patches, device.session, Millis(since))
        replayed = [event for event in self.hear() if isinstance(event, PatchesMissed)]
        found = [(one.message.patched_at, one.message.id) for event in replayed for one in event.patches]
        assert found == expected

    @rule(millis=st.sampled_from([1, 1_000, 61_000, DAY // 48, DAY, -1, -30_000, -90_000, -DAY // 48, -DAY]))
    def step_clock(self, millis: int) -> None:
        self.set_clock(self.now + millis)

    def set_clock(self, moment: int) -> None:
        self.stage.world.clock.set(moment)
        for device in self.devices:
            device.lowest = min(device.lowest, self.now)
        for talk in [one for one in self.talks if one.ends_at is not None and one.ends_at <= self.now]:
            for device in self.online():
                self.refused(ConversationNotFound, send_message, device.session, written(talk.id))
                self.refused(ConversationNotFound, read_history, device.session, ReadHistory(talk.id))
            self.talks.remove(talk)
            self.uniques = {key: known for key, known in self.uniques.items() if known != talk.id}
            for device in self.devices:
                device.forget(talk.id)
        self.stage.run(self.retire)

    async def retire(self) -> None:
        while await self.io.store.retire(Retention(), Millis(self.now)):
            pass

    @rule()
    def restart(self) -> None:
        """The server comes back with all that was said; nobody is connected."""
        for device in self.online():
            self.do(end_session, device.session)
            device.session = None
        self.stage.restart()

    # What has to be true.

    @invariant()
    def everybody_online_knows_what_is_true(self) -> None:
        self.hear()
        for device in self.online():
            for talk in self.talks:
                if device.client_id in talk.members:
                    assert device.unread.get(talk.id, (0, False)) == talk.unread(device.client_id)
                    bodies = {said.id: said.body for said in talk.said}
                    for message_id, (_, body) in device.bodies.get(talk.id, {}).items():
                        assert body == bodies[message_id]
                else:
                    assert talk.id not in device.unread
                    assert talk.id not in device.bodies

    @invariant()
    def senders_are_told_once_of_what_was_received_and_read(self) -> None:
        assert {receipt: number for receipt, number in self.owed.items() if number} == {}

    @invariant()
    def messages_are_posted_in_their_order(self) -> None:
        for talk in self.talks:
            order = [event.message.sequence for event in self.posted if event.conversation_id == talk.id]
            assert order == [said.sequence for said in talk.said]

    @precondition(lambda self: self.places())
    @rule(where=numbers, limit=st.integers(1, 7), newest_first=st.booleans())
    def look(self, where: int, limit: int, newest_first: bool) -> None:
        device, talk = self.pick(where, self.places())
        self.page_through_history(device, talk, limit, newest_first)
        self.list_conversations(device)
        if len(talk.members) == 2:
            self.ask_how_far_the_other_has_got(device, talk)

    def page_through_history(self, device: Device, talk: Talk, limit: int, newest_first: bool) -> None:
        found: list[Message] = []
        start: Position | None = None
        while not found or start is not None:
            command = ReadHistory(talk.id, start=start, limit=limit, newest_first=newest_first)
            page = self.do(read_history, device.session, command).messages
            assert len(page) <= limit
            if not page:
                break
            found = [*page, *found] if newest_first else [*found, *page]
            start = (page[0] if newest_first else page[-1]).position
        assert [
            (one.sequence, one.id, one.timestamp, one.sender, one.body, one.patched_at, one.recalled) for one in found
        ] == [
            (one.sequence, one.id, one.timestamp, one.sender, one.body, one.patched_at, one.recalled)
            for one in talk.said
        ]
        for message in found:
            device.learn(talk.id, message)

    def list_conversations(self, device: Device) -> None:
        own = [talk for talk in self.talks if device.client_id in talk.members]
        found = self.do(query_conversations, device.session, QueryConversations(limit=100, with_last_message=True))
        temporary = tuple(talk.id for talk in own if talk.temporary)
        records = msgspec.json.decode(found.results)
        if temporary:
            command = QueryConversations(temporary_ids=temporary, with_last_message=True)
            records += msgspec.json.decode(self.do(query_conversations, device.session, command).results)
        seen = {
            one["objectId"]: (sorted(one["m"]), one.get("msg_mid"), one.get("msg"), one.get("patch_timestamp", 0))
            for one in records
        }
        expected = {}
        for talk in own:
            last = talk.said[-1] if talk.said else None
            shown = (None, None, 0) if last is None else (last.id, last.body.decode(), last.patched_at)
            expected[talk.id] = (sorted(talk.members), *shown)
        assert seen == expected

    def ask_how_far_the_other_has_got(self, device: Device, talk: Talk) -> None:
        """Nothing looks as if it had been read or received that was not, and all that was read looks so."""
        (peer,) = set(talk.members) - {device.client_id}
        receipts = self.do(query_receipts, device.session, QueryReceipts(talk.id))
        assert isinstance(receipts, Receipts)
        belonging = talk.members[peer]
        for said in talk.said[belonging.since :]:
            if said.sender != device.client_id:
                continue
            assert (said.timestamp <= receipts.read_at) == (said.sequence <= belonging.read)
            if said.receipt:
                got = peer in said.received or said.sequence <= belonging.read
                assert (said.timestamp <= receipts.delivered_at) <= got or self.passed(talk, said, peer)

    def passed(self, talk: Talk, said: Said, client_id: str) -> bool:
        """Whether a later message was received: then so was this one."""
        return any(client_id in one.received for one in talk.said[said.sequence :])

    def teardown(self) -> None:
        self.stage.close()


class ConversingInMemory(Conversing):
    @initialize()
    def begin(self) -> None:
        self.stage = MemoryStage()
        super().begin()


class ConversingOnDisk(Conversing):
    @initialize()
    def begin(self) -> None:
        self.stage = LmdbStage()
        super().begin()


ConversingInMemory.TestCase.settings = settings(max_examples=3 * EXAMPLES // 5, stateful_step_count=40)
ConversingOnDisk.TestCase.settings = settings(max_examples=EXAMPLES // 8, stateful_step_count=40)
# Making a failure small takes longer than a test may.
TestConversingInMemory = pytest.mark.slow(pytest.mark.timeout(600)(ConversingInMemory.TestCase))
TestConversingOnDisk = pytest.mark.slow(pytest.mark.timeout(600)(ConversingOnDisk.TestCase))
