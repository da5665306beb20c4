"""Xiaomi: its phones, over Mi Push.

The app gets all that is pushed as JSON text in ``payload``, which is where LeanCloud's SDK looks. Source: Xiaomi,
"Mi Push, server-side HTTP API" and its table of error codes.
"""

import re
import time
from collections.abc import Callable
from typing import Final

from fastim.adapters.push.content import Content, encoded, seconds_left
from fastim.adapters.push.http import DEADLINE_SECONDS
from fastim.adapters.push.makers import Code, Means, PhoneMaker, base, both_lines, check_together, code_of, cut, mapping
from fastim.core.push import Notification
from fastim.ports.push import Dead, Later, Outcome
from fastim.settings import Push

URL = "https://api.xmpush.xiaomi.com"
TTL_SECONDS_MAX = 1_209_600
TITLE_CHARACTERS_MAX = 49
TEXT_CHARACTERS_MAX = 127

FAILED = "20301"
"""A message could not be sent; the words that come along say why."""
_NO_SUCH_DEVICE = re.compile(r"no valid target|invalid (target|regist\w* ?id|regid)", re.IGNORECASE)
_ENOUGH_FOR_TODAY = re.compile(r"quota|daily|today|per day|当日|每日|今日|日限", re.IGNORECASE)
"""A day's quota has no code that is documented, so Xiaomi's words decide."""

CODES: Final = {
    "10001": Code(Means.BUSY, "an error of the push service's own"),
    "10002": Code(Means.BUSY, "the push service is stopped"),
    "10003": Code(Means.BUSY, "an error of the push service's own"),
    "10004": Code(Means.KEYS, "this machine's address may not push"),
    "10005": Code(Means.KEYS, "the app may not do that"),
    "10008": Code(Means.REFUSED, "a parameter is wrong"),
    "10009": Code(Means.BUSY, "the push service is busy"),
    "10012": Code(Means.REFUSED, "a request that is not allowed"),
    "10014": Code(Means.KEYS, "the app may not do that"),
    "10016": Code(Means.REFUSED, "a parameter is missing"),
    "10017": Code(Means.REFUSED, "a parameter is wrong"),
    "10018": Code(Means.REFUSED, "it is too long"),
    "10022": Code(Means.BUSY, "too many requests"),
    "10023": Code(Means.BUSY, "too many requests"),
    "10024": Code(Means.BUSY, "too many requests"),
    "10026": Code(Means.KEYS, "the app is not allowed to push"),
    "10027": Code(Means.BUSY, "too many requests"),
    "10029": Code(Means.DEAD, "there is no such device"),
    FAILED: Code(Means.REFUSED, "it could not be sent"),
    "21301": Code(Means.KEYS, "the app's secret is wrong"),
    "22000": Code(Means.KEYS, "there is no such app"),
    "22001": Code(Means.KEYS, "there is no such app"),
    "22002": Code(Means.KEYS, "the app was taken back"),
    "22006": Code(Means.KEYS, "the app's id is wrong"),
    "22007": Code(Means.KEYS, "the app's key is wrong"),
    "22008": Code(Means.KEYS, "the app's secret is wrong"),
    "22022": Code(Means.KEYS, "the app's package has another name"),
    "22100": Code(Means.REFUSED, "the notification is not built as it should be"),
    "22101": Code(Means.BUSY, "too many notifications"),
}  # fmt: skip


def provider(settings: Push) -> "Xiaomi | None":
    """The way to Xiaomi's phones; ``None`` without an app.

    Raises:
        SettingsError: What goes with the app's secret is missing.
    """
    if not settings.xiaomi_app_secret:
        return None
    check_together("push.xiaomi_app_secret", xiaomi_package=settings.xiaomi_package)
    return Xiaomi(settings.xiaomi_app_secret, settings.xiaomi_package, settings.xiaomi_channel, settings.xiaomi_url)


class Xiaomi(PhoneMaker):
    """Fulfils the ``PushProvider`` port.

    Args:
        app_secret: The app's.
        package: Its name.
        channel: Id of the notification channel, or empty.
        url: Instead of Xiaomi's address, or empty.
        deadline_seconds: For one notification.
        now: Seconds since the epoch.
    """

    name = "xiaomi"
    vendors = frozenset({"mi", "xiaomi"})
    codes = CODES

    def __init__(
        self,
        app_secret: str,
        package: str,
        channel: str = "",
        url: str = "",
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(deadline_seconds=deadline_seconds, now=now)
        self._app_secret: Final = app_secret
        self._package: Final = package
        self._channel: Final = channel
        self._url: Final = f"{base(url, URL)}/v3/message/regid"

    async def _send(self, notification: Notification, content: Content, token: str) -> Outcome:
        left_seconds = min(max(seconds_left(notification, self._now()), 1), TTL_SECONDS_MAX)
        form = self._form(content, token, left_seconds)
        answer = await self._post_form(self._url, form, {"Authorization": f"key={self._app_secret}"})
        told = answer.json()
        code = code_of(told.get("code"))
        if answer.status == 200 and code == "0" and told.get("result", "ok") == "ok":
            return self._taken(mapping(told.get("data")).get("id"))
        words = " ".join(word for key in ("reason", "description") if isinstance(word := told.get(key), str))
        if code == FAILED and _NO_SUCH_DEVICE.search(words):
            return Dead(f"{code}: there is no such device for this app")
        if code and (code not in CODES or code == FAILED) and _ENOUGH_FOR_TODAY.search(words):
            return Later(f"{code}: today's quota is used up", self._until_tomorrow())
        return self._outcome(answer, "" if code == "0" else code)

    def _form(self, content: Content, token: str, left_seconds: int) -> dict[str, str]:
        form = {
            "registration_id": token,
            "restricted_package_name": self._package,
            "payload": encoded(content.data).decode(),
            "time_to_live": str(left_seconds * 1_000),
            "pass_through": "1",
        }
        lines = both_lines(content)
        if lines is not None:
            form |= {
                "pass_through": "0",
                "title": cut(lines[0], TITLE_CHARACTERS_MAX),
                "description": cut(lines[1], TEXT_CHARACTERS_MAX),
                "notify_type": "-1",  # sound, vibration and light as the device has them
                "extra.notify_effect": "1",  # opens the app
            }
        if self._channel:
            form["extra.channel_id"] = self._channel
        return form
