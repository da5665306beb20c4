# cython: language_level=3
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "<sys/uio.h>" nogil:
    cdef struct iovec:
        void* iov_base
        size_t iov_len


cdef struct Ring:
    # Bytes that belong to the log, found by their offset since the ring was made; `size` is a power of two, 0 for none.
    uint8_t* bytes
    uint64_t size
    uint64_t start  # nothing before this offset was ever written


cdef struct Record:
    # One message of the log. What lies after the newest one is described by the log's `end`.
    uint64_t at  # offset of the body; the TCP frame is four more for each message before it
    uint64_t websocket_at
    uint32_t before[3]  # how many messages of each tier came before it
    uint32_t size  # of the body
    uint32_t time  # when it was admitted, in milliseconds
    uint8_t grade


cdef struct HighRecord:
    # One high-priority message, found by how many came before it.
    uint64_t seq
    uint64_t at  # offset of the body in the ring of such messages
    int64_t timestamp  # -1: nobody comes back for it
    uint64_t sender
    uint32_t size
    uint32_t before[3]  # as in its Record


cdef struct Spared:
    # A message that one reader is not owed.
    uint64_t seq
    uint32_t ordinal  # of one of high priority
    uint8_t tier


cdef struct Socket:
    # What the native loops need of a Wire, within which it lies.
    void* wire
    uint8_t* outbox  # owned; NULL when nothing waits
    uint64_t outbox_size
    uint64_t outbox_room
    uint64_t given  # bytes that the kernel or the transport was given
    void* torn_place  # the Place whose frame the transport has a part of; NULL once it has been left
    int64_t torn_timestamp
    int fd
    uint8_t state  # 0: free to send
    uint8_t listed  # in which of the fan-out's lines the wire stands
    uint8_t framing
    uint8_t torn_tier


cdef struct Reader:
    # One place's entry in its log's packed array. Nothing in it is owned: a Place holds what it points to.
    uint64_t seq  # of the next message
    uint32_t seen[3]  # messages before that, by tier; of high ones, those before the next that is owed
    uint32_t suffix_size
    Socket* socket
    const uint8_t* suffix
    void* place
    uint8_t kind
    uint8_t flags  # 0: nothing but its cursor has to be looked at


cdef struct Frame:
    # One message of a plan.
    uint64_t seq  # for a pinned one its ordinal
    uint32_t end  # bytes of the plan up to its end
    uint32_t aged[3]  # how many before it the plan leaves out because of their age, by tier
    uint8_t tier


cdef struct Plan:
    # What a reader that lags is sent next.
    Frame* frames  # [MOST_FRAMES], owned by the fan-out
    uint32_t count
    uint32_t aged[3]
    uint64_t to  # the cursor once all of it has been taken
    uint64_t size
    iovec* parts  # [MOST_PARTS], owned by the fan-out
    int part_count
    bint composed  # `parts` is in the fan-out's scratch


cdef struct Template:
    # A stretch of a log, framed for readers whose suffixes have one size: only the suffix changes from one to the next.
    uint64_t log  # its serial number; 0 for none
    uint64_t since
    uint64_t to
    uint64_t head  # of the log when this was made
    uint8_t* bytes  # owned
    uint64_t room
    uint64_t size
    uint32_t* ends  # of each frame; owned
    uint32_t ends_room
    uint32_t count
    uint32_t suffix_size
    uint8_t kind


cdef struct Group:
    # Readers that stand at one cursor, and what takes them to the head.
    uint64_t seq
    uint32_t count  # how many have gone there and are not in the ledger yet
    uint8_t near[8]  # by kind: whether they are owed all of it
    uint8_t part_count[2]  # by framing, of those without a suffix
    iovec parts[2][2]
    uint64_t size[2]
    void* whole[2]  # the same as bytes, for transports; owned


