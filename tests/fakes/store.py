"""A store that takes its time."""

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from contextlib import aclosing
from typing import Any, Generic, TypeVar

import trio

from fastim.core.conversation import Conversation
from fastim.core.errors import Unavailable
from fastim.core.message import Draft, Message, Position, Span
from fastim.core.session import Grant
from fastim.core.units import Millis
from fastim.core.unread import Head, Membership
from fastim.ports.store import Appended, ApplicationStore, Joined

R = TypeVar("R")


class PacedStore:
    """Fulfils the ``ApplicationStore`` port with another store, and lets others run wherever a disk would.

    A read may be overtaken. A write is only queued when its call returns; ``run`` commits what is queued, in order, and
    wakes those who wait for it one after the other.

    Attributes:
        refusing: Whether writes fail instead of being committed.
    """

    def __init__(self, store: ApplicationStore) -> None:
        self._store = store
        self._queue: deque[_Write[Any]] = deque()
        self._arrived = trio.Event()
        self._flowing = trio.Event()
        self._flowing.set()
        self.refusing = False

    async def run(self) -> None:
        """Commit until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived = trio.Event()
            while self._queue:
                await self._flowing.wait()  # a turn at least: those who wait for the last one go first
                await self._queue.popleft().commit(self.refusing)

    def hold_back(self) -> None:
        """Commit nothing from now on."""
        self._flowing = trio.Event()

    def go_on(self) -> None:
        """Commit what was held back, and what follows."""
        self._flowing.set()

    async def find_conversation(self, conversation_id: str) -> Conversation | None:
        await trio.lowlevel.checkpoint()
        return await self._store.find_conversation(conversation_id)

    async def scan_conversations(self) -> AsyncGenerator[Conversation, None]:
        async with aclosing(self._store.scan_conversations()) as scan:
            async for conversation in scan:
                await trio.lowlevel.checkpoint()
                yield conversation

    async def conversation_ids_of(self, client_id: str) -> list[str]:
        await trio.lowlevel.checkpoint()
        return await self._store.conversation_ids_of(client_id)

    async def find_message(self, conversation_id: str, position: Position) -> Message | None:
        await trio.lowlevel.checkpoint()
        return await self._store.find_message(conversation_id, position)

    async def history(
        self, conversation_id: str, span: Span, wanted: Callable[[Message], bool] | None = None
    ) -> list[Message]:
        await trio.lowlevel.checkpoint()
        return await self._store.history(conversation_id, span, wanted)

    async def find_head(self, conversation_id: str) -> Head:
        await trio.lowlevel.checkpoint()
        return await self._store.find_head(conversation_id)

    async def find_membership(self, conversation_id: str, client_id: str) -> Membership | None:
        await trio.lowlevel.checkpoint()
        return await self._store.find_membership(conversation_id, client_id)

    async def joined_conversations(self, client_id: str) -> list[Joined]:
        await trio.lowlevel.checkpoint()
        return await self._store.joined_conversations(client_id)

    async def find_grant(self, client_id: str, token: str) -> Grant | None:
        await trio.lowlevel.checkpoint()
        return await self._store.find_grant(client_id, token)

    def create_conversation(self, conversation: Conversation) -> Awaitable[Conversation]:
        return self._queued(lambda: self._store.create_conversation(conversation))

    def change_conversation(
        self, conversation: Conversation, *, joined: Iterable[str] = (), left: Iterable[str] = ()
    ) -> Awaitable[None]:
        return self._queued(lambda: self._store.change_conversation(conversation, joined=joined, left=left))

    def append(self, conversation_id: str, draft: Draft, now: Millis) -> Awaitable[Appended]:
        return self._queued(lambda: self._store.append(conversation_id, draft, now))

    def mark_read(
        self, conversation_id: str, client_id: str, upto: Position | None, now: Millis
    ) -> Awaitable[Membership | None]:
        return self._queued(lambda: self._store.mark_read(conversation_id, client_id, upto, now))

    def save_grant(self, client_id: str, token: str, grant: Grant) -> Awaitable[None]:
        return self._queued(lambda: self._store.save_grant(client_id, token, grant))

    def kick(self, client_id: str, at: Millis) -> Awaitable[None]:
        return self._queued(lambda: self._store.kick(client_id, at))

    async def find_kick(self, client_id: str) -> Millis:
        await trio.lowlevel.checkpoint()
        return await self._store.find_kick(client_id)

    def use_once(self, name: str, until: Millis) -> Awaitable[bool]:
        return self._queued(lambda: self._store.use_once(name, until))

    def _queued(self, begin: Callable[[], Awaitable[R]]) -> "_Write[R]":
        write = _Write(begin)
        self._queue.append(write)
        self._arrived.set()
        return write


class _Write(Generic[R]):
    """A write on its way: awaiting it waits until it is committed."""

    def __init__(self, begin: Callable[[], Awaitable[R]]) -> None:
        self._begin = begin
        self._settled = trio.Event()
        self._result: list[R] = []
        self._error: Exception | None = None

    async def commit(self, refusing: bool) -> None:
        try:
            if refusing:
                raise Unavailable
            self._result.append(await self._begin())
        except Exception as error:
            self._error = error
        self._settled.set()

    def __await__(self) -> Generator[Any, Any, R]:
        return self._outcome().__await__()

    async def _outcome(self) -> R:
        await self._settled.wait()
        if self._error is not None:
            raise self._error
        return self._result[0]
