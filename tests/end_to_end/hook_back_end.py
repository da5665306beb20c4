"""A back end of hooks as operators have one: cloud functions that do as a test says and remember what they were asked.

It keeps the users, too, and takes what is pushed and what clients write to services. It runs on a thread of its own, so
it serves tests whatever their loop.
"""

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import anyio.to_thread
from aiohttp import web

from fastim.core.hooks import CALLS
from tests.server_process import ServerProcess

PATIENCE_SECONDS = 20.0
HOOK_KEY = "key-of-the-hooks"
PYTHON_HOOKS = Path(__file__).with_name("python_hooks.py")
USER = {"objectId": "tom", "username": "Tom", "email": "tom@example.com", "emailVerified": True, "phone": None}
SESSION_TOKEN = "session-token-of-tom"

Act = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Asked(NamedTuple):
    """What somebody asked.

    Attributes:
        headers: Empty where hooks in Python asked on.
        said: The body; what its JSON says where it is that.
    """

    headers: Mapping[str, str]
    said: Any


class HookBackEnd:
    """Use it as a context manager.

    Attributes:
        functions: What it defines.
        acts: What is done about a call, by its hook, or by the last part of the path for everything else; where there
            is nothing, the answer is one that changes nothing.
        listed: How often it was asked what it defines.
    """

    def __init__(self) -> None:
        self.functions = list(CALLS)
        self.acts: dict[str, Act] = {}
        self.listed = 0
        self._asked: list[tuple[str, Asked]] = []
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._released = asyncio.Event()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1_000)
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        self._runner: web.AppRunner = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.reset()
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def reset(self) -> None:
        """Answer what is kept waiting, and do nothing special any more."""
        self.acts.clear()
        self.functions = list(CALLS)
        self._loop.call_soon_threadsafe(self._release)

    def answer(self, hook: str, **result: Any) -> None:
        """Answer a hook's calls with these fields from now on."""
        self.acts[hook] = saying({"result": result})

    def calls(self, hook: str, **said: Any) -> list[Asked]:
        """What it was asked until now, those that have these fields."""
        with self._changed:
            return [asked for name, asked in self._asked if name == hook and _has(asked.said, said)]

    def heard(self, text: str) -> bool:
        """Whether anything that it was asked has this in its body or a header."""
        with self._changed:
            return any(text in f"{asked.said} {dict(asked.headers)}" for _, asked in self._asked)

    async def asked(self, hook: str, number: int = 1, **said: Any) -> list[Asked]:
        """Wait until it was asked so many times."""
        await self.until(lambda: len(self.calls(hook, **said)) >= number)
        return self.calls(hook, **said)

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until what it was asked makes it so."""
        assert await anyio.to_thread.run_sync(self._until, reached), self._asked[-10:]

    async def until_listed(self) -> None:
        """Wait until the server has asked for the list, and has heard it."""
        seen = self.listed
        # The second of them was asked after the first was answered.
        await self.until(lambda: self.listed >= seen + 3)

    def hold(self, name: str) -> Callable[[], object]:
        """Keep what is asked there waiting, until what is returned is called."""
        let_go = asyncio.Event()

        async def wait(_: web.Request) -> web.StreamResponse:
            await let_go.wait()
            return web.Response()

        self.acts[name] = wait
        return partial(self._loop.call_soon_threadsafe, let_go.set)

    async def silence(self, _: web.Request) -> web.StreamResponse:
        """No answer, until there is a reset."""
        await self._released.wait()
        return web.Response(status=503)

    def _until(self, reached: Callable[[], bool]) -> bool:
        with self._changed:
            return self._changed.wait_for(reached, PATIENCE_SECONDS)

    def _release(self) -> None:
        self._released.set()
        self._released = asyncio.Event()

    async def _open(self) -> web.AppRunner:
        site = web.Application(client_max_size=2**24)
        site.router.add_get("/1.1/functions/_ops/metadatas", self._list)
        site.router.add_get("/users/me", self._user)
        site.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(site, access_log=None, shutdown_timeout=1, handler_cancellation=True)
        await runner.setup()
        await web.SockSite(runner, self._socket).start()
        return runner

    async def _list(self, request: web.Request) -> web.StreamResponse:
        if not request.headers.get("X-LC-Key", "").endswith(",master"):
            return web.json_response({"code": 401, "error": "Unauthorized."}, status=401)
        with self._changed:
            self.listed += 1
            self._changed.notify_all()
        return web.json_response({"result": self.functions})

    async def _user(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("X-LC-Session") != SESSION_TOKEN:
            return web.json_response({"code": 211, "error": "Could not find user."}, status=400)
        return web.json_response(USER)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        name = request.path.rpartition("/")[2]
        if request.path.startswith("/1.1/functions/") and request.headers.get("X-LC-Hook-Key") != HOOK_KEY:
            return web.json_response({"code": 401, "error": "Unauthorized."}, status=401)
        body = await request.read()
        said = json.loads(body) if request.content_type == "application/json" else body.decode(errors="replace")
        # Who waits for the call may go on to change what is done about the next one.
        act = self.acts.get(name, NOTHING)
        with self._changed:
            self._asked.append((name, Asked({} if request.path.startswith("/python/") else request.headers, said)))
            self._changed.notify_all()
        return await act(request)


def saying(body: object, status: int = 200, **headers: str) -> Act:
    """An answer, always the same; bytes go as they are."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def act(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=text, headers=headers)

    return act


