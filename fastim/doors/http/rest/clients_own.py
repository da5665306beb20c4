"""REST 1.1 as client SDKs call it themselves: a login's signature, what was missed, and who has which role.

Source: wire protocol, REST calls made by the client SDKs themselves; REST reference, storage subset.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from fastim.core.commands import ListRoles
from fastim.core.errors import InvalidLogin, SignatureFailed
from fastim.core.session import Session, office
from fastim.core.units import Millis, iso
from fastim.doors.http.rest.authentication import Access
from fastim.doors.http.rest.calls import AnyCall, Asked, BadRequest, Call, Nothing, OpenCall
from fastim.doors.http.rest.values import Moment
from fastim.service.governance import list_roles
from fastim.service.notifications import all_notices_since, notices_since
from fastim.service.signing import SignedClient, sign_client
from fastim.wire.codec import notices_of_js, notices_of_swift

_TAG = "Client SDKs"


class SessionToken(Struct, frozen=True):
    """A user's session token, of the application's own users."""

    session_token: Annotated[str, Meta(min_length=1)]


class Signed(Struct, frozen=True):
    """What opens a session where signatures are required."""

    signature: str
    nonce: str
    timestamp: int
    client_id: str


class NoticesQuery(Struct, frozen=True):
    """From when on, and in which form: ``permanent`` as JavaScript reads it, without it as Swift does."""

    client_id: Annotated[str, Meta(min_length=1)]
    start_ts: Moment = 0
    notification_type: Literal["permanent"] | None = None


class RolesQuery(Struct, frozen=True):
    """Which conversation: ``{"cid": "..."}`` as JSON in ``where``, or plainly in ``cid``."""

    client_id: Annotated[str, Meta(min_length=1)]
    where: str = ""
    cid: str = ""
    limit: Annotated[int, Meta(ge=0, le=1000)] = 100
    skip: Annotated[int, Meta(ge=0)] = 0


class RoleItem(Struct, frozen=True):
    """A role that was given."""

    objectId: str
    cid: str
    clientId: str
    role: str


class RoleItems(Struct, frozen=True):
    """Roles that were given."""

    results: list[RoleItem]


class Date(Struct, frozen=True, tag_field="__type", tag="Date"):
    """A moment."""

    iso: str


class _Where(Struct, frozen=True):
    cid: str = ""


async def sign(asked: Asked[Nothing, SessionToken]) -> Signed:
    """Sign for the user whose token it is."""
    return await _sign(asked, asked.body.session_token)


async def sign_by_query(asked: Asked[SessionToken, Nothing]) -> Signed:
    """The same, asked for in the query."""
    return await _sign(asked, asked.query.session_token)


async def _sign(asked: Asked[Any, Any], session_token: str) -> Signed:
    if asked.users is None:
        raise SignatureFailed("users.verify_url is not set: nobody knows whose session token this is")
    user = await asked.users.verify(session_token)
    if user is None:
        raise InvalidLogin("the session token is nobody's")
    signed: SignedClient = await sign_client(asked.io, user)
    return Signed(signed.signature, signed.nonce, signed.timestamp, signed.client_id)


async def notifications(asked: Asked[NoticesQuery, Nothing]) -> dict[str, Any]:
    """What happened while the client was away."""
    since = Millis(asked.query.start_ts)
    if asked.query.notification_type:
        return notices_of_js(await notices_since(asked.io, asked.client_id, since))
    missed = await all_notices_since(asked.io, asked.client_id, since)
    return notices_of_swift(missed.notices, forgotten=missed.forgotten)


async def roles(asked: Asked[RolesQuery, Nothing]) -> RoleItems:
    """The roles that were given in a conversation."""
    conversation_id = asked.query.cid or _conversation_in(asked.query.where)
    found = await list_roles(asked.io, _asker(asked), ListRoles(conversation_id))
    page = found.records[asked.query.skip : asked.query.skip + asked.query.limit]
    return RoleItems([RoleItem(one.id, conversation_id, one.client_id, one.role.wire_name) for one in page])


def date() -> Date:
    """The server's time: the Python SDK asks for it before it knows who asks."""
    return Date(iso(Millis(int(datetime.now(UTC).timestamp() * 1000))))


def _asker(asked: Asked[Any, Nothing]) -> Session:
    """The client whose session token was shown, or the application that came with its master key."""
    return replace(office(asked.client_id), privileged=asked.access is Access.MASTER)


def _conversation_in(where: str) -> str:
    try:
        conversation_id = msgspec.json.decode(where or "{}", type=_Where).cid
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadRequest(f"where: {error}") from error
    if not conversation_id:
        raise BadRequest("where has no cid, and there is no plain one")
    return conversation_id


CALLS: tuple[AnyCall, ...] = (
    Call(
        "POST",
        "/1.1/rtm/sign",
        Access.APPLICATION,
        "Sign a login for the user whose session token it is.",
        _TAG,
        sign,
        body=SessionToken,
        reply=Signed,
    ),
    Call(
        "GET",
        "/1.2/rtm/clients/sign",
        Access.APPLICATION,
        "Sign a login for the user whose session token it is.",
        _TAG,
        sign_by_query,
        query=SessionToken,
        reply=Signed,
    ),
    Call(
        "GET",
        "/1.1/rtm/notifications",
        Access.CLIENT,
        "What happened to the client, and in its conversations, while it was away.",
        _TAG,
        notifications,
        query=NoticesQuery,
        reply=dict[str, Any],
    ),
    Call(
        "GET",
        "/1.1/classes/_ConversationMemberInfo",
        Access.CLIENT,
        "The roles that were given in a conversation.",
        _TAG,
        roles,
        query=RolesQuery,
        reply=RoleItems,
    ),
    OpenCall("GET", "/1.1/date", "The server's time.", _TAG, date, Date),
)
