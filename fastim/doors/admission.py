"""Whether one more connection may come in."""

import asyncio

from fastim.runtime.gateway import Gateway


def admits(gateway: Gateway, on_the_way: int = 0) -> bool:
    """Whether there is room for one more; not while the server stops or is short of memory.

    Args:
        on_the_way: How many more were let in that are no connections yet.
    """
    if not gateway.accepting:
        return False
    if gateway.short_of_memory:
        gateway.counters.bit("memory")
        return False
    limit = gateway.limits.connections
    if limit and len(gateway.connections) + on_the_way >= limit:
        gateway.counters.bit("connections")
        return False
    return True


def turn_away(transport: asyncio.Transport) -> None:
    """Close without a word; nobody hears of this connection again."""
    transport.set_protocol(asyncio.Protocol())
    transport.close()
