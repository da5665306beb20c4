"""A conversation as JSON: what queries match against and answer with."""

from base64 import b64encode
from typing import Any

from msgspec import Struct

from fastim.core.conversation import Conversation, Kind
from fastim.core.message import Message
from fastim.core.units import Millis, iso
from fastim.core.unread import Head


class SubscriptionState(Struct, frozen=True):
    """What a client has to do with a service conversation.

    Attributes:
        since: When it subscribed; ``None``: it does not.
        muted: It wants no offline push from it.
    """

    since: Millis | None = None
    muted: bool = False


def record(
    conversation: Conversation, head: Head, client_id: str, subscription: SubscriptionState | None = None
) -> dict[str, Any]:
    """The columns of ``conversation`` as ``client_id`` sees it. Source: wire protocol, result objects of conv/query.

    Args:
        subscription: Of a service conversation, whether ``client_id`` subscribes.
    """
    columns: dict[str, Any] = {
        **conversation.columns,
        "objectId": conversation.id,
        "c": conversation.creator,
        "m": list(conversation.members),
        "mu": list(conversation.muted),
        "muted": client_id in conversation.muted,
        "createdAt": iso(conversation.created_at),
        "updatedAt": iso(conversation.updated_at),
        "conv_type": int(conversation.kind),
    }
    if head.sequence:
        columns["lm"] = {"__type": "Date", "iso": iso(head.timestamp)}
    if conversation.unique_key is not None and conversation.kind is Kind.NORMAL:
        columns["unique"], columns["uniqueId"] = True, conversation.unique_key
    flag = _FLAGS.get(conversation.kind)
    if flag is not None:
        columns[flag] = True
    if conversation.ttl_seconds:
        columns |= _lifetime(conversation)
    if subscription is not None:
        columns |= _subscribed(subscription)
    return columns


def _lifetime(conversation: Conversation) -> dict[str, Any]:
    """Counted from ``createdAt``, as Swift and Java do; C# knows such conversations by the last two only."""
    return {"ttl": conversation.ttl_seconds, "tempConv": True, "tempConvTTL": conversation.ttl_seconds}


def _subscribed(subscription: SubscriptionState) -> dict[str, Any]:
    """Swift reads these. Source: semantics, rule 1.17."""
    if subscription.since is None:
        return {"joined": False}
    return {"joined": True, "joinedAt": subscription.since, "muted": subscription.muted}


_FLAGS = {Kind.CHAT_ROOM: "tr", Kind.SYSTEM: "sys", Kind.TEMPORARY: "temp"}


def with_last_message(columns: dict[str, Any], message: Message) -> dict[str, Any]:
    """``columns`` with the conversation's last message; C# needs ``bin`` wherever there is ``msg``."""
    body = b64encode(message.body) if message.binary else message.body
    shown = {
        **columns,
        "msg": body.decode(errors="replace"),
        "bin": message.binary,
        "msg_mid": message.id,
        "msg_from": message.sender,
        "msg_timestamp": message.timestamp,
        "mention_all": message.mention_all,
        "mention_pids": list(message.mentions),
    }
    if message.patched_at:
        shown["patch_timestamp"] = message.patched_at
    return shown
