// SPDX-License-Identifier: Apache-2.0
/* The engine in the world of engine_world.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/text.h"
#include "bng/engine_world.h"

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
    world_connect(w);
    assert_int_equal(w->creates, 1);
    assert_int_equal(w->alarms[OPENAPMI__V1__ALARM_TYPE__APPORTION], 1);
    assert_int_equal(w->last_attempt, 1);
    assert_int_equal(w->last_wanted, 1);
    assert_int_equal(world_domain(w)->apportion, 100);
    assert_int_equal(world_domain(w)->n_pools, 1);
    const struct bng_pool *p = world_domain(w)->pools[0];
    assert_string_equal(p->name, "home0-default");
    assert_int_equal(p->total, 253);
    assert_true(w->urgent > 0);
    /* Announced first, then given out, then confirmed. */
    assert_true(bng_pool_wants_route(p));
    assert_false(bng_pool_wants_dhcp(p));
    assert_int_equal(w->results, 0);
    uint64_t early = bng_engine_generation(w->e);
    bng_engine_dhcp_applied(w->e, 4, early);
    assert_int_equal(p->phase, BNG_ADD_ROUTE);
    bng_engine_routes_applied(w->e, early);
    assert_true(bng_pool_wants_dhcp(p));
    bng_engine_dhcp_applied(w->e, 4, early); /* of before: says nothing about this step */
    assert_int_equal(p->phase, BNG_ADD_DHCP);
    bng_engine_dhcp_applied(w->e, 4, bng_engine_generation(w->e));
    assert_int_equal(p->phase, BNG_ACTIVE);
    assert_int_equal(w->results, 1);
    assert_int_equal(w->last_code, 0);
    assert_string_equal(w->last_result_id, w->last_id);
    assert_int_equal(bng_domain_free(world_domain(w)), 253);
    world_free(w);
}

/* proves: APM-002 APM-050 APM-054 V3 */
static void threshold_edges(void **state) {
    struct world *w = world_new();
    world_connect(w);
    w->free_blocks = 0;
    w->hold_down = 1;
    assert_int_equal(w->alarms[1], 1);
    world_use(w, 0, 253 - 101);
    world_settle(w);
    assert_int_equal(w->alarms[1], 1); /* none at threshold + 1 */
    world_use(w, 0, 253 - 100);
    world_settle(w);
    assert_int_equal(w->alarms[1], 2); /* at the threshold */
    world_free(w);

    w = world_new();
    w->reclaim = 406;
    world_connect(w);
    world_use(w, 0, 200);
    world_settle(w);
    assert_int_equal(world_domain(w)->n_pools, 2);
    assert_int_equal(bng_domain_free(world_domain(w)), 306);
    world_use(w, 0, 101);
    world_later(w, 3600);
    assert_int_equal(bng_domain_free(world_domain(w)), 405);
    assert_int_equal(w->alarms[2], 0); /* none at threshold - 1 */
    world_use(w, 0, 100);
    world_settle(w);
    world_later(w, 59);
    assert_int_equal(w->alarms[2], 0); /* hold-down */
    world_later(w, 1);
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
    world_connect(w);
    world_later(w, 59);
    assert_int_equal(w->alarms[2], 0);
    world_later(w, 1); /* one more hold-down: 2 x 30 s */
    assert_int_equal(w->alarms[2], 1);
    assert_int_equal(w->alarms[3], 1);
    assert_int_equal(world_domain(w)->n_pools, 0);
    assert_int_equal(w->deletes, 1);
    assert_int_equal(w->free_blocks, BLOCKS);
    world_later(w, 600);
    assert_int_equal(w->creates, 1);
    bng_engine_demand(w->e, 4, "e0");
    world_settle(w);
    assert_int_equal(w->creates, 2);
    assert_int_equal(world_domain(w)->n_pools, 1);
    world_free(w);

    w = world_new(); /* a surplus that does not last raises nothing */
    w->hold_down = 30;
    world_connect(w);
    world_use(w, 0, 200);
    world_settle(w);
    world_use(w, 0, 10);
    world_settle(w);
    world_later(w, 29);
    world_use(w, 0, 200);
    world_settle(w);
    world_use(w, 0, 10);
    world_settle(w);
    world_later(w, 29);
    assert_int_equal(w->alarms[2], 0);
    world_later(w, 1);
    assert_int_equal(w->alarms[2], 1);
    world_free(w);
}

