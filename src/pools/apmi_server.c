// SPDX-License-Identifier: Apache-2.0
#include "pools/apmi_server.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/logger.h"
#include "base/mem.h"
#include "pools/apmi.h"
#include "pools/apmi_server_int.h"

LOGGER_MODULE(apmi_server);

enum {
    MAX_CONNS = 20000,
    FIRST_MESSAGE_MS = 15000, /* from the call to a whole first message */
    SILENT_MAX_S = 100,       /* three keepalives of 30 s unheard, and some */
};

/* One stream of an entity. Belongs to the loop; the writer touches only what is constant. */
struct conn {
    struct list link; /* of server->conns, while `call` is there */
    struct apmi_server *server;
    struct loop *loop;
    struct grpc_call *call; /* NULL: closed */
    struct apmi_session *session;
    struct loop_timer *first;
    bool heard, paused;
    struct http_auth_gateway who;
};

/* ---- from the writer to the loop ---------------------------------------------------------------
 */

struct to_loop {
    struct conn *conn;
    size_t n;
    int code;
    char *text;
    uint8_t bytes[];
};

static void loop_send(void *arg) {
    struct to_loop *m = arg;
    if (m->conn->call != NULL && grpc_send(m->conn->call, m->bytes, m->n) == SIZE_MAX) {
        /* It takes nothing and its queue is full: whatever it is, it is no gateway at work. */
        grpc_finish(m->conn->call, GRPC_RESOURCE_EXHAUSTED, "answers are not read");
    }
    mem_free(m);
}

static void loop_end(void *arg) {
    struct to_loop *m = arg;
    if (m->conn->call != NULL) {
        grpc_finish(m->conn->call, (enum grpc_code)m->code, m->text);
    }
    mem_free(m->text);
    mem_free(m);
}

static void loop_resume(void *arg) {
    struct conn *c = arg;
    if (c->call != NULL && c->paused) {
        c->paused = false;
        grpc_pause(c->call, false);
    }
}

static void conn_free(void *arg) {
    struct conn *c = arg;
    struct apmi_server *s = c->server;
    http_auth_gateway_free(&c->who);
    mem_free(c);
    apmi_server_left(s);
}

static void on_send(void *arg, const void *p, size_t n) {
    struct conn *c = arg;
    struct to_loop *m = mem_alloc(sizeof *m + n);
    m->conn = c;
    m->n = n;
    memcpy(m->bytes, p, n);
    loop_post(c->loop, loop_send, m);
}

static void on_end(void *arg, int code, const char *text) {
    struct conn *c = arg;
    struct to_loop *m = mem_alloc(sizeof *m);
    m->conn = c;
    m->code = code;
    m->text = mem_strdup(text);
    loop_post(c->loop, loop_end, m);
}

static void on_resume(void *arg) {
    struct conn *c = arg;
    loop_post(c->loop, loop_resume, c);
}

static void on_released(void *arg) {
    struct conn *c = arg;
    loop_post(c->loop, conn_free, c);
}

static const struct apmi_transport transport = {
    .send = on_send, .end = on_end, .resume = on_resume, .released = on_released};

/* ---- sessions ----------------------------------------------------------------------------------
 */

static bool names(void *arg, const char *system_id) {
    const struct conn *c = arg;
    for (size_t i = 0; i < c->who.n_names; i++) {
        if (strcmp(c->who.names[i], system_id) == 0) {
            return true;
        }
    }
    return false;
}

static void on_message(struct grpc_call *call, const uint8_t *p, size_t n, void *arg) {
    struct conn *c = arg;
    if (!c->heard) {
        c->heard = true;
        loop_timer_stop(c->first);
    }
    unsigned waiting =
        apmi_receive(c->session, p, n, clock_wall_s(core_clock(c->server->cfg.core)));
    if (waiting >= APMI_IN_FLIGHT_MAX && !c->paused) {
        c->paused = true;
        grpc_pause(call, true);
        if (apmi_in_flight(c->session) <= APMI_IN_FLIGHT_MAX / 2) {
            loop_resume(c); /* answered meanwhile: nobody else would wake it */
        }
    }
}

/* The entity says no more: that is how it leaves. */
static void on_half_closed(struct grpc_call *call, void *arg) {
    grpc_finish(call, GRPC_OK, "");
}

static void on_closed(struct grpc_call *call, enum grpc_code status, const char *message,
                      void *arg) {
    struct conn *c = arg;
    c->call = NULL;
    list_remove(&c->link);
    loop_timer_free(c->first);
    c->first = NULL;
    char why[160];
    snprintf(why, sizeof why, "%s",
             status == GRPC_OK ? "the session was ended" : "the connection was lost");
    apmi_closed(c->session, why);
}

static const struct grpc_call_ops session_ops = {
    .message = on_message, .half_closed = on_half_closed, .closed = on_closed};

static void first_late(void *arg) {
    struct conn *c = arg;
    if (c->call != NULL) {
        grpc_finish(c->call, GRPC_DEADLINE_EXCEEDED, "Hello comes first, and soon");
    }
}

