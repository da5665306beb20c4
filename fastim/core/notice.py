"""Notices: what happened while a client was away, kept until it asks. Source: wire protocol, reliable notifications."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

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
)
from fastim.core.units import Millis, iso


class Notice(Struct, frozen=True, array_like=True):
    """One thing that happened in a conversation.

    Attributes:
        op: As the JavaScript SDK spells it, with underscores: ``joined``, ``members_left``, ...; ``rcp`` for a receipt.
        at: Its ``serverTs``: the client's cursor.
        by: Who did it, or empty.
        clients: Whom it was done to, where the message says so.
        fields: What else the event carries, as JSON values: ``attr``, ``attrModified``, ``info``, ``id``, ``t``,
            ``read``, ``from``, ``udate``.
        permanent: It is about the client itself; what is not may be forgotten when there is too much of it.
    """

    op: str
    conversation_id: str
    at: Millis
    by: str = ""
    clients: tuple[str, ...] = ()
    fields: dict[str, Any] = {}
    permanent: bool = True


class Addressed(Struct, frozen=True):
    """A notice and whom it is for.

    Attributes:
        client_id: ``None``: every member of its conversation.
    """

    client_id: str | None
    notice: Notice


def notices_of(event: Event) -> list[Addressed]:
    """What is kept of ``event`` for those who are away; nothing of what they need not know.

    What concerns a client itself is for it alone and permanent, what concerns others is for the members and may be
    forgotten. Chat rooms and service conversations tell nobody who comes and goes. Source: wire protocol, reliable
    notifications and pushes.
    """
    match event:
        case ConversationStarted(members=members):
            return _moved(event, "joined", members, members)
        case MembersAdded(added=added, members=members):
            return _moved(event, "joined", added, members)
        case MembersRemoved(removed=removed, members=members):
            return _moved(event, "left", removed, members)
        case ConversationUpdated():
            return _updated(event)
        case RoleChanged():
            return _role_changed(event)
        case SilenceChanged(clients=clients, silenced=silenced):
            return _changed(event, "shutuped" if silenced else "unshutuped", clients, event.members)
        case BlocksChanged(clients=clients, blocked=blocked):
            return _changed(event, "blocked" if blocked else "unblocked", clients, event.members)
        case MessagesReceipted():
            return _receipted(event)
        case _:
            return []


def told_once(notices: Iterable[Notice], client_id: str) -> list[Notice]:
    """``notices`` without what ``client_id`` is told as a member although it is told as the one concerned.

    A change of its own role is the same operation either way.
    """
    return [
        notice
        for notice in notices
        if notice.permanent or notice.op != _ROLE_CHANGED or notice.fields["info"]["pid"] != client_id
    ]


_ROLE_CHANGED = "member_info_changed"
_WITHOUT_MEMBERS = (Kind.CHAT_ROOM, Kind.SYSTEM)


def _moved(
    event: ConversationStarted | MembersAdded | MembersRemoved,
    op: str,
    clients: Sequence[str],
    members: Sequence[str],
) -> list[Addressed]:
    if event.kind in _WITHOUT_MEMBERS:
        return []
    return _changed(event, op, clients, members, {"udate": iso(event.at)})


def _changed(
    event: ConversationStarted | MembersAdded | MembersRemoved | SilenceChanged | BlocksChanged,
    op: str,
    clients: Sequence[str],
    members: Sequence[str],
    fields: dict[str, Any] | None = None,
) -> list[Addressed]:
    """To each of ``clients`` that it was done to it, and to the members to whom."""
    own = Notice(op, event.conversation_id, event.at, event.by, fields=fields or {})
    kept = [Addressed(client_id, own) for client_id in clients]
    if members and clients:
        of_others = Notice(
            f"members_{op}", event.conversation_id, event.at, event.by, tuple(clients), fields or {}, permanent=False
        )
        kept.append(Addressed(None, of_others))
    return kept


def _updated(event: ConversationUpdated) -> list[Addressed]:
    if not event.members:
        return []
    fields = {
        "attr": msgspec.json.decode(event.asked),
        "attrModified": msgspec.json.decode(event.modified),
        "udate": iso(event.at),
    }
    notice = Notice("updated", event.conversation_id, event.at, event.by, fields=fields, permanent=False)
    return [Addressed(None, notice)]


def _role_changed(event: RoleChanged) -> list[Addressed]:
    fields = {"info": {"pid": event.client_id, "role": event.role.wire_name}}
    own = Notice(_ROLE_CHANGED, event.conversation_id, event.at, event.by, fields=fields)
    kept = [Addressed(event.client_id, own)]
    if event.members:
        of_others = Notice(_ROLE_CHANGED, event.conversation_id, event.at, event.by, fields=fields, permanent=False)
        kept.append(Addressed(None, of_others))
    return kept


def _receipted(event: MessagesReceipted) -> list[Addressed]:
    """``read`` is there only when it is true: Java takes any for a read receipt."""
    kept = []
    for message_id in event.message_ids:
        fields: dict[str, Any] = {"id": message_id, "t": event.upto, "from": event.by}
        if event.read:
            fields["read"] = True
        notice = Notice("rcp", event.conversation_id, event.at, event.by, fields=fields, permanent=False)
        kept.append(Addressed(event.client_id, notice))
    return kept
