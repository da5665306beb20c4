"""The conversation query language: which conversations a ``where`` finds, and in which order.

It is LeanCloud's storage query JSON, that is MongoDB's semantics: a condition on an array holds when it holds for an
element, values compare only with values of their own type, a missing value equals ``null``. Source: wire protocol,
where language.

A condition is compiled once, then asked about many records. A record is the JSON object of a conversation as a query
returns it, members included. Skip, limit and what to do without a condition are the caller's.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import ge, gt, le, lt
from typing import Any, Final, TypeGuard, TypeVar

import msgspec
import re2
from msgspec import Struct

from fastim.core.attributes import comparable, date_millis, iso_millis, nests_deeper
from fastim.core.errors import QueryFailed

TEXT_LENGTH_MAX = 16_384
"""Three times what fits into a command on the socket, since REST takes conditions too."""

DEPTH_MAX = 32
"""Levels of objects and arrays in a condition, so that compiling and asking it may recurse."""

CLAUSES_MAX = 32
"""Operators, equalities and empty branches in one condition: each of them looks through all of a record.

A record whose 64 KiB are one array of numbers costs such a condition up to 300 ms; ordinary records cost some 10 us."""

OPERANDS_MAX = 1_000
"""Values in all of its lists together; the JS SDK loads conversations by up to 999 ids."""

OBJECTS_MAX = 4
"""Clauses with whole objects or arrays to be equal to: each takes apart whatever stands there, 10 ms at worst."""

REGEXES_MAX = 4
"""Regular expressions in one condition. They are the one clause whose cost the asker can choose."""

REGEX_MEMORY_BYTES = 131_072
"""What one compiled expression may take. re2 keeps the last 128 of them, so they stay below 16 MiB together."""

REGEX_STEPS_MAX = 4_000_000
"""Size of a compiled expression times the bytes it may search in a record: 15 ms at worst. Longer text goes unsearched,
which an expression of 20 instructions meets at 200 kB."""

SORT_KEYS_MAX = 4
"""Keys in one order: each of them sorts all that was found once more."""

SORT_ELEMENTS_MAX = 500
"""Elements of an array that count in an order: as many as a conversation may have members."""

Record = Mapping[str, Any]
Predicate = Callable[[Record], bool]
ValuesTest = Callable[[Sequence[Any]], bool]
AnyRecord = TypeVar("AnyRecord", bound=Record)


class Where(Struct, frozen=True):
    """A condition, ready to be asked.

    Attributes:
        is_empty: It says nothing; a query then means the conversations that the asker is in.
    """

    is_empty: bool
    _predicate: Predicate
    _ids: tuple[str, ...] | None
    _members: tuple[str, ...]

    def matches(self, record: Record) -> bool:
        """Tell whether the condition holds for a conversation. Never raises on JSON values."""
        return self._predicate(record)

    def ids(self) -> tuple[str, ...] | None:
        """Return the only conversation ids that can match, or ``None`` if the condition does not name them."""
        return self._ids

    def members(self) -> tuple[str, ...]:
        """Return the client ids that are members of every match, as far as the condition names them."""
        return self._members


def compile_where(text: str | bytes | None) -> Where:
    """Return the condition that a conv/query's ``where`` states; the empty one without a text.

    Raises:
        QueryFailed: The text is not a condition, or a longer or costlier one than the bounds of this module.
    """
    condition = _parse(text) if text else {}
    predicate = _Compiler().condition(condition)
    return Where(not condition, predicate, _pinned_ids(condition), _pinned_members(condition))


def sort_records(records: Iterable[AnyRecord], sort: str | None) -> list[AnyRecord]:
    """Return ``records`` by the keys of ``sort``; equal ones stay as they came.

    Values of different types go by MongoDB's order of types, missing ones and ``null`` first; an array counts as its
    least element going up, as its greatest going down. Unlike in MongoDB, all objects are equal, and so are arrays
    inside of arrays. Without ``sort``: where something was said last comes first, and conversations nobody spoke in
    last, newest first.

    Args:
        sort: Comma list of keys, which may be dotted; a leading ``-`` turns one round.

    Raises:
        QueryFailed: There is an empty key, or more keys than ``SORT_KEYS_MAX``.
    """
    keys = (sort or "-lm,-createdAt").split(",")
    if len(keys) > SORT_KEYS_MAX:
        raise QueryFailed(f"more than {SORT_KEYS_MAX} keys to sort by")
    orders = [_order(key.strip()) for key in keys]
    ordered = list(records)
    for rank, descending in reversed(orders):
        ordered.sort(key=rank, reverse=descending)
    return ordered


_MISSING: Final = object()
_ARRAYS: Final = (list, tuple)
_COMPOUNDS: Final = (dict, list, tuple)
_NOTHING: Final = (0,)
_DATE_COLUMNS: Final = frozenset({"createdAt", "updatedAt", "lm"})
_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {"$lt": lt, "$lte": le, "$gt": gt, "$gte": ge}


class _Field(Struct, frozen=True):
    """What a key of a condition stands for: where its values are found, and whether they are the server's own dates."""

    key: str
    read: Callable[[Record], Sequence[Any]]
    dated: bool

    def where(self, test: ValuesTest) -> Predicate:
        read = self.read
        return lambda record: test(read(record))


