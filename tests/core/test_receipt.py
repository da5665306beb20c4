import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastim.core.message import Message
from fastim.core.policy import RECEIPTS_AT_ONCE_MAX
from fastim.core.receipt import WINDOW, asked, begin_of_window, looked_at, nothing_missing_until
from fastim.core.units import Millis
from fastim.core.unread import Head


def said(sequence: int, sender: str = "tom", receipt: bool = True) -> Message:
    """The message said at ``100 * sequence``."""
    return Message(f"m{sequence}", Millis(100 * sequence), sequence, sender, b"", receipt=receipt)


def until(log: list[Message], reached: int, at: int, first: int = 1) -> int:
    """What is told of jerry, of whom it is known that he had everything up to ``reached``, and when."""
    head = Head(log[-1].sequence if log else 0, log[-1].timestamp if log else Millis(0), first=first)
    begin = begin_of_window(reached, head)
    window = [message for message in log if begin <= message.sequence < begin + WINDOW]
    return nothing_missing_until("jerry", reached, Millis(at), head, window)


def test_who_never_said_so_has_nothing() -> None:
    assert until([said(1)], 0, 0) == until([], 0, 0) == until([said(1)], 1, 0) == 0


@pytest.mark.rule("6.3")
def test_who_has_everything_has_it_since_it_said_so() -> None:
    assert until([said(1), said(2)], 2, 250) == 250


@pytest.mark.rule("6.3")
def test_what_came_later_changes_nothing() -> None:
    assert until([said(1), said(2)], 1, 150) == 150


@pytest.mark.rule("6.3")
def test_nothing_that_was_missing_then_looks_as_if_it_had_arrived() -> None:
    assert until([said(1), said(2)], 1, 250) == 100
    assert until([said(1), said(2)], 1, 200) == 100


def test_own_messages_are_never_missing() -> None:
    log = [said(1), said(2, "jerry"), said(3, "jerry")]
    assert until(log, 1, 350) == 350
    assert until([*log, said(4)], 1, 350) == 350
    assert until([*log, said(4)], 1, 450) == 300


def test_a_clock_that_has_stepped_back_takes_nothing_away() -> None:
    assert until([said(1), said(2)], 2, 50) == 200


def test_messages_that_are_not_there_any_more_are_not_missing_but_what_follows_them_may_be() -> None:
    assert until([said(3)], 1, 250, first=3) == 250
    assert until([said(3)], 1, 350, first=3) == 299
    assert until([said(1), said(3)], 2, 350) == 299  # the second was deleted


@pytest.mark.rule("6.3")
@given(
    st.lists(st.sampled_from(["tom", "jerry"]), max_size=60),
    st.integers(0, 60),
    st.integers(1, 7_000),
)
def test_everything_before_that_moment_is_there_whatever_was_said(senders: list[str], reached: int, at: int) -> None:
    log = [said(sequence, sender) for sequence, sender in enumerate(senders, 1)]
    reached = min(reached, len(log))
    moment = until(log, reached, at)
    assert all(
        message.sequence <= reached or message.sender == "jerry" for message in log if message.timestamp <= moment
    )
    if reached:
        assert moment >= log[reached - 1].timestamp


@pytest.mark.rule("6.1", "6.3a")
def test_those_who_asked_are_told_of_each_and_nobody_of_their_own() -> None:
    log = [said(1), said(2, receipt=False), said(3, "jerry"), said(4, "spike"), said(5), said(6, "")]
    assert asked(log, "jerry") == {"tom": ["m1", "m5"], "spike": ["m4"]}
    assert asked(log, "jerry", since=Millis(400)) == {"tom": ["m5"], "spike": ["m4"]}


@given(st.integers(0, 500), st.integers(0, 500))
def test_the_newest_are_looked_at_and_not_too_many(before: int, after: int) -> None:
    begin, limit = looked_at(before, after)
    if after > before:
        assert begin > before
        assert begin + limit - 1 == after
        assert limit == min(after - before, RECEIPTS_AT_ONCE_MAX)
    else:
        assert limit <= 0
