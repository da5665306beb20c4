"""Push: who is reached while offline, with what, and until when. Source: semantics, sections 10 and 11.

A *job* is one message whose receivers were offline, as it is kept in the message's own commit. A *notification* is what
one target is to be sent: a device, or, of the plain webhook, a client.
"""

import json
import math
import re
from functools import lru_cache
from typing import Any

from msgspec import Struct

from fastim.core.installation import Installation
from fastim.core.units import Millis

EXPIRY_MILLIS = 7 * 24 * 3_600_000
"""How long a notification is worth sending. Source: semantics, rule 10.7."""

CONTENT_MAX_BYTES = 16_384
"""Content that is longer says nothing: it is kept for each device, and no push service takes more than 5 KB."""

PRODUCTION = "prod"
DEVELOPMENT = "dev"


class Job(Struct, frozen=True, array_like=True):
    """A message whose receivers were offline when it was sent.

    Attributes:
        message_id: Names the job; ids sort by time.
        log_id: Where the message is.
        timestamp: The message's, which finds it there.
        offline: Receivers who were offline; empty where ``to_subscribers``.
        content: What the message's sender wants pushed, JSON text or plain text; empty: nothing of its own.
        to_subscribers: It is for those subscribers of a service conversation who are offline when its turn comes.
        muted_too: Whoever muted the conversation gets it, too.
        reached: Subscribers up to this client id, in the order of UTF-8, have had their turn.
        sequence: The message's in its log, which finds it sooner; 0: each receiver has a copy, in a log of its own.
    """

    message_id: str
    conversation_id: str
    log_id: str
    timestamp: Millis
    offline: tuple[str, ...]
    content: str = ""
    to_subscribers: bool = False
    muted_too: bool = False
    reached: str = ""
    sequence: int = 0


class Notification(Struct, frozen=True, array_like=True):
    """What one target is to be sent.

    Attributes:
        target: Names who gets it: its notifications go out in the order of their messages.
        client_id: The receiver.
        installation_id: The device's ``objectId``; empty for the plain webhook.
        data: What is pushed, JSON object text, without what only says how (``_profile``, ``_apns_team_id``).
        expires_at: It is dropped then.
        profile: APNs' environment, ``prod`` or ``dev``.
        team_id: Only devices of this team get it; empty: all.
    """

    target: str
    message_id: str
    conversation_id: str
    client_id: str
    installation_id: str
    data: str
    expires_at: Millis
    profile: str = PRODUCTION
    team_id: str = ""


class Occasion(Struct, frozen=True):
    """What an application's static content may refer to. Source: semantics, rule 10.3.

    Attributes:
        timestamp: When the push was triggered, which is when the message was sent.
        sender: Client id, or empty.
    """

    conversation_id: str
    timestamp: Millis
    sender: str


class Content(Struct, frozen=True):
    """What is pushed, for devices of every kind.

    Attributes:
        fields: With the platform objects, without the inner attributes.
        profile: APNs' environment, ``prod`` or ``dev``.
        team_id: Which team's Apple devices get it; empty: all.
    """

    fields: dict[str, Any]
    profile: str = PRODUCTION
    team_id: str = ""


class Payload(Struct, frozen=True):
    """What one device is sent.

    Attributes:
        data: JSON object text.
        badge: What the device's badge is from now on; ``None``: as it was.
    """

    data: str
    badge: int | None = None


def chosen(hooked: str | None, own: str, static: str, occasion: Occasion) -> Content | None:
    """What is pushed: what a hook says, else what the message says, else what the application says; ``None``: nothing.

    A source that is blank, ``null`` or longer than ``CONTENT_MAX_BYTES`` says nothing. Source: semantics, rules 10.2
    to 10.4.

    Args:
        hooked: The answer of ``_receiversOffline``; ``None`` when it gave no content.
        own: The message's ``pushData``.
        static: The application's; here alone ``${convId}``, ``${timestamp}`` (seconds) and ``${fromClientId}`` are
            replaced.
    """
    for text in (hooked, own):
        fields = _fields(text) if text else None
        if fields is not None:
            return _content(fields)
    template = _template(static)
    return _content(_filled_in(template.fields, occasion)) if isinstance(template, _Template) else template


