"""Logs: their messages, where their heads are, and what leads into them."""

from fastim.adapters.lmdb.checks.findings import Findings, name_of
from fastim.adapters.lmdb.keys import (
    APPLICATION_BYTES,
    HOUR_MILLIS,
    MOMENT_BYTES,
    SCOPE_BYTES,
    SEQUENCE_BYTES,
    TOKEN_KEY_BYTES,
    conversation_scope,
    moment_key,
    sequence_key,
    split_token,
)
from fastim.adapters.lmdb.records import decode_conversation, decode_head, decode_message, decode_moment
from fastim.core.message import Message
from fastim.core.unread import Head


def check_messages(findings: Findings) -> None:
    """From the head's first to its last all are there, in their order."""
    scope: bytes | None = None
    head, last = Head(), None
    skipped = False
    for key, record in findings.all(findings.tables.messages):
        if key[:-SEQUENCE_BYTES] != scope:
            if scope is not None and not skipped:
                _check_head(findings, scope, head, last)
            scope, last = key[:-SEQUENCE_BYTES], None
            skipped = findings.is_left_behind(scope)
            if not skipped:
                head = _head(findings, scope)
        if skipped:
            continue
        message = findings.decoded("message", key, record, decode_message)
        if message is not None and scope is not None:
            _check_message(findings, scope, key, message, head.first - 1 if last is None else last.sequence, last)
            last = message
    if scope is not None and not skipped:
        _check_head(findings, scope, head, last)
    for key, record in findings.all(findings.tables.heads):
        if not findings.has(findings.tables.messages, key) and not findings.is_left_behind(key):
            empty = findings.decoded("head", key, record, decode_head)
            _check_head(findings, key, empty or Head(), None)


def _head(findings: Findings, scope: bytes) -> Head:
    stored = findings.get(findings.tables.heads, scope)
    if stored is None:
        findings.tell(f"messages belong to {name_of(scope) or scope.hex()}, which has no head")
        return Head()
    return findings.decoded("head", scope, stored, decode_head) or Head()


def _check_message(
    findings: Findings, scope: bytes, key: bytes, message: Message, before: int, last: Message | None
) -> None:
    name = f"message {message.sequence} of conversation {name_of(scope)}"
    if key[-SEQUENCE_BYTES:] != sequence_key(message.sequence):
        findings.tell(f"{name} has the key {key.hex()}")
    if message.sequence != before + 1:
        findings.tell(f"{name} follows message {before}")
    if last is not None and message.timestamp <= last.timestamp:
        findings.tell(f"{name} has timestamp {message.timestamp}, the one before {last.timestamp}")
    if last is not None and message.id <= last.id:
        findings.tell(f"{name} has the id {message.id}, the one before {last.id}")
    if message.deleted and (message.body or message.patched_at):
        findings.tell(f"{name} was deleted, and something is left of it")
    if message.patched_at:
        patch = scope + moment_key(message.patched_at)
        if findings.get(findings.tables.patches, patch) != sequence_key(message.sequence):
            findings.tell(f"{name} was patched, and is not among the patches")


def _check_head(findings: Findings, scope: bytes, head: Head, last: Message | None) -> None:
    if not 1 <= head.first <= head.sequence + 1 or head.receipt > head.sequence:
        findings.tell(f"conversation {name_of(scope)} has a head that says {head}")
    retired = last is None and head.first == head.sequence + 1 > 1
    expected = (0, 0, "") if last is None else (last.sequence, last.timestamp, last.id)
    if not retired and (head.sequence, head.timestamp, head.last_id) != expected:
        findings.tell(
            f"conversation {name_of(scope)} has its head at message {head.sequence} of {head.timestamp}, its last "
            f"message is {'missing' if last is None else f'{last.sequence} of {last.timestamp}'}"
        )


