"""Commands: what a client can ask for, the same from every door.

Each is a frozen value. A field is ``None`` only where the protocol tells "not given" from a default.
"""

from msgspec import Struct

from fastim.core.message import Position
from fastim.core.units import Millis


class Signature(Struct, frozen=True):
    """A signature as it was sent.

    Attributes:
        timestamp: In the unit that the signer used; its decimal digits are what was signed.
    """

    timestamp: int
    nonce: str
    digest: str


class Command(Struct, frozen=True):
    """What all commands have in common: nothing but being one."""


class OpenSession(Command, frozen=True):
    """Open a session, or reopen one.

    Attributes:
        reconnect: The SDK comes back by itself: it must not push another device out.
        token: A session token from an earlier opening.
        config: ``None``: as it was at the last opening with this token; without one, ``CONFIG_UNSAID``.
        unread_since: ``notifTime`` of the last unread notification that the client saw.
        patched_since: Time of the last patch that the client saw.
    """

    reconnect: bool = False
    tag: str = ""
    device: str = ""
    token: str = ""
    config: int | None = None
    unread_since: Millis = Millis(0)
    patched_since: Millis = Millis(0)
    signature: Signature | None = None


class RefreshToken(Command, frozen=True):
    """Ask for a new session token; the open session is the authority, so the old one may have expired."""

    token: str = ""
    signature: Signature | None = None


class CloseSession(Command, frozen=True):
    """End the session on purpose."""


class QueryOnline(Command, frozen=True):
    """Which of these clients have an open session?"""

    client_ids: tuple[str, ...]


class StartConversation(Command, frozen=True):
    """Create a conversation, or find the one with the same members.

    Attributes:
        attributes: JSON object of top-level columns, or ``None``.
        ttl_seconds: Of a temporary conversation, ``None`` for the default.
        service: A service conversation, which only the application may start.
    """

    members: tuple[str, ...] = ()
    attributes: str | None = None
    unique: bool = False
    chat_room: bool = False
    temporary: bool = False
    ttl_seconds: int | None = None
    signature: Signature | None = None
    service: bool = False


class AddMembers(Command, frozen=True):
    """Invite clients, or join oneself."""

    conversation_id: str
    members: tuple[str, ...]
    signature: Signature | None = None


class RemoveMembers(Command, frozen=True):
    """Remove members, or leave oneself."""

    conversation_id: str
    members: tuple[str, ...]
    signature: Signature | None = None


class QueryConversations(Command, frozen=True):
    """Find conversations.

    Attributes:
        where: JSON condition; ``None`` or empty means those that the asker belongs to.
        sort: Comma-separated keys, ``-`` before one for descending.
        limit: ``None``: the default of 10.
        compact: Leave the member lists out.
        with_last_message: Put each conversation's last message in.
        temporary_ids: Ask for these temporary conversations instead.
    """

    where: str | None = None
    sort: str | None = None
    skip: int = 0
    limit: int | None = None
    compact: bool = False
    with_last_message: bool = False
    temporary_ids: tuple[str, ...] = ()


class UpdateConversation(Command, frozen=True):
    """Change attributes.

    Attributes:
        attributes: JSON object; keys may be dotted, values may be operations.
    """

    conversation_id: str
    attributes: str | None


class MuteConversation(Command, frozen=True):
    """Switch one's own offline push from a conversation off, or on again."""

    conversation_id: str
    muted: bool


class CountMembers(Command, frozen=True):
    """How many members has it?"""

    conversation_id: str


class CheckMembership(Command, frozen=True):
    """Is the asker a member of these?"""

    conversation_ids: tuple[str, ...]


class Send(Command, frozen=True):
    """Send a message.

    Attributes:
        body: UTF-8 text when not ``binary``.
        token: The client's ``dt``.
        size_bytes: The whole message as sent: body, push data and other extras.
        priority: 1 high, 2 normal, 3 low; counts in chat rooms only.
        sync: Whether the sender's own devices get it, too; the application may do without.
    """

    conversation_id: str
    body: bytes
    size_bytes: int
    binary: bool = False
    token: str = ""
    receipt: bool = False
    transient: bool = False
    will: bool = False
    push_data: str = ""
    mentions: tuple[str, ...] = ()
    mention_all: bool = False
    priority: int = 2
    sync: bool = True


