// SPDX-License-Identifier: Apache-2.0
#include "bng/gateway.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

#ifndef IFA_PROTO
#define IFA_PROTO 11 /* Linux 5.18 */
#endif

/* An address (len 32, gateway unset) or a route. */
struct item {
    bool route, have;
    bool foreign; /* an address the operator gave the interface */
    unsigned ifindex;
    struct ip_prefix prefix;
    struct ip_addr source; /* of a route: preferred source; family 0: none */
};

struct items {
    struct item *v;
    size_t n, cap;
};

static void push(struct items *x, struct item i) {
    if (x->n == x->cap) {
        x->cap = x->cap ? x->cap * 2 : 64;
        x->v = mem_array(x->v, x->cap, sizeof *x->v);
    }
    x->v[x->n++] = i;
}

static int order(const void *a, const void *b) {
    const struct item *p = a, *q = b;
    if (p->route != q->route) {
        return p->route ? 1 : -1;
    }
    if (p->ifindex != q->ifindex) {
        return p->ifindex < q->ifindex ? -1 : 1;
    }
    return ip_prefix_cmp(&p->prefix, &q->prefix);
}

static void want(struct items *x, const struct bng_engine *e, struct err *err, enum err_code *rc) {
    for (size_t i = 0; i < bng_engine_domains(e); i++) {
        const struct bng_domain *d = bng_engine_domain(e, i);
        const struct bng_profile *f = d->profile;
        unsigned index = if_nametoindex(f->interface);
        if (index == 0) {
            *rc = err_set(err, ERR_ABSENT, f->interface, "there is no such interface");
            continue;
        }
        if (f->server_address.family == 4) {
            push(x, (struct item){.ifindex = index, .prefix = {f->server_address, 32}});
        }
        for (size_t j = 0; j < d->n_pools; j++) {
            const struct bng_pool *p = d->pools[j];
            struct item r = {.route = true, .ifindex = index};
            /* Delegated prefixes lie behind the subscribers' routers, not on the interface. */
            if (!bng_pool_wants_route(p) || f->delegated_length != 0 ||
                p->prefix.len + 2U > ip_bits(f->family)) {
                continue;
            }
            if (bng_profile_gateway(f, &p->prefix, &r.source)) {
                push(x, (struct item){.ifindex = index, .prefix = {r.source, 32}});
            } else {
                r.source = f->server_address;
            }
            r.prefix = p->prefix;
            r.prefix.len++;
            push(x, r);
            ip_set_bit(&r.prefix.addr, p->prefix.len, true);
            push(x, r);
        }
    }
}

/* ---------------------------------------------------------------- rtnetlink */

struct request {
    struct nlmsghdr h;
    union {
        struct rtmsg r;
        struct ifaddrmsg a;
    } u;
    char attrs[128];
};

static void attr(struct request *q, unsigned short type, const void *p, size_t n) {
    struct rtattr *a = (struct rtattr *)(void *)((char *)q + NLMSG_ALIGN(q->h.nlmsg_len));
    a->rta_type = type;
    a->rta_len = (unsigned short)RTA_LENGTH(n);
    memcpy(RTA_DATA(a), p, n);
    q->h.nlmsg_len = (uint32_t)(NLMSG_ALIGN(q->h.nlmsg_len) + RTA_ALIGN(a->rta_len));
}

/* One request, its acknowledgement. Returns 0 or an errno value. */
static int talk(int fd, struct request *q) {
    char buf[8192];
    if (send(fd, q, q->h.nlmsg_len, 0) < 0) {
        return errno;
    }
    ssize_t n = recv(fd, buf, sizeof buf, 0);
    const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)buf;
    if (n < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)) || h->nlmsg_type != NLMSG_ERROR) {
        return n < 0 ? errno : EPROTO;
    }
    return -((const struct nlmsgerr *)NLMSG_DATA(h))->error;
}

