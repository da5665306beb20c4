"""Hooks over HTTP: cloud functions in a back end of the operator's, called as LeanCloud calls them.

``POST <hooks.url>/1.1/functions/NAME`` with the parameters as JSON, ``X-LC-Id``, ``X-LC-Key`` (the application's
ordinary key) and ``X-LC-Hook-Key``. The answer is 200 with ``{"result": {...}}``. No redirect is followed, no cookie
kept.

Which functions there are, ``GET .../1.1/functions/_ops/metadatas`` tells whoever has the master key. It is asked again
and again, since back ends are deployed, too; while it fails, the last list stays in force. As long as there was none,
only hooks that are required count as defined: what cannot be asked must not be passed. A back end that answers, but
keeps no such list or does not tell, is called for everything until it answers 404 for one, and for that one again after
the next refresh.

A question whose kept connection turns out to be closed is asked once more, over a new one: it changes nothing to be
asked twice, as happens when clients resend. A notice is not told again.
Source: semantics, section 14; the PyPI package ``leancloud``, ``engine/leanengine.py`` and ``authorization.py``.
"""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
import msgspec
import structlog

from fastim.adapters.egress import connector, problem_of
from fastim.core.application import Application
from fastim.core.errors import HookError
from fastim.core.hooks import CALLS, QUESTIONS, Answer, Call, ClientSign, Question
from fastim.settings import Hooks

ANSWER_BYTES_MAX = 1_048_576
LIST_SECONDS = 3.0
"""For one question about the list, of which the first makes the server wait with its start."""
RETRY_SECONDS_MIN = 1.0
"""After a first failure; it doubles up to ``hooks.refresh_seconds``."""

_log = structlog.get_logger(__name__)


