"""What the push services of phone makers have in common.

They answer 200 to nearly everything and say in a code of their own what it was; each has a table of what its codes
mean. They show two lines, title and text, and want both.
"""

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum, auto
from typing import Any, Final
from urllib.parse import urlencode

import structlog
from msgspec import Struct

from fastim.adapters.http_client import Answer, HttpClient
from fastim.adapters.push.content import Content, content_of, encoded
from fastim.adapters.push.http import DEADLINE_SECONDS, NotSent, ProviderClient, retry_after, within
from fastim.adapters.push.tokens import AccessToken, TokenKeeper
from fastim.core.errors import SettingsError
from fastim.core.installation import Installation
from fastim.core.push import Notification
from fastim.ports.push import Dead, Later, Outcome, Refused, Sent

TOKEN_LIVES_SECONDS = 3_600.0
"""Of an OAuth token that does not say how long it lives."""
DAY_SECONDS = 86_400
BEIJING_SECONDS = 8 * 3_600
"""Ahead of UTC. The makers count their days there."""
QUOTA_SECONDS_LEAST = 60.0
JSON = "application/json;charset=UTF-8"
FORM = "application/x-www-form-urlencoded;charset=UTF-8"

_log = structlog.get_logger(__name__)


class Means(Enum):
    """What a maker's code means for the notification."""

    DEAD = auto()
    REFUSED = auto()
    BUSY = auto()
    """It has to wait, and so has everything for this maker."""
    ALONE = auto()
    """It has to wait, and the other devices do not."""
    QUOTA = auto()
    """Nothing more is taken today."""
    KEYS = auto()
    """The operator's keys, or rights, are not what they should be: everything waits until that is mended."""
    TOKEN = auto()
    """The access token is turned down: another one is asked for, once; then it is as with ``KEYS``."""


class Code(Struct, frozen=True):
    """One of a maker's codes.

    Attributes:
        says: What the code stands for, in plain words.
    """

    means: Means
    says: str


