# cython: language_level=3
"""The load's connections: what is sent, what comes back, and how long it took since it was due.

Mechanism only: who sends what and when is decided in ``fastim.bench``. One thread drives all connections; it waits for
the sockets in Python and hands over those that are ready. A request is found again by its serial, a message by the
ordinal in its body, so that nothing is looked up and no object is made for what is merely counted.
Oracle: ``tests/native/oracle_load.py``; what comes over sockets is held to a stub server in ``tests/bench``.
"""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINPROGRESS, EINTR, errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy, memmove, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport close as c_close

import os

cdef extern from "Python.h":
    # Python's own over malloc: tracemalloc counts what they give.
    void* calloc "PyMem_RawCalloc" (size_t count, size_t size) noexcept
    void* realloc "PyMem_RawRealloc" (void* items, size_t size) noexcept
    void free "PyMem_RawFree" (void* items) noexcept

cdef extern from *:
    """
    #include <errno.h>
    #include <sys/socket.h>
    #if defined(__linux__) && !defined(FASTIM_PORTABLE)
    #define SEND_FLAGS (MSG_NOSIGNAL | MSG_DONTWAIT)
    #else
    /* The descriptors are non-blocking, and Python ignores SIGPIPE. */
    #define SEND_FLAGS 0
    #endif
    """
    int SEND_FLAGS
    int EWOULDBLOCK

cdef extern from "<sys/socket.h>":
    int SOL_SOCKET
    int SO_ERROR
    Py_ssize_t c_send "send" (int fd, const void* at, size_t size, int flags) noexcept
    Py_ssize_t c_recv "recv" (int fd, void* at, size_t size, int flags) noexcept
    int getsockopt(int fd, int level, int name, void* value, unsigned int* size) noexcept

# How connections are framed, and what ``serve`` tells, as Python calls them; in native code they are the enums below.
TCP = 0
WEBSOCKET = 1
ANSWERED = 0
REFUSED = 1
ENDED = 2
BLOCKED = 3
RELIEVED = 4

MARKER = b"@"
DIGITS = 10
SERIAL_FIRST = 1 << 21

cdef enum:
    AS_TCP = 0
    AS_WEBSOCKET = 1

cdef enum:
    CLOSED = 0
    DIALLING = 1
    SHAKING = 2
    OPEN = 3

cdef enum:
    # Commands, operations and fields of the protocol.
    SESSION = 0
    DIRECT = 2
    ACK = 3
    FAILED = 7
    OP_CLOSED = 6
    IN_DIRECT = 104
    IN_ACK = 105

cdef enum:
    WS_CLOSE = 8
    WS_PING = 9

cdef enum:
    READABLE = 1
    WRITABLE = 4

cdef enum:
    ORDINAL_DIGITS = 10
    MARK = 64  # @
    FIRST_SERIAL = 2097152  # from here to 1 << 28 a serial takes four bytes
    SERIALS = 266338304
    READ_BYTES = 262144
    FRAME_BYTES = 67108864
    HEAD_BYTES = 14  # of the longest header before what is sent
    NUMBERS_BYTES = 64  # all that an ack needs besides its cid

cdef bytes HEAD_END = b"\r\n\r\n"
cdef bytes SWITCHING = b"HTTP/1.1 101"


