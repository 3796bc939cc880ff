// SPDX-License-Identifier: Apache-2.0
/* HTTP/2 connections on nghttp2. nghttp2 keeps the protocol; here are the bounds and the flow of
 * bytes: credit is given for what the dialect has taken, and nothing more is parsed or framed while
 * the peer leaves more than HTTP_CONN_HIGH bytes unread. */
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/logger.h"
#include "base/mem.h"
#include "net/http1.h"
#include "net/http_int.h"

LOGGER_MODULE(h2)

enum {
    FLOOD_WINDOW_S = 10,
    SETTINGS_ENTRIES_MAX = 32,
    RESPONSE_FIELDS_MAX = 64,
    ENDLESS_HEADS = 4, /* times max_header_bytes, in one stream: no answer is worth reading on */
    EARLY_END_MS = 500,
};

struct h2 {
    struct http_conn *conn;
    nghttp2_session *session;
    int64_t flood_since;
    unsigned resets, control;
    struct list heads; /* requests no handler has been given: head not complete, or refused */
    bool doomed;       /* to be killed once nghttp2 has returned */
};

static void h2_abort(struct http_req *r, uint32_t code);

static struct http_req *find(nghttp2_session *ng, int32_t id) {
    return nghttp2_session_get_stream_user_data(ng, id);
}

/* ------------------------------------------------------------------ receiving */

static void cut_off(struct h2 *h, const char *why) {
    if (!h->doomed) {
        h->doomed = true;
        h->conn->server->n.flood++;
        L_WARN_RL(10, "%s is cut off: %s", h->conn->peer.text, why);
    }
    nghttp2_session_terminate_session(h->session, NGHTTP2_ENHANCE_YOUR_CALM);
}

/* Counts what costs the peer little and us more; the counts start anew every FLOOD_WINDOW_S. */
static void count_flood(struct h2 *h, bool reset) {
    struct http_server *s = h->conn->server;
    int64_t now = loop_now(s->loop);
    if (now - h->flood_since > FLOOD_WINDOW_S * NS_PER_S) {
        h->flood_since = now;
        h->resets = h->control = 0;
    }
    unsigned n = reset ? ++h->resets : ++h->control;
    if (n > (reset ? s->lim.max_resets : s->lim.max_control)) {
        cut_off(h, reset ? "too many streams that end at once" : "too many control frames");
    }
}

/* Is there room for n bytes more of this request's head? */
static bool head_fits(struct http_req *r, size_t n) {
    struct http_conn *c = r->conn;
    struct http_server *s = c->server;
    const struct http_limits *lim = &s->lim;
    if (r->head_bytes > lim->max_header_bytes || r->n_refs >= lim->max_headers ||
        c->heads + n > HTTP_CONN_HEADS_MAX ||
        (s->heads + n > HTTP_SERVER_HEADS_MAX && c->heads + n > lim->max_header_bytes)) {
        return false;
    }
    r->held_head += n;
    c->heads += n;
    s->heads += n;
    return true;
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *f, void *arg) {
    struct h2 *h = arg;
    if (f->hd.type == NGHTTP2_HEADERS && f->headers.cat == NGHTTP2_HCAT_REQUEST) {
        struct http_req *r = http_req_new(h->conn, 20);
        r->stream_id = f->hd.stream_id;
        r->length = -1;
        list_append(&h->heads, &r->link);
        nghttp2_session_set_stream_user_data(ng, f->hd.stream_id, r);
        h->conn->header_since = loop_now(h->conn->server->loop);
        h->conn->idle_since = 0;
    }
    return 0;
}

