// SPDX-License-Identifier: Apache-2.0
/* Requests and responses, whatever they travel on. */
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "base/mem.h"
#include "net/http1.h"
#include "net/http_int.h"

LOGGER_MODULE(http_req)

/* ------------------------------------------------------------------ made by the protocols */

struct http_req *http_req_new(struct http_conn *c, int version) {
    struct http_req *r = MEM_NEW(struct http_req);
    r->conn = c;
    r->version = version;
    r->high = c->server->lim.queue_high;
    list_init(&r->link);
    buf_reserve(&r->text, 512);
    buf_char(&r->text, '\0'); /* offset 0 is the empty string */
    return r;
}

void http_req_free(struct http_req *r) {
    struct http_conn *c = r->conn;
    if (!c->dead) { /* else it has given all back at once, and the server may be gone */
        c->server->collected -= r->collected_bytes;
        c->server->heads -= r->held_head;
        c->collected -= r->collected_bytes;
        c->heads -= r->held_head;
    }
    buf_free(&r->text);
    buf_free(&r->body);
    buf_free(&r->held);
    buf_free(&r->out);
    mem_free(r->refs);
    for (size_t i = 0; i < r->n_trailers; i++) {
        mem_free((void *)r->trailers[i].name);
        mem_free((void *)r->trailers[i].value);
    }
    mem_free(r->trailers);
    mem_free(r);
}

uint32_t http_req_text(struct http_req *r, const void *p, size_t n) {
    uint32_t at = (uint32_t)r->text.len;
    buf_add(&r->text, p, n);
    buf_char(&r->text, '\0');
    return at;
}

void http_req_add(struct http_req *r, const void *name, size_t nn, const void *value, size_t nv) {
    if (r->n_refs == r->cap_refs) {
        r->cap_refs = r->cap_refs ? r->cap_refs * 2 : 16;
        r->refs = mem_array(r->refs, r->cap_refs, sizeof(*r->refs));
    }
    uint32_t at = http_req_text(r, name, nn);
    for (char *q = (char *)r->text.data + at; *q != '\0'; q++) {
        if (*q >= 'A' && *q <= 'Z') {
            *q = (char)(*q + ('a' - 'A'));
        }
    }
    r->refs[r->n_refs++] = (struct http_ref){at, http_req_text(r, value, nv)};
}

static int hex(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

bool http_pct_decode(const char *p, size_t n, char *out) {
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        if (c == '%') {
            int hi = i + 2 < n ? hex(p[i + 1]) : -1, lo = i + 2 < n ? hex(p[i + 2]) : -1;
            if (hi < 0 || lo < 0 || (hi == 0 && lo == 0)) {
                return false;
            }
            c = (char)(hi << 4 | lo);
            i += 2;
        }
        *out++ = c;
    }
    *out = '\0';
    return true;
}

void http_pct_encode(struct buf *out, const char *s) {
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
            strchr("-._~", c) != NULL) {
            buf_char(out, (char)c);
        } else {
            buf_printf(out, "%%%02X", c);
        }
    }
}

bool http_req_target(struct http_req *r, const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (p[i] <= 0x20 || p[i] >= 0x7f || p[i] == '#') {
            return false;
        }
    }
    const uint8_t *q = n > 0 ? memchr(p, '?', n) : NULL;
    size_t path = q ? (size_t)(q - p) : n;
    if (path > HTTP_PATH_MAX) {
        return false;
    }
    r->raw_path = path > 0 ? http_req_text(r, p, path) : http_req_text(r, "/", 1);
    r->query = q ? http_req_text(r, q + 1, n - path - 1) : 0;
    char *plain = mem_alloc(path + 2);
    const char *raw = http_raw_path(r);
    bool ok = http_pct_decode(raw, strlen(raw), plain);
    r->path = ok ? http_req_text(r, plain, strlen(plain)) : 0;
    mem_free(plain);
    return ok;
}

void http_req_give(struct http_req *r) {
    struct http_server *s = r->conn->server;
    r->given = true;
    r->body_since = r->sent_at = loop_now(s->loop);
    list_remove(&r->link);
    list_append(&r->conn->reqs, &r->link);
    s->n.requests++;
    s->n.requests_h2 += r->version == 20;
    s->n.open_requests++;
    s->handler(r, s->arg);
}

