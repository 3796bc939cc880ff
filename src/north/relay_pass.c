// SPDX-License-Identifier: Apache-2.0
/* Whole requests, passed on as they are: relay_take(). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/mem.h"
#include "core/http_auth.h"
#include "net/grpc.h"
#include "north/relay_int.h"

LOGGER_MODULE(relay);

/* It is freed when both sides are gone. */
struct run {
    struct list link;
    struct relay *relay;
    struct http_req *r; /* NULL: closed */
    struct relay_leg *leg;
    bool grpc;
    /* The answer, while this node does not have its commit yet. */
    bool holding, answered;
    uint64_t commit;
    int64_t hold_until; /* loop time */
    int status;
    int64_t length;
    struct buf head, tail; /* fields: name NUL value NUL ...; tail: trailers */
    struct buf body;
    size_t n_fields, n_tail, owed;
};

static void run_leave(struct run *run) {
    if (run->r == NULL && run->leg == NULL) {
        list_remove(&run->link);
        buf_free(&run->head);
        buf_free(&run->tail);
        buf_free(&run->body);
        mem_free(run);
    }
}

static void refuse(struct run *run, const char *why) {
    L_DBG("%s %s: %s", http_method(run->r), http_raw_path(run->r), why);
    http_req_pause(run->r, false); /* what the client still sends is read and dropped */
    if (run->grpc) {
        grpc_answer_end(run->r, GRPC_UNAVAILABLE, why);
    } else {
        run->relay->cfg.error(run->r, 503, why, run->relay->cfg.error_arg);
    }
}

/* ---- the answer ------------------------------------------------------------------------------ */

static bool shown(const struct run *run) {
    struct snap *s = core_snapshot(run->relay->cfg.core);
    bool has = snap_index(s) >= run->commit;
    snap_release(s);
    return has;
}

static void give_credit(struct run *run) {
    if (run->leg != NULL && run->owed > 0) {
        relay_leg_taken(run->leg, run->owed);
        run->owed = 0;
    }
}

static void give_body(struct run *run, const uint8_t *p, size_t n) {
    if (run->r == NULL || http_write(run->r, p, n) <= http_queue_high(run->r)) {
        give_credit(run);
    }
}

static size_t fields_of(const struct buf *b, size_t n, struct http_field *f) {
    const char *p = (const char *)b->data;
    for (size_t i = 0; i < n; i++) {
        f[i].name = p;
        f[i].value = p + strlen(p) + 1;
        p = f[i].value + strlen(f[i].value) + 1;
    }
    return n;
}

/* gRPC says how a call ended in trailers; an answer that is nothing else has them in its head. */
static bool is_status(const char *name) {
    return strcmp(name, "grpc-status") == 0 || strcmp(name, "grpc-message") == 0;
}

static void keep(struct run *run, const struct http_field *f) {
    bool tail = run->grpc && is_status(f->name);
    struct buf *to = tail ? &run->tail : &run->head;
    buf_add(to, f->name, strlen(f->name) + 1);
    buf_add(to, f->value, strlen(f->value) + 1);
    run->n_tail += tail;
    run->n_fields += !tail;
}

static void give_end(struct run *run) {
    struct http_field f[HTTP_CLIENT_FIELDS_MAX];
    if (run->n_tail > 0) {
        http_end_trailers(run->r, f, fields_of(&run->tail, run->n_tail, f));
    } else {
        http_end(run->r);
    }
}

static void give_head(struct run *run) {
    struct http_field f[HTTP_CLIENT_FIELDS_MAX];
    run->holding = false;
    http_start(run->r, run->status, f, fields_of(&run->head, run->n_fields, f), run->length);
    if (run->r != NULL && run->body.len > 0) {
        give_body(run, run->body.data, run->body.len);
    }
    buf_free(&run->body);
    if (run->r != NULL && run->answered) {
        give_end(run);
    }
}

static void on_head(void *arg, int status, const struct http_field *f, size_t nf) {
    struct run *run = arg;
    run->status = status;
    run->length = -1;
    for (size_t i = 0; i < nf; i++) {
        if (strcmp(f[i].name, "content-length") == 0) {
            run->length = strtoll(f[i].value, NULL, 10); /* nghttp2 has checked it */
        } else if (strcmp(f[i].name, "weft-commit") == 0) {
            run->commit = strtoull(f[i].value, NULL, 10);
        }
        if (!relay_of_the_hop(f[i].name)) {
            keep(run, &f[i]);
        }
    }
    run->holding = true;
    run->hold_until = loop_now(run->relay->cfg.loop) + RELAY_SHOWN_MS * 1000000LL;
    if (run->commit == 0 || shown(run)) {
        give_head(run);
    } else {
        loop_timer_repeat(run->relay->look, RELAY_LOOK_MS / 10);
    }
}

static void on_trailers(void *arg, const struct http_field *f, size_t nf) {
    struct run *run = arg;
    for (size_t i = 0; i < nf && run->grpc; i++) {
        if (is_status(f[i].name)) {
            keep(run, &f[i]);
        }
    }
}

static void on_answer(void *arg, const uint8_t *p, size_t n) {
    struct run *run = arg;
    run->owed += n;
    if (run->holding) {
        buf_add(&run->body, p, n); /* at most a window: no credit is given */
    } else {
        give_body(run, p, n);
    }
}

