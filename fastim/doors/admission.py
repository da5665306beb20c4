"""Whether one more connection may come in."""

import asyncio

from fastim.runtime.gateway import Gateway


def admits(gateway: Gateway) -> bool:
    """Whether there is room for one more; not while the server stops."""
    limit = gateway.limits.connections
    return gateway.accepting and (limit == 0 or len(gateway.connections) < limit)


def turn_away(transport: asyncio.Transport) -> None:
    """Close without a word; nobody hears of this connection again."""
    transport.set_protocol(asyncio.Protocol())
    transport.close()
