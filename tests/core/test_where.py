import contextlib
import string
import weakref
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastim.core.errors import QueryFailed
from fastim.core.where import (
    CLAUSES_MAX,
    DEPTH_MAX,
    OBJECTS_MAX,
    OPERANDS_MAX,
    REGEX_STEPS_MAX,
    REGEXES_MAX,
    SORT_ELEMENTS_MAX,
    SORT_KEYS_MAX,
    SORT_TEXT_MAX,
    TEXT_LENGTH_MAX,
    Best,
    Budget,
    Where,
    compile_where,
)

MARCH = {"__type": "Date", "iso": "2026-03-01T00:00:00.000Z"}
APRIL = {"__type": "Date", "iso": "2026-04-01T00:00:00.000Z"}
RECORD: dict[str, Any] = {
    "objectId": "5c8f3a1e",
    "name": "Tom & Jerry",
    "c": "Tom",
    "m": ["Tom", "Jerry", "Mary"],
    "attr": {"type": "private", "age": 18, "tags": ["x", "y"], "seats": [{"row": 1}, {"row": 5, "taken": True}]},
    "createdAt": "2026-01-02T03:04:05.678Z",
    "updatedAt": "2026-02-02T03:04:05.678Z",
    "lm": {"__type": "Date", "iso": "2026-02-03T03:04:05.678Z"},
    "topic": None,
    "pinned": True,
}


def compiled(condition: Any) -> Where:
    return compile_where(msgspec.json.encode(condition))


def finds(condition: Any, record: dict[str, Any] = RECORD) -> bool:
    return compiled(condition).matches(record)


# --- What the official SDKs send --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "other"),
    [
        pytest.param(r'{"m":{"$all":["Tom","Jerry"]}}', {"m": ["Tom"]}, id="containsMembers"),
        pytest.param(r'{"m":{"$size":3,"$all":["Tom","Jerry","Mary"]}}', {"m": ["Tom", "Jerry"]}, id="withMembers"),
        pytest.param(r'{"attr.type":"private"}', {"attr": {"type": "public"}}, id="equalTo"),
        pytest.param(r'{"attr.age":{"$lt":19}}', {"attr": {"age": 19}}, id="lessThan"),
        pytest.param(r'{"attr.age":{"$lte":18}}', {"attr": {"age": 19}}, id="lessThanOrEqualTo"),
        pytest.param(r'{"attr.age":{"$gt":17}}', {"attr": {"age": 17}}, id="greaterThan"),
        pytest.param(r'{"attr.age":{"$gte":18}}', {"attr": {"age": 17}}, id="greaterThanOrEqualTo"),
        pytest.param(r'{"attr.age":{"$gt":17,"$lt":19}}', {"attr": {"age": 20}}, id="greaterThan and lessThan"),
        pytest.param(r'{"attr.age":{"$ne":17}}', {"attr": {"age": 17}}, id="notEqualTo"),
        pytest.param(r'{"attr.type":{"$exists":true}}', {"attr": {}}, id="exists"),
        pytest.param(r'{"attr.topic":{"$exists":false}}', {"attr": {"topic": None}}, id="doesNotExist"),
        pytest.param(r'{"objectId":{"$in":["a","5c8f3a1e"]}}', {"objectId": "b"}, id="containedIn"),
        pytest.param(r'{"name":{"$nin":["a","b"]}}', {"name": "b"}, id="notContainsIn"),
        pytest.param(r'{"attr.tags":{"$all":["x","y"]}}', {"attr": {"tags": ["x"]}}, id="containsAll"),
        pytest.param(r'{"name":{"$regex":"\\Q & J\\E"}}', {"name": "Tom and Jerry"}, id="contains"),
        pytest.param(r'{"name":{"$regex":"^\\QTom &\\E"}}', {"name": "to Tom & Jerry"}, id="startsWith"),
        pytest.param(r'{"name":{"$regex":"\\QJerry\\E$"}}', {"name": "Jerry!"}, id="endsWith"),
        pytest.param(r'{"name":{"$regex":"T.m"}}', {"name": "Tm"}, id="matches"),
        pytest.param(r'{"name":{"$regex":"^tom\\b.*Y$","$options":"im"}}', {"name": "a tom y"}, id="matches /…/im"),
        pytest.param(r'{"m":{"$size":3}}', {"m": ["Tom"]}, id="sizeEqualTo"),
        pytest.param(r'{"$and":[{"m":"Tom"},{"attr.age":{"$gt":1}}]}', {"m": ["Jerry"]}, id="and"),
        pytest.param(r'{"$or":[{"name":"a"},{"name":{"$regex":"\\Q&\\E"}}],"pinned":true}', {"name": "b"}, id="or"),
        pytest.param(
            r'{"createdAt":{"__type":"Date","iso":"2026-01-02T03:04:05.678Z"}}',
            {"createdAt": "2026-01-02T03:04:05.679Z"},
            id="equalTo a Date",
        ),
        pytest.param(
            r'{"lm":{"$gt":{"__type":"Date","iso":"2026-02-03T00:00:00.000Z"}}}',
            {"lm": {"__type": "Date", "iso": "2026-02-02T23:59:59.999Z"}},
            id="greaterThan a Date",
        ),
    ],
)
def test_every_query_method_of_the_js_sdk_finds_what_it_names_and_nothing_else(
    where: str, other: dict[str, Any]
) -> None:
    """The texts are those of ConversationQuery in npm leancloud-realtime 4.3.1 and 5.0.0-rc.8."""
    condition = compile_where(where)
    assert condition.matches(RECORD)
    assert not condition.matches({**RECORD, **other})


