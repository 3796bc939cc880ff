// SPDX-License-Identifier: Apache-2.0
/*
 * Acceptance A11: the tree beside a model that is too simple to be wrong, an array with one byte
 * for each smallest block. Exhaustively for a tiny tree, with chance for a big one. The seed is
 * printed on failure; WEFT_TEST_SEED repeats it.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "core/prefix_tree.h"

static uint64_t seed_or(uint64_t usual) {
    const char *given = getenv("WEFT_TEST_SEED");
    return given != NULL ? strtoull(given, NULL, 10) : usual;
}

static void check(const struct prefix_tree *t, uint64_t seed, uint64_t step) {
    struct err e;
    if (prefix_tree_check(t, &e) != ERR_OK) {
        fail_msg("seed %" PRIu64 " step %" PRIu64 ": %s", seed, step, e.text);
    }
}

/* A fingerprint of all that can be seen; equal trees give equal ones. */
static uint64_t mix(uint64_t h, uint64_t v) {
    h ^= v;
    h *= 0x9e3779b97f4a7c15;
    return h ^ h >> 29;
}

static uint64_t fingerprint(const struct prefix_tree *t) {
    struct prefix_info i;
    uint64_t h = 1;
    for (struct ip_prefix at, *after = NULL; prefix_tree_next(t, after, PREFIX_SEE_ALL, &i);) {
        h = mix(h,
                (uint64_t)i.state << 56 | (uint64_t)i.prefix.len << 48 | ip4_value(&i.prefix.addr));
        h = mix(h, i.owner);
        h = mix(h, i.tag);
        at = i.prefix;
        after = &at;
    }
    struct prefix_stats s;
    prefix_tree_stats(t, &s);
    for (unsigned len = 0; len <= 32; len++) {
        h = mix(h, s.free_blocks[len] << 32 | s.allocated_blocks[len]);
    }
    return mix(h, (uint64_t)s.free + ((uint64_t)s.allocated << 20) + ((uint64_t)s.reserved << 40));
}

/* ---- the model: a root of length root_len cut to max_len ---- */

enum { MODEL_FREE = 0, MODEL_TAG = 0x40 /* | tag: reserved and free */, MODEL_USED = 0x80 };

struct model {
    unsigned root_len, max_len;
    uint32_t base, cells;
    uint8_t *cell;     /* FREE, TAG|n or USED */
    uint8_t *res;      /* tag of the reservation that the cell lies in, 0 */
    uint8_t *res_len;  /* its length */
    uint8_t *used_len; /* at the first cell of an allocated prefix: its length */
};

static struct model model_new(uint32_t base, unsigned root_len, unsigned max_len) {
    uint32_t n = UINT32_C(1) << (max_len - root_len);
    return (struct model){root_len,     max_len,      base,         n,
                          mem_alloc(n), mem_alloc(n), mem_alloc(n), mem_alloc(n)};
}

static void model_free(struct model *m) {
    mem_free(m->cell);
    mem_free(m->res);
    mem_free(m->res_len);
    mem_free(m->used_len);
}

static uint32_t cells_of(const struct model *m, unsigned len) {
    return UINT32_C(1) << (m->max_len - len);
}

static struct ip_prefix at(const struct model *m, uint32_t cell, unsigned len) {
    return ip4_prefix(m->base + (cell << (32 - m->max_len)), len);
}

static bool model_uniform(const struct model *m, uint32_t cell, unsigned len, uint8_t value,
                          uint8_t res_len) {
    for (uint32_t i = cell; i < cell + cells_of(m, len); i++) {
        if (m->cell[i] != value || m->res_len[i] != res_len) {
            return false;
        }
    }
    return true;
}

/* A block that is free for `tag` (0: for anybody), and whose buddy is not: maximal. */
static bool model_maximal(const struct model *m, uint32_t cell, unsigned len, uint8_t tag) {
    uint8_t value = tag ? (uint8_t)(MODEL_TAG | tag) : MODEL_FREE, res_len = m->res_len[cell];
    if ((m->res[cell] != 0) != (tag != 0) || !model_uniform(m, cell, len, value, res_len)) {
        return false;
    }
    unsigned top = tag ? res_len : m->root_len;
    if (len <= top) {
        return len == top;
    }
    return !model_uniform(m, cell & ~(2 * cells_of(m, len) - 1), len - 1, value, res_len);
}