/* proves: APM-052 P-05 P-06 */
static void refused_and_retried(void **state) {
    struct world *w = world_new();
    w->free_blocks = 1;
    world_connect(w);
    world_use(w, 0, 163); /* 90 free */
    world_settle(w);
    assert_int_equal(w->alarms[1], 2);
    char id[BNG_ID_MAX];
    memcpy(id, w->last_id, sizeof id);
    world_later(w, 899);
    assert_int_equal(w->alarms[1], 2);
    world_later(w, 1);
    assert_int_equal(w->alarms[1], 3);
    assert_string_equal(w->last_id, id); /* the same alarm, the second attempt */
    assert_int_equal(w->last_attempt, 2);
    world_use(w, 0, 207); /* 46: worse, but not halved */
    world_later(w, 2);
    assert_int_equal(w->alarms[1], 3);
    world_use(w, 0, 208); /* 45: halved */
    world_later(w, 2);
    assert_int_equal(w->alarms[1], 4);
    assert_int_equal(w->last_attempt, 3);
    assert_string_equal(world_domain(w)->alarm[BNG_APPORTION].id, id);
    /* T3: the retry is satisfied. */
    w->free_blocks = 5;
    world_later(w, 900);
    assert_int_equal(world_domain(w)->n_pools, 2);
    assert_false(world_domain(w)->alarm[BNG_APPORTION].raised);
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
    world_answer(w, 0, &m);
    world_settle(w);
}

/* proves: APM-052 P-22 */
static void told_of_space(void **state) {
    struct world *w = world_new();
    w->free_blocks = 1;
    world_connect(w);
    world_use(w, 0, 163);
    world_settle(w);
    assert_int_equal(w->alarms[1], 2);
    char id[BNG_ID_MAX];
    memcpy(id, w->last_id, sizeof id);
    world_later(w, 10);
    w->free_blocks = 5;
    int64_t now = clock_wall_s(&w->clock);
    tell_again(w, "another/1/1", now);
    tell_again(w, id, now + 5000); /* that would put it off */
    assert_int_equal(w->alarms[1], 2);
    tell_again(w, id, now - 3);
    assert_int_equal(w->alarms[1], 3);
    assert_string_equal(w->last_id, id);
    assert_int_equal(w->last_attempt, 2);
    assert_int_equal(world_domain(w)->n_pools, 2);
    tell_again(w, id, now); /* over meanwhile */
    assert_int_equal(w->alarms[1], 3);
    world_free(w);
}

/* proves: APM-060 APM-059 */
static void abated(void **state) {
    struct world *w = world_new();
    w->free_blocks = 1;
    world_connect(w);
    world_use(w, 0, 200);
    world_settle(w);
    assert_int_equal(w->alarms[1], 2);
    char id[BNG_ID_MAX];
    memcpy(id, w->last_id, sizeof id);
    world_use(w, 0, 20);
    world_settle(w);
    assert_int_equal(w->alarms[OPENAPMI__V1__ALARM_TYPE__ABATE], 1);
    assert_string_equal(w->last_id, id);
    assert_int_equal(w->last_attempt, 2);
    assert_int_equal(world_domain(w)->count.abatements, 1);
    world_use(w, 0, 200);
    world_settle(w);
    assert_int_equal(w->alarms[1], 3);
    assert_string_not_equal(w->last_id, id); /* a new one */
    world_free(w);
}

/* proves: APM-057 APM-080 APM-081 APM-151 P-14 */
static void drained_and_removed(void **state) {
    struct world *w = world_new();
    w->hold_down = 1;
    world_connect(w);
    world_use(w, 0, 200);
    world_settle(w);
    assert_int_equal(world_domain(w)->n_pools, 2);
    world_use(w, 0, 30);
    world_use(w, 1, 5);
    w->auto_apply = false;
    world_later(w, 1);
    assert_int_equal(w->alarms[2], 0);
    world_later(w, 1);
    assert_int_equal(w->alarms[2], 1);
    const struct bng_pool *p = world_domain(w)->pools[1];
    assert_int_equal(p->phase, BNG_DRAIN_SET);
    assert_true(bng_pool_wants_drain(p));
    uint64_t results = w->results;
    bng_engine_dhcp_applied(w->e, 4, bng_engine_generation(w->e));
    assert_int_equal(p->phase, BNG_DRAINING);
    assert_int_equal(w->results, results + 1);
    assert_int_equal(bng_domain_free(world_domain(w)), 223); /* what drains can't be used */
    world_later(w, 100);
    assert_int_equal(w->alarms[3], 0);
    world_use(w, 1, 0); /* the last subscriber has moved */
    world_settle(w);
    assert_int_equal(w->alarms[3], 1);
    assert_string_equal(w->last_candidate, "home0-default-0000");
    assert_int_equal(p->phase, BNG_REMOVE_DHCP);
    results = w->results;
    bng_engine_dhcp_applied(w->e, 4, bng_engine_generation(w->e));
    assert_int_equal(p->phase, BNG_REMOVE_ROUTE);
    assert_true(w->block[1].taken);
    assert_int_equal(w->results, results); /* still announced: not yet the manager's */
    bng_engine_routes_applied(w->e, bng_engine_generation(w->e));
    assert_int_equal(w->results, results + 1);
    assert_false(w->block[1].taken);
    assert_int_equal(world_domain(w)->n_pools, 1);
    assert_int_equal(world_domain(w)->count.reclamations, 1);
    world_free(w);
}

