// SPDX-License-Identifier: Apache-2.0
/* The engine's protocol half: openapmi messages in and out (proto/README.md, rules P-01..P-14). */
#include <inttypes.h>
#include <math.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/mem.h"
#include "bng/engine_int.h"

LOGGER_MODULE(wire)

/* Shorter names for the generated types. */
typedef Openapmi__V1__EntityMsg entity_msg;
typedef Openapmi__V1__ManagerMsg manager_msg;
typedef Openapmi__V1__Pool wire_pool;

enum { PING_EVERY_S = 30, PINGS_LOST_MAX = 3, SYNC_TIMEOUT_S = 120 };

/* ---------------------------------------------------------------- sending */

static void flush(struct bng_engine *e) {
    for (size_t i = 0; i < e->n_queue && e->unanswered < BNG_WINDOW; i++) {
        struct queued *q = &e->queue[i];
        if (!q->sent) {
            q->sent = true;
            e->unanswered++;
            uint8_t *data = q->data;
            q->data = NULL;
            e->host.send(e->host.arg, data, q->len);
            mem_free(data);
        }
    }
}

static struct queued *emit(struct bng_engine *e, entity_msg *m, enum bng_ask ask,
                           const char *domain) {
    m->msg_id = ++e->msg_id;
    if (e->n_queue == e->cap_queue) {
        e->cap_queue = e->cap_queue ? e->cap_queue * 2 : 16;
        e->queue = mem_array(e->queue, e->cap_queue, sizeof *e->queue);
    }
    struct queued *q = &e->queue[e->n_queue++];
    memset(q, 0, sizeof *q);
    q->msg_id = m->msg_id;
    q->ask = ask;
    snprintf(q->domain, sizeof q->domain, "%s", domain);
    q->len = openapmi__v1__entity_msg__get_packed_size(m);
    q->data = mem_alloc(q->len + 1);
    openapmi__v1__entity_msg__pack(m, q->data);
    return q;
}

static bool answered(struct bng_engine *e, uint64_t msg_id, struct queued *out) {
    for (size_t i = 0; i < e->n_queue; i++) {
        if (e->queue[i].msg_id == msg_id && e->queue[i].sent) {
            *out = e->queue[i];
            memmove(&e->queue[i], &e->queue[i + 1], (e->n_queue - i - 1) * sizeof *e->queue);
            e->n_queue--;
            e->unanswered--;
            return true;
        }
    }
    return false;
}

static void drop_queue(struct bng_engine *e) {
    for (size_t i = 0; i < e->n_queue; i++) {
        mem_free(e->queue[i].data);
    }
    e->n_queue = 0;
    e->unanswered = 0;
}

#define BODY(m, CASE) ((m).body_case = OPENAPMI__V1__ENTITY_MSG__BODY_##CASE)

static void fill_pool(const struct bng_pool *p, wire_pool *w, Openapmi__V1__Prefix *x) {
    openapmi__v1__pool__init(w);
    openapmi__v1__prefix__init(x);
    x->af = OPENAPMI__V1__ADDRESS_FAMILY__IPV4;
    x->address.data = (uint8_t *)(uintptr_t)p->prefix.addr.bytes;
    x->address.len = 4;
    x->length = p->prefix.len;
    w->name = (char *)(uintptr_t)p->name;
    w->prefix = x;
    w->total = p->total;
    w->used = p->used;
    w->local = p->local;
    w->state = p->phase >= BNG_DRAINED   ? OPENAPMI__V1__POOL_STATE__DRAINED
               : bng_pool_wants_drain(p) ? OPENAPMI__V1__POOL_STATE__DRAINING
                                         : OPENAPMI__V1__POOL_STATE__ACTIVE;
}

/* Parts of a domain's pools, as arrays the generated code wants. */
struct part {
    wire_pool pools[BNG_SYNC_PART], *ptr[BNG_SYNC_PART];
    Openapmi__V1__Prefix prefixes[BNG_SYNC_PART];
    size_t n;
};

static struct part *take_part(const struct bng_domain *d, size_t *from) {
    struct part *t = MEM_NEW(struct part);
    for (; *from < d->n_pools && t->n < BNG_SYNC_PART; ++*from) {
        fill_pool(d->pools[*from], &t->pools[t->n], &t->prefixes[t->n]);
        t->ptr[t->n] = &t->pools[t->n];
        t->n++;
    }
    return t;
}

