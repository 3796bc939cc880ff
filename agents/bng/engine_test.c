// SPDX-License-Identifier: Apache-2.0
/* The engine against a manager and back ends that live in this file, under a fake clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "bng/engine.h"
#include "openapmi.pb-c.h"

typedef Openapmi__V1__EntityMsg entity_msg;
typedef Openapmi__V1__ManagerMsg manager_msg;

enum { BLOCKS = 64, LOG_MAX = 4096 };
#define T0 INT64_C(1790000000)

/* What one /24 of the manager's partition is. */
struct block {
    bool taken;
    char name[256];
};

struct world {
    struct clock clock;
    struct bng_profile profile[2];
    size_t n_profiles;
    struct bng_reserve reserve;
    struct bng_settings settings;
    struct bng_engine *e;
    struct map disk, pending; /* key -> json_t */
    bool disk_full;
    /* manager */
    bool up, answering;
    unsigned swallowed; /* messages of this session that nobody read */
    struct block block[BLOCKS];
    unsigned free_blocks; /* how many of them may be given out */
    char domain[256];     /* the one domain it knows; empty: none */
    unsigned seq;
    uint64_t apportion, reclaim, hold_down;
    bool auto_reclaim, digest_agrees, window_closed;
    bool useless; /* says yes and gives nothing */
    int64_t retry_at;
    manager_msg *out[LOG_MAX]; /* answers that wait to be delivered */
    size_t n_out;
    /* what was seen */
    uint64_t alarms[5], results;
    char last_id[BNG_ID_MAX], last_result_id[BNG_ID_MAX], last_result_text[BNG_TEXT_MAX];
    char last_candidate[256];
    uint32_t last_attempt, last_code, last_wanted, results_refused;
    uint64_t last_revision, last_alarm_free;
    unsigned digests, full_syncs, creates, deletes, stats;
    char verdict_conflict[256];
    char ended[512];
    /* back ends */
    bool auto_apply;
    unsigned changes, urgent;
    char events[LOG_MAX]; /* order of what happened, a letter each */
    size_t n_events;
};

static void event(struct world *w, char c) {
    if (w->n_events + 1 < sizeof w->events) {
        w->events[w->n_events++] = c;
        w->events[w->n_events] = '\0';
    }
}

/* ------------------------------------------------------------ manager */

static void answer(struct world *w, uint64_t to, manager_msg *m) {
    uint8_t *buf;
    m->in_reply_to = to;
    size_t n = openapmi__v1__manager_msg__get_packed_size(m);
    buf = mem_alloc(n + 1);
    openapmi__v1__manager_msg__pack(m, buf);
    assert_true(w->n_out < LOG_MAX);
    w->out[w->n_out++] = openapmi__v1__manager_msg__unpack(NULL, n, buf);
    mem_free(buf);
}

#define REPLY(m, CASE) ((m).body_case = OPENAPMI__V1__MANAGER_MSG__BODY_##CASE)

static void thresholds(const struct world *w, Openapmi__V1__Thresholds *t) {
    openapmi__v1__thresholds__init(t);
    t->apportion = w->apportion;
    t->reclaim = w->reclaim;
    t->hold_down_s = (uint32_t)w->hold_down;
}

static void ack(struct world *w, uint64_t to) {
    manager_msg m = OPENAPMI__V1__MANAGER_MSG__INIT;
    Openapmi__V1__Ack a = OPENAPMI__V1__ACK__INIT;
    REPLY(m, ACK);
    m.ack = &a;
    answer(w, to, &m);
}

static void free_named(struct world *w, const char *pool) {
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (w->block[i].taken && strcmp(w->block[i].name, pool) == 0) {
            w->block[i].taken = false;
        }
    }
}

static void on_alarm(struct world *w, uint64_t id, const Openapmi__V1__Alarm *a) {
    manager_msg m = OPENAPMI__V1__MANAGER_MSG__INIT;
    Openapmi__V1__AlarmResponse r = OPENAPMI__V1__ALARM_RESPONSE__INIT;
    Openapmi__V1__Pool pool[BNG_WANTED_MAX], *ptr[BNG_WANTED_MAX];
    Openapmi__V1__Prefix prefix[BNG_WANTED_MAX];
    uint8_t address[BNG_WANTED_MAX][4];
    w->alarms[a->type]++;
    event(w, "?ARDX"[a->type]);
    w->last_attempt = a->attempt;
    w->last_wanted = a->wanted_prefixes;
    w->last_alarm_free = a->free_addresses;
    snprintf(w->last_id, sizeof w->last_id, "%s", a->alarm_id);
    snprintf(w->last_candidate, sizeof w->last_candidate, "%s",
             a->n_candidate_pool > 0 ? a->candidate_pool[0] : "");
    if (a->type == OPENAPMI__V1__ALARM_TYPE__ABATE) {
        assert_int_equal(a->n_abated, 1);
        assert_string_equal(a->abated[0], a->alarm_id);
        ack(w, id);
        return;
    }
    REPLY(m, ALARM_RESPONSE);
    m.alarm_response = &r;
    r.alarm_id = a->alarm_id;
    r.add = ptr;
    r.result = OPENAPMI__V1__ALARM_RESULT__ALARM_ACK;
    if (a->type == OPENAPMI__V1__ALARM_TYPE__APPORTION) {
        for (unsigned i = 0; i < BLOCKS && r.n_add < a->wanted_prefixes; i++) {
            if (w->block[i].taken || w->free_blocks == 0 || w->useless) {
                continue;
            }
            w->free_blocks--;
            w->block[i].taken = true;
            if (w->seq == 0) {
                snprintf(w->block[i].name, sizeof w->block[i].name, "%.200s", a->domain);
            } else {
                snprintf(w->block[i].name, sizeof w->block[i].name, "%.200s-%04u", a->domain,
                         w->seq - 1);
            }
            w->seq++;
            openapmi__v1__pool__init(&pool[r.n_add]);
            openapmi__v1__prefix__init(&prefix[r.n_add]);
            address[r.n_add][0] = 10;
            address[r.n_add][1] = 1;
            address[r.n_add][2] = (uint8_t)i;
            address[r.n_add][3] = 0;
            prefix[r.n_add].af = OPENAPMI__V1__ADDRESS_FAMILY__IPV4;
            prefix[r.n_add].address.data = address[r.n_add];
            prefix[r.n_add].address.len = 4;
            prefix[r.n_add].length = 24;
            pool[r.n_add].prefix = &prefix[r.n_add];
            pool[r.n_add].name = w->block[i].name;
            ptr[r.n_add] = &pool[r.n_add];
            r.n_add++;
        }
        r.action = OPENAPMI__V1__ACTION__ADD_POOLS;
        if (r.n_add == 0 && !w->useless) {
            r.result = OPENAPMI__V1__ALARM_RESULT__ALARM_NACK;
            r.action = OPENAPMI__V1__ACTION__NOOP;
            r.reason = OPENAPMI__V1__REASON__PARTITION_EMPTY;
            r.retry_at = w->retry_at != 0 ? w->retry_at : clock_wall_s(&w->clock) + 900;
        }
    } else if (a->type == OPENAPMI__V1__ALARM_TYPE__RECLAIM) {
        if (w->window_closed) {
            r.result = OPENAPMI__V1__ALARM_RESULT__ALARM_NACK;
            r.action = OPENAPMI__V1__ACTION__NOOP;
            r.reason = OPENAPMI__V1__REASON__OUTSIDE_WINDOW;
            r.retry_at = w->retry_at;
        } else if (w->auto_reclaim) {
            r.action = OPENAPMI__V1__ACTION__SET_DRAIN;
            r.pool = a->candidate_pool[0];
        } else {
            r.result = OPENAPMI__V1__ALARM_RESULT__ALARM_PENDING;
        }
    } else if (w->auto_reclaim) {
        r.action = OPENAPMI__V1__ACTION__REMOVE_POOL;
        r.pool = a->candidate_pool[0];
    } else {
        r.result = OPENAPMI__V1__ALARM_RESULT__ALARM_PENDING;
    }
    answer(w, id, &m);
}

