"""Conversations: find one, see who is in it and what was said, and step in."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from fastim.core.commands import ChangeBlocks, ChangeSilence, RemoveMembers
from fastim.core.conversation import Kind
from fastim.core.ledger import Ledger
from fastim.core.message import Message, Position, type_of
from fastim.core.policy import SILENCE_TTL_MAX_SECONDS
from fastim.core.replies import PartialFailure
from fastim.core.session import office
from fastim.core.units import Millis
from fastim.doors.http.console.calls import APPLICATION, Asked, Call, Nothing
from fastim.doors.http.rest.clients import kick
from fastim.doors.http.rest.sending import NewMessage, compose, recall, sent, speaker
from fastim.doors.http.rest.values import ClientId, Moment, failures
from fastim.service.console import Held, Line, Member, Whole, describe_conversation, find_conversations, read_back
from fastim.service.governance import change_blocks, change_silence, silence_for_a_time
from fastim.service.ledger import read_ledger
from fastim.service.members import remove_members
from fastim.service.messages import send_message
from fastim.service.patches import patch_message

KindName = Literal["normal", "room", "service", "temporary"]
_KINDS: dict[KindName, Kind] = {
    "normal": Kind.NORMAL,
    "room": Kind.CHAT_ROOM,
    "service": Kind.SYSTEM,
    "temporary": Kind.TEMPORARY,
}
KIND_NAMES: dict[Kind, KindName] = {kind: name for name, kind in _KINDS.items()}
_TEXT_TYPE = -1
"""The ``_lctype`` of what SDKs show as text. Source: wire protocol, message types."""

_ONE = f"{APPLICATION}/conversations/{{cid}}"
_MESSAGES = f"{_ONE}/messages"
_CLIENT = f"{APPLICATION}/clients/{{client_id}}"


class ListQuery(Struct, frozen=True):
    """Which conversations."""

    search: Annotated[str, Meta(max_length=200)] = ""
    kind: KindName | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    skip: Annotated[int, Meta(ge=0, le=10_000)] = 0


class Listed(Struct, frozen=True):
    """A conversation in a list; moments are milliseconds since the epoch.

    Attributes:
        members: How many.
    """

    id: str
    kind: KindName
    name: str
    creator: str
    created_at: Millis
    updated_at: Millis
    members: int
    last_message_at: Millis | None


class Page(Struct, frozen=True):
    """A part of a list; ``more``: there are more, or may be."""

    conversations: list[Listed]
    more: bool


class Online(Struct, frozen=True):
    """Who is in a chat room: how many, and some of them."""

    count: int
    sample: list[str]


class Described(Struct, frozen=True, omit_defaults=True):
    """All about a conversation.

    Attributes:
        members: The first 500; of a chat room nobody.
        member_count: How many there are.
        online: Of a chat room.
        ledger: Likewise.
    """

    id: str
    kind: KindName
    name: str
    creator: str
    created_at: Millis
    updated_at: Millis
    last_message_at: Millis | None
    attributes: dict[str, Any]
    members: list[Member]
    member_count: int
    silenced: list[Held]
    blocked: list[Held]
    expires_at: Millis | None = None
    online: Online | None = None
    ledger: Ledger | None = None


class HistoryQuery(Struct, frozen=True):
    """Messages before which one; without one, the newest."""

    before_timestamp: Moment | None = None
    before_id: str = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class Said(Struct, frozen=True, rename={"sender": "from"}, omit_defaults=True):
    """A message.

    Attributes:
        text: What was sent, as it travels; of one that is not binary.
        data: The same in Base64, of one that is.
        type: Its ``_lctype``, if it has one.
    """

    id: str
    timestamp: Millis
    sender: str
    binary: bool = False
    text: str | None = None
    data: str | None = None
    type: int | None = None
    recalled: bool = False
    patched_at: Millis | None = None
    mentions: tuple[str, ...] = ()
    mention_all: bool = False
    receipt: bool = False
    address: str = ""


class History(Struct, frozen=True):
    """Messages, the newest first."""

    messages: list[Said]
    more: bool


class Saying(Struct, frozen=True, rename={"sender": "from"}):
    """A message in somebody's name."""

    sender: ClientId
    text: Annotated[str, Meta(min_length=1)]
    priority: Literal["high", "normal", "low"] = "normal"


