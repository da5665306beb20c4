"""Clients: their grants, when they were here, what they left to be done, and where they are."""

from msgspec.structs import replace

from fastim.adapters.lmdb.batch import Batch
from fastim.adapters.lmdb.keys import APPLICATION_BYTES, moment_key
from fastim.adapters.lmdb.records import (
    Staying,
    UserCount,
    Users,
    Visitor,
    decode_grant,
    decode_moment,
    decode_users,
    decode_visitor,
    decode_will,
    encode_packed,
)
from fastim.core.session import Grant
from fastim.core.units import Millis
from fastim.core.will import Holder, Will
from fastim.ports.store import Arrival

_DAY_MILLIS = 24 * 3_600_000


def save_grant(application: bytes, holder: bytes, grant: Grant, batch: Batch) -> None:
    """Store ``grant`` for ``holder``: a client's key and the hash of a token."""
    transaction, tables = batch.transaction, batch.tables
    stored = transaction.get(application + holder, db=tables.grants)
    if stored is not None:
        transaction.delete(_expiry(application, holder, decode_grant(stored)), db=tables.grant_expiries)
    transaction.put(application + holder, encode_packed(grant), db=tables.grants)
    transaction.put(_expiry(application, holder, grant), b"", db=tables.grant_expiries)


def log_in(application: bytes, client: bytes, holder: bytes, grant: Grant, now: Millis, batch: Batch) -> Arrival:
    """The same, and count the client among those of the day."""
    save_grant(application, holder, grant, batch)
    transaction, tables = batch.transaction, batch.tables
    visitor = _visitor(application + client, batch)
    stored = transaction.get(application, db=tables.users)
    before = Users() if stored is None else decode_users(stored)
    users, today = _opened_day(before, now // _DAY_MILLIS)
    if today.number not in visitor.counts:
        counted = replace(today, clients=today.clients + 1)
        users = replace(users, counts=tuple(counted if one == today else one for one in users.counts))
        kept = {one.number for one in users.counts}
        seen = replace(
            visitor,
            first_at=visitor.first_at if visitor.counts else now,
            counts=(*(one for one in visitor.counts if one in kept), today.number),
        )
        transaction.put(application + client, encode_packed(seen), db=tables.clients)
    if users != before:
        transaction.put(application, encode_packed(users), db=tables.users)
    return Arrival(first=not visitor.counts, broadcasts_seen=visitor.broadcasts_seen)


def saw_broadcasts(application: bytes, client: bytes, upto: Millis, batch: Batch) -> None:
    """Remember the latest one that the client got."""
    visitor = _visitor(application + client, batch)
    if upto > visitor.broadcasts_seen:
        seen = replace(visitor, broadcasts_seen=upto)
        batch.transaction.put(application + client, encode_packed(seen), db=batch.tables.clients)


def kick(application: bytes, client: bytes, at: Millis, batch: Batch) -> None:
    """Forget every grant of the client and remember the moment."""
    transaction, tables = batch.transaction, batch.tables
    prefix = application + client
    cursor = transaction.cursor(tables.grants)
    while cursor.set_range(prefix) and cursor.key().startswith(prefix):
        holder, grant = cursor.key()[APPLICATION_BYTES:], decode_grant(cursor.value())
        transaction.delete(_expiry(application, holder, grant), db=tables.grant_expiries)
        cursor.delete()
    stored = transaction.get(prefix, db=tables.kicks)
    if stored is None or decode_moment(stored) < at:
        transaction.put(prefix, encode_packed(at), db=tables.kicks)


def use_once(application: bytes, use: bytes, until: Millis, batch: Batch) -> bool:
    """Whether ``use``, a hash, was not there before; it is now."""
    transaction, tables = batch.transaction, batch.tables
    if not transaction.put(application + use, encode_packed(until), overwrite=False, db=tables.uses):
        return False
    transaction.put(application + moment_key(until) + use, b"", db=tables.use_expiries)
    return True


def save_will(key: bytes, record: bytes, batch: Batch) -> None:
    """Store the will of the client with that key."""
    batch.transaction.put(key, record, db=batch.tables.wills)


def take_will(key: bytes, holder: Holder | None, batch: Batch) -> Will | None:
    """Take the client's will away if it is the holder's."""
    stored = batch.transaction.get(key, db=batch.tables.wills)
    if stored is None:
        return None
    will = decode_will(stored)
    if holder is not None and will.holder != holder:
        return None
    batch.transaction.delete(key, db=batch.tables.wills)
    return will


def save_stay(key: bytes, staying: Staying, batch: Batch) -> None:
    """Remember where the device with that key is."""
    batch.transaction.put(key, encode_packed(staying), db=batch.tables.stays)


def forget_stay(key: bytes, batch: Batch) -> None:
    """Forget where it is."""
    batch.transaction.delete(key, db=batch.tables.stays)


def _visitor(key: bytes, batch: Batch) -> Visitor:
    stored = batch.transaction.get(key, db=batch.tables.clients)
    return Visitor() if stored is None else decode_visitor(stored)


def _opened_day(users: Users, day: int) -> tuple[Users, UserCount]:
    """The counts from the day before on, and among them the day's."""
    counts = tuple(one for one in users.counts if one.day >= day - 1)
    for one in counts:
        if one.day == day:
            return replace(users, counts=counts), one
    today = UserCount(day, users.last_number + 1)
    return Users((*counts, today), today.number), today


def _expiry(application: bytes, holder: bytes, grant: Grant) -> bytes:
    return application + moment_key(grant.expires_at) + holder
