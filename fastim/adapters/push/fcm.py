"""FCM: Android devices with Google's services, over its HTTP v1 API.

What goes along with a notification are strings: each of the app's own keys, and all of them as JSON text in
``payload``, which is where LeanCloud's Android SDK looks. Source of the answers' meaning: Firebase, "FCM error codes"
and "Best practices for FCM registration token management".
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

import msgspec
import structlog
from msgspec import Struct

from fastim.adapters.http_client import Answer, HttpClient
from fastim.adapters.push import needs
from fastim.adapters.push.content import Content, as_texts, content_of, encoded, seconds_left
from fastim.adapters.push.http import DEADLINE_SECONDS, NotSent, ProviderClient, retry_after, within
from fastim.adapters.push.tokens import AccessToken, TokenKeeper
from fastim.core.errors import SettingsError
from fastim.core.installation import Installation
from fastim.core.push import Notification
from fastim.ports.push import Dead, Later, Outcome, Refused, Sent
from fastim.settings import Push

if TYPE_CHECKING:
    from fastim.adapters.push.signing import SigningKey

URL = "https://fcm.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
VENDORS = frozenset({"", "fcm", "firebase"})
DATA_BYTES_MAX = 4_096
TTL_SECONDS_MAX = 2_419_200
ASSERTION_SECONDS = 3_600

_RESERVED = re.compile(r"from|message_type|collapse_key|(google|gcm).*", re.DOTALL)
"""Keys of data that Google turns a message down for, or takes for its own."""

_log = structlog.get_logger(__name__)


def provider(settings: Push) -> "Fcm | None":
    """The way to Android devices with Google's services; ``None`` without an account.

    Raises:
        SettingsError: The account's file cannot be used, or packages are missing.
    """
    if not settings.fcm_account_file:
        return None
    needs.check_installed("push.fcm_account_file")
    return Fcm(settings.fcm_account_file, settings.fcm_url)


class Fcm:
    """Fulfils the ``PushProvider`` port.

    Args:
        account_file: A service account's JSON.
        url: Instead of Google's address, or empty. Tokens are asked for where the account says.
        deadline_seconds: For one notification, the access token included.
        now: Seconds since the epoch.

    Raises:
        SettingsError: The account's file cannot be used.
    """

    name = "fcm"

    def __init__(
        self,
        account_file: str,
        url: str = "",
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._account, self._key = _account(account_file)
        project = quote(self._account.project_id, safe="")
        self._url: Final = f"{(url or URL).rstrip('/')}/v1/projects/{project}/messages:send"
        self._deadline_seconds: Final = deadline_seconds
        self._now: Final = now
        self._client: Final = ProviderClient(HttpClient(deadline_seconds=deadline_seconds))
        self._tokens: Final = TokenKeeper(self._ask_token)
        self._complained = False

    def carries(self, installation: Installation) -> bool:
        return installation.kind == "android" and installation.vendor.lower() in VENDORS and _token(installation) != ""

    async def send(self, notification: Notification, devices: Sequence[Installation]) -> Outcome:
        return await within(self._deadline_seconds, self._send(notification, devices[0]))

    async def close(self) -> None:
        await self._tokens.close()
        await self._client.close()

    async def _send(self, notification: Notification, device: Installation) -> Outcome:
        left_seconds = seconds_left(notification, self._now())
        body = encoded({"message": _message(content_of(notification), _token(device), left_seconds)})
        token = await self._tokens.get()
        answer = await self._ask(body, token)
        if answer.status == 401 and _Error.of(answer).code != "THIRD_PARTY_AUTH_ERROR":
            answer = await self._ask(body, await self._tokens.get(turned_down=token))
        return self._outcome(answer)

    async def _ask(self, body: bytes, token: str) -> Answer:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        return await self._client.post(self._url, body, headers)

    async def _ask_token(self) -> AccessToken:
        """Source: RFC 7523; Google, "Using OAuth 2.0 for server to server applications"."""
        account, now = self._account, int(self._now())
        claims = {
            "iss": account.client_email,
            "scope": SCOPE,
            "aud": account.token_uri,
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
        }
        assertion = self._key.sign(claims, {"kid": account.private_key_id} if account.private_key_id else None)
        form = urlencode({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await self._client.post(account.token_uri, form.encode(), headers)
        after = retry_after(answer.headers, self._now())
        told = answer.json()
        if answer.status != 200:
            problem = _word(told.get("error"))
            if answer.status in (400, 401, 403) and problem:
                self._complain(problem)
            raise NotSent(Later(f"no access token: {answer.status} {problem}".rstrip(), after))
        text, lives_seconds = told.get("access_token"), told.get("expires_in", ASSERTION_SECONDS)
        if not isinstance(text, str) or not isinstance(lives_seconds, int | float) or lives_seconds <= 0:
            raise NotSent(Later("no access token: the answer holds none", after))
        if not _can_travel(text):
            raise NotSent(Later("no access token: it is not one", after))
        return AccessToken(text, lives_seconds)

    def _outcome(self, answer: Answer) -> Outcome:
        error = _Error.of(answer)
        says = f"{answer.status} {error.code}".rstrip()
        after = retry_after(answer.headers, self._now())
        match answer.status, error.code:
            case 200, _:
                self._complained = False
                return Sent(_message_id(answer))
            case 404, "UNREGISTERED":
                return Dead(says)
            case (400, "INVALID_ARGUMENT") if error.about_token:
                return Dead(says)
            case 400, "INVALID_ARGUMENT":
                return Refused(says)
            case 403, "SENDER_ID_MISMATCH":
                # Not among Google's reasons to forget a token, and with another project's account all would be lost.
                return Refused(f"{says}: the token is of another project than push.fcm_account_file")
            case 401, "THIRD_PARTY_AUTH_ERROR":
                return Later(says, after, whole=False)
            case 401 | 403, _:
                self._complain(error.code)
                return Later(says, after)
            case 413, _:
                return Refused(says)
            case _:
                return Later(says, after)

    def _complain(self, problem: str) -> None:
        """Said once in the log until it works again."""
        if not self._complained:
            self._complained = True
            _log.error("Google does not take the service account", problem=problem)


class _Account(Struct, frozen=True):
    """What is needed of a service account's file."""

    type: str
    project_id: str
    client_email: str
    private_key: str
    token_uri: str
    private_key_id: str = ""


