"""The conversation query language: which conversations a ``where`` finds, and in which order.

It is LeanCloud's storage query JSON, that is MongoDB's semantics: a condition on an array holds when it holds for an
element, values compare only with values of their own type, a missing value equals ``null``. Source: wire protocol,
where language.

A condition is compiled once, then asked about many records. A record is the JSON object of a conversation as a query
returns it, members included. What looking at records costs is counted in steps and comes out of the query's ``Budget``,
so the same query on the same records always ends the same way, on any machine. What to do without a condition is the
caller's.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush, heappushpop
from itertools import islice
from operator import ge, gt, le, lt
from typing import Any, Final, Generic, TypeGuard, TypeVar

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
"""Operators, equalities and empty branches in one condition: each of them looks through all of a record."""

OPERANDS_MAX = 1_000
"""Values in all of its lists together; the JS SDK loads conversations by up to 999 ids."""

OBJECTS_MAX = 4
"""Clauses with whole objects or arrays to be equal to: each takes apart whatever stands there."""

REGEXES_MAX = 4
"""Regular expressions in one condition. They are the one clause whose cost the asker can choose."""

REGEX_MEMORY_BYTES = 131_072
"""What one compiled expression may take. re2 keeps the last 128 of them, so they stay below 16 MiB together."""

REGEX_STEPS_MAX = 300_000
"""What one expression may search in a record, in steps (see ``Budget``): 3 ms. More text goes unsearched, rather than
that one long text makes a search through many conversations fail. An expression of 14 instructions never meets it."""

SORT_KEYS_MAX = 4
"""Keys in one order: each of them sorts all that was found once more."""

SORT_ELEMENTS_MAX = 500
"""Elements of an array that count in an order: as many as a conversation may have members."""

SORT_TEXT_MAX = 256
"""Characters of a string that count in an order. All that a query skips is held by what it is sorted by."""

QUERY_STEPS = 20_000_000
"""What a query may cost: 200 ms, a step being some 10 ns."""

ORDINARY_STEPS = 1_000
"""What each record may cost besides: a few clauses on an ordinary one, so that looking at many of them is no reason to
refuse. How many there may be is the application's to say."""

RECORD_STEPS_MAX = 500_000
"""What one record may cost, since nothing else runs meanwhile: 5 ms."""

Record = Mapping[str, Any]
Item = TypeVar("Item")


