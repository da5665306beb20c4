"""The three families of paths: conversations, chat rooms and service conversations; many calls are in several."""

from typing import Any

from msgspec import Struct

from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import ConversationNotFound
from fastim.doors.http.rest.calls import Asked
from fastim.service.finding import find_living


class Family(Struct, frozen=True):
    """Paths that begin alike.

    Attributes:
        path: How they begin.
        noun: What is found there.
        kinds: The types of conversation that are.
    """

    path: str
    noun: str
    tag: str
    kinds: frozenset[Kind]

    @property
    def one(self) -> str:
        """How the paths begin that are about one of them."""
        return f"{self.path}/{{conversation_id}}"


CONVERSATIONS = Family(
    "/1.2/rtm/conversations", "conversation", "Conversations", frozenset((Kind.NORMAL, Kind.TEMPORARY))
)
CHAT_ROOMS = Family("/1.2/rtm/chatrooms", "chat room", "Chat rooms", frozenset((Kind.CHAT_ROOM,)))
SERVICE_CONVERSATIONS = Family(
    "/1.2/rtm/service-conversations", "service conversation", "Service conversations", frozenset((Kind.SYSTEM,))
)
FAMILIES = (CONVERSATIONS, CHAT_ROOMS, SERVICE_CONVERSATIONS)


async def conversation_of(family: Family, asked: Asked[Any, Any]) -> Conversation:
    """The conversation in the path.

    Raises:
        ConversationNotFound: There is none in this family.
    """
    conversation = await find_living(asked.io, asked.path["conversation_id"])
    if conversation is None:
        raise ConversationNotFound
    if conversation.kind not in family.kinds:
        right = next(other for other in FAMILIES if conversation.kind in other.kinds)
        raise ConversationNotFound(f"it is not here, but in {right.path}")
    return conversation
