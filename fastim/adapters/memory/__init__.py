"""Adapters that keep everything in this process and nothing beyond it."""

from fastim.adapters.memory.store import MemoryStore

__all__ = ["MemoryStore"]
