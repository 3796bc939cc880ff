// SPDX-License-Identifier: Apache-2.0
/* The engine's protocol half: openapmi messages in and out (proto/README.md, rules P-01..P-14). */
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/mem.h"
#include "base/text.h"
#include "bng/engine_int.h"

LOGGER_MODULE(sync)

typedef Openapmi__V1__ManagerMsg manager_msg;

enum { PING_EVERY_S = 30, PINGS_LOST_MAX = 3, SYNC_TIMEOUT_S = 120 };

/* ---------------------------------------------------------------- synchronisation, P-09 */

static void sync_domains(struct bng_engine *e) {
    e->session = BNG_DOMAINS;
    e->connected_mono = clock_mono(e->clock);
    e->sync_epoch++;
    char **names = mem_array(NULL, BNG_SYNC_PART, sizeof(char *));
    size_t i = 0;
    bool more;
    do {
        entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
        Openapmi__V1__DomainSync s = OPENAPMI__V1__DOMAIN_SYNC__INIT;
        size_t n = 0;
        for (; i < e->n_domains && n < BNG_SYNC_PART; i++) {
            struct bng_domain *d = e->domains[i];
            d->synced = d->in_step = d->unsaid = false;
            /* Domains without a pool of the manager's are made anew after the synchronisation: it
             * would remove them as empty (APM-037). */
            if (!bng_speaks(d)) {
                d->synced = d->in_step = true;
                snprintf(d->refused, sizeof d->refused,
                         "the manager speaks version %u of the protocol, which has no IPv6",
                         e->version);
            } else if (bng_managed(d) > 0) {
                names[n++] = d->name;
            } else {
                d->synced = d->in_step = true;
                if (d->state != BNG_DOMAIN_ABSENT) {
                    d->state = BNG_DOMAIN_NEW;
                    d->retry_mono = 0;
                }
            }
        }
        more = i < e->n_domains;
        BODY(m, DOMAIN_SYNC);
        m.domain_sync = &s;
        s.domain = names;
        s.n_domain = n;
        s.more = more;
        s.epoch = e->sync_epoch;
        bng_emit(e, &m, ASK_DOMAIN_SYNC, "")->last = !more;
    } while (more);
    mem_free(names);
    bng_flush(e);
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(struct bng_pool *const *)a)->name, (*(struct bng_pool *const *)b)->name);
}

/* SHA-256 over "name SP prefix LF" of the managed pools in name order. */
static void digest(const struct bng_domain *d, uint8_t out[32]) {
    struct bng_pool **sorted = mem_array(NULL, d->n_pools + 1, sizeof(struct bng_pool *));
    size_t n = 0;
    for (size_t i = 0; i < d->n_pools; i++) {
        if (!d->pools[i]->local) {
            sorted[n++] = d->pools[i];
        }
    }
    qsort(sorted, n, sizeof(struct bng_pool *), by_name);
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    EVP_DigestInit_ex(c, EVP_sha256(), NULL);
    for (size_t i = 0; i < n; i++) {
        char text[IP_TEXT_MAX];
        ip_prefix_format(&sorted[i]->prefix, text);
        EVP_DigestUpdate(c, sorted[i]->name, strlen(sorted[i]->name));
        EVP_DigestUpdate(c, " ", 1);
        EVP_DigestUpdate(c, text, strlen(text));
        EVP_DigestUpdate(c, "\n", 1);
    }
    EVP_DigestFinal_ex(c, out, NULL);
    EVP_MD_CTX_free(c);
    mem_free(sorted);
}

static void sync_pools(struct bng_domain *d, bool by_digest) {
    struct bng_engine *e = d->engine;
    uint8_t hash[32];
    size_t from = 0;
    d->unsaid = false;
    do {
        entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
        Openapmi__V1__PoolSync s = OPENAPMI__V1__POOL_SYNC__INIT;
        struct part *t = NULL;
        BODY(m, POOL_SYNC);
        m.pool_sync = &s;
        s.domain = d->name;
        s.partition = (char *)(uintptr_t)d->profile->partition;
        s.preferred_length = d->profile->preferred_length;
        s.af = bng_wire_family(d->profile);
        s.delegated_length = d->profile->delegated_length;
        if (by_digest) {
            digest(d, hash);
            s.digest.data = hash;
            s.digest.len = sizeof hash;
            from = d->n_pools;
        } else {
            t = bng_take_part(d, &from, false);
            s.pool = t->ptr;
            s.n_pool = t->n;
        }
        s.more = from < d->n_pools;
        bng_emit(e, &m, ASK_POOL_SYNC, d->name)->last = !s.more;
        mem_free(t);
    } while (from < d->n_pools);
    bng_flush(e);
}

