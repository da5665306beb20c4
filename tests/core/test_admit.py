import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastim.core.admit import admit, home, priority
from fastim.core.commands import Send
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import (
    Blocked,
    ConversationNotFound,
    InvalidTarget,
    MessageTooLong,
    SendingNotAllowed,
    Silenced,
    SilencedForATime,
)
from fastim.core.message import Draft
from fastim.core.permission import Asker
from fastim.core.policy import Policy
from fastim.core.session import Config
from fastim.core.standing import Standing
from fastim.core.units import Millis

POLICY = Policy(message_bytes=100)
NOW = Millis(1_000)
TEA = Conversation("c", Kind.NORMAL, "tom", Millis(0), Millis(0), members=("tom", "jerry"))
HI = Send("c", b"hi", size_bytes=20)
TOM = Asker("tom", member=True)
SPIKE = Asker("spike", member=False)
OFFICE = Asker("tom", member=False, privileged=True)


def of_kind(kind: Kind) -> Conversation:
    members = TEA.members if kind in (Kind.NORMAL, Kind.TEMPORARY) else ()
    return replace(TEA, kind=kind, members=members)


@pytest.mark.rule("1.3")
def test_a_member_may_send() -> None:
    assert admit(TEA, Asker("jerry", member=True), HI, POLICY, NOW) == (TEA, Draft("jerry", b"hi"))


def test_what_a_draft_keeps_of_the_command() -> None:
    command = Send(
        "c",
        b"\x00",
        size_bytes=20,
        binary=True,
        token="t",
        receipt=True,
        push_data="{}",
        mentions=("a", "b"),
        mention_all=True,
    )
    assert admit(TEA, TOM, command, POLICY, NOW, "::1")[1] == Draft(
        "tom",
        b"\x00",
        binary=True,
        token="t",
        receipt=True,
        mention_all=True,
        mentions=("a", "b"),
        address="::1",
    )


@pytest.mark.rule("1.3")
@pytest.mark.parametrize("conversation", [None, TEA])
def test_a_stranger_may_not_nor_anybody_where_nothing_is(conversation: Conversation | None) -> None:
    with pytest.raises(InvalidTarget) as caught:
        admit(conversation, SPIKE, HI, POLICY, NOW)
    assert caught.value.code == 4401


@pytest.mark.rule("1.19")
def test_a_temporary_conversation_that_is_gone_has_a_code_of_its_own() -> None:
    with pytest.raises(ConversationNotFound) as caught:
        admit(None, TOM, replace(HI, conversation_id="_tmp:c"), POLICY, NOW)
    assert caught.value.code == 4303


@pytest.mark.rule("1.12", "1.14")
@pytest.mark.parametrize("kind", [Kind.CHAT_ROOM, Kind.SYSTEM])
def test_anybody_may_speak_in_a_chat_room_and_to_a_service(kind: Kind) -> None:
    assert admit(of_kind(kind), SPIKE, HI, POLICY, NOW)[1].sender == "spike"


@pytest.mark.rule("2.2")
def test_the_limit_itself_is_still_allowed() -> None:
    assert admit(TEA, TOM, replace(HI, size_bytes=100), POLICY, NOW)
    with pytest.raises(MessageTooLong) as caught:
        admit(TEA, TOM, replace(HI, size_bytes=101), POLICY, NOW)
    assert (caught.value.code, caught.value.detail) == (4109, "101 bytes of at most 100")


@pytest.mark.rule("5.3")
def test_size_is_judged_before_membership() -> None:
    with pytest.raises(MessageTooLong):
        admit(None, SPIKE, replace(HI, size_bytes=101), POLICY, NOW)


@pytest.mark.rule("4.8", "4.9", "4.10")
@pytest.mark.parametrize("options", [{}, {"transient": True}, {"will": True}])
@pytest.mark.parametrize(
    ("standing", "refusal"),
    [
        (Standing(silenced=True), Silenced),
        (Standing(silenced_until=Millis(NOW + 1)), SilencedForATime),
        (Standing(blocked=True), Blocked),
    ],
)
def test_who_may_not_speak_may_not_in_any_way(
    standing: Standing, refusal: type[Exception], options: dict[str, bool]
) -> None:
    command = replace(HI, **options)
    with pytest.raises(refusal):
        admit(TEA, replace(TOM, standing=standing), command, POLICY, NOW)
    if not command.will:
        assert admit(TEA, replace(TOM, standing=standing, privileged=True), command, POLICY, NOW)


@pytest.mark.rule("4.9")
def test_a_silence_that_is_over_silences_nobody() -> None:
    assert admit(TEA, replace(TOM, standing=Standing(silenced_until=NOW)), HI, POLICY, NOW)


@pytest.mark.rule("6.1", "5.10", "1.11")
@given(
    st.sampled_from(Kind),
    st.integers(1, 4),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_receipts_are_for_two_or_for_who_can_take_them_from_more(
    kind: Kind, members: int, asked: bool, transient: bool, will: bool, from_groups: bool
) -> None:
    """Whatever else was asked for, it is admitted: what cannot be had is left out."""
    conversation = replace(of_kind(kind), members=of_kind(kind).members and ("tom", "a", "b", "c")[:members])
    config = Config.GROUP_RECEIPTS if from_groups else Config(0)
    command = replace(HI, receipt=asked, transient=transient, will=will, push_data="{}", priority=1)
    draft = admit(conversation, TOM, command, POLICY, NOW, config=config)[1]
    assert draft.receipt == (
        asked and not transient and not will and kind in (Kind.NORMAL, Kind.TEMPORARY) and (members <= 2 or from_groups)
    )


def test_the_application_itself_has_no_session_to_leave_a_will_for() -> None:
    with pytest.raises(SendingNotAllowed) as caught:
        admit(TEA, OFFICE, replace(HI, will=True), POLICY, NOW)
    assert caught.value.code == 4308


@pytest.mark.rule("5.30", "5.31")
@given(st.sampled_from(Kind), st.integers(-1, 5))
def test_priorities_count_in_chat_rooms_and_are_normal_elsewhere(kind: Kind, asked: int) -> None:
    told = priority(of_kind(kind), replace(HI, priority=asked))
    assert told == (asked if kind is Kind.CHAT_ROOM and asked in (1, 2, 3) else 2)
    assert priority(of_kind(kind), HI) == 2


@pytest.mark.rule("1.14", "1.16")
def test_what_a_client_tells_a_service_goes_to_a_log_of_its_own() -> None:
    service = of_kind(Kind.SYSTEM)
    assert home(service, TOM) == "c/tom"
    assert home(service, OFFICE) == "c"
    assert {home(of_kind(kind), TOM) for kind in Kind if kind is not Kind.SYSTEM} == {"c"}


@given(st.lists(st.sampled_from(["tom", "jerry", "spike"])))
def test_whoever_is_mentioned_is_mentioned_once_in_the_order_of_the_first_time(mentions: list[str]) -> None:
    drafted = admit(TEA, TOM, replace(HI, mentions=tuple(mentions)), POLICY, NOW)[1].mentions
    assert set(drafted) == set(mentions)
    assert list(drafted) == sorted(drafted, key=mentions.index)
    assert len(drafted) == len(set(drafted))
