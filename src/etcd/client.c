// SPDX-License-Identifier: Apache-2.0
/*
 * One thread runs the loop with the connection; callers post a call to it and wait. Each call is
 * one stream with one message each way, unary or not (keep-alives are not), so there is one path.
 */
#include "etcd/client.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/logger.h"
#include "base/mem.h"
#include "net/grpc.h"

LOGGER_MODULE(etcd)

enum { CONNECT_MS = 1200 };

struct etcd {
    struct etcd_url url;
    struct loop *loop;
    struct tls_ctx *tls;
    pthread_t thread;
    /* the loop's own */
    struct grpc_channel *channel; /* NULL: none, or it is being closed */
    size_t at;                    /* endpoint of the channel */
    unsigned closing;             /* channels whose `closed` is still to come */
    bool ending;
};

/* One call, on the caller's stack while it waits. */
struct waiting {
    struct etcd *c;
    const char *path;
    const uint8_t *request;
    size_t n;
    int64_t ms;
    struct grpc_channel *channel;   /* it went over this one; only compared */
    const struct etcd_endpoint *to; /* the member that was asked */
    bool got, twice;
    struct buf answer;
    enum grpc_code status;
    char why[256];
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool over;
};

/* ---- on the loop ------------------------------------------------------------------------------
 */

static void end_if_done(struct etcd *c) {
    if (c->ending && c->channel == NULL && c->closing == 0) {
        loop_stop(c->loop);
    }
}

static void channel_closed(struct grpc_channel *ch, const char *text, void *arg) {
    struct etcd *c = arg;
    if (c->channel == ch) { /* by itself */
        L_DBG("%s: %s", c->url.endpoints[c->at].host, text);
        c->channel = NULL;
        c->at = (c->at + 1) % c->url.n_endpoints;
    } else {
        c->closing--;
    }
    end_if_done(c);
}

static const struct grpc_channel_ops channel_ops = {.closed = channel_closed};

static void drop_channel(struct etcd *c) {
    if (c->channel != NULL) {
        struct grpc_channel *ch = c->channel;
        c->channel = NULL;
        c->closing++;
        grpc_channel_close(ch);
    }
}

static void call_message(struct grpc_call *call, const uint8_t *p, size_t n, void *arg) {
    struct waiting *w = arg;
    (void)call;
    w->twice = w->got;
    if (!w->got) {
        w->got = true;
        buf_add(&w->answer, p, n);
    }
}

