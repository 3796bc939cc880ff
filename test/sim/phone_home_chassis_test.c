// SPDX-License-Identifier: Apache-2.0
/*
 * The client on virtual chassis of 1 to 10 members: every cell of the table PH-034 with every fault
 * of spec 5.2 on a linecard, the backup and the primary.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "phone-home/chassis.h"
#include "phone_home_scene.h"

enum { HOUR = 3600 * 1000 };

enum fault {
    NONE,
    INSTALL_ONCE,
    INSTALL_EVER,
    NEVER_BACK,
    OLD_ONCE,
    OLD_EVER,
    OTHER_BOX,
    LATE,
    FAULTS
};
static const char *const fault_names[FAULTS] = {"none",       "install once", "install ever",
                                                "never back", "old once",     "old ever",
                                                "other box",  "late"};
enum where { LINECARD, BACKUP, PRIMARY, WHERE };
static const char *const where_names[WHERE] = {"linecard", "backup", "primary"};

struct cell {
    size_t n;
    enum scene_topology topology;
    bool strict;
    enum fault fault;
    enum where where;
    int member; /* that has it */
};

static void inject(struct rig *r, const struct cell *c) {
    struct sim_fault *f = &r->sim->m[c->member].fault;
    switch (c->fault) {
    case INSTALL_ONCE:
        f->install_fails = 1;
        break;
    case INSTALL_EVER:
        f->install_fails = 1000;
        break;
    case NEVER_BACK:
        f->never_returns = true;
        break;
    case OLD_ONCE:
        f->returns_old = 1;
        break;
    case OLD_EVER:
        f->returns_old = 1000;
        break;
    case OTHER_BOX:
        f->wrong_serial = true;
        break;
    case LATE:
        f->late_ms = r->config.detection_ms + 60 * 1000;
        break;
    case NONE:
    case FAULTS:
        break;
    }
}

static struct rig *two_servers(const struct cell *c, uint64_t seed) {
    struct rig *r = rig_new(c->n, true, seed);
    struct conveyed info;
    scene_info(&info, c->topology, c->strict, c->n);
    for (int i = 0; i < 2; i++) {
        const char *host = i == 0 ? "phs1" : "phs2";
        rig_configured(r, host, 443);
        struct rig_server *s = rig_server(r, host, 443);
        s->built_in = true;
        rig_answer(s, &info, SZTP_VERBOSE);
    }
    scene_info_free(&info);
    inject(r, c);
    return r;
}

static bool fails_ever(enum fault f) {
    return f != NONE && f != INSTALL_ONCE && f != OLD_ONCE;
}

/* Whether the run is to end in success, from the table. */
static bool expected(const struct cell *c) {
    if (c->strict) {
        if (c->topology != SCENE_FULL) {
            return false; /* not applicable: a malformed response (PH-025) */
        }
        /* A member that comes late is there when the next server is asked. */
        return !fails_ever(c->fault) || c->fault == LATE;
    }
    if (c->topology != SCENE_NONE) {
        return true;
    }
    return c->where != PRIMARY || c->fault != INSTALL_EVER;
}

/* Which version the faulty member runs in the end, of a default run. */
static const char *version_of(const struct cell *c) {
    switch (c->fault) {
    case INSTALL_ONCE: /* default mode does not come back to it */
        return c->topology == SCENE_NONE ? "2" : "1";
    case INSTALL_EVER:
    case OLD_EVER:
    case NEVER_BACK:
        return "1";
    case OLD_ONCE:
        return "1";
    default:
        return "2";
    }
}

