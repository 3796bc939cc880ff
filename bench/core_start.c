// SPDX-License-Identifier: Apache-2.0
/*
 * From nothing to serving with a full store: 1,000,000 state records of a trivial service (a hash
 * map; what a real one builds comes on top). Objects are measured by core_commit.
 *   core_start FOLDER [RECORDS]
 * The floor is reading and hashing as many bytes from the page cache.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/map.h"
#include "base/mem.h"
#include "core/core.h"
#include "core/service.h"
#include "core/txn.h"

enum { IN_ONE_WORK = 2000, VALUE_LEN = 64 };

static struct map *marks;

static void *create(struct core *c) {
    return marks = MEM_NEW(struct map);
}
static void destroy(void *self) {
    map_free(self, mem_free);
    mem_free(self);
}
static void config(void *self, const struct object *old, const struct object *new_) {
}
static bool encode(void *self, const char *key, size_t n, struct buf *out) {
    void *v = map_get_n(self, key, n);
    buf_add(out, v, v ? VALUE_LEN : 0);
    return v != NULL;
}
static enum err_code fold(void *self, const char *key, size_t n, const void *v, size_t len,
                          struct err *e) {
    mem_free(v ? map_put_n(self, key, n, mem_dup(v, len)) : map_del_n(self, key, n));
    return ERR_OK;
}

static const struct service marks_service = {.name = "marks",
                                             .state_prefix = "marks/",
                                             .create = create,
                                             .destroy = destroy,
                                             .config = config,
                                             .state_encode = encode,
                                             .state_fold = fold};

static double seconds(clockid_t id) {
    struct timespec ts;
    clock_gettime(id, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static enum err_code put_some(struct txn *t, void *arg, struct err *e) {
    size_t from = (size_t)(uintptr_t)arg;
    char key[32], value[VALUE_LEN];
    for (size_t i = from; i < from + IN_ONE_WORK; i++) {
        int n = snprintf(key, sizeof key, "marks/%010zu", i * 2654435761 % 4294967296);
        memset(value, (int)i, sizeof value);
        txn_put_state(t, key, (size_t)n, value, sizeof value);
    }
    return ERR_OK;
}

static void failed(void *arg, uint64_t index, const struct err *e) {
    if (e != NULL) {
        fprintf(stderr, "%s\n", e->text);
        exit(1);
    }
}

static struct core *open_core(const struct core_options *o) {
    struct core *c;
    struct err e;
    if (core_open(o, &c, &e) != ERR_OK) {
        fprintf(stderr, "%s\n", e.text);
        exit(1);
    }
    return c;
}

static void remove_store(const char *store) {
    char path[700];
    static const char *const suffix[] = {"",        "-wal",        "-shm",       "-lock",
                                         "-tables", "-tables-wal", "-tables-shm"};
    for (size_t i = 0; i < sizeof suffix / sizeof suffix[0]; i++) {
        snprintf(path, sizeof path, "%s%s", strchr(store, ':') + 1, suffix[i]);
        unlink(path);
    }
}

int main(int argc, char **argv) {
    size_t records = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000000;
    char store[600], path[600];
    struct model *model;
    struct err e;
    static const struct service *const services[] = {&marks_service, NULL};
    snprintf(store, sizeof store, "sqlite:%s/bench-start.db", argc > 1 ? argv[1] : ".");
    logger_set_level(NULL, "warn");
    if (model_load(&model, &e) != ERR_OK) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    struct core_options o = {
        .store = store, .clock = &clock_real, .model = model, .services = services};
    remove_store(store); /* what an interrupted run left */
    struct core *c = open_core(&o);
    double start = seconds(CLOCK_MONOTONIC);
    for (size_t i = 0; i < records; i += IN_ONE_WORK) {
        core_run(c, &actor_system, put_some, failed, (void *)(uintptr_t)i);
        core_step(c);
    }
    printf("%zu state records written in works of %d: %.2f s\n", records, IN_ONE_WORK,
           seconds(CLOCK_MONOTONIC) - start);
    core_close(c);
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    start = seconds(CLOCK_MONOTONIC);
    c = open_core(&o);
    printf("start with %zu state records: %.2f s, %.2f s of processor time\n", marks->count,
           seconds(CLOCK_MONOTONIC) - start, seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    if (marks->count != records) {
        fprintf(stderr, "%zu records came back, not %zu\n", marks->count, records);
        return 1;
    }
    core_close(c);
    FILE *f = NULL;
    char *block = mem_alloc(1 << 20);
    snprintf(path, sizeof path, "%s-tables", strchr(store, ':') + 1);
    start = seconds(CLOCK_MONOTONIC);
    uint64_t sum = 0, bytes = 0;
    if ((f = fopen(path, "rb")) != NULL) {
        for (size_t n; (n = fread(block, 1, 1 << 20, f)) > 0; bytes += n) {
            sum += map_hash(block, n);
        }
        fclose(f);
    }
    printf("floor: reading and hashing the %llu MiB of it: %.2f s (%llx)\n",
           (unsigned long long)bytes >> 20, seconds(CLOCK_MONOTONIC) - start,
           (unsigned long long)sum & 0xff);
    mem_free(block);
    model_free(model);
    remove_store(store);
    return 0;
}
