"""Clients: what is known of them, what waits for them, and messages to everybody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lmdb

from fastim.adapters.lmdb.changes.notices import notice_of, time_of
from fastim.adapters.lmdb.checks.findings import Findings
from fastim.adapters.lmdb.keys import (
    APPLICATION_BYTES,
    MOMENT_BYTES,
    NUMBER_BYTES,
    client_key,
    client_owner,
    conversation_key,
    conversation_owner,
    device_hash,
    moment_key,
)
from fastim.adapters.lmdb.records import (
    decode_broadcast,
    decode_grant,
    decode_moment,
    decode_notice,
    decode_staying,
    decode_users,
    decode_visitor,
    decode_will,
)
from fastim.core.notice import Notice


def check_grants(findings: Findings) -> None:
    """Each will be swept."""
    tables = findings.tables
    _check_expiring(
        findings, "grant", tables.grants, tables.grant_expiries, decode_grant, lambda grant: grant.expires_at
    )


def check_uses(findings: Findings) -> None:
    """Each will be swept."""
    tables = findings.tables
    _check_expiring(findings, "use", tables.uses, tables.use_expiries, decode_moment, lambda until: until)


def _check_expiring(
    findings: Findings,
    name: str,
    table: lmdb._Database,
    expiries: lmdb._Database,
    decode: Callable[[bytes], Any],
    expires_at: Callable[[Any], int],
) -> None:
    for key, record in findings.all(table):
        value = findings.decoded(f"{name} {key.hex()}", key, record, decode)
        if value is not None:
            expiry = key[:APPLICATION_BYTES] + moment_key(expires_at(value)) + key[APPLICATION_BYTES:]
            if findings.get(expiries, expiry) is None:
                findings.tell(f"{name} {key.hex()} will not be swept")
    for key, _ in findings.all(expiries):
        record_key = key[:APPLICATION_BYTES] + key[APPLICATION_BYTES + MOMENT_BYTES :]
        if findings.get(table, record_key) is None:
            findings.tell(f"an expiry leads to the {name} {record_key.hex()}, which is not stored")


def check_clients(findings: Findings) -> None:
    """What is known of each, and how many there were."""
    tables = findings.tables
    _check_by_client(findings, "kicks", "kick", tables.kicks, decode_moment)
    _check_by_client(findings, "clients", "client", tables.clients, decode_visitor)
    for client_id, key, will in _check_by_client(findings, "wills", "will", tables.wills, decode_will):
        if will.client_id != client_id:
            findings.tell(f"will {key.hex()} is of {will.client_id}")
    for key, record in findings.all(tables.users):
        users = findings.decoded("count of users", key, record, decode_users)
        if users is not None and any(one.number > users.last_number for one in users.counts):
            findings.tell(f"users {key.hex()} have a count whose number will be given again")


def _check_by_client(
    findings: Findings, table: str, name: str, handle: lmdb._Database, decode: Callable[[bytes], Any]
) -> list[tuple[str, bytes, Any]]:
    """The client ids, keys and values of a table that has one for each client."""
    sound = []
    for key, record in findings.all(handle):
        found = findings.client_of(table, key)
        if found is not None and found[1]:
            findings.tell(f"{table}: {key.hex()} does not end with the client id")
        value = findings.decoded(f"{name} {key.hex()}", key, record, decode)
        if found is not None and value is not None:
            sound.append((found[0], key, value))
    return sound


def check_stays(findings: Findings) -> None:
    """Each is where its client and device are looked for."""
    for key, record in findings.all(findings.tables.stays):
        staying = findings.decoded(f"stay {key.hex()}", key, record, decode_staying)
        if staying is not None:
            device = staying.device.decode(errors="surrogatepass")
            if key[APPLICATION_BYTES:] != (client_key(staying.client_id) or b"") + device_hash(device):
                findings.tell(f"stay {key.hex()} is another device's")


def check_broadcasts(findings: Findings) -> None:
    """Each is at its time, under its id."""
    for key, record in findings.all(findings.tables.broadcasts):
        broadcast = findings.decoded(f"broadcast {key.hex()}", key, record, decode_broadcast)
        if broadcast is not None:
            message = broadcast.message
            if key[APPLICATION_BYTES:] != moment_key(message.timestamp) + message.id.encode():
                findings.tell(f"broadcast {key.hex()} is message {message.id} of {message.timestamp}")


def check_notices(findings: Findings) -> None:
    """Each is under its owner and its time, and will be retired."""
    tables = findings.tables
    tail = MOMENT_BYTES + NUMBER_BYTES
    for key, record in findings.all(tables.notices):
        notice = findings.decoded(f"notice {key.hex()}", key, record, decode_notice)
        if notice is not None:
            owner, moment = key[APPLICATION_BYTES:-tail], key[-tail:-NUMBER_BYTES]
            if moment != moment_key(notice.at):
                findings.tell(f"notice {key.hex()} is of {notice.at}")
            if not _owns(findings, owner, notice):
                findings.tell(f"notice {key.hex()} belongs to nobody")
        if findings.get(tables.notice_times, time_of(key)) is None:
            findings.tell(f"notice {key.hex()} will not be retired")
    for key, _ in findings.all(tables.notice_times):
        if findings.get(tables.notices, notice_of(key)) is None:
            findings.tell(f"a time leads to the notice {notice_of(key).hex()}, which is not stored")


def _owns(findings: Findings, owner: bytes, notice: Notice) -> bool:
    if owner == conversation_owner(conversation_key(notice.conversation_id) or b""):
        return True
    client = findings.client_of("notices", bytes(APPLICATION_BYTES) + owner[1:])
    return client is not None and owner == client_owner(client_key(client[0]) or b"")
