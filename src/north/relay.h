// SPDX-License-Identifier: Apache-2.0
/*
 * What only the leader can do, passed on to it by a node that follows (docs/cluster.md): HTTP/2
 * streams over mutual TLS between the nodes, with who asks (core/http_auth.h) instead of a
 * client's credentials. One relay for the loop of a process.
 *
 * A leg is one stream to the leader. relay_take() makes one of a whole request and hands it on as
 * it is, both ways; dialects with sessions of their own (the command line, NETCONF) open legs
 * themselves. Connections to the leader are made as they are needed, RELAY_STREAMS legs on each.
 */
#ifndef NORTH_RELAY_H
#define NORTH_RELAY_H

#include "core/core.h"
#include "core/workers.h"
#include "net/http.h"
#include "net/http_client.h"

enum relay_kind { RELAY_REQUEST, RELAY_SESSION, RELAY_GATEWAY, RELAY_KINDS };

enum {
    /* Under way at once, of a kind; more are refused with 503. */
    RELAY_REQUESTS_MAX = 256,
    RELAY_SESSIONS_MAX = 512,
    RELAY_GATEWAYS_MAX = 20000,
    RELAY_STREAMS = HTTP_CLIENT_EXCHANGES_MAX, /* of one connection between nodes */
    RELAY_CONNS_MAX =
        (RELAY_REQUESTS_MAX + RELAY_SESSIONS_MAX + RELAY_GATEWAYS_MAX) / RELAY_STREAMS + 2,
    RELAY_SHOWN_MS = 2000, /* an answer waits so long for this node to have its commit */
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

/* Does this node follow one that leads and is heard? Then that one can be asked. NULL: no. */
bool relay_follows(const struct relay *rl);
/* The name of the node that legs go to, or last went to; "": none yet. */
const char *relay_leader(const struct relay *rl);

/* Takes the request over, with its callbacks; its body must not have been read. False: it is to be
 * answered here, because this node does not follow, nobody leads, or another node passed it on.
 * `who`: as this node has authenticated it. NULL: a gateway's session, for which its certificate
 * speaks (HTTP_AUTH_GATEWAY). */
bool relay_take(struct relay *rl, struct http_req *r, const struct actor *who);
/* The same of a client that this node has not authenticated: what it has seen of it goes along as a
 * field that only nodes may send, and so do the client's own credentials. */
bool relay_take_as(struct relay *rl, struct http_req *r, const char *name, const char *value);

/* ---- legs ---- */

struct relay_leg;

/* How a leg ends; `why` is a sentence for people in each case but the first. */
enum relay_end {
    RELAY_DONE,     /* the answer is complete */
    RELAY_NOT_DONE, /* the leader has certainly not begun with it; nothing was done */
    RELAY_UNKNOWN,  /* it may have */
};
struct relay_leg_ops {
    /* The leader's answer begins; fields of the connection between the nodes are left out. */
    void (*head)(void *arg, int status, const struct http_field *f, size_t nf);
    /* A piece of it; give credit with relay_leg_taken. */
    void (*body)(void *arg, const uint8_t *p, size_t n);
    void (*trailers)(void *arg, const struct http_field *f, size_t nf); /* may be NULL */
    void (*drained)(void *arg); /* what was written is under the mark again; may be NULL */
    void (*closed)(void *arg, enum relay_end end, const char *why); /* last; the leg is dead */
};
struct relay_request {
    enum relay_kind kind;
    const char *method, *path; /* path with its query */
    const char *authority;     /* NULL: localhost */
    const char *actor_name;    /* HTTP_AUTH_ACTOR or HTTP_AUTH_GATEWAY */
    const char *actor;         /* its value */
    const char *peer;          /* the client's address, for people */
    const struct http_field *fields;
    size_t n_fields; /* up to HTTP_CLIENT_FIELDS_MAX - 2 */
};
/* All is copied. Never calls back from inside; a leg that can't be had ends with `closed` later. */
struct relay_leg *relay_leg_new(struct relay *rl, const struct relay_request *rq,
                                const struct relay_leg_ops *ops, void *arg);
/* Copies; true: over the mark, wait for `drained`. */
bool relay_leg_write(struct relay_leg *leg, const void *p, size_t n);
void relay_leg_end(struct relay_leg *leg); /* the body is complete */
void relay_leg_taken(struct relay_leg *leg, size_t n);
void relay_leg_cancel(struct relay_leg *leg); /* no callback follows; the pointer is dead */

/* Fields that belong to one connection, or that our own server says in every answer. */
bool relay_of_the_hop(const char *name);

/* A leader's certificate is for this name, beside HTTP_AUTH_NODE_URI. */
#define RELAY_NAME_SUFFIX ".weft-node"

#endif
