// SPDX-License-Identifier: Apache-2.0
/*
 * An HTTP/2 client that hands exchanges on: one connection, many requests, each of which streams
 * both ways with back-pressure. For the relay between nodes (north/relay.h); gRPC has its own.
 *
 * Everything happens on the loop's thread. No call here calls back into its caller.
 */
#ifndef NET_HTTP_CLIENT_H
#define NET_HTTP_CLIENT_H

#include "net/http.h"

enum {
    HTTP_CLIENT_WINDOW = 64 << 10,   /* bytes of one answer that may wait for who takes them */
    HTTP_CLIENT_HIGH = 128 << 10,    /* bytes of one body in the queue: then wait for `drained` */
    HTTP_CLIENT_EXCHANGES_MAX = 256, /* of one connection */
    HTTP_CLIENT_FIELDS_MAX = 64,     /* of one request or answer, and the bytes of an answer's */
    HTTP_CLIENT_HEAD_MAX = 64 << 10,
};

struct http_client;
struct http_exchange;

struct http_client_config {
    const char *host; /* an address or a name; copied, as all of this */
    uint16_t port;
    struct tls_ctx *tls;     /* NULL: plaintext with prior knowledge */
    const char *verify_name; /* what the server's certificate must be for; NULL: host */
    int64_t connect_ms;      /* up to the server's first frame; 0: 3,000 */
};
struct http_client_ops {
    /* The handshake is over; false: not whom we meant. NULL: anybody whom TLS accepts. */
    bool (*accept)(struct http_client *c, const struct tls_peer *peer, void *arg);
    /* Last, from the loop, after the exchanges were closed: the pointer is dead. */
    void (*closed)(struct http_client *c, const char *why, void *arg);
};
struct http_client *http_client_connect(struct loop *l, const struct http_client_config *cfg,
                                        const struct http_client_ops *ops, void *arg);
bool http_client_usable(const struct http_client *c); /* takes one exchange more */
/* At once: exchanges that are open are lost; `closed` is called. */
void http_client_close(struct http_client *c, const char *why);

enum http_exchange_end {
    HTTP_EXCHANGE_DONE,     /* the answer is complete */
    HTTP_EXCHANGE_NOT_SENT, /* the server has certainly not begun with it */
    HTTP_EXCHANGE_LOST,     /* it may have, and nobody knows */
};
struct http_exchange_ops {
    void (*head)(struct http_exchange *x, int status, const struct http_field *f, size_t nf,
                 void *arg); /* the final one; f is valid during the call */
    /* Fields behind the body; may be NULL. */
    void (*trailers)(struct http_exchange *x, const struct http_field *f, size_t nf, void *arg);
    /* A piece of the answer; credit for it is given by http_exchange_taken. */
    void (*body)(struct http_exchange *x, const uint8_t *p, size_t n, void *arg);
    void (*drained)(struct http_exchange *x, void *arg);
    void (*closed)(struct http_exchange *x, enum http_exchange_end end, const char *why, void *arg);
};
struct http_request_head {
    const char *method, *scheme, *authority, *path;
    const struct http_field *fields; /* names are lower-case; none of HTTP/1's connection */
    size_t n_fields;
};
/* NULL: the connection takes no more. All is copied. A body follows until http_exchange_end. */
struct http_exchange *http_exchange_start(struct http_client *c, const struct http_request_head *h,
                                          const struct http_exchange_ops *ops, void *arg);
/* Copies; true: over HTTP_CLIENT_HIGH, wait for `drained`. */
bool http_exchange_write(struct http_exchange *x, const void *p, size_t n);
void http_exchange_end(struct http_exchange *x);
void http_exchange_taken(struct http_exchange *x, size_t n);
void http_exchange_cancel(struct http_exchange *x); /* no callback follows; the pointer is dead */

#endif