static void on_sent(void *arg) {
    struct run *run = arg;
    if (run->r != NULL) {
        http_req_pause(run->r, false);
    }
}

static void on_end(void *arg, enum relay_end end, const char *why) {
    struct run *run = arg;
    run->leg = NULL;
    run->answered = end == RELAY_DONE;
    if (run->r == NULL) {
        run_leave(run);
    } else if (end == RELAY_DONE) {
        if (!run->holding) {
            give_end(run);
        }
    } else if (http_started(run->r) && run->grpc) {
        grpc_answer_end(run->r, GRPC_UNAVAILABLE, why);
    } else if (http_started(run->r)) {
        L_WARN_RL(10, "an answer of %s broke off: %s", relay_leader(run->relay), why);
        http_abort(run->r, 2 /* INTERNAL_ERROR */);
    } else {
        char text[200];
        const char *method = http_method(run->r);
        bool asks = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
        run->holding = false;
        snprintf(text, sizeof text, "%s, which led, was lost before it answered; ask again",
                 relay_leader(run->relay));
        refuse(run, asks && end == RELAY_UNKNOWN ? text : why);
    }
}

static const struct relay_leg_ops leg_ops = {on_head, on_answer, on_trailers, on_sent, on_end};

/* ---- the request ----------------------------------------------------------------------------- */

static void on_body(struct http_req *r, const uint8_t *p, size_t n, void *arg) {
    struct run *run = arg;
    if (run->leg != NULL && relay_leg_write(run->leg, p, n)) {
        http_req_pause(r, true);
    }
}

static void on_body_end(struct http_req *r, void *arg) {
    struct run *run = arg;
    (void)r;
    if (run->leg != NULL) {
        relay_leg_end(run->leg);
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
    if (run->leg != NULL) {
        relay_leg_cancel(run->leg);
        run->leg = NULL;
    }
    run_leave(run);
}

static const struct http_req_ops req_ops = {on_body, on_body_end, on_drained, on_closed};

/* False: it has more fields than can be passed on. */
static bool take_fields(const struct http_req *r, bool credentials, struct http_field *f,
                        size_t *n) {
    for (unsigned i = 0; i < http_header_count(r); i++) {
        const char *name, *value;
        http_header_at(r, i, &name, &value);
        bool length = strcmp(name, "content-length") == 0;
        if ((relay_of_the_hop(name) && !length) ||
            (!credentials && strcmp(name, "authorization") == 0)) {
            continue;
        }
        if (*n == HTTP_CLIENT_FIELDS_MAX - 2) {
            return false;
        }
        f[(*n)++] = (struct http_field){name, value};
    }
    return true;
}

static bool take(struct relay *rl, struct http_req *r, enum relay_kind kind, bool credentials,
                 const char *name, const char *value) {
    struct http_field f[HTTP_CLIENT_FIELDS_MAX];
    size_t n = 0;
    struct run *run = MEM_NEW(struct run);
    run->relay = rl;
    run->r = r;
    run->grpc = grpc_is(r);
    list_append(&rl->passing, &run->link);
    http_req_set_ops(r, &req_ops, run);
    http_req_pause(r, false);
    if (!take_fields(r, credentials, f, &n)) {
        refuse(run, "the request has more header fields than can be passed on");
        return true;
    }
    const char *query = http_query(r);
    char *path = mem_printf("%s%s%s", http_raw_path(r), query[0] != '\0' ? "?" : "", query);
    if (run->grpc) {
        http_req_lazy(r); /* it may say nothing for long, as the call does where it is served */
    }
    struct relay_request rq = {.kind = kind,
                               .method = http_method(r),
                               .path = path,
                               .authority = http_authority(r),
                               .actor_name = name,
                               .actor = value,
                               .peer = http_peer(r)->text,
                               .fields = f,
                               .n_fields = n};
    run->leg = relay_leg_new(rl, &rq, &leg_ops, run);
    mem_free(path);
    return true;
}

static bool may_take(struct relay *rl, const struct http_req *r) {
    return relay_follows(rl) && http_header(r, HTTP_AUTH_ACTOR) == NULL &&
           http_header(r, HTTP_AUTH_GATEWAY) == NULL;
}

bool relay_take(struct relay *rl, struct http_req *r, const struct actor *who) {
    struct buf actor = BUF_INIT;
    if (!may_take(rl, r)) {
        return false;
    }
    if (who != NULL) {
        http_auth_actor_print(who, &actor);
    } else {
        http_auth_gateway_print(http_peer(r), &actor);
    }
    bool taken = take(rl, r, who != NULL ? RELAY_REQUEST : RELAY_GATEWAY, false,
                      who != NULL ? HTTP_AUTH_ACTOR : HTTP_AUTH_GATEWAY, buf_cstr(&actor));
    buf_free(&actor);
    return taken;
}

bool relay_take_as(struct relay *rl, struct http_req *r, const char *name, const char *value) {
    return may_take(rl, r) && http_header(r, name) == NULL &&
           take(rl, r, RELAY_REQUEST, true, name, value);
}

bool relay_pass_look(struct relay *rl) {
    bool holding = false;
    LIST_FOREACH_SAFE (pos, &rl->passing) {
        struct run *run = CONTAINER_OF(pos, struct run, link);
        if (run->holding && (shown(run) || loop_now(rl->cfg.loop) >= run->hold_until)) {
            give_head(run);
        } else {
            holding |= run->holding;
        }
    }
    return holding;
}