def test_the_js_sdk_quotes_a_text_that_ends_a_quotation() -> None:
    where = compile_where(r'{"name":{"$regex":"\\Qa.b\\E\\\\E\\Qc\\Ed\\E"}}')  # contains("name", r"a.b\Ec\Ed")
    assert where.matches({"name": r"a.b\Ecd"})
    assert not where.matches({"name": r"axb\Ecd"})


def test_a_unicode_escape_of_a_javascript_expression_is_understood() -> None:
    where = compile_where(r'{"name":{"$regex":"^[\\u4e00-\\u9fa5]+\\/\\ud83d\\ude00$"}}')
    assert where.matches({"name": "聊天室/😀"})
    assert not where.matches({"name": "chat/😀"})


@pytest.mark.parametrize("text", [None, "", b"", "{}", b" {} "])
def test_a_query_without_a_condition_says_so_and_matches_anything(text: str | bytes | None) -> None:
    where = compile_where(text)
    assert where.is_empty
    assert where.matches(RECORD)
    assert where.ids() is None
    assert where.members() == ()


# --- Meaning of the operators -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "value", "expected"),
    [
        ("a", ["a", "b"], True),
        ("a", [["a"]], False),
        (["a", "b"], ["a", "b"], True),
        (["b", "a"], ["a", "b"], False),
        (["a"], [["a"], "b"], True),
        ({"x": 1, "y": [2]}, {"y": [2.0], "x": 1}, True),
        ({"x": 1}, {"x": 1, "y": 2}, False),
        ({"x": 1}, [{"x": 1}, 3], True),
        ({}, {}, True),
        ({}, {"x": 1}, False),
        (1, True, False),
        (True, 1, False),
        (1, 1.0, True),
        (9007199254740993, 9007199254740992, False),
        (None, [None], True),
        (None, 0, False),
        ("1", 1, False),
        ({"$ne": "a"}, ["a", "b"], False),
        ({"$ne": "c"}, ["a", "b"], True),
        ({"$ne": None}, None, False),
        ({"$in": [None, "x"]}, None, True),
        ({"$in": []}, "x", False),
        ({"$in": ["x", ["y"]]}, ["y"], True),
        ({"$in": [{"x": 1}]}, {"x": 1}, True),
        ({"$nin": ["x"]}, ["x", "y"], False),
        ({"$nin": []}, "x", True),
        ({"$all": []}, [], False),
        ({"$all": ["x"]}, "x", True),
        ({"$all": [1, 2]}, [2, True, 1.0], True),
        ({"$all": [1, True]}, [1], False),
        ({"$all": [["x"]]}, [["x"], "y"], True),
        ({"$size": 0}, [], True),
        ({"$size": 2.0}, ["a", "b"], True),
        ({"$size": 1}, "a", False),
        ({"$size": 1}, [["a", "b"]], True),
        ({"$lt": 5}, "4", False),
        ({"$lt": 5}, False, False),
        ({"$lt": 5}, None, False),
        ({"$lt": 5}, [9, 4], True),
        ({"$lt": 5}, [[4]], False),
        ({"$gte": "b"}, "b", True),
        ({"$gt": "b"}, "中", True),
        ({"$gt": "1"}, 2, False),
        ({"$gt": 3, "$lt": 4}, [1, 9], True),
        ({"$gt": MARCH}, "2026-04-01T00:00:00.000Z", False),
        ({"$gt": MARCH}, {"__type": "Date", "iso": "2026-04-01T00:00:00.000Z"}, True),
        (MARCH, {"__type": "Date", "iso": "2026-03-01T08:00:00+08:00"}, True),
        ({"$in": [MARCH]}, [{"__type": "Date", "iso": "2026-03-01T00:00:00Z"}], True),
        ({"__type": "Pointer", "className": "A", "objectId": "1"}, {"__type": "Pointer", "className": "A"}, False),
        (
            {"__type": "GeoPoint", "latitude": 1, "longitude": 2},
            {"__type": "GeoPoint", "latitude": 1, "longitude": 2},
            True,
        ),
        ({"$regex": "b.d"}, ["abc", "abd bad"], True),
        ({"$regex": "1"}, 1, False),
        ({"$not": {"$gt": 3}}, 3, True),
        ({"$not": {"$gt": 3}}, "x", True),
        ({"$not": {"$regex": "^a", "$options": "i"}}, "Abc", False),
    ],
)
def test_an_operator_on_a_value(condition: Any, value: Any, expected: bool) -> None:
    assert finds({"v": condition}, {"v": value}) is expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (None, True),
        ({"$exists": False}, True),
        ({"$exists": True}, False),
        ({"$ne": 1}, True),
        ({"$ne": None}, False),
        ({"$in": [None]}, True),
        ({"$nin": [1]}, True),
        ({"$all": [None]}, True),
        ({"$lt": 5}, False),
        ({"$size": 0}, False),
        ({"$regex": ""}, False),
    ],
)
def test_a_missing_value_equals_null_and_is_no_more_than_that(condition: Any, expected: bool) -> None:
    assert finds({"nothing": condition}) is expected