@cython.final
cdef class Histogram:
    """Nanoseconds, each known to 1.6 %; the longest exactly."""

    def note(self, uint64_t ns):
        """Count one."""
        self.add_one(ns)

    cdef void add_one(self, uint64_t ns) noexcept:
        self.counts[bucket_of(ns)] += 1
        self.count += 1
        self.sum_ns += <double>ns
        if ns > self.max_ns:
            self.max_ns = ns

    @property
    def mean_ns(self):
        """The mean; 0 when there is nothing."""
        return self.sum_ns / <double>self.count if self.count else 0.0

    def at(self, double share):
        """What ``share`` of them do not exceed, in nanoseconds; 0 when there is nothing.

        Raises:
            ValueError: ``share`` is not within 0 and 1.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"{share} is no share")
        if not self.count:
            return 0
        cdef double exact = share * <double>self.count
        cdef uint64_t wanted = <uint64_t>exact
        if <double>wanted < exact:
            wanted += 1
        cdef uint64_t seen = 0
        cdef Py_ssize_t bucket
        if wanted >= self.count:
            return self.max_ns
        if not wanted:
            wanted = 1
        for bucket in range(BUCKETS):
            seen += self.counts[bucket]
            if seen >= wanted:
                return min(middle_of(bucket), self.max_ns)
        return self.max_ns

    def add(self, Histogram other not None):
        """Count what the other one has, too."""
        cdef Py_ssize_t bucket
        for bucket in range(BUCKETS):
            self.counts[bucket] += other.counts[bucket]
        self.count += other.count
        self.sum_ns += other.sum_ns
        self.max_ns = max(self.max_ns, other.max_ns)

    def copy(self):
        """One that does not change with this one."""
        cdef Histogram made = Histogram()
        made.add(self)
        return made

    def since(self, Histogram earlier not None):
        """What has come after ``earlier`` was copied from this one; its longest is known to 1.6 % then.

        Raises:
            ValueError: ``earlier`` is not of this one.
        """
        cdef Histogram made = Histogram()
        cdef Py_ssize_t bucket, last = -1
        for bucket in range(BUCKETS):
            if self.counts[bucket] < earlier.counts[bucket]:
                raise ValueError("that is not an earlier state of this histogram")
            made.counts[bucket] = self.counts[bucket] - earlier.counts[bucket]
            if made.counts[bucket]:
                last = bucket
        made.count = self.count - earlier.count
        made.sum_ns = self.sum_ns - earlier.sum_ns
        if last >= 0:
            made.max_ns = self.max_ns if self.max_ns > earlier.max_ns else middle_of(last)
        return made

    def buckets(self):
        """``(nanoseconds, count)`` of all that have some, ascending; the nanoseconds are a bucket's middle."""
        cdef Py_ssize_t bucket
        return [(middle_of(bucket), self.counts[bucket]) for bucket in range(BUCKETS) if self.counts[bucket]]


@cython.final
cdef class Meter:
    """One thing that is measured: how much was due, how much of it came, and when."""

    def __cinit__(self):
        self.histogram = Histogram()
        self.late = Histogram()

    @property
    def missing(self):
        """What was due and has neither come nor been refused."""
        return self.due - self.came - self.refused if self.due > self.came + self.refused else 0


@cython.final
cdef class Template:
    """A frame with holes, which are filled in each time that it is sent."""

    def __cinit__(self, bytes frame not None, Py_ssize_t serial_at, Py_ssize_t ordinal_at=-1, Py_ssize_t token_at=-1):
        cdef Py_ssize_t size = PyBytes_GET_SIZE(frame)
        if not 0 <= serial_at <= size - 4:
            raise ValueError("the serial has to be in the frame")
        for hole in (ordinal_at, token_at):
            if hole != -1 and not 0 <= hole <= size - DIGITS:
                raise ValueError("the ordinal and the token have to be in the frame")
        self.frame = frame
        self.serial_at = serial_at
        self.ordinal_at = ordinal_at
        self.token_at = token_at


