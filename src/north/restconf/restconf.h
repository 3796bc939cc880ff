// SPDX-License-Identifier: Apache-2.0
/*
 * RESTCONF (RFC 8040), YANG Patch (RFC 8072), event streams, and an OpenAPI rendering of it all.
 *
 * One struct restconf serves the requests of one loop. Nothing slow runs on the loop: passwords are
 * hashed, large bodies decoded and large answers printed by workers, changes run on the writer.
 *
 * Beyond the RFC, on changes (as query parameters; docs/restconf.md):
 *   commit-comment=TEXT  commit-dry-run  commit-force  commit-wait=SECONDS
 *   commit-confirmed=SECONDS  commit-confirmed-applied=SECONDS
 * and answers carry "weft-commit: N".
 */
#ifndef NORTH_RESTCONF_RESTCONF_H
#define NORTH_RESTCONF_RESTCONF_H

#include "core/candidate.h"
#include "core/core.h"
#include "core/workers.h"
#include "net/http.h"

enum {
    RESTCONF_BODY_MAX = 64 << 20,    /* bytes of one request's body */
    RESTCONF_BODIES_MAX = 256 << 20, /* of all requests together */
    RESTCONF_OUTPUT_MAX = 32 << 20,  /* bytes of one operation's output */
    RESTCONF_STREAMS_MAX = 128,      /* event streams open at once ... */
    RESTCONF_STREAMS_OF_USER = 32    /* ... and of them, those of one user */
};

struct restconf_config {
    struct core *core;
    struct candidates *candidates; /* whose lock is honoured; NULL: none */
    struct loop *loop;
    struct workers *hashers;  /* passwords: 2 threads */
    struct workers *decoders; /* bodies: 2 threads */
    struct workers *printers; /* each may wait for a slow reader: 32 threads */
    bool clear_text;          /* take credentials over clear-text TCP */
    bool from_nodes;          /* of the port for other nodes: they say who asks (http_auth.h) */
    /* On a node that follows: takes over what only the leader can do (north/relay.h), or returns
     * false. NULL: there are no other nodes. */
    bool (*relay)(struct http_req *r, const struct actor *who, void *arg);
    void *relay_arg;
};

struct restconf;
struct restconf *restconf_new(const struct restconf_config *cfg);
/* After http_server_free, workers_free, core_close and loop_free, in this order: what was under way
 * ends in these. NULL is allowed. */
void restconf_free(struct restconf *rc);
/* An http_handler; arg is the struct restconf. Answers 404 to what is not its own. */
void restconf_handle(struct http_req *r, void *restconf);
/* For http_server_on_error: what the server itself refuses, in our form. */
void restconf_write_error(struct http_req *r, int status, const char *why, void *arg);

#endif
