// SPDX-License-Identifier: Apache-2.0
#include "log/conformance.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rng.h"
#include "log/log.h"
#include "log/testing.h"

/* ---- scaffolding ---- */

static const struct conformance_engine *engine;

struct fixture {
    char url[256];
    struct log *log;
    uint64_t fence;
    struct clock clock;
};

static void lease(struct fixture *f) {
    struct log_lease l = {.holder = "test", .ttl_ns = 60 * NS_PER_S};
    OK(log_lease_acquire(f->log, &l, &e_));
    f->fence = l.fence;
}

static void open_again(struct fixture *f) {
    struct log_options o = {.clock = &f->clock};
    log_close(f->log);
    f->log = NULL;
    OK(log_open(f->url, &o, &f->log, &e_));
    lease(f);
}

static int set_up(void **state) {
    struct fixture *f = MEM_NEW(struct fixture);
    engine->fresh(f->url, sizeof f->url);
    clock_fake_init(&f->clock, INT64_C(1700000000) * NS_PER_S);
    *state = f;
    open_again(f);
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    log_close(f->log);
    engine->remove(f->url);
    mem_free(f);
    return 0;
}

static enum err_code append_ops(struct fixture *f, const char *why, const struct log_op *ops,
                                size_t n) {
    struct log_entry e = {.who = "someone", .why = why, .ops = ops, .n_ops = n};
    return log_append(f->log, log_head(f->log), f->fence, &e, 1, &e_);
}

static void append_one(struct fixture *f, uint8_t space, const char *key, const char *value) {
    struct log_op op = testing_put(space, key, value);
    OK(append_ops(f, "", &op, 1));
}

/* A snapshot as text: "key=value@modified " for every row. */
static bool print_row(const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len,
                      uint64_t modified, void *arg) {
    assert_non_null(value);
    buf_printf(arg, "%.*s=%.*s@%" PRIu64 " ", (int)key_len, (const char *)key, (int)value_len,
               (const char *)value, modified);
    return true;
}

static void expect_snapshot(struct fixture *f, enum log_space space, const char *prefix,
                            const char *want) {
    struct buf b = BUF_INIT;
    uint64_t at = 0;
    OK(log_snapshot(f->log, space, prefix, strlen(prefix), &at, print_row, &b, &e_));
    assert_string_equal(buf_cstr(&b), want);
    assert_int_equal(at, log_head(f->log));
    buf_free(&b);
}

/* Entries as text: "index:why(ops) ". */
static bool print_entry(const struct log_entry *e, void *arg) {
    buf_printf(arg, "%" PRIu64 ":%s(%zu) ", e->index, e->why, e->n_ops);
    return true;
}

static void expect_read(struct fixture *f, uint64_t from, uint64_t to, const char *want) {
    struct buf b = BUF_INIT;
    OK(log_read(f->log, from, to, print_entry, &b, &e_));
    assert_string_equal(buf_cstr(&b), want);
    buf_free(&b);
}

/* ---- tests ---- */

static void test_empty(void **state) {
    struct fixture *f = *state;
    assert_int_equal(log_head(f->log), 0);
    assert_int_equal(log_config_head(f->log), 0);
    expect_read(f, 0, UINT64_MAX, "");
    expect_snapshot(f, LOG_CONFIG, "", "");
    expect_snapshot(f, LOG_STATE, "", "");
    open_again(f);
    assert_int_equal(log_head(f->log), 0);
}

static bool check_fields(const struct log_entry *e, void *arg) {
    struct fixture *f = arg;
    assert_int_equal(e->index, 2);
    assert_int_equal(e->time_ns, f->clock.fake_wall);
    assert_string_equal(e->who, "jöe");
    assert_string_equal(e->why, "because");
    assert_int_equal(e->fence, f->fence);
    assert_int_equal(e->flags, 0xfedcba98u);
    assert_int_equal(e->prev_config, 1);
    assert_int_equal(e->n_ops, 4);
    assert_int_equal(e->ops[0].space, LOG_CONFIG);
    assert_memory_equal(e->ops[0].key, "a\0b", 3);
    assert_memory_equal(e->ops[0].value, "\0\xff", 2);
    assert_int_equal(e->ops[0].value_len, 2);
    assert_non_null(e->ops[1].value);
    assert_int_equal(e->ops[1].value_len, 0);
    assert_int_equal(e->ops[2].space, LOG_STATE);
    assert_null(e->ops[2].value);
    assert_int_equal(e->ops[3].key_len, LOG_KEY_MAX);
    return true;
}

