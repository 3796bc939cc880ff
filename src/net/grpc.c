// SPDX-License-Identifier: Apache-2.0
/* Calls at both ends, and the server. */
#include "net/grpc.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/logger.h"
#include "base/map.h"
#include "base/mem.h"
#include "net/grpc_int.h"

LOGGER_MODULE(grpc)

enum { TIMEOUT_DIGITS_MAX = 8, DEADLINE_LINGER_MS = 5000 };

struct method {
    grpc_handler *handler;
    void *arg;
};

struct grpc_server {
    struct loop *loop;
    struct map methods; /* path -> struct method */
    struct grpc_counters n;
};

/* ------------------------------------------------------------------ codes and texts */

const char *grpc_code_name(int code) {
    switch (code) {
#define X(name, number)                                                                            \
    case number:                                                                                   \
        return #name;
        GRPC_CODES(X)
#undef X
    default:
        return "UNKNOWN";
    }
}

enum grpc_code grpc_code_of(enum err_code code) {
    switch (code) {
    case ERR_OK:
        return GRPC_OK;
    case ERR_MALFORMED:
    case ERR_INVALID:
    case ERR_UNKNOWN:
    case ERR_NAMESPACE:
    case ERR_ATTRIBUTE:
    case ERR_BAD_ATTRIBUTE:
    case ERR_ELEMENT:
    case ERR_MISSING:
        return GRPC_INVALID_ARGUMENT;
    case ERR_ABSENT:
        return GRPC_NOT_FOUND;
    case ERR_EXISTS:
        return GRPC_ALREADY_EXISTS;
    case ERR_CONFLICT:
        return GRPC_ABORTED;
    case ERR_REFERENCE:
    case ERR_INCOMPLETE:
    case ERR_CONSTRAINT:
    case ERR_LOCKED:
    case ERR_IN_USE:
    case ERR_REFUSED:
        return GRPC_FAILED_PRECONDITION;
    case ERR_AUTH:
        return GRPC_UNAUTHENTICATED;
    case ERR_DENIED:
        return GRPC_PERMISSION_DENIED;
    case ERR_METHOD:
    case ERR_UNSUPPORTED:
        return GRPC_UNIMPLEMENTED;
    case ERR_TOO_BIG:
    case ERR_LIMIT:
        return GRPC_RESOURCE_EXHAUSTED;
    case ERR_UNAVAILABLE:
        return GRPC_UNAVAILABLE;
    case ERR_TIMEOUT:
        return GRPC_DEADLINE_EXCEEDED;
    default:
        return GRPC_INTERNAL;
    }
}

void grpc_message_encode(struct buf *out, const char *s) {
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (c >= 0x20 && c < 0x7f && c != '%') {
            buf_char(out, (char)c);
        } else {
            buf_printf(out, "%%%02X", c);
        }
    }
}

char *grpc_message_decode(const char *s, size_t n) {
    char *out = mem_alloc(n + 1);
    if (!http_pct_decode(s, n, out)) {
        memcpy(out, s, n); /* the protocol asks for leniency here: better raw than lost */
        out[n] = '\0';
    }
    return out;
}

int64_t grpc_timeout_parse(const char *s) {
    static const struct {
        char unit;
        int64_t num, den; /* milliseconds */
    } units[] = {{'H', 3600000, 1}, {'M', 60000, 1}, {'S', 1000, 1},
                 {'m', 1, 1},       {'u', 1, 1000},  {'n', 1, 1000000}};
    int64_t v = 0;
    int digits = 0;
    for (; *s >= '0' && *s <= '9' && digits <= TIMEOUT_DIGITS_MAX; s++, digits++) {
        v = v * 10 + (*s - '0');
    }
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (digits > 0 && digits <= TIMEOUT_DIGITS_MAX && s[0] == units[i].unit && s[1] == '\0') {
            return (v * units[i].num + units[i].den - 1) / units[i].den;
        }
    }
    return -1;
}

void grpc_timeout_format(char out[16], int64_t ms) {
    if (ms < 100000000) {
        snprintf(out, 16, "%dm", (int)ms);
    } else {
        int64_t s = ms / 1000;
        snprintf(out, 16, "%dS", (int)(s > 99999999 ? 99999999 : s));
    }
}

