"""The load's connections: what is sent, what comes back, and how long it took since it was due.

Mechanism only: who sends what and when is decided in ``fastim.bench``. One thread drives all connections; it waits for
the sockets in Python and hands over those that are ready. A request is found again by its serial, a message by the
ordinal in its body. Times are nanoseconds of the monotonic clock.
"""

from typing import Self, final

TCP: int
"""Framing: four bytes of length, then the command."""
WEBSOCKET: int
"""Framing: a binary message for each command; a connection shakes hands by itself."""

ANSWERED: int
"""``serve`` tells: a request with a tag was answered; the body is the answer."""
REFUSED: int
"""A request was refused, or, with the tag -1 and no serial, the server complains; the body is what it says."""
ENDED: int
"""A connection is no more, and has to be closed; the body says why, as far as it is known."""
BLOCKED: int
"""A socket is full: it has to be watched for room."""
RELIEVED: int
"""Nothing waits for room in a socket any more."""

MARKER: bytes
"""Stands before the ordinal in a message's body."""
DIGITS: int
"""Of an ordinal, and of a token."""
SERIAL_FIRST: int
"""The serial of the first request; from there on a serial has four bytes."""

@final
class Histogram:
    """Nanoseconds, each known to 1.6 %; the longest exactly."""

    @property
    def count(self) -> int:
        """How many there are."""

    @property
    def max_ns(self) -> int:
        """The longest; 0 when there is nothing."""

    @property
    def mean_ns(self) -> float:
        """The mean; 0 when there is nothing."""

    def note(self, ns: int) -> None:
        """Count one."""

    def at(self, share: float) -> int:
        """What ``share`` of them do not exceed, in nanoseconds; 0 when there is nothing.

        Raises:
            ValueError: ``share`` is not within 0 and 1.
        """

    def add(self, other: Histogram) -> None:
        """Count what the other one has, too."""

    def copy(self) -> Histogram:
        """One that does not change with this one."""

    def since(self, earlier: Histogram) -> Histogram:
        """What has come after ``earlier`` was copied from this one; its longest is known to 1.6 % then.

        Raises:
            ValueError: ``earlier`` is not of this one.
        """

    def buckets(self) -> list[tuple[int, int]]:
        """``(nanoseconds, count)`` of all that have some, ascending; the nanoseconds are a bucket's middle."""

@final
class Meter:
    """One thing that is measured: how much was due, how much of it came, and when."""

    @property
    def histogram(self) -> Histogram:
        """From when it was due to when it came."""

    @property
    def late(self) -> Histogram:
        """Of requests, from when one was due to when it was posted: the load's own delay, which is in the other one."""

    @property
    def due(self) -> int:
        """Requests, or deliveries; of a message whose readers nobody can count, those that came."""

    @property
    def came(self) -> int:
        """Of these, those that came."""

    @property
    def refused(self) -> int:
        """Of these, those that the server refused; also deliveries of a message that it refused."""

    @property
    def repeated(self) -> int:
        """Deliveries beyond those that were due."""

    @property
    def missing(self) -> int:
        """What was due and has neither come nor been refused."""

@final
class Template:
    """A frame with holes, which are filled in each time that it is sent.

    Args:
        serial_at: Where four bytes of serial go.
        ordinal_at: Where ten digits of ordinal go, right after a ``MARKER``; -1: it is no message.
        token_at: Where ten digits go that no other frame has; -1: nowhere.

    Raises:
        ValueError: A hole is outside of the frame.
    """

    def __new__(cls, frame: bytes, serial_at: int, ordinal_at: int = -1, token_at: int = -1) -> Self: ...

@final
class Fleet:
    """Connections, numbered from 0, and what is on its way on them.

    Args:
        connections: How many there may be.
        meters: How many there are.

    Raises:
        ValueError: There is not one of each.
    """

    def __new__(cls, connections: int, meters: int) -> Self: ...
    @property
    def frames(self) -> int:
        """Frames that came."""

    @property
    def reads(self) -> int:
        """Reads that brought something."""

    @property
    def bytes_read(self) -> int:
        """What they brought."""

    @property
    def slow_came(self) -> int:
        """Deliveries to connections that are ``slow``."""

    @property
    def unmarked(self) -> int:
        """Deliveries of messages that were not sent here."""

    @property
    def unanswered(self) -> int:
        """Requests that were not answered yet, on connections that may still do so."""

    def meter(self, index: int) -> Meter:
        """One of the meters."""

    def attach(self, number: int, fd: int, framing: int) -> None:
        """Have a connection use a socket that is being connected, and is the fleet's from now on.

        Raises:
            IndexError: There is no such connection.
            ValueError: It has a socket, or there is no such framing.
        """

    def fd(self, number: int) -> int:
        """The socket of a connection; -1 without one."""

    def close(self, number: int) -> None:
        """End a connection; what waits for its answers waits for nothing."""

    def slow(self, number: int) -> None:
        """No message waits for this connection from now on; what comes there counts as ``slow_came``."""

    def acks(self, number: int, conversation_id: bytes) -> None:
        """Have a connection tell the server what has come in this conversation, once for each read.

        Raises:
            ValueError: The id is too long to be one.
        """

    def post(
        self,
        number: int,
        template: Template,
        meter: int,
        due_ns: int,
        tag: int = -1,
        each: int = -1,
        last: int = -1,
        expected: int = 0,
    ) -> bool:
        """Send a frame that was due then. True: the socket is full, so it has to be watched for room.

        What is posted while the connection is made waits for it; without a connection it is due and never comes.

        Args:
            meter: Of the time to the answer.
            tag: What ``serve`` calls the answer; -1: it is only counted.
            each: The meter of a message's deliveries; -1: they are not counted.
            last: The meter of the time until a message has come to all; -1: nobody asks.
            expected: How many it has to come to; 0: nobody knows.

        Raises:
            IndexError: There is no such connection or meter.
            OverflowError: There were 266 million requests.
        """

    def owe(self, meter: int) -> None:
        """Count something as due that was never sent.

        Raises:
            IndexError: There is no such meter.
        """

    def serve(self, ready: list[tuple[int, int]]) -> list[tuple[int, int, int, bytes]]:
        """Read and write where it can be done.

        Args:
            ready: Descriptor and events of each socket that is ready, the events as ``poll`` names them: 4 for
                writing, all others for reading.

        Returns:
            ``(what, connection, tag, body)`` of what the caller wants to know.

        Raises:
            ValueError: A descriptor is of no connection.
        """
