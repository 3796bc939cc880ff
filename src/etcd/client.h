// SPDX-License-Identifier: Apache-2.0
/*
 * A client of etcd (v3 API over gRPC) for threads that may wait. It speaks to one member at a time
 * and goes on with the next one when that does not answer. Functions may be called from any thread
 * but the client's own.
 *
 * What an error means: ERR_UNAVAILABLE says that nobody knows whether the call was carried out.
 * After every other error it was not: ERR_LIMIT (no space), ERR_DENIED and ERR_AUTH (etcd's own
 * rights), ERR_TOO_BIG, ERR_ABSENT (a lease that is over), ERR_INVALID, ERR_MALFORMED (an answer
 * that makes no sense).
 */
#ifndef ETCD_CLIENT_H
#define ETCD_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "etcd.pb-c.h"

enum {
    ETCD_ENDPOINTS_MAX = 9,
    ETCD_PORT = 2379,
    ETCD_VALUE_MAX = 512 << 10, /* bytes of one value that we write */
    ETCD_TRY_MS = 1500,         /* that one member is given to answer */
};

/* "https://a:2379,b,[2001:db8::1]:2379/NAME?replica=/path&cacert=F&cert=F&key=F" */
struct etcd_url {
    bool tls;
    size_t n_endpoints;
    struct etcd_endpoint {
        char host[256];
        uint16_t port;
    } endpoints[ETCD_ENDPOINTS_MAX];
    char name[64];                            /* of the store */
    char replica[1024];                       /* path */
    char cacert[1024], cert[1024], key[1024]; /* "": none */
};
/* ERR_INVALID with what is wrong. */
enum err_code etcd_url_parse(const char *url, struct etcd_url *out, struct err *e);

struct etcd;
/* Makes the client, which connects when it is first asked. Errors are those of the files. */
enum err_code etcd_open(const struct etcd_url *url, struct etcd **out, struct err *e);
void etcd_close(struct etcd *c); /* NULL is allowed */

/* Answers are freed with the functions that protobuf-c made for them. `again`: may be repeated
 * without harm, so other members are asked, within `ms` in all. */
enum err_code etcd_range(struct etcd *c, const Weft__Etcd__RangeRequest *q, int64_t ms,
                         Weft__Etcd__RangeResponse **out, struct err *e);
enum err_code etcd_txn(struct etcd *c, const Weft__Etcd__TxnRequest *q, bool again, int64_t ms,
                       Weft__Etcd__TxnResponse **out, struct err *e);
/* *id: of the new lease. */
enum err_code etcd_grant(struct etcd *c, int64_t ttl_s, int64_t ms, int64_t *id, struct err *e);
/* ERR_ABSENT: the lease is over. */
enum err_code etcd_keep_alive(struct etcd *c, int64_t id, int64_t ms, struct err *e);
enum err_code etcd_revoke(struct etcd *c, int64_t id, int64_t ms, struct err *e);
enum err_code etcd_compact(struct etcd *c, int64_t revision, int64_t ms, struct err *e);
enum err_code etcd_status(struct etcd *c, int64_t ms, Weft__Etcd__StatusResponse **out,
                          struct err *e);

/* Bytes as protobuf-c wants them; memory stays the caller's. */
static inline ProtobufCBinaryData etcd_bytes(const void *p, size_t n) {
    return (ProtobufCBinaryData){n, (uint8_t *)(uintptr_t)p};
}

#endif
