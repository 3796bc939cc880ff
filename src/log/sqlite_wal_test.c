// SPDX-License-Identifier: Apache-2.0
/* The write-ahead log of the sqlite engine: it is moved into the file beside appends, stays small
 * while they never pause, and nothing acknowledged is lost by it. */
#include "log/testing.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/mem.h"
#include "log/vfs_power.h"

enum { FRAMES = 16, BATCH_MAX = 400, VALUE = 300 };

struct store {
    char dir[64], url[128];
    struct log_options options;
    struct log *log;
    uint64_t fence;
};

static void open_store(struct store *s) {
    struct log_lease lease = {.holder = "test", .ttl_ns = NS_PER_S};
    OK(log_open(s->url, &s->options, &s->log, &e_));
    OK(log_lease_acquire(s->log, &lease, &e_));
    s->fence = lease.fence;
}

static void begin(struct store *s, const char *vfs) {
    *s = (struct store){.options = {.sqlite_checkpoint = FRAMES, .sqlite_vfs = vfs}};
    testing_dir(s->dir);
    snprintf(s->url, sizeof s->url, "sqlite:%s/log.db", s->dir);
    vfs_power_set_faults(NULL);
    open_store(s);
}

static void end(struct store *s) {
    log_close(s->log);
    testing_remove(s->dir);
}

/* `n` entries of some size, each with a key of its own. */
static enum err_code append(struct store *s, size_t n, struct err *err) {
    struct log_entry *batch = mem_array(NULL, n, sizeof *batch);
    struct log_op *ops = mem_array(NULL, n, sizeof *ops);
    char(*keys)[24] = mem_array(NULL, n, sizeof *keys), value[VALUE + 1];
    memset(value, 'v', VALUE);
    value[VALUE] = '\0';
    uint64_t head = log_head(s->log);
    for (size_t i = 0; i < n; i++) {
        snprintf(keys[i], sizeof keys[i], "key %llu", (unsigned long long)(head + i + 1));
        ops[i] = testing_put(LOG_STATE, keys[i], value);
        batch[i] = (struct log_entry){.who = "test", .ops = &ops[i], .n_ops = 1};
    }
    enum err_code rc = log_append(s->log, head, s->fence, batch, n, err);
    mem_free(batch);
    mem_free(ops);
    mem_free(keys);
    return rc;
}

static bool count(const struct log_entry *e, void *arg) {
    uint64_t *n = arg;
    assert_int_equal(e->index, ++*n);
    return true;
}

static void say(const char *where, const char *text, void *arg) {
    buf_printf(arg, "%s: %s\n", where, text);
}

/* All entries up to `head` and no other are there, and the store is sound. */
static void verify(struct store *s, uint64_t head) {
    uint64_t n = 0;
    size_t findings = 0;
    struct buf b = BUF_INIT;
    assert_int_equal(log_head(s->log), head);
    OK(log_read(s->log, 1, UINT64_MAX, count, &n, &e_));
    assert_int_equal(n, head);
    OK(log_check(s->log, say, &b, &findings, &e_));
    if (findings != 0) {
        fail_msg("%s", buf_cstr(&b));
    }
    buf_free(&b);
}

/* A batch that is larger than all that the WAL held before it was started over; then one whose sync
 * fails. Voiding that one must not take the large one with it. */
static void test_large_batch_in_a_new_wal(void **state) {
    struct store s;
    begin(&s, VFS_POWER_NAME);
    for (int i = 0; i < FRAMES; i++) {
        OK(append(&s, 1, &e_));
    }
    OK(log_fold(s.log, 0, NULL, &e_)); /* moves all of it */
    OK(append(&s, BATCH_MAX, &e_));
    struct vfs_power_faults f = {.fail_sync = 1};
    vfs_power_set_faults(&f);
    struct err err;
    assert_int_not_equal(append(&s, 1, &err), ERR_OK);
    vfs_power_cut();
    vfs_power_set_faults(NULL);
    log_close(s.log);
    open_store(&s);
    verify(&s, FRAMES + BATCH_MAX);
    end(&s);
}

static off_t wal_size(const struct store *s) {
    struct stat st;
    char path[160];
    snprintf(path, sizeof path, "%s/log.db-wal", s->dir);
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

/* Appends without a pause: folding moves the entries out, or the appends when nobody folds. */
static void test_wal_stays_small(void **state) {
    for (int folding = 0; folding < 2; folding++) {
        struct store s;
        begin(&s, NULL);
        for (int i = 0; i < 1500; i++) {
            OK(append(&s, 1, &e_));
            if (folding && i % 8 == 0) {
                OK(log_fold(s.log, 0, NULL, &e_));
            }
        }
        /* What starts a checkpoint by folding, and several times as much by an append. */
        assert_true(wal_size(&s) < (folding ? 3 : 12) * FRAMES * 4200);
        verify(&s, 1500);
        end(&s);
    }
}

struct beside {
    struct log *log;
    _Atomic bool stop;
    int failures, rounds;
};

static void *fold_on(void *arg) {
    struct beside *b = arg;
    while (!b->stop) {
        struct err err;
        b->failures += log_fold(b->log, 50, NULL, &err) != ERR_OK;
        b->rounds++;
    }
    return NULL;
}

/* Entries are moved while others are appended; then the power goes, or a sync fails. */
static void test_moved_beside_appends(void **state) {
    for (int round = 0; round < 6; round++) {
        struct store s;
        begin(&s, VFS_POWER_NAME);
        vfs_power_seed((uint64_t)round, round % 2 ? 30 : 0);
        struct beside b = {.log = s.log};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, fold_on, &b), 0);
        uint64_t acked = 0;
        struct err err = {0};
        struct vfs_power_faults f = {.fail_sync = 3, .partial_percent = 50};
        for (int i = 0; i < 300; i++) {
            size_t n = i % 50 == 7 ? BATCH_MAX / 2 : 1 + (size_t)i % 5;
            if (round >= 3 && i == 250 + round) {
                vfs_power_set_faults(&f);
            }
            if (append(&s, n, &err) != ERR_OK) {
                assert_true(round >= 3);
                break;
            }
            acked += n;
        }
        b.stop = true;
        pthread_join(thread, NULL);
        assert_true(b.rounds > 0);
        assert_true(b.failures == 0 || round >= 3);
        vfs_power_cut();
        vfs_power_set_faults(NULL);
        log_close(s.log);
        open_store(&s);
        verify(&s, acked);
        end(&s);
    }
}

int main(void) {
    testing_quiet();
    vfs_power_register(false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_batch_in_a_new_wal),
        cmocka_unit_test(test_wal_stays_small),
        cmocka_unit_test(test_moved_beside_appends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