static void test_entry_kept_whole(void **state) {
    struct fixture *f = *state;
    uint8_t long_key[LOG_KEY_MAX];
    memset(long_key, 0xff, sizeof long_key);
    append_one(f, LOG_CONFIG, "first", "1");
    struct log_op ops[] = {
        {LOG_CONFIG, (const uint8_t *)"a\0b", 3, (const uint8_t *)"\0\xff", 2},
        {LOG_STATE, (const uint8_t *)"empty", 5, (const uint8_t *)"", 0},
        {LOG_STATE, (const uint8_t *)"gone", 4, NULL, 0},
        {LOG_STATE, long_key, sizeof long_key, (const uint8_t *)"x", 1},
    };
    struct log_entry e = {
        .who = "jöe", .why = "because", .flags = 0xfedcba98u, .ops = ops, .n_ops = 4};
    clock_fake_advance(&f->clock, 5 * NS_PER_S);
    OK(log_append(f->log, 1, f->fence, &e, 1, &e_));
    assert_true(check_fields(&e, f)); /* append tells what it set */
    OK(log_read(f->log, 2, 2, check_fields, f, &e_));
    uint64_t fence = f->fence;
    open_again(f);
    f->fence = fence;
    OK(log_read(f->log, 2, 2, check_fields, f, &e_));
}

static void test_no_operations(void **state) {
    struct fixture *f = *state;
    OK(append_ops(f, "a mark", NULL, 0));
    expect_read(f, 1, UINT64_MAX, "1:a mark(0) ");
    expect_snapshot(f, LOG_STATE, "", "");
}

static void test_conflict(void **state) {
    struct fixture *f = *state;
    append_one(f, LOG_CONFIG, "a", "1");
    struct log_op op = testing_put(LOG_CONFIG, "a", "2");
    struct log_entry e = {.why = "x", .ops = &op, .n_ops = 1};
    FAILS(log_append(f->log, 0, f->fence, &e, 1, &e_), ERR_CONFLICT);
    FAILS(log_append(f->log, 2, f->fence, &e, 1, &e_), ERR_CONFLICT);
    assert_int_equal(e.index, 0);
    assert_int_equal(log_head(f->log), 1);
    expect_snapshot(f, LOG_CONFIG, "", "a=1@1 ");
    open_again(f);
    expect_read(f, 1, UINT64_MAX, "1:(1) ");
}

/* proves: APM-124 */
static void test_fence(void **state) {
    struct fixture *f = *state;
    struct log_op op = testing_put(LOG_CONFIG, "a", "1");
    uint64_t first = f->fence;
    assert_true(first > 0);
    lease(f);
    assert_true(f->fence > first);
    uint64_t second = f->fence;
    f->fence = first;
    FAILS(append_ops(f, "", &op, 1), ERR_UNAVAILABLE);
    f->fence = second + 1;
    FAILS(append_ops(f, "", &op, 1), ERR_UNAVAILABLE);
    f->fence = second;
    OK(append_ops(f, "", &op, 1));
    struct log_lease l = {.holder = "test", .ttl_ns = NS_PER_S, .fence = first};
    FAILS(log_lease_renew(f->log, &l, &e_), ERR_UNAVAILABLE);
    FAILS(log_lease_release(f->log, &l, &e_), ERR_UNAVAILABLE);
    l.fence = second;
    OK(log_lease_renew(f->log, &l, &e_));
    OK(log_lease_release(f->log, &l, &e_));
    FAILS(append_ops(f, "", &op, 1), ERR_UNAVAILABLE);
    FAILS(log_lease_renew(f->log, &l, &e_), ERR_UNAVAILABLE);
    open_again(f);
    assert_true(f->fence > second);
    l.holder = "";
    FAILS(log_lease_acquire(f->log, &l, &e_), ERR_INVALID);
}

