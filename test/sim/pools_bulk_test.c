// SPDX-License-Identifier: Apache-2.0
/*
 * Many pools reclaimed by a job: told again and again, each time with one failure at another
 * message (the connection, the gateway, the manager as it is killed), or cancelled there. Whatever
 * happens, the pools that are not needed are free again in the end, none that is needed is, and
 * nothing drains any more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/logger.h"
#include "bng.h"
#include "core/job.h"
#include "pools/bulk.h"

enum failure { NOTHING, BREAK, GATEWAY, MANAGER, CANCEL, CANCEL_AND_MANAGER, FAILURES };

static struct sim_world w;
static struct sim_domain *da, *db, *dc;
static enum failure failure;
static uint64_t step, at;
static bool hit;
static unsigned most_unanswered;

static void cancel(void) {
    rig_call(&w.rig, NULL, NULL, NULL, "weft-job:job-cancel", "id", "1", NULL);
}

static void fail_now(struct sim_bng *b) {
    hit = true;
    switch (failure) {
    case BREAK:
        sim_break(b);
        break;
    case GATEWAY:
        sim_crash_bng(b);
        break;
    case MANAGER:
        sim_crash_manager(&w);
        break;
    case CANCEL_AND_MANAGER:
        cancel();
        sim_crash_manager(&w);
        break;
    default:
        cancel();
    }
    sim_verify(&w, false);
}

/* Of each gateway: what was ordered and is not answered. */
static void count_unanswered(void) {
    for (uint32_t i = 0; i < w.rig.pools->n_entities; i++) {
        unsigned n = 0;
        for (uint32_t k = 0; k < w.rig.pools->n_domains; k++) {
            const struct domain *d = w.rig.pools->domains[k];
            for (uint32_t x = 0; d != NULL && d->entity->id == i && x < d->n_pools; x++) {
                n += d->pools[x].state == POOL_DRAIN || d->pools[x].state == POOL_REMOVING;
            }
        }
        most_unanswered = n > most_unanswered ? n : most_unanswered;
    }
}

static bool deliver(struct sim_bng *b, bool up) {
    if (b->conn == NULL || (up ? sim_up_empty(b) : sim_down_empty(b))) {
        return false;
    }
    if (failure != NOTHING && step++ == at) {
        fail_now(b);
    } else if (up) {
        sim_deliver_up(b);
    } else {
        sim_deliver_down(b);
    }
    count_unanswered();
    return true;
}

static void second(void) {
    bool moved = true;
    for (size_t i = 0; i < w.n_bngs; i++) {
        sim_tick(w.bngs[i]);
    }
    while (moved) {
        moved = false;
        for (size_t i = 0; i < w.n_bngs; i++) {
            moved |= deliver(w.bngs[i], true);
            moved |= deliver(w.bngs[i], false);
        }
    }
    if (failure != NOTHING && step++ == at) { /* between messages, too */
        fail_now(w.bngs[0]);
    }
    rig_pass(&w.rig, NS_PER_S);
}

static void until_over(uint64_t id) {
    for (int s = 0; job_lives(w.rig.core, id); s++) {
        assert_true(s < 900);
        second();
    }
}

static void shown(const char *id, char *out, size_t n) {
    struct buf text = BUF_INIT;
    assert_int_equal(rig_call(&w.rig, &text, NULL, NULL, "weft-job:show-job", "id", id, NULL),
                     ERR_OK);
    snprintf(out, n, "%s", buf_cstr(&text));
    buf_free(&text);
}

static void assert_has(const char *text, const char *part) {
    if (strstr(text, part) == NULL) {
        fail_msg("\"%s\" is not in:\n%s\n(failure %d at %lu)", part, text, failure,
                 (unsigned long)at);
    }
}

static size_t pools_of(const char *entity, const char *domain) {
    struct entity *en = pools_entity(w.rig.pools, entity);
    struct domain *d = en != NULL ? entity_domain(en, domain) : NULL;
    return d != NULL ? d->n_pools : 0;
}

static void stats(void) {
    for (size_t i = 0; i < w.n_bngs; i++) {
        for (size_t k = 0; k < w.bngs[i]->n_domains; k++) {
            sim_stats(w.bngs[i]->domains[k]);
        }
    }
    assert_true(sim_settle(&w, 2, 60));
}

