// SPDX-License-Identifier: Apache-2.0
/* An entity that says exactly what a test tells it to, and keeps what it is sent. */
#ifndef SIM_PROBE_H
#define SIM_PROBE_H

#include "pools/apmi.h"
#include "rig.h"

typedef Openapmi__V1__ManagerMsg manager_msg;
typedef Openapmi__V1__EntityMsg entity_msg;
typedef Openapmi__V1__Alarm alarm_msg;
typedef Openapmi__V1__AlarmResponse answer_msg;

struct probe {
    struct rig *rig;
    struct apmi_session *session; /* NULL: not connected */
    char system_id[POOLS_SYSTEM_ID_MAX + 1];
    uint64_t msg_id, boot_epoch;
    /* What CreateDomain and PoolSync say: IPv6, the length of delegated prefixes. Version 2. */
    bool six;
    uint32_t delegated;
    unsigned silent_max_s; /* of the transport; 0: it may be silent for ever */
    manager_msg **inbox;   /* in order */
    size_t n_inbox, cap_inbox;
    manager_msg *last; /* what probe_take gave last; freed by the next one */
    bool ended;
    int end_code;
    char end_text[256];
    bool released;
};

void probe_init(struct probe *p, struct rig *rig, const char *system_id);
void probe_free(struct probe *p); /* closes */
void probe_open(struct probe *p); /* a transport without a Hello */
void probe_close(struct probe *p);
void probe_send(struct probe *p, entity_msg *m); /* msg_id is filled in; steps the core */
void probe_send_bytes(struct probe *p, const void *bytes, size_t n);
/* The oldest message of the kind, taken out; NULL: none. Valid until the next probe_take. */
manager_msg *probe_take(struct probe *p, Openapmi__V1__ManagerMsg__BodyCase kind);
const Openapmi__V1__Order *probe_order(struct probe *p); /* the oldest order, or NULL */

/* Whole exchanges; they abort when the manager does not answer as expected. */
void probe_hello(struct probe *p);
Openapmi__V1__HelloAck *probe_hello_raw(struct probe *p, uint32_t min, uint32_t max);
void probe_connect(struct probe *p);       /* open, Hello */
void probe_connect_empty(struct probe *p); /* ... and a synchronisation without domains */
const Openapmi__V1__DomainSyncResult *probe_domains(struct probe *p, size_t n, const char **names);
void probe_sync_done(struct probe *p);
const Openapmi__V1__DomainCreated *probe_create(struct probe *p, const char *domain,
                                                const char *partition, uint32_t length);

struct probe_pool {
    const char *name, *prefix;
    uint64_t total, used;
    Openapmi__V1__PoolState state;
    bool local;
};
const Openapmi__V1__PoolSyncResult *probe_pools(struct probe *p, const char *domain,
                                                const char *partition, size_t n,
                                                const struct probe_pool *pools);
const Openapmi__V1__PoolSyncResult *probe_digest(struct probe *p, const char *domain,
                                                 const uint8_t digest[32]);
void probe_stats(struct probe *p, const char *domain, uint64_t free, uint64_t used, size_t n,
                 const struct probe_pool *pools);
void probe_result(struct probe *p, const char *order_id, uint32_t code, const char *text);
void probe_result_pool(struct probe *p, const char *order_id, uint32_t code, const char *pool);

const answer_msg *probe_alarm(struct probe *p, alarm_msg *a);
const answer_msg *probe_apportion(struct probe *p, const char *id, const char *domain,
                                  uint32_t wanted, uint32_t length);
const answer_msg *probe_reclaim(struct probe *p, const char *id, const char *domain, uint64_t free,
                                const char *candidate, uint64_t used, uint64_t total);
const answer_msg *probe_drained(struct probe *p, const char *id, const char *domain,
                                const char *pool);
/* "10.0.0.0/24" of a pool in a message. */
const char *prefix_text(const Openapmi__V1__Pool *pool, char out[IP_TEXT_MAX]);

#endif