static void test_batch(void **state) {
    struct fixture *f = *state;
    struct log_op ops[] = {testing_put(LOG_CONFIG, "c", "1"), testing_put(LOG_STATE, "s", "1"),
                           testing_put(LOG_CONFIG, "c", "2")};
    struct log_entry batch[] = {{.why = "one", .ops = &ops[0], .n_ops = 1},
                                {.why = "two", .ops = &ops[1], .n_ops = 1},
                                {.why = "three", .ops = &ops[2], .n_ops = 1}};
    OK(log_append(f->log, 0, f->fence, batch, 3, &e_));
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(batch[i].index, i + 1);
        assert_int_equal(batch[i].prev_config, i == 0 ? 0 : 1);
    }
    assert_int_equal(log_head(f->log), 3);
    assert_int_equal(log_config_head(f->log), 3);
    append_one(f, LOG_STATE, "s", "2");
    assert_int_equal(log_config_head(f->log), 3);
    expect_read(f, 1, UINT64_MAX, "1:one(1) 2:two(1) 3:three(1) 4:(1) ");
    expect_read(f, 2, 3, "2:two(1) 3:three(1) ");
    expect_read(f, 4, 3, "");
    expect_read(f, 5, UINT64_MAX, "");
    open_again(f);
    assert_int_equal(log_head(f->log), 4);
    assert_int_equal(log_config_head(f->log), 3);
    expect_snapshot(f, LOG_CONFIG, "", "c=2@3 ");
    expect_snapshot(f, LOG_STATE, "", "s=2@4 ");
}

static void test_bad_arguments(void **state) {
    struct fixture *f = *state;
    struct log_op op = testing_put(LOG_CONFIG, "a", "1");
    struct log_entry e = {.ops = &op, .n_ops = 1};
    FAILS(log_append(f->log, 0, f->fence, &e, 0, &e_), ERR_INVALID);
    FAILS(log_append(f->log, 0, f->fence, &e, LOG_BATCH_MAX + 1, &e_), ERR_TOO_BIG);
    op.key_len = 0;
    FAILS(append_ops(f, "", &op, 1), ERR_INVALID);
    assert_string_equal(e_.path, "entry 1 of the batch, operation 1");
    op.key_len = LOG_KEY_MAX + 1;
    FAILS(append_ops(f, "", &op, 1), ERR_TOO_BIG);
    op = testing_put(3, "a", "1");
    FAILS(append_ops(f, "", &op, 1), ERR_INVALID);
    op = testing_put(LOG_STATE, "a", "1");
    op.value_len = (size_t)LOG_VALUE_MAX + 1;
    FAILS(append_ops(f, "", &op, 1), ERR_TOO_BIG);
    op = testing_put(LOG_STATE, "a", NULL);
    op.value_len = 1;
    FAILS(append_ops(f, "", &op, 1), ERR_INVALID);
    op = testing_put(LOG_STATE, "a", "1");
    char *why = mem_alloc(LOG_TEXT_MAX + 2);
    memset(why, 'x', LOG_TEXT_MAX + 1);
    FAILS(append_ops(f, why, &op, 1), ERR_TOO_BIG);
    mem_free(why);
    FAILS(log_snapshot(f->log, 7, "", 0, NULL, print_row, NULL, &e_), ERR_INVALID);
    assert_int_equal(log_head(f->log), 0);
}

static void test_snapshot_order_and_prefix(void **state) {
    struct fixture *f = *state;
    static const char *const keys[] = {"b", "a/2", "a/1", "a", "a0", "\xff\xff", "\xff", "a/"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        append_one(f, LOG_CONFIG, keys[i], "v");
    }
    append_one(f, LOG_STATE, "a/1", "other");
    expect_snapshot(f, LOG_CONFIG, "",
                    "a=v@4 a/=v@8 a/1=v@3 a/2=v@2 a0=v@5 b=v@1 \xff=v@7 \xff\xff=v@6 ");
    expect_snapshot(f, LOG_CONFIG, "a/", "a/=v@8 a/1=v@3 a/2=v@2 ");
    expect_snapshot(f, LOG_CONFIG, "\xff", "\xff=v@7 \xff\xff=v@6 ");
    expect_snapshot(f, LOG_CONFIG, "\xff\xff", "\xff\xff=v@6 ");
    expect_snapshot(f, LOG_CONFIG, "zz", "");
    expect_snapshot(f, LOG_STATE, "a", "a/1=other@9 ");
}

static void test_last_operation_wins(void **state) {
    struct fixture *f = *state;
    struct log_op ops[] = {
        testing_put(LOG_STATE, "a", "1"),  testing_put(LOG_STATE, "b", "1"),
        testing_put(LOG_STATE, "a", NULL), testing_put(LOG_STATE, "b", NULL),
        testing_put(LOG_STATE, "b", "2"),  testing_put(LOG_STATE, "never", NULL)};
    OK(append_ops(f, "", ops, 6));
    expect_snapshot(f, LOG_STATE, "", "b=2@1 ");
    append_one(f, LOG_STATE, "b", NULL);
    append_one(f, LOG_STATE, "a", "3");
    expect_snapshot(f, LOG_STATE, "", "a=3@3 ");
    open_again(f);
    expect_snapshot(f, LOG_STATE, "", "a=3@3 ");
}

