// SPDX-License-Identifier: Apache-2.0
/*
 * Prefix allocation in memory with a million prefixes in a /8, beside the floor (a dependent
 * random read in as much memory) and a rival, a buddy free list in SQLite (in memory, prepared
 * statements, one transaction), which is given the same state and must give the same answers.
 *
 *   prefix_tree [PREFIXES]     default 1000000
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "core/prefix_tree.h"

enum { CLIENTS = 64, ROOT_LEN = 8, MAX_LEN = 30, CHURN = 2000000, RIVAL_STEPS = 20000 };

static const uint32_t root_base = 0x0a000000;

static int64_t now(void) {
    return clock_mono(&clock_real);
}

static void die(const char *what) {
    fprintf(stderr, "prefix_tree: %s\n", what);
    exit(1);
}

/* Lengths as pools ask for them: mostly small ones. */
static unsigned a_len(struct rng *r) {
    static const unsigned lens[] = {30, 30, 30, 29, 29, 29, 28, 28, 27, 26};
    return lens[rng_below(r, sizeof lens / sizeof *lens)];
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Nanoseconds of each operation, for the quantiles. */
struct times {
    uint32_t *ns;
    size_t n;
    int64_t sum;
};

static void note(struct times *t, int64_t ns) {
    t->ns[t->n++] = (uint32_t)(ns > UINT32_MAX ? UINT32_MAX : ns);
    t->sum += ns;
}

static void report(const char *what, struct times *t) {
    qsort(t->ns, t->n, sizeof *t->ns, by_value);
    printf("%-44s %8.0f ns mean %8u ns p50 %8u ns p99 %8u ns p99.9\n", what,
           (double)t->sum / (double)t->n, t->ns[t->n / 2], t->ns[t->n / 100 * 99],
           t->ns[t->n / 1000 * 999]);
    mem_free(t->ns);
}

/* A walk through a random cycle: what one step that misses the caches costs here. */
static void floor_of_memory(size_t bytes) {
    size_t n = bytes / sizeof(uint32_t);
    uint32_t *next = mem_array(NULL, n, sizeof *next);
    struct rng r;
    rng_seed(&r, 1);
    for (size_t i = 0; i < n; i++) {
        next[i] = (uint32_t)i;
    }
    for (size_t i = n - 1; i > 0; i--) {
        size_t j = rng_below(&r, i);
        uint32_t t = next[i];
        next[i] = next[j];
        next[j] = t;
    }
    uint32_t at = 0;
    int64_t start = now();
    for (unsigned i = 0; i < CHURN; i++) {
        at = next[at];
    }
    printf("%-44s %8.0f ns (%zu MB, %u)\n", "floor: one dependent random read",
           (double)(now() - start) / CHURN, bytes >> 20, at & 1);
    start = now();
    int64_t last = start;
    for (unsigned i = 0; i < 1000000; i++) {
        last = now();
    }
    printf("%-44s %8.1f ns (included in the quantiles below)\n", "floor: reading the clock",
           (double)(last - start) / 1e6);
    mem_free(next);
}

/* ---- the tree ---- */

static struct prefix_tree *fill(struct ip_prefix *held, size_t n) {
    struct prefix_tree *t;
    struct err e;
    struct rng r;
    struct ip_prefix root = ip4_prefix(root_base, ROOT_LEN);
    if (prefix_tree_new(4, 1, MAX_LEN, &t, &e) != ERR_OK ||
        prefix_tree_root_add(t, &root, 0, &e) != ERR_OK) {
        die(e.text);
    }
    rng_seed(&r, 2);
    struct times took = {.ns = mem_array(NULL, n, sizeof(uint32_t))};
    for (size_t i = 0; i < n; i++) {
        unsigned len = a_len(&r);
        int64_t start = now();
        enum err_code rc = prefix_tree_allocate(t, len, 0, false, i + 1, &held[i], NULL, &e);
        note(&took, now() - start);
        if (rc != ERR_OK) {
            die(e.text);
        }
    }
    char what[64];
    snprintf(what, sizeof what, "allocate, from empty to %zu", n);
    report(what, &took);
    return t;
}

/* Every client holds its share and gives back or takes in turn; a bitmap sees that no address is
 * given twice. */
static void churn(struct prefix_tree *t, struct ip_prefix *held, size_t n) {
    struct rng r;
    rng_seed(&r, 3);
    uint8_t *taken = mem_alloc((size_t)1 << (32 - ROOT_LEN));
    for (size_t i = 0; i < n; i++) {
        memset(taken + (ip4_value(&held[i].addr) - root_base), 1, ip_prefix_total(&held[i]));
    }
    struct times give = {.ns = mem_array(NULL, CHURN, sizeof(uint32_t))},
                 take = {.ns = mem_array(NULL, CHURN, sizeof(uint32_t))};
    size_t share = n / CLIENTS, twice = 0;
    int64_t begin = now();
    for (unsigned i = 0; i < CHURN; i++) {
        struct ip_prefix *p = &held[i % CLIENTS * share + rng_below(&r, share)];
        memset(taken + (ip4_value(&p->addr) - root_base), 0, ip_prefix_total(p));
        int64_t start = now();
        enum err_code rc = prefix_tree_release(t, p, NULL, NULL, NULL);
        note(&give, now() - start);
        unsigned len = a_len(&r);
        start = now();
        rc |= prefix_tree_allocate(t, len, 0, false, i, p, NULL, NULL);
        note(&take, now() - start);
        if (rc != ERR_OK) {
            die("a prefix was lost");
        }
        for (size_t a = ip4_value(&p->addr) - root_base, end = a + ip_prefix_total(p); a < end;
             a++) {
            twice += taken[a];
            taken[a] = 1;
        }
    }
    double seconds = (double)(now() - begin) / 1e9;
    printf("%d interleaved clients, %d exchanges at %zu prefixes: %.2f M operations/s, "
           "%zu addresses given twice\n",
           CLIENTS, CHURN, n, 2 * CHURN / seconds / 1e6, twice);
    report("release a random one", &give);
    report("allocate", &take);
    mem_free(taken);
}

static void rebuild(const struct prefix_tree *from, struct ip_prefix *held, size_t n) {
    struct prefix_tree *t;
    struct ip_prefix root = ip4_prefix(root_base, ROOT_LEN);
    struct rng r;
    rng_seed(&r, 4);
    for (size_t i = n - 1; i > 0; i--) {
        size_t j = rng_below(&r, i + 1);
        struct ip_prefix p = held[i];
        held[i] = held[j];
        held[j] = p;
    }
    if (prefix_tree_new(4, 1, MAX_LEN, &t, NULL) != ERR_OK ||
        prefix_tree_root_add(t, &root, 0, NULL) != ERR_OK) {
        die("no tree");
    }
    int64_t start = now();
    for (size_t i = 0; i < n; i++) {
        if (prefix_tree_restore(t, &held[i], 0, i, NULL, NULL) != ERR_OK) {
            die("not restored");
        }
    }
    printf("%-44s %8.0f ms in random order\n", "rebuild after a restart",
           (double)(now() - start) / 1e6);
    struct prefix_info i;
    start = now();
    size_t seen = 0;
    for (struct ip_prefix at, *after = NULL; prefix_tree_next(from, after, PREFIX_SEE_ALL, &i);
         seen++) {
        at = i.prefix;
        after = &at;
    }
    printf("%-44s %8.0f ns each of %zu blocks\n", "iterate", (double)(now() - start) / (double)seen,
           seen);
    prefix_tree_free(t);
}

static void memory(const struct prefix_tree *t) {
    struct prefix_stats s;
    prefix_tree_stats(t, &s);
    printf("%-44s %8.1f bytes a prefix, %.1f MB in all\n", "memory",
           (double)s.memory / (double)s.prefixes, (double)s.memory / 1e6);
}

/* ---- the rival ---- */

struct rival {
    sqlite3 *db;
    sqlite3_stmt *first, *larger, *cut, *add, *has, *take, *drop;
};

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql) {
    sqlite3_stmt *s;
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK) {
        die(sqlite3_errmsg(db));
    }
    return s;
}

