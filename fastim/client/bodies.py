"""What messages say: text, bytes, or values that travel as JSON with an ``_lctype``, as official SDKs have them.

Numbers below zero are the platform's own, declared here; those above are an application's. Source: semantics, rich
message format.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, field


class TypedMessage(Struct, frozen=True, kw_only=True, tag_field="_lctype"):
    """Derive an application's message types from this, each with a number of its own as its tag.

    ``class BusinessCard(TypedMessage, frozen=True, tag=1)``. Fields travel by their names; ``text`` and ``attributes``
    are those that SDKs know. What others add to the JSON is not looked at.

    Attributes:
        text: For people, and for clients that do not know the type.
        attributes: Whatever else the application wants to say.
    """

    text: str = field(name="_lctext", default="")
    attributes: dict[str, Any] = field(name="_lcattrs", default_factory=dict)

    @classmethod
    def number(cls) -> int:
        """The ``_lctype``.

        Raises:
            TypeError: The class was given none.
        """
        number = cls.__struct_config__.tag
        if not isinstance(number, int):
            raise TypeError(f"{cls.__name__} has no number: derive it with tag=1, 2, ...")
        return number


class Text(TypedMessage, frozen=True, tag=-1):
    """Text, in ``text``."""


class FileInfo(Struct, frozen=True):
    """Where a file is, and what is known of it: ``name``, ``format``, ``size`` in bytes, ``width``, ``duration``."""

    url: str
    metadata: dict[str, Any] = field(name="metaData", default_factory=dict)
    id: str = field(name="objId", default="")


class File(TypedMessage, frozen=True, kw_only=True, tag=-6):
    """A file that is kept elsewhere."""

    file: FileInfo = field(name="_lcfile")


class Image(File, frozen=True, tag=-2):
    """A picture."""


class Audio(File, frozen=True, tag=-3):
    """Something to hear."""


class Video(File, frozen=True, tag=-4):
    """Something to watch."""


class Coordinates(Struct, frozen=True):
    """A place on earth, in degrees."""

    longitude: float
    latitude: float


class Location(TypedMessage, frozen=True, kw_only=True, tag=-5):
    """A place on earth."""

    location: Coordinates = field(name="_lcloc")


class Recalled(TypedMessage, frozen=True, tag=-127):
    """What is left of a message that was taken back."""


Body = str | bytes | Mapping[str, Any] | TypedMessage
"""What can be sent: text, binary, or an object or typed message that travels as JSON text."""


def encoded(body: Body) -> bytes:
    """``body`` as it travels."""
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else msgspec.json.encode(body)


def type_of(raw: bytes) -> int | None:
    """The ``_lctype`` of a JSON object, or ``None`` for whatever else ``raw`` is."""
    try:
        return _typed.decode(raw).type
    except (msgspec.DecodeError, RecursionError):
        return None


class _Typed(Struct):
    type: int | None = msgspec.field(default=None, name="_lctype")


_typed: msgspec.json.Decoder[_Typed] = msgspec.json.Decoder(_Typed)
