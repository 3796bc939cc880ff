// SPDX-License-Identifier: Apache-2.0
/* The client: one HTTP/2 connection, many calls. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/logger.h"
#include "base/mem.h"
#include "net/grpc_int.h"
#include "net/h2_client.h"

LOGGER_MODULE(grpc_client)

enum {
    CONNECT_MS = 10000,
    CALL_WINDOW = 128 << 10,
    CHANNEL_WINDOW = 4 << 20, /* also what paused calls of the channel may hold back */
    FIELDS_MAX = 32,
};

struct grpc_channel {
    struct loop *loop;
    const struct grpc_channel_ops *ops;
    void *arg;
    struct stream *stream;
    nghttp2_session *session;
    char *authority;
    bool tls, up, dead, goaway;
    bool heard; /* something came since the last keepalive */
    int misses;
    int64_t keepalive_ms;
    struct loop_timer *connect_timer, *keepalive;
    struct list calls;
    char why[160];
    struct loop_deferred work, reap;
};

static struct grpc_call *find(nghttp2_session *ng, int32_t id) {
    return nghttp2_session_get_stream_user_data(ng, id);
}

/* ------------------------------------------------------------------ end of calls and channels */

/* The last callback of a call, from the loop. */
static void call_closed(struct grpc_call *c) {
    list_remove(&c->link);
    c->ended = true;
    if (!c->ch->dead && c->rest.len > 0) { /* credit for what nobody will take */
        nghttp2_session_consume_connection(c->ch->session, c->rest.len);
        loop_defer(c->ch->loop, &c->ch->work);
    }
    if (c->ops != NULL && c->ops->closed != NULL) {
        c->ops->closed(c, c->status, c->message ? c->message : "", c->arg);
    }
    grpc_call_free(c);
}

static void call_work(void *arg) {
    struct grpc_call *c = arg;
    if (!c->ended && !c->paused && c->rest.len > 0) {
        struct buf rest = c->rest;
        c->rest = (struct buf)BUF_INIT;
        bool ok = grpc_call_feed(c, rest.data, rest.len);
        size_t taken = rest.len - c->rest.len;
        if (c->stream_id != 0) {
            nghttp2_session_consume(c->ch->session, c->stream_id, taken);
        } else {
            nghttp2_session_consume_connection(c->ch->session, taken);
        }
        buf_free(&rest);
        loop_defer(c->ch->loop, &c->ch->work);
        if (!ok) {
            grpc_cancel(c);
        }
    }
    if (c->stream_id == 0 && (c->rest.len == 0 || c->ended)) {
        call_closed(c);
    }
}

/* The stream is gone or must go; the status is set. `closed` comes from the loop, after what the
 * dialect has not taken yet. */
static void call_detach(struct grpc_call *c, bool reset) {
    if (c->stream_id != 0) {
        nghttp2_session_set_stream_user_data(c->ch->session, c->stream_id, NULL);
        if (reset) {
            nghttp2_submit_rst_stream(c->ch->session, NGHTTP2_FLAG_NONE, c->stream_id,
                                      NGHTTP2_CANCEL);
            loop_defer(c->ch->loop, &c->ch->work);
        }
        c->stream_id = 0;
    }
    c->out_done = true;
    loop_defer(c->loop, &c->work);
}

static void channel_reap(void *arg) {
    struct grpc_channel *ch = arg;
    nghttp2_session_del(ch->session);
    mem_free(ch->authority);
    mem_free(ch);
}

static void channel_die(struct grpc_channel *ch, const char *why) {
    if (ch->dead) {
        return;
    }
    ch->dead = true;
    if (why != ch->why) { /* what the server said with GOAWAY stands there already */
        snprintf(ch->why, sizeof(ch->why), "%s", why);
    }
    while (!list_empty(&ch->calls)) {
        struct grpc_call *c = CONTAINER_OF(ch->calls.next, struct grpc_call, link);
        if (c->stream_id != 0) { /* else its end is known already */
            grpc_call_set_status(c, GRPC_UNAVAILABLE, ch->why);
        }
        call_closed(c);
    }
    stream_free(ch->stream);
    ch->stream = NULL;
    loop_timer_free(ch->connect_timer);
    loop_timer_free(ch->keepalive);
    ch->connect_timer = ch->keepalive = NULL;
    loop_defer_cancel(&ch->work);
    if (ch->ops != NULL && ch->ops->closed != NULL) {
        ch->ops->closed(ch, ch->why, ch->arg);
    }
    loop_defer(ch->loop, &ch->reap); /* nghttp2 may be on the stack */
}