@cython.final
cdef class Fleet:
    """Connections, numbered from 0, and what is on its way on them."""

    def __cinit__(self, Py_ssize_t connections, Py_ssize_t meters):
        if connections < 1 or meters < 1:
            raise ValueError("there has to be a connection and a meter")
        self.connections = <Connection*>calloc(<size_t>connections, sizeof(Connection))
        self.buffer = <uint8_t*>calloc(READ_BYTES, 1)
        self.buffer_size = READ_BYTES
        if self.connections == NULL or self.buffer == NULL:
            raise MemoryError
        self.size = connections
        cdef Py_ssize_t number
        for number in range(connections):
            self.connections[number].fd = -1
        self.meters = [Meter() for _ in range(meters)]

    def __dealloc__(self):
        cdef Py_ssize_t number
        for number in range(self.size):
            if self.connections[number].fd >= 0:
                c_close(self.connections[number].fd)
            free(self.connections[number].held)
            free(self.connections[number].waiting)
            free(self.connections[number].ack)
        free(self.connections)
        free(self.by_fd)
        free(self.requests)
        free(self.messages)
        free(self.buffer)
        free(self.outgoing)

    def meter(self, Py_ssize_t index):
        """One of the meters."""
        return self.meters[index]

    @property
    def unanswered(self):
        """Requests that were not answered yet, on connections that may still do so."""
        cdef Py_ssize_t index, count = 0
        for index in range(self.requests_count):
            if self.requests[index].meter >= 0:
                count += self.connections[self.requests[index].connection].state != CLOSED
        return count

    def attach(self, Py_ssize_t number, int fd, int framing):
        """Have a connection use a socket that is being connected, and is the fleet's from now on."""
        cdef Connection* connection = self.at(number)
        if connection.fd >= 0:
            raise ValueError(f"connection {number} has a socket")
        if fd < 0 or framing not in (AS_TCP, AS_WEBSOCKET):
            raise ValueError("no such socket or framing")
        if fd >= self.by_fd_size:
            self.by_fd = <int32_t*>grown(self.by_fd, &self.by_fd_size, fd + 1, sizeof(int32_t))
        self.by_fd[fd] = <int32_t>number
        connection.fd = fd
        connection.framing = <uint8_t>framing
        connection.state = DIALLING

    def fd(self, Py_ssize_t number):
        """The socket of a connection; -1 without one."""
        return self.at(number).fd

    def close(self, Py_ssize_t number):
        """End a connection; what waits for its answers waits for nothing."""
        cdef Connection* connection = self.at(number)
        if connection.fd < 0:
            return
        c_close(connection.fd)
        free(connection.held)
        free(connection.waiting)
        connection.fd = -1
        connection.state = CLOSED
        connection.held = connection.waiting = NULL
        connection.held_size = connection.waiting_size = 0
        connection.ack_to = 0

    def slow(self, Py_ssize_t number):
        """No message waits for this connection from now on; what comes there counts as ``slow_came``."""
        self.at(number).slow = True

    def acks(self, Py_ssize_t number, bytes conversation_id not None):
        """Have a connection tell the server what has come in this conversation, once for each read."""
        cdef Connection* connection = self.at(number)
        cdef bytes field = b"\x22" + bytes([len(conversation_id)]) + conversation_id
        if len(conversation_id) > 100:
            raise ValueError("that is no conversation id")
        cdef Py_ssize_t size = PyBytes_GET_SIZE(field)
        cdef char* made = <char*>realloc(connection.ack, <size_t>size)
        if made == NULL:
            raise MemoryError
        memcpy(made, PyBytes_AS_STRING(field), <size_t>size)
        connection.ack = made
        connection.ack_size = size

    def post(
        self,
        Py_ssize_t number,
        Template template not None,
        Py_ssize_t meter,
        uint64_t due_ns,
        int32_t tag=-1,
        Py_ssize_t each=-1,
        Py_ssize_t last=-1,
        uint32_t expected=0,
    ):
        """Send a frame that was due then. True: the socket is full, so it has to be watched for room."""
        cdef Connection* connection = self.at(number)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(template.frame), meters = len(self.meters)
        if not 0 <= meter < meters or not -1 <= each < meters or not -1 <= last < meters:
            raise IndexError("no such meter")
        if self.requests_count >= SERIALS:
            raise OverflowError("no more requests can be told apart in one run")
        if self.requests_count >= self.requests_size:
            self.requests = <Request*>grown(
                self.requests, &self.requests_size, self.requests_count + 1, sizeof(Request)
            )
        if self.messages_count >= self.messages_size:
            self.messages = <Message*>grown(
                self.messages, &self.messages_size, self.messages_count + 1, sizeof(Message)
            )
        if size > self.outgoing_size:
            self.outgoing = <char*>grown(self.outgoing, &self.outgoing_size, size, 1)
        memcpy(self.outgoing, PyBytes_AS_STRING(template.frame), <size_t>size)
        cdef uint32_t serial = FIRST_SERIAL + <uint32_t>self.requests_count
        cdef char* at = self.outgoing + template.serial_at
        at[0] = <char>((serial & 127) | 128)
        at[1] = <char>((serial >> 7 & 127) | 128)
        at[2] = <char>((serial >> 14 & 127) | 128)
        at[3] = <char>(serial >> 21 & 127)
        self.requests[self.requests_count] = Request(due_ns, <int32_t>number, tag, <int32_t>meter, -1)
        if template.ordinal_at >= 0:
            self.requests[self.requests_count].message = self.messages_count
        self.requests_count += 1
        if template.token_at >= 0:
            write_digits(self.outgoing + template.token_at, <uint64_t>serial)
        cdef Meter noted = <Meter>self.meters[meter]
        noted.due += 1
        if template.ordinal_at >= 0:
            write_digits(self.outgoing + template.ordinal_at, <uint64_t>self.messages_count)
            self.messages[self.messages_count] = Message(due_ns, expected, 0, <int32_t>each, <int32_t>last)
            self.messages_count += 1
            if each >= 0:
                (<Meter>self.meters[each]).due += expected
            if last >= 0:
                (<Meter>self.meters[last]).due += 1
        cdef uint64_t now = clock()
        noted.late.add_one(now - due_ns if now > due_ns else 0)
        return self.send(connection, self.outgoing, size) == 1

    def owe(self, Py_ssize_t meter):
        """Count something as due that was never sent."""
        cdef Meter owing = self.meters[meter]
        owing.due += 1

    def serve(self, list ready not None):
        """Read and write where it can be done: ``(descriptor, events)`` of each socket that is ready.

        Returns:
            ``(what, connection, tag, body)`` of what the caller wants to know.
        """
        cdef list told = []
        cdef Py_ssize_t number
        cdef int fd, events
        cdef Connection* connection
        for fd, events in ready:
            if not 0 <= fd < self.by_fd_size:
                raise ValueError(f"descriptor {fd} is of no connection")
            number = self.by_fd[fd]
            connection = self.at(number)
            if connection.fd != fd or connection.state == CLOSED:
                continue  # it has ended since it was found ready
            if connection.state == DIALLING:
                self.dialled(number, told)
                continue
            if events & WRITABLE and self.flush(connection):
                told.append((RELIEVED, number, -1, b""))
            if events & ~WRITABLE:
                self.take(number, told)
        return told

    # --- Connections -------------------------------------------------------------------------------------------------

    cdef Connection* at(self, Py_ssize_t number) except NULL:
        if not 0 <= number < self.size:
            raise IndexError(f"there is no connection {number}")
        return &self.connections[number]

    cdef int dialled(self, Py_ssize_t number, list told) except -1:
        cdef Connection* connection = &self.connections[number]
        cdef int failed = 0
        cdef unsigned int size = sizeof(failed)
        getsockopt(connection.fd, SOL_SOCKET, SO_ERROR, &failed, &size)
        if failed == EINPROGRESS:
            return 0
        if failed:
            return self.end(number, os.strerror(failed).encode(), told)
        if connection.framing == AS_WEBSOCKET:
            connection.state = SHAKING
            return self.begin_shaking(number, told)
        connection.state = OPEN
        if self.flush(connection):
            told.append((RELIEVED, number, -1, b""))
        return 0

    cdef int begin_shaking(self, Py_ssize_t number, list told) except -1:
        """Ask for a WebSocket."""
        cdef Connection* connection = &self.connections[number]
        cdef Py_ssize_t sent = c_send(
            connection.fd, PyBytes_AS_STRING(HANDSHAKE), <size_t>PyBytes_GET_SIZE(HANDSHAKE), SEND_FLAGS
        )
        if sent != PyBytes_GET_SIZE(HANDSHAKE):
            return self.end(number, b"the handshake could not be sent", told)
        told.append((RELIEVED, number, -1, b""))
        return 0

    cdef Py_ssize_t shake(self, Py_ssize_t number, Py_ssize_t end, list told) except -2:
        """Where the handshake's answer ends; -1: it has not come whole, or is another than wanted."""
        cdef Connection* connection = &self.connections[number]
        cdef bytes answer = PyBytes_FromStringAndSize(<const char*>self.buffer, end)
        cdef Py_ssize_t found = answer.find(HEAD_END)
        if not answer.startswith(SWITCHING[:len(answer)]):
            self.end(number, b"no WebSocket: " + answer.split(b"\r\n")[0][:100], told)
            return -1
        if found < 0:
            return -1
        connection.state = OPEN
        self.flush(connection)
        if connection.waiting_size:
            told.append((BLOCKED, number, -1, b""))
        return found + 4

    cdef int end(self, Py_ssize_t number, bytes why, list told) except -1:
        # Still with its descriptor: whoever watches that has to forget it before another socket has the same.
        self.connections[number].state = CLOSED
        told.append((ENDED, number, -1, why))
        return 0

    # --- Sending -----------------------------------------------------------------------------------------------------

    cdef int send(self, Connection* connection, const char* frame, Py_ssize_t size) except -1:
        """1: the socket was free and is full now; 0: nothing has changed in that."""
        cdef Py_ssize_t sent = 0
        cdef char* more
        if connection.state == CLOSED:
            return 0
        cdef bint idle = connection.state == OPEN and not connection.waiting_size
        if idle:
            sent = c_send(connection.fd, frame, <size_t>size, SEND_FLAGS)
            if sent < 0:
                if not would_block():
                    return 0  # the next read says why
                sent = 0
        if sent == size:
            return 0
        more = <char*>realloc(connection.waiting, <size_t>(connection.waiting_size + size - sent))
        if more == NULL:
            raise MemoryError
        connection.waiting = more
        memcpy(more + connection.waiting_size, frame + sent, <size_t>(size - sent))
        connection.waiting_size += size - sent
        return idle

    cdef int flush(self, Connection* connection) except -1:
        """1: nothing waits any more."""
        cdef Py_ssize_t sent
        if connection.state != OPEN:
            return 0
        if connection.waiting_size:
            sent = c_send(connection.fd, connection.waiting, <size_t>connection.waiting_size, SEND_FLAGS)
            if sent < 0:
                if would_block():
                    return 0
                sent = connection.waiting_size  # the next read says why
            connection.waiting_size -= sent
            if connection.waiting_size:
                memmove(connection.waiting, connection.waiting + sent, <size_t>connection.waiting_size)
                return 0
        free(connection.waiting)
        connection.waiting = NULL
        return 1

    cdef int acknowledge(self, Connection* connection) except -1:
        """Say which messages have come with the last read. 1: the socket is full now."""
        cdef Py_ssize_t room = HEAD_BYTES + NUMBERS_BYTES + connection.ack_size
        if room > self.outgoing_size:
            self.outgoing = <char*>grown(self.outgoing, &self.outgoing_size, room, 1)
        # Made from behind the longest header, which then goes right before it.
        cdef char* body = self.outgoing + HEAD_BYTES
        cdef char* at = body
        cdef Py_ssize_t inner
        inner = connection.ack_size + 2 + varint_size(connection.ack_from) + varint_size(connection.ack_to)
        at = write_varint(at, 1 << 3)
        at = write_varint(at, ACK)
        at = write_varint(at, IN_ACK << 3 | 2)
        at = write_varint(at, <uint64_t>inner)
        memcpy(at, connection.ack, <size_t>connection.ack_size)
        at = write_varint(at + connection.ack_size, 7 << 3)
        at = write_varint(at, <uint64_t>connection.ack_from)
        at = write_varint(at, 8 << 3)
        at = write_varint(at, <uint64_t>connection.ack_to)
        connection.ack_to = 0
        cdef Py_ssize_t size = distance(body, at)
        cdef char* start
        if connection.framing == AS_TCP:
            start = body - 4
            start[0] = start[1] = 0
            start[2] = <char>(size >> 8)
            start[3] = <char>size
        elif size < 126:
            start = body - 6
            start[0] = <char>0x82
            start[1] = <char>(0x80 | size)
            memset(start + 2, 0, 4)
        else:
            start = body - 8
            start[0] = <char>0x82
            start[1] = <char>0xFE
            start[2] = <char>(size >> 8)
            start[3] = <char>size
            memset(start + 4, 0, 4)
        return self.send(connection, start, distance(start, at))

    # --- Reading -----------------------------------------------------------------------------------------------------

    cdef int take(self, Py_ssize_t number, list told) except -1:
        """Read once and look at every frame that is whole; what is not is kept."""
        cdef Connection* connection = &self.connections[number]
        cdef Py_ssize_t held = connection.held_size, got, at = 0, end, header = 0, size
        cdef uint8_t opcode = 0
        cdef int failed
        cdef uint64_t now
        cdef char* more
        if held + READ_BYTES > self.buffer_size:
            self.buffer = <uint8_t*>grown(self.buffer, &self.buffer_size, held + READ_BYTES, 1)
        if held:
            memcpy(self.buffer, connection.held, <size_t>held)
        got = c_recv(connection.fd, self.buffer + held, READ_BYTES, 0)
        if got < 0:
            failed = errno
            return 0 if would_block() else self.end(number, os.strerror(failed).encode(), told)
        if not got:
            return self.end(number, b"", told)
        now = clock()
        self.reads += 1
        self.bytes_read += <uint64_t>got
        end = held + got
        if connection.state == SHAKING:
            at = self.shake(number, end, told)
            if connection.state == CLOSED:
                return 0
            if at < 0:
                at = 0
                header = -1
        while header >= 0:
            size = cut(connection.framing, self.buffer + at, end - at, &header, &opcode)
            if size == TOO_LONG:
                return self.end(number, b"what it sent is no frame", told)
            if size == NOT_WHOLE:
                break
            if opcode == WS_CLOSE:
                return self.end(number, PyBytes_FromStringAndSize(<const char*>self.buffer + at + header, size), told)
            if opcode == WS_PING:
                if self.send(connection, PONG, 6):
                    told.append((BLOCKED, number, -1, b""))
            else:
                self.frames += 1
                self.hear(number, self.buffer + at + header, size, now, told)
            at += header + size
        if at != end:
            more = <char*>realloc(connection.held, <size_t>(end - at))
            if more == NULL:
                raise MemoryError
            connection.held = more
            memcpy(more, self.buffer + at, <size_t>(end - at))
        elif held:
            free(connection.held)
            connection.held = NULL
        connection.held_size = end - at
        if connection.ack_to and self.acknowledge(connection):
            told.append((BLOCKED, number, -1, b""))
        return 0

    cdef int hear(self, Py_ssize_t number, const uint8_t* body, Py_ssize_t size, uint64_t now, list told) except -1:
        cdef Parsed command
        cdef bytes kept
        if not parse(body, size, &command):
            told.append((REFUSED, number, -1, b""))
            return 0
        if command.cmd == DIRECT and not command.has_serial:
            self.arrive(&self.connections[number], body, size, now)
            if self.connections[number].ack != NULL:
                note_timestamp(&self.connections[number], &command)
            return 0
        if command.has_serial:
            kept = PyBytes_FromStringAndSize(<const char*>body, size) if self.wants(&command) else None
            return self.settle(number, &command, kept, now, told)
        if command.cmd == FAILED or (command.cmd == SESSION and command.op == OP_CLOSED):
            told.append((REFUSED, number, -1, PyBytes_FromStringAndSize(<const char*>body, size)))
        return 0

    cdef bint wants(self, Parsed* command) noexcept:
        """Whether Python is told of a reply."""
        cdef int64_t index = command.serial - FIRST_SERIAL
        if command.cmd == FAILED or has_code(command):
            return True
        return 0 <= index < self.requests_count and self.requests[index].tag >= 0

    cdef int settle(self, Py_ssize_t number, Parsed* command, bytes body, uint64_t now, list told) except -1:
        """A request has its answer."""
        cdef int64_t index = command.serial - FIRST_SERIAL
        cdef Request* request
        cdef Meter meter
        if not 0 <= index < self.requests_count:
            return 0
        request = &self.requests[index]
        if request.meter < 0 or request.connection != number:
            return 0
        meter = <Meter>self.meters[request.meter]
        request.meter = -1
        if command.cmd == FAILED or has_code(command):
            meter.refused += 1
            if request.message >= 0:
                self.excuse(&self.messages[request.message])
            told.append((REFUSED, number, request.tag, body))
            return 0
        meter.came += 1
        meter.histogram.add_one(now - request.due_ns if now > request.due_ns else 0)
        if request.tag >= 0:
            told.append((ANSWERED, number, request.tag, body))
        return 0

    cdef int excuse(self, Message* message) except -1:
        """A message was refused: nobody has to get it."""
        cdef Meter meter
        if message.each >= 0 and message.expected > message.arrived:
            meter = <Meter>self.meters[message.each]
            meter.refused += message.expected - message.arrived
        if message.last >= 0:
            meter = <Meter>self.meters[message.last]
            meter.refused += 1
        return 0

    cdef int arrive(self, Connection* connection, const uint8_t* body, Py_ssize_t size, uint64_t now) except -1:
        """A message has come."""
        cdef int64_t ordinal = ordinal_in(body, size)
        if not 0 <= ordinal < self.messages_count:
            self.unmarked += 1
            return 0
        if connection.slow:
            self.slow_came += 1
            return 0
        cdef Message* message = &self.messages[ordinal]
        if message.each < 0:
            return 0
        cdef Meter each = <Meter>self.meters[message.each], last
        cdef uint64_t took = now - message.due_ns if now > message.due_ns else 0
        message.arrived += 1
        if not message.expected:
            each.due += 1  # nobody knows how many there would be
        elif message.arrived > message.expected:
            each.repeated += 1
            return 0
        each.came += 1
        each.histogram.add_one(took)
        if message.arrived == message.expected and message.last >= 0:
            last = <Meter>self.meters[message.last]
            last.came += 1
            last.histogram.add_one(took)
        return 0


