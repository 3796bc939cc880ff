// SPDX-License-Identifier: Apache-2.0
/*
 * Where a client's session is: here, or at the leader that this node follows (docs/cluster.md).
 *
 *     client --SSH, TLS--> front --> session                              this node leads, or
 * nobody
 *                            |
 *                            +--> leg --HTTP/2--> request --> session     at the leader
 *
 * Logins and rights to log in are this node's; from then on bytes go through as they are, so what
 * is passed on is the whole session: its candidate, locks and notifications are the leader's. When
 * the leader can't be reached before the session has begun it is held here, for those who read.
 * When it is lost later the session ends: nobody else has its locks and what it knew.
 */
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "core/http_auth.h"
#include "north/netconf/internal.h"

LOGGER_MODULE(netconf_front)

#define PASSED_PATH     "/netconf/v1/session"
#define TRANSPORT_FIELD "weft-transport"

struct nc_front {
    struct list link;
    struct netconf *n;
    const struct nc_transport *transport;
    void *conn;
    struct actor who;
    char from[80];
    struct nc_session *session; /* NULL: it is at the leader */
    struct relay_leg *leg;
    bool begun; /* the leader has it */
    size_t owed;
};

static void hold_here(struct nc_front *f) {
    list_remove(&f->link);
    f->session = nc_session_new(f->n, &f->who, f->from, f->transport, f->conn);
}

/* ---- this node's side: a leg ------------------------------------------------------------------
 */

static void give_credit(struct nc_front *f) {
    if (f->leg != NULL && f->owed > 0 && f->transport->queued(f->conn) <= f->transport->high / 2) {
        relay_leg_taken(f->leg, f->owed);
        f->owed = 0;
    }
}

static void leg_head(void *arg, int status, const struct http_field *fs, size_t nf) {
    struct nc_front *f = arg;
    (void)fs;
    (void)nf;
    f->begun = status == 200;
    if (f->begun) {
        f->transport->pause(f->conn, false);
    }
}

static void leg_body(void *arg, const uint8_t *p, size_t n) {
    struct nc_front *f = arg;
    f->owed += n;
    if (f->begun) { /* a refusal's body is not the client's */
        f->transport->write(f->conn, p, n);
    }
    give_credit(f);
}

static void leg_drained(void *arg) {
    struct nc_front *f = arg;
    f->transport->pause(f->conn, false);
}

static void leg_closed(void *arg, enum relay_end end, const char *why) {
    struct nc_front *f = arg;
    f->leg = NULL;
    if (!f->begun && !f->n->closing) {
        L_WARN_RL(10, "the session of %s (%s) is held by this node, which only follows: %s",
                  f->who.user, f->from, end == RELAY_DONE ? "the leader refused it" : why);
        hold_here(f);
        f->transport->pause(f->conn, false);
        return;
    }
    if (end != RELAY_DONE) {
        L_INFO("the session of %s (%s) ends: %s", f->who.user, f->from, why);
    }
    f->transport->end(f->conn);
}

static const struct relay_leg_ops leg_ops = {
    .head = leg_head, .body = leg_body, .drained = leg_drained, .closed = leg_closed};

struct nc_front *nc_front_new(struct netconf *n, const struct actor *who, const char *from,
                              const struct nc_transport *t, void *conn) {
    struct nc_front *f = MEM_NEW(struct nc_front);
    f->n = n;
    f->transport = t;
    f->conn = conn;
    f->who = *who;
    snprintf(f->from, sizeof f->from, "%s", from);
    if (!relay_follows(n->cfg.relay)) {
        hold_here(f);
        return f;
    }
    const struct http_field field = {TRANSPORT_FIELD, t->name};
    struct buf actor = BUF_INIT;
    http_auth_actor_print(who, &actor);
    struct relay_request rq = {.kind = RELAY_SESSION,
                               .method = "POST",
                               .path = PASSED_PATH,
                               .actor_name = HTTP_AUTH_ACTOR,
                               .actor = buf_cstr(&actor),
                               .peer = from,
                               .fields = &field,
                               .n_fields = 1};
    list_append(&n->passed_on, &f->link);
    f->leg = relay_leg_new(n->cfg.relay, &rq, &leg_ops, f);
    buf_free(&actor);
    t->pause(conn, true); /* the leader speaks first, or this node does */
    return f;
}

void nc_front_data(struct nc_front *f, const uint8_t *p, size_t n) {
    if (f->session != NULL) {
        nc_session_data(f->session, p, n);
    } else if (f->leg != NULL && relay_leg_write(f->leg, p, n)) {
        f->transport->pause(f->conn, true);
    }
}

void nc_front_sent(struct nc_front *f) {
    if (f->session != NULL) {
        nc_session_sent(f->session);
    } else {
        give_credit(f);
    }
}