class PhoneMaker(ABC):
    """One maker's push service; with what each adds it fulfils the ``PushProvider`` port.

    Args:
        deadline_seconds: For one notification, the access token included.
        now: Seconds since the epoch.

    Attributes:
        vendors: How SDKs spell it in an installation's ``vendor``, in lower case.
        codes: What the maker's codes mean. One that is not there refuses the notification.
    """

    name: str
    vendors: frozenset[str]
    codes: Mapping[str, Code]

    def __init__(self, *, deadline_seconds: float = DEADLINE_SECONDS, now: Callable[[], float] = time.time) -> None:
        self._deadline_seconds: Final = deadline_seconds
        self._now: Final = now
        self._client: Final = ProviderClient(HttpClient(deadline_seconds=deadline_seconds))
        self._tokens: Final = TokenKeeper(self._ask_token)
        self._complained = False

    def carries(self, installation: Installation) -> bool:
        return (
            installation.kind == "android"
            and installation.vendor.lower() in self.vendors
            and token_of(installation) != ""
        )

    async def send(self, notification: Notification, devices: Sequence[Installation]) -> Outcome:
        return await within(self._deadline_seconds, self._send_to(notification, token_of(devices[0])))

    async def close(self) -> None:
        await self._tokens.close()
        await self._client.close()

    @abstractmethod
    async def _send(self, notification: Notification, content: Content, token: str) -> Outcome:
        """Send one.

        Raises:
            NotSent: There was no answer to it.
        """

    async def _ask_token(self) -> AccessToken:
        """Get a new access token, where the maker has any.

        Raises:
            NotSent: There is none now.
        """
        raise NotSent(Refused("there are no access tokens"))

    async def _send_to(self, notification: Notification, token: str) -> Outcome:
        # Some take several ids at once, with these between them.
        if not re.fullmatch(r"[!-+\--:<-~]{1,4096}", token):
            return Dead("not a registration id")
        return await self._send(notification, content_of(notification), token)

    async def _post_json(self, url: str, value: object, headers: Mapping[str, str]) -> Answer:
        return await self._client.post(url, encoded(value), {"Content-Type": JSON, **headers})

    async def _post_form(self, url: str, fields: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        return await self._client.post(url, urlencode(fields).encode(), {"Content-Type": FORM, **headers})

    async def _with_token(self, ask: Callable[[str], Awaitable[Answer]], code_field: str) -> Answer:
        """What ``ask`` is answered, with a new access token where the first is turned down."""
        access_token = await self._tokens.get()
        answer = await ask(access_token)
        known = self.codes.get(code_of(answer.json().get(code_field)))
        if answer.status == 401 or (known is not None and known.means is Means.TOKEN):
            return await ask(await self._tokens.get(turned_down=access_token))
        return answer

    async def _oauth_token(self, url: str, client_id: str, client_secret: str) -> AccessToken:
        """Source: RFC 6749, section 4.4.

        Raises:
            NotSent: There is none now.
        """
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        answer = await self._post_form(url, form, {})
        told = answer.json()
        if answer.status != 200:
            problem = _word(told.get("error"))
            raise self._no_token(answer, f"{answer.status} {problem}".rstrip(), keys=problem != "")
        return self._access_token(answer, told.get("access_token"), told.get("expires_in", TOKEN_LIVES_SECONDS))

    def _access_token(self, answer: Answer, text: object, lives_seconds: object) -> AccessToken:
        """The token of an answer that should hold one.

        Raises:
            NotSent: It holds none.
        """
        if not isinstance(text, str) or not isinstance(lives_seconds, int | float) or lives_seconds <= 0:
            raise self._no_token(answer, "the answer holds none")
        if not re.fullmatch(r"[!-~]{1,8192}", text):
            raise self._no_token(answer, "it is not one")
        return AccessToken(text, lives_seconds)

    def _no_token(self, answer: Answer, says: str, *, keys: bool = False) -> NotSent:
        """There is no access token now.

        Args:
            keys: The maker itself says so, and means the keys where its status does, too.
        """
        if keys and answer.status in (200, 400, 401, 403):
            self._complain(says)
        return NotSent(Later(f"no access token: {says}", retry_after(answer.headers, self._now())))

    def _taken(self, says: object) -> Sent:
        """The maker has it.

        Args:
            says: Its id of the notification, if it gave one.
        """
        self._complained = False
        return Sent(says if isinstance(says, str) and re.fullmatch(r"[\w:.-]{1,128}", says, re.ASCII) else "")

    def _outcome(self, answer: Answer, code: str) -> Outcome:
        """What a code stands for that is not a success.

        Args:
            code: Empty: the answer is not the maker's own.
        """
        after = retry_after(answer.headers, self._now())
        says = code if answer.status == 200 else f"{answer.status} {code}".rstrip()
        known = self.codes.get(code)
        if known is None:
            if answer.status == 401:
                return self._keys_outcome(says, after)
            if code and answer.status < 500 and answer.status != 429:
                return Refused(f"{says}: a code that is not known here")
            return Later(says if code or answer.status != 200 else "the answer makes no sense", after)
        says = f"{says}: {known.says}"
        match known.means:
            case Means.DEAD:
                return Dead(says)
            case Means.REFUSED:
                return Refused(says)
            case Means.BUSY:
                return Later(says, after)
            case Means.ALONE:
                return Later(says, after, whole=False)
            case Means.QUOTA:
                return Later(says, self._until_tomorrow() if after is None else after)
            case Means.KEYS | Means.TOKEN:
                return self._keys_outcome(says, after)

    def _keys_outcome(self, says: str, after: float | None) -> Later:
        self._complain(says)
        return Later(says, after)

    def _until_tomorrow(self) -> float:
        """Seconds until the makers' next day."""
        return max(DAY_SECONDS - (self._now() + BEIJING_SECONDS) % DAY_SECONDS, QUOTA_SECONDS_LEAST)

    def _complain(self, problem: str) -> None:
        """Said once in the log until it works again."""
        if not self._complained:
            self._complained = True
            _log.error("a phone maker does not take the keys for push", provider=self.name, problem=problem)


def token_of(device: Installation) -> str:
    """The maker's token. What an Android device calls its ``deviceToken`` may be just its installation's name."""
    return device.registration_id or (device.token if device.token != device.installation_id else "")


def both_lines(content: Content) -> tuple[str, str] | None:
    """Title and text as they are shown, one in the other's place where that is missing; ``None``: nothing is shown."""
    title, text = content.title.strip(), content.body.strip()
    if content.silent or not (title or text):
        return None
    return title or text, text or title


def cut(text: str, most: int, *, wide: int = 1) -> str:
    """``text``, and three dots for what is too much of it.

    Args:
        most: So many characters.
        wide: As so many count those that are not ASCII.
    """
    widths = [1 if character.isascii() else wide for character in text]
    if sum(widths) <= most:
        return text
    room, kept = most - 3, 0
    for width in widths:
        room -= width
        if room < 0:
            break
        kept += 1
    return f"{text[:kept].rstrip()}..."


def code_of(value: object) -> str:
    """A code, which may be a number or its text; empty where it is neither."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,10}", value, re.ASCII) else ""


def mapping(value: object) -> dict[str, Any]:
    """``value`` where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def base(url: str, default: str) -> str:
    """The address that a setting puts in the place of the maker's own."""
    return (url or default).rstrip("/")


def check_together(first: str, **others: str) -> None:
    """Find out whether all settings are there that go together.

    Args:
        first: The setting because of which the others are needed, with its table.
        others: Their values, by name within the table.

    Raises:
        SettingsError: One is empty.
    """
    for name, value in others.items():
        if not value:
            raise SettingsError(f"push.{name}: it goes with {first}, and is empty")


def _word(value: object) -> str:
    """``value`` where it is a name or a number, else empty: then nothing of it is repeated."""
    if code := code_of(value):
        return code
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z_]{1,64}", value, re.ASCII) else ""