cdef bytes HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"Sec-WebSocket-Protocol: lc.protobuf2.3\r\n\r\n"
)
cdef const char* PONG = b"\x8a\x80\x00\x00\x00\x00"

cdef enum:
    NOT_WHOLE = -1
    TOO_LONG = -2


cdef Py_ssize_t cut(
    uint8_t framing, const uint8_t* at, Py_ssize_t left, Py_ssize_t* header, uint8_t* opcode
) noexcept:
    """The size of the frame that begins here, after its header; or why there is none."""
    cdef uint64_t size
    cdef Py_ssize_t byte
    opcode[0] = 0
    if framing == AS_TCP:
        if left < 4:
            return NOT_WHOLE
        header[0] = 4
        size = <uint64_t>at[0] << 24 | <uint64_t>at[1] << 16 | <uint64_t>at[2] << 8 | at[3]
    else:
        if left < 2:
            return NOT_WHOLE
        opcode[0] = at[0] & 15
        size = at[1] & 127
        header[0] = 2 if size < 126 else 4 if size == 126 else 10
        if left < header[0]:
            return NOT_WHOLE
        if size > 125:
            size = 0
            for byte in range(2, header[0]):
                size = size << 8 | at[byte]
    if size > FRAME_BYTES:
        return TOO_LONG
    return <Py_ssize_t>size if <uint64_t>(left - header[0]) >= size else NOT_WHOLE


