import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastim.core.quota import MINUTE_NANOSECONDS, Quota, spent
from fastim.runtime import quotas
from fastim.runtime.limits import LimitCounters
from fastim.runtime.quotas import Quotas
from fastim.settings import Limits

LIMITS = Limits(sends_per_minute=3, history_per_minute=2, operations_per_minute=1)


class Kept:
    """Quotas, their counters, and the clock that they go by."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.seconds = 1_000.0
        self.counters = LimitCounters()
        self.quotas = Quotas(limits, self.counters, lambda: self.seconds)

    def spends(self, who: str, quota: Quota = Quota.SENDS) -> bool:
        return self.quotas.spend(who, quota)


def test_each_client_and_each_kind_has_its_own() -> None:
    kept = Kept()
    assert [kept.spends("tom") for _ in range(4)] == [True, True, True, False]
    assert [kept.spends("tom", Quota.HISTORY) for _ in range(3)] == [True, True, False]
    assert [kept.spends("tom", Quota.OPERATIONS) for _ in range(2)] == [True, False]
    assert kept.spends("jerry")


def test_what_bites_is_counted_by_kind() -> None:
    kept = Kept()
    for quota in Quota:
        for _ in range(5):
            kept.spends("tom", quota)
    bites = {limit: number for limit, number in kept.counters.bites.items() if number}
    assert bites == {"sends": 2, "history": 3, "operations": 4}


def test_it_fills_steadily() -> None:
    kept = Kept()
    for _ in range(3):
        kept.spends("tom")
    kept.seconds += 19.9
    assert not kept.spends("tom")
    kept.seconds += 0.2
    assert kept.spends("tom")
    assert not kept.spends("tom")


def test_zero_is_no_limit_and_nobody_is_remembered_for_it() -> None:
    kept = Kept(Limits(sends_per_minute=0, history_per_minute=0, operations_per_minute=0))
    for quota in Quota:
        assert all(kept.spends("tom", quota) for _ in range(5_000))
        assert kept.quotas.allows("tom", quota)
    assert len(kept.quotas) == 0


def test_asking_takes_nothing() -> None:
    kept = Kept()
    assert all(kept.quotas.allows("tom", Quota.OPERATIONS) for _ in range(9))
    assert kept.spends("tom", Quota.OPERATIONS)
    assert not kept.quotas.allows("tom", Quota.OPERATIONS)
    assert kept.counters.bites["operations"] == 1
    kept.seconds += 60.1
    assert kept.quotas.allows("tom", Quota.OPERATIONS)


def test_who_is_gone_for_good_is_forgotten() -> None:
    kept = Kept()
    kept.spends("tom", Quota.OPERATIONS)
    kept.quotas.forget("tom")
    kept.quotas.forget("nobody")
    assert len(kept.quotas) == 0
    assert kept.spends("tom", Quota.OPERATIONS)


@given(st.lists(st.floats(0, 45, allow_nan=False), max_size=60))
def test_forgetting_lets_nobody_off(pauses: list[float]) -> None:
    """The same as one who was never forgotten: kept apart, with nobody else and no turn of generations."""
    kept, full_at = Kept(), 0
    for pause in pauses:
        kept.seconds += pause
        now = int(kept.seconds * 1e9)
        after = spent(full_at, 3, now)
        assert kept.spends("tom") == (after is not None)
        full_at = full_at if after is None else after
        kept.spends("another")


def test_a_crowd_is_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "GENERATION_MAX", 100)
    kept = Kept()
    for number in range(10_000):
        kept.spends(f"passer-by {number}")
        if number % 20 == 0:
            # Who goes on is not let off by those who come and go.
            assert kept.spends("tom") == (number < 60)
        assert len(kept.quotas) <= 200


def test_a_quiet_minute_leaves_nothing_behind() -> None:
    kept = Kept()
    for number in range(1_000):
        kept.spends(f"client {number}")
    for _ in range(2):
        kept.seconds += MINUTE_NANOSECONDS / 1e9 + 1
        kept.spends("tom")
    assert len(kept.quotas) == 1
