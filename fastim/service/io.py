"""What every use case may reach: one application's part of the world."""

from collections.abc import Callable

from msgspec import Struct

from fastim.core.application import Application
from fastim.core.policy import Policy
from fastim.ports.bus import Bus
from fastim.ports.clock import Clock
from fastim.ports.directory import Directory
from fastim.ports.lanes import Lanes
from fastim.ports.pace import Pace
from fastim.ports.store import ApplicationStore


class Io(Struct, frozen=True):
    """The ports, bound to one application.

    Attributes:
        entropy: So many unpredictable bytes.
    """

    application: Application
    policy: Policy
    store: ApplicationStore
    lanes: Lanes
    bus: Bus
    directory: Directory
    clock: Clock
    pace: Pace
    entropy: Callable[[int], bytes]
