"""How long fuzzing goes on, and what it starts from.

Each test makes ``FASTIM_FUZZ_FRAMES`` (300) frames, all of them from ``FASTIM_FUZZ_SEED`` (1): with both the same, so
are the frames, but for ids that the server made up. ``FASTIM_FUZZ_ONLY`` names one stream or connection to make alone.
"""

import os
from collections.abc import Iterable
from random import Random

SEED = os.environ.get("FASTIM_FUZZ_SEED") or "1"
FRAMES = int(os.environ.get("FASTIM_FUZZ_FRAMES") or 300)
ONLY = int(os.environ["FASTIM_FUZZ_ONLY"]) if os.environ.get("FASTIM_FUZZ_ONLY") else None


def numbers(frames_each: int) -> Iterable[int]:
    """The numbers of what to make when each takes so many frames."""
    return (ONLY,) if ONLY is not None else range(max(1, FRAMES // frames_each))


def dice(what: str, number: int) -> Random:
    """What everything about number ``number`` of ``what`` is drawn from."""
    return Random(f"{SEED} {what} {number}")


def rerun(number: int) -> str:
    """How to have this one again."""
    return f"FASTIM_FUZZ_SEED={SEED} FASTIM_FUZZ_ONLY={number}"
