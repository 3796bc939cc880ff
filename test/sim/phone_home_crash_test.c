// SPDX-License-Identifier: Apache-2.0
/*
 * The client is ended behind each single action of a run, as by kill -9 and as by a loss of its
 * member's power, and begins anew with what it had saved: it resumes or starts clean, is never half
 * configured, never has primary and backup down together, and the temporary configuration is gone
 * in the end (spec 5.2).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "phone-home/chassis.h"
#include "phone_home_scene.h"

enum { HOUR = 3600 * 1000, ACTIONS_MAX = 2000 };

struct scene {
    size_t n;
    bool chassis;
    enum scene_topology topology;
    bool strict;
    bool prerfc;
    void (*inject)(struct rig *r);
    const char *name;
};

static struct rig *begin(const struct scene *c, uint64_t seed) {
    struct rig *r = rig_new(c->n, c->chassis, seed);
    struct conveyed info;
    scene_info(&info, c->topology, c->strict, c->n);
    r->config.dialect = c->prerfc ? PHC_PRERFC : PHC_RFC8572;
    for (int i = 0; i < 2; i++) {
        const char *host = i == 0 ? "phs1" : "phs2";
        rig_configured(r, host, 443);
        struct rig_server *s = rig_server(r, host, 443);
        s->built_in = true;
        if (c->prerfc) {
            info.has_pre = info.has_post = false;
            rig_answer_prerfc(s, &info, "sim-2.tgz");
        } else {
            rig_answer(s, &info, SZTP_VERBOSE);
        }
    }
    scene_info_free(&info);
    if (c->inject != NULL) {
        c->inject(r);
    }
    return r;
}

static void show(const struct rig *r) {
    for (size_t i = 0; i < r->n_lines; i++) {
        print_message("%s\n", r->lines[i]);
    }
}

/* One run with its end behind action `at` (0: none). Returns how many actions there were. */
static unsigned run(const struct scene *c, enum rig_kill kill, unsigned at, bool success) {
    char what[200];
    snprintf(what, sizeof what, "%s, %zu members, topology %d, %s, %s behind action %u", c->name,
             c->n, c->topology, c->strict ? "strict" : "default",
             kill == RIG_POWER ? "power cut" : "kill -9", at);
    struct rig *r = begin(c, 11);
    r->kill = kill;
    r->kill_at = at;
    rig_start(r);
    bool ended = rig_run(r, 24 * HOUR, true);
    /* A life that ended in the very last action comes back, and has to find nothing to do. */
    for (int64_t end = r->sim->now_ms + HOUR; sim_step(r->sim, end);) {
        if (r->killed && !rig_done(r)) {
            break;
        }
    }
    ended = rig_run(r, 24 * HOUR, true) && ended;
    if (!ended || (success && !rig_done(r))) {
        show(r);
        fail_msg("%s: %s", what, ended ? "it failed" : "no end");
    }
    scene_check(r, what);
    /* A default run after a power cut is with the members that are up. */
    bool all = c->topology != SCENE_NONE && (c->strict || kill != RIG_POWER || c->n == 1);
    for (size_t i = 0; success && all && i < c->n; i++) {
        if (strcmp(r->sim->m[i].version, "2") != 0) {
            show(r);
            fail_msg("%s: member %zu runs %s", what, i, r->sim->m[i].version);
        }
    }
    if (success && (r->sim->applies == 0 || r->sim->scripts[0] == 0) && !c->prerfc) {
        show(r);
        fail_msg("%s: something was left out", what);
    }
    unsigned n = r->actions;
    rig_free(r);
    return n;
}

static void sweep(const struct scene *c, bool success) {
    unsigned n = run(c, RIG_NO_KILL, 0, success);
    assert_true(n < ACTIONS_MAX);
    for (unsigned at = 1; at <= n; at++) {
        run(c, RIG_PROCESS, at, success);
        run(c, RIG_POWER, at, success);
    }
}

