from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastim.core.notice import Notice
from fastim.core.replies import Notices
from fastim.core.units import Millis
from fastim.wire import messages2_pb2 as pb
from fastim.wire.codec import notices_of_js, notices_of_swift

C = "64a0b1c2d3e4f5a6b7c8d9e0"
AT = Millis(1_767_268_800_007)
AT_ISO = "2026-01-01T12:00:00.007Z"

JOINED = Notice("joined", C, AT, "tom", fields={"udate": AT_ISO})
MEMBERS_LEFT = Notice("members_left", C, AT, "tom", ("a", "b"), {"udate": AT_ISO}, permanent=False)
UPDATED = Notice(
    "updated",
    C,
    AT,
    "tom",
    fields={"attr": {"attr.a": "\u8336"}, "attrModified": {"attr": {"a": "\u8336"}}, "udate": AT_ISO},
    permanent=False,
)
ROLE = Notice("member_info_changed", C, AT, "tom", fields={"info": {"pid": "jerry", "role": "Manager"}})
DELIVERED = Notice("rcp", C, AT, fields={"id": "m", "t": AT - 9, "from": "jerry"}, permanent=False)
READ = Notice("rcp", C, AT, "jerry", fields={"id": "m", "t": AT - 9, "read": True}, permanent=False)

OPS = [
    *("joined", "left", "members_joined", "members_left", "updated", "member_info_changed", "blocked", "unblocked"),
    *("members_blocked", "members_unblocked", "shutuped", "unshutuped", "members_shutuped", "members_unshutuped"),
]

notices = st.builds(
    Notice,
    op=st.sampled_from([*OPS, "rcp"]),
    conversation_id=st.text(min_size=1, max_size=8),
    at=st.integers(1, 2**53 - 1).map(Millis),
    by=st.text(max_size=4),
    clients=st.lists(st.text(max_size=4), max_size=3).map(tuple),
    fields=st.dictionaries(
        st.sampled_from(["attr", "attrModified", "info", "udate", "id", "t", "read", "from", "cid", "serverTs", "cmd"]),
        st.none()
        | st.booleans()
        | st.text(max_size=4)
        | st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
    ),
    permanent=st.booleans(),
)


def js(*given: Notice) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = notices_of_js(Notices(given, more=False))["notifications"]
    return items


def swift(notice: Notice) -> dict[str, Any]:
    answer = notices_of_swift([notice])
    (item,) = answer["permanent" if notice.permanent else "droppable"]["notifications"]
    assert isinstance(item, dict)
    return item


class TestJs:
    """It makes a command of each item: what is not in the envelope becomes the ``convMessage`` or ``rcpMessage``."""

    def test_a_membership(self) -> None:
        assert js(JOINED, MEMBERS_LEFT) == [
            {
                "cmd": "conv",
                "op": "joined",
                "cid": C,
                "serverTs": AT,
                "notificationType": 1,
                "initBy": "tom",
                "udate": AT_ISO,
            },
            {
                "cmd": "conv",
                "op": "members_left",
                "cid": C,
                "serverTs": AT,
                "notificationType": 1,
                "initBy": "tom",
                "m": ["a", "b"],
                "udate": AT_ISO,
            },
        ]

    def test_attributes_are_json_in_json(self) -> None:
        (item,) = js(UPDATED)
        assert msgspec.json.decode(item["attr"].pop("data")) == {"attr.a": "\u8336"}
        assert msgspec.json.decode(item["attrModified"].pop("data")) == {"attr": {"a": "\u8336"}}
        assert item["attr"] == item["attrModified"] == {}

    def test_a_role(self) -> None:
        assert js(ROLE)[0]["info"] == {"pid": "jerry", "role": "Manager"}

    def test_receipts_have_no_operation(self) -> None:
        delivered = {
            "cmd": "rcp",
            "cid": C,
            "serverTs": AT,
            "notificationType": 1,
            "id": "m",
            "t": AT - 9,
            "from": "jerry",
        }
        assert js(DELIVERED, READ) == [delivered, delivered | {"read": True}]

    @pytest.mark.parametrize("op", OPS)
    def test_operations_are_those_of_the_protocol(self, op: str) -> None:
        assert js(Notice(op, C, AT))[0]["op"] in pb.OpType.keys()  # noqa: SIM118

    def test_nobody_is_named_where_the_application_did_it(self) -> None:
        assert "initBy" not in js(Notice("joined", C, AT))[0]

    def test_there_is_more_only_after_something(self) -> None:
        """It would ask again from the same moment, without a pause and for ever."""
        assert notices_of_js(Notices((JOINED,), more=True))["hasMore"] is True
        assert notices_of_js(Notices((JOINED,), more=False))["hasMore"] is False
        assert notices_of_js(Notices((), more=True)) == {"notifications": [], "hasMore": False}

    @given(notices)
    def test_each_item_moves_its_cursor(self, notice: Notice) -> None:
        (item,) = js(notice)
        assert (item["serverTs"], item["notificationType"], item["cid"]) == (notice.at, 1, notice.conversation_id)


class TestSwift:
    def test_a_membership(self) -> None:
        assert swift(MEMBERS_LEFT) == {
            "cmd": "conv",
            "op": "members-left",
            "cid": C,
            "serverTs": AT,
            "initBy": "tom",
            "m": ["a", "b"],
            "udate": AT_ISO,
        }

    def test_attributes_are_objects(self) -> None:
        item = swift(UPDATED)
        assert (item["attr"], item["attrModified"]) == ({"attr.a": "\u8336"}, {"attr": {"a": "\u8336"}})

    def test_a_role(self) -> None:
        item = swift(ROLE)
        assert (item["op"], item["info"]) == ("member-info-changed", {"pid": "jerry", "role": "Manager"})

    def test_a_receipt(self) -> None:
        assert swift(READ) == {
            "cmd": "rcp",
            "cid": C,
            "serverTs": AT,
            "id": "m",
            "t": AT - 9,
            "read": True,
            "from": "jerry",
        }

    def test_each_goes_where_it_belongs_in_the_order_they_came(self) -> None:
        answer = notices_of_swift([JOINED, MEMBERS_LEFT, ROLE, READ])
        assert answer == {
            "permanent": {"notifications": [swift(JOINED), swift(ROLE)], "hasMore": False},
            "droppable": {"notifications": [swift(MEMBERS_LEFT), swift(READ)]},
        }

    def test_what_was_forgotten_spoils_what_it_holds(self) -> None:
        assert notices_of_swift([JOINED, MEMBERS_LEFT], forgotten=True) == {
            "permanent": {"notifications": [swift(JOINED)], "hasMore": False},
            "droppable": {"invalidLocalConvCache": True},
        }

    @given(notices)
    def test_each_item_has_its_time_and_place(self, notice: Notice) -> None:
        item = swift(notice)
        assert (item["serverTs"], item["cid"]) == (notice.at, notice.conversation_id)
        assert item["cmd"] == ("rcp" if notice.op == "rcp" else "conv")


@given(st.lists(notices, max_size=5))
def test_neither_shape_touches_what_is_stored(given: list[Notice]) -> None:
    before = msgspec.json.encode(given)
    answers = notices_of_js(Notices(tuple(given), more=True)), notices_of_swift(given)
    assert msgspec.json.encode(given) == before
    msgspec.json.decode(msgspec.json.encode(answers))