class Budget:
    """What a query may still cost, in steps."""

    __slots__ = ("_floor", "_left")

    def __init__(self) -> None:
        self._left = QUERY_STEPS
        self._floor = QUERY_STEPS - RECORD_STEPS_MAX

    def begin(self, size_bytes: int) -> None:
        """The next record's turn: what follows may take ``RECORD_STEPS_MAX``, and not more than there is left.

        Args:
            size_bytes: Of the record as JSON, which it took to read it.

        Raises:
            QueryFailed: Nothing is left.
        """
        self._left += ORDINARY_STEPS
        self._floor = max(0, self._left - RECORD_STEPS_MAX)
        self.spend(size_bytes // _READ_BYTES_PER_STEP)

    def spend(self, steps: int) -> None:
        """Take ``steps`` out.

        Raises:
            QueryFailed: There are not so many, for this record or at all.
        """
        self._left -= steps
        if self._left < self._floor:
            raise QueryFailed("too expensive: narrow it by objectId or by m, or ask for less at a time")


Predicate = Callable[[Record, Budget], bool]
Read = Callable[[Record, Budget], Sequence[Any]]
ValuesTest = Callable[[Sequence[Any], Budget], bool]


class Where(Struct, frozen=True):
    """A condition, ready to be asked.

    Attributes:
        is_empty: It says nothing; a query then means the conversations that the asker is in.
    """

    is_empty: bool
    _predicate: Predicate
    _clauses: int
    _ids: tuple[str, ...] | None
    _members: tuple[str, ...]

    def matches(self, record: Record, budget: Budget | None = None) -> bool:
        """Tell whether the condition holds for a conversation.

        Args:
            budget: The query's; ``None``: there is no other record.

        Raises:
            QueryFailed: It is too expensive to tell.
        """
        budget = budget or Budget()
        budget.spend(self._clauses * _CLAUSE_STEPS)
        return self._predicate(record, budget)

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
    compiler = _Compiler()
    predicate = compiler.condition(condition)
    return Where(not condition, predicate, compiler.clauses, _pinned_ids(condition), _pinned_members(condition))


class Best(Generic[Item]):
    """The records of one page of a query, out of all that are offered; the others are let go of at once.

    Values of different types go by MongoDB's order of types, missing ones and ``null`` first; an array counts as its
    least element going up, as its greatest going down. Unlike in MongoDB, all objects are equal, and so are arrays
    inside of arrays. Equal records stay as they came. Without ``sort``: where something was said last comes first, and
    conversations nobody spoke in last, newest first.

    Args:
        sort: Comma list of keys, which may be dotted; a leading ``-`` turns one round.
        skip: How many records come before the page.
        limit: How many are on it at most.

    Raises:
        QueryFailed: There is an empty key, or more keys than ``SORT_KEYS_MAX``.
    """

    def __init__(self, sort: str | None, skip: int, limit: int) -> None:
        keys = (sort or "-lm,-createdAt").split(",")
        if len(keys) > SORT_KEYS_MAX:
            raise QueryFailed(f"more than {SORT_KEYS_MAX} keys to sort by")
        self._ranks: Final = [_rank_by(key.strip()) for key in keys]
        self._skip: Final = skip
        self._room: Final = skip + limit
        # The last of those kept is on top; what is offered later loses against its equals. Items are never compared.
        self._kept: list[tuple[list[Any], int, Item]] = []
        self._offered = 0

    def offer(self, record: Record, item: Item, budget: Budget | None = None) -> None:
        """Consider ``record``, of which ``item`` is what to remember.

        Args:
            budget: The query's; ``None``: there is no other record.

        Raises:
            QueryFailed: It is too expensive to tell where it belongs.
        """
        budget = budget or Budget()
        self._offered += 1
        entry = ([rank(record, budget) for rank in self._ranks], -self._offered, item)
        if len(self._kept) < self._room:
            heappush(self._kept, entry)
        else:
            heappushpop(self._kept, entry)

    def take_last(self) -> Iterator[Item]:
        """Yield what is on the page, the last of it first. Each goes as it is yielded."""
        while len(self._kept) > self._skip:
            yield heappop(self._kept)[2]


_MISSING: Final = object()
_ARRAYS: Final = (list, tuple)
_COMPOUNDS: Final = (dict, list, tuple)
_FEW: Final = 16
_OBJECTS: Final = frozenset({dict})
_TEXTS: Final = frozenset({str})
_NUMBERS: Final = frozenset({int, float})
_PLAIN: Final = _TEXTS | _NUMBERS | {type(None)}
_NOTHING: Final = (0,)
_DATE_COLUMNS: Final = frozenset({"createdAt", "updatedAt", "lm"})
_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {"$lt": lt, "$lte": le, "$gt": gt, "$gte": ge}

# Prices in steps, by measurement. An element is one of an array, a node is a value inside of an object or an array.
_READ_BYTES_PER_STEP: Final = 2
_CLAUSE_STEPS: Final = 60
_IN_STEPS: Final = 3  # an element that one string is compared with
_KIND_STEPS: Final = 7  # an element of which only the type is looked at
_REACH_STEPS: Final = 20  # an element that a dotted key leads through
_VALUE_STEPS: Final = 30
_NODE_STEPS: Final = 50
_COMPOUND_STEPS: Final = 120
_DATE_STEPS: Final = 280
_FOUND_TEXT_STEPS: Final = 12
_RANK_STEPS: Final = 100
_TEXT_BYTES_PER_STEP: Final = 4
_REGEX_STEPS: Final = 100
_REGEX_BYTES_PER_STEP: Final = 3  # for one instruction


class _Field(Struct, frozen=True):
    """What a key of a condition stands for: where its values are found, and whether they are the server's own dates."""

    key: str
    read: Read
    dated: bool

    def where(self, test: ValuesTest) -> Predicate:
        read = self.read
        return lambda record, budget: test(read(record, budget), budget)


class _Compiler:
    """Compiles one condition, and counts what it costs on the way."""

    def __init__(self) -> None:
        self.clauses = self._operands = self._objects = self._regexes = 0

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
        if not (isinstance(value, str) or _is_number(value) or date_millis(value) is not None):
            raise QueryFailed(f"{operator} on {_shown(field.key)} needs a number, a string or a date")
        return field.where(_compares(_COMPARISONS[operator], value))

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
        self.clauses += more
        if self.clauses > CLAUSES_MAX:
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
        return _Field(key, lambda record, budget: (_dated(record.get(key, _MISSING)),), dated=True)
    if len(path) == 1:
        return _Field(key, lambda record, budget: (record.get(key, _MISSING),), dated=False)
    return _Field(key, lambda record, budget: _follow(record, path, budget), dated=False)


def _dated(value: Any) -> Any:
    """Read a bare string as the date it is: createdAt and updatedAt are written so."""
    return {"__type": "Date", "iso": value} if isinstance(value, str) else value


def _follow(record: Record, path: Sequence[str], budget: Budget) -> list[Any]:
    """Return what ``path`` leads to, whole arrays and ``_MISSING`` among it.

    In an array a number is an index and any other name is looked for in each element. MongoDB tries a number as a name
    as well; with both, the ways through nested arrays would double with every part.
    """
    values: list[Any] = [record.get(path[0], _MISSING)]
    for name in path[1:]:
        reached: list[Any] = []
        budget.spend(_REACH_STEPS * len(values))
        for value in values:
            if isinstance(value, dict):
                reached.append(value.get(name, _MISSING))
            elif not isinstance(value, _ARRAYS):
                reached.append(_MISSING)
            elif not (name.isascii() and name.isdigit()):
                budget.spend(_REACH_STEPS * len(value))
                reached.extend(inner.get(name, _MISSING) for inner in value if isinstance(inner, dict))
            elif len(name) < 7 and int(name) < len(value):
                reached.append(value[int(name)])
        values = reached
    return values


# --- Tests of the values of a key -------------------------------------------------------------------------------------


def _all_of(predicates: list[Predicate]) -> Predicate:
    if len(predicates) == 1:
        return predicates[0]
    return lambda record, budget: all(predicate(record, budget) for predicate in predicates)


def _any_of(predicates: list[Predicate]) -> Predicate:
    return lambda record, budget: any(predicate(record, budget) for predicate in predicates)


def _not(predicate: Predicate) -> Predicate:
    return lambda record, budget: not predicate(record, budget)


def _exists(values: Sequence[Any], budget: Budget) -> bool:
    budget.spend(_KIND_STEPS * len(values))
    return any(value is not _MISSING for value in values)


def _is_missing(values: Sequence[Any], budget: Budget) -> bool:
    return not _exists(values, budget)


def _has_size(size: int) -> ValuesTest:
    def test(values: Sequence[Any], budget: Budget) -> bool:
        budget.spend(_REACH_STEPS * len(values))
        return any(isinstance(value, _ARRAYS) and len(value) == size for value in values)

    return test


def _equals_text(text: str) -> ValuesTest:
    def test(values: Sequence[Any], budget: Budget) -> bool:
        for value in values:
            budget.spend(_IN_STEPS * (len(value) if isinstance(value, _ARRAYS) else 1))
            if value == text or (isinstance(value, _ARRAYS) and text in value):
                return True
        return False

    return test


def _equals_any(operands: list[Any]) -> ValuesTest:
    kinds = _kinds(operands)
    if _are_plain(operands):
        plain = frozenset(operands)
        return lambda values, budget: not plain.isdisjoint(_of_kinds(values, kinds, budget))
    wanted, compound = frozenset(map(comparable, operands)), any(map(_is_compound, operands))
    return lambda values, budget: any(found in wanted for found in _comparables(values, kinds, compound, budget))


def _contains_all(operands: list[Any]) -> ValuesTest:
    if not operands:
        return lambda values, budget: False
    kinds = _kinds(operands)
    # Not by issubset: it may make a set of the record's values, in which no more than the operands is of use.
    if _are_plain(operands):
        plain = frozenset(operands)
        return lambda values, budget: plain == plain.intersection(_of_kinds(values, kinds, budget))
    wanted, compound = frozenset(map(comparable, operands)), any(map(_is_compound, operands))
    return lambda values, budget: wanted == wanted.intersection(_comparables(values, kinds, compound, budget))


def _kinds(operands: list[Any]) -> frozenset[type]:
    """Return the types of what can equal an operand."""
    kinds = set(map(type, operands))
    for alike in (_NUMBERS, frozenset(_ARRAYS)):
        if kinds & alike:
            kinds |= alike
    return frozenset(kinds)


def _are_plain(operands: list[Any]) -> bool:
    """Tell whether values can be looked up as they are, which is a way through an array many times as short.

    Of a few, that is true of all numbers; of many, only of those that cannot be made to hash alike.
    """
    if len(operands) > _FEW:
        return all(type(comparable(operand)) in _PLAIN for operand in operands)
    return all(type(operand) in _PLAIN for operand in operands)


def _is_compound(value: Any) -> bool:
    return isinstance(value, _COMPOUNDS) and date_millis(value) is None


def _of_kinds(values: Sequence[Any], kinds: frozenset[type], budget: Budget) -> Iterator[Any]:
    """Yield those values, and elements of arrays among them, that are of ``kinds``."""
    for value in values:
        found = None if value is _MISSING else value
        if type(found) in kinds:
            yield found
        budget.spend(_KIND_STEPS)
        if isinstance(found, _ARRAYS):
            budget.spend(_KIND_STEPS * len(found))
            yield from [element for element in found if type(element) in kinds]


def _comparables(values: Sequence[Any], kinds: frozenset[type], compound: bool, budget: Budget) -> Iterator[Any]:
    """Yield what a condition on ``values`` may equal; objects and whole arrays only if ``compound`` asks for them."""
    for value in _of_kinds(values, kinds, budget):
        if compound:
            _spend_nodes(value, budget)
        budget.spend(_price(value))
        if compound or not _is_compound(value):
            yield comparable(value)


def _spend_nodes(value: Any, budget: Budget) -> None:
    """Pay for taking apart what is inside of ``value``."""
    if isinstance(value, _COMPOUNDS):
        budget.spend(_COMPOUND_STEPS + _NODE_STEPS * len(value))
        for inner in value.values() if isinstance(value, dict) else value:
            if isinstance(inner, _COMPOUNDS):
                budget.spend(_price(inner))
                _spend_nodes(inner, budget)


def _price(value: Any) -> int:
    return _DATE_STEPS if isinstance(value, dict) and "__type" in value else _VALUE_STEPS


def _compares(holds: Callable[[Any, Any], bool], bound: Any) -> ValuesTest:
    if (moment := date_millis(bound)) is not None:
        return lambda values, budget: any(holds(found, moment) for found in _moments(values, budget))
    kinds = _NUMBERS if _is_number(bound) else _TEXTS

    def test(values: Sequence[Any], budget: Budget) -> bool:
        for value in _of_kinds(values, kinds, budget):
            budget.spend(_KIND_STEPS)
            if holds(value, bound):
                return True
        return False

    return test


def _moments(values: Sequence[Any], budget: Budget) -> Iterator[int]:
    for value in _of_kinds(values, _OBJECTS, budget):
        budget.spend(_price(value))
        if (moment := date_millis(value)) is not None:
            yield moment


def _all_texts(values: Sequence[Any], budget: Budget) -> Iterator[str]:
    return _of_kinds(values, _TEXTS, budget)


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
    return _searches_for(expression.search, expression.programsize)


def _searches_for(search: Callable[[bytes], object], size: int) -> ValuesTest:
    def test(values: Sequence[Any], budget: Budget) -> bool:
        left = REGEX_STEPS_MAX
        for text in _all_texts(values, budget):
            encoded = text.encode()
            steps = _REGEX_STEPS + len(encoded) * size // _REGEX_BYTES_PER_STEP
            left -= steps
            if left < 0:
                return False
            budget.spend(steps)
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
        return _any_text(lambda found: found.startswith(text))
    if ends:
        return _any_text(lambda found: found.endswith(text))
    return _any_text(lambda found: text in found)


def _any_text(fits: Callable[[str], bool]) -> ValuesTest:
    def test(values: Sequence[Any], budget: Budget) -> bool:
        for found in _all_texts(values, budget):
            budget.spend(_FOUND_TEXT_STEPS + len(found) // _TEXT_BYTES_PER_STEP)
            if fits(found):
                return True
        return False

    return test


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


class _Reversed(str):
    """A string that sorts the other way round."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)


def _rank_by(key: str) -> Callable[[Record, Budget], tuple[Any, ...]]:
    """Return what ranks a record by a key: of two ranks the greater goes first."""
    descending = key.startswith("-")
    field = _field(key.removeprefix("-"))
    choose = max if descending else min

    def rank(record: Record, budget: Budget) -> tuple[Any, ...]:
        candidates = (candidate for value in field.read(record, budget) for candidate in _each(value))
        ranks = (_rank(candidate, budget) for candidate in islice(candidates, SORT_ELEMENTS_MAX))
        chosen = choose(ranks, default=_NOTHING)
        return chosen if descending else tuple(map(_turned, chosen))

    return rank


def _turned(part: Any) -> Any:
    return _Reversed(part) if isinstance(part, str) else -part


def _each(value: Any) -> Sequence[Any]:
    return value if isinstance(value, _ARRAYS) else (value,)


def _rank(value: Any, budget: Budget) -> tuple[Any, ...]:
    """Return what sorts a value among values of all types, in MongoDB's order of types."""
    budget.spend(_RANK_STEPS)
    if value is None or value is _MISSING:
        return _NOTHING
    if isinstance(value, bool):
        return (5, value)
    if isinstance(value, (int, float)):
        return (1, value)
    if isinstance(value, str):
        return (2, value[:SORT_TEXT_MAX])
    if isinstance(value, _ARRAYS):
        return (4,)
    budget.spend(_price(value))
    moment = date_millis(value)
    return (3,) if moment is None else (6, moment)


def _shown(name: str) -> str:
    return repr(name if len(name) <= 40 else name[:40] + "...")
