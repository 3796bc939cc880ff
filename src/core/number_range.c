// SPDX-License-Identifier: Apache-2.0
#include "core/number_range.h"

#include <inttypes.h>

#include "base/mem.h"

#define NONE UINT32_MAX

enum { ALLOCATED = 1, RESERVED = 2, STATES = 4 }; /* bits of a run's state; 0: free */

typedef unsigned __int128 u128;

struct run {
    uint64_t first, last;
    uint32_t left, right; /* indices; NONE */
    uint32_t priority;
    uint8_t state;
    bool free_below; /* this run or one below it is free */
};

struct number_range {
    struct run *runs; /* runs[0..count): dense */
    uint32_t count, cap, top;
    uint32_t chance;      /* source of priorities */
    u128 numbers[STATES]; /* how many are in each state */
};

struct number_range *number_range_new(void) {
    struct number_range *r = MEM_NEW(struct number_range);
    r->top = NONE;
    r->chance = 1;
    return r;
}

void number_range_free(struct number_range *r) {
    if (r != NULL) {
        mem_free(r->runs);
        mem_free(r);
    }
}

/* ---- the treap ---- */

static bool free_below(const struct number_range *r, uint32_t i) {
    return i != NONE && r->runs[i].free_below;
}

static void pull(struct number_range *r, uint32_t i) {
    struct run *n = &r->runs[i];
    n->free_below = n->state == 0 || free_below(r, n->left) || free_below(r, n->right);
}

/* Parts `i` into the runs before `key` and the others. */
static void split(struct number_range *r, uint32_t i, uint64_t key, uint32_t *low, uint32_t *high) {
    if (i == NONE) {
        *low = *high = NONE;
        return;
    }
    uint32_t a, b;
    if (r->runs[i].first < key) {
        split(r, r->runs[i].right, key, &a, &b);
        r->runs[i].right = a;
        *low = i;
        *high = b;
    } else {
        split(r, r->runs[i].left, key, &a, &b);
        r->runs[i].left = b;
        *low = a;
        *high = i;
    }
    pull(r, i);
}

static uint32_t join(struct number_range *r, uint32_t low, uint32_t high) {
    if (low == NONE || high == NONE) {
        return low == NONE ? high : low;
    }
    if (r->runs[low].priority > r->runs[high].priority) {
        r->runs[low].right = join(r, r->runs[low].right, high);
        pull(r, low);
        return low;
    }
    r->runs[high].left = join(r, low, r->runs[high].left);
    pull(r, high);
    return high;
}

static uint32_t insert_below(struct number_range *r, uint32_t i, uint32_t n) {
    if (i == NONE) {
        return n;
    }
    if (r->runs[n].priority > r->runs[i].priority) {
        split(r, i, r->runs[n].first, &r->runs[n].left, &r->runs[n].right);
        pull(r, n);
        return n;
    }
    if (r->runs[n].first < r->runs[i].first) {
        r->runs[i].left = insert_below(r, r->runs[i].left, n);
    } else {
        r->runs[i].right = insert_below(r, r->runs[i].right, n);
    }
    pull(r, i);
    return i;
}

static uint32_t remove_below(struct number_range *r, uint32_t i, uint64_t key) {
    struct run *n = &r->runs[i];
    if (n->first == key) {
        return join(r, n->left, n->right);
    }
    if (key < n->first) {
        n->left = remove_below(r, n->left, key);
    } else {
        n->right = remove_below(r, n->right, key);
    }
    pull(r, i);
    return i;
}

static void insert_run(struct number_range *r, uint64_t first, uint64_t last, uint8_t state) {
    if (r->count == r->cap) {
        r->cap += r->cap / 4 + 4;
        r->runs = mem_array(r->runs, r->cap, sizeof *r->runs);
    }
    r->chance ^= r->chance << 13; /* xorshift32 */
    r->chance ^= r->chance >> 17;
    r->chance ^= r->chance << 5;
    uint32_t n = r->count++;
    r->runs[n] = (struct run){.first = first,
                              .last = last,
                              .left = NONE,
                              .right = NONE,
                              .priority = r->chance,
                              .state = state,
                              .free_below = state == 0};
    r->top = insert_below(r, r->top, n);
}