static void test_fold_in_pieces(void **state) {
    struct fixture *f = *state;
    enum { N = 100 };
    struct log_op ops[N];
    char keys[N][8];
    for (int i = 0; i < N; i++) {
        snprintf(keys[i], sizeof keys[i], "k%03d", i);
        ops[i] = testing_put(LOG_STATE, keys[i], "v");
    }
    OK(append_ops(f, "", ops, N));
    append_one(f, LOG_STATE, "k000", "w");
    size_t left = 0, before = N + 1;
    struct log_status st;
    for (int i = 0; i < 5; i++) {
        OK(log_fold(f->log, 7, &left, &e_));
        assert_in_range(left, 0, before - 1);
        log_status(f->log, &st);
        assert_int_equal(st.unfolded_ops, left);
        before = left;
    }
    /* Closed in the middle of an entry or not, the tables end in the same place. */
    open_again(f);
    OK(log_fold(f->log, 0, &left, &e_));
    assert_int_equal(left, 0);
    log_status(f->log, &st);
    assert_int_equal(st.folded, 2);
    expect_snapshot(f, LOG_STATE, "k00",
                    "k000=w@2 k001=v@1 k002=v@1 k003=v@1 k004=v@1 k005=v@1 k006=v@1 k007=v@1 "
                    "k008=v@1 k009=v@1 ");
}

static bool stop_at_two(const struct log_entry *e, void *arg) {
    return ++*(int *)arg < 2;
}

static bool row_stop(const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len,
                     uint64_t modified, void *arg) {
    return ++*(int *)arg < 2;
}

static void test_stop_early(void **state) {
    struct fixture *f = *state;
    for (int i = 0; i < 5; i++) {
        char key[2] = {(char)('a' + i), 0};
        append_one(f, LOG_STATE, key, "v");
    }
    int n = 0;
    OK(log_read(f->log, 1, UINT64_MAX, stop_at_two, &n, &e_));
    assert_int_equal(n, 2);
    n = 0;
    OK(log_snapshot(f->log, LOG_STATE, "", 0, NULL, row_stop, &n, &e_));
    assert_int_equal(n, 2);
}

static bool append_inside(const struct log_entry *e, void *arg) {
    struct fixture *f = arg;
    append_one(f, LOG_STATE, "inside", "v");
    uint64_t head = log_head(f->log);
    struct buf b = BUF_INIT;
    OK(log_read(f->log, head, head, print_entry, &b, &e_));
    assert_true(b.len > 0);
    buf_free(&b);
    return true;
}

static bool append_in_snapshot(const uint8_t *key, size_t key_len, const uint8_t *value,
                               size_t value_len, uint64_t modified, void *arg) {
    struct fixture *f = arg;
    append_one(f, LOG_STATE, "zz", "seen only by the next snapshot");
    struct buf b = BUF_INIT;
    OK(log_snapshot(f->log, LOG_STATE, "zz", 2, NULL, print_row, &b, &e_));
    assert_true(b.len > 0);
    buf_free(&b);
    assert_memory_not_equal(key, "zz", key_len < 2 ? key_len : 2);
    return true;
}

static void test_callbacks_may_call(void **state) {
    struct fixture *f = *state;
    append_one(f, LOG_STATE, "a", "v");
    append_one(f, LOG_STATE, "b", "v");
    OK(log_read(f->log, 1, UINT64_MAX, append_inside, f, &e_));
    assert_int_equal(log_head(f->log), 4); /* those appended meanwhile are not read */
    OK(log_snapshot(f->log, LOG_STATE, "", 0, NULL, append_in_snapshot, f, &e_));
}

struct seen {
    uint64_t next;
    int batches;
};

static void see(const struct log_entry *entries, size_t n, void *arg) {
    struct seen *s = arg;
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(entries[i].index, s->next++);
    }
    s->batches++;
}

static void test_watch(void **state) {
    struct fixture *f = *state;
    append_one(f, LOG_STATE, "a", "v");
    struct seen s = {.next = 2}, t = {.next = 2};
    struct log_watch *w = log_watch(f->log, see, &s);
    struct log_watch *v = log_watch(f->log, see, &t);
    struct log_op op = testing_put(LOG_STATE, "a", "v");
    struct log_entry batch[] = {{.ops = &op, .n_ops = 1}, {.ops = &op, .n_ops = 1}};
    OK(log_append(f->log, 1, f->fence, batch, 2, &e_));
    FAILS(log_append(f->log, 1, f->fence, batch, 2, &e_), ERR_CONFLICT);
    log_unwatch(f->log, v);
    append_one(f, LOG_STATE, "a", "v");
    assert_int_equal(s.next, 5);
    assert_int_equal(s.batches, 2);
    assert_int_equal(t.next, 4);
    log_unwatch(f->log, w);
    append_one(f, LOG_STATE, "a", "v");
    assert_int_equal(s.next, 5);
    log_unwatch(f->log, NULL);
    log_watch(f->log, see, &s); /* closing frees it */
}

