// SPDX-License-Identifier: Apache-2.0
/* HTTP/1.1 connections: one request at a time; what is pipelined waits in a bounded buffer. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "net/http1.h"
#include "net/http_int.h"

struct h1 {
    struct buf in;  /* received, not used yet; starts at a head or in a body */
    size_t scanned; /* of the head at the start of `in` */
    struct http_req *req;
    struct http1_body body;
    bool last;     /* no request after this one */
    bool done;     /* the response is complete; work() tells the dialect */
    bool want_100; /* the client waits for 100 Continue */
    bool broken;   /* framing is lost: nothing more is read as HTTP */
    uint32_t aborted;
};

static void put_status(struct buf *b, int minor, int status) {
    buf_printf(b, "HTTP/1.%d %d %s\r\n", minor, status, http_status_text(status));
}

/* An answer without a request object: the head could not be understood. */
static void refuse(struct http_conn *c, int status, const char *why) {
    struct h1 *h = c->proto;
    h->broken = true;
    if (status == 431 || status == 414) {
        c->server->n.too_big++;
    } else {
        c->server->n.bad_requests++;
    }
    struct buf b = BUF_INIT;
    put_status(&b, 1, status);
    buf_printf(&b,
               "date: %s\r\ncontent-type: text/plain; charset=utf-8\r\ncache-control: no-cache\r\n"
               "content-length: %zu\r\nconnection: close\r\n\r\n%s.\n",
               http_date(c->server), strlen(why) + 2, why);
    stream_write(c->stream, b.data, b.len);
    buf_free(&b);
    http_conn_linger(c);
}

static struct http_req *make_request(struct http_conn *c, const uint8_t *p,
                                     const struct http1_head *h) {
    struct http_req *r = http_req_new(c, 10 + h->minor);
    r->method = http_req_text(r, p + h->method.at, h->method.len);
    r->authority = http_req_text(r, p + h->authority.at, h->authority.len);
    for (unsigned i = 0; i < h->n; i++) {
        http_req_add(r, p + h->f[i].name.at, h->f[i].name.len, p + h->f[i].value.at,
                     h->f[i].value.len);
    }
    r->length = h->length;
    r->head = h->method.len == 4 && memcmp(p + h->method.at, "HEAD", 4) == 0;
    return r;
}

