// SPDX-License-Identifier: Apache-2.0
/* The gateway agent's own engine (agents/bng) against the service: the two ends of openapmi were
 * written apart, from proto/README.md; here they meet. Its back ends apply everything at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/list.h"
#include "base/logger.h"
#include "bng/engine.h"
#include "rig.h"

#include "pools/apmi.h"

struct message {
    struct list link;
    bool up;
    size_t n;
    uint8_t bytes[];
};

struct meeting {
    struct rig rig;
    struct bng_profile profile;
    struct bng_settings settings;
    struct bng_engine *e;
    struct apmi_session *session;
    struct list wire; /* struct message, both ways, in order */
    bool changed, ended;
    bool holding; /* the back ends don't act */
    char why[200];
    uint64_t used; /* subscribers */
};

static void push(struct meeting *m, bool up, const void *p, size_t n) {
    struct message *q = mem_alloc(sizeof *q + n);
    q->up = up;
    q->n = n;
    memcpy(q->bytes, p, n);
    list_append(&m->wire, &q->link);
}

static void host_send(void *arg, const uint8_t *p, size_t n) {
    push(arg, true, p, n);
}
static void host_end(void *arg, const char *why) {
    struct meeting *m = arg;
    m->ended = true;
    snprintf(m->why, sizeof m->why, "gateway: %s", why);
}
static void host_save(void *arg, const char *key, json_t *doc) {
    json_decref(doc);
}
static bool host_commit(void *arg) {
    return true;
}
static void host_changed(void *arg, bool urgent) {
    ((struct meeting *)arg)->changed = true;
}

static void tr_send(void *conn, const void *p, size_t n) {
    push(conn, false, p, n);
}
static void tr_end(void *conn, int code, const char *text) {
    struct meeting *m = conn;
    m->ended = true;
    snprintf(m->why, sizeof m->why, "manager: %d %s", code, text);
}
static void tr_released(void *conn) {
}
static const struct apmi_transport transport = {
    .send = tr_send, .end = tr_end, .released = tr_released};

/* Subscribers fill the pools that may be used; those of a draining one move. */
static void count(struct meeting *m) {
    const struct bng_domain *d = bng_engine_domain(m->e, 0);
    uint64_t left = m->used;
    for (size_t i = 0; i < d->n_pools; i++) {
        struct bng_pool *p = d->pools[i];
        uint64_t used = 0;
        if (p->phase == BNG_ACTIVE) {
            used = left < p->total ? left : p->total;
            left -= used;
        }
        bng_engine_count(m->e, p->subnet_id, used, p->cumulative);
    }
    bng_engine_counted(m->e);
}

static void deliver_one(struct meeting *m) {
    struct message *q = CONTAINER_OF(m->wire.next, struct message, link);
    list_remove(&q->link);
    if (q->up) {
        apmi_receive(m->session, q->bytes, q->n, rig_now(&m->rig));
        rig_step(&m->rig);
    } else {
        bng_engine_message(m->e, q->bytes, q->n);
    }
    mem_free(q);
    if (m->ended) {
        fail_msg("%s", m->why);
    }
}

static void apply(struct meeting *m) {
    uint64_t gen = bng_engine_generation(m->e);
    bng_engine_routes_applied(m->e, gen);
    bng_engine_dhcp_applied(m->e, 4, gen);
}

static void run(struct meeting *m, int seconds) {
    for (int s = 0; s < seconds; s++) {
        do {
            while (!list_empty(&m->wire)) {
                deliver_one(m);
            }
            m->changed = false;
            if (!m->holding) {
                apply(m);
            }
            count(m);
            bng_engine_tick(m->e);
        } while (m->changed || !list_empty(&m->wire));
        rig_pass(&m->rig, NS_PER_S);
        bng_engine_tick(m->e);
    }
}

static void connect_both(struct meeting *m) {
    struct apmi_peer peer = {.source = "test", .address = "192.0.2.1"};
    m->session = apmi_open(m->rig.core, &transport, m, &peer);
    bng_engine_connected(m->e);
}

static void disconnect_both(struct meeting *m) {
    while (!list_empty(&m->wire)) {
        struct message *q = CONTAINER_OF(m->wire.next, struct message, link);
        list_remove(&q->link);
        mem_free(q);
    }
    apmi_closed(m->session, "the line broke");
    rig_step(&m->rig);
    bng_engine_disconnected(m->e);
}

static void begin(struct meeting *m) {
    static const struct bng_host host_fns = {.send = host_send,
                                             .end_session = host_end,
                                             .save = host_save,
                                             .commit = host_commit,
                                             .changed = host_changed};
    struct bng_host host = host_fns;
    struct err e;
    memset(m, 0, sizeof *m);
    list_init(&m->wire);
    rig_open(&m->rig, INT64_C(1780000000));
    rig_profile(&m->rig, "p", 100, 400, ",\"hold-down\":5,\"auto-reclamation\":{}");
    rig_match(&m->rig, "bng1", "p");
    rig_partition(&m->rig, "metro", 16, 24, "{\"prefix\":\"10.1.0.0/20\"}");
    snprintf(m->profile.name, sizeof m->profile.name, "home");
    snprintf(m->profile.routing_instance, sizeof m->profile.routing_instance, "default");
    snprintf(m->profile.partition, sizeof m->profile.partition, "metro");
    m->profile.family = 4;
    m->profile.preferred_length = 24;
    m->profile.gateway_octet = 1;
    m->profile.lease_s = 60;
    snprintf(m->settings.system_id, sizeof m->settings.system_id, "bng1");
    m->settings.max_pools = 64;
    m->settings.routes = true;
    m->settings.first_subnet_id = 1;
    m->settings.profiles = &m->profile;
    m->settings.n_profiles = 1;
    host.arg = m;
    m->e = bng_engine_new(&m->rig.clock, &m->settings, &host);
    if (bng_engine_start(m->e, &e) != ERR_OK) {
        fail_msg("%s %s", e.path, e.text);
    }
    connect_both(m);
}

