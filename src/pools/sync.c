// SPDX-License-Identifier: Apache-2.0
/*
 * Synchronisation of one domain: our pools are made those of the entity (APM-072..076). The
 * entity's view wins, but no prefix is ever given to two: what can't be had is a conflict and is
 * drained (C1, C3, C4, C5), or lies outside our space and is only counted (C2, C6, C7).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "pools/internal.h"

LOGGER_MODULE(pools);

typedef Openapmi__V1__Pool pool_msg;
typedef Openapmi__V1__PoolVerdict verdict_msg;

enum { VERDICTS_AGREED_MAX = 4096 }; /* more pools than that: only the others are listed */

struct sync {
    struct pools *p;
    struct txn *t;
    struct domain *d;
    struct map seen; /* names in the entity's list -> pool_msg */
    struct arena *arena;
    verdict_msg **verdicts;
    size_t n_verdicts;
    bool list_agreed;
    struct drift_tally drift;
};

static struct ip_prefix prefix_of(const pool_msg *m) {
    struct ip_prefix px = {.addr.family = m->prefix->address.len == 16 ? 6 : 4,
                           .len = (uint8_t)m->prefix->length};
    memcpy(px.addr.bytes, m->prefix->address.data, m->prefix->address.len);
    return px;
}

static void verdict(struct sync *sy, const pool_msg *m, Openapmi__V1__PoolVerdict__Verdict v,
                    const char *reason) {
    if (v == OPENAPMI__V1__POOL_VERDICT__VERDICT__AGREED && !sy->list_agreed) {
        return;
    }
    verdict_msg *vm = arena_alloc(sy->arena, sizeof *vm);
    openapmi__v1__pool_verdict__init(vm);
    vm->pool = m->name;
    vm->verdict = v;
    vm->reason = arena_strdup(sy->arena, reason);
    sy->verdicts[sy->n_verdicts++] = vm;
}

static uint8_t code_of(const struct prefix_conflict *why) {
    switch (why->reason) {
    case PREFIX_WHY_HELD:
    case PREFIX_WHY_INSIDE:
        return 1;
    case PREFIX_WHY_COVERS:
    case PREFIX_WHY_COVERS_OWN:
        return 3;
    case PREFIX_WHY_RESERVED:
        return 4;
    case PREFIX_WHY_TOO_LONG:
    case PREFIX_WHY_TOO_SHORT:
    case PREFIX_WHY_BAD:
        return 6;
    default:
        return 2; /* outside every root, or in one that is being given up */
    }
}

static const char *code_text(struct sync *sy, const struct ip_prefix *px, uint8_t code,
                             const struct prefix_conflict *why) {
    char text[IP_TEXT_MAX], with[IP_TEXT_MAX];
    const struct partition *pt = sy->d->partition;
    ip_prefix_format(px, text);
    switch (code) {
    case 1: {
        struct buf b = BUF_INIT;
        pools_owner_text(sy->p, why->owner, &b);
        const char *s = arena_printf(sy->arena, "C1: %s is allocated to %s", text, buf_cstr(&b));
        buf_free(&b);
        return s;
    }
    case 2:
        return arena_printf(sy->arena, "C2: %s is outside every root of partition %s", text,
                            pt->name);
    case 3:
        ip_prefix_format(&why->with, with);
        return arena_printf(sy->arena, "C3: %s covers %s, which is allocated or reserved", text,
                            with);
    case 4: {
        const struct holder *h = (const struct holder *)(uintptr_t)why->tag;
        return arena_printf(sy->arena, "C4: %s is reserved for %s domain %s", text,
                            h ? h->entity : "?", h ? h->domain : "?");
    }
    case 5:
        return arena_printf(sy->arena, "C5: another pool has the same name");
    case 6:
        return arena_printf(sy->arena, "C6: /%u is outside the limits /%u to /%u of partition %s",
                            px->len, pt->cfg->min_len, pt->cfg->max_len, pt->name);
    default:
        return arena_printf(sy->arena, "C7: partition %s is %s", pt->name,
                            pt->cfg == NULL ? "not configured" : "for something else");
    }
}

