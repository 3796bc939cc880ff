// SPDX-License-Identifier: Apache-2.0
/* Core with its thread, and many threads that want something of it at once. */
#include "core/testing.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "core/rights.h"

enum { THREADS = 16, CLIENTS = 1000, OBJECTS = 100, ROUNDS = 2 };

static int setup(void **state) {
    testing.threaded = true;
    return testing_setup(state);
}

/* ---- no lost update -------------------------------------------------------------------------- */

struct counters {
    atomic_uint done, conflicts;
    pthread_mutex_t lock;
    pthread_cond_t all;
    unsigned wanted;
};

struct client { /* increments one object ROUNDS times, each time on condition of what it read */
    struct counters *counters;
    char name[16];
    unsigned left;
};

static void incremented(struct change *ch, void *arg);

static void increment(struct client *cl) {
    struct snap *s = core_snapshot(testing.core);
    char path[64];
    snprintf(path, sizeof path, PROFILES "=%s", cl->name);
    uint64_t generation = snap_get(s, path)->modified;
    unsigned value = testing_apportion_in(s, cl->name);
    snap_release(s);
    struct change *ch = testing_profile(EDIT_REPLACE, cl->name, value + 1);
    ch->edits[0].check_generation = true;
    ch->edits[0].generation = generation;
    core_change(testing.core, ch, incremented, cl);
}

static void incremented(struct change *ch, void *arg) {
    struct client *cl = arg;
    struct counters *c = cl->counters;
    enum err_code rc = ch->err.code;
    change_free(ch);
    if (rc == ERR_CONFLICT) {
        atomic_fetch_add(&c->conflicts, 1);
    } else {
        assert_int_equal(rc, ERR_OK);
        cl->left--;
    }
    if (cl->left > 0) {
        increment(cl);
    } else if (atomic_fetch_add(&c->done, 1) + 1 == c->wanted) {
        pthread_mutex_lock(&c->lock);
        pthread_cond_signal(&c->all);
        pthread_mutex_unlock(&c->lock);
    }
}

struct starter {
    struct client *clients;
    size_t n;
};

static void *start_clients(void *arg) {
    struct starter *st = arg;
    for (size_t i = 0; i < st->n; i++) {
        increment(&st->clients[i]);
    }
    return NULL;
}

