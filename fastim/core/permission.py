"""Permission: who may do what, a row for each command. Nowhere else is it decided.

Who asks is settled before: a command belongs to a session of its connection, and through it to one application, whose
store is all that is ever looked into. So a conversation of another application is one that does not exist.

An application may want more: signatures are the business of ``fastim.core.signature``.
"""

from enum import Enum, auto

from msgspec import Struct

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
from fastim.core.ids import TEMPORARY_PREFIX
from fastim.core.standing import UNREMARKABLE, Role, Standing


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
    MANAGER = auto()
    """Members who are its owner or a manager."""


_ALL = frozenset(Kind)
_LASTING = frozenset((Kind.NORMAL, Kind.CHAT_ROOM, Kind.SYSTEM))
_WITH_MEMBERS = frozenset((Kind.NORMAL, Kind.TEMPORARY))
_GOVERNED = frozenset((Kind.NORMAL, Kind.CHAT_ROOM))
_OPEN = frozenset((Kind.CHAT_ROOM, Kind.SYSTEM))
_SERVICE = frozenset((Kind.SYSTEM,))
_NONE: frozenset[Kind] = frozenset()


class Rule(Struct, frozen=True):
    """Who may give a command.

    Attributes:
        missing: What it is refused with where there is no such conversation.
        refused: What it is refused with for who may not.
        kinds: The types of conversation that it is for.
        unfit: What it is refused with in others.
        open: Those types in which any client may.
        reserved: Those types in which only the application itself may.
    """

    who: Who
    missing: type[Refusal] = ConversationNotFound
    refused: type[Refusal] = MembershipRequired
    kinds: frozenset[Kind] = _ALL
    unfit: type[Refusal] = NormalConversationRequired
    open: frozenset[Kind] = _NONE
    reserved: frozenset[Kind] = _NONE


class Asker(Struct, frozen=True):
    """Who asks, as far as one conversation goes.

    Attributes:
        member: It belongs to the conversation: as a member, in a chat room as an occupant, in a service conversation as
            a subscriber.
        privileged: The application itself.
    """

    client_id: str
    member: bool
    standing: Standing = UNREMARKABLE
    privileged: bool = False


RULES: dict[type[Command], Rule] = {
    commands.Echo: Rule(Who.ANYBODY),
    commands.Login: Rule(Who.ANYBODY),
    commands.Acknowledge: Rule(Who.ANYBODY),  # it is not answered, and only a membership has anything to move
    commands.OpenSession: Rule(Who.ANYBODY),
    commands.RefreshToken: Rule(Who.CLIENT),
    commands.CloseSession: Rule(Who.CLIENT),
    commands.ReportDevice: Rule(Who.CLIENT),
    commands.QueryOnline: Rule(Who.CLIENT),
    commands.Watch: Rule(Who.CLIENT),
    commands.Unwatch: Rule(Who.CLIENT),
    commands.QueryNotices: Rule(Who.CLIENT),
    commands.Unknown: Rule(Who.CLIENT),
    commands.StartConversation: Rule(Who.CLIENT),
    # SDKs look conversations up that they have just been removed from, or are about to join.
    commands.QueryConversations: Rule(Who.CLIENT),
    commands.CheckMembership: Rule(Who.CLIENT),
    commands.CountMembers: Rule(Who.CLIENT),
    commands.ListOccupants: Rule(Who.CLIENT, kinds=frozenset((Kind.CHAT_ROOM,)), unfit=ChatRoomRequired),
    commands.MarkRead: Rule(Who.CLIENT),  # of several conversations, and only memberships have a position to move
    commands.QueryReceipts: Rule(Who.MEMBER, kinds=_WITH_MEMBERS),
    commands.AddMembers: Rule(Who.MEMBER_OR_ONESELF, kinds=_LASTING),
    commands.RemoveMembers: Rule(Who.MEMBER_OR_ONESELF, kinds=_LASTING),
    # A chat room keeps nothing of who mutes it: SDKs do not look at what comes of it.
    commands.MuteConversation: Rule(Who.MEMBER, kinds=_LASTING, open=frozenset((Kind.CHAT_ROOM,))),
    commands.UpdateConversation: Rule(Who.MEMBER, refused=UpdateRejected, kinds=_LASTING, reserved=_SERVICE),
    commands.ReadHistory: Rule(Who.MEMBER, refused=HistoryRejected, open=_OPEN),
    commands.Send: Rule(Who.MEMBER, missing=InvalidTarget, refused=InvalidTarget, open=_OPEN),
    commands.PatchMessage: Rule(Who.MEMBER, open=_OPEN),
    commands.SetRole: Rule(Who.MANAGER, refused=RankTooLow, kinds=_GOVERNED),
    commands.ListRoles: Rule(Who.MEMBER, kinds=_GOVERNED, open=frozenset((Kind.CHAT_ROOM,))),
    commands.ChangeSilence: Rule(Who.MANAGER, refused=RankTooLow, kinds=_GOVERNED),
    commands.ListSilenced: Rule(Who.MEMBER, kinds=_GOVERNED),
    commands.CheckSilenced: Rule(Who.MEMBER, kinds=_GOVERNED),
    commands.ChangeBlocks: Rule(Who.MANAGER, refused=RankTooLow, kinds=_GOVERNED),
    commands.ListBlocked: Rule(Who.MEMBER, kinds=_GOVERNED),
    commands.CheckBlocked: Rule(Who.MEMBER, kinds=_GOVERNED),
    commands.RefuseConversations: Rule(Who.CLIENT),
    commands.ListRefused: Rule(Who.CLIENT),
    commands.CheckRefused: Rule(Who.CLIENT),
}
"""Source: wire protocol, error codes; semantics, rules 1.3, 1.12, 1.14, 1.25, 3.8 and section 4.

A stranger who would govern is told of its rank: rule 4.3.
"""

