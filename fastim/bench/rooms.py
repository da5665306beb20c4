"""Chat rooms under load: broadcasts, and what happens to them when readers come, go, or do not read."""

from collections import deque
from collections.abc import Iterator

from fastim._load import Template
from fastim.bench import commands, profile
from fastim.bench.driver import Driver
from fastim.bench.parts import (
    ACK,
    BURST,
    COME_BACK,
    DELIVERY,
    ENTER,
    LAST,
    NEVER,
    SECOND,
    UNMEASURED,
    Beat,
    Kept,
    Window,
)


class Rooms:
    """See ``profile.Rooms``."""

    def __init__(self, given: profile.Rooms) -> None:
        self._given = given
        self._readers = given.rooms * given.readers
        self.connections = self._readers + given.senders
        # While readers come and go, nobody can say how many a message has to come to.
        comings = bool(given.enter_seconds or given.reconnect_percent)
        self._slow_in_each = _share(given.readers, given.slow_percent)
        self.restless = comings or self._slow_in_each > 0
        self._expected = 0 if comings else given.readers - self._slow_in_each
        self.keeps: tuple[Kept, ...] = (DELIVERY, LAST, ACK) if self._expected else (DELIVERY, ACK)
        if given.enter_seconds:
            self.keeps += (ENTER,)
        if given.reconnect_percent:
            self.keeps += (COME_BACK,)

    def prepare(self, driver: Driver, name: str, first: int, meter: int) -> None:
        given = self._given
        self._driver, self._name, self._first = driver, name, first
        self._meters = {kept: meter + index for index, kept in enumerate(self.keeps)}
        self._ids = [f"{name}r{n}" for n in range(self._readers)] + [f"{name}s{n}" for n in range(given.senders)]
        self._tokens = driver.open(first, self._ids)
        starters = range(0, self._readers, given.readers)
        rooms = {}
        for number, answer in driver.ask(
            "starting rooms", ((first + n, commands.start(self._ids[n], [self._ids[n]], room=True)) for n in starters)
        ):
            rooms[(number - first) // given.readers] = answer.convMessage.cid
        self._rooms = [rooms[n] for n in range(given.rooms)]
        waiting = [n for n in range(self._readers) if n % given.readers]
        entries = ((n, commands.enter(self._ids[n], self._rooms[n // given.readers])) for n in waiting)
        self._entries: deque[tuple[int, Template]] = deque()
        if given.enter_seconds:
            self._entries.extend((first + n, driver.template(command)) for n, command in entries)
        else:
            driver.ask("entering rooms", ((first + n, command) for n, command in entries))
        self._priorities = list(self._mixed())
        self._templates: dict[tuple[int, int, int], Template] = {}
        self._lost: deque[tuple[int, Template, int]] = deque()
        self._away: set[int] = set()

    def begin(self, window: Window) -> None:
        given = self._given
        self._window = window
        self._beat = Beat(given.rate, window.begin_ns, window.end_ns)
        self._sent = 0
        self._slow: list[int] = []
        within = len(self._entries) / given.enter_seconds if given.enter_seconds else 0
        entered_ns = window.measured_ns + int(given.enter_seconds * SECOND)
        self._entering = Beat(within, window.measured_ns, min(entered_ns, window.end_ns))
        apart_ns = int(given.reconnect_every_seconds * SECOND)
        self._next_loss_ns = window.measured_ns + apart_ns if given.reconnect_percent else NEVER
        self._losses = 0
        if self._next_loss_ns >= window.end_ns:
            self._next_loss_ns = NEVER

    def act(self, now_ns: int) -> int:
        if self._slow_in_each and not self._slow and now_ns >= self._window.measured_ns:
            self._stop_reading()
        for due_ns in self._beat.take(now_ns):
            self._send(due_ns)
        for due_ns in self._entering.take(now_ns):
            number, template = self._entries.popleft()
            self._driver.post(number, template, self._measured(ENTER, due_ns), due_ns)
        if now_ns >= self._next_loss_ns:
            self._lose()
        for _ in range(min(BURST, len(self._lost))):
            number, template, lost_ns = self._lost.popleft()
            self._away.remove(number)
            self._driver.dial(number)
            self._driver.post(number, template, self._measured(COME_BACK, lost_ns), lost_ns)
        return now_ns if self._lost else min(self._beat.next_ns, self._entering.next_ns, self._next_loss_ns)

    def finish(self) -> None:
        for number in self._slow:
            self._driver.resume(number)

    def figures(self, ended: set[int]) -> dict[str, int]:
        if not self._slow_in_each:
            return {}
        closed = ended.intersection(self._slow)
        ended -= closed
        return {
            "slow readers": len(self._slow),
            "deliveries to slow readers": self._driver.fleet.slow_came,
            "slow readers that the server closed": len(closed),
        }

    def _send(self, due_ns: int) -> None:
        sender, room, priority = self._next()
        self._driver.post(
            self._first + self._readers + sender,
            self._template(sender, room, priority),
            self._measured(ACK, due_ns),
            due_ns,
            each=self._measured(DELIVERY, due_ns),
            last=self._measured(LAST, due_ns) if LAST in self._meters else -1,
            expected=self._expected,
        )

    def _next(self) -> tuple[int, int, int]:
        """Who sends, to which room, with what priority. All pairs come to turns, and priorities in even shares."""
        given, number = self._given, self._sent
        self._sent += 1
        room = number % given.rooms
        sender = (number + number // given.rooms) % given.senders if given.rooms > 1 else number % given.senders
        return sender, room, self._priorities[number % len(self._priorities)]

    def _mixed(self) -> Iterator[int]:
        """The priorities of a hundred messages."""
        given = self._given
        high = low = 0.0
        for _ in range(100):
            high += given.high_percent
            low += given.low_percent
            if high >= 100:
                high -= 100
                yield commands.HIGH
            elif low >= 100:
                low -= 100
                yield commands.LOW
            else:
                yield commands.NORMAL

    def _template(self, sender: int, room: int, priority: int) -> Template:
        key = sender, room, priority
        found = self._templates.get(key)
        if found is None:
            body = commands.body_of(self._given.body_bytes)
            sender_id = self._ids[self._readers + sender]
            found = self._driver.template(commands.message(sender_id, self._rooms[room], body, priority))
            self._templates[key] = found
        return found

    def _measured(self, kept: Kept, due_ns: int) -> int:
        return self._meters[kept] if self._window.measures(due_ns) else UNMEASURED

    def _stop_reading(self) -> None:
        readers, slow = self._given.readers, self._slow_in_each
        self._slow = [self._first + n for n in range(self._readers) if n % readers >= readers - slow]
        for number in self._slow:
            self._driver.pause(number)
            self._driver.fleet.slow(number)

    def _lose(self) -> None:
        """Have some readers lose their connections; those that come back one after the other count from now on.

        Who has not begun to come back since the last time has no connection to lose.
        """
        readers = self._given.readers
        some = _share(readers, self._given.reconnect_percent)
        lost_ns = self._next_loss_ns
        self._losses += 1
        self._next_loss_ns += int(self._given.reconnect_every_seconds * SECOND)
        if self._next_loss_ns >= self._window.end_ns:
            self._next_loss_ns = NEVER
        begin = (self._losses - 1) * some
        for room in range(self._given.rooms):
            for place in range(begin, begin + some):
                n = room * readers + place % readers
                number = self._first + n
                if number in self._away:
                    continue
                command = commands.opening(self._ids[n], self._driver.target.app_id, self._tokens[n])
                self._driver.hang_up(number)
                self._away.add(number)
                self._lost.append((number, self._driver.template(command), lost_ns))


def _share(readers: int, percent: float) -> int:
    """So many of them; one at least, where there should be any."""
    return max(round(readers * percent / 100), 1) if percent else 0
