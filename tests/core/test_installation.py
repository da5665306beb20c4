from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastim.core.installation import (
    BADGE_MAX,
    CHANNELS_MAX,
    NAME_CHARACTERS_MAX,
    NO_DEVICE,
    RECORD_BYTES_MAX,
    TOKEN_CHARACTERS_MAX,
    TOO_LARGE,
    TOUCH_MILLIS,
    WRONG_TYPE,
    Installation,
    InvalidInstallation,
    has_token_of,
    is_installation_id,
    is_whole,
    link,
    record,
    save,
    unlink,
)
from fastim.core.units import Millis

ID = "0123456789abcdef01234567"
NOW, LATER = Millis(1_700_000_000_000), Millis(1_700_000_100_000)
PHONE = {"deviceType": "ios", "deviceToken": "a1b2"}

words = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), max_size=20)
plain = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | words
names = st.text("abc", min_size=1, max_size=3)
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3))
rows = st.fixed_dictionaries(
    {"deviceType": st.sampled_from(["ios", "Android", "web"]), "deviceToken": st.text("abc", min_size=1, max_size=9)},
    optional={
        "installationId": words,
        "vendor": words,
        "registrationId": words,
        "deviceProfile": words,
        "apnsTeamId": words,
        "apnsTopic": words,
        "channels": st.lists(words, max_size=5),
        "badge": st.integers(0, BADGE_MAX),
        "timeZone": words,
        "seats": st.integers(0, 9) | st.lists(st.integers(0, 9), max_size=3),
    },
)


def new(columns: Mapping[str, Any] = PHONE, **more: Any) -> Installation:
    return save(None, ID, {**columns, **more}, NOW)


def change(before: Installation, *, privileged: bool = False, **columns: Any) -> Installation:
    return save(before, "unused", columns, LATER, privileged=privileged)


def operation(name: str, *objects: Any) -> dict[str, Any]:
    return {"__op": name, "objects": list(objects)}


def failure(before: Installation | None, columns: Mapping[str, Any]) -> InvalidInstallation:
    with pytest.raises(InvalidInstallation) as caught:
        save(before, ID, columns, LATER)
    return caught.value


def test_a_device_has_what_it_said_of_itself() -> None:
    said = {
        "deviceType": "Android",
        "deviceToken": "a1b2",
        "installationId": "i1",
        "vendor": "HMS",
        "registrationId": "r1",
        "deviceProfile": "dev",
        "apnsTeamId": "TEAM",
        "apnsTopic": "com.example",
        "channels": ["public", "tom", "public"],
        "badge": 3,
        "timeZone": "Asia/Shanghai",
        "seats": {"row": [1, 2]},
    }
    installation = new(said)
    assert installation == Installation(
        id=ID,
        kind="android",
        created_at=NOW,
        updated_at=NOW,
        token="a1b2",
        installation_id="i1",
        vendor="HMS",
        registration_id="r1",
        profile="dev",
        team_id="TEAM",
        topic="com.example",
        channels=("public", "tom"),
        badge=3,
        columns={"timeZone": "Asia/Shanghai", "seats": {"row": [1, 2]}},
    )
    assert record(installation) == {
        **said,
        "deviceType": "android",
        "channels": ["public", "tom"],
        "valid": True,
        "objectId": ID,
        "createdAt": "2023-11-14T22:13:20.000Z",
        "updatedAt": "2023-11-14T22:13:20.000Z",
    }


def test_a_row_without_a_column_does_not_show_it() -> None:
    assert record(new()).keys() == {
        *("objectId", "createdAt", "updatedAt", "deviceType", "deviceToken", "channels", "valid")
    }


def test_what_is_not_named_stays() -> None:
    before = new(channels=["public"], seats=3, apnsTopic="com.example")
    after = change(before, timeZone="Asia/Tokyo")
    assert after == replace(before, updated_at=LATER, columns={"seats": 3, "timeZone": "Asia/Tokyo"})


@given(said=rows, more=st.dictionaries(names, values, max_size=3))
def test_saving_again_what_was_read_changes_nothing_but_the_time(said: dict[str, Any], more: dict[str, Any]) -> None:
    before = new({**said, **more})
    read = msgspec.json.decode(msgspec.json.encode(record(before)))
    assert save(before, "unused", read, LATER) == replace(before, updated_at=LATER)
    assert record(save(None, ID, read, NOW)) == record(before)


