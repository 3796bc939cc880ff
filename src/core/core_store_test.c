// SPDX-License-Identifier: Apache-2.0
/*
 * A store that can't be written for a while: reading goes on, writing is refused with the reason,
 * and when the storage works again so does everything, with exactly what had been answered.
 */
#include "core/testing.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include <sqlite3.h>

#include "base/rng.h"
#include "log/log.h"
#include "log/vfs_power.h"

static int setup(void **state) {
    vfs_power_register(false);
    vfs_power_set_faults(NULL);
    setenv("WEFT_SQLITE_VFS", VFS_POWER_NAME, 1);
    testing.threaded = false;
    return testing_setup(state);
}

static int setup_threaded(void **state) {
    setup(state);
    testing_close();
    testing.threaded = true;
    testing_open();
    return 0;
}

static int teardown(void **state) {
    vfs_power_set_faults(NULL);
    int rc = testing_teardown(state);
    testing.threaded = false;
    return rc;
}

static void disk(const struct vfs_power_faults *f) {
    vfs_power_set_faults(f);
}

static const struct vfs_power_faults sync_fails_once = {.fail_sync = 1};
static const struct vfs_power_faults sync_fails = {.fail_sync = 1, .for_ever = true};
static const struct vfs_power_faults full = {
    .fail_write = 1, .write_code = SQLITE_FULL, .for_ever = true};

static struct core_stats stats(void) {
    struct core_stats st;
    core_stats(testing.core, &st);
    return st;
}

/* The error of a change that is refused. */
static struct err refusal(struct change *ch) {
    assert_int_equal(testing_run(ch), ERR_UNAVAILABLE);
    struct err e = ch->err;
    change_free(ch);
    return e;
}

static void looked(struct look *l, void *arg) {
    *(bool *)arg = true;
}

static bool can_look(void) {
    struct look *l = look_new(&actor_system, "/weft-system:system/state");
    bool done = false;
    core_look(testing.core, l, looked, &done);
    core_step(testing.core);
    assert_true(done);
    bool ok = l->err.code == ERR_OK && l->json.len > 0;
    look_free(l);
    return ok;
}

static bool can_ask(void) {
    struct call *cl = testing_call(&actor_system, system_show_system_commit_rpc, "{}");
    bool ok = cl->err.code == ERR_OK && strstr(buf_cstr(&cl->text), "Rollback") != NULL;
    call_free(cl);
    return ok;
}

/* ---- events ---------------------------------------------------------------------------------- */

struct heard {
    unsigned unwritable, again, others;
    char reason[300];
};

static void hear(const struct event *ev, void *arg) {
    struct heard *h = arg;
    if (strcmp(ev->name, "weft-system:store-unwritable") == 0) {
        h->unwritable++;
        snprintf(h->reason, sizeof h->reason, "%s", ev->json);
    } else if (strcmp(ev->name, "weft-system:store-writable-again") == 0) {
        h->again++;
        snprintf(h->reason, sizeof h->reason, "%s", ev->json);
    } else {
        h->others++;
    }
}

/* ---- a failed sync --------------------------------------------------------------------------- */

static void test_a_failed_sync_is_got_over(void **state) {
    struct heard h = {.others = 0};
    testing_must(testing_profile(EDIT_CREATE, "a", 100));
    core_subscribe(testing.core, 0, hear, &h);
    uint64_t head = core_head(testing.core);
    disk(&sync_fails_once);
    struct err e = refusal(testing_profile(EDIT_REPLACE, "a", 200));
    assert_non_null(strstr(e.text, "since 2023-11-14T22:13:20Z: can't make the batch durable"));
    struct core_stats st = stats();
    assert_false(st.writable);
    assert_int_equal(st.unwritable_since_s, clock_wall_s(&testing.clock));
    assert_non_null(strstr(st.unwritable_why, "disk I/O error"));
    assert_int_equal(h.unwritable, 1);
    assert_non_null(strstr(h.reason, "\"since\":\"2023-11-14T22:13:20Z\""));
    assert_non_null(strstr(h.reason, "disk I/O error"));
    /* before it is opened again: reading and checking go on, writing does not */
    assert_true(can_look());
    assert_true(can_ask());
    struct change *dry = testing_profile(EDIT_REPLACE, "a", 150);
    dry->mode = CHANGE_DRY_RUN;
    testing_must(dry);
    assert_int_equal(testing_fails(testing_profile(EDIT_DELETE, "none", 0)), ERR_ABSENT);
    testing_must(testing_profile(EDIT_REPLACE, "a", 100)); /* as it is: nothing to write */
    refusal(testing_profile(EDIT_REPLACE, "a", 300));
    assert_int_equal(testing_apportion("a"), 100);
    assert_int_equal(core_head(testing.core), head);

    testing_advance(NS_PER_S);
    st = stats();
    assert_true(st.writable);
    assert_int_equal(st.unwritable_since_s, 0);
    assert_int_equal(st.store_reopens, 1);
    assert_int_equal(st.store_outages, 1);
    assert_int_equal(h.again, 1);
    assert_non_null(strstr(h.reason, "\"refused\":\"2\""));
    assert_int_equal(h.others, 0);
    assert_int_equal(core_head(testing.core), head);
    testing_must(testing_profile(EDIT_REPLACE, "a", 400));
    assert_int_equal(core_head(testing.core), head + 1);
    vfs_power_cut();
    testing_close();
    testing_open();
    assert_int_equal(testing_apportion("a"), 400);
    assert_int_equal(core_head(testing.core), head + 1);
}

