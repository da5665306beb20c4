"""Finding a conversation for whoever asks about it."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from fastim.core.commands import Command
from fastim.core.conversation import Conversation, Kind
from fastim.core.permission import Asker, permitted
from fastim.core.session import Session
from fastim.core.standing import UNREMARKABLE, Standing
from fastim.service.io import Io


@runtime_checkable
class About(Protocol):
    """A command that is about one conversation."""

    @property
    def conversation_id(self) -> str: ...


async def find(io: Io, session: Session, command: Command) -> Conversation:
    """The conversation that ``command`` is about, which ``session`` may give.

    Raises:
        Refusal: It may not, or there is no such conversation; see ``fastim.core.permission``.
    """
    return (await find_with_asker(io, session, command))[0]


async def find_with_asker(io: Io, session: Session, command: Command) -> tuple[Conversation, Asker]:
    """The same, and what ``session`` is in it."""
    assert isinstance(command, About)
    conversation, asker = await look_up(io, session, command.conversation_id)
    return permitted(conversation, asker, command), asker


async def look_up(io: Io, session: Session, conversation_id: str) -> tuple[Conversation | None, Asker]:
    """The conversation, unless there is none or it has expired, and what ``session`` is in it."""
    conversation = await find_living(io, conversation_id)
    if conversation is None:
        return None, Asker(session.client_id, member=False, privileged=session.privileged)
    return conversation, await asker_in(io, session, conversation)


async def find_living(io: Io, conversation_id: str) -> Conversation | None:
    """The conversation, unless there is none or it has expired."""
    conversation = await io.store.find_conversation(conversation_id)
    return None if conversation is None or conversation.expired(io.clock.now()) else conversation


async def asker_in(io: Io, session: Session, conversation: Conversation) -> Asker:
    """What ``session`` is in the conversation."""
    standing = UNREMARKABLE
    if conversation.regulated and not session.privileged:
        standing = await io.store.find_standing(conversation.id, session.client_id)
    member = await belongs(io, conversation, session.client_id)
    return Asker(session.client_id, member, standing, session.privileged)


async def belongs(io: Io, conversation: Conversation, client_id: str) -> bool:
    """Whether the client is a member, an occupant or a subscriber."""
    match conversation.kind:
        case Kind.CHAT_ROOM:
            return io.rooms.holds(conversation.id, client_id)
        case Kind.SYSTEM:
            return await io.store.find_membership(conversation.id, client_id) is not None
        case Kind.NORMAL | Kind.TEMPORARY:
            return conversation.has_member(client_id)


async def barred(io: Io, conversation: Conversation, asker: Asker, clients: Sequence[str]) -> frozenset[str]:
    """Those of ``clients`` who are blocked, or, unless it is the asker, refuse to be added.

    Source: semantics, rules 4.10 and 4.11.
    """
    kept_out = set[str]()
    for client_id in clients:
        await io.pace.breathe()
        oneself = client_id == asker.client_id and not asker.privileged
        if await is_blocked(io, conversation, client_id) or (
            not oneself and conversation.id in await io.store.refused_conversations(client_id)
        ):
            kept_out.add(client_id)
    return frozenset(kept_out)


async def standings_of(io: Io, conversation: Conversation, clients: Sequence[str]) -> dict[str, Standing]:
    """The standings of ``clients``, as far as any were given in the conversation."""
    if not conversation.regulated:
        return {}
    found = {}
    for client_id in clients:
        await io.pace.breathe()
        found[client_id] = await io.store.find_standing(conversation.id, client_id)
    return found


async def is_blocked(io: Io, conversation: Conversation, client_id: str) -> bool:
    """Whether the client is blocked there."""
    return conversation.regulated and (await io.store.find_standing(conversation.id, client_id)).blocked
