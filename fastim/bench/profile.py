"""What a run does, as it is written down: a TOML file, or one of those that come with fastim.

Lengths of time are in seconds, rates in events a second of the whole part.
"""

import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from fastim.core.errors import SettingsError

SUFFIX = ".toml"
DEFAULT = "room"

T = TypeVar("T", bound=Struct)

Count = Annotated[int, Meta(ge=1, le=10_000_000)]
Some = Annotated[int, Meta(ge=0, le=10_000_000)]
Rate = Annotated[float, Meta(ge=0, le=1_000_000)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Bytes = Annotated[int, Meta(ge=0, le=1_000_000)]
Span = Annotated[float, Meta(ge=0, le=86_400)]


class Rooms(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="rooms"):
    """Chat rooms, their readers, and senders that are outside of them.

    Attributes:
        rooms: How many.
        readers: In each.
        senders: In all; they take turns, and so do the rooms.
        rate: Messages a second.
        body_bytes: Of a message; not less than it takes to tell it from all others.
        high_percent: Of the messages have high priority.
        low_percent: Low priority; all others are normal.
        slow_percent: Of the readers stop reading when measuring begins, until it ends.
        enter_seconds: Readers enter evenly within so long after measuring began; 0: before it.
        reconnect_percent: Of the readers lose their connections at once and come back.
        reconnect_every_seconds: So often, the first time after so long; each time it is others.
    """

    rooms: Count = 1
    readers: Count = 1000
    senders: Count = 16
    rate: Rate = 50.0
    body_bytes: Bytes = 64
    high_percent: Percent = 0.0
    low_percent: Percent = 0.0
    slow_percent: Percent = 0.0
    enter_seconds: Span = 0.0
    reconnect_percent: Percent = 0.0
    reconnect_every_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 5.0


class Conversations(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="conversations"
):
    """Conversations whose messages are stored for every member; each member is connected, and says what came.

    Attributes:
        conversations: How many; nobody is in two of them.
        members: Of each; they take turns in sending.
        rate: Messages a second.
        body_bytes: Of a message.
        acks: Whether members acknowledge what came, as the SDKs do.
    """

    conversations: Count = 100
    members: Annotated[int, Meta(ge=2, le=500)] = 2
    rate: Rate = 200.0
    body_bytes: Bytes = 64
    acks: bool = True


class Idle(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="idle"):
    """Clients that are connected and say nothing but that they are still there.

    Attributes:
        clients: How many.
        echo_seconds: How often each of them says so.
    """

    clients: Count = 1000
    echo_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 20.0


class History(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="history"):
    """Clients that read back through the history of conversations, page by page.

    Attributes:
        conversations: How many, each with a reader.
        messages: Stored in each before measuring begins.
        page: Messages asked for at once.
        rate: Pages a second.
        body_bytes: Of a stored message.
    """

    conversations: Count = 16
    messages: Annotated[int, Meta(ge=1, le=1_000_000)] = 200
    page: Annotated[int, Meta(ge=1, le=1000)] = 20
    rate: Rate = 100.0
    body_bytes: Bytes = 64


Part = Rooms | Conversations | Idle | History
KINDS: dict[str, type[Part]] = {"rooms": Rooms, "conversations": Conversations, "idle": Idle, "history": History}


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run.

    Attributes:
        about: In one line.
        seconds: Measured.
        warm_up_seconds: Of the same load before that.
        drain_seconds: How long to wait at the end for what is still on its way; what comes later is missing.
        transport: How all clients connect.
        parts: What goes on at the same time, by names of your choice.
    """

    about: str = ""
    seconds: Annotated[float, Meta(gt=0, le=86_400)] = 20.0
    warm_up_seconds: Span = 2.0
    drain_seconds: Span = 10.0
    transport: Literal["tcp", "websocket"] = "tcp"
    parts: dict[str, Part]


def built_in() -> dict[str, str]:
    """The text of each profile that comes with fastim, by name."""
    files = (file for file in _directory().iterdir() if file.name.endswith(SUFFIX))
    return {file.name.removesuffix(SUFFIX): file.read_text(encoding="utf-8") for file in sorted(files, key=str)}


def text_of(name: str) -> str:
    """The text of a profile that comes with fastim.

    Raises:
        SettingsError: There is none of that name.
    """
    known = built_in()
    if name not in known:
        raise SettingsError(f"{name}: no such scenario; the nearest is {_nearest(name, known)}")
    return known[name]


def read(path: Path) -> str:
    """The text of a profile of your own.

    Raises:
        SettingsError: It cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"{path}: cannot be read: {reason}") from error