def test_a_null_exists() -> None:
    assert finds({"topic": {"$exists": True}})


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"attr.type": "private"}, True),
        ({"attr.tags": "y"}, True),
        ({"attr.tags.1": "y"}, True),
        ({"attr.tags.0": "y"}, False),
        ({"attr.tags.2": {"$exists": False}}, True),
        ({"attr.tags.99999999999999999999": {"$exists": True}}, False),
        ({"attr.seats.row": 5}, True),
        ({"attr.seats.row": {"$all": [1, 5]}}, True),
        ({"attr.seats.1.taken": True}, True),
        ({"attr.seats.0.taken": {"$exists": False}}, True),
        ({"attr.seats.taken": None}, True),
        ({"attr.tags.row": {"$exists": True}}, False),
        ({"attr.type.deeper": None}, True),
        ({"name.deeper": {"$exists": False}}, True),
    ],
)
def test_a_dotted_key_leads_into_objects_and_arrays(condition: Any, expected: bool) -> None:
    assert finds(condition) is expected


@pytest.mark.parametrize("column", ["createdAt", "updatedAt", "lm"])
def test_the_servers_own_times_are_dates_however_they_are_written(column: str) -> None:
    for operand in (MARCH, MARCH["iso"]):
        assert finds({column: {"$lt": operand}})
        assert not finds({column: {"$gte": operand}})
        assert finds({column: {"$nin": [operand]}})
    same = RECORD[column] if isinstance(RECORD[column], str) else RECORD[column]["iso"]
    assert finds({column: {"__type": "Date", "iso": same.replace("Z", "+00:00")}})
    assert not finds({column: {"$lt": "yesterday"}})


def test_an_expression_reads_a_time_as_it_is_written() -> None:
    assert finds({"createdAt": {"$regex": "^2026-01"}})


# --- Regular expressions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "options", "text", "expected"),
    [
        ("TOM", "i", "tom", True),
        ("^b", "", "a\nb", False),
        ("^b", "m", "a\nb", True),
        ("a.b", "", "a\nb", False),
        ("a.b", "s", "a\nb", True),
        ("a b # c\n d", "x", "abd", True),
        (r"a\ [ #]b", "x", "a #b", True),
        (r"a\ [ #]b", "x", "a[#]b", False),
        (r"\Qa b\E c", "x", "a bc", True),
        ("(?i)TOM", "", "tom", True),
        ("(?xi) T O M", "", "tom", True),
        ("(?i:T)om", "", "tom", True),
        (r"\Qa.b", "", "a.b!", True),
        (r"\Qa.b", "", "axb!", False),
        (r"x*\Q(\E+", "", "((", True),
        (r"[\Q]^\E]", "", "^", True),
        (r"[[:digit:]\]]+$", "", "7]", True),
        (r"[]a]", "", "]", True),
        (r"a\.b\/c", "", "a.b/c", True),
        (r"\E", "", "x", True),
        ("", "", "", True),
        ("^$", "", "", True),
        ("^$", "", "x", False),
        ("^", "", "x", True),
        ("$", "", "x", True),
        (r"\$", "", "x", False),
        ("a$", "", "ba", True),
        ("a$", "", "a\n", False),
        ("中+", "", "中中", True),
        ("É", "i", "é", True),
    ],
)
def test_an_expression_and_its_options(pattern: str, options: str, text: str, expected: bool) -> None:
    assert finds({"name": {"$regex": pattern, "$options": options}}, {"name": text}) is expected