/* Takes a complete head of n bytes. */
static void take_head(struct http_conn *c, const uint8_t *p, size_t n) {
    struct h1 *h = c->proto;
    struct http1_head head;
    const char *why = "";
    int status = http1_parse(p, n, c->server->lim.max_headers, &head, &why);
    if (status != 0) {
        refuse(c, status, why);
        return;
    }
    struct http_req *r = make_request(c, p, &head);
    if (!http_req_target(r, p + head.target.at, head.target.len)) {
        http_req_free(r);
        refuse(c, 400, "the request target is malformed");
        return;
    }
    c->header_since = c->idle_since = 0;
    c->served++;
    h->req = r;
    h->done = false;
    h->want_100 = head.expect_continue;
    h->last = !head.keep_alive || c->server->closing ||
              (c->server->lim.max_requests > 0 && c->served >= c->server->lim.max_requests);
    http1_body_init(&h->body, head.length);
    r->body_done = http1_body_done(&h->body);
    http_req_give(r);
    if (c->dead || h->req != r) {
        return;
    }
    if (h->want_100 && !r->started && !r->body_done) {
        stream_write(c->stream, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    }
    h->want_100 = false;
    if (r->body_done) {
        http_req_body_end(r);
    }
}

static void broken_body(struct http_conn *c, int status, const char *why) {
    struct h1 *h = c->proto;
    h->broken = h->last = true;
    c->server->n.bad_requests++;
    if (h->req->started) {
        http_conn_kill(c);
    } else {
        http_req_error(h->req, status, why);
    }
}

/* Uses up what it can of the cursor. False when it has to wait (for more input, for the dialect,
 * for the peer to read). */
static bool step(struct http_conn *c, struct cur *in) {
    struct h1 *h = c->proto;
    if (c->dead || h->broken || c->lingering || cur_left(in) == 0) {
        return false;
    }
    struct http_req *r = h->req;
    if (r == NULL) {
        if (stream_queued(c->stream) > HTTP_CONN_HIGH) {
            return false; /* a client that pipelines has to read as well */
        }
        if (c->header_since == 0) {
            c->header_since = loop_now(c->server->loop);
            c->idle_since = 0;
        }
        size_t n = cur_left(in), max = c->server->lim.max_header_bytes;
        ptrdiff_t head = http1_scan(in->p, n > max ? max : n, &h->scanned);
        if (head < 0) {
            refuse(c, 400, "a bare CR or LF or another control character in the header");
        } else if (head == 0 && n >= max) {
            refuse(c, 431, "the header is too long");
        } else if (head > 0) {
            h->scanned = 0;
            take_head(c, cur_bytes(in, (size_t)head), (size_t)head);
            return true;
        }
        return false;
    }
    if (r->body_done || r->paused) {
        return false;
    }
    const uint8_t *p;
    size_t n;
    const char *why = "";
    int status = http1_body_next(&h->body, in, &p, &n, &why);
    if (status != 0) {
        broken_body(c, status, why);
        return false;
    }
    if (n > 0) {
        http_req_body(r, p, n);
    }
    if (!c->dead && h->req == r && http1_body_done(&h->body) && !r->body_done) {
        r->body_done = true;
        http_req_body_end(r);
    }
    return true;
}

static void run(struct http_conn *c, const uint8_t *p, size_t n) {
    struct h1 *h = c->proto;
    bool fresh = h->in.len == 0; /* the usual case: parse where the bytes are, keep only the rest */
    if (!fresh) {
        buf_add(&h->in, p, n);
        p = h->in.data;
        n = h->in.len;
    }
    struct cur in = cur_of(p, n);
    while (step(c, &in)) {
    }
    if (c->dead) {
        return;
    }
    size_t left = h->broken || c->lingering ? 0 : cur_left(&in);
    if (fresh) {
        buf_add(&h->in, in.p, left);
    } else if (left == 0) {
        buf_free(&h->in);
    } else {
        buf_consume(&h->in, h->in.len - left);
    }
    /* Reading goes on while a request is at work, to see the peer leave; pipelined bytes are kept
     * up to the bound. */
    bool full = h->in.len >= c->server->lim.max_header_bytes ||
                (h->req != NULL && h->req->paused && !h->req->body_done) ||
                stream_queued(c->stream) > HTTP_CONN_HIGH * 4;
    stream_pause(c->stream, full && !c->lingering);
}

static void h1_data(struct http_conn *c, const uint8_t *p, size_t n) {
    run(c, p, n);
}

/* The response is complete and the dialect hears of it; then the next request. */
static void finish(struct http_conn *c) {
    struct h1 *h = c->proto;
    struct http_req *r = h->req;
    bool whole = r->body_done; /* else where the next request starts is anybody's guess */
    h->req = NULL;
    h->done = false;
    http_req_closed(r, h->broken);
    if (c->dead) {
        return;
    }
    if (!whole || h->last || h->broken || c->server->closing) {
        http_conn_linger(c);
        return;
    }
    http_conn_idle(c);
}

static void h1_work(struct http_conn *c) {
    struct h1 *h = c->proto;
    if (h->aborted) {
        http_conn_kill(c);
        return;
    }
    if (h->req != NULL && h->req->body_done) {
        http_req_body_end(h->req); /* it may have come while the dialect had paused */
    }
    if (!c->dead && h->done) {
        finish(c);
    }
    if (!c->dead && h->req != NULL) {
        http_req_sent(h->req);
    }
    if (!c->dead && !c->lingering) {
        run(c, NULL, 0);
    }
}

/* ------------------------------------------------------------------ response */

static void h1_start(struct http_req *r, int status, const struct http_field *f, size_t nf,
                     int64_t length, bool end) {
    struct http_conn *c = r->conn;
    struct h1 *h = c->proto;
    struct buf b = BUF_INIT;
    if (!r->body_done || (r->version == 10 && length < 0)) {
        h->last = true;
    }
    put_status(&b, 1, status);
    buf_printf(&b, "date: %s\r\n", http_date(c->server));
    for (size_t i = 0; i < nf; i++) {
        buf_printf(&b, "%s: %s\r\n", f[i].name, f[i].value);
    }
    bool bodiless = status == 204 || status == 304;
    if (length >= 0 && !bodiless) {
        buf_printf(&b, "content-length: %lld\r\n", (long long)length);
    } else if (!bodiless && r->version == 11 && !r->head) {
        buf_str(&b, "transfer-encoding: chunked\r\n");
        r->chunked = true;
    }
    if (h->last) {
        buf_str(&b, "connection: close\r\n");
    } else if (r->version == 10) {
        buf_str(&b, "connection: keep-alive\r\n");
    }
    buf_str(&b, "\r\n");
    stream_write(c->stream, b.data, b.len);
    buf_free(&b);
}

static void h1_write(struct http_req *r, const void *p, size_t n) {
    struct stream *s = r->conn->stream;
    if (r->chunked) {
        char size[24];
        int k = snprintf(size, sizeof(size), "%zx\r\n", n);
        stream_write(s, size, (size_t)k);
        stream_write(s, p, n);
        stream_write(s, "\r\n", 2);
    } else {
        stream_write(s, p, n);
    }
}

static void h1_end(struct http_req *r, const struct http_field *trailers, size_t n) {
    struct h1 *h = r->conn->proto;
    if (r->chunked) {
        struct buf b = BUF_INIT;
        buf_str(&b, "0\r\n");
        for (size_t i = 0; i < n; i++) {
            buf_printf(&b, "%s: %s\r\n", trailers[i].name, trailers[i].value);
        }
        buf_str(&b, "\r\n");
        stream_write(r->conn->stream, b.data, b.len);
        buf_free(&b);
    }
    h->done = true;
    http_conn_work(r->conn);
}

static void h1_abort(struct http_req *r, uint32_t code) {
    struct h1 *h = r->conn->proto;
    h->aborted = 1;
    http_conn_work(r->conn);
}

static void h1_resume(struct http_req *r) {
    http_conn_work(r->conn);
}

static size_t h1_queued(const struct http_req *r) {
    return stream_queued(r->conn->stream);
}

static void h1_quiesce(struct http_conn *c) {
    struct h1 *h = c->proto;
    h->last = true;
    if (h->req == NULL) {
        http_conn_linger(c);
    }
}

static void h1_free(struct http_conn *c) {
    struct h1 *h = c->proto;
    buf_free(&h->in);
    mem_free(h);
}

void http_h1_start(struct http_conn *c) {
    c->proto = MEM_NEW(struct h1);
    c->impl = &http_impl_h1;
}

const struct http_impl http_impl_h1 = {
    .start = h1_start,
    .write = h1_write,
    .end = h1_end,
    .abort = h1_abort,
    .resume = h1_resume,
    .queued = h1_queued,
    .data = h1_data,
    .work = h1_work,
    .quiesce = h1_quiesce,
    .free = h1_free,
};
