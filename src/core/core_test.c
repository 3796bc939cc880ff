// SPDX-License-Identifier: Apache-2.0
/* Core as a whole, unthreaded, on a real log and a fake clock, with a small ledger as service. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "core/core.h"
#include "core/service.h"
#include "core/system.h"
#include "core/target.h"
#include "core/txn.h"
#include "model/kinds.h"

#define PROFILES "/weft-apm:apm/pool-domain-profile"

/* ---- a service: counts what was put, has one target per partition -----------------------------
 */

struct ledger {
    struct core *core;
    char *record; /* "ledger/total" as stored, or NULL */
    size_t partitions;
    bool refuse_check;
    struct target_session *target;
    uint64_t sent;
};
static struct ledger *ledger;

static void send_nothing(struct target_session *t, void *arg, uint64_t from, uint64_t to) {
    struct ledger *l = arg;
    (void)t;
    (void)from;
    l->sent = to;
}
static const struct target_codec codec = {"test", send_nothing};

static void *ledger_create(struct core *c) {
    ledger = MEM_NEW(struct ledger);
    ledger->core = c;
    return ledger;
}
static void ledger_destroy(void *self) {
    struct ledger *l = self;
    target_free(l->target);
    mem_free(l->record);
    mem_free(l);
}
static enum err_code ledger_start(void *self, struct err *e) {
    struct ledger *l = self;
    (void)e;
    l->target = target_new(l->core, &codec, "t1", l);
    return ERR_OK;
}
static enum err_code ledger_check(void *self, struct txn *t, struct err *e) {
    struct ledger *l = self;
    txn_put_state(t, "ledger/total", 12, "checked", 7); /* must be undone with the refusal */
    return l->refuse_check ? err_set(e, ERR_REFUSED, "/here", "the ledger says no") : ERR_OK;
}
static void ledger_config(void *self, const struct object *old, const struct object *new_) {
    struct ledger *l = self;
    if ((old ? old : new_)->doc->kind == &apm_partition_kind) {
        l->partitions += (new_ != NULL) - (old != NULL);
    }
}
static void ledger_changed(void *self, struct txn *t) {
    struct ledger *l = self;
    target_touch(l->target, t, "something");
}
static bool ledger_encode(void *self, const char *key, size_t n, struct buf *out) {
    struct ledger *l = self;
    assert_int_equal(n, 12);
    assert_memory_equal(key, "ledger/total", 12);
    if (l->record == NULL) {
        return false;
    }
    buf_str(out, l->record);
    return true;
}
static enum err_code ledger_fold(void *self, const char *key, size_t n, const void *v, size_t len,
                                 struct err *e) {
    struct ledger *l = self;
    (void)key;
    (void)n;
    (void)e;
    mem_free(l->record);
    l->record = v ? mem_strndup(v, len) : NULL;
    return ERR_OK;
}

static const struct service ledger_service = {
    .name = "ledger",
    .state_prefix = "ledger/",
    .create = ledger_create,
    .destroy = ledger_destroy,
    .start = ledger_start,
    .check = ledger_check,
    .config = ledger_config,
    .changed = ledger_changed,
    .state_encode = ledger_encode,
    .state_fold = ledger_fold,
};
static const struct service *const services[] = {&system_service, &ledger_service, NULL};

/* ---- a core on a new store --------------------------------------------------------------------
 */

static struct model *model;
static struct clock fake;
static struct core *core;
static char folder[64], store[128];

static void open_core(void) {
    struct core_options o = {.store = store, .clock = &fake, .model = model, .services = services};
    struct err e;
    if (core_open(&o, &core, &e) != ERR_OK) {
        fail_msg("%s: %s", e.path, e.text);
    }
}