@given(part=st.text(max_size=8), before=st.text(max_size=4), after=st.text(max_size=4), other=st.text(max_size=12))
@example(part="\\E", before="", after="", other="E")
@example(part="$", before="", after="", other="")
def test_quoted_text_is_found_where_it_is_and_nowhere_else(part: str, before: str, after: str, other: str) -> None:
    quoted = "\\Q" + part.replace("\\E", "\\E\\\\E\\Q") + "\\E"
    for text in (before + part + after, other):
        assert finds({"name": {"$regex": quoted}}, {"name": text}) is (part in text)
        assert finds({"name": {"$regex": "^" + quoted}}, {"name": text}) is text.startswith(part)
        assert finds({"name": {"$regex": quoted + "$"}}, {"name": text}) is text.endswith(part)
        assert finds({"name": {"$regex": f"^{quoted}$"}}, {"name": text}) is (part == text)
        assert finds({"name": {"$regex": f"(?:{quoted})"}}, {"name": text}) is (part in text)


def test_a_costly_expression_leaves_long_text_unsearched_and_a_plain_one_does_not() -> None:
    long = "-" * REGEX_STEPS_MAX + "a"
    assert not finds({"name": {"$regex": "[a-c]"}}, {"name": long})
    assert not finds({"name": {"$regex": "[a-c]"}}, {"name": ["-" * (REGEX_STEPS_MAX // 2)] * 2 + ["a"]})
    assert finds({"name": {"$regex": "[a-c]"}}, {"name": long[-100_000:]})
    assert finds({"name": {"$regex": "a"}}, {"name": long})


# --- What a condition pins --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ({"objectId": "a"}, ("a",)),
        ({"objectId": {"$in": ["b", "a", "b"]}}, ("b", "a")),
        ({"objectId": {"$in": []}}, ()),
        ({"objectId": None}, ()),
        ({"objectId": {"$in": ["a", 5], "$ne": "b"}, "m": "Tom"}, ("a",)),
        ({"$and": [{"m": "Tom"}, {"$and": [{"objectId": "a"}]}]}, ("a",)),
        ({"objectId": {"$in": ["a", "b"]}, "$and": [{"objectId": {"$in": ["b", "c"]}}]}, ("b",)),
        ({"objectId": {"$nin": ["a"]}}, None),
        ({"objectId": {"$not": {"$in": ["a"]}}}, None),
        ({"$or": [{"objectId": "a"}, {"objectId": "b"}]}, None),
        ({"attr.objectId": "a"}, None),
        ({"name": "a"}, None),
    ],
)
def test_a_condition_on_the_id_names_the_only_candidates(condition: Any, ids: tuple[str, ...] | None) -> None:
    assert compiled(condition).ids() == ids


@pytest.mark.parametrize(
    ("condition", "members"),
    [
        ({"m": "Tom"}, ("Tom",)),
        ({"m": ["Tom", "Jerry"]}, ("Tom", "Jerry")),
        ({"m": {"$all": ["Tom", "Jerry"], "$size": 2}}, ("Tom", "Jerry")),
        ({"m": {"$in": ["Tom"]}}, ("Tom",)),
        ({"m": {"$in": ["Tom", "Jerry"]}}, ()),
        ({"m": "Tom", "$and": [{"m": "Jerry"}, {"m": "Tom"}]}, ("Tom", "Jerry")),
        ({"$or": [{"m": "Tom"}]}, ()),
        ({"m": {"$ne": "Tom"}}, ()),
        ({"m": {"$not": {"$all": ["Tom"]}}}, ()),
        ({"m": 5}, ()),
        ({"c": "Tom"}, ()),
    ],
)
def test_a_condition_on_members_names_who_is_in_every_match(condition: Any, members: tuple[str, ...]) -> None:
    assert compiled(condition).members() == members


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        " ",
        "null",
        "[]",
        '"a"',
        "1",
        '{"a":1',
        '{"a":NaN}',
        '{"a":1e999}',
        '{"a":"\\ud800"}',
        "\ud800",
        b'{"a":"\xff"}',
        "[" * 10_000,
        '{"":1}',
        '{"a.":1}',
        '{"a..b":1}',
        '{"a.$b":1}',
        '{"$nor":[{"a":1}]}',
        '{"$where":"1"}',
        '{"a":{"$near":1}}',
        '{"a":{"$gt":1,"b":2}}',
        '{"a":{"$lt":null}}',
        '{"a":{"$lt":true}}',
        '{"a":{"$lt":[1]}}',
        '{"a":{"$lt":{"b":1}}}',
        '{"a":{"$lt":{"__type":"Date","iso":"soon"}}}',
        '{"a":{"__type":"Date","iso":null}}',
        '{"a":{"__type":"Date"}}',
        '{"a":{"$in":"x"}}',
        '{"a":{"$in":[{"$gt":1}]}}',
        '{"a":{"b":{"$gt":1}}}',
        '{"a":[{"$gt":1}]}',
        '{"a":{"$nin":null}}',
        '{"a":{"$all":{}}}',
        '{"a":{"$exists":1}}',
        '{"a":{"$size":-1}}',
        '{"a":{"$size":1.5}}',
        '{"a":{"$size":true}}',
        '{"a":{"$size":"1"}}',
        '{"a":{"$not":1}}',
        '{"a":{"$not":{}}}',
        '{"$and":[]}',
        '{"$and":{}}',
        '{"$or":[1]}',
        '{"$or":[{"$and":[]}]}',
        '{"a":{"$options":"i"}}',
        '{"a":{"$regex":1}}',
        '{"a":{"$regex":"a","$options":1}}',
        '{"a":{"$regex":"a","$options":"g"}}',
        '{"a":{"$regex":"("}}',
        '{"a":{"$regex":"["}}',
        '{"a":{"$regex":"a\\\\"}}',
        '{"a":{"$regex":"(?=a)"}}',
        '{"a":{"$regex":"(a)\\\\1"}}',
        '{"a":{"$regex":"(?g)a"}}',
        '{"a":{"$regex":"\\\\ud800"}}',
        '{"a":{"$regex":"(\\\\pL?){300}"}}',
    ],
)
def test_a_malformed_condition_is_refused(text: str | bytes) -> None:
    with pytest.raises(QueryFailed):
        compile_where(text)


