// SPDX-License-Identifier: Apache-2.0
/* The numeric vectors of spec/apm.md section 5, verbatim, and the timeline of 2.7. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "probe.h"

static struct rig rig;
static struct probe bng;

static int64_t at(const char *iso) {
    int64_t s;
    assert_true(time_parse(iso, &s));
    return s;
}

static void start(const char *iso) {
    rig_open(&rig, at(iso));
    probe_init(&bng, &rig, "cpi-boston");
}

static int teardown(void **state) {
    if (rig.core != NULL) {
        rig_verify(&rig);
        probe_free(&bng);
        rig_close(&rig);
    }
    return 0;
}

/* Gives the domain a prefix and confirms it; returns its text in `out`. */
static const char *grow(const char *id, const char *domain, unsigned len, char out[IP_TEXT_MAX]) {
    const answer_msg *r = probe_apportion(&bng, id, domain, 1, len);
    if (r->action != OPENAPMI__V1__ACTION__ADD_POOLS) {
        return "none";
    }
    prefix_text(r->add[0], out);
    probe_result(&bng, id, 0, "");
    return out;
}

/* Drains, removes, confirms. */
static void shrink(const char *id, const char *domain, const char *pool, uint64_t free,
                   uint64_t total) {
    char drained[64];
    const answer_msg *r = probe_reclaim(&bng, id, domain, free, pool, 0, total);
    assert_int_equal(r->action, OPENAPMI__V1__ACTION__SET_DRAIN);
    assert_string_equal(r->pool, pool);
    probe_result(&bng, id, 0, "");
    snprintf(drained, sizeof drained, "%s-drained", id);
    r = probe_drained(&bng, drained, domain, pool);
    assert_int_equal(r->action, OPENAPMI__V1__ACTION__REMOVE_POOL);
    probe_result(&bng, drained, 0, "");
}

/* ---- 5.1 and the documented layout ------------------------------------------------------------
 */

#define D "iroh-sgrp003-default"

static void show(const char *expect) {
    struct buf text = BUF_INIT;
    struct err e;
    assert_int_equal(
        rig_call(&rig, &text, NULL, &e, "show-entity", "id", "cpi-boston", "pool-domain", D, NULL),
        ERR_OK);
    assert_string_equal(buf_cstr(&text), expect);
    buf_free(&text);
}