/* The lowest maximal block of this length for the tag; UINT32_MAX. */
static uint32_t model_first(const struct model *m, unsigned len, uint8_t tag) {
    for (uint32_t i = 0; i < m->cells; i += cells_of(m, len)) {
        if (model_maximal(m, i, len, tag)) {
            return i;
        }
    }
    return UINT32_MAX;
}

/* The rule of prefix_tree_allocate, spelled out. */
static bool model_pick(const struct model *m, unsigned want, uint8_t tag, uint32_t *cell,
                       unsigned *len) {
    uint8_t who[2] = {tag, 0};
    *len = want;
    if (want >= m->root_len) {
        for (int k = tag ? 0 : 1; k < 2; k++) {
            if ((*cell = model_first(m, want, who[k])) != UINT32_MAX) {
                return true;
            }
        }
        for (int k = tag ? 0 : 1; k < 2; k++) {
            for (unsigned l = want - 1; l >= m->root_len; l--) {
                if ((*cell = model_first(m, l, who[k])) != UINT32_MAX) {
                    return true;
                }
            }
        }
    }
    for (*len = want + 1; *len <= m->max_len; ++*len) {
        for (int k = tag ? 0 : 1; *len >= m->root_len && k < 2; k++) {
            if ((*cell = model_first(m, *len, who[k])) != UINT32_MAX) {
                return true;
            }
        }
    }
    return false;
}

static void model_use(struct model *m, uint32_t cell, unsigned len) {
    memset(m->cell + cell, MODEL_USED, cells_of(m, len));
    m->used_len[cell] = (uint8_t)len;
}

static void model_release(struct model *m, uint32_t cell) {
    unsigned len = m->used_len[cell];
    memset(m->cell + cell, m->res[cell] ? MODEL_TAG | m->res[cell] : MODEL_FREE, cells_of(m, len));
    m->used_len[cell] = 0;
}

/* Everything that the tree shows is what the model shows. */
static bool same(const struct prefix_tree *t, const struct model *m) {
    uint32_t next = 0;
    prefix_count sum[3] = {0, 0, 0};
    struct prefix_info i;
    for (struct ip_prefix p, *after = NULL; prefix_tree_next(t, after, PREFIX_SEE_ALL, &i);) {
        uint32_t cell = (ip4_value(&i.prefix.addr) - m->base) >> (32 - m->max_len);
        unsigned len = i.prefix.len;
        if (cell != next) {
            return false; /* a gap, or an overlap */
        }
        next += cells_of(m, len);
        if (i.tag != m->res[cell]) {
            return false;
        }
        if (i.state == PREFIX_ALLOCATED) {
            sum[0] += cells_of(m, len);
            if (m->used_len[cell] != len || m->cell[cell] != MODEL_USED) {
                return false;
            }
        } else {
            sum[i.tag ? 1 : 2] += cells_of(m, len);
            if (!model_maximal(m, cell, len, m->res[cell])) {
                return false; /* taken, or buddies not merged */
            }
        }
        p = i.prefix;
        after = &p;
    }
    struct prefix_stats s;
    prefix_tree_stats(t, &s);
    unsigned shift = 32 - m->max_len;
    return next == m->cells && s.allocated == sum[0] << shift && s.reserved == sum[1] << shift &&
           s.free == sum[2] << shift && s.total == (prefix_count)m->cells << shift;
}

static struct prefix_tree *tree_of(const struct model *m) {
    struct prefix_tree *t;
    struct ip_prefix root = at(m, 0, m->root_len);
    assert_int_equal(prefix_tree_new(4, 1, m->max_len, &t, NULL), ERR_OK);
    assert_int_equal(prefix_tree_root_add(t, &root, 0, NULL), ERR_OK);
    return t;
}

/* ---- exhaustive: every history in a /29 cut to /32 ---- */

struct walk {
    struct prefix_tree *t;
    struct model m;
    uint64_t seen[1 << 16]; /* states already explored, as keys of an open hash table */
    uint64_t states, steps;
};

/* The whole state in 64 bits: per cell 0 free, 1..4 head of an allocated /29../32, 5 rest; with the
 * reservation as two more bits. */
