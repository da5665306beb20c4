import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastim.core.commands import ReadHistory
from fastim.core.errors import HistoryFailed
from fastim.core.history import merged, span
from fastim.core.message import Message, Position, Span, type_of
from fastim.core.units import Millis

T1, T2, T3 = (Position(Millis(moment), f"m{moment}") for moment in (1, 2, 3))


def ask(start: Position | None = None, end: Position | None = None, **options: object) -> list[Position]:
    """Those of three messages that the span holds, ascending."""
    asked = span(ReadHistory("c", start, end, **options))  # type: ignore[arg-type]

    def holds(one: Position) -> bool:
        newer = asked.after is None or (one >= asked.after if asked.after_included else one > asked.after)
        older = asked.before is None or (one <= asked.before if asked.before_included else one < asked.before)
        return newer and older

    return [one for one in (T1, T2, T3) if holds(one)]


@pytest.mark.parametrize("with_ids", [True, False])
def test_the_documented_examples(with_ids: bool) -> None:
    """Source: REST history, from t3 back to t1, and reversed."""
    first, last = (T1, T3) if with_ids else (Position(T1.timestamp), Position(T3.timestamp))
    assert ask(last, first) == [T2]
    assert ask(last, first, start_included=True) == [T2, T3]
    assert ask(last, first, end_included=True) == [T1, T2]
    assert ask(first, last, newest_first=False) == [T2]
    assert ask(first, last, newest_first=False, start_included=True) == [T1, T2]
    assert ask(first, last, newest_first=False, end_included=True) == [T2, T3]


def test_an_end_in_the_future_without_a_start_holds_nothing() -> None:
    """How JS 5 asks for what came after its newest message. Source: wire protocol, history."""
    assert ask(end=Position(Millis(9))) == []


def test_without_bounds_everything_is_asked_for() -> None:
    assert ask() == [T1, T2, T3]
    assert ask(newest_first=False) == [T1, T2, T3]


def test_limits() -> None:
    assert span(ReadHistory("c")).limit == 20
    assert span(ReadHistory("c", limit=0)).limit == 0
    assert span(ReadHistory("c", limit=5_000)).limit == 1_000
    with pytest.raises(HistoryFailed):
        span(ReadHistory("c", limit=-1))


@pytest.mark.parametrize(
    ("body", "binary", "expected"),
    [
        (b'{"_lctype":-1,"_lctext":"hi"}', False, -1),
        (b'{"_lctype":7}', False, 7),
        (b'{"_lctype":7}', True, None),
        (b'{"_lctype":"7"}', False, None),
        (b"{}", False, None),
        (b"[]", False, None),
        (b"plain text", False, None),
        (b"\xff\xfe", False, None),
        (b"", False, None),
        (b"[" * 5_000, False, None),
        (b'{"a":' + b"[" * 3_000, False, None),
        (b'{"_lctext":' + b"[" * 5_000, False, None),
    ],
)
def test_the_type_of_a_body(body: bytes, binary: bool, expected: int | None) -> None:
    assert type_of(Message("m", Millis(1), 1, "tom", body, binary=binary)) == expected


@pytest.mark.rule("1.16")
@given(st.lists(st.booleans(), max_size=20), st.integers(0, 6), st.booleans())
def test_two_logs_read_page_by_page_are_one_in_order(places: list[bool], limit: int, newest_first: bool) -> None:
    log = [Message(f"m{number:02}", Millis(number // 2), 1, "tom", b"") for number in range(len(places))]
    parts = [
        [message for message, place in zip(log, places, strict=True) if place is wanted] for wanted in (False, True)
    ]

    def page(part: list[Message], asked: Span) -> list[Message]:
        newer = [one for one in part if asked.after is None or one.position > asked.after]
        found = [one for one in newer if asked.before is None or one.position < asked.before]
        return found[max(len(found) - asked.limit, 0) :] if asked.newest_first else found[: asked.limit]

    seen: list[Message] = []
    asked = Span(newest_first=newest_first, limit=limit)
    while found := merged(page(parts[0], asked), page(parts[1], asked), asked):
        assert len(found) <= limit
        seen = found + seen if newest_first else seen + found
        if newest_first:
            asked = replace(asked, before=found[0].position)
        else:
            asked = replace(asked, after=found[-1].position)
    assert seen == (log if limit else [])
