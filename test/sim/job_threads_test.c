// SPDX-License-Identifier: Apache-2.0
/* Jobs on real threads and the real clock: many at once, with children, cancelled here and there,
 * while the controller stops and starts; and the backup as a job. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/mem.h"
#include "core/job.h"
#include "core/system.h"
#include "core/txn.h"
#include "model/kinds.h"

enum { JOBS = 150, WAIT_MS = 120000 };

static struct model *model;
static struct core *core;
static char folder[64];
static _Atomic int made, unmade, at_once, most_at_once;

static void nap(int ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * NS_PER_MS}, NULL);
}

static enum err_code work(struct job_effect *x, struct err *e) {
    int now = atomic_fetch_add(&at_once, 1) + 1;
    if (now > atomic_load(&most_at_once)) {
        atomic_store(&most_at_once, now);
    }
    for (int i = 0; i < 3 && !job_told_to_stop(x); i++) {
        job_progress(x, (unsigned)i * 30, "working");
        nap(1);
    }
    atomic_fetch_sub(&at_once, 1);
    atomic_fetch_add(&made, 1);
    job_set_result(x, "well");
    return ERR_OK;
}

static enum err_code unwork(struct job_effect *x, struct err *e) {
    atomic_fetch_add(&unmade, 1);
    return ERR_OK;
}

/* Does not hear that its time is over. */
static _Atomic int deaf_at_once, deaf_runs;

static enum err_code deaf(struct job_effect *x, struct err *e) {
    assert_int_equal(atomic_fetch_add(&deaf_at_once, 1), 0);
    if (atomic_fetch_add(&deaf_runs, 1) == 0) {
        nap(2500);
        assert_true(job_told_to_stop(x));
    }
    atomic_fetch_sub(&deaf_at_once, 1);
    return ERR_OK;
}

/* Gives up when it is told, which must not count when only the controller stops. */
static enum err_code polite(struct job_effect *x, struct err *e) {
    for (int i = 0; i < 10000 && strcmp(job_input(x), "wait") == 0 && atomic_load(&made) == 0;
         i++) {
        if (job_told_to_stop(x)) {
            return err_set(e, ERR_REFUSED, NULL, "told to stop");
        }
        nap(1);
    }
    return ERR_OK;
}

static enum err_code parent(struct job_effect *x, struct err *e);

static const struct job_step steps[] = {
    {.name = "parent", .run = parent, .undo = unwork, .deadline_s = 60, .attempts = 2},
    {.name = "after", .run = work, .undo = unwork, .deadline_s = 60, .attempts = 2}};
static const struct job_definition family = {
    .name = "family", .title = "With children", .steps = steps, .n_steps = 2};
static const struct job_definition child = {
    .name = "child", .title = "A child", .steps = steps + 1, .n_steps = 1};

static const struct job_step deaf_steps[] = {
    {.name = "deaf", .run = deaf, .undo = unwork, .deadline_s = 1, .attempts = 2}};
static const struct job_definition deaf_one = {
    .name = "deaf", .title = "Hears nothing", .steps = deaf_steps, .n_steps = 1};
static const struct job_step polite_steps[] = {
    {.name = "polite", .run = polite, .undo = unwork, .deadline_s = 60, .attempts = 1}};
static const struct job_definition polite_one = {
    .name = "polite", .title = "Obeys", .steps = polite_steps, .n_steps = 1};

static enum err_code parent(struct job_effect *x, struct err *e) {
    job_add_child(x, &child, NULL);
    job_add_child(x, &child, NULL);
    return work(x, e);
}

static void *create(struct core *c) {
    return c;
}
static void destroy(void *self) {
}
static enum err_code start(void *self, struct err *e) {
    job_register(self, &family, NULL);
    job_register(self, &child, NULL);
    job_register(self, &deaf_one, NULL);
    job_register(self, &polite_one, NULL);
    return ERR_OK;
}
static void config(void *self, const struct object *old, const struct object *new_) {
}
static const struct service maker = {
    .name = "maker", .create = create, .destroy = destroy, .start = start, .config = config};
static const struct service *const services[] = {&system_service, &job_service, &maker, NULL};

static void open_core(void) {
    char store[128];
    struct err e;
    snprintf(store, sizeof store, "sqlite:%s/log", folder);
    struct core_options o = {.store = store,
                             .clock = &clock_real,
                             .model = model,
                             .threaded = true,
                             .services = services};
    if (core_open(&o, &core, &e) != ERR_OK) {
        fail_msg("%s %s", e.path, e.text);
    }
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    return remove(path);
}

static int setup(void **state) {
    bool shm = access("/dev/shm", W_OK) == 0;
    snprintf(folder, sizeof folder, "%s/weft-jobs-XXXXXX", shm ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(folder));
    system_set_backup_folder(folder);
    open_core();
    return 0;
}

