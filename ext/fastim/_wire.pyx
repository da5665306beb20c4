# cython: language_level=3
"""Protobuf of the commands that most traffic consists of; ``messages2.proto`` has the fields.

``Decoder`` reads sends, clients' acknowledgements and heartbeats, the ``encode_`` functions write acks, heartbeats'
answers, deliveries and receipts. It reads what is in the one form that protobuf itself would write, whatever the order
of the fields, and leaves everything else to protobuf's own reader: nothing here knows how a fault is reported. What it
writes is what protobuf would write, byte for byte: fields in the order of their numbers, numbers as short as they go.
Oracle: ``tests/native/oracle_wire.py``.
"""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.long cimport PyLong_Check
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport INT32_MAX, INT32_MIN, int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL


cdef enum:
    # Wire types.
    NUMBER = 0
    PIECE = 2

cdef enum:
    # Values of CommandType, and of what every push and reply has in common.
    DIRECT = 2
    ACK = 3
    RCP = 4
    ECHO = 14
    INSTANT_MESSAGING = 2
    RELIABLE = 1
    NORMAL_PRIORITY = 2

cdef enum:
    # Tags: a field's number, shifted by three bits, and its wire type. Cython's overflowcheck cannot do sums here.
    CMD = 0x08
    OP = 0x10
    APP_ID = 0x1A
    PEER_ID = 0x22
    SERIAL = 0x28
    INSTALLATION_ID = 0x32
    PRIORITY = 0x38
    SERVICE = 0x40
    SERVER_TS = 0x48
    CLIENT_TS = 0x50
    NOTIFICATION_TYPE = 0x58
    DIRECT_MESSAGE = 0x342
    ACK_MESSAGE = 0x34A
    RCP_MESSAGE = 0x362

    DIRECT_MSG = 0x0A
    DIRECT_UID = 0x12
    DIRECT_FROM_PEER_ID = 0x1A
    DIRECT_TIMESTAMP = 0x20
    DIRECT_OFFLINE = 0x28
    DIRECT_HAS_MORE = 0x30
    DIRECT_TO_PEER_IDS = 0x3A
    DIRECT_R = 0x50
    DIRECT_CID = 0x5A
    DIRECT_ID = 0x62
    DIRECT_TRANSIENT = 0x68
    DIRECT_DT = 0x72
    DIRECT_ROOM_ID = 0x7A
    DIRECT_PUSH_DATA = 0x82
    DIRECT_WILL = 0x88
    DIRECT_PATCH_TIMESTAMP = 0x90
    DIRECT_BINARY_MSG = 0x9A
    DIRECT_MENTION_PIDS = 0xA2
    DIRECT_MENTION_ALL = 0xA8
    DIRECT_CONV_TYPE = 0xB0

    ACK_MID = 0x1A
    ACK_CID = 0x22
    ACK_T = 0x28
    ACK_UID = 0x32
    ACK_FROMTS = 0x38
    ACK_TOTS = 0x40

    RCP_ID = 0x0A
    RCP_CID = 0x12
    RCP_T = 0x18
    RCP_READ = 0x20
    RCP_SENDER = 0x2A


