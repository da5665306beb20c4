"""Clients of the load driver: blocking while they are set up; ``sending`` then drives them all at once."""

from collections.abc import Iterator, Sequence

from bench.load.transports import READ_BYTES, Transport
from fastim.core.session import Config
from fastim.wire import messages2_pb2 as pb

AT_ONCE = 200
"""Openings that wait for one another: enough to share commits, few enough for any backlog."""
CONFIG = int(Config.TEMPORARY_CONVERSATIONS | Config.TRANSIENT_ACKS | Config.PARTIAL_FAILURE)


class Refused(Exception):
    """The server said no, which no benchmark expects."""


class Client:
    """One client id on one connection.

    Args:
        number: Picks the source address.

    Attributes:
        token: Opens the session again; empty until it is open.
    """

    __slots__ = ("name", "reader", "socket", "token", "transport")

    def __init__(self, name: str, number: int, transport: Transport, host: str, port: int) -> None:
        self.name = name
        self.token = ""
        self.transport = transport
        self.reader = transport.reader()
        self.socket = transport.connect(host, port, number)

    def say(self, command: pb.GenericCommand) -> None:
        self.socket.sendall(self.transport.wrap(command.SerializeToString()))

    def hear(self, op: int) -> pb.GenericCommand:
        """The next reply or event with ``op``; what comes before it is passed over.

        Raises:
            Refused: An error came, or the connection was closed.
        """
        while True:
            body = self.reader.next_frame()
            if body is None:
                data = self.socket.recv(READ_BYTES)
                if not data:
                    raise Refused(f"{self.name} was disconnected")
                self.reader.push(data)
                continue
            generic = pb.GenericCommand.FromString(body)
            if generic.cmd == pb.error:
                raise Refused(f"{self.name}: {generic.errorMessage}")
            if generic.op == op:
                return generic

    def close(self) -> None:
        self.socket.close()


def open_clients(
    names: Sequence[str], transport: Transport, host: str, port: int, app_id: str, config: int = CONFIG
) -> list[Client]:
    """Connect a client for each name and open its session."""
    clients = []
    for some in _some(range(len(names))):
        connected = [Client(names[number], number, transport, host, port) for number in some]
        for client in connected:
            client.say(opening(client.name, app_id, config))
        for client in connected:
            client.token = client.hear(pb.opened).sessionMessage.st
        clients += connected
    return clients


def start_conversations(starters: Sequence[Client], members: Sequence[Sequence[str]]) -> list[str]:
    """A conversation for each starter, with these members; returns their ids."""
    ids = []
    for some in _some(range(len(starters))):
        for number in some:
            starters[number].say(start_of(starters[number].name, members[number]))
        ids += [starters[number].hear(pb.started).convMessage.cid for number in some]
    return ids


def start_room(starter: Client) -> str:
    """A chat room, which ``starter`` is in; returns its id."""
    conversation = pb.ConvCommand(m=[starter.name], transient=True)
    starter.say(pb.GenericCommand(cmd=pb.conv, op=pb.start, peerId=starter.name, i=2, convMessage=conversation))
    return starter.hear(pb.started).convMessage.cid


def enter_room(clients: Sequence[Client], room: str) -> None:
    """Have them all be in that room."""
    for some in _some(range(len(clients))):
        for number in some:
            clients[number].say(entering(clients[number].name, room))
        for number in some:
            clients[number].hear(pb.added)


def opening(name: str, app_id: str, config: int = CONFIG, token: str = "") -> pb.GenericCommand:
    """What a client says first.

    Args:
        token: Of the session that it comes back to; empty: it is a new one.
    """
    session = pb.SessionCommand(ua="bench/1", deviceId=f"device of {name}", configBitmap=config)
    if token:
        session.st = token
        session.r = True
    return pb.GenericCommand(cmd=pb.session, op=pb.open, appId=app_id, peerId=name, i=1, sessionMessage=session)


def start_of(name: str, members: Sequence[str]) -> pb.GenericCommand:
    """What starts a conversation."""
    return pb.GenericCommand(cmd=pb.conv, op=pb.start, peerId=name, i=2, convMessage=pb.ConvCommand(m=members))


def entering(name: str, room: str) -> pb.GenericCommand:
    """What lets a client into a chat room."""
    conversation = pb.ConvCommand(cid=room, m=[name])
    return pb.GenericCommand(cmd=pb.conv, op=pb.add, peerId=name, i=3, convMessage=conversation)


def _some(numbers: range) -> Iterator[range]:
    for start in range(0, len(numbers), AT_ONCE):
        yield numbers[start : start + AT_ONCE]
