import json

import pytest

from tests.doors.building import Socket, building

pytestmark = pytest.mark.anyio


def mapped(address: str) -> str:
    """The IPv4 way to a socket that listens on all addresses."""
    return address.replace("[::]", "127.0.0.1")


async def ask(client: Socket, target: str, *fields: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    await client.write("\r\n".join((f"{method} {target} HTTP/1.1", *fields, "\r\n")).encode("latin-1"))
    return await client.read_response()


@pytest.mark.parametrize(
    ("fields", "server"),
    [
        (["Host: im.example"], "ws://im.example/"),
        (["Host: 10.0.0.7:4568"], "ws://10.0.0.7:4568/"),
        (["Host: [::1]:4568"], "ws://[::1]:4568/"),
        (["Host: a", "X-Forwarded-Proto: https"], "wss://a/"),
        (["Host: a", "X-Forwarded-Proto: wss, http"], "wss://a/"),
        (["Host: a", "X-Forwarded-Proto: gopher"], "ws://a/"),
        (["Host: a", "X-Forwarded-Host: im.example:8443, b", "X-Forwarded-Proto: https"], "wss://im.example:8443/"),
    ],
)
async def test_the_route_is_the_address_that_the_client_used(fields: list[str], server: str) -> None:
    async with building() as house, await Socket.to(await house.http()) as client:
        status, header, body = await ask(client, "/v1/route?appId=app&secure=true&_t=1", *fields)
        assert status == 200
        assert header["content-type"].startswith("application/json")
        assert header["access-control-allow-origin"] == "*"
        assert header["cache-control"] == "no-store"
        assert header["server"] == "fastim"
        assert json.loads(body) == {"server": server, "secondary": server, "ttl": 3600}


async def test_nobody_but_a_trusted_proxy_can_say_what_the_address_was() -> None:
    forwarded = ("Host: a", "X-Forwarded-Host: b", "X-Forwarded-Proto: https")
    proxies = ("10.0.0.0/8", "::1/128")
    async with building(trusted_proxies=proxies) as house, await Socket.to(await house.http()) as client:
        assert json.loads((await ask(client, "/v1/route?appId=app", *forwarded))[2])["server"] == "ws://a/"


async def test_a_trusted_proxy_is_known_on_a_socket_for_both_protocols() -> None:
    async with building() as house, await Socket.to(mapped(await house.http(host="::"))) as client:
        body = (await ask(client, "/v1/route?appId=app", "Host: a", "X-Forwarded-Proto: https"))[2]
        assert json.loads(body)["server"] == "wss://a/"


@pytest.mark.parametrize(
    ("target", "fields", "status", "code"),
    [
        ("/v1/route", ["Host: a"], 400, 400),
        ("/v1/route?appId=", ["Host: a"], 400, 400),
        ("/v1/route?appId=other", ["Host: a"], 404, 4100),
        ("/v1/route?appId=%FF%00", ["Host: a"], 404, 4100),
        ("/v1/route?appId=app", ["Host: evil/path"], 400, 400),
        ("/v1/route?appId=app", ['Host: a"b'], 400, 400),
        ("/v1/route?appId=app", ["Host: user@a"], 400, 400),
        ("/v1/route?appId=app", ["Host: a:b"], 400, 400),
        ("/v1/route?appId=app", ["Host: [::1"], 400, 400),
        ("/v1/route?appId=app", ["Host:"], 400, 400),
        ("/v1/route?appId=app", ["Host: a", "X-Forwarded-Host: <b>"], 400, 400),
    ],
)
async def test_a_route_that_cannot_be_told_is_an_error_that_sdks_can_read(
    target: str, fields: list[str], status: int, code: int
) -> None:
    async with building() as house, await Socket.to(await house.http()) as client:
        answered, header, body = await ask(client, target, *fields)
        problem = json.loads(body)
        assert (answered, problem["code"]) == (status, code)
        assert problem["error"]
        assert header["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("fields", [[], ["Host: a", "Host: b"]])
async def test_a_request_has_one_host(fields: list[str]) -> None:
    async with building() as house, await Socket.to(await house.http()) as client:
        assert (await ask(client, "/v1/route?appId=app", *fields))[0] == 400


async def test_browsers_may_ask_beforehand() -> None:
    async with building() as house, await Socket.to(await house.http()) as client:
        await client.write(b"OPTIONS /v1/route HTTP/1.1\r\nHost: a\r\nOrigin: https://b\r\n\r\n")
        head = await client.read_head()
        assert head.startswith(b"HTTP/1.1 204 ")
        assert b"Access-Control-Allow-Origin: *\r\n" in head
        assert b"Access-Control-Allow-Methods: GET" in head


async def test_health_and_readiness_differ_while_the_server_stops() -> None:
    async with building() as house, await Socket.to(await house.http()) as client:
        assert (await ask(client, "/healthz", "Host: a"))[::2] == (200, b"ok")
        assert (await ask(client, "/readyz", "Host: a"))[0] == 200
        house.gateway.accepting = False
        assert (await ask(client, "/healthz", "Host: a"))[::2] == (200, b"ok")
        assert (await ask(client, "/readyz", "Host: a"))[0] == 503


async def test_metrics_come_as_they_are_made() -> None:
    async with building() as house, await Socket.to(await house.http()) as client:
        status, header, body = await ask(client, "/metrics", "Host: a")
        assert (status, body) == (200, b"fastim_sessions 0\n")
        assert header["content-type"] == "text/plain; version=1; charset=utf-8"


async def test_unknown_paths_and_wrong_methods_are_errors_in_json() -> None:
    async with building() as house, await Socket.to(await house.http()) as client:
        status, header, body = await ask(client, "/nowhere?a=b", "Host: a")
        assert (status, json.loads(body)) == (404, {"code": 404, "error": "Not Found."})
        assert header["server"] == "fastim"
        status, header, body = await ask(client, "/metrics", "Host: a", method="DELETE")
        assert (status, json.loads(body)) == (405, {"code": 405, "error": "Method Not Allowed."})
        assert header["allow"] == "GET,HEAD"
