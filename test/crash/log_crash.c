// SPDX-License-Identifier: Apache-2.0
/*
 * kill -9 at random moments of a process that appends, folds, trims and backs up; then the store is
 * opened and held against what the process had been told.
 *
 *     log_crash [--rounds N] [--seed S] [--power EARLY_PERCENT] [--expect-loss]
 *
 * The content of entry i follows from (seed, i), so the parent needs no copy: every acknowledged
 * entry must be there, no batch half, no entry different, the folded tables equal to a replay.
 * --power puts the VFS below that loses at the kill what was not synced. --expect-loss turns the
 * verdict round: for the build without syncs, which must be caught losing acknowledged entries.
 * log_crash_etcd is the same on the etcd engine, over an etcd of its own; there some rounds also
 * kill etcd, and in some the node loses its copy, so that all must come from etcd.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/logger.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rng.h"
#include "log/log.h"
#include "log/vfs_power.h"
#ifdef LOG_CRASH_ETCD
#include "etcd/engine.h"
#include "etcd/testing.h"
#endif

enum { KEYS = 300, OPS_MAX = 6, BATCH_MAX = 12 };

struct run {
    char dir[64], url[256], path[128], backup[128];
    uint64_t seed;
    int rounds;
    bool power, expect_loss;
    unsigned early;
    uint64_t head, acked; /* verified; acknowledged in this round */
    struct buf faults;    /* what was found wrong */
    int lost_rounds;
};

/* ---- the content of entry i ---- */

struct made {
    struct log_entry entry;
    struct log_op ops[OPS_MAX];
    char keys[OPS_MAX][16];
    uint8_t values[OPS_MAX][512];
};

static void make(uint64_t seed, uint64_t index, struct made *m) {
    struct rng r;
    rng_seed(&r, seed * 1000003 + index);
    m->entry = (struct log_entry){.who = "crash", .ops = m->ops, .n_ops = rng_below(&r, OPS_MAX)};
    for (size_t i = 0; i < m->entry.n_ops; i++) {
        snprintf(m->keys[i], sizeof m->keys[i], "%" PRIu64, rng_below(&r, KEYS));
        size_t n = rng_below(&r, sizeof m->values[i] + 1);
        for (size_t k = 0; k < n; k++) {
            m->values[i][k] = (uint8_t)rng_next(&r);
        }
        bool del = rng_chance(&r, 20);
        m->ops[i] = (struct log_op){.space = rng_chance(&r, 20) ? LOG_CONFIG : LOG_STATE,
                                    .key = (uint8_t *)m->keys[i],
                                    .key_len = strlen(m->keys[i]),
                                    .value = del ? NULL : m->values[i],
                                    .value_len = del ? 0 : n};
    }
}

/* ---- the process that is killed ---- */

static void die(const char *what, const struct err *e) {
    fprintf(stderr, "child: %s: %s: %s\n", what, e->path, e->text);
    _exit(1);
}

static void care(struct run *r, struct log *log, struct rng *rng) {
    struct err e;
    struct log_keep keep = {.entries = 200, .commits = 20};
    enum err_code rc = ERR_OK;
    switch (rng_below(rng, 60)) {
    case 0:
        rc = log_trim(log, &keep, NULL, &e);
        break;
    case 1:
        unlink(r->backup);
        rc = log_backup(log, r->backup, NULL, &e);
        break;
    case 2:
    case 3:
    case 4:
    case 5:
        rc = log_fold(log, 1 + rng_below(rng, 100), NULL, &e);
        break;
    default:
        break;
    }
    if (rc != ERR_OK) {
        die("care", &e);
    }
}

