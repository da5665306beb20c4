"""What all REST calls have in common."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fastim.doors.http.rest import CALLS
from fastim.doors.http.rest.authentication import Access
from fastim.doors.http.rest.calls import Call, is_plain
from fastim.doors.http.rest.openapi import document
from fastim.doors.http.rest.page import page
from fastim.settings import Rest
from tests.doors.office import KEY, MASTER, UNAUTHORIZED, Office, id_of, office

pytestmark = pytest.mark.anyio

CLOSED = [call for call in CALLS if isinstance(call, Call)]
WRONG_KEYS = [
    (),
    ("X-LC-Id: app",),
    ("X-LC-Id: app", "X-LC-Key: wrong"),
    ("X-LC-Id: app", "X-LC-Key: wrong,master"),
    ("X-LC-Id: other", "X-LC-Key: master,master"),
]


def target(call: Call[Any, Any, Any]) -> str:
    """The call's path, for something that there is none of."""
    return re.sub(r"{\w+}", "nothing", call.path)


async def test_no_call_can_be_made_without_the_right_key() -> None:
    async with office() as rest:
        for call in CLOSED:
            for fields in WRONG_KEYS:
                assert await rest.ask(target(call), *fields, method=call.method) == UNAUTHORIZED, call.path


async def test_a_call_for_the_applications_servers_cannot_be_made_with_the_key_that_clients_know() -> None:
    async with office() as rest:
        for call in CLOSED:
            status, _ = await rest.ask(target(call), *KEY, method=call.method)
            assert (status == 401) == (call.access > Access.APPLICATION), call.path


async def test_the_master_key_opens_every_call() -> None:
    async with office() as rest:
        for call in CLOSED:
            status, _ = await rest.ask(target(call), *MASTER, method=call.method)
            assert status in (200, 400, 404), call.path


async def test_only_these_calls_are_open_to_whoever_has_the_key_that_clients_know() -> None:
    # Source: REST reference, the rows without M and C.
    open_calls = {(call.method, call.path) for call in CLOSED if call.access is Access.APPLICATION}
    assert {(method, path) for method, path in open_calls if path.startswith("/1.2/")} == {
        ("POST", "/1.2/rtm/service-conversations/{conversation_id}/subscribers"),
        ("DELETE", "/1.2/rtm/service-conversations/{conversation_id}/subscribers/{client_id}"),
        ("GET", "/1.2/rtm/clients/{client_id}/unread-count"),
        ("GET", "/1.2/rtm/clients/sign"),
    }


@pytest.mark.parametrize("body", [b"[]", b"null", b'"a"', b"5", b"{", b"\xff", b'{"\xff": 1}', b"[" * 100_000])
async def test_a_body_that_is_not_an_object_is_refused_by_every_call_that_takes_one(body: bytes) -> None:
    async with office() as rest:
        for call in CLOSED:
            if is_plain(call.body) or (call.method, body) == ("GET", b"null"):
                continue
            status, answer = await rest.ask(target(call), *MASTER, method=call.method, body=body)
            assert status == 400, call.path
            assert answer["code"] == 400


async def test_what_is_got_may_be_asked_for_with_a_body_of_null() -> None:
    """Source: JavaScript's storage SDK 4.15.2 does so."""
    async with office() as rest:
        room = await rest.conversation("tom", "jerry")
        assert await rest.ask(f"{room}/members", *MASTER, method="GET", body=b"null") == (
            200,
            {"result": ["tom", "jerry"]},
        )


@pytest.mark.parametrize(
    ("method", "call", "body", "error"),
    [
        ("POST", "messages", b"from_client=tom", "body: JSON is malformed: invalid character (byte 5)"),
        ("POST", "messages", b'{"message": "x"}', "body: Object missing required field `from_client`"),
        ("DELETE", "temporary-silenceds", b'{"client_id": "tom"}', "query: Object missing required field `client_id`"),
        ("GET", "messages?limit=many", b"", "query: Expected `int`, got `str` - at `$.limit`"),
    ],
)
async def test_what_is_wrong_is_said_with_the_place_where_it_is(
    method: str, call: str, body: bytes, error: str
) -> None:
    async with office() as rest:
        room = await rest.conversation("tom")
        answer = await rest.ask(f"{room}/{call}", *MASTER, method=method, body=body)
        assert answer == (400, {"code": 400, "error": error})


async def test_calls_are_described_to_whoever_asks() -> None:
    async with office() as rest:
        status, described = await rest.ask("/openapi.json", method="GET")
        assert status == 200
        assert described["openapi"].startswith("3.1")
        described_calls = {(method.upper(), path) for path, one in described["paths"].items() for method in one}
        assert described_calls == {(call.method, call.path) for call in CALLS}


def test_each_call_is_there_once_and_has_a_name_of_its_own() -> None:
    described = document(CALLS, "1")
    names = [operation["operationId"] for one in described["paths"].values() for operation in one.values()]
    assert len(names) == len(set(names)) == len(CALLS)


def test_everything_that_the_description_refers_to_is_in_it() -> None:
    described = document(CALLS, "1")
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(described))):
        found: Any = described
        for part in reference.split("/"):
            found = found[part]
        assert found


