"""Units that a bare number would hide."""

from datetime import UTC, datetime
from typing import NewType

Millis = NewType("Millis", int)
"""A moment: milliseconds since the Unix epoch, or a length of time in milliseconds where a name says so."""


def iso(moment: Millis) -> str:
    """``moment`` as ``YYYY-MM-DDTHH:MM:SS.mmmZ``, the only form that every SDK parses.

    Source: wire protocol, envelope rules: exactly three fraction digits and a literal ``Z``.
    """
    seconds, millis = divmod(moment, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{millis:03d}Z"
