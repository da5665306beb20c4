# cython: language_level=3
"""Framing of both doors: bytes as the network cut them in, whole frames out, and frames to send.

``TcpFrames`` reads frames of a 4-byte big-endian length and a body, ``WebSocketFrames`` what an RFC 6455 client sends;
the ``encode_`` functions make what the server sends. Mechanism only: what a frame means, and what a connection is told
when its framing is broken, is decided by the doors. A reader belongs to the thread of its connection and takes no lock.

A header is judged before memory is taken for what it announces, memory grows with the bytes that came and not with
those that were promised, and a reader that was read to the end holds no buffer.
Oracle: ``tests/native/oracle_frames.py``.
"""
cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset


cdef enum:
    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10

    CONTROL_LIMIT_BYTES = 125
    TCP_HEADER_BYTES = 4

cdef enum:
    NO_FAULT
    TOO_BIG
    RESERVED_BITS
    RESERVED_OPCODE
    FRAGMENTED_CONTROL
    NOTHING_TO_CONTINUE
    MESSAGE_UNFINISHED
    NOT_MASKED
    LONG_CONTROL
    LENGTH_NOT_MINIMAL
    LENGTH_TOP_BIT
    TEXT_NOT_UTF8
    SHORT_CLOSE
    CLOSE_CODE
    REASON_NOT_UTF8

# In the order of the enum above; the codes are those of RFC 6455, section 7.4.1.
cdef tuple FAULTS = (
    (0, ""),
    (1009, "longer than the limit of {limit_bytes} bytes"),
    (1002, "reserved bits are set"),
    (1002, "reserved opcode"),
    (1002, "fragmented control frame"),
    (1002, "continuation of nothing"),
    (1002, "new message before the last one was finished"),
    (1002, "frame is not masked"),
    (1002, "control frame longer than 125 bytes"),
    (1002, "length is not in its shortest form"),
    (1002, "length has its top bit set"),
    (1007, "text is not UTF-8"),
    (1002, "close frame of one byte"),
    (1002, "close code that must not be sent"),
    (1007, "close reason is not UTF-8"),
)


class FrameError(ValueError):
    """The bytes cannot be framed; the reader that raised this raises it again on every further read.

    Attributes:
        close_code: The WebSocket close code that says why: 1002 protocol error, 1007 not UTF-8, 1009 too big. Over TCP
            it is always 1009.
    """

    def __init__(self, close_code, message):
        super().__init__(message)
        self.close_code = close_code


@cython.internal
cdef class Inbound:
    """What both readers share: the bytes pushed, and the frame or message being put together from them."""

    def __cinit__(self, Py_ssize_t limit_bytes):
        if limit_bytes < 0:
            raise ValueError("limit_bytes must not be negative")
        self.limit_bytes = limit_bytes

    def push(self, data):
        """Hand over what one read of the socket gave.

        ``bytes`` are kept, not copied, until they are used up; anything that may change is copied. Push again only when
        the reader has nothing more to give: what is pushed earlier waits, and only the caller bounds it.

        Raises:
            TypeError: ``data`` is not bytes-like.
        """
        cdef bytes chunk = data if PyBytes_CheckExact(data) else copy_buffer(data)
        if self.ended or PyBytes_GET_SIZE(chunk) == 0:
            return
        if self.backlog is not None:
            self.backlog += chunk
        elif self.chunk is not None:
            self.backlog = bytearray(chunk)
        else:
            self.chunk = chunk

    cdef Py_ssize_t ready(self, const uint8_t** at) except -1:
        """Point ``at`` to the bytes not yet used and return how many there are; valid until ``consume``."""
        if self.chunk is None:
            if self.backlog is None:
                return 0
            self.chunk = bytes(self.backlog)
            self.backlog = None
        at[0] = <const uint8_t*>PyBytes_AS_STRING(self.chunk) + self.offset
        return PyBytes_GET_SIZE(self.chunk) - self.offset

    cdef void consume(self, Py_ssize_t size) noexcept:
        """Count ``size`` bytes as used, no more than are ready."""
        self.offset += size
        if self.chunk is not None and self.offset == PyBytes_GET_SIZE(self.chunk):
            self.chunk = None
            self.offset = 0

    cdef int reserve(self, Py_ssize_t size, Py_ssize_t most) except -1:
        """Make room in ``held`` for ``size`` further bytes, ``most`` being the largest room ever needed.

        Room at least doubles, so pieces of one byte cost a constant each, and is never more than twice what has come.
        """
        cdef Py_ssize_t room = 0 if self.held is None else PyBytes_GET_SIZE(self.held)
        cdef bytes larger
        if size <= room - self.held_size:
            return 0
        larger = PyBytes_FromStringAndSize(NULL, min(most, max(self.held_size + size, 2 * room)))
        if self.held is not None:
            memcpy(PyBytes_AS_STRING(larger), PyBytes_AS_STRING(self.held), <size_t>self.held_size)
        self.held = larger
        return 0

    cdef bytes take_held(self):
        """Hand out what is held, which starts anew."""
        cdef bytes whole = self.held
        if whole is None:
            return b""
        if PyBytes_GET_SIZE(whole) != self.held_size:
            whole = PyBytes_FromStringAndSize(PyBytes_AS_STRING(whole), self.held_size)
        self.held = None
        self.held_size = 0
        return whole

    cdef void drop(self) noexcept:
        """Read nothing further, and let go of every buffer."""
        self.ended = True
        self.chunk = None
        self.offset = 0
        self.backlog = None
        self.held = None
        self.held_size = 0

    cdef int fail(self, uint8_t fault) except -1:
        """Raise ``fault``, now and ever after."""
        self.fault = fault
        self.drop()
        close_code, message = FAULTS[fault]
        raise FrameError(close_code, message.format(limit_bytes=self.limit_bytes))