def check_patches(findings: Findings) -> None:
    """Each leads to a message that was patched then, and is no later than the last one."""
    tables = findings.tables
    for key, sequence in findings.all(tables.patches):
        scope, moment = key[:-MOMENT_BYTES], int.from_bytes(key[-MOMENT_BYTES:])
        if findings.is_left_behind(scope):
            continue
        record = findings.get(tables.messages, scope + sequence)
        message = None if record is None else findings.decoded("message", scope + sequence, record, decode_message)
        if record is None or (message is not None and message.patched_at != moment):
            findings.tell(f"a patch of {name_of(scope)} at {moment} leads to no message that was patched then")
        stored = findings.get(tables.last_patches, key[:APPLICATION_BYTES])
        last = 0 if stored is None else findings.decoded("last patch", key, stored, decode_moment)
        if last is not None and last < moment:
            findings.tell(f"a patch of {name_of(scope)} at {moment} is later than the last one, {last}")


def check_urgent_messages(findings: Findings) -> None:
    """Each leads to a message of that time, unless it was retired."""
    tables = findings.tables
    for key, sequence in findings.all(tables.urgent_messages):
        scope, moment = key[:-MOMENT_BYTES], int.from_bytes(key[-MOMENT_BYTES:])
        if findings.is_left_behind(scope):
            continue
        record = findings.get(tables.messages, scope + sequence)
        message = None if record is None else findings.decoded("message", scope + sequence, record, decode_message)
        missing = record is None and not _was_retired(findings, scope, sequence)
        if missing or (message is not None and message.timestamp != moment):
            findings.tell(f"an urgent message of {name_of(scope)} at {moment} is not there")


def check_tokens(findings: Findings) -> None:
    """Each leads to a message, and will be swept."""
    tables = findings.tables
    for key, value in findings.all(tables.tokens):
        scope, sequence, _ = split_token(key, value)
        missing = findings.get(tables.messages, scope + sequence) is None and not findings.is_left_behind(scope)
        if missing and not _was_retired(findings, scope, sequence):
            findings.tell(f"token {key.hex()} leads to a message that is not there")
    indexed = sum(_check_hour(findings, key, tokens) for key, tokens in findings.all(tables.token_hours))
    stored_tokens = findings.count(tables.tokens)
    if indexed < stored_tokens:
        findings.tell(f"{stored_tokens} tokens are stored, {indexed} will be swept")


def _check_hour(findings: Findings, key: bytes, tokens: bytes) -> int:
    """How many of the tokens that are swept with that hour are its own; others have been given again later."""
    hour = key[APPLICATION_BYTES : APPLICATION_BYTES + 4]
    number = int.from_bytes(hour)
    swept = 0
    for start in range(0, len(tokens), TOKEN_KEY_BYTES):
        token = tokens[start : start + TOKEN_KEY_BYTES]
        value = findings.get(findings.tables.tokens, token)
        if value is None:
            if _may_have(findings, token, number):
                findings.tell(f"hour {number} holds the token {token.hex()}, which is not stored")
            continue
        scope, sequence, own = split_token(token, value)
        if own != hour:
            if own < hour:
                findings.tell(f"hour {number} holds the token {token.hex()} of hour {int.from_bytes(own)}")
            continue
        swept += 1
        record = findings.get(findings.tables.messages, scope + sequence)
        message = None if record is None else findings.decoded("message", scope + sequence, record, decode_message)
        if message is not None and message.timestamp // HOUR_MILLIS != number:
            findings.tell(f"hour {number} holds the token {token.hex()} of a message of {message.timestamp}")
    return swept


def _was_retired(findings: Findings, scope: bytes, sequence: bytes) -> bool:
    """Whether the log had a message of that sequence once, before all that it has now."""
    stored = findings.get(findings.tables.heads, scope)
    head = Head() if stored is None else findings.decoded("head", scope, stored, decode_head)
    return head is not None and 0 < int.from_bytes(sequence) < head.first


def _may_have(findings: Findings, token: bytes, hour: int) -> bool:
    """Whether the token's conversation is there and was in that hour: with one that is deleted its tokens go."""
    scope = conversation_scope(token[:SCOPE_BYTES])
    stored = findings.get(findings.tables.conversations, scope)
    conversation = None if stored is None else findings.decoded("conversation", scope, stored, decode_conversation)
    return conversation is not None and conversation.created_at // HOUR_MILLIS <= hour