static void child(struct run *r, uint64_t round, int out) {
    struct rng rng;
    rng_seed(&rng, r->seed ^ round * 7919);
    struct log_options o = {.sqlite_checkpoint = 40, .node = "crash"};
    if (r->power) {
        vfs_power_register(false);
        vfs_power_seed(r->seed + round, r->early);
        o.sqlite_vfs = VFS_POWER_NAME;
    }
    struct log *log;
    struct err e;
    struct log_lease lease = {.holder = "crash", .ttl_ns = NS_PER_S};
    if (log_open(r->url, &o, &log, &e) != ERR_OK || log_lease_acquire(log, &lease, &e) != ERR_OK) {
        die("open", &e);
    }
    static struct made made[BATCH_MAX];
    for (;;) {
        struct log_entry batch[BATCH_MAX];
        char why[BATCH_MAX][32];
        uint64_t head = log_head(log);
        size_t n = 1 + rng_below(&rng, BATCH_MAX);
        for (size_t i = 0; i < n; i++) {
            make(r->seed, head + 1 + i, &made[i]);
            batch[i] = made[i].entry;
            snprintf(why[i], sizeof why[i], "%zu/%zu", i + 1, n);
            batch[i].why = why[i];
        }
        if (log_append(log, head, lease.fence, batch, n, &e) != ERR_OK) {
            die("append", &e);
        }
        /* The answer: from here on the entries must never be lost. */
        uint64_t ack = head + n;
        if (write(out, &ack, sizeof ack) != sizeof ack) {
            _exit(0);
        }
        care(r, log, &rng);
    }
}

/* ---- verification ---- */

static void __attribute__((format(printf, 2, 3))) wrong(struct run *r, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    if (r->faults.len < 4000) {
        buf_vprintf(&r->faults, fmt, ap);
        buf_char(&r->faults, '\n');
    }
    va_end(ap);
}

struct reading {
    struct run *r;
    size_t in_batch, of_batch; /* place of the last entry read in its batch */
    uint64_t last;
};

static bool same_ops(const struct log_entry *a, const struct log_entry *b) {
    if (a->n_ops != b->n_ops) {
        return false;
    }
    for (size_t i = 0; i < a->n_ops; i++) {
        const struct log_op *x = &a->ops[i], *y = &b->ops[i];
        if (x->space != y->space || x->key_len != y->key_len || x->value_len != y->value_len ||
            (x->value == NULL) != (y->value == NULL) || memcmp(x->key, y->key, x->key_len) != 0 ||
            (x->value_len > 0 && memcmp(x->value, y->value, x->value_len) != 0)) {
            return false;
        }
    }
    return true;
}

static bool verify_entry(const struct log_entry *e, void *arg) {
    struct reading *g = arg;
    static struct made m;
    make(g->r->seed, e->index, &m);
    if (!same_ops(e, &m.entry)) {
        wrong(g->r, "entry %" PRIu64 " is not what was appended", e->index);
    }
    size_t i = 0, n = 0;
    if (sscanf(e->why, "%zu/%zu", &i, &n) != 2 || i < 1 || i > n) {
        wrong(g->r, "entry %" PRIu64 " has the comment '%s'", e->index, e->why);
    }
    g->in_batch = i;
    g->of_batch = n;
    g->last = e->index;
    return true;
}

/* What a replay of entries 1..head gives: "space key" -> index and value. */
struct cell {
    uint64_t modified;
    size_t len;
    uint8_t value[512];
};

static void replay(struct run *r, uint64_t head, struct map *model) {
    static struct made m;
    for (uint64_t i = 1; i <= head; i++) {
        make(r->seed, i, &m);
        for (size_t k = 0; k < m.entry.n_ops; k++) {
            const struct log_op *op = &m.ops[k];
            char key[32];
            snprintf(key, sizeof key, "%d %.*s", op->space, (int)op->key_len,
                     (const char *)op->key);
            if (op->value == NULL) {
                mem_free(map_del(model, key));
                continue;
            }
            struct cell *c = map_get(model, key);
            if (c == NULL) {
                c = MEM_NEW(struct cell);
                map_put(model, key, c);
            }
            c->modified = i;
            c->len = op->value_len;
            memcpy(c->value, op->value, op->value_len);
        }
    }
}

struct rows {
    struct run *r;
    const struct map *model;
    int space;
    size_t n;
};

