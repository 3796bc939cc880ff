// SPDX-License-Identifier: Apache-2.0
/*
 * Thousands of domains with subscribers that come and go, in one process on a fake clock: gateways,
 * connections and the manager fail at random, configuration changes under way. No address is ever
 * given twice; when all is quiet both ends agree and every address is accounted for.
 *
 *   SIM_SEED=n SIM_BNGS=n SIM_DOMAINS=n SIM_MINUTES=n pools_sim_test
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/logger.h"
#include "bng.h"

static unsigned number(const char *name, unsigned otherwise) {
    const char *s = getenv(name);
    return s ? (unsigned)strtoul(s, NULL, 0) : otherwise;
}

static void chaos(struct sim_world *w, struct rng *rng) {
    uint64_t dice = rng_below(rng, 1000);
    struct sim_bng *b = w->bngs[rng_below(rng, w->n_bngs)];
    if (dice < 12) {
        sim_break(b);
    } else if (dice < 16) {
        sim_crash_bng(b);
    } else if (dice < 18) {
        sim_crash_manager(w);
    } else if (dice < 24) {
        /* Thresholds change; a surplus anywhere may follow. */
        unsigned apportion = 5 + (unsigned)rng_below(rng, 20);
        struct err e;
        rig_try_profile(&w->rig, "p", apportion, apportion + 80 + (unsigned)rng_below(rng, 100),
                        rng_chance(rng, 80) ? ",\"auto-reclamation\":{}" : "", true, &e);
    } else if (dice < 27) {
        /* A root goes, forced, and comes back. */
        struct err e;
        rig_try_partition6(&w->rig, "links", 100, 122, 0,
                           rng_chance(rng, 50) ? "{\"prefix\":\"2001:db8:ffff::/108\"}"
                                               : "{\"prefix\":\"2001:db8:ffff::/108\"},"
                                                 "{\"prefix\":\"2001:db8:fffe::/108\"}",
                           true, &e);
        rig_try_partition(&w->rig, "metro", 12, 28,
                          rng_chance(rng, 50)
                              ? "{\"prefix\":\"10.0.0.0/16\"}"
                              : "{\"prefix\":\"10.0.0.0/16\"},{\"prefix\":\"10.1.0.0/16\"}",
                          true, &e);
    }
}

/* Delivers everything, in an order that the dice decide. */
static void deliver_all(struct sim_world *w, struct rng *rng) {
    for (;;) {
        size_t first = rng_below(rng, w->n_bngs);
        bool moved = false;
        for (size_t i = 0; i < w->n_bngs; i++) {
            struct sim_bng *b = w->bngs[(first + i) % w->n_bngs];
            uint64_t n = 1 + rng_below(rng, 4);
            for (uint64_t k = 0; k < n; k++) {
                moved |= rng_chance(rng, 50) ? sim_deliver_up(b) : sim_deliver_down(b);
            }
        }
        chaos(w, rng);
        if (!moved && sim_idle(w)) {
            return;
        }
    }
}

/* proves: APM-001 APM-110 APM-111 APM-112 APM-027 APM-028 APM-073 A11 */
static void a_day_of_many_gateways(void **state) {
    unsigned bngs = number("SIM_BNGS", 12), domains = number("SIM_DOMAINS", 90);
    unsigned minutes = number("SIM_MINUTES", 4);
    uint64_t seed = number("SIM_SEED", 20261121);
    struct sim_world w;
    struct rng rng;
    rng_seed(&rng, seed);
    print_message("seed %lu, %u gateways with %u domains each, %u minutes\n", (unsigned long)seed,
                  bngs, domains, minutes);
    sim_open(&w, INT64_C(1780000000));
    rig_profile(&w.rig, "p", 10, 120, ",\"auto-reclamation\":{}");
    rig_partition(&w.rig, "metro", 12, 28,
                  "{\"prefix\":\"10.0.0.0/16\"},{\"prefix\":\"10.1.0.0/16\"}");
    rig_partition6(&w.rig, "homes", 32, 52, 56, "{\"prefix\":\"2001:db8::/36\"}");
    rig_partition6(&w.rig, "links", 100, 122, 0,
                   "{\"prefix\":\"2001:db8:ffff::/108\"},{\"prefix\":\"2001:db8:fffe::/108\"}");
    for (unsigned i = 0; i < bngs; i++) {
        char id[32];
        snprintf(id, sizeof id, "bng%u", i);
        rig_match(&w.rig, id, "p");
        struct sim_bng *b = sim_add(&w, id);
        b->digest = i % 2 == 0;
        for (unsigned k = 0; k < domains; k++) {
            char name[32];
            snprintf(name, sizeof name, "pd-%u", k);
            if (k % 5 == 3) { /* a fifth delegates prefixes, a fifth gives IPv6 addresses */
                sim_add_domain6(b, name, "homes", 50 + k % 3, 56);
            } else if (k % 5 == 4) {
                sim_add_domain6(b, name, "links", 120 + k % 3, 0);
            } else {
                sim_add_domain(b, name, "metro", 25 + k % 4);
            }
        }
    }
    for (unsigned minute = 0; minute < minutes; minute++) {
        for (unsigned s = 0; s < 60; s += 5) {
            for (unsigned i = 0; i < bngs * domains / 40 + 1; i++) {
                struct sim_bng *b = w.bngs[rng_below(&rng, bngs)];
                sim_subscribers(b->domains[rng_below(&rng, domains)], rng_below(&rng, 300));
            }
            for (size_t i = 0; i < w.n_bngs; i++) {
                sim_tick(w.bngs[i]);
            }
            deliver_all(&w, &rng);
            rig_pass(&w.rig, 5 * NS_PER_S);
        }
        sim_verify(&w, false);
    }
    /* The night is quiet: all comes to rest and agrees. */
    rig_profile(&w.rig, "p", 5, 3000, "");
    rig_partition(&w.rig, "metro", 12, 28,
                  "{\"prefix\":\"10.0.0.0/16\"},{\"prefix\":\"10.1.0.0/16\"}");
    for (size_t i = 0; i < w.n_bngs; i++) {
        for (size_t k = 0; k < w.bngs[i]->n_domains; k++) {
            sim_subscribers(w.bngs[i]->domains[k], 0);
        }
    }
    assert_true(sim_settle(&w, 5, 2000));
    rig_pass(&w.rig, 40 * NS_PER_S);
    assert_true(sim_settle(&w, 5, 2000));
    sim_verify(&w, true);
    print_message("%lu messages, %lu prefixes given, %lu taken back\n", (unsigned long)w.deliveries,
                  (unsigned long)w.given, (unsigned long)w.removed);
    assert_true(w.given > 0 && w.removed > 0);
    sim_close(&w);
}

int main(void) {
    logger_set_level(NULL, getenv("SIM_LOG") ? "info" : "error");
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_day_of_many_gateways)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