/* proves: PH-036 PH-044 PH-051 PH-054 */
static void without_faults(void **state) {
    (void)state;
    static const size_t sizes[] = {2, 3, 4, 7, 10};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct scene c = {.n = sizes[i], .chassis = true, .name = "no fault"};
        c.topology = SCENE_MIN;
        sweep(&c, true);
        c.topology = SCENE_FULL;
        sweep(&c, true);
        c.strict = true;
        sweep(&c, true);
        c.strict = false;
        c.topology = SCENE_NONE;
        sweep(&c, true);
    }
}

/* One device, and a chassis of one; both dialects. */
static void alone(void **state) {
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct scene c = {.n = 1, .chassis = i & 1, .prerfc = i & 2, .name = "alone"};
        c.topology = i & 4 ? SCENE_MIN : SCENE_NONE;
        sweep(&c, true);
    }
}

static void old_dialect_chassis(void **state) {
    (void)state;
    struct scene c = {.n = 3, .chassis = true, .prerfc = true, .name = "older dialect"};
    c.topology = SCENE_FULL;
    sweep(&c, true);
}

static void linecard_never(struct rig *r) {
    r->sim->m[r->sim->n - 1].fault.never_returns = true;
}
static void linecard_old(struct rig *r) {
    r->sim->m[r->sim->n - 1].fault.returns_old = 1000;
}
static void linecard_install(struct rig *r) {
    r->sim->m[r->sim->n - 1].fault.install_fails = 1;
}
static void backup_never(struct rig *r) {
    r->sim->m[1].fault.never_returns = true;
}
static void backup_old(struct rig *r) {
    r->sim->m[1].fault.returns_old = 1000;
}
static void primary_never(struct rig *r) {
    r->sim->m[0].fault.never_returns = true;
}
static void primary_old(struct rig *r) {
    r->sim->m[0].fault.returns_old = 1000;
}
static void primary_install(struct rig *r) {
    r->sim->m[0].fault.install_fails = 1;
}
static void other_box(struct rig *r) {
    r->sim->m[r->sim->n - 1].fault.wrong_serial = true;
}
static void apply_fails(struct rig *r) {
    r->sim->apply_fails = 1000;
}
static void post_fails(struct rig *r) {
    r->sim->script_fails[PLATFORM_POST] = 1000;
}
static void pre_fails(struct rig *r) {
    r->sim->script_fails[PLATFORM_PRE] = 1;
}
static void thaw_fails(struct rig *r) {
    r->sim->thaw_fails = 3;
}
static void rollback_fails(struct rig *r) {
    r->sim->script_fails[PLATFORM_POST] = 1;
    r->sim->rollback_fails = 3;
}
static void replicate_fails(struct rig *r) {
    r->sim->replicate_fails = 2;
}
static void report_lost(struct rig *r) {
    r->servers[0].report_status = 500;
}

