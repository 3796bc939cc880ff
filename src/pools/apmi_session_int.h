// SPDX-License-Identifier: Apache-2.0
/* Between apmi_session.c and apmi_hello.c: a session from the inside. */
#ifndef POOLS_APMI_SESSION_INT_H
#define POOLS_APMI_SESSION_INT_H

#include <stdatomic.h>

#include "pools/apmi.h"
#include "pools/internal.h"

typedef Openapmi__V1__EntityMsg entity_msg;
typedef Openapmi__V1__ManagerMsg manager_msg;

enum phase { PHASE_HELLO, PHASE_DOMAINS, PHASE_POOLS, PHASE_IN_STEP, PHASE_OVER };

struct apmi_session {
    _Atomic unsigned refs;
    _Atomic unsigned in_flight;
    struct core *core;
    struct pools *pools;
    const struct apmi_transport *transport;
    void *conn;
    struct apmi_peer peer;
    bool failed; /* transport's thread: nothing more is taken */
    /* the writer's */
    enum phase phase;
    bool closed; /* the transport is gone, or was told to go */
    struct entity *entity;
    bool can_move;
    char moving[64]; /* the controller that it was asked to dial; "": none */
    uint64_t boot_epoch, last_msg_id;
    int64_t heard_s;      /* last message, by the monotonic clock */
    struct map announced; /* domains of the DomainSync under way */
    /* parts of a PoolSync under way */
    struct item **parts;
    size_t n_parts;
    size_t n_part_pools;
};

/* One received message on its way through the writer. */
struct item {
    struct apmi_session *s;
    entity_msg *m;
    int64_t receipt_s;
    bool kept; /* belongs to session->parts now */
};

/* The writer's. What was given and not confirmed is neither free nor sure until the next
 * synchronisation. */
void apmi_unconfirmed(struct pools *p, struct txn *t, struct entity *en);
/* Volatile: whatever becomes of the transaction, the session is gone. */
void apmi_detach(struct pools *p, struct txn *t, struct apmi_session *s, const char *why);
void apmi_hello(struct pools *p, struct txn *t, struct apmi_session *s, uint64_t msg_id,
                const Openapmi__V1__Hello *h);

#endif
