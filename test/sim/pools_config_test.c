// SPDX-License-Identifier: Apache-2.0
/* What a change of configuration may do, and what the shows say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "probe.h"

static struct rig rig;
static struct probe a;
static struct err err;

static int setup(void **state) {
    rig_open(&rig, INT64_C(1780000000));
    rig_profile(&rig, "p", 100, 400, "");
    rig_match(&rig, "bng1", "p");
    probe_init(&a, &rig, "bng1");
    return 0;
}

static int teardown(void **state) {
    rig_verify(&rig);
    probe_free(&a);
    rig_close(&rig);
    return 0;
}

static enum err_code part(const char *name, unsigned min, unsigned max, const char *roots,
                          bool force) {
    err = (struct err){.code = ERR_OK};
    return rig_try_partition(&rig, name, min, max, roots, force, &err);
}

static void says(const char *path, const char *text) {
    if (strstr(err.path, path) == NULL || strstr(err.text, text) == NULL) {
        fail_msg("%s: %s", err.path, err.text);
    }
}

static void take(unsigned n) {
    probe_connect_empty(&a);
    probe_create(&a, "d", "metro", 24);
    assert_int_equal(probe_apportion(&a, "1", "d", n, 24)->n_add, n);
    probe_result(&a, "1", 0, "");
}

static struct partition *metro(void) {
    return partition_get(rig.pools, "metro", false);
}

/* proves: APM-010 APM-011 APM-012 APM-013 */
static void limits_of_roots(void **state) {
    for (unsigned len = 19; len <= 25; len++) {
        char root[64];
        snprintf(root, sizeof root, "{\"prefix\":\"10.0.0.0/%u\"}", len);
        enum err_code rc = part("metro", 20, 24, root, false);
        if (len >= 20 && len <= 24) {
            assert_int_equal(rc, ERR_OK);
        } else {
            assert_int_equal(rc, ERR_INVALID);
            says("partition=metro/prefix=10.0.0.0%2F", "min-prefix-len 20 to max-prefix-len 24");
        }
    }
    static const char *const nobodys[] = {"0.16.0.0/20", "127.0.0.0/20", "224.0.0.0/20",
                                          "239.255.240.0/20"};
    for (size_t i = 0; i < sizeof nobodys / sizeof nobodys[0]; i++) {
        char root[48];
        snprintf(root, sizeof root, "{\"prefix\":\"%s\"}", nobodys[i]);
        assert_int_equal(part("metro", 20, 24, root, false), ERR_INVALID);
        says("partition=metro/prefix=", "no addresses for subscribers");
    }
    assert_int_not_equal(part("metro", 24, 20, "", false), ERR_OK);
    assert_int_not_equal(part("metro", 20, 24, "{\"prefix\":\"10.0.0.1/24\"}", false), ERR_OK);
    assert_non_null(metro()); /* what was refused changed nothing */
    assert_int_equal(metro()->cfg->roots[0].prefix.len, 24);
}

/* proves: APM-017 */
static void roots_do_not_overlap(void **state) {
    assert_int_equal(
        part("metro", 16, 28, "{\"prefix\":\"10.0.0.0/16\"},{\"prefix\":\"10.0.4.0/24\"}", false),
        ERR_INVALID);
    says("prefix=10.0", "overlaps root prefix");
    rig_partition(&rig, "metro", 16, 28, "{\"prefix\":\"10.0.0.0/16\"}");
    assert_int_equal(part("rural", 16, 28, "{\"prefix\":\"10.0.4.0/24\"}", false), ERR_INVALID);
    says("partition=rural", "of partition metro");
    assert_int_equal(part("rural", 16, 28, "{\"prefix\":\"10.1.0.0/24\"}", false), ERR_OK);
    assert_int_equal(part("metro", 8, 28, "{\"prefix\":\"10.0.0.0/15\"}", false), ERR_INVALID);
}

