"""The entrance: the first password, signing in and out, and being locked out."""

import json
import stat
from pathlib import Path

import pytest

from fastim.core.errors import SettingsError
from fastim.doors.http.console.entrance import (
    NAME,
    PASS_SECONDS,
    PASSES_MAX,
    TURN_SECONDS,
    WAITING_MAX,
    WINDOW_SECONDS,
    WRONG_EVERYWHERE,
    WRONG_MAX,
    Attempts,
    Entrance,
    LockedOut,
    UnfitPassword,
    WrongPassword,
    WrongToken,
)
from fastim.runtime.pulse import Meter
from tests.doors.desk import PASSWORD, QUICK, Desk, Seconds, desk

pytestmark = pytest.mark.anyio

OTHER = "another good password"


def entrance(directory: Path, seconds: Seconds | None = None) -> Entrance:
    return Entrance(directory, Meter(), seconds or Seconds(), QUICK)


def token_of(one: Entrance) -> str:
    return one.setup_link.removeprefix("/console#/setup/")


async def ready(directory: Path, seconds: Seconds | None = None) -> Entrance:
    """With a password."""
    one = entrance(directory, seconds)
    await one.set_up(token_of(one), PASSWORD)
    return one


def names_in(directory: Path) -> list[str]:
    return [one.name for one in directory.iterdir()]


async def set_up_from(one: Desk, *fields: str) -> int:
    token = token_of(one.console.entrance)
    status, _ = await one.call("POST", "/setup", {"token": token, "password": PASSWORD}, *fields)
    return status


async def test_the_first_password_is_set_by_the_link_and_signs_in() -> None:
    async with desk(signed_in=False) as one:
        assert await one.get("/session") == {**(await one.get("/session")), "set_up": False, "signed_in": False}
        await one.set_up()
        state = await one.get("/session")
        assert state["set_up"]
        assert state["signed_in"]
        assert state["expires_at"] == one.node.clock.now() + 1000 * PASS_SECONDS
        assert one.console.entrance.setup_link == ""


async def test_the_link_works_once() -> None:
    async with desk(signed_in=False) as one:
        token = token_of(one.console.entrance)
        await one.set_up()
        assert await one.refusal("POST", "/setup", {"token": token, "password": OTHER}) == (409, None)


async def test_without_the_link_no_password_is_set() -> None:
    async with desk(signed_in=False) as one:
        for token in ("", "x" * 43, "\u00e9"):
            assert await one.refusal("POST", "/setup", {"token": token, "password": PASSWORD}) == (403, "token")
        assert not one.console.entrance.is_set_up


@pytest.mark.parametrize(
    "field",
    [
        "X-Forwarded-For: 127.0.0.1",
        "Forwarded: for=127.0.0.1",
        "X-Real-IP: 127.0.0.1",
        "Via: 1.1 x",
        "X-Forwarded-Proto: http",
    ],
)
async def test_what_a_proxy_brings_was_not_asked_on_this_machine(field: str) -> None:
    async with desk(signed_in=False) as one:
        assert await set_up_from(one, field) == 403
        assert await set_up_from(one) == 200


async def test_a_password_that_is_too_short_leaves_the_link_as_good_as_it_was() -> None:
    async with desk(signed_in=False) as one:
        token = token_of(one.console.entrance)
        assert await one.refusal("POST", "/setup", {"token": token, "password": "short"}) == (400, "password")
        await one.set_up()


async def test_nobody_signs_in_before_there_is_a_password() -> None:
    async with desk(signed_in=False) as one:
        assert await one.refusal("POST", "/sign-in", {"password": PASSWORD}) == (409, None)


async def test_the_cookie_is_kept_from_scripts_other_sites_and_other_paths() -> None:
    async with desk() as one:
        await one.sign_in()
        name, *attributes = one.header["set-cookie"].split("; ")
        assert len(name.removeprefix("fastim_console=")) == 43
        assert {one.lower() for one in attributes} == {
            "httponly", f"max-age={PASS_SECONDS}", "path=/console", "samesite=strict",
        }  # fmt: skip


async def test_over_tls_the_cookie_is_kept_to_tls() -> None:
    async with desk() as one:
        await one.call("POST", "/sign-in", {"password": PASSWORD}, "X-Forwarded-Proto: https")
        assert "Secure" in one.header["set-cookie"].split("; ")