cdef bint parse(const uint8_t* at, Py_ssize_t size, Parsed* command) noexcept:
    """Look at the fields of a command; False: it is none."""
    cdef const uint8_t* end = at + size
    cdef uint64_t key, value
    memset(command, 0, sizeof(Parsed))
    command.cmd = -1
    while at < end:
        at = read_varint(at, end, &key)
        if at == NULL:
            return False
        if key & 7 == 0:
            at = read_varint(at, end, &value)
            if at == NULL:
                return False
            if key >> 3 == 1:
                command.cmd = <int64_t>value
            elif key >> 3 == 2:
                command.op = <int64_t>value
            elif key >> 3 == 5:
                command.serial = <int64_t>value
                command.has_serial = True
        elif key & 7 == 2:
            at = read_varint(at, end, &value)
            if at == NULL or value > <uint64_t>distance(at, end):
                return False
            if key >> 3 == IN_DIRECT:
                command.direct = at
                command.direct_end = at + value
            elif key >> 3 == IN_ACK:
                command.ack = at
                command.ack_end = at + value
            at += value
        else:
            return False  # no field of the protocol has another type
    return command.cmd >= 0


cdef bint has_code(Parsed* command) noexcept:
    """Whether it is an ack that says no. Source: wire protocol: a code, even 0, is a failure."""
    cdef uint64_t key
    if command.cmd != ACK or command.ack == NULL or command.ack == command.ack_end:
        return False
    return read_varint(command.ack, command.ack_end, &key) != NULL and key == 1 << 3


