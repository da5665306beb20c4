"""The console's pages: files that came with the package, read once, and what browsers are told about them."""

import gzip
import hashlib
import importlib.resources
import re
from collections.abc import Awaitable, Callable, Iterator
from importlib.resources.abc import Traversable

from aiohttp import hdrs, web
from msgspec import Struct

from fastim.doors.http.console.origin import host_of

PREFIX = "/console"
PAGE = "index.html"
TRY_PAGE = "try.html"
_TRY_PATHS = (f"{PREFIX}/try", f"{PREFIX}/{TRY_PAGE}")

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}
_PACKED = {".png", ".ico", ".woff2"}
"""What does not become shorter any more."""
_HASHED = re.compile(r"assets/.*-[A-Za-z0-9_-]{8}\.[a-z0-9]+")
"""Files whose name changes with what is in them."""
_FOREVER = "public, max-age=31536000, immutable"
_ASK_FIRST = "no-cache"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'{sockets}; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Asset(Struct, frozen=True):
    """A file.

    Attributes:
        packed: The same with gzip; ``None`` where that is no shorter.
    """

    body: bytes
    packed: bytes | None
    content_type: str
    tag: str
    cache: str


def built_assets() -> dict[str, Asset]:
    """The files that came with the package, by their paths; none where they have not been built."""
    return read_assets(importlib.resources.files("fastim").joinpath("console"))


def read_assets(directory: Traversable) -> dict[str, Asset]:
    """The files in ``directory``, by their paths in it; of other types than pages have, none."""
    return {path: _asset(path, file.read_bytes()) for path, file in _files(directory, "")}


def add_assets(application: web.Application, assets: dict[str, Asset]) -> None:
    """Serve ``assets``, and have all that is below ``/console`` say what browsers may do with it."""

    def page(name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            return _response(request, assets.get(name))

        return answer

    async def answer_asset(request: web.Request) -> web.Response:
        asset = assets.get(request.match_info["path"])
        if asset is None:
            raise web.HTTPNotFound
        return _response(request, asset)

    for path in (PREFIX, f"{PREFIX}/"):
        application.router.add_get(path, page(PAGE))
    for path in _TRY_PATHS:
        application.router.add_get(path, page(TRY_PAGE))
    application.router.add_get(f"{PREFIX}/{{path:assets/.+}}", answer_asset)
    application.on_response_prepare.append(_protect)


def _files(directory: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    if not directory.is_dir():
        return
    for entry in directory.iterdir():
        path = f"{prefix}{entry.name}"
        if entry.is_dir():
            yield from _files(entry, f"{path}/")
        elif _suffix(path) in _TYPES:
            yield path, entry


def _asset(path: str, body: bytes) -> Asset:
    suffix = _suffix(path)
    packed = None if suffix in _PACKED else gzip.compress(body, 9, mtime=0)
    return Asset(
        body=body,
        packed=packed if packed is not None and len(packed) < len(body) else None,
        content_type=_TYPES[suffix],
        tag=hashlib.sha256(body).hexdigest()[:24],
        cache=_FOREVER if _HASHED.fullmatch(path) else _ASK_FIRST,
    )


def _suffix(path: str) -> str:
    return path[path.rfind(".") :]


def _response(request: web.Request, asset: Asset | None) -> web.Response:
    if asset is None:
        return web.Response(
            text="The console has not been built: run make console in a checkout, or install a released fastim.\n",
            status=404,
        )
    packed = asset.packed if _takes_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, "")) else None
    # Each form is a representation of its own: a cache must not put one together with the other's tag.
    tag = f'"{asset.tag}{"" if packed is None else "-gzip"}"'
    headers = {hdrs.ETAG: tag, hdrs.CACHE_CONTROL: asset.cache}
    if asset.packed is not None:
        headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
    known = request.headers.get(hdrs.IF_NONE_MATCH, "")
    if tag in (one.strip().removeprefix("W/") for one in known.split(",")):
        return web.Response(status=304, headers=headers)
    headers[hdrs.CONTENT_TYPE] = asset.content_type
    if packed is not None:
        headers[hdrs.CONTENT_ENCODING] = "gzip"
    return web.Response(body=asset.body if packed is None else packed, headers=headers)


def _takes_gzip(accepted: str) -> bool:
    for one in accepted.lower().split(","):
        name, _, quality = one.partition(";")
        if name.strip() in ("gzip", "*"):
            return re.fullmatch(r"\s*q=0(?:\.0*)?\s*", quality) is None
    return False


async def _protect(request: web.Request, response: web.StreamResponse) -> None:
    if request.path != PREFIX and not request.path.startswith(f"{PREFIX}/"):
        return
    host = host_of(request) if request.path in _TRY_PATHS else ""
    # Not every browser takes 'self' for the WebSockets of the same host, too.
    sockets = f" ws://{host} wss://{host}" if host else ""
    response.headers["Content-Security-Policy"] = _POLICY.format(sockets=sockets)
    response.headers.update(_HEADERS)
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
