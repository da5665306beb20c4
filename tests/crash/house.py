"""A server under features: who works there until it is killed, and who looks around afterwards."""

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any, NamedTuple

import trio

from fastim.wire import messages2_pb2 as pb
from tests.crash.clients import Tally
from tests.crash.ledger import Ledger, Views
from tests.crash.wire import READ_BYTES, Gone, Wire, connected, json_object, refusal_of
from tests.server_process import Address, ServerProcess

DEPTH = 4
PATIENCE_SECONDS = 30.0
EVERY_BIT = 187
"""``configBitmap`` of a client that can do all."""
QUERY_MAX = 1_000


class Task(NamedTuple):
    """Something for a client to do.

    Attributes:
        key: What is done by it, in its feature's ledger.
        command: How it is asked for.
        number: What is there once it is done.
        noted: Looks at the answer.
        quiet: It has no answer; that it was done shows in what the server tells.
    """

    key: Hashable
    command: pb.GenericCommand
    number: int = 1
    noted: Callable[[pb.GenericCommand], None] | None = None
    quiet: bool = False


class Call(NamedTuple):
    """Something for the application's own server to do."""

    key: Hashable
    method: str
    path: str
    body: dict[str, Any]


class Feature(ABC):
    """One thing that the server can do, done many times while it is killed.

    Attributes:
        label: Begins the names of everything in this round.
        ledger: What was asked and answered.
        tasks: By client, in order.
        calls: For the application's server.
        listeners: Clients that are only there, to be told.
        depth: How many tasks of one client are under way at a time.
    """

    depth = DEPTH

    def __init__(self, label: str, chance: Random) -> None:
        self.label = f"{label}-{type(self).__name__.lower()}"
        self.chance = chance
        self.ledger = Ledger()
        self.tasks: dict[str, list[Task]] = {}
        self.calls: list[Call] = []
        self.listeners: list[str] = []

    def name(self, what: str, number: int = 0) -> str:
        """A name that nobody else has."""
        return f"{self.label}-{what}-{number}"

    def names(self, what: str, count: int) -> list[str]:
        return [self.name(what, number) for number in range(count)]

    @abstractmethod
    async def prepare(self, house: "House") -> None:
        """Make what is needed, and the tasks."""

    def told(self, command: pb.GenericCommand) -> Hashable | None:
        """What ``command``, which nobody asked for, says was done."""
        return None

    @abstractmethod
    async def look(self, house: "House") -> Views:
        """What is there after the crash."""


