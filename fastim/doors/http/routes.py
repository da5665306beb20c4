"""The HTTP routes that are not REST: where the WebSocket is, and how the server fares."""

import re
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import hdrs, web

from fastim.core.errors import AppNotAvailable
from fastim.doors.http.answers import SERVER, allow_browsers, as_json, preflight, problem
from fastim.doors.http.proxies import PROXIES, Proxies
from fastim.settings import Http

_log = structlog.get_logger(__name__)

ROUTE = "/v1/route"
ROUTE_TTL_SECONDS = 3600
"""How long SDKs keep the answer of ``/v1/route``; each asks again sooner when the address stops working."""

_FOR_BROWSERS = (ROUTE, "/1.1/", "/1.2/")
"""Where SDKs in browsers ask from wherever the page is. What they show is in headers, never in cookies."""

_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_WEBSOCKET_SCHEMES = {"http": "ws", "ws": "ws", "https": "wss", "wss": "wss"}


def web_application(
    *,
    knows: Callable[[str], bool],
    obstacle: Callable[[], str],
    metrics: Callable[[], tuple[bytes, str]],
    settings: Http,
) -> web.Application:
    """The routes, and errors as JSON on every path.

    Args:
        knows: Whether there is an application of that id.
        obstacle: Why the server lets nobody in at the moment; empty when it does.
        metrics: What a scrape gets, and its content type.
    """
    application = web.Application(middlewares=[_errors_as_json])
    application.on_response_prepare.append(_finish)
    application[PROXIES] = Proxies(settings.trusted_proxies)
    router = _Router(knows)
    application.router.add_get(ROUTE, router.answer)
    application.router.add_options(ROUTE, preflight("GET", "HEAD"))

    async def answer_health(request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def answer_readiness(request: web.Request) -> web.Response:
        why_not = obstacle()
        return web.Response(text=why_not, status=503) if why_not else web.Response(text="ready")

    async def answer_metrics(request: web.Request) -> web.Response:
        body, content_type = metrics()
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})

    application.router.add_get("/healthz", answer_health)
    application.router.add_get("/readyz", answer_readiness)
    application.router.add_get("/metrics", answer_metrics)
    return application


class _Router:
    """``/v1/route``. Source: wire protocol, RTM router."""

    def __init__(self, knows: Callable[[str], bool]) -> None:
        self._knows = knows

    async def answer(self, request: web.Request) -> web.Response:
        application_id = request.query.get("appId", "")
        if not application_id:
            return problem(400, "appId is missing.")
        if not self._knows(application_id):
            return problem(404, f"{AppNotAvailable.reason}: no such application here.", code=AppNotAvailable.code)
        scheme, host = _address(request)
        if _HOST.fullmatch(host) is None:
            return problem(400, "Host is missing or malformed.")
        server = f"{scheme}://{host}/"
        # A fallback is asked for by C#, and JS appends it whatever it is.
        return as_json({"server": server, "secondary": server, "ttl": ROUTE_TTL_SECONDS})


def _address(request: web.Request) -> tuple[str, str]:
    """Scheme and host of the address by which the request came in."""
    scheme = "wss" if request.secure else "ws"
    # Not request.host: without a Host aiohttp makes one up.
    host = request.headers.get(hdrs.HOST, "")
    if request.app[PROXIES].trust(request.remote):
        forwarded = _first(request, hdrs.X_FORWARDED_PROTO).lower()
        scheme = _WEBSOCKET_SCHEMES.get(forwarded, scheme)
        host = _first(request, hdrs.X_FORWARDED_HOST) or host
    return scheme, host


def _first(request: web.Request, name: str) -> str:
    """What the proxy nearest to the client said, where each adds its own."""
    return request.headers.get(name, "").partition(",")[0].strip()


@web.middleware
async def _errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        kept: dict[str, str] = {hdrs.ALLOW: error.headers[hdrs.ALLOW]} if hdrs.ALLOW in error.headers else {}
        return problem(error.status, headers=kept)
    except web.RequestPayloadError:
        return problem(400, "The body is malformed.")
    except ConnectionError:
        raise
    except Exception:
        _log.exception("an HTTP request failed", method=request.method, path=request.path)
        return problem(500)


async def _finish(request: web.Request, response: web.StreamResponse) -> None:
    response.headers[hdrs.SERVER] = SERVER
    if request.path == ROUTE:
        # No cache may hand one host's answer to another's clients.
        response.headers[hdrs.CACHE_CONTROL] = "no-store"
    if request.path.startswith(_FOR_BROWSERS):
        allow_browsers(response)
