"""One client's connection, whichever door it came in by.

A door owns the socket's protocol: it reads frames and hands their bodies over here. What goes out is put on the
connection's wire, which frames it and sends it in the loop's next turn, so that a client costs one system call a turn
and not one a frame. When the socket is full it waits there, and this module decides what may still be added.
"""

import asyncio
from collections.abc import Callable, Set
from typing import Protocol

from fastim._fanout import Fanout, Wire
from fastim.core.errors import Closure, FellBehind, LoginTimeout, ReadTimeout
from fastim.core.session import OfflineMode
from fastim.runtime.deadlines import Deadlines
from fastim.runtime.limits import LimitCounters
from fastim.settings import Delivery, Limits
from fastim.wire.framing import Framing
from fastim.wire.link import Link

COMMANDS_OVERDRAFT = 2
"""Commands and events may fill this many times ``delivery.outbox_bytes`` before the connection is given up."""
GATHERED_BYTES = 65_536
"""What is gathered in one turn before it is sent early. If so much still waits then, nothing more is read."""
NOBODY: Set[str] = frozenset()
"""An empty set that all connections share: one of its own takes 216 bytes, and nearly none has ever anybody in it."""


class Receiver(Protocol):
    """Whoever deals with what comes in."""

    def start(self, connection: "Connection", body: bytes) -> None:
        """Begin the command in ``body``."""
        ...

    def drained(self, connection: "Connection") -> None:
        """The socket has room again after deliveries were left out for the sessions in ``connection.behind``."""
        ...

    def lost(self, connection: "Connection") -> None:
        """The connection is gone."""
        ...


