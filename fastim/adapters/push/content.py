"""What is pushed, as providers need it: the alert's two lines, and what is the app's own.

Source of the keys: LeanCloud, push guide, "message content".
"""

from typing import Any

import msgspec
from msgspec import Struct

from fastim.adapters.push.http import NotSent
from fastim.core.push import Notification
from fastim.ports.push import Refused

MEANT_FOR_THE_SYSTEM = frozenset(
    {
        "aps", "alert", "title", "badge", "sound", "silent",
        "category", "thread-id", "content-available", "mutable-content", "target-content-id", "interruption-level",
        "relevance-score", "filter-criteria", "url-args",
    }
)  # fmt: skip
"""Keys that say how a notification looks; every other one is the app's own."""


class Content(Struct, frozen=True):
    """A notification's data, taken apart.

    Attributes:
        title: Of the notification, or empty.
        body: Its text, or empty.
        silent: The app gets it and shows what it likes; the system shows nothing.
        badge: The number on the app's icon; ``None``: as it is.
        sound: A sound's name, or empty.
        data: The whole object.
    """

    title: str
    body: str
    silent: bool
    badge: int | None
    sound: str
    data: dict[str, Any]

    @property
    def own(self) -> dict[str, Any]:
        """What the app gets beside the notification: its own keys."""
        return {key: value for key, value in self.data.items() if key not in MEANT_FOR_THE_SYSTEM}


def content_of(notification: Notification) -> Content:
    """What is pushed.

    Raises:
        NotSent: The data is no JSON object.
    """
    try:
        data = msgspec.json.decode(notification.data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise NotSent(Refused("what is pushed is not a JSON object")) from error
    alert = data.get("alert")
    lines = alert if isinstance(alert, dict) else {"body": alert}
    badge = data.get("badge")
    return Content(
        title=_text(lines.get("title")) or _text(data.get("title")),
        body=_text(lines.get("body")),
        silent=data.get("silent") is True,
        badge=badge if isinstance(badge, int) and not isinstance(badge, bool) and badge >= 0 else None,
        sound=_text(data.get("sound")),
        data=data,
    )


def encoded(value: object) -> bytes:
    """``value`` as JSON.

    Raises:
        NotSent: It holds what JSON can be read from and not written to, such as a number of a thousand digits.
    """
    try:
        return msgspec.json.encode(value)
    except (msgspec.EncodeError, OverflowError, ValueError, RecursionError) as error:
        raise NotSent(Refused("what is pushed cannot be written as JSON")) from error


def as_texts(values: dict[str, Any]) -> dict[str, str]:
    """``values`` for providers that take nothing but strings: what is none becomes its JSON text.

    Raises:
        NotSent: See ``encoded``.
    """
    return {key: value if isinstance(value, str) else encoded(value).decode() for key, value in values.items()}


def seconds_left(notification: Notification, now: float) -> int:
    """How long it is worth keeping for a device that is off, in seconds; 0 once it is not.

    Args:
        now: Seconds since the epoch.
    """
    return max(0, int(notification.expires_at / 1_000 - now))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
