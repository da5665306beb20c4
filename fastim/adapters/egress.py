"""Connections to addresses that somebody else chose.

URLs of the operator's settings file lead where they lead. All others, those that were stored for an application by REST
or the console and those that devices bring along, must not be a way into the operator's own network: what they lead to
must be a public address. It is looked at where the socket is made, so the address that is judged is the one that is
connected to, whatever the URL looks like, whatever a name resolves to, and whenever it resolves to something else.
"""

import ipaddress
import socket
import ssl
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver

IDLE_SECONDS: Final = 1.0
"""How long an unused connection is kept. Below what common servers allow (gunicorn 2 s, Node 5 s), so that a request
hardly ever meets a connection that is about to be closed."""

_NOT_PUBLIC_4: Final = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "168.63.129.16/32",  # what machines in Azure ask about themselves
            "169.254.0.0/16",  # what machines elsewhere ask about themselves is in here
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",  # multicast, reserved, broadcast
        ),
    )
)
_PUBLIC_6: Final = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_6: Final = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # protocols' own, Teredo among them
            "2001:db8::/32",
            "2002::/16",  # 6to4: leads to any IPv4 address
            "3fff::/20",
        ),
    )
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class EgressRefused(OSError):
    """The address is not a public one, and the URL is not the operator's."""

    def __init__(self) -> None:
        super().__init__("the address is not public")


def connector(
    *, guarded: bool, limit: int, kept: bool = True, resolver: AbstractResolver | None = None
) -> aiohttp.TCPConnector:
    """Makes an HTTP client's connections; one for each client, within a running loop.

    Redirects, cookies and proxies are the client's affair: with ``allow_redirects=False`` and ``DummyCookieJar`` there
    are none of them.

    Args:
        guarded: Only to public addresses: ``EgressRefused``, which aiohttp wraps into ``ClientConnectorError``.
        limit: Connections at once; 0: any number.
        kept: Whether connections are used again.
        resolver: Finds the addresses of names; ``None``: the system's.
    """
    return aiohttp.TCPConnector(
        limit=limit,
        keepalive_timeout=IDLE_SECONDS if kept else None,
        force_close=not kept,
        resolver=resolver,
        socket_factory=open_public if guarded else None,
    )


def open_public(target: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that is about to be connected to ``target``.

    Raises:
        EgressRefused: That is not a public address.
    """
    family, kind, protocol, _, address = target
    if not is_public(str(address[0])):
        raise EgressRefused
    return socket.socket(family, kind, protocol)


def is_public(address: str) -> bool:
    """Whether ``address``, an IP address as text, is one of the internet at large. A name is not."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv4Address):
        return not any(found in network for network in _NOT_PUBLIC_4)
    carried = found.ipv4_mapped
    if found in _NAT64:
        carried = ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)
    if carried is not None:
        return is_public(str(carried))
    return found in _PUBLIC_6 and not any(found in network for network in _NOT_PUBLIC_6)


def problem_of(error: Exception) -> str:
    """What went wrong with a request, for logs: never an address, nor whatever else an exception's text may hold."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the name cannot be resolved"
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return "no TLS that can be trusted"
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, EgressRefused):
        return str(error.os_error)
    if isinstance(error, aiohttp.ClientConnectorError | ConnectionRefusedError):
        return "no connection"
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError | OSError):
        return "the connection was cut"
    if isinstance(error, aiohttp.ClientResponseError):
        return "the answer is not HTTP"
    return f"it cannot be asked: {type(error).__name__}"
