"""Membership: who comes, who goes, and what of a request is done when only a part of it can be.

Who may ask for it is decided in ``fastim.core.permission``.
"""

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from fastim.core.attributes import initial_columns
from fastim.core.commands import StartConversation
from fastim.core.conversation import Conversation, Kind, changed_at
from fastim.core.errors import (
    Blocked,
    ConversationFull,
    InvalidLogin,
    NormalConversationRequired,
    OwnerNeeded,
    RankTooLow,
    Refusal,
    SendingNotAllowed,
)
from fastim.core.ids import is_client_id, unique_id
from fastim.core.permission import Asker, rank
from fastim.core.policy import TEMPORARY_MEMBERS_MAX, TEMPORARY_TTL_DEFAULT_SECONDS, TEMPORARY_TTL_MAX_SECONDS, Policy
from fastim.core.replies import PartialFailure
from fastim.core.standing import UNREMARKABLE, Role, Standing
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


def start(
    command: StartConversation,
    creator: str,
    conversation_id: str,
    policy: Policy,
    now: Millis,
    *,
    privileged: bool = False,
) -> Conversation:
    """The conversation that ``creator`` asks for, with itself as the first member where there are members.

    A temporary conversation's member set names it, whether that was asked for or not; its time to live is cut to what
    it may be. Source: semantics, rules 1.18 to 1.20.

    Args:
        creator: May be empty when the application asks.
        privileged: The application asks: it makes nobody a member whom it does not name, and of too many members the
            first count. Source: semantics, rule 1.2.

    Raises:
        SendingNotAllowed: It is to be of several types, or of one that only the application may start.
        InvalidLogin: A member's id cannot be a client id.
        ConversationFull: It would have more members than it may.
        UpdateFailed: The attributes are malformed.
    """
    kind = started_kind(command)
    if kind is Kind.SYSTEM and not privileged:
        raise SendingNotAllowed("only the application starts service conversations")
    members = _first_members(command, creator, kind, policy, privileged=privileged)
    named = kind is Kind.TEMPORARY or (kind is Kind.NORMAL and command.unique)
    return Conversation(
        id=conversation_id,
        kind=kind,
        creator=creator,
        created_at=now,
        updated_at=now,
        members=members,
        columns=initial_columns(command.attributes),
        unique_key=unique_id(members) if named else None,
        ttl_seconds=_ttl_seconds(command) if kind is Kind.TEMPORARY else 0,
    )


def started_kind(command: StartConversation) -> Kind:
    """Which type of conversation is to be started.

    Raises:
        SendingNotAllowed: Several.
    """
    asked = [
        kind
        for kind, wanted in (
            (Kind.CHAT_ROOM, command.chat_room),
            (Kind.TEMPORARY, command.temporary),
            (Kind.SYSTEM, command.service),
        )
        if wanted
    ]
    if len(asked) > 1:
        raise SendingNotAllowed("a conversation is of one type")
    return asked[0] if asked else Kind.NORMAL


def add(
    conversation: Conversation, clients: Sequence[str], policy: Policy, now: Millis, barred: Collection[str] = ()
) -> Change:
    """``clients`` become members; who is one already stays one. Source: semantics, rule 3.9.

    Args:
        barred: Those who are blocked, or refuse to be added. Source: semantics, rules 4.10 and 4.11.

    Raises:
        NormalConversationRequired: Its members are fixed or not kept.
    """
    _require_normal(conversation)
    wanted = tuple(dict.fromkeys(clients))
    valid = tuple(client for client in wanted if is_client_id(client))
    strangers = tuple(client for client in valid if not conversation.has_member(client))
    kept_out = tuple(client for client in strangers if client in barred)
    welcome = tuple(client for client in strangers if client not in barred)
    room = max(policy.members - len(conversation.members), 0)
    added, surplus = welcome[:room], welcome[room:]
    failed = (
        *failures(InvalidLogin(), tuple(client for client in wanted if not is_client_id(client))),
        *failures(Blocked(), kept_out),
        *failures(ConversationFull(), surplus),
    )
    refused = frozenset((*kept_out, *surplus))
    allowed = tuple(client for client in valid if client not in refused)
    if not added:
        return Change(conversation, (), allowed, failed)
    grown = replace(conversation, members=conversation.members + added, updated_at=changed_at(conversation, now))
    return Change(grown, added, allowed, failed)


