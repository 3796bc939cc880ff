// SPDX-License-Identifier: Apache-2.0
/*
 * Sessions of entities: openapmi without I/O. A transport (the gRPC binding of apmi_server.h, or a
 * simulation) opens a session, hands in what it receives, and is told what to send; the protocol's
 * state machine (rules P-01..P-23 of proto/README.md) and all decisions run on core's writer.
 *
 *     transport's thread                     writer thread
 *     apmi_open                              (nothing)
 *     apmi_receive: decode, check  --->      work: decide, write records
 *                                            durable
 *     queue it, write it           <---      transport->send / end
 *     apmi_closed                  --->      work: what is unconfirmed becomes uncertain
 */
#ifndef POOLS_APMI_H
#define POOLS_APMI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/core.h"

struct apmi_session;

enum {
    APMI_VERSION_MIN = 1, /* of the protocol (APM-044) */
    APMI_VERSION = 2,     /* the newest; 2 knows IPv6 (P-23) */
    APMI_PORT = 20557,
    APMI_IN_FLIGHT_MAX = 64, /* P-07: stop reading above it */
    APMI_MESSAGE_MAX = 1 << 20,
};

struct apmi_transport {
    /* On the writer thread: post it to your own and return. `p` is packed ManagerMsg. */
    void (*send)(void *conn, const void *p, size_t n);
    /* The session is over for our part; `code` is a grpc-status. Nothing is sent after it. */
    void (*end)(void *conn, int code, const char *text);
    /* An answer went out and in_flight fell to APMI_IN_FLIGHT_MAX / 2: read on. May be NULL. */
    void (*resume)(void *conn);
    /* The session needs the connection no more; no call follows. */
    void (*released)(void *conn);
};

/* What the transport knows about the peer. Copied. */
struct apmi_peer {
    char source[96];    /* "192.0.2.1:4711" */
    char via[64];       /* the node that passes it on; "": it is connected to this one */
    char address[64];   /* without the port */
    bool tls, verified; /* verified: a client certificate that our authorities vouch for */
    /* Whether the certificate is for this system id; called while the session is open, on the
     * writer. Only when verified. */
    bool (*names)(void *conn, const char *system_id);
    unsigned silent_max_s; /* a session that says nothing for longer is lost; 0: no bound */
};

struct apmi_session *apmi_open(struct core *c, const struct apmi_transport *tr, void *conn,
                               const struct apmi_peer *peer);
/* One packed EntityMsg, received at wall-clock second receipt_s. Never keeps `p`. A message that is
 * not one ends the session with INVALID_ARGUMENT (3). Returns the number of unanswered messages. */
unsigned apmi_receive(struct apmi_session *s, const void *p, size_t n, int64_t receipt_s);
unsigned apmi_in_flight(const struct apmi_session *s); /* any thread */
/* The transport lost or closed the connection; send and end are not called after the writer has
 * seen it, `released` is the last call. Exactly once. */
void apmi_closed(struct apmi_session *s, const char *why);

#endif
