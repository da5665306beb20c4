"""Pictures: XML whatever a run was like, with its marks, and curves within their panels."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastim._load import Histogram
from fastim.bench.machine import Machine
from fastim.bench.plot import HEIGHT, WIDTH, draw
from fastim.bench.profile import Profile, Rooms
from fastim.bench.report import Beheld, Latency, Load, LoadedServer, Measured, Moment, Report
from tests.bench.svg import lines_of, texts_of

NOTHING = Latency(0, 0, 0, 0, 0, 0)


def a_report(
    nanoseconds: list[int],
    moments: int = 3,
    *,
    about: str = "",
    bottleneck: list[str] | None = None,
    interrupted: str | None = None,
    memory: int | None = 70 << 20,
) -> Report:
    histogram = Histogram()
    for one in nanoseconds:
        histogram.note(one)
    latency = Latency.of(histogram)
    count = len(nanoseconds)
    beheld = Beheld("a<b", "delivery", float(count), latency.p50, latency.p99, latency.max)
    return Report(
        scenario="room",
        profile=Profile(about=about, parts={"a<b": Rooms()}),
        command=["bench"],
        started_at=datetime(2027, 1, 12, tzinfo=UTC),
        seconds=float(moments),
        interrupted=interrupted,
        machine=Machine("a processor", 2, "a system", "a Python", {"fastim": "1"}, None),
        server=LoadedServer("h:1", False, [], None, [], None, {}, {}),
        load=Load(1, [], 1.0, NOTHING, 0, 0, bottleneck or []),
        measured=[
            Measured("a<b", "delivery", "", "", count, count, 0, 0, 0, count, latency, histogram.buckets()),
            Measured("a<b", "ack", "", "", 1, 0, 0, 1, 0, 0, NOTHING, []),
        ],
        failures=[],
        ended=0,
        figures={},
        series=[Moment(n + 1.0, None if memory is None else 5.0, memory, 1.0, [beheld]) for n in range(moments)],
    )


@given(
    st.lists(st.integers(0, 2**62), max_size=40),
    st.integers(1, 4),
    st.one_of(st.none(), st.integers(0, 2**40)),
    st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"])),
)
def test_whatever_came_it_is_xml_and_no_curve_leaves_its_panel(
    nanoseconds: list[int], moments: int, memory: int | None, about: str
) -> None:
    picture = draw(a_report(nanoseconds, moments, memory=memory, about=about))
    assert any(about in text for text in texts_of(picture))
    for line in lines_of(picture):
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in line)


def test_the_load_s_bottleneck_and_an_interruption_are_marked() -> None:
    texts = texts_of(draw(a_report([5], bottleneck=["it was <busy>"], interrupted="SIGINT")))
    assert "the load was the bottleneck: it was <busy>; interrupted (SIGINT)" in texts


@pytest.mark.parametrize(("count", "reaches"), [(10, 0.9), (1000, 0.999)])
def test_a_curve_of_percentiles_ends_where_the_numbers_do(
    count: int, reaches: float, nines: Callable[[float], float]
) -> None:
    [curve, *_] = lines_of(draw(a_report([1000 * (n + 1) for n in range(count)])))
    assert curve[-1][0] == pytest.approx(nines(reaches), abs=1)


@pytest.fixture
def nines() -> Callable[[float], float]:
    """Where a share lies across the first panel: each nine takes a quarter of it."""
    from math import log10

    return lambda share: 70 + 410 * -log10(1 - share) / 4