/* proves: APM-021 */
static void reservations(void **state) {
#define RESERVED(px, where)                                                                        \
    "{\"prefix\":\"10.0.0.0/16\",\"reserved-prefix\":[{\"prefix\":\"" px                           \
    "\",\"entity\":\"bng1\",\"pool-domain\":\"" where "\"}]}"
    assert_int_equal(part("metro", 16, 28, RESERVED("10.9.0.0/24", "d"), false), ERR_INVALID);
    says("prefix=10.0.0.0%2F16", "not inside its root");
    assert_int_equal(part("metro", 16, 28, RESERVED("10.0.0.0/30", "d"), false), ERR_INVALID);
    rig_partition(&rig, "metro", 16, 28, "{\"prefix\":\"10.0.0.0/16\"}");
    take(1); /* 10.0.0.0/24 of bng1 domain d */
    assert_int_equal(part("metro", 16, 28, RESERVED("10.0.0.0/23", "other"), false), ERR_IN_USE);
    says("prefix=10.0.0.0%2F16", "allocated to bng1 domain d");
    assert_int_equal(part("metro", 16, 28, RESERVED("10.0.0.0/23", "d"), false), ERR_OK);
    struct buf text = BUF_INIT;
    rig_call(&rig, &text, NULL, NULL, "show-prefix", "prefix", "10.0.1.0/24", NULL);
    assert_non_null(strstr(buf_cstr(&text), "reserved"));
    assert_non_null(strstr(buf_cstr(&text), "bng1"));
    buf_free(&text);
}

/* proves: APM-018 */
static void roots_in_use(void **state) {
    rig_partition(&rig, "metro", 16, 28,
                  "{\"prefix\":\"10.0.0.0/16\"},{\"prefix\":\"10.1.0.0/16\"}");
    take(3);
    assert_int_equal(part("metro", 16, 28, "{\"prefix\":\"10.1.0.0/16\"}", false), ERR_IN_USE);
    says("prefix=10.0.0.0%2F16", "3 allocated prefixes");
    assert_int_equal(rig_put(&rig, "/weft-apm:apm/inet-pool/partition=metro", NULL, false, &err),
                     ERR_IN_USE);
    assert_int_equal(part("metro", 16, 23, "{\"prefix\":\"10.0.0.0/16\"}", false), ERR_IN_USE);
    says("max-prefix-len", "length 24");
    /* Shrinking is fine while nothing lies outside. */
    assert_int_equal(part("metro", 16, 28, "{\"prefix\":\"10.0.0.0/17\"}", false), ERR_OK);
    assert_int_equal(part("metro", 16, 28, "{\"prefix\":\"10.0.0.0/16\"}", false), ERR_OK);
    assert_int_equal(part("metro", 16, 28, "{\"prefix\":\"10.0.128.0/17\"}", false), ERR_IN_USE);
    /* Forced: what is allocated stays until it comes back, also over a restart. */
    assert_int_equal(part("metro", 16, 28, "{\"prefix\":\"10.1.0.0/16\"}", true), ERR_OK);
    assert_int_equal(metro()->n_pools, 3);
    char t[IP_TEXT_MAX];
    assert_string_equal(prefix_text(probe_apportion(&a, "2", "d", 1, 24)->add[0], t),
                        "10.1.0.0/24");
    probe_result(&a, "2", 0, "");
    rig_verify(&rig);
    probe_close(&a);
    rig_restart(&rig);
    rig_verify(&rig);
    assert_int_equal(metro()->n_pools, 4);
    assert_false(list_empty(&metro()->retiring));
    struct buf text = BUF_INIT;
    rig_call(&rig, &text, NULL, NULL, "show-partition", "name", "metro", "tree", "", NULL);
    assert_non_null(strstr(buf_cstr(&text), "retiring"));
    buf_free(&text);
    rig_call(&rig, NULL, NULL, NULL, "release-entity", "entity", "bng1", NULL);
    assert_int_equal(metro()->n_pools, 0);
    assert_true(list_empty(&metro()->retiring));
    assert_int_equal(prefix_tree_root_count(metro()->tree), 1);
}

/* proves: APM-018 */
static void a_removed_root_comes_back(void **state) {
    rig_partition(&rig, "metro", 16, 28, "{\"prefix\":\"10.0.0.0/16\"}");
    take(3);
    assert_int_equal(rig_put(&rig, "/weft-apm:apm/inet-pool/partition=metro", NULL, true, &err),
                     ERR_OK);
    assert_int_equal(metro()->n_pools, 3);
    assert_int_equal(probe_apportion(&a, "2", "d", 1, 24)->reason,
                     OPENAPMI__V1__REASON__PARTITION_EMPTY);
    rig_partition(&rig, "metro", 16, 28, "{\"prefix\":\"10.0.0.0/16\"}");
    assert_true(list_empty(&metro()->retiring));
    assert_int_equal(probe_apportion(&a, "3", "d", 1, 24)->n_add, 1);
    rig_verify(&rig);
    /* Shrunk by force: the rest retires piece by piece. */
    assert_int_equal(part("metro", 16, 28, "{\"prefix\":\"10.0.128.0/17\"}", true), ERR_OK);
    rig_verify(&rig);
    probe_close(&a);
    rig_restart(&rig);
    rig_verify(&rig);
    assert_int_equal(metro()->n_pools, 4);
}