def test_what_only_the_server_writes_or_sdks_put_in_for_themselves_is_passed_over() -> None:
    own = {"objectId": "x", "createdAt": "y", "updatedAt": 5, "className": "_Installation", "__type": "Object"}
    assert new(PHONE, **own, __internalId="z", __children=[], __ignore_hooks=["a"]) == new()


@pytest.mark.parametrize(
    ("asked", "channels"),
    [
        (["c"], ("c",)),
        (operation("Add", "c", "a"), ("a", "b", "c")),
        (operation("AddUnique", "b", "c"), ("a", "b", "c")),
        (operation("Remove", "a", "x"), ("b",)),
        ({"__op": "Delete"}, ()),
        (None, ()),
        ([""], ("",)),
    ],
)
def test_channels_are_set_or_changed_by_operations(asked: Any, channels: tuple[str, ...]) -> None:
    assert change(new(channels=["a", "b"]), channels=asked).channels == channels


@pytest.mark.parametrize("asked", [operation("Add", "a"), operation("AddUnique", "a", "a"), ["a"]])
def test_operations_work_on_a_new_installation(asked: Any) -> None:
    assert new(channels=asked).channels == ("a",)


@pytest.mark.parametrize(
    ("asked", "badge"),
    [
        ({"__op": "Increment", "amount": 2}, 5),
        ({"__op": "Increment", "amount": -3}, 0),
        ({"__op": "Delete"}, 0),
        (7, 7),
        (7.0, 7),
        (0, 0),
        (None, 0),
    ],
)
def test_the_badge_is_set_or_counted(asked: Any, badge: int) -> None:
    after = change(new(badge=3), badge=asked).badge
    assert (after, type(after)) == (badge, int)


def test_columns_of_the_apps_own_are_deleted_and_counted() -> None:
    before = new(seats=3, deep={"a": 1, "b": 2})
    asked = {"seats": {"__op": "Increment", "amount": 1}, "deep.a": {"__op": "Delete"}}
    after = save(before, "unused", asked, LATER)
    assert after.columns == {"seats": 4, "deep": {"b": 2}}
    assert change(after, seats={"__op": "Delete"}, deep={"__op": "Delete"}).columns == {}


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({}, NO_DEVICE),
        ({"deviceType": ""}, NO_DEVICE),
        ({"deviceType": 5, "deviceToken": "a"}, NO_DEVICE),
        ({"deviceType": "i os", "deviceToken": "a"}, NO_DEVICE),
        ({"deviceType": "x" * 33, "deviceToken": "a"}, NO_DEVICE),
        ({"deviceToken": "a"}, NO_DEVICE),
        ({"deviceType": "ios"}, NO_DEVICE),
        ({"deviceType": "ios", "deviceToken": "", "registrationId": "r"}, NO_DEVICE),
        ({**PHONE, "deviceToken": 5}, WRONG_TYPE),
        ({**PHONE, "deviceToken": "a\nb"}, WRONG_TYPE),
        ({**PHONE, "apnsTopic": ["com.example"]}, WRONG_TYPE),
        ({**PHONE, "channels": "tom"}, WRONG_TYPE),
        ({**PHONE, "channels": [5]}, WRONG_TYPE),
        ({**PHONE, "channels": ["a\0"]}, WRONG_TYPE),
        ({**PHONE, "channels": {"__op": "Increment", "amount": 1}}, WRONG_TYPE),
        ({**PHONE, "channels": {"__op": "Add"}}, WRONG_TYPE),
        ({**PHONE, "channels.a": 1}, WRONG_TYPE),
        ({**PHONE, "badge": "3"}, WRONG_TYPE),
        ({**PHONE, "badge": True}, WRONG_TYPE),
        ({**PHONE, "badge": 1.5}, WRONG_TYPE),
        ({**PHONE, "badge": -1}, WRONG_TYPE),
        ({**PHONE, "badge": BADGE_MAX + 1}, WRONG_TYPE),
        ({**PHONE, "valid": "yes"}, WRONG_TYPE),
        ({**PHONE, "seats": {"__op": "Nothing"}}, WRONG_TYPE),
        ({**PHONE, "$seats": 1}, WRONG_TYPE),
        ({**PHONE, "deviceToken": "x" * (TOKEN_CHARACTERS_MAX + 1)}, TOO_LARGE),
        ({**PHONE, "apnsTopic": "x" * (NAME_CHARACTERS_MAX + 1)}, TOO_LARGE),
        ({**PHONE, "channels": ["x" * (NAME_CHARACTERS_MAX + 1)]}, TOO_LARGE),
        ({**PHONE, "channels": [str(number) for number in range(CHANNELS_MAX + 1)]}, TOO_LARGE),
        ({**PHONE, "seats": "x" * RECORD_BYTES_MAX}, TOO_LARGE),
    ],
)
def test_what_is_no_installation_is_refused(columns: dict[str, Any], code: int) -> None:
    assert failure(None, columns).code == code