static void on_domain_sync(struct world *w, uint64_t id, const Openapmi__V1__DomainSync *s) {
    manager_msg m = OPENAPMI__V1__MANAGER_MSG__INIT;
    Openapmi__V1__DomainSyncResult r = OPENAPMI__V1__DOMAIN_SYNC_RESULT__INIT;
    char *keep[1], *create[16];
    REPLY(m, DOMAIN_SYNC_RESULT);
    m.domain_sync_result = &r;
    r.keep = keep;
    r.create_first = create;
    for (size_t i = 0; i < s->n_domain && i < 16; i++) {
        if (strcmp(s->domain[i], w->domain) == 0) {
            keep[r.n_keep++] = s->domain[i];
        } else {
            create[r.n_create_first++] = s->domain[i];
        }
    }
    if (s->n_domain == 0) { /* the gateway has nothing of ours any more */
        for (unsigned i = 0; i < BLOCKS; i++) {
            w->free_blocks += w->block[i].taken;
            w->block[i].taken = false;
        }
        w->domain[0] = '\0';
    }
    answer(w, id, &m);
}

static void on_pool_sync(struct world *w, uint64_t id, const Openapmi__V1__PoolSync *s) {
    manager_msg m = OPENAPMI__V1__MANAGER_MSG__INIT;
    Openapmi__V1__PoolSyncResult r = OPENAPMI__V1__POOL_SYNC_RESULT__INIT;
    Openapmi__V1__Status st = OPENAPMI__V1__STATUS__INIT;
    Openapmi__V1__Thresholds t;
    Openapmi__V1__PoolVerdict v = OPENAPMI__V1__POOL_VERDICT__INIT, *vp = &v;
    REPLY(m, POOL_SYNC_RESULT);
    m.pool_sync_result = &r;
    r.domain = s->domain;
    r.status = &st;
    if (s->digest.len > 0) {
        assert_int_equal(s->digest.len, 32);
        w->digests++;
        if (!w->digest_agrees) {
            st.code = 10;
            answer(w, id, &m);
            return;
        }
    } else {
        w->full_syncs++;
        bool listed[BLOCKS] = {false};
        for (size_t i = 0; i < s->n_pool; i++) {
            if (!s->pool[i]->local && s->pool[i]->prefix->address.data[0] == 10 &&
                s->pool[i]->prefix->address.data[1] == 1) {
                listed[s->pool[i]->prefix->address.data[2]] = true;
            }
        }
        for (unsigned i = 0; i < BLOCKS; i++) { /* the gateway's list wins (APM-072) */
            w->free_blocks += w->block[i].taken && !listed[i];
            w->free_blocks -= !w->block[i].taken && listed[i];
            w->block[i].taken = listed[i];
        }
        for (size_t i = 0; i < s->n_pool; i++) {
            if (!s->pool[i]->local && s->pool[i]->prefix->address.data[1] == 1) {
                snprintf(w->block[s->pool[i]->prefix->address.data[2]].name, 256, "%s",
                         s->pool[i]->name);
            }
        }
    }
    thresholds(w, &t);
    r.thresholds = &t;
    if (w->verdict_conflict[0] != '\0') {
        v.pool = w->verdict_conflict;
        v.verdict = OPENAPMI__V1__POOL_VERDICT__VERDICT__CONFLICT_DRAIN;
        v.reason = "C1: allocated to somebody else";
        r.verdict = &vp;
        r.n_verdict = 1;
    }
    answer(w, id, &m);
}

static void on_result(struct world *w, uint64_t id, const Openapmi__V1__OrderResult *r) {
    w->results++;
    w->last_code = r->status->code;
    w->last_revision = r->revision;
    w->results_refused += r->status->code != 0;
    snprintf(w->last_result_id, sizeof w->last_result_id, "%s", r->order_id);
    snprintf(w->last_result_text, sizeof w->last_result_text, "%s", r->status->text);
    event(w, r->status->code == 0 ? 'k' : 'n');
    if (r->pool != NULL) {
        const struct bng_pool *p = NULL;
        for (size_t i = 0; i < bng_engine_domains(w->e); i++) {
            const struct bng_domain *d = bng_engine_domain(w->e, i);
            for (size_t j = 0; j < d->n_pools; j++) {
                if (strcmp(d->pools[j]->name, r->pool->name) == 0) {
                    p = d->pools[j];
                }
            }
        }
        if (p == NULL) { /* gone there: ours again (P-14), or refused */
            for (unsigned i = 0; i < BLOCKS; i++) {
                w->free_blocks += w->block[i].taken && strcmp(w->block[i].name, r->pool->name) == 0;
            }
            free_named(w, r->pool->name);
        }
    }
    ack(w, id);
}

static void on_entity(struct world *w, const entity_msg *q) {
    manager_msg m = OPENAPMI__V1__MANAGER_MSG__INIT;
    Openapmi__V1__HelloAck h = OPENAPMI__V1__HELLO_ACK__INIT;
    Openapmi__V1__DomainCreated c = OPENAPMI__V1__DOMAIN_CREATED__INIT;
    Openapmi__V1__Thresholds t;
    Openapmi__V1__Pong pong = OPENAPMI__V1__PONG__INIT;
    switch (q->body_case) {
    case OPENAPMI__V1__ENTITY_MSG__BODY_HELLO:
        REPLY(m, HELLO_ACK);
        m.hello_ack = &h;
        h.version = 1;
        h.stats_interval_s = 10;
        answer(w, q->msg_id, &m);
        break;
    case OPENAPMI__V1__ENTITY_MSG__BODY_DOMAIN_SYNC:
        on_domain_sync(w, q->msg_id, q->domain_sync);
        break;
    case OPENAPMI__V1__ENTITY_MSG__BODY_POOL_SYNC:
        on_pool_sync(w, q->msg_id, q->pool_sync);
        break;
    case OPENAPMI__V1__ENTITY_MSG__BODY_CREATE_DOMAIN:
        w->creates++;
        event(w, 'C');
        snprintf(w->domain, sizeof w->domain, "%s", q->create_domain->domain);
        assert_string_equal(q->create_domain->partition, "p");
        assert_int_equal(q->create_domain->preferred_length, 24);
        REPLY(m, DOMAIN_CREATED);
        m.domain_created = &c;
        c.domain = q->create_domain->domain;
        thresholds(w, &t);
        c.thresholds = &t;
        answer(w, q->msg_id, &m);
        break;
    case OPENAPMI__V1__ENTITY_MSG__BODY_ALARM:
        on_alarm(w, q->msg_id, q->alarm);
        break;
    case OPENAPMI__V1__ENTITY_MSG__BODY_ORDER_RESULT:
        on_result(w, q->msg_id, q->order_result);
        break;
    case OPENAPMI__V1__ENTITY_MSG__BODY_STATS:
        w->stats++;
        ack(w, q->msg_id);
        break;
    case OPENAPMI__V1__ENTITY_MSG__BODY_DELETE_DOMAIN:
        w->deletes++;
        w->domain[0] = '\0';
        ack(w, q->msg_id);
        break;
    case OPENAPMI__V1__ENTITY_MSG__BODY_PING:
        REPLY(m, PONG);
        m.pong = &pong;
        answer(w, q->msg_id, &m);
        break;
    default:
        ack(w, q->msg_id);
        break;
    }
}

/* ------------------------------------------------------------ host */