void bng_wire_unsaid(struct bng_domain *d) {
    struct bng_engine *e = d->engine;
    /* While an answer may be on its way that brings pools, a list without them would make the
     * manager take them back and give them to somebody else (P-09). */
    if (d->unsaid && e->session == BNG_READY && d->state == BNG_DOMAIN_READY && !e->uncommitted &&
        !d->alarm[BNG_APPORTION].in_flight) {
        sync_pools(d, false);
    }
}

static void sync_progress(struct bng_engine *e) {
    if (e->session != BNG_POOLS) {
        return;
    }
    for (size_t i = 0; i < e->n_domains; i++) {
        if (!e->domains[i]->synced) {
            return;
        }
    }
    e->session = BNG_DONE;
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__SyncDone s = OPENAPMI__V1__SYNC_DONE__INIT;
    BODY(m, SYNC_DONE);
    m.sync_done = &s;
    s.epoch = e->sync_epoch;
    bng_emit(e, &m, ASK_SYNC_DONE, "");
    bng_flush(e);
}

static void got_domain_sync(struct bng_engine *e, const struct queued *q,
                            const Openapmi__V1__DomainSyncResult *r) {
    for (size_t i = 0; i < r->n_create_first; i++) {
        struct bng_domain *d = bng_find(e, r->create_first[i]);
        if (d != NULL && !d->synced) {
            bng_wire_create(d); /* its PoolSync follows the answer */
        }
    }
    for (size_t i = 0; i < r->n_keep; i++) {
        struct bng_domain *d = bng_find(e, r->keep[i]);
        if (d != NULL && !d->synced) {
            d->state = BNG_DOMAIN_READY;
            sync_pools(d, true);
        }
    }
    for (size_t i = 0; i < r->n_removed_here; i++) {
        L_INFO("the manager has removed domain %s, which this gateway doesn't have",
               r->removed_here[i]);
    }
    if (q->last) {
        e->session = BNG_POOLS;
        sync_progress(e);
    }
}

static void take_thresholds(struct bng_domain *d, const Openapmi__V1__Thresholds *t) {
    char why[BNG_TEXT_MAX];
    if (t == NULL) {
        return;
    }
    if (!bng_check_thresholds(d, t->apportion, t->reclaim, why)) {
        L_WARN("domain %s: %s", d->name, why);
        snprintf(d->refused, sizeof d->refused, "%s", why);
        if (d->has_thresholds) {
            return; /* the old ones stay in force */
        }
        if (t->reclaim != 0 && t->reclaim <= t->apportion) {
            return;
        }
        /* None yet, and without any the domain could never ask: the largest that is accepted. */
        uint64_t per = bng_per_pool(d->profile), pools = d->engine->settings.max_pools;
        uint64_t most = per > UINT64_MAX / pools ? UINT64_MAX : per * pools;
        d->apportion = most > 0 ? most - 1 : 0;
        if (d->profile->max_apportion != 0 && d->profile->max_apportion < d->apportion) {
            d->apportion = d->profile->max_apportion;
        }
    } else {
        d->apportion = t->apportion;
        d->refused[0] = '\0';
    }
    d->has_thresholds = true;
    d->reclaim = t->reclaim;
    d->hold_down_s = t->hold_down_s;
    d->dirty = true;
}