class _Compiler:
    """Compiles one condition, and counts what it costs on the way."""

    def __init__(self) -> None:
        self._clauses = self._operands = self._objects = self._regexes = 0

    def condition(self, condition: dict[str, Any]) -> Predicate:
        if not condition:
            self._count_clauses(1)
        predicates: list[Predicate] = []
        for key, operand in condition.items():
            if key in ("$and", "$or"):
                predicates.append(self._branches(key, operand))
            elif key.startswith("$"):
                raise QueryFailed(f"unknown operator {_shown(key)}")
            elif _states_operators(operand):
                predicates.append(self._operators(_field(key), operand))
            else:
                self._count_clauses(1)
                predicates.append(self._equality(_field(key), [operand]))
        return _all_of(predicates)

    def _branches(self, operator: str, operand: Any) -> Predicate:
        if not (isinstance(operand, list) and operand and all(isinstance(branch, dict) for branch in operand)):
            raise QueryFailed(f"{operator} needs an array of conditions")
        branches = [self.condition(branch) for branch in operand]
        return _all_of(branches) if operator == "$and" else _any_of(branches)

    def _operators(self, field: _Field, operators: dict[str, Any]) -> Predicate:
        self._count_clauses(len(operators))
        if "$options" in operators and "$regex" not in operators:
            raise QueryFailed("$options without a $regex")
        return _all_of(
            [
                self._operator(field, operator, operand, operators.get("$options", ""))
                for operator, operand in operators.items()
                if operator != "$options"
            ]
        )

    def _operator(self, field: _Field, operator: str, operand: Any, options: Any) -> Predicate:
        match operator:
            case "$ne":
                return _not(self._equality(field, [operand]))
            case "$in":
                return self._equality(field, self._list(operator, operand))
            case "$nin":
                return _not(self._equality(field, self._list(operator, operand)))
            case "$all":
                return self._containment(field, self._list(operator, operand))
            case "$lt" | "$lte" | "$gt" | "$gte":
                return self._comparison(field, operator, operand)
            case "$exists" if isinstance(operand, bool):
                return field.where(_exists if operand else _is_missing)
            case "$size" if _is_number(operand) and operand >= 0 and operand == int(operand):
                return field.where(_has_size(int(operand)))
            case "$regex" if isinstance(operand, str) and isinstance(options, str):
                self._count_regex()
                return _field(field.key, as_stored=True).where(_searches(operand, options))
            case "$not" if _states_operators(operand):
                return _not(self._operators(field, operand))
            case "$exists" | "$size" | "$regex" | "$not":
                raise QueryFailed(f"{operator} on {_shown(field.key)} has an operand of the wrong type")
            case _:
                raise QueryFailed(f"unknown operator {_shown(operator)}")

    def _equality(self, field: _Field, operands: list[Any]) -> Predicate:
        values = self._values(field, operands)
        if len(values) == 1 and isinstance(values[0], str):
            return field.where(_equals_text(values[0]))
        return field.where(_equals_any(values))

    def _containment(self, field: _Field, operands: list[Any]) -> Predicate:
        return field.where(_contains_all(self._values(field, operands)))

    def _comparison(self, field: _Field, operator: str, operand: Any) -> Predicate:
        value = _value(field, operand)
        for sort_of in (_number, _text, date_millis):
            if (bound := sort_of(value)) is not None:
                return field.where(_compares(_COMPARISONS[operator], bound, sort_of))
        raise QueryFailed(f"{operator} on {_shown(field.key)} needs a number, a string or a date")

    def _values(self, field: _Field, operands: list[Any]) -> list[Any]:
        values = [_value(field, operand) for operand in operands]
        self._objects += any(map(_is_compound, values))
        if self._objects > OBJECTS_MAX:
            raise QueryFailed(f"more than {OBJECTS_MAX} clauses compare whole objects or arrays")
        return values

    def _list(self, operator: str, operand: Any) -> list[Any]:
        if not isinstance(operand, list):
            raise QueryFailed(f"{operator} needs an array")
        self._operands += len(operand)
        if self._operands > OPERANDS_MAX:
            raise QueryFailed(f"more than {OPERANDS_MAX} values in the condition's lists")
        return operand

    def _count_clauses(self, more: int) -> None:
        self._clauses += more
        if self._clauses > CLAUSES_MAX:
            raise QueryFailed(f"more than {CLAUSES_MAX} clauses")

    def _count_regex(self) -> None:
        self._regexes += 1
        if self._regexes > REGEXES_MAX:
            raise QueryFailed(f"more than {REGEXES_MAX} regular expressions")


