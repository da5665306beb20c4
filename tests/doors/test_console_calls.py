"""What keeps strangers out of the console: the same for every call there is."""

import re

import pytest

from fastim.doors.http.console import CALLS
from fastim.doors.http.console.calls import API, Needs
from fastim.doors.http.console.entrance import IDLE_SECONDS, PASS_SECONDS
from tests.doors.desk import CHANGING, Desk, desk

pytestmark = pytest.mark.anyio

GUARDED = [call for call in CALLS if call.needs is Needs.SESSION]
CHANGES = [call for call in CALLS if call.method != "GET"]
TRIES = {"/words/try", "/push/preview"}
"""Calls that are no GET, and yet change nothing: they are not noted."""
QUIET = {*TRIES, "/sign-out"}
FOREIGN = (
    "Origin: http://b:1",
    "Origin: http://a:2",
    "Origin: http://a",
    "Origin: null",
    "Origin: a:1",
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Site: same-site",
)


ODD_BODIES = (
    b"null", b"[]", b"{}", b'"x"', b"1e999", b'{"a":' * 500 + b"1" + b"}" * 500, b'{"client_id":3}',
    b'{"client_id":""}',
    b'{"client_id":"\\u0000"}', b'{"client_id":"\\ud800"}', b'{"from":"\\ud800","text":"\\ud800"}',
    b'{"client_id":"tom","silenced":true,"seconds":-1}', b'{"client_id":"tom","blocked":"yes"}',
    b'{"from":"tom","text":"hi","priority":"HIGH"}', b'{"timestamp":-1,"from":"tom"}',
    b'{"timestamp":1e300,"from":"tom"}',
    b'{"timestamp":99999999999999999999,"from":"tom"}', b'{"hook":""}', b'{"text":null}', b'{"text":"{"}', b"\xff\xfe",
)  # fmt: skip
"""What no page of ours sends."""
ODD_NAMES = ("%00", "a%2Fb", "%2E%2E", "%F0%9F%98%80", "x" * 500, "%FF")


def path(template: str, name: str = "nothing") -> str:
    """A path of that form; the application is there, nothing else is."""
    return API + re.sub(r"\{\w+\}", name, template.replace("{app}", "app"))


async def statuses(one: Desk, *fields: str, guarded: bool = True, changing: bool = False) -> dict[str, int]:
    """What each call answers."""
    answers = {}
    for call in CALLS:
        if (guarded and call.needs is Needs.NOBODY) or (changing and call.method == "GET"):
            continue
        more = () if changing or call.method == "GET" else (CHANGING,)
        status, answer = await one.ask(call.method, path(call.path), *fields, *more)
        assert answer["error"]
        answers[f"{call.method} {call.path}"] = status
    return answers


def all_of(number: int, answers: dict[str, int]) -> bool:
    return len(answers) > 0 and set(answers.values()) == {number}


def test_no_two_calls_are_the_same() -> None:
    assert len({(call.method, call.path) for call in CALLS}) == len(CALLS)


def test_only_the_entrance_and_the_trial_are_open_to_those_who_have_not_signed_in() -> None:
    assert {call.path for call in CALLS if call.needs is Needs.NOBODY} == {
        "/session",
        "/setup",
        "/sign-in",
        "/sign-out",
        "/try",
        "/try/ledger",
    }


def test_every_call_that_changes_something_is_noted() -> None:
    silent = {call.path for call in CHANGES if not call.what}
    assert all(one.endswith(tuple(QUIET)) for one in silent), silent


async def test_no_call_is_answered_without_a_session() -> None:
    async with desk() as one:
        one.cookie = ""
        assert all_of(401, await statuses(one))


async def test_no_call_is_answered_with_a_session_that_nobody_has() -> None:
    async with desk() as one:
        one.cookie = "x" * 43
        assert all_of(401, await statuses(one))


@pytest.mark.parametrize("seconds", [PASS_SECONDS, IDLE_SECONDS])
async def test_no_call_is_answered_with_a_session_that_has_expired(seconds: float) -> None:
    async with desk() as one:
        one.seconds.now += seconds
        assert all_of(401, await statuses(one))


