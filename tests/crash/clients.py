"""Clients under which the server is killed: they write down what they ask, what they are told, and come back.

Each is one trio task that works while the stage says that the server is up. Nobody waits for the clock: senders are
driven by acks, the others by what they are sent.
"""

import json
from base64 import b64decode
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import trio

from fastim.wire import messages2_pb2 as pb
from tests.crash.checker import Ack, Answered, Asked, Attempt, Found, Marked, Record, Seen, Told, Watch
from tests.crash.wire import Gone, Refused, Wire, connected, json_object, refusal_of
from tests.server_process import Address

DEPTH_MAX = 8
HANG_UP_CHANCE = 0.003
NEW_CONVERSATION_CHANCE = 0.2
BINARY_CHANCE = 0.1
TOKEN_CHANCE = 0.5
LONG_CHANCE = 0.05
HEAVY_BYTES = (3_000, 4_500)
USUAL_BYTES = (0, 300)
OBSERVED_CREATED = 5
THIRDS = 20


class Tally:
    """A number that grows, and can be waited for."""

    def __init__(self) -> None:
        self.count = 0
        self._grown = trio.Event()

    def add(self) -> None:
        self.count += 1
        self._grown.set()
        self._grown = trio.Event()

    async def reach(self, count: int) -> None:
        while self.count < count:
            await self._grown.wait()


class Stage:
    """What the clients of one campaign share.

    Attributes:
        record: What they saw.
        era: Which start of the server this is.
        heavy: Whether bodies are long, to fill the store.
        ending: Whether senders only have to get rid of what was not acked.
        conversations: Those that everybody is in from the beginning.
        created: Those that organisers have started since.
        acked: Acks of messages.
        reopened: Sessions opened.
    """

    def __init__(self, app_id: str, conversations: list[str], record: Record) -> None:
        self.app_id = app_id
        self.record = record
        self.era = 0
        self.heavy = False
        self.ending = False
        self.conversations = conversations
        self.created: list[str] = []
        self.acked = Tally()
        self.reopened = Tally()
        self._address = Address("", 0)
        self._up = trio.Event()
        self._down = trio.Event()

    def rise(self, address: Address) -> None:
        """The server accepts connections."""
        self.era += 1
        self._address = address
        self._down = trio.Event()
        self._up.set()

    def fall(self) -> None:
        """The server is about to be killed: from here on nobody wonders about a lost connection."""
        self._up = trio.Event()
        self._down.set()

    async def server(self) -> Address:
        """Where the server is, once it is up."""
        await self._up.wait()
        return self._address

    async def lost(self, client_id: str, era: int) -> None:
        """A client lost a connection that it made in ``era``. It must not come back while that should not have been."""
        if era == self.era and self._up.is_set():
            await self.refused(client_id, "lost its connection to a server that was running")

    async def refused(self, client_id: str, what: str) -> None:
        """A client was refused what should be granted: write it down, and let it try again after the next crash."""
        self.record.refusals.append(f"{client_id}: {what}")
        await self._down.wait()


class HungUp(Exception):
    """The client drops its connection on purpose."""


class Client:
    """Somebody with one session, or none for the moment.

    Attributes:
        done: Set when it has nothing more to do.
    """

    sends = False

    def __init__(self, stage: Stage, client_id: str, chance: Random, device: str = "phone") -> None:
        self.stage = stage
        self.client_id = client_id
        self.chance = chance
        self.done = trio.Event()
        self._device = device
        self._token = ""
        self._opened_at = 0
        self._watch = Watch(client_id, self.sends)

    async def run(self) -> None:
        """Come back whenever the server does, until done."""
        while not self.done.is_set():
            address = await self.stage.server()
            era = self.stage.era
            try:
                async with connected(address, self.stage.app_id, self.client_id) as wire:
                    await self._open(wire)
                    await self.work(wire)
            except Gone:
                await self.stage.lost(self.client_id, era)
            except Refused as refusal:
                await self.stage.refused(self.client_id, str(refusal))
            except HungUp:
                pass

    async def work(self, wire: Wire) -> None:
        """What it does with an open session."""
        while True:
            self.take(await wire.receive())

    def take(self, command: pb.GenericCommand) -> None:
        """Look at a command that nobody asked for.

        Raises:
            Refused: It says that something went wrong.
        """
        if command.cmd == pb.direct:
            direct = command.directMessage
            body = direct.binaryMsg if direct.HasField("binaryMsg") else direct.msg
            self._watch.deliveries.append((direct.cid, Seen(direct.id, direct.timestamp, direct.fromPeerId, body)))
        elif refusal := refusal_of(command):
            raise Refused(refusal)

    async def _open(self, wire: Wire) -> None:
        self._watch = Watch(self.client_id, self.sends)
        self.stage.record.watches.append(self._watch)
        session = pb.SessionCommand(deviceId=f"{self.client_id} {self._device}", configBitmap=1)
        if self._token and self.chance.random() < TOKEN_CHANCE:
            session.st, session.r = self._token, True
        command = pb.GenericCommand(cmd=pb.session, op=pb.open, sessionMessage=session)
        try:
            opened = await wire.ask(command, self.take)
        except Refused:
            self._token = ""  # or it would be refused for ever
            raise
        self._token = opened.sessionMessage.st
        self._opened_at = opened.serverTs
        self.stage.reopened.add()