/* A removal whose session broke ends in the next one, which listed the pool and has no order about
 * it: the manager is told by a list without it, but not while an answer may bring another pool. */
/* proves: P-14 P-17 */
static void removed_over_a_break(void **state) {
    struct world *w = world_new();
    w->hold_down = 1;
    world_connect(w);
    world_use(w, 0, 200);
    world_settle(w);
    world_use(w, 0, 30);
    w->auto_apply = false;
    world_later(w, 1);
    world_later(w, 1);
    bng_engine_dhcp_applied(w->e, 4, bng_engine_generation(w->e));
    world_settle(w);
    assert_int_equal(world_domain(w)->n_pools, 2);
    assert_int_equal(world_domain(w)->pools[1]->phase, BNG_REMOVE_DHCP);
    world_kill(w);
    w->full_syncs = 0;
    world_connect(w);
    assert_int_equal(bng_engine_session(w->e), BNG_READY);
    assert_int_equal(world_domain(w)->n_pools, 2);
    world_use(w, 0, 200);
    bng_engine_tick(w->e); /* short: the alarm is answered, the answer is under way */
    assert_true(world_domain(w)->alarm[BNG_APPORTION].in_flight);
    world_apply(w);
    bng_engine_tick(w->e);
    assert_int_equal(world_domain(w)->n_pools, 1);
    assert_int_equal(w->full_syncs, 0);
    assert_true(w->block[1].taken && w->block[2].taken);
    world_settle(w);
    assert_int_equal(w->full_syncs, 1);
    assert_int_equal(world_domain(w)->n_pools, 2);
    assert_false(w->block[1].taken);
    assert_true(w->block[2].taken);
    /* The order said again when it is done already; what is not durable is not done. */
    world_order(w, "o1", OPENAPMI__V1__ORDER_TYPE__ORDER_REMOVE_POOL, "home0-default-0000", 0, 0,
                0);
    assert_string_equal(w->last_result_id, "o1");
    assert_int_equal(w->last_code, 0);
    w->disk_full = true;
    world_order(w, "t1", OPENAPMI__V1__ORDER_TYPE__ORDER_UPDATE_THRESHOLDS, "", 50, 200, 11);
    world_order(w, "o2", OPENAPMI__V1__ORDER_TYPE__ORDER_REMOVE_POOL, "home0-default-0000", 0, 0,
                0);
    assert_string_equal(w->last_result_id, "o2");
    assert_int_equal(w->last_code, 14);
    w->disk_full = false;
    world_settle(w);
    assert_int_equal(w->full_syncs, 1);
    world_free(w);
}

