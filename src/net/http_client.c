// SPDX-License-Identifier: Apache-2.0
#include "net/http_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "net/h2_client.h"

enum { CONNECT_MS = 3000 };

struct http_exchange {
    struct list link; /* of its client; itself: it was cancelled */
    struct http_client *client;
    int32_t id;
    const struct http_exchange_ops *ops; /* NULL: cancelled */
    void *arg;
    bool sent, headed, complete, over, out_done;
    int status;
    struct buf head; /* name NUL value NUL ... */
    size_t n_fields;
    struct buf out;
    size_t out_at;
    size_t owed; /* credit that was not given yet */
    struct loop_deferred reap;
};

struct http_client {
    struct loop *loop;
    const struct http_client_ops *ops;
    void *arg;
    struct stream *stream;
    nghttp2_session *session;
    bool tls, up, dead, goaway;
    struct loop_timer *timer;
    struct list exchanges;
    size_t n;
    char why[160];
    struct loop_deferred work, reap;
};

static struct http_exchange *find(nghttp2_session *ng, int32_t id) {
    return nghttp2_session_get_stream_user_data(ng, id);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void exchange_reap(void *arg) {
    struct http_exchange *x = arg;
    buf_free(&x->head);
    buf_free(&x->out);
    mem_free(x);
}

/* It is out of the list; nghttp2 or a callback may still be on the stack, and nghttp2 may come back
 * to its stream: it finds nothing there. */
static void exchange_leave(struct http_exchange *x) {
    nghttp2_session_set_stream_user_data(x->client->session, x->id, NULL);
    list_remove(&x->link);
    x->client->n--;
    if (!x->client->dead && x->owed > 0) {
        nghttp2_session_consume_connection(x->client->session, x->owed);
        loop_defer(x->client->loop, &x->client->work);
    }
    x->ops = NULL;
    loop_defer(x->client->loop, &x->reap);
}

static void exchange_closed(struct http_exchange *x, enum http_exchange_end end, const char *why) {
    const struct http_exchange_ops *ops = x->ops;
    exchange_leave(x);
    ops->closed(x, end, why, x->arg);
}

static void client_reap(void *arg) {
    struct http_client *c = arg;
    nghttp2_session_del(c->session);
    mem_free(c);
}

static void client_die(struct http_client *c, const char *why) {
    if (c->dead) {
        return;
    }
    c->dead = true;
    if (why != c->why) {
        snprintf(c->why, sizeof c->why, "%s", why);
    }
    while (!list_empty(&c->exchanges)) {
        struct http_exchange *x = CONTAINER_OF(c->exchanges.next, struct http_exchange, link);
        exchange_closed(x, x->sent ? HTTP_EXCHANGE_LOST : HTTP_EXCHANGE_NOT_SENT, c->why);
    }
    stream_free(c->stream);
    c->stream = NULL;
    loop_timer_free(c->timer);
    c->timer = NULL;
    loop_defer_cancel(&c->work);
    c->ops->closed(c, c->why, c->arg);
    loop_defer(c->loop, &c->reap);
}

static void pump(struct http_client *c) {
    if (c->dead || !stream_is_ready(c->stream)) {
        return;
    }
    const char *why = h2_client_pump(c->session, &c->stream);
    if (why != NULL) {
        client_die(c, c->why[0] != '\0' ? c->why : why);
    }
}

static void client_work(void *arg) {
    pump(arg);
}

/* ---- receiving ------------------------------------------------------------------------------- */

static int on_header(nghttp2_session *ng, const nghttp2_frame *f, const uint8_t *name, size_t nn,
                     const uint8_t *value, size_t nv, uint8_t flags, void *arg) {
    struct http_exchange *x = find(ng, f->hd.stream_id);
    (void)flags;
    (void)arg;
    if (x == NULL) {
        return 0;
    }
    if (!x->headed && nn == 7 && memcmp(name, ":status", 7) == 0) {
        x->status = atoi((const char *)value); /* nghttp2 has checked it: three digits, NUL */
        return 0;
    }
    if (x->n_fields == HTTP_CLIENT_FIELDS_MAX || x->head.len + nn + nv + 2 > HTTP_CLIENT_HEAD_MAX) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* resets the stream */
    }
    buf_add(&x->head, name, nn);
    buf_char(&x->head, '\0');
    buf_add(&x->head, value, nv);
    buf_char(&x->head, '\0');
    x->n_fields++;
    return 0;
}

