// SPDX-License-Identifier: Apache-2.0
/*
 * Orders to entities and what they answer; thresholds as the desired state of a target session.
 *
 * An order's id says all that is needed to understand the answer
 * ("o.rm.DOMAIN.ORDINAL.ADDRESS.SINCE"), so nothing has to be remembered between the two. SINCE is
 * the second in which the pool entered its state: a late answer about a number that was reused
 * meanwhile fits nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "pools/internal.h"

LOGGER_MODULE(pools);

typedef Openapmi__V1__Order order_msg;

static void order_send(struct txn *t, struct apmi_session *s, const order_msg *o) {
    Openapmi__V1__ManagerMsg m = OPENAPMI__V1__MANAGER_MSG__INIT;
    m.body_case = OPENAPMI__V1__MANAGER_MSG__BODY_ORDER;
    m.order = (order_msg *)(uintptr_t)o;
    apmi_send(t, s, &m);
}

static const char *const order_words[] = {
    [OPENAPMI__V1__ORDER_TYPE__ORDER_SET_DRAIN] = "sd",
    [OPENAPMI__V1__ORDER_TYPE__ORDER_CLEAR_DRAIN] = "cd",
    [OPENAPMI__V1__ORDER_TYPE__ORDER_REMOVE_POOL] = "rm",
};

/* The address in an order's id: of IPv6 the four words in one. */
static uint32_t address_tag(const struct pool *po) {
    uint32_t tag = 0;
    for (size_t i = 0; i < sizeof po->prefix.addr.bytes; i += 4) {
        const uint8_t *b = po->prefix.addr.bytes + i;
        tag ^= (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    }
    return tag;
}

void order_pool(struct pools *p, struct txn *t, struct domain *d, const struct pool *po,
                Openapmi__V1__OrderType type) {
    if (d->entity->session == NULL) {
        return; /* the next synchronisation gives it again */
    }
    char id[96], name[POOLS_NAME_MAX + 16];
    snprintf(id, sizeof id, "o.%s.%" PRIu32 ".%" PRIu32 ".%" PRIx32 ".%" PRIu32 ".%" PRIu64,
             order_words[type], d->id, po->ordinal, address_tag(po), po->since, ++p->order_seq);
    pool_name(d, po, name);
    order_msg o = OPENAPMI__V1__ORDER__INIT;
    o.order_id = id;
    o.type = type;
    o.domain = d->name;
    o.pool = name;
    order_send(t, d->entity->session, &o);
}

struct resync {
    struct pools *pools;
    uint32_t domain;
};

static void resync_after(void *arg, bool committed) {
    struct resync *r = arg;
    if (!committed && r->domain < r->pools->n_domains && r->pools->domains[r->domain] != NULL) {
        r->pools->domains[r->domain]->resync_asked = false; /* the order was not sent */
    }
    mem_free(r);
}

void order_resync(struct pools *p, struct txn *t, struct domain *d) {
    if (d->entity->session == NULL) {
        return;
    }
    /* Until its list is here nothing more is given: the list can't name what is on its way. */
    if (!d->resync_asked) {
        struct resync *r = MEM_NEW(struct resync);
        *r = (struct resync){.pools = p, .domain = d->id};
        d->resync_asked = true;
        txn_after(t, resync_after, r);
    }
    char id[48];
    snprintf(id, sizeof id, "o.rs.%" PRIu64, ++p->order_seq);
    order_msg o = OPENAPMI__V1__ORDER__INIT;
    o.order_id = id;
    o.type = OPENAPMI__V1__ORDER_TYPE__ORDER_RESYNC;
    o.domain = d->name;
    p->stats.resyncs++;
    order_send(t, d->entity->session, &o);
}

/* ---- thresholds ------------------------------------------------------------------------------ */

bool domain_thresholds_differ(const struct pools *p, const struct domain *d) {
    Openapmi__V1__Thresholds th;
    domain_thresholds(p, d, &th);
    return !d->thresholds_known || d->sent_apportion != th.apportion ||
           d->sent_reclaim != th.reclaim || d->sent_hold != th.hold_down_s;
}

void thresholds_order(struct pools *p, struct domain *d, uint64_t revision) {
    Openapmi__V1__Thresholds th;
    domain_thresholds(p, d, &th);
    d->asked_apportion = (uint32_t)th.apportion;
    d->asked_reclaim = (uint32_t)th.reclaim;
    d->asked_hold = th.hold_down_s;
    if (d->thresholds_in_flight == 0) {
        d->entity->in_flight++;
    }
    d->thresholds_in_flight = revision;
    mem_free(d->thresholds_refused);
    d->thresholds_refused = NULL;
    char id[64];
    /* Each try is an order of its own: an entity repeats its result for one it has seen. */
    snprintf(id, sizeof id, "th.%" PRIu32 ".%" PRIu64 ".%" PRIu64, d->id, revision, ++p->order_seq);
    order_msg o = OPENAPMI__V1__ORDER__INIT;
    o.order_id = id;
    o.type = OPENAPMI__V1__ORDER_TYPE__ORDER_UPDATE_THRESHOLDS;
    o.domain = d->name;
    o.thresholds = &th;
    o.revision = revision;
    Openapmi__V1__ManagerMsg m = OPENAPMI__V1__MANAGER_MSG__INIT;
    m.body_case = OPENAPMI__V1__MANAGER_MSG__BODY_ORDER;
    m.order = &o;
    apmi_send_now(d->entity->session, &m);
}

/* All answers to a revision are there: what is told to core? */
static void thresholds_progress(struct entity *en) {
    if (en->in_flight > 0 || en->sending == 0 || en->target == NULL) {
        return;
    }
    uint64_t revision = en->sending;
    const struct domain *refused = NULL, *later = NULL;
    char why[400] = "";
    en->sending = 0;
    MAP_FOREACH (m, &en->domains) {
        const struct domain *d = m->value;
        refused = d->thresholds_refused != NULL && !d->thresholds_later ? d : refused;
        later = d->thresholds_refused != NULL && d->thresholds_later ? d : later;
    }
    const struct domain *d = refused != NULL ? refused : later;
    if (d != NULL) {
        snprintf(why, sizeof why, "domain %s: %s", d->name, d->thresholds_refused);
    }
    if (en->sync_pending) {
        /* It is in step with what was when it connected. What came after, refused or not, is a
         * revision that core sends now, with an answer that counts. */
        en->sync_pending = false;
        target_synced(en->target);
    } else if (refused != NULL) {
        target_refused(en->target, revision, why);
    } else if (later != NULL) {
        target_failed(en->target, revision, why);
    } else {
        target_applied(en->target, revision);
    }
}

/* The answers to orders change only what is volatile, but what is told to core must be told outside
 * of the transaction. */
static void progress_after(void *arg, bool committed) {
    struct apmi_session *s = arg;
    struct entity *en = apmi_entity(s);
    if (en != NULL && en->session == s) {
        thresholds_progress(en);
    }
    apmi_release(s);
}

static void thresholds_result(struct pools *p, struct txn *t, struct apmi_session *s,
                              const Openapmi__V1__OrderResult *r) {
    uint32_t id;
    uint64_t revision;
    if (sscanf(r->order_id, "th.%" SCNu32 ".%" SCNu64, &id, &revision) != 2 || id >= p->n_domains ||
        p->domains[id] == NULL || p->domains[id]->entity != apmi_entity(s) ||
        p->domains[id]->thresholds_in_flight != revision) {
        return; /* answers an order that a newer one has overtaken */
    }
    struct domain *d = p->domains[id];
    d->thresholds_in_flight = 0;
    d->entity->in_flight--;
    if (r->status == NULL || r->status->code == 0) {
        d->sent_apportion = d->asked_apportion;
        d->sent_reclaim = d->asked_reclaim;
        d->sent_hold = d->asked_hold;
        d->thresholds_known = true;
    } else {
        d->thresholds_later = r->status->code == CODE_UNAVAILABLE;
        d->thresholds_refused =
            mem_strdup(r->status->text[0] ? r->status->text : "no reason given");
        L_WARN("%s domain %s refuses thresholds %" PRIu32 "/%" PRIu32 ": %s", d->entity->system_id,
               d->name, d->asked_apportion, d->asked_reclaim, d->thresholds_refused);
    }
    apmi_hold(s);
    txn_after(t, progress_after, s);
}

/* Core: bring this entity to revision `to`. */
static void target_send(struct target_session *ts, void *arg, uint64_t from, uint64_t to) {
    struct target_holder *h = arg;
    struct entity *en = pools_entity(h->pools, h->system_id);
    if (en == NULL || en->session == NULL || !apmi_in_step(en->session)) {
        target_failed(ts, to, "no session");
        return;
    }
    en->sending = to;
    MAP_FOREACH (m, &en->domains) {
        struct domain *d = m->value;
        if (domain_thresholds_differ(h->pools, d) || d->thresholds_in_flight != 0) {
            thresholds_order(h->pools, d, to);
        } else { /* what it refused was taken back: it has what it should have */
            mem_free(d->thresholds_refused);
            d->thresholds_refused = NULL;
        }
    }
    thresholds_progress(en);
}

const struct target_codec pools_target_codec = {.type = "bng", .send = target_send};

void entity_target_start(struct pools *p, struct entity *en) {
    struct target_holder *h = map_get(&p->targets, en->system_id);
    if (h == NULL) {
        h = MEM_NEW(struct target_holder);
        h->pools = p;
        snprintf(h->system_id, sizeof h->system_id, "%s", en->system_id);
        char name[POOLS_SYSTEM_ID_MAX + 8];
        snprintf(name, sizeof name, "bng:%s", en->system_id);
        h->target = target_new(p->core, &pools_target_codec, name, h);
        map_put(&p->targets, en->system_id, h);
    }
    en->target = h->target;
}

/* Entities of a session that came into step: what changed during the synchronisation follows. */
static void in_step_after(void *arg, bool committed) {
    struct apmi_session *s = arg;
    struct entity *en = apmi_entity(s);
    if (committed && en != NULL && en->session == s && en->target != NULL && apmi_in_step(s)) {
        struct target_holder *h = map_get(&apmi_pools(s)->targets, en->system_id);
        uint64_t head = core_head(h->pools->core);
        head = head > 0 ? head : 1;
        en->sync_pending = true;
        en->sending = head;
        MAP_FOREACH (m, &en->domains) {
            struct domain *d = m->value;
            if (domain_thresholds_differ(h->pools, d)) {
                thresholds_order(h->pools, d, head);
            }
        }
        thresholds_progress(en);
    }
    apmi_release(s);
}

void entity_in_step(struct txn *t, struct apmi_session *s) {
    apmi_hold(s);
    txn_after(t, in_step_after, s);
}

/* ---- results --------------------------------------------------------------------------------- */

void pool_confirmed(struct pools *p, struct txn *t, struct domain *d, uint32_t ordinal) {
    pool_set_state(p, t, d, ordinal, POOL_ACTIVE, -1);
}

/* The entity has removed it: now, and only now, the prefix is free (spec 4.2, P-14). */
static void removal_confirmed(struct pools *p, struct txn *t, struct domain *d, uint32_t ordinal) {
    struct pool *po = domain_pool(d, ordinal);
    char name[POOLS_NAME_MAX + 16], text[IP_TEXT_MAX];
    struct ip_prefix px = pool_prefix(po);
    pool_name(d, po, name);
    bool managed = pool_state_managed(po->state);
    if (managed) {
        d->stats.reclamations++;
        d->stats.last_reclamation = txn_now_s(t);
        p->stats.reclamations++;
    }
    L_INFO("%s domain %s: pool %s is removed%s%s%s", d->entity->system_id, d->name, name,
           managed ? ", " : "", managed ? ip_prefix_format(&px, text) : "",
           managed ? " is free again" : "");
    pool_delete(p, t, d, ordinal);
    domain_wait_done(d);
    domain_remove_if_empty(p, t, d, "its last pool was reclaimed");
}

static void pool_result(struct pools *p, struct txn *t, struct domain *d, uint32_t ordinal,
                        Openapmi__V1__OrderType type, const Openapmi__V1__Status *st) {
    struct pool *po = domain_pool(d, ordinal);
    bool ok = st == NULL || st->code == 0;
    char name[POOLS_NAME_MAX + 16];
    pool_name(d, po, name);
    if (!ok) {
        L_WARN("%s domain %s: the entity refuses the order about pool %s: %s", d->entity->system_id,
               d->name, name, st->text);
    }
    switch (type) {
    case OPENAPMI__V1__ORDER_TYPE__ORDER_SET_DRAIN:
        if (po->state == POOL_DRAIN) {
            pool_set_state(p, t, d, ordinal, ok ? POOL_DRAIN_SET : POOL_ACTIVE, ok ? -1 : 0);
        }
        break;
    case OPENAPMI__V1__ORDER_TYPE__ORDER_CLEAR_DRAIN:
        if (po->state == POOL_ACTIVE && (po->flags & POOL_CLEARING) != 0) {
            pool_set_state(p, t, d, ordinal, ok ? POOL_ACTIVE : POOL_DRAIN_SET,
                           ok ? po->flags & ~POOL_CLEARING : POOL_MANUAL);
        }
        break;
    case OPENAPMI__V1__ORDER_TYPE__ORDER_REMOVE_POOL:
        if (ok && (po->state == POOL_REMOVING || po->state == POOL_CONFLICT)) {
            removal_confirmed(p, t, d, ordinal);
            return; /* the domain may be gone */
        }
        if (!ok && st->code == CODE_NOT_FOUND) { /* gone there already? its list will tell */
            order_resync(p, t, d);
        } else if (po->state == POOL_REMOVING) { /* it will report the pool drained again */
            pool_set_state(p, t, d, ordinal, POOL_DRAIN_SET, -1);
        }
        break;
    default:
        break;
    }
    domain_wait_done(d);
}

/* "o.sd.DOMAIN.ORDINAL.ADDRESS.SINCE.SEQ" */
static void order_id_result(struct pools *p, struct txn *t, struct apmi_session *s,
                            const Openapmi__V1__OrderResult *r) {
    char word[4];
    uint32_t id, ordinal, address, since;
    if (sscanf(r->order_id, "o.%2[a-z].%" SCNu32 ".%" SCNu32 ".%" SCNx32 ".%" SCNu32, word, &id,
               &ordinal, &address, &since) != 5) {
        return; /* resynchronisations end with their PoolSync, not here */
    }
    struct domain *d = id < p->n_domains ? p->domains[id] : NULL;
    struct pool *po = d && d->entity == apmi_entity(s) ? domain_pool(d, ordinal) : NULL;
    if (po == NULL || address_tag(po) != address || po->since != since) {
        L_DBG("order %s is answered late: nothing fits it", r->order_id);
        return;
    }
    for (unsigned i = 1; i < sizeof order_words / sizeof *order_words; i++) {
        if (order_words[i] != NULL && strcmp(order_words[i], word) == 0) {
            pool_result(p, t, d, ordinal, (Openapmi__V1__OrderType)i, r->status);
            return;
        }
    }
}

static bool has_prefix(const struct pool *po, const Openapmi__V1__Prefix *px) {
    return px != NULL && px->address.len == (po->prefix.addr.family == 6 ? 16 : 4) &&
           px->length == po->prefix.len &&
           memcmp(px->address.data, po->prefix.addr.bytes, px->address.len) == 0;
}

/* Results may be repeated, and come late; names of pools come again (APM-035). What was said of an
 * earlier pool of that name says nothing about this one. */
static bool is_about(const struct pool *po, const Openapmi__V1__OrderResult *r) {
    return r->pool == NULL || r->pool->prefix == NULL || has_prefix(po, r->pool->prefix);
}

/* The pools that the answer gave: all of them, or the one that the entity refuses. */
static void added_result(struct pools *p, struct txn *t, struct domain *d, const struct answer *a,
                         const Openapmi__V1__OrderResult *r) {
    bool ok = r->status == NULL || r->status->code == 0;
    const char *only = !ok && r->pool != NULL ? r->pool->name : "";
    for (uint32_t ordinal = a->first; ordinal < a->first + a->n_add; ordinal++) {
        struct pool *po = domain_pool(d, ordinal);
        char name[POOLS_NAME_MAX + 16];
        if (po == NULL || !is_about(po, r)) {
            continue;
        }
        pool_name(d, po, name);
        bool named = only[0] == '\0' || strcmp(only, name) == 0;
        if (po->state == POOL_ACTIVE && only[0] != '\0' && named) {
            order_resync(p, t, d); /* it was counted as accepted before */
            continue;
        }
        if (!named || (po->state != POOL_ALLOCATING && po->state != POOL_UNCERTAIN)) {
            continue;
        }
        if (ok) {
            pool_confirmed(p, t, d, ordinal);
        } else {
            L_WARN("%s domain %s: the entity refuses pool %s: %s", d->entity->system_id, d->name,
                   name, r->status->text);
            if (r->status->code != CODE_RESOURCE_EXHAUSTED && r->status->code != CODE_UNAVAILABLE) {
                struct ip_prefix px = pool_prefix(po); /* it is the prefix that does not fit */
                entity_refuses(d->entity, &px, txn_now_s(t));
            }
            pool_delete(p, t, d, ordinal);
        }
    }
    domain_wait_done(d);
}

/* The id of an alarm: confirms what the answer to it ordered (P-04, P-14). */
static void alarm_id_result(struct pools *p, struct txn *t, struct apmi_session *s,
                            const struct answer *old, const Openapmi__V1__OrderResult *r) {
    struct domain *d = old->domain < p->n_domains ? p->domains[old->domain] : NULL;
    if (d == NULL || d->entity != apmi_entity(s) || d->created_s > old->at_s) {
        return; /* gone, or another one with its number */
    }
    if (old->n_add > 0) {
        added_result(p, t, d, old, r);
        return;
    }
    Openapmi__V1__AlarmResponse *a = answer_rest(old);
    if (a == NULL) {
        return;
    }
    struct pool *po = domain_pool_named(d, a->pool);
    if (po == NULL || po->allocated_at > old->at_s || !is_about(po, r)) {
        L_DBG("alarm %s is confirmed late: nothing fits it", r->order_id);
    } else if (a->action == OPENAPMI__V1__ACTION__SET_DRAIN) {
        pool_result(p, t, d, po->ordinal, OPENAPMI__V1__ORDER_TYPE__ORDER_SET_DRAIN, r->status);
    } else if (a->action == OPENAPMI__V1__ACTION__REMOVE_POOL) {
        pool_result(p, t, d, po->ordinal, OPENAPMI__V1__ORDER_TYPE__ORDER_REMOVE_POOL, r->status);
    }
    openapmi__v1__alarm_response__free_unpacked(a, NULL);
}

void order_result(struct pools *p, struct txn *t, struct apmi_session *s,
                  const Openapmi__V1__OrderResult *r) {
    /* Our ids first: an alarm id of the entity's that looks like one is looked up only if stored.
     */
    const struct answer *old = answer_find(p, apmi_entity(s), r->order_id);
    if (old != NULL) {
        alarm_id_result(p, t, s, old, r);
    } else if (strncmp(r->order_id, "th.", 3) == 0) {
        thresholds_result(p, t, s, r);
    } else if (strncmp(r->order_id, "o.", 2) == 0) {
        order_id_result(p, t, s, r);
    }
}

/* ---- statistics (APM-154) -------------------------------------------------------------------- */

void stats_handle(struct pools *p, struct txn *t, struct apmi_session *s,
                  const Openapmi__V1__Stats *m) {
    struct domain *d = entity_domain(apmi_entity(s), m->domain);
    if (d == NULL) {
        return;
    }
    uint64_t most = d->family == 4 ? UINT32_MAX : UINT64_MAX;
    if (m->free <= most && m->used <= most) {
        domain_set_usage(d, m->free, ip_count_add(m->free, m->used), m->used);
        d->have_stats = true;
    }
    for (size_t i = 0; i < m->n_pool; i++) {
        const Openapmi__V1__Pool *pm = m->pool[i];
        struct pool *po = pm->local ? NULL : domain_pool_named(d, pm->name);
        if (po == NULL || pm->total > most || pm->used > pm->total) {
            continue;
        }
        po->total = pm->total;
        po->used = pm->used;
        if (po->state == POOL_ALLOCATING) {
            pool_confirmed(p, t, d, po->ordinal);
        } else if (po->state == POOL_DRAIN && (pm->state == OPENAPMI__V1__POOL_STATE__DRAINING ||
                                               pm->state == OPENAPMI__V1__POOL_STATE__DRAINED)) {
            pool_set_state(p, t, d, po->ordinal, POOL_DRAIN_SET, -1);
        }
    }
    domain_wait_done(d);
}