def remove(conversation: Conversation, clients: Sequence[str], now: Millis, kept: Collection[str] = ()) -> Change:
    """``clients`` are members no longer; who is none stays none. Source: semantics, rule 3.9.

    Args:
        kept: Those who have to stay because the conversation needs an owner, see ``irremovable``.

    Raises:
        NormalConversationRequired: Its members are fixed or not kept.
    """
    _require_normal(conversation)
    wanted = tuple(dict.fromkeys(clients))
    failed = failures(OwnerNeeded(), tuple(client for client in wanted if client in kept))
    allowed = tuple(client for client in wanted if client not in kept)
    gone = frozenset(client for client in allowed if conversation.has_member(client))
    if not gone:
        return Change(conversation, (), allowed, failed)
    shrunk = replace(
        conversation,
        members=tuple(client for client in conversation.members if client not in gone),
        muted=tuple(client for client in conversation.muted if client not in gone),
        updated_at=changed_at(conversation, now),
    )
    return Change(shrunk, tuple(client for client in allowed if client in gone), allowed, failed)


def irremovable(
    conversation: Conversation, asker: Asker, clients: Sequence[str], standings: Mapping[str, Standing]
) -> frozenset[str]:
    """Those of ``clients`` who have to stay, should ``asker`` want them removed: the owner.

    In a normal conversation in which no role was ever given anybody removes anybody, and the creator goes when it likes
    to. A chat room always has ranks. Source: semantics, rules 1.11, 3.8, 4.2, 4.3 and 4.6.

    Args:
        standings: Of those of ``clients`` who have one.

    Raises:
        RankTooLow: ``asker`` does not outrank all of the others; then nobody is removed.
    """
    if asker.privileged or not (conversation.roles_given or conversation.kind is Kind.CHAT_ROOM):
        return frozenset()
    own = rank(conversation, asker.client_id, asker.standing)
    owners = set[str]()
    for client in clients:
        theirs = rank(conversation, client, standings.get(client, UNREMARKABLE))
        if theirs is Role.OWNER and conversation.has_member(client):
            owners.add(client)
        if client == asker.client_id:
            continue
        if own < Role.MANAGER or (own <= theirs and client not in owners):
            raise RankTooLow
    return frozenset(owners)


def mute(conversation: Conversation, client_id: str, muted: bool, now: Millis) -> Conversation:
    """``client_id`` wants no offline push from it, or wants it again; of one that is no member nothing is kept."""
    if muted == (client_id in conversation.muted) or not conversation.has_member(client_id):
        return conversation
    others = tuple(client for client in conversation.muted if client != client_id)
    return replace(
        conversation,
        muted=(*others, client_id) if muted else others,
        updated_at=changed_at(conversation, now),
    )


def failures(refusal: Refusal, clients: Sequence[str]) -> tuple[PartialFailure, ...]:
    """That ``clients`` failed with ``refusal``; nothing when there are none."""
    return (PartialFailure(tuple(clients), refusal),) if clients else ()


def _first_members(
    command: StartConversation, creator: str, kind: Kind, policy: Policy, *, privileged: bool
) -> tuple[str, ...]:
    if kind not in (Kind.NORMAL, Kind.TEMPORARY):
        return ()
    members = tuple(dict.fromkeys(command.members if privileged else (creator, *command.members)))
    if not all(map(is_client_id, members)):
        raise InvalidLogin("a member's id is empty, too long or not printable")
    most = TEMPORARY_MEMBERS_MAX if kind is Kind.TEMPORARY else policy.members
    if len(members) > most and not (privileged and kind is Kind.NORMAL):
        raise ConversationFull(f"{len(members)} members of at most {most}")
    return members[:most]


def _ttl_seconds(command: StartConversation) -> int:
    wanted = command.ttl_seconds or 0
    return min(wanted, TEMPORARY_TTL_MAX_SECONDS) if wanted > 0 else TEMPORARY_TTL_DEFAULT_SECONDS


def _require_normal(conversation: Conversation) -> None:
    if conversation.kind is not Kind.NORMAL:
        raise NormalConversationRequired
