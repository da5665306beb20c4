"""Who calls: an application's id and one of its two keys, or a sign made with one, under new names or old.

All credentials that are given have to be right, so that nobody can hide a wrong one behind another. A sign holds for as
long as its key does: no limit to its age is documented, and the clocks of those who call may be off.
Source: REST reference, authentication and format.
"""

import hashlib
import hmac
from collections.abc import Callable
from enum import IntEnum

from aiohttp import web
from msgspec import Struct

from fastim.core.application import Application

_IDS = ("X-LC-Id", "X-AVOSCloud-Application-Id", "X-Uluru-Application-Id")
_KEYS = ("X-LC-Key", "X-AVOSCloud-Application-Key", "X-Uluru-Application-Key")
_SIGNS = ("X-LC-Sign", "X-AVOSCloud-Request-Sign", "X-Uluru-Request-Sign")
_MASTER_KEYS = ("X-AVOSCloud-Master-Key", "X-Uluru-Master-Key")
_MASTER = "master"


class Access(IntEnum):
    """What a caller has shown: more is greater."""

    ANYBODY = 0
    """Nothing."""
    APPLICATION = 1
    """The key that every client of the application knows."""
    CLIENT = 2
    """That key, and a session token of the client that the query names as ``client_id``."""
    MASTER = 3
    """The one that only its servers know."""


class Caller(Struct, frozen=True):
    """Who calls."""

    application: Application
    access: Access


def caller(request: web.Request, find: Callable[[str], Application | None]) -> Caller:
    """Who sent ``request``.

    Args:
        find: The application of an id, or ``None``.

    Raises:
        HTTPUnauthorized: A credential is missing, wrong or contradicts another.
    """
    ids = set(_values(request, _IDS))
    application = find(ids.pop()) if len(ids) == 1 else None
    if application is None:
        raise web.HTTPUnauthorized
    shown = [_key(application, value) for value in _values(request, _KEYS)]
    shown += [_key(application, f"{value},{_MASTER}") for value in _values(request, _MASTER_KEYS)]
    shown += [_sign(application, value) for value in _values(request, _SIGNS)]
    if not shown or None in shown:
        raise web.HTTPUnauthorized
    return Caller(application, max(access for access in shown if access is not None))


def _key(application: Application, value: str) -> Access | None:
    key, *kind = value.split(",")
    access = _access(kind)
    return access if access and _same(key, _key_for(application, access)) else None


def _sign(application: Application, value: str) -> Access | None:
    digest, *rest = value.split(",")
    if not rest:
        return None
    timestamp, *kind = rest
    access = _access(kind)
    if not access or not (timestamp.isascii() and timestamp.isdigit()):
        return None
    signed = f"{timestamp}{_key_for(application, access)}".encode()
    expected = hashlib.md5(signed, usedforsecurity=False).hexdigest()
    return access if _same(digest.lower(), expected) else None


def _access(kind: list[str]) -> Access | None:
    """What the last part of a credential claims."""
    if not kind:
        return Access.APPLICATION
    return Access.MASTER if kind == [_MASTER] else None


def _key_for(application: Application, access: Access) -> str:
    return application.master_key if access is Access.MASTER else application.key


def _same(given: str, expected: str) -> bool:
    """Compare without telling by the time it takes how much of it is right."""
    return hmac.compare_digest(given.encode(errors="surrogateescape"), expected.encode())


def _values(request: web.Request, names: tuple[str, ...]) -> list[str]:
    return [value for name in names for value in request.headers.getall(name, ())]
