// SPDX-License-Identifier: Apache-2.0
/* What is told about alarms and pools: events, and the shows that count them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/logger.h"
#include "probe.h"

static struct rig rig;
static struct probe a;
static struct buf events; /* "name json\n" */
static uint64_t handle;

static void see(const struct event *ev, void *arg) {
    if (strncmp(ev->name, "weft-apm:", 9) == 0) {
        buf_printf(&events, "%s %s\n", ev->name + 9, ev->json);
    }
}

static void world(const char *reclamation) {
    rig_open(&rig, INT64_C(1780000000));
    rig_profile(&rig, "p", 100, 400, reclamation);
    rig_match(&rig, "bng1", "p");
    rig_partition(&rig, "metro", 16, 28, "{\"prefix\":\"10.0.0.0/20\"}");
    probe_init(&a, &rig, "bng1");
    probe_connect_empty(&a);
    probe_create(&a, "d", "metro", 24);
    handle = core_subscribe(rig.core, 0, see, NULL);
    buf_clear(&events);
}

static int teardown(void **state) {
    core_unsubscribe(rig.core, handle);
    rig_verify(&rig);
    probe_free(&a);
    rig_close(&rig);
    buf_free(&events);
    return 0;
}

static void give(const char *id, unsigned n) {
    const answer_msg *r = probe_apportion(&a, id, "d", n, 24);
    assert_int_equal(r->n_add, n);
    probe_result(&a, id, 0, "");
}

static void told(const char *part) {
    if (strstr(buf_cstr(&events), part) == NULL) {
        fail_msg("\"%s\" is not in:\n%s", part, buf_cstr(&events));
    }
}

static size_t times(const char *part) {
    size_t n = 0;
    for (const char *s = buf_cstr(&events); (s = strstr(s, part)) != NULL; s++) {
        n++;
    }
    return n;
}

static void shows(const char *part, const char *rpc, const char *name, const char *value) {
    struct buf text = BUF_INIT, json = BUF_INIT;
    assert_int_equal(rig_call(&rig, &text, &json, NULL, rpc, name, value, NULL), ERR_OK);
    if (strstr(buf_cstr(&text), part) == NULL && strstr(buf_cstr(&json), part) == NULL) {
        fail_msg("\"%s\" is not in:\n%s\n%s", part, buf_cstr(&text), buf_cstr(&json));
    }
    buf_free(&text);
    buf_free(&json);
}

static void request(const char *what, const char *pool, bool force) {
    struct err e = {.code = ERR_OK};
    enum err_code rc = force ? rig_call(&rig, NULL, NULL, &e, what, "entity", "bng1", "pool-domain",
                                        "d", "pool", pool, "force", "", NULL)
                             : rig_call(&rig, NULL, NULL, &e, what, "entity", "bng1", "pool-domain",
                                        "d", "pool", pool, NULL);
    if (rc != ERR_OK) {
        fail_msg("%s", e.text);
    }
}

static void usage(uint64_t used, uint64_t used_0000, bool drains) {
    const struct probe_pool pools[] = {
        {"d", NULL, 254, used, 0, false},
        {"d-0000", NULL, 254, used_0000,
         drains ? OPENAPMI__V1__POOL_STATE__DRAINING : OPENAPMI__V1__POOL_STATE__ACTIVE, false}};
    uint64_t free = 254 - used + (drains ? 0 : 254 - used_0000);
    probe_stats(&a, "d", free, used + used_0000, 2, pools);
}

/* ---- alarms ------------------------------------------------------------------------------------
 */

/* An alarm that is over says how it ended, not how it stood. */
static void how_alarms_end(void **state) {
    world("");
    rig_partition(&rig, "metro", 16, 24, "{\"prefix\":\"10.0.0.0/24\"}");
    give("0", 1);
    probe_apportion(&a, "1", "d", 2, 24);
    told("alarm-raised {\"entity\":\"bng1\",\"pool-domain\":\"d\",\"type\":\"apportion\"");
    told("\"info\":\"partition metro has no prefix left for this domain\"");
    shows("Outstanding Alarms:\n      Apportion   :  1\n      Reclamation :  0\n", "show-entity",
          "id", "bng1");
    shows("\"apportion-outstanding\":true", "show-entity", "id", "bng1");
    shows("Outstanding alarms :  1 apportion, 0 reclaim, 0 pool-drained", "show-statistics", NULL,
          NULL);
    rig_partition(&rig, "metro", 16, 24, "{\"prefix\":\"10.0.0.0/23\"}");
    buf_clear(&events);
    const answer_msg *r = probe_apportion(&a, "1b", "d", 2, 24);
    assert_int_equal(r->n_add, 1);
    told("alarm-cleared {\"entity\":\"bng1\",\"pool-domain\":\"d\",\"type\":\"apportion\"");
    told("\"info\":\"1 prefix was given, fewer than were asked for\"");
    assert_int_equal(times("no prefix left"), 0);
    shows("\"apportion-outstanding\":false", "show-entity", "id", "bng1");
    shows("\"apportion\":\"3\"", "show-entity", "id", "bng1");
}

