import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from fastim.adapters.egress import EgressRefused, connector, is_public, open_public, problem_of
from tests.fakes.running import on_asyncio


class Names(AbstractResolver):
    """Names that lead where a test says.

    Args:
        answers: Addresses for each time that a name is looked up; the last ones stay.
    """

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def inside() -> AsyncIterator[tuple[int, list[str]]]:
    """A service of the operator's own network: its port, and what it was asked."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.host)
        return web.Response(body=b"secret")

    site = web.Application()
    site.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(site, access_log=None, shutdown_timeout=1)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listening).start()
    try:
        yield listening.getsockname()[1], asked
    finally:
        await runner.cleanup()


NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:7f00:1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "5f00::1",
    "100::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
PUBLIC = [
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "172.15.255.255",
    "172.32.0.0",
    "223.255.255.255",
    "::ffff:1.1.1.1",
    "64:ff9b::1.1.1.1",
    "2001:200::1",
    "2606:4700:4700::1111",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_is_not_of_the_internet_at_large_is_not_connected_to(address: str) -> None:
    assert not is_public(address)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with pytest.raises(EgressRefused):
        open_public((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, 443)))


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_of_the_internet_at_large_may_be_connected_to(address: str) -> None:
    assert is_public(address)


def test_a_socket_to_a_public_address_is_an_ordinary_one() -> None:
    with open_public((socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("1.1.1.1", 443))) as made:
        assert (made.family, made.type) == (socket.AF_INET, socket.SOCK_STREAM)


@pytest.mark.parametrize(
    "text", ["", "localhost", "example.com", "2130706433", "0x7f.1", "127.1", "0177.0.0.1", "1.1.1.1 "]
)
def test_only_an_address_as_it_is_written_is_one(text: str) -> None:
    assert not is_public(text)


@given(st.ip_addresses(v=4))
def test_an_address_in_another_one_is_judged_as_itself(address: ipaddress.IPv4Address) -> None:
    assert is_public(f"::ffff:{address}") == is_public(f"64:ff9b::{address}") == is_public(str(address))
    assert not is_public(str(address)) or address.is_global


@given(st.ip_addresses(v=6))
def test_no_address_is_public_that_python_knows_better(address: ipaddress.IPv6Address) -> None:
    assert (
        not is_public(str(address)) or address.is_global or address.ipv4_mapped or str(address).startswith("64:ff9b::")
    )


URLS = [
    "http://127.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://0:{port}/",
    "http://0.0.0.0:{port}/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://localhost:{port}/",
    "http://LOCALHOST.:{port}/",
    "http://tom@127.0.0.1:{port}/",
    "http://\u2460\u2461\u2466.0.0.1:{port}/",
    "http://127\u30020\u30020\u30021:{port}/",
]


@pytest.mark.parametrize("url", URLS)
def test_no_way_of_writing_it_leads_inside(url: str) -> None:
    async def attempt() -> None:
        async with (
            inside() as (port, asked),
            aiohttp.ClientSession(connector=connector(guarded=True, limit=2)) as client,
        ):
            with pytest.raises((aiohttp.ClientError, ValueError)):
                await client.get(url.format(port=port))
            assert asked == []

    asyncio.run(attempt())  # the system looks up names beside the loop, for which its time must not jump


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["::ffff:127.0.0.1"], ["10.1.1.1", "127.0.0.1"], ["::1", "127.0.0.1", "0.0.0.0"]]
)
@on_asyncio
async def test_no_name_leads_inside(addresses: list[str]) -> None:
    guarded = connector(guarded=True, limit=2, resolver=Names(addresses))
    async with inside() as (port, asked), aiohttp.ClientSession(connector=guarded) as client:
        with pytest.raises(aiohttp.ClientConnectorError) as failed:
            await client.get(f"http://hooks.example.com:{port}/")
    assert problem_of(failed.value) == "the address is not public"
    assert asked == []


@on_asyncio
async def test_a_name_that_leads_elsewhere_the_next_time_does_not_lead_inside() -> None:
    """The first look-up would have passed any check; what is judged is what the socket is connected to."""
    names = Names(["1.1.1.1"], ["127.0.0.1"])
    async with inside() as (port, asked):
        assert [is_public(one["host"]) for one in await names.resolve("hooks.example.com", port)] == [True]
        async with aiohttp.ClientSession(connector=connector(guarded=True, limit=2, resolver=names)) as client:
            with pytest.raises(aiohttp.ClientConnectorError):
                await client.get(f"http://hooks.example.com:{port}/")
    assert asked == []


@on_asyncio
async def test_what_the_operator_set_leads_anywhere() -> None:
    async with inside() as (port, asked), aiohttp.ClientSession(connector=connector(guarded=False, limit=2)) as client:
        answer = await client.get(f"http://127.0.0.1:{port}/")
        assert await answer.read() == b"secret"
    assert len(asked) == 1


@on_asyncio
async def test_connections_are_used_again_while_they_are_kept() -> None:
    reused = []

    async def note(*_: object) -> None:
        reused.append(True)

    for kept, expected in ((True, [True]), (False, [True])):
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(note)
        connections = connector(guarded=False, limit=2, kept=kept)
        async with inside() as (port, _), aiohttp.ClientSession(connector=connections, trace_configs=[trace]) as client:
            for _ in range(2):
                async with client.get(f"http://127.0.0.1:{port}/") as answer:
                    await answer.read()
        assert reused == expected


@on_asyncio
async def test_a_problem_is_told_without_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    for host, names, problem in (
        ("127.0.0.1", None, "no connection"),
        ("secret.invalid", Names(["127.0.0.1"]), "no connection"),
    ):
        connections = connector(guarded=False, limit=1, resolver=names)
        async with aiohttp.ClientSession(connector=connections) as client:
            with pytest.raises(aiohttp.ClientError) as failed:
                await client.get(f"http://{host}:{port}/secret")
        assert problem_of(failed.value) == problem
    assert problem_of(TimeoutError("secret")) == "no answer in time"
    assert problem_of(asyncio.IncompleteReadError(b"secret", 9)) == "it cannot be asked: IncompleteReadError"
    for error in (OSError(1, "secret"), ValueError("secret"), ConnectionRefusedError("secret")):
        assert "secret" not in problem_of(error)
