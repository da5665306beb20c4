"""Events: what happened, for everyone concerned; published after it is on disk."""

from msgspec import Struct

from fastim.core.conversation import Kind
from fastim.core.message import Message
from fastim.core.units import Millis


class Event(Struct, frozen=True):
    """What all events have in common: nothing but being one."""


class MessagePosted(Event, frozen=True):
    """A message, on its way to the members' sessions.

    Attributes:
        recipients: Members of the conversation, the sender among them.
        origin: Number of the session that sent it, which alone does not get it; 0 for none.
        transient: It is not stored: only those online now get it.
    """

    conversation_id: str
    kind: Kind
    message: Message
    recipients: tuple[str, ...]
    origin: int
    transient: bool = False


class ConversationStarted(Event, frozen=True):
    """A conversation was created with these members."""

    conversation_id: str
    kind: Kind
    members: tuple[str, ...]
    by: str
    at: Millis


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
    """Attributes changed; ``asked`` and ``modified`` are JSON object text."""

    conversation_id: str
    members: tuple[str, ...]
    by: str
    origin: int
    at: Millis
    asked: bytes
    modified: bytes


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
