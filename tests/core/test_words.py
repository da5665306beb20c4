import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastim.core.conversation import Conversation, Kind
from fastim.core.message import Message
from fastim.core.policy import Policy
from fastim.core.units import Millis
from fastim.core.words import corrected, is_filtered, masked

AT = Millis(1_767_268_800_000)


def mask(text: bytes) -> bytes:
    """``bad`` and ``坏`` are listed."""
    assert isinstance(text, bytes)
    return text.replace(b"bad", b"***").replace("坏".encode(), b"***") if is_bad(text) else text


def is_bad(text: bytes) -> bool:
    return b"bad" in text or "坏".encode() in text


def typed(**members: Any) -> bytes:
    return json.dumps({"_lctype": -1, **members}, ensure_ascii=False).encode()


def read(body: bytes) -> Any:
    return json.loads(body)


innocent = st.text(st.characters(exclude_characters="bad坏", codec="utf-8"))
pieces = st.lists(innocent | st.sampled_from(["bad", "坏"])).map("".join)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | pieces,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(pieces, inner, max_size=3),
    max_leaves=8,
)
others = st.dictionaries(pieces.filter(lambda name: name not in ("_lctype", "_lctext")), values, max_size=4)


class TestWhere:
    @pytest.mark.rule("9.1")
    @pytest.mark.parametrize(
        ("kind", "members", "filtered"),
        [
            (Kind.NORMAL, 1, False),
            (Kind.NORMAL, 2, False),
            (Kind.NORMAL, 3, True),
            (Kind.TEMPORARY, 2, False),
            (Kind.TEMPORARY, 3, True),
            (Kind.CHAT_ROOM, 0, True),
            (Kind.SYSTEM, 0, True),
        ],
    )
    def test_in_groups_rooms_and_services_and_among_two_when_that_is_asked_for(
        self, kind: Kind, members: int, filtered: bool
    ) -> None:
        names = tuple(f"c{number}" for number in range(members))
        conversation = Conversation("c", kind, "c0", AT, AT, members=names)
        assert is_filtered(conversation, Policy()) is filtered
        assert is_filtered(conversation, Policy(filters_two=True))


class TestWhat:
    @pytest.mark.rule("9.3")
    @pytest.mark.parametrize(
        ("body", "left"),
        [
            (b"bad", b"***"),
            (b"a bad day", b"a *** day"),
            (b'"bad"', b'"***"'),
            (b'["bad"]', b'["***"]'),
            (b'{"bad": "bad"}', b'{"***": "***"}'),
            (b'{"_lctext": "bad"}', b'{"_lctext": "***"}'),
            (b'{"_lctype": null, "_lctext": "bad"}', b'{"_lctype": null, "_lctext": "***"}'),
            (b"{bad", b"{***"),
            (b"\xff bad \xfe", b"\xff *** \xfe"),
            (b"", b""),
        ],
    )
    def test_of_what_has_no_type_all_is_looked_at(self, body: bytes, left: bytes) -> None:
        assert masked(body, mask) == left

    @pytest.mark.rule("9.3")
    @pytest.mark.parametrize(
        ("body", "left"),
        [
            ('{"_lctype":-1,"_lctext":"bad","a":"bad"}', '{"_lctype":-1,"_lctext":"***","a":"bad"}'),
            (' {\t"_lctext" :\n"bad" , "_lctype" : -1 } ', ' {\t"_lctext" :\n"***" , "_lctype" : -1 } '),
            ('{"_lctype":-1,"_lctext":"b\\u0061d"}', '{"_lctype":-1,"_lctext":"***"}'),
            ('{"_lctype":-1,"_lctext":"\\u574f\\n\\"坏\\""}', '{"_lctype":-1,"_lctext":"***\\n\\"***\\""}'),
            ('{"_lctype":-1,"_lctex\\u0074":"bad"}', '{"_lctype":-1,"_lctex\\u0074":"***"}'),
            ('{"_lctype":-1,"_lctext":"bad","_lctext":"a bad"}', '{"_lctype":-1,"_lctext":"***","_lctext":"a ***"}'),
            (
                '{"_lctype":-1,"a":{"_lctext":"bad"},"b":["_lctext","bad",":"],"_lctext":"bad"}',
                '{"_lctype":-1,"a":{"_lctext":"bad"},"b":["_lctext","bad",":"],"_lctext":"***"}',
            ),
            (
                '{"_lctype":-1,"a":"_lctext","b":"}bad{","_lctext":"bad"}',
                '{"_lctype":-1,"a":"_lctext","b":"}bad{","_lctext":"***"}',
            ),
        ],
    )  # fmt: skip
    def test_of_a_typed_message_only_its_text_is_looked_at(self, body: str, left: str) -> None:
        assert masked(body.encode(), mask) == left.encode()

    @pytest.mark.rule("9.3")
    @pytest.mark.parametrize("body", ['{"_lctype":-2,"_lcfile":"bad"}', '{"_lctype":-1,"_lctext":null,"a":"bad"}'])
    def test_a_typed_message_without_a_text_stays_as_it_is(self, body: str) -> None:
        whole = body.encode()
        assert masked(whole, mask) is whole

    @pytest.mark.slow
    @given(text=pieces, before=others, after=others)
    def test_nothing_but_the_text_changes_and_nothing_at_all_without_a_hit(
        self, text: str, before: dict[str, Any], after: dict[str, Any]
    ) -> None:
        body = typed(**before, _lctext=text, **{name: value for name, value in after.items() if name not in before})
        left = masked(body, mask)
        if not is_bad(text.encode()):
            assert left is body
        else:
            assert read(left) == read(body) | {"_lctext": mask(text.encode()).decode()}
            one, other = body.index(b'"_lctext"'), left.index(b'"_lctext"')
            if not any("_lctext" in json.dumps(name) for name in before):
                assert left[:other] == body[:one]

    @given(
        text=pieces, other=st.binary().filter(lambda data: not set(data) & set(b'"\\') and min(data, default=32) >= 32)
    )
    def test_bytes_that_are_no_text_stay_where_they_are(self, text: str, other: bytes) -> None:
        body = b'{"_lctype":-1,"a":"' + other + b'","_lctext":' + json.dumps(text).encode() + b"}"
        left = masked(body, mask)
        assert not is_bad(left.partition(b'"_lctext"')[2])
        if not is_bad(other):
            assert left.startswith(b'{"_lctype":-1,"a":"' + other + b'","_lctext":"')
            if not is_bad(text.encode()):
                assert left is body

    @given(body=st.binary() | pieces.map(str.encode) | values.map(lambda value: json.dumps(value).encode()))
    def test_whatever_comes_is_masked_or_stays_the_same_object(self, body: bytes) -> None:
        left = masked(body, mask)
        assert left is body or left != body


