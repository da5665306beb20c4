"""What a call of the console is: one value that says its path, what it needs, what it takes and what is noted of it.

All that keeps strangers out is done here, before a call is read: a call cannot forget it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum
from http import HTTPStatus
from typing import Any, Generic, TypeVar

import msgspec
import structlog
from aiohttp import hdrs, web
from msgspec import Struct

from fastim.core.errors import (
    CodedError,
    ConversationNotFound,
    HookFailed,
    InvalidTarget,
    MessageNotFound,
    OperationQuotaExceeded,
    SendQuotaExceeded,
    Unavailable,
)
from fastim.core.units import Millis
from fastim.doors.http.answers import as_json
from fastim.doors.http.console.entrance import Entrance, Pass
from fastim.doors.http.console.origin import address_of, host_of, is_from_our_page, is_local, is_over_tls
from fastim.doors.http.rest.calls import BadRequest, Nothing, NotThere, Plain, is_plain, read_query, read_text
from fastim.runtime.audit import Audit, Entry
from fastim.runtime.dispatch import Tenant
from fastim.runtime.operators import NotPossible, Operators
from fastim.runtime.pulse import Pulse
from fastim.runtime.trial import Trial
from fastim.service.io import Io
from fastim.settings import Loaded

_log = structlog.get_logger(__name__)

API = "/console/api"
APPLICATION = "/applications/{app}"
"""How the paths begin of all that is about one application."""
COOKIE = "fastim_console"
HEADER = "X-Fastim-Console"
"""What every call has that changes something: no form of another site can set it."""
BODY_BYTES = 65_536
"""Longest body of a call that does not say otherwise."""

_STATUSES: dict[type[CodedError], int] = {
    ConversationNotFound: 404,
    InvalidTarget: 404,
    MessageNotFound: 404,
    SendQuotaExceeded: 429,
    OperationQuotaExceeded: 429,
    HookFailed: 503,
    Unavailable: 503,
}
"""What an error is as an HTTP status, where that is not 400."""


class Needs(Enum):
    """What it takes to make a call."""

    NOBODY = "nobody"
    """Nothing: it is part of the entrance, and says itself what it wants."""
    SESSION = "session"
    """Somebody who has signed in."""


class Console(Struct, frozen=True):
    """What the console is made of.

    Attributes:
        clock: Milliseconds since the epoch.
        loaded: The settings with which the server was started.
        trial: The application for trying out; ``None``: there is to be none.
    """

    operators: Operators
    entrance: Entrance
    pulse: Pulse
    audit: Audit
    clock: Callable[[], Millis]
    loaded: Loaded
    trial: Trial | None = None


Query = TypeVar("Query")
Body = TypeVar("Body")


class Asked(Struct, Generic[Query, Body], frozen=True):
    """A call as it was made.

    Attributes:
        path: The parts of the path that are in braces.
        address: The operator's IP address, or empty.
        signed: Who asks; ``None`` at the entrance, when nobody has signed in.
        local: Whether it was asked on this machine.
        over_tls: Whether cookies of it may be kept to TLS.
        host: By what name, with its port, it found us; empty where that cannot be one.
        of: The application that the path names, if it names one.
    """

    console: Console
    path: Mapping[str, str]
    query: Query
    body: Body
    address: str
    signed: Pass | None
    local: bool
    over_tls: bool
    host: str
    of: Tenant | None

    @property
    def tenant(self) -> Tenant:
        """The application that the path names."""
        assert self.of is not None  # the path has {app}
        return self.of

    @property
    def io(self) -> Io:
        """Its ports: what use cases take."""
        return self.tenant.io


class Answer(Struct, frozen=True):
    """What a call answers that has more to say than a value.

    Attributes:
        cookie: The session that the browser is to keep from now on; empty: it is to forget it; ``None``: neither.
        cookie_seconds: For how long.
        detail: What is noted of the call that only shows once it is done; never a secret.
    """

    value: Any
    status: int = 200
    cookie: str | None = None
    cookie_seconds: int = 0
    detail: str = ""


class Problem(Exception):
    """The call cannot be answered as it was made.

    Args:
        text: Why, for whoever made it.
        field: What of it is to blame, as it is called there.
        wait: Seconds after which it may be tried again; 0: nothing is said of that.
    """

    def __init__(self, status: int, text: str = "", *, field: str = "", wait: int = 0) -> None:
        super().__init__(text or f"{HTTPStatus(status).phrase}.")
        self.status = status
        self.field = field
        self.wait = wait


def _no_detail(asked: Any) -> str:
    return ""


class Call(Struct, Generic[Query, Body], frozen=True):
    """One call.

    Attributes:
        path: Below ``/console/api``, its parts in braces; ``{app}`` is an application that there is.
        answer: Does it; what it returns travels as JSON unless it is an ``Answer``.
        query: What may stand in the query string, a ``Struct``.
        body: What the body holds, any type that JSON can be read as; a kind of ``Plain`` where it is a text.
        body_bytes: Longest body.
        what: What is noted when it was done, in a word or two; empty: nothing is.
        detail: What else is noted of it; never a secret.
        unasked: An open page makes it by itself, again and again: it does not show that anybody is there.
    """

    method: str
    path: str
    answer: Callable[[Asked[Query, Body]], Awaitable[Any]]
    needs: Needs = Needs.SESSION
    query: Any = Nothing
    body: Any = Nothing
    body_bytes: int = BODY_BYTES
    what: str = ""
    detail: Callable[[Asked[Query, Body]], str] = _no_detail
    unasked: bool = False


def add_calls(application: web.Application, console: Console, calls: Sequence[Call[Any, Any]]) -> None:
    """Add ``calls`` to the routes of a door."""
    for call in calls:
        application.router.add_route(call.method, API + call.path, _answering(console, call))


def _answering(console: Console, call: Call[Any, Any]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        return await console.pulse.meter.run(_answer(console, call, request))

    return answer


async def _answer(console: Console, call: Call[Any, Any], request: web.Request) -> web.StreamResponse:
    try:
        signed = _admit(console, call, request)
        asked = await _read(console, call, request, signed)
        reply = await call.answer(asked)
        if call.what:
            known = reply.detail if isinstance(reply, Answer) else ""
            await note(asked, call.what, known or call.detail(asked))
        return _response(reply, over_tls=asked.over_tls)
    except Problem as problem:
        return _failure(problem.status, str(problem), field=problem.field, wait=problem.wait)
    except NotPossible as error:
        return _failure(400, str(error), field=error.field)
    except BadRequest as error:
        return _failure(400, str(error))
    except NotThere as error:
        return _failure(404, str(error))
    except CodedError as error:
        return _failure(_STATUSES.get(type(error), 400), str(error), code=error.code)


def _admit(console: Console, call: Call[Any, Any], request: web.Request) -> Pass | None:
    """Who asks; ``None`` where nobody has signed in and nobody has to.

    Raises:
        Problem: It may not be asked.
    """
    if not is_from_our_page(request):
        raise Problem(403, "the console answers its own pages only")
    if call.method != hdrs.METH_GET and request.headers.get(HEADER) != "1":
        raise Problem(403, f"{HEADER}: 1 is missing")
    signed = console.entrance.find(request.cookies.get(COOKIE, ""), used=not call.unasked)
    if call.needs is Needs.NOBODY:
        return signed
    if not console.entrance.is_set_up:
        raise Problem(409, "no password has been set yet")
    if signed is None:
        raise Problem(401, "sign in first")
    return signed


async def _read(console: Console, call: Call[Any, Any], request: web.Request, signed: Pass | None) -> Asked[Any, Any]:
    """The call as it was made.

    Raises:
        Problem: There is no such application, or the body is of another type.
        BadRequest: It is not what it has to be.
    """
    tenant = None
    if "app" in request.match_info:
        tenant = console.operators.tenant(request.match_info["app"])
        if tenant is None:
            raise Problem(404, "there is no such application")
    return Asked(
        console=console,
        path=request.match_info,
        query=read_query(request.query, call.query),
        body=await _read_body(call, request),
        address=address_of(request),
        signed=signed,
        local=is_local(request),
        over_tls=is_over_tls(request),
        host=host_of(request),
        of=tenant,
    )


async def _read_body(call: Call[Any, Any], request: web.Request) -> Any:
    data = await request.clone(client_max_size=call.body_bytes).read()
    if is_plain(call.body):
        return call.body(data)
    if call.body is Nothing and not data:
        return Nothing()
    if request.content_type != "application/json":
        raise Problem(415, "the body has to be application/json")
    try:
        return msgspec.json.decode(read_text(data), type=call.body)
    except RecursionError as error:
        raise BadRequest("body: too many levels of objects and arrays") from error
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise BadRequest(f"body: {error}") from error


async def note(asked: Asked[Any, Any], what: str, detail: str = "") -> None:
    """Leave a trace of what was done. It is done: that no trace can be left must not look as if it were not."""
    console = asked.console
    application = "" if asked.of is None else asked.of.application.id
    try:
        await console.audit.write(Entry(console.clock(), asked.address, what, application, detail))
    except OSError as error:
        _log.error("the audit trail cannot be written", what=what, reason=str(error))


def _response(reply: Any, *, over_tls: bool) -> web.Response:
    if not isinstance(reply, Answer):
        return as_json(reply)
    response = as_json(reply.value, status=reply.status)
    if reply.cookie is not None:
        response.set_cookie(
            COOKIE,
            reply.cookie,
            max_age=reply.cookie_seconds,
            path="/console",
            secure=over_tls,
            httponly=True,
            samesite="Strict",
        )
    return response


def _failure(status: int, text: str, *, code: int | None = None, field: str = "", wait: int = 0) -> web.Response:
    body: dict[str, Any] = {"error": text}
    if code is not None:
        body["code"] = code
    if field:
        body["field"] = field
    return as_json(body, status=status, headers={hdrs.RETRY_AFTER: str(wait)} if wait else None)


__all__ = [
    "API",
    "APPLICATION",
    "BODY_BYTES",
    "COOKIE",
    "HEADER",
    "Answer",
    "Asked",
    "BadRequest",
    "Call",
    "Console",
    "Needs",
    "NotThere",
    "Nothing",
    "Plain",
    "Problem",
    "add_calls",
    "note",
]