static void pseudo(struct http_req *r, const char *name, const uint8_t *v, size_t nv) {
    if (strcmp(name, ":method") == 0) {
        r->method = http_req_text(r, v, nv);
        if (nv == 7 && memcmp(v, "CONNECT", 7) == 0) {
            r->bad = "CONNECT is not supported";
        }
    } else if (strcmp(name, ":path") == 0) {
        bool form = nv > 0 && (*v == '/' || (nv == 1 && *v == '*'));
        r->bad = form && http_req_target(r, v, nv) ? r->bad : "the path is malformed";
    } else if (strcmp(name, ":authority") == 0) {
        r->authority = http_req_text(r, v, nv);
    }
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *f, const uint8_t *name, size_t nn,
                     const uint8_t *value, size_t nv, uint8_t flags, void *arg) {
    struct h2 *h = arg;
    struct http_req *r = find(ng, f->hd.stream_id);
    if (r == NULL) {
        return 0;
    }
    size_t n = nn + nv + 4; /* as much as it would be on HTTP/1 */
    r->head_bytes += n;
    if (r->head_bytes > ENDLESS_HEADS * h->conn->server->lim.max_header_bytes) {
        /* A few bytes of a frame may stand for kilobytes, and nghttp2 looks at each. */
        cut_off(h, "a header without end");
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (r->given || f->headers.cat != NGHTTP2_HCAT_REQUEST) {
        return 0; /* trailers: checked by nghttp2, of no use to us */
    }
    if (r->too_big || !head_fits(r, n)) {
        r->too_big = true;
        return 0;
    }
    if (nn > 0 && name[0] == ':') {
        pseudo(r, (const char *)name, value, nv);
    } else {
        http_req_add(r, name, nn, value, nv);
        if (nn == 4 && memcmp(name, "host", 4) == 0 && r->authority == 0) {
            r->authority = http_req_text(r, value, nv);
        } else if (nn == 14 && memcmp(name, "content-length", 14) == 0 && nv < 19) {
            r->length = 0; /* digits only: nghttp2 has checked it, and holds the peer to it */
            for (size_t i = 0; i < nv; i++) {
                r->length = r->length * 10 + (value[i] - '0');
            }
        }
    }
    return 0;
}

/* Refused before a handler sees it. */
static void refuse(struct h2 *h, struct http_req *r) {
    struct http_server *s = h->conn->server;
    char status[4];
    snprintf(status, sizeof(status), "%d", r->too_big ? 431 : 400);
    *(r->too_big ? &s->n.too_big : &s->n.bad_requests) += 1;
    r->ended = true;
    nghttp2_nv nv[] = {{(uint8_t *)":status", (uint8_t *)status, 7, 3, 0},
                       {(uint8_t *)"content-length", (uint8_t *)"0", 14, 1, 0}};
    nghttp2_submit_response(h->session, r->stream_id, nv, 2, NULL);
    if (!r->body_done) {
        nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, r->stream_id, NGHTTP2_NO_ERROR);
    }
}

static void headers_complete(struct h2 *h, struct http_req *r, bool last) {
    struct http_conn *c = h->conn;
    c->header_since = 0;
    c->served++;
    if (last) {
        r->body_done = true;
        r->length = 0;
    }
    if (r->too_big || r->bad != NULL || r->path == 0) {
        refuse(h, r);
        return;
    }
    if (c->server->lim.max_requests > 0 && c->served == c->server->lim.max_requests) {
        nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(h->session), NGHTTP2_NO_ERROR,
                              NULL, 0);
    }
    http_req_give(r);
    if (r->body_done) {
        http_req_body_end(r);
    }
}

static bool is_cheap(const nghttp2_frame_hd *hd) {
    switch (hd->type) {
    case NGHTTP2_PING:
    case NGHTTP2_SETTINGS:
        return !(hd->flags & NGHTTP2_FLAG_ACK);
    case NGHTTP2_PRIORITY:
        return true;
    case NGHTTP2_DATA:
        return hd->length == 0 && !(hd->flags & NGHTTP2_FLAG_END_STREAM);
    default:
        return hd->type > NGHTTP2_CONTINUATION; /* extensions, which are ignored */
    }
}

/* Here, because nghttp2 does not report all the frames that it ignores. */
static int on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *arg) {
    if (is_cheap(hd)) {
        count_flood(arg, false);
    }
    return 0;
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *f, void *arg) {
    struct h2 *h = arg;
    if (f->hd.type == NGHTTP2_SETTINGS && h->conn->header_since != 0 &&
        list_empty(&h->conn->reqs) && h->conn->served == 0) {
        h->conn->header_since = 0; /* a connection may wait for its first request */
        http_conn_idle(h->conn);
    }
    struct http_req *r = f->hd.stream_id != 0 ? find(ng, f->hd.stream_id) : NULL;
    if (r == NULL) {
        return 0;
    }
    bool last = f->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (f->hd.type == NGHTTP2_HEADERS && f->headers.cat == NGHTTP2_HCAT_REQUEST) {
        headers_complete(h, r, last);
    } else if ((f->hd.type == NGHTTP2_DATA || f->hd.type == NGHTTP2_HEADERS) && last) {
        r->body_done = true;
        if (r->ended) {
            nghttp2_session_resume_data(ng, r->stream_id);
        }
        if (r->given && r->held.len == 0) {
            http_req_body_end(r);
        }
    }
    return 0;
}

