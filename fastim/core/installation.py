"""Installations: one app on one device, where push reaches it. Source: REST reference, ``_Installation``; rule 10.8.

What becomes of a device when it is saved, linked to a client and unlinked again is decided here; who may do that, and
that no two have the same token, elsewhere.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from fastim.core.attributes import change_columns
from fastim.core.errors import FastimError, UpdateFailed
from fastim.core.units import Millis, iso

CHANNELS_MAX = 1_000
"""Channels of one installation."""

SUBSCRIBED_MAX = 1_000
"""Installations that are found by one channel, the newest: with the key that clients know, anybody can make up more."""

RECORD_BYTES_MAX = 16_384
"""JSON size of an installation: it is written anew with each push that counts up its badge."""

TOKEN_CHARACTERS_MAX = 4_096
"""Of ``deviceToken`` and ``registrationId``: browsers' subscriptions are the longest."""

NAME_CHARACTERS_MAX = 512
"""Of all else that has a meaning here, and of a channel."""

BADGE_MAX = 2**31 - 1
"""What phones count with."""

TOUCH_MILLIS = 86_400_000
"""How old ``updatedAt`` may be before a login is a reason to write it anew: it says that the device is in use."""

WRONG_TYPE, TOO_LARGE, NO_DEVICE, NO_EFFECT = 111, 116, 135, 305
"""Codes of the storage service."""


class Installation(Struct, frozen=True):
    """A device as it said of itself.

    Attributes:
        id: ``objectId``, 24 hex digits.
        kind: ``deviceType``: ``ios``, ``android``, ``web`` and whatever else an SDK calls itself, in lower case.
        token: ``deviceToken``: APNs' of an iOS device, a subscription's JSON text of a browser; or empty.
        installation_id: Android's own name of the installation, or empty.
        vendor: Whose push service an Android device has: ``fcm``, ``HMS``, ``mi``, ``oppo``, ``vivo``, ``honor`` and as
            SDKs spell them; empty for none.
        registration_id: ``registrationId``: the vendor's token, or empty.
        profile: ``deviceProfile``, or empty: an iOS device's ``dev`` means APNs' development environment.
        team_id: ``apnsTeamId``: the team that its app is of, or empty.
        topic: ``apnsTopic``: the app's bundle id, or empty.
        channels: What it is subscribed to: client ids, and whatever the app likes.
        badge: The number on the app's icon, as far as is known.
        valid: Whether its token works: a provider's word that it does not makes it ``False``.
        columns: Whatever else it has: ``timeZone``, and the app's own columns.
    """

    id: str
    kind: str
    created_at: Millis
    updated_at: Millis
    token: str = ""
    installation_id: str = ""
    vendor: str = ""
    registration_id: str = ""
    profile: str = ""
    team_id: str = ""
    topic: str = ""
    channels: tuple[str, ...] = ()
    badge: int = 0
    valid: bool = True
    columns: dict[str, Any] = {}

    def goes_by(self, name: str) -> bool:
        """Whether a session's device of that name is this one."""
        return name != "" and name in (self.installation_id, self.token)


class InvalidInstallation(FastimError):
    """It cannot be saved like that, and nothing was; the text says why, and shows nothing of what was to be saved.

    Args:
        code: The storage service's.
    """

    def __init__(self, text: str, code: int = WRONG_TYPE) -> None:
        super().__init__(text)
        self.code = code


def is_installation_id(text: str) -> bool:
    """Whether ``text`` has the shape of an ``objectId``."""
    return _ID.fullmatch(text) is not None


def device_names(update: Mapping[str, Any]) -> tuple[str, str]:
    """The ``installationId`` and the ``deviceToken`` that columns name, each empty where they do not."""
    named = (update.get("installationId"), update.get("deviceToken"))
    return _if_text(named[0]), _if_text(named[1])


def is_whole(update: Mapping[str, Any]) -> bool:
    """Whether columns say enough for an installation that there is none of yet."""
    return bool(_if_text(update.get("deviceType"))) and any(device_names(update))


def record(installation: Installation) -> dict[str, Any]:
    """The installation as a row, empty columns left out."""
    return {
        **_columns(installation),
        "objectId": installation.id,
        "createdAt": iso(installation.created_at),
        "updatedAt": iso(installation.updated_at),
    }


