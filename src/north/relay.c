// SPDX-License-Identifier: Apache-2.0
#include "north/relay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/logger.h"
#include "base/mem.h"
#include "core/http_auth.h"
#include "net/http_client.h"

LOGGER_MODULE(relay);

enum { LOOK_MS = 100 };

struct relay {
    struct relay_config cfg;
    struct http_client *client; /* to `leader`; NULL: none */
    char leader[64];
    struct list runs;
    size_t n;
    bool asking; /* a worker asks where the leader is */
    struct loop_timer *look;
};

/* One request. It is freed when both sides are gone. */
struct run {
    struct list link;
    struct relay *relay;
    struct http_req *r; /* NULL: closed */
    struct http_exchange *x;
    struct actor who;
    bool begun, body_ended;
    /* The answer, while this node does not have its commit yet. */
    bool holding, answered;
    uint64_t commit;
    int64_t hold_until; /* loop time */
    int status;
    int64_t length;
    struct buf head, body; /* head: name NUL value NUL ... */
    size_t n_fields, owed;
};

static void run_leave(struct run *run) {
    if (run->r == NULL && run->x == NULL) {
        list_remove(&run->link);
        run->relay->n--;
        buf_free(&run->head);
        buf_free(&run->body);
        mem_free(run);
    }
}

