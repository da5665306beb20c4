"""The routes: from a request to its call, and from what comes of it to the response."""

import importlib.metadata
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import hdrs, web

from fastim.core.errors import (
    CodedError,
    ConversationNotFound,
    HookFailed,
    InvalidTarget,
    MessageNotFound,
    OperationQuotaExceeded,
    SendQuotaExceeded,
    SigningRejected,
    Unavailable,
)
from fastim.doors.http.answers import as_json, preflight, problem
from fastim.doors.http.proxies import FORWARDED_FOR, PROXIES
from fastim.doors.http.rest.authentication import Access, Caller, caller
from fastim.doors.http.rest.calls import (
    AnyCall,
    Asked,
    BadRequest,
    Call,
    Made,
    NotThere,
    OpenCall,
    Plain,
    TooMany,
    is_plain,
    read_body,
    read_query,
    read_text,
)
from fastim.doors.http.rest.openapi import DOCUMENT_PATH, PLAIN, document
from fastim.runtime.back_office import BackOffice

SESSION_TOKEN = "X-LC-IM-Session-Token"
_NULL = b"null"
"""What JavaScript's storage SDK sends as the body of a GET."""

_STATUSES: dict[type[CodedError], int] = {
    SigningRejected: 403,
    ConversationNotFound: 404,
    InvalidTarget: 404,
    MessageNotFound: 404,
    SendQuotaExceeded: 429,
    OperationQuotaExceeded: 429,
    HookFailed: 503,
    Unavailable: 503,
}
"""What an error is as an HTTP status, where that is not 400."""


def add_rest(application: web.Application, office: BackOffice, calls: Sequence[AnyCall]) -> None:
    """Add ``calls``, and what describes them, to the routes of a door."""
    methods: dict[str, list[str]] = {}
    for call in calls:
        handler = _answering_anybody(call) if isinstance(call, OpenCall) else _answering(office, call)
        application.router.add_route(call.method, call.path, handler)
        methods.setdefault(call.path, []).append(call.method)
    for path, possible in methods.items():
        application.router.add_options(path, preflight(*possible))
    described = as_json(document(calls, _version())).body

    async def answer_description(request: web.Request) -> web.Response:
        return web.Response(body=described, content_type="application/json", charset="utf-8")

    application.router.add_get(DOCUMENT_PATH, answer_description)


def _answering(office: BackOffice, call: Call[Any, Any, Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        calling = caller(request, office.application)
        client_id = await _admit(office, call, calling, request)
        try:
            asked = await _read(office, call, calling, request, client_id)
            wait = 0 if call.spending is None else office.spend(calling.application, call.spending)
            if wait:
                raise TooMany(wait)
            return _response(await _reply(office, call, asked))
        except CodedError as error:
            return problem(_STATUSES.get(type(error), 400), str(error), code=error.code)
        except BadRequest as error:
            return problem(400, str(error), code=error.code)
        except NotThere as error:
            return problem(404, str(error), code=error.code)
        except TooMany as error:
            return problem(429, str(error), headers={hdrs.RETRY_AFTER: str(error.wait)})

    return answer


async def _reply(office: BackOffice, call: Call[Any, Any, Any], asked: Asked[Any, Any]) -> Any:
    """What the call answers. One that is refused sends nothing, so it costs nothing."""
    try:
        return await call.answer(asked)
    except (CodedError, BadRequest, NotThere):
        if call.spending is not None:
            office.give_back(asked.application, call.spending)
        raise


def _response(reply: Any) -> web.Response:
    if isinstance(reply, Plain):
        return web.Response(body=reply.data, content_type=PLAIN, charset="utf-8")
    if isinstance(reply, Made):
        return as_json(reply.answer, status=201, headers={hdrs.LOCATION: reply.path})
    return as_json(reply)


def _answering_anybody(call: OpenCall[Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        return as_json(call.answer())

    return answer


async def _read(
    office: BackOffice, call: Call[Any, Any, Any], calling: Caller, request: web.Request, client_id: str
) -> Asked[Any, Any]:
    """The call as it was made.

    Raises:
        BadRequest: It is not what it has to be.
    """
    data = await request.clone(client_max_size=call.body_bytes).read()
    plain = is_plain(call.body)
    if call.method == hdrs.METH_GET and data == _NULL:
        data = b""
    text = "" if plain else read_text(data)
    return Asked(
        application=calling.application,
        io=office.io(calling.application),
        office=office,
        path=request.match_info,
        query=read_query(request.query, call.query),
        body=call.body(data) if plain else read_body(text, call.body),
        text=text,
        address=request.app[PROXIES].client_address(request.remote, request.headers.getall(FORWARDED_FOR, ())),
        access=calling.access,
        client_id=client_id,
        users=office.users(calling.application),
    )


async def _admit(office: BackOffice, call: Call[Any, Any, Any], calling: Caller, request: web.Request) -> str:
    """Whose session token was shown; empty where none is wanted.

    Raises:
        HTTPUnauthorized: The caller may not make the call.
    """
    if call.access is not Access.CLIENT:
        if calling.access < call.access:
            raise web.HTTPUnauthorized
        return ""
    client_id = request.query.get("client_id", "")
    if calling.access is Access.MASTER:
        return client_id
    token = request.headers.get(SESSION_TOKEN, "")
    if not client_id or not token or not await office.holds_session(calling.application, client_id, token):
        raise web.HTTPUnauthorized
    return client_id


def _version() -> str:
    try:
        return importlib.metadata.version("fastim")
    except importlib.metadata.PackageNotFoundError:  # it runs from a checkout that was never installed
        return "unknown"