async def test_no_call_is_answered_with_a_session_that_was_signed_out() -> None:
    async with desk() as one:
        await one.post("/sign-out")
        assert all_of(401, await statuses(one))


@pytest.mark.parametrize("field", FOREIGN)
async def test_no_call_is_answered_for_a_page_of_another_site(field: str) -> None:
    async with desk() as one:
        assert all_of(403, await statuses(one, field, guarded=False))


async def test_no_call_that_changes_something_is_answered_without_the_header() -> None:
    async with desk() as one:
        assert all_of(403, await statuses(one, guarded=False, changing=True))
        assert all_of(403, await statuses(one, "X-Fastim-Console: yes", guarded=False, changing=True))


async def test_no_call_is_answered_before_there_is_a_password() -> None:
    async with desk(signed_in=False) as one:
        assert all_of(409, await statuses(one))


async def test_nothing_that_failed_is_noted() -> None:
    async with desk() as one:
        before = await one.audited()
        one.cookie, cookie = "", one.cookie
        await statuses(one)
        one.cookie = cookie
        assert await one.audited() == before


@pytest.mark.parametrize("field", ["Origin: http://a:1", "Origin: HTTPS://A:1", "Sec-Fetch-Site: same-origin"])
async def test_pages_of_the_console_are_answered(field: str) -> None:
    async with desk() as one:
        assert (await one.ask("GET", f"{API}/applications", field))[0] == 200


async def test_a_proxy_that_is_trusted_says_by_what_name_it_is_known() -> None:
    async with desk() as one:
        fields = ("X-Forwarded-Host: im.example", "Origin: https://im.example")
        assert (await one.ask("GET", f"{API}/applications", *fields))[0] == 200
        assert (await one.ask("GET", f"{API}/applications", fields[1]))[0] == 403


async def test_an_application_that_is_not_there_is_not_found() -> None:
    async with desk() as one:
        assert await one.refusal("GET", "/applications/other/keys") == (404, None)


async def test_what_is_no_json_is_refused() -> None:
    async with desk() as one:
        target = f"{API}/applications"
        assert (await one.ask("POST", target, CHANGING, body=b"id=x", of="application/x-www-form-urlencoded"))[0] == 415
        assert (await one.ask("POST", target, CHANGING, body=b"{"))[0] == 400
        assert (await one.ask("POST", target, CHANGING, body=b"\xff"))[0] == 400
        assert (await one.ask("POST", target, CHANGING, body=b"[" * 60_000))[0] == 400
        assert (await one.ask("POST", target, CHANGING, body=b'{"id": 3}'))[0] == 400


async def test_a_body_that_is_too_long_is_refused() -> None:
    async with desk() as one:
        status, _ = await one.ask("POST", f"{API}/applications", CHANGING, body=b'{"id": "%b"}' % (b"x" * 70_000))
        assert status == 413


async def test_no_answer_may_be_kept_framed_or_taken_for_something_else() -> None:
    async with desk() as one:
        for target in ("/applications", "/nothing"):
            await one.call("GET", target)
            assert one.header["cache-control"] == "no-store"
            assert one.header["x-content-type-options"] == "nosniff"
            assert one.header["x-frame-options"] == "DENY"
            assert "frame-ancestors 'none'" in one.header["content-security-policy"]
            assert "access-control-allow-origin" not in one.header


@pytest.mark.parametrize("body", ODD_BODIES)
async def test_no_call_breaks_whatever_it_is_given(body: bytes) -> None:
    async with desk() as one:
        for call in CHANGES:
            if call.path != "/sign-out":
                status, _ = await one.ask(call.method, path(call.path), CHANGING, body=body)
                assert status != 500, (call.path, body)


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_no_call_breaks_whatever_it_is_asked_about(name: str) -> None:
    async with desk() as one:
        for call in CALLS:
            fields = () if call.method == "GET" else (CHANGING,)
            for query in (
                "",
                f"?search={name}&conversation_id={name}&before_timestamp=9007199254740991&before_id={name}",
            ):
                if "{" in call.path:
                    status, _ = await one.ask(call.method, path(call.path, name) + query, *fields)
                    assert status != 500, (call.path, name)
