"""All clients of a run: they connect, ask, and wait for what comes, in one thread.

What is sent when is decided by the parts; whatever comes back goes to the part that asked for it.
"""

import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from time import monotonic, monotonic_ns

from google.protobuf.message import DecodeError
from msgspec import Struct

from fastim._load import ANSWERED, BLOCKED, ENDED, REFUSED, RELIEVED, TCP, WEBSOCKET, Fleet, Template
from fastim.bench import commands
from fastim.bench.failures import BenchError
from fastim.bench.poller import READ, WRITE, poller
from fastim.core.errors import AppNotAvailable, SendQuotaExceeded, SignatureFailed
from fastim.wire import messages2_pb2 as pb

AT_ONCE = 200
"""Requests that wait for one another while clients are set up: enough to share commits, few enough for any backlog."""
REPLY_SECONDS = 20.0
CONNECT_SECONDS = 5.0
LOOK_SECONDS = 0.05
"""How long to wait at most before looking whether somebody wants it to end."""
SOURCES = 8
"""Addresses to connect from on this machine: one has some 28,000 ports, and those closed just now are not free."""
_IP_BIND_ADDRESS_NO_PORT = 24
_NOT_COUNTED = 0

Heard = Callable[[int, pb.GenericCommand], None]


class Target(Struct, frozen=True):
    """The server to be loaded.

    Attributes:
        host: A name or an address.
        app_id: Of an application that it has.
    """

    host: str
    port: int
    app_id: str
    websocket: bool = False