cdef void note_timestamp(Connection* connection, Parsed* command) noexcept:
    """Remember the time of a message that has to be acked."""
    cdef const uint8_t* at = command.direct
    cdef uint64_t key, value
    while at != NULL and at < command.direct_end:
        at = read_varint(at, command.direct_end, &key)
        if at != NULL:
            at = read_varint(at, command.direct_end, &value)
        if at == NULL:
            return
        if key & 7 == 2:
            if value > <uint64_t>distance(at, command.direct_end):
                return
            at += value
        elif key & 7:
            return
        elif key >> 3 == 4:
            if not connection.ack_to or <int64_t>value < connection.ack_from:
                connection.ack_from = <int64_t>value
            connection.ack_to = max(connection.ack_to, <int64_t>value)
            return


cdef int64_t ordinal_in(const uint8_t* body, Py_ssize_t size) noexcept:
    """The number behind the marker; -1: there is none."""
    cdef const uint8_t* end = body + size
    cdef const uint8_t* at = <const uint8_t*>memchr(body, MARK, <size_t>size)
    cdef int64_t ordinal
    cdef Py_ssize_t digit
    while at != NULL and distance(at, end) > ORDINAL_DIGITS:
        ordinal = 0
        for digit in range(1, ORDINAL_DIGITS + 1):
            if not 48 <= at[digit] <= 57:
                ordinal = -1
                break
            ordinal = ordinal * 10 + at[digit] - 48
        if ordinal >= 0:
            return ordinal
        at += 1
        at = <const uint8_t*>memchr(at, MARK, <size_t>distance(at, end))
    return -1