static void test_large_entry(void **state) {
    struct fixture *f = *state;
    size_t n = 3 << 20;
    uint8_t *value = mem_alloc(n);
    for (size_t i = 0; i < n; i++) {
        value[i] = (uint8_t)(i * 7 + i / 251);
    }
    struct log_op op = {LOG_CONFIG, (const uint8_t *)"big", 3, value, n};
    OK(append_ops(f, "", &op, 1));
    open_again(f);
    struct buf b = BUF_INIT;
    OK(log_snapshot(f->log, LOG_CONFIG, "", 0, NULL, print_row, &b, &e_));
    buf_free(&b);
    mem_free(value);
}

/* The folded tables against a model, over many random batches, folds and reopenings. */
static void test_random_against_model(void **state) {
    struct fixture *f = *state;
    enum { KEYS = 50, STEPS = 150 };
    uint64_t model[KEYS] = {0}, modified[KEYS] = {0}, serial = 0;
    uint64_t seed = 20260101;
    struct rng r;
    rng_seed(&r, seed);
    for (int step = 0; step < STEPS; step++) {
        struct log_entry batch[4];
        struct log_op ops[4][5];
        char text[4][5][2][24];
        size_t n = 1 + rng_below(&r, 4);
        for (size_t i = 0; i < n; i++) {
            batch[i] = (struct log_entry){.ops = ops[i], .n_ops = rng_below(&r, 6)};
            for (size_t k = 0; k < batch[i].n_ops; k++) {
                uint64_t key = rng_below(&r, KEYS);
                bool del = rng_chance(&r, 30);
                model[key] = del ? 0 : ++serial;
                modified[key] = log_head(f->log) + i + 1;
                snprintf(text[i][k][0], 24, "%02" PRIu64, key);
                snprintf(text[i][k][1], 24, "%" PRIu64, serial);
                ops[i][k] = testing_put(LOG_STATE, text[i][k][0], del ? NULL : text[i][k][1]);
            }
        }
        OK(log_append(f->log, log_head(f->log), f->fence, batch, n, &e_));
        if (rng_chance(&r, 30)) {
            OK(log_fold(f->log, 1 + rng_below(&r, 10), NULL, &e_));
        }
        if (rng_chance(&r, 3)) {
            open_again(f);
        }
        if (step % 10 == 0) {
            struct buf want = BUF_INIT;
            for (unsigned key = 0; key < KEYS; key++) {
                if (model[key] != 0) {
                    buf_printf(&want, "%02u=%" PRIu64 "@%" PRIu64 " ", key, model[key],
                               modified[key]);
                }
            }
            expect_snapshot(f, LOG_STATE, "", buf_cstr(&want));
            buf_free(&want);
        }
    }
}

/* Readers in other threads see whole batches only. */
struct reading {
    struct log *log;
    _Atomic bool stop;
    _Atomic int failures;
    _Atomic int rounds;
};

static bool count_rows(const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len,
                       uint64_t modified, void *arg) {
    *(uint64_t *)arg += (uint64_t)atoi((const char *)value);
    return true;
}

static void *reader(void *arg) {
    struct reading *r = arg;
    while (!r->stop) {
        struct err e;
        uint64_t sum = 0, at = 0;
        if (log_snapshot(r->log, LOG_STATE, "", 0, &at, count_rows, &sum, &e) != ERR_OK ||
            (at != 0 && sum != 100)) {
            r->failures++;
        }
        r->rounds++;
    }
    return NULL;
}

static void test_readers_see_whole_batches(void **state) {
    struct fixture *f = *state;
    struct reading r = {.log = f->log};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, reader, &r);
    }
    /* Two keys whose values always add up to 100. */
    for (int i = 0; i < 60 || (r.rounds < 20 && i < 5000); i++) {
        char a[8], b[8];
        snprintf(a, sizeof a, "%d", i % 101);
        snprintf(b, sizeof b, "%d", 100 - i % 101);
        struct log_op ops[] = {{LOG_STATE, (const uint8_t *)"a", 1, (uint8_t *)a, strlen(a) + 1},
                               {LOG_STATE, (const uint8_t *)"b", 1, (uint8_t *)b, strlen(b) + 1}};
        struct log_entry e = {.ops = ops, .n_ops = 2};
        OK(log_append(f->log, log_head(f->log), f->fence, &e, 1, &e_));
    }
    r.stop = true;
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(r.failures, 0);
    assert_true(r.rounds > 0);
}