void nc_front_closed(struct nc_front *f) {
    if (f->session != NULL) {
        nc_session_closed(f->session);
    } else {
        list_remove(&f->link);
    }
    if (f->leg != NULL) {
        relay_leg_cancel(f->leg);
    }
    mem_free(f);
}

struct nc_session *nc_front_session(const struct nc_front *f) {
    return f->session;
}

void nc_fronts_end(struct netconf *n) {
    LIST_FOREACH (pos, &n->passed_on) {
        struct nc_front *f = CONTAINER_OF(pos, struct nc_front, link);
        if (f->leg != NULL) {
            relay_leg_cancel(f->leg);
            f->leg = NULL;
            f->transport->end(f->conn);
        }
    }
}

/* ---- the leader's side: a request -------------------------------------------------------------
 */

struct passed {
    struct netconf *n;
    struct http_req *r;
    struct http_auth_ticket *ticket;
    struct nc_session *session;
};

static void http_write_out(void *conn, const void *p, size_t n) {
    struct passed *ps = conn;
    http_write(ps->r, p, n);
}
static size_t http_queued_out(const void *conn) {
    const struct passed *ps = conn;
    return http_queued(ps->r);
}
static void http_pause_in(void *conn, bool pause) {
    struct passed *ps = conn;
    http_req_pause(ps->r, pause);
}
static void http_end_it(void *conn) {
    struct passed *ps = conn;
    http_end(ps->r);
}
/* `drained` comes when more was queued than the server's own mark, and is little again. */
enum { PASSED_HIGH = 256 << 10 };
static const struct nc_transport passed_transports[] = {
    {"netconf-ssh", http_write_out, http_queued_out, http_pause_in, http_end_it, PASSED_HIGH},
    {"netconf-tls", http_write_out, http_queued_out, http_pause_in, http_end_it, PASSED_HIGH}};

static void passed_body(struct http_req *r, const uint8_t *p, size_t n, void *arg) {
    struct passed *ps = arg;
    (void)r;
    if (ps->session != NULL) {
        nc_session_data(ps->session, p, n);
    }
}

static void passed_drained(struct http_req *r, void *arg) {
    struct passed *ps = arg;
    (void)r;
    if (ps->session != NULL) {
        nc_session_sent(ps->session);
    }
}

static void passed_closed(struct http_req *r, bool aborted, void *arg) {
    struct passed *ps = arg;
    (void)r;
    (void)aborted;
    if (ps->ticket != NULL) {
        http_auth_cancel(ps->ticket);
    }
    if (ps->session != NULL) {
        nc_session_closed(ps->session);
    }
    mem_free(ps);
}

static void passed_authenticated(void *arg, const struct actor *who, const struct err *e) {
    struct passed *ps = arg;
    const char *from = http_header(ps->r, "weft-peer"),
               *transport = http_header(ps->r, TRANSPORT_FIELD);
    const char *node = http_auth_node(http_peer(ps->r)->tls);
    struct core_turn turn;
    struct err why;
    ps->ticket = NULL;
    core_turn(ps->n->cfg.core, &turn);
    if (e != NULL) {
        http_respond(ps->r, err_code_http(e->code), NULL, NULL, 0);
    } else if (turn.role != CORE_LEADS || ps->n->closing || ps->n->n_sessions >= NC_SESSIONS_MAX ||
               session_admit(ps->n->cfg.core, who, &why) != ERR_OK) {
        http_respond(ps->r, 503, NULL, NULL, 0);
    } else {
        char text[80];
        snprintf(text, sizeof text, "%.52s by %.20s", from != NULL ? from : "?",
                 node != NULL ? node : "?");
        bool tls = transport != NULL && strcmp(transport, passed_transports[1].name) == 0;
        http_req_lazy(ps->r);
        http_start(ps->r, 200, NULL, 0, -1);
        ps->session = nc_session_new(ps->n, who, text, &passed_transports[tls], ps);
        http_req_pause(ps->r, false);
    }
}

bool netconf_passed_mine(const struct http_req *r) {
    return strcmp(http_raw_path(r), PASSED_PATH) == 0;
}

void netconf_passed(struct netconf *n, const struct http_auth_config *auth, struct http_req *r) {
    static const struct http_req_ops ops = {
        .body = passed_body, .drained = passed_drained, .closed = passed_closed};
    struct passed *ps = MEM_NEW(struct passed);
    ps->n = n;
    ps->r = r;
    http_req_set_ops(r, &ops, ps);
    http_req_pause(r, true);
    struct http_auth_ticket *ticket = http_auth(auth, r, passed_authenticated, ps);
    if (ticket != NULL) {
        ps->ticket = ticket;
    }
}