static int on_chunk(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                    void *arg) {
    struct h2 *h = arg;
    struct http_req *r = find(ng, id);
    if (r != NULL && r->given && (r->paused || r->held.len > 0)) {
        buf_add(&r->held, p, n); /* bounded by the window: no credit is given for it */
        return 0;
    }
    nghttp2_session_consume(h->session, id, n);
    if (r != NULL && r->given) {
        http_req_body(r, p, n);
    }
    return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *arg) {
    struct h2 *h = arg;
    struct http_req *r = find(ng, id);
    if (r == NULL) {
        return 0;
    }
    nghttp2_session_set_stream_user_data(ng, id, NULL);
    if (!r->ended) { /* by the peer's RST_STREAM, or by ours for what the peer did wrong */
        count_flood(h, true);
    }
    if (r->held.len > 0) {
        nghttp2_session_consume_connection(ng, r->held.len);
    }
    if (r->given) {
        http_req_closed(r, !r->ending);
    } else {
        h->conn->header_since = 0;
        list_remove(&r->link);
        http_req_free(r);
    }
    if (list_empty(&h->conn->reqs)) {
        h->conn->header_since = 0;
        http_conn_idle(h->conn);
    }
    return 0;
}

static int on_frame_sent(nghttp2_session *ng, const nghttp2_frame *f, void *arg) {
    struct http_req *r = f->hd.stream_id != 0 ? find(ng, f->hd.stream_id) : NULL;
    if (r != NULL && (f->hd.type == NGHTTP2_DATA || f->hd.type == NGHTTP2_HEADERS) &&
        f->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        r->ending = true;
        if (!r->body_done) { /* the peer may stop sending (RFC 9113 8.1) */
            nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, r->stream_id, NGHTTP2_NO_ERROR);
        }
    }
    return 0;
}

/* ------------------------------------------------------------------ sending */

/* There are clients (curl 7.88) that lose an answer which is complete before they have sent their
 * body. So its end waits a little for the body, which is dropped, or for the client to see the
 * status and stop. */
static bool waits_for_body(const struct http_req *r) {
    return !r->body_done && !r->lazy &&
           loop_now(r->conn->server->loop) - r->ended_at < EARLY_END_MS * NS_PER_MS;
}

void http_h2_tick(struct http_req *r) {
    struct h2 *h = r->conn->proto;
    if (r->ended && !r->body_done && !r->ending && !waits_for_body(r)) {
        nghttp2_session_resume_data(h->session, r->stream_id);
        http_conn_work(r->conn);
    }
}

static void submit_trailers(struct h2 *h, struct http_req *r) {
    nghttp2_nv nv[RESPONSE_FIELDS_MAX];
    for (size_t i = 0; i < r->n_trailers; i++) {
        const struct http_field *t = &r->trailers[i];
        nv[i] = (nghttp2_nv){(uint8_t *)t->name, (uint8_t *)t->value, strlen(t->name),
                             strlen(t->value), NGHTTP2_NV_FLAG_NONE};
    }
    nghttp2_submit_trailer(h->session, r->stream_id, nv, r->n_trailers);
}

static ssize_t read_body(nghttp2_session *ng, int32_t id, uint8_t *p, size_t n, uint32_t *flags,
                         nghttp2_data_source *source, void *arg) {
    struct h2 *h = arg;
    struct http_req *r = source->ptr;
    size_t have = r->out.len - r->out_at;
    size_t k = have < n ? have : n;
    bool end = r->ended && !waits_for_body(r);
    if (k == 0 && !end) {
        return NGHTTP2_ERR_DEFERRED; /* every write resumes it */
    }
    if (k > 0) {
        memcpy(p, r->out.data + r->out_at, k);
        r->out_at += k;
        r->sent_at = loop_now(h->conn->server->loop);
    }
    if (r->out_at == r->out.len) {
        buf_free(&r->out);
        r->out_at = 0;
        if (end) {
            *flags |= NGHTTP2_DATA_FLAG_EOF;
            if (r->n_trailers > 0) {
                *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
                submit_trailers(h, r);
            }
        }
    } else if (r->out_at > r->out.len / 2) {
        buf_consume(&r->out, r->out_at);
        r->out_at = 0;
    }
    return (ssize_t)k;
}