static void call_closed(struct grpc_call *call, enum grpc_code status, const char *message,
                        void *arg) {
    struct waiting *w = arg;
    struct etcd *c = w->c;
    (void)call;
    bool silent = status == GRPC_UNAVAILABLE || status == GRPC_DEADLINE_EXCEEDED ||
                  status == GRPC_INTERNAL || status == GRPC_UNKNOWN || status == GRPC_CANCELLED;
    if (silent && c->channel == w->channel && c->channel != NULL) {
        drop_channel(c); /* the next call asks another member */
        c->at = (c->at + 1) % c->url.n_endpoints;
    }
    pthread_mutex_lock(&w->lock);
    w->status = status;
    snprintf(w->why, sizeof w->why, "%s", message != NULL ? message : "");
    w->over = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

static const struct grpc_call_ops call_ops = {.message = call_message, .closed = call_closed};

static void begin_call(void *arg) {
    struct waiting *w = arg;
    struct etcd *c = w->c;
    if (c->channel == NULL) {
        const struct etcd_endpoint *to = &c->url.endpoints[c->at];
        const struct grpc_channel_config cfg = {.host = to->host,
                                                .port = to->port,
                                                .tls = c->tls,
                                                .connect_ms = CONNECT_MS,
                                                .keepalive_ms = -1};
        c->channel = grpc_connect(c->loop, &cfg, &channel_ops, c);
    }
    w->channel = c->channel;
    w->to = &c->url.endpoints[c->at];
    struct grpc_call *call = grpc_call_start(c->channel, w->path, NULL, 0, w->ms, &call_ops, w);
    grpc_send(call, w->request, w->n); /* too large: checked before */
    grpc_send_end(call);
}

static void begin_end(void *arg) {
    struct etcd *c = arg;
    c->ending = true;
    drop_channel(c);
    end_if_done(c);
}

static void *run(void *arg) {
    loop_run(((struct etcd *)arg)->loop);
    return NULL;
}

/* ---- the client --------------------------------------------------------------------------------
 */

enum err_code etcd_open(const struct etcd_url *url, struct etcd **out, struct err *e) {
    struct etcd *c = MEM_NEW(struct etcd);
    c->url = *url;
    *out = NULL;
    if (url->tls) {
        const struct tls_config tls = {.cert_file = url->cert[0] ? url->cert : NULL,
                                       .key_file = url->key[0] ? url->key : NULL,
                                       .ca_file = url->cacert[0] ? url->cacert : NULL,
                                       .alpn = TLS_ALPN_H2};
        enum err_code rc = tls_client_new(&tls, &c->tls, e);
        if (rc != ERR_OK) {
            mem_free(c);
            return rc;
        }
    }
    c->loop = loop_new("etcd");
    if (pthread_create(&c->thread, NULL, run, c) != 0) {
        loop_free(c->loop);
        tls_ctx_free(c->tls);
        mem_free(c);
        return err_set(e, ERR_LIMIT, NULL, "the thread of the etcd client could not be made");
    }
    pthread_setname_np(c->thread, "etcd");
    *out = c;
    return ERR_OK;
}

void etcd_close(struct etcd *c) {
    if (c == NULL) {
        return;
    }
    loop_post(c->loop, begin_end, c);
    pthread_join(c->thread, NULL);
    loop_free(c->loop);
    tls_ctx_free(c->tls);
    mem_free(c);
}

static enum err_code code_of(enum grpc_code status) {
    switch (status) {
    case GRPC_OK:
        return ERR_OK;
    case GRPC_RESOURCE_EXHAUSTED:
        return ERR_LIMIT;
    case GRPC_NOT_FOUND:
        return ERR_ABSENT;
    case GRPC_PERMISSION_DENIED:
        return ERR_DENIED;
    case GRPC_UNAUTHENTICATED:
        return ERR_AUTH;
    case GRPC_INVALID_ARGUMENT:
    case GRPC_FAILED_PRECONDITION:
    case GRPC_OUT_OF_RANGE:
    case GRPC_UNIMPLEMENTED:
        return ERR_INVALID;
    default:
        return ERR_UNAVAILABLE;
    }
}

/* One try at one member. *said: it, or the way to it, gave a reason; else it was just silent. */
static enum err_code call_once(struct etcd *c, const char *path, const struct buf *request,
                               int64_t ms, struct buf *answer, bool *said, struct err *e) {
    struct waiting w = {
        .c = c, .path = path, .request = request->data, .n = request->len, .ms = ms};
    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.cond, NULL);
    loop_post(c->loop, begin_call, &w);
    pthread_mutex_lock(&w.lock);
    while (!w.over) {
        pthread_cond_wait(&w.cond, &w.lock);
    }
    pthread_mutex_unlock(&w.lock);
    pthread_mutex_destroy(&w.lock);
    pthread_cond_destroy(&w.cond);
    enum err_code rc = code_of(w.status);
    *said = w.status != GRPC_DEADLINE_EXCEEDED && w.status != GRPC_CANCELLED;
    if (rc != ERR_OK) {
        err_set(e, rc, NULL, "etcd at %s:%u: %s", w.to->host, (unsigned)w.to->port,
                w.why[0] != '\0' ? w.why : grpc_code_name(w.status));
    } else if (!w.got || w.twice) {
        rc = err_set(e, ERR_MALFORMED, NULL, "etcd answers %s to one request",
                     w.got ? "twice" : "nothing");
    } else {
        buf_add(answer, w.answer.data, w.answer.len);
    }
    buf_free(&w.answer);
    return rc;
}

static int64_t now_ms(void) {
    return clock_mono(&clock_real) / NS_PER_MS;
}

/* Calls and unpacks. `again`: asks the members one after the other until the time is over. */
static enum err_code call(struct etcd *c, const char *path, const ProtobufCMessage *q,
                          const ProtobufCMessageDescriptor *type, bool again, int64_t ms,
                          void **out, struct err *e) {
    struct buf request = BUF_INIT, answer = BUF_INIT;
    int64_t until = now_ms() + ms;
    size_t n = protobuf_c_message_get_packed_size(q);
    *out = NULL;
    if (n > GRPC_MESSAGE_MAX) {
        return err_set(e, ERR_TOO_BIG, NULL, "a request of %zu bytes to etcd", n);
    }
    protobuf_c_message_pack(q, buf_extend(&request, n));
    buf_reserve(&request, 1); /* a request may be empty, and still wants an address */
    enum err_code rc;
    bool said, any = false;
    struct err reason;
    for (size_t tries = 0;; tries++) {
        int64_t left = until - now_ms();
        int64_t one = again && left > ETCD_TRY_MS ? ETCD_TRY_MS : left;
        buf_clear(&answer);
        rc = call_once(c, path, &request, one > 1 ? one : 1, &answer, &said, e);
        bool unknown = rc == ERR_UNAVAILABLE;
        if (unknown && said) {
            reason = *e;
            any = true;
        }
        if (!again || !unknown || until <= now_ms()) {
            break;
        }
        if (tries >= c->url.n_endpoints) { /* all of them refuse at once: not as fast as we can */
            struct timespec pause = {.tv_nsec = 50 * NS_PER_MS};
            nanosleep(&pause, NULL);
        }
    }
    if (rc == ERR_UNAVAILABLE && any) {
        *e = reason; /* more than that the last one said nothing in the time that was left */
    }
    if (rc == ERR_OK) {
        *out = protobuf_c_message_unpack(type, NULL, answer.len,
                                         answer.data ? answer.data : (const uint8_t *)"");
        if (*out == NULL) {
            rc = err_set(e, ERR_MALFORMED, NULL, "what etcd answers can't be read");
        }
    }
    buf_free(&request);
    buf_free(&answer);
    return rc;
}

