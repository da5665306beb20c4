import contextlib
import copy
import string
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastim.core.attributes import (
    COLUMNS_BYTES_MAX,
    COUNTER_MAX,
    DEPTH_MAX,
    RESERVED_COLUMNS,
    TEXT_LENGTH_MAX,
    apply_update,
    comparable,
    date_millis,
    initial_columns,
    iso_millis,
)
from fastim.core.errors import UpdateFailed

COLUMNS: dict[str, Any] = {
    "name": "Tom & Jerry",
    "attr": {"type": "private", "tags": ["x", 1, True], "seats": {"free": 3}, "none": None},
    "score": 1.5,
}


def updated(update: Any, columns: dict[str, Any] = COLUMNS) -> dict[str, Any]:
    return apply_update(columns, msgspec.json.encode(update)).columns


def modified(update: Any, columns: dict[str, Any] = COLUMNS) -> dict[str, Any]:
    return apply_update(columns, msgspec.json.encode(update)).modified


# --- Plain values -----------------------------------------------------------------------------------------------------


def test_a_column_takes_the_new_value_and_the_others_stay() -> None:
    change = apply_update(COLUMNS, '{"name":"Spike"}')
    assert change.columns == {**COLUMNS, "name": "Spike"}
    assert change.modified == {"name": "Spike"}


def test_a_dotted_key_changes_a_part_of_an_object() -> None:
    change = apply_update(COLUMNS, '{"attr.type":"public","attr.seats.free":2,"color.text":"#000"}')
    assert change.columns["attr"] == {**COLUMNS["attr"], "type": "public", "seats": {"free": 2}}
    assert change.columns["color"] == {"text": "#000"}
    assert change.modified == {"attr": {"type": "public", "seats": {"free": 2}}, "color": {"text": "#000"}}


def test_a_whole_object_replaces_the_one_before() -> None:
    assert updated({"attr": {"a": 1}})["attr"] == {"a": 1}


def test_null_is_a_value_that_gives_way_to_an_object() -> None:
    assert updated({"name": None, "attr.none.deep": 1})["attr"]["none"] == {"deep": 1}
    assert updated({"name": None})["name"] is None


def test_an_update_of_nothing_changes_nothing() -> None:
    change = apply_update(COLUMNS, "{}")
    assert (change.columns, change.modified) == (COLUMNS, {})


@pytest.mark.parametrize(
    "value",
    [
        {"__type": "Date", "iso": "2026-01-02T03:04:05.678Z"},
        {"__type": "Pointer", "className": "_File", "objectId": "5c8f"},
        {"__type": "GeoPoint", "latitude": 39.9, "longitude": 116.4},
        [{"__type": "Bytes", "base64": "aGk="}, {"a.b": {"$c": []}}],
        10**60,
        -(2**63),
        0.1,
        "聊天室 😀 \u0000 \u2028",
        False,
        [],
        {},
    ],
)
def test_a_value_passes_through_untouched(value: Any) -> None:
    change = apply_update({}, msgspec.json.encode({"attr.v": value, "w": value}))
    assert change.columns == change.modified == {"attr": {"v": value}, "w": value}
    assert msgspec.json.decode(msgspec.json.encode(change.columns)) == change.columns


# --- Operations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "operation", "result"),
    [
        ("score", {"__op": "Increment", "amount": 1}, 2.5),
        ("attr.seats.free", {"__op": "Increment", "amount": -5}, -2),
        ("attr.none", {"__op": "Increment", "amount": 7}, 7),
        ("new.count", {"__op": "Increment", "amount": 0.5}, 0.5),
        ("new.count", {"__op": "Increment", "amount": COUNTER_MAX}, COUNTER_MAX),
        ("attr.tags", {"__op": "Add", "objects": ["x", "z"]}, ["x", 1, True, "x", "z"]),
        ("attr.none", {"__op": "Add", "objects": ["z"]}, ["z"]),
        ("new.list", {"__op": "Add", "objects": []}, []),
        ("attr.tags", {"__op": "AddUnique", "objects": ["x", "z", 1.0, "z", False]}, ["x", 1, True, "z", False]),
        ("new.list", {"__op": "AddUnique", "objects": [{"a": 1, "b": 2}, {"b": 2, "a": 1}]}, [{"a": 1, "b": 2}]),
        ("attr.tags", {"__op": "Remove", "objects": ["x", 1, "nobody"]}, [True]),
        ("new.list", {"__op": "Remove", "objects": ["x"]}, []),
    ],
)
def test_an_operation_makes_a_new_value_of_the_one_there(key: str, operation: Any, result: Any) -> None:
    for found in (updated({key: operation}), modified({key: operation})):
        for name in key.split("."):
            found = found[name]
        assert comparable(found) == comparable(result)


