"""APNs: Apple's devices, over HTTP/2, with a key for each team.

What is pushed becomes the payload as LeanCloud makes it: the keys that Apple knows go into ``aps``, all others beside
it. Source of the answers' meaning: Apple, "Handling notification responses from APNs".
"""

import re
import ssl
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import structlog

from fastim.adapters.http_client import Answer
from fastim.adapters.push import needs
from fastim.adapters.push.content import Content, content_of, encoded
from fastim.adapters.push.http import DEADLINE_SECONDS, NotSent, retry_after, within
from fastim.core.installation import Installation
from fastim.core.push import Notification
from fastim.ports.push import Dead, Later, Outcome, Refused, Sent
from fastim.settings import ApnsTeam, Push

if TYPE_CHECKING:
    from fastim.adapters.push.http2 import Http2Client
    from fastim.adapters.push.signing import SigningKey

PRODUCTION = "https://api.push.apple.com"
DEVELOPMENT = "https://api.sandbox.push.apple.com"
PAYLOAD_BYTES_MAX = 4_096
TOKEN_SECONDS = 3_000
"""How long a provider token is used. Apple takes it for an hour, and a new one no more often than every 20 minutes."""
RENEWAL_SECONDS_LEAST = 1_200

_APS = (
    "badge", "sound", "category", "thread-id", "content-available", "mutable-content", "target-content-id",
    "interruption-level", "relevance-score", "filter-criteria", "url-args",
)  # fmt: skip
_IDS = uuid.UUID("5b1f0f5c-6f0e-5c55-9c6b-0d9a3f0a7c11")
"""The names of notifications are made within it: one that is sent again has the same ``apns-id``."""

_log = structlog.get_logger(__name__)


def provider(settings: Push) -> "Apns | None":
    """The way to Apple's devices; ``None`` without keys.

    Raises:
        SettingsError: A key cannot be used, or packages are missing.
    """
    if not settings.apns:
        return None
    needs.check_installed("push.apns")
    return Apns(settings.apns, settings.apns_url)


