"""One application on the fakes, for use cases to run in."""

import random
from itertools import count

import trio

from fastim.adapters.memory import MemoryStore
from fastim.core.application import Application
from fastim.core.commands import OpenSession, Send, StartConversation
from fastim.core.policy import Policy
from fastim.core.replies import Acked, Opened
from fastim.core.session import OfflineMode, Session
from fastim.service.conversations import start_conversation
from fastim.service.io import Io
from fastim.service.messages import send_message
from fastim.service.sessions import Opening, open_session
from tests.fakes.bus import RecordingBus
from tests.fakes.clock import SettableClock
from tests.fakes.directory import PlainDirectory
from tests.fakes.lanes import TrioLanes
from tests.fakes.pace import TrioPace
from tests.fakes.store import PacedStore

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
        self.bus = RecordingBus()
        self.directory = PlainDirectory()
        self.clock = SettableClock()
        self.io = Io(
            application=application,
            policy=policy,
            store=self.store,
            lanes=TrioLanes(),
            bus=self.bus,
            directory=self.directory,
            clock=self.clock,
            pace=TrioPace(),
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
        return await open_session(self.io, opening)

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
