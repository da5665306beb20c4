"""Conversations of two, and groups: every message is stored, and delivered to every other member."""

from fastim._load import Template
from fastim.bench import commands, profile
from fastim.bench.driver import Driver
from fastim.bench.parts import ACK, DELIVERY, LAST, UNMEASURED, Beat, Kept, Window


class Conversations:
    """See ``profile.Conversations``."""

    def __init__(self, given: profile.Conversations) -> None:
        self._given = given
        self.restless = False
        self.connections = given.conversations * given.members
        self.keeps: tuple[Kept, ...] = (DELIVERY, LAST, ACK) if given.members > 2 else (DELIVERY, ACK)

    def prepare(self, driver: Driver, name: str, first: int, meter: int) -> None:
        given = self._given
        self._driver, self._first = driver, first
        self._meters = {kept: meter + index for index, kept in enumerate(self.keeps)}
        self._ids = [f"{name}{n}" for n in range(self.connections)]
        driver.open(first, self._ids)
        starters = range(0, self.connections, given.members)
        requests = ((first + n, commands.start(self._ids[n], self._ids[n : n + given.members])) for n in starters)
        ids = {}
        for number, answer in driver.ask("starting conversations", requests):
            ids[(number - first) // given.members] = answer.convMessage.cid
        self._conversations = [ids[n] for n in range(given.conversations)]
        self._templates: dict[int, Template] = {}
        if given.acks:
            for n in range(self.connections):
                driver.fleet.acks(first + n, self._conversations[n // given.members].encode())

    def begin(self, window: Window) -> None:
        self._window = window
        self._beat = Beat(self._given.rate, window.begin_ns, window.end_ns)
        self._sent = 0

    def act(self, now_ns: int) -> int:
        for due_ns in self._beat.take(now_ns):
            self._send(due_ns)
        return self._beat.next_ns

    def finish(self) -> None:
        pass

    def figures(self, ended: set[int]) -> dict[str, int]:
        return {}

    def _send(self, due_ns: int) -> None:
        given, turn = self._given, self._sent
        self._sent += 1
        conversation = turn % given.conversations
        n = conversation * given.members + turn // given.conversations % given.members
        self._driver.post(
            self._first + n,
            self._template(n, conversation),
            self._measured(ACK, due_ns),
            due_ns,
            each=self._measured(DELIVERY, due_ns),
            last=self._measured(LAST, due_ns) if LAST in self._meters else -1,
            expected=given.members - 1,
        )

    def _template(self, n: int, conversation: int) -> Template:
        found = self._templates.get(n)
        if found is None:
            body = commands.body_of(self._given.body_bytes)
            found = self._driver.template(commands.message(self._ids[n], self._conversations[conversation], body))
            self._templates[n] = found
        return found

    def _measured(self, kept: Kept, due_ns: int) -> int:
        return self._meters[kept] if self._window.measures(due_ns) else UNMEASURED
