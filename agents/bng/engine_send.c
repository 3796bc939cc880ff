// SPDX-License-Identifier: Apache-2.0
/* The engine's way out: messages numbered, packed and held back while too many are unanswered
 * (P-07). */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/mem.h"
#include "base/text.h"
#include "bng/engine_int.h"

LOGGER_MODULE(wire)

/* ---------------------------------------------------------------- queue */

void bng_flush(struct bng_engine *e) {
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

struct queued *bng_emit(struct bng_engine *e, entity_msg *m, enum bng_ask ask, const char *domain) {
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

bool bng_answered(struct bng_engine *e, uint64_t msg_id, struct queued *out) {
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

void bng_drop_queue(struct bng_engine *e) {
    for (size_t i = 0; i < e->n_queue; i++) {
        mem_free(e->queue[i].data);
    }
    e->n_queue = 0;
    e->unanswered = 0;
}

Openapmi__V1__AddressFamily bng_wire_family(const struct bng_profile *p) {
    return p->family == 6 ? OPENAPMI__V1__ADDRESS_FAMILY__IPV6 : OPENAPMI__V1__ADDRESS_FAMILY__IPV4;
}

static void fill_pool(const struct bng_pool *p, wire_pool *w, Openapmi__V1__Prefix *x) {
    openapmi__v1__pool__init(w);
    openapmi__v1__prefix__init(x);
    x->af = bng_wire_family(p->domain->profile);
    x->address.data = (uint8_t *)(uintptr_t)p->prefix.addr.bytes;
    x->address.len = ip_bits(p->domain->profile->family) / 8;
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

struct part *bng_take_part(const struct bng_domain *d, size_t *from, bool in_service) {
    struct part *t = MEM_NEW(struct part);
    for (; *from < d->n_pools && t->n < BNG_SYNC_PART; ++*from) {
        if (in_service && (d->pools[*from]->phase < BNG_ACTIVE || d->pools[*from]->refused[0])) {
            continue;
        }
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
        /* A pool that is listed here is taken as accepted (P-04). */
        struct part *t = bng_take_part(d, &from, true);
        entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
        Openapmi__V1__Stats s = OPENAPMI__V1__STATS__INIT;
        BODY(m, STATS);
        m.stats = &s;
        s.domain = d->name;
        s.free = bng_domain_free(d);
        s.used = used;
        s.n_pool = t->n;
        s.pool = t->ptr;
        bng_emit(e, &m, ASK_OTHER, d->name);
        mem_free(t);
    } while (from < d->n_pools);
    bng_flush(e);
}

void bng_wire_result(struct bng_engine *e, const char *id, uint32_t code, const char *text,
                     const struct bng_pool *p, uint64_t revision) {
    char line[BNG_TEXT_MAX]; /* it may repeat what the manager, or Kea, has said */
    text_line(line, sizeof line, text);
    for (size_t i = 0; i < BNG_ORDERS_KEPT; i++) {
        struct order_kept *k = &e->orders[i];
        if (strcmp(k->id, id) != 0 || k->done) {
            continue; /* a result that is said once more stays as it was */
        }
        if (code == 14) {
            k->id[0] = '\0'; /* not done, for now: the same order again is tried again */
            continue;
        }
        k->done = true;
        k->code = code;
        k->revision = revision;
        snprintf(k->text, sizeof k->text, "%s", line);
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
    s.text = line;
    r.status = &s;
    r.revision = revision;
    if (p != NULL) {
        fill_pool(p, &w, &x);
        r.pool = &w;
    }
    bng_emit(e, &m, ASK_OTHER, "");
    bng_flush(e);
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
    c.af = bng_wire_family(p);
    c.delegated_length = p->delegated_length;
    c.preferred_length = p->preferred_length;
    d->state = BNG_DOMAIN_CREATING;
    bng_emit(d->engine, &m, ASK_CREATE, d->name);
    bng_flush(d->engine);
}

void bng_wire_delete(struct bng_domain *d) {
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__DeleteDomain c = OPENAPMI__V1__DELETE_DOMAIN__INIT;
    BODY(m, DELETE_DOMAIN);
    m.delete_domain = &c;
    c.domain = d->name;
    bng_emit(d->engine, &m, ASK_OTHER, d->name);
    bng_flush(d->engine);
}

/* How many prefixes lift the domain over its threshold, plus what the set-up rate eats within the
 * profile's horizon (APM-050). */
static uint32_t wanted(const struct bng_domain *d) {
    const struct bng_profile *p = d->profile;
    uint64_t per = bng_per_pool(p);
    uint64_t have = bng_domain_free(d) + bng_incoming(d);
    uint64_t missing = d->apportion >= have ? d->apportion - have + 1 : 1;
    missing += (uint64_t)ceil(d->rate * p->horizon_s);
    uint64_t n = per > 0 ? missing / per + (missing % per != 0) : 1;
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
    bng_emit(d->engine, &m, abate ? ASK_OTHER : ASK_ALARM, d->name);
    bng_flush(d->engine);
    mem_free(sorted);
}
