"""Where a request of the console comes from: from a page of our own, from this machine, over TLS."""

import ipaddress
import re

from aiohttp import hdrs, web

from fastim.doors.http.proxies import FORWARDED_FOR, PROXIES

_FETCH_SITE = "Sec-Fetch-Site"
_OURS = ("same-origin", "none")
"""What browsers say of a request that a page of our own, or the person at the keys, makes."""
_FORWARDED = (FORWARDED_FOR, "Forwarded", "X-Real-IP", "Via", hdrs.X_FORWARDED_HOST, hdrs.X_FORWARDED_PROTO)
_PORTS = {"http": ":80", "https": ":443"}
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


def is_from_our_page(request: web.Request) -> bool:
    """Whether no page of another site can have made the request.

    A program that is no browser says nothing of a page, and nobody's cookies go with what it asks.
    """
    if request.headers.get(_FETCH_SITE, "none") not in _OURS:
        return False
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None:
        return True
    scheme, _, rest = origin.lower().partition("://")
    host = host_of(request).lower()
    return scheme in _PORTS and host != "" and _without_port(rest, scheme) == _without_port(host, scheme)


def host_of(request: web.Request) -> str:
    """By what name, with its port, the request found us; empty where that cannot be one."""
    host = request.headers.get(hdrs.HOST, "")
    if request.app[PROXIES].trust(request.remote):
        host = _first(request, hdrs.X_FORWARDED_HOST) or host
    return host if _HOST.fullmatch(host) else ""


def is_over_tls(request: web.Request) -> bool:
    """Whether the request came over TLS to us, or to a proxy that is believed."""
    if request.app[PROXIES].trust(request.remote):
        return (_first(request, hdrs.X_FORWARDED_PROTO).lower() or request.scheme) in ("https", "wss")
    return request.secure


def is_local(request: web.Request) -> bool:
    """Whether the request was made on this machine; one that a proxy brought may have been made anywhere."""
    if any(name in request.headers for name in _FORWARDED):
        return False
    try:
        address = ipaddress.ip_address((request.remote or "").partition("%")[0])
    except ValueError:
        return False
    # A socket that listens on [::] sees IPv4 like this.
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def address_of(request: web.Request) -> str:
    """The IP address that the request comes from, or empty."""
    return request.app[PROXIES].client_address(request.remote, request.headers.getall(FORWARDED_FOR, ()))


def _first(request: web.Request, name: str) -> str:
    return request.headers.get(name, "").partition(",")[0].strip()


def _without_port(host: str, scheme: str) -> str:
    return host.removesuffix(_PORTS[scheme])