static void check_default(const struct rig *r, const struct cell *c, const char *what) {
    bool unsafe = c->where == BACKUP && (c->fault == NEVER_BACK || c->fault == OTHER_BOX);
    if (c->fault == OTHER_BOX && c->where == BACKUP) {
        unsafe = false; /* another box is a backup as well */
    }
    for (size_t i = 0; i < c->n; i++) {
        const struct sim_member *m = &r->sim->m[i];
        const char *want = "2";
        if (c->topology == SCENE_NONE && i != 0) {
            want = "1"; /* the primary alone */
        } else if (c->fault != NONE && (int)i == c->member) {
            want = version_of(c);
        } else if (unsafe && i == 0 && c->topology != SCENE_NONE) {
            want = "1";
        }
        if (strcmp(m->version, want) != 0) {
            char *reports = scene_reports(r);
            print_message("%s", reports);
            mem_free(reports);
            fail_msg("%s: member %zu runs %s, not %s", what, i, m->version, want);
        }
    }
    if (c->topology == SCENE_NONE) {
        return;
    }
    const char *text = c->fault == INSTALL_ONCE || c->fault == INSTALL_EVER ? VC_INSTALL_FAILED
                       : c->fault == NEVER_BACK || c->fault == OTHER_BOX || c->fault == LATE
                           ? VC_NOT_DETECTED
                       : c->fault == OLD_ONCE || c->fault == OLD_EVER ? VC_DETECTED_FAILED
                                                                      : NULL;
    if (text != NULL && rig_count(r, text) != 1) {
        fail_msg("%s: \"%s\" was told %zu times", what, text, rig_count(r, text));
    }
    if (rig_count(r, VC_FAILED) != (unsafe ? 1 : 0)) {
        fail_msg("%s: \"%s\" was told %zu times", what, VC_FAILED, rig_count(r, VC_FAILED));
    }
    assert_int_equal(r->servers[1].gets, 0); /* one server was enough */
}

static void check_strict(const struct rig *r, const struct cell *c, const char *what) {
    bool first = c->topology == SCENE_FULL && (c->fault == NONE || c->fault == OLD_ONCE);
    if ((r->servers[1].gets > 0) == first) { /* PH-031: a different server */
        fail_msg("%s: the other server was asked %u times", what, r->servers[1].gets);
    }
    if (c->topology != SCENE_FULL) {
        assert_int_equal(r->sim->freezes, 0);
        assert_int_equal(r->n_downloads, 0);
        return;
    }
    size_t bootstrap = rig_count(r, VC_STRICT_BOOTSTRAP),
           detection = rig_count(r, VC_STRICT_DETECTION);
    if (c->fault == NEVER_BACK || c->fault == OTHER_BOX || c->fault == LATE) {
        bool linecard = c->where == LINECARD;
        if ((linecard && bootstrap == 0) || (!linecard && detection == 0)) {
            fail_msg("%s: told bootstrap %zu, detection %zu", what, bootstrap, detection);
        }
    }
    for (size_t i = 0; rig_done(r) && i < c->n; i++) {
        assert_string_equal(r->sim->m[i].version, "2");
    }
}

static void run(const struct cell *c) {
    char what[160];
    snprintf(what, sizeof what, "%zu members, topology %d, %s, %s at %s", c->n, c->topology,
             c->strict ? "strict" : "default", fault_names[c->fault], where_names[c->where]);
    struct rig *r = two_servers(c, 7 + c->n);
    rig_start(r);
    bool ended = rig_run(r, 12 * HOUR, true);
    if (!ended || rig_done(r) != expected(c)) {
        for (size_t i = 0; i < r->n_lines; i++) {
            print_message("%s\n", r->lines[i]);
        }
        fail_msg("%s: %s, wanted %s", what,
                 !ended        ? "no end"
                 : rig_done(r) ? "done"
                               : "not done",
                 expected(c) ? "done" : "not done");
    }
    for (int64_t end = r->sim->now_ms + HOUR; sim_step(r->sim, end);) {
        /* who comes late comes */
    }
    scene_check(r, what);
    if (c->strict) {
        check_strict(r, c, what);
    } else if (rig_done(r)) {
        check_default(r, c, what);
    }
    rig_free(r);
}

/* proves: PH-020 PH-024 PH-025 PH-030 PH-031 PH-032 PH-033 PH-034 PH-036 PH-040 PH-042 PH-043
 * PH-044 PH-050 PH-051 PH-052 PH-053 */
static void table(void **state) {
    (void)state;
    for (size_t n = 2; n <= SZTP_MEMBERS_MAX; n++) {
        for (int t = SCENE_NONE; t <= SCENE_FULL; t++) {
            /* strict is said of a topology: without one there is nothing to say it in */
            for (int strict = 0; strict < (t == SCENE_NONE ? 1 : 2); strict++) {
                for (int f = 0; f < FAULTS; f++) {
                    for (int w = n > 2 ? LINECARD : BACKUP; w < WHERE; w++) {
                        struct cell c = {.n = n,
                                         .topology = (enum scene_topology)t,
                                         .strict = strict,
                                         .fault = (enum fault)f,
                                         .where = (enum where)w,
                                         .member = w == LINECARD ? (int)n - 1
                                                   : w == BACKUP ? 1
                                                                 : 0};
                        run(&c);
                    }
                }
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