/* A dry run, and a refusal, leave no trace. */
static void what_is_not_done_is_not_seen(void **state) {
    rig_partition(&rig, "metro", 16, 28, "{\"prefix\":\"10.0.0.0/16\"}");
    take(2);
    size_t targets = 0;
    assert_int_equal(rig_dry_run(&rig, "/weft-apm:apm/pool-domain-profile=p",
                                 "{\"weft-apm:pool-domain-profile\":[{\"name\":\"p\","
                                 "\"apportion-threshold\":150,\"reclaim-threshold\":500}]}",
                                 NULL, &targets, &err),
                     ERR_OK);
    assert_int_equal(targets, 1);
    rig_pass(&rig, NS_PER_S);
    assert_null(probe_order(&a));
    struct profile *p = map_get(&rig.pools->profiles, "p");
    assert_int_equal(p->apportion, 100);
    assert_int_equal(
        rig_dry_run(&rig, "/weft-apm:apm/entity-match=bng1", NULL, NULL, &targets, &err), ERR_OK);
    assert_false(a.ended);
    assert_int_equal(probe_apportion(&a, "2", "d", 1, 24)->n_add, 1);
}

/* proves: APM-059 APM-083 */
static void profiles(void **state) {
    assert_int_not_equal(rig_try_profile(&rig, "q", 400, 400, "", false, &err), ERR_OK);
    assert_int_not_equal(rig_try_profile(&rig, "q", 100, 400,
                                         ",\"auto-reclamation\":{\"active\":\"window\"}", false,
                                         &err),
                         ERR_OK);
    assert_int_not_equal(rig_try_profile(&rig, "q", 100, 400,
                                         ",\"auto-reclamation\":{\"active\":\"window\","
                                         "\"window-start\":\"25:00+0000\"}",
                                         false, &err),
                         ERR_OK);
    assert_int_not_equal(rig_try_profile(&rig, "q", 100, 400,
                                         ",\"auto-reclamation\":{\"active\":\"window\","
                                         "\"window-start\":\"04:00+0000\",\"window-duration\":14}",
                                         false, &err),
                         ERR_OK);
    assert_int_not_equal(rig_try_profile(&rig, "q", 100, 400,
                                         ",\"auto-reclamation\":{\"active\":\"window\","
                                         "\"window-start\":\"04:00+0000\","
                                         "\"window-duration\":721}",
                                         false, &err),
                         ERR_OK);
    rig_partition(&rig, "metro", 16, 28, "{\"prefix\":\"10.0.0.0/16\"}");
    take(1);
    struct buf warnings = BUF_INIT;
    rig_dry_run(&rig, "/weft-apm:apm/pool-domain-profile=p",
                "{\"weft-apm:pool-domain-profile\":[{\"name\":\"p\",\"apportion-threshold\":200,"
                "\"reclaim-threshold\":454}]}",
                &warnings, NULL, &err);
    assert_non_null(strstr(buf_cstr(&warnings), "one reclaim would cause"));
    buf_clear(&warnings);
    rig_dry_run(&rig, "/weft-apm:apm/pool-domain-profile=p",
                "{\"weft-apm:pool-domain-profile\":[{\"name\":\"p\",\"apportion-threshold\":200,"
                "\"reclaim-threshold\":455}]}",
                &warnings, NULL, &err);
    assert_int_equal(warnings.len, 0);
    buf_free(&warnings);
}