void http_req_body(struct http_req *r, const uint8_t *p, size_t n) {
    r->body_bytes += n;
    if (r->collected != NULL) {
        if (r->body.len + n > r->collect_cap) {
            r->collected = NULL;
            buf_free(&r->body);
            r->conn->server->n.too_big++;
            http_req_error(r, 413, "the body is larger than allowed here");
            return;
        }
        struct http_server *s = r->conn->server;
        if (r->body.len + n > HTTP_COLLECT_FREE && s->collected + n > s->lim.max_collected) {
            r->collected = NULL;
            buf_free(&r->body);
            s->n.too_big++;
            http_req_error(r, 503, "too many large bodies at once; try again");
            return;
        }
        s->collected += n;
        r->conn->collected += n;
        r->collected_bytes += n;
        buf_add(&r->body, p, n);
    } else if (r->ops != NULL && r->ops->body != NULL && !r->ended) {
        r->ops->body(r, p, n, r->arg);
    }
}

void http_req_body_end(struct http_req *r) {
    if (r->paused || r->end_told) {
        return;
    }
    r->end_told = true;
    if (r->collected != NULL) {
        http_collected *fn = r->collected;
        r->collected = NULL;
        fn(r, &r->body, r->collected_arg);
    } else if (r->ops != NULL && r->ops->body_end != NULL && !r->ended) {
        r->ops->body_end(r, r->arg);
    }
}

void http_req_sent(struct http_req *r) {
    if (r->over && http_queued(r) <= r->high / 2) {
        r->over = false;
        if (r->ops != NULL && r->ops->drained != NULL) {
            r->ops->drained(r, r->arg);
        }
    }
}

void http_req_closed(struct http_req *r, bool aborted) {
    struct http_server *s = r->conn->server;
    list_remove(&r->link);
    s->n.open_requests--;
    s->n.aborted += aborted;
    if (r->ops != NULL && r->ops->closed != NULL) {
        r->ops->closed(r, aborted, r->arg);
    }
    http_req_free(r);
}

void http_req_error(struct http_req *r, int status, const char *why) {
    struct http_server *s = r->conn->server;
    if (r->started) {
        http_abort(r, 0x0 /* NO_ERROR: the peer's sending is what ends it */);
        return;
    }
    if (s->error_writer != NULL) {
        s->error_writer(r, status, why, s->error_arg);
    }
    if (!r->started) {
        char text[256];
        int n = snprintf(text, sizeof(text), "%s.\n", why);
        http_respond(r, status, "text/plain; charset=utf-8", text, (size_t)n);
    }
}

void http_req_lazy(struct http_req *r) {
    r->lazy = true;
}

/* ------------------------------------------------------------------ request, for dialects */

static const char *text_at(const struct http_req *r, uint32_t at) {
    return (const char *)r->text.data + at;
}

const char *http_method(const struct http_req *r) {
    return text_at(r, r->method);
}

const char *http_raw_path(const struct http_req *r) {
    return text_at(r, r->raw_path);
}

const char *http_path(const struct http_req *r) {
    return text_at(r, r->path);
}

const char *http_query(const struct http_req *r) {
    return text_at(r, r->query);
}

const char *http_authority(const struct http_req *r) {
    return text_at(r, r->authority);
}

const char *http_scheme(const struct http_req *r) {
    return r->conn->tls ? "https" : "http";
}

int http_version(const struct http_req *r) {
    return r->version;
}

const char *http_header(const struct http_req *r, const char *name) {
    for (unsigned i = 0; i < r->n_refs; i++) {
        if (strcmp(text_at(r, r->refs[i].name), name) == 0) {
            return text_at(r, r->refs[i].value);
        }
    }
    return NULL;
}

unsigned http_header_count(const struct http_req *r) {
    return r->n_refs;
}

void http_header_at(const struct http_req *r, unsigned i, const char **name, const char **value) {
    *name = text_at(r, r->refs[i].name);
    *value = text_at(r, r->refs[i].value);
}

char *http_query_get(const struct http_req *r, const char *name) {
    size_t want = strlen(name);
    for (const char *p = http_query(r); *p != '\0';) {
        size_t n = strcspn(p, "&"), key = strcspn(p, "=&");
        char *plain = mem_alloc(n + 1);
        bool match = http_pct_decode(p, key, plain) && strlen(plain) == want &&
                     memcmp(plain, name, want) == 0;
        size_t at = key < n ? key + 1 : n;
        if (match && http_pct_decode(p + at, n - at, plain)) {
            return plain;
        }
        mem_free(plain);
        p += n + (p[n] == '&');
    }
    return NULL;
}

int64_t http_body_length(const struct http_req *r) {
    return r->length;
}