static uint64_t state_key(const struct model *m, unsigned reservation) {
    uint64_t key = reservation + 1;
    for (uint32_t i = 0; i < m->cells; i++) {
        unsigned c = m->cell[i] != MODEL_USED ? 0 : m->used_len[i] ? m->used_len[i] - 28U : 5;
        key = key << 3 | c;
    }
    return key;
}

static bool visit(struct walk *w, uint64_t key) {
    uint64_t i = key * 0x9e3779b97f4a7c15 >> 48;
    while (w->seen[i] != 0 && w->seen[i] != key) {
        i = (i + 1) & 0xffff;
    }
    bool is_new = w->seen[i] == 0;
    w->seen[i] = key;
    w->states += is_new;
    return is_new;
}

static void must_agree(struct walk *w, const char *what, uint32_t cell, unsigned len) {
    check(w->t, 0, w->steps);
    if (!same(w->t, &w->m)) {
        fail_msg("after %s %u/%u in state %" PRIx64, what, cell, len, state_key(&w->m, 0));
    }
}

/* Exactly which prefixes may be taken, and what every allocation answers, from this state; then on
 * from each successor that is new. Every step is undone, which must leave no trace. */
static void explore(struct walk *w, unsigned reservation) {
    uint64_t before = fingerprint(w->t);
    for (uint8_t tag = 0; tag <= 1; tag++) {
        for (unsigned len = 28; len <= 32; len++) { /* automatic */
            uint32_t cell;
            unsigned got;
            struct ip_prefix p, want;
            bool ok = prefix_tree_allocate(w->t, len, tag, false, 1, &p, NULL, NULL) == ERR_OK;
            w->steps++;
            assert_int_equal(ok, model_pick(&w->m, len, tag, &cell, &got));
            if (ok) {
                want = at(&w->m, cell, got);
                assert_true(ip_prefix_eq(&p, &want));
                assert_int_equal(prefix_tree_release(w->t, &p, NULL, NULL, NULL), ERR_OK);
                assert_true(fingerprint(w->t) == before);
            }
        }
        for (unsigned len = 29; len <= 32; len++) { /* by name */
            for (uint32_t cell = 0; cell < w->m.cells; cell += cells_of(&w->m, len)) {
                struct ip_prefix p = at(&w->m, cell, len);
                uint8_t value = w->m.res[cell] ? (uint8_t)(MODEL_TAG | w->m.res[cell]) : MODEL_FREE;
                bool may = model_uniform(&w->m, cell, len, value, w->m.res_len[cell]) &&
                           (w->m.res[cell] == 0 || w->m.res[cell] == tag);
                struct prefix_conflict why;
                bool ok = prefix_tree_allocate_exact(w->t, &p, tag, 1, &why, NULL) == ERR_OK;
                w->steps++;
                assert_int_equal(ok, may);
                assert_int_equal(ok, why.reason == PREFIX_WHY_NONE);
                if (!ok) {
                    continue;
                }
                model_use(&w->m, cell, len);
                must_agree(w, "taking", cell, len);
                if (visit(w, state_key(&w->m, reservation))) {
                    explore(w, reservation);
                }
                assert_int_equal(prefix_tree_release(w->t, &p, NULL, NULL, NULL), ERR_OK);
                model_release(&w->m, cell);
                must_agree(w, "giving back", cell, len);
                assert_true(fingerprint(w->t) == before);
            }
        }
    }
    for (uint32_t cell = 0; cell < w->m.cells; cell++) { /* giving back any of them, and again */
        unsigned len = w->m.used_len[cell];
        if (len == 0) {
            continue;
        }
        struct ip_prefix p = at(&w->m, cell, len);
        assert_int_equal(prefix_tree_release(w->t, &p, NULL, NULL, NULL), ERR_OK);
        model_release(&w->m, cell);
        must_agree(w, "giving back", cell, len);
        assert_int_equal(prefix_tree_restore(w->t, &p, w->m.res[cell], 1, NULL, NULL), ERR_OK);
        model_use(&w->m, cell, len);
        must_agree(w, "restoring", cell, len);
        assert_true(fingerprint(w->t) == before);
    }
}