static void h2_start(struct http_req *r, int status, const struct http_field *f, size_t nf,
                     int64_t length, bool end) {
    struct h2 *h = r->conn->proto;
    nghttp2_nv nv[RESPONSE_FIELDS_MAX + 3];
    char code[16], len[24];
    snprintf(code, sizeof(code), "%d", status);
    const char *date = http_date(r->conn->server);
    size_t k = 0;
#define ADD(n_, v_)                                                                                \
    nv[k++] = (nghttp2_nv){(uint8_t *)(n_), (uint8_t *)(v_), strlen(n_), strlen(v_), 0}
    ADD(":status", code);
    ADD("date", date);
    if (length >= 0 && status != 204 && status != 304) {
        snprintf(len, sizeof(len), "%lld", (long long)length);
        ADD("content-length", len);
    }
    for (size_t i = 0; i < nf && i < RESPONSE_FIELDS_MAX; i++) {
        ADD(f[i].name, f[i].value);
    }
#undef ADD
    nghttp2_data_provider body = {.source.ptr = r, .read_callback = read_body};
    end = end && (r->body_done || r->lazy); /* else see waits_for_body() */
    int rc = nghttp2_submit_response(h->session, r->stream_id, nv, k, end ? NULL : &body);
    if (rc != 0) {
        L_DBG("%s: no response: %s", r->conn->peer.text, nghttp2_strerror(rc));
    }
    http_conn_work(r->conn);
}

static void resume(struct http_req *r) {
    struct h2 *h = r->conn->proto;
    nghttp2_session_resume_data(h->session, r->stream_id);
    http_conn_work(r->conn);
}

static void h2_write(struct http_req *r, const void *p, size_t n) {
    if (r->out.len == r->out_at) {
        r->sent_at = loop_now(r->conn->server->loop);
    }
    buf_add(&r->out, p, n);
    resume(r);
}

static void h2_end(struct http_req *r, const struct http_field *f, size_t n) {
    r->ended_at = loop_now(r->conn->server->loop);
    n = n > RESPONSE_FIELDS_MAX ? RESPONSE_FIELDS_MAX : n;
    if (n > 0) {
        r->trailers = mem_array(NULL, n, sizeof(*r->trailers));
        r->n_trailers = n;
        for (size_t i = 0; i < n; i++) {
            r->trailers[i] = (struct http_field){mem_strdup(f[i].name), mem_strdup(f[i].value)};
        }
    }
    resume(r);
}

static void h2_abort(struct http_req *r, uint32_t code) {
    struct h2 *h = r->conn->proto;
    nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, r->stream_id, code);
    http_conn_work(r->conn);
}

static size_t h2_queued(const struct http_req *r) {
    return r->out.len - r->out_at;
}

static void h2_resume(struct http_req *r) {
    http_conn_work(r->conn);
}

/* ------------------------------------------------------------------ connection */

/* Frames as much as the peer reads. */
static void pump(struct h2 *h) {
    struct http_conn *c = h->conn;
    while (!c->dead && stream_queued(c->stream) < HTTP_CONN_HIGH) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(h->session, &p);
        if (n <= 0) {
            h->doomed = h->doomed || n < 0;
            break;
        }
        stream_write(c->stream, p, (size_t)n);
    }
    if (c->dead) {
        return;
    }
    if (!nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session)) {
        h->doomed = true;
    }
    if (h->doomed) {
        /* GOAWAY is in the queue; open requests end here */
        LIST_FOREACH_SAFE (pos, &c->reqs) {
            struct http_req *r = CONTAINER_OF(pos, struct http_req, link);
            nghttp2_session_set_stream_user_data(h->session, r->stream_id, NULL);
            http_req_closed(r, true);
        }
        http_conn_linger(c);
        return;
    }
    stream_pause(c->stream, stream_queued(c->stream) >= HTTP_CONN_HIGH);
}

