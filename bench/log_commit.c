// SPDX-License-Identifier: Apache-2.0
/*
 * What the log costs, at the layer of log.h, beside what this machine can do and what others do.
 *
 *     log_commit [--dir DIR] [--seconds S] [--rows N] [--etcd]
 *
 * Floor: one write and fdatasync, on a file that grows and on one that has its blocks. Rivals:
 * SQLite with one row a commit (WAL, synchronous=FULL); with --etcd, `etcdctl check perf` against
 * an etcd started here (one member, its own fsync on, 60 s; it reports puts/s of 1,000 clients).
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "log/log.h"

enum { VALUE = 200, CLIENTS = 1000, SAMPLES_MAX = 4 << 20 };

static struct {
    char dir[256];
    double seconds;
    uint64_t rows;
    bool etcd;
    double floor_grow, floor_ready;
} cfg = {.dir = "/tmp", .seconds = 3, .rows = 1000000};

static double now_s(void) {
    return (double)clock_mono(&clock_real) / 1e9;
}

static void check(enum err_code rc, const struct err *e) {
    if (rc != ERR_OK) {
        fprintf(stderr, "%s: %s\n", e->path, e->text);
        exit(1);
    }
}

static double *samples;
static size_t n_samples;

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double percentile(double p) {
    qsort(samples, n_samples, sizeof *samples, by_value);
    return n_samples ? samples[(size_t)((double)(n_samples - 1) * p)] * 1e3 : 0;
}

static void sample(double s) {
    if (n_samples < SAMPLES_MAX) {
        samples[n_samples++] = s;
    }
}

/* ---- floor and rivals ---- */

static double bench_floor(bool ready) {
    char path[300], block[4096] = {1};
    snprintf(path, sizeof path, "%s/floor", cfg.dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0) {
        perror(path);
        exit(1);
    }
    off_t at = 0, size = ready ? 8 << 20 : 0;
    for (off_t o = 0; o < size; o += (off_t)sizeof block) {
        if (pwrite(fd, block, sizeof block, o) < 0) {
            perror(path);
            exit(1);
        }
    }
    fsync(fd);
    uint64_t n = 0;
    double start = now_s(), t;
    while ((t = now_s() - start) < cfg.seconds) {
        if (pwrite(fd, block, sizeof block, at) < 0 || fdatasync(fd) != 0) {
            perror(path);
            exit(1);
        }
        at += (off_t)sizeof block;
        if (ready && at >= size) {
            at = 0;
        }
        n++;
    }
    close(fd);
    unlink(path);
    return (double)n / t;
}

