"""Where the hostile requests are played: a real server, those whom they are meant for, and those who send them."""

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import count
from typing import Any

import anyio

from fastim.wire import messages2_pb2 as pb
from tests.end_to_end.raw import Wire
from tests.neighbours import NEIGHBOUR, NEIGHBOUR_MASTER_KEY
from tests.server_process import ServerProcess

HOUR = 3_600_000
SECRET = "what tom said"
PATIENCE_SECONDS = 20.0

Fields = dict[str, Any]

_numbers = count(1)


class Signer:
    """An application's own server.

    Args:
        now: The time in milliseconds.
    """

    def __init__(self, app_id: str, master_key: str, now: Callable[[], int]) -> None:
        self.app_id = app_id
        self.master_key = master_key
        self.now = now

    def sign(
        self,
        form: str,
        *,
        t: int | None = None,
        n: str | None = None,
        key: str | None = None,
        algorithm: str = "sha1",
        **parts: str,
    ) -> Fields:
        """The three fields of a signature.

        Args:
            form: What is signed; ``{app}``, ``{t}``, ``{n}`` and the names of ``parts`` are filled in.
            t: The timestamp; ``None`` for now.
            n: The nonce; ``None`` for one of its own.
            key: ``None`` for the master key.
        """
        t = self.now() if t is None else t
        n = f"nonce{next(_numbers)}" if n is None else n
        text = form.format(**{"app": self.app_id, "t": t, "n": n, **parts})
        key = self.master_key if key is None else key
        return {"t": t, "n": n, "s": hmac.new(key.encode(), text.encode(), algorithm).hexdigest()}

    def login(self, client_id: str, **changes: Any) -> Fields:
        """For a session of ``client_id``, as it should be but for ``changes``."""
        return self.sign(**{"form": "{app}:{me}::{t}:{n}", "me": client_id, **changes})


class Stage:
    """A conversation of tom and jerry, both of them online, and what hostile requests make use of.

    Attributes:
        cid: Tom's conversation.
        toms: Tom's session token.
        used: A signature with which tom came in.
        kicked: A client that was kicked; ``kicked_token`` and ``held`` were its token and an unused signature.
        foreign_cid: A conversation of another tom's in the neighbouring application, whose token is ``foreign_token``.
    """

    def __init__(self, server: ServerProcess, stack: AsyncExitStack) -> None:
        self.server = server
        self._stack = stack
        self.signer = Signer(server.app_id, server.master_key, now_millis)
        self.neighbour = Signer(NEIGHBOUR, NEIGHBOUR_MASTER_KEY, now_millis)
        self.tom = self.jerry = ""
        self.cid = self.foreign_cid = self.toms = self.foreign_token = ""
        self.used: Fields = {}
        self.kicked = self.kicked_token = ""
        self.held: Fields = {}
        self._watchers: list[Wire] = []
        self._before = ""

    async def line(self, app_id: str = "") -> Wire:
        stream = await anyio.connect_tcp(self.server.tcp.host, self.server.tcp.port)
        await self._stack.enter_async_context(stream)
        return Wire(stream, app_id or self.server.app_id)

    async def client(self, client_id: str, signer: Signer | None = None) -> tuple[Wire, str]:
        """A line with an open session, as any client comes in; and its token."""
        signer = signer or self.signer
        line = await self.line(signer.app_id)
        opened = await line.open(client_id, **signer.login(client_id))
        assert opened.op == pb.opened, opened
        return line, opened.sessionMessage.st

    async def start(self, line: Wire, me: str, *members: str, signer: Signer | None = None) -> str:
        """The id of a new conversation, its events read."""
        signer = signer or self.signer
        names = ":".join(sorted({me, *members}))
        signature = signer.sign("{app}:{me}:{members}:{t}:{n}", me=me, members=names)
        conv = pb.ConvCommand(m=members, **signature)
        started = await line.ask(cmd=pb.conv, op=pb.start, i=1, convMessage=conv)
        assert started.op == pb.started, started
        for _ in range(2):
            await line.receive()
        return started.convMessage.cid

    async def say(self, line: Wire, cid: str) -> None:
        direct = pb.DirectCommand(cid=cid, msg=SECRET.encode())
        assert (await line.ask(cmd=pb.direct, i=2, directMessage=direct)).ackMessage.uid

    async def set_up(self) -> None:
        number = next(_numbers)
        self.tom, self.jerry, self.kicked = f"tom{number}", f"jerry{number}", f"george{number}"
        tom = await self.line()
        self.used = self.signer.login(self.tom)
        self.toms = (await tom.open(self.tom, **self.used)).sessionMessage.st
        jerry, _ = await self.client(self.jerry)
        self.cid = await self.start(tom, self.tom, self.jerry)
        for _ in range(2):
            await jerry.receive()
        await self.say(tom, self.cid)
        await jerry.receive()
        self._watchers = [tom, jerry]

        other, self.foreign_token = await self.client(self.tom, self.neighbour)
        self.foreign_cid = await self.start(other, self.tom, self.jerry, signer=self.neighbour)
        await self.say(other, self.foreign_cid)
        self._watchers.append(other)

        george, self.kicked_token = await self.client(self.kicked)
        self.held = self.signer.login(self.kicked)
        await self._kick(self.kicked)
        assert (await george.receive()).sessionMessage.code == 4115
        self._before = await self._look()

    async def is_untouched(self) -> bool:
        """Whether nobody was told anything, and nothing that tom can see has changed."""
        return all([await watcher.is_quiet() for watcher in self._watchers]) and await self._look() == self._before

    async def is_online(self, client_id: str) -> bool:
        query = pb.SessionCommand(sessionPeerIds=[client_id])
        reply = await self._watchers[0].ask(cmd=pb.session, op=pb.query, i=3, sessionMessage=query)
        return bool(reply.sessionMessage.onlineSessionPeerIds)

    async def _look(self) -> str:
        tom = self._watchers[0]
        where = pb.JsonObjectMessage(data=json.dumps({"m": self.tom}))
        found = await tom.ask(cmd=pb.conv, op=pb.query, i=4, convMessage=pb.ConvCommand(where=where))
        logs = await tom.ask(cmd=pb.logs, i=5, logsMessage=pb.LogsCommand(cid=self.cid))
        return found.convMessage.results.data + str(logs.logsMessage)

    async def _kick(self, client_id: str) -> None:
        key = f"{self.server.master_key},master"
        fields = [
            "Host: a",
            f"X-LC-Id: {self.server.app_id}",
            f"X-LC-Key: {key}",
            "Connection: close",
            "Content-Length: 0",
            "\r\n",
        ]
        head = "\r\n".join([f"POST /1.2/rtm/clients/{client_id}/kick HTTP/1.1", *fields])
        assert (await self.http(head.encode())).startswith(b"HTTP/1.1 200 ")

    async def http(self, request: bytes) -> bytes:
        """Everything that the HTTP port says to ``request`` until it closes."""
        async with await anyio.connect_tcp(self.server.http.host, self.server.http.port) as stream:
            with anyio.fail_after(PATIENCE_SECONDS):
                with suppress(anyio.BrokenResourceError):  # it has heard enough; what it said is there to be read
                    await stream.send(request)
                answer = b""
                try:
                    while True:
                        answer += await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return answer


@asynccontextmanager
async def staged(server: ServerProcess) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        stage = Stage(server, stack)
        await stage.set_up()
        yield stage


def now_millis() -> int:
    """The time of this machine, which is the server's."""
    return time.time_ns() // 1_000_000


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
