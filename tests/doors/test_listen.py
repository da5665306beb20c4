import asyncio
import socket

import pytest

from fastim.core.errors import SettingsError
from fastim.doors.listen import listen_http, listen_tcp
from fastim.settings import Address
from tests.doors.building import ANYWHERE, SETTINGS, Socket, building

pytestmark = pytest.mark.anyio

GET = b"GET /healthz HTTP/1.1\r\nHost: im.example\r\n\r\n"


async def test_port_0_becomes_the_one_that_the_kernel_gave() -> None:
    async with building() as house:
        address = Address.parse(await house.http())
        assert address.host == "127.0.0.1"
        assert address.port != 0


@pytest.mark.parametrize(
    ("host", "reached"), [("::1", "[::1]"), ("::", "127.0.0.1"), ("::", "[::1]"), ("localhost", "127.0.0.1")]
)
async def test_hosts_of_every_kind_can_be_listened_on(host: str, reached: str) -> None:
    async with building() as house:
        bound = await house.http(host=host)
        assert Address.parse(bound).host == host
        async with await Socket.to(f"{reached}:{Address.parse(bound).port}") as client:
            await client.write(GET)
            assert (await client.read_response())[0] == 200


@pytest.mark.parametrize(
    ("address", "advice"),
    [
        (Address("no-such-host.invalid", 0), "give an IP address"),
        (Address("a..b", 0), "give an IP address"),
        (Address("x" * 70, 0), "give an IP address"),
        (Address("192.0.2.1", 0), "0.0.0.0 stands for all"),
    ],
)
async def test_an_address_that_cannot_be_had_says_what_to_do(address: Address, advice: str) -> None:
    async with building() as house:
        with pytest.raises(SettingsError) as refused:
            await listen_tcp(address, house.gateway)
        assert str(refused.value).startswith(f"server.tcp: {address}: ")
        assert advice in str(refused.value)
        assert "\n" not in str(refused.value)


async def test_a_port_in_use_says_what_to_do() -> None:
    async with building() as house:
        taken = Address.parse(await house.http())
        with pytest.raises(SettingsError, match=f"^server.tcp: {taken}: the port is in use; .*--tcp 127.0.0.1:0$"):
            await listen_tcp(taken, house.gateway)
    async with building() as house:
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = Address("127.0.0.1", other.getsockname()[1])
            with pytest.raises(SettingsError, match=f"^server.http: {taken}: the port is in use; "):
                await listen_http(taken, house.gateway, house.application, SETTINGS)


async def test_the_port_is_free_again_once_the_door_is_closed() -> None:
    async with building() as house:
        first = await listen_tcp(ANYWHERE, house.gateway)
        async with await Socket.to(first.address) as client:
            await client.write(b"\0\0\0\1x")
            connection, _ = await house.recorder.received.get()
            await first.close()
            connection.abort()
            await house.gateway.emptied()
            await asyncio.sleep(0)
            again = await listen_tcp(Address.parse(first.address), house.gateway)
            assert again.address == first.address
            await again.close()
