import msgspec
import pytest

from fastim.core.conversation import Kind
from fastim.core.events import (
    BlocksChanged,
    ConversationStarted,
    ConversationUpdated,
    Event,
    MembersAdded,
    MembersRemoved,
    MessagesReceipted,
    RoleChanged,
    SilenceChanged,
    UnreadChanged,
)
from fastim.core.notice import Addressed, Notice, notices_of, told_once
from fastim.core.standing import Role
from fastim.core.units import Millis, iso

AT = Millis(1_767_268_800_007)
WHEN = {"udate": iso(AT)}


def own(client_id: str, op: str, **fields: object) -> Addressed:
    return Addressed(client_id, Notice(op, "c", AT, "tom", fields=fields))


def shared(op: str, *clients: str, **fields: object) -> Addressed:
    return Addressed(None, Notice(op, "c", AT, "tom", clients, fields, permanent=False))


INFO = {"pid": "jerry", "role": "Manager"}

KEPT: list[tuple[Event, list[Addressed]]] = [
    (
        ConversationStarted("c", Kind.NORMAL, ("tom", "jerry"), "tom", AT),
        [
            own("tom", "joined", **WHEN),
            own("jerry", "joined", **WHEN),
            shared("members_joined", "tom", "jerry", **WHEN),
        ],
    ),
    (
        MembersAdded("c", Kind.NORMAL, ("jerry",), ("tom", "jerry"), "tom", AT),
        [own("jerry", "joined", **WHEN), shared("members_joined", "jerry", **WHEN)],
    ),
    (
        MembersRemoved("c", Kind.NORMAL, ("jerry",), ("tom",), "tom", AT),
        [own("jerry", "left", **WHEN), shared("members_left", "jerry", **WHEN)],
    ),
    (
        ConversationUpdated("c", ("tom", "jerry"), "tom", 1, AT, b'{"attr.a":1}', b'{"attr":{"a":1}}'),
        [shared("updated", attr={"attr.a": 1}, attrModified={"attr": {"a": 1}}, **WHEN)],
    ),
    (
        RoleChanged("c", "jerry", Role.MANAGER, ("tom", "jerry"), "tom", AT),
        [own("jerry", "member_info_changed", info=INFO), shared("member_info_changed", info=INFO)],
    ),
    (
        SilenceChanged("c", ("jerry",), True, ("tom", "jerry"), "tom", AT),
        [own("jerry", "shutuped"), shared("members_shutuped", "jerry")],
    ),
    (
        SilenceChanged("c", ("jerry",), False, ("tom", "jerry"), "tom", AT),
        [own("jerry", "unshutuped"), shared("members_unshutuped", "jerry")],
    ),
    (
        BlocksChanged("c", ("jerry",), True, ("tom",), "tom", AT),
        [own("jerry", "blocked"), shared("members_blocked", "jerry")],
    ),
    (
        BlocksChanged("c", ("jerry",), False, ("tom",), "tom", AT),
        [own("jerry", "unblocked"), shared("members_unblocked", "jerry")],
    ),
]


@pytest.mark.rule("3.7", "4.5", "4.8", "4.12")
@pytest.mark.parametrize(("event", "kept"), KEPT, ids=lambda one: type(one).__name__)
def test_what_is_done_to_one_is_kept_for_good_and_the_rest_for_the_members(event: Event, kept: list[Addressed]) -> None:
    assert notices_of(event) == kept


@pytest.mark.rule("3.7", "1.21")
def test_temporary_conversations_are_told_of_like_normal_ones() -> None:
    event = ConversationStarted("c", Kind.TEMPORARY, ("tom", "jerry"), "tom", AT, 60)
    assert [one.notice.op for one in notices_of(event)] == ["joined", "joined", "members_joined"]


@pytest.mark.rule("1.11")
@pytest.mark.parametrize("kind", [Kind.CHAT_ROOM, Kind.SYSTEM])
def test_chat_rooms_and_service_conversations_tell_nobody_who_comes_and_goes(kind: Kind) -> None:
    for event in (
        ConversationStarted("c", kind, (), "tom", AT),
        MembersAdded("c", kind, ("jerry",), ("jerry",), "jerry", AT),
        MembersRemoved("c", kind, ("jerry",), ("tom",), "jerry", AT),
    ):
        assert notices_of(event) == []


def test_where_nobody_is_left_nothing_is_kept_for_members() -> None:
    (left,) = notices_of(MembersRemoved("c", Kind.NORMAL, ("tom",), (), "tom", AT))
    assert (left.client_id, left.notice.op) == ("tom", "left")
    assert notices_of(ConversationUpdated("c", (), "", 0, AT, b"{}", b"{}")) == []


@pytest.mark.rule("6.5")
def test_receipts_are_kept_for_the_sender_one_for_each_message() -> None:
    delivered = MessagesReceipted("c", "tom", ("m1", "m2"), "jerry", AT, Millis(5), read=False)
    kept = notices_of(delivered)
    assert [(one.client_id, one.notice.op, one.notice.permanent) for one in kept] == [("tom", "rcp", False)] * 2
    assert [one.notice.fields for one in kept] == [
        {"id": "m1", "t": 5, "from": "jerry"},
        {"id": "m2", "t": 5, "from": "jerry"},
    ]
    (read,) = notices_of(MessagesReceipted("c", "tom", ("m2",), "jerry", AT, Millis(5), read=True))
    assert read.notice.fields["read"] is True


def test_of_other_events_nothing_is_kept() -> None:
    assert notices_of(UnreadChanged("tom", (), AT)) == []


@pytest.mark.rule("4.5")
def test_a_client_is_told_of_its_own_role_once() -> None:
    event = RoleChanged("c", "jerry", Role.MANAGER, ("tom", "jerry"), "tom", AT)
    notices = [one.notice for one in notices_of(event)]
    assert [notice.permanent for notice in told_once(notices, "jerry")] == [True]
    assert told_once(notices[1:], "tom") == notices[1:]


@pytest.mark.parametrize(("event", "kept"), KEPT, ids=lambda one: type(one).__name__)
def test_they_can_be_stored(event: Event, kept: list[Addressed]) -> None:
    for one in notices_of(event):
        encoded = msgspec.msgpack.encode(one.notice)
        assert msgspec.msgpack.decode(encoded, type=Notice) == one.notice