/* Runs a statement with up to two numbers; the first column of the first row, or -1. */
static int64_t run(sqlite3_stmt *s, int64_t a, int64_t b) {
    sqlite3_bind_int64(s, 1, a);
    if (sqlite3_bind_parameter_count(s) > 1) {
        sqlite3_bind_int64(s, 2, b);
    }
    int64_t out = -1;
    if (sqlite3_step(s) == SQLITE_ROW && sqlite3_column_type(s, 0) != SQLITE_NULL) {
        out = sqlite3_column_int64(s, 0);
    }
    sqlite3_reset(s);
    return out;
}

static void rival_open(struct rival *v, const struct prefix_tree *t) {
    if (sqlite3_open(":memory:", &v->db) != SQLITE_OK ||
        sqlite3_exec(v->db,
                     "create table free(len int, addr int, primary key(len, addr)) without rowid;"
                     "create table used(addr int primary key, len int) without rowid; begin",
                     NULL, NULL, NULL) != SQLITE_OK) {
        die(sqlite3_errmsg(v->db));
    }
    v->first = prepare(v->db, "select addr from free where len=? order by addr limit 1");
    v->larger = prepare(v->db, "select max(len) from free where len<?");
    v->cut = prepare(v->db, "delete from free where len=? and addr=?");
    v->add = prepare(v->db, "insert into free(len, addr) values(?,?)");
    v->has = prepare(v->db, "select 1 from free where len=? and addr=?");
    v->take = prepare(v->db, "insert into used(len, addr) values(?,?)");
    v->drop = prepare(v->db, "delete from used where addr=?");
    struct prefix_info i;
    for (struct ip_prefix at, *after = NULL; prefix_tree_next(t, after, PREFIX_SEE_ALL, &i);) {
        run(i.state == PREFIX_ALLOCATED ? v->take : v->add, i.prefix.len,
            ip4_value(&i.prefix.addr));
        at = i.prefix;
        after = &at;
    }
}

