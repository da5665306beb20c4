import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastim.core.commands import StartConversation
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import (
    Blocked,
    ConversationFull,
    InvalidLogin,
    NormalConversationRequired,
    RankTooLow,
    SendingNotAllowed,
    UpdateFailed,
)
from fastim.core.members import add, irremovable, mute, remove, start
from fastim.core.permission import Asker
from fastim.core.policy import Policy
from fastim.core.standing import Role, Standing
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
        (StartConversation(chat_room=True, temporary=True), SendingNotAllowed),
        (StartConversation(chat_room=True, service=True), SendingNotAllowed),
        (StartConversation(service=True), SendingNotAllowed),
        (StartConversation(tuple(f"c{number}" for number in range(10)), temporary=True), ConversationFull),
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


@pytest.mark.rule("1.18", "2.1")
def test_a_temporary_conversation_has_ten_members_whatever_others_may_have() -> None:
    command = StartConversation(tuple(f"c{number}" for number in range(9)), temporary=True)
    started = start(command, "tom", "c", POLICY, NOW)
    assert (started.kind, len(started.members)) == (Kind.TEMPORARY, 10)


@pytest.mark.rule("1.19")
@pytest.mark.parametrize(
    ("asked", "given"),
    [(None, 86_400), (0, 86_400), (-5, 86_400), (1, 1), (2_592_000, 2_592_000), (2_592_001, 2_592_000)],
)
def test_its_time_to_live_is_cut_to_what_it_may_be(asked: int | None, given: int) -> None:
    started = start(StartConversation(("jerry",), temporary=True, ttl_seconds=asked), "tom", "c", POLICY, NOW)
    assert started.ttl_seconds == given
    assert started.expires_at == NOW + 1000 * given
    assert not started.expired(Millis(NOW + 1000 * given - 1))
    assert started.expired(Millis(NOW + 1000 * given))


@pytest.mark.rule("1.20")
def test_a_temporary_conversation_is_known_by_its_members_unasked() -> None:
    one = start(StartConversation(("a", "b"), temporary=True), "c", "x", POLICY, NOW)
    other = start(StartConversation(("c", "b"), temporary=True, unique=True), "a", "y", POLICY, NOW)
    assert one.unique_key == other.unique_key is not None


@pytest.mark.rule("1.7", "1.13")
def test_rooms_and_service_conversations_keep_no_members() -> None:
    room = start(StartConversation(("jerry",), chat_room=True, unique=True), "tom", "c", POLICY, NOW)
    service = start(StartConversation(("jerry",), service=True), "", "c", POLICY, NOW, privileged=True)
    assert [(one.kind, one.members, one.unique_key) for one in (room, service)] == [
        (Kind.CHAT_ROOM, (), None),
        (Kind.SYSTEM, (), None),
    ]


@pytest.mark.rule("1.2")
def test_of_those_whom_the_application_names_the_first_count() -> None:
    named = StartConversation(("a", "b", "c", "a", "d", "e"))
    started = start(named, "tom", "c", POLICY, NOW, privileged=True)
    assert (started.creator, started.members) == ("tom", ("a", "b", "c", "d"))
    with pytest.raises(ConversationFull):
        start(named, "tom", "c", POLICY, NOW)


@pytest.mark.rule("4.10", "4.11")
def test_who_is_kept_out_fails_alone_and_takes_no_place() -> None:
    change = add(TOM_AND_JERRY, ["a", "b", "c"], POLICY, NOW, barred={"a", "jerry"})
    assert change.clients == ("b", "c")
    assert [(failure.client_ids, type(failure.refusal)) for failure in change.failed] == [(("a",), Blocked)]


RANKED = Conversation(
    "c", Kind.NORMAL, "own", NOW, NOW, ("own", "man", "boss", "mem", "other"), regulated=True, roles_given=True
)
STANDINGS = {"man": Standing(Role.MANAGER), "boss": Standing(Role.MANAGER)}


def asked_by(client_id: str, *, privileged: bool = False) -> Asker:
    member = RANKED.has_member(client_id)
    return Asker(client_id, member, STANDINGS.get(client_id, Standing()), privileged=privileged)


@pytest.mark.rule("4.2", "4.3", "4.6")
@pytest.mark.parametrize(
    ("by", "clients", "kept"),
    [
        ("own", ("man", "mem"), set()),
        ("own", ("own", "mem"), {"own"}),
        ("own", ("own",), {"own"}),
        ("man", ("mem",), set()),
        ("man", ("man",), set()),
        ("man", ("own", "mem"), {"own"}),
        ("mem", ("mem",), set()),
        ("man", ("boss",), None),
        ("man", ("mem", "boss"), None),
        ("mem", ("other",), None),
        ("mem", ("man",), None),
        ("mem", ("own",), None),
    ],
)
def test_who_removes_whom_once_there_are_roles(by: str, clients: tuple[str, ...], kept: set[str] | None) -> None:
    if kept is None:
        with pytest.raises(RankTooLow):
            irremovable(RANKED, asked_by(by), clients, STANDINGS)
    else:
        assert irremovable(RANKED, asked_by(by), clients, STANDINGS) == kept


@pytest.mark.rule("3.8", "4.6")
def test_without_roles_anybody_removes_anybody() -> None:
    plain = replace(RANKED, roles_given=False)
    assert irremovable(plain, asked_by("mem"), ("own", "man"), {}) == set()


def test_the_application_removes_anybody() -> None:
    assert irremovable(RANKED, asked_by("mem", privileged=True), ("own", "man"), STANDINGS) == set()


def test_who_has_to_stay_fails_alone() -> None:
    change = remove(RANKED, ["own", "mem", "nobody"], NOW, kept={"own"})
    assert (change.clients, change.allowed) == (("mem",), ("mem", "nobody"))
    assert [(failure.client_ids, failure.refusal.code) for failure in change.failed] == [(("own",), 4324)]


@given(st.permutations(RANKED.members), st.data())
def test_adding_back_whom_one_removed_makes_the_same_set(order: list[str], data: st.DataObject) -> None:
    some = data.draw(st.lists(st.sampled_from(order), unique=True))
    back = add(remove(RANKED, some, NOW).conversation, some, Policy(), NOW).conversation
    assert set(back.members) == set(RANKED.members)
    assert back.updated_at >= RANKED.updated_at + 2 * bool(some)


def test_who_is_no_member_mutes_nothing() -> None:
    assert mute(TOM_AND_JERRY, "spike", True, NOW) is TOM_AND_JERRY


def test_muting_twice_equals_muting_once() -> None:
    once = mute(TOM_AND_JERRY, "tom", True, NOW)
    assert once.muted == ("jerry", "tom")
    assert mute(once, "tom", True, NOW) is once
    assert mute(once, "tom", False, NOW).muted == ("jerry",)
