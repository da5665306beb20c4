"""Latencies: percentiles of the last ten seconds."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastim.runtime.latencies import WINDOW_SECONDS, Latencies, Percentiles


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def measured(*seconds: float) -> Percentiles:
    """What is said when each took so long."""
    clock = Clock()
    latencies = Latencies(lambda: clock.now, sampled=1)
    for one in seconds:
        latencies.end(clock.now - one)
    return latencies.percentiles()


def test_nothing_is_said_of_nothing() -> None:
    assert measured() == Percentiles(None, None, 0)


@given(st.lists(st.floats(2e-6, 60.0), min_size=1, max_size=300))
def test_percentiles_are_right_within_a_bucket(seconds: list[float]) -> None:
    found = measured(*seconds)
    ordered = sorted(seconds)
    for share, said in ((0.5, found.p50), (0.99, found.p99)):
        exact = 1000 * ordered[math.ceil(share * len(ordered)) - 1]
        assert said is not None
        assert exact * 0.99 - 0.001 <= said <= exact * 1.13 + 0.001
    assert found.count == len(seconds)


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e9])
def test_what_is_out_of_all_bounds_is_counted(seconds: float) -> None:
    assert measured(seconds).count == 1


def test_one_in_so_many_is_measured_and_stands_for_all() -> None:
    clock = Clock()
    latencies = Latencies(clock, sampled=8)
    for _ in range(80):
        begun = latencies.begin()
        clock.now += 0.001
        latencies.end(begun)
        clock.now -= 0.001
    assert latencies.percentiles().count == 80


def test_what_is_past_the_window_is_forgotten_second_by_second() -> None:
    clock = Clock()
    latencies = Latencies(clock, sampled=1)
    for _ in range(WINDOW_SECONDS):
        latencies.end(clock.now - 0.001)
        clock.now += 1
    counts = []
    for _ in range(WINDOW_SECONDS + 1):
        counts.append(latencies.percentiles().count)
        clock.now += 1
    assert counts == [*range(WINDOW_SECONDS - 1, -1, -1), 0]


def test_after_a_long_silence_nothing_old_is_left() -> None:
    clock = Clock()
    latencies = Latencies(clock, sampled=1)
    latencies.end(clock.now - 0.001)
    clock.now += 1_000_003
    assert latencies.percentiles().count == 0