void bng_wire_stats(struct bng_domain *d) {
    struct bng_engine *e = d->engine;
    size_t from = 0;
    uint64_t used = 0;
    for (size_t i = 0; i < d->n_pools; i++) {
        used += d->pools[i]->used;
    }
    do {
        struct part *t = take_part(d, &from);
        entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
        Openapmi__V1__Stats s = OPENAPMI__V1__STATS__INIT;
        BODY(m, STATS);
        m.stats = &s;
        s.domain = d->name;
        s.free = bng_domain_free(d);
        s.used = used;
        s.n_pool = t->n;
        s.pool = t->ptr;
        emit(e, &m, ASK_OTHER, d->name);
        mem_free(t);
    } while (from < d->n_pools);
    flush(e);
}

void bng_wire_result(struct bng_engine *e, const char *id, uint32_t code, const char *text,
                     const struct bng_pool *p, uint64_t revision) {
    for (size_t i = 0; i < BNG_ORDERS_KEPT; i++) {
        if (strcmp(e->orders[i].id, id) == 0) {
            e->orders[i].done = true;
            e->orders[i].code = code;
            e->orders[i].revision = revision;
            snprintf(e->orders[i].text, sizeof e->orders[i].text, "%s", text);
        }
    }
    if (e->session == BNG_DOWN) {
        return; /* the next synchronisation tells */
    }
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__OrderResult r = OPENAPMI__V1__ORDER_RESULT__INIT;
    Openapmi__V1__Status s = OPENAPMI__V1__STATUS__INIT;
    wire_pool w;
    Openapmi__V1__Prefix x;
    BODY(m, ORDER_RESULT);
    m.order_result = &r;
    r.order_id = (char *)(uintptr_t)id;
    s.code = code;
    s.text = (char *)(uintptr_t)text;
    r.status = &s;
    r.revision = revision;
    if (p != NULL) {
        fill_pool(p, &w, &x);
        r.pool = &w;
    }
    emit(e, &m, ASK_OTHER, "");
    flush(e);
}

void bng_wire_create(struct bng_domain *d) {
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__CreateDomain c = OPENAPMI__V1__CREATE_DOMAIN__INIT;
    const struct bng_profile *p = d->profile;
    BODY(m, CREATE_DOMAIN);
    m.create_domain = &c;
    c.domain = d->name;
    c.domain_profile = (char *)(uintptr_t)p->name;
    c.subscriber_group = (char *)(uintptr_t)p->subscriber_group;
    c.routing_instance = (char *)(uintptr_t)p->routing_instance;
    c.partition = (char *)(uintptr_t)p->partition;
    c.af = OPENAPMI__V1__ADDRESS_FAMILY__IPV4;
    c.preferred_length = p->preferred_length;
    d->state = BNG_DOMAIN_CREATING;
    emit(d->engine, &m, ASK_CREATE, d->name);
    flush(d->engine);
}

void bng_wire_delete(struct bng_domain *d) {
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__DeleteDomain c = OPENAPMI__V1__DELETE_DOMAIN__INIT;
    BODY(m, DELETE_DOMAIN);
    m.delete_domain = &c;
    c.domain = d->name;
    emit(d->engine, &m, ASK_OTHER, d->name);
    flush(d->engine);
}

/* How many prefixes lift the domain over its threshold, plus what the set-up rate eats within the
 * profile's horizon (APM-050). */
static uint32_t wanted(const struct bng_domain *d) {
    const struct bng_profile *p = d->profile;
    uint64_t per = bng_profile_total(p, &(struct ip_prefix){ip4(0), (uint8_t)p->preferred_length});
    uint64_t have = bng_domain_free(d) + bng_incoming(d);
    uint64_t missing = d->apportion >= have ? d->apportion - have + 1 : 1;
    missing += (uint64_t)ceil(d->rate * p->horizon_s);
    uint64_t n = per > 0 ? (missing + per - 1) / per : 1;
    uint64_t room = d->engine->settings.max_pools - bng_count_pools(d->engine);
    n = n > BNG_WANTED_MAX ? BNG_WANTED_MAX : n;
    n = n > room ? room : n;
    return n > 0 ? (uint32_t)n : 1;
}

