"""What was asked for and answered, held against what is there after a crash: all of it or nothing, and everywhere.

Each thing that clients do has a key and a number: 0 before, and 1 (or which of several) once it is done. How often
something is there is such a number, too, so that what is there twice stands out.
"""

from collections.abc import Hashable, Mapping
from typing import Any

Views = Mapping[str, Mapping[Any, int]]
"""By the name of a place to look: what is seen there of each thing; what it leaves out is 0."""


class Ledger:
    """One feature's things, and what may have become of each."""

    def __init__(self) -> None:
        self._possible: dict[Hashable, set[int]] = {}

    def __len__(self) -> int:
        return len(self._possible)

    @property
    def owed(self) -> int:
        """How many things were asked for and not answered."""
        return sum(len(possible) > 1 for possible in self._possible.values())

    def ask(self, key: Hashable, number: int = 1) -> None:
        """Somebody asked for it: from now on it may be done."""
        self._possible.setdefault(key, {0}).add(number)

    def answer(self, key: Hashable, number: int = 1) -> None:
        """It was answered: nothing else may be there."""
        self._possible[key] = {number}

    def faults(self, views: Views) -> list[str]:
        """Every way in which ``views`` are not what was answered, or do not agree."""
        keys = dict.fromkeys([*self._possible, *(key for view in views.values() for key in view)])
        return [fault for key in keys if (fault := self._fault(key, views))]

    def _fault(self, key: Hashable, views: Views) -> str:
        seen = {name: view.get(key, 0) for name, view in views.items()}
        possible = self._possible.get(key, {0})
        if len(set(seen.values())) > 1:
            return f"half done: {key}: {seen}, of {possible}"
        if not set(seen.values()) <= possible:
            return f"wrong: {key}: {seen}, of {possible}"
        return ""