@cython.final
cdef class TcpFrames(Inbound):
    """The frames one TCP connection receives: a 4-byte big-endian length, then as many bytes.

    Args:
        limit_bytes: Longest body accepted.

    Raises:
        ValueError: ``limit_bytes`` is negative.
    """

    @property
    def pending_bytes(self):
        """Bytes received that no frame handed out has accounted for."""
        if self.ended:
            return 0
        return pushed_bytes(self) + self.header_size + self.held_size

    def next_frame(self):
        """Return the body of the next whole frame, without its length; None when more bytes are needed.

        Raises:
            FrameError: A frame claims more than ``limit_bytes``. Known from its four bytes of length alone.
        """
        cdef const uint8_t* at = NULL
        cdef Py_ssize_t have, take
        cdef bytes body
        if self.fault:
            self.fail(self.fault)
        while self.header_size < TCP_HEADER_BYTES:
            have = self.ready(&at)
            if have == 0:
                return None
            take = min(have, TCP_HEADER_BYTES - self.header_size)
            memcpy(self.header + self.header_size, at, <size_t>take)
            self.header_size += <uint8_t>take
            self.consume(take)
            if self.header_size == TCP_HEADER_BYTES:
                self.judge_header()
        while self.held_size < self.body_size:
            have = self.ready(&at)
            if have == 0:
                return None
            take = min(have, self.body_size - self.held_size)
            self.reserve(take, self.body_size)
            memcpy(PyBytes_AS_STRING(self.held) + self.held_size, at, <size_t>take)
            self.held_size += take
            self.consume(take)
        body = self.take_held()
        self.header_size = 0
        return body

    cdef int judge_header(self) except -1:
        cdef uint64_t claimed = big_endian(self.header, TCP_HEADER_BYTES)
        if claimed > <uint64_t>self.limit_bytes:
            self.fail(TOO_BIG)
        self.body_size = <Py_ssize_t>claimed
        return 0


