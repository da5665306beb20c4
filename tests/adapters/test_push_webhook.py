import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any

import pytest
from aiohttp import web

from fastim.adapters.http_client import ANSWER_BYTES_MAX, REST_SECONDS
from fastim.adapters.push.http import DEADLINE_SECONDS
from fastim.adapters.push.webhook import WebhookProvider
from fastim.core.installation import Installation
from fastim.core.push import Notification
from fastim.core.units import Millis
from fastim.ports.push import Later, Outcome, Refused, Sent
from tests.fakes.running import on_asyncio

NOW = Millis(1_767_268_800_000)
NOTIFICATION = Notification(
    "webhook/ben", "m1", "c1", "ben", "", '{"alert":"\\u4f60\\u597d","ios":{"badge":1e2}}', Millis(NOW + 1_000)
)
PHONE = Installation(
    "a" * 24,
    "android",
    NOW,
    NOW,
    vendor="mi",
    installation_id="in-1",
    registration_id="reg-1",
    channels=("ben",),
    columns={"timeZone": "Asia/Shanghai", "secret": 1},
)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class House:
    """Whoever has a webhook.

    Attributes:
        asked: What was posted, decoded.
        requests: The same as it came.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.asked: list[Any] = []
        self.requests: list[web.Request] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.asked.append(json.loads(await request.read()))
        return await self._answer(request)


@asynccontextmanager
async def webhook(answer: Answer) -> AsyncIterator[tuple[WebhookProvider, House]]:
    house = House(answer)
    site = web.Application()
    site.router.add_route("*", "/{path:.*}", house.answer)
    runner = web.AppRunner(site, access_log=None, shutdown_timeout=1)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listening).start()
    provider = WebhookProvider(f"http://127.0.0.1:{listening.getsockname()[1]}/push?key=1", guarded=False)
    try:
        yield provider, house
    finally:
        await provider.close()
        await runner.cleanup()


def saying(status: int, body: bytes = b"", **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, body=body, headers=named)

    return answer


@on_asyncio
async def test_it_is_told_who_is_pushed_what_and_on_which_devices() -> None:
    async with webhook(saying(200, b"thanks")) as (provider, house):
        assert await provider.send(NOTIFICATION, [PHONE]) == Sent("status 200")
    assert house.asked == [
        {
            "client_id": "ben",
            "conv_id": "c1",
            "msg_id": "m1",
            "expires_at": NOW + 1_000,
            "data": {"alert": "你好", "ios": {"badge": 100}},
            "devices": [
                {
                    "object_id": "a" * 24,
                    "device_type": "android",
                    "vendor": "mi",
                    "device_token": "",
                    "installation_id": "in-1",
                    "registration_id": "reg-1",
                    "device_profile": "",
                    "apns_team_id": "",
                    "apns_topic": "",
                    "badge": 0,
                    "time_zone": "Asia/Shanghai",
                }
            ],
        }
    ]
    (request,) = house.requests
    assert (request.method, request.path_qs) == ("POST", "/push?key=1")
    assert request.content_type == "application/json"


@on_asyncio
async def test_a_client_may_have_no_device() -> None:
    async with webhook(saying(204)) as (provider, house):
        assert isinstance(await provider.send(NOTIFICATION, []), Sent)
        assert not provider.carries(PHONE)
    assert house.asked[0]["devices"] == []


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (saying(201, b"{}"), Sent("status 201")),
        (saying(429, Retry_After="17"), Later("status 429", 17)),
        (saying(429), Later("status 429")),
        (saying(503, Retry_After="3"), Later("status 503", 3)),
        (saying(503, Retry_After="soon"), Later("status 503")),
        (saying(500, Retry_After="3"), Later("status 500")),
        (saying(504, b"<html>"), Later("status 504")),
        (saying(400), Refused("status 400")),
        (saying(404), Refused("status 404")),
        (saying(410), Refused("status 410")),
    ],
)
@on_asyncio
async def test_the_status_says_what_becomes_of_it(answer: Answer, outcome: Outcome) -> None:
    async with webhook(answer) as (provider, _):
        assert await provider.send(NOTIFICATION, []) == outcome


@on_asyncio
async def test_the_moment_to_come_back_may_be_a_date() -> None:
    async with webhook(saying(503, Retry_After=formatdate(time.time() + 90, usegmt=True))) as (provider, _):
        outcome = await provider.send(NOTIFICATION, [])
    assert isinstance(outcome, Later)
    assert outcome.after_seconds == pytest.approx(90, abs=5)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@on_asyncio
async def test_nobody_is_followed_elsewhere(status: int) -> None:
    async with webhook(saying(status, Location="/elsewhere")) as (provider, house):
        assert await provider.send(NOTIFICATION, []) == Refused(f"status {status}")
    assert len(house.requests) == 1


@on_asyncio
async def test_what_does_not_answer_is_not_waited_for() -> None:
    async def silence(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with webhook(silence) as (provider, _):
        began = asyncio.get_running_loop().time()
        assert await provider.send(NOTIFICATION, []) == Later("no answer in time")
        assert asyncio.get_running_loop().time() - began == pytest.approx(DEADLINE_SECONDS, abs=0.5)


@on_asyncio
async def test_the_rest_of_an_answer_changes_nothing_however_long_or_slow_it_is() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        while True:
            await stream.write(b" " * pieces[-1])
            await asyncio.sleep(0.1)

    pieces = [1]
    async with webhook(endless) as (provider, house):
        for size in (1, ANSWER_BYTES_MAX):
            pieces.append(size)
            began = asyncio.get_running_loop().time()
            assert isinstance(await provider.send(NOTIFICATION, []), Sent)
            assert asyncio.get_running_loop().time() - began < REST_SECONDS + 0.5
        assert len(house.requests) == 2


@on_asyncio
async def test_nobody_need_be_there_and_later_somebody_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    provider = WebhookProvider(f"http://127.0.0.1:{port}/?key=1", guarded=False)
    outcome = await provider.send(NOTIFICATION, [])
    assert isinstance(outcome, Later)
    assert outcome.whole
    assert str(port) not in outcome.says
    await provider.close()


@pytest.mark.parametrize("cut", [b"", b"HTTP/1.1 2", b"\x00\xffwhat?\r\n\r\n"], ids=["reset", "torn", "garbage"])
@on_asyncio
async def test_a_connection_that_is_cut_or_speaks_no_http_is_trouble(cut: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(cut)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    provider = WebhookProvider(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", guarded=False)
    assert isinstance(await provider.send(NOTIFICATION, []), Later)
    await provider.close()
    server.close()
    await server.wait_closed()


@on_asyncio
async def test_an_address_that_an_application_chose_must_be_public() -> None:
    async with webhook(saying(200)) as (open_one, house):
        guarded = WebhookProvider(open_one._url, guarded=True)
        assert await guarded.send(NOTIFICATION, []) == Later("the address is not public")
        await guarded.close()
    assert house.requests == []


@pytest.mark.parametrize("data", ["", "[]", "null", '"text"', "{", '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"])
@on_asyncio
async def test_what_is_no_object_is_not_sent(data: str) -> None:
    async with webhook(saying(200)) as (provider, house):
        notification = Notification("webhook/ben", "m1", "c1", "ben", "", data, NOW)
        assert isinstance(await provider.send(notification, []), Refused)
    assert house.requests == []


@on_asyncio
async def test_one_that_was_closed_sends_nothing() -> None:
    async with webhook(saying(200)) as (provider, house):
        await provider.close()
        assert isinstance(await provider.send(NOTIFICATION, []), Later)
    assert house.requests == []


@on_asyncio
async def test_connections_are_used_again_and_cookies_are_not() -> None:
    async with webhook(saying(200, b"ok", Set_Cookie="who=ben; Path=/")) as (provider, house):
        for _ in range(5):
            await provider.send(NOTIFICATION, [])
        peers = {request.transport.get_extra_info("peername") for request in house.requests if request.transport}
    assert len(peers) == 1
    assert not any("Cookie" in request.headers for request in house.requests)