const struct http_peer *http_peer(const struct http_req *r) {
    return &r->conn->peer;
}

void http_req_set_ops(struct http_req *r, const struct http_req_ops *ops, void *arg) {
    r->ops = ops;
    r->arg = arg;
}

void http_req_pause(struct http_req *r, bool pause) {
    if (r->paused == pause) {
        return;
    }
    r->paused = pause;
    r->body_since = loop_now(r->conn->server->loop);
    r->body_bytes = 0;
    if (!pause) {
        r->conn->impl->resume(r);
    }
}

void http_collect(struct http_req *r, size_t cap, http_collected *done, void *arg) {
    if (r->length >= 0 && (uint64_t)r->length > cap) {
        r->conn->server->n.too_big++;
        http_req_error(r, 413, "the body is larger than allowed here");
        return;
    }
    r->collected = done;
    r->collected_arg = arg;
    r->collect_cap = cap;
}

/* ------------------------------------------------------------------ response */

static bool fields_ok(const struct http_field *f, size_t nf) {
    for (size_t i = 0; i < nf; i++) {
        if (!http1_is_token(f[i].name, strlen(f[i].name)) || strpbrk(f[i].value, "\r\n") != NULL) {
            L_ERR("a response field is not fit to be sent: %s", f[i].name);
            return false;
        }
        for (const char *p = f[i].name; *p != '\0'; p++) {
            if (*p >= 'A' && *p <= 'Z') {
                L_ERR("a response field name is not lower-case: %s", f[i].name);
                return false;
            }
        }
    }
    return true;
}

static void start(struct http_req *r, int status, const struct http_field *f, size_t nf,
                  int64_t length, bool end) {
    const struct http_server *s = r->conn->server;
    struct http_field extra, *all = NULL;
    char value[HTTP_EXTRA_MAX];
    if (r->started) {
        L_ERR("a second response to %s %s", http_method(r), http_raw_path(r));
        return;
    }
    if (!fields_ok(f, nf)) {
        status = 500;
        nf = 0;
    }
    if (s->extra != NULL && s->extra(&extra, value, s->extra_arg)) {
        all = mem_alloc((nf + 1) * sizeof *all);
        if (nf > 0) {
            memcpy(all, f, nf * sizeof *f);
        }
        all[nf++] = extra;
        f = all;
    }
    r->started = true;
    r->head = r->head || strcmp(http_method(r), "HEAD") == 0 || status == 204 || status == 304;
    r->left = length;
    r->conn->impl->start(r, status, f, nf, length, end || r->head);
    mem_free(all);
}

void http_start(struct http_req *r, int status, const struct http_field *f, size_t nf,
                int64_t length) {
    start(r, status, f, nf, length, length == 0);
}

static void put(struct http_req *r, const void *p, size_t n) {
    r->conn->impl->write(r, p, n);
    size_t q = http_queued(r);
    if (q > r->high) {
        r->over = true;
    }
}

size_t http_write(struct http_req *r, const void *p, size_t n) {
    if (!r->started || r->ended) {
        L_ERR("body outside a response to %s %s", http_method(r), http_raw_path(r));
        return 0;
    }
    if (r->head || n == 0) {
        return http_queued(r);
    }
    if (r->left >= 0) {
        if ((uint64_t)r->left < n) {
            L_ERR("a longer body than announced to %s %s", http_method(r), http_raw_path(r));
            http_abort(r, 2 /* INTERNAL_ERROR */);
            return 0;
        }
        r->left -= (int64_t)n;
    }
    if (http_queued(r) > r->conn->server->lim.queue_max) {
        L_WARN_RL(10, "%s %s: its producer ignores back-pressure and is cut", http_method(r),
                  http_raw_path(r));
        http_abort(r, 11 /* ENHANCE_YOUR_CALM */);
        return http_queued(r);
    }
    put(r, p, n);
    return http_queued(r);
}

void http_end_trailers(struct http_req *r, const struct http_field *f, size_t nf) {
    if (!r->started || r->ended) {
        return;
    }
    r->ended = true;
    if (r->left > 0 && !r->head) {
        L_ERR("a shorter body than announced to %s %s", http_method(r), http_raw_path(r));
        http_abort(r, 2 /* INTERNAL_ERROR */);
        return;
    }
    r->conn->impl->end(r, f, fields_ok(f, nf) ? nf : 0);
}

void http_end(struct http_req *r) {
    http_end_trailers(r, NULL, 0);
}

