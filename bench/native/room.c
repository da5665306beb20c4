/* A chat room's audience and its senders: the load of the benchmarks over sockets.
 *
 * One thread, one epoll. Readers are numbered; what they read is cut into frames of four bytes of length and a command.
 * A message that was sent here carries MARKER and its ordinal in ten digits, so that each frame is known again and the
 * time since it was due can be told. Every field that the caller sets or reads stands in struct room, which
 * bench/load/audience.py repeats. Times are nanoseconds of CLOCK_MONOTONIC.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MARKER '@'
#define DIGITS 10
#define BUCKETS 3840
#define GROUPS 2
#define BUFFER_BYTES (1 << 20)
#define AT_ONCE 64
#define IN_FLIGHT (1 << 16)
#define SERIAL_FIRST (1u << 21) /* from here to 1 << 28 a serial takes four bytes */

enum { SESSION = 0, DIRECT = 2, ACK = 3, FAILED = 7 };
enum { GOAL_TIME = 0, GOAL_ARRIVED = 1, GOAL_ANSWERED = 2, GOAL_QUIET = 3, GOAL_SETTLED = 4 };

/* A histogram of nanoseconds whose buckets are 1.6 % wide. */
typedef uint64_t histogram[BUCKETS];

struct room {
    /* Set by the caller. */
    uint64_t period_ns;   /* between bursts that are sent by the clock; 0: none are */
    uint64_t next_ns;     /* when the next of them is due */
    uint64_t quiet_ns;    /* of GOAL_QUIET and GOAL_SETTLED: nothing came for so long */
    uint32_t burst;       /* messages that are sent at once */
    uint32_t in_flight;   /* bursts that are kept on their way, one sent for each that has arrived; 0: none */
    uint32_t limit;       /* messages sent in all */
    uint32_t expected;    /* readers that a message is to arrive at: those of group 0 */
    /* Counted. */
    uint32_t sent, arrived; /* messages; arrived: at all readers of group 0 */
    uint32_t asked, answered;
    uint64_t frames, bytes, reads;
    uint64_t unmarked, errors, ended, acks;
    uint64_t repeated;        /* high-priority messages that a reader got a second time */
    uint64_t cpu_ns, wall_ns; /* of all runs */
    histogram each[GROUPS];   /* from when a message was due to when a reader had it */
    histogram last;           /* the same, to when all of group 0 had it */
    histogram ack;            /* to the ack */
    histogram late;           /* to when it was really sent: the load's own delay */
    histogram answer;         /* from when a request was due to its answer */
};

struct reader {
    int fd;
    uint8_t group, reading, dialling, ended;
    uint32_t held;   /* bytes of a frame that has not come whole */
    char *rest;
    uint64_t frames;
    uint64_t asked_ns; /* a request that is not answered yet was due then */
    char *request;
    uint32_t request_size;
    uint8_t *high; /* a bit for each high-priority message that came */
};

struct sender {
    int fd;
    uint32_t size, serial_at, token_at, marker_at, priority_at, serial;
    char *template;
    char *waiting; /* bytes that the socket would not take */
    uint64_t waiting_size;
    uint32_t *unacked; /* ordinals, a ring */
    uint32_t first, next;
    uint32_t held;
    char *rest;
};

struct message {
    uint64_t due_ns;
    uint32_t arrived;
    uint32_t high; /* which of the high-priority messages it is; UINT32_MAX: none */
};

struct request {
    uint64_t due_ns;
    uint32_t reader;
    uint8_t dial;
};

struct whole {
    struct room room; /* first: the caller knows this part */
    int poll;
    uint32_t readers_count, senders_count, messages_count, priorities_count, requests_count, requests_next, turn, highs, high_bytes;
    struct reader *readers;
    struct sender *senders;
    struct message *messages;
    struct request *requests;
    uint8_t *priorities;
    struct sockaddr_in server;
    uint64_t heard_ns;
    char *buffer;
};

