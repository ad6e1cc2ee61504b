/* Peer: a resolver that is late, fails, or misbehaves as it is told to, and is fast at it.
 *
 *     late [--delay MS] [--fifth] [--code N] [--twice] [--cut]
 *
 * Every name has the address 10.0.0.1; a reply is the question with that behind it. `--delay`
 * holds each reply back, with `--fifth` only for a fifth of the names (by hash). `--code` replies
 * that code to everything, with no record. `--twice` sends each reply twice. Over TCP it replies at
 * once, and once. `--cut` truncates each reply over UDP (TC), and closes after each reply over TCP:
 * it replies to the first query of a stream and ends it, but reads and counts later ones.
 *
 * It prints its address (UDP and TCP at one port), and on SIGTERM how many queries have
 * come by UDP and by TCP. Its socket has the kernel's default receive buffer. To
 * freeze it send SIGSTOP and SIGCONT: the kernel queues what the buffer holds, and it goes on
 * with that.
 * It leaves out: names that do not exist beside those that do, EDNS, checking of queries. For
 * forged replies, and replies that differ by name, see bench/resolver.py. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE = 512, BATCH = 64, LATER = 1 << 17, STREAMS = 2048, READ = 65536 };

static struct later {     /* a ring: all delays are equal, so replies are due in their order */
    long long due_ns;
    struct sockaddr_in whither;
    unsigned short size;
    unsigned char message[MESSAGE];
} *later;
static size_t first, last;

static struct stream {    /* what has come of an unfinished query, and whether one had its reply */
    unsigned char rest[2 + MESSAGE];
    size_t held;
    int is_ended;
} streams[STREAMS];
static struct pollfd fds[STREAMS]; /* fds[0] UDP, fds[1] listens, then the streams */
static int count = 2;

static long long delay_ns;
static int fifth, code, twice, cut;
static unsigned long by_udp, by_tcp;
static volatile sig_atomic_t is_over;

static void stop(int number) { (void)number; is_over = 1; }

static long long now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

/* Where the question ends; 0 when this is no query with one. */
static size_t question_end(const unsigned char *query, size_t size) {
    size_t at = 12;
    while (at < size && query[at]) at += query[at] + 1;
    return at + 5 <= size ? at + 5 : 0;
}

/* Make a reply of a query, in its place; its size. */
static size_t reply(unsigned char *message, size_t end, int is_cut) {
    static const unsigned char record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 1};
    int has_record = !code && !is_cut;
    message[2] = 0x81 | (is_cut ? 2 : 0);
    message[3] = 0x80 | code;
    memset(message + 4, 0, 8);
    message[5] = 1;
    message[7] = has_record;
    if (has_record) memcpy(message + end, record, sizeof record);
    return end + (has_record ? sizeof record : 0);
}

static int is_late(const unsigned char *message, size_t end) {
    unsigned h = 2166136261u;
    if (!delay_ns || !fifth) return delay_ns > 0;
    for (size_t at = 12; at < end; at++) h = (h ^ (message[at] | 32)) * 16777619u;
    return (h ^ h >> 16) % 5 == 0;
}

static void say(int fd, const unsigned char *message, size_t size, struct sockaddr_in *whither) {
    for (int times = twice ? 2 : 1; times; times--)
        sendto(fd, message, size, 0, (struct sockaddr *)whither, sizeof *whither);
}

static void hear(int fd) {
    static unsigned char room[BATCH][MESSAGE];
    static struct sockaddr_in whence[BATCH];
    static struct iovec parts[BATCH];
    static struct mmsghdr heads[BATCH];
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){room[i], MESSAGE - 32}; /* room for the record */
        heads[i].msg_hdr = (struct msghdr){.msg_name = &whence[i], .msg_namelen = sizeof whence[i],
                                           .msg_iov = &parts[i], .msg_iovlen = 1};
    }
    int got = recvmmsg(fd, heads, BATCH, MSG_DONTWAIT, NULL);
    long long due_ns = got > 0 ? now_ns() + delay_ns : 0;
    for (int i = 0; i < got; i++) {
        size_t end = question_end(room[i], heads[i].msg_len);
        if (!end) continue;
        by_udp++;
        int waits = is_late(room[i], end);
        size_t size = reply(room[i], end, cut);
        if (!waits) { say(fd, room[i], size, &whence[i]); continue; }
        struct later *one = &later[last % LATER];
        if (last - first == LATER) continue; /* lost, as by a socket that is full */
        one->due_ns = due_ns;
        one->whither = whence[i];
        one->size = size;
        memcpy(one->message, room[i], size);
        last++;
    }
}