def test_the_rest_page_is_current() -> None:
    written = (Path(__file__).parents[2] / "docs" / "rest.md").read_text(encoding="utf-8")
    assert written == page(CALLS), "python -m fastim.doors.http.rest.page > docs/rest.md"


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/1.1/rtm/sign", "POST, OPTIONS"),
        ("/1.1/rtm/notifications", "GET, OPTIONS"),
        ("/1.2/rtm/conversations/5/members", "POST, DELETE, GET, OPTIONS"),
    ],
)
async def test_pages_in_browsers_may_call_from_anywhere(path: str, methods: str) -> None:
    async with office() as rest:
        fields = ("Host: a", "Origin: https://b", "Access-Control-Request-Headers: x-lc-id,x-lc-ua", "\r\n")
        await rest.socket.write("\r\n".join((f"OPTIONS {path} HTTP/1.1", *fields)).encode())
        head = (await rest.socket.read_head()).decode()
        assert head.startswith("HTTP/1.1 204 ")
        assert "Access-Control-Allow-Origin: *\r\n" in head
        assert f"Access-Control-Allow-Methods: {methods}\r\n" in head
        assert "Access-Control-Allow-Headers: x-lc-id,x-lc-ua\r\n" in head


@pytest.mark.parametrize("fields", [MASTER, ()])
async def test_they_may_read_every_answer_and_every_failure(fields: tuple[str, ...]) -> None:
    async with office() as rest:
        await rest.ask("/1.2/rtm/stats", *fields, method="GET")
        assert rest.header["access-control-allow-origin"] == "*"
        await rest.ask("/1.2/nowhere", *fields, method="GET")
        assert rest.header["access-control-allow-origin"] == "*"
        await rest.ask("/openapi.json", *fields, method="GET")
        assert "access-control-allow-origin" not in rest.header


async def test_what_is_not_there_is_an_error_in_json() -> None:
    async with office() as rest:
        assert await rest.refusal("GET", "/1.2/rtm/nothing") == (404, 404)
        assert await rest.refusal("PATCH", "/1.2/rtm/stats") == (405, 405)
        assert set(rest.header["allow"].split(",")) == {"GET", "OPTIONS"}


class Seconds:
    """A clock for quotas."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.rule("2.16")
async def test_too_many_messages_in_a_minute_have_to_wait_for_the_next() -> None:
    seconds = Seconds()
    async with office(Rest(sends_per_minute=2), seconds) as rest:
        room = await rest.conversation("tom", "jerry")
        sent = await rest.say(room, "one")
        body = {"from_client": "tom", "message": "changed", "timestamp": sent["timestamp"]}
        message = f"{room}/messages/{sent['msg-id']}"
        await rest.put(message, **body)
        assert await rest.refusal("POST", f"{room}/messages", {"from_client": "tom", "message": "x"}) == (429, 429)
        assert 1 <= int(rest.header["retry-after"]) <= 61
        assert await rest.refusal("PUT", message, body) == (429, 429)
        assert await rest.refusal("PUT", f"{message}/recall", body) == (429, 429)
        await rest.get(f"{room}/messages")
        seconds.now += 61
        await rest.put(f"{message}/recall", **body)


async def test_a_call_that_is_malformed_costs_nothing() -> None:
    async with office(Rest(sends_per_minute=1)) as rest:
        room = await rest.conversation("tom", "jerry")
        for _ in range(3):
            assert await rest.refusal("POST", f"{room}/messages", {"message": "x"}) == (400, 400)
        await rest.say(room, "x")


async def test_a_call_that_is_refused_costs_nothing() -> None:
    async with office(Rest(broadcasts_per_day=1, sends_per_minute=1)) as rest:
        news, room = await rest.service(), await rest.conversation("tom")
        message = {"from_client": "tom", "message": "x"}
        for _ in range(3):
            to_nobody = {**message, "conv_id": "nothing"}
            assert await rest.refusal("POST", "/1.2/rtm/broadcasts", to_nobody) == (404, 4303)
            assert await rest.refusal("POST", f"{room}/messages", {**message, "message": "x" * 6000}) == (400, 4109)
        await rest.post("/1.2/rtm/broadcasts", **message, conv_id=id_of(news))
        await rest.post(f"{room}/messages", **message)
        assert await rest.refusal("POST", f"{room}/messages", message) == (429, 429)


@pytest.mark.rule("2.16")
async def test_messages_to_subscribers_and_to_everybody_have_quotas_of_their_own() -> None:
    seconds = Seconds()
    rules = Rest(subscriber_broadcasts_per_day=1, broadcasts_per_day=1, sends_per_minute=1)
    async with office(rules, seconds) as rest:
        news = await rest.service()
        to_subscribers = {"from_client": "news", "message": "x"}
        to_everybody = {**to_subscribers, "conv_id": id_of(news)}
        await rest.post(f"{news}/broadcasts", **to_subscribers)
        await rest.post("/1.2/rtm/broadcasts", **to_everybody)
        await rest.post(f"{news}/messages", **to_subscribers, to_clients=["tom"])
        seconds.now += 3600
        assert await rest.refusal("POST", f"{news}/broadcasts", to_subscribers) == (429, 429)
        assert await rest.refusal("POST", "/1.2/rtm/broadcasts", to_everybody) == (429, 429)
        assert int(rest.header["retry-after"]) > 3600
        await rest.post(f"{news}/messages", **to_subscribers, to_clients=["tom"])


async def address_of_a_message(rest: Office, *fields: str) -> str:
    room = await rest.conversation("tom", "jerry")
    body = json.dumps({"from_client": "tom", "message": "x"}).encode()
    await rest.ask(f"{room}/messages", *MASTER, *fields, body=body)
    (message,) = await rest.get(f"{room}/messages")
    return str(message["from-ip"])


async def test_a_message_has_the_address_that_the_call_came_from() -> None:
    async with office() as rest:
        assert await address_of_a_message(rest) == "127.0.0.1"
        assert await address_of_a_message(rest, "X-Forwarded-For: 198.51.100.1, 203.0.113.7") == "203.0.113.7"
