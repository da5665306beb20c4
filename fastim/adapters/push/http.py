"""How providers ask over HTTP: a client with a deadline, bounded answers, no redirects, and plain words for trouble."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp
import msgspec
from msgspec import Struct

from fastim.adapters.egress import EgressRefused
from fastim.ports.push import Later, Outcome, Refused

DEADLINE_SECONDS = 10.0
"""For a whole notification, whatever has to be asked for it."""
ANSWER_BYTES_MAX = 65_536
RETRY_AFTER_SECONDS_MAX = 86_400.0


class Answer(Struct, frozen=True):
    """What somebody answered, whatever the status.

    Attributes:
        headers: By name in lower case; of one that comes twice, the last.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The JSON object that the answer is; empty where it is none."""
        try:
            return msgspec.json.decode(self.body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}


class NotSent(Exception):
    """The notification has an outcome without the provider's word on it.

    Args:
        outcome: What is to be said of it, without a secret.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome: Final = outcome


class HttpClient:
    """Asks over HTTP/1.1; connections are made when they are needed and kept.

    Args:
        deadline_seconds: For one question; what has several is held by ``within``.
        connector: Makes the way out, on the loop that uses it; ``None``: whatever address a URL names.
        tls: Whom to trust; ``None``: the system's authorities.
    """

    def __init__(
        self,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        connector: Callable[[], aiohttp.BaseConnector] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._deadline_seconds: Final = deadline_seconds
        self._connector: Final = connector
        self._tls: Final = tls
        self._client: aiohttp.ClientSession | None = None
        self._closed = False

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post ``body``.

        Args:
            url: May hold a secret, and is never said.
            headers: All that go, ``Content-Type`` among them.

        Raises:
            NotSent: There was no answer, or none that can be used: ``Later``. Or nobody may or can go there:
                ``Refused``.
        """
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await self._post(url, body, headers)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, EgressRefused):
                raise NotSent(Refused(str(error.os_error))) from error
            if isinstance(error, aiohttp.InvalidURL):
                raise NotSent(Refused("the address is not a URL")) from error
            raise NotSent(Later(network_trouble(error))) from error

    async def close(self) -> None:
        """Let go of its connections; what is under way fails."""
        self._closed = True
        if self._client is not None:
            await self._client.close()

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        if self._closed:
            raise NotSent(Later("closed"))
        if self._client is None:
            self._client = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0) if self._connector is None else self._connector(),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(),
            )
        question = self._client.post(
            url,
            data=body,
            headers={"User-Agent": "fastim", "Accept-Encoding": "identity", **headers},
            allow_redirects=False,
            ssl=True if self._tls is None else self._tls,
        )
        async with question as answer:
            taken = bytearray()
            async for part in answer.content.iter_any():
                taken += part
                if len(taken) > ANSWER_BYTES_MAX:
                    raise NotSent(Later("the answer is too long"))
            return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, bytes(taken))


async def within(deadline_seconds: float, sending: Awaitable[Outcome]) -> Outcome:
    """What becomes of ``sending``: what it says itself, what it gave up with, or that it took too long."""
    try:
        async with asyncio.timeout(deadline_seconds):
            return await sending
    except NotSent as error:
        return error.outcome
    except TimeoutError:
        return Later("no answer in time")


def network_trouble(error: Exception) -> str:
    """What went wrong on the way, without addresses and whatever else an exception's text may hold."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the name cannot be resolved"
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return "no TLS that can be trusted"
    if isinstance(error, aiohttp.ClientConnectorError | ConnectionRefusedError):
        return "no connection"
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError | OSError):
        return "the connection was cut"
    if isinstance(error, aiohttp.ClientResponseError):
        return "the answer is not HTTP"
    return f"it cannot be asked: {type(error).__name__}"


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """How many seconds the header ``Retry-After`` asks for; ``None``: none, or none that can be read.

    Args:
        headers: By name in lower case, or in any where the mapping tells none apart, as aiohttp's does.
        now: Seconds since the epoch: the header may name a moment. Source: RFC 9110, section 10.2.3.
    """
    told = headers.get("retry-after")
    if told is None:
        return None
    told = told.strip()
    if told.isascii() and told.isdigit():
        seconds = float(told[:12])
    else:
        try:
            moment = parsedate_to_datetime(told)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
    return min(max(seconds, 0.0), RETRY_AFTER_SECONDS_MAX)
