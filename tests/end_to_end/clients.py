"""Clients of a real server, and how to know that they have been told everything."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar
from uuid import uuid4

import anyio

from fastim.client import Client, Conversation, Event, MessageReceived, Timing, connect
from tests.server_process import ServerProcess

QUICK = Timing(reply_seconds=10.0, retry_seconds=0.02, retry_seconds_max=0.2, close_seconds=5.0)
PATIENCE_SECONDS = 20.0

AnyEvent = TypeVar("AnyEvent", bound=Event)


def someone(name: str) -> str:
    """A client id that no other test uses."""
    return f"{name}-{uuid4().hex[:12]}"


def device(server: ServerProcess, client_id: str, **options: Any) -> AbstractAsyncContextManager[Client]:
    """A client connected to ``server``."""
    return connect(str(server.tcp), app_id=server.app_id, client_id=client_id, **{"timing": QUICK, **options})


async def told(client: Client, kind: type[AnyEvent]) -> AnyEvent:
    """The next event, which has to be of this kind."""
    with anyio.fail_after(PATIENCE_SECONDS):
        event = await anext(client.events())
    assert isinstance(event, kind), event
    return event


class Bell:
    """Somebody who knows all the clients of a test and can tell each of them that all has been said."""

    def __init__(self, room: Conversation) -> None:
        self._room = room

    async def told(self, *clients: Client) -> list[list[Event]]:
        """What each client was told since it was last asked, up to now."""
        stroke = await self._room.send("ding")
        return [await self._until(client, stroke.id) for client in clients]

    async def _until(self, client: Client, message_id: str) -> list[Event]:
        events: list[Event] = []
        with anyio.fail_after(PATIENCE_SECONDS):
            async for event in client.events():
                if isinstance(event, MessageReceived) and event.message.id == message_id:
                    return events
                if conversation_of(event) != self._room.id:
                    events.append(event)
        raise AssertionError("the client ended before the bell rang")


@asynccontextmanager
async def bell_for(server: ServerProcess, *client_ids: str) -> AsyncIterator[Bell]:
    """A bell that these clients hear."""
    async with device(server, someone("bell"), events_max=0) as ringer:
        yield Bell(await ringer.create_conversation(client_ids))


def conversation_of(event: Event) -> str | None:
    """The conversation that an event is about."""
    if isinstance(event, MessageReceived):
        return event.message.conversation_id
    return getattr(event, "conversation_id", None)