/* Reclaim candidates, best first: fewest addresses in use, then the youngest. */
static int better(const void *a, const void *b) {
    const struct bng_pool *p = *(struct bng_pool *const *)a, *q = *(struct bng_pool *const *)b;
    if (p->used != q->used) {
        return p->used < q->used ? -1 : 1;
    }
    return p->subnet_id > q->subnet_id ? -1 : 1;
}

enum { CANDIDATES_MAX = 8 };

void bng_wire_alarm(struct bng_domain *d, enum bng_alarm_kind k, bool abate) {
    static const Openapmi__V1__AlarmType type[BNG_ALARM_KINDS] = {
        OPENAPMI__V1__ALARM_TYPE__APPORTION,
        OPENAPMI__V1__ALARM_TYPE__RECLAIM,
        OPENAPMI__V1__ALARM_TYPE__POOL_DRAINED,
    };
    struct bng_alarm *a = &d->alarm[k];
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__Alarm w = OPENAPMI__V1__ALARM__INIT;
    char *names[CANDIDATES_MAX];
    struct bng_pool **sorted = NULL;
    BODY(m, ALARM);
    m.alarm = &w;
    w.alarm_id = a->id;
    w.type = abate ? OPENAPMI__V1__ALARM_TYPE__ABATE : type[k];
    w.domain = d->name;
    w.free_addresses = bng_domain_free(d);
    w.total_addresses = bng_domain_total(d);
    w.attempt = a->attempt;
    w.raised_at = a->raised_at;
    w.preferred_length = d->profile->preferred_length;
    w.candidate_pool = names;
    char *abated = a->id;
    if (abate) {
        w.abated = &abated;
        w.n_abated = 1;
    }
    if (k == BNG_APPORTION) {
        w.wanted_prefixes = abate ? 0 : wanted(d);
    } else if (k == BNG_POOL_DRAINED) {
        names[w.n_candidate_pool++] = a->pool;
    } else if (!abate) {
        sorted = mem_array(NULL, d->n_pools + 1, sizeof(struct bng_pool *));
        size_t n = 0;
        for (size_t i = 0; i < d->n_pools; i++) {
            struct bng_pool *p = d->pools[i];
            if (p->phase == BNG_ACTIVE && !p->local && !p->unmanaged) {
                sorted[n++] = p;
            }
        }
        qsort(sorted, n, sizeof(struct bng_pool *), better);
        for (size_t i = 0; i < n && i < CANDIDATES_MAX; i++) {
            names[w.n_candidate_pool++] = sorted[i]->name;
        }
        if (n > 0) {
            w.candidate_used = sorted[0]->used;
            w.candidate_total = sorted[0]->total;
            snprintf(a->pool, sizeof a->pool, "%s", sorted[0]->name);
        }
    }
    L_INFO("domain %s: %s%s alarm, %" PRIu64 " free, attempt %u", d->name, bng_alarm_kind_name(k),
           abate ? " (abated)" : "", w.free_addresses, a->attempt);
    emit(d->engine, &m, abate ? ASK_OTHER : ASK_ALARM, d->name);
    flush(d->engine);
    mem_free(sorted);
}

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
            d->synced = d->in_step = false;
            /* Domains without a pool of the manager's are made anew after the synchronisation: it
             * would remove them as empty (APM-037). */
            if (bng_managed(d) > 0) {
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
        emit(e, &m, ASK_DOMAIN_SYNC, "")->last = !more;
    } while (more);
    mem_free(names);
    flush(e);
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
    do {
        entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
        Openapmi__V1__PoolSync s = OPENAPMI__V1__POOL_SYNC__INIT;
        struct part *t = NULL;
        BODY(m, POOL_SYNC);
        m.pool_sync = &s;
        s.domain = d->name;
        s.partition = (char *)(uintptr_t)d->profile->partition;
        s.preferred_length = d->profile->preferred_length;
        if (by_digest) {
            digest(d, hash);
            s.digest.data = hash;
            s.digest.len = sizeof hash;
            from = d->n_pools;
        } else {
            t = take_part(d, &from);
            s.pool = t->ptr;
            s.n_pool = t->n;
        }
        s.more = from < d->n_pools;
        emit(e, &m, ASK_POOL_SYNC, d->name)->last = !s.more;
        mem_free(t);
    } while (from < d->n_pools);
    flush(e);
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
    emit(e, &m, ASK_SYNC_DONE, "");
    flush(e);
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
        uint64_t per = bng_profile_total(
            d->profile, &(struct ip_prefix){ip4(0), (uint8_t)d->profile->preferred_length});
        uint64_t most = per * d->engine->settings.max_pools;
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
        snprintf(d->refused, sizeof d->refused, "%s", r->status->text);
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
            L_INFO("domain %s: pool %s is %s: %s", d->name, p->name,
                   unmanaged ? "not managed" : "adopted", v->reason);
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
        snprintf(d->refused, sizeof d->refused, "%s", r->status->text);
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
        snprintf(why, sizeof why, "pool %s is %s with %" PRIu64 " addresses in use: drain it first",
                 p->name, bng_pool_status(p), p->used);
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
        struct ip_prefix prefix = {.addr = {.family = 4}};
        struct bng_pool ghost = {.domain = d, .prefix = prefix};
        char why[BNG_TEXT_MAX] = "";
        uint32_t code = 3;
        snprintf(ghost.name, sizeof ghost.name, "%s", w->name);
        if (w->prefix == NULL || w->prefix->af != OPENAPMI__V1__ADDRESS_FAMILY__IPV4 ||
            w->prefix->address.len != 4 || w->prefix->length > 32) {
            snprintf(why, sizeof why, "pool %.200s has no IPv4 prefix", w->name);
        } else {
            memcpy(prefix.addr.bytes, w->prefix->address.data, 4);
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
    for (size_t i = 0; i < n && !e->uncommitted; i++) {
        char text[IP_TEXT_MAX];
        L_INFO("domain %s: pool %s (%s) comes", d->name, fresh[i]->name,
               ip_prefix_format(&fresh[i]->prefix, text));
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
        snprintf(a->text, sizeof a->text, "%s", r->text);
        return;
    }
    if (r->result != OPENAPMI__V1__ALARM_RESULT__ALARM_ACK) {
        a->retry_at = r->retry_at > now ? r->retry_at : now + 1;
        a->reason = r->reason;
        snprintf(a->text, sizeof a->text, "%s", r->text);
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
        }
        break;
    case OPENAPMI__V1__ACTION__REMOVE_POOL:
        if (p != NULL && !p->local) {
            order_remove(e, p, r->alarm_id);
        } else {
            bng_wire_result(e, r->alarm_id, 0, "", NULL, 0); /* gone already */
        }
        break;
    default:
        break;
    }
}

