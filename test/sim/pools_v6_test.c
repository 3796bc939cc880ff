// SPDX-License-Identifier: Apache-2.0
/* IPv6: pools of addresses and of prefixes to delegate, by the same rules as IPv4 (P-23). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bng.h"
#include "probe.h"

static struct rig rig;
static struct probe a;
static struct err err;

static int setup(void **state) {
    rig_open(&rig, INT64_C(1780000000));
    rig_profile(&rig, "p", 20, 200, ",\"auto-reclamation\":{}");
    rig_match(&rig, "bng1", "p");
    probe_init(&a, &rig, "bng1");
    a.six = true;
    return 0;
}

static int teardown(void **state) {
    rig_verify(&rig);
    probe_free(&a);
    rig_close(&rig);
    return 0;
}

static struct domain *domain_of(const char *name) {
    struct entity *en = pools_entity(rig.pools, "bng1");
    return en ? entity_domain(en, name) : NULL;
}

static void says(const char *path, const char *text) {
    if (strstr(err.path, path) == NULL || strstr(err.text, text) == NULL) {
        fail_msg("%s: %s", err.path, err.text);
    }
}

static enum err_code part(unsigned min, unsigned max, unsigned delegated, const char *roots) {
    err = (struct err){.code = ERR_OK};
    return rig_try_partition6(&rig, "six", min, max, delegated, roots, false, &err);
}

static bool shows(const struct buf *b, const char *text) {
    return strstr(buf_cstr((struct buf *)(uintptr_t)b), text) != NULL;
}

/* ---- configuration --------------------------------------------------------------------------- */

