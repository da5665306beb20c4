"""REST 1.1: conversations as the rows of a table, which is how storage SDKs create, find and change them.

What a row is told to become is done as the calls for conversations do it, so that members hear of it all the same.
Source: REST reference, sections 7 and 8.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from fastim.core.attributes import DEPTH_MAX, apply_update, nests_deeper
from fastim.core.commands import AddMembers, RemoveMembers, UpdateConversation
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import ConversationNotFound, UpdateFailed
from fastim.core.session import office
from fastim.core.units import iso
from fastim.doors.http.rest.authentication import Access
from fastim.doors.http.rest.calls import (
    NOTHING,
    AnyCall,
    Asked,
    BadRequest,
    Call,
    Nothing,
    NotThere,
    read_object,
)
from fastim.doors.http.rest.conversations import LASTING, count, create, narrowed, query
from fastim.doors.http.rest.values import ClientId, ConversationQuery, failures
from fastim.service.conversations import delete_conversation, update_conversation
from fastim.service.finding import find_living
from fastim.service.io import Io
from fastim.service.members import add_members, remove_members

_TAG = "Storage"
TABLE = "/1.1/classes/_Conversation"
_ROW = f"{TABLE}/{{conversation_id}}"

NOT_FOUND = 101
NO_EFFECT = 305
"""Codes of the storage service; SDKs know them."""

_ALWAYS = frozenset(("objectId", "createdAt", "updatedAt"))
_FLAGS = frozenset(("m", "__ignore_hooks", "__type", "className"))
"""Keys of a row that are no columns, but for ``m``, which has a use case of its own."""


class MemberOperation(Struct, frozen=True, rename={"operation": "__op"}):
    """What becomes of the members."""

    operation: Literal["Add", "AddUnique", "Remove", "Delete"]
    objects: list[ClientId] = []


class RowChanges(Struct, frozen=True):
    """Columns and their new values, which may be operations; any other key is a column of its own, too.

    Attributes:
        m: Its members, all of them or an operation.
    """

    name: Annotated[Any, Meta(description="A string, or an operation that deletes it.")] = None
    m: list[ClientId] | MemberOperation | None = None


class NewRow(RowChanges, frozen=True, kw_only=True):
    """A conversation; any other key is a column of its own.

    Attributes:
        unique: Find the conversation with exactly these members, if there is one.
        sys: It is a service conversation.
        tr: It is a chat room.
        c: Who created it and is its owner; without it nobody is.
    """

    unique: bool | None = None
    sys: bool | None = None
    tr: bool | None = None
    c: ClientId | None = None


class CreateQuery(Struct, frozen=True):
    """What to answer.

    Attributes:
        fetchWhenSave: All columns.
        new: The same in JavaScript's words.
    """

    fetchWhenSave: bool = False
    new: bool = False

    @property
    def whole(self) -> bool:
        """Whether all columns are asked for."""
        return self.fetchWhenSave or self.new


class SaveQuery(CreateQuery, frozen=True):
    """What to answer, and on what condition.

    Attributes:
        fetchWhenSave: All columns.
        new: The same in JavaScript's words.
        where: Change it only if this fits it, a condition as JSON.
    """

    where: str | None = None


class RowQuery(Struct, frozen=True):
    """What to answer.

    Attributes:
        keys: The columns, with commas between them, or all but those with ``-`` before them.
    """

    keys: str = ""


class RowsQuery(ConversationQuery, frozen=True, kw_only=True):
    """Which conversations.

    Attributes:
        keys: The columns, with commas between them, or all but those with ``-`` before them.
        count: 1 to be told how many there are, whatever ``skip`` and ``limit`` say.
    """

    keys: str = ""
    count: Annotated[int, Meta(ge=0, le=1)] = 0


class Rows(Struct, frozen=True, omit_defaults=True):
    """Conversations, each with its columns."""

    results: list[dict[str, Any]]
    count: int | None = None


class _Found(Struct, frozen=True, omit_defaults=True):
    """``Rows``, whose text is there already."""

    results: Raw
    count: int | None = None


Row = dict[str, Any]


async def create_row(io: Io, body: Mapping[str, Any], asked: CreateQuery) -> Row:
    """A new conversation, or the unique one with its members."""
    new = _converted(body, NewRow)
    members, _ = _moves(new.m, ())
    text = _text({**_columns(body), "m": members, "unique": bool(new.unique)})
    conversation = await create(io, text, chat_room=bool(new.tr), service=bool(new.sys))
    if asked.whole:
        return await _columns_of(io, conversation.id)
    return {"objectId": conversation.id, "createdAt": iso(conversation.created_at)}


async def change_row(io: Io, conversation_id: str, body: Mapping[str, Any], asked: SaveQuery) -> Row:
    """Change columns and members, everybody concerned being told of both.

    Raises:
        NotThere: There is no such conversation.
        BadRequest: The condition does not fit it.
        Refusal: It cannot be changed like that; nothing was.
    """
    conversation = await _find(io, conversation_id)
    if asked.where and not await _fits(io, conversation.id, asked.where):
        raise BadRequest("No effect on updating/deleting a document.", code=NO_EFFECT)
    columns = _columns(body)
    apply_update(conversation.columns, _text(columns))  # before anybody comes or goes
    changes = _converted(body, RowChanges)
    await _change_members(io, conversation.id, *_moves(changes.m, conversation.members))
    if columns:
        await update_conversation(io, office(), UpdateConversation(conversation.id, _text(columns)))
    if asked.whole:
        return await _columns_of(io, conversation.id)
    changed = await _find(io, conversation.id)
    return {"objectId": changed.id, "updatedAt": iso(changed.updated_at)}


async def delete_row(io: Io, conversation_id: str) -> Row:
    """Make an end of a conversation.

    Raises:
        NotThere: There is no such conversation.
    """
    try:
        await delete_conversation(io, (await _find(io, conversation_id)).id)
    except ConversationNotFound:
        raise not_found() from None
    return {}


async def fetch_row(io: Io, conversation_id: str, asked: RowQuery) -> Row:
    """A conversation, as a query shows it.

    Raises:
        NotThere: There is no such conversation.
    """
    conversation = await _find(io, conversation_id)
    return chosen(await _columns_of(io, conversation.id), asked.keys)


async def _change_members(io: Io, conversation_id: str, come: Sequence[str], gone: Sequence[str]) -> None:
    """Who cannot be added is left out unless it is everybody. Source: semantics, rule 1.2."""
    if gone:
        removed = await remove_members(io, office(), RemoveMembers(conversation_id, tuple(gone)))
        failures(removed.allowed, removed.failed)
    if come:
        added = await add_members(io, office(), AddMembers(conversation_id, tuple(come)))
        failures(added.allowed, added.failed)


def _moves(asked: list[str] | MemberOperation | None, before: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Who is to become a member, and who to be one no longer."""
    match asked:
        case None:
            return (), ()
        case list():
            return [one for one in asked if one not in before], [one for one in before if one not in asked]
        case MemberOperation(operation="Add" | "AddUnique"):
            return asked.objects, ()
        case MemberOperation(operation="Remove"):
            return (), asked.objects
        case MemberOperation():
            return (), before