/* proves: APM-003 APM-044 APM-050 APM-051 APM-057 APM-100 APM-101 APM-161 A2 V1 */
static void vector_1_public_run(void **state) {
    start("2024-05-24T15:06:00Z");
    rig_partition(&rig, "westford", 16, 24, "{\"prefix\":\"192.168.8.0/21\"}");
    rig_profile(&rig, "p", 200, 457, ",\"auto-reclamation\":{\"active\":\"always\"}");
    rig_match(&rig, "cpi-boston", "p");
    /* The run begins at 192.168.11.0: what lies before is somebody else's. */
    struct probe other;
    probe_init(&other, &rig, "other");
    rig_match(&rig, "other", "p");
    probe_connect_empty(&other);
    probe_create(&other, "x", "westford", 24);
    probe_apportion(&other, "o1", "x", 3, 24);
    probe_result(&other, "o1", 0, "");
    probe_free(&other);

    rig_set_time(&rig, "2024-05-24T15:06:22Z");
    probe_connect_empty(&bng);
    const Openapmi__V1__DomainCreated *dc = probe_create(&bng, D, "westford", 24);
    assert_int_equal(dc->thresholds->apportion, 200);
    assert_int_equal(dc->thresholds->reclaim, 457);
    probe_pools(&bng, D, "westford", 0, NULL);
    rig_set_time(&rig, "2024-05-24T15:06:32Z");
    /* Three alarms bring five prefixes. */
    const answer_msg *r = probe_apportion(&bng, "a1", D, 1, 24);
    assert_int_equal(r->n_add, 1);
    assert_string_equal(r->add[0]->name, D);
    probe_result(&bng, "a1", 0, "");
    r = probe_apportion(&bng, "a2", D, 2, 24);
    assert_int_equal(r->n_add, 2);
    assert_string_equal(r->add[0]->name, D "-0000");
    probe_result(&bng, "a2", 0, "");
    r = probe_apportion(&bng, "a3", D, 2, 24);
    assert_int_equal(r->n_add, 2);
    probe_result(&bng, "a3", 0, "");
    const struct probe_pool pools[] = {
        {D, "192.168.11.0/24", 255, 255, 0, false},
        {D "-0000", "192.168.12.0/24", 255, 239, 0, false},
        {D "-0001", "192.168.13.0/24", 255, 50, 0, false},
        {D "-0002", "192.168.14.0/24", 255, 0, 0, false},
        {D "-0003", "192.168.15.0/24", 255, 0, 0, false},
    };
    probe_stats(&bng, D, 731, 544, 5, pools);
    show("Entity Statistics:\n"
         "  Entity ID:  cpi-boston\n"
         "  Name     :  cpi-boston\n"
         "  APMi Ver :  1\n"
         "  Security :  clear-text\n"
         "  Status   :  reachable\n"
         "  Pool Domain Statistics:\n"
         "    Pool Domain     :  iroh-sgrp003-default\n"
         "    Source Partition:  westford\n"
         "    Free Addresses  :  731\n"
         "    Pools           :  5\n"
         "    Thresholds:\n"
         "      Apportion  :  200\n"
         "      Reclamation:  457\n"
         "    Events:\n"
         "      Last Discovery  :  2024-05-24T15:06:22Z\n"
         "      Last Allocation :  2024-05-24T15:06:32Z\n"
         "      Allocations     :  5\n"
         "      Reclamations    :  0\n"
         "    Alarms:\n"
         "      Apportion   :  3\n"
         "      Reclamation :  0\n"
         "      Pool-drained:  0\n"
         "    Pool                          Prefix             Total Addrs    Used Addrs\n"
         "    iroh-sgrp003-default          192.168.11.0/24    255            255\n"
         "    iroh-sgrp003-default-0000     192.168.12.0/24    255            239\n"
         "    iroh-sgrp003-default-0001     192.168.13.0/24    255            50\n"
         "    iroh-sgrp003-default-0002     192.168.14.0/24    255            0\n"
         "    iroh-sgrp003-default-0003     192.168.15.0/24    255            0\n");
    /* 731 >= 457: one idle pool goes; 476 >= 457: a second; 221 > 200, so that is all. */
    rig_set_time(&rig, "2024-05-24T15:07:30Z");
    shrink("r1", D, D "-0003", 731, 255);
    rig_set_time(&rig, "2024-05-24T15:07:38Z");
    shrink("r2", D, D "-0002", 476, 255);
    probe_stats(&bng, D, 221, 544, 3, pools);
    show("Entity Statistics:\n"
         "  Entity ID:  cpi-boston\n"
         "  Name     :  cpi-boston\n"
         "  APMi Ver :  1\n"
         "  Security :  clear-text\n"
         "  Status   :  reachable\n"
         "  Pool Domain Statistics:\n"
         "    Pool Domain     :  iroh-sgrp003-default\n"
         "    Source Partition:  westford\n"
         "    Free Addresses  :  221\n"
         "    Pools           :  3\n"
         "    Thresholds:\n"
         "      Apportion  :  200\n"
         "      Reclamation:  457\n"
         "    Events:\n"
         "      Last Discovery  :  2024-05-24T15:06:22Z\n"
         "      Last Allocation :  2024-05-24T15:06:32Z\n"
         "      Last Reclamation:  2024-05-24T15:07:38Z\n"
         "      Allocations     :  5\n"
         "      Reclamations    :  2\n"
         "    Alarms:\n"
         "      Apportion   :  3\n"
         "      Reclamation :  2\n"
         "      Pool-drained:  2\n"
         "    Pool                          Prefix             Total Addrs    Used Addrs\n"
         "    iroh-sgrp003-default          192.168.11.0/24    255            255\n"
         "    iroh-sgrp003-default-0000     192.168.12.0/24    255            239\n"
         "    iroh-sgrp003-default-0001     192.168.13.0/24    255            50\n");
    struct prefix_info info;
    struct ip_prefix px = ip4_prefix(0xc0a80f00, 24);
    assert_int_equal(
        prefix_tree_lookup(partition_get(rig.pools, "westford", false)->tree, &px, &info),
        PREFIX_AVAILABLE);
}

/* ---- 5.2 ---------------------------------------------------------------------------------------
 */