static void pump(struct grpc_channel *ch) {
    if (ch->dead || !stream_is_ready(ch->stream)) {
        return;
    }
    const char *why = h2_client_pump(ch->session, &ch->stream);
    if (why != NULL) {
        channel_die(ch, ch->why[0] ? ch->why : why);
    }
}

static void channel_work(void *arg) {
    pump(arg);
}

/* ------------------------------------------------------------------ receiving */

static void take_trailer(struct grpc_call *c, const char *name, const uint8_t *v, size_t nv) {
    if (strcmp(name, "grpc-status") == 0) {
        int code = 0;
        for (size_t i = 0; i < nv && code < 1000; i++) {
            code = v[i] >= '0' && v[i] <= '9' ? code * 10 + (v[i] - '0') : 1000;
        }
        c->status = nv > 0 && code <= GRPC_UNAUTHENTICATED ? (enum grpc_code)code : GRPC_UNKNOWN;
        c->trailers_seen = true;
    } else if (strcmp(name, "grpc-message") == 0) {
        mem_free(c->message);
        c->message = grpc_message_decode((const char *)v, nv);
    }
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *f, const uint8_t *name, size_t nn,
                     const uint8_t *value, size_t nv, uint8_t flags, void *arg) {
    struct grpc_call *c = find(ng, f->hd.stream_id);
    if (c == NULL) {
        return 0;
    }
    if (nn == 7 && memcmp(name, ":status", 7) == 0) {
        c->http_status =
            nv == 3 ? atoi((const char *)value) : 0; /* nghttp2 has checked: NUL-ended */
        return 0;
    }
    take_trailer(c, (const char *)name, value, nv);
    if (c->metadata.len + nn + nv + 2 <= GRPC_METADATA_MAX) {
        buf_add(&c->metadata, name, nn);
        buf_char(&c->metadata, '\0');
        buf_add(&c->metadata, value, nv);
        buf_char(&c->metadata, '\0');
    }
    return 0;
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *f, void *arg) {
    struct grpc_channel *ch = arg;
    if (f->hd.type == NGHTTP2_SETTINGS && !(f->hd.flags & NGHTTP2_FLAG_ACK) && !ch->up) {
        ch->up = true;
        loop_timer_stop(ch->connect_timer);
        if (ch->keepalive_ms > 0) {
            loop_timer_repeat(ch->keepalive, ch->keepalive_ms);
        }
        if (ch->ops != NULL && ch->ops->connected != NULL) {
            ch->ops->connected(ch, ch->arg);
        }
    } else if (f->hd.type == NGHTTP2_GOAWAY) {
        ch->goaway = true;
        int n = (int)(f->goaway.opaque_data_len > 64 ? 64 : f->goaway.opaque_data_len);
        snprintf(ch->why, sizeof(ch->why), "the server closes the connection: %s%s%.*s",
                 nghttp2_http2_strerror(f->goaway.error_code), n > 0 ? ", " : "", n,
                 n > 0 ? (const char *)f->goaway.opaque_data : "");
    }
    return 0;
}

static int on_chunk(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                    void *arg) {
    struct grpc_call *c = find(ng, id);
    if (c == NULL || c->http_status != 200) {
        nghttp2_session_consume(ng, id, n);
        return 0;
    }
    size_t before = c->rest.len;
    if (c->paused || before > 0) {
        buf_add(&c->rest, p, n); /* bounded by the window: no credit is given for it */
        return 0;
    }
    bool ok = grpc_call_feed(c, p, n);
    nghttp2_session_consume(ng, id, n - c->rest.len);
    if (!ok) {
        call_detach(c, true);
    }
    return 0;
}