@cython.final
cdef class WebSocketFrames(Inbound):
    """The messages and control frames one WebSocket connection receives, server side, without extensions (RFC 6455).

    Args:
        limit_bytes: Longest message accepted, the sum of its fragments.

    Raises:
        ValueError: ``limit_bytes`` is negative.
    """

    def __cinit__(self, Py_ssize_t limit_bytes):
        self.header_goal = 2

    @property
    def pending_bytes(self):
        """Bytes held: not yet read, of a header being read, and payload that waits for the rest of its message."""
        cdef Py_ssize_t control = 0 if self.control is None else PyBytes_GET_SIZE(self.control) - self.left
        if self.ended:
            return 0
        return pushed_bytes(self) + self.header_size + self.held_size + control

    def next_event(self):
        """Return the next message or control frame as ``(opcode, payload)``; None when more bytes are needed.

        Messages (1 text, 2 binary) come whole, their fragments joined and a text proved to be UTF-8. Control frames
        (8 close, 9 ping, 10 pong) come as they stand, also between the fragments of a message. The payload of a close
        is empty, or two bytes of a code that may be sent and a UTF-8 reason. After a close nothing more is read.

        Raises:
            FrameError: The client broke the protocol, sent text that is not UTF-8 (as soon as the first wrong byte is
                there), or a message longer than ``limit_bytes`` (as soon as a header tells).
        """
        if self.fault:
            self.fail(self.fault)
        while True:
            if not self.in_payload:
                if not self.gather_header():
                    return None
                self.begin_payload()
            if self.opcode >= CLOSE:
                return self.end_control() if self.gather_control() else None
            if not self.gather_data():
                return None
            if self.final:
                return self.end_data()
            self.in_payload = False

    cdef bint gather_header(self) except -1:
        """Read one header up to its masking key, judging each part as it is whole. False: bytes are missing."""
        cdef const uint8_t* at = NULL
        cdef Py_ssize_t have, take
        while True:
            while self.header_size < self.header_goal:
                have = self.ready(&at)
                if have == 0:
                    return False
                take = min(have, self.header_goal - self.header_size)
                memcpy(self.header + self.header_size, at, <size_t>take)
                self.header_size += <uint8_t>take
                self.consume(take)
            if self.header_goal == 2:
                self.judge_start()
            elif self.header_goal == 4 or self.header_goal == 10:
                self.judge_length()
            else:
                return True

    cdef int judge_start(self) except -1:
        """Judge the two bytes every header has, and set the goal that follows from them."""
        cdef uint8_t first = self.header[0]
        cdef uint8_t second = self.header[1]
        cdef uint8_t short_length = second & 0x7F
        self.final = (first & 0x80) != 0
        self.opcode = first & 0x0F
        if first & 0x70:
            self.fail(RESERVED_BITS)
        if self.opcode > PONG or BINARY < self.opcode < CLOSE:
            self.fail(RESERVED_OPCODE)
        if self.opcode >= CLOSE:
            if not self.final:
                self.fail(FRAGMENTED_CONTROL)
        elif self.opcode == CONTINUATION:
            if self.message_opcode == CONTINUATION:
                self.fail(NOTHING_TO_CONTINUE)
        elif self.message_opcode != CONTINUATION:
            self.fail(MESSAGE_UNFINISHED)
        if not second & 0x80:
            self.fail(NOT_MASKED)
        if self.opcode >= CLOSE and short_length > CONTROL_LIMIT_BYTES:
            self.fail(LONG_CONTROL)
        if short_length == 126:
            self.header_goal = 4
        elif short_length == 127:
            self.header_goal = 10
        else:
            self.judge_length()
        return 0

    cdef int judge_length(self) except -1:
        """Judge the length, which is whole, and set the goal that includes the masking key."""
        cdef uint64_t length = self.header[1] & 0x7F
        if self.header_goal == 4:
            length = big_endian(self.header + 2, 2)
            if length < 126:
                self.fail(LENGTH_NOT_MINIMAL)
        elif self.header_goal == 10:
            length = big_endian(self.header + 2, 8)
            if length >> 63:
                self.fail(LENGTH_TOP_BIT)
            if length < 0x10000:
                self.fail(LENGTH_NOT_MINIMAL)
        # held_size never passes the limit, and the limit is for messages: control frames have one of their own.
        if self.opcode < CLOSE and length > <uint64_t>(self.limit_bytes - self.held_size):
            self.fail(TOO_BIG)
        self.left = <Py_ssize_t>length
        self.header_goal += 4
        return 0

    cdef int begin_payload(self) except -1:
        """Turn from a whole header to the payload it announces."""
        if self.opcode >= CLOSE:
            self.control = PyBytes_FromStringAndSize(NULL, self.left)
        elif self.opcode != CONTINUATION:
            self.message_opcode = self.opcode
        memcpy(self.key, self.header + self.header_goal - 4, 4)
        self.header_size = 0
        self.header_goal = 2
        self.in_payload = True
        return 0

    cdef bint gather_control(self) except -1:
        """Read on in a control frame. False: bytes are missing."""
        cdef const uint8_t* at = NULL
        cdef uint8_t* to
        cdef Py_ssize_t have, take
        while self.left:
            have = self.ready(&at)
            if have == 0:
                return False
            take = min(have, self.left)
            to = <uint8_t*>PyBytes_AS_STRING(self.control) + PyBytes_GET_SIZE(self.control) - self.left
            unmask(to, at, take, self.key)
            self.left -= take
            self.consume(take)
        return True

    cdef bint gather_data(self) except -1:
        """Read on in a frame of a message. False: bytes are missing."""
        cdef const uint8_t* at = NULL
        cdef uint8_t* to
        cdef Py_ssize_t have, take
        while self.left:
            have = self.ready(&at)
            if have == 0:
                return False
            take = min(have, self.left)
            # Fragments may go on up to the limit; sized by each in turn, many small ones would cost a copy of all each.
            self.reserve(take, self.held_size + self.left if self.final else self.limit_bytes)
            to = <uint8_t*>PyBytes_AS_STRING(self.held) + self.held_size
            unmask(to, at, take, self.key)
            self.held_size += take
            self.left -= take
            self.consume(take)
            if self.message_opcode == TEXT and not continue_utf8(&self.utf8, to, take):
                self.fail(TEXT_NOT_UTF8)
        return True

    cdef tuple end_control(self):
        cdef bytes payload = self.control
        cdef const uint8_t* at = <const uint8_t*>PyBytes_AS_STRING(payload)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(payload)
        cdef Utf8 utf8
        self.control = None
        self.in_payload = False
        if self.opcode == CLOSE:
            if size == 1:
                self.fail(SHORT_CLOSE)
            if size >= 2:
                if not may_be_sent(<uint32_t>big_endian(at, 2)):
                    self.fail(CLOSE_CODE)
                memset(&utf8, 0, sizeof(Utf8))
                if not continue_utf8(&utf8, at + 2, size - 2) or utf8.owed:
                    self.fail(REASON_NOT_UTF8)
            self.drop()
        return (self.opcode, payload)

    cdef tuple end_data(self):
        cdef uint8_t opcode = self.message_opcode
        if self.utf8.owed:
            self.fail(TEXT_NOT_UTF8)
        payload = self.take_held()
        self.message_opcode = CONTINUATION
        self.in_payload = False
        return (opcode, payload)