static void got_pool_sync(struct bng_engine *e, struct bng_domain *d, const struct queued *q,
                          const Openapmi__V1__PoolSyncResult *r) {
    uint32_t code = r->status != NULL ? r->status->code : 0;
    if (code == 10) { /* digests differ */
        sync_pools(d, false);
        return;
    }
    if (code == 5) { /* unknown there */
        bng_wire_create(d);
        return;
    }
    if (code != 0) {
        L_WARN("domain %s: the manager refuses its pools: %s", d->name, r->status->text);
        text_line(d->refused, sizeof d->refused, r->status->text);
    }
    for (size_t i = 0; i < r->n_verdict; i++) {
        const Openapmi__V1__PoolVerdict *v = r->verdict[i];
        struct bng_pool *p = bng_find_pool(d, v->pool);
        if (p == NULL || p->local) {
            continue;
        }
        bool unmanaged = v->verdict == OPENAPMI__V1__POOL_VERDICT__VERDICT__UNMANAGED;
        d->dirty = d->dirty || unmanaged != p->unmanaged;
        p->unmanaged = unmanaged;
        if (v->verdict == OPENAPMI__V1__POOL_VERDICT__VERDICT__CONFLICT_DRAIN) {
            L_WARN("domain %s: pool %s is in conflict and drained: %s", d->name, p->name,
                   v->reason);
            if (p->phase <= BNG_ACTIVE || p->phase == BNG_UNDRAIN) {
                bng_set_phase(p, BNG_DRAIN_SET, false); /* P-12 */
            }
        } else if (v->verdict != OPENAPMI__V1__POOL_VERDICT__VERDICT__AGREED) {
            L_INFO("domain %s: pool %s is %s%s%s", d->name, p->name,
                   unmanaged ? "not managed" : "adopted", v->reason[0] ? ": " : "", v->reason);
        }
    }
    take_thresholds(d, r->thresholds);
    if (q->last) {
        d->synced = true;
        d->in_step = code == 0;
        d->stats_due = true;
        sync_progress(e);
    }
}

static void got_created(struct bng_engine *e, struct bng_domain *d,
                        const Openapmi__V1__DomainCreated *r) {
    if (r->status != NULL && r->status->code != 0) {
        L_WARN("domain %s: the manager won't have it: %s", d->name, r->status->text);
        text_line(d->refused, sizeof d->refused, r->status->text);
        d->state = BNG_DOMAIN_NEW;
        d->retry_mono = clock_mono(e->clock) + BNG_REFUSED_RETRY_S * NS_PER_S;
        d->synced = true;
        sync_progress(e);
        return;
    }
    d->state = BNG_DOMAIN_READY;
    take_thresholds(d, r->thresholds);
    if (!d->synced || d->n_pools > 0) {
        sync_pools(d, false);
    }
}

/* ---------------------------------------------------------------- orders and answers */

void bng_wire_reached(struct bng_pool *p) {
    struct bng_domain *d = p->domain;
    char id[BNG_ID_MAX] = "";
    if (p->phase == BNG_ACTIVE && p->add_id[0] != '\0') {
        char add[BNG_ID_MAX];
        memcpy(add, p->add_id, sizeof add);
        p->add_id[0] = '\0';
        /* One confirmation for all pools of the answer. */
        for (size_t i = 0; i < d->n_pools; i++) {
            if (strcmp(d->pools[i]->add_id, add) == 0) {
                add[0] = '\0';
            }
        }
        if (add[0] != '\0' && bng_persist(d->engine)) {
            bng_wire_result(d->engine, add, 0, "", NULL, 0);
        }
    }
    memcpy(id, p->order_id, sizeof id);
    p->order_id[0] = '\0';
    d->dirty = true;
    if (id[0] != '\0' && bng_persist(d->engine)) {
        bng_wire_result(d->engine, id, 0, "", p, 0);
    }
}

/* A drain or removal that another order overtakes is answered, so that nobody waits for it. */
static void supersede(struct bng_pool *p) {
    if (p->order_id[0] != '\0') {
        char id[BNG_ID_MAX];
        memcpy(id, p->order_id, sizeof id);
        p->order_id[0] = '\0';
        bng_wire_result(p->domain->engine, id, 10, "overtaken by a later order", p, 0);
    }
}

static void order_drain(struct bng_engine *e, struct bng_pool *p, const char *id) {
    bng_clear_alarm(p->domain, BNG_RECLAIM); /* this is the answer to it */
    p->domain->surplus_since = -1;
    switch (p->phase) {
    case BNG_DRAINING:
    case BNG_DRAINED:
        bng_wire_result(e, id, 0, "", p, 0);
        return;
    case BNG_REMOVE_DHCP:
    case BNG_REMOVE_ROUTE:
        bng_wire_result(e, id, 9, "the pool is being removed", p, 0);
        return;
    case BNG_DRAIN_SET:
        supersede(p);
        break;
    default:
        supersede(p);
        bng_set_phase(p, BNG_DRAIN_SET, false);
        break;
    }
    snprintf(p->order_id, sizeof p->order_id, "%s", id);
    p->domain->dirty = true;
    bng_persist(e);
}

