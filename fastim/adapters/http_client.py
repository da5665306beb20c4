"""Asking over HTTP: a client with a deadline, bounded answers, no redirects, no cookies, plain words for trouble."""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final

import aiohttp
import msgspec
from msgspec import Struct

from fastim.adapters.egress import EgressRefused, problem_of

DEADLINE_SECONDS = 10.0
"""For a question, unless its asker knows better."""
ANSWER_BYTES_MAX = 65_536
REST_SECONDS = 1.0
"""For the rest of an answer that nobody wants: its connection is used again when it comes within that."""


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


class NoAnswer(Exception):
    """There was no answer, or none that can be used.

    Args:
        says: Why, without a secret.
        for_good: Nobody may or can go there.
    """

    def __init__(self, says: str, *, for_good: bool = False) -> None:
        super().__init__(says)
        self.for_good: Final = for_good


class HttpClient:
    """Asks over HTTP/1.1; connections are made when they are needed and kept.

    Args:
        deadline_seconds: For one question.
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

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, body_counts: bool = True) -> Answer:
        """Post ``body``.

        Args:
            url: May hold a secret, and is never said.
            headers: All that go, ``Content-Type`` among them.
            body_counts: Whether the answer has to be there as a whole; else its body is left out, and nothing that is
                wrong with that matters.

        Raises:
            NoAnswer: There was none, or none that can be used.
        """
        try:
            async with asyncio.timeout(self._deadline_seconds):
                answer = await self._post(url, body, headers)
                taken = await _whole(answer) if body_counts else b""
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            if isinstance(error, aiohttp.InvalidURL):
                raise NoAnswer("the address is not a URL", for_good=True) from error
            refused = isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, EgressRefused)
            raise NoAnswer(problem_of(error), for_good=refused) from error
        if not body_counts:
            await _take_rest(answer)
        return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, taken)

    async def close(self) -> None:
        """Let go of its connections; what is under way fails."""
        self._closed = True
        if self._client is not None:
            await self._client.close()

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        if self._closed:
            raise NoAnswer("closed")
        if self._client is None:
            self._client = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0) if self._connector is None else self._connector(),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(),
            )
        return await self._client.post(
            url,
            data=body,
            headers={"User-Agent": "fastim", "Accept-Encoding": "identity", **headers},
            allow_redirects=False,
            ssl=True if self._tls is None else self._tls,
        )


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    """The body; the connection is gone if it does not come to its end."""
    taken = bytearray()
    async with answer:
        async for part in answer.content.iter_any():
            taken += part
            if len(taken) > ANSWER_BYTES_MAX:
                raise NoAnswer("the answer is too long")
    return bytes(taken)


async def _take_rest(answer: aiohttp.ClientResponse) -> None:
    """Let the body pass, so that the connection is free; one that is too long or too slow is cut."""
    taken = 0
    try:
        async with asyncio.timeout(REST_SECONDS):
            async for part in answer.content.iter_any():
                taken += len(part)
                if taken > ANSWER_BYTES_MAX:
                    break
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        pass
    finally:
        answer.release() if answer.content.at_eof() else answer.close()
