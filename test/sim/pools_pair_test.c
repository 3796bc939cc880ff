// SPDX-License-Identifier: Apache-2.0
/*
 * Exhaustive, with both real ends: the service and the gateways' engine tell stories that take
 * pools through every state of spec 4.2, again and again, each time with one failure at another
 * step: see pair.h. At the end of each telling manager, agents and data planes agree.
 *
 *   SIM_FAILURE=n      only this kind of failure; with SIM_AT=n one telling, to look at
 *   SIM_PAIRS=n        tries of two failures at random; SIM_SEED
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/logger.h"
#include "base/rng.h"
#include "core/job.h"
#include "pair.h"

#define AUTO ",\"hold-down\":1,\"auto-reclamation\":{}"
#define D    "home-default"

static struct domain *managers(struct pair *p, const char *bng) {
    struct entity *en = pools_entity(p->rig.pools, bng);
    return en != NULL ? entity_domain(en, D) : NULL;
}

/* A partition of four pools and what it is cut into: 61 or 63 addresses each, or 64 prefixes. */
static unsigned tiny(struct pair *p) {
    if (p->kind == PAIR_IPV4) {
        rig_partition(&p->rig, "tiny", 24, 26, "{\"prefix\":\"192.0.2.0/24\"}");
        return 26;
    }
    unsigned length = p->kind == PAIR_ADDRESSES6 ? 122 : PAIR_DELEGATED - 6;
    rig_partition6(&p->rig, "tiny", length - 2, length,
                   p->kind == PAIR_ADDRESSES6 ? 0 : PAIR_DELEGATED,
                   p->kind == PAIR_ADDRESSES6 ? "{\"prefix\":\"2001:db8::/120\"}"
                                              : "{\"prefix\":\"2001:db8::/48\"}");
    return length;
}

/* A part of the second of them. */
static struct ip_prefix in_the_second(const struct pair *p) {
    static const char *const texts[] = {[PAIR_IPV4] = "192.0.2.80/28",
                                        [PAIR_ADDRESSES6] = "2001:db8::50/124",
                                        [PAIR_PREFIXES6] = "2001:db8:0:5000::/52"};
    struct ip_prefix px;
    struct err e;
    assert_int_equal(ip_prefix_parse(texts[p->kind], &px, &e), ERR_OK);
    return px;
}

/* An operator's order on the youngest pool of `one` in that state; what is refused is refused. */
static void operator_says(struct pair *p, const char *what, int state, bool force) {
    struct domain *d = managers(p, "one");
    struct pool *po = NULL;
    for (uint32_t i = 0; d != NULL && i < d->n_pools; i++) {
        po = d->pools[i].state == state ? &d->pools[i] : po;
    }
    if (po == NULL) {
        return;
    }
    char name[POOLS_NAME_MAX + 16];
    pool_name(d, po, name);
    if (force) {
        rig_call(&p->rig, NULL, NULL, NULL, what, "entity", "one", "pool-domain", D, "pool", name,
                 "force", "", NULL);
    } else {
        rig_call(&p->rig, NULL, NULL, NULL, what, "entity", "one", "pool-domain", D, "pool", name,
                 NULL);
    }
    pair_verify(p, false);
}

static void at_rest(struct pair *p) {
    pair_settle(p);
    pair_pass(p, 35); /* whatever was lost is asked for again by now */
    pair_settle(p);
    pair_verify(p, true);
    pair_close(p);
}

/* Growth, a prefix that a gateway can't take, shortage, surplus that goes to the other one, a
 * threshold that one refuses, the last pool and its domain. */
