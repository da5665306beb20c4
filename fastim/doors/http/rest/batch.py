"""REST 1.1: several rows saved, fetched or deleted at once, conversations and installations.

They are done one after the other, as requests of their own would be. ``/1.1/batch`` says of each what came of it;
``/1.1/batch/save``, which is how iOS SDKs save anything, answers by the names that the rows have on the device, and
stops at the first that fails. Source: REST reference, section 7.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

from aiohttp import web
from msgspec import Meta, Struct

from fastim.core.errors import CodedError
from fastim.doors.http.rest import installations, storage
from fastim.doors.http.rest.authentication import Access
from fastim.doors.http.rest.calls import (
    AnyCall,
    Asked,
    BadRequest,
    Call,
    Made,
    Nothing,
    NotThere,
    TooMany,
    read_query,
)
from fastim.doors.http.rest.openapi import Problem
from fastim.doors.http.rest.storage import CreateQuery, RowQuery, SaveQuery

_TAG = "Storage"
_PATHS = re.compile("(/1[.]1/(?:installations|classes/_Installation|classes/_Conversation))(?:/([^/]+))?")
_INTERNAL_ID = "__internalId"

BATCH_MAX = 100


class BatchItem(Struct, frozen=True):
    """One of several requests.

    Attributes:
        path: Of a row or of its table; what it names is the same as for a request of its own.
        params: What a request of its own would have in its query string, besides what is there in the path.
    """

    method: Literal["POST", "PUT", "GET", "DELETE"]
    path: str
    body: dict[str, Any] = {}
    params: dict[str, Any] = {}


class Batch(Struct, frozen=True):
    """Several requests, done one after the other."""

    requests: Annotated[list[BatchItem], Meta(max_length=BATCH_MAX)]


class Outcome(Struct, frozen=True, omit_defaults=True):
    """What a request of its own would have answered, or why it failed."""

    success: dict[str, Any] | None = None
    error: Problem | None = None


Row = dict[str, Any]
_Asked: TypeAlias = Asked[Nothing, Batch]
_Do: TypeAlias = Callable[[_Asked, str, Mapping[str, Any], Mapping[str, Any]], Awaitable[Row]]


class _Way(Struct, frozen=True):
    """How one request is done, and what it takes to ask for it."""

    access: Access
    do: _Do


async def _do_batch(asked: _Asked) -> list[Outcome]:
    _admit(asked, asked.body.requests)
    return [await _outcome(asked, item) for item in asked.body.requests]


async def _save_batch(asked: _Asked) -> dict[str, Row]:
    """By the id that each row has on the device: its own, or one that was made up there for it."""
    _admit(asked, asked.body.requests)
    saved: dict[str, Row] = {}
    for item in asked.body.requests:
        row = await _answer(asked, item)
        name = item.body.get(_INTERNAL_ID) or item.body.get("objectId") or row.get("objectId")
        if isinstance(name, str):
            saved[name] = row
    return saved


def _admit(asked: _Asked, items: Sequence[BatchItem]) -> None:
    """Let nobody in who may not make each of the requests: then none is made.

    Raises:
        HTTPUnauthorized: The caller may not.
    """
    for item in items:
        try:
            way, _, _ = _way(item)
        except BadRequest:  # it fails by itself, in its turn
            continue
        if way is not None and asked.access < way.access:
            raise web.HTTPUnauthorized


async def _outcome(asked: _Asked, item: BatchItem) -> Outcome:
    try:
        return Outcome(success=await _answer(asked, item))
    except CodedError as error:
        return Outcome(error=Problem(error.code, str(error)))
    except BadRequest as error:
        return Outcome(error=Problem(error.code or 400, str(error)))
    except NotThere as error:
        return Outcome(error=Problem(error.code or 404, str(error)))
    except TooMany as error:
        return Outcome(error=Problem(429, str(error)))


async def _answer(asked: _Asked, item: BatchItem) -> Row:
    way, row_id, query = _way(item)
    if way is None:
        raise NotThere("no such call in a batch: only those for rows of _Conversation and _Installation")
    return await way.do(asked, row_id, item.body, query)


def _way(item: BatchItem) -> tuple[_Way | None, str, Mapping[str, Any]]:
    """How a request is done, the id in its path and what is in its query string; no way where there is no such call.

    Raises:
        BadRequest: The path is none.
    """
    try:
        target = urlsplit(item.path)
    except ValueError as error:
        raise BadRequest(f"path: {error}") from error
    named = _PATHS.fullmatch(target.path)
    if named is None:
        return None, "", {}
    row_id = unquote(named[2] or "")
    ways = _CONVERSATIONS if named[1] == storage.TABLE else _INSTALLATIONS
    return ways.get((item.method, bool(row_id))), row_id, {**dict(parse_qsl(target.query)), **item.params}


async def _create_conversation(asked: _Asked, row_id: str, body: Mapping[str, Any], query: Mapping[str, Any]) -> Row:
    return await storage.create_row(asked.io, body, read_query(query, CreateQuery))


async def _change_conversation(asked: _Asked, row_id: str, body: Mapping[str, Any], query: Mapping[str, Any]) -> Row:
    return await storage.change_row(asked.io, row_id, body, read_query(query, SaveQuery))


async def _fetch_conversation(asked: _Asked, row_id: str, body: Mapping[str, Any], query: Mapping[str, Any]) -> Row:
    return await storage.fetch_row(asked.io, row_id, read_query(query, RowQuery))


async def _delete_conversation(asked: _Asked, row_id: str, body: Mapping[str, Any], query: Mapping[str, Any]) -> Row:
    return await storage.delete_row(asked.io, row_id)


async def _create_installation(asked: _Asked, row_id: str, body: Mapping[str, Any], query: Mapping[str, Any]) -> Row:
    answer = await installations.create_row(asked, body, read_query(query, CreateQuery))
    row: Row = answer.answer if isinstance(answer, Made) else answer
    return row


async def _change_installation(asked: _Asked, row_id: str, body: Mapping[str, Any], query: Mapping[str, Any]) -> Row:
    return await installations.change_row(asked, row_id, body, read_query(query, SaveQuery))


async def _fetch_installation(asked: _Asked, row_id: str, body: Mapping[str, Any], query: Mapping[str, Any]) -> Row:
    return await installations.fetch_row(asked.io, row_id, read_query(query, RowQuery))


async def _delete_installation(asked: _Asked, row_id: str, body: Mapping[str, Any], query: Mapping[str, Any]) -> Row:
    return await installations.delete_row(asked.io, row_id)


_CONVERSATIONS: dict[tuple[str, bool], _Way] = {
    ("POST", False): _Way(Access.MASTER, _create_conversation),
    ("PUT", True): _Way(Access.MASTER, _change_conversation),
    ("GET", True): _Way(Access.MASTER, _fetch_conversation),
    ("DELETE", True): _Way(Access.MASTER, _delete_conversation),
}
_INSTALLATIONS: dict[tuple[str, bool], _Way] = {
    ("POST", False): _Way(Access.APPLICATION, _create_installation),
    ("PUT", True): _Way(Access.APPLICATION, _change_installation),
    ("GET", True): _Way(Access.APPLICATION, _fetch_installation),
    ("DELETE", True): _Way(Access.MASTER, _delete_installation),
}
"""By method, and whether the path names a row."""

CALLS: tuple[AnyCall, ...] = (
    Call(
        "POST",
        "/1.1/batch",
        Access.APPLICATION,
        "Save, fetch or delete several conversations or installations; each wants the key that it wants by itself.",
        _TAG,
        _do_batch,
        body=Batch,
        reply=list[Outcome],
    ),
    Call(
        "POST",
        "/1.1/batch/save",
        Access.APPLICATION,
        "The same up to the first that fails, answered by `__internalId` or `objectId`: how iOS devices register.",
        _TAG,
        _save_batch,
        body=Batch,
        reply=dict[str, dict[str, Any]],
        limited=True,
    ),
)
