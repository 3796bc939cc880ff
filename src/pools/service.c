// SPDX-License-Identifier: Apache-2.0
/* The service as core sees it: what it is made of, its beginning and its end. */
#include <inttypes.h>
#include <string.h>

#include "base/logger.h"
#include "model/kinds.h"
#include "pools/bulk.h"
#include "pools/show.h"

LOGGER_MODULE(pools);

static void *create(struct core *c) {
    struct pools *p = MEM_NEW(struct pools);
    p->core = c;
    p->clock = core_clock(c);
    list_init(&p->answers);
    list_init(&p->waiting);
    list_init(&p->bulk_runs);
    p->stats.since_s = clock_wall_s(p->clock);
    return p;
}

static enum err_code start(void *self, struct err *e) {
    struct pools *p = self;
    answers_sort(p);
    p->started = true;
    p->manager_epoch = (uint64_t)clock_wall_s(p->clock);
    p->last_sample_s = clock_wall_s(p->clock);
    for (uint32_t i = 0; i < p->n_entities; i++) {
        if (p->entities[i] != NULL) {
            entity_target_start(p, p->entities[i]);
        }
    }
    L_INFO("%" PRIu32 " entities, %" PRIu32 " domains, %" PRIu64 " pools", p->entity_count,
           p->domain_count, p->pool_count);
    bulk_start(p);
    rebalance_start(p);
    pools_tick_start(p);
    return ERR_OK;
}

static void stop(void *self) {
    struct pools *p = self;
    timer_disarm(core_timers(p->core), &p->tick);
    bulk_stop(p);
    rebalance_stop(p);
}

static void destroy(void *self) {
    struct pools *p = self;
    bulk_stop(p); /* also one that came after stop() */
    rebalance_stop(p);
    for (uint32_t i = 0; i < p->n_domains; i++) {
        if (p->domains[i] != NULL) {
            domain_free(p->domains[i]);
        }
    }
    for (uint32_t i = 0; i < p->n_entities; i++) {
        if (p->entities[i] != NULL) {
            entity_free(p->entities[i]);
        }
    }
    MAP_FOREACH (m, &p->targets) {
        struct target_holder *h = m->value;
        target_free(h->target);
        mem_free(h);
    }
    map_free(&p->targets, NULL);
    LIST_FOREACH_SAFE (l, &p->answers) {
        mem_free(CONTAINER_OF(l, struct answer, link));
    }
    map_free(&p->answer_by_id, NULL);
    drift_clear(p);
    map_free(&p->entity_by_id, NULL);
    mem_free(p->entities);
    mem_free(p->domains);
    pools_config_free(p);
    mem_free(p);
}

/* Which nodes there are is asked of the store: not on the writer. */
static bool slow(const struct node *rpc) {
    return rpc == apm_rebalance_rpc;
}

static enum err_code prepare(void *self, struct call *cl, struct err *e) {
    return rebalance_check(((struct pools *)self)->core, cl, e);
}

const struct service pools_service = {
    .name = "pools",
    .state_prefix = "pools/",
    .module = "weft-apm",
    .create = create,
    .destroy = destroy,
    .start = start,
    .stop = stop,
    .complete = pools_complete,
    .check = pools_check,
    .config = pools_config,
    .changed = pools_changed,
    .state_encode = pools_state_encode,
    .state_fold = pools_state_fold,
    .slow = slow,
    .slow_write = slow,
    .prepare = prepare,
    .call = pools_call,
    .provides = "/weft-apm:apm/state",
    .live = true,
    .look = pools_look,
    .values = pools_values,
    .metrics = pools_metrics,
};