/* proves: F-08 */
/* Design 8: a change that would drain or cut too many asks first. */
static void guard_rails(void **state) {
    rig_partition(&rig, "metro", 16, 28, "{\"prefix\":\"10.0.0.0/16\"}");
    take(3);
    const struct probe_pool pools[] = {{"d", NULL, 254, 100, 0, false},
                                       {"d-0000", NULL, 254, 100, 0, false},
                                       {"d-0001", NULL, 254, 90, 0, false}};
    probe_stats(&a, "d", 472, 290, 3, pools);
    err.code = ERR_OK;
    assert_int_equal(rig_put(&rig, "/weft-apm:apm/entity-match=bng1", NULL, false, &err),
                     ERR_REFUSED);
    says("/weft-apm:apm", "290 of 290 subscribers");
    /* Lower thresholds with automatic reclamation would move 90 of 290. */
    assert_int_equal(rig_try_profile(&rig, "p", 50, 300, ",\"auto-reclamation\":{}", false, &err),
                     ERR_REFUSED);
    says("/weft-apm:apm", "90 of 290");
    /* The share is a setting: 90 of 290 are 31 %. */
    rig_must_put(&rig, "/weft-system:system/settings",
                 "{\"weft-system:settings\":{\"guard-rails\":{\"drain-percent\":31}}}");
    assert_int_equal(rig_try_profile(&rig, "p", 50, 300, ",\"auto-reclamation\":{}", false, &err),
                     ERR_REFUSED);
    says("/weft-apm:apm", "more than 31%");
    rig_must_put(&rig, "/weft-system:system/settings",
                 "{\"weft-system:settings\":{\"guard-rails\":{\"drain-percent\":32}}}");
    assert_int_equal(rig_try_profile(&rig, "p", 50, 300, ",\"auto-reclamation\":{}", false, &err),
                     ERR_OK);
    assert_int_equal(rig_try_profile(&rig, "p", 100, 400, "", false, &err), ERR_OK);
    rig_must_put(&rig, "/weft-system:system/settings",
                 "{\"weft-system:settings\":{\"guard-rails\":{\"drain-percent\":0}}}");
    assert_int_equal(rig_try_profile(&rig, "p", 50, 300, ",\"auto-reclamation\":{}", false, &err),
                     ERR_REFUSED);
    assert_int_equal(rig_try_profile(&rig, "p", 50, 300, ",\"auto-reclamation\":{}", true, &err),
                     ERR_OK);
    assert_int_equal(rig_put(&rig, "/weft-apm:apm/entity-match=bng1", NULL, true, &err), ERR_OK);
}

/* ---- shows --------------------------------------------------------------------------------------
 */

static void shown(const char *expect, const char *rpc, const char *name, const char *value) {
    struct buf text = BUF_INIT;
    err.code = ERR_OK;
    enum err_code rc = name ? rig_call(&rig, &text, NULL, &err, rpc, name, value, NULL)
                            : rig_call(&rig, &text, NULL, &err, rpc, NULL);
    if (rc != ERR_OK || strstr(buf_cstr(&text), expect) == NULL) {
        fail_msg("%s: no \"%s\" in: %s%s", rpc, expect, rc != ERR_OK ? err.text : "",
                 buf_cstr(&text));
    }
    buf_free(&text);
}

/* proves: APM-016 APM-040 APM-058 APM-161 */
static void the_shows(void **state) {
    shown("No entities.", "show-entity", NULL, NULL);
    shown("No partitions.", "show-partition", NULL, NULL);
    rig_partition(&rig, "metro", 16, 28, "{\"prefix\":\"10.0.0.0/16\"}");
    take(2);
    shown("bng1       reachable", "show-entity", NULL, NULL);
    shown("  Entity ID:  bng1\n", "show-entity", "id", "bng1");
    shown("d-0000", "show-entity", "id", "bng1");
    shown("No alarms.", "show-alarms", NULL, NULL);
    shown("No reclamations", "show-reclaim-events", NULL, NULL);
    shown("metro", "show-partition", NULL, NULL);
    shown("Pool       :  d-0000 (active)", "show-prefix", "prefix", "10.0.1.0/24");
    shown("State      :  available", "show-prefix", "prefix", "10.0.2.0/24");
    shown("State      :  split", "show-prefix", "prefix", "10.0.0.0/16");
    shown("Allocations        :  2", "show-statistics", NULL, NULL);
    shown("draws /24 prefixes from partition metro", "explain-domain", "domain", "d");
    shown("can give 254 more", "explain-domain", "domain", "d");
    assert_int_equal(
        rig_call(&rig, NULL, NULL, &err, "show-prefix", "prefix", "172.16.0.0/24", NULL),
        ERR_ABSENT);
    assert_int_equal(rig_call(&rig, NULL, NULL, &err, "show-entity", "id", "nobody", NULL),
                     ERR_ABSENT);
    assert_int_equal(rig_call(&rig, NULL, NULL, &err, "clear-statistics", NULL), ERR_OK);
    shown("Allocations        :  0", "show-statistics", NULL, NULL);
    struct buf text = BUF_INIT;
    rig_call(&rig, &text, NULL, NULL, "show-partition", "name", "metro", "tree", "", NULL);
    assert_non_null(strstr(buf_cstr(&text), "10.0.0.0/24"));
    assert_non_null(strstr(buf_cstr(&text), "bng1 d d (active)"));
    assert_non_null(strstr(buf_cstr(&text), "10.0.128.0/17"));
    buf_free(&text);
}