class TestWhatDecodersGiveUp:
    """Some client might read it all the same, and must not be shown the word."""

    @pytest.mark.parametrize("depth", [10, 500, 980, 1_000, 1_500, 20_000])
    @pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")])
    def test_however_deep_it_is_nested_its_text_is_masked(self, depth: int, brackets: tuple[str, str]) -> None:
        inner = "1".join(bracket * depth for bracket in brackets)
        body = f'{{"_lctype":-1,"x":{inner},"_lctext":"b\\u0061d"}}'
        assert masked(body.encode(), mask).decode() == body.replace("b\\u0061d", "***")

    def test_bytes_in_the_text_that_are_no_text_hide_nothing(self) -> None:
        left = masked(b'{"_lctype":-1,"_lctext":"b\\u0061d \xff"}', mask)
        assert left.startswith(b'{"_lctype":-1,"_lctext":"*** ')

    @pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"/**/ ", b"\x00", b"\xc2\xa0", b"\x1e"])
    def test_what_some_clients_skip_before_it_hides_nothing(self, before: bytes) -> None:
        body = before + b'{"_lctype":-1,"_lctext":"b\\u0061d"}'
        assert masked(body, mask) == before + b'{"_lctype":-1,"_lctext":"***"}'

    @pytest.mark.parametrize(
        "body",
        [
            '{"_lctype":-1,"_lctext":"b\\u0061d","_lctext":"good"}',
            '{"_lctype":-1,"_lctext":"b\\u0061d","_lctext":null}',
            '{"_lctype":-1,"_lct\\u0065xt":"bad","_lctext":"good"}',
            '{"_lctype":-1,"_lctext":"b\\u0061d","_lctype":null}',
            '{"_lctype":null,"_lctext":"b\\u0061d"}',
        ],
    )
    def test_a_name_that_is_there_twice_hides_nothing_from_those_who_take_the_first(self, body: str) -> None:
        shown = dict(reversed(json.loads(masked(body.encode(), mask), object_pairs_hook=list)))
        assert shown["_lctext"] == "***"

    def test_half_of_a_character_hides_nothing_and_stays(self) -> None:
        body = b'{"_lctype":-1,"_lctext":"b\\u0061d \\ud83d"}'
        assert masked(body, mask) == b'{"_lctype":-1,"_lctext":"*** \\ud83d"}'
        assert masked(b'{"_lctype":-1,"_lctext":"good \\ud83d"}', mask) == b'{"_lctype":-1,"_lctext":"good \\ud83d"}'

    @pytest.mark.parametrize("kind", ["-1.5", '"-1"', "true", "{}", "[-1]", "NaN", "99999999999999999999999"])
    def test_a_type_that_is_none_hides_nothing(self, kind: str) -> None:
        body = f'{{"_lctype":{kind},"_lctext":"b\\u0061d"}}'
        assert b"***" in masked(body.encode(), mask)

    @pytest.mark.parametrize("rest", ['"a":bad', '"a":"bad', "bad", '"a":bad}}}}', '"a":"bad"}{"_lctext":"bad"}'])
    def test_what_is_no_json_is_looked_at_as_a_whole(self, rest: str) -> None:
        left = masked(f'{{"_lctype":-1,"_lctext":"b\\u0061d",{rest}'.encode(), mask)
        assert left.startswith(b'{"_lctype":-1,"_lctext":"***",')
        assert not is_bad(left)

    @pytest.mark.parametrize(
        "body", ["{" + '"' * 100_001, '{"' + '\\"' * 100_000, "{" + "[" * 200_000, '{"' + '":"' * 100_000]
    )
    def test_a_long_one_takes_no_longer_than_its_length(self, body: str) -> None:
        """Squared, these would take minutes."""
        assert masked(body.encode(), mask) == body.encode()


@pytest.mark.rule("8.6")
@pytest.mark.parametrize(("patched_at", "expected"), [(0, AT + 1), (AT + 5, AT + 6)])
def test_a_correction_is_later_than_all_its_sender_knows(patched_at: int, expected: int) -> None:
    message = Message("m", AT, 1, "tom", b"***", patched_at=Millis(patched_at))
    assert corrected(message).patched_at == expected
    assert corrected(message).body == b"***"
