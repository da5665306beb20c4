/* The sends of a fan-out and nothing else: what fastim is measured against. And the peers that take the bytes. */

#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

/* Processor time of this thread in nanoseconds; the kernel's part of each send is in it. */
static uint64_t spent(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* One send for each descriptor, all from the same bytes. Returns nanoseconds, or -1: not all was taken. */
int64_t send_shared(const int *fds, uint32_t count, const char *bytes, uint64_t size)
{
    uint64_t begun = spent();
    int whole = 1;
    for (uint32_t n = 0; n < count; n++)
        whole &= send(fds[n], bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)size;
    return whole ? (int64_t)(spent() - begun) : -1;
}

/* One send for each descriptor, each from bytes of its own: those from starts[n] to starts[n + 1]. */
int64_t send_own(const int *fds, uint32_t count, const char *bytes, const uint64_t *starts)
{
    uint64_t begun = spent();
    int whole = 1;
    for (uint32_t n = 0; n < count; n++) {
        uint64_t size = starts[n + 1] - starts[n];
        whole &= send(fds[n], bytes + starts[n], size, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)size;
    }
    return whole ? (int64_t)(spent() - begun) : -1;
}

/* The same bytes, put together for each descriptor: for each frame four bytes of length, the body, the suffix. */
int64_t send_spliced(const int *fds, uint32_t count, const char *body, uint32_t body_size, uint32_t frames,
                     const char *suffixes, const uint64_t *starts)
{
    static char scratch[1 << 16];
    uint64_t begun = spent();
    int whole = 1;
    for (uint32_t n = 0; n < count; n++) {
        uint32_t suffix_size = (uint32_t)(starts[n + 1] - starts[n]), size = body_size + suffix_size;
        if ((uint64_t)frames * (size + 4) > sizeof scratch)
            return -1;
        char *end = scratch;
        for (uint32_t frame = 0; frame < frames; frame++) {
            uint32_t length = __builtin_bswap32(size);
            memcpy(end, &length, 4);
            memcpy(end + 4, body, body_size);
            memcpy(end + 4 + body_size, suffixes + starts[n], suffix_size);
            end += 4 + size;
        }
        whole &= send(fds[n], scratch, (size_t)(end - scratch), MSG_NOSIGNAL | MSG_DONTWAIT) == end - scratch;
    }
    return whole ? (int64_t)(spent() - begun) : -1;
}

/* Take what comes on these descriptors and count it in *taken_bytes, until *over is set or one of them ends. */
int drain(const int *fds, uint32_t count, volatile uint64_t *taken_bytes, volatile uint64_t *over)
{
    static char buffer[1 << 18];
    struct epoll_event events[256];
    int poll = epoll_create1(EPOLL_CLOEXEC);
    if (poll < 0)
        return -errno;
    for (uint32_t n = 0; n < count; n++) {
        struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fds[n]}};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, fds[n], &event) < 0)
            return -errno;
    }
    while (!*over) {
        int ready = epoll_wait(poll, events, 256, 100);
        uint64_t taken = 0;
        for (int n = 0; n < ready; n++) {
            ssize_t got = recv(events[n].data.fd, buffer, sizeof buffer, MSG_DONTWAIT);
            if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
                return got ? -errno : -ECONNRESET;
            if (got > 0)
                taken += (uint64_t)got;
        }
        *taken_bytes += taken;
    }
    return 0;
}
