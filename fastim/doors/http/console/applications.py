"""Applications: which there are, new ones, and their keys."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from fastim.core.application import Application
from fastim.doors.http.console.calls import APPLICATION, Answer, Asked, Call, Nothing
from fastim.runtime.operators import ID_CHARACTERS_MAX, KeyName

HINT_CHARACTERS = 4


class Listed(Struct, frozen=True):
    """An application.

    Attributes:
        master_key_hint: How its master key ends.
        sessions: Open ones.
        settings_stored: How many settings are stored for it.
    """

    id: str
    key: str
    master_key_hint: str
    sessions: int
    settings_stored: int


class Keys(Struct, frozen=True):
    """The keys of an application."""

    key: str
    master_key: str
    hook_key: str


class Made(Struct, frozen=True):
    """A new application with its keys."""

    id: str
    key: str
    master_key: str
    hook_key: str


class NewApplication(Struct, frozen=True):
    """What it is to be called; made up when empty."""

    id: Annotated[str, Meta(max_length=ID_CHARACTERS_MAX)] = ""


class Rotation(Struct, frozen=True):
    """Which key is to be another one."""

    which: KeyName


async def _list(asked: Asked[Nothing, Nothing]) -> list[Listed]:
    return [
        Listed(
            one.application.id,
            one.application.key,
            one.application.master_key[-HINT_CHARACTERS:],
            len(one.presence),
            len(one.application.settings),
        )
        for one in asked.console.operators.tenants
    ]


async def _create(asked: Asked[Nothing, NewApplication]) -> Answer:
    made = await asked.console.operators.create(asked.body.id)
    return Answer(Made(made.id, made.key, made.master_key, made.hook_key), status=201, detail=made.id)


async def _rotate(asked: Asked[Nothing, Rotation]) -> Keys:
    return _keys(await asked.console.operators.rotate(asked.tenant.application.id, asked.body.which))


async def _show(asked: Asked[Nothing, Nothing]) -> Keys:
    return _keys(asked.tenant.application)


def _keys(application: Application) -> Keys:
    return Keys(application.key, application.master_key, application.hook_key)


CALLS: tuple[Call[Any, Any], ...] = (
    Call("GET", "/applications", _list),
    Call("POST", "/applications", _create, body=NewApplication, what="application created"),
    Call("GET", f"{APPLICATION}/keys", _show, what="keys shown"),
    Call(
        "POST", f"{APPLICATION}/keys", _rotate, body=Rotation, what="key rotated", detail=lambda asked: asked.body.which
    ),
)