static void report(struct sync *sy, const char *name, const struct ip_prefix *px, uint8_t code,
                   const char *text) {
    char prefix[IP_TEXT_MAX];
    const struct domain *d = sy->d;
    sy->p->stats.conflicts++;
    L_WARN("%s domain %s pool %s: conflict %s", d->entity->system_id, d->name, name, text);
    struct buf b = BUF_INIT;
    buf_str(&b, "{\"entity\":");
    text_json(&b, d->entity->system_id);
    buf_str(&b, ",\"pool-domain\":");
    text_json(&b, d->name);
    buf_str(&b, ",\"pool\":");
    text_json(&b, name);
    buf_printf(&b, ",\"prefix\":\"%s\",\"code\":\"C%u\",\"info\":", ip_prefix_format(px, prefix),
               code);
    text_json(&b, text);
    buf_char(&b, '}');
    txn_event(sy->t, "weft-apm:sync-conflict", buf_cstr(&b));
    buf_free(&b);
}

/* ---- pools that the entity has and we don't ---------------------------------------------------
 */

/* Is the prefix held by another domain of this entity that has not told us yet what it has? Then
 * the entity has moved it. */
static bool taken_over(struct sync *sy, const struct prefix_conflict *why) {
    struct domain *other = pools_owner_domain(sy->p, why->owner);
    if (why->reason != PREFIX_WHY_HELD || other == NULL || other == sy->d ||
        other->entity != sy->d->entity || other->synced || other->partition != sy->d->partition) {
        return false;
    }
    L_INFO("%s: a prefix moves from domain %s to %s", other->entity->system_id, other->name,
           sy->d->name);
    drift_note_pool(sy->p, sy->t, other, &sy->drift, domain_pool(other, (uint32_t)why->owner),
                    DRIFT_ONLY_HERE, DRIFT_MOVED);
    pool_delete(sy->p, sy->t, other, (uint32_t)why->owner);
    return true;
}

/* 0: it can be had, and *why is not set. */
static uint8_t conflict_of(struct sync *sy, const pool_msg *m, const struct ip_prefix *px,
                           bool duplicate, struct prefix_conflict *why) {
    struct domain *d = sy->d;
    *why = (struct prefix_conflict){.reason = PREFIX_WHY_NONE};
    if (duplicate || entity_pool_name_taken(d->entity, m->name, d)) {
        return 5;
    }
    if (!domain_fits(d) || d->partition->tree == NULL) {
        return 7;
    }
    prefix_tag tag = pools_tag(sy->p, d->entity->system_id, d->name, false);
    for (int again = 0; again < 2; again++) {
        if (prefix_tree_allocate_exact(d->partition->tree, px, tag, 0, why, NULL) == ERR_OK) {
            /* Only a question: the record is what allocates. */
            prefix_tree_release(d->partition->tree, px, NULL, NULL, NULL);
            return 0;
        }
        if (!taken_over(sy, why)) {
            break;
        }
    }
    return code_of(why);
}

static void state_from(const pool_msg *m, struct pool_rec *r) {
    bool draining = m->state == OPENAPMI__V1__POOL_STATE__DRAINING ||
                    m->state == OPENAPMI__V1__POOL_STATE__DRAINED;
    r->state = draining ? POOL_DRAIN_SET : POOL_ACTIVE;
    r->flags = (uint8_t)(POOL_ADOPTED | (draining ? POOL_MANUAL : 0));
}

static void record_new(struct sync *sy, const pool_msg *m, const struct ip_prefix *px, uint8_t code,
                       const char *note) {
    struct domain *d = sy->d;
    uint32_t now = (uint32_t)txn_now_s(sy->t);
    uint32_t seq = code == 5 ? SEQ_FOREIGN : pool_name_seq(d->name, m->name);
    struct pool_rec r = {.prefix = *px,
                         .seq = seq,
                         .allocated_at = now,
                         .since = now,
                         .code = code,
                         .name = seq == SEQ_FOREIGN ? m->name : NULL};
    if (code == 0) {
        state_from(m, &r);
    } else {
        bool drain = code == 1 || code == 3 || code == 4 || code == 5;
        r.state = drain ? POOL_CONFLICT : POOL_UNMANAGED;
        r.note = (char *)(uintptr_t)note;
    }
    struct domain_rec dr;
    domain_rec_of(d, &dr);
    uint32_t ordinal = dr.next_ordinal++;
    if (seq < SEQ_FOREIGN && seq >= dr.next_seq) {
        dr.next_seq = seq + 1;
    }
    domain_put(sy->p, sy->t, &dr, d->id);
    pool_put(sy->p, sy->t, d, ordinal, &r);
    struct pool *po = domain_pool(d, ordinal);
    po->total = m->total;
    po->used = m->used;
    if (code == 0) {
        event_pool(sy->p, sy->t, d, po, true);
    }
}