static void host_send(void *arg, const uint8_t *p, size_t n) {
    struct world *w = arg;
    if (!w->up || !w->answering) {
        w->swallowed++;
        return;
    }
    entity_msg *m = openapmi__v1__entity_msg__unpack(NULL, n, p);
    assert_non_null(m);
    on_entity(w, m);
    openapmi__v1__entity_msg__free_unpacked(m, NULL);
}

static void host_end(void *arg, const char *why) {
    struct world *w = arg;
    snprintf(w->ended, sizeof w->ended, "%s", why);
}

static void host_save(void *arg, const char *key, json_t *doc) {
    struct world *w = arg;
    json_t *old = map_put(&w->pending, key, doc);
    json_decref(old);
}

static bool host_commit(void *arg) {
    struct world *w = arg;
    if (w->disk_full) {
        return false;
    }
    MAP_FOREACH (m, &w->pending) {
        json_t *old = map_put(&w->disk, m->key, m->value);
        json_decref(old);
        map_del(&w->pending, m->key);
    }
    return true;
}

static void host_changed(void *arg, bool urgent) {
    struct world *w = arg;
    w->changes++;
    w->urgent += urgent;
}

static void start(struct world *w) {
    static const struct bng_host host = {
        .send = host_send,
        .end_session = host_end,
        .save = host_save,
        .commit = host_commit,
        .changed = host_changed,
    };
    struct bng_host h = host;
    struct err err;
    h.arg = w;
    w->settings.profiles = w->profile;
    w->settings.n_profiles = w->n_profiles;
    w->e = bng_engine_new(&w->clock, &w->settings, &h);
    MAP_FOREACH (m, &w->disk) {
        if (bng_engine_load(w->e, m->key, m->value, &err) != ERR_OK) {
            fail_msg("load %s: %s", m->key, err.text);
        }
    }
    assert_int_equal(bng_engine_start(w->e, &err), ERR_OK);
}

/* Process gone, no last words. */
static void kill_9(struct world *w) {
    bng_engine_free(w->e);
    MAP_FOREACH (m, &w->pending) {
        json_decref(m->value);
        map_del(&w->pending, m->key);
    }
    for (size_t i = 0; i < w->n_out; i++) {
        openapmi__v1__manager_msg__free_unpacked(w->out[i], NULL);
    }
    w->n_out = 0;
    w->up = false;
    start(w);
}

static struct world *world_new(void) {
    struct world *w = MEM_NEW(struct world);
    clock_fake_init(&w->clock, T0 * NS_PER_S);
    w->n_profiles = 1;
    for (unsigned i = 0; i < 2; i++) {
        struct bng_profile *p = &w->profile[i];
        snprintf(p->name, sizeof p->name, "home%u", i);
        snprintf(p->routing_instance, sizeof p->routing_instance, "default");
        snprintf(p->partition, sizeof p->partition, "p");
        p->preferred_length = 24;
        p->gateway_octet = 1;
        p->hold_down_s = 60;
        p->horizon_s = 60;
        p->keep_last_pool = true;
        snprintf(p->interface, sizeof p->interface, "e%u", i);
    }
    snprintf(w->settings.system_id, sizeof w->settings.system_id, "bng1");
    w->settings.max_pools = 32;
    w->settings.routes = true;
    w->settings.first_subnet_id = 100000;
    w->apportion = 100;
    w->reclaim = 400;
    w->auto_reclaim = w->answering = w->auto_apply = w->digest_agrees = true;
    w->free_blocks = BLOCKS;
    start(w);
    return w;
}

static void world_free(struct world *w) {
    bng_engine_free(w->e);
    for (size_t i = 0; i < w->n_out; i++) {
        openapmi__v1__manager_msg__free_unpacked(w->out[i], NULL);
    }
    MAP_FOREACH (m, &w->disk) {
        json_decref(m->value);
    }
    MAP_FOREACH (m, &w->pending) {
        json_decref(m->value);
    }
    map_free(&w->disk, NULL);
    map_free(&w->pending, NULL);
    mem_free(w);
}

static void deliver(struct world *w) {
    while (w->n_out > 0) {
        manager_msg *m = w->out[0];
        memmove(&w->out[0], &w->out[1], --w->n_out * sizeof(manager_msg *));
        size_t n = openapmi__v1__manager_msg__get_packed_size(m);
        uint8_t *buf = mem_alloc(n + 1);
        openapmi__v1__manager_msg__pack(m, buf);
        openapmi__v1__manager_msg__free_unpacked(m, NULL);
        bng_engine_message(w->e, buf, n);
        mem_free(buf);
    }
}

static void apply(struct world *w) {
    for (int i = 0; i < 4; i++) { /* route, DHCP, route again */
        bng_engine_routes_applied(w->e, bng_engine_generation(w->e));
        bng_engine_dhcp_applied(w->e, bng_engine_generation(w->e));
    }
}

static void recount(struct world *w) {
    for (size_t i = 0; i < bng_engine_domains(w->e); i++) {
        const struct bng_domain *d = bng_engine_domain(w->e, i);
        for (size_t j = 0; j < d->n_pools; j++) {
            bng_engine_count(w->e, d->pools[j]->subnet_id, d->pools[j]->used,
                             d->pools[j]->cumulative);
        }
    }
    bng_engine_counted(w->e);
}

/* Everything that can happen at this instant. */
static void settle(struct world *w) {
    for (int i = 0; i < 40; i++) {
        bng_engine_tick(w->e);
        deliver(w);
        if (w->auto_apply) {
            apply(w);
        }
        recount(w);
    }
    w->n_events = w->n_events > LOG_MAX / 2 ? 0 : w->n_events;
}

static void later(struct world *w, int64_t seconds) {
    clock_fake_advance(&w->clock, seconds * NS_PER_S);
    settle(w);
}

static void connect_up(struct world *w) {
    w->up = true;
    w->swallowed = 0;
    bng_engine_connected(w->e);
    settle(w);
}

static void disconnect(struct world *w) {
    w->up = false;
    for (size_t i = 0; i < w->n_out; i++) {
        openapmi__v1__manager_msg__free_unpacked(w->out[i], NULL);
    }
    w->n_out = 0;
    bng_engine_disconnected(w->e);
}

static const struct bng_domain *dom(struct world *w) {
    return bng_engine_domain(w->e, 0);
}

/* Makes `used` addresses of the pool assigned. */
static void use(struct world *w, size_t pool, uint64_t used) {
    bng_engine_count(w->e, dom(w)->pools[pool]->subnet_id, used, dom(w)->pools[pool]->cumulative);
    bng_engine_counted(w->e);
}

static void order(struct world *w, const char *id, Openapmi__V1__OrderType type, const char *pool,
                  uint64_t apportion, uint64_t reclaim, uint64_t revision) {
    manager_msg m = OPENAPMI__V1__MANAGER_MSG__INIT;
    Openapmi__V1__Order o = OPENAPMI__V1__ORDER__INIT;
    Openapmi__V1__Thresholds t = OPENAPMI__V1__THRESHOLDS__INIT;
    REPLY(m, ORDER);
    m.order = &o;
    o.order_id = (char *)(uintptr_t)id;
    o.type = type;
    o.domain = (char *)(uintptr_t)dom(w)->name;
    o.pool = (char *)(uintptr_t)pool;
    t.apportion = apportion;
    t.reclaim = reclaim;
    o.thresholds = &t;
    o.revision = revision;
    answer(w, 0, &m);
    deliver(w);
}

/* ------------------------------------------------------------ tests */

