// SPDX-License-Identifier: Apache-2.0
#include "north/relay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/logger.h"
#include "base/mem.h"
#include "core/http_auth.h"
#include "north/relay_int.h"

LOGGER_MODULE(relay);

static const char too_much[] = "too much is passed on to the leader at once; try again";

struct relay_leg {
    struct list link;
    struct relay *relay;
    enum relay_kind kind;
    const struct relay_leg_ops *ops;
    void *arg;
    struct http_exchange *x; /* NULL: not begun, or over */
    bool begun, refused;
    /* Until it begins: the request, and what was written of its body. */
    struct buf head; /* texts, each with its NUL: method, authority, path, then fields */
    size_t n_fields;
    struct buf early;
    bool early_end, early_over;
};

/* One connection to the leader. */
struct via {
    struct list link;
    struct relay *relay;
    struct http_client *client;
};

/* ---- legs ------------------------------------------------------------------------------------ */

static void leg_free(struct relay_leg *leg) {
    list_remove(&leg->link);
    leg->relay->n[leg->kind]--;
    buf_free(&leg->head);
    buf_free(&leg->early);
    mem_free(leg);
}

static void leg_close(struct relay_leg *leg, enum relay_end end, const char *why) {
    const struct relay_leg_ops *ops = leg->ops;
    void *arg = leg->arg;
    leg_free(leg);
    ops->closed(arg, end, why);
}