static void growth_and_shortage(struct pair *p) {
    pair_open(p, INT64_C(1780000000));
    rig_profile(&p->rig, "p", 10, 70, AUTO);
    rig_match(&p->rig, "one", "p");
    rig_match(&p->rig, "two", "p");
    unsigned length = tiny(p);
    struct pair_gateway *one = pair_add(p, "one", "tiny", length), *two;
    one->own = in_the_second(p);
    one->slow_s = 2;
    one->subscribers = 90;
    pair_settle(p); /* the first and the third block */
    two = pair_add(p, "two", "tiny", length);
    two->profile.max_apportion = 15;
    two->profile.keep_last_pool = true;
    two->subscribers = 20;
    pair_settle(p); /* the second */
    one->subscribers = 170;
    pair_settle(p); /* the fourth */
    two->subscribers = 58;
    pair_settle(p); /* refused: the partition is empty */
    one->subscribers = 30;
    pair_settle(p);   /* surplus: drained, removed, and given to the other one, which is told */
    pair_pass(p, 11); /* a round of pings and statistics */
    rig_profile(&p->rig, "p", 20, 80, AUTO);
    pair_settle(p); /* which refuses 20 */
    rig_profile(&p->rig, "p", 10, 40, AUTO);
    one->subscribers = two->subscribers = 0;
    pair_settle(p);
    pair_pass(p, 10); /* the last pool waits twice; its domain goes with it */
    pair_settle(p);
    bng_engine_demand(one->e, one->profile.family, "subs0");
    one->subscribers = 5;
    at_rest(p);
}

/* An operator drains, activates, drains again, reclaims; automatic reclamation is taken away while
 * a pool drains. */
static void by_hand(struct pair *p) {
    pair_open(p, INT64_C(1780000000));
    rig_profile(&p->rig, "p", 10, 400, ",\"hold-down\":1");
    rig_match(&p->rig, "one", "p");
    unsigned length = tiny(p);
    struct pair_gateway *one = pair_add(p, "one", "tiny", length);
    one->subscribers = 70;
    pair_settle(p);
    one->subscribers = 10;
    pair_settle(p);
    operator_says(p, "drain", POOL_ACTIVE, true);
    pair_settle(p);
    operator_says(p, "activate", POOL_DRAIN_SET, false);
    operator_says(p, "activate", POOL_DRAINED, false);
    pair_settle(p);
    operator_says(p, "drain", POOL_ACTIVE, true);
    pair_settle(p);
    operator_says(p, "reclaim", POOL_DRAINED, false);
    pair_settle(p);
    one->subscribers = 115;
    pair_settle(p);
    one->subscribers = 100; /* a drain with nowhere to go */
    rig_profile(&p->rig, "p", 2, 20, AUTO);
    operator_says(p, "drain", POOL_ACTIVE, true);
    pair_settle(p);
    rig_profile(&p->rig, "p", 2, 400, ",\"hold-down\":1");
    pair_settle(p);
    operator_says(p, "activate", POOL_DRAIN_SET, false);
    at_rest(p);
}

/* A gateway is given up by the operator, its prefixes go to another one, and it comes back. */
static void released_and_back(struct pair *p) {
    pair_open(p, INT64_C(1780000000));
    rig_profile(&p->rig, "p", 10, 400, AUTO);
    rig_match(&p->rig, "one", "p");
    rig_match(&p->rig, "two", "p");
    unsigned length = tiny(p);
    struct pair_gateway *two = pair_add(p, "two", "tiny", length);
    two->subscribers = 70;
    pair_settle(p);
    pair_off(two);
    two->subscribers = 0;
    p->released = true; /* from here on the operator answers for overlaps */
    struct pair_gateway *one = pair_add(p, "one", "tiny", length);
    rig_call(&p->rig, NULL, NULL, NULL, "release-entity", "entity", "two", NULL);
    one->subscribers = 40;
    pair_settle(p);
    pair_on(two);
    pair_settle(p);
    pair_pass(p, 35);
    pair_settle(p);
    p->released = false;
    at_rest(p);
}