cdef class Fanout:
    # Lines are lists whose first `_at` items are done with: they are dropped between the native loops, as whatever is
    # dropped may run code of its own.
    cdef list dirty  # Wires with commands
    cdef list ready  # Wires that were blocked, or whose place was released
    cdef list line  # RoomLogs with a pass to make
    cdef list waiting  # RoomLogs whose next pass may not begin yet
    cdef list regather  # RoomLogs that may have to join those
    cdef Py_ssize_t dirty_at
    cdef Py_ssize_t ready_at
    cdef Py_ssize_t line_at

    # Notes of the native loops, and how far they have been acted on.
    cdef list handover_wires
    cdef list handover_bytes
    cdef list dead
    cdef list overrun
    cdef list relieved
    cdef list told
    cdef list orphans  # Wires that were dropped during a call of `hook`

    cdef object call_soon
    cdef object call_later
    cdef object hook
    cdef object clock
    cdef bint scheduled
    cdef bint timed
    cdef bint turning
    cdef bint sending  # `hook` is being called

    # What was asked for.
    cdef uint64_t window_bytes
    cdef uint64_t window_messages
    cdef int64_t low_milliseconds
    cdef int64_t normal_milliseconds
    cdef uint64_t sampled_senders
    cdef uint64_t high_bytes
    cdef uint32_t high_messages
    cdef int64_t gather_milliseconds
    cdef int64_t turn_nanoseconds
    cdef int64_t most_handovers
    cdef int64_t turn_sends
    cdef uint64_t secret[2]

    # This turn.
    cdef int64_t now
    cdef int64_t turn_end
    cdef uint64_t turn_began_sends
    cdef int64_t handovers_left
    cdef int noted
    # This stretch of it.
    cdef bint stop
    cdef int64_t deadline
    cdef int64_t quota
    cdef int64_t step
    cdef int64_t countdown  # sends until the clock is looked at
    cdef int64_t handovers_end  # `handovers_left` at its end
    cdef int notes_end

    cdef uint64_t send_count
    cdef uint64_t handover_count
    cdef uint64_t serials
    cdef uint64_t gone[11][3]  # ledgers of logs that are no more
    cdef void* first_log  # of all that there are, which know their neighbours; none is owned

    cdef Plan plan
    cdef Template* templates  # [TEMPLATES]
    cdef uint8_t* scratch
    cdef uint64_t scratch_room
    cdef uint8_t* straight[2]  # by framing: a group's slice in one piece, where the ring has it in two
    cdef uint64_t straight_room[2]

    cdef int64_t milliseconds(self) except? -1
    cdef int refuse_while_sending(self) except -1
    cdef int schedule(self) except -1
    cdef int enlist(self, RoomLog log) except -1
    cdef int hurry(self, RoomLog log) except -1
    cdef bint is_idle(self) noexcept
    cdef bint is_spent(self) noexcept

    # Native: these run no code of Python's but `hook`, and create nothing that the collector tracks.
    cdef void begin(self, int64_t deadline, int64_t quota, bint shared) noexcept
    cdef void look_at_clock(self) noexcept
    cdef int64_t sends_left(self) noexcept
    cdef void serve_all(self) noexcept
    cdef void serve_dirty(self) noexcept
    cdef void serve_ready(self) noexcept
    cdef void serve_line(self) noexcept
    cdef bint serve_places(self, Wire wire) noexcept
    cdef bint run_pass(self, RoomLog log) noexcept
    cdef bint serve(self, RoomLog log, Reader* reader) noexcept
    cdef void tell(self, RoomLog log, Reader* reader) noexcept
    cdef void judge(self, RoomLog log, Reader* reader) noexcept
    cdef void flush_outbox(self, Socket* socket) noexcept
    cdef void send_fast(self, RoomLog log, Reader* reader, Group* group) noexcept
    cdef void send_near(self, RoomLog log, Reader* reader) noexcept
    cdef void send_planned(self, RoomLog log, Reader* reader, bint pinned) noexcept
    cdef bint plan_main(self, RoomLog log, Reader* reader) noexcept
    cdef bint plan_pinned(self, RoomLog log, Reader* reader) noexcept
    cdef void refresh_limits(self, RoomLog log) noexcept
    cdef int64_t age_of(self, RoomLog log, uint64_t seq) noexcept
    cdef void commit_main(self, RoomLog log, Reader* reader, uint64_t taken) noexcept
    cdef void commit_pinned(self, RoomLog log, Reader* reader, uint64_t taken) noexcept
    cdef bytes rest_of_frame(self, RoomLog log, Reader* reader, uint32_t index, uint64_t taken)
    cdef void straighten(self, Group* group, int framing) noexcept
    cdef void cut(self, RoomLog log, Reader* reader, uint64_t taken, Template* template) noexcept
    cdef void tear(self, RoomLog log, Reader* reader, int tier, int64_t timestamp, bytes rest) noexcept
    cdef void hand_over(self, Socket* socket, bytes data) noexcept
    cdef void give_up(self, Socket* socket) noexcept
    cdef Template* template_for(self, RoomLog log, Reader* reader) noexcept
    cdef bint build_template(self, RoomLog log, Template* template, Reader* reader) noexcept
    cdef bint reserve_scratch(self, uint64_t size) noexcept
    cdef Py_ssize_t take(self, int fd, iovec* parts, int count, uint64_t size) noexcept
    cdef Py_ssize_t take_by_hook(self, int fd, iovec* parts, int count, uint64_t size) noexcept

    # Between native loops.
    cdef int act(self) except -1
    cdef void write_out(self, Wire wire, bytes data) noexcept
    cdef void settle_wire(self, Wire wire) noexcept
    cdef int attend(self, Wire wire) except -1
    cdef bytes take_note(self, Wire wire)