/* Two gateways; a and c have three pools of 14 addresses each and need one, b needs its only one.
 */
static void world(void) {
    failure = NOTHING;
    step = 0;
    hit = false;
    sim_open(&w, INT64_C(1780000000));
    rig_profile(&w.rig, "p", 4, 10000, "");
    rig_match(&w.rig, "one", "p");
    rig_match(&w.rig, "two", "p");
    rig_partition(&w.rig, "metro", 24, 28, "{\"prefix\":\"192.0.2.0/24\"}");
    struct sim_bng *one = sim_add(&w, "one"), *two = sim_add(&w, "two");
    da = sim_add_domain(one, "a", "metro", 28);
    db = sim_add_domain(one, "b", "metro", 28);
    dc = sim_add_domain(two, "c", "metro", 28);
    sim_subscribers(da, 30);
    sim_subscribers(db, 5);
    sim_subscribers(dc, 30);
    assert_true(sim_settle(&w, 3, 300));
    sim_subscribers(da, 5);
    sim_subscribers(dc, 5);
    stats();
    assert_int_equal(pools_of("one", "a"), 3);
    assert_int_equal(pools_of("one", "b"), 1);
    assert_int_equal(pools_of("two", "c"), 3);
}

static enum err_code order(struct buf *text, struct buf *json, struct err *e, const char *name,
                           const char *value, const char *more) {
    return more != NULL
               ? rig_call(&w.rig, text, json, e, "reclaim-all", name, value, more, "", NULL)
               : rig_call(&w.rig, text, json, e, "reclaim-all", name, value, NULL);
}

