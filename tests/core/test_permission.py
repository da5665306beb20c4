import pytest
from msgspec.structs import replace

from fastim.core import commands
from fastim.core.commands import Command
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import (
    Blocked,
    ChatRoomRequired,
    ConversationNotFound,
    HistoryRejected,
    InvalidTarget,
    MembershipRequired,
    NormalConversationRequired,
    RankTooLow,
    Refusal,
    UpdateRejected,
)
from fastim.core.message import Position
from fastim.core.permission import RULES, Asker, Who, permitted, rank, sees_messages
from fastim.core.standing import Role, Standing
from fastim.core.units import Millis

TEA = Conversation("c", Kind.NORMAL, "tom", Millis(0), Millis(0), members=("tom", "jerry"))
GOVERNED = replace(TEA, regulated=True, roles_given=True)
OF_KIND = {
    Kind.NORMAL: TEA,
    Kind.CHAT_ROOM: Conversation("r", Kind.CHAT_ROOM, "tom", Millis(0), Millis(0)),
    Kind.SYSTEM: Conversation("s", Kind.SYSTEM, "", Millis(0), Millis(0)),
    Kind.TEMPORARY: replace(TEA, id="_tmp:c", kind=Kind.TEMPORARY, ttl_seconds=60),
}
OWNER = Asker("tom", member=True)
MEMBER = Asker("jerry", member=True)
MANAGER = Asker("jerry", member=True, standing=Standing(role=Role.MANAGER))
STRANGER = Asker("spike", member=False)
OFFICE = Asker("", member=False, privileged=True)

ABOUT_ONE: list[tuple[Command, type[Refusal], type[Refusal] | None]] = [
    (commands.Send("c", b"hi", 2), InvalidTarget, InvalidTarget),
    (commands.PatchMessage("c", Position(Millis(1), "m")), ConversationNotFound, MembershipRequired),
    (commands.ReadHistory("c"), ConversationNotFound, HistoryRejected),
    (commands.QueryReceipts("c"), ConversationNotFound, MembershipRequired),
    (commands.UpdateConversation("c", "{}"), ConversationNotFound, UpdateRejected),
    (commands.MuteConversation("c", muted=True), ConversationNotFound, MembershipRequired),
    (commands.AddMembers("c", ("tyke",)), ConversationNotFound, MembershipRequired),
    (commands.AddMembers("c", ("spike", "tyke")), ConversationNotFound, MembershipRequired),
    (commands.AddMembers("c", ()), ConversationNotFound, MembershipRequired),
    (commands.AddMembers("c", ("spike", "spike")), ConversationNotFound, None),
    (commands.RemoveMembers("c", ("tom",)), ConversationNotFound, MembershipRequired),
    (commands.RemoveMembers("c", ("spike", "tom")), ConversationNotFound, MembershipRequired),
    (commands.RemoveMembers("c", ("spike",)), ConversationNotFound, None),
    (commands.CountMembers("c"), ConversationNotFound, None),
    (commands.ListRoles("c"), ConversationNotFound, MembershipRequired),
    (commands.ListSilenced("c"), ConversationNotFound, MembershipRequired),
    (commands.CheckSilenced("c", ("tom",)), ConversationNotFound, MembershipRequired),
    (commands.ListBlocked("c"), ConversationNotFound, MembershipRequired),
    (commands.CheckBlocked("c", ("tom",)), ConversationNotFound, MembershipRequired),
]
"""What it is refused with where there is no conversation, and for a stranger; ``None``: it is not."""

GOVERNING: list[Command] = [
    commands.SetRole("c", "tyke", "Manager"),
    commands.ChangeSilence("c", ("tyke",), silenced=True),
    commands.ChangeBlocks("c", ("tyke",), blocked=True),
]