@cython.overflowcheck(False)  # which takes the distance of two pointers for one of two numbers
cdef Py_ssize_t distance(const void* low, const void* high) noexcept:
    return <const char*>high - <const char*>low


cdef const uint8_t* read_varint(const uint8_t* at, const uint8_t* end, uint64_t* value) noexcept:
    """What follows it; NULL: it is not whole, or too long."""
    cdef int shift = 0
    value[0] = 0
    while at < end and shift < 64:
        value[0] |= <uint64_t>(at[0] & 127) << shift
        if at[0] < 128:
            return at + 1
        at += 1
        shift += 7
    return NULL


cdef char* write_varint(char* at, uint64_t value) noexcept:
    while value > 127:
        at[0] = <char>(value & 127 | 128)
        at += 1
        value >>= 7
    at[0] = <char>value
    return at + 1


cdef Py_ssize_t varint_size(int64_t value) noexcept:
    cdef Py_ssize_t size = 1
    cdef uint64_t left = <uint64_t>value
    while left > 127:
        left >>= 7
        size += 1
    return size


cdef void write_digits(char* at, uint64_t value) noexcept:
    cdef Py_ssize_t digit
    for digit in range(ORDINAL_DIGITS - 1, -1, -1):
        at[digit] = <char>(48 + value % 10)
        value //= 10


