// SPDX-License-Identifier: Apache-2.0
/*
 * Reclamation: when a surplus pool may be drained, what follows when it is drained, and the
 * operator's drain, activate, reclaim, release (APM-054..058, APM-080..092).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "pools/internal.h"

LOGGER_MODULE(pools);

typedef Openapmi__V1__Alarm alarm_msg;

bool drain_is_safe(const struct drain_numbers *n, char text[256], bool *first_test) {
    uint64_t pool_free = n->pool_total > n->pool_used ? n->pool_total - n->pool_used : 0;
    uint64_t rest1 = n->domain_free > pool_free ? n->domain_free - pool_free : 0;
    uint64_t rest2 = n->domain_free > n->pool_total ? n->domain_free - n->pool_total : 0;
    *first_test = rest1 > n->pool_used;
    if (!*first_test) {
        snprintf(text, 256,
                 "without the pool %" PRIu64 " %s free (%" PRIu64 " - %" PRIu64
                 "), not more than the %" PRIu64 " to be moved",
                 rest1, text_plural(rest1, "address is", "addresses are"), n->domain_free,
                 pool_free, n->pool_used);
        return false;
    }
    if (rest2 <= n->apportion) {
        snprintf(text, 256,
                 "after the drain %" PRIu64 " %s free (%" PRIu64 " - %" PRIu64
                 "), not more than the apportion threshold %" PRIu64,
                 rest2, text_plural(rest2, "address is", "addresses are"), n->domain_free,
                 n->pool_total, n->apportion);
        return false;
    }
    text[0] = '\0';
    return true;
}

/* ---- reclaim alarms -------------------------------------------------------------------------- */

static void decide_nack(struct decision *out, Openapmi__V1__Reason reason, int64_t retry_at) {
    out->result = OPENAPMI__V1__ALARM_RESULT__ALARM_NACK;
    out->action = OPENAPMI__V1__ACTION__NOOP;
    out->reason = reason;
    out->retry_at = retry_at;
    out->outstanding = true;
}

static void decide_drain(struct decision *out, const char *pool) {
    out->result = OPENAPMI__V1__ALARM_RESULT__ALARM_ACK;
    out->action = OPENAPMI__V1__ACTION__SET_DRAIN;
    out->reason = OPENAPMI__V1__REASON__REASON_NONE;
    out->retry_at = 0;
    out->outstanding = false;
    snprintf(out->pool, sizeof out->pool, "%s", pool);
    out->text[0] = '\0';
}

bool sole_and_idle(const struct domain *d, const struct pool *po) {
    return po->used == 0 && d->n_pools == 1;
}

/* Whether this candidate is drained now; otherwise `out` says why not. */
static bool try_candidate(struct pools *p, struct txn *t, struct domain *d, struct pool *po,
                          const struct profile *prof, const alarm_msg *a, int64_t receipt_s,
                          struct decision *out) {
    bool idle = po->used == 0;
    if (!idle && !window_open(&prof->window, receipt_s)) {
        /* What is idle already is reclaimed outside the window too (APM-084). */
        char when[TIME_TEXT_MAX];
        int64_t at = window_next_open(&prof->window, receipt_s);
        decide_nack(out, OPENAPMI__V1__REASON__OUTSIDE_WINDOW, at);
        snprintf(out->text, sizeof out->text, "the reclamation window opens at %s",
                 time_format(at, 0, when));
        return false;
    }
    if (!sole_and_idle(d, po)) {
        struct drain_numbers n = {.domain_free = a->free_addresses,
                                  .pool_total = po->total,
                                  .pool_used = po->used,
                                  .apportion = prof->apportion};
        bool first;
        char text[256];
        if (!drain_is_safe(&n, text, &first)) {
            p->stats.drains_refused++;
            decide_nack(out, OPENAPMI__V1__REASON__UNSAFE_DRAIN, receipt_s + POOLS_RETRY_UNSAFE_S);
            snprintf(out->text, sizeof out->text, "%s", text);
            return false;
        }
    }
    char name[POOLS_NAME_MAX + 16];
    pool_name(d, po, name);
    decide_drain(out, name);
    pool_set_state(p, t, d, po->ordinal, POOL_DRAIN, 0);
    domain_wait(p, d);
    L_INFO("%s domain %s: pool %s is to be drained", d->entity->system_id, d->name, name);
    return true;
}