static void test_open_twice(void **state) {
    struct fixture *f = *state;
    struct log *other;
    FAILS(log_open(f->url, NULL, &other, &e_), ERR_LOCKED);
    assert_null(other);
    append_one(f, LOG_CONFIG, "a", "1");
    FAILS(log_open("nothing:/x", NULL, &other, &e_), ERR_UNSUPPORTED);
    struct log_options must = {.must_exist = true};
    char url[256];
    engine->fresh(url, sizeof url);
    FAILS(log_open(url, &must, &other, &e_), ERR_ABSENT);
    engine->remove(url);
}

/* Opened again it is the same log with the same content; only the right to write must be taken
 * anew. */
static void test_reopen(void **state) {
    struct fixture *f = *state;
    struct seen s = {.next = 3};
    uint8_t before[LOG_ID_LEN], after[LOG_ID_LEN];
    append_one(f, LOG_CONFIG, "a", "1");
    append_one(f, LOG_STATE, "b", "1");
    log_watch(f->log, see, &s);
    log_id(f->log, before);
    uint64_t fence = f->fence;
    OK(log_reopen(f->log, &e_));
    log_id(f->log, after);
    assert_memory_equal(before, after, LOG_ID_LEN);
    assert_int_equal(log_head(f->log), 2);
    assert_int_equal(log_config_head(f->log), 1);
    expect_read(f, 1, UINT64_MAX, "1:(1) 2:(1) ");
    expect_snapshot(f, LOG_CONFIG, "", "a=1@1 ");
    struct log_op op = testing_put(LOG_STATE, "b", "2");
    FAILS(append_ops(f, "", &op, 1), ERR_UNAVAILABLE);
    lease(f);
    assert_true(f->fence > fence);
    append_one(f, LOG_STATE, "b", "2");
    assert_int_equal(s.next, 4); /* who watched still does */
    struct log *other;
    FAILS(log_open(f->url, NULL, &other, &e_), ERR_LOCKED);
    open_again(f);
    expect_snapshot(f, LOG_STATE, "", "b=2@3 ");
}

static bool reopen_inside(const struct log_entry *e, void *arg) {
    struct fixture *f = arg;
    FAILS(log_reopen(f->log, &e_), ERR_LOCKED);
    return true;
}

static void *read_on(void *arg) {
    struct reading *r = arg;
    while (!r->stop) {
        struct buf b = BUF_INIT;
        struct err err;
        r->failures += log_read(r->log, 1, UINT64_MAX, print_entry, &b, &err) != ERR_OK;
        r->failures += strcmp(buf_cstr(&b), "1:(1) ") != 0;
        r->failures += log_snapshot(r->log, LOG_STATE, "", 0, NULL, print_row, &b, &err) != ERR_OK;
        buf_free(&b);
        r->rounds++;
        usleep(100); /* or it would be in use all the time */
    }
    return NULL;
}

static void test_reopen_beside_readers(void **state) {
    struct fixture *f = *state;
    append_one(f, LOG_STATE, "a", "1");
    OK(log_read(f->log, 1, 1, reopen_inside, f, &e_));
    struct reading r = {.log = f->log};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, read_on, &r), 0);
    int opened = 0;
    for (int i = 0; i < 100000 && opened < 20; i++) {
        struct err err;
        enum err_code rc = log_reopen(f->log, &err);
        assert_true(rc == ERR_OK || rc == ERR_LOCKED);
        opened += rc == ERR_OK;
    }
    r.stop = true;
    pthread_join(thread, NULL);
    assert_true(opened > 0);
    assert_int_equal(r.failures, 0);
}

static void test_id(void **state) {
    struct fixture *f = *state;
    uint8_t a[LOG_ID_LEN], b[LOG_ID_LEN];
    log_id(f->log, a);
    open_again(f);
    log_id(f->log, b);
    assert_memory_equal(a, b, LOG_ID_LEN);
}

/* ---- care ---- */

static void say(const char *where, const char *text, void *arg) {
    buf_printf(arg, "%s: %s\n", where, text);
}

static void expect_sound(struct fixture *f) {
    struct buf b = BUF_INIT;
    size_t n = 0;
    OK(log_check(f->log, say, &b, &n, &e_));
    if (n != 0) {
        fail_msg("%zu findings: %s", n, buf_cstr(&b));
    }
    buf_free(&b);
}