/* An operator reclaims what is not needed of all gateways at once, by a job. */
static void many_at_once(struct pair *p) {
    pair_open(p, INT64_C(1780000000));
    rig_profile(&p->rig, "p", 10, 400, ",\"hold-down\":1");
    rig_match(&p->rig, "one", "p");
    rig_match(&p->rig, "two", "p");
    unsigned length = tiny(p);
    struct pair_gateway *one = pair_add(p, "one", "tiny", length);
    struct pair_gateway *two = pair_add(p, "two", "tiny", length);
    one->subscribers = 100;
    two->subscribers = 70;
    pair_settle(p);
    one->subscribers = two->subscribers = 20;
    pair_pass(p, 11); /* both have said so */
    assert_int_equal(rig_call(&p->rig, NULL, NULL, NULL, "reclaim-all", "partition", "tiny", NULL),
                     ERR_OK);
    for (int s = 0; job_lives(p->rig.core, 1); s++) {
        assert_true(s < 600);
        pair_pass(p, 1);
    }
    pair_settle(p);
    const struct domain *of_one = managers(p, "one"), *of_two = managers(p, "two");
    assert_true(of_one != NULL && of_one->n_pools == 1 && of_one->pools[0].state == POOL_ACTIVE);
    assert_true(of_two != NULL && of_two->n_pools == 1 && of_two->pools[0].state == POOL_ACTIVE);
    at_rest(p);
}

typedef void story_fn(struct pair *p);

static void run(struct pair *p, story_fn *story, enum pair_kind kind, enum pair_failure f,
                uint64_t at, enum pair_failure f2, uint64_t at2) {
    memset(p, 0, sizeof *p);
    p->kind = kind;
    p->failure = f;
    p->at = at;
    p->failure2 = f2;
    p->at2 = at2;
    snprintf(pair_context, sizeof pair_context, "kind %d, SIM_FAILURE=%d SIM_AT=%lu, and %d at %lu",
             kind, f, (unsigned long)at, f2, (unsigned long)at2);
    story(p);
}

static void exhaust(story_fn *story, enum pair_kind kind, unsigned states, unsigned phases) {
    const char *only = getenv("SIM_FAILURE"), *at_text = getenv("SIM_AT");
    static struct pair reference, p;
    run(&reference, story, kind, PAIR_NONE, 0, PAIR_NONE, 0);
    uint64_t steps = reference.step, commits = reference.commits, tellings = 0;
    unsigned seen = reference.pool_states, seen_phases = reference.phases;
    assert_true(steps < PAIR_STEPS_MAX);
    for (int f = PAIR_NONE + 1; f < PAIR_FAILURES; f++) {
        uint64_t n = f < PAIR_STEP_FAILURES ? steps : commits;
        if (f == PAIR_STEP_FAILURES && PAIR_STEP_FAILURES != PAIR_COMMIT_LOST) {
            continue;
        }
        if (only != NULL && atoi(only) != f) {
            continue;
        }
        uint64_t first = at_text != NULL ? strtoull(at_text, NULL, 0) : 0;
        for (uint64_t at = first; at < n && (at_text == NULL || at == first); at++) {
            if (at_text == NULL && pair_same_as_before(&reference, (enum pair_failure)f, at)) {
                continue;
            }
            run(&p, story, kind, (enum pair_failure)f, at, PAIR_NONE, 0);
            assert_true(p.hit);
            seen |= p.pool_states;
            seen_phases |= p.phases;
            tellings++;
        }
    }
    print_message("%lu steps and %lu commits, %lu tellings, states %x, phases %x\n",
                  (unsigned long)steps, (unsigned long)commits, (unsigned long)tellings, seen,
                  seen_phases);
    if (only == NULL) {
        assert_int_equal(seen & states, states);
        assert_int_equal(seen_phases & phases, phases);
    }
}

#define S(x) (1u << POOL_##x)
#define P(x) (1u << BNG_##x)

