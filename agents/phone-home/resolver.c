// SPDX-License-Identifier: Apache-2.0
#include "phone-home/resolver.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum { TRIES = 2, MDNS_PORT = 5353, MDNS_INTERFACES_MAX = 32, STOP_LOOK_MS = 200, SETTLE_MS = 400 };

/* ---- configuration ---- */

void resolver_add_domain(struct resolver *r, const char *domain) {
    size_t n = strlen(domain);
    while (n > 0 && domain[n - 1] == '.') {
        n--;
    }
    if (n == 0 || n > SZTP_NAME_MAX || r->n_domains == RESOLVER_DOMAINS_MAX) {
        return;
    }
    for (size_t i = 0; i < r->n_domains; i++) {
        if (strncasecmp(r->domains[i], domain, n) == 0 && r->domains[i][n] == '\0') {
            return;
        }
    }
    memcpy(r->domains[r->n_domains], domain, n);
    r->domains[r->n_domains++][n] = '\0';
}

static void add_words(struct resolver *r, char *words) {
    char *save = NULL;
    for (char *w = strtok_r(words, " \t\r", &save); w != NULL; w = strtok_r(NULL, " \t\r", &save)) {
        resolver_add_domain(r, w);
    }
}

void resolver_add_conf(struct resolver *r, const void *text, size_t n) {
    char *copy = mem_strndup(text, n), *save = NULL;
    for (char *line = strtok_r(copy, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        line += strspn(line, " \t");
        size_t key = strcspn(line, " \t");
        char *value = line + key + strspn(line + key, " \t");
        value[strcspn(value, "#;\r")] = '\0';
        if (strncmp(line, "nameserver", 10) == 0 && key == 10) {
            struct ip_addr a;
            value[strcspn(value, " \t")] = '\0';
            if (ip_addr_parse(value, &a, NULL) == ERR_OK && r->n_servers < RESOLVER_SERVERS_MAX) {
                r->servers[r->n_servers++] = a;
            }
        } else if ((key == 6 && strncmp(line, "search", 6) == 0) ||
                   (key == 6 && strncmp(line, "domain", 6) == 0)) {
            add_words(r, value);
        }
    }
    mem_free(copy);
}

/* ---- waiting ---- */

static int64_t now_ms(void) {
    return clock_mono(&clock_real) / NS_PER_MS;
}

/* Until one of the descriptors is ready: true; false: the time has come, or we are to stop. */
static bool wait_for(struct pollfd *fds, size_t n, int64_t until_ms, const atomic_bool *stop) {
    for (;;) {
        int64_t left = until_ms - now_ms();
        if (atomic_load(stop) || left <= 0) {
            return false;
        }
        int got = poll(fds, n, (int)(left < STOP_LOOK_MS ? left : STOP_LOOK_MS));
        if (got > 0) {
            return true;
        }
        if (got < 0 && errno != EINTR) {
            return false;
        }
    }
}

static bool wait_fd(int fd, short events, int64_t until_ms, const atomic_bool *stop) {
    struct pollfd p = {.fd = fd, .events = events};
    return wait_for(&p, 1, until_ms, stop);
}

/* ---- unicast ---- */

struct asking {
    const struct resolver *r;
    const char *name;
    enum dns_type type;
    uint16_t id;
    struct buf query;
    struct rng *rng;
    const atomic_bool *stop;
};

static socklen_t sock_address(const struct ip_addr *a, uint16_t port, struct sockaddr_storage *ss) {
    memset(ss, 0, sizeof *ss);
    if (a->family == 4) {
        struct sockaddr_in *s = (struct sockaddr_in *)ss;
        s->sin_family = AF_INET;
        s->sin_port = htons(port);
        memcpy(&s->sin_addr, a->bytes, 4);
        return sizeof *s;
    }
    struct sockaddr_in6 *s = (struct sockaddr_in6 *)ss;
    s->sin6_family = AF_INET6;
    s->sin6_port = htons(port);
    memcpy(&s->sin6_addr, a->bytes, 16);
    return sizeof *s;
}

static int connected(const struct ip_addr *a, uint16_t port, int kind) {
    struct sockaddr_storage ss;
    socklen_t n = sock_address(a, port, &ss);
    int fd = socket(ss.ss_family, kind | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&ss, n) != 0 && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool move(int fd, void *p, size_t n, bool out, int64_t until_ms, const atomic_bool *stop) {
    for (size_t at = 0; at < n;) {
        if (!wait_fd(fd, out ? POLLOUT : POLLIN, until_ms, stop)) {
            return false;
        }
        ssize_t got = out ? send(fd, (char *)p + at, n - at, MSG_NOSIGNAL)
                          : recv(fd, (char *)p + at, n - at, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
            return false;
        }
        at += got > 0 ? (size_t)got : 0;
    }
    return true;
}

static enum err_code ask_tcp(const struct asking *a, const struct ip_addr *server,
                             struct dns_answer *out, struct err *e) {
    int64_t until = now_ms() + a->r->unicast_ms;
    uint8_t head[2];
    struct buf b = BUF_INIT;
    int fd = connected(server, a->r->port, SOCK_STREAM);
    enum err_code rc = err_set(e, ERR_UNAVAILABLE, NULL, "the name server does not answer by TCP");
    buf_u16(&b, (uint16_t)a->query.len);
    buf_add(&b, a->query.data, a->query.len);
    if (fd >= 0 && move(fd, b.data, b.len, true, until, a->stop) &&
        move(fd, head, 2, false, until, a->stop)) {
        size_t n = (size_t)head[0] << 8 | head[1];
        buf_clear(&b);
        if (move(fd, buf_extend(&b, n), n, false, until, a->stop)) {
            rc = dns_answer_parse(b.data, n, a->name, a->type, false, a->id, a->rng, out, e);
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    buf_free(&b);
    return rc;
}

static enum err_code ask_udp(const struct asking *a, const struct ip_addr *server,
                             struct dns_answer *out, struct err *e) {
    int64_t until = now_ms() + a->r->unicast_ms;
    int fd = connected(server, a->r->port, SOCK_DGRAM);
    uint8_t *in = mem_alloc(DNS_MESSAGE_MAX);
    enum err_code rc = err_set(e, ERR_UNAVAILABLE, NULL, "the name server does not answer");
    if (fd >= 0 && send(fd, a->query.data, a->query.len, MSG_NOSIGNAL) == (ssize_t)a->query.len) {
        while (wait_fd(fd, POLLIN, until, a->stop)) {
            ssize_t n = recv(fd, in, DNS_MESSAGE_MAX, 0);
            if (n < 0 && errno != EAGAIN && errno != EINTR) {
                break; /* nobody listens there */
            }
            if (n < 0) {
                continue;
            }
            enum err_code got =
                dns_answer_parse(in, (size_t)n, a->name, a->type, false, a->id, a->rng, out, e);
            if (got != ERR_MALFORMED) { /* others are waited over: they may be forged */
                rc = got;
                break;
            }
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    mem_free(in);
    return rc;
}

static enum err_code ask_unicast(struct asking *a, struct dns_answer *out, struct err *e) {
    enum err_code rc = err_set(e, ERR_UNAVAILABLE, NULL, "there is no name server");
    for (int i = 0; i < TRIES; i++) {
        for (size_t s = 0; s < a->r->n_servers && !atomic_load(a->stop); s++) {
            rng_secure(&a->id, sizeof a->id);
            buf_clear(&a->query);
            ERR_TRY(dns_query_print(a->name, a->type, false, a->id, &a->query, e));
            rc = ask_udp(a, &a->r->servers[s], out, e);
            if (rc == ERR_OK && out->truncated) {
                rc = ask_tcp(a, &a->r->servers[s], out, e);
            }
            if (rc == ERR_OK || rc == ERR_ABSENT) {
                return rc;
            }
        }
    }
    return rc;
}

/* ---- multicast ---- */

struct group {
    struct pollfd fds[2 * MDNS_INTERFACES_MAX];
    struct sockaddr_storage to[2 * MDNS_INTERFACES_MAX];
    socklen_t to_len[2 * MDNS_INTERFACES_MAX];
    size_t n;
};

/* The group of one family on an interface, as a full member of it (RFC 6762 section 5.2):
 * responders answer those who ask from another port in 512 bytes, which hold no artifact. */
static int join4(unsigned index, const struct in_addr *own, struct sockaddr_in *group) {
    static const int on = 1, off = 0, ttl = 255;
    struct ip_mreqn m = {.imr_address = *own, .imr_ifindex = (int)index};
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(MDNS_PORT)};
    *group = any;
    group->sin_addr.s_addr = htonl(0xe00000fb); /* 224.0.0.251 */
    m.imr_multiaddr = group->sin_addr;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&any, sizeof any) == 0) { /* else one-shot queries */
        setsockopt(fd, IPPROTO_IP, IP_MULTICAST_ALL, &off, sizeof off);
        setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m);
    }
    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_TTL, &ttl, sizeof ttl);
    if (fd >= 0 && setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof m) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int join6(unsigned index, struct sockaddr_in6 *group) {
    static const int on = 1, off = 0, hops = 255;
    static const uint8_t address[16] = {0xff, 0x02, [15] = 0xfb};
    struct ipv6_mreq m = {.ipv6mr_interface = index};
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(MDNS_PORT)};
    *group = any;
    memcpy(&group->sin6_addr, address, sizeof address);
    group->sin6_scope_id = index;
    m.ipv6mr_multiaddr = group->sin6_addr;
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&any, sizeof any) == 0) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, &off, sizeof off);
        setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof m);
    }
    setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof hops);
    if (fd >= 0 && setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof index) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void join(struct group *g, int family, unsigned index, const struct in_addr *own) {
    if (g->n == 2 * MDNS_INTERFACES_MAX) {
        return;
    }
    bool v4 = family == AF_INET;
    int fd = v4 ? join4(index, own, (struct sockaddr_in *)&g->to[g->n])
                : join6(index, (struct sockaddr_in6 *)&g->to[g->n]);
    if (fd >= 0) {
        g->to_len[g->n] = v4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
        g->fds[g->n++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
}

/* A socket for each interface and family that has an address. */
static void join_all(struct group *g) {
    struct ifaddrs *list = NULL;
    char seen[2 * MDNS_INTERFACES_MAX][IFNAMSIZ + 2];
    size_t n = 0;
    if (getifaddrs(&list) != 0) {
        return;
    }
    for (const struct ifaddrs *i = list; i != NULL; i = i->ifa_next) {
        int family = i->ifa_addr != NULL ? i->ifa_addr->sa_family : AF_UNSPEC;
        char key[IFNAMSIZ + 2];
        bool again = false;
        if ((family != AF_INET && family != AF_INET6) || (i->ifa_flags & IFF_UP) == 0 ||
            (i->ifa_flags & IFF_MULTICAST) == 0 || n == 2 * MDNS_INTERFACES_MAX) {
            continue;
        }
        snprintf(key, sizeof key, "%c%s", family == AF_INET ? '4' : '6', i->ifa_name);
        for (size_t j = 0; j < n; j++) {
            again |= strcmp(seen[j], key) == 0;
        }
        if (!again) {
            memcpy(seen[n++], key, sizeof key);
            join(g, family, if_nametoindex(i->ifa_name),
                 &((const struct sockaddr_in *)i->ifa_addr)->sin_addr);
        }
    }
    freeifaddrs(list);
}

/* Adds what one more answer says: other servers, or addresses. */
static void merge(struct dns_answer *to, struct dns_answer *from) {
    for (size_t i = 0; i < from->n_servers; i++) {
        bool again = false;
        for (size_t j = 0; j < to->n_servers; j++) {
            again |= strcasecmp(to->servers[j].address, from->servers[i].address) == 0 &&
                     to->servers[j].port == from->servers[i].port;
        }
        if (!again && to->n_servers < SZTP_SERVERS_MAX) {
            to->servers = mem_array(to->servers, to->n_servers + 1, sizeof *to->servers);
            to->servers[to->n_servers++] = from->servers[i];
        }
    }
    dns_answer_free(from);
}

/* Reads what has come; true: at least one answer to what was asked. */
static bool receive(struct group *g, const struct asking *a, struct dns_answer *out) {
    bool some = false;
    uint8_t *in = mem_alloc(MDNS_MESSAGE_MAX + 1);
    for (size_t i = 0; i < g->n; i++) {
        struct sockaddr_storage from;
        socklen_t len = sizeof from;
        ssize_t n =
            recvfrom(g->fds[i].fd, in, MDNS_MESSAGE_MAX + 1, 0, (struct sockaddr *)&from, &len);
        uint16_t port = from.ss_family == AF_INET ? ((struct sockaddr_in *)&from)->sin_port
                                                  : ((struct sockaddr_in6 *)&from)->sin6_port;
        struct dns_answer one;
        if (n <= 0 || n > MDNS_MESSAGE_MAX || ntohs(port) != MDNS_PORT ||
            dns_answer_parse(in, (size_t)n, a->name, a->type, true, 0, a->rng, &one, NULL) !=
                ERR_OK) {
            continue;
        }
        some = true;
        if (!out->found) {
            *out = one;
        } else {
            merge(out, &one);
        }
    }
    mem_free(in);
    return some;
}

/* Queries, repeated after 1 and 3 seconds (RFC 6762 section 5.2). */
static enum err_code ask_multicast(struct asking *a, struct dns_answer *out, struct err *e) {
    struct group *g = MEM_NEW(struct group);
    int64_t start = now_ms(), end = start + a->r->multicast_ms, next = start, gap = 1000;
    enum err_code rc = dns_query_print(a->name, a->type, true, 0, &a->query, e);
    memset(out, 0, sizeof *out);
    if (rc == ERR_OK) {
        join_all(g);
    }
    while (rc == ERR_OK && g->n > 0 && now_ms() < end && !atomic_load(a->stop)) {
        if (now_ms() >= next) {
            for (size_t i = 0; i < g->n; i++) {
                sendto(g->fds[i].fd, a->query.data, a->query.len, MSG_NOSIGNAL,
                       (struct sockaddr *)&g->to[i], g->to_len[i]);
            }
            next += gap;
            gap *= 2;
        }
        if (wait_for(g->fds, g->n, next < end ? next : end, a->stop) && receive(g, a, out)) {
            int64_t soon = now_ms() + SETTLE_MS; /* others may answer as well */
            end = soon < end ? soon : end;
            next = end;
        }
    }
    for (size_t i = 0; i < g->n; i++) {
        close(g->fds[i].fd);
    }
    mem_free(g);
    if (rc != ERR_OK || out->found) {
        return rc;
    }
    return err_set(e, ERR_ABSENT, NULL, "nobody answers to multicast DNS");
}

enum err_code resolver_ask(const struct resolver *r, const char *name, enum dns_type type,
                           bool multicast, const atomic_bool *stop, struct dns_answer *out,
                           struct err *e) {
    struct rng rng;
    uint64_t seed;
    rng_secure(&seed, sizeof seed);
    rng_seed(&rng, seed);
    struct asking a = {.r = r, .name = name, .type = type, .rng = &rng, .stop = stop};
    memset(out, 0, sizeof *out);
    enum err_code rc = multicast ? ask_multicast(&a, out, e) : ask_unicast(&a, out, e);
    buf_free(&a.query);
    return rc;
}
