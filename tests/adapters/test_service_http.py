"""The service back end over HTTP: what it gets, and what counts as not taken."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from fastim.adapters.service_http import HttpServiceBackEnd
from fastim.core.application import Application
from fastim.core.errors import HookError
from fastim.core.hooks import ServiceMessage
from fastim.core.ids import AppNumber

APPLICATION = Application(AppNumber(1), "an-application", "app-key", "master-key", "hook-key")
MESSAGE = ServiceMessage(
    message_id="a" * 22,
    conversation={"__type": "Pointer", "className": "_Conversation", "objectId": "5f1b3c0e7a9d4b2c8e6f1a30"},
    sender="tom",
    bin=False,
    data="你好",
    source_ip="192.0.2.7",
    created_at="2026-11-23T10:00:00.000Z",
    updated_at="2026-11-23T10:00:00.000Z",
)


@asynccontextmanager
async def back_end(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_post("/told", answer)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/told"
    finally:
        await runner.cleanup()


def test_a_batch_is_one_array_with_the_hook_key() -> None:
    async def check() -> None:
        got: list[Any] = []

        async def take(request: web.Request) -> web.Response:
            got.append((dict(request.headers), await request.json()))
            return web.Response(status=200)

        async with back_end(take) as url:
            service = HttpServiceBackEnd(url, APPLICATION, "the-key", guarded=False)
            await service.take([MESSAGE, MESSAGE])
            await service.close()
        ((headers, array),) = got
        assert headers["X-LC-Hook-Key"] == "the-key"
        assert headers["X-LC-Id"] == "an-application"
        assert len(array) == 2
        assert array[0] == {
            "msgId": "a" * 22,
            "conv": {"__type": "Pointer", "className": "_Conversation", "objectId": "5f1b3c0e7a9d4b2c8e6f1a30"},
            "from": "tom",
            "bin": False,
            "data": "你好",
            "fromIp": "192.0.2.7",
            "createdAt": "2026-11-23T10:00:00.000Z",
            "updatedAt": "2026-11-23T10:00:00.000Z",
        }

    asyncio.run(check())


@pytest.mark.parametrize("status", [302, 400, 404, 500, 503])
def test_any_status_but_2xx_means_that_it_was_not_taken(status: int) -> None:
    async def check() -> None:
        async def refuse(request: web.Request) -> web.Response:
            return web.Response(status=status, headers={"Location": "/told"})

        async with back_end(refuse) as url:
            service = HttpServiceBackEnd(url, APPLICATION, "the-key", guarded=False)
            with pytest.raises(HookError, match=f"status {status}"):
                await service.take([MESSAGE])
            await service.close()

    asyncio.run(check())


def test_what_it_says_besides_changes_nothing_however_long_it_is() -> None:
    async def check() -> None:
        async def talk(request: web.Request) -> web.Response:
            return web.Response(body=b" " * 10_000_000)

        async with back_end(talk) as url:
            service = HttpServiceBackEnd(url, APPLICATION, "the-key", guarded=False)
            await service.take([MESSAGE])
            await service.close()

    asyncio.run(check())


def test_one_that_does_not_answer_is_not_waited_for_for_long() -> None:
    async def check() -> None:
        ended = asyncio.Event()

        async def stall(request: web.Request) -> web.Response:
            await ended.wait()
            return web.Response()

        async with back_end(stall) as url:
            service = HttpServiceBackEnd(url, APPLICATION, "the-key", guarded=False, deadline_seconds=0.05)
            with pytest.raises(HookError, match="no answer in time"):
                await service.take([MESSAGE])
            ended.set()
            await service.close()

    asyncio.run(check())


def test_a_url_that_was_stored_for_an_application_leads_to_public_addresses_only() -> None:
    async def check() -> None:
        async def take(request: web.Request) -> web.Response:
            raise AssertionError("it was reached")

        async with back_end(take) as url:
            service = HttpServiceBackEnd(url, APPLICATION, "the-key", guarded=True)
            with pytest.raises(HookError, match="not public"):
                await service.take([MESSAGE])
            await service.close()

    asyncio.run(check())
