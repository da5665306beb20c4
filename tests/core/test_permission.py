import pytest

from fastim.core import commands
from fastim.core.commands import Command
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import (
    ConversationNotFound,
    HistoryRejected,
    InvalidTarget,
    MembershipRequired,
    Refusal,
    UpdateRejected,
)
from fastim.core.permission import RULES, Who, permitted
from fastim.core.units import Millis

TEA = Conversation("c", Kind.NORMAL, "tom", Millis(0), Millis(0), members=("tom", "jerry"))

ABOUT_ONE: list[tuple[Command, type[Refusal], type[Refusal] | None]] = [
    (commands.Send("c", b"hi", 2), InvalidTarget, InvalidTarget),
    (commands.ReadHistory("c"), ConversationNotFound, HistoryRejected),
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
]
"""What it is refused with where there is no conversation, and for a stranger; ``None``: it is not."""


def kinds(base: type[Command] = Command) -> set[type[Command]]:
    return {one for kind in base.__subclasses__() for one in {kind, *kinds(kind)}}


def test_every_command_has_a_rule() -> None:
    assert kinds() == RULES.keys()


@pytest.mark.parametrize(("command", "missing", "refused"), ABOUT_ONE)
def test_a_member_may_and_others_are_told_by_name(
    command: Command, missing: type[Refusal], refused: type[Refusal] | None
) -> None:
    assert permitted(TEA, "jerry", command) is TEA
    with pytest.raises(missing):
        permitted(None, "jerry", command)
    if refused is None:
        assert permitted(TEA, "spike", command) is TEA
    else:
        with pytest.raises(refused):
            permitted(TEA, "spike", command)


def test_every_command_that_only_members_may_give_was_tried() -> None:
    tried = {type(command) for command, _, _ in ABOUT_ONE}
    assert tried >= {kind for kind, rule in RULES.items() if rule.who in (Who.MEMBER, Who.MEMBER_OR_ONESELF)}