class Sent(Struct, frozen=True):
    """The message as it was stored."""

    id: str
    timestamp: int


class TakingBack(Struct, frozen=True, rename={"sender": "from"}):
    """When a message was sent, and by whom; both have to be right."""

    timestamp: Moment
    sender: ClientId


class Removing(Struct, frozen=True):
    """Who is to go."""

    client_id: ClientId


class Silencing(Struct, frozen=True):
    """Who is to be silent, and for how many seconds; without that, until it is lifted."""

    client_id: ClientId
    silenced: bool
    seconds: Annotated[int, Meta(ge=1, le=SILENCE_TTL_MAX_SECONDS)] | None = None


class Blocking(Struct, frozen=True):
    """Who is to be kept out, or may come back."""

    client_id: ClientId
    blocked: bool


class Kicking(Struct, frozen=True):
    """Why; the client is told."""

    reason: Annotated[str, Meta(max_length=20)] = ""


class ClientSession(Struct, frozen=True):
    """An open session."""

    tag: str
    address: str
    since: Millis
    door: str


class Client(Struct, frozen=True):
    """A client, and where it is online."""

    online: bool
    sessions: list[ClientSession]


async def _list(asked: Asked[ListQuery, Nothing]) -> Page:
    query = asked.query
    kind = None if query.kind is None else _KINDS[query.kind]
    found = await find_conversations(asked.io, query.search.strip(), kind, query.skip, query.limit)
    return Page([_listed(line) for line in found.lines], found.more)


async def _describe(asked: Asked[Nothing, Nothing]) -> Described:
    whole = await describe_conversation(asked.io, asked.path["cid"])
    conversation = whole.line.conversation
    is_room = conversation.kind is Kind.CHAT_ROOM
    return Described(
        id=conversation.id,
        kind=KIND_NAMES[conversation.kind],
        name=_name(whole.line),
        creator=conversation.creator,
        created_at=conversation.created_at,
        updated_at=conversation.updated_at,
        last_message_at=whole.line.last_message_at,
        attributes=conversation.columns,
        members=whole.members,
        member_count=whole.line.members,
        silenced=whole.silenced,
        blocked=whole.blocked,
        expires_at=conversation.expires_at,
        online=_online(whole) if is_room else None,
        ledger=read_ledger(asked.io, conversation.id) if is_room else None,
    )


async def _read(asked: Asked[HistoryQuery, Nothing]) -> History:
    query = asked.query
    before = None if query.before_timestamp is None else Position(Millis(query.before_timestamp), query.before_id)
    messages, more = await read_back(asked.io, asked.path["cid"], before, query.limit)
    return History([said(message) for message in reversed(messages)], more)


async def _send(asked: Asked[Nothing, Saying]) -> Sent:
    body = asked.body
    message = NewMessage(from_client=body.sender, message=_as_message(body.text), priority=body.priority)
    command = compose(asked.path["cid"], message)
    stored = sent(await send_message(asked.io, speaker(body.sender, asked.address), command))
    return Sent(stored.message_id, stored.timestamp)


async def _recall(asked: Asked[Nothing, TakingBack]) -> dict[str, Any]:
    command = recall(asked.path["cid"], asked.path["mid"], asked.body.timestamp)
    await patch_message(asked.io, speaker(asked.body.sender, asked.address), command)
    return {}


async def _remove(asked: Asked[Nothing, Removing]) -> dict[str, Any]:
    changed = await remove_members(
        asked.io, office(address=asked.address), RemoveMembers(asked.path["cid"], (asked.body.client_id,))
    )
    return _done(changed.allowed, changed.failed)


async def _silence(asked: Asked[Nothing, Silencing]) -> dict[str, Any]:
    body, conversation_id = asked.body, asked.path["cid"]
    session = office(address=asked.address)
    if body.silenced and body.seconds is not None:
        await silence_for_a_time(asked.io, session, conversation_id, body.client_id, body.seconds)
        return {}
    changed = await change_silence(
        asked.io, session, ChangeSilence(conversation_id, (body.client_id,), silenced=body.silenced)
    )
    if not body.silenced:
        await silence_for_a_time(asked.io, session, conversation_id, body.client_id, 0)
    return _done(changed.allowed, changed.failed)