/* proves: APM-088 V2 */
static void vector_2_safe_drain(void **state) {
    char text[256];
    bool first;
    struct drain_numbers n = {300, 254, 40, 100};
    assert_false(drain_is_safe(&n, text, &first)); /* 86 > 40 passes, 46 > 100 fails */
    assert_true(first);
    assert_non_null(strstr(text, "46"));
    n.domain_free = 400;
    assert_true(drain_is_safe(&n, text, &first)); /* 186 > 40, 146 > 100 */
    n = (struct drain_numbers){354, 254, 40, 100};
    assert_false(drain_is_safe(&n, text, &first)); /* 100 > 100: equality refuses */
    n = (struct drain_numbers){355, 254, 40, 100};
    assert_true(drain_is_safe(&n, text, &first));
    n = (struct drain_numbers){254, 254, 40, 0};
    assert_false(drain_is_safe(&n, text, &first)); /* 40 > 40: equality refuses */
    assert_false(first);
}

/* ---- 5.4, 5.5, 5.6, 5.7 ------------------------------------------------------------------------
 */

static void small_world(const char *root, unsigned min, unsigned max) {
    char roots[64];
    snprintf(roots, sizeof roots, "{\"prefix\":\"%s\"}", root);
    start("2026-01-01T12:00:00Z");
    rig_partition(&rig, "test-1", min, max, roots);
    rig_profile(&rig, "p", 10, 20, ",\"auto-reclamation\":{}");
    rig_match(&rig, "cpi-boston", "p");
    probe_connect_empty(&bng);
    probe_create(&bng, "test-pd", "test-1", max);
}

/* proves: APM-020 APM-022 APM-024 APM-025 APM-027 V4 */
static void vector_4_tree(void **state) {
    char t[IP_TEXT_MAX];
    small_world("192.0.2.0/24", 24, 27);
    assert_string_equal(grow("1", "test-pd", 27, t), "192.0.2.0/27");
    assert_string_equal(grow("2", "test-pd", 26, t), "192.0.2.64/26");
    assert_string_equal(grow("3", "test-pd", 25, t), "192.0.2.128/25");
    assert_string_equal(grow("4", "test-pd", 27, t), "192.0.2.32/27");
    assert_string_equal(grow("5", "test-pd", 27, t), "none");
    assert_string_equal(grow("6", "test-pd", 24, t), "none");
    shrink("7", "test-pd", "test-pd-0000", 1000, 62);
    assert_string_equal(grow("8", "test-pd", 26, t), "192.0.2.64/26");
}

/* proves: APM-014 APM-026 V5 */
static void vector_5_best_effort(void **state) {
    char t[IP_TEXT_MAX];
    small_world("192.0.2.0/24", 24, 27);
    assert_string_equal(grow("1", "test-pd", 25, t), "192.0.2.0/25");
    assert_string_equal(grow("2", "test-pd", 25, t), "192.0.2.128/25");
    const answer_msg *r = probe_apportion(&bng, "3", "test-pd", 1, 25);
    assert_int_equal(r->result, OPENAPMI__V1__ALARM_RESULT__ALARM_NACK);
    assert_int_equal(r->reason, OPENAPMI__V1__REASON__PARTITION_EMPTY);
    teardown(NULL);

    small_world("192.0.2.0/24", 24, 27);
    grow("1", "test-pd", 25, t);
    grow("2", "test-pd", 26, t);
    grow("3", "test-pd", 27, t);
    assert_string_equal(grow("4", "test-pd", 25, t), "192.0.2.224/27");
}

/* proves: APM-033 APM-034 APM-035 APM-036 V6 */
static void vector_6_naming(void **state) {
    char name[POOLS_NAME_MAX + 16];
    small_world("10.0.0.0/16", 16, 30);
    const answer_msg *r = probe_apportion(&bng, "1", "test-pd", 3, 30);
    assert_string_equal(r->add[0]->name, "test-pd");
    assert_string_equal(r->add[1]->name, "test-pd-0000");
    assert_string_equal(r->add[2]->name, "test-pd-0001");
    for (unsigned i = 3; i <= 1001; i++) {
        char id[32];
        snprintf(id, sizeof id, "%u", i);
        if (i % 90 == 0) {
            rig_pass(&rig, NS_PER_S);
        }
        r = probe_apportion(&bng, id, "test-pd", 1, 30);
        assert_int_equal(r->n_add, 1);
    }
    assert_string_equal(r->add[0]->name, "test-pd-1000"); /* the 1001st that has a number */
    pool_name_make("test-pd", 10000, name);               /* the 10001st */
    assert_string_equal(name, "test-pd-10000");
    pool_name_make("test-pd", 213339, name);
    assert_string_equal(name, "test-pd-213339");
    assert_int_equal(pool_name_seq("test-pd", "test-pd-0999"), 999);
    assert_int_equal(pool_name_seq("test-pd", "test-pd"), SEQ_BARE);
    assert_int_equal(pool_name_seq("test-pd", "test-pd-01000"), SEQ_FOREIGN);
    assert_int_equal(pool_name_seq("test-pd", "test-pd-99"), SEQ_FOREIGN);
    assert_int_equal(pool_name_seq("test-pd", "other"), SEQ_FOREIGN);
}

