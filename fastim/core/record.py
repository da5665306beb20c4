"""A conversation as JSON: what queries match against and answer with."""

from base64 import b64encode
from typing import Any

from fastim.core.conversation import Conversation, Kind
from fastim.core.message import Message
from fastim.core.units import iso
from fastim.core.unread import Head


def record(conversation: Conversation, head: Head, client_id: str) -> dict[str, Any]:
    """The columns of ``conversation`` as ``client_id`` sees it. Source: wire protocol, result objects of conv/query."""
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
    if conversation.unique_key is not None:
        columns["unique"], columns["uniqueId"] = True, conversation.unique_key
    flag = _FLAGS.get(conversation.kind)
    if flag is not None:
        columns[flag] = True
    return columns


_FLAGS = {Kind.CHAT_ROOM: "tr", Kind.SYSTEM: "sys", Kind.TEMPORARY: "temp"}


def with_last_message(columns: dict[str, Any], message: Message) -> dict[str, Any]:
    """``columns`` with the conversation's last message; C# needs ``bin`` wherever there is ``msg``."""
    body = b64encode(message.body) if message.binary else message.body
    return {
        **columns,
        "msg": body.decode(errors="replace"),
        "bin": message.binary,
        "msg_mid": message.id,
        "msg_from": message.sender,
        "msg_timestamp": message.timestamp,
        "mention_all": message.mention_all,
        "mention_pids": list(message.mentions),
    }
