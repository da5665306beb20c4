"""How the server fares."""

from typing import Any

from fastim.doors.http.console.calls import Asked, Call, Nothing
from fastim.runtime.pulse import Snapshot


async def _live(asked: Asked[Nothing, Nothing]) -> Snapshot:
    return await asked.console.pulse.snapshot()


CALLS: tuple[Call[Any, Any], ...] = (Call("GET", "/live", _live, unasked=True),)