/* Every fault, with an end behind every action of its run. proves: PH-151 */
static void with_faults(void **state) {
    (void)state;
    static const struct {
        void (*inject)(struct rig *r);
        const char *name;
    } faults[] = {
        {linecard_never, "a linecard never returns"},
        {linecard_old, "a linecard returns old"},
        {linecard_install, "a linecard's install"},
        {backup_never, "the backup never returns"},
        {backup_old, "the backup returns old"},
        {primary_never, "the primary never returns"},
        {primary_old, "the primary returns old"},
        {primary_install, "the primary's install"},
        {other_box, "another box returns"},
        {apply_fails, "the configuration is refused"},
        {post_fails, "the post script fails"},
        {pre_fails, "the pre script fails once"},
        {thaw_fails, "thaw fails thrice"},
        {rollback_fails, "rolling back fails thrice"},
        {replicate_fails, "handing over fails"},
        {report_lost, "a server takes no reports"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        struct scene c = {.n = 3,
                          .chassis = true,
                          .topology = SCENE_FULL,
                          .inject = faults[i].inject,
                          .name = faults[i].name};
        sweep(&c, false);
        c.strict = true;
        sweep(&c, false);
    }
}

/* ---------------------------------------------------------------- anything at any time */

static void chaos(struct rig *r, struct rng *rng) {
    struct sim *s = r->sim;
    struct sim_fault *f = &s->m[rng_below(rng, s->n)].fault;
    switch (rng_below(rng, 12)) {
    case 0:
        f->install_fails = 1;
        break;
    case 1:
        f->returns_old = 1;
        break;
    case 2:
        f->late_ms = (int64_t)rng_below(rng, 300 * 1000);
        break;
    case 3:
        s->apply_fails = 1;
        break;
    case 4:
        s->script_fails[rng_below(rng, 2)] = 1;
        break;
    case 5:
        s->thaw_fails = s->rollback_fails = s->freeze_fails = 1;
        break;
    case 6:
        s->replicate_fails = 1 + (unsigned)rng_below(rng, 4);
        break;
    case 7:
        r->servers[rng_below(rng, 2)].report_fails = (unsigned)rng_below(rng, 5);
        break;
    case 8: {
        size_t i = rng_below(rng, s->n);
        if (s->m[i].role == SZTP_LINECARD) {
            sim_link(s, (int)i, !s->m[i].cut);
        }
        break;
    }
    case 9:
        sim_power_cut(s, (int)rng_below(rng, s->n));
        break;
    default:
        r->kill = rng_chance(rng, 50) ? RIG_PROCESS : RIG_POWER;
        r->kill_at = r->actions + 1 + (unsigned)rng_below(rng, 12);
        break;
    }
}

static void calm(struct rig *r) {
    struct sim *s = r->sim;
    for (size_t i = 0; i < s->n; i++) {
        memset(&s->m[i].fault, 0, sizeof s->m[i].fault);
        s->m[i].cut = false;
    }
    s->apply_fails = s->thaw_fails = s->rollback_fails = s->freeze_fails = s->replicate_fails = 0;
    s->script_fails[0] = s->script_fails[1] = 0;
    r->servers[0].report_fails = r->servers[1].report_fails = 0;
    r->kill_at = 0;
}

/* Faults, cuts and ends one over the other, by chance; then all is well, and the chassis is to come
 * up. SIM_SEED=n repeats one, SIM_RUNS=n does more. proves: PH-036 PH-044 PH-054 */
static void anything(void **state) {
    (void)state;
    const char *one = getenv("SIM_SEED"), *runs = getenv("SIM_RUNS");
    uint64_t seed = one != NULL ? strtoull(one, NULL, 0) : 1;
    uint64_t last = one != NULL ? seed : runs != NULL ? strtoull(runs, NULL, 0) : 400;
    for (; seed <= last; seed++) {
        struct rng rng;
        char what[64];
        snprintf(what, sizeof what, "SIM_SEED=%llu", (unsigned long long)seed);
        rng_seed(&rng, seed);
        struct scene c = {.n = 1 + rng_below(&rng, 6), .chassis = true, .name = what};
        c.topology = rng_chance(&rng, 50) ? SCENE_FULL : SCENE_MIN;
        c.strict = c.topology == SCENE_FULL && rng_chance(&rng, 50);
        c.prerfc = rng_chance(&rng, 25);
        struct rig *r = begin(&c, seed);
        r->config.detection_ms = 240 * 1000;
        rig_start(r);
        for (int i = 0; i < 40 && !rig_done(r); i++) {
            rig_run(r, (int64_t)rng_below(&rng, 60 * 1000), false);
            chaos(r, &rng);
        }
        calm(r);
        for (int64_t end = r->sim->now_ms + 3 * HOUR; r->sim->now_ms < end && !rig_done(r);) {
            if (rig_run(r, HOUR, false) || rig_logged(r, RIG_CONFIGURED) > 0) {
                break;
            }
        }
        if (!rig_done(r) && rig_logged(r, RIG_CONFIGURED) == 0) {
            show(r);
            fail_msg("%s: not done", what);
        }
        scene_check(r, what);
        rig_free(r);
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alone),          cmocka_unit_test(old_dialect_chassis),
        cmocka_unit_test(without_faults), cmocka_unit_test(with_faults),
        cmocka_unit_test(anything),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