/* proves: APM-020 APM-021 APM-022 APM-025 APM-026 APM-027 APM-028 A11 */
static void every_history(void **state) {
    static const struct {
        uint32_t cell;
        unsigned len;
    } reserve[] = {{0, 0}, {2, 31}, {4, 30}, {0, 29}};
    static struct walk w;
    for (unsigned i = 0; i < sizeof reserve / sizeof *reserve; i++) {
        memset(&w, 0, sizeof w);
        w.m = model_new(0x0a000000, 29, 32);
        w.t = tree_of(&w.m);
        if (reserve[i].len > 0) {
            struct ip_prefix p = at(&w.m, reserve[i].cell, reserve[i].len);
            uint32_t n = cells_of(&w.m, reserve[i].len);
            assert_int_equal(prefix_tree_reserve(w.t, &p, 1, NULL, NULL, NULL), ERR_OK);
            memset(w.m.cell + reserve[i].cell, MODEL_TAG | 1, n);
            memset(w.m.res + reserve[i].cell, 1, n);
            memset(w.m.res_len + reserve[i].cell, (int)reserve[i].len, n);
        }
        visit(&w, state_key(&w.m, i));
        explore(&w, i);
        /* A block is free, taken or cut in two: f(k) = 1 + f(k-1)^2, f(0) = 2, so 677 for k = 3.
         * The reserved /31 rules out the /29 and the /30 around it: 26 * 25 = 650; the /30 only
         * the /29: 26 * 26 = 676. */
        static const uint64_t states[] = {677, 650, 676, 677};
        assert_int_equal(w.states, states[i]);
        prefix_tree_free(w.t);
        model_free(&w.m);
    }
}

/* ---- a million prefixes ---- */

struct history {
    struct prefix_tree *t;
    struct model m;
    struct rng rng;
    uint64_t seed, step;
    struct ip_prefix *held; /* all allocated ones, in no order */
    size_t n, cap;
};

static void hold(struct history *h, const struct ip_prefix *p) {
    if (h->n == h->cap) {
        h->cap = h->cap * 2 + 64;
        h->held = mem_array(h->held, h->cap, sizeof *h->held);
    }
    h->held[h->n++] = *p;
}

static uint32_t cell_at(const struct history *h, const struct ip_prefix *p) {
    return (ip4_value(&p->addr) - h->m.base) >> (32 - h->m.max_len);
}

/* The model marks what was given: it must have been free, for this requester. */
static void given(struct history *h, const struct ip_prefix *p, uint8_t tag) {
    uint32_t cell = cell_at(h, p);
    for (uint32_t i = cell; i < cell + cells_of(&h->m, p->len); i++) {
        if (h->m.cell[i] == MODEL_USED || (h->m.res[i] != 0 && h->m.res[i] != tag) ||
            h->m.res_len[i] != h->m.res_len[cell]) {
            fail_msg("seed %" PRIu64 " step %" PRIu64 ": given twice, or not the requester's",
                     h->seed, h->step);
        }
    }
    model_use(&h->m, cell, p->len);
    hold(h, p);
}

static void one_step(struct history *h, unsigned percent_take) {
    uint8_t tag = (uint8_t)rng_below(&h->rng, 4);
    h->step++;
    if (rng_chance(&h->rng, percent_take) || h->n == 0) {
        struct ip_prefix p;
        unsigned len = h->m.max_len - (unsigned)__builtin_ctzll(rng_next(&h->rng) | 1 << 8);
        prefix_owner owner = mix(h->seed, h->step);
        if (rng_chance(&h->rng, 20)) {
            p = at(&h->m, (uint32_t)rng_below(&h->rng, h->m.cells) & ~(cells_of(&h->m, len) - 1),
                   len);
            if (prefix_tree_allocate_exact(h->t, &p, tag, owner, NULL, NULL) == ERR_OK) {
                given(h, &p, tag);
            }
        } else if (prefix_tree_allocate(h->t, len, tag, false, owner, &p, NULL, NULL) == ERR_OK) {
            given(h, &p, tag);
        }
        return;
    }
    size_t i = rng_below(&h->rng, h->n);
    struct ip_prefix p = h->held[i];
    h->held[i] = h->held[--h->n];
    if (prefix_tree_release(h->t, &p, NULL, NULL, NULL) != ERR_OK) {
        fail_msg("seed %" PRIu64 " step %" PRIu64 ": not found again", h->seed, h->step);
    }
    model_release(&h->m, cell_at(h, &p));
}

