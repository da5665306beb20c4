from hypothesis import given
from hypothesis import strategies as st

from fastim.core import commands
from fastim.core.errors import OperationQuotaExceeded, SendQuotaExceeded
from fastim.core.quota import MINUTE_NANOSECONDS, SECOND_NANOSECONDS, Quota, governs, quota_of, spent

moments = st.lists(st.integers(0, 3 * MINUTE_NANOSECONDS), max_size=60).map(sorted)


def taken(per_minute: int, attempts: list[int]) -> list[int]:
    """Those of the moments at which one was taken out."""
    full_at, successes = 0, []
    for now in attempts:
        after = spent(full_at, per_minute, now)
        if after is not None:
            full_at = after
            successes.append(now)
    return successes


@given(st.integers(1, 100_000))
def test_a_minute_s_worth_may_be_taken_at_once_and_no_more(per_minute: int) -> None:
    full_at, count = 1, 0
    while (after := spent(full_at, per_minute, 1)) is not None and count <= per_minute:
        full_at, count = after, count + 1
    assert count == per_minute


@given(st.integers(1, 40), moments)
def test_no_minute_gives_more_than_what_was_in_and_what_flowed_in(per_minute: int, attempts: list[int]) -> None:
    successes = taken(per_minute, attempts)
    for start in successes:
        assert sum(start <= one < start + MINUTE_NANOSECONDS for one in successes) <= 2 * per_minute


@given(st.integers(1, 1_000), st.integers(0, 10**18))
def test_who_keeps_to_the_pace_is_never_refused(per_minute: int, began: int) -> None:
    pace = MINUTE_NANOSECONDS // per_minute + 1
    attempts = [began + number * pace for number in range(3 * per_minute)]
    assert taken(per_minute, attempts) == attempts


@given(st.integers(1, 1_000), st.integers(0, 10**18))
def test_after_a_minute_of_nothing_it_is_full(per_minute: int, now: int) -> None:
    full_at = 0
    while (after := spent(full_at, per_minute, now)) is not None:
        full_at = after
    assert full_at <= now + MINUTE_NANOSECONDS


@given(st.integers(1, 30_000), st.integers(0, 10**18))
def test_a_second_s_worth_may_be_taken_at_once_and_no_more(per_second: int, now: int) -> None:
    full_at, count = now, 0
    while (after := spent(full_at, per_second, now, SECOND_NANOSECONDS)) is not None and count <= per_second:
        full_at, count = after, count + 1
    assert count == per_second
    assert spent(full_at, per_second, now + SECOND_NANOSECONDS // per_second, SECOND_NANOSECONDS) is not None


@given(st.integers(1, 60_000), st.lists(st.floats(0, 100, allow_nan=False), max_size=50))
def test_who_governs_begins_at_the_limit_and_ends_below_half_of_it(limit: int, lags: list[float]) -> None:
    governing = False
    for lag in lags:
        before, governing = governing, governs(governing, lag, limit)
        if governing and not before:
            assert 1000 * lag >= limit
        if before and not governing:
            assert 1000 * lag < limit / 2
        if lag == 0:
            assert not governing


def test_without_a_limit_nobody_governs() -> None:
    assert not governs(False, 3_600, 0)
    assert not governs(True, 3_600, 0)


def test_what_comes_out_of_which() -> None:
    assert quota_of(commands.Send("c", b"hi", 2)) is Quota.SENDS
    assert quota_of(commands.Send("c", b"hi", 2, transient=True)) is Quota.SENDS
    assert quota_of(commands.ReadHistory("c")) is Quota.HISTORY
    for operation in (commands.OpenSession(), commands.CountMembers("c"), commands.MarkRead(()), commands.Unknown("x")):
        assert quota_of(operation) is Quota.OPERATIONS


def test_what_is_never_too_much() -> None:
    for command in (commands.Echo(), commands.Acknowledge("c"), commands.CloseSession(), commands.Login("", None)):
        assert quota_of(command) is None


def test_what_is_too_much_is_refused_by_name() -> None:
    assert isinstance(Quota.SENDS.refusal, SendQuotaExceeded)
    assert isinstance(Quota.HISTORY.refusal, OperationQuotaExceeded)
    assert isinstance(Quota.OPERATIONS.refusal, OperationQuotaExceeded)
