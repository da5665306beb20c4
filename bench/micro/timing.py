"""pytest-benchmark's way of calling something a set number of times, typed."""

from collections.abc import Callable
from typing import Any, TypeVar

R = TypeVar("R")


def timed(
    benchmark: Any,
    call: Callable[[], R],
    *,
    rounds: int,
    before: Callable[[], object] = lambda: None,
    warm_up: int = 5,
) -> R:
    """What the last of so many calls returned.

    Args:
        before: Called before each of them, outside of what is measured.
    """

    def set_up() -> None:
        before()  # pytest-benchmark takes what is returned for arguments

    result: R = benchmark.pedantic(call, setup=set_up, rounds=rounds, warmup_rounds=warm_up)
    return result