bool relay_of_the_hop(const char *name) {
    static const char *const names[] = {"connection",
                                        "keep-alive",
                                        "proxy-connection",
                                        "transfer-encoding",
                                        "upgrade",
                                        "host",
                                        "date",
                                        "content-length",
                                        "expect",
                                        "weft-stale",
                                        "weft-peer",
                                        HTTP_AUTH_ACTOR,
                                        HTTP_AUTH_GATEWAY,
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
    struct relay_leg *leg = arg;
    (void)x;
    leg->ops->head(leg->arg, status, f, nf);
}

static void on_answer(struct http_exchange *x, const uint8_t *p, size_t n, void *arg) {
    struct relay_leg *leg = arg;
    (void)x;
    leg->ops->body(leg->arg, p, n);
}

static void on_trailers(struct http_exchange *x, const struct http_field *f, size_t nf, void *arg) {
    struct relay_leg *leg = arg;
    (void)x;
    if (leg->ops->trailers != NULL) {
        leg->ops->trailers(leg->arg, f, nf);
    }
}

static void on_sent(struct http_exchange *x, void *arg) {
    struct relay_leg *leg = arg;
    (void)x;
    if (leg->ops->drained != NULL) {
        leg->ops->drained(leg->arg);
    }
}

static void on_end(struct http_exchange *x, enum http_exchange_end end, const char *why,
                   void *arg) {
    struct relay_leg *leg = arg;
    const char *node = leg->relay->to.node;
    char text[400];
    (void)x;
    leg->x = NULL;
    if (end == HTTP_EXCHANGE_DONE) {
        leg_close(leg, RELAY_DONE, "");
    } else if (end == HTTP_EXCHANGE_NOT_SENT) {
        snprintf(text, sizeof text,
                 "%s leads and can't be reached from here (%s); nothing was done", node, why);
        leg_close(leg, RELAY_NOT_DONE, text);
    } else {
        snprintf(text, sizeof text,
                 "unknown outcome: %s, which led, was lost while it had this (%s); look whether it "
                 "was done before you try again",
                 node, why);
        leg_close(leg, RELAY_UNKNOWN, text);
    }
}

static const struct http_exchange_ops exchange_ops = {on_head, on_trailers, on_answer, on_sent,
                                                      on_end};

/* `client` NULL: no connection may take it; that is its end. */
static void begin(struct relay_leg *leg, struct http_client *client) {
    struct http_field f[HTTP_CLIENT_FIELDS_MAX];
    const char *text[3], *p = (const char *)leg->head.data;
    for (size_t i = 0; i < 3; i++) {
        text[i] = p;
        p += strlen(p) + 1;
    }
    for (size_t i = 0; i < leg->n_fields; i++) {
        f[i].name = p;
        f[i].value = p + strlen(p) + 1;
        p = f[i].value + strlen(f[i].value) + 1;
    }
    struct http_request_head h = {.method = text[0],
                                  .scheme = "https",
                                  .authority = text[1],
                                  .path = text[2],
                                  .fields = f,
                                  .n_fields = leg->n_fields};
    leg->begun = true;
    leg->x = client != NULL ? http_exchange_start(client, &h, &exchange_ops, leg) : NULL;
    if (leg->x == NULL) {
        leg_close(leg, RELAY_NOT_DONE, too_much);
        return;
    }
    buf_free(&leg->head);
    bool over = leg->early.len > 0 && http_exchange_write(leg->x, leg->early.data, leg->early.len);
    buf_free(&leg->early);
    if (leg->early_end) {
        http_exchange_end(leg->x);
    }
    if (leg->early_over && !over && leg->ops->drained != NULL) {
        leg->ops->drained(leg->arg);
    }
}

bool relay_leg_write(struct relay_leg *leg, const void *p, size_t n) {
    if (leg->x != NULL) {
        return http_exchange_write(leg->x, p, n);
    }
    if (!leg->begun) {
        buf_add(&leg->early, p, n);
        leg->early_over |= leg->early.len > HTTP_CLIENT_HIGH;
    }
    return leg->early_over;
}

void relay_leg_end(struct relay_leg *leg) {
    leg->early_end = true;
    if (leg->x != NULL) {
        http_exchange_end(leg->x);
    }
}

void relay_leg_taken(struct relay_leg *leg, size_t n) {
    if (leg->x != NULL) {
        http_exchange_taken(leg->x, n);
    }
}

void relay_leg_cancel(struct relay_leg *leg) {
    if (leg->x != NULL) {
        http_exchange_cancel(leg->x);
    }
    leg_free(leg);
}

/* ---- the leader ------------------------------------------------------------------------------ */

struct question {
    struct relay *relay;
    struct core_leader found;
    enum err_code rc;
    struct err err;
};

static bool accept_peer(struct http_client *c, const struct tls_peer *peer, void *arg) {
    const struct via *via = arg;
    const char *node = http_auth_node(peer);
    (void)c;
    return node != NULL && strcmp(node, via->relay->to.node) == 0;
}

/* Where it was is not where to look next: it may have been started anew elsewhere. */
static void client_closed(struct http_client *c, const char *why, void *arg) {
    struct via *via = arg;
    (void)c;
    L_INFO("a connection to %s, which leads, is over: %s", via->relay->to.node, why);
    via->relay->known = false;
    list_remove(&via->link);
    mem_free(via);
}

static const struct http_client_ops client_ops = {accept_peer, client_closed};

static void close_vias(struct relay *rl, const char *why) {
    while (!list_empty(&rl->vias)) {
        struct via *via = CONTAINER_OF(rl->vias.next, struct via, link);
        http_client_close(via->client, why);
    }
    rl->known = false;
}

/* "192.0.2.1:8444", "[2001:db8::1]:8444". NULL: it says no place that could be dialled. */
static struct via *dial(struct relay *rl) {
    const struct core_leader *to = &rl->to;
    const char *colon = strrchr(to->relay, ':');
    char host[sizeof to->relay], name[sizeof to->node + sizeof RELAY_NAME_SUFFIX];
    unsigned long port = colon != NULL ? strtoul(colon + 1, NULL, 10) : 0;
    if (port == 0 || port > 65535) {
        return NULL;
    }
    bool bracket = to->relay[0] == '[' && colon - to->relay > 2;
    snprintf(host, sizeof host, "%.*s", (int)(colon - to->relay) - (bracket ? 2 : 0),
             to->relay + bracket);
    snprintf(name, sizeof name, "%s" RELAY_NAME_SUFFIX, to->node);
    struct http_client_config cfg = {
        .host = host, .port = (uint16_t)port, .tls = rl->cfg.tls, .verify_name = name};
    struct via *via = MEM_NEW(struct via);
    via->relay = rl;
    list_append(&rl->vias, &via->link);
    via->client = http_client_connect(rl->cfg.loop, &cfg, &client_ops, via);
    return via;
}

/* One that takes a leg more; the newest are the emptiest. */
static struct http_client *usable(struct relay *rl) {
    for (struct list *pos = rl->vias.prev; pos != &rl->vias; pos = pos->prev) {
        struct via *via = CONTAINER_OF(pos, struct via, link);
        if (http_client_usable(via->client)) {
            return via->client;
        }
    }
    struct via *made = rl->known ? dial(rl) : NULL;
    return made != NULL ? made->client : NULL;
}

static void end_waiting(struct relay *rl, const char *why) {
    LIST_FOREACH_SAFE (pos, &rl->legs) {
        struct relay_leg *leg = CONTAINER_OF(pos, struct relay_leg, link);
        if (!leg->begun) {
            leg->begun = true;
            leg_close(leg, RELAY_NOT_DONE, why);
        }
    }
}

/* What waits begins where it can. */
static void begin_waiting(struct relay *rl) {
    LIST_FOREACH_SAFE (pos, &rl->legs) {
        struct relay_leg *leg = CONTAINER_OF(pos, struct relay_leg, link);
        struct http_client *client = leg->begun || leg->refused ? NULL : usable(rl);
        if (client != NULL || (leg->refused && !leg->begun)) {
            begin(leg, client);
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
        end_waiting(rl, why);
    } else if (q->found.node[0] == '\0') {
        end_waiting(rl, "no node leads at the moment; try again");
    } else {
        if (strcmp(rl->to.node, q->found.node) != 0 || strcmp(rl->to.relay, q->found.relay) != 0) {
            close_vias(rl, "another node leads now");
        }
        rl->to = q->found;
        rl->known = true;
        begin_waiting(rl);
        snprintf(why, sizeof why, "this node only follows; ask %s, which leads", q->found.node);
        end_waiting(rl, why);
    }
    mem_free(q);
}

static void ask(void *arg) {
    struct question *q = arg;
    q->rc = core_find_leader(q->relay->cfg.core, &q->found, &q->err);
    loop_post(q->relay->cfg.loop, answered, q);
}

/* False: not now. */
static bool find(struct relay *rl) {
    if (rl->asking) {
        return true;
    }
    struct question *q = MEM_NEW(struct question);
    q->relay = rl;
    rl->asking = workers_run(rl->cfg.workers, ask, q);
    if (!rl->asking) {
        mem_free(q);
    }
    return rl->asking;
}

/* While something is under way: does the one who has it still lead? Its connections may say nothing
 * for long when it was paused or cut off. Legs that are new begin here, so that none calls back
 * into who made it. */
static void look(void *arg) {
    struct relay *rl = arg;
    struct core_turn t;
    core_turn(rl->cfg.core, &t);
    if (rl->to.node[0] != '\0' && t.leader[0] != '\0' && strcmp(t.leader, rl->to.node) != 0) {
        close_vias(rl, "another node leads now");
    } else if (t.stale_ns >= CORE_STALE_S * NS_PER_S) {
        close_vias(rl, "the store does not answer, and nobody knows who leads");
        end_waiting(rl, "the store does not answer, and nobody knows who leads");
    }
    begin_waiting(rl);
    bool waits = false;
    LIST_FOREACH (pos, &rl->legs) {
        waits |= !CONTAINER_OF(pos, struct relay_leg, link)->begun;
    }
    if (waits && !find(rl)) {
        end_waiting(rl, too_much);
    }
    bool soon = relay_pass_look(rl);
    if (list_empty(&rl->legs) && list_empty(&rl->passing)) {
        loop_timer_stop(rl->look);
    } else if (!soon) {
        loop_timer_repeat(rl->look, RELAY_LOOK_MS);
    }
}

static bool full(const struct relay *rl, enum relay_kind kind) {
    static const size_t most[RELAY_KINDS] = {RELAY_REQUESTS_MAX, RELAY_SESSIONS_MAX,
                                             RELAY_GATEWAYS_MAX};
    return rl->n[kind] >= most[kind];
}

static void add_text(struct buf *b, const char *text) {
    buf_add(b, text, strlen(text) + 1);
}

struct relay_leg *relay_leg_new(struct relay *rl, const struct relay_request *rq,
                                const struct relay_leg_ops *ops, void *arg) {
    struct relay_leg *leg = MEM_NEW(struct relay_leg);
    leg->relay = rl;
    leg->kind = rq->kind;
    leg->ops = ops;
    leg->arg = arg;
    add_text(&leg->head, rq->method);
    add_text(&leg->head,
             rq->authority != NULL && rq->authority[0] != '\0' ? rq->authority : "localhost");
    add_text(&leg->head, rq->path);
    add_text(&leg->head, rq->actor_name);
    add_text(&leg->head, rq->actor);
    add_text(&leg->head, "weft-peer");
    add_text(&leg->head, rq->peer);
    for (size_t i = 0; i < rq->n_fields; i++) {
        add_text(&leg->head, rq->fields[i].name);
        add_text(&leg->head, rq->fields[i].value);
    }
    leg->n_fields = rq->n_fields + 2;
    leg->refused = full(rl, leg->kind); /* and told so when it should begin */
    list_append(&rl->legs, &leg->link);
    rl->n[leg->kind]++;
    loop_timer_repeat(rl->look, RELAY_LOOK_MS);
    loop_defer(rl->cfg.loop, &rl->start);
    return leg;
}

bool relay_follows(const struct relay *rl) {
    struct core_turn t;
    if (rl == NULL) {
        return false;
    }
    core_turn(rl->cfg.core, &t);
    return t.role == CORE_FOLLOWS && t.leader[0] != '\0' && t.stale_ns < CORE_STALE_S * NS_PER_S;
}

const char *relay_leader(const struct relay *rl) {
    return rl->to.node;
}

struct relay *relay_new(const struct relay_config *cfg) {
    struct relay *rl = MEM_NEW(struct relay);
    rl->cfg = *cfg;
    list_init(&rl->vias);
    list_init(&rl->legs);
    list_init(&rl->passing);
    rl->look = loop_timer_new(cfg->loop, look, rl);
    rl->start = (struct loop_deferred){.fn = look, .arg = rl};
    return rl;
}

void relay_free(struct relay *rl) {
    if (rl != NULL) {
        close_vias(rl, "this node stops");
        end_waiting(rl, "this node stops");
        loop_timer_free(rl->look);
        loop_defer_cancel(&rl->start);
        mem_free(rl);
    }
}
