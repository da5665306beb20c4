"""What a REST call is: one value that says its path, who may make it, what it takes and what it answers.

The routes and ``/openapi.json`` are both made from it, so neither can say what the other does not do.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeAlias, TypeGuard, TypeVar

import msgspec
from msgspec import Struct

from fastim.core.application import Application
from fastim.doors.http.rest.authentication import Access
from fastim.ports.users import Users
from fastim.runtime.back_office import BackOffice
from fastim.runtime.spending import Spending
from fastim.service.io import Io


class Made(Struct, frozen=True):
    """What a call answers that has made something there was not: status 201.

    Attributes:
        answer: What any other call would answer.
        path: Where it is now.
    """

    answer: Any
    path: str


class Nothing(Struct, frozen=True):
    """What a call takes or answers that has nothing to say: an empty object."""


NOTHING = Nothing()
JSON_BYTES_MAX = 1_048_576
"""Longest body of a call that does not say otherwise."""


class Plain(Struct, frozen=True):
    """What a call takes or answers that is a text and not JSON. Each kind says in its docstring what text.

    Attributes:
        data: UTF-8 is asked for and not checked.
    """

    data: bytes


Query = TypeVar("Query", bound=Struct)
Body = TypeVar("Body", bound=Struct)
Reply = TypeVar("Reply")
Read = TypeVar("Read")


class Asked(Struct, Generic[Query, Body], frozen=True):
    """A call as it was made.

    Attributes:
        application: Whose key it came with.
        io: Its ports.
        office: Where its list of words is.
        path: The parts of the path that are in braces.
        body: What the call knows of the body.
        text: All of it, a JSON object; there may be more in it where a call takes any column. Empty where it is
            ``Plain``.
        address: The caller's IP address, or empty.
        access: What the caller has shown.
        client_id: Whose session token came with it; empty unless the call wants one.
        users: Who knows the application's users; ``None`` when nobody does.
    """

    application: Application
    io: Io
    office: BackOffice
    path: Mapping[str, str]
    query: Query
    body: Body
    text: str
    address: str
    access: Access
    client_id: str = ""
    users: Users | None = None


class Call(Struct, Generic[Query, Body, Reply], frozen=True):
    """One REST call.

    Attributes:
        path: With its parts in braces.
        access: What it takes to make it.
        summary: One line for the reference.
        tag: Which part of the reference it stands in.
        answer: Does it.
        query: What may stand in the query string.
        body: What the body may hold; a kind of ``Plain`` where it is no JSON.
        reply: What comes back; likewise.
        body_bytes: Longest body.
        spending: The quota that it comes out of, or ``None``.
        makes: Its answer may be ``Made``.
        limited: It may be refused as ``TooMany`` though it does not come out of a quota as a whole.
    """

    method: str
    path: str
    access: Access
    summary: str
    tag: str
    answer: Callable[[Asked[Query, Body]], Awaitable[Reply]]
    query: type[Query] = Nothing  # type: ignore[assignment]
    body: type[Body] = Nothing  # type: ignore[assignment]
    reply: Any = Nothing
    body_bytes: int = JSON_BYTES_MAX
    spending: Spending | None = None
    makes: bool = False
    limited: bool = False


class OpenCall(Struct, Generic[Reply], frozen=True):
    """A call that anybody may make: it takes nothing, no credentials either, and is about no application."""

    method: str
    path: str
    summary: str
    tag: str
    answer: Callable[[], Reply]
    reply: Any
    access: Access = Access.ANYBODY
    query: type[Nothing] = Nothing
    body: type[Nothing] = Nothing
    spending: None = None
    makes: bool = False
    limited: bool = False


AnyCall: TypeAlias = Call[Any, Any, Any] | OpenCall[Any]


class BadRequest(Exception):
    """The call is not what it has to be; the text says why, for whoever wrote it.

    Args:
        code: The status when ``None``.
    """

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


class NotThere(Exception):
    """There is no such thing; the text says what there is none of.

    Args:
        code: The status when ``None``.
    """

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


class TooMany(Exception):
    """There may be no more of these for a while.

    Args:
        wait: For so many seconds.
    """

    def __init__(self, wait: int) -> None:
        super().__init__("too many requests: wait, or raise the setting")
        self.wait = wait


def is_plain(kind: object) -> TypeGuard[type[Plain]]:
    """Whether it travels as text, and not as JSON."""
    return isinstance(kind, type) and issubclass(kind, Plain)


def read_text(data: bytes) -> str:
    """A body as text; an empty one is an empty object.

    Raises:
        BadRequest: It is not UTF-8.
    """
    try:
        return data.decode() or "{}"
    except UnicodeDecodeError as error:
        raise BadRequest("body: not UTF-8") from error


def read_body(text: str, kind: type[Body]) -> Body:
    """What the body says.

    Raises:
        BadRequest: It is not what the call takes.
    """
    return _decoded(text, kind)


def read_object(text: str) -> dict[str, Any]:
    """All that the body says, for a call that takes any column.

    Raises:
        BadRequest: It has something in it that cannot be read, where ``read_body`` may have looked past it.
    """
    return _decoded(text, dict[str, Any])


def read_query(values: Mapping[str, Any], kind: type[Query]) -> Query:
    """What the query string says. Numbers and truth values are read from text; what the call does not know is ignored.

    Raises:
        BadRequest: It is not what the call takes.
    """
    try:
        return msgspec.convert(dict(values), kind, strict=False)
    except (msgspec.ValidationError, UnicodeError) as error:
        raise BadRequest(f"query: {error}") from error


def _decoded(text: str, kind: type[Read]) -> Read:
    try:
        return msgspec.json.decode(text, type=kind)
    except RecursionError as error:
        raise BadRequest("body: too many levels of objects and arrays") from error
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise BadRequest(f"body: {error}") from error