static void test_a_thousand_conditional_writers(void **state) {
    struct counters c = {
        .lock = PTHREAD_MUTEX_INITIALIZER, .all = PTHREAD_COND_INITIALIZER, .wanted = CLIENTS};
    struct client *clients = mem_alloc(CLIENTS * sizeof *clients);
    for (int i = 0; i < OBJECTS; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        testing_must(testing_profile(EDIT_CREATE, name, 1));
    }
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.counters = &c, .left = ROUNDS};
        snprintf(clients[i].name, sizeof clients[i].name, "n%d", i % OBJECTS);
    }
    pthread_t threads[THREADS];
    struct starter st[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        size_t from = i * CLIENTS / THREADS, to = (i + 1) * CLIENTS / THREADS;
        st[i] = (struct starter){clients + from, to - from};
        assert_int_equal(pthread_create(&threads[i], NULL, start_clients, &st[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_mutex_lock(&c.lock);
    while (atomic_load(&c.done) < CLIENTS) {
        pthread_cond_wait(&c.all, &c.lock);
    }
    pthread_mutex_unlock(&c.lock);
    for (int i = 0; i < OBJECTS; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        assert_int_equal(testing_apportion(name), 1 + CLIENTS / OBJECTS * ROUNDS);
    }
    assert_true(atomic_load(&c.conflicts) > 0); /* or nothing was tried */
    mem_free(clients);
}

/* ---- everything at once ---------------------------------------------------------------------- */

static atomic_bool stop;

static void *writes(void *arg) {
    unsigned n = 0;
    while (!atomic_load(&stop)) {
        char name[16];
        snprintf(name, sizeof name, "w%d-%u", *(int *)arg, n % 20);
        testing_must(testing_profile(n % 7 == 6 ? EDIT_REMOVE : EDIT_REPLACE, name, 1 + n));
        n++;
    }
    return NULL;
}

static void count_event(const struct event *ev, void *arg) {
    atomic_fetch_add((atomic_uint *)arg, 1);
}

static void look_over(struct look *l, void *arg) {
    atomic_store((atomic_bool *)arg, true);
}

static void await(atomic_bool *done) {
    while (!atomic_load(done)) {
        nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    }
}

static void *reads(void *arg) {
    while (!atomic_load(&stop)) {
        atomic_uint events = 0;
        uint64_t h = core_subscribe(testing.core, CORE_EVENTS_ALL, count_event, &events);
        struct snap *s = core_snapshot(testing.core);
        size_t n = 0;
        for (const struct object *o = snap_next(s, NULL); o != NULL; o = snap_next(s, o)) {
            n++;
        }
        assert_int_equal(n, snap_count(s));
        snap_release(s);
        struct commit_info ci[50];
        size_t kept = core_history(testing.core, ci, 50);
        struct err e;
        if (kept > 3 && core_snapshot_at(testing.core, ci[3].index, &s, &e) == ERR_OK) {
            snap_release(s);
        }
        struct core_stats st;
        core_stats(testing.core, &st);
        struct buf metrics = BUF_INIT;
        core_metrics(testing.core, &metrics);
        assert_true(metrics.len > 0);
        buf_free(&metrics);
        struct look *l = look_new(&actor_system, "/weft-system:system/state");
        atomic_bool done = false;
        core_look(testing.core, l, look_over, &done);
        await(&done);
        assert_int_equal(l->err.code, ERR_OK);
        look_free(l);
        int64_t deadline;
        core_confirm_pending(testing.core, &deadline);
        core_unsubscribe(testing.core, h);
    }
    return NULL;
}

static void call_over(struct call *cl, void *arg) {
    atomic_store((atomic_bool *)arg, true);
}

static void *backs_up(void *arg) {
    for (int i = 0; !atomic_load(&stop); i++) {
        struct call *cl = call_new(&actor_system);
        struct err e;
        char body[200];
        snprintf(body, sizeof body, "{\"weft-system:input\":{\"file\":\"%s/backup%d-%d\"}}",
                 testing.folder, *(int *)arg, i);
        assert_int_equal(rpc_input_parse(testing.model, system_backup_rpc, body, strlen(body),
                                         FORMAT_JSON, cl->arena, &cl->in, &e),
                         ERR_OK);
        atomic_bool done = false;
        core_call(testing.core, cl, call_over, &done);
        await(&done);
        assert_int_equal(cl->err.code, ERR_OK);
        call_free(cl);
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    return NULL;
}

static void test_everything_at_once(void **state) {
    static void *(*const what[])(void *) = {writes, writes, reads, reads, backs_up};
    enum { N = sizeof what / sizeof what[0] };
    pthread_t threads[N];
    int numbers[N];
    atomic_store(&stop, false);
    for (size_t i = 0; i < N; i++) {
        numbers[i] = (int)i;
        assert_int_equal(pthread_create(&threads[i], NULL, what[i], &numbers[i]), 0);
    }
    nanosleep(&(struct timespec){.tv_sec = 2}, NULL);
    atomic_store(&stop, true);
    for (size_t i = 0; i < N; i++) {
        pthread_join(threads[i], NULL);
    }
}

/* ---- closing --------------------------------------------------------------------------------- */

static void count_done(struct change *ch, void *arg) {
    atomic_fetch_add((atomic_uint *)arg, 1);
    change_free(ch);
}

static void waited(void *arg, enum commit_phase phase, const char *text) {
    atomic_fetch_add((atomic_uint *)arg, 1);
}

/* Whatever was queued is answered, once, before core_close returns. */
static void test_close_answers_everybody(void **state) {
    atomic_uint answers = 0;
    enum { N = 500 };
    testing.touches = true;
    for (unsigned i = 0; i < N; i++) {
        core_change(testing.core, testing_profile(EDIT_REPLACE, "a", 1 + i), count_done, &answers);
        core_commit_wait(testing.core, core_head(testing.core), 60 * NS_PER_S, waited, &answers);
    }
    testing_close();
    assert_int_equal(atomic_load(&answers), 2 * N);
    assert_true(testing.stopped);
    testing_open();
    assert_int_equal(testing_apportion("a"), N);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, testing_teardown)
    const struct CMUnitTest tests[] = {
        T(test_a_thousand_conditional_writers),
        T(test_everything_at_once),
        T(test_close_answers_everybody),
    };
    int rc = cmocka_run_group_tests_name("core in parallel", tests, NULL, NULL);
    testing_last();
    return rc;
}
