"""``LmdbApplicationStore``: reads straight from the map in the loop's thread, writes through the writer's."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any, Final, Protocol, TypeVar

import lmdb

from fastim.adapters.lmdb.batch import Batch
from fastim.adapters.lmdb.cache import ConversationCache
from fastim.adapters.lmdb.changes import (
    Unfinished,
    broadcasts,
    clients,
    conversations,
    documents,
    installations,
    messages,
    notices,
    pushes,
    retire,
)
from fastim.adapters.lmdb.environment import Environment
from fastim.adapters.lmdb.keys import (
    APPLICATION_BYTES,
    CONVERSATION_BYTES,
    HASH_BYTES,
    SCOPE_BYTES,
    after_application,
    client_key,
    client_owner,
    conversation_id_of,
    conversation_key,
    conversation_owner,
    conversation_scope,
    device_hash,
    grant_hash,
    installation_key,
    is_personal,
    log_id_of,
    log_scope,
    membership_key,
    moment_key,
    name_key,
    queue_key,
    sequence_key,
    text_hash,
    token_key,
    use_hash,
)
from fastim.adapters.lmdb.page import NoticePage
from fastim.adapters.lmdb.places import count_before
from fastim.adapters.lmdb.reads import Reads
from fastim.adapters.lmdb.records import (
    PushCounts,
    Staying,
    decode_broadcast,
    decode_conversation,
    decode_grant,
    decode_installation,
    decode_job,
    decode_membership,
    decode_message,
    decode_moment,
    decode_notification,
    decode_number,
    decode_push_counts,
    decode_standing,
    decode_staying,
    decode_target,
    decode_users,
    decode_will,
    encode_json,
    encode_packed,
)
from fastim.adapters.lmdb.turns import Turns
from fastim.core.broadcast import Broadcast
from fastim.core.conversation import Conversation
from fastim.core.errors import ConversationNotFound
from fastim.core.ids import AppNumber
from fastim.core.installation import SUBSCRIBED_MAX, Installation
from fastim.core.message import Draft, Message, Position, Span
from fastim.core.notice import Addressed, Notice
from fastim.core.push import Job, Notification
from fastim.core.retention import Retention
from fastim.core.session import Grant
from fastim.core.standing import UNREMARKABLE, Standing
from fastim.core.units import Millis
from fastim.core.unread import Head, Membership
from fastim.core.will import Holder, Will
from fastim.ports.store import Acknowledged, Appended, Arrival, DuePush, Joined, Stay, Subscription, Waiting

R = TypeVar("R")


class Writes(Protocol):
    """The queue of changes."""

    def submit(self, change: Callable[[Batch], R | Unfinished]) -> asyncio.Future[R]:
        """Queue a change; its future fails with ``Unavailable`` when the store is closed."""
        ...


class LmdbApplicationStore(Reads):
    """The ``ApplicationStore`` port on LMDB.

    Args:
        writes: Where its changes are queued.
    """

    def __init__(
        self, writes: Writes, environment: Environment, cache: ConversationCache, turns: Turns, number: AppNumber
    ) -> None:
        super().__init__(environment, turns, number)
        self._writes: Final = writes
        self._cache: Final = cache

    # --- Conversations ------------------------------------------------------------------------------------------------

    async def find_conversation(self, conversation_id: str) -> Conversation | None:
        cached = self._cache.get((self._number, conversation_id))
        if cached is not None:
            return cached
        scope = self._conversation_scope(conversation_id)
        if scope is None:
            return None
        with self._environment.reading() as transaction:
            stored = transaction.get(scope, db=self._environment.tables.conversations)
        if stored is None:
            return None
        conversation = decode_conversation(stored)
        self._cache.put((self._number, conversation_id), conversation)
        return conversation

    async def scan_conversations(self) -> AsyncGenerator[Conversation, None]:
        deadline = self._turns.begin()
        end = after_application(self._number)
        while end:
            stored, end = self._conversations_before(end)
            for record in stored:
                yield decode_conversation(record)
                if perf_counter() > deadline:  # what the reader did with it counts, too: the loop has waited for both
                    deadline = await self._turns.next()

    async def conversation_ids_of(self, client_id: str) -> list[str]:
        ids: list[str] = []

        def note(transaction: lmdb.Transaction[bytes], key: bytes, stored: bytes) -> bool:
            conversation = key[-CONVERSATION_BYTES:]
            if not is_personal(conversation) and self._is_there(transaction, self._key + conversation):
                ids.append(conversation_id_of(conversation))
            return False

        await self._visit_memberships(client_id, note)
        return ids

    def create_conversation(
        self, conversation: Conversation, notices: Sequence[Addressed] = ()
    ) -> Awaitable[Conversation]:
        scope = self._conversation_scope(conversation.id)
        if scope is None:
            raise ValueError(f"{conversation.id!r} is not a conversation id")
        members = [_member(member) for member in conversation.members]
        record, prepared = encode_json(conversation), self._prepared(notices)
        return self._writes.submit(
            partial(conversations.create_conversation, self._number, scope, conversation, record, members, prepared)
        )

    def change_conversation(
        self,
        conversation: Conversation,
        *,
        joined: Iterable[str] = (),
        left: Iterable[str] = (),
        standings: Mapping[str, Standing] = {},
        notices: Sequence[Addressed] = (),
    ) -> Awaitable[None]:
        scope = self._conversation_scope(conversation.id)
        if scope is None:
            return self._writes.submit(_unfound)
        come = [_member(member) for member in joined]
        gone = [_member(member) for member in left]
        given = [(_member(client_id).name, standing) for client_id, standing in standings.items()]
        record, prepared = encode_json(conversation), self._prepared(notices)
        return self._writes.submit(
            partial(
                conversations.change_conversation,
                self._number,
                scope,
                conversation,
                record,
                come,
                gone,
                given,
                prepared,
            )
        )

    def delete_conversation(self, conversation_id: str) -> Awaitable[bool]:
        scope = self._conversation_scope(conversation_id)
        if scope is None:
            return self._writes.submit(_nothing_done)
        return self._writes.submit(partial(conversations.delete_conversation, self._number, scope))

    async def find_standing(self, conversation_id: str, client_id: str) -> Standing:
        scope, client = self._conversation_scope(conversation_id), client_key(client_id)
        if scope is None or client is None:
            return UNREMARKABLE
        with self._environment.reading() as transaction:
            stored = transaction.get(scope + name_key(client_id), db=self._environment.tables.standings)
            if stored is None or not self._is_there(transaction, scope):
                return UNREMARKABLE
        return decode_standing(stored)

    async def standings(self, conversation_id: str) -> dict[str, Standing]:
        found: dict[str, Standing] = {}
        scope = self._conversation_scope(conversation_id)
        if scope is None:
            return found

        def note(transaction: lmdb.Transaction[bytes], key: bytes, stored: bytes) -> bool:
            if self._is_there(transaction, scope):
                found[key[SCOPE_BYTES:].decode()] = decode_standing(stored)
            return False

        await self._visit(self._environment.tables.standings, scope, scope, note)
        return found

    async def subscriptions(self, conversation_id: str, after: str, limit: int) -> list[Subscription]:
        found: list[Subscription] = []
        scope = self._conversation_scope(conversation_id)
        if scope is None or limit <= 0:
            return found

        def note(transaction: lmdb.Transaction[bytes], key: bytes, stored: bytes) -> bool:
            if not self._is_there(transaction, scope):
                return True
            found.append(Subscription(conversation_id, key[SCOPE_BYTES:].decode(), decode_moment(stored)))
            return len(found) == limit

        start = scope + name_key(after) + b"\0"
        await self._visit(self._environment.tables.subscribers, scope, start, note)
        return found

    async def count_subscriptions(self, conversation_id: str) -> int:
        scope = self._conversation_scope(conversation_id)
        if scope is None:
            return 0
        with self._environment.reading() as transaction:
            stored = transaction.get(scope, db=self._environment.tables.subscriber_counts)
            if stored is None or not self._is_there(transaction, scope):
                return 0
        return decode_number(stored)

    def refuse_conversations(
        self, client_id: str, conversation_ids: Iterable[str], refused: bool, now: Millis
    ) -> Awaitable[None]:
        client = _member(client_id).client
        keys = [key for key in map(conversation_key, conversation_ids) if key is not None]
        return self._writes.submit(partial(conversations.refuse_conversations, self._key, client, keys, refused, now))

    async def refused_conversations(self, client_id: str) -> list[str]:
        found: list[str] = []
        client = client_key(client_id)
        if client is None:
            return found

        def note(transaction: lmdb.Transaction[bytes], key: bytes, stored: bytes) -> bool:
            found.append(conversation_id_of(key[-CONVERSATION_BYTES:]))
            return False

        prefix = self._key + client
        await self._visit(self._environment.tables.refusals, prefix, prefix, note)
        return found

    # --- Messages -----------------------------------------------------------------------------------------------------

    def append(
        self, log_id: str, draft: Draft, now: Millis, *, urgent: bool = False, push: Job | None = None
    ) -> Awaitable[Appended]:
        place = self._place(log_id, draft)
        if place is None:
            return self._writes.submit(_unfound)
        if push is None:
            return self._writes.submit(partial(messages.append, *place, draft, now, urgent))
        return self._writes.submit(partial(pushes.append_with_job, place, draft, now, urgent, push))

    def append_each(
        self, log_ids: Sequence[str], draft: Draft, now: Millis, *, push: Job | None = None
    ) -> Awaitable[list[Appended]]:
        places = [place for log_id in log_ids if (place := self._place(log_id, draft)) is not None]
        if len(places) < len(log_ids):
            return self._writes.submit(_unfound)
        if push is None:
            return self._writes.submit(partial(messages.append_each, places, draft, now))
        return self._writes.submit(partial(pushes.append_each_with_job, self._key, places, draft, now, push))

    def _place(self, log_id: str, draft: Draft) -> messages.Place | None:
        """What can be worked out here is: this thread has time while the writer's waits for the disk."""
        scope = self._scope(log_id)
        if scope is None:
            return None
        token = token_key(scope, draft.sender, draft.token) if draft.token else None
        client = client_key(draft.sender)
        return scope, token, None if client is None else membership_key(scope, client)

    def patch_message(self, log_id: str, message: Message, now: Millis) -> Awaitable[Message]:
        scope = self._scope(log_id)
        if scope is None:
            return self._writes.submit(_unfound)
        return self._writes.submit(partial(messages.patch_message, scope, message, now))

    async def patches_since(self, log_id: str, moment: Millis, limit: int) -> list[Message]:
        found: list[Message] = []
        scope = self._scope(log_id)
        if scope is None or limit <= 0:
            return found
        tables = self._environment.tables

        def note(transaction: lmdb.Transaction[bytes], key: bytes, stored: bytes) -> bool:
            if not self._is_there(transaction, conversation_scope(scope)):
                return True
            record = transaction.get(scope + stored, db=self._environment.tables.messages)
            if record is not None:
                found.append(decode_message(record))
            return len(found) == limit

        await self._visit(tables.patches, scope, scope + moment_key(moment + 1), note)
        return found

    def delete_message(self, log_id: str, position: Position) -> Awaitable[bool]:
        scope = self._scope(log_id)
        if scope is None:
            return self._writes.submit(_nothing_done)
        return self._writes.submit(partial(messages.delete_message, scope, position))

    async def find_message(self, log_id: str, position: Position) -> Message | None:
        scope = self._scope(log_id)
        if scope is None:
            return None
        with self._environment.reading() as transaction:
            table = self._environment.tables.messages
            head = self._head(transaction, scope)
            sequence = count_before(transaction, table, scope, head, position) + 1
            stored = transaction.get(scope + sequence_key(sequence), db=table) if sequence <= head.sequence else None
        message = None if stored is None else decode_message(stored)
        return message if message is not None and message.position == position and not message.deleted else None

    async def messages_from(self, log_id: str, sequence: int, limit: int) -> list[Message]:
        scope = self._scope(log_id)
        found: list[Message] = []
        if scope is None or limit <= 0:
            return found
        deadline = self._turns.begin()
        with self._environment.reading() as transaction:
            head = self._head(transaction, scope)
        first = max(sequence, head.first)
        last = min(head.sequence, first + limit - 1)
        span = Span(newest_first=False, limit=limit)
        while first <= last:
            first, last = self._history_slice(scope, first, last, span, None, found, deadline)
            if first <= last:
                deadline = await self._turns.next()
        return found

    async def history(self, log_id: str, span: Span, wanted: Callable[[Message], bool] | None = None) -> list[Message]:
        scope = self._scope(log_id)
        if scope is None:
            return []
        deadline = self._turns.begin()
        first, last = self._stretch(scope, span)
        found: list[Message] = []
        while first <= last and len(found) < span.limit:
            first, last = self._history_slice(scope, first, last, span, wanted, found, deadline)
            if first <= last and len(found) < span.limit:
                deadline = await self._turns.next()
        return found[::-1] if span.newest_first else found

    async def urgent_since(self, log_id: str, since: Millis, until: Millis, limit: int) -> list[Message]:
        found: list[Message] = []

        def note(transaction: lmdb.Transaction[bytes], scope: bytes, moment: bytes, sequence: bytes) -> bool:
            record = transaction.get(scope + sequence, db=self._environment.tables.messages)
            message = None if record is None else decode_message(record)
            if message is not None and not message.deleted:
                found.append(message)
            return len(found) == limit

        if limit > 0:
            await self._visit_urgent(log_id, since, until, note)
        return found

    async def urgent_start(self, log_id: str, since: Millis, until: Millis, limit: int) -> Millis:
        newest: deque[bytes] = deque(maxlen=limit + 1)

        def note(transaction: lmdb.Transaction[bytes], scope: bytes, moment: bytes, sequence: bytes) -> bool:
            newest.append(moment)
            return False

        await self._visit_urgent(log_id, since, until, note)
        return since if len(newest) <= limit else Millis(int.from_bytes(newest[0]) + 1)

    async def _visit_urgent(
        self,
        log_id: str,
        since: Millis,
        until: Millis,
        note: Callable[[lmdb.Transaction[bytes], bytes, bytes, bytes], bool],
    ) -> None:
        """Visit each urgent message: the log's scope, the message's timestamp and sequence as in keys."""
        scope = self._scope(log_id)
        if scope is None:
            return
        last = moment_key(until)

        def visit(transaction: lmdb.Transaction[bytes], key: bytes, stored: bytes) -> bool:
            moment = key[len(scope) :]
            if moment > last or not self._is_there(transaction, conversation_scope(scope)):
                return True
            return note(transaction, scope, moment, stored)

        await self._visit(self._environment.tables.urgent_messages, scope, scope + moment_key(since), visit)

    async def find_head(self, log_id: str) -> Head:
        scope = self._scope(log_id)
        if scope is None:
            return Head()
        with self._environment.reading() as transaction:
            return self._head(transaction, scope)

    # --- Members ------------------------------------------------------------------------------------------------------

    async def find_membership(self, log_id: str, client_id: str) -> Membership | None:
        scope, client = self._scope(log_id), client_key(client_id)
        key = None if scope is None or client is None else membership_key(scope, client)
        if scope is None or key is None:
            return None
        with self._environment.reading() as transaction:
            stored = transaction.get(key, db=self._environment.tables.memberships)
            if stored is None or not self._is_there(transaction, conversation_scope(scope)):
                return None
        return decode_membership(stored)

    async def joined_conversations(self, client_id: str) -> list[Joined]:
        found: list[Joined] = []
        client = client_key(client_id)
        if client is None:
            return found

        def note(transaction: lmdb.Transaction[bytes], key: bytes, stored: bytes) -> bool:
            scope = log_scope(key, client)
            if self._is_there(transaction, conversation_scope(scope)):
                log_id = log_id_of(key[-CONVERSATION_BYTES:], client_id)
                found.append(Joined(log_id, decode_membership(stored), self._stored_head(transaction, scope)))
            return False

        await self._visit_memberships(client_id, note)
        return found

    def acknowledge(
        self, log_id: str, client_id: str, upto: Position, now: Millis, notices: Sequence[Addressed] = ()
    ) -> Awaitable[Acknowledged | None]:
        scope, client = self._scope(log_id), client_key(client_id)
        if scope is None or client is None:
            return self._writes.submit(_nothing)
        return self._writes.submit(partial(messages.acknowledge, scope, client, upto, now, self._prepared(notices)))

    def mark_read(
        self,
        log_id: str,
        client_id: str,
        upto: Position | None,
        now: Millis,
        notices: Sequence[Addressed] = (),
    ) -> Awaitable[Membership | None]:
        scope, client = self._scope(log_id), client_key(client_id)
        if scope is None or client is None:
            return self._writes.submit(_nothing)
        return self._writes.submit(messages.MarkRead(scope, client, client_id, upto, now, self._prepared(notices)))

    # --- Notices ------------------------------------------------------------------------------------------------------

    def add_notices(self, notices: Sequence[Addressed]) -> Awaitable[None]:
        return self._writes.submit(partial(_put_notices, self._prepared(notices)))

    async def notices_for(self, client_id: str, since: Millis, limit: int) -> tuple[list[Notice], bool]:
        client = client_key(client_id)
        if client is None:
            return [], False
        page = NoticePage(self._number, since, limit)

        def gather(transaction: lmdb.Transaction[bytes], key: bytes, stored: bytes) -> bool:
            conversation = key[-CONVERSATION_BYTES:]
            if not is_personal(conversation) and self._is_there(transaction, self._key + conversation):
                joined_at = decode_membership(stored).joined_at
                page.gather(transaction, self._environment.tables, conversation_owner(conversation), joined_at)
            return False

        with self._environment.reading() as transaction:
            page.begin(transaction, self._environment.tables, client_owner(client))
        await self._visit_memberships(client_id, gather)
        return page.finish()

    # --- Clients ------------------------------------------------------------------------------------------------------

    def save_will(self, will: Will) -> Awaitable[None]:
        key = self._key + _member(will.client_id).client
        return self._writes.submit(partial(clients.save_will, key, encode_packed(will)))

    def take_will(self, client_id: str, holder: Holder | None) -> Awaitable[Will | None]:
        client = client_key(client_id)
        if client is None:
            return self._writes.submit(_nothing)
        return self._writes.submit(partial(clients.take_will, self._key + client, holder))

    async def find_will(self, client_id: str) -> Will | None:
        client = client_key(client_id)
        if client is None:
            return None
        with self._environment.reading() as transaction:
            stored = transaction.get(self._key + client, db=self._environment.tables.wills)
        return None if stored is None else decode_will(stored)

    async def wills(self) -> list[Will]:
        found: list[Will] = []

        def note(transaction: lmdb.Transaction[bytes], key: bytes, stored: bytes) -> bool:
            found.append(decode_will(stored))
            return False

        await self._visit(self._environment.tables.wills, self._key, self._key, note)
        return found

    def save_stay(self, stay: Stay) -> Awaitable[None]:
        device = stay.device.encode(errors="surrogatepass")
        staying = Staying(stay.client_id, device, stay.conversation_id, stay.left_at, stay.missed_from)
        return self._writes.submit(partial(clients.save_stay, self._stay_key(stay.client_id, stay.device), staying))

    def forget_stay(self, client_id: str, device: str) -> Awaitable[None]:
        return self._writes.submit(partial(clients.forget_stay, self._stay_key(client_id, device)))

    async def find_stay(self, client_id: str, device: str) -> Stay | None:
        if client_key(client_id) is None:
            return None
        with self._environment.reading() as transaction:
            stored = transaction.get(self._stay_key(client_id, device), db=self._environment.tables.stays)
        return None if stored is None else _stay(decode_staying(stored))

    async def stays(self) -> list[Stay]:
        found: list[Stay] = []

        def note(transaction: lmdb.Transaction[bytes], key: bytes, stored: bytes) -> bool:
            found.append(_stay(decode_staying(stored)))
            return False

        await self._visit(self._environment.tables.stays, self._key, self._key, note)
        return found

    def save_broadcast(self, broadcast: Broadcast) -> Awaitable[None]:
        return self._writes.submit(partial(broadcasts.save_broadcast, self._key, broadcast))

    async def broadcasts(self, since: Millis = Millis(0)) -> list[Broadcast]:
        found: list[Broadcast] = []

        def note(transaction: lmdb.Transaction[bytes], key: bytes, stored: bytes) -> bool:
            found.append(decode_broadcast(stored))
            return False

        start = self._key + moment_key(since + 1)
        await self._visit(self._environment.tables.broadcasts, self._key, start, note)
        return found

    def delete_broadcast(self, message_id: str) -> Awaitable[bool]:
        encoded = message_id.encode(errors="surrogatepass")
        return self._writes.submit(partial(broadcasts.delete_broadcast, self._key, encoded))

    def saw_broadcasts(self, client_id: str, upto: Millis) -> Awaitable[None]:
        return self._writes.submit(partial(clients.saw_broadcasts, self._key, _member(client_id).client, upto))

    async def count_users(self, day: int) -> int:
        with self._environment.reading() as transaction:
            stored = transaction.get(self._key, db=self._environment.tables.users)
        counts = () if stored is None else decode_users(stored).counts
        return next((one.clients for one in counts if one.day == day), 0)

    def save_grant(self, client_id: str, token: str, grant: Grant) -> Awaitable[None]:
        holder = _member(client_id).client + grant_hash(token)
        return self._writes.submit(partial(clients.save_grant, self._key, holder, grant))

    def log_in(self, client_id: str, token: str, grant: Grant, now: Millis) -> Awaitable[Arrival]:
        client = _member(client_id).client
        holder = client + grant_hash(token)
        return self._writes.submit(partial(clients.log_in, self._key, client, holder, grant, now))

    async def find_grant(self, client_id: str, token: str) -> Grant | None:
        client = client_key(client_id)
        if client is None:
            return None
        with self._environment.reading() as transaction:
            stored = transaction.get(self._key + client + grant_hash(token), db=self._environment.tables.grants)
        return None if stored is None else decode_grant(stored)

    def kick(self, client_id: str, at: Millis) -> Awaitable[None]:
        return self._writes.submit(partial(clients.kick, self._key, _member(client_id).client, at))

    async def find_kick(self, client_id: str) -> Millis:
        client = client_key(client_id)
        if client is None:
            return Millis(0)
        with self._environment.reading() as transaction:
            stored = transaction.get(self._key + client, db=self._environment.tables.kicks)
        return Millis(0) if stored is None else decode_moment(stored)

    def use_once(self, name: str, until: Millis) -> Awaitable[bool]:
        return self._writes.submit(partial(clients.use_once, self._key, use_hash(name), until))

    def save_document(self, name: str, content: bytes | None) -> Awaitable[None]:
        return self._writes.submit(partial(documents.save_document, self._key + name.encode(), content))

    async def find_document(self, name: str) -> bytes | None:
        with self._environment.reading() as transaction:
            return transaction.get(self._key + name.encode(), db=self._environment.tables.documents)

    def retire(self, rules: Retention, now: Millis) -> Awaitable[int]:
        return self._writes.submit(partial(retire.retire, self._number, rules, now))

    # --- Push ---------------------------------------------------------------------------------------------------------

    async def push_jobs(self, limit: int) -> list[Job]:
        found: list[Job] = []

        def note(transaction: lmdb.Transaction[bytes], key: bytes, stored: bytes) -> bool:
            found.append(decode_job(stored))
            return len(found) == limit

        if limit > 0:
            await self._visit(self._environment.tables.push_jobs, self._key, self._key, note)
        return found

    def queue_pushes(
        self, job: Job, notifications: Sequence[Notification], badges: Mapping[str, int], now: Millis, *, done: bool
    ) -> Awaitable[None]:
        prepared = [
            pushes.PreparedPush(text_hash(one.target), text_hash(one.message_id), encode_packed(one))
            for one in notifications
        ]
        given = {
            self._key + key: badge
            for installation_id, badge in badges.items()
            if (key := installation_key(installation_id)) is not None
        }
        return self._writes.submit(partial(pushes.queue_pushes, self._key, job, prepared, given, now, done))

    async def due_pushes(self, now: Millis, limit: int, besides: Collection[str] = ()) -> list[DuePush]:
        found: list[DuePush] = []
        left_out = set(map(text_hash, besides))
        last = moment_key(now)

        def note(transaction: lmdb.Transaction[bytes], key: bytes, stored: bytes) -> bool:
            if key[APPLICATION_BYTES:-HASH_BYTES] > last:
                return True
            tables, hashed = self._environment.tables, key[-HASH_BYTES:]
            record = None if hashed in left_out else transaction.get(self._key + hashed, db=tables.push_targets)
            if record is not None:
                target = decode_target(record)
                cursor = transaction.cursor(tables.push_queues)
                if pushes.first_of(cursor, self._key + queue_key(target.queue)):
                    found.append(DuePush(target.due, target.attempts, decode_notification(cursor.value())))
                    left_out.add(hashed)  # it may be settled while others run, and the next one be due
            return len(found) == limit

        if limit > 0:
            await self._visit(self._environment.tables.push_dues, self._key, self._key, note)
        return found

    async def next_push_due(self) -> Millis | None:
        with self._environment.reading() as transaction:
            cursor = transaction.cursor(self._environment.tables.push_dues)
            if not cursor.set_range(self._key) or not cursor.key().startswith(self._key):
                return None
            return Millis(int.from_bytes(cursor.key()[APPLICATION_BYTES:-HASH_BYTES]))

    def settle_push(self, push: DuePush, now: Millis) -> Awaitable[None]:
        return self._writes.submit(partial(pushes.settle_push, self._key, push, now))

    def postpone_push(self, push: DuePush, due: Millis, *, tried: bool = True) -> Awaitable[None]:
        return self._writes.submit(partial(pushes.postpone_push, self._key, push, due, tried))

    def drop_pushes(self, target: str) -> Awaitable[int]:
        return self._writes.submit(partial(pushes.drop_pushes, self._key + text_hash(target)))

    async def count_pushes(self) -> Waiting:
        with self._environment.reading() as transaction:
            stored = transaction.get(self._key, db=self._environment.tables.push_counts)
        counts = PushCounts() if stored is None else decode_push_counts(stored)
        return Waiting(counts.jobs, counts.targets, counts.notifications)

    async def find_installation(self, installation_id: str) -> Installation | None:
        key = installation_key(installation_id)
        if key is None:
            return None
        with self._environment.reading() as transaction:
            stored = transaction.get(self._key + key, db=self._environment.tables.installations)
        return None if stored is None else decode_installation(stored)

    async def find_device(self, name: str) -> Installation | None:
        if not name:
            return None
        with self._environment.reading() as transaction:
            tables = self._environment.tables
            for kind in (installations.INSTALLATION, installations.TOKEN):
                key = transaction.get(installations.name_key(self._key, kind, name), db=tables.installation_names)
                stored = None if key is None else transaction.get(self._key + key, db=tables.installations)
                if stored is not None:
                    return decode_installation(stored)
        return None

    async def installations_of(self, channel: str, most: int = SUBSCRIBED_MAX) -> list[Installation]:
        found: list[Installation] = []
        prefix = self._key + text_hash(channel)
        end = prefix + b"\xff"  # behind every id: they are UTF-8
        deadline = self._turns.begin()
        while len(found) < most and (end := self._subscribed_before(prefix, end, most, deadline, found)):
            deadline = await self._turns.next()
        found.reverse()
        return found

    async def scan_installations(self) -> AsyncGenerator[Installation, None]:
        deadline = self._turns.begin()
        start = self._key
        while start:
            stored, start = self._installations_from(start)
            for record in stored:
                yield decode_installation(record)
                if perf_counter() > deadline:
                    deadline = await self._turns.next()

    def change_installation(
        self, installation_id: str, change: Callable[[Installation | None], Installation | None]
    ) -> Awaitable[Installation | None]:
        key = installation_key(installation_id)
        if key is None:
            raise ValueError(f"{installation_id!r} is not an installation's id")
        return self._writes.submit(partial(installations.change_installation, self._key + key, change))

    # --- What these lean on -------------------------------------------------------------------------------------------

    def _stay_key(self, client_id: str, device: str) -> bytes:
        return self._key + _member(client_id).client + device_hash(device)

    def _prepared(self, addressed: Iterable[Addressed]) -> list[notices.PreparedNotice]:
        return [self._prepared_one(one) for one in addressed]

    def _prepared_one(self, addressed: Addressed) -> notices.PreparedNotice:
        notice = addressed.notice
        if addressed.client_id is not None:
            owner = client_owner(_member(addressed.client_id).client)
        else:
            conversation = conversation_key(notice.conversation_id)
            if conversation is None:
                raise ValueError(f"{notice.conversation_id!r} is not a conversation id")
            owner = conversation_owner(conversation)
        return notices.PreparedNotice(self._key + owner, moment_key(notice.at), encode_json(notice))


def _member(client_id: str) -> conversations.Member:
    client = client_key(client_id)
    if client is None:
        raise ValueError(f"{client_id!r} is not a client id")
    return conversations.Member(client, name_key(client_id))


def _stay(staying: Staying) -> Stay:
    device = staying.device.decode(errors="surrogatepass")
    return Stay(staying.client_id, device, staying.conversation_id, staying.left_at, staying.missed_from)


def _put_notices(prepared: Sequence[notices.PreparedNotice], batch: Batch) -> None:
    notices.put_notices(prepared, batch)


def _unfound(batch: Batch) -> Any:
    """A change to a conversation that cannot be, refused in its place in the queue."""
    raise ConversationNotFound


def _nothing(batch: Batch) -> None:
    """A change that finds nothing to do, in its place in the queue."""


def _nothing_done(batch: Batch) -> bool:
    """The same, where it is asked whether there was something."""
    return False
