# cython: language_level=3
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t


cdef enum:
    BUCKETS = 3776  # 59 steps of 64, from below 64 ns to 2**64 ns


cdef struct Connection:
    int fd  # ours to close; -1 without one
    uint8_t state
    uint8_t framing
    bint slow
    char* held  # of a frame that has not come whole; owned, NULL for none
    Py_ssize_t held_size
    char* waiting  # what the socket has not taken; owned, NULL for none
    Py_ssize_t waiting_size
    char* ack  # the start of its acks: cid, as a field; owned, NULL: it acks nothing
    Py_ssize_t ack_size
    int64_t ack_from  # of the messages that came with this read
    int64_t ack_to  # 0: none came


cdef struct Request:
    uint64_t due_ns
    int32_t connection
    int32_t tag
    int32_t meter  # -1: it was answered
    int64_t message  # that it sends; -1: none


cdef struct Message:
    uint64_t due_ns
    uint32_t expected
    uint32_t arrived
    int32_t each
    int32_t last  # -1: nobody asks when the last one came


cdef struct Parsed:
    # What is looked at in a command; pointers are into the frame, NULL for what is missing.
    int64_t cmd
    int64_t op
    int64_t serial
    bint has_serial
    const uint8_t* direct
    const uint8_t* direct_end
    const uint8_t* ack
    const uint8_t* ack_end


cdef class Histogram:
    cdef uint64_t counts[BUCKETS]
    cdef readonly uint64_t count
    cdef readonly uint64_t max_ns
    cdef double sum_ns

    cdef void add_one(self, uint64_t ns) noexcept


cdef class Meter:
    cdef readonly Histogram histogram
    cdef readonly Histogram late
    cdef readonly uint64_t due
    cdef readonly uint64_t came
    cdef readonly uint64_t refused
    cdef readonly uint64_t repeated


cdef class Template:
    cdef bytes frame
    cdef Py_ssize_t serial_at
    cdef Py_ssize_t ordinal_at
    cdef Py_ssize_t token_at


cdef class Fleet:
    cdef Connection* connections
    cdef Py_ssize_t size
    cdef int32_t* by_fd
    cdef Py_ssize_t by_fd_size
    cdef Request* requests
    cdef Py_ssize_t requests_size
    cdef Py_ssize_t requests_count
    cdef Message* messages
    cdef Py_ssize_t messages_size
    cdef Py_ssize_t messages_count
    cdef uint8_t* buffer  # what was read and is looked at; nothing lives in it between two reads
    cdef Py_ssize_t buffer_size
    cdef char* outgoing  # a frame that is being made
    cdef Py_ssize_t outgoing_size
    cdef list meters
    cdef readonly uint64_t frames
    cdef readonly uint64_t reads
    cdef readonly uint64_t bytes_read
    cdef readonly uint64_t slow_came
    cdef readonly uint64_t unmarked

    cdef Connection* at(self, Py_ssize_t number) except NULL
    cdef int send(self, Connection* connection, const char* frame, Py_ssize_t size) except -1
    cdef int flush(self, Connection* connection) except -1
    cdef int dialled(self, Py_ssize_t number, list told) except -1
    cdef int begin_shaking(self, Py_ssize_t number, list told) except -1
    cdef bint wants(self, Parsed* command) noexcept
    cdef int take(self, Py_ssize_t number, list told) except -1
    cdef Py_ssize_t shake(self, Py_ssize_t number, Py_ssize_t end, list told) except -2
    cdef int end(self, Py_ssize_t number, bytes why, list told) except -1
    cdef int hear(self, Py_ssize_t number, const uint8_t* body, Py_ssize_t size, uint64_t now, list told) except -1
    cdef int settle(self, Py_ssize_t number, Parsed* command, bytes body, uint64_t now, list told) except -1
    cdef int excuse(self, Message* message) except -1
    cdef int arrive(self, Connection* connection, const uint8_t* body, Py_ssize_t size, uint64_t now) except -1
    cdef int acknowledge(self, Connection* connection) except -1