static uint64_t clock_ns(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void note(histogram into, uint64_t ns)
{
    uint32_t power = ns < 64 ? 5 : 63 - (uint32_t)__builtin_clzll(ns);
    into[ns < 64 ? ns : (power - 5) * 64 + ((ns >> (power - 6)) & 63)]++;
}

static uint64_t since(uint64_t now, uint64_t then)
{
    return now > then ? now - then : 0;
}

/* --- Setting up ---------------------------------------------------------------------------------------------------*/

/* What the caller has to know as large. */
uint64_t room_size(void)
{
    return sizeof(struct room);
}

/* `priorities` is gone through again and again: 1 high, 2 normal, 3 low. NULL when there is no memory. */
struct whole *room_new(uint32_t readers, uint32_t senders, uint32_t messages, const uint8_t *priorities, uint32_t count,
                       uint16_t port)
{
    struct whole *whole = calloc(1, sizeof *whole);
    if (whole == NULL)
        return NULL;
    whole->readers_count = readers;
    whole->senders_count = senders;
    whole->messages_count = messages;
    whole->priorities_count = count;
    whole->poll = epoll_create1(EPOLL_CLOEXEC);
    whole->readers = calloc(readers, sizeof *whole->readers);
    whole->senders = calloc(senders ? senders : 1, sizeof *whole->senders);
    whole->messages = calloc(messages ? messages : 1, sizeof *whole->messages);
    whole->requests = calloc(readers, sizeof *whole->requests);
    whole->priorities = malloc(count);
    whole->buffer = malloc(BUFFER_BYTES);
    if (whole->poll < 0 || !whole->readers || !whole->senders || !whole->messages || !whole->requests ||
        !whole->priorities || !whole->buffer)
        return NULL; /* the process ends with it */
    memcpy(whole->priorities, priorities, count);
    for (uint32_t n = 0; n < count; n++)
        whole->high_bytes += priorities[n] == 1;
    whole->high_bytes = (uint32_t)(((uint64_t)messages / count + 1) * whole->high_bytes / 8 + 1);
    for (uint32_t n = 0; n < readers; n++) {
        whole->readers[n].fd = -1;
        if (!(whole->readers[n].high = calloc(whole->high_bytes, 1)))
            return NULL;
    }
    whole->server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    whole->server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    prctl(PR_SET_TIMERSLACK, 1000UL);
    return whole;
}

static int watch(struct whole *whole, int how, int fd, uint32_t events, uint64_t which)
{
    struct epoll_event event = {.events = events, .data = {.u64 = which}};
    return epoll_ctl(whole->poll, how, fd, &event) < 0 ? -errno : 0;
}

/* Have a reader read from `fd`, which is its own from now on. */
int room_reader(struct whole *whole, uint32_t number, int fd, uint8_t group)
{
    struct reader *reader = &whole->readers[number];
    reader->fd = fd;
    reader->group = group;
    reader->reading = 1;
    return watch(whole, EPOLL_CTL_ADD, fd, EPOLLIN, number);
}

/* `template` is a send, whose holes are filled in for each message. */
int room_sender(struct whole *whole, uint32_t number, int fd, const char *template, uint32_t size, uint32_t serial_at,
                uint32_t token_at, uint32_t marker_at, uint32_t priority_at)
{
    struct sender *sender = &whole->senders[number];
    *sender = (struct sender){.fd = fd, .size = size, .serial_at = serial_at, .token_at = token_at};
    sender->marker_at = marker_at;
    sender->priority_at = priority_at;
    sender->serial = SERIAL_FIRST;
    sender->template = malloc(size);
    sender->unacked = malloc(IN_FLIGHT * sizeof *sender->unacked);
    if (!sender->template || !sender->unacked)
        return -ENOMEM;
    memcpy(sender->template, template, size);
    return watch(whole, EPOLL_CTL_ADD, fd, EPOLLIN, (1ull << 32) | number);
}

/* Have a reader stop reading, or go on. */
int room_read(struct whole *whole, uint32_t number, int reading)
{
    struct reader *reader = &whole->readers[number];
    if (reader->fd < 0 || reader->reading == reading)
        return 0;
    reader->reading = (uint8_t)reading;
    return watch(whole, reading ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, reader->fd, EPOLLIN, number);
}

void room_group(struct whole *whole, uint32_t number, uint8_t group)
{
    whole->readers[number].group = group;
}

/* Have a reader send `request` when it is due; `dial`: over a new connection, its old one is closed at that instant.
 * Requests have to be given in the order in which they are due, one for each reader and run. */
int room_ask(struct whole *whole, uint32_t number, uint64_t due_ns, const char *request, uint32_t size, int dial)
{
    struct reader *reader = &whole->readers[number];
    if (whole->requests_next == whole->requests_count)
        whole->requests_next = whole->requests_count = 0;
    if (whole->requests_count == whole->readers_count)
        return -ENOSPC;
    char *own = realloc(reader->request, size);
    if (own == NULL)
        return -ENOMEM;
    memcpy(own, request, size);
    reader->request = own;
    reader->request_size = size;
    struct request one = {.due_ns = due_ns, .reader = number, .dial = (uint8_t)dial};
    whole->requests[whole->requests_count++] = one;
    return 0;
}

/* --- What came of it ----------------------------------------------------------------------------------------------*/

uint32_t room_highs(const struct whole *whole)
{
    return whole->highs;
}

/* High-priority messages that a reader has not been sent. */
uint32_t room_missing(const struct whole *whole, uint32_t number)
{
    uint32_t came = 0;
    for (uint32_t n = 0; n < whole->high_bytes; n++)
        came += (uint32_t)__builtin_popcount(whole->readers[number].high[n]);
    return whole->highs - came;
}

uint64_t room_frames(const struct whole *whole, uint32_t number)
{
    return whole->readers[number].frames;
}

/* Whether the server has closed this reader's connection. */
int room_ended(const struct whole *whole, uint32_t number)
{
    return whole->readers[number].ended;
}

void room_free(struct whole *whole)
{
    for (uint32_t n = 0; n < whole->readers_count; n++) {
        if (whole->readers[n].fd >= 0)
            close(whole->readers[n].fd);
        free(whole->readers[n].rest);
        free(whole->readers[n].request);
        free(whole->readers[n].high);
    }
    for (uint32_t n = 0; n < whole->senders_count; n++) {
        free(whole->senders[n].template);
        free(whole->senders[n].waiting);
        free(whole->senders[n].unacked);
        free(whole->senders[n].rest);
    }
    close(whole->poll);
    free(whole->readers);
    free(whole->senders);
    free(whole->messages);
    free(whole->requests);
    free(whole->priorities);
    free(whole->buffer);
    free(whole);
}

/* --- Reading ------------------------------------------------------------------------------------------------------*/

/* Which message this is, or UINT64_MAX. MARKER may stand elsewhere too: a length of 64 looks the same. */
static uint64_t ordinal_of(const char *body, uint32_t size)
{
    const char *end = body + size, *marker = body;
    while ((marker = memchr(marker, MARKER, (size_t)(end - marker))) != NULL && end - marker > DIGITS) {
        uint64_t ordinal = 0;
        int digits = 0;
        while (digits < DIGITS && (unsigned char)(marker[digits + 1] - '0') < 10)
            ordinal = ordinal * 10 + (uint64_t)(marker[++digits] - '0');
        if (digits == DIGITS)
            return ordinal;
        marker++;
    }
    return UINT64_MAX;
}

static void came(struct whole *whole, struct reader *reader, const char *body, uint32_t size, uint64_t now)
{
    struct room *room = &whole->room;
    uint64_t ordinal = ordinal_of(body, size);
    if (ordinal >= room->sent) {
        room->unmarked++;
        return;
    }
    struct message *message = &whole->messages[ordinal];
    reader->frames++;
    if (message->high != UINT32_MAX) {
        uint8_t bit = (uint8_t)(1 << message->high % 8), *bits = &reader->high[message->high / 8];
        room->repeated += (*bits & bit) != 0;
        *bits |= bit;
    }
    uint64_t took = since(now, message->due_ns);
    note(room->each[reader->group], took);
    if (reader->group == 0 && ++message->arrived == room->expected) {
        room->arrived++;
        note(room->last, took);
    }
}

static void heard(struct whole *whole, struct reader *reader, const char *body, uint32_t size, uint64_t now)
{
    struct room *room = &whole->room;
    int command = size > 1 && body[0] == 8 ? body[1] : -1;
    room->frames++;
    if (command == DIRECT) {
        came(whole, reader, body, size, now);
        return;
    }
    room->errors += command == FAILED;
    /* Pushes that are no answers to anything come too (unread, patch, presence); commands below 2 are. */
    if (reader->asked_ns && (command == FAILED || (command >= 0 && command < DIRECT))) {
        note(room->answer, since(now, reader->asked_ns));
        reader->asked_ns = 0;
        room->answered++;
    }
}

static void acked(struct whole *whole, struct sender *sender, const char *body, uint32_t size, uint64_t now)
{
    struct room *room = &whole->room;
    int command = size > 1 && body[0] == 8 ? body[1] : -1;
    room->errors += command == FAILED;
    if (command != ACK || sender->first == sender->next)
        return;
    uint32_t ordinal = sender->unacked[sender->first++ % IN_FLIGHT];
    room->acks++;
    note(room->ack, since(now, whole->messages[ordinal].due_ns));
}

/* Read once and cut into frames; what has not come whole is kept. 0, or what went wrong; ECONNRESET for the end. */
static int take(struct whole *whole, int fd, char **rest, uint32_t *held, struct reader *reader, struct sender *sender)
{
    char *buffer = whole->buffer;
    if (*held)
        memcpy(buffer, *rest, *held);
    ssize_t got = recv(fd, buffer + *held, BUFFER_BYTES - *held, MSG_DONTWAIT);
    if (got <= 0)
        return got == 0 ? ECONNRESET : (errno == EAGAIN || errno == EINTR) ? 0 : errno;
    uint64_t now = whole->heard_ns = clock_ns(CLOCK_MONOTONIC);
    whole->room.reads++;
    whole->room.bytes += (uint64_t)got;
    uint32_t size, start = 0, end = *held + (uint32_t)got;
    while (end - start >= 4) {
        memcpy(&size, buffer + start, 4);
        size = ntohl(size);
        if (size > BUFFER_BYTES - 4)
            return EPROTO;
        if (end - start < 4 + size)
            break;
        if (reader != NULL)
            heard(whole, reader, buffer + start + 4, size, now);
        else
            acked(whole, sender, buffer + start + 4, size, now);
        start += 4 + size;
    }
    if (end != start) {
        char *more = realloc(*rest, end - start);
        if (more == NULL)
            return ENOMEM;
        *rest = more;
        memcpy(more, buffer + start, end - start);
    } else if (*rest != NULL) {
        free(*rest);
        *rest = NULL;
    }
    *held = end - start;
    return 0;
}

/* --- Sending ------------------------------------------------------------------------------------------------------*/

static int flush(struct whole *whole, uint32_t number, const char *bytes, uint64_t size)
{
    struct sender *sender = &whole->senders[number];
    ssize_t taken = sender->waiting_size ? 0 : send(sender->fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (taken < 0 && errno != EAGAIN)
        return -errno;
    taken = taken < 0 ? 0 : taken;
    if ((uint64_t)taken == size)
        return 0;
    char *more = realloc(sender->waiting, sender->waiting_size + size - (uint64_t)taken);
    if (more == NULL)
        return -ENOMEM;
    sender->waiting = more;
    memcpy(more + sender->waiting_size, bytes + taken, size - (uint64_t)taken);
    sender->waiting_size += size - (uint64_t)taken;
    return watch(whole, EPOLL_CTL_MOD, sender->fd, EPOLLIN | EPOLLOUT, (1ull << 32) | number);
}

static int go_on(struct whole *whole, uint32_t number)
{
    struct sender *sender = &whole->senders[number];
    ssize_t taken = send(sender->fd, sender->waiting, sender->waiting_size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (taken < 0)
        return errno == EAGAIN ? 0 : -errno;
    sender->waiting_size -= (uint64_t)taken;
    memmove(sender->waiting, sender->waiting + taken, sender->waiting_size);
    if (sender->waiting_size)
        return 0;
    return watch(whole, EPOLL_CTL_MOD, sender->fd, EPOLLIN, (1ull << 32) | number);
}

/* One sender sends a burst that was due then, in one write. Senders take turns. */
static int send_burst(struct whole *whole, uint64_t due_ns)
{
    struct room *room = &whole->room;
    uint32_t number = whole->turn++ % whole->senders_count;
    struct sender *sender = &whole->senders[number];
    uint64_t size = (uint64_t)sender->size * room->burst;
    if (room->sent + room->burst > whole->messages_count || size > BUFFER_BYTES)
        return -ENOSPC;
    if (sender->next - sender->first + room->burst > IN_FLIGHT)
        return -ENOBUFS;
    char *end = whole->buffer;
    for (uint32_t n = 0; n < room->burst; n++, end += sender->size) {
        uint32_t ordinal = room->sent++, serial = sender->serial++, left = ordinal;
        uint8_t priority = whole->priorities[ordinal % whole->priorities_count];
        struct message *message = &whole->messages[ordinal];
        message->due_ns = due_ns;
        message->high = priority == 1 ? whole->highs++ : UINT32_MAX;
        memcpy(end, sender->template, sender->size);
        end[sender->serial_at] = (char)((serial & 127) | 128);
        end[sender->serial_at + 1] = (char)((serial >> 7 & 127) | 128);
        end[sender->serial_at + 2] = (char)((serial >> 14 & 127) | 128);
        end[sender->serial_at + 3] = (char)(serial >> 21 & 127);
        end[sender->priority_at] = (char)priority;
        for (int digit = DIGITS; digit >= 1; digit--, left /= 10)
            end[sender->marker_at + (uint32_t)digit] = (char)('0' + left % 10);
        memcpy(end + sender->token_at, end + sender->marker_at + 1, DIGITS);
        sender->unacked[sender->next++ % IN_FLIGHT] = ordinal;
        note(room->late, since(clock_ns(CLOCK_MONOTONIC), due_ns));
    }
    return flush(whole, number, whole->buffer, size);
}

/* --- Requests of readers ------------------------------------------------------------------------------------------*/

static void drop(struct reader *reader)
{
    if (reader->fd >= 0)
        close(reader->fd);
    free(reader->rest);
    reader->rest = NULL;
    reader->held = 0;
    reader->fd = -1;
    reader->reading = reader->dialling = 0;
}

static int say(struct whole *whole, uint32_t number)
{
    struct reader *reader = &whole->readers[number];
    ssize_t taken = send(reader->fd, reader->request, reader->request_size, MSG_NOSIGNAL | MSG_DONTWAIT);
    return taken == (ssize_t)reader->request_size ? 0 : taken < 0 ? -errno : -EMSGSIZE;
}

static int dial(struct whole *whole, uint32_t number)
{
    struct reader *reader = &whole->readers[number];
    int on = 1;
    struct sockaddr_in from = {.sin_family = AF_INET};
    /* One address has some 28,000 ports, and those that were closed just now are not free at once. */
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 20 + number % 8);
    drop(reader);
    reader->ended = 0;
    reader->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (reader->fd < 0)
        return -errno;
    setsockopt(reader->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(reader->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(reader->fd, (struct sockaddr *)&from, sizeof from) < 0)
        return -errno;
    if (connect(reader->fd, (struct sockaddr *)&whole->server, sizeof whole->server) < 0 && errno != EINPROGRESS)
        return -errno;
    reader->dialling = reader->reading = 1;
    return watch(whole, EPOLL_CTL_ADD, reader->fd, EPOLLIN | EPOLLOUT, number);
}

static int connected(struct whole *whole, uint32_t number)
{
    struct reader *reader = &whole->readers[number];
    int failed = 0;
    socklen_t size = sizeof failed;
    getsockopt(reader->fd, SOL_SOCKET, SO_ERROR, &failed, &size);
    if (failed)
        return -failed;
    reader->dialling = 0;
    int wrong = watch(whole, EPOLL_CTL_MOD, reader->fd, EPOLLIN, number);
    return wrong ? wrong : say(whole, number);
}

/* --- Running ------------------------------------------------------------------------------------------------------*/

static int serve(struct whole *whole, const struct epoll_event *event)
{
    uint32_t number = (uint32_t)event->data.u64;
    if (event->data.u64 >> 32) {
        struct sender *sender = &whole->senders[number];
        int wrong = event->events & EPOLLOUT ? go_on(whole, number) : 0;
        if (!wrong && event->events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            wrong = -take(whole, sender->fd, &sender->rest, &sender->held, NULL, sender);
        return wrong;
    }
    struct reader *reader = &whole->readers[number];
    if (reader->dialling)
        return connected(whole, number);
    int wrong = take(whole, reader->fd, &reader->rest, &reader->held, reader, NULL);
    if (wrong == ECONNRESET || wrong == EPIPE || wrong == ETIMEDOUT) {
        drop(reader);
        reader->ended = 1;
        whole->room.ended++;
        return 0;
    }
    return -wrong;
}

/* Everything that is due: requests, bursts by the clock, bursts for those that have arrived. When the next is due. */
static int send_due(struct whole *whole, uint64_t now, uint64_t *wake_ns)
{
    struct room *room = &whole->room;
    int wrong = 0;
    for (uint32_t n = 0; n < AT_ONCE && !wrong && whole->requests_next < whole->requests_count; n++) {
        struct request *request = &whole->requests[whole->requests_next];
        if (request->due_ns > now)
            break;
        whole->requests_next++;
        whole->readers[request->reader].asked_ns = request->due_ns;
        room->asked++;
        wrong = request->dial ? dial(whole, request->reader) : say(whole, request->reader);
    }
    while (!wrong && room->period_ns && room->next_ns <= now && room->sent < room->limit) {
        wrong = send_burst(whole, room->next_ns);
        room->next_ns += room->period_ns;
    }
    while (!wrong && room->in_flight && room->sent < room->limit &&
           room->sent - room->arrived + room->burst <= room->in_flight * room->burst)
        wrong = send_burst(whole, clock_ns(CLOCK_MONOTONIC));
    if (whole->requests_next < whole->requests_count && whole->requests[whole->requests_next].due_ns < *wake_ns)
        *wake_ns = whole->requests[whole->requests_next].due_ns;
    if (room->period_ns && room->sent < room->limit && room->next_ns < *wake_ns)
        *wake_ns = room->next_ns;
    return wrong;
}

static int reached(const struct whole *whole, int goal, uint64_t now)
{
    const struct room *room = &whole->room;
    int quiet = now > whole->heard_ns + room->quiet_ns;
    int arrived = room->arrived == room->sent && room->sent >= room->limit;
    switch (goal) {
    case GOAL_ARRIVED: return arrived;
    case GOAL_ANSWERED: return room->answered == room->asked && whole->requests_next == whole->requests_count;
    case GOAL_QUIET: return quiet;
    case GOAL_SETTLED: return arrived || quiet;
    default: return 0;
    }
}

/* Go on until the goal is reached (1) or the time is up (0); else a negative error number. */
int room_run(struct whole *whole, uint64_t until_ns, int goal)
{
    struct room *room = &whole->room;
    struct epoll_event events[AT_ONCE];
    uint64_t begun = clock_ns(CLOCK_MONOTONIC), cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID), now = begun;
    int result = 0;
    whole->heard_ns = begun;
    while (!result) {
        uint64_t wake = until_ns < now + 5000000 ? until_ns : now + 5000000;
        result = send_due(whole, now, &wake);
        if (result)
            break;
        uint64_t wait = since(wake, clock_ns(CLOCK_MONOTONIC));
        struct timespec timeout = {(time_t)(wait / 1000000000u), (long)(wait % 1000000000u)};
        int ready = (int)syscall(SYS_epoll_pwait2, whole->poll, events, AT_ONCE, &timeout, NULL, 0);
        if (ready < 0 && errno != EINTR)
            result = -errno;
        for (int n = 0; n < ready && !result; n++)
            result = serve(whole, &events[n]);
        now = clock_ns(CLOCK_MONOTONIC);
        if (!result && reached(whole, goal, now))
            result = 1;
        else if (!result && now >= until_ns)
            break;
    }
    room->cpu_ns += clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
    room->wall_ns += now - begun;
    return result;
}
