"""How far a stream of timed news has been heard, so that after an absence the rest comes, and nothing comes twice."""

from collections import OrderedDict
from collections.abc import Hashable

from fastim.core.units import Millis

OVERLAP = Millis(10_000)
"""How much of what was heard before is asked for again: news of different conversations may overtake each other."""


class Cursor:
    """A place in a stream, and what of its last stretch has been heard.

    Args:
        since: Where an earlier run of the program stopped, or 0: from ``start`` on.

    Attributes:
        newest: Time of the newest that was heard.
    """

    def __init__(self, since: int) -> None:
        self.newest = Millis(since)
        self._floor = Millis(since)
        self._heard: OrderedDict[Hashable, Millis] = OrderedDict()
        self._heard_before: dict[Hashable, Millis] = {}

    @property
    def since(self) -> Millis:
        """From when on to ask for what was missed."""
        return max(self._floor, Millis(self.newest - OVERLAP))

    def start(self, now: Millis) -> None:
        """What happened before ``now`` is of no interest; only the first call counts, and none where ``since`` did."""
        if not self._floor:
            self.newest = self._floor = now

    def resume(self, since: Millis) -> None:
        """Everything after ``since`` may be told again, in any order with what is new."""
        heard = self._heard_before | self._heard
        self._heard_before = {key: at for key, at in heard.items() if at >= since}

    def is_new(self, key: Hashable, at: Millis) -> bool:
        """Whether this was not heard before; from now on it was."""
        if key in self._heard or key in self._heard_before:
            return False
        self._heard[key] = at
        self.newest = max(self.newest, at)
        # News come nearly in order, so what is oldest here is nearly the oldest.
        while self._heard and next(iter(self._heard.values())) < self.newest - OVERLAP:
            self._heard.popitem(last=False)
        return True
