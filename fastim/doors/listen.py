"""Listening sockets, plain and TLS, and what an operator is told when one cannot be had."""

import asyncio
import errno
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from aiohttp import web

from fastim.core.errors import SettingsError
from fastim.doors.admission import admits
from fastim.doors.http.front import Front, HttpDoor
from fastim.doors.tcp import TcpProtocol
from fastim.doors.tls import Certificate, TlsDoor
from fastim.runtime.gateway import Gateway
from fastim.settings import Address, Http

BACKLOG = 4096
NOTSENT_LOWAT_BYTES = 16_384
"""Without this the kernel takes megabytes for a slow reader, and nobody learns that it is slow."""
_TCP_NOTSENT_LOWAT = {"linux": 25, "darwin": 0x201}.get(sys.platform)


class Server(Protocol):
    """Something that accepts connections."""

    def close(self) -> None:
        """Accept no more."""
        ...


class Listener:
    """An open door.

    Attributes:
        address: ``HOST:PORT`` as bound: port 0 has become the one that the kernel gave.
    """

    def __init__(self, address: str, servers: Sequence[Server], *doors: HttpDoor | TlsDoor) -> None:
        self.address = address
        self._servers = servers
        self._doors = doors

    async def close(self) -> None:
        """Accept no more, and end handshakes and plain HTTP. Connections of clients stay: they are the gateway's."""
        for server in self._servers:
            server.close()
        for door in self._doors:
            await door.close()


async def listen_tcp(address: Address, gateway: Gateway, certificate: Certificate | None = None) -> Listener:
    """Open the TCP door.

    Args:
        certificate: For TLS; ``None``: without.

    Raises:
        SettingsError: ``address`` cannot be had.
    """
    if certificate is None:
        servers, bound = await _listen("tcp", address, _plain(lambda: TcpProtocol(gateway)))
        return Listener(bound, servers)
    tls = TlsDoor(
        "tcps",
        gateway,
        certificate,
        admits=lambda on_the_way: admits(gateway, on_the_way),
        factory=lambda: TcpProtocol(gateway),
    )
    servers, bound = await _listen("tcps", address, _over(tls))
    return Listener(bound, servers, tls)


async def listen_http(
    address: Address,
    gateway: Gateway,
    application: web.Application,
    settings: Http,
    certificate: Certificate | None = None,
) -> Listener:
    """Open the HTTP door, which is the WebSocket's too.

    Args:
        application: The routes, for this listener alone.
        certificate: For TLS; ``None``: without.

    Raises:
        SettingsError: ``address`` cannot be had.
    """
    door = HttpDoor(gateway, application, settings)
    await door.open()
    try:
        if certificate is None:
            servers, bound = await _listen("http", address, _plain(lambda: Front(door)))
            return Listener(bound, servers, door)
        tls = TlsDoor("https", gateway, certificate, admits=door.admits, factory=lambda: Front(door))
        servers, bound = await _listen("https", address, _over(tls))
        return Listener(bound, servers, tls, door)
    except BaseException:
        await door.close()
        raise


Serve = Callable[[socket.socket], Awaitable[Server]]


def _plain(factory: Callable[[], asyncio.BaseProtocol]) -> Serve:
    async def serve(listening: socket.socket) -> Server:
        return await asyncio.get_running_loop().create_server(factory, sock=listening, backlog=BACKLOG)

    return serve


def _over(tls: TlsDoor) -> Serve:
    async def serve(listening: socket.socket) -> Server:
        return tls.serve(listening, BACKLOG)

    return serve


async def _listen(door: str, address: Address, serve: Serve) -> tuple[list[Server], str]:
    """Servers on every address that the host stands for, all on one port, and how to reach them."""
    loop = asyncio.get_running_loop()
    name = f"server.{door}: {address}"
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise SettingsError(f"{name}: the host cannot be resolved ({error}); give an IP address") from error
    servers: list[Server] = []
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
                servers.append(await serve(listening))
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