def save(
    before: Installation | None, new_id: str, update: Mapping[str, Any], now: Millis, *, privileged: bool = False
) -> Installation:
    """Return what an installation is after it was saved.

    Columns that are not named stay. A value may be an operation on what is there. A new token works until a provider
    says that it does not; nobody but the application itself says so of an old one, since Java sends back all that it
    was ever told.

    Args:
        before: What it was; ``None``: it is new, and ``new_id`` its id.
        update: Columns and values. The server's own are passed over, and what SDKs put in for their own use.
        privileged: It is the application itself that saves it.

    Raises:
        InvalidInstallation: There can be no such installation.
    """
    asked = {key: value for key, value in update.items() if key not in _NOT_COLUMNS and not key.startswith("__")}
    try:
        columns = change_columns(_columns(before) if before else {}, asked).columns
    except UpdateFailed as error:
        raise InvalidInstallation(str(error)) from None
    valid = columns.pop("valid", True)
    if not isinstance(valid, bool):
        raise InvalidInstallation("valid has to be true or false")
    saved = Installation(
        id=before.id if before else new_id,
        kind=_kind(columns),
        created_at=before.created_at if before else now,
        updated_at=Millis(max(now, before.updated_at)) if before else now,
        token=_text(columns, "deviceToken", TOKEN_CHARACTERS_MAX),
        installation_id=_text(columns, "installationId"),
        vendor=_text(columns, "vendor"),
        registration_id=_text(columns, "registrationId", TOKEN_CHARACTERS_MAX),
        profile=_text(columns, "deviceProfile"),
        team_id=_text(columns, "apnsTeamId"),
        topic=_text(columns, "apnsTopic"),
        channels=_channels(columns.pop("channels", None)),
        badge=_badge(columns.pop("badge", None)),
        columns=columns,
    )
    if not saved.token and not saved.installation_id:
        raise InvalidInstallation("an installation needs a deviceToken or an installationId", NO_DEVICE)
    if not (privileged and "valid" in asked):
        valid = before is None or before.valid or not has_token_of(saved, before)
    saved = replace(saved, valid=valid)
    if _size_bytes(saved) > RECORD_BYTES_MAX:
        raise InvalidInstallation(f"the installation would take more than {RECORD_BYTES_MAX} bytes", TOO_LARGE)
    return saved


def link(installation: Installation, client_id: str, now: Millis) -> Installation:
    """Subscribe it to the channel of a client; one that is full stays as it is. Source: semantics, rule 10.8."""
    if client_id in installation.channels:
        return _touched(installation, now) if now - installation.updated_at >= TOUCH_MILLIS else installation
    linked = replace(installation, channels=(*installation.channels, client_id))
    if len(linked.channels) > CHANNELS_MAX or _size_bytes(linked) > RECORD_BYTES_MAX:
        return installation
    return _touched(linked, now)


def unlink(installation: Installation, client_id: str, now: Millis) -> Installation:
    """Subscribe it to the channel of a client no longer."""
    if client_id not in installation.channels:
        return installation
    left = tuple(channel for channel in installation.channels if channel != client_id)
    return _touched(replace(installation, channels=left), now)


def has_token_of(installation: Installation, other: Installation) -> bool:
    """Whether both are reached by the same token."""
    return (installation.token, installation.registration_id) == (other.token, other.registration_id)


_ID: Final = re.compile("[0-9a-f]{24}")
_KIND: Final = re.compile("[a-z][a-z0-9_-]{0,31}")
_NOT_COLUMNS: Final = frozenset(("objectId", "createdAt", "updatedAt", "className"))
_TEXTS: Final = {
    "deviceToken": "token",
    "installationId": "installation_id",
    "vendor": "vendor",
    "registrationId": "registration_id",
    "deviceProfile": "profile",
    "apnsTeamId": "team_id",
    "apnsTopic": "topic",
}


def _columns(installation: Installation) -> dict[str, Any]:
    columns = {**installation.columns, "deviceType": installation.kind}
    columns |= {name: text for name, field in _TEXTS.items() if (text := getattr(installation, field))}
    columns["channels"] = list(installation.channels)
    if installation.badge:
        columns["badge"] = installation.badge
    columns["valid"] = installation.valid
    return columns


def _kind(columns: dict[str, Any]) -> str:
    kind = columns.pop("deviceType", None)
    if not isinstance(kind, str) or not _KIND.fullmatch(kind.lower()):
        raise InvalidInstallation("deviceType has to be a word such as ios, android or web", NO_DEVICE)
    return kind.lower()


def _text(columns: dict[str, Any], name: str, most: int = NAME_CHARACTERS_MAX) -> str:
    text = columns.pop(name, None)
    if text is None:
        return ""
    if not isinstance(text, str) or not text.isprintable():
        raise InvalidInstallation(f"{name} has to be a string of printable characters")
    if len(text) > most:
        raise InvalidInstallation(f"{name} has more than {most} characters", TOO_LARGE)
    return text


def _channels(channels: Any) -> tuple[str, ...]:
    if channels is None:
        return ()
    if not isinstance(channels, list) or not all(isinstance(one, str) and one.isprintable() for one in channels):
        raise InvalidInstallation("channels has to be an array of strings of printable characters")
    if any(len(one) > NAME_CHARACTERS_MAX for one in channels):
        raise InvalidInstallation(f"a channel has more than {NAME_CHARACTERS_MAX} characters", TOO_LARGE)
    different = tuple(dict.fromkeys(channels))
    if len(different) > CHANNELS_MAX:
        raise InvalidInstallation(f"more than {CHANNELS_MAX} channels", TOO_LARGE)
    return different


def _badge(badge: Any) -> int:
    if badge is None:
        return 0
    if isinstance(badge, bool) or not isinstance(badge, (int, float)) or badge != badge // 1:
        raise InvalidInstallation("badge has to be a whole number")
    if not 0 <= badge <= BADGE_MAX:
        raise InvalidInstallation(f"badge has to be from 0 to {BADGE_MAX}")
    return int(badge)


def _touched(installation: Installation, now: Millis) -> Installation:
    return replace(installation, updated_at=Millis(max(now, installation.updated_at)))


def _size_bytes(installation: Installation) -> int:
    return len(msgspec.json.encode(record(installation)))


def _if_text(value: Any) -> str:
    return value if isinstance(value, str) else ""