def encode_tcp(bytes body not None):
    """Return ``body`` as a TCP frame: its length in four bytes, then itself.

    Raises:
        ValueError: The length does not fit into four bytes.
    """
    cdef Py_ssize_t size = PyBytes_GET_SIZE(body)
    if <uint64_t>size > 0xFFFFFFFF:
        raise ValueError("body of 4 GiB or more")
    cdef bytes frame = PyBytes_FromStringAndSize(NULL, TCP_HEADER_BYTES + size)
    cdef uint8_t* to = <uint8_t*>PyBytes_AS_STRING(frame)
    put_big_endian(to, <uint64_t>size, TCP_HEADER_BYTES)
    memcpy(to + TCP_HEADER_BYTES, PyBytes_AS_STRING(body), <size_t>size)
    return frame


def encode_websocket(int opcode, bytes payload not None):
    """Return ``payload`` as one WebSocket frame from the server: final, not masked, its length in the shortest form.

    Args:
        opcode: 1 text, 2 binary, 8 close, 9 ping or 10 pong.
        payload: What the frame carries; it is not looked into, so text and close payloads are as good as the caller's.

    Raises:
        ValueError: Another opcode, or a control frame of more than 125 bytes.
    """
    cdef Py_ssize_t size = PyBytes_GET_SIZE(payload)
    cdef Py_ssize_t header_size = 2 if size < 126 else 4 if size < 0x10000 else 10
    if not (TEXT <= opcode <= BINARY or CLOSE <= opcode <= PONG):
        raise ValueError(f"opcode {opcode} starts no frame")
    if opcode >= CLOSE and size > CONTROL_LIMIT_BYTES:
        raise ValueError(f"control frame of {size} bytes: at most 125 are allowed")
    cdef bytes frame = PyBytes_FromStringAndSize(NULL, header_size + size)
    cdef uint8_t* to = <uint8_t*>PyBytes_AS_STRING(frame)
    to[0] = <uint8_t>(0x80 | opcode)
    if header_size == 2:
        to[1] = <uint8_t>size
    elif header_size == 4:
        to[1] = 126
        put_big_endian(to + 2, <uint64_t>size, 2)
    else:
        to[1] = 127
        put_big_endian(to + 2, <uint64_t>size, 8)
    memcpy(to + header_size, PyBytes_AS_STRING(payload), <size_t>size)
    return frame


