"""Mutes: the application switches members' offline push off, or on again."""

from collections.abc import Iterable

from msgspec.structs import replace

from fastim.core.commands import MuteConversation
from fastim.core.conversation import Kind, changed_at
from fastim.core.errors import NormalConversationRequired, RankTooLow
from fastim.core.members import mute
from fastim.core.replies import Muted
from fastim.core.session import Session
from fastim.service.finding import find
from fastim.service.io import Io


async def mute_members(
    io: Io, session: Session, conversation_id: str, client_ids: Iterable[str], *, muted: bool
) -> Muted:
    """Do for several members of a normal conversation what each can do for itself; who is none is left out.

    Raises:
        RankTooLow: A client asks; it may do so for itself.
        NormalConversationRequired: It is of another type.
        Refusal: There is no such conversation.
    """
    if not session.privileged:
        raise RankTooLow("only the application mutes for others")
    async with io.lanes.hold(conversation_id):
        before = await find(io, session, MuteConversation(conversation_id, muted))
        if before.kind is not Kind.NORMAL:
            raise NormalConversationRequired
        after = before
        now = io.clock.now()
        for client_id in client_ids:
            after = mute(after, client_id, muted, now)
        if after is not before:
            after = replace(after, updated_at=changed_at(before, now))
            await io.store.change_conversation(after)
    return Muted(after.id, after.updated_at)