static int change(int fd, const struct item *i, bool add) {
    struct request q = {0};
    uint8_t proto = GATEWAY_PROTO;
    uint32_t index = i->ifindex;
    q.h.nlmsg_flags =
        (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_REPLACE : 0));
    if (i->route) {
        q.h.nlmsg_type = add ? RTM_NEWROUTE : RTM_DELROUTE;
        q.h.nlmsg_len = NLMSG_LENGTH(sizeof q.u.r);
        bool six = i->prefix.addr.family == 6;
        q.u.r = (struct rtmsg){.rtm_family = six ? AF_INET6 : AF_INET,
                               .rtm_dst_len = i->prefix.len,
                               .rtm_table = RT_TABLE_MAIN,
                               .rtm_protocol = GATEWAY_PROTO,
                               .rtm_scope = six ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
                               .rtm_type = RTN_UNICAST};
        attr(&q, RTA_DST, i->prefix.addr.bytes, six ? 16 : 4);
        attr(&q, RTA_OIF, &index, sizeof index);
        if (add && i->source.family == 4) {
            attr(&q, RTA_PREFSRC, i->source.bytes, 4);
        }
    } else {
        q.h.nlmsg_type = add ? RTM_NEWADDR : RTM_DELADDR;
        q.h.nlmsg_len = NLMSG_LENGTH(sizeof q.u.a);
        q.u.a = (struct ifaddrmsg){
            .ifa_family = AF_INET, .ifa_prefixlen = i->prefix.len, .ifa_index = index};
        attr(&q, IFA_LOCAL, i->prefix.addr.bytes, 4);
        attr(&q, IFA_ADDRESS, i->prefix.addr.bytes, 4);
        if (add) {
            attr(&q, IFA_PROTO, &proto, 1);
        }
    }
    return talk(fd, &q);
}

static void take_route(const struct nlmsghdr *h, struct items *x) {
    const struct rtmsg *r = NLMSG_DATA(h);
    bool six = r->rtm_family == AF_INET6;
    size_t bytes = six ? 16 : 4;
    struct item i = {.route = true,
                     .prefix = {.addr = {.family = six ? 6 : 4}, .len = r->rtm_dst_len}};
    int left = (int)RTM_PAYLOAD(h);
    if (r->rtm_protocol != GATEWAY_PROTO || (!six && r->rtm_family != AF_INET) ||
        r->rtm_table != RT_TABLE_MAIN) {
        return;
    }
    for (const struct rtattr *a = RTM_RTA(r); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        if (a->rta_type == RTA_DST && RTA_PAYLOAD(a) == bytes) {
            memcpy(i.prefix.addr.bytes, RTA_DATA(a), bytes);
        } else if (a->rta_type == RTA_OIF && RTA_PAYLOAD(a) == 4) {
            memcpy(&i.ifindex, RTA_DATA(a), 4);
        }
    }
    push(x, i);
}

static void take_addr(const struct nlmsghdr *h, struct items *x) {
    const struct ifaddrmsg *r = NLMSG_DATA(h);
    struct item i = {.ifindex = r->ifa_index,
                     .prefix = {.addr = {.family = 4}, .len = r->ifa_prefixlen}};
    bool ours = false;
    int left = (int)IFA_PAYLOAD(h);
    for (const struct rtattr *a = IFA_RTA(r); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        if (a->rta_type == IFA_LOCAL && RTA_PAYLOAD(a) == 4) {
            memcpy(i.prefix.addr.bytes, RTA_DATA(a), 4);
        } else if (a->rta_type == IFA_PROTO && RTA_PAYLOAD(a) == 1) {
            ours = *(const uint8_t *)RTA_DATA(a) == GATEWAY_PROTO;
        }
    }
    i.foreign = !ours;
    if (i.foreign) {
        i.prefix.len = 32; /* to be found by the address alone */
    }
    push(x, i);
}

