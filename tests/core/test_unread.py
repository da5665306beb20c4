import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastim.core.commands import ReadMark
from fastim.core.message import Message, Position
from fastim.core.units import Millis
from fastim.core.unread import (
    OVERLAP,
    Head,
    Membership,
    Unread,
    advance,
    changed_since,
    furthest,
    total,
    unread,
    unread_since,
)


def message(sequence: int, sender: str, mention_all: bool = False) -> Message:
    return Message(f"m{sequence}", Millis(sequence), sequence, sender, b"", mention_all=mention_all)


def test_own_messages_do_not_count() -> None:
    assert unread(Head(sequence=5), Membership(Millis(0), sent=2), "tom").count == 3


def test_messages_before_the_read_position_do_not_count() -> None:
    member = Membership(Millis(0), sent=3, read=4, sent_at_read=1)
    assert unread(Head(sequence=10), member, "tom").count == 4


def test_nobody_is_mentioned_by_their_own_message_to_all() -> None:
    head = advance(Head(), message(1, "tom", mention_all=True))
    assert not unread(head, Membership(Millis(0), sent=1), "tom").mentioned
    assert unread(head, Membership(Millis(0)), "jerry").mentioned


def test_reading_clears_the_mention() -> None:
    head = advance(Head(), message(1, "tom", mention_all=True))
    assert not unread(head, Membership(Millis(0), read=1), "jerry").mentioned


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=12), st.sampled_from("abc"), st.integers(0, 12)
)
def test_two_entries_are_enough_to_know_who_is_mentioned_by_a_message_to_all(
    messages: list[tuple[str, bool]], client: str, read: int
) -> None:
    read = min(read, len(messages))
    head = Head()
    for sequence, (sender, mention_all) in enumerate(messages, 1):
        head = advance(head, message(sequence, sender, mention_all))
    sent = [sequence for sequence, (sender, _) in enumerate(messages, 1) if sender == client]
    member = Membership(Millis(0), sent=len(sent), read=read, sent_at_read=sum(sequence <= read for sequence in sent))
    rest = [(sender, all_) for sender, all_ in messages[read:] if sender != client]
    told = unread(head, member, client)
    assert told.count == len(rest)
    assert told.mentioned == any(all_ for _, all_ in rest)


@pytest.mark.rule("7.8")
def test_two_logs_are_counted_together() -> None:
    assert total([Unread(2, mentioned=False), Unread(3, mentioned=True)]) == Unread(5, mentioned=True)
    assert total([]) == Unread(0, mentioned=False)


def test_of_several_marks_in_a_conversation_the_furthest_counts() -> None:
    near, far = Position(Millis(1), "a"), Position(Millis(1), "b")
    marks = [ReadMark("c", near), ReadMark("d", far), ReadMark("c", far), ReadMark("d"), ReadMark("d", near)]
    assert furthest(marks) == [ReadMark("c", far), ReadMark("d")]


def test_a_change_is_a_new_message_or_a_read() -> None:
    head, member = Head(sequence=1, timestamp=Millis(100)), Membership(Millis(0))
    assert changed_since(head, member, Millis(99))
    assert not changed_since(head, member, Millis(100))
    assert changed_since(head, replace(member, read_at=Millis(101)), Millis(100))


def test_the_moment_last_told_is_not_trusted_to_the_second_nor_when_it_lies_ahead() -> None:
    assert unread_since(Millis(500_000), Millis(500_001)) == 500_000 - OVERLAP
    assert unread_since(Millis(10), Millis(500_001)) == 0
    assert unread_since(Millis(500_002), Millis(500_001)) == 0