static void remove_store(const char *path) {
    static const char *const suffixes[] = {"",        "-wal",        "-shm",       "-lock",
                                           "-tables", "-tables-wal", "-tables-shm"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char name[400];
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
}

static void bench_sqlite(void) {
    char path[300];
    snprintf(path, sizeof path, "%s/rival.db", cfg.dir);
    remove_store(path);
    sqlite3 *db;
    sqlite3_stmt *st;
    char value[VALUE + 40] = {0};
    if (sqlite3_open(path, &db) != SQLITE_OK ||
        sqlite3_exec(db,
                     "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                     "CREATE TABLE t(k TEXT PRIMARY KEY, v BLOB)",
                     NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO t VALUES(?1, ?2)", -1, &st, NULL) !=
            SQLITE_OK) {
        fprintf(stderr, "sqlite: %s\n", sqlite3_errmsg(db));
        exit(1);
    }
    uint64_t n = 0;
    double start = now_s(), t;
    while ((t = now_s() - start) < cfg.seconds) {
        char key[32];
        snprintf(key, sizeof key, "key %llu", (unsigned long long)(n * 7919 % 100000));
        sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
        sqlite3_bind_blob(st, 2, value, VALUE, SQLITE_STATIC);
        if (sqlite3_step(st) != SQLITE_DONE) {
            exit(1);
        }
        sqlite3_reset(st);
        n++;
    }
    sqlite3_finalize(st);
    sqlite3_close(db);
    remove_store(path);
    printf("rival   SQLite, one row a commit (WAL, FULL)        %9.0f /s\n", (double)n / t);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    return remove(path);
}

static void bench_etcd(void) {
    char data[300], cmd[600], line[300];
    snprintf(data, sizeof data, "%s/etcd", cfg.dir);
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        dup2(null, 2);
        execlp("etcd", "etcd", "--data-dir", data, "--listen-client-urls", "http://127.0.0.1:32379",
               "--advertise-client-urls", "http://127.0.0.1:32379", "--listen-peer-urls",
               "http://127.0.0.1:32380", "--initial-advertise-peer-urls", "http://127.0.0.1:32380",
               "--initial-cluster", "default=http://127.0.0.1:32380", (char *)NULL);
        _exit(127);
    }
    if (pid < 0) {
        perror("etcd");
        return;
    }
    sleep(3);
    snprintf(cmd, sizeof cmd,
             "ETCDCTL_API=3 etcdctl --endpoints=127.0.0.1:32379 check perf --load=xl 2>&1");
    FILE *out = popen(cmd, "r");
    while (out != NULL && fgets(line, sizeof line, out) != NULL) {
        char *text = strrchr(line, '\r') ? strrchr(line, '\r') + 1 : line;
        if (strstr(text, "PASS") != NULL || strstr(text, "FAIL") != NULL) {
            printf("rival   etcd: %s", text);
        }
    }
    if (out != NULL) {
        pclose(out);
    }
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
    nftw(data, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- the log ---- */

static struct log *open_store(const char *name, uint64_t *fence) {
    char url[400];
    struct err e;
    struct log *log;
    struct log_lease lease = {.holder = "bench", .ttl_ns = NS_PER_S};
    snprintf(url, sizeof url, "sqlite:%s/%s", cfg.dir, name);
    check(log_open(url, NULL, &log, &e), &e);
    check(log_lease_acquire(log, &lease, &e), &e);
    *fence = lease.fence;
    return log;
}

static struct log *fresh_store(const char *name, uint64_t *fence) {
    char path[400];
    snprintf(path, sizeof path, "%s/%s", cfg.dir, name);
    remove_store(path);
    return open_store(name, fence);
}

struct one {
    char key[40];
    uint8_t value[VALUE];
    struct log_op op;
};

static void fill_one(struct one *o, uint64_t serial, struct log_entry *e) {
    int n = snprintf(o->key, sizeof o->key, "pools/prefix/%016" PRIx64,
                     serial * UINT64_C(0x9e3779b97f4a7c15));
    o->op = (struct log_op){LOG_STATE, (uint8_t *)o->key, (size_t)n, o->value, VALUE};
    *e = (struct log_entry){.who = "bench", .ops = &o->op, .n_ops = 1};
}

static double bench_one_client(void) {
    uint64_t fence, n = 0;
    struct log *log = fresh_store("one.db", &fence);
    static struct one o;
    struct err e;
    n_samples = 0;
    double start = now_s(), last = start;
    while (last - start < cfg.seconds) {
        struct log_entry entry;
        fill_one(&o, n, &entry);
        check(log_append(log, n, fence, &entry, 1, &e), &e);
        double t = now_s();
        sample(t - last);
        last = t;
        n++;
    }
    double rate = (double)n / (last - start);
    printf("log     durable one-op commits, 1 client            %9.0f /s   p50 %.2f ms, p99 %.2f "
           "ms; %.2f of the floor (ready file)\n",
           rate, percentile(0.5), percentile(0.99), rate / cfg.floor_ready);
    log_close(log);
    return rate;
}

/* 1,000 clients, each waiting for its answer before it asks again. One thread plays the clients,
 * one is the writer that takes all that wait into one batch: as in the daemon. */
struct club {
    pthread_mutex_t lock;
    pthread_cond_t asked, answered;
    int waiting[CLIENTS], n_waiting;
    int served[CLIENTS], n_served;
    double since[CLIENTS];
    bool stop;
};

static void *play_clients(void *arg) {
    struct club *c = arg;
    static int mine[CLIENTS];
    for (;;) {
        pthread_mutex_lock(&c->lock);
        while (c->n_served == 0 && !c->stop) {
            pthread_cond_wait(&c->answered, &c->lock);
        }
        int n = c->n_served;
        memcpy(mine, c->served, (size_t)n * sizeof *mine);
        c->n_served = 0;
        bool stop = c->stop;
        pthread_mutex_unlock(&c->lock);
        if (stop) {
            return NULL;
        }
        double t = now_s();
        for (int i = 0; i < n; i++) {
            sample(t - c->since[mine[i]]);
            c->since[mine[i]] = t;
        }
        pthread_mutex_lock(&c->lock);
        memcpy(c->waiting + c->n_waiting, mine, (size_t)n * sizeof *mine);
        c->n_waiting += n;
        pthread_cond_signal(&c->asked);
        pthread_mutex_unlock(&c->lock);
    }
}

/* A worker folds behind, as in the daemon; it shares the disk and the processors. */
struct folder {
    struct log *log;
    _Atomic bool stop;
};

static void *fold_behind(void *arg) {
    struct folder *f = arg;
    struct err e;
    while (!f->stop) {
        check(log_fold(f->log, 50000, NULL, &e), &e);
        usleep(50000);
    }
    return NULL;
}

static double bench_clients(bool folding) {
    uint64_t fence, n = 0;
    struct log *log = fresh_store("many.db", &fence);
    struct club *c = MEM_NEW(struct club);
    static struct one ones[CLIENTS];
    static struct log_entry batch[CLIENTS];
    static int taken[CLIENTS];
    struct err e;
    pthread_t thread;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->asked, NULL);
    pthread_cond_init(&c->answered, NULL);
    n_samples = 0;
    double start = now_s(), t;
    for (int i = 0; i < CLIENTS; i++) {
        c->waiting[i] = i;
        c->since[i] = start;
    }
    c->n_waiting = CLIENTS;
    pthread_create(&thread, NULL, play_clients, c);
    struct folder folder = {.log = log};
    pthread_t folder_thread;
    if (folding) {
        pthread_create(&folder_thread, NULL, fold_behind, &folder);
    }
    uint64_t batches = 0;
    while ((t = now_s() - start) < cfg.seconds) {
        pthread_mutex_lock(&c->lock);
        while (c->n_waiting == 0) {
            pthread_cond_wait(&c->asked, &c->lock);
        }
        int k = c->n_waiting;
        memcpy(taken, c->waiting, (size_t)k * sizeof *taken);
        c->n_waiting = 0;
        pthread_mutex_unlock(&c->lock);
        for (int i = 0; i < k; i++) {
            fill_one(&ones[i], n + (uint64_t)i, &batch[i]);
        }
        check(log_append(log, n, fence, batch, (size_t)k, &e), &e);
        n += (uint64_t)k;
        batches++;
        pthread_mutex_lock(&c->lock);
        memcpy(c->served + c->n_served, taken, (size_t)k * sizeof *taken);
        c->n_served += k;
        pthread_cond_signal(&c->answered);
        pthread_mutex_unlock(&c->lock);
    }
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_signal(&c->answered);
    pthread_mutex_unlock(&c->lock);
    pthread_join(thread, NULL);
    folder.stop = true;
    if (folding) {
        pthread_join(folder_thread, NULL);
    }
    double rate = (double)n / t;
    printf(
        "log     durable one-op commits, %d waiting clients %7.0f /s   p50 %.2f ms, p99 %.2f ms; "
        "%.0f in a batch%s\n",
        CLIENTS, rate, percentile(0.5), percentile(0.99), (double)n / (double)batches,
        folding ? ", a worker folding" : "");
    mem_free(c);
    log_close(log);
    return rate;
}

static bool touch(const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len,
                  uint64_t modified, void *arg) {
    *(uint64_t *)arg += 1;
    return true;
}

static void bench_rows(void) {
    enum { BATCH = 4096 };
    uint64_t fence, n = 0, seen = 0;
    struct err e;
    struct one *ones = mem_array(NULL, BATCH, sizeof *ones);
    struct log_entry *batch = mem_array(NULL, BATCH, sizeof *batch);
    memset(ones, 7, BATCH * sizeof *ones);
    char path[400];
    snprintf(path, sizeof path, "%s/rows.db", cfg.dir);
    remove_store(path);
    struct log_options o = {.fold_backlog_max = SIZE_MAX / 8};
    struct log *log;
    char url[400];
    snprintf(url, sizeof url, "sqlite:%s/rows.db", cfg.dir);
    struct log_lease lease = {.holder = "bench", .ttl_ns = NS_PER_S};
    check(log_open(url, &o, &log, &e), &e);
    check(log_lease_acquire(log, &lease, &e), &e);
    fence = lease.fence;
    double start = now_s();
    while (n < cfg.rows) {
        size_t k = cfg.rows - n < BATCH ? (size_t)(cfg.rows - n) : BATCH;
        for (size_t i = 0; i < k; i++) {
            fill_one(&ones[i], n + i, &batch[i]);
        }
        check(log_append(log, n, fence, batch, k, &e), &e);
        n += k;
    }
    double t = now_s() - start;
    printf("log     rows, %d entries a batch                  %9.0f /s   (%" PRIu64 " entries)\n",
           BATCH, (double)n / t, n);
    start = now_s();
    check(log_fold(log, 0, NULL, &e), &e);
    printf("log     folded behind, random keys                  %9.0f ops/s\n",
           (double)n / (now_s() - start));
    log_close(log);

    start = now_s();
    log = open_store("rows.db", &fence);
    double opened = now_s() - start;
    check(log_snapshot(log, LOG_STATE, "", 0, NULL, touch, &seen, &e), &e);
    printf("log     start with %" PRIu64 " state rows: open %.1f ms, open and read all %.2f s\n",
           seen, opened * 1e3, now_s() - start);

    /* The same with folded state unfolded: what a crash at the worst moment adds. */
    for (int i = 0; i < 1000; i++) {
        fill_one(&ones[i], n + (uint64_t)i, &batch[i]);
    }
    n_samples = 0;
    for (int round = 0; round < 200; round++) {
        start = now_s();
        check(log_append(log, log_head(log), fence, batch, 1000, &e), &e);
        sample(now_s() - start);
        check(log_fold(log, 500, NULL, &e), &e);
    }
    printf("log     batches of 1,000 beside folding: p50 %.2f ms, p99 %.2f ms, worst %.2f ms\n",
           percentile(0.5), percentile(0.99), percentile(1));
    log_close(log);
    struct stat st;
    if (stat(path, &st) == 0) {
        printf("        %.0f bytes of log for an entry of %d bytes of key and value\n",
               (double)st.st_size / (double)(n + 200000), VALUE + 29);
    }
    remove_store(path);
    mem_free(ones);
    mem_free(batch);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--dir") == 0 && more) {
            snprintf(cfg.dir, sizeof cfg.dir, "%s", argv[++i]);
        } else if (strcmp(argv[i], "--seconds") == 0 && more) {
            cfg.seconds = atof(argv[++i]);
        } else if (strcmp(argv[i], "--rows") == 0 && more) {
            cfg.rows = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--etcd") == 0) {
            cfg.etcd = true;
        } else {
            fprintf(stderr, "log_commit [--dir DIR] [--seconds S] [--rows N] [--etcd]\n");
            return 2;
        }
    }
    size_t n = strlen(cfg.dir);
    snprintf(cfg.dir + n, sizeof cfg.dir - n, "/weft-bench-XXXXXX");
    if (mkdtemp(cfg.dir) == NULL) {
        perror(cfg.dir);
        return 1;
    }
    samples = mem_array(NULL, SAMPLES_MAX, sizeof *samples);
    cfg.floor_grow = bench_floor(false);
    cfg.floor_ready = bench_floor(true);
    printf("floor   write 4 KiB + fdatasync, growing file       %9.0f /s\n", cfg.floor_grow);
    printf("floor   write 4 KiB + fdatasync, ready file         %9.0f /s\n", cfg.floor_ready);
    bench_sqlite();
    bench_one_client();
    bench_clients(false);
    bench_clients(true);
    bench_rows();
    if (cfg.etcd) {
        fflush(stdout);
        bench_etcd();
    }
    static const char *const stores[] = {"one.db", "many.db"};
    for (int i = 0; i < 2; i++) {
        char path[400];
        snprintf(path, sizeof path, "%s/%s", cfg.dir, stores[i]);
        remove_store(path);
    }
    rmdir(cfg.dir);
    mem_free(samples);
    return 0;
}
