"""Documents: what an application keeps as a whole, each under a name."""

from __future__ import annotations

from fastim.adapters.lmdb.batch import Batch


def save_document(key: bytes, content: bytes | None, batch: Batch) -> None:
    """Store it, or take away what is there."""
    if content is None:
        batch.transaction.delete(key, db=batch.tables.documents)
        return
    batch.transaction.put(key, content, db=batch.tables.documents)
    batch.written_bytes += len(content)