/* The disk stays bad for a while: tried after 1, 2, 4, 8, 16, 30, 30 ... seconds. */
static void test_back_off(void **state) {
    testing_must(testing_profile(EDIT_CREATE, "a", 100));
    disk(&sync_fails);
    refusal(testing_profile(EDIT_REPLACE, "a", 200));
    static const int wait[] = {1, 2, 4, 8, 16, 30, 30};
    for (size_t i = 0; i < sizeof wait / sizeof wait[0]; i++) {
        int64_t syncs = vfs_power_syncs();
        testing_advance(wait[i] * NS_PER_S - 1);
        assert_int_equal(vfs_power_syncs(), syncs);
        testing_advance(1);
        assert_true(vfs_power_syncs() > syncs);
        assert_false(stats().writable);
        refusal(testing_profile(EDIT_REPLACE, "a", 200));
        assert_true(can_look());
    }
    assert_int_equal(stats().store_outages, 1);
    disk(NULL);
    testing_advance(30 * NS_PER_S);
    assert_true(stats().writable);
    testing_must(testing_profile(EDIT_REPLACE, "a", 300));
    /* the next outage begins with short waits again */
    disk(&sync_fails_once);
    refusal(testing_profile(EDIT_REPLACE, "a", 400));
    testing_advance(NS_PER_S);
    assert_true(stats().writable);
    assert_int_equal(testing_apportion("a"), 300);
}

/* The batch lies complete in the file although it was refused: the disk took neither the sync nor
 * the mark that voids it. */
static void fail_in_doubt(void) {
    testing_must(testing_profile(EDIT_REPLACE, "b", 7));
    int64_t writes = vfs_power_writes();
    testing_must(testing_profile(EDIT_REPLACE, "b", 8));
    writes = vfs_power_writes() - writes;
    struct vfs_power_faults f = {.fail_sync = 1, .fail_write = writes + 1, .for_ever = true};
    disk(&f);
    struct err e = refusal(testing_profile(EDIT_REPLACE, "b", 9));
    assert_non_null(strstr(e.text, "may be there at the next start"));
}

static void test_what_was_refused_does_not_come_alive(void **state) {
    testing_must(testing_profile(EDIT_CREATE, "a", 100));
    fail_in_doubt();
    uint64_t head = core_head(testing.core);
    testing_advance(NS_PER_S);
    assert_false(stats().writable);
    disk(NULL);
    testing_advance(2 * NS_PER_S);
    assert_true(stats().writable);
    assert_int_equal(core_head(testing.core), head);
    assert_int_equal(testing_apportion("b"), 8);
    vfs_power_cut();
    testing_close();
    disk(NULL);
    testing_open();
    assert_int_equal(core_head(testing.core), head);
    assert_int_equal(testing_apportion("b"), 8);
    testing_must(testing_profile(EDIT_REPLACE, "b", 10));
    struct commit_info ci[8];
    assert_int_equal(core_history(testing.core, ci, 8), 4);
}

/* Nor when the controller is stopped before it was tried again, if the disk lets it. */
static void test_stopped_in_doubt(void **state) {
    fail_in_doubt();
    uint64_t head = core_head(testing.core);
    disk(NULL);
    testing_close();
    testing_open();
    assert_int_equal(core_head(testing.core), head);
    assert_int_equal(testing_apportion("b"), 8);
    /* where it does not, it is there at the next start, and memory knows it */
    fail_in_doubt();
    head = core_head(testing.core);
    testing_close();
    disk(NULL);
    testing_open();
    assert_true(core_head(testing.core) == head || testing_apportion("b") == 9);
    assert_int_equal(testing.book->value_sum, testing_apportion("b"));
    testing_must(testing_profile(EDIT_REPLACE, "b", 10));
}

/* ---- a full disk ----------------------------------------------------------------------------- */

