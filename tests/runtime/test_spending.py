import pytest

from fastim.core.application import Application
from fastim.core.ids import AppNumber
from fastim.runtime.spending import DAY_SECONDS, MINUTE_SECONDS, Allowance, Allowances, Spending
from fastim.settings import Rest

NOON = 20_000 * DAY_SECONDS + DAY_SECONDS / 2


class Watch:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


def allowance(**rules: int) -> tuple[Allowance, Watch]:
    watch = Watch()
    return Allowance(Rest(**rules), watch), watch


@pytest.mark.rule("2.16")
def test_who_used_up_a_minute_waits_for_a_minute() -> None:
    spent, watch = allowance(sends_per_minute=2)
    assert [spent.spend(Spending.SENDS) for _ in range(2)] == [0, 0]
    watch.now += 10
    wait = spent.spend(Spending.SENDS)
    assert MINUTE_SECONDS - 11 <= wait <= MINUTE_SECONDS + 1
    watch.now += wait
    assert spent.spend(Spending.SENDS) == 0


@pytest.mark.rule("2.17")
def test_who_used_up_a_day_waits_for_the_next() -> None:
    spent, watch = allowance(broadcasts_per_minute=0, broadcasts_per_day=3)
    assert [spent.spend(Spending.BROADCASTS) for _ in range(3)] == [0, 0, 0]
    wait = spent.spend(Spending.BROADCASTS)
    assert wait == DAY_SECONDS // 2 + 1
    watch.now += wait
    assert spent.spend(Spending.BROADCASTS) == 0


def test_what_was_refused_is_not_counted() -> None:
    spent, watch = allowance(broadcasts_per_minute=1, broadcasts_per_day=2)
    assert spent.spend(Spending.BROADCASTS) == 0
    assert [spent.spend(Spending.BROADCASTS) > 0 for _ in range(5)] == [True] * 5
    watch.now += MINUTE_SECONDS + 1
    assert spent.spend(Spending.BROADCASTS) == 0


def test_what_was_given_back_can_be_spent_again() -> None:
    spent, watch = allowance(broadcasts_per_minute=2, broadcasts_per_day=2)
    for _ in range(5):
        assert [spent.spend(Spending.BROADCASTS) for _ in range(2)] == [0, 0]
        spent.give_back(Spending.BROADCASTS)
        spent.give_back(Spending.BROADCASTS)
    assert [spent.spend(Spending.BROADCASTS) > 0 for _ in range(3)] == [False, False, True]
    watch.now += MINUTE_SECONDS + 1
    assert spent.spend(Spending.BROADCASTS) > MINUTE_SECONDS


def test_nothing_is_given_back_to_a_window_that_has_begun_since() -> None:
    spent, watch = allowance(sends_per_minute=2)
    assert spent.spend(Spending.SENDS) == 0
    watch.now += MINUTE_SECONDS + 1
    spent.give_back(Spending.SENDS)
    assert [spent.spend(Spending.SENDS) > 0 for _ in range(3)] == [False, False, True]


def test_zero_is_no_limit_and_kinds_are_counted_apart() -> None:
    spent, _ = allowance(sends_per_minute=1, subscriber_broadcasts_per_minute=0, subscriber_broadcasts_per_day=0)
    assert spent.spend(Spending.SENDS) == 0
    assert spent.spend(Spending.SENDS) > 0
    assert [spent.spend(Spending.SUBSCRIBER_BROADCASTS) for _ in range(50)] == [0] * 50


def test_a_clock_that_was_put_back_locks_nobody_out() -> None:
    spent, watch = allowance(sends_per_minute=1)
    assert spent.spend(Spending.SENDS) == 0
    watch.now -= 10 * DAY_SECONDS
    assert spent.spend(Spending.SENDS) == 0


def test_applications_spend_apart() -> None:
    allowances = Allowances(Watch())
    rules = Rest(sends_per_minute=1)
    first, second = (Application(AppNumber(number), f"app {number}", "k", "m", "h") for number in (1, 2))
    assert allowances.of(first.number, rules).spend(Spending.SENDS) == 0
    assert allowances.of(first.number, rules).spend(Spending.SENDS) > 0
    assert allowances.of(second.number, rules).spend(Spending.SENDS) == 0


def test_other_rules_count_at_once_for_what_was_spent_before() -> None:
    watch = Watch()
    allowances = Allowances(watch)

    def spend(most: int) -> int:
        return allowances.of("app", Rest(sends_per_minute=most)).spend(Spending.SENDS)

    assert [spend(3) for _ in range(2)] == [0, 0]
    assert spend(2) > 0
    assert spend(3) == 0
    assert spend(3) > 0
    assert spend(0) == 0