@cython.final
cdef class Decoder:
    """Reads the commands that come most often, and leaves all others.

    Args:
        request: Called with a command, ``i``, ``peerId`` and ``appId``, each of these ``None`` when absent.
        send: Called with ``cid``, the body, the size of the ``DirectCommand`` in bytes, whether the body is binary,
            ``dt``, ``r``, ``transient``, ``will``, ``pushData``, ``mentionPids``, ``mentionAll`` and the priority.
        acknowledge: Called with ``cid``, ``mid``, and ``fromts`` and ``tots``, which are ``None`` when absent.
        echo: The command that a heartbeat is.

    Raises:
        TypeError: What is to be called cannot be.
    """

    def __cinit__(self, request, send, acknowledge, echo):
        for made in (request, send, acknowledge):
            if not callable(made):
                raise TypeError(f"{made!r} cannot be called")
        self.request = request
        self.send = send
        self.acknowledge = acknowledge
        self.echo = echo

    def decode(self, bytes body not None):
        """Return the request in ``body``; None when it is another command, or not in protobuf's own form.

        None is no verdict: such a body may be sound, and protobuf's own reader is to be asked.
        """
        try:
            return self.read_envelope(<const uint8_t*>PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body))
        except UnicodeDecodeError:
            return None

    cdef object read_envelope(self, const uint8_t* at, Py_ssize_t size):
        cdef Input rest = Input(at, at + size)
        cdef Field field
        cdef Piece part = Piece(NULL, 0)
        cdef uint64_t part_tag = 0
        cdef uint64_t seen = 0
        cdef uint64_t cmd = 0
        cdef int32_t priority = NORMAL_PRIORITY
        cdef object serial = None
        cdef object client_id = None
        cdef object application_id = None
        cdef object command
        while rest.at < rest.end:
            if not take_field(&rest, &field):
                return None
            if field.tag == DIRECT_MESSAGE or field.tag == ACK_MESSAGE:
                if part_tag:
                    return None
                part_tag, part = field.tag, field.piece
                continue
            if not first_time(&seen, field.tag):
                return None
            if field.tag == CMD:
                cmd = field.number
                if cmd != DIRECT and cmd != ACK and cmd != ECHO:
                    return None
            elif field.tag == SERIAL:
                if not is_int32(field.number):
                    return None
                serial = <int32_t>field.number
            elif field.tag == PEER_ID:
                client_id = decoded(field.piece)
            elif field.tag == APP_ID:
                application_id = decoded(field.piece)
            elif field.tag == PRIORITY:
                if not is_int32(field.number):
                    return None
                priority = <int32_t>field.number
            elif field.tag == INSTALLATION_ID:
                decoded(field.piece)
            elif not is_unread(field.tag):
                return None
        if cmd == DIRECT and part_tag == DIRECT_MESSAGE:
            command = self.read_send(part, priority)
        elif cmd == ACK and part_tag == ACK_MESSAGE:
            command = self.read_acknowledgement(part)
        elif cmd == ECHO and part_tag == 0:
            command = self.echo
        else:
            return None
        return None if command is None else self.request(command, serial, client_id, application_id)

    cdef object read_send(self, Piece part, int32_t priority):
        cdef Input rest = Input(part.at, part.at + part.size)
        cdef Field field
        cdef Piece text = Piece(NULL, 0)
        cdef Piece data = Piece(NULL, 0)
        cdef uint64_t seen = 0
        cdef bint receipt = False
        cdef bint transient = False
        cdef bint will = False
        cdef bint mention_all = False
        cdef bint binary
        cdef str conversation_id = ""
        cdef str token = ""
        cdef str push_data = ""
        cdef list mentions = None
        while rest.at < rest.end:
            if not take_field(&rest, &field):
                return None
            if field.tag == DIRECT_MENTION_PIDS:
                if mentions is None:
                    mentions = []
                mentions.append(decoded(field.piece))
                continue
            if field.tag == DIRECT_TO_PEER_IDS:
                decoded(field.piece)
                continue
            if not first_time(&seen, field.tag):
                return None
            if field.tag == DIRECT_MSG:
                text = field.piece
            elif field.tag == DIRECT_CID:
                conversation_id = decoded(field.piece)
            elif field.tag == DIRECT_DT:
                token = decoded(field.piece)
            elif field.tag == DIRECT_PUSH_DATA:
                push_data = decoded(field.piece)
            elif field.tag == DIRECT_BINARY_MSG:
                data = field.piece
            elif is_text_of_direct(field.tag):
                decoded(field.piece)
            elif is_moment_of_direct(field.tag):
                pass
            elif field.tag == DIRECT_CONV_TYPE:
                if not is_int32(field.number):
                    return None
            elif field.number > 1:
                return None
            elif field.tag == DIRECT_R:
                receipt = field.number != 0
            elif field.tag == DIRECT_TRANSIENT:
                transient = field.number != 0
            elif field.tag == DIRECT_WILL:
                will = field.number != 0
            elif field.tag == DIRECT_MENTION_ALL:
                mention_all = field.number != 0
            elif not is_flag_of_queue(field.tag):
                return None
        # Java sets an empty `msg` beside a binary body.
        binary = data.at != NULL and text.size == 0
        if binary:
            text = data
        # Every field is known, is there once and is in its shortest form: protobuf would count the same bytes.
        return self.send(
            conversation_id,
            PyBytes_FromStringAndSize(<const char*>text.at, text.size) if text.size else b"",
            part.size,
            binary,
            token,
            receipt,
            transient,
            will,
            push_data,
            () if mentions is None else tuple(mentions),
            mention_all,
            priority,
        )

    cdef object read_acknowledgement(self, Piece part):
        cdef Input rest = Input(part.at, part.at + part.size)
        cdef Field field
        cdef uint64_t seen = 0
        cdef str conversation_id = ""
        cdef str message_id = ""
        cdef object since = None
        cdef object until = None
        while rest.at < rest.end:
            if not take_field(&rest, &field) or not first_time(&seen, field.tag):
                return None
            if field.tag == ACK_CID:
                conversation_id = decoded(field.piece)
            elif field.tag == ACK_MID:
                message_id = decoded(field.piece)
            elif field.tag == ACK_FROMTS:
                since = <int64_t>field.number
            elif field.tag == ACK_TOTS:
                until = <int64_t>field.number
            else:
                return None
        return self.acknowledge(conversation_id, message_id, since, until)


