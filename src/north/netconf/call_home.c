// SPDX-License-Identifier: Apache-2.0
/*
 * Call home (RFC 8071): connections that we make to clients that listen, and then serve as if they
 * had come. Each configured client has one connection or waits for the next attempt. A connection
 * on which somebody has logged in ends the waiting's growth.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/logger.h"
#include "model/kinds.h"
#include "net/listen.h"
#include "north/netconf/internal.h"

LOGGER_MODULE(netconf_call_home)

enum { CONNECT_MS = 30000, FIRST_WAIT_MS = 1000, PORT_SSH = 4334, PORT_TLS = 4335 };

struct nc_home {
    struct list link;
    struct netconf *n;
    struct doc *doc;          /* its configuration */
    bool seen;                /* while what is configured is compared with what there is */
    bool removed;             /* freed when its connection is over */
    bool told;                /* that it can't be reached, once for each time it was lost */
    int64_t wait_ms;          /* before the next attempt */
    struct loop_timer *timer; /* of the attempt, or until the next */
    int fd;                   /* being connected; -1: none */
    struct loop_watch *watch;
    void *conn; /* NULL: none */
    void (*end)(void *conn);
};

static const struct system_netconf_call_home *config_of(const struct nc_home *h) {
    return h->doc->data;
}

static uint16_t port_of(const struct nc_home *h) {
    const struct system_netconf_call_home *c = config_of(h);
    return c->has_port                                              ? c->port
           : c->transport == SYSTEM_NETCONF_CALL_HOME_TRANSPORT_TLS ? PORT_TLS
                                                                    : PORT_SSH;
}

static void home_free(struct nc_home *h) {
    loop_watch_free(h->watch);
    if (h->fd >= 0) {
        close(h->fd);
    }
    loop_timer_free(h->timer);
    list_remove(&h->link);
    doc_drop(h->doc);
    mem_free(h);
}

/* ---- attempts ---------------------------------------------------------------------------------
 */

static void wait_then_call(struct nc_home *h) {
    int64_t most = (int64_t)config_of(h)->max_wait * 1000;
    loop_timer_start(h->timer, h->wait_ms);
    h->wait_ms = h->wait_ms * 2 < most ? h->wait_ms * 2 : most;
}

static void failed(struct nc_home *h, const char *why) {
    char text[IP_TEXT_MAX];
    ip_addr_format(&config_of(h)->address, text);
    if (!h->told) {
        h->told = true;
        L_WARN("%s (%s port %u) can't be reached: %s; tried again until it can", config_of(h)->name,
               text, port_of(h), why);
    } else {
        L_DBG("%s can't be reached: %s", config_of(h)->name, why);
    }
    wait_then_call(h);
}

/* Its side of the connection: refused at once, or nc_home_over says when it is over. */
static void hand_over(struct nc_home *h) {
    struct netconf *n = h->n;
    int fd = h->fd;
    h->fd = -1;
    n->calling = h;
    if (config_of(h)->transport == SYSTEM_NETCONF_CALL_HOME_TRANSPORT_TLS) {
        nc_serve_tls(n, fd, n->cfg.tls);
    } else {
        nc_serve_ssh(n, fd);
    }
    n->calling = NULL;
    if (h->conn == NULL) {
        failed(h, "there are too many connections");
    }
}

static void give_up(struct nc_home *h, const char *why) {
    loop_watch_free(h->watch);
    h->watch = NULL;
    close(h->fd);
    h->fd = -1;
    failed(h, why);
}

static void on_connected(int fd, unsigned events, void *arg) {
    struct nc_home *h = arg;
    int why = 0;
    socklen_t len = sizeof why;
    (void)events;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len) != 0) {
        why = errno;
    }
    loop_timer_stop(h->timer);
    if (why != 0) {
        give_up(h, strerror(why));
        return;
    }
    loop_watch_free(h->watch);
    h->watch = NULL;
    hand_over(h);
}

static void call(struct nc_home *h) {
    const struct system_netconf_call_home *c = config_of(h);
    struct err e;
    if (connect_tcp(&c->address, port_of(h), c->keepalive, &h->fd, &e) != ERR_OK) {
        failed(h, e.text);
        return;
    }
    h->watch = loop_watch_new(h->n->cfg.loop, h->fd, LOOP_WRITE, on_connected, h);
    loop_timer_start(h->timer, CONNECT_MS);
}

static void on_timer(void *arg) {
    struct nc_home *h = arg;
    if (h->fd >= 0) {
        give_up(h, "no answer");
    } else {
        call(h);
    }
}

/* ---- connections ------------------------------------------------------------------------------
 */

void nc_home_linked(struct nc_home *h, void *conn, void (*end)(void *conn)) {
    h->conn = conn;
    h->end = end;
}

void nc_home_served(struct nc_home *h) {
    L_INFO("%s was called and has logged in", config_of(h)->name);
    h->told = false;
    h->wait_ms = FIRST_WAIT_MS;
}

void nc_home_over(struct nc_home *h) {
    h->conn = NULL;
    if (h->removed || h->n->closing) {
        home_free(h);
    } else {
        wait_then_call(h);
    }
}

/* ---- configuration ----------------------------------------------------------------------------
 */

static void drop(struct nc_home *h) {
    if (h->conn == NULL) {
        home_free(h);
    } else if (!h->removed) {
        h->removed = true;
        h->end(h->conn);
    }
}

static struct nc_home *find(struct netconf *n, const struct doc *d) {
    LIST_FOREACH (pos, &n->homes) {
        struct nc_home *h = CONTAINER_OF(pos, struct nc_home, link);
        if (!h->removed && doc_equal(h->doc, d)) {
            return h;
        }
    }
    return NULL;
}

static void add(struct netconf *n, struct doc *d) {
    struct nc_home *h = MEM_NEW(struct nc_home);
    h->n = n;
    h->doc = doc_hold(d);
    h->seen = true;
    h->fd = -1;
    h->wait_ms = FIRST_WAIT_MS;
    h->timer = loop_timer_new(n->cfg.loop, on_timer, h);
    list_append(&n->homes, &h->link);
    call(h);
}

/* What is configured otherwise now is hung up and called anew. */
void nc_homes_tick(struct netconf *n) {
    struct snap *s = core_snapshot(n->cfg.core);
    struct core_turn turn; /* of several controllers one calls: the one that takes changes */
    core_turn(n->cfg.core, &turn);
    LIST_FOREACH (pos, &n->homes) {
        CONTAINER_OF(pos, struct nc_home, link)->seen = false;
    }
    for (const struct object *o = snap_first_of(s, &system_netconf_call_home_kind);
         turn.role == CORE_LEADS && o != NULL && o->doc->kind == &system_netconf_call_home_kind;
         o = snap_next(s, o)) {
        struct nc_home *h = find(n, o->doc);
        if (h != NULL) {
            h->seen = true;
        } else {
            add(n, o->doc);
        }
    }
    LIST_FOREACH_SAFE (pos, &n->homes) {
        struct nc_home *h = CONTAINER_OF(pos, struct nc_home, link);
        if (!h->seen) {
            drop(h);
        }
    }
    snap_release(s);
}

void nc_homes_end(struct netconf *n) {
    LIST_FOREACH_SAFE (pos, &n->homes) {
        drop(CONTAINER_OF(pos, struct nc_home, link));
    }
}
