// SPDX-License-Identifier: Apache-2.0
/*
 * Durable configuration commits through core: decode, references, services, one sync per batch.
 *   core_commit FOLDER [SECONDS]
 * Prints commits/s with 1 and with 1,000 outstanding changes, the latency of a single edit with
 * 1 k, 10 k and 100 k objects loaded, memory an object, the time to start with all of them, and
 * this machine's floor (write + fdatasync) in the same run. Changes are decoded in threads of their
 * own, as dialects do. Processor time is told beside the rates: it is the figure that a busy
 * machine does not spoil.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/mem.h"
#include "core/core.h"
#include "core/system.h"
#include "core/workers.h"

#define PROFILES "/weft-apm:apm/pool-domain-profile"

enum { PREPARERS = 2, CLIENTS_MAX = 1000 };

static struct core *core;
static struct workers *preparers;

static double now_s(void) {
    return (double)clock_mono(&clock_real) / 1e9;
}

static double cpu_s(clockid_t id) {
    struct timespec ts;
    clock_gettime(id, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static size_t resident(void) {
    size_t size = 0, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%zu %zu", &size, &pages) != 2) {
        pages = 0;
    }
    if (f != NULL) {
        fclose(f);
    }
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static double sync_floor(const char *folder) {
    char path[512], block[256] = {0};
    snprintf(path, sizeof path, "%s/floor", folder);
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    int n = 0;
    double start = now_s();
    while (now_s() - start < 1) {
        if (write(fd, block, sizeof block) != sizeof block || fdatasync(fd) != 0) {
            perror(path);
            exit(1);
        }
        n++;
    }
    close(fd);
    unlink(path);
    return n / (now_s() - start);
}

static struct change *edit(int object, unsigned value) {
    struct change *ch = change_new(&actor_system);
    char path[128], body[256];
    snprintf(path, sizeof path, PROFILES "=p%d", object);
    snprintf(body, sizeof body,
             "{\"weft-apm:pool-domain-profile\":[{\"name\":\"p%d\",\"apportion-threshold\":%u,"
             "\"reclaim-threshold\":16000000}]}",
             object, 1 + value % 1000000);
    change_add(ch, EDIT_REPLACE, path, body, strlen(body), FORMAT_JSON);
    return ch;
}

struct client {
    int object;
    atomic_uint done;
    double until;
    pthread_mutex_t *lock;
    pthread_cond_t *over;
    atomic_int *running;
};

static void next(struct change *ch, void *arg);

static void prepare(void *arg) {
    struct client *c = arg;
    core_change(core, edit(c->object, atomic_load(&c->done) + 2), next, c);
}

static void next(struct change *ch, void *arg) {
    struct client *c = arg;
    if (ch->err.code != ERR_OK) {
        fprintf(stderr, "%s: %s\n", ch->err.path, ch->err.text);
        exit(1);
    }
    change_free(ch);
    atomic_fetch_add(&c->done, 1);
    if (now_s() >= c->until) {
        if (atomic_fetch_sub(c->running, 1) == 1) {
            pthread_mutex_lock(c->lock);
            pthread_cond_signal(c->over);
            pthread_mutex_unlock(c->lock);
        }
        return;
    }
    if (!workers_run(preparers, prepare, c)) {
        abort(); /* its queue holds all clients */
    }
}

struct sample {
    double s;
    atomic_bool done;
};

static enum err_code nothing(struct txn *t, void *arg, struct err *e) {
    return ERR_OK;
}

static void take_sample(void *arg, uint64_t index, const struct err *e) {
    struct sample *m = arg;
    m->s = cpu_s(CLOCK_THREAD_CPUTIME_ID);
    atomic_store(&m->done, true);
}

/* Processor time that the writer's thread has taken. */
static double writer_cpu_s(void) {
    struct sample m = {.done = false};
    core_run(core, &actor_system, nothing, take_sample, &m);
    while (!atomic_load(&m.done)) {
        usleep(100);
    }
    return m.s;
}

