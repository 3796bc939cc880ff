// SPDX-License-Identifier: Apache-2.0
/*
 * NETCONF (RFC 6241) over SSH (RFC 6242), over TLS with client certificates (RFC 7589), and call
 * home (RFC 8071).
 *
 * A session belongs to the loop. Its messages are served one after the other by workers, which
 * write their answers through a feed: a long answer holds one object at a time, and a client that
 * stops reading costs a worker until its session is cut (NC_STALL_MS). Configuration is edited in
 * core's shared candidate, the one of `configure`; rights are those of every dialect.
 */
#ifndef NORTH_NETCONF_NETCONF_H
#define NORTH_NETCONF_NETCONF_H

#include "core/candidate.h"
#include "core/core.h"
#include "core/http_auth.h"
#include "core/workers.h"
#include "net/loop.h"
#include "net/tls.h"
#include "north/relay.h"

enum {
    NC_SESSIONS_MAX = 256,
    NC_SESSIONS_PER_PEER = 64,
    NC_STALL_MS = 60000,        /* a client that takes nothing for so long is cut off */
    NC_HELLO_MS = 30000,        /* from the login to its hello */
    NC_BYTES_MAX = 256 << 20,   /* of messages being read and served, of all sessions */
    NC_EVENTS_QUEUED = 4 << 20, /* bytes of notifications waiting behind an answer */
};

struct netconf_config {
    struct core *core;
    struct candidates *candidates;
    struct loop *loop;
    struct workers *hashers;   /* passwords */
    struct workers *servers;   /* each may wait for a slow reader */
    const char *host_key_file; /* of SSH; made when it is missing */
    struct relay *relay;       /* to the leader that this node follows; NULL: none */
    struct tls_ctx *tls;       /* of calls home; asks for client certificates; not taken over */
};

struct netconf;
enum err_code netconf_new(const struct netconf_config *cfg, struct netconf **out, struct err *e);
enum err_code netconf_listen_ssh(struct netconf *n, const struct ip_addr *addr, uint16_t port,
                                 uint16_t *bound, struct err *e);
/* `tls` asks for client certificates; reference kept. */
enum err_code netconf_listen_tls(struct netconf *n, const struct ip_addr *addr, uint16_t port,
                                 struct tls_ctx *tls, uint16_t *bound, struct err *e);
/* A session that another node passes on: is the request one, then hand it over. `auth` is of the
 * port for nodes and outlives the request. */
bool netconf_passed_mine(const struct http_req *r);
void netconf_passed(struct netconf *n, const struct http_auth_config *auth, struct http_req *r);
/* Ends every session; `done` on the loop when the last one is gone. */
void netconf_close(struct netconf *n, loop_fn *done, void *arg);
/* Before the workers and the loop are freed, after netconf_close or instead of it: nothing comes in
 * any more. NULL is allowed. */
void netconf_cut(struct netconf *n);
/* After workers_free, core_close and loop_free: what was under way ends in these. */
void netconf_free(struct netconf *n);
/* "SHA256:..." of the SSH host key. */
const char *netconf_fingerprint(const struct netconf *n);

#endif
