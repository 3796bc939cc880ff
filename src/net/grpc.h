// SPDX-License-Identifier: Apache-2.0
/*
 * gRPC over HTTP/2: server (on net/http.h) and client. Both ends have the same `struct grpc_call`:
 * a stream of messages each way, which unary calls are a special case of. Messages are bytes;
 * packing is the caller's. Wire format: the gRPC HTTP/2 protocol specification.
 *
 * Back-pressure. grpc_send() queues; above grpc_call's high mark it still takes the message but the
 * sender should wait for `drained`; above GRPC_QUEUE_MAX it refuses. A receiver that can't keep up
 * calls grpc_pause(): flow-control credit is then held back and the peer's own queue grows instead
 * of ours.
 *
 * `closed` is the last callback of a call, exactly once; after it the pointer is dead. No callback
 * comes from inside a grpc_* call.
 */
#ifndef NET_GRPC_H
#define NET_GRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/http.h"
#include "net/loop.h"
#include "net/tls.h"

enum {
    GRPC_MESSAGE_MAX = 1 << 20,      /* bytes of one message, either way */
    GRPC_QUEUE_MAX = 4 << 20,        /* bytes queued on one call */
    GRPC_CONN_PARTIAL_MAX = 8 << 20, /* incomplete messages of one connection */
    GRPC_KEEPALIVE_MS = 30000,
    GRPC_KEEPALIVE_MISSES = 3,
};

/* X(name, number): canonical status codes */
#define GRPC_CODES(X)                                                                              \
    X(OK, 0)                                                                                       \
    X(CANCELLED, 1)                                                                                \
    X(UNKNOWN, 2)                                                                                  \
    X(INVALID_ARGUMENT, 3)                                                                         \
    X(DEADLINE_EXCEEDED, 4)                                                                        \
    X(NOT_FOUND, 5)                                                                                \
    X(ALREADY_EXISTS, 6)                                                                           \
    X(PERMISSION_DENIED, 7)                                                                        \
    X(RESOURCE_EXHAUSTED, 8)                                                                       \
    X(FAILED_PRECONDITION, 9)                                                                      \
    X(ABORTED, 10)                                                                                 \
    X(OUT_OF_RANGE, 11)                                                                            \
    X(UNIMPLEMENTED, 12)                                                                           \
    X(INTERNAL, 13)                                                                                \
    X(UNAVAILABLE, 14)                                                                             \
    X(DATA_LOSS, 15)                                                                               \
    X(UNAUTHENTICATED, 16)
enum grpc_code {
#define X(name, number) GRPC_##name = number,
    GRPC_CODES(X)
#undef X
};
const char *grpc_code_name(int code);            /* "NOT_FOUND"; "UNKNOWN" for others */
enum grpc_code grpc_code_of(enum err_code code); /* ERR_* to the nearest status */

struct grpc_call;

struct grpc_call_ops {
    /* One whole message; p is valid during the call. */
    void (*message)(struct grpc_call *c, const uint8_t *p, size_t n, void *arg);
    /* The peer sends no more messages (server side: the usual place to answer a unary call). */
    void (*half_closed)(struct grpc_call *c, void *arg);
    void (*drained)(struct grpc_call *c,
                    void *arg); /* queue was over the high mark, is low again */
    /* Last. Client: the server's status. Server: GRPC_OK when grpc_finish's status went out,
     * GRPC_CANCELLED when the peer went away, GRPC_DEADLINE_EXCEEDED when its time was over. */
    void (*closed)(struct grpc_call *c, enum grpc_code status, const char *message, void *arg);
};

/* Queues a message. Returns the bytes queued; SIZE_MAX when refused: over GRPC_MESSAGE_MAX or
 * GRPC_QUEUE_MAX, or the sending side has ended. */
size_t grpc_send(struct grpc_call *c, const void *p, size_t n);
size_t grpc_queued(const struct grpc_call *c);
size_t grpc_high_mark(const struct grpc_call *c);
void grpc_pause(struct grpc_call *c, bool pause); /* hold back, or give, credit to the sender */
void grpc_set_ops(struct grpc_call *c, const struct grpc_call_ops *ops, void *arg); /* not copied */
void *grpc_arg(const struct grpc_call *c);
/* Metadata of the peer (server: request headers; client: initial response headers). NULL: absent.
 */