async def test_a_wrong_password_is_refused() -> None:
    async with desk() as one:
        one.cookie = ""
        assert await one.refusal("POST", "/sign-in", {"password": OTHER}) == (401, "password")
        assert "set-cookie" not in one.header


async def test_who_signs_out_is_out_and_the_browser_forgets_the_cookie() -> None:
    async with desk() as one:
        cookie = one.cookie
        await one.post("/sign-out")
        one.keep_cookie()
        assert one.cookie == ""
        one.cookie = cookie
        assert await one.refusal("GET", "/applications") == (401, None)
        await one.post("/sign-out")


async def test_using_the_console_keeps_the_session_until_its_time_is_over() -> None:
    async with desk() as one:
        for _ in range(11):
            one.seconds.now += 3_600
            await one.get("/applications")
        one.seconds.now += 3_600
        assert await one.refusal("GET", "/applications") == (401, None)


async def test_a_page_that_is_left_open_does_not_keep_the_session() -> None:
    async with desk() as one:
        for _ in range(7):
            one.seconds.now += 1_000
            await one.get("/live")
        one.seconds.now += 1_000
        assert await one.refusal("GET", "/live") == (401, None)


async def test_another_password_ends_all_other_sessions() -> None:
    async with desk() as one:
        mine = one.cookie
        await one.sign_in()
        other, one.cookie = one.cookie, mine
        await one.post("/password", old=PASSWORD, new=OTHER)
        await one.get("/applications")
        one.cookie = other
        assert await one.refusal("GET", "/applications") == (401, None)
        assert await one.refusal("POST", "/sign-in", {"password": PASSWORD}) == (401, "password")
        await one.sign_in(OTHER)


async def test_who_does_not_know_the_password_does_not_change_it() -> None:
    async with desk() as one:
        assert await one.refusal("POST", "/password", {"old": OTHER, "new": OTHER}) == (403, "old")
        assert await one.refusal("POST", "/password", {"old": PASSWORD, "new": "short"}) == (400, "new")
        await one.sign_in()


async def test_after_five_wrong_passwords_the_right_one_has_to_wait() -> None:
    async with desk() as one:
        for _ in range(WRONG_MAX):
            assert await one.refusal("POST", "/sign-in", {"password": OTHER}) == (401, "password")
        assert await one.refusal("POST", "/sign-in", {"password": PASSWORD}) == (429, None)
        assert one.header["retry-after"] == str(WINDOW_SECONDS)
        elsewhere = await one.call("POST", "/sign-in", {"password": PASSWORD}, "X-Forwarded-For: 192.0.2.7")
        assert elsewhere[0] == 200
        one.seconds.now += WINDOW_SECONDS
        await one.sign_in()
        assert ("locked out", "", "") in await one.audited()


async def test_wrong_passwords_at_the_change_of_it_count_too() -> None:
    async with desk() as one:
        for _ in range(WRONG_MAX):
            assert await one.refusal("POST", "/password", {"old": OTHER, "new": OTHER}) == (403, "old")
        assert await one.refusal("POST", "/password", {"old": PASSWORD, "new": OTHER}) == (429, None)
        assert await one.refusal("POST", "/sign-in", {"password": PASSWORD}) == (429, None)


async def test_what_is_noted_has_no_password_in_it(tmp_path: Path) -> None:
    async with desk(directory=tmp_path) as one:
        await one.sign_in()
        await one.post("/password", old=PASSWORD, new=OTHER)
        assert [what for what, *_ in await one.audited()] == ["password changed", "signed in", "password set"]
        kept = (tmp_path / "audit.jsonl").read_text()
        assert PASSWORD not in kept
        assert OTHER not in kept


async def test_the_password_survives_a_restart_and_the_link_does_not_come_back(tmp_path: Path) -> None:
    await ready(tmp_path)
    again = entrance(tmp_path)
    assert again.setup_link == ""
    assert again.find(await again.sign_in("", PASSWORD)) is not None


async def test_the_file_is_for_the_server_alone_and_holds_a_hash(tmp_path: Path) -> None:
    await ready(tmp_path)
    path = tmp_path / NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_bytes())["password"].startswith("$argon2id$")
    assert names_in(tmp_path) == [NAME]


