"""Web push: browsers, each through the service that it named when it subscribed.

What is pushed is encrypted for the browser (RFC 8291), and the service is told who sends (RFC 8292). The address comes
from a device: only public ones are gone to, and no trouble with one says anything about the others.
"""

import base64
import binascii
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from fastim.adapters.egress import connector
from fastim.adapters.http_client import Answer, HttpClient
from fastim.adapters.push import needs
from fastim.adapters.push.content import content_of, encoded, seconds_left
from fastim.adapters.push.http import DEADLINE_SECONDS, NotSent, ProviderClient, retry_after, within
from fastim.core.errors import SettingsError
from fastim.core.installation import Installation
from fastim.core.push import Notification
from fastim.ports.push import Dead, Later, Outcome, Refused, Sent
from fastim.settings import Push

BODY_BYTES_MAX = 4_096
"""What every push service has to take. Source: RFC 8030, section 7.2; RFC 8291, section 4."""
TEXT_BYTES_MAX = BODY_BYTES_MAX - 86 - 17
"""What is left after the header, the end mark and the seal."""
TTL_SECONDS_MAX = 2_419_200
CLAIM_SECONDS = 12 * 3_600
"""At most a day. Source: RFC 8292, section 2."""
CONTENT_TYPE = "application/octet-stream"


def provider(settings: Push) -> "WebPush | None":
    """The way to browsers; ``None`` without a key.

    Raises:
        SettingsError: The key cannot be used, the contact is missing, or packages are.
    """
    if not settings.web_key_file:
        return None
    needs.check_installed("push.web_key_file")
    return WebPush(settings.web_key_file, settings.web_contact)


class WebPush:
    """Fulfils the ``PushProvider`` port.

    Args:
        key_file: The private key whose public half browsers subscribed with, PEM.
        contact: ``mailto:`` or ``https:`` URL of whoever runs this.
        deadline_seconds: For one notification.
        guarded: Only ``https`` and public addresses.
        now: Seconds since the epoch.

    Raises:
        SettingsError: The key or the contact cannot be used.
    """

    name = "web"

    def __init__(
        self,
        key_file: str,
        contact: str,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        guarded: bool = True,
        now: Callable[[], float] = time.time,
    ) -> None:
        from fastim.adapters.push.signing import SigningKey

        if not contact.startswith(("mailto:", "https://")):
            raise SettingsError(
                "push.web_contact: push services want to know whom to write to: mailto:... or https://..."
            )
        pem = needs.read("push.web_key_file", key_file)
        self._key: Final = SigningKey(pem, "ES256", f"push.web_key_file: {key_file}")
        self._contact: Final = contact
        self._deadline_seconds: Final = deadline_seconds
        self._schemes: Final = ("https",) if guarded else ("https", "http")
        self._now: Final = now
        self._client: Final = ProviderClient(
            HttpClient(deadline_seconds=deadline_seconds, connector=partial(connector, guarded=guarded, limit=0))
        )

    def carries(self, installation: Installation) -> bool:
        return installation.kind == "web" and installation.token != ""

    async def send(self, notification: Notification, devices: Sequence[Installation]) -> Outcome:
        return _of_one(await within(self._deadline_seconds, self._send(notification, devices[0])))

    async def close(self) -> None:
        await self._client.close()

    async def _send(self, notification: Notification, device: Installation) -> Outcome:
        from fastim.adapters.push.encryption import NotAKey, encrypt

        origin, subscription = self._subscription(device.token)
        text = encoded(content_of(notification).data)
        if len(text) > TEXT_BYTES_MAX:
            return Refused(f"what is pushed has {len(text)} bytes, and push services take {TEXT_BYTES_MAX}")
        try:
            body = encrypt(text, _binary(subscription.keys.p256dh), _binary(subscription.keys.auth), BODY_BYTES_MAX)
        except NotAKey as error:
            raise NotSent(_not_a_subscription()) from error
        headers = {
            "Content-Type": CONTENT_TYPE,
            "Content-Encoding": "aes128gcm",
            "TTL": str(min(seconds_left(notification, self._now()), TTL_SECONDS_MAX)),
            "Urgency": "normal",  # what RFC 8030 has for chats; "low" waits for power, "high" is for calls
            "Authorization": self._vapid(origin),
        }
        return self._outcome(await self._client.post(subscription.endpoint, body, headers))

    def _subscription(self, token: str) -> tuple[str, "_Subscription"]:
        """The endpoint's origin, and what the browser gave."""
        try:
            subscription = msgspec.json.decode(token, type=_Subscription)
            endpoint = urlsplit(subscription.endpoint)
            port = "" if endpoint.port is None else f":{endpoint.port}"
        except (msgspec.DecodeError, UnicodeError, ValueError, RecursionError) as error:
            raise NotSent(_not_a_subscription()) from error
        host = endpoint.hostname
        if endpoint.scheme not in self._schemes or not host or endpoint.username is not None:
            raise NotSent(_not_a_subscription())
        return f"{endpoint.scheme}://{f'[{host}]' if ':' in host else host}{port}", subscription

    def _vapid(self, origin: str) -> str:
        claims = {"aud": origin, "exp": int(self._now()) + CLAIM_SECONDS, "sub": self._contact}
        public = base64.urlsafe_b64encode(self._key.public_point).rstrip(b"=").decode()
        return f"vapid t={self._key.sign(claims)}, k={public}"

    def _outcome(self, answer: Answer) -> Outcome:
        says = str(answer.status)
        match answer.status:
            case 200 | 201 | 202 | 204:
                return Sent()
            case 404 | 410:
                return Dead(says)
            case 413:
                return Refused(says)
            case 401 | 403:
                return Refused(f"{says}: the browser has subscribed with another key than push.web_key_file")
            case 400 | 405 | 406 | 411 | 414 | 415 | 431:
                return Refused(says)
            case _:
                return Later(says, retry_after(answer.headers, self._now()), whole=False)


class _Keys(Struct, frozen=True):
    p256dh: str
    auth: str


class _Subscription(Struct, frozen=True):
    """What ``PushSubscription.toJSON`` gives. Source: W3C, Push API."""

    endpoint: str
    keys: _Keys


def _of_one(outcome: Outcome) -> Outcome:
    """Trouble on the way to one service, which anybody may have named, is no reason to leave the others alone."""
    return Later(outcome.says, outcome.after_seconds, whole=False) if isinstance(outcome, Later) else outcome


def _not_a_subscription() -> Dead:
    return Dead("the token is not the JSON of a push subscription")


def _binary(text: str) -> bytes:
    """What Base64 for URLs, with or without its padding, stands for; what it cannot stand for is no key either."""
    try:
        return base64.urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
    except (binascii.Error, ValueError):
        return b""