FIT: list[tuple[Command, set[Kind], type[Refusal] | tuple[type[Refusal], ...]]] = [
    (commands.ListOccupants("c"), {Kind.CHAT_ROOM}, ChatRoomRequired),
    (commands.QueryReceipts("c"), {Kind.NORMAL, Kind.TEMPORARY}, NormalConversationRequired),
    (commands.AddMembers("c", ("jerry",)), {Kind.NORMAL, Kind.CHAT_ROOM, Kind.SYSTEM}, NormalConversationRequired),
    (commands.RemoveMembers("c", ("jerry",)), {Kind.NORMAL, Kind.CHAT_ROOM, Kind.SYSTEM}, NormalConversationRequired),
    (
        commands.MuteConversation("c", muted=True),
        {Kind.NORMAL, Kind.CHAT_ROOM, Kind.SYSTEM},
        NormalConversationRequired,
    ),
    (
        commands.UpdateConversation("c", "{}"),
        {Kind.NORMAL, Kind.CHAT_ROOM},
        (NormalConversationRequired, UpdateRejected),
    ),
    *((command, {Kind.NORMAL, Kind.CHAT_ROOM}, NormalConversationRequired) for command in GOVERNING),
    (commands.ListSilenced("c"), {Kind.NORMAL, Kind.CHAT_ROOM}, NormalConversationRequired),
    (commands.ListBlocked("c"), {Kind.NORMAL, Kind.CHAT_ROOM}, NormalConversationRequired),
    (commands.Send("c", b"hi", 2), set(Kind), InvalidTarget),
    (commands.ReadHistory("c"), set(Kind), HistoryRejected),
]
"""The types in which a member with a rank may, and what it is refused with in others."""


def kinds(base: type[Command] = Command) -> set[type[Command]]:
    return {one for kind in base.__subclasses__() for one in {kind, *kinds(kind)}}


def test_every_command_has_a_rule() -> None:
    assert kinds() == RULES.keys()


@pytest.mark.rule("1.3", "3.8")
@pytest.mark.parametrize(("command", "missing", "refused"), ABOUT_ONE)
def test_a_member_may_and_others_are_told_by_name(
    command: Command, missing: type[Refusal], refused: type[Refusal] | None
) -> None:
    assert permitted(TEA, MEMBER, command) is TEA
    with pytest.raises(missing):
        permitted(None, MEMBER, command)
    if refused is None:
        assert permitted(TEA, STRANGER, command) is TEA
    else:
        with pytest.raises(refused):
            permitted(TEA, STRANGER, command)


@pytest.mark.rule("4.2", "4.3", "4.13")
@pytest.mark.parametrize("command", GOVERNING)
def test_governing_takes_a_rank_whoever_asks(command: Command) -> None:
    for conversation in (TEA, GOVERNED):
        assert permitted(conversation, OWNER, command) is conversation
        assert permitted(conversation, MANAGER, command) is conversation
        for asker in (MEMBER, STRANGER, replace(MANAGER, member=False), replace(OWNER, member=False)):
            with pytest.raises(RankTooLow):
                permitted(conversation, asker, command)
    with pytest.raises(ConversationNotFound):
        permitted(None, OWNER, command)


@pytest.mark.rule("3.8", "4.2")
def test_members_throw_others_out_until_roles_are_given() -> None:
    others, itself = commands.RemoveMembers("c", ("tyke",)), commands.RemoveMembers("c", ("jerry",))
    assert permitted(TEA, MEMBER, others) is TEA
    assert permitted(GOVERNED, MANAGER, others) is GOVERNED
    assert permitted(GOVERNED, MEMBER, itself) is GOVERNED
    assert permitted(GOVERNED, MEMBER, commands.AddMembers("c", ("tyke",))) is GOVERNED
    with pytest.raises(RankTooLow):
        permitted(GOVERNED, MEMBER, others)


@pytest.mark.rule("4.2")
def test_who_has_a_say_in_a_chat_room_has_it_from_outside() -> None:
    room = OF_KIND[Kind.CHAT_ROOM]
    for command in (*GOVERNING, commands.ListSilenced("r"), commands.ListBlocked("r")):
        for asker in (OWNER, MANAGER):
            assert permitted(room, replace(asker, member=False), command) is room
        with pytest.raises((RankTooLow, MembershipRequired)):
            permitted(room, STRANGER, command)