static void growth_whatever_fails_of(enum pair_kind kind) {
    exhaust(growth_and_shortage, kind,
            S(ALLOCATING) | S(UNCERTAIN) | S(ACTIVE) | S(DRAIN) | S(DRAIN_SET) | S(REMOVING),
            P(ADD_ROUTE) | P(ADD_DHCP) | P(ACTIVE) | P(DRAIN_SET) | P(DRAINING) | P(REMOVE_DHCP) |
                P(REMOVE_ROUTE));
}

/* proves: APM-026 APM-028 APM-036 APM-037 APM-057 APM-073 APM-076 APM-151 A4 P-04 P-08 P-14 T-20 */
static void growth_whatever_fails(void **state) {
    growth_whatever_fails_of(PAIR_IPV4);
}

/* The same with prefixes that are delegated. */
static void growth_of_prefixes_whatever_fails(void **state) {
    growth_whatever_fails_of(PAIR_PREFIXES6);
}

/* proves: APM-085 APM-087 APM-089 APM-090 A4 A6 A8 */
static void operators_orders_whatever_fails(void **state) {
    exhaust(by_hand, PAIR_IPV4,
            S(ALLOCATING) | S(UNCERTAIN) | S(ACTIVE) | S(DRAIN) | S(DRAIN_SET) | S(DRAINED) |
                S(REMOVING),
            P(DRAIN_SET) | P(DRAINING) | P(DRAINED) | P(UNDRAIN));
}

/* proves: APM-080 APM-087 A4 */
static void many_at_once_whatever_fails(void **state) {
    exhaust(many_at_once, PAIR_IPV4, S(ACTIVE) | S(DRAIN) | S(DRAIN_SET) | S(DRAINED) | S(REMOVING),
            P(DRAIN_SET) | P(DRAINING) | P(DRAINED));
}

/* proves: APM-074 APM-091 APM-092 A4 A7 P-12 */
static void a_release_whatever_fails(void **state) {
    exhaust(released_and_back, PAIR_IPV4, S(ACTIVE) | S(CONFLICT), P(DRAINING) | P(REMOVE_DHCP));
}

/* Two failures, anywhere, with each kind of domain. */
static void any_two_failures(void **state) {
    const char *pairs = getenv("SIM_PAIRS"), *seed_text = getenv("SIM_SEED");
    uint64_t seed = seed_text ? strtoull(seed_text, NULL, 0) : 20261127;
    unsigned n = pairs ? (unsigned)strtoul(pairs, NULL, 0) : 240;
    story_fn *const stories[] = {growth_and_shortage, by_hand, released_and_back};
    struct rng rng;
    static struct pair p;
    print_message("seed %lu\n", (unsigned long)seed);
    rng_seed(&rng, seed);
    for (unsigned i = 0; i < n; i++) {
        uint64_t at = rng_below(&rng, 280);
        enum pair_failure f = (enum pair_failure)(1 + rng_below(&rng, PAIR_FAILURES - 1));
        enum pair_failure f2 = (enum pair_failure)(1 + rng_below(&rng, PAIR_FAILURES - 1));
        run(&p, stories[i % 3], (enum pair_kind)(i / 3 % PAIR_KINDS), f, at, f2,
            at + 1 + rng_below(&rng, 40));
    }
}

static void swallow(enum logger_level level, const char *module, const char *line, void *arg) {
}

/* An argument names the only test to run: they take minutes, and run beside each other. */
int main(int argc, char **argv) {
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    if (getenv("SIM_LOG") != NULL) {
        logger_set_level(NULL, getenv("SIM_LOG"));
    } else {
        logger_set_sink(swallow, NULL); /* refusals and full disks are what it is about */
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(growth_whatever_fails),
        cmocka_unit_test(growth_of_prefixes_whatever_fails),
        cmocka_unit_test(operators_orders_whatever_fails),
        cmocka_unit_test(many_at_once_whatever_fails),
        cmocka_unit_test(a_release_whatever_fails),
        cmocka_unit_test(any_two_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
