"""Deletion: the application takes a message out of the record. Clients are not told, and keep what they have."""

from fastim.core.errors import MessageNotFound, MessageNotOwned, RankTooLow
from fastim.core.ids import log_owner
from fastim.core.message import Position
from fastim.core.session import Session
from fastim.service.io import Io


async def delete_message(io: Io, session: Session, log_id: str, position: Position) -> None:
    """Delete a message that the session's client sent. Source: semantics, rule 8.8.

    Raises:
        RankTooLow: A client asks; it may recall.
        MessageNotFound: There is no such message there.
        MessageNotOwned: Another client sent it.
    """
    if not session.privileged:
        raise RankTooLow("only the application deletes messages")
    async with io.lanes.hold(log_owner(log_id)[0]):
        message = await io.store.find_message(log_id, position)
        if message is None:
            raise MessageNotFound
        if message.sender != session.client_id:
            raise MessageNotOwned
        if not await io.store.delete_message(log_id, position):
            raise MessageNotFound