static void rival_close(struct rival *v) {
    sqlite3_stmt *all[] = {v->first, v->larger, v->cut, v->add, v->has, v->take, v->drop};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        sqlite3_finalize(all[i]);
    }
    sqlite3_close(v->db);
}

static struct ip_prefix rival_allocate(struct rival *v, unsigned len) {
    int64_t from = len, addr = run(v->first, len, 0);
    if (addr < 0) {
        from = run(v->larger, len, 0);
        addr = from < 0 ? -1 : run(v->first, from, 0);
    }
    if (addr < 0) {
        die("the rival is exhausted");
    }
    run(v->cut, from, addr);
    for (int64_t l = from + 1; l <= len; l++) {
        run(v->add, l, addr + ((int64_t)1 << (32 - l)));
    }
    run(v->take, len, addr);
    return ip4_prefix((uint32_t)addr, len);
}

static void rival_release(struct rival *v, const struct ip_prefix *p) {
    int64_t addr = ip4_value(&p->addr), len = p->len;
    run(v->drop, addr, 0);
    for (; len > ROOT_LEN; len--) {
        int64_t buddy = addr ^ (int64_t)1 << (32 - len);
        if (run(v->has, len, buddy) < 0) {
            break;
        }
        run(v->cut, len, buddy);
        addr &= buddy;
    }
    run(v->add, len, addr);
}

static void rival(struct prefix_tree *t, struct ip_prefix *held, size_t n) {
    struct rival v;
    struct rng r;
    rng_seed(&r, 5);
    int64_t before = sqlite3_memory_used();
    rival_open(&v, t);
    printf("%-44s %8.1f bytes a prefix\n", "rival: SQLite free list, memory",
           (double)(sqlite3_memory_used() - before) / (double)n);
    struct times give = {.ns = mem_array(NULL, RIVAL_STEPS, sizeof(uint32_t))},
                 take = {.ns = mem_array(NULL, RIVAL_STEPS, sizeof(uint32_t))};
    struct times ours_give = {.ns = mem_array(NULL, RIVAL_STEPS, sizeof(uint32_t))},
                 ours_take = {.ns = mem_array(NULL, RIVAL_STEPS, sizeof(uint32_t))};
    for (unsigned i = 0; i < RIVAL_STEPS; i++) {
        struct ip_prefix *p = &held[rng_below(&r, n)], q;
        int64_t start = now();
        rival_release(&v, p);
        note(&give, now() - start);
        start = now();
        prefix_tree_release(t, p, NULL, NULL, NULL);
        note(&ours_give, now() - start);
        unsigned len = a_len(&r);
        start = now();
        q = rival_allocate(&v, len);
        note(&take, now() - start);
        start = now();
        prefix_tree_allocate(t, len, 0, false, i, p, NULL, NULL);
        note(&ours_take, now() - start);
        if (!ip_prefix_eq(p, &q)) {
            die("the rival answers differently");
        }
    }
    double theirs = (double)(give.sum + take.sum), ours = (double)(ours_give.sum + ours_take.sum);
    report("rival: release", &give);
    report("rival: allocate", &take);
    report("ours in the same steps: release", &ours_give);
    report("ours in the same steps: allocate", &ours_take);
    printf("ratio rival : ours %.1f : 1, all %d answers equal\n", theirs / ours, RIVAL_STEPS);
    rival_close(&v);
}

int main(int argc, char **argv) {
    size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
    if (n < CLIENTS || n > 1500000) {
        die("usage: prefix_tree [64..1500000 PREFIXES]");
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("prefix tree in memory, %zu prefixes /26../30 in one /8 (marks: allocate < 1 ms must, "
           "< 10 us aim)\n",
           n);
    floor_of_memory(44 * n + 1024);
    struct ip_prefix *held = mem_array(NULL, n, sizeof *held);
    struct prefix_tree *t = fill(held, n);
    memory(t);
    churn(t, held, n);
    memory(t);
    rebuild(t, held, n);
    rival(t, held, n);
    prefix_tree_free(t);
    mem_free(held);
    return 0;
}