/* proves: APM-031 APM-023 */
static void names_and_totals(void **state) {
    struct bng_profile p = {.name = "iroh", .routing_instance = "default", .gateway_octet = 0};
    char name[BNG_DOMAIN_NAME_MAX + 1];
    struct ip_prefix x;
    struct bng_range r[8];
    struct ip_addr gw;
    bng_domain_name(&p, name);
    assert_string_equal(name, "iroh-default");
    snprintf(p.subscriber_group, sizeof p.subscriber_group, "sgrp003");
    bng_domain_name(&p, name);
    assert_string_equal(name, "iroh-sgrp003-default");
    static const struct {
        const char *prefix;
        uint64_t total;
    } v[] = {{"10.0.0.0/20", 4094}, {"10.0.0.0/24", 254}, {"10.0.0.0/27", 30}, {"10.0.0.0/30", 2}};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(ip_prefix_parse(v[i].prefix, &x, NULL), ERR_OK);
        assert_int_equal(bng_profile_total(&p, &x), v[i].total);
    }
    p.gateway_octet = 1;
    p.excluded[0] = p.excluded[255] = p.excluded[100] = true;
    assert_int_equal(ip_prefix_parse("10.0.0.0/24", &x, NULL), ERR_OK);
    assert_int_equal(bng_profile_total(&p, &x), 252);
    assert_int_equal(bng_profile_ranges(&p, &x, r, 8), 2);
    assert_int_equal(r[0].first & 0xff, 2);
    assert_int_equal(r[0].last & 0xff, 99);
    assert_int_equal(r[1].last & 0xff, 254);
    assert_true(bng_profile_gateway(&p, &x, &gw));
    assert_int_equal(ip4_value(&gw) & 0xff, 1);
    /* The short way of counting agrees with the long one. */
    for (unsigned len = 20; len <= 30; len++) {
        x = ip4_prefix(0x0a000000, len);
        struct bng_range all[BNG_RANGES_MAX];
        size_t n = bng_profile_ranges(&p, &x, all, BNG_RANGES_MAX);
        uint64_t sum = 0;
        for (size_t i = 0; i < n; i++) {
            sum += all[i].last - all[i].first + 1;
        }
        assert_int_equal(sum, bng_profile_total(&p, &x));
    }
}

/* proves: APM-032 APM-150 APM-050 APM-051 APM-151 P-04 */
static void first_pool(void **state) {
    struct world *w = world_new();
    w->auto_apply = false;
    connect_up(w);
    assert_int_equal(w->creates, 1);
    assert_int_equal(w->alarms[OPENAPMI__V1__ALARM_TYPE__APPORTION], 1);
    assert_int_equal(w->last_attempt, 1);
    assert_int_equal(w->last_wanted, 1);
    assert_int_equal(dom(w)->apportion, 100);
    assert_int_equal(dom(w)->n_pools, 1);
    const struct bng_pool *p = dom(w)->pools[0];
    assert_string_equal(p->name, "home0-default");
    assert_int_equal(p->total, 253);
    assert_true(w->urgent > 0);
    /* Announced first, then given out, then confirmed. */
    assert_true(bng_pool_wants_route(p));
    assert_false(bng_pool_wants_dhcp(p));
    assert_int_equal(w->results, 0);
    uint64_t early = bng_engine_generation(w->e);
    bng_engine_dhcp_applied(w->e, early);
    assert_int_equal(p->phase, BNG_ADD_ROUTE);
    bng_engine_routes_applied(w->e, early);
    assert_true(bng_pool_wants_dhcp(p));
    bng_engine_dhcp_applied(w->e, early); /* of before: says nothing about this step */
    assert_int_equal(p->phase, BNG_ADD_DHCP);
    bng_engine_dhcp_applied(w->e, bng_engine_generation(w->e));
    assert_int_equal(p->phase, BNG_ACTIVE);
    assert_int_equal(w->results, 1);
    assert_int_equal(w->last_code, 0);
    assert_string_equal(w->last_result_id, w->last_id);
    assert_int_equal(bng_domain_free(dom(w)), 253);
    world_free(w);
}

/* proves: APM-002 APM-050 APM-054 V3 */
static void threshold_edges(void **state) {
    struct world *w = world_new();
    connect_up(w);
    w->free_blocks = 0;
    w->hold_down = 1;
    assert_int_equal(w->alarms[1], 1);
    use(w, 0, 253 - 101);
    settle(w);
    assert_int_equal(w->alarms[1], 1); /* none at threshold + 1 */
    use(w, 0, 253 - 100);
    settle(w);
    assert_int_equal(w->alarms[1], 2); /* at the threshold */
    world_free(w);

    w = world_new();
    w->reclaim = 406;
    connect_up(w);
    use(w, 0, 200);
    settle(w);
    assert_int_equal(dom(w)->n_pools, 2);
    assert_int_equal(bng_domain_free(dom(w)), 306);
    use(w, 0, 101);
    later(w, 3600);
    assert_int_equal(bng_domain_free(dom(w)), 405);
    assert_int_equal(w->alarms[2], 0); /* none at threshold - 1 */
    use(w, 0, 100);
    settle(w);
    later(w, 59);
    assert_int_equal(w->alarms[2], 0); /* hold-down */
    later(w, 1);
    assert_int_equal(w->alarms[2], 1); /* at the threshold */
    assert_string_equal(w->last_candidate, "home0-default-0000");
    world_free(w);
}

/* proves: APM-086 APM-037 */
static void hold_down_of_the_last_pool(void **state) {
    struct world *w = world_new();
    w->profile[0].keep_last_pool = false;
    w->reclaim = 101;
    w->hold_down = 30;
    connect_up(w);
    later(w, 59);
    assert_int_equal(w->alarms[2], 0);
    later(w, 1); /* one more hold-down: 2 x 30 s */
    assert_int_equal(w->alarms[2], 1);
    assert_int_equal(w->alarms[3], 1);
    assert_int_equal(dom(w)->n_pools, 0);
    assert_int_equal(w->deletes, 1);
    assert_int_equal(w->free_blocks, BLOCKS);
    later(w, 600);
    assert_int_equal(w->creates, 1);
    bng_engine_demand(w->e, "e0");
    settle(w);
    assert_int_equal(w->creates, 2);
    assert_int_equal(dom(w)->n_pools, 1);
    world_free(w);

    w = world_new(); /* a surplus that does not last raises nothing */
    w->hold_down = 30;
    connect_up(w);
    use(w, 0, 200);
    settle(w);
    use(w, 0, 10);
    settle(w);
    later(w, 29);
    use(w, 0, 200);
    settle(w);
    use(w, 0, 10);
    settle(w);
    later(w, 29);
    assert_int_equal(w->alarms[2], 0);
    later(w, 1);
    assert_int_equal(w->alarms[2], 1);
    world_free(w);
}

/* proves: APM-052 P-05 P-06 */
static void refused_and_retried(void **state) {
    struct world *w = world_new();
    w->free_blocks = 1;
    connect_up(w);
    use(w, 0, 163); /* 90 free */
    settle(w);
    assert_int_equal(w->alarms[1], 2);
    char id[BNG_ID_MAX];
    memcpy(id, w->last_id, sizeof id);
    later(w, 899);
    assert_int_equal(w->alarms[1], 2);
    later(w, 1);
    assert_int_equal(w->alarms[1], 3);
    assert_string_equal(w->last_id, id); /* the same alarm, the second attempt */
    assert_int_equal(w->last_attempt, 2);
    use(w, 0, 207); /* 46: worse, but not halved */
    later(w, 2);
    assert_int_equal(w->alarms[1], 3);
    use(w, 0, 208); /* 45: halved */
    later(w, 2);
    assert_int_equal(w->alarms[1], 4);
    assert_int_equal(w->last_attempt, 3);
    assert_string_equal(dom(w)->alarm[BNG_APPORTION].id, id);
    /* T3: the retry is satisfied. */
    w->free_blocks = 5;
    later(w, 900);
    assert_int_equal(dom(w)->n_pools, 2);
    assert_false(dom(w)->alarm[BNG_APPORTION].raised);
    world_free(w);
}

