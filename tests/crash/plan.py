"""When the server is killed: moments drawn from a seed, so that a run can be repeated as far as two processes allow."""

import os
import secrets
from collections.abc import Mapping
from enum import Enum
from random import Random
from typing import NamedTuple

POINTS_DEFAULT = 50
CAMPAIGN_POINTS_MAX = 10
"""Crashes on one data directory; a new one has room for a map that grows."""


class Moment(Enum):
    """What the server is doing when it is killed."""

    LOAD = "clients are at work"
    STORM = "clients are coming back"
    GROWING = "the store's map is growing"
    READY = "it has just said that it is ready"
    STARTING = "it is not ready yet"


class Point(NamedTuple):
    """One crash.

    Attributes:
        share: How far into its moment, 0 to 1; what that is a share of depends on the moment.
        delay_seconds: From then to the kill.
    """

    moment: Moment
    share: float
    delay_seconds: float


class Plan(NamedTuple):
    """A run: how many crashes, and the seed that everything random in it comes from."""

    points: int
    seed: int

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Plan":
        """The run that ``FASTIM_CRASH_POINTS`` and ``FASTIM_CRASH_SEED`` ask for.

        Raises:
            ValueError: One of them is not a number that makes sense; the text says which.
        """
        points = _number(environment, "FASTIM_CRASH_POINTS", POINTS_DEFAULT)
        if points < 1:
            raise ValueError(f"FASTIM_CRASH_POINTS is {points}: at least one crash is needed")
        return cls(points, _number(environment, "FASTIM_CRASH_SEED", secrets.randbelow(1 << 32)))

    def __str__(self) -> str:
        return f"{self.points} points, seed {self.seed} (FASTIM_CRASH_SEED={self.seed} draws the same moments)"

    def campaigns(self) -> list[int]:
        """How many crashes each data directory goes through."""
        whole, rest = divmod(self.points, CAMPAIGN_POINTS_MAX)
        return [CAMPAIGN_POINTS_MAX] * whole + [rest] * (rest > 0)

    def chance(self, name: str) -> Random:
        """The source of everything random in the part of the run that has this name."""
        return Random(f"{self.seed} {name}")


def points(count: int, chance: Random) -> list[Point]:
    """``count`` crashes: of five in a row, two are under load, the first among them, and three at worse moments."""
    moments: list[Moment] = []
    while len(moments) < count:
        odd = chance.choice((Moment.READY, Moment.STARTING))
        hand = [Moment.LOAD, Moment.STORM, Moment.GROWING, odd]
        chance.shuffle(hand)
        moments += [Moment.LOAD, *hand]
    return [Point(moment, chance.random(), chance.uniform(0, 0.05)) for moment in moments[:count]]


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    try:
        return int(text) if text else default
    except ValueError:
        raise ValueError(f"{name} is {text!r}, which is not a whole number") from None


PLAN = Plan.read(os.environ)