_NOT_WHEN_BLOCKED = (commands.Send, commands.PatchMessage)


def permitted(conversation: Conversation | None, asker: Asker, command: Command) -> Conversation:
    """``conversation``, about which ``asker`` may give ``command``.

    Raises:
        Refusal: It may not, or there is no such conversation, or it is not of a type for that; as ``RULES`` has it.
    """
    rule = RULES[type(command)]
    if conversation is None:
        raise _missing(rule, command)
    if conversation.kind not in rule.kinds:
        raise rule.unfit
    if asker.privileged:
        return conversation
    if asker.standing.blocked and isinstance(command, _NOT_WHEN_BLOCKED):
        raise Blocked
    if conversation.kind in rule.reserved or not _belongs(rule, conversation, asker, command):
        raise rule.refused
    if _takes_rank(rule, conversation, asker, command) and _rank_of(conversation, asker) < Role.MANAGER:
        raise RankTooLow
    return conversation


def rank(conversation: Conversation, client_id: str, standing: Standing) -> Role:
    """The client's role; whoever created the conversation owns it. Source: semantics, rule 4.1."""
    if client_id and client_id == conversation.creator:
        return Role.OWNER
    return standing.role or Role.MEMBER


def _missing(rule: Rule, command: Command) -> Refusal:
    """A temporary conversation is missed by its own code, whatever was to be done with it. Source: rule 1.19."""
    gone = getattr(command, "conversation_id", "").startswith(TEMPORARY_PREFIX)
    return ConversationNotFound() if gone else rule.missing()


def _belongs(rule: Rule, conversation: Conversation, asker: Asker, command: Command) -> bool:
    match rule.who:
        case Who.ANYBODY | Who.CLIENT:
            return True
        case Who.MEMBER_OR_ONESELF:
            return asker.member or _concerns_only(asker.client_id, command)
        case Who.MANAGER:
            return asker.member or _governs(conversation, asker)
        case Who.MEMBER:
            return asker.member or conversation.kind in rule.open or _governs(conversation, asker)


def _takes_rank(rule: Rule, conversation: Conversation, asker: Asker, command: Command) -> bool:
    """Anybody may throw others out until roles are given: then members may only bring them. Source: rules 3.8, 4.2."""
    if isinstance(command, commands.RemoveMembers):
        return conversation.roles_given and not _concerns_only(asker.client_id, command)
    return rule.who is Who.MANAGER


def _governs(conversation: Conversation, asker: Asker) -> bool:
    """Who has a say in a chat room has it from outside, too: nobody belongs to one for long."""
    return conversation.kind is Kind.CHAT_ROOM and _rank_of(conversation, asker) >= Role.MANAGER


def _rank_of(conversation: Conversation, asker: Asker) -> Role:
    return rank(conversation, asker.client_id, asker.standing)


def _concerns_only(client_id: str, command: Command) -> bool:
    return (
        isinstance(command, commands.AddMembers | commands.RemoveMembers)
        and bool(command.members)
        and all(member == client_id for member in command.members)
    )


def sees_messages(conversation: Conversation, asker: Asker) -> bool:
    """Whether a query may show ``asker`` the last message: only to who may read the history."""
    return asker.privileged or asker.member or conversation.kind is Kind.CHAT_ROOM
