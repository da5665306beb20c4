"""OPPO: its phones, and those of OnePlus and realme, over OPPO PUSH.

It shows notifications only: what an app is to show itself is refused. The app gets all that is pushed as strings, when
the notification is opened. One that is sent again has the same ``app_message_id``, so OPPO shows it once. Source: OPPO
open platform, "OPPO PUSH server API": authentication, unicast, public parameters and return codes.
"""

import hashlib
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

from fastim.adapters.http_client import Answer
from fastim.adapters.push.content import Content, as_texts, encoded, seconds_left
from fastim.adapters.push.http import DEADLINE_SECONDS
from fastim.adapters.push.makers import Code, Means, PhoneMaker, base, both_lines, check_together, code_of, cut, mapping
from fastim.adapters.push.tokens import AccessToken
from fastim.core.push import Notification
from fastim.ports.push import Outcome, Refused
from fastim.settings import Push

URL = "https://api.push.oppomobile.com"
AUTH_TOKEN_SECONDS = 86_400.0
TTL_SECONDS_LEAST, TTL_SECONDS_MAX = 3_600, 864_000
TITLE_CHARACTERS_MAX = 50
SHORT_TEXT_CHARACTERS_MAX, LONG_TEXT_CHARACTERS_MAX = 50, 128
STANDARD, LONG_TEXT = 1, 2
BY_REGISTRATION_ID = 2
OPEN_THE_APP = 0

_IDS = uuid.UUID("0d4c5d0e-7a55-5d0e-8f5b-6f4b6f7f2a90")

CODES: Final = {
    "-2": Code(Means.BUSY, "the push service has too much to do"),
    "-1": Code(Means.BUSY, "the push service is out of order"),
    "11": Code(Means.TOKEN, "the access token is not valid"),
    "13": Code(Means.BUSY, "too many requests"),
    "14": Code(Means.KEYS, "the app's key is wrong"),
    "15": Code(Means.KEYS, "the app's key is missing"),
    "16": Code(Means.KEYS, "the master secret is wrong"),
    "19": Code(Means.KEYS, "this machine's clock is wrong"),
    "26": Code(Means.KEYS, "this machine's address may not push"),
    "27": Code(Means.KEYS, "the app may not do that"),
    "28": Code(Means.KEYS, "the app is turned off"),
    "29": Code(Means.TOKEN, "the access token is missing"),
    "30": Code(Means.KEYS, "the app may not push"),
    "33": Code(Means.QUOTA, "today's quota is used up"),
    "40": Code(Means.REFUSED, "a parameter is missing"),
    "41": Code(Means.REFUSED, "a parameter is wrong"),
    "55": Code(Means.BUSY, "too many requests"),
    "67": Code(Means.REFUSED, "the notification channel is of another kind"),
    "10000": Code(Means.DEAD, "the registration id is not valid"),
}  # fmt: skip


def provider(settings: Push) -> "Oppo | None":
    """The way to OPPO's phones; ``None`` without an app.

    Raises:
        SettingsError: What goes with the app's key is missing.
    """
    if not settings.oppo_app_key:
        return None
    check_together("push.oppo_app_key", oppo_master_secret=settings.oppo_master_secret)
    return Oppo(settings.oppo_app_key, settings.oppo_master_secret, settings.oppo_channel, settings.oppo_url)


class Oppo(PhoneMaker):
    """Fulfils the ``PushProvider`` port.

    Args:
        app_key: The app's.
        master_secret: Goes with it.
        channel: Id of the notification channel, or empty.
        url: Instead of OPPO's address, or empty.
        deadline_seconds: For one notification, the access token included.
        now: Seconds since the epoch.
    """

    name = "oppo"
    vendors = frozenset({"oppo"})
    codes = CODES

    def __init__(
        self,
        app_key: str,
        master_secret: str,
        channel: str = "",
        url: str = "",
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(deadline_seconds=deadline_seconds, now=now)
        self._app_key: Final = app_key
        self._master_secret: Final = master_secret
        self._channel: Final = channel
        self._token_url: Final = f"{base(url, URL)}/server/v1/auth"
        self._url: Final = f"{base(url, URL)}/server/v1/message/notification/unicast"

    async def _ask_token(self) -> AccessToken:
        timestamp = str(int(self._now() * 1_000))
        sign = hashlib.sha256(f"{self._app_key}{timestamp}{self._master_secret}".encode()).hexdigest()
        form = {"app_key": self._app_key, "timestamp": timestamp, "sign": sign}
        answer = await self._post_form(self._token_url, form, {})
        told = answer.json()
        code = code_of(told.get("code"))
        if answer.status != 200 or code not in ("", "0"):
            known = self.codes.get(code)
            says = f"{answer.status} {code}".rstrip() if answer.status != 200 else code
            keys = known is not None and known.means in (Means.KEYS, Means.TOKEN)
            raise self._no_token(answer, f"{says}: {known.says}" if known else says, keys=keys)
        return self._access_token(answer, mapping(told.get("data")).get("auth_token"), AUTH_TOKEN_SECONDS)

    async def _send(self, notification: Notification, content: Content, token: str) -> Outcome:
        lines = both_lines(content)
        if lines is None:
            return Refused("OPPO shows notifications only, and this one has no text or is silent")
        message = {
            "target_type": BY_REGISTRATION_ID,
            "target_value": token,
            "notification": self._notification(notification, content, *lines),
        }
        text = encoded(message).decode()

        async def ask(access_token: str) -> Answer:
            return await self._post_form(self._url, {"auth_token": access_token, "message": text}, {})

        answer = await self._with_token(ask, "code")
        told = answer.json()
        code = code_of(told.get("code"))
        if answer.status == 200 and code == "0":
            return self._taken(mapping(told.get("data")).get("messageId"))
        return self._outcome(answer, "" if code == "0" else code)

    def _notification(self, notification: Notification, content: Content, title: str, text: str) -> dict[str, Any]:
        left_seconds = seconds_left(notification, self._now())
        shown: dict[str, Any] = {
            "app_message_id": str(uuid.uuid5(_IDS, f"{notification.message_id} {notification.target}")),
            "style": STANDARD if len(text) <= SHORT_TEXT_CHARACTERS_MAX else LONG_TEXT,
            "title": cut(title, TITLE_CHARACTERS_MAX),
            "content": cut(text, LONG_TEXT_CHARACTERS_MAX),
            "click_action_type": OPEN_THE_APP,
            "action_parameters": encoded(as_texts(content.data)).decode(),
            "off_line": True,
            "off_line_ttl": min(max(left_seconds, TTL_SECONDS_LEAST), TTL_SECONDS_MAX),
        }
        return shown | {"channel_id": self._channel} if self._channel else shown
