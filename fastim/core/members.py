"""Membership: who comes, who goes, and what of a request is done when only a part of it can be.

Who may ask for it is decided in ``fastim.core.permission``.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from fastim.core.attributes import initial_columns
from fastim.core.commands import StartConversation
from fastim.core.conversation import Conversation, Kind, changed_at
from fastim.core.errors import (
    ConversationFull,
    InvalidLogin,
    NormalConversationRequired,
)
from fastim.core.ids import is_client_id, unique_id
from fastim.core.policy import Policy
from fastim.core.replies import PartialFailure
from fastim.core.units import Millis


class Change(Struct, frozen=True):
    """A change of members.

    Attributes:
        conversation: As it is afterwards.
        clients: Those whom it changed; empty when nothing did.
        allowed: Those for whom the request holds now, changed or not.
        failed: Those for whom it was refused.
    """

    conversation: Conversation
    clients: tuple[str, ...]
    allowed: tuple[str, ...]
    failed: tuple[PartialFailure, ...] = ()


def start(command: StartConversation, creator: str, conversation_id: str, policy: Policy, now: Millis) -> Conversation:
    """The conversation that ``creator`` asks for, with itself as the first member.

    Raises:
        NormalConversationRequired: It is to be of a type that this version does not have.
        InvalidLogin: A member's id cannot be a client id.
        ConversationFull: It would have more members than it may.
        UpdateFailed: The attributes are malformed.
    """
    if command.chat_room or command.temporary:
        raise NormalConversationRequired("only normal conversations can be started")
    members = tuple(dict.fromkeys((creator, *command.members)))
    if not all(map(is_client_id, members)):
        raise InvalidLogin("a member's id is empty, too long or not printable")
    if len(members) > policy.members:
        raise ConversationFull(f"{len(members)} members of at most {policy.members}")
    return Conversation(
        id=conversation_id,
        kind=Kind.NORMAL,
        creator=creator,
        created_at=now,
        updated_at=now,
        members=members,
        columns=initial_columns(command.attributes),
        unique_key=unique_id(members) if command.unique else None,
    )


def add(conversation: Conversation, clients: Sequence[str], policy: Policy, now: Millis) -> Change:
    """``clients`` become members; who is one already stays one. Source: semantics, rule 3.9.

    Raises:
        NormalConversationRequired: Its members are fixed or not kept.
    """
    _require_normal(conversation)
    wanted = tuple(dict.fromkeys(clients))
    valid = tuple(client for client in wanted if is_client_id(client))
    strangers = tuple(client for client in valid if not conversation.has_member(client))
    room = max(policy.members - len(conversation.members), 0)
    added, surplus = strangers[:room], strangers[room:]
    failed = _failures(InvalidLogin(), tuple(client for client in wanted if client not in valid))
    failed += _failures(ConversationFull(), surplus)
    allowed = tuple(client for client in valid if client not in surplus)
    if not added:
        return Change(conversation, (), allowed, failed)
    grown = replace(conversation, members=conversation.members + added, updated_at=changed_at(conversation, now))
    return Change(grown, added, allowed, failed)


def remove(conversation: Conversation, clients: Sequence[str], now: Millis) -> Change:
    """``clients`` are members no longer; who is none stays none. Source: semantics, rule 3.9.

    Raises:
        NormalConversationRequired: Its members are fixed or not kept.
    """
    _require_normal(conversation)
    wanted = tuple(dict.fromkeys(clients))
    gone = frozenset(client for client in wanted if conversation.has_member(client))
    if not gone:
        return Change(conversation, (), wanted)
    shrunk = replace(
        conversation,
        members=tuple(client for client in conversation.members if client not in gone),
        muted=tuple(client for client in conversation.muted if client not in gone),
        updated_at=changed_at(conversation, now),
    )
    return Change(shrunk, tuple(client for client in wanted if client in gone), wanted)


def mute(conversation: Conversation, client_id: str, muted: bool, now: Millis) -> Conversation:
    """``client_id``, a member, wants no offline push from it, or wants it again."""
    if muted == (client_id in conversation.muted):
        return conversation
    others = tuple(client for client in conversation.muted if client != client_id)
    return replace(
        conversation,
        muted=(*others, client_id) if muted else others,
        updated_at=changed_at(conversation, now),
    )


def _require_normal(conversation: Conversation) -> None:
    if conversation.kind is not Kind.NORMAL:
        raise NormalConversationRequired


def _failures(refusal: InvalidLogin | ConversationFull, clients: tuple[str, ...]) -> tuple[PartialFailure, ...]:
    return (PartialFailure(clients, refusal),) if clients else ()