/* proves: APM-005 APM-011 APM-013 APM-017 */
static void what_a_partition_may_be(void **state) {
    static const struct {
        unsigned min, max, delegated;
        const char *root, *path, *text;
    } rows[] = {
        {32, 52, 56, "10.0.0.0/8", "10.0.0.0", "not of the partition's address-family, ipv6"},
        {32, 60, 56, "2001:db8::/32", "delegated-prefix-len", "below max-prefix-len 60"},
        {32, 124, 0, "2001:db8::/32", "2001:db8::", "more than 64 bits shorter"},
        {40, 52, 56, "2001:db8::/32", "2001:db8::", "outside the partition's limits"},
        {8, 52, 56, "ff00::/8", "ff00::", "multicast"},
        {8, 52, 56, "fe80::/12", "fe80::", "link-local"},
        {96, 124, 0, "::/96", "::", "loopback"},
        {32, 52, 56, "2001:db8:8000::/33\"},{\"prefix\":\"2001:db8::/32", "2001:db8", "overlap"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char roots[160];
        snprintf(roots, sizeof roots, "{\"prefix\":\"%s\"}", rows[i].root);
        assert_int_not_equal(part(rows[i].min, rows[i].max, rows[i].delegated, roots), ERR_OK);
        says(rows[i].path, rows[i].text);
    }
    assert_int_not_equal(part(32, 52, 56, "{\"prefix\":\"2001:db8::1/32\"}"), ERR_OK);
    says("prefix", "bits set beyond its length");
    assert_int_equal(part(32, 52, 56, "{\"prefix\":\"2001:db8::/32\"}"), ERR_OK);
    /* Another family's limits are no limits here. */
    err = (struct err){.code = ERR_OK};
    assert_int_not_equal(
        rig_try_partition(&rig, "four", 20, 31, "{\"prefix\":\"10.0.0.0/20\"}", false, &err),
        ERR_OK);
    says("max-prefix-len", "from 8 to 30");
    assert_int_not_equal(rig_put(&rig, "/weft-apm:apm/inet-pool/partition=four",
                                 "{\"weft-apm:partition\":[{\"name\":\"four\",\"min-prefix-len\":8,"
                                 "\"max-prefix-len\":24,\"delegated-prefix-len\":28}]}",
                                 false, &err),
                         ERR_OK);
    says("delegated-prefix-len", "Only IPv6");
}

/* ---- delegation ------------------------------------------------------------------------------ */

/* proves: APM-003 APM-005 APM-026 APM-050 APM-051 APM-057 P-23 */
static void prefixes_to_delegate(void **state) {
    struct buf text = BUF_INIT, json = BUF_INIT;
    char px[IP_TEXT_MAX];
    rig_partition6(&rig, "homes", 40, 52, 56, "{\"prefix\":\"2001:db8::/48\"}");
    a.delegated = 56;
    probe_connect_empty(&a);
    assert_int_equal(pools_entity(rig.pools, "bng1")->version, 2);
    const Openapmi__V1__DomainCreated *dc = probe_create(&a, "pd", "homes", 52);
    assert_int_equal(dc->status->code, 0);
    assert_int_equal(dc->thresholds->apportion, 20);
    const answer_msg *r = probe_apportion(&a, "1", "pd", 2, 52);
    assert_int_equal(r->n_add, 2);
    assert_string_equal(prefix_text(r->add[0], px), "2001:db8::/52");
    assert_string_equal(prefix_text(r->add[1], px), "2001:db8:0:1000::/52");
    assert_int_equal(r->add[0]->prefix->af, OPENAPMI__V1__ADDRESS_FAMILY__IPV6);
    assert_int_equal(r->add[0]->total, 16); /* /56s in a /52: no network, no broadcast */
    /* The same alarm again gets the same answer (P-05). */
    r = probe_apportion(&a, "1", "pd", 2, 52);
    assert_int_equal(r->n_add, 2);
    assert_string_equal(prefix_text(r->add[1], px), "2001:db8:0:1000::/52");
    probe_result(&a, "1", 0, "");
    probe_stats(&a, "pd", 20, 12, 2,
                (struct probe_pool[]){{"pd", "2001:db8::/52", 16, 12, 0, false},
                                      {"pd-0000", "2001:db8:0:1000::/52", 16, 0, 0, false}});

    assert_int_equal(rig_call(&rig, &text, &json, &err, "show-partition", NULL), ERR_OK);
    assert_true(shows(&json, "\"address-family\":\"ipv6\",\"delegated-prefix-len\":56,"
                             "\"total-addresses\":\"256\",\"free-addresses\":\"224\","
                             "\"allocated-addresses\":\"32\""));
    buf_clear(&text);
    assert_int_equal(rig_call(&rig, &text, NULL, &err, "show-entity", "id", "bng1", NULL), ERR_OK);
    assert_true(shows(&text, "Free Prefixes   :  20\n"));
    assert_true(shows(&text, "Gives           :  IPv6 prefixes of length 56\n"));
    assert_true(shows(&text, "Total Pfxs"));
    assert_true(shows(&text, "2001:db8:0:1000::/52  16             0\n"));
    buf_clear(&text);
    assert_int_equal(rig_call(&rig, &text, NULL, &err, "explain-domain", "domain", "pd", NULL),
                     ERR_OK);
    assert_true(shows(&text, "delegates prefixes of length /56"));
    assert_true(shows(&text, "20 of 32 prefixes are free in 2 pools"));
    buf_clear(&text);
    assert_int_equal(
        rig_call(&rig, &text, NULL, &err, "show-prefix", "prefix", "2001:db8:0:1234::/64", NULL),
        ERR_OK);
    assert_true(shows(&text, "Pool       :  pd-0000 (active)\n"));

    /* Reclaim: the idle pool is drained, drained, removed, and free again. */
    r = probe_reclaim(&a, "2", "pd", 300, "pd-0000", 0, 16);
    assert_int_equal(r->action, OPENAPMI__V1__ACTION__SET_DRAIN);
    probe_result(&a, "2", 0, "");
    r = probe_drained(&a, "3", "pd", "pd-0000");
    assert_int_equal(r->action, OPENAPMI__V1__ACTION__REMOVE_POOL);
    probe_result(&a, "3", 0, "");
    assert_int_equal(domain_of("pd")->n_pools, 1);
    r = probe_apportion(&a, "4", "pd", 1, 52);
    assert_string_equal(prefix_text(r->add[0], px), "2001:db8:0:1000::/52");
    /* A restart folds the same (the rig compares). */
    probe_close(&a);
    rig_restart(&rig);
    assert_int_equal(domain_of("pd")->unit, 56);
    buf_free(&text);
    buf_free(&json);
}

/* proves: APM-023 APM-100 P-23 */
static void counts_without_end(void **state) {
    struct buf text = BUF_INIT, json = BUF_INIT;
    char px[IP_TEXT_MAX];
    rig_partition6(&rig, "links", 48, 64, 0, "{\"prefix\":\"2001:db8::/48\"}");
    probe_connect_empty(&a);
    probe_create(&a, "na", "links", 64);
    const answer_msg *r = probe_apportion(&a, "1", "na", 3, 64);
    assert_int_equal(r->n_add, 3);
    assert_true(r->add[0]->total == UINT64_MAX);
    probe_result(&a, "1", 0, "");
    struct probe_pool pools[] = {{"na", "2001:db8::/64", UINT64_MAX, 5, 0, false},
                                 {"na-0000", "2001:db8:0:1::/64", UINT64_MAX, 0, 0, false},
                                 {"na-0001", "2001:db8:0:2::/64", UINT64_MAX, 0, 0, false}};
    probe_stats(&a, "na", UINT64_MAX, 5, 3, pools);
    assert_true(domain_of("na")->free == UINT64_MAX && domain_of("na")->total == UINT64_MAX);
    assert_int_equal(rig_call(&rig, &text, NULL, &err, "show-partition", NULL), ERR_OK);
    assert_true(shows(&text, "18446744073709551615"));
    rig_look(&rig, "/weft-apm:apm/state/entity=bng1", &json);
    assert_true(shows(&json, "\"total-addresses\":\"18446744073709551615\",\"used-addresses\":5"));
    /* Two of three have room enough, and more than any threshold. */
    r = probe_reclaim(&a, "2", "na", UINT64_MAX, "na-0001", 0, UINT64_MAX);
    assert_int_equal(r->result, OPENAPMI__V1__ALARM_RESULT__ALARM_NACK);
    assert_int_equal(r->reason, OPENAPMI__V1__REASON__UNSAFE_DRAIN);
    /* An operator knows better than numbers that are cut off. */
    assert_int_equal(rig_call(&rig, &text, NULL, &err, "drain", "entity", "bng1", "pool-domain",
                              "na", "pool", "na-0001", "force", "", NULL),
                     ERR_OK);
    const Openapmi__V1__Order *o = probe_order(&a);
    assert_int_equal(o->type, OPENAPMI__V1__ORDER_TYPE__ORDER_SET_DRAIN);
    probe_result(&a, o->order_id, 0, "");
    assert_int_equal(domain_pool_named(domain_of("na"), "na-0001")->state, POOL_DRAIN_SET);
    /* Samples hold what 32 bits don't, over a restart too. */
    rig_pass(&rig, 601 * NS_PER_S);
    probe_close(&a);
    rig_restart(&rig);
    buf_clear(&text);
    assert_int_equal(rig_call(&rig, &text, NULL, &err, "show-utilization", NULL), ERR_OK);
    assert_true(shows(&text, "18446744073709551615"));
    assert_string_equal(ip_prefix_format(&domain_of("na")->pools[2].prefix, px),
                        "2001:db8:0:2::/64");
    buf_free(&text);
    buf_free(&json);
}

/* Small pools of addresses, cut as VLSM cuts them, and a surplus that is judged by its numbers. */
/* proves: APM-020 APM-022 APM-025 APM-088 */
static void addresses(void **state) {
    char px[IP_TEXT_MAX];
    rig_partition6(&rig, "links", 100, 124, 0, "{\"prefix\":\"2001:db8:0:1::/120\"}");
    probe_connect_empty(&a);
    probe_create(&a, "na", "links", 124);
    const answer_msg *r = probe_apportion(&a, "1", "na", 1, 124);
    assert_string_equal(prefix_text(r->add[0], px), "2001:db8:0:1::/124");
    assert_int_equal(r->add[0]->total, 16);
    r = probe_apportion(&a, "2", "na", 1, 122);
    assert_string_equal(prefix_text(r->add[0], px), "2001:db8:0:1::40/122");
    r = probe_apportion(&a, "3", "na", 1, 121);
    assert_string_equal(prefix_text(r->add[0], px), "2001:db8:0:1::80/121");
    r = probe_apportion(&a, "4", "na", 1, 123);
    assert_string_equal(prefix_text(r->add[0], px), "2001:db8:0:1::20/123");
    r = probe_apportion(&a, "5", "na", 1, 123); /* best effort: a smaller one */
    assert_string_equal(prefix_text(r->add[0], px), "2001:db8:0:1::10/124");
    r = probe_apportion(&a, "6", "na", 1, 124);
    assert_int_equal(r->reason, OPENAPMI__V1__REASON__PARTITION_EMPTY);
}

/* ---- kinds that do not fit ------------------------------------------------------------------- */

/* proves: APM-015 P-01 P-23 */
static void kinds_must_fit(void **state) {
    rig_partition6(&rig, "homes", 40, 52, 56, "{\"prefix\":\"2001:db8::/48\"}");
    rig_partition(&rig, "metro", 16, 28, "{\"prefix\":\"10.0.0.0/16\"}");
    probe_connect_empty(&a);
    const Openapmi__V1__DomainCreated *dc = probe_create(&a, "x", "homes", 52); /* addresses */
    assert_int_equal(dc->status->code, 9);
    assert_non_null(strstr(dc->status->text, "for IPv6 prefixes of length 56, the domain is for "
                                             "IPv6 addresses"));
    dc = probe_create(&a, "x", "metro", 52);
    assert_int_equal(dc->status->code, 9);
    a.delegated = 60;
    assert_int_equal(probe_create(&a, "x", "homes", 52)->status->code, 9);
    a.delegated = 56;
    dc = probe_create(&a, "x", "homes", 57);
    assert_int_equal(dc->status->code, 3);
    assert_non_null(strstr(dc->status->text, "no room"));
    assert_null(domain_of("x"));
    /* A partition that comes later, and is of another kind: nothing is given, and it is said. */
    assert_int_equal(probe_create(&a, "y", "later", 52)->status->code, 0);
    rig_partition(&rig, "later", 16, 28, "{\"prefix\":\"10.1.0.0/16\"}");
    const answer_msg *r = probe_apportion(&a, "1", "y", 1, 52);
    assert_int_equal(r->n_add, 0);
    assert_non_null(strstr(r->text, "is for IPv4 addresses, the domain is for IPv6 prefixes"));
    /* In version 1 there is no IPv6, and the newest that both know is spoken. */
    struct probe old;
    rig_match(&rig, "bng2", "p");
    probe_init(&old, &rig, "bng2");
    probe_open(&old);
    assert_int_equal(probe_hello_raw(&old, 1, 1)->version, 1);
    probe_domains(&old, 0, NULL);
    probe_sync_done(&old);
    old.six = true;
    old.delegated = 56;
    dc = probe_create(&old, "x", "homes", 52);
    assert_int_equal(dc->status->code, 3);
    assert_non_null(strstr(dc->status->text, "version 2"));
    probe_open(&old);
    assert_int_equal(probe_hello_raw(&old, 0, 9)->version, 2);
    probe_free(&old);
}

/* proves: APM-071 APM-072 P-23 */
static void a_domain_made_anew(void **state) {
    rig_partition6(&rig, "homes", 40, 52, 56, "{\"prefix\":\"2001:db8::/48\"}");
    rig_partition(&rig, "metro", 16, 28, "{\"prefix\":\"10.0.0.0/16\"}");
    a.six = false;
    const char *names[] = {"d"};
    probe_connect_empty(&a);
    probe_create(&a, "d", "metro", 24);
    probe_apportion(&a, "1", "d", 1, 24);
    probe_result(&a, "1", 0, "");
    /* The gateway comes back: `d` delegates now. The old pool is nowhere: it is free again. */
    a.six = true;
    a.delegated = 56;
    probe_connect(&a);
    assert_int_equal(probe_domains(&a, 1, names)->n_keep, 1);
    assert_int_equal(probe_pools(&a, "d", "homes", 0, NULL)->status->code, 5);
    assert_null(domain_of("d"));
    assert_int_equal(partition_get(rig.pools, "metro", false)->n_pools, 0);
    assert_int_equal(probe_create(&a, "d", "homes", 52)->status->code, 0);
    struct probe_pool mine[] = {{"d", "2001:db8:0:2000::/52", 16, 1, 0, false},
                                {"e", "10.0.0.0/24", 254, 1, 0, false}};
    const Openapmi__V1__PoolSyncResult *r = probe_pools(&a, "d", "homes", 1, mine);
    assert_int_equal(r->verdict[0]->verdict, OPENAPMI__V1__POOL_VERDICT__VERDICT__ADOPTED);
    probe_sync_done(&a);
    assert_int_equal(domain_of("d")->n_pools, 1);
    /* Both families in one domain are a mistake, and nothing is freed for it. */
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__PoolSync ps = OPENAPMI__V1__POOL_SYNC__INIT;
    Openapmi__V1__Pool po = OPENAPMI__V1__POOL__INIT, *list[] = {&po};
    Openapmi__V1__Prefix px = OPENAPMI__V1__PREFIX__INIT;
    uint8_t ten[] = {10, 0, 0, 0};
    px.af = OPENAPMI__V1__ADDRESS_FAMILY__IPV4;
    px.address = (ProtobufCBinaryData){4, ten};
    px.length = 24;
    po.name = (char *)(uintptr_t) "e";
    po.prefix = &px;
    ps.domain = (char *)(uintptr_t) "d";
    ps.af = OPENAPMI__V1__ADDRESS_FAMILY__IPV6;
    ps.delegated_length = 56;
    ps.pool = list;
    ps.n_pool = 1;
    m.body_case = OPENAPMI__V1__ENTITY_MSG__BODY_POOL_SYNC;
    m.pool_sync = &ps;
    probe_send(&a, &m);
    assert_true(a.ended);
    assert_int_equal(a.end_code, 3);
    assert_int_equal(domain_of("d")->n_pools, 1);
}

/* ---- changes of a partition that is in use --------------------------------------------------- */

/* proves: APM-018 APM-021 */
static void partitions_in_use(void **state) {
    rig_partition6(&rig, "six", 40, 52, 56,
                   "{\"prefix\":\"2001:db8::/48\",\"reserved-prefix\":[{\"prefix\":"
                   "\"2001:db8:0:f000::/52\",\"entity\":\"bng1\",\"pool-domain\":\"vip\"}]}");
    a.delegated = 56;
    probe_connect_empty(&a);
    probe_create(&a, "d", "six", 52);
    probe_create(&a, "vip", "six", 52);
    char px[IP_TEXT_MAX];
    assert_int_equal(probe_apportion(&a, "1", "d", 15, 52)->n_add, 15);
    probe_result(&a, "1", 0, "");
    assert_int_equal(probe_apportion(&a, "2", "d", 1, 52)->n_add, 0);
    const answer_msg *r = probe_apportion(&a, "3", "vip", 1, 52);
    assert_string_equal(prefix_text(r->add[0], px), "2001:db8:0:f000::/52");
    probe_result(&a, "3", 0, "");
    assert_int_equal(part(40, 52, 60, "{\"prefix\":\"2001:db8::/48\"}"), ERR_IN_USE);
    says("partition=six", "it can't be made one of IPv6 prefixes of length 60");
    assert_int_equal(part(40, 51, 56, "{\"prefix\":\"2001:db8::/48\"}"), ERR_IN_USE);
    says("max-prefix-len", "longer than the new");
    assert_int_equal(part(40, 52, 56, "{\"prefix\":\"2001:db8::/49\"}"), ERR_IN_USE);
    says("2001:db8::", "8 allocated prefixes outside 2001:db8::/49");
    /* Forced, the rest stays until it is reclaimed, also over a restart and without the partition.
     */
    assert_int_equal(
        rig_try_partition6(&rig, "six", 40, 52, 56, "{\"prefix\":\"2001:db8::/49\"}", true, &err),
        ERR_OK);
    rig_verify(&rig);
    probe_close(&a);
    rig_restart(&rig);
    assert_int_equal(rig_put(&rig, "/weft-apm:apm/inet-pool/partition=six", NULL, true, &err),
                     ERR_OK);
    rig_verify(&rig);
    rig_restart(&rig);
    rig_verify(&rig);
    assert_int_equal(domain_of("d")->n_pools, 15);
    assert_int_equal(part(40, 52, 56, "{\"prefix\":\"2001:db8::/48\"}"), ERR_IN_USE);
    assert_int_equal(part(40, 52, 56, "{\"prefix\":\"2001:db8:1::/48\"}"), ERR_OK);
    rig_verify(&rig);
    /* What it is for may change when nothing is in it. */
    assert_int_equal(rig_call(&rig, NULL, NULL, &err, "release-entity", "entity", "bng1", NULL),
                     ERR_OK);
    rig_partition(&rig, "six", 16, 28, "{\"prefix\":\"10.0.0.0/16\"}");
    assert_int_equal(prefix_tree_family(partition_get(rig.pools, "six", false)->tree), 4);
    rig_restart(&rig);
    rig_partition6(&rig, "six", 100, 124, 0, "{\"prefix\":\"2001:db8::/104\"}");
    rig_partition6(&rig, "six", 32, 64, 0, "{\"prefix\":\"2001:db8::/32\"}");
    assert_int_equal(partition_get(rig.pools, "six", false)->skipped_roots, 0);
}

/* The closed loop with a simulated gateway: subscribers come and go, everything fails once. */
/* proves: APM-001 APM-003 APM-070 APM-076 */
static void the_loop(void **state) {
    struct sim_world w;
    sim_open(&w, INT64_C(1780000000));
    rig_profile(&w.rig, "p", 4, 40, ",\"auto-reclamation\":{}");
    rig_match(&w.rig, "g", "p");
    rig_partition6(&w.rig, "homes", 32, 52, 56, "{\"prefix\":\"2001:db8::/40\"}");
    rig_partition6(&w.rig, "links", 100, 124, 0, "{\"prefix\":\"2001:db8:ffff::/112\"}");
    struct sim_bng *g = sim_add(&w, "g");
    struct sim_domain *pd = sim_add_domain6(g, "pd", "homes", 52, 56);
    struct sim_domain *na = sim_add_domain6(g, "na", "links", 124, 0);
    for (unsigned round = 0; round < 6; round++) {
        sim_subscribers(pd, round % 2 == 0 ? 100 : 3);
        sim_subscribers(na, round % 2 == 0 ? 77 : 2);
        assert_true(sim_settle(&w, 5, 1000));
        sim_verify(&w, true);
        assert_int_equal(sim_used(pd), round % 2 == 0 ? 100 : 3);
        assert_true(round % 2 == 0 ? pd->n_pools >= 7 : pd->n_pools <= 3);
        if (round == 1) {
            sim_crash_manager(&w);
        } else if (round == 2) {
            sim_crash_bng(g);
            g->digest = true;
        } else if (round == 3) {
            sim_break(g);
        }
    }
    sim_close(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_a_partition_may_be, setup, teardown),
        cmocka_unit_test_setup_teardown(prefixes_to_delegate, setup, teardown),
        cmocka_unit_test_setup_teardown(counts_without_end, setup, teardown),
        cmocka_unit_test_setup_teardown(addresses, setup, teardown),
        cmocka_unit_test_setup_teardown(kinds_must_fit, setup, teardown),
        cmocka_unit_test_setup_teardown(a_domain_made_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(partitions_in_use, setup, teardown),
        cmocka_unit_test(the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
