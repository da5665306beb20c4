"""The plain webhook: one POST for each offline member and message, and whoever gets it does the rest.

The body is JSON, ``{client_id, conv_id, msg_id, expires_at, data, devices}``: what is pushed (``data``), until when it
is worth it (``expires_at``, milliseconds since the epoch), and the member's devices, which may be none. 2xx takes it.
429 and every 5xx have it sent again later, 429 and 503 after ``Retry-After`` where that is said; whatever else refuses
it for good.
"""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import msgspec

from fastim.adapters.egress import connector
from fastim.adapters.http_client import HttpClient, NoAnswer
from fastim.adapters.push.http import DEADLINE_SECONDS, retry_after
from fastim.core.installation import Installation
from fastim.core.push import Notification
from fastim.ports.push import Later, Outcome, Refused, Sent

_HEADERS: Final = {"Content-Type": "application/json"}
_OVERLOADED: Final = frozenset((429, 503))


class WebhookProvider:
    """Fulfils the ``PushProvider`` port; the outbox gives it what is meant for a client and not for a device.

    Args:
        url: ``push.webhook``. It may hold a secret and is never said.
        guarded: The URL is not of the operator's settings, so only public addresses are posted to.
    """

    name = "webhook"

    def __init__(self, url: str, *, guarded: bool) -> None:
        self._url: Final = url
        self._client: Final = HttpClient(
            deadline_seconds=DEADLINE_SECONDS, connector=partial(connector, guarded=guarded, limit=0)
        )

    def carries(self, installation: Installation) -> bool:
        return False

    async def send(self, notification: Notification, devices: Sequence[Installation]) -> Outcome:
        body = body_of(notification, devices)
        if body is None:
            return Refused("what is pushed is not a JSON object")
        try:
            answer = await self._client.post(self._url, body, _HEADERS, body_counts=False)
        except NoAnswer as error:
            return Later(str(error))
        return _outcome(answer.status, retry_after(answer.headers, time.time()))

    async def close(self) -> None:
        await self._client.close()


def body_of(notification: Notification, devices: Sequence[Installation]) -> bytes | None:
    """What is posted; ``None`` when the notification's data is no JSON object."""
    try:
        data = msgspec.json.decode(notification.data, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return msgspec.json.encode(
        {
            "client_id": notification.client_id,
            "conv_id": notification.conversation_id,
            "msg_id": notification.message_id,
            "expires_at": notification.expires_at,
            "data": data,
            "devices": [_device(device) for device in devices],
        }
    )


def _device(installation: Installation) -> dict[str, Any]:
    return {
        "object_id": installation.id,
        "device_type": installation.kind,
        "vendor": installation.vendor,
        "device_token": installation.token,
        "installation_id": installation.installation_id,
        "registration_id": installation.registration_id,
        "device_profile": installation.profile,
        "apns_team_id": installation.team_id,
        "apns_topic": installation.topic,
        "badge": installation.badge,
        "time_zone": installation.columns.get("timeZone", ""),
    }


def _outcome(status: int, after_seconds: float | None) -> Outcome:
    says = f"status {status}"
    if 200 <= status < 300:
        return Sent(says)
    if status in _OVERLOADED:
        return Later(says, after_seconds)
    if status >= 500:
        return Later(says)
    return Refused(says)
