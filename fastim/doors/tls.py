"""TLS in front of a door: the certificate in force, and connections until their handshakes are complete.

A connection is counted, and can be turned away, before anything is spent on it. What comes out of the handshake goes to
the same protocols as what comes in by the plain doors.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import structlog

from fastim.certificates import check, server_context
from fastim.runtime.gateway import Gateway
from fastim.settings import Tls

_log = structlog.get_logger(__name__)

Door = Literal["tcps", "https"]

ACCEPTS = 64
"""Connections accepted in one turn of the loop."""
PAUSE_SECONDS = 0.5
"""Before accepting is tried again when it failed."""


class Certificate:
    """What TLS listeners show. New handshakes use what was loaded last.

    Raises:
        SettingsError: The files cannot be used.
    """

    def __init__(self, settings: Tls) -> None:
        self._settings = settings
        self._contexts: dict[Door, ssl.SSLContext] = {}
        self.load()

    def load(self) -> None:
        """Read the files, again.

        Raises:
            SettingsError: They cannot be used; what was loaded before stays in force.
        """
        certificate, key = self._settings.certificate, self._settings.key
        starts, ends = check(certificate, key)
        tcps, https = server_context(certificate, key), server_context(certificate, key, "http/1.1")
        self._contexts = {"tcps": tcps, "https": https}
        now = datetime.now(UTC)
        holds = {"holds_from": f"{starts:%Y-%m-%d %H:%M} UTC", "holds_until": f"{ends:%Y-%m-%d %H:%M} UTC"}
        if ends <= now:
            _log.warning("the certificate has expired: no client will accept it", **holds)
        elif starts > now:
            _log.warning("the certificate does not hold yet: is the clock right?", **holds)
        else:
            _log.info("certificate loaded", **holds)

    def context(self, door: Door) -> ssl.SSLContext:
        """What the next handshake at ``door`` uses."""
        return self._contexts[door]


class TlsDoor:
    """What the connections of one TLS listener share while their handshakes last.

    Args:
        admits: Whether there is room for one more, given how many handshakes are under way.
        factory: The protocol of a connection whose handshake is complete.
    """

    def __init__(
        self,
        door: Door,
        gateway: Gateway,
        certificate: Certificate,
        *,
        admits: Callable[[int], bool],
        factory: Callable[[], asyncio.Protocol],
    ) -> None:
        self._door: Door = door
        self._gateway = gateway
        self._certificate = certificate
        self._admits = admits
        self._factory = factory
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()

    def serve(self, listening: socket.socket, backlog: int) -> "Acceptor":
        """Begin to accept."""
        listening.setblocking(False)
        listening.listen(backlog)
        return Acceptor(listening, self._begin)

    async def close(self) -> None:
        """End the handshakes that are under way. The acceptors have been closed before."""
        # One that was begun in this very turn can be ended from the next on.
        await asyncio.sleep(0)
        for handshake in self._handshakes:
            handshake.cancel()
        if self._handshakes:
            await asyncio.wait(self._handshakes)

    def _begin(self, accepted: socket.socket) -> None:
        if not self._admits(len(self._handshakes)):
            accepted.close()
            return
        handshake = self._loop.create_task(self._shake(accepted))
        self._handshakes.add(handshake)
        handshake.add_done_callback(self._handshakes.discard)

    async def _shake(self, accepted: socket.socket) -> None:
        seconds = self._gateway.limits.handshake_seconds
        try:
            await self._loop.connect_accepted_socket(
                self._factory,
                accepted,
                ssl=self._certificate.context(self._door),
                ssl_handshake_timeout=seconds,
                ssl_shutdown_timeout=seconds,
            )
        except ConnectionAbortedError:
            # The loop's way to say that the handshake has taken too long.
            self._gateway.counters.bit("handshake")
        except OSError:
            pass  # what a peer does wrong is an ssl.SSLError, which is one


class Acceptor:
    """A listening socket, and what is done with each connection.

    asyncio's own server would begin the handshake at once, with the context that it was made with, and tell nobody.
    """

    def __init__(self, listening: socket.socket, take: Callable[[socket.socket], None]) -> None:
        self._listening = listening
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._go_on()

    def close(self) -> None:
        """Accept no more."""
        if self._listening.fileno() == -1:
            return
        if self._pause is None:
            self._loop.remove_reader(self._listening)
        else:
            self._pause.cancel()
        self._listening.close()

    def _go_on(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTS):
            try:
                accepted, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Out of descriptors or of memory. The connection stays in the queue: without a pause this would spin.
                _log.warning("a connection could not be accepted", reason=error.strerror)
                self._loop.remove_reader(self._listening)
                self._pause = self._loop.call_later(PAUSE_SECONDS, self._go_on)
                return
            accepted.setblocking(False)
            self._take(accepted)