class Apns:
    """Fulfils the ``PushProvider`` port.

    Args:
        teams: Their keys; the first is for devices that name no team.
        url: Instead of Apple's two addresses, or empty.
        deadline_seconds: For one notification.
        tls: Whom to trust; ``None``: the system's authorities.
        now: Seconds since the epoch.

    Raises:
        SettingsError: A key cannot be used.
    """

    name = "apns"

    def __init__(
        self,
        teams: Sequence[ApnsTeam],
        url: str = "",
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        tls: ssl.SSLContext | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        from fastim.adapters.push.signing import SigningKey

        self._url: Final = url
        self._deadline_seconds: Final = deadline_seconds
        self._tls: Final = ssl.create_default_context() if tls is None else tls
        self._now: Final = now
        self._teams: Final[dict[str, _Team]] = {}
        for team in teams:
            pem = needs.read("push.apns: key_file", team.key_file)
            key = SigningKey(pem, "ES256", f"push.apns: key_file: {team.key_file}")
            self._teams.setdefault(team.team_id, _Team(team, key, now))
        self._first: Final = next(iter(self._teams.values()))
        self._clients: Final[dict[tuple[str, bool], Http2Client]] = {}
        self._closed = False

    def carries(self, installation: Installation) -> bool:
        return installation.kind == "ios" and installation.token != ""

    async def send(self, notification: Notification, devices: Sequence[Installation]) -> Outcome:
        return await within(self._deadline_seconds, self._send(notification, devices[0]))

    async def close(self) -> None:
        self._closed = True
        for client in self._clients.values():
            await client.close()

    async def _send(self, notification: Notification, device: Installation) -> Outcome:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,400}", device.token, re.ASCII):
            return Dead("not a device token")
        team_id = notification.team_id or device.team_id
        team = self._teams.get(team_id) if team_id else self._first
        if team is None:
            return Refused("there is no key for the team of the device: push.apns")
        topic = device.topic or team.topic
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,255}", topic, re.ASCII):
            return Refused("the topic is not the id of an app")
        content = content_of(notification)
        payload, shown = _payload(content)
        body = encoded(payload)
        if len(body) > PAYLOAD_BYTES_MAX:
            return Refused(f"the payload has {len(body)} bytes, and APNs takes {PAYLOAD_BYTES_MAX}")
        development = "dev" in (notification.profile, device.profile)
        headers = {
            "content-type": "application/json",
            "apns-topic": topic,
            "apns-push-type": "alert" if shown else "background",
            "apns-priority": "10" if shown else "5",
            "apns-expiration": str(int(notification.expires_at // 1_000)),
            "apns-id": str(uuid.uuid5(_IDS, f"{notification.message_id} {notification.target}")),
        }
        client = self._client(team, development)
        answer = await self._ask(client, team, f"/3/device/{device.token}", body, headers)
        return self._outcome(answer, team, device, development, headers["apns-id"])

    async def _ask(
        self, client: "Http2Client", team: "_Team", path: str, body: bytes, headers: Mapping[str, str]
    ) -> Answer:
        bearer = team.bearer()
        answer = await client.post(path, body, {**headers, "authorization": f"bearer {bearer}"})
        if answer.status == 403 and _reason(answer) == "ExpiredProviderToken":
            renewed = team.bearer(turned_down=bearer)
            if renewed != bearer:
                return await client.post(path, body, {**headers, "authorization": f"bearer {renewed}"})
        return answer

    def _client(self, team: "_Team", development: bool) -> "Http2Client":
        from fastim.adapters.push.http2 import Http2Client

        if self._closed:
            raise NotSent(Later("closed"))
        client = self._clients.get((team.id, development))
        if client is None:
            url = self._url or (DEVELOPMENT if development else PRODUCTION)
            client = self._clients[team.id, development] = Http2Client(url, self._tls)
        return client

    def _outcome(self, answer: Answer, team: "_Team", device: Installation, development: bool, apns_id: str) -> Outcome:
        reason = _reason(answer)
        says = f"{answer.status} {reason}".rstrip()
        after = retry_after(answer.headers, self._now())
        match answer.status, reason:
            case 200, _:
                team.complained = False
                return Sent(apns_id)
            case (400, "BadDeviceToken") if development and device.profile != "dev":
                # Only what is pushed speaks of development: nothing is said about the token in production.
                return Refused(f"{says}: the token is not one of the development environment")
            case (400, "DeviceTokenNotForTopic") if not device.topic:
                # The topic is the operator's guess. Were it wrong, every device would be lost.
                return Refused(f"{says}: the device does not say its apnsTopic, and push.apns names another app")
            case (410, _) | (400, "BadDeviceToken" | "Unregistered" | "DeviceTokenNotForTopic"):
                return Dead(says)
            case (429, "TooManyRequests" | ""):
                return Later(says, after, whole=False)
            case (400, "IdleTimeout"):
                return Later(says, after, whole=False)
            case (400, _) if reason:
                return Refused(says)
            case 413, _:
                return Refused(says)
            case 403 | 429, _:
                team.complain(reason)
                # Other teams, and the other environment, have nothing to do with it.
                return Later(says, after, whole=len(self._teams) == 1 and not development)
            case _:
                # An answer that is not APNs' own is somebody's who stands between, and passes.
                return Later(says, after, whole=not development)


class _Team:
    """A team's key, and the token that is made with it.

    Attributes:
        complained: It is in the log that APNs does not take the key; said once until it does again.
    """

    def __init__(self, settings: ApnsTeam, key: "SigningKey", now: Callable[[], float]) -> None:
        self.id: Final = settings.team_id
        self.topic: Final = settings.topic
        self.complained = False
        self._key_id: Final = settings.key_id
        self._key: Final = key
        self._now: Final = now
        self._bearer = ""
        self._issued = 0.0
        self._turned_down = float("-inf")

    def bearer(self, *, turned_down: str = "") -> str:
        """The token to show.

        Args:
            turned_down: One that APNs calls expired. It is given again where one was made for that reason a short
                while ago: then this machine's clock is wrong, and APNs minds too many tokens.
        """
        now = self._now()
        if turned_down and turned_down == self._bearer and not 0 <= now - self._turned_down < RENEWAL_SECONDS_LEAST:
            self._turned_down = now
            self._bearer = ""
        if not self._bearer or not 0 <= now - self._issued < TOKEN_SECONDS:
            self._issued = now
            self._bearer = self._key.sign({"iss": self.id, "iat": int(now)}, {"kid": self._key_id})
        return self._bearer

    def complain(self, reason: str) -> None:
        if not self.complained:
            self.complained = True
            _log.error("APNs does not take the key of a team", team=self.id, reason=reason)


def _payload(content: Content) -> tuple[dict[str, Any], bool]:
    """What the device gets, and whether its user notices."""
    given = content.data.get("aps")
    aps: dict[str, Any] = dict(given) if isinstance(given, dict) else {}
    aps |= {key: content.data[key] for key in _APS if key in content.data}
    alert = content.data.get("alert")
    if isinstance(alert, dict) and alert:
        aps["alert"] = alert
    elif content.body:
        aps["alert"] = {"title": content.title, "body": content.body} if content.title else content.body
    if content.badge is None:
        aps.pop("badge", None)
    shown = any(aps.get(key) not in (None, "", {}) for key in ("alert", "badge", "sound"))
    if not shown:
        aps["content-available"] = 1  # without it the app would never hear of it
    return {**content.own, "aps": aps}, shown


def _reason(answer: Answer) -> str:
    """APNs' word for what is wrong, or empty: then the answer is not its own."""
    reason = answer.json().get("reason")
    return reason if isinstance(reason, str) and re.fullmatch(r"[A-Za-z]{1,64}", reason, re.ASCII) else ""