class _Error(Struct, frozen=True):
    """Google's word for what is wrong.

    Attributes:
        code: FCM's own, or the general one, or empty.
        about_token: It is the device's token that is wrong, and not what was to be sent.
    """

    code: str
    about_token: bool

    @classmethod
    def of(cls, answer: Answer) -> "_Error":
        error = answer.json().get("error")
        if not isinstance(error, dict):
            return cls("", False)
        details = error.get("details")
        parts = [part for part in details if isinstance(part, dict)] if isinstance(details, list) else []
        code = next((found for part in parts if (found := _word(part.get("errorCode")))), "")
        # With the token as with everything else that is invalid, the code is the same.
        violations = [one for part in parts for one in _list(part.get("fieldViolations")) if isinstance(one, dict)]
        fields = [one.get("field") for one in violations]
        message = error.get("message")
        about_token = "message.token" in fields or (
            not fields and isinstance(message, str) and "registration token" in message
        )
        return cls(code or _word(error.get("status")), about_token)


def _account(path: str) -> tuple[_Account, "SigningKey"]:
    from fastim.adapters.push.signing import SigningKey

    where = f"push.fcm_account_file: {path}"
    try:
        account = msgspec.json.decode(needs.read("push.fcm_account_file", path), type=_Account)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        # The exception's text may hold the beginning of a key.
        raise SettingsError(f"{where}: not a service account's JSON, with a private_key and a token_uri") from error
    if account.type != "service_account":
        raise SettingsError(f"{where}: not a service account's JSON: its type is another one")
    if not account.project_id or not account.token_uri.startswith(("https://", "http://")):
        raise SettingsError(f"{where}: its project_id or token_uri cannot be used")
    return account, SigningKey(account.private_key.encode(), "RS256", f"{where}: private_key")


def _token(device: Installation) -> str:
    """The device's token. What an Android device calls its ``deviceToken`` may be just its installation's name."""
    return device.registration_id or (device.token if device.token != device.installation_id else "")


def _message(content: Content, token: str, left_seconds: int) -> dict[str, Any]:
    # One that the system does not show wakes the app all the same: the app shows a chat's message itself.
    android: dict[str, Any] = {"ttl": f"{min(left_seconds, TTL_SECONDS_MAX)}s", "priority": "HIGH"}
    message: dict[str, Any] = {"token": token, "android": android}
    own = content.own
    text = _without_empty({"title": content.title, "body": content.body})
    if content.silent or not text:
        own = content.data
    else:
        message["notification"] = text
        looks = _without_empty({"sound": content.sound, "notification_count": content.badge})
        if looks:
            android["notification"] = looks
    message["data"] = _data(own)
    return message


def _data(own: Mapping[str, Any]) -> dict[str, str]:
    whole = {"payload": encoded(own).decode()}
    apart = as_texts({key: value for key, value in own.items() if key and not _RESERVED.fullmatch(key)})
    both = apart | whole
    length_bytes = sum(len(key.encode()) + len(value.encode()) for key, value in both.items())
    return both if length_bytes <= DATA_BYTES_MAX else whole


def _without_empty(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value not in (None, "")}


def _message_id(answer: Answer) -> str:
    name = answer.json().get("name")
    found = re.fullmatch(r"projects/[^/]{1,128}/messages/([\w:%.-]{1,128})", name) if isinstance(name, str) else None
    return found[1] if found else ""


def _word(value: object) -> str:
    """``value`` where it is a name such as ``INVALID_ARGUMENT``, else empty: then nothing of it is repeated."""
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z_]{1,64}", value, re.ASCII) else ""


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _can_travel(text: str) -> bool:
    """Whether an access token fits into a header."""
    return 0 < len(text) <= 8_192 and text.isascii() and text.isprintable()