static int teardown(void **state) {
    core_close(core);
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* The value of a figure of the metrics page. */
static long figure(const char *name) {
    struct buf b = BUF_INIT;
    char line[64];
    core_metrics(core, &b);
    snprintf(line, sizeof line, "\nweft_jobs_%s ", name);
    const char *at = strstr(buf_cstr(&b), line);
    assert_non_null(at);
    long v = strtol(at + strlen(line), NULL, 10);
    buf_free(&b);
    return v;
}

static void wait_for_all(void) {
    for (int ms = 0; figure("live") > 0; ms += 10) {
        assert_true(ms < WAIT_MS);
        nap(10);
    }
}

static enum err_code order(struct txn *t, void *arg, struct err *e) {
    const struct job_order o = {.definition = &family};
    uint64_t id;
    return job_start(t, &o, &id, e);
}

static enum err_code cancel(struct txn *t, void *arg, struct err *e) {
    return job_cancel(t, (uint64_t)(uintptr_t)arg, e);
}

static void test_many_with_stops_between(void **state) {
    for (int i = 0; i < JOBS; i++) {
        core_run(core, &actor_system, order, NULL, NULL);
    }
    for (int stop = 0; stop < 4; stop++) {
        nap(60);
        for (uintptr_t id = (uintptr_t)stop + 1; id <= JOBS; id += 13) {
            core_run(core, &actor_system, cancel, NULL, (void *)id);
        }
        core_close(core);
        assert_int_equal(atomic_load(&at_once), 0); /* what ran was waited for */
        open_core();
    }
    wait_for_all();
    assert_true(atomic_load(&most_at_once) > 1);
    assert_true(atomic_load(&unmade) > 0);
    core_close(core);
    open_core();
    assert_int_equal(figure("live"), 0);
    assert_true(figure("kept") >= JOBS);
}

static enum err_code order_one(struct txn *t, void *arg, struct err *e) {
    const struct job_order o = {.definition = arg, .input = "wait"};
    uint64_t id;
    return job_start(t, &o, &id, e);
}

static void test_one_effect_at_a_time(void **state) {
    core_run(core, &actor_system, order_one, NULL, (void *)(uintptr_t)&deaf_one);
    nap(50);
    wait_for_all();
    assert_int_equal(atomic_load(&deaf_runs), 2);
    assert_int_equal(figure("done_total"), 1);
    assert_true(figure("refused_results_total") >= 1);
}

static void test_a_stop_is_no_failure(void **state) {
    atomic_store(&made, 0);
    core_run(core, &actor_system, order_one, NULL, (void *)(uintptr_t)&polite_one);
    nap(50);
    core_close(core);
    open_core();
    assert_int_equal(figure("live"), 1);
    atomic_store(&made, 1);
    wait_for_all();
    assert_int_equal(figure("done_total"), 1);
}

/* ---- the backup ---------------------------------------------------------------------------------
 */

static void call_over(struct call *cl, void *arg) {
    atomic_store((_Atomic bool *)arg, true);
}

static struct call *ask(const struct node *rpc, const char *name, const char *value,
                        const char *flag) {
    struct call *cl = call_new(&actor_system);
    const char *names[] = {name, flag}, *values[] = {value, ""};
    struct err e;
    _Atomic bool done = false;
    if (rpc_input_words(model, rpc, names, values, flag != NULL ? 2 : 1, cl->arena, &cl->in, &e) !=
        ERR_OK) {
        fail_msg("%s", e.text);
    }
    core_call(core, cl, call_over, &done);
    while (!atomic_load(&done)) {
        nap(1);
    }
    return cl;
}

static void shows(const char *id, const char *what) {
    struct call *cl = ask(job_show_job_rpc, "id", id, NULL);
    if (strstr(buf_cstr(&cl->text), what) == NULL) {
        fail_msg("%s", buf_cstr(&cl->text));
    }
    call_free(cl);
}

static unsigned files_like(const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static void test_backup_in_the_background(void **state) {
    struct call *cl = ask(system_backup_rpc, "file", "one.db", "background");
    assert_int_equal(cl->err.code, ERR_OK);
    assert_non_null(strstr(buf_cstr(&cl->text), "is job 1: show job id 1"));
    call_free(cl);
    wait_for_all();
    shows("1", "system-backup, done");
    shows("1", "Step 2 name: done: ");
    assert_true(files_like("one.db"));
    assert_false(files_like("one.db.job-1"));
    cl = ask(system_backup_rpc, "file", "one.db", "background");
    assert_int_equal(cl->err.code, ERR_EXISTS);
    call_free(cl);
    cl = ask(system_backup_rpc, "file", ".hidden", "background");
    assert_int_equal(cl->err.code, ERR_INVALID);
    call_free(cl);
    assert_int_equal(figure("kept"), 1);
}

/* A folder that is not there: refused by the system, tried again, given up when it is cancelled. */
static void test_backup_that_cannot_be_made(void **state) {
    char path[128];
    snprintf(path, sizeof path, "%s/nowhere/two.db", folder);
    struct call *cl = ask(system_backup_rpc, "file", path, "background");
    assert_int_equal(cl->err.code, ERR_OK);
    call_free(cl);
    for (int i = 0; i < 1000 && figure("refused_results_total") == 0; i++) {
        cl = ask(job_show_job_rpc, "state", "backing-off", NULL);
        bool there = strstr(buf_cstr(&cl->text), "copy, attempt 1: ") != NULL;
        call_free(cl);
        if (there) {
            break;
        }
        nap(5);
    }
    cl = ask(job_job_cancel_rpc, "id", "1", NULL);
    assert_int_equal(cl->err.code, ERR_OK);
    call_free(cl);
    wait_for_all();
    shows("1", "system-backup, cancelled");
}

static void swallow(enum logger_level level, const char *module, const char *line, void *arg) {
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    struct err e;
    logger_set_sink(swallow, NULL);
    if (model_load(&model, &e) != ERR_OK) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        T(test_many_with_stops_between),    T(test_one_effect_at_a_time),
        T(test_a_stop_is_no_failure),       T(test_backup_in_the_background),
        T(test_backup_that_cannot_be_made),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    model_free(model);
    return rc;
}
