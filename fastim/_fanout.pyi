"""Outbound: a wire for each connection, a log for each chat room with a cursor for each reader, shedding, the ledger.

Mechanism only: who is in a room, and what a connection does when it is cut, is decided by ``fastim.runtime``. All of it
belongs to one event loop's thread and takes no lock. Priorities are those of the protocol: 1 high, 2 normal, 3 low;
where three numbers stand together, they stand in that order.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, Self, final, type_check_only

TCP: int
"""Framing: four bytes of length, then the command."""
WEBSOCKET: int
"""Framing: a binary message for each command."""
WEBSOCKET_BASE64: int
"""Framing: a text message for each command, which is in Base64."""

@type_check_only
class Transport(Protocol):
    """What takes over where the socket is full, or when there is no socket to write to (TLS)."""

    def write(self, data: bytes) -> object: ...
    def get_write_buffer_size(self) -> int: ...

@type_check_only
class Owner(Protocol):
    """Whoever has a wire. Called between native loops, never within one, so that it may do anything."""

    def relieved(self) -> object:
        """Every command that waited has been taken; only for a wire that is ``watched``. What rooms sent may wait."""

    def failed(self) -> object:
        """The socket is dead: a send failed."""

    def overrun(self) -> object:
        """A place on this wire has more high-priority messages to catch up with than are kept: it has to come back."""

@final
class Fanout:
    """All wires and logs of one event loop, and the turns in which they are served.

    A turn serves wires with commands first, then readers that were blocked and have room again, then rooms, each for
    a share of ``turn_microseconds``; what is left waits for the next turn, so that the loop is never held for longer.

    Args:
        call_soon: Has its argument called in the loop's next turn.
        call_later: The same after so many seconds.
        window_bytes: Kept of one room for readers that lag, in each framing.
        window_messages: The same in messages, whatever their size.
        low_milliseconds: A low-priority message older than this is shed for a reader that lags.
        normal_milliseconds: The same of a normal one, for a reader that lags far.
        sampled_senders: Of so many senders a second a reader that lags far still gets a normal message.
        high_bytes: Kept of one room's high-priority messages for readers that lag beyond the window.
        high_messages: The same in messages.
        gather_milliseconds: Passes over one room begin at least so far apart, while no quarter of the window waits.
        turn_microseconds: How long one turn may take.
        handovers: Blocked connections that one turn hands over to their transports, at most.
        turn_sends: Sends of one turn, at most; 0: any number. For tests.
        send: Takes the place of the system's ``send``, for tests: given the descriptor and the bytes it returns how
            many it took, and raises ``BlockingIOError`` for none, or another ``OSError``.
        clock: Milliseconds of a clock that nobody sets, for tests.

    Raises:
        ValueError: A number that makes no sense.
    """

    def __new__(
        cls,
        call_soon: Callable[[Callable[[], None]], object],
        call_later: Callable[[float, Callable[[], None]], object],
        *,
        window_bytes: int = 262_144,
        window_messages: int = 8_192,
        low_milliseconds: int = 2_000,
        normal_milliseconds: int = 10_000,
        sampled_senders: int = 32,
        high_bytes: int = 1_048_576,
        high_messages: int = 4_096,
        gather_milliseconds: int = 0,
        turn_microseconds: int = 2_000,
        handovers: int = 64,
        turn_sends: int = 0,
        send: Callable[[int, bytes], int] | None = None,
        clock: Callable[[], int] | None = None,
    ) -> Self: ...
    def turn(self) -> None:
        """Serve what waits. Called by the loop; in tests by hand."""

    def begin_passes(self) -> None:
        """Make the passes that had to wait for ``gather_milliseconds``. Called by the loop."""

    @property
    def idle(self) -> bool:
        """Whether nothing waits that could be sent now."""

    @property
    def sends(self) -> int:
        """System calls that sent something, or tried to."""

    @property
    def handed_over(self) -> int:
        """How often a transport had to take over."""

    def ledger(self) -> dict[str, tuple[int, int, int]]:
        """The sum of all rooms' ledgers, those included that are gone; see ``RoomLog.ledger``."""