/* Take what has come by a stream; 0 when it is over. */
static int read_stream(int fd, struct stream *stream) {
    static unsigned char data[2 + MESSAGE + READ];
    memcpy(data, stream->rest, stream->held);
    ssize_t got = recv(fd, data + stream->held, READ, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return 1;
    if (got <= 0) return 0;
    size_t at = 0, size = stream->held + got, length;
    for (; at + 2 <= size; at += 2 + length) {
        length = data[at] << 8 | data[at + 1];
        if (length > MESSAGE - 32) return 0;
        if (at + 2 + length > size) break;
        size_t end = question_end(data + at + 2, length);
        by_tcp++;
        if (stream->is_ended || !end) continue;
        unsigned char out[2 + MESSAGE];
        memcpy(out + 2, data + at + 2, length);
        size_t said = reply(out + 2, end, 0);
        out[0] = said >> 8;
        out[1] = said;
        send(fd, out, 2 + said, MSG_NOSIGNAL);
        stream->is_ended = cut;
        if (cut) shutdown(fd, SHUT_WR);
    }
    stream->held = size - at;
    memcpy(stream->rest, data + at, stream->held);
    return 1;
}

static void accept_all(int listener) {
    for (int fd; count < STREAMS && (fd = accept(listener, NULL, NULL)) >= 0; count++) {
        fds[count] = (struct pollfd){fd, POLLIN, 0};
        memset(&streams[count], 0, sizeof streams[count]);
    }
}

static int bind_both(void) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int tries = 0; tries < 20; tries++) {
        int udp = socket(AF_INET, SOCK_DGRAM, 0), tcp = socket(AF_INET, SOCK_STREAM, 0);
        address.sin_port = 0;
        if (!bind(tcp, (struct sockaddr *)&address, sizeof address) && !listen(tcp, 1024) &&
            !getsockname(tcp, (struct sockaddr *)&address, &length) &&
            !bind(udp, (struct sockaddr *)&address, sizeof address)) {
            fcntl(tcp, F_SETFL, O_NONBLOCK);
            fds[0] = (struct pollfd){udp, POLLIN, 0};
            fds[1] = (struct pollfd){tcp, POLLIN, 0};
            return ntohs(address.sin_port);
        }
        close(udp);
        close(tcp);
    }
    perror("late");
    exit(1);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--fifth")) fifth = 1;
        else if (!strcmp(argv[i], "--twice")) twice = 1;
        else if (!strcmp(argv[i], "--cut")) cut = 1;
        else if (!strcmp(argv[i], "--delay") && i + 1 < argc) delay_ns = atof(argv[++i]) * 1e6;
        else if (!strcmp(argv[i], "--code") && i + 1 < argc) code = atoi(argv[++i]) & 15;
        else { fprintf(stderr, "late: what is %s?\n", argv[i]); return 2; }
    }
    struct sigaction action = {.sa_handler = stop};
    sigset_t blocked, open;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &open); /* SIGTERM is heard in ppoll alone */
    sigaction(SIGTERM, &action, NULL);
    later = calloc(LATER, sizeof *later);
    printf("late on 127.0.0.1:%d\n", bind_both());
    fflush(stdout);
    while (!is_over) {
        struct timespec wait = {0}, *until = NULL;
        if (first != last) {
            long long left_ns = later[first % LATER].due_ns - now_ns();
            if (left_ns > 0) wait = (struct timespec){left_ns / 1000000000, left_ns % 1000000000};
            until = &wait;
        }
        if (ppoll(fds, count, until, &open) < 0) continue;
        if (fds[0].revents) hear(fds[0].fd);
        for (int at = count - 1; at > 1; at--)
            if (fds[at].revents && !read_stream(fds[at].fd, &streams[at])) {
                close(fds[at].fd);
                fds[at] = fds[--count]; /* which has been looked at */
                streams[at] = streams[count];
            }
        if (fds[1].revents) accept_all(fds[1].fd);
        for (long long now = now_ns(); first != last; first++) {
            struct later *one = &later[first % LATER];
            if (one->due_ns > now) break;
            say(fds[0].fd, one->message, one->size, &one->whither);
        }
    }
    printf("%lu %lu\n", by_udp, by_tcp);
    return 0;
}