static void refuse(struct run *run, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void refuse(struct run *run, const char *fmt, ...) {
    char why[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    L_DBG("%s %s: %s", http_method(run->r), http_raw_path(run->r), why);
    http_req_pause(run->r, false); /* what the client still sends is read and dropped */
    run->relay->cfg.error(run->r, 503, why, run->relay->cfg.error_arg);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static bool shown(const struct run *run) {
    struct snap *s = core_snapshot(run->relay->cfg.core);
    bool has = snap_index(s) >= run->commit;
    snap_release(s);
    return has;
}

static void give_credit(struct run *run) {
    if (run->x != NULL && run->owed > 0) {
        http_exchange_taken(run->x, run->owed);
        run->owed = 0;
    }
}

static void give_body(struct run *run, const uint8_t *p, size_t n) {
    if (run->r == NULL || http_write(run->r, p, n) <= http_queue_high(run->r)) {
        give_credit(run);
    }
}

static void give_head(struct run *run) {
    struct http_field f[HTTP_CLIENT_FIELDS_MAX];
    const char *p = (const char *)run->head.data;
    for (size_t i = 0; i < run->n_fields; i++) {
        f[i].name = p;
        f[i].value = p + strlen(p) + 1;
        p = f[i].value + strlen(f[i].value) + 1;
    }
    run->holding = false;
    http_start(run->r, run->status, f, run->n_fields, run->length);
    if (run->r != NULL && run->body.len > 0) {
        give_body(run, run->body.data, run->body.len);
    }
    buf_free(&run->body);
    if (run->r != NULL && run->answered) {
        http_end(run->r);
    }
}

/* What our own server says in every answer, or belongs to the connection between the nodes. */
static bool of_the_hop(const char *name) {
    static const char *const names[] = {"connection",
                                        "keep-alive",
                                        "proxy-connection",
                                        "transfer-encoding",
                                        "upgrade",
                                        "te",
                                        "host",
                                        "date",
                                        "content-length",
                                        "expect",
                                        "weft-stale",
                                        "weft-peer",
                                        "proxy-authenticate"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static void on_head(struct http_exchange *x, int status, const struct http_field *f, size_t nf,
                    void *arg) {
    struct run *run = arg;
    (void)x;
    run->status = status;
    run->length = -1;
    for (size_t i = 0; i < nf; i++) {
        if (strcmp(f[i].name, "content-length") == 0) {
            run->length = strtoll(f[i].value, NULL, 10); /* nghttp2 has checked it */
        } else if (strcmp(f[i].name, "weft-commit") == 0) {
            run->commit = strtoull(f[i].value, NULL, 10);
        }
        if (!of_the_hop(f[i].name)) {
            buf_add(&run->head, f[i].name, strlen(f[i].name) + 1);
            buf_add(&run->head, f[i].value, strlen(f[i].value) + 1);
            run->n_fields++;
        }
    }
    run->holding = true;
    run->hold_until = loop_now(run->relay->cfg.loop) + RELAY_SHOWN_MS * 1000000LL;
    if (run->commit == 0 || shown(run)) {
        give_head(run);
    } else {
        loop_timer_repeat(run->relay->look, LOOK_MS / 10);
    }
}

static void on_answer(struct http_exchange *x, const uint8_t *p, size_t n, void *arg) {
    struct run *run = arg;
    (void)x;
    run->owed += n;
    if (run->holding) {
        buf_add(&run->body, p, n); /* at most a window: no credit is given */
    } else {
        give_body(run, p, n);
    }
}

static void on_sent(struct http_exchange *x, void *arg) {
    struct run *run = arg;
    (void)x;
    if (run->r != NULL) {
        http_req_pause(run->r, false);
    }
}

static void on_end(struct http_exchange *x, enum http_exchange_end end, const char *why,
                   void *arg) {
    struct run *run = arg;
    (void)x;
    run->x = NULL;
    run->answered = end == HTTP_EXCHANGE_DONE;
    if (run->r == NULL) {
        run_leave(run);
    } else if (end == HTTP_EXCHANGE_DONE) {
        if (!run->holding) {
            http_end(run->r);
        }
    } else if (http_started(run->r)) {
        L_WARN_RL(10, "an answer of %s broke off: %s", run->relay->leader, why);
        http_abort(run->r, 2 /* INTERNAL_ERROR */);
    } else if (end == HTTP_EXCHANGE_NOT_SENT) {
        run->holding = false;
        refuse(run, "%s leads and can't be reached from here (%s); nothing was done",
               run->relay->leader, why);
    } else {
        run->holding = false;
        refuse(run,
               "unknown outcome: %s, which led, was lost while it had this (%s); look whether it "
               "was done before you try again",
               run->relay->leader, why);
    }
}

static const struct http_exchange_ops exchange_ops = {on_head, on_answer, on_sent, on_end};

/* ---- the request ----------------------------------------------------------------------------- */

static void on_body(struct http_req *r, const uint8_t *p, size_t n, void *arg) {
    struct run *run = arg;
    if (run->x != NULL && http_exchange_write(run->x, p, n)) {
        http_req_pause(r, true);
    }
}

static void on_body_end(struct http_req *r, void *arg) {
    struct run *run = arg;
    (void)r;
    run->body_ended = true;
    if (run->x != NULL) {
        http_exchange_end(run->x);
    }
}

static void on_drained(struct http_req *r, void *arg) {
    (void)r;
    give_credit(arg);
}

static void on_closed(struct http_req *r, bool aborted, void *arg) {
    struct run *run = arg;
    (void)r;
    (void)aborted;
    run->r = NULL;
    run->holding = false;
    if (run->x != NULL) {
        http_exchange_cancel(run->x);
        run->x = NULL;
    }
    run_leave(run);
}

static const struct http_req_ops req_ops = {on_body, on_body_end, on_drained, on_closed};

static void begin(struct run *run) {
    struct relay *rl = run->relay;
    struct http_field f[HTTP_CLIENT_FIELDS_MAX];
    size_t n = 0;
    struct buf actor = BUF_INIT;
    const char *query = http_query(run->r), *authority = http_authority(run->r);
    char *path = mem_printf("%s%s%s", http_raw_path(run->r), query[0] != '\0' ? "?" : "", query);
    http_auth_actor_print(&run->who, &actor);
    f[n++] = (struct http_field){HTTP_AUTH_ACTOR, buf_cstr(&actor)};
    f[n++] = (struct http_field){"weft-peer", http_peer(run->r)->text};
    bool fits = true;
    for (unsigned i = 0; i < http_header_count(run->r); i++) {
        const char *name, *value;
        http_header_at(run->r, i, &name, &value);
        bool length = strcmp(name, "content-length") == 0;
        if ((of_the_hop(name) && !length) || strcmp(name, "authorization") == 0) {
            continue;
        }
        fits = fits && n < HTTP_CLIENT_FIELDS_MAX;
        if (fits) {
            f[n++] = (struct http_field){name, value};
        }
    }
    struct http_request_head h = {.method = http_method(run->r),
                                  .scheme = "https",
                                  .authority = authority[0] != '\0' ? authority : "localhost",
                                  .path = path,
                                  .fields = f,
                                  .n_fields = n};
    run->begun = true;
    run->x = fits ? http_exchange_start(rl->client, &h, &exchange_ops, run) : NULL;
    if (run->x == NULL) {
        refuse(run, fits ? "too much is passed on to the leader at once; try again"
                         : "the request has more header fields than can be passed on");
    } else {
        http_req_pause(run->r, false);
    }
    mem_free(path);
    buf_free(&actor);
}

/* ---- the leader ------------------------------------------------------------------------------ */

struct question {
    struct relay *relay;
    struct core_leader found;
    enum err_code rc;
    struct err err;
};

static bool accept_peer(struct http_client *c, const struct tls_peer *peer, void *arg) {
    struct relay *rl = arg;
    const char *node = http_auth_node(peer);
    (void)c;
    return node != NULL && strcmp(node, rl->leader) == 0;
}

static void client_closed(struct http_client *c, const char *why, void *arg) {
    struct relay *rl = arg;
    if (rl->client == c) {
        L_INFO("the connection to %s, which leads, is over: %s", rl->leader, why);
        rl->client = NULL;
    }
}

static const struct http_client_ops client_ops = {accept_peer, client_closed};

static void refuse_waiting(struct relay *rl, const char *why) {
    LIST_FOREACH_SAFE (pos, &rl->runs) {
        struct run *run = CONTAINER_OF(pos, struct run, link);
        if (!run->begun) {
            run->begun = true;
            refuse(run, "%s", why);
        }
    }
}

/* "192.0.2.1:8444", "[2001:db8::1]:8444" */
static bool connect_to(struct relay *rl, const struct core_leader *to) {
    const char *colon = strrchr(to->relay, ':');
    char host[sizeof to->relay], name[sizeof to->node + sizeof RELAY_NAME_SUFFIX];
    unsigned long port = colon != NULL ? strtoul(colon + 1, NULL, 10) : 0;
    if (port == 0 || port > 65535) {
        return false;
    }
    bool bracket = to->relay[0] == '[' && colon - to->relay > 2;
    snprintf(host, sizeof host, "%.*s", (int)(colon - to->relay) - (bracket ? 2 : 0),
             to->relay + bracket);
    snprintf(name, sizeof name, "%s" RELAY_NAME_SUFFIX, to->node);
    snprintf(rl->leader, sizeof rl->leader, "%s", to->node);
    struct http_client_config cfg = {
        .host = host, .port = (uint16_t)port, .tls = rl->cfg.tls, .verify_name = name};
    rl->client = http_client_connect(rl->cfg.loop, &cfg, &client_ops, rl);
    return true;
}

static void begin_waiting(struct relay *rl) {
    LIST_FOREACH_SAFE (pos, &rl->runs) {
        struct run *run = CONTAINER_OF(pos, struct run, link);
        if (!run->begun) {
            begin(run);
        }
    }
}

static void answered(void *arg) {
    struct question *q = arg;
    struct relay *rl = q->relay;
    char why[400];
    rl->asking = false;
    if (q->rc != ERR_OK) {
        snprintf(why, sizeof why, "where the leader is can't be found out: %s", q->err.text);
        refuse_waiting(rl, why);
    } else if (q->found.node[0] == '\0') {
        refuse_waiting(rl, "no node leads at the moment; try again");
    } else if (!connect_to(rl, &q->found)) {
        snprintf(why, sizeof why, "this node only follows; ask %s, which leads", q->found.node);
        refuse_waiting(rl, why);
    } else {
        begin_waiting(rl);
    }
    mem_free(q);
}

static void ask(void *arg) {
    struct question *q = arg;
    q->rc = core_find_leader(q->relay->cfg.core, &q->found, &q->err);
    loop_post(q->relay->cfg.loop, answered, q);
}

static void find(struct relay *rl) {
    if (rl->asking) {
        return;
    }
    struct question *q = MEM_NEW(struct question);
    q->relay = rl;
    rl->asking = workers_run(rl->cfg.workers, ask, q);
    if (!rl->asking) {
        mem_free(q);
        refuse_waiting(rl, "too much is passed on to the leader at once; try again");
    }
}

/* While something is under way: does the one who has it still lead? Its connection may say nothing
 * for long when it was paused or cut off. */
static void look(void *arg) {
    struct relay *rl = arg;
    struct core_turn t;
    bool holding = false;
    core_turn(rl->cfg.core, &t);
    if (rl->client != NULL && t.leader[0] != '\0' && strcmp(t.leader, rl->leader) != 0) {
        http_client_close(rl->client, "another node leads now");
    }
    LIST_FOREACH_SAFE (pos, &rl->runs) {
        struct run *run = CONTAINER_OF(pos, struct run, link);
        if (run->holding && (shown(run) || loop_now(rl->cfg.loop) >= run->hold_until)) {
            give_head(run);
        } else {
            holding |= run->holding;
        }
    }
    if (list_empty(&rl->runs)) {
        loop_timer_stop(rl->look);
    } else if (!holding) {
        loop_timer_repeat(rl->look, LOOK_MS);
    }
}

bool relay_take(struct relay *rl, struct http_req *r, const struct actor *who) {
    struct core_turn t;
    core_turn(rl->cfg.core, &t);
    if (t.role != CORE_FOLLOWS || t.leader[0] == '\0' ||
        t.stale_ns >= CORE_STALE_S * 1000000000LL || http_header(r, HTTP_AUTH_ACTOR) != NULL) {
        return false;
    }
    struct run *run = MEM_NEW(struct run);
    run->relay = rl;
    run->r = r;
    run->who = *who;
    list_append(&rl->runs, &run->link);
    rl->n++;
    http_req_set_ops(r, &req_ops, run);
    if (rl->n > RELAY_REQUESTS_MAX) {
        run->begun = true;
        refuse(run, "too much is passed on to the leader at once; try again");
        return true;
    }
    loop_timer_repeat(rl->look, LOOK_MS);
    if (rl->client != NULL && strcmp(t.leader, rl->leader) != 0) {
        http_client_close(rl->client, "another node leads now");
    }
    if (rl->client != NULL && http_client_usable(rl->client)) {
        begin(run);
        return true;
    }
    rl->client = NULL; /* one that says goodbye ends by itself, with what it still has */
    find(rl);
    return true;
}

struct relay *relay_new(const struct relay_config *cfg) {
    struct relay *rl = MEM_NEW(struct relay);
    rl->cfg = *cfg;
    list_init(&rl->runs);
    rl->look = loop_timer_new(cfg->loop, look, rl);
    return rl;
}

void relay_free(struct relay *rl) {
    if (rl == NULL) {
        return;
    }
    if (rl->client != NULL) {
        http_client_close(rl->client, "this node stops");
    }
    loop_timer_free(rl->look);
    mem_free(rl);
}
