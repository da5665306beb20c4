import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastim.core.admit import admit
from fastim.core.commands import Send
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import InternalError, InvalidTarget, MessageTooLong
from fastim.core.message import Draft
from fastim.core.policy import Policy
from fastim.core.units import Millis

POLICY = Policy(message_bytes=100)
TEA = Conversation("c", Kind.NORMAL, "tom", Millis(0), Millis(0), members=("tom", "jerry"))
HI = Send("c", b"hi", size_bytes=20)


def test_a_member_may_send() -> None:
    assert admit(TEA, "jerry", HI, POLICY) == (TEA, Draft("jerry", b"hi"))


def test_what_a_draft_keeps_of_the_command() -> None:
    command = Send(
        "c",
        b"\x00",
        size_bytes=20,
        binary=True,
        token="t",
        receipt=True,
        push_data="{}",
        mentions=("a", "b"),
        mention_all=True,
    )
    assert admit(TEA, "tom", command, POLICY)[1] == Draft(
        "tom", b"\x00", binary=True, token="t", receipt=True, mention_all=True, mentions=("a", "b")
    )


@pytest.mark.parametrize("conversation", [None, TEA])
def test_a_stranger_may_not_nor_anybody_where_nothing_is(conversation: Conversation | None) -> None:
    with pytest.raises(InvalidTarget) as caught:
        admit(conversation, "spike", HI, POLICY)
    assert caught.value.code == 4401


def test_the_limit_itself_is_still_allowed() -> None:
    assert admit(TEA, "tom", replace(HI, size_bytes=100), POLICY)
    with pytest.raises(MessageTooLong) as caught:
        admit(TEA, "tom", replace(HI, size_bytes=101), POLICY)
    assert (caught.value.code, caught.value.detail) == (4109, "101 bytes of at most 100")


def test_size_is_judged_before_membership() -> None:
    """Source: semantics, rule 5.3."""
    with pytest.raises(MessageTooLong):
        admit(None, "spike", replace(HI, size_bytes=101), POLICY)


def test_a_transient_message_asks_for_no_receipt() -> None:
    asked = replace(HI, receipt=True)
    assert admit(TEA, "tom", asked, POLICY)[1].receipt
    assert not admit(TEA, "tom", replace(asked, transient=True), POLICY)[1].receipt


def test_a_will_is_refused_rather_than_sent_at_once() -> None:
    with pytest.raises(InternalError):
        admit(TEA, "tom", replace(HI, will=True), POLICY)


@given(st.lists(st.sampled_from(["tom", "jerry", "spike"])))
def test_whoever_is_mentioned_is_mentioned_once_in_the_order_of_the_first_time(mentions: list[str]) -> None:
    drafted = admit(TEA, "tom", replace(HI, mentions=tuple(mentions)), POLICY)[1].mentions
    assert set(drafted) == set(mentions)
    assert list(drafted) == sorted(drafted, key=mentions.index)
    assert len(drafted) == len(set(drafted))
