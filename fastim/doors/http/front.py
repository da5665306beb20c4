"""The front of the HTTP port: reads a connection's first head and decides who goes on with it.

A WebSocket handshake is answered here and the connection given to our own codec; everything else is aiohttp's, with all
that has been read. A handshake that comes later on a kept-alive connection, as reverse proxies do it, is let out of
aiohttp again. What cannot be HTTP is cut without an answer.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from fastim.doors.admission import admits, turn_away
from fastim.doors.http.answers import problem, raw_problem
from fastim.doors.http.handshake import Handshake, HandshakeError, Request, gather, parse, shake
from fastim.doors.http.proxies import FORWARDED_FOR, Proxies, peer_of
from fastim.doors.websocket import WebSocketProtocol
from fastim.runtime.gateway import Gateway
from fastim.runtime.limits import Limit
from fastim.settings import Http

_log = structlog.get_logger(__name__)

KEEP_ALIVE_SECONDS = 75.0
"""How long a connection may be idle between two requests."""
SPARE_CONNECTIONS = 32
"""As many may ask for the server's health while it is short of memory."""
WRITE_BUFFER_BYTES = 65_536
"""More than this waiting, and the socket counts as full: the loop's default; for TLS that would be eight times this."""
FINISH_SECONDS = 5.0
"""How long answers under way may take when the listener closes."""

_METHOD = re.compile(rb"[A-Z-]{1,20}(?: |\Z)")
_END = re.compile(rb"\n\r?\n")
_UPGRADE = re.compile(rb"\nupgrade[ \t]*:", re.IGNORECASE)


