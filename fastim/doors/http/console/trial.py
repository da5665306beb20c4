"""The page for trying out: which application it uses, and what becomes of its chat room's messages.

It has to work at the first start, before there is a password: on this machine, it needs none. All that it can reach is
an application that was made for it.
"""

import ipaddress
from typing import Any

from msgspec import Struct

from fastim.core.ledger import Ledger
from fastim.doors.http.console.calls import Asked, Call, Needs, Nothing, Problem
from fastim.runtime.trial import Trial


class Opened(Struct, frozen=True):
    """An application, for clients."""

    id: str
    key: str


class Ground(Struct, frozen=True):
    """What the page needs.

    Attributes:
        server: Where WebSockets go, ``ws://`` or ``wss://`` and a host.
        room: The chat room.
        words: What is listed there to be masked.
    """

    application: Opened
    server: str
    room: str
    words: tuple[str, ...]


async def _open(asked: Asked[Nothing, Nothing]) -> Ground:
    ground = await _admitted(asked).open()
    scheme = "wss" if asked.over_tls else "ws"
    opened = Opened(ground.application.id, ground.application.key)
    return Ground(opened, f"{scheme}://{asked.host}", ground.room, ground.words)


async def _ledger(asked: Asked[Nothing, Nothing]) -> Ledger:
    return await _admitted(asked).ledger()


def _admitted(asked: Asked[Nothing, Nothing]) -> Trial:
    """What there is to try, for those who may.

    Raises:
        Problem: They may not, or it is switched off.
    """
    trial = asked.console.trial
    if trial is None:
        raise Problem(404, "trying out is switched off (console.try_enabled)")
    if not asked.host:
        raise Problem(400, "the Host header says no host")
    # A name of somebody else's that leads to this machine is how another site gets a browser to ask from it.
    if asked.signed is None and not (asked.local and _is_this_machine(asked.host)):
        raise Problem(401, "sign in first, or use a browser on the server's own machine")
    return trial


def _is_this_machine(host: str) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


CALLS: tuple[Call[Any, Any], ...] = (
    Call("GET", "/try", _open, needs=Needs.NOBODY),
    Call("GET", "/try/ledger", _ledger, needs=Needs.NOBODY, unasked=True),
)
