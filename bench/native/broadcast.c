/* One publisher, thousands of readers, any server: the load of bench/peers.
 *
 * A reader's bytes are counted and not looked at: a message has the same length each time, so the count says how many
 * of them a reader has. So many bursts are kept on their way; the next one is published when the last reader has the
 * whole of an earlier one; those that are due together go in one write. Every field that the caller reads stands in struct counts, which bench/peers/driver.py
 * repeats. Times are nanoseconds of CLOCK_MONOTONIC.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#define BUFFER_BYTES (1 << 18)
#define WAITING_BYTES (1 << 22)
#define AT_ONCE 256
#define DIGITS 10
#define DEPTH 64
#define PUBLISHER UINT64_MAX

struct counts {
    uint64_t bytes;       /* that came to readers */
    uint64_t reads;       /* system calls that brought some */
    uint64_t answered;    /* bytes that came to the publisher */
    uint64_t published;   /* bursts */
    uint64_t complete;    /* bursts that all readers have */
    uint64_t complete_ns; /* when the last of them was */
    uint64_t idle_ns;     /* that passed while nothing came */
};

struct reader {
    int fd;
    uint64_t bytes;   /* since the beginning */
    uint64_t goal;    /* of them, to have the next whole burst */
    uint64_t bursts;
};

struct driver {
    struct counts counts; /* first: the caller knows this part */
    int poll, publisher;
    uint32_t count, burst, depth, size;
    int32_t hole;
    uint64_t burst_bytes, ordinal, waiting, heard_ns;
    uint32_t have[DEPTH]; /* readers that have burst number n, at n % DEPTH */
    struct reader *readers;
    char *message, *unsent, *buffer;
};