/* ------------------------------------------------------------------ calls */

void grpc_call_set_status(struct grpc_call *c, enum grpc_code status, const char *message) {
    c->status = status;
    mem_free(c->message);
    c->message = message ? mem_strdup(message) : NULL;
}

bool grpc_call_feed(struct grpc_call *c, const uint8_t *p, size_t n) {
    struct cur in = cur_of(p, n);
    while (!c->ended && !c->paused) {
        const uint8_t *m;
        size_t k;
        switch (grpc_frames_next(&c->in, &in, GRPC_MESSAGE_MAX, &m, &k)) {
        case GRPC_FRAME_MORE:
            return true;
        case GRPC_FRAME_MESSAGE:
            if (c->server != NULL) {
                c->server->n.messages_in++;
            }
            if (c->ops != NULL && c->ops->message != NULL) {
                c->ops->message(c, m, k, c->arg);
            }
            break;
        case GRPC_FRAME_COMPRESSED:
            grpc_call_set_status(c, GRPC_UNIMPLEMENTED, "compressed messages are not supported");
            return false;
        case GRPC_FRAME_TOO_BIG:
            grpc_call_set_status(c, GRPC_RESOURCE_EXHAUSTED, "the message is over 1 MiB");
            return false;
        default:
            grpc_call_set_status(c, GRPC_INTERNAL, "unknown flags before a message");
            return false;
        }
    }
    if (!c->ended) {
        buf_add(&c->rest, in.p, cur_left(&in));
    }
    return true;
}

void grpc_call_free(struct grpc_call *c) {
    loop_defer_cancel(&c->work);
    loop_timer_free(c->timer);
    grpc_frames_free(&c->in);
    buf_free(&c->rest);
    buf_free(&c->metadata);
    buf_free(&c->out);
    mem_free(c->message);
    mem_free(c);
}

void grpc_set_ops(struct grpc_call *c, const struct grpc_call_ops *ops, void *arg) {
    c->ops = ops;
    c->arg = arg;
}

void *grpc_arg(const struct grpc_call *c) {
    return c->arg;
}

int64_t grpc_time_left_ms(const struct grpc_call *c) {
    if (c->deadline == 0) {
        return -1;
    }
    int64_t left = (c->deadline - loop_now(c->loop)) / NS_PER_MS;
    return left < 0 ? 0 : left;
}

const struct http_peer *grpc_peer(const struct grpc_call *c) {
    return c->r ? http_peer(c->r) : NULL;
}

const char *grpc_metadata(const struct grpc_call *c, const char *name) {
    if (c->r != NULL) {
        return http_header(c->r, name);
    }
    const char *p = (const char *)c->metadata.data;
    const char *end = p ? p + c->metadata.len : p;
    while (p < end) {
        const char *value = p + strlen(p) + 1;
        if (strcmp(p, name) == 0) {
            return value;
        }
        p = value + strlen(value) + 1;
    }
    return NULL;
}

size_t grpc_queued(const struct grpc_call *c) {
    return c->r ? http_queued(c->r) : c->out.len - c->out_at;
}

size_t grpc_high_mark(const struct grpc_call *c) {
    return c->r ? http_queue_high(c->r) : GRPC_HIGH;
}

/* ------------------------------------------------------------------ server side of a call */

static const struct http_field response_fields[] = {{"content-type", "application/grpc"},
                                                    {"grpc-accept-encoding", "identity"}};

size_t grpc_send(struct grpc_call *c, const void *p, size_t n) {
    if (c->out_done || c->ended || n > GRPC_MESSAGE_MAX || grpc_queued(c) + n > GRPC_QUEUE_MAX) {
        return SIZE_MAX;
    }
    if (c->r == NULL) {
        return grpc_client_send(c, p, n);
    }
    if (!http_started(c->r)) {
        http_start(c->r, 200, response_fields, 2, -1);
    }
    uint8_t head[GRPC_FRAME_HEAD];
    grpc_frame_head(head, n);
    http_write(c->r, head, sizeof(head));
    c->server->n.messages_out++;
    return http_write(c->r, p, n);
}