/* proves: APM-052 V7 */
static void vector_7_retry_time(void **state) {
    char t[IP_TEXT_MAX];
    small_world("192.0.2.0/27", 27, 27);
    grow("1", "test-pd", 27, t);
    clock_fake_advance(&rig.clock, 700 * NS_PER_MS); /* 12:00:00.7Z */
    const answer_msg *r = probe_apportion(&bng, "2", "test-pd", 1, 27);
    assert_int_equal(r->result, OPENAPMI__V1__ALARM_RESULT__ALARM_NACK);
    assert_int_equal(r->retry_at, at("2026-01-01T12:15:00Z"));
}

/* ---- 4.3 ----------------------------------------------------------------------------------------
 */

/* proves: APM-082 APM-083 A12 */
static void windows(void **state) {
    struct window w;
    assert_true(window_parse("23:30+0000", 60, &w));
    assert_true(window_open(&w, at("2026-01-01T00:15:00Z")));
    assert_false(window_open(&w, at("2026-01-01T00:30:00Z")));
    assert_int_equal(window_next_open(&w, at("2026-01-01T00:30:00Z")), at("2026-01-01T23:30:00Z"));
    assert_true(window_open(&w, at("2026-01-01T23:30:00Z")));
    assert_false(window_open(&w, at("2026-01-01T23:29:59Z")));
    assert_int_equal(window_next_open(&w, at("2026-01-01T23:30:00Z")), at("2026-01-02T23:30:00Z"));
    assert_true(window_parse("04:00-0500", 60, &w));
    assert_int_equal(window_next_open(&w, at("2026-01-01T00:00:00Z")), at("2026-01-01T09:00:00Z"));
    assert_true(window_open(&w, at("2026-01-01T09:59:59Z")));
    assert_false(window_open(&w, at("2026-01-01T10:00:00Z")));
    assert_true(window_parse("01:00+1400", 720, &w)); /* the day before, in UTC */
    assert_true(window_open(&w, at("2026-01-01T11:00:00Z")));
    assert_true(window_open(&w, at("2026-01-01T22:59:59Z")));
    assert_false(window_open(&w, at("2026-01-01T23:00:00Z")));
    assert_true(window_parse("0", 60, &w));
    assert_true(w.always);
    assert_true(window_parse("04:00-0500", 0, &w));
    assert_true(w.always);
    static const char *const nonsense[] = {"",           "4:00-0500",  "24:00+0000", "04:60+0000",
                                           "04:00-1401", "04:00 0500", "04:00-05x0", "04:00-05000"};
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        assert_false(window_parse(nonsense[i], 60, &w));
    }
}

/* ---- 2.7: T0..T6 --------------------------------------------------------------------------------
 */