static void order_clear(struct bng_engine *e, struct bng_pool *p, const char *id) {
    if (p->phase >= BNG_REMOVE_DHCP) {
        bng_wire_result(e, id, 9, "the pool is being removed", p, 0);
        return;
    }
    if (p->phase <= BNG_ACTIVE) {
        bng_wire_result(e, id, 0, "", p, 0);
        return;
    }
    supersede(p);
    if (strcmp(p->domain->alarm[BNG_POOL_DRAINED].pool, p->name) == 0) {
        bng_clear_alarm(p->domain, BNG_POOL_DRAINED);
    }
    if (p->phase != BNG_UNDRAIN) {
        bng_set_phase(p, BNG_UNDRAIN, false);
    }
    snprintf(p->order_id, sizeof p->order_id, "%s", id);
    bng_persist(e);
}

static void order_remove(struct bng_engine *e, struct bng_pool *p, const char *id) {
    char why[BNG_TEXT_MAX];
    if (p->phase == BNG_DRAINED || (p->phase < BNG_ACTIVE && p->used == 0)) {
        supersede(p);
        if (strcmp(p->domain->alarm[BNG_POOL_DRAINED].pool, p->name) == 0) {
            bng_clear_alarm(p->domain, BNG_POOL_DRAINED);
        }
        bng_set_phase(p, BNG_REMOVE_DHCP, false);
        snprintf(p->order_id, sizeof p->order_id, "%s", id);
        bng_persist(e);
    } else if (p->phase >= BNG_REMOVE_DHCP) {
        snprintf(p->order_id, sizeof p->order_id, "%s", id); /* said again after a break */
    } else {
        snprintf(why, sizeof why, "pool %s is %s with %" PRIu64 " %s in use: drain it first",
                 p->name, bng_pool_status(p), p->used,
                 text_plural(p->used, "address", "addresses"));
        bng_wire_result(e, id, 9, why, p, 0);
    }
}

static void order_thresholds(struct bng_engine *e, struct bng_domain *d,
                             const Openapmi__V1__Order *o) {
    char why[BNG_TEXT_MAX];
    if (o->thresholds == NULL) {
        bng_wire_result(e, o->order_id, 3, "the order has no thresholds", NULL, o->revision);
        return;
    }
    if (o->revision != 0 && o->revision < d->revision) {
        snprintf(why, sizeof why,
                 "revision %" PRIu64 " is older than %" PRIu64 ", which is in force", o->revision,
                 d->revision);
        bng_wire_result(e, o->order_id, 9, why, NULL, o->revision);
        return;
    }
    if (!bng_check_thresholds(d, o->thresholds->apportion, o->thresholds->reclaim, why)) {
        L_WARN("domain %s: thresholds of revision %" PRIu64 " are refused: %s", d->name,
               o->revision, why);
        snprintf(d->refused, sizeof d->refused, "%s", why);
        bng_wire_result(e, o->order_id, 9, why, NULL, o->revision);
        return;
    }
    struct bng_domain was = *d;
    take_thresholds(d, o->thresholds);
    d->revision = o->revision;
    d->dirty = true;
    if (!bng_persist(e)) {
        d->has_thresholds = was.has_thresholds;
        d->apportion = was.apportion;
        d->reclaim = was.reclaim;
        d->hold_down_s = was.hold_down_s;
        d->revision = was.revision;
        d->dirty = true;
        bng_wire_result(e, o->order_id, 14, "the gateway can't store the thresholds now", NULL,
                        o->revision);
        return;
    }
    L_INFO("domain %s: thresholds %" PRIu64 "/%" PRIu64 ", revision %" PRIu64, d->name,
           d->apportion, d->reclaim, d->revision);
    bng_wire_result(e, o->order_id, 0, "", NULL, o->revision);
}