void grpc_answer_end(struct http_req *r, enum grpc_code status, const char *message) {
    char code[16];
    snprintf(code, sizeof(code), "%d", (int)status);
    struct buf text = BUF_INIT;
    grpc_message_encode(&text, message ? message : "");
    struct http_field f[4] = {response_fields[0], response_fields[1], {"grpc-status", code}};
    size_t n = 3;
    if (text.len > 0) {
        f[n++] = (struct http_field){"grpc-message", buf_cstr(&text)};
    }
    if (http_started(r)) {
        http_end_trailers(r, f + 2, n - 2);
    } else {
        http_req_lazy(
            r); /* what it still sends is not waited for, and the status in the head is its end */
        http_respond_bare(r, 200, f, n);
    }
    buf_free(&text);
}

void grpc_finish(struct grpc_call *c, enum grpc_code status, const char *message) {
    if (c->r == NULL || c->out_done) {
        return;
    }
    c->out_done = c->ended = true;
    grpc_answer_end(c->r, status, message);
}

void grpc_finish_err(struct grpc_call *c, const struct err *e) {
    char text[ERR_PATH_MAX + ERR_TEXT_MAX + 4];
    snprintf(text, sizeof(text), "%s%s%s", e->path, e->path[0] ? ": " : "", e->text);
    grpc_finish(c, grpc_code_of(e->code), text);
}

/* The call ends for a reason of ours; the dialect hears it in `closed`. */
static void fault(struct grpc_call *c) {
    c->server->n.refused++;
    enum grpc_code status = c->status;
    char text[128];
    snprintf(text, sizeof(text), "%s", c->message ? c->message : "");
    grpc_finish(c, status, text);
}

static void count_partial(struct grpc_call *c) {
    size_t now = grpc_frames_held(&c->in) + c->rest.len;
    struct http_conn *conn = c->r->conn;
    conn->partial = conn->partial + now - c->counted;
    c->counted = now;
    if (conn->partial > GRPC_CONN_PARTIAL_MAX && !c->ended) {
        grpc_call_set_status(c, GRPC_RESOURCE_EXHAUSTED,
                             "too much of this connection waits in incomplete messages");
        fault(c);
    }
}

static void server_feed(struct grpc_call *c, const uint8_t *p, size_t n) {
    if (!grpc_call_feed(c, p, n)) {
        fault(c);
    }
    count_partial(c);
}

static void server_work(void *arg) {
    struct grpc_call *c = arg;
    if (c->paused) {
        return;
    }
    struct buf rest = c->rest;
    c->rest = (struct buf)BUF_INIT;
    server_feed(c, rest.data, rest.len);
    buf_free(&rest);
    if (!c->paused) {
        http_req_pause(c->r, false);
    }
}

void grpc_pause(struct grpc_call *c, bool pause) {
    if (c->paused == pause) {
        return;
    }
    c->paused = pause;
    if (c->r == NULL) {
        grpc_client_resume(c);
    } else if (pause) {
        http_req_pause(c->r, true);
    } else {
        loop_defer(c->loop, &c->work);
    }
}

static void on_body(struct http_req *r, const uint8_t *p, size_t n, void *arg) {
    struct grpc_call *c = arg;
    if (c->rest.len > 0) { /* paused and resumed within one piece */
        buf_add(&c->rest, p, n);
    } else if (!c->ended) {
        server_feed(c, p, n);
    }
}

static void on_body_end(struct http_req *r, void *arg) {
    struct grpc_call *c = arg;
    if (c->ended) {
        return;
    }
    if (grpc_frames_inside(&c->in)) {
        grpc_call_set_status(c, GRPC_INTERNAL, "the stream ends inside a message");
        fault(c);
    } else if (c->ops != NULL && c->ops->half_closed != NULL) {
        c->ops->half_closed(c, c->arg);
    }
}

static void on_drained(struct http_req *r, void *arg) {
    struct grpc_call *c = arg;
    if (!c->ended && c->ops != NULL && c->ops->drained != NULL) {
        c->ops->drained(c, c->arg);
    }
}

