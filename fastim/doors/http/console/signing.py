"""Signing in and out, and the password."""

import importlib.metadata
from typing import Annotated, Any

from msgspec import Meta, Struct

from fastim.doors.http.console.calls import Answer, Asked, Call, Needs, Nothing, Problem, note
from fastim.doors.http.console.entrance import (
    PASS_SECONDS,
    PASSWORD_CHARACTERS_MAX,
    LockedOut,
    UnfitPassword,
    WrongPassword,
    WrongToken,
)
from fastim.runtime.audit import Entry

Given = Annotated[str, Meta(max_length=PASSWORD_CHARACTERS_MAX)]


class SetUp(Struct, frozen=True):
    """The token of the link, and what the password is to be."""

    token: Annotated[str, Meta(max_length=256)]
    password: Given


class SignIn(Struct, frozen=True):
    """The password."""

    password: Given


class NewPassword(Struct, frozen=True):
    """The password, and what it is to be from now on."""

    old: Given
    new: Given


class State(Struct, frozen=True, omit_defaults=True):
    """Who asks, as far as that is known.

    Attributes:
        expires_at: When the session ends at the latest, milliseconds since the epoch.
    """

    set_up: bool
    signed_in: bool
    version: str
    expires_at: int | None = None


async def _state(asked: Asked[Nothing, Nothing]) -> State:
    entrance = asked.console.entrance
    expires_at = None
    if asked.signed is not None:
        expires_at = asked.console.clock() + int(1000 * entrance.seconds_left(asked.signed))
    return State(entrance.is_set_up, asked.signed is not None, version(), expires_at)


async def _set_up(asked: Asked[Nothing, SetUp]) -> Answer:
    if asked.console.entrance.is_set_up:
        raise Problem(409, "a password has been set already")
    if not asked.local:
        raise Problem(403, "the first password is set on the server's own machine only, and not through a proxy")
    try:
        return _signed_in(await asked.console.entrance.set_up(asked.body.token, asked.body.password))
    except WrongToken as error:
        raise Problem(403, str(error), field="token") from error
    except UnfitPassword as error:
        raise Problem(400, str(error), field="password") from error
    except OSError as error:
        raise Problem(503, f"the password cannot be stored: {error.strerror}") from error


async def _sign_in(asked: Asked[Nothing, SignIn]) -> Answer:
    if not asked.console.entrance.is_set_up:
        raise Problem(409, "no password has been set yet")
    try:
        return _signed_in(await asked.console.entrance.sign_in(asked.address, asked.body.password))
    except WrongPassword as error:
        if asked.console.entrance.is_locked_out(asked.address):
            await note(asked, "locked out")
        raise Problem(401, str(error), field="password") from error
    except LockedOut as error:
        raise Problem(429, str(error), wait=error.wait) from error


async def _sign_out(asked: Asked[Nothing, Nothing]) -> Answer:
    if asked.signed is not None:
        asked.console.entrance.sign_out(asked.signed)
    return Answer({}, cookie="")


async def _change_password(asked: Asked[Nothing, NewPassword]) -> dict[str, str]:
    assert asked.signed is not None  # the call needs it
    entrance = asked.console.entrance
    try:
        await entrance.change_password(asked.address, asked.body.old, asked.body.new, asked.signed)
    except WrongPassword as error:
        # Not 401, which says that nobody is signed in.
        raise Problem(403, str(error), field="old") from error
    except UnfitPassword as error:
        raise Problem(400, str(error), field="new") from error
    except LockedOut as error:
        raise Problem(429, str(error), wait=error.wait) from error
    except OSError as error:
        raise Problem(503, f"the password cannot be stored: {error.strerror}") from error
    return {}


class AuditQuery(Struct, frozen=True):
    """How many of the newest entries."""

    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100


async def _audit(asked: Asked[AuditQuery, Nothing]) -> list[Entry]:
    try:
        return await asked.console.audit.newest(asked.query.limit)
    except OSError as error:
        raise Problem(503, f"the audit trail cannot be read: {error.strerror}") from error


def _signed_in(secret: str) -> Answer:
    return Answer({}, cookie=secret, cookie_seconds=PASS_SECONDS)


def version() -> str:
    """Of the server."""
    try:
        return importlib.metadata.version("fastim")
    except importlib.metadata.PackageNotFoundError:  # it runs from a checkout that was never installed
        return "unknown"


CALLS: tuple[Call[Any, Any], ...] = (
    Call("GET", "/session", _state, Needs.NOBODY),
    Call("POST", "/setup", _set_up, Needs.NOBODY, body=SetUp, what="password set"),
    Call("POST", "/sign-in", _sign_in, Needs.NOBODY, body=SignIn, what="signed in"),
    Call("POST", "/sign-out", _sign_out, Needs.NOBODY),
    Call("POST", "/password", _change_password, body=NewPassword, what="password changed"),
    Call("GET", "/audit", _audit, query=AuditQuery),
)