class Sender(Client):
    """Keeps a few messages in flight, and sends what was not acked again: the same tokens in the same order."""

    sends = True

    def __init__(self, stage: Stage, client_id: str, chance: Random) -> None:
        super().__init__(stage, client_id, chance)
        self._sent = 0
        self._unacked: dict[str, tuple[Attempt, bool]] = {}
        self._tokens: dict[int, str] = {}

    async def work(self, wire: Wire) -> None:
        depth = self.chance.randint(1, DEPTH_MAX)
        self._tokens.clear()
        await wire.send(*(self._command(wire, token) for token in self._unacked))
        while True:
            await self._fill(wire, depth)
            if not self._unacked:
                self.done.set()
                return
            self.take(await wire.receive())
            if not self.stage.ending and self.chance.random() < HANG_UP_CHANCE:
                raise HungUp

    def take(self, command: pb.GenericCommand) -> None:
        token = self._tokens.pop(command.i, "") if command.cmd == pb.ack else ""
        if not token:
            super().take(command)
            return
        attempt, _ = self._unacked.pop(token)
        if refusal := refusal_of(command):
            raise Refused(f"a message to {attempt.conversation}: {refusal}")
        ack = command.ackMessage
        self.stage.record.acks.append(Ack(attempt.body, ack.uid, ack.t))
        self.stage.record.repeats += ack.t < self._opened_at
        self.stage.acked.add()

    async def _fill(self, wire: Wire, depth: int) -> None:
        """Send new messages until ``depth`` are in flight."""
        tokens = []
        while len(self._unacked) < depth and not self.stage.ending:
            self._sent += 1
            token = f"{self.client_id}-{self._sent}"
            body = f"{token} ".encode() + b"x" * self._length()
            attempt = Attempt(self._conversation(), self.client_id, body)
            self.stage.record.attempts.append(attempt)
            self._unacked[token] = attempt, self.chance.random() < BINARY_CHANCE
            tokens.append(token)
        if tokens:
            await wire.send(*(self._command(wire, token) for token in tokens))

    def _command(self, wire: Wire, token: str) -> pb.GenericCommand:
        attempt, binary = self._unacked[token]
        direct = pb.DirectCommand(cid=attempt.conversation, dt=token)
        if binary:
            direct.binaryMsg = attempt.body
        else:
            direct.msg = attempt.body
        command = wire.numbered(pb.GenericCommand(cmd=pb.direct, directMessage=direct))
        self._tokens[command.i] = token
        return command

    def _conversation(self) -> str:
        if self.stage.created and self.chance.random() < NEW_CONVERSATION_CHANCE:
            return self.stage.created[-1]
        return self.chance.choice(self.stage.conversations)

    def _length(self) -> int:
        heavy = self.stage.heavy or self.chance.random() < LONG_CHANCE
        return self.chance.randint(*(HEAVY_BYTES if heavy else USUAL_BYTES))


