"""The store in LMDB: one process, one data directory, nothing acked is lost.

``verify`` and ``backup`` are modules of their own: they run beside a live server, in another process.
"""

from fastim.adapters.lmdb.statistics import Statistics
from fastim.adapters.lmdb.store import LmdbStore

__all__ = ["LmdbStore", "Statistics"]