class Driver:
    """The clients, by number, and their connections.

    Args:
        connections: How many there may be.
        meters: That count them; meter 0 counts what is not measured.
        look: Called often; raises ``Interrupted`` when it is to end.

    Attributes:
        failures: What the server refused or complained of, by code and reason.
        ended: Connections that the server ended and nobody asked it to.
        template: Makes a frame of a command.
    """

    def __init__(self, target: Target, connections: int, meters: int, look: Callable[[], None]) -> None:
        self.target = target
        self.fleet = Fleet(connections, meters)
        self.failures: Counter[tuple[int, str]] = Counter()
        self.ended: list[int] = []
        self.look = look
        self._poller = poller()
        self._framing = WEBSOCKET if target.websocket else TCP
        self._family, self._address = _resolve(target)
        self._heard: list[Heard] = []
        self._why: dict[int, str] = {}

    # --- Connections --------------------------------------------------------------------------------------------------

    def dial(self, number: int) -> None:
        """Begin to connect; what is posted from now on waits for that.

        Raises:
            BenchError: There are no sockets or addresses left, or the server's address is out of reach.
        """
        try:
            made = socket.socket(self._family, socket.SOCK_STREAM)
        except OSError as error:
            raise BenchError(f"there are no sockets for connection {number + 1}: {error.strerror or error}") from error
        try:
            made.setblocking(False)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if sys.platform == "linux" and str(self._address[0]) == "127.0.0.1":
                made.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
                made.bind((f"127.0.0.{2 + number % SOURCES}", 0))
            made.connect_ex(self._address)
        except OSError as error:
            made.close()
            raise BenchError(f"connection {number + 1} could not be made: {error.strerror or error}") from error
        descriptor = made.detach()
        self.fleet.attach(number, descriptor, self._framing)
        self._poller.watch(descriptor, READ | WRITE)

    def hang_up(self, number: int) -> None:
        """Close a connection without a word, as a lost network does."""
        self.pause(number)
        self.fleet.close(number)

    def pause(self, number: int) -> None:
        """Read no longer from a connection."""
        if (descriptor := self.fleet.fd(number)) >= 0:
            self._poller.forget(descriptor)

    def resume(self, number: int) -> None:
        """Read again from a connection, if there still is one."""
        if (descriptor := self.fleet.fd(number)) >= 0:
            self._poller.watch(descriptor, READ)

    def close(self) -> None:
        """Close everything."""
        self._poller.close()
        del self.fleet

    # --- Asking -------------------------------------------------------------------------------------------------------

    def template(self, command: pb.GenericCommand) -> Template:
        """The frame of a command."""
        return commands.template(command, websocket=self.target.websocket)

    def tag(self, heard: Heard) -> int:
        """What to call requests whose answers, refusals too, go to ``heard``: the connection, and the command."""
        self._heard.append(heard)
        return len(self._heard) - 1

    def post(
        self,
        number: int,
        template: Template,
        meter: int,
        due_ns: int,
        tag: int = -1,
        each: int = -1,
        last: int = -1,
        expected: int = 0,
    ) -> None:
        """Send something that was due then; see ``Fleet.post``."""
        if self.fleet.post(number, template, meter, due_ns, tag, each, last, expected):
            self._poller.watch(self.fleet.fd(number), READ | WRITE)

    def ask(self, what: str, requests: Iterable[tuple[int, pb.GenericCommand]]) -> list[tuple[int, pb.GenericCommand]]:
        """Make requests while clients are set up, and wait for the answers.

        Args:
            what: Of the requests, for errors: ``opening sessions``.

        Returns:
            Connection and answer, as they came.

        Raises:
            BenchError: One was refused, or had no answer in time.
        """
        answers: list[tuple[int, pb.GenericCommand]] = []
        tag = self.tag(lambda number, answer: answers.append((number, answer)))
        asked = 0
        for number, command in requests:
            self.post(number, self.template(command), _NOT_COUNTED, monotonic_ns(), tag)
            asked += 1
            if asked - len(answers) >= AT_ONCE:
                self._wait_for(what, answers, asked - AT_ONCE // 2)
        self._wait_for(what, answers, asked)
        return answers

    def open(self, first: int, client_ids: Sequence[str]) -> list[str]:
        """Connect a client for each id, from connection ``first`` on, and open its session.

        Returns:
            The sessions' tokens.

        Raises:
            BenchError: That was not possible.
        """

        def openings() -> Iterable[tuple[int, pb.GenericCommand]]:
            for number, client_id in enumerate(client_ids, first):
                self.dial(number)
                yield number, commands.opening(client_id, self.target.app_id)

        tokens = [""] * len(client_ids)
        for number, answer in self.ask("opening sessions", openings()):
            tokens[number - first] = answer.sessionMessage.st
        return tokens

    def _wait_for(self, what: str, answers: Sequence[object], wanted: int) -> None:
        deadline = monotonic() + REPLY_SECONDS
        waiting = True
        while waiting:
            waiting = len(answers) < wanted
            self.turn(LOOK_SECONDS if waiting else 0)
            if self.failures:
                [(code, reason), *_] = self.failures
                raise BenchError(f"{what}: the server says {code} {reason}{hint_for(code)}")
            if self.ended:
                why = self._why[self.ended[0]] or "it closed the connection"
                raise BenchError(f"{what}: {_place(self.target)}: {why}")
            if monotonic() > deadline:
                raise BenchError(f"{what}: no answer from {_place(self.target)} within {REPLY_SECONDS:g} s")

    # --- Going on -----------------------------------------------------------------------------------------------------

    def turn(self, seconds: float) -> int:
        """Wait so long for sockets, and serve those that are ready.

        Returns:
            How many were.

        Raises:
            Interrupted: It is to end.
        """
        self.look()
        ready = self._poller.wait(min(seconds, LOOK_SECONDS))
        for what, number, tag, body in self.fleet.serve(ready) if ready else ():
            if what == ANSWERED:
                self._heard[tag](number, pb.GenericCommand.FromString(body))
            elif what == REFUSED:
                self.failures[_complaint(body)] += 1
                if tag >= 0:
                    self._heard[tag](number, pb.GenericCommand.FromString(body))
            elif what == ENDED:
                self.hang_up(number)
                self.ended.append(number)
                self._why[number] = body.decode(errors="replace")
            elif what == BLOCKED:
                self._poller.watch(self.fleet.fd(number), READ | WRITE)
            elif what == RELIEVED and self.fleet.fd(number) >= 0:
                self._poller.watch(self.fleet.fd(number), READ)
        return len(ready)


def hint_for(code: int) -> str:
    """What to do about an error, where that is known; empty elsewhere."""
    return _HINTS.get(code, "")


_HINTS = {
    AppNotAvailable.code: "; is --app-id that of an application there?",
    SignatureFailed.code: "; security.require_signature is on, and the load signs nothing",
    SendQuotaExceeded.code: "; limits.sends_per_minute or another limit bit: raise it, or send from more clients",
}


def _complaint(body: bytes) -> tuple[int, str]:
    """Code and reason of what the server does not like."""
    try:
        command = pb.GenericCommand.FromString(body)
    except DecodeError:
        command = pb.GenericCommand()
    if not command.HasField("cmd"):
        return 0, "what it sent is no command"
    for said in (command.errorMessage, command.ackMessage, command.sessionMessage):
        if said.HasField("code"):
            return said.code, said.reason
    return 0, pb.CommandType.Name(command.cmd)


def _resolve(target: Target) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """The first of the server's addresses that somebody listens on: ``localhost`` has two, and often one is idle."""
    problem = OSError("it has no address")
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise BenchError(f"{_place(target)}: {error.strerror or error}") from error
    for family, _, _, _, address in found:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.settimeout(CONNECT_SECONDS)
            try:
                trial.connect(address)
            except OSError as error:
                problem = error
            else:
                return family, (str(address[0]), int(address[1]))
    raise BenchError(f"{_place(target)}: {problem.strerror or problem}") from problem


def _place(target: Target) -> str:
    return f"[{target.host}]:{target.port}" if ":" in target.host else f"{target.host}:{target.port}"
