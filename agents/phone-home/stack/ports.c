// SPDX-License-Identifier: Apache-2.0
#include "phone-home/stack/ports.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/mem.h"

LOGGER_MODULE(stack)

enum { RETRY_MS = 1000, AT_ONCE = 64 /* frames of a port before the others have their turn */ };

static const uint8_t group[6] = {0x03, 0x57, 0x65, 0x66, 0x74, 0x01}; /* locally administered */

struct port {
    struct ports *all;
    unsigned number;
    const char *name;
    int fd, index;
    struct loop_watch *watch;
    bool told; /* that it is missing */
};

struct ports {
    struct loop *loop;
    struct loop_timer *retry;
    stack_port names[STACK_LINKS_MAX];
    struct port ports[STACK_LINKS_MAX];
    unsigned n;
    ports_fn *fn;
    void *arg;
};

static void close_port(struct port *p) {
    if (p->fd >= 0) {
        loop_watch_free(p->watch);
        p->watch = NULL;
        close(p->fd);
        p->fd = -1;
    }
}

static void lost(struct port *p, int why) {
    if (!p->told) {
        L_WARN("port %s: %s; it is looked for again", p->name, strerror(why));
        p->told = true;
    }
    close_port(p);
}

static void on_frame(int fd, unsigned events, void *arg) {
    struct port *p = arg;
    uint8_t frame[STACK_FRAME_MAX + 1];
    for (int i = 0; i < AT_ONCE && p->fd >= 0; i++) {
        struct sockaddr_ll from;
        socklen_t len = sizeof from;
        ssize_t n =
            recvfrom(p->fd, frame, sizeof frame, MSG_DONTWAIT, (struct sockaddr *)&from, &len);
        if (n < 0) {
            if (errno == ENETDOWN) {
                return; /* told once by the kernel; what is sent shows when it is up again */
            }
            if (errno != EAGAIN && errno != EINTR) {
                lost(p, errno);
            }
            return;
        }
        if (from.sll_pkttype != PACKET_OUTGOING && n <= STACK_FRAME_MAX) {
            p->all->fn(p->all->arg, p->number, frame, (size_t)n);
        }
    }
}

static void open_port(struct port *p) {
    unsigned index = if_nametoindex(p->name);
    if (index == 0) {
        lost(p, ENODEV);
        return;
    }
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_ll at = {
        .sll_family = AF_PACKET, .sll_protocol = htons(PORTS_ETHERTYPE), .sll_ifindex = (int)index};
    struct packet_mreq group_of = {
        .mr_ifindex = (int)index, .mr_type = PACKET_MR_MULTICAST, .mr_alen = sizeof group};
    memcpy(group_of.mr_address, group, sizeof group);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &group_of, sizeof group_of) != 0) {
        int why = errno;
        if (fd >= 0) {
            close(fd);
        }
        lost(p, why);
        return;
    }
    p->fd = fd;
    p->index = (int)index;
    p->told = false;
    p->watch = loop_watch_new(p->all->loop, fd, LOOP_READ, on_frame, p);
}

static void retry(void *arg) {
    struct ports *all = arg;
    for (unsigned i = 0; i < all->n; i++) {
        struct port *p = &all->ports[i];
        if (p->fd >= 0 && (int)if_nametoindex(p->name) != p->index) {
            lost(p, ENODEV); /* gone, or another one has its name */
        }
        if (p->fd < 0) {
            open_port(p);
        }
    }
}

void ports_send(struct ports *all, unsigned port, const void *frame, size_t n) {
    struct port *p = &all->ports[port];
    struct sockaddr_ll to = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(PORTS_ETHERTYPE),
                             .sll_ifindex = p->index,
                             .sll_halen = sizeof group};
    memcpy(to.sll_addr, group, sizeof group);
    if (p->fd >= 0 &&
        sendto(p->fd, frame, n, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to) < 0 &&
        (errno == ENXIO || errno == ENODEV)) {
        lost(p, errno);
    }
}

struct ports *ports_new(struct loop *l, const stack_port *names, unsigned n, ports_fn *fn,
                        void *arg) {
    struct ports *all = MEM_NEW(struct ports);
    all->loop = l;
    all->n = n;
    all->fn = fn;
    all->arg = arg;
    for (unsigned i = 0; i < n; i++) {
        memcpy(all->names[i], names[i], sizeof all->names[i]);
        all->ports[i] = (struct port){.all = all, .number = i, .name = all->names[i], .fd = -1};
        open_port(&all->ports[i]);
    }
    all->retry = loop_timer_new(l, retry, all);
    loop_timer_repeat(all->retry, RETRY_MS);
    return all;
}

void ports_free(struct ports *all) {
    if (all == NULL) {
        return;
    }
    for (unsigned i = 0; i < all->n; i++) {
        close_port(&all->ports[i]);
    }
    loop_timer_free(all->retry);
    mem_free(all);
}