/* What there is to say when the server gave no grpc-status. */
static void guess_status(struct grpc_call *c, uint32_t h2_error) {
    char text[96];
    enum grpc_code code = GRPC_UNKNOWN;
    if (c->http_status != 0 && c->http_status != 200) {
        code = c->http_status == 401   ? GRPC_UNAUTHENTICATED
               : c->http_status == 403 ? GRPC_PERMISSION_DENIED
               : c->http_status == 404 ? GRPC_UNIMPLEMENTED
               : c->http_status == 400 ? GRPC_INTERNAL
               : c->http_status == 429 || (c->http_status >= 502 && c->http_status <= 504)
                   ? GRPC_UNAVAILABLE
                   : GRPC_UNKNOWN;
        snprintf(text, sizeof(text), "the server answered with HTTP status %d", c->http_status);
    } else if (h2_error != NGHTTP2_NO_ERROR) {
        code = h2_error == NGHTTP2_REFUSED_STREAM        ? GRPC_UNAVAILABLE
               : h2_error == NGHTTP2_CANCEL              ? GRPC_CANCELLED
               : h2_error == NGHTTP2_ENHANCE_YOUR_CALM   ? GRPC_RESOURCE_EXHAUSTED
               : h2_error == NGHTTP2_INADEQUATE_SECURITY ? GRPC_PERMISSION_DENIED
                                                         : GRPC_INTERNAL;
        snprintf(text, sizeof(text), "the stream was reset: %s", nghttp2_http2_strerror(h2_error));
    } else {
        snprintf(text, sizeof(text), "the server ended the stream without a status");
    }
    grpc_call_set_status(c, code, text);
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *arg) {
    struct grpc_call *c = find(ng, id);
    if (c != NULL) {
        if (!c->trailers_seen) {
            guess_status(c, code);
        }
        call_detach(c, false);
    }
    return 0;
}

/* A request that nghttp2 could not send any more: the server had said GOAWAY. */
static int on_not_sent(nghttp2_session *ng, const nghttp2_frame *f, int error, void *arg) {
    struct grpc_channel *ch = arg;
    if (f->hd.type != NGHTTP2_HEADERS) {
        return 0;
    }
    LIST_FOREACH_SAFE (pos, &ch->calls) {
        struct grpc_call *c = CONTAINER_OF(pos, struct grpc_call, link);
        if (c->stream_id == f->hd.stream_id) {
            grpc_call_set_status(c, GRPC_UNAVAILABLE, nghttp2_strerror(error));
            call_detach(c, false);
        }
    }
    return 0;
}

/* ------------------------------------------------------------------ connection */

static void on_ready(struct stream *s, void *arg) {
    struct grpc_channel *ch = arg;
    if (ch->tls && !stream_alpn_is(s, "h2")) {
        channel_die(ch, "the server does not speak HTTP/2 (ALPN)");
        return;
    }
    pump(ch);
}

static void on_data(struct stream *s, const uint8_t *p, size_t n, void *arg) {
    struct grpc_channel *ch = arg;
    ch->heard = true;
    ssize_t rc = nghttp2_session_mem_recv(ch->session, p, n);
    if (ch->dead) {
        return;
    }
    if (rc < 0) {
        channel_die(ch, nghttp2_strerror((int)rc));
        return;
    }
    pump(ch);
}

static void on_sent(struct stream *s, void *arg) {
    struct grpc_channel *ch = arg;
    pump(ch);
}

static void on_closed(struct stream *s, const char *why, void *arg) {
    struct grpc_channel *ch = arg;
    channel_die(ch, ch->goaway ? ch->why : why);
}

static const struct stream_ops stream_ops = {on_ready, on_data, on_sent, on_closed};

static void on_connect_timeout(void *arg) {
    channel_die(arg, "no connection in time");
}

static void on_keepalive(void *arg) {
    struct grpc_channel *ch = arg;
    ch->misses = ch->heard ? 0 : ch->misses + 1;
    ch->heard = false;
    if (ch->misses >= GRPC_KEEPALIVE_MISSES) {
        channel_die(ch, "the server does not answer keepalives");
        return;
    }
    nghttp2_submit_ping(ch->session, NGHTTP2_FLAG_NONE, NULL);
    pump(ch);
}

static const struct h2_client h2 = {.on_header = on_header,
                                    .on_frame = on_frame,
                                    .on_chunk = on_chunk,
                                    .on_stream_close = on_stream_close,
                                    .on_not_sent = on_not_sent,
                                    .stream_window = CALL_WINDOW,
                                    .conn_window = CHANNEL_WINDOW,
                                    .head_max = GRPC_METADATA_MAX};

