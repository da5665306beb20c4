"""Events: what happened, for everyone concerned; published after it is on disk."""

from msgspec import Struct

from fastim.core.conversation import Kind
from fastim.core.message import Message
from fastim.core.standing import Role
from fastim.core.units import Millis


class Event(Struct, frozen=True):
    """What all events have in common: nothing but being one."""


class MessagePosted(Event, frozen=True):
    """A message, on its way to the members' sessions.

    Attributes:
        recipients: Members of the conversation, the sender among them; not looked at for a chat room, whose occupants
            get it.
        origin: Number of the session that sent it, which alone does not get it; 0 for none.
        transient: It is not stored: only those online now get it.
        priority: 1 high, 2 normal, 3 low; of a chat room's messages.
        sync: Whether the sender's own sessions get it, too.
    """

    conversation_id: str
    kind: Kind
    message: Message
    recipients: tuple[str, ...]
    origin: int
    transient: bool = False
    priority: int = 2
    sync: bool = True


class MessagePatched(Event, frozen=True):
    """A message was modified or recalled; ``message`` is as it is now.

    Attributes:
        recipients: As in ``MessagePosted``.
        origin: Number of the session that did it, which alone is not told; 0 for none.
        only: Number of the only session that is told, one of the message's sender's; 0: all are.
        code: Why, when it was not the sender's own doing: negative for what is built in, a hook's own positive code;
            0 otherwise.
        detail: Goes with ``code``.
    """

    conversation_id: str
    kind: Kind
    message: Message
    recipients: tuple[str, ...]
    origin: int
    only: int = 0
    code: int = 0
    detail: str = ""


class MissedPatch(Struct, frozen=True):
    """A message that was patched while a client was away."""

    conversation_id: str
    message: Message


class PatchesMissed(Event, frozen=True):
    """What was patched while a client was away, oldest first, for the session that just opened."""

    client_id: str
    session: int
    patches: tuple[MissedPatch, ...]


class MessagesQueued(Event, frozen=True):
    """Messages of one conversation that a client has not acknowledged, for a session that is pushed what it missed.

    Attributes:
        more: There are more, which follow when these are acknowledged.
    """

    client_id: str
    session: int
    conversation_id: str
    kind: Kind
    messages: tuple[Message, ...]
    more: bool


class MessagesMissed(Event, frozen=True):
    """Messages of high priority that were posted in a chat room while a session's device was away, oldest first."""

    client_id: str
    session: int
    conversation_id: str
    kind: Kind
    messages: tuple[Message, ...]


class MessagesReceipted(Event, frozen=True):
    """Messages of one sender were delivered to a member of their conversation, or read.

    Attributes:
        client_id: The sender, who is told.
        message_ids: Oldest first.
        upto: Every message until then was.
    """

    conversation_id: str
    client_id: str
    message_ids: tuple[str, ...]
    by: str
    at: Millis
    upto: Millis
    read: bool


class ConversationStarted(Event, frozen=True):
    """A conversation was created with these members."""

    conversation_id: str
    kind: Kind
    members: tuple[str, ...]
    by: str
    at: Millis
    ttl_seconds: int = 0


class MembersAdded(Event, frozen=True):
    """Clients became members.

    Attributes:
        added: Those who are new.
        members: All members after the change.
    """

    conversation_id: str
    kind: Kind
    added: tuple[str, ...]
    members: tuple[str, ...]
    by: str
    at: Millis


class MembersRemoved(Event, frozen=True):
    """Members left or were removed.

    Attributes:
        removed: Those who are members no longer.
        members: All members after the change.
    """

    conversation_id: str
    kind: Kind
    removed: tuple[str, ...]
    members: tuple[str, ...]
    by: str
    at: Millis


class ConversationUpdated(Event, frozen=True):
    """Attributes changed; ``asked`` and ``modified`` are JSON object text.

    Attributes:
        members: Not looked at for a chat room, whose occupants are told.
    """

    conversation_id: str
    members: tuple[str, ...]
    by: str
    origin: int
    at: Millis
    asked: bytes
    modified: bytes
    kind: Kind = Kind.NORMAL


class RoleChanged(Event, frozen=True):
    """A member has another role."""

    conversation_id: str
    client_id: str
    role: Role
    members: tuple[str, ...]
    by: str
    at: Millis


class SilenceChanged(Event, frozen=True):
    """Clients were silenced, or may speak again.

    Attributes:
        clients: Those whom it changed.
        members: All members.
    """

    conversation_id: str
    clients: tuple[str, ...]
    silenced: bool
    members: tuple[str, ...]
    by: str
    at: Millis


class BlocksChanged(Event, frozen=True):
    """Clients were blocked, or may come back. That they are members no longer is an event of its own.

    Attributes:
        clients: Those whom it changed.
        members: All members after the change.
    """

    conversation_id: str
    clients: tuple[str, ...]
    blocked: bool
    members: tuple[str, ...]
    by: str
    at: Millis


class UnreadNotice(Struct, frozen=True):
    """One conversation's unread count for one client.

    Attributes:
        count: As it is told: caps are applied.
        last: The conversation's last message, or ``None``.
    """

    conversation_id: str
    kind: Kind
    count: int
    mentioned: bool
    last: Message | None


class UnreadChanged(Event, frozen=True):
    """A client's unread counts, for all its sessions, or for the one that just opened.

    Attributes:
        session: Number of the only session concerned; 0 for all of the client's.
        at: Becomes the client's ``lastUnreadNotifTime``.
    """

    client_id: str
    notices: tuple[UnreadNotice, ...]
    at: Millis
    session: int = 0


class SessionEvicted(Event, frozen=True):
    """A session has to end because another took its place.

    Attributes:
        silently: The same device came back: its older connection is not told.
    """

    session: int
    client_id: str
    silently: bool


class ClientKicked(Event, frozen=True):
    """The application ended all sessions of a client that were open at that moment.

    Attributes:
        reason: In the application's own words, or empty.
        at: Sessions that were opened later are not meant.
    """

    client_id: str
    reason: str
    at: Millis
