"""What all of our HTTP answers have in common."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import msgspec
from aiohttp import hdrs, web

SERVER = "fastim"
"""Says who answers, and not which version of what."""


def as_json(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """``value`` as a response."""
    return web.Response(
        body=msgspec.json.encode(value),
        status=status,
        headers={hdrs.SERVER: SERVER, **(headers or {})},
        content_type="application/json",
        charset="utf-8",
    )


def problem(
    status: int, error: str = "", *, code: int | None = None, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A failure in the form that SDKs and REST clients know. Source: REST reference, authentication and format.

    Args:
        error: For people; the status's own words when empty.
        code: The status when ``None``.
    """
    body = {"code": status if code is None else code, "error": error or f"{HTTPStatus(status).phrase}."}
    return as_json(body, status=status, headers=headers)


def allow_browsers(response: web.StreamResponse) -> None:
    """Let a page from anywhere read ``response``."""
    response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*"


def preflight(*methods: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    """What answers browsers that ask beforehand whether a page may use one of ``methods``."""

    async def answer(request: web.Request) -> web.Response:
        headers = {
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: ", ".join((*methods, "OPTIONS")),
            # Repeated by name: for years Safari did not know what a * stands for here.
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS) or "*",
            hdrs.ACCESS_CONTROL_MAX_AGE: "86400",
            hdrs.VARY: hdrs.ACCESS_CONTROL_REQUEST_HEADERS,
        }
        return web.Response(status=204, headers=headers)

    return answer


def raw_problem(status: int, error: str, headers: Mapping[str, str]) -> bytes:
    """The same as bytes for the socket, where there is no aiohttp yet; the connection closes after it."""
    body = msgspec.json.encode({"code": status, "error": error})
    fields = {
        "Server": SERVER,
        "Content-Type": "application/json; charset=utf-8",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{head}\r\n".encode() + body
