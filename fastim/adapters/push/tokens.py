"""Access tokens: asked for once, kept until shortly before they end, and asked for again when one is turned down."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct

from fastim.adapters.push.http import NotSent
from fastim.ports.push import Later

MARGIN_SECONDS = 300.0
"""A token is not used any more when it ends in less: whoever checks it has another clock."""


class AccessToken(Struct, frozen=True):
    """What opens a provider's door for a while.

    Attributes:
        lives_seconds: From now on.
    """

    text: str
    lives_seconds: float


class TokenKeeper:
    """One provider's access token. All who wait for one wait for the same question, and share its failure.

    Args:
        ask: Gets a new one; raises ``NotSent`` where it cannot, and ends by itself.
        now: Seconds, from wherever they count.
    """

    def __init__(self, ask: Callable[[], Awaitable[AccessToken]], *, now: Callable[[], float] = time.monotonic) -> None:
        self._ask: Final = ask
        self._now: Final = now
        self._text = ""
        self._ends = 0.0
        self._asking: asyncio.Task[str] | None = None
        self._closed = False

    async def get(self, *, turned_down: str = "") -> str:
        """A token that should open.

        Args:
            turned_down: One that does not, although it should: it is not given again. Whoever comes late with it gets
                the one that has been asked for since.

        Raises:
            NotSent: There is none now.
        """
        if turned_down and turned_down == self._text:
            self._text = ""
        if self._text and self._now() < self._ends:
            return self._text
        if self._closed:
            raise NotSent(Later("closed"))
        asking = self._asking
        if asking is None:
            asking = self._asking = asyncio.create_task(self._renew())
            asking.add_done_callback(self._asked)
        try:
            # Not cut off by the deadline of one of those who wait.
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            if asking.cancelled():
                raise NotSent(Later("closed")) from None
            raise

    async def close(self) -> None:
        """Ask no more; those who wait fail."""
        self._closed = True
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _renew(self) -> str:
        token = await self._ask()
        # One that lives shorter than the margin is used for half its life.
        lasts = max(token.lives_seconds - MARGIN_SECONDS, token.lives_seconds / 2)
        self._text, self._ends = token.text, self._now() + lasts
        return token.text

    def _asked(self, asking: asyncio.Task[str]) -> None:
        self._asking = None
        if not asking.cancelled():
            asking.exception()  # whoever waited has it; that nobody waits any more is no news
