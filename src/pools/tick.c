// SPDX-License-Identifier: Apache-2.0
/* What time does: confirmations that stay out (P-04), answers that grow old (P-05), samples of use,
 * the low-water mark. Once a second, as work on the writer; nothing due costs nothing in the log.
 */
#include <string.h>

#include "base/logger.h"
#include "pools/bulk.h"

LOGGER_MODULE(pools);

enum { EXPIRE_AT_ONCE = 2000 };

/* Nothing is freed here: the entity may have what it did not confirm. It is asked. */
static void domain_overdue(struct pools *p, struct txn *t, struct domain *d) {
    bool ask = false;
    for (uint32_t i = 0; i < d->n_pools; i++) {
        const struct pool *po = &d->pools[i];
        switch (po->state) {
        case POOL_ALLOCATING:
            pool_set_state(p, t, d, po->ordinal, POOL_UNCERTAIN, -1);
            ask = true;
            break;
        case POOL_UNCERTAIN:
            ask = true;
            break;
        case POOL_DRAIN:
            order_pool(p, t, d, po, OPENAPMI__V1__ORDER_TYPE__ORDER_SET_DRAIN);
            break;
        case POOL_REMOVING:
            order_pool(p, t, d, po, OPENAPMI__V1__ORDER_TYPE__ORDER_REMOVE_POOL);
            break;
        default:
            break;
        }
    }
    if (ask) {
        order_resync(p, t, d);
    }
}

static void overdue(struct pools *p, struct txn *t) {
    int64_t now_s = clock_mono_s(p->clock);
    while (!list_empty(&p->waiting)) {
        struct domain *d = CONTAINER_OF(p->waiting.next, struct domain, waiting);
        if (d->wait_until_s > now_s) {
            break;
        }
        list_remove(&d->waiting);
        if (d->entity->session == NULL || !apmi_in_step(d->entity->session)) {
            continue; /* the synchronisation will settle it */
        }
        p->stats.timeouts++;
        L_WARN_RL(10, "%s domain %s: no confirmation for %d s", d->entity->system_id, d->name,
                  POOLS_ACK_S);
        domain_overdue(p, t, d);
        domain_wait(p, d);
    }
}

void partition_sample(struct pools *p, struct txn *t, struct partition *pt, int64_t now_s) {
    struct prefix_stats st;
    prefix_tree_stats(pt->tree, &st);
    struct sample s = {.time_s = (uint32_t)now_s,
                       .total = partition_units(pt, st.total),
                       .allocated = partition_units(pt, st.allocated),
                       .used = pt->used_reported};
    struct rec_key k = rec_key_sample(pt->name, (unsigned)(now_s / POOLS_SAMPLE_S % POOLS_SAMPLES));
    struct buf b = BUF_INIT;
    sample_rec_encode(&s, &b);
    txn_put_state(t, k.bytes, k.len, b.data, b.len);
    buf_free(&b);
}

/* Names first: writing a sample may not be done while the map is walked. */
static void samples(struct pools *p, struct txn *t, int64_t now_s) {
    if (now_s / POOLS_SAMPLE_S == p->last_sample_s / POOLS_SAMPLE_S) {
        return;
    }
    p->last_sample_s = now_s;
    struct partition **all = mem_array(NULL, p->partitions.count + 1, sizeof(struct partition *));
    size_t n = 0;
    MAP_FOREACH (m, &p->partitions) {
        struct partition *pt = m->value;
        if (pt->cfg != NULL) {
            all[n++] = pt;
        }
    }
    for (size_t i = 0; i < n; i++) {
        partition_sample(p, t, all[i], now_s);
    }
    mem_free(all);
}

static void targets_sweep(struct pools *p) {
    if (p->targets.count <= p->entity_count) {
        return;
    }
    MAP_FOREACH (m, &p->targets) {
        struct target_holder *h = m->value;
        if (pools_entity(p, h->system_id) == NULL) {
            target_free(h->target);
            map_del(&p->targets, m->key);
            mem_free(h);
        }
    }
}

void pools_tick(struct pools *p, struct txn *t, int64_t now_s) {
    overdue(p, t);
    answers_expire(p, t, now_s, EXPIRE_AT_ONCE);
    samples(p, t, now_s);
    MAP_FOREACH (m, &p->partitions) {
        partition_check_low(p, t, m->value);
    }
    space_tell(p, t, now_s);
    for (uint32_t i = 0; i < p->n_entities; i++) {
        if (p->entities[i] != NULL && p->entities[i]->session != NULL) {
            apmi_check_silence(t, p->entities[i]->session);
        }
    }
    bulk_tick(p, t);
    events_tick(p, t);
    rebalance_tick(p);
    targets_sweep(p);
}

static enum err_code tick_work(struct txn *t, void *arg, struct err *e) {
    pools_tick(arg, t, txn_now_s(t));
    return ERR_OK;
}

static void tick_done(void *arg, uint64_t index, const struct err *e) {
    struct pools *p = arg;
    p->tick_queued = false;
    if (e != NULL) {
        L_WARN_RL(60, "the clock's work was not done: %s", e->text);
    }
}

static void tick_fire(struct timer *timer, void *arg) {
    struct pools *p = arg;
    timer_arm(core_timers(p->core), &p->tick, NS_PER_S);
    if (!p->tick_queued) {
        p->tick_queued = true;
        core_run(p->core, &actor_system, tick_work, tick_done, p);
    }
}

void pools_tick_start(struct pools *p) {
    p->tick = (struct timer){.fire = tick_fire, .arg = p};
    timer_arm(core_timers(p->core), &p->tick, NS_PER_S);
}