static void end(struct meeting *m) {
    disconnect_both(m);
    bng_engine_free(m->e);
    rig_verify(&m->rig);
    rig_close(&m->rig);
}

/* Both hold the same pools, active on both sides. */
static void agree(struct meeting *m, size_t pools) {
    const struct bng_domain *d = bng_engine_find(m->e, "home-default");
    struct entity *en = pools_entity(m->rig.pools, "bng1");
    assert_non_null(d);
    assert_int_equal(d->n_pools, pools);
    struct domain *md = entity_domain(en, "home-default");
    assert_int_equal(md ? md->n_pools : 0, pools);
    for (size_t i = 0; i < pools; i++) {
        struct pool *po = domain_pool_named(md, d->pools[i]->name);
        assert_non_null(po);
        struct ip_prefix px = pool_prefix(po);
        assert_true(ip_prefix_eq(&px, &d->pools[i]->prefix));
        assert_int_equal(po->state, POOL_ACTIVE);
        assert_int_equal(d->pools[i]->phase, BNG_ACTIVE);
    }
}

/* proves: APM-003 APM-031 APM-150 */
static void growth_and_shrinking(void **state) {
    struct meeting m;
    begin(&m);
    run(&m, 5);
    agree(&m, 1);
    m.used = 230;
    run(&m, 5);
    agree(&m, 2);
    m.used = 700;
    run(&m, 10);
    assert_true(bng_engine_domain(m.e, 0)->n_pools >= 4);
    m.used = 100;
    run(&m, 300);
    agree(&m, 1); /* two: 406 free, 400 wanted back; without one 153, above 100 */
    assert_true(m.rig.pools->stats.reclamations >= 1);
    end(&m);
}

/* proves: APM-070 APM-076 */
static void breaks_and_thresholds(void **state) {
    struct meeting m;
    begin(&m);
    m.used = 300;
    run(&m, 10);
    size_t n = bng_engine_domain(m.e, 0)->n_pools;
    uint64_t digests = m.rig.pools->stats.digests_equal;
    for (int i = 0; i < 3; i++) {
        disconnect_both(&m);
        run(&m, 2);
        connect_both(&m);
        run(&m, 5);
        agree(&m, n);
    }
    assert_true(m.rig.pools->stats.digests_equal > digests); /* a digest was enough */
    rig_profile(&m.rig, "p", 120, 600, ",\"hold-down\":5,\"auto-reclamation\":{}");
    run(&m, 5);
    assert_int_equal(bng_engine_domain(m.e, 0)->apportion, 120);
    assert_int_equal(bng_engine_domain(m.e, 0)->reclaim, 600);
    /* An alarm that nobody can satisfy, withdrawn when the need has passed. */
    rig_partition(&m.rig, "metro", 16, 24, "{\"prefix\":\"10.1.0.0/20\"}");
    m.used = 16 * 253;
    run(&m, 30);
    struct domain *md = entity_domain(pools_entity(m.rig.pools, "bng1"), "home-default");
    assert_non_null(md->alarms[ALARM_APPORTION]);
    m.used = 15 * 253 - 300;
    run(&m, 30);
    assert_null(md->alarms[ALARM_APPORTION]);
    end(&m);
}

/* The removal is ordered, the line breaks, the next synchronisation still lists the pool; it is
 * gone before the order comes again, or after. */
/* proves: P-14 P-17 */
static void a_removal_over_a_break(void **state) {
    for (int early = 0; early <= 1; early++) {
        struct meeting m;
        begin(&m);
        m.used = 300;
        run(&m, 10);
        const struct bng_domain *d = bng_engine_domain(m.e, 0);
        size_t n = d->n_pools;
        const struct bng_pool *p = d->pools[n - 1];
        m.used = 20;
        for (int i = 0; i < 60 && p->phase != BNG_DRAIN_SET; i++) {
            m.holding = true;
            run(&m, 1);
        }
        assert_int_equal(p->phase, BNG_DRAIN_SET);
        apply(&m);
        run(&m, 2);
        assert_int_equal(p->phase, BNG_REMOVE_DHCP);
        disconnect_both(&m);
        connect_both(&m);
        while (!d->synced) {
            deliver_one(&m);
        }
        assert_int_equal(d->n_pools, n);
        m.holding = false;
        if (early) {
            apply(&m);
            apply(&m);
            assert_int_equal(d->n_pools, n - 1);
        }
        m.used = 300; /* no further reclamation */
        run(&m, 5);
        agree(&m, d->n_pools);
        assert_int_equal(m.rig.pools->stats.reclamations, 1);
        end(&m);
    }
}

int main(void) {
    logger_set_level(NULL, getenv("SIM_LOG") ? "info" : "error");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(growth_and_shrinking),
        cmocka_unit_test(breaks_and_thresholds),
        cmocka_unit_test(a_removal_over_a_break),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
