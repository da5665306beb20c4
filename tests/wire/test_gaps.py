import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastim.wire import codec
from fastim.wire import messages2_pb2 as pb


@pytest.mark.parametrize(
    ("shed", "fields"),
    [
        ((0, 12, 3_000), {"normal": 12, "low": 3_000}),
        ((1, 0, 0), {"high": 1}),
        ((0, 0, 0), {}),
        ((1 << 40, 1, 1), {"high": 1 << 40, "normal": 1, "low": 1}),
    ],
)
def test_a_gap_says_how_many_of_which_priority_and_leaves_out_what_is_none(
    shed: tuple[int, int, int], fields: dict[str, int]
) -> None:
    gap = pb.GapNotice(cid="room", **fields)
    wanted = pb.GenericCommand(cmd=pb.pubsub, op=pb.gap, service=2, nativeMessage=pb.NativeCommand(gap=gap))
    assert pb.GenericCommand.FromString(codec.encode_gap("room", shed)) == wanted


@given(st.text(min_size=1, max_size=64))
def test_a_recipient_completes_it(client_id: str) -> None:
    completed = pb.GenericCommand.FromString(codec.encode_gap("room", (0, 1, 2)) + codec.recipient(client_id))
    assert (completed.peerId, completed.nativeMessage.gap.low) == (client_id, 2)


def test_it_is_of_no_kind_that_sdks_look_at() -> None:
    """Without what is fastim's own it says nothing: no serial, none of the fields that other schemas have."""
    told = pb.GenericCommand.FromString(codec.encode_gap("room", (0, 1, 2)))
    assert [field.name for field, _ in told.ListFields() if field.name.endswith("Message")] == ["nativeMessage"]
    assert not told.HasField("i")