/* proves: APM-056 APM-058 APM-087 */
static void window_and_manual(void **state) {
    struct world *w = world_new();
    w->hold_down = 1;
    w->window_closed = true;
    w->retry_at = T0 + 5000;
    world_connect(w);
    world_use(w, 0, 200);
    world_settle(w);
    world_use(w, 0, 30);
    world_later(w, 1);
    world_later(w, 1);
    assert_int_equal(w->alarms[2], 1);
    world_later(w, 4996);
    assert_int_equal(w->alarms[2], 1);
    w->window_closed = false;
    w->auto_reclaim = false;
    world_later(w, 2);
    assert_int_equal(w->alarms[2], 2);
    assert_true(world_domain(w)->alarm[BNG_RECLAIM].pending);
    world_later(w, 10000);
    assert_int_equal(w->alarms[2], 2); /* waits for the operator */
    world_order(w, "o1", OPENAPMI__V1__ORDER_TYPE__ORDER_SET_DRAIN, "home0-default", 0, 0, 0);
    world_settle(w);
    assert_string_equal(w->last_result_id, "o1");
    assert_int_equal(world_domain(w)->pools[0]->phase, BNG_DRAINING);
    assert_int_equal(w->alarms[4], 0);
    world_order(w, "o1", OPENAPMI__V1__ORDER_TYPE__ORDER_SET_DRAIN, "home0-default", 0, 0, 0);
    assert_int_equal(w->last_code, 0); /* said twice: the same answer */
    world_order(w, "o2", OPENAPMI__V1__ORDER_TYPE__ORDER_REMOVE_POOL, "home0-default", 0, 0, 0);
    assert_int_equal(w->last_code, 9);
    assert_non_null(strstr(w->last_result_text, "30 addresses in use"));
    world_order(w, "o3", OPENAPMI__V1__ORDER_TYPE__ORDER_CLEAR_DRAIN, "home0-default", 0, 0, 0);
    world_settle(w);
    assert_string_equal(w->last_result_id, "o3");
    assert_int_equal(world_domain(w)->pools[0]->phase, BNG_ACTIVE);
    world_order(w, "o4", OPENAPMI__V1__ORDER_TYPE__ORDER_SET_DRAIN, "nope", 0, 0, 0);
    assert_int_equal(w->last_code, 5);
    world_free(w);
}

/* proves: P-10 APM-059 */
static void thresholds_refused(void **state) {
    struct world *w = world_new();
    w->profile[0].max_apportion = 500;
    world_connect(w);
    world_order(w, "t1", OPENAPMI__V1__ORDER_TYPE__ORDER_UPDATE_THRESHOLDS, "", 120, 500, 7);
    assert_int_equal(w->last_code, 0);
    assert_int_equal(w->last_revision, 7);
    assert_int_equal(world_domain(w)->apportion, 120);
    world_order(w, "t2", OPENAPMI__V1__ORDER_TYPE__ORDER_UPDATE_THRESHOLDS, "", 501, 900, 8);
    assert_int_equal(w->last_code, 9);
    assert_int_equal(w->last_revision, 8);
    assert_non_null(strstr(w->last_result_text, "max-apportion-threshold 500"));
    assert_int_equal(world_domain(w)->apportion, 120);
    w->profile[0].max_apportion = 0;
    world_order(w, "t3", OPENAPMI__V1__ORDER_TYPE__ORDER_UPDATE_THRESHOLDS, "", 32 * 253, 9000, 9);
    assert_int_equal(w->last_code, 9);
    assert_non_null(strstr(w->last_result_text, "pool table"));
    world_order(w, "t4", OPENAPMI__V1__ORDER_TYPE__ORDER_UPDATE_THRESHOLDS, "", 200, 200, 10);
    assert_int_equal(w->last_code, 9);
    world_order(w, "t5", OPENAPMI__V1__ORDER_TYPE__ORDER_UPDATE_THRESHOLDS, "", 50, 200, 6);
    assert_int_equal(w->last_code, 9); /* older than what is in force */
    w->disk_full = true;
    world_order(w, "t6", OPENAPMI__V1__ORDER_TYPE__ORDER_UPDATE_THRESHOLDS, "", 50, 200, 11);
    assert_int_equal(w->last_code, 14);
    assert_int_equal(world_domain(w)->apportion, 120);
    w->disk_full = false;
    world_order(w, "t7", OPENAPMI__V1__ORDER_TYPE__ORDER_UPDATE_THRESHOLDS, "", 50, 200, 11);
    assert_int_equal(w->last_code, 0);
    assert_int_equal(world_domain(w)->apportion, 50);
    world_free(w);
}