def test_a_deleted_key_is_gone_and_not_among_the_modified() -> None:
    delete = {"__op": "Delete"}
    change = apply_update(COLUMNS, msgspec.json.encode({"attr.type": delete, "score": delete, "attr.seats.free": 0}))
    assert change.columns == {
        "name": "Tom & Jerry",
        "attr": {"tags": ["x", 1, True], "seats": {"free": 0}, "none": None},
    }
    assert change.modified == {"attr": {"seats": {"free": 0}}}


@pytest.mark.parametrize("key", ["nothing", "attr.nothing", "nothing.deep", "attr.type.deep", "attr.tags.0", "score.a"])
def test_deleting_what_is_not_there_changes_nothing(key: str) -> None:
    change = apply_update(COLUMNS, msgspec.json.encode({key: {"__op": "Delete"}}))
    assert (change.columns, change.modified) == (COLUMNS, {})


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", sorted(RESERVED_COLUMNS))
def test_a_client_cannot_write_what_the_server_fills_in(key: str) -> None:
    for update in ({key: 1}, {f"{key}.0": 1}, {key: {"__op": "Delete"}}, {"name": "x", key: None}):
        with pytest.raises(UpdateFailed, match="the server alone writes"):
            updated(update)
    assert updated({f"attr.{key}": 1})["attr"][key] == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "nonsense",
        "null",
        "[]",
        "1",
        '{"a":1',
        '{"a":1} x',
        '{"a":NaN}',
        '{"a":Infinity}',
        '{"a":1e999}',
        '{"a":"\\ud800"}',
        "\ud800",
        b'{"a":"\xff"}',
        "[" * 10_000,
        '{"":1}',
        '{".":1}',
        '{"a.":1}',
        '{".a":1}',
        '{"a..b":1}',
        '{"$a":1}',
        '{"a.$set":1}',
        '{"__type":"Date"}',
        '{"attr.__type":"Date"}',
        '{"attr.__op":"Delete"}',
        '{"__proto__.polluted":1}',
        '{"attr.__proto__.polluted":1}',
        '{"constructor.prototype.polluted":1}',
        '{"a":1,"a.b":2}',
        '{"a.b.c":1,"a":2}',
        '{"a.b":{"__op":"Delete"},"a":{}}',
        '{"a":{"__op":"Explode"}}',
        '{"a":{"__op":null}}',
        '{"a":{"__op":{}}}',
        '{"a":{"b":{"__op":"Delete"}}}',
        '{"a":[{"__op":"Delete"}]}',
        '{"a":{"__op":"Add","objects":[{"__op":"Delete"}]}}',
        '{"name":1}',
        '{"name":{"__op":"Add","objects":["x"]}}',
        '{"name":{"__op":"Increment","amount":1}}',
        '{"attr":1}',
        '{"attr":[]}',
        '{"attr":{"__type":"Date","iso":"2026-01-02T03:04:05.678Z"}}',
        '{"attr.type.deep":1}',
        '{"attr.tags.0":1}',
        '{"score":{"__op":"Add","objects":[1]}}',
        '{"score":{"__op":"AddUnique","objects":[1]}}',
        '{"score":{"__op":"Remove","objects":[1]}}',
        '{"attr.tags":{"__op":"Add"}}',
        '{"attr.tags":{"__op":"Add","objects":"x"}}',
        '{"attr.tags":{"__op":"Increment","amount":1}}',
        '{"attr.type":{"__op":"Increment","amount":1}}',
        '{"score":{"__op":"Increment"}}',
        '{"score":{"__op":"Increment","amount":"1"}}',
        '{"score":{"__op":"Increment","amount":true}}',
    ],
)
def test_a_malformed_update_is_refused(text: str | bytes) -> None:
    before = copy.deepcopy(COLUMNS)
    with pytest.raises(UpdateFailed):
        apply_update(COLUMNS, text)
    assert before == COLUMNS


def test_nothing_is_written_into_a_date() -> None:
    with pytest.raises(UpdateFailed):
        updated({"due.iso": "soon"}, {"due": {"__type": "Date", "iso": "2026-01-02T03:04:05.678Z"}})


