"""Honor: its phones, over the HTTPS API of HONOR Push.

The app gets all that is pushed as JSON text. Source: HONOR Developers, "Push: downlink message" and its result codes,
which are those that Huawei has.
"""

import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

from fastim.adapters.http_client import Answer
from fastim.adapters.push.content import Content, as_texts, encoded, seconds_left
from fastim.adapters.push.hms import CODES, TAKEN
from fastim.adapters.push.http import DEADLINE_SECONDS
from fastim.adapters.push.makers import PhoneMaker, base, both_lines, check_together, code_of, mapping
from fastim.adapters.push.tokens import AccessToken
from fastim.core.push import Notification
from fastim.ports.push import Dead, Outcome, Refused
from fastim.settings import Push

TOKEN_URL = "https://iam.developer.honor.com"
URL = "https://push-api.cloud.honor.com"
TTL_SECONDS_MAX = 1_296_000

OPEN_THE_APP = 3
CHATS_AND_SERVICES = "NORMAL"
"""How notifications are told from advertisements, which make no sound."""


def provider(settings: Push) -> "Honor | None":
    """The way to Honor's phones; ``None`` without an app.

    Raises:
        SettingsError: What goes with the app's id is missing.
    """
    if not settings.honor_app_id:
        return None
    check_together(
        "push.honor_app_id",
        honor_client_id=settings.honor_client_id,
        honor_client_secret=settings.honor_client_secret,
    )
    return Honor(settings.honor_app_id, settings.honor_client_id, settings.honor_client_secret, settings.honor_url)


class Honor(PhoneMaker):
    """Fulfils the ``PushProvider`` port.

    Args:
        app_id: The app's.
        client_id: Of its OAuth client.
        client_secret: Goes with it.
        url: Instead of Honor's two addresses, or empty.
        deadline_seconds: For one notification, the access token included.
        now: Seconds since the epoch.
    """

    name = "honor"
    vendors = frozenset({"honor"})
    codes = CODES

    def __init__(
        self,
        app_id: str,
        client_id: str,
        client_secret: str,
        url: str = "",
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(deadline_seconds=deadline_seconds, now=now)
        self._client_id: Final = client_id
        self._client_secret: Final = client_secret
        self._token_url: Final = f"{base(url, TOKEN_URL)}/auth/token"
        self._url: Final = f"{base(url, URL)}/api/v1/{quote(app_id, safe='')}/sendMessage"

    async def _ask_token(self) -> AccessToken:
        return await self._oauth_token(self._token_url, self._client_id, self._client_secret)

    async def _send(self, notification: Notification, content: Content, token: str) -> Outcome:
        ttl_seconds = min(max(seconds_left(notification, self._now()), 1), TTL_SECONDS_MAX)
        body = _message(content, ttl_seconds) | {"token": [token]}

        async def ask(access_token: str) -> Answer:
            headers = {"Authorization": f"Bearer {access_token}", "timestamp": str(int(self._now() * 1_000))}
            return await self._post_json(self._url, body, headers)

        answer = await self._with_token(ask, "code")
        told = answer.json()
        code = code_of(told.get("code"))
        if answer.status != 200 or code not in ("200", TAKEN):
            return self._outcome(answer, code)
        more = mapping(told.get("data"))
        if _names(more.get("expireTokens"), token):
            return Dead(f"{code}: the device's token has expired")
        if _names(more.get("failTokens"), token) or more.get("sendResult") is False:
            return Refused(f"{code}: it was not sent, and no reason is given")
        return self._taken(more.get("requestId") or told.get("requestId"))


def _message(content: Content, ttl_seconds: int) -> dict[str, Any]:
    android: dict[str, Any] = {"ttl": f"{ttl_seconds}s"}
    lines = both_lines(content)
    if lines is None:
        return {"data": encoded(content.data).decode(), "android": android}
    title, body = lines
    android["notification"] = {
        "title": title,
        "body": body,
        "clickAction": {"type": OPEN_THE_APP},
        "importance": CHATS_AND_SERVICES,
    }
    # What an activity is opened with are strings.
    extras = encoded(as_texts(content.data)).decode()
    return {"data": extras, "notification": {"title": title, "body": body}, "android": android}


def _names(tokens: object, token: str) -> bool:
    return isinstance(tokens, list) and token in tokens