void http_respond_fields(struct http_req *r, int status, const struct http_field *f, size_t nf,
                         const void *body, size_t n) {
    if (r->started) {
        return;
    }
    start(r, status, f, nf, (int64_t)n, n == 0);
    if (n > 0 && !r->head) {
        r->left = 0;
        put(r, body, n);
    }
    http_end(r);
}

void http_respond(struct http_req *r, int status, const char *content_type, const void *body,
                  size_t n) {
    struct http_field f = {"content-type", content_type};
    http_respond_fields(r, status, &f, content_type != NULL, body, n);
}

void http_respond_bare(struct http_req *r, int status, const struct http_field *f, size_t nf) {
    if (!r->started) {
        start(r, status, f, nf, -1, true);
        http_end(r);
    }
}

size_t http_queued(const struct http_req *r) {
    return r->conn->impl->queued(r);
}

size_t http_queue_high(const struct http_req *r) {
    return r->high;
}

bool http_started(const struct http_req *r) {
    return r->started;
}

void http_abort(struct http_req *r, uint32_t h2_code) {
    r->ended = true;
    r->conn->impl->abort(r, h2_code);
}

const char *http_status_text(int status) {
    static const struct {
        int status;
        const char *text;
    } known[] = {
        {100, "Continue"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {423, "Locked"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].status == status) {
            return known[i].text;
        }
    }
    return "";
}

/* ------------------------------------------------------------------ event streams */

enum { EVENTS_BEAT_MS = 15000 };

struct http_events {
    struct http_req *r;
    loop_fn *closed;
    void *arg;
    struct loop_timer *beat;
    bool behind;
};

static void events_drained(struct http_req *r, void *arg) {
    struct http_events *ev = arg;
    if (ev->behind) {
        static const char resync[] = "event: resync\ndata: {}\n\n";
        ev->behind = false;
        http_write(r, resync, sizeof(resync) - 1);
    }
}

static void events_closed(struct http_req *r, bool aborted, void *arg) {
    struct http_events *ev = arg;
    loop_timer_free(ev->beat);
    if (ev->closed != NULL) {
        ev->closed(ev->arg);
    }
    mem_free(ev);
}

static const struct http_req_ops events_ops = {.drained = events_drained, .closed = events_closed};

static void events_beat(void *arg) {
    struct http_events *ev = arg;
    if (http_queued(ev->r) == 0) {
        http_write(ev->r, ":\n\n", 3);
    }
}

struct http_events *http_events_start(struct http_req *r, const struct http_field *f, size_t nf,
                                      size_t max_queued, loop_fn *closed, void *arg) {
    struct http_events *ev = MEM_NEW(struct http_events);
    ev->r = r;
    ev->closed = closed;
    ev->arg = arg;
    struct http_field *all = mem_array(NULL, nf + 2, sizeof(*all));
    all[0] = (struct http_field){"content-type", "text/event-stream"};
    all[1] = (struct http_field){"cache-control", "no-cache"};
    for (size_t i = 0; i < nf; i++) {
        all[2 + i] = f[i];
    }
    r->high = max_queued > 0 ? max_queued : r->high;
    http_req_set_ops(r, &events_ops, ev);
    http_start(r, 200, all, nf + 2, -1);
    mem_free(all);
    ev->beat = loop_timer_new(r->conn->server->loop, events_beat, ev);
    loop_timer_repeat(ev->beat, EVENTS_BEAT_MS);
    return ev;
}

static void put_lines(struct buf *b, const char *field, const char *s) {
    do {
        size_t n = strcspn(s, "\r\n");
        buf_str(b, field);
        buf_add(b, s, n);
        buf_char(b, '\n');
        s += n;
        s += s[0] == '\r' && s[1] == '\n' ? 2 : *s != '\0';
    } while (*s != '\0');
}

bool http_events_send(struct http_events *ev, const char *id, const char *event, const char *data) {
    if (ev->behind || ev->r->over) {
        ev->behind = true;
        ev->r->conn->server->n.events_dropped++;
        return false;
    }
    struct buf b = BUF_INIT;
    if (id != NULL) {
        put_lines(&b, "id: ", id);
    }
    if (event != NULL) {
        put_lines(&b, "event: ", event);
    }
    put_lines(&b, "data: ", data);
    buf_char(&b, '\n');
    http_write(ev->r, b.data, b.len);
    buf_free(&b);
    return true;
}

bool http_events_behind(const struct http_events *ev) {
    return ev->behind;
}

void http_events_end(struct http_events *ev) {
    loop_timer_stop(ev->beat);
    http_end(ev->r);
}
