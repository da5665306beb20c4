"""Open files: how many this process may have, and how many connections that allows."""

import resource
from contextlib import suppress

RESERVED = 64
RESERVED_SHARE = 16
"""One in so many stays for the store, health checks and whatever else needs a descriptor when the doors are full."""


def raise_limit() -> int:
    """Raise the soft limit on open files as far as the hard one lets us.

    Returns:
        The limit that holds now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS has a lower limit of its own and refuses
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return soft


def connections_for(descriptor_limit: int) -> int:
    """How many connections a process with that limit can hold."""
    return max(0, descriptor_limit - max(RESERVED, descriptor_limit // RESERVED_SHARE))
