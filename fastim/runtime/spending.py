"""Spending: how much of what an application's own servers may ask for in a minute and in a day.

Who used up a minute waits for a minute, who used up a day until the next one begins. Counted on this node since its
start. Source: REST reference, quotas.
"""

from collections.abc import Callable, Hashable
from enum import Enum

from fastim.settings import Rest

MINUTE_SECONDS = 60
DAY_SECONDS = 86_400


class Spending(Enum):
    """What is counted together."""

    SENDS = "sends"
    SUBSCRIBER_BROADCASTS = "subscriber_broadcasts"
    BROADCASTS = "broadcasts"
    INSTALLATIONS = "installations"


class Allowance:
    """What one application has spent.

    Args:
        rules: How much it may.
        seconds: Since the epoch.
    """

    def __init__(self, rules: Rest, seconds: Callable[[], float]) -> None:
        self._rules = rules
        self._seconds = seconds
        self._windows: dict[Spending, list[_Window]] = {
            Spending.SENDS: [_Window(rules.sends_per_minute, MINUTE_SECONDS, aligned=False)],
            Spending.SUBSCRIBER_BROADCASTS: [
                _Window(rules.subscriber_broadcasts_per_minute, MINUTE_SECONDS, aligned=False),
                _Window(rules.subscriber_broadcasts_per_day, DAY_SECONDS, aligned=True),
            ],
            Spending.BROADCASTS: [
                _Window(rules.broadcasts_per_minute, MINUTE_SECONDS, aligned=False),
                _Window(rules.broadcasts_per_day, DAY_SECONDS, aligned=True),
            ],
            Spending.INSTALLATIONS: [_Window(rules.installations_per_minute, MINUTE_SECONDS, aligned=False)],
        }

    def go_by(self, rules: Rest) -> None:
        """Count on, as ``rules`` has it from now on."""
        if rules == self._rules:
            return
        for spending, windows in Allowance(rules, self._seconds)._windows.items():
            for window, other in zip(self._windows[spending], windows, strict=True):
                window.most = other.most
        self._rules = rules

    def spend(self, spending: Spending) -> int:
        """Take one out. 0: it was there; else in how many seconds there will be some again."""
        now = self._seconds()
        windows = self._windows[spending]
        wait = max(window.wait(now) for window in windows)
        if wait > 0:
            return int(wait) + 1
        for window in windows:
            window.take(now)
        return 0

    def give_back(self, spending: Spending) -> None:
        """Put back what was taken for something that did not come about."""
        now = self._seconds()
        for window in self._windows[spending]:
            window.give_back(now)


class Allowances:
    """The allowances of all applications on this node, made when first asked for.

    Args:
        seconds: Since the epoch.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._allowances: dict[Hashable, Allowance] = {}

    def of(self, name: Hashable, rules: Rest) -> Allowance:
        """The allowance of the application that goes by ``name``, with the rules that it has now."""
        allowance = self._allowances.get(name)
        if allowance is None:
            allowance = self._allowances[name] = Allowance(rules, self._seconds)
        allowance.go_by(rules)
        return allowance


class _Window:
    """So many in so long.

    Args:
        most: 0 for any number.
        aligned: Whether windows begin when days do; else with the first one taken.
    """

    def __init__(self, most: int, length: int, *, aligned: bool) -> None:
        self.most = most
        self._length = length
        self._aligned = aligned
        self._ends = 0.0
        self._taken = 0

    def wait(self, now: float) -> float:
        """Seconds until one may be taken; 0 for now."""
        if not self._lasts(now):
            return 0
        return self._ends - now if self.most and self._taken >= self.most else 0

    def take(self, now: float) -> None:
        if not self._lasts(now):
            begins = now // self._length * self._length if self._aligned else now
            self._ends, self._taken = begins + self._length, 0
        self._taken += 1
        if self._taken == self.most and not self._aligned:
            self._ends = now + self._length

    def give_back(self, now: float) -> None:
        if self._lasts(now):
            self._taken = max(self._taken - 1, 0)

    def _lasts(self, now: float) -> bool:
        # A clock that was put back must not lock anybody out for longer than the window is.
        return self._ends - self._length <= now < self._ends