void reclaim_decide(struct pools *p, struct txn *t, struct domain *d, const alarm_msg *a,
                    int64_t receipt_s, struct decision *out) {
    *out = (struct decision){.result = OPENAPMI__V1__ALARM_RESULT__ALARM_NACK};
    const struct profile *prof = pools_profile_of(p, d->entity);
    const char *first = a->n_candidate_pool > 0 ? a->candidate_pool[0] : "";
    snprintf(out->pool, sizeof out->pool, "%s", first);
    struct pool *po = domain_pool_named(d, first);
    if (po != NULL && a->candidate_total > 0 && a->candidate_used <= a->candidate_total) {
        po->used = a->candidate_used;
        po->total = a->candidate_total;
    }
    if (prof == NULL || !prof->automatic) {
        out->result = OPENAPMI__V1__ALARM_RESULT__ALARM_PENDING;
        out->action = OPENAPMI__V1__ACTION__NOOP;
        out->reason = OPENAPMI__V1__REASON__AUTO_RECLAIM_OFF;
        out->retry_at = receipt_s + POOLS_RETRY_PENDING_S;
        out->outstanding = true;
        snprintf(out->text, sizeof out->text, "waits for an operator: drain pool %s",
                 first[0] ? first : "of your choice");
        return;
    }
    const struct alarm *before = d->alarms[ALARM_RECLAIM];
    int64_t since =
        before != NULL && strcmp(before->id, a->alarm_id) == 0 ? before->first_s : receipt_s;
    if (receipt_s < since + prof->delay_s) {
        decide_nack(out, OPENAPMI__V1__REASON__DELAYED, since + prof->delay_s);
        snprintf(out->text, sizeof out->text, "reclamation waits %" PRIu32 " s after the alarm",
                 prof->delay_s);
        return;
    }
    bool tried = false;
    struct decision why = *out;
    for (size_t i = 0; i < a->n_candidate_pool; i++) {
        po = domain_pool_named(d, a->candidate_pool[i]);
        if (po != NULL && (po->state == POOL_DRAIN || po->state == POOL_DRAIN_SET) &&
            (po->flags & POOL_MANUAL) == 0) {
            decide_drain(out, a->candidate_pool[i]); /* ordered before: the same again */
            return;
        }
        /* Pools that were never counted can't be judged. */
        if (po == NULL || po->state != POOL_ACTIVE || po->total == 0) {
            continue;
        }
        struct decision dec = *out;
        if (try_candidate(p, t, d, po, prof, a, receipt_s, &dec)) {
            *out = dec;
            return;
        }
        if (!tried) { /* the first candidate's reason is the one to tell */
            snprintf(dec.pool, sizeof dec.pool, "%s", a->candidate_pool[i]);
            why = dec;
            tried = true;
        }
    }
    if (!tried) {
        decide_nack(&why, OPENAPMI__V1__REASON__UNSAFE_DRAIN, receipt_s + POOLS_RETRY_UNSAFE_S);
        snprintf(why.text, sizeof why.text, "no candidate is an active pool of this domain");
    }
    *out = why;
}

/* ---- pool-drained alarms --------------------------------------------------------------------- */

static void decide_remove(struct decision *out, const char *pool) {
    out->result = OPENAPMI__V1__ALARM_RESULT__ALARM_ACK;
    out->action = OPENAPMI__V1__ACTION__REMOVE_POOL;
    snprintf(out->pool, sizeof out->pool, "%s", pool);
}

