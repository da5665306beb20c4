"""The audience: whom a message of a conversation, or a change of one, is delivered to."""

from collections.abc import AsyncIterator

from fastim.core.conversation import Conversation, Kind
from fastim.core.ids import log_owner
from fastim.service.io import Io

_PAGE = 1000


async def audience(io: Io, conversation: Conversation, log_id: str | None = None) -> tuple[str, ...]:
    """The clients to whom what happens in a log goes.

    The members of a normal or temporary conversation; nobody for a chat room, whose occupants delivery knows; of a
    service conversation those of its subscribers who are online, or, of a personal log, its client.

    Args:
        log_id: ``None``: the conversation's own log.
    """
    match conversation.kind:
        case Kind.NORMAL | Kind.TEMPORARY:
            return conversation.members
        case Kind.CHAT_ROOM:
            return ()
        case Kind.SYSTEM:
            owner = log_owner(log_id or conversation.id)[1]
            return (
                (owner,) if owner else tuple([client_id async for client_id in _online_subscribers(io, conversation)])
            )


def telling_lane(log_id: str) -> tuple[str, str]:
    """The lane in which subscribers are told what happened in a service conversation's log, in the order it happened.

    Who of them is online takes a while to find out, so the conversation's own lane is not held for it.
    """
    return "subscribers", log_id


async def _online_subscribers(io: Io, conversation: Conversation) -> AsyncIterator[str]:
    """Go over those who are online, or over the subscribers, whichever are fewer."""
    online = io.directory.clients()
    if len(online) <= await io.store.count_subscriptions(conversation.id):
        for client_id in online:
            await io.pace.breathe()
            if await io.store.find_membership(conversation.id, client_id) is not None:
                yield client_id
        return
    after = ""
    while page := await io.store.subscriptions(conversation.id, after, _PAGE):
        await io.pace.breathe()
        for client_id in io.directory.online(one.client_id for one in page):
            yield client_id
        after = page[-1].client_id
