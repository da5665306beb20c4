"""An operator at the console, and the node behind it."""

import json
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from msgspec.structs import replace

from fastim.core.application import Application
from fastim.doors.http.console import Console, Entrance, add_console
from fastim.doors.http.console.assets import Asset
from fastim.runtime.audit import Audit
from fastim.runtime.dispatch import Tenant
from fastim.runtime.lag import LoopLag
from fastim.runtime.memory import MemoryBudget
from fastim.runtime.operators import NotPossible, Operators
from fastim.runtime.pulse import Commits, Meter, Pulse
from fastim.runtime.trial import Trial
from fastim.settings import Loaded, Settings
from tests.doors.building import Building, Socket, building
from tests.runtime.node import Node, running_node

PASSWORD = "correct horse battery"
CHANGING = "X-Fastim-Console: 1"
NOTHING_GIVEN = Loaded(Settings(), frozenset())
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""As the real one, but for the work that it makes."""

Json = Any


class Seconds:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """Somebody with a browser.

    Attributes:
        cookie: What it sends; empty: none.
        header: Of the last answer.
        changes: Settings that were to be changed, as they came.
    """

    def __init__(self, node: Node, house: Building, socket: Socket, console: Console, seconds: Seconds) -> None:
        self.node = node
        self.house = house
        self.socket = socket
        self.console = console
        self.seconds = seconds
        self.cookie = ""
        self.header: dict[str, str] = {}
        self.changes: list[tuple[str, dict[str, Any]]] = []

    async def ask(
        self, method: str, target: str, *fields: str, body: bytes = b"", of: str = "application/json"
    ) -> tuple[int, Json]:
        """Status and answer of a call with these header fields and, if there is one, the cookie."""
        lines = [f"{method} {target} HTTP/1.1", "Host: a:1", f"Content-Length: {len(body)}", *fields]
        if body:
            lines.append(f"Content-Type: {of}")
        if self.cookie:
            lines.append(f"Cookie: fastim_console={self.cookie}")
        await self.socket.write("\r\n".join((*lines, "\r\n")).encode("latin-1") + body)
        status, self.header, answer = await self.socket.read_response()
        assert self.header["content-type"] == "application/json; charset=utf-8", answer
        return status, json.loads(answer)

    async def call(self, method: str, target: str, body: Json = None, *fields: str) -> tuple[int, Json]:
        """The same with what pages of the console send, and ``target`` below the API's path."""
        encoded = b"" if body is None else json.dumps(body).encode()
        if method != "GET":
            fields = (CHANGING, *fields)
        return await self.ask(method, f"/console/api{target}", *fields, body=encoded)

    async def get(self, target: str) -> Json:
        """The answer of a call that succeeds."""
        status, answer = await self.call("GET", target)
        assert status == 200, answer
        return answer

    async def post(self, target: str, **body: Json) -> Json:
        """The same of one that changes something."""
        status, answer = await self.call("POST", target, body)
        assert status in (200, 201), answer
        return answer

    async def refusal(self, method: str, target: str, body: Json = None) -> tuple[int, Json]:
        """Status of a call that fails, and what is to blame, if that is said."""
        status, answer = await self.call(method, target, body)
        assert status >= 400, answer
        assert answer["error"]
        return status, answer.get("field")

    async def set_up(self) -> None:
        """Set the password, and be signed in."""
        token = self.console.entrance.setup_link.removeprefix("/console#/setup/")
        await self.post("/setup", token=token, password=PASSWORD)
        self.keep_cookie()

    async def sign_in(self, password: str = PASSWORD) -> None:
        await self.post("/sign-in", password=password)
        self.keep_cookie()

    def keep_cookie(self) -> None:
        """Do with the last answer's cookie what browsers do."""
        name, _, value = self.header["set-cookie"].partition(";")[0].partition("=")
        assert name == "fastim_console"
        self.cookie = value.strip('"')

    async def audited(self) -> list[tuple[str, str, str]]:
        """What was noted of whom, the newest first."""
        return [(one["what"], one["application"], one["detail"]) for one in await self.get("/audit")]


@asynccontextmanager
async def desk(
    *,
    signed_in: bool = True,
    assets: dict[str, Asset] | None = None,
    directory: Path | None = None,
    loaded: Loaded = NOTHING_GIVEN,
    trial: bool = True,
) -> AsyncIterator[Desk]:
    """The console of a node.

    Args:
        signed_in: Whether a password has been set and was given.
        assets: Its pages; ``None``: it has none.
        directory: Where it keeps its files; ``None``: in one of its own.
        loaded: The settings with which it was started.
        trial: Whether newcomers may try the server.
    """
    with tempfile.TemporaryDirectory() as own:
        async with running_node() as node, building() as house:
            seconds = Seconds()
            lag = LoopLag()
            changes: list[tuple[str, dict[str, Any]]] = []
            pulse = Pulse(
                node.gateway,
                node.dispatcher,
                lag,
                node.fanout,
                MemoryBudget(node.gateway, 1 << 40, lambda: 1_000_000),
                lambda: Commits((0.001,), (0, 0)),
                clock=node.clock.now,
                seconds=seconds,
            )
            operators = Operators(
                node.dispatcher,
                node.memory,
                begin=_beginning(node),
                renew=_renewing(node),
                change=_changing(node, changes),
            )
            console = Console(
                operators=operators,
                entrance=Entrance(directory or Path(own), Meter(), seconds, QUICK),
                pulse=pulse,
                audit=Audit(directory or Path(own)),
                clock=node.clock.now,
                loaded=loaded,
                trial=Trial(operators, loaded.pins) if trial else None,
            )
            add_console(house.application, console, assets or {})
            try:
                async with await Socket.to(await house.http()) as socket:
                    one = Desk(node, house, socket, console, seconds)
                    one.changes = changes
                    if signed_in:
                        await one.set_up()
                    yield one
            finally:
                lag.stop()


def _beginning(node: Node) -> Any:
    async def begin(application: Application) -> None:
        node.dispatcher.add(_like(node.tenant, application, node))

    return begin


def _renewing(node: Node) -> Any:
    async def renew(application: Application) -> None:
        keys = application.key, application.master_key, application.hook_key
        await _beginning(node)(await node.memory.save_application(application.id, *keys))

    return renew


def _like(tenant: Tenant, application: Application, node: Node) -> Tenant:
    io = replace(tenant.io, application=application, store=node.memory.of(application))
    return replace(tenant, application=application, io=io)


def _changing(node: Node, changes: list[tuple[str, dict[str, Any]]]) -> Any:
    async def change(application_id: str, wanted: Mapping[str, Any]) -> None:
        if "no.such" in wanted:
            raise NotPossible("there is no such setting", "no.such")
        changes.append((application_id, dict(wanted)))
        before = node.dispatcher.tenants[application_id].application
        settings = {name: value for name, value in {**before.settings, **wanted}.items() if value is not None}
        keys = before.key, before.master_key, before.hook_key
        await _beginning(node)(await node.memory.save_application(application_id, *keys, settings))

    return change
