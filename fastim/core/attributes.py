"""A conversation's attributes: which columns clients may write, and what one update makes of them.

Columns are JSON values. Keys may be dotted paths (``attr.type``), and a value may be an operation on what is there
(``{"__op": "Increment", "amount": 1}``). Objects with a ``__type`` (dates, pointers, ...) are values like any other and
pass through untouched. Source: wire protocol, update payload.

An update is done whole or not at all. Who may update which conversation is decided elsewhere.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from fastim.core.errors import UpdateFailed

COLUMNS_BYTES_MAX = 65_536
"""JSON size of all the columns of a conversation: every query that finds it sends them along."""

TEXT_LENGTH_MAX = 2 * COLUMNS_BYTES_MAX
"""Longer texts are refused unread. Escapes make a text longer than what it says, hence the factor."""

DEPTH_MAX = 32
"""Levels of objects and arrays in the columns, so that walking them may recurse."""

COUNTER_MAX = 2**63 - 1
"""Where counting stops: Java, Swift and C# read an integer into 64 bits."""

RESERVED_COLUMNS = frozenset(
    {
        *("objectId", "createdAt", "updatedAt", "c", "m", "mu", "lm", "tr", "sys", "temp", "unique", "uniqueId", "ttl"),
        *("conv_type", "tempConv", "tempConvTTL", "muted", "joined", "joinedAt"),
        *("msg", "bin", "msg_mid", "msg_from", "msg_timestamp", "patch_timestamp", "mention_all", "mention_pids"),
    }
)
"""Keys of a query's result that the server fills in. Source: wire protocol, result objects of conv/query."""

_FORBIDDEN_NAMES = frozenset({"__type", "__op", "__proto__"})
"""SDKs read the first two as the mark of something else than an object. The JS SDK walks the path of every update it is
told about without a guard, so the third would let one member change the prototype of all objects in another's page."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LARGE = 2**60  # below the modulus of Python's hash of a number, and every float above is whole


class AttributeChange(Struct, frozen=True):
    """What an update comes to.

    Attributes:
        columns: All the columns after it, ``name`` and ``attr`` among them; they share nothing with the ones before.
        modified: The resulting values of the keys it names, nested (``attr.a`` is found under ``attr``), without the
            deleted ones: the ``attrModified`` of the reply and of the event.
    """

    columns: dict[str, Any]
    modified: dict[str, Any]


def apply_update(columns: Mapping[str, Any], update_text: bytes | str) -> AttributeChange:
    """Return what ``columns`` become by the ``attr.data`` of a conv/update.

    A key that only the server writes refuses the update: SDKs send nothing but what their user has set, so leaving it
    out would tell the user of a success that did not happen. ``null`` is a value, but gives way like nothing at all
    when an operation or a longer path needs something in its place.

    Raises:
        UpdateFailed: The text is not such an update, or what it asks for cannot be done; the detail says which.
    """
    update = _parse(update_text)
    for key in update:
        if _column(key) in RESERVED_COLUMNS:
            raise UpdateFailed(f"the server alone writes {_shown(key)}")
    return _changed(columns, update)


def initial_columns(attr_text: bytes | str | None) -> dict[str, Any]:
    """Return the columns that the ``attr.data`` of a conv/start gives a new conversation; none without a text.

    It is read like an update of nothing, except that keys which only the server writes are left out: some of them are
    options of the SDKs' own calls, and a conversation with a stray one still is what was asked for.

    Raises:
        UpdateFailed: As for ``apply_update``.
    """
    if not attr_text:
        return {}
    written = {key: value for key, value in _parse(attr_text).items() if _column(key) not in RESERVED_COLUMNS}
    return _changed({}, written).columns


def change_columns(before: Mapping[str, Any], update: Mapping[str, Any]) -> AttributeChange:
    """Return what any row's columns become by an update that was read, whatever they may hold.

    Raises:
        UpdateFailed: What it asks for cannot be done; the detail says which.
    """
    if nests_deeper(update, DEPTH_MAX):
        raise UpdateFailed(f"more than {DEPTH_MAX} levels of objects and arrays")
    paths = {key: _path(key) for key in update}
    _refuse_overlaps(paths)
    columns: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(dict(before)))  # the quickest deep copy there is
    modified: dict[str, Any] = {}
    for key, value in update.items():
        *parents, name = paths[key]
        if isinstance(value, dict) and value.get("__op") == "Delete":
            _delete(columns, parents, name)
            continue
        owner = _open(columns, parents, key)
        owner[name] = _resulting(key, value, owner.get(name))
        _open(modified, parents, key)[name] = owner[name]
    if nests_deeper(columns, DEPTH_MAX):
        raise UpdateFailed(f"the attributes would have more than {DEPTH_MAX} levels of objects and arrays")
    return AttributeChange(columns, modified)


def comparable(value: Any) -> Any:
    """Return a hashable stand-in for a JSON value: two of them are equal where the JSON values are.

    1 and 1.0 are equal; ``true`` and 1 are not; the order of an object's keys does not count; dates are equal when
    they mean the same millisecond.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, (int, float)):
        # Anyone can make up large numbers, or fractions, that all hash alike and so slow every set they are in. Strings
        # are salted.
        if isinstance(value, float) and not value.is_integer():
            return ("number", value.hex())
        return value if -_LARGE < value < _LARGE else ("number", hex(int(value)))
    if isinstance(value, dict):
        moment = date_millis(value)
        if moment is not None:
            return ("date", moment)
        return ("object", frozenset((key, comparable(inner)) for key, inner in value.items()))
    if isinstance(value, (list, tuple)):
        return ("array", tuple(comparable(inner) for inner in value))
    return value


