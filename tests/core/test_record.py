from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from fastim.core.attributes import RESERVED_COLUMNS, initial_columns
from fastim.core.conversation import Conversation, Kind
from fastim.core.message import Message
from fastim.core.record import SubscriptionState, record, with_last_message
from fastim.core.units import Millis
from fastim.core.unread import Head

NOON = Millis(1_767_268_800_000)
TEA = Conversation(
    "c",
    Kind.NORMAL,
    "tom",
    created_at=NOON,
    updated_at=Millis(NOON + 1),
    members=("tom", "jerry"),
    muted=("jerry",),
    columns={"name": "tea", "attr": {"hot": True}},
)


def seen(conversation: Conversation, head: Head | None = None, by: str = "tom") -> dict[str, Any]:
    return record(conversation, head or Head(), by)


def test_what_an_sdk_reads_of_a_conversation() -> None:
    assert seen(TEA) == {
        "objectId": "c",
        "name": "tea",
        "attr": {"hot": True},
        "c": "tom",
        "m": ["tom", "jerry"],
        "mu": ["jerry"],
        "muted": False,
        "createdAt": "2026-01-01T12:00:00.000Z",
        "updatedAt": "2026-01-01T12:00:00.001Z",
        "conv_type": 1,
    }


def test_the_time_of_the_last_message_is_a_date_object() -> None:
    """Java casts it to a map. Source: wire protocol, result objects of conv/query."""
    assert "lm" not in seen(TEA)
    head = Head(sequence=1, timestamp=Millis(NOON + 70), last_id="m")
    assert seen(TEA, head)["lm"] == {"__type": "Date", "iso": "2026-01-01T12:00:00.070Z"}


def test_whoever_muted_it_is_told_so() -> None:
    assert [seen(TEA, by=one)["muted"] for one in ("tom", "jerry", "spike")] == [False, True, False]


def test_a_unique_conversation_says_so() -> None:
    unique = seen(replace(TEA, unique_key="u"))
    assert (unique["unique"], unique["uniqueId"]) == (True, "u")
    assert not {"unique", "uniqueId"} & set(seen(TEA))


@pytest.mark.parametrize(
    ("kind", "flag"), [(Kind.NORMAL, None), (Kind.CHAT_ROOM, "tr"), (Kind.SYSTEM, "sys"), (Kind.TEMPORARY, "temp")]
)
def test_only_the_flag_of_its_own_type_is_there(kind: Kind, flag: str | None) -> None:
    columns = seen(replace(TEA, kind=kind))
    assert {name for name in ("tr", "sys", "temp") if name in columns} == ({flag} if flag else set())
    assert columns["conv_type"] == kind
    assert flag is None or columns[flag] is True


def test_no_column_of_a_client_stands_in_for_one_of_the_server() -> None:
    hostile = replace(TEA, columns=dict.fromkeys(("objectId", "m", "c", "createdAt", "conv_type"), 0))
    assert seen(hostile) == seen(replace(TEA, columns={}))


def test_whatever_the_server_fills_in_no_client_can_write() -> None:
    head = Head(sequence=1, timestamp=NOON)
    filled = with_last_message(seen(replace(TEA, unique_key="u", columns={}), head), _message(b""))
    assert set(filled) <= RESERVED_COLUMNS
    assert initial_columns(msgspec.json.encode(filled)) == {}


def _message(body: bytes, *, binary: bool = False) -> Message:
    return Message("m", NOON, 1, "jerry", body, binary=binary, mention_all=True, mentions=("tom",))


def test_the_last_message_of_a_conversation() -> None:
    assert with_last_message({"objectId": "c"}, _message(b"hi")) == {
        "objectId": "c",
        "msg": "hi",
        "bin": False,
        "msg_mid": "m",
        "msg_from": "jerry",
        "msg_timestamp": NOON,
        "mention_all": True,
        "mention_pids": ["tom"],
    }


def test_a_last_message_that_is_binary_is_base64() -> None:
    columns = with_last_message({}, _message(b"\x00\xff", binary=True))
    assert (columns["msg"], columns["bin"]) == ("AP8=", True)


def test_a_last_message_that_is_not_utf8_can_still_be_told_in_json() -> None:
    columns = with_last_message({}, _message(b"a\xff"))
    assert msgspec.json.decode(msgspec.json.encode(columns))["msg"] == "a�"


@pytest.mark.rule("1.19")
def test_a_temporary_conversation_tells_its_time_to_live_twice() -> None:
    """C# knows such conversations by the last two only. Source: wire protocol, result objects of conv/query."""
    temporary = seen(replace(TEA, kind=Kind.TEMPORARY, ttl_seconds=60, unique_key="u"))
    shown = {key: temporary.get(key) for key in ("temp", "ttl", "tempConv", "tempConvTTL", "unique", "conv_type")}
    assert shown == {"temp": True, "ttl": 60, "tempConv": True, "tempConvTTL": 60, "unique": None, "conv_type": 4}


@pytest.mark.rule("1.17")
def test_a_subscriber_is_told_that_it_is_one() -> None:
    service = replace(TEA, kind=Kind.SYSTEM, members=(), muted=())
    subscribed = record(service, Head(), "tom", SubscriptionState(since=NOON, muted=True))
    assert [subscribed[key] for key in ("sys", "joined", "joinedAt", "muted")] == [True, True, NOON, True]
    stranger = record(service, Head(), "tom", SubscriptionState())
    assert (stranger["joined"], stranger["muted"]) == (False, False)
    assert "joinedAt" not in stranger


@pytest.mark.rule("8.4")
def test_a_last_message_that_was_patched_says_when() -> None:
    message = Message("m", NOON, 1, "tom", b"{}")
    assert "patch_timestamp" not in with_last_message({}, message)
    patched = with_last_message({}, replace(message, patched_at=Millis(NOON + 5)))
    assert patched["patch_timestamp"] == NOON + 5