# --- Text to condition, and what it pins ------------------------------------------------------------------------------


def _parse(text: str | bytes) -> dict[str, Any]:
    if len(text) > TEXT_LENGTH_MAX:
        raise QueryFailed("the condition is too long")
    try:
        condition = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise QueryFailed("the condition is not JSON") from None
    if not isinstance(condition, dict):
        raise QueryFailed("the condition is not a JSON object")
    if nests_deeper(condition, DEPTH_MAX):
        raise QueryFailed(f"more than {DEPTH_MAX} levels of objects and arrays")
    return condition


def _value(field: _Field, operand: Any) -> Any:
    """Return a valid operand; on the server's own dates a string that means a time stands for that time."""
    _check_value(operand)
    if field.dated and isinstance(operand, str) and iso_millis(operand) is not None:
        return {"__type": "Date", "iso": operand}
    return operand


def _check_value(value: Any) -> None:
    if isinstance(value, dict):
        if any(key.startswith("$") for key in value):
            raise QueryFailed("an operator stands where a value belongs")
        if value.get("__type") == "Date" and date_millis(value) is None:
            raise QueryFailed("a Date without a valid iso")
        for inner in value.values():
            _check_value(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_value(inner)


def _states_operators(operand: Any) -> bool:
    return isinstance(operand, dict) and any(key.startswith("$") for key in operand)


def _conjuncts(condition: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, operand in condition.items():
        if key == "$and":
            for branch in operand:
                yield from _conjuncts(branch)
        else:
            yield key, operand


def _pinned_ids(condition: dict[str, Any]) -> tuple[str, ...] | None:
    pinned: dict[str, None] | None = None
    for key, operand in _conjuncts(condition):
        if key != "objectId":
            continue
        if not _states_operators(operand):
            named = [operand]
        elif "$in" in operand:
            named = operand["$in"]
        else:
            continue
        ids = dict.fromkeys(_texts(named))
        pinned = ids if pinned is None else {name: None for name in pinned if name in ids}
    return None if pinned is None else tuple(pinned)


def _pinned_members(condition: dict[str, Any]) -> tuple[str, ...]:
    pinned: dict[str, None] = {}
    for key, operand in _conjuncts(condition):
        if key != "m":
            continue
        if not _states_operators(operand):
            pinned.update(dict.fromkeys(_texts(operand if isinstance(operand, list) else [operand])))
            continue
        pinned.update(dict.fromkeys(_texts(operand.get("$all", ()))))
        if len(alternatives := operand.get("$in", ())) == 1:
            pinned.update(dict.fromkeys(_texts(alternatives)))
    return tuple(pinned)


def _texts(values: Iterable[Any]) -> list[str]:
    return [value for value in values if isinstance(value, str)]


# --- From a record to the values of a key -----------------------------------------------------------------------------


def _field(key: str, *, as_stored: bool = False) -> _Field:
    path = key.split(".")
    if len(path) > DEPTH_MAX:
        raise QueryFailed(f"a key has more than {DEPTH_MAX} parts")
    if not all(path) or any(name.startswith("$") for name in path):
        raise QueryFailed(f"{_shown(key)} is not a key")
    if key in _DATE_COLUMNS and not as_stored:
        return _Field(key, lambda record: (_dated(record.get(key, _MISSING)),), dated=True)
    if len(path) == 1:
        return _Field(key, lambda record: (record.get(key, _MISSING),), dated=False)
    return _Field(key, lambda record: _follow(record, path), dated=False)


def _dated(value: Any) -> Any:
    """Read a bare string as the date it is: createdAt and updatedAt are written so."""
    return {"__type": "Date", "iso": value} if isinstance(value, str) else value


def _follow(record: Record, path: Sequence[str]) -> list[Any]:
    """Return what ``path`` leads to, whole arrays and ``_MISSING`` among it.

    In an array a number is an index and any other name is looked for in each element. MongoDB tries a number as a name
    as well; with both, the ways through nested arrays would double with every part.
    """
    values: list[Any] = [record.get(path[0], _MISSING)]
    for name in path[1:]:
        reached: list[Any] = []
        for value in values:
            if isinstance(value, dict):
                reached.append(value.get(name, _MISSING))
            elif not isinstance(value, _ARRAYS):
                reached.append(_MISSING)
            elif not (name.isascii() and name.isdigit()):
                reached.extend(inner.get(name, _MISSING) for inner in value if isinstance(inner, dict))
            elif len(name) < 7 and int(name) < len(value):
                reached.append(value[int(name)])
        values = reached
    return values


# --- Tests of the values of a key -------------------------------------------------------------------------------------


def _all_of(predicates: list[Predicate]) -> Predicate:
    if len(predicates) == 1:
        return predicates[0]
    return lambda record: all(predicate(record) for predicate in predicates)


def _any_of(predicates: list[Predicate]) -> Predicate:
    return lambda record: any(predicate(record) for predicate in predicates)


def _not(predicate: Predicate) -> Predicate:
    return lambda record: not predicate(record)


def _exists(values: Sequence[Any]) -> bool:
    return any(value is not _MISSING for value in values)


def _is_missing(values: Sequence[Any]) -> bool:
    return not _exists(values)


def _has_size(size: int) -> ValuesTest:
    return lambda values: any(isinstance(value, _ARRAYS) and len(value) == size for value in values)


def _equals_text(text: str) -> ValuesTest:
    return lambda values: any(value == text or (isinstance(value, _ARRAYS) and text in value) for value in values)


def _equals_any(operands: list[Any]) -> ValuesTest:
    if _are_texts(operands):
        texts = frozenset(operands)
        return lambda values: not texts.isdisjoint(_all_texts(values))
    wanted, compound = frozenset(map(comparable, operands)), any(map(_is_compound, operands))
    return lambda values: any(found in wanted for found in _comparables(values, compound))


def _contains_all(operands: list[Any]) -> ValuesTest:
    if not operands:
        return lambda values: False
    if _are_texts(operands):
        texts = frozenset(operands)
        return lambda values: texts.issubset(_all_texts(values))
    wanted, compound = frozenset(map(comparable, operands)), any(map(_is_compound, operands))
    return lambda values: wanted.issubset(_comparables(values, compound))


def _are_texts(operands: list[Any]) -> bool:
    """Tell whether the short way through an array will do, which member lists take."""
    return all(isinstance(operand, str) for operand in operands)


def _is_compound(value: Any) -> bool:
    return isinstance(value, _COMPOUNDS) and date_millis(value) is None


def _comparables(values: Sequence[Any], compound: bool) -> Iterator[Any]:
    """Yield what a condition on ``values`` may equal; objects and whole arrays only if ``compound`` asks for them."""
    for value in values:
        if isinstance(value, _ARRAYS):
            yield from (comparable(element) for element in value if compound or not _is_compound(element))
        if value is _MISSING:
            yield None
        elif compound or not _is_compound(value):
            yield comparable(value)


def _all_texts(values: Sequence[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, _ARRAYS):
            yield from _texts(value)


def _compares(holds: Callable[[Any, Any], bool], bound: Any, sort_of: Callable[[Any], Any]) -> ValuesTest:
    def test(values: Sequence[Any]) -> bool:
        for value in values:
            for candidate in _each(value):
                known = sort_of(candidate)
                if known is not None and holds(known, bound):
                    return True
        return False

    return test


def _number(value: Any) -> int | float | None:
    return value if _is_number(value) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


# --- Regular expressions ----------------------------------------------------------------------------------------------

_INLINE_OPTIONS: Final = re.compile(r"\(\?(\w+)\)")
_ESCAPES: Final = r"\\Q(?P<quoted>.*?)(?:\\E|\Z)|(?P<stray>\\E)|(?P<units>(?:\\u[0-9A-Fa-f]{4})+)|\\."
_TOKEN: Final = re.compile(_ESCAPES + r"|(?P<turn>\[\^?\]?)|.", re.DOTALL)
_EXTENDED_TOKEN: Final = re.compile(_ESCAPES + r"|(?P<turn>\[\^?\]?)|(?P<comment>\s+|#[^\n]*)|.", re.DOTALL)
_CLASS_TOKEN: Final = re.compile(_ESCAPES + r"|\[:\^?\w+:\]|(?P<turn>\])|.", re.DOTALL)


def _searches(pattern: str, options: str) -> ValuesTest:
    body, flags = _flags(pattern, options)
    literal = _literal(body) if flags <= {"s"} else None
    if literal is not None:
        return literal
    translated = _translate(body, extended="x" in flags)
    if inline := "".join(sorted(flags - {"x"})):
        translated = f"(?{inline}){translated}"
    settings = re2.Options()
    settings.log_errors = False
    settings.never_capture = True
    settings.max_mem = REGEX_MEMORY_BYTES
    try:
        expression = re2.compile(translated, settings)
    except re2.error as wrong:
        raise QueryFailed(f"$regex: {wrong.args[0].decode(errors='replace'):.80}") from None
    return _searches_for(expression.search, REGEX_STEPS_MAX // expression.programsize)


def _searches_for(search: Callable[[bytes], object], bytes_max: int) -> ValuesTest:
    def test(values: Sequence[Any]) -> bool:
        left = bytes_max
        for text in _all_texts(values):
            encoded = text.encode()
            left -= len(encoded)
            if left < 0:
                return False
            if search(encoded) is not None:
                return True
        return False

    return test


def _flags(pattern: str, options: str) -> tuple[str, set[str]]:
    """Return the pattern without the options it begins with, and all the options there are."""
    flags = set(options)
    while inline := _INLINE_OPTIONS.match(pattern):
        flags.update(inline[1])
        pattern = pattern[inline.end() :]
    if not flags <= set("imsx"):
        raise QueryFailed("a regular expression has the options i, m, s and x, and no others")
    return pattern, flags


def _literal(pattern: str) -> ValuesTest | None:
    """Return the test for a plain text with at most one anchor, or ``None`` if ``pattern`` is more than that.

    It is what SDKs make of contains, startsWith and endsWith. Needing no expression, it needs no bound on text either.
    """
    tokens = list(_TOKEN.finditer(pattern))
    starts = bool(tokens) and tokens[0][0] == "^"
    ends = bool(tokens) and tokens[-1][0] == "$"
    pieces = [_literal_piece(token) for token in tokens[starts : len(tokens) - ends]]
    if None in pieces or (starts and ends):
        return None
    text = "".join(filter(None, pieces))
    if starts:
        return lambda values: any(found.startswith(text) for found in _all_texts(values))
    if ends:
        return lambda values: any(found.endswith(text) for found in _all_texts(values))
    return lambda values: any(text in found for found in _all_texts(values))


def _literal_piece(token: re.Match[str]) -> str | None:
    if token["quoted"] is not None:
        return token["quoted"]
    if token["stray"]:
        return ""
    if token["units"]:
        return _from_units(token["units"])
    piece = token[0]
    if piece.startswith("\\"):
        return piece[1:] if piece[1:] and not piece[1].isalnum() else None
    return None if piece[0] in ".*+?|()[]{}^$" else piece


def _translate(pattern: str, *, extended: bool) -> str:
    r"""Return ``pattern`` in re2's syntax: \Q...\E and JavaScript's \uXXXX spelt out, what option x ignores left out.

    A stray \E says nothing; the JS SDK's quoting leaves one behind in a text that holds two of them.
    """
    outside = _EXTENDED_TOKEN if extended else _TOKEN
    pieces: list[str] = []
    scanner, place = outside, 0
    while token := scanner.match(pattern, place):
        place = token.end()
        known = token.groupdict()
        if known["quoted"] is not None:
            pieces.append(re2.escape(known["quoted"]))
        elif known["units"]:
            pieces.append(re2.escape(_from_units(known["units"])))
        elif not (known["stray"] or known.get("comment")):
            pieces.append(token[0])
        if known["turn"]:
            scanner = _CLASS_TOKEN if scanner is outside else outside
    return "".join(pieces)


def _from_units(escapes: str) -> str:
    try:
        return bytes.fromhex(escapes.replace(r"\u", "")).decode("utf-16-be")
    except UnicodeDecodeError:
        raise QueryFailed("$regex: half of a surrogate pair") from None


# --- Order ------------------------------------------------------------------------------------------------------------


def _order(key: str) -> tuple[Callable[[Record], Any], bool]:
    descending = key.startswith("-")
    field = _field(key.removeprefix("-"))
    choose = max if descending else min

    def rank(record: Record) -> tuple[Any, ...]:
        candidates = (candidate for value in field.read(record) for candidate in _each(value))
        return choose(map(_rank, islice(candidates, SORT_ELEMENTS_MAX)), default=_NOTHING)

    return rank, descending


def _each(value: Any) -> Sequence[Any]:
    return value if isinstance(value, _ARRAYS) else (value,)


def _rank(value: Any) -> tuple[Any, ...]:
    """Return what sorts a value among values of all types, in MongoDB's order of types."""
    if value is None or value is _MISSING:
        return _NOTHING
    if isinstance(value, bool):
        return (5, value)
    if isinstance(value, (int, float)):
        return (1, value)
    if isinstance(value, str):
        return (2, value)
    if isinstance(value, _ARRAYS):
        return (4,)
    moment = date_millis(value)
    return (3,) if moment is None else (6, moment)


def _shown(name: str) -> str:
    return repr(name if len(name) <= 40 else name[:40] + "...")
