"""What every use case may reach: one application's part of the world."""

from collections.abc import Callable

from msgspec import Struct, field

from fastim.core.application import Application
from fastim.core.backlog import Backlog
from fastim.core.policy import Policy
from fastim.ports.bus import Bus
from fastim.ports.clock import Clock
from fastim.ports.directory import Directory
from fastim.ports.hooks import Hooks
from fastim.ports.ingress import Ingress
from fastim.ports.lanes import Lanes
from fastim.ports.pace import Pace
from fastim.ports.push import Pusher
from fastim.ports.rooms import Rooms
from fastim.ports.store import ApplicationStore
from fastim.ports.story import Story
from fastim.ports.words import Words


class Io(Struct, frozen=True):
    """The ports, bound to one application.

    Attributes:
        entropy: So many unpredictable bytes.
        backlogs: What sessions have still to be pushed of what they missed, by session number and log; it is
            ``fastim.service.offline`` that keeps it.
        story: Who is told what else nobody would know of a message; ``None``: nobody wants to know.
        announced: Numbers of the open sessions of which a hook is told when they end; it is
            ``fastim.service.sessions`` that keeps it.
    """

    application: Application
    policy: Policy
    store: ApplicationStore
    lanes: Lanes
    bus: Bus
    directory: Directory
    rooms: Rooms
    clock: Clock
    pace: Pace
    words: Words
    ingress: Ingress
    hooks: Hooks
    pusher: Pusher
    entropy: Callable[[int], bytes]
    story: Story | None = None
    backlogs: dict[int, dict[str, Backlog]] = field(default_factory=dict)
    announced: set[int] = field(default_factory=set)
