"""Clients of a scripted server, and what they are told."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio

from fastim.client import Client, Event, Timing, connect
from tests.client.fake_server import QUICK, FakeServer, Peer, fake_server


@asynccontextmanager
async def scripted(script: Callable[[FakeServer], Coroutine[Any, Any, None]]) -> AsyncIterator[FakeServer]:
    """A server that plays ``script``, which has to come to its end."""
    async with fake_server() as server, anyio.create_task_group() as tasks:
        tasks.start_soon(script, server)
        yield server


@asynccontextmanager
async def talking(script: Callable[[Peer], Coroutine[Any, Any, None]], **options: Any) -> AsyncIterator[Client]:
    """A client whose open session's other end plays ``script`` and then waits for the goodbye."""

    async def serve(server: FakeServer) -> None:
        peer = await server.accept_session()
        await script(peer)
        await peer.say_goodbye()

    async with scripted(serve) as server, connected(server, **options) as tom:
        yield tom


def connected(
    server: FakeServer, timing: Timing = QUICK, events_max: int = 1000, **options: Any
) -> AbstractAsyncContextManager[Client]:
    """Tom, on his phone."""
    return connect(
        server.address,
        app_id="app-under-test",
        client_id="tom",
        device="phone",
        timing=timing,
        events_max=events_max,
        **options,
    )


async def take(client: Client, count: int) -> list[Event]:
    """The next events."""
    events = client.events()
    with anyio.fail_after(5):
        return [await anext(events) for _ in range(count)]


async def rest(client: Client) -> list[Event]:
    """All events until the client's end."""
    with anyio.fail_after(5):
        return [event async for event in client.events()]
