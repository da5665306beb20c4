import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from fastim.adapters import egress
from fastim.adapters.hooks_http import ANSWER_BYTES_MAX, LIST_SECONDS, HttpEngine
from fastim.core.application import Application
from fastim.core.errors import HookError, HookFailed
from fastim.core.hooks import (
    CALLS,
    Answer,
    Call,
    ClientSign,
    ConversationAdd,
    ConversationAnswer,
    ConversationStarted,
    ConversationUpdate,
    MessageAnswer,
    MessageReceived,
    OfflineAnswer,
    ReceiversOffline,
    SignAnswer,
    UpdateAnswer,
)
from fastim.core.ids import AppNumber
from fastim.core.units import Millis
from fastim.runtime.hooks import LocalHooks
from fastim.settings import Hooks
from tests.fakes.running import idle, on_asyncio

APPLICATION = Application(AppNumber(1), "app", "key", "master", "hook")

ADD = ConversationAdd(init_by="tom", members=("ann",), conversation_id="c")
STARTED = ConversationStarted(conversation_id="c")
SIGN = ClientSign(user={"objectId": "5f1e", "username": "tom"})
RECEIVED = MessageReceived(
    from_peer="tom",
    conversation_id="c",
    to_peers=("ann", "bob"),
    transient=False,
    bin=False,
    content="hello",
    receipt=True,
    timestamp=Millis(1_767_268_800_000),
    system=False,
    source_ip="203.0.113.7",
)

Act = Callable[[web.Request], Awaitable[web.StreamResponse]]


class BackEnd:
    """Cloud functions.

    Attributes:
        functions: How the list of them is answered.
        act: How calls are answered.
        asked: Calls: path, headers and body.
        listed: How often the list was asked for.
        gone: How many requests were cut by the other side before they were answered.
    """

    def __init__(self, act: Act, functions: Act) -> None:
        self.act, self.functions = act, functions
        self.asked: list[tuple[str, Any, bytes]] = []
        self.listed: list[Any] = []
        self.gone = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        try:
            if request.method == "GET" and request.path == "/base/1.1/functions/_ops/metadatas":
                self.listed.append(request.headers)
                return await self.functions(request)
            self.asked.append((f"{request.method} {request.path}", request.headers, await request.read()))
            return await self.act(request)
        except asyncio.CancelledError:
            self.gone += 1
            raise


def saying(body: object = None, status: int = 200, headers: dict[str, str] | None = None) -> Act:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def act(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=text, headers=headers)

    return act


async def silence(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


ALL = saying({"result": list(CALLS)})
EMPTY = saying({"result": {}})


@asynccontextmanager
async def back_end(act: Act = EMPTY, functions: Act = ALL) -> AsyncIterator[tuple[BackEnd, str]]:
    """A back end, and the URL of it."""
    house = BackEnd(act, functions)
    site = web.Application()
    site.router.add_route("*", "/{path:.*}", house.answer)
    runner = web.AppRunner(site, access_log=None, shutdown_timeout=1, handler_cancellation=True)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listening).start()
    try:
        yield house, f"http://127.0.0.1:{listening.getsockname()[1]}/base"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def started(url: str, guarded: bool = False, **settings: Any) -> AsyncIterator[HttpEngine]:
    engine = HttpEngine(Hooks(url=url, **settings), APPLICATION, guarded=guarded)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


@asynccontextmanager
async def engine_of(
    act: Act = EMPTY, functions: Act = ALL, **settings: Any
) -> AsyncIterator[tuple[HttpEngine, BackEnd]]:
    async with back_end(act, functions) as (house, url), started(url, **settings) as engine:
        yield engine, house


# --- Calls ------------------------------------------------------------------------------------------------------------