def date_millis(value: Any) -> int | None:
    """Return the time of a ``{"__type": "Date", "iso": ...}``, milliseconds since the epoch; ``None`` for all else."""
    if isinstance(value, dict) and value.get("__type") == "Date" and isinstance(iso := value.get("iso"), str):
        return iso_millis(iso)
    return None


def iso_millis(text: str) -> int | None:
    """Return the time that an ISO 8601 text means, milliseconds since the epoch; ``None`` if it means none.

    A text without a time zone is taken as UTC, which is what SDKs write.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MILLISECOND


def nests_deeper(value: Any, levels: int) -> bool:
    """Tell whether a JSON value has more than ``levels`` levels of objects and arrays."""
    if isinstance(value, dict):
        children = list(value.values())
    elif isinstance(value, list):
        children = value
    else:
        return False
    return levels == 0 or any(nests_deeper(child, levels - 1) for child in children)


def _parse(text: bytes | str) -> dict[str, Any]:
    if len(text) > TEXT_LENGTH_MAX:
        raise UpdateFailed("the text is too long")
    try:
        update = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise UpdateFailed("the text is not JSON") from None
    if not isinstance(update, dict):
        raise UpdateFailed("the text is not a JSON object")
    if nests_deeper(update, DEPTH_MAX):
        raise UpdateFailed(f"more than {DEPTH_MAX} levels of objects and arrays")
    return update


def _column(key: str) -> str:
    return key.partition(".")[0]


def _changed(before: Mapping[str, Any], update: dict[str, Any]) -> AttributeChange:
    change = change_columns(before, update)
    _check(change.columns)
    return change


def _path(key: str) -> list[str]:
    path = key.split(".")
    if len(path) > DEPTH_MAX:
        raise UpdateFailed(f"a key has more than {DEPTH_MAX} parts")
    for place, name in enumerate(path):
        if not name:
            raise UpdateFailed(f"the key {_shown(key)} has an empty part")
        # A condition takes a leading $ for an operator, so such a column could never be asked for.
        if name.startswith("$") or name in _FORBIDDEN_NAMES:
            raise UpdateFailed(f"the key {_shown(key)} has a part that cannot be a name")
        # The other way to a prototype.
        if name == "constructor" and place < len(path) - 1:
            raise UpdateFailed(f"the key {_shown(key)} leads into a constructor")
    return path


def _refuse_overlaps(paths: dict[str, list[str]]) -> None:
    """Two keys of which one leads through the other would make the outcome hang on the order of a JSON object."""
    for key, path in paths.items():
        for length in range(1, len(path)):
            parent = ".".join(path[:length])
            if parent in paths:
                raise UpdateFailed(f"{_shown(parent)} and {_shown(key)} overlap")


def _open(root: dict[str, Any], parents: list[str], key: str) -> dict[str, Any]:
    """Return the object that ``parents`` lead to, made on the way where there is nothing yet."""
    owner = root
    for parent in parents:
        inner = owner.get(parent)
        if inner is None:
            inner = owner[parent] = {}
        if not _is_plain_object(inner):
            raise UpdateFailed(f"the key {_shown(key)} leads into something that is not an object")
        owner = inner
    return owner


def _delete(columns: dict[str, Any], parents: list[str], name: str) -> None:
    owner: Any = columns
    for parent in parents:
        owner = owner.get(parent)
        if not _is_plain_object(owner):
            return
    owner.pop(name, None)


def _resulting(key: str, value: Any, existing: Any) -> Any:
    if not (isinstance(value, dict) and "__op" in value):
        if _holds_operation(value):
            raise UpdateFailed(f"{_shown(key)} has an operation inside its value; only a whole value can be one")
        return value
    match value["__op"]:
        case "Increment":
            return _incremented(key, existing, value.get("amount"))
        case "Add" | "AddUnique" | "Remove" as operation:
            return _rearranged(key, existing, operation, value.get("objects"))
        case unknown:
            raise UpdateFailed(f"{_shown(key)} asks for an unknown operation, {_shown(str(unknown))}")


def _incremented(key: str, existing: Any, amount: Any) -> int | float:
    if not _is_number(amount):
        raise UpdateFailed(f"{_shown(key)} cannot be incremented without a number as amount")
    if existing is None:
        existing = 0
    if not _is_number(existing):
        raise UpdateFailed(f"{_shown(key)} is not a number and cannot be incremented")
    # In this order, since a float plus an integer beyond all floats would raise.
    if not (_is_countable(existing) and _is_countable(amount) and _is_countable(existing + amount)):
        raise UpdateFailed(f"{_shown(key)} counts too far")
    total: int | float = existing + amount
    return total


def _rearranged(key: str, existing: Any, operation: str, objects: Any) -> list[Any]:
    if not isinstance(objects, list):
        raise UpdateFailed(f"{operation} on {_shown(key)} needs an array of objects")
    if _holds_operation(objects):
        raise UpdateFailed(f"{_shown(key)} has an operation inside its value; only a whole value can be one")
    if existing is None:
        existing = []
    if not isinstance(existing, list):
        raise UpdateFailed(f"{operation} on {_shown(key)}, which is not an array")
    if operation == "Add":
        return existing + objects
    if operation == "Remove":
        unwanted = {comparable(item) for item in objects}
        return [item for item in existing if comparable(item) not in unwanted]
    present = {comparable(item) for item in existing}
    united = list(existing)
    for item in objects:
        if (likeness := comparable(item)) not in present:
            present.add(likeness)
            united.append(item)
    return united


def _check(columns: dict[str, Any]) -> None:
    # Every SDK reads these two columns by type, Java with a cast: one wrong value would spoil the queries of others.
    if not isinstance(columns.get("name"), (str, type(None))):
        raise UpdateFailed("name has to be a string")
    if columns.get("attr") is not None and not _is_plain_object(columns["attr"]):
        raise UpdateFailed("attr has to be an object")
    if len(msgspec.json.encode(columns)) > COLUMNS_BYTES_MAX:
        raise UpdateFailed(f"the attributes would take more than {COLUMNS_BYTES_MAX} bytes")


def _is_plain_object(value: Any) -> bool:
    return isinstance(value, dict) and "__type" not in value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_countable(number: int | float) -> bool:
    return abs(number) <= COUNTER_MAX if isinstance(number, int) else math.isfinite(number)


def _holds_operation(value: Any) -> bool:
    if isinstance(value, dict):
        return "__op" in value or any(map(_holds_operation, value.values()))
    return isinstance(value, list) and any(map(_holds_operation, value))


def _shown(name: str) -> str:
    return repr(name if len(name) <= 40 else name[:40] + "...")