static void commits(int clients, double seconds) {
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t over = PTHREAD_COND_INITIALIZER;
    atomic_int running = clients;
    struct client *c = mem_alloc((size_t)clients * sizeof *c);
    double start = now_s(), cpu = cpu_s(CLOCK_PROCESS_CPUTIME_ID);
    double writer = writer_cpu_s();
    for (int i = 0; i < clients; i++) {
        c[i] = (struct client){i, 0, start + seconds, &lock, &over, &running};
        core_change(core, edit(i, 1), next, &c[i]);
    }
    pthread_mutex_lock(&lock);
    while (atomic_load(&running) > 0) {
        pthread_cond_wait(&over, &lock);
    }
    pthread_mutex_unlock(&lock);
    double took = now_s() - start;
    unsigned total = 0;
    for (int i = 0; i < clients; i++) {
        total += c[i].done;
    }
    mem_free(c);
    printf("core, durable commits, %4d client%s: %6.0f/s; processor time a commit: writer %.1f us, "
           "all threads %.1f us\n",
           clients, clients == 1 ? " " : "s", total / took, (writer_cpu_s() - writer) * 1e6 / total,
           (cpu_s(CLOCK_PROCESS_CPUTIME_ID) - cpu) * 1e6 / total);
}

struct one {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
};

static void finished(struct change *ch, void *arg) {
    struct one *o = arg;
    if (ch->err.code != ERR_OK) {
        fprintf(stderr, "%s: %s\n", ch->err.path, ch->err.text);
        exit(1);
    }
    pthread_mutex_lock(&o->lock);
    o->done = true;
    pthread_cond_signal(&o->cond);
    pthread_mutex_unlock(&o->lock);
}

static void wait_for(struct change *ch) {
    struct one o = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    core_change(core, ch, finished, &o);
    pthread_mutex_lock(&o.lock);
    while (!o.done) {
        pthread_cond_wait(&o.cond, &o.lock);
    }
    pthread_mutex_unlock(&o.lock);
    change_free(ch);
}

static void load(int from, int to) {
    while (from < to) {
        struct change *ch = change_new(&actor_system);
        for (int i = 0; i < 1000 && from < to; i++, from++) {
            struct change *e = edit(from, 1);
            change_add(ch, EDIT_REPLACE, e->edits[0].edit.target, e->edits[0].edit.body,
                       e->edits[0].edit.len, FORMAT_JSON);
            change_free(e);
        }
        wait_for(ch);
    }
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void latency(int objects) {
    enum { N = 200 };
    double ms[N], cpu = cpu_s(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < N; i++) {
        double start = now_s();
        wait_for(edit(i * 7 % objects, (unsigned)(i + 5 + objects)));
        ms[i] = (now_s() - start) * 1e3;
    }
    qsort(ms, N, sizeof ms[0], by_value);
    cpu = cpu_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("single edit with %6d objects: %.3f ms of processor time; median %.2f ms, p99 %.2f ms "
           "with the sync\n",
           objects, cpu * 1e3 / N, ms[N / 2], ms[N * 99 / 100]);
}

int main(int argc, char **argv) {
    const char *folder = argc > 1 ? argv[1] : ".";
    double seconds = argc > 2 ? atof(argv[2]) : 3;
    char store[600], path[600];
    struct model *model;
    struct err e;
    static const struct service *const services[] = {&system_service, NULL};
    logger_set_level(NULL, "warn");
    snprintf(store, sizeof store, "sqlite:%s/bench-core.db", folder);
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
    preparers = workers_new("prepare", PREPARERS, CLIENTS_MAX);
    printf("floor: write + fdatasync %.0f/s\n", sync_floor(folder));
    commits(1, seconds);
    commits(CLIENTS_MAX, seconds);
    int sizes[] = {1000, 10000, 100000}, have = 0;
    size_t before = resident();
    for (size_t i = 0; i < 3; i++) {
        load(have, sizes[i]);
        have = sizes[i];
        latency(have);
    }
    printf("%d objects: %zu bytes an object resident, with their place in the history\n", have,
           (resident() - before) / (size_t)have);
    commits(CLIENTS_MAX, seconds);
    core_close(core);
    double start = now_s();
    if (core_open(&o, &core, &e) != ERR_OK) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    printf("start with %d objects: %.2f s\n", have, now_s() - start);
    core_close(core);
    workers_free(preparers);
    model_free(model);
    static const char *const suffix[] = {"",        "-wal",        "-shm",       "-lock",
                                         "-tables", "-tables-wal", "-tables-shm"};
    for (size_t i = 0; i < sizeof suffix / sizeof suffix[0]; i++) {
        snprintf(path, sizeof path, "%s/bench-core.db%s", folder, suffix[i]);
        unlink(path);
    }
    return 0;
}