@pytest.mark.parametrize(
    ("value", "amount"),
    [(COUNTER_MAX, 1), (-COUNTER_MAX, -1), (0, COUNTER_MAX + 1), (10**400, 0.5), (1.7e308, 1.7e308)],
)
def test_a_counter_that_leaves_the_range_of_numbers_is_refused(value: Any, amount: Any) -> None:
    with pytest.raises(UpdateFailed):
        updated({"n": {"__op": "Increment", "amount": amount}}, {"n": value})


def text_of(size: int) -> str:
    return '{"v":"' + "x" * (size - 8) + '"}'


def nested(levels: int) -> str:
    return '{"v":' * levels + "1" + "}" * levels


def dotted(parts: int) -> str:
    return '{"' + ".".join("v" * parts) + '":1}'


@pytest.mark.parametrize(
    ("columns", "within", "beyond"),
    [
        pytest.param({}, text_of(COLUMNS_BYTES_MAX), text_of(COLUMNS_BYTES_MAX + 1), id="size"),
        pytest.param({}, "{}" + " " * (TEXT_LENGTH_MAX - 2), "{}" + " " * (TEXT_LENGTH_MAX - 1), id="length"),
        pytest.param({}, nested(DEPTH_MAX), nested(DEPTH_MAX + 1), id="depth"),
        pytest.param({}, dotted(DEPTH_MAX), dotted(DEPTH_MAX + 1), id="parts of a key"),
        pytest.param({}, '{"a.b":' + nested(DEPTH_MAX - 2) + "}", '{"a.b":' + nested(DEPTH_MAX - 1) + "}", id="both"),
        pytest.param(
            {"v": ["x" * (COLUMNS_BYTES_MAX - 20)]},
            '{"v":{"__op":"Add","objects":["123456"]}}',
            '{"v":{"__op":"Add","objects":["12345678901"]}}',
            id="growth",
        ),
    ],
)
def test_attributes_beyond_their_bounds_are_refused(columns: dict[str, Any], within: str, beyond: str) -> None:
    assert apply_update(columns, within)
    with pytest.raises(UpdateFailed):
        apply_update(columns, beyond)


# --- A new conversation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [None, "", b"", "{}"])
def test_a_conversation_may_begin_without_attributes(text: str | bytes | None) -> None:
    assert initial_columns(text) == {}


def test_a_new_conversation_has_the_columns_it_was_given() -> None:
    assert initial_columns('{"name":"Tom","attr":{"type":"private"},"color.text":"#000","n":null}') == {
        "name": "Tom",
        "attr": {"type": "private"},
        "color": {"text": "#000"},
        "n": None,
    }


@pytest.mark.parametrize("key", sorted(RESERVED_COLUMNS))
def test_a_new_conversation_goes_without_what_the_server_fills_in(key: str) -> None:
    assert initial_columns(msgspec.json.encode({key: ["x"], f"{key}.a": 1, "name": "Tom"})) == {"name": "Tom"}


@pytest.mark.parametrize(
    "text", ["nonsense", "[]", '{"name":1}', '{"attr":"x"}', '{"a..b":1}', '{"a":{"__op":"Explode"}}', nested(100)]
)
def test_malformed_attributes_of_a_new_conversation_are_refused(text: str) -> None:
    with pytest.raises(UpdateFailed):
        initial_columns(text)


# --- Values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "millis"),
    [
        ("1970-01-01T00:00:00.001Z", 1),
        ("1970-01-01T00:00:01", 1000),
        ("1970-01-01T08:00:00.5+08:00", 500),
        ("1969-12-31T23:59:59.999Z", -1),
        ("0001-01-01T00:00:00+23:59", -62135596800000 - 86340000),
        ("", None),
        ("soon", None),
        ("2026-13-01T00:00:00Z", None),
    ],
)
def test_the_time_an_iso_text_means(text: str, millis: int | None) -> None:
    assert iso_millis(text) == millis
    assert date_millis({"__type": "Date", "iso": text}) == millis
    assert date_millis({"__type": "File", "iso": text}) is None
    assert date_millis(text) is None


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (10**20, 1e20, True),
        (10**20, 10**20 + 1, False),
        (-(2**60), -(2.0**60), True),
        (2**60, -(2**60), False),
        (2**61 - 1, 0, False),
        (1, True, False),
        (0.0, -0.0, True),
        ("1", 1, False),
        ([1, [2]], [1.0, [2]], True),
        ([1, 2], [2, 1], False),
        ({"a": 1, "b": None}, {"b": None, "a": 1}, True),
        ({"a": None}, {}, False),
        ({}, [], False),
        ({"__type": "Date", "iso": "2026-01-01T00:00:00Z"}, {"__type": "Date", "iso": "2026-01-01"}, True),
        ({"__type": "Date", "iso": "soon"}, {"__type": "Date", "iso": "soon"}, True),
    ],
)
def test_values_are_alike_as_json_has_it(one: Any, other: Any, alike: bool) -> None:
    assert (comparable(one) == comparable(other)) is alike
    assert (len({comparable(one), comparable(other)}) == 1) is alike


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(string.ascii_letters + "中😀\x00", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("xyz", max_size=2), inner, max_size=3),
    max_leaves=6,
)
keys = st.lists(st.sampled_from(["a", "b", "attr"]), min_size=1, max_size=3).map(".".join)
plain_updates = st.dictionaries(keys, json_values, max_size=4)
operations = st.one_of(
    st.just({"__op": "Delete"}),
    st.fixed_dictionaries({"__op": st.just("Increment"), "amount": st.integers(-3, 3)}),
    st.fixed_dictionaries(
        {"__op": st.sampled_from(["Add", "AddUnique", "Remove"]), "objects": st.lists(json_values, max_size=3)}
    ),
)
any_columns = st.dictionaries(st.sampled_from(["a", "b", "name"]), json_values, max_size=3)


