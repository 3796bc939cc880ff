// SPDX-License-Identifier: Apache-2.0
/*
 * Core on a disk that fails: batches that were not written leave nothing behind, and random
 * histories with failures, power cuts and restarts agree with a model that is a few arrays.
 */
#include "core/testing.h"

#include <stdlib.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/rng.h"
#include "log/vfs_power.h"

static int setup(void **state) {
    vfs_power_register(false);
    vfs_power_set_faults(NULL);
    setenv("WEFT_SQLITE_VFS", VFS_POWER_NAME, 1);
    return testing_setup(state);
}

static int teardown(void **state) {
    vfs_power_set_faults(NULL);
    return testing_teardown(state);
}

/* ---- queued work and what came of it --------------------------------------------------------- */

struct job {
    bool done;
    enum err_code rc;
    uint64_t index;
    char text[256];
    struct change *change; /* or a record: */
    const char *key, *value;
};

static void change_over(struct change *ch, void *arg) {
    struct job *j = arg;
    j->done = true;
    j->rc = ch->err.code;
    j->index = ch->index;
    snprintf(j->text, sizeof j->text, "%s", ch->err.code ? ch->err.text : "");
}

static void record_over(void *arg, uint64_t index, const struct err *e) {
    struct job *j = arg;
    j->done = true;
    j->rc = e ? e->code : ERR_OK;
    j->index = index;
}

static enum err_code record_work(struct txn *t, void *arg, struct err *e) {
    struct job *j = arg;
    book_put(t, j->key, j->value);
    return ERR_OK;
}

static void queue(struct job *j) {
    if (j->change != NULL) {
        core_change(testing.core, j->change, change_over, j);
    } else {
        core_run(testing.core, &actor_system, record_work, record_over, j);
    }
}

static void finish(struct job *j) {
    assert_true(j->done);
    change_free(j->change);
    j->change = NULL;
}

static void fail_next(bool sync, bool for_ever, bool cut) {
    struct vfs_power_faults f = {.fail_write = sync ? 0 : 1,
                                 .fail_sync = sync ? 1 : 0,
                                 .write_code = SQLITE_FULL,
                                 .for_ever = for_ever,
                                 .cut = cut};
    vfs_power_set_faults(&f);
}

/* ---- one batch ------------------------------------------------------------------------------- */

static void test_a_batch_that_is_not_written(void **state) {
    testing.touches = true;
    testing_must(testing_profile(EDIT_CREATE, "a", 100));
    testing_must(testing_profile(EDIT_CREATE, "b", 50));
    struct job first = {.key = "r", .value = "one"};
    queue(&first);
    core_step(testing.core);
    finish(&first);
    uint64_t head = core_head(testing.core);
    struct snap *s = core_snapshot(testing.core);
    uint64_t generation = snap_index(s);
    snap_release(s);

    struct job jobs[] = {{.change = testing_profile(EDIT_REPLACE, "a", 200)},
                         {.key = "r", .value = "two"},
                         {.change = testing_profile(EDIT_DELETE, "b", 0)},
                         {.key = "r", .value = NULL},
                         {.key = "s", .value = "new"},
                         {.change = testing_profile(EDIT_REPLACE, "a", 300)},
                         {.change = testing_profile(EDIT_CREATE, "c", 1)}};
    jobs[5].change->confirm = CONFIRM_BY_PERSON;
    jobs[5].change->confirm_s = 60;
    enum { N = sizeof jobs / sizeof jobs[0] };
    fail_next(false, false, false);
    for (size_t i = 0; i < N; i++) {
        queue(&jobs[i]);
    }
    core_step(testing.core);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(jobs[i].rc, ERR_UNAVAILABLE);
        finish(&jobs[i]);
    }
    assert_int_equal(core_head(testing.core), head);
    assert_int_equal(testing_apportion("a"), 100);
    assert_int_equal(testing_apportion("b"), 50);
    assert_int_equal(testing_apportion("c"), 0);
    assert_int_equal(testing.book->value_sum, 150);
    assert_string_equal(book_get("r"), "one");
    assert_null(book_get("s"));
    assert_int_equal(core_confirm_pending(testing.core, NULL), 0);
    struct commit_info ci[5];
    assert_int_equal(core_history(testing.core, ci, 5), 2);
    struct core_stats st;
    core_stats(testing.core, &st);
    assert_int_equal(st.append_errors, 1);
    assert_false(st.writable); /* until one is written again */

    /* a condition on the generation still holds, and the next one is written */
    struct change *ch = testing_profile(EDIT_REPLACE, "a", 400);
    static const char nothing[] = "{\"weft-apm:apm\":{}}";
    change_add(ch, EDIT_MERGE, "/weft-apm:apm", nothing, strlen(nothing), FORMAT_JSON);
    ch->edits[1].check_generation = true;
    ch->edits[1].generation = generation;
    testing_must(ch);
    testing_close();
    testing_open();
    assert_int_equal(testing_apportion("a"), 400);
    assert_int_equal(testing_apportion("b"), 50);
    assert_string_equal(book_get("r"), "one");
    assert_int_equal(core_history(testing.core, ci, 5), 3);
}