cdef bytes copy_buffer(object data):
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return PyBytes_FromStringAndSize(<const char*>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


cdef Py_ssize_t pushed_bytes(Inbound inbound) except -1:
    """Bytes pushed and not yet looked at."""
    cdef Py_ssize_t size = 0
    if inbound.chunk is not None:
        size = PyBytes_GET_SIZE(inbound.chunk) - inbound.offset
    if inbound.backlog is not None:
        size += len(inbound.backlog)
    return size


cdef inline uint64_t big_endian(const uint8_t* at, Py_ssize_t size) noexcept:
    cdef uint64_t value = 0
    cdef Py_ssize_t i
    for i in range(size):
        value = value << 8 | at[i]
    return value


cdef inline void put_big_endian(uint8_t* to, uint64_t value, Py_ssize_t size) noexcept:
    cdef Py_ssize_t i
    for i in range(size - 1, -1, -1):
        to[i] = <uint8_t>(value & 0xFF)
        value >>= 8


cdef void unmask(uint8_t* to, const uint8_t* at, Py_ssize_t size, uint8_t* key) noexcept:
    """Write ``size`` masked bytes unmasked, and turn ``key`` to where the next byte needs it."""
    cdef uint64_t wide_key, word
    cdef uint8_t turned[4]
    cdef Py_ssize_t i = 0
    memcpy(&wide_key, key, 4)
    memcpy(<uint8_t*>&wide_key + 4, key, 4)
    while size - i >= 8:
        # memcpy: neither side is aligned, and compilers make plain loads and stores of it.
        memcpy(&word, at + i, 8)
        word ^= wide_key
        memcpy(to + i, &word, 8)
        i += 8
    while i < size:
        to[i] = at[i] ^ key[i & 3]
        i += 1
    for i in range(4):
        turned[i] = key[(size + i) & 3]
    memcpy(key, turned, 4)


cdef bint continue_utf8(Utf8* state, const uint8_t* at, Py_ssize_t size) noexcept:
    """Whether ``size`` further bytes can go on from ``state``, which moves past them (RFC 3629, section 4)."""
    cdef Py_ssize_t i = 0
    cdef uint64_t word
    cdef uint8_t byte
    while i < size:
        if state.owed == 0 and size - i >= 8:
            memcpy(&word, at + i, 8)
            if word & <uint64_t>0x8080808080808080 == 0:
                i += 8
                continue
        byte = at[i]
        i += 1
        if state.owed:
            if byte < state.low or byte > state.high:
                return False
            state.owed -= 1
            state.low, state.high = 0x80, 0xBF
        elif byte >= 0x80:
            # Narrower bounds on the second byte keep out overlong forms, surrogates and what lies past U+10FFFF.
            state.low = 0xA0 if byte == 0xE0 else 0x90 if byte == 0xF0 else 0x80
            state.high = 0x9F if byte == 0xED else 0x8F if byte == 0xF4 else 0xBF
            if byte < 0xC2 or byte > 0xF4:
                return False
            state.owed = 1 if byte < 0xE0 else 2 if byte < 0xF0 else 3
    return True


cdef inline bint may_be_sent(uint32_t close_code) noexcept:
    """Whether a peer may put this code into a close frame (RFC 6455, section 7.4, and the IANA registry)."""
    if close_code < 1004 or 1007 <= close_code <= 1014:
        return close_code >= 1000
    return 3000 <= close_code <= 4999