def encode_ack(str message_id not None, timestamp, serial, str client_id):
    """Return the answer to a send that was done.

    Args:
        message_id: Its ``uid``.
        timestamp: Its ``t``, milliseconds since the epoch.
        serial: ``i``; ``None``: none.
        client_id: ``peerId``; ``None`` or empty: none.

    Raises:
        OverflowError: A number does not fit into its field.
        UnicodeEncodeError: A text has surrogates.
    """
    cdef Piece uid = encoded(message_id)
    cdef uint64_t t = int64(timestamp)
    cdef Py_ssize_t part = number_size(ACK_T, t) + piece_size(ACK_UID, uid.size)
    cdef uint8_t* to
    cdef bytes body = answer(ACK, serial, client_id, piece_size(ACK_MESSAGE, part), &to)
    to = put_head(to, ACK_MESSAGE, part)
    to = put_number(to, ACK_T, t)
    to = put_piece(to, ACK_UID, uid)
    assert to == end_of(body)
    return body


def encode_echo(serial, str client_id):
    """Return the answer to a heartbeat; see ``encode_ack``."""
    cdef uint8_t* to
    cdef bytes body = answer(ECHO, serial, client_id, 0, &to)
    assert to == end_of(body)
    return body


def encode_delivery(
    str conversation_id not None,
    kind,
    str message_id not None,
    str sender not None,
    timestamp,
    bytes body not None,
    bint binary,
    tuple mentions not None,
    bint mention_all,
    patched_at,
    bint transient=False,
    bint offline=False,
    bint more=False,
):
    """Return a message as recipients get it, but for the ``peerId`` of each.

    Flags that are off are left out.

    Args:
        kind: ``convType``.
        timestamp: Milliseconds since the epoch.
        binary: Whether ``body`` is ``binaryMsg`` rather than ``msg``.
        patched_at: ``patchTimestamp``, milliseconds since the epoch; 0: it was never patched, and there is none.
        offline: It waited for the recipient.
        more: More follow; ``hasMore``.

    Raises:
        OverflowError: A number does not fit into its field.
        TypeError: A mention is no text.
        UnicodeEncodeError: A text has surrogates.
    """
    cdef Piece cid = encoded(conversation_id)
    cdef Piece id = encoded(message_id)
    cdef Piece from_peer_id = encoded(sender)
    cdef uint64_t sent_at = int64(timestamp)
    cdef uint64_t changed_at = int64(patched_at)
    cdef uint64_t conv_type = int32(kind)
    cdef Piece content = Piece(<const uint8_t*>PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body))
    cdef Py_ssize_t part = (
        piece_size(DIRECT_BINARY_MSG if binary else DIRECT_MSG, content.size)
        + piece_size(DIRECT_FROM_PEER_ID, from_peer_id.size)
        + number_size(DIRECT_TIMESTAMP, sent_at)
        + flag_size(DIRECT_OFFLINE, offline)
        + flag_size(DIRECT_HAS_MORE, more)
        + piece_size(DIRECT_CID, cid.size)
        + piece_size(DIRECT_ID, id.size)
        + flag_size(DIRECT_TRANSIENT, transient)
        + (number_size(DIRECT_PATCH_TIMESTAMP, changed_at) if changed_at else 0)
        + flag_size(DIRECT_MENTION_ALL, mention_all)
        + number_size(DIRECT_CONV_TYPE, conv_type)
    )
    for mention in mentions:
        if not isinstance(mention, str):
            raise TypeError(f"a mention is {type(mention).__name__}, not str")
        part += piece_size(DIRECT_MENTION_PIDS, encoded(mention).size)
    cdef bytes push = PyBytes_FromStringAndSize(
        NULL, number_size(CMD, DIRECT) + number_size(SERVICE, INSTANT_MESSAGING) + piece_size(DIRECT_MESSAGE, part)
    )
    cdef uint8_t* to = <uint8_t*>PyBytes_AS_STRING(push)
    to = put_number(to, CMD, DIRECT)
    to = put_number(to, SERVICE, INSTANT_MESSAGING)
    to = put_head(to, DIRECT_MESSAGE, part)
    if not binary:
        to = put_piece(to, DIRECT_MSG, content)
    to = put_piece(to, DIRECT_FROM_PEER_ID, from_peer_id)
    to = put_number(to, DIRECT_TIMESTAMP, sent_at)
    to = put_flag(to, DIRECT_OFFLINE, offline)
    to = put_flag(to, DIRECT_HAS_MORE, more)
    to = put_piece(to, DIRECT_CID, cid)
    to = put_piece(to, DIRECT_ID, id)
    to = put_flag(to, DIRECT_TRANSIENT, transient)
    if changed_at:
        to = put_number(to, DIRECT_PATCH_TIMESTAMP, changed_at)
    if binary:
        to = put_piece(to, DIRECT_BINARY_MSG, content)
    for mention in mentions:
        to = put_piece(to, DIRECT_MENTION_PIDS, encoded(mention))
    to = put_flag(to, DIRECT_MENTION_ALL, mention_all)
    to = put_number(to, DIRECT_CONV_TYPE, conv_type)
    assert to == end_of(push)
    return push


