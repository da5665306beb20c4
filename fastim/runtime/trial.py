"""The application that newcomers try the server in: made when somebody first wants it, apart from everybody's own."""

import asyncio
from collections.abc import Container
from contextlib import suppress
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from fastim.core.application import Application
from fastim.core.commands import StartConversation
from fastim.core.conversation import Kind
from fastim.core.errors import WordListError
from fastim.core.ledger import Ledger
from fastim.core.session import office
from fastim.runtime.dispatch import Tenant
from fastim.runtime.operators import NotPossible, Operators
from fastim.service.conversations import start_conversation
from fastim.service.finding import find_living
from fastim.service.ledger import read_ledger

APPLICATION_ID: Final = "try-fastim-demo"
WORDS: Final = ("casino", "jackpot", "spoiler", "外挂", "代练", "剧透")
"""What is masked there: words that nobody minds reading on the page that shows how they go."""
SETTINGS: Final = MappingProxyType({"words.enabled": True, "words.two_enabled": True})
_DOCUMENT = "trial"
"""Keeps the room's id; that it is there says that the application is ours to show."""


class Ground(Struct, frozen=True):
    """Where to try it.

    Attributes:
        room: The chat room that all who try it share.
        words: Those of ``WORDS`` that are listed there: all, where no other list is pinned.
    """

    application: Application
    room: str
    words: tuple[str, ...]


class Trial:
    """Makes the application on first use, and says what became of its room's messages.

    Args:
        pinned: Settings against which nothing can be stored; they stay as they are.
    """

    def __init__(self, operators: Operators, pinned: Container[str] = ()) -> None:
        self._operators = operators
        self._pinned = pinned
        self._turns = asyncio.Lock()

    async def open(self) -> Ground:
        """The application and its room, made where they are missing.

        Raises:
            NotPossible: An application of that id was there before; its key is not ours to give away.
        """
        async with self._turns:
            tenant = self._operators.tenant(APPLICATION_ID) or await self._make()
            content = await tenant.io.store.find_document(_DOCUMENT)
            if content is None:
                raise NotPossible(
                    f"the application {APPLICATION_ID} is somebody's own; trying out needs that id", "app"
                )
            room = content.decode()
            if not room or not await _is_room(tenant, room):
                room = await self._furnish()
            made = self._made()
            return Ground(made.application, room, tuple(word for word in WORDS if made.words.test(word).hits))

    async def ledger(self) -> Ledger:
        """What became of the room's messages since somebody was first in it.

        Raises:
            NotPossible: As ``open`` does.
        """
        room = (await self.open()).room
        tenant = self._operators.tenant(APPLICATION_ID)
        return Ledger() if tenant is None else read_ledger(tenant.io, room)

    async def _make(self) -> Tenant:
        await self._operators.create(APPLICATION_ID)
        tenant = self._made()
        # First of all, because without it nobody can tell later whose application this is.
        await tenant.io.store.save_document(_DOCUMENT, b"")
        return tenant

    async def _furnish(self) -> str:
        """Put in what is there to try; the id of the room."""
        settings = {name: value for name, value in SETTINGS.items() if name not in self._pinned}
        await self._operators.change_settings(APPLICATION_ID, settings)
        # What a change of settings replaces is no use any more.
        tenant = self._made()
        with suppress(WordListError):  # a list that is pinned stays, too
            await tenant.words.save("\n".join(WORDS).encode())
        started = await start_conversation(
            tenant.io, office(), StartConversation(attributes='{"name":"Try it"}', chat_room=True)
        )
        await tenant.io.store.save_document(_DOCUMENT, started.conversation_id.encode())
        return started.conversation_id

    def _made(self) -> Tenant:
        tenant = self._operators.tenant(APPLICATION_ID)
        assert tenant is not None  # it has been made, and nothing takes applications away
        return tenant


async def _is_room(tenant: Tenant, conversation_id: str) -> bool:
    conversation = await find_living(tenant.io, conversation_id)
    return conversation is not None and conversation.kind is Kind.CHAT_ROOM