/* Another tree from the same sets, put in by chance: the same in every respect, and with the same
 * next answers. */
static void rebuilt_is_equal(struct history *h) {
    struct prefix_tree *u = tree_of(&h->m);
    struct prefix_info i;
    for (struct ip_prefix p, *after = NULL; prefix_tree_next_reservation(h->t, after, &i);) {
        assert_int_equal(prefix_tree_reserve(u, &i.reservation, i.tag, NULL, NULL, NULL), ERR_OK);
        p = i.reservation;
        after = &p;
    }
    for (size_t k = h->n; k > 1; k--) {
        size_t j = rng_below(&h->rng, k);
        struct ip_prefix p = h->held[k - 1];
        h->held[k - 1] = h->held[j];
        h->held[j] = p;
    }
    for (size_t k = 0; k < h->n; k++) {
        assert_true(prefix_tree_lookup(h->t, &h->held[k], &i) == PREFIX_ALLOCATED);
        assert_int_equal(prefix_tree_restore(u, &h->held[k], i.tag, i.owner, NULL, NULL), ERR_OK);
    }
    if (fingerprint(u) != fingerprint(h->t)) {
        fail_msg("seed %" PRIu64 ": the history shows", h->seed);
    }
    for (unsigned n = 0; n < 200; n++) {
        struct ip_prefix a, b;
        unsigned len = h->m.max_len - (unsigned)rng_below(&h->rng, 6), tag = n % 4;
        enum err_code x = prefix_tree_allocate(h->t, len, tag, false, n, &a, NULL, NULL);
        enum err_code y = prefix_tree_allocate(u, len, tag, false, n, &b, NULL, NULL);
        if (x != y || (x == ERR_OK && !ip_prefix_eq(&a, &b))) {
            fail_msg("seed %" PRIu64 ": answers differ", h->seed);
        }
        if (x == ERR_OK) {
            given(h, &a, (uint8_t)tag);
        }
    }
    prefix_tree_free(u);
}

static void reserve_some(struct history *h, unsigned n) {
    for (unsigned k = 0; k < n; k++) {
        uint8_t tag = (uint8_t)(1 + rng_below(&h->rng, 3));
        unsigned len = h->m.max_len - (unsigned)rng_below(&h->rng, 7);
        uint32_t cells = cells_of(&h->m, len),
                 cell = (uint32_t)rng_below(&h->rng, h->m.cells) & ~(cells - 1);
        struct ip_prefix p = at(&h->m, cell, len);
        bool may = model_uniform(&h->m, cell, len, MODEL_FREE, 0);
        bool ok = prefix_tree_reserve(h->t, &p, tag, NULL, NULL, NULL) == ERR_OK;
        assert_int_equal(ok, may);
        if (ok) {
            memset(h->m.cell + cell, MODEL_TAG | tag, cells);
            memset(h->m.res + cell, tag, cells);
            memset(h->m.res_len + cell, (int)len, cells);
        }
    }
}

static void unreserve_all(struct history *h) {
    struct prefix_info i;
    while (prefix_tree_next_reservation(h->t, NULL, &i)) {
        uint32_t cell = cell_at(h, &i.reservation), n = cells_of(&h->m, i.reservation.len);
        assert_int_equal(prefix_tree_unreserve(h->t, &i.reservation, NULL), ERR_OK);
        for (uint32_t k = cell; k < cell + n; k++) {
            h->m.cell[k] = h->m.cell[k] == MODEL_USED ? MODEL_USED : MODEL_FREE;
            h->m.res[k] = h->m.res_len[k] = 0;
        }
    }
}

static struct history history_new(uint64_t seed, unsigned root_len, unsigned max_len) {
    struct history h = {.seed = seed};
    h.m = model_new(root_len < 8 ? 0 : 0x0a000000, root_len, max_len);
    h.t = tree_of(&h.m);
    rng_seed(&h.rng, seed);
    return h;
}

static void history_free(struct history *h) {
    prefix_tree_free(h->t);
    model_free(&h->m);
    mem_free(h->held);
}

