"""The calls themselves: what each takes, and who may make it."""

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from fastim.core.errors import CodedError, Unavailable
from fastim.doors.http.answers import as_json, problem
from fastim.doors.http.rest.authentication import Access, Caller, caller
from fastim.runtime.back_office import BackOffice

Call = Callable[[web.Request, Caller], Awaitable[object]]
Body = TypeVar("Body", bound=Struct)


class Kick(Struct, frozen=True):
    """The body of a kick."""

    reason: Annotated[str, Meta(max_length=20)] = ""


def add_rest(application: web.Application, office: BackOffice) -> None:
    """Add the REST calls to the routes of a door."""

    def answering(access: Access, call: Call) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            calling = caller(request, office.application)
            if calling.access < access:
                raise web.HTTPUnauthorized
            try:
                return as_json(await call(request, calling))
            except Unavailable as error:
                return problem(503, str(error), code=error.code)
            except CodedError as error:
                return problem(400, str(error), code=error.code)
            except _BadRequest as error:
                return problem(400, str(error))

        return answer

    async def kick(request: web.Request, calling: Caller) -> object:
        body = await _body(request, Kick)
        if body.reason and not body.reason.isprintable():
            raise _BadRequest("reason has characters that cannot be printed")
        await office.kick_client(calling.application, request.match_info["client_id"], body.reason)
        return {}

    application.router.add_post("/1.2/rtm/clients/{client_id}/kick", answering(Access.MASTER, kick))


async def _body(request: web.Request, kind: type[Body]) -> Body:
    """The request's body; one that is empty says nothing.

    Raises:
        _BadRequest: It is not what the call takes.
    """
    try:
        return msgspec.json.decode(await request.read() or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _BadRequest(str(error)) from error


class _BadRequest(Exception):
    """The body is not what the call takes."""