/* proves: APM-152 P-11 */
static void local_reserve(void **state) {
    struct world *w = world_new();
    struct ip_prefix r = ip4_prefix(0x0afe0000, 23);
    w->reserve = (struct bng_reserve){&r, 1, 30, 20};
    w->settings.reserve = &w->reserve;
    bng_engine_free(w->e);
    world_start(w);
    world_connect(w);
    world_disconnect(w);
    world_use(w, 0, 250);
    world_settle(w);
    world_later(w, 29);
    assert_int_equal(world_domain(w)->n_pools, 1);
    assert_false(bng_engine_local_mode(w->e));
    world_later(w, 1);
    assert_true(bng_engine_local_mode(w->e));
    assert_int_equal(world_domain(w)->n_pools, 2);
    const struct bng_pool *p = world_domain(w)->pools[1];
    assert_true(p->local);
    assert_string_equal(p->name, "home0-default-local-0000");
    world_use(w, 1, 200);
    world_settle(w);
    assert_int_equal(world_domain(w)->n_pools, 3); /* and another one */
    world_use(w, 2, 240);
    world_settle(w);
    assert_int_equal(world_domain(w)->n_pools, 3); /* the reserve is empty: no more, no fault */
    /* Back: remote pools come first, the local ones are drained after the delay. */
    world_connect(w);
    assert_true(w->full_syncs + w->digests > 0);
    assert_int_equal(world_domain(w)->pools[1]->phase, BNG_ACTIVE);
    assert_true(world_domain(w)->n_pools > 3);
    w->free_blocks = 60;
    world_later(w, 19);
    assert_int_equal(world_domain(w)->pools[1]->phase, BNG_ACTIVE);
    world_later(w, 1);
    assert_int_equal(world_domain(w)->pools[1]->phase, BNG_DRAINING);
    assert_int_equal(world_domain(w)->pools[2]->phase, BNG_ACTIVE); /* one after the other */
    world_use(w, 1, 0);
    world_settle(w);
    assert_null(strstr(world_domain(w)->pools[1]->name, "local-0000"));
    for (unsigned i = 0; i < 20 && world_domain(w)->n_pools > 2; i++) {
        for (size_t j = 0; j < world_domain(w)->n_pools; j++) {
            if (world_domain(w)->pools[j]->local &&
                world_domain(w)->pools[j]->phase == BNG_DRAINING) {
                world_use(w, j, 0);
            }
        }
        world_later(w, 5);
    }
    for (size_t j = 0; j < world_domain(w)->n_pools; j++) {
        assert_false(world_domain(w)->pools[j]->local);
    }
    world_free(w);
}

/* proves: APM-070 APM-071 APM-072 APM-076 P-09 P-12 */
static void synchronisation(void **state) {
    struct world *w = world_new();
    world_connect(w);
    world_use(w, 0, 200);
    world_settle(w);
    assert_int_equal(world_domain(w)->n_pools, 2);
    assert_int_equal(w->digests, 0);
    world_disconnect(w);
    world_connect(w);
    assert_int_equal(w->digests, 1); /* an unchanged domain costs one message */
    assert_int_equal(w->full_syncs, 0);
    assert_int_equal(bng_engine_session(w->e), BNG_READY);
    w->digest_agrees = false;
    world_disconnect(w);
    world_connect(w);
    assert_int_equal(w->full_syncs, 1);
    w->domain[0] = '\0'; /* the manager has forgotten the domain */
    world_disconnect(w);
    world_connect(w);
    assert_int_equal(w->creates, 2);
    assert_int_equal(w->full_syncs, 2);
    assert_int_equal(world_domain(w)->n_pools, 2);
    w->digest_agrees = true;
    snprintf(w->verdict_conflict, sizeof w->verdict_conflict, "home0-default-0000");
    world_disconnect(w);
    w->free_blocks = 0;
    world_connect(w);
    w->verdict_conflict[0] = '\0';
    world_settle(w);
    assert_int_equal(world_domain(w)->n_pools, 1); /* idle: drained and removed at once */
    world_order(w, "r1", OPENAPMI__V1__ORDER_TYPE__ORDER_RESYNC, "", 0, 0, 0);
    world_settle(w);
    assert_int_equal(bng_engine_session(w->e), BNG_READY);
    world_free(w);
}