/* Takes the run out; the last one of the array fills its place. */
static void remove_run(struct number_range *r, uint32_t i) {
    r->top = remove_below(r, r->top, r->runs[i].first);
    uint32_t last = --r->count;
    if (i != last) {
        uint32_t *slot = &r->top;
        while (*slot != last) {
            struct run *n = &r->runs[*slot];
            slot = r->runs[last].first < n->first ? &n->left : &n->right;
        }
        *slot = i;
        r->runs[i] = r->runs[last];
    }
    if (r->cap > 16 && r->count < r->cap / 2) {
        r->cap = r->count + r->count / 4;
        r->runs = mem_array(r->runs, r->cap, sizeof *r->runs);
    }
}

/* The first run that ends at or behind x; NONE. */
static uint32_t run_from(const struct number_range *r, uint64_t x) {
    uint32_t found = NONE;
    for (uint32_t i = r->top; i != NONE;) {
        if (r->runs[i].last >= x) {
            found = i;
            i = r->runs[i].left;
        } else {
            i = r->runs[i].right;
        }
    }
    return found;
}

static uint32_t run_with(const struct number_range *r, uint64_t x) {
    uint32_t i = run_from(r, x);
    return i != NONE && r->runs[i].first <= x ? i : NONE;
}

/* The first free run that ends at or behind x. Only along the path to x can a branch be looked
 * into in vain, so this is O(log runs). */
static uint32_t free_from(const struct number_range *r, uint32_t i, uint64_t x) {
    if (!free_below(r, i)) {
        return NONE;
    }
    const struct run *n = &r->runs[i];
    if (n->last < x) {
        return free_from(r, n->right, x);
    }
    uint32_t left = n->first > x ? free_from(r, n->left, x) : NONE;
    if (left != NONE) {
        return left;
    }
    return n->state == 0 ? i : free_from(r, n->right, x);
}

/* ---- states of intervals ---- */

/* A run begins at x afterwards, if x is in the set. */
static void split_at(struct number_range *r, uint64_t x) {
    uint32_t i = run_with(r, x);
    if (i != NONE && r->runs[i].first < x) {
        uint64_t last = r->runs[i].last;
        r->runs[i].last = x - 1;
        insert_run(r, x, last, r->runs[i].state);
    }
}

static void split_ends(struct number_range *r, uint64_t first, uint64_t last) {
    split_at(r, first);
    if (last < UINT64_MAX) {
        split_at(r, last + 1);
    }
}

/* Joins the run that begins at x with the one before it, if they touch and are alike. */
static void merge_at(struct number_range *r, uint64_t x) {
    uint32_t i = run_with(r, x), before = x > 0 ? run_with(r, x - 1) : NONE;
    if (i == NONE || before == NONE || i == before || r->runs[i].state != r->runs[before].state) {
        return;
    }
    r->runs[before].last = r->runs[i].last;
    remove_run(r, i);
}

static uint8_t set_state(struct number_range *r, uint32_t i, uint64_t key, uint8_t set,
                         uint8_t clear) {
    struct run *n = &r->runs[i];
    uint8_t old;
    if (n->first == key) {
        old = n->state;
        n->state = (uint8_t)((n->state | set) & ~clear);
    } else {
        old = set_state(r, key < n->first ? n->left : n->right, key, set, clear);
    }
    pull(r, i);
    return old;
}

/* All of first..last must be in the set. */
static void paint(struct number_range *r, uint64_t first, uint64_t last, uint8_t set,
                  uint8_t clear) {
    split_ends(r, first, last);
    for (uint64_t x = first;;) {
        uint32_t i = run_with(r, x);
        uint64_t end = r->runs[i].last;
        u128 n = (u128)(end - x) + 1;
        uint8_t old = set_state(r, r->top, x, set, clear);
        r->numbers[old] -= n;
        r->numbers[(old | set) & ~clear] += n;
        merge_at(r, x);
        if (end == last) {
            break;
        }
        x = end + 1;
    }
    if (last < UINT64_MAX) {
        merge_at(r, last + 1);
    }
}

static enum err_code order_ok(uint64_t first, uint64_t last, struct err *e) {
    if (first > last) {
        return err_set(e, ERR_INVALID, NULL, "the range %" PRIu64 "-%" PRIu64 " is upside down",
                       first, last);
    }
    return ERR_OK;
}

/* Whether all of first..last is in the set and has one of the states in `states` (bit per state);
 * the first number that is not is named. */
