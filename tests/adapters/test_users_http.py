import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from fastim.adapters.users_http import (
    ANSWER_BYTES_MAX,
    DEADLINE_SECONDS,
    QUESTIONS_AT_ONCE,
    TOKEN_CHARACTERS_MAX,
    HttpUsers,
)
from fastim.core.application import Application
from fastim.core.errors import Unavailable
from fastim.core.ids import AppNumber
from fastim.ports.users import UserIdentity
from tests.fakes.running import on_asyncio

APPLICATION = Application(AppNumber(1), "app", "key", "master", "hook")
TOM = b'{"objectId": "5f1e", "username": "tom", "emailVerified": true}'

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class House:
    """A service that knows users.

    Attributes:
        asked: What it was asked.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.asked: list[web.Request] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        return await self._answer(request)


@asynccontextmanager
async def users(answer: Answer) -> AsyncIterator[tuple[HttpUsers, House]]:
    house = House(answer)
    site = web.Application()
    site.router.add_route("*", "/{path:.*}", house.answer)
    runner = web.AppRunner(site, access_log=None, shutdown_timeout=1)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listening).start()
    asked = HttpUsers(f"http://127.0.0.1:{listening.getsockname()[1]}/me?secret=1", APPLICATION)
    try:
        yield asked, house
    finally:
        await asked.close()
        await runner.cleanup()


def saying(status: int, body: bytes = b"", **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=headers)

    return answer


@on_asyncio
async def test_who_holds_a_good_token_is_known() -> None:
    async with users(saying(200, TOM)) as (asked, house):
        identity = await asked.verify("q1w2e3")
    assert identity == UserIdentity("5f1e", {"objectId": "5f1e", "username": "tom", "emailVerified": True})
    (request,) = house.asked
    assert (request.method, request.path_qs) == ("GET", "/me?secret=1")
    names = ("X-LC-Id", "X-LC-Key", "X-LC-Session")
    assert [request.headers[name] for name in names] == ["app", "key", "q1w2e3"]


@pytest.mark.parametrize("status", [400, 401, 403, 404])
@on_asyncio
async def test_a_token_may_be_nobodys(status: int) -> None:
    async with users(saying(status, TOM)) as (asked, _):
        assert await asked.verify("q1w2e3") is None


@pytest.mark.parametrize(
    "answer",
    [
        saying(500, TOM),
        saying(204),
        saying(429),
        saying(200),
        saying(200, b"<html>"),
        saying(200, b"[]"),
        saying(200, b'"5f1e"'),
        saying(200, b"{}"),
        saying(200, b'{"objectId": ""}'),
        saying(200, b'{"objectId": 5}'),
        saying(200, b'{"objectId": "5f1e", "name": "\xff"}'),
        saying(200, b'{"objectId": "5f1e", "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        saying(200, b'{"objectId": "5f1e", "a": "' + b"x" * ANSWER_BYTES_MAX + b'"}'),
    ],
)
@on_asyncio
async def test_any_other_answer_is_none(answer: Answer) -> None:
    async with users(answer) as (asked, _):
        with pytest.raises(Unavailable):
            await asked.verify("q1w2e3")


@on_asyncio
async def test_nobody_is_sent_elsewhere_with_a_token() -> None:
    async with users(saying(302, Location="/elsewhere")) as (asked, house):
        with pytest.raises(Unavailable):
            await asked.verify("q1w2e3")
    assert len(house.asked) == 1


@on_asyncio
async def test_what_does_not_end_is_not_waited_for() -> None:
    async def forever(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        while True:
            await stream.write(b" ")
            await asyncio.sleep(1)

    async def silence(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    for answer in (forever, silence):
        async with users(answer) as (asked, _):
            begun = asyncio.get_running_loop().time()
            with pytest.raises(Unavailable):
                await asked.verify("q1w2e3")
            assert asyncio.get_running_loop().time() - begun == pytest.approx(DEADLINE_SECONDS, abs=0.5)


@on_asyncio
async def test_nobody_need_be_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    asked = HttpUsers(f"http://127.0.0.1:{port}/me", APPLICATION)
    with pytest.raises(Unavailable):
        await asked.verify("q1w2e3")
    await asked.close()


@on_asyncio
async def test_a_url_that_was_stored_for_an_application_leads_to_public_addresses_only() -> None:
    async with users(saying(200, TOM)) as (open_one, house):
        guarded = HttpUsers(open_one._url, APPLICATION, guarded=True)
        with capture_logs() as logs, pytest.raises(Unavailable):
            await guarded.verify("q1w2e3")
        await guarded.close()
    assert house.asked == []
    assert [entry["problem"] for entry in logs] == ["the address is not public"]


@pytest.mark.parametrize(
    "token", ["", "a b", "a\r\nX-LC-Key: master", "\u00e9", "a\x00", "x" * (TOKEN_CHARACTERS_MAX + 1)]
)
@on_asyncio
async def test_what_no_header_carries_is_nobodys_and_not_asked_about(token: str) -> None:
    async with users(saying(200, TOM)) as (asked, house):
        assert await asked.verify(token) is None
    assert house.asked == []


@on_asyncio
async def test_only_so_many_are_asked_about_at_once_and_the_others_have_their_turn() -> None:
    open_doors = asyncio.Event()
    within = most = 0

    async def slow(_: web.Request) -> web.StreamResponse:
        nonlocal within, most
        within += 1
        most = max(most, within)
        if within == QUESTIONS_AT_ONCE:
            asyncio.get_running_loop().call_later(1, open_doors.set)
        await open_doors.wait()
        within -= 1
        return web.Response(body=TOM)

    async with users(slow) as (asked, _):
        found = await asyncio.gather(*(asked.verify(f"t{number}") for number in range(2 * QUESTIONS_AT_ONCE)))
    assert most == QUESTIONS_AT_ONCE
    assert all(one is not None and one.id == "5f1e" for one in found)


@on_asyncio
async def test_who_waits_for_a_turn_too_long_is_told() -> None:
    async def silence(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with users(silence) as (asked, house):
        tokens = [f"t{number}" for number in range(QUESTIONS_AT_ONCE + 1)]
        found = await asyncio.gather(*map(asked.verify, tokens), return_exceptions=True)
    assert all(isinstance(one, Unavailable) for one in found)
    assert len(house.asked) == QUESTIONS_AT_ONCE


@on_asyncio
async def test_one_users_cookies_are_not_anothers() -> None:
    async with users(saying(200, TOM, **{"Set-Cookie": "who=tom; Path=/"})) as (asked, house):
        for token in ("one", "two"):
            await asked.verify(token)
    assert ["Cookie" in request.headers for request in house.asked] == [False, False]


@on_asyncio
async def test_the_log_says_once_that_it_is_out_of_order_and_names_no_secret() -> None:
    answers = [500, 500, 401, 500]

    async def next_one(_: web.Request) -> web.StreamResponse:
        return web.Response(status=answers.pop(0))

    with capture_logs() as logs:
        async with users(next_one) as (asked, _):
            for _ in range(2):
                with pytest.raises(Unavailable, match=r"^users cannot be verified now$"):
                    await asked.verify("q1w2e3")
            assert await asked.verify("q1w2e3") is None
            with pytest.raises(Unavailable):
                await asked.verify("q1w2e3")
    assert [entry["event"] for entry in logs] == ["users cannot be verified"] * 2
    assert not any("secret" in str(entry) or "q1w2e3" in str(entry) for entry in logs)
