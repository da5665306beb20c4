"""HMS: Huawei's phones, over Push Kit's HTTPS API, version 1.

The app gets all that is pushed as JSON text: LeanCloud's SDK reads it from a message's data, and a notification that is
opened hands it over. HarmonyOS NEXT (5 and later) wants another API and is not reached. Source: HUAWEI Developers,
"Push Kit, REST APIs: sending messages" and its result codes.
"""

import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

import msgspec

from fastim.adapters.http_client import Answer
from fastim.adapters.push.content import Content, as_texts, encoded, seconds_left
from fastim.adapters.push.http import DEADLINE_SECONDS
from fastim.adapters.push.makers import (
    Code,
    Means,
    PhoneMaker,
    base,
    both_lines,
    check_together,
    code_of,
    mapping,
)
from fastim.adapters.push.tokens import AccessToken
from fastim.core.push import Notification
from fastim.ports.push import Dead, Outcome
from fastim.settings import Push

TOKEN_URL = "https://oauth-login.cloud.huawei.com"
URL = "https://push-api.cloud.huawei.com"
TTL_SECONDS_MAX = 1_296_000

TAKEN, PARTLY, ALL_INVALID = "80000000", "80100000", "80300007"
OPEN_THE_APP = 3

CODES: Final = {
    "80100001": Code(Means.REFUSED, "a parameter is wrong"),
    "80100003": Code(Means.REFUSED, "the message is not built as it should be"),
    "80100004": Code(Means.REFUSED, "it expires in the past"),
    "80100013": Code(Means.REFUSED, "a parameter is wrong"),
    "80100016": Code(Means.REFUSED, "its text is held to be sensitive"),
    "80100018": Code(Means.REFUSED, "its text was not approved"),
    "80200001": Code(Means.TOKEN, "the access token is not one of this app"),
    "80200003": Code(Means.TOKEN, "the access token has expired"),
    # Said of an app that may not push, and of a device of another one.
    "80300002": Code(Means.ALONE, "the app may not push to this device: is Push Kit turned on for it?"),
    ALL_INVALID: Code(Means.DEAD, "the device's token is not valid"),
    "80300008": Code(Means.REFUSED, "it is longer than 4096 bytes"),
    "80300010": Code(Means.REFUSED, "there is no token"),
    "80300011": Code(Means.REFUSED, "the app may not push with high priority"),
    "80300013": Code(Means.REFUSED, "the address for receipts is wrong"),
    "80300028": Code(Means.REFUSED, "the device's token is of another app"),
    "80300037": Code(Means.KEYS, "the app is not allowed to push for a while"),
    "80600003": Code(Means.KEYS, "the access token could not be checked"),
    "81000001": Code(Means.BUSY, "an error of the push service's own"),
}  # fmt: skip
"""What both Huawei and Honor, which comes from it, say."""


def provider(settings: Push) -> "Hms | None":
    """The way to Huawei's phones; ``None`` without an app.

    Raises:
        SettingsError: What goes with the app's id is missing.
    """
    if not settings.hms_app_id:
        return None
    check_together("push.hms_app_id", hms_app_secret=settings.hms_app_secret)
    return Hms(settings.hms_app_id, settings.hms_app_secret, settings.hms_url)


class Hms(PhoneMaker):
    """Fulfils the ``PushProvider`` port.

    Args:
        app_id: The app's, which is its OAuth client's as well.
        app_secret: The client's.
        url: Instead of Huawei's two addresses, or empty.
        deadline_seconds: For one notification, the access token included.
        now: Seconds since the epoch.
    """

    name = "hms"
    vendors = frozenset({"hms", "huawei"})
    codes = CODES

    def __init__(
        self,
        app_id: str,
        app_secret: str,
        url: str = "",
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(deadline_seconds=deadline_seconds, now=now)
        self._app_id: Final = app_id
        self._app_secret: Final = app_secret
        self._token_url: Final = f"{base(url, TOKEN_URL)}/oauth2/v3/token"
        self._url: Final = f"{base(url, URL)}/v1/{quote(app_id, safe='')}/messages:send"

    async def _ask_token(self) -> AccessToken:
        return await self._oauth_token(self._token_url, self._app_id, self._app_secret)

    async def _send(self, notification: Notification, content: Content, token: str) -> Outcome:
        message = _message(content, min(max(seconds_left(notification, self._now()), 1), TTL_SECONDS_MAX))
        body = {"validate_only": False, "message": message | {"token": [token]}}

        async def ask(access_token: str) -> Answer:
            return await self._post_json(self._url, body, {"Authorization": f"Bearer {access_token}"})

        answer = await self._with_token(ask, "code")
        told = answer.json()
        code = code_of(told.get("code"))
        if answer.status == 200 and code == PARTLY and token in _illegal(told.get("msg")):
            return Dead(f"{PARTLY}: {CODES[ALL_INVALID].says}")
        if answer.status == 200 and code in (TAKEN, PARTLY):
            return self._taken(told.get("requestId"))
        return self._outcome(answer, code)


def _message(content: Content, ttl_seconds: int) -> dict[str, Any]:
    android: dict[str, Any] = {"ttl": f"{ttl_seconds}s"}
    lines = both_lines(content)
    if lines is None:
        return {"data": encoded(content.data).decode(), "android": android}
    title, body = lines
    android["notification"] = {"title": title, "body": body, "click_action": {"type": OPEN_THE_APP}}
    # What an activity is opened with are strings.
    extras = encoded(as_texts(content.data)).decode()
    return {"data": extras, "notification": {"title": title, "body": body}, "android": android}


def _illegal(message: object) -> list[Any]:
    """The tokens of which Huawei says that they are not valid, in JSON text within its answer."""
    if not isinstance(message, str):
        return []
    try:
        found = mapping(msgspec.json.decode(message)).get("illegal_tokens")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return []
    return found if isinstance(found, list) else []