NOTHING = saying({"result": {}})


async def drip(request: web.Request) -> web.StreamResponse:
    """An answer that begins well and has no end."""
    stream = web.StreamResponse()
    await stream.prepare(request)
    await stream.write(b'{"result": {')
    while True:
        await stream.write(b" ")
        await asyncio.sleep(0.02)


async def reset(request: web.Request) -> web.StreamResponse:
    """The connection is reset instead of an answer."""
    assert request.transport is not None
    line: socket.socket = request.transport.get_extra_info("socket")
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()
    return web.Response()


async def reset_within(request: web.Request) -> web.StreamResponse:
    """The connection is reset in the middle of an answer."""
    stream = web.StreamResponse(headers={"Content-Length": "100"})
    await stream.prepare(request)
    await stream.write(b'{"result": {')
    return await reset(request)


async def no_http(request: web.Request) -> web.StreamResponse:
    """An answer in another protocol."""
    assert request.transport is not None
    request.transport.write(b"SSH-2.0-OpenSSH_9.6\r\n\x00\xff\r\n\r\n")
    request.transport.close()
    return web.Response()


@contextmanager
def hooked_server(data: Path, back_end: HookBackEnd, engine: str, **settings: object) -> Iterator[ServerProcess]:
    """A server whose hooks are ``back_end``, asked over HTTP or by functions in Python; two underscores for a dot."""
    everything = {
        "hooks.url": back_end.url,
        "hooks.key": HOOK_KEY,
        "users.verify_url": f"{back_end.url}/users/me",
        "push.webhook": f"{back_end.url}/push",
        "limits.sends_per_minute": 0,
        "limits.operations_per_minute": 0,
        "limits.history_per_minute": 0,
        "delivery.room_gather_milliseconds": 0,
        **({"hooks.python": PYTHON_HOOKS} if engine == "python" else {}),
        **{name.replace("__", "."): value for name, value in settings.items()},
    }
    words = [word for name, value in everything.items() for word in ("--set", f"{name}={value}")]
    with ServerProcess(data, *words, environment={"HOOK_BACK_END": back_end.url}) as server:
        yield server
        assert '"level": "error"' not in server.log, server.log


def _has(said: object, fields: Mapping[str, Any]) -> bool:
    return not fields or (isinstance(said, dict) and all(said.get(name) == value for name, value in fields.items()))
