"""``MemoryStore``: the store's contract without a disk or an event loop, for tests and for trying things out.

A write is done by the time its call returns; awaiting it gives the result at once, under any loop.
"""

from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Iterator, Mapping
from hashlib import sha256
from os import urandom
from typing import Any, Final, Generic, TypeVar

from msgspec.structs import replace

from fastim.core.application import Application
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import ConversationNotFound, Unavailable
from fastim.core.ids import (
    MESSAGE_ENTROPY_BYTES,
    TEMPORARY_PREFIX,
    AppNumber,
    is_conversation_id,
    message_id,
)
from fastim.core.message import Draft, Message, Position, Span, next_timestamp, place
from fastim.core.session import Grant
from fastim.core.units import Millis
from fastim.core.unread import Head, Membership, advance
from fastim.ports.store import Appended, Joined

TOKENS_KEPT = Millis(7 * 24 * 3_600_000)

_HOUR_MILLIS = 3_600_000
_SWEEP_STEP = 500

R = TypeVar("R")


class Done(Generic[R]):
    """A write that is over: awaiting it returns its result, or raises what it ended with."""

    def __init__(self, result: R) -> None:
        self._result: Final = result

    def __await__(self) -> Generator[Any, Any, R]:
        yield from ()
        return self._result


class Failed:
    """A write that was refused: awaiting it raises."""

    def __init__(self, error: Exception) -> None:
        self._error: Final = error

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from ()
        raise self._error


class MemoryStore:
    """The ``Store`` port in this process's memory.

    Args:
        tokens_kept: For how long at least a message's token makes a second one the same message, in milliseconds.
    """

    def __init__(self, *, tokens_kept: Millis = TOKENS_KEPT) -> None:
        self._tokens_kept: Final = tokens_kept
        self._applications: dict[str, Application] = {}
        self._parts: dict[AppNumber, MemoryApplicationStore] = {}
        self.closed = False

    async def applications(self) -> list[Application]:
        return sorted(self._applications.values(), key=lambda application: application.number)

    def save_application(
        self, application_id: str, key: str, master_key: str, hook_key: str, settings: Mapping[str, Any] | None = None
    ) -> Awaitable[Application]:
        if self.closed:
            return _closed()
        known = self._applications.get(application_id)
        number = AppNumber(len(self._applications) + 1) if known is None else known.number
        if settings is None:
            settings = {} if known is None else known.settings
        application = Application(number, application_id, key, master_key, hook_key, dict(settings))
        self._applications[application_id] = application
        return Done(application)

    def of(self, application: Application) -> "MemoryApplicationStore":
        return self._parts.setdefault(application.number, MemoryApplicationStore(self))

    def sweep(self, now: Millis) -> Awaitable[int]:
        if self.closed:
            return _closed()
        room = _SWEEP_STEP
        for part in self._parts.values():
            room -= part.sweep_tokens(Millis(now - self._tokens_kept), room)
            room -= part.sweep_grants(now, room)
            room -= part.sweep_uses(now, room)
        return Done(_SWEEP_STEP - room)

    async def close(self) -> None:
        self.closed = True