void drained_decide(struct pools *p, struct txn *t, struct domain *d, const alarm_msg *a,
                    int64_t receipt_s, struct decision *out) {
    *out = (struct decision){.result = OPENAPMI__V1__ALARM_RESULT__ALARM_NACK,
                             .action = OPENAPMI__V1__ACTION__NOOP};
    const char *name = a->n_candidate_pool > 0 ? a->candidate_pool[0] : "";
    snprintf(out->pool, sizeof out->pool, "%s", name);
    struct pool *po = domain_pool_named(d, name);
    if (po == NULL) {
        out->retry_at = receipt_s + POOLS_RETRY_UNSAFE_S;
        snprintf(out->text, sizeof out->text, "no such pool in the domain");
        order_resync(p, t, d);
        return;
    }
    if (po->state == POOL_DRAIN || po->state == POOL_DRAIN_SET || po->state == POOL_CONFLICT) {
        d->stats.drained_alarms++;
        p->stats.drained_alarms++;
    } else {
        p->stats.retries++;
    }
    bool manual = (po->flags & POOL_MANUAL) != 0;
    switch (po->state) {
    case POOL_DRAIN:
    case POOL_DRAIN_SET:
    case POOL_DRAINED:
        po->used = 0;
        if (!manual) {
            /* Through `drained` in one transaction: nothing but the order is left to do. */
            pool_set_state(p, t, d, po->ordinal, POOL_REMOVING, -1);
            domain_wait(p, d);
            decide_remove(out, name);
            return;
        }
        if (po->state != POOL_DRAINED) {
            pool_set_state(p, t, d, po->ordinal, POOL_DRAINED, -1);
            event_drained_raised(t, d, domain_pool_named(d, name));
        }
        out->result = OPENAPMI__V1__ALARM_RESULT__ALARM_PENDING;
        out->reason = OPENAPMI__V1__REASON__AUTO_RECLAIM_OFF;
        out->retry_at = receipt_s + POOLS_RETRY_PENDING_S;
        snprintf(out->text, sizeof out->text, "waits for an operator: reclaim pool %s", name);
        return;
    case POOL_REMOVING:
    case POOL_CONFLICT: /* P-12: it goes, and nothing is freed */
        decide_remove(out, name);
        return;
    default:
        out->retry_at = receipt_s + POOLS_RETRY_UNSAFE_S;
        snprintf(out->text, sizeof out->text, "pool %s is %s: no drain was ordered", name,
                 pool_state_name(po->state));
        return;
    }
}

/* APM-085. What was ordered to be removed already is left to end: the entity may have done it. */
void reclaim_cancel_automatic(struct pools *p, struct txn *t, struct domain *d) {
    for (uint32_t i = 0; i < d->n_pools; i++) {
        struct pool *po = &d->pools[i];
        if ((po->state == POOL_DRAIN || po->state == POOL_DRAIN_SET) &&
            (po->flags & POOL_MANUAL) == 0) {
            pool_order_activate(p, t, d, po->ordinal);
        }
    }
    const struct alarm *al = d->alarms[ALARM_RECLAIM];
    if (al != NULL && al->result == OPENAPMI__V1__ALARM_RESULT__ALARM_NACK) {
        struct alarm next = *al;
        char info[256];
        next.result = OPENAPMI__V1__ALARM_RESULT__ALARM_PENDING;
        next.reason = OPENAPMI__V1__REASON__AUTO_RECLAIM_OFF;
        snprintf(info, sizeof info, "waits for an operator: drain pool %s", al->pool);
        next.info = info;
        alarm_put(t, d, ALARM_RECLAIM, &next);
    }
}

/* ---- operators ------------------------------------------------------------------------------- */