class Observer(Client):
    """Is sent everything; now and then it marks what it has read, and looks at the end of the history."""

    def __init__(self, stage: Stage, client_id: str, chance: Random) -> None:
        super().__init__(stage, client_id, chance)
        self._pause = 0

    async def work(self, wire: Wire) -> None:
        while True:
            self.take(await wire.receive())
            self._pause -= 1
            if self._pause < 0 and self._watch.deliveries:
                self._pause = self.chance.randint(5, 50)
                conversation, message = self._watch.deliveries[-1]
                self._reading(conversation).append(Marked(message.message_id))
                mark = pb.ReadTuple(cid=conversation, timestamp=message.timestamp, mid=message.message_id)
                await wire.send(
                    pb.GenericCommand(cmd=pb.read, readMessage=pb.ReadCommand(convs=[mark])),
                    pb.GenericCommand(cmd=pb.logs, logsMessage=pb.LogsCommand(cid=conversation)),
                )

    def take(self, command: pb.GenericCommand) -> None:
        if command.cmd == pb.unread:
            for told in command.unreadMessage.convs:
                self._reading(told.cid).append(Told(told.mid, told.unread))
        elif command.cmd == pb.logs:
            logs = command.logsMessage
            glance = [(logs.cid, message) for message in messages_of(logs)]
            self.stage.record.watches.append(Watch(self.client_id, self.sends, glance))
        else:
            super().take(command)

    def _reading(self, conversation: str) -> list[Marked | Told]:
        return self.stage.record.readings.setdefault((self.client_id, conversation), [])


class Organiser(Client):
    """Starts conversations, changes one's members and attributes, and looks after each return whether all is there.

    Args:
        conversation: The one that it changes; what it changes there is its own.
        members: Of the conversations that it starts.
        fellow: Another organiser: both keep asking for the unique conversation that they share with a third.
    """

    def __init__(
        self, stage: Stage, client_id: str, chance: Random, *, conversation: str, members: list[str], fellow: str
    ) -> None:
        super().__init__(stage, client_id, chance)
        self._conversation = conversation
        self._members = members
        self._fellow = fellow
        self._guest = f"guest of {client_id}"
        self._column = f"turns_of_{client_id}"
        self._turn = 0
        self._invited = False
        self._started = 0
        self._pause = 0
        self._own: list[str] = []
        self._thirds: set[str] = set()
        self._known(self._turns).append(Answered(None))
        self._known(self._guesthood).append(Answered(value=False))

    @property
    def _turns(self) -> str:
        return f"{self._column} of {self._conversation}"

    @property
    def _guesthood(self) -> str:
        return f"membership of {self._guest} in {self._conversation}"

    async def work(self, wire: Wire) -> None:
        await self.look(wire, OBSERVED_CREATED)
        deeds: list[Callable[[Wire], Awaitable[None]]] = [self._change, self._invite, self._start, self._share]
        while True:
            self.take(await wire.receive())
            self._pause -= 1
            if self._pause < 0:
                self._pause = self.chance.randint(1, 20)
                await self.chance.choices(deeds, (8, 8, 1, 2))[0](wire)

    async def look(self, wire: Wire, latest: int) -> None:
        """Write down what the server says of what this client has changed and of the ``latest`` that it has started."""
        own = self._own[-latest:]
        found = await find_conversations(wire, [self._conversation, *own], self.take)
        changed = found.get(self._conversation, {})
        self._known(self._turns).append(Found(changed.get(self._column)))
        self._known(self._guesthood).append(Found(self._guest in changed.get("m", ())))
        for conversation in own:
            self._known(f"conversation {conversation}").append(Found(described(found.get(conversation))))

    async def _change(self, wire: Wire) -> None:
        self._turn += 1
        self._known(self._turns).append(Asked(self._turn))
        attributes = json_object({self._column: self._turn})
        conv = pb.ConvCommand(cid=self._conversation, attr=attributes)
        await wire.ask(pb.GenericCommand(cmd=pb.conv, op=pb.update, convMessage=conv), self.take)
        self._known(self._turns).append(Answered(self._turn))

    async def _invite(self, wire: Wire) -> None:
        self._invited = not self._invited
        self._known(self._guesthood).append(Asked(self._invited))
        conv = pb.ConvCommand(cid=self._conversation, m=[self._guest])
        op = pb.add if self._invited else pb.remove
        await wire.ask(pb.GenericCommand(cmd=pb.conv, op=op, convMessage=conv), self.take)
        self._known(self._guesthood).append(Answered(self._invited))

    async def _start(self, wire: Wire) -> None:
        self._started += 1
        name = f"{self.client_id} {self._started}"
        conversation = await start_conversation(wire, self._members, name, self.take)
        everybody = sorted({self.client_id, *self._members})
        self._known(f"conversation {conversation}").append(Answered((name, everybody)))
        self._own.append(conversation)
        self.stage.created.append(conversation)

    async def look_at_all(self, wire: Wire) -> None:
        """The same of everything that it has ever started."""
        await self.look(wire, len(self._own))
        for third in self._thirds:
            await self._ask_for_shared(wire, third)

    async def _share(self, wire: Wire) -> None:
        third = f"third {self.chance.randint(1, THIRDS)}"
        self._thirds.add(third)
        await self._ask_for_shared(wire, third)

    async def _ask_for_shared(self, wire: Wire, third: str) -> None:
        conv = pb.ConvCommand(m=[self._fellow, third], unique=True)
        started = await wire.ask(pb.GenericCommand(cmd=pb.conv, op=pb.start, convMessage=conv), self.take)
        steps = self._known(f"the conversation with {third}")
        steps.append(Found(started.convMessage.cid) if steps else Answered(started.convMessage.cid))

    def _known(self, register: str) -> list[Asked | Answered | Found]:
        return self.stage.record.registers.setdefault(register, [])