static void test_check(void **state) {
    struct fixture *f = *state;
    expect_sound(f);
    append_one(f, LOG_CONFIG, "a", "1");
    append_one(f, LOG_STATE, "b", "1");
    append_one(f, LOG_STATE, "b", NULL);
    append_one(f, LOG_CONFIG, "a", "2");
    expect_sound(f);
    lease(f);
    append_one(f, LOG_STATE, "c", "");
    open_again(f);
    expect_sound(f);
}

/* Config entries at 3, 6, 9, ... 30 and state entries between them, one second apart. */
static void fill(struct fixture *f) {
    for (int i = 1; i <= 30; i++) {
        char value[8];
        snprintf(value, sizeof value, "%d", i);
        append_one(f, i % 3 == 0 ? LOG_CONFIG : LOG_STATE, i % 2 ? "odd" : "even", value);
        clock_fake_advance(&f->clock, NS_PER_S);
    }
}

static void trim(struct fixture *f, uint64_t entries, uint64_t commits, int64_t age_s,
                 uint64_t want) {
    struct log_keep keep = {.entries = entries, .commits = commits, .age_ns = age_s * NS_PER_S};
    uint64_t dropped = 0;
    OK(log_trim(f->log, &keep, &dropped, &e_));
    assert_int_equal(dropped, want);
    expect_sound(f);
}

static void test_trim(void **state) {
    struct fixture *f = *state;
    trim(f, 0, 0, 0, 0);
    fill(f);
    trim(f, 100, 0, 0, 0);
    /* Config entries stay, state entries but the last five go. */
    trim(f, 5, 1000, 0, 17);
    expect_read(f, 1, UINT64_MAX,
                "3:(1) 6:(1) 9:(1) 12:(1) 15:(1) 18:(1) 21:(1) 24:(1) 26:(1) 27:(1) 28:(1) 29:(1) "
                "30:(1) ");
    trim(f, 5, 1000, 0, 0);
    /* The last four commits: 30, 27, 24, 21. */
    trim(f, 5, 4, 0, 6);
    expect_read(f, 1, 25, "21:(1) 24:(1) ");
    open_again(f);
    expect_sound(f);
    /* By age: entry 24 is 7 seconds old now, 21 is 10. */
    trim(f, 5, 1, 8, 1);
    expect_read(f, 1, 25, "24:(1) ");
    trim(f, 0, 0, 0, 5);
    expect_read(f, 1, UINT64_MAX, "30:(1) ");
    assert_int_equal(log_head(f->log), 30);
    open_again(f);
    assert_int_equal(log_head(f->log), 30);
    assert_int_equal(log_config_head(f->log), 30);
    expect_snapshot(f, LOG_CONFIG, "", "even=30@30 odd=27@27 ");
    expect_snapshot(f, LOG_STATE, "", "even=28@28 odd=29@29 ");
    append_one(f, LOG_CONFIG, "odd", "31");
    assert_int_equal(log_head(f->log), 31);
    expect_sound(f);
}

static void test_backup_and_restore(void **state) {
    struct fixture *f = *state;
    char path[] = "/tmp/weft-backup-XXXXXX", url[256];
    close(mkstemp(path));
    uint64_t at = 0;
    FAILS(log_backup(f->log, path, &at, &e_), ERR_EXISTS);
    unlink(path);
    fill(f);
    trim(f, 5, 2, 0, 25);
    OK(log_backup(f->log, path, &at, &e_));
    assert_int_equal(at, 30);
    FAILS(log_backup(f->log, path, &at, &e_), ERR_EXISTS);
    append_one(f, LOG_CONFIG, "later", "1");
    FAILS(log_restore(path, f->url, &e_), ERR_EXISTS);

    uint8_t old_id[LOG_ID_LEN], new_id[LOG_ID_LEN];
    log_id(f->log, old_id);
    uint64_t old_fence = f->fence;
    engine->fresh(url, sizeof url);
    FAILS(log_restore("/nonexistent/backup", url, &e_), ERR_ABSENT);
    FAILS(log_restore("/dev/zero", url, &e_), ERR_INVALID);
    FAILS(log_restore("/tmp", url, &e_), ERR_INVALID);
    OK(log_restore(path, url, &e_));
    log_close(f->log);
    engine->remove(f->url);
    snprintf(f->url, sizeof f->url, "%s", url);
    f->log = NULL;
    open_again(f);
    log_id(f->log, new_id);
    assert_memory_not_equal(old_id, new_id, LOG_ID_LEN);
    assert_true(f->fence > old_fence + 1000);
    assert_int_equal(log_head(f->log), 30);
    expect_snapshot(f, LOG_CONFIG, "", "even=30@30 odd=27@27 ");
    expect_snapshot(f, LOG_STATE, "", "even=28@28 odd=29@29 ");
    expect_read(f, 1, UINT64_MAX, "26:(1) 27:(1) 28:(1) 29:(1) 30:(1) ");
    append_one(f, LOG_CONFIG, "a", "1");
    expect_sound(f);
    unlink(path);
}

