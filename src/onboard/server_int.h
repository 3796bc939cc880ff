// SPDX-License-Identifier: Apache-2.0
/* Between server.c (listeners), request.c (what devices ask) and download.c (files). */
#ifndef ONBOARD_SERVER_INT_H
#define ONBOARD_SERVER_INT_H

#include "base/list.h"
#include "base/map.h"
#include "onboard/internal.h"
#include "onboard/server.h"

struct door { /* a listener */
    struct list link;
    struct onboard_server *server;
    const struct object *config; /* held */
    struct http_server *http;    /* NULL: not open */
    struct tls_ctx *tls;
    char reason[ERR_TEXT_MAX]; /* why it is not open; "" */
    int64_t retry_ms;          /* loop time in ms; when it is tried again */
    bool seen;
};

struct notes;

struct onboard_server {
    struct onboard_server_config cfg;
    struct list doors;
    struct loop_timer *tick;
    unsigned ticks;
    uint64_t seen;        /* index of the configuration that the doors are as */
    uint64_t authorities; /* sum over what device authorities there are */
    uint64_t lists;       /* ... and their revocation lists; 0: none */
    char authorities_file[600];
    struct map faults;   /* source -> struct fault */
    struct notes *notes; /* NULL: there were none */
    size_t open;         /* exchanges, and listeners that shut down */
    bool closing;
    loop_fn *done;
    void *done_arg;
};

void server_left(struct onboard_server *s); /* one of `open` is over */

/* A request that came in at a door; `passed`: at another node's, see ONBOARD_DEVICE_FIELD. */
void request_begin(struct door *d, struct http_req *r, const char *passed);
/* What the HTTP server itself refuses, in the dialect's form. */
void request_write_error(struct http_req *r, int status, const char *why, void *arg);

/* Serves a file of the onboarding folder, or a part of it (RFC 9110 sections 13, 14). */
void download_begin(struct http_req *r, const char *name);

/* What the writer is not asked about, for `show onboard requests`: the same of a source is noted
 * once a minute and counted then, and so is what is too much, so that a flood costs one small
 * commit a second (notes.c). A node that does not lead keeps nothing. */
void notes_add(struct onboard_server *s, const struct ip_addr *source,
               const struct request_note *n);
/* Once a second, on the loop. */
void notes_tick(struct onboard_server *s);
void notes_free(struct onboard_server *s);
/* TLS has refused a connection: noted, by http_server_on_turned_away; `arg`: the door. */
void request_turned_away(const struct http_peer *peer, const char *why, void *arg);

/* Has this source failed too often lately? Counts a failure when `failed`. */
bool source_slowed(struct onboard_server *s, const struct ip_addr *source, bool failed);

#endif
