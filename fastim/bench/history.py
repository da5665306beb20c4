"""Reading back through what was stored."""

from collections import deque
from collections.abc import Iterator

from fastim.bench import commands, profile
from fastim.bench.driver import Driver
from fastim.bench.parts import PAGE, UNMEASURED, Beat, Kept, Window
from fastim.wire import messages2_pb2 as pb


class History:
    """See ``profile.History``.

    A reader asks for one page at a time, since only that says where the next one begins. A page that is due while all
    readers wait is asked for by the first who has an answer, and its time counts from when it was due all the same.
    """

    def __init__(self, given: profile.History) -> None:
        self._given = given
        self.restless = False
        self.connections = given.conversations
        self.keeps: tuple[Kept, ...] = (PAGE,)

    def prepare(self, driver: Driver, name: str, first: int, meter: int) -> None:
        self._driver, self._first, self._meter = driver, first, meter
        self._ids = [f"{name}{n}" for n in range(self.connections)]
        driver.open(first, self._ids)
        requests = ((first + n, commands.start(client_id, [client_id])) for n, client_id in enumerate(self._ids))
        ids = {}
        for number, answer in driver.ask("starting conversations", requests):
            ids[number - first] = answer.convMessage.cid
        self._conversations = [ids[n] for n in range(self.connections)]
        driver.ask("storing history", self._stored())
        self._tag = driver.tag(self._heard)
        self._before: list[tuple[int, str] | None] = [None] * self.connections

    def begin(self, window: Window) -> None:
        self._window = window
        self._beat = Beat(self._given.rate, window.begin_ns, window.end_ns)
        self._free = deque(range(self.connections))
        self._waiting: deque[int] = deque()

    def act(self, now_ns: int) -> int:
        self._waiting.extend(self._beat.take(now_ns))
        self._ask()
        return self._beat.next_ns

    def finish(self) -> None:
        pass

    def figures(self, ended: set[int]) -> dict[str, int]:
        for due_ns in self._waiting:
            self._driver.fleet.owe(self._metered(due_ns))
        self._waiting.clear()
        return {}

    def _ask(self) -> None:
        while self._waiting and self._free:
            n, due_ns = self._free.popleft(), self._waiting.popleft()
            command = commands.page(self._conversations[n], self._given.page, self._before[n])
            self._driver.post(self._first + n, self._driver.template(command), self._metered(due_ns), due_ns, self._tag)

    def _heard(self, number: int, answer: pb.GenericCommand) -> None:
        n, logs = number - self._first, answer.logsMessage.logs
        if len(logs) < self._given.page:
            self._before[n] = None
        else:
            oldest = min(logs, key=lambda item: (item.timestamp, item.msgId))
            self._before[n] = oldest.timestamp, oldest.msgId
        self._free.append(n)
        self._ask()

    def _stored(self) -> Iterator[tuple[int, pb.GenericCommand]]:
        body = commands.body_of(self._given.body_bytes)
        for _ in range(self._given.messages):
            for n, conversation_id in enumerate(self._conversations):
                yield self._first + n, commands.message(self._ids[n], conversation_id, body)

    def _metered(self, due_ns: int) -> int:
        return self._meter if self._window.measures(due_ns) else UNMEASURED