static bool verify_row(const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len,
                       uint64_t modified, void *arg) {
    struct rows *rows = arg;
    char name[32];
    snprintf(name, sizeof name, "%d %.*s", rows->space, (int)key_len, (const char *)key);
    const struct cell *c = map_get(rows->model, name);
    if (c == NULL || c->modified != modified || c->len != value_len ||
        memcmp(c->value, value, value_len) != 0) {
        wrong(rows->r, "the tables hold another value of key '%s' than the replay", name);
    }
    rows->n++;
    return true;
}

static void finding(const char *where, const char *text, void *arg) {
    wrong(arg, "check: %s: %s", where, text);
}

static void verify_tables(struct run *r, struct log *log) {
    struct map model = MAP_INIT;
    struct err e;
    size_t rows = 0;
    replay(r, log_head(log), &model);
    for (int space = LOG_CONFIG; space <= LOG_STATE; space++) {
        struct rows s = {.r = r, .model = &model, .space = space};
        if (log_snapshot(log, (enum log_space)space, "", 0, NULL, verify_row, &s, &e) != ERR_OK) {
            wrong(r, "snapshot: %s: %s", e.path, e.text);
        }
        rows += s.n;
    }
    if (rows != model.count) {
        wrong(r, "the tables have %zu rows, the replay %zu", rows, model.count);
    }
    map_free(&model, mem_free);
}

static void verify(struct run *r) {
    struct log *log;
    struct err e;
    const struct log_options o = {.node = "crash"};
    if (log_open(r->url, &o, &log, &e) != ERR_OK) {
        wrong(r, "the store does not open: %s: %s", e.path, e.text);
        return;
    }
    uint64_t head = log_head(log);
    if (head < r->acked) {
        wrong(r, "LOST: entry %" PRIu64 " was acknowledged, the log ends at %" PRIu64, r->acked,
              head);
    }
    struct reading g = {.r = r};
    if (log_read(log, 1, UINT64_MAX, verify_entry, &g, &e) != ERR_OK) {
        wrong(r, "read: %s: %s", e.path, e.text);
    }
    if (g.last != head) {
        wrong(r, "the last entry read is %" PRIu64 ", the head %" PRIu64, g.last, head);
    }
    if (g.in_batch != g.of_batch) {
        wrong(r, "the last batch is there in part: %zu of %zu entries", g.in_batch, g.of_batch);
    }
    verify_tables(r, log);
    size_t n;
    if (log_check(log, finding, r, &n, &e) != ERR_OK) {
        wrong(r, "check: %s: %s", e.path, e.text);
    }
    r->head = head;
    log_close(log);
    /* A backup is complete or it is not there. */
    if (access(r->backup, F_OK) == 0) {
        char url[160];
        snprintf(url, sizeof url, "sqlite:%s/restored.db", r->dir);
        if (log_restore(r->backup, url, &e) != ERR_OK) {
            wrong(r, "restore: %s: %s", e.path, e.text);
        }
        static const char *const suffixes[] = {"", "-tables"};
        for (int i = 0; i < 2; i++) {
            char name[200];
            snprintf(name, sizeof name, "%s/restored.db%s", r->dir, suffixes[i]);
            unlink(name);
        }
        unlink(r->backup);
    }
}

static void remove_store(struct run *r) {
    char cmd[256];
    static const char *const suffixes[] = {"",        "-wal",        "-shm",       "-lock",
                                           "-tables", "-tables-wal", "-tables-shm"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        snprintf(cmd, sizeof cmd, "%s%s", r->path, suffixes[i]);
        unlink(cmd);
    }
}

/* ---- the store ---- */

#ifdef LOG_CRASH_ETCD
static struct testing_etcd etcd;

static void store_begin(struct run *r) {
    log_engine_add(&log_etcd);
    testing_etcd_start(&etcd, r->dir);
    snprintf(r->url, sizeof r->url, "etcd:http://127.0.0.1:%u/crash?replica=%s", etcd.port,
             r->path);
}

static void store_end(void) {
    testing_etcd_stop(&etcd);
}

/* What else a round may do to it, while no process of ours has it open. */
static void store_suffers(struct run *r, struct rng *rng) {
    if (rng_chance(rng, 20)) {
        testing_etcd_kill(&etcd);
        testing_etcd_start(&etcd, r->dir);
    }
    if (rng_chance(rng, 15)) {
        remove_store(r);
    }
}
#else
static void store_begin(struct run *r) {
    snprintf(r->url, sizeof r->url, "sqlite:%s", r->path);
}