/* A backup taken while another thread appends is one state: all of it up to some index. */
struct writing {
    struct fixture *f;
    _Atomic bool stop;
    _Atomic int failures;
};

static void *writer(void *arg) {
    struct writing *w = arg;
    while (!w->stop) {
        uint64_t head = log_head(w->f->log);
        char text[24];
        snprintf(text, sizeof text, "%" PRIu64, head + 1);
        struct log_op ops[] = {testing_put(LOG_STATE, "head", text),
                               testing_put(LOG_STATE, text, "x")};
        struct log_entry e = {.ops = ops, .n_ops = 2};
        struct err err;
        if (log_append(w->f->log, head, w->f->fence, &e, 1, &err) != ERR_OK) {
            w->failures++;
        }
    }
    return NULL;
}

static void test_backup_while_appending(void **state) {
    struct fixture *f = *state;
    struct writing w = {.f = f};
    pthread_t thread;
    append_one(f, LOG_STATE, "head", "1");
    pthread_create(&thread, NULL, writer, &w);
    for (int i = 0; i < 3; i++) {
        char path[64];
        struct fixture copy = {.fence = 0};
        uint64_t at = 0;
        snprintf(path, sizeof path, "/tmp/weft-backup-%ld-%d", (long)getpid(), i);
        usleep(20000);
        OK(log_backup(f->log, path, &at, &e_));
        engine->fresh(copy.url, sizeof copy.url);
        OK(log_restore(path, copy.url, &e_));
        OK(log_open(copy.url, NULL, &copy.log, &e_));
        assert_int_equal(log_head(copy.log), at);
        expect_sound(&copy);
        char want[64];
        snprintf(want, sizeof want, "head=%" PRIu64 "@%" PRIu64 " ", at, at);
        expect_snapshot(&copy, LOG_STATE, "head", want);
        log_close(copy.log);
        engine->remove(copy.url);
        unlink(path);
    }
    w.stop = true;
    pthread_join(thread, NULL);
    assert_int_equal(w.failures, 0);
}

/* Trims, folds, checks and reads beside an appending thread. */
static void test_care_while_appending(void **state) {
    struct fixture *f = *state;
    struct writing w = {.f = f};
    pthread_t thread;
    append_one(f, LOG_STATE, "head", "1");
    pthread_create(&thread, NULL, writer, &w);
    for (int i = 0; i < 5; i++) {
        struct log_keep keep = {.entries = 10, .commits = 1};
        struct log_status st;
        usleep(10000);
        OK(log_trim(f->log, &keep, NULL, &e_));
        expect_sound(f);
        OK(log_fold(f->log, 3, NULL, &e_));
        log_status(f->log, &st);
        assert_false(st.needs_reopen);
        assert_true(st.oldest > 0 && st.oldest <= st.head && st.folded <= st.head);
        assert_true(st.bytes > 0 && st.free_bytes > 0);
    }
    w.stop = true;
    pthread_join(thread, NULL);
    assert_int_equal(w.failures, 0);
}

int log_conformance(const struct conformance_engine *e) {
    engine = e;
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_empty),
        T(test_entry_kept_whole),
        T(test_no_operations),
        T(test_conflict),
        T(test_fence),
        T(test_batch),
        T(test_bad_arguments),
        T(test_snapshot_order_and_prefix),
        T(test_last_operation_wins),
        T(test_fold_in_pieces),
        T(test_stop_early),
        T(test_callbacks_may_call),
        T(test_watch),
        T(test_large_entry),
        T(test_random_against_model),
        T(test_readers_see_whole_batches),
        T(test_open_twice),
        T(test_reopen),
        T(test_reopen_beside_readers),
        T(test_id),
        T(test_check),
        T(test_trim),
        T(test_backup_and_restore),
        T(test_backup_while_appending),
        T(test_care_while_appending),
    };
    return cmocka_run_group_tests_name(e->name, tests, NULL, NULL);
}