/* Nothing that waits for the store may spin while it is full. */
static void test_a_full_disk(void **state) {
    testing.touches = true;
    testing_must(testing_profile(EDIT_CREATE, "a", 100));
    target_connected(testing.book->target);
    target_synced(testing.book->target);
    struct change *ch = testing_profile(EDIT_REPLACE, "a", 200);
    ch->confirm = CONFIRM_BY_TARGETS;
    ch->confirm_s = 600;
    testing_must(ch);
    testing_advance(NS_PER_S);
    fail_next(false, true, false);
    target_applied(testing.book->target, testing.book->sent);
    core_step(testing.core);
    struct core_stats before, after;
    core_stats(testing.core, &before);
    for (int i = 0; i < 20; i++) {
        core_step(testing.core);
        assert_int_equal(testing_fails(testing_profile(EDIT_REPLACE, "b", 1)), ERR_UNAVAILABLE);
    }
    core_stats(testing.core, &after);
    assert_true(after.works - before.works <= 25);
    assert_true(core_confirm_pending(testing.core, NULL) != 0);
    vfs_power_set_faults(NULL);
    testing_advance(2 * NS_PER_S); /* now the confirmation gets through */
    testing_advance(NS_PER_S);
    assert_int_equal(core_confirm_pending(testing.core, NULL), 0);
    testing_must(testing_profile(EDIT_CREATE, "b", 7));
    /* really full, by capacity */
    struct vfs_power_faults f = {.capacity = 1 << 20};
    vfs_power_set_faults(&f);
    unsigned n = 0, refused = 0;
    for (; n < 3000 && refused < 3; n++) {
        enum err_code rc = testing_fails(testing_profile(EDIT_REPLACE, "b", n + 10));
        assert_true(rc == ERR_OK || rc == ERR_UNAVAILABLE);
        refused += rc != ERR_OK;
    }
    assert_int_equal(refused, 3);
    unsigned last = testing_apportion("b");
    vfs_power_set_faults(NULL);
    testing_close();
    testing_open();
    assert_int_equal(testing_apportion("b"), last);
    testing_must(testing_profile(EDIT_REPLACE, "b", 9));
}

/* ---- random histories ------------------------------------------------------------------------ */

enum { NAMES = 8, KEYS = 4, KEPT = 50, JOBS = 6, ROUNDS = 120 };

struct commit {
    uint64_t index;
    unsigned value[NAMES];
};

struct world {             /* what must be there */
    unsigned value[NAMES]; /* 0: no such profile */
    int record[KEYS];      /* 0: none */
    bool waits;            /* a confirmed commit ... */
    unsigned before[NAMES];
    struct commit commit[KEPT]; /* ring */
    size_t n_commits;
};

static const char *const names[NAMES] = {"a", "b", "c", "d", "e", "f", "g", "h"};
static const char *const keys[KEYS] = {"w", "x", "y", "z"};
static const char *const values[] = {NULL, "1", "2", "3", "4", "5"};

static void add_commit(struct world *w, uint64_t index) {
    struct commit *c = &w->commit[w->n_commits++ % KEPT];
    c->index = index;
    memcpy(c->value, w->value, sizeof c->value);
}

static bool same_world(const struct world *w) {
    bool same = true;
    uint64_t sum = 0;
    for (size_t i = 0; i < NAMES; i++) {
        same &= testing_apportion(names[i]) == w->value[i];
        sum += w->value[i];
    }
    for (size_t i = 0; i < KEYS; i++) {
        const char *v = book_get(keys[i]);
        same &=
            v == NULL ? w->record[i] == 0 : w->record[i] != 0 && !strcmp(v, values[w->record[i]]);
    }
    return same && testing.book->value_sum == sum &&
           (core_confirm_pending(testing.core, NULL) != 0) == w->waits;
}

static void check_history(const struct world *w) {
    struct commit_info ci[KEPT];
    size_t n = core_history(testing.core, ci, KEPT);
    assert_int_equal(n, w->n_commits < KEPT ? w->n_commits : KEPT);
    for (size_t i = 0; i < n; i++) {
        const struct commit *c = &w->commit[(w->n_commits - 1 - i) % KEPT];
        assert_int_equal(ci[i].index, c->index);
        struct snap *s;
        struct err e;
        assert_int_equal(core_snapshot_at(testing.core, c->index, &s, &e), ERR_OK);
        size_t there = 0;
        for (size_t k = 0; k < NAMES; k++) {
            assert_int_equal(testing_apportion_in(s, names[k]), c->value[k]);
            there += c->value[k] != 0;
        }
        assert_int_equal(snap_count(s), there);
        snap_release(s);
    }
}

