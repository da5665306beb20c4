# cython: language_level=3
from libc.stdint cimport int32_t, uint8_t, uint64_t


cdef struct Piece:
    # Bytes that belong to somebody else, who outlives it; `at` is NULL where a field is absent.
    const uint8_t* at
    Py_ssize_t size


cdef struct Input:
    # What is left of the bytes being read; they belong to the body given to `decode`.
    const uint8_t* at
    const uint8_t* end


cdef struct Field:
    # One field as it was read: `number` or `piece`, as the wire type in the lowest three bits of `tag` says.
    uint64_t tag
    uint64_t number
    Piece piece


cdef class Decoder:
    cdef object request
    cdef object send
    cdef object acknowledge
    cdef object echo

    cdef object read_envelope(self, const uint8_t* at, Py_ssize_t size)
    cdef object read_send(self, Piece part, int32_t priority)
    cdef object read_acknowledgement(self, Piece part)
