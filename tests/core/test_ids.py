from hypothesis import given
from hypothesis import strategies as st

from fastim.core.ids import (
    CONVERSATION_ENTROPY_BYTES,
    MESSAGE_ENTROPY_BYTES,
    MESSAGE_ID_LENGTH,
    conversation_id,
    is_client_id,
    is_conversation_id,
    made_at,
    message_id,
    unique_id,
)
from fastim.core.units import Millis, iso

moments = st.integers(0, 2**48 - 1).map(Millis)
entropies = st.binary(min_size=MESSAGE_ENTROPY_BYTES, max_size=MESSAGE_ENTROPY_BYTES)


@given(moments, entropies, moments, entropies)
def test_message_ids_sort_by_time_as_plain_ascii(
    first: Millis, first_entropy: bytes, second: Millis, second_entropy: bytes
) -> None:
    one, other = message_id(first, first_entropy), message_id(second, second_entropy)
    assert len(one) == MESSAGE_ID_LENGTH
    assert one.isascii()
    assert (one < other) == ((first, first_entropy) < (second, second_entropy))


@given(moments, entropies)
def test_a_message_id_says_when_it_was_made(moment: Millis, entropy: bytes) -> None:
    assert made_at(message_id(moment, entropy)) == moment


@given(st.text())
def test_what_has_not_the_shape_of_a_message_id_says_nothing(text: str) -> None:
    assert made_at(text) is None
    assert made_at("+" * MESSAGE_ID_LENGTH) is None


@given(st.integers(0, 2**48 - 1).map(Millis), st.booleans())
def test_a_new_conversation_id_has_the_shape_of_one(now: Millis, temporary: bool) -> None:
    made = conversation_id(now, b"\xff" * CONVERSATION_ENTROPY_BYTES, temporary=temporary)
    assert is_conversation_id(made)
    assert made.startswith("_tmp:") == temporary


def test_what_is_not_24_hex_digits_is_no_conversation_id() -> None:
    for text in ("", "abc", "g" * 24, "A" * 24, "a" * 23, "a" * 25, "_tmp:", "_tmp:_tmp:" + "a" * 24, "a" * 23 + "\n"):
        assert not is_conversation_id(text)


def test_a_client_id_has_1_to_64_printable_characters() -> None:
    for text in ("a", "7-starts-with-a-digit", "汤姆", "x" * 64, "😀" * 64):
        assert is_client_id(text)
    for text in ("", "x" * 65, "a\nb", "\x00", "\ud800", "zero\u200bwidth"):
        assert not is_client_id(text)


@given(st.lists(st.text(min_size=1, max_size=8)), st.randoms())
def test_equal_sets_of_members_have_equal_unique_ids(members: list[str], random: object) -> None:
    shuffled = [*members, *members]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert unique_id(members) == unique_id(shuffled)


def test_member_lists_that_only_look_alike_when_joined_have_different_unique_ids() -> None:
    assert unique_id(["ab", "c"]) != unique_id(["a", "bc"]) != unique_id(["abc"])


def test_times_have_three_fraction_digits_and_a_literal_z() -> None:
    assert iso(Millis(0)) == "1970-01-01T00:00:00.000Z"
    assert iso(Millis(1_767_323_045_007)) == "2026-01-02T03:04:05.007Z"
