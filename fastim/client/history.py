"""Walking through a conversation's history, a page at a time."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

from fastim.client.values import Message, Place

Fetch = Callable[[Place | None, Place | None], Awaitable[list[Message]]]


class History(AsyncIterator[Message]):
    """Messages between two places, in ascending or descending order, fetched as they are asked for.

    A class, because breaking off an ``async for`` over a generator would leave the generator unfinished.

    Args:
        fetch: The page after one place and before another, counted from the end that comes first here, ascending.
        after: The older end, left out.
        before: The newer end, left out.
        page_size: A page with fewer messages is the last.
    """

    def __init__(
        self, fetch: Fetch, after: Place | None, before: Place | None, *, newest_first: bool, page_size: int
    ) -> None:
        self._fetch = fetch
        self._after = after
        self._before = before
        self._newest_first = newest_first
        self._page_size = page_size
        self._page: deque[Message] = deque()
        self._last = False

    async def __anext__(self) -> Message:
        if not self._page and not self._last:
            page = await self._fetch(self._after, self._before)
            self._last = len(page) < self._page_size
            self._page.extend(page)
        if not self._page:
            raise StopAsyncIteration
        if self._newest_first:
            self._before = message = self._page.pop()
        else:
            self._after = message = self._page.popleft()
        return message