static uint64_t clock_ns(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t driver_counts_size(void)
{
    return sizeof(struct counts);
}

/* The descriptors stay the caller's. NULL: no memory. */
struct driver *driver_new(const int *fds, uint32_t count, int publisher)
{
    struct driver *driver = calloc(1, sizeof *driver);
    if (driver == NULL)
        return NULL;
    driver->poll = epoll_create1(EPOLL_CLOEXEC);
    driver->publisher = publisher;
    driver->count = count;
    driver->readers = calloc(count, sizeof *driver->readers);
    driver->unsent = malloc(WAITING_BYTES);
    driver->buffer = malloc(BUFFER_BYTES);
    if (driver->poll < 0 || !driver->readers || !driver->unsent || !driver->buffer)
        return NULL; /* the process ends with it */
    for (uint32_t n = 0; n < count; n++) {
        struct epoll_event event = {.events = EPOLLIN, .data = {.u64 = n}};
        driver->readers[n].fd = fds[n];
        driver->readers[n].goal = UINT64_MAX;
        if (epoll_ctl(driver->poll, EPOLL_CTL_ADD, fds[n], &event) < 0)
            return NULL;
    }
    struct epoll_event event = {.events = EPOLLIN, .data = {.u64 = PUBLISHER}};
    return epoll_ctl(driver->poll, EPOLL_CTL_ADD, publisher, &event) < 0 ? NULL : driver;
}

/* What is published from now on. `hole`: where ten digits say which message it is; negative: nowhere. `delivery_bytes`:
 * what a reader is sent for it. */
int driver_begin(struct driver *driver, const char *message, uint32_t size, int32_t hole, uint64_t delivery_bytes,
                 uint32_t burst, uint32_t depth)
{
    if (driver->counts.published != driver->counts.complete)
        return -EBUSY;
    if (depth == 0 || depth >= DEPTH || (uint64_t)size * burst * depth > WAITING_BYTES)
        return -EINVAL;
    char *own = realloc(driver->message, size + 1);
    if (own == NULL)
        return -ENOMEM;
    driver->message = memcpy(own, message, size);
    driver->size = size;
    driver->hole = hole;
    driver->burst = burst;
    driver->depth = depth;
    driver->burst_bytes = delivery_bytes * burst;
    driver->counts.published = driver->counts.complete = 0;
    memset(driver->have, 0, sizeof driver->have);
    for (uint32_t n = 0; n < driver->count; n++) {
        driver->readers[n].bytes = driver->readers[n].bursts = 0;
        driver->readers[n].goal = driver->burst_bytes;
    }
    return 0;
}

/* What reader `number` has been sent since the beginning. */
uint64_t driver_bytes(const struct driver *driver, uint32_t number)
{
    return driver->readers[number].bytes;
}

static int flush(struct driver *driver)
{
    ssize_t taken = send(driver->publisher, driver->unsent, driver->waiting, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (taken < 0 && errno != EAGAIN)
        return -errno;
    taken = taken < 0 ? 0 : taken;
    driver->waiting -= (uint64_t)taken;
    memmove(driver->unsent, driver->unsent + taken, driver->waiting);
    struct epoll_event event = {.events = driver->waiting ? EPOLLIN | EPOLLOUT : EPOLLIN, .data = {.u64 = PUBLISHER}};
    return epoll_ctl(driver->poll, EPOLL_CTL_MOD, driver->publisher, &event) < 0 ? -errno : 0;
}

/* One burst more for the next write. */
static int add(struct driver *driver)
{
    for (uint32_t n = 0; n < driver->burst; n++) {
        char *message = driver->unsent + driver->waiting;
        uint64_t left = driver->ordinal++;
        if (driver->waiting + driver->size > WAITING_BYTES)
            return -ENOBUFS;
        memcpy(message, driver->message, driver->size);
        for (int digit = DIGITS - 1; driver->hole >= 0 && digit >= 0; digit--, left /= 10)
            message[driver->hole + digit] = (char)('0' + left % 10);
        driver->waiting += driver->size;
    }
    driver->counts.published++;
    return 0;
}

static int take(struct driver *driver, struct reader *reader, char *buffer, size_t size)
{
    ssize_t got = recv(reader->fd, buffer, size, MSG_DONTWAIT);
    if (got <= 0)
        return got == 0 ? -ECONNRESET : errno == EAGAIN || errno == EINTR ? 0 : -errno;
    driver->counts.bytes += (uint64_t)got;
    driver->counts.reads++;
    reader->bytes += (uint64_t)got;
    while (reader->bytes >= reader->goal) {
        reader->goal += driver->burst_bytes;
        uint32_t *have = &driver->have[reader->bursts++ % DEPTH];
        if (++*have == driver->count) {
            *have = 0;
            driver->counts.complete++;
            driver->counts.complete_ns = clock_ns(CLOCK_MONOTONIC);
        }
    }
    return (int)got;
}

static int serve(struct driver *driver, const struct epoll_event *event)
{
    if (event->data.u64 != PUBLISHER)
        return take(driver, &driver->readers[event->data.u64], driver->buffer, BUFFER_BYTES);
    int wrong = event->events & EPOLLOUT ? flush(driver) : 0;
    if (wrong || !(event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return wrong;
    ssize_t got = recv(driver->publisher, driver->buffer, BUFFER_BYTES, MSG_DONTWAIT);
    if (got <= 0)
        return got == 0 ? -ECONNRESET : errno == EAGAIN || errno == EINTR ? 0 : -errno;
    driver->counts.answered += (uint64_t)got;
    return 0;
}

/* Go on, until a burst is complete at `from_ns` or later (1), all are complete and nothing is published (1), or it is
 * `deadline_ns` (0); else a negative error number. */
int driver_run(struct driver *driver, uint64_t from_ns, uint64_t deadline_ns, int publishing)
{
    struct epoll_event events[AT_ONCE];
    struct counts *counts = &driver->counts;
    uint64_t looked = clock_ns(CLOCK_MONOTONIC);
    int result = 0;
    while (!result) {
        uint64_t due = publishing ? driver->depth - (counts->published - counts->complete) : 0;
        for (uint64_t n = 0; n < due && !result; n++)
            result = add(driver);
        if (due && !result)
            result = flush(driver);
        if (result)
            break;
        if (!publishing && counts->complete == counts->published) {
            result = 1;
            break;
        }
        uint64_t before = counts->complete;
        /* It never sleeps: a server would have to wake it up, and pay for that with each send. */
        int ready = epoll_wait(driver->poll, events, AT_ONCE, 0);
        uint64_t now = clock_ns(CLOCK_MONOTONIC);
        if (ready == 0)
            counts->idle_ns += now - looked;
        looked = now;
        if (ready < 0 && errno != EINTR)
            result = -errno;
        for (int n = 0; n < ready && result >= 0; n++)
            result = serve(driver, &events[n]);
        result = result > 0 ? 0 : result;
        if (!result && publishing && counts->complete != before && counts->complete_ns >= from_ns)
            result = 1;
        else if (!result && now >= deadline_ns)
            break;
    }
    return result;
}

/* Publish one message whose delivery has a length that is not known, and take what comes until nothing has come for
 * `quiet_ms`, or it is `deadline_ns` (-ETIMEDOUT). What the first reader is sent goes into `seen`; bytes of it. Without
 * a message nothing is published. */
int64_t driver_probe(struct driver *driver, const char *message, uint32_t size, int32_t hole, int quiet_ms,
                     uint64_t deadline_ns, char *seen, uint64_t seen_size)
{
    struct epoll_event events[AT_ONCE];
    uint64_t held = 0;
    int ready, wrong = driver_begin(driver, message, size, hole, 0, 1, 1);
    for (uint32_t n = 0; n < driver->count; n++)
        driver->readers[n].goal = UINT64_MAX;
    if (!wrong && size)
        wrong = add(driver);
    if (!wrong && size)
        wrong = flush(driver);
    driver->counts.published = 0;
    while (!wrong && (ready = epoll_wait(driver->poll, events, AT_ONCE, quiet_ms)) != 0) {
        for (int n = 0; n < ready && wrong >= 0; n++) {
            if (events[n].data.u64 == 0 && held < seen_size) {
                wrong = take(driver, &driver->readers[0], seen + held, seen_size - held);
                held += wrong > 0 ? (uint64_t)wrong : 0;
            } else {
                wrong = serve(driver, &events[n]);
            }
        }
        wrong = wrong > 0 ? 0 : wrong;
        if (!wrong && ready < 0 && errno != EINTR)
            wrong = -errno;
        if (!wrong && clock_ns(CLOCK_MONOTONIC) >= deadline_ns)
            wrong = -ETIMEDOUT;
    }
    return wrong ? wrong : (int64_t)held;
}
