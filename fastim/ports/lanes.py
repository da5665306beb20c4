"""Lanes: one conversation's turn-taking."""

from collections.abc import Hashable
from contextlib import AbstractAsyncContextManager
from typing import Protocol


class Lanes(Protocol):
    def hold(self, name: Hashable) -> AbstractAsyncContextManager[None]:
        """Wait for one's turn in the conversation, in the order of the calls, and keep it for the block."""
        ...