def encode_receipt(str conversation_id not None, str message_id not None, str by not None, upto, bint read, at):
    """Return what the sender of a message is told when it was delivered to ``by``, or read, but for ``peerId``.

    Args:
        upto: ``t``, milliseconds since the epoch.
        read: Left out when it is false.
        at: ``serverTs``, milliseconds since the epoch.

    Raises:
        OverflowError: A number does not fit into its field.
        UnicodeEncodeError: A text has surrogates.
    """
    cdef Piece cid = encoded(conversation_id)
    cdef Piece id = encoded(message_id)
    cdef Piece sender = encoded(by)
    cdef uint64_t t = int64(upto)
    cdef uint64_t server_ts = int64(at)
    cdef Py_ssize_t part = (
        piece_size(RCP_ID, id.size)
        + piece_size(RCP_CID, cid.size)
        + number_size(RCP_T, t)
        + flag_size(RCP_READ, read)
        + piece_size(RCP_SENDER, sender.size)
    )
    cdef bytes push = PyBytes_FromStringAndSize(
        NULL,
        number_size(CMD, RCP)
        + number_size(SERVICE, INSTANT_MESSAGING)
        + number_size(SERVER_TS, server_ts)
        + number_size(NOTIFICATION_TYPE, RELIABLE)
        + piece_size(RCP_MESSAGE, part),
    )
    cdef uint8_t* to = <uint8_t*>PyBytes_AS_STRING(push)
    to = put_number(to, CMD, RCP)
    to = put_number(to, SERVICE, INSTANT_MESSAGING)
    to = put_number(to, SERVER_TS, server_ts)
    to = put_number(to, NOTIFICATION_TYPE, RELIABLE)
    to = put_head(to, RCP_MESSAGE, part)
    to = put_piece(to, RCP_ID, id)
    to = put_piece(to, RCP_CID, cid)
    to = put_number(to, RCP_T, t)
    to = put_flag(to, RCP_READ, read)
    to = put_piece(to, RCP_SENDER, sender)
    assert to == end_of(push)
    return push