static void random_edit(struct rng *r, struct change *ch) {
    size_t n = rng_below(r, NAMES);
    unsigned v = 1 + (unsigned)rng_below(r, 5);
    static const enum edit_op ops[] = {EDIT_CREATE, EDIT_REPLACE, EDIT_REPLACE,
                                       EDIT_MERGE,  EDIT_DELETE,  EDIT_REMOVE};
    struct change *one = testing_profile(ops[rng_below(r, 6)], names[n], v);
    const struct model_edit *ed = &one->edits[0].edit;
    change_add(ch, ed->op, ed->target, ed->body, ed->len, ed->format);
    change_free(one);
}

/* What `ch` does to the model: the same edits on an array. The name is the last character, the
 * value is told by the body. */
static enum err_code model_apply(struct world *w, const struct change *ch, bool *changed) {
    unsigned v[NAMES];
    memcpy(v, w->value, sizeof v);
    for (size_t i = 0; i < ch->n_edits; i++) {
        const struct model_edit *ed = &ch->edits[i].edit;
        unsigned *at = &v[ed->target[strlen(ed->target) - 1] - 'a'];
        if (ed->op == EDIT_DELETE && *at == 0) {
            return ERR_ABSENT;
        }
        if (ed->op == EDIT_CREATE && *at != 0) {
            return ERR_EXISTS;
        }
        *at = 0;
        if (ed->body != NULL) {
            *at = (unsigned)atoi(strstr(ed->body, "\"apportion-threshold\":") + 22);
        }
    }
    *changed = memcmp(v, w->value, sizeof v) != 0;
    if (*changed && ch->confirm == CONFIRM_BY_PERSON && !w->waits) {
        memcpy(w->before, w->value, sizeof w->before);
        w->waits = true;
    } else if (*changed && ch->confirm == CONFIRM_NONE) {
        w->waits = false;
    }
    memcpy(w->value, v, sizeof v);
    return ERR_OK;
}

/* Queues some work and works out what the model says to it, in the same order. */
static size_t random_jobs(struct rng *r, struct job *jobs, const struct world *before,
                          struct world *w, enum err_code *expect, uint64_t *index, bool *writes) {
    size_t n = 1 + rng_below(r, JOBS);
    uint64_t next = core_head(testing.core) + 1;
    for (size_t i = 0; i < n; i++) {
        jobs[i] = (struct job){.done = false};
        expect[i] = ERR_OK;
        index[i] = next;
        if (rng_chance(r, 30)) {
            size_t k = rng_below(r, KEYS), v = rng_below(r, 6);
            jobs[i].key = keys[k];
            jobs[i].value = values[v];
            writes[i] = v != 0 || w->record[k] != 0;
            next += writes[i];
            w->record[k] = (int)v;
            continue;
        }
        struct change *ch = change_new(&actor_system);
        for (size_t k = 1 + rng_below(r, 3); k > 0; k--) {
            random_edit(r, ch);
        }
        if (rng_chance(r, 15)) {
            ch->confirm = CONFIRM_BY_PERSON;
            ch->confirm_s = 60;
        }
        jobs[i].change = ch;
        if (rng_chance(r, 50)) {
            core_change_prepare(testing.core, ch); /* an error only the writer may tell then */
        }
        /* What can't be against the published state is told at once, in the caller's thread. */
        bool changed = false;
        struct world published = *before;
        expect[i] = model_apply(&published, ch, &changed);
        changed = false;
        if (expect[i] == ERR_OK) {
            expect[i] = model_apply(w, ch, &changed);
        }
        writes[i] = changed;
        if (changed) {
            add_commit(w, next++);
        }
    }
    return n;
}

/* A copy of the files as they are on the disk at this moment opens to the same world. */
static void check_copy(const struct world *w) {
    static const char *const suffixes[] = {"", "-wal", "-tables", "-tables-wal"};
    char from[200], to[200], cmd[500];
    const char *path = strchr(testing.store, ':') + 1;
    for (size_t i = 0; i < 4; i++) {
        snprintf(from, sizeof from, "%s%s", path, suffixes[i]);
        snprintf(to, sizeof to, "%s/copy%s", testing.folder, suffixes[i]);
        unlink(to);
        FILE *in = fopen(from, "rb"), *out = in ? fopen(to, "wb") : NULL;
        for (size_t n; in != NULL && (n = fread(cmd, 1, sizeof cmd, in)) > 0;) {
            assert_int_equal(fwrite(cmd, 1, n, out), n);
        }
        if (in != NULL) {
            fclose(in);
            fclose(out);
        }
    }
    struct testing running = testing;
    snprintf(testing.store, sizeof testing.store, "sqlite:%s/copy", testing.folder);
    testing_open();
    assert_true(same_world(w));
    check_history(w);
    testing_close();
    testing = running;
}