/* proves: P-05 APM-070 */
static void breaks_and_restarts(void **state) {
    struct world *w = world_new();
    world_connect(w);
    world_use(w, 0, 200);
    w->answering = false;
    world_settle(w);
    assert_true(world_domain(w)->alarm[BNG_APPORTION].in_flight);
    char id[BNG_ID_MAX];
    memcpy(id, world_domain(w)->alarm[BNG_APPORTION].id, sizeof id);
    world_later(w, 29);
    assert_int_equal(world_domain(w)->alarm[BNG_APPORTION].attempt, 1);
    world_later(w, 1); /* no answer: the same attempt again, for the stored answer */
    assert_int_equal(world_domain(w)->alarm[BNG_APPORTION].attempt, 1);
    uint64_t epoch = bng_engine_boot_epoch(w->e);
    uint32_t subnet = world_domain(w)->pools[0]->subnet_id;
    world_kill(w);
    w->answering = true;
    assert_true(bng_engine_boot_epoch(w->e) > epoch);
    assert_int_equal(world_domain(w)->n_pools, 1);
    assert_int_equal(world_domain(w)->pools[0]->subnet_id, subnet);
    assert_int_equal(world_domain(w)->apportion, 100);
    assert_string_equal(world_domain(w)->alarm[BNG_APPORTION].id, id);
    world_use(w, 0, 200);
    world_connect(w);
    assert_string_equal(w->last_id, id);
    assert_int_equal(w->last_attempt, 2); /* after a synchronisation: a new attempt */
    assert_int_equal(world_domain(w)->n_pools, 2);
    assert_int_equal(world_domain(w)->pools[1]->subnet_id, subnet + 1);
    /* An id that was used is never used again, also when its pool is gone. */
    world_order(w, "d1", OPENAPMI__V1__ORDER_TYPE__ORDER_SET_DRAIN, world_domain(w)->pools[1]->name,
                0, 0, 0);
    world_settle(w);
    assert_int_equal(world_domain(w)->n_pools, 2); /* removed, and asked for anew */
    world_kill(w);
    assert_int_equal(world_domain(w)->pools[1]->subnet_id, subnet + 2);
    world_free(w);
}

/* proves: P-08 */
static void disk_full(void **state) {
    struct world *w = world_new();
    world_connect(w);
    w->disk_full = true;
    world_use(w, 0, 200);
    world_settle(w);
    assert_int_equal(world_domain(w)->n_pools, 1);
    assert_int_equal(w->alarms[1], 1); /* an attempt that can't be recorded is not made */
    w->disk_full = false;
    world_later(w, 2);
    assert_int_equal(world_domain(w)->n_pools, 2);
    world_free(w);
}

static void bad_messages(void **state) {
    struct world *w = world_new();
    world_connect(w);
    bng_engine_message(w->e, (const uint8_t *)"\xff\xff\xff", 3);
    assert_non_null(strstr(w->ended, "decoded"));
    assert_int_equal(world_domain(w)->n_pools, 1);
    /* A pool that overlaps one we have is refused by name. */
    manager_msg m = OPENAPMI__V1__MANAGER_MSG__INIT;
    Openapmi__V1__AlarmResponse r = OPENAPMI__V1__ALARM_RESPONSE__INIT;
    Openapmi__V1__Pool p = OPENAPMI__V1__POOL__INIT, *pp = &p;
    Openapmi__V1__Prefix x = OPENAPMI__V1__PREFIX__INIT;
    uint8_t a[4] = {10, 1, 0, 0};
    w->answering = false;
    world_use(w, 0, 200);
    bng_engine_tick(w->e);
    REPLY(m, ALARM_RESPONSE);
    m.alarm_response = &r;
    r.alarm_id = (char *)(uintptr_t)world_domain(w)->alarm[BNG_APPORTION].id;
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
        world_answer(w, id, &m);
        world_deliver(w);
    }
    assert_int_equal(w->results_refused, 1);
    assert_non_null(strstr(w->last_result_text, "overlaps pool home0-default"));
    assert_int_equal(world_domain(w)->n_pools, 1);
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
            world_answer(w, id, &m);
            world_deliver(w);
        }
        assert_int_equal(w->results_refused, 1);
        assert_non_null(strstr(w->last_result_text, "pool names"));
        assert_int_equal(world_domain(w)->n_pools, 1);
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
    assert_int_equal(world_domain(w)->n_pools, 1);
    world_free(w);
}

