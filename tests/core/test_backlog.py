import pytest
from msgspec.structs import replace

from fastim.core.backlog import Backlog, Step, acknowledged, batch
from fastim.core.message import Message, Position
from fastim.core.policy import QUEUED_BATCH
from fastim.core.units import Millis

END = Position(Millis(200), "m2")
WAITING = Backlog(END, sequence=2, until=9)
LIVE = Position(Millis(900), "m9")


@pytest.mark.rule("7.9")
def test_a_batch_is_done_when_its_last_message_is_acknowledged() -> None:
    assert acknowledged(WAITING, END, None, alone=True) == Step(WAITING, END, batch_done=True)
    assert acknowledged(WAITING, Position(Millis(200)), Millis(100), alone=False) == Step(WAITING, END, batch_done=True)


def test_until_then_what_is_acknowledged_counts_and_no_more_is_due() -> None:
    one = Position(Millis(100), "m1")
    assert acknowledged(WAITING, one, None, alone=True) == Step(WAITING, one, batch_done=False)


def test_a_message_that_came_in_meanwhile_says_nothing_of_those_before_it() -> None:
    step = acknowledged(WAITING, LIVE, None, alone=True)
    assert step == Step(replace(WAITING, acknowledged=LIVE), None, batch_done=False)
    earlier = Position(Millis(800), "m8")
    assert acknowledged(step.backlog, earlier, None, alone=True).backlog.acknowledged == LIVE


def test_a_range_that_began_in_the_batch_has_all_of_it() -> None:
    for since in (Millis(100), Millis(200), None):
        step = acknowledged(WAITING, LIVE, since, alone=False)
        assert step == Step(replace(WAITING, acknowledged=LIVE), END, batch_done=True)


def test_a_range_that_began_after_it_has_nothing_of_it() -> None:
    step = acknowledged(WAITING, LIVE, Millis(201), alone=False)
    assert step == Step(replace(WAITING, acknowledged=LIVE), None, batch_done=False)


@pytest.mark.rule("7.9")
def test_a_batch_has_what_others_said_and_tells_whether_more_follows() -> None:
    log = [Message(f"m{n}", Millis(n), n, "jerry" if n % 3 == 0 else "tom", b"") for n in range(1, 31)]
    first, more = batch(log, "jerry")
    assert [message.sequence for message in first] == [n for n in range(1, 31) if n % 3][:QUEUED_BATCH]
    assert not more
    assert batch(log, "spike")[1]
    assert batch([], "tom") == ([], False)