def nested(levels: int) -> str:
    return '{"$and":[' * levels + '{"a":1}' + "]}" * levels


@pytest.mark.parametrize(
    ("within", "beyond"),
    [
        pytest.param(
            '{"a":"' + "x" * (TEXT_LENGTH_MAX - 8) + '"}', '{"a":"' + "x" * (TEXT_LENGTH_MAX - 7) + '"}', id="length"
        ),
        pytest.param(nested(DEPTH_MAX // 2 - 1), nested(DEPTH_MAX // 2), id="depth"),
        pytest.param('{"' + "a." * (DEPTH_MAX - 1) + 'a":1}', '{"' + "a." * DEPTH_MAX + 'a":1}', id="parts of a key"),
        pytest.param(
            msgspec.json.encode({f"k{i}": {"$gt": 1} for i in range(CLAUSES_MAX)}),
            msgspec.json.encode({f"k{i}": 1 for i in range(CLAUSES_MAX + 1)}),
            id="clauses",
        ),
        pytest.param(
            msgspec.json.encode({"$or": [{}] * CLAUSES_MAX}),
            msgspec.json.encode({"$or": [{}] * (CLAUSES_MAX + 1)}),
            id="branches",
        ),
        pytest.param(
            msgspec.json.encode({"a": {"$in": [1] * OPERANDS_MAX}}),
            msgspec.json.encode({"a": {"$in": [1] * OPERANDS_MAX}, "b": {"$nin": [1]}}),
            id="operands",
        ),
        pytest.param(
            msgspec.json.encode({"$and": [{"a": {"$regex": "[a]"}}] * REGEXES_MAX}),
            msgspec.json.encode({"$and": [{"a": {"$regex": "[a]"}}] * (REGEXES_MAX + 1)}),
            id="expressions",
        ),
        pytest.param(
            msgspec.json.encode({"$and": [{"a": {"x": 1}}] * OBJECTS_MAX + [{"a": MARCH}]}),
            msgspec.json.encode({"$and": [{"a": {"$in": [1, ["x"]]}}] * (OBJECTS_MAX + 1)}),
            id="objects",
        ),
    ],
)
def test_a_condition_that_asks_too_much_is_refused(within: str | bytes, beyond: str | bytes) -> None:
    assert isinstance(compile_where(within).matches(RECORD), bool)
    with pytest.raises(QueryFailed):
        compile_where(beyond)


# --- What it may cost -------------------------------------------------------------------------------------------------

LONG_COLUMNS = {
    "numbers": [1] * 32_000,
    "fractions": [0.5] * 16_000,
    "large numbers": [2**70] * 2_900,
    "texts": ["ab"] * 13_000,
    "empty texts": [""] * 21_000,
    "booleans": [False] * 10_900,
    "nulls": [None] * 13_000,
    "arrays": [[]] * 21_000,
    "objects": [{}] * 21_000,
    "dates": [MARCH] * 1_300,
    "one text": "ab" * 32_000,
}
"""One for each way to fill the 64 KiB that the columns of a conversation may take."""


@pytest.mark.parametrize("column", sorted(LONG_COLUMNS.keys() - {"one text"}))
def test_many_clauses_on_a_long_column_are_refused(column: str) -> None:
    clauses: list[dict[str, Any]] = [{"attr.a": {"$ne": {"x": number}}} for number in range(OBJECTS_MAX)]
    clauses += [{"attr.a": {"$nin": [number, 0.25, True, "x", APRIL]}} for number in range(2, 22)]
    clauses += [{"attr.a": {"$not": {"$regex": "[x-z]+[yz]"}}}] * REGEXES_MAX
    record = {"attr": {"a": LONG_COLUMNS[column]}}
    where = compiled({"$and": clauses})
    with pytest.raises(QueryFailed, match="too expensive"):
        where.matches(record)


@pytest.mark.parametrize("column", LONG_COLUMNS)
@pytest.mark.parametrize(
    "condition",
    [
        "y",
        7,
        0.25,
        {"$ne": 7},
        {"$in": [7, "y"]},
        {"$nin": ["x", "y"]},
        {"$all": ["x", 7]},
        {"$gt": 7},
        {"$lt": "a"},
        {"$exists": False},
        {"$regex": "x"},
        {"$regex": "[x-z]"},
    ],
)
def test_nobody_can_make_everybody_elses_query_fail_with_a_long_column(condition: Any, column: str) -> None:
    assert finds({"attr.a": condition}, {"attr": {"a": LONG_COLUMNS[column]}}) in (True, False)


def test_what_a_query_may_cost_is_shared_by_all_its_records() -> None:
    where, record, budget = compiled({"attr.a": {"$nin": [7]}}), {"attr": {"a": [1] * 32_000}}, Budget()
    looked_at = 0

    def look_at_many() -> None:
        nonlocal looked_at
        for _ in range(1_000):
            budget.begin(0)
            assert where.matches(record, budget)
            looked_at += 1

    with pytest.raises(QueryFailed, match="too expensive"):
        look_at_many()
    assert looked_at > 50


def test_so_is_what_it_takes_to_read_them() -> None:
    budget = Budget()

    def read_many() -> None:
        for _ in range(5_000):
            budget.begin(65_536)

    with pytest.raises(QueryFailed, match="too expensive"):
        read_many()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("condition", "sort"),
    [
        ({"name": {"$regex": "^Tom"}, "attr.age": {"$gt": 17}}, None),
        ({"attr.type": "private", "attr.tags": {"$in": ["x", "z"]}}, "name"),
        ({"pinned": True, "createdAt": {"$lt": MARCH}}, None),
    ],
)
def test_plain_conditions_on_as_many_ordinary_records_as_a_query_may_look_at_are_answered(
    condition: Any, sort: str | None
) -> None:
    where, budget, size = compiled(condition), Budget(), len(msgspec.json.encode(RECORD))
    best: Best[None] = Best(sort, 0, 10)
    for _ in range(50_000):
        budget.begin(size)
        assert where.matches(RECORD, budget)
        best.offer(RECORD, None, budget)
    assert len(list(best.take_last())) == 10


# --- What always holds ------------------------------------------------------------------------------------------------

scalars = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.5, 1.0, -1.5]) | st.text("ab", max_size=2)
values = scalars | st.lists(scalars, max_size=3)
names = st.sampled_from(["a", "b", "c"])
records = st.dictionaries(names, values, max_size=3)
bounds = st.integers(-2, 2) | st.sampled_from([0.5, 1.0]) | st.text("ab", max_size=2)