class HttpEngine:
    """Fulfils the ``HookEngine`` port for one application.

    Args:
        guarded: ``hooks.url`` is not from the operator's own settings: only public addresses are connected to.
    """

    name = "http"

    def __init__(self, settings: Hooks, application: Application, *, guarded: bool) -> None:
        self._functions: Final = f"{settings.url.rstrip('/')}/1.1/functions"
        self._settings: Final = settings
        self._guarded: Final = guarded
        self._headers: Final = {
            "X-LC-Id": application.id,
            "X-LC-Key": application.key,
            "X-LC-Hook-Key": settings.key or application.hook_key,
        }
        self._master: Final = {"X-LC-Id": application.id, "X-LC-Key": f"{application.master_key},master"}
        self._required: Final = frozenset(CALLS if "all" in settings.required else settings.required)
        self._defined: frozenset[str] | None = None  # None: no list was ever got
        self._missing: set[str] = set()  # answered 404 since the last refresh
        self._in_order = True
        self._client: aiohttp.ClientSession | None = None
        self._second_try: aiohttp.ClientSession | None = None
        self._refreshing: asyncio.Task[None] | None = None

    def defines(self, kind: type[Call]) -> bool:
        defined = self._required if self._defined is None else self._defined
        return kind.hook in defined and kind.hook not in self._missing

    async def start(self) -> None:
        # Questions and notices have as many connections each as may be under way, and the list has one.
        connections = 2 * self._settings.at_once + 1
        self._client = _client(connector(guarded=self._guarded, limit=connections), _ReuseTrace())
        self._second_try = _client(connector(guarded=self._guarded, limit=connections, kept=False))
        pause = await self._refresh(0)
        self._refreshing = asyncio.create_task(self._keep_refreshing(pause))

    async def reload(self) -> None:
        await self._refresh(self._settings.refresh_seconds)

    async def call(self, call: Call) -> Answer:
        body = msgspec.json.encode(call.user if isinstance(call, ClientSign) else call)
        try:
            status, answer = await self._post(call, body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise HookError(problem_of(error)) from error
        if self._is_missing(call.hook, status, answer):
            self._missing.add(call.hook)
        elif status != HTTPStatus.OK:
            raise HookError(_says(status))
        elif isinstance(call, Question):
            return _answer(call, answer)
        return QUESTIONS[type(call)]() if isinstance(call, Question) else Answer()

    async def close(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait((self._refreshing,))
        clients, self._client, self._second_try = (self._client, self._second_try), None, None
        for client in clients:
            if client is not None:
                await client.close()

    # --- Calls

    async def _post(self, call: Call, body: bytes) -> tuple[int, bytes]:
        if self._client is None or self._second_try is None:
            raise HookError("it is not running")
        url = f"{self._functions}/{call.hook}"
        headers = self._headers | {"Content-Type": "application/json"}
        connection = SimpleNamespace(reused=False)
        try:
            return await _answered(self._client, "POST", url, data=body, headers=headers, trace_request_ctx=connection)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if not (connection.reused and isinstance(call, Question)):
                raise
        return await _answered(self._second_try, "POST", url, data=body, headers=headers)

    def _is_missing(self, hook: str, status: int, answer: bytes) -> bool:
        """Whether the back end says that it has no such function.

        Any 404 says so, but for a required hook: there it must be the back end who answers, with its ``code`` and
        ``error``, and not whatever stands in front of it while it is away.
        """
        if status != HTTPStatus.NOT_FOUND:
            return False
        if hook not in self._required:
            return True
        try:
            said = msgspec.json.decode(answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        return isinstance(said, dict) and "code" in said and "error" in said

    # --- The list of functions

    async def _keep_refreshing(self, pause: float) -> None:
        while True:
            await asyncio.sleep(pause)
            pause = await self._refresh(pause)

    async def _refresh(self, pause: float) -> float:
        """Get the list; seconds until the next time.

        Args:
            pause: Seconds since the last time; 0: there was none.
        """
        try:
            defined = await self._ask_for_list()
        except HookError as error:
            if self._in_order:
                self._in_order = False
                _log.warning("it is not known which hooks are defined", engine=self.name, problem=str(error))
            return min(max(2 * pause, RETRY_SECONDS_MIN), self._settings.refresh_seconds)
        if not self._in_order:
            self._in_order = True
            _log.info("it is known again which hooks are defined", engine=self.name)
        if defined != self._defined:
            _log.info("hooks found", engine=self.name, hooks=sorted(defined))
        self._defined = defined
        self._missing.clear()
        return self._settings.refresh_seconds

    async def _ask_for_list(self) -> frozenset[str]:
        assert self._client is not None
        try:
            async with asyncio.timeout(LIST_SECONDS):
                status, answer = await _answered(
                    self._client, "GET", f"{self._functions}/_ops/metadatas", headers=self._master
                )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise HookError(problem_of(error)) from error
        if status in _NO_LIST and (self._defined is None or self._defined == _EVERYTHING):
            return _EVERYTHING
        if status != HTTPStatus.OK:
            raise HookError(_says(status))
        result = _result(answer).get("result")
        if not isinstance(result, list):
            raise HookError("the answer is not a list of functions")
        return frozenset(name for name in result if isinstance(name, str) and name in CALLS)


_EVERYTHING: Final = frozenset(CALLS)
_NO_LIST: Final = frozenset((400, 401, 403, 404, 405, 501))
"""The back end is there, but keeps no list or does not tell."""


class _ReuseTrace(aiohttp.TraceConfig):
    """Notes in a request's ``trace_request_ctx.reused`` that it has a connection which had others before."""

    def __init__(self) -> None:
        super().__init__()
        self.on_connection_reuseconn.append(self._note)

    @staticmethod
    async def _note(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
        if context.trace_request_ctx is not None:
            context.trace_request_ctx.reused = True


def _client(connections: aiohttp.TCPConnector, *traces: aiohttp.TraceConfig) -> aiohttp.ClientSession:
    """A client that keeps nothing but connections and leaves deadlines to whoever cancels."""
    return aiohttp.ClientSession(
        connector=connections,
        headers={"User-Agent": "fastim", "Accept": "application/json", "Accept-Encoding": "identity"},
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        trace_configs=list(traces),
        auto_decompress=False,
    )


async def _answered(client: aiohttp.ClientSession, method: str, url: str, **more: Any) -> tuple[int, bytes]:
    """Status and body.

    Raises:
        HookError: The body is too long. The connection is gone then, as it is when this is cancelled.
    """
    answer = await client.request(method, url, allow_redirects=False, **more)
    body = bytearray()
    try:
        async for part in answer.content.iter_any():
            body += part
            if len(body) > ANSWER_BYTES_MAX:
                raise HookError("the answer is too long")
    except BaseException:
        answer.close()
        raise
    answer.release()
    return answer.status, bytes(body)


def _answer(question: Question[Any], body: bytes) -> Answer:
    """What the body of an answer says.

    A function that returns nothing answers ``{"result": null}``, or ``{}`` in JavaScript. Types are taken as loosely
    as LeanCloud's own back ends write them, and a field that is null counts as left out.

    Raises:
        HookError: It is no answer to ``question``.
    """
    outer = _result(body)
    result = outer.get("result")
    if isinstance(question, ClientSign) and isinstance(result, bool):
        result = outer
    if result is None:
        result = {}
    if not isinstance(result, dict):
        raise HookError("the result is not an object")
    said = {name: value for name, value in result.items() if value is not None}
    try:
        return msgspec.convert(said, QUESTIONS[type(question)], strict=False)
    except (msgspec.ValidationError, RecursionError) as error:
        raise HookError("the result has a field of the wrong type") from error


def _result(body: bytes) -> Mapping[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HookError("the answer is not a JSON object") from error


def _says(status: int) -> str:
    return f"status {status}: it does not take the key" if status in (401, 403) else f"status {status}"
