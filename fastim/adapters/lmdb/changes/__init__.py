"""What each write does inside a transaction; a module for each kind of record.

A change is called with the batch, and called again in a later attempt when the one before was given up. It raises
``FastimError`` only before it has written anything; whatever else it raises costs the whole attempt.
"""

from enum import Enum
from typing import Final


class Unfinished(Enum):
    """What a change returns that has more to do than fits one transaction; it is called again in the next one."""

    UNFINISHED = 0


UNFINISHED: Final = Unfinished.UNFINISHED