cdef inline bint take_number(Input* rest, uint64_t* number) noexcept:
    """Read a number. False: it is cut off, does not fit into 64 bits, or could be shorter."""
    cdef uint64_t value = 0
    cdef uint8_t byte
    cdef int shift = 0
    while rest.at < rest.end and shift < 64:
        byte = rest.at[0]
        rest.at += 1
        if shift == 63 and byte > 1:
            return False
        value |= <uint64_t>(byte & 0x7F) << shift
        if byte < 0x80:
            number[0] = value
            return byte != 0 or shift == 0
        shift += 7
    return False


@cython.overflowcheck(False)  # which takes the distance of two pointers for one of two numbers
cdef inline bint take_field(Input* rest, Field* field) noexcept:
    """Read one field, a number or a piece. False: it is another wire type, cut off, or not in its shortest form."""
    cdef uint64_t size
    if not take_number(rest, &field.tag):
        return False
    if field.tag & 7 == NUMBER:
        field.piece = Piece(NULL, 0)
        return take_number(rest, &field.number)
    if field.tag & 7 != PIECE or not take_number(rest, &size) or size > <uint64_t>(rest.end - rest.at):
        return False
    field.number = 0
    field.piece = Piece(rest.at, <Py_ssize_t>size)
    rest.at += size
    return True


cdef inline bint first_time(uint64_t* seen, uint64_t tag) noexcept:
    """Note a field that is there once at most. False: it was there before, or its number is none that is read here."""
    cdef uint64_t bit
    if tag >> 3 >= 64:
        return False
    bit = <uint64_t>1 << (tag >> 3)
    if seen[0] & bit:
        return False
    seen[0] |= bit
    return True


cdef inline bint is_int32(uint64_t number) noexcept:
    """Whether protobuf would write an int32 like this."""
    return INT32_MIN <= <int64_t>number <= INT32_MAX


cdef inline bint is_unread(uint64_t tag) noexcept:
    """Whether it is a number of the envelope that says nothing about the commands read here."""
    return tag == OP or tag == SERVICE or tag == SERVER_TS or tag == CLIENT_TS or tag == NOTIFICATION_TYPE


cdef inline bint is_text_of_direct(uint64_t tag) noexcept:
    """Whether it is a text that the server knows better, or that is of no use to it."""
    return tag == DIRECT_FROM_PEER_ID or tag == DIRECT_ID or tag == DIRECT_UID or tag == DIRECT_ROOM_ID


cdef inline bint is_moment_of_direct(uint64_t tag) noexcept:
    return tag == DIRECT_TIMESTAMP or tag == DIRECT_PATCH_TIMESTAMP


cdef inline bint is_flag_of_queue(uint64_t tag) noexcept:
    return tag == DIRECT_OFFLINE or tag == DIRECT_HAS_MORE


cdef inline str decoded(Piece piece):
    """The text in ``piece``; UnicodeDecodeError when it is none."""
    return PyUnicode_DecodeUTF8(<const char*>piece.at, piece.size, NULL)