def carried(content: Content, device: Installation) -> Payload | None:
    """What ``device`` is sent of ``content``; ``None``: nothing.

    The object of its own platform goes before what is for all. A badge is for iOS alone: a number, or ``Increment``
    for one more than it was; what is neither is left out. Source: semantics, rules 10.4 to 10.6.
    """
    if not _is_for(content, device):
        return None
    fields = {name: value for name, value in content.fields.items() if name not in _PLATFORMS}
    special = content.fields.get(device.kind) if device.kind in _PLATFORMS else None
    if isinstance(special, dict):
        fields |= special
    asked = fields.pop("badge", None)
    shown = _next_badge(asked, device.badge) if device.kind == _IOS else None
    if shown is not None:
        fields["badge"] = shown
    return Payload(_text(fields), shown) if fields else None


def whole(content: Content) -> str:
    """All of it as JSON text, platform objects and all, for whoever makes notifications of it; empty for nothing."""
    return _text(content.fields) if content.fields else ""


_IOS = "ios"
_PLATFORMS = (_IOS, "android", "wp")
"""Fields for one kind of device; Windows Phone's go nowhere, its service has ended."""

_INNER = ("_profile", "_apns_team_id")
_INCREMENT = "Increment"
_BADGE_MAX = 2**31 - 1
_NESTED_MAX = 64
"""Levels of a JSON text that is taken as such: whoever reads it later should not have to fear for its stack."""

_VARIABLE = re.compile(r"\$\{(convId|timestamp|fromClientId)\}")

_STATIC_REMEMBERED = 64
"""Applications seldom have another content; each of theirs takes some KB at most."""


class _Template(Struct, frozen=True):
    """Content with variables in it."""

    fields: dict[str, Any]


@lru_cache(_STATIC_REMEMBERED)
def _template(static: str) -> _Template | Content | None:
    """What an application's content comes to, worked out once: every message asks."""
    fields = _fields(static)
    if fields is None:
        return None
    return _Template(fields) if _VARIABLE.search(static) or "\\" in static else _content(fields)


def _fields(text: str) -> dict[str, Any] | None:
    """``text`` as an object; other text is the alert, as SDKs let apps give it. ``None``: it says nothing."""
    if not text.strip() or len(text.encode(errors="replace")) > CONTENT_MAX_BYTES:
        return None
    try:
        found = _READER.decode(text)
    except (ValueError, RecursionError):
        return {"alert": text}
    if isinstance(found, str):
        return {"alert": found} if found.strip() else None
    if isinstance(found, dict) and _is_shallow(found, _NESTED_MAX):
        return found
    return None if found is None else {"alert": text}


def _finite(number: str) -> float:
    """``number``, which JSON could not say again if it were none or too large."""
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(number)
    return value


_READER = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)
_WRITER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def _is_shallow(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inside = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(one, levels - 1) for one in inside)


def _content(fields: dict[str, Any]) -> Content:
    """Inner attributes say how to push, and count at the top alone; inside of platform objects they say nothing."""
    team_id = fields.get("_apns_team_id")
    return Content(
        fields={
            name: _outer(value) if name in _PLATFORMS and isinstance(value, dict) else value
            for name, value in _outer(fields).items()
        },
        profile=DEVELOPMENT if fields.get("_profile") == DEVELOPMENT else PRODUCTION,
        team_id=team_id if isinstance(team_id, str) else "",
    )


def _outer(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in _INNER}


def _filled_in(value: Any, occasion: Occasion) -> Any:
    """``value`` with the variables in its strings replaced; names of fields stay, and what is put in is not read."""
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: _said(found[1], occasion), value)
    if isinstance(value, dict):
        return {name: _filled_in(one, occasion) for name, one in value.items()}
    return [_filled_in(one, occasion) for one in value] if isinstance(value, list) else value


def _said(variable: str, occasion: Occasion) -> str:
    match variable:
        case "convId":
            return occasion.conversation_id
        case "timestamp":
            return str(occasion.timestamp // 1000)
        case _:
            return occasion.sender


def _is_for(content: Content, device: Installation) -> bool:
    """Teams are Apple's. A device that does not say its team is tried with the one that is named."""
    if device.kind != _IOS or not content.team_id:
        return True
    return device.team_id in ("", content.team_id)


def _next_badge(asked: Any, badge: int) -> int | None:
    if asked == _INCREMENT:
        return min(max(badge, 0) + 1, _BADGE_MAX)
    return asked if type(asked) is int and 0 <= asked <= _BADGE_MAX else None


def _text(fields: dict[str, Any]) -> str:
    """JavaScript cuts strings in the middle of a character, and says so in escapes: half of one becomes ``?``."""
    text = _WRITER.encode(fields)
    return text if text.isascii() else text.encode(errors="replace").decode()