@final
class Wire:
    """One connection's way out.

    What is put is framed here, gathered until the loop's turn ends, and sent with one system call. While the socket is
    full nothing is sent past the transport, and rooms wait. Once ended it takes nothing and has left all rooms; its
    descriptor is never used again.

    Args:
        fd: The socket's descriptor, non-blocking; -1 when there is none to write to, as with TLS.
        framing: ``TCP``, ``WEBSOCKET`` or ``WEBSOCKET_BASE64``.

    Attributes:
        watched: Whether the owner is to be told when every command that waited has been taken.

    Raises:
        ValueError: There is no such framing, or ``fd`` is none.
    """

    watched: bool

    def __new__(cls, fanout: Fanout, owner: Owner, transport: Transport, fd: int, framing: int) -> Self: ...
    @property
    def blocked(self) -> bool:
        """Whether the socket is full: the transport holds bytes that it would not take."""

    @property
    def waiting_bytes(self) -> int:
        """What waits for the peer here and in the transport; the kernel's part and what rooms keep are not in it."""

    @property
    def taken_bytes(self) -> int:
        """What the kernel, or with TLS the transport, has taken since the start."""

    def put(self, body: bytes, suffix: bytes | None = None) -> None:
        """Queue a command: ``body`` and ``suffix`` together, framed. Nothing happens once the wire has ended.

        Raises:
            ValueError: It has 1 GiB or more.
        """

    def put_frame(self, frame: bytes) -> None:
        """Queue what is framed already."""

    def flush(self) -> None:
        """Send what is queued now, as far as it goes."""

    def pause(self) -> None:
        """The transport's buffer is not empty any more."""

    def resume(self) -> None:
        """The transport's buffer is empty again."""

    def end(self) -> bytes:
        """Leave all rooms and send nothing more; what was queued and not sent yet, in order. A second time: nothing."""

@final
class RoomLog:
    """One chat room's frames, and how far each reader has been sent them.

    Args:
        timestamp: Of the newest message before this log, in the messages' own time.
    """

    def __new__(cls, fanout: Fanout, timestamp: int) -> Self: ...
    @property
    def readers(self) -> int:
        """How many places there are."""

    @property
    def high_timestamp(self) -> int:
        """Of the newest high-priority message, or what the log was made with."""

    @property
    def kept_bytes(self) -> int:
        """Memory that the log takes, its places included."""

    def admit(self, body: bytes, priority: int, sender: int, timestamp: int, without: Sequence[Place] = ()) -> None:
        """Write a message into the log; everybody who has a place now, but for ``without``, is owed it.

        Args:
            body: The command as it is sent, but for what a reader's own suffix adds.
            sender: Tells senders apart, in 64 bits; a reader that lags far gets a fair share of each.
            timestamp: The message's own time, milliseconds since the epoch, no less than that of the message before;
                -1: nobody comes back for it. ``join`` leaves it out, and nothing that says when says so of it.

        Raises:
            ValueError: ``priority`` is none, a place is in another log, or the message has 1 GiB or more.
        """

    def join(
        self,
        wire: Wire,
        suffix: bytes | None,
        *,
        since: int = -1,
        own: int | None = None,
        told: Callable[[tuple[int, int, int]], object] | None = None,
    ) -> Place:
        """A place at the end of the log.

        Args:
            suffix: What completes each command for this reader; ``None`` when it needs nothing of its own.
            since: High-priority messages of this time or later that are still kept are owed as well; -1: none.
            own: The sender whose messages are not owed again; ``None``: everybody's are.
            told: Called with the messages that were shed, by priority, when the reader has caught up, and once a second
                while it does not.

        Raises:
            ValueError: ``wire`` has ended or is another fan-out's, or ``suffix`` has 1 GiB or more.
        """

    def reaches(self, since: int) -> bool:
        """Whether every high-priority message of that time or later is still kept here."""

    def ledger(self) -> dict[str, tuple[int, int, int]]:
        """What became of the room's messages, in deliveries.

        ``admitted`` (messages), ``owed``, ``written``, ``shed_age``, ``shed_distance``, ``shed_sample``,
        ``shed_overrun``, ``closed``, ``torn``, ``pending``; and ``rejoined``, which of ``owed`` was owed once before.
        At every instant ``owed`` is the sum of all that follows it but ``rejoined``.
        """

@final
class Place:
    """One session's place in a room."""

    @property
    def present(self) -> bool:
        """Whether it has not been left."""

    @property
    def missed_since(self) -> int:
        """The time from which on high-priority messages were not sent, or not wholly; later than all that were."""

    @property
    def behind(self) -> int:
        """Messages between it and the end of the log."""

    def name(self, suffix: bytes) -> None:
        """Complete each command with ``suffix`` from now on.

        Raises:
            ValueError: It has 1 GiB or more.
        """

    def hold(self) -> None:
        """Send nothing until it is released."""

    def release(self) -> None:
        """Go on."""

    def leave(self) -> None:
        """Give it up; what it was still owed counts as closed. A second time: nothing."""