static enum err_code find_pool(struct pools *p, const char *entity, const char *domain,
                               const char *pool, struct domain **d, struct pool **po,
                               struct err *e) {
    struct entity *en = pools_entity(p, entity);
    if (en == NULL) {
        return err_set(e, ERR_ABSENT, NULL, "there is no entity %s", entity);
    }
    *d = entity_domain(en, domain);
    if (*d == NULL) {
        return err_set(e, ERR_ABSENT, NULL, "entity %s has no pool domain %s", entity, domain);
    }
    *po = domain_pool_named(*d, pool);
    if (*po == NULL) {
        return err_set(e, ERR_ABSENT, NULL, "pool domain %s of entity %s has no pool %s", domain,
                       entity, pool);
    }
    if (en->session == NULL || !apmi_in_step(en->session)) {
        return err_set(e, ERR_UNAVAILABLE, NULL, "entity %s is %s", entity,
                       en->session == NULL ? "unreachable" : "being synchronised");
    }
    return ERR_OK;
}

void pool_order_drain(struct pools *p, struct txn *t, struct domain *d, uint32_t ordinal) {
    const struct alarm *al = d->alarms[ALARM_RECLAIM];
    char name[POOLS_NAME_MAX + 16];
    pool_set_state(p, t, d, ordinal, POOL_DRAIN, POOL_MANUAL);
    const struct pool *po = domain_pool(d, ordinal);
    pool_name(d, po, name);
    order_pool(p, t, d, po, OPENAPMI__V1__ORDER_TYPE__ORDER_SET_DRAIN);
    domain_wait(p, d);
    if (al != NULL && strcmp(al->pool, name) == 0) {
        alarm_over(t, d, ALARM_RECLAIM, "an operator has ordered the drain");
    }
}

void pool_order_activate(struct pools *p, struct txn *t, struct domain *d, uint32_t ordinal) {
    pool_set_state(p, t, d, ordinal, POOL_ACTIVE, POOL_CLEARING);
    order_pool(p, t, d, domain_pool(d, ordinal), OPENAPMI__V1__ORDER_TYPE__ORDER_CLEAR_DRAIN);
}

void pool_order_remove(struct pools *p, struct txn *t, struct domain *d, uint32_t ordinal) {
    const struct pool *po = domain_pool(d, ordinal);
    if (po->state == POOL_DRAINED) {
        event_drained_cleared(t, d, po, "it is being reclaimed");
    }
    pool_set_state(p, t, d, ordinal, POOL_REMOVING, -1);
    order_pool(p, t, d, domain_pool(d, ordinal), OPENAPMI__V1__ORDER_TYPE__ORDER_REMOVE_POOL);
    domain_wait(p, d);
}

static void say(struct buf *text, const struct domain *d, const char *pool, const char *what) {
    buf_printf(text, "Pool %s in pool domain %s at entity %s %s.\n", pool, d->name,
               d->entity->system_id, what);
}

enum err_code pools_drain(struct pools *p, struct txn *t, const char *entity, const char *domain,
                          const char *pool, bool force, struct buf *text, struct err *e) {
    struct domain *d = NULL;
    struct pool *po = NULL;
    ERR_TRY(find_pool(p, entity, domain, pool, &d, &po, e));
    if (po->state != POOL_ACTIVE) {
        return err_set(e, ERR_REFUSED, NULL, "pool %s is %s: only an active pool can be drained",
                       pool, pool_state_name(po->state));
    }
    const struct alarm *al = d->alarms[ALARM_RECLAIM];
    if (!force && (al == NULL || strcmp(al->pool, pool) != 0)) {
        return err_set(e, ERR_REFUSED, NULL,
                       "pool %s has no reclaim alarm outstanding; force drains it all the same",
                       pool);
    }
    const struct profile *prof = pools_profile_of(p, d->entity);
    struct drain_numbers n = {.domain_free = d->free,
                              .pool_total = po->total,
                              .pool_used = po->used,
                              .apportion = prof ? prof->apportion : 0};
    char why[256];
    bool first;
    if (!force && !sole_and_idle(d, po) && !drain_is_safe(&n, why, &first)) {
        p->stats.drains_refused++;
        return err_set(e, ERR_REFUSED, NULL,
                       "draining pool %s is not safe: %s; force drains it all the same", pool, why);
    }
    pool_order_drain(p, t, d, po->ordinal);
    say(text, d, pool, "is draining");
    return ERR_OK;
}