async def _block(asked: Asked[Nothing, Blocking]) -> dict[str, Any]:
    command = ChangeBlocks(asked.path["cid"], (asked.body.client_id,), blocked=asked.body.blocked)
    changed = await change_blocks(asked.io, office(address=asked.address), command)
    return _done(changed.allowed, changed.failed)


async def _show_client(asked: Asked[Nothing, Nothing]) -> Client:
    sessions = [
        ClientSession(one.session.tag, one.session.address, one.session.opened_at, one.connection.door)
        for one in asked.tenant.presence.of(asked.path["client_id"])
    ]
    return Client(bool(sessions), sessions)


async def _kick(asked: Asked[Nothing, Kicking]) -> dict[str, Any]:
    await kick(asked.io, asked.path["client_id"], asked.body.reason)
    return {}


def _listed(line: Line) -> Listed:
    conversation = line.conversation
    return Listed(
        id=conversation.id,
        kind=KIND_NAMES[conversation.kind],
        name=_name(line),
        creator=conversation.creator,
        created_at=conversation.created_at,
        updated_at=conversation.updated_at,
        members=line.members,
        last_message_at=line.last_message_at,
    )


def _name(line: Line) -> str:
    name = line.conversation.columns.get("name")
    return name if isinstance(name, str) else ""


def _online(whole: Whole) -> Online:
    return Online(whole.line.members, whole.occupants)


def said(message: Message) -> Said:
    """``message`` as the console shows it."""
    return Said(
        id=message.id,
        timestamp=message.timestamp,
        sender=message.sender,
        binary=message.binary,
        text=None if message.binary else message.body.decode(errors="replace"),
        data=b64encode(message.body).decode() if message.binary else None,
        type=type_of(message),
        recalled=message.recalled,
        patched_at=message.patched_at or None,
        mentions=message.mentions,
        mention_all=message.mention_all,
        receipt=message.receipt,
        address=message.address,
    )


def _as_message(text: str) -> str:
    """What is sent for ``text``: a message as SDKs make them, unless it is one already."""
    try:
        given = msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, RecursionError):
        given = None
    if isinstance(given, dict) and "_lctype" in given:
        return text
    return msgspec.json.encode({"_lctype": _TEXT_TYPE, "_lctext": text}).decode()


def _done(allowed: Sequence[str], failed: Sequence[PartialFailure]) -> dict[str, Any]:
    """Nothing to say, when it was done.

    Raises:
        Refusal: It was not.
    """
    failures(allowed, failed)
    return {}


def _whom(asked: Asked[Any, Any]) -> str:
    return f"{asked.body.client_id} in {asked.path['cid']}"


def _silence_detail(asked: Asked[Nothing, Silencing]) -> str:
    what = "silenced" if asked.body.silenced else "may speak"
    limit = f" for {asked.body.seconds} s" if asked.body.silenced and asked.body.seconds else ""
    return f"{_whom(asked)}: {what}{limit}"


CALLS: tuple[Call[Any, Any], ...] = (
    Call("GET", f"{APPLICATION}/conversations", _list, query=ListQuery),
    Call("GET", _ONE, _describe),
    Call("GET", _MESSAGES, _read, query=HistoryQuery),
    Call(
        "POST",
        _MESSAGES,
        _send,
        body=Saying,
        what="message sent",
        detail=lambda asked: f"as {asked.body.sender} in {asked.path['cid']}",
    ),
    Call(
        "POST",
        f"{_MESSAGES}/{{mid}}/recall",
        _recall,
        body=TakingBack,
        what="message recalled",
        detail=lambda asked: f"{asked.path['mid']} in {asked.path['cid']}",
    ),
    Call("POST", f"{_ONE}/members/remove", _remove, body=Removing, what="member removed", detail=_whom),
    Call("POST", f"{_ONE}/silence", _silence, body=Silencing, what="silence changed", detail=_silence_detail),
    Call(
        "POST",
        f"{_ONE}/block",
        _block,
        body=Blocking,
        what="block changed",
        detail=lambda asked: f"{_whom(asked)}: {'blocked' if asked.body.blocked else 'may come back'}",
    ),
    Call("GET", _CLIENT, _show_client),
    Call(
        "POST",
        f"{_CLIENT}/kick",
        _kick,
        body=Kicking,
        what="client kicked",
        detail=lambda asked: asked.path["client_id"],
    ),
)