operators = st.one_of(
    scalars,
    st.fixed_dictionaries({"$ne": scalars}),
    st.fixed_dictionaries({"$in": st.lists(scalars, max_size=3)}),
    st.fixed_dictionaries({"$nin": st.lists(scalars, max_size=3)}),
    st.fixed_dictionaries({"$all": st.lists(scalars, max_size=3)}),
    st.fixed_dictionaries({"$exists": st.booleans()}),
    st.fixed_dictionaries({"$size": st.integers(0, 3)}),
    st.dictionaries(st.sampled_from(["$lt", "$lte", "$gt", "$gte"]), bounds, min_size=1),
)
clauses = st.dictionaries(names, operators, min_size=1, max_size=2)
conditions = st.recursive(
    clauses,
    lambda inner: st.dictionaries(
        st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3), min_size=1, max_size=2
    ),
    max_leaves=5,
)


def kind(value: Any) -> str:
    return {bool: "boolean", int: "number", float: "number"}.get(type(value), type(value).__name__)


def oracle(condition: Any, record: dict[str, Any]) -> bool:
    """Say what MongoDB would, for flat keys and scalar operands, in the plainest way."""
    for key, operand in condition.items():
        if key == "$and":
            held = all(oracle(branch, record) for branch in operand)
        elif key == "$or":
            held = any(oracle(branch, record) for branch in operand)
        elif isinstance(operand, dict):
            held = all(oracle_operator(operator, bound, key, record) for operator, bound in operand.items())
        else:
            held = oracle_operator("$eq", operand, key, record)
        if not held:
            return False
    return True


def oracle_operator(operator: str, operand: Any, key: str, record: dict[str, Any]) -> bool:
    value = record.get(key)
    elements = value if isinstance(value, list) else [value]

    def equals(wanted: Any) -> bool:
        return any(kind(element) == kind(wanted) and element == wanted for element in elements)

    def compares(holds: Callable[[Any, Any], bool]) -> bool:
        return any(kind(element) == kind(operand) and holds(element, operand) for element in elements)

    match operator:
        case "$eq":
            return equals(operand)
        case "$ne":
            return not equals(operand)
        case "$in":
            return any(map(equals, operand))
        case "$nin":
            return not any(map(equals, operand))
        case "$all":
            return operand != [] and all(map(equals, operand))
        case "$exists":
            return (key in record) is operand
        case "$size":
            return isinstance(value, list) and len(value) == operand
        case "$lt":
            return compares(lambda a, b: a < b)
        case "$lte":
            return compares(lambda a, b: a <= b)
        case "$gt":
            return compares(lambda a, b: a > b)
        case "$gte":
            return compares(lambda a, b: a >= b)
    raise AssertionError(operator)


