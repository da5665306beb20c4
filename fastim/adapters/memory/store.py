"""``MemoryStore``: the store's contract without a disk or an event loop, for tests and for trying things out.

A write is done by the time its call returns; awaiting it gives the result at once, under any loop.
"""

from bisect import bisect_left, bisect_right
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from hashlib import sha256
from os import urandom
from typing import Any, Final, Generic, TypeVar

from msgspec.structs import replace

from fastim.core.application import Application
from fastim.core.broadcast import Broadcast
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import ConversationNotFound, MessageNotFound, Unavailable
from fastim.core.ids import (
    MESSAGE_ENTROPY_BYTES,
    TEMPORARY_PREFIX,
    AppNumber,
    is_conversation_id,
    log_owner,
    message_id,
    personal_log,
)
from fastim.core.installation import SUBSCRIBED_MAX, Installation
from fastim.core.message import Draft, Message, Position, Span, next_timestamp, place
from fastim.core.notice import Addressed, Notice
from fastim.core.policy import REJOIN_MILLIS, URGENT_KEPT_MILLIS
from fastim.core.push import Job, Notification
from fastim.core.retention import Retention
from fastim.core.session import Grant
from fastim.core.standing import UNREMARKABLE, Standing
from fastim.core.units import Millis
from fastim.core.unread import Head, Membership, advance, all_read
from fastim.core.will import Holder, Will
from fastim.ports.store import Acknowledged, Appended, Arrival, DuePush, Joined, Stay, Subscription, Waiting

TOKENS_KEPT = Millis(7 * 24 * 3_600_000)