class HttpDoor:
    """What the connections of one HTTP listener share.

    Args:
        application: The routes. It belongs to this door alone.

    Attributes:
        fronts: Connections whose first head is being read.
    """

    def __init__(self, gateway: Gateway, application: web.Application, settings: Http) -> None:
        application.middlewares.insert(0, self._let_out)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=FINISH_SECONDS)
        self.loop = asyncio.get_running_loop()
        self.gateway = gateway
        self.head_bytes = settings.head_bytes
        self._proxies = Proxies(settings.trusted_proxies)
        self.fronts: set[Front] = set()

    async def open(self) -> None:
        """Get ready for connections."""
        await self._runner.setup()

    async def close(self) -> None:
        """End the connections that are not WebSockets, once the answers under way have gone out."""
        for front in list(self.fronts):
            front.cut()
        await self._runner.cleanup()

    def admits(self, on_the_way: int = 0) -> bool:
        """Whether there is room for one more; apart from WebSockets, so that they do not keep health checks out.

        Args:
            on_the_way: How many more were let in that are not known here yet.
        """
        gateway = self.gateway
        here = len(self.fronts) + len(self._server.connections) + on_the_way
        if gateway.short_of_memory and here >= SPARE_CONNECTIONS:
            gateway.counters.bit("memory")
            return False
        if gateway.limits.connections and here >= gateway.limits.connections:
            gateway.counters.bit("connections")
            return False
        return True

    def serve(self, transport: asyncio.Transport, read: bytes) -> None:
        """Give a connection of which ``read`` has come in to aiohttp."""
        handler = Handler(self._server, self)
        transport.set_protocol(handler)
        handler.connection_made(transport)
        handler.data_received(read)

    def shake(self, request: Request) -> Handshake:
        """The answer to ``request``, which wants a WebSocket.

        Raises:
            HandshakeError: It cannot have one, or there is no room for one more.
        """
        if not admits(self.gateway):
            raise HandshakeError(503, "no more connections are accepted at the moment")
        return shake(request)

    def upgrade(self, transport: asyncio.Transport, request: Request, handshake: Handshake, rest: bytes) -> None:
        """Make a WebSocket of a connection.

        Args:
            request: What ``handshake`` answers.
            rest: What has come in behind the head.
        """
        peer = peer_of(transport.get_extra_info("peername"))
        address = self._proxies.client_address(peer, request.fields.get(FORWARDED_FOR.lower(), ()))
        transport.write(handshake.answer)
        protocol = WebSocketProtocol(transport, self.gateway, handshake.framing, handshake.offline_mode, address)
        if rest:
            protocol.data_received(rest)

    @property
    def _server(self) -> web.Server:
        server = self._runner.server
        assert server is not None
        return server

    @web.middleware
    async def _let_out(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        asked = Request(
            request.method, f"HTTP/{request.version.major}.{request.version.minor}", gather(request.headers.items())
        )
        if not asked.wants_websocket:
            return await handler(request)
        try:
            handshake = self.shake(asked)
        except HandshakeError as error:
            response = problem(error.status, str(error), headers=error.fields)
            response.force_close()
            return response
        transport = request.transport
        if transport is not None:
            rest = cast(Handler, request.protocol).let_go()
            self.upgrade(transport, asked, handshake, rest)
        # It has nowhere to go any more; aiohttp takes that for a client that has left.
        return web.Response()


class Front(asyncio.Protocol):
    """A connection until its first head is complete."""

    __slots__ = ("_answered", "_door", "_read", "_scanned", "_transport", "deadline")

    _transport: asyncio.Transport

    def __init__(self, door: HttpDoor) -> None:
        self._door = door
        self._read = bytearray()
        self._scanned = 0
        self._answered = False
        self.deadline = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        if not self._door.admits():
            turn_away(self._transport)
            return
        self._postpone()
        self._door.fronts.add(self)
        self._door.gateway.deadlines.watch(self)

    def data_received(self, data: bytes) -> None:
        if self._answered:
            return
        # RFC 9112, section 2.2: empty lines before a request are overlooked.
        self._read += data if self._read else data.lstrip(b"\r\n")
        if self._read and _METHOD.match(self._read) is None:
            self.cut()
            return
        end = _END.search(self._read, self._scanned)
        if (len(self._read) if end is None else end.end()) > self._door.head_bytes:
            self._door.gateway.counters.bit("head")
            self._refuse(HandshakeError(431, f"the head of a request is at most {self._door.head_bytes} bytes long"))
        elif end is None:
            self._scanned = max(0, len(self._read) - 2)
        else:
            self._decide(bytes(self._read[: end.end()]))

    def eof_received(self) -> None:
        pass

    def connection_lost(self, error: Exception | None) -> None:
        self._leave()

    def expire(self) -> None:
        """No head in time, or the peer keeps its half open after it was refused."""
        if not self._answered:
            self._door.gateway.counters.bit("handshake")
        self.cut()

    def cut(self) -> None:
        """Drop the connection."""
        self._transport.abort()

    def _decide(self, head: bytes) -> None:
        if _UPGRADE.search(head) is not None:
            try:
                request = parse(head)
                handshake = self._door.shake(request) if request.wants_websocket else None
            except HandshakeError as error:
                self._refuse(error)
                return
            if handshake is not None:
                self._leave()
                self._door.upgrade(self._transport, request, handshake, bytes(self._read[len(head) :]))
                return
        self._leave()
        self._door.serve(self._transport, bytes(self._read))

    def _refuse(self, error: HandshakeError) -> None:
        """Answer, then wait for the peer to close: closing with something unread would take the answer away from it."""
        self._answered = True
        self._postpone()
        self._transport.write(raw_problem(error.status, str(error), error.fields))
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _postpone(self) -> None:
        gateway = self._door.gateway
        self.deadline = gateway.deadlines.within(gateway.limits.handshake_seconds)

    def _leave(self) -> None:
        self._door.fronts.discard(self)
        self._door.gateway.deadlines.forget(self)


class Handler(web.RequestHandler):
    """aiohttp's side of one connection, with our errors and deadlines, and a way out of it.

    The head of a later request has as much time as that of the first; a body has to arrive, and answers to be taken.
    """

    __slots__ = ("_found", "_gateway", "_limit", "_socket", "deadline")

    _socket: asyncio.Transport

    def __init__(self, server: web.Server, door: HttpDoor) -> None:
        super().__init__(
            server,
            loop=door.loop,
            access_log=cast(Any, None),
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            max_line_size=door.head_bytes,
            max_field_size=door.head_bytes,
        )
        self._gateway = door.gateway
        self._limit: Limit | None = None
        self._found: object = None
        self.deadline = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._socket = cast(asyncio.Transport, transport)
        self._relax()
        self._gateway.deadlines.watch(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._gateway.deadlines.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            # Nothing to do and yet something came: the beginning of a head.
            if data and self._limit is None:
                self._limit = "handshake"
                self.deadline = self._gateway.deadlines.within(self._gateway.limits.handshake_seconds)
        elif self._limit == "handshake":
            self._relax()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._relax()
        self._limit = "write_timeout"

    def resume_writing(self) -> None:
        super().resume_writing()
        self._relax()

    def expire(self) -> None:
        """The deadline has passed. Without a limit that is missed it is only time to look."""
        limit, found = self._limit, self._unfinished()
        if limit is None and found is not None and found is self._found:
            limit = "write_timeout" if self._socket.is_closing() else "read_timeout"
        if limit is not None:
            self._gateway.counters.bit(limit)
            self._socket.abort()
            return
        self._relax()
        self._found = found

    def _unfinished(self) -> object:
        """What must not be found again at the next look, if there is such a thing."""
        if self._socket.is_closing():  # it is open until all that waits is sent
            return self._socket
        request = self._current_request
        return request if request is not None and not request.content.is_eof() else None

    def _relax(self) -> None:
        self._limit = None
        self.deadline = self._loop.time() + self._gateway.limits.write_timeout_seconds

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if isinstance(exc, LineTooLong):
            self._gateway.counters.bit("head")
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the response is out already")
        if status >= 500:
            _log.error("an HTTP request failed", exc_info=exc)
        response = problem(status)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Anybody can send a body that is not packed as it says; aiohttp meets it again after the answer is out."""
        if not isinstance(kw.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kw)

    def let_go(self) -> bytes:
        """End here without closing the transport; returns what has come in behind the current request.

        aiohttp offers no way to do this as a whole; the parts are what its own WebSockets and tests use.
        """
        rest = _Rest()
        self.set_parser(cast(Any, rest))
        self.transport = None
        self.connection_lost(None)
        return bytes(rest.data)


class _Rest:
    """What aiohttp believes to be a parser of what follows an upgrade."""

    def __init__(self) -> None:
        self.data = bytearray()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        pass
