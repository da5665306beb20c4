import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastim.core.retry import back_off

seconds = st.floats(min_value=0.001, max_value=86_400)
luck = st.floats(min_value=0, max_value=1)


def test_each_wait_is_twice_the_one_before_up_to_the_longest() -> None:
    waits = [back_off(failures, 5, 600, 0) for failures in range(1, 10)]
    assert waits == [5, 10, 20, 40, 80, 160, 320, 600, 600]


def test_luck_takes_off_a_quarter_at_most() -> None:
    assert back_off(1, 8, 600, 1) == 6
    assert back_off(3, 8, 600, 0.5) == 28


@given(st.integers(-3, 10_000), seconds, seconds, luck)
def test_no_wait_is_longer_than_the_longest_and_none_is_nothing(
    failures: int, first: float, most: float, luck: float
) -> None:
    wait = back_off(failures, first, most, luck)
    assert 0 < wait <= most
    assert wait >= 0.75 * min(first, most)


@given(st.integers(1, 10_000), seconds, seconds, luck)
def test_no_wait_is_shorter_than_the_one_before(failures: int, first: float, most: float, luck: float) -> None:
    assert back_off(failures, first, most, luck) <= back_off(failures + 1, first, most, luck)


@pytest.mark.parametrize("failures", [0, -1])
def test_before_the_first_failure_the_wait_is_that_after_it(failures: int) -> None:
    assert back_off(failures, 5, 600, 0) == 5
