"""What ``fastim push test`` does: one notification to one device, straight through its provider, and what came of it.

No server is asked, and nothing is written: a device whose token is dead stays as it is.
"""

import asyncio
import json
import time
import uuid
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import structlog
from msgspec import Struct

from fastim.adapters.lmdb.devices import find_devices
from fastim.adapters.push import fcm
from fastim.adapters.push.hms import Hms
from fastim.adapters.push.honor import Honor
from fastim.adapters.push.oppo import Oppo
from fastim.adapters.push.vivo import Vivo
from fastim.adapters.push.ways import ways
from fastim.adapters.push.xiaomi import Xiaomi
from fastim.core.application import Application
from fastim.core.errors import SettingsError
from fastim.core.installation import Installation
from fastim.core.push import DEVELOPMENT, PRODUCTION, Notification
from fastim.core.units import Millis
from fastim.ports.push import Dead, Later, Outcome, PushProvider, Refused, Sent
from fastim.settings import Push

KINDS = ("ios", "android", "web")
TITLE = "fastim"
TEXT = "A push to try it out"
EXPIRY_SECONDS = 3_600


class Tried(Struct, frozen=True):
    """What came of it.

    Attributes:
        rows: A word and what there is to say on it, for people; no secret and no token is in it.
    """

    sent: bool
    rows: list[tuple[str, str]]


def stored_device(path: Path, name: str) -> tuple[Application, Installation]:
    """An installation in a data directory, which a server may be using.

    Args:
        name: Its ``objectId``, or its ``installationId``.

    Raises:
        SettingsError: There is no such store or installation, or it is not the only one.
    """
    found = find_devices(path, name)
    if not found:
        raise SettingsError(f"--installation: {path} has none with that objectId or installationId")
    if len(found) > 1:
        raise SettingsError(f"--installation: {len(found)} applications in {path} have that one: give its objectId")
    return found[0]


def device_of(token: str, kind: str, *, vendor: str = "", topic: str = "", profile: str = "") -> Installation:
    """A device that nobody has stored.

    Raises:
        SettingsError: There is no such device.
    """
    if kind not in KINDS:
        raise SettingsError(f"--type: give one of {', '.join(KINDS)}")
    if not token.strip():
        raise SettingsError("--token: it is empty")
    moment = Millis(0)
    return Installation("0" * 24, kind, moment, moment, token.strip(), vendor=vendor, topic=topic, profile=profile)


def try_out(settings: Push, device: Installation, text: str = TEXT, profile: str = "") -> Tried:
    """Send it.

    Args:
        profile: APNs' environment, ``dev`` or ``prod``; empty: the device's own.

    Raises:
        SettingsError: There are no keys for such a device, or they cannot be used.
    """
    if profile not in ("", DEVELOPMENT, PRODUCTION):
        raise SettingsError(f"--profile: give {DEVELOPMENT} or {PRODUCTION}")
    providers = ways(settings)
    provider = next((one for one in providers if one.carries(device)), None)
    if provider is None:
        raise SettingsError(_why_nobody(device))
    # What providers log is in the answer.
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    data = json.dumps({"title": TITLE, "alert": text}, ensure_ascii=False)
    notification = Notification(
        target="push test",
        message_id=uuid.uuid4().hex,
        conversation_id="",
        client_id="",
        installation_id=device.id,
        data=data,
        expires_at=Millis(int((time.time() + EXPIRY_SECONDS) * 1_000)),
        profile=profile or PRODUCTION,
    )
    outcome = asyncio.run(_send(providers, provider, notification, device))
    known = _SERVICES[provider.name]
    address = _without_secrets(getattr(settings, known.url, "")) or known.address
    rows = [
        ("to", _describe(device)),
        ("through", f"{known.called}, {address}"),
        ("sent", data),
        ("answer", _answer(outcome)),
        ("means", _meaning(outcome, known.called)),
    ]
    if advice := _advice(outcome, known, address):
        rows.append(("do", advice))
    if not device.valid:
        rows.append(("note", "The server sends nothing to this installation: its token was found dead before."))
    return Tried(isinstance(outcome, Sent), rows)


async def _send(
    providers: list[PushProvider], provider: PushProvider, notification: Notification, device: Installation
) -> Outcome:
    try:
        return await provider.send(notification, [device])
    finally:
        for one in providers:
            await one.close()


class _Service(Struct, frozen=True):
    """A push service, as it is talked about.

    Attributes:
        url: The setting that puts another address in its place, or none.
        keys: The settings that hold its keys.
        often: What is wrong most often when it does not work.
    """

    called: str
    address: str
    url: str
    keys: str
    often: str


