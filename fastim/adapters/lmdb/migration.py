"""Making a store of an older format one of this format, in one transaction.

The formats so far: the second has kicks and uses more than the first. The third has personal logs, patches, notices and
all else that a table is new for; besides, a token knows its hour, members have acknowledged what they have read, and
who is in a service conversation is found by the conversation, too. The fourth has documents more. The fifth knows which
of the messages sent since are urgent, and a stay says from when on they were missed. The sixth has installations, and
what is to be pushed.
"""

from __future__ import annotations

import lmdb
from msgspec.structs import replace

from fastim.adapters.lmdb.keys import (
    APPLICATION_BYTES,
    CONVERSATION_BYTES,
    SEQUENCE_BYTES,
    TOKEN_KEY_BYTES,
    name_key,
    split_client,
)
from fastim.adapters.lmdb.records import decode_conversation, decode_membership, encode_json, encode_packed
from fastim.adapters.lmdb.tables import Tables
from fastim.core.conversation import Kind
from fastim.core.unread import Membership


def bring_up(transaction: lmdb.Transaction[bytes], tables: Tables, version: int) -> None:
    """Change what is there in format ``version``; tables that are new are empty."""
    if version < 3:
        _bring_up_to_third(transaction, tables)


def _bring_up_to_third(transaction: lmdb.Transaction[bytes], tables: Tables) -> None:
    _give_tokens_their_hours(transaction, tables)
    services = _free_services_of_members(transaction, tables)
    subscribers: dict[bytes, int] = {}
    cursor = transaction.cursor(tables.memberships)
    more = cursor.first()
    while more:
        key, membership = cursor.key(), decode_membership(cursor.value())
        scope = key[:APPLICATION_BYTES] + key[-CONVERSATION_BYTES:]
        if scope in services:
            subscribers[scope] = subscribers.get(scope, 0) + 1
            client_id, _ = split_client(key, APPLICATION_BYTES)
            transaction.put(scope + name_key(client_id), encode_packed(membership.joined_at), db=tables.subscribers)
        if membership.delivered < membership.read:
            cursor.put(key, encode_packed(_delivered(membership)))
        more = cursor.next()
    for scope, count in subscribers.items():
        transaction.put(scope, encode_packed(count), db=tables.subscriber_counts)


def _give_tokens_their_hours(transaction: lmdb.Transaction[bytes], tables: Tables) -> None:
    for key, tokens in transaction.cursor(tables.token_hours):
        hour = key[APPLICATION_BYTES : APPLICATION_BYTES + 4]
        for start in range(0, len(tokens), TOKEN_KEY_BYTES):
            token = tokens[start : start + TOKEN_KEY_BYTES]
            sequence = transaction.get(token, db=tables.tokens)
            if sequence is not None:
                transaction.put(token, sequence[:SEQUENCE_BYTES] + hour, db=tables.tokens)


def _free_services_of_members(transaction: lmdb.Transaction[bytes], tables: Tables) -> set[bytes]:
    """Take the members out of the records of service conversations; the scopes of all of these."""
    services = set()
    cursor = transaction.cursor(tables.conversations)
    more = cursor.first()
    while more:
        conversation = decode_conversation(cursor.value())
        if conversation.kind is Kind.SYSTEM:
            services.add(cursor.key())
            cursor.put(cursor.key(), encode_json(replace(conversation, members=())))
        more = cursor.next()
    return services


def _delivered(membership: Membership) -> Membership:
    return replace(membership, delivered=membership.read, delivered_at=membership.read_at)