static void got_order(struct bng_engine *e, const Openapmi__V1__Order *o) {
    for (size_t i = 0; i < BNG_ORDERS_KEPT; i++) {
        struct order_kept *k = &e->orders[i];
        if (o->order_id[0] != '\0' && strcmp(k->id, o->order_id) == 0) {
            if (k->done) {
                bng_wire_result(e, k->id, k->code, k->text, NULL, k->revision);
            }
            return; /* under way: its result will come */
        }
    }
    if (o->order_id[0] == '\0' || strlen(o->order_id) >= BNG_ID_MAX) {
        e->host.end_session(e->host.arg, "an order has no id, or one of more than 95 characters");
        return;
    }
    struct order_kept *k = &e->orders[e->next_order++ % BNG_ORDERS_KEPT];
    memset(k, 0, sizeof *k);
    snprintf(k->id, sizeof k->id, "%s", o->order_id);
    struct bng_domain *d = bng_find(e, o->domain);
    char why[BNG_TEXT_MAX];
    if (o->type == OPENAPMI__V1__ORDER_TYPE__ORDER_RESYNC && o->domain[0] == '\0') {
        bng_wire_result(e, o->order_id, 0, "", NULL, o->revision);
        sync_domains(e);
        return;
    }
    if (d == NULL || d->state == BNG_DOMAIN_ABSENT) {
        snprintf(why, sizeof why, "this gateway has no domain %.200s", o->domain);
        bng_wire_result(e, o->order_id, 5, why, NULL, o->revision);
        return;
    }
    if (o->type == OPENAPMI__V1__ORDER_TYPE__ORDER_RESYNC) {
        bng_wire_result(e, o->order_id, 0, "", NULL, o->revision);
        sync_pools(d, false);
        return;
    }
    if (o->type == OPENAPMI__V1__ORDER_TYPE__ORDER_UPDATE_THRESHOLDS) {
        order_thresholds(e, d, o);
        return;
    }
    struct bng_pool *p = bng_find_pool(d, o->pool);
    if (p == NULL && o->type == OPENAPMI__V1__ORDER_TYPE__ORDER_REMOVE_POOL) {
        /* Said again after a break, and done meanwhile (P-17). */
        bool durable = bng_persist(e);
        bng_wire_result(e, o->order_id, durable ? 0 : 14,
                        durable ? "" : "the gateway can't store the removal now", NULL, 0);
        return;
    }
    if (p == NULL || p->local) {
        snprintf(why, sizeof why, "domain %s has no%s pool %.200s", d->name,
                 p != NULL ? " managed" : "", o->pool);
        bng_wire_result(e, o->order_id, 5, why, NULL, o->revision);
        return;
    }
    switch (o->type) {
    case OPENAPMI__V1__ORDER_TYPE__ORDER_SET_DRAIN:
        order_drain(e, p, o->order_id);
        break;
    case OPENAPMI__V1__ORDER_TYPE__ORDER_CLEAR_DRAIN:
        order_clear(e, p, o->order_id);
        break;
    case OPENAPMI__V1__ORDER_TYPE__ORDER_REMOVE_POOL:
        order_remove(e, p, o->order_id);
        break;
    default:
        bng_wire_result(e, o->order_id, 12, "this gateway doesn't know that order", NULL, 0);
        break;
    }
}

static void add_pools(struct bng_engine *e, struct bng_domain *d,
                      const Openapmi__V1__AlarmResponse *r) {
    struct bng_pool *fresh[BNG_WANTED_MAX];
    size_t n = 0, known = 0;
    for (size_t i = 0; i < r->n_add; i++) {
        const wire_pool *w = r->add[i];
        struct ip_prefix prefix = {.addr = {.family = (uint8_t)d->profile->family}};
        struct bng_pool ghost = {.domain = d, .prefix = prefix};
        char why[BNG_TEXT_MAX] = "";
        uint32_t code = 3;
        snprintf(ghost.name, sizeof ghost.name, "%s", w->name);
        size_t bits = ip_bits(d->profile->family);
        if (w->prefix == NULL || w->prefix->af != bng_wire_family(d->profile) ||
            w->prefix->address.len != bits / 8 || w->prefix->length > bits) {
            snprintf(why, sizeof why, "pool %.200s has no IPv%u prefix", w->name,
                     d->profile->family);
        } else {
            memcpy(prefix.addr.bytes, w->prefix->address.data, bits / 8);
            prefix.len = (uint8_t)w->prefix->length;
            ghost.prefix = prefix;
            struct bng_pool *have = bng_find_pool(d, w->name);
            if (have != NULL && ip_prefix_eq(&have->prefix, &prefix) && !have->local) {
                known++; /* said twice */
                continue;
            }
            if (!ip_prefix_aligned(&prefix)) {
                snprintf(why, sizeof why, "pool %.200s: its prefix has host bits set", w->name);
            } else if (n == BNG_WANTED_MAX) {
                code = 8;
                snprintf(why, sizeof why, "more than %d pools in one answer", (int)BNG_WANTED_MAX);
            } else {
                struct bng_pool *p = bng_add_pool(d, w->name, &prefix, 0, false, why, &code);
                if (p != NULL) {
                    snprintf(p->add_id, sizeof p->add_id, "%s", r->alarm_id);
                    fresh[n++] = p;
                    continue;
                }
            }
        }
        L_ERR("domain %s: a pool of the manager's is refused: %s", d->name, why);
        bng_wire_result(e, r->alarm_id, code, why, &ghost, 0);
    }
    if (!bng_persist(e)) { /* nothing is given out from memory */
        for (size_t i = 0; i < n; i++) {
            struct bng_pool ghost = *fresh[i];
            bng_drop_pool(fresh[i]);
            bng_wire_result(e, r->alarm_id, 14, "the gateway can't store the pool now", &ghost, 0);
        }
    } else if (n == 0 && known > 0) {
        bng_wire_result(e, r->alarm_id, 0, "", NULL, 0);
    }
    if (n == 0) {
        bng_setback(d);
    }
    for (size_t i = 0; i < n && !e->uncommitted; i++) {
        char text[IP_TEXT_MAX];
        L_INFO("domain %s: pool %s (%s) comes", d->name, fresh[i]->name,
               ip_prefix_format(&fresh[i]->prefix, text));
    }
}