cdef Py_ssize_t bucket_of(uint64_t ns) noexcept:
    """64 buckets for each power of two, and as many for what is below."""
    cdef Py_ssize_t power = 0
    while ns >> power >= 128:
        power += 1
    return <Py_ssize_t>(ns >> power) + 64 * power


cdef object middle_of(Py_ssize_t bucket):
    """The middle of a bucket, in nanoseconds."""
    if bucket < 128:
        return bucket
    cdef Py_ssize_t power = bucket // 64 - 1
    cdef uint64_t low = <uint64_t>(bucket - 64 * power) << power
    return low + (<uint64_t>1 << power - 1)


cdef uint64_t clock() noexcept:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t>now.tv_sec * 1000000000 + <uint64_t>now.tv_nsec


cdef bint would_block() noexcept:
    return errno == EAGAIN or errno == EWOULDBLOCK or errno == EINTR


cdef void* grown(void* items, Py_ssize_t* size, Py_ssize_t needed, size_t each) except NULL:
    """The same items with room for twice as many, or as many as are needed; the new room is zeroed."""
    cdef Py_ssize_t wanted = max(2 * size[0], needed, 64)
    cdef char* made = <char*>realloc(items, <size_t>wanted * each)
    if made == NULL:
        raise MemoryError
    memset(made + <size_t>size[0] * each, 0, <size_t>(wanted - size[0]) * each)
    size[0] = wanted
    return made
