"""Words: an application's list of words that its messages may not hold."""

from typing import Protocol


class Words(Protocol):
    """The list in force; another may take its place between any two calls."""

    @property
    def active(self) -> bool:
        """Whether there is a list in force: else nothing has to be looked at."""
        ...

    def mask(self, text: bytes) -> bytes:
        """``text`` with ``***`` for every hit, or itself, the same object, when there is none or no list in force.

        Args:
            text: UTF-8; what is not matches nothing and stays as it is.
        """
        ...
