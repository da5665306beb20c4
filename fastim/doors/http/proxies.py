"""Reverse proxies: whose ``X-Forwarded-*`` headers count, and where a request really comes from."""

import ipaddress
from collections.abc import Iterable, Sequence

from aiohttp import web

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

FORWARDED_FOR = "X-Forwarded-For"


class Proxies:
    """The peers that are believed.

    Args:
        networks: ``http.trusted_proxies``.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def trust(self, peer: str | None) -> bool:
        """Whether what ``peer`` forwards counts."""
        address = _parse(peer) if self._networks and peer else None
        return address is not None and any(address in network for network in self._networks)

    def client_address(self, peer: str | None, forwarded: Sequence[str]) -> str:
        """The IP address that a request comes from, or empty when that is not known.

        Each proxy adds to the right what it sees, and anybody may have written what stands on the left. So it is the
        last address that no trusted proxy has; or the first of all when they have them all.

        Args:
            peer: Who is at the other end of the connection.
            forwarded: The values of ``X-Forwarded-For``, in their order.
        """
        known = peer or ""
        hops = [hop.strip() for value in forwarded for hop in value.split(",")]
        while hops and self.trust(known):
            address = _parse(hops.pop())
            if address is None:  # a proxy may hide who it is: then nothing further left can be believed
                break
            known = str(address)
        return known


PROXIES: web.AppKey[Proxies] = web.AppKey("proxies", Proxies)
"""Where an application's routes find them."""


def peer_of(socket_address: object) -> str:
    """The IP address in a transport's ``peername``, or empty when it has none."""
    return str(socket_address[0]) if isinstance(socket_address, tuple) else ""


def _parse(text: str) -> IpAddress | None:
    """The address in ``text``, which some proxies put a port behind; ``None`` when there is none."""
    host = text.partition("%")[0]
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    # A socket that listens on [::] sees IPv4 like this.
    return getattr(address, "ipv4_mapped", None) or address
