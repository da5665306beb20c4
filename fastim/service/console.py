"""What an operator wants to know of conversations that no client may ask: all of them, and all about one."""

from contextlib import aclosing

from msgspec import Struct

from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import ConversationNotFound
from fastim.core.message import Message, Position, Span
from fastim.core.standing import Role, Standing
from fastim.core.units import Millis
from fastim.service.finding import find_living
from fastim.service.io import Io

SCAN_MAX = 20_000
"""Conversations that one search looks at: about a second."""
MEMBERS_SHOWN = 500
OCCUPANTS_SHOWN = 50

_LANE = ("console",)


class Line(Struct, frozen=True):
    """A conversation in a list.

    Attributes:
        members: How many; those who are in a chat room now.
        last_message_at: ``None`` when nothing was ever said there.
    """

    conversation: Conversation
    members: int
    last_message_at: Millis | None


class Lines(Struct, frozen=True):
    """A page of a list.

    Attributes:
        more: Whether there are more, or may be: a search does not look at everything there is.
    """

    lines: list[Line]
    more: bool


class Member(Struct, frozen=True):
    """A member, subscriber or occupant.

    Attributes:
        role: As SDKs spell it.
        muted: It wants no offline push from it.
        silenced: It may not speak there now.
    """

    client_id: str
    role: str
    online: bool
    muted: bool
    silenced: bool


class Held(Struct, frozen=True, omit_defaults=True):
    """A client that may not do something there.

    Attributes:
        until: When it may again; ``None``: not before that is lifted.
    """

    client_id: str
    until: Millis | None = None


class Whole(Struct, frozen=True):
    """A conversation and who is in it.

    Attributes:
        members: The first ``MEMBERS_SHOWN``; of a chat room nobody.
        occupants: Some who are in the chat room now.
    """

    line: Line
    members: list[Member]
    occupants: list[str]
    silenced: list[Held]
    blocked: list[Held]


async def find_conversations(io: Io, search: str, kind: Kind | None, skip: int, limit: int) -> Lines:
    """A page of the conversations, the newest first.

    Args:
        search: Its id, or a part of its name, or who created it or is a member; empty: any. Upper and lower case are
            the same in names.
        kind: ``None``: of any type.
    """
    wanted = await _by_id(io, search, kind)
    if wanted is not None:
        return Lines([await _line(io, wanted)] if not skip else [], more=False)
    found: list[Conversation] = []
    seen = 0
    async with io.lanes.hold(_LANE), aclosing(io.store.scan_conversations()) as scan:
        async for conversation in scan:
            await io.pace.breathe()
            seen += 1
            if _fits(io, conversation, search, kind):
                found.append(conversation)
            if len(found) > skip + limit or seen >= SCAN_MAX:
                break
    page = found[skip : skip + limit]
    more = len(found) > skip + limit or seen >= SCAN_MAX
    return Lines([await _line(io, one) for one in page], more)


async def describe_conversation(io: Io, conversation_id: str) -> Whole:
    """Everything about a conversation.

    Raises:
        ConversationNotFound: There is no such conversation.
    """
    conversation = await find_living(io, conversation_id)
    if conversation is None:
        raise ConversationNotFound
    now = io.clock.now()
    standings = await io.store.standings(conversation.id) if conversation.regulated else {}
    clients: list[str] = []
    occupants: list[str] = []
    match conversation.kind:
        case Kind.CHAT_ROOM:
            occupants = io.rooms.sample(conversation.id, OCCUPANTS_SHOWN)
        case Kind.SYSTEM:
            clients = [one.client_id for one in await io.store.subscriptions(conversation.id, "", MEMBERS_SHOWN)]
        case _:
            clients = list(conversation.members[:MEMBERS_SHOWN])
    online = set(io.directory.online(clients))
    members = [_member(conversation, one, standings.get(one, Standing()), one in online, now) for one in clients]
    return Whole(
        line=await _line(io, conversation),
        members=members,
        occupants=occupants,
        silenced=[
            Held(one, None if standing.silenced else standing.silenced_until)
            for one, standing in standings.items()
            if _is_silenced(standing, now)
        ],
        blocked=[Held(one) for one, standing in standings.items() if standing.blocked],
    )


async def read_back(io: Io, conversation_id: str, before: Position | None, limit: int) -> tuple[list[Message], bool]:
    """At most ``limit`` messages before a place, ascending, and whether there are older ones.

    Raises:
        ConversationNotFound: There is no such conversation.
    """
    if await find_living(io, conversation_id) is None:
        raise ConversationNotFound
    messages = await io.store.history(conversation_id, Span(before=before, limit=limit + 1))
    return messages[-limit:], len(messages) > limit


async def _by_id(io: Io, search: str, kind: Kind | None) -> Conversation | None:
    found = await find_living(io, search) if search else None
    return found if found is not None and kind in (None, found.kind) else None


def _fits(io: Io, conversation: Conversation, search: str, kind: Kind | None) -> bool:
    if kind not in (None, conversation.kind) or conversation.expired(io.clock.now()):
        return False
    if not search:
        return True
    name = conversation.columns.get("name")
    return (
        conversation.creator == search
        or conversation.has_member(search)
        or (isinstance(name, str) and search.casefold() in name.casefold())
    )


async def _line(io: Io, conversation: Conversation) -> Line:
    match conversation.kind:
        case Kind.CHAT_ROOM:
            members = io.rooms.count(conversation.id)
        case Kind.SYSTEM:
            members = await io.store.count_subscriptions(conversation.id)
        case _:
            members = len(conversation.members)
    head = await io.store.find_head(conversation.id)
    return Line(conversation, members, head.position.timestamp if head.sequence else None)


def _member(conversation: Conversation, client_id: str, standing: Standing, online: bool, now: Millis) -> Member:
    role = standing.role or (Role.OWNER if client_id == conversation.creator else Role.MEMBER)
    muted = standing.muted or client_id in conversation.muted
    return Member(client_id, role.wire_name, online, muted, _is_silenced(standing, now))


def _is_silenced(standing: Standing, now: Millis) -> bool:
    return standing.silenced or standing.silenced_until > now
