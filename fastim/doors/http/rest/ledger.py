"""The ledger of a chat room, for its operators."""

from typing import Any

from fastim.core.ledger import Ledger
from fastim.doors.http.rest.authentication import Access
from fastim.doors.http.rest.calls import Asked, Call, Nothing
from fastim.doors.http.rest.families import CHAT_ROOMS, conversation_of
from fastim.service.ledger import read_ledger


async def _read(asked: Asked[Nothing, Nothing]) -> Ledger:
    room = await conversation_of(CHAT_ROOMS, asked)
    return read_ledger(asked.io, room.id)


CALLS: tuple[Call[Any, Any, Any], ...] = (
    Call(
        "GET",
        f"{CHAT_ROOMS.one}/ledger",
        Access.MASTER,
        "What became of a chat room's messages: written, shed and why, closed; since somebody was first in it.",
        CHAT_ROOMS.tag,
        _read,
        reply=Ledger,
    ),
)
