// SPDX-License-Identifier: Apache-2.0
#include "bng/engine_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

typedef Openapmi__V1__EntityMsg entity_msg;

static void event(struct world *w, char c) {
    if (w->n_events + 1 < sizeof w->events) {
        w->events[w->n_events++] = c;
        w->events[w->n_events] = '\0';
    }
}

/* ------------------------------------------------------------ manager */

void world_answer(struct world *w, uint64_t to, manager_msg *m) {
    uint8_t *buf;
    m->in_reply_to = to;
    size_t n = openapmi__v1__manager_msg__get_packed_size(m);
    buf = mem_alloc(n + 1);
    openapmi__v1__manager_msg__pack(m, buf);
    assert_true(w->n_out < LOG_MAX);
    w->out[w->n_out++] = openapmi__v1__manager_msg__unpack(NULL, n, buf);
    mem_free(buf);
}

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
    world_answer(w, to, &m);
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
    world_answer(w, id, &m);
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
    world_answer(w, id, &m);
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
            world_answer(w, id, &m);
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
    world_answer(w, id, &m);
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
        world_answer(w, q->msg_id, &m);
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
        world_answer(w, q->msg_id, &m);
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
        world_answer(w, q->msg_id, &m);
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

void world_start(struct world *w) {
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
void world_kill(struct world *w) {
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
    world_start(w);
}

struct world *world_new(void) {
    struct world *w = MEM_NEW(struct world);
    clock_fake_init(&w->clock, T0 * NS_PER_S);
    w->n_profiles = 1;
    for (unsigned i = 0; i < 2; i++) {
        struct bng_profile *p = &w->profile[i];
        snprintf(p->name, sizeof p->name, "home%u", i);
        snprintf(p->routing_instance, sizeof p->routing_instance, "default");
        snprintf(p->partition, sizeof p->partition, "p");
        p->family = 4;
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
    world_start(w);
    return w;
}

void world_free(struct world *w) {
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

void world_deliver(struct world *w) {
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

void world_apply(struct world *w) {
    for (int i = 0; i < 4; i++) { /* route, DHCP, route again */
        bng_engine_routes_applied(w->e, bng_engine_generation(w->e));
        bng_engine_dhcp_applied(w->e, 4, bng_engine_generation(w->e));
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
void world_settle(struct world *w) {
    for (int i = 0; i < 40; i++) {
        bng_engine_tick(w->e);
        world_deliver(w);
        if (w->auto_apply) {
            world_apply(w);
        }
        recount(w);
    }
    w->n_events = w->n_events > LOG_MAX / 2 ? 0 : w->n_events;
}

void world_later(struct world *w, int64_t seconds) {
    clock_fake_advance(&w->clock, seconds * NS_PER_S);
    world_settle(w);
}

void world_connect(struct world *w) {
    w->up = true;
    w->swallowed = 0;
    bng_engine_connected(w->e);
    world_settle(w);
}

void world_disconnect(struct world *w) {
    w->up = false;
    for (size_t i = 0; i < w->n_out; i++) {
        openapmi__v1__manager_msg__free_unpacked(w->out[i], NULL);
    }
    w->n_out = 0;
    bng_engine_disconnected(w->e);
}

const struct bng_domain *world_domain(struct world *w) {
    return bng_engine_domain(w->e, 0);
}

/* Makes `used` addresses of the pool assigned. */
void world_use(struct world *w, size_t pool, uint64_t used) {
    bng_engine_count(w->e, world_domain(w)->pools[pool]->subnet_id, used,
                     world_domain(w)->pools[pool]->cumulative);
    bng_engine_counted(w->e);
}

void world_order(struct world *w, const char *id, Openapmi__V1__OrderType type, const char *pool,
                 uint64_t apportion, uint64_t reclaim, uint64_t revision) {
    manager_msg m = OPENAPMI__V1__MANAGER_MSG__INIT;
    Openapmi__V1__Order o = OPENAPMI__V1__ORDER__INIT;
    Openapmi__V1__Thresholds t = OPENAPMI__V1__THRESHOLDS__INIT;
    REPLY(m, ORDER);
    m.order = &o;
    o.order_id = (char *)(uintptr_t)id;
    o.type = type;
    o.domain = (char *)(uintptr_t)world_domain(w)->name;
    o.pool = (char *)(uintptr_t)pool;
    t.apportion = apportion;
    t.reclaim = reclaim;
    o.thresholds = &t;
    o.revision = revision;
    world_answer(w, 0, &m);
    world_deliver(w);
}