static void must(const char *name, const char *value, const char *more, const char *answer) {
    struct buf text = BUF_INIT;
    struct err e = {.code = ERR_OK};
    if (order(&text, NULL, &e, name, value, more) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    assert_has(buf_cstr(&text), answer);
    buf_free(&text);
}

static void refused(const char *name, const char *value, enum err_code code, const char *why) {
    struct err e = {.code = ERR_OK};
    assert_int_equal(order(NULL, NULL, &e, name, value, NULL), code);
    assert_has(e.text, why);
}

static void nothing_drains(void) {
    for (uint32_t i = 0; i < w.rig.pools->n_domains; i++) {
        const struct domain *d = w.rig.pools->domains[i];
        for (uint32_t k = 0; d != NULL && k < d->n_pools; k++) {
            uint8_t state = d->pools[k].state;
            if (state == POOL_DRAIN || state == POOL_DRAIN_SET || state == POOL_REMOVING ||
                (state == POOL_DRAINED && failure != CANCEL && failure != CANCEL_AND_MANAGER)) {
                fail_msg("pool %u of %s is %s (failure %d at %lu)", k, d->name,
                         pool_state_name(state), failure, (unsigned long)at);
            }
        }
    }
}

/* ---- tests -------------------------------------------------------------------------------------
 */

/* proves: APM-080 APM-087 APM-088 */
static void what_is_not_needed_is_free_again(void **state) {
    char text[4096];
    world();
    must("partition", "metro", NULL, "Reclaiming up to 7 pools of 3 domains is job 1: show job");
    until_over(1);
    shown("1", text, sizeof text);
    assert_has(text, "Job 1: apm-reclaim, done");
    assert_has(text, "4 of 7 reclaimed; why the others are not: show job id 2");
    shown("2", text, sizeof text);
    assert_has(text, "4 of 7 drain until 2026-");
    assert_has(text, "one b b: without the pool 0 addresses are free");
    assert_int_equal(pools_of("one", "a"), 1);
    assert_int_equal(pools_of("one", "b"), 1);
    assert_int_equal(pools_of("two", "c"), 1);
    sim_verify(&w, true);
    sim_close(&w);
}

static void dry_run_says_the_same(void **state) {
    struct buf text = BUF_INIT, json = BUF_INIT;
    world();
    assert_int_equal(order(&text, &json, NULL, "partition", "metro", "dry-run"), ERR_OK);
    assert_has(buf_cstr(&text), "4 pools would be reclaimed, 3 would stay.");
    assert_has(buf_cstr(&text), "one  a  a-0001  ");
    assert_has(buf_cstr(&text), "0 of 14 in use: reclaimed");
    assert_has(buf_cstr(&text), "5 of 14 in use: stays: without the pool 0 addresses are free");
    assert_has(buf_cstr(&json), "\"reclaimed\":true");
    buf_clear(&text);
    assert_int_equal(order(&text, NULL, NULL, "unused", "90", "dry-run"), ERR_OK);
    assert_has(buf_cstr(&text), "4 pools would be reclaimed, 0 would stay.");
    buf_clear(&text);
    sim_break(w.bngs[1]);
    rig_step(&w.rig);
    assert_int_equal(order(&text, NULL, NULL, "entity", "two", "dry-run"), ERR_OK);
    assert_has(buf_cstr(&text), "stays: its entity is unreachable");
    assert_false(job_lives(w.rig.core, 1));
    nothing_drains();
    buf_free(&text);
    buf_free(&json);
    sim_close(&w);
}

static void orders_that_make_no_sense(void **state) {
    struct err e = {.code = ERR_OK};
    world();
    assert_int_equal(rig_call(&w.rig, NULL, NULL, &e, "reclaim-all", NULL), ERR_MISSING);
    assert_has(e.text, "say which pools");
    refused("entity", "three", ERR_ABSENT, "there is no entity three");
    refused("pool-domain", "x", ERR_ABSENT, "there is no pool domain x");
    refused("partition", "x", ERR_ABSENT, "there is no partition x");
    assert_int_equal(
        rig_call(&w.rig, NULL, NULL, &e, "reclaim-all", "entity", "two", "pool-domain", "a", NULL),
        ERR_ABSENT);
    assert_has(e.text, "there is no pool domain a at entity two");
    assert_int_not_equal(rig_call(&w.rig, NULL, NULL, &e, "reclaim-all", "unused", "101", NULL),
                         ERR_OK);
    assert_int_equal(
        rig_call(&w.rig, NULL, NULL, &e, "reclaim-all", "pool-domain", "b", "unused", "99", NULL),
        ERR_ABSENT);
    assert_has(e.text, "no pool there can be reclaimed");
    assert_false(job_lives(w.rig.core, 1));
    sim_close(&w);
}

/* Subscribers that can't go anywhere keep their pool: when the wait is over it is active again. */
static void a_pool_that_does_not_become_empty(void **state) {
    char text[4096];
    sim_open(&w, INT64_C(1780000000));
    failure = NOTHING;
    rig_profile(&w.rig, "p", 4, 10000, "");
    rig_match(&w.rig, "one", "p");
    rig_partition(&w.rig, "tiny", 28, 28, "{\"prefix\":\"192.0.2.0/28\"}");
    da = sim_add_domain(sim_add(&w, "one"), "a", "tiny", 28);
    sim_subscribers(da, 5);
    assert_true(sim_settle(&w, 3, 300));
    stats();
    assert_int_equal(rig_call(&w.rig, NULL, NULL, NULL, "reclaim-all", "entity", "one", "wait", "1",
                              "force", "", NULL),
                     ERR_OK);
    until_over(1);
    assert_true(sim_settle(&w, 3, 300));
    shown("2", text, sizeof text);
    assert_has(text, "0 of 1 reclaimed; one a a: 5 of it are still in use: it is active again");
    nothing_drains();
    sim_verify(&w, true);
    sim_close(&w);
}

/* An entity that stays away has nothing ordered; the others' pools are reclaimed. */
static void an_entity_that_stays_away(void **state) {
    char text[4096];
    world();
    sim_break(w.bngs[0]);
    w.bngs[0]->connect_at_s = INT64_MAX;
    must("partition", "metro", NULL, "is job 1");
    until_over(1);
    shown("2", text, sizeof text);
    assert_has(text, "2 of 7 reclaimed");
    assert_has(text, "one a a: the entity is unreachable");
    assert_int_equal(pools_of("one", "a"), 3);
    assert_int_equal(pools_of("two", "c"), 1);
    sim_close(&w);
}

/* What an operator takes back during the job is not drained again, also not after a crash. */
static void taken_back_by_hand(void **state) {
    char text[4096];
    world();
    sim_subscribers(da, 28);
    stats();
    must("pool-domain", "a", "force", "Reclaiming up to 3 pools of 1 domain is job 1");
    for (int s = 0; s < 4; s++) {
        rig_pass(&w.rig, NS_PER_S); /* nothing is delivered: the drains are unanswered */
    }
    assert_int_equal(rig_call(&w.rig, NULL, NULL, NULL, "activate", "entity", "one", "pool-domain",
                              "a", "pool", "a", NULL),
                     ERR_OK);
    until_over(1);
    shown("2", text, sizeof text);
    assert_has(text, "one a a: the entity did not take the drain, or it was taken back");
    assert_has(text, "2 of 3 reclaimed");
    sim_settle(&w, 3, 300);
    sim_verify(&w, true);
    sim_close(&w);
}

/* Many pools of one gateway: few orders at once, several parts. */
static void gently_and_in_parts(void **state) {
    enum { DOMAINS = 90, LONG = 100 };
    char text[4096], name[LONG + 8];
    failure = NOTHING;
    most_unanswered = 0;
    sim_open(&w, INT64_C(1780000000));
    rig_profile(&w.rig, "p", 1, 10000, "");
    rig_match(&w.rig, "one", "p");
    rig_partition(&w.rig, "metro", 8, 28, "{\"prefix\":\"10.0.0.0/16\"}");
    struct sim_bng *one = sim_add(&w, "one");
    for (int i = 0; i < DOMAINS; i++) {
        snprintf(name, sizeof name, "%0*d", LONG, i);
        sim_subscribers(sim_add_domain(one, name, "metro", 28), 30);
    }
    assert_true(sim_settle(&w, 3, 900));
    for (int i = 0; i < DOMAINS; i++) {
        sim_subscribers(one->domains[i], 1);
    }
    stats();
    most_unanswered = 0;
    must("entity", "one", NULL, "Reclaiming up to 270 pools of 90 domains is job 1");
    until_over(1);
    shown("1", text, sizeof text);
    assert_has(text, "180 of 270 reclaimed; why the others are not: show job id 2, 3");
    assert_true(most_unanswered > 1 && most_unanswered <= BULK_AT_ONCE);
    nothing_drains();
    sim_verify(&w, true);
    sim_close(&w);
}

static uint64_t tell(enum failure f, uint64_t when) {
    world();
    failure = f;
    at = when;
    must("partition", "metro", NULL, "is job 1");
    until_over(1);
    failure = NOTHING;
    assert_true(sim_settle(&w, 5, 600));
    rig_pass(&w.rig, 35 * NS_PER_S); /* whatever was lost is asked for again by now */
    assert_true(sim_settle(&w, 5, 600));
    failure = f;
    nothing_drains();
    sim_verify(&w, true);
    bool cancelled = f == CANCEL || f == CANCEL_AND_MANAGER;
    if (!cancelled) {
        assert_int_equal(pools_of("one", "a"), 1);
        assert_int_equal(pools_of("two", "c"), 1);
    }
    assert_int_equal(pools_of("one", "b"), 1);
    char text[4096];
    shown("1", text, sizeof text);
    if (!hit || !cancelled) {
        assert_has(text, "Job 1: apm-reclaim, done");
        assert_has(text, " of 7 reclaimed");
    } else if (strstr(text, "apm-reclaim, cancelled") == NULL) {
        assert_has(text, "apm-reclaim, done"); /* it came too late */
    }
    failure = NOTHING;
    sim_close(&w);
    return step;
}

/* proves: APM-080 APM-087 A4 */
static void every_step_may_fail(void **state) {
    uint64_t steps = tell(CANCEL, UINT64_MAX - 1);
    print_message("%lu steps\n", (unsigned long)steps);
    assert_true(steps > 30);
    for (int f = BREAK; f < FAILURES; f++) {
        for (uint64_t i = 0; i < steps; i++) {
            tell((enum failure)f, i);
            assert_true(hit);
        }
    }
}

static void swallow(enum logger_level level, const char *module, const char *line, void *arg) {
}

int main(int argc, char **argv) {
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    if (getenv("SIM_LOG") != NULL) {
        logger_set_level(NULL, getenv("SIM_LOG"));
    } else {
        logger_set_sink(swallow, NULL);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_needed_is_free_again),
        cmocka_unit_test(dry_run_says_the_same),
        cmocka_unit_test(orders_that_make_no_sense),
        cmocka_unit_test(a_pool_that_does_not_become_empty),
        cmocka_unit_test(an_entity_that_stays_away),
        cmocka_unit_test(taken_back_by_hand),
        cmocka_unit_test(gently_and_in_parts),
        cmocka_unit_test(every_step_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