static void drift_there(struct sync *sy, const pool_msg *m, enum drift_outcome outcome,
                        uint8_t code, const char *note) {
    struct drift dr = {.pool = m->name,
                       .prefix = prefix_of(m),
                       .kind = DRIFT_ONLY_THERE,
                       .outcome = (uint8_t)outcome,
                       .code = code,
                       .note = (char *)(uintptr_t)note};
    drift_note(sy->p, sy->t, sy->d, &sy->drift, &dr);
}

static void unknown_here(struct sync *sy, const pool_msg *m, bool duplicate) {
    struct ip_prefix px = prefix_of(m);
    struct prefix_conflict why;
    uint8_t code = conflict_of(sy, m, &px, duplicate, &why);
    if (code == 0) {
        record_new(sy, m, &px, 0, NULL);
        drift_there(sy, m, DRIFT_ADOPTED, 0, NULL);
        L_INFO("%s domain %s: pool %s is adopted", sy->d->entity->system_id, sy->d->name, m->name);
        verdict(sy, m, OPENAPMI__V1__POOL_VERDICT__VERDICT__ADOPTED, "");
        return;
    }
    const char *text = code_text(sy, &px, code, &why);
    report(sy, m->name, &px, code, text);
    record_new(sy, m, &px, code, text);
    bool drain = code == 1 || code == 3 || code == 4 || code == 5;
    drift_there(sy, m, drain ? DRIFT_CONFLICT : DRIFT_UNMANAGED, code, text);
    verdict(sy, m,
            drain ? OPENAPMI__V1__POOL_VERDICT__VERDICT__CONFLICT_DRAIN
                  : OPENAPMI__V1__POOL_VERDICT__VERDICT__UNMANAGED,
            text);
}

/* Has the entity another state than we knew, that no broken session explains? Then which side gives
 * way is noted before the pool changes. */
static void drift_state(struct sync *sy, const struct pool *po, bool draining) {
    bool clearing = (po->flags & POOL_CLEARING) != 0;
    if (po->state == POOL_ACTIVE && draining && !clearing) {
        drift_note_pool(sy->p, sy->t, sy->d, &sy->drift, po, DRIFT_STATE, DRIFT_FOLLOWED);
    } else if ((po->state == POOL_DRAIN_SET || po->state == POOL_DRAINED) && !draining) {
        drift_note_pool(sy->p, sy->t, sy->d, &sy->drift, po, DRIFT_STATE, DRIFT_ORDERED);
    }
}

/* ---- pools that both have ---------------------------------------------------------------------
 */

static void known_to_both(struct sync *sy, const pool_msg *m, struct pool *po) {
    struct pools *p = sy->p;
    struct txn *t = sy->t;
    struct domain *d = sy->d;
    uint32_t ordinal = po->ordinal;
    bool draining = m->state == OPENAPMI__V1__POOL_STATE__DRAINING ||
                    m->state == OPENAPMI__V1__POOL_STATE__DRAINED;
    po->total = m->total;
    po->used = m->used;
    drift_state(sy, po, draining);
    switch (po->state) {
    case POOL_UNMANAGED:
    case POOL_CONFLICT: {
        /* The reason may be gone: a partition configured, a root added, a prefix freed. A pool that
         * is being drained for a conflict goes on its way. */
        struct ip_prefix px = pool_prefix(po);
        struct prefix_conflict why;
        uint8_t code = po->state == POOL_CONFLICT && draining
                           ? po->code
                           : conflict_of(sy, m, &px, po->code == 5, &why);
        if (code == 0) {
            pool_delete(p, t, d, ordinal);
            record_new(sy, m, &px, 0, NULL);
            verdict(sy, m, OPENAPMI__V1__POOL_VERDICT__VERDICT__ADOPTED, "");
        } else {
            verdict(sy, m,
                    po->state == POOL_CONFLICT ? OPENAPMI__V1__POOL_VERDICT__VERDICT__CONFLICT_DRAIN
                                               : OPENAPMI__V1__POOL_VERDICT__VERDICT__UNMANAGED,
                    po->extra != NULL && po->extra->note != NULL ? po->extra->note : "");
        }
        return;
    }
    case POOL_ALLOCATING:
    case POOL_UNCERTAIN:
        pool_set_state(p, t, d, ordinal, draining ? POOL_DRAIN_SET : POOL_ACTIVE,
                       draining ? POOL_MANUAL : 0);
        break;
    case POOL_ACTIVE:
        if (draining && (po->flags & POOL_CLEARING) == 0) { /* drained by hand over there */
            pool_set_state(p, t, d, ordinal, POOL_DRAIN_SET, POOL_MANUAL);
        } else if (!draining && (po->flags & POOL_CLEARING) != 0) {
            pool_set_state(p, t, d, ordinal, POOL_ACTIVE, po->flags & ~POOL_CLEARING);
        }
        break;
    case POOL_DRAIN:
        if (draining) {
            pool_set_state(p, t, d, ordinal, POOL_DRAIN_SET, -1);
        }
        break;
    case POOL_DRAIN_SET:
    case POOL_DRAINED:
        if (!draining) { /* the drain got lost over there: ordered again below */
            pool_set_state(p, t, d, ordinal, POOL_DRAIN, -1);
        }
        break;
    default: /* removing: ordered again below */
        break;
    }
    verdict(sy, m, OPENAPMI__V1__POOL_VERDICT__VERDICT__AGREED, "");
}