def _whole(text: str) -> Row:
    """All that a body says, where the call only knows some of it.

    Raises:
        BadRequest: The rest cannot be.
    """
    try:
        row: Row = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadRequest(str(error)) from error
    return row


def _columns(body: Mapping[str, Any]) -> Row:
    columns = {key: value for key, value in body.items() if key not in _FLAGS}
    if nests_deeper(columns, DEPTH_MAX):
        raise UpdateFailed(f"more than {DEPTH_MAX} levels of objects and arrays")
    return columns


def _text(columns: Row) -> str:
    try:
        return msgspec.json.encode(columns).decode()
    except RecursionError as error:  # what could just be read, further out
        raise BadRequest("too many levels of objects and arrays") from error


def _converted(body: Mapping[str, Any], kind: type[Any]) -> Any:
    try:
        return msgspec.convert(dict(body), kind)
    except msgspec.ValidationError as error:
        raise BadRequest(str(error)) from error


async def _find(io: Io, conversation_id: str) -> Conversation:
    conversation = await find_living(io, conversation_id)
    if conversation is None or conversation.kind is Kind.TEMPORARY:
        raise not_found()
    return conversation


def not_found() -> NotThere:
    """There is no such row."""
    return NotThere("Object not found.", code=NOT_FOUND)


async def _fits(io: Io, conversation_id: str, where: str) -> bool:
    return bool(await count(io, narrowed(where, {"objectId": conversation_id}), LASTING))