/* P-22: an answer without a question says that the alarm is worth another attempt now. */
static void got_retry(struct bng_engine *e, const Openapmi__V1__AlarmResponse *r) {
    int64_t now = clock_wall_s(e->clock), at = r->retry_at > now ? r->retry_at : now;
    for (size_t i = 0; i < e->n_domains; i++) {
        struct bng_domain *d = e->domains[i];
        for (unsigned k = 0; k < BNG_ALARM_KINDS; k++) {
            struct bng_alarm *a = &d->alarm[k];
            if (a->raised && !a->in_flight && a->retry_at > at && strcmp(a->id, r->alarm_id) == 0) {
                L_INFO("domain %s: the %s alarm is sent again: %s", d->name,
                       bng_alarm_kind_name((enum bng_alarm_kind)k), r->text);
                a->retry_at = at;
                d->dirty = true;
            }
        }
    }
}

static void got_alarm_response(struct bng_engine *e, struct bng_domain *d,
                               const Openapmi__V1__AlarmResponse *r) {
    struct bng_alarm *a = NULL;
    enum bng_alarm_kind kind = BNG_APPORTION;
    for (unsigned k = 0; k < BNG_ALARM_KINDS; k++) {
        if (d->alarm[k].raised && strcmp(d->alarm[k].id, r->alarm_id) == 0) {
            a = &d->alarm[k];
            kind = (enum bng_alarm_kind)k;
        }
    }
    if (a == NULL || !a->in_flight) {
        L_DBG("domain %s: answer to alarm %s, which is not open", d->name, r->alarm_id);
        return;
    }
    a->in_flight = false;
    d->dirty = true;
    int64_t now = clock_wall_s(e->clock);
    if (r->result == OPENAPMI__V1__ALARM_RESULT__ALARM_PENDING) {
        a->pending = true;
        text_line(a->text, sizeof a->text, r->text);
        return;
    }
    if (r->result != OPENAPMI__V1__ALARM_RESULT__ALARM_ACK) {
        a->retry_at = r->retry_at > now ? r->retry_at : now + 1;
        a->reason = r->reason;
        text_line(a->text, sizeof a->text, r->text);
        d->count.nacks++;
        L_INFO("domain %s: %s alarm is refused (%s), again in %" PRId64 " s", d->name,
               bng_alarm_kind_name(kind), r->text[0] != '\0' ? r->text : "no text",
               a->retry_at - now);
        if (r->reason == OPENAPMI__V1__REASON__UNKNOWN_DOMAIN) {
            d->state = BNG_DOMAIN_NEW;
            d->retry_mono = 0;
        }
        return;
    }
    struct bng_pool *p = bng_find_pool(d, r->pool);
    bng_clear_alarm(d, kind);
    switch (r->action) {
    case OPENAPMI__V1__ACTION__ADD_POOLS:
        add_pools(e, d, r);
        break;
    case OPENAPMI__V1__ACTION__SET_DRAIN:
        if (p != NULL && !p->local) {
            order_drain(e, p, r->alarm_id);
        } else {
            bng_wire_result(e, r->alarm_id, 5, "no such pool here", NULL, 0);
            bng_setback(d);
        }
        break;
    case OPENAPMI__V1__ACTION__REMOVE_POOL:
        if (p != NULL && !p->local) {
            order_remove(e, p, r->alarm_id);
        } else {
            bng_wire_result(e, r->alarm_id, 0, "", NULL, 0); /* gone already */
            bng_setback(d);
        }
        break;
    default:
        bng_setback(d);
        break;
    }
}