@pytest.mark.rule("1.18", "1.25")
@pytest.mark.parametrize(("command", "fit", "refused"), FIT)
def test_not_every_type_of_conversation_has_everything(
    command: Command, fit: set[Kind], refused: type[Refusal] | tuple[type[Refusal], ...]
) -> None:
    for kind, conversation in OF_KIND.items():
        if kind in fit:
            assert permitted(conversation, MANAGER, command) is conversation
        else:
            with pytest.raises(refused):
                permitted(conversation, MANAGER, command)


@pytest.mark.rule("1.12", "1.14")
@pytest.mark.parametrize("kind", [Kind.CHAT_ROOM, Kind.SYSTEM])
def test_anybody_speaks_and_reads_where_nobody_is_a_member(kind: Kind) -> None:
    for command in (commands.Send("c", b"hi", 2), commands.ReadHistory("c")):
        assert permitted(OF_KIND[kind], STRANGER, command) is OF_KIND[kind]


@pytest.mark.rule("1.15")
def test_service_conversations_are_changed_by_the_application_alone() -> None:
    news, command = OF_KIND[Kind.SYSTEM], commands.UpdateConversation("s", "{}")
    assert permitted(news, OFFICE, command) is news
    for asker in (MEMBER, STRANGER):
        with pytest.raises(UpdateRejected):
            permitted(news, asker, command)


def test_the_application_may_all_that_there_is_to_do() -> None:
    for command, fit, _ in FIT:
        for kind, conversation in OF_KIND.items():
            if kind in fit:
                assert permitted(conversation, OFFICE, command) is conversation
    with pytest.raises(NormalConversationRequired):
        permitted(OF_KIND[Kind.TEMPORARY], OFFICE, commands.AddMembers("c", ("tyke",)))
    with pytest.raises(ConversationNotFound):
        permitted(None, OFFICE, GOVERNING[0])


@pytest.mark.rule("1.19")
@pytest.mark.parametrize("command", [commands.Send("_tmp:c", b"hi", 2), commands.ReadHistory("_tmp:c")])
def test_a_temporary_conversation_that_is_gone_is_missed_by_its_own_code(command: Command) -> None:
    with pytest.raises(ConversationNotFound):
        permitted(None, MEMBER, command)


@pytest.mark.rule("4.10")
def test_who_is_blocked_speaks_nowhere_not_even_where_anybody_may() -> None:
    blocked = Standing(blocked=True)
    for command in (commands.Send("c", b"hi", 2), commands.PatchMessage("c", Position(Millis(1), "m"))):
        for conversation in OF_KIND.values():
            with pytest.raises(Blocked):
                permitted(conversation, replace(STRANGER, standing=blocked), command)


@pytest.mark.rule("4.1")
def test_who_created_it_owns_it_whatever_was_given() -> None:
    assert rank(TEA, "tom", Standing()) is Role.OWNER
    assert rank(TEA, "tom", Standing(role=Role.MEMBER)) is Role.OWNER
    assert rank(TEA, "jerry", Standing(role=Role.MANAGER)) is Role.MANAGER
    assert rank(TEA, "jerry", Standing()) is Role.MEMBER
    assert rank(OF_KIND[Kind.SYSTEM], "", Standing()) is Role.MEMBER


def test_last_messages_are_shown_to_who_may_read_the_history() -> None:
    assert sees_messages(TEA, MEMBER)
    assert sees_messages(TEA, OFFICE)
    assert not sees_messages(TEA, STRANGER)
    assert sees_messages(OF_KIND[Kind.CHAT_ROOM], STRANGER)


def test_every_command_that_not_everybody_may_give_was_tried() -> None:
    tried = {type(command) for command, *_ in (*ABOUT_ONE, *FIT)}
    limited = (Who.MEMBER, Who.MEMBER_OR_ONESELF, Who.MANAGER)
    assert tried >= {kind for kind, rule in RULES.items() if rule.who in limited}