class Visit:
    """A session for a moment, and what it was told without having asked."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.told: list[pb.GenericCommand] = []

    async def send(self, command: pb.GenericCommand) -> None:
        """Say what has no answer."""
        await self._wire.send(self._wire.numbered(command))

    async def ask(self, command: pb.GenericCommand) -> pb.GenericCommand:
        """The answer, which must not be a refusal."""
        return await self._wire.ask(command, self.told.append)

    async def ask_all(self, commands: Iterable[pb.GenericCommand]) -> list[pb.GenericCommand]:
        """The answers, in the order of the commands; they may be refusals."""
        serials = []
        for command in commands:
            await self._wire.send(self._wire.numbered(command))
            serials.append(command.i)
        answers: dict[int, pb.GenericCommand] = {}
        while not answers.keys() >= set(serials):
            reply = await self._wire.receive()
            if reply.HasField("i") and reply.i in serials:
                answers[reply.i] = reply
            else:
                self.told.append(reply)
        return [answers[serial] for serial in serials]

    async def until(self, wanted: Callable[[pb.GenericCommand], bool]) -> None:
        """Wait until it was told something."""
        with trio.fail_after(PATIENCE_SECONDS):
            while not any(map(wanted, self.told)):
                self.told.append(await self._wire.receive())


class House:
    """One server, which is killed and comes back.

    Attributes:
        faults: What went wrong while it was up.
    """

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.faults: list[str] = []

    async def start(self) -> None:
        await trio.to_thread.run_sync(self.server.start)

    @asynccontextmanager
    async def visit(self, client_id: str, device: str = "visitor", **session: Any) -> AsyncIterator[Visit]:
        """A session that is dropped without a goodbye at the end."""
        async with connected(self.server.tcp, self.server.app_id, client_id) as wire:
            visit = Visit(wire)
            opening = pb.SessionCommand(deviceId=f"{client_id} {device}", configBitmap=EVERY_BIT, **session)
            await visit.ask(pb.GenericCommand(cmd=pb.session, op=pb.open, sessionMessage=opening))
            yield visit

    async def ask(self, client_id: str, *commands: pb.GenericCommand) -> list[pb.GenericCommand]:
        """The answers to a visitor's commands, which may be refusals."""
        async with self.visit(client_id) as visit:
            return await visit.ask_all(commands)

    async def make(self, client_id: str, *commands: pb.GenericCommand) -> list[pb.GenericCommand]:
        """The same where no refusal is expected."""
        answers = await self.ask(client_id, *commands)
        assert not any(map(refusal_of, answers)), answers
        return answers

    async def start_many(self, client_id: str, count: int, members: Sequence[str]) -> list[str]:
        """The ids of new conversations."""
        made = await self.make(client_id, *(conv(pb.start, m=members) for _ in range(count)))
        return [one.convMessage.cid for one in made]

    async def found(self, client_id: str, where: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
        """The conversations that fit, as the client sees them."""
        command = conv(pb.query, where=json_object(where), limit=QUERY_MAX, **fields)
        (reply,) = await self.make(client_id, command)
        return list(json.loads(reply.convMessage.results.data))

    async def own(self, client_id: str) -> list[dict[str, Any]]:
        """The conversations that the client belongs to."""
        return await self.found(client_id, {})

    async def belongs(self, client_id: str, conversations: Sequence[str]) -> dict[str, bool]:
        """Whether it belongs to each."""
        (reply,) = await self.make(client_id, conv(pb.is_member, cids=conversations))
        return dict(json.loads(reply.convMessage.results.data))

    async def notices(self, client_id: str) -> list[dict[str, Any]]:
        """Everything that is kept for the client."""
        notices: list[dict[str, Any]] = []
        since = 1
        async with self.visit(client_id) as visit:
            while True:
                native = pb.NativeCommand(since=since)
                asked = pb.GenericCommand(cmd=pb.session, op=pb.notifications, nativeMessage=native)
                page = (await visit.ask(asked)).nativeMessage
                notices += json.loads(page.notifications)
                if not page.hasMore:
                    return notices
                since = notices[-1]["serverTs"]

    async def rest(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        """What the application's own server is answered: the status, and the JSON.

        Raises:
            Gone: Nobody is there, or not any more.
        """
        return await rest(self.server, method, path, body)

    async def run(self, features: Sequence[Feature], focus: Feature, answers: int, delay_seconds: float) -> None:
        """Let all clients work, and kill the server when ``focus`` has so many answers."""
        tally, killed = Tally(), trio.Event()
        async with trio.open_nursery() as nursery:
            for feature in features:
                worth = tally if feature is focus else Tally()
                for client_id in {*feature.tasks, *feature.listeners}:
                    nursery.start_soon(self._work, feature, client_id, worth, killed)
                if feature.calls:
                    nursery.start_soon(self._call, feature, worth, killed)
            with trio.fail_after(PATIENCE_SECONDS):
                await tally.reach(answers)
            await trio.sleep(delay_seconds)
            killed.set()
            self.kill()

    def kill(self) -> None:
        if (status := self.server.process.poll()) is not None:
            raise AssertionError(f"the server ended by itself with status {status}\n{self.server.log}")
        self.server.kill()

    async def _work(self, feature: Feature, client_id: str, tally: Tally, killed: trio.Event) -> None:
        try:
            async with connected(self.server.tcp, self.server.app_id, client_id) as wire:
                session = pb.SessionCommand(deviceId=f"{client_id} worker", configBitmap=EVERY_BIT)
                opening = pb.GenericCommand(cmd=pb.session, op=pb.open, sessionMessage=session)
                await wire.ask(opening, lambda command: None)
                await _labour(wire, feature, feature.tasks.get(client_id, []), tally, self.faults)
        except Gone:
            if not killed.is_set():
                self.faults.append(f"{client_id} lost its connection to a server that was running")

    async def _call(self, feature: Feature, tally: Tally, killed: trio.Event) -> None:
        async def work(calls: Iterable[Call]) -> None:
            for call in calls:
                feature.ledger.ask(call.key)
                try:
                    status, reply = await self.rest(call.method, call.path, call.body)
                except Gone:
                    if not killed.is_set():
                        self.faults.append(f"{call.path}: no answer from a server that was running")
                    return
                if status // 100 != 2:
                    self.faults.append(f"{call.method} {call.path}: {status} {reply}")
                feature.ledger.answer(call.key)
                tally.add()

        async with trio.open_nursery() as nursery:
            for begin in range(DEPTH):
                nursery.start_soon(work, feature.calls[begin::DEPTH])


async def _labour(wire: Wire, feature: Feature, tasks: Sequence[Task], tally: Tally, faults: list[str]) -> None:
    """Do one task after the other, with a few under way at a time; then stay and listen."""
    left = iter(tasks)
    pending: dict[int, Task] = {}
    while True:
        while len(pending) < feature.depth and (task := next(left, None)) is not None:
            feature.ledger.ask(task.key, task.number)
            if task.quiet:
                # Whether the next task may begin is said by something that has an answer.
                await wire.send(wire.numbered(task.command))
                echo = wire.numbered(pb.GenericCommand(cmd=pb.echo))
                pending[echo.i] = task
                await wire.send(echo)
            else:
                pending[wire.numbered(task.command).i] = task
                await wire.send(task.command)
        reply = await wire.receive()
        done = pending.pop(reply.i, None) if reply.HasField("i") else None
        if done is None:
            if (key := feature.told(reply)) is not None:
                feature.ledger.answer(key)
                tally.add()
            continue
        if refusal := refusal_of(reply):
            faults.append(f"{done.key}: {refusal}")
        elif not done.quiet:
            feature.ledger.answer(done.key, done.number)
            tally.add()
            if done.noted is not None:
                done.noted(reply)


async def rest(server: ServerProcess, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    """One call with the master key, on a connection of its own.

    Raises:
        Gone: Nobody is there, or not any more.
    """
    content = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {server.http}\r\nConnection: close\r\n"
        f"X-LC-Id: {server.app_id}\r\nX-LC-Key: {server.master_key},master\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    answer = await _exchange(server.http, head.encode() + content)
    status, _, rest_of_it = answer.decode().partition("\r\n")
    _, _, text = rest_of_it.partition("\r\n\r\n")
    try:
        return int(status.split()[1]), json.loads(text)
    except (IndexError, ValueError) as error:
        raise Gone from error


async def _exchange(address: Address, request: bytes) -> bytes:
    answer = b""
    try:
        async with await trio.open_tcp_stream(address.host, address.port) as stream:
            await stream.send_all(request)
            while piece := await stream.receive_some(READ_BYTES):
                answer += piece
    except (OSError, trio.BrokenResourceError) as error:
        raise Gone from error
    return answer


def conv(op: pb.OpType, **fields: Any) -> pb.GenericCommand:
    return pb.GenericCommand(cmd=pb.conv, op=op, convMessage=pb.ConvCommand(**fields))


def direct(conversation: str, body: bytes, **fields: Any) -> pb.GenericCommand:
    return pb.GenericCommand(cmd=pb.direct, directMessage=pb.DirectCommand(cid=conversation, msg=body, **fields))


def logs(conversation: str, limit: int = QUERY_MAX) -> pb.GenericCommand:
    return pb.GenericCommand(cmd=pb.logs, logsMessage=pb.LogsCommand(cid=conversation, limit=limit))


def blacklist(op: pb.OpType, **fields: Any) -> pb.GenericCommand:
    return pb.GenericCommand(cmd=pb.blacklist, op=op, blacklistMessage=pb.BlacklistCommand(**fields))