static void tell_again(struct world *w, const char *id, int64_t at) {
    manager_msg m = OPENAPMI__V1__MANAGER_MSG__INIT;
    Openapmi__V1__AlarmResponse r = OPENAPMI__V1__ALARM_RESPONSE__INIT;
    REPLY(m, ALARM_RESPONSE);
    m.alarm_response = &r;
    r.alarm_id = (char *)(uintptr_t)id;
    r.result = OPENAPMI__V1__ALARM_RESULT__ALARM_NACK;
    r.action = OPENAPMI__V1__ACTION__NOOP;
    r.reason = OPENAPMI__V1__REASON__PARTITION_EMPTY;
    r.retry_at = at;
    answer(w, 0, &m);
    settle(w);
}

/* proves: APM-052 P-22 */
static void told_of_space(void **state) {
    struct world *w = world_new();
    w->free_blocks = 1;
    connect_up(w);
    use(w, 0, 163);
    settle(w);
    assert_int_equal(w->alarms[1], 2);
    char id[BNG_ID_MAX];
    memcpy(id, w->last_id, sizeof id);
    later(w, 10);
    w->free_blocks = 5;
    int64_t now = clock_wall_s(&w->clock);
    tell_again(w, "another/1/1", now);
    tell_again(w, id, now + 5000); /* that would put it off */
    assert_int_equal(w->alarms[1], 2);
    tell_again(w, id, now - 3);
    assert_int_equal(w->alarms[1], 3);
    assert_string_equal(w->last_id, id);
    assert_int_equal(w->last_attempt, 2);
    assert_int_equal(dom(w)->n_pools, 2);
    tell_again(w, id, now); /* over meanwhile */
    assert_int_equal(w->alarms[1], 3);
    world_free(w);
}

/* proves: APM-060 APM-059 */
static void abated(void **state) {
    struct world *w = world_new();
    w->free_blocks = 1;
    connect_up(w);
    use(w, 0, 200);
    settle(w);
    assert_int_equal(w->alarms[1], 2);
    char id[BNG_ID_MAX];
    memcpy(id, w->last_id, sizeof id);
    use(w, 0, 20);
    settle(w);
    assert_int_equal(w->alarms[OPENAPMI__V1__ALARM_TYPE__ABATE], 1);
    assert_string_equal(w->last_id, id);
    assert_int_equal(w->last_attempt, 2);
    assert_int_equal(dom(w)->count.abatements, 1);
    use(w, 0, 200);
    settle(w);
    assert_int_equal(w->alarms[1], 3);
    assert_string_not_equal(w->last_id, id); /* a new one */
    world_free(w);
}

/* proves: APM-057 APM-080 APM-081 APM-151 P-14 */
static void drained_and_removed(void **state) {
    struct world *w = world_new();
    w->hold_down = 1;
    connect_up(w);
    use(w, 0, 200);
    settle(w);
    assert_int_equal(dom(w)->n_pools, 2);
    use(w, 0, 30);
    use(w, 1, 5);
    w->auto_apply = false;
    later(w, 1);
    assert_int_equal(w->alarms[2], 0);
    later(w, 1);
    assert_int_equal(w->alarms[2], 1);
    const struct bng_pool *p = dom(w)->pools[1];
    assert_int_equal(p->phase, BNG_DRAIN_SET);
    assert_true(bng_pool_wants_drain(p));
    uint64_t results = w->results;
    bng_engine_dhcp_applied(w->e, bng_engine_generation(w->e));
    assert_int_equal(p->phase, BNG_DRAINING);
    assert_int_equal(w->results, results + 1);
    assert_int_equal(bng_domain_free(dom(w)), 223); /* what drains can't be used */
    later(w, 100);
    assert_int_equal(w->alarms[3], 0);
    use(w, 1, 0); /* the last subscriber has moved */
    settle(w);
    assert_int_equal(w->alarms[3], 1);
    assert_string_equal(w->last_candidate, "home0-default-0000");
    assert_int_equal(p->phase, BNG_REMOVE_DHCP);
    results = w->results;
    bng_engine_dhcp_applied(w->e, bng_engine_generation(w->e));
    assert_int_equal(p->phase, BNG_REMOVE_ROUTE);
    assert_true(w->block[1].taken);
    assert_int_equal(w->results, results); /* still announced: not yet the manager's */
    bng_engine_routes_applied(w->e, bng_engine_generation(w->e));
    assert_int_equal(w->results, results + 1);
    assert_false(w->block[1].taken);
    assert_int_equal(dom(w)->n_pools, 1);
    assert_int_equal(dom(w)->count.reclamations, 1);
    world_free(w);
}

/* A removal whose session broke ends in the next one, which listed the pool and has no order about
 * it: the manager is told by a list without it, but not while an answer may bring another pool. */
/* proves: P-14 P-17 */
static void removed_over_a_break(void **state) {
    struct world *w = world_new();
    w->hold_down = 1;
    connect_up(w);
    use(w, 0, 200);
    settle(w);
    use(w, 0, 30);
    w->auto_apply = false;
    later(w, 1);
    later(w, 1);
    bng_engine_dhcp_applied(w->e, bng_engine_generation(w->e));
    settle(w);
    assert_int_equal(dom(w)->n_pools, 2);
    assert_int_equal(dom(w)->pools[1]->phase, BNG_REMOVE_DHCP);
    kill_9(w);
    w->full_syncs = 0;
    connect_up(w);
    assert_int_equal(bng_engine_session(w->e), BNG_READY);
    assert_int_equal(dom(w)->n_pools, 2);
    use(w, 0, 200);
    bng_engine_tick(w->e); /* short: the alarm is answered, the answer is under way */
    assert_true(dom(w)->alarm[BNG_APPORTION].in_flight);
    apply(w);
    bng_engine_tick(w->e);
    assert_int_equal(dom(w)->n_pools, 1);
    assert_int_equal(w->full_syncs, 0);
    assert_true(w->block[1].taken && w->block[2].taken);
    settle(w);
    assert_int_equal(w->full_syncs, 1);
    assert_int_equal(dom(w)->n_pools, 2);
    assert_false(w->block[1].taken);
    assert_true(w->block[2].taken);
    /* The order said again when it is done already; what is not durable is not done. */
    order(w, "o1", OPENAPMI__V1__ORDER_TYPE__ORDER_REMOVE_POOL, "home0-default-0000", 0, 0, 0);
    assert_string_equal(w->last_result_id, "o1");
    assert_int_equal(w->last_code, 0);
    w->disk_full = true;
    order(w, "t1", OPENAPMI__V1__ORDER_TYPE__ORDER_UPDATE_THRESHOLDS, "", 50, 200, 11);
    order(w, "o2", OPENAPMI__V1__ORDER_TYPE__ORDER_REMOVE_POOL, "home0-default-0000", 0, 0, 0);
    assert_string_equal(w->last_result_id, "o2");
    assert_int_equal(w->last_code, 14);
    w->disk_full = false;
    settle(w);
    assert_int_equal(w->full_syncs, 1);
    world_free(w);
}

