from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import MessageRejected
from fastim.core.hooked import (
    CODE_MAX,
    DETAIL_CHARACTERS_MAX,
    content_of,
    narrowed,
    peers,
    reason,
    rewritten,
    verdict,
)
from fastim.core.hooks import MessageAnswer
from fastim.core.message import Draft
from fastim.core.units import Millis
from fastim.core.words import MASKED_CODE, MASKED_REASON

HI = Draft("tom", b"hi")


def conversation(kind: Kind, *members: str) -> Conversation:
    return Conversation("c", kind, "tom", Millis(0), Millis(0), members)


@given(st.binary(), st.booleans())
def test_a_hook_that_answers_what_it_was_told_changes_nothing(body: bytes, binary: bool) -> None:
    said = Draft("tom", body if binary else body.decode(errors="replace").encode(), binary)
    assert rewritten(said, MessageAnswer(content=content_of(said)), 1_000) is said


def test_a_body_that_is_no_text_is_told_as_far_as_it_is_one() -> None:
    assert content_of(Draft("tom", b"a\xffb")) == "a\ufffdb"


@given(st.binary(max_size=100))
def test_binary_content_is_base64(body: bytes) -> None:
    changed = rewritten(HI, MessageAnswer(content=b64encode(body).decode(), bin=True), 100)
    assert (changed.body, changed.binary) == (body, True)


def test_content_is_of_the_kind_that_the_message_was_unless_the_hook_says_otherwise() -> None:
    picture = Draft("tom", b"\x00", binary=True)
    assert rewritten(picture, MessageAnswer(content="AQ=="), 100).body == b"\x01"
    text = rewritten(picture, MessageAnswer(content="AQ==", bin=False), 100)
    assert (text.body, text.binary) == (b"AQ==", False)


def test_the_kind_alone_changes_nothing() -> None:
    assert rewritten(HI, MessageAnswer(bin=True), 100) is HI


@pytest.mark.parametrize(
    "answer",
    [
        MessageAnswer(content="no Base64", bin=True),
        MessageAnswer(content="\u00e9", bin=True),
        MessageAnswer(content="\ud800"),
        MessageAnswer(content="x" * 11),
    ],
)
def test_content_that_cannot_be_is_ignored(answer: MessageAnswer) -> None:
    assert rewritten(HI, answer, 10) is HI


def test_the_receivers_are_the_other_members() -> None:
    assert peers(conversation(Kind.NORMAL, "tom", "jerry", "spike"), "tom") == ("jerry", "spike")
    assert peers(conversation(Kind.CHAT_ROOM), "tom") == ()


@pytest.mark.parametrize("kind", [Kind.NORMAL, Kind.TEMPORARY])
def test_the_hook_chooses_among_the_receivers_and_adds_none(kind: Kind) -> None:
    tea = conversation(kind, "tom", "jerry", "spike")
    answer = MessageAnswer(to_peers=("spike", "tyke"))
    assert narrowed(tea, tea.members, "tom", answer) == ("tom", "spike")
    assert narrowed(tea, tea.members, "tom", MessageAnswer(to_peers=())) == ("tom",)
    assert narrowed(tea, tea.members, "tom", MessageAnswer()) is tea.members
    assert narrowed(tea, tea.members, "tom", None) is tea.members


@pytest.mark.parametrize("kind", [Kind.CHAT_ROOM, Kind.SYSTEM])
def test_where_nobody_was_named_nobody_is_left_out(kind: Kind) -> None:
    assert narrowed(conversation(kind), ("tom",), "jerry", MessageAnswer(to_peers=())) == ("tom",)


@pytest.mark.parametrize("code", [0, 1, -1, CODE_MAX, -CODE_MAX])
def test_a_code_that_fits_is_told(code: int) -> None:
    error = MessageRejected(*verdict(MessageAnswer(code=code, detail="be nice")))
    assert (error.app_code, error.app_message) == (code, "be nice")


@pytest.mark.parametrize("code", [CODE_MAX + 1, -CODE_MAX - 1, 2**70])
def test_a_code_that_clients_could_not_read_is_none(code: int) -> None:
    assert verdict(MessageAnswer(code=code)) == (0, "")


def test_a_detail_that_is_no_text_is_told_as_far_as_it_is_one() -> None:
    assert verdict(MessageAnswer(detail="a\ud800")) == (0, "a?")


def test_of_a_hooks_words_clients_are_told_so_many() -> None:
    assert verdict(MessageAnswer(detail="é" * 1_000_000)) == (0, "é" * DETAIL_CHARACTERS_MAX)


@pytest.mark.rule("8.6")
def test_a_hooks_own_code_goes_before_the_one_for_listed_words() -> None:
    answer = MessageAnswer(code=7, detail="rude")
    assert reason(answer, changed=True, masked=False) == (7, "rude")
    assert reason(answer, changed=True, masked=True) == (7, "rude")
    assert reason(answer, changed=False, masked=True) == (MASKED_CODE, MASKED_REASON)
    assert reason(None, changed=False, masked=True) == (MASKED_CODE, MASKED_REASON)


@pytest.mark.rule("8.6")
@pytest.mark.parametrize("code", [0, MASKED_CODE])
def test_a_hook_cannot_pass_for_what_is_built_in(code: int) -> None:
    assert reason(MessageAnswer(code=code, detail="rude"), changed=True, masked=False) == (0, "")