/* DHCP refuses a pool: its route goes first, then the manager hears why. */
static void refused_by_dhcp(void **state) {
    struct world *w = world_new();
    w->auto_apply = false;
    world_connect(w);
    bng_engine_routes_applied(w->e, bng_engine_generation(w->e));
    w->free_blocks = 0;
    bng_engine_pool_refused(w->e, world_domain(w)->pools[0]->subnet_id, "overlaps subnet 7 of Kea");
    bng_engine_dhcp_applied(w->e, 4, bng_engine_generation(w->e));
    assert_int_equal(w->results, 0);
    bng_engine_routes_applied(w->e, bng_engine_generation(w->e));
    assert_int_equal(w->last_code, 3);
    assert_non_null(strstr(w->last_result_text, "subnet 7"));
    assert_int_equal(world_domain(w)->n_pools, 0);
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
    world_connect(w);
    bng_engine_routes_applied(w->e, bng_engine_generation(w->e));
    uint32_t subnet = world_domain(w)->pools[0]->subnet_id;
    bng_engine_pool_refused(w->e, subnet, words);
    world_kill(w);
    assert_int_equal(world_domain(w)->n_pools, 1);
    assert_int_equal(world_domain(w)->pools[0]->subnet_id, subnet);
    const char *kept = world_domain(w)->pools[0]->refused;
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
    world_connect(w);
    world_use(w, 0, 200);
    w->useless = true;
    uint64_t before = world_domain(w)->count.apportion_alarms;
    for (int s = 0; s < 300; s++) {
        world_later(w, 1);
    }
    assert_in_range(world_domain(w)->count.apportion_alarms - before, 5,
                    12); /* after 1, 2, 4 ... 60 s */
    w->useless = false;
    world_later(w, 60);
    assert_int_equal(world_domain(w)->n_pools, 2);
    world_free(w);
    w = world_new();
    w->auto_apply = false;
    world_connect(w);
    for (int s = 0; s < 300; s++) {
        for (size_t i = 0; i < world_domain(w)->n_pools; i++) {
            bng_engine_pool_refused(w->e, world_domain(w)->pools[i]->subnet_id,
                                    "no such interface");
        }
        world_apply(w);
        world_later(w, 1);
    }
    assert_in_range(world_domain(w)->count.apportion_alarms, 5, 12);
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
    world_connect(w);
    assert_int_equal(world_domain(w)->n_pools, 1);
    for (int i = 0; i < 10 && world_domain(w)->n_pools < 5; i++) {
        for (size_t j = 0; j < world_domain(w)->n_pools; j++) {
            world_use(w, j, 254);
        }
        world_settle(w);
    }
    assert_int_equal(world_domain(w)->n_pools, 5);
    world_use(w, 0, 254);
    world_use(w, 1, 0);
    world_use(w, 2, 254);
    world_use(w, 3, 36);
    world_use(w, 4, 0);
    assert_int_equal(bng_domain_free(world_domain(w)), 5 * 254 - 544);
    world_later(w, 1);
    world_later(w, 60);
    assert_int_equal(world_domain(w)->n_pools, 4);
    assert_int_equal(bng_domain_free(world_domain(w)), 472);
    world_later(w, 60);
    assert_int_equal(world_domain(w)->n_pools, 3);
    assert_int_equal(bng_domain_free(world_domain(w)), 218);
    world_later(w, 3600);
    assert_int_equal(world_domain(w)->n_pools, 3);
    assert_int_equal(world_domain(w)->count.allocations, 5);
    assert_int_equal(world_domain(w)->count.reclamations, 2);
    assert_int_equal(w->alarms[2], 2);
    assert_int_equal(w->alarms[3], 2);
    world_free(w);
}

/* More is asked for when subscribers come fast. */
/* proves: APM-050 */
static void set_up_rate(void **state) {
    struct world *w = world_new();
    w->profile[0].horizon_s = 300;
    world_connect(w);
    const struct bng_pool *p = world_domain(w)->pools[0];
    for (unsigned s = 1; s <= 15; s++) { /* 10 a second */
        clock_fake_advance(&w->clock, NS_PER_S);
        bng_engine_count(w->e, p->subnet_id, s * 10 > 152 ? 152 : s * 10, s * 10);
        bng_engine_counted(w->e);
        bng_engine_tick(w->e);
        world_deliver(w);
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
        world_connect(w);
        for (int step = 0; step < 400; step++) {
            switch (rng_below(&r, 10)) {
            case 0:
                if (w->up) {
                    world_disconnect(w);
                }
                break;
            case 1:
                world_kill(w);
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
                for (size_t i = 0; i < world_domain(w)->n_pools; i++) {
                    const struct bng_pool *p = world_domain(w)->pools[i];
                    uint64_t used = bng_pool_wants_drain(p) ? 0 : rng_below(&r, p->total);
                    if (bng_pool_wants_dhcp(p) && p->phase != BNG_ADD_DHCP) {
                        world_use(w, i, used);
                    }
                }
                break;
            }
            bng_engine_tick(w->e);
            if (rng_chance(&r, 80)) {
                world_deliver(w);
            }
            if (w->auto_apply) {
                world_apply(w);
            }
            for (size_t i = 0; i < world_domain(w)->n_pools; i++) {
                const struct bng_pool *p = world_domain(w)->pools[i];
                if (!w->block[p->prefix.addr.bytes[2]].taken) {
                    fail_msg("seed %llu step %d: %s is free at the manager and in phase %d here",
                             (unsigned long long)seed, step, p->name, (int)p->phase);
                }
            }
        }
        w->answering = w->auto_apply = true;
        w->free_blocks = 8;
        if (!w->up) {
            world_connect(w);
        }
        for (int i = 0; i < 20; i++) {
            world_later(w, 60);
            if (w->ended[0] != '\0') {
                w->ended[0] = '\0';
                world_disconnect(w);
                world_connect(w);
            }
        }
        if (w->swallowed > 0) { /* no connection loses messages and stays */
            world_disconnect(w);
            world_connect(w);
        }
        size_t taken = 0;
        for (unsigned i = 0; i < BLOCKS; i++) {
            taken += w->block[i].taken;
        }
        if (bng_engine_session(w->e) != BNG_READY || taken != world_domain(w)->n_pools) {
            fail_msg("seed %llu: session %d, %zu taken, %zu here", (unsigned long long)seed,
                     (int)bng_engine_session(w->e), taken, world_domain(w)->n_pools);
        }
        world_free(w);
    }
}