/* proves: APM-056 APM-058 APM-087 */
static void window_and_manual(void **state) {
    struct world *w = world_new();
    w->hold_down = 1;
    w->window_closed = true;
    w->retry_at = T0 + 5000;
    connect_up(w);
    use(w, 0, 200);
    settle(w);
    use(w, 0, 30);
    later(w, 1);
    later(w, 1);
    assert_int_equal(w->alarms[2], 1);
    later(w, 4996);
    assert_int_equal(w->alarms[2], 1);
    w->window_closed = false;
    w->auto_reclaim = false;
    later(w, 2);
    assert_int_equal(w->alarms[2], 2);
    assert_true(dom(w)->alarm[BNG_RECLAIM].pending);
    later(w, 10000);
    assert_int_equal(w->alarms[2], 2); /* waits for the operator */
    order(w, "o1", OPENAPMI__V1__ORDER_TYPE__ORDER_SET_DRAIN, "home0-default", 0, 0, 0);
    settle(w);
    assert_string_equal(w->last_result_id, "o1");
    assert_int_equal(dom(w)->pools[0]->phase, BNG_DRAINING);
    assert_int_equal(w->alarms[4], 0);
    order(w, "o1", OPENAPMI__V1__ORDER_TYPE__ORDER_SET_DRAIN, "home0-default", 0, 0, 0);
    assert_int_equal(w->last_code, 0); /* said twice: the same answer */
    order(w, "o2", OPENAPMI__V1__ORDER_TYPE__ORDER_REMOVE_POOL, "home0-default", 0, 0, 0);
    assert_int_equal(w->last_code, 9);
    assert_non_null(strstr(w->last_result_text, "30 addresses in use"));
    order(w, "o3", OPENAPMI__V1__ORDER_TYPE__ORDER_CLEAR_DRAIN, "home0-default", 0, 0, 0);
    settle(w);
    assert_string_equal(w->last_result_id, "o3");
    assert_int_equal(dom(w)->pools[0]->phase, BNG_ACTIVE);
    order(w, "o4", OPENAPMI__V1__ORDER_TYPE__ORDER_SET_DRAIN, "nope", 0, 0, 0);
    assert_int_equal(w->last_code, 5);
    world_free(w);
}

/* proves: P-10 APM-059 */
static void thresholds_refused(void **state) {
    struct world *w = world_new();
    w->profile[0].max_apportion = 500;
    connect_up(w);
    order(w, "t1", OPENAPMI__V1__ORDER_TYPE__ORDER_UPDATE_THRESHOLDS, "", 120, 500, 7);
    assert_int_equal(w->last_code, 0);
    assert_int_equal(w->last_revision, 7);
    assert_int_equal(dom(w)->apportion, 120);
    order(w, "t2", OPENAPMI__V1__ORDER_TYPE__ORDER_UPDATE_THRESHOLDS, "", 501, 900, 8);
    assert_int_equal(w->last_code, 9);
    assert_int_equal(w->last_revision, 8);
    assert_non_null(strstr(w->last_result_text, "max-apportion-threshold 500"));
    assert_int_equal(dom(w)->apportion, 120);
    w->profile[0].max_apportion = 0;
    order(w, "t3", OPENAPMI__V1__ORDER_TYPE__ORDER_UPDATE_THRESHOLDS, "", 32 * 253, 9000, 9);
    assert_int_equal(w->last_code, 9);
    assert_non_null(strstr(w->last_result_text, "pool table"));
    order(w, "t4", OPENAPMI__V1__ORDER_TYPE__ORDER_UPDATE_THRESHOLDS, "", 200, 200, 10);
    assert_int_equal(w->last_code, 9);
    order(w, "t5", OPENAPMI__V1__ORDER_TYPE__ORDER_UPDATE_THRESHOLDS, "", 50, 200, 6);
    assert_int_equal(w->last_code, 9); /* older than what is in force */
    w->disk_full = true;
    order(w, "t6", OPENAPMI__V1__ORDER_TYPE__ORDER_UPDATE_THRESHOLDS, "", 50, 200, 11);
    assert_int_equal(w->last_code, 14);
    assert_int_equal(dom(w)->apportion, 120);
    w->disk_full = false;
    order(w, "t7", OPENAPMI__V1__ORDER_TYPE__ORDER_UPDATE_THRESHOLDS, "", 50, 200, 11);
    assert_int_equal(w->last_code, 0);
    assert_int_equal(dom(w)->apportion, 50);
    world_free(w);
}

/* proves: APM-152 P-11 */
static void local_reserve(void **state) {
    struct world *w = world_new();
    struct ip_prefix r = ip4_prefix(0x0afe0000, 23);
    w->reserve = (struct bng_reserve){&r, 1, 30, 20};
    w->settings.reserve = &w->reserve;
    bng_engine_free(w->e);
    start(w);
    connect_up(w);
    disconnect(w);
    use(w, 0, 250);
    settle(w);
    later(w, 29);
    assert_int_equal(dom(w)->n_pools, 1);
    assert_false(bng_engine_local_mode(w->e));
    later(w, 1);
    assert_true(bng_engine_local_mode(w->e));
    assert_int_equal(dom(w)->n_pools, 2);
    const struct bng_pool *p = dom(w)->pools[1];
    assert_true(p->local);
    assert_string_equal(p->name, "home0-default-local-0000");
    use(w, 1, 200);
    settle(w);
    assert_int_equal(dom(w)->n_pools, 3); /* and another one */
    use(w, 2, 240);
    settle(w);
    assert_int_equal(dom(w)->n_pools, 3); /* the reserve is empty: no more, no fault */
    /* Back: remote pools come first, the local ones are drained after the delay. */
    connect_up(w);
    assert_true(w->full_syncs + w->digests > 0);
    assert_int_equal(dom(w)->pools[1]->phase, BNG_ACTIVE);
    assert_true(dom(w)->n_pools > 3);
    w->free_blocks = 60;
    later(w, 19);
    assert_int_equal(dom(w)->pools[1]->phase, BNG_ACTIVE);
    later(w, 1);
    assert_int_equal(dom(w)->pools[1]->phase, BNG_DRAINING);
    assert_int_equal(dom(w)->pools[2]->phase, BNG_ACTIVE); /* one after the other */
    use(w, 1, 0);
    settle(w);
    assert_null(strstr(dom(w)->pools[1]->name, "local-0000"));
    for (unsigned i = 0; i < 20 && dom(w)->n_pools > 2; i++) {
        for (size_t j = 0; j < dom(w)->n_pools; j++) {
            if (dom(w)->pools[j]->local && dom(w)->pools[j]->phase == BNG_DRAINING) {
                use(w, j, 0);
            }
        }
        later(w, 5);
    }
    for (size_t j = 0; j < dom(w)->n_pools; j++) {
        assert_false(dom(w)->pools[j]->local);
    }
    world_free(w);
}

/* proves: APM-070 APM-071 APM-072 APM-076 P-09 P-12 */
static void synchronisation(void **state) {
    struct world *w = world_new();
    connect_up(w);
    use(w, 0, 200);
    settle(w);
    assert_int_equal(dom(w)->n_pools, 2);
    assert_int_equal(w->digests, 0);
    disconnect(w);
    connect_up(w);
    assert_int_equal(w->digests, 1); /* an unchanged domain costs one message */
    assert_int_equal(w->full_syncs, 0);
    assert_int_equal(bng_engine_session(w->e), BNG_READY);
    w->digest_agrees = false;
    disconnect(w);
    connect_up(w);
    assert_int_equal(w->full_syncs, 1);
    w->domain[0] = '\0'; /* the manager has forgotten the domain */
    disconnect(w);
    connect_up(w);
    assert_int_equal(w->creates, 2);
    assert_int_equal(w->full_syncs, 2);
    assert_int_equal(dom(w)->n_pools, 2);
    w->digest_agrees = true;
    snprintf(w->verdict_conflict, sizeof w->verdict_conflict, "home0-default-0000");
    disconnect(w);
    w->free_blocks = 0;
    connect_up(w);
    w->verdict_conflict[0] = '\0';
    settle(w);
    assert_int_equal(dom(w)->n_pools, 1); /* idle: drained and removed at once */
    order(w, "r1", OPENAPMI__V1__ORDER_TYPE__ORDER_RESYNC, "", 0, 0, 0);
    settle(w);
    assert_int_equal(bng_engine_session(w->e), BNG_READY);
    world_free(w);
}

