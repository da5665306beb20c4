"""Clients: who is online, what they have not read, and how to end their sessions. Source: REST reference."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from fastim.core.commands import QueryOnline
from fastim.core.conversation import Kind
from fastim.core.session import office
from fastim.doors.http.rest.authentication import Access
from fastim.doors.http.rest.calls import NOTHING, Asked, BadRequest, Call, Nothing
from fastim.doors.http.rest.history import span_of, tell_kept
from fastim.doors.http.rest.sending import speaker
from fastim.doors.http.rest.values import Count, FewClientIds, HistoryQuery, Logged, Moment, Subscriber
from fastim.service.archive import search_archive
from fastim.service.io import Io
from fastim.service.sessions import kick_client, query_online
from fastim.service.statistics import count_unread, count_users, list_subscriptions

SUBSCRIPTIONS_MAX = 50

_TAG = "Clients"
_ONE = "/1.2/rtm/clients/{client_id}"
SPOKEN_IN = frozenset((Kind.NORMAL, Kind.TEMPORARY, Kind.CHAT_ROOM))
"""The types of conversation that what a client has sent is looked for in."""


class Kick(Struct, frozen=True):
    """Why; the client is told."""

    reason: Annotated[str, Meta(max_length=20)] = ""


class Online(Struct, frozen=True):
    """Those who are online."""

    results: list[str]


class UnreadQuery(Struct, frozen=True):
    """In which conversation; in all of them without one."""

    conv_id: str | None = None


class SubscriptionQuery(Struct, frozen=True):
    """Which subscriptions, by when they began; ``timestamp`` and ``conv_id`` are the last one's of the page before."""

    timestamp: Moment | None = None
    conv_id: str = ""
    limit: Annotated[int, Meta(ge=1, le=SUBSCRIPTIONS_MAX)] = SUBSCRIPTIONS_MAX
    direction: Annotated[Literal["new", "old"], Meta(description="`new`: oldest first.")] = "new"


class Users(Struct, frozen=True):
    """Clients by number."""

    online_user_count: int
    user_count_today: int


class Stats(Struct, frozen=True):
    """How many use the application."""

    result: Users


async def kick(io: Io, client_id: str, reason: str) -> Nothing:
    """End all sessions of a client.

    Raises:
        BadRequest: The client could not be told such a reason.
    """
    if reason and not reason.isprintable():
        raise BadRequest("reason has characters that cannot be printed")
    await kick_client(io, client_id, reason)
    return NOTHING


async def _check_online(asked: Asked[Nothing, FewClientIds]) -> Online:
    found = await query_online(asked.io, office(), QueryOnline(tuple(asked.body.client_ids)))
    return Online(list(found.client_ids))


async def _count_unread(asked: Asked[UnreadQuery, Nothing]) -> Count:
    return Count(await count_unread(asked.io, asked.path["client_id"], asked.query.conv_id))


async def _kick(asked: Asked[Nothing, Kick]) -> Nothing:
    return await kick(asked.io, asked.path["client_id"], asked.body.reason)


async def _list_subscriptions(asked: Asked[SubscriptionQuery, Nothing]) -> list[Subscriber]:
    query = asked.query
    found = await list_subscriptions(asked.io, asked.path["client_id"])
    if query.direction == "old":
        found.reverse()
    if query.timestamp is not None:
        last = (query.timestamp, query.conv_id)
        places = [((one.since, one.conversation_id), one) for one in found]
        found = [one for place, one in places if (place < last if query.direction == "old" else place > last)]
    return [Subscriber(one.since, one.client_id, one.conversation_id) for one in found[: query.limit]]


async def _read_messages(asked: Asked[HistoryQuery, Nothing]) -> list[Logged]:
    client_id = speaker(asked.path["client_id"], asked.address).client_id
    kept = await search_archive(asked.io, span_of(asked.query), client_id, SPOKEN_IN)
    return tell_kept(kept, asked.query)


async def _count_users(asked: Asked[Nothing, Nothing]) -> Stats:
    users = await count_users(asked.io)
    return Stats(Users(users.online, users.today))


CALLS: tuple[Call[Any, Any, Any], ...] = (
    Call(
        "POST",
        "/1.2/rtm/clients/check-online",
        Access.MASTER,
        "Which of these clients are online.",
        _TAG,
        _check_online,
        body=FewClientIds,
        reply=Online,
    ),
    Call(
        "GET",
        f"{_ONE}/unread-count",
        Access.APPLICATION,
        "How many messages a client has not read.",
        _TAG,
        _count_unread,
        query=UnreadQuery,
        reply=Count,
    ),
    Call(
        "POST",
        f"{_ONE}/kick",
        Access.MASTER,
        "End all sessions of a client; its session tokens are void.",
        _TAG,
        _kick,
        body=Kick,
    ),
    Call(
        "GET",
        f"{_ONE}/service-conversations",
        Access.MASTER,
        "The service conversations that a client subscribes to.",
        _TAG,
        _list_subscriptions,
        query=SubscriptionQuery,
        reply=list[Subscriber],
    ),
    Call(
        "GET",
        f"{_ONE}/messages",
        Access.MASTER,
        "What a client has sent to conversations and chat rooms, newest first.",
        _TAG,
        _read_messages,
        query=HistoryQuery,
        reply=list[Logged],
    ),
    Call(
        "GET",
        "/1.2/rtm/stats",
        Access.MASTER,
        "How many clients are online, and how many logged in today (UTC).",
        "Application",
        _count_users,
        reply=Stats,
    ),
)