/* ---------------------------------------------------------------- session */

void bng_engine_connected(struct bng_engine *e) {
    bng_drop_queue(e);
    e->session = BNG_HELLO;
    e->version = 0;
    e->msg_id = 0;
    e->pings_open = 0;
    e->pinged_mono = e->connected_mono = clock_mono(e->clock);
    memset(e->orders, 0, sizeof e->orders);
    for (size_t i = 0; i < e->n_domains; i++) {
        e->domains[i]->revision = 0; /* thresholds of the synchronisation are the new base */
    }
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__Hello h = OPENAPMI__V1__HELLO__INIT;
    BODY(m, HELLO);
    m.hello = &h;
    h.system_id = e->settings.system_id;
    h.min_version = 1;
    h.max_version = 2;
    h.kind = OPENAPMI__V1__HELLO__KIND__BNG;
    h.software = e->settings.software;
    h.address = e->settings.address;
    h.boot_epoch = e->boot_epoch;
    char *can[] = {(char *)(uintptr_t) "move"};
    if (e->host.move != NULL) {
        h.capability = can;
        h.n_capability = 1;
    }
    bng_emit(e, &m, ASK_HELLO, "");
    bng_flush(e);
}

void bng_engine_disconnected(struct bng_engine *e) {
    if (e->session == BNG_DOWN) {
        return;
    }
    bng_drop_queue(e);
    if (e->session == BNG_READY) {
        e->lost_mono = clock_mono(e->clock);
    }
    e->session = BNG_DOWN;
    for (size_t i = 0; i < e->n_domains; i++) {
        struct bng_domain *d = e->domains[i];
        d->synced = d->in_step = d->unsaid = false;
        if (d->state == BNG_DOMAIN_CREATING) {
            d->state = BNG_DOMAIN_NEW;
        }
        for (unsigned k = 0; k < BNG_ALARM_KINDS; k++) {
            /* Sent again after the synchronisation as a new attempt: a stored answer may speak of
             * pools that the synchronisation has taken back. */
            d->alarm[k].in_flight = d->alarm[k].pending = false;
        }
        for (size_t j = 0; j < d->n_pools; j++) {
            d->pools[j]->order_id[0] = '\0'; /* the synchronisation confirms */
            d->pools[j]->add_id[0] = '\0';
        }
    }
}

static void got_ready(struct bng_engine *e) {
    e->session = BNG_READY;
    e->ready_mono = clock_mono(e->clock);
    L_INFO("in step with the manager, synchronisation %" PRIu64, e->sync_epoch);
    for (size_t i = 0; i < e->n_domains; i++) {
        e->domains[i]->stats_due = true;
        e->domains[i]->stats_mono = 0;
        e->domains[i]->setbacks = 0;
        e->domains[i]->quiet_mono = 0;
    }
}

static bool got_hello_ack(struct bng_engine *e, const Openapmi__V1__HelloAck *h) {
    if (h->status != NULL && h->status->code != 0) {
        char why[BNG_TEXT_MAX];
        snprintf(why, sizeof why, "the manager refuses %s: %s", e->settings.system_id,
                 h->status->text);
        e->host.end_session(e->host.arg, why);
        return false;
    }
    if (h->version < 1 || h->version > 2) {
        e->host.end_session(e->host.arg, "the manager chose a protocol version we don't speak");
        return false;
    }
    e->version = h->version;
    if (e->host.manager != NULL) {
        e->host.manager(e->host.arg, h->node);
    }
    if (h->stats_interval_s != 0) {
        e->stats_interval_s = h->stats_interval_s < 3600 ? h->stats_interval_s : 3600;
    }
    sync_domains(e);
    return true;
}

