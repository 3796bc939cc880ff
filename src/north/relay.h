// SPDX-License-Identifier: Apache-2.0
/*
 * Requests that only the leader can answer, passed on to it by a node that follows
 * (docs/cluster.md): as they are, one HTTP/2 stream each over mutual TLS, with HTTP_AUTH_ACTOR
 * (core/http_auth.h) instead of the client's credentials. One for the loop of a process.
 */
#ifndef NORTH_RELAY_H
#define NORTH_RELAY_H

#include "core/core.h"
#include "core/workers.h"
#include "net/http.h"

enum {
    RELAY_REQUESTS_MAX = 256, /* under way at once; more are refused with 503 */
    RELAY_SHOWN_MS = 2000,    /* an answer waits so long for this node to have its commit */
};

struct relay_config {
    struct core *core;
    struct loop *loop;
    struct workers *workers;  /* ask the store where the leader is */
    struct tls_ctx *tls;      /* client's, with this node's certificate */
    http_error_writer *error; /* what is not passed on is refused with this: status 503 */
    void *error_arg;
};
struct relay;
struct relay *relay_new(const struct relay_config *cfg);
/* After http_server_free and workers_free, before core_close and loop_free. NULL is allowed. */
void relay_free(struct relay *rl);

/* Takes the request over, with its callbacks; its body must not have been read. False: it is to be
 * answered here, because this node does not follow, nobody leads, or another node passed it on.
 * `who`: as this node has authenticated it. */
bool relay_take(struct relay *rl, struct http_req *r, const struct actor *who);

/* A leader's certificate is for this name, beside HTTP_AUTH_NODE_URI. */
#define RELAY_NAME_SUFFIX ".weft-node"

#endif