static void h2_data(struct http_conn *c, const uint8_t *p, size_t n) {
    struct h2 *h = c->proto;
    ssize_t rc = nghttp2_session_mem_recv(h->session, p, n);
    if (c->dead) {
        return;
    }
    if (rc < 0) {
        L_DBG("%s: %s", c->peer.text, nghttp2_strerror((int)rc));
        c->server->n.bad_requests++;
        h->doomed = true;
    }
    pump(h);
}

/* Body that was held back while the dialect had paused. */
static void deliver_held(struct h2 *h, struct http_req *r) {
    if (r->held.len > 0) {
        struct buf held = r->held;
        r->held = (struct buf)BUF_INIT;
        nghttp2_session_consume(h->session, r->stream_id, held.len);
        http_req_body(r, held.data, held.len);
        buf_free(&held);
    }
}

static void h2_work(struct http_conn *c) {
    struct h2 *h = c->proto;
    LIST_FOREACH_SAFE (pos, &c->reqs) {
        struct http_req *r = CONTAINER_OF(pos, struct http_req, link);
        if (!r->paused && !r->end_told) {
            deliver_held(h, r);
            if (r->body_done && !r->paused) {
                http_req_body_end(r);
            }
        }
    }
    pump(h);
    if (c->dead) {
        return;
    }
    LIST_FOREACH_SAFE (pos, &c->reqs) {
        http_req_sent(CONTAINER_OF(pos, struct http_req, link));
    }
}

static void h2_quiesce(struct http_conn *c) {
    struct h2 *h = c->proto;
    if (list_empty(&c->reqs)) {
        nghttp2_session_terminate_session(h->session, NGHTTP2_NO_ERROR);
    } else {
        nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(h->session), NGHTTP2_NO_ERROR,
                              NULL, 0);
    }
    http_conn_work(c);
}

static void h2_free(struct http_conn *c) {
    struct h2 *h = c->proto;
    nghttp2_session_del(h->session);
    LIST_FOREACH_SAFE (pos, &h->heads) {
        http_req_free(CONTAINER_OF(pos, struct http_req, link));
    }
    mem_free(h);
}

static nghttp2_session *session_new(struct h2 *h) {
    const struct http_limits *lim = &h->conn->server->lim;
    nghttp2_session_callbacks *cb;
    nghttp2_option *opt;
    nghttp2_session *ng;
    if (nghttp2_session_callbacks_new(&cb) != 0 || nghttp2_option_new(&opt) != 0) {
        abort(); /* memory ran out: see base/mem.h */
    }
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_sent);
    nghttp2_option_set_no_auto_window_update(opt, 1);
    nghttp2_option_set_no_closed_streams(opt, 1);
    nghttp2_option_set_max_settings(opt, SETTINGS_ENTRIES_MAX);
    nghttp2_option_set_stream_reset_rate_limit(opt, lim->max_resets * 2,
                                               lim->max_resets / FLOOD_WINDOW_S + 1);
    if (nghttp2_session_server_new2(&ng, cb, h, opt) != 0) {
        abort();
    }
    nghttp2_option_del(opt);
    nghttp2_session_callbacks_del(cb);
    return ng;
}

void http_h2_start(struct http_conn *c) {
    struct h2 *h = MEM_NEW(struct h2);
    h->conn = c;
    list_init(&h->heads);
    h->session = session_new(h);
    h->flood_since = loop_now(c->server->loop);
    c->proto = h;
    c->impl = &http_impl_h2;
    const struct http_limits *lim = &c->server->lim;
    nghttp2_settings_entry iv[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, lim->max_streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)lim->max_header_bytes},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, iv, sizeof(iv) / sizeof(iv[0]));
    nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0,
                                          (int32_t)lim->conn_window);
    http_conn_work(c);
}

const struct http_impl http_impl_h2 = {
    .start = h2_start,
    .write = h2_write,
    .end = h2_end,
    .abort = h2_abort,
    .resume = h2_resume,
    .queued = h2_queued,
    .data = h2_data,
    .work = h2_work,
    .quiesce = h2_quiesce,
    .free = h2_free,
};