/* proves: APM-001 APM-002 APM-003 APM-004 APM-050 APM-052 APM-054 APM-055 APM-056 APM-057 A1 */
static void timeline(void **state) {
    char t[IP_TEXT_MAX];
    start("2026-03-01T02:00:00Z");
    rig_partition(&rig, "metro", 24, 24,
                  "{\"prefix\":\"198.51.100.0/24\"},{\"prefix\":\"203.0.113.0/24\"}");
    rig_profile(&rig, "p", 100, 400,
                ",\"auto-reclamation\":{\"active\":\"window\",\"window-start\":\"04:00+0000\","
                "\"window-duration\":60}");
    rig_match(&rig, "cpi-boston", "p");
    /* T0: the domain is populated, nothing happens. */
    probe_connect_empty(&bng);
    probe_create(&bng, "d", "metro", 24);
    assert_string_equal(grow("seed", "d", 24, t), "198.51.100.0/24");
    rig_pass(&rig, 60 * NS_PER_S);
    assert_null(probe_order(&bng));
    /* T1: log-ins; the prefix comes in the alarm's answer. */
    const answer_msg *r = probe_apportion(&bng, "t1", "d", 1, 24);
    assert_int_equal(r->result, OPENAPMI__V1__ALARM_RESULT__ALARM_ACK);
    assert_string_equal(prefix_text(r->add[0], t), "203.0.113.0/24");
    probe_result(&bng, "t1", 0, "");
    /* T2: the partition is empty. */
    int64_t received = rig_now(&rig);
    r = probe_apportion(&bng, "t2", "d", 1, 24);
    assert_int_equal(r->result, OPENAPMI__V1__ALARM_RESULT__ALARM_NACK);
    assert_int_equal(r->retry_at, received + 900);
    /* T3: the same alarm again at that time: refused again, then satisfied. */
    rig_pass(&rig, 900 * NS_PER_S);
    alarm_msg again = OPENAPMI__V1__ALARM__INIT;
    again.alarm_id = (char *)(uintptr_t) "t2";
    again.type = OPENAPMI__V1__ALARM_TYPE__APPORTION;
    again.domain = (char *)(uintptr_t) "d";
    again.wanted_prefixes = 1;
    again.attempt = 2;
    r = probe_alarm(&bng, &again);
    assert_int_equal(r->retry_at, rig_now(&rig) + 900);
    rig_partition(&rig, "metro", 24, 24,
                  "{\"prefix\":\"198.51.100.0/24\"},{\"prefix\":\"203.0.113.0/24\"},"
                  "{\"prefix\":\"192.0.2.0/24\"}");
    rig_pass(&rig, 900 * NS_PER_S);
    assert_int_equal(probe_take(&bng, OPENAPMI__V1__MANAGER_MSG__BODY_ALARM_RESPONSE)->in_reply_to,
                     0); /* P-22, ignored */
    again.attempt = 3;
    r = probe_alarm(&bng, &again);
    assert_int_equal(r->n_add, 1);
    probe_result(&bng, "t2", 0, "");
    /* T4: log-outs, in the window: drain. */
    rig_set_time(&rig, "2026-03-01T04:10:00Z");
    r = probe_reclaim(&bng, "t4", "d", 600, "d-0001", 20, 254);
    assert_int_equal(r->action, OPENAPMI__V1__ACTION__SET_DRAIN);
    probe_result(&bng, "t4", 0, "");
    /* T5: drained, after the window: still taken back (APM-084). */
    rig_set_time(&rig, "2026-03-01T05:10:00Z");
    struct partition *pt = partition_get(rig.pools, "metro", false);
    assert_int_equal(pt->n_pools, 3);
    r = probe_drained(&bng, "t5", "d", "d-0001");
    assert_int_equal(r->action, OPENAPMI__V1__ACTION__REMOVE_POOL);
    assert_int_equal(pt->n_pools, 3); /* not before the entity has confirmed */
    probe_result(&bng, "t5", 0, "");
    assert_int_equal(pt->n_pools, 2);
    /* T6: outside the window: no action, retry when it opens. */
    r = probe_reclaim(&bng, "t6", "d", 450, "d-0000", 20, 254);
    assert_int_equal(r->result, OPENAPMI__V1__ALARM_RESULT__ALARM_NACK);
    assert_int_equal(r->action, OPENAPMI__V1__ACTION__NOOP);
    assert_int_equal(r->reason, OPENAPMI__V1__REASON__OUTSIDE_WINDOW);
    assert_int_equal(r->retry_at, at("2026-03-02T04:00:00Z"));
    assert_null(probe_order(&bng));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(vector_1_public_run, teardown),
        cmocka_unit_test(vector_2_safe_drain),
        cmocka_unit_test_teardown(vector_4_tree, teardown),
        cmocka_unit_test_teardown(vector_5_best_effort, teardown),
        cmocka_unit_test_teardown(vector_6_naming, teardown),
        cmocka_unit_test_teardown(vector_7_retry_time, teardown),
        cmocka_unit_test(windows),
        cmocka_unit_test_teardown(timeline, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