/* Who it is: as its connection says, or the node that passes it on. False: malformed. */
static bool identify(struct conn *c, const struct grpc_call *call, struct apmi_peer *peer) {
    const struct http_peer *hp = grpc_peer(call);
    const char *said = c->server->cfg.from_nodes ? grpc_metadata(call, HTTP_AUTH_GATEWAY) : NULL;
    const char *from = said != NULL ? grpc_metadata(call, "weft-peer") : NULL;
    if (said == NULL) {
        http_auth_gateway_of(hp, &c->who);
    } else if (!http_auth_gateway_parse(said, &c->who)) {
        return false;
    }
    peer->tls = c->who.tls;
    peer->verified = c->who.verified;
    snprintf(peer->source, sizeof peer->source, "%s", from != NULL ? from : hp->text);
    if (said != NULL) {
        struct ip_addr addr;
        const char *p = peer->source, *colon = strrchr(p, ':');
        size_t n = colon != NULL ? (size_t)(colon - p) : strlen(p);
        bool bracket = p[0] == '[' && n > 2;
        snprintf(peer->address, sizeof peer->address, "%.*s", (int)(n - (bracket ? 2 : 0)),
                 p + bracket);
        if (ip_addr_parse(peer->address, &addr, NULL) != ERR_OK) {
            peer->address[0] = '\0';
        }
        snprintf(peer->via, sizeof peer->via, "%s", http_auth_node(hp->tls));
    } else if (hp->addr.family != 0) {
        char text[IP_TEXT_MAX];
        snprintf(peer->address, sizeof peer->address, "%s", ip_addr_format(&hp->addr, text));
    }
    return true;
}

static void on_session(struct grpc_call *call, void *arg) {
    struct apmi_server *s = arg;
    struct apmi_peer peer = {.names = names, .silent_max_s = SILENT_MAX_S};
    struct conn *c = MEM_NEW(struct conn);
    c->server = s;
    c->loop = s->cfg.loop;
    c->call = call;
    if (!identify(c, call, &peer)) {
        grpc_finish(call, GRPC_INVALID_ARGUMENT, HTTP_AUTH_GATEWAY " is malformed");
        mem_free(c);
        return;
    }
    s->open++;
    list_append(&s->conns, &c->link);
    c->session = apmi_open(s->cfg.core, &transport, c, &peer);
    c->first = loop_timer_new(c->loop, first_late, c);
    loop_timer_start(c->first, FIRST_MESSAGE_MS);
    grpc_set_ops(call, &session_ops, c);
    if (s->closing) {
        grpc_finish(call, GRPC_UNAVAILABLE, "the manager is stopping");
    }
}

/* ---- requests ----------------------------------------------------------------------------------
 */

/* An admin call waits for its caller's password to be checked. */
struct pending_auth {
    struct list link;
    struct apmi_server *server;
    struct http_req *r;
    struct http_auth_ticket *ticket;
    struct auth_now *now;
};

static void auth_closed(struct http_req *r, bool aborted, void *arg) {
    struct pending_auth *pa = arg;
    http_auth_cancel(pa->ticket);
    list_remove(&pa->link);
    mem_free(pa->now);
    mem_free(pa);
}

static const struct http_req_ops auth_ops = {.closed = auth_closed};

/* A refusal goes through the call as well: gRPC has its own form for an answer without a message.
 */
static void serve_as(struct apmi_server *s, struct http_req *r, const struct actor *who,
                     const struct err *refusal) {
    s->caller = who;
    s->refusal = refusal;
    grpc_serve(s->grpc, r);
    s->caller = NULL;
    s->refusal = NULL;
}

static bool passed_on(struct apmi_server *s, struct http_req *r, const struct actor *who) {
    return s->cfg.relay != NULL && s->cfg.relay(r, who, s->cfg.relay_arg);
}

static void auth_done(void *arg, const struct actor *who, const struct err *e) {
    struct pending_auth *pa = arg;
    struct http_req *r = pa->r;
    struct apmi_server *s = pa->server;
    list_remove(&pa->link);
    mem_free(pa);
    http_req_set_ops(r, NULL, NULL);
    if (e != NULL || !passed_on(s, r, who)) {
        serve_as(s, r, who, e);
        http_req_pause(r, false); /* now that somebody takes the body */
    }
}

struct auth_now { /* what http_auth answered at once */
    bool done, ok;
    struct actor who;
    struct err err;
    struct pending_auth *later;
};

static void auth_now_done(void *arg, const struct actor *who, const struct err *e) {
    struct auth_now *now = arg;
    if (now->later != NULL) {
        struct pending_auth *pa = now->later;
        mem_free(now);
        auth_done(pa, who, e);
        return;
    }
    now->done = true;
    now->ok = e == NULL;
    if (e != NULL) {
        now->err = *e;
    } else {
        now->who = *who;
    }
}