static void store_end(void) {
}

static void store_suffers(struct run *r, struct rng *rng) {
}
#endif

/* ---- rounds ---- */

static bool one_round(struct run *r, uint64_t round, struct rng *rng) {
    int ends[2];
    if (pipe(ends) != 0) {
        perror("pipe");
        exit(2);
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        child(r, round, ends[1]);
    }
    close(ends[1]);
    /* Most rounds die while appending, some already while opening. */
    uint64_t ack, acks = 0, want = rng_chance(rng, 10) ? 0 : 1 + rng_below(rng, 60);
    while (acks < want && read(ends[0], &ack, sizeof ack) == sizeof ack) {
        r->acked = ack;
        acks++;
    }
    usleep((useconds_t)rng_below(rng, 8000));
    kill(pid, SIGKILL);
    while (read(ends[0], &ack, sizeof ack) == sizeof ack) {
        r->acked = ack; /* said before the kill */
    }
    close(ends[0]);
    int status;
    waitpid(pid, &status, 0);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        wrong(r, "the child ended by itself, status %d", status);
    }
    store_suffers(r, rng);
    verify(r);
    if (r->faults.len == 0) {
        return true;
    }
    bool lost = strstr(buf_cstr(&r->faults), "LOST") != NULL;
    fprintf(stderr, "round %" PRIu64 " of seed %" PRIu64 ":\n%s", round, r->seed,
            buf_cstr(&r->faults));
    r->lost_rounds += lost;
    return false;
}

static void fresh(struct run *r) {
    remove_store(r);
    unlink(r->backup);
    r->acked = r->head = 0;
    buf_clear(&r->faults);
}

static void swallow(enum logger_level level, const char *module, const char *line, void *arg) {
}

/* proves: F-01 F-02 F-03 */
int main(int argc, char **argv) {
    struct run r = {.rounds = 40, .seed = 1, .faults = BUF_INIT};
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--rounds") == 0 && more) {
            r.rounds = atoi(argv[++i]);
        } else if (strcmp(argv[i], "--seed") == 0 && more) {
            r.seed = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--power") == 0 && more) {
            r.power = true;
            r.early = (unsigned)atoi(argv[++i]);
        } else if (strcmp(argv[i], "--expect-loss") == 0) {
            r.expect_loss = true;
        } else {
            fprintf(stderr, "log_crash [--rounds N] [--seed S] [--power EARLY] [--expect-loss]\n");
            return 2;
        }
    }
    signal(SIGPIPE, SIG_IGN);
    logger_set_sink(swallow, NULL);
    snprintf(r.dir, sizeof r.dir, "/tmp/weft-crash-XXXXXX");
    if (mkdtemp(r.dir) == NULL) {
        perror("mkdtemp");
        return 2;
    }
    snprintf(r.path, sizeof r.path, "%s/log.db", r.dir);
    store_begin(&r);
    snprintf(r.backup, sizeof r.backup, "%s/backup", r.dir);
    struct rng rng;
    rng_seed(&rng, r.seed);
    int bad = 0;
    for (int round = 1; round <= r.rounds && (r.expect_loss || bad == 0); round++) {
        if (!one_round(&r, (uint64_t)round, &rng)) {
            bad++;
            if (r.expect_loss) {
                fresh(&r); /* what is left is worth nothing */
            }
        }
    }
    printf("%d rounds, seed %" PRIu64 ": head %" PRIu64 ", %d rounds with faults, %d of them lost "
           "acknowledged entries\n",
           r.rounds, r.seed, r.head, bad, r.lost_rounds);
    store_end();
    if (bad == 0 || r.expect_loss) {
        fresh(&r);
        rmdir(r.dir);
    } else {
        fprintf(stderr, "the store is left in %s\n", r.dir);
    }
    buf_free(&r.faults);
    return r.expect_loss ? r.lost_rounds == 0 : bad != 0;
}
