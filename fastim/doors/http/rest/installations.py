"""REST 1.1: installations, the devices that push reaches.

Devices save and fetch their own, with the key that every client knows: who knows an installation's id, its
``installationId`` or its token is taken for that device. All others are for the application's servers.
Source: REST reference, ``_Installation``; the requests of the SDKs.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from fastim.core.installation import (
    BADGE_MAX,
    CHANNELS_MAX,
    NAME_CHARACTERS_MAX,
    TOKEN_CHARACTERS_MAX,
    Installation,
    InvalidInstallation,
    record,
)
from fastim.core.units import iso
from fastim.doors.http.rest.authentication import Access
from fastim.doors.http.rest.calls import (
    NOTHING,
    AnyCall,
    Asked,
    BadRequest,
    Call,
    Made,
    Nothing,
    TooMany,
    read_object,
)
from fastim.doors.http.rest.storage import CreateQuery, Row, RowQuery, SaveQuery, chosen, not_found
from fastim.doors.http.rest.values import LIMIT_DEFAULT
from fastim.runtime.spending import Spending
from fastim.service.installations import (
    Saving,
    count_installations,
    delete_installation,
    find_installation,
    find_saved,
    query_installations,
    save_installation,
)
from fastim.service.io import Io

_TAG = "Installations"
TABLES = ("/1.1/installations", "/1.1/classes/_Installation")
FORBIDDEN = 403
_OWN = frozenset(("objectId", "installationId", "deviceToken"))
"""What a device may ask for: it knows its own."""

Channel = Annotated[str, Meta(max_length=NAME_CHARACTERS_MAX)]


class Deletion(Struct, frozen=True, rename={"operation": "__op"}):
    """It is there no longer."""

    operation: Literal["Delete"]


class ChannelsOperation(Struct, frozen=True, rename={"operation": "__op"}):
    """What becomes of the channels."""

    operation: Literal["Add", "AddUnique", "Remove", "Delete"]
    objects: list[Channel] = []


class BadgeOperation(Struct, frozen=True, rename={"operation": "__op"}):
    """What becomes of the badge."""

    operation: Literal["Increment", "Delete"]
    amount: int | None = None


Name = Annotated[str, Meta(max_length=NAME_CHARACTERS_MAX)] | Deletion | None
Token = Annotated[str, Meta(max_length=TOKEN_CHARACTERS_MAX)] | Deletion | None


class InstallationColumns(Struct, frozen=True):
    """Columns and their values, which may be operations; any other key is a column of its own, too.

    Attributes:
        deviceType: `ios`, `android`, `web` or what an SDK calls itself; a new one needs it, and one of the next two.
        deviceToken: APNs' token, or a browser's subscription as JSON text.
        installationId: Android's own name of the installation.
        vendor: Whose push service an Android device has.
        registrationId: That service's token.
        deviceProfile: `dev` where an iOS device has a token of APNs' development environment.
        apnsTeamId: The team that the app is of.
        apnsTopic: The app's bundle id.
        channels: What it is subscribed to: the ids of clients whose pushes it gets, and others of the app's own.
        badge: The number on the app's icon.
        valid: Whether its token works; only the application's servers say so.
    """

    deviceType: Annotated[str, Meta(max_length=NAME_CHARACTERS_MAX)] | None = None
    deviceToken: Token = None
    installationId: Name = None
    vendor: Name = None
    registrationId: Token = None
    deviceProfile: Name = None
    apnsTeamId: Name = None
    apnsTopic: Name = None
    channels: Annotated[list[Channel], Meta(max_length=CHANNELS_MAX)] | ChannelsOperation | None = None
    badge: Annotated[int, Meta(ge=0, le=BADGE_MAX)] | BadgeOperation | None = None
    valid: bool | None = None


class InstallationsQuery(Struct, frozen=True):
    """Which installations.

    Attributes:
        where: A condition as JSON, in the same language as for conversations. With the key that clients know it is
            needed, and names an `objectId`, an `installationId` or a `deviceToken` and nothing else.
        order: Keys with commas between them, `-` before one for descending; else the newest comes first.
        keys: The columns, with commas between them, or all but those with `-` before them.
        count: 1 to be told how many there are, whatever `skip` and `limit` say.
    """

    where: str | None = None
    order: str | None = None
    skip: Annotated[int, Meta(ge=0, le=10_000)] = 0
    limit: Annotated[int, Meta(ge=0, le=1000)] = LIMIT_DEFAULT
    keys: str = ""
    count: Annotated[int, Meta(ge=0, le=1)] = 0


class Installations(Struct, frozen=True, omit_defaults=True):
    """Installations, each with its columns."""

    results: list[dict[str, Any]]
    count: int | None = None


class _Found(Struct, frozen=True, omit_defaults=True):
    """``Installations``, whose text is there already."""

    results: Raw
    count: int | None = None


async def create_row(asked: Asked[Any, Any], columns: Mapping[str, Any], query: CreateQuery) -> Row | Made:
    """Register a device, or save it if it is known: it may come with its id, or just with the same token.

    Raises:
        BadRequest: There can be no such installation.
        TooMany: Too many have registered.
    """
    id_ = columns.get("objectId")
    known_as = id_ if isinstance(id_, str) else ""
    installation, fresh = await _save(asked, Saving(known_as, columns, privileged=_privileged(asked)))
    if query.whole:
        row = record(installation)
    else:
        row = {"objectId": installation.id, "createdAt": iso(installation.created_at)}
        row |= {} if fresh else {"updatedAt": iso(installation.updated_at)}
    return Made(row, f"{TABLES[0]}/{installation.id}") if fresh else row


async def change_row(asked: Asked[Any, Any], row_id: str, columns: Mapping[str, Any], query: SaveQuery) -> Row:
    """Change columns.

    Raises:
        NotThere: There is no such installation.
        BadRequest: It cannot be changed like that, or the condition does not fit it.
        TooMany: Too many have registered, and it is one that has to do so again.
    """
    saving = Saving(row_id, columns, query.where or "", privileged=_privileged(asked))
    installation, _ = await _save(asked, saving)
    if query.whole:
        return record(installation)
    return {"objectId": installation.id, "updatedAt": iso(installation.updated_at)}


async def fetch_row(io: Io, row_id: str, query: RowQuery) -> Row:
    """An installation.

    Raises:
        NotThere: There is none of that id.
    """
    installation = await find_installation(io, row_id)
    if installation is None:
        raise not_found()
    return chosen(record(installation), query.keys)


async def delete_row(io: Io, row_id: str) -> Row:
    """Forget an installation.

    Raises:
        NotThere: There is none of that id.
    """
    if not await delete_installation(io, row_id):
        raise not_found()
    return {}


async def _save(asked: Asked[Any, Any], saving: Saving) -> tuple[Installation, bool]:
    """Save it; what makes a new one with the key that everybody knows comes out of a quota."""
    counted = not saving.privileged and await find_saved(asked.io, saving) is None
    wait = asked.office.spend(asked.application, Spending.INSTALLATIONS) if counted else 0
    if wait:
        raise TooMany(wait)
    made = False
    try:
        saved = await save_installation(asked.io, saving)
        if saved is None:
            raise not_found()
        made = saved[1]
        return saved
    except InvalidInstallation as error:
        raise BadRequest(str(error), code=error.code) from error
    finally:
        if counted and not made:
            asked.office.give_back(asked.application, Spending.INSTALLATIONS)


def _privileged(asked: Asked[Any, Any]) -> bool:
    return asked.access is Access.MASTER


def _check_own(where: str | None) -> None:
    """Let a device ask for itself, and for no other.

    Raises:
        BadRequest: It asks for more.
    """
    try:
        condition = msgspec.json.decode(where or "{}", type=dict[str, str])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        condition = {}
    if not any(condition.values()) or not condition.keys() <= _OWN:
        raise BadRequest("where: with this key it has to name an objectId, installationId or deviceToken", FORBIDDEN)


async def _create(asked: Asked[CreateQuery, InstallationColumns]) -> Row | Made:
    return await create_row(asked, read_object(asked.text), asked.query)


async def _query(asked: Asked[InstallationsQuery, Nothing]) -> _Found:
    query = asked.query
    if not _privileged(asked):
        _check_own(query.where)
    number = await count_installations(asked.io, query.where) if query.count else None
    found = await query_installations(asked.io, query.where, query.order or "-createdAt", query.skip, query.limit)
    if query.keys:
        found = msgspec.json.encode([chosen(row, query.keys) for row in msgspec.json.decode(found)])
    return _Found(Raw(found), number)


async def _fetch(asked: Asked[RowQuery, Nothing]) -> Row:
    return await fetch_row(asked.io, asked.path["installation_id"], asked.query)


async def _change(asked: Asked[SaveQuery, InstallationColumns]) -> Row:
    return await change_row(asked, asked.path["installation_id"], read_object(asked.text), asked.query)


async def _delete(asked: Asked[Nothing, Nothing]) -> Nothing:
    await delete_row(asked.io, asked.path["installation_id"])
    return NOTHING


def _calls_of(table: str) -> Iterator[Call[Any, Any, Any]]:
    row = f"{table}/{{installation_id}}"
    yield Call(
        "POST",
        table,
        Access.APPLICATION,
        "Register a device for push, or save what is known of it: the same token or `installationId` is the same one.",
        _TAG,
        _create,
        query=CreateQuery,
        body=InstallationColumns,
        reply=dict[str, Any],
        makes=True,
        limited=True,
    )
    yield Call(
        "GET",
        table,
        Access.APPLICATION,
        "Find installations that fit a condition; a device finds itself.",
        _TAG,
        _query,
        query=InstallationsQuery,
        reply=Installations,
    )
    yield Call(
        "GET",
        row,
        Access.APPLICATION,
        "An installation.",
        _TAG,
        _fetch,
        query=RowQuery,
        reply=dict[str, Any],
    )
    yield Call(
        "PUT",
        row,
        Access.APPLICATION,
        "Change columns of an installation. Clients whose sessions are open on it stay among its channels.",
        _TAG,
        _change,
        query=SaveQuery,
        body=InstallationColumns,
        reply=dict[str, Any],
        limited=True,
    )
    yield Call("DELETE", row, Access.MASTER, "Forget an installation: nothing is pushed to it any more.", _TAG, _delete)


CALLS: tuple[AnyCall, ...] = tuple(call for table in TABLES for call in _calls_of(table))