static enum err_code all_ok(const struct number_range *r, uint64_t first, uint64_t last,
                            unsigned states, struct err *e) {
    ERR_TRY(order_ok(first, last, e));
    for (uint64_t x = first;; x = r->runs[run_with(r, x)].last + 1) {
        uint32_t i = run_with(r, x);
        if (i == NONE) {
            return err_set(e, ERR_ABSENT, NULL, "%" PRIu64 " is in no range", x);
        }
        if (!(states >> r->runs[i].state & 1)) {
            return r->runs[i].state & ALLOCATED
                       ? err_set(e, ERR_IN_USE, NULL, "%" PRIu64 " is in use", x)
                       : err_set(e, ERR_ABSENT, NULL, "%" PRIu64 " is not in use", x);
        }
        if (r->runs[i].last >= last) {
            return ERR_OK;
        }
    }
}

enum { ANY = 15, NOT_ALLOCATED = 1 | 4, IS_ALLOCATED = 2 | 8 }; /* bit sets of states */

enum err_code number_range_add(struct number_range *r, uint64_t first, uint64_t last,
                               struct err *e) {
    ERR_TRY(order_ok(first, last, e));
    uint32_t i = run_from(r, first);
    if (i != NONE && r->runs[i].first <= last) {
        uint64_t from = r->runs[i].first > first ? r->runs[i].first : first;
        return err_set(e, ERR_EXISTS, NULL,
                       "the range %" PRIu64 "-%" PRIu64 " overlaps another at %" PRIu64, first,
                       last, from);
    }
    insert_run(r, first, last, 0);
    r->numbers[0] += (u128)(last - first) + 1;
    merge_at(r, first);
    if (last < UINT64_MAX) {
        merge_at(r, last + 1);
    }
    return ERR_OK;
}

enum err_code number_range_remove(struct number_range *r, uint64_t first, uint64_t last,
                                  struct err *e) {
    ERR_TRY(all_ok(r, first, last, NOT_ALLOCATED, e));
    split_ends(r, first, last);
    for (uint32_t i; (i = run_from(r, first)) != NONE && r->runs[i].first <= last;) {
        r->numbers[r->runs[i].state] -= (u128)(r->runs[i].last - r->runs[i].first) + 1;
        remove_run(r, i);
    }
    return ERR_OK;
}

enum err_code number_range_reserve(struct number_range *r, uint64_t first, uint64_t last,
                                   struct err *e) {
    ERR_TRY(all_ok(r, first, last, ANY, e));
    paint(r, first, last, RESERVED, 0);
    return ERR_OK;
}

enum err_code number_range_unreserve(struct number_range *r, uint64_t first, uint64_t last,
                                     struct err *e) {
    ERR_TRY(all_ok(r, first, last, ANY, e));
    paint(r, first, last, 0, RESERVED);
    return ERR_OK;
}

static enum err_code exhausted(uint64_t at_least, struct err *e) {
    return err_set(e, ERR_LIMIT, NULL, "no number from %" PRIu64 " on is free", at_least);
}

enum err_code number_range_allocate(struct number_range *r, uint64_t at_least, bool wrap,
                                    uint64_t *out, struct err *e) {
    uint32_t i = free_from(r, r->top, at_least);
    if (i == NONE && wrap) {
        i = free_from(r, r->top, 0);
        at_least = 0;
    }
    if (i == NONE) {
        return exhausted(at_least, e);
    }
    *out = r->runs[i].first > at_least ? r->runs[i].first : at_least;
    paint(r, *out, *out, ALLOCATED, 0);
    return ERR_OK;
}

enum err_code number_range_allocate_run(struct number_range *r, uint64_t at_least, uint64_t n,
                                        uint64_t *first, struct err *e) {
    if (n == 0) {
        return err_set(e, ERR_INVALID, NULL, "a run of no numbers was asked for");
    }
    for (uint32_t i = free_from(r, r->top, at_least); i != NONE;) {
        const struct run *run = &r->runs[i];
        uint64_t from = run->first > at_least ? run->first : at_least;
        if (run->last - from >= n - 1) {
            *first = from;
            paint(r, from, from + (n - 1), ALLOCATED, 0);
            return ERR_OK;
        }
        i = run->last < UINT64_MAX ? free_from(r, r->top, run->last + 1) : NONE;
    }
    return err_set(e, ERR_LIMIT, NULL, "no %" PRIu64 " consecutive numbers from %" PRIu64 " on %s",
                   n, at_least, "are free");
}