static void admin_request(struct apmi_server *s, struct http_req *r) {
    struct auth_now *now = MEM_NEW(struct auth_now);
    struct http_auth_ticket *ticket = http_auth(&s->auth, r, auth_now_done, now);
    if (now->done) {
        if (!now->ok || !passed_on(s, r, &now->who)) {
            serve_as(s, r, &now->who, now->ok ? NULL : &now->err);
        }
        mem_free(now);
        return;
    }
    struct pending_auth *pa = MEM_NEW(struct pending_auth);
    pa->server = s;
    pa->r = r;
    pa->ticket = ticket;
    pa->now = now;
    now->later = pa;
    list_append(&s->auths, &pa->link);
    http_req_set_ops(r, &auth_ops, pa);
    http_req_pause(r, true);
}

/* What only a node may say is refused from anybody else. */
static bool believed(const struct apmi_server *s, const struct http_req *r) {
    return http_header(r, HTTP_AUTH_GATEWAY) == NULL ||
           (s->cfg.from_nodes && http_auth_node(http_peer(r)->tls) != NULL);
}

static void session_request(struct apmi_server *s, struct http_req *r) {
    struct core_turn t;
    char why[160];
    if (!believed(s, r)) {
        grpc_answer_end(r, GRPC_PERMISSION_DENIED,
                        "only a controller's own certificate may say which gateway asks");
        return;
    }
    core_turn(s->cfg.core, &t);
    if (t.role == CORE_LEADS) {
        grpc_serve(s->grpc, r);
    } else if (!passed_on(s, r, NULL)) {
        snprintf(why, sizeof why,
                 t.leader[0] != '\0' ? "this node does not lead; ask %s" : "no node leads%s",
                 t.leader);
        grpc_answer_end(r, GRPC_UNAVAILABLE, why);
    }
}

void apmi_server_handle(struct apmi_server *s, struct http_req *r) {
    static const char admin[] = "/openapmi.v1.ApmiAdmin/", session[] = "/openapmi.v1.Apmi/Session";
    if (!grpc_is(r)) {
        http_respond(r, 415, NULL, NULL, 0);
    } else if (strncmp(http_raw_path(r), admin, sizeof admin - 1) == 0) {
        admin_request(s, r);
    } else if (strcmp(http_raw_path(r), session) == 0) {
        session_request(s, r);
    } else {
        grpc_serve(s->grpc, r);
    }
}

static void on_request(struct http_req *r, void *arg) {
    apmi_server_handle(arg, r);
}

/* ---- the server --------------------------------------------------------------------------------
 */

struct apmi_server *apmi_server_new(const struct apmi_server_config *cfg) {
    struct apmi_server *s = MEM_NEW(struct apmi_server);
    struct http_limits lim = http_limits_default;
    s->cfg = *cfg;
    list_init(&s->auths);
    list_init(&s->conns);
    lim.max_conns = cfg->max_conns ? cfg->max_conns : MAX_CONNS;
    http_limits_fit(&lim);
    lim.max_conns_per_peer = lim.max_conns; /* many gateways may sit behind one address */
    lim.body_min_rate = 0;                  /* a session says nothing for minutes */
    lim.max_streams = 16;
    s->http = cfg->from_nodes ? NULL : http_server_new(cfg->loop, &lim, on_request, s);
    s->grpc = grpc_server_new(cfg->loop);
    s->auth = (struct http_auth_config){.core = cfg->core,
                                        .loop = cfg->loop,
                                        .hashers = cfg->hashers,
                                        .dialect = "openapmi",
                                        .from_nodes = cfg->from_nodes};
    grpc_register(s->grpc, "/openapmi.v1.Apmi/Session", on_session, s);
    apmi_admin_register(s);
    return s;
}

enum err_code apmi_server_listen(struct apmi_server *s, const struct ip_addr *addr, uint16_t port,
                                 struct tls_ctx *tls, uint16_t *bound, struct err *e) {
    if (tls == NULL) {
        char text[IP_TEXT_MAX];
        L_WARN("openapmi at %s port %u is clear text, as configured", ip_addr_format(addr, text),
               port);
    }
    return http_listen_tcp(s->http, addr, port, tls, HTTP_H2C, bound, e);
}

const struct http_counters *apmi_server_counters(const struct apmi_server *s) {
    return http_server_counters(s->http);
}

static void server_free(void *arg) {
    struct apmi_server *s = arg;
    loop_fn *done = s->done;
    void *done_arg = s->done_arg;
    grpc_server_free(s->grpc);
    mem_free(s);
    if (done != NULL) {
        done(done_arg);
    }
}

void apmi_server_left(struct apmi_server *s) {
    s->open--;
    if (s->closing && s->open == 0) {
        loop_post(s->cfg.loop, server_free, s);
    }
}

void apmi_server_close(struct apmi_server *s, loop_fn *done, void *arg) {
    s->done = done;
    s->done_arg = arg;
    s->open++; /* keeps it until the end of this function */
    s->closing = true;
    http_server_free(s->http); /* every call is closed on the way */
    s->http = NULL;
    LIST_FOREACH (pos, &s->conns) { /* those on another server's connections */
        grpc_finish(CONTAINER_OF(pos, struct conn, link)->call, GRPC_UNAVAILABLE,
                    "the manager is stopping");
    }
    apmi_server_left(s);
}