class Connection:
    """A transport with a link: commands in, frames out.

    Attributes:
        address: The client's IP address, or empty when that is not known.
        door: Which door it came in by, for metrics.
        link: Its protocol state.
        wire: Its way out.
        behind: Client ids of the sessions for which a delivery was left out since everything was last taken.
        clogged: Whether so much waits for the peer that nothing is read from it.
        closure: What the server has closed it with; ``None`` while it is open, and where it was not the server.
        paused: Whether the door has to keep to itself what it has read; ``feed`` is called when it may go on.
        feed: Goes on with what the door has read.
        lost: Whether the transport is gone or going: nothing is written any more.
        deadline: See ``Deadlines``.
    """

    __slots__ = (
        "_counters",
        "_delivery",
        "_hurried",
        "_in_flight",
        "_limits",
        "_loop",
        "_receiver",
        "_shaken",
        "_taken_bytes",
        "_transport",
        "_waiting",
        "_waking",
        "address",
        "behind",
        "clogged",
        "closure",
        "deadline",
        "deadlines",
        "door",
        "feed",
        "framing",
        "link",
        "lost",
        "paused",
        "wire",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        framing: Framing,
        offline_mode: OfflineMode,
        *,
        door: str,
        fanout: Fanout,
        receiver: Receiver,
        deadlines: Deadlines,
        limits: Limits,
        delivery: Delivery,
        counters: LimitCounters,
        shaken: bool,
        address: str | None = None,
    ) -> None:
        self._transport = transport
        self._receiver = receiver
        self._limits = limits
        self._delivery = delivery
        self._counters = counters
        self._shaken = shaken
        self._loop = asyncio.get_running_loop()
        self._taken_bytes = 0
        self._in_flight = 0
        self._hurried = False
        self._waiting: tuple[asyncio.Future[None], ...] = ()
        self._waking = False
        self.address = _peer_of(transport) if address is None else address
        self.framing = framing
        self.wire = Wire(fanout, self, transport, _descriptor_of(transport), framing.native)
        self.door = door
        self.link = Link(offline_mode)
        self.behind: Set[str] = NOBODY
        self.clogged = False
        self.closure: Closure | None = None
        self.paused = False
        self.feed: Callable[[], None] = _nothing
        self.lost = False
        self.deadline = self._loop.time() + limits.login_seconds
        if not shaken:
            self.deadline = min(self.deadline, deadlines.within(limits.handshake_seconds))
        self.deadlines = deadlines
        deadlines.watch(self)

    # -- what a door calls --

    def begin(self, feed: Callable[[], None]) -> None:
        """The door's protocol is in place, which hears from now on as soon as anything waits in the transport.

        Args:
            feed: Goes on with what the door has read.
        """
        self.feed = feed
        # TLS takes 0 for being always full.
        self._transport.set_write_buffer_limits(high=1 if _is_tls(self._transport) else 0)
        # Whoever had the transport before may have been told, and then nobody is told again.
        if self._transport.get_write_buffer_size():
            self.pause_writing()

    def heard(self) -> None:
        """Something arrived, if only a heartbeat. Before a session is open only the first time counts."""
        if self.wire.blocked or self.lost:
            return
        if self.link.sessions:
            self.deadline = self._loop.time() + self._limits.read_timeout_seconds
        elif not self._shaken:
            self._shaken = True
            self.deadline = self._loop.time() + self._limits.login_seconds

    def received(self, body: bytes) -> None:
        """A command arrived."""
        self.heard()
        if not self.lost:
            self._receiver.start(self, body)

    def pause_writing(self) -> None:
        """The socket is full: the peer has so long to take what waits for it."""
        self.wire.pause()
        if not self.lost:
            self._takes()
            self._await_taking()

    def resume_writing(self) -> None:
        """The socket has room again."""
        self.wire.resume()
        self.heard()

    def connection_lost(self) -> None:
        """The transport is gone."""
        self.lost = True
        self.wire.end()
        self._let_go_on()
        self.feed = _nothing
        self.deadlines.forget(self)
        self._receiver.lost(self)

    # -- what the runtime calls --

    def send(self, body: bytes, suffix: bytes | None = None) -> None:
        """Write a command or an event. Who lets these pile up is cut off: it comes back and asks what it missed.

        Args:
            suffix: Completes ``body`` for one session.
        """
        if self._may_add():
            self.wire.put(body, suffix)
            self._mind_waiting()

    def write(self, frame: bytes) -> None:
        """Write what is no command, framed already; as ``send`` in all else."""
        if self._may_add():
            self.wire.put_frame(frame)
            self._mind_waiting()

    def offer(self, body: bytes, client_id: str, suffix: bytes | None = None) -> bool:
        """Write a delivery for a session. False: the connection is behind, and the session has to resync."""
        if self.lost:
            return False
        # Once one was left out, what follows is: acknowledging it would pass for having received everything before it.
        if client_id in self.behind or (self.clogged and self.wire.waiting_bytes > self._delivery.outbox_bytes):
            self.behind |= {client_id}
            self._counters.bit("outbox")
            return False
        self.wire.put(body, suffix)
        self._mind_waiting()
        return True

    async def ready(self) -> None:
        """Wait until the socket has room, or is gone: for who has much to send, and can wait with the rest."""
        while self.clogged and not self.lost and not self._hurried:
            turn = self._loop.create_future()
            self._waiting = (*self._waiting, turn)
            await turn

    def hurry(self) -> None:
        """Nobody waits for room any more: the server stops."""
        self._hurried = True
        self._let_go_on()

    def began(self) -> None:
        """A command is under way; with too many of them nothing more is read."""
        self._in_flight += 1
        self._balance_reading()

    def finished(self) -> None:
        """A command is done."""
        self._in_flight -= 1
        self._balance_reading()

    def close(self, closure: Closure) -> None:
        """Say why and close once what is buffered has gone out; what comes in meanwhile is not looked at."""
        if not self.lost:
            self.closure = closure
        self.part(self.framing.farewell(closure))

    def shut(self) -> None:
        """Close without a word once what is buffered has gone out."""
        self.part(b"")

    def part(self, last: bytes) -> None:
        """Close once what is buffered and ``last``, framed already, have gone out.

        The socket is only half closed at first: closing it with something unread in it would reset the connection, and
        the peer might never see ``last``. One that neither takes the rest nor closes its half is not waited for long.
        """
        if self.lost:
            return
        self.lost = True
        rest = self.wire.end() + last
        self.deadline = self._loop.time() + self._limits.handshake_seconds
        if self._transport.is_closing():
            return
        if rest:
            self._transport.write(rest)
        if self._transport.can_write_eof():
            self._transport.write_eof()
            self._transport.resume_reading()
        else:
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection and what is buffered."""
        self.lost = True
        self.wire.end()
        self._transport.abort()

    def expire(self) -> None:
        """The deadline has passed: nothing was heard for too long, no session was opened, or nothing was taken."""
        if self.lost:
            self.abort()
        elif self.wire.blocked and self._takes():
            self._await_taking()
        elif self.wire.blocked:
            self._counters.bit("write_timeout")
            self.abort()
        elif self.link.sessions:
            self._counters.bit("read_timeout")
            self.close(ReadTimeout())
        elif self._shaken:
            self._counters.bit("login")
            self.close(LoginTimeout())
        else:
            self._counters.bit("handshake")
            self.close(LoginTimeout())
            # It has had its time, and is not waited for.
            self.deadline = self._loop.time()

    # -- what the wire calls --

    def relieved(self) -> None:
        """Everything that waited has been taken."""
        self.wire.watched = False
        self.clogged = False
        self._balance_reading()
        self._let_go_on()
        if self.behind and not self.lost:
            self._receiver.drained(self)

    def failed(self) -> None:
        """The socket is dead."""
        self.abort()

    def overrun(self) -> None:
        """Messages of high priority cannot be kept any longer for a session here: it has to come back for them."""
        self._counters.bit("overrun")
        self.close(FellBehind())

    @property
    def waiting_bytes(self) -> int:
        """What waits for the peer here; the kernel's part, and what rooms keep for it, are not in it."""
        return self.wire.waiting_bytes

    def _may_add(self) -> bool:
        """Whether a command may be written; who has let too many pile up is cut off."""
        # Before and not after, or a client with nothing waiting could be cut off for asking for a long page of history.
        if not self.lost and self.wire.waiting_bytes > COMMANDS_OVERDRAFT * self._delivery.outbox_bytes:
            self._counters.bit("outbox_cut")
            self.abort()
        return not self.lost

    def _mind_waiting(self) -> None:
        """Look after what has just been put on the wire."""
        wire = self.wire
        if wire.waiting_bytes < GATHERED_BYTES:
            return
        wire.flush()
        if not self.clogged and wire.waiting_bytes >= GATHERED_BYTES:
            self.clogged = True
            wire.watched = True
            self._balance_reading()

    def _let_go_on(self) -> None:
        """Wake those who wait for room."""
        waiting, self._waiting = self._waiting, ()
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)

    def _await_taking(self) -> None:
        self.deadline = self._loop.time() + self._limits.write_timeout_seconds

    def _takes(self) -> bool:
        """Whether the peer has taken anything since this was last asked; slowly is fast enough."""
        before, self._taken_bytes = self._taken_bytes, self.wire.taken_bytes
        return self._taken_bytes > before

    def _balance_reading(self) -> None:
        if self.lost:
            return
        if self._busy:
            if not self.paused:
                self.paused = True
                if not self.clogged:
                    self._counters.bit("commands_in_flight")
                self._transport.pause_reading()
        elif self.paused and not self._waking:
            # Not here and now: what ends a command may be the very thing that the door is feeding.
            self._waking = True
            self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._waking = False
        if self.lost or self._busy:
            return
        self.paused = False
        self.feed()
        if not self.paused and not self.lost:
            self._transport.resume_reading()

    @property
    def _busy(self) -> bool:
        return self.clogged or self._in_flight >= self._limits.commands_in_flight


def _peer_of(transport: asyncio.Transport) -> str:
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""


def _descriptor_of(transport: asyncio.Transport) -> int:
    """The socket's descriptor; -1 where only the transport may write to it."""
    return -1 if _is_tls(transport) else int(transport.get_extra_info("socket").fileno())


def _is_tls(transport: asyncio.Transport) -> bool:
    return transport.get_extra_info("sslcontext") is not None


def _nothing() -> None:
    """What a connection feeds without a door."""