enum err_code pools_activate(struct pools *p, struct txn *t, const char *entity, const char *domain,
                             const char *pool, struct buf *text, struct err *e) {
    struct domain *d = NULL;
    struct pool *po = NULL;
    ERR_TRY(find_pool(p, entity, domain, pool, &d, &po, e));
    if (po->state != POOL_DRAIN && po->state != POOL_DRAIN_SET) {
        return err_set(e, ERR_REFUSED, NULL, "pool %s is %s: there is no drain to take back", pool,
                       pool_state_name(po->state));
    }
    if ((po->flags & POOL_MANUAL) == 0) {
        return err_set(e, ERR_REFUSED, NULL,
                       "pool %s is drained by automatic reclamation, which can't be taken back by "
                       "hand",
                       pool);
    }
    pool_order_activate(p, t, d, po->ordinal);
    say(text, d, pool, "has activated");
    return ERR_OK;
}

enum err_code pools_reclaim(struct pools *p, struct txn *t, const char *entity, const char *domain,
                            const char *pool, bool force, struct buf *text, struct err *e) {
    struct domain *d = NULL;
    struct pool *po = NULL;
    ERR_TRY(find_pool(p, entity, domain, pool, &d, &po, e));
    bool can = po->state == POOL_DRAINED ||
               (force && pool_state_managed(po->state) && po->state != POOL_REMOVING &&
                po->state != POOL_ALLOCATING && po->state != POOL_UNCERTAIN);
    if (!can) {
        return err_set(e, ERR_REFUSED, NULL, "pool %s is %s: only a drained pool can be reclaimed",
                       pool, pool_state_name(po->state));
    }
    pool_order_remove(p, t, d, po->ordinal);
    say(text, d, pool, "is being reclaimed");
    return ERR_OK;
}

enum err_code pools_release(struct pools *p, struct txn *t, const char *entity, uint32_t *prefixes,
                            struct buf *text, struct err *e) {
    struct entity *en = pools_entity(p, entity);
    *prefixes = 0;
    if (en == NULL) {
        return err_set(e, ERR_ABSENT, NULL, "there is no entity %s", entity);
    }
    if (en->session != NULL) {
        return err_set(e, ERR_REFUSED, NULL,
                       "entity %s is reachable; only an unreachable entity can be released",
                       entity);
    }
    uint32_t domains = 0;
    for (;;) {
        struct domain *d = NULL;
        MAP_FOREACH (m, &en->domains) {
            d = m->value;
            break;
        }
        if (d == NULL) {
            break;
        }
        for (uint32_t i = 0; i < d->n_pools; i++) {
            *prefixes += pool_state_managed(d->pools[i].state);
        }
        domains++;
        domain_delete(p, t, d);
    }
    LIST_FOREACH_SAFE (l, &p->answers) {
        const struct answer *a = CONTAINER_OF(l, struct answer, link);
        if (a->entity == en->id) {
            struct rec_key k = rec_key_answer(a->entity, a->alarm_id);
            txn_delete_state(t, k.bytes, k.len);
        }
    }
    L_INFO("entity %s is released: %" PRIu32 " domains, %" PRIu32 " prefixes", entity, domains,
           *prefixes);
    buf_printf(text,
               "Entity %s has been released: %" PRIu32 " pool %s removed, %" PRIu32 " %s freed.\n",
               entity, domains, text_plural(domains, "domain", "domains"), *prefixes,
               text_plural(*prefixes, "prefix", "prefixes"));
    entity_delete(t, en);
    return ERR_OK;
}

void pools_clear_statistics(struct pools *p, int64_t now_s) {
    p->stats = (struct pools_stats){.since_s = now_s};
    for (uint32_t i = 0; i < p->n_domains; i++) {
        if (p->domains[i] != NULL) {
            p->domains[i]->stats = (struct domain_stats){.last_discovery = 0};
        }
    }
}
