// SPDX-License-Identifier: Apache-2.0
/*
 * Writing state records. Everything goes through txn_put_state, which folds at once: memory has
 * changed when these return, and pointers into a domain's pools are stale.
 */
#include <string.h>

#include "pools/internal.h"

static void put(struct txn *t, const struct rec_key *k, struct buf *value) {
    txn_put_state(t, k->bytes, k->len, value->data, value->len);
    buf_free(value);
}

static void drop(struct txn *t, const struct rec_key *k) {
    txn_delete_state(t, k->bytes, k->len);
}

/* A free number: ids are handles that nobody sees, so any will do; holes are filled first. */
static uint32_t free_id(void *const *table, uint32_t n, uint32_t count) {
    if (count < n - n / 8) { /* holes are frequent enough to be found soon */
        for (uint32_t i = n; i-- > 0;) {
            if (table[i] == NULL) {
                return i;
            }
        }
    }
    return n;
}

void entity_rec_of(const struct entity *en, struct entity_rec *out) {
    *out = (struct entity_rec){.system_id = en->system_id,
                               .address = en->address,
                               .software = en->software,
                               .kind = en->kind,
                               .security = en->security,
                               .version = en->version,
                               .boot_epoch = en->boot_epoch,
                               .first_s = en->first_s};
}

struct entity *entity_put(struct pools *p, struct txn *t, const struct entity_rec *r, uint32_t id) {
    if (id == UINT32_MAX) {
        id = free_id((void *const *)p->entities, p->n_entities, p->entity_count);
    }
    struct rec_key k = rec_key_id(REC_ENTITY, id);
    struct buf b = BUF_INIT;
    entity_rec_encode(r, &b);
    put(t, &k, &b);
    return p->entities[id];
}

void entity_delete(struct txn *t, struct entity *en) {
    struct rec_key k = rec_key_id(REC_ENTITY, en->id);
    drop(t, &k);
}

void domain_rec_of(const struct domain *d, struct domain_rec *out) {
    *out = (struct domain_rec){.entity = d->entity->id,
                               .name = d->name,
                               .partition = d->partition->name,
                               .profile = d->profile,
                               .group = d->group,
                               .instance = d->instance,
                               .family = d->family,
                               .unit = d->unit,
                               .preferred_len = d->preferred_len,
                               .next_seq = d->next_seq,
                               .next_ordinal = d->next_ordinal,
                               .created_s = d->created_s};
}

struct domain *domain_put(struct pools *p, struct txn *t, const struct domain_rec *r, uint32_t id) {
    if (id == UINT32_MAX) {
        id = free_id((void *const *)p->domains, p->n_domains, p->domain_count);
    }
    struct rec_key k = rec_key_id(REC_DOMAIN, id);
    struct buf b = BUF_INIT;
    domain_rec_encode(r, &b);
    put(t, &k, &b);
    return p->domains[id];
}

void domain_delete(struct pools *p, struct txn *t, struct domain *d) {
    while (d->n_pools > 0) {
        pool_delete(p, t, d, d->pools[d->n_pools - 1].ordinal);
    }
    for (int i = 0; i < ALARM_TYPES; i++) {
        alarm_over(t, d, (enum alarm_type)i, "its domain is gone");
    }
    struct rec_key k = rec_key_id(REC_DOMAIN, d->id);
    drop(t, &k);
}

void pool_rec_of(const struct pool *po, struct pool_rec *out) {
    *out = (struct pool_rec){.prefix = po->prefix,
                             .seq = po->seq,
                             .allocated_at = po->allocated_at,
                             .since = po->since,
                             .state = po->state,
                             .flags = po->flags,
                             .code = po->code,
                             .name = po->extra ? po->extra->name : NULL,
                             .note = po->extra ? po->extra->note : NULL};
}

void pool_put(struct pools *p, struct txn *t, struct domain *d, uint32_t ordinal,
              const struct pool_rec *r) {
    struct rec_key k = rec_key_pool(d->id, ordinal);
    struct buf b = BUF_INIT;
    pool_rec_encode(r, &b);
    put(t, &k, &b);
}