static void how_reclaim_alarms_end(void **state) {
    world("");
    give("1", 2);
    usage(10, 0, false);
    probe_reclaim(&a, "r", "d", 498, "d-0000", 0, 254);
    told("\"info\":\"waits for an operator: drain pool d-0000\"");
    buf_clear(&events);
    request("drain", "d-0000", false);
    told("alarm-cleared {\"entity\":\"bng1\",\"pool-domain\":\"d\",\"type\":\"reclaim\"");
    told("\"info\":\"an operator has ordered the drain\"");
    assert_int_equal(times("waits for"), 0);
    probe_result(&a, probe_order(&a)->order_id, 0, "");
    probe_drained(&a, "dr", "d", "d-0000");
    told("alarm-raised "
         "{\"entity\":\"bng1\",\"pool-domain\":\"d\",\"type\":\"pool-drained\",\"pool\":"
         "\"d-0000\",\"info\":\"waits for an operator: reclaim it\"");
    shows("\"pool-drained-outstanding\":1", "show-entity", "id", "bng1");
    shows("0 apportion, 0 reclaim, 1 pool-drained", "show-statistics", NULL, NULL);
    buf_clear(&events);
    request("reclaim", "d-0000", false);
    told("alarm-cleared "
         "{\"entity\":\"bng1\",\"pool-domain\":\"d\",\"type\":\"pool-drained\",\"pool\":"
         "\"d-0000\",\"info\":\"it is being reclaimed\"");
    shows("\"pool-drained-outstanding\":0", "show-entity", "id", "bng1");
    /* Withdrawn by the entity; and what goes with its domain. */
    probe_reclaim(&a, "r2", "d", 498, "d", 0, 254);
    alarm_msg w = OPENAPMI__V1__ALARM__INIT;
    w.alarm_id = (char *)(uintptr_t) "r2";
    w.type = OPENAPMI__V1__ALARM_TYPE__ABATE;
    w.domain = (char *)(uintptr_t) "d";
    w.attempt = 1;
    probe_alarm(&a, &w);
    told("\"info\":\"its entity has withdrawn it\"");
    probe_reclaim(&a, "r3", "d", 498, "d", 0, 254);
    probe_close(&a);
    rig_call(&rig, NULL, NULL, NULL, "release-entity", "entity", "bng1", NULL);
    told("\"info\":\"its domain is gone\"");
}

static void automatic_reclamation(void **state) {
    world(",\"auto-reclamation\":{\"delay\":60}");
    give("1", 2);
    usage(10, 0, false);
    probe_reclaim(&a, "r", "d", 498, "d-0000", 0, 254);
    told("\"info\":\"reclamation waits 60 s after the alarm\"");
    rig_pass(&rig, 61 * NS_PER_S);
    buf_clear(&events);
    char *candidate = (char *)(uintptr_t) "d-0000";
    alarm_msg again = OPENAPMI__V1__ALARM__INIT;
    again.alarm_id = (char *)(uintptr_t) "r";
    again.type = OPENAPMI__V1__ALARM_TYPE__RECLAIM;
    again.domain = (char *)(uintptr_t) "d";
    again.attempt = 2;
    again.free_addresses = 498;
    again.total_addresses = 508;
    again.n_candidate_pool = 1;
    again.candidate_pool = &candidate;
    again.candidate_total = 254;
    probe_alarm(&a, &again);
    told("\"info\":\"pool d-0000 is to be drained\"");
}

/* ---- pools -------------------------------------------------------------------------------------
 */

static void pools_come_and_go(void **state) {
    world("");
    const answer_msg *r = probe_apportion(&a, "1", "d", 2, 24);
    assert_int_equal(r->n_add, 2);
    assert_int_equal(times("pool-added"), 0); /* not before the entity has them */
    probe_result(&a, "1", 0, "");
    told("pool-added {\"entity\":\"bng1\",\"pool-domain\":\"d\",\"pool\":\"d\",\"prefix\":"
         "\"10.0.0.0/24\",\"partition\":\"metro\"}");
    told("\"pool\":\"d-0000\",\"prefix\":\"10.0.1.0/24\"");
    usage(0, 0, false);
    request("drain", "d-0000", true);
    probe_result(&a, probe_order(&a)->order_id, 0, "");
    probe_drained(&a, "dr", "d", "d-0000");
    request("reclaim", "d-0000", false);
    assert_int_equal(times("pool-removed"), 0);
    probe_result(&a, probe_order(&a)->order_id, 0, "");
    told("pool-removed {\"entity\":\"bng1\",\"pool-domain\":\"d\",\"pool\":\"d-0000\",\"prefix\":"
         "\"10.0.1.0/24\",\"partition\":\"metro\"}");
    /* What was never there does not go. */
    buf_clear(&events);
    probe_apportion(&a, "2", "d", 1, 24);
    probe_result(&a, "2", 9, "no room");
    assert_int_equal(times("pool-"), 0);
    assert_int_equal(times("pools-changed"), 0);
}