async def start_conversation(
    wire: Wire, members: list[str], name: str, otherwise: Callable[[pb.GenericCommand], None]
) -> str:
    """Start a conversation and return its id."""
    conv = pb.ConvCommand(m=members, attr=json_object({"name": name}))
    started = await wire.ask(pb.GenericCommand(cmd=pb.conv, op=pb.start, convMessage=conv), otherwise)
    return started.convMessage.cid


async def find_conversations(
    wire: Wire, conversations: list[str], otherwise: Callable[[pb.GenericCommand], None]
) -> dict[str, dict[str, Any]]:
    """The columns of those conversations that there are, by id."""
    where = json_object({"objectId": {"$in": conversations}})
    conv = pb.ConvCommand(where=where, limit=len(conversations))
    results = await wire.ask(pb.GenericCommand(cmd=pb.conv, op=pb.query, convMessage=conv), otherwise)
    return {columns["objectId"]: columns for columns in json.loads(results.convMessage.results.data)}


def described(columns: dict[str, Any] | None) -> tuple[str, list[str]] | None:
    """A conversation as it was asked for: its name and its members; ``None`` when there is none."""
    return None if columns is None else (columns["name"], sorted(columns["m"]))


def messages_of(logs: pb.LogsCommand) -> list[Seen]:
    """The messages of one page of history."""
    return [
        Seen(item.msgId, item.timestamp, item.sender, b64decode(item.data) if item.bin else item.data)
        for item in logs.logs
    ]


async def read_forward(
    wire: Wire, conversation: str, page: int, otherwise: Callable[[pb.GenericCommand], None]
) -> list[Seen]:
    """A conversation's history from its first message on, ``page`` messages at a time."""
    messages: list[Seen] = []
    while True:
        logs = pb.LogsCommand(cid=conversation, limit=page, direction=pb.LogsCommand.NEW)
        if messages:
            logs.t, logs.mid = messages[-1].timestamp, messages[-1].message_id
        found = await _page(wire, logs, otherwise)
        messages += found
        if len(found) < page:
            return messages


async def read_backward(
    wire: Wire, conversation: str, page: int, otherwise: Callable[[pb.GenericCommand], None]
) -> list[Seen]:
    """The same from its last message back; it ascends all the same."""
    pages: list[list[Seen]] = []
    while True:
        logs = pb.LogsCommand(cid=conversation, l=page)
        if pages:
            logs.t, logs.mid = pages[-1][0].timestamp, pages[-1][0].message_id
        found = await _page(wire, logs, otherwise)
        if found:
            pages.append(found)
        if len(found) < page:
            return [message for found in reversed(pages) for message in found]


async def _page(wire: Wire, logs: pb.LogsCommand, otherwise: Callable[[pb.GenericCommand], None]) -> list[Seen]:
    return messages_of((await wire.ask(pb.GenericCommand(cmd=pb.logs, logsMessage=logs), otherwise)).logsMessage)