class PatchMessage(Command, frozen=True):
    """Modify a message, or recall it.

    Attributes:
        position: The message's timestamp and id; both have to be right.
        recall: Take it back: what else is here does not count.
        size_bytes: The whole patch as sent.
    """

    conversation_id: str
    position: Position
    recall: bool = False
    body: bytes = b""
    binary: bool = False
    mentions: tuple[str, ...] = ()
    mention_all: bool = False
    size_bytes: int = 0


class QueryReceipts(Command, frozen=True):
    """How far have the others received and read?

    Attributes:
        all_members: Of each other member; else of the one other member.
    """

    conversation_id: str
    all_members: bool = False


class Acknowledge(Command, frozen=True):
    """A device has received messages: one by its id, or all of a range of timestamps, both ends included."""

    conversation_id: str
    message_id: str = ""
    since: Millis | None = None
    until: Millis | None = None


class ReadMark(Struct, frozen=True):
    """Up to where a conversation was read; ``None``: all of it."""

    conversation_id: str
    upto: Position | None = None


class MarkRead(Command, frozen=True):
    """Move read positions forward."""

    marks: tuple[ReadMark, ...]


class ReadHistory(Command, frozen=True):
    """Read back a conversation's messages.

    Attributes:
        start: Where to begin; ``None``: now when newest first, the beginning otherwise.
        end: Where to stop.
        limit: ``None``: the default of 20.
        message_type: Only messages with this ``_lctype``.
    """

    conversation_id: str
    start: Position | None = None
    end: Position | None = None
    start_included: bool = False
    end_included: bool = False
    newest_first: bool = True
    limit: int | None = None
    message_type: int | None = None


class ListOccupants(Command, frozen=True):
    """Some of those who are in a chat room now.

    Attributes:
        limit: ``None`` for the most there may be.
    """

    conversation_id: str
    limit: int | None = None


class SetRole(Command, frozen=True):
    """Give a member a role; ``role`` is as it was spelled."""

    conversation_id: str
    client_id: str
    role: str


class ListRoles(Command, frozen=True):
    """Which roles were given in a conversation?"""

    conversation_id: str


class ChangeSilence(Command, frozen=True):
    """Silence clients for good, or let them speak again."""

    conversation_id: str
    client_ids: tuple[str, ...]
    silenced: bool


class ChangeBlocks(Command, frozen=True):
    """Block clients, which removes them, or let them come back."""

    conversation_id: str
    client_ids: tuple[str, ...]
    blocked: bool
    signature: Signature | None = None


class Page(Struct, frozen=True):
    """A part of a list.

    Attributes:
        cursor: Where it begins: what the part before it ended with, or empty.
        limit: ``None``: the default of 10.
    """

    cursor: str = ""
    limit: int | None = None


class ListSilenced(Command, frozen=True):
    """Who is silenced for good?"""

    conversation_id: str
    page: Page = Page()


class ListBlocked(Command, frozen=True):
    """Who is blocked?"""

    conversation_id: str
    page: Page = Page()


class CheckSilenced(Command, frozen=True):
    """Which of these clients are silenced?"""

    conversation_id: str
    client_ids: tuple[str, ...]


class CheckBlocked(Command, frozen=True):
    """Which of these clients are blocked?"""

    conversation_id: str
    client_ids: tuple[str, ...]


class RefuseConversations(Command, frozen=True):
    """Let nobody add the asker to these conversations, or allow it again."""

    conversation_ids: tuple[str, ...]
    refused: bool
    signature: Signature | None = None


class ListRefused(Command, frozen=True):
    """Which conversations does the asker refuse to be added to?"""

    page: Page = Page()


class CheckRefused(Command, frozen=True):
    """Which of these conversations does the asker refuse to be added to?"""

    conversation_ids: tuple[str, ...]


class QueryNotices(Command, frozen=True):
    """What happened after that moment to the asker, and in its conversations?"""

    since: Millis


class Watch(Command, frozen=True):
    """Tell this session when these clients come and go."""

    client_ids: tuple[str, ...]


class Unwatch(Command, frozen=True):
    """Tell it no longer."""

    client_ids: tuple[str, ...]


class Echo(Command, frozen=True):
    """Are you there?"""


class Login(Command, frozen=True):
    """A device says hello before it opens sessions; LiveQuery clients (service 1) wait for the answer."""

    installation_id: str
    service: int | None


class ReportDevice(Command, frozen=True):
    """The device's push token, which is its identity from now on."""

    device: str


class Unknown(Command, frozen=True):
    """Something this server does not know; ``name`` is for the answer's detail."""

    name: str