static void on_closed(struct http_req *r, bool aborted, void *arg) {
    struct grpc_call *c = arg;
    r->conn->partial -= c->counted;
    c->server->n.open_calls--;
    c->ended = c->out_done = true;
    if (aborted && c->status == GRPC_OK) {
        c->status = GRPC_CANCELLED;
    }
    if (c->ops != NULL && c->ops->closed != NULL) {
        c->ops->closed(c, c->status, c->message ? c->message : "", c->arg);
    }
    grpc_call_free(c);
}

static const struct http_req_ops call_ops = {on_body, on_body_end, on_drained, on_closed};

static void on_deadline(void *arg) {
    struct grpc_call *c = arg;
    if (c->out_done) { /* it was finished but the caller does not read the end */
        http_abort(c->r, 8 /* CANCEL */);
        return;
    }
    grpc_call_set_status(c, GRPC_DEADLINE_EXCEEDED, "the caller's time is over");
    grpc_finish(c, c->status, c->message);
    loop_timer_start(c->timer, DEADLINE_LINGER_MS);
}

/* ------------------------------------------------------------------ server */

struct grpc_server *grpc_server_new(struct loop *l) {
    struct grpc_server *s = MEM_NEW(struct grpc_server);
    s->loop = l;
    return s;
}

void grpc_server_free(struct grpc_server *s) {
    if (s != NULL) {
        map_free(&s->methods, mem_free);
        mem_free(s);
    }
}

void grpc_register(struct grpc_server *s, const char *path, grpc_handler *h, void *arg) {
    struct method *m = MEM_NEW(struct method);
    *m = (struct method){h, arg};
    mem_free(map_put(&s->methods, path, m));
}

bool grpc_is(const struct http_req *r) {
    const char *type = http_header(r, "content-type");
    return type != NULL && strncmp(type, "application/grpc", 16) == 0 &&
           (type[16] == '\0' || type[16] == '+' || type[16] == ';');
}

static void refuse(struct grpc_server *s, struct http_req *r, enum grpc_code status,
                   const char *message) {
    s->n.refused++;
    grpc_answer_end(r, status, message);
}

void grpc_serve(struct grpc_server *s, struct http_req *r) {
    if (http_version(r) != 20 || strcmp(http_method(r), "POST") != 0) {
        bool h2 = http_version(r) == 20;
        http_respond(r, h2 ? 405 : 505, "text/plain",
                     h2 ? "gRPC calls are POST.\n" : "gRPC needs HTTP/2.\n", h2 ? 21 : 19);
        s->n.refused++;
        return;
    }
    http_req_lazy(r);
    struct method *m = map_get(&s->methods, http_raw_path(r));
    const char *timeout = http_header(r, "grpc-timeout");
    int64_t ms = timeout ? grpc_timeout_parse(timeout) : -1;
    if (m == NULL) {
        refuse(s, r, GRPC_UNIMPLEMENTED, "no such method");
        return;
    }
    if (timeout != NULL && ms < 0) {
        refuse(s, r, GRPC_INVALID_ARGUMENT, "grpc-timeout is malformed");
        return;
    }
    struct grpc_call *c = MEM_NEW(struct grpc_call);
    c->loop = s->loop;
    c->server = s;
    c->r = r;
    c->work.fn = server_work;
    c->work.arg = c;
    s->n.calls++;
    s->n.open_calls++;
    http_req_set_ops(r, &call_ops, c);
    if (timeout != NULL) {
        c->deadline = loop_now(s->loop) + ms * NS_PER_MS;
        c->timer = loop_timer_new(s->loop, on_deadline, c);
        loop_timer_start(c->timer, ms);
    }
    m->handler(c, m->arg);
}

void grpc_http_handler(struct http_req *r, void *grpc_server) {
    if (grpc_is(r)) {
        grpc_serve(grpc_server, r);
    } else {
        http_respond(r, 415, "text/plain", "This port speaks gRPC only.\n", 28);
    }
}

const struct grpc_counters *grpc_server_counters(const struct grpc_server *s) {
    return &s->n;
}
