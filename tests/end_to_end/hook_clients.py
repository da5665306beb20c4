"""Clients whose commands hooks are asked about, and a conversation of theirs."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct

from fastim.wire import messages2_pb2 as pb
from tests.end_to_end.clients import someone
from tests.end_to_end.raw import Wire, wire
from tests.server_process import ServerProcess


class Person:
    """Somebody with a session, on a connection of its own.

    Attributes:
        heard: What came besides replies.
    """

    def __init__(self, line: Wire, client_id: str) -> None:
        self.line = line
        self.id = client_id
        self.heard: list[pb.GenericCommand] = []
        self._serial = 1

    async def do(self, **fields: Any) -> pb.GenericCommand:
        """Send a command; the reply to it."""
        return await self.reply(await self.begin(**fields))

    async def begin(self, **fields: Any) -> int:
        """Send a command; its number."""
        self._serial += 1
        await self.line.send(i=self._serial, **fields)
        return self._serial

    async def reply(self, number: int) -> pb.GenericCommand:
        while (came := await self.line.receive()).i != number:
            self.heard.append(came)
        return came

    async def news(self) -> list[pb.GenericCommand]:
        """What was heard since the last time, up to now."""
        await self.do(cmd=pb.echo)
        heard, self.heard = self.heard, []
        return heard

    async def messages(self) -> list[bytes]:
        """The bodies of the messages among the news."""
        directs = [one.directMessage for one in await self.news() if one.cmd == pb.direct]
        return [one.binaryMsg if one.HasField("binaryMsg") else one.msg for one in directs]

    async def patches(self) -> list[pb.PatchItem]:
        """The patches among the news."""
        return [item for one in await self.news() if one.cmd == pb.patch for item in one.patchMessage.patches]

    async def send(self, conversation_id: str, body: str = "hello", **fields: Any) -> pb.GenericCommand:
        if "binaryMsg" not in fields:
            fields["msg"] = body.encode()
        return await self.do(cmd=pb.direct, directMessage=pb.DirectCommand(cid=conversation_id, **fields))

    async def patch(self, conversation_id: str, ack: pb.GenericCommand, **fields: Any) -> pb.GenericCommand:
        """Change the message that was acked so: ``data`` or ``recall``."""
        item = pb.PatchItem(cid=conversation_id, mid=ack.ackMessage.uid, timestamp=ack.ackMessage.t, **fields)
        return await self.do(cmd=pb.patch, op=pb.modify, patchMessage=pb.PatchCommand(patches=[item]))

    async def conv(self, op: pb.OpType, conversation_id: str = "", **fields: Any) -> pb.GenericCommand:
        if conversation_id:
            fields["cid"] = conversation_id
        return await self.do(cmd=pb.conv, op=op, convMessage=pb.ConvCommand(**fields))

    async def start(self, *members: str, **fields: Any) -> str:
        reply = await self.conv(pb.start, m=members, **fields)
        assert reply.op == pb.started, reply
        return reply.convMessage.cid

    async def update(self, conversation_id: str, **attributes: Any) -> pb.GenericCommand:
        attr = pb.JsonObjectMessage(data=json.dumps(attributes))
        return await self.conv(pb.update, conversation_id, attr=attr)

    async def look_up(self, conversation_id: str) -> Any:
        """The conversation as it is stored."""
        where = pb.JsonObjectMessage(data=json.dumps({"objectId": conversation_id}))
        (found,) = json.loads((await self.conv(pb.query, where=where)).convMessage.results.data)
        return found

    async def history(self, conversation_id: str) -> list[bytes]:
        """What is stored of a conversation; Base64 where it is binary."""
        reply = await self.do(cmd=pb.logs, logsMessage=pb.LogsCommand(cid=conversation_id))
        return [item.data for item in reply.logsMessage.logs]


class Scene(Struct):
    """Two who are online and one who is not, in a conversation, and nothing left to be heard.

    Attributes:
        ack: Of the first message there.
        acks: Of more that the test sends.
    """

    server: ServerProcess
    tom: Person
    jerry: Person
    tyke: str
    conversation_id: str
    ack: pb.GenericCommand
    acks: list[pb.GenericCommand] = []


@asynccontextmanager
async def person(server: ServerProcess, client_id: str = "", **session: Any) -> AsyncIterator[Person]:
    """Somebody who is online."""
    async with wire(server) as line:
        one = Person(line, client_id or someone("somebody"))
        opened = await line.open(one.id, **session)
        assert opened.op == pb.opened, opened
        yield one


@asynccontextmanager
async def scene(server: ServerProcess) -> AsyncIterator[Scene]:
    """A new one."""
    async with person(server, someone("tom")) as tom, person(server, someone("jerry")) as jerry:
        tyke = someone("tyke")
        conversation_id = await tom.start(tom.id, jerry.id, tyke)
        ack = await tom.send(conversation_id, "to begin with")
        for one in (tom, jerry):
            await one.news()
        yield Scene(server, tom, jerry, tyke, conversation_id, ack)


def refusal(reply: pb.GenericCommand) -> tuple[int, int | None, str | None]:
    """With which code a command was refused, and a hook's own code and words; all nothing if it was not."""
    said: Any = reply.ackMessage if reply.cmd == pb.ack else reply.errorMessage if reply.cmd == pb.error else None
    if said is None:
        return 0, None, None
    app_code = said.appCode if said.HasField("appCode") else None
    app_message = said.appMsg if said.HasField("appMsg") else None
    return said.code, app_code, app_message
