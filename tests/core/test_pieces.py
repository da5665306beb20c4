from hypothesis import given
from hypothesis import strategies as st

from fastim.core.message import Message, pieces
from fastim.core.units import Millis


def message(size_bytes: int) -> Message:
    return Message("m", Millis(1), 1, "ann", bytes(size_bytes))


@given(st.lists(st.integers(0, 12)), st.integers(1, 20))
def test_they_are_the_whole_in_as_few_as_will_do(sizes: list[int], limit_bytes: int) -> None:
    found = list(pieces([message(size) for size in sizes], limit_bytes))
    assert [len(one.body) for piece in found for one in piece] == sizes
    taken = [sum(len(one.body) for one in piece) for piece in found]
    assert all(len(piece) == 1 or size < limit_bytes for piece, size in zip(found, taken, strict=True))
    assert all(
        size + len(following[0].body) >= limit_bytes for size, following in zip(taken[:-1], found[1:], strict=True)
    )