@pytest.mark.parametrize("columns", [{"deviceToken": None}, {"deviceToken": {"__op": "Delete"}}, {"deviceType": None}])
def test_a_device_cannot_lose_what_it_is_known_by(columns: dict[str, Any]) -> None:
    assert failure(new(), columns).code == NO_DEVICE


def test_why_it_is_refused_does_not_show_the_token() -> None:
    columns = {**PHONE, "deviceToken": "secret\n", "registrationId": ["secret"]}
    assert "secret" not in str(failure(None, columns))
    assert "secret" not in str(failure(None, {**columns, "deviceToken": "secret" * TOKEN_CHARACTERS_MAX}))


def test_as_much_as_there_may_be_is_taken() -> None:
    channels = [str(number) for number in range(CHANNELS_MAX)]
    assert len(new(channels=channels).channels) == CHANNELS_MAX
    assert new(deviceToken="x" * TOKEN_CHARACTERS_MAX).token


@pytest.mark.parametrize("renewed", [{"deviceToken": "c3"}, {"registrationId": "r2"}])
def test_a_new_token_is_valid_again(renewed: dict[str, str]) -> None:
    dead = replace(new(), valid=False)
    assert not change(dead, deviceToken="a1b2", valid=True).valid
    assert not change(dead, timeZone="UTC").valid
    assert save(dead, "unused", renewed, LATER).valid


def test_nobody_but_the_application_says_what_is_valid() -> None:
    assert change(new(), valid=False).valid
    dead = change(new(), privileged=True, valid=False)
    assert not dead.valid
    assert change(dead, privileged=True, valid=True).valid
    assert not change(dead, privileged=True, timeZone="UTC").valid


def test_time_does_not_run_backwards() -> None:
    before = replace(new(), updated_at=Millis(LATER + 1))
    assert change(before).updated_at == before.updated_at


@pytest.mark.rule("10.8")
def test_a_device_is_linked_to_a_client_and_unlinked() -> None:
    before = new(channels=["public"])
    linked = link(before, "tom", LATER)
    assert linked == replace(before, channels=("public", "tom"), updated_at=LATER)
    assert link(linked, "tom", LATER) is linked
    assert unlink(linked, "tom", LATER) == replace(before, updated_at=LATER)
    assert unlink(before, "tom", LATER) is before


def test_a_linked_device_that_is_in_use_shows_it_once_a_day() -> None:
    linked = link(new(), "tom", NOW)
    assert link(linked, "tom", Millis(NOW + TOUCH_MILLIS - 1)) is linked
    assert link(linked, "tom", Millis(NOW + TOUCH_MILLIS)).updated_at == NOW + TOUCH_MILLIS


def test_a_device_that_is_full_is_linked_to_nobody_else() -> None:
    by_number = new(channels=[str(number) for number in range(CHANNELS_MAX)])
    assert link(by_number, "tom", LATER) is by_number
    room = RECORD_BYTES_MAX - len(msgspec.json.encode(record(new(seats=""))))
    by_size = new(seats="x" * room)
    assert link(by_size, "tom", LATER) is by_size


def test_a_device_goes_by_both_its_names_but_not_by_none() -> None:
    device = new(installationId="i1")
    assert device.goes_by("i1")
    assert device.goes_by("a1b2")
    assert not new().goes_by("")


@pytest.mark.parametrize(
    ("columns", "whole"),
    [(PHONE, True), ({"deviceType": "ios"}, False), ({"deviceToken": "a"}, False), ({**PHONE, "deviceType": 5}, False)],
)
def test_a_device_says_enough_with_its_type_and_a_name(columns: dict[str, Any], whole: bool) -> None:
    assert is_whole(columns) is whole


def test_the_same_token_reaches_the_same_device() -> None:
    assert has_token_of(new(), new(apnsTopic="x"))
    assert not has_token_of(new(), new(registrationId="r"))


@pytest.mark.parametrize("text", ["", ID[1:], ID + "0", ID.upper(), "_tmp:" + ID, ID[1:] + "\n", "x" * 24])
def test_an_id_has_24_hex_digits(text: str) -> None:
    assert is_installation_id(ID)
    assert not is_installation_id(text)
