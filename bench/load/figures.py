"""Rounds and what is made of them: medians, ratios of one round, tables."""

import random
from collections.abc import Callable, Mapping, Sequence
from statistics import median, quantiles


class Spread:
    """One figure over the rounds.

    Attributes:
        values: One for each round, in order.
    """

    def __init__(self, values: Sequence[float]) -> None:
        self.values = tuple(values)

    @property
    def median(self) -> float:
        return median(self.values)

    def over(self, other: "Spread") -> "Spread":
        """The ratios to ``other``, each within its round, so that what slows a whole round down cancels out."""
        return Spread([one / two for one, two in zip(self.values, other.values, strict=True)])

    def show(self, form: str = ",.0f") -> str:
        """The median, and the range in brackets."""
        return f"{self.median:{form}} [{min(self.values):{form}} .. {max(self.values):{form}}]"

    def show_quartiles(self, form: str = ",.0f") -> str:
        """The median, and the first and the third quartile in brackets."""
        values = self.values if len(self.values) > 1 else self.values * 2
        first, middle, third = quantiles(values, n=4, method="inclusive")
        return f"{middle:{form}} [{first:{form}} .. {third:{form}}]"


def interleave(rounds: int, parts: Mapping[str, Callable[[], None]]) -> None:
    """Run every part once a round, each round in another order, so that none always comes first."""
    names = list(parts)
    shuffled = random.Random(1)
    for _ in range(rounds):
        shuffled.shuffle(names)
        for name in names:
            parts[name]()


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` (0 to 1) of ``values`` do not exceed."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, the first flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if n else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, ["-" * width for width in widths], *rows)
    ]
    return "\n".join(line.rstrip() for line in lines)
