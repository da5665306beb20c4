"""A client library for trio and asyncio, over the server's TCP door.

``connect`` is the way in; see ``docs/client.md``.
"""

from fastim.client.client import Client, connect
from fastim.client.conversation import Conversation
from fastim.client.errors import ClientClosed, ClientError, ConnectionLost, Refused, SessionEnded, UnexpectedReply
from fastim.client.events import (
    ConversationUpdated,
    Disconnected,
    Ended,
    Event,
    Joined,
    Left,
    MembersJoined,
    MembersLeft,
    MessageReceived,
    Receipt,
    Reconnected,
    UnreadChanged,
)
from fastim.client.values import Body, ConversationInfo, MemberChanges, Message, Place, Priority, Timing
from fastim.core.message import Position
from fastim.core.units import Millis

__all__ = [
    "Body",
    "Client",
    "ClientClosed",
    "ClientError",
    "ConnectionLost",
    "Conversation",
    "ConversationInfo",
    "ConversationUpdated",
    "Disconnected",
    "Ended",
    "Event",
    "Joined",
    "Left",
    "MemberChanges",
    "MembersJoined",
    "MembersLeft",
    "Message",
    "MessageReceived",
    "Millis",
    "Place",
    "Position",
    "Priority",
    "Receipt",
    "Reconnected",
    "Refused",
    "SessionEnded",
    "Timing",
    "UnexpectedReply",
    "UnreadChanged",
    "connect",
]