_HOUR_MILLIS = 3_600_000
_DAY_MILLIS = 24 * _HOUR_MILLIS
_SWEEP_STEP = 500
_INSTALLATION_ID_MAX_BYTES = 64

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
        self._uniques: dict[tuple[Kind, str], str] = {}
        self._logs: dict[str, _Log] = {}
        self._memberships: dict[str, dict[str, Membership]] = {}
        self._subscribers: dict[str, set[str]] = {}
        self._standings: dict[str, dict[str, Standing]] = {}
        self._refused: dict[str, set[str]] = {}
        self._tokens: dict[tuple[str, str, str], Message] = {}
        self._patched_at = Millis(0)
        self._urgent: dict[str, list[Position]] = {}
        self._notices: list[Addressed] = []
        self._wills: dict[str, Will] = {}
        self._stays: dict[tuple[str, str], Stay] = {}
        self._broadcasts: dict[str, Broadcast] = {}
        self._broadcasts_seen: dict[str, Millis] = {}
        self._documents: dict[str, bytes] = {}
        self._arrived: set[str] = set()
        self._users: dict[int, set[str]] = {}
        self._grants: dict[tuple[str, bytes], Grant] = {}
        self._kicks: dict[str, Millis] = {}
        self._uses: dict[str, Millis] = {}
        self._jobs: dict[str, Job] = {}
        self._queues: dict[str, _Queue] = {}
        self._installations: dict[str, Installation] = {}

    async def find_conversation(self, conversation_id: str) -> Conversation | None:
        return self._conversations.get(conversation_id)

    async def scan_conversations(self) -> AsyncGenerator[Conversation, None]:
        for conversation_id in sorted(self._conversations, key=_age, reverse=True):
            conversation = self._conversations.get(conversation_id)
            if conversation is not None:  # it may have gone meanwhile
                yield conversation

    async def conversation_ids_of(self, client_id: str) -> list[str]:
        return [log_id for log_id in self._memberships.get(client_id, ()) if log_id in self._conversations]

    def create_conversation(
        self, conversation: Conversation, notices: Sequence[Addressed] = ()
    ) -> Awaitable[Conversation]:
        if not is_conversation_id(conversation.id):
            raise ValueError(f"{conversation.id!r} is not a conversation id")
        if self._store.closed:
            return _closed()
        if conversation.unique_key is not None:
            holder = self._uniques.get((conversation.kind, conversation.unique_key))
            if holder is not None and not self._conversations[holder].expired(conversation.created_at):
                return Done(self._conversations[holder])
        if conversation.id in self._conversations:
            return Failed(Unavailable(f"the id {conversation.id} is taken"))
        if conversation.unique_key is not None:
            self._uniques[conversation.kind, conversation.unique_key] = conversation.id
        self._conversations[conversation.id] = conversation
        self._logs[conversation.id] = _Log()
        for member in conversation.members:
            self._join(conversation, member, Membership(conversation.created_at))
        self._notices.extend(notices)
        return Done(conversation)

    def change_conversation(
        self,
        conversation: Conversation,
        *,
        joined: Iterable[str] = (),
        left: Iterable[str] = (),
        standings: Mapping[str, Standing] = {},
        notices: Sequence[Addressed] = (),
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
            self._leave(conversation, member)
        last = self._logs[conversation.id].head.sequence
        fresh = Membership(conversation.updated_at, read=last, delivered=last)
        for member in joined:
            self._join(conversation, member, fresh)
        for client_id, standing in standings.items():
            self._stand(conversation.id, client_id, standing)
        self._notices.extend(notices)
        return Done(None)

    def delete_conversation(self, conversation_id: str) -> Awaitable[bool]:
        if self._store.closed:
            return _closed()
        if conversation_id not in self._conversations:
            return Done(False)
        self._forget(conversation_id)
        return Done(True)

    async def find_standing(self, conversation_id: str, client_id: str) -> Standing:
        return self._standings.get(conversation_id, {}).get(client_id, UNREMARKABLE)

    async def standings(self, conversation_id: str) -> dict[str, Standing]:
        given = self._standings.get(conversation_id, {})
        return {client_id: given[client_id] for client_id in sorted(given, key=_utf8)}

    async def subscriptions(self, conversation_id: str, after: str, limit: int) -> list[Subscription]:
        start = _utf8(after)
        clients = [one for one in self._subscribers.get(conversation_id, ()) if _utf8(one) > start]
        return [
            Subscription(conversation_id, one, self._memberships[one][conversation_id].joined_at)
            for one in sorted(clients, key=_utf8)[: max(limit, 0)]
        ]

    async def count_subscriptions(self, conversation_id: str) -> int:
        return len(self._subscribers.get(conversation_id, ()))

    def refuse_conversations(
        self, client_id: str, conversation_ids: Iterable[str], refused: bool, now: Millis
    ) -> Awaitable[None]:
        if self._store.closed:
            return _closed()
        ids = self._refused.setdefault(client_id, set())
        if refused:
            ids.update(filter(is_conversation_id, conversation_ids))
        else:
            ids.difference_update(conversation_ids)
        return Done(None)

    async def refused_conversations(self, client_id: str) -> list[str]:
        return sorted(self._refused.get(client_id, ()), key=_age)

    def append(
        self, log_id: str, draft: Draft, now: Millis, *, urgent: bool = False, push: Job | None = None
    ) -> Awaitable[Appended]:
        if self._store.closed:
            return _closed()
        if self._opened_log(log_id) is None:
            return Failed(ConversationNotFound())
        appended = self._append(log_id, draft, now)
        if urgent and appended.fresh:
            self._urgent.setdefault(log_id, []).append(appended.message.position)
        self._keep_job(push, [appended], alone=True)
        return Done(appended)

    def _append(self, log_id: str, draft: Draft, now: Millis) -> Appended:
        """What ``append`` does, in a log that is there."""
        log = self._opened_log(log_id)
        assert log is not None
        token = (log_id, draft.sender, draft.token)
        if draft.token and token in self._tokens:
            first = self._tokens[token]
            return Appended(log.at(first.sequence) or first, fresh=False)
        timestamp = next_timestamp(log.head.timestamp, now)
        sequence = log.head.sequence + 1
        message = place(draft, message_id(timestamp, urandom(MESSAGE_ENTROPY_BYTES)), timestamp, sequence)
        log.messages.append(message)
        log.head = advance(log.head, message)
        owner = log_owner(log_id)[1]
        if owner:
            self._memberships.setdefault(owner, {}).setdefault(log_id, Membership(timestamp))
        sender = self._membership(log_id, draft.sender)
        if sender is not None:
            self._memberships[draft.sender][log_id] = replace(sender, sent=sender.sent + 1)
        for client_id in draft.mentions:
            mentioned = self._membership(log_id, client_id)
            if mentioned is not None and client_id != draft.sender:
                self._memberships[client_id][log_id] = replace(mentioned, mentioned=sequence)
        if draft.token:
            self._tokens[token] = message
        return Appended(message, fresh=True)

    def append_each(
        self, log_ids: Sequence[str], draft: Draft, now: Millis, *, push: Job | None = None
    ) -> Awaitable[list[Appended]]:
        if self._store.closed:
            return _closed()
        # One that is not there must not leave the others opened.
        if not all(log_id in self._logs or self._has_personal_logs(log_owner(log_id)) for log_id in log_ids):
            return Failed(ConversationNotFound())
        logs = filter(None, map(self._opened_log, log_ids))
        latest = max((next_timestamp(log.head.timestamp, now) for log in logs), default=now)
        draft = replace(draft, id=message_id(latest, urandom(MESSAGE_ENTROPY_BYTES)))
        appended = [self._append(log_id, draft, latest) for log_id in log_ids]
        self._keep_job(push, appended, alone=False)
        return Done(appended)

    def _keep_job(self, push: Job | None, appended: Sequence[Appended], *, alone: bool) -> None:
        fresh = next((one.message for one in appended if one.fresh), None)
        if push is not None and fresh is not None:
            sequence = fresh.sequence if alone else 0
            self._jobs[fresh.id] = replace(push, message_id=fresh.id, timestamp=fresh.timestamp, sequence=sequence)

    def patch_message(self, log_id: str, message: Message, now: Millis) -> Awaitable[Message]:
        if self._store.closed:
            return _closed()
        log = self._logs.get(log_id)
        if log is None:
            return Failed(ConversationNotFound())
        before = log.at(message.sequence)
        if before is None or before.deleted:
            return Failed(MessageNotFound())
        self._patched_at = Millis(max(now, before.timestamp + 1, self._patched_at + 1))
        patched = replace(message, patched_at=self._patched_at)
        log.put(patched)
        return Done(patched)

    async def patches_since(self, log_id: str, moment: Millis, limit: int) -> list[Message]:
        patched = [one for one in self._messages(log_id) if one.patched_at > max(moment, 0) and not one.deleted]
        return sorted(patched, key=lambda message: message.patched_at)[: max(limit, 0)]

    def delete_message(self, log_id: str, position: Position) -> Awaitable[bool]:
        if self._store.closed:
            return _closed()
        message = self._at(log_id, position)
        if message is None:
            return Done(False)
        place_left = Message(
            message.id, message.timestamp, message.sequence, message.sender, b"", deleted=True
        )  # the sender stays: its messages are counted
        self._logs[log_id].put(place_left)
        return Done(True)

    async def find_message(self, log_id: str, position: Position) -> Message | None:
        return self._at(log_id, position)

    async def messages_from(self, log_id: str, sequence: int, limit: int) -> list[Message]:
        found = [message for message in self._messages(log_id) if message.sequence >= sequence][: max(limit, 0)]
        return [message for message in found if not message.deleted]

    async def history(self, log_id: str, span: Span, wanted: Callable[[Message], bool] | None = None) -> list[Message]:
        messages = self._messages(log_id)
        first, last = 0, len(messages)
        if span.after is not None:
            first = (bisect_left if span.after_included else bisect_right)(messages, span.after, key=_position)
        if span.before is not None:
            last = (bisect_right if span.before_included else bisect_left)(messages, span.before, key=_position)
        kept = [message for message in messages[first:last] if not message.deleted]
        found = [message for message in kept if wanted is None or wanted(message)]
        limit = max(span.limit, 0)
        return found[max(len(found) - limit, 0) :] if span.newest_first else found[:limit]

    async def urgent_since(self, log_id: str, since: Millis, until: Millis, limit: int) -> list[Message]:
        urgent = [self._at(log_id, one) for one in self._urgent.get(log_id, ()) if since <= one.timestamp <= until]
        return [message for message in urgent if message is not None][: max(limit, 0)]

    async def urgent_start(self, log_id: str, since: Millis, until: Millis, limit: int) -> Millis:
        moments = [one.timestamp for one in self._urgent.get(log_id, ()) if since <= one.timestamp <= until]
        return since if len(moments) <= limit else Millis(moments[-limit - 1] + 1)

    async def find_head(self, log_id: str) -> Head:
        log = self._logs.get(log_id)
        return Head() if log is None else log.head

    async def find_membership(self, log_id: str, client_id: str) -> Membership | None:
        return self._membership(log_id, client_id)

    async def joined_conversations(self, client_id: str) -> list[Joined]:
        return [
            Joined(log_id, membership, self._logs[log_id].head)
            for log_id, membership in self._memberships.get(client_id, {}).items()
        ]

    def acknowledge(
        self, log_id: str, client_id: str, upto: Position, now: Millis, notices: Sequence[Addressed] = ()
    ) -> Awaitable[Acknowledged | None]:
        if self._store.closed:
            return _closed()
        membership = self._membership(log_id, client_id)
        if membership is None:
            return Done(None)
        target = self._logs[log_id].covered(upto)
        if target <= membership.delivered:
            return Done(Acknowledged(membership.delivered, membership.delivered))
        self._memberships[client_id][log_id] = replace(membership, delivered=target, delivered_at=now)
        self._notices.extend(notices)
        return Done(Acknowledged(membership.delivered, target))

    def mark_read(
        self,
        log_id: str,
        client_id: str,
        upto: Position | None,
        now: Millis,
        notices: Sequence[Addressed] = (),
    ) -> Awaitable[Membership | None]:
        if self._store.closed:
            return _closed()
        membership = self._membership(log_id, client_id)
        if membership is None:
            return Done(None)
        log = self._logs[log_id]
        target = log.covered(upto)
        if target <= membership.read:
            return Done(membership)
        sent = sum(
            message.sender == client_id for message in log.messages if membership.read < message.sequence <= target
        )
        moved = replace(membership, read=target, sent_at_read=membership.sent_at_read + sent, read_at=now)
        if target > membership.delivered:
            moved = replace(moved, delivered=target, delivered_at=now)
        self._memberships[client_id][log_id] = moved
        self._notices.extend(notices)
        return Done(moved)

    def add_notices(self, notices: Sequence[Addressed]) -> Awaitable[None]:
        if self._store.closed:
            return _closed()
        self._notices.extend(notices)
        return Done(None)

    async def notices_for(self, client_id: str, since: Millis, limit: int) -> tuple[list[Notice], bool]:
        found = [one.notice for one in self._notices if one.notice.at > since and self._concerns(one, client_id)]
        found.sort(key=lambda notice: notice.at)
        end = max(limit, 0)
        while 0 < end < len(found) and found[end].at == found[end - 1].at:
            end += 1
        return found[:end], end < len(found)

    def save_will(self, will: Will) -> Awaitable[None]:
        if self._store.closed:
            return _closed()
        self._wills[will.client_id] = will
        return Done(None)

    def take_will(self, client_id: str, holder: Holder | None) -> Awaitable[Will | None]:
        if self._store.closed:
            return _closed()
        will = self._wills.get(client_id)
        if will is None or (holder is not None and will.holder != holder):
            return Done(None)
        return Done(self._wills.pop(client_id))

    async def find_will(self, client_id: str) -> Will | None:
        return self._wills.get(client_id)

    async def wills(self) -> list[Will]:
        return list(self._wills.values())

    def save_stay(self, stay: Stay) -> Awaitable[None]:
        if self._store.closed:
            return _closed()
        self._stays[stay.client_id, stay.device] = stay
        return Done(None)

    def forget_stay(self, client_id: str, device: str) -> Awaitable[None]:
        if self._store.closed:
            return _closed()
        self._stays.pop((client_id, device), None)
        return Done(None)

    async def find_stay(self, client_id: str, device: str) -> Stay | None:
        return self._stays.get((client_id, device))

    async def stays(self) -> list[Stay]:
        return list(self._stays.values())

    def save_broadcast(self, broadcast: Broadcast) -> Awaitable[None]:
        if self._store.closed:
            return _closed()
        self._broadcasts[broadcast.message.id] = broadcast
        return Done(None)

    async def broadcasts(self, since: Millis = Millis(0)) -> list[Broadcast]:
        found = [one for one in self._broadcasts.values() if one.message.timestamp > since]
        return sorted(found, key=lambda broadcast: broadcast.message.position)

    def delete_broadcast(self, message_id: str) -> Awaitable[bool]:
        if self._store.closed:
            return _closed()
        return Done(self._broadcasts.pop(message_id, None) is not None)

    def saw_broadcasts(self, client_id: str, upto: Millis) -> Awaitable[None]:
        if self._store.closed:
            return _closed()
        self._broadcasts_seen[client_id] = max(upto, self._broadcasts_seen.get(client_id, upto))
        return Done(None)

    async def count_users(self, day: int) -> int:
        return len(self._users.get(day, ()))

    def save_grant(self, client_id: str, token: str, grant: Grant) -> Awaitable[None]:
        if self._store.closed:
            return _closed()
        self._grants[client_id, _hash(token)] = grant
        return Done(None)

    def log_in(self, client_id: str, token: str, grant: Grant, now: Millis) -> Awaitable[Arrival]:
        if self._store.closed:
            return _closed()
        self._grants[client_id, _hash(token)] = grant
        arrival = Arrival(client_id not in self._arrived, self._broadcasts_seen.get(client_id, Millis(0)))
        self._arrived.add(client_id)
        day = now // _DAY_MILLIS
        self._users.setdefault(day, set()).add(client_id)
        for past in [one for one in self._users if one < day - 1]:
            del self._users[past]
        return Done(arrival)

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

    def save_document(self, name: str, content: bytes | None) -> Awaitable[None]:
        if self._store.closed:
            return _closed()
        if content is None:
            self._documents.pop(name, None)
        else:
            self._documents[name] = content
        return Done(None)

    async def find_document(self, name: str) -> bytes | None:
        return self._documents.get(name)

    async def push_jobs(self, limit: int) -> list[Job]:
        return [self._jobs[message_id] for message_id in sorted(self._jobs, key=_utf8)[: max(limit, 0)]]

    def queue_pushes(
        self, job: Job, notifications: Sequence[Notification], badges: Mapping[str, int], now: Millis, *, done: bool
    ) -> Awaitable[None]:
        if self._store.closed:
            return _closed()
        for notification in notifications:
            queue = self._queues.setdefault(notification.target, _Queue(now))
            queue.waiting.setdefault(notification.message_id, notification)
        for installation_id, badge in badges.items():
            installation = self._installations.get(installation_id)
            if installation is not None:
                self._installations[installation_id] = replace(installation, badge=badge)
        if done:
            self._jobs.pop(job.message_id, None)
        elif job.message_id in self._jobs:
            self._jobs[job.message_id] = job
        return Done(None)

    async def due_pushes(self, now: Millis, limit: int, besides: Collection[str] = ()) -> list[DuePush]:
        due = [target for target, queue in self._queues.items() if queue.due <= now and target not in besides]
        due.sort(key=lambda target: self._queues[target].due)
        return [self._queues[target].first for target in due[: max(limit, 0)]]

    async def next_push_due(self) -> Millis | None:
        return min((queue.due for queue in self._queues.values()), default=None)

    def settle_push(self, push: DuePush, now: Millis) -> Awaitable[None]:
        if self._store.closed:
            return _closed()
        target, message_id = push.notification.target, push.notification.message_id
        queue = self._queues.get(target)
        if queue is None or message_id not in queue.waiting:
            return Done(None)
        if queue.first.notification.message_id == message_id:
            queue.due, queue.attempts = now, 0
        del queue.waiting[message_id]
        if not queue.waiting:
            del self._queues[target]
        return Done(None)

    def postpone_push(self, push: DuePush, due: Millis, *, tried: bool = True) -> Awaitable[None]:
        if self._store.closed:
            return _closed()
        queue = self._queues.get(push.notification.target)
        if queue is not None and queue.first == push:
            queue.due, queue.attempts = due, push.attempts + tried
        return Done(None)

    def drop_pushes(self, target: str) -> Awaitable[int]:
        if self._store.closed:
            return _closed()
        queue = self._queues.pop(target, None)
        return Done(0 if queue is None else len(queue.waiting))

    async def count_pushes(self) -> Waiting:
        waiting = sum(len(queue.waiting) for queue in self._queues.values())
        return Waiting(len(self._jobs), len(self._queues), waiting)

    async def find_installation(self, installation_id: str) -> Installation | None:
        return self._installations.get(installation_id)

    async def find_device(self, name: str) -> Installation | None:
        known = self._installations.values()
        if not name:
            return None
        named = next((one for one in known if one.installation_id == name), None)
        return named or next((one for one in known if one.token == name), None)

    async def installations_of(self, channel: str, most: int = SUBSCRIBED_MAX) -> list[Installation]:
        found = [one for one in self._by_age() if channel in one.channels]
        return found[max(len(found) - most, 0) :]

    async def scan_installations(self) -> AsyncGenerator[Installation, None]:
        for installation in self._by_age():
            if self._installations.get(installation.id) is not None:  # it may have gone meanwhile
                yield self._installations[installation.id]

    def _by_age(self) -> list[Installation]:
        return sorted(self._installations.values(), key=lambda installation: _utf8(installation.id))

    def change_installation(
        self, installation_id: str, change: Callable[[Installation | None], Installation | None]
    ) -> Awaitable[Installation | None]:
        if not 0 < len(_utf8(installation_id)) <= _INSTALLATION_ID_MAX_BYTES:
            raise ValueError(f"{installation_id!r} is not an installation's id")
        if self._store.closed:
            return _closed()
        try:
            changed = change(self._installations.get(installation_id))
        except Exception as error:
            return Failed(error)
        if changed is None:
            self._installations.pop(installation_id, None)
            return Done(None)
        if changed.id != installation_id:
            return Failed(ValueError(f"the id of installation {installation_id} cannot change"))
        names = _names(changed)
        for other in [one for one in self._installations.values() if names & _names(one)]:
            del self._installations[other.id]
        self._installations[installation_id] = changed
        return Done(changed)

    def retire(self, rules: Retention, now: Millis) -> Awaitable[int]:
        if self._store.closed:
            return _closed()
        room = _SWEEP_STEP
        over = [one.id for one in self._conversations.values() if self._over(one, rules, now)]
        for conversation_id in over[:room]:
            self._forget(conversation_id)
            room -= 1
        if rules.history:
            for log_id in self._logs:
                room -= self._retire_messages(log_id, Millis(now - rules.history), room)
        if rules.notices:
            room -= self._retire_notices(Millis(now - rules.notices), room)
        expired = (one for one, broadcast in self._broadcasts.items() if broadcast.valid_till <= now)
        room -= _drop(self._broadcasts, expired, room)
        missed = (
            device for device, stay in self._stays.items() if stay.left_at and stay.left_at + REJOIN_MILLIS <= now
        )
        room -= _drop(self._stays, missed, room)
        for urgent in self._urgent.values():
            old = bisect_left(urgent, now - URGENT_KEPT_MILLIS, key=lambda position: position.timestamp)
            del urgent[: min(old, room)]
            room -= min(old, room)
        return Done(_SWEEP_STEP - room)

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

    def _membership(self, log_id: str, client_id: str) -> Membership | None:
        return self._memberships.get(client_id, {}).get(log_id)

    def _join(self, conversation: Conversation, client_id: str, fresh: Membership) -> None:
        self._memberships.setdefault(client_id, {}).setdefault(conversation.id, fresh)
        if conversation.kind is Kind.SYSTEM:
            self._subscribers.setdefault(conversation.id, set()).add(client_id)

    def _leave(self, conversation: Conversation, client_id: str) -> None:
        self._memberships.get(client_id, {}).pop(conversation.id, None)
        self._subscribers.get(conversation.id, set()).discard(client_id)
        own = personal_log(conversation.id, client_id)
        membership = self._membership(own, client_id)
        if membership is not None:
            read = all_read(membership, self._logs[own].head, conversation.updated_at)
            self._memberships[client_id][own] = read

    def _stand(self, conversation_id: str, client_id: str, standing: Standing) -> None:
        given = self._standings.setdefault(conversation_id, {})
        if standing == UNREMARKABLE:
            given.pop(client_id, None)
        else:
            given[client_id] = standing

    def _opened_log(self, log_id: str) -> "_Log | None":
        """The log; a personal one is made when its conversation has such logs."""
        if self._has_personal_logs(log_owner(log_id)):
            return self._logs.setdefault(log_id, _Log())
        return self._logs.get(log_id)

    def _has_personal_logs(self, owner: tuple[str, str]) -> bool:
        """Whether that is a client's log in a service conversation that is there."""
        conversation = self._conversations.get(owner[0])
        return owner[1] != "" and conversation is not None and conversation.kind is Kind.SYSTEM

    def _messages(self, log_id: str) -> list[Message]:
        """All that the log has, places of deleted messages too."""
        log = self._logs.get(log_id)
        return [] if log is None else log.messages

    def _at(self, log_id: str, position: Position) -> Message | None:
        messages = self._messages(log_id)
        index = bisect_left(messages, position, key=_position)
        found = messages[index] if index < len(messages) else None
        return found if found is not None and found.position == position and not found.deleted else None

    def _concerns(self, addressed: Addressed, client_id: str) -> bool:
        if addressed.client_id is not None:
            return addressed.client_id == client_id
        membership = self._membership(addressed.notice.conversation_id, client_id)
        return membership is not None and membership.joined_at <= addressed.notice.at

    def _forget(self, conversation_id: str) -> None:
        """Take a conversation away with all that hangs on it."""
        conversation = self._conversations.pop(conversation_id)
        if conversation.unique_key is not None:
            unique = (conversation.kind, conversation.unique_key)
            if self._uniques.get(unique) == conversation_id:
                del self._uniques[unique]
        for log_id in [one for one in self._logs if log_owner(one)[0] == conversation_id]:
            del self._logs[log_id]
            self._urgent.pop(log_id, None)
        for memberships in self._memberships.values():
            for log_id in [one for one in memberships if log_owner(one)[0] == conversation_id]:
                del memberships[log_id]
        for token in [one for one in self._tokens if log_owner(one[0])[0] == conversation_id]:
            del self._tokens[token]
        self._subscribers.pop(conversation_id, None)
        self._standings.pop(conversation_id, None)
        self._notices = [
            one for one in self._notices if one.client_id is not None or one.notice.conversation_id != conversation_id
        ]

    def _over(self, conversation: Conversation, rules: Retention, now: Millis) -> bool:
        """Whether it has expired or was idle for too long."""
        if conversation.expired(now):
            return True
        if not rules.idle or conversation.kind is Kind.SYSTEM:
            return False
        stirred_at = max(conversation.updated_at, self._logs[conversation.id].head.timestamp)
        return stirred_at + rules.idle <= now

    def _retire_messages(self, log_id: str, before: Millis, room: int) -> int:
        """Take away at most ``room`` messages older than ``before``.

        Their senders' counts of what they sent are kept right: it is as if they had been read.
        """
        log = self._logs[log_id]
        count = min(bisect_left(log.messages, before, key=lambda message: message.timestamp), room)
        gone = log.messages[:count]
        del log.messages[:count]
        log.head = replace(log.head, first=log.head.first + count)
        for message in gone:
            sender = self._membership(log_id, message.sender)
            if sender is not None and message.sequence > sender.read:
                self._memberships[message.sender][log_id] = replace(sender, sent_at_read=sender.sent_at_read + 1)
        sequences = {message.sequence for message in gone}
        for token in [one for one, first in self._tokens.items() if one[0] == log_id and first.sequence in sequences]:
            del self._tokens[token]
        return count

    def _retire_notices(self, before: Millis, room: int) -> int:
        old = [one for one in self._notices if one.notice.at < before][:room]
        gone = set(map(id, old))
        self._notices = [one for one in self._notices if id(one) not in gone]
        return len(old)


class _Log:
    """The messages of one log that are kept: as many sequences as there are from ``head.first`` on."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.head = Head()

    def at(self, sequence: int) -> Message | None:
        """The message, or what is left of it."""
        index = sequence - self.head.first
        return self.messages[index] if 0 <= index < len(self.messages) else None

    def put(self, message: Message) -> None:
        self.messages[message.sequence - self.head.first] = message

    def covered(self, upto: Position | None) -> int:
        """The sequence of the newest message at or before ``upto``; what was retired is before everything."""
        if upto is None:
            return self.head.sequence
        if upto.message_id:
            return self.head.first - 1 + bisect_right(self.messages, upto, key=_position)
        return self.head.first - 1 + bisect_right(self.messages, upto.timestamp, key=lambda message: message.timestamp)


class _Queue:
    """What waits for a target, by message id, and when the first of it is due.

    Args:
        due: The moment.
    """

    def __init__(self, due: Millis) -> None:
        self.due = due
        self.attempts = 0
        self.waiting: dict[str, Notification] = {}

    @property
    def first(self) -> DuePush:
        return DuePush(self.due, self.attempts, next(iter(self.waiting.values())))


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


def _names(installation: Installation) -> set[tuple[str, str]]:
    """What no two installations share."""
    names = {
        ("token", installation.token),
        ("installation", installation.installation_id),
        ("registration", installation.registration_id),
    }
    return {name for name in names if name[1]}


def _hash(token: str) -> bytes:
    return sha256(token.encode(errors="surrogatepass")).digest()


def _utf8(client_id: str) -> bytes:
    return client_id.encode(errors="surrogatepass")