static void many_are_counted(void **state) {
    world("");
    for (unsigned i = 0; i < 3; i++) {
        char id[8];
        snprintf(id, sizeof id, "%u", i);
        const answer_msg *r = probe_apportion(&a, id, "d", 16, 28);
        assert_int_equal(r->n_add, 16);
        probe_result(&a, id, 0, "");
    }
    assert_int_equal(times("pool-added"), POOLS_EVENTS_PER_S);
    assert_int_equal(times("pools-changed"), 0);
    rig_pass(&rig, NS_PER_S);
    told("pools-changed {\"added\":\"28\",\"removed\":\"0\"}");
    buf_clear(&events);
    rig_pass(&rig, 5 * NS_PER_S);
    assert_int_equal(times("pools-changed"), 0);
    probe_close(&a);
    rig_call(&rig, NULL, NULL, NULL, "release-entity", "entity", "bng1", NULL);
    rig_pass(&rig, NS_PER_S);
    assert_int_equal(times("pool-removed"), POOLS_EVENTS_PER_S);
    told("pools-changed {\"added\":\"0\",\"removed\":\"28\"}");
}

/* ---- shows -------------------------------------------------------------------------------------
 */

static void explained_while_a_pool_drains(void **state) {
    world("");
    give("1", 2);
    usage(10, 40, false);
    shows("458 of 508 addresses are free in 2 pools.", "explain-domain", "domain", "d");
    request("drain", "d-0000", true);
    probe_result(&a, probe_order(&a)->order_id, 0, "");
    usage(10, 40, true);
    shows("244 of 254 addresses are free in 1 pool that gives them out.\n40 of 254 addresses are "
          "still in use in 1 pool that is to be given back; the others there are not given out any "
          "more.\n",
          "explain-domain", "domain", "d");
}

static void an_address_is_found(void **state) {
    struct err e = {.code = ERR_OK};
    world("");
    give("1", 2);
    shows("Address    :  10.0.1.77\nPrefix     :  10.0.1.0/24\n", "show-prefix", "prefix",
          "10.0.1.77");
    shows("Pool       :  d-0000 (active)\nUsable     :  254\n", "show-prefix", "prefix",
          "10.0.1.77");
    shows("{\"address\":\"10.0.1.77\",\"partition\":\"metro\",\"root\":\"10.0.0.0/20\",\"prefix\":"
          "\"10.0.1.0/24\"",
          "show-prefix", "prefix", "10.0.1.77");
    shows("Prefix     :  10.0.8.0/21\nPartition  :  metro\nRoot       :  10.0.0.0/20\n"
          "State      :  available\n",
          "show-prefix", "prefix", "10.0.9.9");
    assert_int_equal(rig_call(&rig, NULL, NULL, &e, "show-prefix", "prefix", "10.1.0.0", NULL),
                     ERR_ABSENT);
    assert_string_equal(e.text, "10.1.0.0 is in no partition.");
    assert_int_equal(rig_call(&rig, NULL, NULL, &e, "show-prefix", "prefix", "2001:db8::1", NULL),
                     ERR_ABSENT);
    assert_int_equal(rig_call(&rig, NULL, NULL, &e, "show-prefix", "prefix", "home", NULL),
                     ERR_INVALID);
    assert_non_null(strstr(e.text,
                           "\"home\" is no valid prefix: A prefix looks like 192.0.2.0/24 or "
                           "2001:db8::/32. An address looks like 192.0.2.1"));
    static const char *const bad[] = {
        "10.0.0", "10.0.0.256", "10.0.0.1/24", "10.0.0.0/33", "2001::db8::1", "x", ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        enum err_code rc = rig_call(&rig, NULL, NULL, &e, "show-prefix", "prefix", bad[i], NULL);
        if (rc != ERR_INVALID) {
            fail_msg("%s: %d %s", bad[i], rc, e.text);
        }
    }
}

static void an_address_of_ipv6_is_found(void **state) {
    world("");
    rig_partition6(&rig, "homes", 32, 48, 56, "{\"prefix\":\"2001:db8::/32\"}");
    shows("Address    :  2001:db8:1::1\nPrefix     :  2001:db8::/32\n", "show-prefix", "prefix",
          "2001:DB8:1:0::1");
}

static void swallow(enum logger_level level, const char *module, const char *line, void *arg) {
}

int main(void) {
    if (getenv("SIM_LOG") != NULL) {
        logger_set_level(NULL, getenv("SIM_LOG"));
    } else {
        logger_set_sink(swallow, NULL);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(how_alarms_end, teardown),
        cmocka_unit_test_teardown(how_reclaim_alarms_end, teardown),
        cmocka_unit_test_teardown(automatic_reclamation, teardown),
        cmocka_unit_test_teardown(pools_come_and_go, teardown),
        cmocka_unit_test_teardown(many_are_counted, teardown),
        cmocka_unit_test_teardown(explained_while_a_pool_drains, teardown),
        cmocka_unit_test_teardown(an_address_is_found, teardown),
        cmocka_unit_test_teardown(an_address_of_ipv6_is_found, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