static void test_a_full_disk_heals_by_itself(void **state) {
    struct heard h = {.others = 0};
    testing_must(testing_profile(EDIT_CREATE, "a", 100));
    core_subscribe(testing.core, 0, hear, &h);
    disk(&full);
    struct err e = refusal(testing_profile(EDIT_REPLACE, "a", 200));
    assert_non_null(strstr(e.text, "full"));
    refusal(testing_profile(EDIT_REPLACE, "a", 200));
    assert_true(can_look());
    assert_int_equal(h.unwritable, 1);
    /* nobody wants to write: found out all the same */
    disk(NULL);
    testing_advance(NS_PER_S);
    assert_true(stats().writable);
    assert_int_equal(stats().store_reopens, 0);
    assert_int_equal(h.again, 1);
    /* somebody does: without waiting for the timer */
    disk(&full);
    refusal(testing_profile(EDIT_REPLACE, "a", 300));
    disk(NULL);
    testing_must(testing_profile(EDIT_REPLACE, "a", 400));
    assert_true(stats().writable);
    assert_int_equal(h.again, 2);
    testing_advance(60 * NS_PER_S);
    assert_int_equal(h.unwritable + h.again, 4);
    assert_int_equal(testing_apportion("a"), 400);
}

/* A look that comes with a write that fails is answered, and does not see what was undone. */
struct seen {
    bool done;
    enum err_code rc;
    unsigned a;
};

static enum err_code see_work(struct txn *t, void *arg, struct err *e) {
    struct seen *s = arg;
    s->a = testing_apportion_in(txn_snap(t), "a");
    return ERR_OK;
}

static enum err_code put_work(struct txn *t, void *arg, struct err *e) {
    book_put(t, "x", "y");
    return ERR_OK;
}

static void see_done(void *arg, uint64_t index, const struct err *e) {
    struct seen *s = arg;
    s->done = true;
    s->rc = e ? e->code : ERR_OK;
}

static void drop(struct change *ch, void *arg) {
    *(enum err_code *)arg = ch->err.code;
    change_free(ch);
}

static void test_looks_are_answered(void **state) {
    testing_must(testing_profile(EDIT_CREATE, "a", 100));
    for (int failing = 0; failing < 2; failing++) {
        struct seen before = {.done = false}, after = before, writer = before;
        enum err_code rc = ERR_OK;
        unsigned now = testing_apportion("a");
        disk(failing ? &sync_fails_once : NULL);
        core_run_look(testing.core, &actor_system, see_work, see_done, &before);
        core_change(testing.core, testing_profile(EDIT_REPLACE, "a", now + 1), drop, &rc);
        core_run_look(testing.core, &actor_system, see_work, see_done, &after);
        core_run_look(testing.core, &actor_system, put_work, see_done, &writer);
        core_step(testing.core);
        assert_true(before.done && after.done && writer.done);
        assert_int_equal(before.rc, ERR_OK);
        assert_int_equal(after.rc, ERR_OK);
        assert_int_equal(writer.rc, ERR_INTERNAL); /* it must not */
        assert_null(book_get("x"));
        assert_int_equal(rc, failing ? ERR_UNAVAILABLE : ERR_OK);
        assert_int_equal(after.a, failing ? now : now + 1);
    }
}

/* While nobody knows whether there is room each write is tried by itself, and fails by itself. */
static void test_each_by_itself(void **state) {
    testing_must(testing_profile(EDIT_CREATE, "a", 100));
    disk(&full);
    refusal(testing_profile(EDIT_REPLACE, "a", 200));
    const struct vfs_power_faults once = {.fail_write = 1, .write_code = SQLITE_FULL};
    disk(&once);
    enum err_code rc[3];
    struct seen seen = {.done = false};
    core_change(testing.core, testing_profile(EDIT_REPLACE, "a", 300), drop, &rc[0]);
    core_run_look(testing.core, &actor_system, see_work, see_done, &seen);
    core_change(testing.core, testing_profile(EDIT_REPLACE, "b", 400), drop, &rc[1]);
    core_change(testing.core, testing_profile(EDIT_CREATE, "a", 500), drop, &rc[2]);
    core_step(testing.core);
    assert_int_equal(rc[0], ERR_UNAVAILABLE);
    assert_int_equal(rc[1], ERR_OK);
    assert_int_equal(rc[2], ERR_EXISTS);
    assert_int_equal(seen.a, 100);
    assert_true(stats().writable);
    assert_int_equal(testing_apportion("a"), 100);
    assert_int_equal(testing_apportion("b"), 400);
}

