"""Listening sockets, and what an operator is told when one cannot be had."""

import asyncio
import errno
import socket
import sys
from collections.abc import Callable

from aiohttp import web

from fastim.core.errors import SettingsError
from fastim.doors.http.front import Front, HttpDoor
from fastim.doors.tcp import TcpProtocol
from fastim.runtime.gateway import Gateway
from fastim.settings import Address, Http

BACKLOG = 4096
NOTSENT_LOWAT_BYTES = 16_384
"""Without this the kernel takes megabytes for a slow reader, and nobody learns that it is slow."""
_TCP_NOTSENT_LOWAT = {"linux": 25, "darwin": 0x201}.get(sys.platform)


class Listener:
    """An open door.

    Attributes:
        address: ``HOST:PORT`` as bound: port 0 has become the one that the kernel gave.
    """

    def __init__(self, address: str, servers: list[asyncio.Server], http: HttpDoor | None = None) -> None:
        self.address = address
        self._servers = servers
        self._http = http

    async def close(self) -> None:
        """Accept no more, and end plain HTTP connections. Those of clients stay: they are the gateway's."""
        for server in self._servers:
            server.close()
        if self._http is not None:
            await self._http.close()


async def listen_tcp(address: Address, gateway: Gateway) -> Listener:
    """Open the TCP door.

    Raises:
        SettingsError: ``address`` cannot be had.
    """
    servers, bound = await _listen("tcp", address, lambda: TcpProtocol(gateway))
    return Listener(bound, servers)


async def listen_http(address: Address, gateway: Gateway, application: web.Application, settings: Http) -> Listener:
    """Open the HTTP door, which is the WebSocket's too.

    Args:
        application: The routes, for this listener alone.

    Raises:
        SettingsError: ``address`` cannot be had.
    """
    door = HttpDoor(gateway, application, settings)
    await door.open()
    try:
        servers, bound = await _listen("http", address, lambda: Front(door))
    except BaseException:
        await door.close()
        raise
    return Listener(bound, servers, door)


async def _listen(
    door: str, address: Address, factory: Callable[[], asyncio.BaseProtocol]
) -> tuple[list[asyncio.Server], str]:
    """Servers on every address that the host stands for, all on one port, and how to reach them."""
    loop = asyncio.get_running_loop()
    name = f"server.{door}: {address}"
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise SettingsError(f"{name}: the host cannot be resolved ({error}); give an IP address") from error
    servers: list[asyncio.Server] = []
    port = address.port
    missing: OSError | None = None
    try:
        for family, _, _, _, place in dict.fromkeys(found):
            try:
                listening = _bind(family, (place[0], port, *place[2:]), dual=address.host == "::")
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                # "localhost" often stands for an IPv6 address as well that the machine does not have.
                missing = error
                continue
            port = listening.getsockname()[1]
            try:
                servers.append(await loop.create_server(factory, sock=listening, backlog=BACKLOG))
            except BaseException:
                listening.close()
                raise
        if missing is not None and not servers:
            raise missing
    except OSError as error:
        for server in servers:
            server.close()
        raise SettingsError(f"{name}: {_advice(error, door, address)}") from error
    return servers, str(Address(address.host, port))


def _bind(family: int, place: tuple[str | int, ...], *, dual: bool) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
        if _TCP_NOTSENT_LOWAT is not None:
            listening.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, NOTSENT_LOWAT_BYTES)
        listening.bind(place)
    except BaseException:
        listening.close()
        raise
    return listening


def _advice(error: OSError, door: str, address: Address) -> str:
    if error.errno == errno.EADDRINUSE:
        other = Address(address.host, 0)
        return f"the port is in use; stop what listens there or choose another one, or any: --{door} {other}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "the port needs privileges; choose one above 1023"
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return "this machine has no such address; 0.0.0.0 stands for all that it has"
    return error.strerror or str(error)