/* ---- the whole list ---------------------------------------------------------------------------
 */

/* Pools only known here, or with another prefix there: the entity does not have them. */
static void drop_unlisted(struct sync *sy) {
    struct domain *d = sy->d;
    for (uint32_t i = d->n_pools; i-- > 0;) {
        const struct pool *po = &d->pools[i];
        char name[POOLS_NAME_MAX + 16];
        struct ip_prefix px = pool_prefix(po);
        pool_name(d, po, name);
        const pool_msg *m = map_get(&sy->seen, name);
        struct ip_prefix theirs;
        if (m != NULL) {
            theirs = prefix_of(m);
            if (ip_prefix_eq(&theirs, &px) && po->code != 5) {
                continue;
            }
        }
        if (po->code == 5) {
            continue; /* a second pool of that name; looked at with the list */
        }
        if (po->state == POOL_REMOVING) {
            d->stats.reclamations++;
            d->stats.last_reclamation = txn_now_s(sy->t);
            sy->p->stats.reclamations++;
        }
        char text[IP_TEXT_MAX];
        L_INFO("%s domain %s: the entity does not have pool %s (%s)%s", d->entity->system_id,
               d->name, name, ip_prefix_format(&px, text),
               pool_state_managed(po->state) ? ", the prefix is free again" : "");
        if (drift_expected(po)) {
            drift_note_pool(sy->p, sy->t, d, &sy->drift, po, DRIFT_ONLY_HERE, DRIFT_FREED);
        }
        pool_delete(sy->p, sy->t, d, po->ordinal);
    }
}

/* A pool of the list under another name here: the entity's name is taken (APM-035). */
static bool renamed(struct sync *sy, const pool_msg *m) {
    struct ip_prefix px = prefix_of(m);
    struct pool *po = domain_pool_prefix(sy->d, &px);
    if (po == NULL || !pool_state_managed(po->state) ||
        entity_pool_name_taken(sy->d->entity, m->name, sy->d)) {
        return false;
    }
    struct pool_rec r;
    pool_rec_of(po, &r);
    r.seq = pool_name_seq(sy->d->name, m->name);
    r.name = r.seq == SEQ_FOREIGN ? m->name : NULL;
    pool_put(sy->p, sy->t, sy->d, po->ordinal, &r);
    known_to_both(sy, m, domain_pool_prefix(sy->d, &px));
    return true;
}

static bool is_c5_of(const struct pool *po, const pool_msg *m) {
    struct ip_prefix px = prefix_of(m), ours = pool_prefix(po);
    return po->code == 5 && po->extra != NULL && po->extra->name != NULL &&
           strcmp(po->extra->name, m->name) == 0 && ip_prefix_eq(&px, &ours);
}

static struct pool *find_listed(struct domain *d, const pool_msg *m, bool duplicate) {
    for (uint32_t i = 0; i < d->n_pools; i++) {
        if (is_c5_of(&d->pools[i], m)) {
            return &d->pools[i];
        }
    }
    return duplicate ? NULL : domain_pool_named(d, m->name);
}