static int setup(void **state) {
    (void)state;
    struct err e;
    if (model == NULL && model_load(&model, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    snprintf(folder, sizeof folder, "/tmp/weft-core-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(store, sizeof store, "sqlite:%s/log", folder);
    clock_fake_init(&fake, INT64_C(1700000000) * NS_PER_S);
    open_core();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    char cmd[160];
    core_close(core);
    static const char *const suffix[] = {"", "-wal", "-shm", ".lock", "-lock"};
    for (size_t i = 0; i < sizeof suffix / sizeof suffix[0]; i++) {
        snprintf(cmd, sizeof cmd, "%s/log%s", folder, suffix[i]);
        unlink(cmd);
    }
    rmdir(folder);
    return 0;
}

static void changed(struct change *ch, void *arg) {
    (void)ch;
    *(bool *)arg = true;
}

static enum err_code run_change(struct change *ch) {
    bool done = false;
    core_change(core, ch, changed, &done);
    core_step(core);
    assert_true(done);
    return ch->err.code;
}

static struct change *profile_change(enum edit_op op, const char *name, int apportion) {
    struct change *ch = change_new(&actor_system);
    char path[128], body[256];
    snprintf(path, sizeof path, PROFILES "=%s", name);
    snprintf(body, sizeof body,
             "{\"weft-apm:pool-domain-profile\":[{\"name\":\"%s\",\"apportion-threshold\":%d,"
             "\"reclaim-threshold\":%d}]}",
             name, apportion, apportion + 300);
    change_add(ch, op, path, op == EDIT_DELETE ? NULL : body, strlen(body), FORMAT_JSON);
    return ch;
}

static void must_change(struct change *ch) {
    if (run_change(ch) != ERR_OK) {
        fail_msg("%s: %s", ch->err.path, ch->err.text);
    }
    change_free(ch);
}

static uint32_t apportion_of(const struct snap *s, const char *name) {
    char path[128];
    snprintf(path, sizeof path, PROFILES "=%s", name);
    const struct object *o = snap_get(s, path);
    if (o == NULL) {
        return 0;
    }
    return ((const struct apm_pool_domain_profile *)o->doc->data)->apportion_threshold;
}

static uint32_t apportion_now(const char *name) {
    struct snap *s = core_snapshot(core);
    uint32_t v = apportion_of(s, name);
    snap_release(s);
    return v;
}

/* ---- tests ------------------------------------------------------------------------------------
 */

/* proves: APM-160 */
static void test_change_survives_restart_and_rolls_back(void **state) {
    (void)state;
    must_change(profile_change(EDIT_CREATE, "a", 100));
    must_change(profile_change(EDIT_REPLACE, "a", 200));
    must_change(profile_change(EDIT_CREATE, "b", 50));
    assert_int_equal(apportion_now("a"), 200);
    core_close(core);
    open_core();
    assert_int_equal(apportion_now("a"), 200);
    assert_int_equal(apportion_now("b"), 50);
    assert_string_equal(ledger->record, "checked");
    struct commit_info ci[10];
    assert_int_equal(core_history(core, ci, 10), 3);
    struct snap *s;
    struct err e;
    assert_int_equal(core_snapshot_at(core, ci[1].index, &s, &e), ERR_OK);
    assert_int_equal(apportion_of(s, "a"), 200);
    assert_int_equal(apportion_of(s, "b"), 0);
    snap_release(s);
    assert_int_equal(core_snapshot_at(core, ci[2].index, &s, &e), ERR_OK);
    assert_int_equal(apportion_of(s, "a"), 100);
    snap_release(s);
    assert_int_equal(core_snapshot_at(core, 999, &s, &e), ERR_ABSENT);
}

static void test_refusal_changes_nothing(void **state) {
    (void)state;
    must_change(profile_change(EDIT_CREATE, "a", 100));
    mem_free(ledger->record);
    ledger->record = mem_strdup("before");
    uint64_t head = core_head(core);
    ledger->refuse_check = true;
    struct change *ch = profile_change(EDIT_REPLACE, "a", 7);
    assert_int_equal(run_change(ch), ERR_REFUSED);
    assert_string_equal(ch->err.text, "the ledger says no");
    change_free(ch);
    assert_string_equal(ledger->record, "before");
    assert_int_equal(core_head(core), head);
    assert_int_equal(apportion_now("a"), 100);
}

static void test_dry_run_reports_and_undoes(void **state) {
    (void)state;
    must_change(profile_change(EDIT_CREATE, "a", 100));
    uint64_t head = core_head(core);
    struct change *ch = profile_change(EDIT_REPLACE, "a", 150);
    ch->mode = CHANGE_DRY_RUN;
    assert_int_equal(run_change(ch), ERR_OK);
    assert_non_null(strstr(buf_cstr(&ch->diff), "apportion-threshold 150"));
    assert_int_equal(ch->n_targets, 1);
    assert_string_equal(ch->targets[0].name, "t1");
    change_free(ch);
    assert_int_equal(core_head(core), head);
    assert_int_equal(apportion_now("a"), 100);
}

static void test_references(void **state) {
    (void)state;
    static const char match[] = "{\"weft-apm:entity-match\":[{\"system-id\":\"bng1\","
                                "\"pool-domain-profile\":\"a\"}]}";
    struct change *ch = change_new(&actor_system);
    change_add(ch, EDIT_CREATE, "/weft-apm:apm/entity-match=bng1", match, strlen(match),
               FORMAT_JSON);
    assert_int_equal(run_change(ch), ERR_REFERENCE);
    assert_non_null(strstr(ch->err.path, "entity-match=bng1/pool-domain-profile"));
    change_free(ch);
    /* both at once, in any order */
    ch = profile_change(EDIT_CREATE, "a", 100);
    change_add(ch, EDIT_CREATE, "/weft-apm:apm/entity-match=bng1", match, strlen(match),
               FORMAT_JSON);
    must_change(ch);
    ch = profile_change(EDIT_DELETE, "a", 0);
    assert_int_equal(run_change(ch), ERR_IN_USE);
    assert_non_null(strstr(ch->err.text, "refers to it"));
    change_free(ch);
    assert_int_equal(apportion_now("a"), 100);
}

static void test_stale_generation(void **state) {
    (void)state;
    must_change(profile_change(EDIT_CREATE, "a", 100));
    struct snap *s = core_snapshot(core);
    uint64_t gen = snap_get(s, PROFILES "=a")->modified;
    snap_release(s);
    struct change *ch = profile_change(EDIT_REPLACE, "a", 101);
    ch->edits[0].check_generation = true;
    ch->edits[0].generation = gen;
    must_change(ch);
    ch = profile_change(EDIT_REPLACE, "a", 102);
    ch->edits[0].check_generation = true;
    ch->edits[0].generation = gen;
    assert_int_equal(run_change(ch), ERR_CONFLICT);
    assert_int_equal(ch->bad_edit, 0);
    change_free(ch);
    assert_int_equal(apportion_now("a"), 101);
}

/* Two people change different leaves of one object at the same time: both changes stand. */
static void test_parallel_leaves(void **state) {
    (void)state;
    must_change(profile_change(EDIT_CREATE, "a", 100));
    struct change *one = change_new(&actor_system), *two = change_new(&actor_system);
    change_add(one, EDIT_REPLACE, PROFILES "=a/apportion-threshold", "120", 3, FORMAT_VALUE);
    change_add(two, EDIT_REPLACE, PROFILES "=a/hold-down", "5", 1, FORMAT_VALUE);
    assert_int_equal(core_change_prepare(core, one), ERR_OK);
    assert_int_equal(core_change_prepare(core, two), ERR_OK);
    bool d1 = false, d2 = false;
    core_change(core, one, changed, &d1);
    core_change(core, two, changed, &d2);
    core_step(core);
    assert_int_equal(one->err.code, ERR_OK);
    assert_int_equal(two->err.code, ERR_OK);
    struct snap *s = core_snapshot(core);
    const struct apm_pool_domain_profile *p = snap_get(s, PROFILES "=a")->doc->data;
    assert_int_equal(p->apportion_threshold, 120);
    assert_int_equal(p->hold_down, 5);
    snap_release(s);
    change_free(one);
    change_free(two);
}

static void test_confirmed_commit_is_taken_back(void **state) {
    (void)state;
    must_change(profile_change(EDIT_CREATE, "a", 100));
    struct change *ch = profile_change(EDIT_REPLACE, "a", 150);
    ch->confirm = CONFIRM_BY_PERSON;
    ch->confirm_s = 600;
    must_change(ch);
    assert_int_equal(core_confirm_pending(core, NULL), core_head(core));
    clock_fake_advance(&fake, 300 * NS_PER_S);
    core_step(core);
    assert_int_equal(apportion_now("a"), 150);
    /* it waits over a restart */
    core_close(core);
    open_core();
    clock_fake_advance(&fake, 301 * NS_PER_S);
    core_step(core);
    assert_int_equal(apportion_now("a"), 100);
    assert_int_equal(core_confirm_pending(core, NULL), 0);
}

static void test_confirmed_commit_is_confirmed(void **state) {
    (void)state;
    must_change(profile_change(EDIT_CREATE, "a", 100));
    struct change *ch = profile_change(EDIT_REPLACE, "a", 150);
    ch->confirm = CONFIRM_BY_PERSON;
    ch->confirm_s = 60;
    must_change(ch);
    core_confirm(core, &actor_system, NULL, NULL, NULL);
    core_step(core);
    assert_int_equal(core_confirm_pending(core, NULL), 0);
    clock_fake_advance(&fake, 120 * NS_PER_S);
    core_step(core);
    assert_int_equal(apportion_now("a"), 150);
}

struct waited {
    bool done;
    enum commit_phase phase;
    char text[256];
};
static void on_waited(void *arg, enum commit_phase phase, const char *text) {
    struct waited *w = arg;
    w->done = true;
    w->phase = phase;
    snprintf(w->text, sizeof w->text, "%s", text);
}

static void connect_target(void) {
    target_connected(ledger->target);
    target_synced(ledger->target);
}

static void test_commit_wait_and_refusal(void **state) {
    (void)state;
    connect_target();
    must_change(profile_change(EDIT_CREATE, "a", 100));
    uint64_t n = core_head(core);
    struct waited w = {.done = false};
    core_commit_wait(core, n, 30 * NS_PER_S, on_waited, &w);
    core_step(core);
    assert_false(w.done);
    clock_fake_advance(&fake, NS_PER_S);
    core_step(core);
    assert_int_equal(ledger->sent, n);
    target_applied(ledger->target, n);
    assert_true(w.done);
    assert_int_equal(w.phase, COMMIT_APPLIED);

    /* now one that must be applied, and is refused: taken back whole */
    struct change *ch = profile_change(EDIT_REPLACE, "a", 150);
    ch->confirm = CONFIRM_BY_TARGETS;
    ch->confirm_s = 10;
    must_change(ch);
    n = core_head(core);
    w.done = false;
    core_commit_wait(core, n, 30 * NS_PER_S, on_waited, &w);
    core_step(core);
    clock_fake_advance(&fake, NS_PER_S);
    core_step(core);
    assert_int_equal(ledger->sent, n);
    target_refused(ledger->target, n, "too much for my table");
    core_step(core);
    assert_int_equal(apportion_now("a"), 100);
    assert_true(w.done);
    assert_int_equal(w.phase, COMMIT_TAKEN_BACK);
    assert_non_null(strstr(w.text, "too much for my table"));
    clock_fake_advance(&fake, NS_PER_S);
    core_step(core);
    assert_true(ledger->sent > n); /* the former values are on their way */
}

static void test_down_target_times_out(void **state) {
    (void)state;
    must_change(profile_change(EDIT_CREATE, "a", 100));
    struct waited w = {.done = false};
    core_commit_wait(core, core_head(core), 5 * NS_PER_S, on_waited, &w);
    core_step(core);
    clock_fake_advance(&fake, 6 * NS_PER_S);
    core_step(core);
    assert_true(w.done);
    assert_int_equal(w.phase, COMMIT_PENDING);
    connect_target();
    core_commit_wait(core, core_head(core), 5 * NS_PER_S, on_waited, &w);
    core_step(core);
    assert_int_equal(w.phase, COMMIT_APPLIED);
}

struct seen {
    size_t n, resyncs;
    uint64_t last;
};
static void on_event(const struct event *ev, void *arg) {
    struct seen *s = arg;
    s->n++;
    s->resyncs += strcmp(ev->name, "resync") == 0;
    s->last = ev->seq;
}

static void test_events_replay(void **state) {
    (void)state;
    struct seen live = {0}, late = {0}, lost = {0};
    uint64_t h = core_subscribe(core, 0, on_event, &live);
    must_change(profile_change(EDIT_CREATE, "a", 100));
    must_change(profile_change(EDIT_CREATE, "b", 100));
    assert_int_equal(live.n, 2);
    core_unsubscribe(core, h);
    must_change(profile_change(EDIT_CREATE, "c", 100));
    assert_int_equal(live.n, 2);
    h = core_subscribe(core, 1, on_event, &late);
    assert_int_equal(late.n, 2);
    core_unsubscribe(core, h);
    h = core_subscribe(core, 1000, on_event, &lost);
    assert_int_equal(lost.resyncs, 1);
    core_unsubscribe(core, h);
}

static void test_guard_rail(void **state) {
    (void)state;
    struct change *ch = change_new(&actor_system);
    static const char body[] =
        "{\"weft-system:settings\":{\"guard-rails\":{\"delete-objects\":1}}}";
    change_add(ch, EDIT_REPLACE, "/weft-system:system/settings", body, strlen(body), FORMAT_JSON);
    must_change(ch);
    must_change(profile_change(EDIT_CREATE, "a", 100));
    must_change(profile_change(EDIT_CREATE, "b", 100));
    ch = profile_change(EDIT_DELETE, "a", 0);
    change_add(ch, EDIT_DELETE, PROFILES "=b", NULL, 0, FORMAT_JSON);
    assert_int_equal(run_change(ch), ERR_REFUSED);
    change_free(ch);
    ch = profile_change(EDIT_DELETE, "a", 0);
    change_add(ch, EDIT_DELETE, PROFILES "=b", NULL, 0, FORMAT_JSON);
    ch->force = true;
    must_change(ch);
    assert_int_equal(apportion_now("a"), 0);
}

/* ---- the tree against a model -----------------------------------------------------------------
 */

static struct object *profile_object(int n, int value) {
    char json[200];
    struct doc *d;
    struct err e;
    snprintf(json, sizeof json,
             "{\"name\":\"p%d\",\"apportion-threshold\":%d,\"reclaim-threshold\":100000}", n,
             value);
    assert_int_equal(doc_parse(model, &apm_pool_domain_profile_kind, json, strlen(json), &d, &e),
                     ERR_OK);
    struct object *o = object_new(d, NULL, 1, 1);
    doc_drop(d);
    return o;
}

struct tally {
    int added, removed, changed;
};
static void tally_diff(const struct object *a, const struct object *b, void *arg) {
    struct tally *t = arg;
    t->added += a == NULL;
    t->removed += b == NULL;
    t->changed += a != NULL && b != NULL;
}

static void test_snapshots_are_immutable_and_ordered(void **state) {
    (void)state;
    enum { N = 60, STEPS = 4000 };
    const uint64_t seed = 20261121;
    struct rng r;
    rng_seed(&r, seed);
    int have[N] = {0}, kept[N] = {0};
    struct snap *s = snap_empty(), *old = snap_hold(s);
    for (int i = 0; i < STEPS; i++) {
        int n = (int)rng_below(&r, N), v = 1 + (int)rng_below(&r, 9);
        char path[64];
        snprintf(path, sizeof path, PROFILES "=p%d", n);
        struct snap *next;
        if (rng_chance(&r, 60)) {
            struct object *o = profile_object(n, v);
            next = snap_put(s, o);
            object_release(o);
            have[n] = v;
        } else {
            next = snap_del(s, &apm_pool_domain_profile_kind, path);
            have[n] = 0;
        }
        snap_release(s);
        s = next;
        if (i % 100 == 50) {
            snap_release(old);
            old = snap_hold(s);
            memcpy(kept, have, sizeof kept);
        }
        if (i % 100 == 99) {
            struct tally t = {0}, want = {0};
            snap_diff(old, s, tally_diff, &t);
            size_t count = 0;
            for (int k = 0; k < N; k++) {
                snprintf(path, sizeof path, "p%d", k);
                assert_int_equal(apportion_of(s, path), have[k]);
                assert_int_equal(apportion_of(old, path), kept[k]);
                want.added += !kept[k] && have[k];
                want.removed += kept[k] && !have[k];
                count += have[k] != 0;
            }
            assert_int_equal(t.added, want.added);
            assert_int_equal(t.removed, want.removed);
            assert_int_equal(snap_count(s), count);
            size_t walked = 0;
            for (const struct object *o = snap_next(s, NULL), *p = NULL; o != NULL;
                 p = o, o = snap_next(s, o)) {
                walked++;
                assert_true(p == NULL ||
                            path_cmp(p->doc->kind, p->doc->path, o->doc->kind, o->doc->path) < 0);
            }
            assert_int_equal(walked, count);
        }
    }
    snap_release(s);
    snap_release(old);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_change_survives_restart_and_rolls_back),
        T(test_refusal_changes_nothing),
        T(test_dry_run_reports_and_undoes),
        T(test_references),
        T(test_stale_generation),
        T(test_parallel_leaves),
        T(test_confirmed_commit_is_taken_back),
        T(test_confirmed_commit_is_confirmed),
        T(test_commit_wait_and_refusal),
        T(test_down_target_times_out),
        T(test_events_replay),
        T(test_guard_rail),
        T(test_snapshots_are_immutable_and_ordered),
    };
    int rc = cmocka_run_group_tests_name("core", tests, NULL, NULL);
    model_free(model);
    return rc;
}
