/* A server that sends what its publisher says to all of its readers, and does nothing else: what is measured against.
 *
 * One thread, one epoll, one log of bytes with a cursor for each reader. It goes round the readers and sends each, at
 * once, all that has come since it was there last; every SLICE readers it looks for more. It knows no messages, no names
 * and no rights. The first byte of a connection says what it is: 'R' a reader, which is sent a 'k' when it is in, or 'P'
 * the publisher.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOG_BYTES (1 << 26)
#define READ_BYTES (1 << 18)
#define AT_ONCE 256
#define MOST 65536
#define SLICE 256

struct reader {
    int fd;
    uint32_t at; /* in the log */
    int blocked;
};

static struct reader readers[MOST];
static uint32_t readers_count, head, turn, served; /* served: in a row, since anything came */
static int numbers[MOST]; /* of a descriptor: its reader and 1; 0: it is none */
static char *sent;

static int watch(int poll, int how, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data = {.fd = fd}};
    return epoll_ctl(poll, how, fd, &event) < 0 ? -errno : 0;
}

static void give(int poll, struct reader *reader)
{
    ssize_t taken = send(reader->fd, sent + reader->at, head - reader->at, MSG_NOSIGNAL | MSG_DONTWAIT);
    reader->at = taken < 0 && errno != EAGAIN ? head : reader->at + (uint32_t)(taken < 0 ? 0 : taken);
    int blocked = reader->at != head;
    if (blocked != reader->blocked)
        watch(poll, EPOLL_CTL_MOD, reader->fd, blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
    reader->blocked = blocked;
}

/* Some of the readers, until everybody was served; what is kept for nobody is forgotten then. */
static int go_round(int poll)
{
    uint32_t behind = 0;
    for (uint32_t n = 0; n < SLICE && served < readers_count; n++, served++) {
        struct reader *reader = &readers[turn++ % readers_count];
        if (reader->at != head && !reader->blocked)
            give(poll, reader);
    }
    if (served < readers_count || head < LOG_BYTES / 2)
        return 0;
    for (uint32_t n = 0; n < readers_count; n++)
        behind += readers[n].at != head;
    if (behind)
        return head > LOG_BYTES - READ_BYTES ? -ENOBUFS : 0;
    for (uint32_t n = 0; n < readers_count; n++)
        readers[n].at = 0;
    head = 0;
    return 0;
}

static int welcome(int poll, int listening)
{
    int fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
    if (fd < 0)
        return errno == EAGAIN || errno == ECONNABORTED ? 0 : -errno;
    if (fd >= MOST)
        return -EMFILE;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    numbers[fd] = 0;
    return watch(poll, EPOLL_CTL_ADD, fd, EPOLLIN);
}

/* A negative error number is the end of the server; 0 and more are not. */
static int hear(int fd, int *publisher)
{
    char first;
    if (fd == *publisher) {
        ssize_t got = recv(fd, sent + head, READ_BYTES, MSG_DONTWAIT);
        if (got <= 0)
            return got == 0 ? -ECONNRESET : errno == EAGAIN ? 0 : -errno;
        head += (uint32_t)got;
        served = 0;
        return head > LOG_BYTES ? -ENOBUFS : 0;
    }
    ssize_t got = recv(fd, &first, 1, MSG_DONTWAIT);
    if (numbers[fd] || readers_count == MOST)
        return -ECONNRESET;
    if (got <= 0)
        return close(fd); /* somebody has looked whether we listen */
    if (first == 'P') {
        *publisher = fd;
        return 0;
    }
    served = 0;
    readers[readers_count] = (struct reader){.fd = fd, .at = head};
    numbers[fd] = (int)++readers_count;
    return send(fd, "k", 1, MSG_NOSIGNAL) == 1 ? 0 : -ECONNRESET;
}

/* Serve until a reader or the publisher hangs up; why. */
int reference_serve(int listening)
{
    struct epoll_event events[AT_ONCE];
    int poll = epoll_create1(EPOLL_CLOEXEC), publisher = -1, wrong;
    sent = malloc(LOG_BYTES + READ_BYTES);
    if (poll < 0 || sent == NULL)
        return -ENOMEM;
    wrong = watch(poll, EPOLL_CTL_ADD, listening, EPOLLIN);
    while (!wrong) {
        int ready = epoll_wait(poll, events, AT_ONCE, served < readers_count ? 0 : -1);
        for (int n = 0; n < ready && !wrong; n++) {
            int fd = events[n].data.fd;
            if (fd == listening)
                wrong = welcome(poll, listening);
            else if (events[n].events & EPOLLOUT)
                give(poll, &readers[numbers[fd] - 1]);
            else
                wrong = hear(fd, &publisher);
        }
        if (!wrong)
            wrong = go_round(poll);
    }
    return wrong;
}