@pytest.mark.slow
@given(condition=conditions, record=records)
def test_a_condition_means_what_the_oracle_says(condition: Any, record: dict[str, Any]) -> None:
    assert finds(condition, record) is oracle(condition, record)


@given(first=operators, second=operators, record=records)
def test_the_laws_of_de_morgan_hold(first: Any, second: Any, record: dict[str, Any]) -> None:
    def neither(operand: Any) -> Any:
        return {"$not": operand if isinstance(operand, dict) and operand else {"$in": [operand]}}

    both, either = {"$and": [{"a": first}, {"b": second}]}, {"$or": [{"a": first}, {"b": second}]}
    not_first, not_second = {"a": neither(first)}, {"b": neither(second)}
    assert finds({"$or": [not_first, not_second]}, record) is not finds(both, record)
    assert finds({"$and": [not_first, not_second]}, record) is not finds(either, record)


@pytest.mark.slow
@given(condition=conditions, record=records.map(lambda record: {**record, "objectId": "a", "m": ["a", "b"]}))
def test_pins_never_rule_out_a_match(condition: Any, record: dict[str, Any]) -> None:
    text = msgspec.json.encode(condition).replace(b'"a":', b'"objectId":').replace(b'"b":', b'"m":')
    where = compile_where(text)
    if where.matches(record):
        assert (ids := where.ids()) is None or record["objectId"] in ids
        assert set(where.members()) <= set(record["m"])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["$and", "$or", "$in", "$all", "$not", "$regex", "$options", "$size", "$exists", "$lt", "$gte", "$ne"]
            )
            | st.sampled_from(["a", "a.b", "0", "__type", "iso", "lm", "createdAt", "objectId", "m"])
            | st.text(string.printable, max_size=3),
            inner | st.sampled_from(["Date", "2026-01-01", "x"]),
            max_size=3,
        )
    ),
    max_leaves=12,
)


@pytest.mark.slow
@given(condition=json_values, record=st.dictionaries(st.sampled_from(["a", "lm", "createdAt", "m"]), json_values))
def test_no_condition_crashes_on_any_record(condition: Any, record: dict[str, Any]) -> None:
    try:
        where = compiled(condition)
    except QueryFailed:
        return
    assert where.matches(record) in (True, False)


@given(text=st.text() | st.binary())
def test_no_text_crashes(text: str | bytes) -> None:
    with contextlib.suppress(QueryFailed):
        assert compile_where(text).matches(RECORD) in (True, False)


@given(pattern=st.text(r"\QEuxdD09abfF[]^$-|()?*+{}:=#. " + "\n", max_size=16), options=st.text("imsx", max_size=4))
def test_no_expression_crashes(pattern: str, options: str) -> None:
    try:
        where = compiled({"name": {"$regex": pattern, "$options": options}})
    except QueryFailed:
        return
    assert where.matches(RECORD) in (True, False)


# --- Order ------------------------------------------------------------------------------------------------------------


def when(iso: str) -> dict[str, str]:
    return {"__type": "Date", "iso": iso}


def sort_records(records: list[dict[str, Any]], sort: str | None) -> list[dict[str, Any]]:
    best: Best[dict[str, Any]] = Best(sort, 0, len(records))
    for record in records:
        best.offer(record, record)
    return list(best.take_last())[::-1]


def sorted_values(values: list[Any], sort: str) -> list[Any]:
    return [record.get("v") for record in sort_records([{"v": value} for value in values], sort)]


@pytest.mark.parametrize("sort", [None, ""])
def test_where_something_was_said_last_comes_first(sort: str | None) -> None:
    silent_old: dict[str, Any] = {"objectId": "1", "createdAt": "2026-01-01T00:00:00.000Z"}
    silent_new: dict[str, Any] = {"objectId": "2", "createdAt": "2026-05-01T00:00:00.000Z"}
    spoke_early = {**silent_old, "objectId": "3", "lm": when("2026-04-02T00:00:00.000Z")}
    spoke_late = {**silent_old, "objectId": "4", "lm": when("2026-04-03T00:00:00.000Z")}
    assert sort_records([silent_old, spoke_early, silent_new, spoke_late], sort) == [
        spoke_late,
        spoke_early,
        silent_new,
        silent_old,
    ]