const char *grpc_metadata(const struct grpc_call *c, const char *name);

/* ------------------------------------------------------------------ server */

struct grpc_server;
/* Called for each new call; installs ops with grpc_set_ops before it returns. */
typedef void grpc_handler(struct grpc_call *c, void *arg);

struct grpc_counters {
    uint64_t calls, open_calls, messages_in, messages_out, refused; /* refused: by limits or form */
};

struct grpc_server *grpc_server_new(struct loop *l);
void grpc_server_free(struct grpc_server *s); /* after its http_server; NULL is allowed */
/* path: "/package.Service/Method". Copied. */
void grpc_register(struct grpc_server *s, const char *path, grpc_handler *h, void *arg);
/* Is this request gRPC (content-type application/grpc...)? Then grpc_serve() takes it over. */
bool grpc_is(const struct http_req *r);
void grpc_serve(struct grpc_server *s, struct http_req *r);
/* An http_handler for servers that speak nothing but gRPC; arg is the struct grpc_server. */
void grpc_http_handler(struct http_req *r, void *grpc_server);
/* For who answers a gRPC request without a server, because he passes it on: ends the answer with
 * this status, in its trailers where it has begun. */
void grpc_answer_end(struct http_req *r, enum grpc_code status, const char *message);
const struct grpc_counters *grpc_server_counters(const struct grpc_server *s);

/* Ends a call. What was sent before goes out first. message NULL: "". */
void grpc_finish(struct grpc_call *c, enum grpc_code status, const char *message);
void grpc_finish_err(struct grpc_call *c, const struct err *e); /* code and "path: text" */
const struct http_peer *grpc_peer(const struct grpc_call *c);   /* server side; client: NULL */
/* Milliseconds the caller still waits; -1: no limit. Over it the call is ended for you. */
int64_t grpc_time_left_ms(const struct grpc_call *c);

/* ------------------------------------------------------------------ client */

struct grpc_channel;
struct grpc_channel_ops {
    void (*connected)(struct grpc_channel *ch, void *arg);
    /* Last, exactly once, also when connecting failed: text is the reason. All calls were closed
     * with GRPC_UNAVAILABLE before. The channel is freed after it returns; reconnecting is the
     * caller's. */
    void (*closed)(struct grpc_channel *ch, const char *text, void *arg);
};
struct grpc_channel_config {
    const char *host; /* a name or a literal address */
    uint16_t port;
    const char *unix_path;   /* instead of host and port */
    struct tls_ctx *tls;     /* from tls_client_new with TLS_ALPN_H2; NULL: h2c */
    const char *verify_name; /* name the server's certificate must have; NULL: host */
    int64_t connect_ms;      /* TCP, TLS and SETTINGS together; 0: 10 s */
    int64_t keepalive_ms;    /* 0: GRPC_KEEPALIVE_MS; < 0: none */
};
/* Never NULL; failures come through `closed`. Strings are copied, `ops` is not. Calls may be made
 * at once, they go out when connected. */
struct grpc_channel *grpc_connect(struct loop *l, const struct grpc_channel_config *cfg,
                                  const struct grpc_channel_ops *ops, void *arg);
void grpc_channel_close(struct grpc_channel *ch); /* `closed` follows from the loop */
const struct tls_peer *grpc_channel_peer(const struct grpc_channel *ch); /* NULL without TLS */

/* A call with streams both ways; fields (may be NULL) are extra metadata. timeout_ms 0: none. */
struct grpc_call *grpc_call_start(struct grpc_channel *ch, const char *path,
                                  const struct http_field *f, size_t nf, int64_t timeout_ms,
                                  const struct grpc_call_ops *ops, void *arg);
void grpc_send_end(struct grpc_call *c); /* no more messages from us */
void grpc_cancel(struct grpc_call *c);   /* `closed` with GRPC_CANCELLED follows from the loop */

/* status != OK: p is NULL. */
typedef void grpc_unary_done(enum grpc_code status, const char *message, const uint8_t *p, size_t n,
                             void *arg);
void grpc_unary(struct grpc_channel *ch, const char *path, const void *p, size_t n,
                int64_t timeout_ms, grpc_unary_done *done, void *arg);

#endif