static int dump(int fd, bool routes, unsigned char family, struct items *x) {
    struct request q = {0};
    char buf[32768];
    q.h.nlmsg_type = routes ? RTM_GETROUTE : RTM_GETADDR;
    q.h.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    q.h.nlmsg_len = NLMSG_LENGTH(routes ? sizeof q.u.r : sizeof q.u.a);
    q.u.r.rtm_family = family; /* the family comes first in both */
    if (send(fd, &q, q.h.nlmsg_len, 0) < 0) {
        return errno;
    }
    for (;;) {
        ssize_t n = recv(fd, buf, sizeof buf, 0);
        if (n < 0) {
            return errno;
        }
        for (const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)buf;
             NLMSG_OK(h, (size_t)n); h = NLMSG_NEXT(h, n)) {
            if (h->nlmsg_type == NLMSG_DONE) {
                return 0;
            }
            if (h->nlmsg_type == NLMSG_ERROR) {
                return -((const struct nlmsgerr *)NLMSG_DATA(h))->error;
            }
            if (h->nlmsg_type == RTM_NEWROUTE) {
                take_route(h, x);
            } else if (h->nlmsg_type == RTM_NEWADDR) {
                take_addr(h, x);
            }
        }
    }
}

static enum err_code one(int fd, const struct item *i, bool add, struct err *err) {
    int rc = change(fd, i, add);
    char text[IP_TEXT_MAX], dev[IF_NAMESIZE] = "?";
    /* Gone already, with its interface for instance: that is what was wanted. */
    if (rc == 0 || (!add && (rc == ESRCH || rc == EADDRNOTAVAIL || rc == ENODEV))) {
        return ERR_OK;
    }
    if_indextoname(i->ifindex, dev);
    return err_errno(err, rc, dev, "%s %s can't be %s", i->route ? "the route to" : "the address",
                     ip_prefix_format(&i->prefix, text), add ? "set" : "removed");
}

enum err_code gateway_sync(const struct bng_engine *e, unsigned *changes, struct err *err) {
    struct items need = {0}, have = {0};
    enum err_code rc = ERR_OK;
    unsigned done = 0;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    struct timeval limit = {.tv_sec = 2};
    if (fd < 0) {
        return err_errno(err, errno, "netlink", "no socket");
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    int failed = dump(fd, false, AF_INET, &have);
    failed = failed != 0 ? failed : dump(fd, true, AF_INET, &have);
    failed = failed != 0 ? failed : dump(fd, true, AF_INET6, &have);
    if (failed != 0) {
        rc = err_errno(err, failed, "netlink", "the kernel's table can't be read");
        goto out;
    }
    want(&need, e, err, &rc);
    if (need.n > 0) { /* qsort of nothing is undefined */
        qsort(need.v, need.n, sizeof *need.v, order);
    }
    for (size_t i = 0; i < have.n; i++) {
        struct item *found =
            need.n > 0 ? bsearch(&have.v[i], need.v, need.n, sizeof *need.v, order) : NULL;
        if (found == NULL && have.v[i].foreign) {
            continue;
        }
        if (found != NULL) {
            /* Two domains on one interface share its server address: all of them are had. */
            for (struct item *f = need.v; f < need.v + need.n; f++) {
                f->have |= order(f, &have.v[i]) == 0;
            }
            continue;
        }
        struct err e2;
        if (one(fd, &have.v[i], false, &e2) != ERR_OK && rc == ERR_OK) {
            rc = err_set(err, e2.code, e2.path, "%s", e2.text);
        }
        done++;
    }
    for (size_t i = 0; i < need.n; i++) { /* addresses sort before the routes that name them */
        struct err e2;
        if (need.v[i].have) {
            continue;
        }
        if (one(fd, &need.v[i], true, &e2) != ERR_OK && rc == ERR_OK) {
            rc = err_set(err, e2.code, e2.path, "%s", e2.text);
        }
        done++;
    }
out:
    close(fd);
    mem_free(need.v);
    mem_free(have.v);
    if (changes != NULL) {
        *changes = done;
    }
    return rc;
}
