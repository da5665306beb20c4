"""Statistics: what an application's own servers ask about clients and their number."""

from msgspec import Struct

from fastim.core.conversation import Kind
from fastim.core.errors import InvalidLogin
from fastim.core.ids import is_client_id, log_owner
from fastim.core.unread import unread
from fastim.ports.store import Subscription
from fastim.service.io import Io
from fastim.service.unread import talk_in

DAY_MILLIS = 86_400_000


class Users(Struct, frozen=True):
    """How many clients there are.

    Attributes:
        online: That have an open session.
        today: That have logged in since the day began, in UTC.
    """

    online: int
    today: int


async def count_users(io: Io) -> Users:
    """How many clients are here, and how many were today."""
    return Users(len(io.directory.clients()), await io.store.count_users(io.clock.now() // DAY_MILLIS))


async def count_unread(io: Io, client_id: str, conversation_id: str | None = None) -> int:
    """How much a client has not read, each conversation's count capped as it is told to the client.

    Args:
        conversation_id: ``None``: of all its conversations together.

    Raises:
        InvalidLogin: No client can be called that.
    """
    if not is_client_id(client_id):
        raise InvalidLogin
    if conversation_id is None:
        joined = await io.store.joined_conversations(client_id)
    else:
        joined = await talk_in(io, client_id, conversation_id)
    counts: dict[str, int] = {}
    for one in joined:
        name = log_owner(one.conversation_id)[0]
        counts[name] = counts.get(name, 0) + unread(one.head, one.membership, client_id).count
    return sum(min(count, io.policy.unread_cap or count) for count in counts.values())


async def list_subscriptions(io: Io, client_id: str) -> list[Subscription]:
    """The service conversations that a client subscribes to, those it has longest first.

    Raises:
        InvalidLogin: No client can be called that.
    """
    if not is_client_id(client_id):
        raise InvalidLogin
    found = []
    for conversation_id in await io.store.conversation_ids_of(client_id):
        await io.pace.breathe()
        conversation = await io.store.find_conversation(conversation_id)
        if conversation is None or conversation.kind is not Kind.SYSTEM:
            continue
        membership = await io.store.find_membership(conversation_id, client_id)
        if membership is not None:
            found.append(Subscription(conversation_id, client_id, membership.joined_at))
    return sorted(found, key=lambda one: (one.since, one.conversation_id))