/* proves: P-05 APM-070 */
static void breaks_and_restarts(void **state) {
    struct world *w = world_new();
    connect_up(w);
    use(w, 0, 200);
    w->answering = false;
    settle(w);
    assert_true(dom(w)->alarm[BNG_APPORTION].in_flight);
    char id[BNG_ID_MAX];
    memcpy(id, dom(w)->alarm[BNG_APPORTION].id, sizeof id);
    later(w, 29);
    assert_int_equal(dom(w)->alarm[BNG_APPORTION].attempt, 1);
    later(w, 1); /* no answer: the same attempt again, for the stored answer */
    assert_int_equal(dom(w)->alarm[BNG_APPORTION].attempt, 1);
    uint64_t epoch = bng_engine_boot_epoch(w->e);
    uint32_t subnet = dom(w)->pools[0]->subnet_id;
    kill_9(w);
    w->answering = true;
    assert_true(bng_engine_boot_epoch(w->e) > epoch);
    assert_int_equal(dom(w)->n_pools, 1);
    assert_int_equal(dom(w)->pools[0]->subnet_id, subnet);
    assert_int_equal(dom(w)->apportion, 100);
    assert_string_equal(dom(w)->alarm[BNG_APPORTION].id, id);
    use(w, 0, 200);
    connect_up(w);
    assert_string_equal(w->last_id, id);
    assert_int_equal(w->last_attempt, 2); /* after a synchronisation: a new attempt */
    assert_int_equal(dom(w)->n_pools, 2);
    assert_int_equal(dom(w)->pools[1]->subnet_id, subnet + 1);
    /* An id that was used is never used again, also when its pool is gone. */
    order(w, "d1", OPENAPMI__V1__ORDER_TYPE__ORDER_SET_DRAIN, dom(w)->pools[1]->name, 0, 0, 0);
    settle(w);
    assert_int_equal(dom(w)->n_pools, 2); /* removed, and asked for anew */
    kill_9(w);
    assert_int_equal(dom(w)->pools[1]->subnet_id, subnet + 2);
    world_free(w);
}

/* proves: P-08 */
static void disk_full(void **state) {
    struct world *w = world_new();
    connect_up(w);
    w->disk_full = true;
    use(w, 0, 200);
    settle(w);
    assert_int_equal(dom(w)->n_pools, 1);
    assert_int_equal(w->alarms[1], 1); /* an attempt that can't be recorded is not made */
    w->disk_full = false;
    later(w, 2);
    assert_int_equal(dom(w)->n_pools, 2);
    world_free(w);
}

static void bad_messages(void **state) {
    struct world *w = world_new();
    connect_up(w);
    bng_engine_message(w->e, (const uint8_t *)"\xff\xff\xff", 3);
    assert_non_null(strstr(w->ended, "decoded"));
    assert_int_equal(dom(w)->n_pools, 1);
    /* A pool that overlaps one we have is refused by name. */
    manager_msg m = OPENAPMI__V1__MANAGER_MSG__INIT;
    Openapmi__V1__AlarmResponse r = OPENAPMI__V1__ALARM_RESPONSE__INIT;
    Openapmi__V1__Pool p = OPENAPMI__V1__POOL__INIT, *pp = &p;
    Openapmi__V1__Prefix x = OPENAPMI__V1__PREFIX__INIT;
    uint8_t a[4] = {10, 1, 0, 0};
    w->answering = false;
    use(w, 0, 200);
    bng_engine_tick(w->e);
    REPLY(m, ALARM_RESPONSE);
    m.alarm_response = &r;
    r.alarm_id = (char *)(uintptr_t)dom(w)->alarm[BNG_APPORTION].id;
    r.result = OPENAPMI__V1__ALARM_RESULT__ALARM_ACK;
    r.action = OPENAPMI__V1__ACTION__ADD_POOLS;
    r.add = &pp;
    r.n_add = 1;
    x.af = OPENAPMI__V1__ADDRESS_FAMILY__IPV4;
    x.address.data = a;
    x.address.len = 4;
    x.length = 23;
    p.prefix = &x;
    p.name = "other";
    w->answering = true;
    /* The engine numbers its messages from 1 in each session: find the open one. */
    for (uint64_t id = 1; id < 100 && w->results_refused == 0; id++) {
        answer(w, id, &m);
        deliver(w);
    }
    assert_int_equal(w->results_refused, 1);
    assert_non_null(strstr(w->last_result_text, "overlaps pool home0-default"));
    assert_int_equal(dom(w)->n_pools, 1);
    /* Names go into the state, Kea and FRR. */
    static char *const odd[] = {"a\x1b[2Jb", "line\nline", "\xC3\xA9", "\xE4", "del\x7f", ""};
    a[1] = 9;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        w->results_refused = 0;
        w->useless = true;
        clock_fake_advance(&w->clock, BNG_SETBACK_MAX_S * NS_PER_S);
        w->answering = false;
        bng_engine_tick(w->e);
        w->answering = true;
        p.name = odd[i];
        for (uint64_t id = 1; id < 100 && w->results_refused == 0; id++) {
            answer(w, id, &m);
            deliver(w);
        }
        assert_int_equal(w->results_refused, 1);
        assert_non_null(strstr(w->last_result_text, "pool names"));
        assert_int_equal(dom(w)->n_pools, 1);
    }
    /* Bytes at random: no fault, nothing changed. */
    struct rng rng;
    rng_seed(&rng, 42);
    for (int i = 0; i < 20000; i++) {
        uint8_t buf[64];
        size_t n = rng_below(&rng, sizeof buf);
        for (size_t j = 0; j < n; j++) {
            buf[j] = (uint8_t)rng_next(&rng);
        }
        bng_engine_message(w->e, buf, n);
    }
    assert_int_equal(dom(w)->n_pools, 1);
    world_free(w);
}

/* DHCP refuses a pool: its route goes first, then the manager hears why. */
static void refused_by_dhcp(void **state) {
    struct world *w = world_new();
    w->auto_apply = false;
    connect_up(w);
    bng_engine_routes_applied(w->e, bng_engine_generation(w->e));
    w->free_blocks = 0;
    bng_engine_pool_refused(w->e, dom(w)->pools[0]->subnet_id, "overlaps subnet 7 of Kea");
    bng_engine_dhcp_applied(w->e, bng_engine_generation(w->e));
    assert_int_equal(w->results, 0);
    bng_engine_routes_applied(w->e, bng_engine_generation(w->e));
    assert_int_equal(w->last_code, 3);
    assert_non_null(strstr(w->last_result_text, "subnet 7"));
    assert_int_equal(dom(w)->n_pools, 0);
    assert_false(w->block[0].taken);
    world_free(w);
}

/* What others say is kept, stored and told in one line of UTF-8: in other bytes it would not go
 * into the state, and the pool would be forgotten with it. */
static void refused_in_odd_words(void **state) {
    struct world *w = world_new();
    char words[3000] = "\xE4\x1b[31m\n";
    size_t at = strlen(words);
    for (int i = 0; i < 400; i++) {
        at += (size_t)snprintf(words + at, sizeof words - at, "%s",
                               i % 7 == 0 ? "-\xC3\xA9" : "\xC3\xA9\xE2\x82\xAC");
    }
    w->auto_apply = false;
    connect_up(w);
    bng_engine_routes_applied(w->e, bng_engine_generation(w->e));
    uint32_t subnet = dom(w)->pools[0]->subnet_id;
    bng_engine_pool_refused(w->e, subnet, words);
    kill_9(w);
    assert_int_equal(dom(w)->n_pools, 1);
    assert_int_equal(dom(w)->pools[0]->subnet_id, subnet);
    const char *kept = dom(w)->pools[0]->refused;
    assert_non_null(strstr(kept, "[31m"));
    for (size_t n; *kept != '\0'; kept += n) {
        n = text_printable(kept);
        assert_true(n > 0);
    }
    world_free(w);
}

