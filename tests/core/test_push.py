import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastim.core.installation import Installation
from fastim.core.push import CONTENT_MAX_BYTES, EXPIRY_MILLIS, Content, Occasion, carried, chosen, whole
from fastim.core.units import Millis
from tests.fakes.clock import NOON

HERE = Occasion("5f5e1f3a2c1e0b0001a2b3c4", NOON, "tom")

surrogates = st.characters(categories=["Cs"])
texts = st.text(st.characters() | surrogates)
anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
badges = st.one_of(st.just("Increment"), st.integers(), st.floats(), st.booleans(), st.text())
known: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "_profile": st.sampled_from(["dev", "prod"]) | anything,
        "_apns_team_id": st.sampled_from(["TEAM", ""]) | anything,
        "alert": anything,
        "badge": badges,
        "ios": anything | st.fixed_dictionaries({"_profile": anything, "badge": badges}),
        "android": anything | st.fixed_dictionaries({"_apns_team_id": anything, "badge": badges}),
        "wp": anything,
    },
)
written = st.one_of(
    texts, anything.map(json.dumps), st.builds(lambda one, other: json.dumps({**one, **other}), known, known)
)
devices = st.builds(
    Installation,
    id=st.just("i" * 24),
    kind=st.sampled_from(["ios", "android", "web", "wp", "harmony"]),
    created_at=st.just(NOON),
    updated_at=st.just(NOON),
    team_id=st.sampled_from(["", "TEAM", "OTHER"]),
    badge=st.integers(0, 2**31 - 1),
)


def device(kind: str = "ios", badge: int = 0, team_id: str = "") -> Installation:
    return Installation("i" * 24, kind, NOON, NOON, badge=badge, team_id=team_id)


def from_message(value: Any) -> Content:
    content = chosen(None, value if isinstance(value, str) else json.dumps(value), "", HERE)
    assert content is not None
    return content


def sent(content: Content, to: Installation) -> Any:
    """The object that the device gets, or ``None``."""
    payload = carried(content, to)
    return None if payload is None else json.loads(payload.data)


# --- Which content ----------------------------------------------------------------------------------------------------


@pytest.mark.rule("10.2")
@pytest.mark.parametrize(
    ("hooked", "own", "static", "alert"),
    [
        ('{"alert":"hook"}', '{"alert":"message"}', '{"alert":"static"}', "hook"),
        ('{"alert":"hook"}', "", "", "hook"),
        (None, '{"alert":"message"}', '{"alert":"static"}', "message"),
        ("", '{"alert":"message"}', '{"alert":"static"}', "message"),
        (" \n", "null", '{"alert":"static"}', "static"),
        (None, '""', '{"alert":"static"}', "static"),
        (None, "", '{"alert":"static"}', "static"),
        (json.dumps({"alert": "x" * CONTENT_MAX_BYTES}), "", '{"alert":"static"}', "static"),
    ],
)
def test_a_hook_goes_before_the_message_which_goes_before_the_application(
    hooked: str | None, own: str, static: str, alert: str
) -> None:
    content = chosen(hooked, own, static, HERE)
    assert content is not None
    assert content.fields == {"alert": alert}


@pytest.mark.rule("10.2")
def test_without_any_content_nothing_is_pushed() -> None:
    assert chosen(None, "", "", HERE) is None
    assert chosen("", " ", "", HERE) is None
    assert chosen("null", "null", "", HERE) is None


def test_an_empty_object_says_that_nothing_is_pushed() -> None:
    content = chosen(None, "{}", '{"alert":"static"}', HERE)
    assert content is not None
    assert (carried(content, device()), whole(content)) == (None, "")


@pytest.mark.parametrize(
    ("text", "alert"),
    [
        ("dinner is ready", "dinner is ready"),
        ('"dinner is ready"', "dinner is ready"),
        ("{unfinished", "{unfinished"),
        ("[1,2]", "[1,2]"),
        ("42", "42"),
        ("true", "true"),
        ('{"n":NaN}', '{"n":NaN}'),
        ('{"n":1e999}', '{"n":1e999}'),
        ('{"n":' * 70 + "1" + "}" * 70, '{"n":' * 70 + "1" + "}" * 70),
        ("[" * 8_000, "[" * 8_000),
    ],
)
def test_what_is_no_object_is_the_alert(text: str, alert: str) -> None:
    assert from_message(text).fields == {"alert": alert}