void pool_set_state(struct pools *p, struct txn *t, struct domain *d, uint32_t ordinal,
                    enum pool_state state, int flags) {
    const struct pool *po = domain_pool(d, ordinal);
    if (po == NULL || (po->state == state && (flags < 0 || po->flags == flags))) {
        return;
    }
    struct pool_rec r;
    pool_rec_of(po, &r);
    if (r.state != state) {
        r.since = (uint32_t)txn_now_s(t);
    }
    r.state = (uint8_t)state;
    if (flags >= 0) {
        r.flags = (uint8_t)flags;
    }
    bool new_there = (po->state == POOL_ALLOCATING || po->state == POOL_UNCERTAIN) &&
                     state != POOL_ALLOCATING && state != POOL_UNCERTAIN;
    pool_put(p, t, d, ordinal, &r);
    if (new_there) {
        event_pool(p, t, d, domain_pool(d, ordinal), true);
    }
}

void pool_delete(struct pools *p, struct txn *t, struct domain *d, uint32_t ordinal) {
    const struct pool *po = domain_pool(d, ordinal);
    if (po == NULL) {
        return;
    }
    struct partition *pt = d->partition;
    bool managed = pool_state_managed(po->state);
    struct ip_prefix root = {.len = 0};
    bool last = false;
    if (managed && !list_empty(&pt->retiring)) {
        struct prefix_info info;
        struct prefix_root_info ri;
        struct ip_prefix px = pool_prefix(po);
        if (prefix_tree_lookup(pt->tree, &px, &info) == PREFIX_ALLOCATED &&
            partition_retiring(pt, &info.root) != NULL &&
            prefix_tree_root_find(pt->tree, &info.root, &ri)) {
            root = info.root;
            last = ri.prefixes == 1;
        }
    }
    if (managed && po->state != POOL_ALLOCATING && po->state != POOL_UNCERTAIN) {
        event_pool(p, t, d, po, false);
    }
    struct rec_key k = rec_key_pool(d->id, ordinal);
    drop(t, &k);
    if (last) { /* the removed root has nothing left: it is gone for good (APM-018) */
        struct rec_key rk = rec_key_retiring(pt->name, &root);
        drop(t, &rk);
    }
    if (managed) {
        partition_check_low(p, t, pt);
    }
}

void alarm_put(struct txn *t, struct domain *d, enum alarm_type type, const struct alarm *a) {
    struct rec_key k = rec_key_alarm(d->id, type);
    struct buf b = BUF_INIT;
    alarm_rec_encode(a, &b);
    put(t, &k, &b);
}

void alarm_over(struct txn *t, struct domain *d, enum alarm_type type, const char *why) {
    if (d->alarms[type] != NULL) {
        event_alarm_cleared(t, d, type, why);
        struct rec_key k = rec_key_alarm(d->id, type);
        drop(t, &k);
    }
}

static void answer_delete(struct txn *t, const struct answer *a) {
    struct rec_key k = rec_key_answer(a->entity, a->alarm_id);
    drop(t, &k);
}

void answer_put(struct pools *p, struct txn *t, struct entity *en, const char *alarm_id,
                const struct answer_rec *r) {
    if (p->n_answers >= POOLS_ANSWERS_MAX) { /* bounded: the oldest goes before its hour is over */
        answer_delete(t, CONTAINER_OF(p->answers.next, struct answer, link));
    }
    struct rec_key k = rec_key_answer(en->id, alarm_id);
    struct buf b = BUF_INIT;
    answer_rec_encode(r, &b);
    put(t, &k, &b);
}

const struct answer *answer_find(struct pools *p, const struct entity *en, const char *alarm_id) {
    struct rec_key k = rec_key_answer(en->id, alarm_id);
    return map_get_n(&p->answer_by_id, k.bytes + 7, k.len - 7);
}

void answers_expire(struct pools *p, struct txn *t, int64_t now_s, size_t max) {
    while (max-- > 0 && !list_empty(&p->answers)) {
        const struct answer *a = CONTAINER_OF(p->answers.next, struct answer, link);
        if (a->at_s + POOLS_ANSWER_S > now_s) {
            break;
        }
        answer_delete(t, a);
    }
}
