"""What a client is told without having asked.

Events of conversations reach every device of everyone concerned, whoever caused them: who adds a member hears of it
too.
"""

from typing import Any

from msgspec import Struct

from fastim.client.values import Message
from fastim.core.standing import Role
from fastim.core.units import Millis


class Event(Struct, frozen=True):
    """What all events have in common: nothing but being one."""


class MessageReceived(Event, frozen=True):
    """A message by somebody else, or by another device of this client."""

    message: Message


class MessageModified(Event, frozen=True):
    """A message has another body now, be it this client's own, modified on another device or by the server.

    Comes live, and after a reconnection for what was modified meanwhile.

    Attributes:
        message: As it is now.
        code: Why, when it was not its sender's own doing: -4408 for the word filter, a positive code for a hook of the
            application; ``None`` otherwise.
        reason: Goes with ``code``.
    """

    message: Message
    code: int | None
    reason: str


class MessageRecalled(Event, frozen=True):
    """A message was taken back; like ``MessageModified`` otherwise."""

    message: Message
    code: int | None
    reason: str


class Joined(Event, frozen=True):
    """This client is a member now; ``by`` may be itself."""

    conversation_id: str
    by: str
    at: Millis


class Left(Event, frozen=True):
    """This client is a member no longer; ``by`` may be itself."""

    conversation_id: str
    by: str
    at: Millis


class MembersJoined(Event, frozen=True):
    """To all members, the new ones included: ``members`` are new."""

    conversation_id: str
    members: tuple[str, ...]
    by: str
    at: Millis


class MembersLeft(Event, frozen=True):
    """To those who remain: ``members`` have gone."""

    conversation_id: str
    members: tuple[str, ...]
    by: str
    at: Millis


class RoleChanged(Event, frozen=True):
    """``member`` has another role."""

    conversation_id: str
    member: str
    role: Role
    by: str
    at: Millis


class Silenced(Event, frozen=True):
    """This client may not send there any more."""

    conversation_id: str
    by: str
    at: Millis


class Unsilenced(Event, frozen=True):
    """This client may send there again."""

    conversation_id: str
    by: str
    at: Millis


class MembersSilenced(Event, frozen=True):
    """To all members: ``members`` may not send any more."""

    conversation_id: str
    members: tuple[str, ...]
    by: str
    at: Millis


class MembersUnsilenced(Event, frozen=True):
    """To all members: ``members`` may send again."""

    conversation_id: str
    members: tuple[str, ...]
    by: str
    at: Millis


class Blocked(Event, frozen=True):
    """This client may not be a member there; if it was one, ``Left`` comes, too."""

    conversation_id: str
    by: str
    at: Millis


class Unblocked(Event, frozen=True):
    """This client may be a member there again; it is none yet."""

    conversation_id: str
    by: str
    at: Millis


class MembersBlocked(Event, frozen=True):
    """To the members: ``members`` may not be among them."""

    conversation_id: str
    members: tuple[str, ...]
    by: str
    at: Millis


class MembersUnblocked(Event, frozen=True):
    """To the members: ``members`` may come back."""

    conversation_id: str
    members: tuple[str, ...]
    by: str
    at: Millis


class ConversationUpdated(Event, frozen=True):
    """Attributes changed.

    Attributes:
        asked: The update as it was asked for; keys may be dotted, values may be operations.
        modified: What came of it, nested; deleted keys are missing.
    """

    conversation_id: str
    asked: dict[str, Any]
    modified: dict[str, Any]
    by: str
    at: Millis


class UnreadChanged(Event, frozen=True):
    """How many messages of a conversation this client has not marked as read.

    Comes after each opening, for conversations with something unread, and when the client, on whichever device, has
    marked something as read. While online no such event goes with a message: whoever wants a live count adds one for
    each ``MessageReceived`` by somebody else.

    Attributes:
        count: Capped by the server, usually at 100.
        mentioned: Whether one of them mentions this client.
        last_message: The conversation's last, or ``None``.
    """

    conversation_id: str
    count: int
    mentioned: bool
    last_message: Message | None


class Receipt(Event, frozen=True):
    """A message of this client's that asked for receipts was delivered to ``by``, or ``read``."""

    conversation_id: str
    message_id: str
    by: str
    at: Millis
    read: bool


class MessagesShed(Event, frozen=True):
    """Messages of a chat room were left out, because this client did not take them as fast as they came.

    Comes when the client has caught up, and once a second while it has not. History has what was left out, but for
    transient messages.

    Attributes:
        high: How many of high priority; like the others, since the last such event.
        normal: How many of normal priority.
        low: How many of low priority.
    """

    conversation_id: str
    high: int
    normal: int
    low: int


class PresenceChanged(Event, frozen=True):
    """Clients who are watched have come online, or have gone.

    Comes within two seconds of it, and after a reconnection for whoever came or went meanwhile.
    """

    client_ids: tuple[str, ...]
    online: bool


class RoomLost(Event, frozen=True):
    """After a reconnection the server would not have this client in its chat room again: it is in none."""

    conversation_id: str
    code: int
    reason: str
    detail: str


class Disconnected(Event, frozen=True):
    """The connection is lost and the client tries to come back."""

    why: str


class Reconnected(Event, frozen=True):
    """The session is open again.

    Messages that came meanwhile are not sent again: ``UnreadChanged`` names the conversations, their history has them.
    What else happened meanwhile follows as events: members, attributes, roles, receipts, modified messages.
    """


class Ended(Event, frozen=True):
    """The last event of a client whose session the server has ended for good; see ``SessionEnded``."""

    code: int
    reason: str
    detail: str