def test_half_a_character_is_left_out_of_what_is_pushed() -> None:
    content = from_message('{"alert":"party \\ud83d","\\ude00":1}')
    assert sent(content, device()) == {"alert": "party ?", "?": 1}
    assert json.loads(whole(content)) == {"alert": "party ?", "?": 1}


# --- Variables --------------------------------------------------------------------------------------------------------


@pytest.mark.rule("10.3")
def test_variables_of_the_static_content_are_replaced() -> None:
    static = '{"alert":"${fromClientId}: ${fromClientId}?","to":{"room":"${convId}"},"at":["${timestamp}", 1]}'
    content = chosen(None, "", static, HERE)
    assert content is not None
    assert content.fields == {
        "alert": "tom: tom?",
        "to": {"room": HERE.conversation_id},
        "at": [str(NOON // 1000), 1],
    }


@pytest.mark.rule("10.3")
def test_variables_are_replaced_in_the_static_content_alone() -> None:
    text = '{"alert":"${convId}"}'
    for content in (chosen(text, "", text, HERE), chosen(None, text, text, HERE)):
        assert content is not None
        assert content.fields == {"alert": "${convId}"}


def test_unknown_variables_and_names_of_fields_stay_as_they_are() -> None:
    static = '{"${convId}":"${message} $convId ${ convId } {convId}"}'
    content = chosen(None, "", static, HERE)
    assert content is not None
    assert content.fields == json.loads(static)


@given(texts, texts)
def test_what_takes_a_variables_place_changes_nothing_else(sender: str, conversation_id: str) -> None:
    static = '{"alert":"<${fromClientId}>","more":{"room":"${convId}|${timestamp}"},"badge":1}'
    content = chosen(None, "", static, Occasion(conversation_id, Millis(1_999), sender))
    assert content is not None
    assert content.fields == {"alert": f"<{sender}>", "more": {"room": f"{conversation_id}|1"}, "badge": 1}
    assert json.loads(whole(content))["alert"] == f"<{sender}>".encode(errors="replace").decode()


# --- Inner attributes -------------------------------------------------------------------------------------------------


@pytest.mark.rule("10.4")
@pytest.mark.parametrize(
    ("profile", "expected"),
    [("dev", "dev"), ("prod", "prod"), ("Dev", "prod"), ("", "prod"), (1, "prod"), ([], "prod")],
)
def test_the_profile_is_production_unless_it_is_dev(profile: Any, expected: str) -> None:
    content = from_message({"alert": "hi", "_profile": profile})
    assert content.profile == expected
    assert sent(content, device()) == {"alert": "hi"}


@pytest.mark.rule("10.4")
def test_content_without_inner_attributes_is_for_production_and_all_teams() -> None:
    content = from_message({"alert": "hi"})
    assert (content.profile, content.team_id) == ("prod", "")
    assert sent(content, device(team_id="TEAM")) == {"alert": "hi"}


@pytest.mark.rule("10.4")
def test_only_devices_of_the_team_that_is_named_get_it() -> None:
    content = from_message({"alert": "hi", "_apns_team_id": "TEAM"})
    assert content.team_id == "TEAM"
    assert sent(content, device(team_id="TEAM")) == {"alert": "hi"}
    assert sent(content, device(team_id="OTHER")) is None
    assert sent(content, device(team_id="")) == {"alert": "hi"}, "it may well be of that team"
    assert sent(content, device("android", team_id="OTHER")) == {"alert": "hi"}, "teams are Apple's"


@pytest.mark.rule("10.4")
def test_inner_attributes_count_at_the_top_alone() -> None:
    inner = {"_profile": "dev", "_apns_team_id": "TEAM"}
    content = from_message({"ios": {"alert": "hi", **inner}, "android": {"alert": "ho", **inner}})
    assert (content.profile, content.team_id) == ("prod", "")
    assert sent(content, device(team_id="OTHER")) == {"alert": "hi"}
    assert sent(content, device("android")) == {"alert": "ho"}


# --- Badges and platforms ---------------------------------------------------------------------------------------------


@pytest.mark.rule("10.5")
@pytest.mark.parametrize(
    ("asked", "before", "after"),
    [
        ("Increment", 0, 1),
        ("Increment", 41, 42),
        ("Increment", 2**31 - 1, 2**31 - 1),
        (7, 41, 7),
        (0, 41, 0),
        ("increment", 41, None),
        ("INCREMENT", 41, None),
        ("7", 41, None),
        (-1, 41, None),
        (1.5, 41, None),
        (True, 41, None),
        (2**31, 41, None),
        (None, 41, None),
        ([1], 41, None),
    ],
)
def test_a_badge_is_a_number_or_one_more(asked: Any, before: int, after: int | None) -> None:
    payload = carried(from_message({"alert": "hi", "badge": asked}), device(badge=before))
    assert payload is not None
    assert payload.badge == after
    assert json.loads(payload.data) == ({"alert": "hi"} if after is None else {"alert": "hi", "badge": after})


@pytest.mark.rule("10.5")
@pytest.mark.parametrize("kind", ["android", "web"])
def test_badges_are_for_ios_alone(kind: str) -> None:
    content = from_message({"alert": "hi", "badge": "Increment", "android": {"badge": 3}})
    payload = carried(content, device(kind, badge=5))
    assert payload is not None
    assert (payload.badge, json.loads(payload.data)) == (None, {"alert": "hi"})


@pytest.mark.rule("10.6")
def test_the_object_of_a_devices_platform_goes_before_what_is_for_all() -> None:
    content = from_message(
        {
            "alert": "hi",
            "sound": "bell",
            "badge": 1,
            "ios": {"alert": {"title": "an apple"}, "badge": "Increment"},
            "android": {"alert": "a robot", "silent": True},
            "wp": {"alert": "a window"},
        }
    )
    assert sent(content, device(badge=8)) == {"alert": {"title": "an apple"}, "sound": "bell", "badge": 9}
    assert sent(content, device("android")) == {"alert": "a robot", "sound": "bell", "silent": True}
    assert sent(content, device("web")) == {"alert": "hi", "sound": "bell"}


@pytest.mark.rule("10.6")
def test_a_device_whose_platform_alone_is_left_out_gets_nothing() -> None:
    content = from_message({"ios": {"alert": "hi"}})
    assert sent(content, device()) == {"alert": "hi"}
    assert carried(content, device("android")) is None


def test_a_platform_that_is_no_object_is_left_out() -> None:
    content = from_message({"alert": "hi", "ios": "no object", "android": None})
    assert sent(content, device()) == sent(content, device("android")) == {"alert": "hi"}


def test_all_of_the_content_has_the_platforms_and_no_inner_attributes() -> None:
    value = {"alert": "hi", "badge": "Increment", "ios": {"sound": "bell"}, "android": {"silent": True}}
    inner = {"_profile": "dev", "_apns_team_id": "TEAM"}
    content = from_message({**value, **inner, "ios": {"sound": "bell", **inner}})
    assert json.loads(whole(content)) == value


@pytest.mark.rule("10.7")
def test_notifications_are_worth_sending_for_seven_days() -> None:
    assert EXPIRY_MILLIS == 7 * 24 * 60 * 60 * 1000


# --- Whatever is written ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(st.none() | written, written, written, devices)
def test_whatever_is_written_devices_get_an_object_without_inner_attributes(
    hooked: str | None, own: str, static: str, to: Installation
) -> None:
    content = chosen(hooked, own, static, HERE)
    if content is None:
        return
    assert content.profile in ("prod", "dev")
    for text in (whole(content), "" if (payload := carried(content, to)) is None else payload.data):
        if text:
            found = json.loads(text.encode(), parse_constant=pytest.fail)
            assert found
            for level in (found, found.get("ios"), found.get("android")):
                assert not isinstance(level, dict) or not {"_profile", "_apns_team_id"} & level.keys()


@given(known, devices)
def test_a_badge_that_is_pushed_is_the_one_that_is_kept(value: dict[str, Any], to: Installation) -> None:
    content = chosen(None, json.dumps(value), "", HERE)
    payload = None if content is None else carried(content, to)
    if payload is None:
        return
    shown = json.loads(payload.data).get("badge")
    assert shown == payload.badge
    assert shown is None or (to.kind == "ios" and type(shown) is int and 0 <= shown < 2**31)
    assert not {"ios", "android", "wp"} & json.loads(payload.data).keys()
