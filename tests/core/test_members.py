import pytest
from msgspec.structs import replace

from fastim.core.commands import StartConversation
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import (
    ConversationFull,
    InvalidLogin,
    NormalConversationRequired,
    UpdateFailed,
)
from fastim.core.members import add, mute, remove, start
from fastim.core.policy import Policy
from fastim.core.units import Millis

NOW = Millis(1_000)
POLICY = Policy(members=4)
TOM_AND_JERRY = Conversation("c", Kind.NORMAL, "tom", Millis(0), NOW, members=("tom", "jerry"), muted=("jerry",))


def test_the_creator_is_the_first_member_whether_named_or_not() -> None:
    for members in ((), ("jerry",), ("jerry", "tom", "jerry")):
        started = start(StartConversation(members), "tom", "c", POLICY, NOW)
        assert started.members == ("tom", *dict.fromkeys(one for one in members if one != "tom"))
        assert started.creator == "tom"


def test_a_unique_conversation_is_known_by_its_members_in_any_order() -> None:
    one = start(StartConversation(("a", "b"), unique=True), "c", "x", POLICY, NOW)
    other = start(StartConversation(("c", "b", "b"), unique=True), "a", "y", POLICY, NOW)
    assert one.unique_key == other.unique_key is not None
    assert start(StartConversation(("a", "b")), "c", "z", POLICY, NOW).unique_key is None


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        (StartConversation(("a", "b", "c", "d")), ConversationFull),
        (StartConversation(("",)), InvalidLogin),
        (StartConversation(("x" * 65,)), InvalidLogin),
        (StartConversation(chat_room=True), NormalConversationRequired),
        (StartConversation(temporary=True), NormalConversationRequired),
        (StartConversation(attributes="[1]"), UpdateFailed),
    ],
)
def test_what_cannot_be_started_is_refused(command: StartConversation, refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        start(command, "tom", "c", POLICY, NOW)


def test_adding_a_member_again_succeeds_and_changes_nothing() -> None:
    change = add(TOM_AND_JERRY, ["jerry"], POLICY, NOW)
    assert change.clients == ()
    assert change.allowed == ("jerry",)
    assert change.conversation == TOM_AND_JERRY


def test_whoever_does_not_fit_fails_alone() -> None:
    change = add(TOM_AND_JERRY, ["a", "", "b", "c", "jerry"], POLICY, NOW)
    assert change.clients == ("a", "b")
    assert change.allowed == ("a", "b", "jerry")
    assert [(failure.client_ids, type(failure.refusal)) for failure in change.failed] == [
        (("",), InvalidLogin),
        (("c",), ConversationFull),
    ]


def test_the_update_time_moves_on_even_when_the_clock_steps_back() -> None:
    change = add(TOM_AND_JERRY, ["spike"], POLICY, Millis(NOW - 500))
    assert change.conversation.updated_at == NOW + 1


def test_who_leaves_is_neither_member_nor_muted_any_more() -> None:
    change = remove(TOM_AND_JERRY, ["jerry"], NOW)
    assert change.conversation.members == ("tom",)
    assert change.conversation.muted == ()
    assert change.clients == ("jerry",)


def test_removing_who_is_not_there_succeeds_and_changes_nothing() -> None:
    change = remove(TOM_AND_JERRY, ["spike"], NOW)
    assert change.clients == ()
    assert change.allowed == ("spike",)
    assert remove(TOM_AND_JERRY, ["spike"], NOW).clients == ()


def test_members_of_other_types_are_not_changed_here() -> None:
    room = replace(TOM_AND_JERRY, kind=Kind.TEMPORARY)
    with pytest.raises(NormalConversationRequired):
        add(room, ["spike"], POLICY, NOW)
    with pytest.raises(NormalConversationRequired):
        remove(room, ["jerry"], NOW)


def test_muting_twice_equals_muting_once() -> None:
    once = mute(TOM_AND_JERRY, "tom", True, NOW)
    assert once.muted == ("jerry", "tom")
    assert mute(once, "tom", True, NOW) is once
    assert mute(once, "tom", False, NOW).muted == ("jerry",)
