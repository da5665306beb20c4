# cython: language_level=3
from libc.stdint cimport uint8_t


cdef struct Utf8:
    # Where a UTF-8 text stands between two bytes: zeroed is between characters.
    uint8_t owed  # continuation bytes the character begun still needs
    uint8_t low  # smallest and largest value of the next one
    uint8_t high


cdef class Inbound:
    # Bytes come in as `chunk`, which belongs to whoever pushed it and is only read. They leave it exactly once: into a
    # header, or into a payload. What is pushed while there is a chunk goes to `backlog`, which becomes the next chunk.
    cdef bytes chunk
    cdef Py_ssize_t offset  # of the first byte of `chunk` not yet used; 0 without a chunk
    cdef bytearray backlog
    cdef Py_ssize_t limit_bytes

    # The frame or message being put together. Ours alone until it is handed out whole, hence written in place:
    # `held_size` bytes have come, len(held) is the room there is.
    cdef bytes held
    cdef Py_ssize_t held_size

    cdef uint8_t fault  # what is wrong with the stream, an index into FAULTS; NO_FAULT while it is sound
    cdef bint ended  # nothing further is read

    cdef Py_ssize_t ready(self, const uint8_t** at) except -1
    cdef void consume(self, Py_ssize_t size) noexcept
    cdef int reserve(self, Py_ssize_t size, Py_ssize_t most) except -1
    cdef bytes take_held(self)
    cdef void drop(self) noexcept
    cdef int fail(self, uint8_t fault) except -1


cdef class TcpFrames(Inbound):
    cdef uint8_t header[4]
    cdef uint8_t header_size  # bytes of it that have come
    cdef Py_ssize_t body_size  # what a whole header claims

    cdef int judge_header(self) except -1


cdef class WebSocketFrames(Inbound):
    # `held` is the data message, all its fragments so far; a control frame between them has its own payload.
    cdef bytes control  # of exactly the size its header claims
    cdef Py_ssize_t left  # payload bytes of the frame being read that have not come
    cdef uint8_t header[14]
    cdef uint8_t header_size  # bytes of it that have come
    cdef uint8_t header_goal  # bytes needed before the next decision: 2, then with the length, then with the key
    cdef uint8_t key[4]  # masking key, turned so that key[0] is for the next payload byte
    cdef bint in_payload
    cdef bint final
    cdef uint8_t opcode  # of the frame being read
    cdef uint8_t message_opcode  # of the message being put together, CONTINUATION for none
    cdef Utf8 utf8  # of a text message

    cdef bint gather_header(self) except -1
    cdef int judge_start(self) except -1
    cdef int judge_length(self) except -1
    cdef int begin_payload(self) except -1
    cdef bint gather_control(self) except -1
    cdef bint gather_data(self) except -1
    cdef tuple end_control(self)
    cdef tuple end_data(self)