@pytest.mark.rule("14.1")
@on_asyncio
async def test_a_call_is_made_as_leancloud_makes_it() -> None:
    async with engine_of() as (engine, house):
        assert await engine.call(RECEIVED) == MessageAnswer()
    ((asked, headers, body),) = house.asked
    assert asked == "POST /base/1.1/functions/_messageReceived"
    names = ("X-LC-Id", "X-LC-Key", "X-LC-Hook-Key", "Content-Type", "User-Agent")
    assert [headers[name] for name in names] == ["app", "key", "hook", "application/json", "fastim"]
    assert not {"Cookie", "X-LC-Session"} & set(headers)
    assert json.loads(body) == {
        "fromPeer": "tom",
        "convId": "c",
        "toPeers": ["ann", "bob"],
        "transient": False,
        "bin": False,
        "content": "hello",
        "receipt": True,
        "timestamp": 1_767_268_800_000,
        "system": False,
        "sourceIP": "203.0.113.7",
        "groupId": None,
    }


@on_asyncio
async def test_the_hook_key_may_be_another_and_the_url_may_end_in_a_slash() -> None:
    async with back_end() as (house, url), started(f"{url}/", key="another") as engine:
        await engine.call(ADD)
    ((asked, headers, _),) = house.asked
    assert (asked, headers["X-LC-Hook-Key"]) == ("POST /base/1.1/functions/_conversationAdd", "another")


@on_asyncio
async def test_who_asks_for_a_signature_is_the_whole_body() -> None:
    async with engine_of(saying({"result": True})) as (engine, house):
        await engine.call(SIGN)
    assert json.loads(house.asked[0][2]) == {"objectId": "5f1e", "username": "tom"}


@pytest.mark.parametrize(
    ("call", "body", "expected"),
    [
        (RECEIVED, {"result": {}}, MessageAnswer()),
        (RECEIVED, {"result": None}, MessageAnswer()),
        (RECEIVED, {}, MessageAnswer()),
        (
            RECEIVED,
            {"result": {"drop": True, "code": 7, "detail": "no"}},
            MessageAnswer(drop=True, code=7, detail="no"),
        ),
        (RECEIVED, {"result": {"drop": "true", "code": "7"}}, MessageAnswer(drop=True, code=7)),
        (RECEIVED, {"result": {"drop": 1, "code": 7.0}}, MessageAnswer(drop=True, code=7)),
        (RECEIVED, {"result": {"drop": None, "code": None, "toPeers": None, "bin": None}}, MessageAnswer()),
        (RECEIVED, {"result": {"content": "x", "bin": True}}, MessageAnswer(content="x", bin=True)),
        (RECEIVED, {"result": {"toPeers": ["ann"]}}, MessageAnswer(to_peers=("ann",))),
        (RECEIVED, {"result": {"toPeers": []}, "more": 1}, MessageAnswer(to_peers=())),
        (RECEIVED, {"result": {"surprise": [1], "drop": False}}, MessageAnswer()),
        (ADD, {"result": {"reject": True, "code": -3}}, ConversationAnswer(reject=True, code=-3)),
        (
            ConversationUpdate(init_by="tom", conversation_id="c", attr={"name": "x"}),
            {"result": {"attr": {"name": "y"}, "mute": None}},
            UpdateAnswer(attr={"name": "y"}),
        ),
        (
            ReceiversOffline(
                from_peer="tom",
                conversation_id="c",
                offline_peers=("ann",),
                content="",
                timestamp=Millis(1),
                mention_all=False,
                mention_offline_peers=(),
            ),
            {"result": {"skip": False, "offlinePeers": ["bob"], "pushMessage": '{"alert": "x"}', "force": True}},
            OfflineAnswer(offline_peers=("bob",), push_message='{"alert": "x"}', force=True),
        ),
        (SIGN, {"result": True}, SignAnswer()),
        (SIGN, {"result": False, "error": "no"}, SignAnswer(result=False, error="no")),
        (SIGN, {"result": {"result": False, "error": "no"}}, SignAnswer(result=False, error="no")),
        (SIGN, {"result": {"result": True}}, SignAnswer()),
    ],
)
@on_asyncio
async def test_answers_are_taken_as_back_ends_write_them(call: Call, body: object, expected: Answer) -> None:
    async with engine_of(saying(body)) as (engine, _):
        assert await engine.call(call) == expected


