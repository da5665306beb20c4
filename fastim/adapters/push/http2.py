"""Asking over HTTP/2: one connection for many questions at once, and another as soon as one is in doubt.

It needs the extra ``push``, as everything that imports it.
"""

import asyncio
import logging
import ssl
from collections.abc import Mapping
from typing import Final

import httpx2
from h2.exceptions import H2Error

from fastim.adapters.http_client import ANSWER_BYTES_MAX, Answer
from fastim.adapters.push.http import NotSent
from fastim.ports.push import Later

IDLE_SECONDS = 300.0
"""An unused connection is closed then: what stands between may have forgotten it."""

# They would log addresses, which end in a device's token, and headers, which hold ours.
for _name in ("httpx2", "httpcore2", "hpack", "h2"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class Http2Client:
    """Asks one host.

    A connection over which a question came to nothing is used for no other: those that are under way on it may end.
    The library tells neither a peer that has silently gone from a slow one, nor does it go on reading after a GOAWAY.

    Args:
        url: Scheme, host and port, and what all paths begin with. ``http://`` is HTTP/2 without TLS.
        tls: Whom to trust.
    """

    def __init__(self, url: str, tls: ssl.SSLContext) -> None:
        self._url: Final = url.rstrip("/")
        self._tls: Final = tls
        self._line: _Line | None = None
        self._lines: Final[set[_Line]] = set()
        self._closed = False

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post ``body``; the deadline is the caller's.

        A connection that is cut gets a second chance on a new one, at once: an idle one may have been closed by the
        other side long ago, and one that is busy is closed now and then while its host is looked after.

        Args:
            path: May hold a secret, and is never said.

        Raises:
            NotSent: There was no answer, or none that can be used: ``Later``.
        """
        for second in (False, True):
            if self._closed:
                break
            line = self._line
            if line is None:
                line = self._line = _Line(self._tls)
                self._lines.add(line)
            try:
                return await line.post(self._url + path, body, headers)
            except BaseException as error:
                if line is self._line:
                    self._line = None
                if not isinstance(error, httpx2.TransportError | H2Error | OSError):
                    raise
                if second or isinstance(error, httpx2.ConnectError):
                    raise NotSent(Later(_trouble(error))) from error
            finally:
                if line is not self._line and not line.busy:
                    self._lines.discard(line)
                    await line.close()
        raise NotSent(Later("closed"))

    async def close(self) -> None:
        """Let go of its connections; what is under way fails."""
        self._closed = True
        lines, self._line = list(self._lines), None
        self._lines.clear()
        await asyncio.gather(*(line.close() for line in lines))


class _Line:
    """One connection, or what becomes one with the first question.

    Attributes:
        busy: How many questions are under way.
    """

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.busy = 0
        self._client: Final = httpx2.AsyncClient(
            verify=tls,
            trust_env=False,
            http1=False,
            http2=True,
            follow_redirects=False,
            timeout=None,
            limits=httpx2.Limits(max_connections=2, max_keepalive_connections=1, keepalive_expiry=IDLE_SECONDS),
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        self.busy += 1
        try:
            sent = {"user-agent": "fastim", "accept-encoding": "identity", **headers}
            async with self._client.stream("POST", url, content=body, headers=sent) as answer:
                taken = bytearray()
                async for part in answer.aiter_raw():
                    taken += part
                    if len(taken) > ANSWER_BYTES_MAX:
                        raise NotSent(Later("the answer is too long"))
                return Answer(answer.status_code, dict(answer.headers.items()), bytes(taken))
        finally:
            self.busy -= 1

    async def close(self) -> None:
        await self._client.aclose()


def _trouble(error: Exception) -> str:
    """What went wrong on the way, without what an exception's text may hold."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return "no TLS that can be trusted"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx2.ConnectError):
        return "no connection"
    if isinstance(error, httpx2.LocalProtocolError | H2Error):
        return "the answer is not HTTP/2"
    return "the connection was cut"