class MemoryApplicationStore:
    """The ``ApplicationStore`` port in this process's memory."""

    def __init__(self, store: MemoryStore) -> None:
        self._store: Final = store
        self._conversations: dict[str, Conversation] = {}
        self._messages: dict[str, list[Message]] = {}
        self._heads: dict[str, Head] = {}
        self._memberships: dict[str, dict[str, Membership]] = {}
        self._uniques: dict[tuple[Kind, str], str] = {}
        self._tokens: dict[tuple[str, str, str], Message] = {}
        self._grants: dict[tuple[str, bytes], Grant] = {}
        self._kicks: dict[str, Millis] = {}
        self._uses: dict[str, Millis] = {}

    async def find_conversation(self, conversation_id: str) -> Conversation | None:
        return self._conversations.get(conversation_id)

    async def scan_conversations(self) -> AsyncGenerator[Conversation, None]:
        for conversation_id in sorted(self._conversations, key=_age, reverse=True):
            yield self._conversations[conversation_id]

    async def conversation_ids_of(self, client_id: str) -> list[str]:
        return list(self._memberships.get(client_id, ()))

    def create_conversation(self, conversation: Conversation) -> Awaitable[Conversation]:
        if not is_conversation_id(conversation.id):
            raise ValueError(f"{conversation.id!r} is not a conversation id")
        if self._store.closed:
            return _closed()
        if conversation.unique_key is not None:
            holder = self._uniques.get((conversation.kind, conversation.unique_key))
            if holder is not None:
                return Done(self._conversations[holder])
        if conversation.id in self._conversations:
            return Failed(Unavailable(f"the id {conversation.id} is taken"))
        if conversation.unique_key is not None:
            self._uniques[conversation.kind, conversation.unique_key] = conversation.id
        self._conversations[conversation.id] = conversation
        self._messages[conversation.id] = []
        self._heads[conversation.id] = Head()
        for member in conversation.members:
            self._memberships.setdefault(member, {})[conversation.id] = Membership(conversation.created_at)
        return Done(conversation)

    def change_conversation(
        self, conversation: Conversation, *, joined: Iterable[str] = (), left: Iterable[str] = ()
    ) -> Awaitable[None]:
        if self._store.closed:
            return _closed()
        before = self._conversations.get(conversation.id)
        if before is None:
            return Failed(ConversationNotFound())
        if (before.kind, before.unique_key) != (conversation.kind, conversation.unique_key):
            return Failed(ValueError(f"kind and unique key of conversation {conversation.id} cannot change"))
        self._conversations[conversation.id] = conversation
        for member in left:
            self._memberships.get(member, {}).pop(conversation.id, None)
        fresh = Membership(conversation.updated_at, read=self._heads[conversation.id].sequence)
        for member in joined:
            self._memberships.setdefault(member, {}).setdefault(conversation.id, fresh)
        return Done(None)

    def append(self, conversation_id: str, draft: Draft, now: Millis) -> Awaitable[Appended]:
        if self._store.closed:
            return _closed()
        head = self._heads.get(conversation_id)
        if head is None:
            return Failed(ConversationNotFound())
        token = (conversation_id, draft.sender, draft.token)
        if draft.token and token in self._tokens:
            return Done(Appended(self._tokens[token], fresh=False))
        timestamp = next_timestamp(head.timestamp, now)
        message = place(draft, message_id(timestamp, urandom(MESSAGE_ENTROPY_BYTES)), timestamp, head.sequence + 1)
        self._messages[conversation_id].append(message)
        self._heads[conversation_id] = advance(head, message)
        sender = self._membership(conversation_id, draft.sender)
        if sender is not None:
            self._memberships[draft.sender][conversation_id] = replace(sender, sent=sender.sent + 1)
        for client_id in draft.mentions:
            mentioned = self._membership(conversation_id, client_id)
            if mentioned is not None and client_id != draft.sender:
                self._memberships[client_id][conversation_id] = replace(mentioned, mentioned=message.sequence)
        if draft.token:
            self._tokens[token] = message
        return Done(Appended(message, fresh=True))

    async def find_message(self, conversation_id: str, position: Position) -> Message | None:
        messages = self._messages.get(conversation_id, [])
        index = bisect_left(messages, position, key=_position)
        return messages[index] if index < len(messages) and messages[index].position == position else None

    async def history(
        self, conversation_id: str, span: Span, wanted: Callable[[Message], bool] | None = None
    ) -> list[Message]:
        messages = self._messages.get(conversation_id, [])
        first, last = 0, len(messages)
        if span.after is not None:
            first = (bisect_left if span.after_included else bisect_right)(messages, span.after, key=_position)
        if span.before is not None:
            last = (bisect_right if span.before_included else bisect_left)(messages, span.before, key=_position)
        found = [message for message in messages[first:last] if wanted is None or wanted(message)]
        limit = max(span.limit, 0)
        return found[max(len(found) - limit, 0) :] if span.newest_first else found[:limit]

    async def find_head(self, conversation_id: str) -> Head:
        return self._heads.get(conversation_id, Head())

    async def find_membership(self, conversation_id: str, client_id: str) -> Membership | None:
        return self._membership(conversation_id, client_id)

    async def joined_conversations(self, client_id: str) -> list[Joined]:
        return [
            Joined(conversation_id, membership, self._heads[conversation_id])
            for conversation_id, membership in self._memberships.get(client_id, {}).items()
        ]

    def mark_read(
        self, conversation_id: str, client_id: str, upto: Position | None, now: Millis
    ) -> Awaitable[Membership | None]:
        if self._store.closed:
            return _closed()
        membership = self._membership(conversation_id, client_id)
        if membership is None:
            return Done(None)
        messages = self._messages[conversation_id]
        target = len(messages)
        if upto is not None:
            if upto.message_id:
                target = bisect_right(messages, upto, key=_position)
            else:
                target = bisect_right(messages, upto.timestamp, key=lambda message: message.timestamp)
        if target <= membership.read:
            return Done(membership)
        sent = sum(message.sender == client_id for message in messages[membership.read : target])
        moved = replace(membership, read=target, sent_at_read=membership.sent_at_read + sent, read_at=now)
        self._memberships[client_id][conversation_id] = moved
        return Done(moved)

    def save_grant(self, client_id: str, token: str, grant: Grant) -> Awaitable[None]:
        if self._store.closed:
            return _closed()
        self._grants[client_id, _hash(token)] = grant
        return Done(None)

    async def find_grant(self, client_id: str, token: str) -> Grant | None:
        return self._grants.get((client_id, _hash(token)))

    def kick(self, client_id: str, at: Millis) -> Awaitable[None]:
        if self._store.closed:
            return _closed()
        for key in [key for key in self._grants if key[0] == client_id]:
            del self._grants[key]
        self._kicks[client_id] = max(at, self._kicks.get(client_id, at))
        return Done(None)

    async def find_kick(self, client_id: str) -> Millis:
        return self._kicks.get(client_id, Millis(0))

    def use_once(self, name: str, until: Millis) -> Awaitable[bool]:
        if self._store.closed:
            return _closed()
        fresh = name not in self._uses
        if fresh:
            self._uses[name] = until
        return Done(fresh)

    def sweep_tokens(self, before: Millis, room: int) -> int:
        """Forget at most ``room`` tokens of the hours that ended at ``before`` or earlier."""
        return _drop(
            self._tokens,
            (
                key
                for key, message in self._tokens.items()
                if message.timestamp // _HOUR_MILLIS < before // _HOUR_MILLIS
            ),
            room,
        )

    def sweep_grants(self, now: Millis, room: int) -> int:
        """Forget at most ``room`` grants that have expired."""
        return _drop(self._grants, (key for key, grant in self._grants.items() if grant.expires_at <= now), room)

    def sweep_uses(self, now: Millis, room: int) -> int:
        """Forget at most ``room`` uses that need not be remembered any more."""
        return _drop(self._uses, (name for name, until in self._uses.items() if until <= now), room)

    def _membership(self, conversation_id: str, client_id: str) -> Membership | None:
        return self._memberships.get(client_id, {}).get(conversation_id)


K = TypeVar("K")


def _drop(records: dict[K, Any], past: Iterator[K], room: int) -> int:
    keys = [key for key, _ in zip(past, range(room), strict=False)]
    for key in keys:
        del records[key]
    return len(keys)


def _closed() -> Failed:
    return Failed(Unavailable("the store is closed"))


def _position(message: Message) -> Position:
    return message.position


def _age(conversation_id: str) -> tuple[str, bool]:
    digits = conversation_id.removeprefix(TEMPORARY_PREFIX)
    return digits, digits != conversation_id


def _hash(token: str) -> bytes:
    return sha256(token.encode(errors="surrogatepass")).digest()
