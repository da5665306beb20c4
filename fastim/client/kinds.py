"""Conversations that are not quite like others: chat rooms, service conversations, temporary ones."""

from fastim.client.conversation import Conversation
from fastim.client.requests import ask, find
from fastim.client.session import Session
from fastim.client.signing import Action
from fastim.client.values import ConversationInfo, Message
from fastim.core.conversation import Kind
from fastim.core.units import Millis
from fastim.wire import messages2_pb2 as pb

TEMPORARY_PREFIX = "_tmp:"
"""What the ids of temporary conversations begin with. Source: semantics, rule 1.18."""


class ChatRoom(Conversation):
    """A room that clients enter and leave at will; made by ``Client.room`` and ``Client.create_room``.

    A client is in one room at a time, on each of its devices: entering another leaves the one before. Nobody is told
    who comes and goes, nothing is unread, and nobody can be added. After a reconnection the client is in the room
    again, or is told ``RoomLost``; what was said meanwhile is in the history.
    """

    async def join(self, *, recent: int = 0) -> list[Message]:
        """Enter the room, and return some of what was said last.

        Entering twice is entering once, so it is asked for again when the connection breaks.

        Args:
            recent: How many messages, 0 to 1000; they come in ascending order, all of them from before those that
                ``events`` tells of, but for one that comes just then and may be told twice.

        Raises:
            Refused: There is no such room (4303), it does not want this client (4548), ...
        """
        await self._change_self(pb.add, pb.added, Action.INVITE, repeatable=True)
        self._session.resumption.room_id = self.id
        return await self.history_page(limit=recent) if recent else []

    async def leave(self) -> None:
        """Leave the room, for good: a reconnection does not bring this client back.

        Raises:
            Refused: There is no such room (4303), ...
        """
        if self._session.resumption.room_id == self.id:
            self._session.resumption.room_id = ""
        await self._change_self(pb.remove, pb.removed, None, repeatable=True)

    async def count_online(self) -> int:
        """How many clients are in the room now."""
        return await self.count_members()

    async def some_online(self, limit: int = 50) -> list[str]:
        """Some of the clients who are in the room now, picked at random.

        Args:
            limit: 1 to 50.
        """
        conv = pb.ConvCommand(cid=self.id, limit=limit)
        reply = await ask(self._session, pb.members, pb.result, conv, repeatable=True)
        return list(reply.m)


class ServiceConversation(Conversation):
    """A conversation with a service behind the application; made by ``Client.service``.

    What a client sends goes to the service alone; what the service sends goes to one, some or all of its subscribers,
    and each of them has a history of its own.
    """

    async def subscribe(self) -> None:
        """Get what the service sends to its subscribers.

        Raises:
            Refused: There is no such service (4303), ...
        """
        await self._change_self(pb.add, pb.added, Action.INVITE, repeatable=True)

    async def unsubscribe(self) -> None:
        """Get it no longer.

        Raises:
            Refused: There is no such service (4303), ...
        """
        await self._change_self(pb.remove, pb.removed, None, repeatable=True)

    async def is_subscribed(self) -> bool:
        """Whether this client gets what the service sends."""
        return await self.is_member()


class TemporaryConversation(Conversation):
    """A conversation of few that ends after a while; made by ``Client.create_temporary``.

    Who is in it is settled when it is made. After its end every call is refused (4303).

    Attributes:
        expires_at: When it ends, as far as is known: not before it is created or fetched here.
    """

    expires_at: Millis | None = None

    async def _found(self, *, with_last_message: bool) -> list[ConversationInfo]:
        infos = await find(self._session, temporary_ids=[self.id], with_last_message=with_last_message)
        for info in infos:
            self.expires_at = info.expires_at
        return infos


def conversation(
    session: Session, conversation_id: str, kind: Kind | None = None, info: ConversationInfo | None = None
) -> Conversation:
    """The conversation with that id, with the calls that its kind has."""
    if kind is None and conversation_id.startswith(TEMPORARY_PREFIX):
        kind = Kind.TEMPORARY
    made = _CLASSES[kind or Kind.NORMAL](session, conversation_id, info)
    if isinstance(made, TemporaryConversation) and info is not None:
        made.expires_at = info.expires_at
    return made


_CLASSES: dict[Kind, type[Conversation]] = {
    Kind.NORMAL: Conversation,
    Kind.CHAT_ROOM: ChatRoom,
    Kind.SYSTEM: ServiceConversation,
    Kind.TEMPORARY: TemporaryConversation,
}
