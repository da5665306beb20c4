"""Use cases: coroutines that load, decide, store and publish, over ports."""