struct grpc_channel *grpc_connect(struct loop *l, const struct grpc_channel_config *cfg,
                                  const struct grpc_channel_ops *ops, void *arg) {
    struct grpc_channel *ch = MEM_NEW(struct grpc_channel);
    ch->loop = l;
    ch->ops = ops;
    ch->arg = arg;
    ch->tls = cfg->tls != NULL;
    ch->keepalive_ms = cfg->keepalive_ms != 0 ? cfg->keepalive_ms : GRPC_KEEPALIVE_MS;
    const char *name = cfg->verify_name ? cfg->verify_name : cfg->host;
    ch->authority = cfg->unix_path              ? mem_strdup("localhost")
                    : strchr(name, ':') != NULL ? mem_printf("[%s]:%u", name, cfg->port)
                                                : mem_printf("%s:%u", name, cfg->port);
    ch->work = (struct loop_deferred){.fn = channel_work, .arg = ch};
    ch->reap = (struct loop_deferred){.fn = channel_reap, .arg = ch};
    list_init(&ch->calls);
    ch->session = h2_client_session(&h2, ch);
    ch->connect_timer = loop_timer_new(l, on_connect_timeout, ch);
    ch->keepalive = loop_timer_new(l, on_keepalive, ch);
    loop_timer_start(ch->connect_timer, cfg->connect_ms > 0 ? cfg->connect_ms : CONNECT_MS);
    struct stream_target t = {.host = cfg->host,
                              .port = cfg->port,
                              .unix_path = cfg->unix_path,
                              .tls = cfg->tls,
                              .verify_name = cfg->verify_name};
    ch->stream = stream_connect(l, &t, &stream_ops, ch);
    return ch;
}

static void close_now(void *arg) {
    channel_die(arg, "closed by us");
}

void grpc_channel_close(struct grpc_channel *ch) {
    if (!ch->dead) {
        ch->work.fn = close_now;
        loop_defer(ch->loop, &ch->work);
    }
}

const struct tls_peer *grpc_channel_peer(const struct grpc_channel *ch) {
    return ch->stream ? stream_tls_peer(ch->stream) : NULL;
}

/* ------------------------------------------------------------------ calls */

static ssize_t read_out(nghttp2_session *ng, int32_t id, uint8_t *p, size_t n, uint32_t *flags,
                        nghttp2_data_source *source, void *arg) {
    struct grpc_call *c = find(ng, id);
    if (c == NULL) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    size_t have = c->out.len - c->out_at;
    size_t k = have < n ? have : n;
    if (k == 0 && !c->out_done) {
        return NGHTTP2_ERR_DEFERRED;
    }
    if (k > 0) {
        memcpy(p, c->out.data + c->out_at, k);
        c->out_at += k;
    }
    if (c->out_at == c->out.len) {
        buf_free(&c->out);
        c->out_at = 0;
        *flags |= c->out_done ? NGHTTP2_DATA_FLAG_EOF : 0;
    } else if (c->out_at > c->out.len / 2) {
        buf_consume(&c->out, c->out_at);
        c->out_at = 0;
    }
    if (c->over && grpc_queued(c) <= GRPC_HIGH / 2 && !c->out_done) {
        c->over = false;
        if (c->ops != NULL && c->ops->drained != NULL) {
            c->ops->drained(c, c->arg);
        }
    }
    return (ssize_t)k;
}

static void submit(struct grpc_call *c, const char *path, const struct http_field *f, size_t nf,
                   int64_t timeout_ms) {
    struct grpc_channel *ch = c->ch;
    nghttp2_nv nv[FIELDS_MAX + 8];
    char timeout[16];
    size_t k = 0;
#define ADD(n_, v_)                                                                                \
    nv[k++] = (nghttp2_nv){(uint8_t *)(n_), (uint8_t *)(v_), strlen(n_), strlen(v_), 0}
    ADD(":method", "POST");
    ADD(":scheme", ch->tls ? "https" : "http");
    ADD(":path", path);
    ADD(":authority", ch->authority);
    ADD("te", "trailers");
    ADD("content-type", "application/grpc");
    ADD("user-agent", "weft/" WEFT_VERSION);
    if (timeout_ms > 0) {
        grpc_timeout_format(timeout, timeout_ms);
        ADD("grpc-timeout", timeout);
    }
    for (size_t i = 0; i < nf && i < FIELDS_MAX; i++) {
        ADD(f[i].name, f[i].value);
    }
#undef ADD
    nghttp2_data_provider body = {.read_callback = read_out};
    int32_t id = ch->dead || ch->goaway
                     ? NGHTTP2_ERR_START_STREAM_NOT_ALLOWED
                     : nghttp2_submit_request(ch->session, NULL, nv, k, &body, c);
    if (id < 0) {
        grpc_call_set_status(c, GRPC_UNAVAILABLE, ch->why[0] ? ch->why : nghttp2_strerror(id));
        call_detach(c, false);
        return;
    }
    c->stream_id = id;
    loop_defer(ch->loop, &ch->work);
}