/* The head, or the trailers. */
static void tell_fields(struct http_exchange *x) {
    struct http_field f[HTTP_CLIENT_FIELDS_MAX];
    size_t n = x->n_fields;
    struct buf held = x->head;
    const char *p = (const char *)held.data;
    x->head = (struct buf)BUF_INIT;
    x->n_fields = 0;
    for (size_t i = 0; i < n; i++) {
        f[i].name = p;
        f[i].value = p + strlen(p) + 1;
        p = f[i].value + strlen(f[i].value) + 1;
    }
    if (!x->headed) {
        x->headed = true;
        x->ops->head(x, x->status, f, n, x->arg);
    } else if (x->ops->trailers != NULL) {
        x->ops->trailers(x, f, n, x->arg);
    }
    buf_free(&held);
}

/* What waits for its turn would wait for the end of all that is under way. */
static void on_goaway(struct http_client *c, uint32_t code) {
    c->goaway = true;
    snprintf(c->why, sizeof c->why, "it closes the connection (%s)", nghttp2_http2_strerror(code));
    for (struct list *pos = c->exchanges.next; pos != &c->exchanges;) {
        struct http_exchange *x = CONTAINER_OF(pos, struct http_exchange, link);
        pos = pos->next;
        if (!x->sent) {
            nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, x->id, NGHTTP2_CANCEL);
            exchange_closed(x, HTTP_EXCHANGE_NOT_SENT, c->why);
            pos = c->exchanges.next; /* whoever hears of it may have ended others */
        }
    }
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *f, void *arg) {
    struct http_client *c = arg;
    struct http_exchange *x = f->hd.stream_id != 0 ? find(ng, f->hd.stream_id) : NULL;
    if (c->dead) {
        return 0;
    }
    if (f->hd.type == NGHTTP2_SETTINGS && !c->up) {
        c->up = true;
        loop_timer_stop(c->timer);
    } else if (f->hd.type == NGHTTP2_GOAWAY) {
        on_goaway(c, f->goaway.error_code);
    } else if (f->hd.type == NGHTTP2_HEADERS && x != NULL) {
        if (x->status >= 200) {
            tell_fields(x);
        } else {
            buf_clear(&x->head);
            x->n_fields = 0;
        }
    }
    if (x != NULL && (f->hd.type == NGHTTP2_HEADERS || f->hd.type == NGHTTP2_DATA) &&
        (f->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
        x->complete = true;
    }
    return 0;
}

static int on_sent_frame(nghttp2_session *ng, const nghttp2_frame *f, void *arg) {
    struct http_exchange *x = f->hd.type == NGHTTP2_HEADERS ? find(ng, f->hd.stream_id) : NULL;
    (void)arg;
    if (x != NULL) {
        x->sent = true;
    }
    return 0;
}

static int on_chunk(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                    void *arg) {
    struct http_exchange *x = find(ng, id);
    (void)flags;
    (void)arg;
    if (x == NULL || !x->headed) {
        nghttp2_session_consume(ng, id, n);
        return 0;
    }
    x->owed += n;
    x->ops->body(x, p, n, x->arg);
    return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *arg) {
    struct http_exchange *x = find(ng, id);
    (void)arg;
    if (x != NULL) {
        bool untouched = !x->sent || (code == NGHTTP2_REFUSED_STREAM && !x->headed);
        exchange_closed(x,
                        x->complete && x->headed ? HTTP_EXCHANGE_DONE
                        : untouched              ? HTTP_EXCHANGE_NOT_SENT
                                                 : HTTP_EXCHANGE_LOST,
                        nghttp2_http2_strerror(code));
    }
    return 0;
}

/* Could not be sent any more: the server had said GOAWAY. */
static int on_not_sent(nghttp2_session *ng, const nghttp2_frame *f, int error, void *arg) {
    struct http_client *c = arg;
    (void)ng;
    if (f->hd.type == NGHTTP2_HEADERS) {
        LIST_FOREACH_SAFE (pos, &c->exchanges) {
            struct http_exchange *x = CONTAINER_OF(pos, struct http_exchange, link);
            if (x->id == f->hd.stream_id) {
                exchange_closed(x, HTTP_EXCHANGE_NOT_SENT, nghttp2_strerror(error));
                break;
            }
        }
    }
    return 0;
}

/* ---- connection ------------------------------------------------------------------------------ */

static void on_ready(struct stream *s, void *arg) {
    struct http_client *c = arg;
    if (c->tls && !stream_alpn_is(s, "h2")) {
        client_die(c, "it does not speak HTTP/2");
    } else if (c->ops->accept != NULL && !c->ops->accept(c, stream_tls_peer(s), c->arg)) {
        client_die(c, "its certificate is another one's");
    } else {
        pump(c);
    }
}

static void on_data(struct stream *s, const uint8_t *p, size_t n, void *arg) {
    struct http_client *c = arg;
    (void)s;
    ssize_t rc = nghttp2_session_mem_recv(c->session, p, n);
    if (rc < 0) {
        client_die(c, nghttp2_strerror((int)rc));
    } else {
        pump(c);
    }
}

static void on_sent(struct stream *s, void *arg) {
    (void)s;
    pump(arg);
}

static void on_closed(struct stream *s, const char *why, void *arg) {
    struct http_client *c = arg;
    (void)s;
    client_die(c, c->goaway ? c->why : why);
}

static const struct stream_ops stream_ops = {on_ready, on_data, on_sent, on_closed};

static void on_timeout(void *arg) {
    client_die(arg, "no connection in time");
}

/* All exchanges may have their window full, and none holds up another: twice that, because the
 * connection's credit is given in halves. */
static const struct h2_client h2 = {.on_header = on_header,
                                    .on_frame = on_frame,
                                    .on_sent_frame = on_sent_frame,
                                    .on_chunk = on_chunk,
                                    .on_stream_close = on_stream_close,
                                    .on_not_sent = on_not_sent,
                                    .stream_window = HTTP_CLIENT_WINDOW,
                                    .conn_window =
                                        2 * HTTP_CLIENT_WINDOW * HTTP_CLIENT_EXCHANGES_MAX,
                                    .head_max = HTTP_CLIENT_HEAD_MAX};

struct http_client *http_client_connect(struct loop *l, const struct http_client_config *cfg,
                                        const struct http_client_ops *ops, void *arg) {
    struct http_client *c = MEM_NEW(struct http_client);
    c->loop = l;
    c->ops = ops;
    c->arg = arg;
    c->tls = cfg->tls != NULL;
    c->work = (struct loop_deferred){.fn = client_work, .arg = c};
    c->reap = (struct loop_deferred){.fn = client_reap, .arg = c};
    list_init(&c->exchanges);
    c->session = h2_client_session(&h2, c);
    c->timer = loop_timer_new(l, on_timeout, c);
    loop_timer_start(c->timer, cfg->connect_ms > 0 ? cfg->connect_ms : CONNECT_MS);
    struct stream_target t = {
        .host = cfg->host, .port = cfg->port, .tls = cfg->tls, .verify_name = cfg->verify_name};
    c->stream = stream_connect(l, &t, &stream_ops, c);
    return c;
}

bool http_client_usable(const struct http_client *c) {
    return !c->dead && !c->goaway && c->n < HTTP_CLIENT_EXCHANGES_MAX;
}

void http_client_close(struct http_client *c, const char *why) {
    client_die(c, why);
}

/* ---- exchanges ------------------------------------------------------------------------------- */

static ssize_t read_out(nghttp2_session *ng, int32_t id, uint8_t *p, size_t n, uint32_t *flags,
                        nghttp2_data_source *source, void *arg) {
    struct http_exchange *x = find(ng, id);
    (void)source;
    (void)arg;
    if (x == NULL) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    size_t have = x->out.len - x->out_at, k = have < n ? have : n;
    if (k == 0 && !x->out_done) {
        return NGHTTP2_ERR_DEFERRED;
    }
    if (k > 0) {
        memcpy(p, x->out.data + x->out_at, k);
        x->out_at += k;
    }
    if (x->out_at == x->out.len) {
        buf_free(&x->out);
        x->out_at = 0;
        *flags |= x->out_done ? NGHTTP2_DATA_FLAG_EOF : 0;
    }
    if (x->over && x->out.len - x->out_at <= HTTP_CLIENT_HIGH / 2) {
        x->over = false;
        x->ops->drained(x, x->arg);
    }
    return (ssize_t)k;
}

struct http_exchange *http_exchange_start(struct http_client *c, const struct http_request_head *h,
                                          const struct http_exchange_ops *ops, void *arg) {
    nghttp2_nv nv[HTTP_CLIENT_FIELDS_MAX + 4];
    size_t k = 0;
    if (!http_client_usable(c) || h->n_fields > HTTP_CLIENT_FIELDS_MAX) {
        return NULL;
    }
#define ADD(n_, v_)                                                                                \
    nv[k++] = (nghttp2_nv){(uint8_t *)(uintptr_t)(n_), (uint8_t *)(uintptr_t)(v_), strlen(n_),     \
                           strlen(v_), 0}
    ADD(":method", h->method);
    ADD(":scheme", h->scheme);
    ADD(":authority", h->authority);
    ADD(":path", h->path);
    for (size_t i = 0; i < h->n_fields; i++) {
        ADD(h->fields[i].name, h->fields[i].value);
    }
#undef ADD
    struct http_exchange *x = MEM_NEW(struct http_exchange);
    nghttp2_data_provider body = {.read_callback = read_out};
    x->id = nghttp2_submit_request(c->session, NULL, nv, k, &body, x);
    if (x->id < 0) {
        mem_free(x);
        return NULL;
    }
    x->client = c;
    x->ops = ops;
    x->arg = arg;
    x->reap = (struct loop_deferred){.fn = exchange_reap, .arg = x};
    list_append(&c->exchanges, &x->link);
    c->n++;
    loop_defer(c->loop, &c->work);
    return x;
}

static void resume(struct http_exchange *x) {
    nghttp2_session_resume_data(x->client->session, x->id);
    loop_defer(x->client->loop, &x->client->work);
}

bool http_exchange_write(struct http_exchange *x, const void *p, size_t n) {
    buf_consume(&x->out, x->out_at);
    x->out_at = 0;
    buf_add(&x->out, p, n);
    x->over = x->over || x->out.len > HTTP_CLIENT_HIGH;
    resume(x);
    return x->over;
}

void http_exchange_end(struct http_exchange *x) {
    x->out_done = true;
    resume(x);
}

void http_exchange_taken(struct http_exchange *x, size_t n) {
    x->owed -= n;
    nghttp2_session_consume(x->client->session, x->id, n);
    loop_defer(x->client->loop, &x->client->work);
}

void http_exchange_cancel(struct http_exchange *x) {
    struct http_client *c = x->client;
    nghttp2_session_set_stream_user_data(c->session, x->id, NULL);
    nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, x->id, NGHTTP2_CANCEL);
    loop_defer(c->loop, &c->work);
    exchange_leave(x);
}
