// SPDX-License-Identifier: Apache-2.0
/* What the benches of pools share: a threaded core on a real store, the configuration, and entities
 * that are nothing but a transport. */
#ifndef BENCH_APM_WORLD_H
#define BENCH_APM_WORLD_H

#include <stdatomic.h>

#include "core/core.h"
#include "pools/apmi.h"
#include "pools/internal.h"

struct gate { /* one entity: opens, synchronises, asks */
    struct apmi_session *session;
    char id[32];
    uint64_t msg_id;
    void (*answer)(struct gate *g, const Openapmi__V1__ManagerMsg *m);
    void *arg;
    _Atomic bool ready, released;
};

double apm_now_s(void);
void apm_die(const char *what, const struct err *e);
/* Threaded, on FOLDER/apm.db. */
struct core *apm_open(const char *folder);
void apm_put(struct core *c, const char *path, const char *json);
/* Each entity may raise `alarm_rate` alarms a second, and four times as many at once. */
void apm_configure(struct core *c, unsigned entities, unsigned root_len, unsigned alarm_rate);
/* Connects and comes into step, with an empty list of domains; returns when it is. */
void apm_connect(struct core *c, struct gate *g, unsigned number);
/* Hello alone. */
void apm_connect_only(struct core *c, struct gate *g, unsigned number);
/* After it: its domain "d0" ... is made. */
void apm_create(struct gate *g, const char *domain);
void apm_send(struct gate *g, Openapmi__V1__EntityMsg *m);
void apm_disconnect(struct gate *g);
/* Syncs per second of one small block, and their p99 in ms, in this folder: the floor. */
double apm_sync_floor(const char *folder, double *p99_ms);
size_t apm_resident(void); /* bytes */

#endif
