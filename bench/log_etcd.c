// SPDX-License-Identifier: Apache-2.0
/*
 * What the log costs over etcd, at the layer of log.h, beside plain puts to the same etcd in the
 * same run: one member, started here, its own fsync on.
 *
 *     log_etcd [--seconds S]
 *
 * 1 client: an append of one entry after the other, and a put of the same size after the other,
 * over the same client. 1,000 clients: what waits while an append is under way goes with the next
 * one, which is what the daemon's writer does; the rival for that is etcd's own "check perf", which
 * bench_log_commit --etcd runs.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/logger.h"
#include "etcd/engine.h"
#include "etcd/engine_int.h"
#include "etcd/testing.h"
#include "log/testing.h"

enum { VALUE = 200, CLIENTS = 1000, SAMPLES_MAX = 1 << 20 };

static struct log *node;
static uint64_t fence;
static uint8_t value[VALUE];
static int64_t samples[SAMPLES_MAX];

static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void append(size_t n) {
    static struct log_entry entries[CLIENTS];
    static struct log_op ops[CLIENTS];
    static char keys[CLIENTS][16];
    for (size_t i = 0; i < n; i++) {
        int len = snprintf(keys[i], sizeof keys[i], "k%zu", i);
        ops[i] =
            (struct log_op){LOG_STATE, (const uint8_t *)keys[i], (size_t)len, value, sizeof value};
        entries[i] = (struct log_entry){.ops = &ops[i], .n_ops = 1};
    }
    OK(log_append(node, log_head(node), fence, entries, n, &e_));
}

static void put(size_t n) {
    struct etcd_log *s = CONTAINER_OF(node, struct etcd_log, log);
    char key[KEY_MAX];
    key_of(s, key, "bench");
    OK(key_put(s, key, value, sizeof value, 0, &e_));
}

/* Calls fn(n) for so long; prints how many of n a second, and how long one call took. */
static void measure(const char *what, void (*fn)(size_t), size_t n, double seconds) {
    size_t calls = 0;
    int64_t start = et_now(), now = start;
    while ((double)(now - start) < seconds * 1e9 && calls < SAMPLES_MAX) {
        fn(n);
        int64_t end = et_now();
        samples[calls++] = end - now;
        now = end;
    }
    qsort(samples, calls, sizeof *samples, by_value);
    printf("%-44s %9.0f /s   p50 %7.3f ms   p99 %7.3f ms\n", what,
           (double)(calls * n) / ((double)(now - start) / 1e9), (double)samples[calls / 2] / 1e6,
           (double)samples[calls * 99 / 100] / 1e6);
}

int main(int argc, char **argv) {
    double seconds = argc == 3 && strcmp(argv[1], "--seconds") == 0 ? atof(argv[2]) : 3;
    struct testing_etcd etcd = {.pid = 0};
    struct log_options o = {.node = "bench"};
    struct log_lease lease = {.holder = "bench", .ttl_ns = 5 * NS_PER_S};
    char dir[64], url[200];
    log_engine_add(&log_etcd);
    testing_quiet();
    testing_dir(dir);
    testing_etcd_start(&etcd, dir);
    snprintf(url, sizeof url, "etcd:http://127.0.0.1:%u/bench?replica=%s/log.db", etcd.port, dir);
    OK(log_open(url, &o, &node, &e_));
    OK(log_lease_acquire(node, &lease, &e_));
    fence = lease.fence;
    measure("etcd: put, 1 client", put, 1, seconds);
    measure("log over etcd: append, 1 client", append, 1, seconds);
    measure("log over etcd: 1,000 clients in one batch", append, CLIENTS, seconds);
    log_close(node);
    testing_etcd_stop(&etcd);
    testing_remove(dir);
    return 0;
}
