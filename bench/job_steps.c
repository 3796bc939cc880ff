// SPDX-License-Identifier: Apache-2.0
/*
 * Steps of jobs a second: each recorded durably before its effect and after it, the effect being
 * nothing.
 *   job_steps FOLDER [JOBS]
 * Prints the rate with 1 job and with JOBS (2,000) at once, this machine's floor (write +
 * fdatasync), and the rival of the same run: a table of jobs in a SQLite of its own, one
 * transaction for each change of a state, as job engines on a database have it.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/mem.h"
#include "core/core.h"
#include "core/job.h"
#include "core/service.h"
#include "core/system.h"
#include "core/txn.h"

enum { STEPS = 10, JOBS_DEFAULT = 2000, RIVAL_STEPS = 500 };

static struct core *core;
static _Atomic uint64_t ran;

static double now_s(void) {
    return (double)clock_mono(&clock_real) / 1e9;
}

static enum err_code effect(struct job_effect *x, struct err *e) {
    (void)x;
    (void)e;
    atomic_fetch_add(&ran, 1);
    return ERR_OK;
}

#define STEP(n)                                                                                    \
    { .name = "step-" #n, .run = effect, .deadline_s = 60, .attempts = 1 }
static const struct job_step steps[STEPS] = {STEP(1), STEP(2), STEP(3), STEP(4), STEP(5),
                                             STEP(6), STEP(7), STEP(8), STEP(9), STEP(10)};
static const struct job_definition ten = {"bench", "Ten steps", steps, STEPS};

static void *create(struct core *c) {
    return c;
}
static void destroy(void *self) {
    (void)self;
}
static enum err_code start(void *self, struct err *e) {
    (void)e;
    job_register(self, &ten, NULL);
    return ERR_OK;
}
static void config(void *self, const struct object *old, const struct object *new_) {
    (void)self;
    (void)old;
    (void)new_;
}
static const struct service maker = {
    .name = "bench", .create = create, .destroy = destroy, .start = start, .config = config};
static const struct service *const services[] = {&system_service, &job_service, &maker, NULL};

static enum err_code order(struct txn *t, void *arg, struct err *e) {
    (void)arg;
    uint64_t id;
    return job_start(t, &(struct job_order){.definition = &ten}, &id, e);
}

static void must(void *arg, uint64_t index, const struct err *e) {
    (void)arg;
    (void)index;
    if (e != NULL) {
        fprintf(stderr, "%s\n", e->text);
        exit(1);
    }
}

static void run(uint64_t jobs, uint64_t times) {
    struct core_stats before, after;
    core_stats(core, &before);
    double at = now_s();
    for (uint64_t k = 0; k < times; k++) {
        uint64_t until = atomic_load(&ran) + jobs * STEPS;
        for (uint64_t i = 0; i < jobs; i++) {
            core_run(core, &actor_system, order, must, NULL);
        }
        while (atomic_load(&ran) < until) {
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
        }
    }
    double took = now_s() - at;
    core_stats(core, &after);
    printf("%4" PRIu64 " %s at once: %7.0f steps/s; %.1f records under one sync\n", jobs,
           jobs == 1 ? "job " : "jobs", (double)(jobs * times * STEPS) / took,
           (double)(after.state_ops - before.state_ops) / (double)(after.batches - before.batches));
}

static double sync_floor(const char *folder) {
    char path[512], block[256] = {0};
    snprintf(path, sizeof path, "%s/floor", folder);
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600), n = 0;
    double at = now_s();
    for (; now_s() - at < 1; n++) {
        if (write(fd, block, sizeof block) != sizeof block || fdatasync(fd) != 0) {
            perror(path);
            exit(1);
        }
    }
    close(fd);
    unlink(path);
    return n / (now_s() - at);
}

static void sql(sqlite3 *db, const char *text) {
    char *why = NULL;
    if (sqlite3_exec(db, text, NULL, NULL, &why) != SQLITE_OK) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
}

static void rival(const char *folder) {
    char path[512], name[600];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/rival.db", folder);
    if (sqlite3_open(path, &db) != SQLITE_OK) {
        fprintf(stderr, "%s\n", sqlite3_errmsg(db));
        exit(1);
    }
    sql(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
            "CREATE TABLE job(id INTEGER PRIMARY KEY, state TEXT, step INTEGER, record BLOB);"
            "INSERT INTO job VALUES(1, 'waiting', 0, zeroblob(200))");
    double at = now_s();
    for (int i = 0; i < RIVAL_STEPS; i++) {
        sql(db, "UPDATE job SET state='running', step=step+1, record=zeroblob(200) WHERE id=1");
    }
    printf("rival, a table of jobs in SQLite: %.0f steps/s\n", RIVAL_STEPS / (now_s() - at));
    sqlite3_close(db);
    static const char *const suffix[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof suffix / sizeof suffix[0]; i++) {
        snprintf(name, sizeof name, "%s%s", path, suffix[i]);
        unlink(name);
    }
}

static void remove_store(const char *folder) {
    static const char *const suffix[] = {"",        "-wal",        "-shm",       "-lock",
                                         "-tables", "-tables-wal", "-tables-shm"};
    for (size_t i = 0; i < sizeof suffix / sizeof suffix[0]; i++) {
        char path[600];
        snprintf(path, sizeof path, "%s/bench-job.db%s", folder, suffix[i]);
        unlink(path);
    }
}

int main(int argc, char **argv) {
    const char *folder = argc > 1 ? argv[1] : ".";
    uint64_t jobs = argc > 2 ? strtoull(argv[2], NULL, 10) : JOBS_DEFAULT;
    char store[600];
    struct model *model;
    struct err e;
    if (jobs < 1 || jobs > JOB_LIVE_MAX) {
        fprintf(stderr, "JOBS: 1 to %d\n", JOB_LIVE_MAX);
        return 2;
    }
    logger_set_level(NULL, "warn");
    snprintf(store, sizeof store, "sqlite:%s/bench-job.db", folder);
    if (model_load(&model, &e) != ERR_OK) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    struct core_options o = {.store = store,
                             .clock = &clock_real,
                             .model = model,
                             .threaded = true,
                             .services = services};
    if (core_open(&o, &core, &e) != ERR_OK) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    printf("floor: write + fdatasync %.0f/s; the end of a step and the next one's beginning are "
           "one record\n",
           sync_floor(folder));
    run(1, 30);
    run(jobs, 1);
    rival(folder);
    core_close(core);
    model_free(model);
    remove_store(folder);
    return 0;
}