/* ---------------------------------------------------------------- session */

void bng_engine_connected(struct bng_engine *e) {
    drop_queue(e);
    e->session = BNG_HELLO;
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
    h.min_version = h.max_version = 1;
    h.kind = OPENAPMI__V1__HELLO__KIND__BNG;
    h.software = e->settings.software;
    h.address = e->settings.address;
    h.boot_epoch = e->boot_epoch;
    emit(e, &m, ASK_HELLO, "");
    flush(e);
}

void bng_engine_disconnected(struct bng_engine *e) {
    if (e->session == BNG_DOWN) {
        return;
    }
    drop_queue(e);
    if (e->session == BNG_READY) {
        e->lost_mono = clock_mono(e->clock);
    }
    e->session = BNG_DOWN;
    for (size_t i = 0; i < e->n_domains; i++) {
        struct bng_domain *d = e->domains[i];
        d->synced = d->in_step = false;
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
    if (h->version != 1) {
        e->host.end_session(e->host.arg, "the manager chose a protocol version we don't speak");
        return false;
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
        } else {
            L_WARN_RL(60, "a message of the manager answers nothing and is no order (kind %d)",
                      (int)m->body_case);
        }
    } else if (answered(e, m->in_reply_to, &q)) {
        dispatch(e, m, &q);
    } else {
        L_WARN_RL(60, "the manager answers message %" PRIu64 ", which is not open", m->in_reply_to);
    }
    openapmi__v1__manager_msg__free_unpacked(m, NULL);
    bng_persist(e);
    if (e->session != BNG_DOWN) {
        flush(e);
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
    emit(e, &m, ASK_OTHER, "");
    flush(e);
}