static void drop_unlisted_c5(struct sync *sy, pool_msg **pools, size_t n) {
    for (uint32_t i = sy->d->n_pools; i-- > 0;) {
        const struct pool *po = &sy->d->pools[i];
        bool listed = po->code != 5;
        for (size_t k = 0; !listed && k < n; k++) {
            listed = is_c5_of(po, pools[k]);
        }
        if (!listed) {
            pool_delete(sy->p, sy->t, sy->d, po->ordinal);
        }
    }
}

static void domain_synced(struct pools *p, struct txn *t, struct domain *d) {
    d->synced = d->told = true;
    d->resync_asked = false;
    d->stats.last_discovery = txn_now_s(t);
    p->stats.syncs++;
    domain_wait_done(d);
}

void sync_domain(struct pools *p, struct txn *t, struct apmi_session *s, struct domain *d,
                 pool_msg **pools, size_t n, Openapmi__V1__PoolSyncResult *result,
                 struct arena *arena) {
    struct sync sy = {.p = p, .t = t, .d = d, .seen = MAP_INIT, .arena = arena};
    sy.verdicts = arena_alloc(arena, (n + 1) * sizeof *sy.verdicts);
    sy.list_agreed = n <= VERDICTS_AGREED_MAX;
    bool *duplicate = arena_alloc(arena, n + 1);
    uint64_t total = 0, used = 0;
    for (size_t i = 0; i < n; i++) {
        total = ip_count_add(total, pools[i]->total);
        used = ip_count_add(used, pools[i]->used);
        if (pools[i]->local) {
            continue; /* of its own reserve: counted, never managed (APM-152) */
        }
        if (map_get(&sy.seen, pools[i]->name) != NULL) {
            duplicate[i] = true;
        } else {
            map_put(&sy.seen, pools[i]->name, pools[i]);
        }
    }
    drop_unlisted(&sy);
    drop_unlisted_c5(&sy, pools, n);
    for (size_t i = 0; i < n; i++) {
        if (pools[i]->local) {
            continue;
        }
        struct pool *po = find_listed(d, pools[i], duplicate[i]);
        if (po != NULL) {
            known_to_both(&sy, pools[i], po);
        } else if (duplicate[i] || !renamed(&sy, pools[i])) {
            unknown_here(&sy, pools[i], duplicate[i]);
        }
    }
    domain_set_usage(d, total - used, total, used);
    d->have_stats = true;
    drift_end(p, t, d, &sy.drift);
    map_free(&sy.seen, NULL);
    result->n_verdict = sy.n_verdicts;
    result->verdict = sy.verdicts;
    partition_check_low(p, t, d->partition);
    domain_synced(p, t, d);
}

void sync_domain_agreed(struct pools *p, struct txn *t, struct apmi_session *s, struct domain *d) {
    for (uint32_t i = 0; i < d->n_pools; i++) {
        const struct pool *po = &d->pools[i];
        if (po->state == POOL_ALLOCATING || po->state == POOL_UNCERTAIN) {
            pool_set_state(p, t, d, po->ordinal, POOL_ACTIVE, -1);
        }
    }
    p->stats.digests_equal++;
    domain_synced(p, t, d);
}

void sync_reissue(struct pools *p, struct txn *t, struct apmi_session *s, struct domain *d) {
    bool any = false;
    for (uint32_t i = 0; i < d->n_pools; i++) {
        const struct pool *po = &d->pools[i];
        if (po->state == POOL_DRAIN || po->state == POOL_DRAIN_SET) {
            order_pool(p, t, d, po, OPENAPMI__V1__ORDER_TYPE__ORDER_SET_DRAIN);
            any |= po->state == POOL_DRAIN;
        } else if (po->state == POOL_REMOVING) {
            order_pool(p, t, d, po, OPENAPMI__V1__ORDER_TYPE__ORDER_REMOVE_POOL);
            any = true;
        } else if (po->state == POOL_ACTIVE && (po->flags & POOL_CLEARING) != 0) {
            order_pool(p, t, d, po, OPENAPMI__V1__ORDER_TYPE__ORDER_CLEAR_DRAIN);
        }
    }
    if (any) {
        domain_wait(p, d);
    }
}
