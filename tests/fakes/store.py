"""A store that takes its time."""

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Generic, TypeVar

import trio

from fastim.core.broadcast import Broadcast
from fastim.core.conversation import Conversation
from fastim.core.errors import Unavailable
from fastim.core.installation import SUBSCRIBED_MAX, Installation
from fastim.core.message import Draft, Message, Position, Span
from fastim.core.notice import Addressed, Notice
from fastim.core.push import Job, Notification
from fastim.core.retention import Retention
from fastim.core.session import Grant
from fastim.core.standing import Standing
from fastim.core.units import Millis
from fastim.core.unread import Head, Membership
from fastim.core.will import Holder, Will
from fastim.ports.store import (
    Acknowledged,
    Appended,
    ApplicationStore,
    Arrival,
    DuePush,
    Joined,
    Stay,
    Subscription,
    Waiting,
)

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

    @property
    def waiting(self) -> int:
        """Writes that are queued."""
        return len(self._queue)

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

    def create_conversation(
        self, conversation: Conversation, notices: Sequence[Addressed] = ()
    ) -> Awaitable[Conversation]:
        return self._queued(lambda: self._store.create_conversation(conversation, notices))

    def change_conversation(
        self,
        conversation: Conversation,
        *,
        joined: Iterable[str] = (),
        left: Iterable[str] = (),
        standings: Mapping[str, Standing] = {},
        notices: Sequence[Addressed] = (),
    ) -> Awaitable[None]:
        return self._queued(
            lambda: self._store.change_conversation(
                conversation, joined=joined, left=left, standings=standings, notices=notices
            )
        )

    def delete_conversation(self, conversation_id: str) -> Awaitable[bool]:
        return self._queued(lambda: self._store.delete_conversation(conversation_id))

    async def find_standing(self, conversation_id: str, client_id: str) -> Standing:
        await trio.lowlevel.checkpoint()
        return await self._store.find_standing(conversation_id, client_id)

    async def standings(self, conversation_id: str) -> dict[str, Standing]:
        await trio.lowlevel.checkpoint()
        return await self._store.standings(conversation_id)

    async def subscriptions(self, conversation_id: str, after: str, limit: int) -> list[Subscription]:
        await trio.lowlevel.checkpoint()
        return await self._store.subscriptions(conversation_id, after, limit)

    async def count_subscriptions(self, conversation_id: str) -> int:
        await trio.lowlevel.checkpoint()
        return await self._store.count_subscriptions(conversation_id)

    def refuse_conversations(
        self, client_id: str, conversation_ids: Iterable[str], refused: bool, now: Millis
    ) -> Awaitable[None]:
        return self._queued(lambda: self._store.refuse_conversations(client_id, conversation_ids, refused, now))

    async def refused_conversations(self, client_id: str) -> list[str]:
        await trio.lowlevel.checkpoint()
        return await self._store.refused_conversations(client_id)

    def append(
        self, log_id: str, draft: Draft, now: Millis, *, urgent: bool = False, push: Job | None = None
    ) -> Awaitable[Appended]:
        return self._queued(lambda: self._store.append(log_id, draft, now, urgent=urgent, push=push))

    def append_each(
        self, log_ids: Sequence[str], draft: Draft, now: Millis, *, push: Job | None = None
    ) -> Awaitable[list[Appended]]:
        return self._queued(lambda: self._store.append_each(log_ids, draft, now, push=push))

    def patch_message(self, log_id: str, message: Message, now: Millis) -> Awaitable[Message]:
        return self._queued(lambda: self._store.patch_message(log_id, message, now))

    async def patches_since(self, log_id: str, moment: Millis, limit: int) -> list[Message]:
        await trio.lowlevel.checkpoint()
        return await self._store.patches_since(log_id, moment, limit)

    def delete_message(self, log_id: str, position: Position) -> Awaitable[bool]:
        return self._queued(lambda: self._store.delete_message(log_id, position))

    async def find_message(self, log_id: str, position: Position) -> Message | None:
        await trio.lowlevel.checkpoint()
        return await self._store.find_message(log_id, position)

    async def messages_from(self, log_id: str, sequence: int, limit: int) -> list[Message]:
        await trio.lowlevel.checkpoint()
        return await self._store.messages_from(log_id, sequence, limit)

    async def history(self, log_id: str, span: Span, wanted: Callable[[Message], bool] | None = None) -> list[Message]:
        await trio.lowlevel.checkpoint()
        return await self._store.history(log_id, span, wanted)

    async def urgent_since(self, log_id: str, since: Millis, until: Millis, limit: int) -> list[Message]:
        await trio.lowlevel.checkpoint()
        return await self._store.urgent_since(log_id, since, until, limit)

    async def urgent_start(self, log_id: str, since: Millis, until: Millis, limit: int) -> Millis:
        await trio.lowlevel.checkpoint()
        return await self._store.urgent_start(log_id, since, until, limit)

    async def find_head(self, log_id: str) -> Head:
        await trio.lowlevel.checkpoint()
        return await self._store.find_head(log_id)

    async def find_membership(self, log_id: str, client_id: str) -> Membership | None:
        await trio.lowlevel.checkpoint()
        return await self._store.find_membership(log_id, client_id)

    async def joined_conversations(self, client_id: str) -> list[Joined]:
        await trio.lowlevel.checkpoint()
        return await self._store.joined_conversations(client_id)

    def acknowledge(
        self, log_id: str, client_id: str, upto: Position, now: Millis, notices: Sequence[Addressed] = ()
    ) -> Awaitable[Acknowledged | None]:
        return self._queued(lambda: self._store.acknowledge(log_id, client_id, upto, now, notices))

    def mark_read(
        self,
        log_id: str,
        client_id: str,
        upto: Position | None,
        now: Millis,
        notices: Sequence[Addressed] = (),
    ) -> Awaitable[Membership | None]:
        return self._queued(lambda: self._store.mark_read(log_id, client_id, upto, now, notices))

    def add_notices(self, notices: Sequence[Addressed]) -> Awaitable[None]:
        return self._queued(lambda: self._store.add_notices(notices))

    async def notices_for(self, client_id: str, since: Millis, limit: int) -> tuple[list[Notice], bool]:
        await trio.lowlevel.checkpoint()
        return await self._store.notices_for(client_id, since, limit)

    def save_will(self, will: Will) -> Awaitable[None]:
        return self._queued(lambda: self._store.save_will(will))

    def take_will(self, client_id: str, holder: Holder | None) -> Awaitable[Will | None]:
        return self._queued(lambda: self._store.take_will(client_id, holder))

    async def find_will(self, client_id: str) -> Will | None:
        await trio.lowlevel.checkpoint()
        return await self._store.find_will(client_id)

    async def wills(self) -> list[Will]:
        await trio.lowlevel.checkpoint()
        return await self._store.wills()

    def save_stay(self, stay: Stay) -> Awaitable[None]:
        return self._queued(lambda: self._store.save_stay(stay))

    def forget_stay(self, client_id: str, device: str) -> Awaitable[None]:
        return self._queued(lambda: self._store.forget_stay(client_id, device))

    async def find_stay(self, client_id: str, device: str) -> Stay | None:
        await trio.lowlevel.checkpoint()
        return await self._store.find_stay(client_id, device)

    async def stays(self) -> list[Stay]:
        await trio.lowlevel.checkpoint()
        return await self._store.stays()

    def save_broadcast(self, broadcast: Broadcast) -> Awaitable[None]:
        return self._queued(lambda: self._store.save_broadcast(broadcast))

    async def broadcasts(self, since: Millis = Millis(0)) -> list[Broadcast]:
        await trio.lowlevel.checkpoint()
        return await self._store.broadcasts(since)

    def delete_broadcast(self, message_id: str) -> Awaitable[bool]:
        return self._queued(lambda: self._store.delete_broadcast(message_id))

    def saw_broadcasts(self, client_id: str, upto: Millis) -> Awaitable[None]:
        return self._queued(lambda: self._store.saw_broadcasts(client_id, upto))

    async def count_users(self, day: int) -> int:
        await trio.lowlevel.checkpoint()
        return await self._store.count_users(day)

    def save_grant(self, client_id: str, token: str, grant: Grant) -> Awaitable[None]:
        return self._queued(lambda: self._store.save_grant(client_id, token, grant))

    def log_in(self, client_id: str, token: str, grant: Grant, now: Millis) -> Awaitable[Arrival]:
        return self._queued(lambda: self._store.log_in(client_id, token, grant, now))

    async def find_grant(self, client_id: str, token: str) -> Grant | None:
        await trio.lowlevel.checkpoint()
        return await self._store.find_grant(client_id, token)

    def kick(self, client_id: str, at: Millis) -> Awaitable[None]:
        return self._queued(lambda: self._store.kick(client_id, at))

    async def find_kick(self, client_id: str) -> Millis:
        await trio.lowlevel.checkpoint()
        return await self._store.find_kick(client_id)

    def use_once(self, name: str, until: Millis) -> Awaitable[bool]:
        return self._queued(lambda: self._store.use_once(name, until))

    def save_document(self, name: str, content: bytes | None) -> Awaitable[None]:
        return self._queued(lambda: self._store.save_document(name, content))

    async def find_document(self, name: str) -> bytes | None:
        await trio.lowlevel.checkpoint()
        return await self._store.find_document(name)

    async def push_jobs(self, limit: int) -> list[Job]:
        await trio.lowlevel.checkpoint()
        return await self._store.push_jobs(limit)

    def queue_pushes(
        self, job: Job, notifications: Sequence[Notification], badges: Mapping[str, int], now: Millis, *, done: bool
    ) -> Awaitable[None]:
        return self._queued(lambda: self._store.queue_pushes(job, notifications, badges, now, done=done))

    async def due_pushes(self, now: Millis, limit: int, besides: Collection[str] = ()) -> list[DuePush]:
        await trio.lowlevel.checkpoint()
        return await self._store.due_pushes(now, limit, besides)

    async def next_push_due(self) -> Millis | None:
        await trio.lowlevel.checkpoint()
        return await self._store.next_push_due()

    def settle_push(self, push: DuePush, now: Millis) -> Awaitable[None]:
        return self._queued(lambda: self._store.settle_push(push, now))

    def postpone_push(self, push: DuePush, due: Millis, *, tried: bool = True) -> Awaitable[None]:
        return self._queued(lambda: self._store.postpone_push(push, due, tried=tried))

    def drop_pushes(self, target: str) -> Awaitable[int]:
        return self._queued(lambda: self._store.drop_pushes(target))

    async def count_pushes(self) -> Waiting:
        await trio.lowlevel.checkpoint()
        return await self._store.count_pushes()

    async def find_installation(self, installation_id: str) -> Installation | None:
        await trio.lowlevel.checkpoint()
        return await self._store.find_installation(installation_id)

    async def find_device(self, name: str) -> Installation | None:
        await trio.lowlevel.checkpoint()
        return await self._store.find_device(name)

    async def installations_of(self, channel: str, most: int = SUBSCRIBED_MAX) -> list[Installation]:
        await trio.lowlevel.checkpoint()
        return await self._store.installations_of(channel, most)

    async def scan_installations(self) -> AsyncGenerator[Installation, None]:
        async with aclosing(self._store.scan_installations()) as scan:
            async for installation in scan:
                await trio.lowlevel.checkpoint()
                yield installation

    def change_installation(
        self, installation_id: str, change: Callable[[Installation | None], Installation | None]
    ) -> Awaitable[Installation | None]:
        return self._queued(lambda: self._store.change_installation(installation_id, change))

    def retire(self, rules: Retention, now: Millis) -> Awaitable[int]:
        return self._queued(lambda: self._store.retire(rules, now))

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