/* proves: APM-021 APM-026 APM-027 APM-028 A11 */
static void small_histories(void **state) {
    for (uint64_t k = 0; k < 24; k++) {
        struct history h = history_new(seed_or(100 + k), 20, 28);
        for (unsigned round = 0; round < 8; round++) {
            for (unsigned n = 0; n < 150; n++) {
                /* Beforehand, the model's own choice. */
                uint32_t cell;
                unsigned want = 20 + (unsigned)rng_below(&h.rng, 9), len;
                uint8_t tag = (uint8_t)rng_below(&h.rng, 4);
                bool can = model_pick(&h.m, want, tag, &cell, &len);
                struct ip_prefix p, q;
                bool ok = prefix_tree_allocate(h.t, want, tag, false, 0, &p, NULL, NULL) == ERR_OK;
                assert_int_equal(ok, can);
                if (ok) {
                    q = at(&h.m, cell, len);
                    if (!ip_prefix_eq(&p, &q)) {
                        fail_msg("seed %" PRIu64 ": not the rule's choice", h.seed);
                    }
                    assert_int_equal(prefix_tree_release(h.t, &p, NULL, NULL, NULL), ERR_OK);
                }
                one_step(&h, round % 2 ? 30 : 70);
                check(h.t, h.seed, h.step);
            }
            if (!same(h.t, &h.m)) {
                fail_msg("seed %" PRIu64 " round %u: differs from the model", h.seed, round);
            }
            if (round % 4 == 3) {
                unreserve_all(&h);
            } else {
                reserve_some(&h, 6);
            }
            check(h.t, h.seed, h.step);
            assert_true(same(h.t, &h.m));
            rebuilt_is_equal(&h);
        }
        history_free(&h);
    }
}

/* proves: APM-028 A11 */
static void a_million(void **state) {
    struct history h = history_new(seed_or(20261121), 8, 30);
    struct prefix_stats s;
    for (unsigned k = 0; k < 40; k++) { /* reservations of some size, before the crowd */
        struct ip_prefix p = at(&h.m, k << 14, 24);
        uint8_t tag = (uint8_t)(k % 3 + 1);
        assert_int_equal(prefix_tree_reserve(h.t, &p, tag, NULL, NULL, NULL), ERR_OK);
        memset(h.m.cell + (k << 14), MODEL_TAG | tag, 64);
        memset(h.m.res + (k << 14), tag, 64);
        memset(h.m.res_len + (k << 14), 24, 64);
    }
    while (h.n < 1000000) {
        one_step(&h, 90);
    }
    check(h.t, h.seed, h.step);
    assert_true(same(h.t, &h.m));
    prefix_tree_stats(h.t, &s);
    assert_true(s.prefixes == h.n);
    assert_true(s.memory <= 64 * s.prefixes);
    for (unsigned k = 0; k < 300000; k++) {
        one_step(&h, 45);
    }
    check(h.t, h.seed, h.step);
    assert_true(same(h.t, &h.m));
    rebuilt_is_equal(&h);
    /* Undo: a plan of 1,000 allocations taken back leaves no trace. */
    uint64_t before = fingerprint(h.t);
    struct ip_prefix plan[1000];
    for (unsigned k = 0; k < 1000; k++) {
        assert_int_equal(
            prefix_tree_allocate(h.t, 24 + k % 7, k % 4, false, 1, &plan[k], NULL, NULL), ERR_OK);
    }
    assert_true(fingerprint(h.t) != before);
    for (unsigned k = 0; k < 1000; k++) {
        assert_int_equal(prefix_tree_release(h.t, &plan[k], NULL, NULL, NULL), ERR_OK);
    }
    assert_true(fingerprint(h.t) == before);
    unreserve_all(&h);
    check(h.t, h.seed, h.step);
    assert_true(same(h.t, &h.m));
    while (h.n > 0) {
        one_step(&h, 0);
    }
    check(h.t, h.seed, h.step);
    prefix_tree_stats(h.t, &s);
    assert_true(s.free == s.total && s.free_blocks[8] == 1); /* one block again */
    assert_true(s.memory < 8000);
    history_free(&h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_history),
        cmocka_unit_test(small_histories),
        cmocka_unit_test(a_million),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
