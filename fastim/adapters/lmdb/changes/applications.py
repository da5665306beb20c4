"""Applications, and the sweep over what is past its time in all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lmdb

from fastim.adapters.lmdb.batch import Batch
from fastim.adapters.lmdb.keys import (
    APPLICATION_BYTES,
    HOUR_MILLIS,
    MOMENT_BYTES,
    TOKEN_KEY_BYTES,
    application_key,
    moment_key,
    split_token,
)
from fastim.adapters.lmdb.records import decode_application, decode_number, encode_json, encode_packed
from fastim.core.application import Application
from fastim.core.ids import AppNumber
from fastim.core.units import Millis

_NEXT_APPLICATION = b"next_application"
_SWEEP_STEP = 500


def save_application(
    application_id: str, key: str, master_key: str, hook_key: str, settings: Mapping[str, Any] | None, batch: Batch
) -> Application:
    """Create the application under the next number, or replace what is stored of it."""
    transaction, tables = batch.transaction, batch.tables
    known = _applications(batch).get(application_id)
    if known is None:
        stored = transaction.get(_NEXT_APPLICATION, db=tables.meta)
        number = AppNumber(1 if stored is None else decode_number(stored))
        transaction.put(_NEXT_APPLICATION, encode_packed(number + 1), db=tables.meta)
    else:
        number = known.number
    if settings is None:
        settings = {} if known is None else known.settings
    application = Application(number, application_id, key, master_key, hook_key, dict(settings))
    transaction.put(application_key(number), encode_json(application), db=tables.applications)
    return application


def sweep(now: Millis, kept: Millis, batch: Batch) -> int:
    """Forget some tokens older than ``kept``, and grants and uses past their time; 0 when there are none left."""
    room = _SWEEP_STEP
    for application in _applications(batch).values():
        prefix = application_key(application.number)
        room -= _sweep_tokens(prefix, Millis(now - kept), room, batch)
        room -= _sweep_expired(prefix, now, room, batch, batch.tables.grant_expiries, batch.tables.grants)
        room -= _sweep_expired(prefix, now, room, batch, batch.tables.use_expiries, batch.tables.uses)
    return _SWEEP_STEP - room


def _sweep_tokens(application: bytes, before: Millis, room: int, batch: Batch) -> int:
    swept = looked_at = 0
    cursor = batch.transaction.cursor(batch.tables.token_hours)
    while looked_at < room and cursor.set_range(application) and cursor.key().startswith(application):
        hour = cursor.key()[APPLICATION_BYTES : APPLICATION_BYTES + 4]
        if (int.from_bytes(hour) + 1) * HOUR_MILLIS > before:
            return swept
        tokens = cursor.value()
        for start in range(0, len(tokens), TOKEN_KEY_BYTES):
            swept += _sweep_token(tokens[start : start + TOKEN_KEY_BYTES], hour, batch)
            looked_at += 1
        cursor.delete()
    return max(swept, 1) if looked_at >= room > 0 else swept  # what was purged before is no end


def _sweep_token(token: bytes, hour: bytes, batch: Batch) -> bool:
    """Forget the token if it is still there and has not been given to a message of a later hour."""
    stored = batch.transaction.get(token, db=batch.tables.tokens)
    if stored is None or split_token(token, stored)[2] != hour:
        return False
    return batch.transaction.delete(token, db=batch.tables.tokens)


def _sweep_expired(
    application: bytes, now: Millis, room: int, batch: Batch, expiries: lmdb._Database, records: lmdb._Database
) -> int:
    swept = 0
    past = application + moment_key(now + 1)
    cursor = batch.transaction.cursor(expiries)
    while swept < room and cursor.set_range(application) and cursor.key() < past:
        batch.transaction.delete(application + cursor.key()[APPLICATION_BYTES + MOMENT_BYTES :], db=records)
        cursor.delete()
        swept += 1
    return swept


def _applications(batch: Batch) -> dict[str, Application]:
    cursor = batch.transaction.cursor(batch.tables.applications)
    return {one.id: one for one in map(decode_application, cursor.iternext(keys=False))}
