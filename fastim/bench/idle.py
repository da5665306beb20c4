"""Clients that are only there."""

from fastim.bench import commands, profile
from fastim.bench.driver import Driver
from fastim.bench.parts import ECHO, UNMEASURED, Beat, Kept, Window


class Idle:
    """See ``profile.Idle``. They take turns, evenly spread over the time in which each of them has one."""

    def __init__(self, given: profile.Idle) -> None:
        self._given = given
        self.restless = False
        self.connections = given.clients
        self.keeps: tuple[Kept, ...] = (ECHO,)

    def prepare(self, driver: Driver, name: str, first: int, meter: int) -> None:
        self._driver, self._first, self._meter = driver, first, meter
        driver.open(first, [f"{name}{n}" for n in range(self.connections)])
        # Without the client's id, which a connection of one client does not need, all of them say the same.
        self._template = driver.template(commands.echo())

    def begin(self, window: Window) -> None:
        self._window = window
        self._beat = Beat(self.connections / self._given.echo_seconds, window.begin_ns, window.end_ns)
        self._sent = 0

    def act(self, now_ns: int) -> int:
        for due_ns in self._beat.take(now_ns):
            meter = self._meter if self._window.measures(due_ns) else UNMEASURED
            self._driver.post(self._first + self._sent % self.connections, self._template, meter, due_ns)
            self._sent += 1
        return self._beat.next_ns

    def finish(self) -> None:
        pass

    def figures(self, ended: set[int]) -> dict[str, int]:
        return {}
