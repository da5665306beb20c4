"""Hooks written in Python: an operator's own code, asked and told by the server that runs it beside itself.

A module defines hooks by decorating functions, one for each hook, and is named by the setting ``hooks.python``::

    from fastim.hooks import MessageAnswer, MessageReceived, drop, message_received

    @message_received
    def no_shouting(message: MessageReceived) -> MessageAnswer | None:
        return drop(1, "do not shout") if message.content.isupper() else None

A function is ordinary or async, takes the call and gives the answer; ``None`` changes nothing. What calls and answers
mean is said with their types, ``docs/hooks.md`` says it at length. The functions run in a process of their own, many at
once: ordinary ones in threads, async ones on the one loop of that process, which they must not block.
"""

from fastim.core.hooks import (
    Answer,
    Call,
    ClientOffline,
    ClientOnline,
    ClientSign,
    ConversationAdd,
    ConversationAdded,
    ConversationAnswer,
    ConversationRemove,
    ConversationRemoved,
    ConversationStart,
    ConversationStarted,
    ConversationUpdate,
    MessageAnswer,
    MessageReceived,
    MessageSent,
    MessageUpdate,
    OfflineAnswer,
    ReceiversOffline,
    SignAnswer,
    UpdateAnswer,
)
from fastim.hooks.answers import drop, reject
from fastim.hooks.definitions import (
    client_offline,
    client_online,
    client_sign,
    conversation_add,
    conversation_added,
    conversation_remove,
    conversation_removed,
    conversation_start,
    conversation_started,
    conversation_update,
    message_received,
    message_sent,
    message_update,
    receivers_offline,
)

__all__ = [
    "Answer",
    "Call",
    "ClientOffline",
    "ClientOnline",
    "ClientSign",
    "ConversationAdd",
    "ConversationAdded",
    "ConversationAnswer",
    "ConversationRemove",
    "ConversationRemoved",
    "ConversationStart",
    "ConversationStarted",
    "ConversationUpdate",
    "MessageAnswer",
    "MessageReceived",
    "MessageSent",
    "MessageUpdate",
    "OfflineAnswer",
    "ReceiversOffline",
    "SignAnswer",
    "UpdateAnswer",
    "client_offline",
    "client_online",
    "client_sign",
    "conversation_add",
    "conversation_added",
    "conversation_remove",
    "conversation_removed",
    "conversation_start",
    "conversation_started",
    "conversation_update",
    "drop",
    "message_received",
    "message_sent",
    "message_update",
    "receivers_offline",
    "reject",
]