/* A tree of thousands of lines comes in parts, and all of it comes once. */
static void long_trees_come_in_parts(void **state) {
    rig_partition(&rig, "metro", 8, 30,
                  "{\"prefix\":\"10.0.0.0/16\"},{\"prefix\":\"10.1.0.0/20\"}");
    probe_connect_empty(&a);
    probe_create(&a, "a-domain-with-quite-a-long-name-to-fill-the-lines", "metro", 30);
    for (int i = 0; i < 80; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        assert_int_equal(
            probe_apportion(&a, id, "a-domain-with-quite-a-long-name-to-fill-the-lines", 64, 30)
                ->n_add,
            64);
    }
    struct buf text = BUF_INIT;
    rig_call(&rig, &text, NULL, NULL, "show-partition", "name", "metro", "tree", "", NULL);
    assert_true(text.len > 2 * (256 << 10));
    size_t allocated = 0, roots = 0;
    for (char *line = strtok((char *)(uintptr_t)buf_cstr(&text), "\n"); line != NULL;
         line = strtok(NULL, "\n")) {
        allocated += strstr(line, " allocated ") != NULL;
        roots += strncmp(line, "10.0.0.0/16 ", 12) == 0 || strncmp(line, "10.1.0.0/20 ", 12) == 0;
    }
    assert_int_equal(allocated, 80 * 64);
    assert_int_equal(roots, 2);
    buf_free(&text);
}

/* 24 hours of use are kept, over a restart; the forecast follows the line. */
static void forecast(void **state) {
    rig_partition(&rig, "metro", 16, 28, "{\"prefix\":\"10.0.0.0/20\"}"); /* 16 x /24 */
    probe_connect_empty(&a);
    probe_create(&a, "d", "metro", 28);
    for (int hour = 0; hour < 6; hour++) { /* 16 addresses an hour */
        char id[16];
        snprintf(id, sizeof id, "%d", hour);
        assert_int_equal(probe_apportion(&a, id, "d", 1, 28)->n_add, 1);
        probe_result(&a, id, 0, "");
        for (int i = 0; i < 12; i++) {
            clock_fake_advance(&rig.clock, 299 * NS_PER_S);
            rig_pass(&rig, NS_PER_S);
        }
    }
    struct forecast_line {
        double growth, days;
    } f = {0, 0};
    for (int again = 0; again < 2; again++) {
        struct buf text = BUF_INIT;
        rig_call(&rig, &text, NULL, NULL, "show-partition-forecast", NULL);
        const char *line = strstr(buf_cstr(&text), "metro");
        assert_non_null(line);
        unsigned free, minutes;
        assert_int_equal(sscanf(line, "metro %u %lf %u %lf", &free, &f.growth, &minutes, &f.days),
                         4);
        assert_int_equal(free, 4096 - 96);
        assert_true(f.growth > 330 && f.growth < 440); /* 384 a day */
        assert_true(f.days > 9 && f.days < 12.5);
        buf_free(&text);
        probe_close(&a);
        rig_restart(&rig);
    }
}

struct seen_sample {
    int64_t time;
    unsigned total, allocated, used;
};

