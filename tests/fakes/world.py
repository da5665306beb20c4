"""One application on the fakes, for use cases to run in."""

import random
from itertools import count

import trio

from fastim.adapters.memory import MemoryStore
from fastim.core.application import Application
from fastim.core.commands import AddMembers, OpenSession, Send, StartConversation
from fastim.core.policy import Policy
from fastim.core.replies import Acked, MembersChanged, Opened
from fastim.core.session import OfflineMode, Session, office
from fastim.ports.store import Arrival
from fastim.runtime.rooms import LocalRooms
from fastim.service.conversations import start_conversation
from fastim.service.io import Io
from fastim.service.members import add_members
from fastim.service.messages import send_message
from fastim.service.sessions import Opening, open_session
from tests.fakes.bus import RecordingBus
from tests.fakes.clock import SettableClock
from tests.fakes.directory import PlainDirectory
from tests.fakes.hooks import PlainHooks
from tests.fakes.ingress import CountingIngress
from tests.fakes.lanes import TrioLanes
from tests.fakes.logs import PlainLogs
from tests.fakes.pace import TrioPace
from tests.fakes.pusher import PlainPusher
from tests.fakes.store import PacedStore
from tests.fakes.words import PlainWords

EVERYTHING = 187
"""The ``configBitmap`` of JS 5."""


class World:
    """The ports, and what tests do all the time.

    Attributes:
        io: The ports as use cases see them.
    """

    def __init__(self, application: Application, policy: Policy, store: PacedStore, whole: MemoryStore) -> None:
        self.store = store
        self._whole = whole
        self.clock = SettableClock()
        self.logs = PlainLogs(self.clock.now())
        self.bus = RecordingBus(self.logs.hear)
        self.directory = PlainDirectory()
        self.rooms = LocalRooms(self.logs)
        self.words = PlainWords()
        self.ingress = CountingIngress()
        self.hooks = PlainHooks()
        self.pusher = PlainPusher()
        self.io = Io(
            application=application,
            policy=policy,
            store=self.store,
            lanes=TrioLanes(),
            bus=self.bus,
            directory=self.directory,
            rooms=self.rooms,
            clock=self.clock,
            pace=TrioPace(),
            words=self.words,
            ingress=self.ingress,
            hooks=self.hooks,
            pusher=self.pusher,
            entropy=random.Random(7).randbytes,
        )
        self._numbers = count(1)

    async def open(
        self,
        client_id: str | None = "tom",
        command: OpenSession | None = None,
        *,
        offline_mode: OfflineMode = OfflineMode.UNREAD,
    ) -> tuple[Session, Opened]:
        """Open a session with ``command``."""
        opening = Opening(next(self._numbers), client_id, offline_mode, command or OpenSession(config=EVERYTHING))
        session, opened, _ = await open_session(self.io, opening)
        return session, opened

    async def arrive(self, client_id: str) -> tuple[Session, Arrival]:
        """A new session, and what was known of its client."""
        opening = Opening(next(self._numbers), client_id, OfflineMode.UNREAD, OpenSession(config=EVERYTHING))
        session, _, arrival = await open_session(self.io, opening)
        return session, arrival

    async def login(self, client_id: str, device: str = "", tag: str = "") -> Session:
        """A new session as any SDK would open it."""
        session, _ = await self.open(client_id, OpenSession(config=EVERYTHING, device=device, tag=tag))
        return session

    async def sweep(self) -> None:
        """Forget what is past its time."""
        while await self._whole.sweep(self.clock.now()):
            pass

    async def start(self, creator: Session, *others: str, unique: bool = False, attributes: str | None = None) -> str:
        """The id of a new conversation; the event of its start is forgotten."""
        command = StartConversation(others, attributes, unique=unique)
        started = await start_conversation(self.io, creator, command)
        self.bus.events.clear()
        return started.conversation_id

    async def start_room(self, creator: Session, attributes: str | None = None) -> str:
        """The id of a new chat room, with ``creator`` in it."""
        started = await start_conversation(self.io, creator, StartConversation(attributes=attributes, chat_room=True))
        return started.conversation_id

    async def start_temporary(self, creator: Session, *others: str, ttl_seconds: int | None = None) -> str:
        """The id of a new temporary conversation; the event of its start is forgotten."""
        command = StartConversation(others, temporary=True, ttl_seconds=ttl_seconds)
        started = await start_conversation(self.io, creator, command)
        self.bus.events.clear()
        return started.conversation_id

    async def start_service(self, *subscribers: Session, attributes: str | None = None) -> str:
        """The id of a new service conversation, to which ``subscribers`` have subscribed."""
        started = await start_conversation(self.io, office(), StartConversation(attributes=attributes, service=True))
        for subscriber in subscribers:
            await self.join(subscriber, started.conversation_id)
        return started.conversation_id

    async def join(self, joiner: Session, conversation_id: str) -> MembersChanged:
        """What joining came to."""
        return await add_members(self.io, joiner, AddMembers(conversation_id, (joiner.client_id,)))

    async def send(self, sender: Session, conversation_id: str, text: str = "hi", **fields: object) -> Acked:
        """The ack of a message that was sent."""
        acked = await send_message(self.io, sender, written(conversation_id, text, **fields))
        assert acked is not None
        return acked


async def new_world(policy: Policy | None = None) -> World:
    """A world without clients, for as long as trio runs."""
    memory = MemoryStore()
    application = await memory.save_application("app", "key", "master", "hook")
    store = PacedStore(memory.of(application))
    trio.lowlevel.spawn_system_task(store.run)
    return World(application, policy or Policy(), store, memory)


def written(conversation_id: str, text: str = "hi", **fields: object) -> Send:
    """The command that sends ``text``."""
    body = text.encode()
    return Send(conversation_id, body, len(body), **fields)  # type: ignore[arg-type]
