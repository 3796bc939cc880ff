// SPDX-License-Identifier: Apache-2.0
/*
 * openapmi over gRPC (net/grpc.h): the sessions of entities, and ApmiAdmin for tools. The only file
 * of pools that knows net/. One server for each listener; thousands of entities on its loop.
 */
#ifndef POOLS_APMI_SERVER_H
#define POOLS_APMI_SERVER_H

#include "core/core.h"
#include "core/workers.h"
#include "net/http.h"
#include "net/loop.h"
#include "net/tls.h"

struct apmi_server;

struct apmi_server_config {
    struct core *core;       /* outlives the server; has pools_service */
    struct loop *loop;       /* everything here happens in its thread */
    struct workers *hashers; /* for passwords of ApmiAdmin callers */
    unsigned max_conns;      /* 0: 20,000 */
    /* Takes over what a node that follows can't serve itself, or returns false. `who` NULL: the
     * session of a gateway. NULL: nothing is passed on. */
    bool (*relay)(struct http_req *r, const struct actor *who, void *arg);
    void *relay_arg;
    /* Of requests that other nodes pass on, by apmi_server_handle: HTTP_AUTH_ACTOR and
     * HTTP_AUTH_GATEWAY are believed. It has no listener of its own. */
    bool from_nodes;
};
/* Copies the struct. */
struct apmi_server *apmi_server_new(const struct apmi_server_config *cfg);
/* `tls` NULL: clear text, shown as such (only when configured; h2c with prior knowledge). With
 * client certificates (TLS_AUTH_OPTIONAL or _REQUIRED in the context), the certificate's common
 * name or a SAN must be the entity's system id. `bound` may be NULL. */
enum err_code apmi_server_listen(struct apmi_server *s, const struct ip_addr *addr, uint16_t port,
                                 struct tls_ctx *tls, uint16_t *bound, struct err *e);
/* A request that came in at the port for nodes; its connection belongs to another server, which
 * must be shut down or freed before `done` of apmi_server_close can be expected. */
void apmi_server_handle(struct apmi_server *s, struct http_req *r);
const struct http_counters *apmi_server_counters(const struct apmi_server *s);
/* Cuts all sessions: entities are unreachable for core once its queue is worked off. The loop must
 * run on (or be polled) until `done` (may be NULL) is called, in the loop; the server is freed
 * then. The core must not be closed before. */
void apmi_server_close(struct apmi_server *s, loop_fn *done, void *arg);

#endif
