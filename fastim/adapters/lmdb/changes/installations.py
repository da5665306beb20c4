"""Installations, and what they are found by."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from fastim.adapters.lmdb.batch import Batch
from fastim.adapters.lmdb.keys import APPLICATION_BYTES, text_hash
from fastim.adapters.lmdb.records import decode_installation, encode_json
from fastim.core.installation import Installation

INSTALLATION, TOKEN, REGISTRATION = "i", "t", "r"
"""Kinds of names."""


def change_installation(
    key: bytes, change: Callable[[Installation | None], Installation | None], batch: Batch
) -> Installation | None:
    """Put what ``change`` makes of the one with that key in its place; others that have a name of it go.

    Raises:
        ValueError: What it has become calls itself something else.
    """
    before = _installation(key, batch)
    changed = change(before)
    if changed is not None and changed.id.encode() != key[APPLICATION_BYTES:]:
        raise ValueError(f"the id of installation {key[APPLICATION_BYTES:].decode()} cannot change")
    if changed == before:
        return changed
    if changed is not None:
        for name in names_of(key, changed):
            holder = batch.transaction.get(name, db=batch.tables.installation_names)
            if holder is not None and holder != key[APPLICATION_BYTES:]:
                other = key[:APPLICATION_BYTES] + holder
                _put(other, _installation(other, batch), None, batch)
    _put(key, before, changed, batch)
    return changed


def set_badge(key: bytes, badge: int, batch: Batch) -> None:
    """Give the installation with that key the badge, if it is there."""
    before = _installation(key, batch)
    if before is not None and before.badge != badge:
        batch.transaction.put(key, encode_json(replace(before, badge=badge)), db=batch.tables.installations)


def names_of(key: bytes, installation: Installation) -> Iterator[bytes]:
    """The keys in ``installation_names`` of the one that has ``key`` in ``installations``."""
    for kind, name in (
        (INSTALLATION, installation.installation_id),
        (TOKEN, installation.token),
        (REGISTRATION, installation.registration_id),
    ):
        if name:
            yield name_key(key[:APPLICATION_BYTES], kind, name)


def name_key(application: bytes, kind: str, name: str) -> bytes:
    """The key of a name in ``installation_names``."""
    return application + text_hash(kind + name)


def channels_of(key: bytes, installation: Installation) -> Iterator[bytes]:
    """The keys in ``installation_channels`` of the one that has ``key`` in ``installations``."""
    for channel in dict.fromkeys(installation.channels):
        yield key[:APPLICATION_BYTES] + text_hash(channel) + key[APPLICATION_BYTES:]


def _put(key: bytes, before: Installation | None, after: Installation | None, batch: Batch) -> None:
    """Store it, or take it away, and mend what it is found by where that has changed."""
    transaction, tables = batch.transaction, batch.tables
    own = key[APPLICATION_BYTES:]
    for table, keys_of, value in (
        (tables.installation_names, names_of, own),
        (tables.installation_channels, channels_of, b""),
    ):
        old = set() if before is None else set(keys_of(key, before))
        new = set() if after is None else set(keys_of(key, after))
        for stale in old - new:
            transaction.delete(stale, db=table)
        for fresh in new - old:
            transaction.put(fresh, value, db=table)
    if after is None:
        transaction.delete(key, db=tables.installations)
    else:
        transaction.put(key, encode_json(after), db=tables.installations)


def _installation(key: bytes, batch: Batch) -> Installation | None:
    stored = batch.transaction.get(key, db=batch.tables.installations)
    return None if stored is None else decode_installation(stored)