def test_the_first_key_goes_before_the_second() -> None:
    records: list[dict[str, Any]] = [
        {"name": "b", "attr": {"n": 1}},
        {"name": "a", "attr": {"n": 1}},
        {"name": "c", "attr": {"n": 2}},
    ]
    assert [record["name"] for record in sort_records(records, "-attr.n, name")] == ["c", "a", "b"]
    assert [record["name"] for record in sort_records(records, "-attr.n,-name")] == ["c", "b", "a"]


@pytest.mark.parametrize("sort", ["v", "-v"])
def test_equal_records_stay_as_they_came(sort: str) -> None:
    records = [{"v": 1, "n": n} for n in range(5)]
    assert sort_records(records, sort) == records


def test_types_sort_in_the_order_of_mongodb() -> None:
    rising = [None, -1, 0.5, 7, "", "a", "中", {"a": 1}, [[1]], False, True, when("2026-01-01"), when("2026-01-02")]
    assert sorted_values(rising[::-1], "v") == rising
    assert sorted_values(rising, "-v") == rising[::-1]


def test_an_array_counts_as_its_least_element_going_up_and_its_greatest_going_down() -> None:
    assert sorted_values([[2, 9], 3, [5, 1], []], "v") == [[], [5, 1], [2, 9], 3]
    assert sorted_values([[2, 9], 3, [5, 1], []], "-v") == [[2, 9], [5, 1], 3, []]


def test_a_missing_value_comes_first_going_up_and_last_going_down() -> None:
    here: dict[str, Any] = {"v": 1}
    gone: dict[str, Any] = {}
    assert sort_records([here, gone], "v") == [gone, here]
    assert sort_records([gone, here], "-v") == [here, gone]


def test_what_is_inside_an_object_or_far_back_in_an_array_does_not_count() -> None:
    for values in ([{"a": 2}, {"a": 1}], [[[2]], [[1]]], [[1] * SORT_ELEMENTS_MAX + [0], [1] * SORT_ELEMENTS_MAX]):
        assert sorted_values(values, "v") == values


@pytest.mark.parametrize("sort", [",", "a,", "a,,b", "-", "a.", "a..b", "$a", " ", ",".join("a" * (SORT_KEYS_MAX + 1))])
def test_a_malformed_order_is_refused(sort: str) -> None:
    with pytest.raises(QueryFailed):
        sort_records([], sort)


@pytest.mark.slow
@given(
    records=st.lists(st.fixed_dictionaries({}, optional={"a": json_values, "lm": json_values})),
    descending=st.booleans(),
)
def test_any_records_can_be_sorted_either_way(records: list[dict[str, Any]], descending: bool) -> None:
    ordered = sort_records(records, "-a" if descending else "a")
    assert sorted(map(id, ordered)) == sorted(map(id, records))
    assert sort_records(ordered, "-a" if descending else "a") == ordered
    assert len(sort_records(records, None)) == len(records)


def oracle_order(records: list[dict[str, Any]], keys: list[str]) -> list[dict[str, Any]]:
    """Sort flat numbers and strings by one key after the other, the last one first."""

    def rank(key: str) -> Callable[[dict[str, Any]], Any]:
        return lambda record: (isinstance(value := record.get(key, -99), str), value)

    ordered = list(records)
    for key in reversed(keys):
        ordered.sort(key=rank(key.removeprefix("-")), reverse=key.startswith("-"))
    return ordered


@pytest.mark.slow
@given(
    records=st.lists(st.dictionaries(names, st.integers(-2, 2) | st.text("ab", max_size=2))),
    keys=st.lists(st.sampled_from(["a", "-a", "b", "-b", "c", "-c"]), min_size=1, max_size=SORT_KEYS_MAX),
    skip=st.integers(0, 6),
    limit=st.integers(0, 6),
)
def test_a_page_is_a_cut_of_all_that_was_offered(
    records: list[dict[str, Any]], keys: list[str], skip: int, limit: int
) -> None:
    best: Best[int] = Best(",".join(keys), skip, limit)
    for number, record in enumerate(records):
        best.offer(record, number)
    page = [records[number] for number in best.take_last()][::-1]
    assert page == oracle_order(records, keys)[skip : skip + limit]


def test_what_is_off_the_page_is_let_go_of() -> None:
    class Remembered:
        pass

    best: Best[Remembered] = Best("v", 0, 3)
    alive = weakref.WeakSet[Remembered]()
    for number in range(100):
        item = Remembered()
        alive.add(item)
        best.offer({"v": -number, "long": "x" * 1_000}, item)
        del item
        assert len(alive) <= 3


def test_a_string_is_sorted_by_how_it_begins() -> None:
    begin = "x" * SORT_TEXT_MAX
    assert sorted_values([begin + "b", begin + "a", begin[1:] + "b", begin[1:] + "a"], "v") == [
        begin[1:] + "a",
        begin[1:] + "b",
        begin + "b",
        begin + "a",
    ]
