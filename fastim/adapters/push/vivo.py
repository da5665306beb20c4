"""vivo: its phones, and those of iQOO, over vivo push.

It shows notifications only: what an app is to show itself is refused. The app gets its own keys as strings, when the
notification is opened; there is room for 1,024 characters. A notification is a system message of the kind ``IM``, which
the limits on advertisements do not count. Source: vivo developer documentation, "Push server API" and "message
classification".
"""

import hashlib
import re
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

from fastim.adapters.http_client import Answer
from fastim.adapters.push.content import Content, as_texts, seconds_left
from fastim.adapters.push.http import DEADLINE_SECONDS
from fastim.adapters.push.makers import Code, Means, PhoneMaker, base, both_lines, check_together, code_of, cut, mapping
from fastim.adapters.push.tokens import AccessToken
from fastim.core.push import Notification
from fastim.ports.push import Dead, Outcome, Refused
from fastim.settings import Push

URL = "https://api-push.vivo.com.cn"
AUTH_TOKEN_SECONDS = 86_400.0
TTL_SECONDS_LEAST, TTL_SECONDS_MAX = 900, 604_800
TITLE_WIDTH_MAX, TEXT_WIDTH_MAX = 40, 100
"""What is not ASCII counts twice."""
SOUND_AND_VIBRATION = 4
OPEN_THE_APP = 1
SYSTEM_MESSAGE = 1
UNKNOWN = "1"

_IDS = uuid.UUID("9b3d3f0a-50b3-5b2b-9a0c-3b9d6d1a7f11")

CODES: Final = {
    "10000": Code(Means.TOKEN, "the access token is not valid"),
    "10040": Code(Means.BUSY, "the push service is busy"),
    "10070": Code(Means.QUOTA, "today's quota is used up"),
    "10071": Code(Means.ALONE, "nothing of this kind is sent at this time of day"),
    "10072": Code(Means.BUSY, "too many requests"),
    "10073": Code(Means.QUOTA, "today's quota of system messages is used up"),
    "10094": Code(Means.KEYS, "the access token is of another app"),
    "10302": Code(Means.DEAD, "the regId is not valid"),
}  # fmt: skip


def provider(settings: Push) -> "Vivo | None":
    """The way to vivo's phones; ``None`` without an app.

    Raises:
        SettingsError: What goes with the app's id is missing.
    """
    if not settings.vivo_app_id:
        return None
    check_together("push.vivo_app_id", vivo_app_key=settings.vivo_app_key, vivo_app_secret=settings.vivo_app_secret)
    return Vivo(settings.vivo_app_id, settings.vivo_app_key, settings.vivo_app_secret, settings.vivo_url)


class Vivo(PhoneMaker):
    """Fulfils the ``PushProvider`` port.

    Args:
        app_id: The app's.
        app_key: Goes with it.
        app_secret: Goes with it.
        url: Instead of vivo's address, or empty.
        deadline_seconds: For one notification, the access token included.
        now: Seconds since the epoch.
    """

    name = "vivo"
    vendors = frozenset({"vivo"})
    codes = CODES

    def __init__(
        self,
        app_id: str,
        app_key: str,
        app_secret: str,
        url: str = "",
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(deadline_seconds=deadline_seconds, now=now)
        # vivo has a number there.
        self._app_id: Final = int(app_id) if re.fullmatch("[1-9][0-9]{0,17}", app_id, re.ASCII) else app_id
        self._app_key: Final = app_key
        self._app_secret: Final = app_secret
        self._token_url: Final = f"{base(url, URL)}/message/auth"
        self._url: Final = f"{base(url, URL)}/message/send"

    async def _ask_token(self) -> AccessToken:
        timestamp = int(self._now() * 1_000)
        # vivo wants MD5; it proves who asks, and the connection keeps it from others.
        signed = f"{self._app_id}{self._app_key}{timestamp}{self._app_secret}".encode()
        sign = hashlib.md5(signed, usedforsecurity=False).hexdigest()
        body = {"appId": self._app_id, "appKey": self._app_key, "timestamp": timestamp, "sign": sign}
        answer = await self._post_json(self._token_url, body, {})
        told = answer.json()
        code = code_of(told.get("result"))
        if answer.status != 200 or code not in ("", "0"):
            says = f"{answer.status} {code}".rstrip() if answer.status != 200 else code
            busy = (known := self.codes.get(code)) is not None and known.means is Means.BUSY
            raise self._no_token(answer, says, keys=code != "" and not busy)
        return self._access_token(answer, told.get("authToken"), AUTH_TOKEN_SECONDS)

    async def _send(self, notification: Notification, content: Content, token: str) -> Outcome:
        lines = both_lines(content)
        if lines is None:
            return Refused("vivo shows notifications only, and this one has no text or is silent")
        body = self._message(notification, content, *lines) | {"regId": token}

        async def ask(access_token: str) -> Answer:
            return await self._post_json(self._url, body, {"authToken": access_token})

        answer = await self._with_token(ask, "result")
        told = answer.json()
        code = code_of(told.get("result"))
        if answer.status != 200 or code != "0":
            return self._outcome(answer, "" if code == "0" else code)
        status = code_of(mapping(told.get("invalidUser")).get("status"))
        if status == UNKNOWN:
            return Dead("0: the regId is not known")
        if status:
            return Refused("0: the device does not take notifications now: turned off, or not in use")
        return self._taken(told.get("taskId"))

    def _message(self, notification: Notification, content: Content, title: str, text: str) -> dict[str, Any]:
        left_seconds = seconds_left(notification, self._now())
        own = as_texts(content.own)
        return {
            "appId": self._app_id,
            "notifyType": SOUND_AND_VIBRATION,
            "title": cut(title, TITLE_WIDTH_MAX, wide=2),
            "content": cut(text, TEXT_WIDTH_MAX, wide=2),
            "timeToLive": min(max(left_seconds, TTL_SECONDS_LEAST), TTL_SECONDS_MAX),
            "skipType": OPEN_THE_APP,
            "networkType": -1,
            "classification": SYSTEM_MESSAGE,
            "category": "IM",
            "requestId": str(uuid.uuid5(_IDS, f"{notification.message_id} {notification.target}")),
        } | ({"clientCustomMap": own} if own else {})