static size_t utilization(const char *partition, struct seen_sample *out, size_t max) {
    struct buf text = BUF_INIT, json = BUF_INIT;
    size_t n = 0, rows = 0;
    if (partition != NULL) {
        rig_call(&rig, &text, &json, &err, "show-utilization", "partition", partition, NULL);
    } else {
        rig_call(&rig, &text, &json, &err, "show-utilization", NULL);
    }
    char *copy = mem_strdup(buf_cstr(&text));
    for (char *line = strtok(copy, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        char name[64], when[64];
        struct seen_sample s;
        if (sscanf(line, "%63s %63s %u %u %u", name, when, &s.total, &s.allocated, &s.used) == 5) {
            assert_true(time_parse(when, &s.time));
            rows++;
            if (n < max) {
                out[n++] = s;
            }
        }
    }
    /* As many in JSON. */
    for (const char *p = buf_cstr(&json); (p = strstr(p, "\"time\":")) != NULL; p++) {
        rows--;
    }
    assert_int_equal(rows, 0);
    mem_free(copy);
    buf_free(&text);
    buf_free(&json);
    return n;
}

/* 24 hours of use, a sample in five minutes, kept without help from outside: over a restart, and no
 * longer than that. */
/* proves: APM-100 */
static void a_day_of_utilisation(void **state) {
    struct seen_sample s[400];
    rig_partition(&rig, "metro", 16, 28, "{\"prefix\":\"10.0.0.0/20\"}");
    probe_connect_empty(&a);
    probe_create(&a, "d", "metro", 28);
    unsigned used = 0;
    for (int hour = 0; hour < 30; hour++) {
        char id[16];
        snprintf(id, sizeof id, "%d", hour);
        assert_int_equal(probe_apportion(&a, id, "d", 1, 28)->n_add, 1);
        probe_result(&a, id, 0, "");
        used = 5 * (unsigned)hour;
        probe_stats(&a, "d", 1000, used, 0, NULL);
        if (hour == 20) {
            probe_close(&a);
            rig_restart(&rig);
            probe_connect(&a);
            const char *names[] = {"d"};
            uint8_t digest[32];
            probe_domains(&a, 1, names);
            domain_digest(entity_domain(pools_entity(rig.pools, "bng1"), "d"), digest);
            assert_int_equal(probe_digest(&a, "d", digest)->status->code, 0);
            probe_sync_done(&a);
            probe_stats(&a, "d", 1000, used, 0, NULL);
        }
        for (int i = 0; i < 12; i++) {
            clock_fake_advance(&rig.clock, 299 * NS_PER_S);
            rig_pass(&rig, NS_PER_S);
        }
    }
    int64_t now = rig_now(&rig);
    size_t n = utilization("metro", s, 400);
    assert_int_equal(n, POOLS_SAMPLES);
    for (size_t i = 0; i < n; i++) {
        assert_true(s[i].time > now - 86400 - 300 && s[i].time <= now);
        assert_true(i == 0 || s[i].time == s[i - 1].time + 300);
        assert_int_equal(s[i].total, 4096);
        assert_true(i == 0 || s[i].allocated >= s[i - 1].allocated);
    }
    assert_int_equal(s[n - 1].allocated, 30 * 16);
    assert_int_equal(s[n - 1].used, 5 * 29);
    /* A day before there were six hours' worth less than now. */
    assert_true(s[0].allocated >= 6 * 16 && s[0].allocated <= 7 * 16);
    assert_true(s[0].used >= 5 * 5 && s[0].used <= 6 * 5);
    assert_int_equal(
        rig_call(&rig, NULL, NULL, &err, "show-utilization", "partition", "none", NULL),
        ERR_ABSENT);
    /* Another partition has its own. */
    rig_partition(&rig, "rural", 16, 28, "{\"prefix\":\"10.9.0.0/24\"}");
    rig_pass(&rig, 400 * NS_PER_S);
    assert_in_range(utilization("rural", s, 400), 1, 2);
    assert_int_equal(s[0].total, 256);
}

/* What RESTCONF shows is the model's. */
/* proves: APM-103 */
static void state_data(void **state) {
    rig_partition(&rig, "metro", 16, 28, "{\"prefix\":\"10.0.0.0/16\"}");
    take(2);
    static const char *const paths[] = {
        "/weft-apm:apm/state",        "/weft-apm:apm/state/statistics",
        "/weft-apm:apm/state/entity", "/weft-apm:apm/state/entity=bng1",
        "/weft-apm:apm/state/alarm",  "/weft-apm:apm/state/partition=metro"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct buf json = BUF_INIT;
        rig_look(&rig, paths[i], &json);
        assert_true(json.len > 1);
        buf_free(&json);
    }
    struct buf out = BUF_INIT;
    core_metrics(rig.core, &out);
    assert_non_null(strstr(buf_cstr(&out), "weft_apm_allocations_total 2\n"));
    assert_non_null(
        strstr(buf_cstr(&out), "weft_apm_partition_allocated{partition=\"metro\"} 512\n"));
    buf_free(&out);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(limits_of_roots),
        T(roots_do_not_overlap),
        T(reservations),
        T(roots_in_use),
        T(a_removed_root_comes_back),
        T(what_is_not_done_is_not_seen),
        T(profiles),
        T(guard_rails),
        T(the_shows),
        T(long_trees_come_in_parts),
        T(forecast),
        T(a_day_of_utilisation),
        T(state_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