/* What is there can be saved meanwhile, to another place. */
static void test_a_backup_meanwhile(void **state) {
    char body[200], store[160], file[120];
    snprintf(file, sizeof file, "%s/rescue", testing.folder);
    snprintf(body, sizeof body, "{\"file\":\"%s\"}", file);
    testing_must(testing_profile(EDIT_CREATE, "a", 100));
    core_step(testing.core);
    struct vfs_power_faults once = sync_fails_once;
    disk(&once);
    refusal(testing_profile(EDIT_REPLACE, "a", 200));
    disk(NULL);
    assert_false(stats().writable); /* nobody has looked yet */
    struct call *cl = testing_call(&actor_system, system_backup_rpc, body);
    assert_int_equal(cl->err.code, ERR_OK);
    call_free(cl);
    cl = testing_call(&actor_system, system_check_rpc, "{}");
    assert_int_equal(cl->err.code, ERR_OK);
    assert_non_null(strstr(buf_cstr(&cl->text), " 0 problems"));
    call_free(cl);
    assert_false(stats().writable);
    testing_close();
    char before[160];
    struct err e;
    snprintf(before, sizeof before, "%s", testing.store);
    snprintf(store, sizeof store, "sqlite:%s/restored", testing.folder);
    assert_int_equal(log_restore(file, store, &e), ERR_OK);
    snprintf(testing.store, sizeof testing.store, "%s", store);
    testing_open();
    assert_int_equal(testing_apportion("a"), 100);
    testing_close();
    snprintf(testing.store, sizeof testing.store, "%s", before);
    testing_open();
    assert_int_equal(testing_apportion("a"), 100);
}

/* A confirmed commit that must be taken back while nothing can be written is, as soon as it can. */
static void test_a_take_back_waits_for_the_store(void **state) {
    testing_must(testing_profile(EDIT_CREATE, "a", 100));
    struct change *ch = testing_profile(EDIT_REPLACE, "a", 200);
    ch->confirm = CONFIRM_BY_PERSON;
    ch->confirm_s = 60;
    testing_must(ch);
    disk(&sync_fails);
    refusal(testing_profile(EDIT_REPLACE, "b", 1));
    testing_advance(90 * NS_PER_S);
    assert_int_equal(testing_apportion("a"), 200);
    assert_true(core_confirm_pending(testing.core, NULL) != 0);
    disk(NULL);
    while (!stats().writable) {
        testing_advance(NS_PER_S);
    }
    core_step(testing.core);
    assert_int_equal(testing_apportion("a"), 100);
    assert_int_equal(core_confirm_pending(testing.core, NULL), 0);
}

/* ---- threads --------------------------------------------------------------------------------- */

enum { WRITERS = 4, FAULTS = 6 };

struct writer {
    char name[8];
    unsigned acked; /* the value of the last change that was answered well */
    unsigned tried, refused;
};
static atomic_bool stop;

static void *write_on(void *arg) {
    struct writer *w = arg;
    while (!atomic_load(&stop)) {
        unsigned next = ++w->tried;
        enum err_code rc = testing_fails(testing_profile(EDIT_REPLACE, w->name, next));
        if (rc == ERR_OK) {
            w->acked = next;
        } else {
            assert_int_equal(rc, ERR_UNAVAILABLE);
            w->refused++;
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
        assert_int_equal(testing_apportion(w->name), w->acked);
    }
    return NULL;
}

static void test_faults_under_load(void **state) {
    struct writer w[WRITERS] = {0};
    pthread_t threads[WRITERS];
    atomic_store(&stop, false);
    for (size_t i = 0; i < WRITERS; i++) {
        snprintf(w[i].name, sizeof w[i].name, "w%zu", i);
        assert_int_equal(pthread_create(&threads[i], NULL, write_on, &w[i]), 0);
    }
    for (int i = 0; i < FAULTS; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        uint64_t outages = stats().store_outages;
        disk(i % 2 ? &full : &sync_fails_once);
        while (stats().store_outages == outages) {
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
        disk(NULL);
        while (!stats().writable) {
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        assert_true(w[i].acked > 0 && w[i].refused > 0);
    }
    testing_close();
    testing_open();
    for (size_t i = 0; i < WRITERS; i++) {
        assert_int_equal(testing_apportion(w[i].name), w[i].acked);
    }
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_a_failed_sync_is_got_over),
        T(test_back_off),
        T(test_what_was_refused_does_not_come_alive),
        T(test_stopped_in_doubt),
        T(test_a_full_disk_heals_by_itself),
        T(test_looks_are_answered),
        T(test_each_by_itself),
        T(test_a_backup_meanwhile),
        T(test_a_take_back_waits_for_the_store),
        cmocka_unit_test_setup_teardown(test_faults_under_load, setup_threaded, teardown),
    };
    int rc = cmocka_run_group_tests_name("core and its store", tests, NULL, NULL);
    testing_last();
    return rc;
}