_SERVICES: Final = {
    "apns": _Service(
        "Apple's APNs", "api.push.apple.com, or api.sandbox.push.apple.com for dev", "apns_url", "push.apns",
        "A token of an app that Xcode installed is one of the development environment: try --profile dev. The topic has"
        " to be the app's bundle id, and the key one of its team.",
    ),
    "fcm": _Service(
        "Google's FCM", "fcm.googleapis.com", "fcm_url", "push.fcm_account_file",
        "The account has to be of the Firebase project that the app's google-services.json is of.",
    ),
    "hms": _Service(
        "Huawei's Push Kit", "push-api.cloud.huawei.com", "hms_url", "push.hms_app_id and push.hms_app_secret",
        "Push Kit has to be turned on for the app in AppGallery Connect, and the token has to be of that app.",
    ),
    "xiaomi": _Service(
        "Xiaomi's Mi Push", "api.xmpush.xiaomi.com", "xiaomi_url", "push.xiaomi_app_secret and push.xiaomi_package",
        "The secret is the AppSecret, not the AppKey. Devices outside of China need push.xiaomi_url.",
    ),
    "oppo": _Service(
        "OPPO PUSH", "api.push.oppomobile.com", "oppo_url", "push.oppo_app_key and push.oppo_master_secret",
        "The secret is the MasterSecret, not the AppSecret. Devices outside of China need push.oppo_url.",
    ),
    "vivo": _Service(
        "vivo push", "api-push.vivo.com.cn", "vivo_url", "push.vivo_app_id, push.vivo_app_key and push.vivo_app_secret",
        "vivo turns down texts that look like a test, and has an app push only once it is in its store.",
    ),
    "honor": _Service(
        "HONOR Push", "push-api.cloud.honor.com", "honor_url",
        "push.honor_app_id, push.honor_client_id and push.honor_client_secret",
        "Client id and secret are those of the push service, not of the app.",
    ),
    "web": _Service(
        "the browser's push service", "where the subscription says", "", "push.web_key_file",
        "The browser has to have subscribed with the public half of this key.",
    ),
}  # fmt: skip

_ANDROID: Final = (
    (fcm.VENDORS, "push.fcm_account_file"),
    (Hms.vendors, "push.hms_app_id"),
    (Xiaomi.vendors, "push.xiaomi_app_secret"),
    (Oppo.vendors, "push.oppo_app_key"),
    (Vivo.vendors, "push.vivo_app_id"),
    (Honor.vendors, "push.honor_app_id"),
)

_ON_THE_WAY: Final = frozenset(
    (
        "no answer in time",
        "no connection",
        "no TLS that can be trusted",
        "the answer is not HTTP",
        "the connection was cut",
        "the name cannot be resolved",
    )
)


def _why_nobody(device: Installation) -> str:
    """Why no provider carries it: its keys are not there, or it has no token."""
    if device.kind == "ios":
        setting = "push.apns"
    elif device.kind == "web":
        setting = "push.web_key_file"
    elif device.kind == "android":
        setting = next((setting for vendors, setting in _ANDROID if device.vendor.lower() in vendors), "")
        if not setting:
            known = ", ".join(sorted(vendor for vendors, _ in _ANDROID for vendor in vendors if vendor))
            return f"there is no push service for the vendor {device.vendor}; known are {known}"
    else:
        return f"there is no push service for devices of the type {device.kind}"
    return f"nothing is sent to {_describe(device)}: that needs {setting}, and a token"


def _describe(device: Installation) -> str:
    token = device.registration_id or device.token
    article = "an" if device.kind in ("android", "ios") else "a"
    of = f" of {device.vendor}" if device.vendor else ""
    return f"{article} {device.kind} device{of}, token of {len(token)} characters"


def _answer(outcome: Outcome) -> str:
    match outcome:
        case Sent(says):
            return f"taken, {says}" if says else "taken"
        case Dead(says):
            return f"the token is dead: {says}"
        case Refused(says):
            return f"refused: {says}"
        case Later(says, after_seconds):
            return f"not now: {says}" + (f"; come back in {after_seconds:.0f} s" if after_seconds is not None else "")


def _meaning(outcome: Outcome, called: str) -> str:
    match outcome:
        case Sent():
            return f"{called} will bring it to the device. If nothing is to be seen there, the app may not show it."
        case Dead():
            return (
                f"For {called} there is no such device, or the app is not on it any more. A server would send nothing"
                " to it until the app saves another token."
            )
        case Refused():
            return f"{called} will not take this notification, however often it is sent. A server would drop it."
        case Later(says) if says in _ON_THE_WAY:
            return f"{called} could not be asked. A server would try again until the notification expires."
        case Later(says) if says.startswith("no access token"):
            return f"{called} let nobody in. A server would try again until the notification expires."
        case Later():
            return f"{called} did not take it now. A server would try again until the notification expires."


def _without_secrets(url: str) -> str:
    """Scheme, host and port of it; the rest is nobody's business."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else ""


def _advice(outcome: Outcome, known: _Service, address: str) -> str:
    match outcome:
        case Sent():
            return "See whether notifications are allowed for the app, and whether the device is online."
        case Later(says) if says in _ON_THE_WAY:
            other = f" push.{known.url} would name another address." if known.url and address == known.address else ""
            return f"See whether this machine may connect to {address}, and whether its firewall lets it.{other}"
        case Later(says) if says.startswith("no access token"):
            return f"Compare {known.keys} with the maker's console. {known.often}"
        case Later(_, after_seconds) if after_seconds is not None:
            return "Wait that long."
        case Dead():
            return f"See whether the token was copied as a whole, and is of this app and device. {known.often}"
        case _:
            return f"{known.often} The keys are in {known.keys}."
