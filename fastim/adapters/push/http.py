"""How providers ask over HTTP: what an answer, or none, means for a notification."""

import asyncio
from collections.abc import Awaitable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from fastim.adapters.http_client import Answer, HttpClient, NoAnswer
from fastim.ports.push import Later, Outcome, Refused

DEADLINE_SECONDS = 10.0
"""For a whole notification, whatever has to be asked for it."""
RETRY_AFTER_SECONDS_MAX = 86_400.0


class NotSent(Exception):
    """The notification has an outcome without the provider's word on it.

    Args:
        outcome: What is to be said of it, without a secret.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome: Final = outcome


class ProviderClient:
    """Asks providers.

    Args:
        client: Does the asking, and is closed with this.
    """

    def __init__(self, client: HttpClient) -> None:
        self._client: Final = client

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post ``body``, see ``HttpClient.post``.

        Raises:
            NotSent: There was no answer, or none that can be used: ``Later``. Or nobody may or can go there:
                ``Refused``.
        """
        try:
            return await self._client.post(url, body, headers)
        except NoAnswer as error:
            raise NotSent(Refused(str(error)) if error.for_good else Later(str(error))) from error

    async def close(self) -> None:
        """Let go of its connections; what is under way fails."""
        await self._client.close()


async def within(deadline_seconds: float, sending: Awaitable[Outcome]) -> Outcome:
    """What becomes of ``sending``: what it says itself, what it gave up with, or that it took too long."""
    try:
        async with asyncio.timeout(deadline_seconds):
            return await sending
    except NotSent as error:
        return error.outcome
    except TimeoutError:
        return Later("no answer in time")


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """How many seconds the header ``Retry-After`` asks for; ``None``: none, or none that can be read.

    Args:
        headers: By name in lower case.
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