cdef inline Piece encoded(str text) except *:
    """``text`` as UTF-8, which lives as long as ``text`` does."""
    cdef Piece piece
    piece.at = <const uint8_t*>PyUnicode_AsUTF8AndSize(text, &piece.size)
    return piece


cdef inline uint64_t int64(object number) except? 0xFFFFFFFFFFFFFFFF:
    """``number`` as an int64 is written."""
    cdef int64_t fitting
    if not PyLong_Check(number):
        raise TypeError(f"an int is needed, not {type(number).__name__}")
    fitting = number
    return <uint64_t>fitting


cdef inline uint64_t int32(object number) except? 0xFFFFFFFFFFFFFFFF:
    """``number`` as an int32 is written: if negative, as long as an int64."""
    cdef uint64_t wide = int64(number)
    if not is_int32(wide):
        raise OverflowError(f"{number} does not fit into 32 bits")
    return wide


cdef bytes answer(uint64_t cmd, object serial, str client_id, Py_ssize_t part, uint8_t** to):
    """A reply with its envelope, and room for ``part`` further bytes where ``to`` then points."""
    cdef Piece peer_id = Piece(NULL, 0)
    cdef uint64_t i = 0
    cdef Py_ssize_t size = number_size(CMD, cmd) + number_size(SERVICE, INSTANT_MESSAGING) + part
    if client_id:
        peer_id = encoded(client_id)
        size += piece_size(PEER_ID, peer_id.size)
    if serial is not None:
        i = int32(serial)
        size += number_size(SERIAL, i)
    cdef bytes body = PyBytes_FromStringAndSize(NULL, size)
    to[0] = put_number(<uint8_t*>PyBytes_AS_STRING(body), CMD, cmd)
    if peer_id.size:
        to[0] = put_piece(to[0], PEER_ID, peer_id)
    if serial is not None:
        to[0] = put_number(to[0], SERIAL, i)
    to[0] = put_number(to[0], SERVICE, INSTANT_MESSAGING)
    return body


cdef inline Py_ssize_t plain_size(uint64_t number) noexcept:
    cdef Py_ssize_t size = 1
    while number >= 0x80:
        number >>= 7
        size += 1
    return size


cdef inline Py_ssize_t number_size(uint64_t tag, uint64_t number) noexcept:
    return plain_size(tag) + plain_size(number)


cdef inline Py_ssize_t flag_size(uint64_t tag, bint flag) noexcept:
    return plain_size(tag) + 1 if flag else 0


cdef inline Py_ssize_t piece_size(uint64_t tag, Py_ssize_t size) noexcept:
    return plain_size(tag) + plain_size(<uint64_t>size) + size


cdef inline uint8_t* put_plain(uint8_t* to, uint64_t number) noexcept:
    while number >= 0x80:
        to[0] = <uint8_t>(number & 0x7F | 0x80)
        to += 1
        number >>= 7
    to[0] = <uint8_t>number
    return to + 1


cdef inline uint8_t* put_number(uint8_t* to, uint64_t tag, uint64_t number) noexcept:
    return put_plain(put_plain(to, tag), number)


cdef inline uint8_t* put_flag(uint8_t* to, uint64_t tag, bint flag) noexcept:
    return put_number(to, tag, 1) if flag else to


cdef inline uint8_t* put_head(uint8_t* to, uint64_t tag, Py_ssize_t size) noexcept:
    """Write how a piece begins."""
    return put_plain(put_plain(to, tag), <uint64_t>size)


cdef inline uint8_t* put_piece(uint8_t* to, uint64_t tag, Piece piece) noexcept:
    to = put_head(to, tag, piece.size)
    memcpy(to, piece.at, <size_t>piece.size)
    return to + piece.size


cdef inline const uint8_t* end_of(bytes whole) noexcept:
    return <const uint8_t*>PyBytes_AS_STRING(whole) + PyBytes_GET_SIZE(whole)