async def test_without_the_file_the_server_starts_as_if_no_password_had_been_set(tmp_path: Path) -> None:
    await ready(tmp_path)
    (tmp_path / NAME).unlink()
    again = entrance(tmp_path)
    assert not again.is_set_up
    assert again.setup_link


@pytest.mark.parametrize("content", [b"", b"{}", b'{"password": ""}', b'{"password": "open"}', b"\xff"])
def test_a_file_that_holds_no_password_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(SettingsError, match=NAME):
        entrance(tmp_path)


async def test_each_start_makes_another_link(tmp_path: Path) -> None:
    old, new = entrance(tmp_path), entrance(tmp_path)
    assert token_of(old) != token_of(new)
    with pytest.raises(WrongToken):
        await new.set_up(token_of(old), PASSWORD)


async def test_a_password_that_could_not_be_stored_is_not_set(tmp_path: Path) -> None:
    one = entrance(tmp_path / "gone")
    with pytest.raises(OSError):
        await one.set_up(token_of(one), PASSWORD)
    assert not one.is_set_up
    (tmp_path / "gone").mkdir()
    await one.set_up(token_of(one), PASSWORD)


async def test_a_password_may_have_any_characters_and_no_end_of_them(tmp_path: Path) -> None:
    one = await ready(tmp_path)
    mine = one.find(await one.sign_in("", PASSWORD))
    assert mine is not None
    await one.change_password("", PASSWORD, "口令口令口令口令\ud800\0", mine)
    await one.sign_in("", "口令口令口令口令\ud800\0")
    with pytest.raises(UnfitPassword):
        await one.change_password("", "", "x" * 1_025, mine)
    with pytest.raises(WrongPassword):
        await one.sign_in("", "x" * 100_000)


async def test_there_are_so_many_sessions_and_no_more(tmp_path: Path) -> None:
    seconds = Seconds()
    one = await ready(tmp_path, seconds)
    first = await one.sign_in("", PASSWORD)
    secrets = []
    for _ in range(PASSES_MAX):
        seconds.now += 1
        secrets.append(await one.sign_in("", PASSWORD))
    assert one.find(first) is None
    assert all(one.find(secret) is not None for secret in secrets)


async def test_many_at_once_do_not_pile_up(tmp_path: Path) -> None:
    one = await ready(tmp_path)
    one._waiting = WAITING_MAX
    with pytest.raises(LockedOut):
        await one.sign_in("192.0.2.1", PASSWORD)


def test_attempts_at_the_same_time_count_before_any_is_known_to_be_wrong() -> None:
    attempts = Attempts(Seconds())
    for _ in range(WRONG_MAX):
        attempts.begin("192.0.2.1")
    with pytest.raises(LockedOut):
        attempts.begin("192.0.2.1")


def test_a_right_password_forgives_the_wrong_ones() -> None:
    attempts = Attempts(Seconds())
    for _ in range(3 * WRONG_MAX):
        attempts.forgive("192.0.2.1", attempts.begin("192.0.2.1"))


def test_addresses_of_one_network_of_ipv6_are_one() -> None:
    attempts = Attempts(Seconds())
    for number in range(WRONG_MAX):
        attempts.begin(f"2001:db8::{number}")
    assert attempts.is_locked_out("2001:db8::ffff")
    assert not attempts.is_locked_out("2001:db8:0:1::1")


def test_who_tries_from_everywhere_is_slowed_down_and_who_is_known_is_not() -> None:
    seconds = Seconds()
    attempts = Attempts(seconds)
    attempts.forgive("198.51.100.1", attempts.begin("198.51.100.1"))
    for number in range(WRONG_EVERYWHERE):
        attempts.begin(f"192.0.2.{number}")
    attempts.begin("192.0.2.100")
    with pytest.raises(LockedOut) as caught:
        attempts.begin("192.0.2.101")
    assert caught.value.wait == TURN_SECONDS
    attempts.begin("198.51.100.1")
    seconds.now += TURN_SECONDS
    attempts.begin("192.0.2.101")
    seconds.now += WINDOW_SECONDS
    attempts.begin("192.0.2.102")
    attempts.begin("192.0.2.103")
