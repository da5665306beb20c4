"""A cursor, for all streams whose news overtake each other a little: nothing is missed, nothing comes twice."""

from hypothesis import given
from hypothesis import strategies as st

from fastim.client.cursor import OVERLAP, Cursor
from fastim.core.units import Millis

START = Millis(1_000_000)


@given(
    delays=st.lists(st.integers(0, OVERLAP - 1), min_size=1, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=5),
)
def test_what_is_told_live_and_again_is_heard_once_and_completely(delays: list[int], cuts: list[int]) -> None:
    """One piece of news a second, each told a while later, over connections that break."""
    happened = [(f"news {number}", Millis(START + 1 + 1000 * number)) for number in range(len(delays))]
    told = sorted(zip(delays, happened, strict=True), key=lambda one: one[1][1] + one[0])
    cursor = Cursor(0)
    cursor.start(START)
    heard: list[str] = []

    def hear(name: str, at: Millis) -> None:
        if cursor.is_new(name, at):
            heard.append(name)

    for turn, (delay, (name, at)) in enumerate(told):
        if turn in cuts:
            # This one is lost with the connection, and is there when what was missed is asked for.
            now = at + delay
            since = cursor.since
            cursor.resume(since)
            for missed, then in happened:
                if since < then <= now:
                    hear(missed, then)
        else:
            hear(name, at)
    assert len(heard) == len(set(heard))
    lost_at_the_end = {one[1][0] for turn, one in enumerate(told) if turn in cuts}
    assert set(heard) | lost_at_the_end >= {name for name, _ in happened}
    assert set(heard) >= {name for turn, (_, (name, _)) in enumerate(told) if turn not in cuts}


@given(since=st.integers(1, 10**13), now=st.integers(1, 10**13))
def test_a_kept_mark_counts_and_without_one_the_start_does(since: int, now: int) -> None:
    kept = Cursor(since)
    kept.start(Millis(now))
    assert (kept.since, kept.newest) == (since, since)
    fresh = Cursor(0)
    fresh.start(Millis(now))
    fresh.start(Millis(now + 1))
    assert (fresh.since, fresh.newest) == (now, now)


def test_memory_is_bounded_by_the_overlap() -> None:
    cursor = Cursor(0)
    cursor.start(START)
    for number in range(100_000):
        cursor.is_new(number, Millis(START + number))
    assert len(cursor._heard) <= OVERLAP + 1
    cursor.is_new("much later", Millis(START + 10**9))
    assert len(cursor._heard) == 1