static void dispatch(struct bng_engine *e, const manager_msg *m, const struct queued *q) {
    struct bng_domain *d = q->domain[0] != '\0' ? bng_find(e, q->domain) : NULL;
    switch (m->body_case) {
    case OPENAPMI__V1__MANAGER_MSG__BODY_HELLO_ACK:
        if (q->ask == ASK_HELLO) {
            got_hello_ack(e, m->hello_ack);
        }
        break;
    case OPENAPMI__V1__MANAGER_MSG__BODY_DOMAIN_SYNC_RESULT:
        if (q->ask == ASK_DOMAIN_SYNC && e->session == BNG_DOMAINS) {
            got_domain_sync(e, q, m->domain_sync_result);
        }
        break;
    case OPENAPMI__V1__MANAGER_MSG__BODY_POOL_SYNC_RESULT:
        if (q->ask == ASK_POOL_SYNC && d != NULL) {
            got_pool_sync(e, d, q, m->pool_sync_result);
        }
        break;
    case OPENAPMI__V1__MANAGER_MSG__BODY_DOMAIN_CREATED:
        if (q->ask == ASK_CREATE && d != NULL) {
            got_created(e, d, m->domain_created);
        }
        break;
    case OPENAPMI__V1__MANAGER_MSG__BODY_ALARM_RESPONSE:
        if (q->ask == ASK_ALARM && d != NULL) {
            got_alarm_response(e, d, m->alarm_response);
        }
        break;
    case OPENAPMI__V1__MANAGER_MSG__BODY_ACK:
        if (m->ack->status != NULL && m->ack->status->code != 0) {
            L_WARN("the manager answers %u: %s", m->ack->status->code, m->ack->status->text);
        }
        if (q->ask == ASK_SYNC_DONE && e->session == BNG_DONE) {
            got_ready(e);
        }
        break;
    default:
        break;
    }
}

void bng_engine_message(struct bng_engine *e, const uint8_t *p, size_t n) {
    if (e->session == BNG_DOWN) {
        return;
    }
    manager_msg *m = openapmi__v1__manager_msg__unpack(NULL, n, p);
    if (m == NULL) {
        e->host.end_session(e->host.arg, "a message of the manager can't be decoded");
        return;
    }
    struct queued q = {0};
    if (m->body_case == OPENAPMI__V1__MANAGER_MSG__BODY_PONG) {
        e->pings_open = 0;
    }
    if (m->in_reply_to == 0) {
        if (m->body_case == OPENAPMI__V1__MANAGER_MSG__BODY_ORDER) {
            got_order(e, m->order);
        } else if (m->body_case == OPENAPMI__V1__MANAGER_MSG__BODY_ALARM_RESPONSE) {
            got_retry(e, m->alarm_response);
        } else if (m->body_case == OPENAPMI__V1__MANAGER_MSG__BODY_MOVE && e->host.move != NULL) {
            e->host.move(e->host.arg, m->move->node);
        } else {
            L_WARN_RL(60, "a message of the manager answers nothing and is no order (kind %d)",
                      (int)m->body_case);
        }
    } else if (bng_answered(e, m->in_reply_to, &q)) {
        dispatch(e, m, &q);
    } else {
        L_WARN_RL(60, "the manager answers message %" PRIu64 ", which is not open", m->in_reply_to);
    }
    openapmi__v1__manager_msg__free_unpacked(m, NULL);
    bng_persist(e);
    if (e->session != BNG_DOWN) {
        bng_flush(e);
    }
}

void bng_wire_tick(struct bng_engine *e) {
    int64_t now = clock_mono(e->clock);
    if (e->session != BNG_DOWN && e->session != BNG_READY &&
        now - e->connected_mono > SYNC_TIMEOUT_S * NS_PER_S) {
        e->connected_mono = now;
        e->host.end_session(e->host.arg, "the synchronisation did not come to its end");
        return;
    }
    if (e->session == BNG_DOWN || now - e->pinged_mono < PING_EVERY_S * NS_PER_S) {
        return;
    }
    e->pinged_mono = now;
    if (e->pings_open >= PINGS_LOST_MAX) {
        e->host.end_session(e->host.arg, "three pings were not answered");
        return;
    }
    e->pings_open++;
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__Ping g = OPENAPMI__V1__PING__INIT;
    BODY(m, PING);
    m.ping = &g;
    g.sent_at_us = clock_wall(e->clock) / 1000;
    bng_emit(e, &m, ASK_OTHER, "");
    bng_flush(e);
}
