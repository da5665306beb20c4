"""A caller of the REST calls, and the node behind them."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from msgspec.structs import replace

from fastim.core.policy import Policy
from fastim.doors.http.rest import CALLS, add_rest
from fastim.runtime.back_office import BackOffice
from fastim.settings import Rest
from fastim.wire import messages2_pb2 as pb
from tests.doors.building import Socket, building
from tests.runtime.node import Line, Node, running_node

MASTER = ("X-LC-Id: app", "X-LC-Key: master,master")
KEY = ("X-LC-Id: app", "X-LC-Key: key")
UNAUTHORIZED = (401, {"code": 401, "error": "Unauthorized."})
ROOMY = Rest(
    sends_per_minute=0,
    subscriber_broadcasts_per_minute=0,
    subscriber_broadcasts_per_day=0,
    broadcasts_per_minute=0,
    broadcasts_per_day=0,
    installations_per_minute=0,
)

Json = Any


class Office:
    """A client of the REST calls.

    Attributes:
        header: Of the last answer.
    """

    def __init__(self, node: Node, socket: Socket) -> None:
        self.node = node
        self.socket = socket
        self.header: dict[str, str] = {}

    def set_policy(self, policy: Policy) -> None:
        """Let the application have other rules."""
        tenant = self.node.tenant
        self.node.dispatcher.add(replace(tenant, io=replace(tenant.io, policy=policy)))

    async def ask(self, target: str, *fields: str, body: bytes = b"", method: str = "POST") -> tuple[int, Json]:
        """Status and answer, JSON or a text, of a call with these header fields and no others that matter."""
        lines = (f"{method} {target} HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", *fields, "\r\n")
        await self.socket.write("\r\n".join(lines).encode("latin-1") + body)
        status, self.header, answer = await self.socket.read_response()
        if self.header["content-type"] == "text/plain; charset=utf-8":
            return status, answer.decode()
        assert self.header["content-type"] == "application/json; charset=utf-8"
        return status, json.loads(answer)

    async def call(self, method: str, target: str, body: Json = None, fields: tuple[str, ...] = MASTER) -> Json:
        """The answer of a call that succeeds; with the master key unless told otherwise."""
        status, answer = await self.ask(target, *fields, body=_encoded(body), method=method)
        assert status in (200, 201), answer
        return answer

    async def refusal(
        self, method: str, target: str, body: Json = None, fields: tuple[str, ...] = MASTER
    ) -> tuple[int, int]:
        """Status and code of a call that fails."""
        status, answer = await self.ask(target, *fields, body=_encoded(body), method=method)
        assert answer.keys() == {"code", "error"}
        assert answer["error"]
        return status, answer["code"]

    async def post(self, target: str, **body: Json) -> Json:
        return await self.call("POST", target, body)

    async def put(self, target: str, **body: Json) -> Json:
        return await self.call("PUT", target, body)

    async def get(self, target: str) -> Json:
        return await self.call("GET", target)

    async def delete(self, target: str, **body: Json) -> Json:
        return await self.call("DELETE", target, body or None)

    async def conversation(self, *members: str, **columns: Json) -> str:
        """The path of a new conversation."""
        created = await self.post("/1.2/rtm/conversations", m=members, **columns)
        return f"/1.2/rtm/conversations/{created['objectId']}"

    async def room(self) -> str:
        """The path of a new chat room."""
        return f"/1.2/rtm/chatrooms/{(await self.post('/1.2/rtm/chatrooms'))['objectId']}"

    async def service(self) -> str:
        """The path of a new service conversation."""
        created = await self.post("/1.2/rtm/service-conversations", name="news")
        return f"/1.2/rtm/service-conversations/{created['objectId']}"

    async def say(self, conversation: str, text: str, by: str = "tom", **more: Json) -> Json:
        """What sending a message answers; each is sent a second after the one before."""
        self.node.clock.step(1000)
        return await self.post(f"{conversation}/messages", from_client=by, message=text, **more)


async def opened(rest: Office, client_id: str) -> Line:
    """A connection on which the client has a session, and has been told what it had to be told."""
    line = await rest.node.line()
    await line.open(client_id)
    await rest.node.dispatcher.finish()
    await line.send(pb.GenericCommand(cmd=pb.echo, i=1000))
    await first_of(line, pb.echo)
    return line


async def first_of(line: Line, kind: int) -> pb.GenericCommand:
    """The next command of that kind; what comes before it is passed over."""
    while (command := await line.receive()).cmd != kind:
        pass
    return command


async def enter(line: Line, room: str, client_id: str) -> None:
    """The client joins a chat room."""
    join = pb.ConvCommand(cid=id_of(room), m=[client_id])
    assert (await line.call(pb.GenericCommand(cmd=pb.conv, op=pb.add, i=2, convMessage=join))).op == pb.added


def id_of(path: str) -> str:
    """The id of the conversation at the end of ``path``."""
    return path.rpartition("/")[2]


@asynccontextmanager
async def office(rules: Rest = ROOMY, seconds: Callable[[], float] = lambda: 0.0) -> AsyncIterator[Office]:
    """REST calls on a node.

    Args:
        seconds: Since the epoch, for ``rules``.
    """
    async with running_node() as node, building() as house:
        add_rest(house.application, BackOffice(node.dispatcher, lambda application: rules, seconds), CALLS)
        async with await Socket.to(await house.http()) as socket:
            yield Office(node, socket)


def _encoded(body: Json) -> bytes:
    return b"" if body is None else json.dumps(body).encode()