@pytest.mark.parametrize("act", [EMPTY, saying(b""), saying(b"<html>"), saying({"result": "ok"}), saying([1])])
@on_asyncio
async def test_nothing_is_expected_of_the_answer_to_a_notice(act: Act) -> None:
    async with engine_of(act) as (engine, house):
        assert await engine.call(STARTED) == Answer()
    assert json.loads(house.asked[0][2]) == {"convId": "c"}


@pytest.mark.usefixtures("long_kept")
@on_asyncio
async def test_connections_are_kept() -> None:
    ports = set()

    async def act(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        ports.add(request.transport.get_extra_info("peername")[1])
        return web.json_response({"result": {}})

    async with engine_of(act) as (engine, _):
        for _ in range(5):
            await engine.call(ADD)
    assert len(ports) == 1


@on_asyncio
async def test_as_many_calls_as_allowed_are_under_way_at_once() -> None:
    inside = 0
    everybody = asyncio.Event()

    async def act(_: web.Request) -> web.StreamResponse:
        nonlocal inside
        inside += 1
        if inside == 100:
            everybody.set()
        await everybody.wait()
        return web.json_response({"result": {}})

    async with engine_of(act, at_once=50) as (engine, _):
        calls = [engine.call(call) for call in (ADD, STARTED) for _ in range(50)]
        await asyncio.wait_for(asyncio.gather(*calls), 5)
    assert inside == 100


# --- Failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "problem"),
    [
        (saying({"result": {}}, 500), "status 500"),
        (saying({"result": {}}, 201), "status 201"),
        (saying({"code": 1, "error": "secret"}, 400), "status 400"),
        (saying({"code": 401, "error": "secret"}, 401), "status 401: it does not take the key"),
        (saying({"result": {}}, 302, {"Location": "/elsewhere"}), "status 302"),
        (saying({"result": {}}, 307, {"Location": "/elsewhere"}), "status 307"),
        (saying(b""), "the answer is not a JSON object"),
        (saying(b"<html>secret"), "the answer is not a JSON object"),
        (saying(b'{"result": {}'), "the answer is not a JSON object"),
        (saying(b'{"result": "\xff"}'), "the answer is not a JSON object"),
        (saying(b'{"result": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "the answer is not a JSON object"),
        (saying([{"result": {}}]), "the answer is not a JSON object"),
        (saying({"result": "secret"}), "the result is not an object"),
        (saying({"result": [True]}), "the result is not an object"),
        (saying({"result": True}), "the result is not an object"),
        (saying({"result": {"reject": "secret"}}), "the result has a field of the wrong type"),
        (saying({"result": {"reject": 2}}), "the result has a field of the wrong type"),
        (saying({"result": {"code": "secret"}}), "the result has a field of the wrong type"),
        (saying({"result": {"detail": {"secret": 1}}}), "the result has a field of the wrong type"),
        (saying({"result": {"detail": "x" * ANSWER_BYTES_MAX}}), "the answer is too long"),
        (saying(b" " * 10_000_000 + b'{"result": {}}'), "the answer is too long"),
        (saying(b"\x1f\x8b" + b"\0" * 20, headers={"Content-Encoding": "gzip"}), "the answer is not a JSON object"),
    ],
)
@on_asyncio
async def test_any_other_answer_is_an_error_that_says_why_and_no_secret(act: Act, problem: str) -> None:
    async with engine_of(act) as (engine, house):
        with pytest.raises(HookError) as failed:
            await engine.call(ADD)
        assert str(failed.value) == problem
        assert len(house.asked) == 1


@on_asyncio
async def test_no_cookie_is_kept() -> None:
    async def act(_: web.Request) -> web.StreamResponse:
        return web.json_response({"result": {}}, headers={"Set-Cookie": "a=b; Path=/"})

    async with engine_of(act) as (engine, house):
        for _ in range(2):
            await engine.call(ADD)
    assert not any("Cookie" in headers for _, headers, _ in house.asked)


@on_asyncio
async def test_no_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    async with engine_of() as (engine, house):
        await engine.call(ADD)
    assert len(house.asked) == 1


@on_asyncio
async def test_what_is_called_off_lets_go_of_its_connection() -> None:
    async with engine_of(silence) as (engine, house):
        calling = asyncio.ensure_future(engine.call(ADD))
        await idle()
        calling.cancel()
        await asyncio.wait((calling,))
        await idle()
        assert (calling.cancelled(), house.gone) == (True, 1)


@on_asyncio
async def test_an_answer_that_drips_is_given_up_at_the_deadline() -> None:
    gone = asyncio.Event()

    async def drip(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        try:
            while True:
                await stream.write(b" ")
                await asyncio.sleep(0.5)
        finally:
            gone.set()

    async with engine_of(drip) as (engine, _):
        hooks = LocalHooks([engine], Hooks(deadline_milliseconds=2_000))
        begun = asyncio.get_running_loop().time()
        assert await hooks.ask(ADD) == ConversationAnswer()
        assert asyncio.get_running_loop().time() - begun == pytest.approx(2)
        await gone.wait()
        assert hooks.lines["_conversationAdd"].outcomes["timeout"] == 1


@on_asyncio
async def test_a_back_end_that_never_answers_costs_the_deadline_and_then_nothing() -> None:
    settings = Hooks(deadline_milliseconds=1_000, breaker_failures=3, required=("all",), breaker_seconds=10)
    async with engine_of(silence) as (engine, house):
        hooks = LocalHooks([engine], settings)
        for seconds in (1, 1, 1, 0):
            begun = asyncio.get_running_loop().time()
            with pytest.raises(HookFailed):
                await hooks.ask(ADD)
            assert asyncio.get_running_loop().time() - begun == pytest.approx(seconds)
        assert len(house.asked) == 3
        house.act = saying({"result": {"reject": True}})
        await asyncio.sleep(10)
        assert await hooks.ask(ADD) == ConversationAnswer(reject=True)


class Line:
    """A server of bytes: what it does with each connection, in the order in which they come.

    Attributes:
        requests: Every request that it got.
    """

    def __init__(self, *connections: list[bytes]) -> None:
        self._connections = list(connections)
        self.requests: list[bytes] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in self._connections.pop(0) if self._connections else []:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
            self.requests.append(head + await reader.readexactly(length))
            if answer == RESET:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                break
            writer.write(answer)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def line(*connections: list[bytes]) -> AsyncIterator[Line]:
    it = Line(*connections)
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
    it.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield it
    finally:
        server.close()
        await server.wait_closed()


def http(body: bytes, length: int | None = None) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body) if length is None else length, body)


@pytest.fixture
def long_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections are kept even where this machine has a bad moment."""
    monkeypatch.setattr(egress, "IDLE_SECONDS", 60.0)


LIST = http(json.dumps({"result": list(CALLS)}).encode())
REJECT = http(b'{"result": {"reject": true}}')
RESET: bytes = b""


@pytest.mark.parametrize(
    "answer", [RESET, b"garbage\r\n\r\n", b"\0" * 100, b"HTTP/1.1 200 OK\r\n", http(b'{"result":', 100)]
)
@on_asyncio
async def test_a_connection_that_breaks_is_an_error(answer: bytes) -> None:
    async with line([LIST], [answer]) as it, started(it.url) as engine:
        await idle()
        with pytest.raises(HookError):
            await engine.call(ADD)
        assert [request.split()[0] for request in it.requests] == [b"GET", b"POST"]


@pytest.mark.usefixtures("long_kept")
@on_asyncio
async def test_a_question_that_meets_a_closed_connection_is_asked_once_more() -> None:
    async with line([LIST, RESET], [REJECT]) as it, started(it.url) as engine:
        assert await engine.call(ADD) == ConversationAnswer(reject=True)
        assert [request.split()[0] for request in it.requests] == [b"GET", b"POST", b"POST"]
    async with line([LIST, RESET], [RESET], [REJECT]) as it, started(it.url) as engine:
        with pytest.raises(HookError):
            await engine.call(ADD)
        assert len(it.requests) == 3


@pytest.mark.usefixtures("long_kept")
@on_asyncio
async def test_a_notice_is_not_told_twice() -> None:
    async with line([LIST, RESET], [REJECT]) as it, started(it.url) as engine:
        with pytest.raises(HookError):
            await engine.call(STARTED)
        assert len(it.requests) == 2


@pytest.mark.usefixtures("long_kept")
@on_asyncio
async def test_an_answer_that_breaks_off_is_not_asked_for_again() -> None:
    async with line([LIST, http(b'{"result":', 100)], [REJECT]) as it, started(it.url) as engine:
        with pytest.raises(HookError):
            await engine.call(ADD)
        assert len(it.requests) == 2


@on_asyncio
async def test_before_its_start_and_after_its_end_it_fails() -> None:
    async with back_end() as (_, url):
        engine = HttpEngine(Hooks(url=url), APPLICATION, guarded=False)
        with pytest.raises(HookError):
            await engine.call(ADD)
        await engine.start()
        await engine.call(ADD)
        await engine.close()
        with pytest.raises(HookError):
            await engine.call(ADD)
        await engine.close()


@on_asyncio
async def test_a_url_that_is_not_the_operators_does_not_lead_inside() -> None:
    async with back_end() as (house, url), started(url, guarded=True, required=("all",)) as engine:
        assert house.listed == []
        with pytest.raises(HookError, match=r"^the address is not public$"):
            await engine.call(ADD)
        assert house.asked == []


# --- What is defined --------------------------------------------------------------------------------------------------


def defined(engine: HttpEngine) -> set[str]:
    return {hook for hook, kind in CALLS.items() if engine.defines(kind)}


@on_asyncio
async def test_the_back_end_says_what_it_defines() -> None:
    functions = saying({"result": ["_messageReceived", "averageStars", "_conversationAdd", 7, None]})
    async with engine_of(functions=functions) as (engine, house):
        assert defined(engine) == {"_messageReceived", "_conversationAdd"}
    (headers,) = house.listed
    assert (headers["X-LC-Id"], headers["X-LC-Key"]) == ("app", "master,master")
    assert "X-LC-Hook-Key" not in headers


@on_asyncio
async def test_the_list_is_refreshed() -> None:
    async with engine_of(functions=saying({"result": []}), refresh_seconds=20) as (engine, house):
        assert defined(engine) == set()
        house.functions = saying({"result": ["_clientOnline"]})
        await asyncio.sleep(19)
        assert (defined(engine), len(house.listed)) == (set(), 1)
        await asyncio.sleep(1.1)
        assert (defined(engine), len(house.listed)) == ({"_clientOnline"}, 2)


@pytest.mark.parametrize(
    "functions",
    [
        silence,
        saying(status=500),
        saying({}, 404),
        saying({}, 401),
        saying(b"<html>"),
        saying({"result": {}}),
        saying({}),
        saying(b" " * 2_000_000),
    ],
)
@on_asyncio
async def test_the_last_list_counts_while_there_is_no_new_one(functions: Act) -> None:
    async with engine_of(functions=saying({"result": ["_clientOnline"]}), refresh_seconds=20) as (engine, house):
        house.functions = functions
        with capture_logs() as logs:
            await asyncio.sleep(70)
        assert len(house.listed) >= 3
        assert defined(engine) == {"_clientOnline"}
        assert [entry["event"] for entry in logs] == ["it is not known which hooks are defined"]
        house.functions = saying({"result": ["_clientOffline"]})
        with capture_logs() as logs:
            await asyncio.sleep(25)
        assert defined(engine) == {"_clientOffline"}
        assert [entry["event"] for entry in logs] == ["it is known again which hooks are defined", "hooks found"]


@on_asyncio
async def test_a_back_end_that_comes_up_later_is_noticed_soon() -> None:
    clock = asyncio.get_running_loop().time
    begun = clock()
    asked_at = []

    async def not_yet(_: web.Request) -> web.StreamResponse:
        asked_at.append(clock() - begun)
        return web.Response(status=503)

    async with engine_of(functions=not_yet, refresh_seconds=30) as (engine, house):
        await asyncio.sleep(100)
        assert asked_at == pytest.approx([0, 1, 3, 7, 15, 31, 61, 91], abs=0.1)
        assert defined(engine) == set()
        house.functions = ALL
        await asyncio.sleep(30)
        assert defined(engine) == set(CALLS)


@on_asyncio
async def test_what_is_required_counts_as_defined_until_the_back_end_was_heard() -> None:
    required = ("_messageReceived", "_conversationAdd")
    async with engine_of(saying(status=503), saying(status=503), required=required) as (engine, house):
        assert defined(engine) == set(required)
        with pytest.raises(HookFailed):
            await LocalHooks([engine], Hooks(required=required)).ask(ADD)
        house.functions = saying({"result": ["_messageReceived"]})
        await asyncio.sleep(2)
        assert defined(engine) == {"_messageReceived"}
    async with engine_of(functions=saying(status=503), required=("all",)) as (engine, _):
        assert defined(engine) == set(CALLS)


@on_asyncio
async def test_a_back_end_that_is_not_there_is_no_reason_not_to_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with capture_logs() as logs:
        async with started(f"http://127.0.0.1:{port}/?secret=1") as engine:
            assert defined(engine) == set()
    assert [(entry["event"], entry["problem"]) for entry in logs] == [
        ("it is not known which hooks are defined", "no connection")
    ]


@on_asyncio
async def test_the_start_does_not_wait_for_ever() -> None:
    async with back_end(functions=silence) as (_, url):
        begun = asyncio.get_running_loop().time()
        async with started(url):
            assert asyncio.get_running_loop().time() - begun == pytest.approx(LIST_SECONDS)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
@on_asyncio
async def test_a_back_end_that_keeps_no_list_is_called_for_everything(status: int) -> None:
    missing = saying({"code": 404, "error": "cloud func named '_conversationAdd' not found."}, 404)
    async with engine_of(missing, saying(b"", status), refresh_seconds=20) as (engine, house):
        assert defined(engine) == set(CALLS)
        assert await engine.call(ADD) == ConversationAnswer()
        assert defined(engine) == set(CALLS) - {"_conversationAdd"}
        assert await engine.call(STARTED) == Answer()
        assert defined(engine) == set(CALLS) - {"_conversationAdd", "_conversationStarted"}
        await asyncio.sleep(21)
        assert defined(engine) == set(CALLS)
        house.functions = saying({"result": []})
        await asyncio.sleep(21)
        assert defined(engine) == set()


@pytest.mark.rule("14.2")
@on_asyncio
async def test_a_function_that_is_not_there_is_no_failure() -> None:
    async with engine_of(saying(b"<html>not found", 404), refresh_seconds=20) as (engine, house):
        hooks = LocalHooks([engine], Hooks(breaker_failures=1))
        for _ in range(3):
            assert await hooks.ask(ADD) == ConversationAnswer()
        assert len(house.asked) == 1
        assert hooks.lines["_conversationAdd"].outcomes["failed"] == 0
        await asyncio.sleep(21)
        await hooks.ask(ADD)
        assert len(house.asked) == 2


@on_asyncio
async def test_that_a_required_function_is_not_there_the_back_end_itself_must_say() -> None:
    async with engine_of(required=("_conversationAdd",)) as (engine, house):
        for body in (b"<html>not found", b"{}", b'{"error": "no route"}', b"[]"):
            house.act = saying(body, 404)
            with pytest.raises(HookError, match=r"^status 404$"):
                await engine.call(ADD)
            assert engine.defines(ConversationAdd)
        house.act = saying({"code": 404, "error": "cloud func named '_conversationAdd' not found."}, 404)
        assert await engine.call(ADD) == ConversationAnswer()
        assert not engine.defines(ConversationAdd)


@on_asyncio
async def test_what_is_found_is_logged_when_it_changes() -> None:
    with capture_logs() as logs:
        async with engine_of(functions=saying({"result": ["_clientOnline"]}), refresh_seconds=1) as (_, house):
            await asyncio.sleep(5)
            house.functions = saying({"result": []})
            await asyncio.sleep(5)
    assert [(entry["event"], entry["hooks"]) for entry in logs] == [
        ("hooks found", ["_clientOnline"]),
        ("hooks found", []),
    ]
