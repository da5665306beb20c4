"""Users over HTTP: an operator's own service says whose a session token is.

It is asked as LeanCloud's storage is: ``GET`` with ``X-LC-Id``, ``X-LC-Key`` (the application's ordinary key) and
``X-LC-Session``, which is what ``/1.1/users/me`` takes. It answers 200 with a JSON object whose ``objectId`` names the
user, or 400, 401, 403 or 404 when the token is nobody's. Everything else counts as its being out of order.
"""

import asyncio
from typing import Any, Final

import aiohttp
import msgspec
import structlog

from fastim.adapters.egress import connector, problem_of
from fastim.core.application import Application
from fastim.core.errors import Unavailable
from fastim.ports.users import UserIdentity

DEADLINE_SECONDS = 3.0
"""For a whole question, waiting for a turn included: an app waits for the answer while it logs in."""
ANSWER_BYTES_MAX = 262_144
QUESTIONS_AT_ONCE = 16
TOKEN_CHARACTERS_MAX = 1_024

_NOBODYS = frozenset((400, 401, 403, 404))

_log = structlog.get_logger(__name__)


class HttpUsers:
    """Fulfils the ``Users`` port for one application.

    Args:
        url: What is asked, ``users.verify_url``.
        guarded: The URL is not from the operator's own settings: only public addresses are connected to.
    """

    def __init__(self, url: str, application: Application, *, guarded: bool = False) -> None:
        self._url: Final = url
        self._headers: Final = {"X-LC-Id": application.id, "X-LC-Key": application.key}
        self._guarded: Final = guarded
        self._turns: Final = asyncio.Semaphore(QUESTIONS_AT_ONCE)
        self._client: aiohttp.ClientSession | None = None
        self._in_order = True

    async def verify(self, session_token: str) -> UserIdentity | None:
        if not _can_travel(session_token):
            return None
        try:
            async with asyncio.timeout(DEADLINE_SECONDS), self._turns:
                status, body = await self._ask(session_token)
            identity = None if status in _NOBODYS else _identity(status, body)
        except (aiohttp.ClientError, TimeoutError, OSError, _OutOfOrder) as error:
            raise self._unavailable(error) from error
        self._in_order = True
        return identity

    async def close(self) -> None:
        """Let go of its connections; what is under way fails."""
        if self._client is not None:
            await self._client.close()

    async def _ask(self, session_token: str) -> tuple[int, bytes]:
        if self._client is None:
            self._client = aiohttp.ClientSession(
                connector=connector(guarded=self._guarded, limit=0),
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        question = self._client.get(
            self._url,
            headers={"X-LC-Session": session_token, "Accept-Encoding": "identity"},
            allow_redirects=False,
        )
        async with question as answer:
            if answer.status != 200:
                return answer.status, b""
            body = bytearray()
            async for part in answer.content.iter_any():
                body += part
                if len(body) > ANSWER_BYTES_MAX:
                    raise _OutOfOrder("the answer is too long")
            return answer.status, bytes(body)

    def _unavailable(self, error: Exception) -> Unavailable:
        """Said once in the log until it works again. The address may hold a secret and is never said."""
        if self._in_order:
            self._in_order = False
            problem = str(error) if isinstance(error, _OutOfOrder) else problem_of(error)
            _log.warning("users cannot be verified", problem=problem)
        return Unavailable("users cannot be verified now")


class _OutOfOrder(Exception):
    """The service answers, but not as it should."""


def _can_travel(session_token: str) -> bool:
    """Whether ``session_token`` fits into a header; one that does not was never given to anybody."""
    return (
        0 < len(session_token) <= TOKEN_CHARACTERS_MAX
        and session_token.isascii()
        and session_token.isprintable()
        and " " not in session_token
    )


def _identity(status: int, body: bytes) -> UserIdentity:
    if status != 200:
        raise _OutOfOrder(f"status {status}")
    try:
        found = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _OutOfOrder("the answer is not a JSON object") from error
    user_id = found.get("objectId")
    if not isinstance(user_id, str) or not user_id:
        raise _OutOfOrder("the answer names no objectId")
    return UserIdentity(user_id, found)