static void on_deadline(void *arg) {
    struct grpc_call *c = arg;
    if (c->stream_id == 0) {
        return; /* the answer is there and waits to be taken */
    }
    grpc_call_set_status(c, GRPC_DEADLINE_EXCEEDED, "no answer in time");
    c->ended = true;
    call_detach(c, true);
}

struct grpc_call *grpc_call_start(struct grpc_channel *ch, const char *path,
                                  const struct http_field *f, size_t nf, int64_t timeout_ms,
                                  const struct grpc_call_ops *ops, void *arg) {
    struct grpc_call *c = MEM_NEW(struct grpc_call);
    c->loop = ch->loop;
    c->ch = ch;
    c->ops = ops;
    c->arg = arg;
    c->work.fn = call_work;
    c->work.arg = c;
    list_append(&ch->calls, &c->link);
    if (timeout_ms > 0) {
        c->deadline = loop_now(ch->loop) + timeout_ms * NS_PER_MS;
        c->timer = loop_timer_new(ch->loop, on_deadline, c);
        loop_timer_start(c->timer, timeout_ms);
    }
    submit(c, path, f, nf, timeout_ms);
    return c;
}

static void resume(struct grpc_call *c) {
    if (c->stream_id != 0) {
        nghttp2_session_resume_data(c->ch->session, c->stream_id);
        loop_defer(c->ch->loop, &c->ch->work);
    }
}

size_t grpc_client_send(struct grpc_call *c, const void *p, size_t n) {
    uint8_t head[GRPC_FRAME_HEAD];
    grpc_frame_head(head, n);
    buf_add(&c->out, head, sizeof(head));
    buf_add(&c->out, p, n);
    c->over = c->over || grpc_queued(c) > GRPC_HIGH;
    resume(c);
    return grpc_queued(c);
}

void grpc_client_resume(struct grpc_call *c) {
    if (!c->paused) {
        loop_defer(c->loop, &c->work);
    }
}

void grpc_send_end(struct grpc_call *c) {
    if (c->r == NULL && !c->out_done) {
        c->out_done = true;
        resume(c);
    }
}

void grpc_cancel(struct grpc_call *c) {
    if (c->r != NULL || c->ended) {
        return;
    }
    if (c->stream_id != 0 && c->status == GRPC_OK) {
        grpc_call_set_status(c, GRPC_CANCELLED, "cancelled by us");
    }
    c->ended = true;
    call_detach(c, true);
}

/* ------------------------------------------------------------------ unary */

struct unary {
    grpc_unary_done *done;
    void *arg;
    struct buf answer;
    unsigned n;
};

static void unary_message(struct grpc_call *c, const uint8_t *p, size_t n, void *arg) {
    struct unary *u = arg;
    if (u->n++ == 0) {
        buf_add(&u->answer, p, n);
    }
}

static void unary_closed(struct grpc_call *c, enum grpc_code status, const char *message,
                         void *arg) {
    static const uint8_t empty[1];
    struct unary *u = arg;
    if (status == GRPC_OK && u->n != 1) {
        u->done(GRPC_INTERNAL, u->n == 0 ? "no message in the answer" : "more than one message",
                NULL, 0, u->arg);
    } else if (status != GRPC_OK) {
        u->done(status, message, NULL, 0, u->arg);
    } else {
        u->done(status, message, u->answer.len > 0 ? u->answer.data : empty, u->answer.len, u->arg);
    }
    buf_free(&u->answer);
    mem_free(u);
}

static const struct grpc_call_ops unary_ops = {.message = unary_message, .closed = unary_closed};

void grpc_unary(struct grpc_channel *ch, const char *path, const void *p, size_t n,
                int64_t timeout_ms, grpc_unary_done *done, void *arg) {
    struct unary *u = MEM_NEW(struct unary);
    u->done = done;
    u->arg = arg;
    struct grpc_call *c = grpc_call_start(ch, path, NULL, 0, timeout_ms, &unary_ops, u);
    if (c->stream_id != 0 && grpc_send(c, p, n) == SIZE_MAX) {
        grpc_call_set_status(c, GRPC_RESOURCE_EXHAUSTED, "the message is over 1 MiB");
        c->ended = true;
        call_detach(c, true);
    }
    grpc_send_end(c);
}