def parse(text: str, source: str, settings: Sequence[str] = (), flags: Mapping[str, str] | None = None) -> Profile:
    """Make a profile of its text.

    Args:
        source: What the text is called in errors.
        settings: ``KEY=VALUE`` and ``PART.KEY=VALUE``, stronger than the text.
        flags: Keys and values that go to every part that has the key, or to the profile itself; stronger still.

    Raises:
        SettingsError: It is no TOML, a key is unknown, or a value does not fit.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{source}: is not TOML: {error}") from error
    _check_keys(table, source)
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise SettingsError(f"--set {setting}: write it as KEY=VALUE or PART.KEY=VALUE")
        _put(table, name, value, f"--set {name}")
    for key, value in (flags or {}).items():
        _put_everywhere(table, key, value)
    return _built(table, source)


def _check_keys(table: Mapping[str, Any], source: str) -> None:
    """Refuse what nobody knows, with what was most likely meant."""
    _only(table, Profile.__struct_fields__, source)
    parts = table.get("parts")
    if not isinstance(parts, dict) or not parts:
        raise SettingsError(f"{source}: there is no part; write [parts.NAME] with a kind, one of {', '.join(KINDS)}")
    for name, part in parts.items():
        where = f"{source}: parts.{name}"
        if not isinstance(part, dict):
            raise SettingsError(f"{where}: write it as a table, [parts.{name}]")
        kind = part.get("kind")
        if kind is None:
            raise SettingsError(f"{where}: has no kind; give one of {', '.join(KINDS)}")
        if not isinstance(kind, str) or kind not in KINDS:
            raise SettingsError(f"{where}.kind: no such kind; the nearest is {_nearest(str(kind), KINDS)}")
        _only(part, ("kind", *KINDS[kind].__struct_fields__), where)


def _only(table: Mapping[str, Any], known: Sequence[str], source: str) -> None:
    for key in table:
        if key not in known:
            raise SettingsError(f"{source}: {key}: no such key; the nearest is {_nearest(key, known)}")


def _put(table: dict[str, Any], name: str, text: str, source: str) -> None:
    """Set one key of the profile, or of one of its parts, to what a command line says."""
    part, dot, key = name.rpartition(".")
    parts = table["parts"]
    if not dot:
        if name == "parts" or name not in Profile.__struct_fields__:
            known = [key for key in Profile.__struct_fields__ if key != "parts"]
            known += [f"{one}.{key}" for one in parts for key in KINDS[parts[one]["kind"]].__struct_fields__]
            raise SettingsError(f"{source}: no such key; the nearest is {_nearest(name, known)}")
        table[name] = _value(text)
        return
    if part not in parts:
        raise SettingsError(f"{source}: no such part; the nearest is {_nearest(part, parts)}")
    _only({key: None}, KINDS[parts[part]["kind"]].__struct_fields__, source.rpartition(".")[0])
    parts[part][key] = _value(text)


def _put_everywhere(table: dict[str, Any], key: str, text: str) -> None:
    flag = f"--{key.replace('_', '-')}"
    if key in Profile.__struct_fields__:
        table[key] = _value(text)
        return
    having = [part for part in table["parts"].values() if key in KINDS[part["kind"]].__struct_fields__]
    if not having:
        kinds = " or ".join(name for name, kind in KINDS.items() if key in kind.__struct_fields__)
        raise SettingsError(f"{flag}: no part of this scenario has that; one of kind {kinds} has")
    for part in having:
        part[key] = _value(text)


def _value(text: str) -> Any:
    """A value as TOML reads it; text that is none of TOML's is text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _built(table: dict[str, Any], source: str) -> Profile:
    parts = {
        name: _convert(part, KINDS[part["kind"]], f"{source}: parts.{name}") for name, part in table["parts"].items()
    }
    return msgspec.structs.replace(_convert(table | {"parts": {}}, Profile, source), parts=parts)


def _convert(value: Any, kind: type[T], source: str) -> T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        says, _, path = str(error).partition(" - at `$")
        key = path.rstrip("`")
        raise SettingsError(f"{source}{key if key else ''}: does not fit; {says[:1].lower()}{says[1:]}") from error


def _nearest(name: str, known: Iterable[str]) -> str:
    return max(known, key=lambda one: difflib.SequenceMatcher(None, name, one).ratio())


def _directory() -> Traversable:
    return resources.files(__package__) / "profiles"