/* A manager of version 1 hears nothing of IPv6 domains, whose pools stay as they are; IPv4 goes on.
 */
/* proves: P-23 */
static void an_old_manager_has_no_ipv6(void **state) {
    struct world *w = world_new();
    w->n_profiles = 2;
    w->profile[1].family = 6;
    w->profile[1].delegated_length = 56;
    w->profile[1].preferred_length = 48;
    w->profile[1].gateway_octet = 0;
    world_kill(w);
    const struct bng_domain *six = bng_engine_find(w->e, "home1-default");
    assert_non_null(six);
    world_connect(w);
    assert_int_equal(bng_engine_session(w->e), BNG_READY);
    assert_int_equal(w->creates, 1);
    assert_string_equal(w->domain, "home0-default");
    assert_int_equal(world_domain(w)->n_pools, 1);
    assert_int_equal(six->n_pools, 0);
    assert_non_null(strstr(six->refused, "which has no IPv6"));
    world_later(w, 120);
    assert_int_equal(w->creates, 1);
    assert_false(six->alarm[BNG_APPORTION].raised);
    world_free(w);
}

/* The reserve holds both families, and each domain takes of its own. */
/* proves: APM-152 */
static void a_reserve_of_ipv6(void **state) {
    struct world *w = world_new();
    struct ip_prefix r[2] = {ip4_prefix(0x0afe0000, 24)};
    char text[IP_TEXT_MAX];
    assert_int_equal(ip_prefix_parse("2001:db8::/47", &r[1], NULL), ERR_OK);
    w->n_profiles = 1;
    w->profile[0].family = 6;
    w->profile[0].delegated_length = 56;
    w->profile[0].preferred_length = 48;
    w->profile[0].gateway_octet = 0;
    w->reserve = (struct bng_reserve){r, 2, 0, 0};
    w->settings.reserve = &w->reserve;
    world_kill(w);
    world_settle(w);
    const struct bng_domain *d = bng_engine_find(w->e, "home0-default");
    assert_int_equal(d->n_pools, 1);
    assert_string_equal(ip_prefix_format(&d->pools[0]->prefix, text), "2001:db8::/48");
    assert_int_equal(d->pools[0]->total, 256);
    bng_engine_routes_applied(w->e, bng_engine_generation(w->e));
    bng_engine_dhcp_applied(w->e, 4,
                            bng_engine_generation(w->e)); /* the other server says nothing */
    assert_int_equal(d->pools[0]->phase, BNG_ADD_DHCP);
    bng_engine_dhcp_applied(w->e, 6, bng_engine_generation(w->e));
    assert_int_equal(d->pools[0]->phase, BNG_ACTIVE);
    bng_engine_count(w->e, d->pools[0]->subnet_id, 256, 256);
    bng_engine_tick(w->e);
    assert_int_equal(d->n_pools, 2);
    assert_string_equal(ip_prefix_format(&d->pools[1]->prefix, text), "2001:db8:1::/48");
    bng_engine_routes_applied(w->e, bng_engine_generation(w->e));
    bng_engine_dhcp_applied(w->e, 6, bng_engine_generation(w->e));
    bng_engine_count(w->e, d->pools[1]->subnet_id, 256, 256);
    bng_engine_tick(w->e);
    assert_int_equal(d->n_pools, 2); /* nothing is left */
    world_free(w);
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
        cmocka_unit_test(an_old_manager_has_no_ipv6),
        cmocka_unit_test(a_reserve_of_ipv6),
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