enum err_code number_range_allocate_exact(struct number_range *r, uint64_t n, bool reserved_too,
                                          struct err *e) {
    ERR_TRY(all_ok(r, n, n, NOT_ALLOCATED, e));
    if (!reserved_too && r->runs[run_with(r, n)].state == RESERVED) {
        return err_set(e, ERR_DENIED, NULL, "%" PRIu64 " is reserved", n);
    }
    paint(r, n, n, ALLOCATED, 0);
    return ERR_OK;
}

enum err_code number_range_release(struct number_range *r, uint64_t n, struct err *e) {
    return number_range_release_run(r, n, n, e);
}

enum err_code number_range_release_run(struct number_range *r, uint64_t first, uint64_t last,
                                       struct err *e) {
    ERR_TRY(all_ok(r, first, last, IS_ALLOCATED, e));
    paint(r, first, last, 0, ALLOCATED);
    return ERR_OK;
}

/* ---- looking ---- */

static bool show(const struct number_range *r, uint32_t i, struct number_run *out) {
    if (i == NONE) {
        return false;
    }
    const struct run *n = &r->runs[i];
    *out = (struct number_run){.first = n->first,
                               .last = n->last,
                               .allocated = (n->state & ALLOCATED) != 0,
                               .reserved = (n->state & RESERVED) != 0};
    return true;
}

bool number_range_lookup(const struct number_range *r, uint64_t n, struct number_run *out) {
    return show(r, run_with(r, n), out);
}

bool number_range_next(const struct number_range *r, uint64_t from, struct number_run *out) {
    return show(r, run_from(r, from), out);
}

static uint64_t saturated(u128 n) {
    return n > UINT64_MAX ? UINT64_MAX : (uint64_t)n;
}

void number_range_stats(const struct number_range *r, struct number_stats *out) {
    u128 allocated = r->numbers[ALLOCATED] + r->numbers[ALLOCATED | RESERVED];
    *out =
        (struct number_stats){.total = saturated(r->numbers[0] + r->numbers[RESERVED] + allocated),
                              .free = saturated(r->numbers[0]),
                              .allocated = saturated(allocated),
                              .reserved = saturated(r->numbers[RESERVED]),
                              .runs = r->count,
                              .memory = sizeof *r + r->cap * sizeof *r->runs};
}

struct check {
    const struct number_range *r;
    const struct run *before;
    u128 numbers[STATES];
    uint32_t seen;
};

static enum err_code check_below(struct check *c, uint32_t i, struct err *e) {
    if (i == NONE) {
        return ERR_OK;
    }
    if (i >= c->r->count || c->seen > c->r->count) {
        return err_set(e, ERR_INTERNAL, NULL, "run %u is outside the array", i);
    }
    const struct run *n = &c->r->runs[i], *b;
    uint32_t child[2] = {n->left, n->right};
    for (int k = 0; k < 2; k++) {
        if (child[k] != NONE && c->r->runs[child[k]].priority > n->priority) {
            return err_set(e, ERR_INTERNAL, NULL, "run %" PRIu64 ": not a heap", n->first);
        }
    }
    ERR_TRY(check_below(c, n->left, e));
    b = c->before;
    if (n->first > n->last || (b != NULL && b->last >= n->first) ||
        (b != NULL && b->last + 1 == n->first && b->state == n->state)) {
        return err_set(e, ERR_INTERNAL, NULL, "run %" PRIu64 " does not follow the one before it",
                       n->first);
    }
    if (n->free_below !=
        (n->state == 0 || free_below(c->r, n->left) || free_below(c->r, n->right))) {
        return err_set(e, ERR_INTERNAL, NULL, "run %" PRIu64 ": stale summary", n->first);
    }
    c->before = n;
    c->seen++;
    c->numbers[n->state] += (u128)(n->last - n->first) + 1;
    return check_below(c, n->right, e);
}

enum err_code number_range_check(const struct number_range *r, struct err *e) {
    struct check c = {.r = r};
    ERR_TRY(check_below(&c, r->top, e));
    for (int i = 0; i < STATES; i++) {
        if (c.numbers[i] != r->numbers[i]) {
            return err_set(e, ERR_INTERNAL, NULL, "the count of state %d is wrong", i);
        }
    }
    if (c.seen != r->count) {
        return err_set(e, ERR_INTERNAL, NULL, "%u of %u runs reached", c.seen, r->count);
    }
    return ERR_OK;
}
