"""Permission: who may do what, a row for each command. Nowhere else is it decided.

Who asks is settled before: a command belongs to a session of its connection, and through it to one application, whose
store is all that is ever looked into. So a conversation of another application is one that does not exist.

An application may want more: signatures are the business of ``fastim.core.signature``.
"""

from enum import Enum, auto

from msgspec import Struct

from fastim.core import commands
from fastim.core.commands import Command
from fastim.core.conversation import Conversation
from fastim.core.errors import (
    ConversationNotFound,
    HistoryRejected,
    InvalidTarget,
    MembershipRequired,
    Refusal,
    UpdateRejected,
)


class Who(Enum):
    """Who may."""

    ANYBODY = auto()
    """Without a session, too."""
    CLIENT = auto()
    """Whoever has opened a session, whatever conversation it is about."""
    MEMBER = auto()
    """Members of the conversation that it is about."""
    MEMBER_OR_ONESELF = auto()
    """Members, and any client for itself alone."""


class Rule(Struct, frozen=True):
    """Who may give a command.

    Attributes:
        missing: What it is refused with where there is no such conversation.
        refused: What it is refused with for who may not.
    """

    who: Who
    missing: type[Refusal] = ConversationNotFound
    refused: type[Refusal] = MembershipRequired


RULES: dict[type[Command], Rule] = {
    commands.Echo: Rule(Who.ANYBODY),
    commands.Login: Rule(Who.ANYBODY),
    commands.Acknowledge: Rule(Who.ANYBODY),  # it changes nothing and is not answered
    commands.OpenSession: Rule(Who.ANYBODY),
    commands.RefreshToken: Rule(Who.CLIENT),
    commands.CloseSession: Rule(Who.CLIENT),
    commands.ReportDevice: Rule(Who.CLIENT),
    commands.QueryOnline: Rule(Who.CLIENT),
    commands.Unknown: Rule(Who.CLIENT),
    commands.StartConversation: Rule(Who.CLIENT),
    # SDKs look conversations up that they have just been removed from, or are about to join.
    commands.QueryConversations: Rule(Who.CLIENT),
    commands.CheckMembership: Rule(Who.CLIENT),
    commands.CountMembers: Rule(Who.CLIENT),
    commands.MarkRead: Rule(Who.CLIENT),  # of several conversations, and only memberships have a position to move
    commands.AddMembers: Rule(Who.MEMBER_OR_ONESELF),
    commands.RemoveMembers: Rule(Who.MEMBER_OR_ONESELF),
    commands.MuteConversation: Rule(Who.MEMBER),
    commands.UpdateConversation: Rule(Who.MEMBER, refused=UpdateRejected),
    commands.ReadHistory: Rule(Who.MEMBER, refused=HistoryRejected),
    commands.Send: Rule(Who.MEMBER, missing=InvalidTarget, refused=InvalidTarget),
}
"""Source: wire protocol, error codes; semantics, rules 1.3 and 3.8; wire protocol, result objects of conv/query."""


def permitted(conversation: Conversation | None, client_id: str, command: Command) -> Conversation:
    """``conversation``, about which ``client_id`` may give ``command``.

    Raises:
        Refusal: It may not, or there is no such conversation; as ``RULES`` has it.
    """
    rule = RULES[type(command)]
    if conversation is None:
        raise rule.missing
    match rule.who:
        case Who.MEMBER:
            allowed = conversation.has_member(client_id)
        case Who.MEMBER_OR_ONESELF:
            allowed = conversation.has_member(client_id) or _concerns_only(client_id, command)
        case _:
            allowed = True
    if not allowed:
        raise rule.refused
    return conversation


def _concerns_only(client_id: str, command: Command) -> bool:
    return (
        isinstance(command, commands.AddMembers | commands.RemoveMembers)
        and bool(command.members)
        and all(member == client_id for member in command.members)
    )


def sees_messages(conversation: Conversation, client_id: str) -> bool:
    """Whether a query may show ``client_id`` the last message: only to who may read the history."""
    return conversation.has_member(client_id)