async def _columns_of(io: Io, conversation_id: str) -> Row:
    """All that a query shows of it."""
    found = await query(io, ConversationQuery(where=_text({"objectId": conversation_id}), limit=1), LASTING)
    rows: list[Row] = msgspec.json.decode(found)
    if not rows:
        raise not_found()
    return rows[0]


def chosen(row: Row, keys: str) -> Row:
    """The columns that ``keys`` asks for, and those that every row has."""
    names = {key.strip() for key in keys.split(",") if key.strip()}
    left_out = {name[1:] for name in names if name.startswith("-")}
    wanted = {name.partition(".")[0] for name in names if not name.startswith("-")}
    return {
        key: value
        for key, value in row.items()
        if key in _ALWAYS or (key not in left_out and (not wanted or key in wanted))
    }


async def _create(asked: Asked[CreateQuery, NewRow]) -> Row:
    return await create_row(asked.io, read_object(asked.text), asked.query)


async def _query(asked: Asked[RowsQuery, Nothing]) -> _Found:
    number = await count(asked.io, asked.query.where, LASTING) if asked.query.count else None
    found = await query(asked.io, asked.query, LASTING, default_order="-createdAt")
    if asked.query.keys:
        rows = [chosen(row, asked.query.keys) for row in msgspec.json.decode(found)]
        found = Raw(msgspec.json.encode(rows))
    return _Found(found, number)


async def _fetch(asked: Asked[RowQuery, Nothing]) -> Row:
    return await fetch_row(asked.io, asked.path["conversation_id"], asked.query)


async def _change(asked: Asked[SaveQuery, RowChanges]) -> Row:
    return await change_row(asked.io, asked.path["conversation_id"], read_object(asked.text), asked.query)


async def _delete(asked: Asked[Nothing, Nothing]) -> Nothing:
    await delete_row(asked.io, asked.path["conversation_id"])
    return NOTHING


CALLS: tuple[AnyCall, ...] = (
    Call(
        "POST",
        TABLE,
        Access.MASTER,
        "Create a conversation of any type but temporary, or find the unique one with these members.",
        _TAG,
        _create,
        query=CreateQuery,
        body=NewRow,
        reply=dict[str, Any],
    ),
    Call(
        "GET",
        TABLE,
        Access.MASTER,
        "Find conversations of all types that fit a condition.",
        _TAG,
        _query,
        query=RowsQuery,
        reply=Rows,
    ),
    Call(
        "GET",
        _ROW,
        Access.MASTER,
        "A conversation, as a query shows it.",
        _TAG,
        _fetch,
        query=RowQuery,
        reply=dict[str, Any],
    ),
    Call(
        "PUT",
        _ROW,
        Access.MASTER,
        "Change columns and members of a conversation; everybody concerned is told.",
        _TAG,
        _change,
        query=SaveQuery,
        body=RowChanges,
        reply=dict[str, Any],
    ),
    Call("DELETE", _ROW, Access.MASTER, "Delete a conversation and its messages; nobody is told.", _TAG, _delete),
)