static void reopen(void) {
    testing_close();
    vfs_power_set_faults(NULL);
    testing_open();
}

static void one_round(struct rng *r, struct world *w) {
    struct job jobs[JOBS];
    enum err_code expect[JOBS];
    uint64_t index[JOBS];
    struct world before = *w;
    bool writes[JOBS], after_write = false;
    size_t n = random_jobs(r, jobs, &before, w, expect, index, writes);
    unsigned fault = rng_chance(r, 20) ? 1 + (unsigned)rng_below(r, 4) : 0;
    if (fault != 0) {
        fail_next(fault >= 2, false, fault >= 3);
    }
    for (size_t i = 0; i < n; i++) {
        queue(&jobs[i]);
    }
    core_step(testing.core);
    bool failed = false;
    for (size_t i = 0; i < n; i++) {
        failed |= jobs[i].done && jobs[i].rc == ERR_UNAVAILABLE;
    }
    for (size_t i = 0; i < n; i++) {
        /* What was refused was refused on its own account, whatever became of the batch; what had
         * nothing to write and came before all that had is none of the store's business. */
        after_write |= writes[i];
        bool fails = failed && after_write && expect[i] == ERR_OK;
        if (jobs[i].rc != (fails ? ERR_UNAVAILABLE : expect[i])) {
            fail_msg("job %zu of %zu: %s, expected %s: %s", i, n, err_code_name(jobs[i].rc),
                     err_code_name(expect[i]), jobs[i].text);
        }
        if (!failed && expect[i] == ERR_OK && jobs[i].change && !jobs[i].change->unchanged) {
            assert_int_equal(jobs[i].index, index[i]);
        }
        finish(&jobs[i]);
    }
    if (failed) {
        assert_true(same_world(&before));
        check_history(&before);
    }
    if (fault == 2 && rng_chance(r, 60)) {
        /* It is got over while running: what was refused is not there. */
        vfs_power_set_faults(NULL);
        testing_advance(NS_PER_S);
        if (failed) {
            assert_true(same_world(&before));
            *w = before;
        }
    } else if (fault >= 2) {
        /* A sync failed, or the power went in it: nobody was told that it was written, so either
         * is right. */
        reopen();
        if (!same_world(w)) {
            assert_true(failed);
            *w = before;
        }
    } else if (failed) {
        *w = before;
        vfs_power_set_faults(NULL);
        testing_advance(NS_PER_S); /* and it is found out that there is room again */
    }
    vfs_power_set_faults(NULL);
}

static void expire(struct world *w) {
    testing_advance(61 * NS_PER_S);
    if (w->waits) {
        w->waits = false;
        bool changed = memcmp(w->value, w->before, sizeof w->value) != 0;
        memcpy(w->value, w->before, sizeof w->value);
        if (changed) {
            add_commit(w, core_head(testing.core));
        }
    }
}

static void random_history(uint64_t seed) {
    struct rng r;
    struct world w = {.n_commits = 0};
    rng_seed(&r, seed);
    vfs_power_seed(seed, 20);
    print_message("seed %llu\n", (unsigned long long)seed);
    for (int i = 0; i < ROUNDS; i++) {
        one_round(&r, &w);
        assert_true(same_world(&w));
        if (rng_chance(&r, 5)) {
            expire(&w);
        } else if (rng_chance(&r, 5)) {
            reopen();
        } else if (rng_chance(&r, 3)) {
            vfs_power_cut();
            reopen();
        } else if (rng_chance(&r, 3)) {
            check_copy(&w);
        }
        assert_true(same_world(&w));
        if (i % 20 == 0) {
            check_history(&w);
        }
    }
    check_history(&w);
}

static void test_random_histories(void **state) {
    const char *given = getenv("WEFT_TEST_SEED");
    for (uint64_t seed = 1; seed <= 3; seed++) {
        random_history(given ? strtoull(given, NULL, 10) : seed);
        testing_teardown(state);
        testing_setup(state);
    }
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_a_batch_that_is_not_written),
        T(test_a_full_disk),
        T(test_random_histories),
    };
    int rc = cmocka_run_group_tests_name("core faults", tests, NULL, NULL);
    testing_last();
    return rc;
}
