"""Sessions: one opened client id on one connection."""

from enum import IntEnum, IntFlag

from msgspec import Struct
from msgspec.structs import replace

from fastim.core.units import Millis

DEFAULT_TAG = "default"
LABEL_MAX_CHARACTERS = 512
"""Of a tag, or of what names a device: push tokens are the longest."""


class Config(IntFlag):
    """What a client's ``configBitmap`` says that it can do. Source: wire protocol, configBitmap."""

    PATCHES = 1
    TEMPORARY_CONVERSATIONS = 2
    BIND_INSTALLATION = 4
    TRANSIENT_ACKS = 8
    KEEP_NOTIFICATIONS = 16
    PARTIAL_FAILURE = 32
    GROUP_RECEIPTS = 64
    OMIT_PEER_ID = 128
    GAP_NOTICES = 1 << 32


CONFIG_UNSAID = (
    Config.PATCHES
    | Config.TEMPORARY_CONVERSATIONS
    | Config.TRANSIENT_ACKS
    | Config.PARTIAL_FAILURE
    | Config.OMIT_PEER_ID
)
"""What a client can do that says nothing and has no token: C# when it reopens, and it waits for acks all the same.

Source: wire protocol, open and configBitmap.
"""


class OfflineMode(IntEnum):
    """How a connection wants to hear of what it missed: the last number of its subprotocol."""

    PUSH = 1
    UNREAD = 3


class Ending(IntEnum):
    """How a session ended, numbered as hooks are told. Source: semantics, ``_clientOffline``."""

    CLOSED = 1
    """Its client has closed it."""
    LOST = 2
    """Its connection is gone, or its device has come back on another one."""
    CONFLICT = 3
    """Another device of the client's has opened one with the same tag."""
    KICKED = 4
    """The application has ended it."""


class Grant(Struct, frozen=True, array_like=True):
    """What a session token stands for: enough to reopen a session without tag, device or signature.

    Attributes:
        tag: Empty when none was given.
        device: The device's identity.
        config: The last ``configBitmap`` that was sent, as an integer.
        expires_at: When it can no longer open a session or call REST; refreshing an open session still works.
    """

    tag: str
    device: str
    config: int
    expires_at: Millis


class Session(Struct, frozen=True):
    """An open session.

    Attributes:
        number: Different for each session of this node; 0 for the application itself.
        address: The IP address that it came from, or empty.
        privileged: The application itself asks, by the master key: it may do what no client may.
    """

    number: int
    client_id: str
    tag: str
    device: str
    config: Config
    offline_mode: OfflineMode
    opened_at: Millis
    address: str = ""
    privileged: bool = False

    def on_device(self, device: str) -> "Session":
        """The same session, its device known by another name."""
        return replace(self, device=device)


def office(client_id: str = "", address: str = "") -> Session:
    """The application itself, which no device connects.

    Args:
        client_id: In whose name it acts; empty: in nobody's.
    """
    return Session(0, client_id, "", "", Config(0), OfflineMode.UNREAD, Millis(0), address, privileged=True)


def in_conflict(one: Session, tag: str, device: str) -> bool:
    """Whether an opening with ``tag`` on ``device`` excludes session ``one`` of the same client.

    No tag, or ``default``, excludes nobody. Source: semantics, rules 12.2 and 12.3.
    """
    return tag not in ("", DEFAULT_TAG) and one.tag == tag and one.device != device


def replaces(one: Session, device: str) -> bool:
    """Whether an opening on ``device`` is the same device coming back: its older session ``one`` goes silently."""
    return device != "" and one.device == device