/* ---- its calls ---------------------------------------------------------------------------------
 */

static enum err_code no_header(struct err *e) {
    return err_set(e, ERR_MALFORMED, NULL, "an answer of etcd has no header");
}

enum err_code etcd_range(struct etcd *c, const Weft__Etcd__RangeRequest *q, int64_t ms,
                         Weft__Etcd__RangeResponse **out, struct err *e) {
    void *a;
    *out = NULL;
    ERR_TRY(call(c, "/etcdserverpb.KV/Range", &q->base, &weft__etcd__range_response__descriptor,
                 true, ms, &a, e));
    *out = a;
    if ((*out)->header == NULL) {
        weft__etcd__range_response__free_unpacked(*out, NULL);
        *out = NULL;
        return no_header(e);
    }
    return ERR_OK;
}

enum err_code etcd_txn(struct etcd *c, const Weft__Etcd__TxnRequest *q, bool again, int64_t ms,
                       Weft__Etcd__TxnResponse **out, struct err *e) {
    void *a;
    *out = NULL;
    ERR_TRY(call(c, "/etcdserverpb.KV/Txn", &q->base, &weft__etcd__txn_response__descriptor, again,
                 ms, &a, e));
    *out = a;
    size_t asked = (*out)->succeeded ? q->n_success : q->n_failure;
    if ((*out)->header == NULL || (*out)->n_responses != asked) {
        weft__etcd__txn_response__free_unpacked(*out, NULL);
        *out = NULL;
        return no_header(e);
    }
    return ERR_OK;
}

enum err_code etcd_grant(struct etcd *c, int64_t ttl_s, int64_t ms, int64_t *id, struct err *e) {
    Weft__Etcd__LeaseGrantRequest q = WEFT__ETCD__LEASE_GRANT_REQUEST__INIT;
    void *a;
    q.ttl = ttl_s;
    /* One that was granted without our hearing of it ends by itself. */
    ERR_TRY(call(c, "/etcdserverpb.Lease/LeaseGrant", &q.base,
                 &weft__etcd__lease_grant_response__descriptor, true, ms, &a, e));
    Weft__Etcd__LeaseGrantResponse *r = a;
    enum err_code rc = ERR_OK;
    *id = r->id;
    if (r->id == 0 || r->error[0] != '\0') {
        rc = err_set(e, ERR_INVALID, NULL, "etcd grants no lease: %s", r->error);
    }
    weft__etcd__lease_grant_response__free_unpacked(r, NULL);
    return rc;
}

enum err_code etcd_keep_alive(struct etcd *c, int64_t id, int64_t ms, struct err *e) {
    Weft__Etcd__LeaseKeepAliveRequest q = WEFT__ETCD__LEASE_KEEP_ALIVE_REQUEST__INIT;
    void *a;
    q.id = id;
    ERR_TRY(call(c, "/etcdserverpb.Lease/LeaseKeepAlive", &q.base,
                 &weft__etcd__lease_keep_alive_response__descriptor, true, ms, &a, e));
    Weft__Etcd__LeaseKeepAliveResponse *r = a;
    enum err_code rc = r->ttl > 0 ? ERR_OK : err_set(e, ERR_ABSENT, NULL, "the lease is over");
    weft__etcd__lease_keep_alive_response__free_unpacked(r, NULL);
    return rc;
}

enum err_code etcd_revoke(struct etcd *c, int64_t id, int64_t ms, struct err *e) {
    Weft__Etcd__LeaseRevokeRequest q = WEFT__ETCD__LEASE_REVOKE_REQUEST__INIT;
    void *a;
    q.id = id;
    ERR_TRY(call(c, "/etcdserverpb.Lease/LeaseRevoke", &q.base,
                 &weft__etcd__lease_revoke_response__descriptor, true, ms, &a, e));
    protobuf_c_message_free_unpacked(a, NULL);
    return ERR_OK;
}

enum err_code etcd_compact(struct etcd *c, int64_t revision, int64_t ms, struct err *e) {
    Weft__Etcd__CompactionRequest q = WEFT__ETCD__COMPACTION_REQUEST__INIT;
    void *a;
    q.revision = revision;
    ERR_TRY(call(c, "/etcdserverpb.KV/Compact", &q.base,
                 &weft__etcd__compaction_response__descriptor, true, ms, &a, e));
    protobuf_c_message_free_unpacked(a, NULL);
    return ERR_OK;
}

enum err_code etcd_status(struct etcd *c, int64_t ms, Weft__Etcd__StatusResponse **out,
                          struct err *e) {
    Weft__Etcd__StatusRequest q = WEFT__ETCD__STATUS_REQUEST__INIT;
    void *a;
    *out = NULL;
    ERR_TRY(call(c, "/etcdserverpb.Maintenance/Status", &q.base,
                 &weft__etcd__status_response__descriptor, true, ms, &a, e));
    *out = a;
    return ERR_OK;
}
