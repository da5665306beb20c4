"""Checking a store, beside a live server or on a copy: every rule that its records keep.

It sees one moment of the store. The server cannot reuse the pages of that moment meanwhile, so under load its file
grows until the check is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import lmdb
import msgspec
from msgspec import Struct

from fastim.adapters.lmdb.environment import Tables, open_beside, open_tables, require_current
from fastim.adapters.lmdb.keys import (
    CONVERSATION_BYTES,
    HOUR_MILLIS,
    TOKEN_KEY_BYTES,
    application_key,
    client_key,
    conversation_id_of,
    moment_key,
    sequence_key,
    split_client,
    unique_table_key,
)
from fastim.adapters.lmdb.records import (
    decode_application,
    decode_conversation,
    decode_grant,
    decode_head,
    decode_membership,
    decode_message,
    decode_moment,
    decode_number,
)
from fastim.core.conversation import Conversation
from fastim.core.errors import SettingsError
from fastim.core.message import Message
from fastim.core.unread import Head

PROBLEMS_MAX = 1_000
"""How many problems are told in full; further ones are only counted."""

_APPLICATION_BYTES = 4
_SCOPE_BYTES = _APPLICATION_BYTES + CONVERSATION_BYTES
_GRANT_HASH_BYTES = 32

R = TypeVar("R")


class Report(Struct, frozen=True):
    """What ``verify`` found.

    Attributes:
        problems: One line each, at most ``PROBLEMS_MAX``; empty when the store is sound.
        problem_count: All of them.
        counts: Records by table.
    """

    problems: tuple[str, ...]
    problem_count: int
    counts: dict[str, int]


def verify(path: Path | str) -> Report:
    """Check the store in a data directory, which a server may be using; not from within that server's process.

    Raises:
        SettingsError: There is no store, or it cannot be read; the text says what to do, in one line.
    """
    path = Path(path)
    environment = open_beside(path)
    try:
        require_current(environment, path)
        tables = open_tables(environment)
        with environment.begin() as transaction:
            return _Verification(transaction, tables).run()
    except lmdb.Error as error:
        raise SettingsError(f"the store in {path} cannot be read ({error}): restore a backup") from error
    finally:
        environment.close()


class _Verification:
    """One run, in one read transaction."""

    def __init__(self, transaction: lmdb.Transaction[bytes], tables: Tables) -> None:
        self._transaction: Final = transaction
        self._tables: Final = tables
        self._problems: list[str] = []
        self._problem_count = 0
        self._members = 0
        self._indexed_tokens = 0

    def run(self) -> Report:
        self._check_applications()
        self._check_conversations()
        self._check_messages()
        self._check_memberships()
        self._check_uniques()
        self._check_tokens()
        self._check_grants()
        self._check_kicks()
        self._check_uses()
        counts = {
            name: self._transaction.stat(table)["entries"]
            for name, table in zip(Tables._fields, self._tables, strict=True)
        }
        return Report(tuple(self._problems), self._problem_count, counts)

    def _check_applications(self) -> None:
        stored = self._transaction.get(b"next_application", db=self._tables.meta)
        following = 1 if stored is None else self._decoded("meta", b"next_application", stored, decode_number)
        names: set[str] = set()
        for key, record in self._all(self._tables.applications):
            application = self._decoded("application", key, record, decode_application)
            if application is None:
                continue
            if key != application_key(application.number):
                self._tell(f"application {application.id} has number {application.number} and key {key.hex()}")
            if following is not None and application.number >= following:
                self._tell(f"application {application.id} has number {application.number}, {following} is given next")
            if application.id in names:
                self._tell(f"application {application.id} is there twice")
            names.add(application.id)

    def _check_conversations(self) -> None:
        for key, record in self._all(self._tables.conversations):
            name = _name(key)
            conversation = self._decoded(f"conversation {name}", key, record, decode_conversation)
            if name is None:
                self._tell(f"conversations has the key {key.hex()}")
                continue
            self._check_application(f"conversation {name}", key)
            if self._transaction.get(key, db=self._tables.heads) is None:
                self._tell(f"conversation {name} has no head")
            if conversation is not None:
                self._check_conversation(name, key, conversation)
        for key, _ in self._all(self._tables.heads):
            if self._transaction.get(key, db=self._tables.conversations) is None:
                self._tell(f"a head belongs to {_name(key) or key.hex()}, which is no conversation")

    def _check_conversation(self, name: str, scope: bytes, conversation: Conversation) -> None:
        if conversation.id != name:
            self._tell(f"conversation {name} calls itself {conversation.id}")
        if len(set(conversation.members)) != len(conversation.members):
            self._tell(f"conversation {name} has a member twice")
        application, key = scope[:_APPLICATION_BYTES], scope[_APPLICATION_BYTES:]
        for member in set(conversation.members):
            client = client_key(member)
            if client is None:
                self._tell(f"conversation {name} has the member {member!r}, which is no client id")
                continue
            self._members += 1
            if self._transaction.get(application + client + key, db=self._tables.memberships) is None:
                self._tell(f"conversation {name} has the member {member}, who has no membership")
        if conversation.unique_key is not None:
            unique = application + unique_table_key(conversation.kind, conversation.unique_key)
            if self._transaction.get(unique, db=self._tables.uniques) != key:
                self._tell(f"conversation {name} is not the one that its unique key leads to")

    def _check_messages(self) -> None:
        scope, head, last = b"", Head(), None
        for key, record in self._all(self._tables.messages):
            if key[:_SCOPE_BYTES] != scope:
                self._check_head(scope, head, last)
                scope, last = key[:_SCOPE_BYTES], None
                head = self._head(scope)
            message = self._decoded("message", key, record, decode_message)
            if message is None:
                continue
            self._check_message(key, message, last)
            last = message
        self._check_head(scope, head, last)
        cursor = self._transaction.cursor(self._tables.messages)
        for key, _ in self._all(self._tables.heads):
            if not (cursor.set_range(key) and cursor.key().startswith(key)):
                self._check_head(key, self._head(key), None)

    def _head(self, scope: bytes) -> Head:
        stored = self._transaction.get(scope, db=self._tables.heads)
        if stored is None:
            self._tell(f"messages belong to {_name(scope) or scope.hex()}, which has no head")
            return Head()
        return self._decoded("head", scope, stored, decode_head) or Head()

    def _check_message(self, key: bytes, message: Message, last: Message | None) -> None:
        name = f"message {message.sequence} of conversation {_name(key[:_SCOPE_BYTES])}"
        if key[_SCOPE_BYTES:] != sequence_key(message.sequence):
            self._tell(f"{name} has the key {key.hex()}")
        if message.sequence != (1 if last is None else last.sequence + 1):
            self._tell(f"{name} follows message {0 if last is None else last.sequence}")
        if last is not None and message.timestamp <= last.timestamp:
            self._tell(f"{name} has timestamp {message.timestamp}, the one before {last.timestamp}")
        if last is not None and message.id <= last.id:
            self._tell(f"{name} has the id {message.id}, the one before {last.id}")

    def _check_head(self, scope: bytes, head: Head, last: Message | None) -> None:
        if scope and (head.sequence, head.timestamp, head.last_id) != (
            (0, 0, "") if last is None else (last.sequence, last.timestamp, last.id)
        ):
            self._tell(
                f"conversation {_name(scope)} has its head at message {head.sequence} of {head.timestamp}, its last "
                f"message is {'missing' if last is None else f'{last.sequence} of {last.timestamp}'}"
            )

    def _check_memberships(self) -> None:
        memberships = self._transaction.stat(self._tables.memberships)["entries"]
        for key, record in self._all(self._tables.memberships):
            try:
                client_id, rest = split_client(key, _APPLICATION_BYTES)
                name = f"membership of {client_id} in {conversation_id_of(rest)}"
            except ValueError as error:
                self._tell(f"memberships: {error}")
                continue
            membership = self._decoded(name, key, record, decode_membership)
            scope = key[:_APPLICATION_BYTES] + rest
            stored = self._transaction.get(scope, db=self._tables.heads)
            head = Head() if stored is None else self._decoded("head", scope, stored, decode_head)
            if membership is not None and head is not None:
                if membership.read > head.sequence or membership.mentioned > head.sequence:
                    self._tell(f"{name} is past the conversation's last message, {head.sequence}")
                if not 0 <= membership.sent_at_read <= membership.sent:
                    self._tell(f"{name} counts {membership.sent_at_read} of {membership.sent} messages sent")
            # Each member was seen to have a membership: only where there are more of these can one be without a member.
            if memberships != self._members:
                self._check_member(name, scope, client_id)

    def _check_member(self, name: str, scope: bytes, client_id: str) -> None:
        stored = self._transaction.get(scope, db=self._tables.conversations)
        if stored is None:
            self._tell(f"{name}, which is no conversation")
            return
        conversation = self._decoded("conversation", scope, stored, decode_conversation)
        if conversation is not None and client_id not in conversation.members:
            self._tell(f"{name}, which does not have that member")

    def _check_uniques(self) -> None:
        for key, conversation in self._all(self._tables.uniques):
            if self._transaction.get(key[:_APPLICATION_BYTES] + conversation, db=self._tables.conversations) is None:
                self._tell(f"unique key {key.hex()} leads to {conversation.hex()}, which is no conversation")

    def _check_tokens(self) -> None:
        for key, sequence in self._all(self._tables.tokens):
            if self._transaction.get(key[:_SCOPE_BYTES] + sequence, db=self._tables.messages) is None:
                self._tell(f"token {key.hex()} leads to a message that is not there")
        indexed = 0
        for key, tokens in self._all(self._tables.token_hours):
            hour = int.from_bytes(key[_APPLICATION_BYTES : _APPLICATION_BYTES + 4])
            for start in range(0, len(tokens), TOKEN_KEY_BYTES):
                indexed += 1
                self._check_token(hour, tokens[start : start + TOKEN_KEY_BYTES])
        stored = self._transaction.stat(self._tables.tokens)["entries"]
        if indexed != stored:
            self._tell(f"{stored} tokens are stored, {indexed} will be swept")

    def _check_token(self, hour: int, token: bytes) -> None:
        sequence = self._transaction.get(token, db=self._tables.tokens)
        if sequence is None:
            self._tell(f"hour {hour} holds the token {token.hex()}, which is not stored")
            return
        record = self._transaction.get(token[:_SCOPE_BYTES] + sequence, db=self._tables.messages)
        message = (
            None
            if record is None
            else self._decoded("message", token[:_SCOPE_BYTES] + sequence, record, decode_message)
        )
        if message is not None and message.timestamp // HOUR_MILLIS != hour:
            self._tell(f"hour {hour} holds the token {token.hex()} of a message of {message.timestamp}")

    def _check_grants(self) -> None:
        for key, record in self._all(self._tables.grants):
            grant = self._decoded(f"grant {key.hex()}", key, record, decode_grant)
            holder = key[_APPLICATION_BYTES:]
            if grant is not None:
                expiry = key[:_APPLICATION_BYTES] + moment_key(grant.expires_at) + holder
                if self._transaction.get(expiry, db=self._tables.grant_expiries) is None:
                    self._tell(f"grant {key.hex()} will not be swept")
        for key, _ in self._all(self._tables.grant_expiries):
            grant_key = key[:_APPLICATION_BYTES] + key[_APPLICATION_BYTES + 8 :]
            if self._transaction.get(grant_key, db=self._tables.grants) is None:
                self._tell(f"an expiry leads to the grant {grant_key.hex()}, which is not stored")

    def _check_kicks(self) -> None:
        for key, record in self._all(self._tables.kicks):
            try:
                _, rest = split_client(key, _APPLICATION_BYTES)
                if rest:
                    raise ValueError(f"{key.hex()} does not end with the client id")
            except ValueError as error:
                self._tell(f"kicks: {error}")
            self._decoded(f"kick {key.hex()}", key, record, decode_moment)

    def _check_uses(self) -> None:
        for key, record in self._all(self._tables.uses):
            until = self._decoded(f"use {key.hex()}", key, record, decode_moment)
            if until is not None:
                expiry = key[:_APPLICATION_BYTES] + moment_key(until) + key[_APPLICATION_BYTES:]
                if self._transaction.get(expiry, db=self._tables.use_expiries) is None:
                    self._tell(f"use {key.hex()} will not be swept")
        for key, _ in self._all(self._tables.use_expiries):
            use = key[:_APPLICATION_BYTES] + key[_APPLICATION_BYTES + 8 :]
            if self._transaction.get(use, db=self._tables.uses) is None:
                self._tell(f"an expiry leads to the use {use.hex()}, which is not stored")

    def _check_application(self, name: str, key: bytes) -> None:
        if self._transaction.get(key[:_APPLICATION_BYTES], db=self._tables.applications) is None:
            self._tell(f"{name} belongs to application {int.from_bytes(key[:_APPLICATION_BYTES])}, which is not there")

    def _all(self, table: lmdb._Database) -> Iterator[tuple[bytes, bytes]]:
        return iter(self._transaction.cursor(table))

    def _decoded(self, name: str, key: bytes, record: bytes, decode: Callable[[bytes], R]) -> R | None:
        try:
            return decode(record)
        except (msgspec.MsgspecError, ValueError) as error:
            self._tell(f"{name}, key {key.hex()}, cannot be read: {error}")
            return None

    def _tell(self, problem: str) -> None:
        self._problem_count += 1
        if len(self._problems) < PROBLEMS_MAX:
            self._problems.append(problem)


def _name(scope: bytes) -> str | None:
    try:
        return conversation_id_of(scope[_APPLICATION_BYTES:])
    except ValueError:
        return None