def read(columns: Any, key: str) -> Any:
    for name in key.split("."):
        columns = columns[name]
    return columns


@pytest.mark.slow
@given(update=plain_updates)
def test_what_was_written_is_read_back(update: dict[str, Any]) -> None:
    try:
        change = apply_update(COLUMNS, msgspec.json.encode(update))
    except UpdateFailed:
        overlapping = any(key != other and f"{key}.".startswith(f"{other}.") for key in update for other in update)
        assert overlapping or not isinstance(update.get("attr", {}), (dict, type(None)))
        return
    for key, value in update.items():
        assert comparable(read(change.columns, key)) == comparable(value)
        assert comparable(read(change.modified, key)) == comparable(value)
    assert {name: change.columns[name] for name in ("name", "score")} == {"name": "Tom & Jerry", "score": 1.5}


@pytest.mark.slow
@given(columns=any_columns, update=st.dictionaries(keys, json_values | operations, max_size=4))
def test_an_update_is_done_whole_or_not_at_all_and_never_in_place(
    columns: dict[str, Any], update: dict[str, Any]
) -> None:
    before = copy.deepcopy(columns)
    with contextlib.suppress(UpdateFailed):
        change = apply_update(columns, msgspec.json.encode(update))
        for column in {key.partition(".")[0] for key in update} & change.modified.keys():
            assert column in change.columns
        untouched = columns.keys() - {key.partition(".")[0] for key in update}
        assert all(comparable(change.columns[column]) == comparable(columns[column]) for column in untouched)
        assert apply_update(change.columns, "{}").columns == change.columns
    assert comparable(columns) == comparable(before)


@pytest.mark.slow
@given(items=st.lists(json_values, max_size=5), more=st.lists(json_values, max_size=5))
def test_what_was_added_once_is_there_once_and_what_was_removed_is_gone(items: list[Any], more: list[Any]) -> None:
    added = updated({"v": {"__op": "AddUnique", "objects": more}}, {"v": items})["v"]
    assert comparable(added[: len(items)]) == comparable(items)
    assert len(added) == len(items) + len({comparable(item) for item in more} - {comparable(item) for item in items})
    left = updated({"v": {"__op": "Remove", "objects": more}}, {"v": added})["v"]
    assert {comparable(item) for item in left} == {comparable(item) for item in items} - {
        comparable(item) for item in more
    }


@pytest.mark.slow
@given(text=st.text() | st.binary() | st.dictionaries(st.text(max_size=4), json_values).map(msgspec.json.encode))
def test_no_text_crashes(text: str | bytes) -> None:
    with contextlib.suppress(UpdateFailed):
        assert isinstance(apply_update(COLUMNS, text).columns, dict)
    with contextlib.suppress(UpdateFailed):
        assert isinstance(initial_columns(text), dict)


def test_numbers_that_hash_alike_have_stand_ins_that_do_not() -> None:
    """A thousand of them in one set would make every look at it a thousand comparisons."""
    alike = [place * 2.0 ** -(61 * power + place.bit_length()) for power in range(1, 17) for place in (1, 2, 4, 8)]
    alike = list(dict.fromkeys(alike))
    assert len(alike) > 10
    assert len(set(map(hash, alike))) == 1
    assert len({hash(comparable(number)) for number in alike}) == len(alike)
    assert comparable(0.5) == comparable(0.5) != comparable(0.25)
    assert comparable(2.0) == comparable(2)
