/* Peer: the limit. The least that a relay can do, in C: `relay PORT TS_HOST TS_PORT ...`.
 *
 * One process, one poll(2) loop; all lines of a read are taken together, and each connection gets
 * one write a turn. A hash table of open names says who asked; the first answer is relayed.
 * It keeps: the first answer wins, one reply per question, QUIT and BYE, a table server that is
 * not there.
 * It leaves out: timeouts (what nobody knows stays open for ever), equal names of two clients at
 * once (the second one takes the place of the first), checking of names and answers, every
 * bound (a client that leaves early may leave its open questions to the next one; over 32,000
 * open names do not fit), redialling, draining, counters, logs. With many idle connections poll
 * is not the limit: epoll would be. */

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS = 1024, READ = 65536, LINE = 600, SLOTS = 1 << 16 };

struct connection {
    char *out;               /* waits to be sent: from `sent` up to `size` */
    size_t sent, size, room;
    char rest[LINE];         /* an unfinished line */
    size_t held;
    long owed;
    int open, leaving, dirty;
};

static struct connection connections[CONNECTIONS];
static struct pollfd fds[CONNECTIONS];
static int count, servers; /* fds[0] listens, then the servers, then the clients */

static struct slot {       /* open addressing; a name that was answered leaves a dead slot */
    char *name;
    unsigned short size;
    short asker;
} *slots;
static size_t used;

static size_t hash(const char *name, size_t size) {
    size_t h = 14695981039346656037u;
    for (size_t i = 0; i < size; i++) h = (h ^ (unsigned char)name[i]) * 1099511628211u;
    return h & (SLOTS - 1);
}

static void rebuild(void);

static struct slot *find(const char *name, size_t size, int make) {
    for (size_t at = hash(name, size);; at = (at + 1) & (SLOTS - 1)) {
        struct slot *slot = &slots[at];
        if (!slot->name) {
            if (!make) return NULL;
            slot->name = malloc(size);
            memcpy(slot->name, name, size);
            slot->size = size;
            slot->asker = -1;
            if (++used > SLOTS / 2) { rebuild(); return find(name, size, 1); }
            return slot;
        }
        if (slot->size == size && !memcmp(slot->name, name, size)) return slot;
    }
}

static void rebuild(void) {
    struct slot *old = slots;
    slots = calloc(SLOTS, sizeof *slots);
    used = 0;
    for (size_t i = 0; i < SLOTS; i++)
        if (old[i].name) {
            if (old[i].asker >= 0) find(old[i].name, old[i].size, 1)->asker = old[i].asker;
            free(old[i].name);
        }
    free(old);
}

static void put(int to, const char *data, size_t size) {
    struct connection *c = &connections[to];
    if (c->size + size > c->room) {
        memmove(c->out, c->out + c->sent, c->size - c->sent);
        c->size -= c->sent;
        c->sent = 0;
        while (c->size + size > c->room) c->room = c->room ? 2 * c->room : READ;
        c->out = realloc(c->out, c->room);
    }
    memcpy(c->out + c->size, data, size);
    c->size += size;
    c->dirty = 1;
}

static void question(int from, char *line, size_t size) { /* with its LF */
    if (connections[from].leaving) return;
    if (size == 5 && !memcmp(line, "QUIT\n", 5)) {
        connections[from].leaving = 1;
        connections[from].dirty = 1;
        return;
    }
    for (size_t i = 0; i < size; i++) line[i] = tolower((unsigned char)line[i]);
    find(line, size - 1, 1)->asker = from;
    connections[from].owed++;
    for (int to = 1; to <= servers; to++)
        if (connections[to].open) put(to, line, size);
}

static void answer(char *line, size_t size) {
    char name[LINE];
    size_t length = 0;
    while (length < size && line[length] != ' ') {
        name[length] = tolower((unsigned char)line[length]);
        length++;
    }
    struct slot *slot = find(name, length, 0);
    if (!slot || slot->asker < 0) return;
    int asker = slot->asker;
    slot->asker = -1;
    connections[asker].owed--;
    put(asker, line, size);
}

static void close_connection(int at) {
    close(fds[at].fd);
    fds[at].fd = -1;
    connections[at].open = 0;
}

static void receive(int at) {
    static char data[LINE + READ];
    struct connection *c = &connections[at];
    memcpy(data, c->rest, c->held);
    ssize_t got = recv(fds[at].fd, data + c->held, READ, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) { close_connection(at); return; }
    char *line = data, *end = data + c->held + got, *stop;
    while ((stop = memchr(line, '\n', end - line))) {
        if (at <= servers) answer(line, stop + 1 - line);
        else question(at, line, stop + 1 - line);
        line = stop + 1;
    }
    c->held = end - line < LINE ? (size_t)(end - line) : 0;
    memcpy(c->rest, line, c->held);
}

static void flush(int at) {
    struct connection *c = &connections[at];
    c->dirty = 0;
    if (!c->open) return;
    if (c->leaving == 1 && !c->owed) {
        c->leaving = 2;
        put(at, "BYE\n", 4);
        c->dirty = 0;
    }
    if (c->sent < c->size) {
        ssize_t took = send(fds[at].fd, c->out + c->sent, c->size - c->sent, 0);
        if (took > 0) c->sent += took;
    }
    if (c->sent == c->size) {
        c->sent = c->size = 0;
        if (c->leaving == 2) { shutdown(fds[at].fd, SHUT_WR); c->leaving = 3; }
    }
    fds[at].events = POLLIN | (c->sent < c->size ? POLLOUT : 0);
}

static int add(int fd) {
    int at = count <= servers ? count : servers + 1, one = 1;
    while (at < count && fds[at].fd >= 0) at++;
    if (at == CONNECTIONS) { close(fd); return -1; }
    if (at == count) count++;
    struct connection *c = &connections[at];
    char *out = c->out;
    size_t room = c->room;
    memset(c, 0, sizeof *c);
    c->out = out;
    c->room = room;
    c->open = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    fds[at] = (struct pollfd){fd, POLLIN, 0};
    return at;
}

int main(int argc, char **argv) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    signal(SIGPIPE, SIG_IGN);
    slots = calloc(SLOTS, sizeof *slots);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    address.sin_port = htons(atoi(argv[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) {
        perror("relay");
        return 1;
    }
    getsockname(listener, (struct sockaddr *)&address, &length);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    fds[count++] = (struct pollfd){listener, POLLIN, 0};
    for (int i = 2; i + 1 < argc; i += 2) {
        struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[i + 1]))};
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        inet_pton(AF_INET, argv[i], &server.sin_addr);
        if (connect(fd, (struct sockaddr *)&server, sizeof server)) { close(fd); continue; }
        servers = count;
        add(fd);
    }
    printf("ready on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        if (poll(fds, count, -1) < 0) continue;
        if (fds[0].revents)
            for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;) add(fd);
        for (int at = 1; at < count; at++) {
            if (fds[at].fd < 0) continue;
            if (fds[at].revents & (POLLIN | POLLHUP | POLLERR)) receive(at);
            if (fds[at].revents & POLLOUT) connections[at].dirty = 1;
            fds[at].revents = 0;
        }
        for (int at = 1; at < count; at++)
            if (connections[at].dirty) flush(at);
    }
}