/* A manager whose answers are of no use, and a Kea that takes no pool, are asked ever more seldom.
 */
static void answers_of_no_use(void **state) {
    struct world *w = world_new();
    connect_up(w);
    use(w, 0, 200);
    w->useless = true;
    uint64_t before = dom(w)->count.apportion_alarms;
    for (int s = 0; s < 300; s++) {
        later(w, 1);
    }
    assert_in_range(dom(w)->count.apportion_alarms - before, 5, 12); /* after 1, 2, 4 ... 60 s */
    w->useless = false;
    later(w, 60);
    assert_int_equal(dom(w)->n_pools, 2);
    world_free(w);
    w = world_new();
    w->auto_apply = false;
    connect_up(w);
    for (int s = 0; s < 300; s++) {
        for (size_t i = 0; i < dom(w)->n_pools; i++) {
            bng_engine_pool_refused(w->e, dom(w)->pools[i]->subnet_id, "no such interface");
        }
        apply(w);
        later(w, 1);
    }
    assert_in_range(dom(w)->count.apportion_alarms, 5, 12);
    world_free(w);
}

/* The public run of the specification (5.1) with this gateway's own way of counting: 544 users in
 * five pools, two of them idle. */
/* proves: APM-003 */
static void public_run(void **state) {
    struct world *w = world_new();
    w->profile[0].gateway_octet = 0;
    w->apportion = 200;
    w->reclaim = 457;
    w->hold_down = 60;
    connect_up(w);
    assert_int_equal(dom(w)->n_pools, 1);
    for (int i = 0; i < 10 && dom(w)->n_pools < 5; i++) {
        for (size_t j = 0; j < dom(w)->n_pools; j++) {
            use(w, j, 254);
        }
        settle(w);
    }
    assert_int_equal(dom(w)->n_pools, 5);
    use(w, 0, 254);
    use(w, 1, 0);
    use(w, 2, 254);
    use(w, 3, 36);
    use(w, 4, 0);
    assert_int_equal(bng_domain_free(dom(w)), 5 * 254 - 544);
    later(w, 1);
    later(w, 60);
    assert_int_equal(dom(w)->n_pools, 4);
    assert_int_equal(bng_domain_free(dom(w)), 472);
    later(w, 60);
    assert_int_equal(dom(w)->n_pools, 3);
    assert_int_equal(bng_domain_free(dom(w)), 218);
    later(w, 3600);
    assert_int_equal(dom(w)->n_pools, 3);
    assert_int_equal(dom(w)->count.allocations, 5);
    assert_int_equal(dom(w)->count.reclamations, 2);
    assert_int_equal(w->alarms[2], 2);
    assert_int_equal(w->alarms[3], 2);
    world_free(w);
}

/* More is asked for when subscribers come fast. */
/* proves: APM-050 */
static void set_up_rate(void **state) {
    struct world *w = world_new();
    w->profile[0].horizon_s = 300;
    connect_up(w);
    const struct bng_pool *p = dom(w)->pools[0];
    for (unsigned s = 1; s <= 15; s++) { /* 10 a second */
        clock_fake_advance(&w->clock, NS_PER_S);
        bng_engine_count(w->e, p->subnet_id, s * 10 > 152 ? 152 : s * 10, s * 10);
        bng_engine_counted(w->e);
        bng_engine_tick(w->e);
        deliver(w);
    }
    assert_int_equal(w->alarms[1], 1);
    bng_engine_count(w->e, p->subnet_id, 160, 160);
    bng_engine_counted(w->e);
    bng_engine_tick(w->e);
    assert_int_equal(w->alarms[1], 2);
    assert_true(w->last_wanted >= 3);
    world_free(w);
}

/* Anything in any order: whatever happens, the manager never has a prefix as free that the gateway
 * still uses, and in the end both have the same list. */
/* proves: APM-073 */
static void at_random(void **state) {
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct world *w = world_new();
        struct rng r;
        rng_seed(&r, seed);
        w->hold_down = 5;
        w->digest_agrees = false;
        connect_up(w);
        for (int step = 0; step < 400; step++) {
            switch (rng_below(&r, 10)) {
            case 0:
                if (w->up) {
                    disconnect(w);
                }
                break;
            case 1:
                kill_9(w);
                break;
            case 2:
                w->answering = !w->answering;
                break;
            case 3:
                w->free_blocks = w->free_blocks > 0 && rng_chance(&r, 50) ? w->free_blocks : 8;
                break;
            case 4:
                w->auto_apply = !w->auto_apply;
                break;
            case 5:
                clock_fake_advance(&w->clock, (int64_t)rng_below(&r, 120) * NS_PER_S);
                break;
            default:
                if (!w->up && w->answering) {
                    w->up = true;
                    w->swallowed = 0;
                    bng_engine_connected(w->e);
                }
                for (size_t i = 0; i < dom(w)->n_pools; i++) {
                    const struct bng_pool *p = dom(w)->pools[i];
                    uint64_t used = bng_pool_wants_drain(p) ? 0 : rng_below(&r, p->total);
                    if (bng_pool_wants_dhcp(p) && p->phase != BNG_ADD_DHCP) {
                        use(w, i, used);
                    }
                }
                break;
            }
            bng_engine_tick(w->e);
            if (rng_chance(&r, 80)) {
                deliver(w);
            }
            if (w->auto_apply) {
                apply(w);
            }
            for (size_t i = 0; i < dom(w)->n_pools; i++) {
                const struct bng_pool *p = dom(w)->pools[i];
                if (!w->block[p->prefix.addr.bytes[2]].taken) {
                    fail_msg("seed %llu step %d: %s is free at the manager and in phase %d here",
                             (unsigned long long)seed, step, p->name, (int)p->phase);
                }
            }
        }
        w->answering = w->auto_apply = true;
        w->free_blocks = 8;
        if (!w->up) {
            connect_up(w);
        }
        for (int i = 0; i < 20; i++) {
            later(w, 60);
            if (w->ended[0] != '\0') {
                w->ended[0] = '\0';
                disconnect(w);
                connect_up(w);
            }
        }
        if (w->swallowed > 0) { /* no connection loses messages and stays */
            disconnect(w);
            connect_up(w);
        }
        size_t taken = 0;
        for (unsigned i = 0; i < BLOCKS; i++) {
            taken += w->block[i].taken;
        }
        if (bng_engine_session(w->e) != BNG_READY || taken != dom(w)->n_pools) {
            fail_msg("seed %llu: session %d, %zu taken, %zu here", (unsigned long long)seed,
                     (int)bng_engine_session(w->e), taken, dom(w)->n_pools);
        }
        world_free(w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_totals),
        cmocka_unit_test(first_pool),
        cmocka_unit_test(threshold_edges),
        cmocka_unit_test(hold_down_of_the_last_pool),
        cmocka_unit_test(refused_and_retried),
        cmocka_unit_test(told_of_space),
        cmocka_unit_test(abated),
        cmocka_unit_test(drained_and_removed),
        cmocka_unit_test(window_and_manual),
        cmocka_unit_test(thresholds_refused),
        cmocka_unit_test(local_reserve),
        cmocka_unit_test(synchronisation),
        cmocka_unit_test(breaks_and_restarts),
        cmocka_unit_test(disk_full),
        cmocka_unit_test(bad_messages),
        cmocka_unit_test(refused_by_dhcp),
        cmocka_unit_test(refused_in_odd_words),
        cmocka_unit_test(answers_of_no_use),
        cmocka_unit_test(public_run),
        cmocka_unit_test(set_up_rate),
        cmocka_unit_test(at_random),
        cmocka_unit_test(removed_over_a_break),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