cdef class Wire:
    cdef Fanout fanout
    cdef object owner
    cdef object transport
    cdef Place first  # of its places, which go on at `next`
    cdef RoomLog torn_log  # whose frame the transport has a part of
    cdef Socket socket
    cdef public bint watched


cdef class RoomLog:
    cdef Fanout fanout
    cdef uint64_t serial
    cdef void* previous_log
    cdef void* next_log

    cdef uint64_t tail  # the oldest message kept
    cdef uint64_t head  # the next one admitted
    cdef Record end  # what a record of the next message would say, but for its own part
    cdef Record* records  # owned; a ring, found by seq
    cdef uint64_t record_room
    cdef Ring rings[3]  # TCP, WEBSOCKET, BODIES; the bytes are owned
    cdef uint64_t oldest  # no reader is behind this, or the tail
    cdef uint64_t peak_bytes  # most that readers needed since `peak_window`
    cdef uint64_t peak_messages
    cdef uint32_t peak_window

    cdef Reader* entries  # owned; of those who have a place
    cdef Py_ssize_t count
    cdef Py_ssize_t room

    # The pass under way: readers before `at` have been visited.
    cdef bint listed
    cdef bint passing
    cdef bint gathering  # the next one has to wait
    cdef uint64_t passed_at  # offset of the head in the ring of bodies when the last one began
    cdef Py_ssize_t at  # 0 without one
    cdef uint64_t pass_head  # the head when it began
    cdef uint64_t pass_oldest
    cdef int64_t pass_began  # milliseconds; no pass so far: far in the past

    # Messages older than this when a reader lags are too old; they only grow.
    cdef uint64_t low_limit
    cdef uint64_t normal_limit

    # High-priority messages: metadata from `high_first`, bodies from `high_kept`, both ordinals.
    cdef HighRecord* high_records  # owned; a ring, found by ordinal
    cdef uint32_t high_record_room
    cdef uint32_t high_first
    cdef uint32_t high_kept
    cdef Ring high_ring
    cdef uint64_t high_at  # offset of the next body
    cdef int64_t newest_high  # timestamps
    cdef int64_t newest_lost  # of those whose bodies are not kept

    # The fair sample.
    cdef uint64_t* senders  # owned; an open-addressed table of who has sent in which window
    cdef uint32_t sender_room
    cdef uint32_t window
    cdef uint32_t window_senders
    cdef uint32_t last_window_senders
    cdef uint32_t window_chosen

    cdef uint64_t counts[11][3]

    cdef int reserve_reader(self) except -1
    cdef int owe_again(self, Place place, int64_t since, bint has_own, uint64_t own) except -1
    cdef int make_room(self, uint64_t size, int64_t now) except -1
    cdef void forget_messages(self, uint64_t most) noexcept
    cdef void forget_bytes(self, int ring, uint64_t most) noexcept
    cdef int shrink(self, int64_t now) except -1
    cdef void write(self, bytes body, int tier, uint64_t sender, int64_t timestamp, int64_t now) noexcept
    cdef bint in_sample(self, uint64_t sender, int64_t now) noexcept
    cdef bint is_first(self, uint64_t hashed) noexcept
    cdef bint grow_senders(self) noexcept
    cdef int reserve_high(self, uint64_t size) except -1
    cdef void lose_high(self) noexcept
    cdef void keep_high(self, const uint8_t* body, uint32_t size, uint64_t sender, int64_t timestamp) noexcept


cdef class Place:
    cdef RoomLog log  # None once it has been left
    cdef Wire wire
    cdef Place next  # of the wire's
    cdef void* previous
    cdef object told
    cdef bytes suffix
    cdef Spared* spared  # owned
    cdef uint32_t spared_count
    cdef uint32_t spared_room
    cdef Py_ssize_t index  # in the log's readers; -1 once it has been left
    cdef uint32_t shed[3]  # not told yet
    cdef int64_t told_at  # milliseconds
    cdef int64_t missed  # once it has been left or cut off; before that, nothing older can be missing
